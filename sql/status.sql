-- What the monitoring views show where no worker runs.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE ROLE regress_cdc_watched;
CREATE ROLE regress_cdc_other;
RESET client_min_messages;
CREATE SCHEMA status_test;
GRANT CREATE, USAGE ON SCHEMA status_test TO regress_cdc_watched;
SET search_path = status_test, public;
SET ROLE regress_cdc_watched;
CREATE TABLE t (id bigint PRIMARY KEY, v text);
SELECT cdc_create('t', target => 't');

-- a change as of that many seconds ago, by each of the clocks
CREATE FUNCTION change(id int, source int, connector int) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(jsonb_strip_nulls(jsonb_build_object('op', 'c', 'after', jsonb_build_object('id', id, 'v', 'x'),
		'source', jsonb_build_object('ts_ms', (extract(epoch FROM now()) * 1000)::bigint - source * 1000),
		'ts_ms', (extract(epoch FROM now()) * 1000)::bigint - connector * 1000))::text, 'UTF8')
$$;
-- the whole hours that the target is behind
CREATE VIEW lag AS
SELECT pipeline, lag_records, extract(epoch FROM lag_time)::bigint / 3600 AS hours FROM cdc_status ORDER BY pipeline;

-- nothing has landed
SELECT pipeline, state, reason, next_try, lag_records, lag_time, landed_rate, synced_rate, quarantined, exact, last_error,
	   sqlstate, hint FROM cdc_status \gx
SELECT * FROM cdcsync.partition_status;
SELECT * FROM cdcsync.worker_status;

-- how old the first unsynced change is: by the source's clock, else the connector's, else Kafka's, else ours
INSERT INTO t_debezium (kafka_partition, kafka_timestamp, kafka_value) VALUES
	(0, now() AT TIME ZONE 'UTC' - interval '2 h', change(1, 9 * 3600 + 60, 7 * 3600)),
	(0, now() AT TIME ZONE 'UTC' - interval '2 h', change(2, NULL, 7 * 3600 + 60)),
	(0, now() AT TIME ZONE 'UTC' - interval '5 h 1 min', 'broken'),
	(0, NULL, NULL);
SELECT * FROM lag;
SELECT events FROM cdc_sync('t', max_windows => 1);
SELECT * FROM lag;
CREATE PROCEDURE at(wanted bigint) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	UPDATE cdcsync.watermark SET next_offset = wanted WHERE pipeline = 't' AND kafka_partition = 0;
END $$;
RESET ROLE;
ALTER PROCEDURE at OWNER TO CURRENT_USER;
SET ROLE regress_cdc_watched;
CALL at(1);
SELECT * FROM lag;
CALL at(2);
SELECT * FROM lag;
CALL at(3);
SELECT * FROM lag;
-- clocks of the source may be ahead of ours
INSERT INTO t_debezium (kafka_partition, kafka_value) VALUES (1, change(4, -7200, -7200));
CALL at(4);
SELECT lag_records, lag_time FROM cdc_status;
-- the oldest of the partitions counts
INSERT INTO t_debezium (kafka_partition, kafka_value) VALUES (2, change(5, 4 * 3600 + 60, 0)), (0, change(6, 3 * 3600 + 60, 0));
SELECT * FROM lag;
SELECT pipeline, kafka_partition, epoch, next_offset, end_offset, watermark_epoch, watermark, lag_records,
	   extract(epoch FROM lag_time)::bigint / 3600 AS hours, events, resent, synced_at IS NOT NULL AS synced,
	   quarantined, last_error
FROM cdcsync.partition_status ORDER BY kafka_partition;

-- read only, and with an old snapshot
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT * FROM lag;
-- no lock on the landing stays
SELECT count(*) FROM pg_locks WHERE relation = 't_debezium_chunk'::regclass AND pid = pg_backend_pid();
COMMIT;

-- whatever the owner makes of the table, it is not the one's trouble who looks
BEGIN;
UPDATE t_debezium_chunk SET kafka_value = '{}';
SELECT state, lag_records, lag_time > interval '0' AS behind FROM cdc_status;
SELECT kafka_partition, lag_records, lag_time IS NULL AS unknown FROM cdcsync.partition_status ORDER BY kafka_partition;
ROLLBACK;
BEGIN;
REVOKE ALL ON t_debezium_chunk FROM regress_cdc_watched;
SELECT state, lag_records, lag_time > interval '0' AS behind FROM cdc_status;
ROLLBACK;
SELECT events FROM cdc_sync('t');
SELECT lag_records, lag_time, landed_rate > 0 AS measured FROM cdc_status;

