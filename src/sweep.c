/*-------------------------------------------------------------------------
 *
 * sweep.c
 *	  A complete snapshot replaces the target: what it does not have goes.
 *
 * Which rows it has is not written down while it passes, which would cost every
 * load of a table; it is read from the landing once more when all of it is
 * there.  The ranking tells the keys (and so what else a record may mean, and
 * what is to be left out), and these go into the staging table as the target's
 * types: all rows of the snapshot, and all that has been brought by changes
 * since it began.  In the partitions that show where it began these are the
 * ones behind that place; in others those that the source's clock does not show
 * to be older.  The rows of the target whose keys are not among them are then
 * staged as deletes, and go the way of every delete, a few at a time.
 *
 * A row too much that stays is stale until the next snapshot; a row too much
 * that goes is a loss: so what is not certain stays.
 *
 * Everything happens in the sync's transaction: after a rollback or a crash it
 * is done again, from the same records, which retention keeps.
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
#include "exact.h"
#include "fault.h"
#include "merge_sql.h"
#include "quarantine.h"
#include "stage.h"
#include "sweep.h"
#include "value.h"

/* cdc_action of rows that say what stays; no merge takes them. */
#define ACTION_SNAPSHOT	's'
#define ACTION_CHANGE	'k'

/* So many deletes at a time: a merge of few rows names each of them. */
#define SWEEP_BATCH		1000

/* The ranking is begun anew when it holds this much. */
#define RANK_BYTES		(16 * 1024 * 1024)

/* A partition without rows of the snapshot is read from so long before it. */
#define MARGIN			USECS_PER_HOUR

/* The source's clock may count whole seconds. */
#define CLOCK_MS		1000

/* One call. */
typedef struct Sweeper
{
	CdcSweep   *s;
	const List *runs;
	Timestamp	began;			/* Kafka's time of the first row; DT_NOEND */
	int64		source_ts_ms;	/* the source's; 0: unknown */

	/* reading the keys */
	const CdcSnapshotRun *run;
	int64		offset;			/* of the record at hand */
	CdcRank    *rank;
	MemoryContext rank_context;
	MemoryContext batch;
	CdcStagingWriter *writer;
	int			nbatch;
	bool		mixed;			/* rows of another table */
	bool		nameless;		/* a row, perhaps, whose key is not known */

	/* deleting */
	int64		target_rows;
	int64		missing;
	int64		kept;
	char	   *kept_for;
	ItemPointerData *tids;
} Sweeper;

/* ----------
 * What stays
 * ----------
 */

/*
 * Was the record older than the snapshot?  In a partition where the snapshot has
 * rows, what comes behind the first of them is not.
 */
static bool
is_older(const Sweeper *sw, const CdcChange *change)
{
	return sw->run->first_offset < 0 && sw->source_ts_ms > 0 &&
		change->has_source_ts_ms &&
		change->source_ts_ms + CLOCK_MS < sw->source_ts_ms;
}

/* The action of a row that stays for this record; 0: it says nothing. */
static char
action_of(Sweeper *sw, const CdcChange *change)
{
	int64		origin;

	if (change == NULL)
		return ACTION_CHANGE;
	if (!change->snapshot || change->incremental)
		return is_older(sw, change) ? 0 : ACTION_CHANGE;
	if (!cdc_snapshot_has(sw->s->snapshots, sw->run->identity, change, &origin))
		return 0;
	sw->mixed |= sw->run->first_offset >= 0 && origin != sw->run->origin;
	return ACTION_SNAPSHOT;
}

/* Is the record behind the last row that the partition has of the snapshot? */
static bool
is_behind(const Sweeper *sw)
{
	const CdcSnapshotRun *run = sw->run;

	return (run->end_offset >= 0 && sw->offset > run->end_offset) ||
		(run->streamed_offset >= 0 && sw->offset >= run->streamed_offset);
}

