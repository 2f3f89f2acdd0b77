/*-------------------------------------------------------------------------
 *
 * kafka_security.h
 *	  How a connection to Kafka is protected, and how we are known there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_SECURITY_H
#define CDC_KAFKA_SECURITY_H

#include "nodes/pg_list.h"

#include "msk_address.h"

typedef struct CdcKafkaSecurity
{
	const char *protocol;		/* as librdkafka names it */
	const char *mechanism;		/* as librdkafka names it; NULL: no SASL */
	bool		tls;
	bool		iam;			/* by a token of AWS's IAM */
} CdcKafkaSecurity;

/*
 * Decide by the options of a server, and where they do not say it by its
 * addresses.  Errors if they contradict each other.
 */
extern void cdc_kafka_security_decide(List *options, CdcKafkaSecurity *security);

/* The value of an option in a list of DefElem, NULL if it is not set. */
extern char *cdc_kafka_option(List *options, const char *name);

#endif							/* CDC_KAFKA_SECURITY_H */
