/*-------------------------------------------------------------------------
 *
 * replay.h
 *	  The change that a record is which fits a skeleton, without another look at
 *	  what it is.
 *
 * Pure C, no PostgreSQL.  Used by the files of the decoder alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_REPLAY_H
#define CDC_REPLAY_H

#include "decoder.h"

/* How the positions of a skeleton's records come about. */
typedef enum CdcPositionFrom
{
	CDC_POSITION_SAME,			/* it is the same in all records, if there is one */
	CDC_POSITION_MYSQL_POS,		/* MySQL's: but for "pos" */
	CDC_POSITION_ALL			/* all of it is to be read */
} CdcPositionFrom;

typedef struct CdcReplay
{
	bool		usable;
	CdcChange	change;			/* its tokens are up to date for the last record */
	CdcToken   *tokens;			/* before, after, source, in this order */
	int			ntokens;
	CdcStore   *stores;
	int			nstores;
	int			stores_size;
	int			ts_ms_gap;		/* CDC_NO_GAP: it is the same in all */
	int			source_ts_ms_gap;
	int			pos_gap;
	CdcPositionFrom position;
	bool		has_schema;
	CdcPlace	schema;
	uint8_t		number;			/* among the decoder's */
	uint64_t	relayed;		/* see relay.c: what it has in common with others was
								 * written since then, .. */
	uint32_t	common;			/* .. under this number */
} CdcReplay;

#define CDC_NO_GAP	(-1)

/*
 * The record that the skeleton was made of was found to be this change: keep what
 * all records that fit have in common, if nothing but values can differ.
 */
extern void cdc_replay_make(CdcDecoder *decoder, CdcSkeleton *skeleton,
							const CdcChange *change);

/*
 * The change of the record that fits the skeleton.  False if that is to be found
 * by a look at its images, which are as before.
 */
extern bool cdc_replay_change(CdcDecoder *decoder, CdcSkeleton *skeleton,
							  CdcChange *change);
extern void cdc_replay_free(CdcReplay *replay);

#endif							/* CDC_REPLAY_H */