/* A CdcRankSeen: stage the key. */
static void
stage_key(void *arg, const CdcToken *tokens, const CdcRowSchema *schema,
		  CdcConnector connector, const CdcChange *change)
{
	Sweeper    *sw = arg;
	const CdcTarget *target = sw->s->target;
	int			width = target->ncolumns + CDC_STAGING_NCOLUMNS;
	MemoryContext old = MemoryContextSwitchTo(sw->batch);
	Datum	   *values = palloc0(sizeof(Datum) * width);
	bool	   *nulls = palloc(sizeof(bool) * width);
	char		action = action_of(sw, change);
	bool		ok = action != 0 && tokens != NULL;

	sw->nameless |= tokens == NULL && !is_behind(sw);
	memset(nulls, true, width);
	for (int k = 0; ok && k < target->nkeys; k++)
	{
		int			at = target->keys[k];
		CdcConvertError error;

		/* a key that cannot be one is no row of the target either */
		ok = cdc_value_convert(&target->columns[at], &tokens[at], schema, at,
							   connector, &values[at], &nulls[at], &error) && !nulls[at];
	}
	if (ok)
	{
		values[target->ncolumns + CDC_STAGING_ACTION] = CharGetDatum(action);
		nulls[target->ncolumns + CDC_STAGING_ACTION] = false;
		cdc_staging_put(sw->writer, values, nulls);
		sw->nbatch++;
	}
	MemoryContextSwitchTo(old);
}

static void
flush_keys(Sweeper *sw)
{
	cdc_staging_flush(sw->writer);
	sw->nbatch = 0;
	MemoryContextReset(sw->batch);
}

/* The ranking keeps what it has met of schemas and bad records. */
static void
renew_rank(Sweeper *sw)
{
	MemoryContext old;

	if (sw->rank && cdc_rank_memory(sw->rank) < RANK_BYTES)
		return;
	MemoryContextReset(sw->rank_context);
	old = MemoryContextSwitchTo(sw->rank_context);
	sw->rank = cdc_rank_begin(sw->s->target, sw->s->decoder, NULL,
							  sw->s->npartitions > 1);
	sw->rank->intake = sw->s->intake;
	sw->rank->seen = stage_key;
	sw->rank->seen_arg = sw;
	MemoryContextSwitchTo(old);
}

static void
read_chunk(Sweeper *sw, const CdcChunk *chunk, CdcProgress *scratch, int64 end)
{
	CHECK_FOR_INTERRUPTS();
	for (int i = chunk->first; i < chunk->nrecords; i++)
	{
		sw->offset = cdc_chunk_offset(chunk, i);
		if (sw->offset >= end)
			break;
		cdc_rank_add(sw->rank, chunk, i, scratch);
		if (sw->nbatch >= CDC_STAGING_BATCH / 2)
			flush_keys(sw);
	}
	renew_rank(sw);
}

/*
 * Where to begin in a partition that has no rows of the snapshot: at the oldest
 * chunk that may hold something that is not older.  False: the landing no longer
 * has all of that.
 */
