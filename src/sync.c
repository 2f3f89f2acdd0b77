/*-------------------------------------------------------------------------
 *
 * sync.c
 *	  Landing after the watermark -> rank -> staging -> target -> watermark.
 *
 * A sync runs in the caller's transaction, in windows that are bounded by the
 * memory of their winners.  The staging table's lock lets one session sync a
 * pipeline at a time; target and watermark change together or not at all.
 *
 * User objects are touched as the pipeline's owner, the catalog as its own.
 * Faults of the data put records into quarantine; every other error is the
 * caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "catalog.h"
#include "infer.h"
#include "merge.h"
#include "move.h"
#include "quarantine.h"
#include "rank.h"
#include "staging.h"
#include "sync.h"
#include "value.h"

/* A window ends when its winners hold this much. */
#define WINDOW_BYTES	(128 * 1024 * 1024)

/* .. which is looked at after reading this much. */
#define CHECK_BYTES		(1024 * 1024)

/* work_mem of the merge, at least, in kB. */
#define MERGE_WORK_MEM	(32 * 1024)

/* How many bad records are written when the breaker trips. */
#define BREAKER_RECORDS	100

/* From this many columns on a row may be too long for a page. */
#define WIDE_ROW		100

typedef struct Sync
{
	CdcPipeline *pipeline;
	CdcTarget  *target;
	CdcDecoder *decoder;
	CdcMoves   *moves;
	CdcLandingPosition *positions;
	CdcProgress *progress;		/* one for each position */
	int			npartitions;
	bool		first;			/* nothing was ever synced */
	bool		quarantine;		/* the pipeline has quarantined records */
	bool		retry;			/* some of them are to be tried again */
	bool		alone;			/* nothing follows in the transaction */
	MemoryContext window;		/* reset per window */
	Size		unchecked;		/* bytes read since the window's size was looked at */
	CdcSyncResult *result;
} Sync;

/* What is being staged of a window. */
typedef struct Stage
{
	Sync	   *sync;
	CdcRank    *rank;
	bool	   *never_set;		/* [ncolumns] */
	bool	   *partly_set;
	bool		needs_rows;
	CdcWinner **rows;			/* winners by staged row */
	char	   *actions;
	int64		nrows;
	CdcWinner **superseding;	/* quarantined records, once they are applied */
	int64		nsuperseding;

	/* the batch that is being converted */
	CdcWinner **batch;
	int			nbatch;
	int			at;				/* winner being converted */
	int			column;			/* its column */
	Datum	   *values;			/* [CDC_STAGING_BATCH][width] */
	bool	   *nulls;
	char	   *batch_actions;	/* 0: not to be staged */
	int			width;
} Stage;

static void
free_decoder(void *arg)
{
	cdc_decoder_free(arg);
}

static CdcDecoder *
make_decoder(const CdcTarget *target, const char *placeholder)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	CdcDecoder *decoder = cdc_decoder_create(target->fields, target->nfields,
											 target->source_fields,
											 target->nsource_fields, placeholder);

	if (decoder == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	callback->func = free_decoder;
	callback->arg = decoder;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return decoder;
}

/* Fill *p from the watermark row that is row of the SPI result. */
static void
read_watermark(CdcProgress *p, uint64 row)
{
	bool		isnull;
	Datum		d;

	p->known = true;
	p->epoch = DatumGetInt32(cdc_spi_value(row, 2, &isnull));
	p->next_offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
	d = cdc_spi_value(row, 4, &isnull);
	p->refresh_time = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
	d = cdc_spi_value(row, 5, &isnull);
	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &p->position);
	d = cdc_spi_value(row, 6, &isnull);
	p->source_ts_ms = isnull ? 0 : DatumGetInt64(d);
	p->skipped_delete = DatumGetBool(cdc_spi_value(row, 7, &isnull));
}

/* All watermarks of the pipeline as one text, as the active snapshot sees them. */
static char *
watermark_text(const CdcPipeline *pipeline, bool read_only)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;
	char	   *result;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (SPI_execute_with_args("SELECT coalesce(string_agg(format('%s/%s/%s', kafka_partition, epoch, next_offset), ' ' "
							  "ORDER BY kafka_partition), '') FROM cdcsync.watermark WHERE pipeline = $1",
							  1, types, values, NULL, read_only, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read the watermarks");
	result = MemoryContextStrdup(context, TextDatumGetCString(cdc_spi_value(0, 1, &isnull)));
	cdc_spi_end(&spi);
	return result;
}

/*
 * A transaction that sees the database as it was before another session's sync
 * would apply the same records again.
 */
static void
check_snapshot(const CdcPipeline *pipeline)
{
	char	   *now;
	bool		same;

	if (!IsolationUsesXactSnapshot())
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	now = watermark_text(pipeline, true);
	PopActiveSnapshot();
	same = strcmp(now, watermark_text(pipeline, false)) == 0;
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent sync of pipeline \"%s\"",
						pipeline->name),
				 errhint("Try the transaction again.")));
}

