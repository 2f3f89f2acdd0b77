/*-------------------------------------------------------------------------
 *
 * convert_text.c
 *	  Converters of text, varchar, char, json and jsonb.
 *
 * Strings are taken as they are; what the embedded schema calls something else
 * than text (a decimal, a date, bits) is written as the server would write it.
 *
 * Pure functions of the value, but for the input functions of json and jsonb.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "convert_internal.h"

/*
 * Text
 */

/* Is its token not what one calls the value? */
static bool
needs_wording(const CdcConverter *converter, const CdcValue *value)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	switch (value->token->kind)
	{
		case CDC_JSON_STRING:
			return semantic == CDC_SEM_DECIMAL || semantic == CDC_SEM_BITS ||
				(semantic >= CDC_SEM_ISO_DATE && semantic <= CDC_SEM_ISO_TIMESTAMP) ||
				(semantic == CDC_SEM_UNKNOWN && converter->reading.has_scale);
		case CDC_JSON_NUMBER:
			return semantic == CDC_SEM_DATE || semantic == CDC_SEM_DECIMAL ||
				(semantic >= CDC_SEM_TIME_MS && semantic <= CDC_SEM_TIMESTAMP_NS) ||
				semantic == CDC_SEM_DURATION_US || semantic == CDC_SEM_DURATION_NS ||
				converter->reading.is_unsigned ||
				(value->token->text[0] == '-' && cdc_schema_is_unsigned_bigint(value->field));
		case CDC_JSON_OBJECT:
			return semantic == CDC_SEM_VARIABLE_DECIMAL;
		case CDC_JSON_ARRAY:
			return value->field && value->field->item_logical.kind == CDC_JSON_STRING;
		default:
			return false;
	}
}

static char *array_wording(CdcConverter *converter, const CdcValue *value);

/*
 * What the source's value is called where the token does not say it: a decimal
 * that the schema (or a reading) declares, a date, bits.  json: as a JSON value.
 * NULL, and the error filled, if it cannot be read.
 */
static char *
wording(CdcConverter *converter, const CdcValue *value, bool json)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);
	bool		is_number = false;
	char	   *text;

	if (value->token->kind == CDC_JSON_ARRAY)
		return array_wording(converter, value);
	if (semantic == CDC_SEM_BITS)
		text = cdc_bits_text(converter, value);
	else if (semantic == CDC_SEM_DECIMAL || semantic == CDC_SEM_VARIABLE_DECIMAL ||
			 semantic == CDC_SEM_UNKNOWN || semantic == CDC_SEM_PLAIN)
	{
		text = cdc_decimal_text(converter, value);
		/* Infinity and NaN are no numbers in JSON */
		is_number = text && strpbrk(text, "NI") == NULL;
	}
	else
		text = cdc_temporal_text(converter, value, json);
	return text && json && !is_number ? psprintf("\"%s\"", text) : text;
}

