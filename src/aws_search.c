/*-------------------------------------------------------------------------
 *
 * aws_search.c
 *	  Tools for those that look for credentials of AWS: requests within the
 *	  time that is left, answers, files, the environment.
 *
 * Texts of a problem hold no secret: of answers that may hold one nothing is
 * quoted.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "aws_internal.h"
#include "iso_time.h"

#define FILE_MAX	65536		/* bytes of a file with a token */
#define PAUSE		200			/* ms between two tries */
#define REASON_MAX	300			/* bytes of a message that is quoted */

CdcAwsOutcome
cdc_aws_fail(CdcAwsSearch *search, const char *hint, const char *format,...)
{
	StringInfoData text;
	va_list		args;
	int			needed;

	initStringInfo(&text);
	for (;;)
	{
		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	search->result->problem = text.data;
	search->result->hint = hint;
	return CDC_AWS_FAILED;
}

/* NULL if it is not set, or empty. */
const char *
cdc_aws_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] != '\0' ? value : NULL;
}

/*
 * No key or token of AWS has blanks or line ends; the latter would end the
 * header that it goes into.
 */
bool
cdc_aws_secret_valid(const char *value)
{
	for (const char *p = value; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return value[0] != '\0';
}

/* ----------
 * Requests
 * ----------
 */

/* Every answer tells what the time is. */
static void
compare_clocks(CdcAwsSearch *search, const char *url, pg_time_t date)
{
	const char *host = strstr(url, "://") + 3;

	if (date == 0)
		return;
	search->result->skew = (int64) time(NULL) - date;
	search->result->skew_host = pnstrdup(host, strcspn(host, "/:"));
}

/* Is it worth another try? */
static bool
is_passing(int status)
{
	return status == 0 || status == 429 || status >= 500;
}

/*
 * Ask, several times if need be, and no longer than the search may take.
 * False and the search's problem if nobody has answered.
 */
bool
cdc_aws_ask(CdcAwsSearch *search, CdcHttpRequest *request, int timeout, int tries,
			CdcHttpAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->problem = _("the time that connect_timeout allows is over");
	for (int try = 0; try < tries; try++)
	{
		long		left;

		CHECK_FOR_INTERRUPTS();
		if (try > 0)
			pg_usleep(PAUSE * 1000L);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
											   search->deadline);
		if (left <= 0)
			break;
		cdc_http_answer_wipe(answer);
		request->timeout = Min(timeout, left);
		cdc_http_fetch(request, answer);
		if (answer->status != 0)
			compare_clocks(search, request->url, answer->date);
		if (!is_passing(answer->status))
			break;
	}
	if (answer->status == 0)
		cdc_aws_fail(search, NULL, _("%s does not answer: %s."),
					 pnstrdup(request->url, strcspn(request->url, "?")),
					 answer->problem);
	return answer->status != 0;
}

