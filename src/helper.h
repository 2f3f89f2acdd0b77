/*-------------------------------------------------------------------------
 *
 * helper.h
 *	  A second process, which reads and decodes the backlog of a sync ahead of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HELPER_H
#define CDC_HELPER_H

#include "intake.h"
#include "landing.h"
#include "rank.h"

typedef struct CdcHelper CdcHelper;

/* Backlog in kB from which on a sync has a helper; -1: never. */
extern int	cdc_min_parallel_sync_size;

/*
 * May this transaction have a helper?  Asked before it writes anything: what it
 * wrote is not for another process to see.
 */
extern bool cdc_helper_may_help(void);

/*
 * Start one that reads from where progress is to the positions, in the current
 * memory context, whose end is its end.  As the current user.  NULL: there is no
 * room for another process.  whole: the caller looks at more of a record than the
 * fields that the decoder is made with, so that it decodes itself.
 */
extern CdcHelper *cdc_helper_start(const CdcLanding *landing, const CdcTarget *target,
								   const CdcIntake *intake, const char *placeholder,
								   bool whole, int npartitions, const CdcProgress *progress,
								   const CdcLandingPosition *positions);

/* End it; NULL will do. */
extern void cdc_helper_end(CdcHelper *helper);

/*
 * The caller reads up to here itself: go on behind it, if that has not begun yet.
 * patient: wait until it has.
 */
extern void cdc_helper_begin_at(CdcHelper *helper, int64 partition, int32 epoch,
								int64 from, bool patient);

typedef enum CdcHelp
{
	CDC_HELP_CHUNK,				/* *chunk is the next one, as from a scan */
	CDC_HELP_END,				/* there is none that is wanted in this epoch */
	CDC_HELP_NONE				/* the caller is to read the next chunk itself */
} CdcHelp;

/* What is next behind or at this offset; waits for it. */
extern CdcHelp cdc_helper_next(CdcHelper *helper, int64 partition, int32 epoch,
							   int64 from, const CdcChunk **chunk);

/* Called when the library is loaded. */
extern void cdc_helper_init(void);

#endif							/* CDC_HELPER_H */
