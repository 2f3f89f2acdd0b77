/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  What the processes of the extension know of each other.
 *
 * The only file with shared memory.  A small anchor with a slot for each process
 * is found by its name; it fits into what the server keeps for late comers, so
 * the library need not be preloaded.  The rest, of which nobody knows how much it
 * will be, are hash tables in a dynamic area that the first process to ask for
 * them makes.
 *
 * Any process, in or out of a transaction.  The anchor's lock is held for a few
 * assignments, an entry's between find and release.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "lib/dshash.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/dsa.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "shmem.h"

#define EXPEL_LOOK	20			/* ms between two looks whether they are gone */
#define EXPEL_GRACE	300			/* ms to leave on the quiet, before SIGTERM */
#define EXPEL_AGAIN	1000		/* ms after which that is sent again */

typedef struct ProcessSlot
{
	CdcProcess	process;		/* kind 0: free */
	int			pid;
	PGPROC	   *proc;
	pg_atomic_uint32 wake;
} ProcessSlot;

typedef struct Anchor
{
	LWLock		lock;
	int			tranche;
	ConditionVariable synced;
	bool		has_area;
	dsa_handle	area;
	dshash_table_handle tables[CDC_SHARED_KINDS];
	int			nslots;
	ProcessSlot slots[FLEXIBLE_ARRAY_MEMBER];
} Anchor;

static Anchor *anchor = NULL;
static dsa_area *area = NULL;
static dshash_table *tables[CDC_SHARED_KINDS];
static ProcessSlot *my_slot = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;

static const struct
{
	size_t		key_size;
	size_t		entry_size;
}			kinds[CDC_SHARED_KINDS] =
{
	[CDC_SHARED_DATABASE] = {sizeof(Oid), sizeof(CdcSharedDatabase)},
	[CDC_SHARED_LANDING] = {sizeof(CdcLandingKey), sizeof(CdcSharedLanding)},
	[CDC_SHARED_PARTITION] = {sizeof(CdcPartitionKey), sizeof(CdcSharedPartition)},
	[CDC_SHARED_PIPELINE] = {sizeof(CdcPipelineKey), sizeof(CdcSharedPipeline)},
};

/* ----------
 * The anchor and the area
 * ----------
 */
static Size
anchor_size(void)
{
	return add_size(offsetof(Anchor, slots),
					mul_size(max_worker_processes, sizeof(ProcessSlot)));
}

static void
request_anchor(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(anchor_size());
}

void
cdc_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_anchor;
}

static void
make_anchor(Anchor *new)
{
	memset(new, 0, anchor_size());
	new->tranche = LWLockNewTrancheId();
	LWLockInitialize(&new->lock, new->tranche);
	ConditionVariableInit(&new->synced);
	new->nslots = max_worker_processes;
	for (int i = 0; i < new->nslots; i++)
		pg_atomic_init_u32(&new->slots[i].wake, 0);
}

static void
attach_anchor(void)
{
	Anchor	   *found_anchor;
	bool		found;

	if (anchor)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	found_anchor = ShmemInitStruct("cdcsync", anchor_size(), &found);
	if (!found)
		make_anchor(found_anchor);
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(found_anchor->tranche, "cdcsync");
	anchor = found_anchor;
}

static dshash_parameters
table_parameters(CdcSharedKind kind)
{
	return (dshash_parameters) CDC_DSHASH_PARAMETERS(kinds[kind].key_size,
													 kinds[kind].entry_size,
													 anchor->tranche);
}

static void
make_area(void)
{
	area = dsa_create(anchor->tranche);
	dsa_pin(area);
	dsa_pin_mapping(area);
	for (int i = 0; i < CDC_SHARED_KINDS; i++)
	{
		dshash_parameters parameters = table_parameters(i);

		tables[i] = dshash_create(area, &parameters, NULL);
		anchor->tables[i] = dshash_get_hash_table_handle(tables[i]);
	}
	anchor->area = dsa_get_handle(area);
	anchor->has_area = true;
}

