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
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "barrier.h"
#include "breaker.h"
#include "catalog.h"
#include "evidence.h"
#include "fault.h"
#include "history.h"
#include "infer.h"
#include "intake.h"
#include "keyless.h"
#include "lookback.h"
#include "merge.h"
#include "move.h"
#include "new_target.h"
#include "quarantine.h"
#include "rank.h"
#include "retry.h"
#include "stage.h"
#include "sweep.h"
#include "sync.h"
#include "target_check.h"
#include "track.h"
#include "versions.h"
#include "wake.h"
#include "watermark.h"

/* A window ends when its winners hold this much. */
#define WINDOW_BYTES	(128 * 1024 * 1024)

/* .. which is looked at after reading this much. */
#define CHECK_BYTES		(1024 * 1024)

/* work_mem of the merge, at least, in kB. */
#define MERGE_WORK_MEM	(32 * 1024)

/*
 * How long a worker lets records lie whose pipeline reads a schema-change topic,
 * in us: what the source did before them lands in this time, too.
 */
#define SCHEMA_TOPIC_DELAY	USECS_PER_SEC

/* How many bad records are written when the breaker trips. */
#define BREAKER_RECORDS	100

typedef struct Sync
{
	CdcPipeline *pipeline;
	CdcTarget  *target;
	CdcDecoder *decoder;
	CdcMoves   *moves;
	CdcIntake  *intake;
	CdcSnapshots *snapshots;	/* NULL: they do not replace the target */
	bool		stopped;		/* by the breaker */
	CdcEvidence *evidence;		/* NULL: none is needed */
	CdcTrack   *track;			/* the changes of the source's table */
	CdcLandingPosition *positions;
	CdcProgress *progress;		/* one for each position */
	int			npartitions;
	CdcBreaker *breaker;
	CdcBarriers barriers;		/* none for a single partition */
	bool		quarantine;		/* the pipeline has quarantined records */
	CdcRetry	retry;			/* which of them are to be tried again */
	bool		retries;		/* some are */
	bool		only_retry;		/* nothing that has landed is read */
	bool		alone;			/* nothing follows in the transaction */
	CdcRebuild *rebuild;		/* not NULL: not to the target */
	bool	   *fed;			/* rebuild: [ncolumns] set by some event */
	bool		background;		/* the caller commits and comes again */
	Timestamp	hold;			/* records that landed later are for another time;
								 * DT_NOEND: none */
	MemoryContext window;		/* reset per window */
	Size		unchecked;		/* bytes read since the window's size was looked at */
	CdcSyncResult *result;
} Sync;

static void
free_decoder(void *arg)
{
	cdc_decoder_free(arg);
}

