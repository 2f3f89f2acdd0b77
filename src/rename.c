/*-------------------------------------------------------------------------
 *
 * rename.c
 *	  Key changes in a window: the two halves find each other.
 *
 * The delete of the old key and the create of the new one tell of each other in
 * their headers.  Whichever comes first leaves a move (move.h) for the other:
 * the create takes the values that it lacks from where the old row is now, and
 * gets the final ones when the old row departs.
 *
 * Runs in the caller's transaction; reads the target as the current user, in
 * the open SPI connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "window.h"

/* Does the row want a value that only the old key's row has? */
static bool
wants_values(const CdcRank *rank, const CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].flags & CDC_JSON_UNAVAILABLE)
			return true;
	return false;
}

/*
 * Fill the unavailable tokens of an arriving row from what is known of the
 * old key's row: its last state in the window, and the target's row.
 */
static void
fill_from_move(CdcRank *rank, CdcToken *tokens, const CdcToken *old_row,
			   const CdcToken *target_row)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (!(tokens[i].flags & CDC_JSON_UNAVAILABLE))
			continue;
		if (old_row && cdc_token_is_set(&old_row[i]))
			tokens[i] = old_row[i];
		else if (target_row && cdc_token_is_set(&target_row[i]))
			tokens[i] = target_row[i];
		tokens[i].origin = 0;
	}
}

/*
 * What an event left out altogether (see change_key) and the old row does not
 * have either is missing, and gets the column's default.
 */
static void
drop_missing(const CdcRank *rank, CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].kind == CDC_JSON_MISSING)
			tokens[i].flags &= ~CDC_JSON_UNAVAILABLE;
}

/* The target's row of a key given as tokens, as PGTEXT tokens, or NULL. */
static CdcToken *
fetch_target_row(CdcRank *rank, const CdcToken *key_tokens)
{
	if (rank->truncated)
		return NULL;
	return cdc_move_target_row(rank->target, key_tokens, rank->state->schema,
							   rank->state->connector);
}

/* What is on its way still is missing until then, not a reason to refuse. */
static void
clear_unavailable(const CdcRank *rank, CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].flags & CDC_JSON_UNAVAILABLE)
			memset(&tokens[i], 0, sizeof(CdcToken));
}

/*
 * Can the target's row be the one of this winner, or of a key that the window has
 * not touched (NULL)?  Not if it began in the window.
 */
static bool
may_be_target_row(const CdcWinner *w)
{
	return w == NULL || !(w->deleted || w->fresh || w->floor);
}

/* Forget of a row what is on its way to it still: it is not what it seems. */
static void
hide_wanted(const CdcRank *rank, CdcToken *row, const bool *wanted)
{
	for (int i = 0; row && i < rank->target->ncolumns; i++)
		if (wanted[i])
			memset(&row[i], 0, sizeof(CdcToken));
}

/*
 * The row of a departure arrives.  It waits, like the old one did, for what was
 * on its way to that.  Did it take any values?
 */
static bool
join(CdcRank *rank, CdcMove *move, const CdcToken *old_key_tokens, CdcToken *tokens)
{
	CdcMove    *upstream;
	CdcToken   *row = NULL;
	bool		waits = false;

	move->done = move->changed = true;
	if (!wants_values(rank, tokens))
		return false;
	if (move->target_row)
		row = fetch_target_row(rank, old_key_tokens);
	hide_wanted(rank, row, move->wanted);
	fill_from_move(rank, tokens, move->tokens, row);
	upstream = cdc_move_upstream(rank->state->moves, move);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		move->wanted[i] = upstream && upstream->wanted[i] && move->wanted[i] &&
			(tokens[i].flags & CDC_JSON_UNAVAILABLE);
		waits |= move->wanted[i];
		if (move->wanted[i])
			memset(&tokens[i], 0, sizeof(CdcToken));
	}
	drop_missing(rank, tokens);
	if (waits)
	{
		move->done = false;
		cdc_move_join(rank->state->moves, move);
	}
	return true;
}

/*
 * Has the row arrived under new_key already, and is there still?  Then the event is
 * sent again, and by now the old key may have another row.  Nothing tells what an
 * earlier window has done but the position: the delete alone can have it, too, and
 * that has left its departure.
 */
static bool
has_arrived(CdcRank *rank, const CdcEvent *rec, const CdcBytes *new_key,
			const CdcToken *tokens)
{
	const CdcWinner *w = cdc_winner_find(rank, new_key);
	int			cmp;

	if (w == NULL || w->tokens == NULL)
		return rec->at_last && fetch_target_row(rank, tokens) != NULL;
	return !w->deleted && w->from &&
		cdc_bytes_equal(w->from->key, rec->rename->key) &&
		cdc_position_compare(&w->from->position, &rec->change.position, &cmp) &&
		cmp == 0;
}

