/*-------------------------------------------------------------------------
 *
 * barrier.h
 *	  Changes that all partitions of a topic must pass: what is older than they
 *	  are, and comes later from another partition, is not what it seems.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_BARRIER_H
#define CDC_BARRIER_H

#include "rank.h"

typedef struct CdcBarriers
{
	bool		has_truncate;	/* the last truncate: what is older is gone */
	CdcOrigin	truncate;
	Timestamp	truncate_time;	/* at the source; DT_NOBEGIN: nobody asks */
	bool		has_stray;		/* the newest change outside of its key's home (see
								 * home.h): of what is older, a key may have newer
								 * changes in other partitions */
	CdcOrigin	stray;
	int			npartitions;	/* homes are of so many partitions; 0: unknown */
	int64		key_form;		/* .. and of keys of this form (home.h); 0: unknown */
	bool		changed;
} CdcBarriers;

extern void cdc_barriers_load(const char *pipeline, CdcBarriers *barriers);

/* A change outside of its key's home. */
extern void cdc_barriers_stray(CdcBarriers *barriers, const CdcOrigin *at);

/*
 * Homes are of npartitions from here on.  What was applied before, as far as
 * progress tells, may be outside of the homes that its keys have now.
 */
extern void cdc_barriers_grow(CdcBarriers *barriers, int npartitions,
							  const CdcProgress *progress);

/*
 * Write them if they have changed, without a truncate that all partitions have
 * passed.
 */
extern void cdc_barriers_save(const char *pipeline, CdcBarriers *barriers,
							  int npartitions, const CdcProgress *progress);

#endif							/* CDC_BARRIER_H */
