/* cdcsync--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION cdcsync" to load this file. \quit

/*
 * The schema of the extension may be one where others can create.  An operator
 * of theirs that fits better than the server's must not be taken for it, here
 * or in what is made here: so names are resolved in pg_catalog, and what goes
 * into the schema is qualified.
 */
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'cdcsync needs a database with encoding UTF8'
			USING ERRCODE = 'feature_not_supported',
				  DETAIL = pg_catalog.format('This database has encoding %s.', pg_catalog.getdatabaseencoding()),
				  HINT = 'Create a database WITH ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
	IF pg_catalog.to_regclass('@extschema@.debezium_last_extract') IS NOT NULL THEN
		RAISE EXCEPTION 'relation "debezium_last_extract" already exists in schema "%"', (pg_catalog.parse_ident('@extschema@'))[1]
			USING ERRCODE = 'duplicate_table',
				  DETAIL = 'The extension has a view of this name.',
				  HINT = 'Rename the relation, or use CREATE EXTENSION cdcsync SCHEMA another_schema.';
	END IF;
END
$$;

/*
 * Catalog.  References to objects are regclass and regrole, which a dump
 * writes by name.  There are no foreign keys: a parallel restore loads the
 * tables in any order.  A trigger deletes what belongs to a deleted row, and
 * who adds a row holds a lock that the deletion of its parent waits for.  Everybody may read what belongs to a role that they are a
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
	options jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE cdcsync.position (
	landing_id integer NOT NULL,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL DEFAULT 0,
	next_offset bigint NOT NULL,
	high_offset bigint,				-- end of the log when it was last seen
	refreshed_at timestamptz,		-- when that was
	last_offset bigint,				-- of the newest record of the epoch, from Kafka
	last_hash bigint,				-- of its bytes: tells the topic from one of the same name
	start_offset bigint,			-- where reading began, in epoch 0
	first_epoch integer,			-- the first record that ever landed
	first_offset bigint,
	PRIMARY KEY (landing_id, kafka_partition)
) WITH (fillfactor = 50);

CREATE TABLE cdcsync.gap (			-- what a topic no longer had when it was to be read
	landing_id integer NOT NULL,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL,
	first_offset bigint NOT NULL,
	next_offset bigint,				-- the first one after the gap; NULL: nobody knows
	reason text NOT NULL,
	passed boolean NOT NULL,		-- reading went on behind it
	detected_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (landing_id, kafka_partition, epoch, first_offset)
);

CREATE TABLE cdcsync.pipeline (
	name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 48),
	landing_id integer NOT NULL,
	owner regrole,					-- while no relation tells, see pipeline_state
	staging regclass UNIQUE,
	target regclass,
	target_made boolean NOT NULL,
	key text[],
	columns jsonb,
	schema_view regclass,			-- landing of the connector's schema-change topic
	options jsonb NOT NULL DEFAULT '{}',
	source_table text,				-- which the records come from, where no filter says it
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
	pipeline text NOT NULL,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL,
	next_offset bigint NOT NULL,
	refresh_time timestamp,			-- of the newest record below it
	source_position text,			-- greatest applied position of the source
	source_ts_ms bigint,			-- and the source's clock there
	newest_ts_ms bigint,			-- the greatest of it, snapshots included
	events bigint NOT NULL DEFAULT 0,
	resent bigint NOT NULL DEFAULT 0,	-- re-sent by Kafka Connect, skipped
	passed bigint NOT NULL DEFAULT 0,	-- of other tables, or no changes of rows
	in_snapshot boolean NOT NULL DEFAULT false,	-- the last change was a row of a snapshot that nobody keeps account of
	resent_epoch integer,			-- where the last one of them is
	resent_offset bigint,
	deleted_key bigint,				-- the last one was a delete of it (a hash): skip its tombstone
	last_events text,				-- those applied at source_position, as hashes, see repeat.c
	synced_at timestamptz,
	PRIMARY KEY (pipeline, kafka_partition)
) WITH (fillfactor = 50);

CREATE TABLE cdcsync.quarantine (
	pipeline text NOT NULL,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL DEFAULT 0,
	kafka_offset bigint NOT NULL,
	kafka_key bytea,
	kafka_value bytea,
	column_name text,
	sqlstate text NOT NULL,
	message text NOT NULL,
	quarantined_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	blocked_by bigint,				-- offset of the earlier record of the key that it waits for
	state text NOT NULL DEFAULT 'bad' CHECK (state IN ('bad', 'waiting', 'blocked', 'retried')),
	tried_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	kafka_headers jsonb,
	kafka_timestamp timestamp,
	refresh_time timestamp,			-- as in the landing
	source_position text,			-- of the change; orders it between partitions
	source_ts_ms bigint,
	old_key boolean NOT NULL DEFAULT false,	-- of a key change in one event: the delete of the old key
	key_type integer,				-- what the hash is of: the key's types, and how its fields are read
	key_hash bigint					-- of the row's key; NULL: it cannot be told
) WITH (fillfactor = 80);
CREATE INDEX ON cdcsync.quarantine (pipeline, kafka_partition, epoch, kafka_offset);
CREATE INDEX ON cdcsync.quarantine (pipeline, key_type, key_hash);
CREATE INDEX ON cdcsync.quarantine (pipeline, pg_catalog.md5(kafka_key)) WHERE key_hash IS NULL AND kafka_key IS NOT NULL;
CREATE INDEX ON cdcsync.quarantine (pipeline, tried_at) WHERE state IN ('waiting', 'retried');

CREATE TABLE cdcsync.breaker (		-- of pipelines that have had bad records, or were resumed
	pipeline text PRIMARY KEY,
	begun bigint NOT NULL,			-- number of records of the pipeline before the first one that counts
	bad bigint[] NOT NULL,			-- numbers of the bad ones among the last 1,000
	reasons text[] NOT NULL			-- and what was wrong with each: SQLSTATE, column and message
) WITH (fillfactor = 50);

CREATE TABLE cdcsync.moved (		-- key changes that are not complete
	pipeline text NOT NULL,
	new_key bytea NOT NULL,
	old_key bytea NOT NULL,
	departed boolean NOT NULL,		-- the delete has come
	arrived boolean NOT NULL,		-- the create has come; both: the old row waits for values itself
	moved_on text,					-- position where the row that was created has left again
	source_position text NOT NULL,	-- of the change; both halves have the same
	columns text[] NOT NULL,		-- of the old row; or those that wait for it
	"values" text[],				-- of the old row
	moved_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX ON cdcsync.moved (pipeline, pg_catalog.md5(new_key));

CREATE SEQUENCE cdcsync.snapshot_id_seq;

CREATE TABLE cdcsync.snapshot (		-- snapshots under way that are to replace a target
	snapshot_id bigint NOT NULL DEFAULT pg_catalog.nextval('cdcsync.snapshot_id_seq'),
	pipeline text NOT NULL,
	identity bigint NOT NULL,		-- hash of the source position that all of its rows have
	scope bigint NOT NULL,			-- hash of the fields of the source that are in the row's key
	origin bigint NOT NULL,			-- hash of their server, database, schema and table; 0: of several
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL,
	nrows bigint NOT NULL,
	after_offset bigint,			-- what came before its rows ends here
	first_offset bigint,			-- of its rows; NULL: it has none in the partition
	last_offset bigint,
	certain boolean NOT NULL,		-- none of them was missed before the first one
	initial boolean NOT NULL,		-- nothing came before it, into an empty target
	done boolean NOT NULL,			-- it has replaced the target, nothing more of it has come
	marked boolean NOT NULL,		-- they say which of them is first, or last of its table
	end_offset bigint,				-- of the one that says that it is the last
	streamed_offset bigint,			-- first change after them
	await_epoch integer NOT NULL,
	await_offset bigint,			-- where the partition ended when the end was seen
	first_time timestamp,			-- Kafka's time of the first one
	ended_at timestamp,				-- when the sign of its end landed
	source_ts_ms bigint NOT NULL,
	noted_at timestamptz NOT NULL,
	headed boolean NOT NULL DEFAULT false,	-- one of them says that it is the first
	PRIMARY KEY (pipeline, identity, kafka_partition)
);

CREATE TABLE cdcsync.sweep (		-- what became of snapshots that were to replace a target
	pipeline text NOT NULL,
	swept_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	snapshot_began timestamp,		-- Kafka's time of its first row
	target_rows bigint,				-- before the sweep; NULL: was not counted
	missing_rows bigint,			-- of these, those that the snapshot does not have
	deleted_rows bigint NOT NULL,
	problem text,					-- why some, or all, were kept
	identity bigint NOT NULL		-- as in cdcsync.snapshot
);
CREATE INDEX ON cdcsync.sweep (pipeline, swept_at);

CREATE TABLE cdcsync.inexact (		-- why a target may differ from its source
	pipeline text NOT NULL,
	reason text NOT NULL,
	since timestamptz NOT NULL DEFAULT pg_catalog.now(),
	kafka_partition bigint,			-- where records are missing; NULL: no such place
	epoch integer,
	next_offset bigint,				-- they are missing before it; NULL: nobody knows
	PRIMARY KEY (pipeline, reason)
);

CREATE TABLE cdcsync.evidence (		-- how the strings of a column are encoded, where that is not said
	pipeline text NOT NULL,
	column_name text NOT NULL,
	encoding text NOT NULL CHECK (encoding IN ('base64', 'string', 'hex')),	-- by the first value that proves it
	mixed_partition bigint,			-- where a value has proved another one;
	mixed_epoch integer,			-- strings that can be either are in doubt from there on
	mixed_offset bigint,
	PRIMARY KEY (pipeline, column_name)
);

/*
 * What the source's table looked like when it was last seen.  "fields": of the
 * row events, [{"name":, "type":, "optional":, "default":}, ..], names alone if
 * they carry no schema.
 */
