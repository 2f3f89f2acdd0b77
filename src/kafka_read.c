/*-------------------------------------------------------------------------
 *
 * kafka_read.c
 *	  A consumer of Kafka as plain records: events.
 *
 * A message goes from librdkafka's queue to "fresh", and from there becomes an
 * event of the batch, which owns it from then on.  An error in between (for
 * lack of memory) leaves it in "fresh" for the next poll.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "kafka_internal.h"

#define POLL_FALLBACK		1000	/* ms; look again even if nothing woke us */
#define BATCH_SIZE			1024	/* events, to begin with */
#define BATCH_SIZE_KEPT		65536	/* more than that is given back */
#define FLAT_SIZE_KEPT		((Size) 64 * 1024)	/* .. and more than that */

#define PREFETCH			4		/* messages ahead */
#define PREFETCH_LINES		4		/* of memory, as Debezium's headers take */

#define KICK_RECORDS		16384	/* the queue is nearly empty below this */
#define KICK_SOURCES		64
#define KICK_TIMEOUT		20	/* ms */

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

/* A blank event at the end of the batch; it counts when it is finished. */
CdcKafkaEvent *
cdc_kafka_event_begin(CdcKafka *kafka, CdcKafkaEventKind kind, int id)
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

void
cdc_kafka_event_finish(CdcKafka *kafka)
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
	while (kafka->nmessages > 0)
		rd_kafka_message_destroy(kafka->messages[--kafka->nmessages]);
	kafka->nevents = kafka->returned = 0;
	kafka->batch_bytes = 0;
	kafka->last_headers = (CdcBytes) {NULL, 0};
	MemoryContextReset(kafka->batch_context);
	if (kafka->batch_size > BATCH_SIZE_KEPT)
		resize_batch(kafka, BATCH_SIZE);
	if (kafka->flat_size > FLAT_SIZE_KEPT)
	{
		pfree(kafka->flat);
		kafka->flat = NULL;
		kafka->flat_size = 0;
	}
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
	cdc_kafka_sources_stop(kafka, &id, 1);
}

/* An event with an error; texts are copied.  The source is halted. */
void
cdc_kafka_event_error(CdcKafka *kafka, int id, int sqlstate, const char *detail,
					  const char *hint)
{
	MemoryContext old_context = MemoryContextSwitchTo(kafka->batch_context);
	CdcKafkaEvent *event = cdc_kafka_event_begin(kafka, CDC_KAFKA_ERROR, id);
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
	cdc_kafka_event_finish(kafka);
	halt(kafka, id);
}

/* Add bytes to the headers that are being made. */
static void
put_bytes(CdcKafka *kafka, const void *data, Size len)
{
	if (kafka->flat_size - kafka->flat_len < len)
	{
		Size		size = Max(kafka->flat_size * 2, kafka->flat_len + len + 1024);

		kafka->flat = kafka->flat ? repalloc_huge(kafka->flat, size) :
			MemoryContextAllocHuge(kafka->context, size);
		kafka->flat_size = size;
	}
	memcpy(kafka->flat + kafka->flat_len, data, len);
	kafka->flat_len += len;
}

/* They hardly ever change: mostly they are those of the record before. */
static CdcBytes
keep_headers(CdcKafka *kafka)
{
	CdcBytes   *last = &kafka->last_headers;
	char	   *copy;

	if (last->len == kafka->flat_len && memcmp(last->data, kafka->flat, last->len) == 0)
		return *last;
	copy = MemoryContextAlloc(kafka->batch_context, kafka->flat_len);
	memcpy(copy, kafka->flat, kafka->flat_len);
	last->data = copy;
	last->len = kafka->flat_len;
	kafka->batch_bytes += last->len;
	return *last;
}

/*
 * The headers of a message in the flat form of CdcRecord.  False if there are
 * too many bytes.
 *
 * What librdkafka makes of them, piece by piece, is given back at once and so used
 * again for the next message; those of a whole batch would be memory that no cache
 * holds.  (With the prefetch, a third of what landing took the main thread.)
 */