/* Positions of the landing and how far the pipeline is in each. */
static void
load_progress(Sync *sync)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(sync->pipeline->name)};
	int64		events = 0;
	CdcSpi		spi;
	uint64		n;

	sync->npartitions = cdc_landing_positions(sync->pipeline->landing,
											  &sync->positions);
	sync->progress = palloc0(sizeof(CdcProgress) * Max(sync->npartitions, 1));
	for (int i = 0; i < sync->npartitions; i++)
	{
		sync->progress[i].partition = sync->positions[i].partition;
		sync->progress[i].refresh_time = DT_NOBEGIN;
	}
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("SELECT kafka_partition, epoch, next_offset, refresh_time, source_position, "
					"source_ts_ms, skipped_delete, events "
					"FROM cdcsync.watermark WHERE pipeline = $1",
					1, types, values, NULL, 0);
	for (uint64 row = 0; row < n; row++)
	{
		bool		isnull;
		int64		partition = DatumGetInt64(cdc_spi_value(row, 1, &isnull));

		events += DatumGetInt64(cdc_spi_value(row, 8, &isnull));
		for (int i = 0; i < sync->npartitions; i++)
			if (sync->progress[i].partition == partition)
				read_watermark(&sync->progress[i], row);
	}
	cdc_spi_end(&spi);
	sync->first = events == 0;
	for (int i = 0; sync->quarantine && i < sync->npartitions; i++)
		cdc_quarantine_reread(sync->pipeline->name, sync->progress[i].partition,
							  sync->progress[i].next_offset);
}

static void
save_progress(Sync *sync)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID, TIMESTAMPOID, TEXTOID,
	INT8OID, INT8OID, INT8OID, BOOLOID};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	for (int i = 0; i < sync->npartitions; i++)
	{
		CdcProgress *p = &sync->progress[i];
		char		position[CDC_POSITION_TEXT];
		char		nulls[] = "          ";
		Datum		values[10];

		if (!p->moved)
			continue;
		cdc_position_print(&p->position, position);
		values[0] = CStringGetTextDatum(sync->pipeline->name);
		values[1] = Int64GetDatum(p->partition);
		values[2] = Int32GetDatum(p->epoch);
		values[3] = Int64GetDatum(p->next_offset);
		values[4] = TimestampGetDatum(p->refresh_time);
		values[5] = CStringGetTextDatum(position);
		values[6] = Int64GetDatum(p->source_ts_ms);
		values[7] = Int64GetDatum(p->events);
		values[8] = Int64GetDatum(p->resent);
		values[9] = BoolGetDatum(p->skipped_delete);
		if (TIMESTAMP_NOT_FINITE(p->refresh_time))
			nulls[4] = 'n';
		if (p->position.kind == CDC_POSITION_NONE)
			nulls[5] = nulls[6] = 'n';
		cdc_spi_run("INSERT INTO cdcsync.watermark AS w (pipeline, kafka_partition, epoch, "
					"next_offset, refresh_time, source_position, source_ts_ms, events, resent, "
					"skipped_delete, synced_at) "
					"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now()) "
					"ON CONFLICT (pipeline, kafka_partition) DO UPDATE SET "
					"epoch = $3, next_offset = $4, refresh_time = $5, source_position = $6, "
					"source_ts_ms = $7, events = w.events + $8, resent = w.resent + $9, "
					"skipped_delete = $10, synced_at = now()",
					10, types, values, nulls, 0);
		p->events = p->resent = 0;
		p->moved = false;
		p->known = true;
	}
	cdc_spi_end(&spi);
}

/*
 * Rank the records of one epoch of a partition, up to end.  Returns false when
 * the window is full.
 */
