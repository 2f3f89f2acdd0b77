-- a target against its source
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE ROLE regress_cdc_verifier;
CREATE SCHEMA verify_test;
GRANT USAGE, CREATE ON SCHEMA verify_test TO regress_cdc_verifier;
SET search_path = verify_test, public;
CREATE TABLE src ("ID" bigint PRIMARY KEY, "NAME" varchar(40), amount numeric, doc json, at timestamp);
CREATE TABLE t (id int PRIMARY KEY, title text, amount numeric(10,2), doc json, at timestamp, refresh_time timestamp, note text DEFAULT 'mine');
SELECT cdc_create('ver', target => 't', columns => '{"title": "NAME", "at": {"field": "at", "unit": "us"}}', options => '{"max_quarantine_share": 1}');
INSERT INTO src SELECT i, 'n' || i, i * 1.50, '{"a": 1}', '2026-01-01' FROM generate_series(1, 100) i;
CREATE FUNCTION put(lo int, hi int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ver_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"ID":%s}', s."ID"), 'UTF8'),
		convert_to(json_build_object('op', 'c', 'after', json_build_object('ID', s."ID", 'NAME', s."NAME", 'amount', s.amount,
			'doc', s.doc::text, 'at', extract(epoch FROM s.at)::bigint * 1000000))::text, 'UTF8')
	FROM src s WHERE s."ID" BETWEEN lo AND hi ORDER BY s."ID"
$$;
SELECT put(1, 100);
SELECT inserted, quarantined FROM cdc_sync('ver');

-- equal: in types that are not the same, whatever else the target has
SELECT range, from_key, to_key, source_rows, target_rows, source_checksum = target_checksum AS same, missing, surplus, different, excused, equal
FROM cdc_verify('ver', 'src', ranges => 4);
SELECT count(*), bool_and(equal) FROM cdc_verify('ver', 'src');
SELECT * FROM cdc_verify_keys('ver', 'src');

-- and not
DELETE FROM t WHERE id = 30;
UPDATE t SET title = 'x', amount = NULL WHERE id = 55;
INSERT INTO t (id) VALUES (1000);
INSERT INTO src VALUES (101, 'late', 1, NULL, NULL), (102, 'bad', 1, NULL, NULL);
ALTER TABLE t ADD CHECK (title <> 'bad');
SELECT put(102, 102);
SELECT quarantined FROM cdc_sync('ver');
SELECT put(101, 101);
SELECT range, from_key, to_key, source_rows, target_rows, source_checksum = target_checksum AS same, missing, surplus, different, excused, equal
FROM cdc_verify('ver', source => 'src', ranges => 4);
SELECT * FROM cdc_verify_keys('ver', 'src');
SELECT * FROM cdc_verify_keys('ver', 'src', max_keys => 1);

-- a file: the same
\set file `echo $PWD/results/verify.csv`
COPY src TO :'file' (FORMAT csv, HEADER true);
SELECT * FROM cdc_verify_keys('ver', file => :'file');
SELECT sum(source_rows), sum(missing), sum(excused) FROM cdc_verify('ver', file => :'file');

-- types that have a length
CREATE TABLE fixed (id char(5) PRIMARY KEY, c character(4), b bit(3), vb varbit(4), n numeric(6,2), at timestamptz(0), span interval);
SELECT cdc_create('fixed', target => 'fixed');
INSERT INTO fixed VALUES ('a', 'x y', '101', '10', 1.5, '2026-01-02 03:04:05Z', '1 year 2 months');
CREATE TABLE fixed_src AS SELECT id::text, c::text, b::text, vb::text, n::text, at AT TIME ZONE 'UTC' AS at, span::text FROM fixed;
SET TimeZone = 'America/New_York';
SELECT * FROM cdc_verify_keys('fixed', 'fixed_src');
RESET TimeZone;
UPDATE fixed_src SET c = 'x';
SELECT * FROM cdc_verify_keys('fixed', 'fixed_src');
SELECT cdc_drop('fixed');

-- keys of two columns, and a column that the source lacks
CREATE TABLE src2 (k1 text, k2 int, v int, PRIMARY KEY (k1, k2));
CREATE TABLE t2 (k1 varchar(20), k2 bigint, v int, more text, PRIMARY KEY (k1, k2));
SELECT cdc_create('ver2', target => 't2');
INSERT INTO src2 VALUES ('a', 1, 1), ('a', 2, 2), ('b,', 1, 3);
INSERT INTO t2 VALUES ('a', 1, 1, 'x'), ('a', 2, 0, 'x'), ('b,', 1, 3, NULL), ('c', 1, 1, NULL);
SELECT from_key, to_key, source_rows, target_rows, equal FROM cdc_verify('ver2', 'src2', ranges => 2);
SELECT * FROM cdc_verify_keys('ver2', 'src2');
-- an empty side
TRUNCATE src2;
SELECT source_rows, target_rows, surplus, equal FROM cdc_verify('ver2', 'src2', ranges => 1);
TRUNCATE t2;
SELECT count(*) FROM cdc_verify('ver2', 'src2');