static bool
find_start(Sweeper *sw, const CdcProgress *p, int32 *epoch, int64 *from)
{
	Oid			types[] = {INT8OID, TIMESTAMPOID};
	Datum		values[2];
	Timestamp	since = TIMESTAMP_NOT_FINITE(sw->began) ? DT_NOBEGIN : sw->began - MARGIN;
	const char *chunk = cdc_qualified_name(sw->s->pipeline->landing->chunk);
	bool		whole;
	bool		isnull;
	CdcSpi		spi;

	*epoch = p->epoch;
	*from = p->next_offset;
	if (TIMESTAMP_NOT_FINITE(p->refresh_time))
		return true;			/* never had a record */
	values[0] = Int64GetDatum(p->partition);
	values[1] = TimestampGetDatum(since);
	cdc_spi_begin_as(&spi, sw->s->pipeline->landing->owner, NULL);
	/* what is gone had landed long before the oldest that is there */
	whole = cdc_spi_run(psprintf("SELECT c.epoch = 0 AND c.first_offset = 0"
								 " OR c.refresh_time < $2 OR coalesce(c.kafka_timestamp[1] < $2, false)"
								 " FROM %s c WHERE c.kafka_partition = $1"
								 " ORDER BY c.kafka_partition, c.epoch, c.first_offset", chunk),
						2, types, values, NULL, 1) > 0 &&
		DatumGetBool(cdc_spi_value(0, 1, &isnull));
	if (cdc_spi_run(psprintf("SELECT c.epoch, c.first_offset FROM %s c WHERE c.kafka_partition = $1"
							 " AND (c.refresh_time >= $2 OR c.kafka_timestamp IS NULL"
							 " OR c.kafka_timestamp[cardinality(c.kafka_timestamp)] >= $2)"
							 " ORDER BY c.kafka_partition, c.epoch, c.first_offset", chunk),
					2, types, values, NULL, 1) > 0)
	{
		*epoch = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
		*from = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	cdc_spi_end(&spi);
	/* or longer ago than retention lasts, when the snapshot was noted */
	return whole || sw->run->noted_at - sw->s->pipeline->retention < since;
}

/* Stage the keys that the records of a partition show; false: some are gone. */
static bool
read_partition(Sweeper *sw, const CdcProgress *p)
{
	CdcProgress scratch = {.partition = p->partition,.refresh_time = DT_NOBEGIN};
	int32		epoch = sw->run->epoch;
	int64		from = sw->run->first_offset;
	bool		has_rows = from >= 0;
	CdcLandingScan *scan;
	const CdcChunk *chunk;
	bool		whole = true;

	if (!has_rows && !find_start(sw, p, &epoch, &from))
		return false;
	scan = cdc_landing_scan_begin(sw->s->pipeline->landing, p->partition, epoch, from);
	for (;;)
	{
		while ((chunk = cdc_landing_scan_next(scan)) != NULL)
		{
			whole &= !has_rows || cdc_chunk_offset(chunk, chunk->first) == from;
			has_rows = false;
			read_chunk(sw, chunk, &scratch,
					   epoch == p->epoch ? p->next_offset : PG_INT64_MAX);
		}
		/* the first row at least has to be there */
		whole &= !has_rows;
		if (epoch >= p->epoch || !whole)
			break;
		epoch++;
		cdc_landing_scan_move(scan, p->partition, epoch, 0);
	}
	cdc_landing_scan_end(scan);
	return whole;
}

/* Stage the keys of all that stays.  Returns why that cannot be known, or NULL. */
static char *
stage_keys(Sweeper *sw)
{
	CdcSweep   *s = sw->s;
	char	   *why = NULL;

	cdc_staging_clear(s->pipeline->staging);
	sw->rank_context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sweep",
											 ALLOCSET_DEFAULT_SIZES);
	sw->batch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sweep batch",
									  ALLOCSET_DEFAULT_SIZES);
	sw->writer = cdc_staging_begin(s->pipeline->staging, s->target);
	sw->rank = NULL;
	renew_rank(sw);
	for (int i = 0; i < s->npartitions && why == NULL; i++)
	{
		sw->run = list_nth(sw->runs, i);
		if (!read_partition(sw, &s->progress[i]))
			why = psprintf("the landing no longer has all of partition " INT64_FORMAT " since the snapshot began",
						   s->progress[i].partition);
		flush_keys(sw);
	}
	(void) cdc_staging_end(sw->writer);
	MemoryContextDelete(sw->batch);
	MemoryContextDelete(sw->rank_context);
	return why ? why : sw->mixed ? "its rows are of several tables" :
		sw->nameless ? "a record that may be one of its rows cannot be read" : NULL;
}

/* ----------
 * What goes
 * ----------
 */

/* "t.a, t.b": the key's columns. */
static char *
key_columns(const CdcTarget *target, const char *prefix)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
		appendStringInfo(&buf, "%s%s%s", k ? ", " : "", prefix,
						 quote_identifier(target->columns[target->keys[k]].name));
	return buf.data;
}

