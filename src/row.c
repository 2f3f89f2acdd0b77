/*-------------------------------------------------------------------------
 *
 * row.c
 *	  What a change of one row does to the winner of its key.
 *
 * An upsert replaces the winner, which keeps the values that it left out; a
 * delete ends it; a change of the key is both.  A record that is older than the
 * winner, of another partition, goes behind it.
 *
 * In the caller's transaction under cdc_pin_settings().  All memory is in the
 * window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "window.h"

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

/*
 * A row under this key now has these values, as far as they are told: by a record
 * of another partition that is older than the winner.  What a create does not tell
 * cannot come from what was before it.
 */
static void
upsert_before(CdcRank *rank, CdcEvent *rec, CdcWinner *w, const CdcBytes *key,
			  CdcToken *tokens, char op)
{
	CdcOrigin	now;

	cdc_event_get_origin(rank, rec, &now);
	w->mixed = true;
	if (!rank->looking_back)
		w->first = -1;
	if (w->deleted && rank->target->mode == CDC_MODE_SOFT_DELETE)
	{
		if (!cdc_marked_wants(rank, w, &now))
			return;
		(void) arrive(rank, rec, key, tokens);
		cdc_marked_upsert_before(rank, w, &now, tokens, op);
		return;
	}
	if (cdc_winner_is_over(w, &now))
		return;
	(void) arrive(rank, rec, key, tokens);
	if (op == 'c')
		cdc_winner_cut(rank, w, &now);
	cdc_winner_fill(rank, w, &now, tokens);
}

/* The change waits for the record that has broken its key. */
static CdcBadRecord *
block(CdcRank *rank, CdcEvent *rec, CdcWinner *w)
{
	const CdcOrigin *broken_by = w->broken_by;	/* which cdc_event_bad() sets */
	CdcBadRecord *bad = cdc_event_bad(rank, rec, NULL,
									  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
									  CDC_BLOCKED_MESSAGE);

	bad->blocked_by = broken_by->offset;
	w->broken_by = broken_by;	/* the next one waits for it, too */
	return bad;
}

/* Is the key broken by a record that does not come after this one? */
static bool
is_broken(const CdcRank *rank, const CdcEvent *rec, const CdcWinner *w)
{
	CdcOrigin	now;

	if (w->broken_by == NULL || rank->looking_back)
		return false;
	if (!rank->multi_partition || w->broken_by->partition == rec->chunk->partition)
		return true;
	cdc_event_get_origin(rank, rec, &now);
	return !cdc_origin_older(&now, w->broken_by);
}

/*
 * Must the change wait behind the record that has broken its key?  A row that was
 * deleted before that one has nothing that tells.
 */
static bool
must_wait(const CdcRank *rank, const CdcToken *tokens, const CdcWinner *w, char op)
{
	return rank->target->mode == CDC_MODE_HISTORY || leaves_out(rank, tokens, w) ||
		(rank->refusals && w->deleted && op == 'u' && is_partial(rank, tokens));
}

/*
 * Was the record found to be bad when the window was ranked before?  Then the row
 * of its key stays as it was, and it is noted.  A delete's tombstone is part of it.
 */
static bool
is_refused(CdcRank *rank, CdcEvent *rec, const CdcBytes *key, const CdcToken *tokens)
{
	const CdcRefusal *refusal;
	CdcBadRecord *bad;
	CdcWinner  *w;
	const CdcOrigin *broken_by;
	bool		older;

	if (rank->looking_back)
		return false;
	refusal = cdc_refusals_find(rank->refusals, rec->chunk->partition,
								rec->chunk->epoch, rec->offset);
	if (refusal == NULL)
		return false;
	w = cdc_winner_find_row(rank, key, tokens);
	older = w && cdc_event_is_older(rank, rec, w);
	if (w && !older && is_broken(rank, rec, w) && rec->change.has_after &&
		must_wait(rank, tokens, w, rec->change.op))
		return false;			/* what is before it is to blame */
	broken_by = w ? w->broken_by : NULL;
	bad = cdc_event_bad(rank, rec, refusal->column, refusal->sqlerrcode, refusal->message);
	bad->blocked_by = refusal->blocked_by;
	bad->has_key = cdc_rank_key_hash(rank, tokens, rank->state->schema,
									 rank->state->connector, &bad->key_hash);
	/* its key in Kafka need not tell the row */
	if (w && (older || (broken_by && refusal->blocked_by >= 0)))
		w->broken_by = broken_by;
	else if (w)
		cdc_winner_break(rank, w, &bad->at);
	if (rec->change.op == 'd')
		cdc_event_note_delete(rec, false);
	return true;
}

