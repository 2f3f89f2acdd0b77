-- Landings that are fed by INSERT, and the view over the chunks.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
SET timezone = 'America/New_York';

SELECT cdc_create('land');
\d land_debezium
SELECT attname, format_type(atttypid, atttypmod), attnotnull
FROM pg_attribute WHERE attrelid = 'land_debezium_chunk'::regclass AND attnum > 0 ORDER BY attnum;
SELECT count(*) FROM land_debezium;

-- a relation in the way
CREATE TABLE way_debezium_chunk ();
SELECT cdc_create('way');
DROP TABLE way_debezium_chunk;

-- defaults, NULL, empty, binary
INSERT INTO land_debezium (kafka_key, kafka_value) VALUES
	('{"ID":1}', '{"a": 1}'), (NULL, NULL), ('', ''), ('\x00ff', '\x00ff');
SELECT kafka_partition, kafka_offset, kafka_timestamp_type, kafka_key, kafka_value, kafka_headers, payload,
	   kafka_timestamp = refresh_time AS same_time,
	   refresh_time BETWEEN (now() AT TIME ZONE 'UTC') - interval '1 hour' AND (now() AT TIME ZONE 'UTC') + interval '1 hour' AS is_utc
FROM land_debezium ORDER BY 1, 2;

-- one chunk a statement
SELECT kafka_partition, epoch, first_offset, last_offset, kafka_offset, cardinality(kafka_value) AS records, headers, header_no
FROM land_debezium_chunk;

-- all columns given; RETURNING shows what was filled in
INSERT INTO land_debezium (kafka_partition, kafka_offset, kafka_timestamp_type, kafka_timestamp, kafka_key, kafka_value, kafka_headers, refresh_time)
VALUES (3, 100, 'L', '2024-01-01 00:00:00.123456', 'k', '{"b": [true]}', '[{"key": "h", "value": "1"}]', '2024-02-01')
RETURNING *;
INSERT INTO land_debezium (kafka_value) VALUES ('{"c":') RETURNING kafka_partition, kafka_offset, kafka_timestamp_type, payload;

-- payload instead of kafka_value
INSERT INTO land_debezium (payload) VALUES ('{"d": 1.50}') RETURNING kafka_offset, kafka_value, payload;
INSERT INTO land_debezium (kafka_value, payload) VALUES ('{"e":1}', '{"e": 1}') RETURNING kafka_offset, kafka_value, payload;
INSERT INTO land_debezium (kafka_value, payload) VALUES ('{"e":1}', '{"e": 2}');

-- holes; offsets below the next one
INSERT INTO land_debezium (kafka_offset, kafka_value) VALUES (20, 'twenty'), (NULL, 'next'), (30, 'thirty') RETURNING kafka_offset;
INSERT INTO land_debezium (kafka_offset, kafka_value) VALUES (30, 'again');
INSERT INTO land_debezium (kafka_offset, kafka_value) VALUES (40, 'x'), (39, 'y');
INSERT INTO land_debezium (kafka_partition, kafka_value) VALUES (-1, 'x');
INSERT INTO land_debezium (kafka_timestamp_type) VALUES ('x');
INSERT INTO land_debezium (refresh_time) VALUES ('infinity');
INSERT INTO land_debezium (kafka_headers) VALUES ('{"a": 1}');
SELECT kafka_offset, kafka_value FROM land_debezium WHERE kafka_partition = 0 AND kafka_offset >= 8 ORDER BY 1;
SELECT kafka_partition, next_offset, high_offset FROM cdcsync.position
WHERE landing_id = (SELECT landing_id FROM cdcsync.landing WHERE view = 'land_debezium'::regclass) ORDER BY 1;

-- headers: kept once a chunk, in their order
INSERT INTO land_debezium (kafka_partition, kafka_headers)
SELECT 4, CASE WHEN i % 3 > 0 THEN jsonb_build_array(jsonb_build_object('key', 'n', 'value', (i % 3)::text)) END
FROM generate_series(0, 5) AS i;
SELECT headers, header_no FROM land_debezium_chunk WHERE kafka_partition = 4;
SELECT kafka_offset, kafka_headers FROM land_debezium WHERE kafka_partition = 4 ORDER BY 1;

