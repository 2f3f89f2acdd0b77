/*-------------------------------------------------------------------------
 *
 * json.c
 *	  The JSON scanner: bytes -> tokens, strict, in one pass.
 *
 * Pure C without PostgreSQL.  The verdict is that of the server's json type
 * over text in UTF8: escapes are checked for their form only (\u0000 and
 * lone surrogates pass), names may repeat, numbers may be of any size.
 * Invalid UTF-8 is found where it matters, inside strings: anywhere else a
 * byte above 127 is a syntax error anyway.
 *
 * Runs of bytes that need no look each are skipped by json_bytes.h.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "json.h"
#include "json_bytes.h"

/* Numbers this long, or with such exponents, are certainly in numeric's range. */
#define SAFE_NUMBER_LEN		1000
#define SAFE_EXPONENT_LEN	3

/* Integers of so many characters are certainly in int64's range. */
#define INT64_SAFE_LEN		18

static const char err_depth[] = "JSON is nested too deeply";
static const char err_end[] = "unexpected end of JSON";
static const char err_token[] = "unexpected character in JSON";
static const char err_control[] = "unescaped control character in a JSON string";
static const char err_escape[] = "invalid escape sequence in a JSON string";
static const char err_utf8[] = "invalid UTF-8 in a JSON string";
static const char err_number[] = "invalid number in JSON";
static const char err_size[] = "JSON is too long";

void
cdc_scanner_init(CdcScanner *scanner, const char *text, size_t len)
{
	scanner->start = scanner->pos = text;
	scanner->end = text + len;
	scanner->error = len > INT32_MAX ? err_size : NULL;
	scanner->depth = 0;
	scanner->met = 0;
	if (scanner->error)
		scanner->end = text;
}

static bool
fail(CdcScanner *scanner, const char *error)
{
	if (scanner->error == NULL)
		scanner->error = scanner->pos < scanner->end ||
			error == err_depth ? error : err_end;
	return false;
}

/* The same for functions whose error is -1. */
static int
fail_step(CdcScanner *scanner, const char *error)
{
	(void) fail(scanner, error);
	return -1;
}

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline void
skip_space(CdcScanner *scanner)
{
	const char *p = scanner->pos;

	while (p < scanner->end && is_space(*p))
		p++;
	scanner->pos = p;
}

char
cdc_scan_peek(CdcScanner *scanner)
{
	skip_space(scanner);
	return scanner->pos < scanner->end ? *scanner->pos : '\0';
}

