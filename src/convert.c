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
 * The converters are in convert_*.c; here are boolean, uuid, what they share, and
 * the choice.  Types without a converter of ours go through their input function,
 * which may raise an error (softly from PostgreSQL 16 on, where the type can).
 *
 * Runs under the settings of cdc_pin_settings(), in any transaction; takes no
 * locks, and reads the catalogs only to make a converter, in input functions,
 * and for domains.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

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

bool
cdc_convert_too_long(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
							"value \"%s\" is too long for type %s",
							cdc_token_head(value->token), converter->type_name);
}

bool
cdc_convert_ambiguous(const CdcConverter *converter, const CdcValue *value,
					  const char *other)
{
	const char *both = other[0] == 'h' ? "hex or base64" : "digits or base64";

	if (converter->strict)
		return cdc_convert_fail(value, ERRCODE_INVALID_TEXT_REPRESENTATION,
								"strict: \"%s\" can be %s; give \"encoding\" \"%s\" or \"base64\" in the column mapping",
								cdc_token_head(value->token), both, other);
	return cdc_convert_fail(value, CDC_ERRCODE_AMBIGUOUS,
							value->token->flags & CDC_JSON_MIXED ?
							"\"%s\" can be %s, and the column has shown both; give \"encoding\" \"%s\" or \"base64\" in the column mapping" :
							"\"%s\" can be %s, and no value has told yet; give \"encoding\" \"%s\" or \"base64\" in the column mapping",
							cdc_token_head(value->token), both, other);
}

/*
 * Schema
 */

bool
cdc_token_is(const CdcToken *token, const char *text)
{
	size_t		len = strlen(text);

	return token->kind == CDC_JSON_STRING && token->len == len &&
		memcmp(token->text, text, len) == 0;
}

CdcConnector
cdc_connector_of(const CdcToken *name)
{
	if (cdc_token_is(name, "mysql") || cdc_token_is(name, "mariadb"))
		return CDC_CONNECTOR_MYSQL;
	if (cdc_token_is(name, "postgresql"))
		return CDC_CONNECTOR_POSTGRESQL;
	if (cdc_token_is(name, "sqlserver"))
		return CDC_CONNECTOR_SQLSERVER;
	if (cdc_token_is(name, "oracle"))
		return CDC_CONNECTOR_ORACLE;
	if (cdc_token_is(name, "db2") || cdc_token_is(name, "informix"))
		return CDC_CONNECTOR_DB2;
	return CDC_CONNECTOR_UNKNOWN;
}

static CdcSemantic
look_up_semantic(const CdcSchemaField *field)
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
		{"io.debezium.data.geometry.Point", CDC_SEM_GEOMETRY},
		{"io.debezium.data.geometry.Geometry", CDC_SEM_GEOMETRY},
		{"io.debezium.data.geometry.Geography", CDC_SEM_GEOMETRY},
	};

	if (field->logical.kind != CDC_JSON_STRING)
		return CDC_SEM_PLAIN;
	for (int i = 0; i < lengthof(semantics); i++)
		if (cdc_token_is(&field->logical, semantics[i].name))
			return semantics[i].semantic;
	return CDC_SEM_OTHER;
}

/* Looked up by name once for a schema, not for each value. */
CdcSemantic
cdc_semantic_of(const CdcSchemaField *field)
{
	if (field == NULL)
		return CDC_SEM_UNKNOWN;
	if (field->meaning == 0)
		((CdcSchemaField *) field)->meaning = 1 + look_up_semantic(field);
	return (CdcSemantic) (field->meaning - 1);
}

bool
cdc_schema_is_unsigned_bigint(const CdcSchemaField *field)
{
	static const char name[] = "BIGINT UNSIGNED";

	return field && field->source_type.kind == CDC_JSON_STRING &&
		field->source_type.len >= strlen(name) &&
		memcmp(field->source_type.text, name, strlen(name)) == 0;
}

/*
 * Tokens
 */

