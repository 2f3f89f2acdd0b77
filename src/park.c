/*-------------------------------------------------------------------------
 *
 * park.c
 *	  Making way for rows that swap unique values: those that hold a value
 *	  which another wants are given a spare one first.
 *
 * Nobody sees the spare values: the rows get their own in the same
 * subtransaction, or all is rolled back.  Runs as the current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "merge_run.h"
#include "merge_sql.h"

/*
 * SQL of a value that no row has, for parking; NULL if the type has none.
 * "b.base" is the smallest value of the column, "r.n" a number from 1.
 */
static char *
spare_value(const CdcColumn *column, bool nullable)
{
	char	   *type = format_type_extended(column->typid, column->typmod,
											FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

	if (nullable)
		return "NULL";
	if (type_is_range(getBaseType(column->typid)) || type_is_multirange(getBaseType(column->typid)))
		return psprintf("'%s'::%s", type_is_range(getBaseType(column->typid)) ? "empty" : "{}", type);
	switch (getBaseType(column->typid))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
			return psprintf("CAST(b.base OPERATOR(pg_catalog.-) r.n AS %s)", type);
		case DATEOID:
			return "b.base OPERATOR(pg_catalog.-) r.n::pg_catalog.int4";
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return "b.base OPERATOR(pg_catalog.-) (r.n OPERATOR(pg_catalog.*) '1 day'::pg_catalog.interval)";
		case UUIDOID:
			return "pg_catalog.gen_random_uuid()";
		case TEXTOID:
		case VARCHAROID:
			{
				int			len = column->typmod > 0 ? column->typmod - VARHDRSZ : 32;

				return psprintf("pg_catalog.left(pg_catalog.md5(pg_catalog.random()::pg_catalog.text OPERATOR(pg_catalog.||) r.n::pg_catalog.text), %d)",
								len);
			}
		default:
			return NULL;
	}
}

/* Making way in one index. */
typedef struct Park
{
	const CdcMerge *merge;
	Relation	rel;
	bool		nulls_are_equal;
	StringInfoData same;		/* condition: o wants what t has */
	StringInfoData stays;		/* condition: so does t's own staged row s */
	const CdcColumn *column;	/* what is given a spare value; NULL: none can be */
	char	   *spare;
} Park;

/* The mapped column of that number which staged rows set, or NULL. */
static const CdcColumn *
staged_column(const CdcMerge *m, AttrNumber attnum)
{
	for (int i = 0; i < m->target->ncolumns; i++)
		if (m->target->columns[i].attnum == attnum)
			return m->never_set[i] ? NULL : &m->target->columns[i];
	return NULL;
}

/*
 * A column that the index looks at: it can be parked, unless it is the key's.
 * False: no event feeds it, so it does not change.
 */
static bool
add_column(Park *park, AttrNumber attnum)
{
	const CdcColumn *c = staged_column(park->merge, attnum);
	bool		nullable;
	char	   *spare;

	if (c == NULL)
		return false;
	if (park->merge->partly_set[c - park->merge->target->columns])
		appendStringInfo(&park->same, " AND (%s) IS NOT TRUE",
						 cdc_sql_is_unset(park->merge->target, c));
	nullable = !TupleDescAttr(RelationGetDescr(park->rel), attnum - 1)->attnotnull;
	if (c->key_no >= 0 || (park->column && !nullable))
		return true;
	spare = spare_value(c, nullable && !park->nulls_are_equal);
	if (spare == NULL && nullable)
		spare = "NULL";			/* one row can have it */
	if (spare)
	{
		park->column = c;
		park->spare = spare;
	}
	return true;
}

/*
 * One of the values that the index keeps apart, of the tables t, o and s: by
 * equality, unless it is one of an exclusion constraint.  False: there is no such
 * operator.
 */
static bool
add_value(Park *park, Oid typid, Oid exclusion, const char *t, const char *o, const char *s)
{
	Oid			equality = lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;

	if (!OidIsValid(exclusion) && !OidIsValid(equality))
		return false;
	appendStringInfo(&park->same, " AND (%s %s %s", o,
					 cdc_sql_operator(OidIsValid(exclusion) ? exclusion : equality), t);
	if (park->nulls_are_equal)
		appendStringInfo(&park->same, " OR %s IS NULL AND %s IS NULL", o, t);
	appendStringInfoChar(&park->same, ')');
	if (park->stays.len)
		appendStringInfoString(&park->stays, " AND ");
	if (OidIsValid(equality))
		appendStringInfo(&park->stays, "%s %s %s", t, cdc_sql_operator(equality), s);
	else
		appendStringInfoString(&park->stays, "false");
	return true;
}

