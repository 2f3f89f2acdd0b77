/*-------------------------------------------------------------------------
 *
 * msk_address.h
 *	  What the addresses of Amazon MSK's brokers say about a connection.
 *
 * Pure C, no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MSK_ADDRESS_H
#define CDC_MSK_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* How a client is known to the brokers. */
typedef enum CdcMskAccess
{
	CDC_MSK_UNKNOWN,			/* no address of MSK, or another port */
	CDC_MSK_PLAINTEXT,
	CDC_MSK_TLS,				/* or with a client certificate */
	CDC_MSK_SCRAM,
	CDC_MSK_IAM,
	CDC_MSK_MIXED				/* the addresses do not agree */
} CdcMskAccess;

#define CDC_MSK_REGION_MAX	31

/* Letters, digits and '-', as in eu-central-1. */
extern bool cdc_aws_region_valid(const char *region, size_t len);

/*
 * Read a list of host:port.  region is "" if no host names one; false if two
 * of them name different ones.
 */
extern bool cdc_msk_addresses_read(const char *addresses, CdcMskAccess *access,
								   char region[CDC_MSK_REGION_MAX + 1]);

#endif							/* CDC_MSK_ADDRESS_H */
