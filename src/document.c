/*-------------------------------------------------------------------------
 *
 * document.c
 *	  What the MongoDB connector writes: documents as strings of extended JSON.
 *
 * Pure C without PostgreSQL.  The string's escapes are undone into memory of the
 * decoder, which grows to the longest document and is used again; tokens point
 * there until the next record.  A wanted member that is an object with one of
 * extended JSON's names ({"$oid":..}, {"$date":..}) becomes the scalar that
 * it stands for; what is in objects and arrays stays as it is.
 *
 * A document is whole: a member that it lacks is null.  An update without the
 * document has what changed in updateDescription.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder.h"

static const CdcToken null_token = {.text = "null",.len = 4,.kind = CDC_JSON_NULL};

/*
 * Scalars of extended JSON
 */

/* The year, month and day of a number of days since 1970-01-01. */
static void
civil_date(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t		z = days + 719468;
	int64_t		era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t		doe = z - era * 146097;
	int64_t		yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t		doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t		mp = (5 * doy + 2) / 153;

	*day = (int) (doy - (153 * mp + 2) / 5 + 1);
	*month = (int) (mp < 10 ? mp + 3 : mp - 9);
	*year = yoe + era * 400 + (*month <= 2);
}

/* Milliseconds since 1970 as Java's Instant prints them. */
static CdcToken
date_text(int64_t ms, char *spare)
{
	int64_t		days = ms / 86400000;
	int64_t		rest = ms % 86400000;
	int64_t		year;
	int			month;
	int			day;
	CdcToken	token = {.text = spare,.kind = CDC_JSON_STRING};

	if (rest < 0)
	{
		rest += 86400000;
		days--;
	}
	civil_date(days, &year, &month, &day);
	token.len = (uint32_t)
		snprintf(spare, CDC_DOCUMENT_SPARE,
				 "%s%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ",
				 year < 0 ? "-" : year > 9999 ? "+" : "",
				 (long long) (year < 0 ? -year : year), month, day,
				 (int) (rest / 3600000), (int) (rest / 60000 % 60),
				 (int) (rest / 1000 % 60), (int) (rest % 1000));
	return token;
}

/* A string that is a number is one; NaN and the like stay strings. */
static CdcToken
number_of(const CdcToken *value)
{
	CdcScanner	scanner;
	CdcToken	number;

	if (value->kind != CDC_JSON_STRING || (value->flags & CDC_JSON_ESCAPED))
		return *value;
	cdc_scanner_init(&scanner, value->text, value->len);
	if (cdc_scan_document(&scanner, &number) && number.kind == CDC_JSON_NUMBER)
		return number;
	return *value;
}

int
cdc_base64_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int) (at - digits) : -1;
}

/* The base64 of 16 bytes as a uuid. */
static bool
uuid_text(const CdcToken *base64, char *spare, CdcToken *token)
{
	static const char hex[] = "0123456789abcdef";
	uint32_t	bits = 0;
	char	   *p = spare;

	if (base64->len != 24 || base64->text[22] != '=' || base64->text[23] != '=')
		return false;
	for (int i = 0, n = 0, have = 0; i < 22; i++)
	{
		int			digit = cdc_base64_digit(base64->text[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t) digit;
		have += 6;
		if (have < 8 || n == 16)
			continue;
		have -= 8;
		if (n == 4 || n == 6 || n == 8 || n == 10)
			*p++ = '-';
		*p++ = hex[bits >> (have + 4) & 15];
		*p++ = hex[bits >> have & 15];
		n++;
	}
	memset(token, 0, sizeof(*token));
	token->text = spare;
	token->len = (uint32_t) (p - spare);
	token->kind = CDC_JSON_STRING;
	return true;
}

/* The first two members of an object; how many it has. */
static int
first_members(const CdcToken *object, CdcToken *names, CdcToken *values)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	int			n = 0;

	cdc_scanner_init(&scanner, object->text, object->len);
	if (object->kind != CDC_JSON_OBJECT || cdc_scan_peek(&scanner) != '{' ||
		!cdc_scan_enter(&scanner))
		return 0;
	while (cdc_scan_member(&scanner, n == 0, &name) > 0 &&
		   cdc_scan_value(&scanner, &value))
	{
		if (n < 2)
		{
			names[n] = name;
			values[n] = value;
		}
		n++;
	}
	return n;
}

