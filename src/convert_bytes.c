/*-------------------------------------------------------------------------
 *
 * convert_bytes.c
 *	  Converters of bytea, bit and varbit; base64 and hex.
 *
 * Pure functions of the value; may be called in any transaction state.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/varbit.h"

#include "convert_internal.h"

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
 * bytea
 */

bool
cdc_is_base64(const char *text, int len, bool url)
{
	int			npad = 0;
	int			last = 0;

	while (len > 0 && npad < 2 && text[len - 1] == '=')
	{
		len--;
		npad++;
	}
	if (len == 0 || len % 4 == 1 || ((npad > 0 || !url) && (len + npad) % 4 != 0))
		return false;
	for (int i = 0; i < len; i++)
		if ((last = base64_digit(text[i], url)) < 0)
			return false;
	return (last & (len % 4 == 2 ? 15 : len % 4 == 3 ? 3 : 0)) == 0;
}

static bool
is_lower_hex(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') ||
			  (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}

int
cdc_hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
cdc_hex_decode(const char *text, int len, uint8 *out)
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
		int			high = cdc_hex_digit(text[i]);
		int			low = cdc_hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		out[i / 2] = high << 4 | low;
	}
	return len / 2;
}

/*
 * So many hex digits are hex: of base64 that is random, one in 2^64 is made of
 * them alone.
 */
#define SURE_HEX	32

/*
 * Base64 as it is padded has a length of 4k, and mostly more than the sixteen
 * characters of hex; hex is lower case with Debezium, of even length.
 */
CdcEncoding
cdc_bytes_proof(const char *text, int len)
{
	if (is_lower_hex(text, len))
		return len > 0 && len % 2 == 0 && (len % 4 == 2 || len >= SURE_HEX) ?
			CDC_ENCODING_HEX : CDC_ENCODING_UNKNOWN;
	return cdc_is_base64(text, len, memchr(text, '-', len) || memchr(text, '_', len)) ?
		CDC_ENCODING_BASE64 : CDC_ENCODING_UNKNOWN;
}

/* The encoding of a string without a reading; false, with the error filled, if it can be either. */
static bool
choose_encoding(CdcConverter *converter, const CdcValue *value,
				const char *text, int len, const char **encoding)
{
	CdcEncoding proof = cdc_bytes_proof(text, len);

	*encoding = "base64";
	if (proof == CDC_ENCODING_UNKNOWN && len > 0 && len % 4 == 0 &&
		is_lower_hex(text, len))
	{
		if (converter->strict || converter->learned == CDC_ENCODING_UNKNOWN ||
			(value->token->flags & CDC_JSON_MIXED))
			return cdc_convert_ambiguous(converter, value, "hex");
		proof = converter->learned;
	}
	if (proof == CDC_ENCODING_HEX)
		*encoding = "hex";
	else if (strpbrk(text, "-_") != NULL)
		*encoding = "base64url";
	return true;
}

/* Can a string of this schema be bytes?  Not a decimal, a date, a JSON text .. */
static bool
holds_bytes(const CdcValue *value)
{
	switch (cdc_semantic_of(value->field))
	{
		case CDC_SEM_UNKNOWN:
		case CDC_SEM_PLAIN:
		case CDC_SEM_BITS:
			return true;
		case CDC_SEM_OTHER:
			return cdc_token_is(&value->field->type, "bytes") ||
				cdc_token_is(&value->field->logical, "io.debezium.data.Uuid");
		default:
			return false;
	}
}

/* A uuid as text is its bytes; base64 would not have that shape. */
static bool
is_uuid(const CdcValue *value, const char *text, int len)
{
	if (len != 36 || (value->field && !cdc_token_is(&value->field->type, "string")))
		return false;
	for (int i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' :
			cdc_hex_digit(text[i]) < 0)
			return false;
	return true;
}

/*
 * The bytes of a string, in the reading's encoding.  Without a reading, what
 * the schema calls bytes is base64, and so are bits; else base64 in one of its
 * alphabets, or hex (binary.handling.mode=hex; the schema says only "string"
 * then), if the string itself or the column has shown which.
 */
static bool
bytes_of(CdcConverter *converter, const CdcValue *value, uint8 **bytes,
		 int *nbytes)
{
	const char *encoding = converter->reading.encoding;
	int			len;
	char	   *text;

	if (value->token->kind != CDC_JSON_STRING || !holds_bytes(value))
		return cdc_convert_unreadable(converter, value);
	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	*bytes = palloc(len + 1);
	if (converter->basetype == BYTEAOID && encoding == NULL &&
		is_uuid(value, text, len))
	{
		for (char *p = text; (p = strchr(p, '-')) != NULL; len--)
			memmove(p, p + 1, strlen(p));
		encoding = "hex";
	}
	if (value->field && cdc_token_is(&value->field->type, "bytes"))
		encoding = "base64";
	if (encoding == NULL && converter->basetype != BYTEAOID)
		encoding = "base64";
	if (encoding == NULL &&
		!choose_encoding(converter, value, text, len, &encoding))
		return false;
	if (strcmp(encoding, "string") == 0)
	{
		memcpy(*bytes, text, len);
		*nbytes = len;
		return true;
	}
	if (strcmp(encoding, "hex") == 0)
		*nbytes = cdc_hex_decode(text, len, *bytes);
	else
		*nbytes = cdc_base64_decode(text, len, strcmp(encoding, "base64url") == 0,
									*bytes);
	if (*nbytes < 0)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"invalid %s for type %s: \"%s\"",
								encoding, converter->type_name,
								cdc_token_head(value->token));
	return true;
}

bool
cdc_convert_bytea(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	uint8	   *bytes;
	int			nbytes;
	bytea	   *datum;
	CdcValue	inner = *value;
	CdcToken	wkb;
	CdcSchemaField field = {.type = {"bytes", 5, CDC_JSON_STRING}};

	/* of a geometry, its WKB */
	if (value->token->kind == CDC_JSON_OBJECT &&
		cdc_object_member(value->token, "wkb", &wkb))
	{
		inner.token = &wkb;
		inner.field = &field;
	}
	if (!bytes_of(converter, &inner, &bytes, &nbytes))
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
		return cdc_convert_too_long(converter, value);
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

bool
cdc_convert_bits(CdcConverter *converter, const CdcValue *value, Datum *result)
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
 * Only MySQL's BIT(n) has a length that is known: PostgreSQL's bit(n) and
 * varbit(n) look alike, and stay what came.
 */
char *
cdc_bits_text(CdcConverter *converter, const CdcValue *value)
{
	CdcConverter bits = {.basetype = VARBITOID,.typmod = -1,.type_name = converter->type_name};
	Datum		datum;
	int			len;

	if (value->connector != CDC_CONNECTOR_MYSQL)
		return cdc_value_text(value, &len);
	if (!cdc_convert_bits(&bits, value, &datum))
		return NULL;
	return DatumGetCString(DirectFunctionCall1(varbit_out, datum));
}
