-- Targets that are made from the events: columns, key and types, with embedded
-- schema and without, from recorded events.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE SCHEMA infer;
SET search_path = infer, public;
-- nothing that is made may depend on these
SET TimeZone = 'America/New_York';
SET DateStyle = 'SQL, DMY';

-- one record a line, as kcat -J prints it
CREATE TABLE line (no serial, record json);
CREATE FUNCTION feed(pipeline text, topic text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_key, kafka_value)
		SELECT convert_to(record->>''key'', ''UTF8''), convert_to(record->>''payload'', ''UTF8'')
		FROM line WHERE record->>''topic'' = $1 ORDER BY no', pipeline || '_debezium') USING topic;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
CREATE VIEW made AS
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ||
		CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, E'\n' ORDER BY a.attnum) AS columns,
	(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p') AS key,
	c.reloptions, c.relowner = current_user::regrole AS own
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'infer'::regnamespace AND c.relname LIKE '%\_target' AND c.relkind = 'r'
GROUP BY c.oid;

\set lines `cd "$PG_ABS_SRCDIR/test/fixtures/recorded" && cat mariadb_schema.T1.jsonl mariadb_schema.CK.jsonl postgres_schema.t1.jsonl`
INSERT INTO line (record) SELECT l::json FROM string_to_table(:'lines', E'\n') AS l WHERE l <> '';
\set lines `cd "$PG_ABS_SRCDIR/test/fixtures/recorded" && cat mariadb_plain.CUSTOMER.jsonl mariadb_plain.NOPK.jsonl postgres_plain.t1.jsonl`
INSERT INTO line (record) SELECT l::json FROM string_to_table(:'lines', E'\n') AS l WHERE l <> '';
SELECT record->>'topic' AS topic, count(*) FROM line GROUP BY 1 ORDER BY 1;

-- with schema: its types, NOT NULL and key; nothing is guessed but bits
SELECT cdc_create('t1');
SELECT feed('t1', 'r2schema.salesdb.T1');
SELECT events, quarantined FROM cdc_sync('t1');
SELECT * FROM made WHERE relname = 't1_target' \gx
SELECT cdc_create('ck');
SELECT feed('ck', 'r2schema.salesdb.CK');
SELECT events, quarantined FROM cdc_sync('ck');
SELECT * FROM made WHERE relname = 'ck_target' \gx
TABLE ck_target ORDER BY 1, 2;
SELECT cdc_create('pg');
SELECT feed('pg', 'pgb.src.t1');
SELECT events, quarantined FROM cdc_sync('pg');
SELECT * FROM made WHERE relname = 'pg_target' \gx

-- without: what the values allow
SELECT cdc_create('plain');
SELECT feed('plain', 'pga.src.t1');
SELECT events, quarantined FROM cdc_sync('plain');
SELECT * FROM made WHERE relname = 'plain_target' \gx
SELECT cdc_create('customer');
SELECT feed('customer', 'r2plain.salesdb.CUSTOMER');
SELECT events, quarantined FROM cdc_sync('customer');
SELECT * FROM made WHERE relname = 'customer_target' \gx
TABLE customer_target ORDER BY 1;

-- only what is mapped, with what the readings say of the types
SELECT cdc_create('some', columns => '{"id": "CUST_ID", "name": "NAME", "seen": "$refresh_time", "op": "$op",
	"at": "$source.pos", "partition": "$kafka_partition", "pos": "$kafka_offset", "ms": "$ts_ms"}');
SELECT feed('some', 'r2plain.salesdb.CUSTOMER');
SELECT events, quarantined FROM cdc_sync('some');
SELECT * FROM made WHERE relname = 'some_target' \gx
SELECT id, name, op, at, partition, pos, ms, seen IS NOT NULL AS seen FROM some_target ORDER BY id;
SELECT cdc_create('readings', columns => '{"id": "id", "n": {"field": "n", "scale": 2}, "b": {"field": "by", "encoding": "base64"},
	"d": {"field": "d", "unit": "d"}, "ts": {"field": "ts", "unit": "ms"}, "j": {"field": "j", "encoding": "json"}}');
SELECT feed('readings', 'pga.src.t1');
SELECT events, quarantined FROM cdc_sync('readings');
SELECT * FROM made WHERE relname = 'readings_target' \gx
SET DateStyle = 'ISO';
TABLE readings_target ORDER BY id;
SET DateStyle = 'SQL, DMY';

-- kinds of values that do not agree, integers beyond bigint, NULL alone
SELECT cdc_create('mixed');
INSERT INTO mixed_debezium (kafka_key, kafka_value)
	SELECT convert_to('{"k":' || n || '}', 'UTF8'), convert_to(format('{"before":null,"after":%s,"source":{"connector":"mysql"},"op":"c"}', a), 'UTF8')
	FROM (VALUES (1, '{"k":1,"int":1,"num":1,"big":1,"txt":1,"bool":true,"list":{},"none":null,"some":null,"Ünï \u0022q\"":1}'),
		(2, '{"k":2,"int":null,"num":1.5,"big":99999999999999999999,"txt":"a","bool":false,"list":[1],"none":null,"some":1}')) v(n, a);
SELECT events, quarantined FROM cdc_sync('mixed');
SELECT * FROM made WHERE relname = 'mixed_target' \gx
TABLE mixed_target ORDER BY 1;

-- a key that is given; one that is not there
SELECT cdc_create('given', key => ARRAY['a']);
SELECT feed('given', 'r2plain.salesdb.NOPK');
SELECT count(*) FROM cdc_sync('given');
SELECT key FROM made WHERE relname = 'given_target';
SELECT cdc_create('none');
SELECT feed('none', 'r2plain.salesdb.NOPK');
SELECT events, staged, inserted FROM cdc_sync('none');
SELECT * FROM none_target ORDER BY a;
SELECT cdc_create('wrong', key => ARRAY['b', 'nope']);
SELECT feed('wrong', 'r2plain.salesdb.NOPK');
SELECT cdc_sync('wrong');
SELECT cdc_create('unmapped', columns => '{"n": "NAME"}');
SELECT feed('unmapped', 'r2plain.salesdb.CUSTOMER');
SELECT cdc_sync('unmapped');
SELECT cdc_create('nofield', columns => '{"id": "CUST_ID", "x": "NAMES"}');
SELECT feed('nofield', 'r2plain.salesdb.CUSTOMER');
SELECT cdc_sync('nofield');

-- a field whose name is too long, and a relation in the way
SELECT cdc_create('long');
INSERT INTO long_debezium (kafka_key, kafka_value)
	SELECT convert_to('{"k":1}', 'UTF8'), convert_to(format('{"before":null,"after":{"k":1,"%s":1},"source":{"connector":"mysql"},"op":"c"}', repeat('x', 64)), 'UTF8');
SELECT cdc_sync('long');
SELECT cdc_create('taken');
CREATE VIEW taken_target AS SELECT 1 AS k;
INSERT INTO taken_debezium (kafka_key, kafka_value) SELECT kafka_key, kafka_value FROM mixed_debezium;
SELECT cdc_sync('taken');

SET client_min_messages = warning;
SELECT cdc_drop('*');
DROP SCHEMA infer CASCADE;
