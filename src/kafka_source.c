/*-------------------------------------------------------------------------
 *
 * kafka_source.c
 *	  A consumer of Kafka as plain records: the partitions that it reads.
 *
 * To start a source anew is to take its partition from librdkafka's assignment
 * and to give it back with another offset.  Both calls return when librdkafka
 * has raised the partition's version, by which it drops what it has fetched
 * before; so what we take afterwards is of the new position.  That holds for
 * records.  What it tells about offsets that are out of range and about
 * partitions that are gone has no version: the former is recognised by its
 * offset, the latter is taken for true.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "kafka_internal.h"

/* The index's entry for a source. */
typedef struct SourceKey
{
	const char *topic;
	int32		partition;
} SourceKey;

typedef struct SourceEntry
{
	SourceKey	key;
	int			id;
} SourceEntry;

static uint32
source_hash(const void *key, Size keysize)
{
	const SourceKey *source = key;

	return hash_combine(string_hash(source->topic, strlen(source->topic) + 1),
						murmurhash32(source->partition));
}

static int
source_compare(const void *a, const void *b, Size keysize)
{
	const SourceKey *first = a;
	const SourceKey *second = b;

	return first->partition != second->partition ||
		strcmp(first->topic, second->topic) != 0;
}

/* The id of the source that reads a partition, -1 if none does. */
int
cdc_kafka_id_find(CdcKafka *kafka, const char *topic, int32 partition)
{
	SourceKey	key = {topic, partition};
	SourceEntry *entry;

	if (kafka->index == NULL)
		return -1;
	entry = hash_search(kafka->index, &key, HASH_FIND, NULL);
	return entry ? entry->id : -1;
}

static CdcKafkaReading *
get_source(CdcKafka *kafka, int id)
{
	if (id < 0 || id >= kafka->nsources || kafka->sources[id].topic == NULL)
		elog(ERROR, "Kafka consumer has no source %d", id);
	return &kafka->sources[id];
}

static void
create_index(CdcKafka *kafka)
{
	HASHCTL		ctl = {
		.keysize = sizeof(SourceKey),
		.entrysize = sizeof(SourceEntry),
		.hash = source_hash,
		.match = source_compare,
		.hcxt = kafka->source_context
	};

	kafka->index = hash_create("cdcsync Kafka sources", 64, &ctl,
							   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
							   HASH_CONTEXT);
}

/* An id that nobody has, with room for it. */
static int
take_id(CdcKafka *kafka)
{
	int			id = kafka->free_ids;

	if (id >= 0)
	{
		kafka->free_ids = kafka->sources[id].next;
		return id;
	}
	if (kafka->sources == NULL)
	{
		kafka->sources_size = 64;
		kafka->sources = MemoryContextAlloc(kafka->source_context,
											kafka->sources_size *
											sizeof(CdcKafkaReading));
	}
	if (kafka->nsources == kafka->sources_size)
	{
		kafka->sources = repalloc_huge(kafka->sources,
									   (Size) kafka->sources_size * 2 *
									   sizeof(CdcKafkaReading));
		kafka->sources_size *= 2;
	}
	kafka->sources[kafka->nsources].topic = NULL;
	return kafka->nsources++;
}

static void
set_position(CdcKafkaReading *source, int64 offset)
{
	source->position = offset;
	source->moved = true;
	source->lost = RD_KAFKA_RESP_ERR_NO_ERROR;
	source->stuck_position = offset;
	source->stuck_since = GetCurrentTimestamp();
	source->stuck_end = -1;
}

/* Make a source that does not run yet. */
static int
make_source(CdcKafka *kafka, const CdcKafkaSource *source)
{
	char	   *topic = MemoryContextStrdup(kafka->source_context, source->topic);
	SourceKey	key = {topic, source->partition};
	int			id = take_id(kafka);
	CdcKafkaReading *reading = &kafka->sources[id];
	SourceEntry *entry;
	bool		found;

	memset(reading, 0, sizeof(*reading));
	reading->next = kafka->free_ids;
	kafka->free_ids = id;
	entry = hash_search(kafka->index, &key, HASH_ENTER, &found);
	if (found)
		elog(ERROR, "partition %d of topic \"%s\" is read already",
			 source->partition, source->topic);
	kafka->free_ids = reading->next;
	entry->id = id;
	reading->topic = topic;
	reading->partition = source->partition;
	reading->next = -1;
	set_position(reading, source->offset);
	return id;
}

/* Its id can be used again once the batch has been released. */
static void
forget_source(CdcKafka *kafka, int id)
{
	CdcKafkaReading *source = get_source(kafka, id);
	SourceKey	key = {source->topic, source->partition};

	Assert(!source->running);
	hash_search(kafka->index, &key, HASH_REMOVE, NULL);
	pfree(source->topic);
	source->topic = NULL;
	source->next = kafka->freed_ids;
	kafka->freed_ids = id;
}

