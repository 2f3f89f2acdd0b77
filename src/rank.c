/*-------------------------------------------------------------------------
 *
 * rank.c
 *	  The latest change of each key in a window.
 *
 * A record is decoded (event.c), and replaces its key's winner (row.c, winner.c);
 * only the values that the target wants are copied.  Here it is decided what a
 * record means: a change of a row, a truncate (truncate.c), a re-send, or nothing.
 *
 * Runs in the caller's transaction under cdc_pin_settings().  All memory is in
 * the window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "evidence.h"
#include "parcel.h"
#include "snapshot.h"
#include "window.h"

/* The parsed schemas are malloc'ed. */
static void
free_schemas(void *arg)
{
	ListCell   *lc;

	foreach(lc, ((CdcRankState *) arg)->schemas)
		cdc_schema_free(((CdcRowSchema *) lfirst(lc))->schema);
}

CdcRank *
cdc_rank_begin(const CdcTarget *target, CdcDecoder *decoder, CdcMoves *moves,
			   bool multi_partition)
{
	CdcRank    *rank = palloc0(sizeof(CdcRank));
	CdcRankState *st = palloc0(sizeof(CdcRankState));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = free_schemas;
	callback->arg = st;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	rank->target = target;
	rank->multi_partition = multi_partition;
	rank->context = CurrentMemoryContext;
	rank->state = st;
	cdc_winners_begin(rank);

	st->decoder = decoder;
	st->moves = moves;
	initStringInfo(&st->key_buf);
	st->key_fields = palloc0(sizeof(CdcToken) * Max(target->nfields, 1));
	st->tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->old_tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->merged = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->bad_tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
	st->scalar_field = -1;
	if (target->nkeys == 1 &&
		target->columns[target->keys[0]].source == CDC_COLUMN_FIELD)
		st->scalar_field = target->columns[target->keys[0]].index;
	return rank;
}

Size
cdc_rank_memory(const CdcRank *rank)
{
	return MemoryContextMemAllocated(rank->context, true);
}

CdcBadRecord *
cdc_rank_bad(CdcRank *rank, const CdcOrigin *at, const char *column,
			 int sqlerrcode, const char *message)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	CdcBadRecord *bad;

	if (rank->nbad == rank->maxbad)
	{
		rank->maxbad = Max(64, rank->maxbad * 2);
		rank->bad = rank->bad ?
			repalloc_huge(rank->bad, sizeof(CdcBadRecord) * rank->maxbad) :
			palloc(sizeof(CdcBadRecord) * rank->maxbad);
	}
	bad = &rank->bad[rank->nbad++];
	memset(bad, 0, sizeof(CdcBadRecord));
	bad->at = *at;
	bad->column = column;
	bad->sqlerrcode = sqlerrcode;
	bad->message = pstrdup(message);
	bad->blocked_by = -1;
	MemoryContextSwitchTo(old);
	return bad;
}

/*
 * Note where the source was.  A row of an incremental snapshot was read when the
 * events up to its position had been sent; other snapshots tell none.
 */
static void
note_position(CdcProgress *p, const CdcChange *c)
{
	int			cmp;

	if (c->has_source_ts_ms)
		p->newest_ts_ms = Max(p->newest_ts_ms, c->source_ts_ms);
	if (c->position.kind == CDC_POSITION_NONE || !c->has_source_ts_ms ||
		(c->snapshot &&
		 cdc_position_compare(&c->position, &p->position, &cmp) && cmp <= 0))
		return;
	p->position = c->position;
	p->source_ts_ms = c->source_ts_ms;
}

bool
cdc_rank_keeps_all(const CdcTarget *target)
{
	return target->keyless || target->mode == CDC_MODE_APPEND ||
		target->mode == CDC_MODE_HISTORY;
}

/* Is it a create at the last position of its partition?  Only key changes ask. */
static bool
is_create_at_last(const CdcRank *rank, const CdcProgress *p, const CdcChange *c)
{
	int			cmp;

	return rank->multi_partition && c->op == 'c' &&
		cdc_position_compare(&c->position, &p->position, &cmp) && cmp == 0;
}

/*
 * Is it a re-send of Kafka Connect: older than what the partition has applied,
 * at the source's position and at its clock, or the same?  Else note the position.
 */