/* Where a service of AWS is, without a slash at the end. */
const char *
cdc_aws_endpoint(const char *variable, const char *service, const char *region)
{
	const char *endpoint = cdc_aws_env(variable);

	if (endpoint == NULL)
		endpoint = cdc_aws_env("AWS_ENDPOINT_URL");
	if (endpoint)
	{
		size_t		len = strlen(endpoint);

		while (len > 0 && endpoint[len - 1] == '/')
			len--;
		return pnstrdup(endpoint, len);
	}
	return psprintf("https://%s.%s.amazonaws.com%s", service, region,
					strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

/* A text of malloc, moved into memory that an error frees; NULL if it is none. */
static char *
move_text(CdcAwsText *text)
{
	char	   *result = NULL;

	if (!text->failed && text->data)
		result = palloc_extended(text->len + 1, MCXT_ALLOC_NO_OOM);
	if (result)
		memcpy(result, text->data, text->len + 1);
	cdc_aws_text_free(text);
	return result;
}

/* For a query, a body or a part of a path. */
char *
cdc_aws_encoded(const char *value)
{
	CdcAwsText	text = {0};
	char	   *result;

	cdc_aws_append_bytes(&text, "", 0);
	cdc_aws_append_encoded(&text, value);
	result = move_text(&text);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return result;
}

/*
 * The headers of a signed request, at most 5 and a NULL; false if it cannot be
 * signed.
 */
bool
cdc_aws_headers_sign(CdcAwsRequest *request, const CdcAwsCredentials *credentials,
					 char **headers)
{
	char		stamp[CDC_AWS_TIME_LEN + 1];
	CdcAwsText	text = {0};
	char	   *authorization;
	int			n = 0;

	if (!cdc_aws_time_format(time(NULL), stamp))
		return false;
	if (!cdc_aws_request_sign(request, credentials, stamp, &text))
		text.failed = true;
	authorization = move_text(&text);
	if (authorization == NULL)
		return false;
	headers[n++] = psprintf("Authorization: %s", authorization);
	headers[n++] = psprintf("Host: %s", request->host);
	headers[n++] = psprintf("X-Amz-Date: %s", stamp);
	if (request->content_type)
		headers[n++] = psprintf("Content-Type: %s", request->content_type);
	if (credentials->session_token)
		headers[n++] = psprintf("X-Amz-Security-Token: %s", credentials->session_token);
	headers[n] = NULL;
	return true;
}

/* They hold tokens. */
void
cdc_aws_headers_wipe(char **headers)
{
	for (; *headers; headers++)
		cdc_aws_string_wipe(headers);
}

/* ----------
 * Answers
 * ----------
 */

/* A string as it is, another value as it is written; NULL for null. */
static char *
token_value(const CdcToken *token)
{
	char	   *value;
	int			len;

	if (token->kind == CDC_JSON_NULL)
		return NULL;
	if (token->kind != CDC_JSON_STRING)
		return pnstrdup(token->text, token->len);
	value = palloc(token->len + 1);
	len = cdc_json_unescape(token, value);
	if (len < 0)
		return NULL;
	value[len] = '\0';
	return value;
}

/*
 * Read these members of a text that is one JSON object; NULL for one that it
 * does not have.  False if it is no object.
 */
bool
cdc_aws_json_read(const char *text, size_t len, int n, const char *const *names,
				  char **values)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	int			more;

	memset(values, 0, n * sizeof(char *));
	cdc_scanner_init(&scanner, text, len);
	if (cdc_scan_peek(&scanner) != '{' || !cdc_scan_enter(&scanner))
		return false;
	for (bool first = true; (more = cdc_scan_member(&scanner, first, &name)) > 0; first = false)
	{
		if (!cdc_scan_value(&scanner, &value))
			return false;
		for (int i = 0; i < n; i++)
			if (name.len == strlen(names[i]) &&
				memcmp(name.text, names[i], name.len) == 0)
				values[i] = token_value(&value);
	}
	return more == 0 && cdc_scan_finish(&scanner);
}

/* Seconds since 1970; false for anything but a time in ISO 8601. */
static bool
read_time(const char *text, int64_t *seconds)
{
	CdcIsoTime	iso;

	if (!cdc_iso_parse(text, &iso))
		return false;
	*seconds = iso.days * 86400 + iso.usecs / USECS_PER_SEC -
		(iso.has_zone ? iso.offset : 0);
	return true;
}

/*
 * Make these strings the result's credentials.  Without an expiration they
 * last.  False and the search's problem if they are no good.
 */
bool
cdc_aws_credentials_set(CdcAwsSearch *search, char *access_key, char *secret_key,
						char *session_token, const char *expiration,
						const char *who)
{
	CdcAwsCredentials *credentials = &search->result->credentials;

	cdc_aws_credentials_wipe(credentials);
	credentials->access_key = access_key;
	credentials->secret_key = secret_key;
	credentials->session_token = session_token && session_token[0] ? session_token : NULL;
	if (access_key == NULL || secret_key == NULL ||
		!cdc_aws_secret_valid(access_key) || !cdc_aws_secret_valid(secret_key) ||
		(credentials->session_token && !cdc_aws_secret_valid(session_token)) ||
		(expiration && !read_time(expiration, &credentials->expires)))
		cdc_aws_fail(search, NULL, _("%s has given no credentials that can be read."), who);
	else if (credentials->expires != 0 && credentials->expires <= time(NULL))
		cdc_aws_fail(search, _("If they are new, this machine's clock is ahead."),
					 _("The credentials that %s has given have expired."), who);
	else
	{
		search->result->source = who;
		return true;
	}
	cdc_aws_credentials_wipe(credentials);
	return false;
}

/*
 * What may be quoted of a message with which AWS refuses, or NULL: that of a
 * wrong signature goes on with the headers, session token and all; and what is
 * not ASCII may be no text in this database.
 */
char *
cdc_aws_message(char *message)
{
	if (message == NULL)
		return NULL;
	message[strcspn(message, "\r\n")] = '\0';
	if (strlen(message) > REASON_MAX || strstr(message, "Canonical"))
		return NULL;
	for (const char *p = message; *p; p++)
		if (*p < ' ' || *p >= 0x7f)
			return NULL;
	return message[0] != '\0' ? message : NULL;
}

/* The form that the metadata service and containers have in common. */
CdcAwsOutcome
cdc_aws_credentials_read(CdcAwsSearch *search, const CdcHttpAnswer *answer,
						 const char *who)
{
	static const char *const names[] =
	{"AccessKeyId", "SecretAccessKey", "Token", "Expiration"};
	char	   *values[lengthof(names)];

	if (answer->status != 200)
		return cdc_aws_fail(search, NULL, _("%s refuses with status %d."), who,
							answer->status);
	if (!cdc_aws_json_read(answer->body, answer->len, lengthof(names), names, values))
		return cdc_aws_fail(search, NULL, _("The answer of %s is not JSON."), who);
	return cdc_aws_credentials_set(search, values[0], values[1], values[2],
								   values[3], who) ? CDC_AWS_FOUND : CDC_AWS_FAILED;
}

/* ----------
 * Files
 * ----------
 */

/* All of a file; NULL and errno, which is EFBIG for one over max bytes. */
char *
cdc_aws_file_read(const char *path, size_t max, int *save_errno)
{
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	char	   *content;
	size_t		len = 0;
	ssize_t		n;

	*save_errno = errno;
	if (fd < 0)
		return NULL;
	content = palloc(max + 2);
	errno = 0;
	while ((n = read(fd, content + len, max + 1 - len)) > 0)
		len += n;
	*save_errno = n < 0 ? errno : len > max ? EFBIG : 0;
	CloseTransientFile(fd);
	content[len] = '\0';
	if (*save_errno == 0)
		return content;
	explicit_bzero(content, len);
	pfree(content);
	return NULL;
}

/*
 * The token in a file, which is read anew each time, as it changes.  NULL and
 * the search's problem if there is none.
 */
char *
cdc_aws_token_file_read(CdcAwsSearch *search, const char *path)
{
	int			save_errno;
	char	   *token = cdc_aws_file_read(path, FILE_MAX, &save_errno);
	size_t		len;

	if (token == NULL)
	{
		cdc_aws_fail(search, NULL, _("The token file \"%s\" cannot be read: %s."),
					 path, strerror(save_errno));
		return NULL;
	}
	len = strlen(token);
	while (len > 0 && strchr(" \t\r\n", token[len - 1]))
		token[--len] = '\0';
	if (cdc_aws_secret_valid(token))
		return token;
	explicit_bzero(token, len);
	pfree(token);
	cdc_aws_fail(search, NULL, _("The token file \"%s\" is empty, or has blanks or line ends within."), path);
	return NULL;
}
