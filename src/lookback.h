/*-------------------------------------------------------------------------
 *
 * lookback.h
 *	  Newer changes of a window's keys that other partitions have brought before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LOOKBACK_H
#define CDC_LOOKBACK_H

#include "barrier.h"
#include "pipeline.h"

typedef struct CdcLookback
{
	const CdcPipeline *pipeline;
	CdcRank    *rank;
	CdcDecoder *decoder;		/* the one of the rank */
	CdcBarriers *barriers;
	int			npartitions;
	const CdcProgress *synced;	/* [npartitions] as the window began */
	bool		quarantine;		/* the pipeline has quarantined records */
	int64	   *taken;			/* is raised by those that are tried again */
} CdcLookback;

/*
 * Of a ranked window of a topic with several partitions: bring the winners up to
 * what earlier windows have applied of their keys.  Those that change nothing
 * are left out.  As the current user, who must be allowed to read the chunks.
 */
extern void cdc_lookback(CdcLookback *lookback);

#endif							/* CDC_LOOKBACK_H */
