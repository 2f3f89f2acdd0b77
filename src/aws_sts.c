/*-------------------------------------------------------------------------
 *
 * aws_sts.c
 *	  Roles of AWS, assumed by the security token service.
 *
 * With a key (a request that is signed in its headers), or with a token of a
 * web identity (not signed: the token is the proof).  A role is always assumed
 * under the same session name: MSK takes another one for another principal,
 * who may not go on with a connection.
 *
 * Answers are XML of a fixed form, from which single elements are taken.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "aws_internal.h"

#define TIMEOUT			4000	/* ms */
#define TRIES			2
#define CONTENT_TYPE	"application/x-www-form-urlencoded; charset=utf-8"
#define CODE_MAX		100

/* The text of the first element of that name; NULL if there is none. */
static char *
element(const char *xml, const char *name)
{
	char	   *open = psprintf("<%s>", name);
	const char *start = strstr(xml, open);
	const char *end;

	if (start == NULL)
		return NULL;
	start += strlen(open);
	end = strchr(start, '<');
	return end ? pnstrdup(start, end - start) : NULL;
}

static const char *
refusal_hint(const char *code)
{
	if (strcmp(code, "AccessDenied") == 0)
		return _("The trust policy of the role must name who assumes it, and with a user mapping's \"external_id\" that one.");
	if (strcmp(code, "ExpiredToken") == 0 || strcmp(code, "ExpiredTokenException") == 0)
		return _("The session token has expired: a new one is needed.");
	if (strcmp(code, "SignatureDoesNotMatch") == 0 ||
		strcmp(code, "RequestExpired") == 0)
		return _("Check the secret key, and this machine's clock.");
	if (strcmp(code, "InvalidClientTokenId") == 0)
		return _("Check the access key.");
	return NULL;
}

/*
 * Why it has refused.  The message is AWS's own and names who may not do what;
 * but that of a wrong signature repeats the headers, session token and all.
 */
static CdcAwsOutcome
refused(CdcAwsSearch *search, const CdcHttpAnswer *answer, const char *role_arn)
{
	char	   *code = element(answer->body, "Code");
	const char *message = cdc_aws_message(element(answer->body, "Message"));

	if (code == NULL || !cdc_aws_secret_valid(code) || strlen(code) > CODE_MAX)
		return cdc_aws_fail(search, NULL, _("The role \"%s\" cannot be assumed: status %d."),
							role_arn, answer->status);
	if (message == NULL || strcmp(code, "SignatureDoesNotMatch") == 0)
		message = "";
	return cdc_aws_fail(search, refusal_hint(code),
						_("The role \"%s\" cannot be assumed: %s%s%s."), role_arn, code,
						message[0] ? ": " : "", message);
}

static CdcAwsOutcome
take_answer(CdcAwsSearch *search, const CdcHttpAnswer *answer, const char *role_arn,
			const char *by)
{
	const char *xml = answer->body;

	if (answer->status != 200)
		return refused(search, answer, role_arn);
	return cdc_aws_credentials_set(search, element(xml, "AccessKeyId"),
								   element(xml, "SecretAccessKey"),
								   element(xml, "SessionToken"),
								   element(xml, "Expiration"),
								   psprintf(_("the role \"%s\", assumed by %s"),
											role_arn, by)) ?
		CDC_AWS_FOUND : CDC_AWS_FAILED;
}

static void
add_parameter(StringInfo body, const char *name, const char *value)
{
	char	   *encoded;

	if (value == NULL)
		return;
	encoded = cdc_aws_encoded(value);
	appendStringInfo(body, "%s%s=%s", body->len > 0 ? "&" : "", name, encoded);
	explicit_bzero(encoded, strlen(encoded));
	pfree(encoded);
}

static const char *
endpoint(CdcAwsSearch *search)
{
	return cdc_aws_endpoint("AWS_ENDPOINT_URL_STS", "sts", search->settings->region);
}

CdcAwsOutcome
cdc_aws_role_assume(CdcAwsSearch *search, const char *role_arn,
					const char *external_id, const char *session_name)
{
	char	   *headers[6];
	const char *url = endpoint(search);
	CdcAwsRequest signing = {
		.method = "POST",.path = "/",.service = "sts",
		.region = search->settings->region,.content_type = CONTENT_TYPE
	};
	CdcHttpRequest request = {.method = "POST",.headers = (const char *const *) headers};
	CdcHttpAnswer answer;
	StringInfoData body;
	CdcAwsOutcome outcome = CDC_AWS_FAILED;

	initStringInfo(&body);
	add_parameter(&body, "Action", "AssumeRole");
	add_parameter(&body, "DurationSeconds", "3600");
	add_parameter(&body, "ExternalId", external_id);
	add_parameter(&body, "RoleArn", role_arn);
	add_parameter(&body, "RoleSessionName", session_name);
	add_parameter(&body, "Version", "2011-06-15");
	signing.host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	signing.body = request.body = body.data;
	request.url = psprintf("%s/", url);
	if (!cdc_aws_headers_sign(&signing, &search->result->credentials, headers))
		return cdc_aws_fail(search, NULL, _("The request for the role \"%s\" could not be signed."),
							role_arn);
	if (cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
		outcome = take_answer(search, &answer, role_arn, search->result->source);
	cdc_aws_headers_wipe(headers);
	cdc_http_answer_wipe(&answer);
	return outcome;
}

CdcAwsOutcome
cdc_aws_role_assume_with_token(CdcAwsSearch *search, const char *role_arn,
							   const char *session_name, const char *token_file)
{
	static const char *const headers[] = {"Content-Type: " CONTENT_TYPE, NULL};
	CdcHttpRequest request = {.method = "POST",.headers = headers};
	CdcHttpAnswer answer;
	StringInfoData body;
	CdcAwsOutcome outcome;
	char	   *token = cdc_aws_token_file_read(search, token_file);

	if (token == NULL)
		return CDC_AWS_FAILED;
	initStringInfo(&body);
	enlargeStringInfo(&body, 3 * strlen(token) + 2048);
	add_parameter(&body, "Action", "AssumeRoleWithWebIdentity");
	add_parameter(&body, "RoleArn", role_arn);
	add_parameter(&body, "RoleSessionName", session_name);
	add_parameter(&body, "Version", "2011-06-15");
	add_parameter(&body, "WebIdentityToken", token);
	explicit_bzero(token, strlen(token));
	request.body = body.data;
	request.url = psprintf("%s/", endpoint(search));
	if (!cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
		outcome = CDC_AWS_FAILED;
	else
		outcome = take_answer(search, &answer, role_arn, _("a web identity"));
	explicit_bzero(body.data, body.len);
	cdc_http_answer_wipe(&answer);
	return outcome;
}

/* As EKS sets it up for service accounts. */
CdcAwsOutcome
cdc_aws_web_identity_find(CdcAwsSearch *search)
{
	const char *file = cdc_aws_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role_arn = cdc_aws_env("AWS_ROLE_ARN");
	const char *session_name = cdc_aws_env("AWS_ROLE_SESSION_NAME");

	if (file == NULL || role_arn == NULL)
		return CDC_AWS_ABSENT;
	return cdc_aws_role_assume_with_token(search, role_arn, session_name ? session_name :
										  search->settings->session_name, file);
}