CREATE TABLE cdcsync.source_schema (
	pipeline text PRIMARY KEY,
	fingerprint text,				-- of the embedded schema; NULL: none
	fields jsonb NOT NULL,
	source_position text,			-- of the first event that looked so
	source_ts_ms bigint,
	source_table text,				-- as schema-change events name it; these, if they are read:
	declared jsonb					-- the columns by the last of them
);

CREATE TABLE cdcsync.schema_watermark (	-- how far pipelines have read schema-change topics
	pipeline text NOT NULL,
	kafka_partition bigint NOT NULL,
	epoch integer NOT NULL,
	next_offset bigint NOT NULL,
	PRIMARY KEY (pipeline, kafka_partition)
);

CREATE TABLE cdcsync.schema_change (
	pipeline text NOT NULL,
	kafka_partition bigint NOT NULL,	-- of the first record after the change
	epoch integer NOT NULL,
	kafka_offset bigint NOT NULL,
	detected_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	kind text NOT NULL,
	column_name text,				-- at the source
	old_type text,
	new_type text,
	ddl text,						-- the source's statement, if it is known
	statement text,					-- what was done to the target, or would have to be
	in_schema_topic boolean NOT NULL,	-- partition, epoch and offset are those of that topic
	state text NOT NULL CHECK (state IN ('applied', 'ignored', 'waiting', 'existing rows unknown')),
	message text					-- why, where it was not simply applied
);
CREATE INDEX ON cdcsync.schema_change (pipeline, kafka_partition, epoch, kafka_offset);

CREATE TABLE cdcsync.barrier (		-- of topics with several partitions
	pipeline text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('truncate', 'stray')),	-- the last truncate; the newest
									-- record that is not in the partition of its key
	kafka_partition bigint,			-- where it is; NULL: there was none
	epoch integer,
	kafka_offset bigint,
	source_position text,			-- when it was made
	source_ts_ms bigint,
	kafka_timestamp timestamp,
	changed_at timestamp,			-- truncate: the time that rows show which it has ended
	partitions integer NOT NULL,	-- stray: so many the topic has,
	key_form bigint NOT NULL,		-- and of this form are its keys (a hash)
	PRIMARY KEY (pipeline, kind)
);

