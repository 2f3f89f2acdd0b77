/*-------------------------------------------------------------------------
 *
 * source_ddl.h
 *	  The connector's schema-change topic: what the source has done to a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SOURCE_DDL_H
#define CDC_SOURCE_DDL_H

#include "pipeline.h"
#include "source_watch.h"

typedef enum CdcSourceDdlKind
{
	CDC_DDL_TABLE,				/* CREATE or ALTER: these are the columns now */
	CDC_DDL_DROP,
	CDC_DDL_RENAME,				/* the table has another name now */
	CDC_DDL_TRUNCATE
} CdcSourceDdlKind;

typedef struct CdcSourceDdl
{
	CdcSourceDdlKind kind;
	CdcOrigin	at;				/* in the schema-change topic */
	CdcPosition position;
	bool		has_ts_ms;
	int64		ts_ms;
	bool		create;			/* TABLE: by CREATE */
	char	   *ddl;
	char	   *source;			/* JSON, as in an event */
	List	   *fields;			/* CdcSourceField * */
} CdcSourceDdl;

/*
 * The table whose events the pipeline gets, as schema changes name it
 * ("db"."table"); from the first event after the watermarks.  NULL: not known
 * yet.
 */
extern char *cdc_source_ddl_table(const CdcPipeline *pipeline, int npartitions,
								  const CdcProgress *progress);

/*
 * What has landed of the schema-change topic and was not dealt with: a list of
 * CdcSourceDdl of the table, in their order, in the current memory context.
 */
extern List *cdc_source_ddl_load(const CdcPipeline *pipeline, const char *table);

/* The TRUNCATEs among those that were dealt with. */
extern List *cdc_source_ddl_load_truncates(const CdcPipeline *pipeline,
										   const char *table);

/* It was dealt with. */
extern void cdc_source_ddl_done(const CdcPipeline *pipeline, const CdcSourceDdl *ddl);

/* Has the source done it before it made the change? */
extern bool cdc_source_ddl_precedes(const CdcSourceDdl *ddl, const CdcChange *change);

/* The column's old name, if the statement says that it was renamed; else NULL. */
extern const CdcSourceField *cdc_source_ddl_renamed(const char *ddl, List *before,
													List *after,
													const CdcSourceField *field);

#endif							/* CDC_SOURCE_DDL_H */
