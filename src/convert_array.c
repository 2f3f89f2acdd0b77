/*-------------------------------------------------------------------------
 *
 * convert_array.c
 *	  Converter of arrays, element by element.
 *
 * What the element's converter may do, this one may.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"

#include "convert_internal.h"

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

void
cdc_array_item_schema(const CdcSchemaField *field, CdcSchemaField *item)
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
		cdc_array_item_schema(value->field, &item_field);
	cdc_scanner_init(&scanner, value->token->text, value->token->len);
	if (cdc_scan_peek(&scanner) != '[' || !cdc_scan_enter(&scanner))
		return cdc_convert_unreadable(converter, value);
	while ((more = cdc_scan_element(&scanner, first)) == 1)
	{
		if (!cdc_scan_value(&scanner, &item))
			break;
		item.flags |= value->token->flags & CDC_JSON_MIXED;
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
bool
cdc_convert_array(CdcConverter *converter, const CdcValue *value, Datum *result)
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
