-- Pipelines: create, look at, alter, pause, resume.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE SCHEMA pipeline_test;
SET search_path = pipeline_test, public;

CREATE VIEW relations AS
SELECT c.relname, c.relkind
FROM pg_class c
WHERE c.relnamespace = 'pipeline_test'::regnamespace AND c.relkind IN ('r', 'v', 'p')
  AND c.relname <> 'relations';

CREATE TABLE customer_target (customer_id varchar(256) PRIMARY KEY, customer_name varchar(256),
							  market_segment varchar(256), refresh_time timestamp);
SELECT cdc_create('customer', target => 'customer_target',
				  columns => '{"customer_id": "CUST_ID", "customer_name": "NAME",
							   "market_segment": {"field": "MKTSEGMENT"}}');
SELECT * FROM relations ORDER BY relname;
SELECT pipeline, state, reason, next_try, lag_records, lag_time, landed_rate, synced_rate,
	   quarantined, exact, last_error, sqlstate, hint
FROM cdc_status WHERE pipeline = 'customer';
SELECT * FROM debezium_last_extract WHERE process_name = 'customer';
SELECT view, chunk, topic, options FROM cdcsync.landing WHERE view = 'customer_debezium'::regclass;
SELECT name, staging, target, target_made, key, columns, options, state
FROM cdcsync.pipeline WHERE name = 'customer';

-- the columns of the monitoring view are its interface
SELECT attname, atttypid::regtype FROM pg_attribute
WHERE attrelid = 'public.cdc_status'::regclass AND attnum > 0 ORDER BY attnum;

-- every function says what it does
SELECT p.oid::regprocedure
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	 JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'cdcsync'
WHERE obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;

-- names: quoted, mixed case, not ASCII; composite key; schemas
CREATE SCHEMA pipeline_helpers;
CREATE TABLE "Größe ""x""" ("Id" bigint, "land" text, "Wert" numeric, UNIQUE ("land", "Id"));
SELECT cdc_create('Größe "x"', target => '"Größe ""x"""', key => ARRAY['Id', 'land'],
				  columns => '{"Wert": {"field": "wert", "scale": 2, "unsigned": true, "unit": "us",
										"encoding": "base64", "timezone": "Europe/Paris"}}',
				  options => '{"helper_schema": "pipeline_helpers", "retention": "2 days", "strict": true,
							   "max_quarantine_share": 0.5, "sync_interval": 5, "refresh_interval": null,
							   "auto_sync": false, "unavailable_value_placeholder": "n/a",
							   "on_gap": "stop", "constraint_wait": "00:10"}');
SELECT staging, target, key, options FROM cdcsync.pipeline WHERE name = 'Größe "x"';

-- a partitioned target, and a key without an index
CREATE TABLE part_target (id bigint, v text) PARTITION BY HASH (id);
SELECT cdc_create('part', target => 'part_target', key => ARRAY['id']);

-- no target yet: it is made at the first event
SELECT cdc_create('later', options => '{"start": "2025-01-31 12:00:00+01"}');
SELECT pipeline, state, reason, lag_records FROM cdc_status WHERE pipeline = 'later';
SELECT staging, target, key FROM cdcsync.pipeline WHERE name = 'later';
SELECT options FROM cdcsync.landing WHERE view = 'later_debezium'::regclass;

-- a time without a zone is UTC, whatever the session says
SET TimeZone = 'America/New_York';
SELECT cdc_create('later2', options => '{"start": "2025-01-31 12:00:00"}');
SELECT options FROM cdcsync.landing WHERE view = 'later2_debezium'::regclass;
RESET TimeZone;

-- two pipelines on one landing
CREATE TABLE customer_names (id text PRIMARY KEY);
SELECT cdc_create('customer_names', target => 'customer_names', columns => '{"id": "CUST_ID"}',
				  options => '{"landing": "customer_debezium"}');
SELECT count(*), count(DISTINCT landing_id) FROM cdcsync.pipeline WHERE name LIKE 'customer%';
SELECT * FROM relations WHERE relname LIKE 'customer_names%' ORDER BY relname;

-- alter: options key by key, columns as a whole
SELECT cdc_alter('customer', options => '{"retention": "3 days", "strict": true}');
SELECT cdc_alter('customer', options => '{"retention": null, "sync_interval": "1 min"}');
SELECT cdc_alter('customer', columns => '{"customer_id": "CUST_ID", "customer_name": "$source.table"}');
SELECT columns, options FROM cdcsync.pipeline WHERE name = 'customer';
ALTER TABLE customer_target ADD COLUMN city text;
SELECT cdc_alter('customer', columns => '{"customer_id": "CUST_ID"}');
SELECT attname FROM pg_attribute WHERE attrelid = 'customer_stg'::regclass AND attnum > 0 AND NOT attisdropped
	AND attname IN ('customer_id', 'city', 'op') ORDER BY attnum;

