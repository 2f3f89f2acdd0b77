-- The target's key has a column that the source's lacks: where the row was is looked
-- up by the columns that the record's key has.  Two tables follow one landing: one
-- gets a window for all, one for each record.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA places;
SET search_path = places, public;
SET timezone = 'UTC';

CREATE PROCEDURE pair(name text, columns text, by text, mode text DEFAULT 'mirror', key text[] DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 2 LOOP
		EXECUTE format('CREATE TABLE %I (%s) %s', name || i, columns, by);
		IF by <> '' THEN
			EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (''a'')', name || i || '_a', name || i);
			EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || i || '_rest', name || i);
		END IF;
		PERFORM cdc_create(name || i, target => (name || i)::regclass, key => key,
			options => jsonb_build_object('mode', mode, 'max_quarantine_share', 1)
				|| CASE WHEN i = 2 THEN jsonb_build_object('landing', name || '1_debezium') ELSE '{}' END);
	END LOOP;
END
$$;
-- one event; the second pipeline has a window for it alone
CREATE PROCEDURE e(name text, op text, key text, before text, after text, pos int DEFAULT NULL, part int DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_partition, kafka_key, kafka_value) VALUES ($3, convert_to($1, ''UTF8''), convert_to($2, ''UTF8''))', name || '1_debezium')
	USING key, CASE WHEN op <> '' THEN jsonb_build_object('op', op, 'before', before::jsonb, 'after', after::jsonb,
		'source', '{"connector": "postgresql"}'::jsonb || CASE WHEN pos IS NULL THEN '{}' ELSE
		jsonb_build_object('ts_ms', 1760000000000 + pos, 'sequence', format('["%s","%s"]', pos, pos)) END)::text END, part;
	PERFORM cdc_sync(name || '2');
