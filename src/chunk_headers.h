/*-------------------------------------------------------------------------
 *
 * chunk_headers.h
 *	  The distinct header lists of a chunk.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CHUNK_HEADERS_H
#define CDC_CHUNK_HEADERS_H

#include "utils/jsonb.h"

#include "cdcsync.h"

/* Zeroed: empty. */
typedef struct CdcChunkHeaders
{
	MemoryContext cxt;			/* NULL: not made */
	struct headerset_hash *set;
	Size		bytes;			/* that all of it takes */
	CdcBytes	last;			/* the list that was asked for last, */
	int16		last_no;		/* and its number */
	int			n;
	int			size;
	Datum	   *lists;			/* as jsonb */
} CdcChunkHeaders;

/*
 * Number of a header list (as librdkafka's reader packs it) in the chunk, from 1,
 * 0 if it is empty; jsonb is made once for each list that differs.  given: the
 * list as jsonb, whose bytes key then is.  parent: where its memory belongs.
 */
extern int16 cdc_chunk_headers_no(CdcChunkHeaders *headers, MemoryContext parent,
								  CdcBytes key, const Jsonb *given);

/* All of them, as jsonb[]. */
extern Datum cdc_chunk_headers_array(const CdcChunkHeaders *headers);

extern void cdc_chunk_headers_clear(CdcChunkHeaders *headers);

#endif							/* CDC_CHUNK_HEADERS_H */
