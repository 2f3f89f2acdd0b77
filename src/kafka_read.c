/*-------------------------------------------------------------------------
 *
 * kafka_read.c
 *	  A consumer of Kafka as plain records: sources and events.
 *
 * A message goes from librdkafka's queue to "fresh", and from there becomes an
 * event of the batch, which owns it from then on.  An error in between (there
 * is none but lack of memory) leaves it in "fresh" for the next poll.
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

#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "kafka_internal.h"

#define POLL_FALLBACK		1000	/* ms; look again even if nothing woke us */
#define BATCH_SIZE			1024	/* events, to begin with */
#define BATCH_SIZE_KEPT		65536	/* more than that is given back */
#define MESSAGE_OVERHEAD	512 /* bytes that a message takes beside its own */

#define KICK_RECORDS		16384	/* the queue is nearly empty below this */
#define KICK_SOURCES		64
#define KICK_TIMEOUT		20	/* ms */

#define PROBE_INTERVAL		1000	/* ms */
#define PROBE_AFTER_LASTING 15000	/* ms without a word from the cluster */
#define LOG_INTERVAL		60000	/* ms */

#define STALL_SLICE			1024	/* sources to look at in one scan */
#define CALM_PERIODS		2
#define CALM_PERIOD			1000	/* ms; longer than a broker waits for data */
#define CALM_PERIOD_LASTING 2000

static void fetch(CdcKafka *kafka);

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

/* ----------
 * Sources
 * ----------
 */
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
static int
find_id(CdcKafka *kafka, const char *topic, int32 partition)
{
	SourceKey	key = {topic, partition};
	SourceEntry *entry;

	if (kafka->index == NULL)
		return -1;
	entry = hash_search(kafka->index, &key, HASH_FIND, NULL);
	return entry ? entry->id : -1;
}

CdcKafkaReading *
cdc_kafka_source_find(CdcKafka *kafka, const char *topic, int32 partition)
{
	int			id = find_id(kafka, topic, partition);

	return id < 0 ? NULL : &kafka->sources[id];
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
static void
list_sources(CdcKafka *kafka, const int *ids, int nsources, bool running)
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
	list_sources(kafka, ids, nsources, false);
	if (kafka->list->cnt > 0)
		check_assignment(kafka, "assign partitions",
						 rd_kafka_incremental_assign(kafka->rk, kafka->list));
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].running = true;
}

static void
stop_sources(CdcKafka *kafka, const int *ids, int nsources)
{
	list_sources(kafka, ids, nsources, true);
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].running = false;
	if (kafka->list->cnt > 0)
		check_assignment(kafka, "unassign partitions",
						 rd_kafka_incremental_unassign(kafka->rk, kafka->list));
}

/*
 * Stop sources and drop what came from them but has not been polled: messages,
 * and events that an error kept from the caller (whose messages are freed with
 * the batch).  What a callback tells about them is in the queue and has no
 * version: run the callbacks first.
 */
static void
stop_and_drop(CdcKafka *kafka, const int *ids, int nsources)
{
	int			kept;
	int			kept_events = kafka->returned;

	for (int i = 0; i < nsources; i++)
		(void) get_source(kafka, ids[i]);
	fetch(kafka);
	kept = kafka->next_fresh;
	stop_sources(kafka, ids, nsources);
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].dropping = true;
	for (int i = kafka->next_fresh; i < kafka->nfresh; i++)
	{
		rd_kafka_message_t *message = kafka->fresh[i];
		CdcKafkaReading *source = message->rkt == NULL ? NULL :
			cdc_kafka_source_find(kafka, rd_kafka_topic_name(message->rkt),
								  message->partition);

		if (source && source->dropping)
			rd_kafka_message_destroy(message);
		else
			kafka->fresh[kept++] = message;
	}
	kafka->nfresh = kept;
	for (int i = kafka->returned; i < kafka->nevents; i++)
	{
		int			id = kafka->events[i].record.source;

		if (id < 0 || !kafka->sources[id].dropping)
			kafka->events[kept_events++] = kafka->events[i];
	}
	kafka->nevents = kept_events;
	for (int i = 0; i < nsources; i++)
		kafka->sources[ids[i]].dropping = false;
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

