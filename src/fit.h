/*-------------------------------------------------------------------------
 *
 * fit.h
 *	  Does the target fit what the events say of themselves?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FIT_H
#define CDC_FIT_H

#include "infer.h"
#include "target.h"

/*
 * Say what cannot be right between a target and the events that were looked at:
 * a WARNING for a column that can take none of its field's values, a NOTICE for
 * times without a zone that go into a column with one.
 */
extern void cdc_fit_check(const CdcTarget *target, const CdcInferred *inferred);

/* The WARNING for a column and its field in an embedded schema, if it is due. */
extern void cdc_fit_check_column(const CdcColumn *column,
								 const CdcSchemaField *field);

#endif							/* CDC_FIT_H */
