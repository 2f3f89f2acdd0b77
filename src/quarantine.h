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
								  int32 epoch, int64 offset);

/* Forget the records before a truncate: what they would have changed is gone. */
extern void cdc_quarantine_truncate(const char *pipeline, int32 epoch,
									int64 offset);

/*
 * For each winner: the greatest offset of a quarantined record of its Kafka
 * key and partition before it, or -1.
 */
extern void cdc_quarantine_find(const char *pipeline, int64 nwinners,
								CdcWinner *const *winners, int64 *blocked);

/*
 * Remove the quarantined records that a winner (a full image, or a delete, that
 * was applied) supersedes.
 */
extern void cdc_quarantine_supersede(const char *pipeline,
									 const CdcWinner *winner);

/*
 * Take the records that wait for a constraint to be satisfied by others (see
 * cdc_quarantine_waiting) out of quarantine, and add them to the window.
 */
extern void cdc_quarantine_retry(const char *pipeline, CdcRank *rank);

/* Are there such records? */
extern bool cdc_quarantine_waiting(const char *pipeline);

/*
 * Write the bad records from number first to before last; the bytes of those
 * that lack them are read from landing again.
 */
extern void cdc_quarantine_write(const CdcPipeline *pipeline, CdcRank *rank,
								 int64 first, int64 last);

/*
 * So many bad records among those of the window do not trip the breaker, those
 * not counted that are tried again.
 */
extern int64 cdc_quarantine_limit(const CdcPipeline *pipeline, const CdcRank *rank);

/* The first bad record that is not tried again, or NULL; *n: how many there are. */
extern const CdcBadRecord *cdc_quarantine_new(const CdcRank *rank, int64 *n);

/*
 * The breaker: if the bad records say that the set-up is wrong, why (a message
 * for people), else NULL.  first: the window starts with the pipeline's very
 * first record.
 */
extern char *cdc_quarantine_breaker(const CdcPipeline *pipeline,
									const CdcRank *rank, bool first);

#endif							/* CDC_QUARANTINE_H */
