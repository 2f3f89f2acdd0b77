-- Changes of a key in several partitions, and in several syncs.
CREATE SCHEMA order_test;
SET search_path = order_test, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

CREATE TABLE o_target (id int PRIMARY KEY, name text, big text);
SELECT cdc_create('o', target => 'o_target', options => '{"max_quarantine_share": 1}');

-- An event of PostgreSQL: operation, row, commit LSN, time of the source in s.
CREATE FUNCTION event(op text, id int, name text, lsn int, big text DEFAULT 'b', s int DEFAULT NULL) RETURNS bytea
LANGUAGE sql AS $$
	SELECT convert_to(json_build_object('op', op,
		'before', CASE WHEN op = 'd' THEN json_build_object('id', id) END,
		'after', CASE WHEN op IN ('c', 'u', 'r') THEN json_build_object('id', id, 'name', name, 'big', big) END,
		'source', json_build_object('connector', 'postgresql', 'ts_ms', coalesce(s, lsn) * 1000,
			'sequence', format('["%s","%s"]', lsn, lsn)))::text, 'UTF8')
$$;
-- It lands in a partition, produced in the order of the calls.
CREATE SEQUENCE produced;
CREATE PROCEDURE land(partition int, op text, id int, name text, lsn int, big text DEFAULT 'b', s int DEFAULT NULL)
LANGUAGE sql AS $$
	INSERT INTO o_debezium (kafka_partition, kafka_key, kafka_value, kafka_timestamp)
	SELECT partition, CASE WHEN op <> 't' THEN convert_to(format('{"id":%s}', id), 'UTF8') END,
		event(op, id, name, lsn, big, s), timestamp '2026-01-01' + nextval('produced') * interval '1 s'
$$;
CREATE FUNCTION synced() RETURNS TABLE (id int, name text, big text)
LANGUAGE sql AS $$
	SELECT cdc_sync('o');
	SELECT * FROM o_target ORDER BY id
$$;
INSERT INTO o_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 2) p;

-- an older change that comes later, of another partition
CALL land(1, 'u', 1, 'new', 20);
SELECT * FROM synced();
CALL land(0, 'c', 1, 'old', 10);
SELECT * FROM synced();
-- the row was not written again
CALL land(2, 'u', 1, 'older', 15);
SELECT staged, updated, inserted, deleted FROM cdc_sync('o');
-- a delete that has come before what it deletes
CALL land(1, 'd', 1, NULL, 30);
SELECT * FROM synced();
CALL land(0, 'u', 1, 'dead', 25);
SELECT * FROM synced();
CALL land(2, 'c', 1, 'again', 35);
SELECT * FROM synced();
-- a delete that comes after the row was created again
CALL land(0, 'c', 2, 'second life', 50);
SELECT * FROM synced();
CALL land(2, 'd', 2, NULL, 45);
SELECT * FROM synced();

-- what an update leaves out comes with the older change
CALL land(1, 'u', 3, 'later', 62, '__debezium_unavailable_value');
CALL land(2, 'c', 3, 'first', 61, 'kept');
SELECT * FROM synced() WHERE id = 3;
-- .. even where it was refused for that
CALL land(1, 'u', 4, 'later', 72, '__debezium_unavailable_value');
SELECT * FROM synced() WHERE id = 4;
SELECT kafka_partition, kafka_offset, message FROM cdcsync.quarantine WHERE pipeline = 'o';
CALL land(2, 'c', 4, 'first', 71, 'kept');
SELECT * FROM synced() WHERE id = 4;
SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = 'o';

-- a restore of the source: positions begin from below, in newer time
CALL land(0, 'u', 4, 'restored', 5, 'b', 1000);
SELECT * FROM synced() WHERE id = 4;

