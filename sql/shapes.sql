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
	('{"other":1}', NULL), ('[1, 2]', NULL), ('Struct{A=1,B=x=2}', NULL), ('\x000000000702', NULL);
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

-- .. the row alone, the operation inside, and what does not tell it
INSERT INTO customer_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":32}', '{"id":"4","source":"/debezium/postgresql/test","specversion":"1.0","type":"t","iodebeziumop":"c","data":{"CUST_ID":32,"NAME":"row"}}'),
	('{"CUST_ID":33}', '{"id":"5","source":"/debezium/postgresql/test","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","data":{"before":null,"after":{"CUST_ID":33,"NAME":"op in data"},"op":"c"}}'),
	('{"CUST_ID":34}', '{"id":"6","source":"/debezium/postgresql/test","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","data":{"before":null,"after":{"CUST_ID":34}}}'),
	('{"CUST_ID":35}', '{"id":"7","source":"/debezium/postgresql/test","specversion":"1.0","type":"t","iodebeziumop":"c","datacontenttype":"application/avro","data":"AAAAAAcC"}');
SELECT inserted, quarantined FROM cdc_sync('customer');
SELECT cust_id, name FROM customer WHERE cust_id >= 32 ORDER BY 1;
SELECT kafka_key, message FROM cdcsync.quarantine WHERE pipeline = 'customer' AND kafka_key IN ('{"CUST_ID":34}', '{"CUST_ID":35}') ORDER BY kafka_offset;

-- what somebody has wrapped once more: text of JSON in JSON, bytes as base64, two wrappers; a byte order mark
CREATE TABLE wrapped (id int PRIMARY KEY, name text);
SELECT cdc_create('wrapped', target => 'wrapped', options => '{"max_quarantine_share": 1}');
CREATE FUNCTION text_of(value text) RETURNS bytea LANGUAGE sql AS $$SELECT convert_to(to_json(value)::text, 'UTF8')$$;
INSERT INTO wrapped_debezium (kafka_key, kafka_value)
SELECT convert_to(format('{"id":%s}', i), 'UTF8'), text_of(format('{"op":"c","after":{"id":%s,"name":"text %s"}}', i, i))
FROM generate_series(1, 4) i;
INSERT INTO wrapped_debezium (kafka_key, kafka_value) VALUES
	('{"id":5}', convert_to(json_build_object('schema', json_build_object('type', 'string'), 'payload', '{"op":"c","after":{"id":5,"name":"with a schema"}}')::text, 'UTF8')),
	('{"id":6}', convert_to(json_build_object('schema', json_build_object('type', 'bytes'), 'payload',
		replace(encode('{"op":"c","after":{"id":6,"name":"bytes"}}', 'base64'), E'\n', ''))::text, 'UTF8')),
	('{"id":7}', '{"schema":null,"payload":{"schema":{"type":"struct"},"payload":{"op":"c","after":{"id":7,"name":"two wrappers"}}}}'),
	('{"id":8}', '\xefbbbf' || '{"op":"c","after":{"id":8,"name":"behind a mark"}}'::bytea),
	('{"id":9}', '{"schema":{},"payload":{"op":"c","after":{"id":9,"name":"a schema that says nothing"}}}'),
	('{"id":10}', text_of('{"op":"c","after":')),
	('{"id":11}', '\xfffe7b00'),
	(text_of('{"id":1}'), NULL), ('{"schema":null,"payload":"{\\"id\\":2}"}', NULL), ('\xefbbbf' || '{"id":3}'::bytea, NULL), ('[4]', NULL);
SELECT events, inserted, quarantined FROM cdc_sync('wrapped');
SELECT * FROM wrapped ORDER BY 1;
SELECT * FROM bad('wrapped');
-- .. a mark of a deleted row is true or false in any form
INSERT INTO wrapped_debezium (kafka_key, kafka_value) VALUES
	('{"id":5}', '{"id":5,"name":"a","__deleted":"True"}'), ('{"id":6}', '{"id":6,"name":"b","__deleted":1}'),
	('{"id":7}', '{"id":7,"name":"c","__deleted":0}'), ('{"id":8}', '{"id":8,"name":"d","__deleted":"FALSE"}'),
	('{"id":9}', '{"id":9,"name":"e","__deleted":"perhaps"}');
SELECT deleted, quarantined FROM cdc_sync('wrapped');
SELECT * FROM wrapped ORDER BY 1;
SELECT message FROM cdcsync.quarantine WHERE pipeline = 'wrapped' ORDER BY kafka_offset DESC LIMIT 1;

-- YugabyteDB's columns are cells: null leaves the column, {"value":null,"set":true} is NULL
CREATE FUNCTION cell(value anyelement) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('value', value, 'set', true)$$;
CREATE FUNCTION cells(op text, id int, name jsonb) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(jsonb_build_object('op', op, 'source', jsonb_build_object('connector', 'yugabytedb', 'table', 't'),
		CASE op WHEN 'd' THEN 'before' ELSE 'after' END, jsonb_build_object('id', cell(id), 'name', name))::text, 'UTF8')
