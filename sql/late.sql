-- Changes that wait behind one that a truncate or a snapshot, which comes later, has
-- made void: they are tried again, and do not wait for ever
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA late;
SET search_path = late, public;

CREATE FUNCTION put(landing text, part int, id int, op text, pos int, after jsonb DEFAULT NULL, mark text DEFAULT 'false', clock int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_partition, kafka_timestamp, kafka_key, kafka_value) VALUES ($1, $2, $3, $4)', landing)
	USING part, timestamp '2026-01-01' + pos * interval '1 s', convert_to(format('{"id":%s}', id), 'UTF8'),
		convert_to(jsonb_build_object('op', op, 'after', jsonb_build_object('id', id) || after, 'source',
			jsonb_build_object('connector', 'mysql', 'name', 's', 'db', 'd', 'table', 't', 'snapshot', mark, 'file', 'bin.000001',
				'pos', pos, 'row', 0, 'server_id', 1, 'ts_ms', 1760000000000 + coalesce(clock, pos) * 1000))::text, 'UTF8');
END
$$;
CREATE FUNCTION seconds(t timestamp) RETURNS text LANGUAGE sql AS $$ SELECT to_char(t, 'MI:SS') $$;
CREATE VIEW waits AS
	SELECT pipeline, kafka_partition AS part, kafka_offset AS off, state, blocked_by, message
	FROM cdcsync.quarantine ORDER BY 1, 2, 3;

