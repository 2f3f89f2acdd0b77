/*-------------------------------------------------------------------------
 *
 * msk_address.c
 *	  What the addresses of Amazon MSK's brokers say about a connection.
 *
 * The host names of MSK hold the region, and its ports say who is let in.  The
 * ports mean nothing at other hosts: 9094 is anything there.
 *
 *-------------------------------------------------------------------------
 */
#include "msk_address.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct MskPort
{
	int			port;
	CdcMskAccess access;
} MskPort;

/* Private, public, and IPv6. */
static const MskPort msk_ports[] = {
	{9092, CDC_MSK_PLAINTEXT}, {20092, CDC_MSK_PLAINTEXT},
	{9094, CDC_MSK_TLS}, {9194, CDC_MSK_TLS}, {20094, CDC_MSK_TLS},
	{9096, CDC_MSK_SCRAM}, {9196, CDC_MSK_SCRAM}, {20096, CDC_MSK_SCRAM},
	{9098, CDC_MSK_IAM}, {9198, CDC_MSK_IAM}, {20098, CDC_MSK_IAM},
};

#define DEFAULT_PORT	9092	/* of librdkafka */

bool
cdc_aws_region_valid(const char *region, size_t len)
{
	if (len == 0 || len > CDC_MSK_REGION_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!(region[i] >= 'a' && region[i] <= 'z') &&
			!(region[i] >= '0' && region[i] <= '9') && region[i] != '-')
			return false;
	return true;
}

static bool
ends_with(const char *text, size_t len, const char *end)
{
	size_t		n = strlen(end);

	return len > n && strncasecmp(text + len - n, end, n) == 0;
}

/*
 * The region in a name like b-1.x.y.c2.kafka.REGION.amazonaws.com, or in
 * boot-x.c1.kafka-serverless.REGION.amazonaws.com, or in
 * vpce-x.kafka.REGION.vpce.amazonaws.com.  False if it is no name of MSK.
 */
static bool
host_region(const char *host, size_t len, char region[CDC_MSK_REGION_MAX + 1])
{
	const char *end = host + len;

	if (!ends_with(host, len, ".amazonaws.com") &&
		!ends_with(host, len, ".amazonaws.com.cn"))
		return false;
	for (const char *label = host; label < end;)
	{
		const char *dot = memchr(label, '.', end - label);
		const char *next;
		size_t		n;

		if (dot == NULL)
			return false;
		n = dot - label;
		next = memchr(dot + 1, '.', end - dot - 1);
		if (next && ((n == 5 && strncasecmp(label, "kafka", n) == 0) ||
					 (n == 16 && strncasecmp(label, "kafka-serverless", n) == 0)))
		{
			size_t		region_len = next - dot - 1;

			if (!cdc_aws_region_valid(dot + 1, region_len))
				return false;
			memcpy(region, dot + 1, region_len);
			region[region_len] = '\0';
			return true;
		}
		label = dot + 1;
	}
	return false;
}

static CdcMskAccess
port_access(int port)
{
	for (size_t i = 0; i < sizeof(msk_ports) / sizeof(msk_ports[0]); i++)
		if (msk_ports[i].port == port)
			return msk_ports[i].access;
	return CDC_MSK_UNKNOWN;
}

bool
cdc_msk_addresses_read(const char *addresses, CdcMskAccess *access,
					   char region[CDC_MSK_REGION_MAX + 1])
{
	bool		first = true;

	*access = CDC_MSK_UNKNOWN;
	region[0] = '\0';
	for (const char *p = addresses; *p; p += *p == ',')
	{
		size_t		len;
		size_t		host_len;
		char		found[CDC_MSK_REGION_MAX + 1];
		CdcMskAccess is = CDC_MSK_UNKNOWN;

		while (*p == ' ')
			p++;
		len = strcspn(p, ",");
		host_len = strcspn(p, ":, ");
		if (host_region(p, host_len, found))
		{
			is = port_access(p[host_len] == ':' ? atoi(p + host_len + 1) :
							 DEFAULT_PORT);
			if (region[0] != '\0' && strcmp(region, found) != 0)
				return false;
			strcpy(region, found);
		}
		*access = first || is == *access ? is : CDC_MSK_MIXED;
		first = false;
		p += len;
	}
	return true;
}
