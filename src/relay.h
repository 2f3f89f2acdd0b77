/*-------------------------------------------------------------------------
 *
 * relay.h
 *	  Changes that one decoder has found, for who has the record's bytes no more.
 *
 * Pure C, no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_RELAY_H
#define CDC_RELAY_H

#include "envelope.h"

/* What is written begins and ends at multiples of this. */
#define CDC_RELAY_ALIGN	8

/*
 * Write the change that the decoder has just returned; the bytes that it took, 0 if
 * there is no room, or it is a change that is not relayed: the reader is to have
 * the record itself then.
 */
extern size_t cdc_relay_write(CdcDecoder *decoder, const CdcChange *change,
							  char *to, size_t room);

/* What was written since then is lost: do not build on it. */
extern void cdc_relay_forget(CdcDecoder *decoder);

/*
 * Read what was written, in its order.  A record may be read again until the next
 * one is.
 */
typedef struct CdcRelay CdcRelay;

/* malloc'ed; NULL when out of memory.  As the decoder was made. */
extern CdcRelay *cdc_relay_create(int nrow, int nsource);
extern void cdc_relay_free(CdcRelay *relay);

typedef enum CdcRelayed
{
	CDC_RELAYED,
	CDC_RELAY_NO_MEMORY,
	CDC_RELAY_GAP				/* a record before this one was left out */
} CdcRelayed;

/*
 * The change, whose tokens belong to the reader and point into what was written;
 * before_json and the other whole objects are left out.
 */
extern CdcRelayed cdc_relay_read(CdcRelay *relay, const char *from, CdcChange *change);

#endif							/* CDC_RELAY_H */
