/*-------------------------------------------------------------------------
 *
 * aws_http.h
 *	  One request over HTTP, and its answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_HTTP_H
#define CDC_AWS_HTTP_H

#include "pgtime.h"

typedef struct CdcHttpRequest
{
	const char *method;
	const char *url;			/* http://.. or https://.. */
	const char *const *headers; /* "Name: value", NULL at the end; or NULL */
	const char *body;			/* or NULL */
	bool		near;			/* of this machine: through no proxy */
	int			timeout;		/* ms */
} CdcHttpRequest;

typedef struct CdcHttpAnswer
{
	int			status;			/* 0: none has come */
	const char *problem;		/* why not, if none has */
	char	   *body;			/* ended by '\0'; may hold a secret */
	size_t		len;
	pg_time_t	date;			/* of the sender's clock; 0: not told */
} CdcHttpAnswer;

/*
 * Send it and wait.  Raises no error but for a cancel and for lack of memory.
 * The answer is in the current memory context; wipe it when it is read.
 */
extern void cdc_http_fetch(const CdcHttpRequest *request, CdcHttpAnswer *answer);
extern void cdc_http_answer_wipe(CdcHttpAnswer *answer);

#endif							/* CDC_AWS_HTTP_H */
