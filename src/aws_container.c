/*-------------------------------------------------------------------------
 *
 * aws_container.c
 *	  Credentials of a container's role, from the agent beside it: tasks of ECS
 *	  and pods of EKS ("Pod Identity").
 *
 * The environment says where the agent is, and which token it wants to see.  An
 * address that is neither the agent's own nor of this machine must be https, as
 * the token is sent there.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "aws_internal.h"

#define TIMEOUT		2000		/* ms */
#define TRIES		3
#define ECS_AGENT	"http://169.254.170.2"

/* May a token be sent there? */
static bool
is_allowed(const char *uri)
{
	static const char *const hosts[] = {
		"localhost", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "[::1]"
	};
	const char *host = uri + strlen("http://");
	size_t		len;
	int			a;
	int			b;
	int			c;
	int			d;
	int			used = 0;

	if (strncmp(uri, "https://", strlen("https://")) == 0)
		return true;
	if (strncmp(uri, "http://", strlen("http://")) != 0)
		return false;
	/* what stands before an @ is no host */
	if (strcspn(host, "@\\") < strcspn(host, "/?#"))
		return false;
	len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
	for (int i = 0; i < lengthof(hosts); i++)
		if (len == strlen(hosts[i]) && pg_strncasecmp(host, hosts[i], len) == 0)
			return true;
	return sscanf(host, "%3d.%3d.%3d.%3d%n", &a, &b, &c, &d, &used) == 4 &&
		used == len && a == 127;
}

/* The header with the token that the agent wants; NULL and no problem: none. */
static bool
authorization(CdcAwsSearch *search, char **header)
{
	const char *file = cdc_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = cdc_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	char	   *of_file = NULL;

	*header = NULL;
	if (file)
	{
		token = of_file = cdc_aws_token_file_read(search, file);
		if (token == NULL)
			return false;
	}
	else if (token && strpbrk(token, "\r\n"))
	{
		cdc_aws_fail(search, NULL, _("The environment variable %s has a line end."),
					 "AWS_CONTAINER_AUTHORIZATION_TOKEN");
		return false;
	}
	if (token)
		*header = psprintf("Authorization: %s", token);
	cdc_aws_string_wipe(&of_file);
	return true;
}

CdcAwsOutcome
cdc_aws_container_find(CdcAwsSearch *search)
{
	const char *relative = cdc_aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = cdc_aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char	   *headers[2] = {NULL, NULL};
	CdcHttpRequest request = {
		.method = "GET",.headers = (const char *const *) headers,.near = true
	};
	CdcHttpAnswer answer;
	CdcAwsOutcome outcome = CDC_AWS_FAILED;

	if (relative == NULL && full == NULL)
		return CDC_AWS_ABSENT;
	if (relative && relative[0] != '/')
		return cdc_aws_fail(search, NULL, _("The environment variable %s does not begin with \"/\"."),
							"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	request.url = relative ? psprintf(ECS_AGENT "%s", relative) : full;
	if (!is_allowed(request.url))
		return cdc_aws_fail(search, _("It is an https address, or one of this machine, or of the agent of ECS or EKS."),
							_("No token may be sent to the address in the environment variable %s."),
							"AWS_CONTAINER_CREDENTIALS_FULL_URI");
	if (!authorization(search, &headers[0]))
		return CDC_AWS_FAILED;
	if (cdc_aws_ask(search, &request, TIMEOUT, TRIES, &answer))
		outcome = cdc_aws_credentials_read(search, &answer, _("the agent of the container"));
	cdc_aws_headers_wipe(headers);
	cdc_http_answer_wipe(&answer);
	return outcome;
}
