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
#include <time.h>

#include "client.h"

#define BATCH 10000

static const Property properties[] =
{
	{"group.id", "bench", false},
	{"enable.auto.commit", "false", false},
	{"enable.auto.offset.store", "false", false},
	{"auto.offset.reset", "error", false},
	{"enable.partition.eof", "true", false},
	{"check.crcs", "true", false},
	{"isolation.level", "read_committed", false},
	{"fetch.wait.max.ms", "100", false},
	{"fetch.max.bytes", "4194304", false},
	{"receive.message.max.bytes", "300000000", false},
	{"queued.max.messages.kbytes", "65536", false},
	{"fetch.queue.backoff.ms", "10", true},
	{NULL}
};

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
	rk = open_client(RD_KAFKA_CONSUMER, argv[1], properties, NULL);
	rd_kafka_poll_set_consumer(rk);
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
