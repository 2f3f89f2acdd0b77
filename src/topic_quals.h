/*-------------------------------------------------------------------------
 *
 * topic_quals.h
 *	  Which part of a topic the conditions of a query ask for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_QUALS_H
#define CDC_TOPIC_QUALS_H

#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

/* The columns of a topic's foreign table. */
typedef enum CdcTopicColumn
{
	CDC_TOPIC_PARTITION,
	CDC_TOPIC_OFFSET,
	CDC_TOPIC_TIMESTAMP_TYPE,
	CDC_TOPIC_TIMESTAMP,
	CDC_TOPIC_KEY,
	CDC_TOPIC_VALUE,
	CDC_TOPIC_HEADERS
} CdcTopicColumn;

/*
 * A condition that narrows the scan: column, operator, and an expression to
 * compare with that does not depend on the row.  "what" can be copied in a
 * plan; the expression travels in fdw_exprs.
 */
typedef struct CdcTopicCondition
{
	int			what;
	Expr	   *operand;
} CdcTopicCondition;

/* What is left to read after all conditions; the ends are included. */
typedef struct CdcTopicBounds
{
	bool		empty;
	int64		min_partition;
	int64		max_partition;
	List	   *partition_sets; /* of int64 arrays: each must have it */
	int64		min_offset;
	int64		max_offset;
	int64		min_time;		/* ms since the Unix epoch; -1: none */
} CdcTopicBounds;

/*
 * Is the clause such a condition?  column_of[attno - 1] tells what each
 * column of the table (range table entry relid) is, or -1.
 */
extern bool cdc_topic_condition(Expr *clause, Index relid, const int *column_of,
								int natts, CdcTopicCondition *condition);

/* Evaluate; operands are the initialized expressions, in the same order. */
extern void cdc_topic_bounds(List *conditions, List *operands,
							 ExprContext *econtext, CdcTopicBounds *bounds);

extern bool cdc_topic_bounds_have(const CdcTopicBounds *bounds,
								  int64 partition);

/*
 * The conditions on one column, for EXPLAIN: ">= 10 AND < 20"; NULL if there
 * are none.
 */
extern char *cdc_topic_conditions_text(List *conditions, List *operands,
									   CdcTopicColumn column,
									   List *deparse_context);

#endif							/* CDC_TOPIC_QUALS_H */
