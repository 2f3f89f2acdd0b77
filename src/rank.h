/*-------------------------------------------------------------------------
 *
 * rank.h
 *	  The latest change of each key in a window.
 *
 * Records are added in the order of their partitions, and across partitions put
 * in the source's order; what remains is one winner a key: the net effect of all
 * changes of that key in the window, with values that an event left out taken from
 * the change before it.  Modes that keep every change have more.  Nothing is
 * converted to SQL types here, except keys whose equality their bytes do not
 * decide.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RANK_H
#define CDC_RANK_H

#include "intake.h"
#include "landing.h"
#include "origin.h"
#include "refusal.h"
#include "repeat.h"
#include "target.h"

/* Kind of a CdcToken that holds a type's own text output, not JSON. */
#define CDC_TOKEN_PGTEXT	100

/* An embedded schema, parsed, with its fields by column of the target. */
typedef struct CdcRowSchema
{
	CdcSchema  *schema;
	const CdcSchemaField **by_column;	/* [ncolumns], NULL: not in it */
	bool		checked;		/* against the types of the target */
} CdcRowSchema;

/* A row of a snapshot that is as its key's last change has left it: no version. */
typedef struct CdcRepeated
{
	CdcOrigin	at;
	struct CdcRepeated *next;
} CdcRepeated;

/* The row that a change of the key has left. */
typedef struct CdcSourceRow
{
	CdcBytes	key;			/* canonical */
	CdcPosition position;		/* of the change */
} CdcSourceRow;

/*
 * There are hundreds of thousands, and a record may be about any of them: so what
 * a change of a row sets or looks at stands together, in as few cache lines as
 * possible, and what is rare before it (see cdc_winner_new()).
 */
typedef struct CdcWinner
{
	/* rare: values of several records */
	int64		first;			/* ordinal of the change that the row began with in
								 * this window; -1: not known, as older ones came
								 * later */
	CdcOrigin  *origins;		/* the changes that the tokens come from, by
								 * CdcToken.origin; NULL: all from the last one */
	struct CdcSourceRow *from;	/* a change of the key from which it took values, or
								 * NULL */

	/* rare: between partitions */
	CdcOrigin  *floor;			/* what is older than it has no part in the row: the
								 * delete or create that the row began with, or
								 * NULL */
	CdcOrigin  *threshold;		/* of a winner whose later changes are looked up:
								 * the oldest change that it is made of, else NULL */

	/* modes that keep times */
	Timestamp	ended;			/* soft_delete: time of the last delete; history:
								 * when the next change came, or DT_NOEND */
	struct CdcWinner *older;	/* history: the change of the key before this */
	struct CdcWinner *newer;	/* .. and after it, once they are dated */

	/* of each record */
	CdcOrigin	last;			/* the last change */
	int64		ts_ms;
	Timestamp	refresh_time;
	CdcBytes	kafka_key;		/* of the last change; with the tokens */
	CdcRowSchema *schema;		/* NULL: without */
	const CdcOrigin *broken_by; /* a later record of the key that is bad, or NULL */
	CdcToken   *tokens;			/* [ncolumns]; MISSING: left out */
	Size		tokens_size;	/* of their memory, with all that they point to; 0:
								 * it is another's */
	Timestamp	time;			/* in modes that keep times: of the last change, at
								 * the source */
	union
	{
		int64		row;		/* keyless: its row in staging */
		struct CdcRepeated *repeated;	/* history: what tells it again */
	}			of_mode;
	int			norigins;
	int			maxorigins;
	char		op;				/* of the last change: c u d r */
	bool		deleted;		/* the key's row is to go */
	bool		fresh;			/* a delete preceded in the window: nothing of the
								 * target's row may live on */
	bool		marked;			/* soft_delete: deleted, but the row with these
								 * values is to be there */
	bool		archived;		/* history: not the last change of its key */
	bool		overtaken;		/* history: newer changes of its key were applied
								 * before it */
	char		action;			/* history: as in staging */
	bool		has_ts_ms;
	bool		mixed;			/* it has changes of several partitions */
	bool		amends;			/* it only brings values that a change which was
								 * applied before has waited for */
	bool		refused;		/* it went to quarantine */
	CdcConnector connector;
	CdcBytes	key;			/* canonical bytes of the key, which mostly follow */
} CdcWinner;

