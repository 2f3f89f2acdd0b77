/*-------------------------------------------------------------------------
 *
 * winner.c
 *	  Winners: the latest change of each key, and how a key finds its own.
 *
 * A hash of the raw bytes of the key finds the winner.  Equal bytes mean equal
 * keys, but not the other way round (1 and 1.0, citext): a key whose bytes do
 * not decide is converted once, and looked up by the key types' own equality;
 * its bytes are then another way to the same winner.
 *
 * A winner's tokens are copies, in one piece of memory; where they come from
 * several records, it tells from which each does.
 *
 * Key types without a converter of ours run their input function in a
 * subtransaction.  All memory is in the window's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "huge.h"
#include "value.h"
#include "window.h"

typedef struct KeyEntry
{
	CdcBytes	key;
	CdcWinner  *winner;
	uint32		hash;
	char		status;
} KeyEntry;

#define SH_PREFIX keytable
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE CdcBytes
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) cdc_bytes_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_USE_NONDEFAULT_ALLOCATOR
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static inline void *
keytable_allocate(keytable_hash *table, Size size)
{
	return cdc_huge_alloc(table->ctx, size, MCXT_ALLOC_ZERO);
}

static inline void
keytable_free(keytable_hash *table, void *memory)
{
	pfree(memory);
}

void
cdc_winners_begin(CdcRank *rank)
{
	CdcRankState *st = rank->state;

	rank->maxwinners = 1024;
	rank->winners = palloc(sizeof(CdcWinner *) * rank->maxwinners);
	st->rows = AllocSetContextCreate(rank->context, "cdcsync winners",
									 ALLOCSET_DEFAULT_SIZES);
	st->key_context = AllocSetContextCreate(rank->context, "cdcsync key",
											ALLOCSET_SMALL_SIZES);
	st->keys = keytable_create(rank->context, 1024, NULL);
}

void
cdc_winners_clear(CdcRank *rank)
{
	CdcRankState *st = rank->state;

	keytable_reset(st->keys);
	cdc_ahead_clear(rank);
	st->typed = NULL;
	rank->nwinners = 0;
	MemoryContextReset(st->rows);
	memset(&st->memory, 0, sizeof(st->memory));
}

static TupleDesc
key_tupdesc(const CdcTarget *target)
{
	TupleDesc	desc = CreateTemplateTupleDesc(target->nkeys);

	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		TupleDescInitEntry(desc, k + 1, c->name, c->typid, c->typmod, 0);
		TupleDescInitEntryCollation(desc, k + 1, c->collation);
	}
	return desc;
}

/*
 * Append the canonical bytes of one key column: kind, length, text with the
 * escapes undone.  A number is a string to a column of text.  False if the text
 * holds what no PostgreSQL text can.
 */
bool
cdc_winner_append_token(StringInfo buf, const CdcColumn *column, const CdcToken *t)
{
	bool		is_text = column->typid == TEXTOID || column->typid == VARCHAROID;
	uint32		len = t->len;
	int			at;

	appendStringInfoCharMacro(buf, is_text && t->kind == CDC_JSON_NUMBER ?
							  CDC_JSON_STRING : t->kind);
	at = buf->len;
	enlargeStringInfo(buf, sizeof(len) + t->len + 1);
	buf->len += sizeof(len);
	if (t->kind == CDC_JSON_STRING && (t->flags & CDC_JSON_ESCAPED))
	{
		int			n = cdc_json_unescape(t, buf->data + buf->len);

		if (n < 0)
			return false;
		len = n;
	}
	else
		memcpy(buf->data + buf->len, t->text, t->len);
	buf->len += len;
	memcpy(buf->data + at, &len, sizeof(len));
	return true;
}

/*
 * The canonical key of a row whose tokens are given by column, in key_buf.
 * Returns the name of the column that is missing or cannot be one, or NULL.
 */
const char *
cdc_winner_key(CdcRank *rank, const CdcToken *tokens, CdcBytes *key)
{
	StringInfo	buf = &rank->state->key_buf;

	resetStringInfo(buf);
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];
		const CdcToken *t = &tokens[rank->target->keys[k]];

		if (!cdc_token_is_set(t) || t->kind == CDC_JSON_NULL ||
			!cdc_winner_append_token(buf, c, t))
			return c->name;
	}
	key->data = buf->data;
	key->len = buf->len;
	return NULL;
}

