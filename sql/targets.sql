-- What can be a target, and what happens there.
CREATE SCHEMA targets;
SET search_path = targets, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

CREATE FUNCTION ev(op text, before jsonb, after jsonb) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', before, 'after', after, 'op', op, 'ts_ms', 1,
	'source', '{"connector": "postgresql", "snapshot": "false"}'::jsonb)::text, 'UTF8') $$;
CREATE FUNCTION key(id int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(format('{"id":%s}', id), 'UTF8') $$;
CREATE FUNCTION sync(name text, OUT events bigint, OUT staged bigint, OUT inserted bigint,
	OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, staged, inserted, updated, deleted, quarantined FROM cdc_sync(name) $$;
CREATE VIEW bad AS
	SELECT pipeline, kafka_offset, sqlstate, message FROM cdcsync.quarantine ORDER BY 1, 2;
-- the same changes for each target: create, change, delete, create anew
CREATE PROCEDURE feed(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_key, kafka_value) VALUES
		(key(1), ev(''c'', NULL, ''{"id":1,"v":"a"}'')), (key(2), ev(''c'', NULL, ''{"id":2,"v":"b"}'')),
		(key(3), ev(''c'', NULL, ''{"id":3,"v":"c"}''))', name || '_debezium');
	PERFORM cdc_sync(name);
	EXECUTE format('INSERT INTO %I (kafka_key, kafka_value) VALUES
		(key(1), ev(''u'', NULL, ''{"id":1,"v":"a2"}'')), (key(2), ev(''d'', NULL, NULL)), (key(2), NULL),
		(key(3), ev(''d'', NULL, NULL)), (key(3), ev(''c'', NULL, ''{"id":3,"v":"c2"}'')),
		(key(4), ev(''c'', NULL, ''{"id":4,"v":"d"}''))', name || '_debezium');
END $$;

-- a view with INSTEAD OF triggers, over two tables
CREATE TABLE left_half (id int PRIMARY KEY);
CREATE TABLE right_half (id int PRIMARY KEY, v text);
CREATE VIEW v AS SELECT id, v FROM left_half JOIN right_half USING (id);
SELECT cdc_create('v', target => 'v', key => ARRAY['id']);
CREATE FUNCTION v_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO targets.left_half VALUES (NEW.id);
		INSERT INTO targets.right_half VALUES (NEW.id, NEW.v);
		RETURN NEW;
	ELSIF TG_OP = 'UPDATE' THEN
		UPDATE targets.right_half SET v = NEW.v WHERE id = OLD.id;
		RETURN NEW;
	END IF;
	DELETE FROM targets.left_half WHERE id = OLD.id;
	DELETE FROM targets.right_half WHERE id = OLD.id;
	RETURN OLD;
END $$;
CREATE TRIGGER v_change INSTEAD OF INSERT OR UPDATE OR DELETE ON v FOR EACH ROW EXECUTE FUNCTION v_change();
SELECT cdc_create('v', target => 'v');
SELECT cdc_create('v', target => 'v', key => ARRAY['id']);
CALL feed('v');
SELECT * FROM sync('v');
SELECT * FROM v ORDER BY id;
INSERT INTO v_debezium (kafka_value) VALUES (ev('t', NULL, NULL)), (ev('c', NULL, '{"id":5,"v":"e"}'));
SELECT * FROM sync('v');
SELECT * FROM left_half;
DROP VIEW v;
SELECT cdc_drop('v');

-- a view that can be changed by itself, with a condition
CREATE TABLE behind (id int PRIMARY KEY, v text, note text DEFAULT 'mine');
CREATE VIEW v2 AS SELECT id, v FROM behind WHERE id < 4 WITH CHECK OPTION;
SELECT cdc_create('v2', target => 'v2', key => ARRAY['id'], options => '{"max_quarantine_share": 1}');
CALL feed('v2');
SELECT * FROM sync('v2');
SELECT * FROM behind ORDER BY id;
SELECT * FROM bad;

-- soft_delete and append into views, and history
CREATE TABLE behind3 (id int, v text, op text, deleted_at timestamp, valid_from timestamp, valid_to timestamp, current bool);
CREATE VIEW v3 AS SELECT id, v, op, deleted_at FROM behind3;
SELECT cdc_create('v3', target => 'v3', key => ARRAY['id'], options => '{"mode": "soft_delete"}');
CALL feed('v3');
SELECT * FROM sync('v3');
SELECT id, v, op, deleted_at IS NOT NULL AS deleted FROM v3 ORDER BY id;
SELECT cdc_drop('v3');
TRUNCATE behind3;
CREATE VIEW v4 AS SELECT id, v, valid_from, valid_to, current FROM behind3;
SELECT cdc_create('v4', target => 'v4', key => ARRAY['id'], options => '{"mode": "history"}');
CALL feed('v4');
SELECT * FROM sync('v4');
SELECT id, v, current FROM v4 ORDER BY id, valid_from, v;

-- row-level security: what the policies of the owner let through
CREATE TABLE r (id int PRIMARY KEY, v text);
ALTER TABLE r ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY small ON r USING (true) WITH CHECK (id < 4);
DO $$ BEGIN CREATE ROLE regress_targets_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT ALL ON SCHEMA targets TO regress_targets_owner;
ALTER TABLE r OWNER TO regress_targets_owner;
SET ROLE regress_targets_owner;
SELECT cdc_create('r', target => 'r', options => '{"max_quarantine_share": 1}');
CALL feed('r');
SELECT * FROM sync('r');
SELECT * FROM r ORDER BY id;
SELECT cdc_drop('r');
RESET ROLE;
SELECT * FROM bad WHERE pipeline = 'r';

-- partitions: rows move; a row for which there is none waits for nobody
CREATE TABLE p (id int, v text, PRIMARY KEY (id, v)) PARTITION BY LIST (v);
CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a', 'b', 'c');
CREATE TABLE p_a2 PARTITION OF p FOR VALUES IN ('a2', 'c2');
SELECT cdc_create('p', target => 'p', key => ARRAY['id'], options => '{"max_quarantine_share": 1}');
CALL feed('p');
SELECT * FROM sync('p');
SELECT tableoid::regclass, * FROM p ORDER BY id;
SELECT * FROM bad WHERE pipeline = 'p';

-- generated and identity columns, a column of the user's own
CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) STORED,
	no int GENERATED BY DEFAULT AS IDENTITY, note text DEFAULT 'mine');
SELECT cdc_create('g', target => 'g');
CALL feed('g');
UPDATE g SET note = 'yours';
SELECT * FROM sync('g');
SELECT * FROM g ORDER BY id;

-- triggers: one that changes rows, one that swallows them, a deferred one
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE FUNCTION t_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.id = 4 THEN RETURN NULL; END IF;
	NEW.v := upper(NEW.v);
	RETURN NEW;
END $$;
CREATE TRIGGER t_before BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION t_before();
CREATE TABLE t_log (id int, what text);
CREATE FUNCTION t_after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO targets.t_log VALUES (coalesce(NEW.id, OLD.id), TG_OP);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER t_after AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION t_after();
SELECT cdc_create('t', target => 't');
CALL feed('t');
SELECT * FROM sync('t');
SELECT * FROM t ORDER BY id;
SELECT * FROM t_log ORDER BY id, what;

-- unique values that rows swap and take over; children of rows that survive stay
CREATE TABLE u (id int PRIMARY KEY, v text NOT NULL UNIQUE);
CREATE TABLE u_child (id int REFERENCES u ON DELETE CASCADE);
SELECT cdc_create('u', target => 'u');
CALL feed('u');
INSERT INTO u_child VALUES (1), (2), (3);
SELECT * FROM sync('u');
INSERT INTO u_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"d"}')), (key(4), ev('u', NULL, '{"id":4,"v":"a2"}')),
	(key(3), ev('d', NULL, NULL)), (key(5), ev('c', NULL, '{"id":5,"v":"c2"}'));
