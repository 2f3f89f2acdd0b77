/*-------------------------------------------------------------------------
 *
 * rank.c
 *	  The latest change of each key in a window.
 *
 * A hash of the raw bytes of the key finds the winner.  Equal bytes mean equal
 * keys, but not the other way round (1 and 1.0, citext): a key whose bytes do
 * not decide is converted once, and looked up by the key types' own equality;
 * its bytes are then another way to the same winner.
 *
 * A record replaces its key's winner, keeping the values that it left out;
 * only the values that the target wants are copied.  All memory is in the
 * window's context.
 *
 * Runs in the caller's transaction under cdc_pin_settings(); key types without
 * a converter of ours run their input function in a subtransaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "move.h"
#include "rank.h"
#include "value.h"

typedef struct KeyEntry
{
	CdcBytes	key;
	CdcWinner  *winner;
	uint32		hash;
	char		status;
} KeyEntry;

#define bytes_equal(a, b) \
	((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)

#define SH_PREFIX keytable
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE CdcBytes
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) bytes_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* What the headers of a record say of a key change. */
typedef struct RenameHeader
{
	bool		has_new;		/* __debezium.newkey */
	bool		has_old;		/* __debezium.oldkey */
	CdcBytes	key;			/* canonical, in the window's context */
	CdcToken   *tokens;			/* [ncolumns], key columns only */
} RenameHeader;

typedef struct CdcRankState
{
	CdcDecoder *decoder;
	CdcMoves   *moves;
	keytable_hash *keys;
	TupleHashTable typed;		/* NULL until a key needs it */
	TupleTableSlot *typed_slot;
	MemoryContext key_context;	/* reset per typed look-up */
	MemoryContext rows;			/* winners, their tokens and keys */
	char	   *block;			/* for keep() */
	Size		block_left;
	StringInfoData key_buf;
	CdcToken   *key_fields;		/* [nfields] from the record's key */
	CdcToken   *tokens;			/* [ncolumns] of the record at hand */
	CdcToken   *old_tokens;		/* [ncolumns] of its before image */
	CdcToken   *merged;			/* [ncolumns] scratch of merge_tokens() */
	CdcToken   *bad_tokens;		/* [ncolumns] scratch of break_key() */
	CdcRowSchema *schema;		/* the last one seen */
	List	   *schemas;
	CdcToken	connector_name;
	char		connector_buf[32];
	CdcConnector connector;
	const Jsonb *last_headers;	/* of which rename was made; the address is
								 * good only within the chunk */
	int64		chunk_partition;
	int32		chunk_epoch;
	int64		chunk_first;
	RenameHeader rename;
	int			scalar_field;	/* field of a bare scalar key, or -1 */
} CdcRankState;

/* The record that is being added. */
typedef struct Record
{
	const CdcChunk *chunk;
	int			i;
	int64		offset;
	CdcProgress *progress;
	CdcChange	change;
	RenameHeader *rename;		/* NULL: none */
	TimestampTz since;			/* it comes out of quarantine, where it has been
								 * since; 0: it does not */
} Record;

#define kafka_key_of(rec) (&(rec)->chunk->keys[(rec)->i])

static bool
token_is_set(const CdcToken *t)
{
	return t->kind != CDC_JSON_MISSING && !(t->flags & CDC_JSON_UNAVAILABLE);
}

static CdcBytes
copy_bytes(const CdcBytes *b)
{
	CdcBytes	copy = *b;

	if (b->data)
	{
		char	   *p = palloc(Max(b->len, 1));

		memcpy(p, b->data, b->len);
		copy.data = p;
	}
	return copy;
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
	rank->maxwinners = 1024;
	rank->winners = palloc(sizeof(CdcWinner *) * rank->maxwinners);
	rank->state = st;

	st->decoder = decoder;
	st->moves = moves;
	st->rows = AllocSetContextCreate(rank->context, "cdcsync winners",
									 ALLOCSET_DEFAULT_SIZES);
	st->key_context = AllocSetContextCreate(rank->context, "cdcsync key",
											ALLOCSET_SMALL_SIZES);
	st->keys = keytable_create(rank->context, 1024, NULL);
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

static CdcOrigin
origin_of(const CdcRank *rank, const Record *rec)
{
	CdcOrigin	at = {
		.partition = rec->chunk->partition,
		.epoch = rec->chunk->epoch,
		.offset = rec->offset,
		.ordinal = rank->ordinal,
		.since = rec->since,
	};

	return at;
}

/*
 * Append the canonical bytes of one key column: kind, length, text with the
 * escapes undone.  A number is a string to a column of text.  False if the text
 * holds what no PostgreSQL text can.
 */
static bool
append_key_token(StringInfo buf, const CdcColumn *column, const CdcToken *t)
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
static const char *
make_key(CdcRank *rank, const CdcToken *tokens, CdcBytes *key)
{
	StringInfo	buf = &rank->state->key_buf;

	resetStringInfo(buf);
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];
		const CdcToken *t = &tokens[rank->target->keys[k]];

		if (!token_is_set(t) || t->kind == CDC_JSON_NULL ||
			!append_key_token(buf, c, t))
			return c->name;
	}
	key->data = buf->data;
	key->len = buf->len;
	return NULL;
}

