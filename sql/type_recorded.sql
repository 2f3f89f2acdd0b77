-- Recorded events of every type in the columns that are made for them, and in
-- columns of text: where the text is not what the server prints of the value.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
CREATE SCHEMA recorded;
SET search_path = recorded, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;

CREATE TABLE line (no serial, record json);
CREATE FUNCTION feed(pipeline text, topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (kafka_key, kafka_value)
		SELECT convert_to(record->>''key'', ''UTF8''), convert_to(record->>''payload'', ''UTF8'')
		FROM line WHERE record->>''topic'' = $1 ORDER BY no', pipeline || '_debezium') USING topic;
END
$$;
\set lines `cd "$PG_ABS_SRCDIR/test/fixtures/recorded" && cat mariadb_schema.T1.jsonl mariadb_plain.T1.jsonl postgres_schema.t1.jsonl postgres_plain.t1.jsonl`
INSERT INTO line (record) SELECT l::json FROM string_to_table(:'lines', E'\n') AS l WHERE l <> '';

-- a row of a table as (column, value)
CREATE FUNCTION columns_of(relation regclass, wanted int) RETURNS TABLE (name text, value text) LANGUAGE plpgsql AS $$
DECLARE
	attname name;
BEGIN
	FOR attname IN SELECT a.attname FROM pg_attribute a WHERE attrelid = relation AND attnum > 0 ORDER BY attnum LOOP
		RETURN QUERY EXECUTE format('SELECT %L, %I::text FROM %s WHERE id::text = $1', attname, attname, relation)
			USING wanted::text;
	END LOOP;
END
$$;
-- made: the types of the schema; words: text throughout
CREATE FUNCTION try(name text, topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdc_create(name, options => '{"max_quarantine_share": 1}');
	PERFORM feed(name, topic);
	PERFORM cdc_sync(name);
	EXECUTE format('CREATE TABLE %I (%s, PRIMARY KEY (id))', name || '_words',
		(SELECT string_agg(format('%I text', attname), ', ' ORDER BY attnum) FROM pg_attribute
		 WHERE attrelid = format('%I', name || '_target')::regclass AND attnum > 0));
	PERFORM cdc_create(name || '_words', target => format('%I', name || '_words')::regclass,
					   options => jsonb_build_object('landing', name || '_debezium', 'max_quarantine_share', 1));
	PERFORM cdc_sync(name || '_words');
END
$$;
CREATE FUNCTION differing(pipeline text, id int) RETURNS TABLE ("column" text, made text, words text) LANGUAGE sql AS $$
	SELECT m.name, m.value, w.value FROM columns_of(format('%I', pipeline || '_target')::regclass, id) m
	FULL JOIN columns_of(format('%I', pipeline || '_words')::regclass, id) w USING (name)
	WHERE m.value IS DISTINCT FROM w.value
$$;

SELECT try('mariadb', 'r2schema.salesdb.T1');
SELECT try('postgres', 'pgb.src.t1');
SELECT pipeline, count(*) FROM cdcsync.quarantine GROUP BY 1;
SELECT id FROM mariadb_target ORDER BY 1;
SELECT * FROM differing('mariadb', 1);
SELECT * FROM differing('mariadb', 2);
SELECT * FROM differing('mariadb', 3);
SELECT id FROM postgres_target ORDER BY 1;
SELECT * FROM differing('postgres', 1);
SELECT * FROM differing('postgres', 2);
SELECT * FROM differing('postgres', 3);

-- without a schema: bytea instead of text, and numeric columns, learn by the
-- values how they are encoded
CREATE TABLE plain (id int PRIMARY KEY, n numeric(10,2), m numeric(19,2), na numeric(6,2)[], "by" bytea);
SELECT cdc_create('plain', target => 'plain');
SELECT feed('plain', 'pga.src.t1');
SELECT events, inserted, quarantined FROM cdc_sync('plain');
SELECT * FROM plain ORDER BY id;
SELECT column_name, encoding, mixed_offset FROM cdcsync.evidence WHERE pipeline = 'plain' ORDER BY 1;
CREATE TABLE plain2 (id bigint PRIMARY KEY, dec1 numeric(10,2), dec2 numeric(38,10), dec0 numeric(5,0), bn bytea, vb bytea);
SELECT cdc_create('plain2', target => 'plain2');
SELECT feed('plain2', 'r2plain.salesdb.T1');
SELECT events, inserted, quarantined FROM cdc_sync('plain2');
SELECT * FROM plain2 ORDER BY id;
SELECT column_name, encoding, mixed_offset FROM cdcsync.evidence WHERE pipeline = 'plain2' ORDER BY 1;

SELECT cdc_drop('*');
DROP SCHEMA recorded CASCADE;
