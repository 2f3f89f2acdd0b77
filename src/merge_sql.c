/*-------------------------------------------------------------------------
 *
 * merge_sql.c
 *	  Pieces of the statements that bring staging to a target.
 *
 * Only makes text, in the current memory context; reads the catalog, takes no
 * lock that its caller does not have.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "merge_sql.h"
#include "staging.h"

char *
cdc_sql_operator(Oid operator)
{
	HeapTuple	tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *text;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tup);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tup);
	return text;
}

char *
cdc_sql_equality(Oid typid)
{
	return cdc_sql_operator(lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr);
}

char *
cdc_sql_column(const char *alias, const CdcColumn *column)
{
	return psprintf("%s.%s", alias, quote_identifier(column->name));
}

char *
cdc_sql_columns(const CdcTarget *target, const char *alias)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < target->ncolumns; i++)
		appendStringInfo(&buf, "%s%s", i ? ", " : "",
						 cdc_sql_column(alias, &target->columns[i]));
	return buf.data;
}

char *
cdc_sql_key_params(const CdcTarget *target, const char *alias)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		appendStringInfo(&buf, "%s%s %s $%d", k ? " AND " : "",
						 cdc_sql_column(alias, c), cdc_sql_equality(c->typid), k + 1);
	}
	return buf.data;
}

char *
cdc_sql_key_join(const CdcTarget *target, const char *a, const char *b)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		appendStringInfo(&buf, "%s%s %s %s", k ? " AND " : "",
						 cdc_sql_column(a, c), cdc_sql_equality(c->typid), cdc_sql_column(b, c));
	}
	return buf.data;
}

/* Condition that the staged row leaves a column out. */
char *
cdc_sql_is_unset(const CdcTarget *target, const CdcColumn *column)
{
	return psprintf("s.%s OPERATOR(pg_catalog.&&) '{%d,-%d}'::pg_catalog.int2[]",
					quote_identifier(cdc_staging_column(target, CDC_STAGING_UNSET)),
					column->attnum, column->attnum);
}

/*
 * Can equal keys be spelled differently?  Then an update may have to change
 * the key's text too.
 */
bool
cdc_sql_key_is_coarse(const CdcColumn *column)
{
	CdcToken	number = {.text = "1",.len = 1,.kind = CDC_JSON_NUMBER,.flags = CDC_JSON_INTEGER};
	CdcToken	string = {.text = "a",.len = 1,.kind = CDC_JSON_STRING};

	return !cdc_converter_bytes_decide(column->typid, column->collation, &number) &&
		!cdc_converter_bytes_decide(column->typid, column->collation, &string);
}

/*
 * A column's default as text.  UPDATE knows DEFAULT only for a whole column,
 * not for some rows of it.
 */
char *
cdc_sql_default(const CdcTarget *target, const CdcColumn *column)
{
	Relation	rel = relation_open(target->relid, AccessShareLock);
	Node	   *expr = build_column_default(rel, column->attnum);
	char	   *text = expr ? deparse_expression(expr, NIL, false, false) : "NULL";

	relation_close(rel, AccessShareLock);
	return text;
}

char *
cdc_sql_scope_delete(const CdcTarget *target)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "DELETE FROM %s t WHERE ",
					 cdc_qualified_name(target->relid));
	for (int i = 0; i < target->nscope; i++)
	{
		const CdcColumn *c = &target->columns[target->scope[i]];

		appendStringInfo(&buf, "%s%s %s $%d", i ? " AND " : "",
						 cdc_sql_column("t", c), cdc_sql_equality(c->typid), i + 1);
	}
	return buf.data;
}