static CdcDecoder *
make_decoder(const CdcTarget *target, const CdcIntake *intake,
			 const char *placeholder)
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
	cdc_intake_prepare(intake, decoder);
	return decoder;
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
	int			sqlerrcode;

	while (room && (chunk = cdc_landing_scan_next(scan)) != NULL &&
		   cdc_chunk_offset(chunk, chunk->first) < end)
	{
		CHECK_FOR_INTERRUPTS();
		if (chunk->refresh_time > sync->hold)
		{
			sync->result->held = true;
			room = false;
		}
		for (int i = chunk->first; room && i < chunk->nrecords; i++)
		{
			if (cdc_chunk_offset(chunk, i) >= end)
				break;
			if (!cdc_rank_add(rank, chunk, i, p))
			{
				room = false;
				break;
			}
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
		if (rank->nbad > 0 && cdc_breaker_is_new(sync->breaker) &&
			cdc_breaker_check(sync->breaker, rank, &sqlerrcode))
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

/* Rows that a truncate marks tell it. */
static void
note_truncate(CdcMerge *merge, const CdcRank *rank)
{
	int			n = merge->target->ncolumns;
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(n);

	cdc_stage_pseudos(merge->target, rank->truncate, values, nulls);
	merge->truncate_values = values;
	merge->truncate_nulls = nulls;
}

/*
 * Can a row have been changed through another partition by what was applied
 * before?  The other modes keep every change.
 */
static bool
looks_back(const Sync *sync)
{
	return sync->npartitions > 1 && !sync->target->keyless &&
		(sync->target->mode == CDC_MODE_MIRROR || sync->target->mode == CDC_MODE_SOFT_DELETE);
}

/* Bring a ranked window to the target. */
static void
apply_window(Sync *sync, CdcRank *rank)
{
	CdcStage	stage = {.pipeline = sync->pipeline,.rank = rank};
	CdcMerge	merge = {
		.target = sync->target,
		.staging = sync->pipeline->staging,
		.truncate = rank->truncated && sync->target->mode != CDC_MODE_APPEND,
		.keep_staged = rank->multi_partition,
		.refused = cdc_stage_refused,
		.arg = &stage,
	};

	CdcMode		mode = sync->target->mode;

	cdc_moves_store(sync->moves);
	if (mode == CDC_MODE_HISTORY)
		cdc_history_arrange(rank);
	else if (sync->target->keyless)
		cdc_keyless_arrange(rank);
	cdc_stage_survey(&stage);
	if (sync->quarantine && rank->truncated && mode == CDC_MODE_MIRROR)
		cdc_quarantine_truncate(sync->pipeline->name, &rank->truncated_at,
								rank->multi_partition);
	if (sync->quarantine && mode != CDC_MODE_APPEND && !sync->target->keyless)
		cdc_stage_heed_quarantine(&stage);
	if (mode == CDC_MODE_HISTORY)
		cdc_history_date(rank);
	cdc_staging_clear(sync->pipeline->staging);
	merge.tids = cdc_stage_winners(&stage);
	CDC_FAULT("sync_staged");
	sync->result->staged += stage.nrows;
	merge.nrows = stage.nrows;
	merge.actions = stage.actions;
	merge.never_set = stage.never_set;
	merge.partly_set = stage.partly_set;
	merge.needs_rows = stage.needs_rows;
	merge.check_foreign_keys = sync->alone;
	merge.max_refused = cdc_breaker_limit(sync->breaker, rank);
	if (merge.max_refused < PG_INT64_MAX)
		merge.max_refused += rank->again;
	merge.deleted = cdc_scope_apply(rank);
	if (rank->truncate)
		note_truncate(&merge, rank);
	if (mode == CDC_MODE_HISTORY)
		cdc_versions_merge(&merge, &stage, sync->npartitions > 1);
	else if (sync->target->keyless)
		cdc_keyless_merge(&merge, &stage);
	else
		cdc_merge(&merge);
	CDC_FAULT("sync_merged");
	cdc_stage_supersede(&stage);
	if (rank->kept_moves)
		cdc_moves_store(sync->moves);
	for (int i = 0; sync->fed && i < sync->target->ncolumns; i++)
		sync->fed[i] |= stage.nrows > 0 && !stage.never_set[i];
	sync->result->inserted += merge.inserted;
	sync->result->updated += merge.updated;
	sync->result->deleted += merge.deleted;
}

/* A window on its way to the target. */
typedef struct Window
{
	Sync	   *sync;
	CdcRank    *rank;
	const CdcProgress *before;	/* as it begins */
	int64		taken;			/* out of quarantine */
	int64		applied;		/* of those */
	bool		done;			/* nothing is left to rank after it */
	bool		learned;		/* what records in quarantine may wait for */
	char	   *trip;			/* why the breaker refuses it */
	int			sqlerrcode;		/* of that */
} Window;

/*
 * The keys of quarantined records, as the target and the mapping are now; unknown:
 * those too that could not be told.
 */
static void
rehash_quarantine(Sync *sync, bool unknown)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync rehash",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CdcRank    *rank;

	rank = cdc_rank_begin(sync->target, sync->decoder, sync->moves, false);
	rank->intake = sync->intake;
	rank->evidence = sync->evidence;
	cdc_quarantine_rehash(sync->pipeline, rank, unknown);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Newer changes of the window's keys may have come through other partitions. */
static void
look_back(Sync *sync, CdcRank *rank, const CdcProgress *before, int64 *taken)
{
	CdcLookback lookback = {
		.pipeline = sync->pipeline,
		.rank = rank,
		.decoder = sync->decoder,
		.barriers = &sync->barriers,
		.npartitions = sync->npartitions,
		.synced = before,
		.quarantine = sync->quarantine,
		.taken = taken,
	};

	if (looks_back(sync))
		cdc_lookback(&lookback);
	CDC_FAULT("sync_looked_back");
}

/* Rank and apply a window, quarantine included; false if the breaker trips. */
static bool
try_window(void *arg)
{
	Window	   *window = arg;
	Sync	   *sync = window->sync;
	CdcRank    *rank = window->rank;
	int64		written;

	if (sync->track->truncate)
		cdc_rank_truncate(rank, sync->track->truncate, sync->progress[0].epoch,
						  sync->progress[0].next_offset);
	if (sync->retries)
		window->taken = cdc_quarantine_take(sync->pipeline->name, &sync->retry);
	if (window->taken > 0)
		cdc_quarantine_retry(sync->pipeline->name, rank);
	window->done = sync->only_retry || rank_window(sync, rank);
	CDC_FAULT("sync_ranked");
	look_back(sync, rank, window->before, &window->taken);
	window->trip = cdc_breaker_check(sync->breaker, rank, &window->sqlerrcode);
	if (window->trip)
		return false;
	if (cdc_track_is_due(sync->track) && rank->ordinal == 0 && window->taken == 0 &&
		sync->track->truncate == NULL)
		return true;			/* nothing was read before the change */
	written = rank->nbad;
	/* first those that are known: later changes of their keys heed them */
	cdc_quarantine_write(sync->pipeline, rank, 0, written);
	sync->quarantine |= written > 0;
	window->learned = sync->evidence && cdc_evidence_store(sync->evidence);
	if (window->learned && sync->quarantine)
		rehash_quarantine(sync, true);
	apply_window(sync, rank);
	window->trip = cdc_breaker_check(sync->breaker, rank, &window->sqlerrcode);
	if (window->trip)
		return false;
	cdc_quarantine_write(sync->pipeline, rank, written, rank->nbad);
	if (window->taken > 0)
		window->applied = cdc_quarantine_release(sync->pipeline->name);
	return true;
}

/*
 * The breaker has tripped: record why, with some of the records.  Those that
 * were tried again are in quarantine already, as nothing was changed.
 */
static void
stop_pipeline(Sync *sync, CdcRank *rank, const char *why, int sqlerrcode)
{
	int64		left = 0;

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
	CdcBarriers barriers_before = sync->barriers;
	Window		window = {.sync = sync,.before = before};
	int64		records = 0;
	int64		again = 0;

	memcpy(before, sync->progress, sizeof(CdcProgress) * sync->npartitions);
	window.rank = cdc_rank_begin(sync->target, sync->decoder, sync->moves,
								 sync->npartitions > 1);
	window.rank->has_truncate = sync->barriers.has_truncate;
	window.rank->truncated_at = sync->barriers.truncate;
	window.rank->intake = sync->intake;
	window.rank->evidence = sync->evidence;
	window.rank->watch = sync->track->watch;
	if (cdc_attempt(try_window, &window, NULL, NULL))
	{
		for (int i = 0; i < sync->npartitions; i++)
			records += sync->progress[i].events;
		sync->result->events += records;
		sync->result->retried += window.taken;
		sync->result->applied += window.applied;
		cdc_breaker_save(sync->breaker, window.rank, records);
		cdc_intake_save(sync->intake, sync->pipeline);
		cdc_barriers_save(sync->pipeline->name, &sync->barriers, sync->npartitions,
						  sync->progress);
		cdc_watermark_save(sync->pipeline, sync->npartitions, sync->progress);
		cdc_track_save(sync->track, sync->target);
		if (sync->snapshots)
			cdc_snapshots_store(sync->snapshots);
		CDC_FAULT("sync_saved");
	}
	else
	{
		if (sync->rebuild)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("cannot rebuild the target of pipeline \"%s\": %s",
							sync->pipeline->name, window.trip),
					 errhint("Correct the set-up, or let all bad records pass into quarantine with the option \"max_quarantine_share\" 1.")));
		memcpy(sync->progress, before, sizeof(CdcProgress) * sync->npartitions);
		*sync->result = result_before;
		sync->barriers = barriers_before;
		stop_pipeline(sync, window.rank, window.trip, window.sqlerrcode);
		window.done = sync->stopped = true;
		window.taken = 0;
	}
	/* each is tried once a sync, or when its encoding has become known */
	sync->retries = window.taken >= CDC_RETRY_RECORDS ||
		(window.trip == NULL && sync->quarantine && sync->evidence && sync->retry.waiting &&
		 (window.learned || window.taken > 0) && cdc_evidence_waiting(sync->pipeline->name));
	for (int64 i = 0; i < window.rank->nbad; i++)
		again += window.rank->bad[i].at.since != 0;
	sync->result->quarantined += window.rank->nbad - again;
	sync->quarantine |= window.rank->nbad > 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sync->window);
	return !window.done || sync->retries;
}

