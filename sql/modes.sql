-- What becomes of a change in the target: the option "mode", and tables without a key.
CREATE SCHEMA modes;
SET search_path = modes, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

-- An event at a time of the source (in ms); a key; one call to sync.
CREATE FUNCTION ev(op text, before jsonb, after jsonb, ms bigint) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', before, 'after', after, 'op', op, 'ts_ms', 1, 'source',
	jsonb_build_object('connector', 'mysql', 'ts_ms', ms, 'snapshot', CASE op WHEN 'r' THEN 'true' ELSE 'false' END))::text, 'UTF8') $$;
CREATE FUNCTION key(id int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(format('{"id":%s}', id), 'UTF8') $$;
CREATE FUNCTION sync(name text, OUT events bigint, OUT staged bigint, OUT inserted bigint,
	OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, staged, inserted, updated, deleted, quarantined FROM cdc_sync(name) $$;
CREATE VIEW bad AS
	SELECT pipeline, kafka_offset, column_name, sqlstate, message, blocked_by FROM cdcsync.quarantine ORDER BY 1, 2;

-- soft_delete: a delete marks the row, a create revives it, a truncate marks all
SELECT cdc_create('s', options => '{"mode": "soft_delete"}');
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"v":"a","w":1}', 1000)), (key(2), ev('c', NULL, '{"id":2,"v":"b","w":1}', 2000)),
	(key(1), ev('d', '{"id":1}', NULL, 3000)), (key(1), NULL);
SELECT * FROM sync('s');
SELECT column_name, data_type, is_nullable FROM information_schema.columns
	WHERE table_schema = 'modes' AND table_name = 's_target' ORDER BY column_name;
SELECT id, v, w, op, deleted_at FROM s_target ORDER BY id;
-- a delete of what was never seen makes no row; what the new life leaves out is not the old one's
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('d', '{"id":2}', NULL, 4000)), (key(1), ev('c', NULL, '{"id":1,"v":"a2"}', 5000)),
	(key(9), ev('d', '{"id":9}', NULL, 6000)), (key(3), ev('c', NULL, '{"id":3,"v":"c","w":3}', 6000));
SELECT * FROM sync('s');
SELECT id, v, w, op, deleted_at FROM s_target ORDER BY id;
-- the dead stay as they were when a truncate comes
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(3), ev('u', NULL, '{"id":3,"v":"c2"}', 7000)), (NULL, ev('t', NULL, NULL, 8000)),
	(key(1), ev('d', NULL, NULL, 8500)), (key(4), ev('c', NULL, '{"id":4,"v":"d","w":4}', 9000));
SELECT * FROM sync('s');
SELECT id, v, w, op, deleted_at FROM s_target ORDER BY id;
-- a value that nobody has
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('u', NULL, '{"id":2,"v":"__debezium_unavailable_value","w":2}', 10000));
SELECT * FROM sync('s');
SELECT * FROM bad;

-- append: each change is a row, in its order; tombstones are none
SELECT cdc_create('a', options => '{"mode": "append"}');
INSERT INTO a_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('r', NULL, '{"id":1,"v":"a"}', 1000)), (key(2), ev('c', NULL, '{"id":2,"v":"b"}', 2000)),
	(key(1), ev('u', '{"id":1,"v":"a"}', '{"id":1,"v":"__debezium_unavailable_value"}', 2500)),
	(key(1), ev('d', '{"id":1,"v":"a"}', NULL, 3000)), (key(1), NULL), (NULL, ev('t', NULL, NULL, 4000)),
	(key(3), ev('d', NULL, NULL, 5000)), (NULL, ev('c', NULL, '{"id":1,"v":"null key"}', 6000)),
	(key(4), ev('c', NULL, NULL, 7000)), (key(5), ev('c', NULL, '{"id":"five","v":"x"}', 8000));