int
cdc_kafka_add(CdcKafka *kafka, const CdcKafkaSource *source)
{
	int			id;

	cdc_kafka_add_many(kafka, source, 1, &id);
	return id;
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

/* ----------
 * The batch
 * ----------
 */

/* All messages that we hold: whether they are events already or not. */
void
cdc_kafka_messages_free(CdcKafka *kafka)
{
	while (kafka->nmessages > 0)
		rd_kafka_message_destroy(kafka->messages[--kafka->nmessages]);
	while (kafka->nfresh > kafka->next_fresh)
		rd_kafka_message_destroy(kafka->fresh[--kafka->nfresh]);
	kafka->nfresh = kafka->next_fresh = 0;
}

static void
resize_batch(CdcKafka *kafka, int size)
{
	if (kafka->events == NULL)
	{
		kafka->messages = MemoryContextAlloc(kafka->context, sizeof(void *));
		kafka->events = MemoryContextAlloc(kafka->context,
										   sizeof(CdcKafkaEvent));
	}
	kafka->messages = repalloc_huge(kafka->messages, size * sizeof(void *));
	kafka->events = repalloc_huge(kafka->events, size * sizeof(CdcKafkaEvent));
	kafka->batch_size = size;
}

/* A blank event at the end of the batch; it counts when finish_event()ed. */
static CdcKafkaEvent *
begin_event(CdcKafka *kafka, CdcKafkaEventKind kind, int id)
{
	CdcKafkaEvent *event;

	if (kafka->nevents == kafka->batch_size)
		resize_batch(kafka, Max(kafka->batch_size * 2, BATCH_SIZE));
	event = &kafka->events[kafka->nevents];
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->record.source = id;
	if (id >= 0)
	{
		event->record.partition = kafka->sources[id].partition;
		event->record.offset = kafka->sources[id].position;
	}
	return event;
}

static void
finish_event(CdcKafka *kafka)
{
	kafka->nevents++;
	kafka->batch_bytes += sizeof(CdcKafkaEvent);
}

Size
cdc_kafka_batch_bytes(CdcKafka *kafka)
{
	return kafka->batch_bytes;
}

void
cdc_kafka_release(CdcKafka *kafka)
{
	/* what the caller has not seen yet (an error kept it) is gone as well */
	while (kafka->nmessages > 0)
		rd_kafka_message_destroy(kafka->messages[--kafka->nmessages]);
	kafka->nevents = kafka->returned = 0;
	kafka->batch_bytes = 0;
	MemoryContextReset(kafka->batch_context);
	if (kafka->batch_size > BATCH_SIZE_KEPT)
		resize_batch(kafka, BATCH_SIZE);
	while (kafka->freed_ids >= 0)
	{
		int			id = kafka->freed_ids;

		kafka->freed_ids = kafka->sources[id].next;
		kafka->sources[id].next = kafka->free_ids;
		kafka->free_ids = id;
	}
}

/* ----------
 * Events of partitions
 * ----------
 */

/* The partition gives nothing any more; do not fetch it for nothing. */
static void
halt(CdcKafka *kafka, int id)
{
	stop_sources(kafka, &id, 1);
}

/* An event with an error; texts are copied.  The source is halted. */
static void
add_error(CdcKafka *kafka, int id, int sqlstate, const char *detail,
		  const char *hint)
{
	MemoryContext old_context = MemoryContextSwitchTo(kafka->batch_context);
	CdcKafkaEvent *event = begin_event(kafka, CDC_KAFKA_ERROR, id);
	CdcKafkaError *error = palloc0(sizeof(CdcKafkaError));

	error->sqlstate = sqlstate;
	error->message = psprintf(_("could not read partition %d of topic \"%s\" at offset %lld"),
							  event->record.partition,
							  kafka->sources[id].topic,
							  (long long) event->record.offset);
	error->detail = pstrdup(detail);
	error->hint = hint;
	event->error = error;
	MemoryContextSwitchTo(old_context);
	finish_event(kafka);
	halt(kafka, id);
}

static void
put_bytes(char **p, const void *data, size_t len)
{
	memcpy(*p, data, len);
	*p += len;
}

/*
 * The headers of a message in the flat form of CdcRecord.  False if there are
 * too many bytes.
 */
static bool
flatten_headers(CdcKafka *kafka, const rd_kafka_message_t *message,
				CdcBytes *result)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t		value_len;
	size_t		total = 0;
	char	   *p;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value,
											   &value_len) == 0; i++)
		total += 2 * sizeof(uint32) + strlen(name) + (value ? value_len : 0);
	if (total == 0)
		return true;
	if (!AllocSizeIsValid(total))
		return false;
	p = MemoryContextAlloc(kafka->batch_context, total);
	result->data = p;
	result->len = total;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value,
											   &value_len) == 0; i++)
	{
		uint32		name_len = strlen(name);
		int32		len = value ? (int32) value_len : -1;

		put_bytes(&p, &name_len, sizeof(name_len));
		put_bytes(&p, name, name_len);
		put_bytes(&p, &len, sizeof(len));
		if (value)
			put_bytes(&p, value, value_len);
	}
	return true;
}

