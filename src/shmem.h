/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  What the processes of the extension know of each other: who runs, who is
 *	  to be woken, how landings and pipelines fare.
 *
 * The only shared memory of the extension.  Nothing in it is needed to be
 * right: a crash of the server empties it, and whoever finds no entry goes by
 * the catalog tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SHMEM_H
#define CDC_SHMEM_H

#include "datatype/timestamp.h"

#include "cdcsync.h"
#include "problem.h"

/* ----------
 * Processes
 * ----------
 */
typedef enum CdcProcessKind
{
	CDC_LAUNCHER = 1,			/* one in the cluster */
	CDC_MANAGER,				/* one in a database */
	CDC_INGEST,					/* one per server, owner and slice */
	CDC_SYNC					/* several per owner */
} CdcProcessKind;

/* Who a worker is: given to it when it is started, seen by everybody. */
typedef struct CdcProcess
{
	CdcProcessKind kind;
	Oid			database;		/* InvalidOid: the launcher */
	Oid			owner;			/* ingest, sync: connected as this role */
	Oid			server;			/* ingest: foreign server */
	int			slice;			/* ingest: of the server's partitions; sync: a
								 * number that tells workers of an owner apart */
	int			nslices;		/* ingest */
} CdcProcess;

/* What a process is told; bits. */
#define CDC_WAKE_CATALOG	0x01	/* pipelines or landings have changed */
#define CDC_WAKE_LANDED		0x02	/* something has landed */
#define CDC_WAKE_WORKERS	0x04	/* a process has come or gone */
#define CDC_WAKE_LEAVE		0x08	/* end as soon as there is nothing to do */

/*
 * Enter this process; false if one that does the same work is there already.
 * It is taken out at exit.
 */
extern bool cdc_process_enter(const CdcProcess *process);

/* What this process was told since the last call. */
extern uint32 cdc_process_woken(void);

/* The same, without taking it. */
extern uint32 cdc_process_is_woken(void);

/* Tell processes of a database (InvalidOid: the launcher), kinds: bits 1 << kind. */
extern void cdc_process_wake(Oid database, int kinds, uint32 wake);
#define CDC_KIND(kind)	(1 << (kind))
#define CDC_ALL_KINDS	(~0)

/* Tell the one that is exactly this; is there one? */
extern void cdc_process_wake_one(const CdcProcess *process, uint32 wake);
extern bool cdc_process_is_there(const CdcProcess *process);

/*
 * The process ids of those that are like it in kind, database, owner and server,
 * ignoring those that are 0.  Returns their number, at most max.
 */
extern int	cdc_process_find(const CdcProcess *like, int *pids, CdcProcess *found, int max);

/*
 * Make all of a database leave, by SIGTERM if need be, and wait at most timeout
 * ms until they have; how many are left.
 */
extern int	cdc_process_expel(Oid database, int timeout);

/* ----------
 * Entries of what is shared, found by key.  An entry is locked between find or
 * insert and release: only a few assignments may stand between.
 * ----------
 */
typedef enum CdcSharedKind
{
	CDC_SHARED_DATABASE,
	CDC_SHARED_LANDING,
	CDC_SHARED_PARTITION,
	CDC_SHARED_PIPELINE
} CdcSharedKind;

#define CDC_SHARED_KINDS	4

/* Events a second over the last minute. */
#define CDC_RATE_BUCKETS	7
#define CDC_RATE_SECONDS	10
typedef struct CdcRate
{
	int64		period;			/* the newest bucket's, in units of CDC_RATE_SECONDS */
	TimestampTz begin;			/* when counting began */
	int64		counts[CDC_RATE_BUCKETS];
} CdcRate;

extern void cdc_rate_add(CdcRate *rate, int64 n);
extern double cdc_rate_get(const CdcRate *rate);

typedef struct CdcSharedDatabase
{
	Oid			database;		/* key */
	int			suspended;		/* commands that need the database alone */
	bool		stopped;		/* by cdc_stop() */
	bool		absent;			/* a manager has found no extension */
	TimestampTz refused_at;		/* when a foreign key has refused a whole window
								 * last, 0: never */
	CdcProblem	problem;		/* why there is no manager */
} CdcSharedDatabase;

