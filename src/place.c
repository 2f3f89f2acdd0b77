/*-------------------------------------------------------------------------
 *
 * place.c
 *	  Where the rows are that a record's own key does not tell of.
 *
 * The target's key may have columns that the source's lacks: the partitioning
 * column, say, of a table whose key is the id alone.  An event without an image of
 * the row as it was does not tell what these columns were, so nor which row of the
 * target goes when they change.  But the columns that the record's key has are the
 * source's key, by which the row can be found.
 *
 * Such an event is noted while the window is ranked.  When that is done, all that
 * were noted are looked up at once, in the target and among the winners.  Where the
 * row is not under the key that the event tells, while there are others, the window
 * is ranked again, and knows these.  So a window pays for it only if rows have moved.
 *
 * A record's key may be less than the source's key, too, if the connector was told
 * so.  Where several rows have it, none is touched, and the record is bad; and a
 * create or a snapshot's row never takes another's place.
 *
 * In the sync's transaction, as the pipeline's owner in its SPI connection, which
 * reads the target.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "merge_sql.h"
#include "place.h"
#include "pseudo.h"
#include "value.h"
#include "window.h"

/* So many rows of one place are looked at; who finds them all has not seen them all. */
#define MAX_ROWS	3

/* What the rows of a source's key are, by the canonical bytes of that. */
typedef struct Place
{
	CdcBytes	key;
	List	   *rows;			/* CdcPlaceKey *, of the target */
	List	   *met;			/* .. that the window as it is ranked now has met */
	bool		has_nulls;		/* the target has a row whose key no event can tell */
	bool		looked_up;
	uint32		hash;
	char		status;
} Place;

#define SH_PREFIX placetable
#define SH_ELEMENT_TYPE Place
#define SH_KEY_TYPE CdcBytes
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) cdc_bytes_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A record whose row is to be looked up. */
typedef struct Want
{
	CdcBytes	place;
	CdcBytes	key;			/* that it tells; no data: it does not */
	CdcToken   *tokens;			/* [ncolumns], of the key's columns */
	const CdcRowSchema *schema;
	CdcConnector connector;
	bool		needed;			/* it waits for the answer */
} Want;

/* ----------
 * What the record's key tells
 * ----------
 */

/*
 * Does the record's own key have some columns of the target's key, but not all?
 * Which?
 */
static bool
key_is_short(CdcRank *rank, const CdcEvent *rec, bool *told)
{
	CdcRankState *st = rank->state;
	const CdcBytes *bytes = cdc_event_key(rec);
	const CdcToken *source = rec->change.shape == CDC_SHAPE_TOMBSTONE ? NULL : rec->change.source;
	CdcDecodeError error;
	int			n = 0;

	if (bytes->data == NULL ||
		!cdc_decode_key(st->decoder, bytes->data, bytes->len, st->scalar_field,
						st->key_fields, &error))
		return false;
	cdc_event_spread(rank, st->key_fields, source, st->bad_tokens);
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		const CdcColumn *c = &rank->target->columns[rank->target->keys[k]];

		told[k] = cdc_token_is_set(&st->bad_tokens[rank->target->keys[k]]);
		n += told[k] && c->source == CDC_COLUMN_FIELD;
		if (!told[k] && c->source != CDC_COLUMN_FIELD)
			return false;
	}
	for (int k = 0; k < rank->target->nkeys; k++)
		if (!told[k])
			return n > 0;
	return false;
}

/* The canonical bytes of a place; false: these tokens do not tell it. */
static bool
place_key(CdcRank *rank, const CdcToken *tokens, CdcBytes *key)
{
	CdcPlaces  *places = rank->places;

	resetStringInfo(&places->buf);
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];

		if (!places->told[k])
			continue;
		if (!cdc_token_is_set(&tokens[at]) || tokens[at].kind == CDC_JSON_NULL ||
			!cdc_winner_append_token(&places->buf, &rank->target->columns[at], &tokens[at]))
			return false;
	}
	key->data = places->buf.data;
	key->len = places->buf.len;
	return true;
}

