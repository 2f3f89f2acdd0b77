/*-------------------------------------------------------------------------
 *
 * convert.c
 *	  (Debezium type, JSON token) -> Datum of a target column.
 *
 * A converter is chosen once per column, by the target's type; what it does
 * with a value depends on the JSON kind, on the embedded schema if there is
 * one, else on the connector and on the column's reading.  Where those do not
 * decide what a value means, and where it would have to be cut or rounded to
 * fit, the value is an error: never a wrong value.
 *
 * Numbers are in convert_number.c, dates and times in convert_time.c.  Types
 * without a converter here go through their input function, which may raise an
 * error (softly from PostgreSQL 16 on, where the type can).
 *
 * Runs under the settings of cdc_pin_settings(), in any transaction; takes no
 * locks, and reads the catalogs only to make a converter, in input functions,
 * and for domains.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/geo_decls.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"
#include "utils/varbit.h"

#include "compat.h"
#include "convert_internal.h"

/* Bytes of a value that a message shows. */
#define HEAD_LEN	60

static CdcConverter *converter_create(Oid typid, int32 typmod,
									  const CdcReading *reading, bool strict);

/*
 * Errors
 */

const char *
cdc_token_head(const CdcToken *token)
{
	int			len = token->len;

	if (len <= HEAD_LEN)
		return pnstrdup(token->text, len);
	len = pg_mbcliplen(token->text, len, HEAD_LEN);
	return psprintf("%.*s...", len, token->text);
}

bool
cdc_convert_fail(const CdcValue *value, int sqlerrcode, const char *fmt,...)
{
	StringInfoData buf;
	int			needed;

	initStringInfo(&buf);
	do
	{
		va_list		args;

		va_start(args, fmt);
		needed = appendStringInfoVA(&buf, fmt, args);
		va_end(args);
		if (needed != 0)
			enlargeStringInfo(&buf, needed);
	} while (needed != 0);
	value->error->sqlerrcode = sqlerrcode;
	value->error->message = buf.data;
	return false;
}

bool
cdc_convert_unreadable(const CdcConverter *converter, const CdcValue *value)
{
	static const char *const kinds[] = {
		"missing value", "null", "false", "true", "number", "string", "object", "array"
	};
	const CdcSchemaField *field = value->field;

	if (field && field->logical.kind == CDC_JSON_STRING)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"cannot read %s \"%s\" of %.*s into type %s",
								kinds[value->token->kind],
								cdc_token_head(value->token),
								(int) field->logical.len, field->logical.text,
								converter->type_name);
	return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
							"cannot read %s \"%s\" into type %s",
							kinds[value->token->kind],
							cdc_token_head(value->token), converter->type_name);
}

/*
 * Schema
 */

static bool
token_is(const CdcToken *token, const char *text)
{
	size_t		len = strlen(text);

	return token->kind == CDC_JSON_STRING && token->len == len &&
		memcmp(token->text, text, len) == 0;
}

CdcConnector
cdc_connector_of(const CdcToken *name)
{
	if (token_is(name, "mysql") || token_is(name, "mariadb"))
		return CDC_CONNECTOR_MYSQL;
	if (token_is(name, "postgresql"))
		return CDC_CONNECTOR_POSTGRESQL;
	if (token_is(name, "sqlserver"))
		return CDC_CONNECTOR_SQLSERVER;
	if (token_is(name, "oracle"))
		return CDC_CONNECTOR_ORACLE;
	return CDC_CONNECTOR_UNKNOWN;
}

