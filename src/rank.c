/*-------------------------------------------------------------------------
 *
 * rank.c
 *	  The latest change of each key in a window.
 *
 * A record is decoded, and replaces its key's winner (winner.c), which keeps the
 * values that it left out; only the values that the target wants are copied.
 * Here it is decided what a record means: an upsert, a delete, a truncate, a
 * change of the key (rename.c), a re-send, or nothing.
 *
 * Runs in the caller's transaction under cdc_pin_settings().  All memory is in
 * the window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "evidence.h"
#include "fit.h"
#include "snapshot.h"
#include "source_watch.h"
#include "value.h"
#include "window.h"

/* From the epoch of Unix to that of PostgreSQL. */
#define USECS_TO_EPOCH	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* The parsed schemas are malloc'ed. */
static void
free_schemas(void *arg)
{
	ListCell   *lc;

	foreach(lc, ((CdcRankState *) arg)->schemas)
		cdc_schema_free(((CdcRowSchema *) lfirst(lc))->schema);
}

CdcRank *
cdc_rank_begin(const CdcTarget *target, CdcDecoder *decoder, CdcMoves *moves,
			   bool multi_partition)
{
	CdcRank    *rank = palloc0(sizeof(CdcRank));
	CdcRankState *st = palloc0(sizeof(CdcRankState));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = free_schemas;
	callback->arg = st;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	rank->target = target;
	rank->multi_partition = multi_partition;
	rank->context = CurrentMemoryContext;
	rank->state = st;
	cdc_winners_begin(rank);

	st->decoder = decoder;
	st->moves = moves;
	initStringInfo(&st->key_buf);
	st->key_fields = palloc0(sizeof(CdcToken) * Max(target->nfields, 1));
	st->tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->old_tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->merged = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->bad_tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->scalar_field = -1;
	if (target->nkeys == 1 &&
		target->columns[target->keys[0]].source == CDC_COLUMN_FIELD)
		st->scalar_field = target->columns[target->keys[0]].index;
	return rank;
}

Size
cdc_rank_memory(const CdcRank *rank)
{
	return MemoryContextMemAllocated(rank->context, true);
}

CdcBadRecord *
cdc_rank_bad(CdcRank *rank, const CdcOrigin *at, const char *column,
			 int sqlerrcode, const char *message)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	CdcBadRecord *bad;

	if (rank->nbad == rank->maxbad)
	{
		rank->maxbad = Max(64, rank->maxbad * 2);
		rank->bad = rank->bad ?
			repalloc_huge(rank->bad, sizeof(CdcBadRecord) * rank->maxbad) :
			palloc(sizeof(CdcBadRecord) * rank->maxbad);
	}
	bad = &rank->bad[rank->nbad++];
	memset(bad, 0, sizeof(CdcBadRecord));
	bad->at = *at;
	bad->column = column;
	bad->sqlerrcode = sqlerrcode;
	bad->message = pstrdup(message);
	bad->blocked_by = -1;
	MemoryContextSwitchTo(old);
	return bad;
}

CdcOrigin
cdc_event_origin(const CdcRank *rank, const CdcEvent *rec)
{
	const CdcChunk *c = rec->chunk;
	CdcOrigin	at = {
		.partition = c->partition,
		.epoch = c->epoch,
		.synced = rank->looking_back && rec->since == 0,
		.offset = rec->offset,
		.ordinal = rank->ordinal,
		.since = rec->since,
		.old_key = rec->old_key,
		.kafka_timestamp = c->timestamps ? c->timestamps[rec->i] : DT_NOBEGIN,
	};

	if (rec->change.shape == CDC_SHAPE_CHANGE || rec->change.shape == CDC_SHAPE_ROW)
	{
		at.op = rec->change.op;
		at.position = rec->change.position;
		at.source_ts_ms = rec->change.has_source_ts_ms ? rec->change.source_ts_ms : 0;
	}
	return at;
}

/* Spread an image's tokens, which are by field, over the columns. */
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

