/*-------------------------------------------------------------------------
 *
 * manager.c
 *	  One process in each database that has the extension: starts the ingest and
 *	  sync workers that the catalog asks for.
 *
 * Connected as the bootstrap superuser, it reads the catalog (manager_catalog.c)
 * and touches nothing that belongs to a user, finds which workers are wanted
 * (manager_wants.c), and starts and watches them (manager_children.c).  Here is its
 * loop: when to read, when to act, how long to sleep, when to leave.
 *
 * Code of users can hold up a sync worker, and end it.  One that is stuck in a
 * pipeline does not count, so that its neighbours have another one; one that has
 * ended in the middle leaves a problem at that pipeline, not at its neighbours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "claim.h"
#include "manager.h"

#define READ_INTERVAL	60000	/* ms; of the catalog, for what nobody told us of */
#define READ_PAUSE		20		/* ms, at least, between two readings */
#define CROWDED_SLEEP	1000	/* ms between two looks who waits for a worker */

PGDLLEXPORT void cdc_manager_main(Datum main_arg);

/* An error in one of the manager's own transactions. */
static void
manager_failed(CdcManager *manager, const ErrorData *edata)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);
	bool		again = cdc_problem_is(&entry->problem, edata);

	cdc_problem_add(&entry->problem, edata);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
	if (!again)
		cdc_worker_log(edata, "cannot manage the workers");
	manager->failed = true;
}

static void
manager_succeeded(CdcManager *manager)
{
	CdcSharedDatabase *entry;

	if (!manager->failed)
		return;
	manager->failed = false;
	entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);
	cdc_problem_clear(&entry->problem);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/* What was said before this process was there. */
static void
forget_problem(void)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	cdc_problem_clear(&entry->problem);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/*
 * Where there is no launcher, exit code 1 makes the postmaster start a manager
 * again after a second, and 0 is the end.
 */
static void
leave(bool for_good)
{
	cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_INGEST) | CDC_KIND(CDC_SYNC), CDC_WAKE_LEAVE);
	proc_exit(for_good || cdc_worker_has_launcher() ? 0 : 1);
}

static void
set_absent(bool absent)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	entry->absent = absent;
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/*
 * There is no extension in the database; unless it has been created since we
 * looked: whoever does that wakes us first and takes away the mark then.
 */
static void
leave_absent(void)
{
	set_absent(true);
	if (cdc_process_woken() & CDC_WAKE_CATALOG)
		set_absent(false);
	leave(true);
}

/* Is the database to be left alone just now? */
static void
leave_if_unwanted(void)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &MyDatabaseId, false);
	bool		stopped = false;
	bool		suspended = false;

	if (entry)
	{
		stopped = entry->stopped;
		suspended = entry->suspended > 0;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	if (stopped || suspended)
		leave(stopped);
}

static bool stale = true;		/* what was read of the catalog */
static bool may_connect = false;	/* owners who could not, perhaps */

static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	stale = true;
	if (cacheid == AUTHOID || cacheid == DATABASEOID)
		may_connect = true;
}

/* Read the catalog; false if that failed. */
static bool
read_again(CdcManager *manager)
{
	ErrorData  *error;

	manager->read_at = GetCurrentTimestamp();
	manager->read_ready = 0;
	stale = false;
	if (!cdc_worker_try(cdc_manager_read, manager, &error))
	{
		if (manager->other_version)
			cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_INGEST) | CDC_KIND(CDC_SYNC),
							 CDC_WAKE_LEAVE);
		manager_failed(manager, error);
		stale = true;
		manager->read_at = 0;
		return false;
	}
	if (!manager->here)
		leave_absent();
	manager->read_ready = cdc_worker_read_again_at(manager->read_at, READ_PAUSE);
	cdc_manager_forget_gone(manager);
	if (may_connect)
		cdc_manager_forget_pauses(manager);
	may_connect = false;
	return true;
}

/* Is it time to read?  Where pipelines are made one by one, not for each of them. */
static bool
is_to_read(CdcManager *manager)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!stale)
		return TimestampDifferenceExceeds(manager->read_at, now, READ_INTERVAL);
	if (now >= manager->read_ready)
		return true;
	manager->sleep = Min(manager->sleep, TimestampDifferenceMilliseconds(now, manager->read_ready));
	return false;
}

/* Read the catalog, if it may have changed, and act. */
static void
manage(CdcManager *manager)
{
	ErrorData  *error;

	if (is_to_read(manager) && !read_again(manager))
		return;
	cdc_manager_decide(manager);
	if (cdc_worker_try(cdc_manager_look_after, manager, &error))
		manager_succeeded(manager);
	else
		manager_failed(manager, error);
}

/* Sleep until there may be something to do; or leave. */
static void
rest(CdcManager *manager)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), manager->sleep);
	uint32		woken;

	do
	{
		woken = cdc_worker_sleep(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
		if (woken & CDC_WAKE_LEAVE)
		{
			leave_if_unwanted();
			leave(false);
		}
		if (woken & CDC_WAKE_CATALOG)
			stale = true;
		/* the workers hear themselves of what has landed, if they are there */
	} while (woken == CDC_WAKE_LANDED && !manager->crowded && !stale);
}

void
cdc_manager_main(Datum main_arg)
{
	CdcManager	manager = {0};
	HASHCTL		ctl = {.keysize = sizeof(CdcProcess),.entrysize = sizeof(CdcChild)};
	HASHCTL		served_ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(CdcServed)};
	MemoryContext scratch;

	(void) cdc_worker_begin(main_arg);
	leave_if_unwanted();
	forget_problem();
	/* commands of sessions without our hook */
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, catalog_changed, (Datum) 0);

	manager.context = AllocSetContextCreate(TopMemoryContext, "cdcsync manager",
											ALLOCSET_DEFAULT_SIZES);
	manager.children = hash_create("cdcsync workers", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	manager.served = hash_create("cdcsync turns", 64, &served_ctl, HASH_ELEM | HASH_BLOBS);
	scratch = AllocSetContextCreate(TopMemoryContext, "cdcsync manager scratch",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(scratch);
	(void) cdc_claims_void();
	for (;;)
	{
		manager.sleep = manager.crowded ? CROWDED_SLEEP : CDC_LOOK_INTERVAL;
		manage(&manager);
		MemoryContextReset(scratch);
		rest(&manager);
	}
}
