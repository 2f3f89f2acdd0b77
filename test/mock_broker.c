/*-------------------------------------------------------------------------
 *
 * mock_broker.c
 *	  A Kafka broker for tests and the demo: librdkafka's mock cluster as a
 *	  program of its own.
 *
 * Prints the bootstrap address, then reads commands, one a line, and answers
 * each with a line "ok [..]" or "error ..".  Ends when stdin does, so that it
 * never outlives the test that started it.
 *
 *	  topic NAME PARTITIONS
 *	  rec TOPIC PARTITION TIMESTAMP KEY VALUE [HEADER=VALUE ..]
 *	  fill TOPIC PARTITION BYTES		one record of that size
 *	  bulk TOPIC PARTITIONS COUNT KEYS SEED [SKIP]
 *	  raw TOPIC PARTITION KIND			a batch no consumer can read
 *	  sync								wait until all is stored
 *	  down | up							all brokers
 *	  quit
 *
 * Keys, values, header names and header values are hexadecimal; "-" is NULL,
 * "." is empty.  TIMESTAMP is in ms, 0 for now.  rec, fill and bulk are
 * answered when the record is queued: "sync" tells when it can be read.
 *
 * The mock cluster keeps about 5 MB a partition and drops what is older, does
 * not look up offsets by time, and its topics cannot grow.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BROKERS			1
#define PRODUCE_TIMEOUT 30000	/* ms */
#define TOPIC_PAUSE		500		/* us */

static rd_kafka_t *cluster_handle;
static rd_kafka_mock_cluster_t *cluster;
static rd_kafka_t *producer;
static long delivery_errors = 0;
static char delivery_reason[256];

static void
answer(const char *status, const char *text)
{
	printf("%s%s%s\n", status, text ? " " : "", text ? text : "");
	fflush(stdout);
}

static void
fatal(const char *what, const char *reason)
{
	fprintf(stderr, "mock_broker: %s: %s\n", what, reason);
	exit(1);
}

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
	{
		delivery_errors++;
		snprintf(delivery_reason, sizeof(delivery_reason), "%s",
				 rd_kafka_err2str(message->err));
	}
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		errstr[256];

	if (rd_kafka_conf_set(conf, name, value, errstr,
						  sizeof(errstr)) != RD_KAFKA_CONF_OK)
		fatal(name, errstr);
}

static void
start(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		errstr[256];

	set(conf, "log_level", "3");	/* no warning that it has no servers */

	/* the brokers read requests with the limits of this handle */
	set(conf, "receive.message.max.bytes", "300000000");
	set(conf, "message.max.bytes", "200000000");
	cluster_handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr,
								  sizeof(errstr));
	if (cluster_handle == NULL)
		fatal("cluster", errstr);
	cluster = rd_kafka_mock_cluster_new(cluster_handle, BROKERS);
	if (cluster == NULL)
		fatal("cluster", "could not be created");

	conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster));
	set(conf, "message.max.bytes", "200000000");
	set(conf, "receive.message.max.bytes", "300000000");
	set(conf, "queue.buffering.max.kbytes", "2000000");
	set(conf, "queue.buffering.max.messages", "1000000");
	set(conf, "enable.idempotence", "true");
	set(conf, "linger.ms", "5");
	set(conf, "reconnect.backoff.max.ms", "100");	/* after "up" at once */
	set(conf, "log_level", "0");	/* "sync" tells what went wrong */
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (producer == NULL)
		fatal("producer", errstr);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decode in place; false if it is not hexadecimal. */
static bool
unhex(char *text, char **data, size_t *len)
{
	size_t		n = strlen(text);

	*len = 0;
	*data = text;
	if (strcmp(text, "-") == 0)
	{
		*data = NULL;
		return true;
	}
	if (strcmp(text, ".") == 0)
		return true;
	if (n % 2 != 0)
		return false;
	for (size_t i = 0; i < n; i += 2)
	{
		int			high = hex_digit(text[i]);
		int			low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		text[i / 2] = (char) (high << 4 | low);
	}
	*len = n / 2;
	return true;
}