-- a truncate: newer rows stay, whichever partition they come from, and older
-- stragglers are dropped
CREATE TABLE child (id int REFERENCES o_target ON DELETE CASCADE);
CALL land(0, 'c', 10, 'before', 2000);
CALL land(1, 'c', 11, 'after', 2200);
CALL land(1, 'u', 2, 'after', 2201);
SELECT * FROM synced();
INSERT INTO child VALUES (2), (10), (11);
CALL land(0, 't', NULL, NULL, 2100);
SELECT * FROM synced();
SELECT * FROM child ORDER BY id;
CALL land(2, 'u', 2, 'straggler', 2050);
CALL land(2, 'c', 12, 'straggler', 2051);
SELECT * FROM synced();
SELECT kafka_partition, resent FROM cdcsync.watermark WHERE pipeline = 'o' ORDER BY 1;
SELECT kind, kafka_partition, kafka_offset, source_position FROM cdcsync.barrier WHERE pipeline = 'o';
-- it is forgotten when all partitions have passed it
CALL land(2, 'u', 2, 'last', 2300);
SELECT * FROM synced();
SELECT count(*) FROM cdcsync.barrier WHERE pipeline = 'o';
-- an older one that is sent again changes nothing
CALL land(0, 't', NULL, NULL, 2100);
SELECT * FROM synced();

-- a tombstone that is looked up without the delete before it, which has come long
-- before, is not a delete of its own
CREATE TABLE l_target (id int PRIMARY KEY, name text);
SELECT cdc_create('l', target => 'l_target');
INSERT INTO l_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 1) p;
INSERT INTO l_debezium (kafka_partition, kafka_key, kafka_value, kafka_timestamp)
VALUES (0, '{"id":1}', event('d', 1, NULL, 3001), '2026-01-01 00:00:10');
SELECT events, inserted FROM cdc_sync('l');
INSERT INTO l_debezium (kafka_partition, kafka_key, kafka_value, kafka_timestamp)
VALUES (0, '{"id":1}', NULL, '2026-01-01 00:00:11'), (0, '{"id":2}', event('c', 2, 'two', 3010), '2026-01-01 00:00:12');
SELECT events, inserted FROM cdc_sync('l');
INSERT INTO l_debezium (kafka_partition, kafka_key, kafka_value, kafka_timestamp)
VALUES (1, '{"id":1}', event('c', 1, 'again', 3005), '2026-01-01 00:00:05');
SELECT events, inserted FROM cdc_sync('l');
SELECT * FROM l_target ORDER BY id;
SELECT cdc_drop('l', drop_target => true);

-- how keys are spelled does not matter
CREATE TABLE n_target (id numeric PRIMARY KEY, name text);
SELECT cdc_create('n', target => 'n_target');
INSERT INTO n_debezium (kafka_partition, kafka_value)
SELECT 1, '{"op": "u", "after": {"id": 1.00, "name": "new"}, "source": {"ts_ms": 2000}}';
SELECT events FROM cdc_sync('n');
INSERT INTO n_debezium (kafka_partition, kafka_value)
SELECT 0, '{"op": "c", "after": {"id": 1, "name": "old"}, "source": {"ts_ms": 1000}}';
SELECT events FROM cdc_sync('n');
SELECT * FROM n_target;
SELECT cdc_drop('n', drop_target => true);

-- rows swap their keys over a spare one, and the values that the events leave out
-- are on their way through partitions that are synced one by one
CREATE TABLE w_target (id int PRIMARY KEY, name text, big text, last_op text, at bigint);
SELECT cdc_create('w', target => 'w_target', columns => '{"last_op": "$op", "at": "$kafka_offset"}');
CREATE PROCEDURE change_keys(partition int)
LANGUAGE sql AS $$
	INSERT INTO w_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers)
	SELECT partition, convert_to(format('{"id":%s}', id), 'UTF8'),
		event(op, id, name, lsn, coalesce(big, '__debezium_unavailable_value')),
		CASE WHEN header <> '' THEN jsonb_build_array(jsonb_build_object('key', '__debezium.' || header,
			'value', format('{"id":%s}', other))) END
	FROM (VALUES (0, 'c', 1, 'a', 'A', 1001, '', 0), (0, 'd', 1, NULL, NULL, 1011, 'newkey', 2),
		(0, 'c', 1, 'b', NULL, 1012, 'oldkey', -1),
		(1, 'c', 2, 'b', 'B', 1002, '', 0), (1, 'd', 2, NULL, NULL, 1010, 'newkey', -1),
		(1, 'c', 2, 'a', NULL, 1011, 'oldkey', 1),
		(2, 'c', -1, 'b', NULL, 1010, 'oldkey', 2), (2, 'd', -1, NULL, NULL, 1012, 'newkey', 1)
	) e (p, op, id, name, big, lsn, header, other)
	WHERE p = partition ORDER BY lsn
$$;
CREATE PROCEDURE swap(partitions int[])
LANGUAGE plpgsql AS $$
DECLARE
	p int;