/* What is rare comes first. */
#define CDC_WINNER_RARE offsetof(CdcWinner, last)

/* Why a change goes to quarantine behind a record of its key. */
#define CDC_BLOCKED_MESSAGE \
	"the change belongs together with a quarantined change of its key"

/* A record, with all that the landing has of it. */
typedef struct CdcRecordBytes
{
	CdcBytes	key;
	CdcBytes	value;
	Jsonb	   *headers;		/* or NULL */
	Timestamp	timestamp;		/* DT_NOBEGIN: none */
	Timestamp	refresh_time;
} CdcRecordBytes;

/* A record that goes to quarantine. */
typedef struct CdcBadRecord
{
	CdcOrigin	at;
	CdcRecordBytes *bytes;		/* NULL: to be read from the landing */
	const char *column;			/* or NULL */
	int			sqlerrcode;
	char	   *message;
	int64		blocked_by;		/* offset, or -1 */
	bool		refused;		/* by the target, not by us */
	bool		has_key;		/* the row's key is known: */
	uint64		key_hash;
} CdcBadRecord;

/* A truncate, where rows are kept that it ends. */
typedef struct CdcTruncate
{
	CdcOrigin	at;
	Timestamp	time;			/* at the source */
	bool		applied;		/* by an earlier window */
} CdcTruncate;

/* What a pipeline has seen of one partition. */
typedef struct CdcProgress
{
	int64		partition;
	int32		epoch;
	int64		next_offset;
	Timestamp	refresh_time;	/* DT_NOBEGIN: nothing yet */
	CdcPosition position;		/* greatest applied source position */
	int64		source_ts_ms;
	int64		newest_ts_ms;	/* the greatest of the source's clock, snapshots
								 * included; 0: not known */
	int64		events;			/* in this window */
	int64		resent;			/* in this window */
	int64		passed;			/* in this window: of other tables, or no changes */
	bool		in_snapshot;	/* the last change was a row of a snapshot of which
								 * no account is kept */
	int64		deleted_key;	/* the last record was a delete whose tombstone is to
								 * be left out: it was left out itself, or only its
								 * image tells its key or its source its table, or
								 * the key may be in other partitions, whose order a
								 * tombstone does not know.  A hash of its key in
								 * Kafka; 0: it was not */
	bool		resent_delete;	/* .. it was sent again */
	int64		resent_offset;	/* of the last record that was sent again: behind it,
								 * all are in the order of the source; -1: none */
	int32		resent_epoch;
	bool		moved;			/* changed in this window */
	struct CdcSnapshotPart *snapshot;	/* see snapshot.h; NULL: not noted */
	CdcRepeats	repeats;		/* where no later change makes up for one that is
								 * applied twice */
} CdcProgress;

/*
 * Told of each row that a record shows to be there, by its key (tokens by
 * column).  change: NULL for a record that is bad but for its key; tokens: NULL
 * for one whose key is not known either.
 */
typedef void (*CdcRankSeen) (void *arg, const CdcToken *tokens,
							 const CdcRowSchema *schema, CdcConnector connector,
							 const CdcChange *change);

