/*-------------------------------------------------------------------------
 *
 * lag.h
 *	  How far the target of a pipeline is behind its topic.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LAG_H
#define CDC_LAG_H

#include "datatype/timestamp.h"

/* A partition of a pipeline. */
typedef struct CdcLag
{
	int64		partition;
	int32		epoch;
	int64		position;		/* what is below has landed */
	bool		has_end;
	int64		end;			/* of the log, when it was last seen */
	TimestampTz end_seen_at;	/* DT_NOBEGIN: unknown */
	TimestampTz was_at_end_at;	/* everything had landed then; DT_NOBEGIN: unknown */
	bool		has_watermark;	/* else nothing was ever synced */
	int32		watermark_epoch;
	int64		watermark;		/* what is below is in the target */
	TimestampTz applied_at;		/* the source's clock at the watermark; DT_NOBEGIN:
								 * unknown */
	int64		events;			/* synced */
	int64		resent;
	int64		passed;
	TimestampTz synced_at;		/* DT_NOBEGIN: never */
	int64		records;		/* that are not in the target; -1: unknown */
	int64		landed;			/* of these, as far as they have landed; so, too */
	TimestampTz since;			/* how old the first of them is; DT_NOEND: nothing is
								 * missing; DT_NOBEGIN: unknown */
} CdcLag;

/* A pipeline, as it is asked about. */
typedef struct CdcLagPipeline
{
	const char *name;
	int32		landing;
	Oid			landing_owner;
	Oid			chunk;
	bool		has_topic;
	TimestampTz unread_since;	/* no worker has followed the topic since then;
								 * DT_NOEND: one does, and what it has not seen is
								 * not there; DT_NOBEGIN: unknown, or never */
	int			nlags;			/* set by cdc_lag_read() */
	CdcLag	   *lags;			/* in the order of the partitions */
} CdcLagPipeline;

/*
 * Fill in the partitions of these pipelines, which are in the order of the bytes
 * of their names.  No error is raised for what is wrong with one of them, and no
 * lock waited for; without it less is known.
 */
extern void cdc_lag_read(CdcLagPipeline **pipelines, int n);

#endif							/* CDC_LAG_H */