BEGIN
	PERFORM cdc_drop('w', drop_target => true);
	CREATE TABLE w_target (id int PRIMARY KEY, name text, big text, last_op text, at bigint);
	PERFORM cdc_create('w', target => 'w_target', columns => '{"last_op": "$op", "at": "$kafka_offset"}');
	INSERT INTO w_debezium (kafka_partition, kafka_value) SELECT i, '{"ts_ms": 1}' FROM generate_series(0, 2) i;
	PERFORM cdc_sync('w');
	FOREACH p IN ARRAY partitions
	LOOP
		CALL change_keys(p);
		PERFORM cdc_sync('w');
	END LOOP;
END
$$;
CALL swap('{0,1,2}');
SELECT * FROM w_target ORDER BY id;
CALL swap('{0,2,1}');
SELECT * FROM w_target ORDER BY id;
CALL swap('{1,0,2}');
SELECT * FROM w_target ORDER BY id;
CALL swap('{1,2,0}');
SELECT * FROM w_target ORDER BY id;
CALL swap('{2,0,1}');
SELECT * FROM w_target ORDER BY id;
CALL swap('{2,1,0}');
SELECT * FROM w_target ORDER BY id;
-- the create of a key's change is sent twice, and the old key has come again by then
INSERT INTO w_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers)
SELECT p, convert_to(format('{"id":%s}', id), 'UTF8'), event(op, id, name, lsn, coalesce(big, '__debezium_unavailable_value')),
	CASE WHEN header <> '' THEN jsonb_build_array(jsonb_build_object('key', '__debezium.' || header,
		'value', format('{"id":%s}', other))) END
FROM (VALUES (1, 0, 'c', 5, 'e', 'E', 1020, '', 0), (2, 0, 'd', 5, NULL, NULL, 1021, 'newkey', 6),
	(3, 0, 'c', 5, 'again', 'other', 1022, '', 0), (4, 1, 'c', 6, 'e', NULL, 1021, 'oldkey', 5),
	(5, 1, 'c', 6, 'e', NULL, 1021, 'oldkey', 5)) e (n, p, op, id, name, big, lsn, header, other)
ORDER BY n;
SELECT events, quarantined FROM cdc_sync('w');
SELECT id, name, big, last_op FROM w_target WHERE id > 4 ORDER BY id;
-- and once more, alone in a sync: it is the last event of its partition
INSERT INTO w_debezium (kafka_partition, kafka_key, kafka_value, kafka_headers)
VALUES (1, '{"id":6}', event('c', 6, 'e', 1021, '__debezium_unavailable_value'),
	'[{"key": "__debezium.oldkey", "value": "{\"id\":5}"}]');
SELECT events, quarantined FROM cdc_sync('w');
SELECT id, name, big, last_op FROM w_target WHERE id > 4 ORDER BY id;
SELECT count(*) FROM cdcsync.moved;
SELECT cdc_drop('w', drop_target => true);

-- MySQL leaves values out, too (binlog_row_image): the two halves of a key change in
-- two syncs
CREATE TABLE m_target (id int PRIMARY KEY, name text, big text);
SELECT cdc_create('m', target => 'm_target');
CREATE FUNCTION mysql_event(op text, id int, name text, pos int, big text DEFAULT '__debezium_unavailable_value') RETURNS bytea
LANGUAGE sql AS $$
	SELECT convert_to(json_build_object('op', op,
		'before', CASE WHEN op = 'd' THEN json_build_object('id', id) END,
		'after', CASE WHEN op <> 'd' THEN json_build_object('id', id, 'name', name, 'big', big) END,
		'source', json_build_object('connector', 'mysql', 'ts_ms', pos * 1000, 'server_id', 1,
			'file', 'bin.000001', 'pos', pos, 'gtid', NULL))::text, 'UTF8')
$$;
INSERT INTO m_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', mysql_event('c', 1, 'a', 10, 'A'));
SELECT events FROM cdc_sync('m');
INSERT INTO m_debezium (kafka_key, kafka_value, kafka_headers)
VALUES ('{"id":1}', mysql_event('d', 1, NULL, 20), '[{"key": "__debezium.newkey", "value": "{\"id\":2}"}]'),
	('{"id":1}', NULL, '[{"key": "__debezium.newkey", "value": "{\"id\":2}"}]');
