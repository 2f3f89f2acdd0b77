/*-------------------------------------------------------------------------
 *
 * keyless.c
 *	  Mirror of a table without a key: records -> changes of rows.
 *
 * A row is known by all its values, so a change must tell the whole of the row
 * that it takes away.  multiset.c brings the changes to the target.
 *
 * All memory is in the window's context; nothing else is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "keyless.h"
#include "window.h"

#define INCOMPLETE \
	"the event does not tell the whole row that it changes, and the target has no key to find it by; a PostgreSQL source needs REPLICA IDENTITY FULL, MySQL binlog_row_image=FULL"

/* The winner that stands for a row with these values. */
static CdcWinner *
row_of(CdcRank *rank, CdcEvent *rec, const CdcToken *tokens, char op)
{
	StringInfo	buf = &rank->state->key_buf;
	CdcBytes	bytes;
	CdcWinner  *w;
	bool		isnew;

	resetStringInfo(buf);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcColumn *c = &rank->target->columns[i];

		if (c->source != CDC_COLUMN_FIELD)
			continue;
		if (tokens[i].kind == CDC_JSON_MISSING || tokens[i].kind == CDC_JSON_NULL)
			appendStringInfoChar(buf, tokens[i].kind);
		else if (!cdc_winner_append_token(buf, c, &tokens[i]))
		{
			cdc_event_bad(rank, rec, c->name, ERRCODE_UNTRANSLATABLE_CHARACTER,
						  "the value cannot be a text of PostgreSQL");
			return NULL;
		}
	}
	bytes.data = buf->data;
	bytes.len = buf->len;
	w = cdc_winner_get(rank, rec, &bytes, tokens, &isnew);
	if (isnew)
		cdc_winner_set_tokens(rank, w, tokens, cdc_event_key(rec));
	cdc_winner_set_event(rank, w, rec, op);
	return w;
}

static void
add_row_change(CdcRank *rank, const CdcEvent *rec, CdcWinner *takes, CdcWinner *brings)
{
	const CdcChunk *chunk = rec->chunk;
	CdcRowChange *change;

	if (rank->nchanges == rank->maxchanges)
	{
		MemoryContext old = MemoryContextSwitchTo(rank->context);

		rank->maxchanges = Max(1024, rank->maxchanges * 2);
		rank->changes = rank->changes ?
			repalloc_huge(rank->changes, sizeof(CdcRowChange) * rank->maxchanges) :
			palloc(sizeof(CdcRowChange) * rank->maxchanges);
		MemoryContextSwitchTo(old);
	}
	change = &rank->changes[rank->nchanges++];
	memset(change, 0, sizeof(CdcRowChange));
	change->takes = takes;
	change->brings = brings;
	cdc_event_get_origin(rank, rec, &change->at);
	change->position = rec->change.position;
	change->source_ts_ms = rec->change.has_source_ts_ms ? rec->change.source_ts_ms : 0;
	change->kafka_timestamp = chunk->timestamps ? chunk->timestamps[rec->i] : DT_NOBEGIN;
}

/* Does the image tell all that it can?  What the other knows is filled in. */
static bool
is_complete(const CdcRank *rank, CdcToken *tokens, const CdcToken *other)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (!(tokens[i].flags & CDC_JSON_UNAVAILABLE))
			continue;
		if (other == NULL || !cdc_token_is_set(&other[i]))
			return false;
		tokens[i] = other[i];
	}
	return true;
}

void
cdc_keyless_add(CdcRank *rank, CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	const CdcChange *change = &rec->change;
	bool		takes = change->op == 'u' || change->op == 'd';
	bool		brings = change->op != 'd';
	CdcWinner  *taken = NULL;
	CdcWinner  *brought = NULL;

	if (brings && !change->has_after)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "change event without an after image");
		return;
	}
	if (takes)
		cdc_event_spread(rank, change->has_before ? change->before : NULL,
						 change->source, st->old_tokens);
	if (brings)
		cdc_event_spread(rank, change->after, change->source, st->tokens);
	if ((takes && (!change->has_before || !is_complete(rank, st->old_tokens, NULL))) ||
		(brings && !is_complete(rank, st->tokens, takes ? st->old_tokens : NULL)))
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, INCOMPLETE);
		return;
	}
	if ((takes && (taken = row_of(rank, rec, st->old_tokens, change->op)) == NULL) ||
		(brings && (brought = row_of(rank, rec, st->tokens, change->op)) == NULL))
		return;
	/* a row that stays as it is need not even be there */
	if (taken != brought)
		add_row_change(rank, rec, taken, brought);
}

void
cdc_keyless_truncate(CdcRank *rank, const CdcOrigin *at)
{
	int64		left = 0;

	for (int64 i = 0; i < rank->nchanges; i++)
		if (!cdc_origin_older(&rank->changes[i].at, at))
			rank->changes[left++] = rank->changes[i];
	rank->nchanges = left;
}

/* In the order of the partitions and offsets; what is tried again comes first. */
static int
compare_changes(const void *a, const void *b)
{
	const CdcOrigin *x = &((const CdcRowChange *) a)->at;
	const CdcOrigin *y = &((const CdcRowChange *) b)->at;

	if ((x->since != 0) != (y->since != 0))
		return x->since != 0 ? -1 : 1;
	return cdc_origin_compare(x, y);
}

void
cdc_keyless_put_first(CdcRank *rank, int64 first)
{
	if (first < rank->nchanges)
		qsort(rank->changes, rank->nchanges, sizeof(CdcRowChange), compare_changes);
}

/* Changes of one partition, in the order of their offsets. */
typedef struct Run
{
	int64		next;
	int64		end;
} Run;

/* Is a to come before b, which is in another partition? */
static bool
comes_before(const CdcRowChange *a, const CdcRowChange *b)
{
	int			cmp;

	if (cdc_position_compare(&a->position, &b->position, &cmp) && cmp != 0)
		return cmp < 0;
	if (a->source_ts_ms != 0 && b->source_ts_ms != 0 && a->source_ts_ms != b->source_ts_ms)
		return a->source_ts_ms < b->source_ts_ms;
	if (a->kafka_timestamp != b->kafka_timestamp)
		return a->kafka_timestamp < b->kafka_timestamp;
	return a->at.partition < b->at.partition;
}

void
cdc_keyless_arrange(CdcRank *rank)
{
	CdcRowChange *sorted;
	List	   *runs = NIL;
	Run		   *run = NULL;

	if (!rank->multi_partition)
		return;
	for (int64 i = 0; i < rank->nchanges; i++)
	{
		const CdcOrigin *at = &rank->changes[i].at;

		if (run == NULL || at->partition != rank->changes[i - 1].at.partition ||
			(at->since != 0) != (rank->changes[i - 1].at.since != 0))
		{
			run = palloc0(sizeof(Run));
			run->next = i;
			runs = lappend(runs, run);
		}
		run->end = i + 1;
	}
	if (list_length(runs) < 2)
		return;
	sorted = MemoryContextAllocHuge(rank->context, sizeof(CdcRowChange) * rank->nchanges);
	for (int64 i = 0; i < rank->nchanges; i++)
	{
		Run		   *first = NULL;
		ListCell   *lc;

		CHECK_FOR_INTERRUPTS();
		foreach(lc, runs)
		{
			Run		   *r = lfirst(lc);

			if (r->next < r->end &&
				(first == NULL ||
				 comes_before(&rank->changes[r->next], &rank->changes[first->next])))
				first = r;
		}
		sorted[i] = rank->changes[first->next++];
	}
	rank->changes = sorted;
	rank->maxchanges = rank->nchanges;
}
