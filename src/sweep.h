/*-------------------------------------------------------------------------
 *
 * sweep.h
 *	  A complete snapshot replaces the target: what it does not have goes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SWEEP_H
#define CDC_SWEEP_H

#include "merge.h"
#include "snapshot.h"
#include "sync.h"

typedef struct CdcSweep
{
	const CdcPipeline *pipeline;
	const CdcTarget *target;
	CdcDecoder *decoder;
	CdcIntake  *intake;
	CdcSnapshots *snapshots;
	int			npartitions;
	const CdcProgress *progress;
	const CdcLandingPosition *positions;
	bool		check_foreign_keys; /* as of a merge */
	CdcSyncResult *result;
	bool		unblocked;		/* out: records in quarantine are to be tried again */
} CdcSweep;

/*
 * If the newest snapshot is complete, delete the rows of the target that it did
 * not have and that nothing has brought since; as the current user in the open
 * SPI connection, in the caller's transaction.  *result counts them; .waiting is
 * set if the snapshot may turn out to be complete without any new record.
 */
extern void cdc_sweep(CdcSweep *sweep);

#endif							/* CDC_SWEEP_H */
