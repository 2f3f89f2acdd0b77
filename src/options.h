/*-------------------------------------------------------------------------
 *
 * options.h
 *	  The "options" and "columns" arguments of cdc_create() and cdc_alter().
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_OPTIONS_H
#define CDC_OPTIONS_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "envelope.h"
#include "pseudo.h"

/* What becomes of a change of the source's table. */
typedef enum CdcSchemaChanges
{
	CDC_SCHEMA_UNSAID,			/* follow for a target that we made, else ignore */
	CDC_SCHEMA_FOLLOW,
	CDC_SCHEMA_IGNORE,
	CDC_SCHEMA_STOP
} CdcSchemaChanges;

typedef struct CdcOptions
{
	Jsonb	   *stored;			/* as it goes into the catalog: checked, without
								 * nulls, start as a time in UTC */
	char	   *landing;		/* name of a landing view, or NULL */
	char	   *helper_schema;	/* or NULL */
	char	   *target_schema;	/* or NULL */
	char	   *target_name;	/* or NULL */
	char	   *start;			/* "earliest", "latest" or a time in UTC */
	char	   *schema_topic;	/* name of a topic or landing view, or NULL */
	char	   *placeholder;	/* unavailable value's placeholder, or NULL */
	CdcReadAs	read_as;		/* shape */
	char	   *add_fields_prefix;	/* of a flattened event, or NULL */
	List	   *filter;			/* CdcFilterTerm *; NIL: none */
	double		max_quarantine_share;
	int64		constraint_wait;	/* us */
	CdcSchemaChanges schema_changes;
	int64		max_rewrite_size;	/* bytes */
	double		max_sweep_share;
	bool		replace;		/* "on_snapshot" */
	bool		strict;
	CdcMode		mode;
	bool		auto_sync;
	int64		sync_interval;	/* us */
	int64		retention;		/* us; CDC_RETAIN_ALL */
} CdcOptions;

#define CDC_RETAIN_ALL	PG_INT64_MAX

/*
 * Check options and fill in the defaults, in the current memory context.
 * Errors: 22023 for an unknown option or a bad value, 0A000 for a value whose
 * feature does not exist, each with a hint.
 */
extern CdcOptions *cdc_options_parse(Jsonb *options);

/*
 * Stored options with changes applied: a null takes an option back to its
 * default.  22023 for an option that is fixed once the pipeline is made.  The
 * result is to be checked by cdc_options_parse().
 */
extern Jsonb *cdc_options_merge(Jsonb *stored, Jsonb *changes);

/* Stored options with one text option set. */
extern Jsonb *cdc_options_set(Jsonb *stored, const char *name,
							  const char *value);

typedef enum CdcFollow
{
	CDC_FOLLOW_UNSAID,
	CDC_FOLLOW_NOT,
	CDC_FOLLOW
} CdcFollow;

/*
 * The options of cdc_create_all(): what it says of follow_new_topics, and the
 * others, which each pipeline gets; 22023 for those that fit one pipeline only.
 */
extern Jsonb *cdc_options_for_all(Jsonb *options, CdcFollow *follow);

/*
 * The "columns" argument as a list of CdcReading; NIL for NULL.  Errors: 22023
 * with a hint.
 */
extern List *cdc_readings_parse(Jsonb *columns);

#endif							/* CDC_OPTIONS_H */
