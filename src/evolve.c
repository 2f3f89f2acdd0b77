/*-------------------------------------------------------------------------
 *
 * evolve.c
 *	  Let the target follow a change of the source's table.
 *
 * The target only ever gets more: new columns, wider types, NULLs where they
 * were not allowed.  What the source dropped or narrowed stays as it is, and is
 * recorded.  A constant default of a new column goes to the rows that are there,
 * as it does at the source, which sends no event for them.  It stays the
 * column's default, for rows that come late from before the change.
 *
 * Runs between two windows, in the sync's transaction, as the pipeline's owner.
 * The ALTERs are tried in a subtransaction under a short lock_timeout: readers
 * queue behind a waiting ALTER, so it must not wait for long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "attempt.h"
#include "catalog.h"
#include "evolve.h"
#include "exact.h"
#include "schema_change.h"
#include "source_ddl.h"
#include "widen.h"

/* How long readers may be kept waiting by an ALTER that waits for others. */
#define ALTER_LOCK_TIMEOUT	"200ms"

/* A hint has so many statements. */
#define HINT_STATEMENTS	3

/* What a stop of "schema_changes" => "stop" is known by when it goes on. */
#define DROP_MESSAGE "the table was dropped at the source"
#define STOP_MESSAGE "the option \"schema_changes\" is \"stop\""

/* One change, and what it needs. */
typedef struct Step
{
	const CdcSourceChange *change;
	CdcSchemaChange record;
	List	   *statements;		/* char * */
	bool		rewrites;		/* they write each row of the target anew */
} Step;

typedef struct Evolve
{
	const CdcPipeline *pipeline;
	const CdcTarget *target;
	const CdcSourceNews *news;
	char	   *table;			/* the target's quoted name */
	List	   *steps;			/* Step * */
} Evolve;

/* The target's column that takes a field, or NULL. */
static const CdcColumn *
column_of(const CdcTarget *target, const char *field)
{
	size_t		len = strlen(field);
	const CdcColumn *folded = NULL;

	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *column = &target->columns[i];
		const CdcField *wanted = &target->fields[Max(column->index, 0)];

		if (column->source != CDC_COLUMN_FIELD || wanted->len != len)
			continue;
		if (memcmp(wanted->name, field, len) == 0)
			return column;
		if (wanted->fold && pg_strncasecmp(wanted->name, field, len) == 0)
			folded = column;
	}
	return folded;
}

static bool
is_not_null(const CdcTarget *target, const CdcColumn *column)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(target->relid),
										Int16GetDatum(column->attnum));
	bool		not_null;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for attribute %d of relation %u",
			 column->attnum, target->relid);
	not_null = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return not_null;
}

static bool
has_rows(const Evolve *evolve)
{
	return cdc_spi_run(psprintf("SELECT FROM %s LIMIT 1", evolve->table),
					   0, NULL, NULL, NULL, 1) > 0;
}

static void
need(Step *step, char *statement)
{
	step->statements = lappend(step->statements, statement);
}

static void
leave(Step *step, const char *state, const char *message)
{
	step->record.state = state;
	step->record.message = message;
}

/* The source gave its rows values of which nobody told us. */
static void
rows_unknown(const Evolve *evolve, Step *step)
{
	if (has_rows(evolve))
		leave(step, CDC_CHANGE_UNKNOWN,
			  "the events do not tell what the source put into the rows that were there");
}

/*
 * A field that the target takes already: its column was made when later events
 * had been seen, or by the user.  Rows that came before have not got it.
 */
static void
fill_column(const Evolve *evolve, Step *step, const CdcColumn *column, bool follow)
{
	const CdcSourceField *field = step->change->after;
	const char *name = quote_identifier(column->name);

	if (field->default_value && follow && column->key_no < 0)
	{
		need(step, psprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", evolve->table,
							name, quote_literal_cstr(field->default_value)));
		need(step, psprintf("UPDATE %s SET %s = DEFAULT WHERE %s IS NULL", evolve->table,
							name, name));
		step->rewrites = true;
	}
	else if (field->type == NULL || field->default_value || field->expression ||
			 !field->optional)
		rows_unknown(evolve, step);
}