SELECT * FROM sync('a');
SELECT op, kafka_partition, kafka_offset, id, v FROM a_target ORDER BY kafka_offset;
SELECT * FROM bad WHERE pipeline = 'a';
SELECT * FROM sync('a');
SELECT count(*) FROM a_target;
-- no key is needed, and none is looked at
CREATE TABLE given (seq bigint GENERATED ALWAYS AS IDENTITY, who text, what text, op "char", note text DEFAULT 'mine');
SELECT cdc_create('g', target => 'given', columns => '{"who": "id", "what": "v"}', options => '{"mode": "append", "landing": "a_debezium"}');
CREATE TABLE given2 (seq bigint GENERATED ALWAYS AS IDENTITY, who text, what text, op varchar(1), note text DEFAULT 'mine');
SELECT cdc_create('g', target => 'given2', columns => '{"who": "id", "what": "v"}', options => '{"mode": "append", "landing": "a_debezium"}');
SELECT * FROM sync('g');
SELECT * FROM given2 ORDER BY seq;

-- history: each change is a version
SELECT cdc_create('h', options => '{"mode": "history"}');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"v":"a","w":1}', 1000)), (key(2), ev('c', NULL, '{"id":2,"v":"b","w":1}', 2000)),
	(key(1), ev('u', NULL, '{"id":1,"v":"a2","w":2}', 3000)), (key(1), ev('u', NULL, '{"id":1,"v":"a3"}', 3000)),
	(key(2), ev('d', '{"id":2}', NULL, 4000)), (key(2), NULL);
SELECT * FROM sync('h');
SELECT id, v, w, valid_from, valid_to, current FROM h_target ORDER BY id, kafka_offset;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'modes' AND tablename = 'h_target' ORDER BY 1;
-- in a later window: values from the version before, a new life, an end
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"__debezium_unavailable_value"}', 5000)), (key(2), ev('c', NULL, '{"id":2,"v":"b2"}', 6000)),
	(key(1), ev('u', NULL, '{"id":1,"w":7}', 7000)), (key(1), ev('d', NULL, NULL, 8000)), (key(3), ev('c', NULL, '{"id":3,"v":"x"}', 8000));
SELECT * FROM sync('h');
SELECT id, v, w, valid_from, valid_to, current FROM h_target WHERE kafka_offset > 5 OR valid_to > '1970-01-01 00:00:04' ORDER BY id, kafka_offset;
-- rows of a snapshot that change nothing are no versions; a truncate ends all; a clock that goes back does not
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES
	(key(3), ev('r', NULL, '{"id":3,"v":"x"}', 9000)), (key(2), ev('r', NULL, '{"id":2,"v":"b2"}', 9000)),
	(key(2), ev('u', NULL, '{"id":2,"v":"b3"}', 9500)), (NULL, ev('t', NULL, NULL, 10000)),
	(key(5), ev('c', NULL, '{"id":5,"v":"d"}', 11000)), (key(2), ev('c', NULL, '{"id":2,"v":"b4"}', 12000));
SELECT * FROM sync('h');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES
	(key(5), ev('u', NULL, '{"id":5,"v":"d2"}', 10500)), (key(5), ev('u', NULL, '{"id":5,"v":"d3"}', 13000));
SELECT * FROM sync('h');
SELECT id, v, valid_from, valid_to, current FROM h_target WHERE kafka_offset > 10 OR valid_to >= '1970-01-01 00:00:09' ORDER BY id, kafka_offset;
-- the target refuses one: the changes of its key wait, those of others do not; nothing supersedes them
ALTER TABLE h_target ADD CHECK (v <> 'bad');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES
	(key(5), ev('u', NULL, '{"id":5,"v":"d4"}', 14000)), (key(5), ev('u', NULL, '{"id":5,"v":"bad"}', 15000)),
	(key(5), ev('u', NULL, '{"id":5,"v":"d5"}', 16000)), (key(6), ev('c', NULL, '{"id":6,"v":"e"}', 16000)),
	(key(7), ev('c', NULL, '{"id":7,"v":"f","w":"w"}', 16000)), (key(7), ev('u', NULL, '{"id":7,"v":"f","w":1}', 17000));