CdcSemantic
cdc_semantic_of(const CdcSchemaField *field)
{
	static const struct
	{
		const char *name;
		CdcSemantic semantic;
	}			semantics[] = {
		{"org.apache.kafka.connect.data.Decimal", CDC_SEM_DECIMAL},
		{"org.apache.kafka.connect.data.Date", CDC_SEM_DATE},
		{"org.apache.kafka.connect.data.Time", CDC_SEM_TIME_MS},
		{"org.apache.kafka.connect.data.Timestamp", CDC_SEM_TIMESTAMP_MS},
		{"io.debezium.data.VariableScaleDecimal", CDC_SEM_VARIABLE_DECIMAL},
		{"io.debezium.time.Date", CDC_SEM_DATE},
		{"io.debezium.time.Time", CDC_SEM_TIME_MS},
		{"io.debezium.time.MicroTime", CDC_SEM_TIME_US},
		{"io.debezium.time.NanoTime", CDC_SEM_TIME_NS},
		{"io.debezium.time.Timestamp", CDC_SEM_TIMESTAMP_MS},
		{"io.debezium.time.MicroTimestamp", CDC_SEM_TIMESTAMP_US},
		{"io.debezium.time.NanoTimestamp", CDC_SEM_TIMESTAMP_NS},
		{"io.debezium.time.ZonedTimestamp", CDC_SEM_ZONED_TIMESTAMP},
		{"io.debezium.time.ZonedTime", CDC_SEM_ZONED_TIME},
		{"io.debezium.time.IsoDate", CDC_SEM_ISO_DATE},
		{"io.debezium.time.IsoTime", CDC_SEM_ISO_TIME},
		{"io.debezium.time.IsoTimestamp", CDC_SEM_ISO_TIMESTAMP},
		{"io.debezium.time.MicroDuration", CDC_SEM_DURATION_US},
		{"io.debezium.time.NanoDuration", CDC_SEM_DURATION_NS},
		{"io.debezium.time.Interval", CDC_SEM_INTERVAL},
		{"io.debezium.data.Bits", CDC_SEM_BITS},
		{"io.debezium.data.Json", CDC_SEM_JSON},
		{"io.debezium.data.EnumSet", CDC_SEM_ENUM_SET},
		{"io.debezium.data.geometry.Point", CDC_SEM_POINT},
	};

	if (field == NULL)
		return CDC_SEM_UNKNOWN;
	if (field->logical.kind != CDC_JSON_STRING)
		return CDC_SEM_PLAIN;
	for (int i = 0; i < lengthof(semantics); i++)
		if (token_is(&field->logical, semantics[i].name))
			return semantics[i].semantic;
	return CDC_SEM_OTHER;
}

/*
 * Tokens
 */

static bool
unstorable(const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_UNTRANSLATABLE_CHARACTER,
							"\\u0000 and lone surrogates cannot be stored in PostgreSQL");
}

char *
cdc_value_text(const CdcValue *value, int *len)
{
	const CdcToken *token = value->token;
	char	   *text = palloc(token->len + 1);

	if (token->kind == CDC_JSON_STRING && (token->flags & CDC_JSON_ESCAPED))
	{
		*len = cdc_json_unescape(token, text);
		if (*len < 0)
		{
			(void) unstorable(value);
			return NULL;
		}
	}
	else
	{
		memcpy(text, token->text, token->len);
		*len = token->len;
	}
	text[*len] = '\0';
	return text;
}

bool
cdc_object_member(const CdcToken *object, const char *name, CdcToken *value)
{
	CdcScanner	scanner;
	CdcToken	member;
	bool		first = true;

	cdc_scanner_init(&scanner, object->text, object->len);
	if (cdc_scan_peek(&scanner) != '{' || !cdc_scan_enter(&scanner))
		return false;
	while (cdc_scan_member(&scanner, first, &member) == 1)
	{
		if (!cdc_scan_value(&scanner, value))
			return false;
		if (token_is(&member, name))
			return true;
		first = false;
	}
	return false;
}

/* The value of a base64 digit, or -1. */
static inline int
base64_digit(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

/*
 * Strict: no white space, padded (in the alphabet for URLs the padding may be
 * left out), and no bits set that belong to no byte.
 */
int
cdc_base64_decode(const char *text, int len, bool url, uint8 *out)
{
	uint32		acc = 0;
	int			nbits = 0;
	int			nout = 0;
	int			npad = 0;

	while (len > 0 && npad < 2 && text[len - 1] == '=')
	{
		len--;
		npad++;
	}
	if ((npad > 0 || !url) && (len + npad) % 4 != 0)
		return -1;
	if (len % 4 == 1)
		return -1;
	for (int i = 0; i < len; i++)
	{
		int			digit = base64_digit(text[i], url);

		if (digit < 0)
			return -1;
		acc = (acc << 6 | digit) & 0xffff;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			out[nout++] = acc >> nbits & 0xff;
		}
	}
	if ((acc & ((1 << nbits) - 1)) != 0)
		return -1;
	return nout;
}

/*
 * bool
 */