/* The target's column that took the field under its old name, or NULL. */
static const CdcColumn *
renamed_from(const Evolve *evolve, const Step *step)
{
	const CdcSourceNews *news = evolve->news;
	const CdcSourceField *old;

	if (news->ddl == NULL)
		return NULL;
	old = cdc_source_ddl_renamed(news->ddl, news->before, news->fields, step->change->after);
	return old ? column_of(evolve->target, old->name) : NULL;
}

/* A column that has got another name: the values of the old one are its own. */
static void
plan_renamed(const Evolve *evolve, Step *step, const CdcColumn *old)
{
	const CdcSourceField *field = step->change->after;
	const char *name = quote_identifier(field->name);
	char	   *was = pstrdup(quote_identifier(old->name));

	step->record.kind = "column renamed";
	need(step, psprintf("ALTER TABLE %s ADD COLUMN %s %s", evolve->table, name,
						format_type_with_typemod(old->typid, old->typmod)));
	need(step, psprintf("UPDATE %s SET %s = %s", evolve->table, name, was));
	step->rewrites = true;
}

static void
plan_added(const Evolve *evolve, Step *step, bool follow)
{
	const CdcSourceField *field = step->change->after;
	const CdcColumn *column = column_of(evolve->target, field->name);

	if (column)
		fill_column(evolve, step, column, follow);
	else if (!follow)
		return;
	else if (renamed_from(evolve, step))
		plan_renamed(evolve, step, renamed_from(evolve, step));
	else if (field->type == NULL)
		leave(step, CDC_CHANGE_IGNORED,
			  "the events do not tell the type: add the column to the target where it is wanted");
	else if (evolve->pipeline->target_made && evolve->pipeline->readings != NIL)
		leave(step, CDC_CHANGE_IGNORED, "\"columns\" says which fields the target takes");
	else if (field->name[0] == '\0' || strlen(field->name) >= NAMEDATALEN ||
			 strcmp(field->name, "refresh_time") == 0 ||
			 get_attnum(evolve->target->relid, field->name) != InvalidAttrNumber)
		leave(step, CDC_CHANGE_IGNORED,
			  "the target cannot have another column of this name: map the field in \"columns\"");
	else
	{
		need(step, psprintf("ALTER TABLE %s ADD COLUMN %s %s%s%s", evolve->table,
							quote_identifier(field->name), field->type,
							field->default_value ? " DEFAULT " : "",
							field->default_value ? quote_literal_cstr(field->default_value) : ""));
		if (field->default_value == NULL && (field->expression || !field->optional))
			rows_unknown(evolve, step);
	}
}

static void
plan_type(const Evolve *evolve, Step *step)
{
	const CdcColumn *column = column_of(evolve->target, step->change->after->name);
	char	   *to;
	bool		rewrites;

	if (column == NULL)
	{
		leave(step, CDC_CHANGE_IGNORED, NULL);
		return;
	}
	switch (cdc_widen(column->typid, column->typmod, step->change->after->type,
					  &to, &rewrites))
	{
		case CDC_WIDEN_HOLDS:
			break;
		case CDC_WIDEN_TO:
			need(step, psprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", evolve->table,
								quote_identifier(column->name), to));
			step->rewrites = rewrites;
			break;
		case CDC_WIDEN_NOT:
			leave(step, CDC_CHANGE_IGNORED,
				  psprintf("column \"%s\" of type %s is not widened to that: values that do not fit go to quarantine",
						   column->name,
						   format_type_with_typemod(column->typid, column->typmod)));
			break;
	}
}

