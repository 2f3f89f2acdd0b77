/*-------------------------------------------------------------------------
 *
 * pipeline.c
 *	  Pipelines: their catalog rows, their state, and their end.
 *
 * A pipeline is a row of cdcsync.pipeline with a landing, a staging table and
 * a target.  It belongs to the owner of its staging table (while there is
 * none, to that of its landing, but to who made it if that was another), so
 * ALTER TABLE .. OWNER and REASSIGN OWNED carry it along.  What may be done with
 * it now is decided in one place, the view cdcsync.pipeline_state: the stored
 * state, overruled by a stamp of another database (the row was restored or
 * copied) and by a target that is gone.  A row whose staging table or landing is
 * gone does not exist for anybody.
 *
 * Everything runs in the caller's transaction.  Who changes a pipeline holds
 * a lock on its row until the end of it, and before that, if a sync must not be
 * under way, one on the staging table, which a sync locks first of all.  Rows
 * are written as the owner of the catalog, after the caller was found to have
 * the privileges of the pipeline's owner; relations are dropped as that owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "breaker.h"
#include "catalog.h"
#include "compat.h"
#include "options.h"
#include "pipeline.h"
#include "staging.h"
#include "target.h"

PG_FUNCTION_INFO_V1(cdc_drop);
PG_FUNCTION_INFO_V1(cdc_pause);
PG_FUNCTION_INFO_V1(cdc_resume);

static void
undefined_pipeline(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("pipeline \"%s\" does not exist", name),
			 errhint("The view cdc_status lists your pipelines.")));
}

static CdcPipelineState
parse_state(const char *state)
{
	if (strcmp(state, "paused") == 0)
		return CDC_PIPELINE_PAUSED;
	if (strcmp(state, "stopped") == 0)
		return CDC_PIPELINE_STOPPED;
	return CDC_PIPELINE_ACTIVE;
}

/* Fill in what the current SPI result says; allocates in the current context. */
static CdcPipeline *
pipeline_from_row(int32 *landing_id)
{
	CdcPipeline *pipeline = palloc0(sizeof(CdcPipeline));
	CdcOptions *options;
	bool		isnull;
	Datum		value;

	pipeline->name = cdc_spi_text(0, 1);
	pipeline->owner = cdc_spi_oid(0, 2);
	*landing_id = DatumGetInt32(cdc_spi_value(0, 3, &isnull));
	pipeline->staging = cdc_spi_oid(0, 4);
	pipeline->target = cdc_spi_oid(0, 5);
	pipeline->target_made = DatumGetBool(cdc_spi_value(0, 6, &isnull));
	value = cdc_spi_value(0, 7, &isnull);
	if (!isnull)
		pipeline->key = cdc_text_list(value);
	value = cdc_spi_value(0, 8, &isnull);
	if (!isnull)
		pipeline->columns = DatumGetJsonbPCopy(value);
	pipeline->readings = cdc_readings_parse(pipeline->columns);
	pipeline->state = parse_state(cdc_spi_text(0, 10));
	pipeline->reason = cdc_spi_text(0, 11);
	pipeline->hint = cdc_spi_text(0, 12);
	pipeline->refresh_paused = DatumGetBool(cdc_spi_value(0, 13, &isnull));
	pipeline->here = DatumGetBool(cdc_spi_value(0, 14, &isnull));
	pipeline->source_table = cdc_spi_text(0, 15);

	options = cdc_options_parse(DatumGetJsonbPCopy(cdc_spi_value(0, 9, &isnull)));
	pipeline->auto_sync = options->auto_sync;
	pipeline->strict = options->strict;
	pipeline->mode = options->mode;
	pipeline->max_quarantine_share = options->max_quarantine_share;
	pipeline->constraint_wait = options->constraint_wait;
	pipeline->schema_changes = options->schema_changes != CDC_SCHEMA_UNSAID ?
		options->schema_changes :
		pipeline->target_made ? CDC_SCHEMA_FOLLOW : CDC_SCHEMA_IGNORE;
	pipeline->max_rewrite_size = options->max_rewrite_size;
	pipeline->replace = options->replace;
	pipeline->retention = options->retention;
	pipeline->max_sweep_share = options->max_sweep_share;
	pipeline->target_schema = options->target_schema;
	pipeline->target_name = options->target_name ? options->target_name :
		psprintf("%s_target", pipeline->name);
	pipeline->helper_schema = options->helper_schema;
	pipeline->placeholder = options->placeholder;
	pipeline->read_as = options->read_as;
	pipeline->add_fields_prefix = options->add_fields_prefix;
	pipeline->filter = options->filter;
	return pipeline;
}

