/*-------------------------------------------------------------------------
 *
 * versions.c
 *	  The mode history: staged changes -> versions in the target.
 *
 * Staging holds the changes of each key side by side, with the times that they
 * have in the window (history.c).  What each does to the target:
 *
 *	f	ends the version that is current, and is one itself
 *	x	ends the version that is current (a delete)
 *	v	a version that continues the row of an f
 *	n	a version of a row that has come anew
 *	z	a delete of a row that the window has: nothing more to do
 *
 * One statement ends and inserts: the new versions take the values that their
 * events leave out from those that it has ended.  The changes of a key are
 * applied or refused together, as each ends the one before.
 *
 * Runs in subtransactions of the caller's transaction, as the current user;
 * staging is locked by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "merge_sql.h"
#include "value.h"
#include "versions.h"

typedef struct Versions
{
	CdcMerge   *merge;
	CdcStage   *stage;
	const CdcTarget *target;
	char	   *actions;		/* [nrows]; 0: leave the row out */
	int64	   *units;			/* [nunits + 1] first row of each key */
	int64		nunits;
	char	   *valid_from;		/* quoted names */
	char	   *valid_to;
	char	   *current;
	char	   *sql;			/* the statement */
	int64		nrefused;

	/* what is being applied */
	int64		first;			/* rows */
	int64		last;
	int64		inserted;
	int64		ended;
	MemoryContext scratch;
} Versions;

/* Rows and their actions, as "x"; staging, as "s". */
#define ROWS_FROM \
	"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) x(tid, action) JOIN %s s ON s.ctid OPERATOR(pg_catalog.=) x.tid"

static char *
pseudo_name(const CdcTarget *target, CdcColumnSource source)
{
	return pstrdup(quote_identifier(cdc_target_pseudo(target, source)->name));
}

/*
 * Run a statement over the rows that have one of these actions ("" for all).
 * Returns what it processed; nothing is run if there are no such rows.
 */
static uint64
run_rows(Versions *v, const char *sql, int64 first, int64 last, const char *actions)
{
	Oid			types[] = {get_array_type(TIDOID), CHARARRAYOID};
	Datum	   *tids = palloc(sizeof(Datum) * (last - first + 1));
	Datum	   *chars = palloc(sizeof(Datum) * (last - first + 1));
	Datum		values[2];
	int64		n = 0;

	for (int64 i = first; i < last; i++)
		if (v->actions[i] != 0 && (*actions == '\0' || strchr(actions, v->actions[i])))
		{
			tids[n] = PointerGetDatum(&v->merge->tids[i]);
			chars[n++] = CharGetDatum(v->actions[i]);
		}
	if (n == 0)
		return 0;
	CHECK_FOR_INTERRUPTS();
	values[0] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData),
												false, TYPALIGN_SHORT));
	values[1] = PointerGetDatum(construct_array(chars, n, CHAROID, 1, true, TYPALIGN_CHAR));
	return cdc_spi_run(sql, 2, types, values, NULL, 0);
}

bool
cdc_versions_default_is_volatile(const CdcTarget *target, const CdcColumn *c)
{
	Relation	rel = relation_open(target->relid, AccessShareLock);
	Node	   *expr = build_column_default(rel, c->attnum);
	bool		result = expr && (IsA(expr, NextValueExpr) ||
								  contain_volatile_functions(expr));

	relation_close(rel, AccessShareLock);
	return result;
}

/*
 * What a new version has in a column; NULL: its default.  was: condition that
 * "c" is the version that it continues.
 */
static char *
new_value(const Versions *v, int i, const char *was)
{
	const CdcColumn *c = &v->target->columns[i];
	char	   *value = cdc_sql_column("s", c);
	char	   *before = psprintf("CASE WHEN %s THEN c.c%d ELSE %s END", was, i,
								  cdc_sql_default(v->target, c));

	if (c->source == CDC_COLUMN_VALID_FROM)
		return psprintf("CASE WHEN %s THEN GREATEST(%s, c.cdc_from) ELSE %s END",
						was, value, value);
	if (c->source == CDC_COLUMN_VALID_TO)
		return psprintf("CASE WHEN %s AND %s IS NOT NULL THEN GREATEST(%s, c.cdc_from) ELSE %s END",
						was, value, value, value);
	if (v->merge->never_set[i])
		return cdc_versions_default_is_volatile(v->target, c) ? NULL : before;
	if (v->merge->partly_set[i])
		return psprintf("CASE WHEN %s THEN %s ELSE %s END", cdc_sql_is_unset(v->target, c),
						before, value);
	return value;
}

