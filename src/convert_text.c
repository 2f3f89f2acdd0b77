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

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "convert_internal.h"

/*
 * Text
 */

/* Is it a number that the schema gives a meaning beyond its digits? */
static bool
is_temporal(CdcSemantic semantic)
{
	return semantic == CDC_SEM_DATE ||
		(semantic >= CDC_SEM_TIME_MS && semantic <= CDC_SEM_TIMESTAMP_NS) ||
		semantic == CDC_SEM_DURATION_US || semantic == CDC_SEM_DURATION_NS;
}

/*
 * What the source's value is called in text, where the token does not say it: a
 * decimal that the schema (or a reading) declares, a date, bits.  False: the
 * token itself is the text.  *text is NULL, and the error filled, if it cannot
 * be read.
 */
static bool
text_by_meaning(CdcConverter *converter, const CdcValue *value, bool iso,
				char **text)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);
	CdcJsonKind kind = value->token->kind;

	if ((kind == CDC_JSON_STRING && (semantic == CDC_SEM_DECIMAL ||
									 (converter->reading.has_scale &&
									  semantic == CDC_SEM_UNKNOWN))) ||
		(kind == CDC_JSON_OBJECT && semantic == CDC_SEM_VARIABLE_DECIMAL) ||
		(kind == CDC_JSON_NUMBER && converter->reading.is_unsigned))
		*text = cdc_decimal_text(converter, value);
	else if (kind == CDC_JSON_NUMBER && is_temporal(semantic))
		*text = cdc_temporal_text(converter, value, iso);
	else if (kind == CDC_JSON_STRING && semantic == CDC_SEM_BITS)
		*text = cdc_bits_text(converter, value);
	else
		return false;
	return true;
}

/* Strings as they are, all else as its JSON text. */
static char *
text_of(CdcConverter *converter, const CdcValue *value, int *len)
{
	char	   *text;

	if (!text_by_meaning(converter, value, false, &text))
		return cdc_value_text(value, len);
	if (text)
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

/* Is a string of this meaning its own text? */
static bool
is_plain(CdcSemantic semantic)
{
	return semantic != CDC_SEM_DECIMAL && semantic != CDC_SEM_BITS;
}

bool
cdc_convert_text(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int			max = converter->typmod - VARHDRSZ;
	text	   *datum;

	if (value->token->kind == CDC_JSON_STRING &&
		(value->field ? is_plain(cdc_semantic_of(value->field)) :
		 !converter->reading.has_scale))
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
			return !cdc_token_is(&value->field->type, "bytes");
		default:
			return false;
	}
}

bool
cdc_convert_json(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	const CdcToken *token = value->token;
	CdcSemantic semantic = cdc_semantic_of(value->field);
	char	   *text;
	int			len;

	if (text_by_meaning(converter, value, true, &text))
	{
		/* a decimal is a number in JSON too, unless it is none */
		if (text && (token->kind == CDC_JSON_NUMBER ? is_temporal(semantic) :
					 semantic == CDC_SEM_BITS || strpbrk(text, "NI") != NULL))
			text = psprintf("\"%s\"", text);
	}
	else if (token->kind == CDC_JSON_STRING && !string_is_json_text(converter, value))
		text = psprintf("\"%.*s\"", (int) token->len, token->text);
	else
		text = cdc_value_text(value, &len);
	return text != NULL && cdc_convert_call_input(converter, value, text, result);
}
