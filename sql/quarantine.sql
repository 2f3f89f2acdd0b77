-- Records in quarantine: chains, retry, discard, waiting, the breaker.
CREATE SCHEMA quarantine_test;
SET search_path = quarantine_test, public;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;

CREATE FUNCTION ev(op text, after jsonb, before jsonb DEFAULT NULL, source jsonb DEFAULT '{}') RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(jsonb_build_object('before', before, 'after', after, 'op', op, 'ts_ms', 1,
	'source', '{"connector": "postgresql", "snapshot": "false"}'::jsonb || source)::text, 'UTF8') $$;
CREATE FUNCTION key(id int) RETURNS bytea LANGUAGE sql AS
$$ SELECT convert_to(format('{"id":%s}', id), 'UTF8') $$;
CREATE FUNCTION sync(name text, OUT events bigint, OUT inserted bigint, OUT updated bigint, OUT deleted bigint,
	OUT quarantined bigint) LANGUAGE sql AS
$$ SELECT events, inserted, updated, deleted, quarantined FROM cdc_sync(name) $$;
CREATE VIEW bad AS SELECT pipeline, kafka_partition AS part, kafka_offset AS "offset", convert_from(kafka_key, 'UTF8') AS key,
	state, column_name, sqlstate, message, blocked_by FROM cdcsync.quarantine ORDER BY pipeline, kafka_partition, kafka_offset, old_key DESC;

-- a chain: a bad record, and changes that leave values out, in other windows too
CREATE TABLE q_target (id int PRIMARY KEY, n int, a text, b text);
SELECT cdc_create('q', target => 'q_target', options => '{"max_quarantine_share": 1}');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('c', '{"id":1,"n":1,"a":"a1","b":"b1"}')), (key(2), ev('c', '{"id":2,"n":1,"a":"a1","b":"b1"}'));
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":1,"n":"x!","a":"a2"}'));
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":1,"b":"b3"}')), (key(2), ev('u', '{"id":2,"n":2}'));
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":1,"a":"a4"}'));
SELECT * FROM sync('q');
SELECT * FROM bad;
SELECT * FROM q_target ORDER BY id;
-- in vain
SELECT quarantined_at AS at FROM cdcsync.quarantine WHERE kafka_offset = 2 \gset
SELECT * FROM cdc_retry('q');
SELECT * FROM cdc_retry('q', 0, 4);
SELECT * FROM bad;
SELECT quarantined_at = :'at' AS its_time FROM cdcsync.quarantine WHERE kafka_offset = 2;
-- when the target takes it the chain is applied in its order
ALTER TABLE q_target ALTER n TYPE text;
BEGIN;
SELECT * FROM cdc_retry('q', 0, 5);
SELECT * FROM q_target ORDER BY id;
ROLLBACK;
SELECT * FROM q_target ORDER BY id;
SELECT count(*) FROM bad;
SELECT * FROM cdc_retry('q');
SELECT * FROM q_target ORDER BY id;
SELECT * FROM bad;
SELECT * FROM cdc_retry('q');

-- a record that was retried in a sync that is rolled back is there as before; a
-- paused pipeline's records can be retried; the bytes are kept without the landing
ALTER TABLE q_target ALTER n TYPE int USING 0;
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES (key(3), ev('c', '{"id":3,"n":"three","a":"a","b":"b"}'));
SELECT * FROM sync('q');
DELETE FROM q_debezium_chunk;
SELECT cdc_pause('q');
ALTER TABLE q_target ALTER n TYPE text;
SELECT * FROM cdc_retry('q', 0, 6);
SELECT * FROM q_target WHERE id = 3;
SELECT cdc_resume('q');

