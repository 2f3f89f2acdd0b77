/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  The change that a record is which fits a skeleton.
 *
 * Pure C without PostgreSQL.  The records that fit a skeleton (skeleton.c) have
 * their literal bytes in common, and by them what they are: operation, connector,
 * whether a snapshot, which images are there, most of the position.  Where their
 * gaps are only values (of columns, of the source's fields, times, the number in
 * the position), classify() of envelope.c would find the same for each of them.
 * So that is done once, and for the next ones the values are set in a copy.
 *
 * What else differs (a payload that is null at times, a document) is none of this
 * file's business: such a skeleton has no replay.
 *
 * Memory: the change and the tokens that its readers see, one set a skeleton.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "replay.h"

void
cdc_replay_free(CdcReplay *replay)
{
	if (replay == NULL)
		return;
	free(replay->tokens);
	free(replay->stores);
	free(replay);
}

/* Room for a replay, with all tokens MISSING; NULL without memory. */
static CdcReplay *
reserve(CdcDecoder *decoder, CdcSkeleton *skeleton)
{
	CdcReplay  *replay = skeleton->replay;
	int			ntokens = 2 * decoder->nrow + decoder->source_set.nfields;

	if (replay == NULL)
	{
		replay = skeleton->replay = calloc(1, sizeof(CdcReplay));
		if (replay == NULL)
			return NULL;
		replay->number = (uint8_t) (decoder->nreplays++ % CDC_SKELETONS);
	}
	replay->usable = false;
	replay->relayed = 0;
	if (replay->tokens == NULL)
		replay->tokens = malloc(((size_t) ntokens + 1) * sizeof(CdcToken));
	/* the connector has two readers */
	if (replay->stores_size < skeleton->nstores + 1)
	{
		free(replay->stores);
		replay->stores = malloc(((size_t) skeleton->nstores + 1) * sizeof(CdcStore));
		replay->stores_size = replay->stores ? skeleton->nstores + 1 : 0;
	}
	if (replay->tokens == NULL || replay->stores_size < skeleton->nstores + 1)
		return NULL;
	memset(replay->tokens, 0, (size_t) ntokens * sizeof(CdcToken));
	replay->ntokens = ntokens;
	replay->nstores = 0;
	replay->ts_ms_gap = replay->source_ts_ms_gap = replay->pos_gap = CDC_NO_GAP;
	replay->position = CDC_POSITION_SAME;
	replay->has_schema = false;
	return replay;
}

static void
add_store(CdcReplay *replay, const CdcStore *store, CdcToken *token)
{
	CdcStore   *copy = &replay->stores[replay->nstores++];

	*copy = *store;
	copy->token = token;
}

/* Number of the token in an array, or -1. */
static int
number_in(const CdcToken *token, const CdcToken *tokens, int n)
{
	return token >= tokens && token < tokens + n ? (int) (token - tokens) : -1;
}

/* A member of the source that the decoder itself reads; false: no replay. */
static bool
take_source_store(CdcReplay *replay, const CdcStore *store, int number,
				  CdcToken *copy)
{
	bool		gap = store->origin == CDC_STORE_GAP;

	switch (number)
	{
		case SRC_CONNECTOR:
			if (gap)
				return false;
			add_store(replay, store, &replay->change.connector);
			break;
		case SRC_SNAPSHOT:
			return !gap;
		case SRC_TS_MS:
			if (gap)
				replay->source_ts_ms_gap = (int) store->from.step;
			break;
		case SRC_POS:
			if (gap)
				replay->pos_gap = (int) store->from.step;
			break;
		default:
			/* what is not in one literal may differ */
			if (gap || store->from.step != store->to.step)
				replay->position = CDC_POSITION_ALL;
			break;
	}
	add_store(replay, store, copy);
	return true;
}

/* A member of the envelope; false: no replay. */
static bool
take_envelope_store(CdcReplay *replay, const CdcStore *store, int number)
{
	bool		gap = store->origin == CDC_STORE_GAP;

	switch (number)
	{
		case ENV_TS_MS:
			if (gap)
				replay->ts_ms_gap = (int) store->from.step;
			return true;
		case ENV_TRANSACTION:
			add_store(replay, store, &replay->change.transaction_json);
			return true;
		case ENV_TS_US:
		case ENV_TS_NS:
			return true;
		default:
			return !gap;
	}
}

/* The schema has no gaps, as it is never scanned in parts. */
static bool
take_schema(CdcReplay *replay, const CdcStore *store)
{
	replay->has_schema = true;
	replay->schema = store->from;
	return store->origin == CDC_STORE_LITERAL && store->from.step == store->to.step;
}