static bool
rank_epoch(Sync *sync, CdcRank *rank, CdcLandingScan *scan, CdcProgress *p,
		   int64 end)
{
	const CdcChunk *chunk;
	bool		room = true;

	while (room && (chunk = cdc_landing_scan_next(scan)) != NULL &&
		   cdc_chunk_offset(chunk, chunk->first) < end)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = chunk->first; room && i < chunk->nrecords; i++)
		{
			if (cdc_chunk_offset(chunk, i) >= end)
				break;
			cdc_rank_add(rank, chunk, i, p);
			p->next_offset = cdc_chunk_offset(chunk, i) + 1;
			p->refresh_time = Max(p->refresh_time, chunk->refresh_time);
			p->events++;
			p->moved = true;
			sync->unchecked += sizeof(CdcWinner) + chunk->keys[i].len + chunk->values[i].len;
			if (sync->unchecked > CHECK_BYTES)
			{
				room = cdc_rank_memory(rank) < WINDOW_BYTES;
				sync->unchecked = 0;
			}
		}
		/* a wrong set-up shows soon: do not read all of it */
		if (sync->first && cdc_quarantine_breaker(sync->pipeline, rank, true))
			room = false;
	}
	return room;
}

/* Rank records until the window is full or nothing is left; true: the latter. */
static bool
rank_window(Sync *sync, CdcRank *rank)
{
	CdcLandingScan *scan = NULL;
	bool		room = true;

	for (int i = 0; room && i < sync->npartitions; i++)
	{
		CdcProgress *p = &sync->progress[i];
		const CdcLandingPosition *pos = &sync->positions[i];

		while (p->epoch < pos->epoch || p->next_offset < pos->next_offset)
		{
			bool		last = p->epoch >= pos->epoch;

			if (scan)
				cdc_landing_scan_move(scan, p->partition, p->epoch, p->next_offset);
			else
				scan = cdc_landing_scan_begin(sync->pipeline->landing, p->partition,
											  p->epoch, p->next_offset);
			room = rank_epoch(sync, rank, scan, p,
							  last ? pos->next_offset : PG_INT64_MAX);
			if (!room)
				break;
			/* offsets at the end that hold no record */
			p->next_offset = last ? pos->next_offset : 0;
			p->moved = true;
			if (last)
				break;
			p->epoch++;
		}
	}
	if (scan)
		cdc_landing_scan_end(scan);
	return room;
}

/* Which columns do all, some, or none of the rows set? */
static void
survey_columns(Stage *stage)
{
	CdcRank    *rank = stage->rank;
	int			n = rank->target->ncolumns;
	bool	   *unset = palloc0(n);

	stage->never_set = palloc(n);
	stage->partly_set = palloc0(n);
	for (int c = 0; c < n; c++)
	{
		CdcColumnSource source = rank->target->columns[c].source;

		stage->never_set[c] = source == CDC_COLUMN_FIELD ||
			source == CDC_COLUMN_SOURCE_FIELD;
	}
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		for (int c = 0; !w->deleted && c < n; c++)
		{
			bool		unavailable = (w->tokens[c].flags & CDC_JSON_UNAVAILABLE) != 0;

			if (w->tokens[c].kind == CDC_JSON_MISSING || unavailable)
				unset[c] = true;
			else
				stage->never_set[c] = false;
			stage->needs_rows |= unavailable;
		}
	}
	for (int c = 0; c < n; c++)
		stage->partly_set[c] = unset[c] && !stage->never_set[c] &&
			(rank->target->columns[c].source == CDC_COLUMN_FIELD ||
			 rank->target->columns[c].source == CDC_COLUMN_SOURCE_FIELD);
}

static Datum
op_datum(const CdcColumn *column, char op)
{
	char		text[2] = {op, '\0'};

	if (column && getBaseType(column->typid) == BPCHAROID)
		return DirectFunctionCall3(bpcharin, CStringGetDatum(text),
								   ObjectIdGetDatum(InvalidOid),
								   Int32GetDatum(column->typmod));
	return PointerGetDatum(cstring_to_text_with_len(text, 1));
}

/* A pseudo-field's value. */
static Datum
pseudo_value(const CdcWinner *w, const CdcColumn *column, CdcColumnSource source,
			 bool *isnull)
{
	*isnull = false;
	switch (source)
	{
		case CDC_COLUMN_OP:
			return op_datum(column, w->op);
		case CDC_COLUMN_TS_MS:
			*isnull = !w->has_ts_ms;
			return Int64GetDatum(w->ts_ms);
		case CDC_COLUMN_REFRESH_TIME:
			return TimestampGetDatum(w->refresh_time);
		case CDC_COLUMN_PARTITION:
			return Int64GetDatum(w->last.partition);
		default:
			return Int64GetDatum(w->last.offset);
	}
}

/*
 * Convert one winner into its staged row.  Returns false and fills *error for a
 * value that cannot be; stage->column tells which.  May raise (see
 * cdc_value_read).
 */
