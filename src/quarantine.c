/*-------------------------------------------------------------------------
 *
 * quarantine.c
 *	  Records that could not be decoded or applied.
 *
 * They are rows of cdcsync.quarantine (quarantine_write.c writes them), which
 * wait until they are superseded, tried again or discarded: as the catalog's
 * owner, in the transaction of the sync, under its lock on the staging table.
 *
 * The row of the target that a record is about is known by a hash of its key, as
 * the key's types tell equality; where that cannot be told, by the bytes of the
 * record's own key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "evidence.h"
#include "quarantine.h"

/* Winners that are asked for, and records that are read, at a time. */
#define FIND_BATCH		10000
#define READ_BATCH		1000

static int64
run_for(const char *pipeline, const char *sql, int64 a, int64 b, int64 c)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(a),
	Int64GetDatum(b), Int64GetDatum(c)};
	int64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run(sql, 4, types, values, NULL, 0);
	cdc_spi_end(&spi);
	return n;
}

static void
delete_at(const char *pipeline, const CdcOrigin *at)
{
	(void) run_for(pipeline, "DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				   "AND kafka_partition = $2 AND epoch = $3 AND kafka_offset = $4",
				   at->partition, at->epoch, at->offset);
}

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

bool
cdc_quarantine_may_wait(const CdcBadRecord *bad)
{
	return bad->refused &&
		(bad->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION ||
		 bad->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
		 bad->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION ||
		 bad->sqlerrcode == ERRCODE_NO_DATA);
}

bool
cdc_quarantine_waiting(const char *pipeline, TimestampTz since)
{
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), TimestampTzGetDatum(since)};
	CdcSpi		spi;
	bool		any;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine q WHERE pipeline = $1 "
					  "AND (state = 'waiting' AND tried_at < $2 OR " CDC_EVIDENCE_CAME("q") ") LIMIT 1",
					  2, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return any;
}

void
cdc_quarantine_reread(const char *pipeline, int64 partition, int32 epoch,
					  int64 offset)
{
	(void) run_for(pipeline, "DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				   "AND kafka_partition = $2 AND (epoch, kafka_offset) >= ($3, $4)",
				   partition, epoch, offset);
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

/* ----------
 * Keys
 * ----------
 */

int32
cdc_quarantine_key_type(const CdcPipeline *pipeline, const CdcTarget *target)
{
	StringInfoData buf;
	int32		hash;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		appendStringInfo(&buf, "%s %s %u,", c->name,
						 format_type_extended(c->typid, c->typmod, FORMAT_TYPE_FORCE_QUALIFY),
						 c->collation);
	}
	if (pipeline->columns)
		appendStringInfoString(&buf, JsonbToCString(NULL, &pipeline->columns->root,
													VARSIZE(pipeline->columns)));
	hash = (int32) hash_bytes((unsigned char *) buf.data, buf.len);
	pfree(buf.data);
	return hash;
}

/* A record of the result, whose columns from first on are those of RECORD. */
#define RECORD \
	"kafka_partition, epoch, kafka_offset, old_key, quarantined_at, kafka_key, kafka_value, " \
	"kafka_headers, kafka_timestamp, refresh_time"

typedef struct Stored
{
	CdcOrigin	at;
	CdcRecordBytes bytes;
} Stored;

static void
read_stored(uint64 row, Stored *stored)
{
	bool		isnull;
	Datum		d;

	stored->at.partition = DatumGetInt64(cdc_spi_value(row, 1, &isnull));
	stored->at.epoch = DatumGetInt32(cdc_spi_value(row, 2, &isnull));
	stored->at.offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
	stored->at.old_key = DatumGetBool(cdc_spi_value(row, 4, &isnull));
	stored->at.since = DatumGetTimestampTz(cdc_spi_value(row, 5, &isnull));
	stored->bytes.key = result_bytes(row, 6);
	stored->bytes.value = result_bytes(row, 7);
	d = cdc_spi_value(row, 8, &isnull);
	stored->bytes.headers = isnull ? NULL : DatumGetJsonbPCopy(d);
	d = cdc_spi_value(row, 9, &isnull);
	stored->bytes.timestamp = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
	d = cdc_spi_value(row, 10, &isnull);
	stored->bytes.refresh_time = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
}