-- a full image, a delete and a truncate supersede: nothing is left to retry, and
-- nothing old comes back
ALTER TABLE q_target ALTER n TYPE int USING 0;
INSERT INTO q_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('u', jsonb_build_object('id', i, 'n', 'x', 'a', 'old', 'b', 'old')) FROM generate_series(1, 4) i;
SELECT * FROM sync('q');
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', '{"id":1,"n":10,"a":"new","b":"new"}')), (key(2), ev('d', NULL, '{"id":2}'));
SELECT * FROM sync('q');
SELECT "offset", key FROM bad;
ALTER TABLE q_target ALTER n TYPE text;
INSERT INTO q_debezium (kafka_key, kafka_value) VALUES (NULL, ev('t', NULL)), (key(5), ev('c', '{"id":5,"n":5,"a":"a","b":"b"}'));
SELECT * FROM sync('q');
SELECT * FROM cdc_retry('q');
SELECT * FROM q_target ORDER BY id;

-- Where rows that are gone are kept, a truncate removes what is bad before it just
-- so: of earlier windows, of its own, and what comes behind it from another partition.
CREATE TABLE ts_target (id int PRIMARY KEY, n int, op text, deleted_at timestamp);
CREATE TABLE th_target (id int, n int CHECK (n <> 13), valid_from timestamp, valid_to timestamp, current bool);
CREATE INDEX ON th_target (id);
SELECT cdc_create('ts', target => 'ts_target', options => '{"mode": "soft_delete", "max_quarantine_share": 1}');
SELECT cdc_create('th', target => 'th_target', key => '{id}', options => '{"mode": "history", "landing": "ts_debezium", "max_quarantine_share": 1}');
-- changes of a partition, as "op id n second"
CREATE PROCEDURE bring(partition int, VARIADIC changes text[]) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ts_debezium (kafka_partition, kafka_key, kafka_value)
		SELECT partition, CASE WHEN w[1] <> 't' THEN convert_to(format('{"id":%s}', w[2]), 'UTF8') END,
			convert_to(jsonb_build_object('op', w[1], 'after', CASE WHEN w[1] <> 't' THEN jsonb_build_object('id', w[2]::int, 'n', w[3]) END,
				'source', jsonb_build_object('connector', 'postgresql', 'ts_ms', w[4]::int * 1000, 'sequence', format('["%s","%s"]', w[4], w[4])))::text, 'UTF8')
		FROM unnest(changes) WITH ORDINALITY c, string_to_array(c.c, ' ') w ORDER BY c.ordinality;
	PERFORM cdc_sync(p) FROM unnest('{ts,th}'::text[]) p;
END $$;
CREATE FUNCTION brought(OUT soft_delete text, OUT history text, OUT bad text) LANGUAGE sql AS $$
	SELECT (SELECT string_agg(concat_ws(' ', id, n, op, to_char(deleted_at, 'SS')), ', ' ORDER BY id) FROM ts_target),
		(SELECT string_agg(format('%s %s %s-%s', id, n, to_char(valid_from, 'SS'), CASE WHEN NOT current THEN to_char(valid_to, 'SS') END), ', '
			ORDER BY id, valid_from) FROM th_target),
		(SELECT string_agg(concat_ws(' ', pipeline, kafka_partition, kafka_offset, state), ', ' ORDER BY pipeline, kafka_partition, kafka_offset)
			FROM cdcsync.quarantine WHERE pipeline IN ('ts', 'th')) $$;
\x on
CALL bring(0, 'c 1 1 01', 'c 2 x 02', 'c 3 3 03', 'u 3 x 04');
SELECT * FROM brought();
CALL bring(0, 't - - 10', 'c 4 4 11');
SELECT * FROM brought();
-- one window: what comes after the truncate does not wait for what was bad before it
CALL bring(0, 'c 5 x 12', 'u 4 x 13', 'c 7 13 13', 't - - 14', 'c 5 5 15', 'c 6 x 16', 'c 7 7 17');
SELECT * FROM brought();
-- what is left is tried again when the reason has gone
ALTER TABLE ts_target ALTER n TYPE text;
ALTER TABLE th_target DROP CONSTRAINT th_target_n_check, ALTER n TYPE text;
SELECT p, r.* FROM unnest('{ts,th}'::text[]) p, cdc_retry(p) r;
SELECT * FROM brought();
-- three partitions, the second of which is behind
ALTER TABLE ts_target ALTER n TYPE int USING nullif(n, 'x')::int;
ALTER TABLE th_target ALTER n TYPE int USING nullif(n, 'x')::int;
CALL bring(1, 'c 10 x 20', 'c 11 1 20');
CALL bring(2, 'c 12 x 21');
CALL bring(0, 't - - 30', 'c 13 x 31');
SELECT * FROM brought();
CALL bring(1, 'u 10 x 22', 'c 14 x 32');
CALL bring(2, 'c 15 x 23', 'c 16 6 33');
SELECT * FROM brought();
SELECT count(*) FROM cdcsync.barrier WHERE pipeline IN ('ts', 'th') AND kind = 'truncate';
ALTER TABLE ts_target ALTER n TYPE text;
ALTER TABLE th_target ALTER n TYPE text;
SELECT p, r.* FROM unnest('{ts,th}'::text[]) p, cdc_retry(p) r;
SELECT * FROM brought();
\x off
DROP FUNCTION brought;
SELECT cdc_drop(p, drop_target => true) FROM unnest('{th,ts}'::text[]) p;