/* A bool of MySQL is 0 or 1, or a boolean: which one may change. */
static bool
convert_bool(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	const CdcToken *token = value->token;
	char	   *text;
	int			len;
	bool		b;

	switch (token->kind)
	{
		case CDC_JSON_TRUE:
		case CDC_JSON_FALSE:
			*result = BoolGetDatum(token->kind == CDC_JSON_TRUE);
			return true;
		case CDC_JSON_NUMBER:
			if (token->len != 1 || (token->text[0] != '0' && token->text[0] != '1'))
				break;
			*result = BoolGetDatum(token->text[0] == '1');
			return true;
		case CDC_JSON_STRING:
			if ((text = cdc_value_text(value, &len)) == NULL)
				return false;
			if (!parse_bool_with_len(text, len, &b))
				break;
			*result = BoolGetDatum(b);
			return true;
		default:
			break;
	}
	return cdc_convert_unreadable(converter, value);
}

/*
 * Text
 */

/*
 * What a text column gets: strings as they are, all else as its JSON text;
 * but a decimal that the schema (or a reading) declares, as a decimal.
 */
static char *
text_of(CdcConverter *converter, const CdcValue *value, int *len)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);
	char	   *text;

	if ((value->token->kind == CDC_JSON_STRING &&
		 (semantic == CDC_SEM_DECIMAL || converter->reading.has_scale)) ||
		(value->token->kind == CDC_JSON_OBJECT &&
		 semantic == CDC_SEM_VARIABLE_DECIMAL) ||
		(value->token->kind == CDC_JSON_NUMBER && converter->reading.is_unsigned))
	{
		if ((text = cdc_decimal_text(converter, value)) != NULL)
			*len = strlen(text);
		return text;
	}
	return cdc_value_text(value, len);
}

static bool
too_long(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
							"value \"%s\" is too long for type %s",
							cdc_token_head(value->token), converter->type_name);
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
		return unstorable(value);
	SET_VARSIZE(*result, VARHDRSZ + len);
	return true;
}

static bool
convert_text(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int			max = converter->typmod - VARHDRSZ;
	text	   *datum;

	if (value->token->kind == CDC_JSON_STRING && !converter->reading.has_scale &&
		cdc_semantic_of(value->field) != CDC_SEM_DECIMAL)
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
		return too_long(converter, value);
	*result = PointerGetDatum(datum);
	return true;
}

/* char(n): blanks at the end do not count, and are added. */
static bool
convert_bpchar(CdcConverter *converter, const CdcValue *value, Datum *result)
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
		return too_long(converter, value);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, text, len);
	appendStringInfoSpaces(&buf, max - nchars);
	*result = PointerGetDatum(cstring_to_text_with_len(buf.data, buf.len));
	return true;
}

/*
 * bytea
 */

static bool
is_lower_hex(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') ||
			  (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int
hex_to_bytes(const char *text, int len, uint8 *out)
{
	if (len >= 2 && text[0] == '\\' && text[1] == 'x')
	{
		text += 2;
		len -= 2;
	}
	if (len % 2 != 0)
		return -1;
	for (int i = 0; i < len; i += 2)
	{
		int			high = hex_digit(text[i]);
		int			low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		out[i / 2] = high << 4 | low;
	}
	return len / 2;
}

/*
 * The bytes of a string, in the reading's encoding.  Without a reading: base64,
 * unless it has the characters that only the alphabet for URLs has.  Text that
 * is all lower-case hex digits may be either (binary.handling.mode=hex; the
 * schema says only "string" then): an error, unless the schema says "bytes",
 * which is always base64.
 */
static bool
bytes_of(CdcConverter *converter, const CdcValue *value, uint8 **bytes,
		 int *nbytes)
{
	const char *encoding = converter->reading.encoding;
	bool		sure = value->field && token_is(&value->field->type, "bytes");
	int			len;
	char	   *text;

	if (value->token->kind != CDC_JSON_STRING)
		return cdc_convert_unreadable(converter, value);
	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	*bytes = palloc(len + 1);
	if (sure)
		encoding = "base64";
	if (encoding && strcmp(encoding, "string") == 0)
	{
		memcpy(*bytes, text, len);
		*nbytes = len;
		return true;
	}
	if (encoding && strcmp(encoding, "hex") == 0)
		*nbytes = hex_to_bytes(text, len, *bytes);
	else if (encoding)
		*nbytes = cdc_base64_decode(text, len, strcmp(encoding, "base64url") == 0,
									*bytes);
	else if (len > 0 && is_lower_hex(text, len))
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"\"%s\" can be hex or base64; give \"encoding\" \"hex\" or \"base64\" in the column mapping",
								cdc_token_head(value->token));
	else
		*nbytes = cdc_base64_decode(text, len, strpbrk(text, "-_") != NULL,
									*bytes);
	if (*nbytes < 0)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"invalid %s for type %s: \"%s\"",
								encoding ? encoding : "base64",
								converter->type_name,
								cdc_token_head(value->token));
	return true;
}

