/*-------------------------------------------------------------------------
 *
 * record.c
 *	  Records that are no envelope: flattened events, CloudEvents, the other
 *	  topics of a connector, formats of other tools, any other JSON.
 *
 * Pure C without PostgreSQL.  An object that is no envelope is looked at once
 * more, for the row fields, the fields that Debezium's flattening transform adds,
 * and the members that other kinds of records always have.  A kind is recognised
 * by all of those, not by the least that tells it from others: a row of a table
 * must not be taken for one of them.
 *
 * A flattened event says of its source what the transform was told to add, under
 * names that begin with a prefix: source.ts_ms is __source_ts_ms, and so may
 * __lsn or __table be written.  These become the fields of the source.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "decoder.h"

#define DEFAULT_PREFIX	"__"
#define CLOUD_PREFIX	"iodebezium"
#define CLOUD_TYPE		"io.debezium."

/* Longest name that is made with a prefix. */
#define NAME_MAX_BYTES	300

/* Members that mean something, behind the row fields in the record's image. */
enum
{
	/* what the flattening transform adds */
	REC_OP,
	REC_DELETED,
	REC_PREFIX_DELETED,
	REC_TS_MS,
	/* other topics of a connector */
	REC_STATUS,
	REC_ID,
	REC_EVENT_COUNT,
	REC_DATA_COLLECTIONS,
	REC_DDL,
	REC_TABLE_CHANGES,
	REC_DATABASE_NAME,
	REC_AGGREGATE_TYPE,
	REC_ADDITIONAL_DATA,
	REC_TYPE,
	REC_DATA,
	/* CloudEvents */
	REC_SPECVERSION,
	REC_CLOUD_OP,
	/* formats of other tools */
	REC_DATABASE,
	REC_TABLE,
	REC_TS,
	REC_IS_DDL,
	REC_OP_TYPE,
	REC_OP_TS,
	REC_BEFORE,
	REC_AFTER,
	REC_METADATA,
	REC_CONTROL,
	REC_KEY,
	REC_UPDATED,
	REC_MVCC_TIMESTAMP,
	REC_TOPIC,
	REC_RESOLVED,
	REC_COUNT
};

/* The first four are filled in. */
static const char *const record_names[REC_COUNT] = {
	NULL, NULL, NULL, NULL,
	"status", "id", "event_count", "data_collections", "ddl", "tableChanges",
	"databaseName", "aggregate_type", "additional_data", "type", "data",
	"specversion", "iodebeziumop", "database", "table", "ts", "isDdl",
	"op_type", "op_ts", "before", "after", "metadata", "control", "key",
	"updated", "mvcc_timestamp", "topic", "resolved"
};

/*
 * The names
 */

typedef char Name[NAME_MAX_BYTES];

/* A field "iodebezium..": letters and digits of the source's name alone. */
static void
cloud_name(const CdcField *field, Name name)
{
	size_t		len = strlen(CLOUD_PREFIX);

	memcpy(name, CLOUD_PREFIX, len);
	for (uint32_t i = 0; i < field->len && len < sizeof(Name) - 1; i++)
		if (field->name[i] != '_')
			name[len++] = field->name[i];
	name[len] = '\0';
}

static bool
init_cloud_set(CdcDecoder *decoder)
{
	int			n = decoder->source_set.nfields;
	CdcField   *fields = calloc((size_t) n + 1, sizeof(CdcField));
	Name	   *names = calloc((size_t) n + 1, sizeof(Name));
	bool		ok = fields && names;

	for (int i = 0; ok && i < n; i++)
	{
		cloud_name(&decoder->source_set.fields[i], names[i]);
		fields[i].name = names[i];
		fields[i].len = (uint32_t) strlen(names[i]);
		fields[i].fold = true;
	}
	ok = ok && cdc_set_init(&decoder->cloud_set, fields, n, NULL, 0);
	free(fields);
	free(names);
	return ok;
}

