/*-------------------------------------------------------------------------
 *
 * convert_number.c
 *	  Converters of integers, floats, numeric and money.
 *
 * A number comes as a JSON number, as base64 of a two's-complement integer
 * whose scale stands in the schema (or nowhere), as {"scale":..,"value":..}, or
 * as a string of digits.  All forms are brought into a CdcDecimal, exact, and
 * that is put into the target, exact again: a value that would be rounded is
 * an error.
 *
 * Pure functions of the value; may be called in any transaction state.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "convert_internal.h"

/* No number of the server's numeric type has more digits on either side. */
#define MAX_INTEGER_DIGITS	131072
#define MAX_FRACTION_DIGITS	16383

/* Debezium's default of money.fraction.digits. */
#define MONEY_SCALE	2

typedef enum DecimalKind
{
	DECIMAL_FINITE,
	DECIMAL_NAN,
	DECIMAL_INFINITY
} DecimalKind;

/* sign * digits * 10^-scale; digits has no leading zeros ("" is zero). */
typedef struct CdcDecimal
{
	DecimalKind kind;
	bool		negative;
	char	   *digits;
	int			ndigits;
	int			scale;
} CdcDecimal;

/* -?digits into an int64; false when it does not fit. */
static bool
parse_int64(const char *text, int len, int64 *result)
{
	bool		negative = len > 0 && text[0] == '-';
	int64		acc = 0;
	int			i = negative ? 1 : 0;

	if (i == len)
		return false;
	for (; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9' ||
			pg_mul_s64_overflow(acc, 10, &acc) ||
			pg_sub_s64_overflow(acc, text[i] - '0', &acc))
			return false;
	}
	if (!negative && acc == PG_INT64_MIN)
		return false;
	*result = negative ? acc : -acc;
	return true;
}

/* Drop leading zeros. */
static void
decimal_normalize(CdcDecimal *d)
{
	while (d->ndigits > 0 && *d->digits == '0')
	{
		d->digits++;
		d->ndigits--;
	}
	if (d->ndigits == 0)
		d->negative = false;
}

/* The digits after e or E, into *exponent; huge ones are cut to +-10^6. */
static bool
parse_exponent(const char *p, const char *end, int *exponent)
{
	bool		negative = false;
	int			e = 0;

	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	if (p == end)
		return false;
	for (; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		if (e < 1000000)
			e = e * 10 + (*p - '0');
	}
	e = Min(e, 1000000);
	*exponent = negative ? -e : e;
	return true;
}

/* Text of a decimal number as JSON, Java or SQL write it. */
static bool
decimal_from_text(const char *text, int len, CdcDecimal *d)
{
	const char *p = text;
	const char *end = text + len;
	bool		seen_digit = false;
	bool		seen_point = false;
	int			exponent = 0;

	memset(d, 0, sizeof(*d));
	d->digits = palloc(len + 1);
	if (p < end && (*p == '-' || *p == '+'))
		d->negative = *p++ == '-';
	for (; p < end; p++)
	{
		if (*p >= '0' && *p <= '9')
		{
			d->digits[d->ndigits++] = *p;
			seen_digit = true;
			if (seen_point)
				d->scale++;
		}
		else if (*p == '.' && !seen_point)
			seen_point = true;
		else
			break;
	}
	if (!seen_digit)
		return false;
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		if (!parse_exponent(p + 1, end, &exponent))
			return false;
		d->scale -= exponent;
	}
	else if (p < end)
		return false;
	decimal_normalize(d);
	return true;
}

/*
 * Big-endian two's complement -> decimal digits, by repeated division by
 * 10^9 of 32-bit limbs.
 */