/* Spread an image's tokens, which are by field, over the columns. */
static void
spread(const CdcRank *rank, const CdcToken *image, const CdcToken *source,
	   CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcColumn *c = &rank->target->columns[i];

		if (c->source == CDC_COLUMN_FIELD && image)
			tokens[i] = image[c->index];
		else if (c->source == CDC_COLUMN_SOURCE_FIELD && source)
			tokens[i] = source[c->index];
		else
			memset(&tokens[i], 0, sizeof(CdcToken));
	}
}

/*
 * The key of the row that the record's own key names, in key_buf.  Returns NULL,
 * or the name of the column that it lacks, "" if it cannot be read at all.
 */
static const char *
record_key(CdcRank *rank, const Record *rec, const CdcToken *source,
		   CdcToken *tokens, CdcBytes *key)
{
	CdcRankState *st = rank->state;
	const CdcBytes *bytes = kafka_key_of(rec);
	CdcDecodeError error;

	if (bytes->data == NULL ||
		!cdc_decode_key(st->decoder, bytes->data, bytes->len, st->scalar_field,
						st->key_fields, &error))
		return "";
	spread(rank, st->key_fields, source, tokens);
	return make_key(rank, tokens, key);
}

/* The winner of a key in its canonical bytes, or NULL. */
static CdcWinner *
find_winner(CdcRank *rank, const CdcBytes *key)
{
	KeyEntry   *entry = keytable_lookup(rank->state->keys, *key);

	return entry ? entry->winner : NULL;
}

/*
 * A bad record may have changed its key's row in a way that we cannot tell:
 * later changes that leave values out must not take them from before it.
 */
static void
break_key(CdcRank *rank, const Record *rec)
{
	CdcBytes	key;
	CdcWinner  *w;

	if (record_key(rank, rec, NULL, rank->state->bad_tokens, &key) != NULL)
		return;
	w = find_winner(rank, &key);
	if (w)
		w->broken_by = rec->offset;
}

/* The record at hand is bad: keep its bytes, they are here. */
static CdcBadRecord *
bad_record(CdcRank *rank, Record *rec, const char *column, int sqlerrcode,
		   const char *message)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	CdcOrigin	at = origin_of(rank, rec);
	CdcBadRecord *bad = cdc_rank_bad(rank, &at, column, sqlerrcode, message);

	bad->has_bytes = true;
	bad->key = copy_bytes(&rec->chunk->keys[rec->i]);
	bad->value = copy_bytes(&rec->chunk->values[rec->i]);
	MemoryContextSwitchTo(old);
	break_key(rank, rec);
	return bad;
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
 * The place of a key in the table of typed keys, made if it is new; NULL and
 * *error filled if the key cannot be converted.
 */
static CdcWinner **
typed_entry(CdcRank *rank, CdcWinner *like, const CdcToken *tokens,
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
	ExecStoreVirtualTuple(st->typed_slot);
	entry = LookupTupleHashEntry(st->typed, st->typed_slot, &isnew, NULL);
	if (isnew)
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
		CdcWinner **place = typed_entry(rank, w, w->tokens, &column, &error);

		if (place)
			*place = w;
	}
}

/*
 * Memory that lives as long as the winners.  There are hundreds of thousands of
 * them, and palloc() would round each up to a power of two.
 */
static void *
keep(CdcRankState *st, Size size)
{
	void	   *p;

	size = MAXALIGN(size);
	if (size > st->block_left)
	{
		Size		block = Max(size, 64 * 1024);

		st->block = MemoryContextAllocHuge(st->rows, block);
		st->block_left = block;
	}
	p = st->block;
	st->block += size;
	st->block_left -= size;
	return p;
}

static CdcWinner *
new_winner(CdcRank *rank, const CdcBytes *key)
{
	CdcWinner  *w = keep(rank->state, sizeof(CdcWinner) + key->len);

	memset(w, 0, sizeof(CdcWinner));
	w->key.data = memcpy(w + 1, key->data, key->len);
	w->key.len = key->len;
	w->broken_by = -1;
	if (rank->nwinners == rank->maxwinners)
	{
		rank->maxwinners *= 2;
		rank->winners = repalloc_huge(rank->winners,
									  sizeof(CdcWinner *) * rank->maxwinners);
	}
	rank->winners[rank->nwinners++] = w;
	return w;
}

/*
 * The winner of the record's key; *isnew if the window has none yet.  NULL:
 * the key cannot be converted, and the record was noted as bad.
 */
