-- What a sync does with the changes of a window.
CREATE SCHEMA sync_test;
SET search_path = sync_test, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

-- An event of a PostgreSQL source; and one call to insert and sync.
CREATE FUNCTION ev(op text, before jsonb, after jsonb) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', before, 'after', after, 'op', op, 'ts_ms', 1,
	'source', '{"connector": "postgresql", "snapshot": "false"}'::jsonb)::text, 'UTF8') $$;
CREATE FUNCTION key(id int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(format('{"id":%s}', id), 'UTF8') $$;
CREATE FUNCTION sync(name text, max_windows int DEFAULT NULL, OUT events bigint, OUT staged bigint, OUT inserted bigint,
	OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, staged, inserted, updated, deleted, quarantined FROM cdc_sync(name, max_windows) $$;

CREATE TABLE u_target (id int PRIMARY KEY, code text UNIQUE, n int NOT NULL UNIQUE, note text DEFAULT 'none');
SELECT cdc_create('u', target => 'u_target');
INSERT INTO u_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'code', 'c' || i, 'n', i)) FROM generate_series(1, 5) i;
SELECT * FROM sync('u');
-- nothing is left to do
SELECT * FROM sync('u');

-- rows swap unique values, and a chain 3 -> 4 -> 5; NULLable and NOT NULL
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', '{"id":1}', '{"id":1,"code":"tmp","n":99}')),
	(key(2), ev('u', '{"id":2}', '{"id":2,"code":"c1","n":1}')),
	(key(1), ev('u', '{"id":1}', '{"id":1,"code":"c2","n":2}')),
	(key(5), ev('u', '{"id":5}', '{"id":5,"code":"zz","n":55}')),
	(key(4), ev('u', '{"id":4}', '{"id":4,"code":"c5","n":5}')),
	(key(3), ev('u', '{"id":3}', '{"id":3,"code":"c4","n":4}'));
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;

-- a new key takes over a deleted key's unique values
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('d', '{"id":1}', NULL)), (key(1), NULL),
	(key(9), ev('c', NULL, '{"id":9,"code":"c2","n":2}'));
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;

-- what the target refuses goes to quarantine, each alone; the rest is applied
INSERT INTO u_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'code', 'k' || i, 'n', 1000 + i)) FROM generate_series(100, 300) i;
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(301), ev('c', NULL, '{"id":301,"code":"k150","n":2}')),
	(key(302), ev('c', NULL, '{"id":302,"code":"k302","n":null}')),
	(key(303), ev('c', NULL, '{"id":303,"code":"k303","n":"abc"}')),
	(key(304), '{"op":"c","after":{"id":304,');
SELECT * FROM sync('u');
SELECT count(*), max(id) FROM u_target;
SELECT kafka_partition, kafka_offset, convert_from(kafka_key, 'UTF8') AS key, column_name, sqlstate, message, blocked_by
	FROM cdcsync.quarantine ORDER BY kafka_offset;
SELECT state, quarantined FROM cdc_status WHERE pipeline = 'u';
-- a change that leaves values out waits behind it, a full image supersedes it
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(303), ev('u', NULL, '{"id":303,"code":"__debezium_unavailable_value","n":303}')),
	(key(302), ev('u', NULL, '{"id":302,"code":"k302","n":302}'));
SELECT * FROM sync('u');
SELECT * FROM u_target WHERE id > 300 ORDER BY id;
SELECT kafka_offset, column_name, sqlstate, message, blocked_by FROM cdcsync.quarantine ORDER BY kafka_offset;

-- a truncate, with changes before and after it
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"code":"a","n":1}')),
	(NULL, ev('t', NULL, NULL)),
	(key(2), ev('c', NULL, '{"id":2,"code":"b","n":2}'));
SELECT * FROM sync('u');
SELECT * FROM u_target;
SELECT count(*) AS quarantined FROM cdcsync.quarantine;

-- missing fields are left alone, or get the column's default
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('u', NULL, '{"id":2,"code":"bb","note":"set"}')),
	(key(3), ev('c', NULL, '{"id":3,"code":"cc","n":3}'));
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;
SELECT id, code, n, note, op, kafka_offset, cdc_action, cdc_unset FROM u_stg ORDER BY id;

-- unavailable values stay; without a row to stay in they are not invented
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('u', NULL, '{"id":2,"code":"bb","n":20,"note":"__debezium_unavailable_value"}')),
	(key(7), ev('u', NULL, '{"id":7,"code":"x7","n":7,"note":"__debezium_unavailable_value"}'));
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM cdcsync.quarantine ORDER BY kafka_offset;

-- rows that do not change are not rewritten
SELECT xmin AS before FROM u_target WHERE id = 3 \gset
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES (key(3), ev('u', NULL, '{"id":3,"code":"cc","n":3}'));
SELECT * FROM sync('u');
SELECT xmin = :'before' AS untouched FROM u_target WHERE id = 3;

