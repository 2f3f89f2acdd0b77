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
 * fails and names the offsets that are lost.
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
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "kafka.h"
#include "kafka_options.h"
#include "pipeline.h"
#include "refresh.h"

/* Reading more than this leaves holes in the heap that are worth giving back. */
#define TRIM_BYTES		((int64) 64 * 1024 * 1024)

/* A partition of the topic in this call. */
typedef struct Partition
{
	int32		partition;
	int64		low;			/* first offset in the log */
	int64		high;			/* its end when the call began */
	int64		start;
	int			source;
	bool		done;			/* has been read to the end */
} Partition;

typedef struct Refresh
{
	const CdcLanding *landing;
	const char *topic;
	CdcKafka   *kafka;
	CdcLandingAppend *append;
	CdcRefreshResult *result;
	int			npartitions;
	Partition  *partitions;
	int			nsources;		/* those with something to read */
	Partition **sources;		/* CdcRecord.source -> partition */
	int			nrunning;
} Refresh;

/* ----------
 * Gaps
 * ----------
 */

/* offset: the position; the log holds low .. high - 1. */
static void
report_gap(const Refresh *refresh, int32 partition, int64 offset, int64 low,
		   int64 high)
{
	if (offset < low)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" no longer holds offsets " INT64_FORMAT " to " INT64_FORMAT " of partition %d",
						refresh->topic, offset, low - 1, partition),
				 errdetail("The landing continues at offset " INT64_FORMAT "; the log begins at " INT64_FORMAT " and ends before " INT64_FORMAT ".",
						   offset, low, high),
				 errhint("The records have expired or were deleted. Raise the topic's retention, "
						 "then drop the pipeline and create it again to load the source anew.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" lacks offsets " INT64_FORMAT " to " INT64_FORMAT " of partition %d, which have been read",
					refresh->topic, high, offset - 1, partition),
			 errdetail("The landing continues at offset " INT64_FORMAT "; the log begins at " INT64_FORMAT " and ends before " INT64_FORMAT ".",
					   offset, low, high),
			 errhint("The topic was truncated or created again. "
					 "Drop the pipeline and create it again to load the source anew.")));
}

/* ----------
 * Where to start
 * ----------
 */

/* Start of a partition of a landing that has no position yet. */
static int64
new_start(const Refresh *refresh, const Partition *part)
{
	int64		offset;

	switch (refresh->landing->start)
	{
		case CDC_START_EARLIEST:
			return part->low;
		case CDC_START_LATEST:
			return part->high;
		case CDC_START_TIMESTAMP:
			break;
	}
	offset = cdc_kafka_offset_for_time(refresh->kafka, refresh->topic,
									   part->partition,
									   refresh->landing->start_time);
	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("broker cannot look up an offset of topic \"%s\" by time",
						refresh->topic),
				 errhint("Use the option \"start\" with \"earliest\" or \"latest\".")));
	return Max(offset, part->low);
}

static void
find_partitions(Refresh *refresh)
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
		refresh->partitions[i].partition = i;
		refresh->partitions[i].low = low[i];
		refresh->partitions[i].high = high[i];
		refresh->partitions[i].start = -1;
	}
}

/* Take the starts from the positions; the rest is new. */
static void
find_starts(Refresh *refresh, const CdcLandingPosition *positions,
			int npositions)
{
	/* They are in the order of partitions. */
	if (npositions > 0 &&
		positions[npositions - 1].partition >= refresh->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" no longer has partition " INT64_FORMAT,
						refresh->topic, positions[npositions - 1].partition),
				 errdetail("The topic has %d partitions.", refresh->npartitions),
				 errhint("The topic was created again. "
						 "Drop the pipeline and create it again to load the source anew.")));

	for (int i = 0; i < npositions; i++)
	{
		int64		offset = positions[i].next_offset;
		Partition  *part;

		part = &refresh->partitions[positions[i].partition];
		if (offset < part->low || offset > part->high)
			report_gap(refresh, part->partition, offset, part->low, part->high);
		part->start = offset;
	}

	/* What was added to a topic that we read already is read as a whole. */
	for (int i = 0; i < refresh->npartitions; i++)
	{
		Partition  *part = &refresh->partitions[i];

		if (part->start < 0)
			part->start = npositions > 0 ? part->low : new_start(refresh, part);
	}
}

