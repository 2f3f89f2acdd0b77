/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Leave nothing of one pipeline's code to the next one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SESSION_H
#define CDC_SESSION_H

/* Remember what settings a reset of this process goes back to.  At its start. */
extern void cdc_session_begin(void);

/*
 * What DISCARD ALL does, but for plans, at the beginning of a transaction.  Cheap
 * where nothing was left.
 */
extern void cdc_session_clean(void);

#endif							/* CDC_SESSION_H */