static CdcWinner *
find_or_make(CdcRank *rank, Record *rec, const CdcBytes *key,
			 const CdcToken *tokens, bool *isnew)
{
	CdcRankState *st = rank->state;
	KeyEntry   *entry = keytable_lookup(st->keys, *key);
	CdcWinner **place = NULL;
	CdcWinner  *w;
	bool		found;

	*isnew = false;
	if (entry)
		return entry->winner;
	if (st->typed == NULL && !key_bytes_decide(rank, tokens))
		type_all_winners(rank);
	if (st->typed)
	{
		CdcWinner	like = {.schema = st->schema,.connector = st->connector};
		CdcConvertError error;
		const char *column = NULL;
		MemoryContext old = MemoryContextSwitchTo(rank->context);

		place = typed_entry(rank, &like, tokens, &column, &error);
		MemoryContextSwitchTo(old);
		if (place == NULL)
		{
			bad_record(rank, rec, column, error.sqlerrcode, error.message);
			return NULL;
		}
	}
	if (place && *place)
		w = *place;
	else
	{
		w = new_winner(rank, key);
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

		entry->key = copy_bytes(key);	/* another spelling of the key */
		MemoryContextSwitchTo(old);
	}
	entry->winner = w;
	return w;
}

/*
 * Give the winner these tokens and this Kafka key, copying what they point to.
 * Tokens may point into the winner's present memory.
 */
static void
set_tokens(CdcRank *rank, CdcWinner *w, const CdcToken *tokens,
		   const CdcBytes *kafka_key)
{
	int			n = rank->target->ncolumns;
	Size		size = MAXALIGN(sizeof(CdcToken) * n) + kafka_key->len;
	char	   *blob = w->blob;
	bool		own = false;
	CdcToken   *to;
	char	   *p;

	for (int i = 0; i < n; i++)
	{
		const char *t = tokens[i].text;

		size += tokens[i].len;
		own |= w->blob && t >= w->blob && t < w->blob + w->blob_size;
	}
	if (own || size > w->blob_size)
		blob = MemoryContextAllocHuge(rank->state->rows, size);
	to = (CdcToken *) blob;
	p = blob + MAXALIGN(sizeof(CdcToken) * n);
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
	if (blob != w->blob)
	{
		if (w->blob)
			pfree(w->blob);
		w->blob = blob;
		w->blob_size = size;
	}
	w->tokens = to;
}

/* Is the record older than the winner, which came from another partition? */
static bool
record_is_older(const Record *rec, const CdcWinner *w)
{
	const CdcChunk *c = rec->chunk;
	Timestamp	ts = c->timestamps ? c->timestamps[rec->i] : DT_NOBEGIN;
	int			cmp;

	if (w->last.partition == c->partition)
		return false;
	if (cdc_position_compare(&rec->change.position, &w->position, &cmp) && cmp != 0)
		return cmp < 0;
	if (rec->change.has_source_ts_ms && w->source_ts_ms != 0 &&
		rec->change.source_ts_ms != w->source_ts_ms)
		return rec->change.source_ts_ms < w->source_ts_ms;
	if (ts != w->kafka_timestamp)
		return ts < w->kafka_timestamp;
	return c->partition < w->last.partition;
}

/* The winner's last change is this record. */
static void
set_record(CdcRank *rank, CdcWinner *w, Record *rec, char op)
{
	const CdcChunk *c = rec->chunk;

	w->op = op;
	w->last = origin_of(rank, rec);
	w->refresh_time = c->refresh_time;
	w->has_ts_ms = rec->change.has_ts_ms;
	w->ts_ms = rec->change.ts_ms;
	w->schema = rank->state->schema;
	w->connector = rank->state->connector;
	w->position = rec->change.position;
	w->source_ts_ms = rec->change.has_source_ts_ms ? rec->change.source_ts_ms : 0;
	w->kafka_timestamp = c->timestamps ? c->timestamps[rec->i] : DT_NOBEGIN;
}

/* Does the row want a value that only the old key's row has? */
static bool
wants_values(const CdcRank *rank, const CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].flags & CDC_JSON_UNAVAILABLE)
			return true;
	return false;
}

/*
 * Fill the unavailable tokens of an arriving row from what is known of the
 * old key's row: its last state in the window, and the target's row.
 */
static void
fill_from_move(CdcRank *rank, CdcToken *tokens, const CdcToken *old_row,
			   const CdcToken *target_row)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (!(tokens[i].flags & CDC_JSON_UNAVAILABLE))
			continue;
		if (old_row && token_is_set(&old_row[i]))
			tokens[i] = old_row[i];
		else if (target_row && token_is_set(&target_row[i]))
			tokens[i] = target_row[i];
		tokens[i].origin = 0;
	}
}

/*
 * What an event left out altogether (see change_key) and the old row does not
 * have either is missing, and gets the column's default.
 */
static void
drop_missing(const CdcRank *rank, CdcToken *tokens)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (tokens[i].kind == CDC_JSON_MISSING)
			tokens[i].flags &= ~CDC_JSON_UNAVAILABLE;
}

/* The target's row of a key given as tokens, as PGTEXT tokens, or NULL. */
static CdcToken *
fetch_target_row(CdcRank *rank, const CdcToken *key_tokens)
{
	if (rank->truncated)
		return NULL;
	return cdc_move_target_row(rank->target, key_tokens, rank->state->schema,
							   rank->state->connector);
}

