-- What a sync does with the changes of a window: the corners.
CREATE SCHEMA sync_more;
SET search_path = sync_more, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

-- An event of a PostgreSQL source; and one call to sync.
CREATE FUNCTION ev(op text, before jsonb, after jsonb) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', before, 'after', after, 'op', op, 'ts_ms', 1,
	'source', '{"connector": "postgresql", "snapshot": "false"}'::jsonb)::text, 'UTF8') $$;
CREATE FUNCTION key(id int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(format('{"id":%s}', id), 'UTF8') $$;
CREATE FUNCTION sync(name text, OUT events bigint, OUT staged bigint, OUT inserted bigint,
	OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, staged, inserted, updated, deleted, quarantined FROM cdc_sync(name) $$;
CREATE VIEW bad AS
	SELECT pipeline, kafka_offset, column_name, sqlstate, message, blocked_by FROM cdcsync.quarantine ORDER BY 1, 2;

-- a bad record behind a good one of its key, in one window: the good one neither
-- supersedes it nor lends its values to changes that come after it
CREATE TABLE q_target (id int PRIMARY KEY, v text, w int);
SELECT cdc_create('q', target => 'q_target', options => '{"max_quarantine_share": 1}');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"v":"a","w":1}')), (key(1), '{"op":"u","after":{"id":1,'),
	(key(2), ev('c', NULL, '{"id":2,"v":"a","w":1}')), (key(2), '{"op":"u","after":{"id":2,'),
	(key(2), ev('u', NULL, '{"id":2,"v":"__debezium_unavailable_value","w":3}'));
SELECT * FROM sync('q');
SELECT * FROM q_target ORDER BY id;
SELECT * FROM bad;
-- what comes after it and is whole supersedes it, in its window and in a later one
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"b","w":2}')), (key(2), ev('d', NULL, NULL)),
	(key(3), ev('c', NULL, '{"id":3,"v":"a","w":1}')), (key(3), '{"op":"u","after":{"id":3,'),
	(key(3), ev('u', NULL, '{"id":3,"v":"b","w":3}')), (key(3), ev('u', NULL, '{"id":3,"v":"__debezium_unavailable_value","w":4}'));
SELECT * FROM sync('q');
SELECT * FROM q_target ORDER BY id;
SELECT * FROM bad;

-- a key change whose delete, tombstone and create come in three windows
INSERT INTO q_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	(key(3), ev('d', '{"id":3}', NULL), '[{"key":"__debezium.newkey","value":"{\"id\":4}"}]');
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	(key(3), NULL, '[{"key":"__debezium.newkey","value":"{\"id\":4}"}]');
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value, kafka_headers) VALUES
	(key(4), ev('c', NULL, '{"id":4,"v":"__debezium_unavailable_value","w":5}'), '[{"key":"__debezium.oldkey","value":"{\"id\":3}"}]');
SELECT * FROM sync('q');
SELECT * FROM q_target ORDER BY id;
SELECT count(*) FROM cdcsync.moved;

-- the create comes first, in another partition, and the key of the row needs
-- the type's equality
CREATE TABLE p_target (id text PRIMARY KEY, v text);
SELECT cdc_create('p', target => 'p_target');
INSERT INTO p_debezium (kafka_partition, kafka_key, kafka_value) VALUES
	(0, '{"id":"a"}', ev('c', NULL, '{"id":"a","v":"kept"}')), (1, '{"id":"z"}', ev('c', NULL, '{"id":"z","v":"z"}'));
SELECT * FROM sync('p');
INSERT INTO p_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers) VALUES
	(0, convert_to('{"id":"b\"b"}', 'UTF8'), ev('c', NULL, '{"id":"b\"b","v":"__debezium_unavailable_value"}'),
	 '[{"key":"__debezium.oldkey","value":"{\"id\":\"a\"}"}]');
SELECT * FROM sync('p');
INSERT INTO p_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers) VALUES
	(1, '{"id":"a"}', ev('d', '{"id":"a"}', NULL), '[{"key":"__debezium.newkey","value":"{\"id\":\"b\\\"b\"}"}]');
SELECT * FROM sync('p');
SELECT * FROM p_target ORDER BY id;
SELECT count(*) FROM cdcsync.moved;

