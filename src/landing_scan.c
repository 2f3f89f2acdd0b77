/*-------------------------------------------------------------------------
 *
 * landing_scan.c
 *	  Chunks -> records: the scan that the sync reads, and the function by
 *	  which the landing view fetches an element.
 *
 * The scan runs as the current user, who may read the chunks, with a snapshot
 * taken when it begins or moves.  It goes by the primary key and not through
 * the planner, whose estimate of what is new to a table that is kept for a day
 * would make it read and sort all of that.  The arrays are walked where they lie,
 * in a context that keeps its first block, so that a chunk of a megabyte costs
 * neither a malloc nor page faults.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tupmacs.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "landing.h"

/* Keeps this much over chunks: the usual one, compressed and not. */
#define SCRATCH_BYTES		((Size) 8 * 1024 * 1024)

/* Columns of a chunk table; those of the key come first. */
enum
{
	COLUMN_PARTITION,
	COLUMN_EPOCH,
	COLUMN_FIRST_OFFSET,
	COLUMN_LAST_OFFSET,
	COLUMN_REFRESH_TIME,
	COLUMN_TIMESTAMP_TYPE,
	COLUMN_OFFSETS,
	COLUMN_TIMESTAMPS,
	COLUMN_KEYS,
	COLUMN_VALUES,
	COLUMN_HEADERS,
	COLUMN_HEADER_NO,
	NCOLUMNS
};

#define NKEYS	3

static const struct
{
	const char *name;
	Oid			type;
}			columns[NCOLUMNS] =
{
	[COLUMN_PARTITION] = {"kafka_partition", INT8OID},
	[COLUMN_EPOCH] = {"epoch", INT4OID},
	[COLUMN_FIRST_OFFSET] = {"first_offset", INT8OID},
	[COLUMN_LAST_OFFSET] = {"last_offset", INT8OID},
	[COLUMN_REFRESH_TIME] = {"refresh_time", TIMESTAMPOID},
	[COLUMN_TIMESTAMP_TYPE] = {"kafka_timestamp_type", CHAROID},
	[COLUMN_OFFSETS] = {"kafka_offset", INT8ARRAYOID},
	[COLUMN_TIMESTAMPS] = {"kafka_timestamp", TIMESTAMPARRAYOID},
	[COLUMN_KEYS] = {"kafka_key", BYTEAARRAYOID},
	[COLUMN_VALUES] = {"kafka_value", BYTEAARRAYOID},
	[COLUMN_HEADERS] = {"headers", JSONBARRAYOID},
	[COLUMN_HEADER_NO] = {"header_no", INT2ARRAYOID},
};

struct CdcLandingScan
{
	MemoryContext cxt;
	MemoryContext scratch;		/* the current chunk */
	Relation	rel;
	Relation	index;
	AttrNumber	attnums[NCOLUMNS];
	Snapshot	snapshot;
	SysScanDesc scan;			/* its tuple is the current chunk's */
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

/* Find the columns: the table is its owner's, and may have been altered. */
static void
find_columns(CdcLandingScan *scan)
{
	TupleDesc	desc = RelationGetDescr(scan->rel);

	for (int i = 0; i < NCOLUMNS; i++)
	{
		int			at = 0;

		while (at < desc->natts &&
			   (TupleDescAttr(desc, at)->attisdropped ||
				TupleDescAttr(desc, at)->atttypid != columns[i].type ||
				strcmp(NameStr(TupleDescAttr(desc, at)->attname), columns[i].name) != 0))
			at++;
		if (at == desc->natts)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("chunk table %s has no column %s of its type",
							cdc_qualified_name(RelationGetRelid(scan->rel)),
							columns[i].name)));
		scan->attnums[i] = at + 1;
	}
}