/*
 * A row arrives under its key and lacks values of the old key's row: take
 * them if the old row has departed already, else from where it is now, and
 * remember what is to be corrected when it departs.
 */
static void
arrive(CdcRank *rank, const CdcBytes *new_key, const CdcBytes *old_key,
	   const CdcToken *old_key_tokens, CdcToken *tokens)
{
	CdcMoves   *moves = rank->state->moves;
	CdcMove    *move = cdc_move_departure(moves, new_key, old_key);
	CdcWinner  *old_winner;
	CdcToken   *row = NULL;

	if (move)
	{
		if (wants_values(rank, tokens))
		{
			if (move->target_row)
				row = fetch_target_row(rank, old_key_tokens);
			fill_from_move(rank, tokens, move->tokens, row);
			drop_missing(rank, tokens);
		}
		move->done = move->changed = true;
		return;
	}
	if (!wants_values(rank, tokens))
		return;
	old_winner = find_winner(rank, old_key);
	if (rank->multi_partition)
	{
		move = cdc_move_add(moves, new_key, old_key, false);
		for (int i = 0; i < rank->target->ncolumns; i++)
			move->wanted[i] = (tokens[i].flags & CDC_JSON_UNAVAILABLE) != 0;
		move->changed = true;
	}
	if (old_winner == NULL || !(old_winner->deleted || old_winner->fresh))
		row = fetch_target_row(rank, old_key_tokens);
	fill_from_move(rank, tokens,
				   old_winner && !old_winner->deleted ? old_winner->tokens : NULL,
				   row);
	drop_missing(rank, tokens);

	/* what is on its way still is missing until then, not a reason to refuse */
	for (int i = 0; move && i < rank->target->ncolumns; i++)
		if (tokens[i].flags & CDC_JSON_UNAVAILABLE)
			memset(&tokens[i], 0, sizeof(CdcToken));
}

/* A later change of a row that has arrived: what it sets is not wanted any more. */
static void
settle_wanted(CdcRank *rank, const CdcBytes *key, const CdcToken *tokens)
{
	CdcMove    *move;
	bool		any = false;

	if (!cdc_moves_any(rank->state->moves))
		return;
	move = cdc_move_arrival(rank->state->moves, key);
	if (move == NULL)
		return;
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		if (tokens == NULL || token_is_set(&tokens[i]))
			move->wanted[i] = false;
		any |= move->wanted[i];
	}
	move->changed = true;
	if (!any)
		move->done = true;
}

/* Number of an origin in the winner's list, to which it is added. */
static uint16
add_origin(CdcRank *rank, CdcWinner *w, const CdcOrigin *origin)
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

/*
 * Bring the wanted values of the old key's row after the row that has arrived
 * under the new key; whatever it was given since then stays.
 */
static void
deliver(CdcRank *rank, Record *rec, const CdcMove *move, CdcToken *tokens)
{
	bool		isnew;
	CdcWinner  *w;
	CdcBytes	no_key = {NULL, 0};
	CdcOrigin	now = origin_of(rank, rec);
	uint16		origin = 0;

	if (move->moved_on)
	{
		cdc_move_forward(rank->state->moves, &rec->rename->key, move->wanted, tokens);
		return;
	}
	w = find_or_make(rank, rec, &rec->rename->key, tokens, &isnew);
	if (w == NULL)
		return;
	if (w->deleted)
	{
		cdc_move_forward(rank->state->moves, &rec->rename->key, move->wanted, tokens);
		return;
	}
	if (isnew)
	{
		set_tokens(rank, w, tokens, &no_key);
		set_record(rank, w, rec, 'u');
		return;
	}
	if (w->norigins > 0)
		origin = add_origin(rank, w, &now);
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		bool		wanted = move->wanted[i] && token_is_set(&tokens[i]);

		rank->state->merged[i] = wanted ? tokens[i] : w->tokens[i];
		if (wanted)
			rank->state->merged[i].origin = origin;
	}
	no_key = w->kafka_key;
	set_tokens(rank, w, rank->state->merged, &no_key);
}

/*
 * The row of old_key leaves for new_key.  w: the winner of the old key before
 * the delete, or NULL if the window has not touched it.
 */
