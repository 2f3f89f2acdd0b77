/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  Debezium's envelope -> a change: operation, row images, source position,
 *	  key.
 *
 * Pure C without PostgreSQL.  A record is read once, from left to right, and
 * what it is shows only at its end: "op" may come last, "payload" may turn out
 * to be a column.  So the members of the outer object, and of an object in
 * its "payload", are noted as they come, row images are taken apart on the
 * way, and classify() then looks at what was there.
 *
 * As in jsonb, the last one of several members of a name counts.
 *
 * Memory is taken when a decoder is made, and when the embedded schema is a
 * longer one than before, to keep a copy: the same schema precedes every
 * record of a topic, and comparing is much cheaper than scanning.  Most
 * records are not scanned at all but for a few values, see skeleton.c: what
 * scan_envelope() leaves behind is then restored, and classify() sees no
 * difference.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "fields.h"
#include "placeholder.h"
#include "position.h"
#include "skeleton.h"

/* Longest embedded schema that is remembered. */
#define SCHEMA_KEEP_MAX	(1024 * 1024)

/* Members whose names and order are remembered. */
#define ROW_MEMO_SLOTS	256
#define SMALL_MEMO_SLOTS 32

/* Members of the envelope, or of the outer object, that mean something. */
enum
{
	ENV_BEFORE,
	ENV_AFTER,
	ENV_SOURCE,
	ENV_OP,
	ENV_TRANSACTION,
	ENV_TS_MS,
	ENV_TS_US,
	ENV_TS_NS,
	ENV_PAYLOAD,
	ENV_SCHEMA,
	ENV_DDL,
	ENV_TABLE_CHANGES,
	ENV_DATABASE_NAME,
	ENV_STATUS,
	ENV_ID,
	ENV_EVENT_COUNT,
	ENV_DATA_COLLECTIONS,
	ENV_COUNT
};

static const char *const envelope_names[ENV_COUNT] = {
	"before", "after", "source", "op", "transaction", "ts_ms", "ts_us",
	"ts_ns", "payload", "schema", "ddl", "tableChanges", "databaseName",
	"status", "id", "event_count", "data_collections"
};

/* Members of "source" that the decoder itself reads. */
enum
{
	SRC_CONNECTOR,
	SRC_TS_MS,
	SRC_SNAPSHOT,
	SRC_SEQUENCE,
	SRC_SERVER_ID,
	SRC_GTID,
	SRC_FILE,
	SRC_POS,
	SRC_COUNT
};

static const char *const source_names[SRC_COUNT] = {
	"connector", "ts_ms", "snapshot", "sequence", "server_id", "gtid", "file",
	"pos"
};

struct CdcDecoder
{
	CdcPlaceholder *placeholder;

	CdcFieldSet row_set;
	CdcFieldSet source_set;		/* the caller's fields, then source_names */
	CdcFieldSet envelope_set;
	int			nsource;		/* the caller's source fields */

	CdcMemo		row_memo;
	CdcMemo		key_memo;
	CdcMemo		source_memo;
	CdcMemo		envelope_memo[2];

	CdcImage	before;
	CdcImage	after;
	CdcImage	source;
	CdcImage	key;
	CdcImage	envelope[2];	/* the outer object, and the one in "payload" */
	bool		wrapper;		/* the outer object has had no other members
								 * than "schema" and "payload" so far */

	char	   *schema;			/* copy of the last record's schema */
	uint32_t	schema_len;
	uint32_t	schema_size;

	CdcPositionMemo position_memo;
	CdcSkeletons skeletons;
};

static bool decode_error(CdcDecodeError *error, size_t offset,
						 const char *format,...)
			__attribute__((format(printf, 3, 4)));

/* Fill *error; returns false, so that callers can return it. */
static bool
decode_error(CdcDecodeError *error, size_t offset, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	error->offset = (uint32_t) offset;
	return false;
}

static bool
scanner_error(CdcDecodeError *error, const CdcScanner *scanner)
{
	return decode_error(error, (size_t) (scanner->pos - scanner->start), "%s",
						scanner->error);
}