/*
 * Condition that a row of the target comes from where the snapshot comes from: a
 * key with fields of the source tells.
 */
static char *
scope(const CdcTarget *target, const char *staging)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		if (c->source == CDC_COLUMN_SOURCE_FIELD)
			appendStringInfo(&buf, " AND t.%s %s ANY (SELECT x.%s FROM %s x WHERE x.%s OPERATOR(pg_catalog.=) '%c')",
							 quote_identifier(c->name), cdc_sql_equality(c->typid),
							 quote_identifier(c->name), staging,
							 quote_identifier(cdc_staging_column(target, CDC_STAGING_ACTION)),
							 ACTION_SNAPSHOT);
	}
	return buf.data;
}

static int64
count_rows(const char *sql)
{
	bool		isnull;

	(void) cdc_spi_run(sql, 0, NULL, NULL, NULL, 0);
	return DatumGetInt64(cdc_spi_value(0, 1, &isnull));
}

/* When the source was read, by its clock. */
static Timestamp
source_time(const Sweeper *sw)
{
	return sw->source_ts_ms * 1000 -
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/*
 * What a delete gives the columns of pseudo-fields where it marks the row: at the
 * time of the snapshot the row was gone.  Appends names, and parameters from $1.
 */
static int
append_pseudos(const Sweeper *sw, StringInfo names, StringInfo params, Oid *types,
			   Datum *values, char *nulls)
{
	const CdcTarget *target = sw->s->target;
	Timestamp	now = GetCurrentTimestamp();
	CdcWinner	w = {.op = 'd',.deleted = true,.refresh_time = now,.time = now,.ended = now};
	Datum	   *all = palloc0(sizeof(Datum) * target->ncolumns);
	bool	   *isnull = palloc0(target->ncolumns);
	int			n = 0;

	if (sw->source_ts_ms > 0)
		w.ended = source_time(sw);
	cdc_stage_pseudos(target, &w, all, isnull);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (cdc_column_is_field(c->source))
			continue;
		appendStringInfo(names, ", %s", quote_identifier(c->name));
		types[n] = c->typid;
		values[n] = all[i];
		/* there is no record that says it */
		nulls[n++] = isnull[i] || c->source == CDC_COLUMN_PARTITION ||
			c->source == CDC_COLUMN_OFFSET ? 'n' : ' ';
		appendStringInfo(params, ", $%d", n);
	}
	return n;
}

/* Stage deletes of the rows that the snapshot does not have. */
static void
stage_missing(Sweeper *sw)
{
	const CdcTarget *target = sw->s->target;
	const char *staging = cdc_qualified_name(sw->s->pipeline->staging);
	const char *name = cdc_qualified_name(target->relid);
	const CdcColumn *deleted_at = cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT);
	const char *where = scope(target, staging);
	Oid		   *types = palloc(sizeof(Oid) * target->ncolumns);
	Datum	   *values = palloc(sizeof(Datum) * target->ncolumns);
	char	   *nulls = palloc(target->ncolumns + 1);
	StringInfoData names;
	StringInfoData params;
	int			n;

	if (deleted_at)
		where = psprintf("%s AND %s IS NULL", where, cdc_sql_column("t", deleted_at));
	initStringInfo(&names);
	initStringInfo(&params);
	n = append_pseudos(sw, &names, &params, types, values, nulls);
	sw->target_rows = count_rows(psprintf("SELECT pg_catalog.count(*) FROM %s t WHERE true%s",
										  name, where));
	sw->missing = (int64) cdc_spi_run(psprintf("INSERT INTO %s (%s, %s%s)"
											   " SELECT %s, 'd'%s FROM %s t WHERE NOT EXISTS"
											   " (SELECT FROM %s s WHERE %s)%s",
											   staging, key_columns(target, ""),
											   quote_identifier(cdc_staging_column(target, CDC_STAGING_ACTION)),
											   names.data, key_columns(target, "t."), params.data,
											   name, staging,
											   cdc_sql_key_join(target, "t", "s"), where),
									  n, types, values, nulls, 0);
}

