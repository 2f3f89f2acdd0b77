/*-------------------------------------------------------------------------
 *
 * ingest_batch.c
 *	  The ingest worker's batch: from events to chunks.
 *
 * What each landing wants of the events is decided once, when they come; to
 * write it is to walk the landing's list, and can be done again.  Normally one
 * transaction takes all landings of the batch.  If it fails, the records are
 * still there, and each landing gets a transaction of its own: so it is known
 * which one has the problem, and it alone is closed until it is tried again.
 *
 * No landing is waited for: one that another session has locked, or whose
 * position that session has moved, is left out, and begins anew from what the
 * database says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "ingest.h"
#include "session.h"

/* A batch below this comes from the end of the logs. */
#define BACKLOG_BYTES	((Size) 1024 * 1024)

/* ----------
 * Taking
 * ----------
 */

/* The batch has something to write, from now on. */
static void
mark_dirty(CdcIngest *ingest, CdcIngestLanding *landing)
{
	landing->dirty = true;
	if (ingest->batch_began == 0)
		ingest->batch_began = GetCurrentTimestamp();
}

static void
add_take(CdcIngest *ingest, CdcIngestLanding *landing, int event)
{
	if (landing->ntakes == landing->maxtakes)
	{
		landing->maxtakes = Max(64, landing->maxtakes * 2);
		landing->takes = landing->takes ?
			repalloc(landing->takes, landing->maxtakes * sizeof(int)) :
			MemoryContextAlloc(ingest->batch_context, landing->maxtakes * sizeof(int));
	}
	landing->takes[landing->ntakes++] = event;
	mark_dirty(ingest, landing);
}

static void
doubt(CdcIngest *ingest, CdcIngestPart *part)
{
	part->deaf = true;
	part->source->doubtful = true;
	ingest->doubt = true;
}

/* Was it wanted? */
static bool
take_record(CdcIngest *ingest, CdcIngestPart *part, int event)
{
	part->at_end = false;
	switch (cdc_reader_record(&part->reader, &ingest->events[event].record))
	{
		case CDC_READER_TAKE:
			add_take(ingest, part->landing, event);
			return true;
		case CDC_READER_LEAVE:
			break;
		case CDC_READER_CREATED_AGAIN:
			part->created_again = true;
			doubt(ingest, part);
			break;
	}
	return false;
}

static void
take_end(CdcIngest *ingest, CdcIngestPart *part, int64 offset)
{
	if (offset < part->reader.position.next_offset)
	{
		doubt(ingest, part);
		return;
	}
	part->at_end = true;
	part->reader.compare = false;
	if (offset > part->reader.position.next_offset)
	{
		/* offsets at the end that hold no record */
		part->reader.position.next_offset = offset;
		mark_dirty(ingest, part->landing);
	}
}

/* An event's error as one that was raised. */
static void
copy_error(const CdcKafkaError *error, ErrorData *edata)
{
	memset(edata, 0, sizeof(*edata));
	edata->elevel = ERROR;
	edata->sqlerrcode = error->sqlstate;
	edata->message = (char *) error->message;
	edata->detail = (char *) error->detail;
	edata->hint = (char *) error->hint;
}

/* The whole server is away, or is back. */
static void
take_server_event(CdcIngest *ingest, const CdcKafkaEvent *event)
{
	ErrorData	edata;
	ListCell   *lc;

	if (event->kind == CDC_KAFKA_UNAVAILABLE)
	{
		copy_error(event->error, &edata);
		cdc_problem_add(&ingest->problem, &edata);
	}
	else
	{
		cdc_problem_clear(&ingest->problem);
		ingest->next_metadata = 0;
		cdc_ingest_close_all(ingest);
	}
	foreach(lc, ingest->landings)
		cdc_ingest_publish(ingest, lfirst(lc));
}

/*
 * A record or the end of the log.  That the newest record which has landed can
 * be read again is no sign that what follows can: a problem ends with progress.
 */
