/*-------------------------------------------------------------------------
 *
 * quarantine.c
 *	  Records that could not be decoded or applied.
 *
 * Rows of cdcsync.quarantine are written as the catalog's owner, in the
 * transaction of the sync.  The bytes of a record come from the window or, for
 * records that failed after ranking, once more from landing, which is read as
 * the landing's owner.  Of a record that was in quarantine before, the landing
 * may know nothing any more: it keeps its bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "evidence.h"
#include "quarantine.h"

/* So many of the first records, all bad for one reason, stop a pipeline. */
#define FIRST_RECORDS	20

/* Below this many records a share says nothing. */
#define SHARE_RECORDS	100

bool
cdc_quarantine_any(const char *pipeline)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT FROM cdcsync.quarantine WHERE pipeline = $1 LIMIT 1",
		.nargs = 1,
		.types = types
	};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	bool		any;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run_plan(&plan, values, NULL) > 0;
	cdc_spi_end(&spi);
	return any;
}

void
cdc_quarantine_reread(const char *pipeline, int64 partition, int32 epoch,
					  int64 offset)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(partition),
	Int32GetDatum(epoch), Int64GetDatum(offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				"AND kafka_partition = $2 AND (epoch, kafka_offset) >= ($3, $4)",
				4, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_quarantine_truncate(const char *pipeline, int32 epoch, int64 offset)
{
	Oid			types[] = {TEXTOID, INT4OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int32GetDatum(epoch),
	Int64GetDatum(offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				"AND (epoch, kafka_offset) < ($2, $3)",
				3, types, values, NULL, 0);
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

static ArrayType *
int8_array(int64 n, const int64 *values)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int64 i = 0; i < n; i++)
		elems[i] = Int64GetDatum(values[i]);
	return construct_array(elems, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/* Winners that are asked for at a time. */
#define FIND_BATCH	10000

static void
find_batch(const char *pipeline, int n, CdcWinner *const *winners, int64 *blocked)
{
	Datum	   *keys = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc0(sizeof(bool) * n);
	int64	   *partitions = palloc(sizeof(int64) * n);
	int64	   *epochs = palloc(sizeof(int64) * n);
	int64	   *offsets = palloc(sizeof(int64) * n);
	int			lbound = 1;
	Oid			types[] = {TEXTOID, BYTEAARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID};
	Datum		values[5];
	CdcSpi		spi;
	uint64		found;

	for (int i = 0; i < n; i++)
	{
		blocked[i] = -1;
		nulls[i] = winners[i]->kafka_key.data == NULL;
		keys[i] = nulls[i] ? (Datum) 0 : bytes_datum(&winners[i]->kafka_key);
		partitions[i] = winners[i]->last.partition;
		epochs[i] = winners[i]->last.epoch;
		offsets[i] = winners[i]->last.offset;
	}
	values[0] = CStringGetTextDatum(pipeline);
	values[1] = PointerGetDatum(construct_md_array(keys, nulls, 1, &n, &lbound,
												   BYTEAOID, -1, false, TYPALIGN_INT));
	values[2] = PointerGetDatum(int8_array(n, partitions));
	values[3] = PointerGetDatum(int8_array(n, epochs));
	values[4] = PointerGetDatum(int8_array(n, offsets));
	cdc_spi_begin_catalog(&spi);
	found = cdc_spi_run("SELECT DISTINCT ON (w.no) w.no, q.kafka_offset "
						"FROM unnest($2, $3, $4, $5) WITH ORDINALITY w(key, partition, epoch, \"offset\", no) "
						"JOIN cdcsync.quarantine q ON q.pipeline = $1 "
						"AND md5(q.kafka_key) = md5(w.key) AND q.kafka_key = w.key "
						"AND q.kafka_partition = w.partition AND (q.epoch, q.kafka_offset) < (w.epoch, w.\"offset\") "
						"ORDER BY w.no, q.epoch DESC, q.kafka_offset DESC", 5, types, values, NULL, 0);
	for (uint64 i = 0; i < found; i++)
	{
		bool		isnull;
		int64		no = DatumGetInt64(cdc_spi_value(i, 1, &isnull));

		blocked[no - 1] = DatumGetInt64(cdc_spi_value(i, 2, &isnull));
	}
	cdc_spi_end(&spi);
}

void
cdc_quarantine_find(const char *pipeline, int64 nwinners,
					CdcWinner *const *winners, int64 *blocked)
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext,
												"cdcsync quarantine",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(batch);

	for (int64 i = 0; i < nwinners; i += FIND_BATCH)
	{
		CHECK_FOR_INTERRUPTS();
		find_batch(pipeline, Min(FIND_BATCH, nwinners - i), winners + i, blocked + i);
		MemoryContextReset(batch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
}

void
cdc_quarantine_supersede(const char *pipeline, const CdcWinner *winner)
{
	Oid			types[] = {TEXTOID, BYTEAOID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), bytes_datum(&winner->kafka_key),
	Int64GetDatum(winner->last.partition), Int32GetDatum(winner->last.epoch),
	Int64GetDatum(winner->last.offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				"AND md5(kafka_key) = md5($2) AND kafka_key = $2 "
				"AND kafka_partition = $3 AND (epoch, kafka_offset) < ($4, $5)",
				5, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/*
 * Records that may pass now: those that waited for evidence of their encoding,
 * which has come, and those that another pipeline or partition may yet let pass:
 * a value that is taken still, a row that is referenced and has not come.  These
 * for so long, and so many at a time.
 */
#define WAITING(q) \
	"(" CDC_EVIDENCE_CAME(q) " OR " \
	q ".pipeline = $1 AND " q ".sqlstate IN ('23505', '23503', '23P01') " \
	"AND " q ".blocked_by IS NULL AND " q ".quarantined_at > now() - interval '10 minutes' " \
	/* else its bytes are lost, and it would vanish */ \
	"AND (" q ".kafka_key IS NOT NULL OR " q ".kafka_value IS NOT NULL))"

bool
cdc_quarantine_waiting(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	bool		any;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine q WHERE " WAITING("q") " LIMIT 1",
					  1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return any;
}

/* A bytea column of the result as bytes, copied into the current context. */
static CdcBytes
result_bytes(uint64 row, int column)
{
	CdcBytes	bytes = {NULL, 0};
	bool		isnull;
	Datum		d = cdc_spi_value(row, column, &isnull);

	if (!isnull)
	{
		bytea	   *b = DatumGetByteaPCopy(d);

		bytes.data = VARDATA(b);
		bytes.len = VARSIZE(b) - VARHDRSZ;
	}
	return bytes;
}

void
cdc_quarantine_retry(const char *pipeline, CdcRank *rank)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	uint64		n;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("WITH waiting AS (SELECT q.kafka_partition, q.epoch, q.kafka_offset, q.kafka_key FROM cdcsync.quarantine q "
					"WHERE " WAITING("q") " ORDER BY q.quarantined_at LIMIT 1000), "
					"taken AS (DELETE FROM cdcsync.quarantine q USING waiting w "
					"WHERE q.pipeline = $1 AND q.kafka_partition = w.kafka_partition "
					"AND (w.epoch = q.epoch AND w.kafka_offset = q.kafka_offset "
					/* it may wait for a record of an earlier epoch */
					"OR w.epoch <= q.epoch AND w.kafka_offset = q.blocked_by AND w.kafka_key IS NOT DISTINCT FROM q.kafka_key) "
					"RETURNING q.*) "
					"SELECT kafka_partition, epoch, kafka_offset, kafka_key, kafka_value, quarantined_at "
					"FROM taken ORDER BY kafka_partition, epoch, kafka_offset",
					1, types, values, NULL, 0);
	for (uint64 row = 0; row < n; row++)
	{
		bool		isnull;
		CdcBytes	key = result_bytes(row, 4);
		CdcBytes	value = result_bytes(row, 5);
		CdcChunk	chunk = {
			.partition = DatumGetInt64(cdc_spi_value(row, 1, &isnull)),
			.epoch = DatumGetInt32(cdc_spi_value(row, 2, &isnull)),
			.first_offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull)),
			.nrecords = 1,
			.keys = &key,
			.values = &value,
			.refresh_time = GetCurrentTimestamp(),
		};
		TimestampTz since = DatumGetTimestampTz(cdc_spi_value(row, 6, &isnull));

		chunk.last_offset = chunk.first_offset;
		CHECK_FOR_INTERRUPTS();
		cdc_rank_again(rank, &chunk, since);
	}
	cdc_spi_end(&spi);
}

static int
compare_bad(const void *a, const void *b)
{
	const CdcBadRecord *x = a;
	const CdcBadRecord *y = b;

	if (x->at.partition != y->at.partition)
		return x->at.partition < y->at.partition ? -1 : 1;
	if (x->at.epoch != y->at.epoch)
		return x->at.epoch < y->at.epoch ? -1 : 1;
	if (x->at.offset != y->at.offset)
		return x->at.offset < y->at.offset ? -1 : 1;
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

static int
compare_cells(const void *a, const void *b)
{
	return compare_bad(lfirst((const ListCell *) a), lfirst((const ListCell *) b));
}

/* The bytes of a record that was in quarantine before. */
static bool
retried_bytes(const CdcRank *rank, CdcBadRecord *bad)
{
	ListCell	key = {.ptr_value = bad};
	ListCell   *found = NULL;

	if (rank->retried != NIL)
		found = bsearch(&key, rank->retried->elements, list_length(rank->retried),
						sizeof(ListCell), compare_cells);
	if (found == NULL)
		return false;
	bad->key = ((CdcBadRecord *) lfirst(found))->key;
	bad->value = ((CdcBadRecord *) lfirst(found))->value;
	return bad->has_bytes = true;
}

/* Read the bytes of a bad record from landing, into the current context. */
static void
read_bytes(const CdcPipeline *pipeline, CdcBadRecord *bad)
{
	CdcLandingScan *scan = cdc_landing_scan_begin(pipeline->landing, bad->at.partition,
												  bad->at.epoch, bad->at.offset);
	const CdcChunk *chunk = cdc_landing_scan_next(scan);
	int			i = chunk ? find_offset(chunk, bad->at.offset) : -1;

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
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID, BYTEAOID, BYTEAOID, TEXTOID,
	TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID};
	Datum		values[11];
	char		nulls[] = "           ";
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = Int64GetDatum(bad->at.partition);
	values[2] = Int32GetDatum(bad->at.epoch);
	values[3] = Int64GetDatum(bad->at.offset);
	if (bad->key.data)
		values[4] = bytes_datum(&bad->key);
	else
		nulls[4] = 'n';
	if (bad->value.data)
		values[5] = bytes_datum(&bad->value);
	else
		nulls[5] = 'n';
	if (bad->column)
		values[6] = CStringGetTextDatum(bad->column);
	else
		nulls[6] = 'n';
	values[7] = CStringGetTextDatum(unpack_sql_state(bad->sqlerrcode));
	values[8] = CStringGetTextDatum(bad->message);
	values[9] = Int64GetDatum(bad->blocked_by);
	if (bad->blocked_by < 0)
		nulls[9] = 'n';
	values[10] = TimestampTzGetDatum(bad->at.since);
	if (bad->at.since == 0)
		nulls[10] = 'n';
	cdc_spi_begin_catalog(&spi);
	cdc_spi_run("INSERT INTO cdcsync.quarantine (pipeline, kafka_partition, epoch, kafka_offset, "
				"kafka_key, kafka_value, column_name, sqlstate, message, blocked_by, quarantined_at) "
				"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, now()))",
				11, types, values, nulls, 0);
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
		if (!bad->has_bytes && !retried_bytes(rank, bad))
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

		if (bad->at.ordinal > first || bad->at.ordinal < 1 || seen[bad->at.ordinal - 1])
			continue;
		if (bad->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION)
			return false;		/* it waits for another pipeline */
		if (reason && !same_reason(reason, bad))
			return false;
		reason = bad;
		seen[bad->at.ordinal - 1] = true;
		n++;
	}
	return n > 0 && n == first;
}

int64
cdc_quarantine_limit(const CdcPipeline *pipeline, const CdcRank *rank)
{
	if (pipeline->max_quarantine_share >= 1)
		return PG_INT64_MAX;
	return (int64) (pipeline->max_quarantine_share * Max(rank->ordinal - rank->again, SHARE_RECORDS));
}

const CdcBadRecord *
cdc_quarantine_new(const CdcRank *rank, int64 *n)
{
	const CdcBadRecord *first = NULL;

	*n = 0;
	for (int64 i = 0; i < rank->nbad; i++)
	{
		if (rank->bad[i].at.since != 0)
			continue;
		if (first == NULL)
			first = &rank->bad[i];
		(*n)++;
	}
	return first;
}

char *
cdc_quarantine_breaker(const CdcPipeline *pipeline, const CdcRank *rank,
					   bool first)
{
	int64		nbad;
	const CdcBadRecord *bad = cdc_quarantine_new(rank, &nbad);

	if (bad == NULL || pipeline->max_quarantine_share >= 1)
		return NULL;
	if (first && first_all_bad(rank))
		return psprintf("the first records are all bad: %s%s%s%s", bad->message,
						bad->column ? " (column \"" : "",
						bad->column ? bad->column : "", bad->column ? "\")" : "");
	if (nbad > cdc_quarantine_limit(pipeline, rank))
		return psprintf(INT64_FORMAT " of " INT64_FORMAT " records are bad, more than the share of %g that \"max_quarantine_share\" allows; the first: %s",
						nbad, rank->ordinal - rank->again, pipeline->max_quarantine_share,
						bad->message);
	return NULL;
}