static bool
convert_bytea(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	uint8	   *bytes;
	int			nbytes;
	bytea	   *datum;

	if (!bytes_of(converter, value, &bytes, &nbytes))
		return false;
	datum = palloc(VARHDRSZ + nbytes);
	SET_VARSIZE(datum, VARHDRSZ + nbytes);
	memcpy(VARDATA(datum), bytes, nbytes);
	*result = PointerGetDatum(datum);
	return true;
}

/*
 * bit, varbit
 */

/* Number of the highest bit that is set, from 1; 0: none. */
static int
bits_used(const uint8 *bytes, int nbytes)
{
	for (int i = nbytes * 8; i > 0; i--)
		if (bytes[(i - 1) / 8] >> ((i - 1) % 8) & 1)
			return i;
	return 0;
}

/*
 * Little-endian bytes say which bits are set, not how many there are.  bit(n)
 * has n.  For varbit, MySQL's BIT(n) has the n of the schema, or of the target
 * if the bytes are as many as that takes; PostgreSQL's varbit has lost its
 * leading zeros on the way: we give what is left, in strict mode an error
 * unless it fills the declared length.
 */
static bool
bits_length(CdcConverter *converter, const CdcValue *value, int nbytes,
			int used, int *length)
{
	const CdcSchemaField *field = value->field;
	int			declared = field && field->length > 0 &&
		field->length < PG_INT32_MAX ? field->length : converter->typmod;

	if (converter->basetype == BITOID && converter->typmod > 0)
		*length = converter->typmod;
	else if (value->connector == CDC_CONNECTOR_MYSQL)
	{
		if (declared <= 0 || (declared + 7) / 8 != nbytes)
			return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
									"the number of bits of \"%s\" is not known",
									cdc_token_head(value->token));
		*length = declared;
	}
	else
	{
		if (converter->strict && used != declared)
			return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
									"strict: the leading zeros of bits \"%s\" are lost",
									cdc_token_head(value->token));
		*length = used;
	}
	if (used > *length ||
		(converter->typmod > 0 && *length > converter->typmod))
		return too_long(converter, value);
	return true;
}

static VarBit *
make_bits(const uint8 *bytes, int nbytes, int length)
{
	VarBit	   *bits = palloc0(VARBITTOTALLEN(length));

	SET_VARSIZE(bits, VARBITTOTALLEN(length));
	VARBITLEN(bits) = length;
	for (int i = 0; i < length && i < nbytes * 8; i++)
	{
		int			at = length - 1 - i;	/* bit 0 is the last one */

		if (bytes[i / 8] >> (i % 8) & 1)
			VARBITS(bits)[at / 8] |= 0x80 >> (at % 8);
	}
	return bits;
}

static bool
convert_bits(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	const CdcToken *token = value->token;
	uint8		one = token->kind == CDC_JSON_TRUE;
	uint8	   *bytes = &one;
	int			nbytes = 1;
	int			length = 1;

	if (token->kind == CDC_JSON_TRUE || token->kind == CDC_JSON_FALSE)
	{
		if (converter->basetype == BITOID && converter->typmod > 1)
			length = converter->typmod;
	}
	else if (!bytes_of(converter, value, &bytes, &nbytes) ||
			 !bits_length(converter, value, nbytes, bits_used(bytes, nbytes),
						  &length))
		return false;
	*result = VarBitPGetDatum(make_bits(bytes, nbytes, length));
	return true;
}

/*
 * uuid
 */

