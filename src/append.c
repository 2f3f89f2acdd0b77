/*-------------------------------------------------------------------------
 *
 * append.c
 *	  The mode append: each change is a row.
 *
 * A change brings its after image, a delete its before image, or the key where
 * it has none, a truncate nothing; columns that it does not tell get their
 * default, values that the connector has withheld are NULL.  No key is looked up and no change replaces
 * another.  All memory is in the window's context; nothing else is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "window.h"

static const CdcToken null_token = {.kind = CDC_JSON_NULL};

/* What a delete without a before image, or with a partial one, tells: the key. */
static void
fill_from_key(CdcRank *rank, CdcEvent *rec, CdcToken *tokens)
{
	CdcRankState *st = rank->state;
	const CdcBytes *key = cdc_event_key(rec);
	CdcDecodeError error;

	if (key->data == NULL ||
		!cdc_decode_key(st->decoder, key->data, key->len, -1, st->key_fields, &error))
		return;
	cdc_event_spread(rank, st->key_fields, NULL, st->old_tokens);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].kind == CDC_JSON_MISSING)
			tokens[i] = st->old_tokens[i];
}

void
cdc_append_add(CdcRank *rank, CdcEvent *rec)
{
	const CdcChange *change = &rec->change;
	CdcToken   *tokens = rank->state->tokens;
	CdcBytes	no_key = {NULL, 0};
	bool		whole = change->op == 'c' || change->op == 'u' || change->op == 'r';
	CdcWinner  *w;

	if (!whole && change->op != 'd' && change->op != 't')
	{
		rank->ordinal--;		/* m: a message, no row */
		return;
	}
	if (whole && !change->has_after)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "change event without an after image");
		return;
	}
	cdc_event_spread(rank, whole ? change->after : change->has_before ? change->before : NULL,
					 change->source, tokens);
	if (change->op == 'd')
		fill_from_key(rank, rec, tokens);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].flags & CDC_JSON_UNAVAILABLE)
			tokens[i] = null_token;
	w = cdc_winner_new(rank, &no_key);
	cdc_winner_set_tokens(rank, w, tokens, cdc_event_key(rec));
	cdc_winner_set_event(rank, w, rec, change->op);
}