/* Of each field of the source the two names that the transform may give it. */
static bool
init_record_set(CdcDecoder *decoder, const char *prefix)
{
	int			nsource = decoder->source_set.nfields;
	int			n = REC_COUNT + 2 * nsource;
	const char **all = calloc((size_t) n, sizeof(char *));
	Name	   *names = calloc((size_t) (4 + 2 * nsource), sizeof(Name));
	Name	   *made = names;
	bool		ok = all && names;

	if (ok)
	{
		memcpy(all, record_names, sizeof(record_names));
		(void) snprintf(*made, sizeof(Name), "%sop", prefix);
		all[REC_OP] = *made++;
		all[REC_DELETED] = "__deleted";
		(void) snprintf(*made, sizeof(Name), "%sdeleted", prefix);
		all[REC_PREFIX_DELETED] = prefix[0] ? *made++ : all[REC_DELETED];
		(void) snprintf(*made, sizeof(Name), "%sts_ms", prefix);
		all[REC_TS_MS] = *made++;
	}
	for (int i = 0; ok && i < nsource; i++)
	{
		const CdcField *field = &decoder->source_set.fields[i];

		(void) snprintf(*made, sizeof(Name), "%ssource_%.*s", prefix,
						(int) field->len, field->name);
		all[REC_COUNT + 2 * i] = *made++;
		(void) snprintf(*made, sizeof(Name), "%s%.*s", prefix,
						(int) field->len, field->name);
		all[REC_COUNT + 2 * i + 1] = *made++;
	}
	ok = ok && cdc_set_init(&decoder->record_set, decoder->row_set.fields,
							decoder->nrow, all, n);
	free(all);
	free(names);
	return ok;
}

bool
cdc_records_init(CdcDecoder *decoder, const char *prefix)
{
	return init_record_set(decoder, prefix ? prefix : DEFAULT_PREFIX) &&
		init_cloud_set(decoder) &&
		cdc_image_init(&decoder->record, &decoder->record_set);
}

/*
 * Rows
 */

/*
 * The source's fields among those of the row.  __ts_ms is the connector's time,
 * not the source's.
 */
static bool
gather_source(CdcDecoder *decoder)
{
	const CdcToken *given = decoder->record.tokens + decoder->nrow + REC_COUNT;
	bool		any = false;

	for (int i = 0; i < decoder->source_set.nfields; i++)
	{
		const CdcToken *token = &given[2 * i];

		if (!cdc_is_present(token) && i != decoder->nsource + SRC_TS_MS)
			token++;
		decoder->source.tokens[i] = *token;
		any |= cdc_is_present(token);
	}
	return any;
}

/* What a row says of its source; whatever is no such thing is left alone. */
static void
take_row_source(CdcDecoder *decoder, CdcChange *change)
{
	const CdcToken *source = decoder->source.tokens + decoder->nsource;

	if (source[SRC_CONNECTOR].kind == CDC_JSON_STRING)
		change->connector = source[SRC_CONNECTOR];
	(void) cdc_take_int64(&source[SRC_TS_MS], &change->has_source_ts_ms,
						  &change->source_ts_ms);
	change->snapshot = cdc_is_snapshot(&source[SRC_SNAPSHOT]);
	change->incremental = cdc_token_says(&source[SRC_SNAPSHOT], "incremental");
	cdc_take_position(decoder, decoder->source.tokens + decoder->nsource, change);
}

