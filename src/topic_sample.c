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

/* A partition that is read. */
typedef struct SampleSource
{
	int			topic;			/* index in the group */
	int64		end;			/* offset to stop at */
	bool		done;
} SampleSource;

typedef struct SampleGroup
{
	CdcKafka   *kafka;
	CdcTopicSample *samples;
	int			nsamples;
	MemoryContext record_context;
	CdcSample  *open[GROUP_TOPICS];
	CdcKafkaSource assign[GROUP_TOPICS * TOPIC_SOURCES];
	SampleSource sources[GROUP_TOPICS * TOPIC_SOURCES];
	int			nsources;
	int			unfinished;
} SampleGroup;

/* The first partitions of a topic that have records. */
static void
add_sources(SampleGroup *group, int topic)
{
	CdcTopicSample *sample = &group->samples[topic];
	int			npartitions = cdc_kafka_partitions(group->kafka, sample->topic);
	int64	   *low;
	int64	   *high;
	int			added = 0;

	sample->exists = npartitions > 0;
	if (!sample->exists)
		return;
	low = palloc(npartitions * sizeof(int64));
	high = palloc(npartitions * sizeof(int64));
	cdc_kafka_topic_watermarks(group->kafka, sample->topic, npartitions, low, high);
	for (int i = 0; i < npartitions && added < TOPIC_SOURCES; i++)
	{
		SampleSource *source = &group->sources[group->nsources];
		CdcKafkaSource *assign = &group->assign[group->nsources];

		if (low[i] >= high[i])
			continue;
		source->topic = topic;
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
}

static void
finish_source(SampleGroup *group, int source)
{
	if (group->sources[source].done)
		return;
	group->sources[source].done = true;
	group->unfinished--;
	cdc_kafka_unassign(group->kafka, source);
}

static void
take_event(SampleGroup *group, const CdcKafkaEvent *event)
{
	const CdcRecord *record = &event->record;
	SampleSource *source = &group->sources[record->source];
	MemoryContext old;
	bool		more;

	if (source->done)
		return;
	if (event->kind != CDC_KAFKA_RECORD || record->offset >= source->end)
	{
		finish_source(group, record->source);
		return;
	}
	old = MemoryContextSwitchTo(group->record_context);
	more = cdc_sample_add(group->open[source->topic], record->key, record->value);
	MemoryContextSwitchTo(old);
	MemoryContextReset(group->record_context);
	if (record->offset >= source->end - 1)
		finish_source(group, record->source);
	if (more)
		return;
	for (int i = 0; i < group->nsources; i++)
		if (group->sources[i].topic == source->topic)
			finish_source(group, i);
}

static bool
sample_group(void *arg)
{
	SampleGroup *group = arg;

	group->nsources = 0;
	for (int i = 0; i < group->nsamples; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_sources(group, i);
		group->open[i] = cdc_sample_begin();
	}
	group->unfinished = group->nsources;
	cdc_kafka_assign(group->kafka, group->assign, group->nsources);
	while (group->unfinished > 0)
	{
		const CdcKafkaEvent *events;
		int			nevents = cdc_kafka_poll(group->kafka, -1, &events);

		for (int i = 0; i < nevents; i++)
			take_event(group, &events[i]);
	}
	cdc_kafka_assign(group->kafka, NULL, 0);
	for (int i = 0; i < group->nsamples; i++)
		group->samples[i].inferred = cdc_sample_end(group->open[i]);
	return true;
}

/* Everything but what the user wants, and what would fail for all alike. */
static bool
is_topics_fault(const ErrorData *edata)
{
	int			category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	return category != ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) &&
		edata->sqlerrcode != ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
}

/*
 * Sample topics together.  If that fails, one of them is at fault, and only
 * alone does it show which.
 */
static void
sample_topics(SampleGroup *group, CdcTopicSample *samples, int nsamples)
{
	ErrorData  *error;

	group->samples = samples;
	group->nsamples = nsamples;
	if (cdc_attempt(sample_group, group, is_topics_fault, &error))
		return;
	if (nsamples == 1)
		samples[0].error = error;
	else
		for (int i = 0; i < nsamples; i++)
			sample_topics(group, &samples[i], 1);
}

void
cdc_topics_sample(CdcKafka *kafka, CdcTopicSample *samples, int nsamples)
{
	SampleGroup *group = palloc0(sizeof(SampleGroup));

	group->kafka = kafka;
	group->record_context = AllocSetContextCreate(CurrentMemoryContext,
												  "cdcsync sample record",
												  ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nsamples; i += GROUP_TOPICS)
		sample_topics(group, &samples[i], Min(GROUP_TOPICS, nsamples - i));
	MemoryContextDelete(group->record_context);
	pfree(group);
}

CdcInferred *
cdc_topic_infer(const char *topic, Oid serverid, Oid userid)
{
	CdcTopicSample sample = {.topic = topic};
	CdcKafka   *kafka = cdc_kafka_open(serverid, userid);

	cdc_topics_sample(kafka, &sample, 1);
	cdc_kafka_close(kafka);
	if (sample.error)
		ReThrowError(sample.error);
	if (!sample.exists)
		ereport(NOTICE,
				(errmsg("topic \"%s\" does not exist yet on Kafka server \"%s\"",
						topic, GetForeignServer(serverid)->servername),
				 errdetail("The pipeline waits for it."),
				 errhint("If it is there, the user of the server may not be allowed to see it.")));
	return sample.inferred;
}