$$;
CREATE TABLE yuga (id int PRIMARY KEY, name text);
SELECT cdc_create('yuga', target => 'yuga', options => '{"max_quarantine_share": 1}');
INSERT INTO yuga_debezium (kafka_key, kafka_value)
SELECT convert_to(jsonb_build_object('id', cell(i))::text, 'UTF8'), cells('c', i, cell('n' || i)) FROM generate_series(1, 5) i;
INSERT INTO yuga_debezium (kafka_key, kafka_value) VALUES
	('{"id":{"value":1,"set":true}}', cells('u', 1, cell('new'::text))), ('{"id":{"value":2,"set":true}}', cells('u', 2, 'null')),
	('{"id":{"value":3,"set":true}}', cells('u', 3, '{"value":null,"set":true}')),
	('{"id":{"value":4,"set":true}}', cells('d', 4, 'null')), ('{"id":{"value":4,"set":true}}', NULL),
	('{"id":{"value":5,"set":true}}', NULL), ('{"id":{"value":6,"set":true}}', cells('c', 6, '"no cell"'));
SELECT inserted, quarantined FROM cdc_sync('yuga');
SELECT * FROM yuga ORDER BY 1;
SELECT * FROM bad('yuga');
-- .. also where the target is made of them, with and without schema
SET client_min_messages = warning;
SELECT cdc_create('m_yuga');
INSERT INTO m_yuga_debezium (kafka_key, kafka_value) VALUES ('{"id":{"value":1,"set":true}}', cells('c', 1, cell('n1'::text)));
SELECT inserted, quarantined FROM cdc_sync('m_yuga');
SELECT * FROM m_yuga_target;
SELECT cdc_create('s_yuga');
INSERT INTO s_yuga_debezium (kafka_key, kafka_value) VALUES ('{"id":{"value":1,"set":true}}', convert_to(format('{"schema":%s,"payload":%s}',
	'{"type":"struct","fields":[{"type":"struct","field":"after","fields":[{"type":"struct","field":"id","fields":[{"type":"int32","field":"value","optional":false},{"type":"boolean","field":"set"}]},{"type":"struct","optional":true,"field":"name","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"value","optional":true},{"type":"boolean","field":"set"}]}]},{"type":"string","field":"op"}]}',
	convert_from(cells('c', 1, cell(19691)), 'UTF8')), 'UTF8'));
SELECT inserted, quarantined FROM cdc_sync('s_yuga');
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 's_yuga_target'::regclass AND attnum > 0 ORDER BY attnum;
SELECT * FROM s_yuga_target;
RESET client_min_messages;
-- .. CockroachDB's own changefeeds: bare rows, and events that are named; what is resolved is passed over
INSERT INTO wrapped_debezium (kafka_key, kafka_value) VALUES
	('[20]', '{"id":20,"name":"bare"}'), ('[21]', '{"id":21,"name":"bare, to go"}'), ('[21]', NULL),
	('{"id":30}', '{"op":"i","source":{"connector":"cassandra"},"after":{"id":{"value":30,"deletion_ts":null,"set":true}}}'),
	('[22]', '{"after":{"id":22,"name":"x"},"key":[22],"updated":"1700000000000000000.0000000000"}'),
	(NULL, '{"resolved":"1700000000000000000.0000000000"}');
SELECT inserted, quarantined FROM cdc_sync('wrapped');
SELECT passed('wrapped');
SELECT * FROM wrapped WHERE id >= 20;
SELECT message FROM cdcsync.quarantine WHERE pipeline = 'wrapped' ORDER BY kafka_offset DESC LIMIT 2;

-- flattened: rows alone, which are upserts; deletes as null
CREATE TABLE flat (cust_id int PRIMARY KEY, name text, mktsegment text);
SELECT cdc_create('flat', target => 'flat', options => '{"max_quarantine_share": 1}');
INSERT INTO flat_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":1}', '{"CUST_ID":1,"NAME":"a","MKTSEGMENT":"X"}'),
	('{"CUST_ID":2}', '{"schema":{"type":"struct","fields":[{"type":"int32","field":"CUST_ID"},{"type":"string","field":"NAME"},{"type":"string","field":"MKTSEGMENT"}],"name":"salesdb.salesdb.CUSTOMER.Value"},"payload":{"CUST_ID":2,"NAME":"b","MKTSEGMENT":null}}'),
	('{"CUST_ID":3}', '{"CUST_ID":3,"NAME":"c","MKTSEGMENT":"Z"}'),
	('{"CUST_ID":4}', '{"CUST_ID":4,"NAME":"d","MKTSEGMENT":"Z"}'),
	('{"CUST_ID":1}', '{"CUST_ID":1,"NAME":"a2","MKTSEGMENT":"__debezium_unavailable_value"}'),
	('{"CUST_ID":3}', 'null'),
	('{"CUST_ID":4}', '{"schema":{"type":"struct","optional":true,"name":"salesdb.salesdb.CUSTOMER.Value"},"payload":null}');
