/*-------------------------------------------------------------------------
 *
 * source_schema.c
 *	  The columns of a source's table: lists of them, and how two lists differ.
 *
 * A type is the text of the type that a target made by us would get: two
 * types of the source that become one here are no change.  A default is kept
 * as text of that type.
 *
 * Reads nothing but types; runs in the caller's transaction under
 * cdc_pin_settings(), as a default may go through an input function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "infer.h"
#include "source_schema.h"
#include "value.h"

typedef struct DefaultCall
{
	const CdcSchemaField *field;
	CdcConnector connector;
	const char *type;
	char	   *text;
} DefaultCall;

/* Convert a default as a value of the column is converted, and print it. */
static bool
convert_default(void *arg)
{
	DefaultCall *call = arg;
	CdcConvertError error;
	Oid			typid;
	int32		typmod;
	Oid			output;
	bool		varlena;
	bool		isnull;
	Datum		value;

	parseTypeString(call->type, &typid, &typmod, false);
	if (!cdc_convert(cdc_converter_create(typid, typmod, NULL, false),
					 &call->field->default_value, call->field, call->connector,
					 &value, &isnull, &error))
		return false;
	if (!isnull)
	{
		getTypeOutputInfo(typid, &output, &varlena);
		call->text = OidOutputFunctionCall(output, value);
	}
	return true;
}

/* The default of a field as text of its type; NULL if it has none that we read. */
static char *
default_text(const CdcSchemaField *field, CdcConnector connector, const char *type)
{
	DefaultCall call = {field, connector, type, NULL};
	CdcConvertError error;

	if (field->default_value.kind == CDC_JSON_MISSING ||
		!cdc_try(convert_default, &call, &error))
		return NULL;
	return call.text;
}

List *
cdc_source_fields_of(const CdcSchema *schema, CdcConnector connector)
{
	List	   *fields = NIL;

	for (int i = 0; i < schema->nfields; i++)
	{
		const CdcSchemaField *from = &schema->fields[i];
		CdcSourceField *field = palloc0(sizeof(CdcSourceField));
		bool		guessed = false;

		field->name = pnstrdup(from->name.text, from->name.len);
		field->type = pstrdup(cdc_infer_type(from, connector, &guessed));
		field->optional = from->optional;
		field->default_value = default_text(from, connector, field->type);
		fields = lappend(fields, field);
	}
	return fields;
}

List *
cdc_source_fields_named(const CdcToken *row)
{
	List	   *fields = NIL;
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;

	cdc_scanner_init(&scanner, row->text, row->len);
	if (cdc_scan_peek(&scanner) != '{' || !cdc_scan_enter(&scanner))
		return NIL;
	for (bool first = true; cdc_scan_member(&scanner, first, &name) == 1; first = false)
	{
		char	   *text = palloc(name.len + 1);
		int			len = cdc_json_unescape(&name, text);
		CdcSourceField *field;

		if (!cdc_scan_value(&scanner, &value))
			break;
		if (len < 0)
			continue;			/* no column can be called so */
		text[len] = '\0';
		field = palloc0(sizeof(CdcSourceField));
		field->name = text;
		field->optional = true;
		fields = lappend(fields, field);
	}
	return fields;
}

List *
cdc_source_fields_names(List *fields)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, fields)
	{
		CdcSourceField *field = palloc0(sizeof(CdcSourceField));

		field->name = ((CdcSourceField *) lfirst(lc))->name;
		field->optional = true;
		names = lappend(names, field);
	}
	return names;
}

static void
print_member(StringInfo buf, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(buf, ", \"%s\": ", name);
	escape_json(buf, value);
}

