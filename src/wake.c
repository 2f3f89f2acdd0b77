/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Tell the workers of this database what a transaction has done, when it
 *	  commits.
 *
 * What is to be told is kept until the end of the top transaction.  What a
 * subtransaction asked for that was rolled back is told as well: who is woken
 * looks for himself.  After the commit nothing here may fail, so the shared
 * memory is looked for before it.  A prepared transaction tells nothing: whoever
 * commits it does not know what it has done.  Its COMMIT PREPARED lets all look
 * at the catalog, and so does the manager once a minute.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "wake.h"
#include "worker.h"

/* Something that has landed in this transaction. */
typedef struct Landed
{
	struct Landed *next;
	int32		landing;
	int64		records;
} Landed;

/* A pipeline that was synced in this transaction. */
typedef struct Synced
{
	struct Synced *next;
	CdcPipelineKey key;
	int64		events;
	bool		more;			/* something is left to do */
	bool		poke;			/* it was not: others may let pass what waits there */
} Synced;

static bool registered = false;
static uint32 pending[CDC_SYNC + 1];	/* by kind of process */
static bool extension_changed = false;
static Landed *landed = NULL;	/* in TopTransactionContext */
static Synced *synced = NULL;	/* there, too */

static void
count_landed(void)
{
	for (; landed; landed = landed->next)
	{
		CdcLandingKey key = {MyDatabaseId, landed->landing};
		CdcSharedLanding *entry = cdc_shared_find(CDC_SHARED_LANDING, &key, true);

		if (entry == NULL)
			continue;
		entry->landed = Max(entry->landed + 1, GetCurrentTimestamp());
		entry->records += landed->records;
		cdc_rate_add(&entry->rate, landed->records);
		cdc_shared_release(CDC_SHARED_LANDING, entry);
	}
}

/* A sync by hand counts as one by a worker. */
static void
count_synced(void)
{
	if (synced == NULL)
		return;
	for (; synced; synced = synced->next)
	{
		CdcSharedPipeline *entry = cdc_shared_find(CDC_SHARED_PIPELINE, &synced->key, true);

		if (entry == NULL)
			continue;
		if (synced->poke)
			entry->poked++;
		if (synced->poke || synced->more || entry->synced_at == 0)
			entry->landed = -1;
		if (synced->events > 0)
			entry->synced_at = GetCurrentTimestamp();
		entry->syncs += !synced->poke;
		cdc_rate_add(&entry->rate, synced->events);
		cdc_shared_release(CDC_SHARED_PIPELINE, entry);
	}
	cdc_shared_synced();
}

/*
 * A manager may have found no extension here, until now.  One that is about to
 * say so has been told of the change before, and one that has said so is
 * forgotten before the launcher looks.
 */
static void
forget_absence(void)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &MyDatabaseId, true);

	if (entry)
	{
		entry->absent = false;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
}

static void
tell_all(void)
{
	count_landed();
	count_synced();
	for (int kind = CDC_MANAGER; kind <= CDC_SYNC; kind++)
		if (pending[kind] != 0)
			cdc_process_wake(MyDatabaseId, CDC_KIND(kind), pending[kind]);
	if (extension_changed)
		forget_absence();
	if (pending[CDC_LAUNCHER] != 0)
		cdc_process_wake(InvalidOid, CDC_KIND(CDC_LAUNCHER), pending[CDC_LAUNCHER]);
}

static void
tell(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			cdc_shared_tell(tell_all);
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			memset(pending, 0, sizeof(pending));
			extension_changed = false;
			landed = NULL;
			synced = NULL;
			break;
		default:
			break;
	}
}

void
cdc_wake_at_commit(int kinds, uint32 wake)
{
	if (!registered)
	{
		/* finds the shared memory: an error is one here, not after the commit */
		(void) cdc_process_find(&(CdcProcess){.kind = CDC_LAUNCHER}, NULL, NULL, 1);
		RegisterXactCallback(tell, NULL);
		registered = true;
	}
	for (int kind = CDC_LAUNCHER; kind <= CDC_SYNC; kind++)
		if (kinds & CDC_KIND(kind))
			pending[kind] |= wake;
}

void
cdc_wake_landed_at_commit(int32 landing, int64 records)
{
	CdcLandingKey key = {MyDatabaseId, landing};
	Landed	   *l;

	cdc_wake_at_commit(CDC_KIND(CDC_SYNC) | CDC_KIND(CDC_MANAGER), CDC_WAKE_LANDED);
	for (l = landed; l; l = l->next)
		if (l->landing == landing)
		{
			l->records += records;
			return;
		}
	cdc_shared_release(CDC_SHARED_LANDING, cdc_shared_insert(CDC_SHARED_LANDING, &key));
	l = MemoryContextAlloc(TopTransactionContext, sizeof(Landed));
	l->landing = landing;
	l->records = records;
	l->next = landed;
	landed = l;
}

static Synced *
add_synced(const char *pipeline)
{
	Synced	   *s = MemoryContextAllocZero(TopTransactionContext, sizeof(Synced));

	cdc_wake_at_commit(0, 0);
	cdc_pipeline_key(&s->key, MyDatabaseId, pipeline);
	/* whatever may fail does so here, not when it is too late */
	cdc_shared_release(CDC_SHARED_PIPELINE,
					   cdc_shared_insert(CDC_SHARED_PIPELINE, &s->key));
	s->next = synced;
	synced = s;
	return s;
}

void
cdc_wake_synced_at_commit(const char *pipeline, int64 events, bool more)
{
	Synced	   *s = add_synced(pipeline);

	s->events = events;
	s->more = more;
}

void
cdc_wake_waiting_at_commit(const char *pipeline)
{
	cdc_wake_at_commit(CDC_KIND(CDC_SYNC), CDC_WAKE_LANDED);
	add_synced(pipeline)->poke = true;
}

void
cdc_wake_for_catalog_at_commit(void)
{
	cdc_wake_at_commit(CDC_ALL_KINDS, CDC_WAKE_CATALOG);
	if (cdc_worker_has_launcher())
	{
		/* makes the table: an error is one here, not after the commit */
		cdc_shared_release(CDC_SHARED_DATABASE,
						   cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId));
		extension_changed = true;
	}
}

/*
 * cdcsync.wake_workers() returns void
 */
PG_FUNCTION_INFO_V1(cdc_wake_workers);
Datum
cdc_wake_workers(PG_FUNCTION_ARGS)
{
	cdc_wake_for_catalog_at_commit();
	PG_RETURN_VOID();
}
