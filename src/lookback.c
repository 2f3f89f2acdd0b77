/*-------------------------------------------------------------------------
 *
 * lookback.c
 *	  Newer changes of a window's keys that other partitions have brought before.
 *
 * Where a key has changes in several partitions, an earlier window may have
 * applied newer ones than this window has.  Nothing is kept of each key: what
 * was applied is still in the landing, and is added to the window once more,
 * from the watermark backwards until all is older than what is asked for.  The
 * ranking puts every change in its place, and to apply one again does no harm.
 *
 * Most windows need none of it.  A record in its key's home (home.h) is asked
 * for only while there is a newer one outside of its own, and a partition is
 * read only if it can have anything newer.
 *
 * After a truncate all that other partitions have applied and is newer is asked
 * for, of whatever key: these rows stay.  So it is where rows have no key; they are
 * made anew from it.
 *
 * In the mode history each change is a version, and what comes late goes between
 * those that are there.  There the deletes alone are looked up: of a row that was
 * not there yet nothing else tells them.
 *
 * Runs in the sync's transaction, as the pipeline's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "home.h"
#include "lookback.h"
#include "quarantine.h"
#include "window.h"

/* A quarantined record of the partition that is being read. */
typedef struct Quarantined
{
	int32		epoch;
	int64		offset;
	TimestampTz since;
	bool		homeless;		/* it only lacks the row that it changes, or waits
								 * for one that does */
} Quarantined;

typedef struct State
{
	CdcLookback *lb;
	CdcRank    *rank;
	CdcOrigin	oldest;			/* all that is asked for is newer */
	int64		nasking;
	CdcLandingScan *scan;
	Quarantined *quarantined;	/* in the order of epoch and offset */
	uint64		nquarantined;
} State;

/* ----------
 * Who asks
 * ----------
 */

/* The oldest change that a winner is made of. */
static const CdcOrigin *
oldest_origin(const CdcWinner *w)
{
	const CdcOrigin *oldest = &w->last;

	/* history: the changes before hang on it in their order */
	for (const CdcWinner *v = w->older; v; v = v->older)
		oldest = &v->last;
	for (int i = 0; i < w->norigins; i++)
		if (cdc_origin_older(&w->origins[i], oldest))
			oldest = &w->origins[i];
	if (w->floor && !w->deleted && cdc_origin_older(w->floor, oldest))
		oldest = w->floor;
	return oldest;
}

static bool
is_synced(const CdcProgress *p)
{
	return p->next_offset > 0 || p->epoch > 0;
}

/* Are there homes at all: a topic all of whose partitions are known? */
static bool
has_homes(const CdcLookback *lb)
{
	if (!OidIsValid(lb->pipeline->landing->topic))
		return false;
	for (int i = 0; i < lb->npartitions; i++)
		if (lb->synced[i].partition != i)
			return false;
	return true;
}

/* Mark the winners whose later changes are to be looked up. */
static void
mark(State *st)
{
	CdcLookback *lb = st->lb;
	CdcRank    *rank = st->rank;
	CdcBarriers *barriers = lb->barriers;
	bool		homes = has_homes(lb);
	bool		had_stray = homes && barriers->has_stray;
	CdcOrigin	stray = barriers->stray;
	CdcHomes	home;
	static CdcOrigin wanted;	/* only its address counts */
	CdcOrigin  *thresholds;

	if (homes)
		cdc_homes_begin(&home, rank->target, lb->decoder, lb->npartitions, barriers->key_form);
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];
		bool		at_home = w->archived || (homes && cdc_homes_include(&home, w));

		if (homes && !at_home)
			cdc_barriers_stray(barriers, &w->last);
		if (w->archived || (at_home && !(had_stray && cdc_origin_older(oldest_origin(w), &stray))))
			continue;
		w->threshold = &wanted;
		st->nasking++;
	}
	if (homes && home.known_form != barriers->key_form)
	{
		barriers->key_form = home.known_form;
		barriers->changed = true;
	}
	if (st->nasking == 0)
		return;
	thresholds = MemoryContextAllocHuge(rank->context, sizeof(CdcOrigin) * st->nasking);
	for (int64 i = 0, n = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->threshold == NULL)
			continue;
		thresholds[n] = *oldest_origin(w);
		w->threshold = &thresholds[n];
		if (n == 0 || cdc_origin_older(w->threshold, &st->oldest))
			st->oldest = *w->threshold;
		n++;
	}
}

