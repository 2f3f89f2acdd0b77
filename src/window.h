/*-------------------------------------------------------------------------
 *
 * window.h
 *	  What the files of the ranking share: the state of a window and the event
 *	  that is being added to it.  Only rank.c, event.c, admit.c, row.c, truncate.c,
 *	  scope.c, winner.c, winner_memory.c, rename.c, marked.c, history.c, append.c, keyless.c, lookback.c, place.c,
 *	  ahead.c and quarantine_key.c include it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WINDOW_H
#define CDC_WINDOW_H

#include "executor/executor.h"
#include "lib/stringinfo.h"

#include "move.h"
#include "place.h"
#include "rank.h"

/* What the headers of a record say of a key change. */
typedef struct CdcRename
{
	bool		has_new;		/* __debezium.newkey */
	bool		has_old;		/* __debezium.oldkey */
	CdcBytes	key;			/* canonical, in the window's context */
	CdcToken   *tokens;			/* [ncolumns], key columns only */
} CdcRename;

typedef struct CdcAhead CdcAhead;	/* see ahead.c */

/* Tokens of so many cache lines at most are cut out of a block. */
#define CDC_TOKENS_LINES	16

/* See winner_memory.c. */
typedef struct CdcWinnerMemory
{
	char	   *block;			/* of which .. */
	Size		left;			/* .. so much is free */
	Size		size;			/* of it; 0: there is none */
	struct CdcFreeTokens *freed[CDC_TOKENS_LINES];	/* of so many lines, less one */
} CdcWinnerMemory;

typedef struct CdcRankState
{
	CdcDecoder *decoder;
	CdcMoves   *moves;
	struct keytable_hash *keys; /* winner.c's */
	CdcAhead   *ahead;			/* NULL: the window is small */
	TupleHashTable typed;		/* NULL until a key needs it */
	TupleTableSlot *typed_slot;
	MemoryContext key_context;	/* reset per typed look-up */
	MemoryContext rows;			/* winners, their tokens and keys */
	CdcWinnerMemory memory;		/* of which they are made */
	StringInfoData key_buf;
	CdcToken   *key_fields;		/* [nfields] from the record's key */
	CdcDecodeError key_error;	/* why that could not be read */
	CdcToken   *tokens;			/* [ncolumns] of the record at hand */
	CdcToken   *old_tokens;		/* [ncolumns] of its before image */
	CdcToken   *merged;			/* [ncolumns] scratch of cdc_winner_merge() */
	CdcToken   *bad_tokens;		/* [ncolumns] scratch of break_key() in event.c */
	CdcRowSchema *schema;		/* the last one seen */
	List	   *schemas;
	CdcRowSchema *found_schema; /* the last one that was looked for .. */
	uint64		found_schema_no;	/* .. and its number in the decoder, or 0 */
	CdcToken	connector_name;
	char		connector_buf[32];
	CdcConnector connector;
	const Jsonb *last_headers;	/* of which rename was made; the address is
								 * good only within the chunk */
	int64		chunk_partition;
	int32		chunk_epoch;
	int64		chunk_first;
	bool		rename_said;	/* those headers tell of a key change */
	CdcRename	rename;
	int			scalar_field;	/* field of a bare scalar key, or -1 */
	CdcBadRecord known_bad;		/* scratch of cdc_event_bad() */
} CdcRankState;

/* The record that is being added. */
typedef struct CdcEvent
{
	const CdcChunk *chunk;
	int			i;
	int64		offset;
	CdcProgress *progress;
	CdcChange	change;
	CdcRename  *rename;			/* NULL: none */
	bool		at_last;		/* several partitions: a create at the last position
								 * that its own has had before */
	TimestampTz since;			/* it comes out of quarantine, where it has been
								 * since; 0: it does not */
	bool		old_key;		/* .. for the delete of a key change's old key */
} CdcEvent;

/* The record's own key in Kafka. */
#define cdc_event_key(rec) (&(rec)->chunk->keys[(rec)->i])

#define cdc_bytes_equal(a, b) \
	((a).len == (b).len && memcmp((a).data, (b).data, (a).len) == 0)

static inline bool
cdc_token_is_set(const CdcToken *t)
{
	return t->kind != CDC_JSON_MISSING && !(t->flags & CDC_JSON_UNAVAILABLE);
}

/* A copy in the current memory context. */
static inline CdcBytes
cdc_copy_bytes(const CdcBytes *b)
{
	CdcBytes	copy = *b;

	if (b->data)
	{
		char	   *p = (char *) palloc(Max(b->len, 1));

		memcpy(p, b->data, b->len);
		copy.data = p;
	}
	return copy;
}