/*
 * The key of the row that the record's own key names, in key_buf.  Returns NULL,
 * or the name of the column that it lacks, "" if it cannot be read at all.
 */
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
	{
		CdcOrigin	at = cdc_event_origin(rank, rec);

		cdc_evidence_mark(rank->evidence, st->key_fields, &at);
	}
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

	if (cdc_event_record_key(rank, rec, NULL, st->bad_tokens, &key) != NULL)
		return;
	if (rank->seen)
	{
		rank->seen(rank->seen_arg, rank->state->bad_tokens, NULL, CDC_CONNECTOR_UNKNOWN, NULL);
		return;
	}
	w = cdc_winner_find(rank, &key);
	if (w)
		w->broken_by = rec->offset;
	bad->has_key = cdc_rank_key_hash(rank, st->bad_tokens, st->schema, st->connector,
									 &bad->key_hash);
}

/* The record at hand is bad: keep its bytes, they are here. */
CdcBadRecord *
cdc_event_bad(CdcRank *rank, CdcEvent *rec, const char *column, int sqlerrcode,
			  const char *message)
{
	const CdcChunk *chunk = rec->chunk;
	MemoryContext old;
	CdcOrigin	at = cdc_event_origin(rank, rec);
	CdcBadRecord *bad;

	if (rank->looking_back)
		return &rank->state->known_bad; /* it is in quarantine already */
	old = MemoryContextSwitchTo(rank->context);
	bad = cdc_rank_bad(rank, &at, column, sqlerrcode, message);
	if (rec->since == 0)
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
static int64
hash_key(const CdcBytes *key)
{
	return key->data ? (int64) (hash_bytes_extended((const unsigned char *) key->data,
													key->len, 0) | 1) : 1;
}

/* The tombstone of the delete at hand is to be left out. */
void
cdc_event_note_delete(CdcEvent *rec, bool resent)
{
	rec->progress->deleted_key = hash_key(cdc_event_key(rec));
	rec->progress->resent_delete = resent;
}

/* Does a change leave out what the winner of its key may have? */
static bool
leaves_out(const CdcRank *rank, const CdcToken *tokens, const CdcWinner *w)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if ((tokens[i].flags & CDC_JSON_UNAVAILABLE) ||
			(tokens[i].kind == CDC_JSON_MISSING && w->tokens[i].kind != CDC_JSON_MISSING))
			return true;
	return false;
}

/* Does a row leave out anything? */
static bool
is_partial(const CdcRank *rank, const CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].source == CDC_COLUMN_FIELD &&
			!cdc_token_is_set(&tokens[i]))
			return true;
	return false;
}

/*
 * What a row that has come under this key has to do with key changes: did it take
 * values from the old key's row?
 */
static bool
arrive(CdcRank *rank, CdcEvent *rec, const CdcBytes *key, CdcToken *tokens)
{
	cdc_rename_settle(rank, rec, key, tokens);
	if (rec->rename && rec->rename->has_old && !cdc_bytes_equal(rec->rename->key, *key))
		return cdc_rename_arrive(rank, rec, key, tokens);
	return false;
}

static void upsert_before(CdcRank *rank, CdcEvent *rec, CdcWinner *w,
						  const CdcBytes *key, CdcToken *tokens, char op);

/* A row under this key now has these values, as far as they are told. */
static void
upsert(CdcRank *rank, CdcEvent *rec, const CdcBytes *key, CdcToken *tokens, char op)
{
	CdcMode		mode = rank->target->mode;
	bool		arrived = false;
	bool		isnew;
	CdcWinner  *w;

	if (rank->seen)
	{
		rank->seen(rank->seen_arg, tokens, rank->state->schema, rank->state->connector,
				   &rec->change);
		return;
	}
	w = cdc_winner_get(rank, rec, key, tokens, &isnew);
	if (w == NULL)
		return;
	if (!isnew && cdc_event_is_older(rank, rec, w))
	{
		if (mode == CDC_MODE_HISTORY)
			cdc_history_insert(rank, rec, w, tokens, op, false);
		else
			upsert_before(rank, rec, w, key, tokens, op);
		return;
	}
	if (!isnew && w->broken_by >= 0 && !rank->looking_back)
	{
		if (mode == CDC_MODE_HISTORY || leaves_out(rank, tokens, w))
		{
			int64		broken_by = w->broken_by;
			CdcBadRecord *bad = cdc_event_bad(rank, rec, NULL,
											  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
											  CDC_BLOCKED_MESSAGE);

			bad->blocked_by = broken_by;
			bad->has_key = cdc_rank_key_hash(rank, tokens, rank->state->schema,
											 rank->state->connector, &bad->key_hash);
			return;
		}
		w->broken_by = -1;
	}
	arrived = arrive(rank, rec, key, tokens);
	if (mode == CDC_MODE_HISTORY)
	{
		if (!isnew && cdc_history_repeats(rank, rec, w, tokens))
			return;
		if (!isnew)
			cdc_history_push(rank, w);
		w->fresh = false;
	}
	if (isnew && mode != CDC_MODE_MIRROR)
		w->fresh = rank->truncated;
	if (!isnew && w->deleted)
	{
		if (rank->multi_partition)
			cdc_winner_set_floor(rank, w, &w->last);
		w->deleted = w->marked = false;
		w->fresh = true;
		w->norigins = 0;
		cdc_winner_set_tokens(rank, w, tokens, cdc_event_key(rec));
	}
	else if (!isnew)
	{
		cdc_winner_merge(rank, w, rec, tokens);
		cdc_winner_set_tokens(rank, w, rank->state->merged, cdc_event_key(rec));
	}
	else
		cdc_winner_set_tokens(rank, w, tokens, cdc_event_key(rec));
	if (arrived)
	{
		MemoryContext old = MemoryContextSwitchTo(rank->context);

		w->from = palloc(sizeof(CdcSourceRow));
		w->from->key = cdc_copy_bytes(&rec->rename->key);
		w->from->position = rec->change.position;
		MemoryContextSwitchTo(old);
	}
	cdc_winner_set_event(rank, w, rec, op);
	if (op == 'c' && rank->multi_partition && is_partial(rank, w->tokens))
		cdc_winner_set_floor(rank, w, &w->last);
}

