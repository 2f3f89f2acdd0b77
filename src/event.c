/*-------------------------------------------------------------------------
 *
 * event.c
 *	  The record that is being added to a window: its place, key, time and
 *	  schema, and what becomes of a bad one.
 *
 * In the caller's transaction under cdc_pin_settings().  What outlives the record
 * is in the window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "evidence.h"
#include "fit.h"
#include "parcel.h"
#include "source_watch.h"
#include "value.h"
#include "window.h"

/* From the epoch of Unix to that of PostgreSQL. */
#define USECS_TO_EPOCH	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/*
 * Where the record comes from.  Each record that wins needs it, so it is written
 * where it is to be: made as a value and copied, it took 6 % of a sync.
 */
void
cdc_event_get_origin(const CdcRank *rank, const CdcEvent *rec, CdcOrigin *at)
{
	const CdcChunk *c = rec->chunk;

	at->partition = c->partition;
	at->epoch = c->epoch;
	at->synced = rank->looking_back && rec->since == 0;
	at->offset = rec->offset;
	at->ordinal = rank->ordinal;
	at->since = rec->since;
	at->old_key = rec->old_key;
	at->kafka_timestamp = c->timestamps ? c->timestamps[rec->i] : DT_NOBEGIN;
	if (rec->change.shape == CDC_SHAPE_CHANGE || rec->change.shape == CDC_SHAPE_ROW)
	{
		at->op = rec->change.op;
		at->position = rec->change.position;
		at->source_ts_ms = rec->change.has_source_ts_ms ? rec->change.source_ts_ms : 0;
	}
	else
	{
		at->op = 0;
		memset(&at->position, 0, sizeof(CdcPosition));
		at->source_ts_ms = 0;
	}
}

void
cdc_event_spread(const CdcRank *rank, const CdcToken *image, const CdcToken *source,
				 CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcColumn *c = &rank->target->columns[i];

		if (c->source == CDC_COLUMN_FIELD && image)
			tokens[i] = image[c->index];
		else if (c->source == CDC_COLUMN_SOURCE_FIELD && source)
			tokens[i] = source[c->index];
		else
			memset(&tokens[i], 0, sizeof(CdcToken));
	}
}

const char *
cdc_event_record_key(CdcRank *rank, const CdcEvent *rec, const CdcToken *source,
					 CdcToken *tokens, CdcBytes *key)
{
	CdcRankState *st = rank->state;
	const CdcBytes *bytes = cdc_event_key(rec);

	if (!cdc_decode_key(st->decoder, bytes->data, bytes->len, st->scalar_field,
						st->key_fields, &st->key_error))
		return "";
	if (rank->evidence)
		cdc_evidence_mark(rank->evidence, st->key_fields, rec->chunk, rec->offset);
	cdc_event_spread(rank, st->key_fields, source, tokens);
	return cdc_winner_key(rank, tokens, key);
}

/*
 * A bad record may have changed its key's row in a way that we cannot tell:
 * later changes that leave values out must not take them from before it.
 */
static void
break_key(CdcRank *rank, const CdcEvent *rec, CdcBadRecord *bad)
{
	CdcRankState *st = rank->state;
	CdcBytes	key;
	CdcWinner  *w;

	bool		known = cdc_event_record_key(rank, rec, NULL, st->bad_tokens, &key) == NULL;

	if (rank->seen && (known || (rec->change.op != 'd' && rec->change.shape != CDC_SHAPE_TOMBSTONE)))
		rank->seen(rank->seen_arg, known ? st->bad_tokens : NULL, NULL, CDC_CONNECTOR_UNKNOWN, NULL);
	if (rank->seen || !known)
		return;
	w = cdc_winner_find(rank, &key);
	if (w)
		cdc_winner_break(rank, w, &bad->at);
	bad->has_key = cdc_rank_key_hash(rank, st->bad_tokens, st->schema, st->connector,
									 &bad->key_hash);
}

CdcBadRecord *
cdc_event_bad(CdcRank *rank, CdcEvent *rec, const char *column, int sqlerrcode,
			  const char *message)
{
	const CdcChunk *chunk = rec->chunk;
	MemoryContext old;
	CdcOrigin	at;
	CdcBadRecord *bad;

	if (rank->looking_back)
		return &rank->state->known_bad; /* it is in quarantine already */
	cdc_event_get_origin(rank, rec, &at);
	old = MemoryContextSwitchTo(rank->context);
	bad = cdc_rank_bad(rank, &at, column, sqlerrcode, message);
	/* who has no bytes of it leaves them to be read */
	if (rec->since == 0 && !(chunk->parcel && cdc_parcel_is_decoded(chunk->parcel, rec->i)))
	{
		Jsonb	   *headers = cdc_chunk_headers(chunk, rec->i);

		bad->bytes = palloc(sizeof(CdcRecordBytes));
		bad->bytes->key = cdc_copy_bytes(&chunk->keys[rec->i]);
		bad->bytes->value = cdc_copy_bytes(&chunk->values[rec->i]);
		bad->bytes->headers = headers ?
			memcpy(palloc(VARSIZE(headers)), headers, VARSIZE(headers)) : NULL;
		bad->bytes->timestamp = chunk->timestamps ? chunk->timestamps[rec->i] : DT_NOBEGIN;
		bad->bytes->refresh_time = chunk->refresh_time;
	}
	MemoryContextSwitchTo(old);
	break_key(rank, rec, bad);
	return bad;
}

