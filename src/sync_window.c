/*-------------------------------------------------------------------------
 *
 * sync_window.c
 *	  One window of a sync: landing -> rank -> staging -> target -> watermark.
 *
 * A window ends at the memory of its winners, at a change of the source's table,
 * or where nothing is left.  All of it is one subtransaction of the caller's
 * transaction: if the breaker trips it leaves nothing but the reason and some of
 * the records.  If a bad record has taken the place of earlier changes of its
 * key, the window is undone and ranked again without it.
 *
 * In the open SPI connection of the sync, as the pipeline's owner; target and
 * staging are locked by the caller.  All memory is in the window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "fault.h"
#include "helper.h"
#include "history.h"
#include "keyless.h"
#include "lookback.h"
#include "merge.h"
#include "place.h"
#include "quarantine.h"
#include "rank.h"
#include "stage.h"
#include "staging.h"
#include "sync_run.h"
#include "versions.h"
#include "watermark.h"

/* A window ends when its winners hold this much. */
#define WINDOW_BYTES	(128 * 1024 * 1024)

/* .. which is looked at after reading this much. */
#define CHECK_BYTES		(1024 * 1024)

/*
 * So many times a window is ranked again without records that turned out bad,
 * and without those that the target refused, which shows late.
 */
#define RANK_AGAIN		10
#define MERGE_AGAIN		3

/* How many bad records are written when the breaker trips. */
#define BREAKER_RECORDS	100

/* What a window reads. */
typedef struct Backlog
{
	CdcSyncRun *sync;
	CdcLandingScan *scan;		/* NULL: none yet */
	bool		goes_on;		/* what it gives next is what is wanted next */
	bool		weighed;
} Backlog;

/* Bytes that are left to read, if the records are like those of the chunk. */
static double
backlog_size(const CdcSyncRun *sync, const CdcChunk *chunk)
{
	double		bytes = 0;
	double		records = 0;

	for (int i = 0; i < chunk->nrecords; i++)
		bytes += chunk->keys[i].len + chunk->values[i].len;
	for (int i = 0; i < sync->npartitions; i++)
		if (sync->progress[i].epoch == sync->positions[i].epoch)
			records += sync->positions[i].next_offset - sync->progress[i].next_offset;
	return bytes / Max(chunk->nrecords, 1) * records;
}

static void
start_helper(CdcSyncRun *sync)
{
	MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(sync->window));

	sync->helper_tried = true;
	sync->helper = cdc_helper_start(sync->pipeline->landing, sync->target, sync->intake,
									sync->pipeline->placeholder,
									cdc_rank_keeps_all(sync->target) || sync->snapshots,
									sync->npartitions, sync->progress, sync->positions);
	MemoryContextSwitchTo(old);
}

/*
 * We have read a chunk ourselves.  If much is left, somebody else may read what
 * follows it while we rank.
 */
static void
get_help(Backlog *backlog, const CdcChunk *chunk)
{
	CdcSyncRun *sync = backlog->sync;

	if (!sync->helper_tried && !backlog->weighed)
	{
		backlog->weighed = true;
		if (backlog_size(sync, chunk) >= cdc_min_parallel_sync_size * 1024.0)
			start_helper(sync);
	}
	if (sync->helper)
		cdc_helper_begin_at(sync->helper, chunk->partition, chunk->epoch,
							chunk->last_offset + 1, false);
}

/* The next chunk that holds records with offset >= from, or NULL. */
static const CdcChunk *
next_chunk(Backlog *backlog, const CdcProgress *p, int64 from)
{
	CdcSyncRun *sync = backlog->sync;
	const CdcChunk *chunk;

	if (sync->may_help && !sync->helper_tried && cdc_min_parallel_sync_size == 0)
	{
		start_helper(sync);
		if (sync->helper)
			cdc_helper_begin_at(sync->helper, p->partition, p->epoch, from, true);
	}
	if (sync->helper)
	{
		CdcHelp		help = cdc_helper_next(sync->helper, p->partition, p->epoch, from, &chunk);

		if (help != CDC_HELP_NONE)
		{
			backlog->goes_on = false;
			return help == CDC_HELP_CHUNK ? chunk : NULL;
		}
	}
	if (backlog->scan == NULL)
		backlog->scan = cdc_landing_scan_begin(sync->pipeline->landing, p->partition,
											   p->epoch, from);
	else if (!backlog->goes_on)
		cdc_landing_scan_move(backlog->scan, p->partition, p->epoch, from);
	backlog->goes_on = true;
	chunk = cdc_landing_scan_next(backlog->scan);
	if (chunk && sync->may_help)
		get_help(backlog, chunk);
	return chunk;
}

/*
 * Rank the records of one epoch of a partition, up to end.  Returns false when
 * the window is full.
 */