/*
 * Calls of cdc_create_all() that go on for new topics.  A dump keeps the
 * server's name, by which cdc_resume('*') finds it again.
 */
CREATE TABLE cdcsync.follow (
	owner regrole NOT NULL,
	server text NOT NULL,
	server_id oid NOT NULL,			-- the server of that name, here
	topics text NOT NULL,			-- pattern
	target_schema regnamespace NOT NULL,
	helper_schema regnamespace NOT NULL,
	options jsonb NOT NULL,
	seen text[] NOT NULL DEFAULT '{}',	-- topics that are done with, whatever became of their pipelines
	stamp_system bigint NOT NULL,	-- as of a pipeline
	stamp_database bigint NOT NULL,
	PRIMARY KEY (owner, server, topics)
);
COMMENT ON TABLE cdcsync.landing IS 'what is read: view, chunk table and topic';
COMMENT ON TABLE cdcsync.position IS 'how far landings have read the partitions of their topics';
COMMENT ON TABLE cdcsync.gap IS 'records that a topic did not have any more when they were to be read';
COMMENT ON TABLE cdcsync.pipeline IS 'pipelines, their definitions and states';
COMMENT ON TABLE cdcsync.watermark IS 'how far pipelines have synced the partitions of their landings';
COMMENT ON TABLE cdcsync.quarantine IS 'records that could not be decoded or applied';
COMMENT ON COLUMN cdcsync.quarantine.state IS
	'bad; waiting: for rows of other tables, tried again by each sync; blocked: behind another record of its key; retried: by the sync that runs';
COMMENT ON TABLE cdcsync.breaker IS 'what the breakers of pipelines have seen of bad records';
COMMENT ON TABLE cdcsync.moved IS 'key changes that are not complete';
COMMENT ON TABLE cdcsync.snapshot IS 'snapshots of the source that are under way, of pipelines whose option "on_snapshot" is replace';
COMMENT ON TABLE cdcsync.sweep IS 'what complete snapshots have removed from the targets of pipelines whose option "on_snapshot" is replace';
COMMENT ON TABLE cdcsync.inexact IS 'why the targets of pipelines may differ from their sources, until they are loaded anew';
COMMENT ON TABLE cdcsync.evidence IS 'how the strings of columns are encoded, as their values have shown';
COMMENT ON TABLE cdcsync.source_schema IS 'the columns that the sources'' tables had when they were last seen';
COMMENT ON TABLE cdcsync.schema_watermark IS 'how far pipelines have read the schema-change topics of their connectors';
COMMENT ON TABLE cdcsync.schema_change IS 'changes of the sources'' tables, and what became of them';
COMMENT ON TABLE cdcsync.barrier IS 'changes by which those that come later from another partition are judged';
COMMENT ON TABLE cdcsync.follow IS
	'patterns for whose new topics pipelines are made; cdc_create_all() with "follow_new_topics" true or false begins and ends it';

CREATE FUNCTION cdcsync.delete_dependents() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_TABLE_NAME = 'landing' THEN
		DELETE FROM cdcsync.position WHERE landing_id = OLD.landing_id;
		DELETE FROM cdcsync.gap WHERE landing_id = OLD.landing_id;
	ELSE
		DELETE FROM cdcsync.watermark WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.quarantine WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.breaker WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.moved WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.snapshot WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.sweep WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.inexact WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.evidence WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.source_schema WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.schema_watermark WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.schema_change WHERE pipeline = OLD.name;
		DELETE FROM cdcsync.barrier WHERE pipeline = OLD.name;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdcsync.delete_dependents() IS
	'trigger of the catalog: deletes what belongs to a deleted landing or pipeline';
REVOKE EXECUTE ON FUNCTION cdcsync.delete_dependents() FROM PUBLIC;
CREATE TRIGGER delete_dependents AFTER DELETE ON cdcsync.landing
	FOR EACH ROW EXECUTE FUNCTION cdcsync.delete_dependents();
CREATE TRIGGER delete_dependents AFTER DELETE ON cdcsync.pipeline
	FOR EACH ROW EXECUTE FUNCTION cdcsync.delete_dependents();
ALTER TABLE cdcsync.landing ENABLE ALWAYS TRIGGER delete_dependents;
ALTER TABLE cdcsync.pipeline ENABLE ALWAYS TRIGGER delete_dependents;

/*
 * The workers read these tables when they change.  Where the library cannot be
 * loaded there are none; then a DROP must work all the same.
 */
CREATE FUNCTION cdcsync.wake_workers() RETURNS void
AS 'MODULE_PATHNAME', 'cdc_wake_workers' LANGUAGE C;
COMMENT ON FUNCTION cdcsync.wake_workers() IS
	'let the workers of this database, and the launcher, look at the catalog when the transaction commits';
REVOKE EXECUTE ON FUNCTION cdcsync.wake_workers() FROM PUBLIC;

CREATE FUNCTION cdcsync.catalog_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM cdcsync.wake_workers();
	RETURN NULL;
EXCEPTION WHEN undefined_file OR undefined_function THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION cdcsync.catalog_changed() IS
	'trigger of the catalog: lets the workers look at it';
REVOKE EXECUTE ON FUNCTION cdcsync.catalog_changed() FROM PUBLIC;
CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdcsync.landing
	FOR EACH STATEMENT EXECUTE FUNCTION cdcsync.catalog_changed();
CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdcsync.pipeline
	FOR EACH STATEMENT EXECUTE FUNCTION cdcsync.catalog_changed();
CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdcsync.follow
	FOR EACH STATEMENT EXECUTE FUNCTION cdcsync.catalog_changed();
