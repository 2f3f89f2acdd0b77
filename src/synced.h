/*-------------------------------------------------------------------------
 *
 * synced.h
 *	  Tell the other processes what a sync has brought to the target.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SYNCED_H
#define CDC_SYNCED_H

#include "sync.h"

/* What this says becomes known when the transaction commits, if it does. */
extern void cdc_synced_note(const CdcPipeline *pipeline, const CdcSyncResult *result);

#endif							/* CDC_SYNCED_H */