static void
fill_record(CdcRecord *record, const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;

	record->offset = message->offset;
	record->timestamp = rd_kafka_message_timestamp(message, &type);
	record->timestamp_type =
		type == RD_KAFKA_TIMESTAMP_CREATE_TIME ? 'C' :
		type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? 'L' : 'U';
	if (record->timestamp_type == 'U')
		record->timestamp = -1;
	record->key.data = message->key;
	record->key.len = message->key ? message->key_len : 0;
	record->value.data = message->payload;
	record->value.len = message->payload ? message->len : 0;
}

/* Returns whether the batch has taken the message. */
static bool
take_record(CdcKafka *kafka, int id, rd_kafka_message_t *message)
{
	CdcKafkaReading *source = &kafka->sources[id];
	CdcKafkaEvent *event;

	if (message->offset < source->position)
		return false;
	event = begin_event(kafka, CDC_KAFKA_RECORD, id);
	if (!flatten_headers(kafka, message, &event->record.headers))
	{
		source->position = message->offset;
		add_error(kafka, id, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
				  _("The headers of the record are too big."), NULL);
		return false;
	}
	fill_record(&event->record, message);
	kafka->batch_bytes += message->len + message->key_len +
		event->record.headers.len + MESSAGE_OVERHEAD;
	kafka->messages[kafka->nmessages++] = message;
	source->position = message->offset + 1;
	source->moved = false;
	finish_event(kafka);
	return true;
}

/* A message that carries no record. */
static void
take_error(CdcKafka *kafka, int id, const rd_kafka_message_t *message)
{
	CdcKafkaReading *source = &kafka->sources[id];

	switch (message->err)
	{
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			source->position = Max(message->offset, source->position);
			source->moved = false;
			(void) begin_event(kafka, CDC_KAFKA_EOF, id);
			finish_event(kafka);
			break;
		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
			if (source->moved && message->offset >= 0 &&
				message->offset != source->position)
				break;			/* of the position before the last move */
			(void) begin_event(kafka, CDC_KAFKA_OUT_OF_RANGE, id);
			finish_event(kafka);
			halt(kafka, id);
			break;
		default:
			source->position = Max(message->offset, source->position);
			add_error(kafka, id, cdc_kafka_sqlstate(message->err),
					  rd_kafka_message_errstr(message), NULL);
			break;
	}
}

/*
 * An error that is not about a partition.  Only one that ends the consumer
 * matters: the rest is about the group, which we do not use, or about
 * connections, which librdkafka makes again.
 */