-- a change of refresh_time or of the kind of timestamp begins a chunk
INSERT INTO land_debezium (kafka_partition, refresh_time, kafka_timestamp_type) VALUES
	(5, '2024-01-01', 'C'), (5, '2024-01-01', 'C'), (5, '2024-01-01', 'L'), (5, '2024-01-02', 'L');
SELECT first_offset, last_offset, refresh_time, kafka_timestamp_type FROM land_debezium_chunk WHERE kafka_partition = 5 ORDER BY 1;

-- COPY, and full chunks
COPY land_debezium (kafka_partition, kafka_key, kafka_value) FROM stdin;
6	k	v
6	\N	\N
6	\\x00	
\.
SELECT kafka_offset, kafka_key, kafka_value FROM land_debezium WHERE kafka_partition = 6 ORDER BY 1;
INSERT INTO land_debezium (kafka_partition, kafka_value)
SELECT 10 + i % 2, convert_to(repeat(md5(i::text), 32), 'UTF8') FROM generate_series(1, 4200) AS i;
SELECT kafka_partition, first_offset, last_offset FROM land_debezium_chunk WHERE kafka_partition >= 10 ORDER BY 1, 2;
SELECT kafka_partition, count(*), min(kafka_offset), max(kafka_offset),
	   bool_and(kafka_value = convert_to(repeat(md5((2 * kafka_offset + CASE kafka_partition WHEN 10 THEN 2 ELSE 1 END)::text), 32), 'UTF8')) AS equal
FROM land_debezium WHERE kafka_partition >= 10 GROUP BY 1 ORDER BY 1;

-- a record that is a chunk by itself, between others
INSERT INTO land_debezium (kafka_partition, kafka_value) VALUES (12, 'a'), (12, convert_to(repeat('x', 8000000), 'UTF8')), (12, 'b');
SELECT first_offset, last_offset FROM land_debezium_chunk WHERE kafka_partition = 12 ORDER BY 1;
SELECT kafka_offset, length(kafka_value), md5(kafka_value) = md5(repeat('x', 8000000)) AS equal FROM land_debezium WHERE kafka_partition = 12 ORDER BY 1;

-- from one landing to another
SELECT cdc_create('copy_of');
INSERT INTO copy_of_debezium SELECT * FROM land_debezium ORDER BY kafka_partition, kafka_offset;
SELECT count(*) FROM (TABLE copy_of_debezium EXCEPT ALL TABLE land_debezium) AS d;
SELECT count(*) FROM (TABLE land_debezium EXCEPT ALL TABLE copy_of_debezium) AS d;

-- transactions: what is rolled back is gone, and its offsets are used again
BEGIN;
INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'one');
SAVEPOINT s;
INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'lost');
ROLLBACK TO s;
INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'two');
COMMIT;
DO $$
BEGIN
	BEGIN
		INSERT INTO copy_of_debezium (kafka_partition, kafka_offset, kafka_value) VALUES (20, NULL, 'lost'), (20, 0, 'below');
	EXCEPTION WHEN invalid_parameter_value THEN
		RAISE NOTICE 'caught: %', SQLERRM;
	END;
	INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'three');
END
$$;
-- a function that inserts into the landing that is being inserted into
CREATE FUNCTION nested(n int) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, convert_to('inner ' || n, 'UTF8'));
	RETURN convert_to('outer ' || n, 'UTF8');
END
$$;
CREATE FUNCTION nested_in_subtransaction(n int) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		RETURN nested(n);
	EXCEPTION WHEN division_by_zero THEN
		RETURN NULL;
	END;
END
$$;
INSERT INTO copy_of_debezium (kafka_partition, kafka_value) SELECT 20, nested(n) FROM generate_series(1, 2) AS n;
INSERT INTO copy_of_debezium (kafka_partition, kafka_value) SELECT 20, nested_in_subtransaction(n) FROM generate_series(1, 2) AS n;
WITH a AS (INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'with 1') RETURNING kafka_offset),
	 b AS (INSERT INTO copy_of_debezium (kafka_partition, kafka_value) VALUES (20, 'with 2') RETURNING kafka_offset)
