/*-------------------------------------------------------------------------
 *
 * kafka_options.h
 *	  The options of a Kafka server, of a user mapping for it and of a topic.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_OPTIONS_H
#define CDC_KAFKA_OPTIONS_H

#include "nodes/pg_list.h"

#include "aws_credentials.h"
#include "kafka_security.h"

/* One property of librdkafka. */
typedef struct CdcKafkaProperty
{
	const char *name;
	const char *value;
} CdcKafkaProperty;

/*
 * What a connection needs.  Properties hold secrets: never print a value.
 */
typedef struct CdcKafkaOptions
{
	char	   *server;			/* name of the foreign server */
	char	   *bootstrap_servers;	/* NULL: to be asked for by cluster_arn */
	const char *cluster_arn;	/* or NULL */
	const char *cluster_network;
	CdcKafkaSecurity security;
	bool		uses_tls;
	int			connect_timeout;	/* ms */
	int			stall_timeout;	/* ms */
	const CdcAwsSettings *aws;	/* NULL: AWS is not asked */
	const char *token_host;		/* NULL: the usual one */
	List	   *properties;		/* of CdcKafkaProperty * */
	List	   *secrets;		/* of DefElem: the user mapping, and what its files
								 * hold; properties and aws point to the values */
} CdcKafkaOptions;

/*
 * The options of a server and of the user's mapping for it (or PUBLIC's, or
 * none), in the current memory context.  Errors if they do not suffice.  What
 * is secret is overwritten when that context is reset or deleted.
 */
extern CdcKafkaOptions *cdc_kafka_options_get(Oid serverid, Oid userid);

/* Overwrite what is secret now. */
extern void cdc_kafka_options_wipe(CdcKafkaOptions *options);

/* A Kafka server that the current user may use, by its name; or an error. */
extern Oid	cdc_kafka_server(const char *name);

/* The topic of a foreign table; an error if the table is not one of ours. */
extern char *cdc_kafka_topic(Oid relid, Oid *serverid);

/* An error unless the user may read the foreign table of a topic. */
extern void cdc_kafka_topic_check(Oid relid, Oid serverid, Oid userid);

#endif							/* CDC_KAFKA_OPTIONS_H */
