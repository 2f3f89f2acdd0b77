/*-------------------------------------------------------------------------
 *
 * aws_imds.c
 *	  Credentials of the role of an EC2 instance, from its metadata service.
 *
 * Version 2 of the service alone: each search begins with a session of its
 * own.  Outside of EC2 nobody answers, which ends the search within a second
 * or two; the same happens in a container, if packets of the service may not
 * go that far (the "hop limit" is 1).
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "aws_internal.h"

#define TIMEOUT		1000		/* ms */
#define TRIES		2
#define ROLES		"/latest/meta-data/iam/security-credentials/"
#define WHO			"the metadata service of the EC2 instance"
#define NOBODY		_("Set \"aws_access_key_id\" and \"aws_secret_access_key\" in the user mapping, or give this machine a role: outside of EC2 by the environment of the server.")

static const char *
endpoint(void)
{
	const char *named = cdc_aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = cdc_aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	size_t		len;

	if (named == NULL)
		return mode && pg_strcasecmp(mode, "ipv6") == 0 ?
			"http://[fd00:ec2::254]" : "http://169.254.169.254";
	for (len = strlen(named); len > 0 && named[len - 1] == '/'; len--)
		;
	return pnstrdup(named, len);
}

/* A session's token, which the other requests show; NULL if there is none. */
static char *
begin_session(CdcAwsSearch *search)
{
	static const char *const headers[] =
	{"X-aws-ec2-metadata-token-ttl-seconds: 21600", NULL};
	CdcHttpRequest request = {
		.method = "PUT",.headers = headers,.near = true,
		.url = psprintf("%s/latest/api/token", endpoint())
	};
	CdcHttpAnswer answer;

	if (!cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
	{
		cdc_aws_fail(search, NOBODY, _("No credentials are set up, and no metadata service of EC2 answers at %s: %s."),
					 endpoint(), answer.problem);
		return NULL;
	}
	if (answer.status == 200 && cdc_aws_secret_valid(answer.body))
		return answer.body;
	cdc_aws_fail(search, NULL, _("%s refuses a session with status %d."), WHO,
				 answer.status);
	cdc_http_answer_wipe(&answer);
	return NULL;
}

/* The instance's role; NULL if it has none. */
static char *
ask_role(CdcAwsSearch *search, const char *const *headers)
{
	CdcHttpRequest request = {
		.method = "GET",.headers = headers,.near = true,
		.url = psprintf("%s" ROLES, endpoint())
	};
	CdcHttpAnswer answer;
	char	   *role;

	if (!cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
		return NULL;
	if (answer.status == 404)
	{
		cdc_aws_fail(search, _("Attach an instance profile with a role."),
					 _("The EC2 instance has no role."));
		return NULL;
	}
	role = pnstrdup(answer.body, strcspn(answer.body, "\r\n"));
	if (answer.status == 200 && cdc_aws_secret_valid(role) &&
		strpbrk(role, "/?#%") == NULL)
		return role;
	cdc_aws_fail(search, NULL, _("%s does not tell the role: status %d."), WHO,
				 answer.status);
	return NULL;
}

/* With the token of a session among the headers. */
static CdcAwsOutcome
ask_credentials(CdcAwsSearch *search, const char *const *headers)
{
	CdcHttpRequest request = {.method = "GET",.headers = headers,.near = true};
	CdcHttpAnswer answer;
	CdcAwsOutcome outcome;
	char	   *role = ask_role(search, headers);

	if (role == NULL)
		return CDC_AWS_FAILED;
	request.url = psprintf("%s" ROLES "%s", endpoint(), role);
	if (!cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
		return CDC_AWS_FAILED;
	outcome = cdc_aws_credentials_read(search, &answer, psprintf(_("the role \"%s\" of the EC2 instance"), role));
	cdc_http_answer_wipe(&answer);
	return outcome;
}

CdcAwsOutcome
cdc_aws_imds_find(CdcAwsSearch *search)
{
	const char *disabled = cdc_aws_env("AWS_EC2_METADATA_DISABLED");
	char	   *headers[2] = {NULL, NULL};
	char	   *session;
	CdcAwsOutcome outcome;

	if (disabled && pg_strcasecmp(disabled, "true") == 0)
		return CDC_AWS_ABSENT;
	session = begin_session(search);
	if (session == NULL)
		return CDC_AWS_FAILED;
	headers[0] = psprintf("X-aws-ec2-metadata-token: %s", session);
	cdc_aws_string_wipe(&session);
	outcome = ask_credentials(search, (const char *const *) headers);
	cdc_aws_headers_wipe(headers);
	return outcome;
}