/* Sources as librdkafka wants them: those that run, or those that do not. */
void
cdc_kafka_sources_list(CdcKafka *kafka, const int *ids, int nsources,
					   bool running)
{
	cdc_kafka_list_free(kafka);
	kafka->list = rd_kafka_topic_partition_list_new(nsources);
	for (int i = 0; i < nsources; i++)
	{
		CdcKafkaReading *source = &kafka->sources[ids[i]];

		if (source->running == running)
			rd_kafka_topic_partition_list_add(kafka->list, source->topic,
											  source->partition)->offset =
				source->position;
	}
}

static void
check_assignment(CdcKafka *kafka, const char *what, rd_kafka_error_t *error)
{
	char		reason[CDC_KAFKA_REASON];

	cdc_kafka_list_free(kafka);
	if (error == NULL)
		return;
	strlcpy(reason, rd_kafka_error_string(error), sizeof(reason));
	rd_kafka_error_destroy(error);
	cdc_kafka_call_failed(kafka, what, reason);
}

/* Let librdkafka fetch them. */
static void
start_sources(CdcKafka *kafka, const int *ids, int nsources)
{
	cdc_kafka_sources_list(kafka, ids, nsources, false);
	if (kafka->list->cnt > 0)
		check_assignment(kafka, "assign partitions",
						 rd_kafka_incremental_assign(kafka->rk, kafka->list));
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].running = true;
}

void
cdc_kafka_sources_stop(CdcKafka *kafka, const int *ids, int nsources)
{
	cdc_kafka_sources_list(kafka, ids, nsources, true);
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].running = false;
	if (kafka->list->cnt > 0)
		check_assignment(kafka, "unassign partitions",
						 rd_kafka_incremental_unassign(kafka->rk, kafka->list));
}

/*
 * Stop sources and drop what came from them but has not been polled.  What a
 * callback tells about them is in the queue and has no version: run the
 * callbacks first.
 */
static void
stop_and_drop(CdcKafka *kafka, const int *ids, int nsources)
{
	int			kept;

	for (int i = 0; i < nsources; i++)
		(void) get_source(kafka, ids[i]);
	cdc_kafka_fetch(kafka);
	cdc_kafka_sources_stop(kafka, ids, nsources);
	kept = kafka->next_fresh;
	for (int i = kafka->next_fresh; i < kafka->nfresh; i++)
	{
		rd_kafka_message_t *message = kafka->fresh[i];
		int			id = message->rkt == NULL ? -1 :
			cdc_kafka_id_find(kafka, rd_kafka_topic_name(message->rkt),
							  message->partition);

		/* of those that were halted before as well */
		if (id >= 0 && !kafka->sources[id].running)
			rd_kafka_message_destroy(message);
		else
			kafka->fresh[kept++] = message;
	}
	kafka->nfresh = kept;
}

void
cdc_kafka_add_many(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources,
				   int *ids)
{
	volatile int made = 0;

	if (kafka->index == NULL)
		create_index(kafka);
	PG_TRY();
	{
		for (; made < nsources; made++)
			ids[made] = make_source(kafka, &sources[made]);
		start_sources(kafka, ids, nsources);
	}
	PG_CATCH();
	{
		while (made > 0)
			forget_source(kafka, ids[--made]);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
cdc_kafka_move_many(CdcKafka *kafka, const int *ids, const int64 *offsets,
					int nsources)
{
	stop_and_drop(kafka, ids, nsources);
	for (int i = 0; i < nsources; i++)
		set_position(&kafka->sources[ids[i]], offsets[i]);
	start_sources(kafka, ids, nsources);
}

void
cdc_kafka_move(CdcKafka *kafka, int source, int64 offset)
{
	cdc_kafka_move_many(kafka, &source, &offset, 1);
}

void
cdc_kafka_remove_many(CdcKafka *kafka, const int *ids, int nsources)
{
	stop_and_drop(kafka, ids, nsources);
	for (int i = 0; i < nsources; i++)
		forget_source(kafka, ids[i]);
}

void
cdc_kafka_remove(CdcKafka *kafka, int source)
{
	cdc_kafka_remove_many(kafka, &source, 1);
}

void
cdc_kafka_assign(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources)
{
	rd_kafka_resp_err_t err = rd_kafka_assign(kafka->rk, NULL);
	int		   *ids;

	if (err)
		cdc_kafka_call_failed(kafka, "unassign partitions",
							  rd_kafka_err2str(err));
	cdc_kafka_messages_free(kafka);
	cdc_kafka_release(kafka);
	kafka->index = NULL;
	kafka->sources = NULL;
	kafka->nsources = kafka->sources_size = 0;
	kafka->free_ids = kafka->freed_ids = -1;
	MemoryContextReset(kafka->source_context);

	ids = palloc(Max(nsources, 1) * sizeof(int));
	cdc_kafka_add_many(kafka, sources, nsources, ids);
	pfree(ids);
}

int64
cdc_kafka_high(CdcKafka *kafka, int source)
{
	CdcKafkaReading *reading = get_source(kafka, source);
	int64_t		low;
	int64_t		high;

	if (rd_kafka_get_watermark_offsets(kafka->rk, reading->topic,
									   reading->partition, &low, &high) != 0)
		return -1;
	return Max(high, -1);
}
