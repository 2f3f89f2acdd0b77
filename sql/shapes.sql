-- Every shape that a record can have, and what becomes of it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;
CREATE SCHEMA shapes_test;
SET search_path = shapes_test, public;
-- a sync, then what is in the target and in quarantine
CREATE FUNCTION bad(name text) RETURNS TABLE (kafka_offset bigint, column_name text, message text)
LANGUAGE sql AS $$
	SELECT kafka_offset, column_name, message FROM cdcsync.quarantine WHERE pipeline = name ORDER BY kafka_offset
$$;
CREATE FUNCTION passed(name text) RETURNS bigint LANGUAGE sql AS $$
	SELECT sum(passed)::bigint FROM cdcsync.watermark WHERE pipeline = name
$$;

-- the envelope: plain, with schema, without one, in "payload" alone; deletes in all forms of null
CREATE TABLE customer (cust_id int PRIMARY KEY, name text, mktsegment text);
SELECT cdc_create('customer', target => 'customer', options => '{"max_quarantine_share": 1}');
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":1}', '{"before":null,"after":{"CUST_ID":1,"NAME":"plain","MKTSEGMENT":"A"},"op":"c","ts_ms":1}'),
	('{"CUST_ID":2}', '{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","field":"CUST_ID"},{"type":"string","field":"NAME"}],"field":"after"},{"type":"string","field":"op"}]},"payload":{"before":null,"after":{"CUST_ID":2,"NAME":"with schema"},"op":"c"}}'),
	('{"CUST_ID":3}', '{"schema":null,"payload":{"before":null,"after":{"CUST_ID":3,"NAME":"schema null"},"op":"c"}}'),
	('{"CUST_ID":4}', '{"payload":{"before":null,"after":{"CUST_ID":4,"NAME":"payload alone"},"op":"c"}}'),
	('{"CUST_ID":5}', '{"before":null,"after":{"CUST_ID":5,"NAME":"a"},"op":"C"}'),
	('{"CUST_ID":6}', '{"before":null,"after":{"CUST_ID":6,"NAME":"b"},"op":"r"}'),
	('{"CUST_ID":7}', '{"before":null,"after":{"CUST_ID":7,"NAME":"c"},"op":"r"}'),
	('{"CUST_ID":8}', '{"before":null,"after":{"CUST_ID":8,"NAME":"d"},"op":"r"}'),
	('{"CUST_ID":9}', '{"before":null,"after":{"CUST_ID":9,"NAME":"e"},"op":"r"}'),
	('{"CUST_ID":5}', NULL),
	('{"CUST_ID":6}', 'null'),
	('{"schema":{"type":"struct"},"payload":{"CUST_ID":7}}', '{"schema":{"type":"struct"},"payload":null}'),
	('{"schema":null,"payload":{"CUST_ID":8}}', '{"schema":null,"payload":null}'),
	('{"CUST_ID":9}', '');
SELECT events, inserted, deleted, quarantined FROM cdc_sync('customer');
SELECT * FROM customer ORDER BY 1;

-- keys in all forms: what an update leaves is deleted by each of them
INSERT INTO customer_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"CUST_ID":%s}', i), 'UTF8'),
	convert_to(format('{"before":null,"after":{"CUST_ID":%s,"NAME":"to go"},"op":"c"}', i), 'UTF8')
FROM generate_series(10, 18) i;
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"schema":{"type":"struct"},"payload":{"CUST_ID":10}}', NULL),
	('{"payload":{"CUST_ID":11},"schema":null}', NULL),
	('{"__dbz__physicalTableIdentifier":"salesdb.salesdb.CUSTOMER","CUST_ID":12}', NULL),
	('13', NULL),
	('"14"', NULL),
	('Struct{CUST_ID=15}', NULL),
	('{"cust_id":16}', NULL),
	('{"schema":{"type":"int32"},"payload":17}', NULL),
	('\x0000000007' || '{"CUST_ID":18}'::bytea, NULL),
	(NULL, NULL);
SELECT events, inserted, deleted, quarantined FROM cdc_sync('customer');
SELECT count(*) FROM customer WHERE cust_id >= 10;
-- keys that cannot be read
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"other":1}', NULL), ('[1]', NULL), ('Struct{A=1,B=x=2}', NULL), ('\x000000000702', NULL);
SELECT quarantined FROM cdc_sync('customer');
SELECT * FROM bad('customer');
DELETE FROM cdcsync.quarantine WHERE pipeline = 'customer';

-- what is in a topic besides changes is passed over, and counted
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"serverName":"salesdb"}', '{"ts_ms":1755849600000}'),
	('{"id":"x:57"}', '{"status":"BEGIN","id":"x:57","event_count":null,"data_collections":null,"ts_ms":1755849715602}'),
	('{"id":"x:57"}', '{"status":"END","id":"x:57","event_count":1,"data_collections":[{"data_collection":"salesdb.CUSTOMER","event_count":1}],"ts_ms":1755849715602}'),
	('{"databaseName":"salesdb"}', '{"source":{"connector":"mysql"},"ts_ms":1755849720000,"databaseName":"salesdb","schemaName":null,"ddl":"ALTER TABLE CUSTOMER ADD COLUMN EMAIL VARCHAR(80)","tableChanges":[]}'),
	('{"prefix":"p"}', '{"op":"m","ts_ms":1,"source":{"connector":"postgresql"},"message":{"prefix":"p","content":"aGk="}}'),
	('{"id":"n"}', '{"id":"n","aggregate_type":"Initial Snapshot","type":"COMPLETED","additional_data":{"connector_name":"s"},"timestamp":1}'),
	('salesdb', '{"type":"execute-snapshot","data":{"data-collections":["salesdb.CUSTOMER"],"type":"incremental"}}');
