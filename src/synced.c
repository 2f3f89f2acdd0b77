/*-------------------------------------------------------------------------
 *
 * synced.c
 *	  Tell the other processes what a sync has brought to the target.
 *
 * A sync by hand and one by a worker end here alike: at commit, when everybody
 * can see the rows, the pipeline's entry in shared memory is brought up to date
 * and who waits for it is woken.  What is kept until then lives as long as the
 * transaction.  A sync that is rolled back to a savepoint is counted all the same:
 * nothing but a rate comes of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "shmem.h"
#include "synced.h"

typedef struct Note
{
	CdcPipelineKey key;
	int64		events;
	bool		more;			/* something is left to do */
} Note;

static List *notes = NIL;		/* in TopTransactionContext */

/* After commit: no errors. */
static void
publish(const Note *note)
{
	CdcSharedPipeline *shared = cdc_shared_find(CDC_SHARED_PIPELINE, &note->key, true);

	if (shared == NULL)
		return;
	if (note->more || shared->synced_at == 0)
		shared->landed = -1;
	if (note->events > 0)
		shared->synced_at = GetCurrentTimestamp();
	shared->syncs++;
	cdc_rate_add(&shared->rate, note->events);
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
}

static void
at_end(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (notes == NIL)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		foreach(lc, notes)
			publish(lfirst(lc));
		cdc_shared_synced();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		notes = NIL;
}

void
cdc_synced_note(const CdcPipeline *pipeline, const CdcSyncResult *result)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Note	   *note = palloc(sizeof(Note));

	cdc_pipeline_key(&note->key, MyDatabaseId, pipeline->name);
	note->events = result->events;
	note->more = result->more || result->waiting;
	/* whatever may fail does so here, not when it is too late */
	cdc_shared_release(CDC_SHARED_PIPELINE,
					   cdc_shared_insert(CDC_SHARED_PIPELINE, &note->key));
	if (!registered)
		RegisterXactCallback(at_end, NULL);
	registered = true;
	notes = lappend(notes, note);
	MemoryContextSwitchTo(old);
}