/* ----------
 * Reading
 * ----------
 */

/* Can the partition have anything that is newer? */
static bool
may_be_newer(const CdcProgress *p, const CdcOrigin *oldest)
{
	int			cmp;

	if (!is_synced(p))
		return false;
	if (oldest->source_ts_ms == 0 || p->newest_ts_ms == 0)
		return true;
	if (cdc_position_compare(&p->position, &oldest->position, &cmp))
		return cmp > 0 || p->newest_ts_ms > oldest->source_ts_ms;
	return p->newest_ts_ms >= oldest->source_ts_ms;
}

/* What of the partition is in quarantine, so was not applied. */
static void
read_quarantined(State *st, int64 partition)
{
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(st->lb->pipeline->name), Int64GetDatum(partition)};
	MemoryContext context = CurrentMemoryContext;
	CdcSpi		spi;

	st->nquarantined = 0;
	if (!st->lb->quarantine)
		return;
	cdc_spi_begin_catalog(&spi);
	st->nquarantined = cdc_spi_run("SELECT q.epoch, q.kafka_offset, q.quarantined_at, "
								   "h.kafka_offset IS NOT NULL "
								   "FROM cdcsync.quarantine q LEFT JOIN cdcsync.quarantine h "
								   "ON h.pipeline = q.pipeline AND h.kafka_partition = q.kafka_partition "
								   "AND h.kafka_offset = coalesce(q.blocked_by, q.kafka_offset) "
								   "AND h.kafka_key = q.kafka_key AND h.epoch = q.epoch "
								   "AND h.sqlstate = '23502' AND h.column_name IS NULL "
								   "AND h.state <> 'retried' AND NOT q.old_key "
								   "WHERE q.pipeline = $1 AND q.kafka_partition = $2 "
								   "ORDER BY q.epoch, q.kafka_offset", 2, types, values, NULL, 0);
	st->quarantined = MemoryContextAllocHuge(context, sizeof(Quarantined) * (st->nquarantined + 1));
	for (uint64 i = 0; i < st->nquarantined; i++)
	{
		bool		isnull;

		st->quarantined[i].epoch = DatumGetInt32(cdc_spi_value(i, 1, &isnull));
		st->quarantined[i].offset = DatumGetInt64(cdc_spi_value(i, 2, &isnull));
		st->quarantined[i].since = DatumGetTimestampTz(cdc_spi_value(i, 3, &isnull));
		st->quarantined[i].homeless = DatumGetBool(cdc_spi_value(i, 4, &isnull));
	}
	cdc_spi_end(&spi);
}

