/*-------------------------------------------------------------------------
 *
 * manager.h
 *	  What the manager of a database knows, and the steps of its loop; for
 *	  manager*.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MANAGER_H
#define CDC_MANAGER_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "worker.h"

#define CDC_LOOK_INTERVAL	10000	/* ms; at settings and workers */
#define CDC_SHORTEST_SLEEP	100		/* ms */

/* A worker that is wanted, or was. */
typedef struct CdcChild
{
	CdcProcess	process;		/* key */
	bool		wanted;
	bool		running;		/* or about to; one that an earlier manager has
								 * started counts as well */
	BackgroundWorkerHandle *handle; /* NULL: not started by us */
	TimestampTz started;
	bool		told;			/* to leave */
	int			short_lives;	/* in a row */
	TimestampTz next_start;
	CdcProblem	problem;		/* why it cannot be started */
} CdcChild;

/* An owner of pipelines that are to be synced. */
typedef struct CdcOwner
{
	Oid			owner;			/* key */
	int			pipelines;
	int			workers;		/* wanted */
	int			running;
	int			stuck;			/* of those, do not get on */
	bool		due;			/* has something to sync */
	TimestampTz served;			/* the last turn, where they are taken */
} CdcOwner;

/* When an owner's last sync worker was started. */
typedef struct CdcServed
{
	Oid			owner;			/* key */
	TimestampTz at;
} CdcServed;

typedef struct CdcManagedLanding
{
	int32		id;				/* key */
	Oid			owner;			/* of one that is to be read; else invalid */
	Oid			server;
} CdcManagedLanding;

/* A pipeline that is to be synced. */
typedef struct CdcManagedPipeline
{
	CdcPipelineKey key;
	int32		landing;
	int32		schema_landing; /* of the schema-change topic, 0: none */
	Oid			owner;
	bool		automatic;
} CdcManagedPipeline;

typedef struct CdcManager
{
	MemoryContext context;		/* of what is read from the catalog */
	HTAB	   *children;
	HTAB	   *owners;			/* in context, as the following */
	HTAB	   *pipelines;
	HTAB	   *landings;		/* all there are */
	List	   *ingest;			/* CdcProcess *, one per owner and server */
	HTAB	   *served;
	TimestampTz read_at;		/* the catalog */
	TimestampTz read_ready;		/* not read again before this */
	bool		here;			/* the extension is */
	bool		other_version;	/* but not the one of this library */
	bool		no_slot;		/* and it was said */
	bool		failed;			/* and it was said */
	bool		crowded;		/* more owners than sync workers */
	long		sleep;			/* ms */
} CdcManager;

/* Read all tables of the catalog (in a transaction); arg: the manager. */
extern void cdc_manager_read(void *arg);

/* Forget what is shared of pipelines, landings and owners that are gone. */
extern void cdc_manager_forget_gone(CdcManager *manager);

/* Mark the children that are wanted; who has to leave is told. */
extern void cdc_manager_decide(CdcManager *manager);

/*
 * Note which children have ended and start those that are wanted (in a
 * transaction, for the catalog's look-ups); arg: the manager.
 */
extern void cdc_manager_look_after(void *arg);

/* Tell it to end when it has done what it is at. */
extern void cdc_child_tell_to_leave(CdcChild *child);

/* What could not be started is tried again at once. */
extern void cdc_manager_forget_pauses(const CdcManager *manager);

#endif							/* CDC_MANAGER_H */
