/*-------------------------------------------------------------------------
 *
 * source_watch.h
 *	  What a pipeline knows of its source's table, and whether a record shows
 *	  that it has changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SOURCE_WATCH_H
#define CDC_SOURCE_WATCH_H

#include "rank.h"
#include "source_schema.h"

/* The table has changed before this record. */
typedef struct CdcSourceNews
{
	CdcOrigin	at;
	CdcPosition position;
	bool		has_ts_ms;
	int64		ts_ms;			/* the source's clock */
	char	   *ddl;			/* the source's statement; NULL: an event showed it */
	char	   *fingerprint;	/* NULL: the record has no schema */
	List	   *fields;			/* CdcSourceField *, as they are now */
	List	   *before;			/* .. as they were */
	List	   *changes;		/* CdcSourceChange *, never NIL */
} CdcSourceNews;

typedef struct CdcSourceWatch
{
	const char *pipeline;
	MemoryContext context;
	char	   *table;			/* as schema-change events name it; NULL: not known,
								 * nor needed so far */
	List	   *declared;		/* fields by the last of these; NIL: none has come */
	List	   *ddls;			/* CdcSourceDdl *, those that are to come */
	bool		due;			/* the window ends for the first of them */
	char	   *fingerprint;	/* of the schema that is known, or NULL */
	List	   *fields;			/* NIL: nothing is known yet */
	CdcPosition position;		/* of the first record that looked so */
	bool		has_ts_ms;
	int64		ts_ms;
	const char *prefix;			/* the option add_fields_prefix, set by the caller */
	bool		order_only;		/* only ddls end windows */
	bool		passes;			/* windows go on behind news */
	List	   *passed;			/* CdcSourceNews *, those that they went on behind */
	bool		dirty;			/* differs from the catalog */
	CdcSourceNews *news;		/* the window ends before it, or NULL */
} CdcSourceWatch;

/* From the catalog, in the current memory context. */
extern CdcSourceWatch *cdc_source_watch_load(const char *pipeline);

/* To the catalog, if it has changed. */
extern void cdc_source_watch_save(CdcSourceWatch *watch);

/*
 * Look at a record whose embedded schema is not that of the record before it, or
 * which has none and fields in an order that was not seen before.  False: it is
 * the first one of a table that has changed, watch->news says how, and the record
 * must wait until that was dealt with.
 */
extern bool cdc_source_watch_schema(CdcSourceWatch *watch, const CdcSchema *schema,
									const CdcChange *change, CdcConnector connector,
									const CdcOrigin *at);
extern bool cdc_source_watch_names(CdcSourceWatch *watch, const CdcChange *change,
								   const CdcOrigin *at);

/* Does the record come before what the source did next?  watch->ddls is not NIL. */
extern bool cdc_source_watch_order(CdcSourceWatch *watch, const CdcChange *change);

/* The news were dealt with: that is how the table is now. */
extern void cdc_source_watch_accept(CdcSourceWatch *watch);

#endif							/* CDC_SOURCE_WATCH_H */