-- pause and resume
SELECT cdc_pause('customer', 'maintenance');
SELECT state, reason FROM cdc_status WHERE pipeline = 'customer';
SELECT cdc_pause('later*', what => 'all');
SELECT name, paused_what FROM cdcsync.pipeline WHERE state = 'paused' ORDER BY name;
SELECT cdc_resume('customer');
SELECT cdc_resume('*ter2') AS later2;
SELECT cdc_resume('no such *');
SELECT pipeline, state FROM cdc_status WHERE pipeline IN ('customer', 'later', 'later2') ORDER BY pipeline;

-- stopped by an error: resumed, its traces are gone
UPDATE cdcsync.pipeline SET state = 'stopped', reason = 'it broke', last_error = 'it broke',
	last_sqlstate = '42501', hint = 'Mend it.' WHERE name = 'customer';
SELECT state, reason, last_error, sqlstate, hint FROM cdc_status WHERE pipeline = 'customer';
SELECT cdc_resume('customer');
SELECT state, last_error, sqlstate, hint FROM cdc_status WHERE pipeline = 'customer';

-- a stamp of another database pauses everything
UPDATE cdcsync.pipeline SET stamp_database = 1 WHERE name = 'customer';
SELECT state, reason FROM cdc_status WHERE pipeline = 'customer';
SELECT * FROM cdc_sync('customer');
SELECT * FROM cdc_refresh('customer');
SELECT cdc_resume('customer');
SELECT state FROM cdc_status WHERE pipeline = 'customer';

-- lag: what is in the log but not in the target
INSERT INTO cdcsync.position (landing_id, kafka_partition, next_offset, high_offset)
	SELECT landing_id, p, 100, 120 FROM cdcsync.pipeline, generate_series(0, 1) p WHERE name = 'customer';
INSERT INTO cdcsync.watermark (pipeline, kafka_partition, epoch, next_offset, refresh_time)
	VALUES ('customer', 0, 0, 90, '2025-01-31 12:00'), ('customer', 1, 0, 100, '2025-01-31 13:00');
SELECT pipeline, lag_records, lag_time IS NOT NULL AS known FROM cdc_status WHERE pipeline LIKE 'customer%' ORDER BY pipeline;
SELECT * FROM debezium_last_extract WHERE process_name LIKE 'customer%' ORDER BY process_name;
INSERT INTO customer_debezium_chunk (kafka_partition, epoch, first_offset, last_offset, refresh_time,
									 kafka_timestamp_type, kafka_timestamp, kafka_key, kafka_value)
	SELECT 0, 0, f, f + 49, timestamp '2025-01-31 11:00' + f * interval '1 min', 'C',
		   array_fill(NULL::timestamp, '{50}'), array_fill(NULL::bytea, '{50}'), array_fill(NULL::bytea, '{50}')
	FROM (VALUES (0), (50)) v (f);
SELECT lag_records, (clock_timestamp() AT TIME ZONE 'UTC' - lag_time)::timestamp(0) AS oldest
FROM cdc_status WHERE pipeline = 'customer';
SELECT pipeline, lag_records FROM cdc_status WHERE pipeline = 'customer_names';
-- an epoch later: the rest of the old epoch and all of the new one
UPDATE cdcsync.position SET epoch = 1, next_offset = 10, high_offset = 10
	WHERE kafka_partition = 0 AND landing_id = (SELECT landing_id FROM cdcsync.pipeline WHERE name = 'customer');
INSERT INTO customer_debezium_chunk (kafka_partition, epoch, first_offset, last_offset, refresh_time,
									 kafka_timestamp_type, kafka_timestamp, kafka_key, kafka_value)
	VALUES (0, 1, 0, 9, '2025-02-01', 'C', array_fill(NULL::timestamp, '{10}'),
			array_fill(NULL::bytea, '{10}'), array_fill(NULL::bytea, '{10}'));
SELECT lag_records - 20 AS partition_0 FROM cdc_status WHERE pipeline = 'customer';

-- resume looks at the positions
SELECT cdc_pause('customer');
UPDATE cdcsync.position SET next_offset = 5 WHERE kafka_partition = 0 AND next_offset = 10;
SELECT cdc_resume('customer');

SELECT cdc_drop('*');
SELECT * FROM relations ORDER BY relname;
SELECT count(*) FROM cdcsync.landing;
SET client_min_messages = warning;
DROP SCHEMA pipeline_test, pipeline_helpers CASCADE;
