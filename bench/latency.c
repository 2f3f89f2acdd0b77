/*-------------------------------------------------------------------------
 *
 * latency.c
 *	  How long a change takes from the source to where people read it.
 *
 *	  latency BROKER PREFIX TOPICS KEYS RATE SECONDS
 *
 * Sends RATE events a second in turn to partition 0 of the topics PREFIX0,
 * PREFIX1, .., each an update of one of KEYS customers, with the number that it
 * has in its topic and the time at which it was made.  Meanwhile a second
 * thread asks the database of the environment (PGHOST ..), every SAMPLE ms,
 * for the greatest number in each of the tables PREFIX0_target, .. : as
 * a partition is applied in order, all numbers up to it have been applied.  What
 * is new since the last look has become visible by the time of the answer.
 *
 * The events of the first WARM_UP seconds are not counted.  Prints one line:
 * events counted; their latency in ms at p50, p95, p99 and the longest; the
 * same four of what the producer waits until the broker has stored a record;
 * the mean time of a look in ms.
 *
 *-------------------------------------------------------------------------
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define SAMPLE		10			/* ms */
#define WARM_UP		3			/* seconds */
#define PATIENCE	300			/* seconds, for the last event to arrive */
#define MAX_TOPICS	100

typedef struct Topic
{
	char		name[64];
	long		first;			/* number of the first event of this run */
	atomic_long sent;			/* number of the next one */
	long		seen;			/* numbers below are visible */
	int64_t    *times;			/* us, when each was made */
} Topic;

typedef struct Latencies
{
	int32_t    *us;
	long		n;
} Latencies;

static const Property properties[] = {
	{"enable.idempotence", "true", false},
	{"linger.ms", "5", false},
	{"queue.buffering.max.messages", "1000000", false},
	{NULL}
};

static const char *const segments[] =
{"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"};

static Topic topics[MAX_TOPICS];
static int	ntopics;
static long capacity;			/* events of a topic */
static int64_t count_from;		/* events made since are counted */
static atomic_bool producing = true;
static Latencies visible;
static Latencies stored;
static long looks = 0;
static int64_t looks_us = 0;

static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void *
allocate(size_t n, size_t size)
{
	void	   *memory = calloc(n, size);

	if (memory == NULL)
		fatal("events", "out of memory");
	return memory;
}

/* ----------
 * What becomes visible
 * ----------
 */
static PGresult *
query(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK &&
		PQresultStatus(result) != PGRES_COMMAND_OK)
		fatal("query", PQerrorMessage(conn));
	return result;
}

/* Prepares "look": the number of the next event of each topic. */
static PGconn *
connect_reader(void)
{
	PGconn	   *conn = PQconnectdb("");
	char		sql[MAX_TOPICS * 100];
	int			n = sprintf(sql, "PREPARE look AS SELECT");

	if (PQstatus(conn) != CONNECTION_OK)
		fatal("connection", PQerrorMessage(conn));
	for (int i = 0; i < ntopics; i++)
		n += sprintf(sql + n, "%s (SELECT coalesce(max(seq) + 1, 0) FROM %s_target)",
					 i ? "," : "", topics[i].name);
	PQclear(query(conn, sql));
	return conn;
}

/* Count what has become visible; true if nothing is missing. */
static bool
look(PGconn *conn)
{
	int64_t		before = now();
	PGresult   *result = query(conn, "EXECUTE look");
	int64_t		after = now();
	bool		all = true;

	for (int i = 0; i < ntopics; i++)
	{
		Topic	   *topic = &topics[i];
		long		sent = atomic_load(&topic->sent);
		long		seen = atol(PQgetvalue(result, 0, i));

		for (; topic->seen < seen && topic->seen < sent; topic->seen++)
		{
			int64_t		made = topic->times[topic->seen - topic->first];

			if (made >= count_from)
				visible.us[visible.n++] = (int32_t) (after - made);
		}
		all &= topic->seen == sent;
	}
	PQclear(result);
	looks++;
	looks_us += after - before;
	return all;
}

static void *
read_targets(void *arg)
{
	PGconn	   *conn = arg;
	int64_t		end = 0;

	for (;;)
	{
		bool		last = !atomic_load(&producing);

		if (look(conn) && last)
			return NULL;
		if (last && end == 0)
			end = now() + PATIENCE * INT64_C(1000000);
		if (last && now() > end)
			fatal("targets", "events are missing");
		usleep(SAMPLE * 1000);
	}
}

/* ----------
 * Producing
 * ----------
 */
static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
		fatal("produce", rd_kafka_err2str(message->err));
	if (now() - rd_kafka_message_latency(message) >= count_from)
		stored.us[stored.n++] = (int32_t) rd_kafka_message_latency(message);
}

static int
print_image(char *to, long id, long version)
{
	return sprintf(to, "{\"CUST_ID\":%ld,\"NAME\":\"Customer#%09ld.%ld\",\"MKTSEGMENT\":\"%s\",\"SEQ\":%ld}",
				   id, id, version, segments[version % 5], version);
}