/* Queue one record; takes the headers.  NULL, or the reason of a failure. */
static const char *
produce(const char *topic, int partition, int64_t timestamp, const char *key,
		size_t key_len, const char *value, size_t value_len,
		rd_kafka_headers_t *headers)
{
	for (;;)
	{
		rd_kafka_resp_err_t err;

		if (headers)
			err = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
									RD_KAFKA_V_PARTITION(partition),
									RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
									RD_KAFKA_V_TIMESTAMP(timestamp),
									RD_KAFKA_V_KEY(key, key_len),
									RD_KAFKA_V_VALUE((void *) value, value_len),
									RD_KAFKA_V_HEADERS(headers),
									RD_KAFKA_V_END);
		else
			err = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
									RD_KAFKA_V_PARTITION(partition),
									RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
									RD_KAFKA_V_TIMESTAMP(timestamp),
									RD_KAFKA_V_KEY(key, key_len),
									RD_KAFKA_V_VALUE((void *) value, value_len),
									RD_KAFKA_V_END);
		if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		{
			rd_kafka_poll(producer, 100);
			continue;
		}
		if (err && headers)
			rd_kafka_headers_destroy(headers);
		rd_kafka_poll(producer, 0);
		return err ? rd_kafka_err2str(err) : NULL;
	}
}

static const char *
do_topic(char **args, int nargs)
{
	rd_kafka_resp_err_t err;

	if (nargs != 2)
		return "usage: topic NAME PARTITIONS";
	err = rd_kafka_mock_topic_create(cluster, args[0], atoi(args[1]), 1);

	/*
	 * The cluster's thread answers first, and then empties the pipe that wakes it.
	 * A request that comes in between would be found a second later.
	 */
	usleep(TOPIC_PAUSE);
	return err ? rd_kafka_err2str(err) : NULL;
}

static const char *
do_rec(char **args, int nargs)
{
	rd_kafka_headers_t *headers = NULL;
	char	   *key;
	char	   *value;
	size_t		key_len;
	size_t		value_len;

	if (nargs < 5)
		return "usage: rec TOPIC PARTITION TIMESTAMP KEY VALUE [HEADER=VALUE ..]";
	if (!unhex(args[3], &key, &key_len) || !unhex(args[4], &value, &value_len))
		return "not hexadecimal";
	for (int i = 5; i < nargs; i++)
	{
		char	   *equals = strchr(args[i], '=');
		char	   *name;
		char	   *data;
		size_t		name_len;
		size_t		data_len;

		if (headers == NULL)
			headers = rd_kafka_headers_new(nargs - 5);
		if (equals)
			*equals = '\0';
		if (equals == NULL || !unhex(args[i], &name, &name_len) ||
			!unhex(equals + 1, &data, &data_len) || name == NULL)
		{
			rd_kafka_headers_destroy(headers);
			return "bad header";
		}
		rd_kafka_header_add(headers, name, name_len, data, data_len);
	}
	return produce(args[0], atoi(args[1]), atoll(args[2]), key, key_len, value,
				   value_len, headers);
}

static const char *
do_fill(char **args, int nargs)
{
	size_t		size;
	char	   *value;
	const char *error;

	if (nargs != 3)
		return "usage: fill TOPIC PARTITION BYTES";
	size = strtoul(args[2], NULL, 10);
	value = malloc(size ? size : 1);
	if (value == NULL)
		return "out of memory";
	for (size_t i = 0; i < size; i++)
		value[i] = (char) ('a' + i % 26);
	error = produce(args[0], atoi(args[1]), 0, "fill", 4, value, size, NULL);
	free(value);
	return error;
}