/*
 * The next records behind *after that meet the condition, which knows $2, in
 * their order; of a key change in one event the old key's half comes first.  In
 * the current context.
 */
static Stored *
read_batch(const char *pipeline, const char *condition, int32 arg,
		   const CdcOrigin *after, int max, int *n)
{
	Oid			types[] = {TEXTOID, INT4OID, INT8OID, INT4OID, INT8OID, BOOLOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int32GetDatum(arg),
		Int64GetDatum(after->partition), Int32GetDatum(after->epoch),
	Int64GetDatum(after->offset), BoolGetDatum(!after->old_key)};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Stored	   *batch;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	*n = (int) cdc_spi_run(psprintf("SELECT " RECORD " FROM cdcsync.quarantine WHERE pipeline = $1 AND %s "
									"AND (kafka_partition, epoch, kafka_offset, NOT old_key) > ($3, $4, $5, $6) "
									"ORDER BY kafka_partition, epoch, kafka_offset, NOT old_key LIMIT %d",
									condition, max),
						   6, types, values, NULL, 0);
	old = MemoryContextSwitchTo(context);
	batch = palloc(sizeof(Stored) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		read_stored(i, &batch[i]);
	MemoryContextSwitchTo(old);
	cdc_spi_end(&spi);
	return batch;
}

static const CdcOrigin before_all = {.partition = PG_INT64_MIN,.old_key = true};

typedef void (*StoredFunc) (const Stored *stored, void *arg);

/*
 * Call func for all records that meet the condition, in their order; memory is
 * that of a batch.
 */
static void
for_each_stored(const char *pipeline, const char *condition, int32 condition_arg,
				StoredFunc func, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "cdcsync quarantine",
												  ALLOCSET_DEFAULT_SIZES);
	CdcOrigin	after = before_all;
	int			n;

	do
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Stored	   *batch = read_batch(pipeline, condition, condition_arg, &after,
									   READ_BATCH, &n);

		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			func(&batch[i], arg);
		}
		if (n > 0)
			after = batch[n - 1].at;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	} while (n == READ_BATCH);
	MemoryContextDelete(context);
}

/* Store the hash of a record's key. */
static void
store_hash(const char *pipeline, const CdcOrigin *at, int32 type, bool known, uint64 hash)
{
	static const Oid types[] = {TEXTOID, INT8OID, INT4OID, INT8OID, BOOLOID, INT4OID, INT8OID};
	static CdcPlan plan = {
		.sql = "UPDATE cdcsync.quarantine SET key_type = $6, key_hash = $7 WHERE pipeline = $1 "
		"AND kafka_partition = $2 AND epoch = $3 AND kafka_offset = $4 AND old_key = $5",
		.nargs = 7,
		.types = types
	};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(at->partition),
		Int32GetDatum(at->epoch), Int64GetDatum(at->offset), BoolGetDatum(at->old_key),
	Int32GetDatum(type), Int64GetDatum((int64) hash)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run_plan(&plan, values, known ? "       " : "      n");
	cdc_spi_end(&spi);
}

typedef struct Rehash
{
	const char *pipeline;
	CdcRank    *rank;
	int32		type;			/* of the keys, as they are now */
} Rehash;

static void
rehash(const Stored *stored, void *arg)
{
	Rehash	   *r = arg;
	uint64		hash = 0;
	bool		known = cdc_rank_record_hash(r->rank, &stored->bytes,
											 stored->at.old_key, &hash);

	store_hash(r->pipeline, &stored->at, r->type, known, hash);
}

void
cdc_quarantine_rehash(const CdcPipeline *pipeline, CdcRank *rank, bool unknown)
{
	Rehash		r = {pipeline->name, rank, cdc_quarantine_key_type(pipeline, rank->target)};

	for_each_stored(pipeline->name, unknown ? "(key_type <> $2 OR key_hash IS NULL)" :
					"(key_type < $2 OR key_type > $2)", r.type, rehash, &r);
}

/* ----------
 * Winners and the records before them
 * ----------
 */

