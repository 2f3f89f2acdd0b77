/*-------------------------------------------------------------------------
 *
 * sample_row.c
 *	  Which sampled records are rows, and of what their values are.
 *
 * Functions of the bytes of a record; no locks, no SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "sample_row.h"

static int
plain_kind(const CdcToken *value)
{
	int64		n;

	switch (value->kind)
	{
		case CDC_JSON_TRUE:
		case CDC_JSON_FALSE:
			return CDC_SEEN_BOOL;
		case CDC_JSON_NUMBER:
			if (!(value->flags & CDC_JSON_INTEGER))
				return CDC_SEEN_FRACTION;
			return cdc_json_int64(value, &n) ? CDC_SEEN_INTEGER : CDC_SEEN_BIG;
		case CDC_JSON_STRING:
			return CDC_SEEN_STRING;
		case CDC_JSON_OBJECT:
		case CDC_JSON_ARRAY:
			return CDC_SEEN_NESTED;
		default:
			return 0;
	}
}

/* Step into an object that was scanned before. */
static void
open_object(CdcScanner *scanner, const CdcToken *object)
{
	cdc_scanner_init(scanner, object->text, object->len);
	(void) cdc_scan_peek(scanner);
	(void) cdc_scan_enter(scanner);
}

static bool
name_is(const CdcToken *name, const char *word)
{
	return name->len == strlen(word) && memcmp(name->text, word, name->len) == 0;
}

/* The kind of a scalar that an object of extended JSON stands for. */
static int
document_kind(const CdcToken *value)
{
	char		spare[CDC_DOCUMENT_SPARE];
	CdcToken	scalar = cdc_document_scalar(value, spare);
	CdcScanner	scanner;
	CdcToken	name;

	if (value->kind != CDC_JSON_OBJECT || scalar.kind == CDC_JSON_OBJECT)
		return plain_kind(value);
	open_object(&scanner, value);
	if (cdc_scan_member(&scanner, true, &name) <= 0)
		return plain_kind(&scalar);
	if (name_is(&name, "$date"))
		return CDC_SEEN_TIME;
	if (name_is(&name, "$uuid") ||
		(name_is(&name, "$binary") && scalar.text == spare))
		return CDC_SEEN_UUID;
	if (name_is(&name, "$binary"))
		return CDC_SEEN_BYTES;
	if (name_is(&name, "$numberDecimal") || name_is(&name, "$numberDouble"))
		return CDC_SEEN_FRACTION;
	return plain_kind(&scalar);
}

/* The struct of a number whose scale is its own: {"scale":2,"value":"MDk="}. */
static bool
is_variable_scale(const CdcToken *value)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	member;
	int			known = 0;
	int			n = 0;

	open_object(&scanner, value);
	for (; cdc_scan_member(&scanner, n == 0, &name) > 0 &&
		 cdc_scan_value(&scanner, &member); n++)
		if (name_is(&name, "scale") && member.kind == CDC_JSON_NUMBER)
			known |= 1;
		else if (name_is(&name, "value") && member.kind == CDC_JSON_STRING)
			known |= 2;
	return known == 3 && n == 2;
}

int
cdc_sample_kind(const CdcToken *value, const CdcChange *change)
{
	CdcToken	inner;
	bool		set;

	if (change->document)
		return document_kind(value);
	if (change->cells && cdc_cell_read(value, &inner, &set))
		value = &inner;
	if (value->kind == CDC_JSON_OBJECT && is_variable_scale(value))
		return CDC_SEEN_FRACTION;
	return plain_kind(value);
}

static bool
has_member(const CdcToken *object, const CdcToken *wanted)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;

	open_object(&scanner, object);
	for (bool first = true; cdc_scan_member(&scanner, first, &name) > 0 &&
		 cdc_scan_value(&scanner, &value); first = false)
		if (name.len == wanted->len &&
			pg_strncasecmp(name.text, wanted->text, name.len) == 0)
			return true;
	return false;
}

bool
cdc_sample_is_row(const CdcChange *change, const CdcToken *key)
{
	const CdcToken *row = change->has_after ? &change->after_json :
		&change->before_json;
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	int			n = 0;

	if (change->marked)
		return true;
	if (key->kind != CDC_JSON_OBJECT)
		return false;
	open_object(&scanner, key);
	for (; cdc_scan_member(&scanner, n == 0, &name) > 0 &&
		 cdc_scan_value(&scanner, &value); n++)
		if (!has_member(row, &name))
			return false;
	return n > 0;
}

bool
cdc_sample_is_metadata(const char *name, const char *prefix)
{
	if (strcmp(name, "__deleted") == 0)
		return true;
	if (prefix == NULL)
		prefix = "__";
	return prefix[0] != '\0' && strncmp(name, prefix, strlen(prefix)) == 0;
}