static void
decimal_from_bytes(const uint8 *bytes, int len, int scale, CdcDecimal *d)
{
	int			nlimbs = (len + 3) / 4;
	uint32	   *limbs = palloc0(sizeof(uint32) * Max(nlimbs, 1));
	int			first = 0;
	int			room = len * 3 + 10;
	char	   *end;

	memset(d, 0, sizeof(*d));
	d->scale = scale;
	d->negative = len > 0 && (bytes[0] & 0x80) != 0;
	for (int i = 0; i < nlimbs * 4; i++)
	{
		int			at = i - (nlimbs * 4 - len);
		uint8		b = at >= 0 ? bytes[at] : d->negative ? 0xff : 0;

		limbs[i / 4] = limbs[i / 4] << 8 | b;
	}
	if (d->negative)
	{
		uint64		carry = 1;

		for (int i = nlimbs - 1; i >= 0; i--)
		{
			carry += (uint32) ~limbs[i];
			limbs[i] = (uint32) carry;
			carry >>= 32;
		}
	}

	d->digits = palloc(room);
	end = d->digits + room;
	d->digits = end;
	while (first < nlimbs)
	{
		uint64		rest = 0;

		for (int i = first; i < nlimbs; i++)
		{
			uint64		part = rest << 32 | limbs[i];

			limbs[i] = (uint32) (part / 1000000000);
			rest = part % 1000000000;
		}
		for (int i = 0; i < 9; i++, rest /= 10)
			*--d->digits = '0' + rest % 10;
		while (first < nlimbs && limbs[first] == 0)
			first++;
	}
	d->ndigits = end - d->digits;
	decimal_normalize(d);
	pfree(limbs);
}

static bool
decimal_from_base64(const CdcValue *value, const CdcToken *token, int scale,
					CdcDecimal *d)
{
	CdcValue	inner = *value;
	int			len;
	char	   *text;
	uint8	   *bytes;

	inner.token = token;
	if (scale < -MAX_INTEGER_DIGITS || scale > MAX_INTEGER_DIGITS)
		return cdc_convert_fail(value, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
								"no number has a scale of %d", scale);
	if ((text = cdc_value_text(&inner, &len)) == NULL)
		return false;
	bytes = palloc(len + 1);
	len = cdc_base64_decode(text, len, false, bytes);
	if (len <= 0)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"invalid base64 of a decimal: \"%s\"",
								cdc_token_head(token));
	decimal_from_bytes(bytes, len, scale, d);
	return true;
}

/* NaN and infinities, as JSON floats and decimal strings spell them. */
static bool
decimal_special(const char *text, int len, CdcDecimal *d)
{
	static const struct
	{
		const char *text;
		DecimalKind kind;
		bool		negative;
	}			specials[] = {
		{"NaN", DECIMAL_NAN, false},
		{"NAN", DECIMAL_NAN, false},
		{"Infinity", DECIMAL_INFINITY, false},
		{"POSITIVE_INFINITY", DECIMAL_INFINITY, false},
		{"-Infinity", DECIMAL_INFINITY, true},
		{"NEGATIVE_INFINITY", DECIMAL_INFINITY, true},
	};

	for (int i = 0; i < lengthof(specials); i++)
	{
		if (strlen(specials[i].text) == len &&
			memcmp(specials[i].text, text, len) == 0)
		{
			memset(d, 0, sizeof(*d));
			d->kind = specials[i].kind;
			d->negative = specials[i].negative;
			return true;
		}
	}
	return false;
}

