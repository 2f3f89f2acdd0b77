/*-------------------------------------------------------------------------
 *
 * sync.h
 *	  Landing -> staging -> target -> watermark.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SYNC_H
#define CDC_SYNC_H

#include "pursuit.h"
#include "pipeline.h"
#include "quarantine.h"

typedef struct CdcSyncResult
{
	int64		events;			/* records read */
	int64		staged;
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		quarantined;
	int64		retried;		/* taken out of quarantine .. */
	int64		applied;		/* .. for good */
	Timestamp	latest_refresh_time;	/* DT_NOBEGIN: nothing was ever synced */
	bool		busy;			/* another session is at it: nothing was done */
	bool		more;			/* something is left to do now */
	bool		held;			/* the newest records wait for the schema-change topic */
	bool		waiting;		/* some records wait for others to be tried again */
} CdcSyncResult;

/*
 * Apply what has landed after the watermark, in at most max_windows windows
 * (0: all), in the caller's transaction.  The caller has checked that the
 * pipeline is active.  nowait: do not wait for another session that syncs it.
 * pursuit: the last window goes on with what lands meanwhile; NULL: it does not.
 */
extern void cdc_sync_pipeline(CdcPipeline *pipeline, int max_windows, bool nowait,
							  CdcPursuit *pursuit, CdcSyncResult *result);

/*
 * The same for quarantined records alone: what has landed is not read.  The caller
 * has checked that the pipeline is made here.
 */
extern void cdc_sync_retry(CdcPipeline *pipeline, const CdcRetry *retry, bool nowait,
						   CdcSyncResult *result);

/*
 * The fold of landed records in a table beside the target, which it is then
 * compared with.  The pipeline's watermarks, quarantine and the like are those
 * of the rebuild: whoever asks for it has emptied them.
 */
typedef struct CdcRebuild
{
	Oid			table;			/* has the target's columns, and no row */
	CdcLanding *landing;		/* what is read */
	int			npartitions;
	const CdcLandingPosition *from;	/* [npartitions] in partition order */
	const CdcLandingPosition *to;
	void		(*progress) (int64 events);	/* called after each window */

	/* out */
	List	   *fed;			/* names (char *) of the columns that some event
								 * has set */
} CdcRebuild;

/*
 * Fold all records.  Who calls it holds the locks of a sync.  Bad records go to
 * quarantine as always; the breaker raises an error.
 */
extern void cdc_sync_rebuild(CdcPipeline *pipeline, CdcRebuild *rebuild,
							 CdcSyncResult *result);

/* Lock the target as the merge does; 42P01 if it is gone. */
extern void cdc_sync_lock_target(const CdcPipeline *pipeline);

/* The search_path that triggers and defaults of the target see. */
extern char *cdc_sync_search_path(const CdcPipeline *pipeline);

#endif							/* CDC_SYNC_H */
