/*-------------------------------------------------------------------------
 *
 * quarantine_key.c
 *	  What a single record says, apart from any window: of which row it is, what
 *	  it sets, and where it stands at the source.
 *
 * That is asked of records in quarantine, and of winners that may belong to
 * them.  A key is known by a hash.  The server's own hashes are good for hash
 * tables, but not to tell keys apart: 1 and -1 have one, and so have many
 * bigints.  For the types whose bytes decide, the bytes are hashed; for others
 * equal hashes are a reason to compare the keys.
 *
 * Runs as the current user, whose types' functions may be called; scratch memory
 * is that of the window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "value.h"
#include "window.h"

/* Does the column's type tell equality by its bytes? */
static bool
bytes_decide(const CdcColumn *c)
{
	switch (c->typid)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case BYTEAOID:
			return true;
		case TEXTOID:
		case VARCHAROID:
			return !OidIsValid(c->collation) || get_collation_isdeterministic(c->collation);
		default:
			return false;
	}
}

bool
cdc_rank_hash_is_key(const CdcTarget *target)
{
	for (int k = 0; k < target->nkeys; k++)
		if (!bytes_decide(&target->columns[target->keys[k]]))
			return false;
	return true;
}

/* The bytes of a value whose type tells equality by them. */
static uint64
hash_bytes_of(const TypeCacheEntry *type, Datum value)
{
	int64		number;

	if (type->typlen == -1)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		return hash_bytes_extended((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), 0);
	}
	/* but an int8 where it is passed by reference, too */
	if (type->typlen > (int) sizeof(number))
		return hash_bytes_extended((unsigned char *) DatumGetPointer(value), type->typlen, 0);
	number = type->typlen == 8 ? DatumGetInt64(value) :
		type->typlen == 4 ? DatumGetInt32(value) :
		type->typlen == 2 ? DatumGetInt16(value) : DatumGetBool(value);
	return hash_bytes_extended((unsigned char *) &number, sizeof(number), 0);
}

static uint64
hash_value(const CdcColumn *c, Datum value)
{
	TypeCacheEntry *type = lookup_type_cache(c->typid, TYPECACHE_HASH_PROC_FINFO |
											 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

	if (bytes_decide(c))
		return hash_bytes_of(type, value);
	if (OidIsValid(type->hash_extended_proc))
		return DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo,
												c->collation, value, UInt64GetDatum(0)));
	return DatumGetUInt32(FunctionCall1Coll(&type->hash_proc_finfo, c->collation, value));
}

bool
cdc_rank_key_hash(CdcRank *rank, const CdcToken *tokens, const CdcRowSchema *schema,
				  CdcConnector connector, uint64 *hash)
{
	CdcRankState *st = rank->state;
	MemoryContext old = MemoryContextSwitchTo(st->key_context);
	bool		ok = rank->target->nkeys > 0;	/* else no two records belong together */

	*hash = 0;
	for (int k = 0; ok && k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];
		const CdcColumn *c = &rank->target->columns[at];
		CdcConvertError error;
		Datum		value;
		bool		isnull;

		ok = cdc_value_convert(c, &tokens[at], schema, at, connector, &value,
							   &isnull, &error) && !isnull;
		if (ok)
			*hash = hash_combine64(*hash, hash_value(c, value));
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(st->key_context);
	return ok;
}

/* Decode a record; false if it is no change of a row, or cannot be read. */
static bool
decode_record(CdcRank *rank, const CdcRecordBytes *record, CdcChange *change)
{
	CdcDecodeError error;

	return cdc_decode_value(rank->state->decoder, record->value.data,
							record->value.len, change, &error) &&
		change->shape == CDC_SHAPE_CHANGE && cdc_event_note_context(rank, change, NULL) != CDC_CONTEXT_UNREADABLE;
}

/* The key of the row that the record is about, in bad_tokens; false: unknown. */
static bool
row_key(CdcRank *rank, const CdcRecordBytes *record, bool old_key)
{
	CdcToken   *tokens = rank->state->bad_tokens;
	CdcChunk	chunk = {.nrecords = 1,.keys = &record->key,.values = &record->value};
	CdcEvent	rec = {.chunk = &chunk};
	CdcChange  *change = &rec.change;
	CdcBytes	key;

	if (decode_record(rank, record, change) &&
		(old_key ? change->has_before : change->has_after))
	{
		cdc_event_spread(rank, old_key ? change->before : change->after,
						 change->source, tokens);
		if (cdc_winner_key(rank, tokens, &key) == NULL)
			return true;
	}
	return cdc_event_record_key(rank, &rec, NULL, tokens, &key) == NULL;
}

bool
cdc_rank_record_hash(CdcRank *rank, const CdcRecordBytes *record, bool old_key,
					 uint64 *hash)
{
	CdcRankState *st = rank->state;

	return row_key(rank, record, old_key) &&
		cdc_rank_key_hash(rank, st->bad_tokens, st->schema, st->connector, hash);
}

bool
cdc_rank_record_source(CdcRank *rank, const CdcRecordBytes *record, CdcToken *tokens)
{
	CdcChange	change;

	if (!decode_record(rank, record, &change))
		return false;
	cdc_event_spread(rank, NULL, change.source, tokens);
	return true;
}

bool
cdc_rank_record_is_of(CdcRank *rank, const CdcRecordBytes *record, bool old_key,
					  const CdcWinner *winner)
{
	CdcRankState *st = rank->state;
	MemoryContext old;
	bool		same = true;

	if (!row_key(rank, record, old_key))
		return false;
	old = MemoryContextSwitchTo(st->key_context);
	for (int k = 0; same && k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];
		const CdcColumn *c = &rank->target->columns[at];
		TypeCacheEntry *type = lookup_type_cache(c->typid, TYPECACHE_EQ_OPR_FINFO);
		CdcConvertError error;
		Datum		a;
		Datum		b;
		bool		isnull;

		same = cdc_value_convert(c, &st->bad_tokens[at], st->schema, at, st->connector,
								 &a, &isnull, &error) && !isnull &&
			cdc_value_convert(c, &winner->tokens[at], winner->schema, at,
							  winner->connector, &b, &isnull, &error) && !isnull &&
			DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, c->collation, a, b));
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(st->key_context);
	return same;
}

bool
cdc_rank_record_sets_more(CdcRank *rank, const CdcRecordBytes *record,
						  const CdcToken *tokens)
{
	CdcToken   *its = rank->state->bad_tokens;
	CdcChange	change;

	if (!decode_record(rank, record, &change) || !change.has_after)
		return false;
	cdc_event_spread(rank, change.after, change.source, its);
	for (int i = 0; i < rank->target->ncolumns; i++)
		if (cdc_token_is_set(&its[i]) && !cdc_token_is_set(&tokens[i]))
			return true;
	return false;
}

void
cdc_rank_record_position(CdcRank *rank, const CdcRecordBytes *record,
						 CdcPosition *position, int64 *source_ts_ms)
{
	CdcChange	change;

	memset(position, 0, sizeof(*position));
	*source_ts_ms = 0;
	if (!decode_record(rank, record, &change))
		return;
	*position = change.position;
	if (change.has_source_ts_ms)
		*source_ts_ms = change.source_ts_ms;
}