-- the row is known by the target's key: another spelling, no Kafka key, a Kafka
-- key that is not the row's
CREATE TABLE k_target (id numeric PRIMARY KEY, n int);
SELECT cdc_create('k', target => 'k_target', options => '{"max_quarantine_share": 1}');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', ev('c', '{"id":1,"n":"x"}')), (NULL, ev('c', '{"id":2,"n":"x"}')),
	('{"region":7}', ev('c', '{"id":3,"n":"x"}')), ('{"id":"4"}', '{"op":"c","after":{"id":4,'), (NULL, ev('c', '{"id":5,"n":"x"}'));
SELECT * FROM sync('k');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES
	('{"id":1.0}', convert_to('{"op":"u","after":{"id":1.00,"n":1}}', 'UTF8')), (NULL, ev('u', '{"id":2,"n":2}')),
	('{"region":7}', ev('c', '{"id":6,"n":6}')), ('{"id":4}', ev('d', NULL, '{"id":4,"n":0}')), (NULL, ev('u', '{"id":5}'));
SELECT * FROM sync('k');
SELECT "offset", key, state, blocked_by FROM bad;
SELECT * FROM k_target ORDER BY id;
-- a hash of the server's is no key: those of 1 and -1 are the same
CREATE TABLE n_target (id numeric PRIMARY KEY, n int);
SELECT cdc_create('n', target => 'n_target', options => '{"max_quarantine_share": 1}');
INSERT INTO n_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', '{"id":1,"n":"x"}')), (key(-2), ev('c', '{"id":-2,"n":"x"}'));
SELECT * FROM sync('n');
INSERT INTO n_debezium (kafka_key, kafka_value) VALUES (key(-1), ev('c', '{"id":-1,"n":1}')), (key(-2), convert_to('{"op":"u","after":{"id":-2.0,"n":2}}', 'UTF8'));
SELECT * FROM sync('n');
SELECT "offset", key FROM bad WHERE pipeline = 'n';
SELECT cdc_drop('n');
-- and still when the key's type has changed, and by another mapping
ALTER TABLE k_target ALTER id TYPE text;
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES ('{"region":7}', ev('u', '{"id":3,"n":33}'));
SELECT * FROM sync('k');
SELECT "offset" FROM bad;
SELECT cdc_alter('k', columns => '{"id": "key", "n": "n"}');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES (NULL, convert_to('{"op":"u","after":{"key":7,"n":7}}', 'UTF8'));
SELECT * FROM sync('k');
SELECT cdc_alter('k', columns => '{}');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES (NULL, ev('u', '{"id":5,"n":55}'));
SELECT * FROM sync('k');
SELECT "offset" FROM bad;
SELECT * FROM k_target ORDER BY id;

-- records that came before the mapping that reads their keys: what is newer stays
SELECT cdc_alter('k', columns => '{"id": "key", "n": "n"}');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES (NULL, ev('c', '{"id":8,"n":1}')), (NULL, ev('c', '{"id":9,"n":1}'));
SELECT * FROM sync('k');
SELECT cdc_alter('k', columns => '{}');
INSERT INTO k_debezium (kafka_key, kafka_value) VALUES (NULL, ev('u', '{"id":8,"n":2}'));
SELECT * FROM sync('k');
SELECT * FROM cdc_retry('k');
SELECT * FROM k_target WHERE id >= '8' ORDER BY id;