-- the Kafka key is not the target's key: the delete's image tells it, its
-- tombstone need not
CREATE TABLE d_target (id int, code text PRIMARY KEY, w int);
SELECT cdc_create('d', target => 'd_target');
INSERT INTO d_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"code":"x","w":1}')), (key(2), ev('c', NULL, '{"id":2,"code":"y","w":1}'));
SELECT * FROM sync('d');
INSERT INTO d_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('d', '{"id":1,"code":"x","w":1}', NULL)), (key(1), NULL), (key(2), NULL);
SELECT * FROM sync('d');
SELECT * FROM d_target;
SELECT * FROM bad WHERE pipeline = 'd';

-- two rows swap a unique value beside a row that the target refuses
CREATE TABLE s_target (id int PRIMARY KEY, code text UNIQUE, n int NOT NULL);
SELECT cdc_create('s', target => 's_target');
INSERT INTO s_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'code', 'c' || i, 'n', i)) FROM generate_series(1, 5) i;
SELECT * FROM sync('s');
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"code":"c2","n":1}')), (key(3), ev('u', NULL, '{"id":3,"code":"c3","n":null}')),
	(key(2), ev('u', NULL, '{"id":2,"code":"c1","n":2}'));
SELECT * FROM sync('s');
SELECT * FROM s_target ORDER BY id;
SELECT * FROM bad WHERE pipeline = 's';

-- and beside rows that want what others keep
INSERT INTO s_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"code":"c1","n":1}')), (key(4), ev('u', NULL, '{"id":4,"code":"c5","n":4}')),
	(key(2), ev('u', NULL, '{"id":2,"code":"c2","n":2}')), (key(6), ev('c', NULL, '{"id":6,"code":"c3","n":6}'));
SELECT * FROM sync('s');
SELECT * FROM s_target ORDER BY id;

-- the key is another unique column than the primary key, and rows swap that one
CREATE TABLE i_target (id int PRIMARY KEY, code text UNIQUE NOT NULL);
SELECT cdc_create('i', target => 'i_target', key => '{code}');
INSERT INTO i_debezium (kafka_value) VALUES (ev('c', NULL, '{"id":1,"code":"x"}')), (ev('c', NULL, '{"id":2,"code":"y"}'));
SELECT * FROM sync('i');
INSERT INTO i_debezium (kafka_value) VALUES (ev('u', NULL, '{"id":2,"code":"x"}')), (ev('u', NULL, '{"id":1,"code":"y"}'));
SELECT * FROM sync('i');
SELECT * FROM i_target ORDER BY id;

-- a key that no index can hold
CREATE TABLE e_target (id text PRIMARY KEY, w int);
SELECT cdc_create('e', target => 'e_target');
INSERT INTO e_debezium (kafka_value) SELECT ev('c', NULL, jsonb_build_object('id', k, 'w', 1))
	FROM (VALUES ('ok'), ((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)), ('ok too')) v(k);
SELECT * FROM sync('e');
SELECT * FROM e_target ORDER BY id;
SELECT kafka_offset, sqlstate FROM bad WHERE pipeline = 'e';

-- nothing is told apart when far too many rows are refused: the breaker trips
CREATE TABLE n_target (id int PRIMARY KEY, w int CHECK (id <= 10 OR w > 10000));
SELECT cdc_create('n', target => 'n_target');
INSERT INTO n_debezium (kafka_value) SELECT ev('c', NULL, jsonb_build_object('id', i, 'w', i)) FROM generate_series(1, 3000) i;
SELECT * FROM sync('n');
SELECT state, sqlstate, quarantined FROM cdc_status WHERE pipeline = 'n';
SELECT count(*) FROM n_target;

-- staging follows a target that is altered again and again; a table has no more
-- than 1600 columns in all its life
CREATE TABLE g_target (id int PRIMARY KEY);
DO $$ BEGIN
	FOR i IN 1..400 LOOP EXECUTE format('ALTER TABLE g_target ADD COLUMN c%s int', i); END LOOP;