/* Open the index of the key. */
static void
open_index(CdcLandingScan *scan)
{
	Oid			id;
	bool		fits;

	(void) RelationGetIndexList(scan->rel);
	id = RelationGetPrimaryKeyIndex_compat(scan->rel, false);
	scan->index = OidIsValid(id) ? index_open(id, AccessShareLock) : NULL;
	fits = scan->index && IndexRelationGetNumberOfKeyAttributes(scan->index) == NKEYS;
	for (int i = 0; fits && i < NKEYS; i++)
		fits = scan->index->rd_index->indkey.values[i] == scan->attnums[i];
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chunk table %s has lost its primary key",
						cdc_qualified_name(RelationGetRelid(scan->rel))),
				 errhint("Make it again: PRIMARY KEY (kafka_partition, epoch, first_offset).")));
}

/* What a query would check, too. */
static void
check_access(const CdcLandingScan *scan)
{
	Oid			id = RelationGetRelid(scan->rel);
	AclResult	result = pg_class_aclcheck(id, GetUserId(), ACL_SELECT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, RelationGetRelationName(scan->rel));
	if (check_enable_rls(id, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security on chunk table %s is not supported",
						cdc_qualified_name(id))));
}

static void
start_scan(CdcLandingScan *scan, StrategyNumber strategy, RegProcedure compare,
		   int64 offset)
{
	ScanKeyData keys[NKEYS];

	ScanKeyInit(&keys[0], scan->attnums[COLUMN_PARTITION], BTEqualStrategyNumber,
				F_INT8EQ, Int64GetDatum(scan->chunk.partition));
	ScanKeyInit(&keys[1], scan->attnums[COLUMN_EPOCH], BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(scan->chunk.epoch));
	ScanKeyInit(&keys[2], scan->attnums[COLUMN_FIRST_OFFSET], strategy, compare,
				Int64GetDatum(offset));
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index, scan->snapshot,
											NKEYS, keys);
}

static void
stop_scan(CdcLandingScan *scan)
{
	systable_endscan_ordered(scan->scan);
	scan->scan = NULL;
}

static int64
tuple_offset(const CdcLandingScan *scan, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, scan->attnums[column],
									 RelationGetDescr(scan->rel), &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static void
start(CdcLandingScan *scan, int64 partition, int32 epoch, int64 from)
{
	MemoryContext old = MemoryContextSwitchTo(scan->cxt);
	HeapTuple	tuple;
	int64		first = from;

	CommandCounterIncrement();
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->from = from;
	scan->chunk.partition = partition;
	scan->chunk.epoch = epoch;

	/* The chunk that holds "from" is the last one that starts at or below. */
	start_scan(scan, BTLessEqualStrategyNumber, F_INT8LE, from);
	tuple = systable_getnext_ordered(scan->scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		first = tuple_offset(scan, tuple, COLUMN_FIRST_OFFSET);
	stop_scan(scan);
	start_scan(scan, BTGreaterEqualStrategyNumber, F_INT8GE, first);
	MemoryContextSwitchTo(old);
}

static void
stop(CdcLandingScan *scan)
{
	stop_scan(scan);
	UnregisterSnapshot(scan->snapshot);
}

CdcLandingScan *
cdc_landing_scan_begin(const CdcLanding *landing, int64 partition, int32 epoch,
					   int64 from)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext,
											  "cdcsync scan",
											  ALLOCSET_DEFAULT_SIZES);
	CdcLandingScan *scan = MemoryContextAllocZero(cxt, sizeof(*scan));

	scan->cxt = cxt;
	scan->scratch = GenerationContextCreate(cxt, "cdcsync scan scratch", 0,
											SCRATCH_BYTES, 8 * SCRATCH_BYTES);
	scan->rel = table_open(landing->chunk, AccessShareLock);
	check_access(scan);
	find_columns(scan);
	open_index(scan);
	start(scan, partition, epoch, from);
	return scan;
}

void
cdc_landing_scan_move(CdcLandingScan *scan, int64 partition, int32 epoch,
					  int64 from)
{
	stop(scan);
	start(scan, partition, epoch, from);
}