/* Scale that the target's declaration gives, false where it gives none. */
static bool
target_scale(const CdcConverter *converter, int *scale)
{
	if (converter->basetype == NUMERICOID && converter->typmod >= 0)
		*scale = (((converter->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	else if (converter->basetype == CASHOID)
		*scale = MONEY_SCALE;
	else if (converter->basetype == INT2OID || converter->basetype == INT4OID ||
			 converter->basetype == INT8OID || converter->basetype == OIDOID)
		*scale = 0;
	else
		return false;
	return true;
}

/* Base64 without a schema: the scale is the reading's, else the target's. */
static bool
decimal_from_bare_base64(const CdcConverter *converter, const CdcValue *value,
						 CdcDecimal *d)
{
	int			scale;

	if (converter->reading.has_scale)
		scale = converter->reading.scale;
	else if (!target_scale(converter, &scale))
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"decimal \"%s\" without a known scale; give \"scale\" in the column mapping",
								cdc_token_head(value->token));
	else if (converter->strict)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"strict: the scale of decimal \"%s\" is not known; give \"scale\" in the column mapping",
								cdc_token_head(value->token));
	return decimal_from_base64(value, value->token, scale, d);
}

/*
 * A decimal as Java's BigDecimal prints it: -?digits[.digits][E(+|-)digits].
 */
static bool
is_decimal_text(const char *p, int len)
{
	const char *end = p + len;
	const char *start;

	if (p < end && *p == '-')
		p++;
	for (start = p; p < end && *p >= '0' && *p <= '9';)
		p++;
	if (p == start)
		return false;
	if (p < end && *p == '.')
	{
		for (start = ++p; p < end && *p >= '0' && *p <= '9';)
			p++;
		if (p == start)
			return false;
	}
	if (p + 2 < end && *p == 'E' && (p[1] == '+' || p[1] == '-'))
	{
		p += 2;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
	}
	return p == end;
}

CdcEncoding
cdc_decimal_proof(const char *text, int len)
{
	CdcDecimal	special;
	bool		can_be_base64 = len % 4 == 0 && cdc_is_base64(text, len, false);

	if (is_decimal_text(text, len))
		return can_be_base64 ? CDC_ENCODING_UNKNOWN : CDC_ENCODING_STRING;
	return can_be_base64 && !decimal_special(text, len, &special) ?
		CDC_ENCODING_BASE64 : CDC_ENCODING_UNKNOWN;
}

/*
 * A string without a schema: base64 or digits?  What has a '.', a sign in front
 * or a length that is no multiple of four is no base64; what has a letter, '/',
 * or '=' is no plain decimal.  Digits alone, 4k of them (and 1E+3, as
 * BigDecimal prints a negative scale), can be either, and nothing in the record
 * tells: the other values of the column do, or the reading.
 */
static bool
decimal_from_bare_string(CdcConverter *converter, const CdcValue *value,
						 CdcDecimal *d)
{
	const char *reading = converter->reading.encoding;
	CdcEncoding encoding;
	int			len;
	char	   *text = cdc_value_text(value, &len);

	if (text == NULL)
		return false;
	if (reading)
		encoding = strcmp(reading, "base64") == 0 ? CDC_ENCODING_BASE64 :
			CDC_ENCODING_STRING;
	else
		encoding = cdc_decimal_proof(text, len);
	if (encoding != CDC_ENCODING_BASE64 && decimal_special(text, len, d))
		return true;
	if (encoding == CDC_ENCODING_UNKNOWN && is_decimal_text(text, len))
	{
		encoding = converter->learned;
		if (converter->strict || encoding == CDC_ENCODING_UNKNOWN ||
			(value->token->flags & CDC_JSON_MIXED))
			return cdc_convert_ambiguous(converter, value, "string");
	}
	if (encoding == CDC_ENCODING_BASE64)
		return decimal_from_bare_base64(converter, value, d);
	return decimal_from_text(text, len, d) ? true :
		cdc_convert_unreadable(converter, value);
}

/* {"scale":2,"value":"MDk="} */
static bool
decimal_from_struct(CdcConverter *converter, const CdcValue *value,
					CdcDecimal *d)
{
	CdcToken	scale;
	CdcToken	unscaled;
	int64		n;

	if (!cdc_object_member(value->token, "scale", &scale) ||
		!cdc_object_member(value->token, "value", &unscaled) ||
		scale.kind != CDC_JSON_NUMBER || unscaled.kind != CDC_JSON_STRING ||
		!parse_int64(scale.text, scale.len, &n) ||
		n < -MAX_INTEGER_DIGITS || n > MAX_INTEGER_DIGITS)
		return cdc_convert_unreadable(converter, value);
	return decimal_from_base64(value, &unscaled, (int) n, d);
}

/* Bits as the number that they are: little-endian, without a sign. */
static bool
decimal_from_bits(const CdcValue *value, CdcDecimal *d)
{
	const CdcToken *token = value->token;
	uint8	   *bits = palloc(token->len + 1);
	int			len = cdc_base64_decode(token->text, token->len, false, bits);
	uint8	   *bytes = palloc0(Max(len, 0) + 1);

	if (len < 0)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"invalid base64 of bits: \"%s\"",
								cdc_token_head(token));
	for (int i = 0; i < len; i++)
		bytes[len - i] = bits[i];
	decimal_from_bytes(bytes, len + 1, 0, d);
	return true;
}

