/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  Something that may fail, in a subtransaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ATTEMPT_H
#define CDC_ATTEMPT_H

/*
 * Run func(arg) in a subtransaction, which is rolled back if it returns false
 * or raises.  Returns what func returned.  An error that expected() accepts
 * gives false and a copy of it in *error (current context; else *error is
 * NULL); others are passed on.  expected NULL: all are.
 */
extern bool cdc_attempt(bool (*func) (void *arg), void *arg,
						bool (*expected) (const ErrorData *edata),
						ErrorData **error);

#endif							/* CDC_ATTEMPT_H */