static bool
convert_uuid(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	pg_uuid_t  *uuid = palloc(sizeof(*uuid));
	char		hex[UUID_LEN * 2];
	int			n = 0;
	int			len;
	char	   *text;

	if (value->token->kind != CDC_JSON_STRING)
		return cdc_convert_unreadable(converter, value);
	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '-' && len == 36 &&
			(i == 8 || i == 13 || i == 18 || i == 23))
			continue;
		if (n == sizeof(hex) || hex_digit(text[i]) < 0)
			return cdc_convert_unreadable(converter, value);
		hex[n++] = text[i];
	}
	if (n != sizeof(hex) || hex_to_bytes(hex, n, uuid->data) != UUID_LEN)
		return cdc_convert_unreadable(converter, value);
	*result = UUIDPGetDatum(uuid);
	return true;
}

/*
 * Through the type's input function
 */

static bool
call_input(CdcConverter *converter, const CdcValue *value, char *text,
		   Datum *result)
{
	int			sqlerrcode;
	char	   *message;

	if (cdc_input_function_compat(&converter->input, text, converter->ioparam,
								  converter->typmod, result, &sqlerrcode,
								  &message))
		return true;
	return cdc_convert_fail(value, sqlerrcode, "%s", message);
}

/*
 * Objects and arrays are not offered to input functions: some would take the
 * text of a JSON array for something else, as int4range takes [1,10].
 */
static bool
convert_input(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int			len;
	char	   *text;

	if (value->token->kind == CDC_JSON_OBJECT ||
		value->token->kind == CDC_JSON_ARRAY)
		return cdc_convert_unreadable(converter, value);
	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	/* these two would cut it silently */
	if ((converter->basetype == NAMEOID && len >= NAMEDATALEN) ||
		(converter->basetype == CHAROID && len > 1))
		return too_long(converter, value);
	return call_input(converter, value, text, result);
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
			return !token_is(&value->field->type, "bytes");
		default:
			return false;
	}
}

static bool
convert_json(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	const CdcToken *token = value->token;
	CdcSemantic semantic = cdc_semantic_of(value->field);
	char	   *text;
	int			len;

	if ((token->kind == CDC_JSON_STRING && semantic == CDC_SEM_DECIMAL) ||
		(token->kind == CDC_JSON_OBJECT && semantic == CDC_SEM_VARIABLE_DECIMAL) ||
		(token->kind == CDC_JSON_NUMBER && converter->reading.is_unsigned))
		text = cdc_decimal_text(converter, value);
	else if (token->kind == CDC_JSON_STRING && !string_is_json_text(converter, value))
		text = psprintf("\"%.*s\"", (int) token->len, token->text);
	else
		text = cdc_value_text(value, &len);
	return text != NULL && call_input(converter, value, text, result);
}

/*
 * point
 */

static bool
point_member(const CdcConverter *converter, const CdcValue *value,
			 const char *name, float8 *x)
{
	CdcToken	member;
	CdcValue	inner = *value;
	CdcConverter coordinate = {.basetype = FLOAT8OID,.typmod = -1,.type_name = "point"};
	Datum		datum;

	if (!cdc_object_member(value->token, name, &member))
		return cdc_convert_unreadable(converter, value);
	inner.token = &member;
	inner.field = NULL;
	if (!cdc_convert_float8(&coordinate, &inner, &datum))
		return false;
	*x = DatumGetFloat8(datum);
	return true;
}

static bool
convert_point(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	Point	   *point;

	if (value->token->kind != CDC_JSON_OBJECT)
		return convert_input(converter, value, result);
	point = palloc(sizeof(*point));
	if (!point_member(converter, value, "x", &point->x) ||
		!point_member(converter, value, "y", &point->y))
		return false;
	*result = PointPGetDatum(point);
	return true;
}

/*
 * Arrays
 */

typedef struct ArrayBuild
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int			room;
} ArrayBuild;

static bool
array_add(CdcConverter *converter, const CdcValue *value, const CdcToken *item,
		  const CdcSchemaField *item_field, ArrayBuild *build)
{
	if (build->n == build->room)
	{
		build->room *= 2;
		build->values = repalloc(build->values, build->room * sizeof(Datum));
		build->nulls = repalloc(build->nulls, build->room * sizeof(bool));
	}
	if (!cdc_convert(converter->element, item, item_field, value->connector,
					 &build->values[build->n], &build->nulls[build->n],
					 value->error))
		return false;
	build->n++;
	return true;
}