/* A set of exact names, after those of fields. */
static bool
init_set(CdcFieldSet *set, const CdcField *fields, int nfields,
		 const char *const *names, int nnames)
{
	CdcField   *all = malloc((size_t) (nfields + nnames + 1) *
							 sizeof(CdcField));
	bool		ok;

	if (all == NULL)
		return false;
	if (nfields > 0)
		memcpy(all, fields, (size_t) nfields * sizeof(CdcField));
	for (int i = 0; i < nnames; i++)
	{
		all[nfields + i].name = names[i];
		all[nfields + i].len = (uint32_t) strlen(names[i]);
		all[nfields + i].fold = false;
	}
	ok = cdc_fields_init(set, all, nfields + nnames);
	free(all);
	return ok;
}

/* Tell the skeletons what a scanned record leaves behind. */
static void
add_images(CdcDecoder *decoder)
{
	CdcSkeletons *skeletons = &decoder->skeletons;

	cdc_skeletons_add(skeletons, &decoder->before, &decoder->row_set,
					  decoder->placeholder);
	cdc_skeletons_add(skeletons, &decoder->after, &decoder->row_set,
					  decoder->placeholder);
	cdc_skeletons_add(skeletons, &decoder->source, &decoder->source_set, NULL);
	cdc_skeletons_add(skeletons, &decoder->envelope[0],
					  &decoder->envelope_set, NULL);
	cdc_skeletons_add(skeletons, &decoder->envelope[1],
					  &decoder->envelope_set, NULL);
}

CdcDecoder *
cdc_decoder_create(const CdcField *row_fields, int nrow,
				   const CdcField *source_fields, int nsource,
				   const char *placeholder)
{
	CdcDecoder *decoder = calloc(1, sizeof(CdcDecoder));

	if (decoder == NULL)
		return NULL;
	decoder->nsource = nsource;
	decoder->placeholder = cdc_placeholder_create(placeholder);
	if (decoder->placeholder &&
		init_set(&decoder->row_set, row_fields, nrow, NULL, 0) &&
		init_set(&decoder->source_set, source_fields, nsource, source_names,
				 SRC_COUNT) &&
		init_set(&decoder->envelope_set, NULL, 0, envelope_names, ENV_COUNT) &&
		cdc_memo_init(&decoder->row_memo, ROW_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->key_memo, SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->source_memo, SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->envelope_memo[0], SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->envelope_memo[1], SMALL_MEMO_SLOTS) &&
		cdc_image_init(&decoder->before, &decoder->row_set) &&
		cdc_image_init(&decoder->after, &decoder->row_set) &&
		cdc_image_init(&decoder->key, &decoder->row_set) &&
		cdc_image_init(&decoder->source, &decoder->source_set) &&
		cdc_image_init(&decoder->envelope[0], &decoder->envelope_set) &&
		cdc_image_init(&decoder->envelope[1], &decoder->envelope_set))
	{
		add_images(decoder);
		return decoder;
	}
	cdc_decoder_free(decoder);
	return NULL;
}

void
cdc_decoder_free(CdcDecoder *decoder)
{
	if (decoder == NULL)
		return;
	cdc_placeholder_free(decoder->placeholder);
	cdc_fields_free(&decoder->row_set);
	cdc_fields_free(&decoder->source_set);
	cdc_fields_free(&decoder->envelope_set);
	cdc_memo_free(&decoder->row_memo);
	cdc_memo_free(&decoder->key_memo);
	cdc_memo_free(&decoder->source_memo);
	cdc_memo_free(&decoder->envelope_memo[0]);
	cdc_memo_free(&decoder->envelope_memo[1]);
	cdc_image_free(&decoder->before);
	cdc_image_free(&decoder->after);
	cdc_image_free(&decoder->key);
	cdc_image_free(&decoder->source);
	cdc_image_free(&decoder->envelope[0]);
	cdc_image_free(&decoder->envelope[1]);
	cdc_skeletons_free(&decoder->skeletons);
	free(decoder->schema);
	free(decoder);
}