static bool
decimal_from_string(CdcConverter *converter, const CdcValue *value,
					CdcDecimal *d)
{
	const CdcSchemaField *field = value->field;
	char	   *text;
	int			len;

	switch (cdc_semantic_of(field))
	{
		case CDC_SEM_DECIMAL:
			if (!field->has_scale)
				return decimal_from_bare_base64(converter, value, d);
			return decimal_from_base64(value, value->token, field->scale, d);
		case CDC_SEM_BITS:
			return decimal_from_bits(value, d);
		case CDC_SEM_UNKNOWN:
			return decimal_from_bare_string(converter, value, d);
		case CDC_SEM_PLAIN:
			if ((text = cdc_value_text(value, &len)) == NULL)
				return false;
			if (field->type.len == 5 && memcmp(field->type.text, "bytes", 5) == 0)
				break;
			if (decimal_special(text, len, d) || decimal_from_text(text, len, d))
				return true;
			break;
		default:
			break;
	}
	return cdc_convert_unreadable(converter, value);
}

/* Is it a bigint unsigned from 2^63 on, which is sent as a negative number? */
static bool
has_wrapped(const CdcConverter *converter, const CdcValue *value)
{
	return value->token->text[0] == '-' &&
		(converter->reading.is_unsigned || cdc_schema_is_unsigned_bigint(value->field));
}

/* 2^64 for a bigint unsigned that wrapped. */
static bool
decimal_unwrap(const CdcValue *value, CdcDecimal *d)
{
	int64		n;
	const CdcToken *token = value->token;

	if (!(token->flags & CDC_JSON_INTEGER) ||
		!parse_int64(token->text, token->len, &n))
		return cdc_convert_fail(value, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
								"%s is no wrapped unsigned bigint",
								cdc_token_head(token));
	d->digits = psprintf(UINT64_FORMAT, (uint64) n);
	d->ndigits = strlen(d->digits);
	d->negative = false;
	d->scale = 0;
	decimal_normalize(d);
	return true;
}

static bool
decimal_of(CdcConverter *converter, const CdcValue *value, CdcDecimal *d)
{
	const CdcToken *token = value->token;

	switch (token->kind)
	{
		case CDC_JSON_NUMBER:
			if (!decimal_from_text(token->text, token->len, d))
				break;
			return has_wrapped(converter, value) ? decimal_unwrap(value, d) : true;
		case CDC_JSON_STRING:
			return decimal_from_string(converter, value, d);
		case CDC_JSON_OBJECT:
			return decimal_from_struct(converter, value, d);
		case CDC_JSON_TRUE:
			return decimal_from_text("1", 1, d);
		case CDC_JSON_FALSE:
			return decimal_from_text("0", 1, d);
		default:
			break;
	}
	return cdc_convert_unreadable(converter, value);
}

static bool
decimal_out_of_range(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
							"value \"%s\" is out of range for type %s",
							cdc_token_head(value->token), converter->type_name);
}

/* Without exponent: as numeric's output. */
static char *
decimal_print(const CdcDecimal *d)
{
	StringInfoData buf;
	int			nint = d->ndigits - d->scale;	/* digits before the point */

	initStringInfo(&buf);
	if (d->kind != DECIMAL_FINITE)
	{
		appendStringInfoString(&buf, d->kind == DECIMAL_NAN ? "NaN" :
							   d->negative ? "-Infinity" : "Infinity");
		return buf.data;
	}
	if (d->negative)
		appendStringInfoChar(&buf, '-');
	if (nint <= 0 || d->ndigits == 0)
		appendStringInfoChar(&buf, '0');
	else
		appendBinaryStringInfo(&buf, d->digits, Min(nint, d->ndigits));
	if (d->scale < 0 && d->ndigits > 0)
		for (int i = d->scale; i < 0; i++)
			appendStringInfoChar(&buf, '0');
	if (d->scale > 0)
	{
		appendStringInfoChar(&buf, '.');
		for (int i = nint; i < 0; i++)
			appendStringInfoChar(&buf, '0');
		appendBinaryStringInfo(&buf, d->digits + Max(nint, 0),
							   d->ndigits - Max(nint, 0));
	}
	return buf.data;
}

