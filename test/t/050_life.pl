# The launcher finds the databases that have the extension, and its processes
# come and go as they should.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $life = CdcLife->new('life', conf => "max_worker_processes = 20\n");
my $node = $life->node;
my $pipeline = q{
	CREATE EXTENSION cdcsync;
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', target => 'customer', columns => '{"id": "id", "name": "name"}')};

sub insert_customer
{
	my ($db, $id) = @_;
	$life->sql($db, qq{INSERT INTO customer_debezium (kafka_value)
		VALUES ('{"op": "c", "after": {"id": $id, "name": "Alice"}}')});
	return;
}

sub has_customer
{
	my ($db, $id) = @_;
	return ok(defined $life->until(
			sub { $life->sql($db, "SELECT count(*) FROM customer WHERE id = $id") eq '1' }),
		"$id arrives in $db");
}

#
# Where there are managers
#
$life->wait_for(undef, 'launcher');
# every database has been looked at: postgres
$life->wait_for(undef, 'manager', 0);

my $start = time;
$life->sql('postgres', $pipeline);
$life->wait_for('postgres', 'manager');
$life->wait_for('postgres', 'sync worker');
my $elapsed = time - $start;
cmp_ok($elapsed, '<', 5, 'soon after CREATE EXTENSION');
diag(sprintf 'workers %.0f ms after CREATE EXTENSION and a pipeline began', $elapsed * 1000);
insert_customer('postgres', 1);
has_customer('postgres', 1);

$life->sql('postgres', 'CREATE DATABASE later');
$start = time;
$life->sql('later', 'CREATE EXTENSION cdcsync');
$life->wait_for('later', 'manager');
diag(sprintf 'manager %.0f ms after CREATE EXTENSION in a new database', (time - $start) * 1000);

# rolled back: nothing
$life->sql('postgres', 'CREATE DATABASE none');
$life->sql('none', 'BEGIN; CREATE EXTENSION cdcsync; ROLLBACK');

# of a template that has the extension: a manager that does nothing
$life->sql('postgres', 'CREATE DATABASE mould');
$life->sql('mould', $pipeline);
$life->wait_for('mould', 'sync worker');
insert_customer('mould', 1);
has_customer('mould', 1);
$life->sql('postgres', 'ALTER DATABASE mould IS_TEMPLATE true');
$life->wait_for('mould', 'manager', 0);
$life->wait_for('mould', 'sync worker', 0);
like($life->error_of('mould', 'SELECT cdc_start()'), qr/workers do not run in a template database/,
	'nor by cdc_start()');
$life->sql('postgres', 'CREATE DATABASE copy TEMPLATE mould');
$life->wait_for('copy', 'manager');
is($life->sql('copy', 'SELECT state, reason FROM cdc_status'),
	'paused|restored or copied from another database', 'a copy is paused');
insert_customer('copy', 2);
is($life->sql('copy', q{SELECT cdc_resume('*')}), '1', 'and resumed');
has_customer('copy', 2);
is($life->sql('copy', q{SELECT count(*) FROM customer}), '2', 'with what the template had');
$life->wait_for('mould', 'manager', 0);
$life->sql('postgres', 'ALTER DATABASE mould IS_TEMPLATE false');
$life->wait_for('mould', 'manager');
$life->sql('postgres', 'ALTER DATABASE mould ALLOW_CONNECTIONS false');
$life->wait_for('mould', 'manager', 0);
$life->sql('postgres', 'ALTER DATABASE mould ALLOW_CONNECTIONS true');
$life->wait_for('mould', 'manager');
is($life->sql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname IN ('none', 'template1')
		AND backend_type LIKE 'cdcsync %'}), '0', 'none in a database without the extension');

#
# Stop, start
#
is($life->sql('copy', 'SELECT cdc_stop()'), 't', 'stop');
is($life->sql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy' AND backend_type LIKE 'cdcsync %'}),
	'0', 'all have left');
is($life->sql('copy', 'SELECT cdc_stop()'), 'f', 'stop again');
is($life->sql('copy', 'SELECT cdc_start()'), 't', 'start');
is($life->sql('copy', 'SELECT cdc_start()'), 'f', 'start again');
$life->wait_for('copy', 'sync worker');
insert_customer('copy', 3);
has_customer('copy', 3);

#
# Each kind of process is ended, or cancelled
#
foreach my $kind ('sync worker', 'manager', 'launcher')
{
	my $db = $kind eq 'launcher' ? undef : 'postgres';
	my $pid = $life->pid($db, $kind);

	is($life->sql('postgres', "SELECT pg_cancel_backend($pid)"), 't', "cancel the $kind");
	is($life->sql('postgres', "SELECT pg_terminate_backend($pid)"), 't', "end the $kind");
	$life->wait_for_other($db, $kind, $pid);
}
insert_customer('postgres', 2);
has_customer('postgres', 2);
my @pids = map { $life->pid($_ eq 'launcher' ? undef : 'postgres', $_) } ('launcher', 'manager', 'sync worker');
$life->sql('postgres', "SELECT pg_cancel_backend($_)") foreach @pids;
insert_customer('postgres', 3);
has_customer('postgres', 3);
is(join(' ', map { $life->pid($_ eq 'launcher' ? undef : 'postgres', $_) } ('launcher', 'manager', 'sync worker')),
	"@pids", 'cancelled while idle: nobody noticed');

# SIGHUP
$life->sql('postgres', 'CREATE TABLE more (LIKE customer INCLUDING ALL)');
$life->sql('postgres', q{SELECT cdc_create('more', target => 'more', options => '{"landing": "customer_debezium"}')});
$life->wait_for('postgres', 'sync worker', 2);
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 1\n");
$node->reload;
$life->wait_for('postgres', 'sync worker', 1);
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 2\n");
$node->reload;
$life->wait_for('postgres', 'sync worker', 2);

#
# Killed: the server starts again, and so do all
#
sub kill_process
{
	my ($kind, $victim) = @_;

	$life->kill_and_wait($victim, "killed: $kind");
	$life->wait_for('postgres', 'sync worker', 2);
	$life->wait_for('copy', 'manager');
	insert_customer('postgres', $victim);
	has_customer('postgres', $victim);
	return;
}

foreach my $kind ('sync worker', 'manager', 'launcher')
{
	kill_process($kind, $life->pid($kind eq 'launcher' ? undef : 'postgres', $kind));
}
my $session = $life->session('postgres', 'SELECT pg_sleep(600)');
kill_process('session', $session->{pid});
$session->{run}->finish;

#
# DROP EXTENSION
#
$life->sql('copy', 'DROP EXTENSION cdcsync CASCADE');
$elapsed = $life->wait_for('copy', 'manager', 0);
$life->wait_for('copy', 'sync worker', 0);
diag(sprintf 'workers gone %.0f ms after DROP EXTENSION', $elapsed * 1000);
$life->sql('copy', 'DROP TABLE customer');
$life->sql('copy', $pipeline);
insert_customer('copy', 1);
has_customer('copy', 1);

my $log = $life->log_since(0);
unlike($log, qr/PANIC|signal (4|6|7|8|11)\b/, 'no crash of our own');
$node->stop;
done_testing();