END $$;
SELECT cdc_create('g', target => 'g_target');
DO $$ BEGIN
	FOR i IN 1..6 LOOP
		EXECUTE format('ALTER TABLE g_target ADD COLUMN "D %s" text, ALTER COLUMN c1 TYPE %s, DROP COLUMN c%s',
					   i, CASE i % 2 WHEN 0 THEN 'int' ELSE 'numeric(10,2)' END, i + 1);
		INSERT INTO g_debezium (kafka_key, kafka_value)
			VALUES (key(i), ev('c', NULL, jsonb_build_object('id', i, 'c1', i, 'd ' || i, i, 'c' || (i + 1), 1)));
		PERFORM cdc_sync('g');
	END LOOP;
END $$;
SELECT id, c1, "D 1", "D 6" FROM g_target ORDER BY id;

-- a row too long for a page, after a delete of its key
DO $$ BEGIN
	EXECUTE 'CREATE TABLE w_target (id int PRIMARY KEY'
		|| (SELECT string_agg(format(', c%s bigint', i), '') FROM generate_series(1, 1100) i) || ')';
END $$;
SELECT cdc_create('w', target => 'w_target');
INSERT INTO w_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"c1":1}')), (key(2), ev('c', NULL, '{"id":2,"c1":1}'));
SELECT * FROM sync('w');
INSERT INTO w_debezium (kafka_key, kafka_value) VALUES (key(1), ev('d', '{"id":1}', NULL)),
	(key(1), ev('c', NULL, '{"id":1}' || (SELECT jsonb_object_agg('c' || i, i) FROM generate_series(1, 1100) i))),
	(key(2), ev('u', NULL, '{"id":2,"c1":2}')), (key(3), ev('c', NULL, '{"id":3,"c1":3}'));
SELECT * FROM sync('w');
SELECT id, c1 FROM w_target ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM bad WHERE pipeline = 'w';

-- a cascade takes the row from which a value was to be kept
CREATE TABLE f_target (id int PRIMARY KEY, parent int REFERENCES f_target ON DELETE CASCADE, v text);
SELECT cdc_create('f', target => 'f_target');
INSERT INTO f_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('c', NULL, '{"id":2,"parent":1,"v":"child"}')), (key(1), ev('c', NULL, '{"id":1,"parent":null,"v":"parent"}'));
SELECT * FROM sync('f');
INSERT INTO f_debezium (kafka_key, kafka_value) VALUES
	(key(2), ev('u', NULL, '{"id":2,"parent":null,"v":"__debezium_unavailable_value"}')), (key(1), ev('d', '{"id":1}', NULL));
SELECT * FROM sync('f');
SELECT * FROM f_target ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM bad WHERE pipeline = 'f';

-- a unique constraint that waits for the commit; it does so again afterwards
CREATE TABLE u_target (id int PRIMARY KEY, code text UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT cdc_create('u', target => 'u_target');
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', NULL, '{"id":1,"code":"x"}')),
	(key(2), ev('c', NULL, '{"id":2,"code":"y"}')), (key(3), ev('c', NULL, '{"id":3,"code":"z"}'));
SELECT * FROM sync('u');
BEGIN;
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', NULL, '{"id":1,"code":"y"}')),
	(key(2), ev('u', NULL, '{"id":2,"code":"x"}')), (key(4), ev('c', NULL, '{"id":4,"code":"z"}'));
SELECT * FROM sync('u');
INSERT INTO u_target VALUES (5, 'z');
DELETE FROM u_target WHERE id = 5;
COMMIT;
SELECT * FROM u_target ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM bad WHERE pipeline = 'u';

-- a foreign key that waits for the commit: a row waits for the one that it refers to, and holds up no other
CREATE TABLE v_parent (id int PRIMARY KEY);
CREATE TABLE v_target (id int PRIMARY KEY, parent int REFERENCES v_parent DEFERRABLE INITIALLY DEFERRED);
SELECT cdc_create('v', target => 'v_target');
INSERT INTO v_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"parent":1}')), (key(2), ev('c', NULL, '{"id":2,"parent":null}'));
SELECT * FROM sync('v');
SELECT kafka_offset, sqlstate FROM bad WHERE pipeline = 'v';
INSERT INTO v_parent VALUES (1);
SELECT * FROM sync('v');
-- in a transaction block it may come later
BEGIN;
INSERT INTO v_debezium (kafka_key, kafka_value) VALUES (key(3), ev('c', NULL, '{"id":3,"parent":3}'));
SELECT * FROM sync('v');
INSERT INTO v_parent VALUES (3);
COMMIT;
SELECT * FROM v_target ORDER BY id;