int
cdc_utf8_length(const unsigned char *p, const unsigned char *end)
{
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	int			len;

	if (p >= end)
		return 0;
	if (*p < 0x80)
		return 1;
	if (*p < 0xC2 || *p > 0xF4)
		return 0;
	len = *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
	if (end - p < len)
		return 0;
	/* the second byte decides about overlong forms, surrogates, the end */
	if (*p == 0xE0)
		low = 0xA0;
	else if (*p == 0xED)
		high = 0x9F;
	else if (*p == 0xF0)
		low = 0x90;
	else if (*p == 0xF4)
		high = 0x8F;
	if (p[1] < low || p[1] > high)
		return 0;
	for (int i = 2; i < len; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

/* The code unit of the four hex digits at p, or -1. */
static int
hex4(const char *p, const char *end)
{
	int			unit = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		if (cdc_is_digit(c))
			unit = unit * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			unit = unit * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return unit;
}

static inline bool
is_high_surrogate(int unit)
{
	return unit >= 0xD800 && unit <= 0xDBFF;
}

static inline bool
is_low_surrogate(int unit)
{
	return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* The low half of a surrogate pair as an escape at p, or -1. */
static int
low_surrogate_escape(const char *p, const char *end)
{
	int			unit;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	unit = hex4(p + 2, end);
	return is_low_surrogate(unit) ? unit : -1;
}

/* Step over the escape sequence whose backslash is at pos. */
static bool
scan_escape(CdcScanner *scanner)
{
	const char *p = scanner->pos + 1;
	int			unit;

	if (p >= scanner->end)
	{
		scanner->pos = p;
		return fail(scanner, err_escape);
	}
	if (*p != 'u')
	{
		if (*p == '\0' || strchr("\"\\/bfnrt", *p) == NULL)
			return fail(scanner, err_escape);
		scanner->pos = p + 1;
		return true;
	}
	unit = hex4(p + 1, scanner->end);
	if (unit < 0)
		return fail(scanner, err_escape);
	p += 5;
	if (is_high_surrogate(unit) &&
		low_surrogate_escape(p, scanner->end) >= 0)
		p += 6;
	else if (unit == 0 || is_high_surrogate(unit) || is_low_surrogate(unit))
		scanner->met |= CDC_JSON_BAD_ESCAPE;
	scanner->pos = p;
	return true;
}

/* Scan the string whose opening quote is at pos. */
static inline bool
scan_string(CdcScanner *scanner, CdcToken *token)
{
	token->text = ++scanner->pos;
	token->kind = CDC_JSON_STRING;
	token->flags = 0;
	for (;;)
	{
		const char *p = cdc_skip_plain(scanner->pos, scanner->end);
		int			len;

		scanner->pos = p;
		if (p >= scanner->end)
			return fail(scanner, err_end);
		if (*p == '"')
		{
			token->len = (uint32_t) (p - token->text);
			scanner->pos = p + 1;
			return true;
		}
		if (*p == '\\')
		{
			token->flags |= CDC_JSON_ESCAPED;
			if (!scan_escape(scanner))
				return false;
			continue;
		}
		if ((unsigned char) *p < ' ')
			return fail(scanner, err_control);
		do
		{
			len = cdc_utf8_length((const unsigned char *) scanner->pos,
								  (const unsigned char *) scanner->end);
			if (len == 0)
				return fail(scanner, err_utf8);
			scanner->pos += len;
		} while (scanner->pos < scanner->end &&
				 (unsigned char) *scanner->pos >= 0x80);
	}
}

/* Scan the fraction and exponent of a number, from its point or its "e" on. */
static bool
scan_number_tail(CdcScanner *scanner)
{
	const char *p = scanner->pos;
	const char *end = scanner->end;

	if (*p == '.')
	{
		scanner->pos = p + 1;
		p = cdc_skip_digits(p + 1, end);
		if (p == scanner->pos)
			return fail(scanner, err_number);
		scanner->pos = p;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		scanner->pos = p;
		p = cdc_skip_digits(p, end);
		if (p == scanner->pos)
			return fail(scanner, err_number);
		if (p - scanner->pos > SAFE_EXPONENT_LEN)
			scanner->met |= CDC_JSON_BIG_NUMBER;
		scanner->pos = p;
	}
	return true;
}

/* Scan the number that begins at pos with a digit or a minus sign. */
static inline bool
scan_number(CdcScanner *scanner, CdcToken *token)
{
	const char *p = scanner->pos;
	const char *end = scanner->end;

	token->text = p;
	token->kind = CDC_JSON_NUMBER;
	token->flags = CDC_JSON_INTEGER;
	if (*p == '-')
		scanner->pos = ++p;
	if (p >= end || !cdc_is_digit(*p))
		return fail(scanner, err_number);
	scanner->pos = *p == '0' ? p + 1 : cdc_skip_digits(p + 1, end);
	if (scanner->pos < end &&
		(*scanner->pos == '.' || (*scanner->pos | 0x20) == 'e'))
	{
		token->flags = 0;
		if (!scan_number_tail(scanner))
			return false;
	}
	token->len = (uint32_t) (scanner->pos - token->text);
	if (token->len > SAFE_NUMBER_LEN)
		scanner->met |= CDC_JSON_BIG_NUMBER;
	return true;
}

static bool
scan_keyword(CdcScanner *scanner, CdcToken *token, const char *word,
			 size_t len, CdcJsonKind kind)
{
	if ((size_t) (scanner->end - scanner->pos) < len ||
		memcmp(scanner->pos, word, len) != 0)
		return fail(scanner, err_token);
	token->text = scanner->pos;
	token->len = (uint32_t) len;
	token->kind = (uint8_t) kind;
	token->flags = 0;
	scanner->pos += len;
	return true;
}

bool
cdc_scan_enter(CdcScanner *scanner)
{
	if (scanner->depth >= CDC_JSON_MAX_DEPTH)
		return fail(scanner, err_depth);
	scanner->depth++;
	scanner->pos++;
	return true;
}

/*
 * Between the members or elements of a container: 1 before the next one, 0
 * after the closing byte, -1 error.
 */
static inline int
scan_separator(CdcScanner *scanner, bool first, char closing)
{
	char		c = cdc_scan_peek(scanner);

	if (c == closing)
	{
		scanner->depth--;
		scanner->pos++;
		return 0;
	}
	if (first)
		return 1;
	if (c != ',')
		return fail_step(scanner, err_token);
	scanner->pos++;
	skip_space(scanner);
	return 1;
}

static inline int
scan_member(CdcScanner *scanner, bool first, CdcToken *name)
{
	int			rc = scan_separator(scanner, first, '}');

	if (rc <= 0)
		return rc;
	if (scanner->pos >= scanner->end || *scanner->pos != '"')
		return fail_step(scanner, err_token);
	if (!scan_string(scanner, name))
		return -1;
	if (cdc_scan_peek(scanner) != ':')
		return fail_step(scanner, err_token);
	scanner->pos++;
	return 1;
}

int
cdc_scan_member(CdcScanner *scanner, bool first, CdcToken *name)
{
	return scan_member(scanner, first, name);
}

bool
cdc_scan_expect(CdcScanner *scanner, bool first, const char *literal,
				uint32_t len)
{
	const char *p = scanner->pos;

	if (!first)
	{
		if (p >= scanner->end || *p != ',')
			return false;
		p++;
	}
	if ((size_t) (scanner->end - p) < len || memcmp(p, literal, len) != 0)
		return false;
	scanner->pos = p + len;
	return true;
}

int
cdc_scan_element(CdcScanner *scanner, bool first)
{
	return scan_separator(scanner, first, ']');
}

bool
cdc_scan_known(CdcScanner *scanner, const char *text, uint32_t len)
{
	if (len == 0 || (size_t) (scanner->end - scanner->pos) < len ||
		memcmp(scanner->pos, text, len) != 0)
		return false;
	scanner->pos += len;
	return true;
}

/*
 * Scan the object or array whose bracket is at pos.  It calls itself by way
 * of cdc_scan_value(), CDC_JSON_MAX_DEPTH times at most.
 */
static bool
scan_container(CdcScanner *scanner, CdcToken *token)
{
	bool		object = *scanner->pos == '{';
	bool		first = true;
	CdcToken	inner;
	int			rc;

	token->text = scanner->pos;
	token->kind = object ? CDC_JSON_OBJECT : CDC_JSON_ARRAY;
	token->flags = 0;
	if (!cdc_scan_enter(scanner))
		return false;
	for (;;)
	{
		rc = object ? scan_member(scanner, first, &inner) :
			scan_separator(scanner, first, ']');
		if (rc <= 0)
			break;
		if (!cdc_scan_value(scanner, &inner))
			return false;
		first = false;
	}
	token->len = (uint32_t) (scanner->pos - token->text);
	return rc == 0;
}

bool
cdc_scan_value(CdcScanner *scanner, CdcToken *token)
{
	switch (cdc_scan_peek(scanner))
	{
		case '"':
			return scan_string(scanner, token);
		case '{':
		case '[':
			return scan_container(scanner, token);
		case 'n':
			return scan_keyword(scanner, token, "null", 4, CDC_JSON_NULL);
		case 't':
			return scan_keyword(scanner, token, "true", 4, CDC_JSON_TRUE);
		case 'f':
			return scan_keyword(scanner, token, "false", 5, CDC_JSON_FALSE);
		case '-':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case '8':
		case '9':
			return scan_number(scanner, token);
		default:
			return fail(scanner, err_token);
	}
}

bool
cdc_scan_finish(CdcScanner *scanner)
{
	skip_space(scanner);
	return scanner->pos == scanner->end || fail(scanner, err_token);
}

bool
cdc_scan_document(CdcScanner *scanner, CdcToken *token)
{
	return cdc_scan_value(scanner, token) && cdc_scan_finish(scanner);
}

/* Write a code point as UTF-8; returns the number of bytes. */
static int
put_utf8(int code, char *out)
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xC0 | (code >> 6));
		out[1] = (char) (0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xE0 | (code >> 12));
		out[1] = (char) (0x80 | ((code >> 6) & 0x3F));
		out[2] = (char) (0x80 | (code & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | (code >> 18));
	out[1] = (char) (0x80 | ((code >> 12) & 0x3F));
	out[2] = (char) (0x80 | ((code >> 6) & 0x3F));
	out[3] = (char) (0x80 | (code & 0x3F));
	return 4;
}

/* The code point of the escape after "\u" at *p, which moves behind it; -1. */
static int
unescape_unicode(const char **p, const char *end)
{
	int			unit = hex4(*p, end);
	int			low;

	*p += 4;
	if (unit <= 0 || is_low_surrogate(unit))
		return -1;
	if (!is_high_surrogate(unit))
		return unit;
	low = low_surrogate_escape(*p, end);
	if (low < 0)
		return -1;
	*p += 6;
	return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

int
cdc_json_unescape(const CdcToken *token, char *buf)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *p = token->text;
	const char *end = p + token->len;
	char	   *out = buf;

	while (p < end)
	{
		const char *backslash = memchr(p, '\\', (size_t) (end - p));
		size_t		plain = (size_t) ((backslash ? backslash : end) - p);

		memcpy(out, p, plain);
		out += plain;
		p += plain;
		if (backslash == NULL)
			break;
		if (p[1] == 'u')
		{
			int			code;

			p += 2;
			code = unescape_unicode(&p, end);
			if (code < 0)
				return -1;
			out += put_utf8(code, out);
		}
		else
		{
			*out++ = to[strchr(from, p[1]) - from];
			p += 2;
		}
	}
	return (int) (out - buf);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/*
 * The number that the last n of eight digits are, in three multiplications; the
 * first digit is the lowest byte.
 */
static inline uint64_t
last_digits(const char *p, int n_digits)
{
	uint64_t	n;

	memcpy(&n, p, 8);
	n &= UINT64_MAX << (8 * (8 - n_digits));
	n = (n & UINT64_C(0x0F0F0F0F0F0F0F0F)) * 2561 >> 8;
	n = (n & UINT64_C(0x00FF00FF00FF00FF)) * 6553601 >> 16;
	return (n & UINT64_C(0x0000FFFF0000FFFF)) * UINT64_C(42949672960001) >> 32;
}
#endif

bool
cdc_json_int64(const CdcToken *token, int64_t *value)
{
	const char *p = token->text;
	const char *end;
	bool		negative;
	uint64_t	n = 0;

	if (token->kind != CDC_JSON_NUMBER || !(token->flags & CDC_JSON_INTEGER))
		return false;
	end = p + token->len;
	negative = *p == '-';
	p += negative;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	/* times in ms have 13 digits, in us 16 */
	if (end - p > 8 && end - p <= 16)
	{
		static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000,
		10000000, 100000000};

		n = last_digits(p, 8) * powers[end - p - 8] +
			last_digits(end - 8, (int) (end - p - 8));
		p = end;
	}
#endif
	for (; p < end; p++)
	{
		uint64_t	digit = (uint64_t) (*p - '0');

		if (token->len > INT64_SAFE_LEN && n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (n > (uint64_t) INT64_MAX + negative)
		return false;
	*value = negative ? (int64_t) (0 - n) : (int64_t) n;
	return true;
}
