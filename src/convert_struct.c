/*-------------------------------------------------------------------------
 *
 * convert_struct.c
 *	  Converters of the types that come as JSON objects and arrays: points,
 *	  geometries, hstore, vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/geo_decls.h"

#include "convert_internal.h"

/* In the type of an EWKB: it has a Z, an M, an SRID. */
#define EWKB_SRID	0x20000000

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

/* The WKB of a geometry's struct; NULL with the error filled. */
static uint8 *
wkb_of(const CdcConverter *converter, const CdcValue *value, int *len)
{
	CdcToken	member;
	uint8	   *wkb = palloc(value->token->len);

	if (!cdc_object_member(value->token, "wkb", &member) ||
		member.kind != CDC_JSON_STRING)
		*len = -1;
	else
		*len = cdc_base64_decode(member.text, member.len, false, wkb);
	if (*len >= 5 && wkb[0] <= 1)
		return wkb;
	(void) cdc_convert_unreadable(converter, value);
	return NULL;
}

/* The uint32 at p, in the byte order of the WKB. */
static uint32
wkb_uint32(const uint8 *wkb, const uint8 *p)
{
	return wkb[0] ? (uint32) p[3] << 24 | p[2] << 16 | p[1] << 8 | p[0] :
		(uint32) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void
put_wkb_uint32(const uint8 *wkb, uint8 *p, uint32 n)
{
	for (int i = 0; i < 4; i++)
		p[wkb[0] ? i : 3 - i] = n >> (8 * i) & 0xff;
}

static float8
wkb_float8(const uint8 *wkb, const uint8 *p)
{
	union
	{
		uint64		n;
		float8		x;
	}			u = {0};

	for (int i = 0; i < 8; i++)
		u.n |= (uint64) p[wkb[0] ? i : 7 - i] << (8 * i);
	return u.x;
}

/* x and y of a point that comes as WKB alone. */
static bool
point_from_wkb(const CdcConverter *converter, const CdcValue *value,
			   Point *point)
{
	int			len;
	uint8	   *wkb = wkb_of(converter, value, &len);
	int			at;

	if (wkb == NULL)
		return false;
	at = wkb_uint32(wkb, wkb + 1) & EWKB_SRID ? 9 : 5;
	if ((wkb_uint32(wkb, wkb + 1) & ~EWKB_SRID) != 1 || len != at + 16)
		return cdc_convert_unreadable(converter, value);
	point->x = wkb_float8(wkb, wkb + at);
	point->y = wkb_float8(wkb, wkb + at + 8);
	return true;
}

bool
cdc_convert_point(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	Point	   *point;
	CdcToken	member;

	if (value->token->kind != CDC_JSON_OBJECT)
		return cdc_convert_input(converter, value, result);
	point = palloc(sizeof(*point));
	if (!cdc_object_member(value->token, "x", &member))
	{
		if (!point_from_wkb(converter, value, point))
			return false;
	}
	else if (!point_member(converter, value, "x", &point->x) ||
			 !point_member(converter, value, "y", &point->y))
		return false;
	*result = PointPGetDatum(point);
	return true;
}

/*
 * PostGIS: {"wkb":..,"srid":..} as EWKB in hex, which geometry and geography
 * read.  PostgreSQL sends EWKB, which holds the SRID, MySQL the plain WKB.
 */
bool
cdc_convert_geometry(CdcConverter *converter, const CdcValue *value,
					 Datum *result)
{
	static const char digits[] = "0123456789ABCDEF";
	CdcToken	member;
	int64		srid = 0;
	int			len;
	uint8	   *wkb;
	char	   *hex;

	if (value->token->kind != CDC_JSON_OBJECT)
		return cdc_convert_input(converter, value, result);
	if ((wkb = wkb_of(converter, value, &len)) == NULL)
		return false;
	if (cdc_object_member(value->token, "srid", &member) &&
		member.kind != CDC_JSON_NULL &&
		(!cdc_json_int64(&member, &srid) || srid != (int32) srid))
		return cdc_convert_unreadable(converter, value);
	if (srid > 0 && (wkb_uint32(wkb, wkb + 1) & EWKB_SRID) == 0)
	{
		uint8	   *ewkb = palloc(len + 4);

		memcpy(ewkb, wkb, 5);
		put_wkb_uint32(ewkb, ewkb + 1, wkb_uint32(wkb, wkb + 1) | EWKB_SRID);
		put_wkb_uint32(ewkb, ewkb + 5, (uint32) srid);
		memcpy(ewkb + 9, wkb + 5, len - 5);
		wkb = ewkb;
		len += 4;
	}
	hex = palloc(2 * len + 1);
	for (int i = 0; i < len; i++)
	{
		hex[2 * i] = digits[wkb[i] >> 4];
		hex[2 * i + 1] = digits[wkb[i] & 15];
	}
	hex[2 * len] = '\0';
	return cdc_convert_call_input(converter, value, hex, result);
}

/* A string or other scalar in hstore's quotes. */
static bool
put_hstore_text(StringInfo buf, const CdcValue *value, const CdcToken *token)
{
	CdcValue	inner = *value;
	char	   *text;
	int			len;

	inner.token = token;
	if ((text = cdc_value_text(&inner, &len)) == NULL)
		return false;
	appendStringInfoChar(buf, '"');
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *text);
	}
	appendStringInfoChar(buf, '"');
	return true;
}

