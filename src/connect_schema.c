/*-------------------------------------------------------------------------
 *
 * connect_schema.c
 *	  Kafka Connect's description of a row, as embedded in records.
 *
 * Pure C without PostgreSQL.  A schema is parsed when it differs from the one
 * before, not per record, so this walks the text level by level and does not
 * mind scanning nested parts more than once.
 *
 * A parsed schema keeps a copy of its text, and behind it room for the strings
 * that had escapes.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envelope.h"

/* Where to put the strings that had escapes. */
typedef struct SchemaParse
{
	CdcSchema  *schema;
	char	   *spare;			/* next free byte behind the text */
	CdcDecodeError *error;
} SchemaParse;

static bool
schema_error(SchemaParse *parse, const char *where, const char *message)
{
	(void) snprintf(parse->error->message, sizeof(parse->error->message),
					"%s", message);
	parse->error->offset = where ? (uint32_t) (where - parse->schema->text) : 0;
	return false;
}

/* Begin to walk through an object or array that was scanned before. */
static void
open_container(CdcScanner *scanner, const CdcToken *container)
{
	cdc_scanner_init(scanner, container->text, container->len);
	(void) cdc_scan_enter(scanner);
}

/* The next member of such an object; false behind the last one. */
static bool
next_member(CdcScanner *scanner, bool first, CdcToken *name, CdcToken *value)
{
	return cdc_scan_member(scanner, first, name) > 0 &&
		cdc_scan_value(scanner, value);
}

/*
 * Replace a string by what its escapes stand for.  All such strings are parts
 * of the text that do not overlap, and none grows, so the spare room suffices.
 */
static bool
plain_string(SchemaParse *parse, CdcToken *token)
{
	int			len;

	if (token->kind != CDC_JSON_STRING || !(token->flags & CDC_JSON_ESCAPED))
		return true;
	len = cdc_json_unescape(token, parse->spare);
	if (len < 0)
		return schema_error(parse, token->text,
							"string in the schema holds a character that text cannot hold");
	token->text = parse->spare;
	token->len = (uint32_t) len;
	token->flags &= (uint8_t) ~CDC_JSON_ESCAPED;
	parse->spare += len;
	return true;
}

static bool
token_is(const CdcToken *token, const char *word)
{
	return token->kind == CDC_JSON_STRING && token->len == strlen(word) &&
		memcmp(token->text, word, token->len) == 0;
}

/* A member's name, in which escapes are possible though nobody writes them. */
static bool
name_is(const CdcToken *name, const char *word)
{
	char		buf[256];
	CdcToken	plain = *name;
	int			len;

	if (!(name->flags & CDC_JSON_ESCAPED))
		return token_is(name, word);
	if (name->len > sizeof(buf))
		return false;
	len = cdc_json_unescape(name, buf);
	if (len < 0)
		return false;
	plain.text = buf;
	plain.len = (uint32_t) len;
	return token_is(&plain, word);
}

/* The last member of this name; MISSING if there is none or it is null. */
static CdcToken
find_member(const CdcToken *object, const char *word)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	CdcToken	found = {0};

	if (object->kind != CDC_JSON_OBJECT)
		return found;
	open_container(&scanner, object);
	for (bool first = true; next_member(&scanner, first, &name, &value);
		 first = false)
		if (name_is(&name, word))
			found = value;
	if (found.kind == CDC_JSON_NULL)
		memset(&found, 0, sizeof(found));
	return found;
}

/* An int32 that is written as a number or, in parameters, as a string. */
static bool
int_value(const CdcToken *token, int32_t *result)
{
	CdcToken	digits = *token;
	int64_t		value;

	if (token->kind == CDC_JSON_STRING)
	{
		CdcScanner	scanner;

		cdc_scanner_init(&scanner, token->text, token->len);
		if (!cdc_scan_document(&scanner, &digits))
			return false;
	}
	if (!cdc_json_int64(&digits, &value) || value < INT32_MIN ||
		value > INT32_MAX)
		return false;
	*result = (int32_t) value;
	return true;
}

