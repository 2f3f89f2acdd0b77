-- Every mistake has its own error and hint, and leaves nothing behind.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE SCHEMA errors_test;
SET search_path = errors_test, public;
\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE TABLE t (id bigint PRIMARY KEY, name text, g bigint GENERATED ALWAYS AS (id * 2) STORED,
				refresh_time timestamp);
CREATE TABLE nokey (id bigint, name text);
CREATE VIEW v AS SELECT * FROM t;
CREATE SERVER errors_msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1');
CREATE FOREIGN TABLE topic (kafka_key bytea, kafka_value bytea) SERVER errors_msk OPTIONS (topic 'a.topic');
CREATE FOREIGN DATA WRAPPER other_wrapper;
CREATE SERVER other_server FOREIGN DATA WRAPPER other_wrapper;
CREATE FOREIGN TABLE other_table (a int) SERVER other_server;
SELECT cdc_create('taken', target => 't');
CREATE TABLE before AS SELECT (SELECT count(*) FROM pg_class WHERE relname <> 'before') AS relations,
	(SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass) AS dependencies,
	(SELECT count(*) FROM cdcsync.pipeline) AS pipelines, (SELECT count(*) FROM cdcsync.landing) AS landings;

-- names
SELECT cdc_create(NULL);
SELECT cdc_create('');
SELECT cdc_create(repeat('n', 49));
SELECT cdc_create(repeat('ü', 25));
SELECT cdc_create('a*');
SELECT cdc_create('taken');

-- options
SELECT cdc_create('x', options => '[]');
SELECT cdc_create('x', options => '{"retension": "1 day"}');
SELECT cdc_create('x', options => '{"retention": "soon"}');
SELECT cdc_create('x', options => '{"retention": "-1 day"}');
SELECT cdc_create('x', options => '{"retention": "1000 years"}');
SELECT cdc_create('x', options => '{"retention": true}');
SELECT cdc_create('x', options => '{"strict": "yes"}');
SELECT cdc_create('x', options => '{"max_quarantine_share": 1.5}');
SELECT cdc_create('x', options => '{"max_quarantine_share": 1e400}');
SELECT cdc_create('x', options => '{"max_quarantine_share": "0.5"}');
SELECT cdc_create('x', options => '{"mode": "mirrored"}');
SELECT cdc_create('x', options => '{"on_gap": "skip"}');
SELECT cdc_create('x', options => '{"on_snapshot": "delete"}');
SELECT cdc_create('x', options => '{"constraint_wait": "soon"}');
SELECT cdc_create('x', options => '{"schema_changes": "obey"}');
SELECT cdc_create('x', options => '{"max_rewrite_size": "much"}');
SELECT cdc_create('x', options => '{"max_rewrite_size": -1}');
SELECT cdc_create('x', options => '{"max_rewrite_size": true}');
SELECT cdc_create('x', options => '{"filter": "true"}');
SELECT cdc_create('x', options => '{"start": "yesterday noon"}');
SELECT cdc_create('x', options => '{"start": "infinity"}');
SELECT cdc_create('x', options => '{"start": 7}');
SELECT cdc_create('x', options => '{"helper_schema": ""}');
SELECT cdc_create('x', options => '{"helper_schema": "no_such_schema"}');
SELECT cdc_create('x', options => '{"helper_schema": "pg_catalog"}');
SELECT cdc_create('x', options => '{"target_schema": "no_such_schema"}');
SELECT cdc_create('x', options => '{"unavailable_value_placeholder": ""}');

-- columns
SELECT cdc_create('x', columns => '["id"]');
SELECT cdc_create('x', columns => '{"": "ID"}');
SELECT cdc_create('x', columns => '{"id": 7}');
SELECT cdc_create('x', columns => '{"id": ["ID"]}');
SELECT cdc_create('x', columns => '{"id": ""}');
SELECT cdc_create('x', columns => '{"id": "$offset"}');
SELECT cdc_create('x', columns => '{"id": "$source."}');
SELECT cdc_create('x', columns => '{"id": {"scale": 2}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "skale": 2}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "scale": 2.5}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "scale": -1}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "unsigned": 1}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "unit": "minutes"}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "encoding": "base32"}}');
SELECT cdc_create('x', columns => '{"id": {"field": "ID", "timezone": "Mars/Olympus"}}');
SELECT cdc_create('x', target => 't', columns => '{"ident": "ID"}');
SELECT cdc_create('x', target => 't', columns => '{"g": "ID"}');

-- topic
SELECT cdc_create('x', topic => 't');
SELECT cdc_create('x', topic => 'other_table');
SELECT cdc_create('x', topic => 4000000000::oid::regclass);