SELECT events, inserted, quarantined FROM cdc_sync('flat');
SELECT * FROM flat ORDER BY 1;
-- .. rewritten: __deleted as text or boolean, with or without a tombstone behind it; __op
INSERT INTO flat_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":5}', '{"CUST_ID":5,"NAME":"e","MKTSEGMENT":null,"__op":"c","__table":"CUSTOMER","__source_ts_ms":1755849669000,"__deleted":"false"}'),
	('{"CUST_ID":6}', '{"CUST_ID":6,"NAME":"f","MKTSEGMENT":null,"__deleted":false}'),
	('{"CUST_ID":7}', '{"CUST_ID":7,"NAME":"g","MKTSEGMENT":null,"__op":"r"}'),
	('{"CUST_ID":8}', '{"CUST_ID":8,"NAME":"h","MKTSEGMENT":null,"__op":"c"}');
SELECT inserted FROM cdc_sync('flat');
INSERT INTO flat_debezium (kafka_key, kafka_value) VALUES
	('{"CUST_ID":5}', '{"CUST_ID":5,"NAME":"e","MKTSEGMENT":null,"__op":"d","__table":"CUSTOMER","__source_ts_ms":1755849669000,"__deleted":"true"}'),
	('{"CUST_ID":5}', NULL),
	('{"CUST_ID":6}', '{"CUST_ID":6,"NAME":"f","MKTSEGMENT":null,"__deleted":true}'),
	('{"CUST_ID":7}', '{"CUST_ID":7,"NAME":"","MKTSEGMENT":null,"__op":"d"}'),
	(NULL, '{"schema":{"type":"struct","fields":[{"type":"int32","field":"CUST_ID"}]},"payload":{"CUST_ID":8,"__deleted":"true"}}');
SELECT deleted, quarantined FROM cdc_sync('flat');
SELECT cust_id FROM flat ORDER BY 1;
SELECT * FROM bad('flat');
-- .. a column of the target can be one of the added fields; re-sent events are known by the position
CREATE TABLE flat_meta (id int PRIMARY KEY, v text, __op text, op text, ts_ms bigint, lsn text, tab text);
SELECT cdc_create('flat_meta', target => 'flat_meta',
	columns => '{"op": "$op", "ts_ms": "$ts_ms", "lsn": "$source.lsn", "tab": "$source.table"}');
INSERT INTO flat_meta_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', '{"id":1,"v":"new","__op":"u","__ts_ms":7,"__lsn":123,"__source_table":"t","__source_ts_ms":6,"__sequence":"[\\"100\\",\\"200\\"]"}'),
	('{"id":1}', '{"id":1,"v":"sent again","__op":"c","__ts_ms":5,"__lsn":12,"__source_table":"t","__source_ts_ms":4,"__sequence":"[\\"90\\",\\"100\\"]"}');
SELECT events, inserted FROM cdc_sync('flat_meta');
SELECT * FROM flat_meta;
SELECT resent FROM cdcsync.watermark WHERE pipeline = 'flat_meta';
-- .. another prefix
SELECT cdc_alter('flat_meta', options => '{"add_fields_prefix": "dbz."}');
INSERT INTO flat_meta_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', '{"id":1,"v":"x","dbz.op":"d","dbz.source.ts_ms":9}');
SELECT deleted FROM cdc_sync('flat_meta');

-- columns that are called as the members of an envelope or of a flattened event
CREATE TABLE audit (id int PRIMARY KEY, op text, source text, before text, after text, ts_ms bigint, payload text, schema text);
SELECT cdc_create('audit', target => 'audit');
INSERT INTO audit_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', '{"id":1,"op":"c","source":"web","before":null,"after":"{\\"a\\":1}","ts_ms":1,"payload":"p","schema":"s"}'),
	('{"id":2}', '{"before":null,"after":{"id":2,"op":"d","source":"app","before":"b","after":"a","ts_ms":2,"payload":"p","schema":"s"},"source":{"table":"audit"},"op":"c"}'),
	('{"id":3}', '{"schema":{"type":"struct","fields":[]},"payload":{"id":3,"op":"d","source":null,"before":null,"after":null,"payload":"x","schema":null}}');
