/*-------------------------------------------------------------------------
 *
 * merge.c
 *	  Staging -> target: delete, update, insert, as sets.
 *
 * In that order, so that a unique value can be taken over from a row that goes
 * or changes, whatever the order of rows in staging.  Rows that swap unique
 * values are parked on a spare value first.  A set that the target refuses is
 * halved until the rows are found that it refuses; what it refuses alone is
 * tried again with the others, as one may have waited for the next.
 *
 * Plans are made for each window: it is the size of the window that decides
 * them.  Each statement runs in a subtransaction of the caller's transaction,
 * as the current user; staging is locked by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "attempt.h"
#include "catalog.h"
#include "conflict.h"
#include "merge_run.h"
#include "merge_sql.h"
#include "value.h"

/* Up to so many rows are named one by one, see apply_step(). */
#define FEW_ROWS	1000

/* So many rows that other transactions may let pass are found one by one. */
#define MAX_WAITING	10000

/* Delete; delete, then insert; update or insert. */
static const char all_actions[] = "dru";

/* The actions that a step is about. */
const char *
cdc_merge_step_actions(const CdcMerge *merge, CdcMergeStep step)
{
	bool		soft = merge->target->mode == CDC_MODE_SOFT_DELETE;

	switch (step)
	{
		case STEP_DELETE:
			return soft ? "d" : "dr";
		case STEP_UPDATE:
			return soft ? "ur" : "u";
		default:
			return "ur";
	}
}

static int64
count_actions(const CdcMerge *merge, const char *actions)
{
	int64		n = 0;

	for (int i = 0; i < lengthof(merge->nactions); i++)
		if (strchr(actions, all_actions[i]))
			n += merge->nactions[i];
	return n;
}

/*
 * Condition that the staged row has one of these actions.  The planner has no
 * statistics of staging; it takes equality for rare and inequality for common.
 * So say it the way that fits the window: hundreds of thousands of updates that
 * it thinks a thousand would be looked up one by one.
 */
char *
cdc_merge_action_in(const CdcMerge *merge, const char *alias, const char *actions)
{
	bool		common = 2 * count_actions(merge, actions) > merge->nrows;
	const char *column = quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_ACTION));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s.%s %s (", alias, column, common ? "NOT IN" : "IN");
	for (const char *a = all_actions; *a; a++)
		if ((strchr(actions, *a) != NULL) != common)
			appendStringInfo(&buf, "%s'%c'", buf.data[buf.len - 1] == '(' ? "" : ", ", *a);
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* Run a statement over the rows of the run: $1 is their TIDs, if not all. */
int64
cdc_merge_run_sql(const CdcMergeRun *run, StringInfo sql)
{
	Oid			types[] = {TIDOID};
	Datum		values[1];
	Datum	   *tids;

	CHECK_FOR_INTERRUPTS();
	if (run->rows == NULL)
		return cdc_spi_run(sql->data, 0, NULL, NULL, NULL, 0);
	tids = palloc(sizeof(Datum) * run->nrows);
	for (int64 i = 0; i < run->nrows; i++)
		tids[i] = PointerGetDatum(&run->merge->tids[run->rows[i]]);
	types[0] = get_array_type(TIDOID);
	values[0] = PointerGetDatum(construct_array(tids, run->nrows, TIDOID,
												sizeof(ItemPointerData), false,
												TYPALIGN_SHORT));
	return cdc_spi_run(sql->data, 1, types, values, NULL, 0);
}

/* Restrict a statement to the run's rows. */
void
cdc_merge_append_rows(const CdcMergeRun *run, StringInfo sql)
{
	if (run->rows)
		appendStringInfoString(sql, " AND s.ctid = ANY ($1)");
}

/* soft_delete: rows that are deleted get the columns that say so. */
static void
mark_rows(CdcMergeRun *run)
{
	CdcMerge   *m = run->merge;
	const CdcTarget *target = m->target;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET ", cdc_qualified_name(target->relid));
	for (int i = 0, n = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (!cdc_column_is_field(c->source))
			appendStringInfo(&sql, "%s%s = %s", n++ ? ", " : "",
							 quote_identifier(c->name), cdc_sql_column("s", c));
	}
	appendStringInfo(&sql, " FROM %s s WHERE %s AND %s AND %s IS NULL",
					 cdc_qualified_name(m->staging), cdc_merge_action_in(m, "s", "d"),
					 cdc_sql_key_join(target, "t", "s"),
					 cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT)));
	cdc_merge_append_rows(run, &sql);
	run->deleted += cdc_merge_run_sql(run, &sql);
}