static void
keep_row(void *arg, int64 row, const CdcConvertError *error)
{
	Sweeper    *sw = arg;

	if (sw->kept++ == 0)
		sw->kept_for = MemoryContextStrdup(GetMemoryChunkContext(sw->tids), error->message);
}

static void
begin_batches(Sweeper *sw)
{
	sw->tids = palloc(sizeof(ItemPointerData) * (SWEEP_BATCH + 1));
	ItemPointerSet(&sw->tids[SWEEP_BATCH], 0, 0);
}

/* The next deletes after the last ones; returns how many there are. */
static int64
next_batch(Sweeper *sw)
{
	Oid			types[] = {TIDOID, INT8OID};
	ItemPointerData last = sw->tids[SWEEP_BATCH];
	Datum		values[] = {PointerGetDatum(&last), Int64GetDatum(SWEEP_BATCH)};
	int64		n = (int64) cdc_spi_run(psprintf("SELECT s.ctid FROM %s s WHERE s.ctid OPERATOR(pg_catalog.>) $1"
												 " AND s.%s OPERATOR(pg_catalog.=) 'd' ORDER BY s.ctid LIMIT $2",
												 cdc_qualified_name(sw->s->pipeline->staging),
												 quote_identifier(cdc_staging_column(sw->s->target, CDC_STAGING_ACTION))),
										2, types, values, NULL, 0);
	bool		isnull;

	for (int64 i = 0; i < n; i++)
		sw->tids[i] = *(ItemPointer) DatumGetPointer(cdc_spi_value(i, 1, &isnull));
	if (n > 0)
		sw->tids[SWEEP_BATCH] = sw->tids[n - 1];
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static void
delete_missing(Sweeper *sw)
{
	const CdcTarget *target = sw->s->target;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sweep merge",
												  ALLOCSET_DEFAULT_SIZES);
	bool	   *none = palloc0(target->ncolumns);
	char	   *actions = palloc(SWEEP_BATCH);
	int64		n;

	memset(actions, 'd', SWEEP_BATCH);
	begin_batches(sw);
	while ((n = next_batch(sw)) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		CdcMerge	merge = {
			.target = target,
			.staging = sw->s->pipeline->staging,
			.nrows = n,
			.tids = sw->tids,
			.actions = actions,
			.never_set = none,
			.partly_set = none,
			.check_foreign_keys = sw->s->check_foreign_keys,
			.max_refused = PG_INT64_MAX,
			.refused = keep_row,
			.arg = sw,
		};

		cdc_merge(&merge);
		sw->s->result->deleted += merge.deleted;
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
}

/* history: which versions are current, but of no row of the snapshot? */
static char *
missing_versions(const Sweeper *sw)
{
	const CdcTarget *target = sw->s->target;
	const char *staging = cdc_qualified_name(sw->s->pipeline->staging);

	return psprintf("%s AND NOT EXISTS (SELECT FROM %s s WHERE %s)%s",
					cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_CURRENT)), staging,
					cdc_sql_key_join(target, "t", "s"), scope(target, staging));
}

static void
count_missing_versions(Sweeper *sw)
{
	const CdcTarget *target = sw->s->target;
	const char *name = cdc_qualified_name(target->relid);

	sw->target_rows = count_rows(psprintf("SELECT pg_catalog.count(*) FROM %s t WHERE %s%s", name,
										  cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_CURRENT)),
										  scope(target, cdc_qualified_name(sw->s->pipeline->staging))));
	sw->missing = count_rows(psprintf("SELECT pg_catalog.count(*) FROM %s t WHERE %s", name,
									  missing_versions(sw)));
}

