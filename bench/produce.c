/*-------------------------------------------------------------------------
 *
 * produce.c
 *	  Make the events of the benchmark: what Debezium's MySQL connector sends
 *	  for a table of customers that is written to at random.
 *
 *	  produce BROKER TOPIC SKIP COUNT KEYS SEED SHAPE [SCHEMA]
 *
 * The sequence of records is a function of KEYS and SEED alone; records SKIP
 * to SKIP + COUNT - 1 of it are sent, so that a long sequence can be sent in
 * rounds.  A customer that does not exist is created, one that does is deleted
 * once in 20 times, else updated; a delete is followed by its tombstone.  With
 * 0 KEYS each event creates a customer of its own.  All changes of a customer
 * are in one partition, the one that Kafka Connect's producer chooses.  Each
 * record has the four headers that Debezium's context makes.
 *
 * SHAPE tells which columns the table has, see shapes[].
 *
 * SCHEMA is a file with the Connect schema of the value, which is embedded in
 * each value then, as by JsonConverter with schemas.enable=true from a connector
 * with column.propagate.source.type=.* (which Debezium's JDBC sink asks for).
 *
 * Prints "RECORDS BYTES ALL_BYTES": what was sent, the bytes of its keys and
 * values, and those of its headers too.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <string.h>

#include "client.h"

#define FLUSH_TIMEOUT 300000	/* ms */

typedef struct Customer
{
	bool		exists;
	unsigned char segment;
	unsigned short version;		/* changes its name */
} Customer;

/* What comes next in the sequence. */
typedef struct Sequence
{
	uint64_t	random;
	long		nkeys;			/* 0: all are distinct */
	long		nevents;
	Customer   *customers;
	int64_t		ts;				/* ms, of the source */
	int64_t		pos;			/* in its binary log */
	long		tombstone;		/* a delete of this key went before, or -1 */
} Sequence;

typedef struct Event
{
	long		id;
	int64_t		ts;
	int			value_len;		/* -1: tombstone */
	char		value[65536];
} Event;

/* What a row has besides the three columns of a customer. */
typedef struct Shape
{
	const char *name;
	int			ncolumns;		/* C004, C005, .. of four types in turn */
	int			note_size;		/* bytes of the column NOTE, about */
	const char *note;			/* repeated in it */
} Shape;

static const Shape shapes[] = {
	{"plain", 0, 0, NULL},
	{"schema", 0, 0, NULL},
	{"wide", 97, 0, NULL},
	{"text", 0, 1000, "The quick brown fox jumps over the lazy dog. "},
	{"escaped", 0, 1000, "a \\\"quoted\\\" word,\\tC:\\\\dir\\n\\u00e4 "},
	{"unicode", 0, 1000, "\xc3\x84pfel, \xe6\xbc\xa2\xe5\xad\x97 und \xf0\x9f\x98\x80 "},
	{"long", 0, 10000, "The quick brown fox jumps over the lazy dog. "},
};

static const Property properties[] = {
	{"enable.idempotence", "true", false},
	{"partitioner", "murmur2_random", false},	/* as Kafka's Java client */
	{"linger.ms", "50", false},
	{"queue.buffering.max.kbytes", "500000", false},
	{"queue.buffering.max.messages", "1000000", false},
	{NULL}
};

static const char *const segments[] =
{"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"};

static const char *const headers[][2] = {
	{"__debezium.context.connectorLogicalName", "salesdb"},
	{"__debezium.context.taskId", "0"},
	{"__debezium.context.connectorName", "mysql"},
	{"__debezium.context.runId", "01a20249-1d38-7418-9c9d-410695334bd0"},
};

static const char key_schema[] =
"{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int64\",\"optional\":false,"
"\"parameters\":{\"__debezium.source.column.type\":\"BIGINT\",\"__debezium.source.column.name\":\"CUST_ID\"},"
"\"field\":\"CUST_ID\"}],\"optional\":false,\"name\":\"salesdb.salesdb.CUSTOMER.Key\"},"
"\"payload\":{\"CUST_ID\":%ld}}";