static void
take_global_error(CdcKafka *kafka, const rd_kafka_message_t *message)
{
	if (message->err != RD_KAFKA_RESP_ERR__FATAL)
	{
		cdc_kafka_reason_store(kafka, message->err,
							   rd_kafka_message_errstr(message));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("could not read from Kafka server \"%s\"", kafka->server),
			 errdetail_internal("%s", rd_kafka_message_errstr(message))));
}

/* Partitions that a callback was told are gone. */
static void
report_lost(CdcKafka *kafka)
{
	if (!kafka->any_lost)
		return;
	for (int i = 0; i < kafka->nsources; i++)
	{
		CdcKafkaReading *source = &kafka->sources[i];

		if (source->topic == NULL || source->lost == RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		if (source->running)
			add_error(kafka, i, cdc_kafka_sqlstate(source->lost),
					  rd_kafka_err2str(source->lost), NULL);
		source->lost = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	kafka->any_lost = false;
}

/* Turn the fresh messages into events. */
static void
translate(CdcKafka *kafka)
{
	const rd_kafka_topic_t *topic = NULL;
	int32		partition = -1;
	int			id = -1;

	for (; kafka->next_fresh < kafka->nfresh; kafka->next_fresh++)
	{
		rd_kafka_message_t *message = kafka->fresh[kafka->next_fresh];

		if (message->rkt == NULL || message->partition < 0)
		{
			take_global_error(kafka, message);
			rd_kafka_message_destroy(message);
			continue;
		}

		/* mostly, as they come in runs */
		if (message->rkt != topic || message->partition != partition)
		{
			topic = message->rkt;
			partition = message->partition;
			id = find_id(kafka, rd_kafka_topic_name(topic), partition);
		}
		if (id >= 0 && kafka->sources[id].running && !message->err &&
			take_record(kafka, id, message))
			continue;
		if (id >= 0 && kafka->sources[id].running && message->err)
			take_error(kafka, id, message);
		rd_kafka_message_destroy(message);
	}
	kafka->next_fresh = kafka->nfresh = 0;
	report_lost(kafka);
}

/* ----------
 * Taking messages
 * ----------
 */

/* Empty the pipe: before polling, so that no wake-up is lost. */
static void
drain_pipe(CdcKafka *kafka)
{
	char		buffer[64];

	while (read(kafka->pipe[0], buffer, sizeof(buffer)) == sizeof(buffer))
		;
}

/* Make the pipe readable; if it is full it is that already. */
static void
wake_up(CdcKafka *kafka)
{
	ssize_t		rc = write(kafka->pipe[1], "", 1);

	(void) rc;
}

/*
 * A librdkafka without fetch.queue.backoff.ms stops fetching when its queue is
 * full, and looks again when a broker's thread has anything to do, or after a
 * second: that we have emptied the queue it does not notice.  So give the
 * threads something to do, by asking for the ends of some partitions, as soon
 * as the queue is nearly empty and may have been full since we did it last.  It
 * costs a round trip; the answer does not matter.
 */
static void
kick(CdcKafka *kafka)
{
	rd_kafka_topic_partition_list_t *list;

	if (!kafka->needs_kick || kafka->unkicked < CDC_KAFKA_QUEUE / 2 ||
		rd_kafka_queue_length(kafka->queue) > KICK_RECORDS)
		return;
	kafka->unkicked = 0;
	list = rd_kafka_topic_partition_list_new(KICK_SOURCES);
	for (int i = 0; i < kafka->nsources && list->cnt < KICK_SOURCES; i++)
	{
		CdcKafkaReading *source;

		kafka->kick_cursor = (kafka->kick_cursor + 1) % kafka->nsources;
		source = &kafka->sources[kafka->kick_cursor];
		if (source->topic && source->running)
			rd_kafka_topic_partition_list_add(list, source->topic,
											  source->partition)->offset = RD_KAFKA_OFFSET_END;
	}
	if (list->cnt > 0)
		(void) rd_kafka_offsets_for_times(kafka->rk, list, KICK_TIMEOUT);
	rd_kafka_topic_partition_list_destroy(list);
}

/*
 * A calm period begins and ends with an empty queue, and so little has come in
 * it that no answer of a broker can have been full: there was room in them for
 * every partition that has anything to read.
 */
static void
count_calm(CdcKafka *kafka, TimestampTz now)
{
	if (kafka->calm_start != 0 &&
		!TimestampDifferenceExceeds(kafka->calm_start, now, kafka->lasting ?
									CALM_PERIOD_LASTING : CALM_PERIOD))
		return;
	if (kafka->calm_start != 0 && kafka->calm_bytes < CDC_KAFKA_QUEUE / 2)
		kafka->calm++;
	kafka->calm_start = now;
	kafka->calm_bytes = 0;
}

/* Take what has come, unless there is something still; runs the callbacks. */
static void
fetch(CdcKafka *kafka)
{
	ssize_t		n;

	if (kafka->next_fresh < kafka->nfresh)
		return;
	drain_pipe(kafka);
	kafka->next_fresh = 0;
	n = rd_kafka_consume_batch_queue(kafka->queue, 0, kafka->fresh,
									 CDC_KAFKA_FRESH);
	kafka->nfresh = Max(n, 0);

	/* There may be more: who waits for the socket must not sleep on it. */
	if (kafka->nfresh == CDC_KAFKA_FRESH)
		wake_up(kafka);
	for (int i = 0; i < kafka->nfresh; i++)
	{
		Size		size = kafka->fresh[i]->len + kafka->fresh[i]->key_len;

		kafka->unkicked += size;
		kafka->calm_bytes += size + MESSAGE_OVERHEAD;
	}
}

void
cdc_kafka_callbacks_serve(CdcKafka *kafka)
{
	fetch(kafka);
}

/* ----------
 * Watching
 * ----------
 */
static void
log_trouble(CdcKafka *kafka, TimestampTz now)
{
	if (!kafka->lasting || !kafka->log_due || now < kafka->next_log)
		return;
	kafka->log_due = false;
	kafka->next_log = TimestampTzPlusMilliseconds(now, LOG_INTERVAL);
	ereport(LOG,
			(errmsg("trouble with Kafka server \"%s\"", kafka->server),
			 errdetail_internal("%s", kafka->reason)));
}

static void
report_away(CdcKafka *kafka)
{
	MemoryContext old_context = MemoryContextSwitchTo(kafka->batch_context);
	CdcKafkaEvent *event = begin_event(kafka, CDC_KAFKA_UNAVAILABLE, -1);
	CdcKafkaError *error = palloc0(sizeof(CdcKafkaError));

	cdc_kafka_unavailable_fill(kafka, error);
	event->error = error;
	MemoryContextSwitchTo(old_context);
	kafka->away = true;
	finish_event(kafka);
}

/* A broker has answered. */
static void
hear(CdcKafka *kafka, TimestampTz now)
{
	kafka->last_answer = now;
	kafka->all_down = false;
	kafka->reason[0] = '\0';
	kafka->log_due = false;
	kafka->probe_slice = CDC_KAFKA_FIRST_SLICE;
	if (kafka->failing_since == 0)
		return;
	kafka->failing_since = 0;

	/* what nobody could read meanwhile was not stuck */
	for (int i = 0; i < kafka->nsources; i++)
		kafka->sources[i].stuck_since = now;
	if (!kafka->away)
		return;
	(void) begin_event(kafka, CDC_KAFKA_AVAILABLE, -1);
	kafka->away = false;
	finish_event(kafka);
}

/*
 * Nothing has come: does the cluster answer at all?  It may hang without any
 * sign, and may have come back without anything new to read; so ask.
 */
static void
check_cluster(CdcKafka *kafka, TimestampTz now)
{
	int			patience = kafka->connect_timeout / 2;
	const struct rd_kafka_metadata *metadata;

	if (kafka->lasting)
		patience = Max(patience, PROBE_AFTER_LASTING);
	if (!kafka->all_down && kafka->failing_since == 0 &&
		!TimestampDifferenceExceeds(kafka->last_answer, now, patience))
		return;
	if (now < kafka->next_probe)
		return;
	if (rd_kafka_metadata(kafka->rk, false, NULL, &metadata,
						  kafka->probe_slice) == 0)
	{
		rd_kafka_metadata_destroy(metadata);
		hear(kafka, GetCurrentTimestamp());
		return;
	}
	if (kafka->failing_since == 0)
		kafka->failing_since = now;
	now = GetCurrentTimestamp();
	kafka->next_probe = TimestampTzPlusMilliseconds(now, PROBE_INTERVAL);
	kafka->probe_slice = Min(kafka->probe_slice * 2, CDC_KAFKA_LONGEST_SLICE);
	if (!kafka->away &&
		TimestampDifferenceExceeds(kafka->failing_since, now,
								   kafka->connect_timeout))
		report_away(kafka);
}

/*
 * The watchdog.  A malformed record in an otherwise valid batch stalls its
 * partition without any sign.  So look at every source now and then: one that
 * has not moved for half of stall_timeout is a suspect, whose end is asked for
 * (what a broker told with the data is not enough: an open transaction may end
 * below); if it has still not moved when the time is over, and had the chance
 * to (see count_calm(); behind a long queue it has not), it is stuck.
 */
typedef enum Verdict
{
	MOVING,
	SUSPECT,
	STUCK
} Verdict;

static Verdict
look_at_source(CdcKafka *kafka, int id, TimestampTz now)
{
	CdcKafkaReading *source = &kafka->sources[id];
	int64		high;

	if (source->topic == NULL || !source->running)
		return MOVING;
	high = cdc_kafka_high(kafka, id);
	if (source->position != source->stuck_position ||
		(high >= 0 && high <= source->position))
	{
		source->stuck_position = source->position;
		source->stuck_since = now;
		source->stuck_end = -1;
		return MOVING;
	}
	if (source->stuck_end < 0)
		return TimestampDifferenceExceeds(source->stuck_since, now,
										  kafka->stall_timeout / 2) ?
			SUSPECT : MOVING;
	return kafka->calm - source->stuck_calm >= CALM_PERIODS &&
		TimestampDifferenceExceeds(source->stuck_since, now,
								   kafka->stall_timeout) ? STUCK : MOVING;
}

static void
report_stuck(CdcKafka *kafka, int id)
{
	char	   *detail;

	detail = psprintf(_("The partition goes on to offset %lld, but nothing has come for %d s."),
					  (long long) kafka->sources[id].stuck_end,
					  kafka->stall_timeout / 1000);
	add_error(kafka, id, ERRCODE_DATA_CORRUPTED, detail,
			  _("The record may be malformed. The time to wait is the server's option \"stall_timeout\"."));
	pfree(detail);
}

/* The answer for a suspect. */
static void
take_end(CdcKafka *kafka, int id, rd_kafka_resp_err_t err, int64 end,
		 TimestampTz now)
{
	CdcKafkaReading *source = &kafka->sources[id];

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR && end > source->position)
	{
		source->stuck_end = end;
		source->stuck_calm = kafka->calm;
	}
	else if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		source->stuck_since = now;
	else if (cdc_kafka_is_permanent(err) ||
			 (err != RD_KAFKA_RESP_ERR__TIMED_OUT &&
			  err != RD_KAFKA_RESP_ERR__TRANSPORT &&
			  TimestampDifferenceExceeds(source->stuck_since, now,
										 2 * kafka->stall_timeout)))
		add_error(kafka, id, cdc_kafka_sqlstate(err), rd_kafka_err2str(err),
				  NULL);
}

/*
 * Ask for the ends of the suspects.  A partition without a leader spoils the
 * request for all, so the next one is smaller, until it is alone.
 */
static void
ask_for_ends(CdcKafka *kafka, const int *ids, int n, TimestampTz now)
{
	int64	   *ends = palloc(n * sizeof(int64));
	rd_kafka_resp_err_t *errs = palloc(n * sizeof(rd_kafka_resp_err_t));
	rd_kafka_resp_err_t err;

	list_sources(kafka, ids, n, true);
	for (int i = 0; i < n; i++)
		kafka->list->elems[i].offset = RD_KAFKA_OFFSET_END;
	err = rd_kafka_offsets_for_times(kafka->rk, kafka->list,
									 CDC_KAFKA_LONGEST_SLICE);
	for (int i = 0; i < n; i++)
	{
		ends[i] = kafka->list->elems[i].offset;
		errs[i] = err ? err : kafka->list->elems[i].err;
	}
	cdc_kafka_list_free(kafka);

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		kafka->ask_limit = Min(n * 2, STALL_SLICE);
	else
		kafka->ask_limit = Max(n / 2, 1);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR || n == 1)
		for (int i = 0; i < n; i++)
			take_end(kafka, ids[i], errs[i], ends[i], now);
	pfree(ends);
	pfree(errs);
}