/* Take the string member of an object, escapes undone. */
static bool
take_string(SchemaParse *parse, const CdcToken *object, const char *word,
			CdcToken *result)
{
	*result = find_member(object, word);
	if (result->kind != CDC_JSON_MISSING && result->kind != CDC_JSON_STRING)
		return schema_error(parse, result->text,
							"\"type\", \"name\", \"field\" or a parameter of the schema is not a string");
	return plain_string(parse, result);
}

static bool
parse_parameters(SchemaParse *parse, const CdcToken *object,
				 CdcSchemaField *field)
{
	CdcToken	parameters = find_member(object, "parameters");
	CdcToken	value = find_member(&parameters, "scale");

	field->has_scale = int_value(&value, &field->scale);
	value = find_member(&parameters, "connect.decimal.precision");
	(void) int_value(&value, &field->precision);
	value = find_member(&parameters, "length");
	if (!int_value(&value, &field->length))
	{
		value = find_member(&parameters, "__debezium.source.column.length");
		(void) int_value(&value, &field->length);
	}
	return take_string(parse, &parameters, "__debezium.source.column.type",
					   &field->source_type) &&
		take_string(parse, &parameters, "allowed", &field->allowed);
}

static bool
parse_items(SchemaParse *parse, const CdcToken *object, CdcSchemaField *field)
{
	CdcToken	items = find_member(object, "items");
	CdcToken	parameters = find_member(&items, "parameters");
	CdcToken	scale = find_member(&parameters, "scale");

	field->item_has_scale = int_value(&scale, &field->item_scale);
	return take_string(parse, &items, "type", &field->item_type) &&
		take_string(parse, &items, "name", &field->item_logical);
}

/* The "fields" of a struct; MISSING for anything else. */
static CdcToken
struct_fields(const CdcToken *object)
{
	CdcToken	none = {0};
	CdcToken	type = find_member(object, "type");
	CdcToken	fields = find_member(object, "fields");

	return name_is(&type, "struct") && type.kind == CDC_JSON_STRING &&
		fields.kind == CDC_JSON_ARRAY ? fields : none;
}

/*
 * The schema of a column's value: the field's own, or, of a struct of "value" and
 * "set" alone (see cells.c), that of its value.
 */
static CdcToken
value_schema(const CdcToken *object)
{
	CdcToken	fields = struct_fields(object);
	CdcToken	found = *object;
	CdcToken	element;
	CdcScanner	scanner;
	int			known = 0;
	int			n = 0;

	if (fields.kind != CDC_JSON_ARRAY)
		return *object;
	open_container(&scanner, &fields);
	for (; cdc_scan_element(&scanner, n == 0) > 0 && cdc_scan_value(&scanner, &element); n++)
	{
		CdcToken	name = find_member(&element, "field");

		if (token_is(&name, "value"))
		{
			found = element;
			known |= 1;
		}
		else if (token_is(&name, "set"))
			known |= 2;
	}
	return known == 3 && n == 2 ? found : *object;
}

/* One element of "fields". */
static bool
parse_field(SchemaParse *parse, const CdcToken *object, CdcSchemaField *field)
{
	CdcToken	optional;
	CdcToken	value;

	if (object->kind != CDC_JSON_OBJECT)
		return schema_error(parse, object->text,
							"field of the schema is not an object");
	value = value_schema(object);
	optional = find_member(&value, "optional");
	field->optional = optional.kind == CDC_JSON_TRUE;
	field->default_value = find_member(&value, "default");
	if (!take_string(parse, object, "field", &field->name) ||
		!take_string(parse, &value, "type", &field->type) ||
		!take_string(parse, &value, "name", &field->logical) ||
		!parse_parameters(parse, &value, field) ||
		!parse_items(parse, &value, field))
		return false;
	if (field->name.kind != CDC_JSON_STRING ||
		field->type.kind != CDC_JSON_STRING)
		return schema_error(parse, object->text,
							"field of the schema has no \"field\" or no \"type\"");
	return true;
}

