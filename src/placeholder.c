/*-------------------------------------------------------------------------
 *
 * placeholder.c
 *	  Debezium's stand-in for a value that did not change and is not in the
 *	  source's log, in all its encodings.
 *
 * The connector knows the column's type and encodes the placeholder as a value
 * of that type:
 *
 *	text and the like, bytea as text	the text
 *	bytea as bytes						its base64
 *	text[], bytea[], uuid[]				an array of one such string; for uuid the
 *										name-based UUID (version 3) of the bytes
 *	int4[], int8[], date[]				one element per byte
 *	hstore								an object, or its text, that maps the
 *										text to itself
 *
 * All forms are made when the placeholder is created.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "placeholder.h"

#define DEFAULT_PLACEHOLDER "__debezium_unavailable_value"

/* No escape in JSON takes more than six bytes for one. */
#define ESCAPE_FACTOR	6

/* What an element of the array form may take at most, with some whitespace. */
#define BYTES_PER_ELEMENT 16

typedef struct Form
{
	char	   *text;
	uint32_t	len;
} Form;

struct CdcPlaceholder
{
	Form		bytes;			/* what the connector's setting says */
	Form		text;			/* the same as a Java string */
	Form		base64;
	Form		hstore;			/* the hstore as a JSON text */
	Form		uuid;
	uint32_t	longest;		/* of the string forms */
	uint64_t	lengths;		/* of the string forms, if below 64, a bit each */
	char	   *scratch;		/* for a string with escapes */
};

/* The additive constants of MD5: abs(sin(i + 1)) * 2^32. */
static const uint32_t md5_sines[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee,
	0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
	0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
	0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
	0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa,
	0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
	0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
	0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
	0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
	0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
	0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05,
	0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
	0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039,
	0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
	0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
	0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391
};

static const uint8_t md5_shifts[4][4] = {
	{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}
};

