/*-------------------------------------------------------------------------
 *
 * msk_brokers.h
 *	  The brokers of a cluster of Amazon MSK, by its ARN.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MSK_BROKERS_H
#define CDC_MSK_BROKERS_H

#include "aws_credentials.h"
#include "kafka_security.h"

/*
 * The region in arn:PARTITION:kafka:REGION:ACCOUNT:cluster/NAME/ID; false if
 * it is no such ARN.
 */
extern bool cdc_msk_arn_read(const char *arn, char region[CDC_MSK_REGION_MAX + 1]);

/* "private", "public" or "vpc": the network that brokers are reached by. */
extern bool cdc_msk_network_valid(const char *network);

/*
 * Ask AWS for them, with these credentials, until the deadline.  NULL and the
 * result's problem and hint if there are none.
 */
extern char *cdc_msk_brokers_ask(const CdcAwsSettings *settings,
								 const CdcAwsCredentials *credentials,
								 const char *arn, const char *network,
								 const CdcKafkaSecurity *security,
								 TimestampTz deadline, CdcAwsResult *result);

#endif							/* CDC_MSK_BROKERS_H */
