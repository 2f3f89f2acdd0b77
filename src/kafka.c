/*-------------------------------------------------------------------------
 *
 * kafka.c
 *	  A consumer of Kafka as plain records; no SQL.
 *
 * The only file that includes librdkafka.  Partitions are assigned with
 * absolute offsets: the offset that counts is the one that the database
 * holds, so the consumer group exists in name only (librdkafka wants one) and
 * no offset is ever stored in or read from it.
 *
 * librdkafka has threads of its own.  None of them runs code of ours: logs
 * and errors are queued and served in cdc_kafka_poll(), by callbacks that do
 * nothing but store a text.  So no ereport() jumps through librdkafka's
 * frames, and no backend code runs outside the main thread.
 *
 * A consumer that is still alive when the process ends may crash it (OpenSSL's
 * clean-up runs under the threads that use it), and a crash of one backend
 * restarts the whole server; while rd_kafka_destroy() blocks for ever if a
 * message is still held, and may block for reasons of its own.  Therefore
 * - the handle holds the messages of the last batch and frees them at the
 *	 next poll or at close, so that no error in between can leak one;
 * - the handle lives in a memory context of its own below the caller's, whose
 *	 reset callback closes it: an error or cancel needs no other clean-up;
 * - destroying is done in a helper thread that the backend waits for only so
 *	 long; what has not ended when the process exits makes it leave by
 *	 _exit(), past the handlers that would crash.
 *
 * May be called inside and outside of transactions; opening one reads the
 * catalogs and needs one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "kafka.h"
#include "kafka_options.h"

#define BATCH_SIZE			2048	/* records */
#define QUEUE_BYTES			(32 * 1024 * 1024)	/* queued.max.messages.kbytes */
#define KICK_RECORDS		16384	/* the queue is nearly empty below this */
#define KICK_TIMEOUT		20	/* ms */
#define REASON_SIZE			512
#define DESTROY_DEADLINE	3	/* seconds */
#define POLL_FALLBACK		1000	/* ms; look again even if nothing woke us */
#define ALL_DOWN_GRACE		2000	/* ms of "all brokers down" in open: enough
									 * for every address of a host name */
#define METADATA_MAX_AGE	5000	/* ms */
#define FIRST_SLICE			250 /* ms of the first try of a request: it cannot
								 * be interrupted.  Later ones are longer */
#define LONGEST_SLICE		2000	/* ms */

/* A partition that is being read. */
typedef struct Source
{
	char	   *topic;
	int32		partition;
	int64		position;		/* next offset that we expect */
	bool		active;
	int64		checked_position;	/* position and high watermark when */
	int64		checked_high;	/* check_stalls() last looked */
} Source;

/* An error of a partition, raised by the next poll. */
typedef struct PartitionError
{
	bool		pending;
	rd_kafka_resp_err_t err;
	char		topic[256];
	int32		partition;
	int64		offset;
	char		reason[REASON_SIZE];
} PartitionError;

struct CdcKafka
{
	dlist_node	node;			/* in live_consumers */
	MemoryContext context;		/* holds this struct */
	MemoryContext batch_context;	/* headers of the last batch */
	MemoryContext assign_context;	/* sources */
	MemoryContextCallback callback;

	char	   *server;
	char	   *bootstrap_servers;
	bool		uses_tls;
	int			connect_timeout;	/* ms */
	int			stall_timeout;	/* ms */

	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	const struct rd_kafka_metadata *metadata;	/* of all topics, or NULL */
	TimestampTz metadata_time;	/* when it was asked for */
	rd_kafka_topic_partition_list_t *list;	/* in use by a request */
	int			pipe[2];		/* [0] becomes readable when there is something
								 * to poll; -1: not open */

	int			nsources;
	Source	   *sources;
	int		   *sorted;			/* indexes of sources by topic, partition */

	rd_kafka_message_t *messages[BATCH_SIZE];
	int			nmessages;
	bool		needs_kick;		/* see kick() */
	Size		unkicked;		/* bytes taken since it was done */
	CdcKafkaEvent events[BATCH_SIZE];
	PartitionError error;

	/* Stored by the callbacks. */
	bool		all_down;
	rd_kafka_resp_err_t last_err;
	char		reason[REASON_SIZE];

	/* For how long nothing has come while we were waiting. */
	TimestampTz down_since;		/* 0: not down */
	TimestampTz last_poll;
	int			quiet;			/* ms */
	int			next_check;		/* check_stalls() at this value of quiet */
};

/* rd_kafka_destroy() in a thread; malloc'ed, freed by whoever is last. */
typedef struct Destroyer
{
	rd_kafka_t *rk;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool		done;
	bool		abandoned;
} Destroyer;

static dlist_head live_consumers = DLIST_STATIC_INIT(live_consumers);
static pg_atomic_uint32 unfinished;	/* destroyers that were abandoned */
static bool exit_guard_registered = false;

