/*-------------------------------------------------------------------------
 *
 * kafka_query.c
 *	  A consumer of Kafka as plain records: questions about topics.
 *
 * A request is tried again until the server's connect_timeout has passed, then
 * an error is raised.  Messages that come meanwhile are kept for the next
 * poll.  No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "kafka_internal.h"

#define ALL_DOWN_GRACE		2000	/* ms of "all brokers down" in a request:
									 * enough for every address of a host name */
#define NOT_READY_WAIT		100 /* ms, when the answer was "not yet" */
#define SURVEY_TIMEOUT		3000	/* ms */

/*
 * "slice" is how long the next try may block, as a cancel has to wait for its
 * end: it grows when a broker was reached but did not answer in time.
 */
typedef struct Request
{
	CdcKafka   *kafka;
	TimestampTz start;
	TimestampTz down_since;		/* 0: not all brokers were found down */
	uint32		nreasons;		/* that were known before */
	int			slice;			/* ms */
} Request;

typedef struct TopicEntry
{
	const char *topic;
	const struct rd_kafka_metadata_topic *found;
} TopicEntry;

/* ----------
 * Requests
 * ----------
 */

/* There is one latch in a process, whichever consumer asks. */
bool		cdc_kafka_latched = false;

static void
begin_request(Request *request, CdcKafka *kafka)
{
	cdc_kafka_list_free(kafka);
	kafka->all_down = false;
	cdc_kafka_iam_renew(kafka);
	request->kafka = kafka;
	request->nreasons = kafka->nreasons;
	request->start = GetCurrentTimestamp();
	request->down_since = 0;
	request->slice = CDC_KAFKA_FIRST_SLICE;
}

/* Reading need not find out for itself that nobody answers. */
static void
raise_unavailable(const Request *request)
{
	CdcKafka   *kafka = request->kafka;
	CdcKafkaError error = {0};

	if (kafka->failing_since == 0)
		kafka->failing_since = request->start;
	kafka->interrupted = true;
	cdc_kafka_iam_doubt(kafka);
	cdc_kafka_unavailable_fill(kafka, &error);
	cdc_kafka_error_raise(&error);
}

static void
raise_topic_error(const char *topic, rd_kafka_resp_err_t err)
{
	ereport(ERROR,
			(errcode(cdc_kafka_sqlstate(err)),
			 errmsg("could not query topic \"%s\"", topic),
			 errdetail_internal("%s", rd_kafka_err2str(err)),
			 cdc_kafka_hint(err) ? errhint("%s", cdc_kafka_hint(err)) : 0));
}

/*
 * Wait before the next try.  The next poll must return for what the latch was
 * set for: only the caller knows.
 */
static void
wait_until_ready(void)
{
	if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				  NOT_READY_WAIT, PG_WAIT_EXTENSION) & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		cdc_kafka_latched = true;
	}
	CHECK_FOR_INTERRUPTS();
}

/* After a try that failed: returns to try again, or raises an error. */
static void
try_again(Request *request, rd_kafka_resp_err_t err, const char *topic)
{
	CdcKafka   *kafka = request->kafka;
	TimestampTz now = GetCurrentTimestamp();
	int			left;

	cdc_kafka_fetch(kafka);
	cdc_kafka_iam_renew(kafka);
	CHECK_FOR_INTERRUPTS();
	if (cdc_kafka_is_permanent(err) && topic)
		raise_topic_error(topic, err);
	if (cdc_kafka_is_permanent(err))
	{
		cdc_kafka_reason_store(kafka, err, NULL);
		raise_unavailable(request);
	}
	if (kafka->nreasons != request->nreasons &&
		(kafka->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
		 kafka->last_err == RD_KAFKA_RESP_ERR__SSL))
		raise_unavailable(request);
	if (kafka->all_down && request->down_since == 0)
		request->down_since = now;
	if (request->down_since != 0 &&
		TimestampDifferenceExceeds(request->down_since, now, ALL_DOWN_GRACE))
		raise_unavailable(request);

	left = kafka->connect_timeout -
		(int) TimestampDifferenceMilliseconds(request->start, now);
	if (left <= 0)
	{
		if (kafka->reason[0] == '\0' && err != RD_KAFKA_RESP_ERR__TRANSPORT &&
			err != RD_KAFKA_RESP_ERR__TIMED_OUT && topic)
			raise_topic_error(topic, err);
		raise_unavailable(request);
	}
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		request->slice = Min(2 * request->slice, CDC_KAFKA_LONGEST_SLICE);
	else if (err != RD_KAFKA_RESP_ERR__TRANSPORT)
		wait_until_ready();
	request->slice = Max(1, Min(request->slice, left));
}

