-- cdc_resync: a target rebuilt from its landing.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
DROP ROLE IF EXISTS regress_cdc_resync;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE SCHEMA resync_test;
SET search_path = resync_test, public;

-- an event of a table (id, name, mail); images as jsonb
CREATE FUNCTION event(op text, before jsonb, after jsonb, OUT kafka_key bytea, OUT kafka_value bytea) AS $$
	SELECT convert_to(jsonb_build_object('id', coalesce(after, before) -> 'id')::text, 'UTF8'),
		   convert_to(jsonb_build_object('op', op, 'ts_ms', 1700000000000, 'before', before, 'after', after,
										 'source', jsonb_build_object('ts_ms', 1700000000000))::text, 'UTF8')
$$ LANGUAGE sql;

CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, mail text UNIQUE,
					 note text DEFAULT 'none', double_id int GENERATED ALWAYS AS (id * 2) STORED,
					 refresh_time timestamp);
CREATE TABLE child (person int REFERENCES person ON DELETE CASCADE);
CREATE VIEW names AS SELECT id, name FROM person;
CREATE TABLE seen (op text, id int);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seen VALUES (TG_OP, coalesce(NEW.id, OLD.id));
	RETURN NULL;
END $$;
SELECT cdc_create('person', target => 'person');
INSERT INTO person_debezium (kafka_key, kafka_value)
SELECT e.* FROM generate_series(1, 6) i, event('c', NULL, jsonb_build_object('id', i, 'name', 'n' || i, 'mail', 'm' || i)) e;
INSERT INTO person_debezium (kafka_key, kafka_value)
SELECT e.* FROM event('u', NULL, '{"id": 2, "name": "two", "mail": "m2"}') e UNION ALL
SELECT e.* FROM event('d', '{"id": 6, "name": "n6", "mail": "m6"}', NULL) e UNION ALL
SELECT e.* FROM event('u', NULL, '{"id": 5, "name": null, "mail": "m5"}') e;
SELECT events, inserted, quarantined FROM cdc_sync('person');

-- somebody writes into the target: values swapped, rows lost, made up, and what is their own
INSERT INTO child VALUES (1), (2), (3);
UPDATE person SET note = 'mine' WHERE id < 4;
UPDATE person SET mail = NULL WHERE id IN (1, 2);
UPDATE person SET mail = 'm2' WHERE id = 1;
UPDATE person SET mail = 'm1' WHERE id = 2;
UPDATE person SET name = 'wrong', refresh_time = 'epoch' WHERE id = 3;
DELETE FROM person WHERE id = 4;
INSERT INTO person VALUES (100, 'nobody', 'm4');
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION see();
CREATE TEMP TABLE before AS SELECT 'person'::regclass::oid, relfilenode FROM pg_class WHERE oid = 'person'::regclass;
SELECT * FROM cdc_resync('person');
SELECT id, name, mail, note, double_id FROM person ORDER BY id;
SELECT * FROM child;
SELECT op, array_agg(DISTINCT id ORDER BY id) FROM seen GROUP BY op ORDER BY op;
-- the table is the one that it was, and no other is left
SELECT oid = 'person'::regclass AS same FROM before;
SELECT relname FROM pg_class WHERE relnamespace = 'resync_test'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT kafka_offset, column_name, sqlstate FROM cdcsync.quarantine WHERE pipeline = 'person';
SELECT kafka_partition, epoch, next_offset FROM cdcsync.watermark WHERE pipeline = 'person';
-- nothing is left to do: for a sync, and for a second rebuild
SELECT events FROM cdc_sync('person');
TRUNCATE seen;
SELECT * FROM cdc_resync('person');
SELECT * FROM seen;

-- later records come with the next sync
INSERT INTO person_debezium (kafka_key, kafka_value)
SELECT e.* FROM event('u', NULL, '{"id": 5, "name": "five", "mail": "m5"}') e;
SELECT events, updated FROM cdc_sync('person');
SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = 'person';

-- what the target itself refuses
CREATE TABLE allowed (name text PRIMARY KEY);
INSERT INTO allowed SELECT name FROM person;
ALTER TABLE person ADD FOREIGN KEY (name) REFERENCES allowed;
INSERT INTO allowed VALUES ('other');
UPDATE person SET name = 'other' WHERE id = 3;
DELETE FROM allowed WHERE name = 'n3';
SELECT * FROM cdc_resync('person');
SELECT name FROM person WHERE id = 3;
SELECT count(*) FROM cdcsync.watermark WHERE pipeline = 'person';
INSERT INTO allowed VALUES ('n3');
SELECT inserted, updated, deleted FROM cdc_resync('person');

