/*-------------------------------------------------------------------------
 *
 * pursuit.h
 *	  A window that goes on with what lands meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PURSUIT_H
#define CDC_PURSUIT_H

#include "shmem.h"

/* So long a window follows at most: then others are to see its rows. */
#define CDC_PURSUIT_TIME		5000	/* ms */

typedef struct CdcPursuit
{
	int32		landing;
	bool		(*wanted) (void *arg);	/* is the process needed elsewhere? */
	void	   *arg;
	int			limit;			/* ms that a window may take, 0: any */
	CdcNews		news;			/* before the positions were read the last time */

	/* what became of it */
	TimestampTz until;			/* 0: there was nothing to follow */
	bool		at_end;			/* it has seen the end of the backlog */
} CdcPursuit;

/* Is a backlog being landed? */
extern bool cdc_pursuit_is_behind(const CdcPursuit *pursuit);

/*
 * All that had landed has been ranked.  Wait for more of the backlog; false: the
 * window is to end.  In the transaction of the window.
 */
extern bool cdc_pursuit_wait(CdcPursuit *pursuit);

#endif							/* CDC_PURSUIT_H */
