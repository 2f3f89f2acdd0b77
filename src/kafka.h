/*-------------------------------------------------------------------------
 *
 * kafka.h
 *	  A consumer of Kafka as plain records; no SQL.
 *
 * librdkafka is seen by kafka.c alone.  Functions may ereport(ERROR), never
 * from under librdkafka's frames or from its threads.  A CdcKafka belongs to
 * the memory context that is current when it is opened: it is closed when
 * that context is reset or deleted, whatever way the query ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_H
#define CDC_KAFKA_H

#include "nodes/pg_list.h"

#include "cdcsync.h"

typedef struct CdcKafka CdcKafka;

/* A partition to read.  Its index in the array is CdcRecord.source. */
typedef struct CdcKafkaSource
{
	const char *topic;
	int32		partition;
	int64		offset;			/* first offset to read, absolute */
} CdcKafkaSource;

typedef enum CdcKafkaEventKind
{
	CDC_KAFKA_RECORD,			/* record is set */
	CDC_KAFKA_EOF,				/* the partition's end: record.source, .partition,
								 * and .offset = the next offset, which may lie
								 * above the last record + 1 */
	CDC_KAFKA_OUT_OF_RANGE		/* the asked offset is not in the log:
								 * record.source, .partition, .offset */
} CdcKafkaEventKind;

typedef struct CdcKafkaEvent
{
	CdcKafkaEventKind kind;
	CdcRecord	record;
} CdcKafkaEvent;

/*
 * Open a consumer with the options of a foreign server and of the user
 * mapping of userid for it (may be missing).  Checks that the cluster answers
 * within the server's connect_timeout (ms inside, seconds in the option);
 * ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION with the address and
 * librdkafka's reason if it does not.
 */
extern CdcKafka *cdc_kafka_open(Oid serverid, Oid userid);
extern void cdc_kafka_close(CdcKafka *kafka);

/* Names of all topics (List of char *), in the current memory context. */
extern List *cdc_kafka_topics(CdcKafka *kafka);

/*
 * Number of partitions of a topic; 0 if it does not exist.
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
 * First offset whose timestamp is >= timestamp (ms since the Unix epoch);
 * the high watermark if there is none; -1 if the broker cannot tell.
 */
extern int64 cdc_kafka_offset_for_time(CdcKafka *kafka, const char *topic,
									   int32 partition, int64 timestamp);

/* Read these partitions from now on, instead of the earlier ones. */
extern void cdc_kafka_assign(CdcKafka *kafka, const CdcKafkaSource *sources,
							 int nsources);

/* Stop reading one partition (it has reached its end for this call). */
extern void cdc_kafka_unassign(CdcKafka *kafka, int source);

/*
 * The next batch of events, waiting at most timeout ms for the first one
 * (0: do not wait; -1: until something comes, or the broker is found to be
 * away, or the query is cancelled).  Returns their number; *events, and what
 * they point to, are valid until the next call on this consumer.  Errors of a
 * partition other than the two events above raise an error that names topic,
 * partition and offset.
 */
extern int	cdc_kafka_poll(CdcKafka *kafka, int timeout,
						   const CdcKafkaEvent **events);

#endif							/* CDC_KAFKA_H */