-- a relation in the way
CREATE TABLE person_shadow ();
SELECT * FROM cdc_resync('person');
DROP TABLE person_shadow;

-- paused and stopped ones, and they stay so
SELECT cdc_pause('person', 'we look');
UPDATE person SET name = 'other' WHERE id = 1;
SELECT updated FROM cdc_resync('person');
SELECT state, exact FROM cdc_status WHERE pipeline = 'person';
SELECT cdc_resume('person');

-- several pipelines on one landing: each its own
SELECT cdc_create('again', options => '{"landing": "person_debezium"}', columns => '{"id": "id", "name": "name"}', key => '{id}');
SELECT events, inserted FROM cdc_sync('again');
UPDATE again_target SET name = 'x';
SELECT source, updated FROM cdc_resync('again');
SELECT events FROM cdc_sync('person');

-- what is missing
SELECT cdc_resync(NULL);
SELECT cdc_resync('nobody');
SELECT cdc_create('empty');
SELECT cdc_resync('empty');
DELETE FROM person_debezium_chunk WHERE first_offset < 7;
SELECT * FROM cdc_resync('person');
SELECT * FROM cdc_resync('person', since => '-infinity');
SELECT * FROM cdc_resync('person', since => 'epoch');
SELECT * FROM cdc_resync('person', since => 'infinity');

-- a snapshot that begins after a time is enough
SELECT clock_timestamp() AS since \gset
INSERT INTO person_debezium (kafka_key, kafka_value)
SELECT e.* FROM generate_series(1, 3) i, event('r', NULL, jsonb_build_object('id', i, 'name', 'n' || i, 'mail', 'm' || i)) e;
INSERT INTO allowed VALUES ('n2');
SELECT * FROM cdc_resync('person', since => :'since');
SELECT id, name, note FROM person ORDER BY id;

-- a gap before the rebuild does not matter, one after it does
INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch, first_offset, next_offset, reason, passed)
SELECT landing_id, 0, 0, 3, 5, 'records were lost', true FROM cdcsync.pipeline WHERE name = 'person';
INSERT INTO cdcsync.inexact (pipeline, kafka_partition, epoch, next_offset, reason)
SELECT name, 0, 0, 5, 'records were lost' FROM cdcsync.pipeline WHERE name IN ('person', 'again');
SELECT pipeline, exact FROM cdc_status WHERE pipeline IN ('person', 'again') ORDER BY 1;
SELECT * FROM cdc_resync('person');
SELECT inserted, updated, deleted FROM cdc_resync('person', since => :'since');
SELECT pipeline, exact FROM cdc_status WHERE pipeline IN ('person', 'again') ORDER BY 1;
UPDATE cdcsync.gap SET first_offset = 11, next_offset = 12 WHERE reason = 'records were lost';
SELECT * FROM cdc_resync('person', since => :'since');
DELETE FROM cdcsync.gap WHERE reason = 'records were lost';
DELETE FROM cdcsync.inexact WHERE pipeline = 'again';
INSERT INTO cdcsync.inexact (pipeline, kafka_partition, epoch, next_offset, reason) VALUES
	('person', 0, 0, 1000, 'lost meanwhile'), ('person', NULL, NULL, NULL, 'a record was discarded');
SELECT * FROM cdc_resync('person', since => :'since');
UPDATE cdcsync.inexact SET next_offset = 5 WHERE reason = 'lost meanwhile';
SELECT inserted, updated, deleted FROM cdc_resync('person', since => :'since');
SELECT * FROM cdcsync.inexact;

-- composite keys, partitions, equal keys that are spelled differently
CREATE TABLE part (a numeric, b text, c int, PRIMARY KEY (a, b)) PARTITION BY LIST (b);
CREATE TABLE part_x PARTITION OF part FOR VALUES IN ('x');
CREATE TABLE part_y PARTITION OF part FOR VALUES IN ('y');
SELECT cdc_create('part', target => 'part');
INSERT INTO part_debezium (kafka_key, kafka_value)
SELECT convert_to(jsonb_build_object('a', i, 'b', b)::text, 'UTF8'),
	   convert_to(jsonb_build_object('op', 'c', 'after', jsonb_build_object('a', i, 'b', b, 'c', i))::text, 'UTF8')