/* It keeps what it has, and waits on for what is on its way. */
static void
arrive_again(CdcRank *rank, const CdcEvent *rec, const CdcBytes *new_key,
			 CdcToken *tokens)
{
	const CdcMove *move = cdc_move_arrival(rank->state->moves, new_key, &rec->rename->key,
										   &rec->change.position);

	for (int i = 0; move && i < rank->target->ncolumns; i++)
		if (move->wanted[i] && (tokens[i].flags & CDC_JSON_UNAVAILABLE))
			memset(&tokens[i], 0, sizeof(CdcToken));
	drop_missing(rank, tokens);
}

/*
 * A row arrives under its key and lacks values of the old key's row: take
 * them if the old row has departed already, else from where it is now, and
 * remember what is to be corrected when it departs.
 */
bool
cdc_rename_arrive(CdcRank *rank, CdcEvent *rec, const CdcBytes *new_key,
				  CdcToken *tokens)
{
	CdcMoves   *moves = rank->state->moves;
	const CdcBytes *old_key = &rec->rename->key;
	const CdcToken *old_key_tokens = rec->rename->tokens;
	const CdcPosition *position = &rec->change.position;
	CdcMove    *move = cdc_move_departure(moves, new_key, old_key, position);
	CdcWinner  *old_winner;
	CdcToken   *row = NULL;

	if (move)
		return join(rank, move, old_key_tokens, tokens);
	if (!wants_values(rank, tokens))
		return false;
	/* tried again: the old key's row may be another one by now */
	if (rec->since != 0)
		return false;
	if (has_arrived(rank, rec, new_key, tokens))
	{
		arrive_again(rank, rec, new_key, tokens);
		return false;
	}
	old_winner = cdc_winner_find(rank, old_key);
	if (rank->multi_partition)
	{
		move = cdc_move_add(moves, new_key, old_key, position, false);
		for (int i = 0; i < rank->target->ncolumns; i++)
			move->wanted[i] = (tokens[i].flags & CDC_JSON_UNAVAILABLE) != 0;
		move->changed = true;
	}
	if (may_be_target_row(old_winner))
		row = fetch_target_row(rank, old_key_tokens);
	fill_from_move(rank, tokens,
				   old_winner && !old_winner->deleted ? old_winner->tokens : NULL,
				   row);
	drop_missing(rank, tokens);
	if (move)
		clear_unavailable(rank, tokens);
	return true;
}

bool
cdc_rank_keep_move(CdcRank *rank, CdcWinner *w)
{
	CdcMoves   *moves = rank->state->moves;
	CdcMove    *move;

	if (w->from == NULL)
		return false;
	move = cdc_move_add(moves, &w->key, &w->from->key, &w->from->position, true);
	move->tokens = cdc_move_copy_tokens(moves, w->tokens);
	move->old_key_tokens = cdc_move_copy_tokens(moves, w->tokens);
	move->schema = w->schema;
	move->connector = w->connector;
	move->changed = true;
	w->from = NULL;
	return true;
}

/* A later change of a row that has arrived: what it sets is not wanted any more. */
void
cdc_rename_settle(CdcRank *rank, const CdcEvent *rec, const CdcBytes *key,
				  CdcToken *tokens)
{
	CdcMove    *move;
	bool		any = false;
	int			cmp;

	move = cdc_move_last_arrival(rank->state->moves, key);
	if (move == NULL || move->moved_on)
		return;
	if (rec->change.shape == CDC_SHAPE_CHANGE &&
		cdc_position_compare(&rec->change.position, &move->position, &cmp) && cmp < 0)
		return;					/* it is from before */
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (tokens == NULL || cdc_token_is_set(&tokens[i]))
			move->wanted[i] = false;
		any |= move->wanted[i];

		/* missing until it comes, not a reason to refuse */
		if (move->wanted[i] && rec->change.op == 'u' && (tokens[i].flags & CDC_JSON_UNAVAILABLE))
			memset(&tokens[i], 0, sizeof(CdcToken));
	}
	move->changed = true;
	if (!any)
		move->done = true;
}

/*
 * Set values in the row that has arrived under the new key; whatever it was
 * given since then stays.  False: it has left that key again.
 */