/* "x,z" of a MySQL SET; the labels cannot contain a comma. */
static bool
array_from_set(CdcConverter *converter, const CdcValue *value,
			   ArrayBuild *build)
{
	const char *p = value->token->text;
	const char *end = p + value->token->len;

	while (p < end)
	{
		const char *comma = memchr(p, ',', end - p);
		CdcToken	item = *value->token;

		item.text = p;
		item.len = (comma ? comma : end) - p;
		if (!array_add(converter, value, &item, NULL, build))
			return false;
		p = comma ? comma + 1 : end;
	}
	return true;
}

static void
item_schema(const CdcSchemaField *field, CdcSchemaField *item)
{
	memset(item, 0, sizeof(*item));
	item->name = field->name;
	item->type = field->item_type;
	item->logical = field->item_logical;
	item->has_scale = field->item_has_scale;
	item->scale = field->item_scale;
	item->optional = true;
}

static bool
array_from_json(CdcConverter *converter, const CdcValue *value,
				ArrayBuild *build)
{
	CdcScanner	scanner;
	bool		first = true;
	int			more;
	CdcSchemaField item_field;
	bool		has_schema = value->field &&
		value->field->item_type.kind == CDC_JSON_STRING;
	CdcToken	item;

	if (has_schema)
		item_schema(value->field, &item_field);
	cdc_scanner_init(&scanner, value->token->text, value->token->len);
	if (cdc_scan_peek(&scanner) != '[' || !cdc_scan_enter(&scanner))
		return cdc_convert_unreadable(converter, value);
	while ((more = cdc_scan_element(&scanner, first)) == 1)
	{
		if (!cdc_scan_value(&scanner, &item))
			break;
		if (!array_add(converter, value, &item,
					   has_schema ? &item_field : NULL, build))
			return false;
		first = false;
		CHECK_FOR_INTERRUPTS();
	}
	return more == 0 ? true : cdc_convert_unreadable(converter, value);
}

/*
 * One dimension, from 1: Debezium sends no others.  A string is the SET of
 * MySQL, which has no arrays.
 */
static bool
convert_array(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	ArrayBuild	build;
	int			lower = 1;
	CdcSemantic semantic = cdc_semantic_of(value->field);

	build.n = 0;
	build.room = 8;
	build.values = palloc(build.room * sizeof(Datum));
	build.nulls = palloc(build.room * sizeof(bool));
	if (value->token->kind == CDC_JSON_ARRAY)
	{
		if (!array_from_json(converter, value, &build))
			return false;
	}
	else if (value->token->kind == CDC_JSON_STRING &&
			 (semantic == CDC_SEM_ENUM_SET ||
			  (semantic == CDC_SEM_UNKNOWN &&
			   value->connector == CDC_CONNECTOR_MYSQL)))
	{
		if (!array_from_set(converter, value, &build))
			return false;
	}
	else
		return cdc_convert_unreadable(converter, value);
	if (build.n == 0)
		*result = PointerGetDatum(construct_empty_array(converter->element->typid));
	else
		*result = PointerGetDatum(construct_md_array(build.values, build.nulls, 1,
													 &build.n, &lower,
													 converter->element->typid,
													 converter->element_len,
													 converter->element_byval,
													 converter->element_align));
	return true;
}

/*
 * Making a converter
 */

static bool
is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(text, *list) == 0)
			return true;
	return false;
}

static bool
type_in(Oid typid, const Oid *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i] == typid)
			return true;
	return false;
}

static void
reading_misfit(const CdcConverter *converter, const char *what,
			   const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("reading \"%s\" of column \"%s\" does not apply to type %s",
					what, converter->reading.column ? converter->reading.column : "",
					converter->type_name),
			 errhint("%s", hint)));
}

static void
check_unit(const CdcConverter *converter)
{
	static const char *const units[] = {"d", "s", "ms", "us", "ns", NULL};
	static const Oid types[] = {DATEOID, TIMEOID, TIMESTAMPOID, TIMESTAMPTZOID, INTERVALOID};

	if (converter->reading.unit == NULL)
		return;
	if (!type_in(converter->basetype, types, lengthof(types)))
		reading_misfit(converter, "unit",
					   "It is for date, time, timestamp, timestamp with time zone and interval.");
	if (!is_one_of(converter->reading.unit, units))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid unit \"%s\"", converter->reading.unit),
				 errhint("Valid units are d, s, ms, us and ns.")));
}