SELECT inserted, quarantined FROM cdc_sync('audit');
SELECT * FROM audit ORDER BY 1;
-- .. where detection would be wrong, the option says it
CREATE TABLE odd (op text PRIMARY KEY, before jsonb, after jsonb, payload jsonb);
SELECT cdc_create('odd', target => 'odd', options => '{"shape": "flat"}');
INSERT INTO odd_debezium (kafka_key, kafka_value) VALUES
	('{"op":"c"}', '{"op":"c","before":{"x":1},"after":{"x":2},"payload":{"y":1}}'),
	('{"op":"u"}', '{"op":"u","before":null,"after":{"x":2}}');
SELECT inserted, quarantined FROM cdc_sync('odd');
SELECT * FROM odd ORDER BY 1;
SELECT cdc_alter('odd', options => '{"shape": "envelope", "max_quarantine_share": 1}');
INSERT INTO odd_debezium (kafka_key, kafka_value) VALUES ('{"op":"v"}', '{"op":"v","payload":1}');
SELECT quarantined FROM cdc_sync('odd');
SELECT * FROM bad('odd');
SELECT cdc_alter('odd', options => '{"shape": "round"}');
SELECT cdc_alter('odd', options => '{"add_fields_prefix": 5}');

-- other JSON, such as an outbox: the key of the row may be in the record's key alone
CREATE TABLE outbox (id uuid PRIMARY KEY, type text, payload jsonb, whole jsonb);
SELECT cdc_create('outbox', target => 'outbox', columns => '{"whole": "$row"}');
INSERT INTO outbox_debezium (kafka_key, kafka_value) VALUES
	('{"id":"c77c2c15-3e0e-4a31-8b3f-0a1e5f1f5a01"}', '{"type":"OrderCreated","payload":{"order":1}}'),
	('"c77c2c15-3e0e-4a31-8b3f-0a1e5f1f5a02"', '{"type":"OrderShipped","payload":{"order":1}}'),
	('c77c2c15-3e0e-4a31-8b3f-0a1e5f1f5a03', '{"type":"OrderPaid","payload":{"order":1}}');
SELECT inserted, quarantined FROM cdc_sync('outbox');
SELECT * FROM outbox ORDER BY 1;
-- .. and values that are no objects
CREATE TABLE reading (kafka_partition bigint, kafka_offset bigint, op text, v jsonb, id int PRIMARY KEY);
SELECT cdc_create('reading', target => 'reading', options => '{"shape": "plain"}',
	columns => '{"v": "$row", "op": "$op", "kafka_partition": "$kafka_partition", "kafka_offset": "$kafka_offset"}');
INSERT INTO reading_debezium (kafka_key, kafka_value) VALUES
	('1', '21.5'), ('2', '"text"'), ('3', '[1, 2]'), ('4', '{"op":"d","before":{"id":9}}'), ('5', 'true'), ('5', NULL),
	('6', '{"schema":{"type":"string"},"payload":"{\\"a\\": 1}"}');
SELECT inserted, deleted, quarantined FROM cdc_sync('reading');
SELECT * FROM reading ORDER BY kafka_offset;

-- MongoDB: documents as strings of extended JSON
CREATE TABLE person (_id text PRIMARY KEY, name text, visits bigint, score numeric, born timestamptz, day date,
	ref uuid, photo bytea, tags jsonb, address jsonb, document jsonb);
SELECT cdc_create('person', target => 'person', columns => '{"document": "$row"}', options => '{"max_quarantine_share": 1}');
INSERT INTO person_debezium (kafka_key, kafka_value) VALUES
	('{"id":"{\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"}"}',
	 '{"before":null,"after":"{\\"_id\\": {\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"},\\"name\\": \\"Ann \\\\\\"A\\\\\\" \\\\u00e9\\",\\"visits\\": {\\"$numberLong\\": \\"9007199254740993\\"},\\"score\\": {\\"$numberDecimal\\": \\"12.340\\"},\\"born\\": {\\"$date\\": 1670880000123},\\"day\\": {\\"$date\\": -86400000},\\"ref\\": {\\"$binary\\": {\\"base64\\": \\"AAECAwQFBgcICQoLDA0ODw==\\", \\"subType\\": \\"04\\"}},\\"photo\\": {\\"$binary\\": \\"3q0=\\", \\"$type\\": \\"00\\"},\\"tags\\": [\\"a\\", {\\"$numberInt\\": \\"1\\"}],\\"address\\": {\\"city\\": \\"Rome\\"}}","updateDescription":null,"source":{"connector":"mongodb","ts_ms":1,"snapshot":"true","db":"shop","collection":"person"},"op":"r","ts_ms":1,"transaction":null}'),
	('{"schema":{"type":"struct","fields":[{"type":"string","field":"id"}]},"payload":{"id":"1004"}}',
	 '{"schema":{"type":"struct","fields":[{"type":"string","field":"after"},{"type":"string","field":"op"}]},"payload":{"before":null,"after":"{\\"_id\\": 1004,\\"name\\": \\"Bob\\"}","source":{"connector":"mongodb","ts_ms":2,"db":"shop","collection":"person"},"op":"c","ts_ms":2}}');