static bool
rank_epoch(Backlog *backlog, CdcRank *rank, CdcProgress *p, int64 end)
{
	CdcSyncRun *sync = backlog->sync;
	const CdcChunk *chunk;
	int64		from = p->next_offset;
	bool		room = true;
	int			sqlerrcode;

	backlog->goes_on = false;
	while (room && from < end && (chunk = next_chunk(backlog, p, from)) != NULL &&
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
		from = chunk->last_offset + 1;
		/* a wrong set-up shows soon: do not read all of it */
		if (rank->nbad > 0 && cdc_breaker_is_new(sync->breaker) &&
			cdc_breaker_check(sync->breaker, rank, &sqlerrcode))
			room = false;
	}
	return room;
}

/*
 * Rank what lies before the positions until the window is full or nothing is left;
 * true: the latter.
 */
static bool
rank_landed(CdcSyncRun *sync, CdcRank *rank)
{
	Backlog		backlog = {.sync = sync};
	bool		room = true;

	for (int i = 0; room && i < sync->npartitions; i++)
	{
		CdcProgress *p = &sync->progress[i];
		const CdcLandingPosition *pos = &sync->positions[i];

		while (p->epoch < pos->epoch || p->next_offset < pos->next_offset)
		{
			bool		last = p->epoch >= pos->epoch;

			room = rank_epoch(&backlog, rank, p, last ? pos->next_offset : PG_INT64_MAX);
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
	if (backlog.scan)
		cdc_landing_scan_end(backlog.scan);
	return room;
}

/* Has more landed that the window is to take, too? */
static bool
pursue_landing(CdcSyncRun *sync)
{
	MemoryContext old;
	CdcLandingPosition *positions;
	int			npositions;
	bool		same;

	/* a new partition is for the next sync, as are records that are held back */
	if (sync->pursuit == NULL || sync->hold != DT_NOEND || !cdc_pursuit_wait(sync->pursuit))
		return false;
	old = MemoryContextSwitchTo(MemoryContextGetParent(sync->window));
	npositions = cdc_landing_positions(sync->pipeline->landing, &positions);
	MemoryContextSwitchTo(old);
	same = npositions == sync->npartitions;
	for (int i = 0; same && i < npositions; i++)
		same = positions[i].partition == sync->positions[i].partition;
	if (same)
		memcpy(sync->positions, positions, sizeof(CdcLandingPosition) * npositions);
	pfree(positions);
	return same;
}

/* Rank records until the window is full or nothing is left; true: the latter. */
static bool
rank_window(CdcSyncRun *sync, CdcRank *rank)
{
	bool		done;

	do
		done = rank_landed(sync, rank);
	while (done && pursue_landing(sync));
	return done;
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

/* Who keeps every change as a row need not. */
bool
cdc_sync_looks_back(const CdcSyncRun *sync)
{
	return sync->npartitions > 1 && sync->target->mode != CDC_MODE_APPEND;
}

/* A window on its way to the target. */
typedef struct Window
{
	CdcSyncRun *sync;
	CdcRank    *rank;
	const CdcProgress *before;	/* as it begins */
	int64		taken;			/* out of quarantine */
	int64		applied;		/* of those */
	bool		done;			/* nothing is left to rank after it */
	bool		learned;		/* what records in quarantine may wait for */
	bool		unblocked;		/* some of them, as a truncate took what they waited
								 * for */
	CdcRefusals *refusals;		/* bad records that hide other changes */
	CdcPlaces  *places;			/* rows that are not where the records say */
	int			round;			/* it was ranked so often before */
	bool		again;			/* it is to be */
	bool		displaced;		/* .. as some rows are not where records say */
	char	   *trip;			/* why the breaker refuses it */
	int			sqlerrcode;		/* of that */
} Window;

/*
 * A bad change has taken the place of those before it, or takes versions along that
 * have followed a truncate.
 */
static bool
hides_others(const CdcRank *rank)
{
	switch (rank->target->mode)
	{
		case CDC_MODE_APPEND:
			return false;
		case CDC_MODE_HISTORY:
			return rank->truncated || rank->has_truncate;
		default:
			return !rank->target->keyless;
	}
}

/* Note which columns some event has set. */
static void
note_fed(CdcSyncRun *sync, const CdcStage *stage)
{
	for (int c = 0; c < sync->target->ncolumns; c++)
	{
		bool		is_field = cdc_column_is_field(sync->target->columns[c].source);

		for (int64 i = 0; !sync->fed[c] && i < stage->nrows; i++)
			sync->fed[c] = !is_field ||
				(cdc_winner_has_row(stage->rows[i]) &&
				 stage->rows[i]->tokens[c].kind != CDC_JSON_MISSING);
	}
}

/*
 * Bring a ranked window to the target.  False: it is to be ranked again, without
 * records that were found to be bad.
 */
static bool
apply_window(Window *window)
{
	CdcSyncRun *sync = window->sync;
	CdcRank    *rank = window->rank;
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

	if (window->round < RANK_AGAIN && hides_others(rank))
		stage.refusals = window->refusals;
	stage.heeds_target = stage.refusals && window->round < MERGE_AGAIN;
	stage.round = window->round;
	cdc_moves_store(sync->moves);
	if (mode != CDC_MODE_APPEND && !sync->target->keyless)
		cdc_rank_sort(rank);
	if (mode == CDC_MODE_HISTORY)
		cdc_history_arrange(rank);
	else if (sync->target->keyless)
		cdc_keyless_arrange(rank);
	cdc_stage_survey(&stage);
	if (sync->quarantine && rank->truncated && mode != CDC_MODE_APPEND)
		cdc_quarantine_truncate(sync->pipeline->name, &rank->truncated_at,
								rank->multi_partition);
	if (sync->quarantine && rank->scope_truncates != NIL)
		cdc_quarantine_truncate_scopes(sync->pipeline->name, rank);
	if (sync->quarantine && mode != CDC_MODE_APPEND && !sync->target->keyless)
		cdc_stage_heed_quarantine(&stage);
	if (mode == CDC_MODE_HISTORY)
	{
		cdc_history_truncate(rank);
		cdc_history_date(rank);
	}
	cdc_staging_clear(sync->pipeline->staging);
	/* SPI has left us in the memory of the whole sync */
	MemoryContextSwitchTo(sync->window);
	merge.tids = cdc_stage_winners(&stage);
	if (window->refusals->n > window->refusals->sorted)
		return false;
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
	MemoryContextSwitchTo(sync->window);
	if (mode == CDC_MODE_HISTORY)
		cdc_versions_merge(&merge, &stage, sync->npartitions > 1);
	else if (sync->target->keyless)
		cdc_keyless_merge(&merge, &stage);
	else
		cdc_merge(&merge);
	if (window->refusals->n > window->refusals->sorted)
		return false;
	CDC_FAULT("sync_merged");
	cdc_stage_supersede(&stage);
	if (rank->kept_moves)
		cdc_moves_store(sync->moves);
	if (sync->fed)
		note_fed(sync, &stage);
	sync->result->inserted += merge.inserted;
	sync->result->updated += merge.updated;
	sync->result->deleted += merge.deleted;
	return true;
}

void
cdc_sync_rehash_quarantine(CdcSyncRun *sync, bool unknown)
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
look_back(CdcSyncRun *sync, CdcRank *rank, const CdcProgress *before, int64 *taken)
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

	if (!cdc_sync_looks_back(sync))
		return;
	cdc_lookback(&lookback);
	CDC_FAULT("sync_looked_back");
}

/*
 * Rank and apply a window, quarantine included; false if the breaker trips, or it
 * is to be ranked again.
 */
static bool
try_window(void *arg)
{
	Window	   *window = arg;
	CdcSyncRun *sync = window->sync;
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
	window->displaced = cdc_places_look_up(rank);
	if (window->displaced)
	{
		window->again = true;
		return false;
	}
	if (rank->truncates != NIL && sync->target->mode == CDC_MODE_SOFT_DELETE)
		cdc_marked_finish(rank);
	window->trip = cdc_breaker_check(sync->breaker, rank, &window->sqlerrcode);
	if (window->trip)
		return false;
	if (cdc_track_is_due(sync->track) && rank->ordinal == 0 && window->taken == 0 &&
		sync->track->truncate == NULL)
		return true;			/* nothing was read before the change */
	cdc_truncate_bad(rank, 0);
	written = rank->nbad;
	/* first those that are known: later changes of their keys heed them */
	cdc_quarantine_write(sync->pipeline, rank, 0, written);
	sync->quarantine |= written > 0;
	window->learned = sync->evidence && cdc_evidence_store(sync->evidence);
	if (window->learned && sync->quarantine)
		cdc_sync_rehash_quarantine(sync, true);
	window->again = !apply_window(window);
	window->trip = cdc_breaker_check(sync->breaker, rank, &window->sqlerrcode);
	if (window->trip || window->again)
		return false;
	cdc_truncate_bad(rank, written);
	cdc_quarantine_write(sync->pipeline, rank, written, rank->nbad);
	if (window->taken > 0)
		window->applied = cdc_quarantine_release(sync->pipeline->name);
	if (sync->quarantine && (rank->truncated || rank->scope_truncates != NIL))
		window->unblocked = cdc_quarantine_unblock(sync->pipeline->name) > 0;
	return true;
}

/*
 * The breaker has tripped: record why, with some of the records.  Those that
 * were tried again are in quarantine already, as nothing was changed.
 */
static void
stop_pipeline(CdcSyncRun *sync, CdcRank *rank, const char *why, int sqlerrcode)
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

/* What is kept in memory of a run, as a window finds it. */
typedef struct Before
{
	CdcProgress *progress;
	CdcSyncResult result;
	CdcBarriers barriers;
	CdcSourceWatch watch;
	int			npassed;
	bool		quarantine;
	Size		unchecked;
} Before;

static void
note_before(const CdcSyncRun *sync, Before *before)
{
	before->progress = palloc(sizeof(CdcProgress) * Max(sync->npartitions, 1));
	memcpy(before->progress, sync->progress, sizeof(CdcProgress) * sync->npartitions);
	before->result = *sync->result;
	before->barriers = sync->barriers;
	before->watch = *sync->track->watch;
	before->npassed = list_length(before->watch.passed);
	before->quarantine = sync->quarantine;
	before->unchecked = sync->unchecked;
}

/* .. and is again, once the window is undone. */
static void
restore_before(CdcSyncRun *sync, const Before *before)
{
	memcpy(sync->progress, before->progress, sizeof(CdcProgress) * sync->npartitions);
	*sync->result = before->result;
	sync->barriers = before->barriers;
	*sync->track->watch = before->watch;
	sync->track->watch->passed = list_truncate(before->watch.passed, before->npassed);
	sync->quarantine = before->quarantine;
	sync->unchecked = before->unchecked;
}

static CdcRank *
begin_rank(const CdcSyncRun *sync, const CdcRefusals *refusals)
{
	CdcRank    *rank = cdc_rank_begin(sync->target, sync->decoder, sync->moves,
									  sync->npartitions > 1);

	rank->has_truncate = sync->barriers.has_truncate;
	rank->truncated_at = sync->barriers.truncate;
	if (rank->has_truncate && sync->target->mode != CDC_MODE_MIRROR)
		cdc_truncate_note(rank, &sync->barriers.truncate, sync->barriers.truncate_time, true);
	rank->intake = sync->intake;
	rank->evidence = sync->evidence;
	rank->watch = sync->track->watch;
	rank->refusals = refusals->n > 0 ? refusals : NULL;
	return rank;
}

/*
 * Try a window, again and again without the records that turn out bad and hide
 * other changes of their keys.  Each time finds those of all keys.
 */
static bool
try_rounds(Window *window, const Before *before, MemoryContext run)
{
	CdcSyncRun *sync = window->sync;

	for (window->round = 0;; window->round += !window->displaced)
	{
		bool		done;

		CHECK_FOR_INTERRUPTS();
		window->taken = window->applied = 0;
		window->learned = window->unblocked = window->again = false;
		window->rank = begin_rank(sync, window->refusals);
		window->rank->places = window->places;
		window->places->quarantine = sync->quarantine;
		cdc_places_begin(window->places);
		done = cdc_attempt(try_window, window, NULL, NULL);
		/* what is undone has taken our lock on the chunks along, see helper.c */
		if (!done)
			cdc_helper_end(sync->helper);
		if (!window->again || window->trip)
			return done;
		cdc_refusals_sort(window->refusals);
		restore_before(sync, before);
		MemoryContextSwitchTo(run);
		MemoryContextReset(sync->window);
		cdc_sync_reload(sync);
		MemoryContextSwitchTo(sync->window);
	}
}

bool
cdc_sync_run_window(CdcSyncRun *sync)
{
	MemoryContext old = CurrentMemoryContext;
	CdcRefusals refusals = {.parent = old};
	CdcPlaces	places = {.parent = old};
	Window		window = {.sync = sync,.refusals = &refusals,.places = &places};
	Before		before;
	int64		records = 0;
	int64		again = 0;

	note_before(sync, &before);
	window.before = before.progress;
	MemoryContextSwitchTo(sync->window);
	if (try_rounds(&window, &before, old))
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
		restore_before(sync, &before);
		stop_pipeline(sync, window.rank, window.trip, window.sqlerrcode);
		window.done = sync->stopped = true;
		window.taken = 0;
	}
	/* each is tried once a sync, or when nothing blocks it, or its encoding is known */
	if (window.unblocked)
		sync->retry.since = GetCurrentTimestamp();
	sync->retries = window.unblocked || window.taken >= CDC_RETRY_RECORDS ||
		(window.trip == NULL && sync->quarantine && sync->evidence && sync->retry.waiting &&
		 (window.learned || window.taken > 0) && cdc_evidence_waiting(sync->pipeline->name));
	for (int64 i = 0; i < window.rank->nbad; i++)
		again += window.rank->bad[i].at.since != 0;
	sync->result->quarantined += window.rank->nbad - again;
	sync->quarantine |= window.rank->nbad > 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sync->window);
	cdc_refusals_end(&refusals);
	cdc_places_end(&places);
	pfree(before.progress);
	return !window.done || sync->retries;
}
