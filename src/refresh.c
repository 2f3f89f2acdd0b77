/*-------------------------------------------------------------------------
 *
 * refresh.c
 *	  Kafka -> landing, for one call.
 *
 * Runs in the caller's transaction.  The landing is locked before the ends of
 * the partitions are asked for, so that a second refresh waits, then starts
 * where the first one has stopped.  The consumer belongs to a memory context of
 * this call and is closed with it, whatever way the query ends.
 *
 * A position that the log does not hold is never skipped silently: the call
 * fails and names the offsets that are lost, or records them if the landing is
 * to go on without.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "pipeline.h"
#include "reader.h"

/* Reading more than this leaves holes in the heap that are worth giving back. */
#define TRIM_BYTES		((int64) 64 * 1024 * 1024)

/* What the call returns. */
typedef struct RefreshResult
{
	int64		records;
	int64		bytes;			/* of keys and values */
	int32		partitions;		/* partitions of the topic */
} RefreshResult;

/* A partition of the topic in this call. */
typedef struct Partition
{
	CdcReader	reader;
	int64		low;			/* first offset in the log */
	int64		high;			/* its end when the call began */
	int			source;			/* id in the consumer */
	bool		moved;			/* what is left of the batch is not wanted */
	bool		done;			/* has been read to the end */
} Partition;

typedef struct Refresh
{
	const CdcLanding *landing;
	const char *topic;
	CdcKafka   *kafka;
	CdcLandingAppend *append;
	RefreshResult *result;
	int			npartitions;
	Partition  *partitions;
	int			nsources;		/* those with something to read */
	Partition **sources;		/* CdcRecord.source -> partition */
	int			nrunning;
} Refresh;

/* ----------
 * Where to start
 * ----------
 */

/* Fail, or go on behind the gap. */
static void
pass_gap(Refresh *refresh, const CdcGap *gap, CdcReader *reader)
{
	CdcLandingPosition position;

	if (!refresh->landing->continues)
		cdc_gap_raise(refresh->topic, gap);
	cdc_gap_pass(refresh->landing, refresh->append, refresh->topic, gap, &position);
	if (reader)
		cdc_reader_begin(reader, &position);
}

/* Begin what has no position, and look for gaps where there is one. */
static void
find_starts(Refresh *refresh, const CdcLandingPosition *positions,
			int npositions, const int64 *low, const int64 *high)
{
	CdcGap		gap;

	/* what is gone altogether says most of what has happened */
	for (int i = 0; i < npositions; i++)
		if (cdc_gap_find_partition(&positions[i], refresh->npartitions, &gap))
			pass_gap(refresh, &gap, NULL);

	cdc_reader_begin_partitions(refresh->landing, refresh->append,
								refresh->kafka, refresh->topic,
								positions, npositions, refresh->npartitions, low, high);
	for (int i = 0; i < refresh->npartitions; i++)
	{
		CdcLandingPosition start = {.partition = i,.last_offset = -1};

		start.next_offset = cdc_landing_next_offset(refresh->append, i);
		cdc_reader_begin(&refresh->partitions[i].reader, &start);
	}
	for (int i = 0; i < npositions; i++)
	{
		Partition  *part;

		if (positions[i].partition >= refresh->npartitions)
			break;
		part = &refresh->partitions[positions[i].partition];
		cdc_reader_begin(&part->reader, &positions[i]);
		if (cdc_reader_out_of_range(&part->reader, part->low, part->high, &gap))
			pass_gap(refresh, &gap, &part->reader);
	}
}

