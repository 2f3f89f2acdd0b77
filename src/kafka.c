/*-------------------------------------------------------------------------
 *
 * kafka.c
 *	  A consumer of Kafka as plain records: opening and closing.
 *
 * Partitions are assigned with absolute offsets: the offset that counts is the
 * one that the database holds, so the consumer group exists in name only
 * (librdkafka wants one) and no offset is ever stored in or read from it.
 *
 * librdkafka has threads of its own.  None of them runs code of ours, but for
 * one that turns a number into text (see kafka_error.c): logs and errors are
 * queued and served when we take messages, by callbacks that do nothing but
 * store.  So no ereport() jumps through librdkafka's frames, and no backend code
 * runs outside the main thread.
 *
 * A consumer that is still alive when the process ends may crash it (OpenSSL's
 * clean-up runs under the threads that use it), and a crash of one backend
 * restarts the whole server; while rd_kafka_destroy() blocks for ever if a
 * message is still held, and may block for reasons of its own.  Therefore
 * - the handle holds all messages that it was given and frees them when the
 *	 batch is released or at close, so that no error in between can leak one;
 * - the handle lives in a memory context of its own below the caller's, whose
 *	 reset callback closes it: an error or cancel needs no other clean-up;
 * - destroying is done in a helper thread that the backend waits for only so
 *	 long; what has not ended when the process exits makes it leave by
 *	 _exit(), past the handlers that would crash;
 * - where librdkafka itself aborts, kafka_abort.c ends the process in order.
 *
 * May be called inside and outside of transactions; opening one reads the
 * catalogs and needs one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "kafka_internal.h"
#include "kafka_options.h"

#define DESTROY_DEADLINE	2	/* seconds */

/*
 * How long a broker waits for data when there is none (fetch.wait.max.ms): the
 * price of an idle consumer, how late it learns of a partition's end, and how long
 * partitions wait that are added while it asks for others that have nothing.  Each
 * answer names all partitions, and librdkafka looks for the topic of each among
 * all that it knows (1,000 topics: 4 ms).
 */
#define FETCH_WAIT			100
#define FETCH_WAIT_LASTING	200
#define FETCH_WAIT_TOPIC	2	/* for each topic, if that is more */
#define FETCH_WAIT_LONGEST	2000

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

	/*
	 * An answer is received into memory of its own.  malloc() gets that of large
	 * ones from the kernel each time, and each page costs a fault: with 32 MB
	 * instead, landing 3.7 kB records of 256 partitions takes 40 % more CPU.
	 */
	{"fetch.max.bytes", "4194304"},

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
/*
 * That a partition is gone is told as an error of the whole consumer, whose
 * text begins with "TOPIC [PARTITION]: ".  Were it to change, the watchdog
 * would find out.
 *
 * It is told when metadata no longer have the partition.  If the topic is made
 * again at once, they always do, and librdkafka goes on at the old offset in the
 * new topic: all that can be seen is that a broker refused once to serve the
 * partition, which it only logs.
 */
static void
note_lost(CdcKafka *kafka, rd_kafka_resp_err_t err, const char *reason)
{
	const char *bracket = strstr(reason, " [");
	char		topic[256];
	int			id;

	if (bracket == NULL || bracket - reason >= sizeof(topic))
		return;
	strlcpy(topic, reason, bracket - reason + 1);
	id = cdc_kafka_id_find(kafka, topic, atoi(bracket + 2));
	if (id < 0 || !kafka->sources[id].running)
		return;
	kafka->sources[id].lost = err;
	kafka->any_lost = true;
}

static void
error_callback(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	CdcKafka   *kafka = opaque;

	switch (err)
	{
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
			kafka->all_down = kafka->interrupted = true;
			break;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
			note_lost(kafka, err, reason);
			break;
		default:
			cdc_kafka_reason_store(kafka, err, reason);
			break;
	}
}