-- rows that are marked as deleted are not there
CREATE TABLE t3 (id int PRIMARY KEY, v int, deleted_at timestamp, op text);
SELECT cdc_create('ver3', target => 't3', options => '{"mode": "soft_delete"}');
INSERT INTO t3 VALUES (1, 1, NULL, 'c'), (2, 2, now(), 'd');
CREATE TABLE src3 (id int, v int);
INSERT INTO src3 VALUES (1, 1);
SELECT source_rows, target_rows, equal FROM cdc_verify('ver3', 'src3', ranges => 1);

-- errors and privileges
SELECT * FROM cdc_verify(NULL, 'src');
SELECT * FROM cdc_verify('no_such', 'src');
SELECT * FROM cdc_verify('ver');
SELECT * FROM cdc_verify('ver', 'src', '/tmp/x.csv');
SELECT * FROM cdc_verify('ver', 'src', ranges => 0);
SELECT * FROM cdc_verify('ver', 'src2');
SELECT * FROM cdc_verify('ver', file => '/no/such/file.csv');
SELECT * FROM cdc_verify('ver', file => '/tmp');
COPY (SELECT 'id', '') TO :'file' (FORMAT csv);
\set VERBOSITY sqlstate
SELECT * FROM cdc_verify('ver', file => :'file');
\set VERBOSITY default
SET ROLE regress_cdc_verifier;
SELECT * FROM cdc_verify('ver', 'src');
CREATE TABLE t4 (id int PRIMARY KEY);
SELECT cdc_create('ver4', target => 't4');
SELECT * FROM cdc_verify('ver4', 'src3');
SELECT * FROM cdc_verify('ver4', file => '/tmp/x.csv');
RESET ROLE;

-- code of the pipeline's owner runs as that one, and cannot get out of it
SET ROLE regress_cdc_verifier;
CREATE TABLE ran (how text, by name);
CREATE FUNCTION spy(v int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO verify_test.ran VALUES (current_setting('verify.how', true), current_user);
	RETURN true;
END $$;
CREATE DOMAIN watched AS int CHECK (verify_test.spy(VALUE));
CREATE TABLE t5 (id int PRIMARY KEY, v watched);
SELECT cdc_create('ver5', target => 't5');
INSERT INTO t5 VALUES (1, 2);
DELETE FROM ran;
RESET ROLE;
CREATE TABLE src5 (id int, "V" int, secret text);
INSERT INTO src5 VALUES (1, 1, 'x');
CREATE VIEW src5_view AS SELECT *, current_user AS me FROM src5;
COPY src5 TO :'file' (FORMAT csv, HEADER true);
SET verify.how = 'copied';
SELECT source_rows, target_rows, missing FROM cdc_verify('ver5', 'src5', ranges => 1);
SELECT * FROM cdc_verify_keys('ver5', 'src5');
SET verify.how = 'a view';
SELECT * FROM cdc_verify_keys('ver5', 'src5_view');
SET verify.how = 'a file';
SELECT * FROM cdc_verify_keys('ver5', file => :'file');
GRANT SELECT ON src5 TO regress_cdc_verifier;
SET verify.how = 'read by the owner';
SELECT * FROM cdc_verify_keys('ver5', 'src5');
-- policies on the source are those of the caller
ALTER TABLE src5 ENABLE ROW LEVEL SECURITY;
SET verify.how = 'with policies';
SELECT * FROM cdc_verify_keys('ver5', 'src5');
SELECT how, by, count(*) > 0 AS some FROM ran GROUP BY how, by ORDER BY how;
SET ROLE regress_cdc_verifier;
SELECT * FROM cdc_verify_keys('ver5', 'src5');
CREATE OR REPLACE FUNCTION spy(v int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMPORARY TABLE left_behind (v int);
	RETURN true;
END $$;
RESET ROLE;
\set SHOW_CONTEXT never
SELECT * FROM cdc_verify_keys('ver5', 'src5');
\set SHOW_CONTEXT errors
SELECT to_regclass('pg_temp.cdc_verify_source');
-- who does not see all of the target cannot compare it for its pipeline's owner
CREATE ROLE regress_cdc_reader IN ROLE regress_cdc_verifier;
GRANT SELECT ON src5_view TO regress_cdc_reader;
ALTER TABLE t5 OWNER TO CURRENT_USER;
GRANT SELECT ON t5 TO regress_cdc_verifier;
ALTER TABLE t5 ENABLE ROW LEVEL SECURITY;
SET ROLE regress_cdc_reader;
SELECT * FROM cdc_verify_keys('ver5', 'src5_view');
SET ROLE regress_cdc_verifier;
SELECT * FROM cdc_verify_keys('ver5', 'src5');
RESET ROLE;
SELECT cdc_drop('*');
SET client_min_messages = error;
DROP SCHEMA verify_test CASCADE;
DROP ROLE regress_cdc_verifier, regress_cdc_reader;
