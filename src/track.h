/*-------------------------------------------------------------------------
 *
 * track.h
 *	  A sync and the changes of the source's table: what it knows of them, and
 *	  what it has to do next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TRACK_H
#define CDC_TRACK_H

#include "evolve.h"

typedef struct CdcTrack
{
	const CdcPipeline *pipeline;
	CdcSourceWatch *watch;		/* what the ranking looks at */
	int			npartitions;
	CdcProgress *progress;		/* the sync's */
	bool		rebuild;		/* of what was followed before: TRUNCATEs alone */
	const char *truncate;		/* the next window is to empty the target first:
								 * "source" of the TRUNCATE; or NULL */
} CdcTrack;

/*
 * For a sync, whose staging table is locked; and for a rebuild, which gets the
 * records that the pipeline has had again.  In the current memory context, and
 * an open SPI connection.
 */
extern CdcTrack *cdc_track_open(const CdcPipeline *pipeline, int npartitions,
								  CdcProgress *progress);
extern CdcTrack *cdc_track_open_rebuild(const CdcPipeline *pipeline, int npartitions,
										  CdcProgress *progress);

/* Has the window ended at a change? */
extern bool cdc_track_is_due(const CdcTrack *track);

/*
 * All that has landed is in the target: is there something left of what the
 * source has done?  Then it is due from now on.
 */
extern bool cdc_track_rest(CdcTrack *track);

/* Do what is due; see cdc_evolve(). */
extern CdcEvolved cdc_track_next(CdcTrack *track, const CdcTarget *target,
								  ErrorData **error);

/* The window was applied: keep what it has shown. */
extern void cdc_track_save(CdcTrack *track, const CdcTarget *target);

#endif							/* CDC_TRACK_H */
