-- What is said where the target's types do not fit what the events say of
-- themselves: when the pipeline is made or altered, and when they have changed.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE SCHEMA fit;
SET search_path = fit, public;
SET client_min_messages = notice;

-- an event whose fields have these schemas; values: of them all
CREATE FUNCTION event(id int, fields jsonb, vals jsonb) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(jsonb_build_object(
		'schema', jsonb_build_object('type', 'struct', 'fields', jsonb_build_array(
			jsonb_build_object('type', 'struct', 'field', 'after', 'optional', true, 'fields',
				'[{"type": "int32", "field": "id"}]' || (SELECT jsonb_agg(value || jsonb_build_object('field', key, 'optional', true)) FROM jsonb_each(fields))),
			'{"type": "string", "field": "op"}'::jsonb)),
		'payload', jsonb_build_object('op', 'c', 'source', '{"connector": "mysql"}'::jsonb, 'after', jsonb_build_object('id', id) || vals))::text, 'UTF8')
$$;

-- a landing with one event, which the second pipeline looks at
SELECT cdc_create('feed', options => '{"max_quarantine_share": 1}');
INSERT INTO feed_debezium (kafka_value) SELECT event(1, '{
	"a": {"type": "int64", "name": "io.debezium.time.Timestamp"},
	"b": {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
	"c": {"type": "int32", "name": "io.debezium.time.Date"},
	"d": {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}},
	"e": {"type": "struct", "name": "io.debezium.data.geometry.Geometry", "fields": []},
	"f": {"type": "array", "items": {"type": "int32", "name": "io.debezium.time.Date"}},
	"g": {"type": "boolean"}}',
	'{"a": 1709210096000, "b": "2024-02-29T12:34:56Z", "c": 19782, "d": "AeJA", "e": {"wkb": "AQEAAAAAAAAAAADwPwAAAAAAAATA", "srid": null}, "f": [19782], "g": true}');

-- all of them fit
CREATE TABLE good (id int PRIMARY KEY, a timestamp, b timestamptz, c date, d numeric(10,2), e bytea, f date[], g boolean);
SELECT cdc_create('good', target => 'good', options => '{"landing": "feed_debezium"}');
SELECT inserted, quarantined FROM cdc_sync('good');
SELECT * FROM good;
-- and these, in other ways; times without a zone become UTC
CREATE TABLE other (id int PRIMARY KEY, a timestamptz, b timestamp, c timestamptz, d text, e point, f jsonb, g int);
SELECT cdc_create('other', target => 'other', options => '{"landing": "feed_debezium"}');
SELECT inserted, quarantined FROM cdc_sync('other');
SET TimeZone = 'UTC';
SELECT * FROM other;
RESET TimeZone;
SELECT cdc_alter('other', '{"a": {"field": "a", "timezone": "Europe/Paris"}, "c": {"field": "c", "timezone": "UTC"}}');
-- these never can
CREATE TABLE wrong (id int PRIMARY KEY, a uuid, b numeric, c boolean[], d date, e int, f int[], g interval);
SELECT cdc_create('wrong', target => 'wrong', options => '{"landing": "feed_debezium", "max_quarantine_share": 1}');
SELECT inserted, quarantined FROM cdc_sync('wrong');
SELECT column_name, sqlstate, message FROM cdcsync.quarantine WHERE pipeline = 'wrong';

-- the target changes
ALTER TABLE good ALTER c TYPE uuid USING NULL;
INSERT INTO feed_debezium (kafka_value) SELECT event(2, '{"c": {"type": "int32", "name": "io.debezium.time.Date"}}', '{"c": 19783}');
SELECT inserted, quarantined FROM cdc_sync('good');
ALTER TABLE good ALTER c TYPE date USING NULL;
-- the events change
INSERT INTO feed_debezium (kafka_value) SELECT event(3, '{"c": {"type": "struct", "fields": []}}', '{"c": {}}');
SELECT inserted, quarantined FROM cdc_sync('good');
SELECT column_name, sqlstate, message FROM cdcsync.quarantine WHERE pipeline = 'good' ORDER BY kafka_offset;

-- without a schema the values tell, as far as they can
SELECT cdc_create('bare');
INSERT INTO bare_debezium (kafka_value) VALUES ('{"op":"c","source":{"connector":"mysql"},"after":{"id":1,"a":1709210096000,"b":"2024-02-29T12:34:56Z"}}');
CREATE TABLE zoned (id int PRIMARY KEY, a timestamptz, b timestamptz);
SELECT cdc_create('zoned', target => 'zoned', options => '{"landing": "bare_debezium"}');

-- where the connector propagates the source's types, a BIGINT UNSIGNED is known
SELECT cdc_create('made', options => '{"max_quarantine_share": 1}');
INSERT INTO made_debezium (kafka_key, kafka_value) SELECT '{"id": 1}', event(1, '{"u": {"type": "int64", "parameters": {"__debezium.source.column.type": "BIGINT UNSIGNED"}}}', '{"u": -1}');
SELECT inserted, quarantined FROM cdc_sync('made');
SELECT *, pg_typeof(u) FROM made_target;

SET client_min_messages = warning;
SELECT cdc_drop('*');
DROP SCHEMA fit CASCADE;