/* What a mark of a deleted row says: 1 yes, 0 no, -1 nobody knows. */
static int
says_deleted(const CdcToken *token)
{
	int64_t		n;

	switch (token->kind)
	{
		case CDC_JSON_MISSING:
		case CDC_JSON_NULL:
		case CDC_JSON_FALSE:
			return 0;
		case CDC_JSON_TRUE:
			return 1;
		case CDC_JSON_NUMBER:
			return cdc_json_int64(token, &n) && (n == 0 || n == 1) ? (int) n : -1;
		case CDC_JSON_STRING:
			break;
		default:
			return -1;
	}
	if (cdc_token_says(token, "false") || cdc_token_says(token, "0") ||
		cdc_token_says(token, ""))
		return 0;
	if (cdc_token_says(token, "true") || cdc_token_says(token, "1"))
		return 1;
	if (token->len == 5 && strncasecmp(token->text, "false", 5) == 0)
		return 0;
	return token->len == 4 && strncasecmp(token->text, "true", 4) == 0 ? 1 : -1;
}

/* Is the row marked as deleted?  False for a mark that says neither. */
static bool
take_deleted(const CdcToken *mark, const char *start, CdcChange *change,
			 CdcDecodeError *error)
{
	int			deleted = says_deleted(mark);

	if (deleted < 0)
		return cdc_decode_error(error, (size_t) (mark->text - start),
								"the mark of a deleted row is %.*s, neither true nor false",
								cdc_token_clip(mark, 32), mark->text);
	if (deleted)
		change->op = 'd';
	return true;
}

/* Has it any field of the row? */
static bool
has_fields(const CdcDecoder *decoder)
{
	for (int i = 0; i < decoder->nrow; i++)
		if (cdc_is_present(&decoder->record.tokens[i]))
			return true;
	return false;
}

/*
 * What the row's marker says has happened to it.  A truncate is not of a row: one
 * that has a row as well means something else by it.
 */
static bool
take_row_op(const CdcDecoder *decoder, const CdcToken *op, CdcChange *change)
{
	if (!cdc_take_op(op, &change->op))
		return false;
	return change->op != 't' || !has_fields(decoder);
}

/* The record as a row: flattened, or any other JSON. */
static bool
take_row(CdcDecoder *decoder, const char *start, CdcChange *change,
		 CdcDecodeError *error)
{
	const CdcToken *tokens = decoder->record.tokens + decoder->nrow;
	const CdcToken *op = &tokens[REC_OP];

	change->shape = CDC_SHAPE_ROW;
	change->op = decoder->read_as == CDC_READ_PLAIN ? 'c' : 'u';
	change->marked = gather_source(decoder) || cdc_is_present(op) ||
		cdc_is_present(&tokens[REC_DELETED]) ||
		cdc_is_present(&tokens[REC_PREFIX_DELETED]);
	if (decoder->read_as != CDC_READ_PLAIN)
	{
		if (cdc_is_present(op) && op->kind != CDC_JSON_NULL &&
			!take_row_op(decoder, op, change))
			return cdc_decode_error(error, (size_t) (op->text - start),
									"unknown operation %.*s of the row",
									cdc_token_clip(op, 32), op->text);
		if (!take_deleted(&tokens[REC_DELETED], start, change, error) ||
			!take_deleted(&tokens[REC_PREFIX_DELETED], start, change, error))
			return false;
	}
	take_row_source(decoder, change);
	(void) cdc_take_int64(&tokens[REC_TS_MS], &change->has_ts_ms,
						  &change->ts_ms);
	if (change->op == 'd')
	{
		change->before = decoder->record.tokens;
		change->before_json = decoder->record.whole;
		change->has_before = true;
	}
	else
	{
		change->after = decoder->record.tokens;
		change->after_json = decoder->record.whole;
		change->has_after = true;
	}
	return true;
}

/*
 * CloudEvents
 */