void
cdc_winner_key_tokens(const CdcRank *rank, const CdcBytes *key, CdcToken *tokens)
{
	const char *at = key->data;

	for (int k = 0; k < rank->target->nkeys; k++)
	{
		CdcToken   *t = &tokens[rank->target->keys[k]];
		uint32		len;

		memset(t, 0, sizeof(CdcToken));
		t->kind = *at++;
		memcpy(&len, at, sizeof(len));
		at += sizeof(len);
		t->text = at;
		t->len = len;
		at += len;
		if (t->kind == CDC_JSON_NUMBER && memchr(t->text, '.', len) == NULL &&
			memchr(t->text, 'e', len) == NULL && memchr(t->text, 'E', len) == NULL)
			t->flags = CDC_JSON_INTEGER;
	}
}

/* The winner of a key in its canonical bytes, or NULL. */
CdcWinner *
cdc_winner_find(CdcRank *rank, const CdcBytes *key)
{
	KeyEntry   *entry = keytable_lookup(rank->state->keys, *key);

	return entry ? entry->winner : NULL;
}

/* Do the bytes of this key decide what it is equal to? */
static bool
key_bytes_decide(const CdcRank *rank, const CdcToken *tokens)
{
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];

		if (!cdc_converter_bytes_decide(c->typid, c->collation,
										&tokens[rank->target->keys[k]]))
			return false;
	}
	return true;
}

static void
begin_typed(CdcRank *rank)
{
	CdcRankState *st = rank->state;
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	int			n = rank->target->nkeys;
	TupleDesc	desc = key_tupdesc(rank->target);
	AttrNumber *columns = palloc(sizeof(AttrNumber) * n);
	Oid		   *equal = palloc(sizeof(Oid) * n);
	Oid		   *collations = palloc(sizeof(Oid) * n);
	FmgrInfo   *hash = palloc(sizeof(FmgrInfo) * n);

	for (int k = 0; k < n; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];
		TypeCacheEntry *type = lookup_type_cache(c->typid,
												 TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);

		columns[k] = k + 1;
		equal[k] = get_opcode(type->eq_opr);
		collations[k] = c->collation;
		fmgr_info(type->hash_proc, &hash[k]);
	}
	st->typed_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	st->typed = BuildTupleHashTable_compat(NULL, desc, &TTSOpsVirtual, n, columns,
										   equal, hash, collations, 1024,
										   sizeof(void *), rank->context,
										   rank->context, st->key_context, false);
	MemoryContextSwitchTo(old);
}

/*
 * The place of a key in the table of typed keys, made if it is new (unless only
 * winners that are there are wanted: then NULL, with no *column); NULL and *error
 * filled if the key cannot be converted.
 */
static CdcWinner **
typed_entry(CdcRank *rank, CdcWinner *like, const CdcToken *tokens, bool make,
			const char **column, CdcConvertError *error)
{
	CdcRankState *st = rank->state;
	MemoryContext old = MemoryContextSwitchTo(st->key_context);
	TupleHashEntry entry;
	bool		isnew;
	bool		ok = true;

	ExecClearTuple(st->typed_slot);
	for (int k = 0; ok && k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];

		ok = cdc_value_convert(&rank->target->columns[at], &tokens[at],
							   like->schema, at, like->connector,
							   &st->typed_slot->tts_values[k],
							   &st->typed_slot->tts_isnull[k], error);
		*column = rank->target->columns[at].name;
	}
	MemoryContextSwitchTo(old);
	if (!ok)
		return NULL;
	*column = NULL;
	ExecStoreVirtualTuple(st->typed_slot);
	entry = LookupTupleHashEntry(st->typed, st->typed_slot, make ? &isnew : NULL, NULL);
	if (entry == NULL)
	{
		MemoryContextReset(st->key_context);
		return NULL;
	}
	if (make && isnew)
		*TupleHashEntryPointer_compat(st->typed, entry) = NULL;
	MemoryContextReset(st->key_context);
	return (CdcWinner **) TupleHashEntryPointer_compat(st->typed, entry);
}