/*
 * Is the row of the record one whose place may have to be looked up?  *same: the
 * record's key has the columns that those before had.
 */
static bool
begin_place(CdcRank *rank, const CdcEvent *rec, bool *same)
{
	CdcPlaces  *places = rank->places;
	int			n = rank->target->nkeys;
	bool	   *told = palloc(n);
	bool		is_short = key_is_short(rank, rec, told);

	*same = true;
	if (is_short && places->context == NULL)
	{
		MemoryContext old;

		places->context = AllocSetContextCreate(places->parent, "cdcsync places",
												ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(places->context);
		places->told = memcpy(palloc(n), told, n);
		initStringInfo(&places->buf);
		MemoryContextSwitchTo(old);
	}
	else if (is_short)
		*same = memcmp(places->told, told, n) == 0;
	pfree(told);
	return is_short;
}

/* Copies of the tokens of a key's columns, in the current memory context. */
static CdcToken *
copy_key_tokens(const CdcRank *rank, const CdcToken *tokens)
{
	CdcToken   *copy = palloc0(sizeof(CdcToken) * rank->target->ncolumns);

	for (int k = 0; k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];

		copy[at] = tokens[at];
		if (tokens[at].text)
			copy[at].text = memcpy(palloc(Max(tokens[at].len, 1)), tokens[at].text,
								   tokens[at].len);
	}
	return copy;
}

static void
want(CdcRank *rank, const CdcToken *tokens, const CdcBytes *key, const CdcBytes *place,
	 bool needed)
{
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	Want	   *w = palloc0(sizeof(Want));

	w->place = cdc_copy_bytes(place);
	if (key)
		w->key = cdc_copy_bytes(key);
	w->tokens = copy_key_tokens(rank, tokens);
	w->schema = rank->state->schema;
	w->connector = rank->state->connector;
	w->needed = needed;
	rank->places->wants = lappend(rank->places->wants, w);
	MemoryContextSwitchTo(old);
}

/* ----------
 * While a window is ranked
 * ----------
 */

void
cdc_places_begin(CdcPlaces *places)
{
	placetable_iterator it;
	Place	   *p;

	places->wants = NIL;
	places->asked = false;
	if (places->table == NULL)
		return;
	placetable_start_iterate(places->table, &it);
	while ((p = placetable_iterate(places->table, &it)) != NULL)
		p->met = NIL;
}

void
cdc_places_end(CdcPlaces *places)
{
	if (places->context)
		MemoryContextDelete(places->context);
}

/* Is the winner of this key, however it is spelled, among these? */
static bool
has_met(CdcRank *rank, const List *keys, const CdcBytes *key, const CdcWinner *w)
{
	ListCell   *lc;

	foreach(lc, keys)
	{
		const CdcPlaceKey *k = lfirst(lc);

		if (cdc_bytes_equal(k->key, *key) || cdc_winner_find_row(rank, &k->key, k->tokens) == w)
			return true;
	}
	return false;
}

void
cdc_place_meet(CdcRank *rank, const CdcWinner *w, const CdcBytes *key, const CdcToken *tokens)
{
	CdcBytes	at;
	Place	   *p;
	CdcPlaceKey *met;
	MemoryContext old;

	if (!place_key(rank, tokens, &at) ||
		(p = placetable_lookup(rank->places->table, at)) == NULL)
		return;
	if (has_met(rank, p->rows, key, w) || has_met(rank, p->met, key, w))
		return;
	old = MemoryContextSwitchTo(rank->context);
	met = palloc0(sizeof(CdcPlaceKey));
	met->key = cdc_copy_bytes(key);
	met->tokens = copy_key_tokens(rank, tokens);
	p->met = lappend(p->met, met);
	MemoryContextSwitchTo(old);
}

