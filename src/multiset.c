/*-------------------------------------------------------------------------
 *
 * multiset.c
 *	  Mirror of a table without a key: changes of rows -> target.
 *
 * The table is a multiset of rows.  In the order of the changes each row is
 * taken away and brought so many times; where it is taken more often than it
 * was brought before, the target must have had it.  So a window comes down to
 * two numbers for each row: how many the target loses, and how many it gets.
 *
 * A change that finds no row, or whose row the target refuses, goes to
 * quarantine as a whole; then the numbers are made anew without it.
 *
 * Runs in subtransactions of the caller's transaction, as the current user;
 * staging is locked by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "keyless.h"
#include "merge_sql.h"
#include "value.h"

#define NO_ROW \
	"no row of the target is equal to the before image of the event; the target has no key to find it by"

typedef struct Multiset
{
	CdcMerge   *merge;
	CdcRank    *rank;
	CdcWinner **rows;			/* by staged row */
	int64		nrows;
	int64	   *balance;		/* [nrows] scratch of count_rows() */
	int64	   *loses;			/* [nrows] the target loses so many .. */
	int64	   *gets;			/* .. and then gets so many */
	int64		nlost;			/* sum of loses */
	int64		nexcluded;
	char	   *lose;			/* statements */
	char	   *get;

	/* one attempt */
	int64		first;			/* these rows only */
	int64		last;
	bool		take_only;		/* insert nothing */
	bool		keep;
	bool		found_all;
	int64		deleted;
	int64		inserted;
	MemoryContext scratch;
} Multiset;

/* Rows and how many of each, as "x"; staging, as "s". */
#define ROWS_FROM \
	"ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) x(tid, n) JOIN %s s ON s.ctid OPERATOR(pg_catalog.=) x.tid"

/*
 * Condition that the row of the target has the staged row's value in a column;
 * nulls are equal, and what the event leaves out is not compared.  A type
 * without equality is compared as text.
 */
static char *
same_value(const Multiset *m, int i)
{
	const CdcColumn *c = &m->merge->target->columns[i];
	bool		has_eq = OidIsValid(lookup_type_cache(c->typid, TYPECACHE_EQ_OPR)->eq_opr);
	const char *cast = has_eq ? "" : "::pg_catalog.text";
	char	   *t = psprintf("%s%s", cdc_sql_column("t", c), cast);
	char	   *s = psprintf("%s%s", cdc_sql_column("s", c), cast);
	char	   *same = psprintf("(%s %s %s OR %s IS NULL AND %s IS NULL)", t,
								has_eq ? cdc_sql_equality(c->typid) : "OPERATOR(pg_catalog.=)",
								s, t, s);

	if (m->merge->partly_set[i])
		same = psprintf("(%s IS TRUE OR %s)",
						psprintf("(%s)", cdc_sql_is_unset(m->merge->target, c)), same);
	return same;
}

/*
 * Condition that t is the row of s.  The hash is there for the planner: it can
 * join by it, which it cannot by the rest.
 */
static char *
same_row(const Multiset *m)
{
	const CdcTarget *target = m->merge->target;
	StringInfoData same;
	StringInfoData t;
	StringInfoData s;

	initStringInfo(&same);
	initStringInfo(&t);
	initStringInfo(&s);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (c->source != CDC_COLUMN_FIELD || m->merge->never_set[i])
			continue;
		appendStringInfo(&same, "%s%s", same.len ? " AND " : "", same_value(m, i));
		if (m->merge->partly_set[i] ||
			!OidIsValid(lookup_type_cache(c->typid, TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc))
			continue;
		appendStringInfo(&t, "%s%s", t.len ? ", " : "", cdc_sql_column("t", c));
		appendStringInfo(&s, "%s%s", s.len ? ", " : "", cdc_sql_column("s", c));
	}
	if (same.len == 0)
		return "true";
	if (t.len > 0)
		appendStringInfo(&same, " AND pg_catalog.hash_record_extended(ROW(%s), 0) OPERATOR(pg_catalog.=) pg_catalog.hash_record_extended(ROW(%s), 0)",
						 t.data, s.data);
	return same.data;
}