/*
 * Where and when the record that is row of the result was made, as far as it
 * tells.  Its columns first to first + 5 are partition, epoch, offset, position and
 * time of the source, Kafka's time.
 */
static CdcOrigin
result_origin(uint64 row, int first)
{
	CdcOrigin	at = {.kafka_timestamp = DT_NOBEGIN};
	bool		isnull;
	Datum		d;

	at.partition = DatumGetInt64(cdc_spi_value(row, first, &isnull));
	at.epoch = DatumGetInt32(cdc_spi_value(row, first + 1, &isnull));
	at.offset = DatumGetInt64(cdc_spi_value(row, first + 2, &isnull));
	d = cdc_spi_value(row, first + 3, &isnull);
	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &at.position);
	d = cdc_spi_value(row, first + 4, &isnull);
	at.source_ts_ms = isnull ? 0 : DatumGetInt64(d);
	d = cdc_spi_value(row, first + 5, &isnull);
	if (!isnull)
		at.kafka_timestamp = DatumGetTimestamp(d);
	return at;
}

/* Does the record that is row of the result come before the winner? */
static bool
is_before(uint64 row, const CdcWinner *w, CdcQuarantined *record)
{
	CdcOrigin	at = result_origin(row, 2);
	bool		isnull;

	record->partition = at.partition;
	record->epoch = at.epoch;
	record->offset = at.offset;
	record->old_key = DatumGetBool(cdc_spi_value(row, 8, &isnull));
	record->head = DatumGetInt64(cdc_spi_value(row, 9, &isnull));
	record->by_hash = DatumGetBool(cdc_spi_value(row, 10, &isnull));
	return cdc_origin_older(&at, &w->last);
}