/* soft_delete: the same for all rows. */
static void
mark_all(CdcMerge *merge)
{
	const CdcTarget *target = merge->target;
	int			n = target->ncolumns;
	Oid		   *types = palloc(sizeof(Oid) * n);
	Datum	   *values = palloc(sizeof(Datum) * n);
	char	   *nulls = palloc(n);
	int			nargs = 0;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET ", cdc_qualified_name(target->relid));
	for (int i = 0; i < n; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (cdc_column_is_field(c->source))
			continue;
		types[nargs] = c->typid;
		values[nargs] = merge->truncate_values[i];
		nulls[nargs++] = merge->truncate_nulls[i] ? 'n' : ' ';
		appendStringInfo(&sql, "%s%s = $%d", nargs > 1 ? ", " : "",
						 quote_identifier(c->name), nargs);
	}
	/* rows that the window has are marked with it, or live again */
	appendStringInfo(&sql, " WHERE %s IS NULL AND NOT EXISTS (SELECT FROM %s s WHERE %s AND %s)",
					 cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT)),
					 cdc_qualified_name(merge->staging), cdc_merge_action_in(merge, "s", "ur"),
					 cdc_sql_key_join(target, "t", "s"));
	merge->deleted += cdc_spi_run(sql.data, nargs, types, values, nulls, 0);
}

static void
delete_rows(CdcMergeRun *run)
{
	CdcMerge   *m = run->merge;
	StringInfoData sql;

	if (m->target->mode == CDC_MODE_SOFT_DELETE)
	{
		mark_rows(run);
		return;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s t USING %s s WHERE %s AND %s",
					 cdc_qualified_name(m->target->relid),
					 cdc_qualified_name(m->staging),
					 cdc_merge_action_in(m, "s", "dr"), cdc_sql_key_join(m->target, "t", "s"));
	cdc_merge_append_rows(run, &sql);
	run->deleted += cdc_merge_run_sql(run, &sql);
}

/*
 * What an update sets a column to.  A row that soft_delete has kept is as good
 * as gone: where it comes to life again, nothing that it had lives on.
 */
static char *
new_value(const CdcMerge *m, const CdcColumn *c)
{
	char	   *value = cdc_sql_column("s", c);
	char	   *kept = cdc_sql_column("t", c);

	if (!m->partly_set[c - m->target->columns])
		return value;
	if (m->target->mode == CDC_MODE_SOFT_DELETE)
		kept = psprintf("CASE WHEN %s OR %s IS NOT NULL THEN %s ELSE %s END",
						cdc_merge_action_in(m, "s", "r"),
						cdc_sql_column("t", cdc_target_pseudo(m->target, CDC_COLUMN_DELETED_AT)),
						cdc_sql_default(m->target, c), kept);
	return psprintf("CASE WHEN %s THEN %s ELSE %s END", cdc_sql_is_unset(m->target, c),
					kept, value);
}

static void
update_rows(CdcMergeRun *run)
{
	CdcMerge   *m = run->merge;
	const CdcTarget *target = m->target;
	StringInfoData sql;
	StringInfoData set;
	StringInfoData now;
	StringInfoData then;

	initStringInfo(&set);
	initStringInfo(&now);
	initStringInfo(&then);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];
		char	   *value;

		if (m->never_set[i] || (c->key_no >= 0 && !cdc_sql_key_is_coarse(c)))
			continue;
		value = new_value(m, c);
		appendStringInfo(&set, "%s%s = %s", set.len ? ", " : "",
						 quote_identifier(c->name), value);
		appendStringInfo(&now, "%s%s", now.len ? ", " : "", value);
		appendStringInfo(&then, "%s%s", then.len ? ", " : "", cdc_sql_column("t", c));
	}
	if (set.len == 0)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s FROM %s s WHERE %s AND %s "
					 "AND ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record",
					 cdc_qualified_name(target->relid), set.data,
					 cdc_qualified_name(m->staging),
					 cdc_merge_action_in(m, "s", cdc_merge_step_actions(m, STEP_UPDATE)),
					 cdc_sql_key_join(target, "t", "s"), then.data, now.data);
	cdc_merge_append_rows(run, &sql);
	run->updated += cdc_merge_run_sql(run, &sql);
}