/* The object in "data", or in its "payload" if it has that and a "schema". */
static bool
cloud_data(CdcDecoder *decoder, const CdcToken *data, CdcImage *image,
		   CdcChange *change)
{
	const CdcToken *payload = &image->tokens[ENV_PAYLOAD];
	const CdcToken *schema = &image->tokens[ENV_SCHEMA];
	CdcScanner	scanner;

	cdc_scanner_init(&scanner, data->text, data->len);
	if (!cdc_scan_image(&scanner, &decoder->envelope_set,
						&decoder->envelope_memo[0], image, NULL, NULL))
		return false;
	if (payload->kind != CDC_JSON_OBJECT || !cdc_is_object_or_null(schema))
		return true;
	if (schema->kind == CDC_JSON_OBJECT)
	{
		change->schema = schema->text;
		change->schema_len = schema->len;
	}
	cdc_scanner_init(&scanner, payload->text, payload->len);
	return cdc_scan_image(&scanner, &decoder->envelope_set,
						  &decoder->envelope_memo[1], image, NULL, NULL);
}

/* An image of the event, where there is one. */
static bool
cloud_image(CdcDecoder *decoder, const CdcToken *token, const char *name,
			const char *start, CdcImage *image, bool *has, CdcToken *json,
			CdcDecodeError *error)
{
	CdcScanner	scanner;

	if (token->kind == CDC_JSON_OBJECT)
	{
		cdc_scanner_init(&scanner, token->text, token->len);
		if (!cdc_scan_image(&scanner, &decoder->row_set, &decoder->row_memo,
							image, decoder->placeholder, NULL))
			return cdc_scanner_error(error, &scanner);
	}
	else
		image->whole = *token;
	return cdc_take_image(image, name, start, has, json, error);
}

/* The images in "data", or the row alone, which is what a transform leaves there. */
static bool
cloud_images(CdcDecoder *decoder, const CdcImage *data, const char *start,
			 CdcChange *change, CdcDecodeError *error)
{
	const CdcToken *before = &data->tokens[ENV_BEFORE];
	const CdcToken *after = &data->tokens[ENV_AFTER];

	if (!cdc_is_present(before) && !cdc_is_present(after) && data->nmembers > 0 &&
		change->op != 't')
	{
		if (change->op == 'd')
			before = &data->whole;
		else
			after = &data->whole;
	}
	return cloud_image(decoder, before, "before", start, &decoder->before,
					   &change->has_before, &change->before_json, error) &&
		cloud_image(decoder, after, "after", start, &decoder->after,
					&change->has_after, &change->after_json, error);
}

/*
 * Is it a CloudEvent?  Any other column may be called like one of its attributes,
 * but hardly all of them, with such a type or a whole event in "data".
 */
static bool
is_cloud_event(const CdcToken *tokens)
{
	const CdcToken *type = &tokens[REC_TYPE];

	if (tokens[REC_SPECVERSION].kind != CDC_JSON_STRING)
		return false;
	return cdc_is_present(&tokens[REC_CLOUD_OP]) ||
		(cdc_is_present(&tokens[REC_ID]) && type->kind == CDC_JSON_STRING &&
		 type->len > strlen(CLOUD_TYPE) &&
		 memcmp(type->text, CLOUD_TYPE, strlen(CLOUD_TYPE)) == 0);
}

static bool
take_cloud_event(CdcDecoder *decoder, const CdcImage *object,
				 const char *start, CdcChange *change, CdcDecodeError *error)
{
	const CdcToken *tokens = decoder->record.tokens + decoder->nrow;
	const CdcToken *op = &tokens[REC_CLOUD_OP];
	CdcToken	outer = object->whole;
	CdcImage   *data = &decoder->cloud_data;
	CdcScanner	scanner;

	if (tokens[REC_DATA].kind != CDC_JSON_OBJECT)
		return cdc_decode_error(error, 0,
								"the CloudEvent has no JSON in \"data\": Avro there is not decoded");
	if (!cloud_data(decoder, &tokens[REC_DATA], data, change))
		return cdc_decode_error(error, 0, "\"data\" of the event cannot be read");
	if (!cdc_is_present(op))
		op = &data->tokens[ENV_OP];
	if (!cdc_is_present(op))
		return cdc_decode_error(error, 0,
								"the CloudEvent does not tell the operation: set extension.attributes.enable of its converter");
	change->shape = CDC_SHAPE_CHANGE;
	if (!cdc_take_event_op(op, start, change, error))
		return false;
	cdc_scanner_init(&scanner, outer.text, outer.len);
	if (!cdc_scan_image(&scanner, &decoder->cloud_set, &decoder->cloud_memo,
						&decoder->source, NULL, NULL))
		return cdc_scanner_error(error, &scanner);
	memset(&decoder->source.whole, 0, sizeof(CdcToken));
	take_row_source(decoder, change);
	if (!cloud_images(decoder, data, start, change, error))
		return false;
	return cdc_check_images(op, start, change, error);
}