/* NULL comes from now on, or nothing at all. */
static void
plan_nullable(const Evolve *evolve, Step *step)
{
	const CdcSourceChange *change = step->change;
	const CdcColumn *column = column_of(evolve->target,
										change->after ? change->after->name : change->before->name);

	if (change->kind == CDC_COLUMN_DROPPED || column == NULL || column->key_no >= 0)
		leave(step, CDC_CHANGE_IGNORED, column && change->kind == CDC_COLUMN_DROPPED ?
			  "the target keeps its column: new rows get its default" : NULL);
	if (column && column->key_no < 0 && is_not_null(evolve->target, column))
		need(step, psprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", evolve->table,
							quote_identifier(column->name)));
}

/* What has to be done for one change. */
static Step *
plan_step(const Evolve *evolve, const CdcSourceChange *change, bool follow)
{
	Step	   *step = palloc0(sizeof(Step));

	step->change = change;
	step->record.kind = cdc_source_change_kind(change);
	step->record.ddl = evolve->news->ddl;
	step->record.in_topic = evolve->news->ddl != NULL;
	step->record.column = change->after ? change->after->name : change->before->name;
	step->record.old_type = change->before ? change->before->type : NULL;
	step->record.new_type = change->after ? change->after->type : NULL;
	step->record.state = follow ? CDC_CHANGE_APPLIED : CDC_CHANGE_IGNORED;
	if (change->kind == CDC_COLUMN_ADDED)
		plan_added(evolve, step, follow);
	else if (change->kind == CDC_COLUMN_NOT_NULL || change->kind == CDC_COLUMN_DEFAULT)
		leave(step, CDC_CHANGE_IGNORED, NULL);	/* rows that are there stay as they are */
	else if (follow && change->kind == CDC_COLUMN_TYPE)
		plan_type(evolve, step);
	else if (follow)
		plan_nullable(evolve, step);
	return step;
}

static void
plan(Evolve *evolve, const CdcSourceNews *news, bool follow)
{
	ListCell   *lc;

	evolve->news = news;
	foreach(lc, news->changes)
	{
		Step	   *step = plan_step(evolve, lfirst(lc), follow);
		StringInfoData statements;
		ListCell   *ls;

		initStringInfo(&statements);
		foreach(ls, step->statements)
			appendStringInfo(&statements, "%s%s", statements.len ? "; " : "",
							 (char *) lfirst(ls));
		if (step->statements != NIL)
			step->record.statement = statements.data;
		evolve->steps = lappend(evolve->steps, step);
	}
}

/* What is to be run, for a person; all of it is in cdcsync.schema_change. */
static char *
first_statements(const Evolve *evolve)
{
	StringInfoData buf;
	ListCell   *lc;
	int			n = 0;

	initStringInfo(&buf);
	foreach(lc, evolve->steps)
	{
		const Step *step = lfirst(lc);

		if (step->record.statement && n++ < HINT_STATEMENTS)
			appendStringInfo(&buf, "%s%s", buf.len ? "; " : "", step->record.statement);
	}
	if (n > HINT_STATEMENTS)
		appendStringInfo(&buf, "; and %d more, see cdcsync.schema_change",
						 n - HINT_STATEMENTS);
	return buf.data;
}

static void
record(const Evolve *evolve, const CdcSourceNews *news)
{
	const char *name = evolve->pipeline->name;
	ListCell   *lc;

	cdc_schema_change_forget(name, &news->at, news->ddl != NULL);
	foreach(lc, evolve->steps)
	{
		const CdcSchemaChange *change = &((Step *) lfirst(lc))->record;

		cdc_schema_change_record(name, &news->at, change);
		if (strcmp(change->state, CDC_CHANGE_UNKNOWN) == 0)
			cdc_pipeline_set_inexact(name, psprintf("a column \"%s\" was added at the source, with values that are not known for the rows that were there",
													change->column));
	}
}