-- a column that nothing in the window sets: the quarantined record tells
CREATE TABLE c_target (id int PRIMARY KEY, n int, a text, own text);
SELECT cdc_create('c', target => 'c_target', options => '{"max_quarantine_share": 1}');
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', '{"id":1,"n":"x","a":"a"}')), (key(2), ev('c', '{"id":2,"n":"x","a":"a"}'));
SELECT * FROM sync('c');
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":1,"a":"b"}'));
SELECT * FROM sync('c');
INSERT INTO c_debezium (kafka_key, kafka_value) VALUES (key(2), ev('u', '{"id":2,"a":"b","n":2}'));
SELECT * FROM sync('c');
SELECT "offset", state, blocked_by FROM bad WHERE pipeline = 'c';
SELECT * FROM c_target;

-- another partition: by the source's position, whatever comes first
CREATE TABLE p_target (id int PRIMARY KEY, n int);
SELECT cdc_create('p', target => 'p_target', options => '{"max_quarantine_share": 1}');
CREATE FUNCTION pos(lsn int) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('lsn', lsn, 'sequence', format('["%s","%s"]', lsn, lsn), 'ts_ms', lsn) $$;
INSERT INTO p_debezium (kafka_partition, kafka_key, kafka_value) VALUES
	(0, key(1), ev('u', '{"id":1,"n":"x"}', NULL, pos(50))), (0, key(2), ev('u', '{"id":2,"n":"x"}', NULL, pos(51)));
SELECT * FROM sync('p');
INSERT INTO p_debezium (kafka_partition, kafka_key, kafka_value) VALUES
	(1, key(1), ev('u', '{"id":1,"n":40}', NULL, pos(40))), (1, key(2), ev('u', '{"id":2,"n":60}', NULL, pos(60)));
SELECT * FROM sync('p');
SELECT "offset", key FROM bad WHERE pipeline = 'p';
SELECT * FROM p_target ORDER BY id;

-- a key change in one event: its halves fail, and are retried, each for itself
CREATE TABLE r_target (id int PRIMARY KEY, n int);
CREATE TABLE r_ref (id int REFERENCES r_target);
SELECT cdc_create('r', target => 'r_target', options => '{"max_quarantine_share": 1}');
INSERT INTO r_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', '{"id":1,"n":1}')), (key(3), ev('c', '{"id":3,"n":3}'));
SELECT * FROM sync('r');
INSERT INTO r_ref VALUES (3);
INSERT INTO r_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('u', '{"id":2,"n":"x"}', '{"id":1,"n":1}')),	-- the new row is bad
	(key(3), ev('u', '{"id":4,"n":4}', '{"id":3,"n":3}'));	-- the old row cannot go
SELECT * FROM sync('r');
SELECT "offset", state, sqlstate FROM bad WHERE pipeline = 'r';
SELECT * FROM r_target ORDER BY id;
-- newer rows under the other half's key stay
INSERT INTO r_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', '{"id":1,"n":11}')), (key(4), ev('u', '{"id":4,"n":44}'));
SELECT * FROM sync('r');
ALTER TABLE r_target ALTER n TYPE text;
DELETE FROM r_ref;
SELECT * FROM cdc_retry('r');
SELECT * FROM r_target ORDER BY id;
-- both halves fail
INSERT INTO r_ref VALUES (1);
ALTER TABLE r_target ALTER n TYPE int USING 0;
INSERT INTO r_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":9,"n":"x"}', '{"id":1,"n":1}'));
SELECT * FROM sync('r');
SELECT "offset", state, sqlstate FROM bad WHERE pipeline = 'r';
DELETE FROM r_ref;
ALTER TABLE r_target ALTER n TYPE text;
SELECT * FROM cdc_retry('r');
SELECT * FROM r_target ORDER BY id;

