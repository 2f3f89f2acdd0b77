-- Every type by its way through a pipeline: event -> landing -> sync -> target.
-- What cannot be read, or would not fit exactly, must be in quarantine with
-- the reason.  All of it runs under settings that no conversion may depend on.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
SET TimeZone = 'America/New_York';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -3;

CREATE SCHEMA types;
SET search_path = types, public;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN short AS varchar(3);

-- An envelope around one value; schema: Kafka Connect's description of it.
CREATE FUNCTION envelope(id bigint, val text, connector text, schema text) RETURNS bytea
LANGUAGE sql AS $$
	SELECT convert_to(CASE WHEN schema IS NULL THEN payload ELSE
		format('{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},%s],"optional":true,"name":"s.t.Value","field":"after"},{"type":"string","optional":false,"field":"op"}],"optional":false,"name":"s.t.Envelope"},"payload":%s}',
			left(schema, -1) || ',"optional":true,"field":"v"}', payload) END, 'UTF8')
	FROM format('{"before":null,"after":{"id":%s,"v":%s},"source":{"connector":"%s","ts_ms":%s},"op":"c","ts_ms":%s}',
		id, val, connector, id, id) AS payload
$$;

CREATE FUNCTION show(vals text[]) RETURNS TABLE (source text, target text)
LANGUAGE plpgsql SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'postgres'
SET bytea_output = 'hex' SET extra_float_digits = 1 SET lc_monetary = 'C' AS $$
BEGIN
	RETURN QUERY SELECT v.val, CASE WHEN x.id IS NULL THEN
			coalesce(q.column_name || ' ' || q.sqlstate || ': ' || q.message, 'LOST') ELSE
			coalesce(x.v::text, 'NULL') END
		FROM unnest(vals) WITH ORDINALITY AS v(val, no)
		LEFT JOIN x ON x.id = v.no
		LEFT JOIN cdcsync.quarantine q ON q.pipeline = 'types' AND q.kafka_offset = v.no - 1
		ORDER BY v.no;
END
$$;

-- What comes of values in a column of a type.
CREATE FUNCTION try(type text, vals text[], connector text DEFAULT 'mysql', schema text DEFAULT NULL,
	reading jsonb DEFAULT '{}', strict boolean DEFAULT false)
