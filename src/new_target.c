/*-------------------------------------------------------------------------
 *
 * new_target.c
 *	  The table that is made where no target is given.
 *
 * Its columns are those of the events (infer.c), or the mapped ones, with what
 * the pipeline's mode adds.
 *
 * Creates as the current user, in the caller's transaction; no lock but those of
 * the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "new_target.h"
#include "pseudo.h"

/* A column that the target will have. */
typedef struct NewColumn
{
	char	   *name;
	const char *type;
	bool		notnull;
	bool		guessed;
	char	   *field;			/* source field, or pseudo-field */
} NewColumn;

static const char *
pseudo_type(const char *field)
{
	const CdcPseudo *pseudo = cdc_pseudo_find(field);

	if (pseudo)
		return pseudo->type;
	return cdc_pseudo_source_field(field) ? "text" : NULL;
}

/* A reading says something of the type, too. */
static const char *
type_with_reading(const char *type, const CdcReading *reading)
{
	bool		is_text = strcmp(type, "text") == 0;

	if (reading->is_unsigned)
		return "numeric(20,0)";
	if (reading->has_scale)
		return "numeric";
	if (reading->timezone)
		return "timestamptz";
	if (reading->encoding && is_text)
		return strcmp(reading->encoding, "json") == 0 ? "jsonb" :
			strcmp(reading->encoding, "string") == 0 ? "text" : "bytea";
	if (reading->unit && (strcmp(type, "bigint") == 0 || strcmp(type, "integer") == 0))
		return strcmp(reading->unit, "d") == 0 ? "date" : "timestamp";
	return type;
}

static char *
field_names(const CdcInferred *inferred)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, inferred->fields)
		appendStringInfo(&buf, "%s\"%s\"", buf.len ? ", " : "",
						 ((CdcInferredField *) lfirst(lc))->name);
	return buf.data;
}

static NewColumn *
column_of_reading(const CdcInferred *inferred, const CdcReading *reading)
{
	NewColumn  *column = palloc0(sizeof(*column));
	const CdcInferredField *field;

	column->name = reading->column;
	column->field = reading->field;
	if (reading->field[0] == '$')
	{
		column->type = pseudo_type(reading->field);
		if (column->type == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown pseudo-field \"%s\" for column \"%s\"",
							reading->field, reading->column),
					 errhint("Pseudo-fields are: %s.", cdc_pseudo_list())));
		return column;
	}
	field = cdc_infer_find(inferred, reading->field);
	if (field == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the events have no field \"%s\" for column \"%s\"",
						reading->field, reading->column),
				 errhint("Their fields are %s.", field_names(inferred))));
	column->field = field->name;
	column->type = type_with_reading(field->type, reading);
	column->notnull = field->notnull;
	column->guessed = field->guessed && column->type == field->type;
	return column;
}

/* The column that is fed by a field; or that has a name. */
static NewColumn *
column_by(List *columns, const char *name, bool by_field)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		NewColumn  *column = lfirst(lc);

		if (strcmp(by_field ? column->field : column->name, name) == 0)
			return column;
	}
	return NULL;
}

/* The columns that the pipeline's mode adds, unless they are mapped. */
static List *
add_mode_columns(const CdcPipeline *pipeline, List *columns)
{
	for (const CdcPseudo *p = cdc_pseudos; p->name; p++)
	{
		NewColumn  *column;

		if (!(p->made & CDC_MODE_BIT(pipeline->mode)) ||
			column_by(columns, p->name, true))
			continue;
		if (column_by(columns, p->column, false))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the events have a field \"%s\", which is the name of the column for %s in mode \"%s\"",
							p->column, p->name, cdc_mode_name(pipeline->mode)),
					 errhint("Map both in \"columns\", for example {\"%s\": \"%s\", \"cdc_%s\": \"%s\", ..}.",
							 p->column, p->column, p->column, p->name)));
		column = palloc0(sizeof(*column));
		column->name = (char *) p->column;
		column->field = (char *) p->name;
		column->type = p->type;
		column->notnull = p->source == CDC_COLUMN_VALID_FROM ||
			p->source == CDC_COLUMN_CURRENT;
		columns = lappend(columns, column);
	}
	return columns;
}

/* A column for each field of the events. */
static List *
columns_of_fields(const CdcInferred *inferred)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, inferred->fields)
	{
		const CdcInferredField *field = lfirst(lc);
		NewColumn  *column = palloc0(sizeof(*column));

		column->name = column->field = field->name;
		column->type = field->type;
		column->notnull = field->notnull;
		column->guessed = field->guessed;
		columns = lappend(columns, column);
	}
	return columns;
}

static List *
new_columns(const CdcPipeline *pipeline, const CdcInferred *inferred)
{
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, pipeline->readings)
		columns = lappend(columns, column_of_reading(inferred, lfirst(lc)));
	if (columns == NIL)
		columns = columns_of_fields(inferred);
	/* a delete tells no more than the key */
	if (pipeline->mode == CDC_MODE_APPEND)
		foreach(lc, columns)
			((NewColumn *) lfirst(lc))->notnull = false;
	return add_mode_columns(pipeline, columns);
}

static void
check_names(List *columns)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		const NewColumn *column = lfirst(lc);

		if (strlen(column->name) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("field name \"%s\" is too long for a column", column->name),
					 errdetail("Column names have at most %d bytes.", NAMEDATALEN - 1),
					 errhint("Map the fields to shorter names with \"columns\".")));
		if (column->name[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_NAME),
					 errmsg("a field without a name cannot become a column"),
					 errhint("Map the fields that you want with \"columns\".")));
	}
}

