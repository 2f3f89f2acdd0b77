/*-------------------------------------------------------------------------
 *
 * winner_memory.c
 *	  The memory of a window's winners and their tokens.
 *
 * There are hundreds of thousands of pieces, each record is about another one, and
 * palloc() would put them anywhere and round each up to a power of two.  So they
 * are cut out of blocks, along cache lines, and large blocks are on huge pages.
 * Tokens that are outgrown are used again for others of their size.  With the order
 * of the members of CdcWinner: 1M events of 200,000 keys, 19 % of the CPU of a sync
 * into an empty table.
 *
 * All of it is in state->rows, with which it is freed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "huge.h"
#include "window.h"

/* Each block is twice the one before, from the first to the largest. */
#define FIRST_BLOCK		((Size) 64 * 1024)
#define LAST_BLOCK		((Size) 8 * 1024 * 1024)

/* Tokens that are to be used again. */
typedef struct CdcFreeTokens
{
	struct CdcFreeTokens *next;
} CdcFreeTokens;

/* Bytes up to where a piece can begin. */
static Size
gap_before(const CdcWinnerMemory *memory, Size at)
{
	return TYPEALIGN(CDC_CACHE_LINE, (uintptr_t) memory->block + at) - at -
		(uintptr_t) memory->block;
}

void *
cdc_winner_keep(CdcRank *rank, Size size, Size at)
{
	CdcWinnerMemory *memory = &rank->state->memory;
	Size		gap = gap_before(memory, at);
	void	   *piece;

	if (memory->left < gap + size)
	{
		memory->size = Min(Max(2 * memory->size, FIRST_BLOCK), LAST_BLOCK);
		memory->left = Max(memory->size, size + CDC_CACHE_LINE);
		memory->block = cdc_huge_alloc(rank->state->rows, memory->left, 0);
		gap = gap_before(memory, at);
	}
	piece = memory->block + gap;
	memory->block += gap + size;
	memory->left -= gap + size;
	return piece;
}

CdcToken *
cdc_winner_tokens_new(CdcRank *rank, Size wanted, Size *size)
{
	Size		lines = (Max(wanted, 1) + CDC_CACHE_LINE - 1) / CDC_CACHE_LINE;
	CdcFreeTokens **freed;
	CdcFreeTokens *tokens;

	*size = lines * CDC_CACHE_LINE;
	if (lines > CDC_TOKENS_LINES)
		return MemoryContextAllocHuge(rank->state->rows, *size);
	freed = &rank->state->memory.freed[lines - 1];
	tokens = *freed;
	if (tokens == NULL)
		return cdc_winner_keep(rank, *size, 0);
	*freed = tokens->next;
	return (CdcToken *) tokens;
}

void
cdc_winner_tokens_free(CdcRank *rank, CdcToken *tokens, Size size)
{
	Size		lines = size / CDC_CACHE_LINE;
	CdcFreeTokens *piece = (CdcFreeTokens *) tokens;

	if (lines > CDC_TOKENS_LINES)
	{
		pfree(tokens);
		return;
	}
	piece->next = rank->state->memory.freed[lines - 1];
	rank->state->memory.freed[lines - 1] = piece;
}
