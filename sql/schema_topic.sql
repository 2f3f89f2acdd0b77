-- What the connector's schema-change topic tells of the source's tables
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE SCHEMA schema_topic;
SET search_path = schema_topic, public;

-- places at the source are positions in one binlog
CREATE FUNCTION src(pos bigint, snapshot text DEFAULT 'false', tab text DEFAULT 't') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('connector', 'mysql', 'db', 's', 'table', tab, 'server_id', 1,
		'file', 'b.000001', 'pos', pos, 'ts_ms', pos, 'snapshot', snapshot) $$;
CREATE FUNCTION col(name text, type text, length int DEFAULT NULL, scale int DEFAULT NULL, rest jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('name', name, 'typeName', type, 'length', length, 'scale', scale, 'optional', true,
		'defaultValueExpression', NULL) || rest $$;
CREATE FUNCTION ddl(pos bigint, type text, statement text, columns jsonb DEFAULT NULL, snapshot text DEFAULT 'false',
					tab text DEFAULT 't', previous text DEFAULT NULL, view text DEFAULT 'ddl_debezium') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_key, kafka_value) VALUES (%L, $1)', view, '{"databaseName": "s"}')
	USING convert_to(jsonb_build_object('source', src(pos, snapshot, tab), 'databaseName', 's', 'schemaName', NULL,
		'ddl', statement, 'tableChanges', CASE WHEN type IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_object(
			'type', type, 'id', format('"s"."%s"', tab), 'previousId', previous,
			'table', CASE WHEN columns IS NOT NULL THEN jsonb_build_object('columns', columns) END)) END)::text, 'UTF8');
END $$;
CREATE FUNCTION feed(pipeline text, row_image jsonb, pos bigint, part int DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_partition, kafka_key, kafka_value) VALUES ($1, $2, $3)', pipeline || '_debezium')
	USING part, convert_to(jsonb_build_object('id', row_image -> 'id')::text, 'UTF8'),
		convert_to(jsonb_build_object('op', 'c', 'before', NULL, 'after', row_image, 'source', src(pos))::text, 'UTF8');
END $$;
CREATE VIEW changes AS
SELECT pipeline, kafka_offset AS off, kind, column_name AS col, old_type, new_type, ddl, in_schema_topic AS topic, state,
	   coalesce(statement, '') AS statement, coalesce(message, '') AS message
FROM cdcsync.schema_change ORDER BY pipeline, detected_at, kafka_offset, column_name, kind;

-- the option
SELECT cdc_create('x', options => '{"schema_topic": "nothing"}');
CREATE TABLE a_table (id int PRIMARY KEY);
SELECT cdc_create('x', options => '{"schema_topic": "a_table"}');
SELECT cdc_create('x', options => '{"schema_topic": 1}');
SELECT cdc_create('ddl');
CREATE ROLE regress_schema_topic;
GRANT ALL ON SCHEMA schema_topic TO regress_schema_topic;
SET ROLE regress_schema_topic;
SELECT cdc_create('x', options => '{"schema_topic": "ddl_debezium"}');
RESET ROLE;

-- a table that grows; a snapshot begins with statements that nobody has run
SELECT ddl(1, 'DROP', 'DROP TABLE IF EXISTS t', snapshot => 'true');
SELECT ddl(1, 'CREATE', 'CREATE TABLE t', jsonb_build_array(col('id', 'INT', rest => '{"optional": false}'), col('v', 'VARCHAR', 5)), snapshot => 'true');
SELECT ddl(2, 'CREATE', 'CREATE TABLE other', jsonb_build_array(col('id', 'INT')), tab => 'other');
CREATE TABLE a_target (id int PRIMARY KEY, v varchar(5));
SELECT cdc_create('a', target => 'a_target', options => '{"schema_topic": "ddl_debezium", "schema_changes": "follow"}');
SELECT feed('a', '{"id": 1, "v": "one"}', 10);
SELECT events FROM cdc_sync('a');
SELECT * FROM changes;
SELECT kafka_partition, next_offset FROM cdcsync.schema_watermark;
SELECT feed('a', '{"id": 2, "v": "two"}', 11);
SELECT ddl(12, 'ALTER', 'ALTER TABLE t ADD c decimal(10,2) DEFAULT 1.5, MODIFY v varchar(20), ADD e timestamp DEFAULT CURRENT_TIMESTAMP, ADD g geometry',
	jsonb_build_array(col('id', 'INT', rest => '{"optional": false}'), col('v', 'VARCHAR', 20),
		col('c', 'DECIMAL', 10, 2, '{"defaultValueExpression": "1.5"}'),
		col('e', 'TIMESTAMP', rest => '{"defaultValueExpression": "CURRENT_TIMESTAMP"}'), col('g', 'GEOMETRY')));
SELECT feed('a', '{"id": 3, "v": "three and more", "c": "AMg=", "e": "2024-02-29T12:00:00Z", "g": null}', 13);
SELECT events FROM cdc_sync('a');
SELECT * FROM a_target ORDER BY id;
SELECT off, kind, col, old_type, new_type, topic, state, statement, message FROM changes;
SELECT exact FROM cdc_status WHERE pipeline = 'a';
-- a new name
SELECT ddl(14, 'ALTER', 'ALTER TABLE t CHANGE COLUMN `v` `w` varchar(20)',
	jsonb_build_array(col('id', 'INT', rest => '{"optional": false}'), col('w', 'VARCHAR', 20),
		col('c', 'DECIMAL', 10, 2, '{"defaultValueExpression": "2.5"}'), col('e', 'TIMESTAMP'), col('g', 'GEOMETRY')));
