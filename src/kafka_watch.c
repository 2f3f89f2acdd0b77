/*-------------------------------------------------------------------------
 *
 * kafka_watch.c
 *	  A consumer of Kafka as plain records: what brokers do not tell.
 *
 * Whether the cluster answers at all, and whether a partition is stuck.  Runs
 * at every poll and must be cheap: it looks at the clock, and asks a broker
 * only if nothing has come for long.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "kafka_internal.h"

#define PROBE_INTERVAL		1000	/* ms */
#define PROBE_AFTER_LASTING 15000	/* ms without a word from the cluster */
#define LOG_INTERVAL		60000	/* ms */

#define CALM_PERIODS		2
#define CALM_PERIOD			1000	/* ms, and twice what a broker waits for data */

/* ----------
 * The cluster
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
	CdcKafkaEvent *event = cdc_kafka_event_begin(kafka,
												 CDC_KAFKA_UNAVAILABLE, -1);
	CdcKafkaError *error = palloc0(sizeof(CdcKafkaError));

	cdc_kafka_unavailable_fill(kafka, error);
	event->error = error;
	MemoryContextSwitchTo(old_context);
	kafka->away = true;
	kafka->away_for_reason = kafka->reason[0] != '\0';
	cdc_kafka_event_finish(kafka);
}

/* A broker has answered. */
static void
hear(CdcKafka *kafka, TimestampTz now)
{
	if (kafka->interrupted)
	{
		(void) cdc_kafka_event_begin(kafka, CDC_KAFKA_AVAILABLE, -1);
		cdc_kafka_event_finish(kafka);
		kafka->interrupted = kafka->away = false;
	}
	kafka->last_answer = now;
	kafka->all_down = false;
	cdc_kafka_reason_clear(kafka);
	kafka->probe_slice = CDC_KAFKA_FIRST_SLICE;
	if (kafka->failing_since == 0)
		return;
	kafka->failing_since = 0;

	/* what nobody could read meanwhile was not stuck */
	for (int i = 0; i < kafka->nsources; i++)
		kafka->sources[i].stuck_since = now;
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
	kafka->interrupted = true;
	now = GetCurrentTimestamp();
	kafka->next_probe = TimestampTzPlusMilliseconds(now, PROBE_INTERVAL);
	kafka->probe_slice = Min(kafka->probe_slice * 2, CDC_KAFKA_LONGEST_SLICE);
	/* librdkafka says why only now and then */
	if ((!kafka->away || (!kafka->away_for_reason && kafka->reason[0] != '\0')) &&
		TimestampDifferenceExceeds(kafka->failing_since, now,
								   kafka->connect_timeout))
		report_away(kafka);
}

/* ----------
 * Partitions
 * ----------
 */

/*
 * A calm period begins and ends with an empty queue, and so little has come in
 * it that no answer of a broker can have been full: there was room in them for
 * every partition that has anything to read.
 */
static void
count_calm(CdcKafka *kafka, TimestampTz now)
{
	if (kafka->calm_start != 0 &&
		!TimestampDifferenceExceeds(kafka->calm_start, now, CALM_PERIOD + 2 * kafka->fetch_wait))
		return;
	if (kafka->calm_start != 0 && kafka->calm_bytes < CDC_KAFKA_QUEUE / 2)
		kafka->calm++;
	kafka->calm_start = now;
	kafka->calm_bytes = 0;
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
	cdc_kafka_event_error(kafka, id, ERRCODE_DATA_CORRUPTED, detail,
						  _("The record may be malformed. The time to wait is the server's option \"stall_timeout\"."));
	pfree(detail);
}

/* True if nobody can tell. */
static bool
partition_exists(CdcKafka *kafka, const CdcKafkaReading *source)
{
	const struct rd_kafka_metadata *metadata;
	bool		result = false;

	if (rd_kafka_metadata(kafka->rk, true, NULL, &metadata,
						  CDC_KAFKA_LONGEST_SLICE) != 0)
		return true;
	for (int i = 0; i < metadata->topic_cnt; i++)
	{
		const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];

		if (strcmp(topic->topic, source->topic) == 0)
			result = topic->err == RD_KAFKA_RESP_ERR_NO_ERROR ?
				source->partition < topic->partition_cnt :
				topic->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	}
	rd_kafka_metadata_destroy(metadata);
	return result;
}

/* The end of a suspect could not be asked for. */
static void
take_failure(CdcKafka *kafka, int id, rd_kafka_resp_err_t err, TimestampTz now)
{
	CdcKafkaReading *source = &kafka->sources[id];

	/* it says so of a partition without a leader, too */
	if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION &&
		partition_exists(kafka, source))
		err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	if (!cdc_kafka_is_permanent(err) &&
		(err == RD_KAFKA_RESP_ERR__TIMED_OUT ||
		 err == RD_KAFKA_RESP_ERR__TRANSPORT ||
		 !TimestampDifferenceExceeds(source->stuck_since, now,
									 2 * kafka->stall_timeout)))
		return;
	cdc_kafka_event_error(kafka, id, cdc_kafka_sqlstate(err),
						  rd_kafka_err2str(err), cdc_kafka_hint(err));
}

/* The answer for a suspect. */
static void
take_end(CdcKafka *kafka, int id, int64 end, TimestampTz now)
{
	CdcKafkaReading *source = &kafka->sources[id];

	if (end > source->position)
	{
		source->stuck_end = end;
		source->stuck_calm = kafka->calm;
	}
	else
		source->stuck_since = now;
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

	cdc_kafka_sources_list(kafka, ids, n, true);
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
		kafka->ask_limit = Min(kafka->ask_limit * 2, CDC_KAFKA_SCAN);
	else
		kafka->ask_limit = Max(n / 2, 1);
	for (int i = 0; i < n && (err == RD_KAFKA_RESP_ERR_NO_ERROR || n == 1); i++)
	{
		if (errs[i] == RD_KAFKA_RESP_ERR_NO_ERROR)
			take_end(kafka, ids[i], ends[i], now);
		else
			take_failure(kafka, ids[i], errs[i], now);
	}
	pfree(ends);
	pfree(errs);
}

static void
check_stalls(CdcKafka *kafka, TimestampTz now)
{
	int			n = Min(kafka->nsources, CDC_KAFKA_SCAN);
	int		   *suspects;
	int			nsuspects = 0;

	if (n == 0 || kafka->failing_since != 0 || now < kafka->next_scan)
		return;
	kafka->next_scan = TimestampTzPlusMilliseconds(now,
												   kafka->stall_timeout / 4);
	suspects = palloc(n * sizeof(int));
	for (int i = 0; i < n && nsuspects < kafka->ask_limit; i++)
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
 * At every poll
 * ----------
 */

/* Messages have been taken, and are not events yet. */
void
cdc_kafka_watch_begin(CdcKafka *kafka)
{
	TimestampTz now = GetCurrentTimestamp();

	if (kafka->nfresh < CDC_KAFKA_FRESH)
		count_calm(kafka, now);
	log_trouble(kafka, now);

	/* those of no topic come from librdkafka itself */
	for (int i = kafka->next_fresh; i < kafka->nfresh; i++)
		if (kafka->fresh[i]->rkt != NULL)
		{
			hear(kafka, now);
			break;
		}
}

/* They have become events; came: there were any. */
void
cdc_kafka_watch_end(CdcKafka *kafka, bool came)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!came)
		check_cluster(kafka, now);
	check_stalls(kafka, now);
}
