/*-------------------------------------------------------------------------
 *
 * topic_copy.h
 *	  Records of a topic, once more, in a chunk table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_COPY_H
#define CDC_TOPIC_COPY_H

#include "datatype/timestamp.h"

#include "landing.h"

typedef struct CdcTopicCopy
{
	const CdcLanding *landing;	/* whose topic is read */
	int			npartitions;
	const CdcLandingPosition *to;	/* [npartitions] in partition order: where the
									 * landing is */
	TimestampTz since;			/* DT_NOBEGIN: all that there ever was */

	/* out */
	CdcLandingPosition *from;	/* [npartitions] of the epochs of to */
} CdcTopicCopy;

/*
 * Copy the records below "to" into a chunk table that is made like the
 * landing's.  Returns false, and in *why what is missing (a sentence), if the
 * topic does not have all of them any more.
 */
extern bool cdc_topic_copy(CdcTopicCopy *copy, Oid chunk, char **why);

#endif							/* CDC_TOPIC_COPY_H */
