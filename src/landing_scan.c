/*-------------------------------------------------------------------------
 *
 * landing_scan.c
 *	  Chunks -> records: the scan that the sync reads, and the function by
 *	  which the landing view fetches an element.
 *
 * The scan runs in an SPI connection of the landing's owner that the caller
 * has open, with a snapshot taken when it begins or moves.  The arrays are
 * walked where they lie, in a context that keeps its first block, so that a
 * chunk of a megabyte costs neither a malloc nor page faults.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "landing.h"

/* Keeps this much over chunks: the usual one, compressed and not. */
#define SCRATCH_BYTES		((Size) 8 * 1024 * 1024)

struct CdcLandingScan
{
	MemoryContext cxt;
	MemoryContext scratch;		/* the current chunk */
	SPIPlanPtr	plan;
	Portal		portal;
	SPITupleTable *row;			/* of the current chunk; short arrays lie in it */
	int64		from;
	CdcChunk	chunk;
	int			size;			/* of the arrays below */
	CdcBytes   *keys;
	CdcBytes   *values;
	Timestamp  *timestamps;
};

/* ----------
 * Arrays
 * ----------
 */

/*
 * A detoasted array of one dimension; n: its length if >= 0.  The data is the
 * user's table, so trust nothing.
 */
static ArrayType *
get_array(Datum datum, Oid elemtype, int n)
{
	ArrayType  *array = (ArrayType *) PG_DETOAST_DATUM(datum);

	if (ARR_NDIM(array) != 1 || ARR_ELEMTYPE(array) != elemtype ||
		ARR_LBOUND(array)[0] != 1 || (n >= 0 && ARR_DIMS(array)[0] != n))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk of a landing is not well-formed")));
	return array;
}

static inline bool
element_is_null(const bits8 *nulls, int i)
{
	return nulls && !(nulls[i / BITS_PER_BYTE] & (1 << (i % BITS_PER_BYTE)));
}

/* Elements of a bytea array as bytes, which point into it. */
static void
get_bytes(ArrayType *array, CdcBytes *result)
{
	int			n = ARR_DIMS(array)[0];
	const bits8 *nulls = ARR_NULLBITMAP(array);
	char	   *element = ARR_DATA_PTR(array);

	for (int i = 0; i < n; i++)
	{
		if (element_is_null(nulls, i))
		{
			result[i].data = NULL;
			result[i].len = 0;
			continue;
		}
		result[i].data = VARDATA_ANY(element);
		result[i].len = VARSIZE_ANY_EXHDR(element);
		element += INTALIGN(VARSIZE_ANY(element));
	}
}

static const Timestamp *
get_timestamps(CdcLandingScan *scan, ArrayType *array)
{
	const bits8 *nulls = ARR_NULLBITMAP(array);
	const Timestamp *element = (const Timestamp *) ARR_DATA_PTR(array);

	if (nulls == NULL)
		return element;
	for (int i = 0; i < scan->chunk.nrecords; i++)
		scan->timestamps[i] = element_is_null(nulls, i) ? DT_NOBEGIN : *element++;
	return scan->timestamps;
}

static void
no_nulls(ArrayType *array)
{
	if (ARR_HASNULL(array))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk of a landing is not well-formed")));
}

static void
get_headers(CdcChunk *chunk, Datum headers, Datum header_no, bool mixed)
{
	ArrayType  *array = get_array(headers, JSONBOID, -1);
	char	   *element = ARR_DATA_PTR(array);

	no_nulls(array);
	chunk->nheaders = ARR_DIMS(array)[0];
	chunk->headers = palloc(chunk->nheaders * sizeof(Jsonb *));
	for (int i = 0; i < chunk->nheaders; i++)
	{
		chunk->headers[i] = (Jsonb *) element;
		element += INTALIGN(VARSIZE_ANY(element));
	}
	if (mixed)
	{
		array = get_array(header_no, INT2OID, chunk->nrecords);
		no_nulls(array);
		chunk->header_no = (const int16 *) ARR_DATA_PTR(array);
	}
}

/* ----------
 * The scan
 * ----------
 */

static void
open_cursor(CdcLandingScan *scan, int64 partition, int32 epoch, int64 from)
{
	Datum		values[3];

	scan->from = from;
	scan->chunk.partition = partition;
	scan->chunk.epoch = epoch;
	values[0] = Int64GetDatum(partition);
	values[1] = Int32GetDatum(epoch);
	values[2] = Int64GetDatum(from);
	scan->portal = SPI_cursor_open(NULL, scan->plan, values, NULL, false);
	if (scan->portal == NULL)
		elog(ERROR, "could not open a cursor: %s",
			 SPI_result_code_string(SPI_result));
}

