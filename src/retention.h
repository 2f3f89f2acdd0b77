/*-------------------------------------------------------------------------
 *
 * retention.h
 *	  Delete the landed records that nobody needs any more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RETENTION_H
#define CDC_RETENTION_H

#include "datatype/timestamp.h"

/*
 * Delete what is old enough of the landings of the owner as whom this process is
 * connected, in transactions of its own, for a moment.  Returns false if time was
 * up before all was done.  Else *next is when there will be something to do again
 * if nothing lands until then (DT_NOEND: never), and *pause, in ms, how long to
 * wait before the next run whatever happens.
 */
extern bool cdc_retention_run(Oid owner, TimestampTz *next, long *pause);

#endif							/* CDC_RETENTION_H */