/* admit.c */

typedef enum CdcAdmission
{
	CDC_ADMIT,					/* a change of a row, or a tombstone */
	CDC_ADMIT_PASS,				/* not of the pipeline's table, or no change */
	CDC_ADMIT_NOT				/* it was noted as bad */
} CdcAdmission;

/* Is the record that was decoded one for the window? */
extern CdcAdmission cdc_event_admit(CdcRank *rank, CdcEvent *rec);

/* Take what the row at hand lacks of its key from the record's own key. */
extern void cdc_event_key_from_record(CdcRank *rank, const CdcEvent *rec);

/* scope.c */

/* A truncate of one of the sources of the target. */
extern void cdc_scope_truncate(CdcRank *rank, CdcEvent *rec);

/* event.c */
extern void cdc_event_get_origin(const CdcRank *rank, const CdcEvent *rec, CdcOrigin *at);

/* The tombstone of the delete at hand is to be left out; resent: and counted. */
extern void cdc_event_note_delete(CdcEvent *rec, bool resent);

/* Spread an image's tokens, which are by field, over the columns. */
extern void cdc_event_spread(const CdcRank *rank, const CdcToken *image,
							 const CdcToken *source, CdcToken *tokens);

/*
 * The key of the row that the record's own key names, in key_buf.  Returns NULL,
 * or the name of the column that it lacks, "" if it cannot be read at all.
 */
extern const char *cdc_event_record_key(CdcRank *rank, const CdcEvent *rec,
										const CdcToken *source, CdcToken *tokens,
										CdcBytes *key);

typedef enum CdcContext
{
	CDC_CONTEXT_NOTED,
	CDC_CONTEXT_UNREADABLE,		/* the schema cannot be read */
	CDC_CONTEXT_CHANGED			/* the source's table has changed before it */
} CdcContext;

/*
 * Note connector and embedded schema of a change for its conversions; rec is the
 * record that is being added, or NULL.
 */
extern CdcContext cdc_event_note_context(CdcRank *rank, const CdcChange *change,
										 const CdcEvent *rec);

/* The record at hand is bad: keep its bytes, they are here. */
extern CdcBadRecord *cdc_event_bad(CdcRank *rank, CdcEvent *rec,
								   const char *column, int sqlerrcode,
								   const char *message);

/* When the source made the change. */
extern Timestamp cdc_event_time(const CdcRank *rank, const CdcEvent *rec);

/* A hash of the record's own key; not 0. */
extern int64 cdc_event_key_hash(const CdcBytes *key);

/* row.c: c, r, u; and d, or a tombstone, which is a delete without images */
extern void cdc_row_upsert(CdcRank *rank, CdcEvent *rec);
extern void cdc_row_delete(CdcRank *rank, CdcEvent *rec);

/* A row that the window has made or changed is deleted, and stays as it was. */
extern void cdc_row_mark_deleted(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op);

/* truncate.c: t; nothing that came before lives on */
extern void cdc_truncate_add(CdcRank *rank, CdcEvent *rec);

/*
 * Is the record older than the last truncate, in a topic of several partitions?
 * What it has changed is gone.
 */
extern bool cdc_truncate_covers(CdcRank *rank, CdcEvent *rec);

/*
 * Of the truncates of rank->truncates the oldest that was made between two changes
 * (to NULL: after the first), or NULL.
 */
extern const CdcTruncate *cdc_truncate_between(const CdcRank *rank, const CdcOrigin *from,
											   const CdcOrigin *to);

/* .. and the newest that was made before a change. */
extern const CdcTruncate *cdc_truncate_before(const CdcRank *rank, const CdcOrigin *at);

/* marked.c: soft_delete in several partitions */

/*
 * A truncate ends the winner's row, if one was made between its last change and
 * this one (NULL: or any later).  finish: so of all winners, once the window is
 * complete.
 */
extern void cdc_marked_cross(CdcRank *rank, CdcWinner *w, const CdcOrigin *now);

/* The winner gets a last change that has no values. */
extern void cdc_marked_note_origins(CdcRank *rank, CdcWinner *w);

/* The winner is deleted, and is deleted again. */
extern void cdc_marked_delete_again(CdcRank *rank, CdcWinner *w, CdcEvent *rec, char op);

/* The row was gone at this place, before the winner's last change. */
extern void cdc_marked_delete_before(CdcRank *rank, CdcWinner *w, const CdcOrigin *at,
									 Timestamp time, char op);

/*
 * A change of the row before the delete that is the winner's last change.  Has it
 * a part in the row at all?
 */
