-- Options of Kafka servers, user mappings and topics: checked when they are set.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;

-- addresses of brokers
CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka
	OPTIONS (bootstrap_servers 'b-1.example.com:9092, b-2.example.com:9092,localhost,[::1]:9092,[fe80::1],10.0.0.1:65535');
ALTER SERVER k OPTIONS (SET bootstrap_servers '');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'localhost:0');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'localhost:65536');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'localhost:9092x');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'localhost:');
ALTER SERVER k OPTIONS (SET bootstrap_servers ':9092');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'a:1,,b:2');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'a:1,');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'PLAINTEXT://a:1');
ALTER SERVER k OPTIONS (SET bootstrap_servers 'a b:1');
ALTER SERVER k OPTIONS (SET bootstrap_servers '[::1:9092');
ALTER SERVER k OPTIONS (SET bootstrap_servers '[]:9092');

-- enumerations and numbers
ALTER SERVER k OPTIONS (ADD security_protocol 'tls');
ALTER SERVER k OPTIONS (ADD security_protocol 'SASL_SSL', ADD sasl_mechanism 'gssapi');
ALTER SERVER k OPTIONS (ADD connect_timeout '0');
ALTER SERVER k OPTIONS (ADD connect_timeout '10s');
ALTER SERVER k OPTIONS (ADD connect_timeout '99999999999999999999');
ALTER SERVER k OPTIONS (ADD connect_timeout '-1');
ALTER SERVER k OPTIONS (ADD stall_timeout '');
ALTER SERVER k OPTIONS (ADD workers '0');
ALTER SERVER k OPTIONS (ADD workers '65');
ALTER SERVER k OPTIONS (ADD client_id '');
ALTER SERVER k OPTIONS (ADD security_protocol 'ssl', ADD ssl_verify 'maybe');
ALTER SERVER k OPTIONS (ADD security_protocol 'ssl', ADD ssl_ca '/etc/ssl/ca.pem');

-- options without effect
ALTER SERVER k OPTIONS (ADD sasl_mechanism 'plain');
ALTER SERVER k OPTIONS (ADD ssl_verify 'off');

-- IAM of AWS, and what the ports of Amazon MSK say
ALTER SERVER k OPTIONS (ADD auth 'kerberos');
ALTER SERVER k OPTIONS (ADD auth 'iam', ADD security_protocol 'ssl');
ALTER SERVER k OPTIONS (ADD auth 'iam', ADD sasl_mechanism 'plain');
ALTER SERVER k OPTIONS (ADD security_protocol 'sasl_ssl', ADD sasl_mechanism 'oauthbearer');
ALTER SERVER k OPTIONS (ADD region 'eu-central-1');
ALTER SERVER k OPTIONS (ADD auth 'iam', ADD region 'Frankfurt');
ALTER SERVER k OPTIONS (ADD auth 'iam', ADD token_host 'kafka.example.com/x');
CREATE SERVER m FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers
	'b-1.x.kafka.eu-central-1.amazonaws.com:9098,b-2.x.kafka.eu-central-1.amazonaws.com:9096');
CREATE SERVER m FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers
	'b-1.x.kafka.eu-central-1.amazonaws.com:9098,b-2.x.kafka.us-east-1.amazonaws.com:9098');
CREATE SERVER m FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers
	'b-1.x.kafka.eu-central-1.amazonaws.com:9098', region 'us-east-1');
ALTER SERVER m OPTIONS (ADD sasl_mechanism 'scram-sha-512');
ALTER SERVER m OPTIONS (SET bootstrap_servers 'b-1.x.kafka.eu-central-1.amazonaws.com:9094');
ALTER SERVER m OPTIONS (DROP region, SET bootstrap_servers 'b-1.x.kafka.eu-central-1.amazonaws.com:9094');
ALTER SERVER m OPTIONS (SET bootstrap_servers 'b-1.x.kafka.eu-central-1.amazonaws.com:9092');
ALTER SERVER m OPTIONS (SET bootstrap_servers 'b-1.x.kafka.eu-central-1.amazonaws.com:9096', ADD sasl_mechanism 'scram-sha-512');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_access_key_id 'AKIDEXAMPLE');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_secret_access_key 'secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_session_token 'secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key E'a secret\n');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'secret');
DROP SERVER m CASCADE;

-- what is not on the list
ALTER SERVER k OPTIONS (ADD brokers 'localhost:9092');
ALTER SERVER k OPTIONS (ADD "plugin.library.paths" '/tmp/x.so');
ALTER SERVER k OPTIONS (ADD password 'secret');
ALTER FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (ADD topic 'x');

-- all that there is
ALTER SERVER k OPTIONS (ADD security_protocol 'sasl_ssl', ADD sasl_mechanism 'SCRAM-SHA-512',
	ADD ssl_verify 'off', ADD connect_timeout '5', ADD stall_timeout '60', ADD workers '4', ADD client_id 'me',
	ADD ssl_ca E'-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');

CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (username 'u');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (user '');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (user 'u', password '');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ssl_key 'a secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (user 'u', password 'p');
DROP USER MAPPING FOR CURRENT_USER SERVER k;

-- topics
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k;
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topics 'x');
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic '');
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic '..');
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic 'a/b');
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic 'é');
SELECT format('CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic %L)', repeat('x', 250)) AS command \gset
\set VERBOSITY sqlstate
:command;
\set VERBOSITY default
CREATE FOREIGN TABLE t (kafka_value bytea OPTIONS (topic 'x')) SERVER k OPTIONS (topic 'A.b_c-1');

-- columns are found by name and type
CREATE FOREIGN TABLE t (kafka_value text, other int) SERVER k OPTIONS (topic 'A.b_c-1');
SELECT * FROM t;
ALTER FOREIGN TABLE t ALTER kafka_value TYPE bytea;
SELECT * FROM t;
ALTER FOREIGN TABLE t DROP other;
EXPLAIN (COSTS OFF) SELECT * FROM t;
ALTER FOREIGN TABLE t OPTIONS (DROP topic);
DROP FOREIGN TABLE t;

-- needed only to connect, but then it is said
CREATE SERVER k2 FOREIGN DATA WRAPPER cdcsync_kafka;
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k2 OPTIONS (topic 'x');
SELECT * FROM t;
ALTER SERVER k2 OPTIONS (ADD bootstrap_servers 'localhost:1', ADD security_protocol 'sasl_plaintext');
CREATE ROLE regress_kafka_user;
GRANT SELECT ON t TO regress_kafka_user;
CREATE USER MAPPING FOR CURRENT_USER SERVER k2 OPTIONS (user 'u', password 'p');
SET ROLE regress_kafka_user;
SELECT * FROM t;
RESET ROLE;

-- read only
INSERT INTO t VALUES ('x');
UPDATE t SET kafka_value = 'x';
DELETE FROM t;
TRUNCATE t;

SET client_min_messages = warning;
DROP SERVER k CASCADE;
DROP SERVER k2 CASCADE;
DROP ROLE regress_kafka_user;
