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

#endif							/* CDC_VERSIONS_H */