/*
 * Of several partitions, is the record from after the last truncate, which may be still
 * to come?
 */
static bool
is_after_truncate(const CdcRank *rank, const CdcEvent *rec)
{
	CdcOrigin	now;

	if (!rank->places->has_truncate)
		return false;
	cdc_event_get_origin(rank, rec, &now);
	return !cdc_origin_older(&now, &rank->places->truncate);
}

/*
 * Is there a row under this key, as far as the window has come?  after: for a record
 * from after the last truncate.
 */
static bool
is_live(CdcRank *rank, const CdcPlaceKey *k, bool after, CdcWinner **winner)
{
	*winner = cdc_winner_find_row(rank, &k->key, k->tokens);
	if (*winner)
		return !(*winner)->deleted &&
			!(after && cdc_origin_older(&(*winner)->last, &rank->places->truncate));
	return k->in_target && !(rank->truncated && !rank->multi_partition);
}

/*
 * Of several partitions, a truncate leaves the rows that are newer.  Has the window made
 * one of these after it, so that the target's were gone?
 */
static bool
is_made_anew(CdcRank *rank, const List *keys, bool after)
{
	ListCell   *lc;
	CdcWinner  *w;

	foreach(lc, keys)
		if (is_live(rank, lfirst(lc), after, &w) && w)
			return true;
	return false;
}

/* Is the row of this key there, of a place that has more rows than were looked at? */
static bool
is_unseen_row(CdcRank *rank, const Place *p, const CdcBytes *key, const CdcToken *tokens)
{
	return list_length(p->rows) >= MAX_ROWS && cdc_winner_find_row(rank, key, tokens) == NULL &&
		!rank->truncated &&
		cdc_move_target_row(rank->target, tokens, rank->state->schema,
							rank->state->connector) != NULL;
}

/* key: that the record tells, or NULL */
static CdcPlaced
resolve(CdcRank *rank, const CdcEvent *rec, const Place *p, const CdcToken *tokens,
		const CdcBytes *key, const CdcPlaceKey **other)
{
	List	   *all = list_concat_copy(p->rows, p->met);
	CdcWinner  *winner = NULL;
	ListCell   *lc;
	int			n = 0;
	bool		after = is_after_truncate(rank, rec);
	bool		anew = (rank->truncated || after) && is_made_anew(rank, all, after);

	foreach(lc, all)
	{
		const CdcPlaceKey *k = lfirst(lc);
		CdcWinner  *w;

		if (!is_live(rank, k, after, &w) || (anew && w == NULL))
			continue;
		if (key && (cdc_bytes_equal(k->key, *key) ||
					cdc_winner_keys_equal(rank, k->tokens, tokens)))
		{
			if (!rec->old_key)
				return CDC_PLACED_HERE;
			continue;
		}
		n++;
		*other = k;
		winner = w;
	}
	if (p->has_nulls && !anew && !(rank->truncated && !rank->multi_partition))
		return CDC_PLACED_UNKNOWN;
	if (n == 0)
		return key && !rec->old_key ? CDC_PLACED_HERE : CDC_PLACED_NOWHERE;
	if (key && !rec->old_key && is_unseen_row(rank, p, key, tokens))
		return CDC_PLACED_HERE;
	/*
	 * What comes late, or out of quarantine, may be older than the other row; but
	 * what comes out of there comes in its order.
	 */
	if (n > 1 ||
		(rec->since != 0 && !rec->old_key && !(winner && winner->last.since != 0)) ||
		(rank->multi_partition && winner && cdc_event_is_older(rank, rec, winner)))
		return CDC_PLACED_UNKNOWN;
	return CDC_PLACED_ELSEWHERE;
}

