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
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
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

/*
 * The operator by which an index keeps two rows apart in its column number i, as
 * "OPERATOR(schema.name)": equality, if it is unique; operators as of
 * RelationGetExclusionInfo(), or NULL.
 */
static char *
conflict_operator(const CdcColumn *c, const Oid *operators, int i)
{
	return operators ? cdc_sql_operator(operators[i]) : cdc_sql_equality(c->typid);
}

/* Does the staged row s leave the column of t as it is? */
static char *
is_same(const CdcColumn *c)
{
	if (!OidIsValid(lookup_type_cache(c->typid, TYPECACHE_EQ_OPR)->eq_opr))
		return "false";
	return psprintf("%s %s %s", cdc_sql_column("t", c), cdc_sql_equality(c->typid),
					cdc_sql_column("s", c));
}

/*
 * Park the rows that hold a value of this unique or exclusion index which
 * another wants.
 */
static void
park_index(CdcMergeRun *run, Relation rel, Relation index)
{
	CdcMerge   *m = run->merge;
	Form_pg_index form = index->rd_index;
	Oid		   *operators = NULL;
	Oid		   *procs;
	uint16	   *strategies;
	StringInfoData same;
	StringInfoData changed;
	StringInfoData sql;
	const CdcColumn *park = NULL;
	char	   *spare = NULL;
	const char *staging = cdc_qualified_name(m->staging);
	const char *target = cdc_qualified_name(m->target->relid);

	if (form->indisexclusion)
		RelationGetExclusionInfo(index, &operators, &procs, &strategies);
	initStringInfo(&same);
	initStringInfo(&changed);
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		const CdcColumn *c = NULL;
		Form_pg_attribute att;

		for (int j = 0; j < m->target->ncolumns; j++)
			if (m->target->columns[j].attnum == form->indkey.values[i] &&
				!m->never_set[j])
				c = &m->target->columns[j];
		if (c == NULL)
			return;				/* an expression, or a column that does not
								 * change */
		att = TupleDescAttr(RelationGetDescr(rel), c->attnum - 1);
		appendStringInfo(&same, " AND o.%s %s t.%s", quote_identifier(c->name),
						 conflict_operator(c, operators, i), quote_identifier(c->name));
		appendStringInfo(&changed, "%s%s", i ? " AND " : "", is_same(c));
		if (m->partly_set[c - m->target->columns])
			appendStringInfo(&same, " AND (%s) IS NOT TRUE", cdc_sql_is_unset(m->target, c));
		if (c->key_no < 0 && (park == NULL || !att->attnotnull))
		{
			char	   *value = spare_value(c, !att->attnotnull);

			if (value)
			{
				park = c;
				spare = value;
			}
		}
	}
	if (park == NULL)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = %s FROM %s s, "
					 "(SELECT x.ctid AS tid, pg_catalog.row_number() OVER () AS n FROM %s x%s) r, "
					 "(SELECT %s AS base FROM %s y) b "
					 "WHERE r.tid OPERATOR(pg_catalog.=) s.ctid AND %s AND %s AND (%s) IS NOT TRUE "
					 "AND EXISTS (SELECT FROM %s o WHERE o.ctid OPERATOR(pg_catalog.<>) s.ctid AND %s%s%s)",
					 target, quote_identifier(park->name), spare, staging, staging,
					 run->rows ? " WHERE x.ctid OPERATOR(pg_catalog.=) ANY ($1)" : "",
					 strstr(spare, "b.base") ? psprintf("pg_catalog.min(y.%s)", quote_identifier(park->name)) : "pg_catalog.count(*)",
					 target, cdc_merge_action_in(m, "s", cdc_merge_step_actions(m, STEP_UPDATE)),
					 cdc_sql_key_join(m->target, "t", "s"),
					 changed.data, staging, cdc_merge_action_in(m, "o", "ur"), same.data,
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
