/*-------------------------------------------------------------------------
 *
 * move.c
 *	  Key changes: the row that leaves one key and arrives under another.
 *
 * Nearly always both halves are in one window and nothing is stored.  What is
 * stored in cdcsync.moved is text as the types' own output gives it, so that it
 * outlives a change of the target's definition.
 *
 * Runs in the caller's transaction; reads the target as the current user,
 * writes the catalog as its owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "merge_sql.h"
#include "move.h"
#include "value.h"

/*
 * Moves are found by both keys and the source position, which the two halves
 * share: rows can leave for one key, even from one key, more than once before
 * the first arrives there.
 */
typedef struct MoveEntry
{
	CdcBytes	key;			/* see table_key() */
	CdcMove    *move;
	uint32		hash;
	char		status;
} MoveEntry;

#define SH_PREFIX movetable
#define SH_ELEMENT_TYPE MoveEntry
#define SH_KEY_TYPE CdcBytes
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).data, (k).len)
#define SH_EQUAL(tb, a, b) ((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct CdcMoves
{
	const char *pipeline;
	const CdcTarget *target;
	MemoryContext context;
	List	   *moves;			/* CdcMove *, in the order they were added */
	movetable_hash *by_key;		/* the last one of each key */
};

static CdcBytes
copy_key(CdcMoves *moves, const CdcBytes *key)
{
	CdcBytes	copy = {MemoryContextAlloc(moves->context, Max(key->len, 1)), key->len};

	memcpy((char *) copy.data, key->data, key->len);
	return copy;
}

static int
column_number(const CdcTarget *target, const char *name)
{
	for (int i = 0; i < target->ncolumns; i++)
		if (strcmp(target->columns[i].name, name) == 0)
			return i;
	return -1;
}

/* One row of cdcsync.moved, which is row of the SPI result. */
static void
load_move(CdcMoves *moves, uint64 row)
{
	const CdcTarget *target = moves->target;
	bool		isnull;
	bytea	   *new_key = DatumGetByteaPP(cdc_spi_value(row, 1, &isnull));
	bytea	   *old_key = DatumGetByteaPP(cdc_spi_value(row, 2, &isnull));
	bool		departed = DatumGetBool(cdc_spi_value(row, 3, &isnull));
	CdcBytes	nk = {VARDATA_ANY(new_key), VARSIZE_ANY_EXHDR(new_key)};
	CdcBytes	ok = {VARDATA_ANY(old_key), VARSIZE_ANY_EXHDR(old_key)};
	CdcPosition position = {0};
	CdcMove    *move;
	Datum	   *names;
	Datum	   *values = NULL;
	bool	   *nulls = NULL;
	int			n;
	int			nvalues = 0;
	Datum		d = cdc_spi_value(row, 7, &isnull);

	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &position);
	move = cdc_move_add(moves, &nk, &ok, &position, departed);
	move->stored_departed = departed;
	if (departed && DatumGetBool(cdc_spi_value(row, 8, &isnull)))
		cdc_move_join(moves, move);
	for (int i = 0; !move->arrived && i < target->ncolumns; i++)
		move->wanted[i] = target->columns[i].key_no < 0;
	d = cdc_spi_value(row, 5, &isnull);
	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(d), TEXTOID, -1, false, TYPALIGN_INT,
						  &values, &nulls, &nvalues);
	deconstruct_array(DatumGetArrayTypeP(cdc_spi_value(row, 4, &isnull)), TEXTOID,
					  -1, false, TYPALIGN_INT, &names, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		int			at = column_number(target, TextDatumGetCString(names[i]));
		MemoryContext old;

		if (at < 0)
			continue;
		move->wanted[at] = move->arrived;
		if (move->arrived)
			continue;
		old = MemoryContextSwitchTo(moves->context);
		if (i >= nvalues || nulls[i])
			move->tokens[at].kind = CDC_JSON_NULL;
		else
		{
			move->tokens[at].kind = CDC_TOKEN_PGTEXT;
			move->tokens[at].text = TextDatumGetCString(values[i]);
			move->tokens[at].len = strlen(move->tokens[at].text);
		}
		MemoryContextSwitchTo(old);
	}
	d = cdc_spi_value(row, 6, &isnull);
	move->moved_on = !isnull;
	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &move->moved_on_at);
	move->stored = true;
}