ALTER TABLE cdcsync.landing ENABLE ALWAYS TRIGGER catalog_changed;
ALTER TABLE cdcsync.follow ENABLE ALWAYS TRIGGER catalog_changed;
ALTER TABLE cdcsync.pipeline ENABLE ALWAYS TRIGGER catalog_changed;

SELECT pg_catalog.pg_extension_config_dump('cdcsync.landing_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.landing', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.position', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.gap', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.pipeline', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.watermark', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.quarantine', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.breaker', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.moved', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.snapshot_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.snapshot', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.sweep', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.inexact', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.evidence', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.source_schema', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.schema_watermark', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.schema_change', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.barrier', '');
SELECT pg_catalog.pg_extension_config_dump('cdcsync.follow', '');

ALTER TABLE cdcsync.landing ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.position ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.gap ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.pipeline ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.watermark ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.breaker ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.moved ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.snapshot ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.sweep ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.inexact ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.evidence ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.source_schema ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.schema_watermark ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.schema_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.barrier ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdcsync.follow ENABLE ROW LEVEL SECURITY;
-- a landing belongs to the owner of its chunk table
CREATE POLICY owned ON cdcsync.landing FOR SELECT
	USING (pg_catalog.pg_has_role((SELECT c.relowner FROM pg_catalog.pg_class c
								   WHERE c.oid OPERATOR(pg_catalog.=) chunk), 'USAGE'));
-- and a pipeline to the owner of its staging table; while it has none, to who
-- made it if that is somebody else than the landing's owner, to whom it goes
-- when that role is no more
CREATE POLICY owned ON cdcsync.pipeline FOR SELECT
	USING (pg_catalog.pg_has_role(coalesce((SELECT c.relowner FROM pg_catalog.pg_class c
											WHERE c.oid OPERATOR(pg_catalog.=) staging),
										   (SELECT r.oid FROM pg_catalog.pg_roles r
											WHERE r.oid OPERATOR(pg_catalog.=) pipeline.owner),
										   (SELECT c.relowner FROM cdcsync.landing l
												   JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.chunk
											WHERE l.landing_id OPERATOR(pg_catalog.=) pipeline.landing_id)), 'USAGE'));
CREATE POLICY owned ON cdcsync.position FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.landing l WHERE l.landing_id = position.landing_id));
CREATE POLICY owned ON cdcsync.gap FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.landing l WHERE l.landing_id = gap.landing_id));
CREATE POLICY owned ON cdcsync.evidence FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = evidence.pipeline));
CREATE POLICY owned ON cdcsync.watermark FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = watermark.pipeline));
CREATE POLICY owned ON cdcsync.quarantine FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = quarantine.pipeline));
CREATE POLICY owned ON cdcsync.breaker FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = breaker.pipeline));
CREATE POLICY owned ON cdcsync.moved FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = moved.pipeline));
CREATE POLICY owned ON cdcsync.snapshot FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = snapshot.pipeline));
CREATE POLICY owned ON cdcsync.sweep FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = sweep.pipeline));
CREATE POLICY owned ON cdcsync.inexact FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = inexact.pipeline));
CREATE POLICY owned ON cdcsync.source_schema FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = source_schema.pipeline));
CREATE POLICY owned ON cdcsync.schema_watermark FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = schema_watermark.pipeline));
CREATE POLICY owned ON cdcsync.schema_change FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = schema_change.pipeline));
CREATE POLICY owned ON cdcsync.barrier FOR SELECT
	USING (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.name = barrier.pipeline));
CREATE POLICY owned ON cdcsync.follow FOR SELECT
	USING (pg_catalog.pg_has_role(owner, 'USAGE'));
GRANT SELECT ON ALL TABLES IN SCHEMA cdcsync TO PUBLIC;

/*
 * What may be done with each pipeline now: the one definition, which the C code
 * and cdc_status read.  Pipelines whose relations are gone do not exist.
 */
CREATE FUNCTION cdcsync.is_here(stamp_system bigint, stamp_database bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_is_here' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cdcsync.is_here(bigint, bigint) IS
	'was this stamp made in this database, not in one that it was restored or copied from?';

CREATE VIEW cdcsync.pipeline_state WITH (security_invoker = true) AS
SELECT p.name,
	   coalesce(s.relowner, r.oid, c.relowner)::pg_catalog.regrole AS owner,
	   CASE WHEN NOT here THEN 'paused'
			WHEN target_gone THEN 'stopped'
			ELSE p.state END AS state,
	   CASE WHEN NOT here THEN 'restored or copied from another database'
			WHEN target_gone THEN 'the target table was dropped'
			ELSE p.reason END AS reason,
	   CASE WHEN here AND NOT target_gone THEN p.hint END AS hint,
	   NOT here OR coalesce(p.paused_what = 'all', false) AS refresh_paused,
	   here,
	   -- are the workers to do it?
	   coalesce((p.options ->> 'auto_refresh')::boolean, true) AS auto_refresh,
	   coalesce((p.options ->> 'auto_sync')::boolean, true) AS auto_sync
FROM cdcsync.pipeline p
	 JOIN cdcsync.landing l USING (landing_id)
	 JOIN pg_catalog.pg_class v ON v.oid = l.view
	 JOIN pg_catalog.pg_class c ON c.oid = l.chunk
	 LEFT JOIN pg_catalog.pg_class s ON s.oid = p.staging
	 LEFT JOIN pg_catalog.pg_class t ON t.oid = p.target
	 LEFT JOIN pg_catalog.pg_roles r ON r.oid = p.owner,
	 LATERAL (SELECT cdcsync.is_here(p.stamp_system, p.stamp_database) AS here,
					 p.target IS NOT NULL AND t.oid IS NULL AS target_gone) AS x
WHERE p.staging IS NULL OR s.oid IS NOT NULL;
COMMENT ON VIEW cdcsync.pipeline_state IS
	'the state of each pipeline, its stamp and its target considered';
GRANT SELECT ON cdcsync.pipeline_state TO PUBLIC;

/*
 * The landings that an ingest worker is to read: those of which a pipeline wants
 * it, whether it is synced or not, so that nothing expires in the topic; but not
 * what is stopped at a gap.
 */
CREATE VIEW cdcsync.auto_landing WITH (security_invoker = true) AS
SELECT l.landing_id, c.relowner::pg_catalog.regrole AS owner, f.ftserver AS server
FROM cdcsync.landing l
	 JOIN pg_catalog.pg_class c ON c.oid = l.chunk
	 JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = l.topic
WHERE EXISTS (SELECT FROM cdcsync.pipeline p JOIN cdcsync.pipeline_state s USING (name)
			  WHERE p.landing_id = l.landing_id AND s.auto_refresh AND NOT s.refresh_paused)
  AND NOT EXISTS (SELECT FROM cdcsync.gap g WHERE g.landing_id = l.landing_id AND NOT g.passed);
COMMENT ON VIEW cdcsync.auto_landing IS
	'landings that an ingest worker reads, with who owns them and where their topic is';
GRANT SELECT ON cdcsync.auto_landing TO PUBLIC;

CREATE VIEW cdcsync.auto_server WITH (security_invoker = true) AS
SELECT owner, server FROM cdcsync.auto_landing
UNION
SELECT f.owner, f.server_id
FROM cdcsync.follow f
WHERE EXISTS (SELECT FROM pg_catalog.pg_foreign_server s WHERE s.oid = f.server_id)
  AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = f.owner)
  AND cdcsync.is_here(f.stamp_system, f.stamp_database);