void
cdc_decoder_use_skeletons(CdcDecoder *decoder, bool use)
{
	decoder->skeletons.off = !use;
}

uint64_t
cdc_decoder_skeleton_hits(const CdcDecoder *decoder)
{
	return decoder->skeletons.hits;
}

/* Forget the row images and the source of what was read so far. */
static void
reset_images(CdcDecoder *decoder)
{
	cdc_image_reset(&decoder->before, &decoder->row_set);
	cdc_image_reset(&decoder->after, &decoder->row_set);
	cdc_image_reset(&decoder->source, &decoder->source_set);
}

/*
 * Scan a value and, if it is an object, note its wanted members; those that
 * are the placeholder (if one is given) get their flag.  skeletons is NULL
 * where there is none to be made.
 */
static bool
scan_image(CdcScanner *scanner, const CdcFieldSet *set, CdcMemo *memo,
		   CdcImage *image, const CdcPlaceholder *placeholder,
		   CdcSkeletons *skeletons)
{
	const char *text;
	int			rc;

	cdc_image_reset(image, set);
	if (cdc_scan_peek(scanner) != '{')
		return cdc_scan_value(scanner, &image->whole);
	text = scanner->pos;
	if (!cdc_scan_enter(scanner))
		return false;
	for (image->nmembers = 0;; image->nmembers++)
	{
		CdcToken	name;
		CdcToken	value;
		int			head;

		rc = cdc_fields_step(set, memo, scanner, image->nmembers, &name, &head);
		if (rc <= 0)
			break;
		if (!cdc_scan_value(scanner, &value))
			return false;
		if (skeletons)
			cdc_skeletons_leaf(skeletons, scanner, &value);
		if (head < 0)
			continue;
		if (placeholder && cdc_placeholder_match(placeholder, &value))
			value.flags |= CDC_JSON_UNAVAILABLE;
		cdc_image_store(image, set, head, &name, &value);
	}
	image->whole.text = text;
	image->whole.len = (uint32_t) (scanner->pos - text);
	image->whole.kind = CDC_JSON_OBJECT;
	return rc == 0;
}

/* Keep a copy of a schema that was scanned; without memory, do without. */
static void
keep_schema(CdcDecoder *decoder, const CdcToken *schema)
{
	decoder->schema_len = 0;
	if (schema->len > SCHEMA_KEEP_MAX)
		return;
	if (schema->len > decoder->schema_size)
	{
		char	   *larger = realloc(decoder->schema, schema->len);

		if (larger == NULL)
			return;
		decoder->schema = larger;
		decoder->schema_size = schema->len;
	}
	memcpy(decoder->schema, schema->text, schema->len);
	decoder->schema_len = schema->len;
}

static bool
scan_schema(CdcDecoder *decoder, CdcScanner *scanner, CdcToken *value)
{
	(void) cdc_scan_peek(scanner);
	value->text = scanner->pos;
	if (cdc_scan_known(scanner, decoder->schema, decoder->schema_len))
	{
		value->len = decoder->schema_len;
		value->kind = CDC_JSON_OBJECT;
		value->flags = 0;
		return true;
	}
	if (!cdc_scan_value(scanner, value))
		return false;
	if (value->kind == CDC_JSON_OBJECT)
		keep_schema(decoder, value);
	return true;
}

static bool
scan_leaf(CdcDecoder *decoder, CdcScanner *scanner, CdcToken *value)
{
	if (!cdc_scan_value(scanner, value))
		return false;
	cdc_skeletons_leaf(&decoder->skeletons, scanner, value);
	return true;
}

static bool scan_envelope(CdcDecoder *decoder, CdcScanner *scanner, int level);

