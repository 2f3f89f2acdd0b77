/*-------------------------------------------------------------------------
 *
 * source_watch.c
 *	  What a pipeline knows of its source's table, and whether a record shows
 *	  that it has changed.
 *
 * What is known stands in cdcsync.source_schema, so that a change between two
 * syncs is seen; it is written in the sync's transaction, whose lock on the
 * staging table keeps others away.  Records of another schema than the last
 * one are rare, so this costs nothing per record.
 *
 * In a topic of several partitions, and when records are read again, some are
 * older than the change: these, told by their place at the source, say nothing
 * new.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "sample_row.h"
#include "source_ddl.h"
#include "source_watch.h"

CdcSourceWatch *
cdc_source_watch_load(const char *pipeline)
{
	CdcSourceWatch *watch = palloc0(sizeof(CdcSourceWatch));
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT fingerprint, fields, source_position, source_ts_ms,"
		" source_table, declared FROM cdcsync.source_schema WHERE pipeline = $1",
		.nargs = 1,
		.types = types
	};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;

	watch->pipeline = pipeline;
	watch->context = CurrentMemoryContext;
	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run_plan(&plan, values, NULL) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(watch->context);
		bool		isnull;
		Datum		declared;
		char	   *position = cdc_spi_text(0, 3);

		watch->fingerprint = cdc_spi_text(0, 1);
		watch->fields = cdc_source_fields_read(DatumGetJsonbP(cdc_spi_value(0, 2, &isnull)));
		if (position)
			(void) cdc_position_parse(position, &watch->position);
		watch->ts_ms = DatumGetInt64(cdc_spi_value(0, 4, &isnull));
		watch->has_ts_ms = !isnull;
		watch->table = cdc_spi_text(0, 5);
		declared = cdc_spi_value(0, 6, &isnull);
		if (!isnull)
			watch->declared = cdc_source_fields_read(DatumGetJsonbP(declared));
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	return watch;
}

void
cdc_source_watch_save(CdcSourceWatch *watch)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID};
	Datum		values[7];
	char		nulls[] = "       ";
	char		position[CDC_POSITION_TEXT];
	CdcSpi		spi;

	if (!watch->dirty)
		return;
	values[0] = CStringGetTextDatum(watch->pipeline);
	values[1] = watch->fingerprint ? CStringGetTextDatum(watch->fingerprint) : (Datum) 0;
	nulls[1] = watch->fingerprint ? ' ' : 'n';
	values[2] = CStringGetTextDatum(cdc_source_fields_print(watch->fields));
	cdc_position_print(&watch->position, position);
	values[3] = CStringGetTextDatum(position);
	nulls[3] = watch->position.kind != CDC_POSITION_NONE ? ' ' : 'n';
	values[4] = Int64GetDatum(watch->ts_ms);
	nulls[4] = watch->has_ts_ms ? ' ' : 'n';
	values[5] = watch->table ? CStringGetTextDatum(watch->table) : (Datum) 0;
	nulls[5] = watch->table ? ' ' : 'n';
	values[6] = CStringGetTextDatum(cdc_source_fields_print(watch->declared));
	nulls[6] = watch->declared != NIL ? ' ' : 'n';
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.source_schema (pipeline, fingerprint, fields,"
					   " source_position, source_ts_ms, source_table, declared)"
					   " VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7::jsonb)"
					   " ON CONFLICT (pipeline) DO UPDATE SET fingerprint = excluded.fingerprint,"
					   " fields = excluded.fields, source_position = excluded.source_position,"
					   " source_ts_ms = excluded.source_ts_ms,"
					   " source_table = excluded.source_table, declared = excluded.declared",
					   7, types, values, nulls, 0);
	cdc_spi_end(&spi);
	watch->dirty = false;
}

/* Is the record older, at the source, than what is known? */
static bool
is_older(const CdcSourceWatch *watch, const CdcChange *change)
{
	bool		timed = change->has_source_ts_ms && watch->has_ts_ms;
	int			cmp;

	/* positions may begin anew, the clock does not */
	if (cdc_position_compare(&change->position, &watch->position, &cmp))
		return cmp < 0 && !(timed && change->source_ts_ms > watch->ts_ms);
	return timed && change->source_ts_ms < watch->ts_ms;
}

/* Tells a schema from others, for good: 128 bits. */
static char *
fingerprint_of(const CdcSchema *schema)
{
	const unsigned char *text = (const unsigned char *) schema->text;

	return psprintf(UINT64_FORMAT "." UINT64_FORMAT,
					hash_bytes_extended(text, schema->len, 0),
					hash_bytes_extended(text, schema->len, 1));
}