END
$$;
-- the same as the second one has it?
CREATE FUNCTION same(name text, columns text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows text[];
	bad text[];
	r text;
BEGIN
	PERFORM cdc_sync(name || '1');
	FOR i IN 1 .. 2 LOOP
		EXECUTE format('SELECT coalesce(string_agg(r::text, '' '' ORDER BY r::text), ''none'') FROM (SELECT %s FROM %I) r', columns, name || i) INTO r;
		rows := rows || r;
		SELECT coalesce(string_agg(concat_ws(' ', kafka_offset, sqlstate), ', ' ORDER BY kafka_offset), 'none') INTO r
		FROM cdcsync.quarantine WHERE pipeline = name || i;
		bad := bad || r;
	END LOOP;
	RETURN format('%s; bad: %s', rows[1], bad[1])
		|| CASE WHEN rows[1] <> rows[2] OR bad[1] <> bad[2] THEN format(' BUT %s; bad: %s', rows[2], bad[2]) ELSE '' END;
END
$$;

CALL pair('p', 'id int, region text, n int, t text, PRIMARY KEY (id, region)', 'PARTITION BY LIST (region)');
CALL e('p', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 1, "t": "one"}');
CALL e('p', 'r', '{"id": 2}', NULL, '{"id": 2, "region": "b", "n": 1, "t": "two"}');
CALL e('p', 'c', '{"id": 3}', NULL, '{"id": 3, "region": "c", "n": 1, "t": "three"}');
SELECT same('p', 'id, region, n, t');
-- the row moves, and moves on; what is left out comes along
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}');
SELECT same('p', 'id, region, n, t');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "c", "n": 3, "t": "__debezium_unavailable_value"}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "d", "n": 4, "t": "__debezium_unavailable_value"}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "d", "n": 5, "t": "__debezium_unavailable_value"}');
CALL e('p', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "b", "n": 2, "t": "two"}');
SELECT same('p', 'id, region, n, t');
-- and back; an image of the row as it was, and one that has the key only
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 6, "t": "x"}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "d", "n": 7, "t": "y"}');
CALL e('p', 'u', '{"id": 2}', '{"id": 2, "region": "b"}', '{"id": 2, "region": "a", "n": 3, "t": "two"}');
CALL e('p', 'u', '{"id": 2}', '{"id": 2}', '{"id": 2, "region": "b", "n": 4, "t": "two"}');
CALL e('p', 'u', '{"id": 3}', '{"id": 3, "region": null}', '{"id": 3, "region": "b", "n": 4, "t": "three"}');
SELECT same('p', 'id, region, n, t');
-- a row that was not seen before; one that is made and moves in the window
CALL e('p', 'u', '{"id": 4}', NULL, '{"id": 4, "region": "a", "n": 1, "t": "four"}');
CALL e('p', 'c', '{"id": 5}', NULL, '{"id": 5, "region": "a", "n": 1, "t": "five"}');
CALL e('p', 'u', '{"id": 5}', NULL, '{"id": 5, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}');
CALL e('p', 'u', '{"id": 4}', NULL, '{"id": 4, "region": "b", "n": 2, "t": "four"}');
SELECT same('p', 'id, region, n, t');
-- deletes: without an image, with the key alone, with fillers, with what is right; with
-- their tombstones, and tombstones alone
CALL e('p', 'd', '{"id": 1}', NULL, NULL);
CALL e('p', '', '{"id": 1}', NULL, NULL);
CALL e('p', 'd', '{"id": 2}', '{"id": 2, "region": null, "n": 0}', NULL);
CALL e('p', '', '{"id": 2}', NULL, NULL);
CALL e('p', 'd', '{"id": 3}', '{"id": 3, "region": "", "n": 0}', NULL);
CALL e('p', '', '{"id": 3}', NULL, NULL);
CALL e('p', '', '{"id": 4}', NULL, NULL);
CALL e('p', 'd', '{"id": 9}', NULL, NULL);
CALL e('p', '', '{"id": 9}', NULL, NULL);
SELECT same('p', 'id, region, n, t');
CALL e('p', 'd', '{"id": 5}', '{"id": 5, "region": "b"}', NULL);
CALL e('p', '', '{"id": 5}', NULL, NULL);
-- gone, and made again
CALL e('p', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 1, "t": "one"}');
CALL e('p', 'd', '{"id": 1}', NULL, NULL);
CALL e('p', '', '{"id": 1}', NULL, NULL);
CALL e('p', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 2}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "c", "n": 3}');
SELECT same('p', 'id, region, n, t');
-- a truncate
CALL e('p', 't', NULL, NULL, NULL);
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 4}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 5}');
CALL e('p', 'c', '{"id": 2}', NULL, '{"id": 2, "region": "b", "n": 5}');
SELECT same('p', 'id, region, n, t');
-- records whose key has all, and without a key: they say where the row is
CALL e('p', 'u', '{"id": 1, "region": "c"}', NULL, '{"id": 1, "region": "c", "n": 6}');
CALL e('p', 'u', NULL, NULL, '{"id": 1, "region": "d", "n": 7}');
SELECT same('p', 'id, region, n, t');
-- now there are three rows of 1: which one goes is not known; one that is there is changed
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "c", "n": 8}');
CALL e('p', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "e", "n": 9}');
CALL e('p', 'd', '{"id": 1}', NULL, NULL);
CALL e('p', '', '{"id": 1}', NULL, NULL);
SELECT same('p', 'id, region, n, t');
SELECT DISTINCT message FROM cdcsync.quarantine WHERE pipeline IN ('p1', 'p2');
-- tried again, it stays, as what is there may be newer; until it is not
DELETE FROM p1 WHERE id = 1 AND region <> 'c';
DELETE FROM p2 WHERE id = 1 AND region <> 'c';
SELECT cdc_retry('p1'), cdc_retry('p2');
SELECT same('p', 'id, region, n, t');
DELETE FROM p1 WHERE id = 1;
DELETE FROM p2 WHERE id = 1;
SELECT cdc_retry('p1'), cdc_retry('p2');
SELECT same('p', 'id, region, n, t');
-- a bad value where the row has moved to
CALL e('p', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "c", "n": "x"}');
SELECT same('p', 'id, region, n, t');
CALL e('p', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "a", "n": 2, "t": "good"}');
SELECT same('p', 'id, region, n, t');