SELECT feed('a', '{"id": 4, "w": "four", "c": "AMg=", "e": null, "g": null}', 15);
SELECT events FROM cdc_sync('a');
SELECT * FROM a_target ORDER BY id;
SELECT off, kind, col, state, statement, message FROM changes WHERE off = 4;

-- TRUNCATE: what came before it goes, whenever it comes
SELECT feed('a', '{"id": 5, "w": "five", "c": "AMg="}', 20);
SELECT ddl(21, NULL, ' truncate table t');
SELECT feed('a', '{"id": 6, "w": "six", "c": "AMg="}', 22);
SELECT ddl(23, NULL, 'TRUNCATE other', tab => 'other');
SELECT events, inserted, deleted FROM cdc_sync('a');
SELECT id, w FROM a_target ORDER BY id;
-- the last thing that happens, and a record that comes late
SELECT ddl(30, 'TRUNCATE', 'TRUNCATE t');
BEGIN;
SELECT events, deleted FROM cdc_sync('a');
SELECT id, w FROM a_target ORDER BY id;
ROLLBACK;
SELECT events, deleted FROM cdc_sync('a');
SELECT id, w FROM a_target ORDER BY id;
SELECT feed('a', '{"id": 7, "w": "late", "c": "AMg="}', 29);
SELECT feed('a', '{"id": 8, "w": "eight", "c": "AMg="}', 31);
SELECT events, inserted FROM cdc_sync('a');
SELECT id, w FROM a_target ORDER BY id;
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'a';
-- known too late
SELECT ddl(30, NULL, 'TRUNCATE TABLE t');
SELECT events FROM cdc_sync('a');
SELECT id, w FROM a_target ORDER BY id;
SELECT off, kind, ddl, state, message FROM changes WHERE kind = 'truncated';

-- the table goes: a person has to look
SELECT ddl(40, 'DROP', 'DROP TABLE t');
SELECT events FROM cdc_sync('a');
SELECT state, reason, sqlstate, hint FROM cdc_status WHERE pipeline = 'a';
SELECT cdc_resume('a');
SELECT ddl(41, 'CREATE', 'CREATE TABLE t', jsonb_build_array(col('id', 'INT'), col('w', 'VARCHAR', 30), col('c', 'DECIMAL', 10, 2)));
SELECT ddl(42, 'ALTER', 'RENAME TABLE t TO u', jsonb_build_array(col('id', 'INT')), tab => 'u', previous => '"s"."t"');
SELECT events FROM cdc_sync('a');
SELECT off, kind, col, old_type, new_type, state, statement, message FROM changes WHERE off > 9;
-- the landing is in use
SELECT cdc_drop('ddl');
SELECT cdc_drop('a', drop_target => true);
SELECT * FROM cdcsync.schema_watermark;
SELECT cdc_drop('ddl');

-- several partitions; the option stop; a target that nobody alters
SELECT cdc_create('ddl2');
SELECT ddl(1, 'CREATE', 'CREATE TABLE t', jsonb_build_array(col('id', 'INT')), view => 'ddl2_debezium');
CREATE TABLE b_target (id int PRIMARY KEY, c int);
CREATE TABLE s_target (id int PRIMARY KEY, c int);
SELECT cdc_create('b', target => 'b_target', options => '{"schema_topic": "ddl2_debezium"}');
SELECT cdc_create('s', target => 's_target', options => '{"schema_topic": "ddl2_debezium", "schema_changes": "stop"}');
SELECT feed(p, '{"id": 1}', 10), feed(p, '{"id": 3, "c": 3}', 30), feed(p, '{"id": 2}', 11, 1), feed(p, '{"id": 4, "c": 4}', 31, 1)
FROM unnest('{b,s}'::text[]) p;
SELECT ddl(20, NULL, 'truncate t', view => 'ddl2_debezium');
SELECT ddl(21, 'ALTER', 'ALTER TABLE t ADD c int DEFAULT 7', jsonb_build_array(col('id', 'INT'), col('c', 'INT', rest => '{"defaultValueExpression": "7"}')), view => 'ddl2_debezium');
SELECT events FROM cdc_sync('b');
SELECT * FROM b_target ORDER BY id;
SELECT off, kind, col, state, message FROM changes WHERE pipeline = 'b';
-- a rebuild gets it all again
SELECT cdc_resync('b');
SELECT * FROM b_target ORDER BY id;
SELECT events FROM cdc_sync('s');
SELECT * FROM s_target ORDER BY id;
SELECT cdc_resume('s');
SELECT events FROM cdc_sync('s');
SELECT * FROM s_target ORDER BY id;
SELECT off, kind, col, state, message FROM changes WHERE pipeline = 's';

DROP SCHEMA schema_topic CASCADE;
DROP ROLE regress_schema_topic;