/* Arguments of the query for n winners, in the current context. */
static void
find_args(const CdcPipeline *pipeline, CdcRank *rank, CdcWinner *const *winners,
		  int n, Datum *args)
{
	Datum	   *keys = palloc(sizeof(Datum) * n);
	Datum	   *hashes = palloc(sizeof(Datum) * n);
	bool	   *key_nulls = palloc(sizeof(bool) * n);
	bool	   *hash_nulls = palloc(sizeof(bool) * n);
	int			lbound = 1;

	for (int i = 0; i < n; i++)
	{
		const CdcWinner *w = winners[i];
		uint64		hash;

		key_nulls[i] = w->kafka_key.data == NULL;
		/* where a row is known by more than its key in Kafka, that does not tell */
		for (int k = 0; k < rank->target->nkeys; k++)
			key_nulls[i] |= rank->target->columns[rank->target->keys[k]].source != CDC_COLUMN_FIELD;
		keys[i] = key_nulls[i] ? (Datum) 0 : cdc_bytea(w->kafka_key);
		hash_nulls[i] = !w->tokens ||
			!cdc_rank_key_hash(rank, w->tokens, w->schema, w->connector, &hash);
		hashes[i] = hash_nulls[i] ? (Datum) 0 : Int64GetDatum((int64) hash);
	}
	args[0] = CStringGetTextDatum(pipeline->name);
	args[1] = Int32GetDatum(cdc_quarantine_key_type(pipeline, rank->target));
	args[2] = PointerGetDatum(construct_md_array(hashes, hash_nulls, 1, &n, &lbound, INT8OID,
												 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[3] = PointerGetDatum(construct_md_array(keys, key_nulls, 1, &n, &lbound, BYTEAOID,
												 -1, false, TYPALIGN_INT));
}

#define FOUND \
	"SELECT w.no, q.kafka_partition, q.epoch, q.kafka_offset, q.source_position, q.source_ts_ms, q.kafka_timestamp, q.old_key, " \
	"coalesce(q.blocked_by, q.kafka_offset), q.key_hash IS NOT NULL " \
	"FROM unnest($3, $4) WITH ORDINALITY w(hash, key, no) JOIN cdcsync.quarantine q " \
	"ON q.pipeline = $1 AND q.state <> 'retried' AND "

/* Read one record again; NULL if it is not there. */
static Stored *
read_one(const char *pipeline, const CdcQuarantined *record)
{
	CdcOrigin	before = {.partition = record->partition,.epoch = record->epoch,
	.offset = record->offset};
	Stored	   *stored;
	int			n;

	if (record->old_key)
		before.offset--;
	else
		before.old_key = true;
	stored = read_batch(pipeline, "state <> 'retried' AND $2 = 0", 0, &before, 1, &n);
	return n == 1 && stored->at.offset == record->offset ? stored : NULL;
}

/* Leave out those whose keys have the same hash and no more. */
static int64
compare_keys(const CdcPipeline *pipeline, CdcRank *rank, int64 n, CdcQuarantined *found)
{
	MemoryContext record = AllocSetContextCreate(CurrentMemoryContext,
												 "cdcsync quarantine",
												 ALLOCSET_DEFAULT_SIZES);
	int64		left = 0;

	for (int64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(record);
		Stored	   *stored = found[i].by_hash ? read_one(pipeline->name, &found[i]) : NULL;

		CHECK_FOR_INTERRUPTS();
		if (!found[i].by_hash ||
			(stored && cdc_rank_record_is_of(rank, &stored->bytes, found[i].old_key,
											 rank->winners[found[i].winner])))
			found[left++] = found[i];
		MemoryContextSwitchTo(old);
		MemoryContextReset(record);
	}
	MemoryContextDelete(record);
	return left;
}

CdcQuarantined *
cdc_quarantine_find(const CdcPipeline *pipeline, CdcRank *rank, int64 *n)
{
	static const Oid types[] = {TEXTOID, INT4OID, INT8ARRAYOID, BYTEAARRAYOID};
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext,
												"cdcsync quarantine",
												ALLOCSET_DEFAULT_SIZES);
	int64		max = 64;
	CdcQuarantined *found = palloc(sizeof(CdcQuarantined) * max);

	*n = 0;
	for (int64 first = 0; first < rank->nwinners; first += FIND_BATCH)
	{
		CdcWinner  *const *winners = rank->winners + first;
		MemoryContext old = MemoryContextSwitchTo(batch);
		Datum		args[4];
		uint64		nrows;
		CdcSpi		spi;

		CHECK_FOR_INTERRUPTS();
		find_args(pipeline, rank, winners, Min(FIND_BATCH, rank->nwinners - first), args);
		cdc_spi_begin_catalog(&spi);
		nrows = cdc_spi_run(FOUND "q.key_type = $2 AND q.key_hash = w.hash "
							"UNION ALL "
							FOUND "q.key_hash IS NULL AND md5(q.kafka_key) = md5(w.key) AND q.kafka_key = w.key "
							"ORDER BY 1, 3, 4", 4, types, args, NULL, 0);
		for (uint64 row = 0; row < nrows; row++)
		{
			bool		isnull;
			int64		no = DatumGetInt64(cdc_spi_value(row, 1, &isnull)) - 1;

			if (*n == max)
			{
				max *= 2;
				found = repalloc_huge(found, sizeof(CdcQuarantined) * max);
			}
			found[*n].winner = first + no;
			if (is_before(row, winners[no], &found[*n]))
				(*n)++;
		}
		cdc_spi_end(&spi);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
	MemoryContextDelete(batch);
	if (!cdc_rank_hash_is_key(rank->target))
		*n = compare_keys(pipeline, rank, *n, found);
	return found;
}

bool
cdc_quarantine_sets_more(const char *pipeline, CdcRank *rank,
						 const CdcQuarantined *records, int64 n, const CdcWinner *winner)
{
	MemoryContext record = AllocSetContextCreate(CurrentMemoryContext,
												 "cdcsync quarantine",
												 ALLOCSET_DEFAULT_SIZES);
	bool		more = false;

	for (int64 i = 0; !more && i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(record);
		Stored	   *stored = read_one(pipeline, &records[i]);

		CHECK_FOR_INTERRUPTS();
		more = stored && cdc_rank_record_sets_more(rank, &stored->bytes, winner->tokens);
		MemoryContextSwitchTo(old);
		MemoryContextReset(record);
	}
	MemoryContextDelete(record);
	return more;
}

void
cdc_quarantine_supersede(const char *pipeline, int64 n, const CdcQuarantined *records)
{
	Oid			types[] = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID};
	Datum		values[5] = {CStringGetTextDatum(pipeline)};
	Datum	   *at[4];
	CdcSpi		spi;

	if (n == 0)
		return;
	for (int i = 0; i < 4; i++)
		at[i] = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * n);
	for (int64 i = 0; i < n; i++)
	{
		at[0][i] = Int64GetDatum(records[i].partition);
		at[1][i] = Int64GetDatum(records[i].epoch);
		at[2][i] = Int64GetDatum(records[i].offset);
		at[3][i] = Int64GetDatum(records[i].old_key);
	}
	for (int i = 0; i < 4; i++)
		values[i + 1] = PointerGetDatum(construct_array(at[i], n, INT8OID, 8,
														FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.quarantine q USING unnest($2, $3, $4, $5) r(partition, epoch, \"offset\", old_key) "
					   "WHERE q.pipeline = $1 AND q.kafka_partition = r.partition "
					   "AND q.epoch = r.epoch AND q.kafka_offset = r.\"offset\" AND q.old_key = (r.old_key = 1)",
					   5, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_quarantine_truncate(const char *pipeline, const CdcOrigin *truncate, bool multi_partition)
{
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(truncate->partition)};
	CdcOrigin  *gone;
	uint64		n;
	CdcSpi		spi;

	(void) run_for(pipeline, "DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				   "AND kafka_partition = $2 AND (epoch, kafka_offset) < ($3, $4)",
				   truncate->partition, truncate->epoch, truncate->offset);
	if (!multi_partition)
		return;
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("SELECT kafka_partition, epoch, kafka_offset, source_position, source_ts_ms, "
					"kafka_timestamp FROM cdcsync.quarantine "
					"WHERE pipeline = $1 AND kafka_partition <> $2", 2, types, values, NULL, 0);
	gone = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdcOrigin) * (n + 1));
	for (uint64 row = 0; row < n; row++)
		gone[row] = result_origin(row, 1);
	cdc_spi_end(&spi);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (cdc_origin_older(&gone[i], truncate))
			delete_at(pipeline, &gone[i]);
	}
}