static const struct
{
	const char *name;
	const char *value;
	bool		optional;		/* not in every version */
}			fixed_properties[] =
{
	{"group.id", "cdcsync"},
	{"enable.auto.commit", "false"},
	{"enable.auto.offset.store", "false"},
	{"auto.offset.reset", "error"},
	{"enable.partition.eof", "true"},
	{"check.crcs", "true"},
	{"isolation.level", "read_committed"},
	{"allow.auto.create.topics", "false"},
	{"topic.metadata.refresh.interval.ms", "60000"},
	{"socket.keepalive.enable", "true"},
	{"reconnect.backoff.max.ms", "1000"},
	{"log.queue", "true"},
	{"fetch.wait.max.ms", "100"},
	{"fetch.max.bytes", "33554432"},

	/*
	 * Room for the biggest records, but below what the first bytes of a TLS
	 * alert or of an HTTP answer give when they are read as a length: these
	 * must be refused and not waited for.
	 */
	{"receive.message.max.bytes", "300000000"},

	/* When it is full, see kick(). */
	{"queued.max.messages.kbytes", "32768"},
	{"fetch.queue.backoff.ms", "10", true},
	{"enable.metrics.push", "false", true},
};

/* ----------
 * Callbacks: run by rd_kafka_consume_batch_queue() in the main thread, under
 * its frames.  They store, and nothing else.
 * ----------
 */
static void
store_reason(CdcKafka *kafka, rd_kafka_resp_err_t err, const char *reason)
{
	kafka->last_err = err;
	strlcpy(kafka->reason, reason ? reason : rd_kafka_err2str(err),
			REASON_SIZE);
}

static void
error_callback(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	CdcKafka   *kafka = opaque;

	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		kafka->all_down = true;
	else
		store_reason(kafka, err, reason);
}

static void
log_callback(const rd_kafka_t *rk, int level, const char *facility,
			 const char *text)
{
	CdcKafka   *kafka = rd_kafka_opaque(rk);
	const char *thread_end;

	/*
	 * Whatever else matters comes as an error, too; but later versions only log
	 * (as FAIL) that a broker hung up on them.
	 */
	if ((level > 3 && strcmp(facility, "FAIL") != 0) || kafka->reason[0] != '\0')
		return;
	thread_end = text[0] == '[' ? strstr(text, "]: ") : NULL;
	store_reason(kafka, RD_KAFKA_RESP_ERR__FAIL, thread_end ? thread_end + 3 : text);
}

/* ----------
 * Closing
 * ----------
 */
static void *
destroyer_main(void *arg)
{
	Destroyer  *destroyer = arg;
	bool		abandoned;

	rd_kafka_destroy_flags(destroyer->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);

	pthread_mutex_lock(&destroyer->mutex);
	destroyer->done = true;
	abandoned = destroyer->abandoned;
	pthread_cond_signal(&destroyer->cond);
	pthread_mutex_unlock(&destroyer->mutex);
	if (abandoned)
	{
		free(destroyer);
		pg_atomic_sub_fetch_u32(&unfinished, 1);
	}
	return NULL;
}

