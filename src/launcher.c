/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  One process in the cluster: starts a manager in every database that has the
 *	  extension.
 *
 * It is there if the library is preloaded.  Only a session of a database can see
 * whether the extension is in it, so the launcher starts a manager once in each
 * database that can be connected to and is no template; one that finds no
 * extension says so and leaves, and the database is left alone until CREATE
 * EXTENSION tells us otherwise, when it commits.  Reads pg_database in short
 * transactions; writes nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "worker.h"

#define LOOK_INTERVAL	10000	/* ms; for databases that nobody told us of */
#define SHORTEST_PAUSE	1000	/* ms between two managers of a database */
#define LONGEST_PAUSE	60000
#define STEADY			10000	/* ms after which a manager counts as well */
#define NO_SLOT_PAUSE	1000	/* ms between two tries to get a slot */

/* A database, as the launcher remembers it. */
typedef struct Home
{
	Oid			database;		/* key */
	bool		seen;			/* in the present look */
	TimestampTz started;		/* the last manager */
	TimestampTz next_start;
	int			pause;			/* ms */
	bool		no_slot;		/* for its manager, at the last try */
} Home;

typedef struct Launcher
{
	HTAB	   *homes;
	bool		no_slot;		/* for one of them, and it was said */
	long		sleep;			/* ms */
} Launcher;

PGDLLEXPORT void cdc_launcher_main(Datum main_arg);

/* ----------
 * Starting a manager
 * ----------
 */
static bool
has_manager(Oid database)
{
	CdcProcess	manager = {.kind = CDC_MANAGER,.database = database};

	return cdc_process_is_there(&manager);
}

/* Is a manager wanted, as far as is known? */
static bool
is_wanted(Oid database)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &database, false);
	bool		wanted = true;

	if (entry)
	{
		wanted = entry->suspended == 0 && !entry->stopped && !entry->absent;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	return wanted;
}

static void
start_manager(Launcher *launcher, Home *home, TimestampTz now)
{
	CdcProcess	manager = {.kind = CDC_MANAGER,.database = home->database};
	BackgroundWorkerHandle *handle = cdc_worker_start(&manager);

	home->no_slot = handle == NULL;
	if (home->no_slot)
	{
		home->next_start = TimestampTzPlusMilliseconds(now, NO_SLOT_PAUSE);
		cdc_worker_note_slot(home->database, "the workers of this database", !launcher->no_slot);
		launcher->no_slot = true;
		return;
	}
	pfree(handle);
	home->started = now;
	home->next_start = TimestampTzPlusMilliseconds(now, home->pause);
	home->pause = Min(home->pause * 2, LONGEST_PAUSE);
}

static void
look_at_home(Launcher *launcher, Home *home)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait;

	if (has_manager(home->database))
	{
		home->no_slot = false;
		if (TimestampDifferenceExceeds(home->started, now, STEADY))
			home->pause = SHORTEST_PAUSE;
		return;
	}
	if (!is_wanted(home->database))
	{
		/* when it is wanted again, then at once */
		home->next_start = 0;
		home->pause = SHORTEST_PAUSE;
		home->no_slot = false;
		return;
	}
	if (home->next_start <= now)
		start_manager(launcher, home, now);
	wait = TimestampDifferenceMilliseconds(now, home->next_start);
	launcher->sleep = Min(launcher->sleep, Max(wait, 1));
}

/* ----------
 * The databases
 * ----------
 */

/* Note the databases that may have a manager. */
static void
read_databases(void *arg)
{
	Launcher   *launcher = arg;
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple	tup;

	while ((tup = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tup);
		Home	   *home;
		bool		found;

		/* a negative limit other than -1: DROP DATABASE was interrupted */
		if (db->datistemplate || !db->datallowconn || db->datconnlimit < -1)
			continue;
		home = hash_search(launcher->homes, &db->oid, HASH_ENTER, &found);
		if (!found)
		{
			home->started = home->next_start = 0;
			home->pause = SHORTEST_PAUSE;
			home->no_slot = false;
		}
		home->seen = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
}

static bool
forget_entry(void *entry, void *arg)
{
	return false;
}

/* A database is gone, or has become a template. */
static void
forget_home(Launcher *launcher, Oid database)
{
	cdc_process_wake(database, CDC_ALL_KINDS, CDC_WAKE_LEAVE);
	for (int kind = 0; kind < CDC_SHARED_KINDS; kind++)
		cdc_shared_scan(kind, database, forget_entry, NULL);
	(void) hash_search(launcher->homes, &database, HASH_REMOVE, NULL);
}

static void
look_around(Launcher *launcher)
{
	bool		no_slot = false;
	HASH_SEQ_STATUS seq;
	ErrorData  *error;
	Home	   *home;

	hash_seq_init(&seq, launcher->homes);
	while ((home = hash_seq_search(&seq)) != NULL)
		home->seen = false;
	launcher->sleep = LOOK_INTERVAL;
	if (!cdc_worker_try(read_databases, launcher, &error))
	{
		cdc_worker_log(error, "could not read the list of databases");
		return;
	}
	hash_seq_init(&seq, launcher->homes);
	while ((home = hash_seq_search(&seq)) != NULL)
	{
		if (home->seen)
		{
			look_at_home(launcher, home);
			no_slot |= home->no_slot;
		}
		else
			forget_home(launcher, home->database);
	}
	launcher->no_slot = no_slot;
}

void
cdc_launcher_main(Datum main_arg)
{
	Launcher	launcher = {0};
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(Home)};
	MemoryContext context;

	(void) cdc_worker_begin(main_arg);
	ereport(LOG, (errmsg("cdcsync launcher started")));
	launcher.homes = hash_create("cdcsync databases", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	context = AllocSetContextCreate(TopMemoryContext, "cdcsync launcher",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	for (;;)
	{
		look_around(&launcher);
		MemoryContextReset(context);
		(void) cdc_worker_sleep(launcher.sleep);
	}
}
