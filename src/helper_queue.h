/*-------------------------------------------------------------------------
 *
 * helper_queue.h
 *	  What a sync and its helper share.  Only helper.c and helper_main.c include it.
 *
 * A piece of dynamic shared memory: what is to be read and how, and a ring of slots
 * that the helper fills and the sync empties.  Each of the two numbers of a state is
 * written by one process alone; who waits for the other does so on its latch, which
 * is set behind each change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HELPER_QUEUE_H
#define CDC_HELPER_QUEUE_H

#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/latch.h"

#include "envelope.h"

/* Chunks that are ahead, and room for each: those that are larger are left out. */
#define CDC_HELPER_SLOTS		4
#define CDC_HELPER_SLOT_SIZE	((Size) 2 * 1024 * 1024)

/* What bgw_extra of a helper holds. */
typedef struct CdcHelperArgument
{
	Oid			database;
	dsm_handle	memory;
} CdcHelperArgument;

/* A partition that is to be read. */
typedef struct CdcHelperPart
{
	int64		partition;
	int64		from;
	int64		end;			/* in the last epoch */
	int32		epoch;
	int32		last_epoch;
} CdcHelperPart;

/* What is in a slot, by its first bytes; a parcel follows behind them. */
typedef enum CdcHelperKind
{
	CDC_HELPER_PARCEL,
	CDC_HELPER_LEFT_OUT,		/* a chunk that the sync is to read itself */
	CDC_HELPER_EPOCH_END		/* there is nothing more in this epoch */
} CdcHelperKind;

typedef struct CdcHelperSlot
{
	CdcHelperKind kind;
	int32		epoch;
	int64		partition;
	int64		from;			/* what is before this offset is in other slots */
} CdcHelperSlot;

typedef enum CdcHelperState
{
	CDC_HELPER_STARTING,
	CDC_HELPER_READY,			/* it waits to be told where to begin */
	CDC_HELPER_GONE				/* nothing will come but what is there */
} CdcHelperState;

typedef enum CdcHelperOrder
{
	CDC_HELPER_WAIT,
	CDC_HELPER_GO,
	CDC_HELPER_STOP
} CdcHelperOrder;

/* Written by the sync alone, but for what is said to be the helper's. */
typedef struct CdcHelperQueue
{
	Oid			user;
	Oid			chunks;			/* the chunk table */
	Latch	   *sync;
	Latch	   *helper;			/* the helper's, before it is READY */
	pg_atomic_uint32 state;		/* the helper's */
	pg_atomic_uint32 order;
	int64		begin_partition;	/* before GO: where to begin */
	int64		begin_offset;
	int32		begin_epoch;
	pg_atomic_uint32 filled;	/* the helper's: slots so far */
	pg_atomic_uint32 emptied;	/* slots so far */

	bool		decodes;		/* else it only reads */
	/* as cdc_decoder_create() and the like take it; texts are places below */
	int			nfields;
	int			nsource_fields;
	int			watch_first;
	int			nwatched;
	int			read_as;
	Size		fields;			/* of both lists: a length, fold, and the name each */
	Size		placeholder;	/* 0: NULL */
	Size		prefix;			/* 0: NULL */
	int			nparts;
	Size		parts;
	Size		slots;
} CdcHelperQueue;

#define cdc_helper_place(queue, place)	((char *) (queue) + (place))

static inline CdcHelperSlot *
cdc_helper_slot(CdcHelperQueue *queue, uint32 n)
{
	return (CdcHelperSlot *) cdc_helper_place(queue, queue->slots +
											  n % CDC_HELPER_SLOTS * CDC_HELPER_SLOT_SIZE);
}

#define CDC_HELPER_PARCEL_AT	MAXALIGN(sizeof(CdcHelperSlot))

#endif							/* CDC_HELPER_QUEUE_H */