CdcPipeline *
cdc_pipeline_get(const char *name)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT s.name, s.owner::oid, p.landing_id, p.staging::oid,"
		" p.target::oid, p.target_made, p.key, p.columns, p.options,"
		" s.state, s.reason, s.hint, s.refresh_paused, s.here,"
		" p.source_table, p.schema_view::oid"
		" FROM cdcsync.pipeline p JOIN cdcsync.pipeline_state s USING (name)"
		" WHERE p.name = $1",
		.nargs = 1,
		.types = types,
		.generic = true
	};
	MemoryContext context = CurrentMemoryContext;
	CdcPipeline *pipeline = NULL;
	int32		landing_id = 0;
	Oid			schema_view = InvalidOid;
	Datum		values[] = {CStringGetTextDatum(name)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run_plan(&plan, values, NULL) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		pipeline = pipeline_from_row(&landing_id);
		schema_view = cdc_spi_oid(0, 16);
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);

	if (pipeline == NULL || !has_privs_of_role(GetUserId(), pipeline->owner))
		undefined_pipeline(name);
	pipeline->landing = cdc_landing_get(landing_id);
	if (OidIsValid(schema_view))
		pipeline->schema_landing = cdc_landing_get_by_view(schema_view);
	return pipeline;
}

CdcPipeline *
cdc_pipeline_lock(const char *name, LOCKMODE staging_lock)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	/* nobody locks what they may not see */
	CdcPipeline *pipeline = cdc_pipeline_get(name);
	CdcPipeline *now;
	CdcSpi		spi;

	for (;;)
	{
		if (staging_lock != NoLock && OidIsValid(pipeline->staging))
			LockRelationOid(pipeline->staging, staging_lock);

		cdc_spi_begin_catalog(&spi);
		(void) cdc_spi_run("SELECT FROM cdcsync.pipeline WHERE name = $1 FOR UPDATE",
						   1, types, values, NULL, 0);
		cdc_spi_end(&spi);

		/*
		 * It may have changed, or gone, while we waited.  A staging table that
		 * was made meanwhile is locked out of order, but nobody who waits for
		 * our row can hold it: its maker has committed.
		 */
		now = cdc_pipeline_get(name);
		if (staging_lock == NoLock || now->staging == pipeline->staging)
			return now;
		pipeline = now;
	}
}

/* Raise 55000 with what the pipeline's state says. */
static void
not_active(const CdcPipeline *pipeline)
{
	const char *state = pipeline->state == CDC_PIPELINE_PAUSED ? "paused" : "stopped";
	char	   *resume = psprintf("SELECT cdc_resume(%s)",
								  quote_literal_cstr(pipeline->name));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 pipeline->reason ?
			 errmsg("pipeline \"%s\" is %s: %s", pipeline->name, state, pipeline->reason) :
			 errmsg("pipeline \"%s\" is %s", pipeline->name, state),
			 pipeline->hint ?
			 errhint("%s Then let it run again with %s.", pipeline->hint, resume) :
			 errhint("Let it run again with %s.", resume)));
}

void
cdc_pipeline_reread(CdcPipeline *pipeline)
{
	Oid			staging = pipeline->staging;

	*pipeline = *cdc_pipeline_get(pipeline->name);
	if (pipeline->staging != staging)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("pipeline \"%s\" was created anew by another session",
						pipeline->name),
				 errhint("Try again.")));
}

void
cdc_pipeline_check_active(const CdcPipeline *pipeline)
{
	if (pipeline->state != CDC_PIPELINE_ACTIVE)
		not_active(pipeline);
}