typedef struct CdcRank
{
	const CdcTarget *target;
	CdcIntake  *intake;			/* set by the caller */
	List	   *scope_truncates;	/* CdcScopeTruncate *, whose rows are to go first */
	struct CdcEvidence *evidence;	/* set by the caller; NULL: none is needed */
	bool		multi_partition;
	MemoryContext context;		/* all of the window */
	CdcWinner **winners;
	int64		nwinners;
	int64		maxwinners;
	CdcBadRecord *bad;
	int64		nbad;
	int64		maxbad;
	int64		ordinal;		/* records decoded, those left out by rule not
								 * counted */
	int64		again;			/* of those, the ones from quarantine */
	bool		kept_moves;		/* some, since the moves were stored */
	bool		truncated;		/* the target is to be emptied first; with several
								 * partitions, of all but the staged rows */
	CdcOrigin	truncated_at;	/* the last truncate, if .. */
	bool		has_truncate;	/* .. with several partitions, one is known, of
								 * this window or an earlier one */
	bool		looking_back;	/* records are added that were applied already */
	bool		all_keys;		/* .. of whatever key */
	struct CdcPlaces *places;	/* set by the caller; NULL: rows are where the records
								 * say */
	const CdcRefusals *refusals;	/* the window is ranked again: leave these to
									 * quarantine; NULL: it is not */
	struct CdcSourceWatch *watch;	/* NULL: changes of the source's table do not
									 * matter */
	CdcRankSeen seen;			/* if set, there are no winners: see sweep.c */
	void	   *seen_arg;
	struct CdcRowChange *changes;	/* of a target without a key */
	int64		nchanges;
	int64		maxchanges;
	CdcWinner  *truncate;		/* it, in modes that mark rows; with several
								 * partitions, the oldest of the window */
	List	   *truncates;		/* CdcTruncate *, oldest first: with several
								 * partitions, in modes that keep what is gone */
	struct CdcRankState *state;
} CdcRank;

/* Is there to be a row with the winner's values? */
static inline bool
cdc_winner_has_row(const CdcWinner *w)
{
	return !w->deleted || w->marked;
}

/* Ask for memory before its turn. */
#define CDC_CACHE_LINE	64

static inline void
cdc_prefetch(const void *memory, Size size)
{
	for (const char *p = memory; p < (const char *) memory + size; p += CDC_CACHE_LINE)
		__builtin_prefetch(p);
}

struct CdcMoves;

/* Is a change that is applied twice there twice? */
extern bool cdc_rank_keeps_all(const CdcTarget *target);

/*
 * Start a window in the current memory context, which the caller resets after
 * it (that frees everything).  decoder: for the target's field lists.
 */
extern CdcRank *cdc_rank_begin(const CdcTarget *target, CdcDecoder *decoder,
							   struct CdcMoves *moves, bool multi_partition);

/*
 * Add record i of a chunk.  The chunk's memory need not outlive the call.  False,
 * and nothing is changed: the window ends before it, as the source's table has
 * changed there (see rank->watch).
 */
extern bool cdc_rank_add(CdcRank *rank, const CdcChunk *chunk, int i,
						 CdcProgress *progress);

/*
 * Add the only record of a chunk, which has been in quarantine since then: it
 * comes before all that the window holds.  In the order of partition, epoch and
 * offset.  Only the row that it is in quarantine for is touched: of a key change
 * in one event that is the old key's (old_key), or the new one's.
 */
extern void cdc_rank_again(CdcRank *rank, const CdcChunk *chunk,
						   TimestampTz since, bool old_key);

/*
 * A hash of a row's key as its types tell equality: equal keys have equal hashes.
 * False if the key cannot be converted.  schema and connector: of the event that
 * the tokens are of.  These are in quarantine_key.c.
 */
extern bool cdc_rank_key_hash(CdcRank *rank, const CdcToken *tokens,
							  const CdcRowSchema *schema, CdcConnector connector,
							  uint64 *hash);

/* Do equal hashes mean equal keys? */
extern bool cdc_rank_hash_is_key(const CdcTarget *target);

/* Of the row that a record, or the old half of its key change, is about: the hash .. */
extern bool cdc_rank_record_hash(CdcRank *rank, const CdcRecordBytes *record,
								 bool old_key, uint64 *hash);