static bool
set_values(CdcRank *rank, CdcEvent *rec, const CdcMove *move, CdcToken *tokens)
{
	bool		isnew;
	CdcWinner  *w;
	CdcBytes	no_key = {NULL, 0};
	CdcOrigin	at;
	uint16		origin = 0;

	if (move->moved_on)
		return false;
	cdc_event_get_origin(rank, rec, &at);
	at.position = move->position;	/* as old as the row */
	cdc_winner_key_tokens(rank, &move->new_key, tokens);
	w = cdc_winner_get(rank, rec, &move->new_key, tokens, &isnew);
	if (w == NULL)
		return true;
	if (w->deleted)
		return false;
	if (isnew)
	{
		cdc_winner_set_tokens(rank, w, tokens, &no_key);
		cdc_winner_set_event(rank, w, rec, 'u');
		w->last = at;
		w->amends = rank->target->mode != CDC_MODE_HISTORY;
		return true;
	}
	if (w->norigins > 0)
		origin = cdc_winner_add_origin(rank, w, &at);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		bool		wanted = move->wanted[i] && cdc_token_is_set(&tokens[i]);

		rank->state->merged[i] = wanted ? tokens[i] : w->tokens[i];
		if (wanted)
			rank->state->merged[i].origin = origin;
	}
	no_key = w->kafka_key;
	cdc_winner_set_tokens(rank, w, rank->state->merged, &no_key);
	return true;
}

/* The values that a move wants, by column; all others as the row has them. */
static CdcToken *
wanted_tokens(const CdcRank *rank, const CdcMove *move, const CdcToken *tokens)
{
	CdcToken   *wanted = palloc0(sizeof(CdcToken) * rank->target->ncolumns);

	for (int i = 0; i < rank->target->ncolumns; i++)
		if (move->wanted[i])
			wanted[i] = tokens[i];
		else
			wanted[i].flags = CDC_JSON_UNAVAILABLE;
	return wanted;
}

/*
 * Values of the old key's row, which has departed, come to the row that has
 * arrived under the new key, or follow it to where it has gone since.  upstream:
 * what is on its way to the old row still, or NULL.
 */
static void
deliver(CdcRank *rank, CdcEvent *rec, CdcMove *move, const CdcToken *tokens,
		const CdcMove *upstream)
{
	CdcMoves   *moves = rank->state->moves;
	CdcToken   *wanted = wanted_tokens(rank, move, tokens);
	CdcMove    *next = NULL;
	bool		waits = false;

	if (!set_values(rank, rec, move, wanted))
		next = cdc_move_next(moves, move);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		move->wanted[i] &= upstream && upstream->wanted[i];
		waits |= move->wanted[i];
	}
	move->departed = move->changed = true;
	move->done = !waits;
	if (next == NULL || next->visited)
		return;
	if (next->arrived)
	{
		next->visited = true;
		deliver(rank, rec, next, wanted, move);
		next->visited = false;
		return;
	}
	wanted = cdc_move_copy_tokens(moves, wanted);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (next->wanted[i] && cdc_token_is_set(&wanted[i]))
			next->tokens[i] = wanted[i];
		next->wanted[i] &= move->wanted[i];
	}
	next->changed = true;
}

/* The row of an arrival leaves its old key: bring what that has after it. */
static void
depart_after_arrival(CdcRank *rank, CdcEvent *rec, const CdcWinner *w, CdcMove *move,
					 const CdcToken *old_key_tokens, CdcMove *upstream)
{
	CdcToken   *row = may_be_target_row(w) ? fetch_target_row(rank, old_key_tokens) : NULL;
	CdcToken   *old_row = NULL;
	CdcToken   *tokens = palloc0(sizeof(CdcToken) * rank->target->ncolumns);

	for (int i = 0; i < rank->target->ncolumns; i++)
		tokens[i].flags = CDC_JSON_UNAVAILABLE;
	if (w && !w->deleted)
	{
		old_row = palloc(sizeof(CdcToken) * rank->target->ncolumns);
		memcpy(old_row, w->tokens, sizeof(CdcToken) * rank->target->ncolumns);
	}
	if (upstream)
	{
		hide_wanted(rank, row, upstream->wanted);
		hide_wanted(rank, old_row, upstream->wanted);
	}
	fill_from_move(rank, tokens, old_row, row);
	deliver(rank, rec, move, tokens, upstream);
}

/*
 * The row of old_key leaves for new_key.  w: the winner of the old key before
 * the delete, or NULL if the window has not touched it.
 */