static char *
make_lose(const Multiset *m)
{
	const char *target = cdc_qualified_name(m->merge->target->relid);

	return psprintf("DELETE FROM %s d USING (SELECT t.tableoid AS tab, t.ctid AS tid, x.n,"
					" pg_catalog.row_number() OVER (PARTITION BY x.tid) AS no FROM " ROWS_FROM
					" JOIN %s t ON %s) f WHERE d.ctid OPERATOR(pg_catalog.=) f.tid"
					" AND d.tableoid OPERATOR(pg_catalog.=) f.tab AND f.no OPERATOR(pg_catalog.<=) f.n",
					target, cdc_qualified_name(m->merge->staging), target, same_row(m));
}

static char *
make_get(const Multiset *m)
{
	const CdcTarget *target = m->merge->target;
	StringInfoData into;
	StringInfoData from;

	initStringInfo(&into);
	initStringInfo(&from);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];
		char	   *value = cdc_sql_column("s", c);

		if (m->merge->never_set[i])
			continue;
		if (m->merge->partly_set[i])
			value = psprintf("CASE WHEN %s THEN %s ELSE %s END", cdc_sql_is_unset(target, c),
							 cdc_sql_default(target, c), value);
		appendStringInfo(&into, "%s%s", into.len ? ", " : "", quote_identifier(c->name));
		appendStringInfo(&from, "%s%s", from.len ? ", " : "", value);
	}
	return psprintf("INSERT INTO %s (%s)%s SELECT %s FROM " ROWS_FROM
					", pg_catalog.generate_series(1, x.n)",
					cdc_qualified_name(target->relid), into.data,
					target->identity_always ? " OVERRIDING SYSTEM VALUE" : "", from.data,
					cdc_qualified_name(m->merge->staging));
}

