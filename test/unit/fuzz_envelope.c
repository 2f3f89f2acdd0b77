/*-------------------------------------------------------------------------
 *
 * fuzz_envelope.c
 *	  Fuzzing the decoder: the input is a sequence of records, separated by
 *	  bytes 0xFE.  What a decoder says of a record must not depend on the
 *	  records before it (the memo of names, the remembered schema, the
 *	  skeletons), and must agree with the scanner on what is JSON.
 *
 * Skeletons matter for records that are almost alike.  So each record is
 * followed by some that differ from it in a few bytes, and all are decoded
 * with skeletons, after some events of a usual stream, and without.  The length
 * of the input says what records are to be read as.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "relayed.h"
#include "same_change.h"

#define NROW	10
#define NSOURCE	2

static const CdcField row_fields[NROW] = {
	{"id", 2, true}, {"ID", 2, false}, {"CUST_ID", 7, true},
	{"NAME", 4, true}, {"name", 4, true}, {"big", 3, false},
	{"\xC3\xA9\"", 3, true}, {"", 0, false}, {"_id", 3, true}, {"$row", 4, false}
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

static void
require_same_tokens(const CdcToken *a, const CdcToken *b, int n)
{
	require(same_tokens(a, b, n));
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
	int			relayed;

	answer->ok = cdc_decode_value(decoder, text, len, change, &answer->error);
	require(relays_change(decoder, change, NROW, NSOURCE, &relayed));
	memcpy(answer->before, change->before, sizeof(answer->before));
	memcpy(answer->after, change->after, sizeof(answer->after));
	memcpy(answer->source, change->source, sizeof(answer->source));
	answer->key_ok = cdc_decode_key(decoder, text, len, 8, answer->key,
									&key_error);
	require(answer->ok || answer->error.offset <= len);
}

/* A verdict is about bytes: what was thought of them once must stay true. */
static void
check_verdict(const Answer *answer)
{
	const CdcToken *table = &answer->source[0];
	uint8_t		thought = 1;

	if (!answer->ok || answer->change.verdict == NULL)
		return;
	for (uint32_t i = 0; i < table->len; i++)
		thought = (uint8_t) (thought * 31 + table->text[i]);
	thought |= 1;
	require(*answer->change.verdict == 0 ||
			*answer->change.verdict == thought);
	*answer->change.verdict = thought;
}