void
cdc_landing_scan_move_back(CdcLandingScan *scan, int64 partition, int32 epoch,
						   int64 before)
{
	MemoryContext old = MemoryContextSwitchTo(scan->cxt);

	stop(scan);
	scan->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	scan->from = PG_INT64_MIN;
	scan->chunk.partition = partition;
	scan->chunk.epoch = epoch;
	start_scan(scan, BTLessStrategyNumber, F_INT8LT, before);
	MemoryContextSwitchTo(old);
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

/* Decode the tuple that was fetched, in the scratch context. */
static void
decode(CdcLandingScan *scan, HeapTuple tuple)
{
	CdcChunk   *chunk = &scan->chunk;
	Datum		values[NCOLUMNS];
	bool		nulls[NCOLUMNS];
	ArrayType  *keys;
	ArrayType  *array;

	for (int i = 0; i < NCOLUMNS; i++)
	{
		values[i] = heap_getattr(tuple, scan->attnums[i], RelationGetDescr(scan->rel),
								 &nulls[i]);
		if (nulls[i] && i != COLUMN_OFFSETS && i != COLUMN_HEADERS && i != COLUMN_HEADER_NO)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("chunk of a landing is not well-formed")));
	}
	chunk->first_offset = DatumGetInt64(values[COLUMN_FIRST_OFFSET]);
	chunk->last_offset = DatumGetInt64(values[COLUMN_LAST_OFFSET]);
	chunk->refresh_time = DatumGetTimestamp(values[COLUMN_REFRESH_TIME]);
	chunk->timestamp_type = DatumGetChar(values[COLUMN_TIMESTAMP_TYPE]);

	array = get_array(values[COLUMN_VALUES], BYTEAOID, -1);
	chunk->nrecords = ARR_DIMS(array)[0];
	grow(scan, chunk->nrecords);
	get_bytes(array, scan->values);
	keys = get_array(values[COLUMN_KEYS], BYTEAOID, chunk->nrecords);
	get_bytes(keys, scan->keys);
	chunk->keys = scan->keys;
	chunk->values = scan->values;
	chunk->timestamps = get_timestamps(scan, get_array(values[COLUMN_TIMESTAMPS],
													   TIMESTAMPOID, chunk->nrecords));

	chunk->offsets = NULL;
	if (!nulls[COLUMN_OFFSETS])
	{
		array = get_array(values[COLUMN_OFFSETS], INT8OID, chunk->nrecords);
		no_nulls(array);
		chunk->offsets = (const int64 *) ARR_DATA_PTR(array);
	}

	chunk->nheaders = 0;
	chunk->headers = NULL;
	chunk->header_no = NULL;
	if (!nulls[COLUMN_HEADERS])
		get_headers(chunk, values[COLUMN_HEADERS], values[COLUMN_HEADER_NO],
					!nulls[COLUMN_HEADER_NO]);
	cdc_chunk_begin_at(chunk, scan->from);
}

const CdcChunk *
cdc_landing_scan_next(CdcLandingScan *scan)
{
	MemoryContext old;
	HeapTuple	tuple;

	MemoryContextReset(scan->scratch);
	do
	{
		CHECK_FOR_INTERRUPTS();
		tuple = systable_getnext_ordered(scan->scan, ForwardScanDirection);
		if (!HeapTupleIsValid(tuple))
			return NULL;
	} while (tuple_offset(scan, tuple, COLUMN_LAST_OFFSET) < scan->from);

	old = MemoryContextSwitchTo(scan->scratch);
	decode(scan, tuple);
	MemoryContextSwitchTo(old);
	return &scan->chunk;
}

const CdcChunk *
cdc_landing_scan_previous(CdcLandingScan *scan)
{
	MemoryContext old;
	HeapTuple	tuple;

	MemoryContextReset(scan->scratch);
	CHECK_FOR_INTERRUPTS();
	tuple = systable_getnext_ordered(scan->scan, BackwardScanDirection);
	if (!HeapTupleIsValid(tuple))
		return NULL;
	old = MemoryContextSwitchTo(scan->scratch);
	decode(scan, tuple);
	MemoryContextSwitchTo(old);
	return &scan->chunk;
}

void
cdc_landing_scan_end(CdcLandingScan *scan)
{
	stop(scan);
	index_close(scan->index, NoLock);
	table_close(scan->rel, NoLock);
	MemoryContextDelete(scan->cxt);
}

void
cdc_chunk_begin_at(CdcChunk *chunk, int64 from)
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
	chunk->first = low;
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