/* Run a statement over the rows from first to before last that have a number. */
static int64
run_counted(Multiset *m, const char *sql, const int64 *numbers, int64 first, int64 last)
{
	Oid			types[] = {get_array_type(TIDOID), INT8ARRAYOID};
	Datum	   *tids = palloc(sizeof(Datum) * (last - first + 1));
	Datum	   *counts = palloc(sizeof(Datum) * (last - first + 1));
	Datum		values[2];
	int64		n = 0;

	for (int64 i = first; i < last; i++)
		if (numbers[i] > 0)
		{
			tids[n] = PointerGetDatum(&m->merge->tids[i]);
			counts[n++] = Int64GetDatum(numbers[i]);
		}
	if (n == 0)
		return 0;
	CHECK_FOR_INTERRUPTS();
	values[0] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData),
												false, TYPALIGN_SHORT));
	values[1] = PointerGetDatum(construct_array(counts, n, INT8OID, 8, FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	return cdc_spi_run(sql, 2, types, values, NULL, 0);
}

/* What the changes that are not excluded come down to. */
static void
count_rows(Multiset *m)
{
	memset(m->balance, 0, sizeof(int64) * m->nrows);
	memset(m->loses, 0, sizeof(int64) * m->nrows);
	m->nlost = 0;
	for (int64 i = 0; i < m->rank->nchanges; i++)
	{
		const CdcRowChange *c = &m->rank->changes[i];

		if (c->excluded)
			continue;
		if (c->takes && --m->balance[c->takes->of_mode.row] < -m->loses[c->takes->of_mode.row])
		{
			m->loses[c->takes->of_mode.row]++;
			m->nlost++;
		}
		if (c->brings)
			m->balance[c->brings->of_mode.row]++;
	}
	for (int64 i = 0; i < m->nrows; i++)
		m->gets[i] = m->balance[i] + m->loses[i];
}

static bool
apply_changes(void *arg)
{
	Multiset   *m = arg;
	MemoryContext old = MemoryContextSwitchTo(m->scratch);

	m->deleted = m->take_only ? run_counted(m, m->lose, m->loses, m->first, m->last) :
		run_counted(m, m->lose, m->loses, 0, m->nrows);
	m->found_all = m->deleted >= m->nlost;
	m->inserted = m->take_only || (m->keep && !m->found_all) ? 0 :
		run_counted(m, m->get, m->gets, m->first, m->last);
	MemoryContextSwitchTo(old);
	return m->keep && m->found_all;
}

/* Apply all changes, or see whether some rows can be inserted. */
static bool
try_changes(Multiset *m, int64 first, int64 last, bool keep, bool *failed,
			CdcConvertError *error)
{
	MemoryContext old;
	bool		ok;

	m->first = first;
	m->last = last;
	m->keep = keep;
	error->message = NULL;
	MemoryContextReset(m->scratch);
	old = MemoryContextSwitchTo(m->scratch);
	ok = cdc_try(apply_changes, m, error);
	MemoryContextSwitchTo(old);
	*failed = !ok && error->message != NULL;
	return ok;
}

static void
exclude(Multiset *m, CdcRowChange *c, const CdcConvertError *error)
{
	c->excluded = true;
	m->nexcluded++;
	cdc_rank_bad(m->rank, &c->at,
				 error->column ? MemoryContextStrdup(m->rank->context, error->column) : NULL,
				 error->sqlerrcode, error->message)->refused = true;
}

/* The target refuses rows: no change can bring them, or take them. */
static void
exclude_rows(Multiset *m, int64 first, int64 last, const CdcConvertError *error)
{
	for (int64 i = 0; i < m->rank->nchanges; i++)
	{
		CdcRowChange *c = &m->rank->changes[i];
		CdcWinner  *w = m->take_only ? c->takes : c->brings;

		if (!c->excluded && w && w->of_mode.row >= first && w->of_mode.row < last)
			exclude(m, c, error);
	}
}

/*
 * Find rows that the target refuses, to take or to bring; false: there are none
 * among them.
 */
static bool
find_refused(Multiset *m, int64 first, int64 last)
{
	CdcConvertError error;
	bool		failed;
	bool		found;

	CHECK_FOR_INTERRUPTS();
	if (first >= last)
		return false;
	(void) try_changes(m, first, last, false, &failed, &error);
	if (!failed)
		return false;
	if (last - first > 1 && m->nexcluded <= m->merge->max_refused)
	{
		int64		middle = first + (last - first) / 2;

		found = find_refused(m, first, middle);
		found |= find_refused(m, middle, last);
		if (found)
			return true;
		/* they do not go together */
		first = last - 1;
	}
	exclude_rows(m, first, last, &error);
	return true;
}

/*
 * Exclude the changes that take a row which is not there.  Returns false if all
 * are: then a trigger of the target's has kept some.
 */
static bool
exclude_taking(Multiset *m)
{
	CdcConvertError error = {.sqlerrcode = ERRCODE_NO_DATA,.message = NO_ROW};
	StringInfoData sql;
	int64	   *found = palloc0(sizeof(int64) * m->nrows);
	uint64		n;
	bool		any = false;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT r.no, pg_catalog.count(*) FROM (SELECT x.tid, x.no FROM"
					 " ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) x(tid, no)) r"
					 " JOIN %s s ON s.ctid OPERATOR(pg_catalog.=) r.tid JOIN %s t ON %s GROUP BY r.no",
					 cdc_qualified_name(m->merge->staging),
					 cdc_qualified_name(m->merge->target->relid), same_row(m));
	/* all that are taken: what is excluded does not bring any */
	memset(m->balance, 0, sizeof(int64) * m->nrows);
	for (int64 i = 0; i < m->rank->nchanges; i++)
	{
		const CdcRowChange *c = &m->rank->changes[i];

		if (!c->excluded && c->takes)
			m->balance[c->takes->of_mode.row] = c->takes->of_mode.row + 1;
	}
	n = run_counted(m, sql.data, m->balance, 0, m->nrows);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		found[DatumGetInt64(cdc_spi_value(i, 1, &isnull)) - 1] =
			DatumGetInt64(cdc_spi_value(i, 2, &isnull));
	}
	/* in the order of the changes: which of them finds none any more? */
	for (int64 i = 0; i < m->rank->nchanges; i++)
	{
		CdcRowChange *c = &m->rank->changes[i];

		if (c->excluded)
			continue;
		if (c->takes && found[c->takes->of_mode.row]-- <= 0)
		{
			found[c->takes->of_mode.row] = 0;
			exclude(m, c, &error);
			any = true;
		}
		else if (c->brings)
			found[c->brings->of_mode.row]++;
	}
	pfree(found);
	return any;
}