char *
cdc_source_fields_print(List *fields)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach(lc, fields)
	{
		const CdcSourceField *field = lfirst(lc);

		appendStringInfo(&buf, "%s{\"optional\": %s", buf.len > 1 ? ", " : "",
						 field->optional ? "true" : "false");
		print_member(&buf, "name", field->name);
		print_member(&buf, "type", field->type);
		print_member(&buf, "default", field->default_value);
		appendStringInfoChar(&buf, '}');
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

/* Take a member of the object that is being read. */
static void
read_member(CdcSourceField *field, const JsonbValue *name, const JsonbValue *value)
{
	char	   *member = pnstrdup(name->val.string.val, name->val.string.len);

	if (value->type == jbvBool && strcmp(member, "optional") == 0)
		field->optional = value->val.boolean;
	if (value->type != jbvString)
		return;
	if (strcmp(member, "name") == 0)
		field->name = pnstrdup(value->val.string.val, value->val.string.len);
	else if (strcmp(member, "type") == 0)
		field->type = pnstrdup(value->val.string.val, value->val.string.len);
	else if (strcmp(member, "default") == 0)
		field->default_value = pnstrdup(value->val.string.val, value->val.string.len);
}

List *
cdc_source_fields_read(Jsonb *fields)
{
	JsonbIterator *it = JsonbIteratorInit(&fields->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	name = {0};
	CdcSourceField *field = NULL;
	List	   *result = NIL;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_OBJECT)
			field = palloc0(sizeof(CdcSourceField));
		else if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE)
			read_member(field, &name, &value);
		else if (token == WJB_END_OBJECT)
			result = lappend(result, field);
	}
	return result;
}

CdcSourceField *
cdc_source_field(List *fields, const char *name)
{
	ListCell   *lc;

	foreach(lc, fields)
		if (strcmp(((CdcSourceField *) lfirst(lc))->name, name) == 0)
			return lfirst(lc);
	return NULL;
}

static List *
add_change(List *changes, CdcSourceChangeKind kind, const CdcSourceField *before,
		   const CdcSourceField *after)
{
	CdcSourceChange *change = palloc(sizeof(CdcSourceChange));

	change->kind = kind;
	change->before = before;
	change->after = after;
	return lappend(changes, change);
}

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* How a field that is in both lists has changed. */
static List *
compare_field(List *changes, const CdcSourceField *before, const CdcSourceField *after)
{
	if (before->type == NULL || after->type == NULL)
		return changes;
	if (strcmp(before->type, after->type) != 0)
		changes = add_change(changes, CDC_COLUMN_TYPE, before, after);
	if (before->optional != after->optional)
		changes = add_change(changes, after->optional ? CDC_COLUMN_NULLABLE :
							 CDC_COLUMN_NOT_NULL, before, after);
	if (!same_text(before->default_value, after->default_value) &&
		strcmp(before->type, after->type) == 0)
		changes = add_change(changes, CDC_COLUMN_DEFAULT, before, after);
	return changes;
}

List *
cdc_source_fields_compare(List *before, List *after)
{
	List	   *changes = NIL;
	bool		names_only = after != NIL &&
	((CdcSourceField *) linitial(after))->type == NULL;
	ListCell   *lc;

	foreach(lc, after)
	{
		const CdcSourceField *now = lfirst(lc);
		const CdcSourceField *then = cdc_source_field(before, now->name);

		changes = then ? compare_field(changes, then, now) :
			add_change(changes, CDC_COLUMN_ADDED, NULL, now);
	}
	foreach(lc, before)
	{
		const CdcSourceField *then = lfirst(lc);

		if (!names_only && cdc_source_field(after, then->name) == NULL)
			changes = add_change(changes, CDC_COLUMN_DROPPED, then, NULL);
	}
	return changes;
}

const char *
cdc_source_change_kind(const CdcSourceChange *change)
{
	switch (change->kind)
	{
		case CDC_COLUMN_ADDED:
			return "column added";
		case CDC_COLUMN_DROPPED:
			return "column dropped";
		case CDC_COLUMN_TYPE:
			return "type changed";
		case CDC_COLUMN_NULLABLE:
			return "made nullable";
		case CDC_COLUMN_NOT_NULL:
			return "made not null";
		case CDC_COLUMN_DEFAULT:
			return "default changed";
	}
	return NULL;				/* keep compiler quiet */
}
