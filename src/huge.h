/*-------------------------------------------------------------------------
 *
 * huge.h
 *	  Memory that is reached at random: on huge pages, where there are any.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HUGE_H
#define CDC_HUGE_H

#include "utils/palloc.h"

/*
 * As MemoryContextAllocExtended(), which may be more than a gigabyte.  Large
 * pieces are put on huge pages.
 */
extern void *cdc_huge_alloc(MemoryContext context, Size size, int flags);

#endif							/* CDC_HUGE_H */
