/*-------------------------------------------------------------------------
 *
 * wrapped.c
 *	  Records that somebody has wrapped once more.
 *
 * Pure C without PostgreSQL.  A converter that is given text or bytes which are
 * JSON already makes a JSON string of them, alone or as the "payload" of a schema
 * that says string or bytes; and {"schema":..,"payload":..} that was read without
 * schemas may be put in the "payload" of another one.  What is inside is decoded
 * as if it had come so, from memory of the decoder, where tokens point to until the
 * next record.  It is unwrapped twice at most.
 *
 * A column of a row may hold such a string, too: only where the record is nothing
 * else, it is a record.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "decoder.h"

/* Base64 of a text that begins with an object and a member's name. */
#define BASE64_OBJECT	"eyJ"

/* The first byte of the string that is no blank; escapes of blanks are two bytes. */
static char
first_byte(const CdcToken *string)
{
	const char *p = string->text;
	const char *end = p + string->len;

	for (;;)
	{
		if (end - p >= 2 && *p == '\\' && (p[1] == 'n' || p[1] == 'r' || p[1] == 't'))
			p += 2;
		else if (p < end && *p == ' ')
			p++;
		else
			break;
	}
	return p < end ? *p : '\0';
}

bool
cdc_is_object_text(const CdcToken *string)
{
	return string->kind == CDC_JSON_STRING && first_byte(string) == '{';
}

static bool
is_object_base64(const CdcToken *string)
{
	return string->kind == CDC_JSON_STRING && string->len % 4 == 0 &&
		!(string->flags & CDC_JSON_ESCAPED) &&
		string->len > strlen(BASE64_OBJECT) &&
		memcmp(string->text, BASE64_OBJECT, strlen(BASE64_OBJECT)) == 0;
}

/* An object that is again {"schema":..,"payload":..}, and nothing else. */
static bool
is_wrapper(const CdcImage *object)
{
	return object->whole.kind == CDC_JSON_OBJECT && object->nmembers == 2 &&
		cdc_is_object_or_null(&object->tokens[ENV_SCHEMA]) &&
		cdc_is_present(&object->tokens[ENV_PAYLOAD]);
}

const CdcToken *
cdc_find_wrapped(const CdcDecoder *decoder, const CdcImage *object)
{
	const CdcToken *whole = &object->whole;

	if (decoder->read_as >= CDC_READ_FLAT || decoder->unwrapping >= CDC_WRAPPED_MAX)
		return NULL;
	if (whole->kind == CDC_JSON_STRING ? cdc_is_object_text(whole) || is_object_base64(whole) :
		object == &decoder->envelope[1] && is_wrapper(object))
		return whole;
	return NULL;
}

/* Undo base64, into as much memory as the string has bytes. */
static bool
undo_base64(const CdcToken *string, char *out, size_t *len)
{
	uint32_t	bits = 0;
	uint32_t	end = string->len;

	*len = 0;
	while (end > 0 && string->text[end - 1] == '=')
		end--;
	for (uint32_t i = 0; i < end; i++)
	{
		int			digit = cdc_base64_digit(string->text[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t) digit;
		if (i % 4 != 0)
			out[(*len)++] = (char) (bits >> (6 - 2 * (i % 4)));
	}
	return string->len - end <= 2;
}

/* The text that is inside, in the decoder's memory if it is another one. */
static bool
open_wrapped(CdcDecoder *decoder, const CdcToken *wrapped, const char **text,
			 size_t *len)
{
	CdcDocument *memory = &decoder->wrapped[decoder->unwrapping];
	CdcToken	inner;

	if (wrapped->kind == CDC_JSON_OBJECT)
	{
		*text = wrapped->text;
		*len = wrapped->len;
		return true;
	}
	if (!cdc_document_open(memory, wrapped, 0, &inner))
		return false;
	*text = inner.text;
	*len = inner.len;
	return cdc_is_object_text(wrapped) || undo_base64(wrapped, memory->text, len);
}

bool
cdc_take_wrapped(CdcDecoder *decoder, const CdcToken *wrapped, const char *start,
				 CdcChange *change, CdcDecodeError *error)
{
	size_t		offset = (size_t) (wrapped->text - start);
	const char *text;
	size_t		len;
	bool		ok;

	if (!open_wrapped(decoder, wrapped, &text, &len))
		return cdc_decode_error(error, offset, "the text in the record cannot be read");
	decoder->unwrapping++;
	ok = cdc_decode_text(decoder, text, len, change, error);
	decoder->unwrapping--;
	change->wrapped = true;
	if (!ok)
		error->offset = (uint32_t) offset;
	return ok;
}