/* The winner has taken values from the row of its old key. */
static void
note_source(CdcRank *rank, const CdcEvent *rec, CdcWinner *w)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);

	w->from = palloc(sizeof(CdcSourceRow));
	w->from->key = cdc_copy_bytes(&rec->rename->key);
	w->from->position = rec->change.position;
	MemoryContextSwitchTo(old);
}

/*
 * A row that the window has had nothing of, in modes that keep what is gone: has a
 * truncate of the window gone before, so that nothing of the target's row lives on?
 */
static bool
begins_anew(CdcRank *rank, CdcEvent *rec, CdcWinner *w)
{
	const CdcTruncate *t;
	CdcOrigin	now;

	if (rank->target->mode == CDC_MODE_MIRROR)
		return false;
	if (!rank->multi_partition)
		return rank->truncated;
	if (rank->truncates == NIL || rank->target->mode != CDC_MODE_SOFT_DELETE)
		return false;
	cdc_event_get_origin(rank, rec, &now);
	t = cdc_truncate_before(rank, &now);
	if (t == NULL)
		return false;
	cdc_winner_set_floor(rank, w, &t->at);
	return !t->applied;
}

/* A truncate may have ended the row since its last change. */
static void
cross_truncates(CdcRank *rank, CdcEvent *rec, CdcWinner *w)
{
	CdcOrigin	now;

	if (rank->truncates == NIL || rank->target->mode != CDC_MODE_SOFT_DELETE)
		return;
	cdc_event_get_origin(rank, rec, &now);
	cdc_marked_cross(rank, w, &now);
}

/* The row of a key that is deleted is there again, without what it was. */
static void
revive(CdcRank *rank, CdcWinner *w)
{
	/* a row that is marked is not gone */
	w->first = w->marked ? -1 : rank->ordinal;
	if (rank->multi_partition)
		cdc_winner_set_floor(rank, w, &w->last);
	w->deleted = w->marked = false;
	w->fresh = true;
	w->norigins = 0;
}

