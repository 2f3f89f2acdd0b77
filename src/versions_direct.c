/*-------------------------------------------------------------------------
 *
 * versions_direct.c
 *	  The mode history: staged changes -> versions without SQL, where the target
 *	  lets us (direct.c).
 *
 * One pass over the staged rows, to the same end as the statement of versions.c,
 * which joins staging with itself, with the target and with what it has ended,
 * and enters the versions in no order of the indexes.
 *
 * All of it is one subtransaction, as the current user; staging and target are
 * locked by the caller.  What fails is left to SQL as if it had not been tried.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "direct.h"
#include "value.h"
#include "versions.h"

typedef struct DirectVersions
{
	const CdcVersions *versions;
	const CdcTarget *target;
	CdcDirect  *direct;
	CdcStagingReader *staged;
	Datum	   *key;			/* [nkeys] */
	bool	   *is_volatile;	/* [ncolumns] its default is, and no row sets it */
	int			from;			/* columns: valid_from, .. */
	int			to;
	int			current;
	bool		looked;			/* for the current version of the key */
	bool		was;			/* .. which was there, and is the old row */
	Timestamp	since;			/* .. from then on */
	int64		inserted;
	int64		ended;
} DirectVersions;

static int
column_of(const CdcTarget *target, CdcColumnSource source)
{
	return cdc_target_pseudo(target, source) - target->columns;
}

static Timestamp
later(Datum a, Timestamp b)
{
	return Max(DatumGetTimestamp(a), b);
}

/* End the version that is current; false: SQL has to do it. */
static bool
end_current(DirectVersions *v)
{
	CdcDirect  *d = v->direct;
	int			from = v->target->columns[v->from].attnum - 1;
	int			to = v->target->columns[v->to].attnum - 1;

	if (v->looked)
		return false;			/* it has an end already */
	v->looked = true;
	for (int k = 0; k < v->target->nkeys; k++)
		v->key[k] = v->staged->values[v->target->keys[k]];
	if (!cdc_direct_find(d, v->key, &v->was))
		return false;
	if (!v->was)
		return true;
	cdc_direct_set_old(d);
	v->since = DatumGetTimestamp(d->values[from]);
	d->values[to] = TimestampGetDatum(later(v->staged->values[v->from], v->since));
	d->nulls[to] = false;
	d->values[v->target->columns[v->current].attnum - 1] = BoolGetDatum(false);
	v->ended++;
	return cdc_direct_update(d);
}

/* A column that the change leaves out: as in the version that it continues. */
static void
set_left_out(DirectVersions *v, int i, bool was)
{
	int			at = v->target->columns[i].attnum;

	if (was && !v->is_volatile[i])
		v->direct->values[at - 1] = slot_getattr(v->direct->old, at, &v->direct->nulls[at - 1]);
	else
		cdc_direct_set_default(v->direct, at);
}

static bool
add_version(DirectVersions *v, char action)
{
	CdcDirect  *d = v->direct;
	const CdcMerge *merge = v->versions->merge;
	bool		was = v->was && action != 'n';

	cdc_direct_set_unfed(d);
	for (int i = 0; i < v->target->ncolumns; i++)
	{
		int			at = v->target->columns[i].attnum - 1;

		if (merge->never_set[i] || v->staged->unset[i])
		{
			set_left_out(v, i, was);
			continue;
		}
		d->values[at] = v->staged->values[i];
		d->nulls[at] = v->staged->nulls[i];
		if (was && !d->nulls[at] && (i == v->from || i == v->to))
			d->values[at] = TimestampGetDatum(later(d->values[at], v->since));
	}
	if (!cdc_direct_insert(d))
		return false;
	v->inserted++;
	return true;
}

/* The changes of one key; false: SQL has to do it. */
static bool
apply_unit(DirectVersions *v, int64 first, int64 last)
{
	const CdcVersions *all = v->versions;

	v->looked = v->was = false;
	for (int64 row = first; row < last; row++)
	{
		char		action = all->actions[row];

		if (action == 0 || action == 'z')
			continue;
		cdc_direct_next(v->direct);
		if (!cdc_staging_read(v->staged, &all->merge->tids[row]) ||
			((action == 'f' || action == 'x') && !end_current(v)))
			return false;
		if (action != 'x' && !add_version(v, action))
			return false;
	}
	return true;
}

static bool
run_direct(void *arg)
{
	DirectVersions *v = arg;
	const CdcVersions *all = v->versions;

	v->direct = cdc_direct_begin(v->target, true, all->merge->nrows);
	if (v->direct == NULL)
		return false;
	v->staged = cdc_staging_read_begin(all->merge->staging, v->target);
	for (int64 unit = 0; unit < all->nunits; unit++)
		if (!apply_unit(v, all->units[unit], all->units[unit + 1]))
			return false;
	cdc_staging_read_end(v->staged);
	cdc_direct_end(v->direct);
	return true;
}

bool
cdc_versions_direct(const CdcVersions *versions)
{
	DirectVersions v = {.versions = versions,.target = versions->merge->target};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync direct versions",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CdcConvertError error;
	bool		ok;

	v.key = palloc(sizeof(Datum) * Max(v.target->nkeys, 1));
	v.is_volatile = palloc0(v.target->ncolumns);
	for (int i = 0; i < v.target->ncolumns; i++)
		v.is_volatile[i] = versions->merge->never_set[i] &&
			cdc_versions_default_is_volatile(v.target, &v.target->columns[i]);
	v.from = column_of(v.target, CDC_COLUMN_VALID_FROM);
	v.to = column_of(v.target, CDC_COLUMN_VALID_TO);
	v.current = column_of(v.target, CDC_COLUMN_CURRENT);
	ok = cdc_try(run_direct, &v, &error);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!ok)
		return false;
	versions->merge->inserted += v.inserted;
	versions->merge->updated += v.ended;
	return true;
}
