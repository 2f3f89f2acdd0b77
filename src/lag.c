/*-------------------------------------------------------------------------
 *
 * lag.c
 *	  How far the target of a pipeline is behind its topic.
 *
 * Positions and watermarks tell it, of all pipelines in one query; where they
 * are equal nothing else is looked at, so that a thousand idle pipelines are
 * cheap.  Otherwise the first record that is not in the target is looked for, and
 * decoded, as the time when the source made it is what a target is behind.
 *
 * The end of a log is known from whoever saw it last: the worker that reads
 * the topic, from shared memory, or the last refresh, from the catalog.
 *
 * Runs in the caller's transaction, also on a standby.  A chunk table is read as
 * the landing's owner, in a subtransaction that is rolled back: its lock is not
 * kept, and whatever the owner has made of it harms nobody else.  If the lock is
 * not to be had at once the table is left alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "catalog.h"
#include "envelope.h"
#include "lag.h"
#include "landing.h"
#include "shmem.h"

/* A time of the source that is no time: 1970 and the year 10000, in ms. */
#define TOO_EARLY	INT64CONST(0)
#define TOO_LATE	INT64CONST(253402300800000)

/* ----------
 * The catalog
 * ----------
 */
static TimestampTz
time_column(uint64 row, int column)
{
	bool		isnull;
	Datum		value = cdc_spi_value(row, column, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

static int64
bigint_column(uint64 row, int column, bool *found)
{
	bool		isnull;
	Datum		value = cdc_spi_value(row, column, &isnull);

	if (found)
		*found = !isnull;
	return isnull ? 0 : DatumGetInt64(value);
}

static TimestampTz
source_time(int64 ms)
{
	if (ms <= TOO_EARLY || ms >= TOO_LATE)
		return DT_NOBEGIN;
	return ms * 1000 -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static void
read_row(uint64 row, CdcLag *lag)
{
	memset(lag, 0, sizeof(*lag));
	lag->partition = bigint_column(row, 2, NULL);
	lag->epoch = bigint_column(row, 3, NULL);
	lag->position = bigint_column(row, 4, NULL);
	lag->end = bigint_column(row, 5, &lag->has_end);
	lag->end_seen_at = time_column(row, 6);
	lag->was_at_end_at = lag->end <= lag->position ? lag->end_seen_at : DT_NOBEGIN;
	lag->watermark_epoch = bigint_column(row, 7, &lag->has_watermark);
	lag->watermark = bigint_column(row, 8, NULL);
	lag->applied_at = source_time(bigint_column(row, 9, NULL));
	/* without a position in the source, when it landed is the nearest thing */
	if (lag->applied_at == DT_NOBEGIN)
		lag->applied_at = time_column(row, 10);
	lag->events = bigint_column(row, 11, NULL);
	lag->resent = bigint_column(row, 12, NULL);
	lag->passed = bigint_column(row, 13, NULL);
	lag->synced_at = time_column(row, 14);
}

/* Names of the pipelines as an array. */
static Datum
name_array(CdcLagPipeline **pipelines, int n)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		names[i] = CStringGetTextDatum(pipelines[i]->name);
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The rows from *row on that are of this pipeline. */
static void
take_rows(CdcLagPipeline *pipeline, uint64 *row, uint64 nrows, MemoryContext context)
{
	uint64		first = *row;
	bool		isnull;

	while (*row < nrows &&
		   strcmp(TextDatumGetCString(cdc_spi_value(*row, 1, &isnull)), pipeline->name) == 0)
		(*row)++;
	pipeline->nlags = *row - first;
	pipeline->lags = MemoryContextAlloc(context, sizeof(CdcLag) * Max(pipeline->nlags, 1));
	for (int i = 0; i < pipeline->nlags; i++)
		read_row(first + i, &pipeline->lags[i]);
}

static void
read_catalog(CdcLagPipeline **pipelines, int n)
{
	static const Oid types[] = {TEXTARRAYOID};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[] = {name_array(pipelines, n)};
	uint64		row = 0;
	uint64		nrows;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run("SELECT p.name, o.kafka_partition, o.epoch::bigint, o.next_offset,"
						" o.high_offset, o.refreshed_at, w.epoch::bigint, w.next_offset,"
						" w.source_ts_ms, w.refresh_time AT TIME ZONE 'UTC', w.events, w.resent,"
						" w.passed, w.synced_at"
						" FROM cdcsync.pipeline p JOIN cdcsync.position o USING (landing_id)"
						" LEFT JOIN cdcsync.watermark w"
						"  ON w.pipeline = p.name AND w.kafka_partition = o.kafka_partition"
						" WHERE p.name = ANY ($1)"
						" ORDER BY p.name COLLATE \"C\", o.kafka_partition",
						1, types, values, NULL, 0);
	for (int i = 0; i < n; i++)
		take_rows(pipelines[i], &row, nrows, context);
	cdc_spi_end(&spi);
}

/* ----------
 * Shared memory
 * ----------
 */

/* The worker that reads the topic may know more of its end. */
static void
look_at_shared(const CdcLagPipeline *pipeline, CdcLag *lag)
{
	CdcPartitionKey key;
	CdcSharedPartition *shared;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.landing = pipeline->landing;
	key.partition = lag->partition;
	shared = cdc_shared_find(CDC_SHARED_PARTITION, &key, false);
	if (shared == NULL)
		return;
	if (shared->seen_at > lag->end_seen_at)
	{
		lag->has_end = true;
		lag->end = shared->end_offset;
		lag->end_seen_at = shared->seen_at;
		if (lag->end <= lag->position)
			lag->was_at_end_at = lag->end_seen_at;
	}
	cdc_shared_release(CDC_SHARED_PARTITION, shared);
}

/* ----------
 * What has landed and is not in the target
 * ----------
 */

/* Is it possible that something has? */
static bool
may_wait(const CdcLag *lag)
{
	if (!lag->has_watermark)
		return lag->epoch > 0 || lag->position > 0;
	return lag->watermark_epoch < lag->epoch ||
		(lag->watermark_epoch == lag->epoch && lag->watermark < lag->position);
}

/* When the source made the change; else when somebody handled the record. */
static TimestampTz
record_time(const CdcChunk *chunk, int i)
{
	static CdcDecoder *decoder = NULL;
	TimestampTz time = DT_NOBEGIN;
	CdcChange	change;
	CdcDecodeError error;

	if (decoder == NULL)
		decoder = cdc_decoder_create(NULL, 0, NULL, 0, NULL);
	if (decoder && chunk->values[i].data &&
		cdc_decode_value(decoder, chunk->values[i].data, chunk->values[i].len, &change, &error))
	{
		if (change.has_source_ts_ms)
			time = source_time(change.source_ts_ms);
		if (time == DT_NOBEGIN && change.has_ts_ms)
			time = source_time(change.ts_ms);
	}
	/* both are times in UTC */
	if (time == DT_NOBEGIN)
		time = chunk->timestamps[i];
	if (time == DT_NOBEGIN)
		time = chunk->refresh_time;
	return time;
}

/*
 * Find the first record of the partition that is not in the target; returns how
 * much of the present epoch has landed from it on.
 */
static int64
find_first(CdcLandingScan **scan, const CdcLanding *landing, CdcLag *lag)
{
	int32		epoch = lag->has_watermark ? lag->watermark_epoch : 0;
	int64		from = lag->has_watermark ? lag->watermark : 0;
	int64		landed = 0;

	for (; epoch <= lag->epoch; epoch++, from = 0)
	{
		const CdcChunk *chunk;

		CHECK_FOR_INTERRUPTS();
		/* the first one is known; what is left is where this epoch begins */
		if (lag->since != DT_NOBEGIN)
			epoch = lag->epoch;
		if (*scan)
			cdc_landing_scan_move(*scan, lag->partition, epoch, from);
		else
			*scan = cdc_landing_scan_begin(landing, lag->partition, epoch, from);
		chunk = cdc_landing_scan_next(*scan);
		if (chunk == NULL || chunk->first >= chunk->nrecords)
			continue;
		if (lag->since == DT_NOBEGIN)
			lag->since = record_time(chunk, chunk->first);
		if (epoch == lag->epoch)
			landed = lag->position - cdc_chunk_offset(chunk, chunk->first);
	}
	return landed;
}

/* The landed rest of earlier epochs. */
static int64
count_earlier(const CdcLanding *landing, const CdcLag *lag)
{
	static const Oid types[] = {INT8OID, INT4OID, INT4OID, INT8OID};
	Datum		values[] = {
		Int64GetDatum(lag->partition), Int32GetDatum(lag->epoch),
		Int32GetDatum(lag->has_watermark ? lag->watermark_epoch : 0),
		Int64GetDatum(lag->watermark)
	};

	(void) cdc_spi_run(psprintf("SELECT coalesce(sum(last_offset + 1"
								" - CASE WHEN epoch = $3 THEN greatest(first_offset, $4)"
								"   ELSE first_offset END), 0)::bigint"
								" FROM %s WHERE kafka_partition = $1 AND epoch < $2"
								" AND (epoch > $3 OR epoch = $3 AND last_offset >= $4)",
								cdc_qualified_name(landing->chunk)),
					   4, types, values, NULL, 1);
	return bigint_column(0, 1, NULL);
}

/* Always false: nothing is to stay of it. */
static bool
look_at_chunks(void *arg)
{
	CdcLagPipeline *pipeline = arg;
	CdcLanding	landing = {.id = pipeline->landing,.chunk = pipeline->chunk};
	CdcLandingScan *scan = NULL;
	CdcSpi		spi;

	if (!ConditionalLockRelationOid(pipeline->chunk, AccessShareLock) ||
		get_rel_name(pipeline->chunk) == NULL)
		return false;
	cdc_spi_begin_as(&spi, pipeline->landing_owner, NULL);
	for (int i = 0; i < pipeline->nlags; i++)
	{
		CdcLag	   *lag = &pipeline->lags[i];
		int64		landed;

		if (!may_wait(lag))
			continue;
		landed = find_first(&scan, &landing, lag);
		if (lag->epoch > (lag->has_watermark ? lag->watermark_epoch : 0))
			landed += count_earlier(&landing, lag);
		lag->landed = landed;
		/* offsets at the end may hold no record */
		if (lag->since == DT_NOBEGIN)
			lag->since = DT_NOEND;
	}
	if (scan)
		cdc_landing_scan_end(scan);
	cdc_spi_end(&spi);
	return false;
}

/* What is wrong with somebody's chunk table is not the caller's business. */
static bool
is_no_matter(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION;
}

/* ----------
 * Together
 * ----------
 */

/* What is known before the chunk table is looked at. */
static void
begin(const CdcLagPipeline *pipeline, CdcLag *lag)
{
	look_at_shared(pipeline, lag);
	lag->since = DT_NOEND;
	lag->landed = 0;
	if (!may_wait(lag))
		return;
	lag->since = DT_NOBEGIN;
	lag->landed = lag->has_watermark && lag->watermark_epoch == lag->epoch ?
		lag->position - lag->watermark : -1;
}

static void
finish(const CdcLagPipeline *pipeline, CdcLag *lag)
{
	int64		not_landed = lag->has_end ? Max(lag->end - lag->position, 0) : 0;

	lag->records = lag->landed < 0 ? -1 : lag->landed + not_landed;
	/* the chunk table could not be read */
	if (lag->since == DT_NOBEGIN)
		lag->since = lag->applied_at;
	if (lag->since != DT_NOEND || !(pipeline->has_topic || not_landed > 0))
		return;

	/*
	 * Nothing that has landed is missing.  A worker at the topic is about to
	 * land the rest, if there is any, which it saw when it saw the end; otherwise
	 * there may be changes since it had to leave off, or since the last time that
	 * all had landed.
	 */
	if (pipeline->unread_since == DT_NOEND)
		lag->since = not_landed > 0 ? lag->end_seen_at : DT_NOEND;
	else
		lag->since = Max(pipeline->unread_since, lag->was_at_end_at != DT_NOBEGIN ?
						 lag->was_at_end_at : lag->applied_at);
}

static void
measure(CdcLagPipeline *pipeline)
{
	bool		look = false;
	ErrorData  *error;

	for (int i = 0; i < pipeline->nlags; i++)
	{
		begin(pipeline, &pipeline->lags[i]);
		look |= pipeline->lags[i].since == DT_NOBEGIN;
	}
	if (look)
		(void) cdc_attempt(look_at_chunks, pipeline, is_no_matter, &error);
	for (int i = 0; i < pipeline->nlags; i++)
		finish(pipeline, &pipeline->lags[i]);
}

void
cdc_lag_read(CdcLagPipeline **pipelines, int n)
{
	read_catalog(pipelines, n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		measure(pipelines[i]);
	}
}
