/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  Where and when a change was made, and which of two is the older.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ORIGIN_H
#define CDC_ORIGIN_H

#include "datatype/timestamp.h"

#include "envelope.h"

/* Where a change comes from. */
typedef struct CdcOrigin
{
	int64		partition;
	int64		offset;
	int32		epoch;
	bool		synced;			/* an earlier window has applied it: it was looked
								 * up again */
	char		op;				/* as in CdcChange; 0: none */
	bool		old_key;		/* only the delete of a key change's old key */
	int64		ordinal;		/* number of the record among those decoded */
	TimestampTz since;			/* it was in quarantine since then, and is tried
								 * again; 0: it was not */
	CdcPosition position;		/* of the source */
	int64		source_ts_ms;	/* the source's clock; 0: not known */
	Timestamp	kafka_timestamp;	/* DT_NOBEGIN: none */
} CdcOrigin;

static inline bool
cdc_origin_equal(const CdcOrigin *a, const CdcOrigin *b)
{
	return a->offset == b->offset && a->epoch == b->epoch &&
		a->partition == b->partition;
}

/* By partition, epoch and offset: <0, 0 or >0, for qsort(). */
static inline int
cdc_origin_compare(const CdcOrigin *a, const CdcOrigin *b)
{
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/*
 * Has Kafka Connect sent an event again?  It stands behind another of its
 * partition, and is older at the source's position and not newer at its clock.
 */
extern bool cdc_position_is_resent(const CdcPosition *position, int64 source_ts_ms,
								   const CdcPosition *before, int64 before_ts_ms);

/* Are they one event, that was sent twice and into two partitions? */
extern bool cdc_origin_same_event(const CdcOrigin *a, const CdcOrigin *b);

/* Was a made before b? */
extern bool cdc_origin_older(const CdcOrigin *a, const CdcOrigin *b);

#endif							/* CDC_ORIGIN_H */
