/*-------------------------------------------------------------------------
 *
 * topic_quals.c
 *	  Which part of a topic the conditions of a query ask for.
 *
 * Kafka can be asked for partitions, from an offset on, and for the first
 * record that is not older than a time.  The conditions stay in the plan as
 * filters, so what is derived here may be too wide, but never too narrow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pg_list.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "topic_quals.h"

/* A condition's number: the column and how it is compared. */
#define WHAT(column, strategy)	((column) * 8 + (strategy))
#define COLUMN_OF(what)			((what) / 8)
#define STRATEGY_OF(what)		((what) % 8)
#define ANY_STRATEGY			0	/* = ANY (array); others are btree's */

#define UNIX_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* ----------
 * Planning
 * ----------
 */
static int
column_of_var(Expr *expr, Index relid, const int *column_of, int natts)
{
	Var		   *var = (Var *) expr;

	if (!IsA(expr, Var) || var->varno != relid || var->varlevelsup != 0 ||
		var->varattno < 1 || var->varattno > natts)
		return -1;
	return column_of[var->varattno - 1];
}

/* Has it one value for the whole scan? */
static bool
is_row_independent(Expr *expr)
{
	return !contain_var_clause((Node *) expr) &&
		!contain_volatile_functions((Node *) expr) &&
		!contain_subplans((Node *) expr);
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static bool
is_time(Oid type)
{
	return type == TIMESTAMPOID || type == TIMESTAMPTZOID || type == DATEOID;
}

static bool
fits(int column, int strategy, Oid type)
{
	switch (column)
	{
		case CDC_TOPIC_PARTITION:
		case CDC_TOPIC_OFFSET:
			return strategy != 0 && is_integer(type);
		case CDC_TOPIC_TIMESTAMP:
			/* times do not rise with the offset: there is no upper end */
			return (strategy == BTEqualStrategyNumber ||
					strategy == BTGreaterEqualStrategyNumber ||
					strategy == BTGreaterStrategyNumber) && is_time(type);
		default:
			return false;
	}
}

/* The btree strategy of an operator of the column's family; 0: none. */
static int
strategy_of(Oid operator, int column)
{
	Oid			type = column == CDC_TOPIC_TIMESTAMP ? TIMESTAMPOID : INT8OID;

	return get_op_opfamily_strategy(operator,
									lookup_type_cache(type,
													  TYPECACHE_BTREE_OPFAMILY)->btree_opf);
}

/* column op expression, or expression op column */
static bool
operator_condition(OpExpr *op, Index relid, const int *column_of, int natts,
				   CdcTopicCondition *condition)
{
	Oid			operator = op->opno;
	Expr	   *left;
	Expr	   *right;
	int			column;
	int			strategy;

	if (list_length(op->args) != 2)
		return false;
	left = linitial(op->args);
	right = lsecond(op->args);
	column = column_of_var(left, relid, column_of, natts);
	if (column < 0)
	{
		Expr	   *swap = left;

		left = right;
		right = swap;
		column = column_of_var(left, relid, column_of, natts);
		operator = get_commutator(operator);
	}
	if (column < 0 || !OidIsValid(operator) || !is_row_independent(right))
		return false;
	strategy = strategy_of(operator, column);
	if (!fits(column, strategy, exprType((Node *) right)))
		return false;
	condition->what = WHAT(column, strategy);
	condition->operand = right;
	return true;
}

/* partition or offset = ANY (array) */
static bool
array_condition(ScalarArrayOpExpr *op, Index relid, const int *column_of,
				int natts, CdcTopicCondition *condition)
{
	Expr	   *array = lsecond(op->args);
	int			column = column_of_var(linitial(op->args), relid, column_of,
									   natts);

	if (!op->useOr ||
		(column != CDC_TOPIC_PARTITION && column != CDC_TOPIC_OFFSET) ||
		strategy_of(op->opno, column) != BTEqualStrategyNumber ||
		!is_row_independent(array) ||
		!is_integer(get_element_type(exprType((Node *) array))))
		return false;
	condition->what = WHAT(column, ANY_STRATEGY);
	condition->operand = array;
	return true;
}

bool
cdc_topic_condition(Expr *clause, Index relid, const int *column_of, int natts,
					CdcTopicCondition *condition)
{
	if (IsA(clause, OpExpr))
		return operator_condition((OpExpr *) clause, relid, column_of, natts,
								  condition);
	if (IsA(clause, ScalarArrayOpExpr))
		return array_condition((ScalarArrayOpExpr *) clause, relid, column_of,
							   natts, condition);
	return false;
}

/* ----------
 * Execution
 * ----------
 */
static int64
integer_value(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

static void
narrow(int64 *min, int64 *max, int strategy, int64 value)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			*max = Min(*max, value == PG_INT64_MIN ? value : value - 1);
			break;
		case BTLessEqualStrategyNumber:
			*max = Min(*max, value);
			break;
		case BTEqualStrategyNumber:
			*min = Max(*min, value);
			*max = Min(*max, value);
			break;
		case BTGreaterEqualStrategyNumber:
			*min = Max(*min, value);
			break;
		case BTGreaterStrategyNumber:
			*min = Max(*min, value == PG_INT64_MAX ? value : value + 1);
			break;
	}
}

