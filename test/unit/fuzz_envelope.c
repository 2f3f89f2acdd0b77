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

/* The position and its text form must be one to one. */
static void
check_position(const CdcPosition *position)
{
	char		text[CDC_POSITION_TEXT];
	char		again[CDC_POSITION_TEXT];
	CdcPosition back;
	int			cmp;

	cdc_position_print(position, text);
	require(cdc_position_parse(text, &back));
	cdc_position_print(&back, again);
	require(strcmp(text, again) == 0);
	require(cdc_position_compare(&back, position, &cmp) ==
			(position->kind != CDC_POSITION_NONE));
	require(position->kind == CDC_POSITION_NONE || cmp == 0);
}

/* All that a decoder says of a record, read as a value and as a key. */
typedef struct Answer
{
	bool		ok;
	bool		key_ok;
	CdcChange	change;
	CdcDecodeError error;
	CdcToken	before[NROW];
	CdcToken	after[NROW];
	CdcToken	source[NSOURCE];
	CdcToken	key[NROW];
} Answer;

static void
ask(CdcDecoder *decoder, const char *text, size_t len, Answer *answer)
{
	CdcDecodeError key_error;
	CdcChange  *change = &answer->change;

	answer->ok = cdc_decode_value(decoder, text, len, change, &answer->error);
	memcpy(answer->before, change->before, sizeof(answer->before));
	memcpy(answer->after, change->after, sizeof(answer->after));
	memcpy(answer->source, change->source, sizeof(answer->source));
	answer->key_ok = cdc_decode_key(decoder, text, len, 2, answer->key,
									&key_error);
	require(answer->ok || answer->error.offset <= len);
}

static void
require_same_answer(const Answer *x, const Answer *y)
{
	const CdcChange *a = &x->change;
	const CdcChange *b = &y->change;

	require(x->ok == y->ok && x->key_ok == y->key_ok);
	if (x->key_ok)
		require_same_tokens(x->key, y->key, NROW);
	if (!x->ok)
	{
		require(strcmp(x->error.message, y->error.message) == 0 &&
				x->error.offset == y->error.offset);
		return;
	}
	require(a->shape == b->shape && a->op == b->op &&
			a->has_before == b->has_before && a->has_after == b->has_after &&
			a->has_ts_ms == b->has_ts_ms && a->ts_ms == b->ts_ms &&
			a->has_source_ts_ms == b->has_source_ts_ms &&
			a->source_ts_ms == b->source_ts_ms &&
			a->snapshot == b->snapshot && a->incremental == b->incremental &&
			a->schema == b->schema && a->schema_len == b->schema_len);
	require_same_tokens(x->before, y->before, NROW);
	require_same_tokens(x->after, y->after, NROW);
	require_same_tokens(x->source, y->source, NSOURCE);
	require(same_token(&a->connector, &b->connector) &&
			same_token(&a->before_json, &b->before_json) &&
			same_token(&a->after_json, &b->after_json) &&
			same_token(&a->source_json, &b->source_json) &&
			same_token(&a->transaction_json, &b->transaction_json));
	require(a->position.kind == b->position.kind);
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
try_record(CdcDecoder *used, bool first, const uint8_t *data, size_t len)
{
	char	   *text = malloc(len > 0 ? len : 1);
	Answer		answer;
	Answer		other;

	memcpy(text, data, len);
	ask(used, text, len, &answer);
	require(!(answer.ok || answer.key_ok) || is_json(text, len));
	ask(used, text, len, &other);
	require_same_answer(&answer, &other);
	if (!first)
	{
		CdcDecoder *fresh = new_decoder();

		ask(fresh, text, len, &other);
		require_same_answer(&answer, &other);
		cdc_decoder_free(fresh);
	}
	if (answer.ok)
		check_position(&answer.change.position);
	if (answer.ok && answer.change.schema)
		try_schema(answer.change.schema, answer.change.schema_len);
	try_schema(text, len);
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

		try_record(used, records == 0, data,
				   (size_t) ((stop ? stop : end) - data));
		if (stop == NULL)
			break;
		data = stop + 1;
		size = (size_t) (end - data);
	}
	cdc_decoder_free(used);
	return 0;
}
