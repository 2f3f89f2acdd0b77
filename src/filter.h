/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  The option "filter": which tables' events a pipeline takes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FILTER_H
#define CDC_FILTER_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* One of the patterns must match the field. */
typedef struct CdcFilterTerm
{
	char	   *field;			/* of the event's source */
	List	   *patterns;		/* char *, in which * stands for any characters */
} CdcFilterTerm;

/*
 * {"source.table": "customer", "source.schema": ["a", "b*"]} as a list of terms.
 * 22023 with a hint for anything else.
 */
extern List *cdc_filter_parse(const JsonbValue *value);

#endif							/* CDC_FILTER_H */
