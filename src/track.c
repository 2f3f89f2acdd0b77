/*-------------------------------------------------------------------------
 *
 * track.c
 *	  A sync and the changes of the source's table: what it knows of them, and
 *	  what it has to do next.
 *
 * Windows end at changes (source_watch.c): because an event shows another table,
 * or because the source has done something before it, says the connector's
 * schema-change topic (source_ddl.c).  Between two windows the target follows
 * (evolve.c).
 *
 * Runs in the sync's transaction, as the pipeline's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "track.h"
#include "source_ddl.h"

static CdcTrack *
make_track(const CdcPipeline *pipeline, int npartitions, CdcProgress *progress)
{
	CdcTrack  *track = palloc0(sizeof(CdcTrack));

	track->pipeline = pipeline;
	track->npartitions = npartitions;
	track->progress = progress;
	track->watch = cdc_source_watch_load(pipeline->name);
	return track;
}

CdcTrack *
cdc_track_open(const CdcPipeline *pipeline, int npartitions, CdcProgress *progress)
{
	CdcTrack  *track = make_track(pipeline, npartitions, progress);
	CdcSourceWatch *watch = track->watch;

	watch->prefix = pipeline->add_fields_prefix;
	watch->passes = pipeline->schema_changes == CDC_SCHEMA_IGNORE;
	if (pipeline->schema_landing == NULL)
		return track;
	if (watch->table == NULL)
	{
		watch->table = cdc_source_ddl_table(pipeline, npartitions, progress);
		watch->dirty = watch->table != NULL;
	}
	if (watch->table)
		watch->ddls = cdc_source_ddl_load(pipeline, watch->table);
	return track;
}

CdcTrack *
cdc_track_open_rebuild(const CdcPipeline *pipeline, int npartitions,
						CdcProgress *progress)
{
	CdcTrack  *track = make_track(pipeline, npartitions, progress);
	CdcSourceWatch *watch = track->watch;

	track->rebuild = true;
	watch->order_only = true;
	if (pipeline->schema_landing && watch->table)
		watch->ddls = cdc_source_ddl_load_truncates(pipeline, watch->table);
	return track;
}

bool
cdc_track_is_due(const CdcTrack *track)
{
	return track->watch->news || track->watch->due;
}

bool
cdc_track_rest(CdcTrack *track)
{
	CdcSourceWatch *watch = track->watch;

	/* who stops at changes stops at an event */
	if (watch->ddls == NIL ||
		(track->pipeline->schema_changes == CDC_SCHEMA_STOP && !track->rebuild))
		return false;
	watch->due = true;
	return true;
}

/* Has a partition applied events that came after this at the source? */
static bool
is_late(const CdcTrack *track, const CdcSourceDdl *ddl)
{
	for (int i = 0; i < track->npartitions; i++)
	{
		int			cmp;

		if (cdc_position_compare(&track->progress[i].position, &ddl->position, &cmp) &&
			cmp > 0)
			return true;
	}
	return false;
}

/*
 * The next window empties the target.  Events that are older, whenever they come,
 * are void from now on, as those are that Kafka Connect sends again.
 */
static void
empty_target(CdcTrack *track, const CdcSourceDdl *ddl)
{
	track->truncate = ddl->source;
	for (int i = 0; i < track->npartitions && ddl->position.kind != CDC_POSITION_NONE; i++)
	{
		CdcProgress *p = &track->progress[i];

		p->position = ddl->position;
		p->source_ts_ms = Max(p->source_ts_ms, ddl->ts_ms);
		p->moved = true;
	}
}

/* What the source has done next. */
static CdcEvolved
next_ddl(CdcTrack *track, const CdcTarget *target, ErrorData **error)
{
	CdcSourceWatch *watch = track->watch;
	const CdcSourceDdl *ddl = linitial(watch->ddls);
	bool		truncate = true;
	CdcEvolved	result = CDC_EVOLVED;

	if (track->rebuild)
	{
		watch->ddls = list_delete_first(watch->ddls);
		watch->due = false;
	}
	else
		result = cdc_evolve_ddl(track->pipeline, target, watch, is_late(track, ddl),
								&truncate, error);
	if (truncate)
		empty_target(track, ddl);
	return result;
}

CdcEvolved
cdc_track_next(CdcTrack *track, const CdcTarget *target, ErrorData **error)
{
	*error = NULL;
	if (track->watch->due)
		return next_ddl(track, target, error);
	return cdc_evolve(track->pipeline, target, track->watch, error);
}

void
cdc_track_save(CdcTrack *track, const CdcTarget *target)
{
	track->truncate = NULL;
	if (track->rebuild)
		return;
	cdc_evolve_passed(track->pipeline, target, track->watch);
	cdc_source_watch_save(track->watch);
}