-- a row goes on to a third key before the value that is on its way to the second has come
CREATE TABLE third_target (id int PRIMARY KEY, n int, big text);
SELECT cdc_create('third', target => 'third_target');
INSERT INTO third_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers) VALUES (0, NULL, NULL, NULL),
	(1, key(2), ev('c', NULL, '{"id":2,"n":1,"big":"__debezium_unavailable_value"}'), '[{"key":"__debezium.oldkey","value":"{\"id\":1}"}]'),
	(1, key(2), ev('d', '{"id":2,"n":1}', NULL), '[{"key":"__debezium.newkey","value":"{\"id\":3}"}]');
SELECT * FROM sync('third');
INSERT INTO third_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers) VALUES
	(0, key(1), ev('c', NULL, '{"id":1,"n":1,"big":"large"}'), NULL),
	(0, key(1), ev('d', '{"id":1,"n":1}', NULL), '[{"key":"__debezium.newkey","value":"{\"id\":2}"}]');
SELECT * FROM sync('third');
INSERT INTO third_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers) VALUES
	(1, key(3), ev('c', NULL, '{"id":3,"n":1,"big":"__debezium_unavailable_value"}'), '[{"key":"__debezium.oldkey","value":"{\"id\":2}"}]');
SELECT * FROM sync('third');
SELECT * FROM third_target ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM bad WHERE pipeline = 'third';

-- GENERATED ALWAYS AS IDENTITY is the server's, but for a key
CREATE TABLE h_target (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY, v text);
CREATE TABLE h_wrong (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
SELECT cdc_create('h', target => 'h_wrong', columns => '{"n": "n"}');
ALTER TABLE h_target ADD COLUMN m int NOT NULL DEFAULT 0;
ALTER TABLE h_target ALTER n DROP IDENTITY, ALTER n SET DEFAULT 0, ALTER m DROP DEFAULT, ALTER m ADD GENERATED ALWAYS AS IDENTITY;
SELECT cdc_create('h', target => 'h_target');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES (key(7), ev('c', NULL, '{"id":7,"n":7,"m":7,"v":"x"}'));
SELECT * FROM sync('h');
INSERT INTO h_debezium (kafka_key, kafka_value) VALUES (key(7), ev('u', NULL, '{"id":7,"n":8,"m":8,"v":"y"}'));
SELECT * FROM sync('h');
SELECT * FROM h_target;

-- a record that is tried again in a window that the breaker refuses stays in
-- quarantine, once
CREATE TABLE r_parent (id int PRIMARY KEY);
CREATE TABLE r_target (id int PRIMARY KEY, parent int REFERENCES r_parent, v int);
SELECT cdc_create('r', target => 'r_target');
INSERT INTO r_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"parent":null,"v":1}')), (key(2), ev('c', NULL, '{"id":2,"parent":7,"v":1}'));
SELECT * FROM sync('r');
INSERT INTO r_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'v', 'x')) FROM generate_series(10, 30) i;
SELECT * FROM sync('r');
SELECT sqlstate, count(*) FROM bad WHERE pipeline = 'r' GROUP BY sqlstate ORDER BY sqlstate;

-- records that wait for a constraint do not trip the breaker when they are tried
-- again, however many they are
CREATE TABLE k_target (id int PRIMARY KEY, parent int REFERENCES r_parent);
SELECT cdc_create('k', target => 'k_target');
INSERT INTO k_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'parent', CASE WHEN i > 370 THEN 7 END)) FROM generate_series(1, 400) i;
SELECT * FROM sync('k');
SELECT * FROM sync('k');
SELECT state, quarantined FROM cdc_status WHERE pipeline = 'k';
INSERT INTO r_parent VALUES (7);
SELECT * FROM sync('k');
SELECT state, quarantined FROM cdc_status WHERE pipeline = 'k';
SELECT count(*), count(parent) FROM k_target;