/* One that is computed, from columns of the row. */
static bool
add_expression(Park *park, Node *expression, Oid exclusion)
{
	const char *aliases[] = {"t", "o", "s"};
	char	   *values[lengthof(aliases)];
	Bitmapset  *attnums = NULL;

	pull_varattnos(expression, 1, &attnums);
	for (int x = -1; (x = bms_next_member(attnums, x)) >= 0;)
		if (!add_column(park, x + FirstLowInvalidHeapAttributeNumber))
			return false;
	for (int i = 0; i < lengthof(aliases); i++)
		values[i] = psprintf("(%s)", deparse_expression(expression,
														deparse_context_for(aliases[i], RelationGetRelid(park->rel)),
														true, false));
	return add_value(park, exprType(expression), exclusion, values[0], values[1], values[2]);
}

/* .. and one that is a column. */
static bool
add_plain(Park *park, AttrNumber attnum, Oid exclusion)
{
	const CdcColumn *c = staged_column(park->merge, attnum);

	return add_column(park, attnum) &&
		add_value(park, c->typid, exclusion, cdc_sql_column("t", c), cdc_sql_column("o", c),
				  cdc_sql_column("s", c));
}

/* What the index keeps apart; false: the rows cannot be made to give way. */
static bool
add_values(Park *park, Relation index)
{
	Form_pg_index form = index->rd_index;
	TupleDesc	desc = RelationGetDescr(park->rel);
	List	   *expressions = RelationGetIndexExpressions(index);
	ListCell   *next = list_head(expressions);
	Oid		   *operators = NULL;
	Oid		   *procs;
	uint16	   *strategies;

	if (form->indisexclusion)
		RelationGetExclusionInfo(index, &operators, &procs, &strategies);
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];
		Oid			operator = operators ? operators[i] : InvalidOid;
		Node	   *expression = NULL;

		if (attnum == 0)
		{
			expression = lfirst(next);
			next = lnext(expressions, next);
		}
		else if (TupleDescAttr(desc, attnum - 1)->attgenerated)
			expression = build_column_default(park->rel, attnum);
		if (expression ? !add_expression(park, expression, operator) :
			!add_plain(park, attnum, operator))
			return false;
	}
	return park->column != NULL;
}

/*
 * Park the rows that hold a value of this unique or exclusion index which
 * another wants.
 */
static void
park_index(CdcMergeRun *run, Relation rel, Relation index)
{
	CdcMerge   *m = run->merge;
	Park		park = {.merge = m,.rel = rel,.nulls_are_equal = index->rd_index->indnullsnotdistinct};
	StringInfoData sql;
	const char *staging = cdc_qualified_name(m->staging);
	const char *target = cdc_qualified_name(m->target->relid);

	initStringInfo(&park.same);
	initStringInfo(&park.stays);
	if (!add_values(&park, index))
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = %s FROM %s s, "
					 "(SELECT x.ctid AS tid, pg_catalog.row_number() OVER () AS n FROM %s x%s) r, "
					 "(SELECT %s AS base FROM %s y) b "
					 "WHERE r.tid OPERATOR(pg_catalog.=) s.ctid AND %s AND %s AND (%s) IS NOT TRUE "
					 "AND EXISTS (SELECT FROM %s o WHERE o.ctid OPERATOR(pg_catalog.<>) s.ctid AND %s%s%s)",
					 target, quote_identifier(park.column->name), park.spare, staging, staging,
					 run->rows ? " WHERE x.ctid OPERATOR(pg_catalog.=) ANY ($1)" : "",
					 strstr(park.spare, "b.base") ?
					 psprintf("pg_catalog.min(y.%s)", quote_identifier(park.column->name)) : "pg_catalog.count(*)",
					 target, cdc_merge_action_in(m, "s", cdc_merge_step_actions(m, STEP_UPDATE)),
					 cdc_sql_key_join(m->target, "t", "s"),
					 park.stays.data, staging, cdc_merge_action_in(m, "o", "ur"), park.same.data,
					 run->rows ? " AND o.ctid OPERATOR(pg_catalog.=) ANY ($1)" : "");
	cdc_merge_append_rows(run, &sql);
	(void) cdc_merge_run_sql(run, &sql);
}

void
cdc_merge_park(CdcMergeRun *run)
{
	Relation	rel = table_open(run->merge->target->relid, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if ((index->rd_index->indisunique || index->rd_index->indisexclusion) &&
			index->rd_index->indimmediate)
			park_index(run, rel, index);
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
}