static void
assign(Refresh *refresh)
{
	CdcKafkaSource *sources = palloc(refresh->npartitions * sizeof(CdcKafkaSource));

	refresh->sources = palloc(refresh->npartitions * sizeof(Partition *));
	for (int i = 0; i < refresh->npartitions; i++)
	{
		Partition  *part = &refresh->partitions[i];

		cdc_landing_move(refresh->append, i, part->start);
		cdc_landing_seen(refresh->append, i, part->high);
		if (part->start >= part->high)
			continue;
		sources[refresh->nsources].topic = refresh->topic;
		sources[refresh->nsources].partition = i;
		sources[refresh->nsources].offset = part->start;
		part->source = refresh->nsources;
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
	cdc_landing_move(refresh->append, part->partition, next_offset);
	part->done = true;
	refresh->nrunning--;
	cdc_kafka_remove(refresh->kafka, part->source);
}

static void
take_record(Refresh *refresh, Partition *part, const CdcRecord *record)
{
	if (record->offset < part->high)
	{
		cdc_landing_append(refresh->append, record);
		refresh->result->records++;
		refresh->result->bytes += (int64) record->key.len + record->value.len;
	}
	if (record->offset + 1 >= part->high)
		finish(refresh, part, part->high);
}

static void
take_event(Refresh *refresh, const CdcKafkaEvent *event)
{
	Partition  *part;
	int64		low;
	int64		high;

	if (event->record.source < 0)
	{
		if (event->error)
			cdc_kafka_raise(event);
		return;
	}
	part = refresh->sources[event->record.source];
	if (part->done)
		return;
	switch (event->kind)
	{
		case CDC_KAFKA_RECORD:
			take_record(refresh, part, &event->record);
			break;
		case CDC_KAFKA_EOF:

			/*
			 * Below the end that we look for if what is left of the log is
			 * not to be read yet (an open transaction).
			 */
			finish(refresh, part, event->record.offset);
			break;
		case CDC_KAFKA_OUT_OF_RANGE:
			cdc_kafka_watermarks(refresh->kafka, refresh->topic,
								 part->partition, &low, &high);
			report_gap(refresh, part->partition, event->record.offset, low, high);
			break;
		case CDC_KAFKA_ERROR:
			cdc_kafka_raise(event);
			break;
		case CDC_KAFKA_UNAVAILABLE:
		case CDC_KAFKA_AVAILABLE:
			break;				/* see above */
	}
}

static void
read_to_end(Refresh *refresh)
{
	const CdcKafkaEvent *events;

	while (refresh->nrunning > 0)
	{
		int			n = cdc_kafka_poll(refresh->kafka, -1, &events);

		for (int i = 0; i < n; i++)
			take_event(refresh, &events[i]);
		cdc_kafka_release(refresh->kafka);
	}
}

/*
 * The consumer's threads and the chunk buffers have left the C heap full of
 * free memory below something that is in use.  Without this a session keeps
 * 100 MB after a big refresh, and the next one comes on top of it.
 */
static void
give_back_memory(const CdcRefreshResult *result)
{
#ifdef __GLIBC__
	if (result->bytes > TRIM_BYTES)
		(void) malloc_trim(0);
#endif
}

/*
 * The topic that the landing reads, if its owner may still do so.  Positions
 * mean nothing in another topic, whose records would be taken for its own.
 */
static const char *
get_topic(const CdcLanding *landing, Oid *serverid)
{
	char	   *topic = cdc_kafka_topic(landing->topic, serverid);

	if (landing->topic_name && strcmp(topic, landing->topic_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign table %s is no longer topic \"%s\"",
						cdc_qualified_name(landing->topic), landing->topic_name),
				 errdetail("Its option \"topic\" is now \"%s\".", topic),
				 errhint("Set the option back; for the other topic drop the pipeline and create it again, or make another one.")));
	cdc_kafka_topic_check(landing->topic, *serverid, landing->owner);
	return topic;
}

void
cdc_refresh_landing(const CdcLanding *landing, CdcRefreshResult *result)
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
	refresh.topic = get_topic(landing, &serverid);
	refresh.kafka = cdc_kafka_open(serverid, landing->owner, false);
	npositions = cdc_landing_lock(landing, false, &positions);
	find_partitions(&refresh);
	find_starts(&refresh, positions, npositions);
	refresh.append = cdc_landing_append_begin(landing, positions, npositions,
											  refresh_time);
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
	CdcRefreshResult result;
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pipeline name must not be null"),
				 errhint("The view cdc_status lists your pipelines.")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_pipeline_check_refresh(pipeline);
	if (!has_privs_of_role(GetUserId(), pipeline->landing->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for landing %s",
						cdc_qualified_name(pipeline->landing->view)),
				 errdetail("It belongs to role \"%s\".",
						   GetUserNameFromId(pipeline->landing->owner, false))));

	cdc_refresh_landing(pipeline->landing, &result);
	values[0] = Int64GetDatum(result.records);
	values[1] = Int64GetDatum(result.bytes);
	values[2] = Int32GetDatum(result.partitions);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}