-- one landing, three modes
CREATE TABLE m (id int PRIMARY KEY, val varchar(3), note text);
CREATE TABLE s (id int PRIMARY KEY, val varchar(3), note text, deleted_at timestamp);
CREATE TABLE h (id int, val varchar(3), note text, valid_from timestamp, valid_to timestamp, current boolean);
CREATE INDEX ON h (id);
SELECT cdc_create('m', target => 'm', options => '{"max_quarantine_share": 1}');
SELECT cdc_create('s', target => 's', options => '{"mode": "soft_delete", "max_quarantine_share": 1, "landing": "m_debezium"}');
SELECT cdc_create('h', target => 'h', key => '{id}', options => '{"mode": "history", "max_quarantine_share": 1, "landing": "m_debezium"}');
CREATE FUNCTION sync(OUT events bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT sum((cdc_sync(p)).events) FROM unnest('{m,s,h}'::text[]) p INTO events;
END
$$;
CREATE VIEW rows AS
	SELECT 'm' AS mode, id, val, note, NULL AS since, NULL AS until FROM m
	UNION ALL SELECT 's', id, val, note, NULL, seconds(deleted_at) FROM s
	UNION ALL SELECT 'h', id, val, note, seconds(valid_from), seconds(valid_to) FROM h ORDER BY 1, 2, 5;

SELECT put('m_debezium', 0, 1, 'c', 10, '{"val": "a", "note": "x"}'), put('m_debezium', 1, 2, 'c', 11, '{"val": "b"}');
SELECT events FROM sync();
-- bad; and what comes after a truncate, which another partition has still to bring
SELECT put('m_debezium', 0, 1, 'u', 20, '{"val": "too long", "note": "y"}');
SELECT events FROM sync();
SELECT put('m_debezium', 0, 1, 'c', 40, '{"val": "new"}'), put('m_debezium', 0, 3, 'c', 41, '{"val": "c"}');
SELECT events FROM sync();
SELECT * FROM waits;
SELECT * FROM rows;
BEGIN;
SELECT put('m_debezium', 1, 0, 't', 30);
SELECT events FROM sync();
SELECT * FROM waits;
ROLLBACK;
SELECT count(*) FROM waits WHERE state = 'blocked';
SELECT put('m_debezium', 1, 0, 't', 30);
SELECT events FROM sync();
SELECT * FROM waits;
SELECT * FROM rows;
-- later changes do not meet anything in quarantine, and stragglers from before the truncate are known
SELECT put('m_debezium', 0, 1, 'u', 50, '{"val": "zz"}'), put('m_debezium', 1, 2, 'c', 51, '{"val": "bb"}');
SELECT events FROM sync();
SELECT * FROM waits;
SELECT * FROM rows;
SELECT pipeline, kind FROM cdcsync.barrier WHERE kind = 'truncate';
-- what is bad after the truncate stays, with what is behind it
SELECT put('m_debezium', 0, 1, 'c', 70, '{"val": "too long", "note": "z"}');
SELECT events FROM sync();
SELECT put('m_debezium', 0, 1, 'u', 71, '{"val": "v"}');
SELECT events FROM sync();
SELECT put('m_debezium', 1, 0, 't', 60);
SELECT events FROM sync();
SELECT * FROM waits;
DROP VIEW rows;
ALTER TABLE m ALTER val TYPE text;
ALTER TABLE s ALTER val TYPE text;
ALTER TABLE h ALTER val TYPE text;
SELECT p, r.* FROM unnest('{m,s,h}'::text[]) p, cdc_retry(p) r;
SELECT * FROM m WHERE id = 1;
SELECT * FROM s WHERE id = 1;
SELECT id, val, note, seconds(valid_from) AS since, seconds(valid_to) AS until FROM h WHERE id = 1 ORDER BY 4, 5;

-- a snapshot that replaces a history: its row waits behind the bad change that it makes void
CREATE TABLE r (id int, val varchar(3), valid_from timestamp, valid_to timestamp, current boolean);
CREATE INDEX ON r (id);
SELECT cdc_create('r', target => 'r', key => '{id}', options => '{"mode": "history", "on_snapshot": "replace", "max_quarantine_share": 1, "max_sweep_share": 1}');
SELECT put('r_debezium', 0, 1, 'c', 10, '{"val": "a"}'), put('r_debezium', 0, 2, 'c', 11, '{"val": "b"}');
SELECT events FROM cdc_sync('r');
SELECT put('r_debezium', 0, 1, 'u', 20, '{"val": "too long"}');
SELECT events FROM cdc_sync('r');
SELECT put('r_debezium', 0, 1, 'r', 30, '{"val": "c"}', 'first');
SELECT events FROM cdc_sync('r');
SELECT off, state, blocked_by FROM waits WHERE pipeline = 'r';
SELECT put('r_debezium', 0, 3, 'r', 30, '{"val": "d"}', 'last');
SELECT events FROM cdc_sync('r');
SELECT off, state, blocked_by FROM waits WHERE pipeline = 'r';
SELECT id, val, seconds(valid_from) AS since, seconds(valid_to) AS until FROM r ORDER BY 1, 3;
-- .. also one that is as a change of its own window has left it, and so is no version
ALTER TABLE r ADD CONSTRAINT gate CHECK (val <> 'e');
SELECT put('r_debezium', 0, 4, 'c', 40, '{"val": "e"}'), put('r_debezium', 0, 4, 'r', 50, '{"val": "e"}', 'first'),
	put('r_debezium', 0, 3, 'r', 50, '{"val": "d"}', 'last');
SELECT events FROM cdc_sync('r');
SELECT off, state, blocked_by FROM waits WHERE pipeline = 'r';
ALTER TABLE r DROP CONSTRAINT gate;
SELECT * FROM cdc_retry('r');
SELECT id, val, seconds(valid_from) AS since, seconds(valid_to) AS until FROM r WHERE id > 2 ORDER BY 1, 3;
-- a history of two partitions: a statement that began early has waited for a lock, and is
-- later in its partition all the same; a change of the other partition is older
CREATE TABLE c (id int, val text, valid_from timestamp, valid_to timestamp, current boolean);
CREATE INDEX ON c (id);
SELECT cdc_create('c', target => 'c', key => '{id}', options => '{"mode": "history"}');
SELECT put('c_debezium', 0, 1, 'c', 100, '{"val": "a"}'), put('c_debezium', 1, 2, 'c', 90, '{"val": "x"}');
SELECT events FROM cdc_sync('c');
SELECT put('c_debezium', 0, 1, 'u', 110, '{"val": "after it"}', clock => 93);
SELECT events FROM cdc_sync('c');
SELECT put('c_debezium', 1, 1, 'u', 98, '{"val": "before both"}');
SELECT events FROM cdc_sync('c');
SELECT id, val, seconds(valid_from) AS since, seconds(valid_to) AS until, current FROM c ORDER BY id, since, until, val;

-- a delete supersedes what the target refuses of its row, though the key is written in another way
CREATE TABLE n (id numeric PRIMARY KEY, val text, deleted_at timestamp);
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.val = 'refused' OR NEW.id::text LIKE '2.%' THEN
		RAISE EXCEPTION 'the gate is closed';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON n FOR EACH ROW EXECUTE FUNCTION gate();
SELECT cdc_create('n', target => 'n', options => '{"mode": "soft_delete", "max_quarantine_share": 1}');
INSERT INTO n_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id":%s}', id), 'UTF8'), convert_to(format('{"op":"%s","after":%s,"source":{"ts_ms":%s}}', op,
	CASE WHEN op <> 'd' THEN format('{"id":%s,"val":"%s"}', id, val) ELSE 'null' END, 1760000000000 + no * 1000), 'UTF8')
FROM (VALUES (1, '1', 'c', 'a'), (2, '1', 'd', ''), (3, '1.00', 'c', 'refused'), (4, '1', 'd', ''),
	(5, '2', 'c', 'b'), (6, '2', 'd', ''), (7, '2.00', 'c', 'c'), (8, '2', 'd', '')) e (no, id, op, val) ORDER BY no;
SELECT events FROM cdc_sync('n');
SELECT off, state FROM waits WHERE pipeline = 'n';
SELECT id, val, seconds(deleted_at) AS until FROM n ORDER BY id;

SELECT pipeline, exact FROM cdc_status ORDER BY 1;

SELECT cdc_drop('*');
DROP SCHEMA late CASCADE;
