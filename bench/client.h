/*-------------------------------------------------------------------------
 *
 * client.h
 *	  How the programs of the benchmark connect to Kafka, and how they fail;
 *	  included by one file per program.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Property
{
	const char *name;			/* NULL: there are no more */
	const char *value;
	bool		optional;		/* not in every version */
} Property;

static void
fatal(const char *what, const char *reason)
{
	fprintf(stderr, "%s: %s\n", what, reason);
	exit(1);
}

static rd_kafka_t *
open_client(rd_kafka_type_t type, const char *brokers, const Property *properties,
			void (*delivered) (rd_kafka_t *, const rd_kafka_message_t *, void *))
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	char		errstr[256];

	for (const Property *p = properties; p->name; p++)
		if (rd_kafka_conf_set(conf, p->name, p->value, errstr,
							  sizeof(errstr)) != RD_KAFKA_CONF_OK && !p->optional)
			fatal(p->name, errstr);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, errstr,
						  sizeof(errstr)) != RD_KAFKA_CONF_OK)
		fatal("bootstrap.servers", errstr);
	if (delivered)
		rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rk = rd_kafka_new(type, conf, errstr, sizeof(errstr));
	if (rk == NULL)
		fatal("client", errstr);
	return rk;
}

#endif							/* BENCH_CLIENT_H */
