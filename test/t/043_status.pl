# The monitoring views where workers run, or should.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('status');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
max_worker_processes = 16
client_min_messages = warning
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Does the query give this, soon?
sub becomes
{
	my ($query, $expected, $name) = @_;

	ok($node->poll_query_until('postgres', $query, $expected), $name)
	  or diag(sql('SELECT * FROM cdc_status'));
	return;
}

# State and reason of a pipeline.
sub status_becomes
{
	my ($pipeline, $expected, $name) = @_;

	becomes("SELECT state, reason FROM cdc_status WHERE pipeline = '$pipeline'", $expected, $name);
	return;
}

sub column { return sql("SELECT $_[1] FROM cdc_status WHERE pipeline = '$_[0]'"); }

sub make_pipeline
{
	my ($owner, $name, $options) = @_;

	$options //= '{}';
	sql(qq{
		SET ROLE $owner; SET search_path = $owner, public;
		CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT cdc_create('$name', target => '$name', options => '$options')});
	return;
}

sub land
{
	my ($owner, $name, $from, $to) = @_;

	sql(qq{INSERT INTO $owner.${name}_debezium (kafka_value) SELECT ev(i) FROM generate_series($from, $to) i});
	return;
}

sql(q{
	CREATE EXTENSION cdcsync;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE SCHEMA alice AUTHORIZATION alice;
	CREATE SCHEMA bob AUTHORIZATION bob;
	CREATE FUNCTION ev(id bigint) RETURNS bytea LANGUAGE sql
		AS $$SELECT convert_to(json_build_object('op', 'c', 'after', json_build_object('id', id, 'v', 'x'),
			'source', json_build_object('ts_ms', (extract(epoch FROM now()) * 1000)::bigint - 3600000))::text, 'UTF8')$$;
});

#
# Running
#
make_pipeline('alice', 'good');
make_pipeline('alice', 'bad');
make_pipeline('bob', 'other');
land('alice', 'good', 1, 10);
status_becomes('good', 'running|', 'running');
becomes(q{SELECT lag_records, lag_time, landed_rate > 0, synced_rate > 0, next_try IS NULL, last_error IS NULL, hint IS NULL
		  FROM cdc_status WHERE pipeline = 'good'}, '0|00:00:00|t|t|t|t|t', '.. and all there');
is(sql(q{SELECT pipeline, kafka_partition, epoch, next_offset, watermark, lag_records, events, resent, quarantined, last_error
		 FROM cdcsync.partition_status}), 'good|0|0|10|10|0|10|0|0|', 'its partition');
is(sql(q{SELECT string_agg(worker || coalesce(' of ' || owner, ''), ', ' ORDER BY worker, owner::text)
		 FROM (SELECT DISTINCT worker, owner FROM cdcsync.worker_status) w}),
	'launcher, manager, sync of alice, sync of bob', 'the processes');
is(sql(q{SELECT count(*) FROM cdcsync.worker_status w LEFT JOIN pg_stat_activity a USING (pid)
		 WHERE w.started IS DISTINCT FROM a.backend_start OR a.backend_type NOT LIKE 'cdcsync ' || w.worker || '%'}),
	'0', '.. are those of pg_stat_activity');

# without any event there is nothing to run
sql(q{SET ROLE alice; SET search_path = alice, public; SELECT cdc_create('empty')});
status_becomes('empty', 'waiting|waiting for the first event', 'no event yet');
sql(q{INSERT INTO alice.empty_debezium (kafka_key) VALUES ('{"id":1}')});
status_becomes('empty', 'waiting|waiting for an event that shows what columns the target is to have', 'a tombstone does not');
sql(q{SELECT cdc_drop('empty')});

#
# Left to a person
#
sql(q{SELECT cdc_alter('good', options => '{"auto_sync": false}')});
status_becomes('good', 'waiting|auto_sync is off: call cdc_sync()', 'auto_sync is off');
land('alice', 'good', 11, 12);
is(column('good', q{lag_records, lag_time BETWEEN '1 h' AND '2 h'}), '2|t', 'the lag by the source');

# .. and whoever looks waits for no lock
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE alice.good_debezium_chunk IN ACCESS EXCLUSIVE MODE');
is(sql(q{SET lock_timeout = '5s'; SELECT lag_records, lag_time > interval '0' FROM cdc_status WHERE pipeline = 'good'}), '2|t',
	'a locked landing can be looked at');
$locker->query_safe('ROLLBACK');
$locker->quit;
sql(q{SELECT cdc_alter('good', options => '{"auto_sync": null}')});
becomes(q{SELECT state, lag_records FROM cdc_status WHERE pipeline = 'good'}, 'running|0', 'running again');

#
# Paused, stopped
#
sql(q{SELECT cdc_pause('good', 'month''s end')});
is(column('good', 'state, reason'), "paused|month's end", 'paused');
sql(q{SELECT cdc_resume('good')});
sql(q{INSERT INTO bob.other_debezium (kafka_value) SELECT 'broken' FROM generate_series(1, 200)});
becomes(q{SELECT state, reason = last_error, sqlstate IS NOT NULL, hint IS NOT NULL, next_try IS NULL
		  FROM cdc_status WHERE pipeline = 'other'}, 'stopped|t|t|t|t', 'stopped, with what to do');