/* Scan the value of the member that envelope_names calls head. */
static bool
scan_envelope_member(CdcDecoder *decoder, CdcScanner *scanner, int level,
					 int head, CdcToken *value)
{
	CdcImage   *image;
	bool		ok;

	switch (head)
	{
		case ENV_BEFORE:
		case ENV_AFTER:
			image = head == ENV_BEFORE ? &decoder->before : &decoder->after;
			ok = scan_image(scanner, &decoder->row_set, &decoder->row_memo,
							image, decoder->placeholder, &decoder->skeletons);
			break;
		case ENV_SOURCE:
			image = &decoder->source;
			ok = scan_image(scanner, &decoder->source_set,
							&decoder->source_memo, image, NULL,
							&decoder->skeletons);
			break;
		case ENV_PAYLOAD:
			if (level > 0 || !decoder->wrapper)
				return scan_leaf(decoder, scanner, value);
			image = &decoder->envelope[1];
			ok = scan_envelope(decoder, scanner, 1);
			break;
		case ENV_SCHEMA:
			if (level > 0)
				return scan_leaf(decoder, scanner, value);
			return scan_schema(decoder, scanner, value);
		default:
			return scan_leaf(decoder, scanner, value);
	}
	*value = image->whole;
	return ok;
}

/*
 * Scan what is perhaps an envelope: the record (level 0), or the value of
 * its "payload" (level 1).
 */
static bool
scan_envelope(CdcDecoder *decoder, CdcScanner *scanner, int level)
{
	const CdcFieldSet *set = &decoder->envelope_set;
	CdcImage   *envelope = &decoder->envelope[level];
	const char *text;
	int			rc;

	cdc_image_reset(envelope, set);
	reset_images(decoder);
	if (cdc_scan_peek(scanner) != '{')
		return cdc_scan_value(scanner, &envelope->whole);
	text = scanner->pos;
	if (!cdc_scan_enter(scanner))
		return false;
	for (envelope->nmembers = 0;; envelope->nmembers++)
	{
		CdcToken	name;
		CdcToken	value;
		int			head;

		rc = cdc_fields_step(set, &decoder->envelope_memo[level], scanner,
							 envelope->nmembers, &name, &head);
		if (rc <= 0)
			break;
		if (level == 0 && decoder->wrapper && head != ENV_PAYLOAD &&
			head != ENV_SCHEMA)
		{
			/* "payload" was a member like any other */
			decoder->wrapper = false;
			reset_images(decoder);
		}
		if (!scan_envelope_member(decoder, scanner, level, head, &value))
			return false;
		if (head >= 0)
			envelope->tokens[head] = value;
	}
	envelope->whole.text = text;
	envelope->whole.len = (uint32_t) (scanner->pos - text);
	envelope->whole.kind = CDC_JSON_OBJECT;
	return rc == 0;
}

static bool
is_present(const CdcToken *token)
{
	return token->kind != CDC_JSON_MISSING;
}

static bool
is_object_or_null(const CdcToken *token)
{
	return token->kind == CDC_JSON_OBJECT || token->kind == CDC_JSON_NULL;
}

/* A STRING token that says this, escapes undone. */
static bool
token_equals(const CdcToken *token, const char *word, size_t len)
{
	char		buf[128];
	int			n;

	if (token->kind != CDC_JSON_STRING || token->len > sizeof(buf))
		return false;
	if (!(token->flags & CDC_JSON_ESCAPED))
		return token->len == len && memcmp(token->text, word, len) == 0;
	n = cdc_json_unescape(token, buf);
	return n >= 0 && (size_t) n == len && memcmp(buf, word, len) == 0;
}

#define token_says(token, word) \
	token_equals(token, word, sizeof("" word) - 1)

/* An integer or null; *has tells which. */
static bool
take_int64(const CdcToken *token, bool *has, int64_t *value)
{
	*has = cdc_json_int64(token, value);
	return *has || !is_present(token) || token->kind == CDC_JSON_NULL;
}