static void
check_numbers(const CdcConverter *converter)
{
	static const Oid scaled[] = {NUMERICOID, CASHOID, INT2OID, INT4OID, INT8OID, FLOAT4OID, FLOAT8OID, TEXTOID, VARCHAROID, BPCHAROID};
	static const Oid unsigned_ones[] = {NUMERICOID, TEXTOID, VARCHAROID, BPCHAROID, JSONOID, JSONBOID};

	if (converter->reading.has_scale)
	{
		if (!type_in(converter->basetype, scaled, lengthof(scaled)))
			reading_misfit(converter, "scale",
						   "It is for the number types and text.");
		if (converter->reading.scale < -1000 || converter->reading.scale > 1000)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid scale %d", converter->reading.scale),
					 errhint("A scale is between -1000 and 1000.")));
	}
	if (converter->reading.is_unsigned &&
		!type_in(converter->basetype, unsigned_ones, lengthof(unsigned_ones)))
		reading_misfit(converter, "unsigned",
					   "An unsigned bigint needs numeric(20,0), or a text type.");
}

/* The encodings that a type knows; NULL: none. */
static const char *const *
encodings_of(Oid basetype)
{
	static const char *const bytes[] = {"base64", "base64url", "hex", "string", NULL};
	static const char *const json[] = {"json", "string", NULL};
	static const char *const decimal[] = {"base64", "string", NULL};
	static const char *const bits[] = {"base64", "base64url", "hex", NULL};

	switch (basetype)
	{
		case BYTEAOID:
			return bytes;
		case JSONOID:
		case JSONBOID:
			return json;
		case BITOID:
		case VARBITOID:
			return bits;
		case NUMERICOID:
		case CASHOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
			return decimal;
		default:
			return NULL;
	}
}

static void
check_encoding(const CdcConverter *converter)
{
	const char *const *encodings = encodings_of(converter->basetype);

	if (converter->reading.encoding == NULL)
		return;
	if (encodings == NULL)
		reading_misfit(converter, "encoding",
					   "It is for bytea, bit, json, jsonb and the number types.");
	if (!is_one_of(converter->reading.encoding, encodings))
	{
		StringInfoData hint;

		initStringInfo(&hint);
		for (int i = 0; encodings[i]; i++)
			appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "", encodings[i]);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid encoding \"%s\" for type %s",
						converter->reading.encoding, converter->type_name),
				 errhint("Valid encodings are: %s.", hint.data)));
	}
}

static void
set_timezone(CdcConverter *converter)
{
	if (converter->reading.timezone == NULL)
		return;
	if (converter->basetype != TIMESTAMPTZOID)
		reading_misfit(converter, "timezone",
					   "It is for timestamp with time zone.");
	converter->zone = pg_tzset(converter->reading.timezone);
	if (converter->zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized",
						converter->reading.timezone),
				 errhint("The view pg_timezone_names lists the names.")));
}

static CdcConvertFunction
function_of(Oid basetype)
{
	static const struct
	{
		Oid			typid;
		CdcConvertFunction function;
	}			functions[] = {
		{BOOLOID, convert_bool},
		{INT2OID, cdc_convert_int2},
		{INT4OID, cdc_convert_int4},
		{INT8OID, cdc_convert_int8},
		{OIDOID, cdc_convert_oid},
		{FLOAT4OID, cdc_convert_float4},
		{FLOAT8OID, cdc_convert_float8},
		{NUMERICOID, cdc_convert_numeric},
		{CASHOID, cdc_convert_money},
		{TEXTOID, convert_text},
		{VARCHAROID, convert_text},
		{BPCHAROID, convert_bpchar},
		{BYTEAOID, convert_bytea},
		{BITOID, convert_bits},
		{VARBITOID, convert_bits},
		{UUIDOID, convert_uuid},
		{JSONOID, convert_json},
		{JSONBOID, convert_json},
		{POINTOID, convert_point},
		{DATEOID, cdc_convert_date},
		{TIMEOID, cdc_convert_time},
		{TIMETZOID, cdc_convert_timetz},
		{TIMESTAMPOID, cdc_convert_timestamp},
		{TIMESTAMPTZOID, cdc_convert_timestamptz},
		{INTERVALOID, cdc_convert_interval},
	};

	for (int i = 0; i < lengthof(functions); i++)
		if (functions[i].typid == basetype)
			return functions[i].function;
	return convert_input;
}

