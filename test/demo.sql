-- What demo.sh runs; :broker is the broker's address.
\pset null '(null)'
\set ECHO none
\echo
\echo '== A table of MariaDB changes; Debezium writes each change to a topic of Kafka =='
\! tools/broker.py feed fixtures/recorded/mariadb_plain.CUSTOMER.jsonl salesdb.salesdb.CUSTOMER 0 5
\echo '(6 events are in the topic salesdb.salesdb.CUSTOMER)'

\echo
\echo '== 1. Kafka as SQL: a server, and its topics as foreign tables =='
\set ECHO queries
CREATE EXTENSION cdcsync;
CREATE SERVER msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers :'broker');
CREATE USER MAPPING FOR CURRENT_USER SERVER msk;
CREATE SCHEMA myschema;
IMPORT FOREIGN SCHEMA kafka FROM SERVER msk INTO myschema;

SELECT kafka_offset, left(convert_from(kafka_value, 'UTF8'), 76) AS value
FROM myschema."salesdb.salesdb.CUSTOMER";

\set ECHO none
\echo
\echo '== 2. A pipeline: topic -> landing -> staging -> target =='
\set ECHO queries
CREATE TABLE customer_target (customer_id varchar(256) PRIMARY KEY, customer_name varchar(256),
                              market_segment varchar(256), refresh_time timestamp);
SELECT cdc_create('customer', topic => 'myschema."salesdb.salesdb.CUSTOMER"', target => 'customer_target',
                  columns => '{"customer_id": "CUST_ID", "customer_name": "NAME", "market_segment": "MKTSEGMENT"}');

\set ECHO none
\echo
\echo '== 3. Read the topic into the landing =='
\set ECHO queries
SELECT * FROM cdc_refresh('customer');
SELECT kafka_partition, kafka_offset, payload->>'op' AS op, payload->'after' AS after FROM customer_debezium;

\set ECHO none
\echo
\echo '== 4. Apply it: the last change of each key =='
\set ECHO queries
SELECT * FROM cdc_sync('customer');
SELECT * FROM customer_target ORDER BY customer_id;

\set ECHO none
\echo
\echo '== 5. The source goes on: a key changes, a row is deleted, a transaction inserts, updates, =='
\echo '==    deletes and inserts one row again, a column is added =='
\! tools/broker.py feed fixtures/recorded/mariadb_plain.CUSTOMER.jsonl salesdb.salesdb.CUSTOMER 6 16
\set ECHO queries
SELECT * FROM cdc_refresh('customer');
SELECT * FROM cdc_sync('customer');
SELECT * FROM customer_target ORDER BY refresh_time DESC, customer_id;

\set ECHO none
\echo
\echo '== 6. How it stands =='
\set ECHO queries
SELECT pipeline, state, lag_records, quarantined, exact FROM cdc_status;
SELECT * FROM debezium_last_extract;
