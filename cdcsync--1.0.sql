/* cdcsync--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION cdcsync" to load this file. \quit

DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'cdcsync needs a database with encoding UTF8'
			USING ERRCODE = 'feature_not_supported',
				  DETAIL = pg_catalog.format('This database has encoding %s.', pg_catalog.getdatabaseencoding()),
				  HINT = 'Create a database WITH ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
	IF pg_catalog.to_regclass(pg_catalog.quote_ident('@extschema@') || '.debezium_last_extract') IS NOT NULL THEN
		RAISE EXCEPTION 'relation "debezium_last_extract" already exists in schema "%"', '@extschema@'
			USING ERRCODE = 'duplicate_table',
				  DETAIL = 'The extension has a view of this name.',
				  HINT = 'Rename the relation, or use CREATE EXTENSION cdcsync SCHEMA another_schema.';
	END IF;
END
$$;

/*
 * Catalog.  References to objects are regclass and regrole, which a dump
 * writes by name.  Everybody may read what belongs to a role that they are a
 * member of (row level security); nobody but the extension's functions writes.
 */
CREATE SCHEMA cdcsync;
GRANT USAGE ON SCHEMA cdcsync TO PUBLIC;

CREATE SEQUENCE cdcsync.landing_id_seq AS integer;

CREATE TABLE cdcsync.landing (
	landing_id integer PRIMARY KEY DEFAULT pg_catalog.nextval('cdcsync.landing_id_seq'),
	view regclass NOT NULL UNIQUE,
	chunk regclass NOT NULL UNIQUE,
	topic regclass,
	owner regrole NOT NULL,
	options jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE cdcsync.position (
	landing_id integer NOT NULL REFERENCES cdcsync.landing ON DELETE CASCADE,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL DEFAULT 0,
	next_offset bigint NOT NULL,
	high_offset bigint,				-- end of the log when it was last seen
	refreshed_at timestamptz,		-- when that was
	PRIMARY KEY (landing_id, kafka_partition)
) WITH (fillfactor = 50);

CREATE TABLE cdcsync.pipeline (
	name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 48),
	landing_id integer NOT NULL REFERENCES cdcsync.landing,
	owner regrole NOT NULL,
	staging regclass UNIQUE,
	target regclass,
	target_made boolean NOT NULL,
	key text[],
	columns jsonb,
	options jsonb NOT NULL DEFAULT '{}',
	state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'stopped')),
	paused_what text CHECK (paused_what IN ('sync', 'all')),
	reason text,
	since timestamptz NOT NULL DEFAULT pg_catalog.now(),
	last_error text,
	last_sqlstate text,
	hint text,
	stamp_system bigint NOT NULL,	-- where it was made: a copy elsewhere is paused
	stamp_database bigint NOT NULL
);
CREATE INDEX ON cdcsync.pipeline (landing_id);

CREATE TABLE cdcsync.watermark (
	pipeline text NOT NULL REFERENCES cdcsync.pipeline ON DELETE CASCADE,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL,
	next_offset bigint NOT NULL,
	refresh_time timestamp,			-- of the newest record below it
	source_position text,			-- greatest applied position of the source
	source_ts_ms bigint,			-- and the source's clock there
	events bigint NOT NULL DEFAULT 0,
	resent bigint NOT NULL DEFAULT 0,	-- re-sent by Kafka Connect, skipped
	synced_at timestamptz,
	PRIMARY KEY (pipeline, kafka_partition)
) WITH (fillfactor = 50);

CREATE TABLE cdcsync.quarantine (
	pipeline text NOT NULL REFERENCES cdcsync.pipeline ON DELETE CASCADE,
	kafka_partition bigint NOT NULL,
	kafka_offset bigint NOT NULL,
	kafka_key bytea,
	kafka_value bytea,
	column_name text,
	sqlstate text NOT NULL,
	message text NOT NULL,
	quarantined_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	blocked_by bigint				-- offset of the earlier record of the key that it waits for
);
CREATE INDEX ON cdcsync.quarantine (pipeline, kafka_partition, kafka_offset);
CREATE INDEX ON cdcsync.quarantine (pipeline, pg_catalog.md5(kafka_key)) WHERE kafka_key IS NOT NULL;

SELECT pg_catalog.pg_extension_config_dump('cdcsync.landing_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.landing', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.position', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.pipeline', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.watermark', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.quarantine', '');

ALTER TABLE cdcsync.landing ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.position ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.pipeline ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.watermark ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.quarantine ENABLE ROW LEVEL SECURITY;
CREATE POLICY owned ON cdcsync.landing FOR SELECT
	USING (pg_catalog.pg_has_role(owner, 'USAGE'));
CREATE POLICY owned ON cdcsync.pipeline FOR SELECT
	USING (pg_catalog.pg_has_role(owner, 'USAGE'));
CREATE POLICY owned ON cdcsync.position FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.landing l WHERE l.landing_id = position.landing_id));
CREATE POLICY owned ON cdcsync.watermark FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = watermark.pipeline));
CREATE POLICY owned ON cdcsync.quarantine FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = quarantine.pipeline));
GRANT SELECT ON ALL TABLES IN SCHEMA cdcsync TO PUBLIC;

/* Kafka as SQL */
CREATE FUNCTION cdcsync.cdcsync_kafka_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
CREATE FUNCTION cdcsync.cdcsync_kafka_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
CREATE FOREIGN DATA WRAPPER cdcsync_kafka
	HANDLER cdcsync.cdcsync_kafka_handler
	VALIDATOR cdcsync.cdcsync_kafka_validator;

/* Landing */
CREATE FUNCTION cdcsync.landing_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'cdc_landing_write' LANGUAGE C;
COMMENT ON FUNCTION cdcsync.landing_write() IS
	'trigger of landing views: appends inserted records as chunks, refuses UPDATE and DELETE';

CREATE FUNCTION cdcsync.chunk_element(anyarray, bigint) RETURNS anyelement
AS 'MODULE_PATHNAME', 'cdc_chunk_element' LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION cdcsync.chunk_element(anyarray, bigint) IS
	'element of a chunk''s array, for landing views';

CREATE FUNCTION cdc_refresh(name text, OUT records bigint, OUT bytes bigint, OUT partitions integer)
AS 'MODULE_PATHNAME', 'cdc_refresh' LANGUAGE C STRICT;
COMMENT ON FUNCTION cdc_refresh(text) IS
	'read a pipeline''s topic into its landing, to the end that every partition had at the start';

/* Pipelines */
CREATE FUNCTION cdc_create(name text, topic regclass DEFAULT NULL, target regclass DEFAULT NULL,
						   key text[] DEFAULT NULL, columns jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void
AS 'MODULE_PATHNAME', 'cdc_create' LANGUAGE C;
COMMENT ON FUNCTION cdc_create(text, regclass, regclass, text[], jsonb, jsonb) IS
	'make a pipeline: landing, staging, watermark, and the target where none is given';

CREATE FUNCTION cdc_sync(name text, max_windows integer DEFAULT NULL,
						 OUT events bigint, OUT staged bigint, OUT inserted bigint, OUT updated bigint,
						 OUT deleted bigint, OUT quarantined bigint, OUT latest_refresh_time timestamp)
AS 'MODULE_PATHNAME', 'cdc_sync' LANGUAGE C;
COMMENT ON FUNCTION cdc_sync(text, integer) IS
	'apply what has landed after the watermark to the target, in at most max_windows windows';
