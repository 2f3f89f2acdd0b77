/*-------------------------------------------------------------------------
 *
 * manager_wants.c
 *	  Which workers are wanted: those that the catalog asks for, within the
 *	  settings.
 *
 * An ingest worker for each owner of landings, Kafka server and slice.  Sync
 * workers are a pool: first one for each owner of pipelines, then, while there is
 * room, more for those who have several.  If there are more owners than workers
 * they take turns: the worker that has run longest leaves for the owner whose last
 * turn is longest ago.  One that is stuck in a pipeline does not count, so that its
 * neighbours have another one.
 *
 * Looks at shared memory only; needs no transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "claim.h"
#include "manager.h"

#define TURN			1000	/* ms that a worker has before it may be told to leave */
#define STUCK_AFTER		5000	/* ms in one turn of a pipeline */

static void
want(CdcManager *manager, const CdcProcess *process)
{
	bool		found;
	CdcChild   *child = hash_search(manager->children, process, HASH_ENTER, &found);

	if (!found)
		memset((char *) child + sizeof(CdcProcess), 0, sizeof(CdcChild) - sizeof(CdcProcess));
	child->wanted = true;
}

static void
want_ingest(CdcManager *manager)
{
	ListCell   *lc;

	foreach(lc, manager->ingest)
	{
		CdcProcess	process = *(CdcProcess *) lfirst(lc);

		for (process.slice = 0; process.slice < process.nslices; process.slice++)
			want(manager, &process);
	}
}

static bool
landing_has_news(const CdcManagedPipeline *pipeline)
{
	int64		landed = cdc_shared_news(pipeline->landing, pipeline->schema_landing).landed;
	CdcSharedPipeline *entry;
	bool		due = true;

	entry = cdc_shared_find(CDC_SHARED_PIPELINE, &pipeline->key, false);
	if (entry)
	{
		due = entry->landed != landed && entry->worker == 0 &&
			cdc_problem_over(&entry->problem, GetCurrentTimestamp());
		cdc_shared_release(CDC_SHARED_PIPELINE, entry);
	}
	return due;
}

static void
find_due_owners(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcManagedPipeline *pipeline;
	CdcOwner   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
		owner->due = false;
	hash_seq_init(&seq, manager->pipelines);
	while ((pipeline = hash_seq_search(&seq)) != NULL)
	{
		if (!pipeline->automatic)
			continue;
		owner = hash_search(manager->owners, &pipeline->owner, HASH_FIND, NULL);
		if (owner && !owner->due)
			owner->due = landing_has_news(pipeline);
	}
}

/* Count the workers that do not get on, of each owner. */
static void
find_stuck(CdcManager *manager)
{
	CdcClaims  *claims = cdc_claims_get();
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < claims->n; i++)
	{
		CdcManagedPipeline *pipeline = hash_search(manager->pipelines, &claims->claims[i].key,
										   HASH_FIND, NULL);
		CdcOwner   *owner = pipeline ?
			hash_search(manager->owners, &pipeline->owner, HASH_FIND, NULL) : NULL;

		if (owner && TimestampDifferenceExceeds(claims->claims[i].since, now, STUCK_AFTER))
			owner->stuck++;
	}
}

static CdcChild *
find_sync(CdcManager *manager, Oid owner, int n)
{
	CdcProcess	process = {.kind = CDC_SYNC,.database = MyDatabaseId,.owner = owner,.slice = n};

	return hash_search(manager->children, &process, HASH_FIND, NULL);
}

static void
count_running(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcOwner   *owner;
	CdcChild   *child;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
		owner->running = owner->stuck = 0;
	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
	{
		if (child->process.kind != CDC_SYNC || !child->running)
			continue;
		owner = hash_search(manager->owners, &child->process.owner, HASH_FIND, NULL);
		if (owner)
			owner->running++;
	}
	find_stuck(manager);
}

/*
 * The worker that has run longest, of an owner other than those who wait; one that
 * was told to leave and has not is stuck.
 */
static CdcChild *
longest_sync(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcChild   *longest = NULL;
	CdcChild   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		if (child->process.kind == CDC_SYNC && child->running && !child->told &&
			(longest == NULL || child->started < longest->started))
			longest = child;
	return longest;
}

static int
compare_served(const ListCell *a, const ListCell *b)
{
	TimestampTz at = ((const CdcOwner *) lfirst(a))->served;
	TimestampTz bt = ((const CdcOwner *) lfirst(b))->served;

	return at < bt ? -1 : at > bt;
}

/*
 * The owners with something to do and no worker, those first who wait longest;
 * one who cannot have a worker now is in nobody's way.
 */
static List *
waiting_owners(CdcManager *manager)
{
	TimestampTz now = GetCurrentTimestamp();
	List	   *waiting = NIL;
	HASH_SEQ_STATUS seq;
	CdcOwner   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		CdcServed  *served;
		CdcChild   *child;

		if (owner->workers > (owner->stuck > 0) || !owner->due)
			continue;
		child = find_sync(manager, owner->owner, 0);
		if (child && child->problem.failures > 0 && child->next_start > now)
			continue;
		served = hash_search(manager->served, &owner->owner, HASH_FIND, NULL);
		owner->served = served ? served->at : 0;
		waiting = lappend(waiting, owner);
	}
	list_sort(waiting, compare_served);
	return waiting;
}

/*
 * There are more owners than workers: those that run stay, free places go to
 * owners with something to do; if there is none, the worker that has run longest
 * is told to leave.  Stuck ones take no place, but only so many of them.
 */
static void
want_sync_in_turns(CdcManager *manager)
{
	int			room = cdc_max_sync_workers;
	int			extra = Max(cdc_max_sync_workers, 2);
	HASH_SEQ_STATUS seq;
	CdcOwner   *owner;
	CdcChild   *longest;
	ListCell   *lc;

	find_due_owners(manager);
	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		int			exempt;

		owner->workers = Min(owner->running, owner->stuck > 0 ? 2 : 1);
		exempt = Min(Min(owner->stuck, owner->workers), extra);
		extra -= exempt;
		room -= owner->workers - exempt;
	}
	foreach(lc, waiting_owners(manager))
	{
		if (room-- > 0)
			((CdcOwner *) lfirst(lc))->workers++;
	}
	if (room >= 0)
		return;
	longest = longest_sync(manager);
	if (longest && TimestampDifferenceExceeds(longest->started, GetCurrentTimestamp(), TURN))
		cdc_child_tell_to_leave(longest);
}

static void
want_sync_for_all(CdcManager *manager)
{
	int			room = cdc_max_sync_workers - hash_get_num_entries(manager->owners);
	HASH_SEQ_STATUS seq;
	CdcOwner   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		int			more = Min(room, owner->pipelines - 1);

		owner->workers = 1 + more;
		room -= more;
		if (owner->stuck >= owner->workers && owner->workers < owner->pipelines)
			owner->workers++;
	}
}

static void
want_sync(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcOwner   *owner;

	count_running(manager);
	manager->crowded = hash_get_num_entries(manager->owners) > cdc_max_sync_workers;
	if (manager->crowded)
		want_sync_in_turns(manager);
	else
		want_sync_for_all(manager);
	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		CdcProcess	process = {.kind = CDC_SYNC,.database = MyDatabaseId,.owner = owner->owner};

		for (; process.slice < owner->workers; process.slice++)
			want(manager, &process);
	}
}

void
cdc_manager_decide(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcChild   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		child->wanted = false;
	want_ingest(manager);
	want_sync(manager);
}