static void
take_progress(CdcIngest *ingest, CdcIngestSource *source, int event)
{
	const CdcKafkaEvent *e = &ingest->events[event];
	bool		works = e->kind == CDC_KAFKA_EOF;
	ListCell   *lc;

	source->active = true;
	source->offset = e->record.offset + (e->kind == CDC_KAFKA_RECORD ? 1 : 0);
	foreach(lc, source->parts)
	{
		CdcIngestPart *part = lfirst(lc);

		if (part->deaf)
			continue;
		if (e->kind == CDC_KAFKA_RECORD)
			works |= take_record(ingest, part, event);
		else
			take_end(ingest, part, e->record.offset);
	}
	if (works && source->problem.failures > 0)
		cdc_ingest_source_works(ingest, source);
}

static void
take_source_event(CdcIngest *ingest, CdcIngestSource *source, int event)
{
	const CdcKafkaEvent *e = &ingest->events[event];
	ErrorData	edata;
	ListCell   *lc;

	switch (e->kind)
	{
		case CDC_KAFKA_RECORD:
		case CDC_KAFKA_EOF:
			take_progress(ingest, source, event);
			break;
		case CDC_KAFKA_OUT_OF_RANGE:
			source->stopped = true;
			foreach(lc, source->parts)
				doubt(ingest, lfirst(lc));
			break;
		case CDC_KAFKA_ERROR:
			copy_error(e->error, &edata);
			cdc_ingest_source_failed(ingest, source, &edata);
			/* the topic may have gone */
			ingest->next_metadata = Min(ingest->next_metadata,
										TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000));
			break;
		default:
			break;
	}
}

void
cdc_ingest_take(CdcIngest *ingest)
{
	for (; ingest->ntaken < ingest->nevents; ingest->ntaken++)
	{
		const CdcKafkaEvent *event = &ingest->events[ingest->ntaken];
		int			id = event->record.source;

		if (event->kind == CDC_KAFKA_UNAVAILABLE || event->kind == CDC_KAFKA_AVAILABLE)
			take_server_event(ingest, event);
		else if (id >= 0 && id < ingest->maxids && ingest->by_id[id])
			take_source_event(ingest, ingest->by_id[id], ingest->ntaken);
	}
}

/* ----------
 * Writing
 * ----------
 */

typedef struct Flush
{
	CdcIngest  *ingest;
	List	   *landings;
	bool		more;			/* of all of them, at once */
} Flush;

/* Does the batch hold something of it? */
static bool
has_moved(const CdcIngestPart *part)
{
	return part->reader.position.next_offset != part->stored.next_offset;
}

/* Lock the partitions that have moved: others are other workers', or need nothing. */
static int
lock_moved(const CdcIngestLanding *landing, CdcLandingPosition **positions)
{
	int64	   *partitions = palloc(Max(landing->nparts, 1) * sizeof(int64));
	int			n = 0;

	for (int i = 0; i < landing->nparts; i++)
		if (has_moved(&landing->parts[i]))
			partitions[n++] = landing->parts[i].stored.partition;
	return cdc_landing_lock_some(&landing->def, partitions, n, positions);
}

/* What this worker thinks the position is must be what it is, or lie below. */
static bool
positions_fit(const CdcIngestLanding *landing, const CdcLandingPosition *positions)
{
	int			at = 0;

	/* both are in the order of partitions */
	for (int i = 0; i < landing->nparts; i++)
	{
		const CdcLandingPosition *stored = &landing->parts[i].stored;

		if (!has_moved(&landing->parts[i]))
			continue;
		if (positions[at].epoch != stored->epoch ||
			positions[at].next_offset < stored->next_offset)
			return false;
		at++;
	}
	return true;
}

static void
write_landing(CdcIngest *ingest, CdcIngestLanding *landing)
{
	CdcLandingPosition *positions;
	CdcLandingAppend *append;
	int			npositions = lock_moved(landing, &positions);

	landing->outcome = CDC_INGEST_DONE;
	if (npositions < 0)
		landing->outcome = CDC_INGEST_LOCKED;
	else if (!positions_fit(landing, positions))
		landing->outcome = CDC_INGEST_MOVED;
	if (landing->outcome != CDC_INGEST_DONE)
		return;

	CDC_FAULT("ingest_locked");
	append = cdc_landing_append_begin(&landing->def, positions, npositions,
									  GetCurrentTimestamp());
	for (int i = 0; i < landing->ntakes; i++)
	{
		const CdcRecord *record = &ingest->events[landing->takes[i]].record;

		/* another session may have read further */
		if (record->offset >= cdc_landing_next_offset(append, record->partition))
			cdc_landing_append(append, record);
	}
	for (int i = 0; i < landing->nparts; i++)
	{
		CdcIngestPart *part = &landing->parts[i];

		if (has_moved(part))
			cdc_landing_move(append, part->stored.partition,
							 part->reader.position.next_offset);
	}
	cdc_landing_append_end(append);
	CDC_FAULT("ingest_written");
}