/* {"base64":..,"subType":".."}, or the older {"$binary":..,"$type":".."} */
static bool
binary_of(const CdcToken *value, const CdcToken *type, char *spare,
		  CdcToken *result)
{
	CdcToken	names[2];
	CdcToken	values[2];
	const CdcToken *base64 = value;

	if (value->kind == CDC_JSON_OBJECT)
	{
		if (first_members(value, names, values) != 2)
			return false;
		base64 = &values[cdc_token_says(&names[0], "base64") ? 0 : 1];
		type = &values[cdc_token_says(&names[0], "base64") ? 1 : 0];
	}
	if (base64->kind != CDC_JSON_STRING)
		return false;
	if ((cdc_token_says(type, "04") || cdc_token_says(type, "4")) &&
		uuid_text(base64, spare, result))
		return true;
	*result = *base64;
	return true;
}

static bool
date_of(const CdcToken *value, char *spare, CdcToken *result)
{
	CdcToken	names[2];
	CdcToken	values[2];
	CdcToken	ms = *value;
	int64_t		n;

	if (value->kind == CDC_JSON_STRING)
	{
		*result = *value;
		return true;
	}
	if (value->kind == CDC_JSON_OBJECT)
	{
		if (first_members(value, names, values) != 1 ||
			!cdc_token_says(&names[0], "$numberLong"))
			return false;
		ms = number_of(&values[0]);
	}
	if (!cdc_json_int64(&ms, &n))
		return false;
	*result = date_text(n, spare);
	return true;
}

CdcToken
cdc_document_scalar(const CdcToken *object, char *spare)
{
	CdcToken	names[2];
	CdcToken	values[2];
	CdcToken	result;
	const CdcToken *name = &names[0];
	int			n;

	/* most objects are no scalars */
	if (object->kind != CDC_JSON_OBJECT || !memchr(object->text, '$',
												   object->len < 16 ? object->len : 16))
		return *object;
	n = first_members(object, names, values);
	if (n < 1 || n > 2)
		return *object;
	if (cdc_token_says(name, "$binary") &&
		binary_of(&values[0], n == 2 ? &values[1] : &null_token, spare, &result))
		return result;
	if (n != 1)
		return *object;
	if ((cdc_token_says(name, "$oid") || cdc_token_says(name, "$symbol") ||
		 cdc_token_says(name, "$uuid")) && values[0].kind == CDC_JSON_STRING)
		return values[0];
	if (cdc_token_says(name, "$numberInt") ||
		cdc_token_says(name, "$numberLong") ||
		cdc_token_says(name, "$numberDouble") ||
		cdc_token_says(name, "$numberDecimal"))
		return number_of(&values[0]);
	if (cdc_token_says(name, "$date") && date_of(&values[0], spare, &result))
		return result;
	if (cdc_token_says(name, "$undefined"))
		return null_token;
	return *object;
}

/*
 * Documents
 */

bool
cdc_document_open(CdcDocument *document, const CdcToken *string, int nscalars,
				  CdcToken *text)
{
	size_t		need = string->len + (size_t) nscalars * CDC_DOCUMENT_SPARE + 1;
	int			len;

	if (need > document->size)
	{
		char	   *larger = realloc(document->text, need + need / 2);

		if (larger == NULL)
			return false;
		document->text = larger;
		document->size = need + need / 2;
	}
	len = cdc_json_unescape(string, document->text);
	if (len < 0)
		return false;
	memset(text, 0, sizeof(*text));
	text->text = document->text;
	text->len = (uint32_t) len;
	return true;
}

/* Scan the text of a document into its image, scalars made plain. */
static bool
scan_document(CdcDecoder *decoder, CdcDocument *document,
			  const CdcToken *string)
{
	CdcImage   *image = &document->image;
	char	   *spare;
	CdcToken	text;
	CdcScanner	scanner;

	if (!cdc_document_open(document, string, decoder->nrow, &text))
		return false;
	spare = document->text + text.len;
	cdc_scanner_init(&scanner, text.text, text.len);
	if (!cdc_scan_image(&scanner, &decoder->row_set, &decoder->document_memo,
						image, NULL, NULL) || !cdc_scan_finish(&scanner) ||
		image->whole.kind != CDC_JSON_OBJECT)
		return false;
	for (int i = 0; i < decoder->nrow; i++)
	{
		if (i == decoder->row_set.whole)
			continue;
		image->tokens[i] = cdc_document_scalar(&image->tokens[i], spare);
		spare += CDC_DOCUMENT_SPARE;
	}
	return true;
}

