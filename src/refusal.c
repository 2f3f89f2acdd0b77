/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  Records of a window that cannot be applied, and which took the place of
 *	  other changes of their key in the same window.
 *
 * Whether values can be converted, and the target takes the row, shows when a
 * window has been ranked, and what the last change of a key replaced is gone by
 * then.  If that one turns out bad, the window is undone and ranked again, and
 * the list, which outlives the attempt, tells the ranking what it is to leave to
 * quarantine.
 *
 * Memory only; includes nothing of the ranking.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "refusal.h"

static int
compare(const void *a, const void *b)
{
	return cdc_origin_compare(&((const CdcRefusal *) a)->at, &((const CdcRefusal *) b)->at);
}

void
cdc_refusals_add(CdcRefusals *refusals, const CdcOrigin *at, const char *column,
				 int sqlerrcode, const char *message, int64 blocked_by)
{
	MemoryContext old;
	CdcRefusal *r;

	if (refusals->context == NULL)
		refusals->context = AllocSetContextCreate(refusals->parent, "cdcsync refusals",
												  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(refusals->context);
	if (refusals->n == refusals->max)
	{
		refusals->max = Max(64, refusals->max * 2);
		refusals->records = refusals->records ?
			repalloc_huge(refusals->records, sizeof(CdcRefusal) * refusals->max) :
			palloc(sizeof(CdcRefusal) * refusals->max);
	}
	r = &refusals->records[refusals->n++];
	r->at = *at;
	r->column = column ? pstrdup(column) : NULL;
	r->sqlerrcode = sqlerrcode;
	r->message = pstrdup(message);
	r->blocked_by = blocked_by;
	MemoryContextSwitchTo(old);
}

void
cdc_refusals_sort(CdcRefusals *refusals)
{
	qsort(refusals->records, refusals->n, sizeof(CdcRefusal), compare);
	refusals->sorted = refusals->n;
}

const CdcRefusal *
cdc_refusals_find(const CdcRefusals *refusals, int64 partition, int32 epoch, int64 offset)
{
	CdcRefusal	key = {.at = {.partition = partition,.epoch = epoch,.offset = offset}};

	return bsearch(&key, refusals->records, refusals->sorted, sizeof(CdcRefusal), compare);
}

void
cdc_refusals_end(CdcRefusals *refusals)
{
	if (refusals->context)
		MemoryContextDelete(refusals->context);
}