static void
depart(CdcRank *rank, Record *rec, const CdcWinner *w, const CdcBytes *old_key,
	   const CdcToken *old_key_tokens)
{
	CdcMoves   *moves = rank->state->moves;
	RenameHeader *rename = rec->rename;
	CdcMove    *move = cdc_move_arrival(moves, &rename->key);
	bool		tombstone = rec->change.shape == CDC_SHAPE_TOMBSTONE;
	bool		alive = w == NULL || !w->deleted;
	bool		in_target = w == NULL || !(w->deleted || w->fresh);
	CdcToken   *row;
	CdcToken   *tokens;

	if (move && bytes_equal(move->old_key, *old_key))
	{
		/* the create came first: bring the final values after it */
		row = in_target ? fetch_target_row(rank, old_key_tokens) : NULL;
		tokens = palloc0(sizeof(CdcToken) * rank->target->ncolumns);
		for (int i = 0; i < rank->target->ncolumns; i++)
		{
			if (rank->target->columns[i].key_no >= 0)
				tokens[i] = rename->tokens[i];
			else
				tokens[i].flags = CDC_JSON_UNAVAILABLE;
		}
		fill_from_move(rank, tokens, w && alive ? w->tokens : NULL, row);
		for (int i = 0; i < rank->target->ncolumns; i++)
			if (rank->target->columns[i].key_no < 0 && !move->wanted[i])
			{
				memset(&tokens[i], 0, sizeof(CdcToken));
				tokens[i].flags = CDC_JSON_UNAVAILABLE;	/* as the row has it */
			}
		deliver(rank, rec, move, tokens);
		move->done = move->changed = true;
		return;
	}
	/* a tombstone repeats what its delete has said */
	if (!alive || (tombstone && cdc_move_departure(moves, &rename->key, old_key)))
		return;
	move = cdc_move_add(moves, &rename->key, old_key, true);
	move->tokens = cdc_move_copy_tokens(moves, w ? w->tokens : NULL);
	move->old_key_tokens = cdc_move_copy_tokens(moves, old_key_tokens);
	move->schema = w ? w->schema : rank->state->schema;
	move->connector = rank->state->connector;
	move->target_row = in_target;
	move->changed = true;
}

/* Parse one header list; NULL if it says nothing of a key change. */
static RenameHeader *
parse_rename(CdcRank *rank, Jsonb *headers)
{
	CdcRankState *st = rank->state;
	RenameHeader *r = &st->rename;
	uint32		n = JsonContainerIsArray(&headers->root) ? JsonContainerSize(&headers->root) : 0;

	memset(r, 0, sizeof(RenameHeader));
	for (uint32 i = 0; i < n; i++)
	{
		JsonbValue *h = getIthJsonbValueFromContainer(&headers->root, i);
		JsonbValue	name;
		JsonbValue	value;
		bool		is_new;
		CdcDecodeError error;

		if (h->type != jbvBinary || !JsonContainerIsObject(h->val.binary.data) ||
			!getKeyJsonValueFromContainer(h->val.binary.data, "key", 3, &name) ||
			name.type != jbvString || name.val.string.len != 17 ||
			!getKeyJsonValueFromContainer(h->val.binary.data, "value", 5, &value) ||
			value.type != jbvString)
			continue;
		is_new = memcmp(name.val.string.val, "__debezium.newkey", 17) == 0;
		if (!is_new && memcmp(name.val.string.val, "__debezium.oldkey", 17) != 0)
			continue;
		if (cdc_decode_key(st->decoder, value.val.string.val, value.val.string.len,
						   st->scalar_field, st->key_fields, &error))
		{
			MemoryContext old = MemoryContextSwitchTo(rank->context);
			CdcBytes	key;

			r->tokens = palloc0(sizeof(CdcToken) * rank->target->ncolumns);
			spread(rank, st->key_fields, NULL, r->tokens);
			if (make_key(rank, r->tokens, &key) == NULL)
			{
				r->key = copy_bytes(&key);
				r->has_new = is_new;
				r->has_old = !is_new;
				for (int c = 0; c < rank->target->ncolumns; c++)
				{
					CdcBytes	text = {r->tokens[c].text, r->tokens[c].len};

					r->tokens[c].text = copy_bytes(&text).data;
				}
			}
			MemoryContextSwitchTo(old);
		}
	}
	return r;
}

static RenameHeader *
rename_of(CdcRank *rank, const CdcChunk *chunk, int i)
{
	CdcRankState *st = rank->state;
	Jsonb	   *headers = cdc_chunk_headers(chunk, i);

	if (headers == NULL)
		return NULL;
	if (headers != st->last_headers || chunk->first_offset != st->chunk_first ||
		chunk->partition != st->chunk_partition || chunk->epoch != st->chunk_epoch)
	{
		st->chunk_partition = chunk->partition;
		st->chunk_epoch = chunk->epoch;
		st->chunk_first = chunk->first_offset;
		st->last_headers = headers;
		parse_rename(rank, headers);
	}
	return st->rename.has_new || st->rename.has_old ? &st->rename : NULL;
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
			number[o] = add_origin(rank, w, &was[o]);
		tokens[i].origin = number[o];
	}
	pfree(number);
	pfree(was);
}

/*
 * The record's tokens over those of the winner, in state->merged; with the
 * origin of each, if they come from several records.
 */
static void
merge_tokens(CdcRank *rank, CdcWinner *w, Record *rec, const CdcToken *tokens)
{
	CdcToken   *merged = rank->state->merged;
	CdcOrigin	now = origin_of(rank, rec);
	bool		mixed = false;
	uint16		origin;

	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		bool		keep = !token_is_set(&tokens[i]) &&
		w->tokens[i].kind != CDC_JSON_MISSING;

		merged[i] = keep ? w->tokens[i] : tokens[i];
		mixed |= keep;
	}
	if (!mixed)
	{
		w->norigins = 0;
		return;
	}
	if (w->norigins == 0)
		(void) add_origin(rank, w, &w->last);
	origin = add_origin(rank, w, &now);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (merged[i].text == tokens[i].text && merged[i].kind == tokens[i].kind)
			merged[i].origin = origin;
	if (w->norigins > rank->target->ncolumns + 16)
		prune_origins(rank, w, merged);
}

