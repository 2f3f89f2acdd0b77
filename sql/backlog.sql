-- A backlog in one window against the same events in windows that are small: only
-- a window of thousands of keys asks for memory ahead, and takes it in large pieces.

SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE SCHEMA backlog;
SET search_path = backlog, public;

-- Rows come and go and grow, to more than a kilobyte; once all are there, some
-- updates leave a value out.  The key in Kafka is the row's own or one that
-- rows share; rows may be in several partitions.
CREATE FUNCTION events(first int, last int, keys text)
RETURNS TABLE (kafka_partition bigint, kafka_key bytea, kafka_value bytea) LANGUAGE sql AS $$
	SELECT CASE keys WHEN 'spread' THEN n % 3 ELSE 0 END,
		   convert_to(CASE keys WHEN 'shared' THEN format('{"region":%s}', k % 7) ELSE format('{"id":%s}', k) END, 'UTF8'),
		   convert_to(CASE WHEN k % 11 = 0 AND n / 4000 % 2 = 1 THEN
				   format('{"op":"d","before":{"id":%s},"after":null,%s}', k, source)
			   WHEN k % 11 <> 0 AND n > 5000 AND n % 5 = 1 THEN
				   format('{"op":"u","before":null,"after":{"id":%s,"n":%s,"t":"__debezium_unavailable_value"},%s}', k, n, source)
			   ELSE
				   format('{"op":"u","before":null,"after":{"id":%s,"n":%s,"t":"%s"},%s}', k, n,
						  repeat(chr(97 + n % 26), n % 4 * n % 900 * CASE WHEN n % 13 = 0 THEN 3 ELSE 1 END / 9), source)
			   END, 'UTF8')
	FROM (SELECT n, (n::bigint * 7919 + n / 5000 * 13) % 5000 + 1 AS k,
				 format('"source":{"connector":"mysql","file":"bin.000001","pos":%s,"ts_ms":%s,"server_id":1,"gtid":null,"snapshot":"false"},"ts_ms":%s',
						n, 1760000000000 + n, 1760000000005 + n) AS source
		  FROM generate_series(first, last) AS n) AS e
	ORDER BY n
$$;

CREATE PROCEDURE compare(name text, keys text, options jsonb) LANGUAGE plpgsql AS $$
DECLARE
	events int := 16000;
	different bigint;
	found bigint;
BEGIN
	EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, n int, t text); CREATE TABLE %2$I (LIKE %1$I INCLUDING ALL)', name, name || '_small');
	PERFORM cdc_create(name, target => name::regclass, options => options);
	PERFORM cdc_create(name || '_small', target => (name || '_small')::regclass, options => options);
	FOR half IN 0..1 LOOP
		EXECUTE format('INSERT INTO %I (kafka_partition, kafka_key, kafka_value)
						SELECT * FROM events($1, $2, $3)', name || '_debezium')
			USING half * events / 2 + 1, (half + 1) * events / 2, keys;
		PERFORM cdc_sync(name);
		FOR piece IN 0..events / 2 / 800 - 1 LOOP
			EXECUTE format('INSERT INTO %I (kafka_partition, kafka_key, kafka_value)
							SELECT * FROM events($1, $2, $3)', name || '_small_debezium')
				USING half * events / 2 + piece * 800 + 1, half * events / 2 + (piece + 1) * 800, keys;
			PERFORM cdc_sync(name || '_small');
		END LOOP;
		EXECUTE format('SELECT count(*) FROM (TABLE %I EXCEPT TABLE %I) x', name, name || '_small') INTO different;
		EXECUTE format('SELECT $1 + count(*) FROM (TABLE %I EXCEPT TABLE %I) x', name || '_small', name) INTO different USING different;
		EXECUTE format('SELECT count(*) FROM %I', name) INTO found;
		RAISE INFO '%: % rows, % differ, % in quarantine', name, found, different,
			(SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = name OR pipeline = name || '_small');
	END LOOP;
END
$$;
SET client_min_messages = info;
\set VERBOSITY terse
CALL compare('each', 'own', '{"max_quarantine_share": 1}');
CALL compare('shared', 'shared', '{"max_quarantine_share": 1}');
CALL compare('spread', 'spread', '{"max_quarantine_share": 1}');
SET client_min_messages = warning;
SELECT cdc_drop(pipeline, drop_target => true) FROM cdc_status WHERE pipeline IN ('each', 'shared', 'spread') ORDER BY pipeline;
SELECT cdc_drop(pipeline, drop_target => true) FROM cdc_status WHERE pipeline LIKE '%_small' ORDER BY pipeline;
DROP SCHEMA backlog CASCADE;
