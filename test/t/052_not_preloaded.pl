# Without shared_preload_libraries: cdc_start() and cdc_stop() run the workers of
# a database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $life = CdcLife->new('not_preloaded', preload => 0);
my $node = $life->node;
my $id = 0;

sub works
{
	my ($name) = @_;

	$id++;
	$life->sql('home', qq{INSERT INTO customer_debezium (kafka_value)
		VALUES ('{"op": "c", "after": {"id": $id, "name": "Alice"}}')});
	ok(defined $life->until(sub { $life->sql('home', "SELECT count(*) FROM customer WHERE id = $id") eq '1' }), $name);
	return;
}

$life->sql('postgres', 'CREATE DATABASE home');
$life->sql('home', q{
	CREATE EXTENSION cdcsync;
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', target => 'customer', columns => '{"id": "id", "name": "name"}');
	CREATE ROLE alice;
	CREATE ROLE bob});
is(scalar $life->pids(undef, $_), 0, "no $_") foreach ('launcher', 'manager', 'sync worker');

#
# Who may
#
foreach my $function ('cdc_start()', 'cdc_stop()')
{
	like($life->error_of('home', "SET ROLE alice; SELECT $function"), qr/permission denied for function/, 'not anybody');
}
$life->sql('home', 'GRANT EXECUTE ON FUNCTION cdc_start() TO alice');
is($life->sql('home', "SET ROLE alice; SELECT cdc_start()"), 't', 'but who was granted it');
is($life->sql('home', 'SELECT cdc_start()'), 'f', 'they run already');
$life->wait_for('home', 'sync worker');
works('they work');
is($life->sql('postgres', q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'cdcsync sync worker'}),
	'postgres', 'as the owner, whoever started them');

#
# They come back
#
foreach my $kind ('manager', 'sync worker')
{
	my $pid = $life->pid('home', $kind);

	$life->sql('postgres', "SELECT pg_terminate_backend($pid)");
	$life->wait_for_other('home', $kind, $pid);
}
works('after termination');
$life->kill_and_wait($life->pid('home', 'manager'), 'killed');
$life->wait_for('home', 'sync worker');
works('after a crash of the server');
my $session = $life->session('postgres', 'SELECT pg_sleep(600)');
$life->kill_and_wait($session->{pid}, 'a session is killed');
eval { $session->{run}->finish };
$life->wait_for('home', 'sync worker');
works('after that, too');
is(scalar $life->pids('home', 'manager'), 1, 'one manager');

#
# Stop
#
is($life->sql('home', 'SELECT cdc_stop()'), 't', 'stop');
is($life->sql('home', 'SELECT cdc_stop()'), 'f', 'stopped');
is(scalar $life->pids(undef, $_), 0, "no $_") foreach ('manager', 'sync worker');
foreach my $i (1 .. 5)
{
	is($life->sql('home', 'SELECT cdc_start()'), 't', "start $i");
	is($life->sql('home', 'SELECT cdc_stop()'), 't', "stop $i");
}
# the postmaster waits for a second before it would start one again
sleep 2;
is(scalar $life->pids(undef, 'manager'), 0, 'stopped for good');
is($life->sql('home', 'SELECT cdc_start()'), 't', 'started');

#
# Commands: cdc_stop() first, or by force
#
like($life->error_of('postgres', 'ALTER DATABASE home RENAME TO other'), qr/is being accessed by other users/);
$life->sql('home', 'SELECT cdc_stop()');
$life->sql('postgres', 'ALTER DATABASE home RENAME TO other');
$life->sql('postgres', 'ALTER DATABASE other RENAME TO home');
$life->sql('home', 'SELECT cdc_start()');
$life->sql('home', 'DROP EXTENSION cdcsync CASCADE');
$life->wait_for('home', 'manager', 0);
$life->wait_for('home', 'sync worker', 0);
$life->sql('home', q{
	CREATE EXTENSION cdcsync;
	SELECT cdc_create('customer', target => 'customer', columns => '{"id": "id", "name": "name"}')});
$life->sql('home', 'SELECT cdc_start()');
works('after DROP and CREATE EXTENSION');

# by force, from a session that has no hook: no manager haunts the server
$life->wait_for('home', 'sync worker');
my $end = $life->log_end;
$life->sql('postgres', 'DROP DATABASE home WITH (FORCE)');
ok(defined $life->until(sub { $life->log_since($end) =~ /FATAL:  database \d+ does not exist/ }),
	'a manager was started again in vain');
sleep 2.5;
my @vain = $life->log_since($end) =~ /FATAL:  database \d+ does not exist/g;
is(scalar @vain, 1, 'once');
is(scalar $life->pids(undef, 'manager'), 0, 'none is left');

# without a free slot
$life->sql('postgres', 'CREATE DATABASE home');
$life->sql('home', 'CREATE EXTENSION cdcsync');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
like($life->error_of('home', 'SELECT cdc_start()'),
	qr/no slot is free for a background worker.*HINT:  Increase max_worker_processes/s, 'no slot');

unlike($life->log_since(0), qr/PANIC|signal (4|6|7|8|11)\b/, 'no crash of our own');
$node->stop;
done_testing();