SELECT count(*) FROM (TABLE a UNION ALL TABLE b) AS u;
SELECT kafka_offset, convert_from(kafka_value, 'UTF8') FROM copy_of_debezium WHERE kafka_partition = 20 ORDER BY 1;

-- UPDATE and DELETE, of no row too
UPDATE land_debezium SET kafka_key = NULL WHERE false;
UPDATE land_debezium SET kafka_key = NULL;
DELETE FROM land_debezium WHERE kafka_partition = 99;

-- the view reads the chunks that it needs, and the columns that are asked for
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF, VERBOSE) SELECT kafka_offset FROM land_debezium WHERE kafka_partition = 3 AND refresh_time > '2024-01-01';
RESET enable_seqscan;
RESET enable_bitmapscan;
CREATE VIEW only_payload AS SELECT payload FROM land_debezium WHERE kafka_partition = 3;
TABLE only_payload;
DROP VIEW only_payload;

-- by itself, the function that it fetches elements with
SELECT cdcsync.chunk_element(ARRAY[1, 2], 1);
SELECT cdcsync.chunk_element(ARRAY['a', NULL]::bytea[], n) FROM generate_series(-1, 3) AS n;

-- INSERT on the view is all that is needed
CREATE ROLE regress_cdc_inserter;
INSERT INTO land_debezium (kafka_partition, kafka_value) VALUES (7, 'owner');
GRANT INSERT ON land_debezium TO regress_cdc_inserter;
SET ROLE regress_cdc_inserter;
INSERT INTO land_debezium (kafka_partition, kafka_value) VALUES (7, 'inserter');
SELECT count(*) FROM land_debezium;
SELECT count(*) FROM land_debezium_chunk;
INSERT INTO copy_of_debezium (kafka_value) VALUES ('x');
RESET ROLE;
SELECT kafka_offset, convert_from(kafka_value, 'UTF8') FROM land_debezium WHERE kafka_partition = 7 ORDER BY 1;
-- the trigger is of no use on other views
CREATE VIEW no_landing AS TABLE land_debezium;
CREATE TRIGGER t INSTEAD OF INSERT ON no_landing FOR EACH ROW EXECUTE FUNCTION cdcsync.landing_write();
INSERT INTO no_landing (kafka_value) VALUES ('x');
DROP VIEW no_landing;
SELECT cdcsync.landing_write();

-- a landing with a topic takes no rows; one without has nothing to refresh
SELECT * FROM cdc_refresh('land');
SELECT * FROM cdc_refresh('no_such');
CREATE SERVER regress_cdc_landing FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers 'localhost:1');
CREATE FOREIGN TABLE regress_topic (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char", kafka_timestamp timestamp,
	kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER regress_cdc_landing OPTIONS (topic 'regress_topic');
BEGIN;
UPDATE cdcsync.landing SET topic = 'regress_topic' WHERE view = 'copy_of_debezium'::regclass;
INSERT INTO copy_of_debezium (kafka_value) VALUES ('x');
ROLLBACK;
BEGIN;
UPDATE cdcsync.landing SET topic = 'regress_topic' WHERE view = 'copy_of_debezium'::regclass;
INSERT INTO copy_of_debezium (kafka_value) SELECT 'x' WHERE false;
ROLLBACK;
DROP FOREIGN TABLE regress_topic;
DROP SERVER regress_cdc_landing;

-- dropping
DROP TABLE land_debezium_chunk;
DROP FUNCTION nested, nested_in_subtransaction;
DROP OWNED BY regress_cdc_inserter;
DROP ROLE regress_cdc_inserter;
SELECT cdc_drop('land');
SELECT cdc_drop('copy_of');
SELECT to_regclass('land_debezium'), to_regclass('land_debezium_chunk'), to_regclass('copy_of_debezium'), to_regclass('copy_of_debezium_chunk');
SELECT count(*) FROM cdcsync.position AS p WHERE NOT EXISTS (SELECT FROM cdcsync.landing AS l WHERE l.landing_id = p.landing_id);
RESET timezone;