/*
 * The same, of a record of another partition that is older than the winner.
 * What a create does not tell cannot come from what was before it.
 */
static void
upsert_before(CdcRank *rank, CdcEvent *rec, CdcWinner *w, const CdcBytes *key,
			  CdcToken *tokens, char op)
{
	CdcOrigin	now = cdc_event_origin(rank, rec);

	if (cdc_winner_is_over(w, &now))
		return;
	(void) arrive(rank, rec, key, tokens);
	if (op == 'c')
		cdc_winner_cut(rank, w, &now);
	cdc_winner_fill(rank, w, &now, tokens);
}

/*
 * The row of this key was gone, before it came again as the winner, which is of
 * another partition.
 */
static void
delete_before(CdcRank *rank, CdcEvent *rec, CdcWinner *w, const CdcBytes *key,
			  const CdcToken *tokens, bool leaves)
{
	CdcOrigin	now = cdc_event_origin(rank, rec);

	if (cdc_winner_is_over(w, &now))
		return;
	if (leaves)
	{
		CdcWinner	was = *w;

		was.tokens = cdc_winner_tokens_before(rank, w, &now);
		cdc_rename_depart(rank, rec, &was, key, tokens);
	}
	cdc_winner_cut(rank, w, &now);
	w->fresh = true;
}

/* A row that the window has made or changed is deleted, and stays as it was. */
static void
mark_deleted(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op)
{
	w->deleted = w->marked = true;
	w->broken_by = -1;
	cdc_winner_set_event(rank, w, rec, op);
	w->ended = w->time;
}

/* The row of this key is gone. */
static void
delete_row(CdcRank *rank, CdcEvent *rec, const CdcBytes *key, const CdcToken *tokens,
		   char op)
{
	CdcMode		mode = rank->target->mode;
	/* what is tried again has told of the new key the first time */
	bool		leaves = rec->since == 0 && rec->rename && rec->rename->has_new &&
	!cdc_bytes_equal(rec->rename->key, *key);
	bool		isnew;
	CdcWinner  *w;

	if (rank->seen)
		return;
	w = cdc_winner_get(rank, rec, key, tokens, &isnew);
	if (w == NULL)
		return;
	if (!isnew && cdc_event_is_older(rank, rec, w))
	{
		if (mode == CDC_MODE_HISTORY)
			cdc_history_insert(rank, rec, w, tokens, op, true);
		else
			delete_before(rank, rec, w, key, tokens, leaves);
		return;
	}
	if (!isnew && w->deleted && w->broken_by < 0 &&
		(mode == CDC_MODE_MIRROR ? rec->change.shape == CDC_SHAPE_TOMBSTONE &&
		 !rank->multi_partition : true))
		return;					/* the delete itself says more */
	if (!isnew && mode == CDC_MODE_HISTORY && w->broken_by >= 0)
	{
		int64		broken_by = w->broken_by;

		cdc_event_bad(rank, rec, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  CDC_BLOCKED_MESSAGE)->blocked_by = broken_by;
		return;
	}
	if (leaves)
		cdc_rename_moved_on(rank, key);
	else
		cdc_rename_settle(rank, rec, key, NULL);
	if (leaves && !isnew)
		cdc_rename_depart(rank, rec, w, key, tokens);
	if (mode == CDC_MODE_SOFT_DELETE && !isnew)
	{
		mark_deleted(rank, w, rec, op);
		return;
	}
	if (mode == CDC_MODE_HISTORY && !isnew)
		cdc_history_push(rank, w);
	w->deleted = true;
	w->from = NULL;
	w->fresh = isnew && rank->truncated && mode != CDC_MODE_MIRROR;
	w->floor = NULL;
	w->broken_by = -1;
	w->norigins = 0;
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		rank->state->merged[i] = tokens[i];
		if (rank->target->columns[i].key_no < 0)
			memset(&rank->state->merged[i], 0, sizeof(CdcToken));
	}
	cdc_winner_set_tokens(rank, w, rank->state->merged, cdc_event_key(rec));
	cdc_winner_set_event(rank, w, rec, op);
	w->ended = w->time;
	if (leaves && isnew)
		cdc_rename_depart(rank, rec, NULL, key, tokens);
}

