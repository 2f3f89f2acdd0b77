/*-------------------------------------------------------------------------
 *
 * helper_main.c
 *	  A second process, which reads and decodes the backlog of a sync ahead of it:
 *	  the process.
 *
 * It reads one chunk table, as the user of the sync, and runs nobody's code.  It
 * connects as the bootstrap superuser for that, as the user need not be one that
 * may log in, or has its number of connections left.  It ends when the sync does, or
 * wants no more, and at any error, of which it says nothing: the sync will meet it
 * itself if it is there for it, too.
 *
 * One transaction, read committed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "fault.h"
#include "helper_queue.h"
#include "landing.h"
#include "parcel.h"

typedef struct Reader
{
	CdcHelperQueue *queue;
	CdcLanding	landing;
	CdcDecoder *decoder;		/* NULL: only reading is wanted */
	CdcLandingScan *scan;		/* NULL: none yet */
} Reader;

static void
tell_gone(dsm_segment *segment, Datum arg)
{
	CdcHelperQueue *queue = (CdcHelperQueue *) DatumGetPointer(arg);

	pg_memory_barrier();
	pg_atomic_write_u32(&queue->state, CDC_HELPER_GONE);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&queue->order) != CDC_HELPER_STOP)
		SetLatch(queue->sync);
}

static void
sleep_until_woken(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static bool
is_stopped(CdcHelperQueue *queue)
{
	return pg_atomic_read_u32(&queue->order) == CDC_HELPER_STOP;
}

/* The next slot once it is empty; NULL: nothing more is wanted. */
static CdcHelperSlot *
wait_for_slot(CdcHelperQueue *queue)
{
	uint32		n = pg_atomic_read_u32(&queue->filled);

	while (!is_stopped(queue))
	{
		if (n - pg_atomic_read_u32(&queue->emptied) < CDC_HELPER_SLOTS)
		{
			pg_memory_barrier();
			return cdc_helper_slot(queue, n);
		}
		sleep_until_woken();
	}
	return NULL;
}

static void
pass_on(CdcHelperQueue *queue, CdcHelperSlot *slot, CdcHelperKind kind,
		int64 partition, int32 epoch, int64 from)
{
	slot->kind = kind;
	slot->partition = partition;
	slot->epoch = epoch;
	slot->from = from;
	pg_write_barrier();
	pg_atomic_write_u32(&queue->filled, pg_atomic_read_u32(&queue->filled) + 1);
	pg_memory_barrier();
	SetLatch(queue->sync);
}

/* False: nothing more is wanted. */
static bool
read_epoch(Reader *reader, int64 partition, int32 epoch, int64 from, int64 end)
{
	const CdcChunk *chunk;
	CdcHelperSlot *slot;

	if (reader->scan)
		cdc_landing_scan_move(reader->scan, partition, epoch, from);
	else
		reader->scan = cdc_landing_scan_begin(&reader->landing, partition, epoch, from);
	while ((chunk = cdc_landing_scan_next(reader->scan)) != NULL &&
		   cdc_chunk_offset(chunk, chunk->first) < end)
	{
		bool		fits;

		slot = wait_for_slot(reader->queue);
		if (slot == NULL)
			return false;
		CDC_FAULT("helper_chunk");
		fits = cdc_parcel_write(reader->decoder, chunk, (char *) slot + CDC_HELPER_PARCEL_AT,
								CDC_HELPER_SLOT_SIZE - CDC_HELPER_PARCEL_AT);
		pass_on(reader->queue, slot, fits ? CDC_HELPER_PARCEL : CDC_HELPER_LEFT_OUT,
				partition, epoch, from);
		from = chunk->last_offset + 1;
	}
	slot = wait_for_slot(reader->queue);
	if (slot)
		pass_on(reader->queue, slot, CDC_HELPER_EPOCH_END, partition, epoch, from);
	return slot != NULL;
}

/* A partition's epochs, from there on. */
static bool
read_part(Reader *reader, const CdcHelperPart *part, int32 epoch, int64 from)
{
	for (; epoch < part->last_epoch; epoch++, from = 0)
		if (!read_epoch(reader, part->partition, epoch, from, PG_INT64_MAX))
			return false;
	return from >= part->end ||
		read_epoch(reader, part->partition, epoch, from, part->end);
}

static void
read_all(Reader *reader)
{
	CdcHelperQueue *queue = reader->queue;
	const CdcHelperPart *parts = (CdcHelperPart *) cdc_helper_place(queue, queue->parts);
	int			i = 0;

	pg_read_barrier();
	while (i < queue->nparts && parts[i].partition != queue->begin_partition)
		i++;
	if (i == queue->nparts ||
		!read_part(reader, &parts[i], queue->begin_epoch, queue->begin_offset))
		return;
	while (++i < queue->nparts)
		if (!read_part(reader, &parts[i], parts[i].epoch, parts[i].from))
			return;
}

static const char *
text_at(CdcHelperQueue *queue, Size place)
{
	return place ? cdc_helper_place(queue, place) : NULL;
}

static CdcDecoder *
make_decoder(CdcHelperQueue *queue)
{
	int			n = queue->nfields + queue->nsource_fields;
	CdcField   *fields = palloc(sizeof(CdcField) * (n + 1));
	const char *p = cdc_helper_place(queue, queue->fields);
	CdcDecoder *decoder;

	for (int i = 0; i < n; i++)
	{
		memcpy(&fields[i], p, sizeof(CdcField));
		p += MAXALIGN(sizeof(CdcField));
		fields[i].name = p;
		p += MAXALIGN(fields[i].len);
	}
	decoder = cdc_decoder_create(fields, queue->nfields, fields + queue->nfields,
								 queue->nsource_fields, text_at(queue, queue->placeholder));
	if (decoder == NULL ||
		!cdc_decoder_read_as(decoder, queue->read_as, text_at(queue, queue->prefix)))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	cdc_decoder_watch(decoder, queue->watch_first, queue->nwatched);
	return decoder;
}

static void
help(CdcHelperQueue *queue)
{
	Reader		reader = {
		.queue = queue,
		.landing = {.chunk = queue->chunks},
	};

	SetUserIdAndSecContext(queue->user, SECURITY_LOCAL_USERID_CHANGE);
	reader.decoder = queue->decodes ? make_decoder(queue) : NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
	queue->helper = MyLatch;
	pg_write_barrier();
	pg_atomic_write_u32(&queue->state, CDC_HELPER_READY);
	pg_memory_barrier();
	SetLatch(queue->sync);
	while (pg_atomic_read_u32(&queue->order) == CDC_HELPER_WAIT)
		sleep_until_woken();
	if (!is_stopped(queue))
		read_all(&reader);
}

PGDLLEXPORT void cdc_helper_main(Datum main_arg);

void
cdc_helper_main(Datum main_arg)
{
	CdcHelperArgument argument;
	dsm_segment *segment;

	memcpy(&argument, MyBgworkerEntry->bgw_extra, sizeof(argument));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(argument.database, InvalidOid, 0);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET,
					PGC_S_OVERRIDE);
	StartTransactionCommand();
	segment = dsm_attach(argument.memory);
	if (segment == NULL)
		proc_exit(0);			/* the sync is over */
	on_dsm_detach(segment, tell_gone, PointerGetDatum(dsm_segment_address(segment)));
	pgstat_report_activity(STATE_RUNNING, "decoding for a sync");
	PG_TRY();
	{
		help(dsm_segment_address(segment));
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		FlushErrorState();
	}
	PG_END_TRY();
	/* all that there is goes with the process */
	proc_exit(0);
}