FROM generate_series(1, 3) i, (VALUES ('x'), ('y')) v (b);
SELECT inserted FROM cdc_sync('part');
UPDATE part SET a = 1.00 WHERE a = 1;
UPDATE part SET c = 0 WHERE a = 2;
DELETE FROM part WHERE a = 3 AND b = 'y';
SELECT * FROM cdc_resync('part');
SELECT tableoid::regclass, * FROM part ORDER BY a, b;

-- a snapshot that replaces the target, and truncates in several partitions, do so again
CREATE FUNCTION change(op text, id int, v text, at int, snapshot text DEFAULT 'false') RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(jsonb_build_object('op', op, 'before', NULL, 'after', jsonb_build_object('id', id, 'v', v),
		'source', jsonb_build_object('connector', 'postgresql', 'db', 'd', 'schema', 's', 'table', 't', 'snapshot', snapshot,
									 'ts_ms', at, 'lsn', at, 'sequence', format('["%s","%s"]', at, at)))::text, 'UTF8')
$$;
CREATE TABLE again_read (id int PRIMARY KEY, v text);
SELECT cdc_create('again_read', target => 'again_read', options => '{"on_snapshot": "replace", "max_sweep_share": 1}');
INSERT INTO again_read_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id": %s}', i), 'UTF8'), change('r', i, 'first', 10, CASE i WHEN 1 THEN 'first' WHEN 6 THEN 'last' ELSE 'true' END)
FROM generate_series(1, 6) i;
INSERT INTO again_read_debezium (kafka_key, kafka_value) VALUES ('{"id": 7}', change('c', 7, 'streamed', 20));
INSERT INTO again_read_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id": %s}', i), 'UTF8'), change('r', i, 'second', 30, CASE i WHEN 1 THEN 'first' WHEN 4 THEN 'last' ELSE 'true' END)
FROM generate_series(1, 4) i;
INSERT INTO again_read_debezium (kafka_key, kafka_value) VALUES ('{"id": 8}', change('c', 8, 'streamed', 40));
SELECT events FROM cdc_sync('again_read');
SELECT * FROM again_read ORDER BY id;
SELECT source, inserted, updated, deleted FROM cdc_resync('again_read');
CREATE TABLE cut (id int PRIMARY KEY, v text);
SELECT cdc_create('cut', target => 'cut');
INSERT INTO cut_debezium (kafka_partition, kafka_key, kafka_value)
SELECT i % 3, convert_to(format('{"id": %s}', i), 'UTF8'), change('c', i, 'before', i) FROM generate_series(1, 9) i;
INSERT INTO cut_debezium (kafka_partition, kafka_value) VALUES (1, change('t', NULL, NULL, 100));
INSERT INTO cut_debezium (kafka_partition, kafka_key, kafka_value)
SELECT i % 3, convert_to(format('{"id": %s}', i), 'UTF8'), change('c', i, 'after', 100 + i) FROM generate_series(1, 4) i;
SELECT events FROM cdc_sync('cut');
SELECT source, inserted, updated, deleted FROM cdc_resync('cut');
SELECT * FROM cut ORDER BY id;

-- the other modes: their rows have no key, or what they keep is no row of the source
CREATE TABLE soft (id int PRIMARY KEY, v text, op text, deleted_at timestamp, note text DEFAULT 'mine');
CREATE TABLE every (seq bigint GENERATED ALWAYS AS IDENTITY, id int, v text, op text, kafka_offset bigint, refresh_time timestamp, note text DEFAULT 'mine');
CREATE TABLE past (id int, v text, valid_from timestamp, valid_to timestamp, current boolean, note text DEFAULT 'mine') PARTITION BY LIST (current);
CREATE TABLE past_current PARTITION OF past FOR VALUES IN (true);
CREATE TABLE past_gone PARTITION OF past FOR VALUES IN (false);
CREATE INDEX ON past (id);
CREATE TABLE bag (id int, v json, note text DEFAULT 'mine');
SELECT cdc_create('soft', target => 'soft', options => '{"mode": "soft_delete"}');
SELECT cdc_create('every', target => 'every', options => '{"mode": "append", "landing": "soft_debezium"}');
SELECT cdc_create('past', target => 'past', key => '{id}', options => '{"mode": "history", "landing": "soft_debezium"}');
SELECT cdc_create('bag', target => 'bag');
INSERT INTO soft_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id": %s}', id), 'UTF8'), change(op, id, v, at)
FROM (VALUES ('c', 1, 'a', 1000), ('c', 2, 'b', 2000), ('c', 3, 'c', 3000), ('u', 1, 'a2', 4000), ('u', 4, 'd', 4500)) e (op, id, v, at);
INSERT INTO soft_debezium (kafka_key, kafka_value) VALUES ('{"id": 2}', change('d', 2, NULL, 5000)), ('{"id": 2}', NULL);
INSERT INTO bag_debezium (kafka_value)
SELECT convert_to(format('{"op": "c", "after": {"id": %s, "v": {"x": %s}}}', i / 2, i / 2), 'UTF8') FROM generate_series(1, 6) i;
INSERT INTO bag_debezium (kafka_value) VALUES ('{"op": "d", "before": {"id": 2, "v": {"x": 2}}}'),
	('{"op": "d", "before": {"id": 7, "v": {"x": 7}}}');