static void
send_event(rd_kafka_t *rk, Topic *topic, long id)
{
	long		seq = atomic_load(&topic->sent);
	int64_t		made = now();
	long long	ms = made / 1000;
	char		key[64];
	char		value[2048];
	int			n;

	if (seq - topic->first >= capacity)
		fatal("events", "more than there is room for");
	n = sprintf(value, "{\"before\":");
	n += print_image(value + n, id, seq - 1 < 0 ? 0 : seq - 1);
	n += sprintf(value + n, ",\"after\":");
	n += print_image(value + n, id, seq);
	n += sprintf(value + n,
				 ",\"source\":{\"version\":\"3.4.0.Final\",\"connector\":\"mysql\",\"name\":\"salesdb\","
				 "\"ts_ms\":%lld,\"snapshot\":\"false\",\"db\":\"salesdb\",\"sequence\":null,"
				 "\"ts_us\":%lld000,\"ts_ns\":%lld000000,\"table\":\"CUSTOMER\",\"server_id\":1,"
				 "\"gtid\":null,\"file\":\"mysql-bin-changelog.000042\",\"pos\":%ld,\"row\":0,"
				 "\"thread\":9,\"query\":null},\"transaction\":null,\"op\":\"u\","
				 "\"ts_ms\":%lld,\"ts_us\":%lld,\"ts_ns\":%lld000}",
				 ms, ms, ms, 157 + seq * 300, ms, (long long) made, (long long) made);
	topic->times[seq - topic->first] = made;
	atomic_store(&topic->sent, seq + 1);
	for (;;)
	{
		rd_kafka_resp_err_t err =
			rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic->name), RD_KAFKA_V_PARTITION(0),
							  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							  RD_KAFKA_V_KEY(key, sprintf(key, "{\"CUST_ID\":%ld}", id)),
							  RD_KAFKA_V_VALUE(value, n), RD_KAFKA_V_END);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return;
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			fatal("produce", rd_kafka_err2str(err));
		rd_kafka_poll(rk, 10);
	}
}

static void
produce(rd_kafka_t *rk, long keys, long rate, long seconds)
{
	int64_t		start = now();
	uint64_t	random = 42;
	long		n = 0;

	while (n < rate * seconds)
	{
		long		due = (long) ((now() - start) * rate / 1000000);

		for (; n < due && n < rate * seconds; n++)
		{
			random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			send_event(rk, &topics[n % ntopics], (long) ((random >> 33) % (uint64_t) keys));
		}
		rd_kafka_poll(rk, 1);
	}
	if (rd_kafka_flush(rk, 60000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		fatal("flush", "not all records were delivered");
}

/* ----------
 * Result
 * ----------
 */
static int
compare(const void *a, const void *b)
{
	int32_t		x = *(const int32_t *) a;
	int32_t		y = *(const int32_t *) b;

	return x < y ? -1 : x > y;
}

static void
print_latencies(Latencies *list)
{
	static const double shares[] = {0.5, 0.95, 0.99, 1};

	if (list->n == 0)
		fatal("events", "none to count");
	qsort(list->us, list->n, sizeof(int32_t), compare);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		printf(" %.1f", list->us[(long) (shares[i] * (list->n - 1))] / 1000.0);
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	PGresult   *result;
	rd_kafka_t *rk;
	pthread_t	reader;
	long		keys;
	long		rate;
	long		seconds;

	if (argc != 7)
		fatal("usage", "latency BROKER PREFIX TOPICS KEYS RATE SECONDS");
	ntopics = atoi(argv[3]);
	keys = atol(argv[4]);
	rate = atol(argv[5]);
	seconds = atol(argv[6]) + WARM_UP;
	if (ntopics < 1 || ntopics > MAX_TOPICS || keys < 1 || rate < 1 || seconds <= WARM_UP)
		fatal("usage", "numbers out of range");
	capacity = rate * seconds / ntopics + 1;
	visible.us = allocate(rate * seconds, sizeof(int32_t));
	stored.us = allocate(rate * seconds, sizeof(int32_t));
	for (int i = 0; i < ntopics; i++)
	{
		snprintf(topics[i].name, sizeof(topics[i].name), "%s%d", argv[2], i);
		topics[i].times = allocate(capacity, sizeof(int64_t));
	}
	conn = connect_reader();
	result = query(conn, "EXECUTE look");
	for (int i = 0; i < ntopics; i++)
	{
		topics[i].first = topics[i].seen = atol(PQgetvalue(result, 0, i));
		atomic_init(&topics[i].sent, topics[i].first);
	}
	PQclear(result);
	rk = open_client(RD_KAFKA_PRODUCER, argv[1], properties, delivered);
	count_from = now() + WARM_UP * INT64_C(1000000);
	if (pthread_create(&reader, NULL, read_targets, conn) != 0)
		fatal("reader", "no thread");
	produce(rk, keys, rate, seconds);
	atomic_store(&producing, false);
	pthread_join(reader, NULL);
	printf("%ld", visible.n);
	print_latencies(&visible);
	print_latencies(&stored);
	printf(" %.2f\n", looks_us / 1000.0 / looks);
	rd_kafka_destroy(rk);
	PQfinish(conn);
	return 0;
}
