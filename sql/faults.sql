-- The faults of the hand-written procedure that the pattern of Amazon Redshift
-- has, by their numbers in docs/faults.md: what happens here.
CREATE SCHEMA faults;
SET search_path = faults, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

CREATE TABLE customer_target (customer_id varchar(256) PRIMARY KEY, customer_name varchar(256), refresh_time timestamp);
CREATE FUNCTION make(options jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdc_drop('customer') FROM cdcsync.pipeline WHERE name = 'customer';
	TRUNCATE customer_target;
	PERFORM cdc_create('customer', target => 'customer_target',
					   columns => '{"customer_id": "CUST_ID", "customer_name": "NAME"}', options => options);
END $$;
-- An event of a MySQL source: its position there, its clock, the connector's clock.
CREATE FUNCTION ev(op text, id text, name text, pos int, ts bigint, connector_ts bigint DEFAULT 1000, before jsonb DEFAULT NULL)
RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to((jsonb_build_object('op', op, 'before', before, 'source', jsonb_build_object('connector', 'mysql', 'server_id', 1,
		'file', 'binlog.000001', 'pos', pos, 'ts_ms', ts, 'snapshot', CASE op WHEN 'r' THEN 'true' ELSE 'false' END))
		|| CASE WHEN connector_ts IS NULL THEN '{}' ELSE jsonb_build_object('ts_ms', connector_ts) END
		|| jsonb_build_object('after', CASE WHEN op IN ('d', 't') THEN NULL ELSE jsonb_build_object('CUST_ID', id, 'NAME', name) END))::text, 'UTF8') $$;
CREATE FUNCTION put(op text, id text, name text, pos int, ts bigint, connector_ts bigint DEFAULT 1000, part int DEFAULT 0,
	before jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO customer_debezium (kafka_partition, kafka_key, kafka_value)
	VALUES (part, convert_to(jsonb_build_object('CUST_ID', id)::text, 'UTF8'), ev(op, id, name, pos, ts, connector_ts, before));
END $$;
CREATE FUNCTION sync(OUT events bigint, OUT inserted bigint, OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, inserted, updated, deleted, quarantined FROM cdc_sync('customer') $$;
CREATE VIEW target AS SELECT customer_id, customer_name FROM customer_target ORDER BY 1;

-- 1: ties.  500 changes of a row in one millisecond are one row
SELECT make();
SELECT count(put('u', 'K', 'v' || i, i, 1000)) FROM generate_series(1, 500) i;
SELECT * FROM sync();
SELECT * FROM target;

-- 2: an insert and a delete in one millisecond leave nothing
SELECT put('c', 'L', 'v1', 501, 1000), put('d', 'L', NULL, 502, 1000);
SELECT * FROM sync();
SELECT * FROM target;

-- 3: the connector's clock falls back, or is not told: the offset is the order
SELECT make();
SELECT put('c', 'K', 'v1', 1, 100, 2000), put('u', 'K', 'v2', 2, 200, 1500), put('u', 'L', 'v1', 3, 300, 3000),
	put('u', 'L', 'v2', 4, 400, NULL), put('u', 'L', 'v3', 5, 500, 2500);
SELECT * FROM sync();
SELECT * FROM target;

-- 4: a key in two partitions: by the source's position, whatever is read first
SELECT make();
SELECT put('u', 'K', 'v2', 20, 200, 1000, 1), put('d', 'L', NULL, 21, 200, 1000, 1, '{"CUST_ID": "L"}');
SELECT put('u', 'K', 'v1', 10, 100, 2000, 0), put('c', 'L', 'v1', 11, 100, 2000, 0);
SELECT * FROM sync();
SELECT * FROM target;
-- .. and in whatever window: the newer change, or the delete, was applied before
SELECT put('c', 'M', 'v2', 31, 300, 1000, 1), put('d', 'K', NULL, 41, 400, 1000, 1, '{"CUST_ID": "K"}');
SELECT * FROM sync();
SELECT put('c', 'M', 'v1', 30, 250, 2000, 0), put('u', 'K', 'v3', 32, 350, 2000, 0);
SELECT * FROM sync();
SELECT * FROM target;

-- 5: what becomes visible late, with an earlier refresh_time, is applied
SELECT make();
INSERT INTO customer_debezium (kafka_partition, kafka_key, kafka_value, refresh_time)
	VALUES (1, '{"CUST_ID":"B"}', ev('c', 'B', 'late', 1, 1), '2026-01-01 10:00:05');
SELECT * FROM sync();
INSERT INTO customer_debezium (kafka_partition, kafka_key, kafka_value, refresh_time)
	VALUES (0, '{"CUST_ID":"A"}', ev('c', 'A', 'early', 1, 1), '2026-01-01 10:00:01'),
		   (1, '{"CUST_ID":"B"}', ev('u', 'B', 'the same time', 2, 2), '2026-01-01 10:00:05'),
		   (1, '{"CUST_ID":"C"}', ev('c', 'C', 'a clock that was set back', 3, 3), '2025-12-31 23:00:00');
SELECT * FROM sync();
SELECT customer_id, customer_name, refresh_time FROM customer_target ORDER BY 1;

-- 6: calls that overlap: see test/specs/sync.spec

-- 7: more changes of a row in one window than a smallint counts
SELECT make();
INSERT INTO customer_debezium (kafka_key, kafka_value)
	SELECT '{"CUST_ID":"hot"}', ev('u', 'hot', 'v' || i, i, i) FROM generate_series(1, 40000) i;
SELECT * FROM sync();
SELECT * FROM target;

-- 8: a window of deletes alone moves the watermark, as does an empty target
SELECT put('d', 'hot', NULL, 40001, 40001);
SELECT * FROM sync();
SELECT * FROM sync();
SELECT latest_refresh_time IS NOT NULL AS known FROM debezium_last_extract WHERE process_name = 'customer';

-- 9: a row that somebody repairs does not move it
SELECT make();
INSERT INTO customer_target VALUES ('mine', 'repaired', 'infinity');
SELECT put('c', 'K', 'v1', 1, 1);
SELECT * FROM sync();
SELECT * FROM target;

-- 10: no pipeline, no watermark, or that of another: not by a slip
SELECT cdc_sync('custmoer');
SELECT cdc_sync(NULL);
CREATE TABLE other (id int PRIMARY KEY);
SELECT cdc_create('other', target => 'other', columns => '{"id": "CUST_ID"}', options => '{"landing": "faults.customer_debezium", "max_quarantine_share": 1}');
SELECT put('c', 'K', 'v2', 1, 1);
SELECT events FROM cdc_sync('customer');
SELECT pipeline, lag_records FROM cdc_status WHERE pipeline IN ('customer', 'other') ORDER BY pipeline;
SELECT cdc_drop('other');

-- 11: names are as they are spelled, in whatever session; an event without the key
-- is no row, and holds up no other
SELECT make();
SELECT put('c', 'A', 'a', 1, 1), put('c', 'B', 'b', 2, 2), put('c', 'C', 'c', 3, 3);
INSERT INTO customer_debezium (kafka_value) VALUES ('{"op":"c","after":{"CUSTOMER_ID":"D","NAME":"d"}}');
INSERT INTO customer_debezium (kafka_key, kafka_value)
	VALUES ('{"schema":null,"payload":{"CUST_ID":"E"}}', '{"schema":null,"payload":{"op":"c","after":{"CUST_ID":"E","NAME":"e"}}}');
SELECT * FROM sync();
SELECT * FROM target;
SELECT kafka_offset, column_name, message FROM cdcsync.quarantine WHERE pipeline = 'customer';
CREATE TABLE wrong (id int PRIMARY KEY, name text);
SELECT cdc_create('wrong', target => 'wrong', columns => '{"id": "Cust_Id", "name": "NAME"}', options => '{"landing": "faults.customer_debezium"}');

-- 12: a change of the key, as one event, or as two with a sync between
SELECT make();
SELECT put('c', 'A', 'v1', 1, 1), put('u', 'B', 'v1', 2, 2, 1000, 0, '{"CUST_ID": "A", "NAME": "v1"}');
SELECT * FROM sync();
SELECT * FROM target;
INSERT INTO customer_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	('{"CUST_ID":"B"}', ev('d', 'B', NULL, 3, 3, 1000, '{"CUST_ID": "B"}'), '[{"key":"__debezium.newkey","value":"{\"CUST_ID\":\"C\"}"}]');
SELECT * FROM sync();
INSERT INTO customer_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	('{"CUST_ID":"C"}', ev('c', 'C', 'v1', 3, 3), '[{"key":"__debezium.oldkey","value":"{\"CUST_ID\":\"B\"}"}]');
SELECT * FROM sync();
SELECT * FROM target;

-- 13: a truncate
SELECT put('t', NULL, NULL, 4, 4), put('c', 'D', 'after it', 5, 5);
SELECT * FROM sync();
SELECT * FROM target;
-- newer rows of other partitions stay, older ones that come late do not
SELECT make();
SELECT put('c', 'A', 'older', 10, 100, 1000, 1), put('c', 'B', 'newer', 40, 400, 1000, 1);
SELECT * FROM sync();
SELECT put('t', NULL, NULL, 30, 300, 1000, 0), put('c', 'C', 'late', 20, 200, 1000, 2);
SELECT * FROM sync();
SELECT * FROM target;

-- 14: a new snapshot after a row was deleted while nothing recorded it
SELECT make('{"on_snapshot": "replace"}');
CREATE FUNCTION put_snapshot(mark text, id text, pos int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO customer_debezium (kafka_key, kafka_value, kafka_timestamp)
	VALUES (convert_to(jsonb_build_object('CUST_ID', id)::text, 'UTF8'),
			convert_to(replace(convert_from(ev('r', id, 'v', pos, pos), 'UTF8'), '"snapshot": "true"', format('"snapshot": "%s"', mark)), 'UTF8'),
			timestamp '2026-01-01' + pos * interval '1 s');
END $$;
SELECT put_snapshot('first', 'K', 1), put_snapshot('true', 'L', 1), put_snapshot('last', 'M', 1);
SELECT * FROM sync();
SELECT put('u', 'L', 'v2', 2, 2);
SELECT * FROM sync();
SELECT put_snapshot('first', 'L', 10), put_snapshot('last', 'M', 10);
SELECT put('u', 'M', 'v3', 11, 11);
SELECT * FROM sync();
SELECT * FROM target;

-- 15: the connector sends again what it had sent: a window that ends in between
-- brings nothing back
SELECT make();
SELECT put('c', 'K', 'v1', 10, 100), put('d', 'K', NULL, 20, 200);
SELECT * FROM sync();
SELECT put('c', 'K', 'v1', 10, 100, 9000);
SELECT * FROM sync();
SELECT * FROM target;
SELECT put('d', 'K', NULL, 20, 200, 9000);
SELECT * FROM sync();
SELECT * FROM target;
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'customer';

-- 16: values that an event leaves out
SELECT put('c', 'K', 'a long text', 30, 300), put('c', 'L', 'another', 31, 300);
SELECT * FROM sync();
SELECT put('u', 'K', '__debezium_unavailable_value', 32, 320);
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES ('{"CUST_ID":"L"}', '{"op":"u","after":{"CUST_ID":"L"}}');
SELECT * FROM sync();
SELECT * FROM target;

-- 17: what does not fit is not cut, and two keys that are alike at first are two
SELECT make('{"max_quarantine_share": 1}');
SELECT put('c', repeat('x', 250) || 'a', 'one', 1, 1), put('c', repeat('x', 250) || 'b', 'two', 2, 2), put('c', 'K', repeat('y', 300), 3, 3),
	put('c', repeat('x', 256) || 'a', 'three', 4, 4);
SELECT * FROM sync();
SELECT length(customer_id) AS length, right(customer_id, 1) AS last, customer_name FROM target;
SELECT kafka_offset, column_name, sqlstate FROM cdcsync.quarantine WHERE pipeline = 'customer' ORDER BY 1;

-- 18: a record that is no JSON holds up nothing, and does not vanish
SELECT make();
SELECT put('c', 'A', 'a', 1, 1);
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES ('{"CUST_ID":"B"}', '{"op":"c","after":{"CUST_ID":"B",');
SELECT put('c', 'C', 'c', 3, 3);
SELECT * FROM sync();
SELECT * FROM target;
SELECT convert_from(kafka_key, 'UTF8') AS key, message FROM cdcsync.quarantine WHERE pipeline = 'customer';

-- 19: a topic that lacks records: see test/t/020_refresh.pl and 040_ingest.pl

-- 20: all of the topic once more, in another order of the partitions: the same
SELECT make();
SELECT put('c', 'A', 'a1', 1, 100, 1000, 0), put('u', 'A', 'a2', 2, 200, 1000, 0), put('c', 'B', 'b1', 3, 300, 1000, 1), put('d', 'B', NULL, 4, 400, 1000, 1);
SELECT * FROM sync();
SELECT events FROM cdc_resync('customer');
SELECT * FROM target;

-- 21: a transaction of the source over two tables is not one here: not solved

-- 22: tombstones, and events without a key in Kafka
SELECT make();
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES (NULL, ev('c', 'A', 'a', 1, 1)), (NULL, ev('c', 'B', 'b', 2, 2)),
	(NULL, ev('d', NULL, NULL, 3, 3, 1000, '{"CUST_ID": "A"}')), ('{"CUST_ID":"A"}', NULL), (NULL, NULL), ('{"CUST_ID":"C"}', NULL);
SELECT * FROM sync();
SELECT * FROM target;

-- 23: a field that comes is ignored, one that goes leaves its column as it is
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES ('{"CUST_ID":"B"}', '{"op":"u","after":{"CUST_ID":"B","CITY":"Paris"}}');
SELECT * FROM sync();
SELECT * FROM target;
ALTER TABLE customer_target ADD COLUMN city text;
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES ('{"CUST_ID":"B"}', '{"op":"u","after":{"CUST_ID":"B","CITY":"Rome"}}');
SELECT * FROM sync();
SELECT customer_id, customer_name, city FROM customer_target;

-- 24: keys of several columns, one definition a table, a log that does not grow
CREATE TABLE line (order_id int, line_no int, item text, PRIMARY KEY (order_id, line_no));
SELECT cdc_create('line', target => 'line');
INSERT INTO line_debezium (kafka_key, kafka_value)
	SELECT convert_to(k, 'UTF8'), convert_to(format('{"op":"c","after":%s}', replace(k, '}', ',"item":"x"}')), 'UTF8')
	FROM generate_series(1, 2) o, generate_series(1, 2) l, format('{"order_id":%s,"line_no":%s}', o, l) k;
SELECT inserted FROM cdc_sync('line');
SELECT inserted FROM cdc_sync('line');
SELECT * FROM line ORDER BY 1, 2;
SELECT process_name, count(*) FROM debezium_last_extract WHERE process_name IN ('customer', 'line') GROUP BY 1 ORDER BY 1;

SET client_min_messages = error;
SELECT cdc_drop(p) FROM unnest('{customer,line}'::text[]) p;
DROP SCHEMA faults CASCADE;
