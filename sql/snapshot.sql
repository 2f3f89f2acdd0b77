-- snapshots that replace the target
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA snap;
SET search_path = snap, public;

-- An event of t; mark: what source.snapshot says; at: place in the source's log.
CREATE FUNCTION ev(landing text, part int, id text, val text, op text, mark text, at int, clock int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_partition, kafka_timestamp, kafka_key, kafka_value) VALUES ($1, $2, $3, $4)', landing)
	USING part, timestamp '2026-01-01' + coalesce(clock, at) * interval '1 s',
		convert_to(format('{"id":%s}', id), 'UTF8'),
		convert_to(json_build_object(
			'before', CASE WHEN op = 'd' THEN json_build_object('id', id::json) END,
			'after', CASE WHEN op <> 'd' THEN json_build_object('id', id::json, 'val', val) END,
			'source', json_build_object('connector', 'mysql', 'name', 'src', 'ts_ms', 1760000000000 + coalesce(clock, at) * 1000,
				'snapshot', mark, 'db', 'd', 'table', 't', 'server_id', CASE WHEN mark = 'false' THEN 1 ELSE 0 END,
				'gtid', NULL, 'file', 'bin.000001', 'pos', at, 'row', 0),
			'op', op, 'ts_ms', 1760000000000 + coalesce(clock, at) * 1000)::text, 'UTF8');
END
$$;
CREATE FUNCTION make(name text, options jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, val text)', name || '_t');
	PERFORM cdc_create(name, target => (name || '_t')::regclass, options => '{"on_snapshot": "replace"}' || options);
END
$$;
CREATE FUNCTION rows(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
	EXECUTE format('SELECT string_agg(id || ''='' || val, '' '' ORDER BY id) FROM %I', name || '_t') INTO r;
	RETURN r;
END
$$;
CREATE VIEW sweeps AS
	SELECT pipeline, target_rows AS had, missing_rows AS missing, deleted_rows AS deleted, problem
	FROM cdcsync.sweep ORDER BY pipeline, swept_at;

-- one partition: deleted at the source while nobody looked
SELECT make('a');
SELECT ev('a_debezium', 0, '1', 'one', 'r', 'first', 10);
SELECT ev('a_debezium', 0, '2', 'two', 'r', 'true', 10);
SELECT ev('a_debezium', 0, '3', 'three', 'r', 'last', 10);
SELECT events, inserted, deleted FROM cdc_sync('a');
-- the first one had nothing to replace, and nothing was looked for
SELECT * FROM sweeps WHERE pipeline = 'a';
SELECT ev('a_debezium', 0, '4', 'four', 'c', 'false', 20);
SELECT ev('a_debezium', 0, '1', 'uno', 'u', 'false', 21);
SELECT cdc_sync('a') IS NOT NULL;
SELECT ev('a_debezium', 0, '1', 'uno', 'r', 'first_in_data_collection', 30);
SELECT ev('a_debezium', 0, '4', 'four', 'r', 'last_in_data_collection', 30);
SELECT events, inserted, updated, deleted FROM cdc_sync('a');
SELECT rows('a');
SELECT * FROM sweeps WHERE pipeline = 'a';
SELECT nrows, done FROM cdcsync.snapshot;
SELECT count(*) FROM a_stg;
-- nothing is left to do
SELECT events, deleted FROM cdc_sync('a');

-- in windows and syncs of their own, its end comes last; what streaming brings stays
SELECT ev('a_debezium', 0, '9', 'nine', 'c', 'false', 40);
SELECT ev('a_debezium', 0, '1', 'uno', 'r', 'first', 50);
SELECT deleted FROM cdc_sync('a');
SELECT kafka_partition, nrows, first_offset, last_offset, certain, end_offset FROM cdcsync.snapshot WHERE NOT done;
SELECT ev('a_debezium', 0, '5', 'five', 'r', 'last', 50);
SELECT ev('a_debezium', 0, '6', 'six', 'c', 'false', 51);
SELECT ev('a_debezium', 0, '1', NULL, 'd', 'false', 52);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');

-- aborted, then begun again: what only the first one had goes
SELECT ev('a_debezium', 0, '5', 'five', 'r', 'first', 60);
SELECT ev('a_debezium', 0, '7', 'seven', 'r', 'true', 60);
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '5', 'five', 'r', 'first', 70);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
SELECT ev('a_debezium', 0, '6', 'six', 'r', 'last', 70);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
-- aborted for good: nothing goes, though streaming goes on
SELECT ev('a_debezium', 0, '5', 'five', 'r', 'first', 80);
SELECT ev('a_debezium', 0, '6', 'six', 'r', 'true', 80);
SELECT ev('a_debezium', 0, '8', 'eight', 'c', 'false', 81);
SELECT deleted FROM cdc_sync('a');
-- one in increments never does anything
SELECT ev('a_debezium', 0, '5', 'five', 'r', 'incremental', 82);
SELECT ev('a_debezium', 0, '5', 'cinq', 'u', 'false', 83);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
-- the same place in the log, from the beginning: the same state
SELECT ev('a_debezium', 0, '5', 'cinq', 'r', 'first', 90);
SELECT ev('a_debezium', 0, '5', 'cinq', 'r', 'first', 90);
SELECT ev('a_debezium', 0, '8', 'eight', 'r', 'last', 90);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');