static List *
key_from_argument(List *columns, List *key_columns)
{
	ListCell   *lc;

	foreach(lc, key_columns)
	{
		if (column_by(columns, lfirst(lc), false) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("key column \"%s\" is not among the columns of the target",
							(char *) lfirst(lc)),
					 errhint("Name target columns in \"key\", spelled as in the source unless \"columns\" maps them.")));
	}
	return list_copy(key_columns);
}

static List *
key_from_events(const CdcInferred *inferred, List *columns)
{
	List	   *key = NIL;
	ListCell   *lc;

	if (inferred->key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the events have no usable key"),
				 errdetail("Their Kafka key is null or no object."),
				 errhint("Give the key columns with \"key\", or use the mode \"append\".")));
	foreach(lc, inferred->key)
	{
		const CdcInferredField *field = cdc_infer_find(inferred, lfirst(lc));
		NewColumn  *column = column_by(columns, field->name, true);

		if (column == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("key field \"%s\" is not mapped to a column", field->name),
					 errhint("Add it to \"columns\", or give other key columns with \"key\".")));
		key = lappend(key, column->name);
	}
	return key;
}

static Oid
target_schema(const CdcPipeline *pipeline)
{
	if (pipeline->target_schema)
		return get_namespace_oid(pipeline->target_schema, false);
	return cdc_pipeline_schema(pipeline);
}

/*
 * The primary key of the table: the key of the rows, with what tells their
 * versions apart in modes that keep several; NIL: none.
 */
static List *
primary_key(CdcMode mode, List *columns, List *key)
{
	static const char *const history[] = {"$valid_from", "$kafka_partition", "$kafka_offset", NULL};
	/* a topic that was made again counts its offsets anew */
	static const char *const append[] = {"$kafka_partition", "$kafka_offset", "$refresh_time", NULL};
	const char *const *more = mode == CDC_MODE_HISTORY ? history :
	mode == CDC_MODE_APPEND ? append : NULL;

	key = list_copy(key);
	for (int i = 0; more && more[i]; i++)
		key = lappend(key, column_by(columns, more[i], true)->name);
	return key;
}

static char *
name_list(List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, names)
		appendStringInfo(&buf, "%s%s", buf.len ? ", " : "", quote_identifier(lfirst(lc)));
	return buf.data;
}

static char *
create_statement(const char *qualified, List *columns, List *key)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", qualified);
	foreach(lc, columns)
	{
		const NewColumn *column = lfirst(lc);

		appendStringInfo(&sql, "%s%s %s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_identifier(column->name), column->type,
						 column->notnull ? " NOT NULL" : "");
	}
	if (key)
		appendStringInfo(&sql, ", PRIMARY KEY (%s)", name_list(key));
	appendStringInfoString(&sql, ") WITH (fillfactor = 90)");
	return sql.data;
}

void
cdc_new_target_tell_guesses(const CdcPipeline *pipeline, const CdcInferred *inferred)
{
	StringInfoData list;
	ListCell   *lc;

	initStringInfo(&list);
	foreach(lc, new_columns(pipeline, inferred))
	{
		const NewColumn *column = lfirst(lc);

		if (column->guessed)
			appendStringInfo(&list, "%s%s %s", list.len ? ", " : "",
							 quote_identifier(column->name), column->type);
	}
	if (list.len > 0)
		ereport(NOTICE,
				(errmsg_plural("column types of table \"%s\" were guessed from %d event",
							   "column types of table \"%s\" were guessed from %d events",
							   inferred->nrecords,
							   pipeline->target_name, inferred->nrecords),
				 errdetail("Guessed: %s.", list.data),
				 errhint("Where a guess is wrong, create the table yourself and name it as the target.")));
}

Oid
cdc_new_target_make(const CdcPipeline *pipeline, const CdcInferred *inferred,
					List *key_columns, List **key)
{
	char	   *name = pipeline->target_name;
	Oid			nspid = target_schema(pipeline);
	char	   *nspname = get_namespace_name(nspid);
	char	   *qualified;
	List	   *columns;
	CdcSpi		spi;

	if (inferred->fields == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no events to take the columns of \"%s\" from", name)));
	if (OidIsValid(get_relname_relid(name, nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists in schema \"%s\"", name, nspname),
				 errhint("Name it as the target of the pipeline, or rename it.")));
	columns = new_columns(pipeline, inferred);
	check_names(columns);
	if (pipeline->mode == CDC_MODE_APPEND)
		*key = NIL;
	else if (key_columns != NIL)
		*key = key_from_argument(columns, key_columns);
	else if (inferred->key == NIL && pipeline->mode == CDC_MODE_MIRROR)
		*key = NIL;				/* the source's table has none */
	else
		*key = key_from_events(inferred, columns);

	cdc_spi_begin(&spi, NULL);
	qualified = quote_qualified_identifier(nspname, name);
	(void) cdc_spi_run(create_statement(qualified, columns,
										primary_key(pipeline->mode, columns, *key)),
					   0, NULL, NULL, NULL, 0);
	if (pipeline->mode == CDC_MODE_HISTORY)
		(void) cdc_spi_run(psprintf("CREATE UNIQUE INDEX ON %s (%s) WHERE %s", qualified,
									name_list(*key),
									quote_identifier(column_by(columns, "$current", true)->name)),
						   0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
	return get_relname_relid(name, nspid);
}
