/*-------------------------------------------------------------------------
 *
 * array_buffer.h
 *	  One-dimensional arrays that grow at their end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ARRAY_BUFFER_H
#define CDC_ARRAY_BUFFER_H

#include "cdcsync.h"

/* Where buffers are, and how many bytes they take. */
typedef struct CdcBufferMemory
{
	MemoryContext cxt;
	Size		held;
} CdcBufferMemory;

/* Zeroed: empty. */
typedef struct CdcArrayBuffer
{
	char	   *data;			/* room for the array's header, then elements */
	Size		used;
	Size		size;
	int			nitems;
	bool		has_nulls;
	bits8	   *nulls;			/* bit set: not NULL, as in arrays */
	int			nulls_size;
} CdcArrayBuffer;

/* Append a NULL; or (isnull is false) count an element whose bytes follow. */
extern void cdc_array_mark(CdcBufferMemory *memory, CdcArrayBuffer *array, bool isnull);

/*
 * Append a bytea, NULL if it has no data.  Returns where the element is, 0 if it
 * is NULL: a varlena at data + that, until the array is finished.
 */
extern Size cdc_array_add_bytes(CdcBufferMemory *memory, CdcArrayBuffer *array, CdcBytes bytes);
extern void cdc_array_add_int64(CdcBufferMemory *memory, CdcArrayBuffer *array, int64 value);
extern void cdc_array_add_int16(CdcBufferMemory *memory, CdcArrayBuffer *array, int16 value);

/* Write the array's header; the buffer is the array then. */
extern Datum cdc_array_finish(CdcBufferMemory *memory, CdcArrayBuffer *array, Oid elemtype);

/* Forget the elements; the buffer too if it is larger than keep bytes. */
extern void cdc_array_clear(CdcBufferMemory *memory, CdcArrayBuffer *array, Size keep);

#endif							/* CDC_ARRAY_BUFFER_H */
