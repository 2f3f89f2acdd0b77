/*-------------------------------------------------------------------------
 *
 * gap.h
 *	  What a topic no longer has when it is to be read, and what is done then.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_GAP_H
#define CDC_GAP_H

#include "compat.h"
#include "landing.h"

typedef enum CdcGapKind
{
	CDC_GAP_NONE,
	CDC_GAP_EXPIRED,			/* the log begins above the position */
	CDC_GAP_TRUNCATED,			/* it ends below it */
	CDC_GAP_CREATED_AGAIN,		/* it holds another record where the last one was */
	CDC_GAP_NO_PARTITION		/* the partition is gone */
} CdcGapKind;

typedef struct CdcGap
{
	CdcGapKind	kind;
	CdcLandingPosition position;	/* where the landing goes on */
	int64		low;			/* the log holds low .. high - 1 */
	int64		high;
} CdcGap;

/* Is there one?  Finds the first three kinds but CREATED_AGAIN. */
extern bool cdc_gap_find(const CdcLandingPosition *position,
						 int64 low, int64 high, CdcGap *gap);

/*
 * The kind NO_PARTITION, of a topic with so many partitions.  A partition of
 * which nothing was read is not missed.
 */
extern bool cdc_gap_find_partition(const CdcLandingPosition *position,
								   int npartitions, CdcGap *gap);

/* Error 55000 with the range and what to do. */
pg_noreturn extern void cdc_gap_raise(const char *topic, const CdcGap *gap);

/*
 * Record the gap and stop the landing's pipelines, in this transaction.  Error
 * 55P03 if one of them is locked by another session.
 */
extern void cdc_gap_stop(const CdcLanding *landing, const char *topic,
						 const CdcGap *gap);

/*
 * Record the gap and let the append go on behind it: what has expired is left
 * out; otherwise the log is read from its beginning, in a new epoch.  Sets
 * *position to where that is.
 */
extern void cdc_gap_pass(const CdcLanding *landing, CdcLandingAppend *append,
						 const char *topic, const CdcGap *gap,
						 CdcLandingPosition *position);

#endif							/* CDC_GAP_H */