static const Shape *shape = NULL;
static char *note = NULL;		/* what is in the column, or NULL */
static char *schema = NULL;
static long failed = 0;

/* splitmix64 */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The columns that only a wide table has. */
static int
print_columns(char *to, size_t size, long id, const Customer *c)
{
	int			n = 0;

	for (int i = 0; i < shape->ncolumns; i++)
	{
		n += snprintf(to + n, size - n, ",\"C%03d\":", i + 4);
		switch (i % 4)
		{
			case 0:
				n += snprintf(to + n, size - n, "%ld", id * 100 + i);
				break;
			case 1:
				n += snprintf(to + n, size - n, "\"text %u of %d\"", c->version, i);
				break;
			case 2:
				n += snprintf(to + n, size - n, "\"%ld.%02d\"", id % 1000000, i);
				break;
			default:
				n += snprintf(to + n, size - n, "\"2026-11-22T10:%02d:%02dZ\"", i % 60, c->version % 60);
		}
	}
	return n;
}

static int
print_image(char *to, size_t size, long id, const Customer *c)
{
	int			n;

	if (!c->exists)
		return snprintf(to, size, "null");
	n = snprintf(to, size, "{\"CUST_ID\":%ld,\"NAME\":\"Customer#%09ld.%u\",\"MKTSEGMENT\":\"%s\"",
				 id, id, c->version, segments[c->segment]);
	n += print_columns(to + n, size - n, id, c);
	if (note)
		n += snprintf(to + n, size - n, ",\"NOTE\":\"%u %s\"", c->version, note);
	return n + snprintf(to + n, size - n, "}");
}

static void
print_event(Event *event, const Sequence *seq, char op, const Customer *before,
			const Customer *after)
{
	char	   *to = event->value;
	size_t		size = sizeof(event->value);
	int			n = 0;
	long long	ts = seq->ts;

	if (schema)
		n += snprintf(to + n, size - n, "{\"schema\":%s,\"payload\":", schema);
	n += snprintf(to + n, size - n, "{\"before\":");
	n += print_image(to + n, size - n, event->id, before);
	n += snprintf(to + n, size - n, ",\"after\":");
	n += print_image(to + n, size - n, event->id, after);
	n += snprintf(to + n, size - n,
				  ",\"source\":{\"version\":\"3.4.0.Final\",\"connector\":\"mysql\",\"name\":\"salesdb\","
				  "\"ts_ms\":%lld000,\"snapshot\":\"false\",\"db\":\"salesdb\",\"sequence\":null,"
				  "\"ts_us\":%lld000000,\"ts_ns\":%lld000000000,\"table\":\"CUSTOMER\",\"server_id\":1,"
				  "\"gtid\":null,\"file\":\"mysql-bin-changelog.000042\",\"pos\":%lld,\"row\":0,"
				  "\"thread\":9,\"query\":null},\"transaction\":null,\"op\":\"%c\","
				  "\"ts_ms\":%lld,\"ts_us\":%lld123,\"ts_ns\":%lld123456}%s",
				  ts / 1000, ts / 1000, ts / 1000, (long long) seq->pos, op,
				  ts + 5, ts + 5, ts + 5, schema ? "}" : "");
	if ((size_t) n >= size)
		fatal("event", "too long");
	event->value_len = n;
	event->ts = ts + 5;
}

/* The next event of the sequence; wanted: print it. */
static void
next_event(Sequence *seq, bool wanted, Event *event)
{
	uint64_t	r;
	Customer	fresh = {0};
	Customer   *now = &fresh;
	Customer	before;
	char		op;

	if (seq->tombstone >= 0)
	{
		event->id = seq->tombstone;
		event->ts = seq->ts + 5;
		event->value_len = -1;
		seq->tombstone = -1;
		return;
	}
	r = next_random(&seq->random);
	event->id = seq->nevents++;
	if (seq->nkeys > 0)
	{
		event->id = (long) (r % (uint64_t) seq->nkeys);
		now = &seq->customers[event->id];
	}
	before = *now;
	op = !now->exists ? 'c' : (r >> 40) % 20 == 0 ? 'd' : 'u';
	now->exists = op != 'd';
	now->segment = (r >> 48) % 5;
	now->version++;
	seq->ts++;
	seq->pos += 300;
	if (op == 'd')
		seq->tombstone = event->id;
	if (wanted)
		print_event(event, seq, op, &before, now);
}

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
	{
		if (failed++ == 0)
			fprintf(stderr, "produce: %s\n", rd_kafka_err2str(message->err));
	}
}