CdcMoves *
cdc_moves_load(const char *pipeline, const CdcTarget *target)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT new_key, old_key, departed, columns, \"values\", moved_on, source_position, arrived "
		"FROM cdcsync.moved WHERE pipeline = $1 ORDER BY moved_at",
		.nargs = 1,
		.types = types
	};
	CdcMoves   *moves = palloc0(sizeof(CdcMoves));
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	uint64		n;

	moves->pipeline = pipeline;
	moves->target = target;
	moves->context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync moves",
										   ALLOCSET_DEFAULT_SIZES);
	moves->by_key = movetable_create(moves->context, 64, NULL);
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 i = 0; i < n; i++)
		load_move(moves, i);
	cdc_spi_end(&spi);
	return moves;
}

/*
 * What a move is found by, in the current context: kind 'd'eparture or
 * 'a'rrival, both keys and the position; or 'l', the last arrival under new_key.
 */
static CdcBytes
table_key(char kind, const CdcBytes *new_key, const CdcBytes *old_key,
		  const CdcPosition *position)
{
	StringInfoData buf;
	char		text[CDC_POSITION_TEXT];
	CdcBytes	key;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, kind);
	appendBinaryStringInfo(&buf, (const char *) &new_key->len, sizeof(uint32));
	appendBinaryStringInfo(&buf, new_key->data, new_key->len);
	if (kind != 'l')
	{
		cdc_position_print(position, text);
		appendStringInfoString(&buf, text);
		appendStringInfoChar(&buf, '\0');
		appendBinaryStringInfo(&buf, old_key->data, old_key->len);
	}
	key.data = buf.data;
	key.len = buf.len;
	return key;
}

static CdcMove *
find_move(CdcMoves *moves, char kind, const CdcBytes *new_key,
		  const CdcBytes *old_key, const CdcPosition *position)
{
	CdcBytes	key;
	MoveEntry  *entry;

	if (moves->moves == NIL)
		return NULL;
	key = table_key(kind, new_key, old_key, position);
	entry = movetable_lookup(moves->by_key, key);
	pfree((char *) key.data);
	return entry && !entry->move->done ? entry->move : NULL;
}

CdcMove *
cdc_move_departure(CdcMoves *moves, const CdcBytes *new_key,
				   const CdcBytes *old_key, const CdcPosition *position)
{
	CdcMove    *move = find_move(moves, 'd', new_key, old_key, position);

	return move && !move->arrived ? move : NULL;
}

CdcMove *
cdc_move_arrival(CdcMoves *moves, const CdcBytes *new_key,
				 const CdcBytes *old_key, const CdcPosition *position)
{
	return find_move(moves, 'a', new_key, old_key, position);
}

CdcMove *
cdc_move_last_arrival(CdcMoves *moves, const CdcBytes *new_key)
{
	return find_move(moves, 'l', new_key, NULL, NULL);
}

/* Enter a move into the table; returns the one that had its place, or NULL. */
static CdcMove *
enter_move(CdcMoves *moves, CdcMove *move, char kind)
{
	MemoryContext old = MemoryContextSwitchTo(moves->context);
	CdcBytes	key = table_key(kind, &move->new_key, &move->old_key, &move->position);
	bool		found;
	MoveEntry  *entry = movetable_insert(moves->by_key, key, &found);
	CdcMove    *before = found ? entry->move : NULL;

	entry->key = key;
	entry->move = move;
	MemoryContextSwitchTo(old);
	return before;
}

/* Is the one known to be at a later position than the other? */
static bool
is_later(const CdcPosition *a, const CdcPosition *b)
{
	int			cmp;

	return cdc_position_compare(a, b, &cmp) && cmp > 0;
}

/* .. or is it the same, or do both have none? */
static bool
same_position(const CdcPosition *a, const CdcPosition *b)
{
	int			cmp;

	return cdc_position_compare(a, b, &cmp) ? cmp == 0 :
		a->kind == CDC_POSITION_NONE && b->kind == CDC_POSITION_NONE;
}

/* Put an arrival among those under its key: the last one first. */
static void
enter_arrival(CdcMoves *moves, CdcMove *move)
{
	CdcMove    *last = enter_move(moves, move, 'l');
	CdcMove    *later;

	move->before = last;
	if (last == NULL || !is_later(&last->position, &move->position))
		return;
	(void) enter_move(moves, last, 'l');
	for (later = last; later->before &&
		 is_later(&later->before->position, &move->position); later = later->before)
		;
	move->before = later->before;
	later->before = move;
}