static bool
take_op(const CdcToken *token, char *op)
{
	static const char ops[] = "cudrtm";
	char		buf[8];
	char		c;

	if (token->kind != CDC_JSON_STRING || token->len > sizeof(buf) ||
		cdc_json_unescape(token, buf) != 1)
		return false;
	c = buf[0] >= 'A' && buf[0] <= 'Z' ? (char) (buf[0] + ('a' - 'A')) : buf[0];
	if (c == '\0' || strchr(ops, c) == NULL)
		return false;
	*op = c;
	return true;
}

/* Length of a token's text cut to max bytes, no character in halves. */
static int
clip_length(const CdcToken *token, int max)
{
	if (token->len <= (uint32_t) max)
		return (int) token->len;
	while (max > 0 && ((unsigned char) token->text[max] & 0xC0) == 0x80)
		max--;
	return max;
}

static bool
is_snapshot(const CdcToken *token)
{
	return token->kind == CDC_JSON_TRUE ||
		token_says(token, "true") ||
		token_says(token, "first") ||
		token_says(token, "first_in_data_collection") ||
		token_says(token, "last_in_data_collection") ||
		token_says(token, "last") ||
		token_says(token, "incremental");
}

static void
take_position(CdcDecoder *decoder, CdcChange *change)
{
	const CdcToken *source = decoder->source.tokens + decoder->nsource;

	if (change->snapshot)
		return;
	if (token_says(&change->connector, "mysql") ||
		token_says(&change->connector, "mariadb"))
		cdc_position_mysql(&decoder->position_memo, &source[SRC_SERVER_ID],
						   &source[SRC_GTID], &source[SRC_FILE],
						   &source[SRC_POS], &change->position);
	else if (token_says(&change->connector, "postgresql"))
		cdc_position_postgresql(&source[SRC_SEQUENCE], &change->position);
}

static bool
take_source(CdcDecoder *decoder, const char *start, CdcChange *change,
			CdcDecodeError *error)
{
	const CdcToken *source = decoder->source.tokens + decoder->nsource;
	const CdcToken *whole = &decoder->source.whole;
	const CdcToken *snapshot = &source[SRC_SNAPSHOT];

	if (is_present(whole) && !is_object_or_null(whole))
		return decode_error(error, (size_t) (whole->text - start),
							"\"source\" of the event is not an object");
	change->source_json = *whole;
	change->connector = source[SRC_CONNECTOR];
	if (!take_int64(&source[SRC_TS_MS], &change->has_source_ts_ms,
					&change->source_ts_ms))
		return decode_error(error, (size_t) (source[SRC_TS_MS].text - start),
							"\"source.ts_ms\" of the event is not an integer");
	change->snapshot = is_snapshot(snapshot);
	change->incremental = token_says(snapshot, "incremental");
	if (is_present(snapshot) && !change->snapshot &&
		snapshot->kind != CDC_JSON_NULL && snapshot->kind != CDC_JSON_FALSE &&
		!token_says(snapshot, "false"))
		return decode_error(error, (size_t) (snapshot->text - start),
							"\"source.snapshot\" of the event has an unknown value");
	take_position(decoder, change);
	return true;
}

/* Take a row image out of an envelope. */
static bool
take_image(const CdcImage *image, const char *name, const char *start,
		   bool *has, CdcToken *json, CdcDecodeError *error)
{
	const CdcToken *whole = &image->whole;

	*json = *whole;
	*has = whole->kind == CDC_JSON_OBJECT;
	if (!is_present(whole) || is_object_or_null(whole))
		return true;
	if (whole->kind == CDC_JSON_STRING)
		return decode_error(error, (size_t) (whole->text - start),
							"\"%s\" of the event is a string, as the MongoDB connector writes it, which is not supported",
							name);
	return decode_error(error, (size_t) (whole->text - start),
						"\"%s\" of the event is not an object", name);
}

