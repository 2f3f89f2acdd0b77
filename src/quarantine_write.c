/*-------------------------------------------------------------------------
 *
 * quarantine_write.c
 *	  Bad records of a window -> rows of cdcsync.quarantine.
 *
 * Written as the catalog's owner, in the transaction of the sync, under its lock
 * on the staging table.  The bytes of a record come from the window or, for
 * records that failed after ranking, once more from landing, which is read as the
 * current user.  A record that is tried again keeps its row, and so its bytes and
 * the time: the landing may know nothing of it any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "quarantine.h"

static int
compare_bad(const void *a, const void *b)
{
	const CdcOrigin *x = &((const CdcBadRecord *) a)->at;
	const CdcOrigin *y = &((const CdcBadRecord *) b)->at;
	int			cmp = cdc_origin_compare(x, y);

	return cmp != 0 ? cmp : (int) y->old_key - (int) x->old_key;
}

/* The same, and of one record that was noted twice the reason before the rest. */
static int
compare_written(const void *a, const void *b)
{
	int			cmp = compare_bad(a, b);
	bool		x = ((const CdcBadRecord *) a)->blocked_by >= 0;
	bool		y = ((const CdcBadRecord *) b)->blocked_by >= 0;

	return cmp != 0 ? cmp : (int) x - (int) y;
}

/* Reads records of the landing, one after the other in their order. */
typedef struct Reader
{
	const CdcLanding *landing;
	CdcLandingScan *scan;		/* NULL: none yet */
	const CdcChunk *chunk;		/* the last one, or NULL */
} Reader;

static int
find_offset(const CdcChunk *chunk, const CdcOrigin *at)
{
	if (chunk == NULL || chunk->partition != at->partition || chunk->epoch != at->epoch)
		return -1;
	for (int i = chunk->first; i < chunk->nrecords; i++)
		if (cdc_chunk_offset(chunk, i) == at->offset)
			return i;
	return -1;
}

/* The bytes of a bad record; they are valid until the next one is read. */
static void
read_bytes(Reader *reader, const CdcOrigin *at, CdcRecordBytes *bytes)
{
	int			i = find_offset(reader->chunk, at);
	const CdcChunk *chunk;

	memset(bytes, 0, sizeof(*bytes));
	bytes->timestamp = bytes->refresh_time = DT_NOBEGIN;
	if (i < 0)
	{
		if (reader->scan == NULL)
			reader->scan = cdc_landing_scan_begin(reader->landing, at->partition,
												  at->epoch, at->offset);
		else
			cdc_landing_scan_move(reader->scan, at->partition, at->epoch, at->offset);
		reader->chunk = cdc_landing_scan_next(reader->scan);
		i = find_offset(reader->chunk, at);
	}
	if (i < 0)
		return;
	chunk = reader->chunk;
	bytes->key = chunk->keys[i];
	bytes->value = chunk->values[i];
	bytes->headers = cdc_chunk_headers(chunk, i);
	if (chunk->timestamps)
		bytes->timestamp = chunk->timestamps[i];
	bytes->refresh_time = chunk->refresh_time;
}

