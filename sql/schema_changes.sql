-- Changes of the source's table: followed, recorded, or a reason to stop
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE SCHEMA schema_changes;
SET search_path = schema_changes, public;
SET client_min_messages = notice;

/*
 * Events.  "fields": the members of the embedded schema; NULL: none.
 */
CREATE FUNCTION f(name text, type text, rest jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('field', name, 'type', type, 'optional', true) || rest $$;
CREATE FUNCTION event(op text, row_image jsonb, fields jsonb, pos bigint) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to((CASE WHEN fields IS NULL THEN e ELSE jsonb_build_object('payload', e, 'schema',
		jsonb_build_object('type', 'struct', 'fields', jsonb_build_array(
			jsonb_build_object('field', 'after', 'type', 'struct', 'fields', fields),
			jsonb_build_object('field', 'op', 'type', 'string')))) END)::text, 'UTF8')
	FROM (SELECT jsonb_build_object('op', op, 'before', CASE WHEN op = 'd' THEN row_image END,
			'after', CASE WHEN op <> 'd' THEN row_image END,
			'source', jsonb_build_object('connector', 'mysql', 'db', 's', 'table', 't', 'server_id', 1,
				'file', 'b.000001', 'pos', pos, 'ts_ms', pos, 'snapshot', 'false'))) x (e) $$;
CREATE FUNCTION feed(pipeline text, row_image jsonb, fields jsonb, pos bigint, part int DEFAULT 0) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_partition, kafka_key, kafka_value) VALUES ($1, $2, $3)', pipeline || '_debezium')
	USING part, convert_to(jsonb_build_object('id', row_image -> 'id')::text, 'UTF8'),
		event('c', row_image, fields, pos);
END $$;
CREATE VIEW changes AS
SELECT pipeline, kafka_partition AS part, kafka_offset AS off, kind, column_name AS col,
	   old_type, new_type, state, coalesce(statement, '') AS statement, coalesce(message, '') AS message
FROM cdcsync.schema_change ORDER BY pipeline, detected_at, kafka_partition, kafka_offset, column_name, kind;

-- a target that we made follows
SELECT cdc_create('a');
SELECT feed('a', '{"id": 1, "n": 1, "s": "one", "r": 1.5}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int16', '{"optional": false}'), f('s', 'string'), f('r', 'float')), 1);
SELECT events FROM cdc_sync('a');
SELECT * FROM changes;
-- in one window: before and after the change; a default goes to the rows that were there
SELECT feed('a', '{"id": 2, "n": 2, "s": "two", "r": 2.5}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int16', '{"optional": false}'), f('s', 'string'), f('r', 'float')), 2);
SELECT feed('a', '{"id": 3, "n": null, "s": "three", "r": 1e300, "city": "Paris", "d": 19782, "x": null}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int32'), f('s', 'string'), f('r', 'double'),
		f('city', 'string', '{"default": "it''s"}'),
		f('d', 'int32', '{"name": "io.debezium.time.Date", "default": 19723}'), f('x', 'int64')), 3);
SELECT events, staged, inserted FROM cdc_sync('a');
SELECT * FROM a_target ORDER BY id;
\d a_target
SELECT * FROM changes;
-- the same schema again is no change, nor is one that says the same of the row
SELECT feed('a', '{"id": 4, "n": 70000, "s": "four", "r": 4, "city": "Rome", "d": 19782, "x": 4}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int32'), f('s', 'string'), f('r', 'double'),
		f('city', 'string', '{"default": "it''s"}'),
		f('d', 'int32', '{"name": "io.debezium.time.Date", "default": 19723, "doc": "new"}'), f('x', 'int64')), 4);
SELECT events FROM cdc_sync('a');
-- SET DEFAULT: rows that are there stay; a column goes: so does nothing here
SELECT feed('a', '{"id": 5, "n": 5, "city": "Bonn", "d": 19782, "x": 5, "r": 5}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int32'), f('r', 'double'),
		f('city', 'string', '{"default": "other"}'),
		f('d', 'int32', '{"name": "io.debezium.time.Date", "optional": false}'), f('x', 'string')), 5);
