# Commands that need a database alone succeed although workers are at it; they
# leave and come back.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $life = CdcLife->new('commands', conf => "max_worker_processes = 20\n");
my $node = $life->node;
my $id = 0;

sub oid_of { return $life->sql('postgres', "SELECT oid FROM pg_database WHERE datname = '$_[0]'"); }

# Managers and workers of a database, as text; the database may be gone.
sub workers_of
{
	my ($oid) = @_;
	return $life->sql('postgres', qq{
		SELECT string_agg(backend_type || ' ' || pid, ', ' ORDER BY pid)
		FROM pg_stat_activity WHERE datid = $oid AND backend_type LIKE 'cdcsync %'});
}

# What lands now is synced.
sub works
{
	my ($db, $name) = @_;

	$id++;
	$life->sql($db, qq{INSERT INTO customer_debezium (kafka_value)
		VALUES ('{"op": "c", "after": {"id": $id, "name": "Alice"}}')});
	ok( defined $life->until(
			sub { $life->sql($db, "SELECT count(*) FROM customer WHERE id = $id") eq '1' }),
		$name);
	return;
}

# A database whose sync worker has something to do all the time: a trigger
# makes it slow.
sub make_busy
{
	my ($db) = @_;

	$life->sql('postgres', "CREATE DATABASE $db");
	$life->sql($db, q{
		CREATE EXTENSION cdcsync;
		CREATE TABLE customer (id bigint PRIMARY KEY, name text);
		SELECT cdc_create('customer', target => 'customer', columns => '{"id": "id", "name": "name"}')});
	$life->wait_for($db, 'sync worker');
	works($db, "$db works");
	# a worker that is in the middle of a merge
	$life->sql($db, q{
		CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_sleep(60);
			RETURN NEW;
		END $$;
		CREATE TRIGGER be_slow BEFORE INSERT ON customer FOR EACH ROW
			WHEN (NEW.name = 'slow') EXECUTE FUNCTION be_slow();
		INSERT INTO customer_debezium (kafka_value)
			VALUES ('{"op": "c", "after": {"id": -1, "name": "slow"}}')});
	ok( defined $life->until(
			sub {
				$life->sql('postgres', "SELECT count(*) FROM pg_stat_activity
					WHERE datname = '$db' AND wait_event = 'PgSleep'") eq '1';
			}),
		"$db is busy");
	return oid_of($db);
}

# A worker that is at it has a lock on the table.
sub unslow
{
	my ($db) = @_;

	$life->sql($db, 'SELECT cdc_stop()');
	$life->sql($db, 'DROP TRIGGER be_slow ON customer');
	is($life->sql($db, 'SELECT cdc_start()'), 't', "$db is slow no more");
	return;
}

sub timed
{
	my ($what, $sql) = @_;
	my $duration = $life->duration('postgres', $sql);

	diag(sprintf '%-40s %5.0f ms', $what, $duration * 1000);
	return;
}

my $tablespace = $node->basedir . '/space';
mkdir $tablespace or die;
$life->sql('postgres', "CREATE TABLESPACE space LOCATION '$tablespace'");
$life->sql('postgres', 'CREATE ROLE nobody_special LOGIN CREATEDB');

my $oid = make_busy('busy');
my $before = workers_of($oid);

# a role that may not do it does not make anybody leave
foreach my $sql ('DROP DATABASE busy', 'ALTER DATABASE busy RENAME TO other',
	'ALTER DATABASE busy SET TABLESPACE space', 'CREATE DATABASE other TEMPLATE busy')
{
	like($life->error_of('postgres', "SET ROLE nobody_special; $sql"),
		qr/must be owner|permission denied/, 'no right to do so');
}
is(workers_of($oid), $before, 'nobody has left');

# nor does a command about another database, or one that is given there
like($life->error_of('busy', 'ALTER DATABASE busy RENAME TO other'), qr/current database cannot be renamed/);
is(workers_of($oid), $before, 'nobody has left');

# a command that fails after they have left
like($life->error_of('postgres', 'ALTER DATABASE busy RENAME TO postgres'), qr/already exists/);
$life->wait_for('busy', 'manager');
$life->wait_for('busy', 'sync worker');
isnt(workers_of($oid), $before, 'they left and came back');
like($life->error_of('postgres', 'BEGIN; DROP DATABASE busy'), qr/cannot run inside a transaction block/);
$life->wait_for('busy', 'sync worker');

timed('CREATE DATABASE .. TEMPLATE', 'CREATE DATABASE other TEMPLATE busy');
$life->wait_for('other', 'manager');
$life->wait_for('busy', 'sync worker');
timed('ALTER DATABASE .. RENAME', 'ALTER DATABASE busy RENAME TO renamed');
$life->wait_for('renamed', 'sync worker');
timed('ALTER DATABASE .. SET TABLESPACE', 'ALTER DATABASE renamed SET TABLESPACE space');
$life->wait_for('renamed', 'sync worker');
# a rename that is not committed: away until then
my $session = $life->session('postgres',
	'BEGIN; ALTER DATABASE renamed RENAME TO another; SELECT pg_sleep(3); ROLLBACK');
ok(defined $life->until(sub { workers_of($oid) eq '' }), 'away during a transaction');
$session->{run}->finish;
$life->wait_for('renamed', 'sync worker');
$life->sql('postgres', q{DO 'BEGIN ALTER DATABASE renamed RENAME TO another; ALTER DATABASE another RENAME TO renamed; END'});
$life->wait_for('renamed', 'sync worker');
unslow('renamed');
works('renamed', 'works after all of that');
$life->sql('other', q{DROP TRIGGER be_slow ON customer; SELECT cdc_resume('*')});
works('other', 'so does the copy');

# a session is in it: the command fails, they come back
$session = $life->session('other', 'SELECT pg_sleep(600)');
like($life->error_of('postgres', 'DROP DATABASE other'), qr/is being accessed by other users/);
$life->wait_for('other', 'sync worker');
works('other', 'and work');
# the session that gives the command is ended while it waits
my $drop = $life->session('postgres', 'DROP DATABASE other');
$life->sql('postgres', "SELECT pg_terminate_backend($drop->{pid})");
$life->wait_for('other', 'sync worker');
$life->sql('postgres', "SELECT pg_terminate_backend($session->{pid})");
foreach my $run ($drop->{run}, $session->{run})
{
	eval { $run->finish };
}
works('other', 'and work again');

timed('DROP DATABASE', 'DROP DATABASE other');
$oid = make_busy('forced');
timed('DROP DATABASE .. WITH (FORCE)', 'DROP DATABASE forced WITH (FORCE)');
is(workers_of($oid), '', 'nobody is left');
timed('DROP DATABASE', 'DROP DATABASE renamed');

# cdc_stop() is as quick
$oid = make_busy('stopped');
my $stop = $life->duration('stopped', 'SELECT cdc_stop()');
diag(sprintf '%-40s %5.0f ms', 'cdc_stop()', $stop * 1000);
is(workers_of($oid), '', 'nobody is left');
timed('DROP DATABASE, stopped', 'DROP DATABASE stopped');

unlike($life->log_since(0), qr/PANIC|signal \d+\b|database \d+ does not exist|It seems to have just been dropped/,
	'nobody was started in a database that is gone');
$node->stop;
done_testing();
