-- What happens when something of a pipeline is dropped, renamed, moved.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE SCHEMA drop_test;
SET search_path = drop_test, public;
CREATE VIEW public.drop_left AS
SELECT (SELECT string_agg(name, ' ' ORDER BY name) FROM cdcsync.pipeline) AS pipelines,
	   (SELECT count(*) FROM cdcsync.landing) AS landings,
	   (SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		WHERE relnamespace = 'drop_test'::regnamespace AND relkind IN ('r', 'v', 'f')) AS relations;
CREATE TABLE t (id bigint, source text, PRIMARY KEY (id, source));
CREATE SERVER drop_msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1');
SELECT cdc_create('a', target => 't', columns => '{"source": "$source.name"}');
SELECT cdc_create('b', target => 't', columns => '{"source": "$source.name"}', options => '{"landing": "a_debezium"}');
SELECT cdc_create('later');

-- refused without CASCADE
DROP TABLE t;
DROP VIEW a_debezium;
DROP TABLE a_debezium_chunk;
DROP EXTENSION cdcsync;

-- the target, with all its pipelines; their landing goes with the last of them
BEGIN;
DROP TABLE t CASCADE;
SELECT * FROM drop_left;
ROLLBACK;

-- one staging table: its pipeline ends, the landing serves the other one
BEGIN;
DROP TABLE a_stg;
SELECT * FROM drop_left;
DROP TABLE b_stg;
SELECT * FROM drop_left;
ROLLBACK;

-- the landing view of several pipelines
BEGIN;
DROP VIEW a_debezium CASCADE;
SELECT * FROM drop_left;
ROLLBACK;

-- a pipeline that has no target yet: nothing is in the way of its landing
BEGIN;
DROP VIEW later_debezium;
SELECT * FROM drop_left;
ROLLBACK;
BEGIN;
DROP TABLE later_debezium_chunk CASCADE;
SELECT * FROM drop_left;
ROLLBACK;

-- a plain DROP of staging goes no further than the pipeline's own relations
CREATE VIEW mine AS SELECT kafka_offset FROM a_debezium;
BEGIN;
DROP TABLE b_stg;
SAVEPOINT s;
DROP TABLE a_stg;
ROLLBACK TO s;
DROP TABLE t CASCADE;
SELECT * FROM drop_left;
ROLLBACK;
SELECT cdc_drop('a');
SELECT cdc_drop('*');
DROP VIEW mine;
SELECT * FROM drop_left;

-- a schema
BEGIN;
DROP SCHEMA drop_test CASCADE;
SELECT count(*) FROM cdcsync.pipeline;
SELECT count(*) FROM cdcsync.landing;
ROLLBACK;

-- the extension
BEGIN;
DROP EXTENSION cdcsync CASCADE;
SELECT relname FROM pg_class WHERE relnamespace = 'drop_test'::regnamespace AND relkind IN ('r', 'v', 'f') ORDER BY 1;
SELECT nspname FROM pg_namespace WHERE nspname = 'cdcsync';
SELECT evtname FROM pg_event_trigger;
DROP TABLE t;
ROLLBACK;

-- the topic's foreign table is needed by the landing (made by hand: no broker answers here)
CREATE FOREIGN TABLE topic (kafka_key bytea, kafka_value bytea) SERVER drop_msk OPTIONS (topic 'a.topic');
UPDATE cdcsync.landing SET topic = 'topic' WHERE view = 'a_debezium'::regclass;
SELECT cdc_resume('b');
DROP FOREIGN TABLE topic;
DROP SERVER drop_msk;
BEGIN;
DROP SERVER drop_msk CASCADE;
SELECT * FROM drop_left;
ROLLBACK;

-- unrelated drops
CREATE TABLE other (a int, b int);
CREATE VIEW other_view AS SELECT b FROM other;
ALTER TABLE other DROP COLUMN b CASCADE;
DROP TABLE other;
CREATE TEMP TABLE other (a int) ON COMMIT DROP;
CREATE TEMP TABLE other (a int);
DROP TABLE other;
SELECT * FROM drop_left;

-- a target dropped behind our back (no dependency after a restore, say)
CREATE TABLE gone (id bigint PRIMARY KEY);
SELECT cdc_create('gone', target => 'gone');
DELETE FROM pg_depend WHERE objid = 'gone_stg'::regclass AND refobjid = 'gone'::regclass;
DROP TABLE gone;
SELECT state, reason FROM cdc_status WHERE pipeline = 'gone';
SELECT cdc_resume('gone');
SELECT cdc_drop('gone', drop_target => true);