/* "INSERT INTO target (..) SELECT ..", without its FROM. */
static void
append_insert(StringInfo sql, const Versions *v, const char *was, bool late)
{
	StringInfoData into;
	StringInfoData from;

	initStringInfo(&into);
	initStringInfo(&from);
	for (int i = 0; i < v->target->ncolumns; i++)
	{
		const CdcColumn *c = &v->target->columns[i];
		char	   *value = new_value(v, i, was);

		if (late && c->source == CDC_COLUMN_VALID_FROM)
			value = cdc_sql_column("s", c);
		else if (late && c->source == CDC_COLUMN_VALID_TO)
			value = "COALESCE(c.cdc_to, d.cdc_next)";
		else if (late && c->source == CDC_COLUMN_CURRENT)
			value = "COALESCE(c.cdc_to, d.cdc_next) IS NULL";
		if (value == NULL)
			continue;
		appendStringInfo(&into, "%s%s", into.len ? ", " : "", quote_identifier(c->name));
		appendStringInfo(&from, "%s%s", from.len ? ", " : "", value);
	}
	appendStringInfo(sql, "INSERT INTO %s (%s)%s SELECT %s",
					 cdc_qualified_name(v->target->relid), into.data,
					 v->target->identity_always ? " OVERRIDING SYSTEM VALUE" : "", from.data);
}

/* ", t.a AS c0, t.b AS c1, .." */
static void
append_columns(StringInfo sql, const Versions *v)
{
	for (int i = 0; i < v->target->ncolumns; i++)
		appendStringInfo(sql, ", %s AS c%d", cdc_sql_column("t", &v->target->columns[i]), i);
}

/* c.k = s.k AND .. where c has the columns as c0, c1, .. */
static char *
ended_join(const CdcTarget *target)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		appendStringInfo(&buf, "%sc.c%d %s %s", k ? " AND " : "", target->keys[k],
						 cdc_sql_equality(c->typid), cdc_sql_column("s", c));
	}
	return buf.data;
}

/* The statement that ends and inserts; its row is how many it has ended. */
static char *
make_statement(const Versions *v)
{
	const char *target = cdc_qualified_name(v->target->relid);
	const char *staging = cdc_qualified_name(v->merge->staging);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH ended AS (UPDATE %s t SET %s = GREATEST(s.%s, t.%s), %s = false FROM " ROWS_FROM
					 " WHERE x.action IN ('f', 'x') AND %s AND t.%s RETURNING true AS cdc_was, t.%s AS cdc_from",
					 target, v->valid_to, v->valid_from, v->valid_from, v->current, staging,
					 cdc_sql_key_join(v->target, "t", "s"), v->current, v->valid_from);
	append_columns(&sql, v);
	appendStringInfoString(&sql, "), made AS (");
	append_insert(&sql, v, "x.action OPERATOR(pg_catalog.<>) 'n' AND c.cdc_was", false);
	appendStringInfo(&sql, " FROM " ROWS_FROM " LEFT JOIN ended c ON %s"
					 " WHERE x.action IN ('f', 'v', 'n') ORDER BY s.ctid RETURNING 1)"
					 " SELECT (SELECT pg_catalog.count(*) FROM ended), (SELECT pg_catalog.count(*) FROM made)",
					 staging, ended_join(v->target));
	return sql.data;
}