/*
 * Insert the rows that leave out just these columns (bits of unset as in
 * staging, NULL: none), so that the defaults of those columns apply.
 */
static void
insert_pattern(CdcMergeRun *run, Datum unset, bool unset_isnull, bool by_pattern)
{
	CdcMerge   *m = run->merge;
	const CdcTarget *target = m->target;
	const char *unset_name = quote_identifier(cdc_staging_column(target, CDC_STAGING_UNSET));
	StringInfoData sql;
	StringInfoData into;
	StringInfoData from;
	StringInfoData order;
	int16	   *left_out = NULL;
	int			nleft_out = 0;

	if (by_pattern && !unset_isnull)
	{
		ArrayType  *a = DatumGetArrayTypeP(unset);

		left_out = (int16 *) ARR_DATA_PTR(a);
		nleft_out = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	}
	initStringInfo(&into);
	initStringInfo(&from);
	initStringInfo(&order);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];
		char	   *value = cdc_sql_column("s", c);
		bool		skip = m->never_set[i];

		for (int j = 0; j < nleft_out; j++)
			skip |= left_out[j] == c->attnum || left_out[j] == -c->attnum;
		if (skip)
			continue;
		/* what is appended must stay in its order */
		if (target->mode == CDC_MODE_APPEND && m->partly_set[i])
			value = psprintf("CASE WHEN %s THEN %s ELSE %s END", cdc_sql_is_unset(target, c),
							 cdc_sql_default(target, c), value);
		appendStringInfo(&into, "%s%s", into.len ? ", " : "", quote_identifier(c->name));
		appendStringInfo(&from, "%s%s", from.len ? ", " : "", value);
	}
	for (int k = 0; k < target->nkeys; k++)
		appendStringInfo(&order, "%s%s", k ? ", " : "",
						 cdc_sql_column("s", &target->columns[target->keys[k]]));
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s)%s SELECT %s FROM %s s WHERE %s",
					 cdc_qualified_name(target->relid), into.data,
					 target->identity_always ? " OVERRIDING SYSTEM VALUE" : "",
					 from.data, cdc_qualified_name(m->staging),
					 cdc_merge_action_in(m, "s", "ur"));
	if (target->mode != CDC_MODE_APPEND)
		appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s t WHERE %s)",
						 cdc_qualified_name(target->relid), cdc_sql_key_join(target, "t", "s"));
	cdc_merge_append_rows(run, &sql);
	if (by_pattern && unset_isnull)
		appendStringInfo(&sql, " AND s.%s IS NULL", unset_name);
	else if (by_pattern)
		appendStringInfo(&sql, " AND s.%s OPERATOR(pg_catalog.=) '%s'::pg_catalog.int2[]",
						 unset_name,
						 OidOutputFunctionCall(F_ARRAY_OUT, unset));
	/* what was appended is read in its order anyway */
	if (order.len > 0)
		appendStringInfo(&sql, " ORDER BY %s", order.data);
	run->inserted += cdc_merge_run_sql(run, &sql);
}

static void
insert_rows(CdcMergeRun *run)
{
	CdcMerge   *m = run->merge;
	bool		patterns = false;
	StringInfoData sql;
	Datum	   *unset;
	bool	   *isnull;
	int64		n;

	for (int i = 0; i < m->target->ncolumns; i++)
		patterns |= m->partly_set[i];
	if (!patterns || m->target->mode == CDC_MODE_APPEND)
	{
		insert_pattern(run, (Datum) 0, true, false);
		return;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT DISTINCT s.%s FROM %s s WHERE %s",
					 quote_identifier(cdc_staging_column(m->target, CDC_STAGING_UNSET)),
					 cdc_qualified_name(m->staging), cdc_merge_action_in(m, "s", "ur"));
	cdc_merge_append_rows(run, &sql);
	n = cdc_merge_run_sql(run, &sql);
	unset = palloc(sizeof(Datum) * n);
	isnull = palloc(sizeof(bool) * n);
	for (int64 i = 0; i < n; i++)
	{
		unset[i] = cdc_spi_value(i, 1, &isnull[i]);
		if (!isnull[i])
			unset[i] = PointerGetDatum(DatumGetArrayTypePCopy(unset[i]));
	}
	for (int64 i = 0; i < n; i++)
		insert_pattern(run, unset[i], isnull[i], true);
}