/* Is the key of the before image, as far as it is there, that of the row? */
static bool
before_has_same_key(const CdcRank *rank, const CdcChange *change,
					const CdcToken *tokens)
{
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];
		const CdcToken *now = &tokens[rank->target->keys[k]];
		const CdcToken *then;

		if (c->source != CDC_COLUMN_FIELD)
			continue;
		then = &change->before[c->index];
		if (then->kind != CDC_JSON_MISSING &&
			(then->kind != now->kind || then->len != now->len ||
			 memcmp(then->text, now->text, now->len) != 0))
			return false;
	}
	return true;
}

/* A key change in one event (u): as its two halves. */
static void
change_key(CdcRank *rank, CdcEvent *rec, const CdcBytes *old_key,
		   const CdcBytes *new_key)
{
	CdcRankState *st = rank->state;
	CdcRename leave = {.has_new = true,.key = *new_key,.tokens = st->tokens};
	CdcRename come = {.has_old = true,.key = cdc_copy_bytes(old_key),.tokens = st->old_tokens};

	/* what the event leaves out stays as it is: it is the same row */
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (st->tokens[i].kind == CDC_JSON_MISSING &&
			rank->target->columns[i].source == CDC_COLUMN_FIELD)
			st->tokens[i].flags |= CDC_JSON_UNAVAILABLE;
	if (rec->since == 0 || rec->old_key)
	{
		rec->rename = &leave;
		delete_row(rank, rec, &come.key, st->old_tokens, 'u');
	}
	if (rec->since == 0 || !rec->old_key)
	{
		rec->rename = &come;
		upsert(rank, rec, new_key, st->tokens, 'u');
	}
}

/* c, r, u */
static void
add_upsert(CdcRank *rank, CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	const char *missing;
	CdcBytes	key;

	if (!rec->change.has_after)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
				   "change event without an after image");
		return;
	}
	cdc_event_spread(rank, rec->change.after, rec->change.source, st->tokens);
	missing = cdc_winner_key(rank, st->tokens, &key);
	if (missing && (rec->change.partial || rec->change.shape == CDC_SHAPE_ROW))
	{
		cdc_event_key_from_record(rank, rec);
		missing = cdc_winner_key(rank, st->tokens, &key);
	}
	if (missing)
	{
		cdc_event_bad(rank, rec, missing, ERRCODE_NOT_NULL_VIOLATION,
				   "the event has no value for the key column");
		return;
	}
	if (rec->change.op == 'u' && rec->change.has_before &&
		!before_has_same_key(rank, &rec->change, st->tokens))
	{
		CdcBytes	new_key = cdc_copy_bytes(&key);
		CdcBytes	old_key;

		cdc_event_spread(rank, rec->change.before, rec->change.source, st->old_tokens);
		if (cdc_winner_key(rank, st->old_tokens, &old_key) == NULL &&
			!cdc_bytes_equal(old_key, new_key) &&
			!cdc_winner_keys_equal(rank, st->old_tokens, st->tokens))
		{
			change_key(rank, rec, &old_key, &new_key);
			return;
		}
		upsert(rank, rec, &new_key, st->tokens, 'u');
		return;
	}
	upsert(rank, rec, &key, st->tokens, rec->change.op);
}

