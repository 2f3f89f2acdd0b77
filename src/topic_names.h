/*-------------------------------------------------------------------------
 *
 * topic_names.h
 *	  What the name of a topic tells: names for its pipeline and target, and
 *	  whether it holds the changes of a table at all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_NAMES_H
#define CDC_TOPIC_NAMES_H

#include "nodes/pg_list.h"

/* Longest name that Kafka allows. */
#define CDC_TOPIC_MAX	249

typedef struct CdcTopicNames CdcTopicNames;

/* All topics of a server (char *), in the current memory context. */
extern CdcTopicNames *cdc_topic_names_make(List *topics);

/* A name that no pipeline can have any more. */
extern void cdc_topic_names_take(CdcTopicNames *names, const char *pipeline);

/*
 * Names for the pipeline and the target of a topic.  Tried are the last part of
 * the topic's name ("a.b.Customer": customer), the last two (b_customer), and
 * so on, then all of it with a hash; the first that no other topic of the
 * server would get, too, and no pipeline has.  So two topics whose tables have
 * the same name are told apart by what differs, whichever comes first.  The
 * pipeline's name is in lower case, other characters than letters and digits
 * replaced by _; the target is spelled as in the topic, but for the dots.
 */
extern void cdc_topic_names_choose(CdcTopicNames *names, const char *topic,
								   char **pipeline, char **target);

/* Is it internal to Kafka or Debezium, as only such topics are named? */
extern const char *cdc_topic_internal(const char *topic);

/*
 * What it seems to be by its name, if not the topic of a table; else NULL.  A
 * table can have such a name, too.
 */
extern const char *cdc_topic_special(CdcTopicNames *names, const char *topic);

#endif							/* CDC_TOPIC_NAMES_H */