SELECT * FROM sync('h');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES (key(5), ev('u', NULL, '{"id":5,"v":"d6","w":6}', 18000));
SELECT * FROM sync('h');
SELECT id, v, valid_from, current FROM h_target WHERE id >= 5 ORDER BY id, kafka_offset;
SELECT * FROM bad WHERE pipeline = 'h';
-- mended, they come in their order
ALTER TABLE h_target DROP CONSTRAINT h_target_v_check;
SELECT * FROM cdc_retry('h');
SELECT id, v, w, valid_from, valid_to, current FROM h_target WHERE id >= 5 ORDER BY id, kafka_offset;
SELECT * FROM bad WHERE pipeline = 'h';
SELECT * FROM cdc_discard('h');
-- several partitions: a change that is late goes between the versions that are there
CREATE TABLE l_target (id int, v text, w int, note text DEFAULT 'mine', "from" timestamptz, until timestamptz, is_current bool);
SELECT cdc_create('l', target => 'l_target', key => ARRAY['id'], options => '{"mode": "history"}',
	columns => '{"from": "$valid_from", "until": "$valid_to", "is_current": "$current"}');
INSERT INTO l_debezium (kafka_partition, kafka_key, kafka_value) VALUES
	(0, key(1), ev('c', NULL, '{"id":1,"v":"a","w":1}', 1000)), (0, key(1), ev('u', NULL, '{"id":1,"v":"c","w":3}', 3000)),
	(0, key(2), ev('c', NULL, '{"id":2,"v":"a","w":1}', 1000)), (0, key(2), ev('d', NULL, NULL, 5000)),
	(1, key(3), ev('u', NULL, '{"id":3,"v":"b","w":2}', 2000)), (0, key(3), ev('c', NULL, '{"id":3,"v":"a","w":1}', 1000));
SELECT * FROM sync('l');
UPDATE l_target SET note = 'yours' WHERE id = 1;
INSERT INTO l_debezium (kafka_partition, kafka_key, kafka_value) VALUES
	(1, key(1), ev('u', NULL, '{"id":1,"v":"b"}', 2000)), (1, key(1), ev('u', NULL, '{"id":1,"v":"d"}', 4000)),
	(1, key(2), ev('u', NULL, '{"id":2,"v":"b"}', 2000));
SELECT * FROM sync('l');
SET TimeZone = 'UTC';
SELECT * FROM l_target ORDER BY id, "from";

-- a mirror without a key is a multiset
CREATE TABLE k_target (a int, b text CHECK (b <> 'bad'), j json, note text DEFAULT 'mine');
SELECT cdc_create('k', target => 'k_target', options => '{"max_quarantine_share": 1}');
INSERT INTO k_debezium (kafka_value) VALUES
	(ev('c', NULL, '{"a":1,"b":"x","j":null}', 1)), (ev('c', NULL, '{"a":1,"b":"x","j":null}', 1)),
	(ev('c', NULL, '{"a":2,"b":null,"j":{"x":1}}', 1)), (ev('d', '{"a":2,"b":null,"j":{"x":1}}', NULL, 1)), (NULL);
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY a, b;
UPDATE k_target SET note = 'yours';
-- each refusal for its reason: no such row; a constraint; a value; no before image; too early
INSERT INTO k_debezium (kafka_value) VALUES
	(ev('u', '{"a":1,"b":"x","j":null}', '{"a":1,"b":"y","j":{"y":1}}', 1)), (ev('d', '{"a":7,"b":"x","j":null}', NULL, 1)),
	(ev('u', '{"a":1,"b":"x","j":null}', '{"a":1,"b":"bad","j":null}', 1)), (ev('c', NULL, '{"a":3,"b":"z","j":{"x":1}}', 1)),
	(ev('c', NULL, '{"a":"three","b":"z","j":{"x":1}}', 1)), (ev('d', NULL, NULL, 1)),
	(ev('d', '{"a":8,"b":"x","j":null}', NULL, 1)), (ev('c', NULL, '{"a":8,"b":"x","j":null}', 1));
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY a, b;
SELECT * FROM bad WHERE pipeline = 'k';
-- the delete that came too early has waited; the others are tried again when they are mended
ALTER TABLE k_target DROP CONSTRAINT k_target_b_check;
SELECT * FROM cdc_retry('k');
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY a, b;
SELECT * FROM bad WHERE pipeline = 'k';
INSERT INTO k_debezium (kafka_value) VALUES
	(ev('u', '{"a":1,"b":"y","j":{"y":1}}', '{"a":1,"b":"y","j":{"y":2}}', 1)), (ev('t', NULL, NULL, 1)), (ev('c', NULL, '{"a":11,"b":"x","j":null}', 1));