/* Fraction digits that are not trailing zeros. */
static int
decimal_needed_scale(const CdcDecimal *d)
{
	int			scale = d->scale;

	for (int i = d->ndigits; i > 0 && d->digits[i - 1] == '0'; i--)
		scale--;
	return d->ndigits == 0 ? 0 : scale;
}

/* Does it fit the server's numeric, and numeric(p,s) exactly? */
static bool
decimal_fits(const CdcDecimal *d, int32 typmod)
{
	int			precision;
	int			scale;

	if (d->kind != DECIMAL_FINITE)
		return d->kind == DECIMAL_NAN || typmod < 0;
	if (d->ndigits - d->scale > MAX_INTEGER_DIGITS ||
		d->scale > MAX_FRACTION_DIGITS)
		return false;
	if (typmod < 0 || d->ndigits == 0)
		return true;
	precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	return decimal_needed_scale(d) <= scale &&
		d->ndigits - d->scale <= precision - scale;
}

char *
cdc_decimal_text(CdcConverter *converter, const CdcValue *value)
{
	CdcDecimal	d;

	if (!decimal_of(converter, value, &d))
		return NULL;
	if (!decimal_fits(&d, -1))
	{
		(void) decimal_out_of_range(converter, value);
		return NULL;
	}
	return decimal_print(&d);
}

static bool
decimal_to_numeric(CdcConverter *converter, const CdcValue *value,
				   const CdcDecimal *d, Datum *result)
{
	if (!decimal_fits(d, converter->basetype == NUMERICOID ? converter->typmod : -1))
		return decimal_out_of_range(converter, value);
	*result = DirectFunctionCall3(numeric_in, CStringGetDatum(decimal_print(d)),
								  ObjectIdGetDatum(InvalidOid),
								  Int32GetDatum(converter->basetype == NUMERICOID ?
												converter->typmod : -1));
	return true;
}

bool
cdc_convert_numeric(CdcConverter *converter, const CdcValue *value,
					Datum *result)
{
	CdcDecimal	d;
	const CdcToken *token = value->token;
	int64		n;

	/* the common case of an id */
	if (token->kind == CDC_JSON_NUMBER && (token->flags & CDC_JSON_INTEGER) &&
		converter->typmod < 0 && !has_wrapped(converter, value) &&
		parse_int64(token->text, token->len, &n))
	{
		*result = NumericGetDatum(int64_to_numeric(n));
		return true;
	}
	return decimal_of(converter, value, &d) &&
		decimal_to_numeric(converter, value, &d, result);
}

/*
 * How many digits money has after the point depends on lc_monetary, so it is
 * asked for by converting back.
 */
bool
cdc_convert_money(CdcConverter *converter, const CdcValue *value,
				  Datum *result)
{
	CdcDecimal	d;
	Datum		number;

	if (!decimal_of(converter, value, &d))
		return false;
	if (d.kind != DECIMAL_FINITE || d.ndigits - d.scale > 18)
		return decimal_out_of_range(converter, value);
	if (!decimal_to_numeric(converter, value, &d, &number))
		return false;
	*result = DirectFunctionCall1(numeric_cash, number);
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number,
										  DirectFunctionCall1(cash_numeric, *result))))
		return decimal_out_of_range(converter, value);
	return true;
}

static bool
decimal_to_int64(CdcDecimal *d, int64 *result)
{
	char	   *text;

	if (d->kind != DECIMAL_FINITE || d->ndigits - d->scale > 19 ||
		decimal_needed_scale(d) > 0)
		return false;
	if (d->scale > 0)
	{
		d->ndigits = Max(d->ndigits - d->scale, 0);
		d->scale = 0;
	}
	text = decimal_print(d);
	return parse_int64(text, strlen(text), result);
}