static bool
apply_rows(void *arg)
{
	Versions   *v = arg;
	MemoryContext old = MemoryContextSwitchTo(v->scratch);
	bool		isnull;

	v->ended = v->inserted = 0;
	if (run_rows(v, v->sql, v->first, v->last, "fxvn") > 0)
	{
		v->ended = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
		v->inserted = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	MemoryContextSwitchTo(old);
	return true;
}

static bool
probe_rows(void *arg)
{
	(void) apply_rows(arg);
	return false;				/* to be rolled back */
}

/* Try some rows; counts if it succeeds. */
static bool
try_rows(Versions *v, int64 first, int64 last, CdcConvertError *error)
{
	MemoryContext old;
	bool		ok;

	v->first = first;
	v->last = last;
	MemoryContextReset(v->scratch);
	old = MemoryContextSwitchTo(v->scratch);
	ok = cdc_try(apply_rows, v, error);
	MemoryContextSwitchTo(old);
	if (ok)
	{
		v->merge->inserted += v->inserted;
		v->merge->updated += v->ended;
	}
	return ok;
}

/* Rows of keys that were refused are left out from now on. */
static void
leave_out(Versions *v, int64 first, int64 last)
{
	for (int64 i = first; i < last; i++)
		if (v->stage->rows[i]->refused)
			v->actions[i] = 0;
}

static void
refuse_row(Versions *v, int64 row, const CdcConvertError *error)
{
	v->merge->refused(v->merge->arg, row, error);
	v->nrefused++;
}

/* The changes of one key fail: the first without which they would not is to blame. */
static void
refuse_unit(Versions *v, int64 first, int64 last, CdcConvertError *error)
{
	int64		blamed = last - 1;

	while (blamed > first && v->actions[blamed] == 0)
		blamed--;
	for (int64 i = first + 1; i < last && last - first > 1; i++)
	{
		CdcConvertError why;

		v->first = first;
		v->last = i;
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(v->scratch);
		why.message = NULL;
		if (!cdc_try(probe_rows, v, &why) && why.message != NULL)
		{
			blamed = i - 1;
			*error = why;
			break;
		}
	}
	refuse_row(v, blamed, error);
	leave_out(v, first, last);
}

/* Apply the units from first to before last, without those that are refused. */
static void
apply_units(Versions *v, int64 first, int64 last)
{
	CdcConvertError error = {
		.sqlerrcode = ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION,
		.message = "not tried alone: too many records of the window are refused"
	};
	bool		enough = v->nrefused > v->merge->max_refused;

	CHECK_FOR_INTERRUPTS();
	if (first == last ||
		(!enough && try_rows(v, v->units[first], v->units[last], &error)))
		return;
	if (last - first == 1)
	{
		if (enough)
			refuse_row(v, v->units[first], &error);
		else
			refuse_unit(v, v->units[first], v->units[last], &error);
		return;
	}
	apply_units(v, first, first + (last - first) / 2);
	apply_units(v, first + (last - first) / 2, last);
}

/* The unit that a row belongs to. */
static int64
unit_of(const Versions *v, int64 row)
{
	int64		low = 0;
	int64		high = v->nunits;

	while (high - low > 1)
	{
		int64		middle = low + (high - low) / 2;

		if (v->units[middle] <= row)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The row's change has no effect: the next one of the key ends the current version. */
static void
pass_over(Versions *v, int64 row)
{
	int64		end = v->units[unit_of(v, row) + 1];

	v->actions[row] = 0;
	while (++row < end && v->actions[row] == 0)
		;
	if (row < end)
		v->actions[row] = v->actions[row] == 'z' ? 'x' : 'f';
}

/*
 * Rows of a snapshot that are as the target has them are no changes, and make
 * no versions.
 */
static void
pass_over_unchanged(Versions *v)
{
	StringInfoData sql;
	StringInfoData now;
	StringInfoData then;
	char	   *actions = v->actions;
	uint64		n;

	initStringInfo(&now);
	initStringInfo(&then);
	for (int i = 0; i < v->target->ncolumns; i++)
	{
		const CdcColumn *c = &v->target->columns[i];
		char	   *value = cdc_sql_column("s", c);

		if (c->source != CDC_COLUMN_FIELD || v->merge->never_set[i])
			continue;
		if (v->merge->partly_set[i])
			value = psprintf("CASE WHEN %s THEN %s ELSE %s END", cdc_sql_is_unset(v->target, c),
							 cdc_sql_column("t", c), value);
		appendStringInfo(&now, "%s%s", now.len ? ", " : "", value);
		appendStringInfo(&then, "%s%s", then.len ? ", " : "", cdc_sql_column("t", c));
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.ctid FROM " ROWS_FROM " JOIN %s t ON %s AND t.%s"
					 " WHERE ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(%s)::pg_catalog.record",
					 cdc_qualified_name(v->merge->staging),
					 cdc_qualified_name(v->target->relid),
					 cdc_sql_key_join(v->target, "t", "s"), v->current, now.data, then.data);
	v->actions = palloc0(v->merge->nrows + 1);
	for (int64 i = 0; i < v->merge->nrows; i++)
		if (actions[i] == 'f' && v->stage->rows[i]->op == 'r')
			v->actions[i] = 'f';
	n = run_rows(v, sql.data, 0, v->merge->nrows, "f");
	v->actions = actions;
	for (uint64 i = 0; i < n; i++)
		pass_over(v, cdc_merge_result_row(v->merge, i, 1));
}

/* A version that a late change belongs into; what a truncate finds at its time is newer. */
#define COVERS \
	"%s AND t.%s OPERATOR(pg_catalog.<=) s.%s AND (t.%s OPERATOR(pg_catalog.>) s.%s OR t.%s IS NULL)" \
	" AND (t.%s OPERATOR(pg_catalog.<) s.%s OR s.%s OPERATOR(pg_catalog.<>) 't')"

/* The statement that puts a late change between the versions that are there. */
static char *
make_late_statement(const Versions *v)
{
	const char *target = cdc_qualified_name(v->target->relid);
	const char *staging = cdc_qualified_name(v->merge->staging);
	char	   *join = cdc_sql_key_join(v->target, "t", "s");
	char	   *covers = psprintf(COVERS, join, v->valid_from, v->valid_from, v->valid_to,
								  v->valid_from, v->valid_to, v->valid_from, v->valid_from,
								  quote_identifier(cdc_staging_column(v->target, CDC_STAGING_OP)));
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH ended AS (UPDATE %s t SET %s = s.%s, %s = false FROM " ROWS_FROM
					 " WHERE %s RETURNING 1), made AS (",
					 target, v->valid_to, v->valid_from, v->current, staging, covers);
	append_insert(&sql, v, "c.cdc_was", true);
	appendStringInfo(&sql, " FROM " ROWS_FROM " LEFT JOIN LATERAL (SELECT true AS cdc_was, t.%s AS cdc_from, t.%s AS cdc_to",
					 staging, v->valid_from, v->valid_to);
	append_columns(&sql, v);
	appendStringInfo(&sql, " FROM %s t WHERE %s ORDER BY t.%s DESC LIMIT 1) c ON true"
					 " LEFT JOIN LATERAL (SELECT pg_catalog.min(t.%s) AS cdc_next FROM %s t"
					 " WHERE %s AND t.%s OPERATOR(pg_catalog.>) s.%s) d ON true"
					 " WHERE x.action IN ('f', 'v', 'n') RETURNING 1)"
					 " SELECT (SELECT pg_catalog.count(*) FROM ended), (SELECT pg_catalog.count(*) FROM made)",
					 target, covers, v->valid_from, v->valid_from, target, join,
					 v->valid_from, v->valid_from);
	return sql.data;
}

/*
 * The changes of a key before a time, one by one; the first that is refused ends
 * it.  The next change is then the one that ends the current version.
 */
static void
apply_late_unit(Versions *v, int64 unit, Timestamp limit, char *statement)
{
	char	   *sql = v->sql;
	int64		last = v->units[unit + 1];

	for (int64 i = v->units[unit]; i < last; i++)
	{
		CdcConvertError error;
		char		action = v->actions[i];
		bool		ok;

		if (action == 0)
			continue;
		if (v->stage->rows[i]->time >= limit)
		{
			v->actions[i] = action == 'z' || action == 'x' ? 'x' : 'f';
			return;
		}
		/* a delete only ends what is there */
		v->actions[i] = action == 'z' ? 'x' : action;
		v->sql = statement;
		ok = try_rows(v, i, i + 1, &error);
		v->sql = sql;
		if (!ok)
		{
			refuse_row(v, i, &error);
			leave_out(v, i, last);
			return;
		}
		v->actions[i] = 0;
	}
}

/*
 * Are the changes of a key after what the target has, though the source's clock was
 * set back, or a statement began early and waited for a lock?  Newer changes were
 * looked for; much newer ones the landing may not have any more.
 */
#define CLOCK_SLACK		(10 * 60 * USECS_PER_SEC)

static bool
is_in_order(const Versions *v, int64 unit, Timestamp limit)
{
	const CdcWinner *w = v->stage->rows[v->units[unit + 1] - 1];

	return v->stage->rank->truncates == NIL && !w->archived && !w->overtaken &&
		(w->threshold == NULL || limit - v->stage->rows[v->units[unit]]->time < CLOCK_SLACK);
}

/*
 * Changes from one partition that are older than what came from another: they
 * go between the versions that are there.
 */
static void
apply_late(Versions *v)
{
	StringInfoData sql;
	char	   *statement;
	uint64		n;
	int64	   *units;
	Timestamp  *limits;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.ctid, GREATEST(pg_catalog.max(t.%s), pg_catalog.max(t.%s)) FROM "
					 ROWS_FROM " JOIN %s t ON %s GROUP BY s.ctid, s.%s"
					 " HAVING GREATEST(pg_catalog.max(t.%s), pg_catalog.max(t.%s)) OPERATOR(pg_catalog.>) s.%s",
					 v->valid_from, v->valid_to, cdc_qualified_name(v->merge->staging),
					 cdc_qualified_name(v->target->relid),
					 cdc_sql_key_join(v->target, "t", "s"), v->valid_from,
					 v->valid_from, v->valid_to, v->valid_from);
	n = run_rows(v, sql.data, 0, v->merge->nrows, "fx");
	if (n == 0)
		return;
	units = palloc(sizeof(int64) * n);
	limits = palloc(sizeof(Timestamp) * n);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		units[i] = unit_of(v, cdc_merge_result_row(v->merge, i, 1));
		limits[i] = DatumGetTimestamp(cdc_spi_value(i, 2, &isnull));
	}
	statement = make_late_statement(v);
	for (uint64 i = 0; i < n; i++)
		if (!is_in_order(v, units[i], limits[i]))
			apply_late_unit(v, units[i], limits[i], statement);
}

/* Versions that leave out values which nobody has. */
static void
refuse_homeless(Versions *v)
{
	CdcConvertError error = {
		.sqlerrcode = ERRCODE_NOT_NULL_VIOLATION,
		.message = "the event leaves out a value that is unchanged, and the target has no row to keep it from"
	};
	StringInfoData sql;
	uint64		n;
	int64	   *rows;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.ctid FROM " ROWS_FROM
					 " WHERE 0 OPERATOR(pg_catalog.>) ANY (s.%s) AND (x.action OPERATOR(pg_catalog.=) 'n'"
					 " OR NOT EXISTS (SELECT FROM %s t WHERE %s AND t.%s)) ORDER BY 1",
					 cdc_qualified_name(v->merge->staging),
					 quote_identifier(cdc_staging_column(v->target, CDC_STAGING_UNSET)),
					 cdc_qualified_name(v->target->relid),
					 cdc_sql_key_join(v->target, "t", "s"), v->current);
	n = run_rows(v, sql.data, 0, v->merge->nrows, "fvn");
	rows = palloc(sizeof(int64) * (n + 1));
	for (uint64 i = 0; i < n; i++)
		rows[i] = cdc_merge_result_row(v->merge, i, 1);
	for (uint64 i = 0; i < n; i++)
		if (!v->stage->rows[rows[i]]->refused)
			refuse_row(v, rows[i], &error);
	if (n > 0)
		leave_out(v, 0, v->merge->nrows);
}