-- a cursor of this session on staging is in nobody's way
CREATE TABLE c_target (id int PRIMARY KEY, v text);
SELECT cdc_create('c', target => 'c_target');
INSERT INTO c_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'v', repeat('x', 300))) FROM generate_series(1, 3000) i;
SELECT * FROM sync('c');
BEGIN;
DECLARE look CURSOR FOR SELECT id, op FROM c_stg;
FETCH look;
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', NULL, '{"id":1,"v":"y"}'));
SELECT * FROM sync('c');
FETCH look;
COMMIT;
SELECT id, v FROM c_target WHERE id = 1;

-- rules would make a sync do something else than it says
CREATE TABLE t_target (id int PRIMARY KEY, v text);
CREATE RULE nothing AS ON UPDATE TO t_target DO INSTEAD NOTHING;
SELECT cdc_create('t', target => 't_target');

-- a record that waits for another keeps its bytes, though the landing has it no more
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, v text);
SELECT cdc_create('child', target => 'child', options => '{"max_quarantine_share": 1}');
INSERT INTO child_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"parent":7,"v":"a"}')), (key(1), ev('u', NULL, '{"id":1,"v":"b"}'));
SELECT * FROM sync('child');
DELETE FROM child_debezium_chunk;
SELECT * FROM sync('child');
SELECT kafka_offset, convert_from(kafka_key, 'UTF8') AS key, convert_from(kafka_value, 'UTF8')::jsonb -> 'after' AS after, sqlstate, blocked_by
FROM cdcsync.quarantine WHERE pipeline = 'child' ORDER BY 1;
INSERT INTO parent VALUES (7);
SELECT * FROM sync('child');
SELECT * FROM child;
SELECT * FROM bad WHERE pipeline = 'child';

-- a window of many rows asks for the memory of the next ones by their keys in Kafka:
-- these may tell which row comes, or another one, or nothing
CREATE TABLE changes (no int, id int, op text, v text);
INSERT INTO changes SELECT n, n * 7919 % 6000, CASE WHEN n % 11 = 0 THEN 'd' ELSE 'u' END, 'v' || n
FROM generate_series(1, 16000) AS n;
INSERT INTO changes VALUES (5001, 0, 't', NULL);
CREATE FUNCTION large(name text, kafka_key text) RETURNS TABLE (rows bigint, differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %s_target (id int PRIMARY KEY, v text)', name);
	PERFORM cdc_create(name, target => (name || '_target')::regclass);
	EXECUTE format('INSERT INTO %s_debezium (kafka_key, kafka_value)
		SELECT convert_to(%s, ''UTF8''), convert_to(format(''{"before":%%s,"after":%%s,"source":{"connector":"mysql","table":"t"},"op":"%%s"}'',
			CASE WHEN op = ''d'' THEN format(''{"id":%%s}'', id) ELSE ''null'' END,
			CASE WHEN op = ''u'' THEN format(''{"id":%%s,"v":"%%s"}'', id, v) ELSE ''null'' END, op), ''UTF8'')
		FROM changes ORDER BY no, op DESC', name, kafka_key);
	PERFORM cdc_sync(name);
	RETURN QUERY EXECUTE format('WITH last AS (SELECT DISTINCT ON (id) id, op, v FROM changes WHERE no > 5001 ORDER BY id, no DESC),
			expected AS (SELECT id, v FROM last WHERE op = ''u'')
		SELECT (SELECT count(*) FROM %s_target), count(*) FROM expected AS e FULL JOIN %1$s_target AS t USING (id)
		WHERE t.v IS DISTINCT FROM e.v', name);
END $$;
DELETE FROM changes WHERE no = 5001 AND op <> 't';
SELECT * FROM large('l_right', $$format('{"id":%s}', id)$$);
SELECT * FROM large('l_wrong', $$format('{"other":%s}', no % 37)$$);
SELECT * FROM large('l_none', 'NULL');
SELECT count(*) FROM bad WHERE pipeline LIKE 'l\_%';

SET client_min_messages = error;
SELECT cdc_drop(p) FROM unnest('{q,p,d,s,i,e,n,g,w,f,u,h,r,c,k,child,l_right,l_wrong,l_none}'::text[]) p;
DROP SCHEMA sync_more CASCADE;