CdcPlaced
cdc_place_find(CdcRank *rank, const CdcEvent *rec, const CdcToken *tokens,
			   const CdcBytes *key, const CdcPlaceKey **other)
{
	CdcPlaces  *places = rank->places;
	CdcPlaced	simply = key && !rec->old_key ? CDC_PLACED_HERE : CDC_PLACED_LATER;
	CdcWinner  *w = key ? cdc_winner_find(rank, key) : NULL;
	Place	   *p;
	CdcBytes	at;
	bool		same;

	/* the row that we know of by this key; where it was before, the window has asked */
	if (places->asked && places->table == NULL && !places->has_truncate &&
		w && !w->deleted && !rec->old_key)
		return CDC_PLACED_HERE;
	places->asked = true;
	if (!begin_place(rank, rec, &same))
		return CDC_PLACED_HERE;
	if (!same || !place_key(rank, tokens, &at))
		return CDC_PLACED_UNKNOWN;
	p = places->table ? placetable_lookup(places->table, at) : NULL;
	if (p)
		return resolve(rank, rec, p, tokens, key, other);
	if (simply == CDC_PLACED_LATER || w == NULL || w->deleted || places->has_truncate)
		want(rank, tokens, rec->old_key ? NULL : key, &at, simply == CDC_PLACED_LATER);
	return simply;
}

const char *
cdc_place_unknown(CdcRank *rank, const CdcEvent *rec)
{
	const CdcTarget *target = rank->target;
	bool	   *told = palloc0(target->nkeys);
	const char *lacks = "";

	(void) key_is_short(rank, rec, told);
	for (int k = target->nkeys - 1; k >= 0; k--)
		if (!told[k])
			lacks = target->columns[target->keys[k]].name;
	return psprintf("the event does not tell which row it is about: its record's key lacks the column \"%s\" of the target's key, and the target has other rows of that key",
					lacks);
}

/* ----------
 * When it has been ranked
 * ----------
 */

static Place *
make_place(CdcPlaces *places, const CdcBytes *key)
{
	MemoryContext old = MemoryContextSwitchTo(places->context);
	Place	   *p;
	bool		found;

	if (places->table == NULL)
		places->table = placetable_create(places->context, 64, NULL);
	p = placetable_lookup(places->table, *key);
	if (p == NULL)
	{
		CdcBytes	copy = cdc_copy_bytes(key);

		p = placetable_insert(places->table, copy, &found);
		p->rows = p->met = NIL;
		p->has_nulls = p->looked_up = false;
	}
	MemoryContextSwitchTo(old);
	return p;
}

/* A row of the target, whose key is that of row n of the SPI result. */
static void
add_row(CdcRank *rank, const Want *w, uint64 n)
{
	CdcPlaces  *places = rank->places;
	const CdcTarget *target = rank->target;
	Place	   *p = make_place(places, &w->place);
	MemoryContext old = MemoryContextSwitchTo(places->context);
	CdcPlaceKey *row = palloc0(sizeof(CdcPlaceKey));
	ListCell   *lc;
	CdcBytes	key;

	row->tokens = copy_key_tokens(rank, w->tokens);
	row->in_target = true;
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];
		CdcToken   *t = &row->tokens[target->keys[k]];

		if (places->told[k])
			continue;			/* spelled as the source does */
		memset(t, 0, sizeof(CdcToken));
		t->text = SPI_getvalue(SPI_tuptable->vals[n], SPI_tuptable->tupdesc, k + 2);
		if (t->text == NULL)
		{
			p->has_nulls = true;
			MemoryContextSwitchTo(old);
			return;
		}
		t->len = strlen(t->text);
		t->kind = CDC_TOKEN_PGTEXT;
		if (c->typid == INT2OID || c->typid == INT4OID || c->typid == INT8OID)
		{
			t->kind = CDC_JSON_NUMBER;
			t->flags = CDC_JSON_INTEGER;
		}
		else if (c->typid == TEXTOID || c->typid == VARCHAROID)
			t->kind = CDC_JSON_STRING;
	}
	MemoryContextSwitchTo(old);
	if (cdc_winner_key(rank, row->tokens, &key) != NULL)
		return;
	foreach(lc, p->rows)
		if (cdc_bytes_equal(((CdcPlaceKey *) lfirst(lc))->key, key))
			return;
	old = MemoryContextSwitchTo(places->context);
	row->key = cdc_copy_bytes(&key);
	p->rows = lappend(p->rows, row);
	MemoryContextSwitchTo(old);
}

