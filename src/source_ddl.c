/*-------------------------------------------------------------------------
 *
 * source_ddl.c
 *	  The connector's schema-change topic: what the source has done to a table.
 *
 * The topic lands like any other, for all pipelines of its connector; each has
 * its own watermarks in it (cdcsync.schema_watermark).  Its events tell all
 * columns of a table after a statement, and stand where the source has done it:
 * by position they are ordered among the events of the tables.
 *
 * DDL is rare, so an event is taken apart by SQL, and only if the table's name
 * is in its bytes.  Runs in the sync's transaction, as the pipeline's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "source_ddl.h"
#include "source_type.h"

/* Records that are looked at for the name of the table. */
#define PEEK_RECORDS	1000

/* A reading of the topic. */
typedef struct Reader
{
	MemoryContext context;		/* of the result */
	CdcDecoder *decoder;		/* of sources */
	const char *table;
	const char *name;			/* its last part, as it stands in the events */
	int32		end_epoch;		/* of the partition: what is to be read */
	int64		end_offset;
	List	   *ddls;
} Reader;

static CdcDecoder *
make_decoder(void)
{
	CdcDecoder *decoder = cdc_decoder_create(NULL, 0, NULL, 0, NULL);

	if (decoder == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return decoder;
}

/* ----------
 * Which table
 * ----------
 */

/* The text of a member of "source", NULL if it has none. */
static char *
source_member(const CdcToken *source, const char *word)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[2];

	values[0] = PointerGetDatum(cstring_to_text_with_len(source->text, source->len));
	values[1] = CStringGetTextDatum(word);
	(void) cdc_spi_run("SELECT $1::jsonb ->> $2", 2, types, values, NULL, 1);
	return cdc_spi_text(0, 1);
}

/* "db"."schema"."table", what is NULL left out. */
static char *
table_id(const char *db, const char *schema, const char *table)
{
	const char *parts[] = {db, schema, table};
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < lengthof(parts); i++)
	{
		if (parts[i] == NULL || parts[i][0] == '\0')
			continue;
		appendStringInfo(&buf, "%s\"", buf.len ? "." : "");
		for (const char *p = parts[i]; *p; p++)
			appendStringInfo(&buf, *p == '"' ? "\"\"" : "%c", *p);
		appendStringInfoChar(&buf, '"');
	}
	return buf.data;
}

/* The table of the first event of a partition that names one. */
static char *
peek(const CdcPipeline *pipeline, const CdcProgress *p, CdcDecoder *decoder)
{
	CdcLandingScan *scan = cdc_landing_scan_begin(pipeline->landing, p->partition,
												  p->epoch, p->next_offset);
	const CdcChunk *chunk;
	char	   *table = NULL;
	int			n = 0;

	while (table == NULL && n < PEEK_RECORDS && (chunk = cdc_landing_scan_next(scan)) != NULL)
		for (int i = chunk->first; table == NULL && i < chunk->nrecords && n < PEEK_RECORDS; i++, n++)
		{
			const CdcBytes *value = &chunk->values[i];
			CdcChange	change;
			CdcDecodeError error;

			if (value->data == NULL ||
				!cdc_decode_value(decoder, value->data, value->len, &change, &error) ||
				change.shape != CDC_SHAPE_CHANGE ||
				change.source_json.kind != CDC_JSON_OBJECT)
				continue;
			table = source_member(&change.source_json, "table");
			if (table)
				table = table_id(source_member(&change.source_json, "db"),
								 source_member(&change.source_json, "schema"), table);
		}
	cdc_landing_scan_end(scan);
	return table;
}

char *
cdc_source_ddl_table(const CdcPipeline *pipeline, int npartitions,
					 const CdcProgress *progress)
{
	CdcDecoder *decoder = make_decoder();
	char	   *volatile table = NULL;

	PG_TRY();
	{
		for (int i = 0; i < npartitions && table == NULL; i++)
			table = peek(pipeline, &progress[i], decoder);
	}
	PG_FINALLY();
	{
		cdc_decoder_free(decoder);
	}
	PG_END_TRY();
	return table;
}

/* ----------
 * Events
 * ----------
 */

/* An int4 in text, -1 for NULL. */
static int
int_of(uint64 row, int column)
{
	char	   *text = cdc_spi_text(row, column);

	return text ? atoi(text) : -1;
}