/* False if there is none, and none is to be made. */
static bool
attach_area(bool make)
{
	MemoryContext old;

	if (tables[CDC_SHARED_KINDS - 1])
		return true;
	attach_anchor();
	old = MemoryContextSwitchTo(TopMemoryContext);
	LWLockAcquire(&anchor->lock, LW_EXCLUSIVE);
	make &= !anchor->has_area;
	if (make)
		make_area();
	else if (anchor->has_area)
	{
		/* may be there already, if an error has ended the last try */
		if (area == NULL)
		{
			area = dsa_attach(anchor->area);
			dsa_pin_mapping(area);
		}
		for (int i = 0; i < CDC_SHARED_KINDS; i++)
		{
			dshash_parameters parameters = table_parameters(i);

			tables[i] = dshash_attach(area, &parameters, anchor->tables[i], NULL);
		}
	}
	LWLockRelease(&anchor->lock);
	MemoryContextSwitchTo(old);
	return tables[CDC_SHARED_KINDS - 1] != NULL;
}

/* ----------
 * Processes
 * ----------
 */
static bool
is_like(const CdcProcess *process, const CdcProcess *like)
{
	return process->kind != 0 &&
		(like->kind == 0 || process->kind == like->kind) &&
		(!OidIsValid(like->database) || process->database == like->database) &&
		(!OidIsValid(like->owner) || process->owner == like->owner) &&
		(!OidIsValid(like->server) || process->server == like->server);
}

static bool
is_same(const CdcProcess *a, const CdcProcess *b)
{
	return a->kind == b->kind && a->database == b->database &&
		a->owner == b->owner && a->server == b->server &&
		a->slice == b->slice && a->nslices == b->nslices;
}

/* Would the two do the same work?  So do slices of different cuts, in part. */
static bool
is_rival(const CdcProcess *a, const CdcProcess *b)
{
	return a->kind == b->kind && a->database == b->database &&
		a->owner == b->owner && a->server == b->server &&
		(a->slice == b->slice || a->nslices != b->nslices);
}