/*
 * A time as ms since the Unix epoch.  Comparing a timestamp with a timestamptz
 * depends on the time zone and its jumps, of up to a day: leave room.
 */
static int64
time_value(Datum value, Oid type)
{
	Timestamp	timestamp;

	if (type == DATEOID)
		timestamp = DatumGetTimestamp(DirectFunctionCall1(date_timestamp,
														  value));
	else if (type == TIMESTAMPTZOID)
	{
		timestamp = DatumGetTimestamp(DirectFunctionCall1(timestamptz_timestamp,
														  value));
		if (!TIMESTAMP_NOT_FINITE(timestamp))
			timestamp -= USECS_PER_DAY;
	}
	else
		timestamp = DatumGetTimestamp(value);
	if (TIMESTAMP_IS_NOBEGIN(timestamp))
		return 0;
	if (TIMESTAMP_IS_NOEND(timestamp))
		return PG_INT64_MAX / 1000;
	return Max(timestamp + UNIX_EPOCH_USECS, 0) / 1000;
}

static void
narrow_array(CdcTopicBounds *bounds, int column, ArrayType *array)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int64	   *set;
	int64		min = PG_INT64_MAX;
	int64		max = PG_INT64_MIN;
	int			count = 0;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, type, typlen, typbyval, typalign, &values, &nulls,
					  &n);
	set = palloc((n + 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			continue;
		set[++count] = integer_value(values[i], type);
		min = Min(min, set[count]);
		max = Max(max, set[count]);
	}
	set[0] = count;
	if (count == 0)
		bounds->empty = true;
	else if (column == CDC_TOPIC_OFFSET)
	{
		narrow(&bounds->min_offset, &bounds->max_offset,
			   BTGreaterEqualStrategyNumber, min);
		narrow(&bounds->min_offset, &bounds->max_offset,
			   BTLessEqualStrategyNumber, max);
	}
	else
		bounds->partition_sets = lappend(bounds->partition_sets, set);
}

void
cdc_topic_bounds(List *conditions, List *operands, ExprContext *econtext,
				 CdcTopicBounds *bounds)
{
	ListCell   *lc1;
	ListCell   *lc2;

	memset(bounds, 0, sizeof(*bounds));
	bounds->max_partition = PG_INT32_MAX;
	bounds->max_offset = PG_INT64_MAX;
	bounds->min_time = -1;
	forboth(lc1, conditions, lc2, operands)
	{
		ExprState  *operand = lfirst(lc2);
		Oid			type = exprType((Node *) operand->expr);
		int			column = COLUMN_OF(lfirst_int(lc1));
		int			strategy = STRATEGY_OF(lfirst_int(lc1));
		bool		isnull;
		Datum		value = ExecEvalExpr(operand, econtext, &isnull);

		if (isnull)
			bounds->empty = true;	/* the operators are strict */
		else if (strategy == ANY_STRATEGY)
			narrow_array(bounds, column, DatumGetArrayTypeP(value));
		else if (column == CDC_TOPIC_PARTITION)
			narrow(&bounds->min_partition, &bounds->max_partition, strategy,
				   integer_value(value, type));
		else if (column == CDC_TOPIC_OFFSET)
			narrow(&bounds->min_offset, &bounds->max_offset, strategy,
				   integer_value(value, type));
		else
			bounds->min_time = Max(bounds->min_time, time_value(value, type));
	}
}

bool
cdc_topic_bounds_have(const CdcTopicBounds *bounds, int64 partition)
{
	ListCell   *lc;

	if (bounds->empty || partition < bounds->min_partition ||
		partition > bounds->max_partition)
		return false;
	foreach(lc, bounds->partition_sets)
	{
		int64	   *set = lfirst(lc);
		bool		found = false;

		for (int64 i = 1; i <= set[0] && !found; i++)
			found = set[i] == partition;
		if (!found)
			return false;
	}
	return true;
}

/* ----------
 * EXPLAIN
 * ----------
 */

/* A constant as its plain text: bigint ones would get a cast each. */
static char *
operand_text(Expr *operand, List *deparse_context)
{
	Const	   *constant = (Const *) operand;
	Oid			function;
	bool		is_varlena;

	if (!IsA(operand, Const))
		return deparse_expression((Node *) operand, deparse_context, false,
								  false);
	if (constant->constisnull)
		return pstrdup("NULL");
	getTypeOutputInfo(constant->consttype, &function, &is_varlena);
	return OidOutputFunctionCall(function, constant->constvalue);
}

char *
cdc_topic_conditions_text(List *conditions, List *operands,
						  CdcTopicColumn column, List *deparse_context)
{
	static const char *const operators[] =
	{"= ANY", "<", "<=", "=", ">=", ">"};
	StringInfoData text;
	ListCell   *lc1;
	ListCell   *lc2;

	initStringInfo(&text);
	forboth(lc1, conditions, lc2, operands)
	{
		if (COLUMN_OF(lfirst_int(lc1)) != column)
			continue;
		appendStringInfo(&text, "%s%s %s", text.len ? " AND " : "",
						 operators[STRATEGY_OF(lfirst_int(lc1))],
						 operand_text(lfirst(lc2), deparse_context));
	}
	return text.len ? text.data : NULL;
}