static List *
read_columns(Datum columns, CdcConnector connector)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {JSONBOID};
	Datum		values[] = {columns};
	List	   *fields = NIL;
	uint64		n;

	n = cdc_spi_run("SELECT c ->> 'name', c ->> 'typeName', c ->> 'length', c ->> 'scale',"
					" coalesce(c ->> 'optional', 'true'), c ->> 'defaultValueExpression'"
					" FROM jsonb_array_elements($1) c"
					" WHERE c ->> 'name' <> '' AND c ->> 'typeName' <> ''",
					1, types, values, NULL, 0);
	MemoryContextSwitchTo(context);	/* it is SPI's after a statement */
	for (uint64 i = 0; i < n; i++)
	{
		CdcSourceField *field = palloc0(sizeof(CdcSourceField));
		char	   *expression = cdc_spi_text(i, 6);

		field->name = cdc_spi_text(i, 1);
		field->type = cdc_source_type(connector, cdc_spi_text(i, 2), int_of(i, 3), int_of(i, 4));
		field->optional = strcmp(cdc_spi_text(i, 5), "true") == 0;
		if (expression && strcmp(expression, "NULL") != 0)
		{
			if (field->type)
				field->default_value = cdc_source_default(connector, expression, field->type);
			field->expression = field->default_value == NULL;
		}
		fields = lappend(fields, field);
	}
	return fields;
}

/* The place at the source, read as that of an event. */
static void
read_source(Reader *reader, CdcSourceDdl *ddl, const char *source, CdcConnector *connector,
			bool *snapshot)
{
	char	   *event = psprintf("{\"op\":\"m\",\"source\":%s}", source);
	CdcChange	change;
	CdcDecodeError error;

	*connector = CDC_CONNECTOR_UNKNOWN;
	*snapshot = false;
	if (!cdc_decode_value(reader->decoder, event, strlen(event), &change, &error))
		return;
	*connector = cdc_connector_of(&change.connector);
	*snapshot = change.snapshot;
	ddl->position = change.position;
	ddl->has_ts_ms = change.has_source_ts_ms;
	ddl->ts_ms = change.source_ts_ms;
}

static bool
is_truncate(const char *ddl)
{
	while (*ddl == ' ' || *ddl == '\t' || *ddl == '\n')
		ddl++;
	return pg_strncasecmp(ddl, "truncate", strlen("truncate")) == 0;
}

/*
 * What an event's row says: ddl, source, type of change, its table, the name
 * before, columns, and the table that the source names.
 */
static bool
read_row(Reader *reader, CdcSourceDdl *ddl, uint64 row)
{
	char	   *type = cdc_spi_text(row, 3);
	char	   *id = cdc_spi_text(row, 4);
	char	   *previous = cdc_spi_text(row, 5);
	bool		ours = id && strcmp(id, reader->table) == 0;
	CdcConnector connector;
	bool		snapshot;
	bool		isnull;
	Datum		columns = cdc_spi_value(row, 6, &isnull);

	ddl->ddl = cdc_spi_text(row, 1);
	if (ddl->ddl == NULL)
		ddl->ddl = pstrdup("");
	if (!ours && !(previous && strcmp(previous, reader->table) == 0))
	{
		/* no table has changed: then it may be a TRUNCATE */
		char	   *named = table_id(cdc_spi_text(row, 7), cdc_spi_text(row, 8), cdc_spi_text(row, 9));

		if ((type && strcmp(type, "TRUNCATE") != 0) || !is_truncate(ddl->ddl) ||
			strcmp(named, reader->table) != 0)
			return false;
		type = "TRUNCATE";
	}
	else if (!ours)
		type = "RENAME";
	ddl->create = strcmp(type, "CREATE") == 0;
	ddl->source = cdc_spi_text(row, 2);
	read_source(reader, ddl, ddl->source, &connector, &snapshot);
	if (strcmp(type, "TRUNCATE") == 0)
		ddl->kind = CDC_DDL_TRUNCATE;
	else if (strcmp(type, "RENAME") == 0)
		ddl->kind = CDC_DDL_RENAME;
	else if (strcmp(type, "DROP") == 0)
		ddl->kind = CDC_DDL_DROP;
	else if (!isnull)
		ddl->fields = read_columns(columns, connector);
	/* a snapshot begins with statements that nobody has run */
	return !(snapshot && ddl->kind != CDC_DDL_TABLE) &&
		(ddl->kind != CDC_DDL_TABLE || ddl->fields != NIL);
}

