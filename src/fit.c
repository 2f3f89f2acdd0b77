/*-------------------------------------------------------------------------
 *
 * fit.c
 *	  Does the target fit what the events say of themselves?
 *
 * Said where the pipeline is made, and again in each sync that meets a schema
 * to which the target does not fit (any more): nothing is refused, as the values
 * themselves go to quarantine.
 *
 * Only looks at what it is given; any transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "fit.h"

/* "int32", or the logical name where there is one. */
static char *
schema_name(const CdcSchemaField *field)
{
	const CdcToken *name = field->logical.kind == CDC_JSON_STRING ?
		&field->logical : &field->type;

	return pnstrdup(name->text, name->len);
}

void
cdc_fit_check_column(const CdcColumn *column, const CdcSchemaField *field)
{
	if (cdc_converter_fits(column->converter, field) ||
		!cdc_converter_tell_misfit(column->converter))
		return;
	ereport(WARNING,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of type %s cannot take values of %s",
					column->name,
					format_type_with_typemod(column->typid, column->typmod),
					schema_name(field)),
			 errdetail("The events' schema says so of field \"%.*s\". All records with a value there will go to quarantine.",
					   (int) field->name.len, field->name.text),
			 errhint("Change the column's type, or map another field to it with \"columns\".")));
}

static void
tell_zone(const CdcColumn *column, const CdcInferredField *field)
{
	ereport(NOTICE,
			(errmsg("times of field \"%s\" have no zone and are taken as UTC in column \"%s\"",
					field->name, column->name),
			 errhint("If they are of another zone, map the column with \"timezone\"; if they are to stay as they are, give it the type timestamp without time zone.")));
}

void
cdc_fit_check(const CdcTarget *target, const CdcInferred *inferred)
{
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *column = &target->columns[i];
		const CdcInferredField *field;

		if (column->source != CDC_COLUMN_FIELD)
			continue;
		field = cdc_infer_field(inferred, &target->fields[column->index]);
		if (field == NULL)
			continue;
		if (field->schema)
		{
			cdc_fit_check_column(column, field->schema);
			if (cdc_converter_lacks_zone(column->converter, field->schema))
				tell_zone(column, field);
		}
		else if (field->integers && cdc_converter_lacks_zone(column->converter, NULL))
			tell_zone(column, field);
	}
}
