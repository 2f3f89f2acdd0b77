/*-------------------------------------------------------------------------
 *
 * stage.h
 *	  Winners -> rows of staging.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_STAGE_H
#define CDC_STAGE_H

#include "pipeline.h"
#include "quarantine.h"
#include "rank.h"
#include "staging.h"

/* What is being staged of a window. */
typedef struct CdcStage
{
	const CdcPipeline *pipeline;
	CdcRank    *rank;
	CdcRefusals *refusals;		/* bad records that took the place of other changes
								 * of the window are added; NULL: they are not */
	bool		heeds_target;	/* .. and those of the rows that the target refuses */
	int			round;			/* the window was ranked so often before */
	bool	   *never_set;		/* [ncolumns] */
	bool	   *partly_set;
	bool		needs_rows;
	CdcWinner **rows;			/* winners by staged row */
	char	   *actions;
	int64		nrows;
	CdcQuarantined *superseded; /* once their winners are applied */
	CdcWinner **superseding;	/* [nsuperseded] those */
	int64		nsuperseded;

	/* the batch that is being converted */
	CdcWinner **batch;
	int			nbatch;
	int			at;				/* winner being converted */
	int			column;			/* its column */
	Datum	   *values;			/* [CDC_STAGING_BATCH][width] */
	bool	   *nulls;
	char	   *batch_actions;	/* 0: not to be staged */
	int			width;
} CdcStage;

/* Which columns do all, some, or none of the winners set?  Call it first. */
extern void cdc_stage_survey(CdcStage *stage);

/*
 * Leave out the changes that must wait behind a quarantined record of their key,
 * and note those that supersede one; remove these, once they are applied.
 */
extern void cdc_stage_heed_quarantine(CdcStage *stage);
extern void cdc_stage_supersede(CdcStage *stage);

/*
 * Convert the winners and write them to staging; those that cannot be are noted
 * as bad.  Returns the TIDs of the stage->nrows rows.
 */
extern ItemPointerData *cdc_stage_winners(CdcStage *stage);

/* Fill the values of the columns that pseudo-fields feed. */
extern void cdc_stage_pseudos(const CdcTarget *target, const CdcWinner *w,
							  Datum *values, bool *nulls);

/* The target refuses a row (a CdcMergeRefused; arg is the CdcStage). */
extern void cdc_stage_refused(void *arg, int64 row, const CdcConvertError *error);

#endif							/* CDC_STAGE_H */
