/*-------------------------------------------------------------------------
 *
 * topic_sample.h
 *	  What the events of topics look like.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_SAMPLE_H
#define CDC_TOPIC_SAMPLE_H

#include "infer.h"
#include "kafka.h"

typedef struct CdcTopicSample
{
	const char *topic;
	bool		exists;			/* the broker has it */
	CdcInferred *inferred;		/* NULL: not read; without records: empty */
	ErrorData  *error;			/* why it could not be read, or NULL */
} CdcTopicSample;

/*
 * Look at the first records of topics, many at a time, with one consumer;
 * fills in all but the name, in the current memory context.  What goes wrong
 * with one topic is its error, and no other's.
 */
extern void cdc_topics_sample(CdcKafka *kafka, CdcTopicSample *samples,
							  int nsamples, const CdcSampling *how);

/* One topic, with a consumer of its own; errors are raised. */
extern CdcInferred *cdc_topic_infer(const char *topic, Oid serverid, Oid userid,
									const CdcSampling *how);

#endif							/* CDC_TOPIC_SAMPLE_H */
