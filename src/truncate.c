/*-------------------------------------------------------------------------
 *
 * truncate.c
 *	  Truncates of the source's table.
 *
 * What came before lives on no more.  In a topic of several partitions it is the
 * source's order that tells what came before.
 *
 * In the caller's transaction under cdc_pin_settings().  All memory is in the
 * window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "window.h"

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
		cdc_row_mark_deleted(rank, w, rec, 't');
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

bool
cdc_truncate_buries(const CdcRank *rank, const CdcOrigin *at)
{
	return (rank->truncated || rank->has_truncate) && rank->target->mode != CDC_MODE_APPEND &&
		cdc_origin_older(at, &rank->truncated_at);
}

void
cdc_truncate_bad(CdcRank *rank, int64 first)
{
	int64		left = first;

	for (int64 i = first; i < rank->nbad; i++)
		if (!cdc_truncate_buries(rank, &rank->bad[i].at))
			rank->bad[left++] = rank->bad[i];
	rank->nbad = left;
}

const CdcTruncate *
cdc_truncate_between(const CdcRank *rank, const CdcOrigin *from, const CdcOrigin *to)
{
	ListCell   *lc;

	foreach(lc, rank->truncates)
	{
		const CdcTruncate *t = lfirst(lc);

		if (cdc_origin_older(from, &t->at))
			return to == NULL || cdc_origin_older(&t->at, to) ? t : NULL;
	}
	return NULL;
}

const CdcTruncate *
cdc_truncate_before(const CdcRank *rank, const CdcOrigin *at)
{
	const CdcTruncate *newest = NULL;
	ListCell   *lc;

	foreach(lc, rank->truncates)
	{
		const CdcTruncate *t = lfirst(lc);

		if (cdc_origin_older(&t->at, at))
			newest = t;
	}
	return newest;
}

/* Does the pipeline keep rows that are gone, and order what comes for them? */
static bool
keeps_gone(const CdcRank *rank)
{
	return rank->multi_partition && (rank->target->mode == CDC_MODE_SOFT_DELETE ||
									 rank->target->mode == CDC_MODE_HISTORY);
}

void
cdc_truncate_note(CdcRank *rank, const CdcOrigin *at, Timestamp time, bool applied)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	CdcTruncate *t = palloc(sizeof(CdcTruncate));
	int			i = 0;

	t->at = *at;
	t->at.op = 't';
	t->at.synced = t->applied = applied;
	t->time = time;
	while (i < list_length(rank->truncates) &&
		   cdc_origin_older(&((CdcTruncate *) list_nth(rank->truncates, i))->at, at))
		i++;
	rank->truncates = list_insert_nth(rank->truncates, i, t);
	MemoryContextSwitchTo(old);
}

/* A truncate of rows that are kept. */
static void
end_kept_rows(CdcRank *rank, CdcEvent *rec, const CdcOrigin *now)
{
	CdcBytes	no_key = {NULL, 0};
	Timestamp	time = cdc_event_time(rank, rec);

	cdc_truncate_note(rank, now, time, rank->looking_back);
	for (int64 i = 0; rank->target->mode == CDC_MODE_SOFT_DELETE && i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->tokens && cdc_origin_older(now, &w->last) &&
			(!rank->looking_back || cdc_winner_looks_back_to(rank, w, now)))
			cdc_marked_delete_before(rank, w, now, time, 't');
	}
	if (rank->looking_back ||
		(rank->truncate && cdc_origin_older(&rank->truncate->last, now)))
		return;
	if (rank->truncate == NULL)
	{
		rank->truncate = cdc_winner_new(rank, &no_key);
		rank->nwinners--;
		rank->truncate->deleted = true;
	}
	cdc_winner_set_event(rank, rank->truncate, rec, 't');
	rank->truncate->last = *now;
	rank->truncate->ended = rank->truncate->time;
}

/* The table is empty, in the way of the pipeline's mode. */
static void
truncate_window(CdcRank *rank, CdcEvent *rec, const CdcOrigin *now)
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
	if (keeps_gone(rank))
		end_kept_rows(rank, rec, now);
	else if (rank->multi_partition)
	{
		if (rank->target->keyless)
			cdc_keyless_truncate(rank, now);
		else
			truncate_winners(rank, now);
	}
	else if (rank->target->mode != CDC_MODE_MIRROR)
		end_rows(rank, rec);
	else
	{
		cdc_winners_clear(rank);
		rank->nchanges = 0;
	}
	rank->truncated = true;
	if (!rank->has_truncate || cdc_origin_older(&rank->truncated_at, now))
		rank->truncated_at = *now;
	rank->has_truncate = rank->multi_partition;
	/* what they would have changed is gone */
	cdc_truncate_bad(rank, 0);
}

/* t: nothing that came before lives on. */
void
cdc_truncate_add(CdcRank *rank, CdcEvent *rec)
{
	CdcOrigin	now;

	cdc_event_get_origin(rank, rec, &now);
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
		if (keeps_gone(rank))
			end_kept_rows(rank, rec, &now);
		else if (!rank->target->keyless)
			truncate_winners(rank, &now);
		return;
	}
	if (rank->multi_partition && rank->target->nscope > 0)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_FEATURE_NOT_SUPPORTED,
					  "truncate of one of several sources is not supported in a topic with several partitions");
		return;
	}
	truncate_window(rank, rec, &now);
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
		cdc_event_get_origin(rank, &rec, &now);
		if (rank->multi_partition)
			now.partition = -1; /* it is in none of them */
		truncate_window(rank, &rec, &now);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Is the record older than the last truncate, in a topic of several partitions?
 * What it has changed is gone.
 */
bool
cdc_truncate_covers(CdcRank *rank, CdcEvent *rec)
{
	CdcOrigin	now;

	/* what is kept of a row that is gone may still have to come */
	if (!rank->has_truncate || keeps_gone(rank))
		return false;
	cdc_event_get_origin(rank, rec, &now);
	if (!cdc_origin_older(&now, &rank->truncated_at))
		return false;
	rec->progress->resent++;
	if (rec->change.shape != CDC_SHAPE_TOMBSTONE && rec->change.op == 'd')
		cdc_event_note_delete(rec, true);
	return true;
}