/* Put all winners that were found by their bytes into the typed table too. */
static void
type_all_winners(CdcRank *rank)
{
	const char *column;
	CdcConvertError error;

	begin_typed(rank);
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];
		CdcWinner **place = typed_entry(rank, w, w->tokens, true, &column, &error);

		if (place)
			*place = w;
	}
}

CdcWinner *
cdc_winner_new(CdcRank *rank, const CdcBytes *key)
{
	CdcWinner  *w = cdc_winner_keep(rank, sizeof(CdcWinner) + key->len,
									 CDC_WINNER_RARE);

	memset(w, 0, sizeof(CdcWinner));
	w->key.data = key->len > 0 ? memcpy(w + 1, key->data, key->len) : (char *) (w + 1);
	w->key.len = key->len;
	if (rank->nwinners == rank->maxwinners)
	{
		rank->maxwinners *= 2;
		rank->winners = repalloc_huge(rank->winners,
									  sizeof(CdcWinner *) * rank->maxwinners);
	}
	rank->winners[rank->nwinners++] = w;
	return w;
}

bool
cdc_winner_looks_back_to(const CdcRank *rank, const CdcWinner *w, const CdcOrigin *at)
{
	/* what stands around what was asked for does not tell all of its key */
	return (rank->all_keys && cdc_origin_older(&rank->truncate->last, at)) ||
		(w && w->threshold && cdc_origin_older(w->threshold, at));
}

/*
 * Looking back: does the winner ask for this record, or, after a truncate, does
 * anybody (w may be NULL)?
 */
static bool
asks_for(const CdcRank *rank, const CdcEvent *rec, const CdcWinner *w)
{
	CdcOrigin	now;

	if (!rank->looking_back || (rank->all_keys && rank->truncate == NULL))
		return true;
	cdc_event_get_origin(rank, rec, &now);
	if (!cdc_winner_looks_back_to(rank, w, &now))
		return false;
	if (w == NULL || w->threshold == NULL)
		return true;

	/* what the window has itself is not known to have been applied */
	if (!w->last.synced && cdc_origin_same_event(&w->last, &now))
		return false;
	for (int i = 0; i < w->norigins; i++)
		if (!w->origins[i].synced && cdc_origin_same_event(&w->origins[i], &now))
			return false;
	return true;
}

/* The winner that the table of keys has for these bytes, or NULL. */
static CdcWinner *
find_expected_first(CdcRank *rank, const CdcBytes *key)
{
	CdcWinner  *w = cdc_ahead_expects(rank);

	if (w == NULL || !cdc_bytes_equal(w->key, *key))
		w = cdc_winner_find(rank, key);
	if (w)
		cdc_ahead_note(rank, w);
	return w;
}

/* The winner of a row, however its key is spelled, or NULL. */
CdcWinner *
cdc_winner_find_row(CdcRank *rank, const CdcBytes *key, const CdcToken *tokens)
{
	CdcRankState *st = rank->state;
	CdcWinner  *w = cdc_winner_find(rank, key);
	CdcWinner	like = {.schema = st->schema,.connector = st->connector};
	CdcWinner **place;
	CdcConvertError error;
	const char *column;
	MemoryContext old;

	if (w == NULL && st->typed == NULL && !key_bytes_decide(rank, tokens))
		type_all_winners(rank);
	if (w || st->typed == NULL)
		return w;
	old = MemoryContextSwitchTo(rank->context);
	place = typed_entry(rank, &like, tokens, false, &column, &error);
	MemoryContextSwitchTo(old);
	return place ? *place : NULL;
}

/*
 * The winner of the record's key; *isnew if the window has none yet.  NULL:
 * the key cannot be converted, and the record was noted as bad; or we look back,
 * and nobody asks for it.
 */
