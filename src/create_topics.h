/*-------------------------------------------------------------------------
 *
 * create_topics.h
 *	  Pipelines for many topics of a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CREATE_TOPICS_H
#define CDC_CREATE_TOPICS_H

#include "kafka.h"
#include "options.h"

typedef enum CdcTopicDone
{
	CDC_TOPIC_CREATED,
	CDC_TOPIC_EXISTS,			/* it has a pipeline */
	CDC_TOPIC_LEFT_OUT,			/* it holds no changes of a table */
	CDC_TOPIC_FAILED
} CdcTopicDone;

/* What became of a topic. */
typedef struct CdcTopicOutcome
{
	const char *topic;
	char	   *pipeline;		/* its name, or NULL */
	char	   *target;			/* qualified and quoted, or NULL */
	CdcTopicDone done;
	bool		settled;		/* it will be the same when tried again */
	char	   *reason;			/* or NULL */
	char	   *sqlstate;		/* of what failed, or NULL */
	char	   *hint;			/* or NULL */
} CdcTopicOutcome;

/*
 * Make a pipeline for each of the wanted topics that holds changes of a table
 * and has none.  topics: all of the server.  The schemas of the options must be
 * filled in.  What fails is the outcome of one topic, and leaves nothing;
 * dry_run: nothing is left of any.  Returns an outcome for each, in the current
 * memory context.
 */
extern CdcTopicOutcome *cdc_topics_create(Oid serverid, CdcKafka *kafka,
										  List *topics, List *wanted,
										  const CdcOptions *options,
										  bool dry_run);

#endif							/* CDC_CREATE_TOPICS_H */
