/*-------------------------------------------------------------------------
 *
 * helper.c
 *	  A second process, which reads and decodes the backlog of a sync ahead of it:
 *	  the side of the sync.
 *
 * Of a large backlog, reading takes a quarter and decoding another of the time until
 * all is ranked, and nothing in it depends on the target.  So a background worker
 * reads the chunks, in the order in which the sync wants them, and passes them on as
 * parcels (parcel.c) through a ring of slots (helper_queue.h).  What the records
 * mean, and all that is written, is the sync's business as ever: what comes of it
 * does not depend on whether there was a helper, how fast it was and when it ended.
 *
 * Measured with 1M events of 570 bytes (200,000 keys) into an empty table, on two
 * cores: 536 ms instead of 678; of CPU, 490 ms of the sync and 330 of the helper
 * instead of 680.
 *
 * Nobody ever depends on it: the sync reads by itself until the helper has come and
 * after it has gone, and chunks that it leaves out.  It takes locks of its own, and
 * may meet errors that the sync will not: whatever happens to it, it just ends, and
 * the sync goes on.  A helper that keeps the sync waiting for longer than PATIENCE is
 * given up: it may wait for somebody who waits for the sync.
 *
 * What it reads must be what the sync would.  Its snapshots are newer than the
 * position up to which it reads, and landed records do not change; but it does not
 * see what the sync's own transaction has written, and no older snapshot.  So there
 * is none in a transaction that has written, or that keeps its snapshot.
 *
 * In the transaction of the sync.  The shared memory is that of the memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "attempt.h"
#include "helper.h"
#include "helper_queue.h"
#include "parcel.h"
#include "worker.h"

/* So long the sync waits for a chunk, or for the helper to come. */
#define PATIENCE	2000		/* ms */

int			cdc_min_parallel_sync_size = 16 * 1024;

struct CdcHelper
{
	dsm_segment *segment;		/* NULL: the helper has gone or was given up */
	CdcHelperQueue *queue;
	CdcParcel  *parcel;
	const CdcChunk *chunk;		/* in the first slot, which is ours; NULL: none */
	int64		from;			/* what is before this offset is not in it */
};

bool
cdc_helper_may_help(void)
{
	return cdc_min_parallel_sync_size >= 0 && max_parallel_workers_per_gather > 0 &&
		!IsolationUsesXactSnapshot() &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* ----------
 * Starting
 * ----------
 */

/* Append bytes at an aligned place, which is returned. */
static Size
append(StringInfo buf, const void *bytes, Size len)
{
	static const char zeros[MAXIMUM_ALIGNOF] = {0};
	Size		place;

	appendBinaryStringInfo(buf, zeros, MAXALIGN(buf->len) - buf->len);
	place = buf->len;
	appendBinaryStringInfo(buf, bytes, len);
	return place;
}

static void
append_fields(StringInfo buf, const CdcField *fields, int n)
{
	for (int i = 0; i < n; i++)
	{
		(void) append(buf, &fields[i], sizeof(CdcField));
		(void) append(buf, fields[i].name, fields[i].len);
	}
}

static Size
append_text(StringInfo buf, const char *text)
{
	return text ? append(buf, text, strlen(text) + 1) : 0;
}

/* What is to be read. */
static void
append_parts(StringInfo buf, CdcHelperQueue *queue, int npartitions,
			 const CdcProgress *progress, const CdcLandingPosition *positions)
{
	queue->parts = append(buf, NULL, 0);
	for (int i = 0; i < npartitions; i++)
	{
		CdcHelperPart part = {
			.partition = progress[i].partition,
			.from = progress[i].next_offset,
			.end = positions[i].next_offset,
			.epoch = progress[i].epoch,
			.last_epoch = positions[i].epoch,
		};

		if (part.epoch > part.last_epoch ||
			(part.epoch == part.last_epoch && part.from >= part.end))
			continue;
		(void) append(buf, &part, sizeof(part));
		queue->nparts++;
	}
}

/* The queue, and all that is behind it but the slots. */
static void
describe(StringInfo buf, const CdcLanding *landing, const CdcTarget *target,
		 const CdcIntake *intake, const char *placeholder, bool whole, int npartitions,
		 const CdcProgress *progress, const CdcLandingPosition *positions)
{
	CdcHelperQueue queue = {
		.user = GetUserId(),
		.chunks = landing->chunk,
		.sync = MyLatch,
		.decodes = !whole,
		.nfields = target->nfields,
		.nsource_fields = target->nsource_fields,
		.read_as = cdc_intake_read_as(intake),
	};

	initStringInfo(buf);
	appendBinaryStringInfo(buf, (char *) &queue, sizeof(queue));
	queue.fields = append(buf, NULL, 0);
	append_fields(buf, target->fields, target->nfields);
	append_fields(buf, target->source_fields, target->nsource_fields);
	queue.placeholder = append_text(buf, placeholder);
	queue.prefix = append_text(buf, cdc_intake_prefix(intake));
	cdc_intake_watched(intake, &queue.watch_first, &queue.nwatched);
	append_parts(buf, &queue, npartitions, progress, positions);
	queue.slots = append(buf, NULL, 0);
	memcpy(buf->data, &queue, sizeof(queue));
}

/* The sync's side has gone, however that came. */
static void
tell_stop(dsm_segment *segment, Datum arg)
{
	CdcHelperQueue *queue = (CdcHelperQueue *) DatumGetPointer(arg);

	pg_atomic_write_u32(&queue->order, CDC_HELPER_STOP);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&queue->state) == CDC_HELPER_READY)
		SetLatch(queue->helper);
}

