/*-------------------------------------------------------------------------
 *
 * array_buffer.c
 *	  One-dimensional arrays that grow at their end: what a chunk of a landing is
 *	  made of.
 *
 * An array is built in place, behind room for its header, so that it need not be
 * copied when it is complete, and its buffer serves for the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/memutils.h"

#include "array_buffer.h"

#define ARRAY_START			((Size) ARR_OVERHEAD_NONULLS(1))

static void
reserve(CdcBufferMemory *memory, CdcArrayBuffer *array, Size more)
{
	Size		need = array->used + more;
	Size		size = array->size;

	if (array->data == NULL)
	{
		array->used = ARRAY_START;
		need += ARRAY_START;
	}
	if (likely(array->data != NULL && need <= size))
		return;
	if (need > MaxAllocSize)
		elog(ERROR, "array of a chunk exceeds %zu bytes", (Size) MaxAllocSize);

	size = Max(size, 1024);
	while (size < need)
		size *= 2;
	size = Min(size, MaxAllocSize);
	if (array->data)
		array->data = repalloc(array->data, size);
	else
		array->data = MemoryContextAlloc(memory->cxt, size);
	memory->held += size - array->size;
	array->size = size;
}

void
cdc_array_mark(CdcBufferMemory *memory, CdcArrayBuffer *array, bool isnull)
{
	int			i = array->nitems++;

	if (likely(!isnull && !array->has_nulls))
		return;
	if (i / BITS_PER_BYTE >= array->nulls_size)
	{
		int			size = Max(64, 2 * (i / BITS_PER_BYTE + 1));

		if (array->nulls)
			array->nulls = repalloc(array->nulls, size);
		else
			array->nulls = MemoryContextAlloc(memory->cxt, size);
		memory->held += size - array->nulls_size;
		array->nulls_size = size;
	}
	if (!array->has_nulls)
	{
		memset(array->nulls, 0xFF, i / BITS_PER_BYTE + 1);
		array->has_nulls = true;
	}
	if (isnull)
		array->nulls[i / BITS_PER_BYTE] &= ~(1 << (i % BITS_PER_BYTE));
	else
		array->nulls[i / BITS_PER_BYTE] |= 1 << (i % BITS_PER_BYTE);
}

Size
cdc_array_add_bytes(CdcBufferMemory *memory, CdcArrayBuffer *array, CdcBytes bytes)
{
	Size		len;
	char	   *element;

	cdc_array_mark(memory, array, bytes.data == NULL);
	if (bytes.data == NULL)
		return 0;

	len = INTALIGN((Size) bytes.len + VARHDRSZ);
	reserve(memory, array, len);
	element = array->data + array->used;
	if (len > bytes.len + VARHDRSZ)
		memset(element + len - sizeof(int32), 0, sizeof(int32));	/* padding */
	SET_VARSIZE(element, bytes.len + VARHDRSZ);
	memcpy(VARDATA(element), bytes.data, bytes.len);
	array->used += len;
	return array->used - len;
}

/* Append a value of a fixed length. */
static inline void
add_fixed(CdcBufferMemory *memory, CdcArrayBuffer *array, const void *value, Size len)
{
	cdc_array_mark(memory, array, false);
	reserve(memory, array, len);
	memcpy(array->data + array->used, value, len);
	array->used += len;
}

void
cdc_array_add_int64(CdcBufferMemory *memory, CdcArrayBuffer *array, int64 value)
{
	add_fixed(memory, array, &value, sizeof(value));
}

void
cdc_array_add_int16(CdcBufferMemory *memory, CdcArrayBuffer *array, int16 value)
{
	add_fixed(memory, array, &value, sizeof(value));
}

Datum
cdc_array_finish(CdcBufferMemory *memory, CdcArrayBuffer *array, Oid elemtype)
{
	Size		start = ARRAY_START;
	ArrayType  *result;

	reserve(memory, array, 0);	/* all elements may be NULL */
	if (array->has_nulls)
	{
		start = ARR_OVERHEAD_WITHNULLS(1, array->nitems);
		reserve(memory, array, start - ARRAY_START);
		memmove(array->data + start, array->data + ARRAY_START,
				array->used - ARRAY_START);
		array->used += start - ARRAY_START;
	}

	result = (ArrayType *) array->data;
	SET_VARSIZE(result, array->used);
	result->ndim = 1;
	result->dataoffset = array->has_nulls ? (int32) start : 0;
	result->elemtype = elemtype;
	ARR_DIMS(result)[0] = array->nitems;
	ARR_LBOUND(result)[0] = 1;
	if (array->has_nulls)
		memcpy(array->data + sizeof(ArrayType) + 2 * sizeof(int), array->nulls,
			   (array->nitems + BITS_PER_BYTE - 1) / BITS_PER_BYTE);
	return PointerGetDatum(result);
}

void
cdc_array_clear(CdcBufferMemory *memory, CdcArrayBuffer *array, Size keep)
{
	if (array->data && array->size > keep)
	{
		memory->held -= array->size;
		pfree(array->data);
		array->data = NULL;
		array->size = 0;
	}
	array->used = array->data ? ARRAY_START : 0;
	array->nitems = 0;
	array->has_nulls = false;
}