/* .. what the record's source says of it .. */
extern bool cdc_rank_record_source(CdcRank *rank, const CdcRecordBytes *record,
								   CdcToken *tokens);

/* .. and whether it is the row of this winner */
extern bool cdc_rank_record_is_of(CdcRank *rank, const CdcRecordBytes *record,
								  bool old_key, const CdcWinner *winner);

/* Does a record set a column of its row that these tokens leave out? */
extern bool cdc_rank_record_sets_more(CdcRank *rank, const CdcRecordBytes *record,
									  const CdcToken *tokens);

/* The source's position and clock (0: none) of a record. */
extern void cdc_rank_record_position(CdcRank *rank, const CdcRecordBytes *record,
									 CdcPosition *position, int64 *source_ts_ms);

/*
 * Delete the rows of the sources that were truncated, before the window is
 * merged; how many there were.  As the owner, in an open SPI connection.
 */
extern uint64 cdc_scope_apply(const CdcRank *rank);

/* Is it gone with a truncate of its source? */
extern bool cdc_scope_truncates(CdcRank *rank, const CdcOrigin *at,
								const CdcRecordBytes *record);

/*
 * The source has emptied the table before what the window is to get: at this
 * place of the landing.  source: JSON, as in an event.
 */
extern void cdc_rank_truncate(CdcRank *rank, const char *source, int32 epoch,
							  int64 offset);
/* Where and when was record i of a chunk made? */
extern CdcOrigin cdc_rank_origin(CdcRank *rank, const CdcChunk *chunk, int i);

/*
 * Looking back: add record i of a chunk, which an earlier window has applied, to
 * the winners that have a threshold and are older (all_keys: to all).  since: it
 * is in quarantine since then, so was not applied.
 */
extern void cdc_rank_look_back(CdcRank *rank, const CdcChunk *chunk, int i,
							   CdcProgress *progress, TimestampTz since);

/*
 * .. or leave it out, as it was not applied: what is older behind it was sent again
 * all the same.
 */
extern void cdc_rank_look_over(CdcRank *rank, const CdcChunk *chunk, int i,
							   CdcProgress *progress);

/*
 * Put the winners in the order of their keys, as an index over the key has it,
 * more or less: neighbours are found, and entered, side by side.
 */
extern void cdc_rank_sort(CdcRank *rank);

/* Note a truncate in rank->truncates. */
extern void cdc_truncate_note(CdcRank *rank, const CdcOrigin *at, Timestamp time,
							  bool applied);

/*
 * Is what was made at this place gone with the last truncate?  Forget the bad
 * records from the first-th on that are.
 */
extern bool cdc_truncate_buries(const CdcRank *rank, const CdcOrigin *at);
extern void cdc_truncate_bad(CdcRank *rank, int64 first);

/* The window is complete: the truncates end the rows that are older. */
extern void cdc_marked_finish(CdcRank *rank);

/* Ask for a winner, with the key behind it. */
static inline void
cdc_winner_prefetch(const CdcWinner *w)
{
	cdc_prefetch((const char *) w + CDC_WINNER_RARE, sizeof(CdcWinner) - CDC_WINNER_RARE);
}

/*
 * Walking over all winners, which are not in the order of their memory: ask for
 * those that come after number i, and for their tokens: 4 % of a sync of 200,000
 * keys.
 */
extern void cdc_winners_fetch(const CdcRank *rank, int64 i);

/* Bytes that the window holds. */
extern Size cdc_rank_memory(const CdcRank *rank);

/*
 * A winner goes to quarantine that has taken values from the row of its old key:
 * keep them for when it is tried again.  True if there were some: the moves are
 * to be stored.
 */
extern bool cdc_rank_keep_move(CdcRank *rank, CdcWinner *w);

/* Note a bad record; message is copied. */
extern CdcBadRecord *cdc_rank_bad(CdcRank *rank, const CdcOrigin *at,
								  const char *column, int sqlerrcode,
								  const char *message);

#endif							/* CDC_RANK_H */
