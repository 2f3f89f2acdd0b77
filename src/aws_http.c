/*-------------------------------------------------------------------------
 *
 * aws_http.c
 *	  One request over HTTP, and its answer.
 *
 * The only file that includes libcurl.  It runs in the main thread; its thread
 * that looks up names gets no signals, which are for the backend alone.  Nothing
 * is logged, redirects are not followed, answers have a greatest size, and a
 * cancel is noticed within a tenth of a second; but libcurl before 7.87.0 waits
 * for that thread first, for as long as the system's resolver tries.
 *
 * No error is raised under libcurl's frames: what it hands over is gathered in
 * malloc'ed memory.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <curl/curl.h>
#include <signal.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "aws_http.h"
#include "aws_sign.h"
#include "compat.h"

#define BODY_MAX	(1024 * 1024)
#define SLICE		100			/* ms until interrupts are looked at */

/* What one request holds; freed whatever way it ends. */
typedef struct Transfer
{
	CURLM	   *multi;
	CURL	   *easy;
	struct curl_slist *headers;
	CdcAwsText	body;
	pg_time_t	date;
	char		errbuf[CURL_ERROR_SIZE];
} Transfer;

static bool initialized = false;

static size_t
take_body(char *data, size_t size, size_t n, void *arg)
{
	Transfer   *transfer = arg;

	if (transfer->body.len + size * n > BODY_MAX)
		return 0;
	cdc_aws_append_bytes(&transfer->body, data, size * n);
	return transfer->body.failed ? 0 : size * n;
}

static size_t
take_header(char *data, size_t size, size_t n, void *arg)
{
	Transfer   *transfer = arg;
	size_t		len = size * n;
	char		date[64];

	if (len > 5 && len - 5 < sizeof(date) && pg_strncasecmp(data, "date:", 5) == 0)
	{
		time_t		found;

		memcpy(date, data + 5, len - 5);
		date[len - 5] = '\0';
		found = curl_getdate(date, NULL);
		transfer->date = found > 0 ? found : 0;
	}
	return len;
}

/* False if memory runs out. */
static bool
set_headers(Transfer *transfer, const CdcHttpRequest *request)
{
	/* libcurl would wait for leave to send a body of some size */
	static const char *const none[] = {"Expect:", NULL};

	for (int list = 0; list < 2; list++)
	{
		const char *const *header = list == 0 ? none : request->headers;

		for (; header && *header; header++)
		{
			struct curl_slist *longer = curl_slist_append(transfer->headers, *header);

			if (longer == NULL)
				return false;
			transfer->headers = longer;
		}
	}
	return true;
}

static bool
set_up(Transfer *transfer, const CdcHttpRequest *request)
{
	const char *authorities = getenv("AWS_CA_BUNDLE");
	CURL	   *easy;

	transfer->multi = curl_multi_init();
	easy = transfer->easy = curl_easy_init();
	if (transfer->multi == NULL || easy == NULL || !set_headers(transfer, request))
		return false;
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	if (request->body)
	{
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) strlen(request->body));
	}
	if (request->near)
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (authorities && authorities[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_quick_exit_compat(easy);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) request->timeout);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->errbuf);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	return curl_multi_add_handle(transfer->multi, easy) == CURLM_OK;
}

/* Whatever threads it starts inherit that all signals are blocked. */
static CURLMcode
perform(CURLM *multi, int *running)
{
	sigset_t	all;
	sigset_t	before;
	CURLMcode	code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = curl_multi_perform(multi, running);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

static CURLcode
run(Transfer *transfer)
{
	int			running = 1;
	int			left;
	CURLMsg    *message;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (perform(transfer->multi, &running) != CURLM_OK)
			return CURLE_OUT_OF_MEMORY;
		if (running == 0)
			break;
		(void) curl_multi_poll(transfer->multi, NULL, 0, SLICE, NULL);
	}
	while ((message = curl_multi_info_read(transfer->multi, &left)) != NULL)
		if (message->msg == CURLMSG_DONE)
			return message->data.result;
	return CURLE_OUT_OF_MEMORY;
}

static void
tear_down(Transfer *transfer)
{
	if (transfer->multi && transfer->easy)
		curl_multi_remove_handle(transfer->multi, transfer->easy);
	if (transfer->easy)
		curl_easy_cleanup(transfer->easy);
	if (transfer->multi)
		curl_multi_cleanup(transfer->multi);
	for (struct curl_slist *header = transfer->headers; header; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(transfer->headers);
	cdc_aws_text_free(&transfer->body);
}

static void
run_request(Transfer *transfer, const CdcHttpRequest *request, CdcHttpAnswer *answer)
{
	CURLcode	code = CURLE_OUT_OF_MEMORY;
	long		status = 0;

	if (set_up(transfer, request))
		code = run(transfer);
	if (code != CURLE_OK)
	{
		answer->problem = pstrdup(transfer->body.len > 0 && code == CURLE_WRITE_ERROR ?
								  _("the answer is too long") :
								  transfer->errbuf[0] ? transfer->errbuf :
								  curl_easy_strerror(code));
		return;
	}
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	answer->body = palloc(transfer->body.len + 1);
	if (transfer->body.len > 0)
		memcpy(answer->body, transfer->body.data, transfer->body.len);
	answer->body[transfer->body.len] = '\0';
	answer->len = transfer->body.len;
	answer->date = transfer->date;
	answer->status = (int) status;
}

void
cdc_http_fetch(const CdcHttpRequest *request, CdcHttpAnswer *answer)
{
	Transfer	transfer = {0};

	memset(answer, 0, sizeof(*answer));
	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
	{
		answer->problem = _("libcurl could not be initialized");
		return;
	}
	initialized = true;
	if (strncmp(request->url, "http://", 7) != 0 &&
		strncmp(request->url, "https://", 8) != 0)
	{
		answer->problem = _("the address begins neither with http:// nor with https://");
		return;
	}
	if (!AcquireExternalFD())
	{
		answer->problem = _("there is no file descriptor left");
		return;
	}
	PG_TRY();
	{
		run_request(&transfer, request, answer);
	}
	PG_FINALLY();
	{
		tear_down(&transfer);
		ReleaseExternalFD();
	}
	PG_END_TRY();
}

void
cdc_http_answer_wipe(CdcHttpAnswer *answer)
{
	if (answer->body)
	{
		explicit_bzero(answer->body, answer->len);
		pfree(answer->body);
	}
	answer->body = NULL;
	answer->len = 0;
}
