/*-------------------------------------------------------------------------
 *
 * origin.c
 *	  Which of two changes is the older?
 *
 * In a partition the offset tells, but for events that were sent again.
 * Between partitions it is the position at the source where both have one that
 * can be compared, else the source's clock, else Kafka's, then partition and
 * offset: always the same answer, whoever asks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "origin.h"

/*
 * Within one GTID only the file's position tells, which another server that
 * took over in between counts differently: not older then, since a wrong skip
 * loses data and a wrong apply only repeats it.
 */
bool
cdc_position_is_resent(const CdcPosition *position, int64 source_ts_ms,
					   const CdcPosition *before, int64 before_ts_ms)
{
	int			cmp;

	return before->kind != CDC_POSITION_NONE &&
		cdc_position_compare(position, before, &cmp) && cmp < 0 &&
		!(position->has_gtid && position->at.mysql.major == before->at.mysql.major) &&
		source_ts_ms <= before_ts_ms;
}

static bool
older_in_partition(const CdcOrigin *a, const CdcOrigin *b)
{
	bool		a_first = a->epoch != b->epoch ? a->epoch < b->epoch : a->offset < b->offset;
	const CdcOrigin *first = a_first ? a : b;
	const CdcOrigin *second = a_first ? b : a;

	if (cdc_origin_equal(a, b))
		return false;
	if (second->source_ts_ms != 0 &&
		cdc_position_is_resent(&second->position, second->source_ts_ms,
							   &first->position, first->source_ts_ms))
		return second == a;
	return a_first;
}

/*
 * After a restore of the source, or RESET MASTER, positions count from below:
 * the lower one is the newer then, if both clocks say so.  (The source's alone
 * does not: MySQL's is the time when the statement began.)
 */
static bool
counts_from_below(const CdcOrigin *lower, const CdcOrigin *higher)
{
	return higher->source_ts_ms != 0 && lower->source_ts_ms > higher->source_ts_ms &&
		!TIMESTAMP_IS_NOBEGIN(higher->kafka_timestamp) &&
		lower->kafka_timestamp > higher->kafka_timestamp;
}

bool
cdc_origin_same_event(const CdcOrigin *a, const CdcOrigin *b)
{
	int			cmp;

	return a->partition != b->partition && a->op == b->op &&
		a->source_ts_ms == b->source_ts_ms &&
		cdc_position_compare(&a->position, &b->position, &cmp) && cmp == 0;
}

bool
cdc_origin_older(const CdcOrigin *a, const CdcOrigin *b)
{
	int			cmp;

	if (a->partition == b->partition)
		return older_in_partition(a, b);
	if (cdc_position_compare(&a->position, &b->position, &cmp) && cmp != 0)
		return cmp < 0 ? !counts_from_below(a, b) : counts_from_below(b, a);
	if (a->source_ts_ms != 0 && b->source_ts_ms != 0 &&
		a->source_ts_ms != b->source_ts_ms)
		return a->source_ts_ms < b->source_ts_ms;
	if (a->kafka_timestamp != b->kafka_timestamp)
		return a->kafka_timestamp < b->kafka_timestamp;
	return a->partition < b->partition;
}