/* A key that is a JSON string by itself: nothing tells text, digits and base64. */
static bool
key_is_bare_string(const CdcEvent *rec)
{
	const CdcBytes *bytes = cdc_event_key(rec);

	return bytes->data && bytes->len > 0 && bytes->data[0] == '"';
}

/* d, and a tombstone, which is a delete without images */
static void
add_delete(CdcRank *rank, CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	bool		tombstone = rec->change.shape == CDC_SHAPE_TOMBSTONE;
	const CdcToken *source = tombstone ? NULL : rec->change.source;
	const char *missing;
	CdcBytes	key;

	missing = tombstone || !rec->change.has_before || !key_is_bare_string(rec) ?
		cdc_event_record_key(rank, rec, source, st->tokens, &key) : "";
	if (missing && !tombstone && rec->change.has_before)
	{
		cdc_event_spread(rank, rec->change.before, source, st->tokens);
		missing = cdc_winner_key(rank, st->tokens, &key);
		/* what its tombstone, which has no before image, could not tell */
		if (missing == NULL)
			cdc_event_note_delete(rec, false);
		else
			missing = cdc_event_record_key(rank, rec, source, st->tokens, &key);
	}
	if (missing)
	{
		if (tombstone && cdc_event_key(rec)->data == NULL)
			return;				/* says nothing */
		if (*missing == '\0')
			cdc_event_bad(rank, rec, NULL, ERRCODE_NOT_NULL_VIOLATION,
						  psprintf("the key of the delete cannot be read: %s",
								   st->key_error.message));
		else
			cdc_event_bad(rank, rec, missing, ERRCODE_NOT_NULL_VIOLATION,
						  tombstone ? "the tombstone's key cannot be read" :
						  "the delete has no value for the key column");
		return;
	}
	/* which comes right after it, and has nothing to add */
	if (!tombstone && rank->multi_partition)
		cdc_event_note_delete(rec, false);
	delete_row(rank, rec, &key, st->tokens, 'd');
}

/* A truncate ends all rows that are there; those that it has ended stay. */
static void
end_rows(CdcRank *rank, CdcEvent *rec)
{
	CdcBytes	no_key = {NULL, 0};
	int64		n = rank->nwinners;

	for (int64 i = 0; i < n; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->deleted || w->archived || w->tokens == NULL)
			continue;
		if (rank->target->mode == CDC_MODE_HISTORY)
		{
			cdc_history_push(rank, w);
			w->fresh = false;
		}
		mark_deleted(rank, w, rec, 't');
		w->marked = rank->target->mode == CDC_MODE_SOFT_DELETE;
	}
	if (rank->truncate == NULL)
	{
		rank->truncate = cdc_winner_new(rank, &no_key);
		rank->nwinners--;
		cdc_winner_set_event(rank, rank->truncate, rec, 't');
		rank->truncate->deleted = true;
		rank->truncate->ended = rank->truncate->time;
	}
}

/* What is older than the truncate is gone; newer rows begin after it. */
static void
truncate_winners(CdcRank *rank, const CdcOrigin *at)
{
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (rank->looking_back && !rank->all_keys &&
			(w->threshold == NULL || !cdc_origin_older(w->threshold, at)))
			continue;
		if (cdc_origin_older(&w->last, at))
			cdc_winner_bury(rank, w, at);
		else if (!w->deleted && !cdc_winner_is_over(w, at))
		{
			cdc_winner_cut(rank, w, at);
			w->fresh = true;
		}
	}
}

/* The same of the records that are bad. */
static void
truncate_bad(CdcRank *rank, const CdcOrigin *at)
{
	int64		left = 0;

	for (int64 i = 0; i < rank->nbad; i++)
		if (!cdc_origin_older(&rank->bad[i].at, at))
			rank->bad[left++] = rank->bad[i];
	rank->nbad = left;
}

/* Can a truncate be put in its place among the changes of other partitions? */
static bool
truncates(const CdcRank *rank)
{
	return !rank->multi_partition ||
		(rank->target->mode == CDC_MODE_MIRROR && !rank->target->keyless &&
		 rank->target->nscope == 0);
}