static bool
convert_winner(Stage *stage, const CdcWinner *w, Datum *values, bool *nulls,
			   char *action, CdcConvertError *error)
{
	const CdcTarget *target = stage->rank->target;
	Datum	   *service = values + target->ncolumns;
	bool	   *service_nulls = nulls + target->ncolumns;
	Datum	   *unset = palloc(sizeof(Datum) * target->ncolumns);
	int			nunset = 0;

	*action = w->deleted ? 'd' : w->fresh ? 'r' : 'u';
	memset(nulls, true, stage->width);
	for (int c = 0; c < target->ncolumns; c++)
	{
		const CdcColumn *column = &target->columns[c];
		const CdcToken *t = &w->tokens[c];

		stage->column = c;
		if (column->source != CDC_COLUMN_FIELD &&
			column->source != CDC_COLUMN_SOURCE_FIELD)
		{
			values[c] = pseudo_value(w, column, column->source, &nulls[c]);
			continue;
		}
		if (w->deleted && column->key_no < 0)
			continue;
		if (t->flags & CDC_JSON_UNAVAILABLE)
			unset[nunset++] = Int16GetDatum(-column->attnum);
		else if (t->kind == CDC_JSON_MISSING)
		{
			if (!stage->never_set[c])
				unset[nunset++] = Int16GetDatum(column->attnum);
		}
		else if (!cdc_value_read(column, t, w->schema, c, w->connector,
								 &values[c], &nulls[c], error))
			return false;
		if (column->key_no >= 0 && nulls[c])
		{
			error->sqlerrcode = ERRCODE_NOT_NULL_VIOLATION;
			error->message = "the event has no value for the key column";
			return false;
		}
	}
	service[CDC_STAGING_OP] = pseudo_value(w, NULL, CDC_COLUMN_OP, &service_nulls[CDC_STAGING_OP]);
	service[CDC_STAGING_TS_MS] = pseudo_value(w, NULL, CDC_COLUMN_TS_MS, &service_nulls[CDC_STAGING_TS_MS]);
	service[CDC_STAGING_RECORD_RANK] = Int64GetDatum(1);
	service[CDC_STAGING_REFRESH_TIME] = TimestampGetDatum(w->refresh_time);
	service[CDC_STAGING_PARTITION] = Int64GetDatum(w->last.partition);
	service[CDC_STAGING_OFFSET] = Int64GetDatum(w->last.offset);
	service[CDC_STAGING_ACTION] = CharGetDatum(*action);
	service_nulls[CDC_STAGING_RECORD_RANK] = service_nulls[CDC_STAGING_REFRESH_TIME] =
		service_nulls[CDC_STAGING_PARTITION] = service_nulls[CDC_STAGING_OFFSET] =
		service_nulls[CDC_STAGING_ACTION] = false;
	if (nunset > 0)
	{
		service[CDC_STAGING_UNSET] = PointerGetDatum(construct_array(unset, nunset, INT2OID,
																	 2, true, TYPALIGN_SHORT));
		service_nulls[CDC_STAGING_UNSET] = false;
	}
	return true;
}

/* Note one of the records that a winner is made of, which waits for another. */
static void
blocked_record(CdcRank *rank, const CdcOrigin *at, int64 blocked_by)
{
	cdc_rank_bad(rank, at, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 CDC_BLOCKED_MESSAGE)->blocked_by = blocked_by;
}

/*
 * A winner goes to quarantine, with all the records that it is made of: one is
 * blamed, and the others belong to it.
 */
static void
refuse(CdcRank *rank, CdcWinner *w, const CdcOrigin *blamed, const char *column,
	   const CdcConvertError *error)
{
	bool		last_is_listed = false;

	w->refused = true;
	cdc_rank_bad(rank, blamed, column, error->sqlerrcode, error->message);
	for (int i = 0; i < w->norigins; i++)
	{
		const CdcOrigin *at = &w->origins[i];

		last_is_listed |= at->offset == w->last.offset;
		if (at->offset != blamed->offset)
			blocked_record(rank, at, blamed->offset);
	}
	if (!last_is_listed && w->last.offset != blamed->offset)
		blocked_record(rank, &w->last, blamed->offset);
}

/* Of a refused winner at stage->at, apply the delete that preceded it, if any. */
static void
bury_refused(Stage *stage, CdcWinner *w)
{
	CdcConvertError error;
	int			slot = stage->at;

	stage->batch_actions[slot] = 0;
	if (!w->fresh)
		return;
	w->deleted = true;
	if (!convert_winner(stage, w, stage->values + slot * stage->width,
						stage->nulls + slot * stage->width,
						&stage->batch_actions[slot], &error))
		stage->batch_actions[slot] = 0;
}