/* Does a change leave out what the winner of its key may have? */
static bool
leaves_out(const CdcRank *rank, const CdcToken *tokens, const CdcWinner *w)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
		if ((tokens[i].flags & CDC_JSON_UNAVAILABLE) ||
			(tokens[i].kind == CDC_JSON_MISSING && w->tokens[i].kind != CDC_JSON_MISSING))
			return true;
	return false;
}

/* A row under this key now has these values, as far as they are told. */
static void
upsert(CdcRank *rank, Record *rec, const CdcBytes *key, CdcToken *tokens, char op)
{
	bool		isnew;
	CdcWinner  *w = find_or_make(rank, rec, key, tokens, &isnew);

	if (w == NULL || (!isnew && record_is_older(rec, w)))
		return;
	if (!isnew && w->broken_by >= 0)
	{
		if (leaves_out(rank, tokens, w))
		{
			int64		broken_by = w->broken_by;

			bad_record(rank, rec, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   CDC_BLOCKED_MESSAGE)->blocked_by = broken_by;
			return;
		}
		w->broken_by = -1;
	}
	settle_wanted(rank, key, tokens);
	if (rec->rename && rec->rename->has_old && !bytes_equal(rec->rename->key, *key))
		arrive(rank, key, &rec->rename->key, rec->rename->tokens, tokens);
	if (!isnew && w->deleted)
	{
		w->deleted = false;
		w->fresh = true;
		w->norigins = 0;
		set_tokens(rank, w, tokens, kafka_key_of(rec));
	}
	else if (!isnew)
	{
		merge_tokens(rank, w, rec, tokens);
		set_tokens(rank, w, rank->state->merged, kafka_key_of(rec));
	}
	else
		set_tokens(rank, w, tokens, kafka_key_of(rec));
	set_record(rank, w, rec, op);
}

/* The row of this key takes along what it still waits for. */
static void
note_moved_on(CdcRank *rank, const CdcBytes *key)
{
	CdcMove    *move = cdc_move_arrival(rank->state->moves, key);

	if (move)
		move->moved_on = move->changed = true;
}

/* The row of this key is gone. */
static void
delete_row(CdcRank *rank, Record *rec, const CdcBytes *key, const CdcToken *tokens,
		   char op)
{
	bool		leaves = rec->rename && rec->rename->has_new &&
	!bytes_equal(rec->rename->key, *key);
	bool		isnew;
	CdcWinner  *w = find_or_make(rank, rec, key, tokens, &isnew);

	if (w == NULL)
		return;
	if (!isnew && record_is_older(rec, w))
	{
		rec->progress->skipped_delete = true;
		return;
	}
	if (!isnew && w->deleted && w->broken_by < 0 &&
		rec->change.shape == CDC_SHAPE_TOMBSTONE)
		return;					/* the delete itself says more */
	if (leaves)
		note_moved_on(rank, key);
	else
		settle_wanted(rank, key, NULL);
	if (leaves && !isnew)
		depart(rank, rec, w, key, tokens);
	w->deleted = true;
	w->fresh = false;
	w->broken_by = -1;
	w->norigins = 0;
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		rank->state->merged[i] = tokens[i];
		if (rank->target->columns[i].key_no < 0)
			memset(&rank->state->merged[i], 0, sizeof(CdcToken));
	}
	set_tokens(rank, w, rank->state->merged, kafka_key_of(rec));
	set_record(rank, w, rec, op);
	if (leaves && isnew)
		depart(rank, rec, NULL, key, tokens);
}

/* Is the key of the before image, as far as it is there, that of the row? */
static bool
before_has_same_key(const CdcRank *rank, const CdcChange *change,
					const CdcToken *tokens)
{
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];
		const CdcToken *now = &tokens[rank->target->keys[k]];
		const CdcToken *then;

		if (c->source != CDC_COLUMN_FIELD)
			continue;
		then = &change->before[c->index];
		if (then->kind != CDC_JSON_MISSING &&
			(then->kind != now->kind || then->len != now->len ||
			 memcmp(then->text, now->text, now->len) != 0))
			return false;
	}
	return true;
}

/*
 * Are two keys of different bytes equal for their types (1.0 and 1.00)?  The
 * values that cannot be converted are not.
 */
static bool
keys_are_equal(CdcRank *rank, const CdcToken *a, const CdcToken *b)
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