-- staging dropped while event triggers do not fire: no pipeline any more
CREATE TABLE silent (id bigint PRIMARY KEY);
SELECT cdc_create('silent', target => 'silent');
ALTER EVENT TRIGGER cdcsync_forget_dropped DISABLE;
DROP TABLE silent_stg;
ALTER EVENT TRIGGER cdcsync_forget_dropped ENABLE ALWAYS;
SELECT pipeline FROM cdc_status WHERE pipeline = 'silent';
SELECT cdc_drop('silent');
-- the next drop of something of ours sweeps it up
SELECT name FROM cdcsync.pipeline WHERE name = 'silent';
BEGIN;
DROP TABLE b_stg;
SELECT * FROM drop_left;
ROLLBACK;
-- and so does using the name again
ALTER VIEW silent_debezium RENAME TO old_debezium;
ALTER TABLE silent_debezium_chunk RENAME TO old_debezium_chunk;
SELECT cdc_create('silent', target => 'silent');
SELECT * FROM drop_left;
SELECT cdc_drop('silent');
DROP VIEW old_debezium;
SELECT * FROM drop_left;
-- in replica mode it does fire
SET session_replication_role = replica;
DROP VIEW later_debezium;
RESET session_replication_role;
SELECT * FROM drop_left;

-- renamed and moved relations stay what they are
CREATE SCHEMA drop_test2;
ALTER TABLE t RENAME TO t2;
ALTER TABLE t2 SET SCHEMA drop_test2;
ALTER TABLE b_stg RENAME TO b_stage;
ALTER TABLE b_stage SET SCHEMA drop_test2;
ALTER VIEW a_debezium RENAME TO land;
ALTER VIEW land SET SCHEMA drop_test2;
ALTER TABLE a_debezium_chunk RENAME TO land_chunk;
ALTER TABLE land_chunk SET SCHEMA drop_test2;
ALTER SCHEMA drop_test2 RENAME TO drop_test3;
SELECT pipeline, state FROM cdc_status ORDER BY 1;
SELECT staging, target FROM cdcsync.pipeline WHERE name = 'b';
SELECT cdc_alter('b', options => '{"strict": true}');
SELECT cdc_pause('b');
SELECT cdc_resume('b');
DROP TABLE drop_test3.t2;
SELECT cdc_drop('b', drop_target => true);
SELECT * FROM drop_left;
SELECT relname FROM pg_class WHERE relnamespace = 'drop_test3'::regnamespace;

-- two pipelines on one target, both dropped with it
CREATE TABLE t (id bigint, source text, PRIMARY KEY (id, source));
SELECT cdc_create('c1', target => 't', columns => '{"source": "$source.name"}'), cdc_create('c2', target => 't', columns => '{"source": "$source.name"}');
SELECT cdc_drop('c1', drop_target => true);
SELECT cdc_drop('c*', drop_target => true);
SELECT * FROM drop_left;
SELECT cdc_drop('*');

-- a relation of theirs in the way of CREATE EXTENSION
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION cdcsync CASCADE;
CREATE TABLE public.debezium_last_extract (process_name text, latest_refresh_time timestamp);
CREATE EXTENSION cdcsync SCHEMA public;
ROLLBACK;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION cdcsync CASCADE;
CREATE SCHEMA "Drop test";
CREATE TABLE "Drop test".debezium_last_extract (process_name text, latest_refresh_time timestamp);
CREATE EXTENSION cdcsync SCHEMA "Drop test";
ROLLBACK;

-- operators of theirs in its schema are not taken for those of the server
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION cdcsync CASCADE;
CREATE SCHEMA "Drop test";
SET search_path = "Drop test";
CREATE FUNCTION spy(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'as %', current_user; END$$;
CREATE FUNCTION spy(regrole, regrole) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'as %', current_user; END$$;
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = spy);
CREATE OPERATOR = (LEFTARG = regrole, RIGHTARG = regrole, FUNCTION = spy);
CREATE EXTENSION cdcsync SCHEMA "Drop test";
SELECT cdc_create('c');
SELECT pipeline, state FROM cdc_status;
DROP TABLE c_debezium_chunk CASCADE;
SELECT process_name FROM debezium_last_extract;
SELECT count(*) FROM pg_depend d JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
WHERE o.oprnamespace = '"Drop test"'::regnamespace AND d.deptype = 'n';
ROLLBACK;

SET client_min_messages = warning;
DROP SERVER drop_msk CASCADE;
DROP VIEW public.drop_left;
DROP SCHEMA drop_test, drop_test3 CASCADE;