/* A thread that receives no signals: those are for the backend alone. */
static bool
start_destroyer(Destroyer *destroyer, pthread_t *thread)
{
	sigset_t	all;
	sigset_t	before;
	bool		started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(thread, NULL, destroyer_main, destroyer) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

/*
 * Destroy with a deadline.  Everything that refers to rk must be gone.  Must
 * not fail: runs in memory context callbacks and at process exit.
 */
static void
destroy_bounded(rd_kafka_t *rk)
{
	Destroyer  *destroyer = calloc(1, sizeof(Destroyer));
	struct timespec deadline;
	pthread_t	thread;
	bool		done;

	if (destroyer == NULL)
	{
		rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		return;
	}
	destroyer->rk = rk;
	pthread_mutex_init(&destroyer->mutex, NULL);
	pthread_cond_init(&destroyer->cond, NULL);
	if (!start_destroyer(destroyer, &thread))
	{
		free(destroyer);
		rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		return;
	}

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += DESTROY_DEADLINE;
	pthread_mutex_lock(&destroyer->mutex);
	while (!destroyer->done)
		if (pthread_cond_timedwait(&destroyer->cond, &destroyer->mutex,
								   &deadline) != 0)
			break;
	done = destroyer->done;
	if (!done)
	{
		destroyer->abandoned = true;
		pg_atomic_add_fetch_u32(&unfinished, 1);
	}
	pthread_mutex_unlock(&destroyer->mutex);

	if (done)
	{
		pthread_join(thread, NULL);
		free(destroyer);
	}
	else
		pthread_detach(thread);
}

static void
release_batch(CdcKafka *kafka)
{
	for (int i = 0; i < kafka->nmessages; i++)
		rd_kafka_message_destroy(kafka->messages[i]);
	kafka->nmessages = 0;
}

static void
release_metadata(CdcKafka *kafka)
{
	if (kafka->metadata)
		rd_kafka_metadata_destroy(kafka->metadata);
	kafka->metadata = NULL;
}

/* What a request that was interrupted may have left. */
static void
release_request(CdcKafka *kafka)
{
	if (kafka->list)
		rd_kafka_topic_partition_list_destroy(kafka->list);
	kafka->list = NULL;
}

/* Free everything that is not memory of a context; may run twice. */
static void
release_consumer(void *arg)
{
	CdcKafka   *kafka = arg;

	if (kafka->rk)
	{
		rd_kafka_t *rk = kafka->rk;

		kafka->rk = NULL;
		release_batch(kafka);
		release_request(kafka);
		release_metadata(kafka);
		if (kafka->queue)
		{
			rd_kafka_queue_io_event_enable(kafka->queue, -1, NULL, 0);
			rd_kafka_queue_destroy(kafka->queue);
			kafka->queue = NULL;
		}
		destroy_bounded(rk);
		dlist_delete(&kafka->node);
	}
	for (int i = 0; i < 2; i++)
	{
		if (kafka->pipe[i] < 0)
			continue;
		close(kafka->pipe[i]);
		kafka->pipe[i] = -1;
		ReleaseExternalFD();
	}
}

/*
 * Consumers that live outside of transactions are still there when a process
 * ends; those of queries have gone with the abort of their transaction.
 */
static void
exit_guard(int code, Datum arg)
{
	while (!dlist_is_empty(&live_consumers))
		release_consumer(dlist_container(CdcKafka, node,
										 dlist_head_node(&live_consumers)));
	if (pg_atomic_read_u32(&unfinished) > 0)
		_exit(code);
}

void
cdc_kafka_close(CdcKafka *kafka)
{
	MemoryContextDelete(kafka->context);
}

/* ----------
 * Errors
 * ----------
 */
static const char *
connection_hint(CdcKafka *kafka)
{
	if (!kafka->uses_tls &&
		(strstr(kafka->reason, "SSL") || strstr(kafka->reason, "Disconnected") ||
		 strstr(kafka->reason, "Invalid response size")))
		return "The port may expect TLS: then set the server's option \"security_protocol\" to ssl or sasl_ssl.";
	if (kafka->uses_tls && strstr(kafka->reason, "SSL"))
		return "Check the server's options \"security_protocol\" and \"ssl_ca\", and that the port is one for TLS.";
	if (kafka->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		return "Check the options of the user mapping and the server's option \"sasl_mechanism\".";
	return NULL;
}

static void
raise_unavailable(CdcKafka *kafka)
{
	const char *hint = connection_hint(kafka);

	ereport(ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
			 errmsg("could not reach Kafka server \"%s\" at %s",
					kafka->server, kafka->bootstrap_servers),
			 kafka->reason[0] ? errdetail_internal("%s", kafka->reason)
			 : kafka->all_down ? errdetail("All brokers are down.")
			 : errdetail("No broker has answered within %d s.",
						 kafka->connect_timeout / 1000),
			 hint ? errhint("%s", hint) : 0));
}

static int
sqlstate_of(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return ERRCODE_FDW_TABLE_NOT_FOUND;
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
			return ERRCODE_DATA_CORRUPTED;
		case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		default:
			return ERRCODE_FDW_ERROR;
	}
}

static void
raise_topic_error(const char *topic, rd_kafka_resp_err_t err)
{
	ereport(ERROR,
			(errcode(sqlstate_of(err)),
			 errmsg("could not query topic \"%s\"", topic),
			 errdetail_internal("%s", rd_kafka_err2str(err))));
}

static void
raise_pending(CdcKafka *kafka)
{
	PartitionError *error = &kafka->error;

	if (!error->pending)
		return;
	error->pending = false;
	release_batch(kafka);
	if (error->partition < 0)
		ereport(ERROR,
				(errcode(sqlstate_of(error->err)),
				 errmsg("could not read from Kafka server \"%s\"",
						kafka->server),
				 errdetail_internal("%s", error->reason)));
	ereport(ERROR,
			(errcode(sqlstate_of(error->err)),
			 errmsg("could not read partition %d of topic \"%s\" at offset %lld",
					error->partition, error->topic,
					(long long) error->offset),
			 errdetail_internal("%s", error->reason)));
}

static void
raise_errstr(CdcKafka *kafka, const char *what, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("could not %s of Kafka server \"%s\"", what,
					kafka->server),
			 errdetail_internal("%s", reason)));
}

/* ----------
 * Opening
 * ----------
 */
static void
open_pipe(CdcKafka *kafka)
{
	for (int i = 0; i < 2; i++)
		if (!AcquireExternalFD())
		{
			if (i == 1)
				ReleaseExternalFD();
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("out of file descriptors for a Kafka consumer"),
					 errhint("Increase max_files_per_process.")));
		}
	if (pipe(kafka->pipe) < 0)
	{
		int			save_errno = errno;

		kafka->pipe[0] = kafka->pipe[1] = -1;
		ReleaseExternalFD();
		ReleaseExternalFD();
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create pipe: %m")));
	}
	for (int i = 0; i < 2; i++)
		if (!pg_set_noblock(kafka->pipe[i]) ||
			fcntl(kafka->pipe[i], F_SETFD, FD_CLOEXEC) == -1)
			ereport(ERROR,
					(errcode_for_socket_access(),
					 errmsg("could not set up pipe: %m")));
}