typedef struct Forget
{
	const char *pipeline;
	CdcQuarantineFunc is_over;
	void	   *arg;
} Forget;

static void
forget_if_over(const Stored *stored, void *arg)
{
	Forget	   *f = arg;

	if (f->is_over(&stored->at, &stored->bytes, f->arg))
		delete_at(f->pipeline, &stored->at);
}

void
cdc_quarantine_forget(const char *pipeline, CdcQuarantineFunc is_over, void *arg)
{
	Forget		f = {pipeline, is_over, arg};

	for_each_stored(pipeline, "$2 = 0", 0, forget_if_over, &f);
}

/* A CdcQuarantineFunc. */
static bool
is_truncated(const CdcOrigin *at, const CdcRecordBytes *record, void *rank)
{
	return cdc_scope_truncates(rank, at, record);
}

void
cdc_quarantine_truncate_scopes(const char *pipeline, CdcRank *rank)
{
	cdc_quarantine_forget(pipeline, is_truncated, rank);
}

int64
cdc_quarantine_unblock(const char *pipeline)
{
	/* of another partition only if it is of the same row */
	return run_for(pipeline, "UPDATE cdcsync.quarantine q SET state = 'waiting', blocked_by = NULL "
				   "WHERE pipeline = $1 AND state = 'blocked' AND $2 + $3 + $4 = 0 AND NOT EXISTS "
				   "(SELECT FROM cdcsync.quarantine h WHERE h.pipeline = $1 AND h.kafka_offset = q.blocked_by "
				   "AND (h.kafka_partition = q.kafka_partition OR h.key_type = q.key_type AND h.key_hash = q.key_hash "
				   "OR h.kafka_key = q.kafka_key))", 0, 0, 0);
}

int64
cdc_quarantine_take_one(const char *pipeline, const CdcOrigin *at)
{
	return run_for(pipeline, "UPDATE cdcsync.quarantine SET state = 'retried', tried_at = clock_timestamp() "
				   "WHERE pipeline = $1 AND kafka_partition = $2 AND epoch = $3 AND kafka_offset = $4 "
				   "AND state <> 'retried'",
				   at->partition, at->epoch, at->offset);
}

