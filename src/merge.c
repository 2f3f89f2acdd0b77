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
 * The statements are in merge_step.c; here it is decided over which rows they
 * run.  Each attempt is a subtransaction of the caller's transaction, as the
 * current user; staging is locked by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

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
	if (error->constraint)
		kept.constraint = MemoryContextStrdup(failed->context, error->constraint);
	return kept;
}

/*
 * Try to apply the rows of a run; counts only if it succeeds.  What *error points
 * to is valid until the next attempt.
 */
static bool
try_run(CdcMergeRun *run, CdcConvertError *error)
{
	MemoryContext old;
	bool		ok;

	MemoryContextReset(run->scratch);
	old = MemoryContextSwitchTo(run->scratch);
	ok = cdc_try(cdc_merge_run, run, error);
	MemoryContextSwitchTo(old);
	if (!ok)
		return false;
	run->merge->deleted += run->deleted;
	run->merge->updated += run->updated;
	run->merge->inserted += run->inserted;
	return true;
}

/* The same with a step over some rows (NULL: all). */
static bool
try_step(CdcMerge *merge, Failed *failed, CdcMergeStep step, bool park, const int64 *rows,
		 int64 nrows, CdcConvertError *error)
{
	CdcMergeRun run = {
		.merge = merge,
		.step = step,
		.park = park,
		.rows = rows,
		.nrows = nrows,
		.scratch = failed->scratch,
	};

	return try_run(&run, error);
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
											  sizeof(int64) * cdc_merge_count_actions(merge, actions));

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
	int64		n = cdc_merge_count_actions(merge, actions);
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
		merge->updated < cdc_merge_count_actions(merge, "urm"))
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
	CdcMergeRun run;
	bool		ok;
} Probe;

static bool
probe(void *arg)
{
	Probe	   *p = arg;
	CdcConvertError error;

	p->ok = cdc_try(cdc_merge_run, &p->run, &error);
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

/*
 * Rows with unavailable values of which the target has no row cannot be made:
 * the values are not known.  They are reported and taken out of staging.
 */
static void
refuse_homeless(CdcMerge *merge)
{
	StringInfoData sql;
	CdcMergeRun run = {.merge = merge};
	CdcConvertError error = {
		.sqlerrcode = ERRCODE_NOT_NULL_VIOLATION,
		.message = "the event leaves out a value that is unchanged, and the target has no row to keep it from"
	};
	int64	   *rows;
	uint64		n;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.ctid FROM %s s WHERE %s AND 0 OPERATOR(pg_catalog.>) ANY (s.%s) "
					 "AND (%s OR NOT EXISTS (SELECT FROM %s t WHERE %s%s))",
					 cdc_qualified_name(merge->staging), cdc_merge_action_in(merge, "s", "urm"),
					 quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_UNSET)),
					 cdc_merge_action_in(merge, "s", "r"),
					 cdc_qualified_name(merge->target->relid), cdc_sql_key_join(merge->target, "t", "s"),
					 merge->target->mode != CDC_MODE_SOFT_DELETE ? "" :
					 psprintf(" AND (%s)", cdc_merge_is_alive(merge)));
	n = cdc_merge_run_sql(&run, &sql);
	if (n == 0)
		return;
	rows = palloc(sizeof(int64) * n);
	for (uint64 i = 0; i < n; i++)
		rows[i] = cdc_merge_result_row(merge, i, 1);
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
 * What is deferred may hold for all rows of the window together only.  Where it
 * cannot be deferred (in a security-restricted operation) it is checked by each
 * statement.
 */
static bool
try_together(CdcMerge *merge, Failed *failed)
{
	CdcMergeRun run = {.merge = merge,.step = STEP_ALL,.settle = true,.scratch = failed->scratch};
	int64	   *rows = NULL;
	CdcConvertError error;

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
	return try_run(&run, &error);
}

void
cdc_merge(CdcMerge *merge)
{
	CdcMode		mode = merge->target->mode;
	bool		marks_all = merge->truncate && mode == CDC_MODE_SOFT_DELETE;
	Failed		failed = {0};

	failed.rows = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(int64) * (merge->nrows + 1));
	failed.is_failed = palloc0(merge->nrows + 1);
	failed.context = CurrentMemoryContext;
	failed.scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync merge",
										   ALLOCSET_DEFAULT_SIZES);
	if (merge->truncate && mode == CDC_MODE_MIRROR)
		cdc_merge_empty_target(merge);
	if (merge->nrows == 0 && !merge->truncate)
		return;
	cdc_merge_count(merge);
	if (merge->needs_rows && !marks_all)
		refuse_homeless(merge);
	if (merge->target->deferrable && mode == CDC_MODE_MIRROR &&
		try_together(merge, &failed))
		return;
	/* of several partitions, SQL tells which life of a marked row is meant */
	if (!marks_all && !(mode == CDC_MODE_SOFT_DELETE && merge->keep_staged) &&
		cdc_merge_direct(merge))
		return;
	cdc_merge_constraints(merge, false);
	apply_step(merge, STEP_DELETE, &failed);
	if (marks_all)
		cdc_merge_mark_all(merge);
	if (merge->needs_rows && marks_all)
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
