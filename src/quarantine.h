/*-------------------------------------------------------------------------
 *
 * quarantine.h
 *	  Records that could not be decoded or applied.
 *
 * What makes them safe to apply later: while a record is here, no later change
 * of its row is applied but one that says all of it.  A change that leaves
 * values out joins it (blocked), one that does not removes it (superseded).  So
 * the row is as it was before the record, or nobody asks for the record any
 * more.
 *
 * A record is bad; or it waits (the target refused it for a constraint that
 * other rows may come to satisfy); or it is blocked behind another of its key.
 * Those that are being tried again stay where they are, marked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_QUARANTINE_H
#define CDC_QUARANTINE_H

#include "pipeline.h"
#include "rank.h"

/* Does the pipeline have quarantined records? */
extern bool cdc_quarantine_any(const char *pipeline);

/* May others let the record pass?  Then it waits, and is not bad. */
extern bool cdc_quarantine_may_wait(const CdcBadRecord *bad);

/*
 * Are there records that wait, and were not tried since?  Or that wait for
 * evidence of their encoding, which has come.
 */
extern bool cdc_quarantine_waiting(const char *pipeline, TimestampTz since);

/* Forget the records of a partition from offset on: they are read again. */
extern void cdc_quarantine_reread(const char *pipeline, int64 partition,
								  int32 epoch, int64 offset);

/*
 * Forget the records before a truncate: what they would have changed is gone.
 * multi_partition: those of other partitions, too.
 */
extern void cdc_quarantine_truncate(const char *pipeline, const CdcOrigin *truncate,
									bool multi_partition);

/* Where several sources feed the target: the records before those of the window. */
extern void cdc_quarantine_truncate_scopes(const char *pipeline, CdcRank *rank);

/* Forget the records of which a function says so. */
typedef bool (*CdcQuarantineFunc) (const CdcOrigin *at, const CdcRecordBytes *record,
								   void *arg);

extern void cdc_quarantine_forget(const char *pipeline, CdcQuarantineFunc is_over,
								  void *arg);

/*
 * What was blocked behind a record that is gone now waits, and so is tried again.
 * How many there are.
 */
extern int64 cdc_quarantine_unblock(const char *pipeline);

/* What the hash of a record's key is of: the same for as long as that is. */
extern int32 cdc_quarantine_key_type(const CdcPipeline *pipeline, const CdcTarget *target);

/*
 * What the key of a quarantined record is known by changes with the key's types
 * and the mapping: bring those up to date that were written under another
 * definition; unknown: those too whose key could not be told.  As the current
 * user, in a window that is thrown away.
 */
extern void cdc_quarantine_rehash(const CdcPipeline *pipeline, CdcRank *rank,
								  bool unknown);

/* A quarantined record that comes before a winner of its key. */
typedef struct CdcQuarantined
{
	int64		winner;			/* number of that */
	int64		partition;
	int32		epoch;
	int64		offset;
	bool		old_key;
	bool		by_hash;		/* known by the hash of its key, not by bytes */
	int64		head;			/* offset of the one that it waits for, else its own */
} CdcQuarantined;

/*
 * All of those, by winner, the latest of each winner last.  Palloc'ed in the
 * current context.
 */
extern CdcQuarantined *cdc_quarantine_find(const CdcPipeline *pipeline, CdcRank *rank,
										   int64 *n);

/*
 * Does one of these records, all of one winner, set a column that the winner
 * leaves out?
 */
extern bool cdc_quarantine_sets_more(const char *pipeline, CdcRank *rank,
									 const CdcQuarantined *records, int64 n,
									 const CdcWinner *winner);

/* Remove records that were found, as their winners were applied. */
extern void cdc_quarantine_supersede(const char *pipeline, int64 n,
									 const CdcQuarantined *records);

/* Which records are to be tried again; the others of their keys come along. */
typedef struct CdcRetry
{
	bool		waiting;		/* those that wait, as above */
	bool		all;			/* all; else the one at .. */
	int64		partition;
	int64		offset;
	TimestampTz since;			/* of the first two: that were not tried since then,
								 * some of them */
} CdcRetry;

/* So many of them at a time, and what comes along. */
#define CDC_RETRY_RECORDS	1000

/*
 * Mark them.  Returns how many there are.  They are below the watermark:
 * others will be read again.
 */
extern int64 cdc_quarantine_take(const char *pipeline, const CdcRetry *retry);

/* The same with one that the window has taken by itself. */
extern int64 cdc_quarantine_take_one(const char *pipeline, const CdcOrigin *at);

/* Add those that are marked to the window, before all others. */
extern void cdc_quarantine_retry(const char *pipeline, CdcRank *rank);

/* Those that are marked and not bad again leave; returns how many. */
extern int64 cdc_quarantine_release(const char *pipeline);

/* Remove them without applying them; all: every one.  How many there were. */
extern int64 cdc_quarantine_discard(const char *pipeline, bool all,
									int64 partition, int64 offset);

/*
 * Write the bad records from number first to before last; the bytes of those
 * that lack them are read from landing again (quarantine_write.c).
 */
extern void cdc_quarantine_write(const CdcPipeline *pipeline, CdcRank *rank,
								 int64 first, int64 last);

#endif							/* CDC_QUARANTINE_H */
