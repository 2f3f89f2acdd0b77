/*-------------------------------------------------------------------------
 *
 * msk_brokers.c
 *	  The brokers of a cluster of Amazon MSK, by its ARN.
 *
 * One request, GetBootstrapBrokers, tells all lists of addresses that the
 * cluster has: one for each way to be let in and each network.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "aws_internal.h"
#include "msk_brokers.h"

#define TIMEOUT		4000		/* ms */
#define TRIES		2

/* The member of the answer, by what a client shows and the network. */
static const struct
{
	const char *network;
	CdcMskAccess access;
	const char *member;
}			lists[] =
{
	{"private", CDC_MSK_PLAINTEXT, "bootstrapBrokerString"},
	{"private", CDC_MSK_TLS, "bootstrapBrokerStringTls"},
	{"private", CDC_MSK_SCRAM, "bootstrapBrokerStringSaslScram"},
	{"private", CDC_MSK_IAM, "bootstrapBrokerStringSaslIam"},
	{"public", CDC_MSK_TLS, "bootstrapBrokerStringPublicTls"},
	{"public", CDC_MSK_SCRAM, "bootstrapBrokerStringPublicSaslScram"},
	{"public", CDC_MSK_IAM, "bootstrapBrokerStringPublicSaslIam"},
	{"vpc", CDC_MSK_TLS, "bootstrapBrokerStringVpcConnectivityTls"},
	{"vpc", CDC_MSK_SCRAM, "bootstrapBrokerStringVpcConnectivitySaslScram"},
	{"vpc", CDC_MSK_IAM, "bootstrapBrokerStringVpcConnectivitySaslIam"},
};

bool
cdc_msk_network_valid(const char *network)
{
	return pg_strcasecmp(network, "private") == 0 ||
		pg_strcasecmp(network, "public") == 0 || pg_strcasecmp(network, "vpc") == 0;
}

bool
cdc_msk_arn_read(const char *arn, char region[CDC_MSK_REGION_MAX + 1])
{
	const char *part = arn;
	size_t		len;

	for (const char *p = arn; *p; p++)
		if (!isalnum((unsigned char) *p) && strchr(":/-_.", *p) == NULL)
			return false;
	/* arn : aws : kafka : region : account : cluster/.. */
	if (strncmp(part, "arn:aws", 7) != 0 || (part = strchr(part + 4, ':')) == NULL ||
		strncmp(part, ":kafka:", 7) != 0)
		return false;
	part += 7;
	len = strcspn(part, ":");
	if (!cdc_aws_region_valid(part, len) || part[len] == '\0')
		return false;
	memcpy(region, part, len);
	region[len] = '\0';
	part += len + 1;
	part += strspn(part, "0123456789");
	return strncmp(part, ":cluster/", 9) == 0 && part[9] != '\0';
}

static CdcMskAccess
access_of(const CdcKafkaSecurity *security)
{
	if (security->iam)
		return CDC_MSK_IAM;
	if (security->mechanism)
		return CDC_MSK_SCRAM;
	return security->tls ? CDC_MSK_TLS : CDC_MSK_PLAINTEXT;
}

static const char *
member_name(const char *network, CdcMskAccess access)
{
	for (int i = 0; i < lengthof(lists); i++)
		if (lists[i].access == access && pg_strcasecmp(lists[i].network, network) == 0)
			return lists[i].member;
	return NULL;
}

static void
refused(CdcAwsSearch *search, const CdcHttpAnswer *answer)
{
	static const char *const names[] = {"message", "Message"};
	char	   *values[lengthof(names)];
	char	   *message = NULL;
	const char *hint = NULL;

	if (cdc_aws_json_read(answer->body, answer->len, lengthof(names), names, values))
		message = cdc_aws_message(values[0] ? values[0] : values[1]);
	if (answer->status == 403)
		hint = _("The policy of the user or role must allow kafka:GetBootstrapBrokers for this cluster; or name the brokers in \"bootstrap_servers\".");
	else if (answer->status == 404)
		hint = _("Check the server's option \"cluster_arn\".");
	cdc_aws_fail(search, hint, _("AWS refuses to tell the brokers, with status %d%s%s"),
				 answer->status, message ? ": " : ".", message ? message : "");
}

static char *
read_answer(CdcAwsSearch *search, const CdcHttpAnswer *answer, const char *member)
{
	char	   *brokers;

	if (answer->status != 200)
		refused(search, answer);
	else if (!cdc_aws_json_read(answer->body, answer->len, 1, &member, &brokers))
		cdc_aws_fail(search, NULL, _("The answer of AWS about the brokers is not JSON."));
	else if (brokers == NULL || brokers[0] == '\0')
		cdc_aws_fail(search, _("Check the server's options \"auth\", \"security_protocol\" and \"cluster_network\", and what the cluster offers."),
					 _("The cluster has no brokers of this kind: there is no %s."), member);
	else
		return brokers;
	return NULL;
}

char *
cdc_msk_brokers_ask(const CdcAwsSettings *settings,
					const CdcAwsCredentials *credentials, const char *arn,
					const char *network, const CdcKafkaSecurity *security,
					TimestampTz deadline, CdcAwsResult *result)
{
	CdcAwsSearch search = {settings, deadline, result};
	const char *member = member_name(network, access_of(security));
	const char *url = cdc_aws_endpoint("AWS_ENDPOINT_URL_KAFKA", "kafka", settings->region);
	const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	char	   *headers[6];
	CdcAwsRequest signing = {
		.method = "GET",.host = host,.service = "kafka",.region = settings->region,.body = ""
	};
	CdcHttpRequest request = {.method = "GET",.headers = (const char *const *) headers};
	CdcHttpAnswer answer;
	char	   *brokers = NULL;

	memset(result, 0, sizeof(*result));
	if (member == NULL)
	{
		cdc_aws_fail(&search, _("Brokers in plaintext are reached within their network alone."),
					 _("There are no brokers of this kind on the network \"%s\"."), network);
		return NULL;
	}
	signing.path = psprintf("/v1/clusters/%s/bootstrap-brokers", cdc_aws_encoded(arn));
	request.url = psprintf("%s%s", url, signing.path);
	if (!cdc_aws_headers_sign(&signing, credentials, headers))
	{
		cdc_aws_fail(&search, NULL, _("The request for the brokers could not be signed."));
		return NULL;
	}
	if (cdc_aws_ask(&search, &request, TIMEOUT, TRIES, &answer))
		brokers = read_answer(&search, &answer, member);
	cdc_aws_headers_wipe(headers);
	cdc_http_answer_wipe(&answer);
	if (brokers == NULL && cdc_aws_clock_text(result))
		result->hint = cdc_aws_clock_text(result);
	return brokers;
}