SELECT * FROM sync('u');
SELECT * FROM u ORDER BY id;
SELECT * FROM u_child ORDER BY id;
-- an exclusion constraint: a range passes from one row to another
CREATE TABLE x (id int PRIMARY KEY, v int4range, EXCLUDE USING gist (v WITH &&));
SELECT cdc_create('x', target => 'x');
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"v":"[1,5)"}')), (key(2), ev('c', NULL, '{"id":2,"v":"[5,9)"}'));
SELECT * FROM sync('x');
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"[1,2)"}')), (key(3), ev('c', NULL, '{"id":3,"v":"[2,5)"}')),
	(key(2), ev('u', NULL, '{"id":2,"v":"[6,9)"}'));
SELECT * FROM sync('x');
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"[2,5)"}')), (key(3), ev('u', NULL, '{"id":3,"v":"[1,2)"}'));
SELECT * FROM sync('x');
-- and where they must not be null
DELETE FROM x WHERE v IS NULL;
ALTER TABLE x ALTER v SET NOT NULL;
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"[1,3)"}')), (key(3), ev('u', NULL, '{"id":3,"v":"[3,5)"}'));
SELECT * FROM sync('x');
SELECT * FROM x ORDER BY id;
SELECT * FROM bad WHERE pipeline = 'x';
-- ranges that overlap what they leave
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"[2,5)"}')), (key(3), ev('u', NULL, '{"id":3,"v":"[1,2)"}')),
	(key(2), ev('u', NULL, '{"id":2,"v":"[5,7)"}'));
