-- Who may do what.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
DROP ROLE IF EXISTS regress_cdc_alice, regress_cdc_bob, regress_cdc_team, regress_cdc_heir;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE ROLE regress_cdc_alice;
CREATE ROLE regress_cdc_bob;
CREATE ROLE regress_cdc_team;
CREATE ROLE regress_cdc_heir;
CREATE SCHEMA privileges_test;
GRANT USAGE ON SCHEMA privileges_test TO PUBLIC;
CREATE SERVER privileges_msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1');
CREATE FOREIGN TABLE privileges_test.topic (kafka_key bytea, kafka_value bytea) SERVER privileges_msk OPTIONS (topic 'a.topic');
CREATE TABLE privileges_test.given (id bigint PRIMARY KEY);
SET search_path = privileges_test, public;

-- what a role needs, one by one
SET ROLE regress_cdc_alice;
SELECT cdc_create('a', topic => 'topic');
RESET ROLE;
GRANT SELECT ON topic TO regress_cdc_alice;
SET ROLE regress_cdc_alice;
SELECT cdc_create('a', topic => 'topic');
SELECT cdc_create('a', target => 'given');
RESET ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON given TO regress_cdc_alice;
SET ROLE regress_cdc_alice;
SELECT cdc_create('a', target => 'given', options => '{"helper_schema": "privileges_test"}');
RESET ROLE;
GRANT CREATE ON SCHEMA privileges_test TO regress_cdc_alice, regress_cdc_bob, regress_cdc_heir;
SET ROLE regress_cdc_alice;
SELECT cdc_create('a', target => 'given');
CREATE TABLE own (id bigint PRIMARY KEY);
SELECT cdc_create('own', target => 'own');
SELECT pipeline, state FROM cdc_status ORDER BY 1;
SELECT relname, pg_get_userbyid(relowner) AS owner, relacl FROM pg_class
WHERE relnamespace = 'privileges_test'::regnamespace AND relname ~ '^(a|own)_' AND relkind IN ('r', 'v')
ORDER BY relname;

-- nobody writes the catalog
UPDATE cdcsync.pipeline SET state = 'stopped';
INSERT INTO cdcsync.landing (view, chunk) VALUES ('own', 'own');
DELETE FROM cdcsync.position;

-- another role sees nothing and can do nothing
SET ROLE regress_cdc_bob;
SELECT pipeline FROM cdc_status;
SELECT * FROM debezium_last_extract;
SELECT (SELECT count(*) FROM cdcsync.pipeline) AS pipelines, (SELECT count(*) FROM cdcsync.landing) AS landings,
	   (SELECT count(*) FROM cdcsync.pipeline_state) AS states;
SELECT (SELECT count(*) FROM cdcsync.pipelines()) AS pipelines, (SELECT count(*) FROM cdcsync.partition_status) AS partitions;
SELECT cdc_pause('own');
SELECT cdc_pause('*');
SELECT cdc_resume('own');
SELECT cdc_alter('own', options => '{"strict": true}');
SELECT cdc_drop('own');
SELECT cdc_drop('*');
SELECT cdc_sync('own');
SELECT cdc_refresh('own');
SELECT count(*) FROM own_stg;
SELECT count(*) FROM own_debezium;
SELECT cdc_create('own');
SELECT cdc_create('b', options => '{"landing": "own_debezium"}');
SELECT cdc_create('b', target => 'own');

-- a member does all of it
RESET ROLE;
GRANT regress_cdc_alice TO regress_cdc_team;
SET ROLE regress_cdc_team;
SELECT pipeline, state FROM cdc_status ORDER BY 1;
SELECT cdc_pause('own', 'by a member');
SELECT cdc_resume('own');
SELECT cdc_alter('own', options => '{"strict": true}');
SELECT cdc_drop('own', drop_target => true);

