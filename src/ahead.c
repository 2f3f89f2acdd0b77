/*-------------------------------------------------------------------------
 *
 * ahead.c
 *	  Fetching what the next records of a window will need into the cache.
 *
 * A window has hundreds of thousands of winners, and the next record may be about
 * any of them: the winner and its values are in places of their own, and each of
 * them is a wait for memory.  Which winner it is shows only when the record is
 * decoded.  But records of one row have the same key in Kafka.  So it is noted which
 * winner a key in Kafka was about, and some records before its turn the winner's
 * memory is asked for.  If it has the record's key indeed, it is not looked up in
 * the table of keys any more, which is in a third place.
 *
 * These are hints and nothing else: what a record means does not depend on them,
 * and a wrong one costs a fetch in vain.  Measured with 1M events of 200,000 keys,
 * CPU of reading and ranking: 770 ms instead of 1,030 from one partition, 690
 * instead of 960 from three; from 256, each of which has few rows, no difference.
 * That the expected winner is taken where its key fits is part of the gain that
 * winner_memory.c tells of; sql/backlog.sql compares with small windows.
 *
 * All memory is in the window's context, and only large windows have it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "huge.h"
#include "window.h"

/* Fewer winners are in the cache anyway. */
#define MIN_WINNERS		4096

/* Sets of four hints. */
#define SET				4
#define MIN_SETS		4096
#define MAX_SETS		(256 * 1024)

/* So many records ahead: the hint, the winner, its values. */
#define HINT_AHEAD		12
#define WINNER_AHEAD	8
#define VALUES_AHEAD	4
#define RING			16		/* a power of two, more than HINT_AHEAD */

#define MAX_LINES		8		/* of the values */

typedef struct Hint
{
	CdcWinner  *winner;			/* NULL: none */
	uint32		hash;			/* of the key in Kafka */
} Hint;

struct CdcAhead
{
	Hint	   *hints;			/* in sets by hash, each the size of a cache line */
	void	   *memory;			/* of them */
	uint32		mask;			/* number of sets - 1 */
	uint32		ring[RING];		/* hashes of the records that are next */
	CdcWinner  *winners[RING];	/* that were asked for */
	const CdcChunk *chunk;		/* they are of this one .. */
	int64		chunk_first;
	int			next;			/* .. and the hash of this record is not there yet */
	uint32		now;			/* hash of the record at hand; 0: none .. */
	CdcWinner  *expected;		/* .. and the winner that it had, or NULL */
};

