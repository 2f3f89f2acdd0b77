/*-------------------------------------------------------------------------
 *
 * quarantine.c
 *	  Records that could not be decoded or applied.
 *
 * Rows of cdcsync.quarantine are written as the catalog's owner, in the
 * transaction of the sync.  The bytes of a record come from the window or, for
 * records that failed after ranking, once more from landing, which is read as
 * the landing's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "quarantine.h"

/* So many of the first records, all bad for one reason, stop a pipeline. */
#define FIRST_RECORDS	20

/* Below this many records a share says nothing. */
#define SHARE_RECORDS	100

bool
cdc_quarantine_any(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	bool		any;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine WHERE pipeline = $1 LIMIT 1",
					  1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return any;
}

void
cdc_quarantine_reread(const char *pipeline, int64 partition, int64 offset)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(partition),
	Int64GetDatum(offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				"AND kafka_partition = $2 AND kafka_offset >= $3",
				3, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_quarantine_truncate(const char *pipeline, int64 offset)
{
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 AND kafka_offset < $2",
				2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

static Datum
bytes_datum(const CdcBytes *b)
{
	bytea	   *d = palloc(VARHDRSZ + b->len);

	SET_VARSIZE(d, VARHDRSZ + b->len);
	memcpy(VARDATA(d), b->data, b->len);
	return PointerGetDatum(d);
}

void
cdc_quarantine_find(const char *pipeline, int nkeys, const CdcBytes *keys,
					int64 *blocked)
{
	Datum	   *elems = palloc(sizeof(Datum) * nkeys);
	bool	   *nulls = palloc0(sizeof(bool) * nkeys);
	int			lbound = 1;
	Oid			types[] = {TEXTOID, BYTEAARRAYOID};
	Datum		values[2];
	CdcSpi		spi;
	uint64		n;

	for (int i = 0; i < nkeys; i++)
	{
		blocked[i] = -1;
		nulls[i] = keys[i].data == NULL;
		elems[i] = nulls[i] ? (Datum) 0 : bytes_datum(&keys[i]);
	}
	values[0] = CStringGetTextDatum(pipeline);
	values[1] = PointerGetDatum(construct_md_array(elems, nulls, 1, &nkeys, &lbound,
												   BYTEAOID, -1, false, TYPALIGN_INT));
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("SELECT k.no, max(q.kafka_offset) "
					"FROM unnest($2) WITH ORDINALITY k(key, no) "
					"JOIN cdcsync.quarantine q ON q.pipeline = $1 "
					"AND md5(q.kafka_key) = md5(k.key) AND q.kafka_key = k.key "
					"GROUP BY k.no", 2, types, values, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		int64		no = DatumGetInt64(cdc_spi_value(i, 1, &isnull));

		blocked[no - 1] = DatumGetInt64(cdc_spi_value(i, 2, &isnull));
	}
	cdc_spi_end(&spi);
}

void
cdc_quarantine_supersede(const char *pipeline, const CdcBytes *key)
{
	Oid			types[] = {TEXTOID, BYTEAOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), bytes_datum(key)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				"AND md5(kafka_key) = md5($2) AND kafka_key = $2",
				2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

static int
compare_bad(const void *a, const void *b)
{
	const CdcBadRecord *x = a;
	const CdcBadRecord *y = b;

	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return 0;
}

static int
find_offset(const CdcChunk *chunk, int64 offset)
{
	for (int i = chunk->first; i < chunk->nrecords; i++)
		if (cdc_chunk_offset(chunk, i) == offset)
			return i;
	return -1;
}

/* Read the bytes of a bad record from landing, into the current context. */
static void
read_bytes(const CdcPipeline *pipeline, CdcBadRecord *bad)
{
	CdcLandingScan *scan = cdc_landing_scan_begin(pipeline->landing, bad->partition,
												  bad->epoch, bad->offset);
	const CdcChunk *chunk = cdc_landing_scan_next(scan);
	int			i = chunk ? find_offset(chunk, bad->offset) : -1;

	if (i >= 0)
	{
		bad->key = chunk->keys[i];
		bad->value = chunk->values[i];
		if (bad->key.data)
			bad->key.data = memcpy(palloc(bad->key.len + 1), bad->key.data, bad->key.len);
		if (bad->value.data)
			bad->value.data = memcpy(palloc(bad->value.len + 1), bad->value.data, bad->value.len);
		bad->has_bytes = true;
	}
	cdc_landing_scan_end(scan);
}

static void
insert_bad(const CdcPipeline *pipeline, const CdcBadRecord *bad)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID, BYTEAOID, BYTEAOID, TEXTOID,
	TEXTOID, TEXTOID, INT8OID};
	Datum		values[9];
	char		nulls[] = "         ";
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = Int64GetDatum(bad->partition);
	values[2] = Int64GetDatum(bad->offset);
	if (bad->key.data)
		values[3] = bytes_datum(&bad->key);
	else
		nulls[3] = 'n';
	if (bad->value.data)
		values[4] = bytes_datum(&bad->value);
	else
		nulls[4] = 'n';
	if (bad->column)
		values[5] = CStringGetTextDatum(bad->column);
	else
		nulls[5] = 'n';
	values[6] = CStringGetTextDatum(unpack_sql_state(bad->sqlerrcode));
	values[7] = CStringGetTextDatum(bad->message);
	values[8] = Int64GetDatum(bad->blocked_by);
	if (bad->blocked_by < 0)
		nulls[8] = 'n';
	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("INSERT INTO cdcsync.quarantine (pipeline, kafka_partition, kafka_offset, "
				"kafka_key, kafka_value, column_name, sqlstate, message, blocked_by) "
				"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
				9, types, values, nulls, 0);
	cdc_spi_end(&spi);
}

void
cdc_quarantine_write(const CdcPipeline *pipeline, CdcRank *rank,
					 int64 first, int64 last)
{
	MemoryContext record = AllocSetContextCreate(CurrentMemoryContext,
												 "cdcsync quarantine",
												 ALLOCSET_DEFAULT_SIZES);

	qsort(rank->bad + first, last - first, sizeof(CdcBadRecord), compare_bad);
	for (int64 i = first; i < last; i++)
	{
		CdcBadRecord *bad = &rank->bad[i];
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		/* both halves of a key change can fail: one row tells it */
		if (i > first && compare_bad(bad, bad - 1) == 0)
			continue;
		old = MemoryContextSwitchTo(record);
		if (!bad->has_bytes)
			read_bytes(pipeline, bad);
		insert_bad(pipeline, bad);
		MemoryContextSwitchTo(old);
		MemoryContextReset(record);
	}
	MemoryContextDelete(record);
}

static bool
same_reason(const CdcBadRecord *a, const CdcBadRecord *b)
{
	if (a->sqlerrcode != b->sqlerrcode)
		return false;
	if (a->column == NULL || b->column == NULL)
		return a->column == b->column;
	return strcmp(a->column, b->column) == 0;
}

/* Are the first records of the window all bad, and for one reason? */
static bool
first_all_bad(const CdcRank *rank)
{
	int64		first = Min(FIRST_RECORDS, rank->ordinal);
	bool		seen[FIRST_RECORDS] = {false};
	const CdcBadRecord *reason = NULL;
	int64		n = 0;

	for (int64 i = 0; i < rank->nbad; i++)
	{
		const CdcBadRecord *bad = &rank->bad[i];

		if (bad->ordinal > first || bad->ordinal < 1 || seen[bad->ordinal - 1])
			continue;
		if (reason && !same_reason(reason, bad))
			return false;
		reason = bad;
		seen[bad->ordinal - 1] = true;
		n++;
	}
	return n > 0 && n == first;
}

char *
cdc_quarantine_breaker(const CdcPipeline *pipeline, const CdcRank *rank,
					   bool first)
{
	const CdcBadRecord *bad = rank->bad;

	if (rank->nbad == 0 || pipeline->max_quarantine_share >= 1)
		return NULL;
	if (first && first_all_bad(rank))
		return psprintf("the first records are all bad: %s%s%s%s", bad->message,
						bad->column ? " (column \"" : "",
						bad->column ? bad->column : "", bad->column ? "\")" : "");
	if (rank->nbad > pipeline->max_quarantine_share * Max(rank->ordinal, SHARE_RECORDS))
		return psprintf(INT64_FORMAT " of " INT64_FORMAT " records are bad, more than the share of %g that \"max_quarantine_share\" allows; the first: %s",
						rank->nbad, rank->ordinal, pipeline->max_quarantine_share,
						bad->message);
	return NULL;
}