static int
compare_quarantined(const void *a, const void *b)
{
	const Quarantined *x = a;
	const Quarantined *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Go on with an epoch of a partition from an offset on, or before it. */
static void
move_scan(State *st, int64 partition, int32 epoch, int64 offset, bool back)
{
	if (st->scan == NULL)
		st->scan = cdc_landing_scan_begin(st->lb->pipeline->landing, partition, epoch, offset);
	else if (!back)
		cdc_landing_scan_move(st->scan, partition, epoch, offset);
	if (back)
		cdc_landing_scan_move_back(st->scan, partition, epoch, offset);
}

/*
 * Behind the last event that was sent again a partition is in the order of the
 * source.  Before it only Kafka's clock tells that a chunk, and all before it, was
 * sent before the source's clock showed the time that is asked for; clocks may
 * differ by so much.
 */
#define CLOCK_SLACK		(10 * 60 * INT64CONST(1000))

static bool
sent_before(const CdcChunk *chunk, int n, int64 ts_ms)
{
	int64		epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

	for (int i = 0; i < n; i++)
		if (TIMESTAMP_NOT_FINITE(chunk->timestamps[i]) ||
			chunk->timestamps[i] / 1000 + epoch + CLOCK_SLACK >= ts_ms)
			return false;
	return true;
}

/* Can the chunk, or one before it, hold anything newer than what is asked for? */
static bool
is_wanted(State *st, const CdcChunk *chunk, const CdcProgress *p, int64 before)
{
	bool		any = false;
	int			n = chunk->nrecords;

	while (n > 0 && cdc_chunk_offset(chunk, n - 1) >= before)
		n--;
	for (int i = n - 1; i >= 0; i--)
	{
		CdcOrigin	at = cdc_rank_origin(st->rank, chunk, i);

		if (cdc_origin_older(&st->oldest, &at))
			return true;
		/* tombstones and the like do not know the source's time */
		any |= at.source_ts_ms != 0 || st->oldest.source_ts_ms == 0;
	}
	if (!any)
		return true;
	return (chunk->epoch < p->resent_epoch ||
			(chunk->epoch == p->resent_epoch && chunk->first_offset <= p->resent_offset)) &&
		!sent_before(chunk, n, st->oldest.source_ts_ms);
}

/*
 * From where on is the partition to be read?  Backwards, from the watermark to
 * the first chunk all of which is older than what is asked for; but not between
 * a delete and its tombstone, which alone would seem to be a later delete.
 */
static void
find_start(State *st, const CdcProgress *p, int32 *epoch, int64 *offset)
{
	int64		before = p->next_offset;
	bool		cut = false;	/* the chunk begins with a tombstone */
	const CdcChunk *chunk;

	for (*epoch = p->epoch; *epoch >= 0; (*epoch)--)
	{
		CHECK_FOR_INTERRUPTS();
		move_scan(st, p->partition, *epoch, before, true);
		*offset = before;
		while ((chunk = cdc_landing_scan_previous(st->scan)) != NULL)
		{
			if (!cut && !is_wanted(st, chunk, p, before))
				return;
			*offset = chunk->first_offset;
			cut = chunk->nrecords > 0 && chunk->values[0].data == NULL;
		}
		before = PG_INT64_MAX;
	}
	*epoch = 0;
	*offset = 0;
}

/* Add a record, unless it was not applied for what it holds itself. */
static void
add(State *st, const CdcChunk *chunk, int i, CdcProgress *progress)
{
	Quarantined key = {.epoch = chunk->epoch,.offset = cdc_chunk_offset(chunk, i)};
	Quarantined *found = NULL;

	if (st->nquarantined > 0)
		found = bsearch(&key, st->quarantined, st->nquarantined, sizeof(Quarantined),
						compare_quarantined);
	if (found == NULL || found->homeless)
		cdc_rank_look_back(st->rank, chunk, i, progress, found ? found->since : 0);
	else
	{
		cdc_rank_look_over(st->rank, chunk, i, progress);
		/* nor was the tombstone of a delete, or it would have superseded it */
		progress->deleted_key = cdc_event_key_hash(&chunk->keys[i]);
	}
}

static void
read_partition(State *st, const CdcProgress *p)
{
	CdcProgress progress = {.partition = p->partition,.refresh_time = DT_NOBEGIN};
	int32		epoch;
	int64		offset;
	const CdcChunk *chunk;

	read_quarantined(st, p->partition);
	find_start(st, p, &epoch, &offset);
	for (; epoch <= p->epoch; epoch++, offset = 0)
	{
		int64		end = epoch == p->epoch ? p->next_offset : PG_INT64_MAX;

		if (offset >= end)
			continue;
		move_scan(st, p->partition, epoch, offset, false);
		while ((chunk = cdc_landing_scan_next(st->scan)) != NULL &&
			   cdc_chunk_offset(chunk, chunk->first) < end)
			for (int i = chunk->first; i < chunk->nrecords; i++)
				if (cdc_chunk_offset(chunk, i) < end)
					add(st, chunk, i, &progress);
	}
}

/* ----------
 * What comes of it
 * ----------
 */

/* Does the winner bring anything that was not applied before? */
static bool
is_news(const CdcRank *rank, const CdcWinner *w)
{
	if (!w->last.synced)
		return true;
	for (int i = 0; cdc_winner_has_row(w) && i < rank->target->ncolumns; i++)
		if (w->norigins > 0 && w->tokens[i].kind != CDC_JSON_MISSING &&
			rank->target->columns[i].key_no < 0 &&
			!w->origins[w->tokens[i].origin].synced)
			return true;
	return false;
}

/*
 * The target's row is of after the delete with which the winner's began, if any
 * of it was applied: it is not to be deleted again.  Only where it has values
 * from before, which nothing has replaced, it must.
 */
static bool
must_begin_anew(const CdcRank *rank, const CdcWinner *w)
{
	bool		missing = false;
	bool		synced = w->last.synced || w->floor == NULL || w->floor->synced;

	for (int i = 0; i < w->norigins; i++)
		synced |= w->origins[i].synced;
	if (!synced)
		return true;
	if (w->floor == NULL || w->floor->synced)
		return false;
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (w->tokens[i].flags & CDC_JSON_UNAVAILABLE)
			return false;
		missing |= w->tokens[i].kind == CDC_JSON_MISSING &&
			rank->target->columns[i].source == CDC_COLUMN_FIELD;
	}
	return missing;
}

