# A scheduler in place of the sync workers: pg_cron calls cdc_sync().
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('pg_cron');
plan skip_all => 'pg_cron is not installed in this PostgreSQL'
  unless -f $node->config_data('--sharedir') . '/extension/pg_cron.control';

$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', qq{
	shared_preload_libraries = 'cdcsync, pg_cron'
	cron.database_name = 'postgres'
	cron.use_background_workers = on
	max_worker_processes = 20});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION cdcsync;
	CREATE EXTENSION pg_cron;
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	CREATE TABLE other (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', target => 'customer', options => '{"auto_sync": false}');
	SELECT cdc_create('other', target => 'other', options => '{"landing": "customer_debezium"}');
	INSERT INTO customer_debezium (kafka_value) VALUES ('{"op": "c", "after": {"id": 1, "name": "Alice"}}');
});

# The worker has long done its pipeline when the scheduler, which wakes at full
# minutes, has not begun.
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM other}), 'a worker syncs what is left to it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM customer}), '0', 'auto_sync false leaves a pipeline alone');

$node->safe_psql('postgres', q{SELECT cron.schedule('customer', '* * * * *', $$SELECT cdc_sync('customer')$$)});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM customer}), 'pg_cron calls cdc_sync');
is($node->safe_psql('postgres', q{SELECT DISTINCT status FROM cron.job_run_details WHERE status <> 'running'}),
	'succeeded', 'and says so');
$node->safe_psql('postgres', q{SELECT cron.unschedule('customer')});
$node->stop;
done_testing();