static bool
is_resent(CdcRank *rank, CdcEvent *rec)
{
	CdcProgress *p = rec->progress;
	const CdcChange *c = &rec->change;
	bool		older = false;
	bool		same = false;

	if (c->position.kind != CDC_POSITION_NONE && !c->snapshot && c->has_source_ts_ms)
	{
		older = cdc_position_is_resent(&c->position, c->source_ts_ms,
									   &p->position, p->source_ts_ms);
		if (cdc_rank_keeps_all(rank->target))
		{
			const CdcBytes *key = cdc_event_key(rec);

			if (older)
				cdc_repeat_begin(&p->repeats);
			else
				same = cdc_repeat_recognise(&p->repeats, c, key->data, key->len);
		}
	}
	if (older || same)
	{
		p->resent++;
		p->resent_offset = rec->offset;
		p->resent_epoch = rec->chunk->epoch;
		if (c->op == 'd')
			cdc_event_note_delete(rec, true);
		return true;
	}
	rec->at_last = is_create_at_last(rank, p, c);
	note_position(p, c);
	return false;
}

/* False: the window ends before it. */
static bool
add_change(CdcRank *rank, CdcEvent *rec)
{
	CdcContext	context = cdc_event_note_context(rank, &rec->change, rec);

	if (context == CDC_CONTEXT_CHANGED)
		return false;
	if (is_resent(rank, rec))
		return true;
	if (cdc_truncate_covers(rank, rec))
		return true;
	rank->ordinal++;
	if (context == CDC_CONTEXT_UNREADABLE)
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the event's embedded schema cannot be read");
		return true;
	}
	if (rank->evidence && !rank->looking_back)
		cdc_evidence_look(rank->evidence, &rec->change, rank->state->schema, rec->chunk,
						  rec->offset);
	if (rec->progress->snapshot)
		cdc_snapshot_note(rec->progress, &rec->change, rec->chunk, rec->i);
	rec->progress->in_snapshot = rec->change.snapshot && !rec->change.incremental &&
		!rec->progress->snapshot;
	if (rank->target->mode == CDC_MODE_APPEND)
	{
		cdc_append_add(rank, rec);
		return true;
	}
	/* what was applied has told already where its row went */
	rec->rename = rank->looking_back ? NULL :
		cdc_rename_of(rank, rec->chunk, rec->i, rec->change.source);
	if (rank->target->keyless && rec->change.op != 't' && rec->change.op != 'm')
	{
		cdc_keyless_add(rank, rec);
		return true;
	}
	switch (rec->change.op)
	{
		case 'c':
		case 'r':
		case 'u':
			cdc_row_upsert(rank, rec);
			break;
		case 'd':
			cdc_row_delete(rank, rec);
			break;
		case 't':
			cdc_truncate_add(rank, rec);
			break;
		default:
			rank->ordinal--;	/* m: a message, no row */
			break;
	}
	return true;
}

/* Is it the event's source that tells whether, or which, row is meant? */
static bool
needs_source(const CdcRank *rank)
{
	return cdc_intake_filters(rank->intake) || rank->target->nscope > 0;
}

/* All that tells when a tombstone was made. */
static void
note_kafka_time(CdcEvent *rec)
{
	Timestamp	t = rec->chunk->timestamps ? rec->chunk->timestamps[rec->i] : DT_NOBEGIN;
	int64		epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

	if (!TIMESTAMP_NOT_FINITE(t))
		rec->progress->newest_ts_ms = Max(rec->progress->newest_ts_ms, t / 1000 + epoch);
}

/*
 * A tombstone.  Debezium sends it right after the delete, with the same key; it
 * knows nothing of the source's order.
 */