-- a discarded record is gone; what waits behind it is applied to what there is
CREATE TABLE d_target (id int PRIMARY KEY, n int, a text DEFAULT 'none');
SELECT cdc_create('d', target => 'd_target', options => '{"max_quarantine_share": 1}');
INSERT INTO d_debezium (kafka_key, kafka_value) VALUES (key(1), ev('c', '{"id":1,"n":1,"a":"a1"}')),
	(key(2), ev('c', '{"id":2,"n":"x"}')), (key(3), ev('c', '{"id":3,"n":"x"}'));
SELECT * FROM sync('d');
INSERT INTO d_debezium (kafka_key, kafka_value) VALUES (key(1), ev('u', '{"id":1,"n":"x","a":"a2"}')), (key(1), ev('u', '{"id":1,"a":"a3"}'));
SELECT * FROM sync('d');
SELECT "offset", state, blocked_by FROM bad WHERE pipeline = 'd';
SELECT exact FROM cdc_status WHERE pipeline = 'd';
SELECT cdc_discard('d', 0, 3);
SELECT * FROM d_target ORDER BY id;
SELECT "offset", state, blocked_by FROM bad WHERE pipeline = 'd';
SELECT exact FROM cdc_status WHERE pipeline = 'd';
SELECT cdc_discard('d');
SELECT * FROM bad WHERE pipeline = 'd';
SELECT cdc_discard('d');

-- what only shows why the breaker tripped is read again
CREATE TABLE b_target (id int PRIMARY KEY, n int);
SELECT cdc_create('b', target => 'b_target');
INSERT INTO b_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i % 4 = 0 THEN '7' WHEN i % 4 = 1 THEN '70000000000' ELSE 'x' END)) FROM generate_series(1, 40) i;
SELECT * FROM sync('b');
SELECT state, reason, sqlstate, quarantined FROM cdc_status WHERE pipeline = 'b';
SELECT * FROM cdc_retry('b');
SELECT * FROM cdc_retry('b', 0, 0);
SELECT cdc_discard('b', 0, 1);
SELECT exact FROM cdc_status WHERE pipeline = 'b';
ALTER TABLE b_target ALTER n TYPE text;
SELECT cdc_resume('b');
SELECT * FROM sync('b');
SELECT count(*) FROM b_target;
SELECT count(*) FROM bad WHERE pipeline = 'b';

-- the breaker does not depend on where windows are cut: one record a sync
CREATE TABLE w_target (id int PRIMARY KEY, n int);
SELECT cdc_create('w', target => 'w_target');
DO $$ BEGIN
	FOR i IN 1..300 LOOP
		INSERT INTO w_debezium (kafka_key, kafka_value)
			VALUES (key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i % 8 = 0 THEN 'x' ELSE '1' END)));
		PERFORM cdc_sync('w');
		EXIT WHEN (SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'w');
	END LOOP;
END $$;
SELECT max(id) AS last FROM w_target;
SELECT reason FROM cdc_status WHERE pipeline = 'w';
SELECT cdc_resume('w');
SELECT * FROM sync('w');
SELECT state FROM cdc_status WHERE pipeline = 'w';
SELECT begun, bad FROM cdcsync.breaker WHERE pipeline = 'w';
CREATE TABLE v_target (id int PRIMARY KEY, n int);
SELECT cdc_create('v', target => 'v_target');
INSERT INTO v_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i % 8 = 0 THEN 'x' ELSE '1' END)) FROM generate_series(1, 300) i;
SELECT * FROM sync('v');
SELECT reason FROM cdc_status WHERE pipeline = 'v';
-- a burst that is over a share of 1,000 records, though not of the window
CREATE TABLE x_target (id int PRIMARY KEY, n int);
SELECT cdc_create('x', target => 'x_target');
INSERT INTO x_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i BETWEEN 3001 AND 3101 THEN 'x' ELSE '1' END)) FROM generate_series(1, 6000) i;
SELECT * FROM sync('x');
-- and as many that are spread
SELECT cdc_drop('x');
TRUNCATE x_target;
SELECT cdc_create('x', target => 'x_target');
INSERT INTO x_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i % 50 = 0 THEN 'x' ELSE '1' END)) FROM generate_series(1, 6000) i;
SELECT * FROM sync('x');
-- the share itself is not more than it, as it is written
SELECT cdc_drop('x');
TRUNCATE x_target;
SELECT cdc_create('x', target => 'x_target', options => '{"max_quarantine_share": 0.29}');
INSERT INTO x_debezium (kafka_key, kafka_value)
	SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', CASE WHEN i > 71 THEN 'x' ELSE '1' END)) FROM generate_series(1, 100) i;