CdcLandingScan *
cdc_landing_scan_begin(const CdcLanding *landing, int64 partition, int32 epoch,
					   int64 from)
{
	static const Oid types[] = {INT8OID, INT4OID, INT8OID};
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext,
											  "cdcsync scan",
											  ALLOCSET_DEFAULT_SIZES);
	CdcLandingScan *scan = MemoryContextAllocZero(cxt, sizeof(*scan));
	char	   *chunk = cdc_qualified_name(landing->chunk);

	scan->cxt = cxt;
	scan->scratch = GenerationContextCreate(cxt, "cdcsync scan scratch", 0,
											SCRATCH_BYTES, 8 * SCRATCH_BYTES);

	/* The chunk that holds "from" is the last one that starts at or below. */
	scan->plan =
		SPI_prepare_cursor(psprintf("SELECT first_offset, last_offset, refresh_time, kafka_timestamp_type,"
									" kafka_offset, kafka_timestamp, kafka_key, kafka_value, headers, header_no"
									" FROM %s WHERE kafka_partition = $1 AND epoch = $2"
									" AND first_offset >= COALESCE((SELECT max(first_offset) FROM %s"
									" WHERE kafka_partition = $1 AND epoch = $2 AND first_offset <= $3), $3)"
									" AND last_offset >= $3"
									" ORDER BY kafka_partition, epoch, first_offset",
									chunk, chunk),
						   lengthof(types), (Oid *) types, CURSOR_OPT_NO_SCROLL);
	if (scan->plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s",
			 SPI_result_code_string(SPI_result));
	open_cursor(scan, partition, epoch, from);
	return scan;
}

static void
close_cursor(CdcLandingScan *scan)
{
	SPI_freetuptable(scan->row);
	scan->row = NULL;
	SPI_cursor_close(scan->portal);
	scan->portal = NULL;
}

void
cdc_landing_scan_move(CdcLandingScan *scan, int64 partition, int32 epoch,
					  int64 from)
{
	close_cursor(scan);
	open_cursor(scan, partition, epoch, from);
}

static void
grow(CdcLandingScan *scan, int n)
{
	if (n <= scan->size)
		return;
	scan->size = Max(n, 1024);
	if (scan->keys)
	{
		pfree(scan->keys);
		pfree(scan->values);
		pfree(scan->timestamps);
	}
	scan->keys = MemoryContextAllocHuge(scan->cxt, scan->size * sizeof(CdcBytes));
	scan->values = MemoryContextAllocHuge(scan->cxt, scan->size * sizeof(CdcBytes));
	scan->timestamps = MemoryContextAllocHuge(scan->cxt, scan->size * sizeof(Timestamp));
}

