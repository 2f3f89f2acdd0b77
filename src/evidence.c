/*-------------------------------------------------------------------------
 *
 * evidence.c
 *	  What the values of a column have shown of their encoding.
 *
 * Without a schema a decimal may come as base64 or as text, bytes as base64 or
 * as hex, as the connector is set up, and some strings can be either: 5552,
 * deadbeef.  The connector is set up for the whole topic, so that the other
 * values of the column tell.  The first that can be read in one way only decides
 * for all; a later one against it means that the setting has changed, and
 * strings that can be either go to quarantine from there on.  What comes before
 * the first evidence waits in quarantine for it.
 *
 * All records are looked at in their order, not only those that win in their
 * window, so that the result does not depend on the windows.
 *
 * Runs in the transaction of a sync, or of cdc_create() and cdc_alter(); writes
 * cdcsync.evidence as the catalog's owner, and only when something is new.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "evidence.h"

/* A column whose strings can have two readings. */
typedef struct Watched
{
	const CdcColumn *column;
	int			number;			/* of the column in the target */
	CdcEncoding encoding;		/* by the first evidence */
	bool		mixed;			/* there was evidence against it .. */
	int64		partition;		/* .. here */
	int32		epoch;
	int64		offset;
	bool		changed;		/* not in the catalog yet */
} Watched;

struct CdcEvidence
{
	const char *pipeline;
	bool		learned;		/* a column has its first evidence */
	int			n;
	Watched    *columns;
};

static const char *const names[] = {"", "base64", "string", "hex"};

static CdcEncoding
encoding_of(const char *name)
{
	for (int i = 1; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (CdcEncoding) i;
	return CDC_ENCODING_UNKNOWN;
}

static void
learn(Watched *w, CdcEncoding encoding)
{
	w->encoding = encoding;
	cdc_converter_learn(w->column->converter, encoding);
}

static void
load_row(CdcEvidence *evidence, uint64 row)
{
	char	   *column = cdc_spi_text(row, 1);
	CdcEncoding encoding = encoding_of(cdc_spi_text(row, 2));
	bool		isnull;

	for (int i = 0; i < evidence->n; i++)
	{
		Watched    *w = &evidence->columns[i];

		if (strcmp(w->column->name, column) != 0 ||
			encoding == CDC_ENCODING_UNKNOWN ||
			!cdc_converter_takes_encoding(w->column->converter, encoding))
			continue;
		learn(w, encoding);
		w->partition = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
		w->mixed = !isnull;
		w->epoch = DatumGetInt32(cdc_spi_value(row, 4, &isnull));
		w->offset = DatumGetInt64(cdc_spi_value(row, 5, &isnull));
	}
}

static CdcEvidence *
watch(const char *pipeline, const CdcTarget *target)
{
	CdcEvidence *evidence = palloc0(sizeof(CdcEvidence));

	evidence->pipeline = pipeline;
	evidence->columns = palloc0(sizeof(Watched) * target->ncolumns);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *column = &target->columns[i];
		Watched    *w = &evidence->columns[evidence->n];

		if (column->source != CDC_COLUMN_FIELD ||
			!cdc_converter_takes_encoding(column->converter, CDC_ENCODING_UNKNOWN))
			continue;
		w->column = column;
		w->number = i;
		learn(w, cdc_converter_presumed(column->converter));
		evidence->n++;
	}
	return evidence->n > 0 ? evidence : NULL;
}

/*
 * Rows that say nothing to their column, as its type has changed, are deleted:
 * others wait for what they seem to tell.
 */
