/*-------------------------------------------------------------------------
 *
 * move.h
 *	  Key changes: the row that leaves one key and arrives under another.
 *
 * Debezium sends a key change as a delete of the old key (header
 * __debezium.newkey) and a create of the new one (header __debezium.oldkey).
 * The create may lack values that only the old key's row has.  The two may
 * come in any order (they can be in different partitions), and in different
 * windows.  A move is what is known of one that is not complete; those that
 * outlive a window are kept in cdcsync.moved.
 *
 * A row can leave its key before it has all that is on its way to it.  What it
 * still waits for its next move waits for too, so the moves of a row are a
 * chain, along which the values follow it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MOVE_H
#define CDC_MOVE_H

#include "rank.h"

typedef struct CdcMove
{
	CdcBytes	new_key;		/* canonical bytes */
	CdcBytes	old_key;
	CdcPosition position;		/* of the change: both halves have the same */
	bool		departed;		/* the delete was seen */
	bool		arrived;		/* the create was seen; both: the old row waits
								 * for values itself */
	bool		stored;			/* a row of cdcsync.moved stands for it .. */
	bool		stored_departed;	/* .. which says so of the delete */
	bool		changed;		/* and does not tell what is here */
	bool		done;			/* complete, nothing to keep */
	CdcToken   *tokens;			/* [ncolumns] departed only: the old row; MISSING
								 * or unavailable: not known (see target_row) */
	bool		target_row;		/* departed: what is not known, and not wanted, is
								 * in the target's row of the old key, until the
								 * merge */
	CdcToken   *old_key_tokens; /* [ncolumns] departed in this window: its key */
	CdcRowSchema *schema;		/* .. and how its tokens are to be read */
	CdcConnector connector;
	bool	   *wanted;			/* [ncolumns] values that are to come: arrived: to
								 * the new row; departed only: to the old one */
	bool		moved_on;		/* arrived: the row has left its key again .. */
	CdcPosition moved_on_at;	/* .. by this change */
	bool		visited;		/* values are being passed along it */
	struct CdcMove *before;		/* arrived: the arrival before under the same key */
} CdcMove;

typedef struct CdcMoves CdcMoves;

/* The moves of a pipeline, loaded from the catalog; lives in the current context. */
extern CdcMoves *cdc_moves_load(const char *pipeline, const CdcTarget *target);


/*
 * The departure from old_key to new_key that waits for its arrival, or the
 * arrival, that has this source position; the last arrival under new_key; or
 * NULL.
 */
extern CdcMove *cdc_move_departure(CdcMoves *moves, const CdcBytes *new_key,
								   const CdcBytes *old_key,
								   const CdcPosition *position);
extern CdcMove *cdc_move_arrival(CdcMoves *moves, const CdcBytes *new_key,
								 const CdcBytes *old_key,
								 const CdcPosition *position);
extern CdcMove *cdc_move_last_arrival(CdcMoves *moves, const CdcBytes *new_key);

/* A new move, in the place of the one like it. */
extern CdcMove *cdc_move_add(CdcMoves *moves, const CdcBytes *new_key,
							 const CdcBytes *old_key,
							 const CdcPosition *position, bool departed);

/*
 * The arrival, with values still to come, of the row that leaves this key at
 * this position, which is noted; or that has left (departure); or NULL.
 */
extern CdcMove *cdc_move_leave(CdcMoves *moves, const CdcBytes *key,
							   const CdcPosition *position);
extern CdcMove *cdc_move_upstream(CdcMoves *moves, const CdcMove *departure);

/* The move that carries on the row of an arrival, or NULL. */
extern CdcMove *cdc_move_next(CdcMoves *moves, const CdcMove *arrival);

/* The create of a departure has come, and waits for what the old row waits for. */
extern void cdc_move_join(CdcMoves *moves, CdcMove *departure);

/* A copy of tokens that lives as long as the moves; all MISSING for NULL. */
extern CdcToken *cdc_move_copy_tokens(CdcMoves *moves, const CdcToken *tokens);

/* A truncate: forget what is not known to be newer (NULL: all). */
extern void cdc_moves_truncate(CdcMoves *moves, const CdcPosition *position);

/*
 * Values of the target's row with this key as PGTEXT tokens, [ncolumns], in the
 * current context; NULL if there is no such row.  As the current user, in the
 * open SPI connection.
 */
extern CdcToken *cdc_move_target_row(const CdcTarget *target,
									 const CdcToken *key_tokens,
									 const CdcRowSchema *schema,
									 CdcConnector connector);

/*
 * At the end of a window, before its merge: write what is left of the moves to
 * the catalog, and forget what is done.
 */
extern void cdc_moves_store(CdcMoves *moves);

#endif							/* CDC_MOVE_H */
