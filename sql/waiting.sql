-- Rows that a constraint refuses wait for others; what a trigger refuses is found.
CREATE SCHEMA waiting_test;
SET search_path = waiting_test, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

CREATE FUNCTION put(pipeline text, VARIADIC changes text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	change text;
	after jsonb;
BEGIN
	-- '-7': delete the row 7; else an image
	FOREACH change IN ARRAY changes LOOP
		after := CASE WHEN change LIKE '{%' THEN change::jsonb END;
		EXECUTE format('INSERT INTO %I (kafka_key, kafka_value) VALUES ($1, $2)', pipeline || '_debezium')
			USING convert_to(jsonb_build_object('id', coalesce((after ->> 'id')::int, -change::int))::text, 'UTF8'),
				  convert_to(jsonb_build_object('op', CASE WHEN after IS NULL THEN 'd' ELSE 'u' END, 'after', after,
					'before', CASE WHEN after IS NULL THEN jsonb_build_object('id', -change::int) END)::text, 'UTF8');
	END LOOP;
END $$;
CREATE FUNCTION sync(name text, OUT inserted bigint, OUT updated bigint, OUT deleted bigint, OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT inserted, updated, deleted, quarantined FROM cdc_sync(name) $$;
CREATE VIEW waits AS SELECT pipeline, kafka_offset AS "offset", state, sqlstate, message, blocked_by
	FROM cdcsync.quarantine ORDER BY pipeline, kafka_offset;

-- grandparent, parent and child: synced in the wrong order, then deleted in the
-- wrong order; deferrable or not
CREATE FUNCTION family(deferred text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE TABLE g (id int PRIMARY KEY)';
	EXECUTE 'CREATE TABLE p (id int PRIMARY KEY, g int REFERENCES g ' || deferred || ')';
	EXECUTE 'CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL REFERENCES p ' || deferred || ', v text)';
	PERFORM cdc_create(t, target => t::regclass) FROM unnest('{g,p,c}'::text[]) t;
END $$;
CREATE VIEW counts AS SELECT pipeline, state, count(*) FROM cdcsync.quarantine GROUP BY 1, 2 ORDER BY 1, 2;

SELECT family('');
SELECT put('c', '{"id":1,"p":1,"v":"a"}', '{"id":2,"p":2,"v":"a"}'), put('p', '{"id":1,"g":1}', '{"id":2,"g":2}'),
	put('g', '{"id":1}', '{"id":2}');
SELECT * FROM sync('c');
SELECT * FROM sync('p');
SELECT * FROM waits;
SELECT state, quarantined, exact FROM cdc_status ORDER BY pipeline;
-- one sync lets all of them in
SELECT * FROM sync('g');
SELECT * FROM waits;
SELECT * FROM c ORDER BY id;
-- the other way round
SELECT put('g', '-1'), put('p', '-1'), put('c', '-1');
SELECT * FROM sync('g');
SELECT * FROM sync('p');
SELECT pipeline, "offset", state, sqlstate FROM waits;
SELECT * FROM sync('c');
SELECT * FROM waits;
SELECT (SELECT array_agg(id) FROM g) AS g, (SELECT array_agg(id) FROM p) AS p, (SELECT array_agg(id) FROM c) AS c;
-- a parent that waits to go is created again: it stays
SELECT put('p', '-2');
SELECT * FROM sync('p');
SELECT put('p', '{"id":2,"g":null}');
SELECT * FROM sync('p');
SELECT * FROM waits;
SELECT * FROM p;
-- a later change of the key that leaves values out waits behind it
SELECT put('c', '{"id":5,"p":5,"v":"a"}');
SELECT * FROM sync('c');
SELECT put('c', '{"id":5,"v":"b"}');
SELECT * FROM sync('c');
SELECT pipeline, "offset", state, blocked_by FROM waits;
SELECT put('p', '{"id":5,"g":null}');
SELECT * FROM sync('p');
SELECT * FROM c ORDER BY id;
SELECT * FROM waits;
SELECT cdc_drop(t, true) FROM unnest('{c,p,g}'::text[]) t;

SELECT family('DEFERRABLE INITIALLY DEFERRED');
SELECT put('c', '{"id":1,"p":1,"v":"a"}', '{"id":2,"p":2,"v":"a"}'), put('p', '{"id":1,"g":1}', '{"id":2,"g":2}'),
	put('g', '{"id":1}', '{"id":2}');
SELECT * FROM sync('c');
SELECT * FROM sync('p');
SELECT * FROM sync('g');
SELECT * FROM waits;
SELECT put('g', '-1'), put('p', '-1'), put('c', '-1');
SELECT * FROM sync('g');
SELECT * FROM counts;
SELECT * FROM sync('p');
SELECT * FROM counts;
SELECT * FROM sync('c');
SELECT * FROM counts;
SELECT (SELECT array_agg(id) FROM g) AS g, (SELECT array_agg(id) FROM p) AS p, (SELECT array_agg(id) FROM c) AS c;
-- in a transaction block, what is deferred may come before the commit
SELECT put('c', '{"id":3,"p":3,"v":"a"}'), put('p', '{"id":3,"g":3}'), put('g', '{"id":3}');
BEGIN;
SELECT * FROM sync('c');
SELECT * FROM sync('p');
SELECT * FROM sync('g');
COMMIT;
SELECT * FROM counts;
SELECT * FROM c ORDER BY id;
SELECT cdc_drop(t, true) FROM unnest('{c,p,g}'::text[]) t;

-- a referenced key changes; the row that refers to it changes before and after
CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE c (id int PRIMARY KEY, p text REFERENCES p (code));
SELECT cdc_create(t, target => t::regclass) FROM unnest('{p,c}'::text[]) t;
SELECT put('p', '{"id":1,"code":"a"}'), put('c', '{"id":1,"p":"a"}');
SELECT * FROM sync('p');
SELECT * FROM sync('c');
SELECT put('p', '{"id":1,"code":"b"}'), put('c', '{"id":1,"p":null}', '{"id":1,"p":"b"}');
SELECT * FROM sync('p');
SELECT pipeline, "offset", state, sqlstate FROM waits;
SELECT * FROM sync('c');
SELECT pipeline, "offset", state, sqlstate FROM waits;
-- neither can be first, as of the child only its latest state is wanted; a new
-- state frees them
SELECT put('c', '{"id":1,"p":null}');
SELECT * FROM sync('c');
SELECT pipeline, "offset", state, sqlstate FROM waits;
SELECT put('c', '{"id":1,"p":"b"}');
SELECT * FROM sync('c');
SELECT * FROM waits;
SELECT * FROM p, c;
SELECT cdc_drop(t, true) FROM unnest('{c,p}'::text[]) t;

-- a table that refers to itself: any order, in one window and in many
CREATE TABLE s (id int PRIMARY KEY, boss int REFERENCES s);
SELECT cdc_create('s', target => 's');
SELECT put('s', '{"id":3,"boss":2}', '{"id":2,"boss":1}', '{"id":1,"boss":null}');
SELECT * FROM sync('s');
SELECT put('s', '{"id":6,"boss":5}');
SELECT * FROM sync('s');
SELECT put('s', '{"id":5,"boss":4}');
SELECT * FROM sync('s');
SELECT "offset", state, sqlstate FROM waits;
SELECT put('s', '{"id":4,"boss":3}');
SELECT * FROM sync('s');
SELECT * FROM waits;
SELECT put('s', '-1');
SELECT * FROM sync('s');
SELECT put('s', '{"id":2,"boss":null}');
SELECT * FROM sync('s');
SELECT * FROM s ORDER BY id;
SELECT * FROM waits;
SELECT cdc_drop('s', true);

-- unique and exclusion constraints: the row that has the value gives it up later
CREATE TABLE e (id int PRIMARY KEY, code text UNIQUE, span int4range, EXCLUDE USING gist (span WITH &&));
SELECT cdc_create('e', target => 'e');
SELECT put('e', '{"id":1,"code":"x","span":"[1,5)"}');
SELECT * FROM sync('e');
SELECT put('e', '{"id":2,"code":"x","span":"[10,15)"}', '{"id":3,"code":"y","span":"[4,8)"}');
SELECT * FROM sync('e');
SELECT * FROM waits;
SELECT put('e', '{"id":1,"code":"z","span":"[20,25)"}');
SELECT * FROM sync('e');
SELECT * FROM e ORDER BY id;
SELECT * FROM waits;

-- so long, and no longer; an option that can be altered
SELECT put('e', '{"id":4,"code":"x","span":"[30,35)"}');
SELECT * FROM sync('e');
SELECT cdc_alter('e', options => '{"constraint_wait": "1 hour"}');
UPDATE cdcsync.quarantine SET quarantined_at = quarantined_at - interval '30 min';
SELECT * FROM sync('e');
SELECT state, sqlstate FROM waits;
SELECT cdc_alter('e', options => '{"constraint_wait": "20 min"}');
SELECT * FROM sync('e');
SELECT state, sqlstate, message FROM waits;
SELECT quarantined_at < now() - interval '29 min' AS its_time FROM cdcsync.quarantine;
-- it is tried no more by itself, but by hand
DELETE FROM e WHERE code = 'x';
SELECT * FROM sync('e');
SELECT * FROM cdc_retry('e');
SELECT id, code FROM e ORDER BY id;
SELECT cdc_alter('e', options => '{"constraint_wait": 0}');
SELECT put('e', '{"id":5,"code":"x","span":"[40,45)"}');
SELECT * FROM sync('e');
SELECT state FROM waits;
SELECT cdc_drop('e', true);

-- many that wait do not trip the breaker, and are many at a time
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);
SELECT cdc_create(t, target => t::regclass) FROM unnest('{p,c}'::text[]) t;
INSERT INTO c_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"id":%s}', i), 'UTF8'), convert_to(format('{"op":"c","after":{"id":%s,"p":%s}}', i, i), 'UTF8')
	FROM generate_series(1, 2500) i;
SELECT * FROM sync('c');
SELECT * FROM counts;
INSERT INTO p_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"id":%s}', i), 'UTF8'), convert_to(format('{"op":"c","after":{"id":%s}}', i), 'UTF8')
	FROM generate_series(1, 2400) i;