SELECT inserted, quarantined FROM cdc_sync('person');
\x on
SELECT * FROM person ORDER BY _id;
\x off
-- .. a whole document replaces the row; without it, what changed is applied
INSERT INTO person_debezium (kafka_key, kafka_value) VALUES
	('{"id":"1004"}', '{"after":"{\\"_id\\": 1004,\\"visits\\": 3}","source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}'),
	('{"id":"1004"}', '{"after":null,"updateDescription":{"removedFields":null,"updatedFields":"{\\"name\\": \\"Bobby\\"}","truncatedArrays":null},"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}');
SELECT updated, quarantined FROM cdc_sync('person');
SELECT * FROM bad('person');
DELETE FROM cdcsync.quarantine;
ALTER TABLE person DROP COLUMN document;
SELECT cdc_alter('person', columns => '{}');
INSERT INTO person_debezium (kafka_key, kafka_value) VALUES
	('{"id":"{\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"}"}', '{"before":null,"after":null,"updateDescription":{"removedFields":["score","nobody.asked"],"updatedFields":"{\\"name\\": \\"Anna\\", \\"visits\\": {\\"$numberLong\\": \\"5\\"}, \\"other.part\\": 1}","truncatedArrays":[]},"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}'),
	('{"id":"1004"}', '{"after":null,"updateDescription":{"removedFields":null,"updatedFields":"{\\"address.city\\": \\"Oslo\\"}"},"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}'),
	('{"id":"1004"}', '{"after":null,"updateDescription":{"removedFields":["address.zip"],"updatedFields":"{}"},"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}'),
	('{"id":"1004"}', '{"after":null,"updateDescription":{"updatedFields":"{}","truncatedArrays":[{"field":"tags","size":1}]},"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"u"}');
SELECT updated, quarantined FROM cdc_sync('person');
SELECT _id, name, visits, score, tags FROM person ORDER BY _id;
SELECT * FROM bad('person');
-- .. deletes by the key, and the flattened form with its partial updates
INSERT INTO person_debezium (kafka_key, kafka_value) VALUES
	('{"id":"{\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"}"}', '{"before":null,"after":null,"updateDescription":null,"source":{"connector":"mongodb","db":"shop","collection":"person"},"op":"d"}'),
	('{"id":"{\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"}"}', NULL),
	('{"_id":1004}', NULL),
	('{"id":"{\\"$oid\\": \\"73979f33ea27ee7b5e6e5fd7\\"}"}', '{"_id":"73979f33ea27ee7b5e6e5fd7","name":"Flat","visits":7}'),
	('{"id":"{\\"$oid\\": \\"73979f33ea27ee7b5e6e5fd7\\"}"}', '{"_id":"73979f33ea27ee7b5e6e5fd7","visits":8,"__op":"u"}');
SELECT inserted, deleted, quarantined FROM cdc_sync('person');
SELECT _id, name, visits FROM person;

-- a topic that holds several tables: without a filter, the first one is followed
CREATE TABLE orders (id int PRIMARY KEY, v text);
CREATE TABLE items (id int PRIMARY KEY, v text);
SELECT cdc_create('orders', target => 'orders', options => '{"max_quarantine_share": 1}');
CREATE FUNCTION event(tab text, id int, v text, op text) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(json_build_object('before', CASE op WHEN 'd' THEN json_build_object('id', id) END,
		'after', CASE WHEN op IN ('c', 'u', 'r') THEN json_build_object('id', id, 'v', v) END,
		'source', json_build_object('connector', 'postgresql', 'db', 'shop', 'schema', 'public', 'table', tab), 'op', op)::text, 'UTF8')
$$;
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', event('orders', 1, 'o1', 'c')), ('{"id":1}', event('items', 1, 'i1', 'c')),
	('{"id":2}', event('orders', 2, 'o2', 'c')), ('{"id":2}', event('items', 2, 'i2', 'c')),
	('{"id":1}', event('items', 1, NULL, 'd')), ('{"id":1}', NULL);
SELECT inserted, deleted, quarantined FROM cdc_sync('orders');
SELECT * FROM orders ORDER BY 1;
SELECT * FROM bad('orders');
SELECT source_table FROM cdcsync.pipeline WHERE name = 'orders';
-- .. events that tell less of the table are of it; what was of others leaves quarantine when a filter says so
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES
	('{"id":3}', '{"id":3,"v":"flat","__table":"orders"}'), ('{"id":4}', '{"id":4,"v":"flat","__table":"items"}'),
	('{"id":5}', '{"id":5,"v":"flat"}');