/* Fill *change from an object that has been found to be an envelope. */
static bool
take_envelope(CdcDecoder *decoder, const CdcImage *envelope,
			  const char *start, CdcChange *change, CdcDecodeError *error)
{
	const CdcToken *tokens = envelope->tokens;
	const CdcToken *op = &tokens[ENV_OP];

	change->shape = CDC_SHAPE_CHANGE;
	if (!take_op(op, &change->op))
		return decode_error(error, (size_t) (op->text - start),
							"unknown operation %.*s of the event",
							clip_length(op, 32), op->text);
	if (!take_image(&decoder->before, "before", start, &change->has_before,
					&change->before_json, error) ||
		!take_image(&decoder->after, "after", start, &change->has_after,
					&change->after_json, error) ||
		!take_source(decoder, start, change, error))
		return false;
	if (!take_int64(&tokens[ENV_TS_MS], &change->has_ts_ms, &change->ts_ms))
		return decode_error(error, (size_t) (tokens[ENV_TS_MS].text - start),
							"\"ts_ms\" of the event is not an integer");
	change->transaction_json = tokens[ENV_TRANSACTION];
	if (!change->has_after && strchr("cur", change->op) != NULL)
		return decode_error(error, (size_t) (op->text - start),
							"event of operation \"%c\" has no \"after\"",
							change->op);
	return true;
}

/*
 * What an object is that is no envelope.  Topics other than those of tables
 * are recognised by all that their records always have, not by the least that
 * tells them apart: a row of a table must not be taken for one of them.
 */
static CdcShape
other_shape(const CdcImage *object)
{
	const CdcToken *tokens = object->tokens;
	int			times = is_present(&tokens[ENV_TS_MS]) +
		is_present(&tokens[ENV_TS_US]) + is_present(&tokens[ENV_TS_NS]);

	if ((token_says(&tokens[ENV_STATUS], "BEGIN") ||
		 token_says(&tokens[ENV_STATUS], "END")) &&
		tokens[ENV_ID].kind == CDC_JSON_STRING &&
		is_present(&tokens[ENV_EVENT_COUNT]) &&
		is_present(&tokens[ENV_DATA_COLLECTIONS]))
		return CDC_SHAPE_TRANSACTION;
	if ((is_present(&tokens[ENV_DDL]) ||
		 is_present(&tokens[ENV_TABLE_CHANGES])) &&
		is_present(&tokens[ENV_DATABASE_NAME]) &&
		tokens[ENV_SOURCE].kind == CDC_JSON_OBJECT)
		return CDC_SHAPE_SCHEMA_CHANGE;
	if (tokens[ENV_TS_MS].kind == CDC_JSON_NUMBER && times == object->nmembers)
		return CDC_SHAPE_HEARTBEAT;
	return CDC_SHAPE_OTHER;
}

/* Look at what scan_envelope() has noted. */
static bool
classify(CdcDecoder *decoder, const char *start, CdcChange *change,
		 CdcDecodeError *error)
{
	const CdcImage *object = &decoder->envelope[0];
	const CdcToken *payload = &object->tokens[ENV_PAYLOAD];
	const CdcToken *schema = &object->tokens[ENV_SCHEMA];
	const CdcToken *tokens;

	if (object->whole.kind == CDC_JSON_OBJECT && decoder->wrapper &&
		is_present(payload) &&
		(!is_present(schema) || is_object_or_null(schema)))
	{
		if (schema->kind == CDC_JSON_OBJECT)
		{
			change->schema = schema->text;
			change->schema_len = schema->len;
		}
		object = &decoder->envelope[1];
	}
	tokens = object->tokens;
	change->shape = CDC_SHAPE_OTHER;
	if (object->whole.kind == CDC_JSON_NULL)
		change->shape = CDC_SHAPE_TOMBSTONE;
	else if (object->whole.kind == CDC_JSON_OBJECT)
	{
		if (is_present(&tokens[ENV_OP]) &&
			(is_present(&tokens[ENV_BEFORE]) ||
			 is_present(&tokens[ENV_AFTER]) ||
			 is_present(&tokens[ENV_SOURCE])))
			return take_envelope(decoder, object, start, change, error);
		change->shape = other_shape(object);
	}
	reset_images(decoder);
	return true;
}