typedef struct Attempt
{
	StringInfoData description;
	dsm_segment *segment;
} Attempt;

/*
 * A database has as many helpers as sync workers at most, whoever syncs: sessions
 * shall not take all processes that there are.  A place is ours to the end of the
 * transaction; nobody ever waits for one.
 */
static bool
take_place(void)
{
	Oid			schema = get_namespace_oid(CDC_SCHEMA, false);
	LOCKTAG		tag;

	for (int i = 1; i <= cdc_max_sync_workers; i++)
	{
		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, NamespaceRelationId, schema, i);
		if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			return true;
	}
	return false;
}

/* The place, the memory and the process, none of which need be there. */
static bool
start(void *arg)
{
	Attempt    *attempt = arg;
	StringInfo	buf = &attempt->description;
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_notify_pid = MyProcPid,
	};
	CdcHelperArgument argument = {.database = MyDatabaseId};
	CdcHelperQueue *queue;
	dsm_segment *segment;

	if (!take_place())
		return false;
	segment = dsm_create(buf->len + CDC_HELPER_SLOTS * CDC_HELPER_SLOT_SIZE,
						 DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment == NULL)
		return false;
	queue = memcpy(dsm_segment_address(segment), buf->data, buf->len);
	pg_atomic_init_u32(&queue->state, CDC_HELPER_STARTING);
	pg_atomic_init_u32(&queue->order, CDC_HELPER_WAIT);
	pg_atomic_init_u32(&queue->filled, 0);
	pg_atomic_init_u32(&queue->emptied, 0);
	on_dsm_detach(segment, tell_stop, PointerGetDatum(queue));
	argument.memory = dsm_segment_handle(segment);
	memcpy(worker.bgw_extra, &argument, sizeof(argument));
	strlcpy(worker.bgw_library_name, "cdcsync", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "cdc_helper_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_type, "cdcsync sync helper", sizeof(worker.bgw_type));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "cdcsync sync helper of PID %d",
			 MyProcPid);
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		return false;
	dsm_pin_mapping(segment);
	attempt->segment = segment;
	return true;
}

/* Who has no memory to share goes on without. */
static bool
is_any_error(const ErrorData *error)
{
	return error->sqlerrcode != ERRCODE_QUERY_CANCELED;
}

static void
end_helper(void *arg)
{
	cdc_helper_end(arg);
}

CdcHelper *
cdc_helper_start(const CdcLanding *landing, const CdcTarget *target,
				 const CdcIntake *intake, const char *placeholder, bool whole,
				 int npartitions, const CdcProgress *progress,
				 const CdcLandingPosition *positions)
{
	CdcHelper  *helper = palloc0(sizeof(CdcHelper));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	ErrorData  *error;
	Attempt		attempt;
	bool		started;

	/*
	 * It waits for us while it has this one, on a latch: who waits for it is to wait
	 * for us, too.  A subtransaction that is undone takes ours along, and has to end
	 * the helper.
	 */
	LockRelationOid(landing->chunk, AccessShareLock);
	describe(&attempt.description, landing, target, intake, placeholder, whole,
			 npartitions, progress, positions);
	started = cdc_attempt(start, &attempt, is_any_error, &error);
	pfree(attempt.description.data);
	if (!started)
	{
		ereport(DEBUG1,
				(errmsg_internal("no helper for the sync: %s",
								 error ? error->message : "there is no room for it")));
		return NULL;
	}
	/* from here on it is ended with the context, whatever fails */
	helper->segment = attempt.segment;
	helper->queue = dsm_segment_address(attempt.segment);
	callback->func = end_helper;
	callback->arg = helper;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	helper->parcel = cdc_parcel_create(target->nfields, target->nsource_fields);
	return helper;
}

void
cdc_helper_end(CdcHelper *helper)
{
	dsm_segment *segment = helper ? helper->segment : NULL;

	if (segment == NULL)
		return;
	helper->segment = NULL;
	helper->chunk = NULL;
	dsm_detach(segment);
}

/* ----------
 * Reading
 * ----------
 */

/* Let the helper see what we have changed. */
static void
wake(CdcHelperQueue *queue)
{
	pg_memory_barrier();
	SetLatch(queue->helper);
}

/* Wait for something; false: it has taken too long. */
static bool
wait_since(TimestampTz start)
{
	long		left = PATIENCE - TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());

	if (left <= 0)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