/* A key change in one event (u): as its two halves. */
static void
change_key(CdcRank *rank, Record *rec, const CdcBytes *old_key,
		   const CdcBytes *new_key)
{
	CdcRankState *st = rank->state;
	RenameHeader leave = {.has_new = true,.key = *new_key,.tokens = st->tokens};
	RenameHeader come = {.has_old = true,.key = copy_bytes(old_key),.tokens = st->old_tokens};

	/* what the event leaves out stays as it is: it is the same row */
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (st->tokens[i].kind == CDC_JSON_MISSING &&
			rank->target->columns[i].source == CDC_COLUMN_FIELD)
			st->tokens[i].flags |= CDC_JSON_UNAVAILABLE;
	rec->rename = &leave;
	delete_row(rank, rec, &come.key, st->old_tokens, 'u');
	rec->rename = &come;
	upsert(rank, rec, new_key, st->tokens, 'u');
}

/* c, r, u */
static void
add_upsert(CdcRank *rank, Record *rec)
{
	CdcRankState *st = rank->state;
	const char *missing;
	CdcBytes	key;

	if (!rec->change.has_after)
	{
		bad_record(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
				   "change event without an after image");
		return;
	}
	spread(rank, rec->change.after, rec->change.source, st->tokens);
	missing = make_key(rank, st->tokens, &key);
	if (missing)
	{
		bad_record(rank, rec, missing, ERRCODE_NOT_NULL_VIOLATION,
				   "the event has no value for the key column");
		return;
	}
	if (rec->change.op == 'u' && rec->change.has_before &&
		!before_has_same_key(rank, &rec->change, st->tokens))
	{
		CdcBytes	new_key = copy_bytes(&key);
		CdcBytes	old_key;

		spread(rank, rec->change.before, rec->change.source, st->old_tokens);
		if (make_key(rank, st->old_tokens, &old_key) == NULL &&
			!bytes_equal(old_key, new_key) &&
			!keys_are_equal(rank, st->old_tokens, st->tokens))
		{
			change_key(rank, rec, &old_key, &new_key);
			return;
		}
		upsert(rank, rec, &new_key, st->tokens, 'u');
		return;
	}
	upsert(rank, rec, &key, st->tokens, rec->change.op);
}

/* A key that is a JSON string by itself: nothing tells text, digits and base64. */
static bool
key_is_bare_string(const Record *rec)
{
	const CdcBytes *bytes = kafka_key_of(rec);

	return bytes->data && bytes->len > 0 && bytes->data[0] == '"';
}

/* d, and a tombstone, which is a delete without images */
static void
add_delete(CdcRank *rank, Record *rec)
{
	CdcRankState *st = rank->state;
	bool		tombstone = rec->change.shape == CDC_SHAPE_TOMBSTONE;
	const CdcToken *source = tombstone ? NULL : rec->change.source;
	const char *missing;
	CdcBytes	key;

	missing = tombstone || !rec->change.has_before || !key_is_bare_string(rec) ?
		record_key(rank, rec, source, st->tokens, &key) : "";
	if (missing && !tombstone && rec->change.has_before)
	{
		spread(rank, rec->change.before, source, st->tokens);
		missing = make_key(rank, st->tokens, &key);
		/* what its tombstone, which has no before image, could not tell */
		rec->progress->skipped_delete = missing == NULL;
		if (missing)
			missing = record_key(rank, rec, source, st->tokens, &key);
	}
	if (missing)
	{
		if (tombstone && kafka_key_of(rec)->data == NULL)
			return;				/* says nothing */
		bad_record(rank, rec, *missing ? missing : NULL,
				   ERRCODE_NOT_NULL_VIOLATION,
				   tombstone ? "the tombstone's key cannot be read" :
				   "the delete has no value for the key column");
		return;
	}
	delete_row(rank, rec, &key, st->tokens, 'd');
}

/* t: nothing that came before in the topic's only partition lives on. */
static void
add_truncate(CdcRank *rank, Record *rec)
{
	CdcRankState *st = rank->state;

	if (rank->multi_partition)
	{
		bad_record(rank, rec, NULL, ERRCODE_FEATURE_NOT_SUPPORTED,
				   "truncate in a topic with several partitions is not supported");
		return;
	}
	keytable_reset(st->keys);
	st->typed = NULL;
	rank->nwinners = 0;
	MemoryContextReset(st->rows);
	st->block_left = 0;
	cdc_moves_clear(st->moves);
	rank->nbad = 0;				/* what they would have changed is gone */
	rank->truncated = true;
	rank->truncate_offset = rec->offset;
}

/*
 * Is it a re-send of Kafka Connect: older than what the partition has applied,
 * at the source's position and at its clock?  Else note the position.
 */
static bool
is_resent(Record *rec)
{
	CdcProgress *p = rec->progress;
	const CdcChange *c = &rec->change;
	int			cmp;

	if (c->position.kind == CDC_POSITION_NONE || c->snapshot || !c->has_source_ts_ms)
		return false;
	/*
	 * Within one GTID only the file's position tells, which another server
	 * that took over in between counts differently: not older then, since a
	 * wrong skip loses data and a wrong apply only repeats it.
	 */
	if (p->position.kind != CDC_POSITION_NONE &&
		cdc_position_compare(&c->position, &p->position, &cmp) && cmp < 0 &&
		!(c->position.has_gtid && c->position.major == p->position.major) &&
		c->source_ts_ms <= p->source_ts_ms)
	{
		p->resent++;
		p->skipped_delete = c->op == 'd';
		return true;
	}
	p->position = c->position;
	p->source_ts_ms = c->source_ts_ms;
	return false;
}