/* Index of the first record with offset >= from. */
static int
first_record(const CdcChunk *chunk, int64 from)
{
	int			low = 0;
	int			high = chunk->nrecords;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (cdc_chunk_offset(chunk, middle) < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Decode the row that was fetched, in the scratch context. */
static void
decode(CdcLandingScan *scan)
{
	CdcChunk   *chunk = &scan->chunk;
	Datum		values[11];
	bool		nulls[11];
	ArrayType  *keys;
	ArrayType  *array;

	for (int i = 1; i <= 10; i++)
		values[i] = cdc_spi_value(0, i, &nulls[i]);
	chunk->first_offset = DatumGetInt64(values[1]);
	chunk->last_offset = DatumGetInt64(values[2]);
	chunk->refresh_time = DatumGetTimestamp(values[3]);
	chunk->timestamp_type = DatumGetChar(values[4]);

	array = get_array(values[8], BYTEAOID, -1);
	chunk->nrecords = ARR_DIMS(array)[0];
	grow(scan, chunk->nrecords);
	get_bytes(array, scan->values);
	keys = get_array(values[7], BYTEAOID, chunk->nrecords);
	get_bytes(keys, scan->keys);
	chunk->keys = scan->keys;
	chunk->values = scan->values;
	chunk->timestamps = get_timestamps(scan, get_array(values[6], TIMESTAMPOID,
													   chunk->nrecords));

	chunk->offsets = NULL;
	if (!nulls[5])
	{
		array = get_array(values[5], INT8OID, chunk->nrecords);
		no_nulls(array);
		chunk->offsets = (const int64 *) ARR_DATA_PTR(array);
	}

	chunk->nheaders = 0;
	chunk->headers = NULL;
	chunk->header_no = NULL;
	if (!nulls[9])
		get_headers(chunk, values[9], values[10], !nulls[10]);
	chunk->first = first_record(chunk, scan->from);
}

const CdcChunk *
cdc_landing_scan_next(CdcLandingScan *scan)
{
	MemoryContext old;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(scan->scratch);
	SPI_freetuptable(scan->row);
	SPI_cursor_fetch(scan->portal, true, 1);
	scan->row = SPI_tuptable;
	if (SPI_processed == 0)
		return NULL;

	old = MemoryContextSwitchTo(scan->scratch);
	decode(scan);
	MemoryContextSwitchTo(old);
	return &scan->chunk;
}

void
cdc_landing_scan_end(CdcLandingScan *scan)
{
	close_cursor(scan);
	SPI_freeplan(scan->plan);
	MemoryContextDelete(scan->cxt);
}

Jsonb *
cdc_chunk_headers(const CdcChunk *chunk, int i)
{
	int			no = chunk->header_no ? chunk->header_no[i] : 1;

	if (no < 0 || (chunk->header_no && no > chunk->nheaders))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk of a landing is not well-formed")));
	return no == 0 || chunk->nheaders == 0 ? NULL : chunk->headers[no - 1];
}

/* ----------
 * An element for the view
 * ----------
 */

/* The array of the last call, and where each element is. */
typedef struct ElementCache
{
	MemoryContext cxt;			/* the rest is allocated here */
	Size		source_len;		/* the array as it was given: mostly a toast
								 * pointer */
	char	   *source;
	int			nelements;
	CdcBytes   *elements;		/* with their varlena headers; NULL: NULL */
} ElementCache;

static void
fill_cache(ElementCache *cache, struct varlena *source, Size source_len)
{
	MemoryContext old;
	ArrayType  *array;
	const bits8 *nulls;
	char	   *element;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	cache->source_len = 0;
	MemoryContextReset(cache->cxt);
	old = MemoryContextSwitchTo(cache->cxt);
	array = (ArrayType *) PG_DETOAST_DATUM_COPY(PointerGetDatum(source));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	if (typlen != -1 || typalign != TYPALIGN_INT || ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("array of type %s is not supported",
						format_type_be(ARR_ELEMTYPE(array)))));

	cache->nelements = ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
	cache->elements = palloc_extended((Size) cache->nelements * sizeof(CdcBytes) + 1,
									  MCXT_ALLOC_HUGE);
	nulls = ARR_NULLBITMAP(array);
	element = ARR_DATA_PTR(array);
	for (int i = 0; i < cache->nelements; i++)
	{
		cache->elements[i].data = NULL;
		if (element_is_null(nulls, i))
			continue;
		cache->elements[i].data = element;
		cache->elements[i].len = VARSIZE_ANY(element);
		element += INTALIGN(VARSIZE_ANY(element));
	}
	cache->source = palloc(source_len);
	memcpy(cache->source, source, source_len);
	cache->source_len = source_len;
	MemoryContextSwitchTo(old);
}

/*
 * chunk_element(anyarray, bigint)
 *		array[n], for arrays of bytea and jsonb.  Unlike a subscript it keeps
 *		the detoasted array for the next call: the view asks for all elements
 *		of an array, one after the other.
 */
PG_FUNCTION_INFO_V1(cdc_chunk_element);
Datum
cdc_chunk_element(PG_FUNCTION_ARGS)
{
	struct varlena *source = (struct varlena *) PG_GETARG_POINTER(0);
	int64		n = PG_GETARG_INT64(1);
	ElementCache *cache = fcinfo->flinfo->fn_extra;
	Size		source_len;
	struct varlena *result;

	if (VARATT_IS_EXTERNAL(source) && !VARATT_IS_EXTERNAL_ONDISK(source))
		source = PG_DETOAST_DATUM(PointerGetDatum(source));
	source_len = VARSIZE_ANY(source);

	if (cache == NULL)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(*cache));
		cache->cxt = GenerationContextCreate(fcinfo->flinfo->fn_mcxt,
											 "cdcsync chunk element", 0,
											 SCRATCH_BYTES, 8 * SCRATCH_BYTES);
		fcinfo->flinfo->fn_extra = cache;
	}
	if (cache->source_len != source_len ||
		memcmp(cache->source, source, source_len) != 0)
		fill_cache(cache, source, source_len);

	if (n < 1 || n > cache->nelements || cache->elements[n - 1].data == NULL)
		PG_RETURN_NULL();
	result = palloc(cache->elements[n - 1].len);
	memcpy(result, cache->elements[n - 1].data, cache->elements[n - 1].len);
	PG_RETURN_POINTER(result);
}
