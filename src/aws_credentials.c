/*-------------------------------------------------------------------------
 *
 * aws_credentials.c
 *	  Where credentials of AWS come from.
 *
 * No transaction is needed, and no lock is held.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "aws_credentials.h"

static void
wipe(char **secret)
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
	wipe(&credentials->access_key);
	wipe(&credentials->secret_key);
	wipe(&credentials->session_token);
	credentials->expires = 0;
}

void
cdc_aws_credentials_find(const CdcAwsSettings *settings, TimestampTz deadline,
						 CdcAwsResult *result)
{
	memset(result, 0, sizeof(*result));
	if (settings->access_key == NULL)
	{
		result->problem = _("The user mapping has no access key.");
		result->hint = _("Set its options \"aws_access_key_id\" and \"aws_secret_access_key\".");
		return;
	}
	result->credentials.access_key = pstrdup(settings->access_key);
	result->credentials.secret_key = pstrdup(settings->secret_key);
	if (settings->session_token)
		result->credentials.session_token = pstrdup(settings->session_token);
	result->source = _("the user mapping");
	result->found = true;
}
