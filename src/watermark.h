/*-------------------------------------------------------------------------
 *
 * watermark.h
 *	  Watermarks: how far a pipeline is in each partition of its landing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WATERMARK_H
#define CDC_WATERMARK_H

#include "pipeline.h"
#include "rank.h"

/*
 * How far the pipeline is in each of these partitions, in their order, which
 * rises; *records: how many it has seen.
 */
extern CdcProgress *cdc_watermark_load(const CdcPipeline *pipeline, int npartitions,
									   const CdcLandingPosition *positions,
									   int64 *records);

/* Write those that have moved, and start counting anew. */
extern void cdc_watermark_save(const CdcPipeline *pipeline, int npartitions,
							   CdcProgress *progress);

/*
 * Error 40001 if the transaction's snapshot is older than the last sync of the
 * pipeline.
 */
extern void cdc_watermark_check_snapshot(const CdcPipeline *pipeline);

#endif							/* CDC_WATERMARK_H */