COMMENT ON VIEW cdcsync.auto_server IS
	'the owners and Kafka servers that ingest workers are for: landings to be read, new topics to be followed';
GRANT SELECT ON cdcsync.auto_server TO PUBLIC;

/* JSON and the envelope, as functions */
CREATE FUNCTION @extschema@.json_parse(bytea) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cdc_json_parse_bytea' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.json_parse(bytea) IS
	'JSON in UTF-8 as jsonb; error 22P02 if jsonb cannot hold it';

CREATE FUNCTION @extschema@.json_parse(text) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cdc_json_parse_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.json_parse(text) IS
	'JSON as jsonb; error 22P02 if jsonb cannot hold it';

-- These try what they cannot foresee in a subtransaction, hence not parallel.
CREATE FUNCTION @extschema@.can_json_parse(bytea) RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_can_json_parse_bytea' LANGUAGE C IMMUTABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.can_json_parse(bytea) IS
	'false exactly where json_parse raises an error';

CREATE FUNCTION @extschema@.can_json_parse(text) RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_can_json_parse_text' LANGUAGE C IMMUTABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.can_json_parse(text) IS
	'false exactly where json_parse raises an error';

CREATE FUNCTION cdcsync.json_parse_or_null(bytea) RETURNS jsonb
AS 'MODULE_PATHNAME', 'cdc_json_parse_or_null' LANGUAGE C IMMUTABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION cdcsync.json_parse_or_null(bytea) IS
	'json_parse for the landing views: NULL where it would raise an error';

CREATE FUNCTION @extschema@.cdc_decode(value bytea, OUT op text, OUT ts_ms bigint,
						   OUT before jsonb, OUT after jsonb,
						   OUT source jsonb, OUT transaction jsonb)
AS 'MODULE_PATHNAME', 'cdc_decode' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.cdc_decode(bytea) IS
	'a Debezium change event as a row; all NULL for a tombstone';

/* Kafka as SQL */
CREATE FUNCTION cdcsync.cdcsync_kafka_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
COMMENT ON FUNCTION cdcsync.cdcsync_kafka_handler() IS
	'foreign-data wrapper: reads topics of Kafka';
CREATE FUNCTION cdcsync.cdcsync_kafka_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
COMMENT ON FUNCTION cdcsync.cdcsync_kafka_validator(text[], oid) IS
	'foreign-data wrapper: checks the options of servers, user mappings and topics';
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

CREATE FUNCTION @extschema@.cdc_refresh(name text, OUT records bigint, OUT bytes bigint, OUT partitions integer)
AS 'MODULE_PATHNAME', 'cdc_refresh' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_refresh(text) IS
	'read a pipeline''s topic into its landing, to the end that every partition had at the start';

