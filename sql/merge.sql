-- The merge without SQL against the merge by SQL: two targets follow one landing,
-- one of which has a trigger that does nothing, so that only SQL will do for it.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA merge;
SET search_path = merge, public;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(NEW, OLD); END';

-- a pipeline that fills two tables of one kind
CREATE PROCEDURE pair(name text, mode text, definition text, key text[] DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	options jsonb := jsonb_build_object('mode', mode, 'max_quarantine_share', 1);
BEGIN
	EXECUTE format('CREATE TABLE %I %s; CREATE TABLE %I %s', name, definition, name || '_sql', definition);
	EXECUTE format('CREATE TRIGGER nothing BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION nothing()',
				   name || '_sql');
	PERFORM cdc_create(name, target => name::regclass, key => key, options => options);
	PERFORM cdc_create(name || '_sql', target => (name || '_sql')::regclass, key => key,
					   options => options || jsonb_build_object('landing', name || '_debezium'));
END
$$;

-- events of some kind for keys from..to; n is new in each event
CREATE SEQUENCE event;
CREATE PROCEDURE events(pipeline text, ops text[], first int, last int, more jsonb DEFAULT '{}') LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($i$
		INSERT INTO %I (kafka_key, kafka_value)
		SELECT convert_to(json_build_object('id', k)::text, 'UTF8'),
			   convert_to(json_build_object('op', op,
				   'before', CASE WHEN op = 'd' THEN jsonb_build_object('id', k) END,
				   'after', CASE WHEN op <> 'd' THEN jsonb_build_object('id', k, 'n', nextval('event')) || $4 END,
				   'source', json_build_object('connector', 'postgresql', 'ts_ms', 1760000000000 + currval('event')),
				   'ts_ms', 1760000000000)::text, 'UTF8')
		FROM generate_series($2, $3) k, unnest($1) WITH ORDINALITY o(op, i) ORDER BY i, md5(k::text)$i$,
		pipeline || '_debezium')
	USING ops, first, last, more;
END
$$;

-- sync both: do they count the same, and are the tables the same?
CREATE FUNCTION compare(name text, columns text DEFAULT '*') RETURNS TABLE (events bigint, inserted bigint, updated bigint,
	deleted bigint, quarantined bigint, same_counts bool, differences bigint) LANGUAGE plpgsql AS $$
DECLARE
	a record;
	b record;
BEGIN
	SELECT * INTO a FROM cdc_sync(name) s;
	SELECT * INTO b FROM cdc_sync(name || '_sql') s;
	events := a.events; inserted := a.inserted; updated := a.updated; deleted := a.deleted; quarantined := a.quarantined;
	same_counts := (a.events, a.staged, a.inserted, a.updated, a.deleted, a.quarantined) =
		(b.events, b.staged, b.inserted, b.updated, b.deleted, b.quarantined);
	EXECUTE format('SELECT count(*) FROM ((SELECT %1$s FROM %2$I EXCEPT ALL SELECT %1$s FROM %3$I) UNION ALL
					(SELECT %1$s FROM %3$I EXCEPT ALL SELECT %1$s FROM %2$I)) d', columns, name, name || '_sql')
	INTO differences;
	RETURN NEXT;
END
$$;

-- a mirror, with columns that no event feeds, a check and a second index
CALL pair('mirror', 'mirror', $$(id int PRIMARY KEY, n bigint, gone int, t text DEFAULT 'none', v int CHECK (v < 10),
	made serial, stamp text DEFAULT 'by default', w text NOT NULL DEFAULT 'w') WITH (fillfactor = 70)$$);
ALTER TABLE mirror DROP COLUMN gone;
ALTER TABLE mirror_sql DROP COLUMN gone;
CREATE INDEX ON mirror (v);
CALL events('mirror', '{c}', 1, 500, '{"t": "a", "v": 1}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
-- the sequence was asked once a row
SELECT count(DISTINCT made), max(made) FROM mirror;
-- few rows of many, many of them, keys that are not there, one that changes nothing
CALL events('mirror', '{u}', 490, 505, '{"v": 2}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
CALL events('mirror', '{u}', 100, 600, '{"t": "b", "v": 3}');
CALL events('mirror', '{d}', 50, 150);
CALL events('mirror', '{d,c}', 30, 40, '{"v": 4}');
CALL events('mirror', '{c,d}', 700, 710, '{"v": 4}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
CALL events('mirror', '{u}', 1, 20, '{"n": 1, "t": null}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
CALL events('mirror', '{u}', 1, 20, '{"n": 1, "t": null}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
-- rows that leave out different columns, rows that the table refuses, a value that is withheld
CALL events('mirror', '{u}', 200, 210, '{"w": null}');
CALL events('mirror', '{u}', 205, 220, '{"v": 11}');
CALL events('mirror', '{c,u}', 800, 805, '{"w": "x"}');
CALL events('mirror', '{c}', 806, 807, '{"v": 12}');
CALL events('mirror', '{u}', 300, 302, '{"t": "__debezium_unavailable_value"}');
CALL events('mirror', '{u}', 900, 901, '{"t": "__debezium_unavailable_value"}');
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
SELECT column_name, sqlstate, count(*) FROM cdcsync.quarantine WHERE pipeline = 'mirror' GROUP BY 1, 2 ORDER BY 2;
CALL events('mirror', '{d}', 1, 1000);
SELECT * FROM compare('mirror', 'id, n, t, v, stamp, w');
-- it is the one without SQL: the rows were found by their index, not by a plan
CALL events('mirror', '{c}', 1, 3, '{"v": 4}');
SELECT pg_stat_force_next_flush();
BEGIN;
SELECT inserted FROM cdc_sync('mirror');
SELECT seq_scan, idx_scan, n_tup_ins, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'mirror';
ROLLBACK;

-- the same in other modes, with other keys
CALL pair('soft', 'soft_delete', $$(id text PRIMARY KEY, n bigint, t text DEFAULT 'none', deleted_at timestamp, op text)$$);
CALL events('soft', '{c}', 1, 300, '{"t": "a"}');
SELECT * FROM compare('soft');
CALL events('soft', '{d}', 1, 50);
CALL events('soft', '{d,c}', 60, 70);
CALL events('soft', '{c,d}', 400, 410);
SELECT * FROM compare('soft');
CALL events('soft', '{c}', 40, 65);
CALL events('soft', '{d}', 1, 10);
CALL events('soft', '{u}', 100, 350, '{"t": "b"}');
CALL events('soft', '{u}', 20, 21, '{"t": "__debezium_unavailable_value"}');
SELECT * FROM compare('soft');
CALL pair('kept', 'append', $$(id int, n bigint, t text DEFAULT 'none', v int CHECK (v < 10), number serial)$$);
CALL events('kept', '{c,u,d}', 1, 300, '{"t": "a"}');
SELECT * FROM compare('kept');
CALL events('kept', '{c}', 1, 10, '{"v": 10}');
CALL events('kept', '{c}', 1, 10, '{"v": 1}');
SELECT * FROM compare('kept', 'id, n, t, v');
CALL pair('two', 'mirror', $$(n numeric, id numeric(10,2), t text, PRIMARY KEY (id, t) INCLUDE (n))$$, '{id,t}');
CALL events('two', '{c}', 1, 300, '{"t": "a"}');
CALL events('two', '{c}', 1, 300, '{"t": "b"}');
SELECT * FROM compare('two');
CALL events('two', '{u}', 1, 300, '{"t": "b"}');
SELECT * FROM compare('two');

-- history: the version that is current is found by an index over just those
CALL pair('past', 'history', $$(id int, n bigint, t text DEFAULT 'none', made serial, valid_from timestamp NOT NULL, valid_to timestamp,
	current boolean NOT NULL, kafka_partition bigint, kafka_offset bigint, v int CHECK (v < 10))$$, '{id}');
CREATE UNIQUE INDEX ON past (id) WHERE current;
CREATE UNIQUE INDEX ON past_sql (id) WHERE current;
CALL events('past', '{c,u}', 1, 200, '{"t": "a"}');
SELECT * FROM compare('past', 'id, n, t, valid_from, valid_to, current, kafka_offset, v');
CALL events('past', '{u,d}', 1, 50, '{"v": 1}');
CALL events('past', '{d,c,u}', 60, 70, '{"v": 2}');
CALL events('past', '{u}', 100, 210);
CALL events('past', '{d}', 205, 220);
SELECT * FROM compare('past', 'id, n, t, valid_from, valid_to, current, kafka_offset, v');
CALL events('past', '{c}', 1, 10, '{"t": "b"}');
CALL events('past', '{u,u}', 100, 105, '{"t": "__debezium_unavailable_value"}');
CALL events('past', '{u}', 100, 110, '{"v": 10}');
CALL events('past', '{r}', 150, 160);
SELECT * FROM compare('past', 'id, n, t, valid_from, valid_to, current, kafka_offset, v');
CALL events('past', '{u}', 120, 122);
SELECT pg_stat_force_next_flush();
BEGIN;
SELECT inserted, updated FROM cdc_sync('past');
SELECT seq_scan, idx_scan, n_tup_ins, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'past';
ROLLBACK;

-- keys in another order than that of the index, and their neighbours
CREATE TABLE falling (id int NOT NULL, n bigint);
CREATE UNIQUE INDEX ON falling (id DESC);
SELECT cdc_create('falling', target => 'falling', key => '{id}');
CALL events('falling', '{c}', 1, 2000);
CALL events('falling', '{d}', 10, 20);
SELECT inserted, updated, deleted FROM cdc_sync('falling');
CALL events('falling', '{u}', 5, 2005);
SELECT inserted, updated, deleted FROM cdc_sync('falling');
SELECT count(*), count(DISTINCT id), sum(id) FROM falling;
CREATE TABLE rising (id text COLLATE "C" PRIMARY KEY, n bigint);
SELECT cdc_create('rising', target => 'rising');
CALL events('rising', '{c}', -1000, 1000);
SELECT inserted, updated, deleted FROM cdc_sync('rising');
CALL events('rising', '{u}', -1500, 1500);
CALL events('rising', '{d}', 1400, 1600);
SELECT inserted, updated, deleted FROM cdc_sync('rising');
SELECT count(*), count(DISTINCT id), sum(id::int) FROM rising;

-- a publication of deletes alone needs a replica identity for them, and for nothing else
CALL pair('published', 'mirror', '(id int NOT NULL UNIQUE, n bigint)', '{id}');
CALL events('published', '{c}', 1, 5);
SELECT * FROM compare('published');
SET client_min_messages = error;	-- of wal_level
CREATE PUBLICATION deletes FOR TABLE published, published_sql WITH (publish = 'delete');
CALL events('published', '{u}', 1, 2);
SELECT * FROM compare('published');
CALL events('published', '{d}', 1, 1);
SELECT cdc_sync('published');
SELECT cdc_sync('published_sql');
ALTER PUBLICATION deletes SET (publish = 'update');
SELECT * FROM compare('published');
DROP PUBLICATION deletes;
SET client_min_messages = warning;

-- a default that looks at the rows before
CREATE FUNCTION so_many() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM merge.counted); END';
CREATE TABLE counted (id int PRIMARY KEY, n bigint, before bigint DEFAULT so_many());
SELECT cdc_create('counted', target => 'counted');
CALL events('counted', '{c}', 1, 5);
SELECT inserted FROM cdc_sync('counted');
SELECT string_agg(before::text, ' ' ORDER BY before) FROM counted;

SELECT cdc_drop('*', true);
DROP SCHEMA merge CASCADE;