bool
cdc_convert_unstorable(const CdcValue *value)
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
			(void) cdc_convert_unstorable(value);
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
		if (cdc_token_is(&member, name))
			return true;
		first = false;
	}
	return false;
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
		if (n == sizeof(hex) || cdc_hex_digit(text[i]) < 0)
			return cdc_convert_unreadable(converter, value);
		hex[n++] = text[i];
	}
	if (n != sizeof(hex) || cdc_hex_decode(hex, n, uuid->data) != UUID_LEN)
		return cdc_convert_unreadable(converter, value);
	*result = UUIDPGetDatum(uuid);
	return true;
}

/*
 * Through the type's input function
 */

/* A SQLSTATE that says nothing of a fault in the data. */
static bool
is_odd_errcode(int sqlerrcode)
{
	int			class = ERRCODE_TO_CATEGORY(sqlerrcode);

	return class == ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_UNDEFINED_SCHEMA) ||
		class == ERRCODE_FEATURE_NOT_SUPPORTED ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR);
}

/*
 * Some input functions (hstore, ltree, tsvector) call a bad value a syntax error,
 * or report it with elog(): it is a fault of the value all the same.
 */
static bool
call_odd_input(CdcConverter *converter, char *text, Datum *result,
			   int *sqlerrcode, char **message)
{
	MemoryContext context = CurrentMemoryContext;
	bool		ok = false;

	PG_TRY();
	{
		ok = cdc_input_function_compat(&converter->input, text,
									   converter->ioparam, converter->typmod,
									   result, sqlerrcode, message);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		if (is_odd_errcode(edata->sqlerrcode))
			edata->sqlerrcode = ERRCODE_INVALID_TEXT_REPRESENTATION;
		ReThrowError(edata);
	}
	PG_END_TRY();
	return ok;
}

bool
cdc_convert_call_input(CdcConverter *converter, const CdcValue *value,
					   char *text, Datum *result)
{
	int			sqlerrcode = 0;
	char	   *message = NULL;
	bool		ok;

	if (converter->basetype == JSONOID || converter->basetype == JSONBOID)
		ok = cdc_input_function_compat(&converter->input, text,
									   converter->ioparam, converter->typmod,
									   result, &sqlerrcode, &message);
	else
		ok = call_odd_input(converter, text, result, &sqlerrcode, &message);
	if (ok)
		return true;
	if (is_odd_errcode(sqlerrcode))
		sqlerrcode = ERRCODE_INVALID_TEXT_REPRESENTATION;
	return cdc_convert_fail(value, sqlerrcode, "%s", message);
}

/*
 * Objects and arrays are not offered to input functions: some would take the
 * text of a JSON array for something else, as int4range takes [1,10].
 */
bool
cdc_convert_input(CdcConverter *converter, const CdcValue *value, Datum *result)
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
		return cdc_convert_too_long(converter, value);
	return cdc_convert_call_input(converter, value, text, result);
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

/* Types of extensions, whatever their OID and schema are here. */
static CdcConvertFunction
function_of_extension(Oid basetype)
{
	static const struct
	{
		const char *name;
		CdcConvertFunction function;
	}			functions[] = {
		{"geometry", cdc_convert_geometry},
		{"geography", cdc_convert_geometry},
		{"hstore", cdc_convert_hstore},
		{"vector", cdc_convert_vector},
		{"halfvec", cdc_convert_vector},
		{"sparsevec", cdc_convert_sparsevec},
	};
	HeapTuple	tuple;
	CdcConvertFunction found = cdc_convert_input;

	if (basetype < FirstNormalObjectId)
		return found;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(basetype));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", basetype);
	for (int i = 0; i < lengthof(functions); i++)
	{
		Form_pg_type type = (Form_pg_type) GETSTRUCT(tuple);

		if (type->typtype == TYPTYPE_BASE &&
			strcmp(NameStr(type->typname), functions[i].name) == 0)
			found = functions[i].function;
	}
	ReleaseSysCache(tuple);
	return found;
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
		{TEXTOID, cdc_convert_text},
		{VARCHAROID, cdc_convert_text},
		{BPCHAROID, cdc_convert_bpchar},
		{BYTEAOID, cdc_convert_bytea},
		{BITOID, cdc_convert_bits},
		{VARBITOID, cdc_convert_bits},
		{UUIDOID, convert_uuid},
		{JSONOID, cdc_convert_json},
		{JSONBOID, cdc_convert_json},
		{POINTOID, cdc_convert_point},
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
	return function_of_extension(basetype);
}