/* One block of MD5 (RFC 1321). */
static void
md5_block(uint32_t *state, const unsigned char *block)
{
	uint32_t	a = state[0];
	uint32_t	b = state[1];
	uint32_t	c = state[2];
	uint32_t	d = state[3];

	for (unsigned int i = 0; i < 64; i++)
	{
		static const uint8_t steps[4] = {1, 5, 3, 7};
		static const uint8_t starts[4] = {0, 1, 5, 0};
		unsigned int round = i / 16;
		const unsigned char *p =
			block + 4 * ((starts[round] + steps[round] * i) % 16);
		uint32_t	word = (uint32_t) p[0] | (uint32_t) p[1] << 8 |
			(uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
		uint32_t	f = round == 0 ? (b & c) | (~b & d) :
			round == 1 ? (d & b) | (~d & c) :
			round == 2 ? b ^ c ^ d : c ^ (b | ~d);
		int			shift = md5_shifts[round][i % 4];

		f += a + md5_sines[i] + word;
		a = d;
		d = c;
		c = b;
		b += f << shift | f >> (32 - shift);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

static void
md5(const unsigned char *data, size_t len, unsigned char *digest)
{
	uint32_t	state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
	unsigned char tail[128] = {0};
	size_t		whole = len / 64 * 64;
	size_t		rest = len - whole;
	size_t		tail_len = rest < 56 ? 64 : 128;

	for (size_t i = 0; i < whole; i += 64)
		md5_block(state, data + i);
	memcpy(tail, data + whole, rest);
	tail[rest] = 0x80;
	for (int i = 0; i < 8; i++)
		tail[tail_len - 8 + (size_t) i] =
			(unsigned char) ((uint64_t) len * 8 >> (8 * i));
	for (size_t i = 0; i < tail_len; i += 64)
		md5_block(state, tail + i);
	for (int i = 0; i < 16; i++)
		digest[i] = (unsigned char) (state[i / 4] >> (8 * (i % 4)));
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo "hex:"; false for what is no such setting, which is then a text. */
static bool
decode_hex(const char *setting, Form *bytes)
{
	const char *p = setting + 4;
	size_t		digits;

	if (strncmp(setting, "hex:", 4) != 0)
		return false;
	digits = strlen(p);
	if (digits % 2 != 0)
		return false;
	for (size_t i = 0; i < digits; i += 2)
	{
		int			high = hex_digit(p[i]);
		int			low = hex_digit(p[i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes->text[i / 2] = (char) (high * 16 + low);
	}
	bytes->len = (uint32_t) (digits / 2);
	return true;
}

/*
 * The bytes as a Java string: what is not UTF-8 becomes U+FFFD, one for each
 * longest run of bytes that could have begun a character.
 */
static void
make_text(const Form *bytes, Form *text)
{
	const unsigned char *p = (const unsigned char *) bytes->text;
	const unsigned char *end = p + bytes->len;
	char	   *out = text->text;

	while (p < end)
	{
		int			len = cdc_utf8_length(p, end);

		if (len > 0)
		{
			memcpy(out, p, (size_t) len);
			out += len;
			p += len;
			continue;
		}
		memcpy(out, "\xEF\xBF\xBD", 3);
		out += 3;
		/* with good bytes in place of what is missing, was it a beginning? */
		for (len = 1; len < 3 && len < end - p; len++)
		{
			unsigned char trial[4] = {p[0], p[1], len > 1 ? p[2] : 0x80, 0x80};

			if (cdc_utf8_length(trial, trial + 4) <= len)
				break;
		}
		p += len;
	}
	text->len = (uint32_t) (out - text->text);
}

static void
make_base64(const Form *bytes, Form *base64)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *) bytes->text;
	char	   *out = base64->text;

	for (uint32_t i = 0; i < bytes->len; i += 3)
	{
		uint32_t	left = bytes->len - i;
		uint32_t	group = (uint32_t) p[i] << 16;

		if (left > 1)
			group |= (uint32_t) p[i + 1] << 8;
		if (left > 2)
			group |= p[i + 2];
		*out++ = digits[group >> 18];
		*out++ = digits[group >> 12 & 63];
		*out++ = left > 1 ? digits[group >> 6 & 63] : '=';
		*out++ = left > 2 ? digits[group & 63] : '=';
	}
	base64->len = (uint32_t) (out - base64->text);
}

/* Append text as a JSON string, as Java's JSON library writes it. */
static char *
put_quoted(char *out, const Form *text)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char from[] = "\"\\\b\f\n\r\t";
	static const char to[] = "\"\\bfnrt";

	*out++ = '"';
	for (uint32_t i = 0; i < text->len; i++)
	{
		unsigned char c = (unsigned char) text->text[i];
		const char *special = c == 0 ? NULL : strchr(from, c);

		if (special)
		{
			*out++ = '\\';
			*out++ = to[special - from];
		}
		else if (c < ' ')
		{
			memcpy(out, "\\u00", 4);
			out[4] = hex[c >> 4];
			out[5] = hex[c & 15];
			out += 6;
		}
		else
			*out++ = (char) c;
	}
	*out++ = '"';
	return out;
}

static void
make_hstore(const Form *text, Form *hstore)
{
	char	   *out = hstore->text;

	*out++ = '{';
	out = put_quoted(out, text);
	*out++ = ':';
	out = put_quoted(out, text);
	*out++ = '}';
	hstore->len = (uint32_t) (out - hstore->text);
}

static void
make_uuid(const Form *bytes, Form *uuid)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char digest[16];
	char	   *out = uuid->text;

	md5((const unsigned char *) bytes->text, bytes->len, digest);
	digest[6] = (unsigned char) ((digest[6] & 0x0F) | 0x30);
	digest[8] = (unsigned char) ((digest[8] & 0x3F) | 0x80);
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[digest[i] >> 4];
		*out++ = hex[digest[i] & 15];
	}
	uuid->len = (uint32_t) (out - uuid->text);
}

static uint32_t
max_len(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void
note_length(CdcPlaceholder *placeholder, const Form *form)
{
	if (form->len < 64)
		placeholder->lengths |= UINT64_C(1) << form->len;
}

CdcPlaceholder *
cdc_placeholder_create(const char *setting)
{
	CdcPlaceholder *placeholder = calloc(1, sizeof(CdcPlaceholder));
	size_t		len;

	if (placeholder == NULL)
		return NULL;
	if (setting == NULL)
		setting = DEFAULT_PLACEHOLDER;
	len = strlen(setting);
	placeholder->bytes.text = malloc(len + 1);
	placeholder->text.text = malloc(3 * len + 1);
	placeholder->base64.text = malloc(2 * len + 4);
	placeholder->hstore.text = malloc(2 * ESCAPE_FACTOR * 3 * len + 8);
	placeholder->uuid.text = malloc(37);
	if (!placeholder->bytes.text || !placeholder->text.text ||
		!placeholder->base64.text || !placeholder->hstore.text ||
		!placeholder->uuid.text)
	{
		cdc_placeholder_free(placeholder);
		return NULL;
	}
	if (!decode_hex(setting, &placeholder->bytes))
	{
		memcpy(placeholder->bytes.text, setting, len);
		placeholder->bytes.len = (uint32_t) len;
	}
	make_text(&placeholder->bytes, &placeholder->text);
	make_base64(&placeholder->bytes, &placeholder->base64);
	make_hstore(&placeholder->text, &placeholder->hstore);
	make_uuid(&placeholder->bytes, &placeholder->uuid);
	placeholder->longest = max_len(max_len(placeholder->hstore.len, 36),
								   placeholder->base64.len);
	note_length(placeholder, &placeholder->text);
	note_length(placeholder, &placeholder->base64);
	note_length(placeholder, &placeholder->hstore);
	placeholder->scratch = malloc((size_t) placeholder->longest *
								  ESCAPE_FACTOR + 1);
	if (placeholder->scratch == NULL)
	{
		cdc_placeholder_free(placeholder);
		return NULL;
	}
	return placeholder;
}

void
cdc_placeholder_free(CdcPlaceholder *placeholder)
{
	if (placeholder == NULL)
		return;
	free(placeholder->bytes.text);
	free(placeholder->text.text);
	free(placeholder->base64.text);
	free(placeholder->hstore.text);
	free(placeholder->uuid.text);
	free(placeholder->scratch);
	free(placeholder);
}

static bool
same_text(const Form *form, const char *text, uint32_t len)
{
	return form->len == len && memcmp(form->text, text, len) == 0;
}

/* The string without its escapes; false if it is too long to be a form. */
static bool
plain_string(const CdcPlaceholder *placeholder, const CdcToken *value,
			 const char **text, uint32_t *len)
{
	int			n;

	*text = value->text;
	*len = value->len;
	if (!(value->flags & CDC_JSON_ESCAPED))
		return *len <= placeholder->longest;
	if (*len > placeholder->longest * ESCAPE_FACTOR)
		return false;
	n = cdc_json_unescape(value, placeholder->scratch);
	*text = placeholder->scratch;
	*len = (uint32_t) n;
	return n >= 0;
}

static bool
match_string(const CdcPlaceholder *placeholder, const CdcToken *value)
{
	const char *text;
	uint32_t	len;

	if (!(value->flags & CDC_JSON_ESCAPED) && value->len < 64 &&
		!(placeholder->lengths >> value->len & 1))
		return false;
	return plain_string(placeholder, value, &text, &len) &&
		(same_text(&placeholder->text, text, len) ||
		 same_text(&placeholder->base64, text, len) ||
		 same_text(&placeholder->hstore, text, len));
}

/* An array of one string, or of one number per byte. */
static bool
match_array(const CdcPlaceholder *placeholder, const CdcToken *value)
{
	CdcScanner	scanner;
	CdcToken	element;
	uint32_t	n = 0;
	const char *text;
	uint32_t	len;

	cdc_scanner_init(&scanner, value->text, value->len);
	(void) cdc_scan_enter(&scanner);
	for (; cdc_scan_element(&scanner, n == 0) > 0; n++)
	{
		int64_t		byte;

		if (!cdc_scan_value(&scanner, &element))
			return false;
		if (n == 0 && element.kind == CDC_JSON_STRING)
			return cdc_scan_element(&scanner, false) == 0 &&
				plain_string(placeholder, &element, &text, &len) &&
				(same_text(&placeholder->text, text, len) ||
				 same_text(&placeholder->base64, text, len) ||
				 same_text(&placeholder->uuid, text, len));
		/* Java's bytes are signed */
		if (n >= placeholder->bytes.len || !cdc_json_int64(&element, &byte) ||
			byte < -128 || byte > 255 ||
			(unsigned char) byte != (unsigned char) placeholder->bytes.text[n])
			return false;
	}
	return n == placeholder->bytes.len;
}

/* An object that maps the text to itself, and nothing else. */
static bool
match_object(const CdcPlaceholder *placeholder, const CdcToken *value)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	mapped;
	const char *text;
	uint32_t	len;

	cdc_scanner_init(&scanner, value->text, value->len);
	return cdc_scan_enter(&scanner) &&
		cdc_scan_member(&scanner, true, &name) == 1 &&
		plain_string(placeholder, &name, &text, &len) &&
		same_text(&placeholder->text, text, len) &&
		cdc_scan_value(&scanner, &mapped) &&
		mapped.kind == CDC_JSON_STRING &&
		plain_string(placeholder, &mapped, &text, &len) &&
		same_text(&placeholder->text, text, len) &&
		cdc_scan_member(&scanner, false, &name) == 0;
}

bool
cdc_placeholder_match(const CdcPlaceholder *placeholder, const CdcToken *value)
{
	if (placeholder->bytes.len == 0)
		return false;
	switch (value->kind)
	{
		case CDC_JSON_STRING:
			return match_string(placeholder, value);
		case CDC_JSON_ARRAY:
			return value->len <= placeholder->longest * BYTES_PER_ELEMENT &&
				match_array(placeholder, value);
		case CDC_JSON_OBJECT:
			return value->len <= placeholder->longest * BYTES_PER_ELEMENT &&
				match_object(placeholder, value);
		default:
			return false;
	}
}