/*
 * Which kind of record it is
 */

/* 1700000000000000000.0000000000, as CockroachDB writes a time. */
static bool
is_cockroach_time(const CdcToken *token)
{
	const uint32_t fraction = 11;

	if (token->kind != CDC_JSON_STRING || token->len < 10 + fraction ||
		token->text[token->len - fraction] != '.')
		return false;
	for (uint32_t i = 0; i < token->len; i++)
		if (i != token->len - fraction && (token->text[i] < '0' || token->text[i] > '9'))
			return false;
	return true;
}

/*
 * A change of CockroachDB's own changefeed: "after" without "op", and nothing but
 * what its options add.
 */
static bool
is_cockroach(const CdcToken *tokens, int nmembers)
{
	int			known = cdc_is_present(&tokens[REC_AFTER]) +
		cdc_is_present(&tokens[REC_BEFORE]) + cdc_is_present(&tokens[REC_KEY]) +
		cdc_is_present(&tokens[REC_UPDATED]) + cdc_is_present(&tokens[REC_TOPIC]) +
		cdc_is_present(&tokens[REC_MVCC_TIMESTAMP]);

	return known == nmembers && cdc_is_present(&tokens[REC_AFTER]) &&
		(tokens[REC_AFTER].kind == CDC_JSON_OBJECT ||
		 tokens[REC_KEY].kind == CDC_JSON_ARRAY ||
		 is_cockroach_time(&tokens[REC_UPDATED]));
}

static bool
is_signal(const CdcToken *tokens, int nmembers)
{
	const CdcToken *type = &tokens[REC_TYPE];

	return nmembers == 2 + cdc_is_present(&tokens[REC_ID]) &&
		tokens[REC_DATA].kind == CDC_JSON_OBJECT &&
		(cdc_token_says(type, "execute-snapshot") ||
		 cdc_token_says(type, "stop-snapshot") ||
		 cdc_token_says(type, "pause-snapshot") ||
		 cdc_token_says(type, "resume-snapshot") ||
		 cdc_token_says(type, "schema-changes") ||
		 cdc_token_says(type, "set-binlog-position"));
}

/* Records of the other topics of a connector; ROW: it is none. */
static CdcShape
special_shape(const CdcToken *tokens, const CdcImage *object)
{
	const CdcToken *outer = object->tokens;
	int			times = cdc_is_present(&outer[ENV_TS_MS]) +
		cdc_is_present(&outer[ENV_TS_US]) + cdc_is_present(&outer[ENV_TS_NS]);

	if ((cdc_token_says(&tokens[REC_STATUS], "BEGIN") ||
		 cdc_token_says(&tokens[REC_STATUS], "END")) &&
		tokens[REC_ID].kind == CDC_JSON_STRING &&
		cdc_is_present(&tokens[REC_EVENT_COUNT]) &&
		cdc_is_present(&tokens[REC_DATA_COLLECTIONS]))
		return CDC_SHAPE_TRANSACTION;
	if ((cdc_is_present(&tokens[REC_DDL]) ||
		 cdc_is_present(&tokens[REC_TABLE_CHANGES])) &&
		cdc_is_present(&tokens[REC_DATABASE_NAME]) &&
		outer[ENV_SOURCE].kind == CDC_JSON_OBJECT)
		return CDC_SHAPE_SCHEMA_CHANGE;
	if (outer[ENV_TS_MS].kind == CDC_JSON_NUMBER && times == object->nmembers)
		return CDC_SHAPE_HEARTBEAT;
	if (cdc_is_present(&tokens[REC_AGGREGATE_TYPE]) &&
		cdc_is_present(&tokens[REC_ADDITIONAL_DATA]) &&
		cdc_is_present(&tokens[REC_TYPE]) && cdc_is_present(&tokens[REC_ID]))
		return CDC_SHAPE_NOTIFICATION;
	if (is_signal(tokens, object->nmembers))
		return CDC_SHAPE_SIGNAL;
	if (object->nmembers == 1 && is_cockroach_time(&tokens[REC_RESOLVED]))
		return CDC_SHAPE_HEARTBEAT;
	return CDC_SHAPE_ROW;
}

