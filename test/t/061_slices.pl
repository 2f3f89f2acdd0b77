# Ingest workers that share a topic: none waits for another one's transaction, and who
# wants the whole landing gets it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcFaults;
use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('slices');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
client_min_messages = warning
});
$node->start;
plan skip_all => 'the server was built without CDC_FAULTS' unless has_faults($node);

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $value = 0;

sub produce
{
	my ($partition) = @_;

	$value++;
	$broker->rec('shared', $partition, key => $value, value => "{\"ID\": \"$value\"}");
	$broker->sync;
	return;
}

# How many records there are of the two partitions.
sub landed_is
{
	my ($expected, $what) = @_;

	ok( $node->poll_query_until('postgres',
			q{SELECT string_agg(next_offset::text, ' ' ORDER BY kafka_partition) FROM cdcsync.position}, $expected),
		$what);
	return;
}

$broker->topic('shared', 2);
sql(sprintf q{
	CREATE EXTENSION cdcsync;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '%s', workers '2');
	CREATE SCHEMA k;
	IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO k;
	CREATE TABLE target ("ID" text PRIMARY KEY);
	SELECT cdc_create('shared', topic => 'k.shared', target => 'target', options => '{"auto_sync": false}')},
	$broker->bootstrap);
produce($_) foreach 0, 1;
landed_is('1 1', 'each reads a partition');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'}), 2, 'two workers');

# the one of partition 0 stands still in the transaction of its second record
set_fault($node, 'ingest_written:wait:2');
produce(0);
landed_is('2 1', 'the first record of the one');
produce(0);
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.relation = 'shared_debezium_chunk'::regclass AND a.backend_type = 'cdcsync ingest worker'}),
	'the second is written, and not committed');
produce(1);
landed_is('2 2', 'the other worker lands meanwhile');

# who wants all of it waits for that, and nobody else is let in before
my $session = $node->background_psql('postgres');
$session->query_until(qr/begun/, "\\echo begun\nSELECT records FROM cdc_refresh('shared');\n");
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'object'}),
	'a refresh waits');
set_fault($node, '');
landed_is('3 2', 'and gets it');
$session->quit;
produce($_) foreach 0, 1;
landed_is('4 3', 'both go on after it');

$node->stop;
done_testing();