bool
cdc_parse_integral(const CdcToken *token, int64 *result)
{
	CdcDecimal	d;

	if (token->flags & CDC_JSON_INTEGER)
		return parse_int64(token->text, token->len, result);
	return decimal_from_text(token->text, token->len, &d) &&
		decimal_to_int64(&d, result);
}

/* An integer in whatever form; only integral values. */
static bool
integer_of(CdcConverter *converter, const CdcValue *value, int64 *result)
{
	const CdcToken *token = value->token;
	CdcDecimal	d;

	if (token->kind == CDC_JSON_NUMBER && (token->flags & CDC_JSON_INTEGER) &&
		!has_wrapped(converter, value))
	{
		if (!parse_int64(token->text, token->len, result))
			return decimal_out_of_range(converter, value);
		return true;
	}
	if (!decimal_of(converter, value, &d))
		return false;
	if (d.kind != DECIMAL_FINITE || d.ndigits - d.scale > 19)
		return decimal_out_of_range(converter, value);
	if (decimal_needed_scale(&d) > 0)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"value \"%s\" is no integer", cdc_token_head(token));
	return decimal_to_int64(&d, result) ? true :
		decimal_out_of_range(converter, value);
}

bool
cdc_convert_int2(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;

	if (!integer_of(converter, value, &n))
		return false;
	if (n < PG_INT16_MIN || n > PG_INT16_MAX)
		return decimal_out_of_range(converter, value);
	*result = Int16GetDatum((int16) n);
	return true;
}

bool
cdc_convert_int4(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;

	if (!integer_of(converter, value, &n))
		return false;
	if (n < PG_INT32_MIN || n > PG_INT32_MAX)
		return decimal_out_of_range(converter, value);
	*result = Int32GetDatum((int32) n);
	return true;
}

bool
cdc_convert_int8(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;

	if (!integer_of(converter, value, &n))
		return false;
	*result = Int64GetDatum(n);
	return true;
}

bool
cdc_convert_oid(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;

	if (!integer_of(converter, value, &n))
		return false;
	if (n < 0 || n > PG_UINT32_MAX)
		return decimal_out_of_range(converter, value);
	*result = ObjectIdGetDatum((Oid) n);
	return true;
}

/*
 * Floats take the nearest value, as they do everywhere; what is finite must
 * stay finite and what is not zero must not become zero.
 */
static bool
float_text(CdcConverter *converter, const CdcValue *value, char **text,
		   bool *special)
{
	CdcDecimal	d;

	*special = false;
	if (value->token->kind == CDC_JSON_NUMBER && !has_wrapped(converter, value))
	{
		*text = pnstrdup(value->token->text, value->token->len);
		return true;
	}
	if (value->token->kind == CDC_JSON_TRUE || value->token->kind == CDC_JSON_FALSE)
		return cdc_convert_unreadable(converter, value);
	if (!decimal_of(converter, value, &d))
		return false;
	if (!decimal_fits(&d, -1))
		return decimal_out_of_range(converter, value);
	*special = d.kind != DECIMAL_FINITE;
	*text = decimal_print(&d);
	return true;
}

static bool
has_nonzero_digit(const char *text)
{
	for (; *text && *text != 'e' && *text != 'E'; text++)
		if (*text >= '1' && *text <= '9')
			return true;
	return false;
}

bool
cdc_convert_float8(CdcConverter *converter, const CdcValue *value,
				   Datum *result)
{
	char	   *text;
	bool		special;
	double		x;

	if (!float_text(converter, value, &text, &special))
		return false;
	x = strtod(text, NULL);
	if (!special && (isinf(x) || (x == 0 && has_nonzero_digit(text))))
		return decimal_out_of_range(converter, value);
	*result = Float8GetDatum(x);
	return true;
}

bool
cdc_convert_float4(CdcConverter *converter, const CdcValue *value,
				   Datum *result)
{
	char	   *text;
	bool		special;
	float		x;

	if (!float_text(converter, value, &text, &special))
		return false;
	x = strtof(text, NULL);
	if (!special && (isinf(x) || (x == 0 && has_nonzero_digit(text))))
		return decimal_out_of_range(converter, value);
	*result = Float4GetDatum(x);
	return true;
}