/* May two rows of staging be equal although their bytes are not (1.0 and 1.00)? */
static bool
bytes_may_mislead(const Multiset *m)
{
	const CdcTarget *target = m->merge->target;

	for (int64 i = 0; i < m->nrows; i++)
		for (int c = 0; c < target->ncolumns; c++)
		{
			const CdcColumn *column = &target->columns[c];
			const CdcToken *t = &m->rows[i]->tokens[c];

			if (column->source == CDC_COLUMN_FIELD && t->kind != CDC_JSON_NULL &&
				t->kind != CDC_JSON_MISSING &&
				!cdc_converter_bytes_decide(column->typid, column->collation, t))
				return true;
		}
	return false;
}

/* Give rows that are equal for their types the number of the first of them. */
static void
unite_equal(Multiset *m)
{
	const char *staging = cdc_qualified_name(m->merge->staging);
	const char *unset = quote_identifier(cdc_staging_column(m->merge->target, CDC_STAGING_UNSET));
	uint64		n;

	if (m->nrows < 2 || !bytes_may_mislead(m))
		return;
	n = cdc_spi_run(psprintf("SELECT s.ctid, pg_catalog.min(t.ctid) FROM %s s JOIN %s t ON %s"
							 " AND (s.%s OPERATOR(pg_catalog.=) t.%s OR s.%s IS NULL AND t.%s IS NULL) GROUP BY s.ctid"
							 " HAVING pg_catalog.min(t.ctid) OPERATOR(pg_catalog.<) s.ctid",
							 staging, staging, same_row(m), unset, unset, unset, unset),
					0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < n; i++)
		m->rows[cdc_merge_result_row(m->merge, i, 1)]->of_mode.row = cdc_merge_result_row(m->merge, i, 2);
}

/* Changes of rows that could not be converted, which is noted for the last alone. */
static void
exclude_unconverted(Multiset *m)
{
	for (int64 i = 0; i < m->rank->nchanges; i++)
	{
		CdcRowChange *c = &m->rank->changes[i];
		const CdcWinner *w = c->takes && c->takes->refused ? c->takes : c->brings;
		const CdcBadRecord *bad = NULL;

		if (w == NULL || !w->refused)
			continue;
		c->excluded = true;
		m->nexcluded++;
		for (int64 j = m->rank->nbad - 1; j >= 0 && bad == NULL; j--)
			if (cdc_origin_equal(&m->rank->bad[j].at, &w->last))
				bad = &m->rank->bad[j];
		if (bad && !cdc_origin_equal(&c->at, &w->last))
			cdc_rank_bad(m->rank, &c->at, bad->column, bad->sqlerrcode,
						 pstrdup(bad->message));
	}
}

void
cdc_keyless_merge(CdcMerge *merge, CdcStage *stage)
{
	Multiset	m = {.merge = merge,.rank = stage->rank,.rows = stage->rows,.nrows = stage->nrows};
	CdcConvertError error;
	bool		failed;
	bool		kept_some = false;	/* a trigger of the target's keeps rows */
	Size		size = sizeof(int64) * (m.nrows + 1);

	if (merge->truncate)
		merge->deleted += cdc_spi_run(psprintf("DELETE FROM %s",
											   cdc_qualified_name(merge->target->relid)),
									  0, NULL, NULL, NULL, 0);
	for (int64 i = 0; i < m.nrows; i++)
		m.rows[i]->of_mode.row = i;
	exclude_unconverted(&m);
	if (m.nrows == 0)
		return;
	m.balance = MemoryContextAllocHuge(CurrentMemoryContext, size);
	m.loses = MemoryContextAllocHuge(CurrentMemoryContext, size);
	m.gets = MemoryContextAllocHuge(CurrentMemoryContext, size);
	m.scratch = AllocSetContextCreate(CurrentMemoryContext, "cdcsync multiset",
									  ALLOCSET_DEFAULT_SIZES);
	unite_equal(&m);
	m.lose = make_lose(&m);
	m.get = make_get(&m);
	cdc_merge_constraints(merge, false);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		count_rows(&m);
		if (kept_some)
			m.nlost = 0;
		if (try_changes(&m, 0, m.nrows, true, &failed, &error))
			break;
		if (!failed)
			kept_some = !exclude_taking(&m);
		else
		{
			m.take_only = true;
			if (!find_refused(&m, 0, m.nrows))
			{
				m.take_only = false;
				(void) find_refused(&m, 0, m.nrows);
			}
			m.take_only = false;
		}
	}
	merge->deleted += m.deleted;
	merge->inserted += m.inserted;
	cdc_merge_constraints(merge, true);
}