/* In a transaction. */
static void
write_landings(void *arg)
{
	Flush	   *flush = arg;
	ListCell   *lc;

	cdc_session_clean();

	/*
	 * In the middle of a backlog the disk is not waited for: the end of it waits for
	 * all, as does whoever commits what he has made of it.  What a crash takes,
	 * records with their position, is read again.  1M events by one worker: 1.8 s
	 * instead of 2.0.
	 */
	if (flush->more)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	foreach(lc, flush->landings)
		write_landing(flush->ingest, lfirst(lc));
	CDC_FAULT("ingest_commit");
}

/* It has committed. */
static void
landing_written(CdcIngest *ingest, CdcIngestLanding *landing)
{
	if (landing->outcome != CDC_INGEST_DONE)
	{
		cdc_ingest_landing_outcome(ingest, landing);
		return;
	}
	for (int i = 0; i < landing->nparts; i++)
		landing->parts[i].stored.next_offset = landing->parts[i].reader.position.next_offset;
	landing->pause = 0;
	cdc_ingest_publish_written(ingest, landing);
	if (landing->problem.failures > 0)
	{
		cdc_problem_clear(&landing->problem);
		cdc_ingest_publish(ingest, landing);
	}
}

static void
write_one(CdcIngest *ingest, CdcIngestLanding *landing)
{
	Flush		flush = {ingest, list_make1(landing)};
	ErrorData  *error;

	if (cdc_worker_try(write_landings, &flush, &error))
		landing_written(ingest, landing);
	else
		cdc_ingest_landing_failed(ingest, landing, error);
}

static void
write_batch(CdcIngest *ingest)
{
	Flush		flush = {ingest, NIL, true};
	ErrorData  *error;
	ListCell   *lc;
	bool		done;

	/* in the order of their ids, as everybody locks them */
	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		if (!landing->dirty)
			continue;
		flush.landings = lappend(flush.landings, landing);
		if (landing->behind || cdc_kafka_batch_bytes(ingest->kafka) > BACKLOG_BYTES)
			cdc_ingest_publish_unread(ingest, landing);
		flush.more &= landing->behind && landing->unread > 0;
	}
	if (flush.landings == NIL)
		return;
	CDC_FAULT("ingest_polled");
	done = cdc_worker_try(write_landings, &flush, &error);
	CDC_FAULT("ingest_committed");
	foreach(lc, flush.landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		if (done)
			landing_written(ingest, landing);
		else if (list_length(flush.landings) == 1)
			cdc_ingest_landing_failed(ingest, landing, error);
		else
			write_one(ingest, landing);
	}
}

/* Where it is to be read only every so often, it has been read now. */
static void
rest(CdcIngest *ingest, CdcIngestLanding *landing)
{
	if (!landing->open || landing->def.refresh_interval == 0)
		return;
	for (int i = 0; i < landing->nparts; i++)
		if (!landing->parts[i].at_end)
			return;
	cdc_ingest_close(ingest, landing,
					 landing->opened_at + landing->def.refresh_interval);
}

void
cdc_ingest_flush(CdcIngest *ingest)
{
	ListCell   *lc;

	write_batch(ingest);
	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		landing->dirty = false;
		landing->ntakes = landing->maxtakes = 0;
		landing->takes = NULL;
		rest(ingest, landing);
	}
	cdc_kafka_release(ingest->kafka);
	ingest->events = NULL;
	ingest->nevents = ingest->ntaken = 0;
	ingest->batch_began = 0;
	MemoryContextReset(ingest->batch_context);
}

/* ----------
 * Doubts
 * ----------
 */

typedef struct Doubt
{
	CdcIngest  *ingest;
	CdcIngestSource *source;
	CdcIngestPart *part;
	CdcGap		gap;
	int64		low;
	int64		high;
} Doubt;

