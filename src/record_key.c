/*-------------------------------------------------------------------------
 *
 * record_key.c
 *	  The key of a record -> values of the row's fields.
 *
 * Pure C without PostgreSQL.  A key's fields are found whatever the case of
 * their letters, in any order; those that nobody asked for are left out, such
 * as what a router adds.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "decoder.h"

#define STRUCT_PREFIX	"Struct{"

/*
 * If the object has exactly a "schema" (an object or null) and a "payload",
 * as the converter writes it and no key of a table is likely to look, give
 * the payload.
 */
static bool
unwrap_key(CdcDecoder *decoder, const CdcToken *object, CdcToken *payload)
{
	CdcImage   *outer = &decoder->envelope[0];
	CdcScanner	scanner;

	cdc_scanner_init(&scanner, object->text, object->len);
	if (!cdc_scan_image(&scanner, &decoder->envelope_set,
						&decoder->envelope_memo[0], outer, NULL, NULL))
		return false;
	*payload = outer->tokens[ENV_PAYLOAD];
	return cdc_is_present(payload) &&
		cdc_is_object_or_null(&outer->tokens[ENV_SCHEMA]);
}

/* Text that is no JSON string: a number if it looks like one. */
static CdcToken
text_token(const char *text, size_t len)
{
	CdcScanner	scanner;
	CdcToken	token;

	cdc_scanner_init(&scanner, text, len);
	if (cdc_scan_document(&scanner, &token) && token.kind < CDC_JSON_STRING &&
		token.len == len)
		return token;
	memset(&token, 0, sizeof(token));
	token.text = text;
	token.len = (uint32_t) len;
	token.kind = CDC_JSON_STRING;
	return token;
}

