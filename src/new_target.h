/*-------------------------------------------------------------------------
 *
 * new_target.h
 *	  The table that is made where no target is given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_NEW_TARGET_H
#define CDC_NEW_TARGET_H

#include "infer.h"

/*
 * Make the pipeline's target table (target_name) in the target schema from
 * what cdc_infer() found: columns (only the mapped ones, if the pipeline has
 * "columns", under their target names), NOT NULL, those that the mode adds,
 * primary key on key_columns (or, if that is NIL, the record's key; none for a
 * mirror of records without a key), fillfactor 90.  *key gets the target's key
 * columns.  Errors: 42P07 with a hint if a relation is in the way; 55000 if
 * there is no usable key.
 */
extern Oid	cdc_new_target_make(const CdcPipeline *pipeline,
								const CdcInferred *inferred,
								List *key_columns, List **key);

/*
 * Say in a NOTICE which types of the columns nobody but we decided.  A sample
 * can mislead, above all about dates, which are integers without a schema.
 */
extern void cdc_new_target_tell_guesses(const CdcPipeline *pipeline,
										const CdcInferred *inferred);

#endif							/* CDC_NEW_TARGET_H */