/* Returns NULL and the name of the property that was refused on failure. */
static rd_kafka_conf_t *
make_conf(CdcKafka *kafka, List *properties, const char **refused,
		  char *errstr, size_t errstr_size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_res_t result;
	char		timeout[16];
	size_t		size = 0;
	ListCell   *lc;

	for (int i = 0; i < lengthof(fixed_properties); i++)
	{
		*refused = fixed_properties[i].name;
		result = rd_kafka_conf_set(conf, *refused, fixed_properties[i].value,
								   errstr, errstr_size);
		if (result != RD_KAFKA_CONF_OK &&
			!(result == RD_KAFKA_CONF_UNKNOWN && fixed_properties[i].optional))
			goto failed;
	}
	kafka->needs_kick = rd_kafka_conf_get(conf, "fetch.queue.backoff.ms", NULL,
										  &size) != RD_KAFKA_CONF_OK;
	snprintf(timeout, sizeof(timeout), "%d", kafka->connect_timeout);
	*refused = "socket.connection.setup.timeout.ms";
	if (rd_kafka_conf_set(conf, *refused, timeout, errstr,
						  errstr_size) != RD_KAFKA_CONF_OK)
		goto failed;
	foreach(lc, properties)
	{
		CdcKafkaProperty *property = lfirst(lc);

		*refused = property->name;
		if (rd_kafka_conf_set(conf, property->name, property->value, errstr,
							  errstr_size) != RD_KAFKA_CONF_OK)
			goto failed;
	}
	rd_kafka_conf_set_opaque(conf, kafka);
	rd_kafka_conf_set_error_cb(conf, error_callback);
	rd_kafka_conf_set_log_cb(conf, log_callback);
	return conf;

failed:
	rd_kafka_conf_destroy(conf);
	return NULL;
}

static void
start_consumer(CdcKafka *kafka, List *properties)
{
	char		errstr[REASON_SIZE];
	const char *refused;
	rd_kafka_conf_t *conf;

	conf = make_conf(kafka, properties, &refused, errstr, sizeof(errstr));

	/* errstr may contain the value, which may be a secret */
	if (conf == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("librdkafka %s refuses the value of property \"%s\"",
						rd_kafka_version_str(), refused)));
	kafka->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
	if (kafka->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		raise_errstr(kafka, "create a consumer", errstr);
	}
	dlist_push_tail(&live_consumers, &kafka->node);
	rd_kafka_poll_set_consumer(kafka->rk);
	rd_kafka_set_log_queue(kafka->rk, NULL);
	kafka->queue = rd_kafka_queue_get_consumer(kafka->rk);
	rd_kafka_queue_io_event_enable(kafka->queue, kafka->pipe[1], "", 1);
}

/* Let the callbacks run.  Only while nothing is assigned: records would go. */
static void
serve_callbacks(CdcKafka *kafka)
{
	if (kafka->nsources > 0)
		return;
	kafka->nmessages = Max(0, rd_kafka_consume_batch_queue(kafka->queue, 0,
														   kafka->messages,
														   BATCH_SIZE));
	release_batch(kafka);
}

/* Errors that no waiting heals. */
static bool
is_permanent(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return true;
		default:
			return false;
	}
}

/*
 * A request to the cluster that is tried again until the server's
 * connect_timeout has passed.  A try blocks, so the first ones are short: a
 * cancel has to wait for its end.  "slice" grows when a broker was reached
 * but did not answer in time.
 */
typedef struct Request
{
	CdcKafka   *kafka;
	TimestampTz start;
	TimestampTz down_since;		/* 0: not all brokers were found down */
	int			slice;			/* ms for the next try */
} Request;

static void
begin_request(Request *request, CdcKafka *kafka)
{
	release_request(kafka);
	kafka->all_down = false;
	kafka->reason[0] = '\0';
	kafka->last_err = RD_KAFKA_RESP_ERR_NO_ERROR;
	request->kafka = kafka;
	request->start = GetCurrentTimestamp();
	request->down_since = 0;
	request->slice = FIRST_SLICE;
}