static void
read_event(Reader *reader, const CdcChunk *chunk, int i)
{
	Oid			types[] = {BYTEAOID};
	Datum		values[] = {cdc_bytea(chunk->values[i])};
	MemoryContext old;
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin(&spi, NULL);
	n = cdc_spi_run("SELECT p ->> 'ddl', (p -> 'source')::text, c ->> 'type', c ->> 'id',"
					" c ->> 'previousId', c -> 'table' -> 'columns', p ->> 'databaseName',"
					" p ->> 'schemaName', p -> 'source' ->> 'table'"
					" FROM (SELECT CASE WHEN v ? 'payload' AND NOT v ? 'source' THEN v -> 'payload' ELSE v END AS p"
					"  FROM cdcsync.json_parse_or_null($1) v) x"
					" LEFT JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(p -> 'tableChanges')"
					"  WHEN 'array' THEN p -> 'tableChanges' ELSE '[]' END) c ON true"
					" WHERE jsonb_typeof(p -> 'source') = 'object'",
					1, types, values, NULL, 0);
	for (uint64 row = 0; row < n; row++)
	{
		SPITupleTable *result = SPI_tuptable;
		CdcSourceDdl *ddl;

		old = MemoryContextSwitchTo(reader->context);
		ddl = palloc0(sizeof(CdcSourceDdl));
		ddl->at.partition = chunk->partition;
		ddl->at.epoch = chunk->epoch;
		ddl->at.offset = cdc_chunk_offset(chunk, i);
		if (read_row(reader, ddl, row))
			reader->ddls = lappend(reader->ddls, ddl);
		MemoryContextSwitchTo(old);
		SPI_tuptable = result;	/* the columns came by another query */
	}
	cdc_spi_end(&spi);
	pfree(DatumGetPointer(values[0]));
}

/* Is the table's name somewhere in the bytes? */
static bool
names_table(const Reader *reader, const CdcBytes *value)
{
	size_t		len = strlen(reader->name);
	const char *end = value->data + value->len;

	if (value->data == NULL)
		return false;
	for (const char *p = value->data; p + len <= end; p++)
	{
		p = memchr(p, reader->name[0], end - p);
		if (p == NULL || p + len > end)
			return false;
		if (memcmp(p, reader->name, len) == 0)
			return true;
	}
	return false;
}

static void
read_partition(Reader *reader, const CdcLanding *landing, int64 partition, int32 epoch,
			   int64 next_offset)
{
	CdcLandingScan *scan;
	const CdcChunk *chunk;

	for (; epoch <= reader->end_epoch; epoch++, next_offset = 0)
	{
		scan = cdc_landing_scan_begin(landing, partition, epoch, next_offset);
		while ((chunk = cdc_landing_scan_next(scan)) != NULL)
			for (int i = chunk->first; i < chunk->nrecords; i++)
			{
				CHECK_FOR_INTERRUPTS();
				if (epoch == reader->end_epoch &&
					cdc_chunk_offset(chunk, i) >= reader->end_offset)
					break;
				if (names_table(reader, &chunk->values[i]))
					read_event(reader, chunk, i);
			}
		cdc_landing_scan_end(scan);
	}
}

/* Where the pipeline is in a partition of the schema-change topic. */
static void
load_watermark(const char *pipeline, int64 partition, int32 *epoch, int64 *next_offset)
{
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(partition)};
	bool		isnull;
	CdcSpi		spi;

	*epoch = 0;
	*next_offset = 0;
	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT epoch, next_offset FROM cdcsync.schema_watermark"
					" WHERE pipeline = $1 AND kafka_partition = $2", 2, types, values, NULL, 1) > 0)
	{
		*epoch = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
		*next_offset = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	cdc_spi_end(&spi);
}

