/*-------------------------------------------------------------------------
 *
 * scope.c
 *	  A truncate where several sources feed one target: it takes the rows of its
 *	  own source alone, by the key columns that tell the source.
 *
 * In the window, the winners of that source become deletes.  The rows that are
 * in the target are deleted before the window is merged, by the pipeline's owner
 * in the caller's SPI connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog.h"
#include "merge_sql.h"
#include "value.h"
#include "window.h"

/* A truncate of the window. */
typedef struct CdcScopeTruncate
{
	int32		epoch;
	int64		offset;
	CdcToken   *tokens;			/* the columns of the target's scope, .. */
	Datum	   *values;			/* [nscope] .. and their values */
} CdcScopeTruncate;

/* Is the row of these tokens one of the source that the others tell? */
static bool
is_in_scope(const CdcTarget *target, const CdcToken *row, const CdcToken *tokens)
{
	for (int i = 0; i < target->nscope; i++)
	{
		const CdcToken *a = &row[target->scope[i]];
		const CdcToken *b = &tokens[target->scope[i]];

		if (a->kind != b->kind || a->len != b->len ||
			memcmp(a->text, b->text, a->len) != 0)
			return false;
	}
	return true;
}

/* The values of the columns that tell the source; false: the record is bad. */
static bool
convert_scope(CdcRank *rank, CdcEvent *rec, const CdcToken *tokens, Datum *values)
{
	CdcRankState *st = rank->state;

	for (int i = 0; i < rank->target->nscope; i++)
	{
		int			at = rank->target->scope[i];
		const CdcColumn *c = &rank->target->columns[at];
		CdcConvertError error;
		bool		isnull;

		if (!cdc_token_is_set(&tokens[at]) || tokens[at].kind == CDC_JSON_NULL)
		{
			cdc_event_bad(rank, rec, c->name, ERRCODE_NOT_NULL_VIOLATION,
						  "the truncate does not tell which rows it means");
			return false;
		}
		if (!cdc_value_convert(c, &tokens[at], st->schema, at, st->connector,
							   &values[i], &isnull, &error))
		{
			cdc_event_bad(rank, rec, c->name, error.sqlerrcode, error.message);
			return false;
		}
	}
	return true;
}

/* For after the window: the record is gone by then. */
static CdcToken *
copy_scope(const CdcTarget *target, const CdcToken *tokens)
{
	CdcToken   *copy = palloc0(sizeof(CdcToken) * target->ncolumns);

	for (int i = 0; i < target->nscope; i++)
	{
		const CdcToken *from = &tokens[target->scope[i]];
		CdcBytes	text = {from->text, from->len};
		CdcToken   *to = &copy[target->scope[i]];

		*to = *from;
		to->text = cdc_copy_bytes(&text).data;
	}
	return copy;
}

/* In the window's context. */
void
cdc_scope_truncate(CdcRank *rank, CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	const CdcTarget *target = rank->target;
	CdcScopeTruncate *t = palloc(sizeof(CdcScopeTruncate));

	cdc_event_spread(rank, NULL, rec->change.source, st->tokens);
	t->values = palloc(sizeof(Datum) * target->nscope);
	if (!convert_scope(rank, rec, st->tokens, t->values))
		return;
	t->tokens = copy_scope(target, st->tokens);
	t->epoch = rec->chunk->epoch;
	t->offset = rec->offset;
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->tokens == NULL || !is_in_scope(target, w->tokens, st->tokens))
			continue;
		for (int c = 0; c < target->ncolumns; c++)
			if (target->columns[c].key_no < 0)
				memset(&w->tokens[c], 0, sizeof(CdcToken));
		w->deleted = true;
		w->fresh = false;
		w->broken_by = NULL;
		w->norigins = 0;
		cdc_winner_set_event(rank, w, rec, 'd');
	}
	rank->scope_truncates = lappend(rank->scope_truncates, t);
}

bool
cdc_scope_truncates(CdcRank *rank, const CdcOrigin *at, const CdcRecordBytes *record)
{
	CdcToken   *tokens = rank->state->bad_tokens;
	ListCell   *lc;

	/* such a topic has one partition */
	if (!cdc_rank_record_source(rank, record, tokens))
		return false;
	foreach(lc, rank->scope_truncates)
	{
		CdcScopeTruncate *t = lfirst(lc);

		if ((at->epoch < t->epoch || (at->epoch == t->epoch && at->offset < t->offset)) &&
			is_in_scope(rank->target, tokens, t->tokens))
			return true;
	}
	return false;
}

uint64
cdc_scope_apply(const CdcRank *rank)
{
	const CdcTarget *target = rank->target;
	Oid		   *types = palloc(sizeof(Oid) * Max(target->nscope, 1));
	uint64		deleted = 0;
	char	   *sql;
	ListCell   *lc;

	if (rank->scope_truncates == NIL)
		return 0;
	for (int i = 0; i < target->nscope; i++)
		types[i] = target->columns[target->scope[i]].typid;
	sql = cdc_sql_scope_delete(target);
	foreach(lc, rank->scope_truncates)
		deleted += cdc_spi_run(sql, target->nscope, types,
							   ((CdcScopeTruncate *) lfirst(lc))->values, NULL, 0);
	return deleted;
}