static bool
is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + len;

	while (p < end)
	{
		int			n = *p == 0 ? 0 : cdc_utf8_length(p, end);

		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

/* One name=value of a Struct. */
static bool
take_pair(CdcDecoder *decoder, const char *pair, const char *end,
		  CdcToken *fields)
{
	const char *equals = memchr(pair, '=', (size_t) (end - pair));
	CdcToken	name = {.kind = CDC_JSON_STRING};
	CdcToken	value;
	int			head;

	if (equals == NULL || equals == pair)
		return false;
	name.text = pair;
	name.len = (uint32_t) (equals - pair);
	head = cdc_fields_find(&decoder->key_set, &name);
	value = text_token(equals + 1, (size_t) (end - equals - 1));
	cdc_image_store(&decoder->key, &decoder->key_set, head, &name, &value);
	memcpy(fields, decoder->key.tokens,
		   (size_t) decoder->nrow * sizeof(CdcToken));
	return true;
}

/*
 * Struct{CUST_ID=1,REGION=eu}, which Java prints and nobody can read for
 * certain: a comma or an equals sign may be part of a value.  One field takes
 * all that there is; of several, each must have one equals sign.
 */
static bool
take_struct(CdcDecoder *decoder, const char *text, size_t len,
			CdcToken *fields, CdcDecodeError *error)
{
	const char *p = text + strlen(STRUCT_PREFIX);
	const char *end = text + len - 1;
	int			pairs = 0;
	int			equals = 0;

	for (const char *c = p; c < end; c++)
	{
		pairs += *c == ',';
		equals += *c == '=';
	}
	cdc_image_reset(&decoder->key, &decoder->key_set);
	if (pairs == 0 || equals == 1)
	{
		if (take_pair(decoder, p, end, fields))
			return true;
	}
	else if (equals == pairs + 1)
	{
		while (p < end)
		{
			const char *comma = memchr(p, ',', (size_t) (end - p));

			if (comma == NULL)
				comma = end;
			if (!take_pair(decoder, p, comma, fields))
				break;
			p = comma < end ? comma + 1 : end;
		}
		if (p == end)
			return true;
	}
	return cdc_decode_error(error, 0,
							"the key is a text Struct{..}, which cannot be read for certain");
}

/* A key that is no JSON. */
static bool
take_text(CdcDecoder *decoder, const char *text, size_t len, int scalar_field,
		  CdcToken *fields, const CdcScanner *scanner, CdcDecodeError *error)
{
	if (!is_utf8(text, len) || len == 0 || strchr("{[\"", text[0]) != NULL)
		return cdc_scanner_error(error, scanner);
	if (len > strlen(STRUCT_PREFIX) && text[len - 1] == '}' &&
		memcmp(text, STRUCT_PREFIX, strlen(STRUCT_PREFIX)) == 0)
		return take_struct(decoder, text, len, fields, error);
	if (scalar_field < 0)
		return cdc_decode_error(error, 0,
								"the key is a single value, not an object");
	fields[scalar_field] = text_token(text, len);
	return true;
}

/*
 * MongoDB's key has one field, whatever "_id" is: the text of extended JSON.
 * Where the row is known by "_id", that is its value; which may also stand there
 * as it is, {"_id":{"$oid":..}}.
 */
static void
take_document_key(CdcDecoder *decoder, int scalar_field, CdcToken *fields)
{
	CdcImage   *image = &decoder->key;
	const CdcField *field;
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	CdcToken	id;

	if (scalar_field < 0 || image->nmembers != 1)
		return;
	field = &decoder->key_set.fields[scalar_field];
	if (field->len != 3 || memcmp(field->name, "_id", 3) != 0)
		return;
	if (cdc_is_present(&fields[scalar_field]))
	{
		fields[scalar_field] = cdc_document_scalar(&fields[scalar_field],
												   decoder->key_spare);
		return;
	}
	cdc_scanner_init(&scanner, image->whole.text, image->whole.len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	if (cdc_scan_member(&scanner, true, &name) > 0 &&
		cdc_scan_value(&scanner, &value) && cdc_token_says(&name, "id") &&
		value.kind == CDC_JSON_STRING &&
		cdc_document_id(decoder, &value, &id))
		fields[scalar_field] = id;
}

/* Does the key have any of the row's fields?  MongoDB calls its only one "id". */
static bool
has_fields(const CdcDecoder *decoder)
{
	static const CdcToken id = {.text = "_id",.len = 3,.kind = CDC_JSON_STRING};

	if (decoder->key.nmembers == 1 && cdc_fields_find(&decoder->key_set, &id) >= 0)
		return true;
	for (int i = 0; i < decoder->nrow; i++)
		if (cdc_is_present(&decoder->key.tokens[i]))
			return true;
	return false;
}

static bool scan_key(CdcDecoder *decoder, CdcScanner *scanner, bool inside);

/*
 * The key is a string.  One that is the text of an object with the row's fields
 * was wrapped once more by a converter, see wrapped.c; any other is the key.
 */
static void
open_key_text(CdcDecoder *decoder)
{
	CdcImage   *image = &decoder->key;
	CdcToken	string = image->whole;
	CdcScanner	scanner;
	CdcToken	text;

	if (cdc_is_object_text(&string) &&
		cdc_document_open(&decoder->key_text, &string, 0, &text))
	{
		cdc_scanner_init(&scanner, text.text, text.len);
		if (scan_key(decoder, &scanner, true) && cdc_scan_finish(&scanner) &&
			image->whole.kind == CDC_JSON_OBJECT && has_fields(decoder))
			return;
	}
	cdc_image_reset(image, &decoder->key_set);
	image->whole = string;
}

/*
 * Scan the key, and what is inside of {"schema":..,"payload":..}, or of a string
 * unless it is inside of one itself.
 */
static bool
scan_key(CdcDecoder *decoder, CdcScanner *scanner, bool inside)
{
	const CdcFieldSet *set = &decoder->key_set;
	CdcImage   *image = &decoder->key;
	CdcToken	payload;

	if (!cdc_scan_image(scanner, set, &decoder->key_memo, image, NULL, NULL) ||
		!cdc_scan_finish(scanner))
		return false;
	if (image->whole.kind == CDC_JSON_STRING && !inside)
		open_key_text(decoder);
	if (image->whole.kind != CDC_JSON_OBJECT || image->nmembers != 2 ||
		!unwrap_key(decoder, &image->whole, &payload))
		return true;
	if (payload.kind == CDC_JSON_STRING)
	{
		/* its token is without quotes, so it is no text to scan again */
		cdc_image_reset(image, set);
		image->whole = payload;
		if (!inside)
			open_key_text(decoder);
		return true;
	}
	cdc_scanner_init(scanner, payload.text, payload.len);
	return cdc_scan_image(scanner, set, &decoder->key_memo, image, NULL, NULL);
}

/* An array of one scalar, as which CockroachDB writes a key of one column. */
static bool
take_only_element(const CdcToken *array, CdcToken *field)
{
	CdcScanner	scanner;
	CdcToken	element;

	cdc_scanner_init(&scanner, array->text, array->len);
	(void) cdc_scan_peek(&scanner);
	if (!cdc_scan_enter(&scanner) || cdc_scan_element(&scanner, true) <= 0 ||
		!cdc_scan_value(&scanner, &element) || element.kind == CDC_JSON_OBJECT ||
		element.kind == CDC_JSON_ARRAY || cdc_scan_element(&scanner, false) != 0)
		return false;
	*field = element;
	return true;
}

bool
cdc_decode_key(CdcDecoder *decoder, const char *key, size_t len,
			   int scalar_field, CdcToken *fields, CdcDecodeError *error)
{
	CdcImage   *image = &decoder->key;
	CdcScanner	scanner;

	memset(fields, 0, (size_t) decoder->nrow * sizeof(CdcToken));
	if (key == NULL)
		return cdc_decode_error(error, 0, "the key is null");
	if (!cdc_decode_framing(&key, &len, error))
		return false;
	cdc_scanner_init(&scanner, key, len);
	if (!scan_key(decoder, &scanner, false))
		return take_text(decoder, key, len, scalar_field, fields, &scanner,
						 error);
	switch (image->whole.kind)
	{
		case CDC_JSON_OBJECT:
			memcpy(fields, image->tokens,
				   (size_t) decoder->nrow * sizeof(CdcToken));
			cdc_open_key_cells(decoder, fields);
			take_document_key(decoder, scalar_field, fields);
			return true;
		case CDC_JSON_NULL:
			return cdc_decode_error(error, 0, "the key is null");
		case CDC_JSON_ARRAY:
			if (scalar_field < 0 || !take_only_element(&image->whole, &fields[scalar_field]))
				return cdc_decode_error(error, 0, "the key is an array");
			return true;
		default:
			if (scalar_field < 0)
				return cdc_decode_error(error, 0,
										"the key is a single value, not an object");
			fields[scalar_field] = image->whole;
			return true;
	}
}
