/*-------------------------------------------------------------------------
 *
 * merge.h
 *	  Staging -> target: delete, update, insert, as sets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MERGE_H
#define CDC_MERGE_H

#include "staging.h"

/* A staged row that the target refuses. */
typedef void (*CdcMergeRefused) (void *arg, int64 row, const CdcConvertError *error);

typedef struct CdcMerge
{
	/* in */
	const CdcTarget *target;
	Oid			staging;
	bool		truncate;		/* empty the target first, .. */
	bool		keep_staged;	/* .. but of the keys that are staged */
	int64		nrows;
	const ItemPointerData *tids;	/* [nrows] in staging */
	const char *actions;		/* [nrows] cdc_action */
	const bool *never_set;		/* [ncolumns] no row sets the column */
	const bool *partly_set;		/* [ncolumns] some rows do, some do not */
	bool		needs_rows;		/* some row has unavailable values */
	bool		check_foreign_keys; /* even those that may wait for the commit */
	const Datum *truncate_values;	/* soft_delete: of the pseudo-fields' columns,
									 * [ncolumns] */
	const bool *truncate_nulls;
	int64		max_refused;	/* so many refused rows are enough: the others that
								 * fail need not be told apart */
	CdcMergeRefused refused;
	void	   *arg;

	/* out */
	int64		inserted;
	int64		updated;
	int64		deleted;

	/* for the files of the merge: rows of each action, in the order of "drum" */
	int64		nactions[4];
} CdcMerge;

/*
 * Apply the staged rows, as the current user in the open SPI connection.  Rows
 * that the target refuses for what they hold (class 22 and 23) are reported
 * and left out, each alone; other errors are passed on.
 */
extern void cdc_merge(CdcMerge *merge);

/* The number of the staged row whose TID is in row i of the last result. */
extern int64 cdc_merge_result_row(const CdcMerge *merge, uint64 i, int column);

/*
 * Let deferrable constraints of the target be checked by each statement; back:
 * as they are declared again.
 */
extern void cdc_merge_constraints(CdcMerge *merge, bool back);

#endif							/* CDC_MERGE_H */