static void
delete_useless(const CdcEvidence *evidence, uint64 nrows)
{
	Oid			types[] = {TEXTOID, TEXTARRAYOID};
	Datum		values[2];
	List	   *useful = NIL;

	for (int i = 0; i < evidence->n; i++)
		if (evidence->columns[i].encoding != CDC_ENCODING_UNKNOWN)
			useful = lappend(useful, evidence->columns[i].column->name);
	if (nrows <= (uint64) list_length(useful))
		return;
	values[0] = CStringGetTextDatum(evidence->pipeline);
	values[1] = cdc_text_array(useful);
	(void) cdc_spi_run("DELETE FROM cdcsync.evidence e USING cdcsync.pipeline p WHERE e.pipeline = $1 "
					   "AND p.name = $1 AND e.column_name <> ALL ($2) "
					   /* of a column with a reading it is not for us */
					   "AND p.columns->e.column_name->>'encoding' IS NULL",
					   2, types, values, NULL, 0);
}

CdcEvidence *
cdc_evidence_load(const char *pipeline, const CdcTarget *target)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT column_name, encoding, mixed_partition, mixed_epoch, mixed_offset "
		"FROM cdcsync.evidence WHERE pipeline = $1",
		.nargs = 1,
		.types = types
	};
	CdcEvidence *evidence = watch(pipeline, target);
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	uint64		n;

	if (evidence == NULL)
		return NULL;
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 row = 0; row < n; row++)
		load_row(evidence, row);
	delete_useless(evidence, n);
	cdc_spi_end(&spi);
	return evidence;
}

/* What begins so is neither digits nor hex: the usual base64 says no more. */
static inline bool
is_usual_base64(const CdcToken *value)
{
	char		c = value->kind == CDC_JSON_STRING && value->len > 0 ? value->text[0] : '0';

	return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f');
}

static void
look_at_value(CdcEvidence *evidence, Watched *w, const CdcToken *value,
			  const CdcSchemaField *field, const CdcChunk *chunk, int64 offset)
{
	CdcEncoding proof;

	if (w->mixed || (w->encoding == CDC_ENCODING_BASE64 && is_usual_base64(value)))
		return;
	proof = cdc_converter_proof(w->column->converter, value, field);
	if (proof == CDC_ENCODING_UNKNOWN || proof == w->encoding)
		return;
	w->changed = true;
	if (w->encoding == CDC_ENCODING_UNKNOWN)
	{
		learn(w, proof);
		evidence->learned = true;
		return;
	}
	w->mixed = true;
	w->partition = chunk->partition;
	w->epoch = chunk->epoch;
	w->offset = offset;
}

/*
 * Before the evidence against it in its partition, the first is good; of other
 * partitions nobody knows what was before.
 */
static bool
is_in_doubt(const Watched *w, const CdcChunk *chunk, int64 offset)
{
	if (!w->mixed)
		return false;
	return chunk->partition != w->partition || chunk->epoch > w->epoch ||
		(chunk->epoch == w->epoch && offset >= w->offset);
}

void
cdc_evidence_mark(const CdcEvidence *evidence, CdcToken *fields,
				  const CdcChunk *chunk, int64 offset)
{
	for (int i = 0; i < evidence->n; i++)
		if (is_in_doubt(&evidence->columns[i], chunk, offset))
			fields[evidence->columns[i].column->index].flags |= CDC_JSON_MIXED;
}

void
cdc_evidence_look(CdcEvidence *evidence, const CdcChange *change,
				  const CdcRowSchema *schema, const CdcChunk *chunk, int64 offset)
{
	const CdcToken *image = change->has_after ? change->after :
		change->has_before ? change->before : NULL;

	if (image == NULL)
		return;
	for (int i = 0; i < evidence->n; i++)
	{
		Watched    *w = &evidence->columns[i];
		const CdcSchemaField *field = schema ? schema->by_column[w->number] : NULL;

		if (schema == NULL || field != NULL)
			look_at_value(evidence, w, &image[w->column->index], field, chunk, offset);
	}
	if (change->has_after)
		cdc_evidence_mark(evidence, change->after, chunk, offset);
	if (change->has_before)
		cdc_evidence_mark(evidence, change->before, chunk, offset);
}

