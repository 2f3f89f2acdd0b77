/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  Records of a window that cannot be applied, and which took the place of
 *	  other changes of their key in the same window.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_REFUSAL_H
#define CDC_REFUSAL_H

#include "origin.h"

typedef struct CdcRefusal
{
	CdcOrigin	at;
	char	   *column;			/* or NULL */
	int			sqlerrcode;
	char	   *message;
	int64		blocked_by;		/* offset of the record that it waits for, or -1 */
} CdcRefusal;

/* All zero: none. */
typedef struct CdcRefusals
{
	MemoryContext context;		/* of the records, once there are any */
	MemoryContext parent;		/* set by the caller */
	CdcRefusal *records;
	int64		n;
	int64		max;
	int64		sorted;			/* so many can be found */
} CdcRefusals;

/* Add a record; column (or NULL) and message are copied. */
extern void cdc_refusals_add(CdcRefusals *refusals, const CdcOrigin *at,
							 const char *column, int sqlerrcode, const char *message,
							 int64 blocked_by);

/* Those that were added can be found from now on. */
extern void cdc_refusals_sort(CdcRefusals *refusals);

/* The refusal of the record at this place, or NULL. */
extern const CdcRefusal *cdc_refusals_find(const CdcRefusals *refusals, int64 partition,
										   int32 epoch, int64 offset);

extern void cdc_refusals_end(CdcRefusals *refusals);

#endif							/* CDC_REFUSAL_H */