SELECT * FROM sync('x');

-- a bad full image hides nothing of what was before it in its window: in one window
-- of all the row is as after windows of one record each
CREATE FUNCTION compare_windows(histories jsonb, soft boolean DEFAULT false, parts int DEFAULT 1)
	RETURNS TABLE (history text, same boolean, of_target text, of_bad text) LANGUAGE plpgsql AS $$
DECLARE
	h record;
	e record;
	result text[];
	options jsonb := '{"max_quarantine_share": 1}'::jsonb || CASE WHEN soft THEN '{"mode": "soft_delete"}' ELSE '{}' END::jsonb;
BEGIN
	FOR h IN SELECT * FROM jsonb_each(histories) LOOP
		result := '{}';
		FOR way IN 1 .. 2 LOOP
			CREATE TABLE f_target (id int PRIMARY KEY, n int CHECK (n < 1000), a text);
			IF soft THEN
				ALTER TABLE f_target ADD deleted_at timestamp;
			END IF;
			PERFORM cdc_create('f', target => 'f_target', options => options);
			FOR e IN SELECT * FROM jsonb_array_elements(h.value) WITH ORDINALITY AS x (v, no) LOOP
				INSERT INTO f_debezium (kafka_partition, kafka_offset, kafka_key, kafka_value)
					SELECT e.no % parts, e.no, key(1), ev(e.v->>0,
						CASE WHEN e.v->>0 <> 'd' THEN '{"id": 1}'::jsonb || (e.v->1) END,
						CASE WHEN e.v->>0 = 'd' THEN '{"id": 1}'::jsonb END,
						jsonb_build_object('lsn', e.no, 'ts_ms', e.no));
				IF way = 2 THEN
					PERFORM cdc_sync('f');
				END IF;
			END LOOP;
			PERFORM cdc_sync('f');
			SELECT string_agg(concat_ws(',', id, coalesce(n::text, '-'), coalesce(a, '-'), to_jsonb(t)->>'deleted_at' IS NOT NULL), ' ') INTO of_target FROM f_target t;
			SELECT string_agg(concat_ws(',', "offset", column_name, blocked_by), ' ' ORDER BY "offset") INTO of_bad FROM bad WHERE pipeline = 'f';
			result := result || concat_ws(' / ', of_target, of_bad);
			PERFORM cdc_drop('f');
			DROP TABLE f_target;
			EXECUTE 'DROP TABLE IF EXISTS f_debezium';
		END LOOP;
		history := h.key;
		same := result[1] = result[2];
		RETURN NEXT;
		IF NOT same THEN
			RAISE WARNING '% : % instead of %', h.key, result[1], result[2];
		END IF;
	END LOOP;