/* The condition that a row of the target is one of the source's. */
static char *
live_condition(const CdcTarget *target, const char *alias)
{
	switch (target->mode)
	{
		case CDC_MODE_HISTORY:
			return psprintf(" AND %s", cdc_sql_column(alias, cdc_target_pseudo(target, CDC_COLUMN_CURRENT)));
		case CDC_MODE_SOFT_DELETE:
			return psprintf(" AND %s IS NULL",
							cdc_sql_column(alias, cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT)));
		default:
			return "";
	}
}

/*
 * The numbers of the records whose place has a row, but not the one that they tell;
 * or (rows), of each the rows of its place.
 */
static char *
lookup_sql(const CdcRank *rank, bool rows)
{
	const CdcTarget *target = rank->target;
	const char *table = cdc_qualified_name(target->relid);
	StringInfoData arrays;
	StringInfoData names;
	StringInfoData keys;
	StringInfoData place;
	StringInfoData own;

	initStringInfo(&arrays);
	initStringInfo(&names);
	initStringInfo(&keys);
	initStringInfo(&place);
	initStringInfo(&own);
	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];
		const char *equality = cdc_sql_equality(c->typid);

		appendStringInfo(&arrays, "%s$%d", k ? ", " : "", k + 1);
		appendStringInfo(&names, "c%d, ", k + 1);
		appendStringInfo(&keys, "%s%s", k ? ", " : "", cdc_sql_column("t", c));
		appendStringInfo(&own, "%s%s %s w.c%d", k ? " AND " : "", cdc_sql_column("o", c),
						 equality, k + 1);
		if (rank->places->told[k])
			appendStringInfo(&place, "%s%s %s w.c%d", place.len ? " AND " : "",
							 cdc_sql_column("t", c), equality, k + 1);
	}
	if (rows)
		return psprintf("SELECT w.n, k.* FROM unnest(%s) WITH ORDINALITY AS w (%sn), "
						"LATERAL (SELECT %s FROM %s t WHERE %s%s LIMIT %d) k",
						arrays.data, names.data, keys.data, table, place.data,
						live_condition(target, "t"), MAX_ROWS);
	return psprintf("SELECT w.n FROM unnest(%s) WITH ORDINALITY AS w (%sn) "
					"WHERE NOT EXISTS (SELECT FROM %s o WHERE %s%s) "
					"AND EXISTS (SELECT FROM %s t WHERE %s%s)",
					arrays.data, names.data, table, own.data, live_condition(target, "o"),
					table, place.data, live_condition(target, "t"));
}

/* The keys that records tell, as arrays by column; those that cannot be converted NULL. */
static Datum *
want_arrays(const CdcRank *rank, const List *wants, Oid *types)
{
	const CdcTarget *target = rank->target;
	int			n = list_length(wants);
	Datum	   *arrays = palloc(sizeof(Datum) * target->nkeys);
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(n);
	int			lb = 1;

	for (int k = 0; k < target->nkeys; k++)
	{
		int			at = target->keys[k];
		const CdcColumn *c = &target->columns[at];
		int16		len;
		bool		byval;
		char		align;
		CdcConvertError error;

		for (int i = 0; i < n; i++)
		{
			const Want *w = list_nth(wants, i);

			nulls[i] = !cdc_token_is_set(&w->tokens[at]) ||
				(w->key.data == NULL && !rank->places->told[k]) ||
				!cdc_value_convert(c, &w->tokens[at], w->schema, at, w->connector,
								   &values[i], &nulls[i], &error) || nulls[i];
		}
		get_typlenbyvalalign(c->typid, &len, &byval, &align);
		types[k] = get_array_type(c->typid);
		arrays[k] = PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lb, c->typid,
													   len, byval, align));
	}
	return arrays;
}