static void
enter_all(CdcMoves *moves, CdcMove *move)
{
	CdcMove    *before = enter_move(moves, move, move->arrived ? 'a' : 'd');

	if (before && before != move)
		before->done = before->changed = true;
	if (move->arrived)
		enter_arrival(moves, move);
}

CdcMove *
cdc_move_add(CdcMoves *moves, const CdcBytes *new_key, const CdcBytes *old_key,
			 const CdcPosition *position, bool departed)
{
	MemoryContext old = MemoryContextSwitchTo(moves->context);
	CdcMove    *move = palloc0(sizeof(CdcMove));

	move->new_key = copy_key(moves, new_key);
	move->old_key = copy_key(moves, old_key);
	move->position = *position;
	move->departed = departed;
	move->arrived = !departed;
	move->tokens = palloc0(sizeof(CdcToken) * moves->target->ncolumns);
	move->wanted = palloc0(sizeof(bool) * moves->target->ncolumns);
	moves->moves = lappend(moves->moves, move);
	MemoryContextSwitchTo(old);
	enter_all(moves, move);
	return move;
}

/* Can this be the move that carries on the row of an arrival? */
static bool
carries_on(const CdcMove *move, const CdcMove *arrival)
{
	return move->departed && !move->done &&
		move->old_key.len == arrival->new_key.len &&
		memcmp(move->old_key.data, arrival->new_key.data, move->old_key.len) == 0 &&
		(arrival->moved_on ? same_position(&arrival->moved_on_at, &move->position) :
		 !is_later(&arrival->position, &move->position));
}

CdcMove *
cdc_move_next(CdcMoves *moves, const CdcMove *arrival)
{
	CdcMove    *next = NULL;
	ListCell   *lc;

	/* the first one after the arrival */
	foreach(lc, moves->moves)
	{
		CdcMove    *move = lfirst(lc);

		if (carries_on(move, arrival) &&
			(next == NULL || is_later(&next->position, &move->position)))
			next = move;
	}
	return next;
}

/* The last arrival under a key, complete ones included, or NULL. */
static CdcMove *
last_arrival(CdcMoves *moves, const CdcBytes *key)
{
	CdcBytes	last;
	MoveEntry  *entry;

	if (moves->moves == NIL)
		return NULL;
	last = table_key('l', key, NULL, NULL);
	entry = movetable_lookup(moves->by_key, last);
	pfree((char *) last.data);
	return entry ? entry->move : NULL;
}

CdcMove *
cdc_move_leave(CdcMoves *moves, const CdcBytes *key, const CdcPosition *position)
{
	CdcMove    *move = last_arrival(moves, key);

	while (move && is_later(&move->position, position))
		move = move->before;
	if (move == NULL || move->done)
		return NULL;
	if (move->moved_on)
		return same_position(&move->moved_on_at, position) ? move : NULL;
	move->moved_on = move->changed = true;
	move->moved_on_at = *position;
	return move;
}

CdcMove *
cdc_move_upstream(CdcMoves *moves, const CdcMove *departure)
{
	CdcMove    *move = last_arrival(moves, &departure->old_key);

	while (move && !(move->moved_on && !move->done &&
					 same_position(&move->moved_on_at, &departure->position)))
		move = move->before;
	return move;
}

void
cdc_move_join(CdcMoves *moves, CdcMove *departure)
{
	departure->arrived = departure->changed = true;
	enter_all(moves, departure);
}

CdcToken *
cdc_move_copy_tokens(CdcMoves *moves, const CdcToken *tokens)
{
	int			n = moves->target->ncolumns;
	CdcToken   *copy = MemoryContextAllocZero(moves->context, sizeof(CdcToken) * n);

	for (int i = 0; tokens && i < n; i++)
	{
		CdcBytes	text = {tokens[i].text, tokens[i].len};

		copy[i] = tokens[i];
		if (text.len)
			copy[i].text = copy_key(moves, &text).data;
	}
	return copy;
}

void
cdc_moves_truncate(CdcMoves *moves, const CdcPosition *position)
{
	ListCell   *lc;
	int			cmp;

	foreach(lc, moves->moves)
	{
		CdcMove    *move = lfirst(lc);

		if (position && cdc_position_compare(&move->position, position, &cmp) && cmp > 0)
			continue;
		move->done = move->changed = true;
	}
}

