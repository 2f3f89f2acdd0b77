/*-------------------------------------------------------------------------
 *
 * versions.h
 *	  The mode history: staged changes -> versions in the target.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_VERSIONS_H
#define CDC_VERSIONS_H

#include "merge.h"
#include "stage.h"

/*
 * As cdc_merge(), for the rows of a stage that cdc_history_date() has dated.
 * late: a change may be older than what the target has, from another partition.
 */
extern void cdc_versions_merge(CdcMerge *merge, CdcStage *stage, bool late);

/* The staged rows, each key's side by side. */
typedef struct CdcVersions
{
	CdcMerge   *merge;
	const char *actions;		/* [nrows], see versions.c; 0: leave the row out */
	const int64 *units;			/* [nunits + 1] first row of each key */
	int64		nunits;
} CdcVersions;

/* versions_direct.c: apply them without SQL; false: nothing was done. */
extern bool cdc_versions_direct(const CdcVersions *versions);

/* Does the column's default make a new value each time, as a sequence does? */
extern bool cdc_versions_default_is_volatile(const CdcTarget *target, const CdcColumn *c);

#endif							/* CDC_VERSIONS_H */