SELECT events, deleted FROM cdc_sync('m');
INSERT INTO m_debezium (kafka_key, kafka_value, kafka_headers)
VALUES ('{"id":2}', mysql_event('c', 2, 'b', 20), '[{"key": "__debezium.oldkey", "value": "{\"id\":1}"}]');
SELECT events, inserted, quarantined FROM cdc_sync('m');
SELECT * FROM m_target;
SELECT count(*) FROM cdcsync.moved;
SELECT cdc_drop('m', drop_target => true);

-- a row that began in the window, and takes another key, has nothing of the newer one
-- that the target has under its old key
CREATE TABLE b_target (id int PRIMARY KEY, name text, extra text DEFAULT 'as before');
SELECT cdc_create('b', target => 'b_target');
INSERT INTO b_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 1) p;
INSERT INTO b_debezium (kafka_partition, kafka_key, kafka_value)
VALUES (1, '{"id":1}', '{"op": "u", "after": {"id": 1, "name": "newer", "extra": "new"}, "source": {"ts_ms": 9000}}');
SELECT events FROM cdc_sync('b');
INSERT INTO b_debezium (kafka_partition, kafka_key, kafka_value)
VALUES (0, '{"id":1}', '{"op": "c", "after": {"id": 1, "name": "old"}, "source": {"ts_ms": 1000}}'),
	(0, '{"id":2}', '{"op": "u", "before": {"id": 1}, "after": {"id": 2, "name": "old"}, "source": {"ts_ms": 2000}}');
SELECT events FROM cdc_sync('b');
SELECT * FROM b_target ORDER BY id;
SELECT cdc_drop('b', drop_target => true);

-- what was sent again behind a record in quarantine was not applied either, when that
-- is looked at by the retry of one before it
CREATE TABLE r_target (id int PRIMARY KEY, name text, big text, CONSTRAINT gate CHECK (name <> 'closed'));
SELECT cdc_create('r', target => 'r_target', options => '{"max_quarantine_share": 1}');
INSERT INTO r_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 1) p;
INSERT INTO r_debezium (kafka_partition, kafka_key, kafka_value)
SELECT 1, convert_to(format('{"id":%s}', id), 'UTF8'), mysql_event('c', id, 'closed', id * 10, '') FROM unnest('{6,7,6,7}'::int[]) id;
SELECT events, quarantined FROM cdc_sync('r');
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'r' AND kafka_partition = 1;
ALTER TABLE r_target DROP CONSTRAINT gate;
SELECT * FROM cdc_retry('r', 1, 1);
SELECT * FROM r_target;
SELECT cdc_drop('r', drop_target => true);

-- Modes in which a change that is applied twice is there twice: events at the
-- very position that was applied last.  MySQL has one position for the rows of a
-- statement; what is sent again is in the order of the first time.
CREATE TABLE once_append (seq int GENERATED ALWAYS AS IDENTITY, id int, name text, op text);
CREATE TABLE once_history (id int, name text, valid_from timestamp, valid_to timestamp, current boolean);
CREATE INDEX ON once_history (id);
CREATE TABLE once_keyless (id int, name text);
SELECT cdc_create('oa', target => 'once_append', options => '{"mode": "append"}');
SELECT cdc_create('oh', target => 'once_history', options => '{"mode": "history", "landing": "oa_debezium"}', key => '{id}');
SELECT cdc_create('ok', target => 'once_keyless');
-- changes as "op id name"; the clock of the connector and the offsets differ each time
CREATE FUNCTION send(source jsonb, VARIADIC changes text[]) RETURNS TABLE (append bigint, history bigint, keyless bigint)
LANGUAGE plpgsql AS $$
BEGIN
	WITH sent AS (INSERT INTO oa_debezium (kafka_partition, kafka_key, kafka_value)
	SELECT 0, convert_to(format('{"id":%s}', w[2]), 'UTF8'), convert_to(json_build_object('op', w[1],
		'before', CASE WHEN w[1] = 'd' THEN json_build_object('id', w[2]::int, 'name', w[3]) END,
		'after', CASE WHEN w[1] <> 'd' THEN json_build_object('id', w[2]::int, 'name', w[3]) END,
		'source', jsonb_build_object('ts_ms', 1700000000000) || source, 'ts_ms', nextval('produced'))::text, 'UTF8')
	FROM unnest(changes) WITH ORDINALITY c, string_to_array(c.c, ' ') w ORDER BY c.ordinality
	RETURNING *)
	INSERT INTO ok_debezium (kafka_partition, kafka_value) SELECT 0, kafka_value FROM sent;
	PERFORM cdc_sync(p) FROM unnest('{oa,oh,ok}'::text[]) p;
	RETURN QUERY SELECT (SELECT count(*) FROM once_append), (SELECT count(*) FROM once_history), (SELECT count(*) FROM once_keyless);