bool
cdc_has_documents(const CdcDecoder *decoder, const CdcImage *envelope)
{
	const CdcToken *op = &envelope->tokens[ENV_OP];

	return decoder->after.whole.kind == CDC_JSON_STRING ||
		decoder->before.whole.kind == CDC_JSON_STRING ||
		(envelope->tokens[ENV_UPDATE_DESCRIPTION].kind == CDC_JSON_OBJECT &&
		 decoder->after.whole.kind != CDC_JSON_OBJECT &&
		 (cdc_token_says(op, "u") || cdc_token_says(op, "U")));
}

/* One of the two images: a string, or null. */
static bool
take_document(CdcDecoder *decoder, CdcDocument *document,
			  const CdcImage *given, const char *name, const char *start,
			  bool *has, CdcToken *json, CdcDecodeError *error)
{
	if (given->whole.kind != CDC_JSON_STRING)
		return cdc_take_image(given, name, start, has, json, error);
	if (!scan_document(decoder, document, &given->whole))
		return cdc_decode_error(error, (size_t) (given->whole.text - start),
								"\"%s\" of the event is a string, but not one of a MongoDB document",
								name);
	for (int i = 0; i < decoder->nrow; i++)
		if (!cdc_is_present(&document->image.tokens[i]))
			document->image.tokens[i] = null_token;
	*json = document->image.whole;
	*has = true;
	return true;
}

/*
 * Updates without the document
 */

/* Is the name up to its first dot that of a wanted field? */
static bool
is_wanted(const CdcDecoder *decoder, const CdcToken *name)
{
	const char *dot = memchr(name->text, '.', name->len);
	CdcToken	head = *name;

	if (dot)
		head.len = (uint32_t) (dot - name->text);
	return cdc_fields_find(&decoder->row_set, &head) >= 0;
}

static bool
partly_changed(const CdcToken *name, CdcDecodeError *error)
{
	return cdc_decode_error(error, 0,
							"the update changes a part of field \"%.*s\" alone: let the connector send whole documents (capture.mode change_streams_update_full)",
							cdc_token_clip(name, 32), name->text);
}

/* Is a part of a wanted field changed by the members of updatedFields? */
static bool
check_updated(const CdcDecoder *decoder, const CdcToken *updated,
			  CdcDecodeError *error)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;

	cdc_scanner_init(&scanner, updated->text, updated->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	for (bool first = true; cdc_scan_member(&scanner, first, &name) > 0 &&
		 cdc_scan_value(&scanner, &value); first = false)
		if (memchr(name.text, '.', name.len) && is_wanted(decoder, &name))
			return partly_changed(&name, error);
	return true;
}