/* What the records that have landed look like. */
static CdcInferred *
sample_landing(const CdcPipeline *pipeline)
{
	CdcSampling how = {pipeline->read_as, pipeline->add_fields_prefix, pipeline->filter};

	return cdc_infer(pipeline->landing->view, &how);
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
	inferred = sample_landing(pipeline);
	if (inferred->nrecords == 0)
		return false;
	target = cdc_new_target_make(pipeline, inferred, pipeline->key, &key);
	cdc_new_target_tell_guesses(pipeline, inferred);
	cdc_pipeline_set_target(pipeline, target, key);
	return true;
}

void
cdc_sync_lock_target(const CdcPipeline *pipeline)
{
	LockRelationOid(pipeline->target, RowExclusiveLock);
	if (get_rel_name(pipeline->target) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the target of pipeline \"%s\" does not exist any more", pipeline->name)));
}

/* Describe the target and fit what depends on it. */
static void
describe(Sync *sync)
{
	CdcPipeline *pipeline = sync->pipeline;

	sync->target = cdc_target_describe(pipeline->target, pipeline->key,
									   pipeline->readings, pipeline->strict,
									   pipeline->mode);
	cdc_staging_adapt(pipeline->staging, sync->target);
	sync->intake = cdc_intake_make(pipeline, sync->target);
	sync->decoder = make_decoder(sync->target, sync->intake, pipeline->placeholder);
	sync->moves = cdc_moves_load(pipeline->name, sync->target);
	sync->evidence = cdc_evidence_load(pipeline->name, sync->target);
}

