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
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (profile 'x', aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (profile E'x\n[default]');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_server_identity 'maybe');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (external_id 'x');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (role_arn 'reader');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (role_session_name 'a b');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'secret',
	role_arn 'arn:aws:iam::1:role/reader', external_id 'x', role_session_name 'me');
ALTER SERVER m OPTIONS (ADD cluster_arn 'arn:aws:kafka:us-east-1:1:cluster/x/y');
ALTER SERVER m OPTIONS (ADD cluster_network 'public');
ALTER SERVER m OPTIONS (DROP bootstrap_servers, ADD cluster_arn 'arn:aws:s3:::bucket');
ALTER SERVER m OPTIONS (DROP bootstrap_servers, DROP sasl_mechanism, ADD cluster_arn 'arn:aws:kafka:us-east-1:1:cluster/x/y', ADD cluster_network 'dmz');
ALTER SERVER m OPTIONS (DROP bootstrap_servers, DROP sasl_mechanism, ADD cluster_arn 'arn:aws:kafka:us-east-1:1:cluster/x/y', ADD region 'eu-central-1');
ALTER SERVER m OPTIONS (DROP bootstrap_servers, DROP sasl_mechanism, ADD cluster_arn 'arn:aws:kafka:us-east-1:1:cluster/x/y', ADD cluster_network 'vpc');
CREATE ROLE regress_kafka_lent;
GRANT USAGE ON FOREIGN SERVER m TO regress_kafka_lent;
SET ROLE regress_kafka_lent;
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (aws_server_identity 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (profile 'default');
RESET ROLE;
CREATE USER MAPPING FOR regress_kafka_lent SERVER m OPTIONS (aws_server_identity 'true');
SET ROLE regress_kafka_lent;
ALTER USER MAPPING FOR CURRENT_USER SERVER m OPTIONS (ADD role_arn 'arn:aws:iam::1:role/reader');
RESET ROLE;

-- what a server amounts to
SELECT * FROM cdc_check_server('none');
CREATE FOREIGN DATA WRAPPER regress_kafka_other;
CREATE SERVER regress_kafka_o FOREIGN DATA WRAPPER regress_kafka_other;
SELECT * FROM cdc_check_server('regress_kafka_o');
DROP FOREIGN DATA WRAPPER regress_kafka_other CASCADE;
CREATE SERVER c FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers 'localhost:1', connect_timeout '1');
SELECT step, ok FROM cdc_check_server('c');
ALTER SERVER c OPTIONS (ADD security_protocol 'sasl_ssl');
SELECT step, ok, detail FROM cdc_check_server('c');
ALTER SERVER c OPTIONS (DROP security_protocol, ADD auth 'iam');
SELECT step, ok, detail, hint FROM cdc_check_server('c');
SET ROLE regress_kafka_lent;
SELECT * FROM cdc_check_server('c');
RESET ROLE;
DROP SERVER c;
SET client_min_messages = warning;
DROP SERVER m CASCADE;
RESET client_min_messages;
DROP ROLE regress_kafka_lent;

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