CdcToken *
cdc_move_target_row(const CdcTarget *target, const CdcToken *key_tokens,
					const CdcRowSchema *schema, CdcConnector connector)
{
	MemoryContext context = CurrentMemoryContext;
	CdcToken   *tokens = NULL;
	Oid		   *types = palloc(sizeof(Oid) * target->nkeys);
	Datum	   *key = palloc(sizeof(Datum) * target->nkeys);
	CdcConvertError error;
	bool		isnull;
	StringInfoData sql;

	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		types[k] = c->typid;
		if (!cdc_value_convert(c, &key_tokens[target->keys[k]], schema,
							   target->keys[k], connector, &key[k], &isnull, &error) ||
			isnull)
			return NULL;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s t WHERE %s",
					 cdc_sql_columns(target, "t"),
					 cdc_qualified_name(target->relid),
					 cdc_sql_key_params(target, "t"));
	if (target->mode == CDC_MODE_HISTORY)
		appendStringInfo(&sql, " AND %s",
						 cdc_sql_column("t", cdc_target_pseudo(target, CDC_COLUMN_CURRENT)));
	if (cdc_spi_run(sql.data, target->nkeys, types, key, NULL, 1) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		tokens = palloc0(sizeof(CdcToken) * target->ncolumns);
		for (int i = 0; i < target->ncolumns; i++)
		{
			char	   *text = SPI_getvalue(SPI_tuptable->vals[0],
											SPI_tuptable->tupdesc, i + 1);

			tokens[i].kind = text ? CDC_TOKEN_PGTEXT : CDC_JSON_NULL;
			tokens[i].text = text;
			tokens[i].len = text ? strlen(text) : 0;
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
	}
	return tokens;
}

/* A token as text of its column's type; MISSING if it cannot be converted. */
static void
settle_token(const CdcMove *move, const CdcColumn *column, int at, CdcToken *token)
{
	CdcConvertError error;
	Datum		value;
	bool		isnull;
	Oid			output;
	bool		varlena;

	if (token->kind == CDC_JSON_NULL || token->kind == CDC_TOKEN_PGTEXT)
		return;
	if (token->kind != CDC_JSON_MISSING && !(token->flags & CDC_JSON_UNAVAILABLE) &&
		column->converter &&
		cdc_value_convert(column, token, move->schema, at, move->connector,
						  &value, &isnull, &error))
	{
		getTypeOutputInfo(column->typid, &output, &varlena);
		token->kind = isnull ? CDC_JSON_NULL : CDC_TOKEN_PGTEXT;
		token->text = isnull ? NULL : OidOutputFunctionCall(output, value);
		token->len = isnull ? 0 : strlen(token->text);
	}
	else
		memset(token, 0, sizeof(CdcToken));
}

/*
 * Make a departed row independent of the window: all that is known of it as
 * text, including what only the target's row has.
 */
static void
settle(CdcMoves *moves, CdcMove *move)
{
	CdcToken   *row = NULL;
	bool		complete = true;
	bool		wanted = false;

	for (int i = 0; i < moves->target->ncolumns; i++)
	{
		settle_token(move, &moves->target->columns[i], i, &move->tokens[i]);
		complete &= move->wanted[i] || move->tokens[i].kind != CDC_JSON_MISSING;
		wanted |= move->wanted[i];
	}
	if (move->target_row && !complete)
		row = cdc_move_target_row(moves->target, move->old_key_tokens,
								  move->schema, move->connector);
	for (int i = 0; row && i < moves->target->ncolumns; i++)
		if (move->tokens[i].kind == CDC_JSON_MISSING && !move->wanted[i])
			move->tokens[i] = row[i];
	move->target_row = false;
	move->schema = NULL;
	for (int i = 0; i < moves->target->ncolumns; i++)
		if (move->tokens[i].kind != CDC_JSON_MISSING &&
			moves->target->columns[i].key_no < 0)
			return;
	if (wanted)
		return;
	move->done = true;			/* nothing is known of the row: nothing to keep */
}

static void
delete_stored(CdcMoves *moves, const CdcMove *move)
{
	Oid			types[] = {TEXTOID, BYTEAOID, BYTEAOID, BOOLOID, TEXTOID};
	char		position[CDC_POSITION_TEXT];
	Datum		values[] = {CStringGetTextDatum(moves->pipeline), cdc_bytea(move->new_key),
		cdc_bytea(move->old_key), BoolGetDatum(move->stored_departed), (Datum) 0
	};

	cdc_position_print(&move->position, position);
	values[4] = CStringGetTextDatum(position);

	cdc_spi_run("DELETE FROM cdcsync.moved WHERE pipeline = $1 "
				"AND md5(new_key) = md5($2) AND new_key = $2 AND old_key = $3 AND departed = $4 "
				"AND source_position = $5",
				5, types, values, NULL, 0);
}

