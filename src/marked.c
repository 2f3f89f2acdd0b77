/*-------------------------------------------------------------------------
 *
 * marked.c
 *	  Rows that soft_delete keeps, in topics of several partitions.
 *
 * A row that is gone stays as its last change has left it, with the time of the
 * delete.  Where changes come through several partitions, that change may come
 * behind the delete, and there may be several lives of one key.  A winner that is
 * deleted holds the values of its last life; its floor is what has ended the life
 * before.  Where nothing of the last life is known (a delete of what is gone
 * already), the row is the one that the floor has ended: deleted by that.
 *
 * A truncate is a delete of each row, at its place in the order.  It is not
 * applied to a winner before something newer comes or the window is complete, as
 * older changes may still come.
 *
 * All memory is in the window's context; nothing else is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "window.h"

/*
 * Note from which change the winner's values are, as it gets a last change that
 * has none.
 */
void
cdc_marked_note_origins(CdcRank *rank, CdcWinner *w)
{
	if (w->norigins > 0)
		return;
	(void) cdc_winner_add_origin(rank, w, &w->last);
	for (int i = 0; i < rank->target->ncolumns; i++)
		w->tokens[i].origin = 0;
}

/* Has the winner a value from this place on? */
static bool
lives_after(const CdcRank *rank, const CdcWinner *w, const CdcOrigin *at)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].key_no < 0 && w->tokens[i].kind != CDC_JSON_MISSING &&
			!cdc_winner_token_is_below(w, i, at))
			return true;
	return false;
}

static void
mark(CdcRank *rank, CdcWinner *w, const CdcTruncate *t)
{
	cdc_marked_note_origins(rank, w);
	w->deleted = w->marked = true;
	w->amends = false;
	w->broken_by = NULL;
	w->op = 't';
	w->last = t->at;
	w->time = w->ended = t->time;
}

void
cdc_marked_cross(CdcRank *rank, CdcWinner *w, const CdcOrigin *now)
{
	const CdcTruncate *t;

	if (!w->deleted && (t = cdc_truncate_between(rank, &w->last, now)) != NULL)
		mark(rank, w, t);
}

void
cdc_marked_finish(CdcRank *rank)
{
	for (int64 i = 0; i < rank->nwinners; i++)
		if (rank->winners[i]->tokens)
			cdc_marked_cross(rank, rank->winners[i], NULL);
}

/* A delete of what is gone: it only tells where a next life may begin. */
void
cdc_marked_delete_again(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op)
{
	Timestamp	ended = w->ended;
	char		was = w->op;

	if (w->floor == NULL || lives_after(rank, w, w->floor))
	{
		cdc_marked_note_origins(rank, w);
		cdc_winner_set_floor(rank, w, &w->last);
	}
	cdc_winner_set_event(rank, w, rec, op);
	w->ended = ended;
	w->op = was;
}

void
cdc_marked_delete_before(CdcRank *rank, CdcWinner *w, const CdcOrigin *at,
						 Timestamp time, char op)
{
	if (w->floor && cdc_origin_older(at, w->floor))
		return;
	if (!w->deleted || lives_after(rank, w, at))
	{
		cdc_winner_cut(rank, w, at);
		w->fresh = true;
		return;
	}
	cdc_winner_set_floor(rank, w, at);
	w->ended = time;
	w->op = op;
}

bool
cdc_marked_wants(const CdcRank *rank, const CdcWinner *w, const CdcOrigin *at)
{
	return w->floor == NULL || !cdc_origin_older(at, w->floor) ||
		!lives_after(rank, w, w->floor);
}

void
cdc_marked_upsert_before(CdcRank *rank, CdcWinner *w, const CdcOrigin *at,
						 const CdcToken *tokens, char op)
{
	bool		below = w->floor && cdc_origin_older(at, w->floor);

	if (!w->marked)
	{
		w->schema = rank->state->schema;
		w->connector = rank->state->connector;
	}
	cdc_marked_note_origins(rank, w);
	if (!below && w->floor && !lives_after(rank, w, w->floor))
	{
		/* the last life was not known so far */
		cdc_winner_cut(rank, w, w->floor);
		w->fresh = true;
		w->ended = w->time;
		w->op = w->last.op;
	}
	if (!below && op == 'c')
		cdc_winner_cut(rank, w, at);
	cdc_winner_fill(rank, w, at, tokens);
	w->marked = true;
}
