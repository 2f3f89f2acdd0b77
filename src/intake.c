/*-------------------------------------------------------------------------
 *
 * intake.c
 *	  What a pipeline takes of the records of its landing.
 *
 * A topic may hold the changes of several tables.  Each pipeline on its landing
 * has a filter then, on fields of the event's source.  A pipeline without one
 * follows the table of its first record, and says so of records of another.
 *
 * The fields looked at hardly ever differ from one record of a structure to the
 * next, so what was thought of them is kept with the decoder's skeleton of such
 * records: there it costs one comparison.
 *
 * Runs in a sync, or under cdc_create() and cdc_alter(); the catalog is read and
 * written as its owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "filter.h"
#include "intake.h"
#include "options.h"

/* What says which table an event comes from, the largest part first. */
static const char *const table_fields[] = {"db", "schema", "table", "collection"};

#define NTABLE_FIELDS	lengthof(table_fields)

struct CdcIntake
{
	MemoryContext context;
	CdcReadAs	read_as;
	const char *prefix;
	List	   *terms;			/* CdcFilterTerm *; NIL: no filter */
	bool		any_table;		/* the target's key tells tables apart */
	int			first;			/* the first of the fields that are looked at */
	int			nfields;
	char	   *table;			/* that the pipeline follows, or NULL */
	bool		learned;		/* since it was loaded */
};

/* Add a field to those that the decoder is to look for. */
static void
add_field(CdcTarget *target, const char *name)
{
	CdcField   *field;

	target->source_fields = repalloc(target->source_fields,
									 sizeof(CdcField) * (target->nsource_fields + 1));
	field = &target->source_fields[target->nsource_fields++];
	field->name = name;
	field->len = strlen(name);
	field->fold = false;
}

CdcIntake *
cdc_intake_make(const CdcPipeline *pipeline, CdcTarget *target)
{
	CdcIntake  *intake = palloc0(sizeof(CdcIntake));
	ListCell   *lc;

	intake->context = CurrentMemoryContext;
	intake->read_as = pipeline->read_as;
	intake->prefix = pipeline->add_fields_prefix;
	intake->terms = pipeline->filter;
	intake->table = pipeline->source_table;
	intake->any_table = target->nscope > 0;
	intake->first = target->nsource_fields;
	foreach(lc, intake->terms)
		add_field(target, ((CdcFilterTerm *) lfirst(lc))->field);
	if (intake->terms == NIL && !intake->any_table)
		for (int i = 0; i < NTABLE_FIELDS; i++)
			add_field(target, table_fields[i]);
	intake->nfields = target->nsource_fields - intake->first;
	return intake;
}

void
cdc_intake_prepare(const CdcIntake *intake, CdcDecoder *decoder)
{
	if (!cdc_decoder_read_as(decoder, intake->read_as, intake->prefix))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	cdc_decoder_watch(decoder, intake->first, intake->nfields);
}

CdcReadAs
cdc_intake_read_as(const CdcIntake *intake)
{
	return intake->read_as;
}

const char *
cdc_intake_prefix(const CdcIntake *intake)
{
	return intake->prefix;
}

void
cdc_intake_watched(const CdcIntake *intake, int *first, int *n)
{
	*first = intake->first;
	*n = intake->nfields;
}

bool
cdc_intake_filters(const CdcIntake *intake)
{
	return intake->terms != NIL;
}

/* db.schema.table as far as the event tells it; NULL if it names no table. */
static char *
table_of(const CdcToken *fields)
{
	StringInfoData buf;
	bool		named = false;

	initStringInfo(&buf);
	for (int i = 0; i < NTABLE_FIELDS; i++)
	{
		char	   *text = cdc_filter_text(&fields[i]);

		if (text == NULL)
			continue;
		appendStringInfo(&buf, "%s%s", buf.len ? "." : "", text);
		named |= i >= 2;
	}
	return named ? buf.data : NULL;
}

/* Does the name end with the other, which tells less of the table? */
static bool
ends_with(const char *name, const char *part)
{
	size_t		len = strlen(name);
	size_t		part_len = strlen(part);

	return len > part_len && name[len - part_len - 1] == '.' &&
		strcmp(name + len - part_len, part) == 0;
}

/*
 * Is it the table that the records before it come from?  A flattened event may
 * tell less of it than an envelope: what both tell must be the same.
 */