/* After a try that failed: returns to try again, or raises an error. */
static void
try_again(Request *request, rd_kafka_resp_err_t err, const char *topic)
{
	CdcKafka   *kafka = request->kafka;
	TimestampTz now = GetCurrentTimestamp();
	int			left;

	serve_callbacks(kafka);
	CHECK_FOR_INTERRUPTS();
	if (is_permanent(err) && topic)
		raise_topic_error(topic, err);
	if (is_permanent(err))
	{
		store_reason(kafka, err, NULL);
		raise_unavailable(kafka);
	}
	if (kafka->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
		kafka->last_err == RD_KAFKA_RESP_ERR__SSL)
		raise_unavailable(kafka);
	if (kafka->all_down && request->down_since == 0)
		request->down_since = now;
	if (request->down_since != 0 &&
		TimestampDifferenceExceeds(request->down_since, now, ALL_DOWN_GRACE))
		raise_unavailable(kafka);

	left = kafka->connect_timeout -
		(int) TimestampDifferenceMilliseconds(request->start, now);
	if (left <= 0)
	{
		if (kafka->reason[0] == '\0' && err != RD_KAFKA_RESP_ERR__TRANSPORT &&
			err != RD_KAFKA_RESP_ERR__TIMED_OUT && topic)
			raise_topic_error(topic, err);
		raise_unavailable(kafka);
	}
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		request->slice = Min(2 * request->slice, LONGEST_SLICE);
	else if (err != RD_KAFKA_RESP_ERR__TRANSPORT)
	{
		/* answered at once that it is not ready */
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	request->slice = Max(1, Min(request->slice, left));
}

/*
 * Does the cluster answer?  Asks for nothing.
 */
static void
check_connection(CdcKafka *kafka)
{
	Request		request;
	rd_kafka_resp_err_t err;
	const struct rd_kafka_metadata *metadata;

	begin_request(&request, kafka);
	while ((err = rd_kafka_metadata(kafka->rk, false, NULL, &metadata,
									request.slice)) != 0)
		try_again(&request, err, NULL);
	rd_kafka_metadata_destroy(metadata);
}

/*
 * Get the metadata of all topics into kafka->metadata, unless what is there
 * is younger than max_age (ms).  Not of one topic: to ask an old broker for a
 * topic by its name creates it.
 */
static void
query_metadata(CdcKafka *kafka, int max_age)
{
	Request		request;
	rd_kafka_resp_err_t err;

	begin_request(&request, kafka);
	if (kafka->metadata &&
		!TimestampDifferenceExceeds(kafka->metadata_time, request.start,
									max_age))
		return;
	release_metadata(kafka);
	while ((err = rd_kafka_metadata(kafka->rk, true, NULL, &kafka->metadata,
									request.slice)) != 0)
		try_again(&request, err, NULL);
	kafka->metadata_time = request.start;
}

static const struct rd_kafka_metadata_topic *
find_topic(CdcKafka *kafka, const char *topic)
{
	for (int i = 0; i < kafka->metadata->topic_cnt; i++)
		if (strcmp(kafka->metadata->topics[i].topic, topic) == 0)
			return &kafka->metadata->topics[i];
	return NULL;
}

CdcKafka *
cdc_kafka_open(Oid serverid, Oid userid)
{
	MemoryContext context;
	MemoryContext old_context;
	CdcKafka   *kafka;
	CdcKafkaOptions *options;

	if (!IsUnderPostmaster && IsPostmasterEnvironment)
		elog(ERROR, "a Kafka consumer cannot be opened in the postmaster");
	if (!exit_guard_registered)
	{
		pg_atomic_init_u32(&unfinished, 0);
		on_proc_exit(exit_guard, 0);
		exit_guard_registered = true;
	}

	context = AllocSetContextCreate(CurrentMemoryContext,
									"cdcsync Kafka consumer",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	kafka = palloc0(sizeof(CdcKafka));
	kafka->context = context;
	kafka->pipe[0] = kafka->pipe[1] = -1;
	kafka->callback.func = release_consumer;
	kafka->callback.arg = kafka;
	MemoryContextRegisterResetCallback(context, &kafka->callback);

	PG_TRY();
	{
		kafka->batch_context =
			AllocSetContextCreate(context, "cdcsync Kafka batch",
								  0, 256 * 1024, 8 * 1024 * 1024);
		kafka->assign_context =
			AllocSetContextCreate(context, "cdcsync Kafka assignment",
								  ALLOCSET_DEFAULT_SIZES);
		options = cdc_kafka_options_get(serverid, userid);
		kafka->server = options->server;
		kafka->bootstrap_servers = options->bootstrap_servers;
		kafka->uses_tls = options->uses_tls;
		kafka->connect_timeout = options->connect_timeout;
		kafka->stall_timeout = options->stall_timeout;
		open_pipe(kafka);
		start_consumer(kafka, options->properties);
		check_connection(kafka);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old_context);
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	return kafka;
}

/* ----------
 * Questions about topics
 * ----------
 */
List *
cdc_kafka_topics(CdcKafka *kafka)
{
	List	   *result = NIL;

	query_metadata(kafka, 0);
	for (int i = 0; i < kafka->metadata->topic_cnt; i++)
		result = lappend(result, pstrdup(kafka->metadata->topics[i].topic));
	return result;
}

int
cdc_kafka_partitions(CdcKafka *kafka, const char *topic)
{
	Request		request;
	int			max_age = METADATA_MAX_AGE;

	begin_request(&request, kafka);
	for (;;)
	{
		const struct rd_kafka_metadata_topic *found;

		query_metadata(kafka, max_age);
		found = find_topic(kafka, topic);
		if (found && found->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
			found->partition_cnt > 0)
			return found->partition_cnt;
		if (found && found->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			try_again(&request,
					  found->err ? found->err :
					  RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, topic);
		else if (max_age == 0)
			return 0;
		max_age = 0;
	}
}

/*
 * Ask for the offsets of the partitions in kafka->list by time, which may be
 * RD_KAFKA_OFFSET_BEGINNING or _END: that is how brokers tell the watermarks,
 * one request for all partitions of a broker.  The answers are in the list.
 */
static void
query_offsets(Request *request, int64 time)
{
	rd_kafka_topic_partition_list_t *list = request->kafka->list;

	for (;;)
	{
		rd_kafka_resp_err_t err;
		const char *topic = list->elems[0].topic;

		for (int i = 0; i < list->cnt; i++)
		{
			list->elems[i].offset = time;
			list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
		}
		err = rd_kafka_offsets_for_times(request->kafka->rk, list,
										 request->slice);
		for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
		{
			err = list->elems[i].err;
			topic = list->elems[i].topic;
		}
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return;
		try_again(request, err, topic);
	}
}

/* Ask for the offsets of partitions first .. first + n - 1 of one topic. */
static void
topic_offsets(CdcKafka *kafka, const char *topic, int32 first, int n,
			  int64 time, int64 *offsets)
{
	Request		request;

	begin_request(&request, kafka);
	kafka->list = rd_kafka_topic_partition_list_new(n);
	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(kafka->list, topic, first + i);
	query_offsets(&request, time);
	for (int i = 0; i < n; i++)
	{
		rd_kafka_topic_partition_t *answer;

		answer = rd_kafka_topic_partition_list_find(kafka->list, topic,
													first + i);
		offsets[i] = answer->offset;
	}
	release_request(kafka);
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

/* ----------
 * Reading
 * ----------
 */
static int
compare_source(const Source *source, const char *topic, int32 partition)
{
	int			result = strcmp(source->topic, topic);

	if (result == 0 && source->partition != partition)
		result = source->partition < partition ? -1 : 1;
	return result;
}

static int
compare_sorted(const void *a, const void *b, void *arg)
{
	const Source *sources = arg;
	const Source *other = &sources[*(const int *) b];

	return compare_source(&sources[*(const int *) a], other->topic,
						  other->partition);
}

/* The source that reads a partition, NULL if none does. */
static Source *
find_source(CdcKafka *kafka, const char *topic, int32 partition)
{
	int			low = 0;
	int			high = kafka->nsources - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		Source	   *source = &kafka->sources[kafka->sorted[middle]];
		int			order = compare_source(source, topic, partition);

		if (order == 0)
			return source;
		if (order < 0)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

static void
reset_quiet(CdcKafka *kafka)
{
	kafka->all_down = false;
	kafka->down_since = 0;
	kafka->quiet = 0;
	kafka->next_check = kafka->stall_timeout / 2;
	kafka->reason[0] = '\0';
}

static void
copy_sources(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources)
{
	MemoryContext old_context;

	kafka->nsources = 0;
	MemoryContextReset(kafka->assign_context);
	old_context = MemoryContextSwitchTo(kafka->assign_context);
	kafka->sources = palloc0(Max(nsources, 1) * sizeof(Source));
	kafka->sorted = palloc(Max(nsources, 1) * sizeof(int));
	for (int i = 0; i < nsources; i++)
	{
		Source	   *source = &kafka->sources[i];

		source->topic = pstrdup(sources[i].topic);
		source->partition = sources[i].partition;
		source->position = sources[i].offset;
		source->active = true;
		source->checked_position = -1;
		kafka->sorted[i] = i;
	}
	MemoryContextSwitchTo(old_context);
	qsort_arg(kafka->sorted, nsources, sizeof(int), compare_sorted,
			  kafka->sources);
	for (int i = 1; i < nsources; i++)
		if (compare_sorted(&kafka->sorted[i - 1], &kafka->sorted[i],
						   kafka->sources) == 0)
			elog(ERROR, "partition assigned twice");
}

void
cdc_kafka_assign(CdcKafka *kafka, const CdcKafkaSource *sources, int nsources)
{
	rd_kafka_resp_err_t err;

	release_batch(kafka);
	release_request(kafka);
	kafka->error.pending = false;
	copy_sources(kafka, sources, nsources);
	if (nsources > 0)
	{
		kafka->list = rd_kafka_topic_partition_list_new(nsources);
		for (int i = 0; i < nsources; i++)
			rd_kafka_topic_partition_list_add(kafka->list, sources[i].topic,
											  sources[i].partition)->offset =
				sources[i].offset;
	}
	err = rd_kafka_assign(kafka->rk, kafka->list);
	release_request(kafka);
	if (err)
		raise_errstr(kafka, "assign partitions", rd_kafka_err2str(err));
	kafka->nsources = nsources;
	kafka->last_poll = GetCurrentTimestamp();
	reset_quiet(kafka);
}

void
cdc_kafka_unassign(CdcKafka *kafka, int source)
{
	Source	   *leaving = &kafka->sources[source];
	rd_kafka_error_t *error;

	Assert(source >= 0 && source < kafka->nsources);
	if (!leaving->active)
		return;
	leaving->active = false;
	release_request(kafka);
	kafka->list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(kafka->list, leaving->topic,
									  leaving->partition);
	error = rd_kafka_incremental_unassign(kafka->rk, kafka->list);
	release_request(kafka);
	if (error)
	{
		char		reason[REASON_SIZE];

		strlcpy(reason, rd_kafka_error_string(error), sizeof(reason));
		rd_kafka_error_destroy(error);
		raise_errstr(kafka, "unassign a partition", reason);
	}
}

static void
put_bytes(char **p, const void *data, size_t len)
{
	memcpy(*p, data, len);
	*p += len;
}

/* The headers of a message in the flat form of CdcRecord. */
static CdcBytes
flatten_headers(CdcKafka *kafka, const rd_kafka_message_t *message)
{
	CdcBytes	result = {NULL, 0};
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t		value_len;
	size_t		total = 0;
	char	   *p;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return result;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value,
											   &value_len) == 0; i++)
		total += 2 * sizeof(uint32) + strlen(name) + (value ? value_len : 0);
	if (total == 0)
		return result;
	if (total > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("headers of the record at offset %lld are too big",
						(long long) message->offset)));
	p = MemoryContextAlloc(kafka->batch_context, total);
	result.data = p;
	result.len = total;
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
	return result;
}

static void
fill_record(CdcKafka *kafka, CdcRecord *record,
			const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;

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
	record->headers = flatten_headers(kafka, message);
}

/* Keep an error for the next poll; the partition gives nothing after it. */
static void
store_error(CdcKafka *kafka, Source *source, const rd_kafka_message_t *message)
{
	PartitionError *error = &kafka->error;

	if (source)
		source->active = false;
	if (error->pending)
		return;
	error->pending = true;
	error->err = message->err;
	error->partition = source ? source->partition : -1;
	error->offset = message->offset;
	strlcpy(error->reason, rd_kafka_message_errstr(message), REASON_SIZE);
	if (source)
	{
		strlcpy(error->topic, source->topic, sizeof(error->topic));
		if (error->offset < 0)
			error->offset = source->position;
	}
}

/*
 * A message without data.  Returns whether it is an event for the caller.
 */
static bool
translate_error(CdcKafka *kafka, Source *source,
				const rd_kafka_message_t *message, CdcKafkaEvent *event)
{
	switch (message->err)
	{
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			event->kind = CDC_KAFKA_EOF;
			event->record.offset = Max(message->offset, source->position);
			source->position = event->record.offset;
			return true;
		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
			event->kind = CDC_KAFKA_OUT_OF_RANGE;
			event->record.offset = source->position;
			source->active = false;
			return true;
		default:
			store_error(kafka, source, message);
			return false;
	}
}

/*
 * An error that is not about a partition.  Only one that ends the consumer
 * matters: the rest is about the group, which we do not use, or about
 * connections, which librdkafka makes again.
 */
static void
note_global_error(CdcKafka *kafka, const rd_kafka_message_t *message)
{
	if (message->err == RD_KAFKA_RESP_ERR__FATAL)
		store_error(kafka, NULL, message);
	else
		store_reason(kafka, message->err, rd_kafka_message_errstr(message));
}

/* Turn the messages of the batch into events; returns their number. */
static int
translate_batch(CdcKafka *kafka)
{
	const rd_kafka_topic_t *last_topic = NULL;
	int32		last_partition = -1;
	Source	   *source = NULL;
	int			nevents = 0;

	for (int i = 0; i < kafka->nmessages; i++)
	{
		const rd_kafka_message_t *message = kafka->messages[i];
		CdcKafkaEvent *event = &kafka->events[nevents];

		if (message->rkt == NULL || message->partition < 0)
		{
			note_global_error(kafka, message);
			continue;
		}
		if (message->rkt != last_topic || message->partition != last_partition)
		{
			last_topic = message->rkt;
			last_partition = message->partition;
			source = find_source(kafka, rd_kafka_topic_name(message->rkt),
								 message->partition);
		}
		if (source == NULL || !source->active)
			continue;

		memset(event, 0, sizeof(*event));
		event->record.source = source - kafka->sources;
		event->record.partition = source->partition;
		if (message->err)
		{
			nevents += translate_error(kafka, source, message, event);
			continue;
		}
		/* what was fetched for an earlier assignment of the partition */
		if (message->offset < source->position)
			continue;
		event->kind = CDC_KAFKA_RECORD;
		event->record.offset = message->offset;
		source->position = message->offset + 1;
		fill_record(kafka, &event->record, message);
		nevents++;
	}
	return nevents;
}

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
 * threads something to do, by asking the brokers for the ends of the
 * partitions, as soon as the queue is nearly empty and may have been full since
 * we did it last.  It costs a round trip; the answer does not matter.
 */
static void
kick(CdcKafka *kafka)
{
	rd_kafka_topic_partition_list_t *list;

	for (int i = 0; i < kafka->nmessages; i++)
		kafka->unkicked += kafka->messages[i]->len + kafka->messages[i]->key_len;
	if (!kafka->needs_kick || kafka->unkicked < QUEUE_BYTES / 2 ||
		rd_kafka_queue_length(kafka->queue) > KICK_RECORDS)
		return;
	kafka->unkicked = 0;
	list = rd_kafka_topic_partition_list_new(kafka->nsources);
	for (int i = 0; i < kafka->nsources; i++)
		if (kafka->sources[i].active)
			rd_kafka_topic_partition_list_add(list, kafka->sources[i].topic,
											  kafka->sources[i].partition)->offset = RD_KAFKA_OFFSET_END;
	if (list->cnt > 0)
		(void) rd_kafka_offsets_for_times(kafka->rk, list, KICK_TIMEOUT);
	rd_kafka_topic_partition_list_destroy(list);
}

static int
next_batch(CdcKafka *kafka)
{
	ssize_t		n;

	drain_pipe(kafka);
	n = rd_kafka_consume_batch_queue(kafka->queue, 0, kafka->messages,
									 BATCH_SIZE);
	kafka->nmessages = Max(n, 0);
	if (kafka->nmessages == 0)
		return 0;

	/* There may be more: who waits for the socket must not sleep on it. */
	if (kafka->nmessages == BATCH_SIZE)
		wake_up(kafka);
	reset_quiet(kafka);
	kick(kafka);
	return translate_batch(kafka);
}

/*
 * A malformed record in an otherwise valid batch stalls its partition without
 * any error.  So if nothing comes for long, compare the positions with the
 * high watermarks, twice: the position must not have moved although there
 * were records already the first time.  Raises an error too if the leader of
 * a partition cannot be asked.
 */
static void
check_stalls(CdcKafka *kafka)
{
	Request		request;
	rd_kafka_topic_partition_list_t *list;

	begin_request(&request, kafka);
	list = kafka->list = rd_kafka_topic_partition_list_new(kafka->nsources);
	for (int i = 0; i < kafka->nsources; i++)
	{
		Source	   *source = &kafka->sources[i];

		if (source->active)
			rd_kafka_topic_partition_list_add(list, source->topic,
											  source->partition);
	}
	if (list->cnt == 0)
		return;
	query_offsets(&request, RD_KAFKA_OFFSET_END);
	for (int i = 0; i < list->cnt; i++)
	{
		Source	   *source = find_source(kafka, list->elems[i].topic,
										 list->elems[i].partition);

		if (source->checked_position == source->position &&
			source->checked_high > source->position)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("could not read partition %d of topic \"%s\" at offset %lld",
							source->partition, source->topic,
							(long long) source->position),
					 errdetail("The partition goes on to offset %lld, but nothing has come for %d s.",
							   (long long) source->checked_high,
							   kafka->stall_timeout / 1000),
					 errhint("The record may be malformed. The time to wait is the server's option \"stall_timeout\".")));
		source->checked_position = source->position;
		source->checked_high = list->elems[i].offset;
	}
	release_request(kafka);
}