/* Stage the keys whose current versions are to end. */
static void
stage_missing_versions(Sweeper *sw)
{
	const CdcTarget *target = sw->s->target;
	const char *staging = cdc_qualified_name(sw->s->pipeline->staging);

	(void) cdc_spi_run(psprintf("INSERT INTO %s (%s, %s) SELECT %s, 'd' FROM %s t WHERE %s",
								staging, key_columns(target, ""),
								quote_identifier(cdc_staging_column(target, CDC_STAGING_ACTION)),
								key_columns(target, "t."), cdc_qualified_name(target->relid),
								missing_versions(sw)),
					   0, NULL, NULL, NULL, 0);
}

/* Versions that end together, or not at all. */
typedef struct Ending
{
	const Sweeper *sw;
	const ItemPointerData *tids;	/* of their keys in staging */
	int64		n;
	uint64		ended;
} Ending;

/* They end at the time of the snapshot.  For cdc_try(). */
static bool
end_versions(void *arg)
{
	Ending	   *e = arg;
	const Sweeper *sw = e->sw;
	const CdcTarget *target = sw->s->target;
	const CdcColumn *from = cdc_target_pseudo(target, CDC_COLUMN_VALID_FROM);
	const char *current = cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_CURRENT));
	Timestamp	time = sw->source_ts_ms > 0 ? source_time(sw) : GetCurrentTimestamp();
	Oid			types[] = {from->typid, TIDARRAYOID};
	Datum		values[2] = {TimestampGetDatum(time)};
	Datum	   *tids = palloc(sizeof(Datum) * e->n);

	for (int64 i = 0; i < e->n; i++)
		tids[i] = PointerGetDatum(&e->tids[i]);
	values[1] = PointerGetDatum(construct_array(tids, e->n, TIDOID, sizeof(ItemPointerData),
												false, TYPALIGN_SHORT));
	e->ended = cdc_spi_run(psprintf("UPDATE %s t SET %s = GREATEST($1, %s), %s = false FROM %s s"
									" WHERE s.ctid OPERATOR(pg_catalog.=) ANY ($2) AND %s AND %s",
									cdc_qualified_name(target->relid),
									quote_identifier(cdc_target_pseudo(target, CDC_COLUMN_VALID_TO)->name),
									cdc_sql_column("t", from),
									quote_identifier(cdc_target_pseudo(target, CDC_COLUMN_CURRENT)->name),
									cdc_qualified_name(sw->s->pipeline->staging),
									cdc_sql_key_join(target, "t", "s"), current),
						   2, types, values, NULL, 0);
	return true;
}

/* Those that the target refuses to end stay. */
static void
end_some_versions(Sweeper *sw, const ItemPointerData *tids, int64 n)
{
	Ending		e = {.sw = sw,.tids = tids,.n = n};
	CdcConvertError error;

	CHECK_FOR_INTERRUPTS();
	if (cdc_try(end_versions, &e, &error))
		sw->s->result->updated += e.ended;
	else if (n == 1)
		keep_row(sw, 0, &error);
	else
	{
		end_some_versions(sw, tids, n / 2);
		end_some_versions(sw, tids + n / 2, n - n / 2);
	}
}

static void
end_missing_versions(Sweeper *sw)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sweep versions",
												  ALLOCSET_DEFAULT_SIZES);
	CdcMerge	merge = {.target = sw->s->target,.check_foreign_keys = sw->s->check_foreign_keys};
	int64		n;

	stage_missing_versions(sw);
	begin_batches(sw);
	cdc_merge_constraints(&merge, false);
	while ((n = next_batch(sw)) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);

		end_some_versions(sw, sw->tids, n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	cdc_merge_constraints(&merge, true);
	MemoryContextDelete(scratch);
}

/* ----------
 * What is known afterwards
 * ----------
 */

/* What the snapshot knows of a partition, or NULL. */
static const CdcSnapshotRun *
run_of(const Sweeper *sw, int64 partition)
{
	ListCell   *lc;

	foreach(lc, sw->runs)
		if (((CdcSnapshotRun *) lfirst(lc))->partition == partition)
			return lfirst(lc);
	return NULL;
}

/*
 * A CdcQuarantineFunc: was the record in quarantine when the snapshot began, and
 * is its row one of those that the snapshot replaces?
 */
