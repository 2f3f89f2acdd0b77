/*-------------------------------------------------------------------------
 *
 * schema_change.h
 *	  The rows of cdcsync.schema_change: what has changed at the source, and
 *	  what became of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SCHEMA_CHANGE_H
#define CDC_SCHEMA_CHANGE_H

#include "rank.h"

/* States, as in the catalog. */
#define CDC_CHANGE_APPLIED	"applied"
#define CDC_CHANGE_IGNORED	"ignored"
#define CDC_CHANGE_WAITING	"waiting"
#define CDC_CHANGE_UNKNOWN	"existing rows unknown"

typedef struct CdcSchemaChange
{
	const char *kind;
	const char *column;			/* at the source; these may be NULL */
	const char *old_type;
	const char *new_type;
	const char *ddl;			/* the source's statement */
	const char *statement;		/* ours */
	bool		in_topic;		/* the place is one in the schema-change topic */
	const char *state;
	const char *message;
} CdcSchemaChange;

extern void cdc_schema_change_record(const char *pipeline, const CdcOrigin *at,
									 const CdcSchemaChange *change);

/* Does a change at this record wait, with this message (NULL: any)? */
extern bool cdc_schema_change_waits(const char *pipeline, const CdcOrigin *at,
									bool in_topic, const char *message);

/* Forget those that wait at this record: they are dealt with anew. */
extern void cdc_schema_change_forget(const char *pipeline, const CdcOrigin *at,
									 bool in_topic);

#endif							/* CDC_SCHEMA_CHANGE_H */
