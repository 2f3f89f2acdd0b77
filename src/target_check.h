/*-------------------------------------------------------------------------
 *
 * target_check.h
 *	  Can a table be the target of a pipeline, and by which key?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TARGET_CHECK_H
#define CDC_TARGET_CHECK_H

#include "infer.h"
#include "target.h"

/*
 * The target must be a table that can be one, and that the pipeline's owner,
 * as whom it is synced, may change.  Stays locked against being dropped.
 */
extern void cdc_target_check(Oid target, Oid owner);

/* Does the mapping name only fields that the events have? */
extern void cdc_target_check_fields(List *readings, const CdcInferred *inferred);

/*
 * Columns that are to take the field of their own name, but the events have
 * none: an error for a key column, or if the target must fit as a whole; else
 * worth a notice.
 */
extern void cdc_target_check_columns(const CdcTarget *target, List *readings,
									 const CdcInferred *inferred, bool whole);

/* Warn of a key without a unique index. */
extern void cdc_target_check_index(const CdcTarget *target, List *key);

/* The key of the events as columns of the target; NIL if not all are there. */
extern List *cdc_target_event_key(const CdcPipeline *pipeline,
								  const CdcInferred *inferred);

/*
 * The key of a given target: the argument, its primary key, or the events'.
 * NIL: the source's table has none, as far as we know.
 */
extern List *cdc_target_choose_key(const CdcPipeline *pipeline, List *key,
								   const CdcInferred *inferred);

/* Say in a NOTICE how rows of a target without a key are found. */
extern void cdc_target_tell_keyless(const char *target);

#endif							/* CDC_TARGET_CHECK_H */