static bool
is_replaced(const CdcOrigin *at, const CdcRecordBytes *record, void *arg)
{
	Sweeper    *sw = arg;
	const CdcSnapshotRun *run = run_of(sw, at->partition);
	CdcToken   *tokens = palloc0(sizeof(CdcToken) * sw->s->target->ncolumns);
	CdcPosition position;
	int64		ms;

	if (run == NULL)
		return false;
	if (run->first_offset >= 0)
	{
		if (at->epoch > run->epoch ||
			(at->epoch == run->epoch && at->offset >= run->first_offset))
			return false;
	}
	else
	{
		cdc_rank_record_position(sw->rank, record, &position, &ms);
		if (ms == 0 || sw->source_ts_ms == 0 || ms + CLOCK_MS >= sw->source_ts_ms)
			return false;
	}
	return sw->s->target->nscope == 0 ||
		(cdc_rank_record_source(sw->rank, record, tokens) &&
		 cdc_snapshot_row_scope(sw->s->target, tokens) == run->scope);
}

/* What was in quarantine when the snapshot began tells nothing any more. */
static void
supersede(Sweeper *sw)
{
	sw->rank_context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sweep",
											 ALLOCSET_DEFAULT_SIZES);
	sw->rank = NULL;
	renew_rank(sw);
	cdc_quarantine_forget(sw->s->pipeline->name, is_replaced, sw);
	sw->s->unblocked |= cdc_quarantine_unblock(sw->s->pipeline->name) > 0;
	MemoryContextDelete(sw->rank_context);
}

/*
 * The target is exact again, but for what was lost behind the snapshot: such a
 * gap is no reason to void it.
 */
static void
regain(const Sweeper *sw)
{
	ListCell   *lc;
	TimestampTz noted = DT_NOEND;

	foreach(lc, sw->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (!run->done)
			noted = Min(noted, run->noted_at);
		cdc_exact_regain_partition(sw->s->pipeline->name, run->partition,
								   run->first_offset >= 0 ? run->epoch : run->await_epoch,
								   run->first_offset >= 0 ? run->first_offset : run->await_offset);
	}
	cdc_exact_regain(sw->s->pipeline->name, noted);
}

static void
record(const Sweeper *sw, const char *problem)
{
	Oid			types[] = {TEXTOID, TIMESTAMPOID, INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(sw->s->pipeline->name),
		TimestampGetDatum(sw->began), Int64GetDatum(sw->target_rows),
		Int64GetDatum(sw->missing), Int64GetDatum(sw->missing - sw->kept),
		problem ? CStringGetTextDatum(problem) : (Datum) 0,
		Int64GetDatum(((CdcSnapshotRun *) linitial(sw->runs))->identity)
	};
	char		nulls[] = "       ";

	nulls[1] = TIMESTAMP_NOT_FINITE(sw->began) ? 'n' : ' ';
	nulls[2] = nulls[3] = sw->target_rows < 0 ? 'n' : ' ';
	nulls[5] = problem ? ' ' : 'n';
	(void) cdc_spi_run("INSERT INTO cdcsync.sweep (pipeline, snapshot_began, target_rows,"
					   " missing_rows, deleted_rows, problem, identity)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7)",
					   7, types, values, nulls, 0);
}

/* The snapshot is done with. */
static void
finish(Sweeper *sw, const char *problem)
{
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	record(sw, problem);
	cdc_spi_end(&spi);
	if (problem == NULL || sw->kept > 0)
	{
		supersede(sw);
		regain(sw);
	}
	if (problem)
	{
		cdc_pipeline_set_inexact(sw->s->pipeline->name,
								 psprintf("a snapshot has not replaced the target: %s", problem));
		ereport(WARNING,
				(errmsg("pipeline \"%s\": a snapshot has not replaced the target: %s",
						sw->s->pipeline->name, problem),
				 errdetail("Its rows were applied; rows that it does not have were kept.")));
	}
	cdc_snapshots_done(sw->s->snapshots, sw->runs, sw->s->npartitions, sw->s->progress);
}