static bool
run_step(void *arg)
{
	CdcMergeRun		   *run = arg;
	MemoryContext old = MemoryContextSwitchTo(run->scratch);

	if (run->step == STEP_ALL && run->merge->target->mode == CDC_MODE_APPEND)
		run->step = STEP_INSERT;
	if (run->step == STEP_DELETE ||
		(run->step == STEP_ALL &&
		 count_actions(run->merge, cdc_merge_step_actions(run->merge, STEP_DELETE)) > 0))
		delete_rows(run);
	if (run->step == STEP_UPDATE ||
		(run->step == STEP_ALL &&
		 count_actions(run->merge, cdc_merge_step_actions(run->merge, STEP_UPDATE)) > 0))
	{
		if (run->park)
			cdc_merge_park(run);
		if (run->only)
		{
			run->rows = run->only;
			run->nrows = 1;
		}
		update_rows(run);
	}
	if (run->step == STEP_INSERT ||
		(run->step == STEP_ALL && count_actions(run->merge, "ur") > 0))
		insert_rows(run);
	if (run->settle)
	{
		cdc_merge_constraints(run->merge, false);
		cdc_merge_constraints(run->merge, true);
	}
	MemoryContextSwitchTo(old);
	return true;
}

/* What is known of the rows that the target refused so far. */
typedef struct Failed
{
	int64	   *rows;
	int64		n;
	int64		nbad;			/* of those, for good as far as can be told */
	bool	   *is_failed;		/* [merge->nrows] those, and the hopeless ones */
	CdcConvertError last_bad;	/* why the last one of these has failed .. */
	CdcConvertError last_waiting;	/* .. and of the others; in the caller's context */
	bool		searched;		/* hopeless rows were looked for */
	List	   *hopeless;		/* Hopeless * */
	MemoryContext context;		/* the caller's */
	MemoryContext scratch;		/* reset per attempt */
} Failed;

/* Rows that a constraint is sure to refuse, and its error. */
typedef struct Hopeless
{
	CdcConflict *conflict;
	CdcConvertError error;
} Hopeless;

/* May other transactions let a row pass that has failed for this? */
static bool
may_wait(const CdcConvertError *error)
{
	return error->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION ||
		error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
		error->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION;
}

static bool
is_enough(const CdcMerge *merge, const Failed *failed)
{
	return failed->nbad > merge->max_refused || failed->n - failed->nbad > MAX_WAITING;
}

static CdcConvertError
keep_error(const Failed *failed, const CdcConvertError *error)
{
	CdcConvertError kept = {.sqlerrcode = error->sqlerrcode};

	kept.message = MemoryContextStrdup(failed->context, error->message);
	if (error->column)
		kept.column = MemoryContextStrdup(failed->context, error->column);
	return kept;
}

/*
 * Try a step over some rows (NULL: all); counts only if it succeeds.  What
 * *error points to is valid until the next attempt.
 */
static bool
try_step(CdcMerge *merge, Failed *failed, CdcMergeStep step, bool park, const int64 *rows,
		 int64 nrows, CdcConvertError *error)
{
	CdcMergeRun			run = {.merge = merge,.step = step,.park = park,.rows = rows,.nrows = nrows,
	.scratch = failed->scratch};
	MemoryContext old;
	bool		ok;

	MemoryContextReset(failed->scratch);
	old = MemoryContextSwitchTo(failed->scratch);
	ok = cdc_try(run_step, &run, error);
	MemoryContextSwitchTo(old);
	if (!ok)
		return false;
	merge->deleted += run.deleted;
	merge->updated += run.updated;
	merge->inserted += run.inserted;
	return true;
}

static bool
is_conflict(const CdcMerge *merge, const CdcConvertError *error)
{
	return merge->target->other_unique &&
		(error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
		 error->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION);
}

