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

#include "json.h"

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

/*
 * Do fields of an event's source, one for each term, match?  1: all do; 0: one
 * does not; -1: one is not there.
 */
extern int	cdc_filter_apply(const List *terms, const CdcToken *fields);

/* A token's text as a C string; NULL if it has none. */
extern char *cdc_filter_text(const CdcToken *token);

#endif							/* CDC_FILTER_H */
