/*-------------------------------------------------------------------------
 *
 * conflict.c
 *	  Staged rows that the target is sure to refuse, found as a set.
 *
 * To find a thousand rows without their parent by halving takes thousands of
 * attempts; one query asks for them.  A row is named here only if no other row of
 * staging can help it: a referenced row that neither the table nor staging has, a
 * reference by a row that does not change, a unique value that a row holds which
 * does not change.  Everything else is left to the attempts of merge.c.
 *
 * Runs as the current user, who may be unable to see all of a referenced table:
 * then nothing is said of its rows.  Reads only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "conflict.h"
#include "merge_sql.h"

/* May the current user see all rows of this table? */
static bool
sees_all(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED;
}

/* The number of a target's column among those that all staged rows set, or -1. */
static int
staged_column(const CdcMerge *merge, AttrNumber attnum)
{
	for (int i = 0; i < merge->target->ncolumns; i++)
		if (merge->target->columns[i].attnum == attnum)
			return merge->never_set[i] || merge->partly_set[i] ? -1 : i;
	return -1;
}

/* Condition that the staged row has one of these actions (quoted, in a list). */
static char *
has_action(const CdcMerge *merge, const char *actions)
{
	return psprintf("s.%s IN (%s)",
					quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_ACTION)),
					actions);
}

static char *
attribute(Oid relid, AttrNumber attnum)
{
	return (char *) quote_identifier(get_attname(relid, attnum, false));
}

/* Ask for the rows; adds to the list if there are any. */
static List *
ask(const CdcMerge *merge, List *conflicts, int sqlerrcode, const char *condition)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *sql = psprintf("SELECT s.ctid FROM %s s WHERE %s ORDER BY 1",
							   cdc_qualified_name(merge->staging), condition);
	uint64		n = cdc_spi_run(sql, 0, NULL, NULL, NULL, 0);
	MemoryContext old = MemoryContextSwitchTo(context);

	if (n > 0)
	{
		CdcConflict *conflict = palloc(sizeof(CdcConflict));

		conflict->sqlerrcode = sqlerrcode;
		conflict->rows = MemoryContextAllocHuge(context, sizeof(int64) * n);
		conflict->nrows = n;
		for (uint64 i = 0; i < n; i++)
			conflict->rows[i] = cdc_merge_result_row(merge, i, 1);
		conflicts = lappend(conflicts, conflict);
	}
	MemoryContextSwitchTo(old);
	return conflicts;
}

/* A foreign key of the target: the row that is referenced is nowhere. */
static List *
ask_references(const CdcMerge *merge, List *conflicts, const ForeignKeyCacheInfo *fk)
{
	StringInfoData condition;
	StringInfoData match;
	StringInfoData own_match;

	if (!sees_all(fk->confrelid))
		return conflicts;
	initStringInfo(&condition);
	initStringInfo(&match);
	initStringInfo(&own_match);
	appendStringInfoString(&condition, has_action(merge, "'u', 'r'"));
	for (int i = 0; i < fk->nkeys; i++)
	{
		int			c = staged_column(merge, fk->conkey[i]);
		int			referenced = fk->confrelid == merge->target->relid ?
			staged_column(merge, fk->confkey[i]) : 0;
		const char *and = i ? " AND " : "";
		const char *name;

		if (c < 0 || referenced < 0)
			return conflicts;
		name = quote_identifier(merge->target->columns[c].name);
		appendStringInfo(&condition, " AND s.%s IS NOT NULL", name);
		appendStringInfo(&match, "%sp.%s %s s.%s", and, attribute(fk->confrelid, fk->confkey[i]),
						 cdc_sql_operator(fk->conpfeqop[i]), name);
		if (fk->confrelid == merge->target->relid)
			appendStringInfo(&own_match, "%so.%s %s s.%s", and,
							 quote_identifier(merge->target->columns[referenced].name),
							 cdc_sql_operator(fk->conpfeqop[i]), name);
	}
	appendStringInfo(&condition, " AND NOT EXISTS (SELECT FROM %s p WHERE %s)",
					 cdc_qualified_name(fk->confrelid), match.data);
	if (own_match.len > 0)
		appendStringInfo(&condition, " AND NOT EXISTS (SELECT FROM %s o WHERE %s)",
						 cdc_qualified_name(merge->staging), own_match.data);
	return ask(merge, conflicts, ERRCODE_FOREIGN_KEY_VIOLATION, condition.data);
}

