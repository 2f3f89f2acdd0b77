/*-------------------------------------------------------------------------
 *
 * fuzz_envelope.c
 *	  Fuzzing the decoder: the input is a sequence of records, separated by
 *	  bytes 0xFE.  What a decoder says of a record must not depend on the
 *	  records before it (the memo of names, the remembered schema), and must
 *	  agree with the scanner on what is JSON.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "envelope.h"

#define NROW	8
#define NSOURCE	2

static const CdcField row_fields[NROW] = {
	{"id", 2, true}, {"ID", 2, false}, {"CUST_ID", 7, true},
	{"NAME", 4, true}, {"name", 4, true}, {"big", 3, false},
	{"\xC3\xA9\"", 3, true}, {"", 0, false}
};
static const CdcField source_fields[NSOURCE] = {
	{"table", 5, true}, {"gtid", 4, true}
};

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool condition)
{
	if (!condition)
		abort();
}

static bool
same_token(const CdcToken *a, const CdcToken *b)
{
	return a->text == b->text && a->len == b->len && a->kind == b->kind &&
		a->flags == b->flags;
}

static void
require_same_tokens(const CdcToken *a, const CdcToken *b, int n)
{
	for (int i = 0; i < n; i++)
		require(same_token(&a[i], &b[i]));
}

static void
require_same_change(const CdcChange *a, const CdcChange *b)
{
	char		text_a[CDC_POSITION_TEXT];
	char		text_b[CDC_POSITION_TEXT];
	CdcPosition back;
	int			cmp;

	require(a->shape == b->shape && a->op == b->op &&
			a->has_before == b->has_before && a->has_after == b->has_after &&
			a->has_ts_ms == b->has_ts_ms && a->ts_ms == b->ts_ms &&
			a->has_source_ts_ms == b->has_source_ts_ms &&
			a->source_ts_ms == b->source_ts_ms &&
			a->snapshot == b->snapshot && a->incremental == b->incremental &&
			a->schema == b->schema && a->schema_len == b->schema_len);
	require_same_tokens(a->before, b->before, NROW);
	require_same_tokens(a->after, b->after, NROW);
	require_same_tokens(a->source, b->source, NSOURCE);
	require(same_token(&a->connector, &b->connector) &&
			same_token(&a->before_json, &b->before_json) &&
			same_token(&a->after_json, &b->after_json) &&
			same_token(&a->source_json, &b->source_json) &&
			same_token(&a->transaction_json, &b->transaction_json));

	cdc_position_print(&a->position, text_a);
	require(cdc_position_parse(text_a, &back));
	cdc_position_print(&back, text_b);
	require(strcmp(text_a, text_b) == 0);
	require(cdc_position_compare(&back, &b->position, &cmp) ==
			(a->position.kind != CDC_POSITION_NONE));
	require(a->position.kind == CDC_POSITION_NONE || cmp == 0);
}

static bool
is_json(const char *text, size_t len)
{
	CdcScanner	scanner;
	CdcToken	token;

	cdc_scanner_init(&scanner, text, len);
	return cdc_scan_document(&scanner, &token);
}

static void
try_schema(const char *text, size_t len)
{
	CdcDecodeError error;
	CdcSchema  *schema = cdc_schema_parse(text, len, &error);

	if (schema == NULL)
		return;
	for (int i = 0; i < schema->nfields; i++)
	{
		const CdcSchemaField *field = &schema->fields[i];
		volatile char sink;

		require(field->name.kind == CDC_JSON_STRING &&
				field->type.kind == CDC_JSON_STRING);
		for (uint32_t j = 0; j < field->name.len; j++)
			sink = field->name.text[j];
		for (uint32_t j = 0; j < field->default_value.len; j++)
			sink = field->default_value.text[j];
		(void) sink;
	}
	cdc_schema_free(schema);
}

static CdcDecoder *
new_decoder(void)
{
	CdcDecoder *decoder = cdc_decoder_create(row_fields, NROW, source_fields,
											 NSOURCE, NULL);

	require(decoder != NULL);
	return decoder;
}

static void
try_record(CdcDecoder *used, const uint8_t *data, size_t len)
{
	char	   *text = malloc(len > 0 ? len : 1);
	CdcDecoder *fresh = new_decoder();
	CdcChange	a;
	CdcChange	b;
	CdcDecodeError error_a;
	CdcDecodeError error_b;
	CdcToken	key_a[NROW];
	CdcToken	key_b[NROW];
	bool		ok;

	memcpy(text, data, len);
	ok = cdc_decode_value(used, text, len, &a, &error_a);
	require(ok == cdc_decode_value(fresh, text, len, &b, &error_b));
	require(!ok || is_json(text, len));
	if (ok)
		require_same_change(&a, &b);
	else
		require(strcmp(error_a.message, error_b.message) == 0 &&
				error_a.offset == error_b.offset && error_a.offset <= len);
	if (ok && a.schema)
		try_schema(a.schema, a.schema_len);
	try_schema(text, len);

	ok = cdc_decode_key(used, text, len, 2, key_a, &error_a);
	require(ok == cdc_decode_key(fresh, text, len, 2, key_b, &error_b));
	require(!ok || is_json(text, len));
	require_same_tokens(key_a, key_b, NROW);
	cdc_decoder_free(fresh);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CdcDecoder *used = new_decoder();
	const uint8_t *end = data + size;

	for (int records = 0; records < 16; records++)
	{
		const uint8_t *stop = size > 0 ?
			memchr(data, 0xFE, (size_t) (end - data)) : NULL;

		try_record(used, data, (size_t) ((stop ? stop : end) - data));
		if (stop == NULL)
			break;
		data = stop + 1;
		size = (size_t) (end - data);
	}
	cdc_decoder_free(used);
	return 0;
}