/* ----------
 * Trying again
 * ----------
 */

/* What the watermark has passed; the rest is read again. */
#define BELOW_WATERMARK \
	"EXISTS (SELECT FROM cdcsync.watermark w WHERE w.pipeline = q.pipeline " \
	"AND w.kafka_partition = q.kafka_partition AND (q.epoch, q.kafka_offset) < (w.epoch, w.next_offset))"

int64
cdc_quarantine_take(const char *pipeline, const CdcRetry *retry)
{
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), TimestampTzGetDatum(retry->since),
	Int64GetDatum(retry->partition), Int64GetDatum(retry->offset)};
	const char *which = "$2 IS NOT NULL AND q.kafka_partition = $3 AND q.kafka_offset = $4";
	const char *order = "q.kafka_partition, q.epoch, q.kafka_offset";
	int64		n;
	CdcSpi		spi;

	if (retry->waiting)
	{
		which = "(q.state = 'waiting' AND q.tried_at < $2 OR " CDC_EVIDENCE_CAME("q") ") AND $3 + $4 IS NOT NULL";
		order = "q.tried_at";
	}
	else if (retry->all)
		which = "q.tried_at < $2 AND $3 + $4 IS NOT NULL";
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run(psprintf("WITH chosen AS MATERIALIZED (SELECT q.ctid AS tid, q.key_type, q.key_hash, q.kafka_key "
							 "FROM cdcsync.quarantine q WHERE q.pipeline = $1 AND %s AND " BELOW_WATERMARK
							 " ORDER BY %s LIMIT %d) "
							 "UPDATE cdcsync.quarantine u SET state = 'retried', tried_at = clock_timestamp() "
							 "WHERE u.ctid = ANY (ARRAY(SELECT tid FROM chosen "
							 "UNION SELECT q.ctid FROM chosen c JOIN cdcsync.quarantine q ON q.pipeline = $1 "
							 "AND q.key_type = c.key_type AND q.key_hash = c.key_hash WHERE " BELOW_WATERMARK
							 " UNION SELECT q.ctid FROM chosen c JOIN cdcsync.quarantine q ON q.pipeline = $1 "
							 "AND c.key_hash IS NULL AND q.key_hash IS NULL "
							 "AND md5(q.kafka_key) = md5(c.kafka_key) AND q.kafka_key = c.kafka_key WHERE " BELOW_WATERMARK
							 "))", which, order, CDC_RETRY_RECORDS),
					4, types, values, NULL, 0);
	cdc_spi_end(&spi);
	return n;
}

static void
rank_again(const Stored *stored, void *rank)
{
	CdcRecordBytes bytes = stored->bytes;
	CdcChunk	chunk = {
		.partition = stored->at.partition,
		.epoch = stored->at.epoch,
		.first_offset = stored->at.offset,
		.last_offset = stored->at.offset,
		.nrecords = 1,
		.keys = &bytes.key,
		.values = &bytes.value,
		.timestamps = &bytes.timestamp,
		.headers = &bytes.headers,
		.nheaders = bytes.headers != NULL,
		.refresh_time = bytes.refresh_time,
	};

	cdc_rank_again(rank, &chunk, stored->at.since, stored->at.old_key);
}

void
cdc_quarantine_retry(const char *pipeline, CdcRank *rank)
{
	for_each_stored(pipeline, "state = 'retried' AND $2 = 0", 0, rank_again, rank);
}

int64
cdc_quarantine_release(const char *pipeline)
{
	return run_for(pipeline, "DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				   "AND state = 'retried' AND $2 + $3 + $4 = 0", 0, 0, 0);
}

int64
cdc_quarantine_discard(const char *pipeline, bool all, int64 partition, int64 offset)
{
	return run_for(pipeline, "DELETE FROM cdcsync.quarantine WHERE pipeline = $1 "
				   "AND ($2 = 1 OR kafka_partition = $3 AND kafka_offset = $4)",
				   all, partition, offset);
}