static void
log_callback(const rd_kafka_t *rk, int level, const char *facility,
			 const char *text)
{
	CdcKafka   *kafka = rd_kafka_opaque(rk);
	const char *thread_end = text[0] == '[' ? strstr(text, "]: ") : NULL;

	text = thread_end ? thread_end + 3 : text;
	if (strcmp(facility, "BROKERUA") == 0)
	{
		if (strstr(text, rd_kafka_err2str(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)))
			note_lost(kafka, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, text);
		return;
	}

	if (strcmp(facility, "SSLCERTVRFY") == 0)
	{
		cdc_kafka_certificate_store(kafka, text);
		return;
	}

	/*
	 * Whatever else matters comes as an error, too; but later versions only log
	 * (as FAIL) that a broker hung up on them.
	 */
	if ((level > 3 && strcmp(facility, "FAIL") != 0) || kafka->reason[0] != '\0')
		return;
	cdc_kafka_reason_store(kafka, RD_KAFKA_RESP_ERR__FAIL, text);
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

void
cdc_kafka_list_free(CdcKafka *kafka)
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

	cdc_kafka_iam_end(kafka);
	if (cdc_kafka_has_aborted())
		return;
	if (kafka->rk)
	{
		rd_kafka_t *rk = kafka->rk;

		kafka->rk = NULL;
		cdc_kafka_messages_free(kafka);
		cdc_kafka_list_free(kafka);
		cdc_kafka_metadata_free(kafka);
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
	if (cdc_kafka_has_aborted())
		_exit(code);
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
	char		ms[16];
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
	snprintf(ms, sizeof(ms), "%d", kafka->connect_timeout);
	*refused = "socket.connection.setup.timeout.ms";
	if (rd_kafka_conf_set(conf, *refused, ms, errstr,
						  errstr_size) != RD_KAFKA_CONF_OK)
		goto failed;
	/* see note_lost() */
	*refused = "debug";
	if (kafka->lasting &&
		rd_kafka_conf_set(conf, *refused, "topic", errstr,
						  errstr_size) != RD_KAFKA_CONF_OK)
		goto failed;
	*refused = "fetch.wait.max.ms";
	snprintf(ms, sizeof(ms), "%d", kafka->fetch_wait);
	if (rd_kafka_conf_set(conf, *refused, ms, errstr,
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
	cdc_kafka_iam_configure(kafka, conf);
	*refused = "ssl_cert_verify_cb";
	if (kafka->verifies && !cdc_kafka_verify_configure(conf))
		goto failed;
	return conf;

failed:
	rd_kafka_conf_destroy(conf);
	return NULL;
}

static void
start_consumer(CdcKafka *kafka, List *properties)
{
	char		errstr[CDC_KAFKA_REASON];
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
		cdc_kafka_create_failed(kafka, errstr);
	}
	dlist_push_tail(&live_consumers, &kafka->node);
	rd_kafka_poll_set_consumer(kafka->rk);
	rd_kafka_set_log_queue(kafka->rk, NULL);
	kafka->queue = rd_kafka_queue_get_consumer(kafka->rk);
	rd_kafka_queue_io_event_enable(kafka->queue, kafka->pipe[1], "", 1);
	cdc_kafka_iam_start(kafka);
}

/* What the texts of errors depend on. */
static void
note_properties(CdcKafka *kafka, const CdcKafkaOptions *options)
{
	ListCell   *lc;

	kafka->mechanism = "";
	kafka->verifies = options->uses_tls;
	foreach(lc, options->properties)
	{
		const CdcKafkaProperty *property = lfirst(lc);

		if (strcmp(property->name, "sasl.mechanism") == 0)
			kafka->mechanism = property->value;
		else if (strcmp(property->name, "ssl.ca.pem") == 0)
			kafka->has_ca = true;
		else if (strcmp(property->name, "ssl.certificate.pem") == 0)
			kafka->has_certificate = true;
		else if (strcmp(property->name, "enable.ssl.certificate.verification") == 0)
			kafka->verifies = strcmp(property->value, "false") != 0;
	}
}

/* Those of the cluster that the options name by its ARN. */
static void
name_brokers(CdcKafka *kafka, CdcKafkaOptions *options)
{
	CdcKafkaProperty *property = palloc(sizeof(CdcKafkaProperty));

	kafka->bootstrap_servers = cdc_kafka_iam_brokers(kafka, options);
	property->name = "bootstrap.servers";
	property->value = kafka->bootstrap_servers;
	options->properties = lappend(options->properties, property);
}

CdcKafka *
cdc_kafka_open(Oid serverid, Oid userid, int waits_for)
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
		cdc_kafka_abort_guard();
		exit_guard_registered = true;
	}

	context = AllocSetContextCreate(CurrentMemoryContext,
									"cdcsync Kafka consumer",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	kafka = palloc0(sizeof(CdcKafka));
	kafka->context = context;
	kafka->lasting = waits_for > 0;
	kafka->fetch_wait = !kafka->lasting ? FETCH_WAIT :
		Min(Max(waits_for * FETCH_WAIT_TOPIC, FETCH_WAIT_LASTING), FETCH_WAIT_LONGEST);
	kafka->probe_slice = CDC_KAFKA_FIRST_SLICE;
	kafka->ask_limit = CDC_KAFKA_SCAN;
	kafka->pipe[0] = kafka->pipe[1] = -1;
	kafka->free_ids = kafka->freed_ids = -1;
	kafka->callback.func = release_consumer;
	kafka->callback.arg = kafka;
	MemoryContextRegisterResetCallback(context, &kafka->callback);

	PG_TRY();
	{
		kafka->batch_context =
			AllocSetContextCreate(context, "cdcsync Kafka batch",
								  0, 256 * 1024, 8 * 1024 * 1024);
		kafka->source_context =
			AllocSetContextCreate(context, "cdcsync Kafka sources",
								  ALLOCSET_DEFAULT_SIZES);
		kafka->metadata_context =
			AllocSetContextCreate(context, "cdcsync Kafka metadata",
								  ALLOCSET_DEFAULT_SIZES);
		options = cdc_kafka_options_get(serverid, userid);
		kafka->server = options->server;
		kafka->bootstrap_servers = options->bootstrap_servers;
		kafka->uses_tls = options->uses_tls;
		kafka->connect_timeout = options->connect_timeout;
		kafka->stall_timeout = options->stall_timeout;
		if (options->aws)
			cdc_kafka_iam_begin(kafka, options);
		note_properties(kafka, options);
		if (options->cluster_arn)
			name_brokers(kafka, options);
		open_pipe(kafka);
		start_consumer(kafka, options->properties);
		/* librdkafka has its own copies; a next token is made from ours */
		if (!options->security.iam)
			cdc_kafka_options_wipe(options);
		cdc_kafka_connection_check(kafka);
		kafka->answered = true;
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