is(column('good', 'state'), 'running', 'its neighbour runs');

#
# Backing off
#
land('alice', 'bad', 1, 5);
status_becomes('bad', 'running|', 'has run');
sql(q{ALTER TABLE alice.bad ADD CONSTRAINT c CHECK (id < 100); CREATE FUNCTION alice.fail() RETURNS trigger LANGUAGE plpgsql
	AS $$BEGIN RAISE EXCEPTION 'alice has a secret' USING ERRCODE = 'XX001', HINT = 'Ask her.'; END$$;
	CREATE TRIGGER fail BEFORE INSERT ON alice.bad FOR EACH STATEMENT EXECUTE FUNCTION alice.fail()});
land('alice', 'bad', 6, 7);
status_becomes('bad', 'backing off|alice has a secret', 'backing off');
is(column('bad', q{last_error, sqlstate, hint, next_try > since, next_try < now() + interval '6 min', since > now() - interval '1 min',
		lag_records, lag_time BETWEEN '1 h' AND '2 h'}), 'alice has a secret|XX001|Ask her.|t|t|t|2|t', '.. with the error and the next try');
is(column('good', 'state'), 'running', 'its neighbour runs');
is(sql(q{SET ROLE bob; SELECT string_agg(pipeline, ',') FROM cdc_status}), 'other', 'bob sees his own');
unlike(sql(q{SET ROLE bob; SELECT * FROM cdcsync.pipelines(); SELECT * FROM cdcsync.partition_status; SELECT * FROM cdcsync.worker_status}),
	qr/secret/, '.. and no error of others');
is(sql(q{SET ROLE bob; SELECT count(*) FROM cdcsync.worker_status WHERE owner = 'alice'::regrole AND activity NOT LIKE '%insufficient privilege%'}),
	'0', '.. nor what their workers do');

# while it is paused the error can still be seen
sql(q{SELECT cdc_pause('bad')});
is(column('bad', 'state, last_error'), 'paused|alice has a secret', 'paused, with the last error');
my $resumed = sql(q{SELECT clock_timestamp() FROM cdc_resume('bad')});
ok($node->poll_query_until('postgres',
		qq{SELECT state = 'backing off' AND since > '$resumed' FROM cdc_status WHERE pipeline = 'bad'}),
	'resumed, it fails anew');

#
# No worker
#
is(sql('SELECT cdc_stop()'), 't', 'cdc_stop');
is(column('good', 'state, reason, hint'),
	'waiting|the workers of this database were stopped|Start them with SELECT cdc_start().', 'stopped by cdc_stop()');
is(column('bad', 'state, last_error, next_try IS NULL'), 'waiting|alice has a secret|t', 'nothing is tried again then');
is(sql('SELECT worker FROM cdcsync.worker_status'), 'launcher', 'only the launcher is left');
is(sql('SELECT cdc_start()'), 't', 'cdc_start');
status_becomes('bad', 'backing off|alice has a secret', 'it is tried again');
sql('DROP TRIGGER fail ON alice.bad');
sql(q{SELECT cdc_pause('bad'), cdc_resume('bad')});
becomes(q{SELECT state, last_error, lag_records FROM cdc_status WHERE pipeline = 'bad'}, 'running||0', 'all is well again');

#
# A long backlog: 43 % of it is done
#
sql(q{UPDATE cdcsync.watermark SET events = 5160000 WHERE pipeline = 'good';
	  UPDATE cdcsync.position o SET high_offset = next_offset + 6840000, refreshed_at = clock_timestamp()
	  FROM cdcsync.pipeline p WHERE p.landing_id = o.landing_id AND p.name = 'good'});
like(column('good', 'state, reason'), qr/^running\|43 % of 12,000,000 records(, about \d+ (min|h|days) left)?$/, 'how far a load is');
sql(q{UPDATE cdcsync.watermark SET events = 5160000000 WHERE pipeline = 'good'});
like(column('good', 'state, reason'), qr/^running\|6,840,000 records to go(, about \d+ (min|h|days) left)?$/, 'how much of a backlog is left');
sql(q{UPDATE cdcsync.position SET high_offset = NULL, refreshed_at = NULL});

#
# A topic: not there yet, read, out of reach
#
my $broker = start_broker();
my $servers = $broker->bootstrap;
$broker->topic('events', 2);
sql(qq{
	CREATE SERVER kafka FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', connect_timeout '2');
	GRANT USAGE ON FOREIGN SERVER kafka TO alice;
	CREATE SCHEMA topics;
	GRANT USAGE ON SCHEMA topics TO alice;
	IMPORT FOREIGN SCHEMA kafka FROM SERVER kafka INTO topics;
	GRANT SELECT ON ALL TABLES IN SCHEMA topics TO alice;
	SET ROLE alice; SET search_path = alice, public;
	CREATE TABLE events (id bigint PRIMARY KEY);
	SELECT cdc_create('events', topic => 'topics.events', target => 'events')});
