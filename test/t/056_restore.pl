# A dump that is restored while the launcher runs comes up paused, and goes on
# where it was when it is resumed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use CdcLife;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $life = CdcLife->new('restore', conf => "max_worker_processes = 20\n");
my $node = $life->node;
my $given = 0;

# More records at the source, in all partitions.
sub give
{
	my ($n) = @_;

	foreach (1 .. $n)
	{
		my $id = ++$given;
		$broker->rec('customer', $id % 3, key => qq({"id":$id}),
			value => qq({"op": "c", "after": {"id": $id, "name": "Alice"}}));
	}
	return $broker->sync;
}

# What has landed, and what is in the target, each once.
sub has
{
	my ($db) = @_;
	return $life->sql($db, q{SELECT (SELECT count(*) FROM customer), (SELECT count(*) FROM customer_debezium),
		(SELECT count(*) FROM (SELECT DISTINCT kafka_partition, kafka_offset FROM customer_debezium) x)});
}

sub arrives
{
	my ($db, $name) = @_;
	return ok(defined $life->until(sub { has($db) eq "$given|$given|$given" }), $name)
	  || diag(has($db), "\n", $life->sql($db, 'TABLE cdc_status'));
}

$broker->topic('customer', 3);
my $servers = $broker->bootstrap;
$life->sql('postgres', 'CREATE DATABASE source');
$life->sql('source', qq{
	CREATE EXTENSION cdcsync;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers');
	CREATE SCHEMA topics;
	IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics;
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', topic => 'topics.customer', target => 'customer',
		columns => '{"id": "id", "name": "name"}')});
give(100);
arrives('source', 'the source has all');

mkdir $node->backup_dir;
my $dump = $node->backup_dir . '/source.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('source'), '-f', $dump ], 'dump');
my $old = has('source');
give(100);
arrives('source', 'it goes on');

foreach my $jobs (1, 3)
{
	my $db = "restored$jobs";
	my $end = $life->log_end;

	$life->sql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8'");
	$node->command_ok([ 'pg_restore', '-j', $jobs, '--exit-on-error', '-d', $node->connstr($db), $dump ],
		"restore, $jobs at a time");
	$life->wait_for($db, 'manager');
	# the manager looks at the catalog once more than it would by itself
	$life->sql($db, 'SELECT cdcsync.wake_workers()');
	give(10);
	arrives('source', 'the source goes on');
	is($life->sql($db, 'SELECT state, reason FROM cdc_status'),
		'paused|restored or copied from another database', 'it is paused');
	is(scalar $life->pids($db, $_), 0, "no $_ for what is paused") foreach ('ingest worker', 'sync worker');
	is(has($db), $old, 'it is as it was dumped');
	is($life->sql($db, q{SELECT cdc_resume('*')}), '1', 'resumed');
	arrives($db, 'it goes on where it was');
	unlike($life->log_since($end), qr/cannot manage the workers/, 'the manager saw nothing half restored');
}
give(10);
arrives($_, "all go on: $_") foreach ('source', 'restored1', 'restored3');

#
# DROP EXTENSION in the middle of it
#
foreach my $i (1 .. 3)
{
	give(300);
	my ($status, undef, $stderr) = $node->psql('restored3', 'DROP EXTENSION cdcsync CASCADE');
	is($status, 0, "DROP EXTENSION, with workers at work: $i") or diag($stderr);
	$life->wait_for('restored3', $_, 0) foreach ('manager', 'ingest worker', 'sync worker');
	is($life->sql('restored3', q{SELECT count(*) FROM pg_class WHERE relname ~ '^customer_'}), '1',
		'nothing but the target, and its key, is left');
	$life->sql('restored3', qq{
		CREATE EXTENSION cdcsync;
		CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers');
		IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics;
		SELECT cdc_create('customer', topic => 'topics.customer', target => 'customer',
			columns => '{"id": "id", "name": "name"}')});
}
arrives('restored3', 'from the beginning again');
arrives('source', 'the others went on');

unlike($life->log_since(0), qr/PANIC|signal \d+\b/, 'no crash');
$node->stop;
$broker->stop;
done_testing();