CdcWinner *
cdc_winner_get(CdcRank *rank, CdcEvent *rec, const CdcBytes *key,
			   const CdcToken *tokens, bool *isnew)
{
	CdcRankState *st = rank->state;
	CdcWinner  *w = find_expected_first(rank, key);
	KeyEntry   *entry;
	CdcWinner **place = NULL;
	bool		make = !rank->looking_back || rank->all_keys;
	bool		found;

	*isnew = false;
	if (w)
		return asks_for(rank, rec, w) ? w : NULL;
	if (st->typed == NULL && !key_bytes_decide(rank, tokens))
		type_all_winners(rank);
	if (st->typed)
	{
		CdcWinner	like = {.schema = st->schema,.connector = st->connector};
		CdcConvertError error;
		const char *column = NULL;
		MemoryContext old = MemoryContextSwitchTo(rank->context);

		place = typed_entry(rank, &like, tokens, make, &column, &error);
		MemoryContextSwitchTo(old);
		if (place == NULL)
		{
			if (column)
				cdc_event_bad(rank, rec, column, error.sqlerrcode, error.message);
			return NULL;
		}
	}
	if (!make && place == NULL)
		return NULL;
	if (rank->looking_back && !(place && *place) && !asks_for(rank, rec, NULL))
		return NULL;
	if (place && *place)
	{
		w = *place;
		if (!asks_for(rank, rec, w))
			return NULL;
	}
	else
	{
		w = cdc_winner_new(rank, key);
		*isnew = true;
		if (place)
			*place = w;
	}
	entry = keytable_insert(st->keys, *key, &found);
	if (*isnew)
		entry->key = w->key;
	else
	{
		MemoryContext old = MemoryContextSwitchTo(st->rows);

		entry->key = cdc_copy_bytes(key);	/* another spelling of the key */
		MemoryContextSwitchTo(old);
	}
	entry->winner = w;
	cdc_ahead_note(rank, w);
	return w;
}

/*
 * Give the winner these tokens and this Kafka key, copying what they point to.
 * Tokens may point into the winner's present memory.
 */
void
cdc_winner_set_tokens(CdcRank *rank, CdcWinner *w, const CdcToken *tokens,
					  const CdcBytes *kafka_key)
{
	int			n = rank->target->ncolumns;
	Size		size = MAXALIGN(sizeof(CdcToken) * n) + kafka_key->len;
	char	   *memory = (char *) w->tokens;
	Size		had = w->tokens_size;
	bool		own = false;
	CdcToken   *to;
	char	   *p;

	for (int i = 0; i < n; i++)
	{
		const char *t = tokens[i].text;

		size += tokens[i].len;
		own |= had > 0 && t >= memory && t < memory + had;
	}
	if (own || size > had)
		memory = (char *) cdc_winner_tokens_new(rank, size, &w->tokens_size);
	to = (CdcToken *) memory;
	p = memory + MAXALIGN(sizeof(CdcToken) * n);
	for (int i = 0; i < n; i++)
	{
		to[i] = tokens[i];
		to[i].text = p;
		if (tokens[i].len)
			memcpy(p, tokens[i].text, tokens[i].len);
		p += tokens[i].len;
	}
	w->kafka_key = *kafka_key;
	if (kafka_key->data)
		w->kafka_key.data = memcpy(p, kafka_key->data, kafka_key->len);
	if (to != w->tokens && had > 0)
		cdc_winner_tokens_free(rank, w->tokens, had);
	w->tokens = to;
}

static void prune_origins(CdcRank *rank, CdcWinner *w, CdcToken *tokens);

/* Is the record older than the winner? */
bool
cdc_event_is_older(const CdcRank *rank, const CdcEvent *rec, const CdcWinner *w)
{
	CdcOrigin	now;

	if (!rank->multi_partition ||
		(w->last.partition == rec->chunk->partition && !rank->looking_back))
		return false;
	cdc_event_get_origin(rank, rec, &now);
	return cdc_origin_older(&now, &w->last);
}

/* This record, which is bad, may have changed the winner's row. */
void
cdc_winner_break(CdcRank *rank, CdcWinner *w, const CdcOrigin *at)
{
	CdcOrigin  *copy = MemoryContextAlloc(rank->context, sizeof(CdcOrigin));

	*copy = *at;
	w->broken_by = copy;
}