/* Apply what can be applied of the rows; append the others to failed. */
static void
halve(CdcMerge *merge, CdcMergeStep step, const int64 *rows, int64 nrows, Failed *failed)
{
	CdcConvertError error = {0};
	bool		enough = is_enough(merge, failed);

	CHECK_FOR_INTERRUPTS();
	if (nrows == 0 ||
		(!enough && try_step(merge, failed, step, false, rows, nrows, &error)))
		return;
	if (nrows == 1 || enough)
	{
		if (!enough && may_wait(&error))
			failed->last_waiting = keep_error(failed, &error);
		else if (!enough)
		{
			failed->last_bad = keep_error(failed, &error);
			failed->nbad++;
		}
		for (int64 i = 0; i < nrows; i++)
		{
			failed->rows[failed->n++] = rows[i];
			failed->is_failed[rows[i]] = true;
		}
		return;
	}
	/* in the end only: what is not among these rows is applied by then */
	if (step == STEP_ALL && is_conflict(merge, &error) &&
		try_step(merge, failed, step, true, rows, nrows, &error))
		return;
	halve(merge, step, rows, nrows / 2, failed);
	halve(merge, step, rows + nrows / 2, nrows - nrows / 2, failed);
}

/* The rows that have one of these actions and have not failed. */
static int64 *
list_rows(const CdcMerge *merge, const char *actions, const Failed *failed,
		  int64 *n)
{
	int64	   *rows = MemoryContextAllocHuge(CurrentMemoryContext,
											  sizeof(int64) * count_actions(merge, actions));

	*n = 0;
	for (int64 i = 0; i < merge->nrows; i++)
		if (strchr(actions, merge->actions[i]) != NULL && !failed->is_failed[i])
			rows[(*n)++] = i;
	return rows;
}

/*
 * A set has failed for a constraint: find the rows that it is sure to refuse, and
 * leave them out from now on.  One row of each constraint is tried alone, to have
 * its error, and the proof.
 */
static void
find_hopeless(CdcMerge *merge, Failed *failed, const CdcConvertError *why)
{
	List	   *conflicts;
	ListCell   *lc;

	if (failed->searched || !may_wait(why) || merge->nrows < 3 ||
		merge->target->mode != CDC_MODE_MIRROR)
		return;
	failed->searched = true;
	conflicts = cdc_conflict_find(merge);
	foreach(lc, conflicts)
	{
		CdcConflict *conflict = lfirst(lc);
		CdcConvertError error = {0};
		Hopeless   *hopeless;
		int64		left = 0;

		for (int64 i = 0; i < conflict->nrows; i++)
			if (!failed->is_failed[conflict->rows[i]])
				conflict->rows[left++] = conflict->rows[i];
		conflict->nrows = left;
		if (left == 0 ||
			try_step(merge, failed, STEP_ALL, false, conflict->rows, 1, &error) ||
			error.sqlerrcode != conflict->sqlerrcode)
			continue;
		hopeless = palloc(sizeof(Hopeless));
		hopeless->conflict = conflict;
		hopeless->error = keep_error(failed, &error);
		failed->hopeless = lappend(failed->hopeless, hopeless);
		for (int64 i = 0; i < left; i++)
			failed->is_failed[conflict->rows[i]] = true;
	}
}

static void
report_hopeless(CdcMerge *merge, const Failed *failed)
{
	ListCell   *lc;

	foreach(lc, failed->hopeless)
	{
		const Hopeless *hopeless = lfirst(lc);

		for (int64 i = 0; i < hopeless->conflict->nrows; i++)
			merge->refused(merge->arg, hopeless->conflict->rows[i], &hopeless->error);
	}
}

/*
 * One step over all rows of the window that it concerns.  If they are few, they
 * are named: the planner takes a staging table that is nearly empty for one of
 * hundreds of rows, and would read all of the target to join it with them.
 */