/* The table is empty, in the way of the pipeline's mode. */
static void
truncate(CdcRank *rank, CdcEvent *rec, const CdcOrigin *now)
{
	if (rank->target->nscope > 0 && rank->target->mode != CDC_MODE_MIRROR)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_FEATURE_NOT_SUPPORTED,
					  "truncate of one of several sources is supported in mode \"mirror\" only");
		return;
	}
	if (rank->target->nscope > 0)
	{
		cdc_scope_truncate(rank, rec);
		return;
	}
	cdc_moves_truncate(rank->state->moves, rank->multi_partition ? &now->position : NULL);
	if (rank->multi_partition && truncates(rank))
	{
		truncate_winners(rank, now);
		truncate_bad(rank, now);
	}
	else if (rank->target->mode != CDC_MODE_MIRROR)
		end_rows(rank, rec);
	else
	{
		cdc_winners_clear(rank);
		rank->nchanges = 0;
		rank->nbad = 0;			/* what they would have changed is gone */
	}
	rank->truncated = true;
	rank->truncated_at = *now;
	rank->has_truncate = rank->multi_partition && truncates(rank);
}

/* t: nothing that came before lives on. */
static void
add_truncate(CdcRank *rank, CdcEvent *rec)
{
	CdcOrigin	now = cdc_event_origin(rank, rec);

	if (rec->since != 0)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_FEATURE_NOT_SUPPORTED,
					  "a truncate cannot be applied after the changes that have followed it");
		return;
	}
	if (rank->seen)
		return;
	if (rank->looking_back)
	{
		truncate_winners(rank, &now);
		return;
	}
	if (!truncates(rank))
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_FEATURE_NOT_SUPPORTED,
					  "truncate in a topic with several partitions is supported for one source with a key in mode \"mirror\" only");
		return;
	}
	truncate(rank, rec, &now);
}

