-- Events as the connectors for MySQL, SQL Server, Oracle and MongoDB shape them:
-- their source blocks, orders of members, and forms of values.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE SCHEMA connectors_test;
SET search_path = connectors_test, public;
SET timezone = 'UTC';

-- no: order; members of the envelope in the order of old and new versions
CREATE TABLE event (no serial, pipeline text, key text, op text, before text, after text, source text, modern boolean);
CREATE FUNCTION feed(name text) RETURNS TABLE (events bigint, inserted bigint, updated bigint, deleted bigint, quarantined bigint)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($i$INSERT INTO %I (kafka_key, kafka_value)
		SELECT convert_to(key, 'UTF8'), convert_to(CASE WHEN op IS NULL THEN NULL WHEN modern THEN
			format('{"before":%%s,"after":%%s,"source":%%s,"transaction":null,"op":"%%s","ts_ms":1700000000500,"ts_us":1700000000500123,"ts_ns":1700000000500123456}', before, after, source, op)
			ELSE format('{"before":%%s,"after":%%s,"source":%%s,"op":"%%s","ts_ms":1700000000500,"transaction":null}', before, after, source, op) END, 'UTF8')
		FROM event WHERE pipeline = %L ORDER BY no$i$, name || '_debezium', name);
	RETURN QUERY SELECT s.events, s.inserted, s.updated, s.deleted, s.quarantined FROM cdc_sync(name) s;
END $$;

--
-- MySQL: file, pos and row; GTIDs, with and without a tag, or null; server_id 0 in a snapshot
--
CREATE FUNCTION mysql(snapshot text, gtid text, file text, pos bigint, "row" int, at bigint) RETURNS text
RETURN format('{"version":"3.2.0.Final","connector":"mysql","name":"shop","ts_ms":%s,"snapshot":"%s","db":"shop","sequence":null,"ts_us":%s,"ts_ns":%s,"table":"item","server_id":%s,"gtid":%s,"file":"%s","pos":%s,"row":%s,"thread":%s,"query":null}',
			  $6, $1, $6 * 1000, $6 * 1000000, CASE $1 WHEN 'false' THEN 223344 ELSE 0 END,
			  coalesce(quote_ident($2), 'null'), $3, $4, $5, CASE $1 WHEN 'false' THEN '27' ELSE 'null' END);
CREATE TABLE item (id int PRIMARY KEY, active smallint, small smallint, amount numeric(10,2), big numeric(20), ratio real,
				   flag boolean, mask bit(12), bytes bytea, day date, at time, made timestamp, made6 timestamp, seen timestamptz,
				   year int, kind text, tags text, doc jsonb, at_gtid text);
SELECT cdc_create('item', target => 'item', columns => '{"amount": {"field": "amount", "encoding": "base64", "scale": 2},
	"big": {"field": "big", "unsigned": true}, "made": {"field": "made", "unit": "ms"}, "made6": {"field": "made6", "unit": "us"},
	"bytes": {"field": "bytes", "encoding": "base64"}, "at": {"field": "at", "unit": "us"}, "at_gtid": "$source.gtid"}');
INSERT INTO event (pipeline, key, op, before, after, source, modern) VALUES
('item', '{"id":1}', 'r', 'null', '{"id":1,"active":1,"small":255,"amount":"MDk=","big":-1,"ratio":0.5,"flag":true,"mask":"AQg=","bytes":"YQ==","day":20073,"at":56033000000,"made":1734363225000,"made6":1734363225123456,"seen":"2024-12-16T15:33:44Z","year":2001,"kind":"b","tags":"a,c","doc":"{\"k\": [1, null]}"}',
 mysql('first', NULL, 'binlog.000002', 157, 0, 1700000000000), true),
('item', '{"id":2}', 'r', 'null', '{"id":2,"active":0,"small":0,"amount":"/w==","big":9223372036854775807,"ratio":null,"flag":false,"mask":"AAA=","bytes":"","day":-354285,"at":0,"made":-62135596800000,"made6":0,"seen":"1970-01-01T00:00:01.5Z","year":0,"kind":"","tags":"","doc":"\"text\""}',
 mysql('last', NULL, 'binlog.000002', 157, 0, 1700000000000), true),