static Datum
text_or_null(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static Datum
bytes_or_null(const CdcBytes *bytes, char *null)
{
	*null = bytes->data ? ' ' : 'n';
	return bytes->data ? cdc_bytea(*bytes) : (Datum) 0;
}

/* Is there time left for others to let the record pass? */
static bool
still_waits(const CdcPipeline *pipeline, const CdcBadRecord *bad)
{
	return cdc_quarantine_may_wait(bad) &&
		(bad->at.since == 0 ? pipeline->constraint_wait > 0 :
		 GetCurrentTimestamp() - bad->at.since < pipeline->constraint_wait);
}

#define NREASONS	10

/* Where a record stands, and what is wrong with it. */
static void
fill_reason(const CdcPipeline *pipeline, const CdcBadRecord *bad, Datum *values, char *nulls)
{
	const char *state = bad->blocked_by >= 0 ? "blocked" :
	still_waits(pipeline, bad) ? "waiting" : "bad";

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = Int64GetDatum(bad->at.partition);
	values[2] = Int32GetDatum(bad->at.epoch);
	values[3] = Int64GetDatum(bad->at.offset);
	values[4] = BoolGetDatum(bad->at.old_key);
	values[5] = text_or_null(bad->column, &nulls[5]);
	values[6] = CStringGetTextDatum(unpack_sql_state(bad->sqlerrcode));
	values[7] = CStringGetTextDatum(bad->message);
	values[8] = Int64GetDatum(bad->blocked_by);
	nulls[8] = bad->blocked_by < 0 ? 'n' : ' ';
	values[9] = CStringGetTextDatum(state);
}

/* It was tried again, and is bad again. */
static void
update_bad(const CdcPipeline *pipeline, const CdcBadRecord *bad)
{
	static const Oid types[NREASONS] = {TEXTOID, INT8OID, INT4OID, INT8OID, BOOLOID, TEXTOID,
	TEXTOID, TEXTOID, INT8OID, TEXTOID};
	static CdcPlan plan = {
		.sql = "UPDATE cdcsync.quarantine SET column_name = $6, sqlstate = $7, message = $8, "
		"blocked_by = $9, state = $10 WHERE pipeline = $1 AND kafka_partition = $2 "
		"AND epoch = $3 AND kafka_offset = $4 AND old_key = $5",
		.nargs = NREASONS,
		.types = types
	};
	Datum		values[NREASONS];
	char		nulls[] = "          ";
	CdcSpi		spi;

	fill_reason(pipeline, bad, values, nulls);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run_plan(&plan, values, nulls);
	cdc_spi_end(&spi);
}

#define NVALUES		19

static void
insert_bad(const CdcPipeline *pipeline, CdcRank *rank, int32 type, const CdcBadRecord *bad,
		   const CdcRecordBytes *bytes)
{
	static const Oid types[NVALUES] = {TEXTOID, INT8OID, INT4OID, INT8OID, BOOLOID, TEXTOID,
		TEXTOID, TEXTOID, INT8OID, TEXTOID, BYTEAOID, BYTEAOID, JSONBOID, TIMESTAMPOID,
	TIMESTAMPOID, TEXTOID, INT8OID, INT4OID, INT8OID};
	static CdcPlan plan = {
		.sql = "INSERT INTO cdcsync.quarantine (pipeline, kafka_partition, epoch, kafka_offset, "
		"old_key, column_name, sqlstate, message, blocked_by, state, kafka_key, kafka_value, "
		"kafka_headers, kafka_timestamp, refresh_time, source_position, source_ts_ms, key_type, "
		"key_hash, tried_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
		"$14, $15, $16, $17, $18, $19, clock_timestamp())",
		.nargs = NVALUES,
		.types = types
	};
	Datum		values[NVALUES];
	char		nulls[] = "                   ";
	char		text[CDC_POSITION_TEXT];
	CdcPosition position;
	int64		source_ts_ms;
	CdcSpi		spi;

	cdc_rank_record_position(rank, bytes, &position, &source_ts_ms);
	cdc_position_print(&position, text);
	fill_reason(pipeline, bad, values, nulls);
	values[10] = bytes_or_null(&bytes->key, &nulls[10]);
	values[11] = bytes_or_null(&bytes->value, &nulls[11]);
	values[12] = JsonbPGetDatum(bytes->headers);
	nulls[12] = bytes->headers ? ' ' : 'n';
	values[13] = TimestampGetDatum(bytes->timestamp);
	nulls[13] = bytes->timestamp == DT_NOBEGIN ? 'n' : ' ';
	values[14] = TimestampGetDatum(bytes->refresh_time);
	nulls[14] = bytes->refresh_time == DT_NOBEGIN ? 'n' : ' ';
	values[15] = text_or_null(position.kind == CDC_POSITION_NONE ? NULL : text, &nulls[15]);
	values[16] = Int64GetDatum(source_ts_ms);
	nulls[16] = source_ts_ms == 0 ? 'n' : ' ';
	values[17] = Int32GetDatum(type);
	values[18] = Int64GetDatum((int64) bad->key_hash);
	nulls[18] = bad->has_key ? ' ' : 'n';
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run_plan(&plan, values, nulls);
	cdc_spi_end(&spi);
}

void
cdc_quarantine_write(const CdcPipeline *pipeline, CdcRank *rank,
					 int64 first, int64 last)
{
	MemoryContext record = AllocSetContextCreate(CurrentMemoryContext,
												 "cdcsync quarantine",
												 ALLOCSET_DEFAULT_SIZES);
	Reader		reader = {.landing = pipeline->landing};
	int32		type = first < last ? cdc_quarantine_key_type(pipeline, rank->target) : 0;

	qsort(rank->bad + first, last - first, sizeof(CdcBadRecord), compare_written);
	for (int64 i = first; i < last; i++)
	{
		CdcBadRecord *bad = &rank->bad[i];
		CdcRecordBytes bytes;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (i > first && compare_bad(bad, bad - 1) == 0)
			continue;
		if (bad->at.since == 0 && bad->bytes == NULL)
			read_bytes(&reader, &bad->at, &bytes);
		else if (bad->at.since == 0)
			bytes = *bad->bytes;
		old = MemoryContextSwitchTo(record);
		if (bad->at.since != 0)
			update_bad(pipeline, bad);
		else
			insert_bad(pipeline, rank, type, bad, &bytes);
		MemoryContextSwitchTo(old);
		MemoryContextReset(record);
	}
	if (reader.scan)
		cdc_landing_scan_end(reader.scan);
	MemoryContextDelete(record);
}