/* What is older than this has no part in the winner's row. */
void
cdc_winner_set_floor(CdcRank *rank, CdcWinner *w, const CdcOrigin *at)
{
	CdcOrigin  *floor = cdc_winner_keep(rank, sizeof(CdcOrigin), 0);

	*floor = *at;
	w->floor = floor;
}

/*
 * Is the origin of before the floor?  The two halves of a key change have one
 * position, and what the one brings to the other is not.
 */
static bool
is_below(const CdcOrigin *origin, const CdcOrigin *floor)
{
	int			cmp;

	return cdc_origin_older(origin, floor) &&
		!(origin->partition != floor->partition &&
		  cdc_position_compare(&origin->position, &floor->position, &cmp) && cmp == 0);
}

/* Has a change that is older than the winner no part in it? */
bool
cdc_winner_is_over(const CdcWinner *w, const CdcOrigin *at)
{
	return w->deleted || (w->floor && is_below(at, w->floor));
}

/* Where a token of the winner that is set comes from. */
static const CdcOrigin *
token_origin(const CdcWinner *w, int column)
{
	return w->norigins > 0 ? &w->origins[w->tokens[column].origin] : &w->last;
}

bool
cdc_winner_token_is_below(const CdcWinner *w, int column, const CdcOrigin *at)
{
	return is_below(token_origin(w, column), at);
}

/*
 * The winner's row begins at this change, which is older than its last one:
 * forget what is from before.
 */
void
cdc_winner_cut(CdcRank *rank, CdcWinner *w, const CdcOrigin *at)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].key_no < 0 && is_below(token_origin(w, i), at))
			memset(&w->tokens[i], 0, sizeof(CdcToken));
	cdc_winner_set_floor(rank, w, at);
}

/* The winner's tokens from before, the others MISSING. */
CdcToken *
cdc_winner_tokens_before(CdcRank *rank, const CdcWinner *w, const CdcOrigin *at)
{
	int			n = rank->target->ncolumns;
	CdcToken   *tokens = palloc0(sizeof(CdcToken) * n);

	for (int i = 0; i < n; i++)
		if (rank->target->columns[i].key_no >= 0 ||
			cdc_origin_older(token_origin(w, i), at))
			tokens[i] = w->tokens[i];
	return tokens;
}

/* The winner's row is gone, with all of its kind. */
void
cdc_winner_bury(CdcRank *rank, CdcWinner *w, const CdcOrigin *at)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].key_no < 0)
			memset(&w->tokens[i], 0, sizeof(CdcToken));
	w->op = 'd';
	w->amends = false;
	w->deleted = true;
	w->fresh = false;
	w->floor = NULL;
	w->norigins = 0;
	w->broken_by = NULL;
	w->last = *at;
}

/*
 * Values of a change that is older than the winner's last one: those that the
 * winner lacks, or has from a change that is older still.
 */
void
cdc_winner_fill(CdcRank *rank, CdcWinner *w, const CdcOrigin *at, const CdcToken *tokens)
{
	CdcToken   *merged = rank->state->merged;
	CdcBytes	kafka_key = w->kafka_key;
	bool		any = false;
	uint16		origin;

	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcToken *t = &w->tokens[i];
		bool		take;

		merged[i] = *t;
		if (cdc_token_is_set(t))
			take = w->norigins > 0 && cdc_token_is_set(&tokens[i]) &&
				rank->target->columns[i].key_no < 0 &&
				cdc_origin_older(token_origin(w, i), at);
		else
			take = cdc_token_is_set(&tokens[i]) ||
				(t->kind == CDC_JSON_MISSING && tokens[i].kind != CDC_JSON_MISSING);
		if (!take)
			continue;
		if (!any && w->norigins == 0)
			(void) cdc_winner_add_origin(rank, w, &w->last);
		if (!any)
			origin = cdc_winner_add_origin(rank, w, at);
		merged[i] = tokens[i];
		merged[i].origin = origin;
		any = true;
	}
	if (!any)
		return;
	if (w->norigins > rank->target->ncolumns + 16)
		prune_origins(rank, w, merged);
	cdc_winner_set_tokens(rank, w, merged, &kafka_key);
}