/*
 * A winner that cannot be converted goes to quarantine; the record is blamed
 * that the value came from, and the later ones of the key wait behind it.  If a delete preceded
 * it in the window, that much is applied.
 */
static void
refuse_winner(Stage *stage, CdcWinner *w, const CdcConvertError *error)
{
	const CdcColumn *column = &stage->rank->target->columns[stage->column];
	const CdcOrigin *origin = &w->last;

	if (w->norigins > 0)
		origin = &w->origins[w->tokens[stage->column].origin];
	refuse(stage->rank, w, origin, column->name, error);
	if (column->key_no < 0)
		bury_refused(stage, w);
	else
		stage->batch_actions[stage->at] = 0;
}

/* Convert the batch from stage->at on; may raise for the winner at stage->at. */
static bool
convert_batch(void *arg)
{
	Stage	   *stage = arg;
	CdcConvertError error;

	for (; stage->at < stage->nbatch; stage->at++)
	{
		CdcWinner  *w = stage->batch[stage->at];

		if (!convert_winner(stage, w, stage->values + stage->at * stage->width,
							stage->nulls + stage->at * stage->width,
							&stage->batch_actions[stage->at], &error))
			refuse_winner(stage, w, &error);
	}
	return true;
}

/* Rows first to last of the batch on their way to staging. */
typedef struct Put
{
	Stage	   *stage;
	CdcStagingWriter *writer;
	int			first;
	int			last;
} Put;

static bool
put_rows(void *arg)
{
	Put		   *put = arg;
	Stage	   *stage = put->stage;

	for (int i = put->first; i < put->last; i++)
		if (stage->batch_actions[i] != 0)
			cdc_staging_put(put->writer, stage->values + i * stage->width,
							stage->nulls + i * stage->width);
	cdc_staging_flush(put->writer);
	return true;
}

/*
 * Write the batch.  A row of that many columns can be too long for a page; it
 * would be in the target too, and goes to quarantine.
 */
static void
put_batch(Stage *stage, CdcStagingWriter *writer)
{
	Put			put = {stage, writer, 0, stage->nbatch};
	CdcConvertError error;

	if (stage->width < WIDE_ROW)
	{
		put_rows(&put);
		return;
	}
	if (cdc_try(put_rows, &put, &error))
		return;
	cdc_staging_forget(writer);
	for (int i = 0; i < stage->nbatch; i++)
	{
		put.first = i;
		put.last = i + 1;
		if (cdc_try(put_rows, &put, &error))
			continue;
		cdc_staging_forget(writer);
		stage->at = i;
		refuse(stage->rank, stage->batch[i], &stage->batch[i]->last, NULL, &error);
		bury_refused(stage, stage->batch[i]);
		put_rows(&put);
	}
}

/* Convert and stage a batch of winners. */
static void
stage_batch(Stage *stage, CdcStagingWriter *writer, bool may_raise)
{
	CdcConvertError error;

	stage->at = 0;
	if (!may_raise)
		convert_batch(stage);
	else
		while (!cdc_try(convert_batch, stage, &error))
		{
			refuse_winner(stage, stage->batch[stage->at], &error);
			stage->at++;
		}
	put_batch(stage, writer);
	for (int i = 0; i < stage->nbatch; i++)
	{
		if (stage->batch_actions[i] == 0)
			continue;
		stage->rows[stage->nrows] = stage->batch[i];
		stage->actions[stage->nrows++] = stage->batch_actions[i];
	}
	stage->nbatch = 0;
}

/* Stage the window's winners; returns the TIDs of the rows. */
static ItemPointerData *
stage_winners(Stage *stage)
{
	CdcRank    *rank = stage->rank;
	const CdcTarget *target = rank->target;
	MemoryContext batch_context = AllocSetContextCreate(CurrentMemoryContext,
														"cdcsync batch",
														ALLOCSET_DEFAULT_SIZES);
	CdcStagingWriter *writer = cdc_staging_begin(stage->sync->pipeline->staging, target);
	bool		may_raise = false;

	for (int c = 0; c < target->ncolumns; c++)
		may_raise |= target->columns[c].may_raise;
	stage->width = target->ncolumns + CDC_STAGING_NCOLUMNS;
	stage->values = palloc(sizeof(Datum) * stage->width * CDC_STAGING_BATCH);
	stage->nulls = palloc(sizeof(bool) * stage->width * CDC_STAGING_BATCH);
	stage->batch = palloc(sizeof(CdcWinner *) * CDC_STAGING_BATCH);
	stage->batch_actions = palloc(CDC_STAGING_BATCH);
	stage->rows = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(CdcWinner *) * (rank->nwinners + 1));
	stage->actions = MemoryContextAllocHuge(CurrentMemoryContext, rank->nwinners + 1);
	for (int64 i = 0; i <= rank->nwinners; i++)
	{
		if (stage->nbatch == CDC_STAGING_BATCH || i == rank->nwinners)
		{
			MemoryContext old = MemoryContextSwitchTo(batch_context);

			CHECK_FOR_INTERRUPTS();
			stage_batch(stage, writer, may_raise);
			MemoryContextSwitchTo(old);
			MemoryContextReset(batch_context);
		}
		if (i < rank->nwinners && rank->winners[i]->tokens != NULL)
			stage->batch[stage->nbatch++] = rank->winners[i];
	}
	MemoryContextDelete(batch_context);
	stage->sync->result->staged += stage->nrows;
	return cdc_staging_end(writer);
}