static void
save_watermark(const char *pipeline, int64 partition, int32 epoch, int64 next_offset)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(partition),
	Int32GetDatum(epoch), Int64GetDatum(next_offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.schema_watermark VALUES ($1, $2, $3, $4)"
					   " ON CONFLICT (pipeline, kafka_partition) DO UPDATE"
					   " SET epoch = excluded.epoch, next_offset = excluded.next_offset",
					   4, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/* What of a partition was not dealt with, or what was. */
static void
read_part(Reader *reader, const CdcPipeline *pipeline, const CdcLandingPosition *position,
		  bool done)
{
	int			n = list_length(reader->ddls);
	int32		epoch;
	int64		next_offset;

	load_watermark(pipeline->name, position->partition, &epoch, &next_offset);
	if (done)
	{
		reader->end_epoch = epoch;
		reader->end_offset = next_offset;
		read_partition(reader, pipeline->schema_landing, position->partition, 0, 0);
		return;
	}
	if (epoch > position->epoch ||
		(epoch == position->epoch && next_offset >= position->next_offset))
		return;
	reader->end_epoch = position->epoch;
	reader->end_offset = position->next_offset;
	read_partition(reader, pipeline->schema_landing, position->partition, epoch,
				   next_offset);
	/* what is of other tables is not read again */
	if (list_length(reader->ddls) == n)
		save_watermark(pipeline->name, position->partition, position->epoch,
					   position->next_offset);
}

static List *
load(const CdcPipeline *pipeline, const char *table, bool done)
{
	Reader		reader = {.context = CurrentMemoryContext,.table = table};
	CdcLandingPosition *positions;
	int			npositions = cdc_landing_positions(pipeline->schema_landing, &positions);
	const char *quote = strrchr(pnstrdup(table, strlen(table) - 1), '"');

	/* a name with quotes in it stands in the events with escapes: any event then */
	reader.name = strstr(table, "\"\"") ? "" : quote + 1;
	reader.decoder = make_decoder();
	PG_TRY();
	{
		for (int i = 0; i < npositions; i++)
			read_part(&reader, pipeline, &positions[i], done);
	}
	PG_FINALLY();
	{
		cdc_decoder_free(reader.decoder);
	}
	PG_END_TRY();
	return reader.ddls;
}

List *
cdc_source_ddl_load(const CdcPipeline *pipeline, const char *table)
{
	return load(pipeline, table, false);
}

List *
cdc_source_ddl_load_truncates(const CdcPipeline *pipeline, const char *table)
{
	List	   *truncates = NIL;
	ListCell   *lc;

	foreach(lc, load(pipeline, table, true))
		if (((CdcSourceDdl *) lfirst(lc))->kind == CDC_DDL_TRUNCATE)
			truncates = lappend(truncates, lfirst(lc));
	return truncates;
}

void
cdc_source_ddl_done(const CdcPipeline *pipeline, const CdcSourceDdl *ddl)
{
	save_watermark(pipeline->name, ddl->at.partition, ddl->at.epoch, ddl->at.offset + 1);
}

bool
cdc_source_ddl_precedes(const CdcSourceDdl *ddl, const CdcChange *change)
{
	int			cmp;

	if (cdc_position_compare(&ddl->position, &change->position, &cmp))
		return cmp <= 0;
	return !ddl->has_ts_ms || !change->has_source_ts_ms ||
		ddl->ts_ms <= change->source_ts_ms;
}

/* ----------
 * Renamed columns
 * ----------
 */

/* The next word of a statement, names without their quotes; NULL at its end. */
static char *
next_word(const char **p)
{
	static const char separators[] = " \t\r\n,;()";
	const char *start;
	char	   *word;

	*p += strspn(*p, separators);
	if (**p == '\0')
		return NULL;
	if (**p == '`' || **p == '"' || **p == '[')
	{
		char		end[] = {**p == '[' ? ']' : **p, '\0'};

		start = ++*p;
		*p += strcspn(*p, end);
		word = pnstrdup(start, *p - start);
		if (**p)
			(*p)++;
		return word;
	}
	start = *p;
	*p += strcspn(*p, " \t\r\n,;()`\"[");
	return pnstrdup(start, *p - start);
}

/* Does the statement have these words one after the other?  NULL: none. */
static bool
has_words(List *words, int at, const char *const *sought)
{
	for (; *sought; sought++, at++)
		if (at >= list_length(words) ||
			pg_strcasecmp(list_nth(words, at), *sought) != 0)
			return false;
	return true;
}

const CdcSourceField *
cdc_source_ddl_renamed(const char *ddl, List *before, List *after,
					   const CdcSourceField *field)
{
	List	   *words = NIL;
	char	   *word;
	ListCell   *lc;

	while ((word = next_word(&ddl)) != NULL)
		words = lappend(words, word);
	foreach(lc, before)
	{
		const CdcSourceField *old = lfirst(lc);
		const char *rename[] = {"rename", "column", old->name, "to", field->name, NULL};
		const char *change[] = {"change", old->name, field->name, NULL};
		const char *change_column[] = {"change", "column", old->name, field->name, NULL};

		if (cdc_source_field(after, old->name) != NULL)
			continue;
		for (int i = 0; i < list_length(words); i++)
			if (has_words(words, i, rename) || has_words(words, i, change) ||
				has_words(words, i, change_column))
				return old;
	}
	return NULL;
}
