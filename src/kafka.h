/*-------------------------------------------------------------------------
 *
 * kafka.h
 *	  A consumer of Kafka as plain records; no SQL.
 *
 * librdkafka is seen by kafka*.c alone.  A CdcKafka belongs to the memory
 * context that is current when it is opened: it is closed when that context
 * is reset or deleted, whatever way the query or the worker ends.
 *
 * Opening and the questions about topics raise an error when the cluster does
 * not answer within the server's connect_timeout, and react to a cancel within
 * a second.  Reading raises none: whatever happens to brokers and partitions
 * is an event like the records.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_H
#define CDC_KAFKA_H

#include "nodes/pg_list.h"

#include "cdcsync.h"
#include "compat.h"

typedef struct CdcKafka CdcKafka;

/* A partition to read. */
typedef struct CdcKafkaSource
{
	const char *topic;
	int32		partition;
	int64		offset;			/* first offset to read, absolute */
} CdcKafkaSource;

typedef enum CdcKafkaEventKind
{
	CDC_KAFKA_RECORD,			/* record is set */

	/*
	 * Of one partition: record.source, .partition and .offset are set.  After
	 * the latter two the source gives nothing until it is moved.
	 */
	CDC_KAFKA_EOF,				/* all that can be read now has been; offset =
								 * the next one, which may lie above the last
								 * record + 1 */
	CDC_KAFKA_OUT_OF_RANGE,		/* offset is not in the log */
	CDC_KAFKA_ERROR,			/* offset could not be read: error is set */

	/* Of the whole cluster: record.source is -1. */
	CDC_KAFKA_UNAVAILABLE,		/* no broker has answered for connect_timeout:
								 * error is set */
	CDC_KAFKA_AVAILABLE			/* one answers again; sources go on.  Also
								 * after an interruption that was too short
								 * to be told of */
} CdcKafkaEventKind;

typedef struct CdcKafkaError
{
	int			sqlstate;		/* as ERRCODE_xxx */
	const char *message;
	const char *detail;			/* or NULL */
	const char *hint;			/* or NULL */
} CdcKafkaError;

typedef struct CdcKafkaEvent
{
	CdcKafkaEventKind kind;
	CdcRecord	record;
	const CdcKafkaError *error; /* NULL unless the kind has one */
} CdcKafkaEvent;

/*
 * Open a consumer with the options of a foreign server and of the user
 * mapping of userid for it (may be missing).  Checks that the cluster answers;
 * ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION with the address and
 * librdkafka's reason if it does not.
 *
 * waits_for: if not 0, it will mostly wait at the ends of the partitions of about
 * so many topics.  It then asks the brokers less often, the more topics there are
 * the less (records come as fast, the end of a partition is told later, and one
 * that is added is read later), reports trouble in the server's log, and keeps
 * metadata until it is told to refresh them.
 */
extern CdcKafka *cdc_kafka_open(Oid serverid, Oid userid, int waits_for);
extern void cdc_kafka_close(CdcKafka *kafka);

/* ----------
 * Questions.  None of them takes events from the batch or adds to it.
 * ----------
 */

/*
 * Ask for the topics and partitions there are, one request for all.  The
 * answer is kept for the two functions below, which ask for it themselves if
 * there is none yet.
 */
extern void cdc_kafka_metadata_refresh(CdcKafka *kafka);

/* Names of all topics (List of char *), in the current memory context. */
extern List *cdc_kafka_topics(CdcKafka *kafka);

/*
 * Number of partitions of a topic; 0 if it does not exist.  If the cluster
 * cannot tell yet (the topic is being made, its leader is elected) a lasting
 * consumer returns -1, another one waits for it, then raises an error.
 */
extern int	cdc_kafka_partitions(CdcKafka *kafka, const char *topic);

/* Low and high watermark: first offset there is, next offset to be written. */
extern void cdc_kafka_watermarks(CdcKafka *kafka, const char *topic,
								 int32 partition, int64 *low, int64 *high);

/* The same for partitions 0 .. npartitions - 1, in one round trip a broker. */
extern void cdc_kafka_topic_watermarks(CdcKafka *kafka, const char *topic,
									   int npartitions, int64 *low,
									   int64 *high);

/*
 * The same for many partitions of many topics; -1 where the brokers do not
 * answer at once.  A broker answers one question after the other, and to "what
 * is new?" only when there is something, so it is one question that is wanted.
 */
extern void cdc_kafka_survey(CdcKafka *kafka, const CdcKafkaSource *sources,
							 int nsources, int64 *low, int64 *high);

/*
 * First offset whose timestamp is >= timestamp (ms since the Unix epoch);
 * the high watermark if there is none; -1 if the broker cannot tell.
 */
extern int64 cdc_kafka_offset_for_time(CdcKafka *kafka, const char *topic,
									   int32 partition, int64 timestamp);

/* ----------
 * Sources.  An id is CdcRecord.source of the events; it stays the same until
 * the source is removed, and is given to another one only after the next
 * cdc_kafka_release().  Ids are small numbers: good as indexes of an array.
 * ----------
 */

/*
 * Go on at another offset, or again at the one where it has stopped.  Of what
 * came from the earlier position, that which has not been polled is dropped.
 */
extern void cdc_kafka_move(CdcKafka *kafka, int source, int64 offset);

/* Read the partition no longer; drops what has not been polled. */
extern void cdc_kafka_remove(CdcKafka *kafka, int source);

/*
 * The same for many at once, which is much faster than one by one.  add: read
 * more partitions, that must not be sources yet; gives their ids.
 */
extern void cdc_kafka_add_many(CdcKafka *kafka, const CdcKafkaSource *sources,
							   int nsources, int *ids);
extern void cdc_kafka_move_many(CdcKafka *kafka, const int *ids,
								const int64 *offsets, int nsources);
extern void cdc_kafka_remove_many(CdcKafka *kafka, const int *ids,
								  int nsources);

/*
 * Read these partitions from now on, instead of all earlier ones, whose batch
 * is released.  Their ids are 0 .. nsources - 1.
 */
extern void cdc_kafka_assign(CdcKafka *kafka, const CdcKafkaSource *sources,
							 int nsources);

/*
 * The high watermark of a source as its broker told it last; -1: not yet.  No
 * round trip, but librdkafka looks the topic up one by one: not for every
 * record.
 */
extern int64 cdc_kafka_high(CdcKafka *kafka, int source);

/* ----------
 * Events are gathered in a batch.
 * ----------
 */

/*
 * Append what has come to the batch.  Returns the number of events in it and
 * sets *events to the first one; the array may move at the next poll, what
 * the events point to stays until the batch is released.
 *
 * Waits until something has come, but no longer than timeout ms (0: not at
 * all; -1: without limit), and only until the process's latch is set, which
 * it resets: the caller sees to what it was set for.
 *
 * Raises no error but for a cancel, for lack of memory (nothing is lost then:
 * poll again), or if librdkafka itself has failed.
 */
extern int	cdc_kafka_poll(CdcKafka *kafka, int timeout,
						   const CdcKafkaEvent **events);

/* Memory that the batch holds, more or less. */
extern Size cdc_kafka_batch_bytes(CdcKafka *kafka);

/* Forget all events of the batch. */
extern void cdc_kafka_release(CdcKafka *kafka);

/* Raise the error of an event that has one, as it is meant for a session. */
pg_noreturn extern void cdc_kafka_raise(const CdcKafkaEvent *event);

#endif							/* CDC_KAFKA_H */