static void
insert_stored(CdcMoves *moves, const CdcMove *move)
{
	const CdcTarget *target = moves->target;
	Datum	   *names = palloc(sizeof(Datum) * target->ncolumns);
	Datum	   *texts = palloc(sizeof(Datum) * target->ncolumns);
	bool	   *nulls = palloc(sizeof(bool) * target->ncolumns);
	int			n = 0;
	int			lbound = 1;
	Oid			types[] = {TEXTOID, BYTEAOID, BYTEAOID, BOOLOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTOID, TEXTOID, BOOLOID};
	Datum		values[9];
	char		position[CDC_POSITION_TEXT];
	char		value_nulls[] = "         ";

	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcToken *t = &move->tokens[i];

		if (!move->arrived ? (t->kind != CDC_TOKEN_PGTEXT && t->kind != CDC_JSON_NULL) :
			!move->wanted[i])
			continue;
		names[n] = CStringGetTextDatum(target->columns[i].name);
		nulls[n] = t->kind != CDC_TOKEN_PGTEXT;
		texts[n] = nulls[n] ? (Datum) 0 :
			PointerGetDatum(cstring_to_text_with_len(t->text, t->len));
		n++;
	}
	values[0] = CStringGetTextDatum(moves->pipeline);
	values[1] = cdc_bytea(move->new_key);
	values[2] = cdc_bytea(move->old_key);
	values[3] = BoolGetDatum(move->departed);
	values[4] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[5] = PointerGetDatum(construct_md_array(texts, nulls, 1, &n, &lbound, TEXTOID,
												   -1, false, TYPALIGN_INT));
	cdc_position_print(&move->moved_on_at, position);
	values[6] = CStringGetTextDatum(position);
	value_nulls[6] = move->moved_on ? ' ' : 'n';
	cdc_position_print(&move->position, position);
	values[7] = CStringGetTextDatum(position);
	values[8] = BoolGetDatum(move->arrived);
	cdc_spi_run("INSERT INTO cdcsync.moved (pipeline, new_key, old_key, departed, columns, \"values\", moved_on, source_position, arrived) "
				"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", 9, types, values, value_nulls, 0);
}

/* The other half of a move that is a week old has gone elsewhere. */
static void
forget_lost(CdcMoves *moves)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(moves->pipeline)};

	cdc_spi_run("DELETE FROM cdcsync.moved WHERE pipeline = $1 "
				"AND moved_at < now() - interval '7 days'",
				1, types, values, NULL, 0);
}

static void
forget_done(CdcMoves *moves)
{
	List	   *left = NIL;
	ListCell   *lc;

	foreach(lc, moves->moves)
		if (!((CdcMove *) lfirst(lc))->done)
			left = lappend(left, lfirst(lc));
	list_free(moves->moves);
	moves->moves = left;
	movetable_reset(moves->by_key);
	foreach(lc, left)
		((CdcMove *) lfirst(lc))->before = NULL;
	foreach(lc, left)
		enter_all(moves, lfirst(lc));
}

void
cdc_moves_store(CdcMoves *moves)
{
	MemoryContext old = MemoryContextSwitchTo(moves->context);
	CdcSpi		spi;
	ListCell   *lc;
	bool		changed = false;

	foreach(lc, moves->moves)
	{
		CdcMove    *move = lfirst(lc);

		if (!move->arrived && !move->done && move->changed)
			settle(moves, move);
		changed |= move->stored ? move->changed : !move->done;
	}
	if (changed)
	{
		cdc_spi_begin_catalog(&spi);
		forget_lost(moves);
		foreach(lc, moves->moves)
		{
			CdcMove    *move = lfirst(lc);

			if (!move->changed)
				continue;
			if (move->stored)
				delete_stored(moves, move);
			move->stored = !move->done;
			move->stored_departed = move->departed;
			move->changed = false;
			if (move->stored)
				insert_stored(moves, move);
		}
		cdc_spi_end(&spi);
	}
	forget_done(moves);
	MemoryContextSwitchTo(old);

	/* nearly always: what the window's moves were made of would pile up */
	if (moves->moves == NIL)
	{
		MemoryContextReset(moves->context);
		moves->by_key = movetable_create(moves->context, 64, NULL);
	}
}
