-- What cdc_create() learns from the events.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE SCHEMA events_test;
SET search_path = events_test, public;
\set SHOW_CONTEXT never

-- a landing without events yet, and then with some
SELECT cdc_create('orders', key => ARRAY['ID']);
SELECT * FROM cdc_sync('orders');
SELECT pipeline, state, reason FROM cdc_status WHERE pipeline = 'orders';
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES
	('{"ID": 1}', '{"before": null, "after": {"ID": 1, "Name": "one", "Größe": 1.5}, "source": {"ts_ms": 1, "connector": "mysql"}, "op": "c", "ts_ms": 1}'),
	('{"ID": 2}', '{"before": null, "after": {"ID": 2, "Name": "two", "Größe": null}, "source": {"ts_ms": 2, "connector": "mysql"}, "op": "c", "ts_ms": 2}');

-- fields that the events do not have: near misses come first
CREATE TABLE given (id bigint PRIMARY KEY, name text);
SELECT cdc_create('x', target => 'given', columns => '{"name": "NAME"}', options => '{"landing": "orders_debezium"}');
SELECT cdc_create('x', target => 'given', columns => '{"name": {"field": "title"}}', options => '{"landing": "orders_debezium"}');
SELECT cdc_create('x', columns => '{"name": "NAME"}', options => '{"landing": "orders_debezium"}');
SELECT relname FROM pg_class WHERE relname ~ '^x_';

-- columns that no field feeds: an error for the key, a notice for others
CREATE TABLE unfed (id bigint PRIMARY KEY, name text, city text, "Land" text, refresh_time timestamp);
SELECT cdc_create('x', target => 'unfed', options => '{"landing": "orders_debezium"}');
SELECT cdc_alter('x', columns => '{"city": "Name"}');
SELECT cdc_drop('x');
CREATE TABLE unfed_key (customer_id bigint PRIMARY KEY, name text);
SELECT cdc_create('x', target => 'unfed_key', options => '{"landing": "orders_debezium"}');

-- pseudo-fields are no fields
SELECT cdc_create('x', target => 'given', columns => '{"name": "$source.connector"}', options => '{"landing": "orders_debezium"}');
SELECT cdc_alter('x', columns => '{"name": "NAME"}');
SELECT cdc_alter('x', columns => '{"name": "Name"}');
SELECT cdc_drop('x');

-- the key of the events, where the target has none: by the mapping, or by name
CREATE TABLE nokey (id bigint, name text);
CREATE UNIQUE INDEX ON nokey (id);
SELECT cdc_create('x', target => 'nokey', options => '{"landing": "orders_debezium"}');
SELECT key FROM cdcsync.pipeline WHERE name = 'x';
SELECT cdc_drop('x');
CREATE TABLE nokey2 (order_no bigint UNIQUE, name text);
SELECT cdc_create('x', target => 'nokey2', columns => '{"order_no": "ID"}', options => '{"landing": "orders_debezium"}');
SELECT key FROM cdcsync.pipeline WHERE name = 'x';
SELECT cdc_drop('x');
CREATE TABLE nokey3 (name text);
SELECT cdc_create('x', target => 'nokey3', options => '{"landing": "orders_debezium"}');

-- the target made at once, in a schema of its own
CREATE SCHEMA events_targets;
SELECT cdc_create('made', options => '{"landing": "orders_debezium", "target_schema": "events_targets"}');
SELECT staging, target, target_made, key FROM cdcsync.pipeline WHERE name = 'made';
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'events_targets.made_target'::regclass AND attnum > 0 ORDER BY attnum;
DROP TABLE events_targets.made_target;
SELECT cdc_drop('made', drop_target => true);
SELECT to_regclass('events_targets.made_target');

-- .. not at a record that shows no column
SELECT cdc_create('shown');
INSERT INTO shown_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', NULL), (NULL, 'broken');
SELECT events, quarantined FROM cdc_sync('shown');
INSERT INTO shown_debezium (kafka_value) VALUES ('{"before":null,"after":{"id":1},"source":{},"op":"c","ts_ms":1}');
SELECT events, inserted, quarantined FROM cdc_sync('shown');
SELECT cdc_drop('shown', drop_target => true);

-- made at the first event, with the key that was asked for
SELECT events, inserted FROM cdc_sync('orders');
SELECT staging, target, target_made, key FROM cdcsync.pipeline WHERE name = 'orders';
SELECT * FROM orders_target ORDER BY 1;
SELECT pipeline, state, reason, lag_records, lag_time FROM cdc_status WHERE pipeline = 'orders';
SELECT process_name, latest_refresh_time IS NOT NULL AS known FROM debezium_last_extract WHERE process_name = 'orders';
DROP TABLE orders_target;

-- what is paused does not sync, and says why
SELECT cdc_pause('orders', 'month''s end');
SELECT * FROM cdc_sync('orders');
SELECT * FROM cdc_refresh('orders');
SELECT cdc_pause('orders', what => 'all');
SELECT * FROM cdc_sync('orders');
SELECT * FROM cdc_refresh('orders');
UPDATE cdcsync.pipeline SET state = 'stopped', paused_what = NULL, reason = 'it broke', hint = 'Mend it.' WHERE name = 'orders';
SELECT * FROM cdc_sync('orders');
SELECT cdc_resume('orders');
SELECT events FROM cdc_sync('orders');
INSERT INTO orders_debezium (kafka_value) VALUES (NULL);
SELECT lag_records, lag_time < interval '1 hour' AS recent FROM cdc_status WHERE pipeline = 'orders';

SELECT cdc_drop('orders', drop_target => true);
SELECT relname FROM pg_class WHERE relnamespace = 'events_test'::regnamespace AND relname ~ '^orders';
SET client_min_messages = warning;
DROP SCHEMA events_test, events_targets CASCADE;