SELECT p, events, inserted FROM unnest('{soft,every,past,bag}'::text[]) p, cdc_sync(p);
SELECT * FROM soft ORDER BY id;
SELECT id, v, op, note FROM every ORDER BY kafka_offset;
SELECT * FROM past ORDER BY id, valid_from;
SELECT * FROM bag ORDER BY id;
-- nothing has happened
SELECT p, r.* FROM unnest('{soft,every,past,bag}'::text[]) p, cdc_resync(p) r;
-- somebody has written into them; what is not touched keeps what is its owner's
CREATE PROCEDURE spoil() LANGUAGE plpgsql AS $$
BEGIN
	UPDATE soft SET note = 'yours'; UPDATE every SET note = 'yours'; UPDATE past SET note = 'yours'; UPDATE bag SET note = 'yours';
	UPDATE soft SET v = 'x' WHERE id = 1; UPDATE soft SET deleted_at = NULL WHERE id = 2;
	DELETE FROM soft WHERE id = 3; INSERT INTO soft VALUES (9, 'z', 'd', '2000-01-01');
	DELETE FROM every WHERE id = 3; UPDATE every SET v = 'x' WHERE id = 4; INSERT INTO every (id, v) VALUES (9, 'z');
	DELETE FROM past WHERE id = 3; UPDATE past SET v = 'x' WHERE id = 4; INSERT INTO past VALUES (9, 'z', '2000-01-01', NULL, true);
	DELETE FROM bag WHERE id = 1; INSERT INTO bag VALUES (0, '{"x": 0}');
END $$;
CALL spoil();
SELECT p, r.* FROM unnest('{soft,every,past,bag}'::text[]) p, cdc_resync(p) r;
SELECT * FROM soft ORDER BY id;
SELECT id, v, op, note FROM every ORDER BY kafka_offset;
SELECT * FROM past ORDER BY id, valid_from;
SELECT * FROM bag ORDER BY id;
SELECT events FROM cdc_sync('past');
-- not from a part of the records, where there is a past; not what others refuse; what
-- the table itself refuses goes to quarantine
SELECT cdc_resync('soft', since => '2000-01-01');
SELECT cdc_resync('past', since => '2000-01-01');
CREATE TABLE elsewhere (id int REFERENCES soft);
INSERT INTO soft VALUES (9, 'z'); INSERT INTO elsewhere VALUES (9);
SELECT cdc_resync('soft');
DROP TABLE elsewhere;
DELETE FROM bag WHERE id = 1;
ALTER TABLE bag ADD CHECK (id <> 1);
SELECT cdc_resync('bag');

-- privileges
CREATE ROLE regress_cdc_resync;
GRANT USAGE ON SCHEMA resync_test TO regress_cdc_resync;
SET ROLE regress_cdc_resync;
SELECT cdc_resync('part');
RESET ROLE;
DO $$ BEGIN PERFORM cdc_drop('part'); END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON part TO regress_cdc_resync;
GRANT CREATE ON SCHEMA resync_test TO regress_cdc_resync;
SET ROLE regress_cdc_resync;
SELECT cdc_create('mine', target => 'part');
INSERT INTO mine_debezium (kafka_key, kafka_value)
VALUES ('{"a": 1, "b": "x"}', '{"op": "c", "after": {"a": 1, "b": "x", "c": 9}}');
SELECT inserted, updated, deleted FROM cdc_resync('mine');
RESET ROLE;
-- somebody else's, as its owner
SELECT source, inserted, updated, deleted FROM cdc_resync('mine');
REVOKE DELETE ON part FROM regress_cdc_resync;
INSERT INTO part VALUES (7, 'y', 7);
SELECT cdc_resync('mine');

SET client_min_messages = warning;
SELECT cdc_drop('*');
DROP SCHEMA resync_test CASCADE;
DROP ROLE regress_cdc_resync;