/* The same, by a record in its order. */
static void
upsert(CdcRank *rank, CdcEvent *rec, const CdcBytes *key, CdcToken *tokens, char op)
{
	CdcMode		mode = rank->target->mode;
	const CdcToken *values = tokens;
	bool		arrived = false;
	bool		isnew;
	CdcWinner  *w;

	if (rank->seen)
	{
		rank->seen(rank->seen_arg, tokens, rank->state->schema, rank->state->connector,
				   &rec->change);
		return;
	}
	if (rank->refusals && is_refused(rank, rec, key, tokens))
		return;
	w = cdc_winner_get(rank, rec, key, tokens, &isnew);
	if (w == NULL)
		return;
	if (rank->looking_back && mode == CDC_MODE_HISTORY)
	{
		w->overtaken = true;	/* its version is there */
		return;
	}
	if (!isnew && cdc_event_is_older(rank, rec, w))
	{
		if (mode == CDC_MODE_HISTORY)
			cdc_history_insert(rank, rec, w, tokens, op, false);
		else
			upsert_before(rank, rec, w, key, tokens, op);
		return;
	}
	if (!isnew)
	{
		w->mixed |= w->last.partition != rec->chunk->partition;
		cross_truncates(rank, rec, w);
	}
	if (!isnew && is_broken(rank, rec, w))
	{
		if (must_wait(rank, tokens, w, op))
		{
			CdcBadRecord *bad = block(rank, rec, w);

			bad->has_key = cdc_rank_key_hash(rank, tokens, rank->state->schema,
											 rank->state->connector, &bad->key_hash);
			return;
		}
		w->broken_by = NULL;
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
	if (isnew)
	{
		w->fresh = begins_anew(rank, rec, w);
		w->first = rank->ordinal;
	}
	else if (w->deleted)
		revive(rank, w);
	else
		values = cdc_winner_merge(rank, w, rec, tokens);
	cdc_winner_set_tokens(rank, w, values, cdc_event_key(rec));
	if (arrived)
		note_source(rank, rec, w);
	if (rank->places && rank->places->table)
		cdc_place_meet(rank, w, key, tokens);
	cdc_winner_set_event(rank, w, rec, op);
	if (op == 'c' && rank->multi_partition && is_partial(rank, w->tokens))
		cdc_winner_set_floor(rank, w, &w->last);
}

/*
 * The row of this key was gone, before it came again as the winner, which is of
 * another partition.
 */
static void
delete_before(CdcRank *rank, CdcEvent *rec, CdcWinner *w, const CdcBytes *key,
			  const CdcToken *tokens, bool leaves)
{
	CdcOrigin	now;

	cdc_event_get_origin(rank, rec, &now);
	w->mixed = true;
	if (rank->target->mode == CDC_MODE_SOFT_DELETE && w->deleted ?
		!cdc_marked_wants(rank, w, &now) : cdc_winner_is_over(w, &now))
		return;
	if (leaves)
	{
		CdcWinner	was = *w;

		was.tokens = cdc_winner_tokens_before(rank, w, &now);
		cdc_rename_depart(rank, rec, &was, key, tokens);
	}
	if (rank->target->mode == CDC_MODE_SOFT_DELETE)
	{
		cdc_marked_delete_before(rank, w, &now, cdc_event_time(rank, rec), rec->change.op);
		return;
	}
	cdc_winner_cut(rank, w, &now);
	w->fresh = true;
}

/*
 * A row that the window has made or changed is deleted, and stays as it was: its
 * values are not the delete's.
 */
void
cdc_row_mark_deleted(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op)
{
	if (!w->deleted)
		cdc_marked_note_origins(rank, w);
	w->deleted = w->marked = true;
	w->broken_by = NULL;
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
	/* of a key change in one event the new key's half was */
	if (rank->refusals && op != 'u' && is_refused(rank, rec, key, tokens))
		return;
	w = cdc_winner_get(rank, rec, key, tokens, &isnew);
	if (w == NULL)
		return;
	w->overtaken |= rank->looking_back;
	if (!isnew && cdc_event_is_older(rank, rec, w))
	{
		if (mode == CDC_MODE_HISTORY)
			cdc_history_insert(rank, rec, w, tokens, op, true);
		else
			delete_before(rank, rec, w, key, tokens, leaves);
		return;
	}
	if (!isnew)
		cross_truncates(rank, rec, w);
	if (!isnew && w->deleted && w->broken_by == NULL && mode == CDC_MODE_SOFT_DELETE &&
		rank->multi_partition)
	{
		cdc_marked_delete_again(rank, w, rec, op);
		return;
	}
	if (!isnew && w->deleted && w->broken_by == NULL &&
		(mode == CDC_MODE_MIRROR ? rec->change.shape == CDC_SHAPE_TOMBSTONE &&
		 !rank->multi_partition :
		 mode == CDC_MODE_HISTORY ? rec->change.shape == CDC_SHAPE_TOMBSTONE ||
		 !rank->multi_partition : true))
		return;					/* the delete itself says more; in history each may end
								 * what has come late */
	if (!isnew && mode == CDC_MODE_HISTORY && w->broken_by)
	{
		(void) block(rank, rec, w);
		return;
	}
	if (!isnew && w->last.partition != rec->chunk->partition)
		w->mixed = true;
	if (!leaves)
		cdc_rename_settle(rank, rec, key, NULL);
	if (leaves && !isnew)
		cdc_rename_depart(rank, rec, w, key, tokens);
	if (mode == CDC_MODE_SOFT_DELETE && !isnew)
	{
		cdc_row_mark_deleted(rank, w, rec, op);
		return;
	}
	if (mode == CDC_MODE_HISTORY && !isnew)
		cdc_history_push(rank, w);
	w->deleted = true;
	if (isnew)
		w->first = rank->ordinal;
	w->from = NULL;
	w->floor = NULL;
	w->fresh = isnew && begins_anew(rank, rec, w);
	w->broken_by = NULL;
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

/* Does the image of the row as it was have all of its key? */
static bool
before_has_key(const CdcRank *rank, const CdcChange *change)
{
	for (int k = 0; change->has_before && k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];

		if (c->source == CDC_COLUMN_FIELD &&
			(!cdc_token_is_set(&change->before[c->index]) ||
			 change->before[c->index].kind == CDC_JSON_NULL))
			return false;
	}
	return change->has_before;
}

/* The tokens of a key's columns, and nothing else. */
static void
set_key_tokens(const CdcRank *rank, CdcToken *tokens, const CdcToken *key)
{
	memset(tokens, 0, sizeof(CdcToken) * rank->target->ncolumns);
	for (int k = 0; k < rank->target->nkeys; k++)
		tokens[rank->target->keys[k]] = key[rank->target->keys[k]];
}

/* It cannot be told which row the record is about. */
static void
refuse_unplaced(CdcRank *rank, CdcEvent *rec, const CdcBytes *key)
{
	CdcBadRecord *bad = cdc_event_bad(rank, rec, NULL, ERRCODE_CARDINALITY_VIOLATION,
									  cdc_place_unknown(rank, rec));
	CdcWinner  *w = key && !rank->looking_back ? cdc_winner_find(rank, key) : NULL;

	if (key == NULL || rank->looking_back)
		return;
	bad->has_key = cdc_rank_key_hash(rank, rank->state->tokens, rank->state->schema,
									 rank->state->connector, &bad->key_hash);
	if (w)
		cdc_winner_break(rank, w, &bad->at);
}

/*
 * An update that does not tell the key that its row had, of which the record's own
 * key may be a part.
 */
static void
update_placed(CdcRank *rank, CdcEvent *rec, const CdcBytes *key_here)
{
	CdcRankState *st = rank->state;
	CdcBytes	key = cdc_copy_bytes(key_here);
	const CdcPlaceKey *other;

	switch (cdc_place_find(rank, rec, st->tokens, &key, &other))
	{
		case CDC_PLACED_HERE:
			upsert(rank, rec, &key, st->tokens, 'u');
			break;
		case CDC_PLACED_ELSEWHERE:
			set_key_tokens(rank, st->old_tokens, other->tokens);
			change_key(rank, rec, &other->key, &key);
			break;
		case CDC_PLACED_UNKNOWN:
			refuse_unplaced(rank, rec, &key);
			break;
		case CDC_PLACED_NOWHERE:	/* its old row, which was to go, is not there */
		case CDC_PLACED_LATER:
			break;
	}
}

/* c, r, u */
void
cdc_row_upsert(CdcRank *rank, CdcEvent *rec)
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
		key = new_key;
	}
	if (rec->change.op == 'u' && CDC_PLACES_APPLY(rank) &&
		!before_has_key(rank, &rec->change))
		update_placed(rank, rec, &key);
	else
		upsert(rank, rec, &key, st->tokens, rec->change.op);
}

