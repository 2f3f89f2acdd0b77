/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  Records that wait for what another pipeline has just brought.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RETRY_H
#define CDC_RETRY_H

#include "pipeline.h"

/*
 * Let the workers try such records again when the transaction commits, also those
 * of other owners.
 */
extern void cdc_retry_wake(const CdcPipeline *pipeline);

/*
 * A worker's window was refused as a whole, by rows that refer to those that are
 * to go: from now on those who may take these away wake it, too.
 */
extern void cdc_retry_note_refused(void);

/*
 * The target of this pipeline has changed: try records again that wait in
 * pipelines of the same owner whose targets are bound to it by a foreign key, and
 * so on from those.  In the caller's transaction; what another session is at is
 * left out, and errors are passed over: they show when that pipeline is synced.
 */
extern void cdc_retry_related(const CdcPipeline *pipeline);

#endif							/* CDC_RETRY_H */