-- .. in syncs of their own: what has replaced the target has not ended there
SELECT ev('a_debezium', 0, '5', 'cinq', 'r', 'first', 90);
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '8', 'eight', 'r', 'true', 90);
SELECT ev('a_debezium', 0, '8', 'eight', 'r', 'first', 90);
SELECT ev('a_debezium', 0, '5', 'cinq', 'r', 'last', 90);
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '8', 'eight', 'r', 'true', 90);
SELECT ev('a_debezium', 0, '9', 'nine', 'c', 'false', 91);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');

-- a table of one row: the last one is the first
SELECT cdc_alter('a', options => '{"max_sweep_share": 0.9}');
SELECT ev('a_debezium', 0, '5', 'cinq', 'r', 'last', 100);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
-- .. and the first one the last, where the table is the first of the snapshot
SELECT ev('a_debezium', 0, '10', 'ten', 'c', 'false', 101);
SELECT ev('a_debezium', 0, '10', 'ten', 'r', 'first', 110);
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '11', 'eleven', 'c', 'false', 111);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');

-- connectors that do not mark the last row of a table: streaming ends it
SELECT ev('a_debezium', 0, '11', 'eleven', 'r', 'true', 120);
SELECT ev('a_debezium', 0, '12', 'twelve', 'r', 'true', 120);
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '13', 'thirteen', 'c', 'false', 121);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');

-- a row in quarantine was seen; what was there before it is not needed any more
SELECT cdc_alter('a', options => '{"max_quarantine_share": 1, "max_sweep_share": null}');
ALTER TABLE a_t ADD CHECK (val <> 'bad');
SELECT ev('a_debezium', 0, '12', 'bad', 'u', 'false', 130);
SELECT ev('a_debezium', 0, '14', 'bad', 'c', 'false', 131);
SELECT quarantined FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '12', 'bad', 'r', 'first', 140);
SELECT ev('a_debezium', 0, '13', 'thirteen', 'r', 'last', 140);
SELECT quarantined, deleted FROM cdc_sync('a');
SELECT rows('a');
SELECT kafka_offset, convert_from(kafka_key, 'UTF8') FROM cdcsync.quarantine;

