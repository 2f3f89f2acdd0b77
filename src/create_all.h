/*-------------------------------------------------------------------------
 *
 * create_all.h
 *	  cdc_create_all() and the topics that come after it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CREATE_ALL_H
#define CDC_CREATE_ALL_H

#include "nodes/pg_list.h"

/*
 * Make the pipelines that the current user follows this server for, where
 * topics (all of the server, char *) have new ones; logs each.  In the caller's
 * transaction, without waiting long for a lock; the user must be connected as
 * themselves.  Some topics a call: call again in a new transaction until it
 * returns 0, the number of topics that were done with.  Cheap when there is
 * nothing new.  A topic that failed is tried again after a while, when this is
 * called.
 */
extern int	cdc_follow_topics(Oid serverid, List *topics);

/* Does the current user follow any of this server? */
extern bool cdc_follows_topics(Oid serverid);

#endif							/* CDC_CREATE_ALL_H */
