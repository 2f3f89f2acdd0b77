# Workers connect as the owners of what they serve: what becomes of those who
# cannot, and of many.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $life = CdcLife->new('owners', conf => "max_worker_processes = 20\ncdcsync.max_sync_workers = 10\n");
my $node = $life->node;
my $id = 0;

$life->sql('postgres', 'CREATE DATABASE home; ');
$life->sql('home', 'CREATE EXTENSION cdcsync');

# A role with a pipeline of the same name, and one more with a suffix.
sub make_owner
{
	my ($role, $attributes) = @_;

	$life->sql('home', qq{
		CREATE ROLE $role $attributes;
		CREATE SCHEMA $role AUTHORIZATION $role;
		SET ROLE $role;
		SET search_path = $role, public;
		CREATE TABLE $role (id bigint PRIMARY KEY, name text, who text DEFAULT session_user);
		SELECT cdc_create('$role', target => '$role', columns => '{"id": "id", "name": "name"}')});
	return;
}

sub give
{
	my ($role) = @_;

	$id++;
	$life->sql('home', qq{INSERT INTO $role.${role}_debezium (kafka_value)
		VALUES ('{"op": "c", "after": {"id": $id, "name": "Alice"}}')});
	return $id;
}

sub got
{
	my ($role, $id, $name) = @_;

	ok( defined $life->until(
			sub { $life->sql('home', "SELECT who FROM $role.$role WHERE id = $id") eq $role }),
		$name // "$role is served as $role");
	return;
}

sub has_not
{
	my ($role, $id) = @_;
	is($life->sql('home', "SELECT count(*) FROM $role.$role WHERE id = $id"), '0', "$role is not served");
	return;
}

sub log_says
{
	my ($end, $pattern) = @_;
	ok(defined $life->until(sub { $life->log_since($end) =~ $pattern }), "the log says $pattern");
	return;
}

sub workers_of
{
	my ($role) = @_;
	return $life->sql('postgres', "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'cdcsync sync worker' AND usename = '$role'");
}

# End the role's worker, so that it has to be started again.
sub end_worker
{
	my ($role) = @_;
	$life->sql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'cdcsync sync worker' AND usename = '$role'");
	return;
}

make_owner($_, 'LOGIN') foreach ('alice', 'bob');
make_owner('root', 'LOGIN SUPERUSER');
got($_, give($_)) foreach ('alice', 'bob', 'root');

#
# NOLOGIN
#
my $end = $life->log_end;
my $from_17 = $life->sql('postgres', q{SELECT current_setting('server_version_num')::int >= 170000}) eq 't';

$life->sql('home', 'ALTER ROLE bob NOLOGIN');
end_worker('bob');
my $waiting = give('bob');
got('alice', give('alice'));
if ($from_17)
{
	got('bob', $waiting);
}
else
{
	log_says($end, qr/cannot start a worker: the owner, role "bob", is not permitted to log in/);
	log_says($end, qr/HINT:  Use ALTER ROLE bob LOGIN/);
	has_not('bob', $waiting);
	# tried several times
	is(workers_of('bob'), '', 'no worker');
	sleep 4;
	my @lines = $life->log_since($end) =~ /cannot start a worker/g;
	is(scalar @lines, 1, 'said once');
	unlike($life->log_since($end), qr/FATAL:  role "bob" is not permitted to log in/, 'not even tried');
}
my $start = time;
$life->sql('home', 'ALTER ROLE bob LOGIN');
got('bob', $waiting, 'bob is served again');
cmp_ok(time - $start, '<', 5, 'soon');

#
# No right to connect
#
$end = $life->log_end;
$life->sql('home', 'REVOKE CONNECT ON DATABASE home FROM PUBLIC; GRANT CONNECT ON DATABASE home TO bob');
end_worker('alice');
end_worker('root');
$waiting = give('alice');
got('bob', give('bob'));
got('root', give('root'));
log_says($end, qr/the owner, role "alice", may not connect to this database/);
log_says($end, qr/HINT:  Use GRANT CONNECT ON DATABASE home TO alice/);
has_not('alice', $waiting);
$start = time;
$life->sql('home', 'GRANT CONNECT ON DATABASE home TO alice');
got('alice', $waiting, 'alice is served again');
cmp_ok(time - $start, '<', 5, 'soon');

#
# Too many sessions of the role
#
$end = $life->log_end;
$life->sql('home', 'ALTER ROLE alice CONNECTION LIMIT 0');
end_worker('alice');
got('alice', give('alice'), 'workers do not count as connections');
my $session = $life->session('postgres', 'SELECT pg_sleep(600)');
$life->sql('home', 'ALTER ROLE alice CONNECTION LIMIT -1');

#
# Settings of a role that would end its work
#
$life->sql('home', q{
	ALTER ROLE alice SET statement_timeout = 1;
	ALTER ROLE alice SET default_transaction_read_only = on;
	ALTER ROLE alice SET role = 'bob';
	GRANT bob TO alice;
	ALTER ROLE alice SET default_transaction_isolation = 'serializable';
	ALTER ROLE alice SET search_path = 'nowhere'});
end_worker('alice');
got('alice', give('alice'), 'settings of the role do not matter');

#
# Gives all to another role, and goes
#
$life->sql('home', 'GRANT CREATE ON SCHEMA alice TO bob; GRANT USAGE ON SCHEMA alice TO bob');
$start = time;
$life->sql('home', 'REASSIGN OWNED BY alice TO bob; DROP OWNED BY alice; DROP ROLE alice');
$id++;
$life->sql('home', qq{INSERT INTO alice.alice_debezium (kafka_value)
	VALUES ('{"op": "c", "after": {"id": $id, "name": "Alice"}}')});
ok(defined $life->until(sub { $life->sql('home', "SELECT who FROM alice.alice WHERE id = $id") eq 'bob' }),
	'served as the new owner');
ok(defined $life->until(sub { $life->sql('postgres', q{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'cdcsync sync worker' AND usename IS NULL}) eq '0' }), 'the worker of the old one has left');

#
# More owners than workers: all have their turn, however much the others have to do
#
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 2\n");
$node->reload;
# one of whom cannot have any
make_owner("role$_", 'LOGIN') foreach 0 .. 6;
$life->sql('home', "GRANT CONNECT ON DATABASE home TO role$_") foreach 1 .. 6;
$waiting = give('role0');
$start = time;
my %given = map { ("role$_" => give("role$_")) } 1 .. 6;
foreach my $role (sort keys %given)
{
	got($role, $given{$role});
}
diag(sprintf 'six owners, two workers: all served in %.1f s', time - $start);
ok(defined $life->until(sub { $life->pids('home', 'sync worker') <= 2 }), 'by two workers');

# three of them have something to do all the time
$life->sql('home', qq{
	CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM pg_sleep(0.3);
		RETURN NEW;
	END \$\$;
	GRANT EXECUTE ON FUNCTION be_slow() TO PUBLIC});
foreach my $i (1 .. 3)
{
	$life->sql('home', qq{
		CREATE TRIGGER be_slow BEFORE INSERT ON role$i.role$i FOR EACH ROW EXECUTE FUNCTION be_slow();
		INSERT INTO role$i.role${i}_debezium (kafka_value)
		SELECT convert_to(format('{"op": "c", "after": {"id": %s, "name": "Alice"}}', -g), 'UTF8')
		FROM generate_series(1, 5) g});
}
$start = time;
%given = map { ("role$_" => give("role$_")) } 4 .. 6;
foreach my $role (sort keys %given)
{
	got($role, $given{$role});
}
diag(sprintf 'three of them busy, the others served in %.1f s', time - $start);
has_not('role0', $waiting);
$life->sql('home', 'GRANT CONNECT ON DATABASE home TO role0');
got('role0', $waiting);

$life->sql('postgres', "SELECT pg_terminate_backend($session->{pid})");
eval { $session->{run}->finish };
unlike($life->log_since(0), qr/PANIC|signal \d+\b/, 'no crash');
$node->stop;
done_testing();