extern bool cdc_marked_wants(const CdcRank *rank, const CdcWinner *w, const CdcOrigin *at);
extern void cdc_marked_upsert_before(CdcRank *rank, CdcWinner *w, const CdcOrigin *at,
									 const CdcToken *tokens, char op);

/* append.c: each change is a winner */
extern void cdc_append_add(CdcRank *rank, CdcEvent *rec);

/* keyless.c: a change of rows that are known by all their values */
extern void cdc_keyless_add(CdcRank *rank, CdcEvent *rec);

/* Of what is older than a truncate none counts. */
extern void cdc_keyless_truncate(CdcRank *rank, const CdcOrigin *at);

/* The changes from the first-th on were looked up: they come before the others. */
extern void cdc_keyless_put_first(CdcRank *rank, int64 first);

/* history.c */

/* The winner is about to get its next change: keep the one that it has. */
extern void cdc_history_push(CdcRank *rank, CdcWinner *w);

/* A change that is older than the winner, and belongs behind it. */
extern void cdc_history_insert(CdcRank *rank, CdcEvent *rec, CdcWinner *w,
							   const CdcToken *tokens, char op, bool deleted);

/*
 * Is it a snapshot's row that tells what the winner has already?  Then the winner
 * notes it: if its own change is refused, the row still has to come.
 */
extern bool cdc_history_repeats(CdcRank *rank, const CdcEvent *rec, CdcWinner *w,
								const CdcToken *tokens);

/* ahead.c */

/* Record i of a chunk is about to be added: ask for what the next ones need. */
extern void cdc_ahead_fetch(CdcRank *rank, const CdcChunk *chunk, int i);

/* The winner that the record at hand is expected to be about, or NULL. */
extern CdcWinner *cdc_ahead_expects(const CdcRank *rank);

/* It was about this one. */
extern void cdc_ahead_note(CdcRank *rank, CdcWinner *winner);

/* There are no winners any more. */
extern void cdc_ahead_clear(CdcRank *rank);

/* winner_memory.c */

/* Memory in which byte number "at" begins a cache line. */
extern void *cdc_winner_keep(CdcRank *rank, Size size, Size at);

/* Memory for tokens; *size: of it, which may be more than is wanted. */
extern CdcToken *cdc_winner_tokens_new(CdcRank *rank, Size wanted, Size *size);
extern void cdc_winner_tokens_free(CdcRank *rank, CdcToken *tokens, Size size);

/* place.c */

/*
 * Where is the row of a change whose record may have less of a key than the target?
 * tokens: its key as far as the record tells it; key: all of it, or NULL.  Under
 * another key: *other.
 */
extern CdcPlaced cdc_place_find(CdcRank *rank, const CdcEvent *rec, const CdcToken *tokens,
								const CdcBytes *key, const CdcPlaceKey **other);

/* Why nothing tells it. */
extern const char *cdc_place_unknown(CdcRank *rank, const CdcEvent *rec);

/* The winner of this key has a row now. */
extern void cdc_place_meet(CdcRank *rank, const CdcWinner *w, const CdcBytes *key,
						   const CdcToken *tokens);

/* winner.c */

/* A winner that no key finds; with these canonical bytes. */
extern CdcWinner *cdc_winner_new(CdcRank *rank, const CdcBytes *key);

/* An empty table of winners; the same after a truncate. */
extern void cdc_winners_begin(CdcRank *rank);
extern void cdc_winners_clear(CdcRank *rank);

/*
 * The canonical key of a row whose tokens are given by column, in key_buf.
 * Returns the name of the column that is missing or cannot be one, or NULL.
 */
extern const char *cdc_winner_key(CdcRank *rank, const CdcToken *tokens,
								  CdcBytes *key);

/* Append the canonical bytes of one value; false: no text can hold it. */
extern bool cdc_winner_append_token(StringInfo buf, const CdcColumn *column,
									const CdcToken *t);

/*
 * The other way round: the tokens of the key columns, which point into the
 * canonical bytes.
 */
extern void cdc_winner_key_tokens(const CdcRank *rank, const CdcBytes *key,
								  CdcToken *tokens);

/* The winner of a key in its canonical bytes, or NULL. */
extern CdcWinner *cdc_winner_find(CdcRank *rank, const CdcBytes *key);

/* .. or of the row of these tokens, however its key is spelled. */
extern CdcWinner *cdc_winner_find_row(CdcRank *rank, const CdcBytes *key,
									  const CdcToken *tokens);