void
cdc_rename_depart(CdcRank *rank, CdcEvent *rec, const CdcWinner *w, const CdcBytes *old_key,
				  const CdcToken *old_key_tokens)
{
	CdcMoves   *moves = rank->state->moves;
	CdcRename  *rename = rec->rename;
	bool		tombstone = rec->change.shape == CDC_SHAPE_TOMBSTONE;
	CdcPosition position = {0};
	CdcMove    *move;
	CdcMove    *upstream;

	if (!tombstone)
		position = rec->change.position;
	upstream = cdc_move_leave(moves, old_key, &position);
	move = cdc_move_arrival(moves, &rename->key, old_key, &position);
	if (move)
	{
		/* else it is sent again */
		if (!move->departed)
			depart_after_arrival(rank, rec, w, move, old_key_tokens, upstream);
		return;
	}
	/* a tombstone, and a delete that is sent again, repeat what was said */
	if ((w && w->deleted) ||
		((tombstone || position.kind != CDC_POSITION_NONE) &&
		 cdc_move_departure(moves, &rename->key, old_key, &position)))
		return;
	move = cdc_move_add(moves, &rename->key, old_key, &position, true);
	move->tokens = cdc_move_copy_tokens(moves, w ? w->tokens : NULL);
	if (upstream)
	{
		memcpy(move->wanted, upstream->wanted, sizeof(bool) * rank->target->ncolumns);
		hide_wanted(rank, move->tokens, move->wanted);
	}
	move->old_key_tokens = cdc_move_copy_tokens(moves, old_key_tokens);
	move->schema = w ? w->schema : rank->state->schema;
	move->connector = rank->state->connector;
	move->target_row = may_be_target_row(w);
	move->changed = true;
}

/*
 * Parse one header list.  The other key is one of the same source, which tells what
 * the key has from there.
 */
static void
parse_rename(CdcRank *rank, Jsonb *headers, const CdcToken *source)
{
	CdcRankState *st = rank->state;
	CdcRename  *r = &st->rename;
	uint32		n = JsonContainerIsArray(&headers->root) ? JsonContainerSize(&headers->root) : 0;

	memset(r, 0, sizeof(CdcRename));
	st->rename_said = false;
	for (uint32 i = 0; i < n; i++)
	{
		JsonbValue *h = getIthJsonbValueFromContainer(&headers->root, i);
		JsonbValue	name;
		JsonbValue	value;
		bool		is_new;
		CdcDecodeError error;

		if (h->type != jbvBinary || !JsonContainerIsObject(h->val.binary.data) ||
			!getKeyJsonValueFromContainer(h->val.binary.data, "key", 3, &name) ||
			name.type != jbvString || name.val.string.len != 17 ||
			!getKeyJsonValueFromContainer(h->val.binary.data, "value", 5, &value) ||
			value.type != jbvString)
			continue;
		is_new = memcmp(name.val.string.val, "__debezium.newkey", 17) == 0;
		if (!is_new && memcmp(name.val.string.val, "__debezium.oldkey", 17) != 0)
			continue;
		st->rename_said = true;
		if (cdc_decode_key(st->decoder, value.val.string.val, value.val.string.len,
						   st->scalar_field, st->key_fields, &error))
		{
			MemoryContext old = MemoryContextSwitchTo(rank->context);
			CdcBytes	key;

			r->tokens = palloc0(sizeof(CdcToken) * rank->target->ncolumns);
			cdc_event_spread(rank, st->key_fields, source, r->tokens);
			if (cdc_winner_key(rank, r->tokens, &key) == NULL)
			{
				r->key = cdc_copy_bytes(&key);
				r->has_new = is_new;
				r->has_old = !is_new;
				for (int c = 0; c < rank->target->ncolumns; c++)
				{
					CdcBytes	text = {r->tokens[c].text, r->tokens[c].len};

					r->tokens[c].text = cdc_copy_bytes(&text).data;
				}
			}
			MemoryContextSwitchTo(old);
		}
	}
}

CdcRename *
cdc_rename_of(CdcRank *rank, const CdcChunk *chunk, int i, const CdcToken *source)
{
	CdcRankState *st = rank->state;
	Jsonb	   *headers = cdc_chunk_headers(chunk, i);

	if (headers == NULL)
		return NULL;
	if (headers != st->last_headers || chunk->first_offset != st->chunk_first ||
		chunk->partition != st->chunk_partition || chunk->epoch != st->chunk_epoch ||
		(st->rename_said && rank->target->nscope > 0))
	{
		st->chunk_partition = chunk->partition;
		st->chunk_epoch = chunk->epoch;
		st->chunk_first = chunk->first_offset;
		st->last_headers = headers;
		parse_rename(rank, headers, source);
	}
	return st->rename.has_new || st->rename.has_old ? &st->rename : NULL;
}
