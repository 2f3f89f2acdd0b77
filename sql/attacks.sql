-- What a role without privileges tries: to have code of its own run as another
-- one, to see or change what is not its own, to bring the server down.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
DROP ROLE IF EXISTS regress_cdc_victim, regress_cdc_mallory;
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_cdc_victim;
CREATE ROLE regress_cdc_mallory;
CREATE SCHEMA attacks;
GRANT CREATE, USAGE ON SCHEMA attacks TO PUBLIC;
SET search_path = attacks, public;

--
-- Operators and functions in the schema of somebody's target, which fit better
-- than those of the server
--
SET ROLE regress_cdc_mallory;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE FUNCTION steal(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'code of regress_cdc_mallory as %', current_user;
END
$$;
CREATE FUNCTION steal(anyelement) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'code of regress_cdc_mallory as %', current_user;
END
$$;
-- what the statements of a sync compare and add, whatever the types
DO $$
DECLARE
	type text;
	other text;
	operator text;
BEGIN
	FOREACH type IN ARRAY '{varchar, bpchar, text, int2, int4, int8, numeric, timestamp, timestamptz, tid, oid, bytea, int2[], text[], varchar[], attacks.mood, regclass, bool}'::text[] LOOP
		FOREACH operator IN ARRAY '{=, <>, <, <=, >, >=, &&, ||, -, +, *, *<>, *=}'::text[] LOOP
			CONTINUE WHEN EXISTS (SELECT FROM pg_operator WHERE oprname = operator AND oprleft = type::regtype
								  AND oprright = type::regtype AND oprnamespace = 'pg_catalog'::regnamespace);
			EXECUTE format('CREATE FUNCTION attacks.%I(%s, %s) RETURNS boolean LANGUAGE sql AS ''SELECT attacks.steal($1, $2)''',
						   'op ' || operator, type, type);
			EXECUTE format('CREATE OPERATOR attacks.%s (leftarg = %s, rightarg = %s, function = attacks.%I)',
						   operator, type, type, 'op ' || operator);
		END LOOP;
		FOREACH other IN ARRAY '{min, max, sum, count, coalesce, lower, md5, left, unnest, now, abs, length, pg_table_size, pg_partition_tree, hash_record_extended, row_number}'::text[] LOOP
			CONTINUE WHEN EXISTS (SELECT FROM pg_proc WHERE proname = other AND pronargs = 1 AND proargtypes[0] = type::regtype
								  AND pronamespace = 'pg_catalog'::regnamespace);
			EXECUTE format('CREATE FUNCTION attacks.%I(%s) RETURNS bigint LANGUAGE sql AS ''SELECT attacks.steal($1)''', other, type);
		END LOOP;
	END LOOP;
END
$$;
-- they are what is found
SELECT 'a'::varchar = 'b'::varchar;
SELECT pg_table_size(1::oid);

SET ROLE regress_cdc_victim;
CREATE FUNCTION event(op text, before jsonb, after jsonb, source jsonb DEFAULT '{}') RETURNS bytea LANGUAGE sql
SET search_path = pg_catalog AS $$
	SELECT pg_catalog.convert_to(pg_catalog.jsonb_build_object('op', op, 'before', before, 'after', after, 'source',
		'{"ts_ms": 1, "connector": "mysql", "name": "s", "db": "d"}'::jsonb || source)::text, 'UTF8')
$$;
-- with a key of several types, unique values that move, a snapshot and a rebuild
CREATE TABLE mirror (db varchar(20), id varchar(20), feeling attacks.mood, tags text[], u varchar(20) UNIQUE, n numeric, PRIMARY KEY (db, id));
SELECT cdc_create('mirror', target => 'mirror', columns => '{"db": "$source.db"}', options => '{"on_snapshot": "replace"}');
INSERT INTO mirror_debezium (kafka_value) VALUES
	(event('r', NULL, '{"id": "1", "feeling": "sad", "u": "a", "n": 1}', '{"snapshot": "first", "file": "b.1", "pos": 4}')),
	(event('r', NULL, '{"id": "2", "feeling": "sad", "u": "b", "n": 1}', '{"snapshot": "true", "file": "b.1", "pos": 4}')),
	(event('r', NULL, '{"id": "3", "feeling": "sad", "u": "c", "n": 1}', '{"snapshot": "last", "file": "b.1", "pos": 4}'));
SELECT events, inserted, quarantined FROM cdc_sync('mirror');
INSERT INTO mirror_debezium (kafka_value) VALUES
	(event('u', '{"id": "1", "u": "a"}', '{"id": "1", "feeling": "happy", "u": "b", "n": 1}', '{"file": "b.1", "pos": 5}')),
	(event('u', '{"id": "2", "u": "b"}', '{"id": "2", "u": "a", "n": 2}', '{"file": "b.1", "pos": 6}')),
	(event('u', '{"id": "3"}', '{"id": "4", "feeling": "sad", "u": "c", "n": 1}', '{"file": "b.1", "pos": 7}'));
SELECT events, updated, quarantined FROM cdc_sync('mirror');
INSERT INTO mirror_debezium (kafka_value) VALUES
	(event('r', NULL, '{"id": "1", "feeling": "sad", "u": "a", "n": 1}', '{"snapshot": "first", "file": "b.1", "pos": 8, "ts_ms": 2}')),
	(event('r', NULL, '{"id": "2", "feeling": "sad", "u": "b", "n": 1}', '{"snapshot": "last", "file": "b.1", "pos": 8, "ts_ms": 2}'));
SELECT events, updated, deleted, quarantined FROM cdc_sync('mirror');
SELECT source, quarantined FROM cdc_resync('mirror');
SELECT * FROM mirror ORDER BY id OPERATOR(pg_catalog.<) '2';
-- without a key, and spelled in several ways
CREATE TABLE bag (v varchar, n numeric, feeling attacks.mood);
SELECT cdc_create('bag', target => 'bag');
INSERT INTO bag_debezium (kafka_value) SELECT event('c', NULL, jsonb_build_object('v', 'a', 'n', n)) FROM unnest('{1.0, 1.00, 1}'::numeric[]) n;
SELECT events, inserted FROM cdc_sync('bag');
INSERT INTO bag_debezium (kafka_value) SELECT event('d', jsonb_build_object('v', 'a', 'n', n), NULL) FROM unnest('{1.00, 1.000}'::numeric[]) n;
SELECT events, deleted FROM cdc_sync('bag');
-- as a history, and with deletes that are marked
SELECT cdc_create('hist', key => '{id}', options => '{"mode": "history"}');
SELECT cdc_create('soft', key => '{id}', options => '{"mode": "soft_delete"}');
SELECT cdc_create('app', options => '{"mode": "append"}');
DO $$
BEGIN
	FOR i IN 1 .. 2 LOOP
		INSERT INTO attacks.hist_debezium (kafka_value) VALUES
			(attacks.event('c', NULL, '{"id": "a", "v": "x"}', pg_catalog.jsonb_build_object('ts_ms', i))),
			(attacks.event('u', NULL, '{"id": "a", "v": "y"}', pg_catalog.jsonb_build_object('ts_ms', 3))),
			(attacks.event('d', '{"id": "a", "v": "y"}', NULL, pg_catalog.jsonb_build_object('ts_ms', 4))),
			(attacks.event('t', NULL, NULL, pg_catalog.jsonb_build_object('ts_ms', 5)));
		INSERT INTO attacks.soft_debezium (kafka_value) SELECT d.kafka_value FROM attacks.hist_debezium d;
		INSERT INTO attacks.app_debezium (kafka_value) SELECT d.kafka_value FROM attacks.hist_debezium d;
		PERFORM public.cdc_sync('hist');
		PERFORM public.cdc_sync('soft');
		PERFORM public.cdc_sync('app');
	END LOOP;
END
$$;
-- a target that follows the source's schema: its size is asked for before it is
-- written anew
SELECT cdc_create('follow', key => '{id}', options => '{"schema_changes": "follow"}');
CREATE FUNCTION schema_event(type text, pos bigint) RETURNS bytea LANGUAGE sql SET search_path = pg_catalog AS $$
	SELECT pg_catalog.convert_to(pg_catalog.jsonb_build_object('payload',
		pg_catalog.jsonb_build_object('op', 'c', 'before', null, 'after', '{"id": 1, "n": 1}'::jsonb, 'source',
			pg_catalog.jsonb_build_object('connector', 'mysql', 'db', 's', 'table', 't', 'server_id', 1,
				'file', 'b.000001', 'pos', pos, 'ts_ms', pos, 'snapshot', 'false')),
		'schema', pg_catalog.jsonb_build_object('type', 'struct', 'fields', pg_catalog.jsonb_build_array('{"field": "op", "type": "string"}'::jsonb,
			pg_catalog.jsonb_build_object('field', 'after', 'type', 'struct', 'fields',
				pg_catalog.jsonb_build_array('{"field": "id", "type": "int32", "optional": false}'::jsonb,
					pg_catalog.jsonb_build_object('field', 'n', 'type', type, 'optional', true))))))::text, 'UTF8')
$$;
INSERT INTO follow_debezium (kafka_value) VALUES (schema_event('int32', 1));
SELECT events, inserted FROM cdc_sync('follow');
INSERT INTO follow_debezium (kafka_value) VALUES (schema_event('int64', 2));
SELECT events, updated FROM cdc_sync('follow');
SELECT kind, state FROM cdcsync.schema_change;
SELECT cdc_drop('*', drop_target => true);

--
-- Code in a landing of theirs, on which a superuser has built
--
SET ROLE regress_cdc_mallory;
SELECT cdc_create('bait');
CREATE FUNCTION spy(bytea) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'code of regress_cdc_mallory as %', current_user;
	RETURN $1;
END
$$;
RESET ROLE;
SELECT cdc_create('rooted', options => '{"landing": "bait_debezium", "target_schema": "attacks"}');
SET ROLE regress_cdc_mallory;
CREATE OR REPLACE VIEW bait_debezium AS
	SELECT 0::bigint AS kafka_partition, 0::bigint AS kafka_offset, 'C'::"char" AS kafka_timestamp_type,
		   NULL::timestamp AS kafka_timestamp, '{"id": 1}'::bytea AS kafka_key,
		   spy('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}') AS kafka_value,
		   NULL::jsonb AS kafka_headers, NULL::timestamp AS refresh_time, NULL::jsonb AS payload
	FROM bait_debezium_chunk c WHERE c.first_offset OPERATOR(pg_catalog.=) 0;
INSERT INTO bait_debezium (kafka_key, kafka_value) VALUES
	('{"id": 1}', '{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
RESET ROLE;
-- its target is made from what the view shows
SELECT events, inserted FROM cdc_sync('rooted');
-- what is in the landing excuses a difference; this one's is not looked at
CREATE TABLE truth (id bigint);
SELECT * FROM cdc_verify_keys('rooted', 'truth');
SELECT cdc_drop('rooted', drop_target => true);
DROP TABLE truth;

--
-- Relations of a pipeline that are not what they were
--
SET ROLE regress_cdc_mallory;
ALTER VIEW bait_debezium RENAME kafka_value TO no_value;
CREATE OR REPLACE VIEW bait_debezium AS
	SELECT 0::bigint AS kafka_partition, 0::bigint AS kafka_offset, 'C'::"char" AS kafka_timestamp_type,
		   NULL::timestamp AS kafka_timestamp, NULL::bytea AS kafka_key, NULL::bytea AS no_value,
		   NULL::jsonb AS kafka_headers, NULL::timestamp AS refresh_time, NULL::jsonb AS payload,
		   '(1,2)'::point AS kafka_value
	FROM bait_debezium_chunk c;
SELECT cdc_sync('bait');
CREATE OR REPLACE VIEW bait_debezium AS
	SELECT 0::bigint AS kafka_partition, 0::bigint AS kafka_offset, 'C'::"char" AS kafka_timestamp_type,
		   NULL::timestamp AS kafka_timestamp, NULL::bytea AS kafka_key, NULL::bytea AS no_value,
		   NULL::jsonb AS kafka_headers, NULL::timestamp AS refresh_time, NULL::jsonb AS payload,
		   '(1,2)'::point AS kafka_value
	FROM bait_debezium_chunk c WHERE c.first_offset OPERATOR(pg_catalog.<) 0;
SELECT events FROM cdc_sync('bait');
SELECT cdc_create('retyped', key => '{id}');
INSERT INTO retyped_debezium (kafka_value) VALUES ('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
SELECT inserted FROM cdc_sync('retyped');
INSERT INTO retyped_debezium (kafka_value) VALUES ('{"before": null, "after": {"id": 2}, "source": {"ts_ms": 2}, "op": "c", "ts_ms": 1}');
BEGIN;
ALTER TABLE retyped_stg ALTER op TYPE integer USING 1;
SELECT inserted FROM cdc_sync('retyped');
ROLLBACK;
BEGIN;
ALTER TABLE retyped_debezium_chunk RENAME kafka_key TO no_key;
ALTER TABLE retyped_debezium_chunk ADD kafka_key bigint DEFAULT 1;
SAVEPOINT s;
SELECT inserted FROM cdc_sync('retyped');
ROLLBACK TO s;
SELECT pipeline, state FROM cdc_status WHERE pipeline = 'retyped';
SELECT cdc_resync('retyped');
ROLLBACK;
BEGIN;
ALTER TABLE retyped_debezium_chunk DISABLE TRIGGER ALL;
UPDATE retyped_debezium_chunk SET kafka_value = '{}';
SELECT inserted FROM cdc_sync('retyped');
ROLLBACK;
BEGIN;
UPDATE retyped_debezium_chunk SET kafka_key = '[0:1]={a,b}', header_no = '{30000}', headers = '{"[]"}';
SELECT inserted FROM cdc_sync('retyped');
ROLLBACK;
SELECT cdcsync.chunk_element(ARRAY[1, 2, 3], 1);
SELECT cdcsync.chunk_element('{{a,b},{c,d}}'::text[], 3);

--
-- Functions of the extension as triggers of their own tables, and what else
-- anybody might call
--
CREATE TABLE landing (landing_id integer, name text);
CREATE TRIGGER t AFTER DELETE ON landing FOR EACH ROW EXECUTE FUNCTION cdcsync.delete_dependents();
CREATE TRIGGER t AFTER DELETE ON landing FOR EACH STATEMENT EXECUTE FUNCTION cdcsync.catalog_changed();
CREATE TRIGGER w BEFORE INSERT ON landing FOR EACH ROW EXECUTE FUNCTION cdcsync.landing_write();
INSERT INTO landing VALUES (1, 'a');
SELECT cdcsync.wake_workers();
SELECT cdc_start();
SELECT cdc_stop();
CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION cdcsync.forget_dropped();
-- names are names
SELECT cdc_create('x"; DROP TABLE attacks.landing; --', key => ARRAY['i"d'], options => '{"target_name": "t''$$\\"}');
INSERT INTO "x""; DROP TABLE attacks.landing; --_debezium" (kafka_value)
	VALUES (convert_to('{"before": null, "after": {"i\"d": 1, "a''\\\n$$b": "''; DROP TABLE attacks.landing; --"}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}', 'UTF8'));
SELECT events, inserted FROM cdc_sync('x"; DROP TABLE attacks.landing; --');
SELECT * FROM "t'$$\";
SELECT count(*) FROM landing;
SELECT cdc_drop('x"; DROP TABLE attacks.landing; --', drop_target => true);
-- files of the server
SELECT cdc_verify('retyped', file => '/etc/passwd');
SELECT cdc_verify('retyped', file => 'PG_VERSION');
-- hosts of the network
CREATE SERVER anywhere FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1');
RESET ROLE;
CREATE SERVER attacks_kafka FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1');
SET ROLE regress_cdc_mallory;
ALTER SERVER attacks_kafka OPTIONS (SET bootstrap_servers '127.0.0.1:2');
IMPORT FOREIGN SCHEMA kafka FROM SERVER attacks_kafka INTO attacks;
CREATE FOREIGN TABLE topic (kafka_value bytea) SERVER attacks_kafka OPTIONS (topic 't');
SELECT * FROM cdc_create_all('attacks_kafka');
CREATE USER MAPPING FOR regress_cdc_mallory SERVER attacks_kafka OPTIONS (user 'u', password 'p');
CREATE USER MAPPING FOR regress_cdc_victim SERVER attacks_kafka OPTIONS (user 'u', password 'p');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER attacks_kafka TO regress_cdc_mallory;
SET ROLE regress_cdc_mallory;
CREATE USER MAPPING FOR regress_cdc_victim SERVER attacks_kafka OPTIONS (user 'u', password 'p');
ALTER SERVER attacks_kafka OPTIONS (SET bootstrap_servers '127.0.0.1:2');
-- properties of librdkafka: none can be named
CREATE USER MAPPING FOR regress_cdc_mallory SERVER attacks_kafka OPTIONS ("plugin.library.paths" '/tmp/x.so');
CREATE USER MAPPING FOR regress_cdc_mallory SERVER attacks_kafka OPTIONS ("ssl.key.location" '/etc/passwd');
CREATE USER MAPPING FOR regress_cdc_mallory SERVER attacks_kafka OPTIONS (ssl_key '/etc/passwd');
CREATE USER MAPPING FOR regress_cdc_mallory SERVER attacks_kafka OPTIONS (bootstrap_servers '127.0.0.1:2');
CREATE FOREIGN TABLE topic (kafka_value bytea) SERVER attacks_kafka OPTIONS (topic '../t');

RESET ROLE;
SET client_min_messages = warning;
DROP SERVER attacks_kafka CASCADE;
DROP SCHEMA attacks CASCADE;
DROP OWNED BY regress_cdc_victim, regress_cdc_mallory;
DROP ROLE regress_cdc_victim, regress_cdc_mallory;
SELECT count(*) FROM cdcsync.pipeline;