-- the part that the record's key has stands behind; types whose bytes do not decide;
-- with an embedded schema
CALL pair('d', 'day date, id numeric, n int, t text, PRIMARY KEY (day, id)', '');
CALL e('d', 'c', '{"id": 1.0}', NULL, '{"id": 1.0, "day": 20000, "n": 1, "t": "one"}');
CALL e('d', 'c', '{"schema": null, "payload": {"id": 2}}', NULL, '{"id": 2, "day": 20000, "n": 1, "t": "two"}');
CALL e('d', 'u', '{"id": 1.0}', NULL, '{"id": 1.0, "day": 20001, "n": 2, "t": "__debezium_unavailable_value"}');
SELECT same('d', 'id, day, n, t');
CALL e('d', 'u', '{"id": 1.0}', NULL, '{"id": 1.0, "day": 20002, "n": 3, "t": "__debezium_unavailable_value"}');
CALL e('d', 'd', '{"schema": null, "payload": {"id": 2}}', NULL, NULL);
SELECT same('d', 'id, day, n, t');
CALL e('d', 'u', '{"id": 1.0}', NULL, '{"id": 1.0, "day": 20002, "n": 4}');
CALL e('d', 'd', '{"id": 1.0}', '{"id": 1.0, "day": 0}', NULL);
SELECT same('d', 'id, day, n, t');

-- soft_delete: a row that is marked is none; and history
CALL pair('s', 'id int, region text, n int, t text, deleted_at timestamp, PRIMARY KEY (id, region)', 'PARTITION BY LIST (region)', 'soft_delete');
CALL e('s', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 1, "t": "one"}', 1);
CALL e('s', 'c', '{"id": 2}', NULL, '{"id": 2, "region": "a", "n": 1, "t": "two"}', 2);
CALL e('s', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}', 3);
SELECT same('s', 'id, region, n, t, deleted_at');
CALL e('s', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "c", "n": 3, "t": "__debezium_unavailable_value"}', 4);
CALL e('s', 'd', '{"id": 2}', NULL, NULL, 5);
CALL e('s', '', '{"id": 2}', NULL, NULL);
SELECT same('s', 'id, region, n, t, deleted_at');
CALL e('s', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 4, "t": "back"}', 6);
SELECT same('s', 'id, region, n, t, deleted_at');
CALL pair('h', 'id int, region text, n int, t text, valid_from timestamp, valid_to timestamp, current bool, UNIQUE (id, region, valid_from)', '', 'history', '{id,region}');
CALL e('h', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 1, "t": "one"}', 1);
CALL e('h', 'c', '{"id": 2}', NULL, '{"id": 2, "region": "a", "n": 1, "t": "two"}', 2);
CALL e('h', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}', 3);
SELECT same('h', 'id, region, n, t, extract(epoch FROM valid_to - valid_from), current');
CALL e('h', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 3, "t": "__debezium_unavailable_value"}', 4);
CALL e('h', 'd', '{"id": 2}', NULL, NULL, 5);
SELECT same('h', 'id, region, n, t, extract(epoch FROM valid_to - valid_from), current');

