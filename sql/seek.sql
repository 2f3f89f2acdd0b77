-- going on elsewhere
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync SCHEMA public;
CREATE ROLE regress_cdc_seeker;
CREATE SCHEMA seek_test;
GRANT USAGE, CREATE ON SCHEMA seek_test TO regress_cdc_seeker;
SET search_path = seek_test, public;
CREATE TABLE t (id int PRIMARY KEY, val text);
SELECT cdc_create('sk', target => 't', options => '{"max_quarantine_share": 1}');
CREATE FUNCTION put(id int, val text, at timestamp DEFAULT now()) RETURNS void LANGUAGE sql AS $$
	INSERT INTO sk_debezium (kafka_timestamp, kafka_key, kafka_value) SELECT at,
		convert_to(format('{"id":%s}', id), 'UTF8'),
		convert_to(format('{"op":"c","after":{"id":%s,"val":"%s"},"source":{"connector":"mysql","ts_ms":%s,"snapshot":"false","server_id":1,"file":"b.1","pos":%s}}', id, val, id, id), 'UTF8')
$$;

-- only where it is paused, and to what there is
SELECT cdc_seek('sk', 'earliest');
SELECT cdc_pause('sk');
SELECT cdc_seek('sk', 'earliest');
SELECT put(1, 'one', '2026-01-01'), put(2, 'two', '2026-01-02');
SELECT put(3, 'three', '2026-01-03');
SELECT cdc_resume('sk');
SELECT events FROM cdc_sync('sk');
SELECT cdc_seek('sk', 0, 1);
SELECT cdc_seek(NULL, 'latest');
SELECT cdc_seek('no_such', 'latest');
SELECT cdc_seek('sk', NULL);
SELECT cdc_seek('sk', 0, NULL);
SELECT cdc_seek('sk', -1, 0);
SELECT cdc_seek('sk', 'tomorrow noon or so');
SELECT cdc_seek('sk', 'infinity');
SELECT cdc_pause('sk');
SELECT cdc_seek('sk', 1, 0);
SELECT cdc_seek('sk', 0, 4);
SELECT cdc_skip('sk', 0, 3);
SELECT cdc_skip('sk', 0, 3, 2);
SET ROLE regress_cdc_seeker;
SELECT cdc_seek('sk', 0, 1);
SELECT cdc_skip('sk', 0, 3);
RESET ROLE;

-- back: the same records are applied again, though the source was further
UPDATE t SET val = 'wrong';
SELECT * FROM cdc_seek('sk', 0, 1);
SELECT cdc_resume('sk');
SELECT events, updated FROM cdc_sync('sk');
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'sk';
SELECT * FROM t ORDER BY id;
SELECT cdc_pause('sk');
SELECT * FROM cdc_seek('sk', '2026-01-02 12:00:00+00');
SELECT * FROM cdc_seek('sk', 'earliest');
-- moved together with a rollback
BEGIN;
SELECT * FROM cdc_seek('sk', 'latest');
ROLLBACK;
SELECT cdc_resume('sk');
SELECT events, updated FROM cdc_sync('sk');
SELECT * FROM t ORDER BY id;
SELECT exact FROM cdc_status WHERE pipeline = 'sk';

-- forward: what is passed over is a gap
SELECT put(4, 'four'), put(5, 'five'), put(6, 'six');
SELECT cdc_pause('sk');
SELECT * FROM cdc_seek('sk', 0, 5);
SELECT cdc_resume('sk');
SELECT events, inserted FROM cdc_sync('sk');
SELECT id FROM t ORDER BY id;
SELECT kafka_partition, epoch, first_offset, next_offset, g.reason, passed FROM cdcsync.gap g JOIN cdcsync.pipeline p USING (landing_id) WHERE p.name = 'sk';
SELECT exact FROM cdc_status WHERE pipeline = 'sk';
SELECT reason FROM cdcsync.inexact WHERE pipeline = 'sk';

-- what is read again leaves quarantine, the rest stays there
ALTER TABLE t ADD CHECK (val <> 'bad');
SELECT put(7, 'bad'), put(8, 'eight'), put(9, 'bad');
SELECT quarantined FROM cdc_sync('sk');
SELECT cdc_pause('sk');
SELECT * FROM cdc_seek('sk', 0, 8);
SELECT kafka_offset FROM cdcsync.quarantine WHERE pipeline = 'sk';
SELECT cdc_resume('sk');
SELECT events, quarantined FROM cdc_sync('sk');
SELECT kafka_offset FROM cdcsync.quarantine WHERE pipeline = 'sk' ORDER BY 1;

-- all pipelines of a landing move, or none
CREATE TABLE t2 (id int PRIMARY KEY, val text);
SELECT cdc_create('sk2', target => 't2', options => '{"landing": "sk_debezium"}');
SELECT inserted FROM cdc_sync('sk2');
SELECT cdc_pause('sk');
SELECT cdc_seek('sk', 0, 1);
SELECT cdc_pause('sk2');
SELECT * FROM cdc_seek('sk', 0, 1);
SELECT pipeline, next_offset FROM cdcsync.watermark WHERE pipeline LIKE 'sk%' ORDER BY 1;

-- no place at all
SELECT cdc_seek('sk', 'nonsense');
SELECT cdc_seek('sk', '2025-13-01');

SELECT cdc_drop('*');
SET client_min_messages = error;
DROP SCHEMA seek_test CASCADE;
DROP ROLE regress_cdc_seeker;