/* A key that is a JSON string by itself: nothing tells text, digits and base64. */
static bool
key_is_bare_string(const CdcEvent *rec)
{
	const CdcBytes *bytes = cdc_event_key(rec);

	return bytes->data && bytes->len > 0 && bytes->data[0] == '"';
}

/*
 * The row of a delete whose record's own key has not all of the target's, and key,
 * where its image has (or NULL).  False: there is nothing to delete, or it cannot be
 * told.  *key: of the row; NULL, as the record does not tell.
 */
static bool
delete_placed(CdcRank *rank, CdcEvent *rec, CdcBytes **key)
{
	CdcRankState *st = rank->state;
	const CdcPlaceKey *other;

	switch (cdc_place_find(rank, rec, st->tokens, *key, &other))
	{
		case CDC_PLACED_ELSEWHERE:
			set_key_tokens(rank, st->tokens, other->tokens);
			*key = palloc(sizeof(CdcBytes));
			**key = other->key;
			return true;
		case CDC_PLACED_UNKNOWN:
			refuse_unplaced(rank, rec, *key);
			return false;
		case CDC_PLACED_NOWHERE:
			/* what is in quarantine may be of the row */
			return rank->places->quarantine || rank->nbad > 0;
		case CDC_PLACED_LATER:
			return false;
		case CDC_PLACED_HERE:
			break;
	}
	return true;
}

/* d, and a tombstone, which is a delete without images */
void
cdc_row_delete(CdcRank *rank, CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	bool		tombstone = rec->change.shape == CDC_SHAPE_TOMBSTONE;
	const CdcToken *source = tombstone ? NULL : rec->change.source;
	const char *missing;
	bool		is_short;		/* the record's own key lacks some of the target's */
	CdcBytes	key;

	missing = tombstone || !rec->change.has_before || !key_is_bare_string(rec) ?
		cdc_event_record_key(rank, rec, source, st->tokens, &key) : "";
	is_short = missing && *missing != '\0';
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
	if (CDC_PLACES_APPLY(rank) && is_short)
	{
		CdcBytes   *at = NULL;

		if (missing == NULL)
		{
			at = palloc(sizeof(CdcBytes));
			*at = cdc_copy_bytes(&key);
		}
		if (!tombstone)
			cdc_event_note_delete(rec, false);
		if (!delete_placed(rank, rec, &at))
			return;
		if (at)
		{
			key = *at;
			missing = NULL;
		}
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