static void
require_same_answer(const Answer *x, const Answer *y)
{
	const CdcChange *a = &x->change;
	const CdcChange *b = &y->change;

	require(x->ok == y->ok && x->key_ok == y->key_ok);
	if (x->key_ok)
		require(alike_tokens(x->key, y->key, NROW));
	if (!x->ok)
	{
		require(same_error(&x->error, &y->error));
		return;
	}
	require(same_frame(a, b));
	if (a->document || a->wrapped)
	{
		require(alike_tokens(x->before, y->before, NROW));
		require(alike_tokens(x->after, y->after, NROW));
	}
	else
	{
		require_same_tokens(x->before, y->before, NROW);
		require_same_tokens(x->after, y->after, NROW);
	}
	if (a->wrapped)
		require(alike_tokens(x->source, y->source, NSOURCE));
	else
		require_same_tokens(x->source, y->source, NSOURCE);
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

/* The text behind a schema registry's framing, if there is one. */
static bool
is_framed_json(const char *text, size_t len)
{
	CdcDecodeError error;

	return cdc_decode_framing(&text, &len, &error) &&
		(len == 0 || is_json(text, len));
}

static CdcDecoder *
new_decoder(size_t size)
{
	CdcDecoder *decoder = cdc_decoder_create(row_fields, NROW, source_fields,
											 NSOURCE, NULL);

	require(decoder != NULL);
	require(cdc_decoder_read_as(decoder, (CdcReadAs) (size % 4),
								size % 8 < 4 ? NULL : "x."));
	cdc_decoder_watch(decoder, 0, 1);
	return decoder;
}

/* A usual stream: what it teaches the decoder depends on no input. */
static void
warm_up(CdcDecoder *decoder)
{
	static const char *const formats[] = {
		"{\"before\":null,\"after\":{\"id\":%d,\"NAME\":\"a%d\",\"big\":%d},"
		"\"source\":{\"connector\":\"mysql\",\"ts_ms\":5%d,\"snapshot\":\"false\","
		"\"table\":\"t\",\"server_id\":1,\"gtid\":null,\"file\":\"b.000042\","
		"\"pos\":%d},\"transaction\":null,\"op\":\"c\",\"ts_ms\":%d}",
		"{\"before\":{\"id\":%d,\"NAME\":\"a%d\"},\"after\":{\"id\":%d,\"NAME\":\"%d\"},"
		"\"source\":{\"connector\":\"mysql\",\"gtid\":\"u-1:%d\"},\"op\":\"u\","
		"\"ts_ms\":%d}",
		"{\"schema\":{\"type\":\"struct\"},\"payload\":{\"before\":{\"id\":%d},"
		"\"after\":null,\"source\":{\"connector\":\"postgresql\",\"table\":\"t%d\","
		"\"sequence\":\"[\\\"%d\\\",\\\"%d\\\"]\"},\"op\":\"d\",\"ts_ms\":%d,"
		"\"x\":%d}}"
	};
	char		record[512];
	CdcChange	change;
	CdcDecodeError error;

	for (int i = 0; i < 9; i++)
	{
		int			len = snprintf(record, sizeof(record), formats[i % 3],
								   i, i, i + 7, i, i, 100 + i);

		require(cdc_decode_value(decoder, record, (size_t) len, &change,
								 &error));
	}
	require(cdc_decoder_skeleton_hits(decoder) > 0);
}

static uint32_t
next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* Replace n bytes of the record at a place by others; returns its length. */
static size_t
splice(char *text, size_t len, size_t at, size_t n, const char *with,
	   size_t with_len)
{
	if (n > len - at)
		n = len - at;
	memmove(text + at + with_len, text + at + n, len - at - n);
	memcpy(text + at, with, with_len);
	return len - n + with_len;
}

/* Change a record, in a buffer of VARY_MORE bytes more than it. */
#define VARY_MORE	64
static size_t
vary(char *text, size_t len, uint32_t *state)
{
	static const char *const values[] = {
		"null", "true", "12", "-1.5e3", "\"x\"", "\"\\u00e9\\n\"", "{}", "[1]",
		"{\"id\":1,\"id\":2}", "\"__debezium_unavailable_value\"", "\"d\"",
		"\"incremental\"", " 7", "\"\"", "01", "\"\\ud800\""
	};
	size_t		at = len > 0 ? next_random(state) % len : 0;
	char		byte = (char) next_random(state);
	const char *value;
	size_t		end;

	switch (next_random(state) % 8)
	{
		case 0:
			return splice(text, len, at, 1, &byte, 1);
		case 1:
			return at;			/* cut off */
		case 2:
			return splice(text, len, at, 0, " ", 1);
		case 3:
			return splice(text, len, at, 1, "", 0);
		case 4:
			/* the digits from here on become others */
			for (; at < len; at++)
				if (text[at] >= '1' && text[at] < '9')
					text[at]++;
			return len;
		default:
			/* another value after the next colon */
			while (at < len && text[at] != ':')
				at++;
			if (at < len)
				at++;
			for (end = at; end < len && text[end] != ',' && text[end] != '}';)
				end++;
			value = values[next_random(state) % 16];
			return splice(text, len, at, end - at, value, strlen(value));
	}
}

/* Decode what is almost this record with and without skeletons. */
static void
try_variants(CdcDecoder *used, CdcDecoder *plain, const char *text,
			 size_t len)
{
	uint32_t	state = (uint32_t) len * 31;

	for (size_t i = 0; i < len; i++)
		state = state * 33 + (unsigned char) text[i];
	for (int i = 0; i < 10; i++)
	{
		char	   *buffer = malloc(len + 2 * VARY_MORE);
		size_t		n = len;
		char	   *record;
		Answer		answer;
		Answer		other;

		require(buffer != NULL);
		memcpy(buffer, text, len);
		for (int changes = i % 2; changes >= 0; changes--)
			n = vary(buffer, n, &state);
		/* of exactly its length, so that reading beyond it is seen */
		record = malloc(n > 0 ? n : 1);
		require(record != NULL);
		memcpy(record, buffer, n);
		ask(used, record, n, &answer);
		check_verdict(&answer);
		ask(plain, record, n, &other);
		require_same_answer(&answer, &other);
		free(record);
		free(buffer);
	}
}

static void
try_record(CdcDecoder *used, CdcDecoder *plain, size_t size, bool first,
		   const uint8_t *data, size_t len)
{
	char	   *text = malloc(len > 0 ? len : 1);
	Answer		answer;
	Answer		other;

	memcpy(text, data, len);
	ask(used, text, len, &answer);
	require(!answer.ok || is_framed_json(text, len));
	ask(used, text, len, &other);
	require_same_answer(&answer, &other);
	ask(plain, text, len, &other);
	require_same_answer(&answer, &other);
	if (len <= 16384)
		try_variants(used, plain, text, len);
	ask(used, text, len, &answer);
	if (!first)
	{
		CdcDecoder *fresh = new_decoder(size);

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
	size_t		length = size;
	CdcDecoder *used = new_decoder(length);
	CdcDecoder *plain = new_decoder(length);
	const uint8_t *end = data + size;

	cdc_decoder_use_skeletons(plain, false);
	warm_up(used);
	for (int records = 0; records < 16; records++)
	{
		const uint8_t *stop = size > 0 ?
			memchr(data, 0xFE, (size_t) (end - data)) : NULL;

		try_record(used, plain, length, records == 0, data,
				   (size_t) ((stop ? stop : end) - data));
		if (stop == NULL)
			break;
		data = stop + 1;
		size = (size_t) (end - data);
	}
	cdc_decoder_free(plain);
	cdc_decoder_free(used);
	return 0;
}