static void
merge_refused(void *arg, int64 row, const CdcConvertError *error)
{
	Stage	   *stage = arg;
	CdcWinner  *w = stage->rows[row];

	refuse(stage->rank, w, &w->last,
		   error->column ? MemoryContextStrdup(stage->rank->context, error->column) : NULL,
		   error);
}

/* Does the change leave out values that others of the window do not? */
static bool
is_partial(const Stage *stage, const CdcWinner *w)
{
	if (w->deleted || w->fresh)
		return false;
	for (int c = 0; c < stage->rank->target->ncolumns; c++)
		if ((w->tokens[c].flags & CDC_JSON_UNAVAILABLE) != 0 ||
			(stage->partly_set[c] && w->tokens[c].kind == CDC_JSON_MISSING))
			return true;
	return false;
}

/*
 * Changes that leave values out wait behind a quarantined record of their key,
 * whose values they would need; all others supersede it, if they are applied
 * (supersede_quarantine).
 */
static void
heed_quarantine(Stage *stage)
{
	CdcRank    *rank = stage->rank;
	int64	   *blocked = MemoryContextAllocHuge(CurrentMemoryContext,
												 sizeof(int64) * (rank->nwinners + 1));
	int64		left = 0;

	stage->superseding = MemoryContextAllocHuge(CurrentMemoryContext,
												sizeof(CdcWinner *) * (rank->nwinners + 1));
	cdc_quarantine_find(stage->sync->pipeline->name, rank->nwinners, rank->winners,
						blocked);
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->tokens && blocked[i] >= 0 && is_partial(stage, w))
		{
			w->refused = true;
			for (int j = 0; j < w->norigins; j++)
				if (w->origins[j].offset != w->last.offset)
					blocked_record(rank, &w->origins[j], blocked[i]);
			blocked_record(rank, &w->last, blocked[i]);
		}
		else
		{
			if (blocked[i] >= 0)
				stage->superseding[stage->nsuperseding++] = w;
			rank->winners[left++] = w;
		}
	}
	rank->nwinners = left;
}

static void
supersede_quarantine(Stage *stage)
{
	for (int64 i = 0; i < stage->nsuperseding; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!stage->superseding[i]->refused)
			cdc_quarantine_supersede(stage->sync->pipeline->name, stage->superseding[i]);
	}
}

/* Bring a ranked window to the target. */
static void
apply_window(Sync *sync, CdcRank *rank)
{
	Stage		stage = {.sync = sync,.rank = rank};
	CdcMerge	merge = {
		.target = sync->target,
		.staging = sync->pipeline->staging,
		.truncate = rank->truncated,
		.refused = merge_refused,
		.arg = &stage,
	};

	cdc_moves_store(sync->moves);
	survey_columns(&stage);
	if (sync->quarantine && rank->truncated)
		cdc_quarantine_truncate(sync->pipeline->name, rank->truncate_offset);
	if (sync->quarantine)
		heed_quarantine(&stage);
	cdc_staging_clear(sync->pipeline->staging);
	merge.tids = stage_winners(&stage);
	merge.nrows = stage.nrows;
	merge.actions = stage.actions;
	merge.never_set = stage.never_set;
	merge.partly_set = stage.partly_set;
	merge.needs_rows = stage.needs_rows;
	merge.check_foreign_keys = sync->alone;
	merge.max_refused = cdc_quarantine_limit(sync->pipeline, rank);
	if (merge.max_refused < PG_INT64_MAX)
		merge.max_refused += rank->again;
	cdc_merge(&merge);
	supersede_quarantine(&stage);
	sync->result->inserted += merge.inserted;
	sync->result->updated += merge.updated;
	sync->result->deleted += merge.deleted;
}