END $$;
CREATE FUNCTION bin(pos int) RETURNS jsonb
RETURN jsonb_build_object('connector', 'mysql', 'server_id', 1, 'file', 'bin.000001', 'pos', pos);
SELECT * FROM send(bin(1), 'c 1 a');
-- a part of a statement, then a re-run that begins before it, with the rest
SELECT * FROM send(bin(2), 'c 2 x', 'c 3 x');
SELECT * FROM send(bin(1), 'c 1 a');
SELECT * FROM send(bin(2), 'c 2 x');
SELECT * FROM send(bin(2), 'c 3 x', 'c 4 x', 'c 5 x');
-- once more, and what comes then is new
SELECT * FROM send(bin(1), 'c 1 a');
SELECT * FROM send(bin(2), 'c 2 x', 'c 3 x', 'c 4 x', 'c 5 x', 'c 6 x');
-- a re-run that is cut short and begun again
SELECT * FROM send(bin(1), 'c 1 a');
SELECT * FROM send(bin(2), 'c 2 x', 'c 3 x');
SELECT * FROM send(bin(1), 'c 1 a');
SELECT * FROM send(bin(2), 'c 2 x', 'c 3 x', 'c 4 x');
SELECT * FROM send(bin(3), 'c 7 y');
-- equal rows: as many as there were the first time are left out
SELECT * FROM send(bin(4), 'c 8 z', 'c 8 z');
SELECT * FROM send(bin(3), 'c 7 y');
SELECT * FROM send(bin(4), 'c 8 z', 'c 8 z', 'c 8 z');
-- in doubt: nothing older was sent again, so it may be one more; or it is another
SELECT * FROM send(bin(5), 'c 9 z');
SELECT * FROM send(bin(5), 'c 9 z');
SELECT * FROM send(bin(4), 'c 8 z', 'c 8 z', 'c 8 z');
SELECT * FROM send(bin(5), 'c 9 other', 'c 9 z');
-- GTIDs: within one, positions do not tell what is older
CREATE FUNCTION gtid(no int, pos int) RETURNS jsonb RETURN bin(pos) || jsonb_build_object('gtid', 'a:' || no);
SELECT * FROM send(gtid(1, 100), 'c 10 a');
SELECT * FROM send(gtid(2, 200), 'c 11 a'), send(gtid(2, 300), 'c 12 a') s;
SELECT * FROM send(gtid(1, 100), 'c 10 a'), send(gtid(2, 200), 'c 11 a') r, send(gtid(2, 300), 'c 12 a') s,
	send(gtid(2, 400), 'c 13 a') t;
-- PostgreSQL: updates and deletes have a position each, and what follows one that
-- is sent again (the row of a key that has changed) is, too; inserts may be a COPY's,
-- which the key in Kafka tells apart
CREATE FUNCTION lsn(lsn int) RETURNS jsonb RETURN jsonb_build_object('connector', 'postgresql', 'sequence', format('["%s","%s"]', lsn, lsn));
SELECT * FROM send(lsn(1), 'd 13 a', 'c 14 a');
SELECT * FROM send(lsn(1), 'd 13 a', 'c 14 a');
SELECT * FROM send(lsn(2), 'c 15 a');
SELECT * FROM send(lsn(2), 'c 15 a');
SELECT * FROM send(lsn(2), 'c 18 a', 'd 18 a', 'c 18 a');
SELECT * FROM send(lsn(2), 'c 18 a');
-- MySQL tells the row within the statement: one that has come is not new, twice
-- neither; another row of the statement is
CREATE FUNCTION bin(pos int, "row" int) RETURNS jsonb RETURN bin(pos) || jsonb_build_object('row', "row");
SELECT * FROM send(bin(6, 0), 'c 15 b'), send(bin(6, 1), 'c 15 b') s;
SELECT * FROM send(bin(6, 1), 'c 15 b');
SELECT * FROM send(bin(6, 1), 'c 15 b', 'c 15 b');
SELECT * FROM send(bin(6, 0), 'c 15 b'), send(bin(6, 1), 'c 15 b') r, send(bin(6, 2), 'c 15 b') s;
SELECT * FROM send(bin(6, 3), 'c 19 b', 'd 19 b', 'c 19 b');
-- SQL Server: each event has a position
CREATE FUNCTION serial(n int) RETURNS jsonb RETURN jsonb_build_object('connector', 'sqlserver', 'db', 'd',
	'commit_lsn', '0000002b:00000310:0006', 'change_lsn', '0000002b:00000310:0005', 'event_serial_no', n);