SELECT inserted, quarantined FROM cdc_sync('orders');
SELECT cdc_alter('orders', options => '{"filter": {"source.table": "orders"}}');
SELECT * FROM cdc_retry('orders');
SELECT cdc_alter('orders', options => '{"filter": {"source.table": "*"}}');
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES ('{"id":9}', event('orders_p1', 9, 'part', 'c'));
SELECT inserted, quarantined FROM cdc_sync('orders');
SELECT * FROM orders ORDER BY 1;
SELECT cdc_drop('orders');
TRUNCATE orders;
-- .. with one, each pipeline takes its own, and a delete's tombstone belongs to the delete
SELECT cdc_create('orders', target => 'orders', options => '{"filter": {"source.table": "orders"}}');
SELECT cdc_create('items', target => 'items', options => '{"filter": {"$source.schema": ["public", "x"], "source.table": ["it*"]}, "landing": "orders_debezium"}');
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', event('orders', 1, 'o1', 'c')), ('{"id":1}', event('items', 1, 'i1', 'c')),
	('{"id":2}', event('orders', 2, 'o2', 'c')), ('{"id":2}', event('items', 2, 'i2', 'c')),
	('{"id":1}', event('items', 1, NULL, 'd')), ('{"id":1}', NULL),
	('{"id":2}', event('orders', 2, NULL, 'd')), ('{"id":2}', NULL),
	('{"id":3}', '{"id":3,"v":"flat","__table":"items","__schema":"public"}');
SELECT inserted, deleted, quarantined FROM cdc_sync('orders');
SELECT inserted, deleted, quarantined FROM cdc_sync('items');
SELECT * FROM orders ORDER BY 1;
SELECT * FROM items ORDER BY 1;
SELECT passed('orders'), passed('items');
INSERT INTO orders_debezium (kafka_key, kafka_value) VALUES ('{"id":4}', NULL), ('{"id":3}', '{"id":3,"v":"flat"}');
SELECT cdc_alter('orders', options => '{"max_quarantine_share": 1}');
SELECT quarantined FROM cdc_sync('orders');
SELECT * FROM bad('orders');
-- .. errors of the option
SELECT cdc_alter('orders', options => '{"filter": {"table": "orders"}}');
SELECT cdc_alter('orders', options => '{"filter": {"source.table": 5}}');
SELECT cdc_alter('orders', options => '{"filter": {"source.table": []}}');
SELECT cdc_alter('orders', options => '{"filter": {"source.table": {}}}');
SELECT cdc_alter('orders', options => '{"filter": {}}');

-- several topics, or tables, into one target: only where the key tells them apart
CREATE TABLE shard (id int, db text, v text, PRIMARY KEY (id, db));
CREATE TABLE shard_id (id int PRIMARY KEY, db text);
SELECT cdc_create('shard1', target => 'shard_id', columns => '{"db": "$source.db"}');
SELECT cdc_create('shard2', target => 'shard_id', columns => '{"db": "$source.db"}');
SELECT cdc_drop('shard1');
SELECT cdc_create('shard1', target => 'shard', columns => '{"db": "$source.db"}');
SELECT cdc_create('shard2', target => 'shard');
SELECT cdc_create('shard2', target => 'shard', columns => '{"db": "$source.db"}');
SELECT cdc_alter('shard2', columns => '{}');
CREATE FUNCTION shard(db text, id int, v text, op text) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(json_build_object('before', NULL,
		'after', CASE WHEN op IN ('c', 'u', 'r') THEN json_build_object('id', id, 'v', v) END,
		'source', json_build_object('connector', 'mysql', 'db', db, 'table', 't'), 'op', op)::text, 'UTF8')
$$;
INSERT INTO shard1_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', shard('one', 1, 'a', 'c')), ('{"id":2}', shard('one', 2, 'b', 'c')), ('{"id":3}', shard('one', 3, 'c', 'c')),
	('{"id":3}', shard('one', 3, NULL, 'd')), ('{"id":3}', NULL);
INSERT INTO shard2_debezium (kafka_key, kafka_value) VALUES
	('{"id":1}', shard('two', 1, 'c', 'c')), ('{"id":2}', shard('three', 2, 'd', 'c'));
SELECT inserted, quarantined FROM cdc_sync('shard1');
SELECT inserted, quarantined FROM cdc_sync('shard2');
SELECT * FROM shard ORDER BY db, id;
-- .. and a truncate takes the rows of its own source
INSERT INTO shard2_debezium (kafka_key, kafka_value) VALUES
	(NULL, shard('two', 1, NULL, 't')), ('{"id":7}', shard('two', 7, 'later', 'c'));
INSERT INTO shard1_debezium (kafka_key, kafka_value) VALUES
	('{"id":8}', shard('one', 8, 'x', 'c')), (NULL, shard('one', 0, NULL, 't')), ('{"id":2}', shard('one', 2, 'again', 'c')),
	(NULL, '{"before":null,"after":null,"source":{"connector":"mysql"},"op":"t"}');