/* The news become what is known. */
static void
accept(CdcSourceWatch *watch, const CdcSourceNews *news)
{
	watch->dirty = true;
	if (news->ddl)
	{
		watch->declared = news->fields;
		return;
	}
	if (news->fingerprint)
		watch->fingerprint = news->fingerprint;
	watch->fields = news->fields;
	watch->position = news->position;
	watch->has_ts_ms = news->has_ts_ms;
	watch->ts_ms = news->ts_ms;
}

void
cdc_source_watch_accept(CdcSourceWatch *watch)
{
	accept(watch, watch->news);
	watch->news = NULL;
}

/* Where the source's statements are known, only what they do not tell is news. */
static List *
leave_declared(const CdcSourceWatch *watch, List *changes)
{
	List	   *left = NIL;
	ListCell   *lc;

	foreach(lc, changes)
	{
		const CdcSourceChange *change = lfirst(lc);

		if (change->kind == CDC_COLUMN_ADDED &&
			cdc_source_field(watch->declared, change->after->name) == NULL)
			left = lappend(left, lfirst(lc));
	}
	return left;
}

/* Compare; true if there is nothing that the window has to end for. */
static bool
take_news(CdcSourceWatch *watch, CdcSourceNews *news, const CdcChange *change,
		  const CdcOrigin *at)
{
	news->at = *at;
	news->position = change->position;
	news->has_ts_ms = change->has_source_ts_ms;
	news->ts_ms = change->source_ts_ms;
	if (watch->fields != NIL)
		news->changes = cdc_source_fields_compare(watch->fields, news->fields);
	if (watch->declared != NIL)
		news->changes = leave_declared(watch, news->changes);
	if (news->changes != NIL && !watch->passes)
	{
		watch->news = news;
		return false;
	}
	if (news->changes != NIL)
		watch->passed = lappend(watch->passed, news);
	accept(watch, news);
	return true;
}

/* The fields of a record without those that are no columns of the source. */
static List *
columns_of(const CdcSourceWatch *watch, const CdcChange *change, List *fields)
{
	List	   *columns = NIL;
	ListCell   *lc;

	if (!change->marked)
		return fields;
	foreach(lc, fields)
		if (!cdc_sample_is_metadata(((CdcSourceField *) lfirst(lc))->name, watch->prefix))
			columns = lappend(columns, lfirst(lc));
	return columns;
}

bool
cdc_source_watch_schema(CdcSourceWatch *watch, const CdcSchema *schema,
						const CdcChange *change, CdcConnector connector,
						const CdcOrigin *at)
{
	MemoryContext old = MemoryContextSwitchTo(watch->context);
	char	   *fingerprint = fingerprint_of(schema);
	CdcSourceNews *news;
	bool		nothing = true;

	if ((watch->fingerprint == NULL || strcmp(watch->fingerprint, fingerprint) != 0) &&
		!(watch->fingerprint && is_older(watch, change)))
	{
		news = palloc0(sizeof(CdcSourceNews));
		news->fingerprint = fingerprint;
		news->fields = columns_of(watch, change,
								  cdc_source_fields_of(schema, connector));
		nothing = take_news(watch, news, change, at);
	}
	MemoryContextSwitchTo(old);
	return nothing;
}

/* Does a row have a field that is not known? */
static bool
has_new_name(const CdcSourceWatch *watch, const CdcChange *change)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "cdcsync field names",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	List	   *fields = columns_of(watch, change,
									cdc_source_fields_named(&change->after_json));
	bool		found = false;
	ListCell   *lc;

	foreach(lc, fields)
		found = found ||
			cdc_source_field(watch->fields, ((CdcSourceField *) lfirst(lc))->name) == NULL;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return found;
}

bool
cdc_source_watch_names(CdcSourceWatch *watch, const CdcChange *change,
					   const CdcOrigin *at)
{
	MemoryContext old;
	CdcSourceNews *news;
	bool		nothing;
	ListCell   *lc;

	/* schemas, where there are any, say more */
	if (watch->fingerprint || change->after_json.kind != CDC_JSON_OBJECT ||
		!has_new_name(watch, change))
		return true;
	old = MemoryContextSwitchTo(watch->context);
	news = palloc0(sizeof(CdcSourceNews));
	news->fields = columns_of(watch, change,
							  cdc_source_fields_named(&change->after_json));
	/* those that this row lacks stay known */
	foreach(lc, watch->fields)
		if (cdc_source_field(news->fields, ((CdcSourceField *) lfirst(lc))->name) == NULL)
			news->fields = lappend(news->fields, lfirst(lc));
	nothing = take_news(watch, news, change, at);
	MemoryContextSwitchTo(old);
	return nothing;
}

bool
cdc_source_watch_order(CdcSourceWatch *watch, const CdcChange *change)
{
	watch->due = cdc_source_ddl_precedes(linitial(watch->ddls), change);
	return !watch->due;
}