/* A repeatable sequence of numbers, better mixed than rand()'s low bits. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static rd_kafka_headers_t *
debezium_headers(void)
{
	static const char *const list[][2] = {
		{"__debezium.context.connectorLogicalName", "salesdb"},
		{"__debezium.context.taskId", "0"},
		{"__debezium.context.connectorName", "mysql"},
		{"__debezium.context.runId", "01a20249-1d38-7418-9c9d-410695334bd0"},
	};
	rd_kafka_headers_t *headers = rd_kafka_headers_new(4);

	for (int i = 0; i < 4; i++)
		rd_kafka_header_add(headers, list[i][0], -1, list[i][1], -1);
	return headers;
}

/*
 * COUNT updates in the shape of Debezium's MySQL connector over KEYS keys; a
 * key is always in the same partition.  SKIP: those after the first SKIP of the
 * sequence, so that more of it can follow.
 */
static const char *
do_bulk(char **args, int nargs)
{
	static const char *const segments[] =
	{"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"};
	int			partitions;
	long		count;
	long		keys;
	long		skip;
	uint64_t	state;
	int64_t		ts = INT64_C(1755849600000);
	char		key[64];
	char		value[2048];

	if (nargs != 5 && nargs != 6)
		return "usage: bulk TOPIC PARTITIONS COUNT KEYS SEED [SKIP]";
	partitions = atoi(args[1]);
	count = atol(args[2]);
	keys = atol(args[3]);
	state = strtoull(args[4], NULL, 10);
	skip = nargs > 5 ? atol(args[5]) : 0;
	if (partitions < 1 || count < 0 || keys < 1 || skip < 0)
		return "numbers out of range";
	for (long i = 0; i < skip + count; i++, ts++)
	{
		uint64_t	r = next_random(&state);
		long		id = (long) (r % (uint64_t) keys);
		int			key_len = snprintf(key, sizeof(key), "{\"CUST_ID\":%ld}", id);
		int			len;
		const char *error;

		if (i < skip)
			continue;
		len = snprintf(value, sizeof(value),
					   "{\"before\":{\"CUST_ID\":%ld,\"NAME\":\"Customer#%09ld\",\"MKTSEGMENT\":\"%s\"},"
					   "\"after\":{\"CUST_ID\":%ld,\"NAME\":\"Customer#%09ld\",\"MKTSEGMENT\":\"%s\"},"
					   "\"source\":{\"version\":\"3.4.0.Final\",\"connector\":\"mysql\",\"name\":\"salesdb\","
					   "\"ts_ms\":%lld,\"snapshot\":\"false\",\"db\":\"salesdb\",\"sequence\":null,"
					   "\"ts_us\":%lld000,\"ts_ns\":%lld000000,\"table\":\"CUSTOMER\",\"server_id\":1,"
					   "\"gtid\":null,\"file\":\"mysql-bin-changelog.000042\",\"pos\":%ld,\"row\":0,"
					   "\"thread\":9,\"query\":null},\"transaction\":null,\"op\":\"u\","
					   "\"ts_ms\":%lld,\"ts_us\":%lld000,\"ts_ns\":%lld000000}",
					   id, id, segments[(r >> 32) % 5],
					   id, id, segments[(r >> 40) % 5],
					   (long long) ts, (long long) ts, (long long) ts,
					   157 + i * 300, (long long) ts + 5, (long long) ts + 5,
					   (long long) ts + 5);
		error = produce(args[0], (int) (id % partitions), ts, key, key_len,
						value, len, debezium_headers());
		if (error)
			return error;
	}
	return NULL;
}

