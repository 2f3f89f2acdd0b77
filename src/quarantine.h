/*-------------------------------------------------------------------------
 *
 * quarantine.h
 *	  Records that could not be decoded or applied.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_QUARANTINE_H
#define CDC_QUARANTINE_H

#include "pipeline.h"
#include "rank.h"

/* Does the pipeline have quarantined records? */
extern bool cdc_quarantine_any(const char *pipeline);

/* Forget the records of a partition from offset on: they are read again. */
extern void cdc_quarantine_reread(const char *pipeline, int64 partition,
								  int64 offset);

/* Forget the records before a truncate: what they would have changed is gone. */
extern void cdc_quarantine_truncate(const char *pipeline, int64 offset);

/*
 * The quarantined records of these Kafka keys: blocked[i] is the greatest
 * offset of key i, or -1.
 */
extern void cdc_quarantine_find(const char *pipeline, int nkeys,
								const CdcBytes *keys, int64 *blocked);

/* Remove the records of a key: a full image or a delete supersedes them. */
extern void cdc_quarantine_supersede(const char *pipeline, const CdcBytes *key);

/*
 * Write the bad records from number first to before last; the bytes of those
 * that lack them are read from landing again.
 */
extern void cdc_quarantine_write(const CdcPipeline *pipeline, CdcRank *rank,
								 int64 first, int64 last);

/*
 * The breaker: if the bad records say that the set-up is wrong, why (a message
 * for people), else NULL.  first: the window starts with the pipeline's very
 * first record.
 */
extern char *cdc_quarantine_breaker(const CdcPipeline *pipeline,
									const CdcRank *rank, bool first);

#endif							/* CDC_QUARANTINE_H */