SELECT * FROM sync('k');
SELECT * FROM k_target ORDER BY a, b;
-- a trigger of the target's keeps rows, or raises
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.a = 11 THEN RETURN NULL; END IF;
	RAISE check_violation USING MESSAGE = 'row stays';
END $$;
CREATE TRIGGER keep BEFORE DELETE ON k_target FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO k_debezium (kafka_value) VALUES (ev('d', '{"a":11,"b":"x","j":null}', NULL, 1)),
	(ev('c', NULL, '{"a":12,"b":"x","j":null}', 1));
SELECT * FROM sync('k');
INSERT INTO k_debezium (kafka_value) VALUES (ev('d', '{"a":12,"b":"x","j":null}', NULL, 1)), (ev('c', NULL, '{"a":13,"b":"x","j":null}', 1));
SELECT * FROM sync('k');
SELECT a, b FROM k_target ORDER BY a, b;
SELECT * FROM bad WHERE pipeline = 'k' AND kafka_offset > 15;
-- the first events tell the key of a given table after all
CREATE TABLE late (id int, v text);
SELECT cdc_create('late', target => 'late');
INSERT INTO late_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', NULL, '{"id":1,"v":"a"}', 1)), (key(1), ev('u', NULL, '{"id":1,"v":"b"}', 2));
SELECT * FROM sync('late');
SELECT * FROM late;
SELECT key FROM cdcsync.pipeline WHERE name = 'late';

-- a create that is bad behind the delete of its row, in one window: the row is gone,
-- and what is discarded is missed
CREATE TABLE x_target (id int PRIMARY KEY, v int);
SELECT cdc_create('x', target => 'x_target', options => '{"max_quarantine_share": 1}');
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', NULL, '{"id":1,"v":1}', 1));
SELECT * FROM sync('x');
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('d', '{"id":1,"v":1}', NULL, 2)), (key(1), ev('c', NULL, '{"id":1,"v":"bad"}', 3));
SELECT * FROM sync('x');
SELECT * FROM x_target;
SELECT exact FROM cdc_status WHERE pipeline = 'x';
SELECT cdc_discard('x', 0, 2);
SELECT exact FROM cdc_status WHERE pipeline = 'x';
SELECT source, inserted FROM cdc_resync('x');
SELECT exact, quarantined FROM cdc_status WHERE pipeline = 'x';

-- a snapshot that replaces a history ends what it does not have
CREATE TABLE rep (id int, v text, valid_from timestamp, valid_to timestamp, current boolean);
CREATE INDEX ON rep (id);
SELECT cdc_create('rep', target => 'rep', key => '{id}', options => '{"mode": "history", "on_snapshot": "replace"}');
CREATE FUNCTION read(id int, v text, mark text, pos int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('op', 'r', 'after', jsonb_build_object('id', id, 'v', v), 'source',
	jsonb_build_object('connector', 'mysql', 'ts_ms', pos * 1000, 'snapshot', mark, 'file', 'bin', 'pos', pos))::text, 'UTF8') $$;
INSERT INTO rep_debezium (kafka_key, kafka_value) VALUES
	(key(1), read(1, 'a', 'first', 10)), (key(2), read(2, 'b', 'true', 10)), (key(3), read(3, 'c', 'last', 10));