/* In a transaction. */
static void
ask_watermarks(void *arg)
{
	Doubt	   *doubt = arg;

	cdc_kafka_watermarks(cdc_ingest_asker(doubt->ingest), doubt->source->topic,
						 doubt->source->partition, &doubt->low, &doubt->high);
}

/* In a transaction: stop at the gap, or go on behind it. */
static void
settle_gap(void *arg)
{
	Doubt	   *doubt = arg;
	CdcIngestPart *part = doubt->part;
	CdcIngestLanding *landing = part->landing;
	CdcLandingPosition *positions;
	CdcLandingAppend *append;
	int			npositions = cdc_landing_lock(&landing->def, true, &positions);
	int			at = 0;

	landing->outcome = CDC_INGEST_LOCKED;
	if (npositions < 0)
		return;
	landing->outcome = CDC_INGEST_MOVED;
	while (at < npositions && positions[at].partition != part->stored.partition)
		at++;
	if (at == npositions || positions[at].epoch != part->stored.epoch ||
		positions[at].next_offset != part->stored.next_offset)
		return;

	doubt->gap.position = positions[at];
	CDC_FAULT("ingest_gap");
	if (!landing->def.continues)
	{
		cdc_gap_stop(&landing->def, doubt->source->topic, &doubt->gap);
		landing->outcome = CDC_INGEST_STOPPED;
		return;
	}
	append = cdc_landing_append_begin(&landing->def, positions, npositions,
									  GetCurrentTimestamp());
	cdc_gap_pass(&landing->def, append, doubt->source->topic, &doubt->gap,
				 &part->stored);
	cdc_landing_append_end(append);
	landing->outcome = CDC_INGEST_DONE;
}

static void
look_into_part(Doubt *doubt)
{
	CdcIngestPart *part = doubt->part;
	CdcIngestLanding *landing = part->landing;
	ErrorData  *error;

	part->deaf = false;
	if (part->created_again)
	{
		doubt->gap.kind = CDC_GAP_CREATED_AGAIN;
		doubt->gap.low = doubt->low;
		doubt->gap.high = doubt->high;
	}
	else if (!cdc_reader_out_of_range(&part->reader, doubt->low, doubt->high, &doubt->gap))
		return;
	part->created_again = false;
	if (!cdc_worker_try(settle_gap, doubt, &error))
		cdc_ingest_landing_failed(doubt->ingest, landing, error);
	else if (landing->outcome != CDC_INGEST_DONE)
		cdc_ingest_landing_outcome(doubt->ingest, landing);
	else
	{
		cdc_reader_begin(&part->reader, &part->stored);
		doubt->source->stopped = true;
	}
}

static void
look_into_source(CdcIngest *ingest, CdcIngestSource *source)
{
	Doubt		doubt = {.ingest = ingest,.source = source};
	List	   *parts = list_copy(source->parts);
	ErrorData  *error;
	ListCell   *lc;

	source->doubtful = false;
	if (parts == NIL)
		return;
	if (!cdc_worker_try(ask_watermarks, &doubt, &error))
	{
		/* what its parts were told is still to be looked into */
		source->doubtful = true;
		ingest->doubt = true;
		cdc_ingest_source_failed(ingest, source, error);
		return;
	}
	foreach(lc, parts)
	{
		doubt.part = lfirst(lc);
		if (doubt.part->deaf)
			look_into_part(&doubt);
	}
	cdc_ingest_source_changed(ingest, source);
}

void
cdc_ingest_look_into(CdcIngest *ingest)
{
	TimestampTz now = GetCurrentTimestamp();
	List	   *doubtful = NIL;
	HASH_SEQ_STATUS seq;
	CdcIngestSource *source;
	ListCell   *lc;

	if (ingest->problem.failures > 0)
		return;					/* nobody is there to be asked */
	ingest->doubt = false;
	hash_seq_init(&seq, ingest->sources);
	while ((source = hash_seq_search(&seq)) != NULL)
		if (source->doubtful)
			doubtful = lappend(doubtful, source);

	/* a scan does not outlive the transactions that follow */
	foreach(lc, doubtful)
	{
		source = lfirst(lc);
		if (cdc_problem_over(&source->problem, now))
			look_into_source(ingest, source);
		else
			ingest->doubt = true;
	}
}
