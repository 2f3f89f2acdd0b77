/*-------------------------------------------------------------------------
 *
 * breaker.h
 *	  The breaker: so many bad records say that the set-up is wrong.
 *
 * It trips when the first 20 records of a pipeline are all bad for one reason,
 * or more than the share "max_quarantine_share" of any 1,000 records in a row
 * (at the beginning: of those that there were, but at least of 100).  Records
 * are numbered through all windows, so it does not matter where they are cut.
 * Those that wait for a constraint, are blocked behind another, or are tried
 * again, are not bad here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_BREAKER_H
#define CDC_BREAKER_H

#include "pipeline.h"
#include "rank.h"

typedef struct CdcBreaker CdcBreaker;

/*
 * The breaker of a pipeline that has seen so many records; in the current memory
 * context.  What it has seen of bad ones is read when one more comes.
 */
extern CdcBreaker *cdc_breaker_begin(const CdcPipeline *pipeline, int64 records);

/*
 * Why it trips over the records of a window (a message for people, and the
 * SQLSTATE of the commonest error), or NULL.
 */
extern char *cdc_breaker_check(CdcBreaker *breaker, const CdcRank *rank,
							   int *sqlerrcode);

/* Could the next records of the window still be the pipeline's first? */
extern bool cdc_breaker_is_new(const CdcBreaker *breaker);

/*
 * So many records of the window that the target refuses for good are enough to
 * trip it.
 */
extern int64 cdc_breaker_limit(const CdcBreaker *breaker, const CdcRank *rank);

/* The window was applied: remember its bad records. */
extern void cdc_breaker_save(CdcBreaker *breaker, const CdcRank *rank,
							 int64 records);

/* A person has looked: begin anew. */
extern void cdc_breaker_reset(const char *pipeline);

#endif							/* CDC_BREAKER_H */
