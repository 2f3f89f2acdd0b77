/*-------------------------------------------------------------------------
 *
 * refresh.h
 *	  Kafka -> landing, for one call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_REFRESH_H
#define CDC_REFRESH_H

#include "landing.h"

typedef struct CdcRefreshResult
{
	int64		records;
	int64		bytes;			/* of keys and values */
	int32		partitions;		/* partitions of the topic */
} CdcRefreshResult;

/*
 * Read the landing's topic from its position until every partition has reached
 * the end that it had at the start, in the caller's transaction.  Takes the
 * landing's lock; the caller has checked the privileges.  Errors: 55000 for a
 * landing without a topic; 08xxx/HVxxx for Kafka; 55000 with the exact range
 * for a position that the log no longer holds (a gap).
 */
extern void cdc_refresh_landing(const CdcLanding *landing,
								CdcRefreshResult *result);

#endif							/* CDC_REFRESH_H */