/* Fields that are gone are null; one of which a part is gone is an error. */
static bool
take_removed(CdcDecoder *decoder, const CdcToken *removed, CdcImage *image,
			 CdcDecodeError *error)
{
	CdcScanner	scanner;
	CdcToken	name;

	if (removed->kind != CDC_JSON_ARRAY)
		return true;
	cdc_scanner_init(&scanner, removed->text, removed->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	for (bool first = true; cdc_scan_element(&scanner, first) > 0 &&
		 cdc_scan_value(&scanner, &name); first = false)
	{
		int			head;

		if (name.kind != CDC_JSON_STRING || !is_wanted(decoder, &name))
			continue;
		if (memchr(name.text, '.', name.len))
			return partly_changed(&name, error);
		head = cdc_fields_find(&decoder->row_set, &name);
		cdc_image_store(image, &decoder->row_set, head, &name, &null_token);
	}
	return true;
}

/* Arrays that were cut: by how much is said, but not what they were. */
static bool
check_truncated(const CdcDecoder *decoder, const CdcToken *truncated,
				CdcDecodeError *error)
{
	CdcScanner	scanner;
	CdcToken	element;

	if (truncated->kind != CDC_JSON_ARRAY)
		return true;
	cdc_scanner_init(&scanner, truncated->text, truncated->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	for (bool first = true; cdc_scan_element(&scanner, first) > 0 &&
		 cdc_scan_value(&scanner, &element); first = false)
	{
		CdcToken	names[2];
		CdcToken	values[2];
		int			n = first_members(&element, names, values);

		for (int i = 0; i < n && i < 2; i++)
			if (cdc_token_says(&names[i], "field") &&
				values[i].kind == CDC_JSON_STRING &&
				is_wanted(decoder, &values[i]))
				return cdc_decode_error(error, 0,
										"the update cuts the array in field \"%.*s\": let the connector send whole documents (capture.mode change_streams_update_full)",
										cdc_token_clip(&values[i], 32),
										values[i].text);
	}
	return true;
}

/* The members of updateDescription. */
static void
find_description(const CdcToken *description, CdcToken *updated,
				 CdcToken *removed, CdcToken *truncated)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;

	*updated = *removed = *truncated = null_token;
	cdc_scanner_init(&scanner, description->text, description->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	for (bool first = true; cdc_scan_member(&scanner, first, &name) > 0 &&
		 cdc_scan_value(&scanner, &value); first = false)
		if (cdc_token_says(&name, "updatedFields"))
			*updated = value;
		else if (cdc_token_says(&name, "removedFields"))
			*removed = value;
		else if (cdc_token_says(&name, "truncatedArrays"))
			*truncated = value;
}

static bool
take_changes(CdcDecoder *decoder, const CdcToken *description,
			 const char *start, CdcChange *change, CdcDecodeError *error)
{
	CdcDocument *document = &decoder->after_document;
	CdcToken	updated;
	CdcToken	removed;
	CdcToken	truncated;

	if (decoder->row_set.whole >= 0)
		return cdc_decode_error(error, 0,
								"the update lacks the document, which " CDC_WHOLE_ROW " needs: let the connector send whole documents (capture.mode change_streams_update_full)");
	find_description(description, &updated, &removed, &truncated);
	if (updated.kind == CDC_JSON_STRING)
	{
		if (!scan_document(decoder, document, &updated))
			return cdc_decode_error(error, (size_t) (updated.text - start),
									"\"updatedFields\" of the event is not a string of a MongoDB document");
		if (!check_updated(decoder, &document->image.whole, error))
			return false;
		change->after_json = document->image.whole;
	}
	else
		cdc_image_reset(&document->image, &decoder->row_set);
	if (!take_removed(decoder, &removed, &document->image, error) ||
		!check_truncated(decoder, &truncated, error))
		return false;
	change->has_after = true;
	change->partial = true;
	return true;
}

bool
cdc_take_documents(CdcDecoder *decoder, const CdcImage *envelope,
				   const char *start, CdcChange *change, CdcDecodeError *error)
{
	change->document = true;
	change->schema = NULL;		/* it says of the documents that they are strings */
	change->schema_len = 0;
	cdc_image_reset(&decoder->before_document.image, &decoder->row_set);
	cdc_image_reset(&decoder->after_document.image, &decoder->row_set);
	change->before = decoder->before_document.image.tokens;
	change->after = decoder->after_document.image.tokens;
	if (!take_document(decoder, &decoder->before_document, &decoder->before,
					   "before", start, &change->has_before,
					   &change->before_json, error))
		return false;
	if (decoder->after.whole.kind != CDC_JSON_STRING &&
		envelope->tokens[ENV_UPDATE_DESCRIPTION].kind == CDC_JSON_OBJECT &&
		(cdc_token_says(&envelope->tokens[ENV_OP], "u") ||
		 cdc_token_says(&envelope->tokens[ENV_OP], "U")))
	{
		const CdcToken *description = &envelope->tokens[ENV_UPDATE_DESCRIPTION];

		if (take_changes(decoder, description, start, change, error))
			return true;
		error->offset = (uint32_t) (description->text - start);
		return false;
	}
	return take_document(decoder, &decoder->after_document, &decoder->after,
						 "after", start, &change->has_after,
						 &change->after_json, error);
}

bool
cdc_document_id(CdcDecoder *decoder, const CdcToken *text, CdcToken *id)
{
	CdcDocument *document = &decoder->key_document;
	CdcScanner	scanner;
	CdcToken	plain;

	if (!cdc_document_open(document, text, 1, &plain))
		return false;
	cdc_scanner_init(&scanner, plain.text, plain.len);
	if (!cdc_scan_document(&scanner, id))
		return false;
	*id = cdc_document_scalar(id, document->text + plain.len);
	return true;
}