static bool
flatten_headers(CdcKafka *kafka, rd_kafka_message_t *message, CdcBytes *result)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t		value_len;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	kafka->flat_len = 0;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value,
											   &value_len) == 0; i++)
	{
		uint32		name_len = strlen(name);
		int32		len = value ? (int32) value_len : -1;

		put_bytes(kafka, &name_len, sizeof(name_len));
		put_bytes(kafka, name, name_len);
		put_bytes(kafka, &len, sizeof(len));
		if (value)
			put_bytes(kafka, value, value_len);
		if (!AllocSizeIsValid(kafka->flat_len))
			return false;
	}
	if (kafka->flat_len > 0)
		*result = keep_headers(kafka);
	if (rd_kafka_message_detach_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_headers_destroy(headers);
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
	event = cdc_kafka_event_begin(kafka, CDC_KAFKA_RECORD, id);
	if (!flatten_headers(kafka, message, &event->record.headers))
	{
		source->position = message->offset;
		cdc_kafka_event_error(kafka, id, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							  _("The headers of the record are too big."), NULL);
		return false;
	}
	fill_record(&event->record, message);
	kafka->batch_bytes += message->len + message->key_len + CDC_KAFKA_OVERHEAD;
	kafka->messages[kafka->nmessages++] = message;
	source->position = message->offset + 1;
	source->moved = false;
	cdc_kafka_event_finish(kafka);
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
			(void) cdc_kafka_event_begin(kafka, CDC_KAFKA_EOF, id);
			cdc_kafka_event_finish(kafka);
			break;
		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
			if (source->moved && message->offset >= 0 &&
				message->offset != source->position)
				break;			/* of the position before the last move */
			(void) cdc_kafka_event_begin(kafka, CDC_KAFKA_OUT_OF_RANGE, id);
			cdc_kafka_event_finish(kafka);
			halt(kafka, id);
			break;
		default:
			source->position = Max(message->offset, source->position);
			cdc_kafka_event_error(kafka, id, cdc_kafka_sqlstate(message->err),
								  rd_kafka_message_errstr(message),
								  cdc_kafka_hint(message->err));
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
			cdc_kafka_event_error(kafka, i, cdc_kafka_sqlstate(source->lost),
								  rd_kafka_err2str(source->lost),
								  cdc_kafka_hint(source->lost));
		source->lost = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	kafka->any_lost = false;
}

/*
 * Another thread has read the bytes: bring the headers, which follow the value, to
 * this processor before they are looked at.  (Not inline, the compiler takes it for
 * a function without any effect.)
 */
static pg_attribute_always_inline void
prefetch_headers(const CdcKafka *kafka)
{
	int			next = kafka->next_fresh + PREFETCH;
	const rd_kafka_message_t *message;
	const char *end;

	if (next + PREFETCH < kafka->nfresh)
		__builtin_prefetch(kafka->fresh[next + PREFETCH]);
	if (next >= kafka->nfresh)
		return;
	message = kafka->fresh[next];
	end = message->payload ? (const char *) message->payload + message->len :
		(const char *) message->key + message->key_len;
	for (int i = 0; i < PREFETCH_LINES; i++)
		__builtin_prefetch(end + i * 64);
}

/* Turn the fresh messages into events. */
static void
translate(CdcKafka *kafka)
{
	const rd_kafka_topic_t *topic = NULL;
	int32		partition = -1;
	int			id = -1;

	/* first: what comes after it may be of another topic */
	report_lost(kafka);
	for (; kafka->next_fresh < kafka->nfresh; kafka->next_fresh++)
	{
		rd_kafka_message_t *message = kafka->fresh[kafka->next_fresh];

		prefetch_headers(kafka);
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
			id = cdc_kafka_id_find(kafka, rd_kafka_topic_name(topic),
								   partition);
		}
		if (id >= 0 && kafka->sources[id].running && !message->err &&
			take_record(kafka, id, message))
			continue;
		if (id >= 0 && kafka->sources[id].running && message->err)
			take_error(kafka, id, message);
		rd_kafka_message_destroy(message);
	}
	kafka->next_fresh = kafka->nfresh = 0;
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
 * Take what has come, unless there is something still.  Runs the callbacks; as
 * it does not touch the batch, requests use it for that.
 */
void
cdc_kafka_fetch(CdcKafka *kafka)
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
		kafka->calm_bytes += size + CDC_KAFKA_OVERHEAD;
	}
}

/* ----------
 * Polling
 * ----------
 */
static void
look_around(CdcKafka *kafka)
{
	bool		came;

	cdc_kafka_fetch(kafka);
	came = kafka->nfresh > 0;
	cdc_kafka_watch_begin(kafka);
	translate(kafka);
	if (came)
		kick(kafka);
	cdc_kafka_watch_end(kafka, came);
}

/*
 * What came before an error is told first, so that the caller knows all events
 * of the batch whenever one is raised; the next poll meets the error again.
 */
static void
look_around_carefully(CdcKafka *kafka)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		look_around(kafka);
	}
	PG_CATCH();
	{
		if (kafka->nevents == kafka->returned)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
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
	bool		latched = cdc_kafka_latched;

	cdc_kafka_latched = false;
	for (;;)
	{
		long		left = timeout < 0 ? POLL_FALLBACK : timeout;

		CHECK_FOR_INTERRUPTS();
		cdc_kafka_iam_renew(kafka);
		look_around_carefully(kafka);
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