SELECT * FROM sync('p');
SELECT count(*) FROM c;
SELECT * FROM counts;
SELECT cdc_drop(t, true) FROM unnest('{c,p}'::text[]) t;

-- triggers: one that refuses a row, one that refuses rows together, at the end of
-- the statement or of the transaction; the others go on
CREATE TABLE t (id int PRIMARY KEY, part int, v int);
SELECT cdc_create('t', target => 't', options => '{"max_quarantine_share": 1}');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.v = 13 THEN RAISE EXCEPTION 'row % is unlucky', NEW.id; END IF;
	ASSERT NEW.v <> 14, 'or worse';
	RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT put('t', '{"id":1,"part":1,"v":1}', '{"id":2,"part":1,"v":13}', '{"id":3,"part":1,"v":14}', '{"id":4,"part":2,"v":1}');
SELECT * FROM sync('t');
SELECT * FROM t ORDER BY id;
SELECT "offset", state, sqlstate, message FROM waits;
DROP TRIGGER refuse ON t;
SELECT * FROM cdc_retry('t');
TRUNCATE t;
-- no part has more than three rows: refused when the statement has ended
CREATE FUNCTION refuse_parts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM t GROUP BY part HAVING count(*) > 3) THEN RAISE EXCEPTION 'a part is full'; END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER refuse_parts AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION refuse_parts();
SELECT put('t', VARIADIC array_agg(format('{"id":%s,"part":%s,"v":0}', i, i % 4))) FROM generate_series(1, 14) i;
SELECT * FROM sync('t');
SELECT part, count(*) FROM t GROUP BY 1 ORDER BY 1;
SELECT "offset", state, message FROM waits;
DROP TRIGGER refuse_parts ON t;
SELECT cdc_discard('t');
TRUNCATE t;
-- the values of a part are zero in sum: holds for rows together, at the end
CREATE FUNCTION refuse_sums() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT sum(v) FROM t WHERE part = coalesce(NEW.part, OLD.part)) <> 0 THEN
		RAISE EXCEPTION 'part % does not balance', coalesce(NEW.part, OLD.part);
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse_sums AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION refuse_sums();
SELECT put('t', '{"id":1,"part":1,"v":5}', '{"id":2,"part":1,"v":-5}', '{"id":3,"part":2,"v":0}');
SELECT * FROM sync('t');
-- a delete, an update and an insert, of which none holds alone
SELECT put('t', '-1', '{"id":2,"part":1,"v":-3}', '{"id":4,"part":1,"v":3}');
SELECT * FROM sync('t');
SELECT * FROM t ORDER BY id;
SELECT put('t', '{"id":5,"part":3,"v":1}', '{"id":6,"part":4,"v":0}');
SELECT * FROM sync('t');
SELECT * FROM t ORDER BY id;
SELECT "offset", state, message FROM waits;
-- it is deferred as before
BEGIN;
INSERT INTO t VALUES (7, 7, 7);
INSERT INTO t VALUES (8, 7, -7);
COMMIT;
SELECT cdc_drop('t', true);