static void
set_array(CdcConverter *converter, Oid element)
{
	get_typlenbyvalalign(element, &converter->element_len,
						 &converter->element_byval, &converter->element_align);
	converter->function = convert_array;
	converter->element = converter_create(element, converter->typmod,
										  &converter->reading, converter->strict);
	converter->may_raise = converter->element->may_raise;
}

static void
set_scalar(CdcConverter *converter)
{
	Oid			function;

	check_unit(converter);
	check_numbers(converter);
	check_encoding(converter);
	set_timezone(converter);
	converter->function = function_of(converter->basetype);
	if (converter->function == convert_input ||
		converter->function == convert_json ||
		converter->function == convert_point)
	{
		getTypeInputInfo(converter->basetype, &function, &converter->ioparam);
		fmgr_info(function, &converter->input);
		converter->may_raise = !CDC_INPUT_IS_SOFT ||
			converter->basetype >= FirstNormalObjectId;
	}
	else if (converter->basetype == CASHOID)
		converter->may_raise = true;
}

static CdcConverter *
converter_create(Oid typid, int32 typmod, const CdcReading *reading,
				 bool strict)
{
	CdcConverter *converter = palloc0(sizeof(*converter));
	Oid			element;

	converter->typid = typid;
	converter->typmod = typmod;
	converter->basetype = getBaseTypeAndTypmod(typid, &converter->typmod);
	converter->strict = strict;
	converter->context = CurrentMemoryContext;
	converter->type_name = format_type_with_typemod(typid, typmod);
	if (reading)
		converter->reading = *reading;
	element = get_base_element_type(converter->basetype);
	if (OidIsValid(element))
		set_array(converter, element);
	else
		set_scalar(converter);
	if (converter->basetype != typid)
		converter->may_raise = true;	/* domain_check() */
	return converter;
}

CdcConverter *
cdc_converter_create(Oid typid, int32 typmod, const CdcReading *reading,
					 bool strict)
{
	CdcReading	copy;

	if (reading)
	{
		copy = *reading;
		copy.column = reading->column ? pstrdup(reading->column) : NULL;
		copy.field = NULL;
		copy.unit = reading->unit ? pstrdup(reading->unit) : NULL;
		copy.encoding = reading->encoding ? pstrdup(reading->encoding) : NULL;
		copy.timezone = reading->timezone ? pstrdup(reading->timezone) : NULL;
	}
	return converter_create(typid, typmod, reading ? &copy : NULL, strict);
}

/*
 * Using it
 */

bool
cdc_convert(CdcConverter *converter, const CdcToken *value,
			const CdcSchemaField *field, CdcConnector connector,
			Datum *result, bool *isnull, CdcConvertError *error)
{
	*isnull = value->kind == CDC_JSON_NULL;
	if (*isnull)
		*result = (Datum) 0;
	else
	{
		CdcValue	v = {value, field, connector, error};

		if (!converter->function(converter, &v, result))
			return false;
	}
	if (converter->basetype != converter->typid)
		domain_check(*result, *isnull, converter->typid,
					 &converter->domain_cache, converter->context);
	return true;
}

bool
cdc_converter_may_raise(const CdcConverter *converter)
{
	return converter->may_raise;
}

bool
cdc_converter_bytes_decide(Oid typid, Oid collation, const CdcToken *value)
{
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return value->kind == CDC_JSON_NUMBER &&
				(value->flags & CDC_JSON_INTEGER) &&
				!(value->len == 2 && memcmp(value->text, "-0", 2) == 0);
		case TEXTOID:
		case VARCHAROID:
			return (value->kind == CDC_JSON_STRING || value->kind == CDC_JSON_NUMBER) &&
				(collation == DEFAULT_COLLATION_OID ||
				 collation == C_COLLATION_OID ||
				 (OidIsValid(collation) && get_collation_isdeterministic(collation)));
		default:
			return false;
	}
}
