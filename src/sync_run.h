/*-------------------------------------------------------------------------
 *
 * sync_run.h
 *	  What the files of a sync share: one run of it.  Only sync.c and
 *	  sync_window.c include it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SYNC_RUN_H
#define CDC_SYNC_RUN_H

#include "barrier.h"
#include "breaker.h"
#include "evidence.h"
#include "intake.h"
#include "move.h"
#include "snapshot.h"
#include "sync.h"
#include "track.h"

typedef struct CdcSyncRun
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
	CdcPursuit *pursuit;			/* NULL: what lands meanwhile is for another time */
	bool		may_help;		/* another process may read for this one .. */
	bool		helper_tried;	/* .. and was asked to, unless it was not worth it */
	struct CdcHelper *helper;	/* it, or NULL */
	MemoryContext window;		/* reset per window */
	Size		unchecked;		/* bytes read since the window's size was looked at */
	CdcSyncResult *result;
} CdcSyncRun;

/* sync.c */

/*
 * A window was undone: what it has changed of the descriptions in memory is as the
 * catalog has it again.  In the memory context of the run.
 */
extern void cdc_sync_reload(CdcSyncRun *sync);

/* sync_window.c */

/*
 * One window.  Returns false if nothing is left to do after it, or the breaker
 * has stopped the pipeline.
 */
extern bool cdc_sync_run_window(CdcSyncRun *sync);

/*
 * Can a row have been changed through another partition by what was applied
 * before?
 */
extern bool cdc_sync_looks_back(const CdcSyncRun *sync);

/*
 * The keys of quarantined records, as the target and the mapping are now; unknown:
 * those too that could not be told.
 */
extern void cdc_sync_rehash_quarantine(CdcSyncRun *sync, bool unknown);

#endif							/* CDC_SYNC_RUN_H */
