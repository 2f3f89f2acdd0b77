-- json_parse, can_json_parse, cdc_decode: what they take and what they refuse

-- plain values, and Redshift's names
SELECT json_parse('{"a": [1, 2.50, "x", null, true]}'::text);
SELECT json_parse('\x7b2261223a317d'::bytea);
SELECT can_json_parse('{"a": 1}'::text), can_json_parse('{"a": 1'::text),
	can_json_parse(''::text), can_json_parse(NULL::text),
	can_json_parse('\xff'::bytea), can_json_parse(NULL::bytea);
SELECT json_parse(NULL::bytea) IS NULL AS null_for_null;

-- every refusal is 22P02, and the other functions agree with it
CREATE FUNCTION json_verdict(value bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text := '00000';
	message text := 'ok';
BEGIN
	BEGIN
		PERFORM json_parse(value);
	EXCEPTION WHEN OTHERS THEN
		state := SQLSTATE;
		message := SQLERRM;
	END;
	IF can_json_parse(value) IS DISTINCT FROM (state = '00000') OR
		(cdcsync.json_parse_or_null(value) IS NULL) IS DISTINCT FROM (state <> '00000')
	THEN
		message := 'can_json_parse or json_parse_or_null disagrees: ' || message;
	END IF;
	BEGIN
		IF can_json_parse(convert_from(value, 'UTF8')) <> (state = '00000') THEN
			message := 'can_json_parse differs between bytea and text: ' || message;
		END IF;
	EXCEPTION WHEN character_not_in_repertoire THEN
		NULL;					-- no text, so there is nothing to compare
	END;
	RETURN state || ' ' || message;
END $$;

SELECT name, json_verdict(value) FROM (VALUES
	(1, 'empty', ''::bytea),
	(2, 'spaces', ' '),
	(3, 'cut text', '{"a":'),
	(4, 'cut string', '"abc'),
	(5, 'trailing', '{} x'),
	(6, 'trailing comma', '[1,]'),
	(7, 'leading zero', '[01]'),
	(8, 'byte order mark', '\xefbbbf7b7d'),
	(9, 'zero byte', '\x7b007d'),
	(10, 'zero byte in a string', '\x22610022'),
	(11, 'tab in a string', '\x22610922'),
	(12, 'truncated UTF-8', '\x22c322'),
	(13, 'overlong UTF-8', '\x22c0af22'),
	(14, 'surrogate in UTF-8', '\x22eda08022'),
	(15, 'beyond Unicode', '\x22f490808022'),
	(16, 'two bytes', '\x22c3a922'),
	(17, 'four bytes', '\x22f09f988022'),
	(18, 'bad escape', '"\\x41"'),
	(19, 'short escape', '"\\u12"'),
	(20, 'escaped zero', '"\\u0000"'),
	(21, 'escaped zero in a name', '{"\\u0000": 1}'),
	(22, 'surrogate pair', '"\\ud83d\\ude00"'),
	(23, 'high surrogate', '"\\ud83d"'),
	(24, 'low surrogate', '"\\ude00"'),
	(25, 'two high surrogates', '"\\ud83d\\ud83d"'),
	(26, 'big number', '1e1000'),
	(27, 'too big number', '1e200000'),
	(28, 'small number', '1e-1000'),
	(29, 'too small number', '1e-20000'),
	(30, 'long number', convert_to(repeat('9', 2000), 'UTF8')),
	(31, 'too long number', convert_to(repeat('9', 140000), 'UTF8')),
	(32, 'repeated names', '{"a": 1, "a": 2}'),
	(33, 'deep', convert_to(repeat('[', 512) || repeat(']', 512), 'UTF8')),
	(34, 'too deep', convert_to(repeat('[', 513) || repeat(']', 513), 'UTF8')),
	(35, 'much too deep', convert_to(repeat('[', 1000000), 'UTF8'))
	) v(no, name, value) ORDER BY no;

SELECT json_parse('{"a": "\u0000"}'::text);
SELECT json_parse('[1, 2'::text);
SELECT json_parse('{"a": tru}'::text);
SELECT json_parse('[1e200000]'::text);
SELECT cdcsync.json_parse_or_null('[1e200000]') IS NULL AS refused,
	cdcsync.json_parse_or_null('[1e2000]') IS NOT NULL AS taken,
	cdcsync.json_parse_or_null('{"a": 1}'), cdcsync.json_parse_or_null('{a}');

-- the smallest stack that can be set is enough for the deepest text
BEGIN;
SET LOCAL max_stack_depth = '100kB';
SELECT length(json_parse(repeat('[', 512) || repeat(']', 512))::text) > 0 AS deep;
ROLLBACK;

-- the envelope
SELECT * FROM cdc_decode('{"before":null,"after":{"CUST_ID":1,"NAME":"a"},"source":{"connector":"mysql","ts_ms":5},"transaction":null,"op":"c","ts_ms":1755849600000}');
SELECT * FROM cdc_decode('{"schema":{"type":"struct"},"payload":{"before":{"id":1},"after":null,"source":{},"transaction":{"id":"7:1"},"op":"D"}}');
SELECT * FROM cdc_decode('{"payload":{"op":"r","after":{"id":1},"ts_ms":null}}');
-- members in any order, the last one of a name counts, names with escapes
SELECT op, ts_ms, after FROM cdc_decode('{"ts_ms":1,"\\u006fp":"u","after":{"a":1},"after":{"a":2},"ts_ms":2}');
-- tombstones
SELECT * FROM cdc_decode('null');
SELECT * FROM cdc_decode('{"schema":null,"payload":null}');
SELECT * FROM cdc_decode(NULL);
-- no JSON
SELECT * FROM cdc_decode('');
SELECT * FROM cdc_decode('Struct{id=1}');
SELECT * FROM cdc_decode('{"op":"c","after":{"a":"\\u0000"}}');
-- JSON, but no envelope that we know
\set VERBOSITY sqlstate
SELECT * FROM cdc_decode('{"op":"x","after":{}}');
SELECT * FROM cdc_decode('{"ts_ms":1755849600000}');
SELECT * FROM cdc_decode('{"op":');
\set VERBOSITY default
SELECT * FROM cdc_decode('{"op":"x","after":{}}');
SELECT * FROM cdc_decode('{"op":"c","after":null}');
SELECT * FROM cdc_decode('{"op":"c","after":"{\\"_id\\": 1}"}');
SELECT * FROM cdc_decode('{"op":"d","before":[1]}');
SELECT * FROM cdc_decode('{"op":"d","before":null,"ts_ms":"now"}');
SELECT * FROM cdc_decode('{"ts_ms":1755849600000}');
SELECT * FROM cdc_decode('{"CUST_ID":1,"payload":null}');
SELECT * FROM cdc_decode('[]');
SELECT * FROM cdc_decode('{"status":"END","id":"7:1","event_count":0,"data_collections":null,"ts_ms":1}');
SELECT * FROM cdc_decode('{"source":{"connector":"mysql"},"ts_ms":1,"databaseName":"salesdb","ddl":"DROP TABLE t"}');

DROP FUNCTION json_verdict(bytea);