END $$;
\set histories '{"c u!": [["c", {"n": 1, "a": "x"}], ["u", {"n": "bad", "a": "y"}]], "c u! partial": [["c", {"n": 1, "a": "x"}], ["u", {"n": "bad", "a": "y"}], ["u", {"a": "z"}]], "c u! u": [["c", {"n": 1, "a": "x"}], ["u", {"n": "bad", "a": "y"}], ["u", {"n": 3, "a": "z"}]], "c c!": [["c", {"n": 1, "a": "x"}], ["c", {"n": "bad", "a": "y"}]], "d c!": [["c", {"n": 1, "a": "x"}], ["d", null], ["c", {"n": "bad", "a": "y"}]], "c u u! u!": [["c", {"n": 1, "a": "x"}], ["u", {"n": 2, "a": "y"}], ["u", {"n": "bad", "a": "z"}], ["u", {"n": "worse", "a": "z"}]], "c d c! partial": [["c", {"n": 1, "a": "x"}], ["d", null], ["c", {"n": "bad", "a": "y"}], ["u", {"a": "z"}]], "c u! d c": [["c", {"n": 1, "a": "x"}], ["u", {"n": "bad", "a": "y"}], ["d", null], ["c", {"n": 4, "a": "z"}]], "c partial u!": [["c", {"n": 1, "a": "x"}], ["u", {"a": "y"}], ["u", {"n": "bad", "a": "z"}]], "c! partial": [["c", {"n": "bad", "a": "x"}], ["u", {"a": "y"}]]}'
SELECT * FROM compare_windows(:'histories');
SELECT * FROM compare_windows(:'histories', parts => 2);
SELECT * FROM compare_windows(:'histories', parts => 3);
SELECT * FROM compare_windows(:'histories', soft => true);
-- .. whatever number of changes the row is made of
SELECT jsonb_build_object('many', changes, 'many and bad', jsonb_set(changes, '{13}', '["u", {"n": "bad"}]'), 'many and refused', jsonb_set(changes, '{13}', '["u", {"n": 1000}]')) AS many
FROM (SELECT jsonb '[["c", {"n": 1, "a": "x"}]]' || jsonb_agg(jsonb_build_array('u', CASE WHEN i % 2 = 0 AND i < 13 THEN jsonb_build_object('n', i) ELSE jsonb_build_object('a', i) END) ORDER BY i) AS changes FROM generate_series(1, 30) i) x \gset
SELECT history, same, of_target FROM compare_windows(:'many');
SELECT history, same, of_target FROM compare_windows(:'many', parts => 2);
-- nor does one that the target refuses, but a deleted row takes nothing with it
\set refused '{"c u#": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000, "a": "y"}]], "c u# partial": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000, "a": "y"}], ["u", {"a": "z"}]], "c u# u": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000, "a": "y"}], ["u", {"n": 3, "a": "z"}]], "c partial# u": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000}]], "c d c#": [["c", {"n": 1, "a": "x"}], ["d", null], ["c", {"n": 1000, "a": "y"}]], "c u u# u!": [["c", {"n": 1, "a": "x"}], ["u", {"n": 2, "a": "y"}], ["u", {"n": 1000, "a": "z"}], ["u", {"n": "bad", "a": "z"}]], "c u# d c": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000, "a": "y"}], ["d", null], ["c", {"n": 4, "a": "z"}]], "c u! d": [["c", {"n": 1, "a": "x"}], ["u", {"n": "bad", "a": "y"}], ["d", null]], "c u# d": [["c", {"n": 1, "a": "x"}], ["u", {"n": 1000, "a": "y"}], ["d", null]], "c u u! partial d": [["c", {"n": 1, "a": "x"}], ["u", {"n": 2, "a": "y"}], ["u", {"n": "bad", "a": "z"}], ["u", {"a": "zz"}], ["d", null]]}'
SELECT * FROM compare_windows(:'refused');
SELECT * FROM compare_windows(:'refused', parts => 2);
SELECT * FROM compare_windows(:'refused', soft => true);
-- a row that was there is deleted, and what came after it waits
CREATE TABLE f_target (id int PRIMARY KEY, n int, a text);
SELECT cdc_create('f', target => 'f_target', options => '{"max_quarantine_share": 1}');
INSERT INTO f_debezium (kafka_key, kafka_value) SELECT key(i), ev('c', jsonb_build_object('id', i, 'n', i, 'a', 'old')) FROM generate_series(1, 3) i;
SELECT * FROM sync('f');
INSERT INTO f_debezium (kafka_key, kafka_value) VALUES
	(key(1), ev('d', NULL, '{"id": 1}')), (key(1), ev('c', '{"id": 1, "n": "bad", "a": "new"}')),
	(key(2), ev('u', '{"id": 2, "n": 20, "a": "good"}')), (key(2), ev('u', '{"id": 2, "n": "bad", "a": "y"}')),
	(key(3), ev('u', '{"id": 3, "n": 30, "a": "good"}')), (key(3), ev('u', '{"id": 3, "n": "bad", "a": "y"}')),
	(key(3), ev('u', '{"id": 3, "a": "part"}'));