/* The winner's last change is this record. */
void
cdc_winner_set_event(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op)
{
	const CdcChunk *c = rec->chunk;

	w->op = op;
	w->amends = false;
	cdc_event_get_origin(rank, rec, &w->last);
	w->refresh_time = c->refresh_time;
	w->has_ts_ms = rec->change.has_ts_ms;
	w->ts_ms = rec->change.ts_ms;
	w->schema = rank->state->schema;
	w->connector = rank->state->connector;
	if (rank->target->ts_us >= 0)
		w->time = cdc_event_time(rank, rec);
}

/* Number of an origin in the winner's list, to which it is added. */
uint16
cdc_winner_add_origin(CdcRank *rank, CdcWinner *w, const CdcOrigin *origin)
{
	if (w->norigins == w->maxorigins)
	{
		MemoryContext old = MemoryContextSwitchTo(rank->state->rows);

		w->maxorigins = Max(4, w->maxorigins * 2);
		w->origins = w->origins ?
			repalloc(w->origins, sizeof(CdcOrigin) * w->maxorigins) :
			palloc(sizeof(CdcOrigin) * w->maxorigins);
		MemoryContextSwitchTo(old);
	}
	w->origins[w->norigins] = *origin;
	return w->norigins++;
}

/* Forget the origins that no token comes from any more. */
static void
prune_origins(CdcRank *rank, CdcWinner *w, CdcToken *tokens)
{
	CdcOrigin  *was = w->origins;
	int			n = rank->target->ncolumns;
	int			nwas = w->norigins;
	int		   *number = palloc(sizeof(int) * nwas);

	w->origins = NULL;
	w->norigins = w->maxorigins = 0;
	memset(number, -1, sizeof(int) * nwas);
	for (int i = 0; i < n; i++)
	{
		uint16		o = tokens[i].origin;

		if (number[o] < 0)
			number[o] = cdc_winner_add_origin(rank, w, &was[o]);
		tokens[i].origin = number[o];
	}
	pfree(number);
	pfree(was);
}

/* Has the winner a value that the record leaves out? */
static inline bool
keeps_value(const CdcToken *was, const CdcToken *now)
{
	return !cdc_token_is_set(now) && was->kind != CDC_JSON_MISSING;
}

/*
 * The record's tokens over those of the winner, with the origin of each, if they
 * come from several records.  Mostly the record has all: then these are its own.
 */
const CdcToken *
cdc_winner_merge(CdcRank *rank, CdcWinner *w, CdcEvent *rec, const CdcToken *tokens)
{
	CdcToken   *merged = rank->state->merged;
	int			n = rank->target->ncolumns;
	CdcOrigin	now;
	bool		mixed = false;
	uint16		origin;

	for (int i = 0; i < n && !mixed; i++)
		mixed = keeps_value(&w->tokens[i], &tokens[i]);
	if (!mixed)
	{
		w->norigins = 0;
		return tokens;
	}
	for (int i = 0; i < n; i++)
		merged[i] = keeps_value(&w->tokens[i], &tokens[i]) ? w->tokens[i] : tokens[i];
	if (w->norigins == 0)
		(void) cdc_winner_add_origin(rank, w, &w->last);
	cdc_event_get_origin(rank, rec, &now);
	origin = cdc_winner_add_origin(rank, w, &now);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (merged[i].text == tokens[i].text && merged[i].kind == tokens[i].kind)
			merged[i].origin = origin;
	if (w->norigins > rank->target->ncolumns + 16)
		prune_origins(rank, w, merged);
	return merged;
}

bool
cdc_winner_same_key(CdcRank *rank, const CdcToken *a, const CdcToken *b)
{
	CdcBytes	key;
	CdcBytes	first;
	bool		same;

	if (cdc_winner_key(rank, a, &key) != NULL)
		return false;
	first = cdc_copy_bytes(&key);
	same = cdc_winner_key(rank, b, &key) == NULL &&
		(cdc_bytes_equal(first, key) || cdc_winner_keys_equal(rank, a, b));
	pfree(unconstify(char *, first.data));
	return same;
}

/*
 * Are two keys of different bytes equal for their types (1.0 and 1.00)?  The
 * values that cannot be converted are not.
 */