('item', '{"id":5}', 'c', 'null', '{"id":5,"kind":"new"}', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:22', 'binlog.000002', 300, 0, 1700000000500), true),
('item', '{"id":5}', 'u', '{"id":5,"kind":"new"}', '{"id":5,"kind":"newer"}', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:23', 'binlog.000002', 400, 0, 1700000001000), true),
('item', '{"id":2}', 'd', '{"id":2,"active":0}', 'null', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:24', 'binlog.000003', 4, 0, 1700000003000), true),
('item', '{"id":2}', NULL, NULL, NULL, NULL, true),
-- sent again by Kafka Connect
('item', '{"id":5}', 'c', 'null', '{"id":5,"kind":"new"}', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:22', 'binlog.000002', 300, 0, 1700000000500), true),
-- a GTID with a tag (8.3 and later), two rows of one event
('item', '{"id":3}', 'c', 'null', '{"id":3,"kind":"tagged"}', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:shop:7', 'binlog.000003', 700, 0, 1700000003500), true),
('item', '{"id":4}', 'c', 'null', '{"id":4,"kind":"row 1 of it"}', mysql('false', '3e11fa47-71ca-11e1-9e33-c80aa9429562:shop:7', 'binlog.000003', 700, 1, 1700000003500), true),
-- after a failover: another server's UUID, a lower file
('item', '{"id":3}', 'u', 'null', '{"id":3,"kind":"after the failover"}', mysql('false', '9f8cf57e-91ca-11e1-9e33-c80aa9429562:1', 'binlog.000001', 300, 0, 1700000004000), true),
-- without GTIDs, in the order of versions before 3
('item', '{"id":4}', 'u', 'null', '{"id":4,"kind":"by file and position"}', '{"version":"1.9.8.Final","connector":"mysql","name":"shop","ts_ms":1700000005000,"snapshot":"false","db":"shop","sequence":null,"table":"item","server_id":223344,"gtid":null,"file":"binlog.000004","pos":1100,"row":0,"thread":9,"query":null}', false);
SELECT * FROM feed('item');
SELECT * FROM item ORDER BY id \gx
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'item';

--
-- SQL Server: LSNs as text, schema, event_serial_no; time(7) and datetime2(7) in ns; money
--
CREATE FUNCTION sqlserver(snapshot text, change_lsn text, commit_lsn text, serial int, at bigint) RETURNS text
RETURN format('{"version":"2.7.0.Final","connector":"sqlserver","name":"srv","ts_ms":%s,"snapshot":"%s","db":"shop","sequence":null,"ts_us":%s,"ts_ns":%s,"schema":"dbo","table":"orders","change_lsn":%s,"commit_lsn":"%s","event_serial_no":%s}',
			  $5, $1, $5 * 1000, $5 * 1000000, coalesce(quote_ident($2), 'null'), $3, coalesce($4::text, 'null'));
CREATE TABLE orders ("ID" int PRIMARY KEY, "Flag" boolean, "Price" numeric(19,4), "Day" date, "At7" time, "At3" time(3), "Made" timestamp(3),
					 "Made7" timestamp, "Small" timestamp, "Zoned" timestamptz, "Guid" uuid, "Xml" xml, "Raw" bytea);
SELECT cdc_create('orders', target => 'orders', columns => '{"Price": {"field": "Price", "encoding": "base64", "scale": 4},
	"At7": {"field": "At7", "unit": "ns"}, "At3": {"field": "At3", "unit": "ms"}, "Made": {"field": "Made", "unit": "ms"},
	"Made7": {"field": "Made7", "unit": "ns"}, "Small": {"field": "Small", "unit": "ms"}, "Raw": {"field": "Raw", "encoding": "base64"}}');
INSERT INTO event (pipeline, key, op, before, after, source, modern) VALUES
('orders', '{"ID":1}', 'r', 'null', '{"ID":1,"Flag":true,"Price":"Ejk=","Day":20073,"At7":75723000000000,"At3":75724000,"Made":1734382925003,"Made7":1734382927000000000,"Small":1734382920000,"Zoned":"2024-12-16T21:02:11.349+02:00","Guid":"7E3B01A2-5C1D-4A3F-8A9B-0C1D2E3F4A5B","Xml":"<a/>","Raw":"AQ=="}',
 sqlserver('true', NULL, '0000002b:000002e3:0003', NULL, 1700000000000), true),
('orders', '{"ID":2}', 'c', 'null', '{"ID":2,"Flag":null,"Price":null,"Day":null,"At7":null,"At3":null,"Made":null,"Made7":null,"Small":null,"Zoned":null,"Guid":null,"Xml":null,"Raw":null}',
 sqlserver('false', '0000002b:000002f6:0002', '0000002b:000002f6:0003', 1, 1700000001000), true),
-- an update comes with the serial number 2
('orders', '{"ID":2}', 'u', '{"ID":2,"Flag":null}', '{"ID":2,"Flag":false,"Price":"/w==","Day":null,"At7":86399999999000,"At3":null,"Made":null,"Made7":null,"Small":null,"Zoned":null,"Guid":null,"Xml":null,"Raw":null}',
 sqlserver('false', '0000002b:00000300:0002', '0000002b:00000300:0003', 2, 1700000002000), false),
-- nothing is rounded: time(7) has a digit more
('orders', '{"ID":3}', 'c', 'null', '{"ID":3,"At7":86399999999900}', sqlserver('false', '0000002b:00000310:0002', '0000002b:00000310:0003', 1, 1700000003000), true),
('orders', '{"ID":4}', 'c', 'null', '{"ID":4}', sqlserver('false', '0000002b:00000310:0004', '0000002b:00000310:0006', 1, 1700000003000), true),
('orders', '{"ID":4}', 'd', '{"ID":4,"Flag":null}', 'null', sqlserver('false', '0000002b:00000320:0005', '0000002b:00000320:0006', 1, 1700000004000), true),
('orders', '{"ID":4}', NULL, NULL, NULL, NULL, true);
SELECT * FROM feed('orders');
SELECT * FROM orders ORDER BY "ID" \gx
SELECT kafka_offset, column_name, message FROM cdcsync.quarantine WHERE pipeline = 'orders';

--
-- Oracle: scn as text, txId; NUMBER as a struct, DATE in ms, names in capitals
--
CREATE FUNCTION oracle(snapshot text, scn text, commit_scn text, at bigint) RETURNS text
RETURN format('{"version":"3.0.6.Final","connector":"oracle","name":"ora","ts_ms":%s,"snapshot":"%s","db":"ORCLPDB1","sequence":null,"ts_us":%s,"ts_ns":%s,"schema":"SHOP","table":"STOCK","txId":%s,"scn":"%s","commit_scn":%s,"lcr_position":null,"rs_id":"0x0034b1.00143517.0010","ssn":0,"redo_thread":1,"user_name":"SHOP","redo_sql":null,"row_id":"AAAkvCAAIAAFqf/AAD"}',
			  $4, $1, $4 * 1000, $4 * 1000000, CASE $1 WHEN 'false' THEN '"0500080076ca0000"' ELSE 'null' END, $2, coalesce(quote_ident($3), 'null'));
CREATE TABLE stock (id numeric PRIMARY KEY, n numeric, small int, double double precision, name text, day timestamp, at6 timestamp, at9 timestamp,
					zoned timestamptz, raw bytea, clob text);
SELECT cdc_create('stock', target => 'stock', columns => '{"day": {"field": "DAY", "unit": "ms"}, "at6": {"field": "AT6", "unit": "us"},
	"at9": {"field": "AT9", "unit": "ns"}, "raw": {"field": "RAW", "encoding": "base64"}}');
INSERT INTO event (pipeline, key, op, before, after, source, modern) VALUES
('stock', '{"ID":{"scale":0,"value":"AQ=="}}', 'r', 'null', '{"ID":{"scale":0,"value":"AQ=="},"N":{"scale":-2,"value":"DA=="},"SMALL":7,"DOUBLE":1.5,"NAME":"a","DAY":1734449012000,"AT6":1734449014000000,"AT9":1734449015000000000,"ZONED":"2024-12-17T15:23:40.28+01:00","RAW":"CQ==","CLOB":"long"}',
 oracle('first', '2208886', NULL, 1700000000000), true),
-- a CLOB that did not change is not sent
('stock', '{"ID":{"scale":0,"value":"AQ=="}}', 'u', 'null', '{"ID":{"scale":0,"value":"AQ=="},"N":{"scale":3,"value":"AeI="},"SMALL":8,"DOUBLE":"NaN","NAME":null,"DAY":null,"AT6":null,"AT9":null,"ZONED":null,"RAW":null,"CLOB":"__debezium_unavailable_value"}',
 oracle('false', '3634640', '3638537', 1700000001000), true),
-- equal keys, spelled in two ways
('stock', '{"ID":{"scale":1,"value":"FA=="}}', 'c', 'null', '{"ID":{"scale":1,"value":"FA=="},"NAME":"two"}', oracle('false', '3634700', '3638600', 1700000002000), true),
('stock', '{"ID":{"scale":0,"value":"Ag=="}}', 'u', 'null', '{"ID":{"scale":0,"value":"Ag=="},"NAME":"two again"}', oracle('false', '3634800', '3638700', 1700000003000), true);
SELECT * FROM feed('stock');
SELECT * FROM stock ORDER BY id \gx

--
-- MongoDB: the document as a string, the key's id as extended JSON, no before
--
CREATE FUNCTION mongodb(snapshot text, ord int, at bigint) RETURNS text
RETURN format('{"version":"3.0.0.Final","connector":"mongodb","name":"mongo","ts_ms":%s,"snapshot":"%s","db":"shop","sequence":null,"ts_us":%s,"ts_ns":%s,"collection":"person","ord":%s,"lsid":null,"txnNumber":null,"wallTime":null}',
			  $3, $1, $3 * 1000, $3 * 1000000, $2);
CREATE TABLE person (id text PRIMARY KEY, name text, address jsonb);
SELECT cdc_create('person', target => 'person', columns => '{"id": "_id"}');
INSERT INTO event (pipeline, key, op, before, after, source, modern) VALUES
('person', '{"id":"{\"$oid\": \"596e275826f08b2730779e1f\"}"}', 'r', 'null', to_json('{"_id": {"$oid": "596e275826f08b2730779e1f"}, "name": "Anna", "address": {"city": "Bonn"}}'::text)::text, mongodb('true', 1, 1700000000000), true),
('person', '{"id":"1004"}', 'c', 'null', to_json('{"_id": 1004, "name": "Bo"}'::text)::text, mongodb('false', 1, 1700000001000), true),
('person', '{"id":"1004"}', 'u', 'null', to_json('{"_id": 1004, "name": "Bob", "address": null}'::text)::text, mongodb('false', 2, 1700000001000), true),
('person', '{"id":"{\"$oid\": \"596e275826f08b2730779e1f\"}"}', 'd', 'null', 'null', mongodb('false', 1, 1700000002000), true);
SELECT * FROM feed('person');
SELECT * FROM person ORDER BY id;
SELECT kafka_offset, column_name, message FROM cdcsync.quarantine WHERE pipeline = 'person';

--
-- Positions of all connectors: the n-th at this time, for n from 1 to 5.  (SQL Server by
-- change_lsn in hex and by the serial number; Oracle by commit, by txSeq and by what is in the
-- redo log; texts as such would be in another order.)
--
CREATE FUNCTION source(kind text, n int, ms bigint, snapshot text DEFAULT 'false') RETURNS jsonb
RETURN jsonb_build_object('connector', split_part(kind, '_', 1), 'db', 'shop', 'ts_ms', ms, 'snapshot', snapshot) ||
	CASE kind
		WHEN 'mariadb' THEN jsonb_build_object('server_id', 1, 'gtid', '0-1-' || 7 + n, 'file', 'bin.000001', 'pos', 7 + n)
		WHEN 'postgresql' THEN jsonb_build_object('sequence', format('["%s","5"]', 7 + n))
		WHEN 'sqlserver' THEN jsonb_build_object('commit_lsn', '0000002b:00000310:0006',
			'change_lsn', CASE snapshot WHEN 'false' THEN '0000002b:00000310:00' || lpad(to_hex(13 + n), 2, '0') END,
			'event_serial_no', CASE snapshot WHEN 'false' THEN 1 END)
		WHEN 'sqlserver_serial' THEN jsonb_build_object('commit_lsn', '0000002b:00000310:0006',
			'change_lsn', '0000002b:00000310:0005', 'event_serial_no', 7 + n)
		WHEN 'oracle' THEN jsonb_build_object('commit_scn', (7 + n)::text, 'scn', (50 - n)::text, 'txId', 't' || n, 'txSeq', 1)
		WHEN 'oracle_seq' THEN jsonb_build_object('commit_scn', '100', 'scn', '50', 'txId', 't', 'txSeq', 7 + n)
		WHEN 'oracle_redo' THEN jsonb_build_object('commit_scn', '100', 'scn', (5 + n / 2)::text, 'txId', 't',
			'rs_id', format(' 0x000fba.0000%s.0010 ', lpad(to_hex(7 + n), 4, '0')), 'ssn', 0)
		WHEN 'db2' THEN jsonb_build_object('commit_lsn', '00000000:00000000:00000000049aab' || lpad(to_hex(13 + n), 2, '0'),
			'change_lsn', '00000000:00000000:00000000049aaa01')
		WHEN 'mongodb' THEN jsonb_build_object('ord', 7 + n)
	END;
CREATE FUNCTION step(kind text, partition int, id int, name text, n int, ms bigint DEFAULT 1700000000000,
	snapshot text DEFAULT 'false') RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($i$INSERT INTO %I (kafka_partition, kafka_key, kafka_value, kafka_timestamp)
		VALUES ($1, convert_to(jsonb_build_object('id', $2)::text, 'UTF8'),
			convert_to(jsonb_build_object('op', CASE $5 WHEN 'false' THEN 'u' ELSE 'r' END,
				'after', jsonb_build_object('id', $2, 'name', $3), 'source', $4)::text, 'UTF8'),
			timestamp '2026-01-01' + nextval('step') * interval '1 s')$i$, kind || '_debezium')
		USING partition, id, name, source(kind, n, ms, snapshot), snapshot;
	PERFORM cdc_sync(kind);
	EXECUTE format('SELECT t.name FROM %I t WHERE t.id = $1', kind || '_target') INTO name USING id;
	RETURN name;
END $$;
CREATE SEQUENCE step;
CREATE TABLE kind (no serial, kind text);
INSERT INTO kind (kind) VALUES ('mariadb'), ('postgresql'), ('sqlserver'), ('sqlserver_serial'), ('oracle'), ('oracle_seq'),
	('oracle_redo'), ('db2'), ('mongodb');
SET client_min_messages = warning;
DO $$
DECLARE
	k text;
BEGIN
	FOR k IN SELECT kind FROM kind ORDER BY no LOOP
		EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, name text)', k || '_target');
		PERFORM cdc_create(k, target => k || '_target');
		EXECUTE format($i$INSERT INTO %I (kafka_partition, kafka_value) SELECT p, '{"ts_ms": 1}' FROM generate_series(0, 2) p$i$, k || '_debezium');
	END LOOP;
END $$;
RESET client_min_messages;
-- in order; sent again; the position that was applied last is applied again
SELECT kind, step(kind, 0, 1, 'first', 1) AS "1", step(kind, 0, 2, 'third', 3) AS "3", step(kind, 0, 1, 'sent again', 1) AS "1 again",
	step(kind, 0, 2, 'third, too', 3) AS "3 again" FROM kind ORDER BY no;
-- other partitions: what comes later, by all clocks but the positions, is older; then newer
SELECT kind, step(kind, 1, 1, 'fifth', 5) AS "5", step(kind, 2, 1, 'fourth', 4) AS "4", step(kind, 2, 2, 'fourth', 4) AS "4, key 2",
	step(kind, 0, 2, 'fifth', 5) AS "5, key 2" FROM kind ORDER BY no;
SELECT kind, w.kafka_partition, w.resent, w.source_position FROM kind JOIN cdcsync.watermark w ON w.pipeline = kind ORDER BY no, 2;
-- a restored source: lower positions in newer time; a snapshot has none (MongoDB's time is the position)
SELECT kind, step(kind, 0, 2, 'restored', 1, 1700000009000) AS restored, step(kind, 0, 1, 'snapshot', 1, 1700000009000, 'true') AS snapshot
	FROM kind ORDER BY no;
SELECT kind, sum(w.resent) FROM kind JOIN cdcsync.watermark w ON w.pipeline = kind GROUP BY no, kind ORDER BY no;

SET client_min_messages = warning;
SELECT cdc_drop('*', drop_target => true);
DROP SCHEMA connectors_test CASCADE;