/* The same, with everything that was to be done waiting. */
static void
record_waiting(const Evolve *evolve, const CdcSourceNews *news, const char *message,
			   bool all)
{
	ListCell   *lc;

	foreach(lc, evolve->steps)
	{
		Step	   *step = lfirst(lc);

		if (all || step->statements != NIL)
			leave(step, CDC_CHANGE_WAITING, message);
	}
	record(evolve, news);
}

static void
stop(const Evolve *evolve, const CdcSourceNews *news, const char *message, bool all,
	 char *reason, int sqlerrcode, const char *hint)
{
	record_waiting(evolve, news, message, all);
	cdc_pipeline_stop(evolve->pipeline, reason, unpack_sql_state(sqlerrcode), hint);
	ereport(WARNING,
			(errcode(sqlerrcode),
			 errmsg("pipeline \"%s\" is stopped: %s", evolve->pipeline->name, reason),
			 errhint("%s Then call cdc_resume().", hint)));
}

/* "column added: "CITY", and 2 more changes" */
static char *
summary(const Evolve *evolve)
{
	const CdcSchemaChange *first = &((Step *) linitial(evolve->steps))->record;
	int			more = list_length(evolve->steps) - 1;
	char	   *text = psprintf("%s: \"%s\"", first->kind, first->column);

	if (more > 0)
		text = psprintf("%s, and %d more", text, more);
	return text;
}

/* Size of the target, its partitions included. */
static int64
target_size(const Evolve *evolve)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(evolve->target->relid)};
	bool		isnull;

	(void) cdc_spi_run("SELECT coalesce((SELECT pg_catalog.sum(pg_catalog.pg_table_size(p.relid))::pg_catalog.int8"
					   " FROM pg_catalog.pg_partition_tree($1) p), pg_catalog.pg_table_size($1))",
					   1, types, values, NULL, 1);
	return DatumGetInt64(cdc_spi_value(0, 1, &isnull));
}

/* Would it write a table anew that is too large for that? */
static bool
refuse_rewrite(const Evolve *evolve, const CdcSourceNews *news)
{
	bool		rewrites = false;
	int64		size;
	ListCell   *lc;

	foreach(lc, evolve->steps)
		rewrites |= ((Step *) lfirst(lc))->rewrites;
	if (!rewrites || (size = target_size(evolve)) <= evolve->pipeline->max_rewrite_size)
		return false;
	stop(evolve, news, "the target is larger than \"max_rewrite_size\"", false,
		 psprintf("to follow the source (%s), target \"%s\" would have to be rewritten, which is larger than max_rewrite_size",
				  summary(evolve), get_rel_name(evolve->target->relid)),
		 ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		 psprintf("The target has " INT64_FORMAT " bytes. Raise the option \"max_rewrite_size\", or run this yourself: %s.",
				  size, first_statements(evolve)));
	return true;
}