/* May workers run in it?  No: it is wanted alone, or cdc_stop() was called. */
extern bool cdc_database_is_open(Oid database);

typedef struct CdcLandingKey
{
	Oid			database;
	int32		landing;
} CdcLandingKey;

/*
 * About so many records were still to land when an ingest worker looked last, in
 * the partitions that it reads.  It tells so while there is a backlog, often; what
 * is older counts no more.  Slices beyond these share one: it is an estimate.
 */
#define CDC_UNREAD_SLICES	8
#define CDC_UNREAD_FRESH	1000	/* ms */
typedef struct CdcUnread
{
	int64		records;
	TimestampTz at;
} CdcUnread;

typedef struct CdcSharedLanding
{
	CdcLandingKey key;
	int64		landed;			/* grows whenever something lands, and never takes
								 * a value that an earlier entry of the key had:
								 * tells whether there is news, not how much */
	int64		records;		/* that have landed since the entry was made */
	CdcUnread	unread[CDC_UNREAD_SLICES];	/* by the ingest workers, see below */
	CdcRate		rate;			/* records */
	CdcProblem	problem;		/* why it is not read */
	char		note[CDC_PROBLEM_TEXT];	/* what it waits for, "" if nothing */
	int			reader;			/* pid of the ingest worker (any slice), 0: none */
	bool		missing;		/* the manager's mark: not in the catalog */
} CdcSharedLanding;

typedef struct CdcPartitionKey
{
	Oid			database;
	int32		landing;
	int64		partition;
} CdcPartitionKey;

typedef struct CdcSharedPartition
{
	CdcPartitionKey key;
	int64		end_offset;		/* of the log, when it was last seen */
	TimestampTz seen_at;
} CdcSharedPartition;

typedef struct CdcPipelineKey
{
	Oid			database;
	char		name[CDC_NAME_MAX + 1]; /* padded with zeros */
} CdcPipelineKey;

typedef struct CdcSharedPipeline
{
	CdcPipelineKey key;
	int			worker;			/* pid of the sync worker that is at it, 0: none */
	TimestampTz claimed_at;		/* since when */
	int64		landed;			/* CdcSharedLanding.landed when the last sync
								 * that left nothing to do began; -1: unknown */
	int64		records;		/* CdcSharedLanding.records then */
	TimestampTz synced_at;		/* end of the last sync that had events */
	int64		syncs;			/* how many there were, with events or not */
	int64		poked;			/* how often others may have let pass what waits */
	TransactionId version;		/* of the definition that was synced last */
	CdcRate		rate;			/* events */
	CdcProblem	problem;		/* why it is not synced */
} CdcSharedPipeline;

extern void cdc_pipeline_key(CdcPipelineKey *key, Oid database, const char *name);

/* NULL if there is none. */
extern void *cdc_shared_find(CdcSharedKind kind, const void *key, bool exclusive);

/* Zeroed but for the key if it is new. */
extern void *cdc_shared_insert(CdcSharedKind kind, const void *key);
extern void cdc_shared_release(CdcSharedKind kind, void *entry);

/* What a landing of this database and another one (0: none) have told, in all. */
typedef struct CdcNews
{
	int64		landed;			/* changes whenever something lands */
	int64		records;
	int64		unread;			/* are still to land: there is a backlog */
	TimestampTz unread_at;		/* when that was told last */
} CdcNews;

extern CdcNews cdc_shared_news(int32 landing, int32 other);

/*
 * Call back for each entry of a database (InvalidOid: all); the entry is
 * deleted if the function returns false.  It must not raise an error.
 */
extern void cdc_shared_scan(CdcSharedKind kind, Oid database,
							bool (*func) (void *entry, void *arg), void *arg);

/*
 * For callbacks at the end of a transaction, which must not fail: run func; an
 * error in it is logged.  No lock may be held.
 */
extern void cdc_shared_tell(void (*func) (void));

/* Woken by cdc_shared_synced(): cdc_wait() sleeps on it (ms). */
extern void cdc_shared_synced(void);
extern void cdc_shared_synced_prepare(void);
extern void cdc_shared_synced_wait(long timeout);
extern void cdc_shared_synced_done(void);

/* Called when the library is loaded. */
extern void cdc_shmem_init(void);

#endif							/* CDC_SHMEM_H */