/* Snapshots are to replace the target. */
static void
watch_snapshots(Sync *sync)
{
	bool		first = true;

	sync->snapshots = cdc_snapshots_load(sync->pipeline, sync->target);
	for (int i = 0; i < sync->npartitions; i++)
		first &= TIMESTAMP_NOT_FINITE(sync->progress[i].refresh_time);
	sync->snapshots->target_empty = first &&
		cdc_spi_run(psprintf("SELECT FROM %s", cdc_qualified_name(sync->target->relid)),
					0, NULL, NULL, NULL, 1) == 0;
	cdc_snapshots_watch(sync->snapshots, sync->npartitions, sync->progress);
}

/* Has a snapshot become complete, that is to replace the target? */
static void
sweep(Sync *sync)
{
	CdcSweep	s = {
		.pipeline = sync->pipeline,
		.target = sync->target,
		.decoder = sync->decoder,
		.intake = sync->intake,
		.snapshots = sync->snapshots,
		.npartitions = sync->npartitions,
		.progress = sync->progress,
		.positions = sync->positions,
		.check_foreign_keys = sync->alone,
		.result = sync->result,
	};

	cdc_sweep(&s);
}

/*
 * A given target without a key, for which there were no events at cdc_create():
 * do they have one?
 */
static bool
find_key(CdcPipeline *pipeline)
{
	List	   *key = cdc_target_event_key(pipeline, sample_landing(pipeline));

	if (key != NIL)
		cdc_pipeline_set_key(pipeline, key);
	return key != NIL;
}