/* An array as JSON, its elements as they are called. */
static char *
array_wording(CdcConverter *converter, const CdcValue *value)
{
	CdcSchemaField item_field;
	CdcToken	item;
	CdcValue	inner = *value;
	CdcScanner	scanner;
	StringInfoData buf;

	cdc_array_item_schema(value->field, &item_field);
	inner.field = &item_field;
	inner.token = &item;
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	cdc_scanner_init(&scanner, value->token->text, value->token->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	while (cdc_scan_element(&scanner, buf.len == 1) == 1 &&
		   cdc_scan_value(&scanner, &item))
	{
		if (buf.len > 1)
			appendStringInfoChar(&buf, ',');
		if (needs_wording(converter, &inner))
		{
			char	   *text = wording(converter, &inner, true);

			if (text == NULL)
				return NULL;
			appendStringInfoString(&buf, text);
		}
		else if (item.kind == CDC_JSON_STRING)
			appendStringInfo(&buf, "\"%.*s\"", (int) item.len, item.text);
		else
			appendBinaryStringInfo(&buf, item.text, item.len);
		CHECK_FOR_INTERRUPTS();
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

/* Strings as they are, all else as its JSON text. */
static char *
text_of(CdcConverter *converter, const CdcValue *value, int *len)
{
	char	   *text;

	if (!needs_wording(converter, value))
		return cdc_value_text(value, len);
	if ((text = wording(converter, value, false)) != NULL)
		*len = strlen(text);
	return text;
}

/* The usual text: unescaped right into the Datum. */
static bool
plain_text(CdcConverter *converter, const CdcValue *value, text **result)
{
	const CdcToken *token = value->token;
	int			len = token->len;

	*result = palloc(VARHDRSZ + len);
	if (token->flags & CDC_JSON_ESCAPED)
		len = cdc_json_unescape(token, VARDATA(*result));
	else
		memcpy(VARDATA(*result), token->text, len);
	if (len < 0)
		return cdc_convert_unstorable(value);
	SET_VARSIZE(*result, VARHDRSZ + len);
	return true;
}

bool
cdc_convert_text(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int			max = converter->typmod - VARHDRSZ;
	text	   *datum;

	if (value->token->kind == CDC_JSON_STRING && !needs_wording(converter, value))
	{
		if (!plain_text(converter, value, &datum))
			return false;
	}
	else
	{
		int			len;
		char	   *text = text_of(converter, value, &len);

		if (text == NULL)
			return false;
		datum = cstring_to_text_with_len(text, len);
	}
	if (max >= 0 && VARSIZE(datum) - VARHDRSZ > max &&
		pg_mbstrlen_with_len(VARDATA(datum), VARSIZE(datum) - VARHDRSZ) > max)
		return cdc_convert_too_long(converter, value);
	*result = PointerGetDatum(datum);
	return true;
}

/* char(n): blanks at the end do not count, and are added. */
bool
cdc_convert_bpchar(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int			len;
	int			nchars;
	int			max = converter->typmod - VARHDRSZ;
	char	   *text = text_of(converter, value, &len);
	StringInfoData buf;

	if (text == NULL)
		return false;
	if (converter->typmod < (int32) VARHDRSZ)
	{
		*result = PointerGetDatum(cstring_to_text_with_len(text, len));
		return true;
	}
	nchars = pg_mbstrlen_with_len(text, len);
	while (nchars > max && text[len - 1] == ' ')
	{
		len--;
		nchars--;
	}
	if (nchars > max)
		return cdc_convert_too_long(converter, value);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, text, len);
	appendStringInfoSpaces(&buf, max - nchars);
	*result = PointerGetDatum(cstring_to_text_with_len(buf.data, buf.len));
	return true;
}

/*
 * json, jsonb
 *
 * A string is the text of a JSON value (Debezium's Json; MySQL's and
 * MariaDB's JSON columns come so with and without a schema), and an error if it
 * is none; it must not depend on the content whether a column is parsed.  It
 * becomes a JSON string where the schema names another logical type or bytes,
 * or the reading says "encoding": "string".
 */
static bool
string_is_json_text(const CdcConverter *converter, const CdcValue *value)
{
	if (converter->reading.encoding)
		return strcmp(converter->reading.encoding, "json") == 0;
	switch (cdc_semantic_of(value->field))
	{
		case CDC_SEM_UNKNOWN:
		case CDC_SEM_JSON:
			return true;
		case CDC_SEM_PLAIN:
			return cdc_token_is(&value->field->type, "string");
		default:
			return false;
	}
}

bool
cdc_convert_json(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	const CdcToken *token = value->token;
	char	   *text;
	int			len;

	if (needs_wording(converter, value))
		text = wording(converter, value, true);
	else if (token->kind == CDC_JSON_STRING && !string_is_json_text(converter, value))
		text = psprintf("\"%.*s\"", (int) token->len, token->text);
	else
		text = cdc_value_text(value, &len);
	return text != NULL && cdc_convert_call_input(converter, value, text, result);
}