-- too much: stopped, until somebody says so
SELECT ev('a_debezium', 0, '15', 'fifteen', 'c', 'false', 150);
SELECT ev('a_debezium', 0, '16', 'sixteen', 'c', 'false', 151);
SELECT ev('a_debezium', 0, '17', 'seventeen', 'r', 'first', 160);
SELECT ev('a_debezium', 0, '15', 'fifteen', 'r', 'last', 160);
SELECT events, deleted FROM cdc_sync('a');
SELECT state, reason, hint, exact FROM cdc_status WHERE pipeline = 'a';
SELECT cdc_sync('a');
SELECT rows('a');
SELECT cdc_resume('a');
SELECT deleted FROM cdc_sync('a');
SELECT cdc_alter('a', options => '{"max_sweep_share": 1}');
SELECT cdc_resume('a');
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
SELECT state, exact FROM cdc_status WHERE pipeline = 'a';
SELECT * FROM sweeps WHERE pipeline = 'a';

-- the share itself is not too much, as it is written
SELECT make('limit', '{"max_sweep_share": 0.29}');
SELECT count(ev('limit_debezium', 0, i::text, 'x', 'c', 'false', i)) FROM generate_series(1, 100) i;
SELECT inserted FROM cdc_sync('limit');
SELECT count(ev('limit_debezium', 0, i::text, 'x', 'r', CASE i WHEN 30 THEN 'first' WHEN 100 THEN 'last' ELSE 'true' END, 200))
FROM generate_series(30, 100) i;
SELECT deleted FROM cdc_sync('limit');
SELECT cdc_drop('limit');

-- an option that is not what it seems
SELECT cdc_alter('a', options => '{"max_sweep_share": 2}');
SELECT cdc_alter('a', options => '{"on_snapshot": "delete"}');

-- upsert: nothing is kept account of; replace from the middle of a snapshot on is no replacement
SELECT cdc_alter('a', options => '{"on_snapshot": "upsert"}');
SELECT ev('a_debezium', 0, '18', 'eighteen', 'r', 'first', 170);
SELECT deleted FROM cdc_sync('a');
SELECT count(*) FROM cdcsync.snapshot;
SELECT cdc_alter('a', options => '{"on_snapshot": "replace"}');
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 170);
SELECT deleted FROM cdc_sync('a');
SELECT exact, last_error FROM cdc_status WHERE pipeline = 'a';
SELECT reason FROM cdcsync.inexact;
-- a whole one makes up for it
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 180);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a'), exact FROM cdc_status WHERE pipeline = 'a';

-- where the position changes from row to row, the last ones are no snapshot of their own
SELECT ev('a_debezium', 0, '18', 'eighteen', 'c', 'false', 181);
SELECT ev('a_debezium', 0, '18', 'eighteen', 'r', 'first', 182);
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 183);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a'), exact FROM cdc_status WHERE pipeline = 'a';
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'first', 184);
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 184);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a'), exact FROM cdc_status WHERE pipeline = 'a';

-- a record that may be a row of it, but tells no key: then nobody knows what it lacks
SELECT ev('a_debezium', 0, '18', 'eighteen', 'c', 'false', 185);
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'first', 186);
INSERT INTO a_debezium (kafka_value) VALUES ('{"op":"r","after":{"id":18,');
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 186);
SELECT quarantined, deleted FROM cdc_sync('a');
SELECT rows('a'), exact FROM cdc_status WHERE pipeline = 'a';
-- .. a delete is none, nor is what comes behind its end
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'first', 187);
INSERT INTO a_debezium (kafka_value) VALUES ('{"op":"d","before":{"nothing":1},"after":null}');
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'last', 187);
INSERT INTO a_debezium (kafka_value) VALUES ('{"op":"c","after":{"id":18,');
SELECT quarantined, deleted FROM cdc_sync('a');
SELECT rows('a'), exact FROM cdc_status WHERE pipeline = 'a';

