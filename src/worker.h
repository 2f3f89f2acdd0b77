/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What all background processes of the extension have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WORKER_H
#define CDC_WORKER_H

#include "postmaster/bgworker.h"
#include "utils/elog.h"

#include "shmem.h"

/* Settings; all can be changed by a reload. */
extern int	cdc_max_sync_workers;	/* in a database */
extern int	cdc_sync_timeout;	/* ms, 0: none */
extern int	cdc_commit_delay;	/* ms */
extern int	cdc_metadata_interval;	/* s */

/* Is it for a launcher to start the managers?  (It may be away for a moment.) */
extern bool cdc_worker_has_launcher(void);

/* Start one; NULL if there is no slot for it. */
extern BackgroundWorkerHandle *cdc_worker_start(const CdcProcess *process);

/*
 * Whom there is no slot for in a database (NULL: there is one again): stands there
 * for cdc_status, and in the log if that is wanted.
 */
extern void cdc_worker_note_slot(Oid database, const char *without, bool log);

/*
 * Called first by each main function: signals, connection, entry.  Ends the
 * process if one like it is there.
 */
extern const CdcProcess *cdc_worker_begin(Datum main_arg);

/*
 * Is the extension in this database?  If so, it is not dropped before the end of
 * the transaction.
 */
extern bool cdc_worker_lock_extension(void);

/*
 * Run func(arg) in a transaction of its own, with an active snapshot, in an
 * ingest or sync worker under that lock; the process ends if the extension is
 * gone.  Returns true when it has committed.  On an error the transaction is
 * aborted and *error is a copy of it in the caller's context; nothing is logged.
 */
extern bool cdc_worker_try(void (*func) (void *arg), void *arg, ErrorData **error);

/* Write an error that was caught to the server log, as LOG. */
extern void cdc_worker_log(const ErrorData *edata, const char *what);

/* What this process is doing, for pg_stat_activity; NULL: nothing. */
extern void cdc_worker_activity(const char *what);

/*
 * Take up what has come: a reload of the settings, termination, what others
 * wake for (CDC_WAKE_*, returned).
 */
extern uint32 cdc_worker_check(void);

/*
 * When what a process began to read from the catalog then, and has read now, may
 * be read again: after "pause" ms, and so late that a small share of the time goes
 * into it, however much there is to be read and however often it changes.
 */
extern TimestampTz cdc_worker_read_again_at(TimestampTz began, int pause);

/* cdc_worker_check() after a sleep of at most that many ms (-1: for ever). */
extern uint32 cdc_worker_sleep(long timeout);

/* Called when the library is loaded. */
extern void cdc_worker_init(void);

#endif							/* CDC_WORKER_H */