/* Lock what the sync needs and describe it; false: there is nothing to do yet. */
static bool
open_sync(Sync *sync, bool nowait)
{
	CdcPipeline *pipeline = sync->pipeline;
	Oid			staging;
	int64		records;

	if (!OidIsValid(pipeline->target) && !make_target(pipeline))
		return false;
	if (!cdc_staging_lock(pipeline->staging, pipeline->name, nowait))
	{
		sync->result->busy = true;
		return false;
	}
	cdc_watermark_check_snapshot(pipeline);
	/* it may have been stopped or altered while we waited */
	staging = pipeline->staging;
	*pipeline = *cdc_pipeline_get(pipeline->name);
	if (sync->only_retry)
		cdc_pipeline_check_here(pipeline);
	else
		cdc_pipeline_check_active(pipeline);
	if (pipeline->staging != staging)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("pipeline \"%s\" was created anew by another session",
						pipeline->name),
				 errhint("Try again.")));
	cdc_sync_lock_target(pipeline);
	sync->npartitions = cdc_landing_positions(pipeline->landing, &sync->positions);
	sync->progress = cdc_watermark_load(pipeline, sync->npartitions, sync->positions,
										&records);
	sync->breaker = cdc_breaker_begin(pipeline, records);
	describe(sync);
	if (sync->target->keyless && records == 0 && find_key(pipeline))
		describe(sync);
	sync->track = cdc_track_open(pipeline, sync->npartitions, sync->progress);
	if (sync->only_retry)
		sync->track->watch->ddls = NIL;
	sync->hold = nowait && pipeline->schema_landing ?
		GetCurrentTimestamp() - SCHEMA_TOPIC_DELAY : DT_NOEND;
	sync->quarantine = cdc_quarantine_any(pipeline->name);
	if (!sync->only_retry)
		sync->retries = sync->quarantine &&
			cdc_quarantine_waiting(pipeline->name, sync->retry.since);
	if (looks_back(sync))
		cdc_barriers_load(pipeline->name, &sync->barriers);
	for (int i = 0; sync->quarantine && !sync->only_retry && i < sync->npartitions; i++)
		cdc_quarantine_reread(pipeline->name, sync->progress[i].partition,
							  sync->progress[i].epoch, sync->progress[i].next_offset);
	if (sync->quarantine)
		rehash_quarantine(sync, false);
	if (pipeline->replace && !sync->target->keyless)
		watch_snapshots(sync);
	return true;
}

/* The same of a rebuild, whose caller has locked what is needed. */
static void
open_rebuild(Sync *sync)
{
	CdcRebuild *rebuild = sync->rebuild;
	int64		records;

	describe(sync);
	sync->fed = palloc0(sync->target->ncolumns);
	sync->hold = DT_NOEND;
	sync->npartitions = rebuild->npartitions;
	sync->positions = (CdcLandingPosition *) rebuild->to;
	sync->progress = cdc_watermark_load(sync->pipeline, sync->npartitions,
										sync->positions, &records);
	sync->breaker = cdc_breaker_begin(sync->pipeline, records);
	for (int i = 0; i < sync->npartitions; i++)
	{
		sync->progress[i].epoch = rebuild->from[i].epoch;
		sync->progress[i].next_offset = rebuild->from[i].next_offset;
	}
	sync->track = cdc_track_open_rebuild(sync->pipeline, sync->npartitions, sync->progress);
	if (looks_back(sync))
		cdc_barriers_load(sync->pipeline->name, &sync->barriers);
	if (sync->pipeline->replace && !sync->target->keyless)
		watch_snapshots(sync);
}

