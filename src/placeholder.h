/*-------------------------------------------------------------------------
 *
 * placeholder.h
 *	  Debezium's stand-in for a value that did not change and is not in the
 *	  source's log (PostgreSQL TOAST, Oracle LOB), in all its encodings.
 *
 * Pure C, no PostgreSQL.  Used by the files of the decoder alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PLACEHOLDER_H
#define CDC_PLACEHOLDER_H

#include "json.h"

typedef struct CdcPlaceholder CdcPlaceholder;

/*
 * setting is the connector's unavailable.value.placeholder: a text, or "hex:"
 * and its bytes; NULL for Debezium's default.  An empty one matches nothing.
 * malloc'ed; NULL when out of memory.
 */
extern CdcPlaceholder *cdc_placeholder_create(const char *setting);
extern void cdc_placeholder_free(CdcPlaceholder *placeholder);

/* Is this value the placeholder? */
extern bool cdc_placeholder_match(const CdcPlaceholder *placeholder,
								  const CdcToken *value);

#endif							/* CDC_PLACEHOLDER_H */