/* Elements of an array that was scanned before. */
static int
count_elements(const CdcToken *array)
{
	CdcScanner	scanner;
	CdcToken	element;
	int			n = 0;

	open_container(&scanner, array);
	while (cdc_scan_element(&scanner, n == 0) > 0 &&
		   cdc_scan_value(&scanner, &element))
		n++;
	return n;
}

static bool
parse_fields(SchemaParse *parse, const CdcToken *fields)
{
	CdcSchema  *schema = parse->schema;
	int			n = count_elements(fields);
	CdcScanner	scanner;

	schema->fields = calloc((size_t) n + 1, sizeof(CdcSchemaField));
	if (schema->fields == NULL)
		return schema_error(parse, NULL, "out of memory");
	open_container(&scanner, fields);
	for (; schema->nfields < n; schema->nfields++)
	{
		CdcToken	element;

		if (cdc_scan_element(&scanner, schema->nfields == 0) <= 0 ||
			!cdc_scan_value(&scanner, &element))
			break;
		if (!parse_field(parse, &element, &schema->fields[schema->nfields]))
			return false;
	}
	return true;
}

/*
 * The fields of the row that a schema describes: of "after", if the schema
 * is that of an envelope (it has an "op", or in a CloudEvent a "before", too), else
 * its own.
 */
static CdcToken
row_fields(const CdcToken *root)
{
	CdcToken	fields = struct_fields(root);
	CdcToken	after = {0};
	CdcToken	element;
	bool		has_other = false;
	CdcScanner	scanner;

	if (fields.kind != CDC_JSON_ARRAY)
		return fields;
	open_container(&scanner, &fields);
	for (bool first = true; cdc_scan_element(&scanner, first) > 0 &&
		 cdc_scan_value(&scanner, &element); first = false)
	{
		CdcToken	name = find_member(&element, "field");

		if (name.kind != CDC_JSON_STRING)
			continue;
		if (name_is(&name, "after"))
			after = struct_fields(&element);
		else if (name_is(&name, "op") || name_is(&name, "before"))
			has_other = true;
	}
	return has_other && after.kind == CDC_JSON_ARRAY ? after : fields;
}

static bool
parse_schema(SchemaParse *parse)
{
	CdcSchema  *schema = parse->schema;
	CdcScanner	scanner;
	CdcToken	root;
	CdcToken	fields;

	cdc_scanner_init(&scanner, schema->text, schema->len);
	if (!cdc_scan_document(&scanner, &root))
		return schema_error(parse, scanner.pos, scanner.error);
	fields = row_fields(&root);
	if (fields.kind != CDC_JSON_ARRAY)
		return schema_error(parse, root.text,
							"schema is not that of a struct");
	return parse_fields(parse, &fields);
}

CdcSchema *
cdc_schema_parse(const char *text, size_t len, CdcDecodeError *error)
{
	CdcSchema  *schema = calloc(1, sizeof(CdcSchema));
	SchemaParse parse = {schema, NULL, error};

	if (schema == NULL || len > INT32_MAX ||
		(schema->text = malloc(2 * len + 1)) == NULL)
	{
		free(schema);
		(void) snprintf(error->message, sizeof(error->message),
						"out of memory");
		error->offset = 0;
		return NULL;
	}
	if (len > 0)
		memcpy(schema->text, text, len);
	schema->len = (uint32_t) len;
	parse.spare = schema->text + len;
	if (parse_schema(&parse))
		return schema;
	cdc_schema_free(schema);
	return NULL;
}

void
cdc_schema_free(CdcSchema *schema)
{
	if (schema == NULL)
		return;
	free(schema->fields);
	free(schema->text);
	free(schema);
}