/* The connector has left it out of the topic: as if it had not. */
void
cdc_rank_truncate(CdcRank *rank, const char *source, int32 epoch, int64 offset)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	CdcBytes	key = {NULL, 0};
	CdcBytes	value = {.data = psprintf("{\"op\": \"t\", \"source\": %s}", source)};
	CdcChunk	chunk = {.epoch = epoch,.first_offset = offset,.last_offset = offset,
		.nrecords = 1,.keys = &key,.values = &value,
	.refresh_time = GetCurrentTimestamp()};
	CdcProgress nowhere = {.refresh_time = DT_NOBEGIN};
	CdcEvent	rec = {.chunk = &chunk,.offset = offset,.progress = &nowhere};
	CdcDecodeError error;
	CdcOrigin	now;

	value.len = strlen(value.data);
	if (cdc_decode_value(rank->state->decoder, value.data, value.len, &rec.change, &error))
	{
		now = cdc_event_origin(rank, &rec);
		if (rank->multi_partition)
			now.partition = -1; /* it is in none of them */
		truncate(rank, &rec, &now);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Note where the source was.  A row of an incremental snapshot was read when the
 * events up to its position had been sent; other snapshots tell none.
 */
static void
note_position(CdcProgress *p, const CdcChange *c)
{
	int			cmp;

	if (c->has_source_ts_ms)
		p->newest_ts_ms = Max(p->newest_ts_ms, c->source_ts_ms);
	if (c->position.kind == CDC_POSITION_NONE || !c->has_source_ts_ms ||
		(c->snapshot &&
		 cdc_position_compare(&c->position, &p->position, &cmp) && cmp <= 0))
		return;
	p->position = c->position;
	p->source_ts_ms = c->source_ts_ms;
}

/*
 * Is it a re-send of Kafka Connect: older than what the partition has applied,
 * at the source's position and at its clock?  Else note the position.
 */
static bool
is_resent(CdcEvent *rec)
{
	CdcProgress *p = rec->progress;
	const CdcChange *c = &rec->change;

	if (c->position.kind != CDC_POSITION_NONE && !c->snapshot && c->has_source_ts_ms &&
		cdc_position_is_resent(&c->position, c->source_ts_ms, &p->position, p->source_ts_ms))
	{
		p->resent++;
		p->resent_offset = rec->offset;
		p->resent_epoch = rec->chunk->epoch;
		if (c->op == 'd')
			cdc_event_note_delete(rec, true);
		return true;
	}
	note_position(p, c);
	return false;
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
find_schema(const CdcRankState *st, const CdcChange *change)
{
	for (int i = list_length(st->schemas) - 1; i >= 0; i--)
	{
		CdcRowSchema *rs = list_nth(st->schemas, i);

		if (rs->schema->len == change->schema_len &&
			memcmp(rs->schema->text, change->schema, change->schema_len) == 0)
			return rs;
	}
	return NULL;
}

typedef enum Context
{
	CONTEXT_NOTED,
	CONTEXT_UNREADABLE,			/* the schema cannot be read */
	CONTEXT_CHANGED				/* the source's table has changed before it */
} Context;

/*
 * Is the record older than the last truncate, in a topic of several partitions?
 * What it has changed is gone.
 */
static bool
is_truncated(CdcRank *rank, CdcEvent *rec)
{
	CdcOrigin	now;

	if (!rank->has_truncate)
		return false;
	now = cdc_event_origin(rank, rec);
	if (!cdc_origin_older(&now, &rank->truncated_at))
		return false;
	rec->progress->resent++;
	if (rec->change.shape != CDC_SHAPE_TOMBSTONE && rec->change.op == 'd')
		cdc_event_note_delete(rec, true);
	return true;
}

/*
 * Note connector and embedded schema of a change for its conversions; rec is the
 * record that is being added, or NULL.
 */
static Context
note_context(CdcRank *rank, const CdcChange *change, const CdcEvent *rec)
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
		return CONTEXT_CHANGED;
	watched = watched && !rank->watch->order_only;
	if (change->schema == NULL)
	{
		st->schema = NULL;
		if (!watched || !change->new_names || !change->has_after)
			return CONTEXT_NOTED;
		at = cdc_event_origin(rank, rec);
		return cdc_source_watch_names(rank->watch, change, &at) ?
			CONTEXT_NOTED : CONTEXT_CHANGED;
	}
	rs = find_schema(st, change);
	if (rs == NULL && (rs = read_schema(rank, change)) == NULL)
		return CONTEXT_UNREADABLE;
	if (watched && rs != st->schema)
	{
		at = cdc_event_origin(rank, rec);
		if (!cdc_source_watch_schema(rank->watch, rs->schema, change, st->connector, &at))
			return CONTEXT_CHANGED;
	}
	if (!rs->checked)
		check_fit(rank, rs);
	st->schema = rs;
	return CONTEXT_NOTED;
}

bool
cdc_event_note_context(CdcRank *rank, const CdcChange *change)
{
	return note_context(rank, change, NULL) != CONTEXT_UNREADABLE;
}

/* False: the window ends before it. */
static bool
add_change(CdcRank *rank, CdcEvent *rec)
{
	Context		context = note_context(rank, &rec->change, rec);

	if (context == CONTEXT_CHANGED)
		return false;
	if (is_resent(rec))
		return true;
	if (is_truncated(rank, rec))
		return true;
	rank->ordinal++;
	if (context == CONTEXT_UNREADABLE)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
				   "the event's embedded schema cannot be read");
		return true;
	}
	if (rank->evidence && !rank->looking_back)
	{
		CdcOrigin	at = cdc_event_origin(rank, rec);

		cdc_evidence_look(rank->evidence, &rec->change, rank->state->schema, &at);
	}
	if (rec->progress->snapshot)
		cdc_snapshot_note(rec->progress, &rec->change, rec->chunk, rec->i);
	rec->progress->in_snapshot = rec->change.snapshot && !rec->change.incremental &&
		!rec->progress->snapshot;
	if (rank->target->mode == CDC_MODE_APPEND)
	{
		cdc_append_add(rank, rec);
		return true;
	}
	/* what was applied has told already where its row went */
	rec->rename = rank->looking_back ? NULL : cdc_rename_of(rank, rec->chunk, rec->i);
	if (rank->target->keyless && rec->change.op != 't' && rec->change.op != 'm')
	{
		cdc_keyless_add(rank, rec);
		return true;
	}
	switch (rec->change.op)
	{
		case 'c':
		case 'r':
		case 'u':
			add_upsert(rank, rec);
			break;
		case 'd':
			add_delete(rank, rec);
			break;
		case 't':
			add_truncate(rank, rec);
			break;
		default:
			rank->ordinal--;	/* m: a message, no row */
			break;
	}
	return true;
}

/* Is it the event's source that tells whether, or which, row is meant? */
static bool
needs_source(const CdcRank *rank)
{
	return cdc_intake_filters(rank->intake) || rank->target->nscope > 0;
}