-- delete and create in one window: nothing of the dead row lives on
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('d', '{"id":2}', NULL)), (key(2), NULL),
	(key(2), ev('c', NULL, '{"id":2,"code":"new","n":2}'));
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;

-- create and delete in one window: as if it had never been
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(50), ev('c', NULL, '{"id":50,"code":"f","n":50}')),
	(key(50), ev('u', NULL, '{"id":50,"code":"g","n":50}')),
	(key(50), ev('d', '{"id":50}', NULL)), (key(50), NULL);
SELECT * FROM sync('u');
SELECT count(*) FROM u_target WHERE id = 50;

-- a sync that is rolled back leaves everything as it was
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES (key(4), ev('c', NULL, '{"id":4,"code":"dd","n":4}'));
BEGIN;
SELECT * FROM sync('u');
ROLLBACK;
SELECT count(*) AS rows, (SELECT count(*) FROM u_stg) AS staged, (SELECT lag_records FROM cdc_status) AS lag FROM u_target;
-- so does an error of the system in a trigger of the target
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = 'insufficient_resources'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON u_target FOR EACH ROW EXECUTE FUNCTION refuse();
\set VERBOSITY terse
SELECT * FROM sync('u');
\set VERBOSITY default
SELECT count(*) AS rows, (SELECT count(*) FROM u_stg) AS staged, (SELECT lag_records FROM cdc_status) AS lag FROM u_target;
DROP TRIGGER refuse ON u_target;
-- and a timeout
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON u_target FOR EACH ROW EXECUTE FUNCTION refuse();
SET statement_timeout = '300ms';
\set VERBOSITY terse
SELECT * FROM sync('u');
\set VERBOSITY default
RESET statement_timeout;
DROP TRIGGER refuse ON u_target;
SELECT count(*) AS rows, (SELECT count(*) FROM u_stg) AS staged, (SELECT lag_records FROM cdc_status) AS lag FROM u_target;
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;

-- a key change in one event, and in two with headers; the create takes
-- unavailable values from the row of the old key, also in a later window
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(4), ev('u', '{"id":4}', '{"id":44,"code":"dd","n":4,"note":"__debezium_unavailable_value"}'));
SELECT * FROM sync('u');
INSERT INTO u_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	(key(44), ev('u', NULL, '{"id":44,"code":"dd","n":4,"note":"kept"}'), NULL),
	(key(44), ev('d', '{"id":44}', NULL), '[{"key":"__debezium.newkey","value":"{\"id\":45}"}]'),
	(key(44), NULL, '[{"key":"__debezium.newkey","value":"{\"id\":45}"}]');
SELECT * FROM sync('u');
INSERT INTO u_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	(key(45), ev('c', NULL, '{"id":45,"code":"dd","n":4,"note":"__debezium_unavailable_value"}'),
	 '[{"key":"__debezium.oldkey","value":"{\"id\":44}"}]');
SELECT * FROM sync('u');
SELECT * FROM u_target ORDER BY id;
SELECT count(*) AS moves FROM cdcsync.moved;

-- re-sent events are skipped, and the tombstone of a re-sent delete with it
CREATE FUNCTION my(op text, pos int, ts bigint, after jsonb) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', NULL, 'after', after, 'op', op, 'ts_ms', ts,
	'source', jsonb_build_object('connector', 'mysql', 'snapshot', 'false', 'server_id', 1, 'ts_ms', ts,
								 'file', 'binlog.000001', 'pos', pos, 'row', 0, 'gtid', NULL))::text, 'UTF8') $$;
CREATE TABLE m_target (id int PRIMARY KEY, v text);
SELECT cdc_create('m', target => 'm_target');
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES
	(key(1), my('c', 10, 1000, '{"id":1,"v":"a"}')), (key(1), my('d', 20, 1000, NULL)), (key(1), NULL),
	(key(1), my('c', 30, 1000, '{"id":1,"v":"b"}')), (key(2), my('c', 40, 2000, '{"id":2,"v":"x"}'));
SELECT * FROM sync('m');
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES
	(key(1), my('c', 10, 1000, '{"id":1,"v":"a"}')), (key(1), my('d', 20, 1000, NULL));
SELECT * FROM sync('m');
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES (key(1), NULL);
SELECT * FROM sync('m');
SELECT * FROM m_target ORDER BY id;
SELECT events, resent FROM cdcsync.watermark WHERE pipeline = 'm';
-- a server that logs some transactions with a GTID, and others without one
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES
	(key(2), convert_to(replace(convert_from(my('d', 50, 2000, NULL), 'UTF8'), '"gtid": null', '"gtid": "3e11-a:7"'), 'UTF8')),
	(key(2), my('c', 40, 2000, '{"id":2,"v":"x"}'));