SELECT cdc_alter('shard1', options => '{"max_quarantine_share": 1}');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('shard1');
SELECT inserted, updated, deleted, quarantined FROM cdc_sync('shard2');
SELECT * FROM shard ORDER BY db, id;
SELECT * FROM bad('shard1');
-- .. a rebuild leaves the rows of the others alone
INSERT INTO shard VALUES (99, 'one', 'made up'), (2, 'two', 'of another');
SELECT cdc_alter('shard1', options => '{"retention": "infinite"}');
DELETE FROM cdcsync.quarantine WHERE pipeline = 'shard1';
SELECT inserted, updated, deleted FROM cdc_resync('shard1');
SELECT * FROM shard ORDER BY db, id;
-- .. a truncate also takes the bad records of its own source, so that they do not come back
ALTER TABLE shard ADD CHECK (v <> 'bad') NOT VALID;
INSERT INTO shard2_debezium (kafka_key, kafka_value) VALUES
	('{"id":20}', shard('two', 20, 'bad', 'c')), ('{"id":20}', shard('three', 20, 'bad', 'c'));
SELECT cdc_alter('shard2', options => '{"max_quarantine_share": 1}');
SELECT inserted, quarantined FROM cdc_sync('shard2');
INSERT INTO shard2_debezium (kafka_key, kafka_value) VALUES
	('{"id":21}', shard('two', 21, 'bad', 'c')), (NULL, shard('two', 0, NULL, 't'));
SELECT deleted, quarantined FROM cdc_sync('shard2');
SELECT kafka_offset, convert_from(kafka_key, 'UTF8') AS key FROM cdcsync.quarantine WHERE pipeline = 'shard2';
ALTER TABLE shard DROP CONSTRAINT shard_v_check;
SELECT * FROM cdc_retry('shard2');
-- .. the other key that headers tell is one of the same source
INSERT INTO shard2_debezium (kafka_key, kafka_value) VALUES
	('{"id":30}', shard('two', 30, 'thirty of two', 'c')), ('{"id":30}', shard('three', 30, 'thirty of three', 'c')),
	('{"id":40}', shard('two', 40, 'forty', 'c'));
SELECT inserted FROM cdc_sync('shard2');
INSERT INTO shard2_debezium (kafka_key, kafka_value, kafka_headers)
SELECT format('{"id":%s}', key)::bytea, value, jsonb_build_array(jsonb_build_object('key', header, 'value', format('{"id":%s}', other)))
FROM (VALUES (30, 31, '__debezium.newkey', shard('two', 30, NULL, 'd')), (30, 31, '__debezium.newkey', NULL),
	(30, 31, '__debezium.newkey', shard('three', 30, NULL, 'd')), (30, 31, '__debezium.newkey', NULL),
	(31, 30, '__debezium.oldkey', shard('three', 31, '__debezium_unavailable_value', 'c')),
	(31, 30, '__debezium.oldkey', shard('two', 31, '__debezium_unavailable_value', 'c'))) e (key, other, header, value);
SELECT inserted, deleted, quarantined FROM cdc_sync('shard2');
SELECT * FROM shard ORDER BY db, id;

-- targets that are made from what the records look like
SET client_min_messages = warning;
CREATE FUNCTION made(name regclass) RETURNS TABLE (col name, type text, in_key boolean) LANGUAGE sql AS $$
	SELECT attname, format_type(atttypid, atttypmod), coalesce(attnum = ANY (indkey), false)
	FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
	WHERE attrelid = name AND attnum > 0 ORDER BY attnum
$$;
SELECT cdc_create('m_flat');
INSERT INTO m_flat_debezium (kafka_key, kafka_value) VALUES
	('{"ID":1}', '{"ID":1,"NAME":"a","AMOUNT":1.5,"__op":"c","__table":"t","__deleted":"false"}'),
	('{"ID":1}', '{"ID":1,"NAME":"a","AMOUNT":2,"EXTRA":true,"__op":"d","__table":"t","__deleted":"true"}'),
	('{"ID":2}', '{"ID":2,"NAME":"b","AMOUNT":null,"__op":"c","__table":"t","__deleted":"false"}');
SELECT inserted, quarantined FROM cdc_sync('m_flat');
SELECT * FROM made('m_flat_target');
SELECT cdc_create('m_schema');
INSERT INTO m_schema_debezium (kafka_key, kafka_value) VALUES
	('{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":1}}',
	 '{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"int32","optional":true,"name":"io.debezium.time.Date","field":"day"},{"type":"string","optional":true,"field":"__deleted"}],"name":"s.Value"},"payload":{"id":1,"day":19691,"__deleted":"false"}}');