void
cdc_helper_begin_at(CdcHelper *helper, int64 partition, int32 epoch, int64 from,
					bool patient)
{
	CdcHelperQueue *queue = helper->queue;
	TimestampTz start = patient ? GetCurrentTimestamp() : 0;

	if (helper->segment == NULL || pg_atomic_read_u32(&queue->order) != CDC_HELPER_WAIT)
		return;
	while (patient && pg_atomic_read_u32(&queue->state) == CDC_HELPER_STARTING)
		if (!wait_since(start))
			break;
	pg_memory_barrier();
	if (pg_atomic_read_u32(&queue->state) != CDC_HELPER_READY)
		return;
	queue->begin_partition = partition;
	queue->begin_epoch = epoch;
	queue->begin_offset = from;
	pg_write_barrier();
	pg_atomic_write_u32(&queue->order, CDC_HELPER_GO);
	wake(queue);
}

/* The first slot that is filled; NULL: there will be none. */
static CdcHelperSlot *
first_slot(CdcHelper *helper)
{
	CdcHelperQueue *queue = helper->queue;
	uint32		n = pg_atomic_read_u32(&queue->emptied);
	TimestampTz start = 0;

	while (pg_atomic_read_u32(&queue->filled) == n)
	{
		/* it may have filled one before it went */
		if (pg_atomic_read_u32(&queue->state) == CDC_HELPER_GONE)
		{
			pg_memory_barrier();
			if (pg_atomic_read_u32(&queue->filled) == n)
				return NULL;
			break;
		}
		if (start == 0)
			start = GetCurrentTimestamp();
		if (!wait_since(start))
			return NULL;
	}
	pg_read_barrier();
	return cdc_helper_slot(queue, n);
}

static void
empty_slot(CdcHelper *helper)
{
	CdcHelperQueue *queue = helper->queue;

	helper->chunk = NULL;
	pg_memory_barrier();
	pg_atomic_write_u32(&queue->emptied, pg_atomic_read_u32(&queue->emptied) + 1);
	wake(queue);
}

/* The helper is of no use any more. */
static CdcHelp
give_up(CdcHelper *helper, const char *why)
{
	ereport(DEBUG1,
			(errmsg_internal("the sync goes on without its helper: %s", why)));
	cdc_helper_end(helper);
	return CDC_HELP_NONE;
}

/* The chunk that is open, if it holds what is wanted. */
static CdcHelp
give_chunk(CdcHelper *helper, int64 from, const CdcChunk **chunk)
{
	if (from < helper->from)
		return CDC_HELP_NONE;
	*chunk = cdc_parcel_chunk(helper->parcel, from);
	return *chunk ? CDC_HELP_CHUNK : give_up(helper, "it has gone back");
}

/* The slot that is next for this epoch; NULL: there is none. */
static CdcHelperSlot *
find_slot(CdcHelper *helper, int64 partition, int32 epoch)
{
	CdcHelperSlot *slot;

	while ((slot = first_slot(helper)) != NULL)
	{
		if (slot->partition == partition && slot->epoch == epoch)
			return slot;
		/* the sync need not be told of an end that it has seen itself */
		if (slot->kind != CDC_HELPER_EPOCH_END)
			return NULL;
		empty_slot(helper);
	}
	return NULL;
}

CdcHelp
cdc_helper_next(CdcHelper *helper, int64 partition, int32 epoch, int64 from,
				const CdcChunk **chunk)
{
	CdcHelperSlot *slot;
	CdcHelperKind kind;

	if (helper->segment == NULL ||
		pg_atomic_read_u32(&helper->queue->order) != CDC_HELPER_GO)
		return CDC_HELP_NONE;
	if (helper->chunk)
	{
		if (helper->chunk->partition == partition && helper->chunk->epoch == epoch &&
			from <= helper->chunk->last_offset)
			return give_chunk(helper, from, chunk);
		empty_slot(helper);
	}
	slot = find_slot(helper, partition, epoch);
	if (slot == NULL)
		return give_up(helper, "it has gone, is too slow or elsewhere");
	if (from < slot->from)
		return CDC_HELP_NONE;	/* of a chunk that it has left out */
	kind = slot->kind;
	if (kind == CDC_HELPER_PARCEL)
	{
		helper->chunk = cdc_parcel_open(helper->parcel, (char *) slot + CDC_HELPER_PARCEL_AT);
		helper->from = slot->from;
		return give_chunk(helper, from, chunk);
	}
	empty_slot(helper);
	return kind == CDC_HELPER_EPOCH_END ? CDC_HELP_END : CDC_HELP_NONE;
}

void
cdc_helper_init(void)
{
	DefineCustomIntVariable("cdcsync.min_parallel_sync_size",
							"Backlog from which on a second process decodes for a sync.",
							"-1: never.", &cdc_min_parallel_sync_size, 16 * 1024, -1, INT_MAX,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}