/* Has the object's text this member's name in it? */
static bool
mentions(const CdcToken *object, const char *word)
{
	size_t		len = strlen(word);

	for (uint32_t i = 0; i + len <= object->len; i++)
		if (memcmp(object->text + i, word, len) == 0)
			return true;
	return false;
}

/* The name of another tool's format, or NULL. */
static const char *
foreign_format(const CdcToken *tokens, int nmembers)
{
	bool		names_table = cdc_is_present(&tokens[REC_DATABASE]) &&
		cdc_is_present(&tokens[REC_TABLE]) && cdc_is_present(&tokens[REC_TYPE]);

	if (names_table && cdc_is_present(&tokens[REC_IS_DDL]))
		return "Canal (canal-json)";
	if (names_table && cdc_is_present(&tokens[REC_TS]) &&
		tokens[REC_DATA].kind == CDC_JSON_OBJECT)
		return "Maxwell (maxwell-json)";
	if (cdc_is_present(&tokens[REC_OP_TYPE]) &&
		cdc_is_present(&tokens[REC_OP_TS]) &&
		cdc_is_present(&tokens[REC_TABLE]) &&
		(cdc_is_present(&tokens[REC_BEFORE]) ||
		 cdc_is_present(&tokens[REC_AFTER])))
		return "Oracle GoldenGate (ogg-json)";
	if (tokens[REC_METADATA].kind == CDC_JSON_OBJECT &&
		(tokens[REC_DATA].kind == CDC_JSON_OBJECT ||
		 tokens[REC_CONTROL].kind == CDC_JSON_OBJECT) &&
		mentions(&tokens[REC_METADATA], "\"record-type\""))
		return "AWS DMS";
	if (is_cockroach(tokens, nmembers))
		return "a CockroachDB changefeed (\"after\" without \"op\")";
	return NULL;
}

bool
cdc_take_record(CdcDecoder *decoder, const CdcImage *object,
				const char *start, CdcChange *change, CdcDecodeError *error)
{
	const CdcToken *tokens = decoder->record.tokens + decoder->nrow;

	/* a skeleton has restored it already */
	if (!(decoder->frame & CDC_FRAME_ROW))
	{
		CdcScanner	scanner;

		cdc_scanner_init(&scanner, object->whole.text, object->whole.len);
		if (!cdc_scan_image(&scanner, &decoder->record_set,
							&decoder->record_memo, &decoder->record,
							decoder->placeholder, NULL))
			return cdc_scanner_error(error, &scanner);
	}
	if (decoder->read_as >= CDC_READ_FLAT)
		return take_row(decoder, start, change, error);
	if (is_cloud_event(tokens))
		return take_cloud_event(decoder, object, start, change, error);
	change->shape = special_shape(tokens, object);
	if (change->shape != CDC_SHAPE_ROW)
		return true;
	change->format = foreign_format(tokens, object->nmembers);
	if (change->format == NULL)
		return take_row(decoder, start, change, error);
	change->shape = CDC_SHAPE_FOREIGN;
	return true;
}