/* A window on its way to the target. */
typedef struct Window
{
	Sync	   *sync;
	CdcRank    *rank;
	bool		retry;			/* with the records that wait in quarantine */
	bool		done;			/* nothing is left to rank after it */
	char	   *trip;			/* why the breaker refuses it */
} Window;

/* Rank and apply a window, quarantine included; false if the breaker trips. */
static bool
try_window(void *arg)
{
	Window	   *window = arg;
	Sync	   *sync = window->sync;
	CdcRank    *rank = window->rank;
	int64		written;

	if (window->retry)
		cdc_quarantine_retry(sync->pipeline->name, rank);
	window->done = rank_window(sync, rank);
	window->trip = cdc_quarantine_breaker(sync->pipeline, rank, sync->first);
	if (window->trip)
		return false;
	written = rank->nbad;
	/* first those that are known: later changes of their keys heed them */
	cdc_quarantine_write(sync->pipeline, rank, 0, written);
	sync->quarantine |= written > 0;
	apply_window(sync, rank);
	window->trip = cdc_quarantine_breaker(sync->pipeline, rank, sync->first);
	if (window->trip)
		return false;
	cdc_quarantine_write(sync->pipeline, rank, written, rank->nbad);
	return true;
}

/*
 * The breaker has tripped: record why, with some of the records.  Those that
 * were tried again are in quarantine already, as nothing was changed.
 */
static void
stop_pipeline(Sync *sync, CdcRank *rank, const char *why)
{
	int64		left;
	int			sqlerrcode = cdc_quarantine_new(rank, &left)->sqlerrcode;

	left = 0;

	for (int64 i = 0; i < rank->nbad && left < BREAKER_RECORDS; i++)
		if (rank->bad[i].at.since == 0)
			rank->bad[left++] = rank->bad[i];
	rank->nbad = left;
	cdc_quarantine_write(sync->pipeline, rank, 0, rank->nbad);
	cdc_pipeline_stop(sync->pipeline, why, unpack_sql_state(sqlerrcode),
					  "Look at cdcsync.quarantine and correct the set-up. The option \"max_quarantine_share\" 1 lets all bad records pass into quarantine.");
	ereport(WARNING,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("pipeline \"%s\" is stopped: %s", sync->pipeline->name, why),
			 errhint("Look at cdcsync.quarantine, correct the set-up, and call cdc_resume().")));
}

/*
 * One window.  Returns false if nothing is left to do after it, or the breaker
 * has stopped the pipeline.
 */
static bool
run_window(Sync *sync)
{
	MemoryContext old = MemoryContextSwitchTo(sync->window);
	CdcProgress *before = palloc(sizeof(CdcProgress) * Max(sync->npartitions, 1));
	CdcSyncResult result_before = *sync->result;
	Window		window = {.sync = sync,.retry = sync->retry};
	int64		again = 0;

	memcpy(before, sync->progress, sizeof(CdcProgress) * sync->npartitions);
	window.rank = cdc_rank_begin(sync->target, sync->decoder, sync->moves,
								 sync->npartitions > 1);
	sync->retry = false;
	if (cdc_attempt(try_window, &window, NULL, NULL))
	{
		for (int i = 0; i < sync->npartitions; i++)
			sync->result->events += sync->progress[i].events;
		save_progress(sync);
	}
	else
	{
		memcpy(sync->progress, before, sizeof(CdcProgress) * sync->npartitions);
		*sync->result = result_before;
		stop_pipeline(sync, window.rank, window.trip);
		window.done = true;
	}
	for (int64 i = 0; i < window.rank->nbad; i++)
		again += window.rank->bad[i].at.since != 0;
	sync->result->quarantined += window.rank->nbad - again;
	sync->quarantine |= window.rank->nbad > 0;
	sync->first = false;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sync->window);
	return !window.done;
}

/* The target of a pipeline that was made before its first event. */
static bool
make_target(CdcPipeline *pipeline)
{
	CdcInferred *inferred;
	List	   *key;
	Oid			target;

	/* another session may be at it: the second finds it made */
	*pipeline = *cdc_pipeline_lock(pipeline->name, NoLock);
	if (OidIsValid(pipeline->target))
		return true;
	inferred = cdc_infer(pipeline->landing->view);
	if (inferred->nrecords == 0)
		return false;
	target = cdc_infer_make_target(pipeline, inferred, pipeline->key, &key);
	cdc_pipeline_set_target(pipeline, target, key);
	return true;
}