static CdcVerdict
compare_table(CdcIntake *intake, const CdcToken *fields)
{
	char	   *table = table_of(fields);

	if (table == NULL)
		return CDC_VERDICT_OURS;
	if (intake->table == NULL || ends_with(table, intake->table))
	{
		intake->table = MemoryContextStrdup(intake->context, table);
		intake->learned = true;
	}
	return strcmp(table, intake->table) == 0 || ends_with(intake->table, table) ?
		CDC_VERDICT_OURS : CDC_VERDICT_STRANGE;
}

static CdcVerdict
filter_verdict(int match)
{
	return match > 0 ? CDC_VERDICT_OURS :
		match == 0 ? CDC_VERDICT_OTHER : CDC_VERDICT_UNTOLD;
}

CdcVerdict
cdc_intake_judge(CdcIntake *intake, const CdcChange *change)
{
	const CdcToken *fields = change->source + intake->first;
	CdcVerdict	verdict;

	if (change->verdict && *change->verdict != CDC_VERDICT_NONE)
		return *change->verdict;
	if (intake->terms != NIL)
		verdict = filter_verdict(cdc_filter_apply(intake->terms, fields));
	else if (intake->any_table)
		verdict = CDC_VERDICT_OURS;
	else
		verdict = compare_table(intake, fields);
	if (change->verdict)
		*change->verdict = verdict;
	return verdict;
}

char *
cdc_intake_reason(const CdcIntake *intake, CdcVerdict verdict,
				  const CdcChange *change)
{
	const CdcToken *fields = change->source + intake->first;
	ListCell   *lc;

	if (verdict == CDC_VERDICT_STRANGE)
		return psprintf("the record is of table \"%s\", and the pipeline follows \"%s\": where a topic holds several tables, each pipeline needs the option \"filter\"",
						table_of(fields), intake->table);
	foreach(lc, intake->terms)
		if (cdc_filter_text(&fields[foreach_current_index(lc)]) == NULL)
			return psprintf("the record has no \"source.%s\", which the option \"filter\" needs",
							((CdcFilterTerm *) lfirst(lc))->field);
	return pstrdup("the option \"filter\" cannot be applied to the record");
}

void
cdc_intake_save(CdcIntake *intake, CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[2];
	CdcSpi		spi;

	if (!intake->learned)
		return;
	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = CStringGetTextDatum(intake->table);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET source_table = $2 WHERE name = $1",
					   2, types, values, NULL, 0);
	cdc_spi_end(&spi);
	pipeline->source_table = intake->table;
	intake->learned = false;
}

/*
 * Several pipelines into one table
 */

/* Does the mapping take any of the key columns from the event's source? */
static bool
key_has_scope(List *key, List *readings)
{
	ListCell   *lc;

	foreach(lc, readings)
	{
		const CdcReading *reading = lfirst(lc);
		ListCell   *lk;

		foreach(lk, key)
			if (strcmp(reading->column, lfirst(lk)) == 0 &&
				cdc_target_is_scope(reading->field))
				return true;
	}
	return false;
}

static void
shared_error(Oid target, const char *other)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is the target of pipeline \"%s\", too",
					get_rel_name(target), other),
			 errdetail("Rows of one key from both would overwrite each other, and a truncate of one would remove the rows of the other."),
			 errhint("Add a column to the target's key that tells the sources apart, and map it in \"columns\" of each pipeline to $source.name, $source.db, $source.schema or $source.table.")));
}

void
cdc_intake_check_shared(const char *pipeline, const CdcTarget *target)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(target->relid),
		CStringGetTextDatum(pipeline)};
	char	   *other = NULL;
	uint64		nrows;
	CdcSpi		spi;

	/* who makes another one at the same time waits until ours is there to see */
	LockRelationOid(target->relid, ShareUpdateExclusiveLock);
	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run("SELECT name, key, columns FROM cdcsync.pipeline"
						" WHERE target = $1 AND name <> $2 ORDER BY name",
						2, types, values, NULL, 0);
	for (uint64 i = 0; i < nrows && other == NULL; i++)
	{
		bool		isnull;
		Datum		key = cdc_spi_value(i, 2, &isnull);
		List	   *columns = isnull ? NIL : cdc_text_list(key);
		Datum		mapping = cdc_spi_value(i, 3, &isnull);
		List	   *readings = isnull ? NIL :
			cdc_readings_parse(DatumGetJsonbPCopy(mapping));

		if (target->nscope == 0 || !key_has_scope(columns, readings))
			other = MemoryContextStrdup(context, cdc_spi_text(i, 1));
	}
	cdc_spi_end(&spi);
	if (other)
		shared_error(target->relid, other);
}