/*
 * A truncate ends all that is current.  Keys that the window has changed before
 * it are ended by their own changes.
 */
static void
end_all(Versions *v)
{
	const CdcColumn *time = cdc_target_pseudo(v->target, CDC_COLUMN_VALID_FROM);
	Oid			types[] = {get_array_type(TIDOID), CHARARRAYOID, time->typid};
	Datum	   *tids = palloc(sizeof(Datum) * (v->merge->nrows + 1));
	Datum	   *chars = palloc(sizeof(Datum) * (v->merge->nrows + 1));
	Datum		values[3];
	StringInfoData sql;
	int64		n = 0;

	for (int64 i = 0; i < v->merge->nrows; i++)
		if (v->actions[i] == 'f' || v->actions[i] == 'x')
		{
			tids[n] = PointerGetDatum(&v->merge->tids[i]);
			chars[n++] = CharGetDatum(v->actions[i]);
		}
	values[0] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData),
												false, TYPALIGN_SHORT));
	values[1] = PointerGetDatum(construct_array(chars, n, CHAROID, 1, true, TYPALIGN_CHAR));
	values[2] = v->merge->truncate_values[time - v->target->columns];
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = GREATEST($3, t.%s), %s = false WHERE t.%s"
					 " AND NOT EXISTS (SELECT FROM " ROWS_FROM " WHERE %s)",
					 cdc_qualified_name(v->target->relid), v->valid_to, v->valid_from,
					 v->current, v->current, cdc_qualified_name(v->merge->staging),
					 cdc_sql_key_join(v->target, "t", "s"));
	v->merge->updated += cdc_spi_run(sql.data, 3, types, values, NULL, 0);
}