SELECT * FROM send(serial(1), 'c 16 a');
SELECT * FROM send(serial(1), 'c 16 a');
SELECT * FROM send(serial(2), 'c 17 a');
-- Oracle: within a transaction each event has its number
CREATE FUNCTION scn(n int) RETURNS jsonb RETURN jsonb_build_object('connector', 'oracle', 'db', 'd',
	'scn', '2868546', 'commit_scn', '2868550', 'txId', '0a001b', 'txSeq', n);
SELECT * FROM send(scn(1), 'c 18 a');
SELECT * FROM send(scn(1), 'c 18 a');
SELECT * FROM send(scn(2), 'c 18 b');
-- what is kept is bounded
SELECT * FROM send(bin(10), 'c 20 a');
SELECT s.* FROM (SELECT array_agg('c ' || i || ' b') a FROM generate_series(21, 90) i) x, send(bin(11), VARIADIC a) s;
SELECT * FROM send(bin(10), 'c 20 a');
SELECT s.* FROM (SELECT array_agg('c ' || i || ' b') a FROM generate_series(21, 90) i) x, send(bin(11), VARIADIC a) s;
SELECT pipeline, resent, split_part(last_events, ' ', 2) AS expected, array_length(string_to_array(last_events, ' '), 1) - 2 AS kept
	FROM cdcsync.watermark WHERE pipeline IN ('oa', 'oh', 'ok') ORDER BY 1;
-- what stands further on in the log is new, though it is equal to the last one of its
-- key: a cascade that is not logged has deleted the row in between
CREATE FUNCTION gtid(no int, pos int, "row" int) RETURNS jsonb RETURN gtid(no, pos) || jsonb_build_object('row', "row");
SELECT * FROM send(gtid(3, 100, 0), 'c 101 a'), send(gtid(3, 200, 0), 'c 102 a') r, send(gtid(3, 300, 0), 'c 101 a') s;
-- .. and what stands before is not, also where an event has come that nobody knows
SELECT * FROM send(gtid(3, 100, 0), 'c 101 a');
SELECT * FROM send(gtid(3, 150, 0), 'c 103 a'), send(gtid(3, 200, 0), 'c 102 a') r, send(gtid(3, 300, 0), 'c 101 a') s;
-- .. or its key is written in two ways: without images nothing else tells the deletes apart
INSERT INTO oa_debezium (kafka_partition, kafka_key, kafka_value)
SELECT 0, convert_to(key, 'UTF8'), convert_to(json_build_object('op', op, 'after', after,
	'source', gtid(4, pos, 0) || '{"ts_ms": 1700000000000}', 'ts_ms', pos)::text, 'UTF8')
FROM (VALUES (100, 'd', '{"id":104}', NULL), (200, 'c', '{"id": 104}', json '{"id": 104, "name": "a"}'),
	(300, 'd', '{"id":104}', NULL)) e(pos, op, key, after);
SELECT events, inserted FROM cdc_sync('oh');
SELECT current, valid_from, valid_to FROM once_history WHERE id = 104;
SELECT string_agg(op || id, ' ' ORDER BY seq) FROM once_append WHERE id < 20;
SELECT string_agg(id || name, ' ' ORDER BY id, name) FROM once_keyless WHERE id < 20;
SELECT cdc_drop(p, drop_target => true) FROM unnest('{ok,oh,oa}'::text[]) p;