void
cdc_pipeline_check_here(const CdcPipeline *pipeline)
{
	if (!pipeline->here)
		not_active(pipeline);
}

void
cdc_pipeline_check_refresh(const CdcPipeline *pipeline)
{
	if (pipeline->refresh_paused)
		not_active(pipeline);
}

void
cdc_pipeline_stop(const CdcPipeline *pipeline, const char *reason,
				  const char *sqlstate, const char *hint)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];
	char		nulls[] = "    ";
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = CStringGetTextDatum(reason);
	values[2] = sqlstate ? CStringGetTextDatum(sqlstate) : (Datum) 0;
	values[3] = hint ? CStringGetTextDatum(hint) : (Datum) 0;
	nulls[2] = sqlstate ? ' ' : 'n';
	nulls[3] = hint ? ' ' : 'n';

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET state = 'stopped',"
					   " paused_what = NULL, reason = $2, last_error = $2,"
					   " last_sqlstate = $3, hint = $4, since = pg_catalog.now()"
					   " WHERE name = $1",
					   4, types, values, nulls, 0);
	cdc_spi_end(&spi);
}

bool
cdc_pipeline_stop_landing(int32 landing, const char *reason,
						  const char *sqlstate, const char *hint)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int32GetDatum(landing), CStringGetTextDatum(reason),
		CStringGetTextDatum(sqlstate), CStringGetTextDatum(hint)};
	uint64		locked;
	CdcSpi		spi;
	bool		all;

	cdc_spi_begin_catalog(&spi);
	locked = cdc_spi_run("SELECT FROM cdcsync.pipeline WHERE landing_id = $1"
						 " ORDER BY name FOR NO KEY UPDATE SKIP LOCKED",
						 1, types, values, NULL, 0);
	all = cdc_spi_run("SELECT FROM cdcsync.pipeline WHERE landing_id = $1",
					  1, types, values, NULL, 0) == locked;
	if (all)
		(void) cdc_spi_run("UPDATE cdcsync.pipeline SET state = 'stopped',"
						   " paused_what = NULL, reason = $2, last_error = $2,"
						   " last_sqlstate = $3, hint = $4, since = pg_catalog.now()"
						   " WHERE landing_id = $1 AND (state = 'active' OR paused_what = 'sync')",
						   4, types, values, NULL, 0);
	cdc_spi_end(&spi);
	return all;
}

Oid
cdc_pipeline_schema(const CdcPipeline *pipeline)
{
	Oid			nspid = InvalidOid;

	if (OidIsValid(pipeline->staging))
		nspid = get_rel_namespace(pipeline->staging);
	else if (pipeline->helper_schema)
		nspid = get_namespace_oid(pipeline->helper_schema, true);

	/* the schema may have been renamed; the landing knows where it is now */
	if (!OidIsValid(nspid))
		nspid = get_rel_namespace(pipeline->landing->view);
	return nspid;
}

void
cdc_pipeline_stamp(int64 *system, int64 *database)
{
	*system = (int64) GetSystemIdentifier();
	*database = (int64) MyDatabaseId;
}

/* Record a dependency of a table, once. */
static void
depend(Oid relid, Oid ref_class, Oid ref_object)
{
	ObjectAddress table;
	ObjectAddress referenced;

	(void) deleteDependencyRecordsForSpecific(RelationRelationId, relid,
											  DEPENDENCY_NORMAL,
											  ref_class, ref_object);
	ObjectAddressSet(table, RelationRelationId, relid);
	ObjectAddressSet(referenced, ref_class, ref_object);
	recordDependencyOn(&table, &referenced, DEPENDENCY_NORMAL);
}

void
cdc_staging_depend(const CdcPipeline *pipeline)
{
	depend(pipeline->staging, RelationRelationId, pipeline->target);
	depend(pipeline->staging, RelationRelationId, pipeline->landing->view);
	if (pipeline->schema_landing && pipeline->schema_landing->id != pipeline->landing->id)
		depend(pipeline->staging, RelationRelationId, pipeline->schema_landing->view);
	depend(pipeline->staging, ExtensionRelationId,
		   get_extension_oid("cdcsync", false));
}

