/*-------------------------------------------------------------------------
 *
 * history.c
 *	  The mode history: each change of a key is a version.
 *
 * In the window the winner of a key is its last change, as in the other modes;
 * the changes before it hang on it as a list.  When the window is full, they
 * are put in order, and each gets the time when the next one ends it.  versions.c
 * brings them to the target.
 *
 * All memory is in the window's context; nothing else is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "history.h"
#include "window.h"

void
cdc_history_push(CdcRank *rank, CdcWinner *w)
{
	CdcWinner  *kept = cdc_winner_new(rank, &w->key);
	CdcBytes	key = kept->key;

	*kept = *w;
	kept->key = key;
	kept->archived = true;
	w->older = kept;
	/* its tokens are read still, but they are the other's now */
	w->tokens_size = 0;
	w->origins = NULL;
	w->norigins = w->maxorigins = 0;
	w->of_mode.repeated = NULL;
}

void
cdc_history_insert(CdcRank *rank, CdcEvent *rec, CdcWinner *w, const CdcToken *tokens,
				   char op, bool deleted)
{
	CdcWinner  *newer = w;
	CdcWinner  *e = cdc_winner_new(rank, &w->key);

	while (newer->older && cdc_event_is_older(rank, rec, newer->older))
		newer = newer->older;
	e->older = newer->older;
	e->fresh = e->older == NULL && newer->fresh;
	e->archived = true;
	e->deleted = deleted;
	newer->older = e;
	if (!deleted && e->older && !e->older->deleted)
		tokens = cdc_winner_merge(rank, e->older, rec, tokens);
	cdc_winner_set_tokens(rank, e, tokens, cdc_event_key(rec));
	cdc_winner_set_event(rank, e, rec, op);
}

/* Is it a snapshot's row that tells what the winner has already? */
static bool
is_repeated(const CdcRank *rank, const CdcEvent *rec, const CdcWinner *w,
			const CdcToken *tokens)
{
	if (rec->change.op != 'r' || w->deleted)
		return false;
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcToken *a = &tokens[i];
		const CdcToken *b = &w->tokens[i];

		if (rank->target->columns[i].source != CDC_COLUMN_FIELD ||
			!cdc_token_is_set(a))
			continue;
		if (a->kind != b->kind || a->len != b->len || memcmp(a->text, b->text, a->len) != 0)
			return false;
	}
	return true;
}

bool
cdc_history_repeats(CdcRank *rank, const CdcEvent *rec, CdcWinner *w, const CdcToken *tokens)
{
	CdcRepeated *r;

	if (!is_repeated(rank, rec, w, tokens))
		return false;
	r = cdc_winner_keep(rank, sizeof(CdcRepeated), 0);
	cdc_event_get_origin(rank, rec, &r->at);
	r->next = w->of_mode.repeated;
	w->of_mode.repeated = r;
	return true;
}

void
cdc_history_arrange(CdcRank *rank)
{
	int64		n = rank->nwinners;
	CdcWinner **sorted = MemoryContextAllocHuge(rank->context,
												sizeof(CdcWinner *) * (n + 1));
	int64		to = 0;

	for (int64 i = 0; i < n; i++)
	{
		int64		first = to;

		if (rank->winners[i]->archived)
			continue;
		for (CdcWinner *w = rank->winners[i]; w; w = w->older)
			sorted[to++] = w;
		for (int64 a = first, b = to - 1; a < b; a++, b--)
		{
			CdcWinner  *w = sorted[a];

			sorted[a] = sorted[b];
			sorted[b] = w;
		}
	}
	Assert(to == n);
	rank->winners = sorted;
	rank->maxwinners = n + 1;
}

/* The truncate as a change of a key that has this one, too. */
static CdcWinner *
truncate_version(CdcRank *rank, const CdcWinner *like, const CdcTruncate *t)
{
	CdcWinner  *w = MemoryContextAllocZero(rank->context, sizeof(CdcWinner));

	w->key = like->key;
	w->kafka_key = like->kafka_key;
	w->tokens = like->tokens;
	w->schema = like->schema;
	w->connector = like->connector;
	w->refresh_time = like->refresh_time;
	w->op = 't';
	w->deleted = w->archived = true;
	w->broken_by = NULL;
	w->last = t->at;
	w->time = t->time;
	return w;
}

/*
 * Where the truncates belong before a change (NULL: after all) of a key: append them
 * to the versions, the last of which is the change before it, unless this is the
 * first.  One that was applied has ended what the target has; those of the window
 * may each end something there.
 */
static int64
append_truncates(CdcRank *rank, CdcWinner **versions, int64 n, bool first,
				 const CdcWinner *like, const CdcOrigin *before)
{
	CdcWinner  *last = first ? NULL : versions[n - 1];
	ListCell   *lc;

	foreach(lc, rank->truncates)
	{
		const CdcTruncate *t = lfirst(lc);

		if ((first || last->deleted) && t->applied)
			continue;
		if (!first && !cdc_origin_older(&last->last, &t->at))
			continue;
		if (before && !cdc_origin_older(&t->at, before))
			break;
		versions[n] = truncate_version(rank, like, t);
		versions[n]->older = last;
		last = versions[n++];
	}
	return n;
}

void
cdc_history_truncate(CdcRank *rank)
{
	CdcWinner **versions;
	bool		first = true;	/* of its key */
	int64		n = 0;
	int64		had;

	if (rank->truncates == NIL || rank->nwinners == 0)
		return;
	versions = MemoryContextAllocHuge(rank->context, sizeof(CdcWinner *) * rank->nwinners *
									  (list_length(rank->truncates) + 1));
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];
		bool		last = i + 1 == rank->nwinners || rank->winners[i + 1]->older != w;

		CHECK_FOR_INTERRUPTS();
		had = n;
		n = append_truncates(rank, versions, n, first, w, &w->last);
		if (n > had)
			w->older = versions[n - 1];
		versions[n++] = w;
		if (last)
			n = append_truncates(rank, versions, n, false, w, NULL);
		first = last;
	}
	rank->winners = versions;
	rank->nwinners = n;
	rank->maxwinners = n;
}

/* The changes of one key, oldest first. */
static void
date_key(CdcWinner **versions, int64 n)
{
	bool		closes = !versions[0]->fresh;	/* the target's row is the one before */
	bool		continues = closes;

	for (int64 i = 0; i < n; i++)
	{
		CdcWinner  *w = versions[i];

		/* no version begins, or ends, before the one that it follows */
		if (i > 0 && !versions[i - 1]->deleted)
			w->time = Max(w->time, versions[i - 1]->time);
		w->ended = DT_NOEND;
		if (i > 0)
		{
			versions[i - 1]->ended = w->time;
			versions[i - 1]->newer = w;
		}
		/* a value that cannot be read is blamed on the change that has it last */
		w->norigins = 0;
		if (w->deleted)
			w->action = closes ? 'x' : 'z';
		else
			w->action = closes ? 'f' : continues ? 'v' : 'n';
		closes = false;
		continues = !w->deleted && continues;
	}
}

void
cdc_history_date(CdcRank *rank)
{
	int64		first = 0;

	for (int64 i = 1; i <= rank->nwinners; i++)
	{
		/* a key's list ends with the change that is not archived, unless that waits */
		if (i < rank->nwinners && rank->winners[i]->older == rank->winners[i - 1])
			continue;
		CHECK_FOR_INTERRUPTS();
		date_key(rank->winners + first, i - first);
		first = i;
	}
}