-- and what is made then belongs to the pipeline's owner
SET ROLE regress_cdc_alice;
SELECT cdc_create('later', key => ARRAY['id']);
INSERT INTO later_debezium (kafka_value)
	VALUES ('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
SET ROLE regress_cdc_team;
SELECT events, inserted FROM cdc_sync('later');
SELECT relname, pg_get_userbyid(relowner) AS owner FROM pg_class
WHERE relname IN ('later_target', 'later_stg', 'later_debezium', 'later_debezium_chunk') ORDER BY relname;
SELECT cdc_drop('later', drop_target => true);

-- a role may lose what its pipeline needs
SET ROLE regress_cdc_alice;
INSERT INTO a_debezium (kafka_value)
	VALUES ('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
RESET ROLE;
REVOKE ALL ON given FROM regress_cdc_alice;
SELECT events FROM cdc_sync('a');	-- by a superuser, yet with the owner's rights
GRANT SELECT, INSERT, UPDATE, DELETE ON given TO regress_cdc_alice;
SELECT events FROM cdc_sync('a');
GRANT INSERT ON a_debezium TO regress_cdc_bob;
SET ROLE regress_cdc_bob;
INSERT INTO a_debezium (kafka_value)
	VALUES ('{"before": null, "after": {"id": 2}, "source": {"ts_ms": 2}, "op": "c", "ts_ms": 2}');
SET ROLE regress_cdc_alice;
SELECT events FROM cdc_sync('a');

-- code of theirs in a landing's view does not run as the superuser who looks
SET ROLE regress_cdc_alice;
CREATE FUNCTION privileges_test.spy() RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'as %', current_user;
	RETURN '{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}'::bytea;
END
$$;
CREATE OR REPLACE VIEW a_debezium AS
	SELECT 0::bigint AS kafka_partition, 0::bigint AS kafka_offset, 'C'::"char" AS kafka_timestamp_type,
		   NULL::timestamp AS kafka_timestamp, NULL::bytea AS kafka_key, privileges_test.spy() AS kafka_value,
		   NULL::jsonb AS kafka_headers, NULL::timestamp AS refresh_time, NULL::jsonb AS payload
	FROM (SELECT FROM a_debezium_chunk LIMIT 1) c;
RESET ROLE;
SELECT cdc_alter('a', columns => '{"id": "id"}');

-- one that has no relation of its own yet belongs to who made it, and to the
-- landing's owner when that role is no more
RESET ROLE;
GRANT regress_cdc_alice TO regress_cdc_bob;
SET ROLE regress_cdc_alice;
SELECT cdc_create('shared', key => ARRAY['id']);
SET ROLE regress_cdc_bob;
SELECT cdc_create('early', key => ARRAY['id'], options => '{"landing": "shared_debezium"}');
RESET ROLE;
SELECT p.name, p.owner AS stored, s.owner FROM cdcsync.pipeline p JOIN cdcsync.pipeline_state s USING (name)
WHERE p.name IN ('shared', 'early') ORDER BY 1;
REVOKE regress_cdc_alice FROM regress_cdc_bob;
SET ROLE regress_cdc_alice;
SELECT pipeline FROM cdc_status WHERE pipeline IN ('shared', 'early') ORDER BY 1;
INSERT INTO shared_debezium (kafka_value)
	VALUES ('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
-- whoever has lost the right to a landing reads it no more
SET ROLE regress_cdc_bob;
SELECT pipeline FROM cdc_status;
SELECT events FROM cdc_sync('early');
SELECT cdc_refresh('early');
RESET ROLE;
DROP OWNED BY regress_cdc_bob;
DROP ROLE regress_cdc_bob;
SET ROLE regress_cdc_alice;
SELECT pipeline FROM cdc_status WHERE pipeline IN ('shared', 'early') ORDER BY 1;
SELECT events, inserted FROM cdc_sync('early');
SELECT relname, pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relname LIKE 'early%' ORDER BY 1;
RESET ROLE;
SELECT name, owner FROM cdcsync.pipeline WHERE name = 'early';
SELECT cdc_drop('early', drop_target => true), cdc_drop('shared');
CREATE ROLE regress_cdc_bob;
GRANT CREATE ON SCHEMA privileges_test TO regress_cdc_bob;

-- what a role owned goes to another with REASSIGN OWNED, pipelines too, also
-- one that has no table but its landing yet
SET ROLE regress_cdc_alice;
SELECT cdc_create('waiting', key => ARRAY['id']);
RESET ROLE;
REASSIGN OWNED BY regress_cdc_alice TO regress_cdc_heir;
SET ROLE regress_cdc_alice;
SELECT pipeline FROM cdc_status;
SET ROLE regress_cdc_heir;
SELECT pipeline, state FROM cdc_status ORDER BY pipeline;
INSERT INTO waiting_debezium (kafka_value)
	VALUES ('{"before": null, "after": {"id": 1}, "source": {"ts_ms": 1}, "op": "c", "ts_ms": 1}');
SELECT events, inserted FROM cdc_sync('waiting');
SELECT cdc_drop('waiting', drop_target => true);
SELECT cdc_alter('a', columns => '{"id": "id"}');
RESET ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON given TO regress_cdc_heir;
SET ROLE regress_cdc_heir;
SELECT cdc_alter('a', columns => '{"id": "id"}');
SELECT cdc_create('z');
RESET ROLE;

-- and is dropped with DROP OWNED
DROP OWNED BY regress_cdc_heir;
SELECT count(*) FROM cdcsync.pipeline;
SELECT count(*) FROM cdcsync.landing;
SELECT relname FROM pg_class WHERE relnamespace = 'privileges_test'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
DROP OWNED BY regress_cdc_alice, regress_cdc_bob;
DROP ROLE regress_cdc_heir, regress_cdc_alice, regress_cdc_bob, regress_cdc_team;
SELECT * FROM cdc_status;

SET client_min_messages = warning;
DROP SERVER privileges_msk CASCADE;
DROP SCHEMA privileges_test CASCADE;