bool
cdc_winner_keys_equal(CdcRank *rank, const CdcToken *a, const CdcToken *b)
{
	CdcRankState *st = rank->state;
	MemoryContext old;
	bool		equal = true;

	if (key_bytes_decide(rank, a) && key_bytes_decide(rank, b))
		return false;
	old = MemoryContextSwitchTo(st->key_context);
	for (int k = 0; equal && k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];
		const CdcColumn *c = &rank->target->columns[at];
		TypeCacheEntry *type = lookup_type_cache(c->typid, TYPECACHE_EQ_OPR_FINFO);
		CdcConvertError error;
		Datum		x;
		Datum		y;
		bool		isnull;

		equal = cdc_value_convert(c, &a[at], st->schema, at, st->connector, &x, &isnull, &error) &&
			!isnull &&
			cdc_value_convert(c, &b[at], st->schema, at, st->connector, &y, &isnull, &error) &&
			!isnull &&
			DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, c->collation, x, y));
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(st->key_context);
	return equal;
}

/* How far ahead winners are asked for, and their tokens. */
#define WINNERS_AHEAD	16
#define TOKENS_AHEAD	8
#define MAX_FETCHED		(8 * CDC_CACHE_LINE)

void
cdc_winners_fetch(const CdcRank *rank, int64 i)
{
	const CdcWinner *w;

	if (i + WINNERS_AHEAD >= rank->nwinners)
		return;
	/* the key is behind it */
	cdc_winner_prefetch(rank->winners[i + WINNERS_AHEAD]);
	w = rank->winners[i + TOKENS_AHEAD];
	if (w->tokens)
		cdc_prefetch(w->tokens, Min(w->tokens_size, MAX_FETCHED));
}

/* A winner on its way to its place in the order of keys. */
typedef struct Sorted
{
	uint64		prefix;
	CdcWinner  *winner;
} Sorted;

static bool
is_integer(const CdcToken *t)
{
	if (t->kind != CDC_JSON_NUMBER)
		return false;
	for (uint32 i = t->text[0] == '-'; i < t->len; i++)
		if (t->text[i] < '0' || t->text[i] > '9')
			return false;
	return true;
}

/* The beginning of a key, as a number: of an integer, all of it. */
static uint64
key_prefix(const CdcBytes *key)
{
	CdcToken	token = {.flags = CDC_JSON_INTEGER};
	uint64		prefix = 0;
	int64		number;

	if (key->len == 0)
		return 0;				/* no row: a truncate */
	token.kind = key->data[0];
	memcpy(&token.len, key->data + 1, sizeof(token.len));
	token.text = key->data + 1 + sizeof(token.len);
	if (is_integer(&token) && cdc_json_int64(&token, &number))
		return (uint64) number ^ (UINT64CONST(1) << 63);
	for (uint32 i = 0; i < sizeof(prefix); i++)
		prefix = prefix << 8 | (i < token.len ? (unsigned char) token.text[i] : 0);
	return prefix;
}

static int
compare_sorted(const Sorted *a, const Sorted *b)
{
	const CdcBytes *x = &a->winner->key;
	const CdcBytes *y = &b->winner->key;
	int			cmp;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	cmp = memcmp(x->data, y->data, Min(x->len, y->len));
	return cmp != 0 ? cmp : (x->len > y->len) - (x->len < y->len);
}

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE Sorted
#define ST_COMPARE compare_sorted
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
cdc_rank_sort(CdcRank *rank)
{
	Sorted	   *sorted = MemoryContextAllocHuge(CurrentMemoryContext,
												sizeof(Sorted) * (rank->nwinners + 1));

	for (int64 i = 0; i < rank->nwinners; i++)
	{
		if (i + WINNERS_AHEAD < rank->nwinners)
			cdc_winner_prefetch(rank->winners[i + WINNERS_AHEAD]);
		sorted[i].winner = rank->winners[i];
		sorted[i].prefix = key_prefix(&rank->winners[i]->key);
	}
	sort_keys(sorted, rank->nwinners);
	for (int64 i = 0; i < rank->nwinners; i++)
		rank->winners[i] = sorted[i].winner;
	pfree(sorted);
}
