/*-------------------------------------------------------------------------
 *
 * contents.h
 *	  Give a table the contents of another one, row by equal row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CONTENTS_H
#define CDC_CONTENTS_H

#include "target.h"

typedef struct CdcContents
{
	/* in */
	const CdcTarget *target;
	Oid			source;			/* has the target's columns */
	const bool *never_set;		/* [ncolumns] columns that are the user's own: they
								 * are not compared, and new rows get defaults */

	/* out */
	int64		target_rows;	/* as they were; those of other sources left out */
	int64		missing;		/* of those, the ones that the source has not */
	int64		inserted;
	int64		deleted;
} CdcContents;

/*
 * How many rows are there, and how many of them has the source not?  In an open
 * SPI connection, as the current user; so is the other one.
 */
extern void cdc_contents_compare(CdcContents *contents);

/*
 * Delete the rows that the source has not, and insert those that it has more of.
 * What the target refuses is an error.
 */
extern void cdc_contents_replace(CdcContents *contents);

#endif							/* CDC_CONTENTS_H */