SELECT * FROM sync('x');
SELECT * FROM x ORDER BY id;
-- unique values that an index or the table computes; null as a value like others; of some rows
CREATE TABLE w (id int PRIMARY KEY, a text NOT NULL, b text, c text NOT NULL, e int, n int,
	d text GENERATED ALWAYS AS (upper(c)) STORED UNIQUE, UNIQUE NULLS NOT DISTINCT (e));
CREATE UNIQUE INDEX ON w (lower(a));
CREATE UNIQUE INDEX ON w (coalesce(b, ''), abs(n));
CREATE UNIQUE INDEX ON w (n) WHERE n > 0;
CREATE TABLE w_child (id int REFERENCES w ON DELETE CASCADE);
SELECT cdc_create('w', target => 'w');
INSERT INTO w_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', NULL, jsonb_build_object('id', i, 'a', 'A' || i, 'b', nullif('b' || i, 'b1'), 'c', 'c' || i, 'e', nullif(i, 1), 'n', i))
	FROM generate_series(1, 4) i;
SELECT * FROM sync('w');
INSERT INTO w_child SELECT id FROM w;
INSERT INTO w_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('u', NULL, jsonb_build_object('id', i, 'a', 'a' || j, 'b', nullif('b' || j, 'b1'), 'c', 'C' || j, 'e', nullif(j, 1), 'n', j))
	FROM generate_series(1, 4) i, LATERAL (SELECT i % 4 + 1 AS j) k;
SELECT * FROM sync('w');
SELECT *, (SELECT count(*) FROM w_child c WHERE c.id = w.id) AS children FROM w ORDER BY id;
-- what leaves a value out keeps it, though another wants it
INSERT INTO w_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"n":20,"b":"x"}')), (key(2), ev('u', NULL, '{"id":2,"a":"A2"}')),
	(key(3), ev('u', NULL, '{"id":3,"a":"a3"}'));
SELECT * FROM sync('w');
SELECT id, a, n FROM w ORDER BY id;
SELECT * FROM bad WHERE pipeline = 'w';
-- a swap of values that have no spare one: the rows wait, with the reason
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE n (id int PRIMARY KEY, v mood NOT NULL UNIQUE);
SELECT cdc_create('n', target => 'n', options => '{"max_quarantine_share": 1}');
INSERT INTO n_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', NULL, '{"id":1,"v":"sad"}')), (key(2), ev('c', NULL, '{"id":2,"v":"ok"}'));
SELECT * FROM sync('n');
INSERT INTO n_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', NULL, '{"id":1,"v":"ok"}')), (key(2), ev('u', NULL, '{"id":2,"v":"sad"}'));
SELECT * FROM sync('n');
SELECT * FROM bad WHERE pipeline = 'n';