/* Pipelines */
CREATE FUNCTION @extschema@.cdc_create(name text, topic regclass DEFAULT NULL, target regclass DEFAULT NULL,
						   key text[] DEFAULT NULL, columns jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void
AS 'MODULE_PATHNAME', 'cdc_create' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_create(text, regclass, regclass, text[], jsonb, jsonb) IS
	'make a pipeline: landing, staging, watermark, and the target where none is given';

/*
 * Pipelines are named by the topic's last part (salesdb.salesdb.CUSTOMER:
 * customer), or by as many more as tell it from other topics of the server and
 * from pipelines that exist; longer names than 48 bytes end in a hash.  The
 * target is named likewise, as it is spelled in the topic, in target_schema.  A
 * table of that name there is the target if the events feed all its columns and
 * no other pipeline does.  The topic's foreign table is made in the schema of
 * the landing if the caller has none.
 */
CREATE FUNCTION @extschema@.cdc_create_all(server name, topics text DEFAULT '*', target_schema regnamespace DEFAULT NULL,
						   options jsonb DEFAULT '{}', dry_run boolean DEFAULT false,
						   OUT pipeline text, OUT topic text, OUT target text, OUT done text,
						   OUT reason text, OUT sqlstate text, OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_create_all' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_create_all(name, text, regnamespace, jsonb, boolean) IS
	'make a pipeline for each topic that matches and holds changes of a table; a row each: what was done, or why not. Option "follow_new_topics": true goes on for topics that come later, each once; false, with the same server and topics, ends that';

CREATE FUNCTION @extschema@.cdc_alter(name text, columns jsonb DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'cdc_alter' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_alter(text, jsonb, jsonb) IS
	'replace a pipeline''s column mapping, change its options';

CREATE FUNCTION @extschema@.cdc_drop(name text, drop_target boolean DEFAULT false)
RETURNS integer
AS 'MODULE_PATHNAME', 'cdc_drop' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_drop(text, boolean) IS
	'drop the pipelines that match with all that they have but the target; how many there were';

CREATE FUNCTION @extschema@.cdc_pause(name text, reason text DEFAULT NULL, what text DEFAULT 'sync')
RETURNS integer
AS 'MODULE_PATHNAME', 'cdc_pause' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_pause(text, text, text) IS
	'pause the sync (what => ''all'': the landing too) of the pipelines that match; how many there were';

CREATE FUNCTION @extschema@.cdc_resume(name text)
RETURNS integer
AS 'MODULE_PATHNAME', 'cdc_resume' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_resume(text) IS
	'let the pipelines that match run again, whatever stopped them; how many there were. ''*'' resumes the following of new topics, too, after a restore';

CREATE FUNCTION @extschema@.cdc_sync(name text, max_windows integer DEFAULT NULL,
						 OUT events bigint, OUT staged bigint, OUT inserted bigint, OUT updated bigint,
						 OUT deleted bigint, OUT quarantined bigint, OUT latest_refresh_time timestamp)
AS 'MODULE_PATHNAME', 'cdc_sync' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_sync(text, integer) IS
	'apply what has landed after the watermark to the target, in at most max_windows windows';

CREATE FUNCTION @extschema@.cdc_retry(name text, partition bigint DEFAULT NULL, "offset" bigint DEFAULT NULL,
						 OUT retried bigint, OUT applied bigint, OUT quarantined bigint)
AS 'MODULE_PATHNAME', 'cdc_retry' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_retry(text, bigint, bigint) IS
	'apply the records of a pipeline that are in quarantine, or that record with the others of its key; how many were tried, have left quarantine, and stay in it';

CREATE FUNCTION @extschema@.cdc_discard(name text, partition bigint DEFAULT NULL, "offset" bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'cdc_discard' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_discard(text, bigint, bigint) IS
	'remove the records of a pipeline, or that record, from quarantine without applying them; what waits behind it is applied to what there is; how many were removed';

CREATE FUNCTION @extschema@.cdc_resync(name text, since timestamptz DEFAULT NULL,
						   OUT source text, OUT events bigint, OUT quarantined bigint,
						   OUT inserted bigint, OUT updated bigint, OUT deleted bigint)
AS 'MODULE_PATHNAME', 'cdc_resync' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_resync(text, timestamptz) IS
	'rebuild what a pipeline''s target should hold from its landing, else from its topic, and bring the target to it at once; since: a complete snapshot begins after that time';

CREATE FUNCTION @extschema@.cdc_seek(name text, place text,
						 OUT kafka_partition bigint, OUT epoch integer, OUT next_offset bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_seek' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_seek(text, text) IS
	'let a paused pipeline, and those that have its landing, go on at "earliest", "latest" or the first record from a time on; where that is in each partition';

CREATE FUNCTION @extschema@.cdc_seek(name text, partition bigint, "offset" bigint,
						 OUT kafka_partition bigint, OUT epoch integer, OUT next_offset bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_seek_offset' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_seek(text, bigint, bigint) IS
	'the same of one partition, to an offset';

CREATE FUNCTION @extschema@.cdc_skip(name text, partition bigint, "offset" bigint, last bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'cdc_skip' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_skip(text, bigint, bigint, bigint) IS
	'leave out the next record of a partition, which cannot be read, or those to the last one; where reading goes on';

CREATE FUNCTION @extschema@.cdc_verify(name text, source regclass DEFAULT NULL, file text DEFAULT NULL,
						   ranges integer DEFAULT 16,
						   OUT range integer, OUT from_key text, OUT to_key text,
						   OUT source_rows bigint, OUT target_rows bigint,
						   OUT source_checksum bigint, OUT target_checksum bigint,
						   OUT missing bigint, OUT surplus bigint, OUT different bigint,
						   OUT excused bigint, OUT equal boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_verify' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_verify(text, regclass, text, integer) IS
	'compare a pipeline''s target with a relation, or a CSV file of the server, that has what the source has: a row for each range of keys';

CREATE FUNCTION @extschema@.cdc_verify_keys(name text, source regclass DEFAULT NULL, file text DEFAULT NULL,
								max_keys integer DEFAULT 1000,
								OUT key text, OUT difference text, OUT columns text[], OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_verify_keys' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_verify_keys(text, regclass, text, integer) IS
	'the keys that cdc_verify() finds different: missing or surplus in the target, or in which columns, and why, if that is known';

CREATE FUNCTION @extschema@.cdc_wait(name text, timeout interval DEFAULT '1 min')
RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_wait' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_wait(text, interval) IS
	'sleep until all that is in a pipeline''s topic at the call is in its target; false if that took too long';

CREATE FUNCTION @extschema@.cdc_check_server(server name, OUT step text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_check_server' LANGUAGE C STRICT;
COMMENT ON FUNCTION @extschema@.cdc_check_server(name) IS
	'connect to a Kafka server as the current user, step by step, and say what was found: options, AWS credentials, clock, brokers';

/* Workers */
CREATE FUNCTION @extschema@.cdc_start() RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_start' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_start() IS
	'start the workers of this database, until the server is restarted; false if they were running';
REVOKE EXECUTE ON FUNCTION @extschema@.cdc_start() FROM PUBLIC;

CREATE FUNCTION @extschema@.cdc_stop() RETURNS boolean
AS 'MODULE_PATHNAME', 'cdc_stop' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.cdc_stop() IS
	'stop the workers of this database, until cdc_start() or a restart of the server; false if none was running';
REVOKE EXECUTE ON FUNCTION @extschema@.cdc_stop() FROM PUBLIC;

/* Monitoring */
CREATE FUNCTION cdcsync.pipelines(OUT pipeline text, OUT state text, OUT reason text, OUT since timestamptz,
								  OUT next_try timestamptz, OUT lag_records bigint, OUT lag_time interval,
								  OUT landed_rate double precision, OUT synced_rate double precision,
								  OUT quarantined bigint, OUT exact boolean, OUT last_error text,
								  OUT sqlstate text, OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_status_pipelines' LANGUAGE C ROWS 10;
COMMENT ON FUNCTION cdcsync.pipelines() IS
	'the rows of cdc_status';

CREATE VIEW @extschema@.cdc_status WITH (security_invoker = true) AS
SELECT * FROM cdcsync.pipelines();
COMMENT ON VIEW @extschema@.cdc_status IS
	'your pipelines: what they do, how far behind they are, and what is wrong with them';
COMMENT ON COLUMN @extschema@.cdc_status.state IS 'running, waiting, paused, backing off or stopped';
COMMENT ON COLUMN @extschema@.cdc_status.reason IS 'why it is in that state; how far a long backlog is worked off';
COMMENT ON COLUMN @extschema@.cdc_status.since IS
	'begin of the problem; without one, when it was made, paused, stopped or resumed';
COMMENT ON COLUMN @extschema@.cdc_status.next_try IS 'when what has failed is tried again';
COMMENT ON COLUMN @extschema@.cdc_status.lag_records IS
	'offsets from the watermark to the end of the topic; NULL: nobody has looked at the topic yet';
COMMENT ON COLUMN @extschema@.cdc_status.lag_time IS
	'age of the oldest change that is not in the target; where no worker reads the topic, time since it was last read to its end; 0: nothing is missing';
COMMENT ON COLUMN @extschema@.cdc_status.landed_rate IS 'records a second over the last minute';
COMMENT ON COLUMN @extschema@.cdc_status.synced_rate IS 'events a second over the last minute';
COMMENT ON COLUMN @extschema@.cdc_status.quarantined IS 'records in quarantine';
COMMENT ON COLUMN @extschema@.cdc_status.exact IS 'false: the target may differ from the source; cdcsync.inexact says why';
GRANT SELECT ON @extschema@.cdc_status TO PUBLIC;

CREATE FUNCTION cdcsync.partitions(OUT pipeline text, OUT landing_id integer, OUT kafka_partition bigint,
								   OUT epoch integer, OUT next_offset bigint, OUT end_offset bigint,
								   OUT end_seen_at timestamptz, OUT watermark_epoch integer,
								   OUT watermark bigint, OUT lag_records bigint, OUT lag_time interval,
								   OUT events bigint, OUT resent bigint, OUT passed bigint,
								   OUT synced_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_status_partitions' LANGUAGE C ROWS 30;
COMMENT ON FUNCTION cdcsync.partitions() IS
	'the rows of partition_status, without what stands in tables';

CREATE VIEW cdcsync.partition_status WITH (security_invoker = true) AS
SELECT s.pipeline, s.kafka_partition, s.epoch, s.next_offset, s.end_offset, s.end_seen_at,
	   s.watermark_epoch, s.watermark, s.lag_records, s.lag_time, s.events, s.resent, s.passed,
	   s.synced_at,
	   (SELECT pg_catalog.count(*) FROM cdcsync.quarantine q
		WHERE q.pipeline = s.pipeline AND q.kafka_partition = s.kafka_partition) AS quarantined,
	   coalesce((SELECT g.reason FROM cdcsync.gap g
				 WHERE g.landing_id = s.landing_id AND g.kafka_partition = s.kafka_partition
				 ORDER BY g.passed, g.detected_at DESC LIMIT 1),
				(SELECT q.message FROM cdcsync.quarantine q
				 WHERE q.pipeline = s.pipeline AND q.kafka_partition = s.kafka_partition
				 ORDER BY q.epoch DESC, q.kafka_offset DESC LIMIT 1)) AS last_error
FROM cdcsync.partitions() s;
COMMENT ON VIEW cdcsync.partition_status IS
	'your pipelines'' partitions: what has landed, what is in the target, and what the topic has';
COMMENT ON COLUMN cdcsync.partition_status.epoch IS 'raised when the topic was created again';
COMMENT ON COLUMN cdcsync.partition_status.next_offset IS 'the position: what is below has landed';
COMMENT ON COLUMN cdcsync.partition_status.end_offset IS 'end of the log, when it was last seen';
COMMENT ON COLUMN cdcsync.partition_status.end_seen_at IS 'when that was';
COMMENT ON COLUMN cdcsync.partition_status.watermark IS 'what is below is in the target; NULL: nothing was synced yet';
COMMENT ON COLUMN cdcsync.partition_status.resent IS 'records that Kafka Connect has sent again, skipped';
COMMENT ON COLUMN cdcsync.partition_status.passed IS 'records of other tables, left out by the filter, and such as say nothing of a row (heartbeats and the like)';
COMMENT ON COLUMN cdcsync.partition_status.last_error IS 'the gap at which reading stopped, or the newest error in quarantine';
GRANT SELECT ON cdcsync.partition_status TO PUBLIC;

CREATE FUNCTION cdcsync.workers(OUT pid integer, OUT worker text, OUT owner oid, OUT server oid,
								OUT slice integer, OUT slices integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'cdc_status_workers' LANGUAGE C ROWS 10;
COMMENT ON FUNCTION cdcsync.workers() IS
	'the launcher and the workers of this database';

CREATE VIEW cdcsync.worker_status WITH (security_invoker = true) AS
SELECT w.pid, w.worker, w.owner::pg_catalog.regrole AS owner, f.srvname AS server, w.slice, w.slices,
	   a.backend_start AS started, CASE a.state WHEN 'active' THEN a.query ELSE a.state END AS activity
FROM cdcsync.workers() w
	 LEFT JOIN pg_catalog.pg_foreign_server f ON f.oid = w.server
	 LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid;
COMMENT ON VIEW cdcsync.worker_status IS
	'the processes of the extension: the launcher, and the workers of this database';
COMMENT ON COLUMN cdcsync.worker_status.slice IS 'ingest: which of the slices of the partitions; sync: number among the workers of its owner';
COMMENT ON COLUMN cdcsync.worker_status.activity IS 'what it does now, if you may see that of its role in pg_stat_activity';
GRANT SELECT ON cdcsync.worker_status TO PUBLIC;

CREATE VIEW @extschema@.debezium_last_extract WITH (security_invoker = true) AS
SELECT s.name AS process_name, pg_catalog.max(w.refresh_time) AS latest_refresh_time
FROM cdcsync.pipeline_state s
	 LEFT JOIN cdcsync.watermark w ON w.pipeline = s.name
GROUP BY s.name;
COMMENT ON VIEW @extschema@.debezium_last_extract IS
	'the pattern''s control table: the refresh_time that is in the target of each of your pipelines';
GRANT SELECT ON @extschema@.debezium_last_extract TO PUBLIC;

/*
 * Dropping the relations of a pipeline by hand, or with CASCADE from its target,
 * ends the pipeline.  In PL/pgSQL, so that a DROP works even where the library
 * cannot be loaded.
 */
CREATE FUNCTION cdcsync.forget_dropped() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	behaviour text;
	landings integer[];
	relations oid[];
	relation record;
BEGIN
	-- only then: a DELETE wakes the workers, whatever it deletes
	IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
			   WHERE d.classid IN ('pg_foreign_server'::regclass, 'pg_namespace'::regclass)) THEN
		DELETE FROM cdcsync.follow f USING pg_event_trigger_dropped_objects() d
		WHERE d.classid = 'pg_foreign_server'::regclass
			  AND d.objid = f.server_id AND d.object_identity = quote_ident(f.server)
		   OR d.classid = 'pg_namespace'::regclass
			  AND d.objid IN (f.target_schema, f.helper_schema);
	END IF;

	-- a plain DROP of the relation itself must not cascade any further
	SELECT CASE WHEN bool_or(d.original) THEN 'RESTRICT' ELSE 'CASCADE' END INTO behaviour
	FROM pg_event_trigger_dropped_objects() d
	WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND NOT d.is_temporary
	  AND (EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.staging = d.objid)
		   OR EXISTS (SELECT FROM cdcsync.landing l WHERE d.objid IN (l.view, l.chunk)))
	HAVING count(*) > 0;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- the rows go first: the DROPs below fire this trigger again
	WITH gone AS (
		DELETE FROM cdcsync.pipeline p
		WHERE p.staging IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p.staging)
		   OR EXISTS (SELECT FROM cdcsync.landing l
					  WHERE l.landing_id = p.landing_id
						AND (SELECT count(*) FROM pg_class c WHERE c.oid IN (l.view, l.chunk)) < 2)
		RETURNING p.landing_id, p.staging)
	SELECT array_agg(landing_id), array_agg(staging::oid) INTO landings, relations FROM gone;
	WITH gone AS (
		DELETE FROM cdcsync.landing l
		WHERE (l.landing_id = ANY (landings)
			   OR (SELECT count(*) FROM pg_class c WHERE c.oid IN (l.view, l.chunk)) < 2)
		  AND NOT EXISTS (SELECT FROM cdcsync.pipeline p WHERE p.landing_id = l.landing_id)
		RETURNING l.view::oid AS view, l.chunk::oid AS chunk)
	SELECT relations || array_agg(view) || array_agg(chunk) INTO relations FROM gone;

	-- staging depends on the view, the view on the chunk table
	FOR relation IN
		SELECT c.oid::regclass AS name, c.relkind, r.ord
		FROM unnest(relations) WITH ORDINALITY AS r (oid, ord) JOIN pg_class c USING (oid)
		ORDER BY r.ord
	LOOP
		EXECUTE format('DROP %s %s %s', CASE relation.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
					   relation.name, behaviour);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdcsync.forget_dropped() IS
	'event trigger: ends the pipelines whose relations were dropped, and the following of a dropped server or into a dropped schema';
REVOKE EXECUTE ON FUNCTION cdcsync.forget_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER cdcsync_forget_dropped ON sql_drop
	EXECUTE FUNCTION cdcsync.forget_dropped();
ALTER EVENT TRIGGER cdcsync_forget_dropped ENABLE ALWAYS;	-- in replica mode too
COMMENT ON EVENT TRIGGER cdcsync_forget_dropped IS
	'ends the pipelines whose relations were dropped';

/* The name that is stored follows the server's. */
CREATE FUNCTION cdcsync.follow_renamed() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE cdcsync.follow f SET server = s.srvname
	FROM pg_event_trigger_ddl_commands() d JOIN pg_foreign_server s ON s.oid = d.objid
	WHERE d.classid = 'pg_foreign_server'::regclass AND s.oid = f.server_id
	  AND s.srvname <> f.server AND cdcsync.is_here(f.stamp_system, f.stamp_database);
END
$$;
COMMENT ON FUNCTION cdcsync.follow_renamed() IS
	'event trigger: keeps the names of servers that are followed';
REVOKE EXECUTE ON FUNCTION cdcsync.follow_renamed() FROM PUBLIC;
CREATE EVENT TRIGGER cdcsync_follow_renamed ON ddl_command_end WHEN TAG IN ('ALTER SERVER')
	EXECUTE FUNCTION cdcsync.follow_renamed();
ALTER EVENT TRIGGER cdcsync_follow_renamed ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdcsync_follow_renamed IS
	'keeps the names of servers that are followed';

-- the launcher has found no extension here, until now
SELECT cdcsync.wake_workers();
