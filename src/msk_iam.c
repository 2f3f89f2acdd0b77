/*-------------------------------------------------------------------------
 *
 * msk_iam.c
 *	  The token by which Amazon MSK lets in who has an identity of AWS.
 *
 * A token is the address of a request to the service kafka-cluster that is
 * signed in its query ("presigned"), in base64url.  Nobody ever sends the
 * request: the broker checks the signature with AWS, and learns whose it is.
 * The agent is appended after the signature and not part of it.
 *
 *-------------------------------------------------------------------------
 */
#include "msk_iam.h"

#include <stdio.h>

#define SERVICE	"kafka-cluster"

/* Sorted by name, as a canonical request wants it. */
static void
append_query(CdcAwsText *query, const CdcAwsCredentials *credentials,
			 const char *region, const char *stamp, int lifetime)
{
	CdcAwsText	scope = {0};
	char		seconds[16];

	cdc_aws_append_scope(&scope, stamp, region, SERVICE);
	cdc_aws_append(query, "Action=kafka-cluster%3AConnect"
				   "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
	cdc_aws_append_encoded(query, credentials->access_key);
	cdc_aws_append(query, "%2F");
	if (scope.failed)
		query->failed = true;
	else
		cdc_aws_append_encoded(query, scope.data);
	cdc_aws_append(query, "&X-Amz-Date=");
	cdc_aws_append(query, stamp);
	snprintf(seconds, sizeof(seconds), "%d", lifetime);
	cdc_aws_append(query, "&X-Amz-Expires=");
	cdc_aws_append(query, seconds);
	if (credentials->session_token)
	{
		cdc_aws_append(query, "&X-Amz-Security-Token=");
		cdc_aws_append_encoded(query, credentials->session_token);
	}
	cdc_aws_append(query, "&X-Amz-SignedHeaders=host");
	cdc_aws_text_free(&scope);
}

static bool
sign_query(const CdcAwsText *query, const char *secret_key, const char *region,
		   const char *host, const char *stamp,
		   char signature[CDC_AWS_SHA256_HEX + 1])
{
	char		digest[CDC_AWS_SHA256_HEX + 1];
	CdcAwsText	request = {0};
	bool		ok;

	if (query->failed || !cdc_aws_sha256_hex("", 0, digest))
		return false;
	cdc_aws_append(&request, "GET\n/\n");
	cdc_aws_append_bytes(&request, query->data, query->len);
	cdc_aws_append(&request, "\nhost:");
	cdc_aws_append(&request, host);
	cdc_aws_append(&request, "\n\nhost\n");
	cdc_aws_append(&request, digest);
	ok = cdc_aws_sign(secret_key, stamp, region, SERVICE, &request, signature);
	cdc_aws_text_free(&request);
	return ok;
}

static void
append_url(CdcAwsText *url, const char *host, const CdcAwsText *query,
		   const char *signature, const char *agent)
{
	cdc_aws_append(url, "https://");
	cdc_aws_append(url, host);
	cdc_aws_append(url, "/?");
	cdc_aws_append_bytes(url, query->data, query->len);
	cdc_aws_append(url, "&X-Amz-Signature=");
	cdc_aws_append(url, signature);
	cdc_aws_append(url, "&User-Agent=");
	cdc_aws_append_encoded(url, agent);
}

bool
cdc_msk_token_make(const CdcAwsCredentials *credentials, const char *region,
				   const char *host, const char *agent, int64_t time,
				   CdcAwsText *token, int64_t *expires_ms)
{
	int64_t		lifetime = CDC_MSK_TOKEN_LIFETIME;
	char		stamp[CDC_AWS_TIME_LEN + 1];
	char		signature[CDC_AWS_SHA256_HEX + 1];
	CdcAwsText	query = {0};
	CdcAwsText	own_host = {0};
	CdcAwsText	url = {0};
	bool		ok;

	if (credentials->expires != 0 && credentials->expires - time < lifetime)
		lifetime = credentials->expires - time;
	if (lifetime <= 0 || !cdc_aws_time_format(time, stamp))
		return false;
	cdc_aws_append(&own_host, "kafka.");
	cdc_aws_append(&own_host, region);
	cdc_aws_append(&own_host, ".amazonaws.com");
	if (host == NULL)
		host = own_host.data;
	append_query(&query, credentials, region, stamp, (int) lifetime);
	ok = !own_host.failed &&
		sign_query(&query, credentials->secret_key, region, host, stamp, signature);
	if (ok)
	{
		append_url(&url, host, &query, signature, agent);
		ok = !url.failed;
	}
	if (ok)
	{
		cdc_aws_append_base64url(token, url.data, url.len);
		ok = !token->failed;
		*expires_ms = (time + lifetime) * 1000;
	}
	cdc_aws_text_free(&query);
	cdc_aws_text_free(&own_host);
	cdc_aws_text_free(&url);
	return ok;
}
