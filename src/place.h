/*-------------------------------------------------------------------------
 *
 * place.h
 *	  Where the rows are that a record's own key does not tell of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PLACE_H
#define CDC_PLACE_H

#include "rank.h"

/* A key that a row of the source has, or has had. */
typedef struct CdcPlaceKey
{
	CdcBytes	key;			/* canonical */
	CdcToken   *tokens;			/* [ncolumns], of the key's columns */
	bool		in_target;		/* a row of the target has it as the window begins */
} CdcPlaceKey;

/* What is known of the rows, while a window is ranked again and again. */
typedef struct CdcPlaces
{
	MemoryContext parent;		/* set by the caller */
	MemoryContext context;		/* NULL: nothing yet */
	bool		quarantine;		/* set by the caller: some records are in it */
	bool	   *told;			/* [nkeys] the columns that the record's key has */
	struct placetable_hash *table;	/* NULL: empty */
	List	   *wants;			/* of the window as it is ranked now */
	bool		asked;			/* .. some record's key was looked at */
	bool		has_truncate;	/* of several partitions: the last one of the window is
								 * known before the records that come first */
	CdcOrigin	truncate;		/* it */
	StringInfoData buf;
} CdcPlaces;

typedef enum CdcPlaced
{
	CDC_PLACED_HERE,			/* where the record says, if anywhere */
	CDC_PLACED_NOWHERE,			/* it does not say, and there is none */
	CDC_PLACED_ELSEWHERE,		/* under another key */
	CDC_PLACED_UNKNOWN,			/* nothing tells which one is meant */
	CDC_PLACED_LATER			/* the window is ranked again, which will tell */
} CdcPlaced;

#define CDC_PLACES_APPLY(rank) \
	((rank)->places && (rank)->target->nkeys > 1 && !(rank)->looking_back && !(rank)->seen)

/* A window is to be ranked; is done with. */
extern void cdc_places_begin(CdcPlaces *places);
extern void cdc_places_end(CdcPlaces *places);

/*
 * The window has been ranked: look up what it asked for.  True: it is to be ranked
 * again.  In an open SPI connection, as the pipeline's owner.
 */
extern bool cdc_places_look_up(CdcRank *rank);

#endif							/* CDC_PLACE_H */