/* All that tells when a tombstone was made. */
static void
note_kafka_time(CdcEvent *rec)
{
	Timestamp	t = rec->chunk->timestamps ? rec->chunk->timestamps[rec->i] : DT_NOBEGIN;
	int64		epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

	if (!TIMESTAMP_NOT_FINITE(t))
		rec->progress->newest_ts_ms = Max(rec->progress->newest_ts_ms, t / 1000 + epoch);
}

/*
 * A tombstone.  Debezium sends it right after the delete, with the same key; it
 * knows nothing of the source's order.
 */
static void
add_tombstone(CdcRank *rank, CdcEvent *rec, int64 deleted_key, bool resent)
{
	CdcBytes	key;

	if (rank->target->mode == CDC_MODE_APPEND || rank->target->keyless)
		return;					/* its delete has told it */
	if (deleted_key != 0 && deleted_key == hash_key(cdc_event_key(rec)))
	{
		if (needs_source(rank))
			rec->progress->passed++;
		else if (resent && cdc_event_record_key(rank, rec, NULL, rank->state->tokens, &key) == NULL)
			rec->progress->resent++;
		return;
	}
	if (is_truncated(rank, rec))
		return;
	note_kafka_time(rec);
	rank->ordinal++;
	if (needs_source(rank))
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the record is null and does not tell the table that it deletes from");
		return;
	}
	rec->rename = rank->looking_back ? NULL : cdc_rename_of(rank, rec->chunk, rec->i);
	add_delete(rank, rec);
}

/* Add record i of a chunk to the window; false: the window ends before it. */
static bool
add_record(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress,
		   TimestampTz since, bool old_key)
{
	const CdcBytes *value = &chunk->values[i];
	CdcDecodeError error;
	CdcEvent		rec = {
		.chunk = chunk,
		.i = i,
		.offset = cdc_chunk_offset(chunk, i),
		.progress = progress,
		.since = since,
		.old_key = old_key,
	};
	int64		deleted_key = progress->deleted_key;
	bool		resent = progress->resent_delete || !rank->multi_partition;
	bool		added = true;
	MemoryContext old = MemoryContextSwitchTo(rank->context);

	progress->deleted_key = 0;
	progress->resent_delete = false;
	if (!cdc_decode_value(rank->state->decoder, value->data, value->len,
						  &rec.change, &error))
	{
		rank->ordinal++;
		cdc_event_bad(rank, &rec, NULL, ERRCODE_INVALID_TEXT_REPRESENTATION,
				   psprintf("%s (byte %u)", error.message, error.offset));
	}
	else
		switch (cdc_event_admit(rank, &rec))
		{
			case CDC_ADMIT:
				if (rec.change.shape == CDC_SHAPE_TOMBSTONE)
					add_tombstone(rank, &rec, deleted_key, resent);
				else
					added = add_change(rank, &rec);
				/* a tombstone does not tell what the delete has told */
				if (rec.change.op == 'd' && needs_source(rank))
					cdc_event_note_delete(&rec, false);
				break;
			case CDC_ADMIT_PASS:
				progress->passed++;
				break;
			case CDC_ADMIT_NOT:
				break;
		}
	if (!added)
		progress->deleted_key = deleted_key;
	MemoryContextSwitchTo(old);
	return added;
}

void
cdc_rank_again(CdcRank *rank, const CdcChunk *chunk, TimestampTz since, bool old_key)
{
	CdcProgress nowhere = {.refresh_time = DT_NOBEGIN};

	(void) add_record(rank, chunk, 0, &nowhere, since, old_key);
	rank->again = rank->ordinal;
}

CdcOrigin
cdc_rank_origin(CdcRank *rank, const CdcChunk *chunk, int i)
{
	CdcEvent	rec = {.chunk = chunk,.i = i,.offset = cdc_chunk_offset(chunk, i)};
	CdcDecodeError error;

	if (!cdc_decode_value(rank->state->decoder, chunk->values[i].data,
						  chunk->values[i].len, &rec.change, &error))
		rec.change.shape = CDC_SHAPE_OTHER;
	return cdc_event_origin(rank, &rec);
}

void
cdc_rank_look_back(CdcRank *rank, const CdcChunk *chunk, int i,
				   CdcProgress *progress, TimestampTz since)
{
	int64		ordinal = rank->ordinal;

	(void) add_record(rank, chunk, i, progress, since, false);
	rank->ordinal = ordinal;
}

bool
cdc_rank_add(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress)
{
	return add_record(rank, chunk, i, progress, 0, false);
}