RETURNS TABLE (source text, target text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE x (id bigint PRIMARY KEY, v %s)', type);
	PERFORM cdc_create('types', target => 'x',
		columns => jsonb_build_object('v', jsonb_build_object('field', 'v') || reading),
		options => jsonb_build_object('max_quarantine_share', 1, 'strict', strict));
	INSERT INTO types_debezium (kafka_key, kafka_value)
		SELECT convert_to(format('{"id":%s}', no), 'UTF8'), envelope(no, val, connector, schema)
		FROM unnest(vals) WITH ORDINALITY AS v(val, no);
	PERFORM cdc_sync('types');
	RETURN QUERY SELECT s.source, s.target FROM show(vals) s;
	PERFORM cdc_drop('types');
	DROP TABLE x;
END
$$;
-- A schema's description of a value with a logical name.
CREATE FUNCTION logical(type text, name text, parameters text DEFAULT '{}') RETURNS text
LANGUAGE sql AS $$
	SELECT format('{"type":"%s","name":"%s","version":1,"parameters":%s}', type, name, parameters)
$$;

-- integers
SELECT * FROM try('smallint', ARRAY['32767', '32768', '-32768', '-0', 'true', 'null']);
SELECT * FROM try('integer', ARRAY['2147483647', '-2147483649', '1.0', '1.5', '1e3', '1e999999999999', '"12345"', '"1234"', '{}']);
SELECT * FROM try('bigint', ARRAY['9223372036854775807', '9223372036854775808', '-9223372036854775808']);
SELECT * FROM try('bigint', ARRAY['"f/////////8="', '"AP//////////"'], schema => logical('bytes', 'org.apache.kafka.connect.data.Decimal', '{"scale":"0"}'));
SELECT * FROM try('oid', ARRAY['4294967295', '-1']);
SELECT * FROM try('boolean', ARRAY['true', '0', '1', '2', '"t"']);

-- floats
SELECT * FROM try('real', ARRAY['1.5', '1e39', '1e-60', '"NaN"', '"-Infinity"', 'true']);
SELECT * FROM try('double precision', ARRAY['3.141592653589793', '1e400', '"Infinity"', '"AeJA"']);

-- numeric: in every form on the wire; exact, or not at all
SELECT * FROM try('numeric(10,2)', ARRAY['"SZYC0w=="', '"AA=="', '"/w=="', '"AIA="', '12345678.91', '123456789.1', '1.239', '"1.230"', '"-7.50"', '"1234"', '"NAN"', '"POSITIVE_INFINITY"']);
SELECT * FROM try('numeric(10,2)', ARRAY['"SZYC0w=="'], strict => true);
SELECT * FROM try('numeric', ARRAY['"CUmw9vACMxPESZBOzGdFFQ=="'], reading => '{"scale": 10}');
SELECT * FROM try('numeric', ARRAY['"AeJA"', '1E+3', '1e200000', '{"scale":10,"value":"CUmw9vACMxPESZBOzGdFFQ=="}', '{"scale":-3,"value":"MDk="}', '{"value":"MDk="}', '"NEGATIVE_INFINITY"']);
SELECT * FROM try('numeric(38,10)', ARRAY['"CUmw9vACMxPESZBOzGdFFQ=="', '"A=="'], schema => logical('bytes', 'org.apache.kafka.connect.data.Decimal', '{"scale":"10","connect.decimal.precision":"38"}'));
SELECT * FROM try('numeric', ARRAY['"MDk="'], schema => logical('bytes', 'org.apache.kafka.connect.data.Decimal', '{"scale":"-2147483648"}'));
SELECT * FROM try('text', ARRAY['"MDk="'], schema => logical('bytes', 'org.apache.kafka.connect.data.Decimal', '{"scale":"2147483647"}'));
SELECT * FROM try('text', ARRAY['{"scale":-2147483649,"value":"MDk="}'], schema => '{"type":"struct","fields":[],"name":"io.debezium.data.VariableScaleDecimal"}');
SELECT * FROM try('numeric(10,2)', ARRAY['"1234"', '"NAN"', '""', '"abc"'], schema => '{"type":"string"}');
SELECT * FROM try('numeric(10,2)', ARRAY['"1234"'], reading => '{"encoding": "string"}');
SELECT * FROM try('numeric(10,2)', ARRAY['"9999"'], reading => '{"encoding": "base64"}');
SELECT * FROM try('numeric(20,0)', ARRAY['-1', '-9223372036854775808', '7'], reading => '{"unsigned": true}');
SELECT * FROM try('money', ARRAY['"AeJA"', '"1.234"', '99999999999999999999'], 'postgresql');

-- text
SELECT * FROM try('text', ARRAY['"Ünïcode 漢字 \ud83d\ude00 \"q\" \\"', '"a\u0000b"', '"\ud83d"', '1.50', 'true', '{"a": [1]}']);
SELECT * FROM try('text', ARRAY['"SZYC0w=="'], schema => logical('bytes', 'org.apache.kafka.connect.data.Decimal', '{"scale":"2"}'));
SELECT * FROM try('varchar(3)', ARRAY['"äöü"', '"abcd"', '"abc "']);
SELECT source, '[' || target || ']' AS target FROM try('char(3)', ARRAY['"a"', '"abc  "', '"abcd"']);
SELECT * FROM try('name', ARRAY[to_json(repeat('a', 63))::text, to_json(repeat('a', 64))::text]);
SELECT * FROM try('mood', ARRAY['"happy"', '"furious"', '""']);

-- bytea, bit
SELECT * FROM try('bytea', ARRAY['"3q2+7w=="', '"3q2-7w=="', '""', '"deadbeef"', '"3q2+7w"', '"3q2+7x=="', '1']);
SELECT * FROM try('bytea', ARRAY['"deadbeef"'], schema => '{"type":"bytes"}');
SELECT * FROM try('bytea', ARRAY['"deadbeef"', '"deadbee"'], reading => '{"encoding": "hex"}');
SELECT * FROM try('bytea', ARRAY['"3q2-7w"'], reading => '{"encoding": "base64url"}');
SELECT * FROM try('bit(20)', ARRAY['"Dw8P"', '"AAAA"', '"Dw8f"']);
SELECT * FROM try('bit(1)', ARRAY['true', 'false']);
SELECT * FROM try('bit(5)', ARRAY['"FQ=="', '""'], 'postgresql');
SELECT * FROM try('varbit(10)', ARRAY['"BQ=="', '""'], 'postgresql', logical('bytes', 'io.debezium.data.Bits', '{"length":"10"}'));
SELECT * FROM try('varbit(10)', ARRAY['"BQ=="'], 'postgresql', logical('bytes', 'io.debezium.data.Bits', '{"length":"10"}'), strict => true);
SELECT * FROM try('varbit(20)', ARRAY['"Dw8P"', '"AAAA"', '"AA=="']);

-- json, uuid, others by their input functions
SELECT * FROM try('jsonb', ARRAY['"{\"a\":[1,2,{\"b\":null}]}"', '"1"', '"null"', 'null', '[1, {"a": 2}]', '"abc"', '"\"abc\""', '{"a":"\u0000"}']);
SELECT * FROM try('jsonb', ARRAY['"abc"', '"1"'], reading => '{"encoding": "string"}');
SELECT * FROM try('jsonb', ARRAY['"2024-02-29Z"'], schema => logical('string', 'io.debezium.time.IsoDate'));
SELECT * FROM try('uuid', ARRAY['"123e4567-e89b-12d3-a456-426614174000"', '"123E4567e89b12d3a456426614174000"', '"123e4567-e89b-12d3-a456"', '1']);
SELECT * FROM try('point', ARRAY['{"x":1.0,"y":-2.5,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAABA","srid":null}', '{"wkb":"AQEA"}', '"(1,2)"']);
SELECT * FROM try('int4range', ARRAY['"[1,10)"', '"empty"', '[1,10]']);
SELECT * FROM try('tstzrange', ARRAY['"[\"2024-01-01 00:00:00+00\",)"', '"[2024-01-01 00:00:00,)"'], 'postgresql');
SELECT * FROM try('inet', ARRAY['"10.0.0.1/24"', '"10.0.0.1/240"']);
-- whatever an input function calls a bad value, it is a fault of the value
SELECT * FROM try('tsvector', ARRAY['"''a'':1 ''b'':2"', '"''a"']);
SELECT * FROM try('regclass', ARRAY['"pg_class"', '"no_such_table"']);
SELECT * FROM try('positive', ARRAY['7', '0', 'null', '"x"']);
SELECT * FROM try('short', ARRAY['"abc"', '"abcd"']);

-- arrays
SELECT * FROM try('int[]', ARRAY['[1, null, 3]', '[]', '[1.5]', '[[1],[2]]', '"{1,2}"'], 'postgresql');
CREATE TYPE has_array AS (a integer[]);
SET array_nulls = off;
SELECT * FROM try('has_array', ARRAY[$$"(\"{1,NULL}\")"$$], 'postgresql');
RESET array_nulls;
DROP TYPE has_array;
SELECT * FROM try('text[]', ARRAY['["a","b c",null,"\"{,}"]'], 'postgresql');
SELECT * FROM try('text[]', ARRAY['"x,z"', '""'], 'mariadb');
SELECT * FROM try('numeric(6,2)[]', ARRAY['["bg==","ANw=",null]'], 'postgresql', '{"type":"array","items":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"optional":true}}');
SELECT * FROM try('timestamptz[]', ARRAY['["2024-02-29T12:00:00.000000Z"]'], 'postgresql');

-- dates
SELECT * FROM try('date', ARRAY['-622191234', '-625821272', '-2147472692', '-2147472691', '"+292278994-08-16Z"', '"+292269055-12-02Z"', '"-5877611-06-22Z"'], 'postgresql');
SELECT * FROM try('date', ARRAY['19782', '-354285', '-719528', '-2147472692', '-2147483648', '2932896', '4000000', '19782.5', '"2024-02-29Z"', '"0000-01-01Z"', '"-5877611-06-21Z"', '"2024-02-30"', '"02/03/2024"', '"infinity"'], 'postgresql');
SELECT * FROM try('date', ARRAY['19782', '4000000'], 'vitess');
SELECT * FROM try('date', ARRAY['19782'], 'oracle');
SELECT * FROM try('date', ARRAY['1709164800000', '1709164800001'], 'oracle', logical('int64', 'io.debezium.time.Timestamp'));

-- times
SELECT * FROM try('time(3)', ARRAY['45296789', '86399999000', '86399999999', '"12:34:56.789Z"', '"12:34:56.7891Z"'], 'postgresql');
SELECT * FROM try('time', ARRAY['86399999999', '86400000000', '86400000001', '"24:00:00"', '"12:34:56+02:00"'], 'postgresql');
SELECT * FROM try('time', ARRAY['-45296000000', '45296000', '3020399000000'], 'mysql');
SELECT * FROM try('time', ARRAY['45296000', '45296000000'], 'mysql', strict => true);
SELECT * FROM try('time', ARRAY['45296000'], 'mysql', reading => '{"unit": "ms"}');
SELECT * FROM try('time', ARRAY['45296789123000', '45296789123456'], 'sqlserver', logical('int64', 'io.debezium.time.NanoTime'));
SELECT * FROM try('timetz', ARRAY['"10:34:56Z"', '"12:34:56.5+02:00"', '"10:34:56"', '1'], 'postgresql');
SELECT * FROM try('interval', ARRAY['-45296000000', '3020399000000'], 'mariadb');
SELECT * FROM try('interval', ARRAY['37091106789000', '"P1Y2M3DT4H5M6.789S"', '"P0Y0M-1DT0H0M0S"', '"P-1Y2M-3DT-4H5M-6.789S"', '"P"', '"PT1.5H"', '"1 day"'], 'postgresql');
SELECT * FROM try('interval(0)', ARRAY['1000000', '1500000'], 'postgresql');

-- timestamps
SELECT * FROM try('timestamp(0)', ARRAY['1709210096000', '-30610224000000', '1709210096789'], 'mariadb');
SELECT * FROM try('timestamp(3)', ARRAY['1709210096789', '253402300799999', '1709210096789012'], 'mariadb');
SELECT * FROM try('timestamp(6)', ARRAY['1709210096789012', '253402300799999999', '0', '1709210096000'], 'mariadb');
SELECT * FROM try('timestamp', ARRAY['1709210096000', '1709210096789012', '1000000', '253402214400000'], 'mysql');
SELECT * FROM try('timestamp(3)', ARRAY['1709210096789', '9223372036825200', '-62167219200000'], 'postgresql');
SELECT * FROM try('timestamp', ARRAY['1709210096789012', '-9223372036832400000', '9223372036825200000', '-30610224000000000', '1709210096789', '1709210096000000000'], 'postgresql');
SELECT * FROM try('timestamp', ARRAY['"2024-02-29T12:34:56.789Z"', '"+294247-01-10T04:00:25.2Z"', '"-290308-12-21T19:59:27.6Z"', '"0000-01-01T00:00:00Z"'], 'postgresql', logical('string', 'io.debezium.time.IsoTimestamp'));
SELECT * FROM try('timestamp', ARRAY['"2024-02-29T12:34:56+02:00"', '"2024-02-29T12:34:56.1234567Z"', '"2024-02-29 25:00:00"']);
SELECT * FROM try('timestamp', ARRAY['1709210096000', '0'], 'oracle');
SELECT * FROM try('timestamp', ARRAY['1709210096000'], 'oracle', reading => '{"unit": "ms"}');
SELECT * FROM try('timestamp', ARRAY['9223372036854775807', '1709210096789012000'], 'sqlserver', logical('int64', 'io.debezium.time.NanoTimestamp'));
SELECT * FROM try('timestamptz', ARRAY['"2024-02-29T12:34:56.789012Z"', '"1000-01-01T00:00:00.000000Z"', '"+294247-01-01T23:59:59.999999Z"', '"-4712-03-01T00:00:00Z"', '"-9999-03-01T00:00:00Z"', '"infinity"', '"now"'], 'postgresql');
SELECT * FROM try('timestamptz', ARRAY['1709210096000'], 'mysql', logical('int64', 'io.debezium.time.Timestamp'));
SELECT * FROM try('timestamptz', ARRAY['1709210096000', '1719750896000'], 'mysql', logical('int64', 'io.debezium.time.Timestamp'), '{"timezone": "Europe/Paris"}');
SELECT * FROM try('timestamptz', ARRAY['1709210096000'], 'mysql', logical('int64', 'io.debezium.time.Timestamp'), strict => true);

-- where clocks are turned forward, the hour that is left out is read as if they were not; where they are turned back,
-- an hour that is there twice is the second, after the turn
SELECT * FROM try('timestamptz', ARRAY['1711852200000', '1729996200000', '1729999800000'], 'mysql', logical('int64', 'io.debezium.time.Timestamp'), '{"timezone": "Europe/Paris"}');

-- types of extensions are known by their names; these stand for PostGIS and pgvector
CREATE FUNCTION geometry_in(cstring) RETURNS geometry LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION geometry_out(geometry) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE geometry (INPUT = geometry_in, OUTPUT = geometry_out);
CREATE FUNCTION sparsevec_in(cstring) RETURNS sparsevec LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE sparsevec (INPUT = sparsevec_in, OUTPUT = sparsevec_out);
CREATE FUNCTION halfvec_in(cstring) RETURNS halfvec LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE halfvec (INPUT = halfvec_in, OUTPUT = halfvec_out);
-- WKB with an SRID beside it, EWKB, big-endian, without an SRID, broken ones, WKT
SELECT * FROM try('geometry', ARRAY['{"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":4326}', '{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAEwA==","srid":4326}',
	'{"wkb":"AAAAAAE/8AAAAAAAAMAEAAAAAAAA","srid":4326}', '{"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":null}',
	'{"wkb":"AQ==","srid":null}', '{"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":"x"}', '{"srid":1}', '"POINT(1 -2.5)"', 'null']);
SELECT * FROM try('point', ARRAY['{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAEwA==","srid":4326}', '{"wkb":"AAAAAAE/8AAAAAAAAMAEAAAAAAAA","srid":null}', '{"wkb":"AQIAAAAAAAAA","srid":null}']);
SELECT * FROM try('sparsevec', ARRAY['{"dimensions":5,"vector":[[1,0.5],[3,2.0]]}', '{"dimensions":5,"vector":[]}', '{"dimensions":5,"vector":[[1]]}', '{"vector":[]}', '"{1:0.5}/5"']);
SELECT * FROM try('halfvec', ARRAY['[0.5,-1.0]', '{"a":1}']);

-- dates, times, bits and decimals of the schema in text and jsonb
SELECT * FROM try('text', ARRAY['3020399000000', '-45296000000', '86400000000'], schema => logical('int64', 'io.debezium.time.MicroTime'));
SELECT * FROM try('text', ARRAY['45296789123456', '-1'], schema => logical('int64', 'io.debezium.time.NanoTime'));
SELECT * FROM try('text', ARRAY['1531481025345678900', '-1', '9223372036854775807'], schema => logical('int64', 'io.debezium.time.NanoTimestamp'));
SELECT * FROM try('text', ARRAY['"2018-07-13T11:23:45.3456789Z"', '"2018-07-13T11:23:45Z"'], schema => logical('string', 'io.debezium.time.IsoTimestamp'));
SELECT * FROM try('varchar(10)', ARRAY['19782', '1.5', '"x"'], schema => logical('int32', 'io.debezium.time.Date'));
SELECT * FROM try('jsonb', ARRAY['1709210096789012', '-62135596800000001', '-9223372036832400000'], schema => logical('int64', 'io.debezium.time.MicroTimestamp'));
SELECT * FROM try('jsonb', ARRAY['["bg==",null]', '["x"]', '[]'], 'postgresql', '{"type":"array","items":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"optional":true}}');
-- what is finer than the column keeps is not cut
SELECT * FROM try('timestamp', ARRAY['1531481025345678900'], 'sqlserver');
SELECT * FROM try('timestamptz', ARRAY['"2018-07-13T12:23:45.4567891+11:00"', '"2018-07-13T12:23:45.4567890+11:00"'], 'sqlserver');
-- Oracle and SQL Server without schema
SELECT * FROM try('date', ARRAY['1522108800000', '253402214400000', '-62135596800000', '1522154096000', '1522108800000000', '1522108800000000000'], 'oracle');
SELECT * FROM try('date', ARRAY['1522108800000'], 'oracle', strict => true);
SELECT * FROM try('timestamp(6)', ARRAY['1522154096007890', '1522154096007', '100000000000000'], 'oracle');
SELECT * FROM try('interval', ARRAY['-93784560000', '-9.378456E10', '0.5'], 'oracle');
SELECT * FROM try('time(3)', ARRAY['37425680', '37425680000000', '37425680000'], 'sqlserver');
SELECT * FROM try('time', ARRAY['37425680', '37425680000000', '37425680000', '86400000000001'], 'sqlserver');
SELECT * FROM try('time', ARRAY['37425680'], 'oracle');
SELECT * FROM try('timestamp', ARRAY['1709210096789012000', '9223372036854775807'], 'mysql');

-- readings that cannot apply are refused when they are given
SELECT * FROM try('integer', ARRAY['1'], reading => '{"unit": "ms"}');
SELECT * FROM try('timestamp', ARRAY['1'], reading => '{"timezone": "Europe/Paris"}');
SELECT * FROM try('timestamptz', ARRAY['1'], reading => '{"timezone": "Europe/Atlantis"}');
SELECT * FROM try('bigint', ARRAY['1'], reading => '{"unsigned": true}');
SELECT * FROM try('uuid', ARRAY['1'], reading => '{"encoding": "hex"}');
SELECT * FROM try('jsonb', ARRAY['1'], reading => '{"encoding": "hex"}');
SELECT * FROM try('numeric', ARRAY['1'], reading => '{"scale": 5000}');

DROP SCHEMA types CASCADE;
