/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  What a landing reads of its topic: which partitions, from where, and
 *	  whether it is still the topic that it was.
 *
 * Used by cdc_refresh(), which reads to an end, and by the ingest worker, which
 * has none.  Runs in the caller's transaction where it reads the catalog, and
 * holds nothing.
 *
 * That a topic was deleted and made anew shows in its offsets only if there are
 * fewer of them.  So each position remembers a hash of the newest record below
 * it, and whoever begins to read a partition reads that record once more.  If
 * it is gone (expired, compacted away) nobody can tell; then the offsets decide
 * alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog.h"
#include "kafka_options.h"
#include "reader.h"

/*
 * Positions mean nothing in another topic, whose records would be taken for
 * those of this one.
 */
const char *
cdc_reader_topic(const CdcLanding *landing, Oid *serverid)
{
	char	   *topic = cdc_kafka_topic(landing->topic, serverid);

	if (landing->topic_name && strcmp(topic, landing->topic_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign table %s is no longer topic \"%s\"",
						cdc_qualified_name(landing->topic), landing->topic_name),
				 errdetail("Its option \"topic\" is now \"%s\".", topic),
				 errhint("Set the option back; for the other topic drop the pipeline and create it again, or make another one.")));
	cdc_kafka_topic_check(landing->topic, *serverid, landing->owner);
	return topic;
}

/* Start of a partition of a topic that was not read before. */
static int64
first_start(const CdcLanding *landing, CdcKafka *kafka, const char *topic,
			int32 partition, int64 low, int64 high)
{
	int64		offset;

	switch (landing->start)
	{
		case CDC_START_EARLIEST:
			return low;
		case CDC_START_LATEST:
			return high;
		case CDC_START_TIMESTAMP:
			break;
	}
	offset = cdc_kafka_offset_for_time(kafka, topic, partition, landing->start_time);
	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("broker cannot look up an offset of topic \"%s\" by time",
						topic),
				 errhint("Use the option \"start\" with \"earliest\" or \"latest\".")));
	return Max(offset, low);
}

void
cdc_reader_begin_partitions(const CdcLanding *landing, CdcLandingAppend *append,
							CdcKafka *kafka, const char *topic,
							const CdcLandingPosition *positions, int npositions,
							int npartitions, const int64 *low, const int64 *high)
{
	int			next = 0;

	for (int32 i = 0; i < npartitions; i++)
	{
		/* positions are in the order of partitions */
		if (next < npositions && positions[next].partition == i)
			next++;
		else if (npositions > 0)
			cdc_landing_move(append, i, low[i]);
		else
			cdc_landing_move(append, i,
							 first_start(landing, kafka, topic, i, low[i], high[i]));
	}
}

void
cdc_reader_begin(CdcReader *reader, const CdcLandingPosition *position)
{
	reader->position = *position;
	reader->compare = position->last_offset >= 0;
}

CdcReaderVerdict
cdc_reader_record(CdcReader *reader, const CdcRecord *record)
{
	CdcLandingPosition *position = &reader->position;

	if (reader->compare)
	{
		/* a higher one: that which has landed was compacted away */
		if (record->offset < position->last_offset)
			return CDC_READER_LEAVE;
		reader->compare = false;
		if (record->offset == position->last_offset &&
			cdc_record_hash(record) != position->last_hash)
			return CDC_READER_CREATED_AGAIN;
	}
	if (record->offset < position->next_offset)
		return CDC_READER_LEAVE;
	position->next_offset = record->offset + 1;
	return CDC_READER_TAKE;
}

bool
cdc_reader_out_of_range(CdcReader *reader, int64 low, int64 high, CdcGap *gap)
{
	reader->compare &= reader->position.last_offset >= low &&
		reader->position.last_offset < high;
	return cdc_gap_find(&reader->position, low, high, gap);
}