/* Winners of the window that share a place with a record, under another key. */
static void
look_up_winners(CdcRank *rank)
{
	CdcPlaces  *places = rank->places;
	MemoryContext scratch = AllocSetContextCreate(rank->context, "cdcsync wants",
												  ALLOCSET_DEFAULT_SIZES);
	placetable_hash *wanted = placetable_create(scratch, list_length(places->wants), NULL);
	CdcToken   *tokens = palloc0(sizeof(CdcToken) * rank->target->ncolumns);
	ListCell   *lc;
	bool		found;

	foreach(lc, places->wants)
	{
		Want	   *w = lfirst(lc);
		Place	   *p = placetable_insert(wanted, w->place, &found);
		MemoryContext old = MemoryContextSwitchTo(scratch);

		if (!found)
			p->rows = p->met = NIL;
		p->rows = lappend(p->rows, w);
		MemoryContextSwitchTo(old);
		if (w->needed)
			(void) make_place(places, &w->place);
	}
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcBytes	at;
		Place	   *p;

		cdc_winner_key_tokens(rank, &rank->winners[i]->key, tokens);
		if (!place_key(rank, tokens, &at) || (p = placetable_lookup(wanted, at)) == NULL)
			continue;
		foreach(lc, p->rows)
		{
			const Want *w = lfirst(lc);

			if (w->key.data && !cdc_bytes_equal(w->key, rank->winners[i]->key))
			{
				(void) make_place(places, &w->place);
				break;
			}
		}
	}
	MemoryContextDelete(scratch);
}

/* Those of the records whose place was made, one of each place. */
static List *
wants_of_places(const CdcPlaces *places)
{
	List	   *wants = NIL;
	ListCell   *lc;

	foreach(lc, places->wants)
	{
		Want	   *w = lfirst(lc);
		Place	   *p = places->table ? placetable_lookup(places->table, w->place) : NULL;

		if (p == NULL || p->looked_up)
			continue;
		p->looked_up = true;
		wants = lappend(wants, w);
	}
	return wants;
}

static uint64
run_lookup(const CdcRank *rank, const List *wants, bool rows)
{
	Oid		   *types = palloc(sizeof(Oid) * rank->target->nkeys);
	Datum	   *arrays = want_arrays(rank, wants, types);

	return cdc_spi_run(lookup_sql(rank, rows), rank->target->nkeys, types, arrays, NULL, 0);
}

/* The record that row n of the SPI result is of. */
static const Want *
want_of_row(const List *wants, uint64 n)
{
	bool		isnull;

	return list_nth(wants, DatumGetInt64(cdc_spi_value(n, 1, &isnull)) - 1);
}

bool
cdc_places_look_up(CdcRank *rank)
{
	CdcPlaces  *places = rank->places;
	MemoryContext old = MemoryContextSwitchTo(rank->context);
	bool		late = rank->truncated && rank->multi_partition && places->told &&
	!places->has_truncate;
	List	   *wants;
	uint64		n;

	if (late)
	{
		places->has_truncate = true;
		places->truncate = rank->truncated_at;
	}
	if (places->wants == NIL)
		return late;
	look_up_winners(rank);
	n = run_lookup(rank, places->wants, false);
	for (uint64 i = 0; i < n; i++)
		(void) make_place(places, &want_of_row(places->wants, i)->place);
	SPI_freetuptable(SPI_tuptable);
	wants = wants_of_places(places);
	if (wants != NIL)
	{
		n = run_lookup(rank, wants, true);
		for (uint64 i = 0; i < n; i++)
			add_row(rank, want_of_row(wants, i), i);
		SPI_freetuptable(SPI_tuptable);
	}
	MemoryContextSwitchTo(old);
	return wants != NIL || late;
}