status_becomes('events', 'running|', 'a topic is read');
becomes(q{SELECT count(*), sum(next_offset), sum(lag_records) FROM cdcsync.partition_status WHERE pipeline = 'events'},
	'2|0|0', '.. of which the partitions are known');
$broker->rec('events', 1, value => '{"op": "c", "after": {"id": 1}, "source": {"ts_ms": 1700000000000}}', timestamp => 1700000000000);
$broker->sync;
becomes('SELECT count(*) FROM alice.events', '1', 'it lands and is synced');
becomes(q{SELECT next_offset, end_offset, watermark, lag_records, lag_time FROM cdcsync.partition_status
		  WHERE pipeline = 'events' AND kafka_partition = 1}, '1|1|1|0|00:00:00', '.. so the partition says');
is(column('events', q{landed_rate > 0, synced_rate > 0}), 't|t', 'rates are measured');
is(sql(q{SELECT owner, server, slice, slices FROM cdcsync.worker_status WHERE worker = 'ingest'}), 'alice|kafka|0|1', 'the ingest worker');
sql(q{
	CREATE FOREIGN TABLE topics.later (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char",
		kafka_timestamp timestamp, kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER kafka OPTIONS (topic 'later');
	GRANT SELECT ON topics.later TO alice;
	SET ROLE alice; SET search_path = alice, public;
	CREATE TABLE later (id bigint PRIMARY KEY);
	SELECT cdc_create('later', topic => 'topics.later', target => 'later')});
status_becomes('later', 'waiting|topic "later" does not exist yet', 'a topic that is not there yet');
is(column('later', 'lag_records IS NULL, lag_time IS NULL'), 't|t', '.. has no lag that could be known');
$broker->down;
becomes(q{SELECT state, reason = last_error, sqlstate IS NOT NULL, next_try > since,
		lag_records, lag_time > interval '0' AND lag_time < interval '10 min' FROM cdc_status WHERE pipeline = 'events'},
	'backing off|t|t|t|0|t', 'Kafka is away');
is(column('good', 'state, lag_time'), 'running|00:00:00', 'what needs no Kafka runs');
$broker->up;
becomes(q{SELECT state, last_error, lag_time FROM cdc_status WHERE pipeline = 'events'}, 'running||00:00:00', 'it is back');

#
# An owner who cannot connect
#
SKIP:
{
	skip 'a worker may connect as a role without LOGIN', 1 if $node->pg_version >= 17;
	sql('ALTER ROLE alice NOLOGIN');
	sql(q{SELECT pg_terminate_backend(pid) FROM cdcsync.worker_status WHERE owner = 'alice'::regrole});
	becomes(q{SELECT state, reason, hint FROM cdc_status WHERE pipeline = 'good'},
		'backing off|the owner, role "alice", is not permitted to log in|Use ALTER ROLE alice LOGIN (a password need not be set), or give the pipeline\'s tables to another role.',
		'an owner without LOGIN');
	sql('ALTER ROLE alice LOGIN');
}

#
# A standby
#
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('status_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT state, reason, lag_records FROM cdc_status WHERE pipeline = 'good'}),
	'waiting|this server is a standby|0', 'a standby says so');
is($standby->safe_psql('postgres', q{SELECT state, lag_records > 0, lag_time > interval '0' FROM cdc_status WHERE pipeline = 'other'}),
	'stopped|t|t', '.. and how far behind they are');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM cdcsync.partition_status}), '5', '.. and shows partitions');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM cdcsync.worker_status}), '0', '.. and no process');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT state FROM cdc_status WHERE pipeline = 'good'}, 'running'),
	'it runs when it is promoted');
$standby->stop;

#
# No slot: for a worker, for a manager
#
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
land('alice', 'good', 21, 22);
status_becomes('good', 'waiting|no slot is free for a worker', 'no slot for a worker');
is(column('good', 'sqlstate, hint'), '53400|Increase max_worker_processes.', '.. and what to do');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
status_becomes('good', 'waiting|no slot is free for the workers of this database', 'no slot for a manager');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
is(column('good', 'state, reason'), 'waiting|the launcher is not running', 'no slot for the launcher');

#
# Not preloaded
#
$node->append_conf('postgresql.conf', "max_worker_processes = 16\nshared_preload_libraries = ''");
$node->restart;
is(column('good', 'state, reason'), 'waiting|no worker is running: call cdc_refresh() and cdc_sync()', 'not preloaded');
like(column('good', 'hint'), qr/shared_preload_libraries = 'cdcsync'.*cdc_start\(\)/, '.. and what to do');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cdcsync%'}), '0', 'nothing runs');
is(sql('SELECT cdc_start()'), 't', 'cdc_start() without the launcher');
becomes(q{SELECT state, lag_records FROM cdc_status WHERE pipeline = 'good'}, 'running|0', 'runs');
is(sql(q{SELECT bool_or(worker = 'manager'), bool_or(worker = 'launcher') FROM cdcsync.worker_status}), 't|f', 'without a launcher');
$node->stop;

done_testing();