/*
 * Nothing has come: is anything wrong?  Time that the caller spends elsewhere
 * counts for little, as we have not been looking.
 */
static void
check_quiet(CdcKafka *kafka)
{
	TimestampTz now = GetCurrentTimestamp();

	kafka->quiet += Min(TimestampDifferenceMilliseconds(kafka->last_poll, now),
						POLL_FALLBACK);
	kafka->last_poll = now;

	if (kafka->all_down && kafka->down_since == 0)
		kafka->down_since = now;
	if (kafka->down_since != 0 &&
		TimestampDifferenceExceeds(kafka->down_since, now,
								   kafka->connect_timeout))
	{
		const struct rd_kafka_metadata *metadata;

		/* It may have come back without anything new to read. */
		if (rd_kafka_metadata(kafka->rk, false, NULL, &metadata,
							  POLL_FALLBACK) != 0)
			raise_unavailable(kafka);
		rd_kafka_metadata_destroy(metadata);
		kafka->all_down = false;
		kafka->down_since = 0;
	}
	if (kafka->quiet >= kafka->next_check)
	{
		kafka->next_check += kafka->stall_timeout / 2;
		check_stalls(kafka);
	}
}

int
cdc_kafka_poll(CdcKafka *kafka, int timeout, const CdcKafkaEvent **events)
{
	TimestampTz start = timeout > 0 ? GetCurrentTimestamp() : 0;

	release_batch(kafka);
	MemoryContextReset(kafka->batch_context);
	*events = kafka->events;
	for (;;)
	{
		int			nevents;
		long		wait = POLL_FALLBACK;

		raise_pending(kafka);
		CHECK_FOR_INTERRUPTS();
		nevents = next_batch(kafka);
		if (nevents > 0)
			return nevents;
		raise_pending(kafka);
		release_batch(kafka);
		check_quiet(kafka);
		if (timeout > 0)
			wait = Min(wait, timeout -
					   TimestampDifferenceMilliseconds(start,
													   GetCurrentTimestamp()));
		if (timeout == 0 || wait <= 0)
			return 0;
		(void) WaitLatchOrSocket(MyLatch,
								 WL_LATCH_SET | WL_SOCKET_READABLE |
								 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 kafka->pipe[0], wait, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
