/*-------------------------------------------------------------------------
 *
 * create.h
 *	  Making a pipeline.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CREATE_H
#define CDC_CREATE_H

#include "infer.h"
#include "options.h"

/* What is asked for: the arguments of cdc_create(), and more. */
typedef struct CdcCreate
{
	const char *name;
	Oid			topic;			/* InvalidOid: none */
	Oid			target;			/* InvalidOid: to be made */
	List	   *key;			/* char *; NIL: to be found out */
	Jsonb	   *columns;		/* or NULL */
	CdcOptions *options;
	bool		sampled;		/* what the events look like is known: .. */
	CdcInferred *inferred;
	bool		quiet;			/* no word about types that were guessed */
	bool		whole_target;	/* each column of a given target must be fed */
} CdcCreate;

/*
 * Check it all, then make the pipeline, as the current user.  Its target is
 * InvalidOid when there are no events yet to make it from.
 */
extern CdcPipeline *cdc_pipeline_create(const CdcCreate *create);

/* What the events look like; NULL if there are none to look at. */
extern CdcInferred *cdc_create_infer(Oid topic, const CdcLanding *landing,
									 const CdcOptions *options);

/* Can snapshots replace the target?  An error if they are to, and cannot. */
extern void cdc_create_check_replace(const CdcOptions *options, bool possible);

/*
 * The schema for new relations: as named, or the current one, whose name is
 * filled in.  Errors if the current user may not create there.
 */
extern Oid	cdc_creation_schema(char **name);

#endif							/* CDC_CREATE_H */
