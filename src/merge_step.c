/*-------------------------------------------------------------------------
 *
 * merge_step.c
 *	  The statements of the merge: delete, update, insert, over all rows of
 *	  staging or some.
 *
 * Plans are made for each window: it is the size of the window that decides
 * them.  As the current user, in the open SPI connection; staging is locked by
 * the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "merge_run.h"
#include "merge_sql.h"

/* Delete; delete, then insert; update or insert. */
static const char all_actions[] = "drum";

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

/* The staged row of a TID; TIDs rise with the rows. */
int64
cdc_merge_result_row(const CdcMerge *merge, uint64 i, int column)
{
	bool		isnull;
	void	   *tid = DatumGetPointer(cdc_spi_value(i, column, &isnull));
	const ItemPointerData *found = bsearch(tid, merge->tids, merge->nrows,
										   sizeof(ItemPointerData), compare_tids);

	if (found == NULL)
		elog(ERROR, "staged row is not where it was put");
	return found - merge->tids;
}

void
cdc_merge_count(CdcMerge *merge)
{
	for (int64 i = 0; i < merge->nrows; i++)
		merge->nactions[strchr(all_actions, merge->actions[i]) - all_actions]++;
}

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
			return soft ? "urm" : "u";
		default:
			return soft ? "urm" : "ur";
	}
}

int64
cdc_merge_count_actions(const CdcMerge *merge, const char *actions)
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
	bool		common = 2 * cdc_merge_count_actions(merge, actions) > merge->nrows;
	bool		soft = merge->target->mode == CDC_MODE_SOFT_DELETE;
	const char *column = quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_ACTION));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s.%s %s (", alias, column, common ? "NOT IN" : "IN");
	for (const char *a = all_actions; *a && (*a != 'm' || soft); a++)
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
		appendStringInfoString(sql, " AND s.ctid OPERATOR(pg_catalog.=) ANY ($1)");
}

/* soft_delete: rows that are deleted get the columns that say so. */
static void
mark_rows(CdcMergeRun *run)
{
	CdcMerge   *m = run->merge;
	const CdcTarget *target = m->target;
	const CdcColumn *deleted_at = cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT);
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
	appendStringInfo(&sql, " FROM %s s WHERE %s AND %s AND (%s IS NULL",
					 cdc_qualified_name(m->staging), cdc_merge_action_in(m, "s", "d"),
					 cdc_sql_key_join(target, "t", "s"), cdc_sql_column("t", deleted_at));
	/* a truncate that came later from another partition has marked it before */
	if (m->keep_staged)
		appendStringInfo(&sql, " OR %s > %s", cdc_sql_column("t", deleted_at),
						 cdc_sql_column("s", deleted_at));
	appendStringInfoChar(&sql, ')');
	cdc_merge_append_rows(run, &sql);
	run->deleted += cdc_merge_run_sql(run, &sql);
}

/* The same for all rows. */
void
cdc_merge_mark_all(CdcMerge *merge)
{
	const CdcTarget *target = merge->target;
	int			n = target->ncolumns;
	Oid		   *types = palloc(sizeof(Oid) * n);
	Datum	   *values = palloc(sizeof(Datum) * n);
	char	   *nulls = palloc(n);
	const CdcColumn *deleted_at = cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT);
	int			deleted_arg = 0;
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
		if (c == deleted_at)
			deleted_arg = nargs;
	}
	/* rows that the window has are marked with it, or live again */
	appendStringInfo(&sql, " WHERE (%s IS NULL", cdc_sql_column("t", deleted_at));
	/* a truncate that came later from another partition has marked others before */
	if (merge->keep_staged)
		appendStringInfo(&sql, " OR %s > $%d", cdc_sql_column("t", deleted_at), deleted_arg);
	appendStringInfo(&sql, ") AND NOT EXISTS (SELECT FROM %s s WHERE %s AND %s)",
					 cdc_qualified_name(merge->staging), cdc_merge_action_in(merge, "s", "urm"),
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
 * soft_delete: is the target's row, if there is one, the one that the staged row
 * changes?  One that was marked is, if the change belongs before that: where the
 * delete was applied before it, or another one ends it earlier.
 */
char *
cdc_merge_is_alive(const CdcMerge *m)
{
	const CdcColumn *deleted_at = cdc_target_pseudo(m->target, CDC_COLUMN_DELETED_AT);
	char	   *t = cdc_sql_column("t", deleted_at);
	char	   *s = cdc_sql_column("s", deleted_at);

	if (!m->keep_staged)
		return psprintf("%s IS NULL", t);
	return psprintf("%s IS NULL OR %s OR (%s IS NOT NULL AND %s > %s)", t,
					cdc_merge_action_in(m, "s", "m"), s, t, s);
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
		kept = psprintf("CASE WHEN %s OR NOT (%s) THEN %s ELSE %s END",
						cdc_merge_action_in(m, "s", "r"), cdc_merge_is_alive(m),
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
					 cdc_merge_action_in(m, "s", cdc_merge_step_actions(m, STEP_INSERT)));
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
					 cdc_qualified_name(m->staging),
					 cdc_merge_action_in(m, "s", cdc_merge_step_actions(m, STEP_INSERT)));
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

/* Has the run something to do in this step? */
static bool
includes(const CdcMergeRun *run, CdcMergeStep step)
{
	return run->step == step ||
		(run->step == STEP_ALL &&
		 cdc_merge_count_actions(run->merge, cdc_merge_step_actions(run->merge, step)) > 0);
}

bool
cdc_merge_run(void *arg)
{
	CdcMergeRun *run = arg;
	MemoryContext old = MemoryContextSwitchTo(run->scratch);

	if (run->step == STEP_ALL && run->merge->target->mode == CDC_MODE_APPEND)
		run->step = STEP_INSERT;
	if (includes(run, STEP_DELETE))
		delete_rows(run);
	if (includes(run, STEP_UPDATE))
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
	if (includes(run, STEP_INSERT))
		insert_rows(run);
	if (run->settle)
	{
		cdc_merge_constraints(run->merge, false);
		cdc_merge_constraints(run->merge, true);
	}
	MemoryContextSwitchTo(old);
	return true;
}

/* Run it; rows that others refer to cannot go before those that refer to them. */
static uint64
run_emptying(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	volatile uint64 n = 0;

	PG_TRY();
	{
		n = cdc_spi_run(sql, 0, NULL, NULL, NULL, 0);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		if (edata->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION && edata->hint == NULL)
			edata->hint = "The source has truncated the table. Sync the pipeline of the table that refers to it first; if none feeds that table, delete its rows, or declare the foreign key ON DELETE CASCADE.";
		ReThrowError(edata);
	}
	PG_END_TRY();
	return n;
}

/* Not by TRUNCATE: it asks for another privilege, and nobody may read then. */
void
cdc_merge_empty_target(CdcMerge *merge)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s t", cdc_qualified_name(merge->target->relid));
	if (merge->keep_staged && merge->nrows > 0)
		appendStringInfo(&sql, " WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)",
						 cdc_qualified_name(merge->staging), cdc_sql_key_join(merge->target, "t", "s"));
	merge->deleted += run_emptying(sql.data);
}