-- several partitions, each key in one of them
CALL pair('m', 'id int, region text, n int, t text, PRIMARY KEY (id, region)', 'PARTITION BY LIST (region)');
CALL e('m', 'c', '{"id": 1}', NULL, '{"id": 1, "region": "a", "n": 1, "t": "one"}', 1, 0);
CALL e('m', 'c', '{"id": 2}', NULL, '{"id": 2, "region": "a", "n": 1, "t": "two"}', 2, 1);
CALL e('m', 'c', '{"id": 3}', NULL, '{"id": 3, "region": "a", "n": 1, "t": "three"}', 3, 1);
CALL e('m', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}', 4, 0);
SELECT same('m', 'id, region, n, t');
CALL e('m', 'u', '{"id": 1}', NULL, '{"id": 1, "region": "c", "n": 3, "t": "__debezium_unavailable_value"}', 5, 0);
CALL e('m', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "c", "n": 3, "t": "__debezium_unavailable_value"}', 6, 1);
CALL e('m', 'd', '{"id": 3}', '{"id": 3}', NULL, 7, 1);
CALL e('m', '', '{"id": 3}', NULL, NULL, NULL, 1);
CALL e('m', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "d", "n": 4, "t": "__debezium_unavailable_value"}', 8, 1);
SELECT same('m', 'id, region, n, t');
CALL e('m', 't', NULL, NULL, NULL, 9, 0);
CALL e('m', 'c', '{"id": 2}', NULL, '{"id": 2, "region": "a", "n": 1, "t": "two"}', 10, 1);
CALL e('m', 'u', '{"id": 2}', NULL, '{"id": 2, "region": "b", "n": 2, "t": "__debezium_unavailable_value"}', 11, 1);
SELECT same('m', 'id, region, n, t');

-- at random: what a table whose key is the id sends, in two partitions; syncs in between
CREATE TABLE source (id int PRIMARY KEY, region text NOT NULL, n int, t text);
CALL pair('x', 'id int, region text, n int, t text, PRIMARY KEY (region, id)', 'PARTITION BY LIST (region)');
SELECT setseed(0.5);
DO $$
DECLARE
	s places.source;
	now places.source;
	k int;
	key text;
	has bool;
	toast bool;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		k := 1 + random() * 7;
		key := json_build_object('id', k)::text;
		SELECT * INTO s FROM source WHERE id = k;
		has := FOUND;
		now := ROW(k, chr(97 + (random() * 3)::int), i, 't' || i);
		IF random() < 0.004 THEN
			TRUNCATE source;
			CALL e('x', 't', NULL, NULL, NULL, i, k % 2);
		ELSIF NOT has THEN
			INSERT INTO source SELECT now.*;
			CALL e('x', CASE WHEN random() < 0.5 THEN 'c' ELSE 'r' END, key, NULL, to_json(now)::text, i, k % 2);
		ELSIF random() < 0.2 THEN
			DELETE FROM source WHERE id = k;
			IF random() < 0.8 THEN
				CALL e('x', 'd', key, CASE (random() * 3)::int WHEN 0 THEN NULL WHEN 1 THEN key
					WHEN 2 THEN jsonb_build_object('id', k, 'region', '')::text ELSE to_json(s)::text END, NULL, i, k % 2);
			END IF;
			CALL e('x', '', key, NULL, NULL, NULL, k % 2);
		ELSE
			toast := random() < 0.4;
			IF toast THEN
				now.t := s.t;
			END IF;
			UPDATE source SET region = now.region, n = now.n, t = now.t WHERE id = k;
			CALL e('x', 'u', key, CASE WHEN random() < 0.2 THEN to_json(s)::text END,
				(to_jsonb(now) || CASE WHEN toast THEN '{"t": "__debezium_unavailable_value"}'::jsonb ELSE '{}' END)::text, i, k % 2);
		END IF;
		IF random() < 0.05 THEN
			PERFORM cdc_sync('x1');
			IF EXISTS ((TABLE source EXCEPT SELECT id, region, n, t FROM x1) UNION ALL (SELECT id, region, n, t FROM x1 EXCEPT TABLE source)) THEN
				RAISE WARNING 'x1 differs after %', i;
			END IF;
		END IF;
		IF EXISTS ((TABLE source EXCEPT SELECT id, region, n, t FROM x2) UNION ALL (SELECT id, region, n, t FROM x2 EXCEPT TABLE source)) THEN
			RAISE WARNING 'x2 differs after %', i;
			EXIT;
		END IF;
	END LOOP;