-- a primary key that is checked at commit; children by inheritance; unlogged; odd names; names of staging's own
CREATE UNLOGGED TABLE d (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
SELECT cdc_create('d', target => 'd');
CALL feed('d');
SELECT * FROM sync('d');
SELECT * FROM d ORDER BY id;
CREATE TABLE i (id int PRIMARY KEY, v text);
CREATE TABLE i_child (extra int) INHERITS (i);
INSERT INTO i_child VALUES (1, 'child', 1);
SELECT cdc_create('i', target => 'i');
CALL feed('i');
SELECT * FROM sync('i');
SELECT tableoid::regclass, * FROM i ORDER BY id;
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."a ""b"" c" ("I'd" int PRIMARY KEY, "v ." text, op text, ts_ms text, record_rank text,
	kafka_offset text, cdc_action text, cdc_unset text, t int, s int, x int);
SELECT cdc_create('odd', target => '"Odd Schema"."a ""b"" c"', columns => '{"I''d": "id", "v .": "v"}');
CALL feed('odd');
SELECT * FROM sync('odd');
SELECT "I'd", "v ." FROM "Odd Schema"."a ""b"" c" ORDER BY 1;
DROP SCHEMA "Odd Schema" CASCADE;

-- a partitioned table without a key: one of equal rows goes, wherever it is
CREATE TABLE kp (a int, b numeric(4,2)) PARTITION BY HASH (b);
CREATE TABLE kp_0 PARTITION OF kp FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE kp_1 PARTITION OF kp FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT cdc_create('kp', target => 'kp');
INSERT INTO kp_debezium (kafka_value) SELECT ev('c', NULL, jsonb_build_object('a', g % 2, 'b', (g % 4)::text)) FROM generate_series(1, 40) g;
SELECT * FROM sync('kp');
INSERT INTO kp_debezium (kafka_value) SELECT ev('d', jsonb_build_object('a', g % 2, 'b', (g % 4)::text || '.0'), NULL) FROM generate_series(1, 4) g
	UNION ALL SELECT ev('u', '{"a":1,"b":"1.00"}', '{"a":null,"b":null}') FROM generate_series(1, 3);
SELECT * FROM sync('kp');
SELECT a, b, count(*) FROM kp GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM bad WHERE pipeline = 'kp';

-- what cannot be one
CREATE VIEW sums AS SELECT count(*) AS id FROM u;
SELECT cdc_create('e', target => 'sums', key => ARRAY['id']);
CREATE FOREIGN DATA WRAPPER targets_fdw;
CREATE SERVER targets_server FOREIGN DATA WRAPPER targets_fdw;
CREATE FOREIGN TABLE f (id int) SERVER targets_server;
SELECT cdc_create('e', target => 'f', key => ARRAY['id']);
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id;
SELECT cdc_create('e', target => 'mv', key => ARRAY['id']);
CREATE RULE nothing AS ON INSERT TO i DO INSTEAD NOTHING;
SELECT cdc_create('e', target => 'i');

-- the target changes between two syncs
CREATE TABLE c (id int PRIMARY KEY, v text, w int);
SELECT cdc_create('c', target => 'c', columns => '{"w": "weight"}', options => '{"max_quarantine_share": 1}');
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', NULL, '{"id":1,"v":"1","weight":1}'));
SELECT * FROM sync('c');
-- a type; a new column; a column that goes
ALTER TABLE c ALTER v TYPE int USING v::int, ADD weight bigint;
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', NULL, '{"id":1,"v":"2","weight":2}')),
	(key(2), ev('c', NULL, '{"id":2,"v":"two","weight":2}'));
SELECT * FROM sync('c');
ALTER TABLE c DROP v;
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(3), ev('c', NULL, '{"id":3,"v":"3","weight":3}'));
SELECT * FROM sync('c');
SELECT * FROM c ORDER BY id;
-- a column that is mapped is renamed; the key goes
ALTER TABLE c RENAME w TO w2;
SELECT * FROM sync('c');
SELECT cdc_alter('c', columns => '{"w2": "weight"}');
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(3), ev('u', NULL, '{"id":3,"v":"3","weight":4}'));
SELECT * FROM sync('c');
SELECT * FROM c ORDER BY id;
ALTER TABLE c RENAME id TO ident;
SELECT * FROM sync('c');
ALTER TABLE c RENAME ident TO id;
ALTER TABLE c DROP CONSTRAINT c_pkey;
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(3), ev('d', NULL, NULL));
SELECT * FROM sync('c');
SELECT * FROM c ORDER BY id;
ALTER TABLE c RENAME TO c2;
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(4), ev('c', NULL, '{"id":4,"weight":4}'));
SELECT * FROM sync('c');
SELECT * FROM c2 ORDER BY id;

SET client_min_messages = error;
SELECT cdc_drop('*');
DROP SERVER targets_server CASCADE;
DROP FOREIGN DATA WRAPPER targets_fdw;
DROP SCHEMA targets CASCADE;
DROP ROLE regress_targets_owner;
