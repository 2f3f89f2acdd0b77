/*-------------------------------------------------------------------------
 *
 * sync.h
 *	  Landing -> staging -> target -> watermark.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SYNC_H
#define CDC_SYNC_H

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
	bool		waiting;		/* some records wait for others to be tried again */
} CdcSyncResult;

/*
 * Apply what has landed after the watermark, in at most max_windows windows
 * (0: all), in the caller's transaction.  The caller has checked that the
 * pipeline is active.  nowait: do not wait for another session that syncs it.
 */
extern void cdc_sync_pipeline(CdcPipeline *pipeline, int max_windows, bool nowait,
							  CdcSyncResult *result);

/*
 * The same for quarantined records alone: what has landed is not read.  The caller
 * has checked that the pipeline is made here.
 */
extern void cdc_sync_retry(CdcPipeline *pipeline, const CdcRetry *retry, bool nowait,
						   CdcSyncResult *result);

/* The search_path that triggers and defaults of the target see. */
extern char *cdc_sync_search_path(const CdcPipeline *pipeline);

#endif							/* CDC_SYNC_H */
