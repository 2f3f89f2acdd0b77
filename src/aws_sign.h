/*-------------------------------------------------------------------------
 *
 * aws_sign.h
 *	  AWS Signature Version 4, and the text that it is made of.
 *
 * Pure C over bytes and a time, no PostgreSQL: nothing here raises an error,
 * so nothing leaks.  Texts grow with malloc(); what runs out of memory says so
 * at the end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_SIGN_H
#define CDC_AWS_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text that grows, always ended by '\0'; data is NULL before the first byte. */
typedef struct CdcAwsText
{
	char	   *data;
	size_t		len;
	size_t		size;
	bool		failed;			/* memory ran out: what it holds is no use */
} CdcAwsText;

extern void cdc_aws_append(CdcAwsText *text, const char *string);
extern void cdc_aws_append_bytes(CdcAwsText *text, const char *bytes, size_t len);

/* Percent-encoded as RFC 3986 has it: all but A-Z a-z 0-9 - . _ ~ */
extern void cdc_aws_append_encoded(CdcAwsText *text, const char *string);

/* The bytes as base64url without padding. */
extern void cdc_aws_append_base64url(CdcAwsText *text, const char *bytes, size_t len);

/* Free it, after its bytes have been overwritten: it may hold a secret. */
extern void cdc_aws_text_free(CdcAwsText *text);

/* Credentials of AWS.  Strings belong to whoever made them. */
typedef struct CdcAwsCredentials
{
	char	   *access_key;
	char	   *secret_key;
	char	   *session_token;	/* NULL: they are a user's own, and last */
	int64_t		expires;		/* seconds since 1970; 0: never, or unknown */
} CdcAwsCredentials;

#define CDC_AWS_TIME_LEN	16	/* of YYYYMMDDTHHMMSSZ */
#define CDC_AWS_SHA256_HEX	64

/*
 * A time in seconds since 1970 as YYYYMMDDTHHMMSSZ; false outside of the years
 * 0 to 9999.
 */
extern bool cdc_aws_time_format(int64_t time, char stamp[CDC_AWS_TIME_LEN + 1]);

extern bool cdc_aws_sha256_hex(const char *bytes, size_t len,
							   char hex[CDC_AWS_SHA256_HEX + 1]);

/* DATE/REGION/SERVICE/aws4_request */
extern void cdc_aws_append_scope(CdcAwsText *text, const char *stamp,
								 const char *region, const char *service);

/* The signature of a canonical request. */
extern bool cdc_aws_sign(const char *secret_key, const char *stamp,
						 const char *region, const char *service,
						 const CdcAwsText *canonical_request,
						 char signature[CDC_AWS_SHA256_HEX + 1]);

/* A request that is signed in its headers. */
typedef struct CdcAwsRequest
{
	const char *method;
	const char *host;			/* as the header has it, with the port if any */
	const char *path;			/* encoded once, as it is sent */
	const char *service;
	const char *region;
	const char *body;			/* "" if there is none */
	const char *content_type;	/* NULL if there is none */
} CdcAwsRequest;

/*
 * The value of the header Authorization, for a request with these headers:
 * [content-type], host, x-amz-date, [x-amz-security-token].
 */
extern bool cdc_aws_request_sign(const CdcAwsRequest *request,
								 const CdcAwsCredentials *credentials,
								 const char *stamp, CdcAwsText *authorization);

#endif							/* CDC_AWS_SIGN_H */