void
cdc_pipeline_set_target(CdcPipeline *pipeline, Oid target, List *key)
{
	CdcTarget  *description;
	Oid			types[] = {TEXTOID, OIDOID, OIDOID, TEXTARRAYOID};
	Datum		values[4];
	CdcSpi		spi;

	pipeline->target = target;
	pipeline->target_made = true;
	pipeline->key = key;

	cdc_spi_begin_as(&spi, pipeline->owner, NULL);
	description = cdc_target_describe(target, key, pipeline->readings,
									  pipeline->strict, pipeline->mode);
	pipeline->staging = cdc_staging_create(pipeline->name,
										   cdc_pipeline_schema(pipeline),
										   description);
	cdc_spi_end(&spi);

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = ObjectIdGetDatum(pipeline->staging);
	values[2] = ObjectIdGetDatum(target);
	values[3] = key ? cdc_text_array(key) : (Datum) 0;
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET staging = $2, target = $3,"
					   " target_made = true, key = $4, owner = NULL WHERE name = $1",
					   4, types, values, key ? "    " : "   n", 0);
	cdc_spi_end(&spi);
	cdc_staging_depend(pipeline);
}

void
cdc_pipeline_set_key(CdcPipeline *pipeline, List *key)
{
	Oid			types[] = {TEXTOID, TEXTARRAYOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name), cdc_text_array(key)};
	CdcSpi		spi;

	pipeline->key = key;
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET key = $2 WHERE name = $1",
					   2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/*
 * A * that was passed takes one character more each time the rest does not
 * match; only the last * needs that, so the time is at most the product of the
 * lengths.
 */
bool
cdc_name_matches(const char *pattern, const char *name)
{
	const char *star = NULL;	/* behind the last * */
	const char *taken = NULL;	/* end of what it stands for */

	while (*name)
	{
		if (*pattern == '*')
		{
			star = ++pattern;
			taken = name;
		}
		else if (*pattern == *name)
		{
			pattern++;
			name++;
		}
		else if (star)
		{
			pattern = star;
			name = ++taken;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/*
 * The names of the caller's pipelines that match, in order.  A name without *
 * is taken as it is: who uses it finds out whether it exists.
 */
static List *
matching_pipelines(const char *pattern)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *names = NIL;
	Oid			userid = GetUserId();
	uint64		nrows;
	CdcSpi		spi;

	if (strchr(pattern, '*') == NULL)
		return list_make1(pstrdup(pattern));

	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run("SELECT name, owner::oid FROM cdcsync.pipeline_state ORDER BY name",
						0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		bool		isnull;
		char	   *name = TextDatumGetCString(cdc_spi_value(i, 1, &isnull));

		if (has_privs_of_role(userid, DatumGetObjectId(cdc_spi_value(i, 2, &isnull))) &&
			cdc_name_matches(pattern, name))
			names = lappend(names, name);
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	return names;
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pipeline name must not be null"),
				 errhint("Give a name, or a pattern with *.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * cdc_pause(name text, reason text, what text) returns integer
 */
Datum
cdc_pause(PG_FUNCTION_ARGS)
{
	char	   *pattern = name_argument(fcinfo, 0);
	char	   *what = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	List	   *names;
	ListCell   *lc;

	if (what == NULL || (strcmp(what, "sync") != 0 && strcmp(what, "all") != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"what\""),
				 errhint("Give \"sync\", or \"all\" to pause the landing as well.")));

	names = matching_pipelines(pattern);
	foreach(lc, names)
	{
		CdcPipeline *pipeline = cdc_pipeline_lock(lfirst(lc), NoLock);
		Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
		Datum		values[3];
		char		nulls[] = "   ";
		CdcSpi		spi;

		values[0] = CStringGetTextDatum(pipeline->name);
		values[1] = CStringGetTextDatum(what);
		values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
		nulls[2] = PG_ARGISNULL(1) ? 'n' : ' ';

		cdc_spi_begin_catalog(&spi);
		(void) cdc_spi_run("UPDATE cdcsync.pipeline SET state = 'paused',"
						   " paused_what = $2, reason = $3, since = pg_catalog.now()"
						   " WHERE name = $1",
						   3, types, values, nulls, 0);
		cdc_spi_end(&spi);
	}
	PG_RETURN_INT32(list_length(names));
}

/* A relation of a pipeline that is to run again must be there. */
static void
check_relation(const CdcPipeline *pipeline, const char *what, Oid relid)
{
	if (OidIsValid(relid) && get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot resume pipeline \"%s\": its %s is gone",
						pipeline->name, what),
				 errhint("Drop the pipeline with SELECT cdc_drop(%s) and create it again.",
						 quote_literal_cstr(pipeline->name))));
}

/*
 * The landed records must lie below the position, and the watermark too: a
 * restore that brought back one table but not the other would make records
 * land twice or never.
 */
static void
check_positions(const CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	Oid			chunk_types[] = {INT4OID};
	Datum		chunk_values[] = {Int32GetDatum(pipeline->landing->id)};
	char	   *chunk = cdc_qualified_name(pipeline->landing->chunk);
	bool		wrong;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	wrong = cdc_spi_run("SELECT FROM cdcsync.pipeline p"
						" JOIN cdcsync.watermark w ON w.pipeline = p.name"
						" LEFT JOIN cdcsync.position o USING (landing_id, kafka_partition)"
						" WHERE p.name = $1 AND (o.landing_id IS NULL"
						" OR (w.epoch, w.next_offset) > (o.epoch, o.next_offset))",
						1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);

	if (!wrong)
	{
		cdc_spi_begin_as(&spi, pipeline->landing->owner, NULL);
		wrong = cdc_spi_run(psprintf("SELECT FROM (SELECT c.kafka_partition, c.epoch, max(c.last_offset) AS last"
									 " FROM %s c GROUP BY 1, 2) c"
									 " LEFT JOIN cdcsync.position o ON o.landing_id = $1"
									 " AND o.kafka_partition = c.kafka_partition"
									 " WHERE o.landing_id IS NULL"
									 " OR (c.epoch, c.last) >= (o.epoch, o.next_offset)",
									 chunk),
							1, chunk_types, chunk_values, NULL, 1) > 0;
		cdc_spi_end(&spi);
	}
	if (wrong)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot resume pipeline \"%s\": its positions do not fit the landed records",
						pipeline->name),
				 errdetail("Only a part of the extension's tables was restored."),
				 errhint("Restore the whole database, or drop the pipeline with SELECT cdc_drop(%s) and create it again.",
						 quote_literal_cstr(pipeline->name))));
}