/*
 * The winner of the record's key; *isnew if the window has none yet.  NULL:
 * the key cannot be converted, and the record was noted as bad; or we look back,
 * and nobody asks for it.
 */
extern CdcWinner *cdc_winner_get(CdcRank *rank, CdcEvent *rec,
								 const CdcBytes *key, const CdcToken *tokens,
								 bool *isnew);

/* Are two keys equal, by their bytes or for their types? */
extern bool cdc_winner_same_key(CdcRank *rank, const CdcToken *a,
								const CdcToken *b);

/*
 * Are two keys of different bytes equal for their types (1.0 and 1.00)?  The
 * values that cannot be converted are not.
 */
extern bool cdc_winner_keys_equal(CdcRank *rank, const CdcToken *a,
								  const CdcToken *b);

/*
 * Is the record older than the winner, of another partition or looked up?  The
 * winner's last change stays what it is then; the record can give it values that
 * the later ones leave out (fill), or begin the row (cut; its own values are
 * not touched), unless the row began later (is_over).
 */
extern bool cdc_event_is_older(const CdcRank *rank, const CdcEvent *rec,
							   const CdcWinner *w);
extern bool cdc_winner_is_over(const CdcWinner *w, const CdcOrigin *at);
extern void cdc_winner_fill(CdcRank *rank, CdcWinner *w, const CdcOrigin *at,
							const CdcToken *tokens);
extern void cdc_winner_cut(CdcRank *rank, CdcWinner *w, const CdcOrigin *at);

/*
 * Looking back: is what was made at this place asked for by the winner (or NULL), or
 * by a truncate in a mode that keeps what is gone?
 */
extern bool cdc_winner_looks_back_to(const CdcRank *rank, const CdcWinner *w,
									 const CdcOrigin *at);

/* Is the value of a column from before this place? */
extern bool cdc_winner_token_is_below(const CdcWinner *w, int column, const CdcOrigin *at);

/* Later changes that leave values out wait for this record, which is bad. */
extern void cdc_winner_break(CdcRank *rank, CdcWinner *w, const CdcOrigin *at);

/* The winner's row begins with this change: it has no part in what is older. */
extern void cdc_winner_set_floor(CdcRank *rank, CdcWinner *w, const CdcOrigin *at);

/* The winner's row is gone by a truncate. */
extern void cdc_winner_bury(CdcRank *rank, CdcWinner *w, const CdcOrigin *at);

/* The winner's tokens as they were before, the later ones MISSING. */
extern CdcToken *cdc_winner_tokens_before(CdcRank *rank, const CdcWinner *w,
										  const CdcOrigin *at);

/*
 * Give the winner these tokens and this Kafka key, copying what they point to.
 * Tokens may point into the winner's present memory.
 */
extern void cdc_winner_set_tokens(CdcRank *rank, CdcWinner *w,
								  const CdcToken *tokens,
								  const CdcBytes *kafka_key);

/* The winner's last change is this record. */
extern void cdc_winner_set_event(CdcRank *rank, CdcWinner *w, CdcEvent *rec,
								 char op);

/* Number of an origin in the winner's list, to which it is added. */
extern uint16 cdc_winner_add_origin(CdcRank *rank, CdcWinner *w,
									const CdcOrigin *origin);

/*
 * The record's tokens over those of the winner, with the origin of each, if they come
 * from several records: in state->merged, or as they were given, if the winner has
 * none to add.
 */
extern const CdcToken *cdc_winner_merge(CdcRank *rank, CdcWinner *w, CdcEvent *rec,
							 const CdcToken *tokens);

/* rename.c */
extern CdcRename *cdc_rename_of(CdcRank *rank, const CdcChunk *chunk, int i,
								const CdcToken *source);

/*
 * A row arrives under its key and lacks values of the old key's row: take
 * them if the old row has departed already, else from where it is now, and
 * remember what is to be corrected when it departs.  Did it take any?
 */
extern bool cdc_rename_arrive(CdcRank *rank, CdcEvent *rec,
							  const CdcBytes *new_key, CdcToken *tokens);

/*
 * The row of old_key leaves for new_key.  w: the winner of the old key before
 * the delete, or NULL if the window has not touched it.
 */
extern void cdc_rename_depart(CdcRank *rank, CdcEvent *rec, const CdcWinner *w,
							  const CdcBytes *old_key,
							  const CdcToken *old_key_tokens);

/* A later change of a row that has arrived: what it sets is not wanted any more. */
extern void cdc_rename_settle(CdcRank *rank, const CdcEvent *rec, const CdcBytes *key,
							  CdcToken *tokens);

#endif							/* CDC_WINDOW_H */
