/*-------------------------------------------------------------------------
 *
 * topic_copy.c
 *	  Records of a topic, once more, in a chunk table.
 *
 * Runs in the caller's transaction, as the landing's owner where it writes.
 * The landing's positions are neither locked nor moved: what is copied lies
 * below them.  The consumer belongs to a memory context of the call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "kafka.h"
#include "reader.h"
#include "topic_copy.h"

/* A partition while it is read. */
typedef struct Part
{
	const CdcLandingPosition *to;
	int64		low;			/* the log holds low .. high - 1 */
	int64		high;
	bool		done;
} Part;

typedef struct Copy
{
	CdcTopicCopy *copy;
	const char *topic;
	CdcKafka   *kafka;
	CdcLandingAppend *append;
	Part	   *parts;
	Part	  **sources;		/* CdcRecord.source -> partition */
	int			nrunning;
} Copy;

/*
 * Where to begin in a partition; -1, and in *why the reason, if what is wanted
 * is not there.
 */
static int64
find_start(const Copy *c, int i, char **why)
{
	const Part *part = &c->parts[i];
	int32		partition = (int32) part->to->partition;
	int64		start;

	if (part->high < part->to->next_offset)
	{
		*why = psprintf("Partition %d of topic \"%s\" ends at offset " INT64_FORMAT ", below the landing's position " INT64_FORMAT ".",
						partition, c->topic, part->high, part->to->next_offset);
		return -1;
	}
	if (c->copy->since == DT_NOBEGIN && part->low == 0)
		return 0;
	if (c->copy->since == DT_NOBEGIN)
	{
		*why = psprintf("Partition %d of topic \"%s\" begins at offset " INT64_FORMAT ": what was before has expired.",
						partition, c->topic, part->low);
		return -1;
	}
	start = cdc_kafka_offset_for_time(c->kafka, c->topic, partition,
									  (c->copy->since + USECS_PER_SEC * SECS_PER_DAY *
									   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) / 1000);
	if (start < 0)
	{
		*why = psprintf("The broker cannot look up an offset of topic \"%s\" by time.", c->topic);
		return -1;
	}
	/* if the first one is new enough already, older ones may have been, too */
	if (part->low > 0 && start <= part->low)
	{
		*why = psprintf("Partition %d of topic \"%s\" begins at offset " INT64_FORMAT ", after the time that \"since\" names.",
						partition, c->topic, part->low);
		return -1;
	}
	return Min(start, part->to->next_offset);
}

static bool
find_parts(Copy *c, char **why)
{
	int			n = cdc_kafka_partitions(c->kafka, c->topic);
	int64	   *low = palloc(sizeof(int64) * Max(n, 1));
	int64	   *high = palloc(sizeof(int64) * Max(n, 1));

	if (n > 0)
		cdc_kafka_topic_watermarks(c->kafka, c->topic, n, low, high);
	for (int i = 0; i < c->copy->npartitions; i++)
	{
		Part	   *part = &c->parts[i];
		int64		start;

		part->to = &c->copy->to[i];
		if (part->to->partition >= n)
		{
			*why = psprintf("Topic \"%s\" has no partition " INT64_FORMAT " any more.",
							c->topic, part->to->partition);
			return false;
		}
		part->low = low[part->to->partition];
		part->high = high[part->to->partition];
		start = find_start(c, i, why);
		if (start < 0)
			return false;
		c->copy->from[i] = *part->to;
		c->copy->from[i].next_offset = start;
	}
	return true;
}

static void
assign(Copy *c)
{
	CdcKafkaSource *sources = palloc(sizeof(CdcKafkaSource) * c->copy->npartitions);

	for (int i = 0; i < c->copy->npartitions; i++)
	{
		if (c->copy->from[i].next_offset >= c->parts[i].to->next_offset)
			continue;
		sources[c->nrunning].topic = c->topic;
		sources[c->nrunning].partition = (int32) c->parts[i].to->partition;
		sources[c->nrunning].offset = c->copy->from[i].next_offset;
		c->sources[c->nrunning++] = &c->parts[i];
	}
	if (c->nrunning > 0)
		cdc_kafka_assign(c->kafka, sources, c->nrunning);
}

static void
finish(Copy *c, Part *part, int source)
{
	part->done = true;
	c->nrunning--;
	cdc_kafka_remove(c->kafka, source);
}

/* The log is not what it was when we looked. */
static void
raise_gap(const Copy *c, const Part *part, CdcGapKind kind)
{
	CdcGap		gap = {kind, *part->to, part->low, part->high};

	cdc_gap_raise(c->topic, &gap);
}

static void
take_record(Copy *c, Part *part, const CdcRecord *record)
{
	if (record->offset < part->to->next_offset)
	{
		/* the newest that has landed tells this topic from one of its name */
		if (record->offset == part->to->last_offset &&
			cdc_record_hash(record) != part->to->last_hash)
			raise_gap(c, part, CDC_GAP_CREATED_AGAIN);
		cdc_landing_append(c->append, record);
	}
	if (record->offset + 1 >= part->to->next_offset)
		finish(c, part, record->source);
}

static void
take_event(Copy *c, const CdcKafkaEvent *event)
{
	Part	   *part;

	if (event->kind == CDC_KAFKA_ERROR || event->kind == CDC_KAFKA_UNAVAILABLE)
		cdc_kafka_raise(event);
	if (event->kind == CDC_KAFKA_AVAILABLE)
		return;
	part = c->sources[event->record.source];
	if (part->done)
		return;
	if (event->kind == CDC_KAFKA_RECORD)
		take_record(c, part, &event->record);
	else if (event->kind == CDC_KAFKA_OUT_OF_RANGE)
		raise_gap(c, part, CDC_GAP_EXPIRED);
	else
		finish(c, part, event->record.source);
}

static void
read_all(Copy *c)
{
	const CdcKafkaEvent *events;

	while (c->nrunning > 0)
	{
		int			n = cdc_kafka_poll(c->kafka, -1, &events);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			take_event(c, &events[i]);
		cdc_kafka_release(c->kafka);
	}
}

/* Let the append know the epochs in which the records are. */
static CdcLandingAppend *
begin_append(const Copy *c, Oid chunk)
{
	CdcLanding	into = *c->copy->landing;

	into.id = CDC_LANDING_COPY;
	into.chunk = chunk;
	return cdc_landing_append_begin(&into, c->copy->from, c->copy->npartitions,
									GetCurrentTimestamp());
}

bool
cdc_topic_copy(CdcTopicCopy *copy, Oid chunk, char **why)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(caller, "cdcsync topic copy",
											  ALLOCSET_DEFAULT_SIZES);
	Copy		c = {.copy = copy};
	Oid			serverid;
	bool		complete;

	copy->from = palloc0(sizeof(CdcLandingPosition) * Max(copy->npartitions, 1));
	MemoryContextSwitchTo(cxt);
	c.topic = cdc_reader_topic(copy->landing, &serverid);
	c.kafka = cdc_kafka_open(serverid, copy->landing->owner, 0);
	c.parts = palloc0(sizeof(Part) * Max(copy->npartitions, 1));
	c.sources = palloc(sizeof(Part *) * Max(copy->npartitions, 1));
	complete = find_parts(&c, why);
	if (complete)
	{
		c.append = begin_append(&c, chunk);
		assign(&c);
		read_all(&c);
		cdc_kafka_close(c.kafka);
		cdc_landing_append_end(c.append);
	}
	else
	{
		*why = MemoryContextStrdup(caller, *why);
		cdc_kafka_close(c.kafka);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(cxt);
	return complete;
}