SELECT events FROM cdc_sync('a');
-- what does not fit is in quarantine
SELECT feed('a', '{"id": 6, "n": 6, "city": "Oslo", "d": 19782, "x": "six", "r": 6}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int32'), f('r', 'double'),
		f('city', 'string', '{"default": "other"}'),
		f('d', 'int32', '{"name": "io.debezium.time.Date", "optional": false}'), f('x', 'string')), 6);
SELECT events, quarantined FROM cdc_sync('a');
SELECT * FROM a_target ORDER BY id;
SELECT * FROM changes WHERE off > 2;
SELECT exact FROM cdc_status WHERE pipeline = 'a';

-- a column that the source filled with values that nobody tells
SELECT feed('a', '{"id": 7, "n": 7, "city": "Bern", "d": 19782, "x": null, "r": 7, "must": 7}',
	jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('n', 'int32'), f('r', 'double'),
		f('city', 'string', '{"default": "other"}'),
		f('d', 'int32', '{"name": "io.debezium.time.Date", "optional": false}'), f('x', 'string'),
		f('must', 'int32', '{"optional": false}')), 7);
SELECT events FROM cdc_sync('a');
SELECT kind, col, state, message FROM changes WHERE col = 'must';
SELECT exact FROM cdc_status WHERE pipeline = 'a';
SELECT cdc_drop('a', drop_target => true);
SELECT * FROM changes;
SELECT count(*) FROM cdcsync.source_schema;