-- Truncates of several partitions in the modes that keep what is gone, and without a
-- key: at their place in the source's order.
CREATE TABLE ts_target (id int PRIMARY KEY, v text, op text, deleted_at timestamp, note text DEFAULT 'mine');
CREATE TABLE th_target (id int, v text, valid_from timestamp, valid_to timestamp, current bool);
CREATE INDEX ON th_target (id);
CREATE TABLE tk_target (id int, v text);
SELECT cdc_create('ts', target => 'ts_target', options => '{"mode": "soft_delete"}');
SELECT cdc_create('th', target => 'th_target', key => '{id}', options => '{"mode": "history", "landing": "ts_debezium"}');
SELECT cdc_create('tk', target => 'tk_target', options => '{"max_quarantine_share": 1}');
-- changes of a partition, as "op id value second"
CREATE PROCEDURE bring(partition int, VARIADIC changes text[]) LANGUAGE plpgsql AS $$
BEGIN
	WITH e AS (SELECT c.ordinality AS n, w[1] AS op, nullif(w[2], '-') AS id, w[3] AS v, w[4]::int AS at,
			jsonb_build_object('id', w[2], 'v', w[3]) AS row
		FROM unnest(changes) WITH ORDINALITY c, string_to_array(c.c, ' ') w),
	sent AS (INSERT INTO ts_debezium (kafka_partition, kafka_key, kafka_value)
		SELECT partition, convert_to(format('{"id":%s}', id), 'UTF8'), convert_to(jsonb_build_object('op', op,
			'before', CASE WHEN op = 'd' THEN row END, 'after', CASE WHEN op IN ('c', 'u') THEN row END, 'source',
			jsonb_build_object('connector', 'postgresql', 'ts_ms', at * 1000, 'sequence', format('["%s","%s"]', at, at)))::text, 'UTF8')
		FROM e ORDER BY n RETURNING kafka_value)
	INSERT INTO tk_debezium (kafka_partition, kafka_value) SELECT partition, kafka_value FROM sent;
	PERFORM cdc_sync(p) FROM unnest('{ts,th,tk}'::text[]) p;
END $$;
CREATE VIEW brought AS
	SELECT (SELECT string_agg(concat_ws(' ', id, v, op, to_char(deleted_at, 'SS')), ', ' ORDER BY id) FROM ts_target) AS soft_delete,
		(SELECT string_agg(format('%s %s %s-%s', id, v, to_char(valid_from, 'SS'), CASE WHEN NOT current THEN to_char(valid_to, 'SS') END), ', '
			ORDER BY id, valid_from) FROM th_target) AS history,
		(SELECT string_agg(format('%s %s', id, v), ', ' ORDER BY id, v) FROM tk_target) AS keyless,
		(SELECT count(*) FROM cdcsync.quarantine WHERE pipeline IN ('ts', 'th', 'tk')) AS bad;
\x on
INSERT INTO ts_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 2) p;
INSERT INTO tk_debezium (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 2) p;
CALL bring(0, 'c 1 a 01', 'c 2 b 02', 'c 3 c 03', 'c 1 new 21');
SELECT * FROM brought;
-- what is older goes, what is newer stays, though it came before
CALL bring(1, 't - - 10');
SELECT * FROM brought;
-- stragglers: a row that was not there yet, a value of one that is gone, a delete
CALL bring(2, 'c 5 old 05', 'c 3 late 06', 'd 2 b 07');
SELECT * FROM brought;
-- an older truncate; and two in one window
CALL bring(2, 't - - 08');
SELECT * FROM brought;
CALL bring(2, 'c 6 f 30', 't - - 31', 'c 6 g 32', 't - - 33', 'c 7 h 34');
SELECT * FROM brought;
-- a create behind its delete makes the row as it was
CALL bring(0, 'd 8 x 42');
CALL bring(1, 'c 8 x 41');
SELECT * FROM brought;
\x off
SELECT pipeline, kind, kafka_partition, kafka_offset, changed_at FROM cdcsync.barrier WHERE pipeline IN ('ts', 'th', 'tk') AND kind = 'truncate' ORDER BY 1;
SELECT p, inserted, updated, deleted FROM unnest('{ts,th,tk}'::text[]) p, cdc_resync(p);
DROP VIEW brought;
SELECT cdc_drop(p, drop_target => true) FROM unnest('{tk,th,ts}'::text[]) p;

DROP TABLE child;
SELECT cdc_drop('o', drop_target => true);
SELECT count(*) FROM cdcsync.barrier WHERE pipeline = 'o';
DROP SCHEMA order_test CASCADE;