bool
cdc_decode_value(CdcDecoder *decoder, const char *value, size_t len,
				 CdcChange *change, CdcDecodeError *error)
{
	CdcSkeletons *skeletons = &decoder->skeletons;
	CdcScanner	scanner;

	memset(change, 0, sizeof(*change));
	change->before = decoder->before.tokens;
	change->after = decoder->after.tokens;
	change->source = decoder->source.tokens;
	if (value == NULL)
	{
		reset_images(decoder);
		change->shape = CDC_SHAPE_TOMBSTONE;
		return true;
	}
	if (len == 0)
		return decode_error(error, 0, "the value is empty");
	if (cdc_skeletons_decode(skeletons, value, len, &decoder->wrapper))
		return classify(decoder, value, change, error);
	cdc_scanner_init(&scanner, value, len);
	decoder->wrapper = true;
	/* a record without "payload" must not keep tokens of one before */
	cdc_image_reset(&decoder->envelope[1], &decoder->envelope_set);
	if (!scan_envelope(decoder, &scanner, 0) || !cdc_scan_finish(&scanner))
		return scanner_error(error, &scanner);
	if (!classify(decoder, value, change, error))
		return false;
	if (change->shape == CDC_SHAPE_CHANGE)
		cdc_skeletons_keep(skeletons, value, len, decoder->wrapper);
	return true;
}

/*
 * If the object has exactly a "schema" (an object or null) and a "payload",
 * as the converter writes it and no key of a table is likely to look, give
 * the payload.
 */
static bool
unwrap_key(CdcDecoder *decoder, const CdcToken *object, CdcToken *payload)
{
	CdcImage   *outer = &decoder->envelope[0];
	CdcScanner	scanner;

	cdc_scanner_init(&scanner, object->text, object->len);
	if (!scan_image(&scanner, &decoder->envelope_set,
					&decoder->envelope_memo[0], outer, NULL, NULL))
		return false;
	*payload = outer->tokens[ENV_PAYLOAD];
	return is_present(payload) &&
		is_object_or_null(&outer->tokens[ENV_SCHEMA]);
}

bool
cdc_decode_key(CdcDecoder *decoder, const char *key, size_t len,
			   int scalar_field, CdcToken *fields, CdcDecodeError *error)
{
	const CdcFieldSet *set = &decoder->row_set;
	CdcImage   *image = &decoder->key;
	CdcScanner	scanner;
	CdcToken	payload;

	memset(fields, 0, (size_t) set->nfields * sizeof(CdcToken));
	if (key == NULL)
		return decode_error(error, 0, "the key is null");
	cdc_scanner_init(&scanner, key, len);
	if (!scan_image(&scanner, set, &decoder->key_memo, image, NULL, NULL) ||
		!cdc_scan_finish(&scanner))
		return scanner_error(error, &scanner);
	if (image->whole.kind == CDC_JSON_OBJECT && image->nmembers == 2 &&
		unwrap_key(decoder, &image->whole, &payload))
	{
		cdc_scanner_init(&scanner, payload.text, payload.len);
		if (payload.kind == CDC_JSON_STRING)
		{
			/* its token is without quotes, so it is no text to scan again */
			cdc_image_reset(image, set);
			image->whole = payload;
		}
		else if (!scan_image(&scanner, set, &decoder->key_memo, image, NULL,
							 NULL))
			return scanner_error(error, &scanner);
	}
	switch (image->whole.kind)
	{
		case CDC_JSON_OBJECT:
			memcpy(fields, image->tokens,
				   (size_t) set->nfields * sizeof(CdcToken));
			return true;
		case CDC_JSON_NULL:
			return decode_error(error, 0, "the key is null");
		case CDC_JSON_ARRAY:
			return decode_error(error, 0, "the key is an array");
		default:
			if (scalar_field < 0)
				return decode_error(error, 0,
									"the key is a single value, not an object");
			fields[scalar_field] = image->whole;
			return true;
	}
}