SELECT * FROM sync('m');
SELECT * FROM m_target ORDER BY id;
-- a lower position with a newer time is another incarnation of the source
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES (key(1), my('u', 5, 9000, '{"id":1,"v":"after a reset"}'));
SELECT * FROM sync('m');
SELECT * FROM m_target ORDER BY id;

-- keys: equal is what the target's key type says
CREATE TABLE k_target (id numeric, part text, v text, PRIMARY KEY (part, id));
SELECT cdc_create('k', target => 'k_target');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES
	(NULL, '{"op":"c","after":{"id":1,"part":"a","v":"1"}}'), (NULL, convert_to('{"op":"u","after":{"id":1.0,"part":"\u0061","v":"1.0"}}', 'UTF8')),
	(NULL, '{"op":"u","after":{"id":1.00,"part":"a","v":"1.00"}}'), (NULL, '{"op":"c","after":{"id":2,"part":"a","v":"2"}}');
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY id;
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES ('{"id":2.0,"part":"a"}', '{"op":"d","before":null,"after":null}');
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY id;

-- a key that is a bare string: digits or base64?  The before image tells
CREATE TABLE s_target (id int PRIMARY KEY, v text);
SELECT cdc_create('s', target => 's_target', options => '{"max_quarantine_share": 1}');
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	('"8004"', ev('c', NULL, '{"id":8004,"v":"a"}')), ('"8005"', ev('c', NULL, '{"id":8005,"v":"b"}'));
SELECT * FROM sync('s');
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES ('"8004"', ev('d', '{"id":8004,"v":"a"}', NULL)), ('"8004"', NULL), ('"8005"', NULL);
SELECT * FROM sync('s');
SELECT * FROM s_target;
SELECT kafka_offset, column_name, message FROM cdcsync.quarantine WHERE pipeline = 's';

-- the breaker: the first records are all bad for one reason
CREATE TABLE b_target (id int PRIMARY KEY, v int);
SELECT cdc_create('b', target => 'b_target');
INSERT INTO b_debezium (kafka_key, kafka_value) SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'v', 'x')) FROM generate_series(1, 30) i;
SELECT * FROM sync('b');
SELECT state, reason, quarantined, sqlstate FROM cdc_status WHERE pipeline = 'b';
SELECT * FROM sync('b');
-- corrected
ALTER TABLE b_target ALTER v TYPE text;
SELECT cdc_resume('b');
SELECT * FROM sync('b');
SELECT state, quarantined FROM cdc_status WHERE pipeline = 'b';
SELECT count(*) FROM b_target;
-- and when most of a window is bad
ALTER TABLE b_target ALTER v TYPE int USING 0;
INSERT INTO b_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'v', CASE WHEN i % 2 = 0 THEN 'x' ELSE '1' END)) FROM generate_series(1, 200) i;
SELECT * FROM sync('b');
SELECT count(*) FROM b_target;
-- unless nobody minds
SELECT cdc_alter('b', options => '{"max_quarantine_share": 1}');
SELECT cdc_resume('b');
SELECT * FROM sync('b');
SELECT count(*), (SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = 'b') AS quarantined FROM b_target;
-- a delete supersedes the quarantined record of its key
INSERT INTO b_debezium (kafka_key, kafka_value) VALUES (key(2), NULL);
SELECT * FROM sync('b');
SELECT count(*), (SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = 'b') AS quarantined FROM b_target;

-- the target's definition changes between syncs
ALTER TABLE b_target ADD COLUMN w text;
INSERT INTO b_debezium (kafka_key, kafka_value) VALUES (key(3), ev('u', NULL, '{"id":3,"v":3,"w":"new"}'));
SELECT * FROM sync('b');
SELECT * FROM b_target WHERE id = 3;
ALTER TABLE b_target DROP COLUMN v;
INSERT INTO b_debezium (kafka_key, kafka_value) VALUES (key(3), ev('u', NULL, '{"id":3,"v":3,"w":"newer"}'));
SELECT * FROM sync('b');
SELECT * FROM b_target WHERE id = 3;

-- random bytes as a topic: all of it in quarantine or left out by rule
CREATE TABLE r_target (id int PRIMARY KEY, v text);
SELECT cdc_create('r', target => 'r_target', options => '{"max_quarantine_share": 1}');
SELECT setseed(0.5);
INSERT INTO r_debezium (kafka_key, kafka_value)
	SELECT decode(md5(random()::text), 'hex'), decode(md5(random()::text) || md5(random()::text), 'hex') FROM generate_series(1, 2000);
SELECT * FROM sync('r');
SELECT state, quarantined FROM cdc_status WHERE pipeline = 'r';

SELECT cdc_drop('*');
DROP SCHEMA sync_test CASCADE;
