/*-------------------------------------------------------------------------
 *
 * problem.h
 *	  What is wrong with something that is tried again, and when that is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PROBLEM_H
#define CDC_PROBLEM_H

#include "datatype/timestamp.h"

#define CDC_PROBLEM_TEXT	256

/* Lives in shared memory: no pointers.  All zeros: nothing is wrong. */
typedef struct CdcProblem
{
	int			failures;		/* in a row; 0: nothing is wrong */
	TimestampTz since;			/* of the first of them */
	TimestampTz next_try;
	char		sqlstate[6];
	char		message[CDC_PROBLEM_TEXT];
	char		hint[CDC_PROBLEM_TEXT];
} CdcProblem;

/*
 * Note one more failure: the next try is after 1 s, then twice as long each
 * time, at most 5 min; with jitter, so that what failed together is not tried
 * together.
 */
extern void cdc_problem_add(CdcProblem *problem, const ErrorData *edata);
extern void cdc_problem_clear(CdcProblem *problem);

/* Is this what is wrong already? */
extern bool cdc_problem_is(const CdcProblem *problem, const ErrorData *edata);

/* May it be tried (again) now? */
extern bool cdc_problem_over(const CdcProblem *problem, TimestampTz now);

#endif							/* CDC_PROBLEM_H */
