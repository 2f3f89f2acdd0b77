/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  A record -> a change: operation, row images, source position.
 *
 * Pure C without PostgreSQL.  A record is read once, from left to right, and
 * what it is shows only at its end: "op" may come last, "payload" may turn out
 * to be a column.  So the members of the outer object, and of an object in
 * its "payload", are noted as they come, row images are taken apart on the
 * way, and classify() then looks at what was there.  What turns out to be no
 * envelope is the business of record.c, which looks at it again; and a row image
 * that is a string, of document.c.
 *
 * As in jsonb, the last one of several members of a name counts.
 *
 * Memory is taken when the embedded schema is a longer one than before, to keep
 * a copy: the same schema precedes every record of a topic, and comparing is much
 * cheaper than scanning.  Most records are not scanned at all but for a few
 * values, see skeleton.c: what scan_envelope() leaves behind is then restored,
 * and classify() sees no difference.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "decoder.h"
#include "replay.h"

/* Longest embedded schema that is remembered. */
#define SCHEMA_KEEP_MAX	(1024 * 1024)

void
cdc_decoder_reset(CdcDecoder *decoder)
{
	cdc_image_reset(&decoder->before, &decoder->row_set);
	cdc_image_reset(&decoder->after, &decoder->row_set);
	cdc_image_reset(&decoder->source, &decoder->source_set);
}

bool
cdc_scan_image(CdcScanner *scanner, const CdcFieldSet *set, CdcMemo *memo,
			   CdcImage *image, const CdcPlaceholder *placeholder,
			   CdcSkeletons *skeletons)
{
	const char *text;
	int			rc;

	cdc_image_reset(image, set);
	if (cdc_scan_peek(scanner) != '{')
	{
		if (!cdc_scan_value(scanner, &image->whole))
			return false;
		if (skeletons)
			cdc_skeletons_leaf(skeletons, scanner, &image->whole, true);
		return true;
	}
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
			cdc_skeletons_leaf(skeletons, scanner, &value, false);
		if (head < 0)
			continue;
		if (placeholder && cdc_placeholder_match(placeholder, &value))
			value.flags |= CDC_JSON_UNAVAILABLE;
		cdc_image_store(image, set, head, &name, &value);
	}
	image->whole.text = text;
	image->whole.len = (uint32_t) (scanner->pos - text);
	image->whole.kind = CDC_JSON_OBJECT;
	if (set->whole >= 0)
		image->tokens[set->whole] = image->whole;
	return rc == 0;
}

/* Keep a copy of a schema that was scanned; without memory, do without. */
static void
keep_schema(CdcDecoder *decoder, const CdcToken *schema)
{
	decoder->schema_len = 0;
	decoder->schema_no++;
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
	else
		cdc_skeletons_leaf(&decoder->skeletons, scanner, value, true);
	return true;
}