static void
find_partitions(Refresh *refresh, const CdcLandingPosition *positions,
				int npositions)
{
	int64	   *low;
	int64	   *high;
	int			n = cdc_kafka_partitions(refresh->kafka, refresh->topic);

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" does not exist", refresh->topic),
				 errhint("The connector makes it with its first event; otherwise check the foreign table's option \"topic\".")));

	low = palloc(n * sizeof(int64));
	high = palloc(n * sizeof(int64));
	cdc_kafka_topic_watermarks(refresh->kafka, refresh->topic, n, low, high);
	refresh->npartitions = n;
	refresh->partitions = palloc0(n * sizeof(Partition));
	for (int i = 0; i < n; i++)
	{
		refresh->partitions[i].low = low[i];
		refresh->partitions[i].high = high[i];
	}
	find_starts(refresh, positions, npositions, low, high);
}

static void
assign(Refresh *refresh)
{
	CdcKafkaSource *sources = palloc(refresh->npartitions * sizeof(CdcKafkaSource));

	refresh->sources = palloc(refresh->npartitions * sizeof(Partition *));
	for (int i = 0; i < refresh->npartitions; i++)
	{
		Partition  *part = &refresh->partitions[i];

		cdc_landing_seen(refresh->append, i, part->high);
		if (cdc_reader_offset(&part->reader) >= part->high)
			continue;
		part->source = refresh->nsources;
		sources[refresh->nsources].topic = refresh->topic;
		sources[refresh->nsources].partition = i;
		sources[refresh->nsources].offset = cdc_reader_offset(&part->reader);
		refresh->sources[refresh->nsources++] = part;
	}
	refresh->nrunning = refresh->nsources;
	if (refresh->nsources > 0)
		cdc_kafka_assign(refresh->kafka, sources, refresh->nsources);
}

/* ----------
 * Reading
 * ----------
 */

/* Everything below next_offset has been read. */
static void
finish(Refresh *refresh, Partition *part, int64 next_offset)
{
	cdc_landing_move(refresh->append, part->reader.position.partition, next_offset);
	part->done = true;
	refresh->nrunning--;
	cdc_kafka_remove(refresh->kafka, part->source);
}

/* Read on elsewhere, or not at all if nothing is there. */
static void
move(Refresh *refresh, Partition *part)
{
	int64		offset = cdc_reader_offset(&part->reader);

	part->moved = true;
	if (offset >= part->high)
		finish(refresh, part, part->reader.position.next_offset);
	else
		cdc_kafka_move(refresh->kafka, part->source, offset);
}

static void
take_record(Refresh *refresh, Partition *part, const CdcRecord *record)
{
	CdcReaderVerdict verdict = CDC_READER_LEAVE;
	CdcGap		gap = {CDC_GAP_CREATED_AGAIN, part->reader.position, part->low, part->high};

	if (record->offset < part->high)
		verdict = cdc_reader_record(&part->reader, record);
	if (verdict == CDC_READER_CREATED_AGAIN)
	{
		pass_gap(refresh, &gap, &part->reader);
		move(refresh, part);
		return;
	}
	if (verdict == CDC_READER_TAKE)
	{
		cdc_landing_append(refresh->append, record);
		refresh->result->records++;
		refresh->result->bytes += (int64) record->key.len + record->value.len;
	}
	if (record->offset + 1 >= part->high)
		finish(refresh, part, Max(part->high, part->reader.position.next_offset));
}

/* The log has changed since the call began, or ends where it should not. */
static void
out_of_range(Refresh *refresh, Partition *part, bool ended)
{
	CdcGap		gap;

	cdc_kafka_watermarks(refresh->kafka, refresh->topic,
						 (int32) part->reader.position.partition,
						 &part->low, &part->high);
	if (cdc_reader_out_of_range(&part->reader, part->low, part->high, &gap))
		pass_gap(refresh, &gap, &part->reader);
	else if (ended)
	{
		finish(refresh, part, part->reader.position.next_offset);
		return;
	}
	move(refresh, part);
}