/*
 * A truncate of several partitions: it ends what was valid at its time, whatever
 * came after it.  The keys of the window have it among their own changes.
 */
static void
end_all_before(Versions *v, Timestamp time)
{
	const CdcColumn *from = cdc_target_pseudo(v->target, CDC_COLUMN_VALID_FROM);
	Oid			types[] = {from->typid};
	Datum		values[] = {TimestampGetDatum(time)};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = $1, %s = false WHERE t.%s < $1"
					 " AND (t.%s > $1 OR t.%s IS NULL) AND NOT EXISTS (SELECT FROM %s s WHERE %s)",
					 cdc_qualified_name(v->target->relid), v->valid_to, v->current,
					 v->valid_from, v->valid_to, v->valid_to,
					 cdc_qualified_name(v->merge->staging), cdc_sql_key_join(v->target, "t", "s"));
	v->merge->updated += cdc_spi_run(sql.data, 1, types, values, NULL, 0);
}

/* All truncates of the window. */
static void
end_all_truncated(Versions *v)
{
	ListCell   *lc;

	if (v->stage->rank->truncates == NIL)
	{
		end_all(v);
		return;
	}
	foreach(lc, v->stage->rank->truncates)
	{
		const CdcTruncate *t = lfirst(lc);

		if (!t->applied)
			end_all_before(v, t->time);
	}
}