-- a change between two windows, in a window that is cut, and rolled back
SELECT cdc_create('b');
SELECT feed('b', '{"id": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}')), 1);
SELECT feed('b', '{"id": 2, "c": "two"}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('c', 'string', '{"default": "X"}')), 2);
SELECT cdc_alter('b', options => '{"schema_changes": "follow"}');
SELECT events FROM cdc_sync('b', 1);
SELECT * FROM b_target ORDER BY 1;
BEGIN;
SELECT events FROM cdc_sync('b', 1);
SELECT * FROM b_target ORDER BY 1;
ROLLBACK;
SELECT * FROM b_target ORDER BY 1;
SELECT * FROM changes;
SELECT events FROM cdc_sync('b');
SELECT * FROM b_target ORDER BY 1;
SELECT col, state FROM changes;
-- records of another partition that are older than the change
SELECT feed('b', '{"id": 3}', jsonb_build_array(f('id', 'int32', '{"optional": false}')), 1, 1);
SELECT feed('b', '{"id": 4, "c": null}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('c', 'string', '{"default": "X"}')), 3, 1);
SELECT events FROM cdc_sync('b');
SELECT * FROM b_target ORDER BY 1;
SELECT count(*) FROM changes;
SELECT cdc_drop('b', drop_target => true);

-- a target of the user's: nothing is altered
CREATE TABLE mine (id int PRIMARY KEY, v varchar(5), later text);
SELECT cdc_create('c', target => 'mine');
SELECT feed('c', '{"id": 1, "v": "a"}', jsonb_build_array(f('id', 'int32'), f('v', 'string')), 1);
SELECT feed('c', '{"id": 2, "v": "b", "w": 2, "later": "l"}', jsonb_build_array(f('id', 'int32'), f('v', 'string'), f('w', 'int32'), f('later', 'string')), 2);
SELECT events FROM cdc_sync('c');
SELECT * FROM mine ORDER BY 1;
SELECT col, state, statement, message FROM changes;
SELECT exact FROM cdc_status WHERE pipeline = 'c';
-- follow: lengths grow, too; a domain is its owner's
CREATE DOMAIN short AS varchar(3);
ALTER TABLE mine ADD COLUMN dom short, ADD COLUMN num numeric(6,2), ADD COLUMN ts timestamp(0), ADD COLUMN i int;
SELECT cdc_alter('c', options => '{"schema_changes": "follow"}');
SELECT feed('c', '{"id": 3, "v": "c", "w": 2, "dom": "d"}', jsonb_build_array(f('id', 'int32'), f('v', 'string'), f('w', 'int32'), f('dom', 'int32'),
	f('num', 'int32'), f('ts', 'int64', '{"name": "io.debezium.time.Timestamp"}'), f('i', 'int32')), 3);
SELECT events FROM cdc_sync('c');
SELECT feed('c', '{"id": 4, "v": 4, "w": 2, "dom": "d", "num": "12345678.125", "ts": 1700000000123456, "i": "1.5"}', jsonb_build_array(f('id', 'int32'), f('v', 'int32'), f('w', 'int64'), f('dom', 'string'),
	f('num', 'bytes', '{"name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "3", "connect.decimal.precision": "11"}}'),
	f('ts', 'int64', '{"name": "io.debezium.time.MicroTimestamp"}'), f('i', 'string')), 4);
SELECT events, quarantined FROM cdc_sync('c');
SELECT kind, col, old_type, new_type, state, statement, message FROM changes WHERE off > 1;
\d mine
SELECT cdc_drop('c');
DROP TABLE mine;

-- stop, look, go on
SELECT cdc_create('d', options => '{"schema_changes": "stop"}');
SELECT feed('d', '{"id": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}')), 1);
SELECT events FROM cdc_sync('d');
SELECT feed('d', '{"id": 2, "c": "two", "e": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('c', 'string'), f('e', 'int32')), 2);
SELECT events FROM cdc_sync('d');
SELECT events FROM cdc_sync('d');
SELECT state, reason, sqlstate, hint FROM cdc_status WHERE pipeline = 'd';
SELECT off, kind, col, state, message FROM changes;
SELECT * FROM d_target;
ALTER TABLE d_target ADD COLUMN c text;
SELECT cdc_resume('d');
SELECT events FROM cdc_sync('d');
SELECT * FROM d_target ORDER BY 1;
SELECT off, kind, col, state, message FROM changes;
-- the next one stops it again
SELECT feed('d', '{"id": 3, "c": "three", "e": 1, "g": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('c', 'string'), f('e', 'int32'), f('g', 'int32')), 3);
SELECT events FROM cdc_sync('d');
SELECT cdc_drop('d', drop_target => true);

-- too large to be rewritten; a view in the way; not the owner
CREATE TABLE big (id int PRIMARY KEY, n int);
INSERT INTO big SELECT i, i FROM generate_series(1, 1000) i;
SELECT cdc_create('e', target => 'big', options => '{"schema_changes": "follow", "max_rewrite_size": "8 kB"}');
SELECT feed('e', '{"id": 1, "n": 1}', jsonb_build_array(f('id', 'int32'), f('n', 'int32')), 1);
SELECT feed('e', '{"id": 2, "n": 3000000000, "c": "c"}', jsonb_build_array(f('id', 'int32'), f('n', 'int64'), f('c', 'string', '{"default": "X"}')), 2);
SET client_min_messages = error;
SELECT events FROM cdc_sync('e');
SET client_min_messages = notice;
SELECT reason, sqlstate, regexp_replace(hint, '[0-9]+ bytes', 'N bytes') AS hint FROM cdc_status WHERE pipeline = 'e';
SELECT kind, col, state, statement, message FROM changes;
CREATE VIEW on_big AS SELECT n FROM big;
SELECT cdc_alter('e', options => '{"max_rewrite_size": null}');
SELECT cdc_resume('e');
SELECT events FROM cdc_sync('e');
SELECT reason, sqlstate, hint FROM cdc_status WHERE pipeline = 'e';
DROP VIEW on_big;
-- by hand, in part
ALTER TABLE big ALTER COLUMN n TYPE bigint;
SELECT cdc_resume('e');
SELECT events FROM cdc_sync('e');
SELECT * FROM big WHERE id < 4 ORDER BY id;
SELECT kind, col, state, statement, message FROM changes;
SELECT cdc_drop('e');
-- the hint names the first statements only
CREATE TABLE wide (id int PRIMARY KEY, n int);
INSERT INTO wide SELECT i, i FROM generate_series(1, 1000) i;
SELECT cdc_create('wide', target => 'wide', options => '{"schema_changes": "follow", "max_rewrite_size": "8 kB"}');
SELECT feed('wide', '{"id": 1, "n": 1}', jsonb_build_array(f('id', 'int32'), f('n', 'int32')), 1);
SELECT feed('wide', '{"id": 2, "n": 3000000000}', (SELECT jsonb_agg(f('c' || i, 'string')) FROM generate_series(1, 20) i)
	|| f('id', 'int32') || f('n', 'int64'), 2);
SET client_min_messages = error;
SELECT events FROM cdc_sync('wide');
SET client_min_messages = notice;
SELECT regexp_replace(hint, '[0-9]+ bytes', 'N bytes') AS hint FROM cdc_status WHERE pipeline = 'wide';
SELECT count(*) FROM cdcsync.schema_change WHERE pipeline = 'wide' AND statement IS NOT NULL;
SELECT cdc_drop('wide');

CREATE ROLE regress_schema_owner;
CREATE ROLE regress_schema_other;
GRANT ALL ON SCHEMA schema_changes TO regress_schema_owner, regress_schema_other;
GRANT SELECT, INSERT, UPDATE, DELETE ON big TO regress_schema_owner;
SET ROLE regress_schema_owner;
SELECT cdc_create('g', target => 'big', options => '{"schema_changes": "follow"}');
SELECT feed('g', '{"id": 1, "n": 1}', jsonb_build_array(f('id', 'int32'), f('n', 'int64')), 1);
SELECT feed('g', '{"id": 2, "n": 2, "z": "c"}', jsonb_build_array(f('id', 'int32'), f('n', 'int64'), f('z', 'string')), 2);
SELECT events FROM cdc_sync('g');
SELECT reason, sqlstate, hint FROM cdc_status WHERE pipeline = 'g';
SELECT column_name, state FROM cdcsync.schema_change;
INSERT INTO cdcsync.schema_change SELECT * FROM cdcsync.schema_change;
SET ROLE regress_schema_other;
SELECT count(*) FROM cdcsync.schema_change;
SELECT count(*) FROM cdcsync.source_schema;
RESET ROLE;
SELECT cdc_drop('g');

-- without schemas: a new field is seen, its type is not
SELECT cdc_create('h', options => '{"schema_changes": "follow"}');
SELECT feed('h', '{"id": 1, "a": 1}', NULL, 1);
SELECT feed('h', '{"id": 2, "a": 1}', NULL, 2);
SET client_min_messages = warning;
SELECT events FROM cdc_sync('h');
SET client_min_messages = notice;
SELECT feed('h', '{"id": 3, "a": 1, "b": 3}', NULL, 3);
SELECT feed('h', '{"id": 4, "a": 1, "b": 4}', NULL, 4);
SELECT feed('h', '{"id": 5, "a": 1}', NULL, 5);
SELECT feed('h', '{"id": 6, "a": 1, "b": 4}', NULL, 6);
SELECT events FROM cdc_sync('h');
SELECT off, kind, col, new_type, state, message FROM changes;
ALTER TABLE h_target ADD COLUMN b int, ADD COLUMN c int;
SELECT feed('h', '{"id": 7, "a": 1, "b": 7, "c": 7}', NULL, 7);
SELECT events FROM cdc_sync('h');
SELECT * FROM h_target ORDER BY 1;
SELECT off, kind, col, new_type, state, message FROM changes WHERE off > 2;
SELECT exact FROM cdc_status WHERE pipeline = 'h';
SELECT cdc_drop('h', drop_target => true);

-- columns that "columns" has chosen stay alone
SELECT cdc_create('i', columns => '{"id": "id", "aa": "a"}');
SELECT feed('i', '{"id": 1, "a": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('a', 'int32')), 1);
SELECT feed('i', '{"id": 2, "a": 3000000000, "b": 2}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('a', 'int64'), f('b', 'int32')), 2);
SELECT events FROM cdc_sync('i');
SELECT kind, col, state, statement, message FROM changes;
SELECT * FROM i_target ORDER BY 1;
SELECT cdc_drop('i', drop_target => true);

-- a field whose name no column can have
SELECT cdc_create('j');
SELECT feed('j', '{"id": 1}', jsonb_build_array(f('id', 'int32', '{"optional": false}')), 1);
SELECT inserted FROM cdc_sync('j');
SELECT feed('j', '{"id": 2, "": 5, "b": 6}', jsonb_build_array(f('id', 'int32', '{"optional": false}'), f('', 'int32'), f('b', 'int32')), 2);
SELECT inserted, quarantined FROM cdc_sync('j');
SELECT kind, col, state, statement, message FROM changes WHERE pipeline = 'j';

SET client_min_messages = warning;
DROP SCHEMA schema_changes CASCADE;
DROP ROLE regress_schema_owner, regress_schema_other;