static void
answered(CdcKafka *kafka)
{
	kafka->last_answer = GetCurrentTimestamp();
	kafka->all_down = false;
	cdc_kafka_reason_clear(kafka);
}

/* Does the cluster answer?  Asks for nothing. */
void
cdc_kafka_connection_check(CdcKafka *kafka)
{
	Request		request;
	rd_kafka_resp_err_t err;
	const struct rd_kafka_metadata *metadata;

	begin_request(&request, kafka);
	while ((err = rd_kafka_metadata(kafka->rk, false, NULL, &metadata,
									request.slice)) != 0)
		try_again(&request, err, NULL);
	rd_kafka_metadata_destroy(metadata);
	answered(kafka);
}

/* ----------
 * Metadata
 * ----------
 */
static uint32
topic_hash(const void *key, Size keysize)
{
	const char *topic = *(const char *const *) key;

	return string_hash(topic, strlen(topic) + 1);
}

static int
topic_compare(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

void
cdc_kafka_metadata_free(CdcKafka *kafka)
{
	kafka->topic_index = NULL;
	MemoryContextReset(kafka->metadata_context);
	if (kafka->metadata)
		rd_kafka_metadata_destroy(kafka->metadata);
	kafka->metadata = NULL;
}

/*
 * Of all topics, not of one: to ask an old broker for a topic by its name
 * creates it.
 */
void
cdc_kafka_metadata_refresh(CdcKafka *kafka)
{
	const struct rd_kafka_metadata *metadata;
	HASHCTL		ctl = {
		.keysize = sizeof(char *),
		.entrysize = sizeof(TopicEntry),
		.hash = topic_hash,
		.match = topic_compare,
		.hcxt = kafka->metadata_context
	};
	Request		request;
	rd_kafka_resp_err_t err;

	begin_request(&request, kafka);
	while ((err = rd_kafka_metadata(kafka->rk, true, NULL, &metadata,
									request.slice)) != 0)
		try_again(&request, err, NULL);
	cdc_kafka_metadata_free(kafka);
	kafka->metadata = metadata;
	answered(kafka);

	kafka->topic_index = hash_create("cdcsync Kafka topics",
									 Max(metadata->topic_cnt, 16), &ctl,
									 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
									 HASH_CONTEXT);
	for (int i = 0; i < metadata->topic_cnt; i++)
	{
		const char *topic = metadata->topics[i].topic;
		TopicEntry *entry = hash_search(kafka->topic_index, &topic, HASH_ENTER,
										NULL);

		entry->found = &metadata->topics[i];
	}
}

static void
need_metadata(CdcKafka *kafka)
{
	if (kafka->topic_index == NULL)
		cdc_kafka_metadata_refresh(kafka);
}

List *
cdc_kafka_topics(CdcKafka *kafka)
{
	List	   *result = NIL;

	need_metadata(kafka);
	for (int i = 0; i < kafka->metadata->topic_cnt; i++)
		result = lappend(result, pstrdup(kafka->metadata->topics[i].topic));
	return result;
}

/* From the metadata there are; -1 and *err if they do not tell. */
static int
count_partitions(CdcKafka *kafka, const char *topic, rd_kafka_resp_err_t *err)
{
	TopicEntry *entry = hash_search(kafka->topic_index, &topic, HASH_FIND, NULL);

	if (entry == NULL ||
		entry->found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return 0;
	*err = entry->found->err;
	if (*err == RD_KAFKA_RESP_ERR_NO_ERROR && entry->found->partition_cnt > 0)
		return entry->found->partition_cnt;
	if (*err == RD_KAFKA_RESP_ERR_NO_ERROR)
		*err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	return -1;
}

int
cdc_kafka_partitions(CdcKafka *kafka, const char *topic)
{
	Request		request;
	rd_kafka_resp_err_t err;
	int			result;

	need_metadata(kafka);
	begin_request(&request, kafka);
	while ((result = count_partitions(kafka, topic, &err)) < 0 &&
		   !kafka->lasting)
	{
		try_again(&request, err, topic);
		cdc_kafka_metadata_refresh(kafka);
	}
	return result;
}

/* ----------
 * Offsets
 * ----------
 */

/*
 * Partitions may have been added since the client has last looked: it answers by
 * itself that it knows none.
 */
static bool
look_again(CdcKafka *kafka, int timeout)
{
	const struct rd_kafka_metadata *metadata;

	if (rd_kafka_metadata(kafka->rk, true, NULL, &metadata, timeout) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	rd_kafka_metadata_destroy(metadata);
	return true;
}

/*
 * Ask for the offsets of partitions first .. first + n - 1 of a topic by time,
 * which may be RD_KAFKA_OFFSET_BEGINNING or _END: that is how brokers tell the
 * watermarks, one request for all partitions of a broker.
 */
static void
topic_offsets(CdcKafka *kafka, const char *topic, int32 first, int n,
			  int64 time, int64 *offsets)
{
	Request		request;
	rd_kafka_topic_partition_list_t *list;
	bool		looked = false;

	begin_request(&request, kafka);
	list = kafka->list = rd_kafka_topic_partition_list_new(n);
	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, topic, first + i);
	for (;;)
	{
		rd_kafka_resp_err_t err;

		for (int i = 0; i < n; i++)
		{
			list->elems[i].offset = time;
			list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
		}
		err = rd_kafka_offsets_for_times(kafka->rk, list, request.slice);
		for (int i = 0; i < n && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
			err = list->elems[i].err;
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION && !looked)
		{
			looked = look_again(kafka, request.slice);
			if (looked)
				continue;
			err = RD_KAFKA_RESP_ERR__TIMED_OUT;
		}
		try_again(&request, err, topic);
	}
	for (int i = 0; i < n; i++)
		offsets[list->elems[i].partition - first] = list->elems[i].offset;
	cdc_kafka_list_free(kafka);
	answered(kafka);
}

void
cdc_kafka_watermarks(CdcKafka *kafka, const char *topic, int32 partition,
					 int64 *low, int64 *high)
{
	topic_offsets(kafka, topic, partition, 1, RD_KAFKA_OFFSET_BEGINNING, low);
	topic_offsets(kafka, topic, partition, 1, RD_KAFKA_OFFSET_END, high);
}

void
cdc_kafka_topic_watermarks(CdcKafka *kafka, const char *topic, int npartitions,
						   int64 *low, int64 *high)
{
	topic_offsets(kafka, topic, 0, npartitions, RD_KAFKA_OFFSET_BEGINNING, low);
	topic_offsets(kafka, topic, 0, npartitions, RD_KAFKA_OFFSET_END, high);
}

/* Ask once for the offsets of many partitions; -1 where there is no answer. */
static void
survey_offsets(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources,
			   int64 time, int64 *offsets)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t err;

	cdc_kafka_list_free(kafka);
	list = kafka->list = rd_kafka_topic_partition_list_new(nsources);
	for (int i = 0; i < nsources; i++)
		rd_kafka_topic_partition_list_add(list, sources[i].topic,
										  sources[i].partition)->offset = time;
	err = rd_kafka_offsets_for_times(kafka->rk, list, SURVEY_TIMEOUT);
	for (int i = 0; i < nsources; i++)
	{
		const rd_kafka_topic_partition_t *answer = &list->elems[i];

		/* nothing says that the list keeps its order */
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR && answer->err == err &&
			answer->partition == sources[i].partition &&
			strcmp(answer->topic, sources[i].topic) == 0)
			offsets[i] = answer->offset;
		else
			offsets[i] = -1;
	}
	cdc_kafka_list_free(kafka);
}

void
cdc_kafka_survey(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources,
				 int64 *low, int64 *high)
{
	survey_offsets(kafka, sources, nsources, RD_KAFKA_OFFSET_BEGINNING, low);
	survey_offsets(kafka, sources, nsources, RD_KAFKA_OFFSET_END, high);
}

/*
 * A broker answers -1 both if no record is as young and if it cannot look up
 * times at all; the latter shows when it has no answer for the oldest time
 * either.  The end is asked for first, so that a record that arrives between
 * the two questions is not left out.
 */
int64
cdc_kafka_offset_for_time(CdcKafka *kafka, const char *topic, int32 partition,
						  int64 timestamp)
{
	int64		low;
	int64		high;
	int64		offset;

	cdc_kafka_watermarks(kafka, topic, partition, &low, &high);
	if (low >= high)
		return high;
	topic_offsets(kafka, topic, partition, 1, Max(timestamp, 0), &offset);
	if (offset >= 0)
		return offset;
	topic_offsets(kafka, topic, partition, 1, 0, &offset);
	return offset >= 0 ? high : -1;
}
