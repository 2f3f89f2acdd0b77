/*-------------------------------------------------------------------------
 *
 * exact.h
 *	  Is a pipeline's target known to equal its source?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_EXACT_H
#define CDC_EXACT_H

#include "landing.h"
#include "pipeline.h"

/*
 * From now on the target may differ from the source, for this reason (one row
 * of cdcsync.inexact for each), until it is loaded anew.
 */
extern void cdc_pipeline_set_inexact(const char *pipeline, const char *reason);

/*
 * The same for all pipelines of a landing: offsets of a partition were passed
 * over.  What was lost lies before (epoch, next_offset).
 */
extern void cdc_landing_set_inexact(int32 landing, const char *reason,
									int64 partition, int32 epoch,
									int64 next_offset);

/*
 * A new pipeline of a landing that has passed gaps: it begins with what is
 * left.
 */
extern void cdc_exact_begin(const char *pipeline, int32 landing);

/*
 * The target was loaded anew: forget the reasons that are older than since
 * (DT_NOEND: all), but for missing records.
 */
extern void cdc_exact_regain(const char *pipeline, TimestampTz since);

/*
 * The same, from records that begin at from[npartitions]: what was lost behind
 * that is not regained.
 */
extern void cdc_exact_rebuilt(const char *pipeline, const CdcLandingPosition *from,
							  int npartitions);
/* .. those that say that records are missing before there. */
extern void cdc_exact_regain_partition(const char *pipeline, int64 partition,
									   int32 epoch, int64 offset);

#endif							/* CDC_EXACT_H */