static bool
run_statements(void *arg)
{
	Evolve	   *evolve = arg;
	int			level = NewGUCNestLevel();
	ListCell   *lc;
	ListCell   *ls;

	(void) set_config_option("lock_timeout", ALTER_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	foreach(lc, evolve->steps)
		foreach(ls, ((Step *) lfirst(lc))->statements)
		(void) cdc_spi_run(lfirst(ls), 0, NULL, NULL, NULL, 0);
	AtEOXact_GUC(true, level);
	return true;
}

/* It may be had later: a lock, or a table that this transaction has to leave first. */
static bool
is_passing(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		edata->sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

/* .. or it fails for a reason that a person has to look at. */
static bool
is_expected(const ErrorData *edata)
{
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

/* Alter the target. */
static CdcEvolved
follow(Evolve *evolve, const CdcSourceNews *news, ErrorData **error)
{
	ErrorData  *edata;

	if (refuse_rewrite(evolve, news))
		return CDC_EVOLVE_STOPPED;
	if (cdc_attempt(run_statements, evolve, is_expected, &edata))
	{
		record(evolve, news);
		return CDC_EVOLVED;
	}
	if (is_passing(edata))
	{
		if (cdc_schema_change_waits(evolve->pipeline->name, &news->at, news->ddl != NULL, NULL))
		{
			edata->hint = psprintf("To follow the source (%s), the target is to be altered, which waits for all who use it: %s.",
								   summary(evolve), first_statements(evolve));
			*error = edata;
		}
		else
			record_waiting(evolve, news, edata->message, false);
		return CDC_EVOLVE_LATER;
	}
	stop(evolve, news, edata->message, false,
		 psprintf("cannot follow the source (%s): %s", summary(evolve), edata->message),
		 edata->sqlerrcode,
		 psprintf("Run this yourself, or make it possible: %s.", first_statements(evolve)));
	return CDC_EVOLVE_STOPPED;
}

void
cdc_evolve_passed(const CdcPipeline *pipeline, const CdcTarget *target,
				  CdcSourceWatch *watch)
{
	ListCell   *lc;

	foreach(lc, watch->passed)
	{
		Evolve		evolve = {.pipeline = pipeline,.target = target,
		.table = cdc_qualified_name(target->relid)};

		plan(&evolve, lfirst(lc), false);
		record(&evolve, lfirst(lc));
	}
	watch->passed = NIL;
}

/* Rows with the new column came before it was there. */
static void
note_lost(Evolve *evolve)
{
	ListCell   *lc;

	foreach(lc, evolve->steps)
	{
		Step	   *step = lfirst(lc);

		if (step->change->kind == CDC_COLUMN_ADDED && step->statements != NIL)
			leave(step, CDC_CHANGE_UNKNOWN,
				  "rows that came after the change were in the target before it was known");
	}
}

/* Deal with news: as far as the option says. */
static CdcEvolved
evolve_news(const CdcPipeline *pipeline, const CdcTarget *target, CdcSourceNews *news,
			bool late, ErrorData **error)
{
	CdcSchemaChanges mode = pipeline->schema_changes;
	Evolve		evolve = {.pipeline = pipeline,.target = target};
	CdcEvolved	result = CDC_EVOLVED;

	*error = NULL;
	evolve.table = cdc_qualified_name(target->relid);
	plan(&evolve, news, mode == CDC_SCHEMA_FOLLOW);
	if (late)
		note_lost(&evolve);
	if (mode == CDC_SCHEMA_FOLLOW)
		result = follow(&evolve, news, error);
	else if (mode == CDC_SCHEMA_STOP &&
			 !cdc_schema_change_waits(pipeline->name, &news->at, news->ddl != NULL,
									  STOP_MESSAGE))
	{
		stop(&evolve, news, STOP_MESSAGE, true,
			 psprintf("the source's table has changed (%s)", summary(&evolve)),
			 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			 "Look at cdcsync.schema_change, and alter the target as you want it.");
		result = CDC_EVOLVE_STOPPED;
	}
	else
		record(&evolve, news);	/* who resumed it has agreed */
	return result;
}

CdcEvolved
cdc_evolve(const CdcPipeline *pipeline, const CdcTarget *target, CdcSourceWatch *watch,
		   ErrorData **error)
{
	CdcEvolved	result = evolve_news(pipeline, target, watch->news, false, error);

	if (result == CDC_EVOLVED)
	{
		cdc_source_watch_accept(watch);
		cdc_source_watch_save(watch);
	}
	return result;
}

/* Columns of a table as a statement has left them. */
static CdcEvolved
evolve_table(const CdcPipeline *pipeline, const CdcTarget *target, CdcSourceWatch *watch,
			 const CdcSourceDdl *ddl, bool late, ErrorData **error)
{
	CdcEvolved	result = CDC_EVOLVED;
	CdcSourceNews *news = palloc0(sizeof(CdcSourceNews));

	news->at = ddl->at;
	news->ddl = ddl->ddl;
	news->fields = ddl->fields;
	news->before = watch->declared != NIL ? watch->declared :
		cdc_source_fields_names(watch->fields);
	/* the first one tells what there is, unless the events have told it */
	if (news->before != NIL && !(ddl->create && watch->declared == NIL))
		news->changes = cdc_source_fields_compare(news->before, news->fields);
	if (news->changes != NIL)
		result = evolve_news(pipeline, target, news, late && watch->fingerprint == NULL, error);
	if (result == CDC_EVOLVED)
	{
		watch->news = news;
		cdc_source_watch_accept(watch);
		cdc_source_watch_save(watch);
	}
	return result;
}

/* What has become of the table as a whole. */
static void
record_ddl(const CdcPipeline *pipeline, const CdcSourceDdl *ddl, const char *kind,
		   const char *state, const char *message)
{
	CdcSchemaChange change = {.kind = kind,.ddl = ddl->ddl,.in_topic = true,.state = state,
	.message = message};

	cdc_schema_change_forget(pipeline->name, &ddl->at, true);
	cdc_schema_change_record(pipeline->name, &ddl->at, &change);
}

/*
 * The target stays, and so do its rows, which are gone at the source: a person
 * has to say what is to become of them.
 */
static CdcEvolved
evolve_drop(const CdcPipeline *pipeline, const CdcSourceDdl *ddl)
{
	char	   *reason = DROP_MESSAGE;
	char	   *hint = psprintf("Drop the pipeline with SELECT cdc_drop(%s). If the table is made again, empty the target.",
								quote_literal_cstr(pipeline->name));

	if (pipeline->schema_changes == CDC_SCHEMA_IGNORE ||
		cdc_schema_change_waits(pipeline->name, &ddl->at, true, DROP_MESSAGE))
	{
		record_ddl(pipeline, ddl, "table dropped", CDC_CHANGE_IGNORED, NULL);
		return CDC_EVOLVED;
	}
	record_ddl(pipeline, ddl, "table dropped", CDC_CHANGE_WAITING, DROP_MESSAGE);
	cdc_pipeline_stop(pipeline, reason,
					  unpack_sql_state(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), hint);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pipeline \"%s\" is stopped: %s", pipeline->name, reason),
			 errhint("%s Then call cdc_resume().", hint)));
	return CDC_EVOLVE_STOPPED;
}