static void
add_tombstone(CdcRank *rank, CdcEvent *rec, int64 deleted_key, bool resent)
{
	CdcBytes	key;

	if (rank->target->mode == CDC_MODE_APPEND || rank->target->keyless)
		return;					/* its delete has told it */
	if (deleted_key != 0 && deleted_key == cdc_event_key_hash(cdc_event_key(rec)))
	{
		if (needs_source(rank))
			rec->progress->passed++;
		else if (resent && cdc_event_record_key(rank, rec, NULL, rank->state->tokens, &key) == NULL)
			rec->progress->resent++;
		return;
	}
	if (cdc_truncate_covers(rank, rec))
		return;
	note_kafka_time(rec);
	rank->ordinal++;
	if (needs_source(rank))
	{
		cdc_event_bad(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the record is null and does not tell the table that it deletes from");
		return;
	}
	rec->rename = rank->looking_back ? NULL :
		cdc_rename_of(rank, rec->chunk, rec->i, NULL);
	cdc_row_delete(rank, rec);
}

/* Add record i of a chunk to the window; false: the window ends before it. */
static bool
add_record(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress,
		   TimestampTz since, bool old_key)
{
	const CdcBytes *value = &chunk->values[i];
	CdcDecodeError error;
	CdcEvent	rec;
	int64		deleted_key = progress->deleted_key;
	bool		resent = progress->resent_delete || !rank->multi_partition;
	bool		added = true;
	MemoryContext old = MemoryContextSwitchTo(rank->context);

	/* member by member: the change is large, and is filled by the decoder */
	rec.chunk = chunk;
	rec.i = i;
	rec.offset = cdc_chunk_offset(chunk, i);
	rec.progress = progress;
	rec.rename = NULL;
	rec.at_last = false;
	rec.since = since;
	rec.old_key = old_key;
	progress->deleted_key = 0;
	progress->resent_delete = false;
	if (!(chunk->parcel && cdc_parcel_change(chunk->parcel, i, &rec.change)) &&
		!cdc_decode_value(rank->state->decoder, value->data, value->len,
						  &rec.change, &error))
	{
		rank->ordinal++;
		cdc_event_bad(rank, &rec, NULL, ERRCODE_INVALID_TEXT_REPRESENTATION,
					  psprintf("%s (byte %u)", error.message, error.offset));
	}
	else
		switch (cdc_event_admit(rank, &rec))
		{
			case CDC_ADMIT:
				if (rec.change.shape == CDC_SHAPE_TOMBSTONE)
					add_tombstone(rank, &rec, deleted_key, resent);
				else
					added = add_change(rank, &rec);
				/* a tombstone does not tell what the delete has told */
				if (rec.change.op == 'd' && needs_source(rank))
					cdc_event_note_delete(&rec, false);
				break;
			case CDC_ADMIT_PASS:
				progress->passed++;
				break;
			case CDC_ADMIT_NOT:
				break;
		}
	if (!added)
		progress->deleted_key = deleted_key;
	MemoryContextSwitchTo(old);
	return added;
}

void
cdc_rank_again(CdcRank *rank, const CdcChunk *chunk, TimestampTz since, bool old_key)
{
	CdcProgress nowhere = {.refresh_time = DT_NOBEGIN};

	(void) add_record(rank, chunk, 0, &nowhere, since, old_key);
	rank->again = rank->ordinal;
}

CdcOrigin
cdc_rank_origin(CdcRank *rank, const CdcChunk *chunk, int i)
{
	CdcEvent	rec = {.chunk = chunk,.i = i,.offset = cdc_chunk_offset(chunk, i)};
	CdcDecodeError error;
	CdcOrigin	at;

	if (!cdc_decode_value(rank->state->decoder, chunk->values[i].data,
						  chunk->values[i].len, &rec.change, &error))
		rec.change.shape = CDC_SHAPE_OTHER;
	cdc_event_get_origin(rank, &rec, &at);
	return at;
}

void
cdc_rank_look_back(CdcRank *rank, const CdcChunk *chunk, int i,
				   CdcProgress *progress, TimestampTz since)
{
	int64		ordinal = rank->ordinal;

	(void) add_record(rank, chunk, i, progress, since, false);
	rank->ordinal = ordinal;
}

void
cdc_rank_look_over(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress)
{
	CdcEvent	rec = {.chunk = chunk,.i = i,.offset = cdc_chunk_offset(chunk, i),.progress = progress};
	CdcDecodeError error;

	if (cdc_decode_value(rank->state->decoder, chunk->values[i].data,
						 chunk->values[i].len, &rec.change, &error) &&
		rec.change.shape == CDC_SHAPE_CHANGE)
		(void) is_resent(rank, &rec);
}

bool
cdc_rank_add(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress)
{
	cdc_ahead_fetch(rank, chunk, i);
	return add_record(rank, chunk, i, progress, 0, false);
}