/* What does the token of a store mean to the change?  False: no replay. */
static bool
take_store(CdcDecoder *decoder, CdcReplay *replay, const CdcStore *store,
		   const CdcImage *envelope)
{
	CdcToken   *token = store->token;
	CdcToken   *source = replay->tokens + 2 * decoder->nrow;
	bool		gap = store->origin == CDC_STORE_GAP;
	int			i;

	if ((i = number_in(token, decoder->before.tokens, decoder->nrow)) >= 0)
		add_store(replay, store, &replay->tokens[i]);
	else if ((i = number_in(token, decoder->after.tokens, decoder->nrow)) >= 0)
		add_store(replay, store, &replay->tokens[decoder->nrow + i]);
	else if ((i = number_in(token, decoder->source.tokens, decoder->nsource)) >= 0)
		add_store(replay, store, &source[i]);
	else if ((i = number_in(token, decoder->source.tokens + decoder->nsource, SRC_COUNT)) >= 0)
		return take_source_store(replay, store, i, &source[decoder->nsource + i]);
	else if (token == &decoder->before.whole)
		add_store(replay, store, &replay->change.before_json);
	else if (token == &decoder->after.whole)
		add_store(replay, store, &replay->change.after_json);
	else if (token == &decoder->source.whole)
		add_store(replay, store, &replay->change.source_json);
	else if (token == &decoder->envelope[0].tokens[ENV_SCHEMA] && replay->change.schema)
		return take_schema(replay, store);
	else if ((i = number_in(token, envelope->tokens, ENV_COUNT)) >= 0)
		return take_envelope_store(replay, store, i);
	else
		return !gap;
	/* null, or a string, in the place of an image */
	return !gap || i >= 0;
}

/* Leave out what only the position needs, where that is told otherwise. */
static void
drop_position_stores(CdcDecoder *decoder, CdcReplay *replay)
{
	const CdcToken *own = replay->tokens + 2 * decoder->nrow + decoder->nsource;
	int			n = 0;

	for (int i = 0; i < replay->nstores; i++)
		if (number_in(replay->stores[i].token, own, SRC_COUNT) < 0)
			replay->stores[n++] = replay->stores[i];
	replay->nstores = n;
}

/* How do the positions of the records differ? */
static void
choose_position(CdcDecoder *decoder, CdcReplay *replay)
{
	const CdcChange *change = &replay->change;
	const CdcPosition *position = &change->position;

	if (change->snapshot && !change->incremental)
		replay->position = CDC_POSITION_SAME;	/* none */
	else if (position->kind == CDC_POSITION_MONGODB && replay->source_ts_ms_gap != CDC_NO_GAP)
		replay->position = CDC_POSITION_ALL;
	else if (position->kind == CDC_POSITION_NONE &&
			 (replay->source_ts_ms_gap != CDC_NO_GAP || replay->pos_gap != CDC_NO_GAP))
		replay->position = CDC_POSITION_ALL;	/* another record may tell one */
	else if (replay->pos_gap != CDC_NO_GAP && replay->position == CDC_POSITION_SAME)
		replay->position = position->kind == CDC_POSITION_MYSQL && !position->has_gtid ?
			CDC_POSITION_MYSQL_POS : CDC_POSITION_ALL;
	if (replay->position != CDC_POSITION_ALL)
		drop_position_stores(decoder, replay);
}

void
cdc_replay_make(CdcDecoder *decoder, CdcSkeleton *skeleton,
				const CdcChange *change)
{
	const CdcImage *envelope =
		&decoder->envelope[skeleton->frame & CDC_FRAME_PAYLOAD ? 1 : 0];
	CdcReplay  *replay = reserve(decoder, skeleton);

	if (replay == NULL || change->shape != CDC_SHAPE_CHANGE || change->document ||
		change->cells ||
		(skeleton->frame & CDC_FRAME_ROW))
		return;
	replay->change = *change;
	for (int i = 0; i < skeleton->nstores; i++)
		if (!take_store(decoder, replay, &skeleton->stores[i], envelope))
			return;
	choose_position(decoder, replay);
	replay->change.before = replay->tokens;
	replay->change.after = replay->tokens + decoder->nrow;
	replay->change.source = replay->tokens + 2 * decoder->nrow;
	replay->change.new_names = false;
	replay->change.verdict = skeleton->constant ? &skeleton->verdict : NULL;
	replay->usable = true;
}

static bool
replay_position(CdcDecoder *decoder, const CdcReplay *replay, CdcChange *change)
{
	switch (replay->position)
	{
		case CDC_POSITION_SAME:
			return true;
		case CDC_POSITION_MYSQL_POS:
			return cdc_position_number(&decoder->skeletons.values[replay->pos_gap],
									   &change->position.at.mysql.minor);
		case CDC_POSITION_ALL:
			memset(&change->position, 0, sizeof(CdcPosition));
			cdc_take_position(decoder, change->source + decoder->nsource, change);
			return true;
	}
	return true;
}

/* A time that is in a gap. */
static bool
replay_time(const CdcDecoder *decoder, int gap, bool *has, int64_t *value)
{
	if (gap == CDC_NO_GAP)
		return true;
	*value = 0;
	return cdc_take_int64(&decoder->skeletons.values[gap], has, value);
}

bool
cdc_replay_change(CdcDecoder *decoder, CdcSkeleton *skeleton, CdcChange *change)
{
	const CdcSkeletons *skeletons = &decoder->skeletons;
	CdcReplay  *replay = skeleton->replay;

	if (replay == NULL || !replay->usable)
		return false;
	for (int i = 0; i < replay->nstores; i++)
		cdc_store_restore(skeletons, &replay->stores[i], replay->stores[i].token);
	*change = replay->change;
	if (replay->has_schema)
		change->schema = skeletons->literals[replay->schema.step] + replay->schema.offset;
	return replay_time(decoder, replay->ts_ms_gap, &change->has_ts_ms, &change->ts_ms) &&
		replay_time(decoder, replay->source_ts_ms_gap, &change->has_source_ts_ms,
					&change->source_ts_ms) &&
		replay_position(decoder, replay, change);
}
