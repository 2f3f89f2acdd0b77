/*-------------------------------------------------------------------------
 *
 * parcel.h
 *	  A chunk of a landing whose records were decoded by another process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PARCEL_H
#define CDC_PARCEL_H

#include "envelope.h"
#include "landing.h"

/*
 * Write a chunk, decoding its records from chunk->first on, into memory that is
 * aligned to MAXIMUM_ALIGNOF.  False if there is not enough of it.  decoder NULL:
 * leave that to the reader.
 */
extern bool cdc_parcel_write(CdcDecoder *decoder, const CdcChunk *chunk,
							 char *memory, Size size);

/* Who reads them, in their order.  In the current memory context. */
typedef struct CdcParcel CdcParcel;

extern CdcParcel *cdc_parcel_create(int nrow, int nsource);

/* Open one in place of the one before. */
extern const CdcChunk *cdc_parcel_open(CdcParcel *parcel, const char *memory);

/*
 * The chunk, beginning with its first record that has an offset >= from.  NULL: some
 * record behind that one was looked at already.
 */
extern const CdcChunk *cdc_parcel_chunk(CdcParcel *parcel, int64 from);

/*
 * The change that record i of a parcel's chunk was found to be.  False: it is to be
 * decoded here, and chunk->values[i] has its bytes; else that has only their number,
 * and the change comes without its whole objects (before_json and the like).
 */
extern bool cdc_parcel_change(CdcParcel *parcel, int i, CdcChange *change);

/* Has the other process decoded it? */
extern bool cdc_parcel_is_decoded(const CdcParcel *parcel, int i);

#endif							/* CDC_PARCEL_H */
