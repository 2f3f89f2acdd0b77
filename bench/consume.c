/*-------------------------------------------------------------------------
 *
 * consume.c
 *	  The yardstick of landing: a consumer that only counts.
 *
 *	  consume BROKER TOPIC PARTITIONS
 *
 * Reads all partitions, from offset 0 to the end that each has, with the settings
 * that the extension gives to its consumer (kafka.c), more room for what waits, and
 * the cheapest interface that librdkafka has.  Prints "RECORDS BYTES SECONDS", bytes
 * of keys and values, from the making of the consumer to the last record.
 *
 * It asks for the topic's metadata first, and wants offsets and not "the beginning":
 * otherwise it would wait 0.6 s for the leaders' answers before it reads anything.
 *
 *-------------------------------------------------------------------------
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 10000

static const struct
{
	const char *name;
	const char *value;
	int			optional;		/* not in every version */
}			properties[] =
{
	{"group.id", "bench", 0},
	{"enable.auto.commit", "false", 0},
	{"enable.auto.offset.store", "false", 0},
	{"auto.offset.reset", "error", 0},
	{"enable.partition.eof", "true", 0},
	{"check.crcs", "true", 0},
	{"isolation.level", "read_committed", 0},
	{"fetch.wait.max.ms", "100", 0},
	{"fetch.max.bytes", "4194304", 0},
	{"receive.message.max.bytes", "300000000", 0},
	{"queued.max.messages.kbytes", "65536", 0},
	{"fetch.queue.backoff.ms", "10", 1},
};

static void
fatal(const char *what, const char *reason)
{
	fprintf(stderr, "consume: %s: %s\n", what, reason);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
get_metadata(rd_kafka_t *rk, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &metadata, 10000);

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		fatal("metadata", rd_kafka_err2str(err));
	rd_kafka_metadata_destroy(metadata);
	rd_kafka_topic_destroy(topic);
}

static rd_kafka_t *
open_consumer(const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	char		errstr[256];

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (rd_kafka_conf_set(conf, properties[i].name, properties[i].value,
							  errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK &&
			!properties[i].optional)
			fatal(properties[i].name, errstr);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, errstr,
						  sizeof(errstr)) != RD_KAFKA_CONF_OK)
		fatal("bootstrap.servers", errstr);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
	if (rk == NULL)
		fatal("consumer", errstr);
	rd_kafka_poll_set_consumer(rk);
	return rk;
}

int
main(int argc, char **argv)
{
	static rd_kafka_message_t *messages[BATCH];
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_queue_t *queue;
	rd_kafka_resp_err_t err;
	rd_kafka_t *rk;
	double		start = now();
	double		seconds;
	int			partitions;
	int			running;
	long		records = 0;
	long		bytes = 0;

	if (argc != 4 || (partitions = atoi(argv[3])) < 1)
		fatal("usage", "consume BROKER TOPIC PARTITIONS");
	rk = open_consumer(argv[1]);
	get_metadata(rk, argv[2]);
	list = rd_kafka_topic_partition_list_new(partitions);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, argv[2], i)->offset = 0;
	if ((err = rd_kafka_assign(rk, list)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		fatal("assign", rd_kafka_err2str(err));
	rd_kafka_topic_partition_list_destroy(list);
	queue = rd_kafka_queue_get_consumer(rk);
	running = partitions;
	while (running > 0)
	{
		ssize_t		n = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);

		for (ssize_t i = 0; i < n; i++)
		{
			if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
				running--;
			else if (messages[i]->err)
				fatal("consume", rd_kafka_message_errstr(messages[i]));
			else
			{
				records++;
				bytes += messages[i]->key_len + messages[i]->len;
			}
			rd_kafka_message_destroy(messages[i]);
		}
	}
	seconds = now() - start;
	rd_kafka_queue_destroy(queue);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	printf("%ld %ld %.4f\n", records, bytes, seconds);
	return 0;
}
