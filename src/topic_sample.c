/*-------------------------------------------------------------------------
 *
 * topic_sample.c
 *	  What the events of topics look like.
 *
 * A group of topics is read at a time: one after the other, each would wait
 * for the broker's answer to what was asked for the one before.  A partition is
 * read from its first record to the end that it had, or until enough of the
 * topic was seen.  The consumer buffers a bounded number of bytes whatever the
 * group, and a sample keeps names and types alone, so memory does not grow.
 *
 * Needs a transaction, and takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "topic_sample.h"

#define GROUP_TOPICS	32
#define TOPIC_SOURCES	8		/* partitions of a topic that are looked at */

/* A partition that is read; its index is the consumer's id of it. */
typedef struct SampleSource
{
	int			topic;			/* index in the group */
	int64		end;			/* offset to stop at */
	bool		done;
} SampleSource;

typedef struct SampleGroup
{
	CdcKafka   *kafka;
	const CdcSampling *how;
	CdcTopicSample *samples;
	int			nsamples;
	int			adding;			/* the topic whose sources are being added */
	MemoryContext record_context;
	CdcSample  *open[GROUP_TOPICS];
	CdcKafkaSource assign[GROUP_TOPICS * TOPIC_SOURCES];
	SampleSource sources[GROUP_TOPICS * TOPIC_SOURCES];
	int			nsources;
	int			unfinished;
} SampleGroup;

/* The first partitions of a topic that have records. */
static bool
add_sources(void *arg)
{
	SampleGroup *group = arg;
	CdcTopicSample *sample = &group->samples[group->adding];
	int			npartitions = cdc_kafka_partitions(group->kafka, sample->topic);
	int64	   *low;
	int64	   *high;
	int			added = 0;

	sample->exists = npartitions > 0;
	if (!sample->exists)
		return true;
	low = palloc(npartitions * sizeof(int64));
	high = palloc(npartitions * sizeof(int64));
	cdc_kafka_topic_watermarks(group->kafka, sample->topic, npartitions, low, high);
	for (int i = 0; i < npartitions && added < TOPIC_SOURCES; i++)
	{
		SampleSource *source = &group->sources[group->nsources];
		CdcKafkaSource *assign = &group->assign[group->nsources];

		if (low[i] >= high[i])
			continue;
		source->topic = group->adding;
		source->end = high[i];
		source->done = false;
		assign->topic = sample->topic;
		assign->partition = i;
		assign->offset = low[i];
		group->nsources++;
		added++;
	}
	pfree(low);
	pfree(high);
	return true;
}

/* remove: the consumer may have more of it. */
static void
finish_source(SampleGroup *group, int source, bool remove)
{
	if (group->sources[source].done)
		return;
	group->sources[source].done = true;
	group->unfinished--;
	if (remove)
		cdc_kafka_remove(group->kafka, source);
}

static void
finish_topic(SampleGroup *group, int topic)
{
	for (int i = 0; i < group->nsources; i++)
		if (group->sources[i].topic == topic)
			finish_source(group, i, true);
}

static ErrorData *
error_of(const CdcKafkaError *error)
{
	ErrorData  *edata = palloc0(sizeof(ErrorData));

	edata->elevel = ERROR;
	edata->sqlerrcode = error->sqlstate;
	edata->message = pstrdup(error->message);
	edata->detail = error->detail ? pstrdup(error->detail) : NULL;
	edata->hint = error->hint ? pstrdup(error->hint) : NULL;
	edata->assoc_context = CurrentMemoryContext;
	return edata;
}

static void
take_record(SampleGroup *group, const CdcRecord *record)
{
	SampleSource *source = &group->sources[record->source];
	MemoryContext old;
	bool		more;

	if (record->offset >= source->end)
	{
		finish_source(group, record->source, true);
		return;
	}
	old = MemoryContextSwitchTo(group->record_context);
	more = cdc_sample_add(group->open[source->topic], record->key, record->value);
	MemoryContextSwitchTo(old);
	MemoryContextReset(group->record_context);
	if (!more)
		finish_topic(group, source->topic);
	else if (record->offset == source->end - 1)
		finish_source(group, record->source, true);
}

static void
take_event(SampleGroup *group, const CdcKafkaEvent *event)
{
	int			source = event->record.source;

	if (event->kind == CDC_KAFKA_UNAVAILABLE)
		cdc_kafka_raise(event);
	if (event->kind == CDC_KAFKA_AVAILABLE || group->sources[source].done)
		return;
	switch (event->kind)
	{
		case CDC_KAFKA_RECORD:
			take_record(group, &event->record);
			break;
		case CDC_KAFKA_ERROR:
			group->samples[group->sources[source].topic].error = error_of(event->error);
			finish_topic(group, group->sources[source].topic);
			break;
		default:				/* the end, or it has expired meanwhile */
			finish_source(group, source, false);
			break;
	}
}

/* What is no fault of a topic: a cancel, and brokers that are away. */
static bool
is_topics_fault(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) !=
		ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) &&
		edata->sqlerrcode != ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION &&
		edata->sqlerrcode != ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
}

static void
sample_group(SampleGroup *group)
{
	group->nsources = 0;
	for (int i = 0; i < group->nsamples; i++)
	{
		CHECK_FOR_INTERRUPTS();
		group->adding = i;
		(void) cdc_attempt(add_sources, group, is_topics_fault,
						   &group->samples[i].error);
		group->open[i] = cdc_sample_begin(group->how);
	}
	group->unfinished = group->nsources;
	cdc_kafka_assign(group->kafka, group->assign, group->nsources);
	while (group->unfinished > 0)
	{
		const CdcKafkaEvent *events;
		int			nevents = cdc_kafka_poll(group->kafka, -1, &events);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < nevents; i++)
			take_event(group, &events[i]);
		cdc_kafka_release(group->kafka);
	}
	cdc_kafka_assign(group->kafka, NULL, 0);
	for (int i = 0; i < group->nsamples; i++)
		group->samples[i].inferred = cdc_sample_end(group->open[i]);
}

void
cdc_topics_sample(CdcKafka *kafka, CdcTopicSample *samples, int nsamples,
				  const CdcSampling *how)
{
	SampleGroup *group = palloc0(sizeof(SampleGroup));

	group->kafka = kafka;
	group->how = how;
	group->record_context = AllocSetContextCreate(CurrentMemoryContext,
												  "cdcsync sample record",
												  ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nsamples; i += GROUP_TOPICS)
	{
		group->samples = &samples[i];
		group->nsamples = Min(GROUP_TOPICS, nsamples - i);
		sample_group(group);
	}
	MemoryContextDelete(group->record_context);
	pfree(group);
}

CdcInferred *
cdc_topic_infer(const char *topic, Oid serverid, Oid userid,
				const CdcSampling *how)
{
	CdcTopicSample sample = {.topic = topic};
	CdcKafka   *kafka = cdc_kafka_open(serverid, userid, 0);

	cdc_topics_sample(kafka, &sample, 1, how);
	cdc_kafka_close(kafka);
	if (sample.error)
		ThrowErrorData(sample.error);
	if (!sample.exists)
		ereport(NOTICE,
				(errmsg("topic \"%s\" does not exist yet on Kafka server \"%s\"",
						topic, GetForeignServer(serverid)->servername),
				 errdetail("The pipeline waits for it."),
				 errhint("If it is there, the user of the server may not be allowed to see it.")));
	return sample.inferred;
}