SELECT events, staged, quarantined FROM cdc_sync('customer');
SELECT passed('customer');

-- what is not decoded is named
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"database":"salesdb","table":"CUSTOMER","pk.cust_id":4}', '{"database":"salesdb","table":"CUSTOMER","type":"insert","ts":1755849660,"xid":7125,"xoffset":0,"data":{"CUST_ID":4,"NAME":"x"},"primary_key_columns":["CUST_ID"]}'),
	('{"CUST_ID":4}', '{"data":[{"CUST_ID":"4"}],"database":"salesdb","es":1,"id":4,"isDdl":false,"old":[{}],"pkNames":["CUST_ID"],"sql":"","table":"CUSTOMER","ts":1,"type":"UPDATE"}'),
	('{"CUST_ID":4}', '{"table":"SALES.CUSTOMER","op_type":"U","op_ts":"2025-08-22 08:01:05.000000","pos":"00000000010000003152","before":{"CUST_ID":4},"after":{"CUST_ID":4}}'),
	('{"CUST_ID":4}', '{"data":{"cust_id":4},"metadata":{"record-type":"data","operation":"load","schema-name":"public","table-name":"customer"}}'),
	('{"CUST_ID":4}', '\x000000000702048c'),
	('{"CUST_ID":4}', '\x0300' || decode(repeat('ab', 16), 'hex') || '\x0204'),
	('{"CUST_ID":4}', '\x0305' || decode(repeat('ab', 16), 'hex') || '\x789c'),
	('{"CUST_ID":4}', '\x4f626a01020406'),
	('{"CUST_ID":4}', '\x89504e47'),
	('{"CUST_ID":4}', '[1, 2]'),
	('{"CUST_ID":4}', '{"order_no": 5, "status": "SHIPPED"}'),
	('{"CUST_ID":4}', '{"cust_id": 77, "name": "a row, but not of this key"}'),
	('{"CUST_ID":4}', '{"before":null,"after":{"CUST_ID":4,"NAME":"x"}}'),
	('{"CUST_ID":4}', '{"op":"x","before":null,"after":{"CUST_ID":4,"NAME":"x"}}');
SELECT quarantined FROM cdc_sync('customer');
SELECT * FROM bad('customer');
-- JSON Schema of a registry is JSON behind its framing
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('\x0000000007' || '{"CUST_ID":20}'::bytea, '\x0000000008' || '{"before":null,"after":{"CUST_ID":20,"NAME":"framed"},"op":"c"}'::bytea),
	('\x0300' || decode(repeat('ab', 16), 'hex') || '{"CUST_ID":21}'::bytea,
	 '\x0300' || decode(repeat('ab', 16), 'hex') || '{"before":null,"after":{"CUST_ID":21,"NAME":"framed by Glue"},"op":"c"}'::bytea),
	('\x000000000000000007' || '{"CUST_ID":22}'::bytea, '\x000000000000000008' || '{"before":null,"after":{"CUST_ID":22,"NAME":"framed by Apicurio"},"op":"c"}'::bytea);
SELECT inserted, quarantined FROM cdc_sync('customer');
SELECT cust_id, name FROM customer WHERE cust_id >= 20 ORDER BY 1;

-- CloudEvents
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":30}', '{"id":"name:test;lsn:29274832","source":"/debezium/postgresql/test","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","time":"2020-01-13T13:55:39.738Z","datacontenttype":"application/json","iodebeziumop":"r","iodebeziumversion":"3.0","iodebeziumconnector":"postgresql","iodebeziumname":"test","iodebeziumtsms":"1578923739738","iodebeziumsnapshot":"true","iodebeziumdb":"postgres","iodebeziumschema":"s1","data":{"before":null,"after":{"CUST_ID":30,"NAME":"cloud"}}}'),
	('{"CUST_ID":31}', '{"id":"2","source":"/debezium/postgresql/test","specversion":"1.0","type":"t","iodebeziumop":"c","data":{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","field":"CUST_ID"},{"type":"string","field":"NAME"}],"field":"before"},{"type":"struct","fields":[{"type":"int32","field":"CUST_ID"},{"type":"string","field":"NAME"}],"field":"after"}]},"payload":{"before":null,"after":{"CUST_ID":31,"NAME":"with schema"}}}}'),
	('{"CUST_ID":30}', '{"id":"3","source":"/debezium/postgresql/test","specversion":"1.0","type":"t","iodebeziumop":"d","data":{"before":{"CUST_ID":30},"after":null}}');
SELECT inserted, deleted, quarantined FROM cdc_sync('customer');
SELECT cust_id, name FROM customer WHERE cust_id >= 30 ORDER BY 1;

RESET search_path;
SET client_min_messages = warning;
SELECT cdc_drop('customer');
DROP SCHEMA shapes_test CASCADE;
