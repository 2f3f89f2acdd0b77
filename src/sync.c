/*-------------------------------------------------------------------------
 *
 * sync.c
 *	  What has landed after the watermark, brought to the target.
 *
 * A sync runs in the caller's transaction, in windows (sync_window.c) between
 * which the target follows changes of the source's table (track.c).  Here is what
 * they all need: locks, the pipeline as it is now, its decoder, its progress.  The
 * staging table's lock lets one session sync a pipeline at a time; target and
 * watermark change together or not at all.
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

#include "catalog.h"
#include "helper.h"
#include "infer.h"
#include "new_target.h"
#include "retry.h"
#include "staging.h"
#include "sweep.h"
#include "sync_run.h"
#include "target_check.h"
#include "wake.h"
#include "watermark.h"

/* work_mem of the merge, at least, in kB. */
#define MERGE_WORK_MEM	(32 * 1024)

/*
 * How long a worker lets records lie whose pipeline reads a schema-change topic,
 * in us: what the source did before them lands in this time, too.
 */
#define SCHEMA_TOPIC_DELAY	USECS_PER_SEC

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
 * What the records that have landed look like.  The view is the landing's
 * owner's, who need not be the pipeline's: code of theirs in it runs as them,
 * but what it shows must be for the pipeline's owner to see.
 */
static CdcInferred *
sample_landing(const CdcPipeline *pipeline)
{
	CdcSampling how = {pipeline->read_as, pipeline->add_fields_prefix, pipeline->filter};
	MemoryContext context = CurrentMemoryContext;
	CdcInferred *inferred;
	CdcSpi		spi;

	cdc_landing_check_readable(pipeline->landing, pipeline->owner);
	cdc_spi_begin_as(&spi, pipeline->landing->owner, NULL);
	MemoryContextSwitchTo(context);
	inferred = cdc_infer(pipeline->landing->view, &how);
	cdc_spi_end(&spi);
	return inferred;
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
	{
		if (inferred->nread > 0)
			ereport(NOTICE,
					(errmsg("no record of pipeline \"%s\" shows yet what columns its target is to have",
							pipeline->name),
					 errdetail_plural("%d record of its landing was looked at.",
									  "%d records of its landing were looked at.",
									  inferred->nread, inferred->nread),
					 errhint("If they are what they should be, create the table yourself, and the pipeline again with it as the target.")));
		return false;
	}
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
describe(CdcSyncRun *sync)
{
	CdcPipeline *pipeline = sync->pipeline;

	/* it reads what is not wanted now, or otherwise */
	cdc_helper_end(sync->helper);
	sync->helper = NULL;
	sync->helper_tried = false;
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
watch_snapshots(CdcSyncRun *sync)
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

void
cdc_sync_reload(CdcSyncRun *sync)
{
	bool		target_empty = sync->snapshots && sync->snapshots->target_empty;

	describe(sync);
	if (sync->snapshots == NULL)
		return;
	watch_snapshots(sync);
	sync->snapshots->target_empty = target_empty;
}

/* Has a snapshot become complete, that is to replace the target? */
static void
sweep(CdcSyncRun *sync)
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
	if (!s.unblocked)
		return;
	sync->retry = (CdcRetry) {.waiting = true,.since = GetCurrentTimestamp()};
	sync->retries = sync->only_retry = true;
	while (cdc_sync_run_window(sync))
		CHECK_FOR_INTERRUPTS();
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
open_sync(CdcSyncRun *sync, bool nowait)
{
	CdcPipeline *pipeline = sync->pipeline;
	int64		records;

	if (!OidIsValid(pipeline->target) && !make_target(pipeline))
		return false;
	if (!cdc_staging_lock(pipeline->staging, pipeline->name, nowait))
	{
		sync->result->busy = true;
		return false;
	}
	cdc_watermark_check_snapshot(pipeline);
	cdc_pipeline_reread(pipeline);
	if (sync->only_retry)
		cdc_pipeline_check_here(pipeline);
	else
		cdc_pipeline_check_active(pipeline);
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
	if (cdc_sync_looks_back(sync))
		cdc_barriers_load(pipeline->name, &sync->barriers);
	for (int i = 0; sync->quarantine && !sync->only_retry && i < sync->npartitions; i++)
		cdc_quarantine_reread(pipeline->name, sync->progress[i].partition,
							  sync->progress[i].epoch, sync->progress[i].next_offset);
	if (sync->quarantine)
		cdc_sync_rehash_quarantine(sync, false);
	if (pipeline->replace && !sync->target->keyless)
		watch_snapshots(sync);
	return true;
}

/* The same of a rebuild, whose caller has locked what is needed. */
static void
open_rebuild(CdcSyncRun *sync)
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
	if (cdc_sync_looks_back(sync))
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
has_work(const CdcSyncRun *sync)
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
follow_source(CdcSyncRun *sync)
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
take_step(CdcSyncRun *sync, int *n)
{
	int64		events = sync->result->events;
	bool		work = has_work(sync) || sync->track->truncate;

	sync->result->more = work && cdc_sync_run_window(sync);
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
run_windows(CdcSyncRun *sync, int max_windows)
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
run_sync(CdcSyncRun *sync, int max_windows, bool nowait)
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
				  CdcPursuit *pursuit, CdcSyncResult *result)
{
	CdcSyncRun	sync = {
		.pipeline = pipeline,
		.result = result,
		.alone = !IsTransactionBlock(),
		.retry = {.waiting = true,.since = GetCurrentTimestamp()},
		.pursuit = pursuit,
		/* the cores are for the landing, which the sync waits for anyway */
		.may_help = cdc_helper_may_help() && !(pursuit && cdc_pursuit_is_behind(pursuit)),
	};

	run_sync(&sync, max_windows, nowait);
}

void
cdc_sync_retry(CdcPipeline *pipeline, const CdcRetry *retry, bool nowait,
			   CdcSyncResult *result)
{
	CdcSyncRun	sync = {
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
list_fed(CdcSyncRun *sync, MemoryContext context)
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
	CdcSyncRun	sync = {
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

	cdc_pipeline_check_argument(fcinfo);
	if (!PG_ARGISNULL(1) && max_windows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_windows must be at least 1"),
				 errhint("Leave it out to sync everything.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_pipeline_check_active(pipeline);
	cdc_sync_pipeline(pipeline, max_windows, false, NULL, &r);
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