static void
apply_step(CdcMerge *merge, CdcMergeStep step, Failed *failed)
{
	CdcConvertError error = {0};
	const char *actions = cdc_merge_step_actions(merge, step);
	int64		n = count_actions(merge, actions);
	int64	   *rows = NULL;

	if (n == 0)
		return;
	if (n <= FEW_ROWS)
		rows = list_rows(merge, actions, failed, &n);
	if (failed->n == 0 && failed->hopeless == NIL)
	{
		if (try_step(merge, failed, step, false, rows, n, &error))
			return;
		if (step == STEP_UPDATE && is_conflict(merge, &error) &&
			try_step(merge, failed, step, true, rows, n, &error))
			return;
		find_hopeless(merge, failed, &error);
	}
	if (rows == NULL || failed->hopeless != NIL)
		rows = list_rows(merge, actions, failed, &n);
	halve(merge, step, rows, n, failed);
	pfree(rows);
}

/*
 * Did the update find a row of the target for every row of staging, and is it
 * still there?
 */
static bool
nothing_to_insert(const CdcMerge *merge, const Failed *failed)
{
	Relation	rel;
	bool		plain;

	if (failed->n > 0 || failed->hopeless != NIL || !merge->target->key_is_unique ||
		merge->updated < count_actions(merge, "ur"))
		return false;
	rel = table_open(merge->target->relid, NoLock);
	/* tables that inherit from it may hold the key once more */
	plain = rel->rd_rel->relkind == RELKIND_RELATION && rel->trigdesc == NULL &&
		rel->rd_rules == NULL && !rel->rd_rel->relhassubclass;
	table_close(rel, NoLock);
	return plain;
}

typedef struct Probe
{
	CdcMergeRun			run;
	bool		ok;
} Probe;

static bool
probe(void *arg)
{
	Probe	   *p = arg;
	CdcConvertError error;

	p->ok = cdc_try(run_step, &p->run, &error);
	return false;				/* to be rolled back */
}

/*
 * Of rows that do not go together, move to failed those that fail even when all
 * others have made way; if there are none, the last.  Returns how many are left.
 */
static int64
drop_hopeless(CdcMerge *merge, int64 *rows, int64 n, Failed *failed)
{
	int64	   *all = palloc(sizeof(int64) * n);
	int64		left = 0;

	memcpy(all, rows, sizeof(int64) * n);
	for (int64 i = 0; i < n; i++)
	{
		Probe		p = {{.merge = merge,.step = STEP_ALL,.park = true,.rows = all,.nrows = n,
		.only = &all[i],.scratch = failed->scratch}};

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(failed->scratch);
		(void) cdc_attempt(probe, &p, NULL, NULL);
		if (p.ok)
			rows[left++] = all[i];
		else
			failed->rows[failed->n++] = all[i];
	}
	if (left == n)
		failed->rows[failed->n++] = rows[--left];
	pfree(all);
	return left;
}

/* So many rows in conflict are looked at one by one. */
#define PROBE_ROWS	100

/*
 * Rows that fail alone for a unique value may be parts of a swap: try those
 * together, without the ones that fail for another reason.  Keeps in failed what
 * does not succeed.
 */
static void
retry_conflicts(CdcMerge *merge, Failed *failed)
{
	int64	   *conflicts = MemoryContextAllocHuge(CurrentMemoryContext,
												   sizeof(int64) * failed->n);
	int64		n = 0;
	int64		left = 0;
	CdcConvertError error;

	for (int64 i = 0; i < failed->n; i++)
	{
		if (try_step(merge, failed, STEP_ALL, false, &failed->rows[i], 1, &error))
			continue;
		if (is_conflict(merge, &error))
			conflicts[n++] = failed->rows[i];
		else
			failed->rows[left++] = failed->rows[i];
	}
	failed->n = left;
	while (n > 0 && n <= PROBE_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		if (try_step(merge, failed, STEP_ALL, true, conflicts, n, &error))
			n = 0;
		else
			n = drop_hopeless(merge, conflicts, n, failed);
	}
	halve(merge, STEP_ALL, conflicts, n, failed);
	pfree(conflicts);
}

/*
 * What failed alone may go together (a swap), or now that the others are in.
 * Report what does not.
 */
