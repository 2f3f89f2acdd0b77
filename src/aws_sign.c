/*-------------------------------------------------------------------------
 *
 * aws_sign.c
 *	  AWS Signature Version 4, and the text that it is made of.
 *
 * Pure C and OpenSSL's digests.  The server's own pg_hmac_*() would do the
 * same, but belongs to a resource owner and raises errors, and tokens are made
 * where there may be neither transaction nor a way to raise one.
 *
 * Keys and what is derived from them are overwritten when they are done with.
 *
 *-------------------------------------------------------------------------
 */
#define _DEFAULT_SOURCE 1		/* explicit_bzero() */

#include "aws_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define ALGORITHM	"AWS4-HMAC-SHA256"
#define SHA256_LEN	32
#define DATE_LEN	8			/* of YYYYMMDD */

static const char hex_digits[] = "0123456789abcdef";

/* ----------
 * Texts
 * ----------
 */

/* Room for len bytes more and the '\0'.  The old bytes are overwritten. */
static bool
reserve(CdcAwsText *text, size_t len)
{
	size_t		size = text->size > 0 ? text->size : 256;
	char	   *data;

	if (text->failed)
		return false;
	if (text->size > text->len + len)
		return true;
	while (size <= text->len + len)
		size *= 2;
	data = malloc(size);
	if (data == NULL)
	{
		text->failed = true;
		return false;
	}
	if (text->data)
	{
		memcpy(data, text->data, text->len);
		explicit_bzero(text->data, text->size);
		free(text->data);
	}
	text->data = data;
	text->size = size;
	return true;
}

void
cdc_aws_append_bytes(CdcAwsText *text, const char *bytes, size_t len)
{
	if (!reserve(text, len))
		return;
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void
cdc_aws_append(CdcAwsText *text, const char *string)
{
	cdc_aws_append_bytes(text, string, strlen(string));
}

static bool
is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void
cdc_aws_append_encoded(CdcAwsText *text, const char *string)
{
	static const char upper_digits[] = "0123456789ABCDEF";

	for (const char *p = string; *p; p++)
	{
		unsigned char c = *p;
		char		code[3] = {'%', upper_digits[c >> 4], upper_digits[c & 15]};

		if (is_unreserved(c))
			cdc_aws_append_bytes(text, p, 1);
		else
			cdc_aws_append_bytes(text, code, 3);
	}
}

void
cdc_aws_append_base64url(CdcAwsText *text, const char *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t i = 0; i < len; i += 3)
	{
		size_t		left = len - i;
		uint32_t	group = (uint32_t) (unsigned char) bytes[i] << 16;
		char		code[4];

		if (left > 1)
			group |= (uint32_t) (unsigned char) bytes[i + 1] << 8;
		if (left > 2)
			group |= (unsigned char) bytes[i + 2];
		for (int digit = 0; digit < 4; digit++)
			code[digit] = digits[(group >> (18 - 6 * digit)) & 63];
		cdc_aws_append_bytes(text, code, left > 2 ? 4 : left + 1);
	}
}

void
cdc_aws_text_free(CdcAwsText *text)
{
	if (text->data)
	{
		explicit_bzero(text->data, text->size);
		free(text->data);
	}
	memset(text, 0, sizeof(*text));
}

/* ----------
 * Digests
 * ----------
 */
static void
to_hex(const unsigned char *bytes, size_t len, char *hex)
{
	for (size_t i = 0; i < len; i++)
	{
		hex[2 * i] = hex_digits[bytes[i] >> 4];
		hex[2 * i + 1] = hex_digits[bytes[i] & 15];
	}
	hex[2 * len] = '\0';
}

