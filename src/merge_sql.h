/*-------------------------------------------------------------------------
 *
 * merge_sql.h
 *	  Pieces of the statements that bring staging to a target.
 *
 * In all of them "t" is the target and "s" is staging.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MERGE_SQL_H
#define CDC_MERGE_SQL_H

#include "target.h"

/* An operator, and the equality of a type, as "OPERATOR(schema.=)"; alias.column. */
extern char *cdc_sql_operator(Oid operator);
extern char *cdc_sql_equality(Oid typid);
extern char *cdc_sql_column(const char *alias, const CdcColumn *column);

/* a.k = b.k AND .. */
extern char *cdc_sql_key_join(const CdcTarget *target, const char *a, const char *b);

/* Condition that the staged row s leaves a column out. */
extern char *cdc_sql_is_unset(const CdcTarget *target, const CdcColumn *column);

/* The column's default, as an expression. */
extern char *cdc_sql_default(const CdcTarget *target, const CdcColumn *column);

/*
 * Can equal keys be spelled differently?  Then an update may have to change
 * the key's text too.
 */
extern bool cdc_sql_key_is_coarse(const CdcColumn *column);

/* "t.a, t.b, .." of all columns, and "t.k = $1 AND .." of the key. */
extern char *cdc_sql_columns(const CdcTarget *target, const char *alias);
extern char *cdc_sql_key_params(const CdcTarget *target, const char *alias);

/* A statement that deletes the rows with values $1.. in the target's scope. */
extern char *cdc_sql_scope_delete(const CdcTarget *target);

#endif							/* CDC_MERGE_SQL_H */