/*
 * Note connector and embedded schema of the record for its conversions; false
 * if there is a schema that cannot be read.
 */
static bool
note_context(CdcRank *rank, const CdcChange *change)
{
	CdcRankState *st = rank->state;
	const CdcToken *name = &change->connector;
	CdcRowSchema *rs;
	CdcDecodeError error;
	CdcSchema  *schema;
	MemoryContext old;

	if (name->len != st->connector_name.len || name->len > sizeof(st->connector_buf) ||
		memcmp(name->text, st->connector_buf, name->len) != 0)
	{
		st->connector = cdc_connector_of(name);
		st->connector_name.len = name->len;
		memcpy(st->connector_buf, name->text, Min(name->len, sizeof(st->connector_buf)));
	}

	if (change->schema == NULL)
	{
		st->schema = NULL;
		return true;
	}
	for (int i = list_length(st->schemas) - 1; i >= 0; i--)
	{
		rs = list_nth(st->schemas, i);
		if (rs->schema->len == change->schema_len &&
			memcmp(rs->schema->text, change->schema, change->schema_len) == 0)
		{
			st->schema = rs;
			return true;
		}
	}
	schema = cdc_schema_parse(change->schema, change->schema_len, &error);
	if (schema == NULL)
		return false;
	old = MemoryContextSwitchTo(rank->context);
	rs = palloc0(sizeof(CdcRowSchema));
	rs->schema = schema;
	rs->by_column = palloc0(sizeof(CdcSchemaField *) * rank->target->ncolumns);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (rank->target->columns[i].source == CDC_COLUMN_FIELD)
			rs->by_column[i] = cdc_value_schema_field(schema,
													  &rank->target->fields[rank->target->columns[i].index]);
	st->schemas = lappend(st->schemas, rs);
	MemoryContextSwitchTo(old);
	st->schema = rs;
	return true;
}

static void
add_change(CdcRank *rank, Record *rec)
{
	if (is_resent(rec))
		return;
	rank->ordinal++;
	if (!note_context(rank, &rec->change))
	{
		bad_record(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
				   "the event's embedded schema cannot be read");
		return;
	}
	rec->rename = rename_of(rank, rec->chunk, rec->i);
	switch (rec->change.op)
	{
		case 'c':
		case 'r':
		case 'u':
			add_upsert(rank, rec);
			break;
		case 'd':
			add_delete(rank, rec);
			break;
		case 't':
			add_truncate(rank, rec);
			break;
		default:
			rank->ordinal--;	/* m: a message, no row */
			break;
	}
}

/* Add record i of a chunk to the window. */
static void
add_record(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress,
		   TimestampTz since)
{
	const CdcBytes *value = &chunk->values[i];
	CdcDecodeError error;
	Record		rec = {
		.chunk = chunk,
		.i = i,
		.offset = cdc_chunk_offset(chunk, i),
		.progress = progress,
		.since = since,
	};
	bool		after_skipped_delete = progress->skipped_delete;
	MemoryContext old = MemoryContextSwitchTo(rank->context);

	/* Debezium sends a delete's tombstone right after it */
	progress->skipped_delete = false;
	if (!cdc_decode_value(rank->state->decoder, value->data, value->len,
						  &rec.change, &error))
	{
		rank->ordinal++;
		bad_record(rank, &rec, NULL, ERRCODE_INVALID_TEXT_REPRESENTATION,
				   psprintf("%s (byte %u)", error.message, error.offset));
	}
	else
		switch (rec.change.shape)
		{
			case CDC_SHAPE_CHANGE:
				add_change(rank, &rec);
				break;
			case CDC_SHAPE_TOMBSTONE:
				if (after_skipped_delete)
				{
					CdcBytes	key;

					if (record_key(rank, &rec, NULL, rank->state->tokens, &key) == NULL)
						progress->resent++;
					break;
				}
				rank->ordinal++;
				rec.rename = rename_of(rank, chunk, i);
				add_delete(rank, &rec);
				break;
			case CDC_SHAPE_OTHER:
				rank->ordinal++;
				bad_record(rank, &rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
						   "the record is no Debezium change event");
				break;
			default:
				break;			/* heartbeat and the like */
		}
	MemoryContextSwitchTo(old);
}

void
cdc_rank_again(CdcRank *rank, const CdcChunk *chunk, TimestampTz since)
{
	CdcProgress nowhere = {.refresh_time = DT_NOBEGIN};

	add_record(rank, chunk, 0, &nowhere, since);
	rank->again = rank->ordinal;
}

void
cdc_rank_add(CdcRank *rank, const CdcChunk *chunk, int i, CdcProgress *progress)
{
	add_record(rank, chunk, i, progress, 0);
}