/* What a winner is made of is tried again, if it was in quarantine. */
static void
take_quarantined(const CdcLookback *lb, const CdcWinner *w)
{
	const char *pipeline = lb->pipeline->name;

	if (w->last.since != 0)
		*lb->taken += cdc_quarantine_take_one(pipeline, &w->last);
	for (int i = 0; i < w->norigins; i++)
		if (w->origins[i].since != 0 && !cdc_origin_equal(&w->origins[i], &w->last))
			*lb->taken += cdc_quarantine_take_one(pipeline, &w->origins[i]);
}

static void
settle(State *st)
{
	CdcRank    *rank = st->rank;
	int64		left = 0;

	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		if (w->threshold || rank->all_keys)
		{
			if (w->fresh)
				w->fresh = must_begin_anew(rank, w);
			if (!rank->all_keys && !w->fresh && !is_news(rank, w))
				continue;
			if (st->lb->quarantine)
				take_quarantined(st->lb, w);
		}
		rank->winners[left++] = w;
	}
	rank->nwinners = left;
}

/*
 * All that is newer than the window's truncate is asked for; where rows are kept,
 * it is the oldest of them, and what is older may be asked for by others.
 */
static void
note_truncate(State *st)
{
	const CdcRank *rank = st->rank;
	CdcBarriers *barriers = st->lb->barriers;
	const CdcOrigin *at = rank->truncate ? &rank->truncate->last : &rank->truncated_at;
	const CdcTruncate *t = rank->truncates ? llast(rank->truncates) : NULL;

	if (st->nasking == 0 || rank->truncate == NULL || cdc_origin_older(at, &st->oldest))
		st->oldest = *at;
	barriers->truncate = rank->truncated_at;
	barriers->truncate_time = t ? t->time : DT_NOBEGIN;
	barriers->has_truncate = barriers->changed = true;
}

void
cdc_lookback(CdcLookback *lookback)
{
	State		st = {.lb = lookback,.rank = lookback->rank};
	CdcRank    *rank = lookback->rank;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync lookback",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		any = false;
	bool		keyed = !rank->target->keyless;
	int64		nchanges = rank->nchanges;

	if (keyed && has_homes(lookback) && lookback->barriers->npartitions != lookback->npartitions)
		cdc_barriers_grow(lookback->barriers, lookback->npartitions, lookback->synced);
	if (keyed)
		mark(&st);
	if (rank->truncated)
		note_truncate(&st);
	/* history orders what comes late by its time: it only asks for deletes */
	rank->all_keys = rank->truncated && rank->target->mode != CDC_MODE_HISTORY;
	rank->looking_back = true;
	for (int i = 0; (st.nasking > 0 || rank->all_keys) && i < lookback->npartitions; i++)
		if (may_be_newer(&lookback->synced[i], &st.oldest))
		{
			read_partition(&st, &lookback->synced[i]);
			any = true;
		}
	if (st.scan)
		cdc_landing_scan_end(st.scan);
	if (any && keyed && rank->target->mode != CDC_MODE_HISTORY)
		settle(&st);
	else if (any && !keyed)
		cdc_keyless_put_first(rank, nchanges);
	rank->looking_back = false;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
