/*-------------------------------------------------------------------------
 *
 * cells.c
 *	  Row images whose values are cells: {"value":..,"set":..}.
 *
 * Pure C without PostgreSQL.  YugabyteDB's connector writes a column as an object
 * that has its value, and says by "set" whether the event tells it; a column that
 * it leaves out is null, while one that is NULL is {"value":null,"set":true}.  So
 * null means what a missing member means elsewhere.  The record's key is written in
 * the same way.
 *
 * All columns of an image are cells or none: the first one that is not null
 * tells.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "decoder.h"

bool
cdc_cell_read(const CdcToken *object, CdcToken *value, bool *set)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	member;
	int			known = 0;
	int			n = 0;

	if (object->kind != CDC_JSON_OBJECT)
		return false;
	cdc_scanner_init(&scanner, object->text, object->len);
	if (cdc_scan_peek(&scanner) != '{' || !cdc_scan_enter(&scanner))
		return false;
	*set = true;
	for (; cdc_scan_member(&scanner, n == 0, &name) > 0 &&
		 cdc_scan_value(&scanner, &member); n++)
		if (cdc_token_says(&name, "value"))
		{
			*value = member;
			known |= 1;
		}
		else if (cdc_token_says(&name, "set") &&
				 (member.kind == CDC_JSON_TRUE || member.kind == CDC_JSON_FALSE))
		{
			*set = member.kind == CDC_JSON_TRUE;
			known |= 2;
		}
	return known == 3 && n == 2;
}

static bool
is_cell(const CdcToken *object)
{
	CdcToken	value;
	bool		set;

	return cdc_cell_read(object, &value, &set);
}

/* Is the object's first member that is not null a cell? */
static bool
begins_with_cell(const CdcToken *object)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;

	cdc_scanner_init(&scanner, object->text, object->len);
	(void) cdc_scan_peek(&scanner);
	(void) cdc_scan_enter(&scanner);
	for (bool first = true; cdc_scan_member(&scanner, first, &name) > 0 &&
		 cdc_scan_value(&scanner, &value); first = false)
		if (value.kind != CDC_JSON_NULL)
			return is_cell(&value);
	return false;
}

/* Are the values of the image's columns cells?  Who wants none looks at them all. */
static bool
has_cells(const CdcDecoder *decoder, const CdcImage *image)
{
	if (image->whole.kind != CDC_JSON_OBJECT)
		return false;
	if (decoder->nrow == 0)
		return begins_with_cell(&image->whole);
	for (int i = 0; i < decoder->nrow; i++)
	{
		const CdcToken *token = &image->tokens[i];

		if (i == decoder->row_set.whole || !cdc_is_present(token) ||
			token->kind == CDC_JSON_NULL)
			continue;
		return token->kind == CDC_JSON_OBJECT && is_cell(token);
	}
	return false;
}

bool
cdc_has_cells(const CdcDecoder *decoder)
{
	return has_cells(decoder, &decoder->after) || has_cells(decoder, &decoder->before);
}

/* Take the values out of their cells; false if one of them is none. */
static bool
open_cells(const CdcDecoder *decoder, const CdcToken *cells, CdcToken *values,
		   int *nmissing)
{
	for (int i = 0; i < decoder->nrow; i++)
	{
		bool		set = true;

		values[i] = cells[i];
		if (i == decoder->row_set.whole || !cdc_is_present(&cells[i]))
			continue;
		if (cells[i].kind != CDC_JSON_NULL && !cdc_cell_read(&cells[i], &values[i], &set))
			return false;
		if (cells[i].kind == CDC_JSON_NULL || !set)
		{
			memset(&values[i], 0, sizeof(CdcToken));
			(*nmissing)++;
		}
		else if (cdc_placeholder_match(decoder->placeholder, &values[i]))
			values[i].flags |= CDC_JSON_UNAVAILABLE;
	}
	return true;
}

bool
cdc_take_cells(CdcDecoder *decoder, const char *start, CdcChange *change,
			   CdcDecodeError *error)
{
	int			nmissing = 0;

	if (!cdc_take_image(&decoder->before, "before", start, &change->has_before,
						&change->before_json, error) ||
		!cdc_take_image(&decoder->after, "after", start, &change->has_after,
						&change->after_json, error))
		return false;
	change->cells = true;
	change->before = decoder->before_document.image.tokens;
	change->after = decoder->after_document.image.tokens;
	if (!open_cells(decoder, decoder->before.tokens,
					decoder->before_document.image.tokens, &nmissing))
		return cdc_decode_error(error, (size_t) (decoder->before.whole.text - start),
								"some columns of \"before\" are objects of \"value\" and \"set\", and others are not");
	nmissing = 0;
	if (!open_cells(decoder, decoder->after.tokens,
					decoder->after_document.image.tokens, &nmissing))
		return cdc_decode_error(error, (size_t) (decoder->after.whole.text - start),
								"some columns of \"after\" are objects of \"value\" and \"set\", and others are not");
	change->partial = change->op == 'u' && nmissing > 0;
	return true;
}

void
cdc_open_key_cells(const CdcDecoder *decoder, CdcToken *fields)
{
	for (int i = 0; i < decoder->nrow; i++)
	{
		CdcToken	value;
		bool		set;

		if (fields[i].kind == CDC_JSON_OBJECT && cdc_cell_read(&fields[i], &value, &set))
			fields[i] = value;
	}
}