static bool
hstore_from_object(CdcConverter *converter, const CdcValue *value,
				   const CdcToken *object, Datum *result)
{
	StringInfoData buf;
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	member;

	initStringInfo(&buf);
	cdc_scanner_init(&scanner, object->text, object->len);
	(void) cdc_scan_peek(&scanner);
	if (!cdc_scan_enter(&scanner))
		return cdc_convert_unreadable(converter, value);
	while (cdc_scan_member(&scanner, buf.len == 0, &name) == 1)
	{
		if (!cdc_scan_value(&scanner, &member) ||
			member.kind == CDC_JSON_OBJECT || member.kind == CDC_JSON_ARRAY)
			return cdc_convert_unreadable(converter, value);
		if (buf.len > 0)
			appendStringInfoChar(&buf, ',');
		if (!put_hstore_text(&buf, value, &name))
			return false;
		appendStringInfoString(&buf, "=>");
		if (member.kind == CDC_JSON_NULL)
			appendStringInfoString(&buf, "NULL");
		else if (!put_hstore_text(&buf, value, &member))
			return false;
	}
	return cdc_convert_call_input(converter, value, buf.data, result);
}

/* An object, the text of one (hstore.handling.mode=json), or hstore's own text. */
bool
cdc_convert_hstore(CdcConverter *converter, const CdcValue *value,
				   Datum *result)
{
	CdcScanner	scanner;
	CdcToken	object;
	char	   *text;
	int			len;

	if (value->token->kind == CDC_JSON_OBJECT)
		return hstore_from_object(converter, value, value->token, result);
	if (value->token->kind != CDC_JSON_STRING)
		return cdc_convert_unreadable(converter, value);
	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	cdc_scanner_init(&scanner, text, len);
	if (cdc_scan_document(&scanner, &object) && object.kind == CDC_JSON_OBJECT)
		return hstore_from_object(converter, value, &object, result);
	return cdc_convert_call_input(converter, value, text, result);
}

/* pgvector's vector and halfvec read the text of a JSON array. */
bool
cdc_convert_vector(CdcConverter *converter, const CdcValue *value,
				   Datum *result)
{
	int			len;

	if (value->token->kind != CDC_JSON_ARRAY)
		return cdc_convert_input(converter, value, result);
	return cdc_convert_call_input(converter, value, cdc_value_text(value, &len),
								  result);
}

/* [index,value] of a sparse vector, as index:value. */
static bool
put_sparse_pair(StringInfo buf, const CdcToken *pair)
{
	CdcScanner	scanner;
	CdcToken	index;
	CdcToken	number;

	if (pair->kind != CDC_JSON_ARRAY)
		return false;
	cdc_scanner_init(&scanner, pair->text, pair->len);
	(void) cdc_scan_peek(&scanner);
	if (!cdc_scan_enter(&scanner) ||
		cdc_scan_element(&scanner, true) != 1 || !cdc_scan_value(&scanner, &index) ||
		cdc_scan_element(&scanner, false) != 1 || !cdc_scan_value(&scanner, &number) ||
		index.kind != CDC_JSON_NUMBER || number.kind != CDC_JSON_NUMBER)
		return false;
	appendStringInfo(buf, "%s%.*s:%.*s", buf->len > 1 ? "," : "",
					 (int) index.len, index.text, (int) number.len, number.text);
	return true;
}

/* {"dimensions":5,"vector":[[1,0.5],[3,2.0]]} as pgvector's {1:0.5,3:2.0}/5 */
bool
cdc_convert_sparsevec(CdcConverter *converter, const CdcValue *value,
					  Datum *result)
{
	StringInfoData buf;
	CdcScanner	scanner;
	CdcToken	dimensions;
	CdcToken	vector;
	CdcToken	pair;

	if (value->token->kind != CDC_JSON_OBJECT)
		return cdc_convert_input(converter, value, result);
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	if (!cdc_object_member(value->token, "dimensions", &dimensions) ||
		dimensions.kind != CDC_JSON_NUMBER ||
		!cdc_object_member(value->token, "vector", &vector) ||
		vector.kind != CDC_JSON_ARRAY)
		return cdc_convert_unreadable(converter, value);
	cdc_scanner_init(&scanner, vector.text, vector.len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	while (cdc_scan_element(&scanner, buf.len == 1) == 1)
		if (!cdc_scan_value(&scanner, &pair) || !put_sparse_pair(&buf, &pair))
			return cdc_convert_unreadable(converter, value);
	appendStringInfo(&buf, "}/%.*s", (int) dimensions.len, dimensions.text);
	return cdc_convert_call_input(converter, value, buf.data, result);
}