/*
 * When the source made the change: its own clock, in microseconds where the
 * connector gives them; where the record does not tell, Kafka's.
 */
Timestamp
cdc_event_time(const CdcRank *rank, const CdcEvent *rec)
{
	const CdcChange *change = &rec->change;
	const CdcChunk *chunk = rec->chunk;
	int64		us;

	if (change->shape == CDC_SHAPE_CHANGE && rank->target->ts_us >= 0 &&
		change->source[rank->target->ts_us].kind == CDC_JSON_NUMBER &&
		cdc_json_int64(&change->source[rank->target->ts_us], &us))
		return us - USECS_TO_EPOCH;
	if (change->shape == CDC_SHAPE_CHANGE && change->has_source_ts_ms)
		return change->source_ts_ms * 1000 - USECS_TO_EPOCH;
	if (chunk->timestamps && !TIMESTAMP_NOT_FINITE(chunk->timestamps[rec->i]))
		return chunk->timestamps[rec->i];
	return chunk->refresh_time;
}

/* Not 0. */
int64
cdc_event_key_hash(const CdcBytes *key)
{
	return key->data ? (int64) (hash_bytes_extended((const unsigned char *) key->data,
													key->len, 0) | 1) : 1;
}

void
cdc_event_note_delete(CdcEvent *rec, bool resent)
{
	rec->progress->deleted_key = cdc_event_key_hash(cdc_event_key(rec));
	rec->progress->resent_delete = resent;
}

/* Make what the window keeps of an embedded schema; NULL if it cannot be read. */
static CdcRowSchema *
read_schema(CdcRank *rank, const CdcChange *change)
{
	CdcDecodeError error;
	CdcSchema  *schema = cdc_schema_parse(change->schema, change->schema_len, &error);
	MemoryContext old;
	CdcRowSchema *rs;

	if (schema == NULL)
		return NULL;
	old = MemoryContextSwitchTo(rank->context);
	rs = palloc0(sizeof(CdcRowSchema));
	rs->schema = schema;
	rs->by_column = palloc0(sizeof(CdcSchemaField *) * rank->target->ncolumns);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].source == CDC_COLUMN_FIELD)
			rs->by_column[i] = cdc_value_schema_field(schema,
													  &rank->target->fields[rank->target->columns[i].index]);
	rank->state->schemas = lappend(rank->state->schemas, rs);
	MemoryContextSwitchTo(old);
	return rs;
}

/* Warn of columns that cannot take what the schema announces. */
static void
check_fit(CdcRank *rank, CdcRowSchema *rs)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rs->by_column[i])
			cdc_fit_check_column(&rank->target->columns[i], rs->by_column[i]);
	rs->checked = true;
}

/* The schema of a record, if it was seen in the window. */
static CdcRowSchema *
find_schema(CdcRankState *st, const CdcChange *change)
{
	if (change->schema_no != 0 && change->schema_no == st->found_schema_no)
		return st->found_schema;
	for (int i = list_length(st->schemas) - 1; i >= 0; i--)
	{
		CdcRowSchema *rs = list_nth(st->schemas, i);

		if (rs->schema->len == change->schema_len &&
			memcmp(rs->schema->text, change->schema, change->schema_len) == 0)
		{
			st->found_schema = rs;
			st->found_schema_no = change->schema_no;
			return rs;
		}
	}
	return NULL;
}

CdcContext
cdc_event_note_context(CdcRank *rank, const CdcChange *change, const CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	const CdcToken *name = &change->connector;
	/* what comes out of quarantine was looked at before */
	bool		watched = rank->watch && rec && rec->since == 0 && !rank->looking_back;
	CdcOrigin	at;
	CdcRowSchema *rs;

	if (name->len != st->connector_name.len || name->len > sizeof(st->connector_buf) ||
		memcmp(name->text, st->connector_buf, name->len) != 0)
	{
		st->connector = cdc_connector_of(name);
		st->connector_name.len = name->len;
		memcpy(st->connector_buf, name->text, Min(name->len, sizeof(st->connector_buf)));
	}

	if (watched && rank->watch->ddls != NIL &&
		!cdc_source_watch_order(rank->watch, change))
		return CDC_CONTEXT_CHANGED;
	watched = watched && !rank->watch->order_only;
	if (change->schema == NULL)
	{
		st->schema = NULL;
		if (!watched || !change->new_names || !change->has_after)
			return CDC_CONTEXT_NOTED;
		cdc_event_get_origin(rank, rec, &at);
		return cdc_source_watch_names(rank->watch, change, &at) ?
			CDC_CONTEXT_NOTED : CDC_CONTEXT_CHANGED;
	}
	rs = find_schema(st, change);
	if (rs == NULL && (rs = read_schema(rank, change)) == NULL)
		return CDC_CONTEXT_UNREADABLE;
	if (watched && rs != st->schema)
	{
		cdc_event_get_origin(rank, rec, &at);
		if (!cdc_source_watch_schema(rank->watch, rs->schema, change, st->connector, &at))
			return CDC_CONTEXT_CHANGED;
	}
	/* who ranks a window again has been warned */
	if (!rs->checked && rank->refusals == NULL)
		check_fit(rank, rs);
	st->schema = rs;
	return CDC_CONTEXT_NOTED;
}