-- target
SELECT cdc_create('x', target => 'v');
SELECT cdc_create('x', target => 'topic');
SELECT cdc_create('x', target => 't_pkey');
SELECT cdc_create('x', target => 'pg_class');
SELECT cdc_create('x', target => 'taken_stg');
SELECT cdc_create('x', target => 'taken_debezium_chunk');
SELECT cdc_create('x', target => 'taken_debezium');
SELECT cdc_create('x', target => 'cdcsync.pipeline');
SELECT cdc_create('x', target => 4000000000::oid::regclass);
CREATE TEMP TABLE tt (id int PRIMARY KEY);
SELECT cdc_create('x', target => 'tt');
DROP TABLE tt;

-- key
SELECT cdc_create('x', target => 'nokey', options => '{"mode": "history"}');
SELECT cdc_create('x', key => ARRAY['id'], options => '{"mode": "append"}');
SELECT cdc_create('x', target => 'nokey', key => '{}');
SELECT cdc_create('x', target => 'nokey', key => ARRAY['id', NULL]);
SELECT cdc_create('x', target => 'nokey', key => ARRAY['id', 'id']);
SELECT cdc_create('x', target => 'nokey', key => ARRAY['ID']);
SELECT cdc_create('x', target => 't', key => ARRAY['refresh_time']);

-- landing
SELECT cdc_create('x', target => 'nokey', key => ARRAY['id'], options => '{"landing": "nothing"}');
SELECT cdc_create('x', target => 'nokey', key => ARRAY['id'], options => '{"landing": "v"}');
SELECT cdc_create('x', topic => 'topic', options => '{"landing": "taken_debezium"}');
SELECT cdc_create('x', options => '{"landing": "taken_debezium", "start": "latest"}');

-- relations in the way
BEGIN;
CREATE TABLE x_stg ();
SAVEPOINT s;
SELECT cdc_create('x', target => 't');
ROLLBACK TO s;
ALTER TABLE x_stg RENAME TO x_debezium;
SAVEPOINT s;
SELECT cdc_create('x', target => 't');
ROLLBACK TO s;
ALTER TABLE x_debezium RENAME TO x_debezium_chunk;
SAVEPOINT s;
SELECT cdc_create('x', target => 't');
ROLLBACK TO s;
ALTER TABLE x_debezium_chunk RENAME TO x_target;
SAVEPOINT s;
SELECT cdc_create('x');
ROLLBACK;

-- a type in the way
CREATE DOMAIN x_stg AS integer;
SELECT cdc_create('x', target => 't');
DROP DOMAIN x_stg;

-- no name
SELECT cdc_refresh(NULL);
SELECT cdc_sync(NULL);

-- no schema to create in
SET search_path = pg_catalog;
SELECT public.cdc_create('x');
SET search_path = no_such_schema;
SELECT public.cdc_create('x');
SET search_path = '';
SELECT public.cdc_create('x');
SET search_path = pg_temp;
SELECT public.cdc_create('x');
SET search_path = errors_test, public;

-- nothing was left behind
SELECT b.relations = (SELECT count(*) FROM pg_class WHERE relname <> 'before') AS relations,
	   b.dependencies = (SELECT count(*) FROM pg_depend d WHERE classid = 'pg_class'::regclass
						   AND objid <> 'before'::regclass) AS dependencies,
	   b.pipelines = (SELECT count(*) FROM cdcsync.pipeline) AS pipelines,
	   b.landings = (SELECT count(*) FROM cdcsync.landing) AS landings
FROM before b;
SELECT relname FROM pg_class WHERE relname ~ '^x_';

-- the others
SELECT cdc_alter(NULL);
SELECT cdc_alter('nobody');
SELECT cdc_alter('taken', options => '{"start": "latest"}');
SELECT cdc_alter('taken', options => '{"landing": null}');
SELECT cdc_alter('taken', options => '{"helper_schema": "public"}');
SELECT cdc_alter('taken', options => '{"target_schema": "public"}');
SELECT cdc_alter('taken', options => '{"no_such_option": 1}');
SELECT cdc_alter('taken', options => '{"strict": 1}');
SELECT cdc_alter('taken', options => '"strict"');
SELECT cdc_alter('taken', columns => '{"no_such_column": "X"}');
SELECT cdc_pause(NULL);
SELECT cdc_pause('nobody');
SELECT cdc_pause('taken', what => 'landing');
SELECT cdc_pause('taken', what => NULL);
SELECT cdc_resume(NULL);
SELECT cdc_resume('nobody');
SELECT cdc_drop(NULL);
SELECT cdc_drop('nobody');

SELECT cdc_drop('taken');
SET client_min_messages = warning;
DROP FOREIGN DATA WRAPPER other_wrapper CASCADE;
DROP SERVER errors_msk CASCADE;
DROP SCHEMA errors_test CASCADE;