SELECT inserted, quarantined FROM cdc_sync('m_schema');
SELECT * FROM made('m_schema_target');
-- .. and follow: what the transform adds is no column of the source
INSERT INTO m_schema_debezium (kafka_key, kafka_value) VALUES
	('{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":2}}',
	 '{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"int32","optional":true,"name":"io.debezium.time.Date","field":"day"},{"type":"int32","optional":true,"field":"extra"},{"type":"string","optional":true,"field":"__deleted"},{"type":"string","optional":true,"field":"__op"}],"name":"s.Value"},"payload":{"id":2,"day":19691,"extra":5,"__deleted":"false","__op":"c"}}');
SELECT inserted, quarantined FROM cdc_sync('m_schema');
SELECT * FROM made('m_schema_target');
SELECT kind, column_name, state FROM cdcsync.schema_change WHERE pipeline = 'm_schema';
SELECT cdc_create('m_mongo');
INSERT INTO m_mongo_debezium (kafka_key, kafka_value) VALUES
	('{"id":"{\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"}"}',
	 '{"after":"{\\"_id\\": {\\"$oid\\": \\"63979f33ea27ee7b5e6e5fd7\\"},\\"name\\": \\"Ann\\",\\"n\\": {\\"$numberLong\\": \\"5\\"},\\"d\\": {\\"$numberDecimal\\": \\"5\\"},\\"born\\": {\\"$date\\": 1},\\"ref\\": {\\"$binary\\": {\\"base64\\": \\"AAECAwQFBgcICQoLDA0ODw==\\", \\"subType\\": \\"04\\"}},\\"raw\\": {\\"$binary\\": {\\"base64\\": \\"3q0=\\", \\"subType\\": \\"00\\"}},\\"sub\\": {\\"a\\": 1}}","source":{"connector":"mongodb"},"op":"c"}');
SELECT inserted, quarantined FROM cdc_sync('m_mongo');
SELECT * FROM made('m_mongo_target');
SELECT * FROM m_mongo_target;
SELECT cdc_create('m_filter', options => '{"filter": {"source.table": "orders"}}');
INSERT INTO m_filter_debezium (kafka_key, kafka_value) VALUES
	('{"no":1}', '{"after":{"no":1,"item":"x"},"source":{"table":"items"},"op":"c"}'),
	('{"id":1}', event('orders', 1, 'o1', 'c'));
SELECT inserted, quarantined FROM cdc_sync('m_filter');
SELECT * FROM made('m_filter_target');
SELECT cdc_create('m_plain', options => '{"shape": "plain"}', key => ARRAY['n']);
INSERT INTO m_plain_debezium (kafka_value) VALUES ('{"n":1,"op":"x"}'), ('{"n":2,"op":"y"}');
SELECT inserted, quarantined FROM cdc_sync('m_plain');
SELECT * FROM m_plain_target ORDER BY n;

-- a truncate is of no row
SELECT op, "after" FROM cdc_decode('{"__op":"t","__table":"CUSTOMER"}');
SELECT cdc_create('m_truncate', options => '{"shape": "flat", "max_quarantine_share": 1}');
INSERT INTO m_truncate_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', '{"id":1,"__op":"c"}');
SELECT inserted, quarantined FROM cdc_sync('m_truncate');
INSERT INTO m_truncate_debezium (kafka_key, kafka_value) VALUES ('{"id":2}', '{"id":2,"__op":"t"}');
SELECT deleted, quarantined FROM cdc_sync('m_truncate');
SELECT message FROM cdcsync.quarantine WHERE pipeline = 'm_truncate';
SELECT count(*) FROM m_truncate_target;
INSERT INTO m_truncate_debezium (kafka_value) VALUES ('{"__op":"t","__table":"CUSTOMER"}');
SELECT deleted, quarantined FROM cdc_sync('m_truncate');

-- what cdc_decode() says of them
SELECT * FROM cdc_decode('{"id":1,"__op":"u","__ts_ms":5}');
SELECT * FROM cdc_decode('{"id":1,"__deleted":"true"}');
SELECT * FROM cdc_decode('{"id":1}');
SELECT op, after FROM cdc_decode('\x0000000007' || '{"op":"c","after":{"id":1}}'::bytea);
SELECT op, before, after FROM cdc_decode('{"specversion":"1.0","iodebeziumop":"u","data":{"before":{"id":1},"after":{"id":2}}}');
SELECT op, after FROM cdc_decode(convert_to('{"op":"u","after":null,"updateDescription":{"updatedFields":"{\"a\": 1}"},"source":{}}', 'UTF8'));
SELECT * FROM cdc_decode('\x000000000702');
SELECT * FROM cdc_decode('{"database":"d","table":"t","type":"insert","ts":1,"data":{"id":1}}');
SELECT * FROM cdc_decode('{"id":"n","aggregate_type":"Initial Snapshot","type":"COMPLETED","additional_data":{}}');

RESET search_path;
SET client_min_messages = warning;
SELECT cdc_drop('*');
DROP SCHEMA shapes_test CASCADE;
