--
-- Certificates as texts and as files, and what is said of connections that are
-- not as secure as they could be
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdcsync;
RESET client_min_messages;

CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS
	(bootstrap_servers 'localhost:1', security_protocol 'ssl', connect_timeout '1');
CREATE FOREIGN TABLE t (kafka_value bytea) SERVER k OPTIONS (topic 'x');

-- a path
ALTER SERVER k OPTIONS (ADD ssl_ca_file 'ca.pem');
ALTER SERVER k OPTIONS (ADD ssl_ca_file '');
ALTER SERVER k OPTIONS (ADD ssl_ca_file '/none/ca.pem',
	ADD ssl_ca E'-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ssl_key_file '/none/key.pem',
	ssl_key E'-----BEGIN PRIVATE KEY-----\na secret\n-----END PRIVATE KEY-----\n');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ssl_ca_file '/none/ca.pem');
ALTER SERVER k OPTIONS (ADD ssl_certificate_file '/none/client.pem');
CREATE SERVER plain FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS
	(bootstrap_servers 'localhost:1', ssl_ca_file '/none/ca.pem');

-- the file is read when somebody connects, and shown to nobody
ALTER SERVER k OPTIONS (ADD ssl_ca_file '/none/ca.pem');
SELECT * FROM t;
ALTER SERVER k OPTIONS (SET ssl_ca_file '/etc/passwd');
SELECT * FROM t;
ALTER SERVER k OPTIONS (SET ssl_ca_file '/etc');
SELECT * FROM t;
ALTER SERVER k OPTIONS (SET ssl_ca_file '/dev/zero');
SELECT * FROM t;
ALTER SERVER k OPTIONS (DROP ssl_ca_file);
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS
	(ssl_certificate_file '/none/client.pem', ssl_key_file '/none/key.pem');
SELECT * FROM t;
DROP USER MAPPING FOR CURRENT_USER SERVER k;

-- what is no certificate
ALTER SERVER k OPTIONS (ADD ssl_ca E'-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
\set VERBOSITY terse
SELECT * FROM t;
\set VERBOSITY default
ALTER SERVER k OPTIONS (DROP ssl_ca);

-- who may name a file
CREATE ROLE regress_secure_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER cdcsync_kafka TO regress_secure_owner;
GRANT USAGE ON FOREIGN SERVER k TO regress_secure_owner;
SET ROLE regress_secure_owner;
CREATE SERVER mine FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS
	(bootstrap_servers 'localhost:1', security_protocol 'ssl', ssl_ca_file '/etc/ssl/ca.pem');
CREATE SERVER mine FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS
	(bootstrap_servers 'localhost:1', security_protocol 'ssl');
ALTER SERVER mine OPTIONS (ADD ssl_ca_file '/etc/ssl/ca.pem');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ssl_certificate_file '/etc/ssl/client.pem');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ssl_key_file '/etc/shadow');
CREATE USER MAPPING FOR CURRENT_USER SERVER k;
ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ADD ssl_key_file '/etc/shadow');
RESET ROLE;
-- what a superuser has set counts, and cannot be set to another file
ALTER SERVER mine OPTIONS (ADD ssl_ca_file '/none/ca.pem');
SET ROLE regress_secure_owner;
ALTER SERVER mine OPTIONS (SET ssl_ca_file '/etc/shadow');
ALTER SERVER mine OPTIONS (DROP ssl_ca_file);
RESET ROLE;
GRANT pg_read_server_files TO regress_secure_owner;
SET ROLE regress_secure_owner;
ALTER SERVER mine OPTIONS (ADD ssl_ca_file '/none/ca.pem');
RESET ROLE;

-- not verified
ALTER SERVER k OPTIONS (ADD ssl_verify 'false');
ALTER SERVER k OPTIONS (SET ssl_verify 'true');

SET client_min_messages = warning;
DROP SERVER k CASCADE;
DROP SERVER mine;
DROP OWNED BY regress_secure_owner;
DROP ROLE regress_secure_owner;