static void
retry_failed(CdcMerge *merge, Failed *failed)
{
	CdcConvertError error;
	CdcConvertError *errors = NULL;
	CdcConvertError not_tried;
	bool		enough = is_enough(merge, failed);
	int64		before;

	if (enough)
	{
		not_tried = failed->nbad > merge->max_refused ? failed->last_bad : failed->last_waiting;
		not_tried.message = psprintf("%s (not tried alone, as too many records of the window are refused)",
									 not_tried.message);
	}
	if (merge->target->other_unique && !enough)
		retry_conflicts(merge, failed);
	if (!enough)
		errors = MemoryContextAllocHuge(CurrentMemoryContext,
										sizeof(CdcConvertError) * (failed->n + 1));
	do
	{
		int64		left = 0;

		before = failed->n;
		for (int64 i = 0; i < before && !enough; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (try_step(merge, failed, STEP_ALL, false, &failed->rows[i], 1, &error))
				continue;
			failed->rows[left] = failed->rows[i];
			errors[left++] = keep_error(failed, &error);
		}
		if (!enough)
			failed->n = left;
	} while (failed->n > 0 && failed->n < before);

	for (int64 i = 0; i < failed->n; i++)
		merge->refused(merge->arg, failed->rows[i], enough ? &not_tried : &errors[i]);
}

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

/* Row number of each TID that the last SELECT returned; TIDs rise with them. */
static void
collect_rows(CdcMerge *merge, uint64 n, int64 *rows)
{
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		void	   *tid = DatumGetPointer(cdc_spi_value(i, 1, &isnull));
		const ItemPointerData *found = bsearch(tid, merge->tids, merge->nrows,
											   sizeof(ItemPointerData), compare_tids);

		if (found == NULL)
			elog(ERROR, "staged row is not where it was put");
		rows[i] = found - merge->tids;
	}
}

/*
 * Rows with unavailable values of which the target has no row cannot be made:
 * the values are not known.  They are reported and taken out of staging.
 */
static void
refuse_homeless(CdcMerge *merge)
{
	StringInfoData sql;
	CdcMergeRun			run = {.merge = merge};
	CdcConvertError error = {
		.sqlerrcode = ERRCODE_NOT_NULL_VIOLATION,
		.message = "the event leaves out a value that is unchanged, and the target has no row to keep it from"
	};
	int64	   *rows;
	uint64		n;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.ctid FROM %s s WHERE %s AND 0 > ANY (s.%s) "
					 "AND (%s OR NOT EXISTS (SELECT FROM %s t WHERE %s%s))",
					 cdc_qualified_name(merge->staging), cdc_merge_action_in(merge, "s", "ur"),
					 quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_UNSET)),
					 cdc_merge_action_in(merge, "s", "r"),
					 cdc_qualified_name(merge->target->relid), cdc_sql_key_join(merge->target, "t", "s"),
					 merge->target->mode != CDC_MODE_SOFT_DELETE ? "" :
					 psprintf(" AND %s IS NULL",
							  cdc_sql_column("t", cdc_target_pseudo(merge->target, CDC_COLUMN_DELETED_AT))));
	n = cdc_merge_run_sql(&run, &sql);
	if (n == 0)
		return;
	rows = palloc(sizeof(int64) * n);
	collect_rows(merge, n, rows);
	for (uint64 i = 0; i < n; i++)
		merge->refused(merge->arg, rows[i], &error);
	run.rows = rows;
	run.nrows = n;
	resetStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s s WHERE true", cdc_qualified_name(merge->staging));
	cdc_merge_append_rows(&run, &sql);
	(void) cdc_merge_run_sql(&run, &sql);
}

/*
 * Deferrable constraints, and constraint triggers, are checked by our statements,
 * not at commit, where nobody could tell which rows to leave out; afterwards they
 * are as they are declared.  A foreign key stays deferred where the row that is
 * referenced may come later in the transaction.
 */
