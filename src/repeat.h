/*-------------------------------------------------------------------------
 *
 * repeat.h
 *	  The events that a partition applied last, at one place of the source.
 *
 * Events older than what was applied are known by their position; of those at that
 * very place, some may be sent again and others not have come before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_REPEAT_H
#define CDC_REPEAT_H

#include "envelope.h"

#define CDC_REPEATS	64

/* All zero: none. */
typedef struct CdcRepeats
{
	CdcPosition position;		/* of the last one, by the source's log */
	int			n;
	int			expected;		/* while events are sent again, how many of them have
								 * been, and are to come no more; else -1 */
	uint64_t	events[CDC_REPEATS];	/* hashes, in the order in which they came */
} CdcRepeats;

/* An older event was sent again: all that are known begin anew. */
extern void cdc_repeat_begin(CdcRepeats *repeats);

/*
 * Is the change certainly one of those that were applied?  Else it is one more,
 * or the first of its place.
 */
extern bool cdc_repeat_recognise(CdcRepeats *repeats, const CdcChange *change,
								 const char *key, uint32_t key_len);

/* A text form, palloc'ed, NULL for none; what cannot be read is none. */
extern char *cdc_repeat_print(const CdcRepeats *repeats);
extern void cdc_repeat_parse(const char *text, CdcRepeats *repeats);

#endif							/* CDC_REPEAT_H */