-- paused, stopped, resumed
SELECT cdc_pause('t', 'month''s end');
SELECT state, reason, hint, since = now() AS now FROM cdc_status;
RESET ROLE;
UPDATE cdcsync.pipeline SET state = 'stopped', paused_what = NULL, reason = 'it broke', last_error = 'it broke',
	   last_sqlstate = '22P02', hint = 'Mend it.', since = '2025-01-31 12:00+00' WHERE name = 't';
SET ROLE regress_cdc_watched;
SELECT state, reason, hint, last_error, sqlstate, since, next_try FROM cdc_status;
SELECT cdc_resume('t');
SELECT state, last_error, sqlstate FROM cdc_status;

-- a topic that nobody has looked at, that is read to its end, and that has more than was read
RESET ROLE;
CREATE SERVER status_broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers 'localhost:1');
GRANT USAGE ON FOREIGN SERVER status_broker TO regress_cdc_watched;
CREATE FOREIGN TABLE topic (kafka_partition bigint, kafka_offset bigint, kafka_key bytea, kafka_value bytea)
	SERVER status_broker OPTIONS (topic 'topic');
GRANT SELECT ON topic TO regress_cdc_watched;
SET ROLE regress_cdc_watched;
SELECT cdc_create('k');
RESET ROLE;
UPDATE cdcsync.landing SET topic = 'topic' WHERE view = 'k_debezium'::regclass;
SET ROLE regress_cdc_watched;
SELECT state, reason, lag_records, lag_time FROM cdc_status WHERE pipeline = 'k';
RESET ROLE;
INSERT INTO cdcsync.position (landing_id, kafka_partition, next_offset, high_offset, refreshed_at)
	SELECT landing_id, 0, 100, 100, now() - interval '3 h 1 min' FROM cdcsync.pipeline WHERE name = 'k';
INSERT INTO cdcsync.watermark (pipeline, kafka_partition, epoch, next_offset, source_ts_ms, events)
	VALUES ('k', 0, 0, 100, (extract(epoch FROM now()) * 1000)::bigint - 5 * 3600 * 1000, 100);
SELECT * FROM lag WHERE pipeline = 'k';
-- what was not read is younger than the newest change that was applied
UPDATE cdcsync.position SET high_offset = 120 WHERE landing_id = (SELECT landing_id FROM cdcsync.pipeline WHERE name = 'k');
SELECT * FROM lag WHERE pipeline = 'k';

-- a gap: reading goes on behind it, or stops
SELECT exact FROM cdc_status WHERE pipeline = 'k';
INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch, first_offset, next_offset, reason, passed)
	SELECT landing_id, 0, 0, 50, 60, 'records have expired', true FROM cdcsync.pipeline WHERE name = 'k';
INSERT INTO cdcsync.inexact (pipeline, reason, kafka_partition, epoch, next_offset)
	VALUES ('k', 'records have expired', 0, 0, 60);
SELECT pipeline, exact FROM cdc_status ORDER BY pipeline;
SELECT kafka_partition, last_error FROM cdcsync.partition_status WHERE pipeline = 'k';
INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch, first_offset, next_offset, reason, passed)
	SELECT landing_id, 0, 0, 100, 110, 'more records have expired', false FROM cdcsync.pipeline WHERE name = 'k';
SELECT kafka_partition, last_error FROM cdcsync.partition_status WHERE pipeline = 'k';

-- others see nothing
SET ROLE regress_cdc_other;
SELECT count(*) FROM cdc_status;
SELECT count(*) FROM cdcsync.pipelines();
SELECT count(*) FROM cdcsync.partitions();
SELECT count(*) FROM cdcsync.partition_status;
SELECT count(*) FROM cdcsync.inexact;
SET ROLE regress_cdc_watched;
SELECT pipeline, reason FROM cdcsync.inexact;
SELECT pipeline FROM cdc_status ORDER BY 1;
SELECT cdc_drop('*');
SELECT count(*) FROM cdc_status;
SELECT count(*) FROM cdcsync.inexact;

RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA status_test CASCADE;
DROP SERVER status_broker CASCADE;
DROP ROLE regress_cdc_watched, regress_cdc_other;