bool
cdc_aws_sha256_hex(const char *bytes, size_t len, char hex[CDC_AWS_SHA256_HEX + 1])
{
	unsigned char digest[SHA256_LEN];

	if (EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	to_hex(digest, sizeof(digest), hex);
	return true;
}

/* key becomes the HMAC of the bytes under it. */
static bool
hmac_step(unsigned char key[SHA256_LEN], const char *bytes, size_t len)
{
	unsigned char digest[SHA256_LEN];
	bool		ok;

	ok = HMAC(EVP_sha256(), key, SHA256_LEN, (const unsigned char *) bytes, len,
			  digest, NULL) != NULL;
	memcpy(key, digest, SHA256_LEN);
	explicit_bzero(digest, sizeof(digest));
	return ok;
}

/* The key for a day, region and service. */
static bool
derive_key(const char *secret_key, const char *stamp, const char *region,
		   const char *service, unsigned char key[SHA256_LEN])
{
	CdcAwsText	first = {0};
	bool		ok;

	cdc_aws_append(&first, "AWS4");
	cdc_aws_append(&first, secret_key);
	ok = !first.failed &&
		HMAC(EVP_sha256(), first.data, first.len, (const unsigned char *) stamp,
			 DATE_LEN, key, NULL) != NULL &&
		hmac_step(key, region, strlen(region)) &&
		hmac_step(key, service, strlen(service)) &&
		hmac_step(key, "aws4_request", strlen("aws4_request"));
	cdc_aws_text_free(&first);
	return ok;
}

/* ----------
 * Signatures
 * ----------
 */

/*
 * The date of a day number since 1970, by counting in eras of 400 years whose
 * years begin in March, so that a leap day is the last of its year.
 */
static void
date_of_day(int64_t day, int64_t *year, int *month, int *mday)
{
	int64_t		shifted = day + 719468;		/* since 0000-03-01 */
	int64_t		era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int			of_era = (int) (shifted - era * 146097);
	int			year_of_era = (of_era - of_era / 1460 + of_era / 36524 -
							   of_era / 146096) / 365;
	int			of_year = of_era - (365 * year_of_era + year_of_era / 4 -
									year_of_era / 100);
	int			from_march = (5 * of_year + 2) / 153;

	*mday = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

bool
cdc_aws_time_format(int64_t time, char stamp[CDC_AWS_TIME_LEN + 1])
{
	int64_t		day = time >= 0 ? time / 86400 : -((-time + 86399) / 86400);
	int			second = (int) (time - day * 86400);
	char		text[64];
	int64_t		year;
	int			month;
	int			mday;

	date_of_day(day, &year, &month, &mday);
	if (year < 0 || year > 9999)
		return false;
	snprintf(text, sizeof(text), "%04d%02d%02dT%02d%02d%02dZ", (int) year, month,
			 mday, second / 3600, second / 60 % 60, second % 60);
	memcpy(stamp, text, CDC_AWS_TIME_LEN + 1);
	return true;
}

void
cdc_aws_append_scope(CdcAwsText *text, const char *stamp, const char *region,
					 const char *service)
{
	cdc_aws_append_bytes(text, stamp, DATE_LEN);
	cdc_aws_append(text, "/");
	cdc_aws_append(text, region);
	cdc_aws_append(text, "/");
	cdc_aws_append(text, service);
	cdc_aws_append(text, "/aws4_request");
}

bool
cdc_aws_sign(const char *secret_key, const char *stamp, const char *region,
			 const char *service, const CdcAwsText *canonical_request,
			 char signature[CDC_AWS_SHA256_HEX + 1])
{
	unsigned char key[SHA256_LEN];
	char		digest[CDC_AWS_SHA256_HEX + 1];
	CdcAwsText	text = {0};
	bool		ok;

	if (canonical_request->failed ||
		!cdc_aws_sha256_hex(canonical_request->data, canonical_request->len,
							digest))
		return false;
	cdc_aws_append(&text, ALGORITHM "\n");
	cdc_aws_append(&text, stamp);
	cdc_aws_append(&text, "\n");
	cdc_aws_append_scope(&text, stamp, region, service);
	cdc_aws_append(&text, "\n");
	cdc_aws_append(&text, digest);
	ok = derive_key(secret_key, stamp, region, service, key) && !text.failed &&
		hmac_step(key, text.data, text.len);
	if (ok)
		to_hex(key, SHA256_LEN, signature);
	explicit_bzero(key, sizeof(key));
	cdc_aws_text_free(&text);
	return ok;
}

static void
append_header(CdcAwsText *text, const char *name, const char *value)
{
	cdc_aws_append(text, name);
	cdc_aws_append(text, ":");
	cdc_aws_append(text, value);
	cdc_aws_append(text, "\n");
}

/* The names of the headers that are signed, in order. */
static void
append_signed_headers(CdcAwsText *text, const CdcAwsRequest *request,
					  const CdcAwsCredentials *credentials)
{
	if (request->content_type)
		cdc_aws_append(text, "content-type;");
	cdc_aws_append(text, "host;x-amz-date");
	if (credentials->session_token)
		cdc_aws_append(text, ";x-amz-security-token");
}

static bool
append_canonical_request(CdcAwsText *text, const CdcAwsRequest *request,
						 const CdcAwsCredentials *credentials, const char *stamp)
{
	char		digest[CDC_AWS_SHA256_HEX + 1];

	if (!cdc_aws_sha256_hex(request->body, strlen(request->body), digest))
		return false;
	cdc_aws_append(text, request->method);
	cdc_aws_append(text, "\n");
	/* all services but S3 encode the path once more */
	for (const char *p = request->path; *p; p++)
	{
		char		c[2] = {*p, '\0'};

		if (*p == '/')
			cdc_aws_append(text, "/");
		else
			cdc_aws_append_encoded(text, c);
	}
	cdc_aws_append(text, "\n\n");	/* no query */
	if (request->content_type)
		append_header(text, "content-type", request->content_type);
	append_header(text, "host", request->host);
	append_header(text, "x-amz-date", stamp);
	if (credentials->session_token)
		append_header(text, "x-amz-security-token", credentials->session_token);
	cdc_aws_append(text, "\n");
	append_signed_headers(text, request, credentials);
	cdc_aws_append(text, "\n");
	cdc_aws_append(text, digest);
	return !text->failed;
}

bool
cdc_aws_request_sign(const CdcAwsRequest *request,
					 const CdcAwsCredentials *credentials, const char *stamp,
					 CdcAwsText *authorization)
{
	char		signature[CDC_AWS_SHA256_HEX + 1];
	CdcAwsText	canonical = {0};
	bool		ok;

	ok = append_canonical_request(&canonical, request, credentials, stamp) &&
		cdc_aws_sign(credentials->secret_key, stamp, request->region,
					 request->service, &canonical, signature);
	cdc_aws_text_free(&canonical);
	if (!ok)
		return false;
	cdc_aws_append(authorization, ALGORITHM " Credential=");
	cdc_aws_append(authorization, credentials->access_key);
	cdc_aws_append(authorization, "/");
	cdc_aws_append_scope(authorization, stamp, request->region, request->service);
	cdc_aws_append(authorization, ", SignedHeaders=");
	append_signed_headers(authorization, request, credentials);
	cdc_aws_append(authorization, ", Signature=");
	cdc_aws_append(authorization, signature);
	return !authorization->failed;
}
