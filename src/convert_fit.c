/*-------------------------------------------------------------------------
 *
 * convert_fit.c
 *	  Can a column ever take what the embedded schema says of its field?
 *
 * The same decisions as in the converters, by the types alone: true where a
 * value may be read, false where each would be an error.
 *
 * Pure functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "convert_internal.h"

/* What JSON a field has, whatever the value. */
typedef enum FieldKind
{
	FIELD_INTEGER,
	FIELD_FLOAT,
	FIELD_BOOLEAN,
	FIELD_STRING,
	FIELD_BYTES,
	FIELD_ARRAY,
	FIELD_NESTED				/* struct, map */
} FieldKind;

static FieldKind
kind_of(const CdcSchemaField *field)
{
	static const struct
	{
		const char *type;
		FieldKind	kind;
	}			kinds[] = {
		{"int8", FIELD_INTEGER},
		{"int16", FIELD_INTEGER},
		{"int32", FIELD_INTEGER},
		{"int64", FIELD_INTEGER},
		{"float", FIELD_FLOAT},
		{"double", FIELD_FLOAT},
		{"float32", FIELD_FLOAT},
		{"float64", FIELD_FLOAT},
		{"boolean", FIELD_BOOLEAN},
		{"string", FIELD_STRING},
		{"bytes", FIELD_BYTES},
		{"array", FIELD_ARRAY},
	};

	for (int i = 0; i < lengthof(kinds); i++)
		if (cdc_token_is(&field->type, kinds[i].type))
			return kinds[i].kind;
	return FIELD_NESTED;
}

static bool
number_fits(CdcSemantic semantic, FieldKind kind)
{
	switch (kind)
	{
		case FIELD_STRING:
			return semantic == CDC_SEM_PLAIN;
		case FIELD_BYTES:
			return semantic == CDC_SEM_DECIMAL || semantic == CDC_SEM_BITS;
		case FIELD_ARRAY:
			return false;
		case FIELD_NESTED:
			return semantic == CDC_SEM_VARIABLE_DECIMAL;
		default:
			return true;
	}
}

/* Strings in ISO 8601, and integers whose unit is, or can be, known. */
static bool
temporal_fits(const CdcConverter *converter, CdcSemantic semantic, FieldKind kind)
{
	bool		is_date = semantic == CDC_SEM_DATE;
	bool		is_time = semantic >= CDC_SEM_TIME_MS && semantic <= CDC_SEM_TIME_NS;
	bool		is_timestamp = semantic >= CDC_SEM_TIMESTAMP_MS &&
		semantic <= CDC_SEM_TIMESTAMP_NS;

	if (kind == FIELD_STRING)
		return semantic != CDC_SEM_JSON && semantic != CDC_SEM_ENUM_SET;
	/* Oracle sends durations as floats that are integers */
	if (kind != FIELD_INTEGER && kind != FIELD_FLOAT)
		return false;
	if (semantic == CDC_SEM_PLAIN || semantic == CDC_SEM_OTHER)
		return converter->reading.unit != NULL;
	switch (converter->basetype)
	{
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return is_date || is_timestamp;
		case TIMEOID:
			return is_time;
		case INTERVALOID:
			return is_time || semantic == CDC_SEM_DURATION_US ||
				semantic == CDC_SEM_DURATION_NS;
		default:
			return false;		/* timetz */
	}
}

static bool
array_fits(const CdcConverter *converter, const CdcSchemaField *field,
		   CdcSemantic semantic, FieldKind kind)
{
	CdcSchemaField item;

	if (kind != FIELD_ARRAY)
		return semantic == CDC_SEM_ENUM_SET;
	if (field->item_type.kind != CDC_JSON_STRING)
		return true;
	cdc_array_item_schema(field, &item);
	return cdc_converter_fits(converter->element, &item);
}

bool
cdc_converter_fits(const CdcConverter *converter, const CdcSchemaField *field)
{
	CdcSemantic semantic = cdc_semantic_of(field);
	FieldKind	kind = kind_of(field);

	if (converter->element)
		return array_fits(converter, field, semantic, kind);
	switch (converter->basetype)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
		case JSONBOID:
			return true;
		case BOOLOID:
			return kind == FIELD_BOOLEAN || kind == FIELD_INTEGER || kind == FIELD_STRING;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case NUMERICOID:
		case CASHOID:
			return number_fits(semantic, kind);
		case FLOAT4OID:
		case FLOAT8OID:
			return kind != FIELD_BOOLEAN && number_fits(semantic, kind);
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
			return temporal_fits(converter, semantic, kind);
		case BYTEAOID:
			return semantic == CDC_SEM_GEOMETRY ||
				(kind == FIELD_BYTES && semantic != CDC_SEM_DECIMAL) ||
				(kind == FIELD_STRING && (semantic == CDC_SEM_PLAIN ||
										  cdc_token_is(&field->logical, "io.debezium.data.Uuid")));
		case BITOID:
		case VARBITOID:
			return kind == FIELD_STRING || kind == FIELD_BYTES || kind == FIELD_BOOLEAN;
		case UUIDOID:
			return kind == FIELD_STRING;
		case POINTOID:
			return kind == FIELD_STRING || semantic == CDC_SEM_GEOMETRY;
		default:
			/* types of extensions know some of these */
			return converter->function != cdc_convert_input ||
				(kind != FIELD_ARRAY && kind != FIELD_NESTED);
	}
}

bool
cdc_converter_tell_misfit(CdcConverter *converter)
{
	bool		is_new = !converter->told_misfit;

	converter->told_misfit = true;
	return is_new;
}

bool
cdc_converter_lacks_zone(const CdcConverter *converter,
						 const CdcSchemaField *field)
{
	CdcSemantic semantic = cdc_semantic_of(field);

	return converter->basetype == TIMESTAMPTZOID && converter->zone == NULL &&
		(field == NULL || semantic == CDC_SEM_DATE || semantic == CDC_SEM_ISO_TIMESTAMP ||
		 semantic == CDC_SEM_ISO_DATE ||
		 (semantic >= CDC_SEM_TIMESTAMP_MS && semantic <= CDC_SEM_TIMESTAMP_NS));
}
