/*-------------------------------------------------------------------------
 *
 * aws_credentials.c
 *	  Where credentials of AWS come from: the order of the sources.
 *
 *	1. the user mapping
 *	2. the environment of the server: AWS_ACCESS_KEY_ID ..
 *	3. a web identity: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
 *	4. a profile in the files of AWS
 *	5. the agent of a container: ECS, EKS Pod Identity
 *	6. the metadata service of an EC2 instance
 *
 * and with the option "role_arn" that role at last, assumed by what was found.
 * All but the first are the identity of the machine that the server runs on:
 * whoever may use it can do on AWS what the machine can.  So they are asked
 * only for a role to whom a superuser has lent it; see aws_options.c.
 *
 * No transaction is needed, and no lock is held.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "aws_internal.h"

#define PROBE_TIMEOUT	2000	/* ms */

void
cdc_aws_string_wipe(char **secret)
{
	if (*secret)
	{
		explicit_bzero(*secret, strlen(*secret));
		pfree(*secret);
	}
	*secret = NULL;
}

void
cdc_aws_credentials_wipe(CdcAwsCredentials *credentials)
{
	cdc_aws_string_wipe(&credentials->access_key);
	cdc_aws_string_wipe(&credentials->secret_key);
	cdc_aws_string_wipe(&credentials->session_token);
	credentials->expires = 0;
}

static char *
copy(const char *string)
{
	return string ? pstrdup(string) : NULL;
}

static CdcAwsOutcome
find_mapping(CdcAwsSearch *search)
{
	const CdcAwsSettings *settings = search->settings;

	if (settings->access_key == NULL)
		return CDC_AWS_ABSENT;
	return cdc_aws_credentials_set(search, copy(settings->access_key),
								   copy(settings->secret_key),
								   copy(settings->session_token), NULL,
								   _("the user mapping")) ?
		CDC_AWS_FOUND : CDC_AWS_FAILED;
}

CdcAwsOutcome
cdc_aws_environment_find(CdcAwsSearch *search)
{
	const char *access_key = cdc_aws_env("AWS_ACCESS_KEY_ID");

	if (access_key == NULL)
		return CDC_AWS_ABSENT;
	return cdc_aws_credentials_set(search, copy(access_key),
								   copy(cdc_aws_env("AWS_SECRET_ACCESS_KEY")),
								   copy(cdc_aws_env("AWS_SESSION_TOKEN")), NULL,
								   _("the environment of the server")) ?
		CDC_AWS_FOUND : CDC_AWS_FAILED;
}

/* The first source that is set up. */
static CdcAwsOutcome
find_first(CdcAwsSearch *search)
{
	CdcAwsOutcome (*const sources[]) (CdcAwsSearch *) =
	{
		cdc_aws_environment_find, cdc_aws_web_identity_find, cdc_aws_profile_find,
			cdc_aws_container_find, cdc_aws_imds_find
	};
	CdcAwsOutcome outcome = find_mapping(search);

	if (outcome != CDC_AWS_ABSENT)
		return outcome;
	if (!search->settings->own_identity)
		return cdc_aws_fail(search, _("Set its options \"aws_access_key_id\" and \"aws_secret_access_key\", or let a superuser set \"aws_server_identity\"."),
							_("The user mapping has no key of AWS, and may not use the identity of this machine."));
	if (search->settings->profile)
		return cdc_aws_profile_find(search);
	for (int i = 0; i < lengthof(sources) && outcome == CDC_AWS_ABSENT; i++)
		outcome = sources[i] (search);
	if (outcome == CDC_AWS_ABSENT)
		cdc_aws_fail(search, _("Set \"aws_access_key_id\" and \"aws_secret_access_key\" in the user mapping."),
					 _("No credentials are set up for this machine."));
	return outcome;
}

/* What a wrong clock explains. */
static void
blame_clock(CdcAwsResult *result)
{
	const char *told = cdc_aws_clock_text(result);

	if (told)
		result->hint = told;
}

void
cdc_aws_credentials_find(const CdcAwsSettings *settings, TimestampTz deadline,
						 CdcAwsResult *result)
{
	CdcAwsSearch search = {settings, deadline, result};
	CdcAwsOutcome outcome;

	memset(result, 0, sizeof(*result));
	outcome = find_first(&search);
	if (outcome == CDC_AWS_FOUND && settings->role_arn)
		outcome = cdc_aws_role_assume(&search, settings->role_arn,
									  settings->external_id, settings->session_name);
	result->found = outcome == CDC_AWS_FOUND;
	if (!result->found)
	{
		cdc_aws_credentials_wipe(&result->credentials);
		blame_clock(result);
	}
}

/* ----------
 * Clocks
 * ----------
 */
char *
cdc_aws_clock_text(const CdcAwsResult *result)
{
	int64		skew = result->skew;

	if (result->skew_host == NULL ||
		(skew >= -CDC_AWS_SKEW_MAX && skew <= CDC_AWS_SKEW_MAX))
		return NULL;
	return psprintf(_("This machine's clock is %lld s %s that of %s: set it right."),
					(long long) (skew < 0 ? -skew : skew),
					skew < 0 ? _("behind") : _("ahead of"), result->skew_host);
}

/* Any answer tells the time, be it a refusal. */
void
cdc_aws_clock_ask(const CdcAwsSettings *settings, TimestampTz deadline,
				  CdcAwsResult *result)
{
	CdcAwsSearch search = {settings, deadline, result};
	CdcHttpAnswer answer;
	CdcHttpRequest request = {
		.method = "GET",
		.url = psprintf("%s/", cdc_aws_endpoint("AWS_ENDPOINT_URL_STS", "sts",
												settings->region))
	};

	memset(result, 0, sizeof(*result));
	(void) cdc_aws_ask(&search, &request, PROBE_TIMEOUT, 1, &answer);
	cdc_http_answer_wipe(&answer);
}
