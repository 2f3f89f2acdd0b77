/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  What a landing reads of its topic: which partitions, from where, and
 *	  whether it is still the topic that it was.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_READER_H
#define CDC_READER_H

#include "gap.h"
#include "kafka.h"
#include "landing.h"

/*
 * The topic that the landing reads, and its server, if its owner may still do
 * so; else an error.
 */
extern const char *cdc_reader_topic(const CdcLanding *landing, Oid *serverid);

/*
 * Let the append begin the partitions of the topic that have no position yet;
 * the log of each holds low .. high - 1.  A topic that is read for the first
 * time begins where "start" says, a partition that was added later at its
 * beginning.
 */
extern void cdc_reader_begin_partitions(const CdcLanding *landing,
										CdcLandingAppend *append,
										CdcKafka *kafka, const char *topic,
										const CdcLandingPosition *positions,
										int npositions, int npartitions,
										const int64 *low, const int64 *high);

/*
 * A partition of a landing while it is read.  Reading begins at the newest
 * record that has landed, if it is known: should it be another one now, the
 * topic was created again.
 */
typedef struct CdcReader
{
	CdcLandingPosition position;	/* next_offset: what is below is not wanted */
	bool		compare;		/* the record at last_offset is still to come */
} CdcReader;

extern void cdc_reader_begin(CdcReader *reader, const CdcLandingPosition *position);

/* Where to read from. */
#define cdc_reader_offset(reader) \
	((reader)->compare ? (reader)->position.last_offset : (reader)->position.next_offset)

typedef enum CdcReaderVerdict
{
	CDC_READER_TAKE,			/* it is the next record; next_offset is after it */
	CDC_READER_LEAVE,			/* it has landed before */
	CDC_READER_CREATED_AGAIN	/* it is not the one that has landed */
} CdcReaderVerdict;

extern CdcReaderVerdict cdc_reader_record(CdcReader *reader, const CdcRecord *record);

/*
 * An offset that was asked for is not in the log, which holds low .. high - 1.
 * False: that was the newest record, which has expired; go on at
 * cdc_reader_offset().  True: there is a gap.
 */
extern bool cdc_reader_out_of_range(CdcReader *reader, int64 low, int64 high,
									CdcGap *gap);

#endif							/* CDC_READER_H */
