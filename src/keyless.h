/*-------------------------------------------------------------------------
 *
 * keyless.h
 *	  Mirror of a table without a key: changes of rows that are known by all
 *	  their values.
 *
 * A window is a list of changes, each of which takes one row away, or brings
 * one, or both.  The distinct rows are winners of the ranking and rows of
 * staging.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KEYLESS_H
#define CDC_KEYLESS_H

#include "merge.h"
#include "stage.h"

typedef struct CdcRowChange
{
	CdcWinner  *takes;			/* or NULL */
	CdcWinner  *brings;			/* or NULL */
	CdcOrigin	at;
	bool		excluded;		/* it goes to quarantine */

	/* order between partitions */
	CdcPosition position;
	int64		source_ts_ms;
	Timestamp	kafka_timestamp;
} CdcRowChange;

/* Put the changes of several partitions in order. */
extern void cdc_keyless_arrange(CdcRank *rank);

/* As cdc_merge(). */
extern void cdc_keyless_merge(CdcMerge *merge, CdcStage *stage);

#endif							/* CDC_KEYLESS_H */