-- a gap in it, and behind one
SELECT ev('a_debezium', 0, '20', 'twenty', 'c', 'false', 190);
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'first', 200);
SELECT ev('a_debezium', 0, '21', 'twenty-one', 'r', 'last', 200);
INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch, first_offset, next_offset, reason, passed)
	SELECT landing_id, 0, 0, next_offset - 2, next_offset - 1, 'lost', true
	FROM cdcsync.position JOIN cdcsync.pipeline p USING (landing_id) WHERE p.name = 'a';
SELECT deleted FROM cdc_sync('a');
SELECT ev('a_debezium', 0, '19', 'nineteen', 'r', 'first', 210);
SELECT ev('a_debezium', 0, '21', 'twenty-one', 'r', 'last', 210);
SELECT deleted FROM cdc_sync('a');
SELECT rows('a');
SELECT * FROM sweeps WHERE pipeline = 'a' OFFSET 10;
SELECT cdc_drop('a');
SELECT count(*) FROM cdcsync.sweep;

-- two partitions: the end is in one of them
SELECT make('b', '{"max_sweep_share": 1}');
SELECT ev('b_debezium', 0, '1', 'one', 'c', 'false', 1);
SELECT ev('b_debezium', 1, '2', 'two', 'c', 'false', 2);
SELECT ev('b_debezium', 1, '4', 'four', 'c', 'false', 3);
SELECT ev('b_debezium', 0, '3', 'three', 'c', 'false', 4);
SELECT ev('b_debezium', 2, '5', 'five', 'c', 'false', 4);
SELECT inserted FROM cdc_sync('b');
-- 2 and 5 are deleted; partition 2 has none of it, but something new
SELECT ev('b_debezium', 0, '1', 'one', 'r', 'first', 10);
SELECT ev('b_debezium', 2, '6', 'six', 'c', 'false', 13);
SELECT deleted FROM cdc_sync('b');
SELECT ev('b_debezium', 1, '4', 'four', 'r', 'true', 10, 11);
SELECT deleted FROM cdc_sync('b');
SELECT ev('b_debezium', 0, '3', 'three', 'r', 'last', 10, 12);
SELECT ev('b_debezium', 1, '8', 'eight', 'c', 'false', 14);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
-- all in one sync, what is newer before what is older
SELECT ev('b_debezium', 0, '7', 'seven', 'c', 'false', 30);
SELECT ev('b_debezium', 0, '3', 'drei', 'u', 'false', 31);
SELECT ev('b_debezium', 1, '4', 'four', 'r', 'first', 20);
SELECT ev('b_debezium', 2, '6', 'six', 'r', 'last', 20, 21);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
-- aborted in one, complete in the other: the newest counts
SELECT ev('b_debezium', 0, '3', 'drei', 'r', 'first', 40);
SELECT ev('b_debezium', 1, '4', 'four', 'r', 'true', 40, 41);
SELECT ev('b_debezium', 1, '10', 'ten', 'r', 'first', 50);
SELECT ev('b_debezium', 0, '3', 'drei', 'r', 'last', 50, 51);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
-- .. and where the older one has the last word, it is not complete
SELECT ev('b_debezium', 1, '10', 'ten', 'r', 'last', 60);
SELECT ev('b_debezium', 0, '3', 'drei', 'r', 'first', 70);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
SELECT ev('b_debezium', 0, '30', 'thirty', 'r', 'last', 70, 71);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
SELECT * FROM sweeps;
-- rolled back, and by windows
BEGIN;
SELECT ev('b_debezium', 0, '30', 'thirty', 'r', 'last', 80);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b');
ROLLBACK;
SELECT rows('b');
SELECT ev('b_debezium', 0, '30', 'thirty', 'r', 'last', 90);
SELECT events, deleted FROM cdc_sync('b', 1);
SELECT rows('b');
-- records that landing no longer has
SELECT ev('b_debezium', 0, '31', 'thirty-one', 'c', 'false', 100);
SELECT ev('b_debezium', 1, '32', 'thirty-two', 'c', 'false', 101);
SELECT ev('b_debezium', 0, '31', 'thirty-one', 'r', 'first', 110);
SELECT deleted FROM cdc_sync('b');
DELETE FROM b_debezium_chunk WHERE kafka_partition = 0;
SELECT ev('b_debezium', 0, '33', 'thirty-three', 'r', 'last', 110);
SELECT deleted FROM cdc_sync('b');
SELECT rows('b'), exact FROM cdc_status;
SELECT cdc_drop('b');