char *
cdc_sync_search_path(const CdcPipeline *pipeline)
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
	if (sync->retries)
		return true;
	for (int i = 0; i < sync->npartitions; i++)
		if (sync->progress[i].epoch < sync->positions[i].epoch ||
			sync->progress[i].next_offset < sync->positions[i].next_offset)
			return true;
	return false;
}

/*
 * The rows of a window are sorted and hashed in memory, not in temporary files:
 * that takes less than the window itself has taken.  Staging is read from its
 * beginning, so that rows are appended in their order.  Lasts to cdc_spi_end().
 */
static void
adjust_settings(void)
{
	(void) set_config_option("synchronize_seqscans", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (work_mem < MERGE_WORK_MEM)
		(void) set_config_option("work_mem", psprintf("%d", MERGE_WORK_MEM),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

/*
 * The last window has ended at a change of the source's table: let the target
 * follow.  False: not now.
 */
static bool
follow_source(Sync *sync)
{
	ErrorData  *error;

	switch (cdc_track_next(sync->track, sync->target, &error))
	{
		case CDC_EVOLVED:
			describe(sync);
			if (sync->snapshots)
				watch_snapshots(sync);
			return true;
		case CDC_EVOLVE_STOPPED:
			sync->stopped = true;
			sync->result->more = false;
			return false;
		case CDC_EVOLVE_LATER:
			break;
	}
	/* keep what was done before the change; the next call meets it first */
	if (error && sync->result->events == 0)
		ReThrowError(error);
	if (!sync->background)
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("pipeline \"%s\" has to alter its target before it goes on, which others use now",
						sync->pipeline->name),
				 errhint("Call cdc_sync() again later, in a transaction of its own.")));
	return false;
}

/* One window; or, if there is nothing for one, what is left of the source's DDL. */
static void
take_step(Sync *sync, int *n)
{
	int64		events = sync->result->events;
	bool		work = has_work(sync) || sync->track->truncate;

	sync->result->more = work && run_window(sync);
	if (sync->rebuild)
		sync->rebuild->progress(sync->result->events);
	if (work && (!cdc_track_is_due(sync->track) || sync->result->events > events))
		(*n)++;
	if (sync->result->held && !cdc_track_is_due(sync->track))
		sync->result->more = false;
	else if (!sync->result->more && !sync->stopped)
		sync->result->more = cdc_track_rest(sync->track);
}

/*
 * Run the windows that there are.  A window that is empty, as the source's table
 * has changed before the first record, does not count.  Who comes again gets
 * each change of the target alone, so that its lock is not held for a window.
 */
static void
run_windows(Sync *sync, int max_windows)
{
	int			n = 0;

	sync->result->more = true;
	while (sync->result->more && (max_windows <= 0 || n < max_windows || sync->track->truncate))
	{
		if (!cdc_track_is_due(sync->track))
			take_step(sync, &n);
		else if (!follow_source(sync) || (sync->background && !sync->track->truncate))
			break;
	}
	sync->result->waiting = sync->quarantine &&
		cdc_quarantine_waiting(sync->pipeline->name, DT_NOEND);
	for (int i = 0; i < sync->npartitions; i++)
		sync->result->latest_refresh_time = Max(sync->result->latest_refresh_time,
												sync->progress[i].refresh_time);
}

/* A sync, or the part of one that tries quarantined records again. */
static void
run_sync(Sync *sync, int max_windows, bool nowait)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync sync",
												  ALLOCSET_DEFAULT_SIZES);
	CdcPipeline *pipeline = sync->pipeline;
	CdcPipeline given = *pipeline;
	CdcSyncResult *result = sync->result;
	MemoryContext old;
	CdcSpi		spi;

	sync->background = nowait;
	memset(result, 0, sizeof(CdcSyncResult));
	result->latest_refresh_time = DT_NOBEGIN;
	cdc_spi_begin_as(&spi, pipeline->owner, cdc_sync_search_path(pipeline));
	adjust_settings();
	old = MemoryContextSwitchTo(context);
	if (open_sync(sync, nowait))
	{
		sync->window = AllocSetContextCreate(context, "cdcsync window",
											 ALLOCSET_DEFAULT_SIZES);
		run_windows(sync, max_windows);
		if (sync->snapshots && sync->snapshots->runs != NIL && !sync->stopped)
			sweep(sync);
		cdc_wake_synced_at_commit(pipeline->name, result->events,
								  sync->only_retry || result->more || result->waiting);
		if (result->inserted + result->updated + result->deleted > 0)
			cdc_retry_wake(pipeline);
	}
	MemoryContextSwitchTo(old);
	/* what it was read into again goes; what was made meanwhile is told */
	given.target = pipeline->target;
	given.staging = pipeline->staging;
	*pipeline = given;
	MemoryContextDelete(context);
	cdc_spi_end(&spi);
}