/* Write one column's evidence.  In the open SPI connection. */
static void
save(const char *pipeline, const char *column, CdcEncoding encoding,
	 const Watched *mixed)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, INT4OID, INT8OID};
	Datum		values[6];
	char		nulls[] = "   nnn";

	values[0] = CStringGetTextDatum(pipeline);
	values[1] = CStringGetTextDatum(column);
	values[2] = CStringGetTextDatum(names[encoding]);
	if (mixed)
	{
		values[3] = Int64GetDatum(mixed->partition);
		values[4] = Int32GetDatum(mixed->epoch);
		values[5] = Int64GetDatum(mixed->offset);
		memset(nulls, ' ', 6);
	}
	(void) cdc_spi_run("INSERT INTO cdcsync.evidence (pipeline, column_name, encoding, "
					   "mixed_partition, mixed_epoch, mixed_offset) VALUES ($1, $2, $3, $4, $5, $6) "
					   "ON CONFLICT (pipeline, column_name) DO UPDATE SET encoding = excluded.encoding, "
					   "mixed_partition = excluded.mixed_partition, mixed_epoch = excluded.mixed_epoch, "
					   "mixed_offset = excluded.mixed_offset",
					   6, types, values, nulls, 0);
}

bool
cdc_evidence_store(CdcEvidence *evidence)
{
	bool		learned = evidence->learned;
	CdcSpi		spi;

	evidence->learned = false;
	for (int i = 0; i < evidence->n; i++)
	{
		Watched    *w = &evidence->columns[i];

		if (!w->changed)
			continue;
		cdc_spi_begin_catalog(&spi);
		save(evidence->pipeline, w->column->name, w->encoding,
			 w->mixed ? w : NULL);
		cdc_spi_end(&spi);
		w->changed = false;
	}
	return learned;
}

bool
cdc_evidence_waiting(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	bool		any;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine q WHERE " CDC_EVIDENCE_CAME("q") " LIMIT 1",
					  1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return any;
}

/* The one encoding that a field's values in a sample prove, if it is one. */
static CdcEncoding
sample_proof(const CdcColumn *column, const CdcInferred *inferred,
			 const CdcField *field)
{
	const CdcInferredField *found = cdc_infer_field(inferred, field);
	CdcEncoding proof = CDC_ENCODING_UNKNOWN;

	for (int i = 1; found && i < lengthof(names); i++)
	{
		if ((found->proofs & (1 << i)) == 0 ||
			!cdc_converter_takes_encoding(column->converter, (CdcEncoding) i))
			continue;
		if (proof != CDC_ENCODING_UNKNOWN)
			return CDC_ENCODING_UNKNOWN;
		proof = (CdcEncoding) i;
	}
	return proof;
}

void
cdc_evidence_begin(const char *pipeline, const CdcTarget *target,
				   const CdcInferred *inferred)
{
	CdcEvidence *evidence = watch(pipeline, target);

	if (evidence == NULL)
		return;
	for (int i = 0; i < evidence->n; i++)
	{
		Watched    *w = &evidence->columns[i];
		CdcEncoding proof = sample_proof(w->column, inferred,
										 &target->fields[w->column->index]);

		if (proof != CDC_ENCODING_UNKNOWN && w->encoding == CDC_ENCODING_UNKNOWN)
		{
			learn(w, proof);
			w->changed = true;
		}
	}
	(void) cdc_evidence_store(evidence);
}

void
cdc_evidence_reset(const char *pipeline, List *readings)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	ListCell   *lc;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.evidence WHERE pipeline = $1",
					   1, types, values, NULL, 0);
	foreach(lc, readings)
	{
		const CdcReading *reading = lfirst(lc);

		/* what was in doubt is not any more */
		if (reading->encoding || (reading->has_scale && reading->scale > 0))
			save(pipeline, reading->column,
				 reading->encoding && strcmp(reading->encoding, "string") == 0 ? CDC_ENCODING_STRING :
				 reading->encoding && strcmp(reading->encoding, "hex") == 0 ? CDC_ENCODING_HEX :
				 CDC_ENCODING_BASE64, NULL);
	}
	cdc_spi_end(&spi);
}