static void
set_array(CdcConverter *converter, Oid element)
{
	get_typlenbyvalalign(element, &converter->element_len,
						 &converter->element_byval, &converter->element_align);
	converter->function = cdc_convert_array;
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
	if (converter->function == cdc_convert_input ||
		converter->function == cdc_convert_json ||
		converter->function == cdc_convert_point ||
		converter->basetype >= FirstNormalObjectId)
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

/*
 * Encodings
 */

/* Does the converter read numbers, or bytes, from strings? */
static bool
reads_numbers(const CdcConverter *converter)
{
	static const Oid numbers[] = {NUMERICOID, CASHOID, INT2OID, INT4OID, INT8OID, OIDOID, FLOAT4OID, FLOAT8OID};

	return type_in(converter->basetype, numbers, lengthof(numbers)) ||
		(converter->reading.has_scale && converter->basetype != BYTEAOID);
}

bool
cdc_converter_takes_encoding(const CdcConverter *converter, CdcEncoding encoding)
{
	if (converter->element)
		return cdc_converter_takes_encoding(converter->element, encoding);
	if (converter->reading.encoding || converter->strict)
		return false;
	if (converter->basetype == BYTEAOID)
		return encoding != CDC_ENCODING_STRING;
	return reads_numbers(converter) && encoding != CDC_ENCODING_HEX;
}

CdcEncoding
cdc_converter_presumed(const CdcConverter *converter)
{
	if (converter->element)
		return cdc_converter_presumed(converter->element);
	/* who gives the scale says that it is not in the text */
	return reads_numbers(converter) && converter->reading.has_scale &&
		converter->reading.scale > 0 ? CDC_ENCODING_BASE64 : CDC_ENCODING_UNKNOWN;
}

void
cdc_converter_learn(CdcConverter *converter, CdcEncoding encoding)
{
	if (converter->element)
		cdc_converter_learn(converter->element, encoding);
	converter->learned = encoding;
}

/* The first proof among the elements of an array. */
static CdcEncoding
array_proof(const CdcConverter *converter, const CdcToken *value,
			const CdcSchemaField *field)
{
	CdcEncoding proof = CDC_ENCODING_UNKNOWN;
	CdcSchemaField item_field;
	CdcScanner	scanner;
	CdcToken	item;
	bool		first = true;

	if (field)
		cdc_array_item_schema(field, &item_field);
	cdc_scanner_init(&scanner, value->text, value->len);
	if (cdc_scan_peek(&scanner) != '[' || !cdc_scan_enter(&scanner))
		return proof;
	while (proof == CDC_ENCODING_UNKNOWN &&
		   cdc_scan_element(&scanner, first) == 1 &&
		   cdc_scan_value(&scanner, &item))
	{
		proof = cdc_converter_proof(converter->element, &item,
									field ? &item_field : NULL);
		first = false;
	}
	return proof;
}

CdcEncoding
cdc_converter_proof(const CdcConverter *converter, const CdcToken *value,
					const CdcSchemaField *field)
{
	if (converter->element)
		return value->kind == CDC_JSON_ARRAY ?
			array_proof(converter, value, field) : CDC_ENCODING_UNKNOWN;
	if (value->kind != CDC_JSON_STRING ||
		(value->flags & (CDC_JSON_ESCAPED | CDC_JSON_UNAVAILABLE)))
		return CDC_ENCODING_UNKNOWN;
	if (converter->basetype == BYTEAOID)
		return field && (field->logical.kind == CDC_JSON_STRING ||
						 !cdc_token_is(&field->type, "string")) ?
			CDC_ENCODING_UNKNOWN : cdc_bytes_proof(value->text, value->len);
	return field ? CDC_ENCODING_UNKNOWN :
		cdc_decimal_proof(value->text, value->len);
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