void
cdc_sync_pipeline(CdcPipeline *pipeline, int max_windows, bool nowait,
				  CdcSyncResult *result)
{
	Sync		sync = {
		.pipeline = pipeline,
		.result = result,
		.alone = !IsTransactionBlock(),
		.retry = {.waiting = true,.since = GetCurrentTimestamp()},
	};

	run_sync(&sync, max_windows, nowait);
}

void
cdc_sync_retry(CdcPipeline *pipeline, const CdcRetry *retry, bool nowait,
			   CdcSyncResult *result)
{
	Sync		sync = {
		.pipeline = pipeline,
		.result = result,
		.alone = !IsTransactionBlock(),
		.retry = *retry,
		.retries = true,
		.only_retry = true,
	};

	run_sync(&sync, 0, nowait);
}

/* Names of the columns that the rebuild has set, in the context of its caller. */
static void
list_fed(Sync *sync, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < sync->target->ncolumns; i++)
		if (sync->fed[i])
			sync->rebuild->fed = lappend(sync->rebuild->fed,
										 pstrdup(sync->target->columns[i].name));
	MemoryContextSwitchTo(old);
}

void
cdc_sync_rebuild(CdcPipeline *pipeline, CdcRebuild *rebuild, CdcSyncResult *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "cdcsync rebuild",
												  ALLOCSET_DEFAULT_SIZES);
	CdcPipeline shadow = *pipeline;
	Sync		sync = {
		.pipeline = &shadow,
		.result = result,
		.retry = {.waiting = true,.since = GetCurrentTimestamp()},
		.rebuild = rebuild,
	};
	CdcSpi		spi;

	memset(result, 0, sizeof(CdcSyncResult));
	result->latest_refresh_time = DT_NOBEGIN;
	shadow.target = rebuild->table;
	shadow.landing = rebuild->landing;
	cdc_spi_begin_as(&spi, pipeline->owner, cdc_sync_search_path(pipeline));
	adjust_settings();
	MemoryContextSwitchTo(context);
	open_rebuild(&sync);
	sync.window = AllocSetContextCreate(context, "cdcsync window",
										ALLOCSET_DEFAULT_SIZES);
	run_windows(&sync, 0);
	if (sync.snapshots && sync.snapshots->runs != NIL)
		sweep(&sync);
	/* even where there was nothing to read */
	for (int i = 0; i < sync.npartitions; i++)
		sync.progress[i].moved = true;
	cdc_watermark_save(pipeline, sync.npartitions, sync.progress);
	list_fed(&sync, caller);
	MemoryContextSwitchTo(caller);
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
	cdc_sync_pipeline(pipeline, max_windows, false, &r);
	if (r.inserted + r.updated + r.deleted > 0)
		cdc_retry_related(pipeline);
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