static void
evolve_truncate(const CdcPipeline *pipeline, const CdcSourceDdl *ddl, bool late,
				bool *truncate)
{
	*truncate = !late;
	record_ddl(pipeline, ddl, "truncated", late ? CDC_CHANGE_UNKNOWN : CDC_CHANGE_APPLIED,
			   late ? "rows that came after it were in the target before it was known" : NULL);
	if (late)
		cdc_pipeline_set_inexact(pipeline->name,
								 "a TRUNCATE of the source was known too late to be applied");
}

CdcEvolved
cdc_evolve_ddl(const CdcPipeline *pipeline, const CdcTarget *target,
			   CdcSourceWatch *watch, bool late, bool *truncate, ErrorData **error)
{
	const CdcSourceDdl *ddl = linitial(watch->ddls);
	CdcEvolved	result = CDC_EVOLVED;

	*truncate = false;
	*error = NULL;
	switch (ddl->kind)
	{
		case CDC_DDL_TABLE:
			result = evolve_table(pipeline, target, watch, ddl, late, error);
			break;
		case CDC_DDL_DROP:
			result = evolve_drop(pipeline, ddl);
			break;
		case CDC_DDL_RENAME:
			record_ddl(pipeline, ddl, "table renamed", CDC_CHANGE_IGNORED,
					   "its events go to another topic from now on");
			break;
		case CDC_DDL_TRUNCATE:
			evolve_truncate(pipeline, ddl, late, truncate);
			break;
	}
	watch->due = false;
	if (result == CDC_EVOLVED)
	{
		cdc_source_ddl_done(pipeline, ddl);
		watch->ddls = list_delete_first(watch->ddls);
	}
	return result;
}
