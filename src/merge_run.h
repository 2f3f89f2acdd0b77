/*-------------------------------------------------------------------------
 *
 * merge_run.h
 *	  What the files of the merge share: one attempt to apply some rows.  Only
 *	  merge.c, merge_step.c, merge_direct.c and park.c include it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MERGE_RUN_H
#define CDC_MERGE_RUN_H

#include "lib/stringinfo.h"

#include "merge.h"

typedef enum CdcMergeStep
{
	STEP_DELETE,
	STEP_UPDATE,
	STEP_INSERT,
	STEP_ALL					/* the three of them, parking included */
} CdcMergeStep;

/* One statement, or all of them, over some rows. */
typedef struct CdcMergeRun
{
	CdcMerge   *merge;
	CdcMergeStep step;
	bool		park;			/* park swapped unique values before the update */
	const int64 *only;			/* after that, go on with this row alone */
	const int64 *rows;			/* NULL: all */
	int64		nrows;
	int64		inserted;
	int64		updated;
	int64		deleted;
	bool		settle;			/* at the end, check what is deferred */
	MemoryContext scratch;		/* of the statements */
} CdcMergeRun;

/* merge_direct.c: do it all without SQL; false: nothing was done. */
extern bool cdc_merge_direct(CdcMerge *merge);

/* Apply the run's step or steps; true.  For cdc_try(): the argument is the run. */
extern bool cdc_merge_run(void *arg);

/* Empty the target; soft_delete: mark its rows, when deletes have been applied. */
extern void cdc_merge_empty_target(CdcMerge *merge);
extern void cdc_merge_mark_all(CdcMerge *merge);

/* Count the rows of each action; how many have one of some. */
extern void cdc_merge_count(CdcMerge *merge);
extern int64 cdc_merge_count_actions(const CdcMerge *merge, const char *actions);

/*
 * Run a statement over the rows of the run: $1 is their TIDs, if not all; and
 * restrict it to them.
 */
extern int64 cdc_merge_run_sql(const CdcMergeRun *run, StringInfo sql);
extern void cdc_merge_append_rows(const CdcMergeRun *run, StringInfo sql);

/* The actions that a step is about; condition that a row has one of some. */
extern const char *cdc_merge_step_actions(const CdcMerge *merge, CdcMergeStep step);
extern char *cdc_merge_is_alive(const CdcMerge *m);
extern char *cdc_merge_action_in(const CdcMerge *merge, const char *alias,
								 const char *actions);

/* park.c: make way for rows that swap unique values. */
extern void cdc_merge_park(CdcMergeRun *run);

#endif							/* CDC_MERGE_RUN_H */