static bool
scan_leaf(CdcDecoder *decoder, CdcScanner *scanner, CdcToken *value)
{
	if (!cdc_scan_value(scanner, value))
		return false;
	cdc_skeletons_leaf(&decoder->skeletons, scanner, value, false);
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
			ok = cdc_scan_image(scanner, &decoder->row_set, &decoder->row_memo,
							image, decoder->placeholder, &decoder->skeletons);
			break;
		case ENV_SOURCE:
			image = &decoder->source;
			ok = cdc_scan_image(scanner, &decoder->source_set,
							&decoder->source_memo, image, NULL,
							&decoder->skeletons);
			break;
		case ENV_PAYLOAD:
			if (level > 0 || !(decoder->frame & CDC_FRAME_WRAPPER))
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
	cdc_decoder_reset(decoder);
	if (cdc_scan_peek(scanner) != '{')
	{
		if (!cdc_scan_value(scanner, &envelope->whole))
			return false;
		if (level > 0)
			cdc_skeletons_leaf(&decoder->skeletons, scanner, &envelope->whole,
							   true);
		return true;
	}
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
		if (level == 0 && (decoder->frame & CDC_FRAME_WRAPPER) &&
			head != ENV_PAYLOAD && head != ENV_SCHEMA)
		{
			/* "payload" was a member like any other */
			decoder->frame &= (uint8_t) ~CDC_FRAME_WRAPPER;
			cdc_decoder_reset(decoder);
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

bool
cdc_token_equals(const CdcToken *token, const char *word, size_t len)
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

/* An integer or null; *has tells which. */
bool
cdc_take_int64(const CdcToken *token, bool *has, int64_t *value)
{
	*has = cdc_json_int64(token, value);
	return *has || !cdc_is_present(token) || token->kind == CDC_JSON_NULL;
}

bool
cdc_take_op(const CdcToken *token, char *op)
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

bool
cdc_take_event_op(const CdcToken *op, const char *start, CdcChange *change,
				  CdcDecodeError *error)
{
	return cdc_take_op(op, &change->op) ||
		cdc_decode_error(error, (size_t) (op->text - start),
						 "unknown operation %.*s of the event",
						 cdc_token_clip(op, 32), op->text);
}

bool
cdc_check_images(const CdcToken *op, const char *start, const CdcChange *change,
				 CdcDecodeError *error)
{
	return change->has_after || strchr("cur", change->op) == NULL ||
		cdc_decode_error(error, (size_t) (op->text - start),
						 "event of operation \"%c\" has no \"after\"",
						 change->op);
}

/* Length of a token's text cut to max bytes, no character in halves. */
int
cdc_token_clip(const CdcToken *token, int max)
{
	if (token->len <= (uint32_t) max)
		return (int) token->len;
	while (max > 0 && ((unsigned char) token->text[max] & 0xC0) == 0x80)
		max--;
	return max;
}

bool
cdc_is_snapshot(const CdcToken *token)
{
	return token->kind == CDC_JSON_TRUE ||
		cdc_token_says(token, "true") ||
		cdc_token_says(token, "first") ||
		cdc_token_says(token, "first_in_data_collection") ||
		cdc_token_says(token, "last_in_data_collection") ||
		cdc_token_says(token, "last") ||
		cdc_token_says(token, "incremental");
}

static CdcSnapshotMark
snapshot_mark(const CdcToken *token)
{
	if (cdc_token_says(token, "first") ||
		cdc_token_says(token, "first_in_data_collection"))
		return CDC_SNAPSHOT_FIRST;
	if (cdc_token_says(token, "last_in_data_collection"))
		return CDC_SNAPSHOT_LAST_OF_TABLE;
	return cdc_token_says(token, "last") ? CDC_SNAPSHOT_LAST : CDC_SNAPSHOT_ROW;
}

/*
 * What kind of position the source has.  Records that do not tell their
 * connector are known by the fields they have.
 */
static CdcPositionKind
position_kind(const CdcToken *connector, const CdcToken *source)
{
	if (cdc_token_says(connector, "mysql") ||
		cdc_token_says(connector, "mariadb"))
		return CDC_POSITION_MYSQL;
	if (cdc_token_says(connector, "postgresql"))
		return CDC_POSITION_POSTGRESQL;
	if (cdc_token_says(connector, "sqlserver"))
		return CDC_POSITION_SQLSERVER;
	if (cdc_token_says(connector, "oracle"))
		return CDC_POSITION_ORACLE;
	if (cdc_token_says(connector, "db2"))
		return CDC_POSITION_DB2;
	if (cdc_token_says(connector, "mongodb"))
		return CDC_POSITION_MONGODB;
	if (cdc_is_present(connector))
		return CDC_POSITION_NONE;
	if (cdc_is_present(&source[SRC_FILE]) || cdc_is_present(&source[SRC_GTID]))
		return CDC_POSITION_MYSQL;
	if (cdc_is_present(&source[SRC_EVENT_SERIAL_NO]))
		return CDC_POSITION_SQLSERVER;
	if (cdc_is_present(&source[SRC_COMMIT_SCN]))
		return CDC_POSITION_ORACLE;
	return CDC_POSITION_POSTGRESQL;
}

void
cdc_take_position(CdcDecoder *decoder, const CdcToken *source, CdcChange *change)
{
	CdcPositionMemo *memo = &decoder->position_memo;
	CdcPosition *position = &change->position;

	/* an incremental one tells how far the events were that had been sent */
	if (change->snapshot && !change->incremental)
		return;
	switch (position_kind(&change->connector, source))
	{
		case CDC_POSITION_NONE:
			break;
		case CDC_POSITION_MYSQL:
			cdc_position_mysql(memo, &source[SRC_SERVER_ID], &source[SRC_GTID],
							   &source[SRC_FILE], &source[SRC_POS], position);
			break;
		case CDC_POSITION_POSTGRESQL:
			cdc_position_postgresql(&source[SRC_SEQUENCE], position);
			break;
		case CDC_POSITION_SQLSERVER:
			cdc_position_sqlserver(memo, &source[SRC_DB],
								   &source[SRC_COMMIT_LSN],
								   &source[SRC_CHANGE_LSN],
								   &source[SRC_EVENT_SERIAL_NO], position);
			break;
		case CDC_POSITION_ORACLE:
			cdc_position_oracle(memo, &source[SRC_DB], &source[SRC_COMMIT_SCN],
								&source[SRC_TX_ID], &source[SRC_TX_SEQ],
								&source[SRC_SCN], &source[SRC_RS_ID],
								&source[SRC_SSN], position);
			break;
		case CDC_POSITION_DB2:
			cdc_position_db2(memo, &source[SRC_DB], &source[SRC_COMMIT_LSN],
							 &source[SRC_CHANGE_LSN], position);
			break;
		case CDC_POSITION_MONGODB:
			if (change->has_source_ts_ms)
				cdc_position_mongodb(memo, &source[SRC_RS],
									 change->source_ts_ms, &source[SRC_ORD],
									 position);
			break;
	}
}

static bool
take_source(CdcDecoder *decoder, const char *start, CdcChange *change,
			CdcDecodeError *error)
{
	const CdcToken *source = decoder->source.tokens + decoder->nsource;
	const CdcToken *whole = &decoder->source.whole;
	const CdcToken *snapshot = &source[SRC_SNAPSHOT];

	if (cdc_is_present(whole) && !cdc_is_object_or_null(whole))
		return cdc_decode_error(error, (size_t) (whole->text - start),
							"\"source\" of the event is not an object");
	change->source_json = *whole;
	change->connector = source[SRC_CONNECTOR];
	if (!cdc_take_int64(&source[SRC_TS_MS], &change->has_source_ts_ms,
					&change->source_ts_ms))
		return cdc_decode_error(error, (size_t) (source[SRC_TS_MS].text - start),
							"\"source.ts_ms\" of the event is not an integer");
	change->snapshot = cdc_is_snapshot(snapshot);
	change->incremental = cdc_token_says(snapshot, "incremental");
	if (change->snapshot)
		change->mark = snapshot_mark(snapshot);
	if (cdc_is_present(snapshot) && !change->snapshot &&
		snapshot->kind != CDC_JSON_NULL && snapshot->kind != CDC_JSON_FALSE &&
		!cdc_token_says(snapshot, "false"))
		return cdc_decode_error(error, (size_t) (snapshot->text - start),
							"\"source.snapshot\" of the event has an unknown value");
	cdc_take_position(decoder, source, change);
	return true;
}

bool
cdc_take_image(const CdcImage *image, const char *name, const char *start,
			   bool *has, CdcToken *json, CdcDecodeError *error)
{
	const CdcToken *whole = &image->whole;

	*json = *whole;
	*has = whole->kind == CDC_JSON_OBJECT;
	if (!cdc_is_present(whole) || cdc_is_object_or_null(whole))
		return true;
	return cdc_decode_error(error, (size_t) (whole->text - start),
							"\"%s\" of the event is not an object", name);
}

/* The row images of an envelope. */
static bool
take_images(CdcDecoder *decoder, const CdcImage *envelope, const char *start,
			CdcChange *change, CdcDecodeError *error)
{
	if (cdc_has_documents(decoder, envelope))
		return cdc_take_documents(decoder, envelope, start, change, error);
	if (cdc_has_cells(decoder))
		return cdc_take_cells(decoder, start, change, error);
	return cdc_take_image(&decoder->before, "before", start,
						  &change->has_before, &change->before_json, error) &&
		cdc_take_image(&decoder->after, "after", start, &change->has_after,
					   &change->after_json, error);
}

/* Fill *change from an object that has been found to be an envelope. */
static bool
take_envelope(CdcDecoder *decoder, const CdcImage *envelope,
			  const char *start, CdcChange *change, CdcDecodeError *error)
{
	const CdcToken *tokens = envelope->tokens;
	const CdcToken *op = &tokens[ENV_OP];

	change->shape = CDC_SHAPE_CHANGE;
	if (cdc_token_says(&decoder->source.tokens[decoder->nsource + SRC_CONNECTOR],
					   "cassandra"))
		return cdc_decode_error(error, (size_t) (op->text - start),
								"events of the Cassandra connector are not decoded");
	if (!cdc_take_event_op(op, start, change, error))
		return false;
	if (!take_images(decoder, envelope, start, change, error) ||
		!take_source(decoder, start, change, error))
		return false;
	if (!cdc_take_int64(&tokens[ENV_TS_MS], &change->has_ts_ms, &change->ts_ms))
		return cdc_decode_error(error, (size_t) (tokens[ENV_TS_MS].text - start),
							"\"ts_ms\" of the event is not an integer");
	change->transaction_json = tokens[ENV_TRANSACTION];
	return cdc_check_images(op, start, change, error);
}

/* May it be a row image, beside this "source"? */
static bool
fits_image(const CdcToken *token, const CdcToken *source)
{
	return !cdc_is_present(token) || cdc_is_object_or_null(token) ||
		(token->kind == CDC_JSON_STRING && source->kind == CDC_JSON_OBJECT);
}

/*
 * Is the object an envelope?  Columns can be called as its members are, but a
 * row hardly has objects in them: a JSON column comes as a string.  What
 * has no other members than an envelope is one, if a broken one.
 */
static bool
is_envelope(const CdcImage *object)
{
	const CdcToken *tokens = object->tokens;
	const CdcToken *before = &tokens[ENV_BEFORE];
	const CdcToken *after = &tokens[ENV_AFTER];
	const CdcToken *source = &tokens[ENV_SOURCE];
	int			known = 0;

	if (!cdc_is_present(&tokens[ENV_OP]))
		return false;
	if (tokens[ENV_OP].kind == CDC_JSON_STRING &&
		(after->kind == CDC_JSON_OBJECT || before->kind == CDC_JSON_OBJECT ||
		 source->kind == CDC_JSON_OBJECT) &&
		fits_image(before, source) && fits_image(after, source) &&
		(!cdc_is_present(source) || cdc_is_object_or_null(source)))
		return true;
	if (!cdc_is_present(before) && !cdc_is_present(after) &&
		!cdc_is_present(source))
		return false;
	for (int i = 0; i < ENV_COUNT; i++)
		known += cdc_is_present(&tokens[i]);
	return known == object->nmembers;
}

/*
 * Is it {"schema":..,"payload":..}?  Without "schema", what is in "payload" has
 * to look like a record.
 */
static bool
is_wrapper(const CdcDecoder *decoder)
{
	const CdcImage *object = &decoder->envelope[0];
	const CdcToken *payload = &object->tokens[ENV_PAYLOAD];
	const CdcToken *schema = &object->tokens[ENV_SCHEMA];

	if (object->whole.kind != CDC_JSON_OBJECT ||
		!(decoder->frame & CDC_FRAME_WRAPPER) || !cdc_is_present(payload))
		return false;
	if (cdc_is_present(schema))
		return cdc_is_object_or_null(schema);
	return payload->kind == CDC_JSON_OBJECT ||
		(payload->kind == CDC_JSON_NULL && decoder->read_as < CDC_READ_FLAT);
}

/* A value that is no object: a row only if everything is. */
static void
take_value(CdcDecoder *decoder, const CdcToken *value, CdcChange *change)
{
	int			whole = decoder->row_set.whole;

	change->shape = CDC_SHAPE_OTHER;
	change->after_json = *value;
	if (decoder->read_as != CDC_READ_PLAIN)
		return;
	change->shape = CDC_SHAPE_ROW;
	change->op = 'c';
	change->has_after = true;
	if (whole >= 0)
		decoder->after.tokens[whole] = *value;
}

/*
 * What the record is, as flags of a frame.  A skeleton restores what the scan of
 * a record of the same kind left behind.
 */
static uint8_t
find_kind(const CdcDecoder *decoder)
{
	uint8_t		kind = is_wrapper(decoder) ? CDC_FRAME_PAYLOAD : 0;
	const CdcImage *object = &decoder->envelope[kind ? 1 : 0];

	if (object->whole.kind == CDC_JSON_OBJECT &&
		(decoder->read_as >= CDC_READ_FLAT || !is_envelope(object)))
		kind |= CDC_FRAME_ROW;
	return kind;
}

/*
 * Does the schema say anything?  {} or {"type":"struct"} is what some producers put
 * there who have none.
 */
static bool
tells_fields(const CdcToken *schema)
{
	static const char word[] = "\"fields\"";
	const uint32_t len = sizeof(word) - 1;

	if (schema->len >= 128)
		return true;
	for (uint32_t i = 0; i + len <= schema->len; i++)
		if (memcmp(schema->text + i, word, len) == 0)
			return true;
	return false;
}

/* Look at what scan_envelope() has noted. */
static bool
classify(CdcDecoder *decoder, uint8_t kind, const char *start,
		 CdcChange *change, CdcDecodeError *error)
{
	const CdcImage *object = &decoder->envelope[0];

	if (kind & CDC_FRAME_PAYLOAD)
	{
		const CdcToken *schema = &object->tokens[ENV_SCHEMA];

		object = &decoder->envelope[1];
		if (schema->kind == CDC_JSON_OBJECT && tells_fields(schema) &&
			object->whole.kind == CDC_JSON_OBJECT)
		{
			change->schema = schema->text;
			change->schema_len = schema->len;
		}
	}
	if (object->whole.kind == CDC_JSON_OBJECT && !(kind & CDC_FRAME_ROW))
		return take_envelope(decoder, object, start, change, error);
	cdc_decoder_reset(decoder);
	if (object->whole.kind == CDC_JSON_OBJECT)
		return cdc_take_record(decoder, object, start, change, error);
	if (object->whole.kind == CDC_JSON_NULL)
		change->shape = CDC_SHAPE_TOMBSTONE;
	else
		take_value(decoder, &object->whole, change);
	return true;
}

/* Names of a row's fields that stood elsewhere in the row before, or nowhere. */
static uint64_t
count_names(const CdcDecoder *decoder, bool flat)
{
	uint64_t	n = decoder->row_memo.nmisses;

	if (flat)
		n += decoder->envelope_memo[0].nmisses + decoder->envelope_memo[1].nmisses;
	return n;
}

/* A change of nothing yet. */
static void
clear_change(CdcDecoder *decoder, CdcChange *change)
{
	memset(change, 0, sizeof(*change));
	change->before = decoder->before.tokens;
	change->after = decoder->after.tokens;
	change->source = decoder->source.tokens;
}

/* The object or value that is the record. */
static const CdcImage *
record_of(const CdcDecoder *decoder, uint8_t kind)
{
	return &decoder->envelope[kind & CDC_FRAME_PAYLOAD ? 1 : 0];
}

bool
cdc_decode_text(CdcDecoder *decoder, const char *value, size_t len,
			CdcChange *change, CdcDecodeError *error)
{
	CdcSkeletons *skeletons = &decoder->skeletons;
	uint64_t	names = count_names(decoder, false);
	uint64_t	flat_names = count_names(decoder, true);
	const CdcToken *wrapped;
	CdcSkeleton *skeleton;
	CdcScanner	scanner;
	uint8_t		kind;

	skeleton = cdc_skeletons_find(skeletons, value, len);
	if (skeleton)
	{
		if (cdc_replay_change(decoder, skeleton, change))
		{
			decoder->replayed = skeleton->replay;
			return true;
		}
		clear_change(decoder, change);
		cdc_skeleton_restore(skeletons, skeleton, &decoder->frame, &change->verdict);
		kind = find_kind(decoder);
		if (kind == (decoder->frame & CDC_FRAME_KIND))
			return classify(decoder, kind, value, change, error);
	}
	clear_change(decoder, change);
	cdc_scanner_init(&scanner, value, len);
	decoder->frame = CDC_FRAME_WRAPPER;
	/* a record without "payload" must not keep tokens of one before */
	cdc_image_reset(&decoder->envelope[1], &decoder->envelope_set);
	if (!scan_envelope(decoder, &scanner, 0) || !cdc_scan_finish(&scanner))
	{
		if (len >= 4 && memcmp(value, "Obj\x01", 4) == 0)
			return cdc_decode_error(error, 0, "an Avro container is not decoded");
		return cdc_scanner_error(error, &scanner);
	}
	kind = find_kind(decoder);
	wrapped = cdc_find_wrapped(decoder, record_of(decoder, kind));
	if (wrapped)
		return cdc_take_wrapped(decoder, wrapped, value, change, error);
	if (!classify(decoder, kind, value, change, error))
		return false;
	decoder->frame |= kind;
	if (change->schema)
		change->schema_no = decoder->schema_no;
	change->new_names = change->shape == CDC_SHAPE_ROW ?
		count_names(decoder, true) != flat_names :
		count_names(decoder, false) != names;
	if (change->shape == CDC_SHAPE_CHANGE || change->shape == CDC_SHAPE_ROW)
	{
		skeleton = cdc_skeletons_keep(skeletons, value, len, decoder->frame);
		if (skeleton)
			cdc_replay_make(decoder, skeleton, change);
	}
	return true;
}

bool
cdc_decode_value(CdcDecoder *decoder, const char *value, size_t len,
				 CdcChange *change, CdcDecodeError *error)
{
	const char *text = value;

	decoder->replayed = NULL;
	/* no bytes are what some producers make of null */
	if (value == NULL || len == 0)
	{
		clear_change(decoder, change);
		cdc_decoder_reset(decoder);
		change->shape = CDC_SHAPE_TOMBSTONE;
		return true;
	}
	if (((unsigned char) value[0] <= 3 || (unsigned char) value[0] >= 0xEF) &&
		!cdc_decode_framing(&text, &len, error))
	{
		clear_change(decoder, change);
		return false;
	}
	if (cdc_decode_text(decoder, text, len, change, error))
		return true;
	error->offset += (uint32_t) (text - value);
	return false;
}
