# The server stops at once, whatever Kafka does; nothing runs on a standby; what
# waits costs nothing.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use CdcLife;
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# Whole seconds of a window in which nothing happens.
use constant IDLE => 8;

my $broker = start_broker();
my $life = CdcLife->new('stop', streaming => 1,
	conf => "max_worker_processes = 20\nmax_wal_senders = 5\nautovacuum = off\ncheckpoint_timeout = 1h\n");
my $node = $life->node;
my @kinds = ('manager', 'ingest worker', 'sync worker');
my $offset = 0;
my @connections;

# One more record at the source.
sub give
{
	$offset++;
	$broker->rec('customer', 0, key => qq({"id":$offset}),
		value => qq({"op": "c", "after": {"id": $offset, "name": "Alice"}}));
	return $broker->sync;
}

# What was given is in the target.
sub arrives
{
	my ($where, $name) = @_;
	my $got;

	ok( defined $life->until(
			sub {
				$got = CdcLife::answer($where, 'home', 'SELECT count(*) FROM customer') // 'none';
				return $got eq $offset;
			}),
		$name)
	  or diag("$got of $offset\n", $where->safe_psql('home', 'TABLE cdc_status'));
	return;
}

sub all_there
{
	$life->wait_for('home', $_) foreach @kinds;
	return;
}

$broker->topic('customer', 1);
my $servers = $broker->bootstrap;
$life->sql('postgres', 'CREATE DATABASE home');
$life->sql('home', qq{
	CREATE EXTENSION cdcsync;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers');
	CREATE SCHEMA topics;
	IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics;
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', topic => 'topics.customer', target => 'customer',
		columns => '{"id": "id", "name": "name"}')});
give();
arrives($node, 'it works');

#
# Cancelled, ended
#
all_there();
foreach my $kind (@kinds)
{
	my $pid = $life->pid('home', $kind);

	$life->sql('postgres', "SELECT pg_cancel_backend($pid) FROM generate_series(1, 20)");
	give();
	arrives($node, "after the $kind was cancelled");
	is($life->pid('home', $kind), $pid, 'which did not end it');
	$life->sql('postgres', "SELECT pg_terminate_backend($pid)");
	give();
	arrives($node, "after the $kind was ended");
	$life->wait_for_other('home', $kind, $pid);
}

#
# Stop
#
sub stop_and_start
{
	my ($mode, $name) = @_;
	my $start = time;
	my $duration;

	$node->stop($mode);
	$duration = time - $start;
	# pg_ctl looks every 100 ms
	diag(sprintf 'stop %-10s %-20s %5.0f ms', $mode, $name, $duration * 1000);
	cmp_ok($duration, '<', 5, "stop $mode, $name");
	$node->start;
	all_there();
	return;
}

all_there();
stop_and_start($_, 'Kafka up') foreach ('smart', 'fast', 'immediate');
give();
arrives($node, 'what came meanwhile is read');

# accepts, and never says a word
my $mute = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1') or die $!;
my $port = $mute->sockport;
$life->sql('home', qq{ALTER SERVER broker OPTIONS (SET bootstrap_servers '127.0.0.1:$port')});
foreach my $mode ('smart', 'fast', 'immediate')
{
	ok(IO::Select->new($mute)->can_read($PostgreSQL::Test::Utils::timeout_default), 'a worker has connected');
	push @connections, scalar $mute->accept;
	# which waits for everybody in the cluster
	foreach (1 .. 3)
	{
		$life->sql('postgres', 'CREATE DATABASE another');
		my $duration = $life->duration('postgres', 'DROP DATABASE another');
		diag(sprintf 'DROP DATABASE of another, Kafka does not answer: %.0f ms', $duration * 1000);
	}
	stop_and_start($mode, 'Kafka does not answer');
}
my $duration = $life->duration('home', 'SELECT cdc_stop()');
diag(sprintf 'cdc_stop(), Kafka does not answer: %.0f ms', $duration * 1000);
cmp_ok($duration, '<', 5, 'cdc_stop(), Kafka does not answer');
$life->sql('home', 'SELECT cdc_start()');
# nor does it hold up what needs the database alone
all_there();
$duration = $life->duration('postgres', 'ALTER DATABASE home RENAME TO other');
diag(sprintf 'RENAME, Kafka does not answer: %.0f ms', $duration * 1000);
$life->sql('postgres', 'ALTER DATABASE other RENAME TO home');
all_there();
$life->sql('home', qq{ALTER SERVER broker OPTIONS (SET bootstrap_servers '$servers')});
give();
arrives($node, 'the right server again');

#
# Standby
#
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
give();
arrives($node, 'the primary goes on');
$node->wait_for_catchup($standby);
arrives($standby, 'the standby follows');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cdcsync%'}), '0',
	'nothing runs on it');
foreach my $function ('cdc_start', 'cdc_stop')
{
	my ($status, undef, $stderr) = $standby->psql('home', "SELECT $function()");
	like($stderr, qr/cannot execute $function\(\) during recovery/, "no $function() on it");
}
is($standby->safe_psql('home', 'SELECT state FROM cdc_status'), 'waiting', 'cdc_status can be asked') or
	diag($standby->safe_psql('home', 'TABLE cdc_status'));
$node->stop;
give();
$standby->promote;
arrives($standby, 'it goes on where the primary was');
$standby->stop;
$node->start;
arrives($node, 'so does the old primary');

#
# Idle
#
all_there();
# running-xacts and the like are logged some time after the last change
$life->sql('home', 'CHECKPOINT');
my %pid = map { ($_ => $life->pid($_ eq 'launcher' ? undef : 'home', $_)) } ('launcher', @kinds);
my ($before, $after, %cpu);

# Records that somebody else writes (running-xacts, 15 s after any change, ends
# a window): there must be a window without one.
ok( defined $life->until(
		sub {
			$before = $life->sql('postgres', 'SELECT pg_current_wal_insert_lsn()');
			%cpu = map { ($_ => CdcLife::cpu($pid{$_})) } keys %pid;
			sleep IDLE;
			$after = $life->sql('postgres', 'SELECT pg_current_wal_insert_lsn()');
			return $before eq $after;
		}),
	'no WAL is written while nothing happens') or diag("$before .. $after");
foreach my $kind (sort keys %pid)
{
	diag(sprintf 'idle %-15s %.2f %% of a core', $kind, (CdcLife::cpu($pid{$kind}) - $cpu{$kind}) / IDLE * 100);
	is($life->pid($kind eq 'launcher' ? undef : 'home', $kind), $pid{$kind}, "$kind stays");
}

unlike(slurp_file($_->logfile), qr/PANIC|signal \d+\b/, 'no crash') foreach ($node, $standby);
$node->stop;
$broker->stop;
done_testing();