static void
leave_slot(int code, Datum arg)
{
	CdcProcess	process = my_slot->process;

	/* an error outside of a transaction leaves what it held, even our own lock */
	LWLockReleaseAll();
	LWLockAcquire(&anchor->lock, LW_EXCLUSIVE);
	my_slot->process.kind = 0;
	my_slot->pid = 0;
	LWLockRelease(&anchor->lock);
	my_slot = NULL;

	if (process.kind == CDC_MANAGER)
		cdc_process_wake(InvalidOid, CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
	else if (process.kind != CDC_LAUNCHER)
		cdc_process_wake(process.database, CDC_KIND(CDC_MANAGER), CDC_WAKE_WORKERS);
}

bool
cdc_process_enter(const CdcProcess *process)
{
	ProcessSlot *free_slot = NULL;
	bool		taken = false;

	Assert(my_slot == NULL);
	attach_anchor();
	LWLockAcquire(&anchor->lock, LW_EXCLUSIVE);
	for (int i = 0; i < anchor->nslots; i++)
	{
		ProcessSlot *slot = &anchor->slots[i];

		if (slot->process.kind == 0)
			free_slot = slot;
		else if (is_rival(&slot->process, process))
			taken = true;
	}
	if (!taken && free_slot)
	{
		free_slot->process = *process;
		free_slot->pid = MyProcPid;
		free_slot->proc = MyProc;
		pg_atomic_write_u32(&free_slot->wake, 0);
		my_slot = free_slot;
	}
	LWLockRelease(&anchor->lock);
	if (my_slot)
		on_shmem_exit(leave_slot, (Datum) 0);
	return my_slot != NULL;
}

uint32
cdc_process_woken(void)
{
	return my_slot ? pg_atomic_exchange_u32(&my_slot->wake, 0) : 0;
}

uint32
cdc_process_is_woken(void)
{
	return my_slot ? pg_atomic_read_u32(&my_slot->wake) : 0;
}

void
cdc_process_wake(Oid database, int kinds_told, uint32 wake)
{
	attach_anchor();
	LWLockAcquire(&anchor->lock, LW_SHARED);
	for (int i = 0; i < anchor->nslots; i++)
	{
		ProcessSlot *slot = &anchor->slots[i];

		if (slot->process.kind == 0 || slot->process.database != database ||
			!(kinds_told & CDC_KIND(slot->process.kind)))
			continue;
		(void) pg_atomic_fetch_or_u32(&slot->wake, wake);
		SetLatch(&slot->proc->procLatch);
	}
	LWLockRelease(&anchor->lock);
}

void
cdc_process_wake_one(const CdcProcess *process, uint32 wake)
{
	attach_anchor();
	LWLockAcquire(&anchor->lock, LW_SHARED);
	for (int i = 0; i < anchor->nslots; i++)
	{
		ProcessSlot *slot = &anchor->slots[i];

		if (!is_same(&slot->process, process))
			continue;
		(void) pg_atomic_fetch_or_u32(&slot->wake, wake);
		SetLatch(&slot->proc->procLatch);
	}
	LWLockRelease(&anchor->lock);
}

bool
cdc_process_is_there(const CdcProcess *process)
{
	bool		found = false;

	attach_anchor();
	LWLockAcquire(&anchor->lock, LW_SHARED);
	for (int i = 0; i < anchor->nslots && !found; i++)
		found = is_same(&anchor->slots[i].process, process);
	LWLockRelease(&anchor->lock);
	return found;
}

int
cdc_process_find(const CdcProcess *like, int *pids, CdcProcess *found, int max)
{
	int			n = 0;

	attach_anchor();
	LWLockAcquire(&anchor->lock, LW_SHARED);
	for (int i = 0; i < anchor->nslots && n < max; i++)
	{
		const ProcessSlot *slot = &anchor->slots[i];

		if (!is_like(&slot->process, like))
			continue;
		if (pids)
			pids[n] = slot->pid;
		if (found)
			found[n] = slot->process;
		n++;
	}
	LWLockRelease(&anchor->lock);
	return n;
}

/* How many of these processes are still sessions; others are forgotten. */
static int
still_there(int *pids, int n)
{
	int			left = 0;

	for (int i = 0; i < n; i++)
		if (BackendPidGetProc(pids[i]) != NULL)
			pids[left++] = pids[i];
	return left;
}

/* Only who is in its slot has this process id for certain. */
static void
terminate_all(Oid database)
{
	LWLockAcquire(&anchor->lock, LW_SHARED);
	for (int i = 0; i < anchor->nslots; i++)
	{
		const ProcessSlot *slot = &anchor->slots[i];

		if (slot->process.kind != 0 && slot->process.database == database)
			(void) kill(slot->pid, SIGTERM);
	}
	LWLockRelease(&anchor->lock);
}

int
cdc_process_expel(Oid database, int timeout)
{
	CdcProcess	like = {.database = database};
	TimestampTz start = GetCurrentTimestamp();
	int			next_signal = EXPEL_GRACE;
	int			waited = 0;
	int		   *pids;
	int			n;

	cdc_process_wake(database, CDC_ALL_KINDS, CDC_WAKE_LEAVE);
	pids = palloc(anchor->nslots * sizeof(int));
	n = cdc_process_find(&like, pids, NULL, anchor->nslots);
	while ((n = still_there(pids, n)) > 0 && waited < timeout)
	{
		if (waited >= next_signal)
		{
			terminate_all(database);
			next_signal += EXPEL_AGAIN;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 EXPEL_LOOK, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		waited = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	}
	pfree(pids);
	return n;
}

/* ----------
 * Entries
 * ----------
 */
bool
cdc_database_is_open(Oid database)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &database, false);
	bool		open = true;

	if (entry)
	{
		open = entry->suspended == 0 && !entry->stopped;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	return open;
}

void
cdc_pipeline_key(CdcPipelineKey *key, Oid database, const char *name)
{
	memset(key, 0, sizeof(*key));
	key->database = database;
	strlcpy(key->name, name, sizeof(key->name));
}

void *
cdc_shared_find(CdcSharedKind kind, const void *key, bool exclusive)
{
	if (!attach_area(false))
		return NULL;
	return dshash_find(tables[kind], key, exclusive);
}

void *
cdc_shared_insert(CdcSharedKind kind, const void *key)
{
	bool		found;
	char	   *entry;

	(void) attach_area(true);
	entry = dshash_find_or_insert(tables[kind], key, &found);
	if (!found)
		memset(entry + kinds[kind].key_size, 0,
			   kinds[kind].entry_size - kinds[kind].key_size);
	return entry;
}

void
cdc_shared_release(CdcSharedKind kind, void *entry)
{
	dshash_release_lock(tables[kind], entry);
}

static void
add_unread(const CdcUnread *unread, CdcNews *news)
{
	if (unread->records == 0 ||
		TimestampDifferenceExceeds(unread->at, GetCurrentTimestamp(), CDC_UNREAD_FRESH))
		return;
	news->unread += unread->records;
	news->unread_at = Max(news->unread_at, unread->at);
}

static void
add_news(int32 landing, CdcNews *news)
{
	CdcLandingKey key = {.database = MyDatabaseId,.landing = landing};
	CdcSharedLanding *shared = cdc_shared_find(CDC_SHARED_LANDING, &key, false);

	if (shared == NULL)
		return;
	news->landed += shared->landed;
	news->records += shared->records;
	for (int i = 0; i < CDC_UNREAD_SLICES; i++)
		add_unread(&shared->unread[i], news);
	cdc_shared_release(CDC_SHARED_LANDING, shared);
}

CdcNews
cdc_shared_news(int32 landing, int32 other)
{
	CdcNews		news = {0};

	add_news(landing, &news);
	if (other)
		add_news(other, &news);
	return news;
}

void
cdc_shared_scan(CdcSharedKind kind, Oid database,
				bool (*func) (void *entry, void *arg), void *arg)
{
	dshash_seq_status status;
	void	   *entry;

	if (!attach_area(false))
		return;
	dshash_seq_init(&status, tables[kind], true);
	while ((entry = dshash_seq_next(&status)) != NULL)
	{
		/* the database is what all keys begin with */
		if (OidIsValid(database) && *(Oid *) entry != database)
			continue;
		if (!func(entry, arg))
			dshash_delete_current(&status);
	}
	dshash_seq_term(&status);
}

/*
 * That which fails here is the mapping of a part of the area that another
 * process has made.  The error would be one of a transaction that has committed
 * already, which ends the whole server.
 */
void
cdc_shared_tell(void (*func) (void))
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoff = InterruptHoldoffCount;

	PG_TRY();
	{
		func();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		InterruptHoldoffCount = holdoff;
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("could not tell the cdcsync workers that a transaction has ended: %s",
						edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
}

/* ----------
 * Rates
 * ----------
 */

/* Forget the buckets that are too old. */
static void
rate_advance(CdcRate *rate, TimestampTz now)
{
	int64		period = now / (CDC_RATE_SECONDS * USECS_PER_SEC);

	if (rate->begin == 0 || period - rate->period >= CDC_RATE_BUCKETS)
	{
		memset(rate, 0, sizeof(*rate));
		rate->begin = now;
		rate->period = period;
	}
	while (rate->period < period)
		rate->counts[++rate->period % CDC_RATE_BUCKETS] = 0;
}

void
cdc_rate_add(CdcRate *rate, int64 n)
{
	rate_advance(rate, GetCurrentTimestamp());
	rate->counts[rate->period % CDC_RATE_BUCKETS] += n;
}

double
cdc_rate_get(const CdcRate *rate)
{
	CdcRate		copy = *rate;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz begin;
	int64		sum = 0;

	if (rate->begin == 0)
		return 0;
	rate_advance(&copy, now);
	for (int i = 0; i < CDC_RATE_BUCKETS; i++)
		sum += copy.counts[i];
	begin = Max(copy.begin, (copy.period - CDC_RATE_BUCKETS + 1) * CDC_RATE_SECONDS * USECS_PER_SEC);
	return sum * (double) USECS_PER_SEC / Max(now - begin, USECS_PER_SEC);
}

/* ----------
 * Those who wait for a sync
 * ----------
 */
void
cdc_shared_synced(void)
{
	attach_anchor();
	ConditionVariableBroadcast(&anchor->synced);
}

void
cdc_shared_synced_prepare(void)
{
	attach_anchor();
	ConditionVariablePrepareToSleep(&anchor->synced);
}

void
cdc_shared_synced_wait(long timeout)
{
	(void) ConditionVariableTimedSleep(&anchor->synced, timeout, PG_WAIT_EXTENSION);
}

void
cdc_shared_synced_done(void)
{
	ConditionVariableCancelSleep();
}
