-- Every source type, in every form in which its values come, into every type
-- of column that somebody may have chosen.
--
-- For each form the source's own value is known.  A result is "right" where it
-- is what the server makes of that value for the column's type; everything else
-- is shown: "other" results, which must be explained by docs/types.md, and the
-- types that "refuse" it (the record is in quarantine).
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE EXTENSION hstore SCHEMA public;
CREATE EXTENSION ltree SCHEMA public;
CREATE EXTENSION citext SCHEMA public;
CREATE SCHEMA matrix;
SET search_path = matrix, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (value > 0);

CREATE TABLE form (no serial PRIMARY KEY, source text, mode text, connector text, "natural" text, truth text, wire text, schema text);
CREATE FUNCTION logical(type text, name text, parameters text DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT format('{"type":"%s","name":"%s","version":1,"parameters":%s}', type, name, parameters)
$$;
CREATE FUNCTION plain(type text) RETURNS text LANGUAGE sql AS $$ SELECT format('{"type":"%s"}', type) $$;
CREATE FUNCTION dz(type text, name text, parameters text DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT logical(type, 'io.debezium.' || name, parameters)
$$;
CREATE FUNCTION kc(type text, name text, parameters text DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT logical(type, 'org.apache.kafka.connect.data.' || name, parameters)
$$;
CREATE FUNCTION items(item text) RETURNS text LANGUAGE sql AS $$ SELECT format('{"type":"array","items":%s}', item) $$;
CREATE FUNCTION struct(name text) RETURNS text LANGUAGE sql AS $$
	SELECT format('{"type":"struct","fields":[],"name":"io.debezium.%s","version":1}', name)
$$;

INSERT INTO form (source, mode, connector, "natural", truth, wire, schema) VALUES
-- MySQL, MariaDB
('TINYINT(1)', '', 'mysql', 'boolean', 'true', '1', plain('int16')),
('BOOLEAN', 'streamed', 'mysql', 'boolean', 'true', 'true', plain('boolean')),
('TINYINT UNSIGNED', '', 'mysql', 'smallint', '255', '255', plain('int16')),
('MEDIUMINT', '', 'mysql', 'integer', '-8388608', '-8388608', plain('int32')),
('INT UNSIGNED', '', 'mysql', 'bigint', '4294967295', '4294967295', plain('int64')),
('BIGINT', '', 'mysql', 'bigint', '-9223372036854775808', '-9223372036854775808', plain('int64')),
('BIGINT UNSIGNED', 'long', 'mysql', 'numeric(20,0)', '9223372036854775807', '9223372036854775807', plain('int64')),
('BIGINT UNSIGNED', 'long, type propagated', 'mysql', 'numeric(20,0)', '18446744073709551615', '-1', '{"type":"int64","parameters":{"__debezium.source.column.type":"BIGINT UNSIGNED"}}'),
('BIGINT UNSIGNED', 'precise', 'mysql', 'numeric(20,0)', '18446744073709551615', '"AP//////////"', kc('bytes', 'Decimal', '{"scale":"0","connect.decimal.precision":"20"}')),
('DECIMAL(10,3)', 'precise', 'mysql', 'numeric(10,3)', '123.456', '"AeJA"', kc('bytes', 'Decimal', '{"scale":"3","connect.decimal.precision":"10"}')),
('DECIMAL(38,10)', 'precise', 'mysql', 'numeric(38,10)', '-1234567890123456789012345678.0123456789', '"9rZPCQ/9zOw7tm+xM5i66w=="', kc('bytes', 'Decimal', '{"scale":"10","connect.decimal.precision":"38"}')),
('DECIMAL(38,10)', 'string', 'mysql', 'numeric(38,10)', '-1234567890123456789012345678.0123456789', '"-1234567890123456789012345678.0123456789"', plain('string')),
('DECIMAL(10,0)', 'string', 'mysql', 'numeric(10,0)', '12345', '"12345"', plain('string')),
('DECIMAL(10,2)', 'double', 'mysql', 'numeric(10,2)', '1234.56', '1234.56', plain('double')),
('DECIMAL(10,2)', 'NUMERIC format', 'mysql', 'numeric(10,2)', '1000', '1E+3', kc('bytes', 'Decimal', '{"scale":"2"}')),
('FLOAT', '', 'mysql', 'real', '1.5', '1.5', plain('float')),
('DOUBLE', '', 'mysql', 'double precision', '-0.1', '-0.1', plain('double')),
('BIT(1)', '', 'mysql', 'boolean', 'true', 'true', plain('boolean')),
('BIT(20)', '', 'mysql', 'bit(20)', '00001111000011110101', '"9fAA"', dz('bytes', 'data.Bits', '{"length":"20"}')),
('CHAR(5)', '', 'mysql', 'char(5)', 'ab', '"ab"', plain('string')),
('VARCHAR', '', 'mysql', 'varchar(40)', 'Ünï "q" \ 漢字', '"\u00dcn\u00ef \"q\" \\ 漢字"', plain('string')),
('VARBINARY', 'bytes', 'mysql', 'bytea', '\xfbff00fe', '"+/8A/g=="', plain('bytes')),
('VARBINARY', 'base64', 'mysql', 'bytea', '\xfbff00fe', '"+/8A/g=="', plain('string')),
('VARBINARY', 'base64-url-safe', 'mysql', 'bytea', '\xfbff00fe', '"-_8A_g=="', plain('string')),
('VARBINARY', 'hex', 'mysql', 'bytea', '\xfbff00fe01', '"fbff00fe01"', plain('string')),
('BINARY(4)', 'bytes', 'mysql', 'bytea', '\x61000000', '"YQAAAA=="', plain('bytes')),
('ENUM', '', 'mysql', 'mood', 'happy', '"happy"', dz('string', 'data.Enum', '{"allowed":"sad,ok,happy"}')),
('SET', '', 'mysql', 'text[]', '{a,c}', '"a,c"', dz('string', 'data.EnumSet', '{"allowed":"a,b,c"}')),
('JSON', '', 'mysql', 'jsonb', '{"a": [1, "x", null]}', '"{\"a\": [1, \"x\", null]}"', dz('string', 'data.Json')),
('DATE', 'adaptive', 'mysql', 'date', '2024-02-29', '19782', dz('int32', 'time.Date')),
('DATE', 'connect', 'mysql', 'date', '9999-12-31', '2932896', kc('int32', 'Date')),
('DATE', 'isostring', 'mysql', 'date', '1000-01-01', '"1000-01-01Z"', dz('string', 'time.IsoDate')),
('TIME(6)', 'adaptive_time_microseconds', 'mysql', 'interval', '12:34:56.123456', '45296123456', dz('int64', 'time.MicroTime')),
('TIME', 'adaptive_time_microseconds', 'mysql', 'interval', '-12:34:56', '-45296000000', dz('int64', 'time.MicroTime')),
('TIME', 'microseconds', 'mysql', 'interval', '838:59:59', '3020399000000', dz('int64', 'time.MicroTime')),
('TIME', 'connect', 'mysql', 'time', '12:34:56', '45296000', kc('int32', 'Time')),
('TIME', 'isostring', 'mysql', 'time', '12:34:56', '"12:34:56Z"', dz('string', 'time.IsoTime')),
('TIME(3)', 'nanoseconds', 'mysql', 'time(3)', '12:34:56.789', '45296789000000', dz('int64', 'time.NanoTime')),
('DATETIME(3)', 'adaptive', 'mysql', 'timestamp(3)', '2024-02-29 12:34:56.789', '1709210096789', dz('int64', 'time.Timestamp')),
('DATETIME(6)', 'adaptive', 'mysql', 'timestamp(6)', '2024-02-29 12:34:56.789012', '1709210096789012', dz('int64', 'time.MicroTimestamp')),
('DATETIME', 'adaptive, 1000', 'mysql', 'timestamp(0)', '1000-01-01 00:00:00', '-30610224000000', dz('int64', 'time.Timestamp')),
('DATETIME(6)', 'adaptive, 9999', 'mysql', 'timestamp(6)', '9999-12-31 23:59:59.999999', '253402300799999999', dz('int64', 'time.MicroTimestamp')),
('DATETIME(3)', 'connect', 'mysql', 'timestamp(3)', '2024-02-29 12:34:56.789', '1709210096789', kc('int64', 'Timestamp')),
('DATETIME(6)', 'isostring', 'mysql', 'timestamp(6)', '2024-02-29 12:34:56.789012', '"2024-02-29T12:34:56.789012Z"', dz('string', 'time.IsoTimestamp')),
('DATETIME(6)', 'nanoseconds', 'mysql', 'timestamp(6)', '2024-02-29 12:34:56.789012', '1709210096789012000', dz('int64', 'time.NanoTimestamp')),
('TIMESTAMP(6)', '', 'mysql', 'timestamptz', '2024-02-29 12:34:56.789012+00', '"2024-02-29T12:34:56.789012Z"', dz('string', 'time.ZonedTimestamp')),
('YEAR', '', 'mysql', 'integer', '2024', '2024', dz('int32', 'time.Year')),
('POINT', '', 'mysql', 'point', '(1,-2.5)', '{"x":1.0,"y":-2.5,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":null}', struct('data.geometry.Point')),
('GEOMETRY', '', 'mysql', 'bytea', '\x0101000000000000000000f03f00000000000004c0', '{"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":4326}', struct('data.geometry.Geometry')),
('VECTOR', '', 'mysql', 'real[]', '{0.5,-1}', '[0.5,-1.0]', items('{"type":"float"}')),
('INET6', '', 'mariadb', 'inet', '2001:db8::1', '"2001:db8::1"', plain('string')),
-- PostgreSQL
('boolean', '', 'postgresql', 'boolean', 'false', 'false', plain('boolean')),
('smallint', '', 'postgresql', 'smallint', '-32768', '-32768', plain('int16')),
('bigint', '', 'postgresql', 'bigint', '9223372036854775807', '9223372036854775807', plain('int64')),
('oid', '', 'postgresql', 'oid', '4294967295', '4294967295', plain('int64')),
('real', '', 'postgresql', 'real', 'NaN', '"NaN"', plain('float')),
('double precision', '', 'postgresql', 'double precision', '-Infinity', '"-Infinity"', plain('double')),
('numeric(10,2)', 'precise', 'postgresql', 'numeric(10,2)', '-0.01', '"/w=="', kc('bytes', 'Decimal', '{"scale":"2","connect.decimal.precision":"10"}')),
('numeric', 'precise', 'postgresql', 'numeric', '77.323', '{"scale":3,"value":"AS4L"}', struct('data.VariableScaleDecimal')),
('numeric', 'precise, scale -2', 'postgresql', 'numeric', '1234500', '{"scale":-2,"value":"MDk="}', struct('data.VariableScaleDecimal')),
('numeric', 'string', 'postgresql', 'numeric', 'NaN', '"NAN"', plain('string')),
('numeric', 'string', 'postgresql', 'numeric', '-Infinity', '"NEGATIVE_INFINITY"', plain('string')),
('numeric(12,10)', 'string', 'postgresql', 'numeric(12,10)', '0.0000000000', '"0E-10"', plain('string')),
('numeric', 'double', 'postgresql', 'numeric', '77.323', '77.323', plain('double')),
('money', 'precise', 'postgresql', 'money', '-1.00', '"nA=="', kc('bytes', 'Decimal', '{"scale":"2"}')),
('money', 'string', 'postgresql', 'money', '12.50', '"12.50"', plain('string')),
('char(5)', '', 'postgresql', 'char(5)', 'ab', '"ab   "', plain('string')),
('citext', '', 'postgresql', 'citext', 'AbC', '"AbC"', plain('string')),
('bytea', 'bytes', 'postgresql', 'bytea', '\xdeadbeef01', '"3q2+7wE="', plain('bytes')),
('bytea', 'hex', 'postgresql', 'bytea', '\xdeadbeef01', '"deadbeef01"', plain('string')),
('date', 'adaptive', 'postgresql', 'date', 'infinity', '-2147472692', dz('int32', 'time.Date')),
('date', 'adaptive', 'postgresql', 'date', '-infinity', '-2147472691', dz('int32', 'time.Date')),
('date', 'adaptive, BC', 'postgresql', 'date', '0001-01-01 BC', '-719528', dz('int32', 'time.Date')),
('date', 'isostring', 'postgresql', 'date', 'infinity', '"-5877611-06-21Z"', dz('string', 'time.IsoDate')),
('date', 'isostring', 'postgresql', 'date', '-infinity', '"-5877611-06-22Z"', dz('string', 'time.IsoDate')),
('time(3)', 'adaptive', 'postgresql', 'time(3)', '12:34:56.789', '45296789', dz('int32', 'time.Time')),
('time', 'adaptive', 'postgresql', 'time', '24:00:00', '86400000000', dz('int64', 'time.MicroTime')),
('time', 'isostring', 'postgresql', 'time', '04:05:11.789', '"04:05:11.789Z"', dz('string', 'time.IsoTime')),
('timetz', '', 'postgresql', 'timetz', '10:34:56.5+00', '"10:34:56.5Z"', dz('string', 'time.ZonedTime')),
('timestamp(3)', 'adaptive', 'postgresql', 'timestamp(3)', '1969-12-31 23:59:59.999', '-1', dz('int64', 'time.Timestamp')),
('timestamp(3)', 'adaptive', 'postgresql', 'timestamp(3)', 'infinity', '9223372036825200', dz('int64', 'time.Timestamp')),
('timestamp', 'adaptive', 'postgresql', 'timestamp', '2024-02-29 12:34:56.789012', '1709210096789012', dz('int64', 'time.MicroTimestamp')),
('timestamp', 'adaptive', 'postgresql', 'timestamp', 'infinity', '9223372036825200000', dz('int64', 'time.MicroTimestamp')),
('timestamp', 'adaptive', 'postgresql', 'timestamp', '-infinity', '-9223372036832400000', dz('int64', 'time.MicroTimestamp')),
('timestamp', 'connect', 'postgresql', 'timestamp', '0001-01-01 00:00:00 BC', '-62167219200000', kc('int64', 'Timestamp')),
('timestamp', 'isostring', 'postgresql', 'timestamp', '4713-03-01 00:00:00 BC', '"-4712-03-01T00:00:00Z"', dz('string', 'time.IsoTimestamp')),
('timestamp', 'isostring', 'postgresql', 'timestamp', '-infinity', '"-290308-12-21T19:59:27.6Z"', dz('string', 'time.IsoTimestamp')),
('timestamp', 'isostring', 'postgresql', 'timestamp', 'infinity', '"+292278994-08-16T23:00:00Z"', dz('string', 'time.IsoTimestamp')),
('timestamp', 'nanoseconds', 'postgresql', 'timestamp', 'infinity', '9223372036854775807', dz('int64', 'time.NanoTimestamp')),
('timestamptz', '', 'postgresql', 'timestamptz', '2024-02-29 10:34:56.789012+00', '"2024-02-29T10:34:56.789012Z"', dz('string', 'time.ZonedTimestamp')),
('timestamptz', '', 'postgresql', 'timestamptz', '294247-01-01 00:00:00+00', '"+294247-01-01T23:59:59.999999Z"', dz('string', 'time.ZonedTimestamp')),
('timestamptz', '', 'postgresql', 'timestamptz', 'infinity', '"infinity"', dz('string', 'time.ZonedTimestamp')),
('timestamptz', 'BC', 'postgresql', 'timestamptz', '0001-01-01 00:00:00+00 BC', '"0000-01-01T00:00:00Z"', dz('string', 'time.ZonedTimestamp')),
('interval', 'numeric', 'postgresql', 'interval', '-26:03:04.5', '-93784500000', dz('int64', 'time.MicroDuration')),
('interval', 'string', 'postgresql', 'interval', '1 year 2 mons -3 days 04:05:06.78', '"P1Y2M-3DT4H5M6.78S"', dz('string', 'time.Interval')),
('uuid', '', 'postgresql', 'uuid', '123e4567-e89b-12d3-a456-426614174000', '"123e4567-e89b-12d3-a456-426614174000"', dz('string', 'data.Uuid')),
('json', '', 'postgresql', 'json', '{"b":1,"a":[]}', '"{\"b\":1,\"a\":[]}"', dz('string', 'data.Json')),
('jsonb', 'a string', 'postgresql', 'jsonb', '"abc"', '"\"abc\""', dz('string', 'data.Json')),
('xml', '', 'postgresql', 'xml', '<a>b</a>', '"<a>b</a>"', dz('string', 'data.Xml')),
('inet', '', 'postgresql', 'inet', '10.0.0.1/24', '"10.0.0.1/24"', plain('string')),
('macaddr', '', 'postgresql', 'macaddr', '08:00:2b:01:02:03', '"08:00:2b:01:02:03"', plain('string')),
('bit(5)', '', 'postgresql', 'bit(5)', '00101', '"BQ=="', dz('bytes', 'data.Bits', '{"length":"5"}')),
('bit(60)', '', 'postgresql', 'bit(60)', repeat('1', 60), '"/////////w8="', dz('bytes', 'data.Bits', '{"length":"60"}')),
('varbit', '', 'postgresql', 'varbit', '10101', '"FQ=="', dz('bytes', 'data.Bits', '{"length":"2147483647"}')),
('point', '', 'postgresql', 'point', '(1,-2.5)', '{"x":1.0,"y":-2.5,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":null}', struct('data.geometry.Point')),
('geometry', '', 'postgresql', 'bytea', '\x0101000020e6100000000000000000f03f00000000000004c0', '{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAEwA==","srid":4326}', struct('data.geometry.Geometry')),
('enum', '', 'postgresql', 'mood', 'ok', '"ok"', dz('string', 'data.Enum', '{"allowed":"sad,ok,happy"}')),
('domain over int', '', 'postgresql', 'positive', '7', '7', plain('int32')),
('int4[]', '', 'postgresql', 'int[]', '{1,NULL,3}', '[1,null,3]', items(plain('int32'))),
('text[]', '', 'postgresql', 'text[]', '{"a b",NULL,"\"{,}"}', '["a b",null,"\"{,}"]', items(plain('string'))),
('numeric(6,2)[]', 'precise', 'postgresql', 'numeric(6,2)[]', '{1.10,-1.00}', '["bg==","nA=="]', items(kc('bytes', 'Decimal', '{"scale":"2"}'))),
('date[]', '', 'postgresql', 'date[]', '{2024-02-29,NULL}', '[19782,null]', items(dz('int32', 'time.Date'))),
('timestamptz[]', '', 'postgresql', 'timestamptz[]', '{"2024-02-29 12:00:00+00"}', '["2024-02-29T12:00:00.000000Z"]', items(dz('string', 'time.ZonedTimestamp'))),
('uuid[]', '', 'postgresql', 'uuid[]', '{123e4567-e89b-12d3-a456-426614174000}', '["123e4567-e89b-12d3-a456-426614174000"]', items(dz('string', 'data.Uuid'))),
('int4range', '', 'postgresql', 'int4range', '[1,10)', '"[1,10)"', plain('string')),
('tstzrange', '', 'postgresql', 'tstzrange', '["2024-01-01 00:00:00+00",)', '"[\"2024-01-01 00:00:00+00\",)"', plain('string')),
('hstore', 'json', 'postgresql', 'hstore', '"a"=>"1 \" \\ ", "b"=>NULL', '"{\"a\":\"1 \\\" \\\\ \",\"b\":null}"', dz('string', 'data.Json')),
('hstore', 'map', 'postgresql', 'hstore', '"a"=>"1", "b"=>NULL', '{"a":"1","b":null}', '{"type":"map","keys":{"type":"string"},"values":{"type":"string"}}'),
('ltree', '', 'postgresql', 'ltree', 'Top.Science', '"Top.Science"', dz('string', 'data.Ltree')),
('tsvector', '', 'postgresql', 'tsvector', '''direct'':6 ''insert'':8', '"''direct'':6 ''insert'':8"', dz('string', 'data.Tsvector')),
('vector', '', 'postgresql', 'double precision[]', '{0.1,0.2}', '[0.1,0.2]', items('{"type":"double"}')),
-- Oracle
('NUMBER(9)', '', 'oracle', 'integer', '999999999', '999999999', plain('int32')),
('NUMBER(8,-1)', '', 'oracle', 'integer', '999999990', '999999990', plain('int32')),
('NUMBER(38)', 'precise', 'oracle', 'numeric(38,0)', '99999999999999999999999999999999999999', '"SztMqFqGxHoJiiI//////w=="', kc('bytes', 'Decimal', '{"scale":"0","connect.decimal.precision":"38"}')),
('NUMBER(10,6)', 'precise', 'oracle', 'numeric(10,6)', '4.444400', '"Q9Dw"', kc('bytes', 'Decimal', '{"scale":"6","connect.decimal.precision":"10"}')),
('NUMBER', 'precise', 'oracle', 'numeric', '77.323', '{"scale":3,"value":"AS4L"}', struct('data.VariableScaleDecimal')),
('FLOAT', 'precise', 'oracle', 'numeric', '3.33', '{"scale":2,"value":"AU0="}', struct('data.VariableScaleDecimal')),
('NUMBER', 'string', 'oracle', 'numeric', '77.323', '"77.323"', plain('string')),
('NUMBER', 'string', 'oracle', 'numeric', '1000', '"1E+3"', plain('string')),
('NUMBER', 'double', 'oracle', 'numeric', '77.323', '77.323', plain('double')),
('BINARY_DOUBLE', '', 'oracle', 'double precision', '2.22', '2.22', plain('double')),
('CHAR(3)', '', 'oracle', 'char(3)', 'c', '"c  "', plain('string')),
('RAW', 'bytes', 'oracle', 'bytea', '\xdeadbeef01', '"3q2+7wE="', plain('bytes')),
('DATE', 'adaptive', 'oracle', 'timestamp(0)', '2018-03-27 00:00:00', '1522108800000', dz('int64', 'time.Timestamp')),
('DATE', 'adaptive', 'oracle', 'timestamp(0)', '9999-12-31 00:00:00', '253402214400000', dz('int64', 'time.Timestamp')),
('TIMESTAMP(6)', 'adaptive', 'oracle', 'timestamp', '2018-03-27 12:34:56.00789', '1522154096007890', dz('int64', 'time.MicroTimestamp')),
('TIMESTAMP(2)', 'adaptive', 'oracle', 'timestamp(2)', '2018-03-27 12:34:56.13', '1522154096130', dz('int64', 'time.Timestamp')),
('TIMESTAMP(9)', 'adaptive', 'oracle', 'timestamp', '2018-03-27 12:34:56.00789', '1522154096007890000', dz('int64', 'time.NanoTimestamp')),
('TIMESTAMP(9)', 'adaptive', 'oracle', 'text', '2018-03-27 12:34:56.007890125', '1522154096007890125', dz('int64', 'time.NanoTimestamp')),
('TIMESTAMP WITH TIME ZONE', '', 'oracle', 'timestamptz', '2018-03-27 12:34:56.00789+00', '"2018-03-27T01:34:56.00789-11:00"', dz('string', 'time.ZonedTimestamp')),
('INTERVAL YEAR TO MONTH', 'numeric', 'oracle', 'interval', '-30681:00:00', '-110451600000000', dz('int64', 'time.MicroDuration')),
('INTERVAL YEAR TO MONTH', 'string', 'oracle', 'interval', '-3 years -6 mons', '"P-3Y-6M0DT0H0M0S"', dz('string', 'time.Interval')),
('INTERVAL DAY TO SECOND', 'numeric', 'oracle', 'interval', '-26:03:04.56', '-9.378456E10', dz('double', 'time.MicroDuration')),
-- SQL Server
('bit', '', 'sqlserver', 'boolean', 'true', 'true', plain('boolean')),
('tinyint', '', 'sqlserver', 'smallint', '22', '22', plain('int16')),
('decimal(6,3)', 'precise', 'sqlserver', 'numeric(6,3)', '1.123', '"BGM="', kc('bytes', 'Decimal', '{"scale":"3","connect.decimal.precision":"6"}')),
('money', 'precise', 'sqlserver', 'numeric(19,4)', '6.3230', '"APb+"', kc('bytes', 'Decimal', '{"scale":"4","connect.decimal.precision":"19"}')),
('real', '', 'sqlserver', 'real', '4.323', '4.323', plain('float')),
('uniqueidentifier', '', 'sqlserver', 'uuid', '3f2504e0-4f89-11d3-9a0c-0305e82c3301', '"3F2504E0-4F89-11D3-9A0C-0305E82C3301"', plain('string')),
('date', 'adaptive', 'sqlserver', 'date', '2018-07-13', '17725', dz('int32', 'time.Date')),
('time(2)', 'adaptive', 'sqlserver', 'time(2)', '10:23:45.68', '37425680', dz('int32', 'time.Time')),
('time(4)', 'adaptive', 'sqlserver', 'time(4)', '10:23:45.6789', '37425678900', dz('int64', 'time.MicroTime')),
('time(7)', 'adaptive', 'sqlserver', 'time', '10:23:45.6789', '37425678900000', dz('int64', 'time.NanoTime')),
('datetime', 'adaptive', 'sqlserver', 'timestamp(3)', '2018-07-13 13:23:45.78', '1531488225780', dz('int64', 'time.Timestamp')),
('smalldatetime', 'adaptive', 'sqlserver', 'timestamp(0)', '2018-07-13 14:24:00', '1531491840000', dz('int64', 'time.Timestamp')),
('datetime2(6)', 'adaptive', 'sqlserver', 'timestamp', '2018-07-13 11:23:45.34', '1531481025340000', dz('int64', 'time.MicroTimestamp')),
('datetime2', 'adaptive', 'sqlserver', 'timestamp', '2018-07-13 11:23:45.34', '1531481025340000000', dz('int64', 'time.NanoTimestamp')),
('datetimeoffset', '', 'sqlserver', 'timestamptz', '2018-07-13 01:23:45.456+00', '"2018-07-13T12:23:45.456+11:00"', dz('string', 'time.ZonedTimestamp')),
('xml', '', 'sqlserver', 'xml', '<a>b</a>', '"<a>b</a>"', plain('string')),
-- Db2
('TIMESTAMP(6)', 'adaptive', 'db2', 'timestamp', '2018-07-13 11:23:45.34', '1531481025340000', dz('int64', 'time.MicroTimestamp')),
('DATE', 'adaptive', 'db2', 'date', '2018-07-13', '17725', dz('int32', 'time.Date'));
-- nothing of that is more than the types keep
UPDATE form SET truth = '294247-01-01 23:59:59.999999+00' WHERE truth LIKE '294247%';

-- Those that every form is tried with, and its own.
CREATE TABLE tried (type text PRIMARY KEY);
INSERT INTO tried VALUES ('text'), ('varchar(40)'), ('jsonb'), ('numeric'), ('bigint'), ('integer'), ('double precision'),
	('boolean'), ('date'), ('time'), ('timestamp'), ('timestamptz'), ('interval'), ('uuid'), ('bytea'), ('inet'), ('text[]'), ('point');
CREATE TABLE cell (no int, schema boolean, type text, result text, code text);

CREATE FUNCTION convert_forms(wanted text, with_schema boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE x (id bigint PRIMARY KEY, v %s)', wanted);
	PERFORM cdc_create('x', target => 'x', options => '{"max_quarantine_share": 1}');
	INSERT INTO x_debezium (kafka_offset, kafka_key, kafka_value)
		SELECT no, convert_to(format('{"id":%s}', no), 'UTF8'), convert_to(CASE WHEN NOT with_schema THEN payload ELSE
			format('{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"},%s],"optional":true,"name":"s.t.Value","field":"after"},{"type":"string","optional":false,"field":"op"}],"optional":false,"name":"s.t.Envelope"},"payload":%s}',
				left(f.schema, -1) || ',"optional":true,"field":"v"}', payload) END, 'UTF8')
		FROM form f, format('{"before":null,"after":{"id":%s,"v":%s},"source":{"connector":"%s"},"op":"c"}', no, wire, connector) payload
		WHERE wanted = "natural" OR wanted IN (SELECT type FROM tried)
		ORDER BY no;
	PERFORM cdc_sync('x');
	INSERT INTO cell SELECT no, with_schema, wanted, x.v::text, q.sqlstate
		FROM form LEFT JOIN x ON x.id = no LEFT JOIN cdcsync.quarantine q ON q.pipeline = 'x' AND q.kafka_offset = no
		WHERE wanted = "natural" OR wanted IN (SELECT type FROM tried);
	PERFORM cdc_drop('x', drop_target => true);
END
$$;
SELECT count(convert_forms(type, with_schema)) > 0 AS done
FROM (SELECT type FROM tried UNION SELECT "natural" FROM form) t, (VALUES (true), (false)) s (with_schema);

-- What the server makes of the source's value; NULL: nothing.
CREATE FUNCTION cast_to(type text, value text, "natural" text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	IF type = 'jsonb' AND "natural" NOT IN ('json', 'jsonb') THEN
		EXECUTE format('SELECT to_jsonb(%L::%s)::text', value, "natural") INTO result;
	ELSE
		EXECUTE format('SELECT (%L::%s)::text', value, type) INTO result;
	END IF;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN NULL;
END
$$;
-- Nothing may be lost: each cell has a result or a reason.
SELECT * FROM cell WHERE (result IS NULL) = (code IS NULL);
-- With its schema, each value is right in its own type.
SELECT source, mode, "natural", result, code FROM cell JOIN form USING (no)
WHERE type = "natural" AND cell.schema AND result IS DISTINCT FROM cast_to(type, truth, "natural");

\pset format unaligned
\pset fieldsep ' | '
SELECT f.source || CASE WHEN mode <> '' THEN ' (' || mode || ')' ELSE '' END AS source,
	CASE WHEN c.schema THEN 'schema' ELSE '-' END AS schema, left(wire, 50) AS wire,
	string_agg(type, ', ' ORDER BY type <> "natural", type) FILTER (WHERE result = cast_to(type, truth, "natural")) AS "right",
	string_agg(type || ': ' || result, ', ' ORDER BY type) FILTER (WHERE result IS DISTINCT FROM cast_to(type, truth, "natural") AND result IS NOT NULL) AS other,
	string_agg(type || ' ' || code, ', ' ORDER BY code, type) FILTER (WHERE code IS NOT NULL) AS refuse
FROM form f JOIN cell c USING (no) GROUP BY f.no, c.schema ORDER BY f.no, c.schema DESC;
\pset format aligned

DROP SCHEMA matrix CASCADE;
DROP EXTENSION hstore;
DROP EXTENSION ltree;
DROP EXTENSION citext;