/* Lock what the sync needs and describe it; false: there is nothing yet. */
static bool
open_sync(Sync *sync)
{
	CdcPipeline *pipeline = sync->pipeline;
	Oid			staging;

	if (!OidIsValid(pipeline->target) && !make_target(pipeline))
		return false;
	cdc_staging_lock(pipeline->staging, pipeline->name);
	check_snapshot(pipeline);
	/* it may have been stopped or altered while we waited */
	staging = pipeline->staging;
	*pipeline = *cdc_pipeline_get(pipeline->name);
	cdc_pipeline_check_active(pipeline);
	if (pipeline->staging != staging)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("pipeline \"%s\" was created anew by another session",
						pipeline->name),
				 errhint("Try again.")));
	LockRelationOid(pipeline->target, RowExclusiveLock);
	if (get_rel_name(pipeline->target) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the target of pipeline \"%s\" does not exist any more", pipeline->name)));
	sync->target = cdc_target_describe(pipeline->target, pipeline->key,
									   pipeline->readings, pipeline->strict);
	cdc_staging_adapt(pipeline->staging, sync->target);
	sync->decoder = make_decoder(sync->target, pipeline->placeholder);
	sync->quarantine = cdc_quarantine_any(pipeline->name);
	sync->retry = sync->quarantine && cdc_quarantine_waiting(pipeline->name);
	load_progress(sync);
	sync->moves = cdc_moves_load(pipeline->name, sync->target);
	return true;
}

/* The search_path that triggers and defaults of the target see. */
static char *
target_search_path(const CdcPipeline *pipeline)
{
	Oid			nspid = OidIsValid(pipeline->target) ?
	get_rel_namespace(pipeline->target) : cdc_pipeline_schema(pipeline);
	char	   *name = get_namespace_name(nspid);

	return name ? psprintf("%s, pg_temp", quote_identifier(name)) : NULL;
}

/* Has anything landed after the watermark, or may be tried again? */
static bool
has_work(const Sync *sync)
{
	if (sync->retry)
		return true;
	for (int i = 0; i < sync->npartitions; i++)
		if (sync->progress[i].epoch < sync->positions[i].epoch ||
			sync->progress[i].next_offset < sync->positions[i].next_offset)
			return true;
	return false;
}

/*
 * The rows of a window are sorted and hashed in memory, not in temporary files:
 * that takes less than the window itself has taken.  Lasts to cdc_spi_end().
 */
static void
raise_work_mem(void)
{
	if (work_mem < MERGE_WORK_MEM)
		(void) set_config_option("work_mem", psprintf("%d", MERGE_WORK_MEM),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

void
cdc_sync_pipeline(CdcPipeline *pipeline, int max_windows, CdcSyncResult *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sync",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Sync		sync = {.pipeline = pipeline,.result = result,.alone = !IsTransactionBlock()};
	CdcSpi		spi;

	memset(result, 0, sizeof(CdcSyncResult));
	result->latest_refresh_time = DT_NOBEGIN;
	cdc_spi_begin_as(&spi, pipeline->owner, target_search_path(pipeline));
	raise_work_mem();
	old = MemoryContextSwitchTo(context);
	if (open_sync(&sync))
	{
		sync.window = AllocSetContextCreate(context, "cdcsync window",
											ALLOCSET_DEFAULT_SIZES);
		for (int n = 0; max_windows <= 0 || n < max_windows; n++)
			if (!has_work(&sync) || !run_window(&sync))
				break;
		for (int i = 0; i < sync.npartitions; i++)
			result->latest_refresh_time = Max(result->latest_refresh_time,
											  sync.progress[i].refresh_time);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	cdc_spi_end(&spi);
}

PG_FUNCTION_INFO_V1(cdc_sync);
Datum
cdc_sync(PG_FUNCTION_ARGS)
{
	int			max_windows = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	CdcPipeline *pipeline;
	CdcSyncResult r;
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {false};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pipeline name must not be null"),
				 errhint("The view cdc_status lists your pipelines.")));
	if (!PG_ARGISNULL(1) && max_windows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_windows must be at least 1"),
				 errhint("Leave it out to sync everything.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_pipeline_check_active(pipeline);
	cdc_sync_pipeline(pipeline, max_windows, &r);
	values[0] = Int64GetDatum(r.events);
	values[1] = Int64GetDatum(r.staged);
	values[2] = Int64GetDatum(r.inserted);
	values[3] = Int64GetDatum(r.updated);
	values[4] = Int64GetDatum(r.deleted);
	values[5] = Int64GetDatum(r.quarantined);
	values[6] = TimestampGetDatum(r.latest_refresh_time);
	nulls[6] = TIMESTAMP_NOT_FINITE(r.latest_refresh_time);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