/* Ask a person: the snapshot may be of a wrong table, or one with a condition. */
static void
stop(const Sweeper *sw)
{
	const CdcPipeline *pipeline = sw->s->pipeline;
	char	   *why = psprintf("a snapshot lacks " INT64_FORMAT " of the " INT64_FORMAT
							   " rows of the target, more than the share of %g that \"max_sweep_share\" allows",
							   sw->missing, sw->target_rows, pipeline->max_sweep_share);
	char	   *hint = psprintf("If these rows are to be deleted, allow it with SELECT cdc_alter(%s, options => '{\"max_sweep_share\": 1}'); to keep them, give \"on_snapshot\" the value \"upsert\".",
								quote_literal_cstr(pipeline->name));

	cdc_staging_clear(pipeline->staging);
	cdc_pipeline_stop(pipeline, why, "55000", hint);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pipeline \"%s\" is stopped: %s", pipeline->name, why),
			 errhint("%s Then call cdc_resume().", hint)));
	sw->s->result->more = false;
}

/* Did all partitions begin with it, into an empty target? */
static bool
is_initial(const Sweeper *sw)
{
	for (int i = 0; i < sw->s->npartitions; i++)
	{
		const CdcSnapshotRun *run = list_nth(sw->runs, i);

		if (run->first_offset >= 0 ? !run->initial :
			!TIMESTAMP_NOT_FINITE(sw->s->progress[i].refresh_time))
			return false;
	}
	return true;
}

static void
begin(Sweeper *sw)
{
	ListCell   *lc;

	sw->began = DT_NOEND;
	sw->target_rows = -1;
	foreach(lc, sw->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (run->first_offset < 0)
			continue;
		sw->began = Min(sw->began, run->first_time);
		if (run->source_ts_ms > 0 &&
			(sw->source_ts_ms == 0 || run->source_ts_ms < sw->source_ts_ms))
			sw->source_ts_ms = run->source_ts_ms;
	}
}

/* Sweep after the newest snapshot of one scope; false: stopped. */
static bool
sweep_scope(CdcSweep *sweep, int64 scope)
{
	Sweeper		sw = {.s = sweep};
	bool		history = sweep->target->mode == CDC_MODE_HISTORY;
	bool		waits;
	char	   *why;

	sw.runs = cdc_snapshots_complete(sweep->snapshots, scope, sweep->npartitions,
									 sweep->progress, sweep->positions, &waits, &why);
	sweep->result->waiting |= waits;
	if (sw.runs == NIL)
		return true;
	begin(&sw);
	if (is_initial(&sw))
	{
		finish(&sw, why);
		return true;
	}
	if (why == NULL)
		why = stage_keys(&sw);
	CDC_FAULT("sweep_staged");
	if (why == NULL)
	{
		if (history)
			count_missing_versions(&sw);
		else
			stage_missing(&sw);
		/* divided, as a product need not be what it is in decimal */
		if (sw.missing > 0 &&
			(double) sw.missing / sw.target_rows > sweep->pipeline->max_sweep_share)
		{
			stop(&sw);
			return false;
		}
		if (history)
			end_missing_versions(&sw);
		else
			delete_missing(&sw);
		CDC_FAULT("sweep_deleted");
		if (sw.kept > 0)
			why = psprintf(sw.kept == 1 ? INT64_FORMAT " row cannot be deleted: %s" :
						   INT64_FORMAT " rows cannot be deleted: %s",
						   sw.kept, sw.kept_for);
	}
	cdc_staging_clear(sweep->pipeline->staging);
	finish(&sw, why);
	CDC_FAULT("sweep_done");
	return true;
}

void
cdc_sweep(CdcSweep *sweep)
{
	List	   *scopes = cdc_snapshots_scopes(sweep->snapshots);
	ListCell   *lc;

	foreach(lc, scopes)
		if (!sweep_scope(sweep, *(int64 *) lfirst(lc)))
			return;
}