-- keys whose equality the bytes do not decide, of two columns, and a foreign key in the way
CREATE TABLE c_t (n numeric, s varchar(10) COLLATE "C", val text, PRIMARY KEY (n, s));
CREATE TABLE child (n numeric, s varchar(10), FOREIGN KEY (n, s) REFERENCES c_t);
SELECT cdc_create('c', target => 'c_t', options => '{"on_snapshot": "replace"}');
CREATE FUNCTION ev2(n text, s text, mark text, at int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO c_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"n":%s,"s":"%s"}', n, s), 'UTF8'),
		convert_to(format('{"op":"r","after":{"n":%s,"s":"%s","val":"x"},"source":{"connector":"postgresql","snapshot":"%s","lsn":%s}}', n, s, mark, at), 'UTF8')
$$;
SELECT ev2('1.0', 'a', 'first', 1), ev2('2', 'b', 'true', 1), ev2('3', 'c', 'true', 1), ev2('4', 'd', 'true', 1), ev2('5', 'e', 'last', 1);
SELECT inserted FROM cdc_sync('c');
INSERT INTO child VALUES (4, 'd');
SELECT ev2('1.00', '\u0061', 'first', 2), ev2('2.0', 'b', 'true', 2), ev2('3', 'c', 'last', 2);
SELECT updated, deleted FROM cdc_sync('c');
SELECT * FROM c_t ORDER BY n;
SELECT * FROM sweeps;
SELECT reason FROM cdcsync.inexact;
DELETE FROM child;
SELECT ev2('1.00', 'a', 'first', 3), ev2('2.0', 'b', 'last', 3);
SELECT deleted FROM cdc_sync('c');
SELECT count(*), (SELECT exact FROM cdc_status) FROM c_t;
-- an existing table is replaced, too
TRUNCATE c_t CASCADE;
SELECT cdc_drop('c');
INSERT INTO c_t VALUES (7, 'old', 'old'), (1, 'a', 'old');
SELECT cdc_create('c', target => 'c_t', options => '{"on_snapshot": "replace"}');
SELECT ev2('1', 'a', 'first', 4), ev2('2', 'b', 'last', 4);
SELECT inserted, updated, deleted FROM cdc_sync('c');
SELECT n, s, val FROM c_t ORDER BY n;

-- rows of several sources in one target: each replaces its own
CREATE TABLE d_t (db text, id int, val text, PRIMARY KEY (db, id));
SELECT cdc_create('d', target => 'd_t', columns => '{"db": "$source.db"}', options => '{"on_snapshot": "replace"}');
CREATE FUNCTION ev3(db text, id int, mark text, at int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO d_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"id":%s}', id), 'UTF8'),
		convert_to(format('{"op":"r","after":{"id":%s,"val":"x"},"source":{"connector":"mysql","db":"%s","snapshot":"%s","file":"b.1","pos":%s}}', id, db, mark, at), 'UTF8')