static const char *
do_sync(void)
{
	if (rd_kafka_flush(producer, PRODUCE_TIMEOUT) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return "not all records could be produced in time";
	if (delivery_errors > 0)
	{
		delivery_errors = 0;
		return delivery_reason;
	}
	return NULL;
}

/* ----------
 * Batches that no producer would make, sent as a ProduceRequest by hand.
 * ----------
 */
typedef struct Buffer
{
	unsigned char data[4096];
	size_t		len;
} Buffer;

static void
put(Buffer *buffer, int bytes, uint64_t value)
{
	for (int i = bytes - 1; i >= 0; i--)
		buffer->data[buffer->len++] = (unsigned char) (value >> (8 * i));
}

static void
put_text(Buffer *buffer, const char *text)
{
	size_t		len = strlen(text);

	put(buffer, 2, len);
	memcpy(buffer->data + buffer->len, text, len);
	buffer->len += len;
}

/* The signed numbers inside of records. */
static void
put_varint(Buffer *buffer, int32_t value)
{
	uint32_t	zigzag = ((uint32_t) value << 1) ^ (uint32_t) (value >> 31);

	while (zigzag >= 0x80)
	{
		put(buffer, 1, (zigzag & 0x7f) | 0x80);
		zigzag >>= 7;
	}
	put(buffer, 1, zigzag);
}

static uint32_t
crc32c(const unsigned char *data, size_t len)
{
	uint32_t	crc = 0xffffffff;

	for (size_t i = 0; i < len; i++)
	{
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78 & -(crc & 1));
	}
	return ~crc;
}

/* A record batch (magic 2) with one record, bad in the way that kind says. */
static const char *
make_batch(Buffer *batch, const char *kind)
{
	Buffer		body = {.len = 0};
	Buffer		record = {.len = 0};
	int			attributes = 0;
	int			length_lie = 0;
	uint32_t	crc;

	if (strcmp(kind, "codec") == 0)
		attributes = 7;			/* no such compression */
	else if (strcmp(kind, "gzip") == 0)
		attributes = 1;			/* what follows is not gzip */
	else if (strcmp(kind, "truncated") == 0)
		length_lie = 100;
	else if (strcmp(kind, "control") == 0)
		attributes = 0x30;		/* commit marker of a transaction */
	else if (strcmp(kind, "crc") != 0 && strcmp(kind, "good") != 0)
		return "kinds: crc codec gzip truncated control good";

	put(&record, 1, 0);			/* attributes */
	put_varint(&record, 0);		/* timestamp delta */
	put_varint(&record, 0);		/* offset delta */
	if (attributes == 0x30)
	{
		put_varint(&record, 4);
		put(&record, 4, 1);		/* version 0, type 1: commit */
		put_varint(&record, 6);
		put(&record, 6, 0);
	}
	else
	{
		put_varint(&record, 1);
		put(&record, 1, 'k');
		put_varint(&record, 3);
		put(&record, 3, 0x726177);	/* raw */
	}
	put_varint(&record, 0);		/* headers */

	put(&body, 2, attributes);
	put(&body, 4, 0);			/* last offset delta */
	put(&body, 8, UINT64_C(1755849600000));
	put(&body, 8, UINT64_C(1755849600000));
	put(&body, 8, (uint64_t) -1);	/* producer id */
	put(&body, 2, 0xffff);
	put(&body, 4, 0xffffffff);
	put(&body, 4, 1);			/* records */
	put_varint(&body, (int32_t) record.len + length_lie);
	memcpy(body.data + body.len, record.data, record.len);
	body.len += record.len;

	crc = crc32c(body.data, body.len);
	if (strcmp(kind, "crc") == 0)
		crc ^= 1;
	put(batch, 8, 0);			/* base offset */
	put(batch, 4, body.len + 9);
	put(batch, 4, 0);			/* leader epoch */
	put(batch, 1, 2);			/* magic */
	put(batch, 4, crc);
	memcpy(batch->data + batch->len, body.data, body.len);
	batch->len += body.len;
	return NULL;
}

static int
connect_to_broker(void)
{
	const char *port = strrchr(rd_kafka_mock_cluster_bootstraps(cluster), ':');
	struct sockaddr_in address = {.sin_family = AF_INET};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_port = htons((uint16_t) atoi(port + 1));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 &&
		connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		close(fd);
		return -1;
	}
	return fd;
}