/* A foreign key to the target: a row of another table references what is to go. */
static List *
ask_referenced(const CdcMerge *merge, List *conflicts, Oid relid, const char *match)
{
	StringInfoData condition;

	if (relid == merge->target->relid || !sees_all(relid))
		return conflicts;
	initStringInfo(&condition);
	appendStringInfo(&condition, "%s AND EXISTS (SELECT FROM %s t JOIN %s c ON %s WHERE %s)",
					 has_action(merge, "'d'"),
					 cdc_qualified_name(merge->target->relid), cdc_qualified_name(relid),
					 match, cdc_sql_key_join(merge->target, "t", "s"));
	return ask(merge, conflicts, ERRCODE_FOREIGN_KEY_VIOLATION, condition.data);
}

/* All foreign keys to the target that do not take referencing rows along. */
static List *
ask_all_referenced(const CdcMerge *merge, List *conflicts)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(merge->target->relid)};
	MemoryContext context = CurrentMemoryContext;
	uint64		n = cdc_spi_run("SELECT c.conrelid, pg_catalog.string_agg(pg_catalog.format('t.%I OPERATOR(%I.%s) c.%I', "
								"p.attname, n.nspname, o.oprname, f.attname), ' AND ') "
								"FROM pg_catalog.pg_constraint c, "
								"ROWS FROM (pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.conpfeqop)) k(p, f, o) "
								"JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) k.o "
								"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace, "
								"pg_catalog.pg_attribute p, pg_catalog.pg_attribute f "
								"WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) $1 "
								"AND c.confdeltype IN ('a', 'r') AND c.conparentid OPERATOR(pg_catalog.=) 0 "
								"AND p.attrelid OPERATOR(pg_catalog.=) c.confrelid AND p.attnum OPERATOR(pg_catalog.=) k.p "
								"AND f.attrelid OPERATOR(pg_catalog.=) c.conrelid AND f.attnum OPERATOR(pg_catalog.=) k.f "
								"GROUP BY c.oid, c.conrelid ORDER BY c.oid", 1, types, values, NULL, 0);
	Oid		   *relids = palloc(sizeof(Oid) * Max(n, 1));
	char	  **matches = palloc(sizeof(char *) * Max(n, 1));
	MemoryContext old = MemoryContextSwitchTo(context);

	for (uint64 i = 0; i < n; i++)
	{
		relids[i] = cdc_spi_oid(i, 1);
		matches[i] = cdc_spi_text(i, 2);
	}
	MemoryContextSwitchTo(old);
	for (uint64 i = 0; i < n; i++)
		conflicts = ask_referenced(merge, conflicts, relids[i], matches[i]);
	return conflicts;
}

/* A unique index: another row has the values, and does not change. */
static List *
ask_unique(const CdcMerge *merge, List *conflicts, Relation index)
{
	Form_pg_index form = index->rd_index;
	StringInfoData same;
	StringInfoData condition;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		RelationGetIndexPredicate(index) != NIL)
		return conflicts;
	initStringInfo(&same);
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		int			c = staged_column(merge, form->indkey.values[i]);
		const char *name;

		if (c < 0)
			return conflicts;	/* or an expression */
		name = quote_identifier(merge->target->columns[c].name);
		appendStringInfo(&same, "%su.%s %s s.%s", i ? " AND " : "", name,
						 cdc_sql_operator(lookup_type_cache(merge->target->columns[c].typid,
													   TYPECACHE_EQ_OPR)->eq_opr), name);
	}
	initStringInfo(&condition);
	appendStringInfo(&condition, "%s AND EXISTS (SELECT FROM %s u WHERE %s "
					 "AND NOT EXISTS (SELECT FROM %s o WHERE %s))",
					 has_action(merge, "'u', 'r'"), cdc_qualified_name(merge->target->relid),
					 same.data, cdc_qualified_name(merge->staging),
					 cdc_sql_key_join(merge->target, "u", "o"));
	return ask(merge, conflicts, ERRCODE_UNIQUE_VIOLATION, condition.data);
}

List *
cdc_conflict_find(const CdcMerge *merge)
{
	Relation	rel = table_open(merge->target->relid, AccessShareLock);
	List	   *conflicts = NIL;
	List	   *keys = copyObject(RelationGetFKeyList(rel));
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	if (merge->check_foreign_keys || !merge->target->deferrable)
	{
		foreach(lc, keys)
			conflicts = ask_references(merge, conflicts, lfirst(lc));
		conflicts = ask_all_referenced(merge, conflicts);
	}
	foreach(lc, indexes)
	{
		Relation	index;

		if (!merge->target->other_unique)
			break;
		index = index_open(lfirst_oid(lc), AccessShareLock);
		conflicts = ask_unique(merge, conflicts, index);
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return conflicts;
}