$$;
SELECT ev3('x', 1, 'first', 1), ev3('x', 2, 'last', 1), ev3('y', 1, 'first', 1), ev3('y', 2, 'last', 1);
SELECT inserted, deleted FROM cdc_sync('d');
SELECT ev3('x', 1, 'last', 2);
SELECT deleted FROM cdc_sync('d');
SELECT db, id FROM d_t ORDER BY 1, 2;
-- .. and what is bad of them
ALTER TABLE d_t ADD CHECK (id < 100);
SELECT ev3('x', 100, 'incremental', 3), ev3('y', 100, 'incremental', 3);
SELECT quarantined FROM cdc_sync('d');
SELECT ev3('x', 1, 'last', 4);
SELECT deleted FROM cdc_sync('d');
SELECT kafka_offset, convert_from(kafka_value, 'UTF8')::jsonb -> 'source' ->> 'db' AS db FROM cdcsync.quarantine WHERE pipeline = 'd';
SELECT cdc_drop('d');
-- .. which a key that does not tell them apart cannot do
CREATE TABLE e_t (id int PRIMARY KEY, val text);
SELECT cdc_create('d', target => 'e_t', options => '{"on_snapshot": "replace", "max_sweep_share": 1}');
SELECT ev3('x', 1, 'first', 1), ev3('x', 2, 'last', 1);
SELECT inserted FROM cdc_sync('d');
SELECT ev3('x', 1, 'first', 2), ev3('y', 3, 'last', 2);
SELECT inserted, deleted FROM cdc_sync('d');
SELECT problem FROM cdcsync.sweep WHERE pipeline = 'd';

-- what was bad in a partition that has no rows of the snapshot does not come back, but
-- what was made since, or tells no time, does
SELECT make('g', '{"max_quarantine_share": 1, "max_sweep_share": 1}');
ALTER TABLE g_t ALTER val TYPE varchar(5);
SELECT ev('g_debezium', 0, '1', 'one', 'c', 'false', 1), ev('g_debezium', 1, '2', 'too long', 'c', 'false', 2),
	ev('g_debezium', 1, '3', 'later too', 'c', 'false', 12);
INSERT INTO g_debezium (kafka_partition, kafka_key, kafka_value)
VALUES (1, '{"id":4}', '{"op":"c","after":{"id":4,"val":"when?!"},"source":{"name":"src","db":"d","table":"t"}}');
SELECT quarantined FROM cdc_sync('g');
SELECT ev('g_debezium', 0, '1', 'one', 'r', 'last', 10), ev('g_debezium', 1, '5', 'five', 'c', 'false', 13);
SELECT events, deleted FROM cdc_sync('g');
SELECT * FROM sweeps WHERE pipeline = 'g';
ALTER TABLE g_t ALTER val TYPE text;
SELECT * FROM cdc_retry('g');
SELECT rows('g');

-- rows that are marked as deleted: at the time of the snapshot, once
CREATE TABLE f_t (id int PRIMARY KEY, val text, deleted_at timestamp, op text, kafka_offset bigint);
SELECT cdc_create('f', target => 'f_t', options => '{"mode": "soft_delete", "on_snapshot": "replace", "max_sweep_share": 0.7}');
SELECT ev('f_debezium', 0, '1', 'one', 'c', 'false', 1), ev('f_debezium', 0, '2', 'two', 'c', 'false', 2),
	ev('f_debezium', 0, '3', 'three', 'c', 'false', 3), ev('f_debezium', 0, '3', 'three', 'd', 'false', 4);
SELECT cdc_sync('f') IS NOT NULL;
SELECT ev('f_debezium', 0, '1', 'one', 'r', 'last', 10);
SELECT deleted FROM cdc_sync('f');
SELECT id, val, deleted_at, op FROM f_t ORDER BY id;
SELECT ev('f_debezium', 0, '1', 'one', 'r', 'last', 20);
SELECT deleted FROM cdc_sync('f');
SELECT ev('f_debezium', 0, '2', 'two again', 'r', 'first', 30), ev('f_debezium', 0, '1', 'one', 'r', 'last', 30);
SELECT deleted FROM cdc_sync('f');
SELECT id, val, deleted_at, op FROM f_t ORDER BY id;
SELECT * FROM sweeps WHERE pipeline = 'f';

SELECT cdc_drop('*');
SELECT count(*) FROM cdcsync.snapshot;
DROP SCHEMA snap CASCADE;
