/*-------------------------------------------------------------------------
 *
 * intake.h
 *	  What a pipeline takes of the records of its landing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_INTAKE_H
#define CDC_INTAKE_H

#include "target.h"

typedef struct CdcIntake CdcIntake;

typedef enum CdcVerdict
{
	CDC_VERDICT_NONE = 0,		/* not thought about yet */
	CDC_VERDICT_OURS,
	CDC_VERDICT_OTHER,			/* the filter leaves it out */
	CDC_VERDICT_UNTOLD,			/* it lacks a field that the filter needs */
	CDC_VERDICT_STRANGE			/* of another table than the records before it,
								 * and there is no filter */
} CdcVerdict;

/*
 * What the options say, in the current memory context.  Adds the fields of the
 * source that it looks at to the target's, which a decoder is then made with.
 */
extern CdcIntake *cdc_intake_make(const CdcPipeline *pipeline,
								  CdcTarget *target);

/* Tell the decoder before its first record. */
extern void cdc_intake_prepare(const CdcIntake *intake, CdcDecoder *decoder);

/* The same, for a decoder elsewhere. */
extern CdcReadAs cdc_intake_read_as(const CdcIntake *intake);
extern const char *cdc_intake_prefix(const CdcIntake *intake);
extern void cdc_intake_watched(const CdcIntake *intake, int *first, int *n);

/* Is there a filter? */
extern bool cdc_intake_filters(const CdcIntake *intake);

/*
 * Is a change of a row, which the decoder has just given, one of the pipeline's?
 */
extern CdcVerdict cdc_intake_judge(CdcIntake *intake, const CdcChange *change);

/* Why a record that is UNTOLD or STRANGE is bad. */
extern char *cdc_intake_reason(const CdcIntake *intake, CdcVerdict verdict,
							   const CdcChange *change);

/* Remember which table the records come from, if that was found out. */
extern void cdc_intake_save(CdcIntake *intake, CdcPipeline *pipeline);

/*
 * Refuse a target (55000) that other pipelines have too, unless the key of each
 * tells their rows apart.  pipeline: not to be looked at itself.
 */
extern void cdc_intake_check_shared(const char *pipeline,
									const CdcTarget *target);

#endif							/* CDC_INTAKE_H */