END
$$;
SELECT same('x', 'id, region, n, t') = (SELECT string_agg(r::text, ' ' ORDER BY r::text) || '; bad: none' FROM source r);

-- many rows at once: in a window of their own, some move
CREATE TABLE big (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE big_a PARTITION OF big FOR VALUES IN ('a');
CREATE TABLE big_rest PARTITION OF big DEFAULT;
SELECT cdc_create('big', target => 'big');
INSERT INTO big_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id":%s}', id), 'UTF8'),
	convert_to(format('{"op":"%s","before":null,"after":{"id":%s,"region":"%s","n":%s}}', CASE n WHEN 0 THEN 'c' ELSE 'u' END, id,
		CASE WHEN id % 10 < n THEN 'b' ELSE 'a' END, n), 'UTF8')
FROM generate_series(0, 2) n, generate_series(1, 5000) id;
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('big');
SELECT region, count(*), min(n), max(n) FROM big GROUP BY 1 ORDER BY 1;
INSERT INTO big_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id":%s}', id), 'UTF8'),
	convert_to(format('{"op":"%s","before":null,"after":%s}', CASE id % 3 WHEN 0 THEN 'd' ELSE 'u' END,
		CASE WHEN id % 3 > 0 THEN format('{"id":%s,"region":"%s","n":%s}', id, CASE WHEN id % 10 < 3 THEN 'b' ELSE 'a' END, 3) ELSE 'null' END), 'UTF8')
FROM generate_series(1, 5000) id;
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('big');
SELECT region, count(*), min(n), max(n) FROM big GROUP BY 1 ORDER BY 1;
-- a key that the user has named goes without
CREATE TABLE named (LIKE big) PARTITION BY LIST (region);
CREATE TABLE named_a PARTITION OF named FOR VALUES IN ('a');
CREATE TABLE named_rest PARTITION OF named DEFAULT;
CREATE INDEX ON named (id);
SELECT cdc_create('named', target => 'named', key => '{id}', options => '{"landing": "big_debezium"}');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('named');
SELECT count(*) FROM ((TABLE big EXCEPT TABLE named) UNION ALL (TABLE named EXCEPT TABLE big)) d;

-- rows whose key has a NULL, which no event can tell: in doubt nothing is touched
CREATE TABLE hollow (id int, region text, t text, UNIQUE (id, region));
INSERT INTO hollow VALUES (1, NULL, 'given'), (2, NULL, 'given'), (2, 'a', 'given'), (3, NULL, 'given');
SELECT cdc_create('hollow', target => 'hollow', key => '{id,region}', options => '{"max_quarantine_share": 1}');
INSERT INTO hollow_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id":%s}', id), 'UTF8'), convert_to(format('{"op":"%s","before":null,"after":%s}', op,
	CASE op WHEN 'd' THEN 'null' ELSE format('{"id":%s,"region":"%s","t":"%s"}', id, region, op || region) END), 'UTF8')
FROM (VALUES (1, 'u', 'a'), (2, 'u', 'a'), (3, 'd', NULL), (4, 'u', 'a')) v (id, op, region);
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('hollow');
SELECT * FROM hollow ORDER BY 1, 2;
SELECT kafka_offset, sqlstate FROM cdcsync.quarantine WHERE pipeline = 'hollow' ORDER BY 1;
-- but a truncate takes them along
INSERT INTO hollow_debezium (kafka_key, kafka_value) VALUES (NULL, '{"op":"t","before":null,"after":null}'), ('{"id":1}', '{"op":"u","before":null,"after":{"id":1,"region":"b","t":"ub"}}');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('hollow');
SELECT * FROM hollow ORDER BY 1, 2;
SELECT kafka_offset, sqlstate, message FROM cdcsync.quarantine WHERE pipeline = 'hollow' ORDER BY 1;

SELECT cdc_drop('*', true);
DROP SCHEMA places CASCADE;