static void
check_stalls(CdcKafka *kafka, TimestampTz now)
{
	int			n = Min(kafka->nsources, STALL_SLICE);
	int		   *suspects;
	int			nsuspects = 0;

	if (n == 0 || kafka->failing_since != 0 || now < kafka->next_scan)
		return;
	kafka->next_scan = TimestampTzPlusMilliseconds(now,
												   kafka->stall_timeout / 4);
	suspects = palloc(n * sizeof(int));
	for (int i = 0; i < n && nsuspects < Max(kafka->ask_limit, 1); i++)
	{
		int			id = kafka->scan_cursor++ % kafka->nsources;

		kafka->scan_cursor %= kafka->nsources;
		switch (look_at_source(kafka, id, now))
		{
			case MOVING:
				break;
			case SUSPECT:
				suspects[nsuspects++] = id;
				break;
			case STUCK:
				report_stuck(kafka, id);
				break;
		}
	}
	if (nsuspects > 0)
		ask_for_ends(kafka, suspects, nsuspects, now);
	pfree(suspects);
}

/* ----------
 * Polling
 * ----------
 */
static void
look_around(CdcKafka *kafka)
{
	TimestampTz now;
	bool		came;

	fetch(kafka);
	came = kafka->nfresh > 0;
	now = GetCurrentTimestamp();
	if (kafka->nfresh < CDC_KAFKA_FRESH)
		count_calm(kafka, now);
	log_trouble(kafka, now);
	if (came)
		hear(kafka, now);
	translate(kafka);
	if (came)
		kick(kafka);
	else
		check_cluster(kafka, now);
	check_stalls(kafka, now);
}