void
cdc_merge_constraints(CdcMerge *merge, bool back)
{
	Oid			types[] = {OIDOID, BOOLOID, BOOLOID};
	Datum		values[] = {ObjectIdGetDatum(merge->target->relid), BoolGetDatum(back),
	BoolGetDatum(merge->check_foreign_keys)};
	bool		isnull = true;
	Datum		names = (Datum) 0;

	if (!merge->target->deferrable)
		return;
	if (cdc_spi_run("SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') "
					"FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n "
					"ON n.oid OPERATOR(pg_catalog.=) c.connamespace "
					"WHERE (c.conrelid OPERATOR(pg_catalog.=) $1 "
					"AND (c.contype IN ('p', 'u', 'x', 't') OR $3 AND c.contype IN ('f')) "
					"OR $3 AND c.contype IN ('f') AND c.confrelid OPERATOR(pg_catalog.=) $1) "
					"AND c.condeferrable AND (c.condeferred OR NOT $2)",
					3, types, values, NULL, 0) == 1)
		names = cdc_spi_value(0, 1, &isnull);
	if (!isnull)
		cdc_spi_run(psprintf("SET CONSTRAINTS %s %s", TextDatumGetCString(names),
							 back ? "DEFERRED" : "IMMEDIATE"), 0, NULL, NULL, NULL, 0);
}

/*
 * What is deferred may hold for all rows of the window together only.  Where it
 * cannot be deferred (in a security-restricted operation) it is checked by each
 * statement.
 */
static bool
try_together(CdcMerge *merge, Failed *failed)
{
	CdcMergeRun			run = {.merge = merge,.step = STEP_ALL,.settle = true,.scratch = failed->scratch};
	int64	   *rows = NULL;
	CdcConvertError error;
	MemoryContext old;
	bool		ok;

	if (InSecurityRestrictedOperation() || merge->needs_rows)
		return false;
	if (merge->nrows <= FEW_ROWS)
	{
		rows = palloc(sizeof(int64) * merge->nrows);
		for (int64 i = 0; i < merge->nrows; i++)
			rows[i] = i;
		run.rows = rows;
		run.nrows = merge->nrows;
	}
	old = MemoryContextSwitchTo(failed->scratch);
	ok = cdc_try(run_step, &run, &error);
	MemoryContextSwitchTo(old);
	if (!ok)
		return false;
	merge->deleted += run.deleted;
	merge->updated += run.updated;
	merge->inserted += run.inserted;
	return true;
}

/* Not by TRUNCATE: it asks for another privilege, and nobody may read then. */
static void
truncate_target(CdcMerge *merge)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s t", cdc_qualified_name(merge->target->relid));
	if (merge->keep_staged && merge->nrows > 0)
		appendStringInfo(&sql, " WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)",
						 cdc_qualified_name(merge->staging), cdc_sql_key_join(merge->target, "t", "s"));
	merge->deleted += cdc_spi_run(sql.data, 0, NULL, NULL, NULL, 0);
}

void
cdc_merge(CdcMerge *merge)
{
	CdcMode		mode = merge->target->mode;
	Failed		failed = {0};

	failed.rows = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(int64) * (merge->nrows + 1));
	failed.is_failed = palloc0(merge->nrows + 1);
	failed.context = CurrentMemoryContext;
	failed.scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync merge",
										   ALLOCSET_DEFAULT_SIZES);
	if (merge->truncate && mode == CDC_MODE_MIRROR)
		truncate_target(merge);
	if (merge->nrows == 0 && !merge->truncate)
		return;
	for (int64 i = 0; i < merge->nrows; i++)
		merge->nactions[strchr(all_actions, merge->actions[i]) - all_actions]++;
	if (merge->needs_rows && mode != CDC_MODE_SOFT_DELETE)
		refuse_homeless(merge);
	if (merge->target->deferrable && mode == CDC_MODE_MIRROR &&
		try_together(merge, &failed))
		return;
	cdc_merge_constraints(merge, false);
	apply_step(merge, STEP_DELETE, &failed);
	if (merge->truncate && mode == CDC_MODE_SOFT_DELETE)
		mark_all(merge);
	if (merge->needs_rows && mode == CDC_MODE_SOFT_DELETE)
		refuse_homeless(merge);
	if (mode != CDC_MODE_APPEND)
		apply_step(merge, STEP_UPDATE, &failed);
	/* a cascade of the deletes, or a trigger, may have taken rows away */
	if (merge->needs_rows && mode == CDC_MODE_MIRROR)
		refuse_homeless(merge);
	if (!nothing_to_insert(merge, &failed))
		apply_step(merge, STEP_INSERT, &failed);
	if (failed.n > 0)
		retry_failed(merge, &failed);
	report_hopeless(merge, &failed);
	cdc_merge_constraints(merge, true);
}