SELECT * FROM sync('rep');
INSERT INTO rep_debezium (kafka_key, kafka_value) VALUES (key(1), read(1, 'a', 'first', 20)), (key(3), read(3, 'c2', 'last', 20));
SELECT * FROM sync('rep');
SELECT * FROM rep ORDER BY id, valid_from;
-- too much is missing
INSERT INTO rep_debezium (kafka_key, kafka_value) VALUES (key(4), read(4, 'd', 'first', 30)), (key(5), read(5, 'e', 'last', 30));
SELECT cdc_alter('rep', options => '{"max_sweep_share": 0.4}');
SELECT * FROM sync('rep');
SELECT state, reason FROM cdc_status WHERE pipeline = 'rep';
SELECT cdc_alter('rep', options => '{"max_sweep_share": 1}');
SELECT cdc_resume('rep');
SELECT * FROM sync('rep');
SELECT * FROM rep WHERE current ORDER BY id;
-- the target refuses to end one of them, and another once a deferred constraint is looked at
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT NEW.current AND NEW.id::text = TG_ARGV[0] THEN
		RAISE EXCEPTION '% stays', NEW.id;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER stay BEFORE UPDATE ON rep FOR EACH ROW EXECUTE FUNCTION stay(7);
CREATE CONSTRAINT TRIGGER stay_too AFTER UPDATE ON rep DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stay(8);
INSERT INTO rep_debezium (kafka_key, kafka_value) VALUES (key(6), read(6, 'f', 'first', 40)), (key(7), read(7, 'g', 'true', 40)),
	(key(8), read(8, 'h', 'true', 40)), (key(9), read(9, 'i', 'last', 40)), (key(6), read(6, 'f', 'last', 50));
SELECT * FROM sync('rep');
SELECT id, v, valid_from, valid_to, current FROM rep WHERE id > 5 ORDER BY id;
SELECT exact FROM cdc_status WHERE pipeline = 'rep';
SELECT target_rows, missing_rows, deleted_rows, problem FROM cdcsync.sweep WHERE pipeline = 'rep' ORDER BY swept_at;

-- mistakes
CREATE TABLE e_target (id int PRIMARY KEY, v text);
SELECT cdc_create('e', target => 'e_target', options => '{"mode": "soft_delete"}');
SELECT cdc_create('e', target => 'e_target', options => '{"mode": "history"}');
SELECT cdc_create('e', target => 'e_target', columns => '{"v": "$deleted_at"}');
SELECT cdc_create('e', target => 'e_target', columns => '{"v": "$deleted_at"}', options => '{"mode": "soft_delete"}');
SELECT cdc_create('e', target => 'e_target', key => ARRAY['id'], options => '{"mode": "append"}');
ALTER TABLE e_target ADD valid_from timestamp, ADD valid_to timestamp, ADD current bool, ADD deleted_at date;
SELECT cdc_create('e', target => 'e_target', options => '{"mode": "history"}');
SELECT cdc_create('e', target => 'e_target', options => '{"mode": "soft_delete"}');
ALTER TABLE e_target DROP CONSTRAINT e_target_pkey;
SELECT cdc_create('e', target => 'e_target', options => '{"mode": "history"}');
SELECT cdc_create('e', options => '{"mode": "append", "on_snapshot": "replace"}');
SELECT cdc_alter('k', options => '{"on_snapshot": "replace"}');
SELECT cdc_alter('s', options => '{"mode": "mirror"}');
DROP TABLE e_target;
INSERT INTO a_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', NULL, '{"id":1,"op":"x"}', 1000));
SELECT cdc_create('e', options => '{"mode": "append", "landing": "a_debezium"}');
SELECT cdc_create('e', columns => '{"id": "id", "op": "op", "cdc_op": "$op"}', options => '{"mode": "append", "landing": "a_debezium"}');
SELECT * FROM sync('e');
SELECT id, op, cdc_op FROM e_target WHERE op IS NOT NULL;

SELECT cdc_drop('*');
DROP SCHEMA modes CASCADE;
