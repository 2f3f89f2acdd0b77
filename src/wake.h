/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Tell the workers of this database what a transaction has done, when it
 *	  commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WAKE_H
#define CDC_WAKE_H

/*
 * kinds: of processes, CDC_KIND(..) bits; wake: CDC_WAKE_* bits.  Costs nothing
 * when it is called again in the same transaction.  CDC_KIND(CDC_LAUNCHER)
 * means the launcher.
 */
extern void cdc_wake_at_commit(int kinds, uint32 wake);

/* The same for something that has landed: counts in the landing's entry, too. */
extern void cdc_wake_landed_at_commit(int32 landing, int64 records);

/* All processes are to look at the catalog, the launcher at this database. */
extern void cdc_wake_for_catalog_at_commit(void);

/*
 * A pipeline was synced: counts in its entry, and wakes cdc_wait().  more:
 * something is left to do.
 */
extern void cdc_wake_synced_at_commit(const char *pipeline, int64 events, bool more);

/* Records that wait in this pipeline may pass now: it is to try them again. */
extern void cdc_wake_waiting_at_commit(const char *pipeline);

#endif							/* CDC_WAKE_H */
