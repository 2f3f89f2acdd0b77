/*-------------------------------------------------------------------------
 *
 * conflict.h
 *	  Staged rows that the target is sure to refuse, found as a set.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CONFLICT_H
#define CDC_CONFLICT_H

#include "merge.h"

/* A constraint that staged rows run against. */
typedef struct CdcConflict
{
	int			sqlerrcode;		/* of its violation */
	int64	   *rows;			/* numbers of those rows */
	int64		nrows;
} CdcConflict;

/*
 * The rows of staging that a foreign key of the target, a foreign key to it, or a
 * unique constraint besides the key refuses whatever the other rows of staging
 * do.  Not all such rows: only what the constraint itself tells.  A list of
 * CdcConflict *; as the current user, in the open SPI connection.
 */
extern List *cdc_conflict_find(const CdcMerge *merge);

#endif							/* CDC_CONFLICT_H */
