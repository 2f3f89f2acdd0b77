-- Partitioned targets: three tables follow one landing.  One is partitioned and
-- written without SQL; one is partitioned and has a trigger that does nothing, so
-- that only SQL will do for it; one is not partitioned.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA partitions;
SET search_path = partitions, public;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(NEW, OLD); END';

-- the tables, before they have partitions, and the pipelines that fill them
CREATE PROCEDURE trio(name text, columns text, by text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (%s) PARTITION BY %s', name, columns, by);
	EXECUTE format('CREATE TABLE %I (%s) PARTITION BY %s', name || '_sql', columns, by);
	EXECUTE format('CREATE TABLE %I (%s)', name || '_plain', columns);
	EXECUTE format('CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION nothing()',
				   name || '_sql');
END
$$;
CREATE PROCEDURE follow(name text, mode text DEFAULT 'mirror', key text[] DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	options jsonb := jsonb_build_object('mode', mode, 'max_quarantine_share', 1);
BEGIN
	PERFORM cdc_create(name, target => name::regclass, key => key, options => options);
	options := options || jsonb_build_object('landing', name || '_debezium');
	PERFORM cdc_create(name || '_sql', target => (name || '_sql')::regclass, key => key, options => options);
	PERFORM cdc_create(name || '_plain', target => (name || '_plain')::regclass, key => key, options => options);
END
$$;
-- something done to both partitioned tables: %1$s is the table's name
CREATE PROCEDURE to_both(name text, command text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format(command, name);
	EXECUTE format(command, name || '_sql');
END
$$;

-- events of some kind for keys first..last; n is new in each event
CREATE SEQUENCE event;
CREATE PROCEDURE events(pipeline text, ops text[], first int, last int, more jsonb DEFAULT '{}', key text DEFAULT 'id')
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($i$
		INSERT INTO %I (kafka_key, kafka_value)
		SELECT convert_to(image::text, 'UTF8'),
			   convert_to(json_build_object('op', op, 'before', CASE WHEN op = 'd' THEN image END,
				   'after', CASE WHEN op <> 'd' THEN image || jsonb_build_object('n', nextval('event')) || $4 END,
				   'source', json_build_object('connector', 'postgresql', 'ts_ms', 1760000000000 + currval('event')),
				   'ts_ms', 1760000000000)::text, 'UTF8')
		FROM generate_series($2, $3) k, unnest($1) WITH ORDINALITY o(op, i),
			LATERAL (SELECT jsonb_build_object('id', k, 'region', chr(97 + k %% 5))) AS j(whole),
			LATERAL (SELECT jsonb_object_agg(f, whole->f) FROM regexp_split_to_table($5, ',') f) AS m(image)
		ORDER BY i, md5(k::text)$i$,
		pipeline || '_debezium')
	USING ops, first, last, more, key;
END
$$;

-- sync all: do they count the same, do they hold the same?
CREATE FUNCTION differ(a text, b text, columns text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM ((SELECT %1$s FROM %2$I EXCEPT ALL SELECT %1$s FROM %3$I) UNION ALL
					(SELECT %1$s FROM %3$I EXCEPT ALL SELECT %1$s FROM %2$I)) d', columns, a, b) INTO n;
	RETURN n;
END
$$;
CREATE FUNCTION compare(name text, columns text DEFAULT '*') RETURNS TABLE (events bigint, inserted bigint, updated bigint,
	deleted bigint, quarantined bigint, sql_counts_same bool, sql_differs bigint, sql_bad_same bool, plain_differs bigint)
LANGUAGE plpgsql AS $$
DECLARE
	a record;
	b record;
BEGIN
	SELECT * INTO a FROM cdc_sync(name) s;
	SELECT * INTO b FROM cdc_sync(name || '_sql') s;
	PERFORM cdc_sync(name || '_plain');
	events := a.events; inserted := a.inserted; updated := a.updated; deleted := a.deleted; quarantined := a.quarantined;
	sql_counts_same := (a.events, a.staged, a.inserted, a.updated, a.deleted, a.quarantined) =
		(b.events, b.staged, b.inserted, b.updated, b.deleted, b.quarantined);
	sql_differs := differ(name, name || '_sql', columns);
	plain_differs := differ(name, name || '_plain', columns);
	sql_bad_same := NOT EXISTS (
		SELECT q.kafka_offset, q.column_name, q.sqlstate, replace(q.message, name || '_sql', name), q.blocked_by
		FROM cdcsync.quarantine q WHERE pipeline IN (name, name || '_sql') GROUP BY 1, 2, 3, 4, 5 HAVING count(*) <> 2);
	RETURN NEXT;
END
$$;
-- The next sync, taken back: the partitions that it locks.  SQL locks them all.
CREATE FUNCTION locked(name text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	names text[];
BEGIN
	PERFORM cdc_sync(name);
	SELECT array_agg(relation::regclass::text ORDER BY relation::regclass::text) INTO names
	FROM pg_locks JOIN pg_class c ON c.oid = relation
	WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock' AND relispartition AND relkind = 'r';
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = coalesce(array_to_string(names, ' '), '');
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN string_to_array(SQLERRM, ' ');
END
$$;

-- hash
CALL trio('h', $$id int PRIMARY KEY, n bigint, t text DEFAULT 'none', v int CHECK (v < 10), stamp text DEFAULT 'by default',
	w text NOT NULL DEFAULT 'w'$$, 'HASH (id)');
DO $$
BEGIN
	FOR i IN 0 .. 6 LOOP
		CALL to_both('h', format('CREATE TABLE %%1$s_%s PARTITION OF %%1$s FOR VALUES WITH (MODULUS 7, REMAINDER %s)', i, i));
	END LOOP;
END $$;
CALL follow('h');
CALL events('h', '{c}', 1, 3000, '{"t": "a", "v": 1}');
SELECT * FROM compare('h');
SELECT count(DISTINCT tableoid) FROM h;
CALL events('h', '{u}', 490, 505, '{"v": 2}');
SELECT * FROM compare('h');
CALL events('h', '{u}', 100, 3600, '{"t": "b", "v": 3}');
CALL events('h', '{d}', 50, 150);
CALL events('h', '{d,c}', 30, 40, '{"v": 4}');
CALL events('h', '{c,d}', 3700, 3710, '{"v": 4}');
SELECT * FROM compare('h');
-- some that the table refuses, or for which there is nothing; one that changes nothing
CALL events('h', '{u}', 200, 210, '{"w": null}');
CALL events('h', '{u}', 205, 220, '{"v": 11}');
CALL events('h', '{c}', 4006, 4007, '{"v": 12}');
CALL events('h', '{u}', 300, 302, '{"t": "__debezium_unavailable_value"}');
CALL events('h', '{u}', 4900, 4901, '{"t": "__debezium_unavailable_value"}');
CALL events('h', '{u}', 1, 20, '{"n": 1}');
SELECT * FROM compare('h');
CALL events('h', '{u}', 1, 20, '{"n": 1}');
SELECT * FROM compare('h');
-- a partition that is not met is not locked
CALL events('h', '{u}', 1, 1);
SELECT cardinality(locked('h')), cardinality(locked('h_sql'));
-- a truncate, and what follows it
INSERT INTO h_debezium (kafka_value) SELECT convert_to('{"op":"t","source":{"connector":"postgresql","ts_ms":1770000000000}}', 'UTF8');
CALL events('h', '{c}', 60, 80, '{"t": "after"}');
SELECT * FROM compare('h');

-- lists of ranges, columns in another order, a rest; a region that has no partition
CALL trio('l', $$gone int, region text, id int, n bigint, t text DEFAULT 'none', PRIMARY KEY (id, region)$$, 'LIST (region)');
CALL to_both('l', $$CREATE TABLE %1$s_a PARTITION OF %1$s FOR VALUES IN ('a') PARTITION BY RANGE (id);
	CREATE TABLE %1$s_a1 PARTITION OF %1$s_a FOR VALUES FROM (MINVALUE) TO (100);
	CREATE TABLE %1$s_a2 PARTITION OF %1$s_a FOR VALUES FROM (200) TO (300);
	ALTER TABLE %1$s DROP gone;
	CREATE TABLE %1$s_b (t text, odd int, n bigint, id int NOT NULL, region text NOT NULL);
	ALTER TABLE %1$s_b DROP odd;
	ALTER TABLE %1$s ATTACH PARTITION %1$s_b FOR VALUES IN ('b');
	CREATE TABLE %1$s_c (id int NOT NULL, t text DEFAULT 'unheeded', n bigint, region text NOT NULL, PRIMARY KEY (region, id))
		PARTITION BY HASH (id);
	CREATE UNIQUE INDEX ON %1$s_c (id, region);
	CREATE TABLE %1$s_c0 (region text NOT NULL, n bigint, t text, id int NOT NULL);
	ALTER TABLE %1$s_c ATTACH PARTITION %1$s_c0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE %1$s_c1 PARTITION OF %1$s_c FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE %1$s_d PARTITION OF %1$s FOR VALUES IN ('d', NULL)$$);
ALTER TABLE l_plain DROP gone;
CALL to_both('l', 'ALTER TABLE %1$s_c DROP CONSTRAINT %1$s_c_pkey; ALTER TABLE %1$s ATTACH PARTITION %1$s_c FOR VALUES IN (''c'')');
CALL follow('l', key => '{id,region}');
CALL events('l', '{c}', 1, 90, '{"t": "a"}', 'id,region');
SELECT * FROM compare('l', 'id, n, region, t');
SELECT tableoid::regclass, count(*), min(t), max(t) FROM l GROUP BY 1 ORDER BY 1;
SELECT sqlstate, message, column_name, count(*) FROM cdcsync.quarantine WHERE pipeline = 'l' GROUP BY 1, 2, 3 ORDER BY 2 LIMIT 2;
-- where all have a partition, it is the one without SQL
DELETE FROM l_plain WHERE region = 'e';
CALL to_both('l', 'CREATE TABLE %1$s_rest PARTITION OF %1$s DEFAULT PARTITION BY RANGE (region); CREATE TABLE %1$s_rest1 PARTITION OF %1$s_rest DEFAULT;');
CALL events('l', '{u,d,c,u}', 20, 99, '{"t": "b"}', 'id,region');
CALL events('l', '{u}', 200, 299, '{"t": "c"}', 'id,region');
SELECT locked('l');
SELECT * FROM compare('l', 'id, n, region, t');
SELECT tableoid::regclass, count(*), min(t), max(t) FROM l GROUP BY 1 ORDER BY 1;
CALL events('l', '{u}', 4, 4, '{"t": "__debezium_unavailable_value"}', 'id,region');
CALL events('l', '{u}', 6, 6, '{}', 'id,region');
SELECT locked('l');
SELECT * FROM compare('l', 'id, n, region, t');
-- what goes need not have a partition
CALL events('l', '{d}', 100, 220, key => 'id,region');
SELECT cardinality(locked('l'));
SELECT * FROM compare('l', 'id, n, region, t');
-- a trigger, and a unique index, of one partition
CREATE TABLE seen (id int);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO partitions.seen VALUES (NEW.id); RETURN NEW; END';
CREATE TRIGGER see BEFORE INSERT OR UPDATE ON l_b FOR EACH ROW EXECUTE FUNCTION see();
CALL events('l', '{u}', 10, 12, key => 'id,region');
SELECT * FROM compare('l', 'id, n, region, t');
TABLE seen;
DROP TRIGGER see ON l_b;
CALL to_both('l', 'CREATE UNIQUE INDEX ON %1$s_d (n)');
CALL events('l', '{u}', 13, 13, '{"n": -1}', 'id,region');
CALL events('l', '{c}', 43, 43, '{"n": -1}', 'id,region');
SELECT inserted, updated, deleted, quarantined, sql_counts_same, sql_differs, sql_bad_same FROM compare('l', 'id, n, region, t');
SELECT kafka_key, sqlstate FROM cdcsync.quarantine WHERE pipeline = 'l' AND sqlstate = '23505';

-- ranges by a key that is equal where it looks different
CALL trio('r', $$id numeric PRIMARY KEY, n bigint, t text$$, 'RANGE (id)');
CALL to_both('r', $$CREATE TABLE %1$s_1 PARTITION OF %1$s FOR VALUES FROM (0) TO (100.5);
	CREATE TABLE %1$s_2 PARTITION OF %1$s FOR VALUES FROM (100.5) TO (200)$$);
CALL follow('r');
CALL events('r', '{c}', 1, 199);
INSERT INTO r_debezium (kafka_value) SELECT convert_to(format('{"op":"c","after":{"id":"%s","n":%s,"t":"x"}}', id, n), 'UTF8')
	FROM (VALUES ('5.00', 5), ('100.50', 6), ('200.0', 7), ('100.5', 8), ('1e2', 9), ('NaN', 10)) e(id, n);
SELECT * FROM compare('r', 'id::text, n, t');
SELECT tableoid::regclass, id, n FROM r WHERE t = 'x' ORDER BY id;
SELECT sqlstate, message, count(*) FROM cdcsync.quarantine WHERE pipeline = 'r' GROUP BY 1, 2;

-- soft_delete
CALL trio('s', $$id text PRIMARY KEY, n bigint, t text DEFAULT 'none', deleted_at timestamp, op text$$, 'RANGE (id)');
CALL to_both('s', $$CREATE TABLE %1$s_1 PARTITION OF %1$s FOR VALUES FROM (MINVALUE) TO ('2');
	CREATE TABLE %1$s_2 PARTITION OF %1$s FOR VALUES FROM ('2') TO ('9')$$);
CALL follow('s', 'soft_delete');
CALL events('s', '{c}', 1, 300, '{"t": "a"}');
DELETE FROM s_plain WHERE id >= '9';
SELECT events, inserted, updated, deleted, quarantined, sql_counts_same, sql_differs, sql_bad_same FROM compare('s');
CALL events('s', '{d}', 1, 50);
CALL events('s', '{d,c}', 60, 70);
CALL events('s', '{c,d}', 400, 410);
CALL events('s', '{d}', 90, 99);
SELECT inserted, updated, deleted, quarantined, sql_counts_same, sql_differs, sql_bad_same FROM compare('s');
CALL events('s', '{c}', 40, 65);
CALL events('s', '{u}', 20, 21, '{"t": "__debezium_unavailable_value"}');
SELECT inserted, updated, deleted, quarantined, sql_counts_same, sql_differs, sql_bad_same FROM compare('s');

-- append, by what need not be in a key; by an expression only SQL tells the partition
CALL trio('a', $$id int, n bigint, t text DEFAULT 'none', op text, kafka_offset bigint$$, 'LIST (op)');
CALL to_both('a', $$CREATE TABLE %1$s_d PARTITION OF %1$s FOR VALUES IN ('d');
	CREATE TABLE %1$s_0 PARTITION OF %1$s DEFAULT PARTITION BY RANGE (kafka_offset);
	CREATE TABLE %1$s_1 PARTITION OF %1$s_0 FOR VALUES FROM (0) TO (1000);
	CREATE TABLE %1$s_2 PARTITION OF %1$s_0 FOR VALUES FROM (1000) TO (MAXVALUE)$$);
CALL follow('a', 'append');
CALL events('a', '{c,u,d}', 1, 400);
SELECT * FROM compare('a');
SELECT tableoid::regclass, count(*) FROM a GROUP BY 1 ORDER BY 1;
CALL events('a', '{d}', 1, 1);
SELECT locked('a'), cardinality(locked('a_sql'));
CALL trio('e', $$id int, n bigint$$, 'LIST ((id % 2))');
CALL to_both('e', $$CREATE TABLE %1$s_0 PARTITION OF %1$s FOR VALUES IN (0); CREATE TABLE %1$s_1 PARTITION OF %1$s FOR VALUES IN (1)$$);
CALL follow('e', 'append');
CALL events('e', '{c}', 1, 9);
SELECT * FROM compare('e');

-- history
CALL trio('v', $$id int, n bigint, t text DEFAULT 'none', valid_from timestamp NOT NULL, valid_to timestamp,
	current boolean NOT NULL, kafka_partition bigint, kafka_offset bigint, v int CHECK (v < 10)$$, 'HASH (id)');
CALL to_both('v', $$CREATE TABLE %1$s_0 (current boolean NOT NULL, v int CHECK (v < 10), t text, id int, n bigint, kafka_offset bigint,
		valid_to timestamp, valid_from timestamp NOT NULL, kafka_partition bigint);
	ALTER TABLE %1$s_0 RENAME CONSTRAINT %1$s_0_v_check TO %1$s_v_check;
	ALTER TABLE %1$s ATTACH PARTITION %1$s_0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE %1$s_1 PARTITION OF %1$s FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE UNIQUE INDEX ON %1$s (id) WHERE current$$);
CREATE UNIQUE INDEX ON v_plain (id) WHERE current;
CALL follow('v', 'history', '{id}');
CALL events('v', '{c,u}', 1, 200, '{"t": "a"}');
SELECT * FROM compare('v');
CALL events('v', '{u,d}', 1, 50, '{"v": 1}');
CALL events('v', '{d,c,u}', 60, 70, '{"v": 2}');
CALL events('v', '{u}', 100, 210);
CALL events('v', '{u}', 100, 105, '{"t": "__debezium_unavailable_value"}');
CALL events('v', '{u}', 100, 110, '{"v": 10}');
CALL events('v', '{r}', 150, 160);
SELECT * FROM compare('v');
CALL events('v', '{u}', 120, 120);
SELECT cardinality(locked('v')), cardinality(locked('v_sql'));

-- the key does not have the partitioning column: rows move
CREATE TABLE m (id int, region text, n bigint, t text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE m_a PARTITION OF m FOR VALUES IN ('a', 'b');
CREATE TABLE m_c PARTITION OF m FOR VALUES IN ('c');
CREATE TABLE m_rest PARTITION OF m DEFAULT;
SELECT cdc_create('m', target => 'm', key => '{id}');
CALL events('m', '{c}', 1, 100, '{"t": "a"}', 'id,region');
SELECT inserted, updated FROM cdc_sync('m');
CALL events('m', '{u}', 1, 50, '{"region": "c"}', 'id,region');
CALL events('m', '{d}', 41, 45, key => 'id,region');
CALL events('m', '{u}', 46, 47, '{"region": "z", "t": "__debezium_unavailable_value"}', 'id,region');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('m');
SELECT tableoid::regclass, region, count(*), count(t) FROM m GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*), count(DISTINCT id) FROM m;
INSERT INTO m_debezium (kafka_value) SELECT convert_to('{"op":"t","source":{"connector":"postgresql","ts_ms":1770000000000}}', 'UTF8');
CALL events('m', '{c}', 60, 80, '{"region": "c"}', 'id,region');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('m');
SELECT tableoid::regclass, count(*) FROM m GROUP BY 1 ORDER BY 1;
-- an index that is not unique is the best there can be
CREATE TABLE m2 (id int, region text) PARTITION BY LIST (region);
SELECT cdc_create('m2', target => 'm2', key => '{id}');
CREATE TABLE m3 (id int, region text) PARTITION BY HASH (id);
SELECT cdc_create('m3', target => 'm3', key => '{id}');

-- versions move when they end
CALL trio('w', $$id int, n bigint, t text DEFAULT 'none', valid_from timestamp NOT NULL, valid_to timestamp,
	current boolean NOT NULL, kafka_partition bigint, kafka_offset bigint$$, 'LIST (current)');
CALL to_both('w', $$CREATE TABLE %1$s_now PARTITION OF %1$s FOR VALUES IN (true);
	CREATE TABLE %1$s_past PARTITION OF %1$s FOR VALUES IN (false) PARTITION BY RANGE (valid_from);
	CREATE TABLE %1$s_past1 PARTITION OF %1$s_past DEFAULT;
	CREATE UNIQUE INDEX ON %1$s (id, current, valid_from, kafka_offset)$$);
CREATE UNIQUE INDEX ON w_plain (id) WHERE current;
CALL follow('w', 'history', '{id}');
CALL events('w', '{c,u}', 1, 200, '{"t": "a"}');
SELECT * FROM compare('w');
CALL events('w', '{u,d}', 1, 50, '{"t": "x"}');
CALL events('w', '{d,c,u}', 60, 70);
CALL events('w', '{u}', 100, 210, '{"t": "__debezium_unavailable_value"}');
SELECT * FROM compare('w');
SELECT tableoid::regclass, current, count(*) FROM w GROUP BY 1, 2 ORDER BY 1;
-- rows that are marked move
CALL trio('z', $$id int, n bigint, t text DEFAULT 'none', deleted_at timestamp, op text$$, 'LIST (op)');
CALL to_both('z', $$CREATE TABLE %1$s_d PARTITION OF %1$s FOR VALUES IN ('d'); CREATE TABLE %1$s_rest PARTITION OF %1$s DEFAULT; CREATE INDEX ON %1$s (id)$$);
ALTER TABLE z_plain ADD PRIMARY KEY (id);
CALL follow('z', 'soft_delete', '{id}');
CALL events('z', '{c}', 1, 100);
SELECT * FROM compare('z');
CALL events('z', '{d}', 1, 50);
CALL events('z', '{d,c}', 60, 70);
SELECT * FROM compare('z');
CALL events('z', '{c}', 20, 30);
CALL events('z', '{u}', 80, 90);
INSERT INTO z_debezium (kafka_value) SELECT convert_to('{"op":"t","source":{"connector":"postgresql","ts_ms":1770000000000}}', 'UTF8');
CALL events('z', '{c}', 90, 120);
SELECT * FROM compare('z');
SELECT tableoid::regclass, count(*) FROM z GROUP BY 1 ORDER BY 1;
-- the source's key is id, the target's has the region, too (see places)
CALL trio('k', 'id int, region text, n bigint, t text, PRIMARY KEY (id, region)', 'LIST (region)');
CALL to_both('k', $$CREATE TABLE %1$s_a PARTITION OF %1$s FOR VALUES IN ('a'); CREATE TABLE %1$s_rest PARTITION OF %1$s DEFAULT$$);
CALL follow('k', key => '{id,region}');
CREATE PROCEDURE k(op text, id int, before text, after text) LANGUAGE sql AS $$
INSERT INTO k_debezium (kafka_key, kafka_value) SELECT convert_to(json_build_object('id', id)::text, 'UTF8'),
	convert_to(json_build_object('op', op, 'before', CASE WHEN before IS NOT NULL THEN json_build_object('id', id, 'region', before) END,
	 'after', CASE WHEN after IS NOT NULL THEN json_build_object('id', id, 'region', after, 'n', nextval('event')) END)::text, 'UTF8') $$;
CALL k('c', 1, NULL, 'a'); CALL k('c', 2, NULL, 'a'); CALL k('c', 3, NULL, 'b');
SELECT * FROM compare('k');
CALL k('u', 1, 'a', 'b'); CALL k('u', 2, NULL, 'c'); CALL k('d', 3, 'b', NULL);
SELECT * FROM compare('k');
SELECT tableoid::regclass, id, region FROM k ORDER BY 2, 3;
CALL k('u', 1, 'b', 'a');CALL k('u', 1, 'a', 'c'); CALL k('d', 2, NULL, NULL);
SELECT * FROM compare('k');
SELECT tableoid::regclass, id, region FROM k ORDER BY 2, 3;
SELECT sqlstate, message FROM cdcsync.quarantine WHERE pipeline = 'k';

-- many partitions, of which each takes some rows
CALL trio('y', 'id int PRIMARY KEY, n bigint', 'RANGE (id)');
DO $$
BEGIN
	FOR i IN 0 .. 79 LOOP
		CALL to_both('y', format('CREATE TABLE %%1$s_%s PARTITION OF %%1$s FOR VALUES FROM (%s) TO (%s)', i, 20 * i, 20 * i + 20));
	END LOOP;
END $$;
CALL follow('y');
CALL events('y', '{c}', 0, 1599);
SELECT * FROM compare('y');
CALL events('y', '{d}', 300, 700);
CALL events('y', '{u}', 500, 1599);
SELECT * FROM compare('y');

-- the root counts, not its partitions, in what the owner may do
CREATE ROLE regress_partitions NOLOGIN;
GRANT USAGE, CREATE ON SCHEMA partitions TO regress_partitions;
CREATE TABLE o (id int PRIMARY KEY, n bigint, t text) PARTITION BY HASH (id);
CREATE TABLE o_0 PARTITION OF o FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE o_1 PARTITION OF o FOR VALUES WITH (MODULUS 2, REMAINDER 1);
GRANT SELECT, INSERT, UPDATE, DELETE ON o TO regress_partitions;
GRANT ALL ON ALL SEQUENCES IN SCHEMA partitions TO regress_partitions;
SET ROLE regress_partitions;
SELECT cdc_create('o', target => 'o');
CALL events('o', '{c,u}', 1, 10);
SELECT inserted FROM cdc_sync('o');
RESET ROLE;
REVOKE UPDATE ON o FROM regress_partitions;
GRANT UPDATE ON o_0, o_1 TO regress_partitions;
SET ROLE regress_partitions;
CALL events('o', '{u}', 1, 10);
SELECT cdc_sync('o');
RESET ROLE;
-- a policy of the root
GRANT UPDATE ON o TO regress_partitions;
ALTER TABLE o ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON o TO regress_partitions USING (true) WITH CHECK (n < 0);
SET ROLE regress_partitions;
SELECT updated, quarantined FROM cdc_sync('o');
SELECT state, last_error FROM cdc_status WHERE pipeline = 'o';
SELECT cdc_drop('o');
RESET ROLE;

SELECT cdc_drop('*', true);
DROP SCHEMA partitions CASCADE;
DROP ROLE regress_partitions;