/* Where the changes of each key begin. */
static void
find_units(Versions *v)
{
	int64		n = v->merge->nrows;

	v->units = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (n + 1));
	for (int64 i = 0; i < n; i++)
		if (i == 0 || v->stage->rows[i - 1]->newer != v->stage->rows[i])
			v->units[v->nunits++] = i;
	v->units[v->nunits] = n;
}

void
cdc_versions_merge(CdcMerge *merge, CdcStage *stage, bool late)
{
	Versions	v = {.merge = merge,.stage = stage,.target = merge->target};
	bool		snapshot = false;

	v.scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync versions",
									  ALLOCSET_DEFAULT_SIZES);
	v.valid_from = pseudo_name(merge->target, CDC_COLUMN_VALID_FROM);
	v.valid_to = pseudo_name(merge->target, CDC_COLUMN_VALID_TO);
	v.current = pseudo_name(merge->target, CDC_COLUMN_CURRENT);
	v.actions = MemoryContextAllocHuge(CurrentMemoryContext, merge->nrows + 1);
	memcpy(v.actions, merge->actions, merge->nrows);
	find_units(&v);
	for (int64 i = 0; i < merge->nrows; i++)
		snapshot |= v.actions[i] == 'f' && stage->rows[i]->op == 'r';
	if (snapshot)
		pass_over_unchanged(&v);
	if (merge->nrows > 0)
		v.sql = make_statement(&v);
	cdc_merge_constraints(merge, false);
	if (late)
		apply_late(&v);
	if (merge->needs_rows)
		refuse_homeless(&v);
	if (merge->truncate)
		end_all_truncated(&v);
	if (!cdc_versions_direct(&(CdcVersions) {merge, v.actions, v.units, v.nunits}))
		apply_units(&v, 0, v.nunits);
	cdc_merge_constraints(merge, true);
}