static void
resume(CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[3];
	int64		system;
	int64		database;
	CdcSpi		spi;

	check_relation(pipeline, "target", pipeline->target);
	check_relation(pipeline, "topic", pipeline->landing->topic);
	check_relation(pipeline, "chunk table", pipeline->landing->chunk);
	check_positions(pipeline);
	cdc_landing_depend(pipeline->landing);
	if (OidIsValid(pipeline->staging))
		cdc_staging_depend(pipeline);

	cdc_pipeline_stamp(&system, &database);
	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = Int64GetDatum(system);
	values[2] = Int64GetDatum(database);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET state = 'active',"
					   " paused_what = NULL, reason = NULL, last_error = NULL,"
					   " last_sqlstate = NULL, hint = NULL, since = pg_catalog.now(),"
					   " stamp_system = $2, stamp_database = $3"
					   " WHERE name = $1",
					   3, types, values, NULL, 0);
	/* whether a gap is still there is found out anew */
	(void) cdc_spi_run("DELETE FROM cdcsync.gap AS g USING cdcsync.pipeline AS p"
					   " WHERE p.name = $1 AND g.landing_id = p.landing_id AND NOT g.passed",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
	cdc_breaker_reset(pipeline->name);
}

/* Let what the caller follows servers for go on, too, after a restore. */
static void
resume_following(void)
{
	Oid			types[] = {INT8OID, INT8OID, OIDOID};
	Datum		values[3];
	int64		system;
	int64		database;
	CdcSpi		spi;

	cdc_pipeline_stamp(&system, &database);
	values[0] = Int64GetDatum(system);
	values[1] = Int64GetDatum(database);
	values[2] = ObjectIdGetDatum(GetUserId());
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.follow f SET stamp_system = $1,"
					   " stamp_database = $2, server_id = s.oid"
					   " FROM pg_foreign_server s WHERE s.srvname = f.server"
					   " AND pg_has_role($3, f.owner, 'USAGE')"
					   " AND (s.oid <> f.server_id"
					   " OR NOT cdcsync.is_here(f.stamp_system, f.stamp_database))",
					   3, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/*
 * cdc_resume(name text) returns integer
 */
Datum
cdc_resume(PG_FUNCTION_ARGS)
{
	char	   *pattern = name_argument(fcinfo, 0);
	List	   *names = matching_pipelines(pattern);
	ListCell   *lc;

	foreach(lc, names)
		resume(cdc_pipeline_lock(lfirst(lc), NoLock));
	if (strcmp(pattern, "*") == 0)
		resume_following();
	PG_RETURN_INT32(list_length(names));
}

/* DROP TABLE as the pipeline's owner; what else depends on it stays in the way. */
static void
drop_table(const CdcPipeline *pipeline, Oid relid)
{
	CdcSpi		spi;

	if (!OidIsValid(relid) || get_rel_name(relid) == NULL)
		return;
	cdc_spi_begin_as(&spi, pipeline->owner, NULL);
	(void) cdc_spi_run(psprintf("DROP TABLE %s", cdc_qualified_name(relid)),
					   0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
}

/* Is the landing without pipelines, with its row locked or not? */
static bool
has_no_pipeline(const CdcLanding *landing, bool lock)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(landing->id)};
	bool		unused;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (lock)
		(void) cdc_spi_run("SELECT FROM cdcsync.landing WHERE landing_id = $1 FOR UPDATE",
						   1, types, values, NULL, 0);
	unused = cdc_spi_run("SELECT FROM cdcsync.pipeline WHERE landing_id = $1",
						 1, types, values, NULL, 1) == 0;
	cdc_spi_end(&spi);
	return unused;
}

