/*-------------------------------------------------------------------------
 *
 * fuzz_json.c
 *	  Fuzzing the JSON scanner: no crash, and one verdict on all its paths:
 *	  with and without SIMD, value by value and member by member.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"

extern void plain_scanner_init(CdcScanner *scanner, const char *text,
							   size_t len);
extern bool plain_scan_document(CdcScanner *scanner, CdcToken *token);

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool condition)
{
	if (!condition)
		abort();
}

static void
check_string(const CdcToken *token)
{
	char	   *buf = malloc(token->len > 0 ? token->len : 1);
	int			n = cdc_json_unescape(token, buf);

	require(n >= -1 && n <= (int) token->len);
	if (!(token->flags & CDC_JSON_ESCAPED))
		require(n == (int) token->len && memcmp(buf, token->text, (size_t) n) == 0);
	for (const unsigned char *p = (unsigned char *) buf,
		 *end = p + (n > 0 ? n : 0); p < end;)
	{
		int			len = cdc_utf8_length(p, end);

		require(len > 0 && *p != '\0');
		p += len;
	}
	free(buf);
}

/* Scan a value by stepping into it. */
static bool
walk(CdcScanner *scanner)
{
	char		c = cdc_scan_peek(scanner);
	CdcToken	token;
	int64_t		number;
	int			rc;

	if (c != '{' && c != '[')
	{
		if (!cdc_scan_value(scanner, &token))
			return false;
		if (token.kind == CDC_JSON_STRING)
			check_string(&token);
		(void) cdc_json_int64(&token, &number);
		return true;
	}
	if (!cdc_scan_enter(scanner))
		return false;
	for (bool first = true;; first = false)
	{
		rc = c == '{' ? cdc_scan_member(scanner, first, &token) :
			cdc_scan_element(scanner, first);
		if (rc <= 0)
			return rc == 0;
		if (c == '{')
			check_string(&token);
		if (!walk(scanner))
			return false;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size > 0 ? size : 1);
	CdcScanner	a;
	CdcScanner	b;
	CdcToken	token_a;
	CdcToken	token_b;
	bool		valid;

	memcpy(text, data, size);
	cdc_scanner_init(&a, text, size);
	plain_scanner_init(&b, text, size);
	valid = cdc_scan_document(&a, &token_a);
	require(valid == plain_scan_document(&b, &token_b));
	require(a.pos == b.pos && a.met == b.met);
	require((a.error == NULL) == (b.error == NULL) &&
			(a.error == NULL || strcmp(a.error, b.error) == 0));
	require(valid == (a.error == NULL));
	if (valid)
	{
		require(token_a.text == token_b.text && token_a.len == token_b.len &&
				token_a.kind == token_b.kind &&
				token_a.flags == token_b.flags);
		/* what a scanner has passed over is known to be one value */
		cdc_scanner_init(&b, text, size);
		if (token_a.kind == CDC_JSON_OBJECT && cdc_scan_peek(&b) == '{')
			require(cdc_scan_known(&b, token_a.text, token_a.len) &&
					cdc_scan_finish(&b));
	}
	cdc_scanner_init(&b, text, size);
	require(valid == (walk(&b) && cdc_scan_finish(&b)));
	require(a.pos == b.pos && a.met == b.met);
	free(text);
	return 0;
}
