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

#include "envelope.h"

struct CdcSkeleton;
typedef struct CdcReplay CdcReplay;

/*
 * The record that the skeleton was made of was found to be this change: keep what
 * all records that fit have in common, if nothing but values can differ.
 */
extern void cdc_replay_make(CdcDecoder *decoder, struct CdcSkeleton *skeleton,
							const CdcChange *change);

/*
 * The change of the record that fits the skeleton.  False if that is to be found
 * by a look at its images, which are as before.
 */
extern bool cdc_replay_change(CdcDecoder *decoder, struct CdcSkeleton *skeleton,
							  CdcChange *change);
extern void cdc_replay_free(CdcReplay *replay);

#endif							/* CDC_REPLAY_H */