/* Returns whether the latch was set. */
static bool
wait_for_more(CdcKafka *kafka, long timeout)
{
	int			rc = WaitLatchOrSocket(MyLatch,
									   WL_LATCH_SET | WL_SOCKET_READABLE |
									   WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
									   kafka->pipe[0],
									   Min(timeout, POLL_FALLBACK),
									   PG_WAIT_EXTENSION);

	if (rc & WL_LATCH_SET)
		ResetLatch(MyLatch);
	return (rc & WL_LATCH_SET) != 0;
}

int
cdc_kafka_poll(CdcKafka *kafka, int timeout, const CdcKafkaEvent **events)
{
	TimestampTz start = timeout > 0 ? GetCurrentTimestamp() : 0;
	bool		latched = kafka->latched;

	kafka->latched = false;
	for (;;)
	{
		long		left = timeout < 0 ? POLL_FALLBACK : timeout;

		CHECK_FOR_INTERRUPTS();
		look_around(kafka);
		if (timeout > 0)
			left -= TimestampDifferenceMilliseconds(start,
													GetCurrentTimestamp());
		if (kafka->nevents > kafka->returned || latched || left <= 0)
			break;
		latched = wait_for_more(kafka, left);
	}
	kafka->returned = kafka->nevents;
	*events = kafka->events;
	return kafka->nevents;
}