SELECT events, staged, quarantined FROM cdc_sync('f', 1);
SELECT * FROM f_target ORDER BY id;
SELECT * FROM bad WHERE pipeline = 'f';
-- discarded, or tried again when the target takes them
SELECT cdc_discard('f', 0, 6);
SELECT * FROM f_target ORDER BY id;
ALTER TABLE f_target ALTER n TYPE text;
SELECT * FROM cdc_retry('f');
SELECT * FROM f_target ORDER BY id;
SELECT * FROM bad WHERE pipeline = 'f';
-- several bad changes of a key, one on the other
ALTER TABLE f_target ALTER n TYPE int USING 0;
INSERT INTO f_debezium (kafka_key, kafka_value) SELECT key(4), ev('u', jsonb_build_object('id', 4, 'n', CASE WHEN i < 3 THEN i::text ELSE 'bad' END, 'a', i)) FROM generate_series(1, 9) i;
SELECT * FROM sync('f');
SELECT * FROM f_target WHERE id = 4;
-- a delete that the target refuses, and a bad row behind one that has come by a
-- key change, hide nothing either
TRUNCATE f_target;
SELECT cdc_discard('f');
INSERT INTO f_target VALUES (5, 1, 'old'), (6, 1, 'old');
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'row % is to stay', OLD.id; END $$;
CREATE TRIGGER keep BEFORE DELETE ON f_target FOR EACH ROW WHEN (OLD.id = 5) EXECUTE FUNCTION keep();
INSERT INTO f_debezium (kafka_key, kafka_value) VALUES
	(key(5), ev('u', '{"id": 5, "n": "2", "a": "new"}')), (key(5), ev('d', NULL, '{"id": 5}')), (key(5), NULL),
	(key(7), ev('u', '{"id": 7, "n": "7", "a": "moved"}', '{"id": 6}')), (key(7), ev('u', '{"id": 7, "n": "bad", "a": "y"}'));
SELECT * FROM sync('f');
SELECT * FROM f_target ORDER BY id;
SELECT "offset", sqlstate, column_name, message FROM bad WHERE pipeline = 'f';
DROP TRIGGER keep ON f_target;
SELECT cdc_discard('f', 0, "offset") FROM bad WHERE pipeline = 'f' AND column_name IS NOT NULL;
SELECT * FROM cdc_retry('f');
SELECT * FROM f_target ORDER BY id;

-- errors and privileges
SELECT cdc_retry(NULL);
SELECT cdc_discard(NULL);
SELECT cdc_retry('nothing');
SELECT cdc_discard('nothing');
SELECT cdc_retry('q', 0);
SELECT cdc_discard('q', NULL, 0);
SELECT cdc_retry('q', 0, 12345);
SELECT cdc_discard('q', 7, 0);
CREATE ROLE cdc_quarantine_other;
GRANT USAGE ON SCHEMA quarantine_test TO cdc_quarantine_other;
SET ROLE cdc_quarantine_other;
SELECT cdc_retry('c');
SELECT cdc_discard('c');
SELECT count(*) FROM cdcsync.quarantine;
DELETE FROM cdcsync.quarantine;
SELECT count(*) FROM cdcsync.breaker;
RESET ROLE;
REVOKE USAGE ON SCHEMA quarantine_test FROM cdc_quarantine_other;
DROP ROLE cdc_quarantine_other;
SELECT count(*) > 0 AS there FROM bad WHERE pipeline = 'c';
-- a pipeline that finds itself in another database
UPDATE cdcsync.pipeline SET stamp_database = 1 WHERE name = 'c';
SELECT cdc_retry('c');
SELECT cdc_discard('c');

SET client_min_messages = error;
SELECT cdc_drop(p) FROM unnest('{q,k,c,p,r,d,b,w,v,x,f}'::text[]) p;
SELECT count(*) FROM cdcsync.quarantine;
SELECT count(*) FROM cdcsync.breaker;
DROP SCHEMA quarantine_test CASCADE;