static void
take_event(Refresh *refresh, const CdcKafkaEvent *event)
{
	Partition  *part;

	if (event->kind == CDC_KAFKA_ERROR || event->kind == CDC_KAFKA_UNAVAILABLE)
		cdc_kafka_raise(event);
	if (event->kind == CDC_KAFKA_AVAILABLE)
		return;
	part = refresh->sources[event->record.source];
	if (part->done || part->moved)
		return;
	if (event->kind == CDC_KAFKA_RECORD)
		take_record(refresh, part, &event->record);
	else if (event->kind == CDC_KAFKA_OUT_OF_RANGE ||
			 event->record.offset < part->reader.position.next_offset)
		out_of_range(refresh, part, event->kind == CDC_KAFKA_EOF);
	else
	{
		/*
		 * The end may lie below the one that we look for if what is left of
		 * the log is not to be read yet (an open transaction).
		 */
		finish(refresh, part, event->record.offset);
	}
}

static void
read_to_end(Refresh *refresh)
{
	const CdcKafkaEvent *events;

	while (refresh->nrunning > 0)
	{
		int			n = cdc_kafka_poll(refresh->kafka, -1, &events);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			take_event(refresh, &events[i]);
		cdc_kafka_release(refresh->kafka);
		for (int i = 0; i < refresh->nsources; i++)
			refresh->sources[i]->moved = false;
	}
}

/*
 * The consumer's threads and the chunk buffers have left the C heap full of
 * free memory below something that is in use.  Without this a session keeps
 * 100 MB after a big refresh, and the next one comes on top of it.
 */
static void
give_back_memory(const RefreshResult *result)
{
#ifdef __GLIBC__
	if (result->bytes > TRIM_BYTES)
		(void) malloc_trim(0);
#endif
}

/*
 * Read the landing's topic from its position until every partition has reached
 * the end that it had at the start.  The caller has checked the privileges.
 */
static void
refresh_landing(const CdcLanding *landing, RefreshResult *result)
{
	Timestamp	refresh_time = GetCurrentTimestamp();
	Refresh		refresh = {.landing = landing,.result = result};
	MemoryContext cxt;
	MemoryContext old;
	CdcLandingPosition *positions;
	int			npositions;
	Oid			serverid;

	memset(result, 0, sizeof(*result));
	if (!OidIsValid(landing->topic))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("landing %s has no topic", cdc_qualified_name(landing->view)),
				 errhint("Insert events into the landing view; there is nothing to refresh.")));

	cxt = AllocSetContextCreate(CurrentMemoryContext, "cdcsync refresh",
								ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	refresh.topic = cdc_reader_topic(landing, &serverid);
	refresh.kafka = cdc_kafka_open(serverid, landing->owner, 0);
	npositions = cdc_landing_lock(landing, false, &positions);
	refresh.append = cdc_landing_append_begin(landing, positions, npositions,
											  refresh_time);
	find_partitions(&refresh, positions, npositions);
	assign(&refresh);
	read_to_end(&refresh);
	cdc_kafka_close(refresh.kafka);
	cdc_landing_append_end(refresh.append);
	result->partitions = refresh.npartitions;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	give_back_memory(result);
}

/* ----------
 * SQL
 * ----------
 */

/*
 * cdc_refresh(name text)
 */
PG_FUNCTION_INFO_V1(cdc_refresh);
Datum
cdc_refresh(PG_FUNCTION_ARGS)
{
	CdcPipeline *pipeline;
	RefreshResult result;
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	cdc_pipeline_check_argument(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_pipeline_check_refresh(pipeline);
	cdc_pipeline_check_landing(pipeline);

	refresh_landing(pipeline->landing, &result);
	/* after the data: then it holds all that the source has done before them */
	if (pipeline->schema_landing && OidIsValid(pipeline->schema_landing->topic) &&
		has_privs_of_role(GetUserId(), pipeline->schema_landing->owner))
	{
		RefreshResult ignored;

		refresh_landing(pipeline->schema_landing, &ignored);
	}
	values[0] = Int64GetDatum(result.records);
	values[1] = Int64GetDatum(result.bytes);
	values[2] = Int32GetDatum(result.partitions);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}