-- a parent's truncate before the child's: refused, until the child has been synced
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
SELECT cdc_create('parent', target => 'parent');
SELECT cdc_create('child', target => 'child');
SELECT put('parent', '{"id":1}');
SELECT put('child', '{"id":1,"parent":1}');
SELECT inserted FROM cdc_sync('parent');
SELECT inserted FROM cdc_sync('child');
INSERT INTO parent_debezium (kafka_value) VALUES ('{"op":"t","source":{}}');
INSERT INTO child_debezium (kafka_value) VALUES ('{"op":"t","source":{}}');
\set SHOW_CONTEXT never
SELECT deleted FROM cdc_sync('parent');
SELECT count(*) FROM parent;
SELECT deleted FROM cdc_sync('child');
SELECT deleted FROM cdc_sync('parent');
-- the other way round
SELECT put('parent', '{"id":1}');
SELECT put('child', '{"id":1,"parent":1}');
SELECT inserted FROM cdc_sync('parent');
SELECT inserted FROM cdc_sync('child');
INSERT INTO parent_debezium (kafka_value) VALUES ('{"op":"t","source":{}}');
INSERT INTO child_debezium (kafka_value) VALUES ('{"op":"t","source":{}}');
SELECT deleted FROM cdc_sync('child');
SELECT deleted FROM cdc_sync('parent');
SELECT count(*) FROM parent;

SET client_min_messages = error;
DROP SCHEMA waiting_test CASCADE;