/* Returns the bytes of key and value. */
static long
send_event(rd_kafka_t *rk, const char *topic, const Event *event)
{
	rd_kafka_headers_t *list = rd_kafka_headers_new(4);
	char		key[512];
	int			key_len = snprintf(key, sizeof(key),
								   schema ? key_schema : "{\"CUST_ID\":%ld}",
								   event->id);
	bool		tombstone = event->value_len < 0;
	long		bytes = key_len + (tombstone ? 0 : event->value_len);

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		rd_kafka_header_add(list, headers[i][0], -1, headers[i][1], -1);
	for (;;)
	{
		rd_kafka_resp_err_t err =
			rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
							  RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
							  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							  RD_KAFKA_V_TIMESTAMP(event->ts),
							  RD_KAFKA_V_KEY(key, key_len),
							  RD_KAFKA_V_VALUE(tombstone ? NULL : (void *) event->value,
											   tombstone ? 0 : event->value_len),
							  RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			fatal("produce", rd_kafka_err2str(err));
		rd_kafka_poll(rk, 100);
	}
	rd_kafka_poll(rk, 0);
	return bytes;
}

static long
header_bytes(void)
{
	long		bytes = 0;

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		bytes += strlen(headers[i][0]) + strlen(headers[i][1]);
	return bytes;
}

static void
choose_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0)
			shape = &shapes[i];
	if (shape == NULL)
		fatal("usage", "no such shape");
	if (shape->note == NULL)
		return;
	note = calloc(1, shape->note_size + strlen(shape->note) + 1);
	if (note == NULL)
		fatal("note", "out of memory");
	for (size_t n = 0; n < (size_t) shape->note_size; n += strlen(shape->note))
		strcpy(note + n, shape->note);
}

static char *
read_schema(const char *path)
{
	FILE	   *f = fopen(path, "r");
	char	   *text = NULL;
	size_t		size = 0;

	if (f == NULL || getline(&text, &size, f) <= 0)
		fatal(path, "cannot be read");
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

int
main(int argc, char **argv)
{
	static Event event;
	Sequence	seq = {.ts = INT64_C(1755849600000),.pos = 157,.tombstone = -1};
	rd_kafka_t *rk;
	long		skip;
	long		count;
	long		bytes = 0;

	if (argc != 8 && argc != 9)
		fatal("usage", "produce BROKER TOPIC SKIP COUNT KEYS SEED SHAPE [SCHEMA]");
	skip = atol(argv[3]);
	count = atol(argv[4]);
	seq.nkeys = atol(argv[5]);
	seq.random = strtoull(argv[6], NULL, 10);
	choose_shape(argv[7]);
	if (argc == 9)
		schema = read_schema(argv[8]);
	if (skip < 0 || count < 1 || seq.nkeys < 0)
		fatal("usage", "numbers out of range");
	seq.customers = calloc(seq.nkeys + 1, sizeof(Customer));
	if (seq.customers == NULL)
		fatal("customers", "out of memory");
	rk = open_client(RD_KAFKA_PRODUCER, argv[1], properties, delivered);
	for (long i = 0; i < skip; i++)
		next_event(&seq, false, &event);
	for (long i = 0; i < count; i++)
	{
		next_event(&seq, true, &event);
		bytes += send_event(rk, argv[2], &event);
	}
	if (rd_kafka_flush(rk, FLUSH_TIMEOUT) != RD_KAFKA_RESP_ERR_NO_ERROR || failed)
		fatal("flush", "not all records were delivered");
	rd_kafka_destroy(rk);
	printf("%ld %ld %ld\n", count, bytes, bytes + count * header_bytes());
	return 0;
}