/*
 * May the landing be dropped?  Then its row is locked, so that nobody can begin
 * to use it before we have dropped it; and its view before that, as who inserts
 * into the view, or makes a pipeline from what is in it, locks them in this
 * order.
 */
static bool
landing_unused(const CdcLanding *landing)
{
	if (!has_no_pipeline(landing, false))
		return false;
	LockRelationOid(landing->view, AccessExclusiveLock);
	return has_no_pipeline(landing, true);
}

/*
 * Drop all but the target.  The row goes first: the event trigger that cleans
 * up after a DROP of the staging table then has nothing to do.
 */
static void
drop_pipeline(const CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.pipeline WHERE name = $1",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);

	drop_table(pipeline, pipeline->staging);
	if (landing_unused(pipeline->landing))
		cdc_landing_drop(pipeline->landing);
}

/*
 * cdc_drop(name text, drop_target boolean) returns integer
 *
 * Targets go last: several of the pipelines may have the same one.
 */
Datum
cdc_drop(PG_FUNCTION_ARGS)
{
	List	   *names = matching_pipelines(name_argument(fcinfo, 0));
	bool		drop_target = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	List	   *dropped = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		CdcPipeline *pipeline = cdc_pipeline_lock(lfirst(lc), AccessExclusiveLock);

		drop_pipeline(pipeline);
		dropped = lappend(dropped, pipeline);
	}
	foreach(lc, dropped)
	{
		CdcPipeline *pipeline = lfirst(lc);

		if (drop_target)
			drop_table(pipeline, pipeline->target);
	}
	PG_RETURN_INT32(list_length(names));
}

void
cdc_pipeline_check_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pipeline name must not be null"),
				 errhint("The view cdc_status lists your pipelines.")));
}

void
cdc_pipeline_check_landing(const CdcPipeline *pipeline)
{
	if (!has_privs_of_role(GetUserId(), pipeline->landing->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for landing %s",
						cdc_qualified_name(pipeline->landing->view)),
				 errdetail("It belongs to role \"%s\".",
						   GetUserNameFromId(pipeline->landing->owner, false))));
}
