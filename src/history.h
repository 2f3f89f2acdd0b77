/*-------------------------------------------------------------------------
 *
 * history.h
 *	  The mode history: each change of a key is a version.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HISTORY_H
#define CDC_HISTORY_H

#include "rank.h"

/* Put the changes of each key side by side, in their order. */
extern void cdc_history_arrange(CdcRank *rank);

/*
 * Put truncates of several partitions among the changes of the keys, at their place
 * in the order.
 */
extern void cdc_history_truncate(CdcRank *rank);

/*
 * Then, of those that are left to be applied: when each ends, and its action.
 */
extern void cdc_history_date(CdcRank *rank);

#endif							/* CDC_HISTORY_H */