static const char *
do_raw(char **args, int nargs)
{
	Buffer		batch = {.len = 0};
	Buffer		request = {.len = 4};
	Buffer		reply = {.len = 0};
	const char *error;
	int			fd;
	ssize_t		n;
	size_t		code_at;

	if (nargs != 3)
		return "usage: raw TOPIC PARTITION KIND";
	if (strlen(args[0]) > 249)
		return "topic name too long";
	if ((error = make_batch(&batch, args[2])) != NULL)
		return error;
	put(&request, 2, 0);		/* Produce */
	put(&request, 2, 7);		/* version */
	put(&request, 4, 1);		/* correlation id */
	put_text(&request, "raw");
	put(&request, 2, 0xffff);	/* no transactional id */
	put(&request, 2, 0xffff);	/* acks: all */
	put(&request, 4, 5000);
	put(&request, 4, 1);
	put_text(&request, args[0]);
	put(&request, 4, 1);
	put(&request, 4, (uint64_t) atoi(args[1]));
	put(&request, 4, batch.len);
	memcpy(request.data + request.len, batch.data, batch.len);
	request.len += batch.len;
	for (int i = 0; i < 4; i++)
		request.data[i] = (unsigned char) ((request.len - 4) >> (8 * (3 - i)));

	if ((fd = connect_to_broker()) < 0)
		return "could not connect to the broker";
	if (write(fd, request.data, request.len) != (ssize_t) request.len)
	{
		close(fd);
		return "could not write to the broker";
	}
	/* size, correlation id, 1 topic, its name, 1 partition, number, error */
	code_at = 4 + 4 + 4 + 2 + strlen(args[0]) + 4 + 4;
	while (reply.len < code_at + 2 &&
		   (n = read(fd, reply.data + reply.len,
					 sizeof(reply.data) - reply.len)) > 0)
		reply.len += (size_t) n;
	close(fd);
	if (reply.len < code_at + 2)
		return "no answer from the broker";
	if (reply.data[code_at] != 0 || reply.data[code_at + 1] != 0)
		return "the broker refused the batch";
	return NULL;
}

static const char *
do_broker(bool up)
{
	for (int i = 1; i <= BROKERS; i++)
	{
		rd_kafka_resp_err_t err =
			up ? rd_kafka_mock_broker_set_up(cluster, i)
			: rd_kafka_mock_broker_set_down(cluster, i);

		if (err)
			return rd_kafka_err2str(err);
	}
	return NULL;
}

static const char *
run(const char *command, char **args, int nargs)
{
	if (strcmp(command, "topic") == 0)
		return do_topic(args, nargs);
	if (strcmp(command, "rec") == 0)
		return do_rec(args, nargs);
	if (strcmp(command, "fill") == 0)
		return do_fill(args, nargs);
	if (strcmp(command, "bulk") == 0)
		return do_bulk(args, nargs);
	if (strcmp(command, "raw") == 0)
		return do_raw(args, nargs);
	if (strcmp(command, "sync") == 0)
		return do_sync();
	if (strcmp(command, "down") == 0)
		return do_broker(false);
	if (strcmp(command, "up") == 0)
		return do_broker(true);
	return "unknown command";
}

int
main(void)
{
	char	   *line = NULL;
	size_t		size = 0;

	start();
	answer(rd_kafka_mock_cluster_bootstraps(cluster), NULL);
	while (getline(&line, &size, stdin) > 0)
	{
		char	   *args[256];
		int			nargs = 0;
		const char *error;

		for (char *word = strtok(line, " \t\r\n"); word && nargs < 256;
			 word = strtok(NULL, " \t\r\n"))
			args[nargs++] = word;
		if (nargs == 0)
			continue;
		if (strcmp(args[0], "quit") == 0)
			break;
		error = run(args[0], args + 1, nargs - 1);
		answer(error ? "error" : "ok", error);
	}
	free(line);
	rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(producer, 1000);
	rd_kafka_destroy(producer);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(cluster_handle);
	return 0;
}
