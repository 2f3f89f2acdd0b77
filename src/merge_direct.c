/*-------------------------------------------------------------------------
 *
 * merge_direct.c
 *	  Staging -> target without SQL, where the target lets us (direct.c).
 *
 * One pass over the staged rows does what merge_step.c does in three statements,
 * to the same end: no other row can be in a row's way there.  Nothing is planned
 * and nothing is joined.  Of the CPU time of a sync (1,000,000 events of 200,000
 * keys) it takes a third off where the target holds the keys, and a tenth where
 * it is empty; of one of 1,000 events two thirds, of one of 10 events a fifth.
 *
 * All of it is one subtransaction, as the current user; staging and target are
 * locked by the caller.  What fails is left to SQL as if it had not been tried.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "direct.h"
#include "merge_run.h"
#include "merge_sql.h"
#include "value.h"

typedef struct DirectMerge
{
	CdcMerge   *merge;
	const CdcTarget *target;
	CdcDirect  *direct;
	CdcStagingReader *staged;
	bool	   *settable;		/* [ncolumns] an update sets it */
	bool	   *marks;			/* [ncolumns] a soft delete sets it */
	int			deleted_at;		/* soft_delete: attribute number, else 0 */
	Datum	   *key;			/* [nkeys] */
	int64		inserted;
	int64		updated;
	int64		deleted;
} DirectMerge;

/* Which columns does what set? */
static void
choose_columns(DirectMerge *m)
{
	const CdcTarget *target = m->target;

	m->settable = palloc(target->ncolumns);
	m->marks = palloc(target->ncolumns);
	m->key = palloc(sizeof(Datum) * Max(target->nkeys, 1));
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		m->settable[i] = !m->merge->never_set[i] && (c->key_no < 0 || cdc_sql_key_is_coarse(c));
		m->marks[i] = !cdc_column_is_field(c->source);
		if (target->mode == CDC_MODE_SOFT_DELETE && c->source == CDC_COLUMN_DELETED_AT)
			m->deleted_at = c->attnum;
	}
}

/* Take a column of the new row from staging; true: it is another value. */
static bool
take_staged(DirectMerge *m, int i)
{
	CdcDirect  *d = m->direct;
	int			to = m->target->columns[i].attnum - 1;
	Datum		value = m->staged->values[i];
	bool		isnull = m->staged->nulls[i];
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(d->rel), to);
	bool		same = isnull == d->nulls[to] &&
		(isnull || datum_image_eq(value, d->values[to], att->attbyval, att->attlen));

	d->values[to] = value;
	d->nulls[to] = isnull;
	return !same;
}

static bool
delete_row(DirectMerge *m)
{
	if (!cdc_direct_delete(m->direct))
		return false;
	m->deleted++;
	return true;
}

/* soft_delete: a row that lives is marked. */
static bool
mark_row(DirectMerge *m)
{
	cdc_direct_set_old(m->direct);
	if (!m->direct->nulls[m->deleted_at - 1])
		return true;
	for (int i = 0; i < m->target->ncolumns; i++)
		if (m->marks[i])
			(void) take_staged(m, i);
	if (!cdc_direct_update(m->direct))
		return false;
	m->deleted++;
	return true;
}

/* Update the row, unless that changes nothing.  See new_value() in merge_step.c. */
static bool
update_row(DirectMerge *m, char action)
{
	CdcDirect  *d = m->direct;
	bool		changed = false;
	bool		revived;

	cdc_direct_set_old(d);
	revived = m->deleted_at > 0 && (action == 'r' || !d->nulls[m->deleted_at - 1]);
	for (int i = 0; i < m->target->ncolumns; i++)
	{
		int			to = m->target->columns[i].attnum;
		Datum		was = d->values[to - 1];
		bool		was_null = d->nulls[to - 1];

		if (!m->settable[i])
			continue;
		if (!m->staged->unset[i])
		{
			changed |= take_staged(m, i);
			continue;
		}
		if (revived)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(d->rel), to - 1);

			cdc_direct_set_default(d, to);
			changed |= was_null != d->nulls[to - 1] ||
				(!was_null && !datum_image_eq(was, d->values[to - 1], att->attbyval, att->attlen));
		}
	}
	if (!changed)
		return true;
	if (!cdc_direct_update(d))
		return false;
	m->updated++;
	return true;
}

static bool
insert_row(DirectMerge *m)
{
	cdc_direct_set_unfed(m->direct);
	for (int i = 0; i < m->target->ncolumns; i++)
	{
		int			to = m->target->columns[i].attnum;

		if (m->merge->never_set[i] || m->staged->unset[i])
			cdc_direct_set_default(m->direct, to);
		else
		{
			m->direct->values[to - 1] = m->staged->values[i];
			m->direct->nulls[to - 1] = m->staged->nulls[i];
		}
	}
	if (!cdc_direct_insert(m->direct))
		return false;
	m->inserted++;
	return true;
}

/* One staged row; false: SQL has to do it. */
static bool
merge_row(DirectMerge *m, char action)
{
	bool		soft = m->target->mode == CDC_MODE_SOFT_DELETE;
	bool		found = false;

	if (m->target->mode != CDC_MODE_APPEND)
	{
		for (int k = 0; k < m->target->nkeys; k++)
			m->key[k] = m->staged->values[m->target->keys[k]];
		if (!cdc_direct_find(m->direct, m->key, &found))
			return false;
	}
	if (action == 'd')
		return !found || (soft ? mark_row(m) : delete_row(m));
	if (found && (soft || action == 'u'))
		return update_row(m, action);
	if (found && !delete_row(m))
		return false;
	return insert_row(m);
}

static bool
run_direct(void *arg)
{
	DirectMerge *m = arg;
	CdcMerge   *merge = m->merge;

	m->direct = cdc_direct_begin(m->target, m->target->mode != CDC_MODE_APPEND, merge->nrows);
	if (m->direct == NULL)
		return false;
	choose_columns(m);
	m->staged = cdc_staging_read_begin(merge->staging, m->target);
	for (int64 row = 0; row < merge->nrows; row++)
	{
		cdc_direct_next(m->direct);
		/* or it was taken out of staging, as the target cannot have it */
		if (cdc_staging_read(m->staged, &merge->tids[row]) &&
			!merge_row(m, merge->actions[row]))
			return false;
	}
	cdc_staging_read_end(m->staged);
	cdc_direct_end(m->direct);
	return true;
}

bool
cdc_merge_direct(CdcMerge *merge)
{
	DirectMerge m = {.merge = merge,.target = merge->target};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync direct merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CdcConvertError error;
	bool		ok = cdc_try(run_direct, &m, &error);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!ok)
		return false;
	merge->inserted += m.inserted;
	merge->updated += m.updated;
	merge->deleted += m.deleted;
	return true;
}