/* Keys differ at their ends.  Not 0; 0 for no key. */
static inline uint32
hash_kafka_key(const CdcBytes *key)
{
	const char *end = key->data + key->len;
	uint64		hash = key->len;
	uint64		word;

	if (key->data == NULL)
		return 0;
	if (key->len < sizeof(word))
	{
		for (uint32 i = 0; i < key->len; i++)
			hash = (hash << 8) ^ (hash >> 56) ^ (unsigned char) key->data[i];
	}
	else
		for (uint32 n = sizeof(word); n <= Min(key->len, 3 * sizeof(word)); n += sizeof(word))
		{
			memcpy(&word, end - n, sizeof(word));
			hash = (hash ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
			hash ^= hash >> 32;
		}
	return (uint32) hash | 1;
}

/* Where the hint of this hash is, whose last bit is always set. */
static inline Hint *
find_set(const CdcAhead *ahead, uint32 hash)
{
	return &ahead->hints[(Size) (hash >> 1 & ahead->mask) * SET];
}

/* The hint of this hash, or the one that makes room for it. */
static inline Hint *
find_hint(const CdcAhead *ahead, uint32 hash)
{
	Hint	   *set = find_set(ahead, hash);
	int			free = (hash >> 24) % SET;

	for (int i = 0; i < SET; i++)
	{
		if (set[i].hash == hash)
			return &set[i];
		if (set[i].winner == NULL)
			free = i;
	}
	return &set[free];
}

/* As many hints as there are winners, or more; those that there were, too. */
static void
make_hints(CdcAhead *ahead, const CdcRank *rank)
{
	Hint	   *before = ahead->hints;
	void	   *memory = ahead->memory;
	uint32		nbefore = before ? (ahead->mask + 1) * SET : 0;
	uint32		n = MIN_SETS;

	while (n * SET < 2 * rank->nwinners && n < MAX_SETS)
		n *= 2;
	ahead->memory = cdc_huge_alloc(rank->context, sizeof(Hint) * SET * n + CDC_CACHE_LINE,
								   MCXT_ALLOC_ZERO);
	ahead->hints = (Hint *) TYPEALIGN(CDC_CACHE_LINE, ahead->memory);
	ahead->mask = n - 1;
	for (uint32 i = 0; i < nbefore; i++)
		if (before[i].winner)
			*find_hint(ahead, before[i].hash) = before[i];
	if (memory)
		pfree(memory);
}

void
cdc_ahead_clear(CdcRank *rank)
{
	CdcAhead   *ahead = rank->state->ahead;

	if (ahead == NULL)
		return;
	rank->state->ahead = NULL;
	pfree(ahead->memory);
	pfree(ahead);
}

/* Is it worth while for this window? */
static bool
is_large(CdcRank *rank)
{
	CdcAhead   *ahead = rank->state->ahead;

	if (ahead == NULL)
	{
		if (rank->nwinners < MIN_WINNERS)
			return false;
		ahead = MemoryContextAllocZero(rank->context, sizeof(CdcAhead));
		make_hints(ahead, rank);
		rank->state->ahead = ahead;
	}
	else if (rank->nwinners > (int64) ahead->mask * SET && ahead->mask + 1 < MAX_SETS)
		make_hints(ahead, rank);
	return true;
}

void
cdc_ahead_fetch(CdcRank *rank, const CdcChunk *chunk, int i)
{
	CdcAhead   *ahead;
	const Hint *hint;
	int			j;

	if (!is_large(rank))
		return;
	ahead = rank->state->ahead;
	if (chunk != ahead->chunk || chunk->first_offset != ahead->chunk_first || i > ahead->next)
	{
		ahead->chunk = chunk;
		ahead->chunk_first = chunk->first_offset;
		ahead->next = i;
		memset(ahead->winners, 0, sizeof(ahead->winners));
	}
	for (; ahead->next < chunk->nrecords && ahead->next <= i + HINT_AHEAD; ahead->next++)
	{
		j = ahead->next % RING;
		ahead->ring[j] = hash_kafka_key(&chunk->keys[ahead->next]);
		ahead->winners[j] = NULL;
		__builtin_prefetch(find_set(ahead, ahead->ring[j]));
	}
	ahead->now = ahead->ring[i % RING];
	ahead->expected = ahead->winners[i % RING];
	if (i + WINNER_AHEAD < chunk->nrecords)
	{
		j = (i + WINNER_AHEAD) % RING;
		hint = find_hint(ahead, ahead->ring[j]);
		if (hint->winner && hint->hash == ahead->ring[j])
		{
			ahead->winners[j] = hint->winner;
			cdc_winner_prefetch(hint->winner);
		}
	}
	if (i + VALUES_AHEAD < chunk->nrecords)
	{
		const CdcWinner *w = ahead->winners[(i + VALUES_AHEAD) % RING];

		if (w && w->tokens)
			cdc_prefetch(w->tokens, Min(w->tokens_size, MAX_LINES * CDC_CACHE_LINE));
	}
}

CdcWinner *
cdc_ahead_expects(const CdcRank *rank)
{
	return rank->state->ahead ? rank->state->ahead->expected : NULL;
}

void
cdc_ahead_note(CdcRank *rank, CdcWinner *winner)
{
	CdcAhead   *ahead = rank->state->ahead;
	Hint	   *hint;

	/* a hint that was right is there still */
	if (ahead == NULL || ahead->now == 0 || ahead->expected == winner)
		return;
	hint = find_hint(ahead, ahead->now);
	hint->winner = winner;
	hint->hash = ahead->now;
}
