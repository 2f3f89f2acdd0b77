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

SELECT kafka_offset, left(convert_from(kafka_value, 'UTF8'), 76) AS value_begins
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
\echo '== 3. That is all: background workers read the topic and apply it =='
\echo '==    (op: r is a row that a snapshot read, c created, u updated, d deleted) =='
\set ECHO queries
SELECT cdc_wait('customer');        -- what is in the topic now is in the target
SELECT kafka_partition, kafka_offset, payload->>'op' AS op, payload->'after' AS after FROM customer_debezium;
SELECT * FROM customer_target ORDER BY customer_id;

\set ECHO none
\echo
\echo '== 4. The source goes on, a change every 0.4 s: rows are inserted, updated and deleted, a key changes. =='
\echo '==    We only look: at the last record that is applied (-: the null that follows a delete), and at the target =='
\! (for i in 6 7 8 9 10 11 12 13 14 15 16; do sleep 0.4; tools/broker.py feed fixtures/recorded/mariadb_plain.CUSTOMER.jsonl salesdb.salesdb.CUSTOMER $i $i; done) >/dev/null 2>&1 &
\t on
\pset format unaligned
SELECT 'DO $$ BEGIN PERFORM pg_sleep(0.4); END $$',
       $$SELECT to_char(clock_timestamp(), 'HH24:MI:SS.MS') || '   ' ||
         (SELECT rpad(coalesce(payload->>'op', '-') || ' ' || (convert_from(kafka_key, 'UTF8')::json->>'CUST_ID'), 7)
          FROM customer_debezium JOIN cdcsync.watermark USING (kafka_partition)
          WHERE kafka_offset = next_offset - 1) ||
         string_agg(customer_id || ' ' || customer_name || ' ' || coalesce(market_segment, '-'), ' | ' ORDER BY customer_id)
         FROM customer_target$$
FROM generate_series(1, 13)
\gexec
\t off
\pset format aligned
\set ECHO queries
SELECT cdc_wait('customer');
SELECT * FROM customer_target ORDER BY refresh_time DESC, customer_id;

\set ECHO none
\echo
\echo '== 5. How it stands =='
\set ECHO queries
SELECT pipeline, state, reason, lag_records, quarantined, exact FROM cdc_status;
SELECT * FROM debezium_last_extract;
SELECT backend_type, usename, state, query FROM pg_stat_activity WHERE backend_type LIKE 'cdcsync%' ORDER BY 1;
