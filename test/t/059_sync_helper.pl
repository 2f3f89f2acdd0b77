# The process that decodes for a sync: whatever becomes of it, the sync does what it
# does without it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use CdcFaults;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('helper');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
log_min_messages = debug1
max_worker_processes = 8
cdcsync.max_sync_workers = 1
restart_after_crash = on
});
$node->start;
my $faults = has_faults($node);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub helpers
{
	my $log = slurp_file($node->logfile);

	return scalar(() = $log =~ /starting background worker process "cdcsync sync helper/g);
}

sub helper_pid
{
	my $pid;

	for (my $tries = 0; $tries < 600 && !$pid; $tries++)
	{
		select(undef, undef, undef, 0.05) if $tries > 0;
		$pid = sql(q{SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'cdcsync sync helper'});
	}
	return $pid;
}

sub gone
{
	my ($what) = @_;

	ok($node->poll_query_until('postgres', q{
		SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cdcsync sync helper'}), "$what: the helper has gone");
	return;
}

# Two pipelines of one landing: one is synced with a helper, the other without.
sql(q{
	CREATE EXTENSION cdcsync;
	CREATE TABLE helped (id bigint PRIMARY KEY, name text, note text, n int);
	CREATE TABLE alone (LIKE helped INCLUDING ALL);
	SELECT cdc_create('helped', target => 'helped', options => '{"max_quarantine_share": 1}');
	SELECT cdc_create('alone', target => 'alone', options => '{"max_quarantine_share": 1, "landing": "helped_debezium"}');
	CREATE TABLE counter AS SELECT 0 AS n;

	CREATE FUNCTION image(id int, name text, note text, n int) RETURNS text LANGUAGE sql AS $$
		SELECT format('{"id":%s,"name":"%s","note":"%s","n":%s}', id, name, note, n) $$;
	CREATE FUNCTION event(op text, before text, after text, pos int) RETURNS bytea LANGUAGE sql AS $$
		SELECT convert_to(format('{"before":%s,"after":%s,"source":{"version":"3.4.0.Final","connector":"mysql","name":"s",'
			'"ts_ms":%s,"snapshot":"false","db":"d","sequence":null,"table":"t","server_id":1,"gtid":null,'
			'"file":"b.000042","pos":%s,"row":0},"transaction":null,"op":"%s","ts_ms":%s}',
			coalesce(before, 'null'), coalesce(after, 'null'), pos, pos, op, pos + 5), 'UTF8') $$;

	-- 12 chunks in two partitions, of all sorts of records
	CREATE PROCEDURE land() LANGUAGE plpgsql AS $$
	DECLARE
		p int;
	BEGIN
		UPDATE counter SET n = n + 1000 RETURNING n INTO p;
		FOR chunk IN 1 .. 6 LOOP
			INSERT INTO helped_debezium (kafka_partition, kafka_key, kafka_value)
			SELECT k % 2, CASE WHEN i % 41 > 0 THEN convert_to(format('{"id":%s}', k), 'UTF8') END,
				CASE WHEN i % 17 = 0 THEN event('d', image(k, 'x', 'y', 1), NULL, p + 100 * chunk + i)
					WHEN i % 37 = 0 THEN NULL
					WHEN i % 31 = 0 THEN event('c', NULL, image(k, 'bad', 'number', 1), p + 100 * chunk + i) || '!'
					WHEN i % 29 = 0 THEN event('u', NULL, format('{"id":%s,"n":99999999999,"name":"too large"}', k), p + 100 * chunk + i)
					WHEN i % 23 = 0 THEN event('u', image(k, 'a', 'b', 1), image(k + 2, 'moved', 'key', i), p + 100 * chunk + i)
					WHEN i % 7 = 0 THEN event('u', NULL, format('{"id":%s,"name":"n%s","note":"__debezium_unavailable_value","n":%s}', k, p, i), p + 100 * chunk + i)
					ELSE event('u', image(k, 'a' || i, 'b', i), image(k, format('name %s\n', p), repeat('note ', i % 9), i), p + 100 * chunk + i) END
			FROM generate_series(1, 90) AS i, LATERAL (SELECT (i * 7 + chunk * 3 + p / 1000) % 60 AS k) AS x;
			IF chunk = 3 THEN
				-- more than a slot takes
				INSERT INTO helped_debezium (kafka_partition, kafka_key, kafka_value)
				VALUES (0, '{"id":1000}', event('c', NULL, image(1000, 'large', repeat('x', 3000000), p), p + 399));
			END IF;
			COMMIT;
		END LOOP;
	END $$});

# What there is after a sync of each, and the same?
my $seen = 0;

sub same
{
	my ($what, $sync) = @_;

	sql(q{SET cdcsync.min_parallel_sync_size = -1; SELECT cdc_sync('alone') IS NULL});
	sql(q{SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('helped') IS NULL}) unless $sync;
	is(sql(q{SELECT count(*) FROM (TABLE helped EXCEPT TABLE alone) AS x}) . ' '
		  . sql(q{SELECT count(*) FROM (TABLE alone EXCEPT TABLE helped) AS x}), '0 0', "$what: the targets are the same");
	is( sql(q{
			SELECT count(*) FROM (
				SELECT kafka_partition, kafka_offset, kafka_key, kafka_value, kafka_headers, column_name, sqlstate, message, blocked_by, count(*), min(pipeline)
				FROM cdcsync.quarantine GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9) AS x WHERE count <> 2}),
		'0', "$what: quarantine, too");
	my $now = sql(q{SELECT sum(hashtext(t::text)) FROM helped AS t});
	isnt($now, $seen, "$what: something has come");
	$seen = $now;
	return;
}

#
# Nothing happens to it
#
sql('CALL land()');
same('first');
my $before = helpers();
cmp_ok($before, '>', 0, 'there was one');
sql('CALL land()');
same('again');
cmp_ok(helpers(), '>', $before, 'and another one');
ok(sql('SELECT count(*) > 10 FROM helped'), 'there are rows');
ok(sql(q{SELECT count(*) > 10 FROM cdcsync.quarantine WHERE kafka_value IS NOT NULL}), 'and bad records, with their bytes');
sql('CALL land()');
foreach my $max (1, 2)
{
	sql("SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('helped', $max) IS NULL");
}
same('windows');
gone('at the end');

# A helper waits for its sync on a latch, which the deadlock detector does not see.
sql(q{INSERT INTO helped_debezium (kafka_partition, kafka_key, kafka_value) VALUES (0, '{"id":8}', event('u', NULL, image(8, 'lock', 'row', 1), 1))});
is( sql(q{SET cdcsync.min_parallel_sync_size = 0;
	BEGIN;
	SELECT cdc_sync('helped') IS NULL;
	SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'helped_debezium_chunk'::regclass;
	COMMIT}), "f\nAccessShareLock", 'a sync has the lock that its helper has');

# .. for as long as there is one: not when the window is undone in which it was started,
# and others of the backlog, of more than a window and the slots, are left.
sql(q{
	CREATE TABLE refused (LIKE helped INCLUDING ALL);
	SELECT cdc_create('refused', target => 'refused');
	INSERT INTO refused_debezium (kafka_key, kafka_value) SELECT convert_to(format('{"id":%s}', i), 'UTF8'), 'no JSON' FROM generate_series(1, 200) AS i;
	INSERT INTO refused_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"id":%s}', i), 'UTF8'), event('c', NULL, image(i, 'large', repeat('x', 100000), i), i) FROM generate_series(1, 1700) AS i});
$before = helpers();
my $other = $node->background_psql('postgres');
$other->query_safe(q{BEGIN; SELECT name FROM cdcsync.pipeline WHERE name = 'refused' FOR NO KEY UPDATE});
my ($nothing, $said) = ('', '');
my $stopped = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'),
		'-c', 'SET cdcsync.min_parallel_sync_size = 0', '-c', q{SELECT 'returned' FROM cdc_sync('refused')} ],
	'<', \$nothing, '>', \$said, '2>&1');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%cdc_sync(''refused'')'}),
	'a sync has to wait when it stops its pipeline');
is(helpers(), $before + 1, 'it had a helper');
$other->query_safe(q{SET lock_timeout = '20s'; LOCK TABLE refused_debezium_chunk IN ACCESS EXCLUSIVE MODE});
pass('and who makes it wait need not wait for that');
$other->query_safe('COMMIT');
$other->quit;
$stopped->finish;
like($said, qr/pipeline "refused" is stopped.*returned/s, 'the pipeline is stopped');
sql(q{SELECT cdc_drop('refused'); DROP TABLE refused});

# The chunks are their owner's: whatever is made of them, nothing crashes.
sql(q{
	CREATE TABLE spoilt (LIKE helped INCLUDING ALL);
	SELECT cdc_create('spoilt', target => 'spoilt');
	INSERT INTO spoilt_debezium (kafka_partition, kafka_key, kafka_value)
	SELECT p, convert_to(format('{"id":%s}', 100 * p + i), 'UTF8'), event('c', NULL, image(100 * p + i, 'name', 'note', i), 1000 * p + i)
	FROM generate_series(0, 1) AS p, generate_series(1, 30) AS i;
	UPDATE spoilt_debezium_chunk SET kafka_offset = (SELECT array_agg(o + CASE WHEN o > 0 THEN 1000000 ELSE 0 END ORDER BY o)
		FROM generate_series(0, 29) AS o) WHERE kafka_partition = 0});
my (undef, undef, $error) = $node->psql('postgres', q{SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('spoilt')});
like($error, qr/chunk of a landing is not well-formed/, 'records behind the position are noticed');
is(sql('SELECT count(*) FROM spoilt'), '0', 'and nothing is made of them');

#
# None, as there are as many as sync workers
#
sql('CALL land()');
my $first = $node->background_psql('postgres');
$first->query_safe(q{SET cdcsync.min_parallel_sync_size = 0; BEGIN; SELECT cdc_sync('helped') IS NULL});
$before = helpers();
sql(q{SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('alone') IS NULL});
is(helpers(), $before, 'beside a sync that has a helper another one has none');
$first->query_safe('COMMIT');
$first->quit;
same('one helper for two', 1);
sql('CALL land()');
sql(q{SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('alone') IS NULL});
cmp_ok(helpers(), '>', $before, '.. and gets one when that has committed');
same('each with a helper');

#
# None, as it would not see the same
#
$before = helpers();
sql('CALL land()');
sql(q{SET cdcsync.min_parallel_sync_size = 0;
	BEGIN;
	INSERT INTO helped_debezium (kafka_partition, kafka_key, kafka_value) VALUES (0, '{"id":7}', event('u', NULL, image(7, 'own', 'row', 1), 1000000));
	SELECT cdc_sync('helped') IS NULL;
	COMMIT});
same('after an INSERT in the transaction', 1);
is(sql(q{SELECT name FROM helped WHERE id = 7}), 'own', 'what the transaction wrote is there');
sql('CALL land()');
sql(q{SET cdcsync.min_parallel_sync_size = 0; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT cdc_sync('helped') IS NULL; COMMIT});
same('in a transaction that keeps its snapshot', 1);
sql('CALL land()');
sql(q{SET cdcsync.min_parallel_sync_size = 0; SET max_parallel_workers_per_gather = 0; SELECT cdc_sync('helped') IS NULL});
same('where parallel queries are not wanted', 1);
sql('CALL land()');
sql(q{SET cdcsync.min_parallel_sync_size = '16MB'; SELECT cdc_sync('helped') IS NULL});
same('a small backlog', 1);
is(helpers(), $before, 'they had none');

#
# Something happens to it
#
SKIP:
{
	skip 'the server was built without CDC_FAULTS', 1 unless $faults;
	foreach my $fault ('error:1', 'error:5', 'exit:1', 'exit:4', 'wait:3')
	{
		$before = helpers();
		set_fault($node, "helper_chunk:$fault");
		sql('CALL land()');
		same("fault $fault");
		cmp_ok(helpers(), '>', $before, "fault $fault: there was one");
		set_fault($node, '');
		gone("fault $fault");
	}

	# ended by somebody
	foreach my $end ('pg_terminate_backend', 'pg_cancel_backend')
	{
		set_fault($node, 'helper_chunk:wait:4');
		sql('CALL land()');
		my ($in, $out) = ('', '');
		my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'),
				'-c', 'SET cdcsync.min_parallel_sync_size = 0', '-c', q{SELECT 'synced' FROM cdc_sync('helped')} ],
			'<', \$in, '>', \$out, '2>&1');
		my $pid = helper_pid();
		sql("SELECT $end($pid)");
		$run->finish;
		like($out, qr/synced/, "$end: the sync goes on");
		set_fault($node, '');
		same($end, 1);
		gone($end);
	}

	# the sync is ended while it waits
	set_fault($node, 'helper_chunk:wait:2');
	sql('CALL land()');
	my ($rc, $stdout, $stderr) = $node->psql('postgres',
		q{SET cdcsync.min_parallel_sync_size = 0; SET statement_timeout = '700ms'; SELECT cdc_sync('helped')});
	like($stderr, qr/statement timeout/, 'a sync that waits can be cancelled');
	set_fault($node, '');
	gone('cancelled');
	same('after that');

	# it crashes, and the server with it
	set_fault($node, 'helper_chunk:kill:3');
	sql('CALL land()');
	$node->psql('postgres', q{SET cdcsync.min_parallel_sync_size = 0; SELECT cdc_sync('helped')});
	set_fault($node, '');
	ok($node->poll_query_until('postgres', 'SELECT true'), 'the server comes back');
	same('after a crash');
}

#
# There is no room for it
#
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
sql('CALL land()');
same('no process to be had');
like(slurp_file($node->logfile), qr/no helper for the sync: there is no room/, 'that was it');

$node->stop;
done_testing();
