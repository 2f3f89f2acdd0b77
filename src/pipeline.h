/*-------------------------------------------------------------------------
 *
 * pipeline.h
 *	  Pipelines: the catalog rows that say what flows from which landing into
 *	  which target.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PIPELINE_H
#define CDC_PIPELINE_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/jsonb.h"

#include "envelope.h"
#include "landing.h"
#include "options.h"
#include "pseudo.h"

typedef enum CdcPipelineState
{
	CDC_PIPELINE_ACTIVE,
	CDC_PIPELINE_PAUSED,		/* by cdc_pause(), or restored from a dump */
	CDC_PIPELINE_STOPPED		/* by an error that needs a person */
} CdcPipelineState;

/*
 * How a target column is fed, from the "columns" argument of cdc_create():
 * '"column": "FIELD"' or '"column": {"field": .., "scale": ..}'.
 */
typedef struct CdcReading
{
	char	   *column;			/* target column */
	char	   *field;			/* source field, or "$op" and the like */
	bool		has_scale;
	int32		scale;			/* of a base64 decimal */
	bool		is_unsigned;	/* a bigint unsigned that wrapped: add 2^64 */
	char	   *unit;			/* "d", "s", "ms", "us", "ns", or NULL */
	char	   *encoding;		/* "base64", "base64url", "hex", "string", "json",
								 * or NULL */
	char	   *timezone;		/* zone of a DATETIME going into timestamptz, or
								 * NULL */
} CdcReading;

/* A row of cdcsync.pipeline with its landing. */
typedef struct CdcPipeline
{
	char	   *name;
	Oid			owner;
	CdcLanding *landing;
	CdcLanding *schema_landing; /* of the connector's schema-change topic, or NULL */
	Oid			staging;
	Oid			target;			/* InvalidOid: to be made at the first event */
	bool		target_made;	/* we made the target */
	List	   *key;			/* names (char *) of target columns, in the order of
								 * the key; while the target is not made: the
								 * argument "key", or NIL */
	List	   *readings;		/* CdcReading *, as given by "columns" */
	Jsonb	   *columns;		/* the same as stored; NULL if none was given */
	CdcPipelineState state;
	char	   *reason;			/* why paused or stopped; may be NULL */
	char	   *hint;			/* what to do about it; may be NULL */
	bool		refresh_paused; /* paused for cdc_refresh() too */
	bool		here;			/* made here, not restored or copied */

	/* options */
	bool		auto_sync;		/* the workers are to sync it */
	bool		strict;
	CdcMode		mode;
	double		max_quarantine_share;
	int64		constraint_wait;	/* us that a record waits for a constraint */
	CdcSchemaChanges schema_changes;	/* never UNSAID */
	int64		max_rewrite_size;	/* bytes */
	bool		replace;		/* complete snapshots replace the target */
	double		max_sweep_share;
	int64		retention;		/* us; CDC_RETAIN_ALL */
	char	   *target_schema;	/* of a target that we make */
	char	   *target_name;	/* its name */
	char	   *helper_schema;	/* of landing and staging, when they are made */
	char	   *placeholder;	/* unavailable value's placeholder, NULL: default */
	CdcReadAs	read_as;		/* what records are to be read as */
	char	   *add_fields_prefix;	/* of what a flattened event says of its source,
									 * NULL: default */
	List	   *filter;			/* CdcFilterTerm *; NIL: none */
	char	   *source_table;	/* which the records come from, NULL: not known */
} CdcPipeline;

/*
 * By name, in the current memory context.  42704 if there is none, or if it
 * belongs to a role that the current user is not a member of (others cannot
 * see it).
 */
extern CdcPipeline *cdc_pipeline_get(const char *name);

/*
 * Once more, when its staging has been waited for: it may have been stopped or
 * altered meanwhile.  40001 if it is another by now.
 */
extern void cdc_pipeline_reread(CdcPipeline *pipeline);

/* 55000 with reason and hint unless the pipeline may sync. */
extern void cdc_pipeline_check_active(const CdcPipeline *pipeline);

/* The same unless records may be applied by hand: not in a copy elsewhere. */
extern void cdc_pipeline_check_here(const CdcPipeline *pipeline);

/* 55000 with reason and hint unless its landing may be refreshed. */
extern void cdc_pipeline_check_refresh(const CdcPipeline *pipeline);

/*
 * Stop a pipeline with a reason for cdc_status, in this transaction.
 * sqlstate: five characters, or NULL.
 */
extern void cdc_pipeline_stop(const CdcPipeline *pipeline, const char *reason,
							  const char *sqlstate, const char *hint);

/*
 * The same for all pipelines of a landing; false, and nothing is done, if one
 * of them is locked by another session.
 */
extern bool cdc_pipeline_stop_landing(int32 landing, const char *reason,
									  const char *sqlstate, const char *hint);

/*
 * Remember the target and its key, when they were made after cdc_create(), and
 * make the staging table, owned by the pipeline's owner.
 */
extern void cdc_pipeline_set_target(CdcPipeline *pipeline, Oid target,
									List *key);

/* Remember a key that only the first events have told. */
extern void cdc_pipeline_set_key(CdcPipeline *pipeline, List *key);

/* The schema that staging and landing of the pipeline stand in. */
extern Oid	cdc_pipeline_schema(const CdcPipeline *pipeline);

/*
 * cdc_pipeline_get(), and the row locked against everybody else; before the
 * row the staging table in staging_lock, unless that is NoLock.
 */
extern CdcPipeline *cdc_pipeline_lock(const char *name, LOCKMODE staging_lock);

/*
 * Record what must not be dropped from under the staging table; again after a
 * restore, which loses it.
 */
extern void cdc_staging_depend(const CdcPipeline *pipeline);

/* Does name match a pattern in which * stands for any characters? */
extern bool cdc_name_matches(const char *pattern, const char *name);

/* What a copy of the database elsewhere is told apart by. */
extern void cdc_pipeline_stamp(int64 *system, int64 *database);

/* An error if the current user is not of the role that owns the landing. */
extern void cdc_pipeline_check_landing(const CdcPipeline *pipeline);

/* A function's first argument, the name of a pipeline, must not be null. */
extern void cdc_pipeline_check_argument(FunctionCallInfo fcinfo);

#endif							/* CDC_PIPELINE_H */
