-- Strings that can be read in two ways (5552 as digits or base64, deadbeef as
-- hex or base64) are read as the other values of their column show.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE SCHEMA evidence;
SET search_path = evidence, public;

CREATE FUNCTION events(first int, vals text[]) RETURNS TABLE (key bytea, value bytea) LANGUAGE sql AS $$
	SELECT convert_to(format('{"id":%s}', no + first - 1), 'UTF8'),
		convert_to(format('{"before":null,"after":{"id":%s,"v":%s},"source":{"connector":"postgresql"},"op":"c"}',
						  no + first - 1, val), 'UTF8')
	FROM unnest(vals) WITH ORDINALITY u (val, no)
$$;
-- Values with the numbers first, first + 1 ..: in one window, or each in its own.
CREATE FUNCTION feed(first int, vals text[], each boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. CASE WHEN each THEN cardinality(vals) ELSE 1 END LOOP
		INSERT INTO x_debezium (kafka_key, kafka_value)
			SELECT key, value FROM events(CASE WHEN each THEN first + i - 1 ELSE first END,
										  CASE WHEN each THEN vals[i:i] ELSE vals END);
		PERFORM cdc_sync('x');
	END LOOP;
END
$$;
CREATE VIEW bad AS SELECT kafka_offset, column_name, sqlstate, message FROM cdcsync.quarantine
	WHERE pipeline = 'x' ORDER BY 1;
CREATE VIEW seen AS SELECT column_name, encoding, mixed_offset FROM cdcsync.evidence WHERE pipeline = 'x' ORDER BY 1;
CREATE FUNCTION make(type text, reading jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdc_drop('x') FROM cdcsync.pipeline WHERE name = 'x';
	DROP TABLE IF EXISTS x;
	EXECUTE format('CREATE TABLE x (id int PRIMARY KEY, v %s)', type);
	PERFORM cdc_create('x', target => 'x', columns => jsonb_build_object('v', '{"field": "v"}' || reading),
					   options => '{"max_quarantine_share": 1}' || options);
END
$$;

-- base64: -3.014346e6 / 100 waits until a neighbour tells
SELECT make('numeric(10,2)');
SELECT feed(1, ARRAY['"5552"']);
SELECT * FROM x;
SELECT * FROM bad;
SELECT * FROM seen;
SELECT feed(2, ARRAY['"5552OA=="', '"5552"']);
SELECT * FROM x ORDER BY id;
SELECT * FROM bad;
SELECT * FROM seen;
-- the setting of the connector changes: what comes after is in doubt
SELECT feed(4, ARRAY['"12.50"', '"1234"', '"/zzzsQ=="', '1234']);
SELECT * FROM x ORDER BY id;
SELECT * FROM bad;
SELECT * FROM seen;
-- the mapping says it; what waits is tried again
SELECT cdc_alter('x', '{"v": {"field": "v", "encoding": "string"}}');
SELECT quarantined FROM cdc_sync('x');
SELECT * FROM x ORDER BY id;
SELECT * FROM bad;

-- decimal text, of any length, whatever the windows are
CREATE TEMP TABLE want AS SELECT 0 AS no, 0 AS id, 0::numeric AS v LIMIT 0;
SELECT make('numeric'); SELECT feed(1, ARRAY['"1234"', '"12345678"', '"5"', '"2024"', '"1E+3"', '"AAAA"']);
INSERT INTO want SELECT 1, * FROM x;
SELECT * FROM bad;
SELECT make('numeric'); SELECT feed(1, ARRAY['"1234"', '"12345678"', '"5"', '"2024"', '"1E+3"', '"AAAA"'], true);
INSERT INTO want SELECT 2, * FROM x;
SELECT * FROM bad;
SELECT id, v, array_agg(no ORDER BY no) AS "in" FROM want GROUP BY id, v ORDER BY id;
-- also where the encoding changes
TRUNCATE want;
SELECT make('numeric(12,2)'); SELECT feed(1, ARRAY['"1234"', '"AeJA"', '"5552"', '"0.5"', '"1234"', '"AeJA"', '"5552"']);
INSERT INTO want SELECT 1, * FROM x;
SELECT make('numeric(12,2)'); SELECT feed(1, ARRAY['"1234"', '"AeJA"', '"5552"', '"0.5"', '"1234"', '"AeJA"', '"5552"'], true);
INSERT INTO want SELECT 2, * FROM x;
SELECT id, v, array_agg(no ORDER BY no) AS "in" FROM want GROUP BY id, v ORDER BY id;
SELECT kafka_offset, sqlstate FROM bad;

-- a value that wins in no window tells, too
SELECT make('numeric');
INSERT INTO x_debezium (kafka_key, kafka_value) SELECT key, value FROM events(1, ARRAY['"7"']);
INSERT INTO x_debezium (kafka_key, kafka_value) SELECT key, value FROM events(1, ARRAY['"1234"']);
SELECT inserted, quarantined FROM cdc_sync('x');
SELECT * FROM x;

-- the key itself
SELECT make('int');
SELECT cdc_drop('x');
DROP TABLE x;
CREATE TABLE x (k numeric(8,0) PRIMARY KEY, v int);
SELECT cdc_create('x', target => 'x', options => '{"max_quarantine_share": 1}');
INSERT INTO x_debezium (kafka_key, kafka_value)
	SELECT convert_to(format('{"k":"%s"}', k), 'UTF8'),
		convert_to(format('{"after":{"k":"%s","v":%s},"source":{"connector":"postgresql"},"op":"c"}', k, v), 'UTF8')
	FROM (VALUES ('1234', 1), ('5', 2)) t (k, v);
SELECT * FROM cdc_sync('x') \gset
SELECT * FROM x ORDER BY 1;
SELECT * FROM bad;
INSERT INTO x_debezium (kafka_key, kafka_value) VALUES ('{"k":"1234"}', NULL);
SELECT deleted, quarantined FROM cdc_sync('x');
SELECT * FROM x;

-- bytea: hex or base64
SELECT make('bytea');
SELECT feed(1, ARRAY['"deadbeef"', '""', '"0123456789abcdef0123456789abcdef"', '"ab12cd"']);
SELECT * FROM x ORDER BY id;
SELECT make('bytea');
SELECT feed(1, ARRAY['"deadbeef"', '"deadbe"', '"3q2+7w=="', '"deadbeef"', '"deadbee"']);
SELECT * FROM x ORDER BY id;
SELECT * FROM bad;
SELECT * FROM seen;
-- ALTER TABLE: what was text of decimals says nothing of bytes
SELECT make('numeric');
SELECT feed(1, ARRAY['"1.5"']);
SELECT * FROM seen;
ALTER TABLE x ALTER v TYPE bytea USING NULL;
SELECT feed(2, ARRAY['"deadbeef"']);
SELECT kafka_offset, sqlstate FROM bad;
SELECT feed(3, ARRAY['"3q2+7w=="']);
SELECT * FROM x ORDER BY id;
SELECT * FROM seen;

-- arrays: any element tells
SELECT make('numeric(10,2)[]');
SELECT feed(1, ARRAY['["1234"]', '["bg==","1234",null]']);
SELECT * FROM x ORDER BY id;

-- a scale that is given says that it is not in the text
SELECT make('numeric(10,2)', '{"scale": 2}');
SELECT feed(1, ARRAY['"5552"', '"5552OA=="']);
SELECT * FROM x ORDER BY id;
SELECT feed(3, ARRAY['"12.50"', '"5552"']);
SELECT kafka_offset, sqlstate FROM bad;

-- strict: nothing is concluded
SELECT make('numeric(10,2)', '{"scale": 2}', '{"strict": true}');
SELECT feed(1, ARRAY['"AeJA"', '"5552"']);
SELECT * FROM x;
SELECT * FROM bad;
SELECT * FROM seen;

-- a sample at cdc_create tells at once
SELECT make('numeric(10,2)');
INSERT INTO x_debezium (kafka_key, kafka_value) SELECT key, value FROM events(1, ARRAY['"5552"', '"AeJA"']);
CREATE TABLE y (id int PRIMARY KEY, v numeric(10,2), w text);
SELECT cdc_create('y', target => 'y', columns => '{"w": "v"}', options => '{"landing": "evidence.x_debezium"}');
SELECT pipeline, column_name, encoding FROM cdcsync.evidence;
SELECT inserted, quarantined FROM cdc_sync('y');
SELECT * FROM y ORDER BY id;

-- others see nothing of it
CREATE ROLE cdc_evidence_other;
SET ROLE cdc_evidence_other;
SELECT * FROM cdcsync.evidence;
DELETE FROM cdcsync.evidence;
RESET ROLE;
DROP ROLE cdc_evidence_other;

-- and it goes with the pipeline
SELECT cdc_drop('y');
SELECT cdc_drop('x');
SELECT count(*) FROM cdcsync.evidence;
DROP SCHEMA evidence CASCADE;
