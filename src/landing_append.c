/*-------------------------------------------------------------------------
 *
 * landing_append.c
 *	  Records -> chunks: buffers a chunk per partition, writes it as one row,
 *	  moves the positions.
 *
 * Everything runs in the caller's transaction, under the lock that
 * cdc_landing_lock() took, so that the chunks and the positions after them
 * become visible together.  Chunks are inserted as the landing's owner, the
 * positions are moved as the owner of the catalog.
 *
 * The arrays of a chunk are built in place, in buffers that live from chunk to
 * chunk: a buffer of a megabyte that is taken from malloc and given back for
 * every chunk costs more in page faults than all the copying.  For the same
 * reason the big arrays are compressed here, in a context that keeps its first
 * block, and not by the executor, which would first copy them twice.
 *
 * A worker appends a few records to many landings, many times a second: so the
 * statements are planned once in a process, and the big buffers are made when
 * there is much to hold.
 *
 * When the transaction commits, shared memory learns that something has landed,
 * and who waits for that is woken; whoever appends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/toast_internals.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "headers.h"
#include "landing.h"
#include "wake.h"

/* Raw bytes that make a chunk full: 64 kB to 2 MB hardly differ. */
#define CHUNK_BYTES			(1024 * 1024)

/* All buffers of one append; beyond it the fullest chunk is written early. */
#define TOTAL_BYTES			((Size) 32 * 1024 * 1024)

/* A buffer that one huge record has blown up is not kept. */
#define KEEP_BYTES			((Size) 4 * CHUNK_BYTES)

/* Key, value and headers of a record share a tuple, which palloc makes. */
#define RECORD_BYTES_MAX	((Size) (MaxAllocSize - 16 * 1024 * 1024))

/* First block of the scratch context: holds a compressed chunk. */
#define SCRATCH_BYTES		((Size) 8 * 1024 * 1024)

/* A chunk below this needs no such block. */
#define SMALL_BYTES			((Size) 64 * 1024)

/* Plans of INSERTs that a process keeps; one takes about 20 kB. */
#define MAX_PLANS			2000

/* Arrays below this are left to the executor. */
#define COMPRESS_BYTES		2000

#define ARRAY_START			((Size) ARR_OVERHEAD_NONULLS(1))

/* A one-dimensional array that grows at its end. */
typedef struct ArrayBuffer
{
	char	   *data;			/* room for the array's header, then elements */
	Size		used;
	Size		size;
	int			nitems;
	bool		has_nulls;
	bits8	   *nulls;			/* bit set: not NULL, as in arrays */
	int			nulls_size;
} ArrayBuffer;

/* A header list of a chunk, found by its bytes. */
typedef struct HeaderEntry
{
	CdcBytes	bytes;
	uint32		hash;
	int16		no;
	char		status;
} HeaderEntry;

static inline uint32
header_hash(CdcBytes bytes)
{
	return hash_bytes((const unsigned char *) bytes.data, (int) bytes.len);
}

static inline bool
header_equal(CdcBytes a, CdcBytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

#define SH_PREFIX			headerset
#define SH_ELEMENT_TYPE		HeaderEntry
#define SH_KEY_TYPE			CdcBytes
#define SH_KEY				bytes
#define SH_HASH_KEY(tb, key)	header_hash(key)
#define SH_EQUAL(tb, a, b)	header_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A partition: its position, and the chunk that is being filled. */
typedef struct Slot
{
	int64		partition;
	int32		epoch;
	int32		expected_epoch; /* as it was locked */
	bool		stored;			/* has a row in cdcsync.position */
	bool		started;		/* next_offset is known */
	bool		touched;		/* to be written at the end */
	int64		expected;		/* next_offset as it was locked */
	int64		next_offset;
	int64		high_offset;	/* end of the log; -1: not told */
	bool		from_kafka;		/* the chunk's newest record is */
	int64		newest;			/* newest record: its offset, or LAST_KEPT, */
	int64		newest_hash;	/* and its hash, once its chunk is written */
	int64		newest_timestamp;	/* its time, before that */
	int64		oldest;			/* first record of this append, -1: none, */
	int32		oldest_epoch;	/* once its chunk is written */

	/* the chunk */
	Size		bytes;
	int			nrecords;
	int64		first_offset;
	int64		last_offset;
	Timestamp	refresh_time;
	char		timestamp_type;
	bool		has_holes;		/* offsets is in use */
	bool		mixed_headers;	/* header_nos is in use */
	ArrayBuffer offsets;
	ArrayBuffer timestamps;
	ArrayBuffer keys;
	ArrayBuffer values;
	ArrayBuffer header_nos;

	/* its distinct header lists */
	MemoryContext header_cxt;
	Size		header_bytes;
	headerset_hash *header_set;
	CdcBytes	last_header;	/* of the last record, with its number */
	int16		last_no;
	int			nheaders;
	int			headers_size;
	Datum	   *headers;
	Size		last_key;		/* where the newest record's are in their arrays */
	Size		last_value;
} Slot;

/* No record was appended: the row keeps what it says of the newest one .. */
#define LAST_KEPT		(-1)

/* .. or forgets it. */
#define LAST_FORGOTTEN	(-2)

typedef struct SlotEntry
{
	int64		partition;
	Slot	   *slot;
	char		status;
} SlotEntry;

#define SH_PREFIX			slotmap
#define SH_ELEMENT_TYPE		SlotEntry
#define SH_KEY_TYPE			int64
#define SH_KEY				partition
#define SH_HASH_KEY(tb, key)	murmurhash32((uint32) (key))
#define SH_EQUAL(tb, a, b)	((a) == (b))
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct CdcLandingAppend
{
	MemoryContext cxt;
	MemoryContext scratch;		/* reset after each chunk */
	MemoryContext big_scratch;	/* the same for big ones; NULL: not made */
	CdcLanding	landing;
	Timestamp	refresh_time;
	char		compression;	/* of the column kafka_value */
	int64		records;
	slotmap_hash *map;
	List	   *slots;
	Slot	   *last;			/* slot of the last record */
	Size		held;			/* bytes in all buffers */
};

/* ----------
 * Arrays that grow
 * ----------
 */

static void
array_reserve(CdcLandingAppend *append, ArrayBuffer *array, Size more)
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
		array->data = MemoryContextAlloc(append->cxt, size);
	append->held += size - array->size;
	array->size = size;
}

static void
array_mark(CdcLandingAppend *append, ArrayBuffer *array, bool isnull)
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
			array->nulls = MemoryContextAlloc(append->cxt, size);
		append->held += size - array->nulls_size;
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

/* Returns where the element is, 0 if it is NULL. */
static Size
array_add_bytes(CdcLandingAppend *append, ArrayBuffer *array, CdcBytes bytes)
{
	Size		len;
	char	   *element;

	array_mark(append, array, bytes.data == NULL);
	if (bytes.data == NULL)
		return 0;

	len = INTALIGN((Size) bytes.len + VARHDRSZ);
	array_reserve(append, array, len);
	element = array->data + array->used;
	if (len > bytes.len + VARHDRSZ)
		memset(element + len - sizeof(int32), 0, sizeof(int32));	/* padding */
	SET_VARSIZE(element, bytes.len + VARHDRSZ);
	memcpy(VARDATA(element), bytes.data, bytes.len);
	array->used += len;
	return array->used - len;
}

static void
array_add_int64(CdcLandingAppend *append, ArrayBuffer *array, int64 value)
{
	array_mark(append, array, false);
	array_reserve(append, array, sizeof(int64));
	memcpy(array->data + array->used, &value, sizeof(int64));
	array->used += sizeof(int64);
}

static void
array_add_int16(CdcLandingAppend *append, ArrayBuffer *array, int16 value)
{
	array_mark(append, array, false);
	array_reserve(append, array, sizeof(int16));
	memcpy(array->data + array->used, &value, sizeof(int16));
	array->used += sizeof(int16);
}

/* Write the array's header; the buffer is the array then. */
static Datum
array_finish(CdcLandingAppend *append, ArrayBuffer *array, Oid elemtype)
{
	Size		start = ARRAY_START;
	ArrayType  *result;

	array_reserve(append, array, 0);	/* all elements may be NULL */
	if (array->has_nulls)
	{
		start = ARR_OVERHEAD_WITHNULLS(1, array->nitems);
		array_reserve(append, array, start - ARRAY_START);
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

static void
array_clear(CdcLandingAppend *append, ArrayBuffer *array, bool release)
{
	if (array->data && (release || array->size > KEEP_BYTES))
	{
		append->held -= array->size;
		pfree(array->data);
		array->data = NULL;
		array->size = 0;
	}
	array->used = array->data ? ARRAY_START : 0;
	array->nitems = 0;
	array->has_nulls = false;
}

/* ----------
 * The positions
 * ----------
 */

static int
slot_compare(const ListCell *a, const ListCell *b)
{
	int64		x = ((Slot *) lfirst(a))->partition;
	int64		y = ((Slot *) lfirst(b))->partition;

	return x < y ? -1 : x > y;
}

static Datum
int64_array(const Datum *values, int n)
{
	return PointerGetDatum(construct_array((Datum *) values, n, INT8OID, 8,
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

#define POSITION_COLUMNS	10

static const Oid position_types[POSITION_COLUMNS + 1] = {INT4OID,
	INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID};

/* The parameters as a table. */
#define POSITION_ROWS \
	" FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11)" \
	" AS n (kafka_partition, epoch, expected, next_offset, high_offset," \
	" expected_epoch, last_offset, last_hash, first_epoch, first_offset)"

/*
 * Run a plan over the positions: of touched partitions that have a row
 * (stored), or of those that have none yet.  A row that it leaves out was moved
 * by another session since it was locked.
 */
static void
write_positions(CdcLandingAppend *append, bool stored, CdcPlan *plan)
{
	int			n = list_length(append->slots);
	Datum	   *columns[POSITION_COLUMNS];
	Datum		values[POSITION_COLUMNS + 1];
	int			count = 0;
	ListCell   *lc;

	for (int i = 0; i < POSITION_COLUMNS; i++)
		columns[i] = palloc(Max(n, 1) * sizeof(Datum));
	foreach(lc, append->slots)
	{
		Slot	   *slot = lfirst(lc);

		if (!slot->started || slot->stored != stored || (stored && !slot->touched))
			continue;
		columns[0][count] = Int64GetDatum(slot->partition);
		columns[1][count] = Int64GetDatum((int64) slot->epoch);
		columns[2][count] = Int64GetDatum(slot->expected);
		columns[3][count] = Int64GetDatum(slot->next_offset);
		columns[4][count] = Int64GetDatum(slot->high_offset);
		columns[5][count] = Int64GetDatum((int64) slot->expected_epoch);
		columns[6][count] = Int64GetDatum(slot->newest);
		columns[7][count] = Int64GetDatum(slot->newest_hash);
		columns[8][count] = Int64GetDatum((int64) slot->oldest_epoch);
		columns[9][count] = Int64GetDatum(slot->oldest);
		count++;
	}
	if (count == 0)
		return;

	values[0] = Int32GetDatum(append->landing.id);
	for (int i = 0; i < POSITION_COLUMNS; i++)
		values[i + 1] = int64_array(columns[i], count);
	if (cdc_spi_run_plan(plan, values, NULL) != count)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not move the positions of landing %s: another session moved them",
						cdc_qualified_name(append->landing.view)),
				 errhint("Retry the transaction.")));
}

/*
 * Make the rows of partitions that have none, before their first chunk: two
 * sessions that begin a partition at the same time collide here.
 */
static void
store_positions(CdcLandingAppend *append)
{
	static CdcPlan plan = {
		"INSERT INTO cdcsync.position (landing_id, kafka_partition, epoch, next_offset, start_offset)"
		" SELECT $1, n.kafka_partition, n.expected_epoch, n.expected, n.expected" POSITION_ROWS
		" ON CONFLICT DO NOTHING",
		lengthof(position_types), position_types
	};
	CdcSpi		spi;
	ListCell   *lc;
	bool		any = false;

	if (append->landing.id == CDC_LANDING_COPY)
		return;
	foreach(lc, append->slots)
	{
		Slot	   *slot = lfirst(lc);

		any |= slot->started && !slot->stored;
	}
	if (!any)
		return;
	cdc_spi_begin_catalog(&spi);
	write_positions(append, false, &plan);
	cdc_spi_end(&spi);
	foreach(lc, append->slots)
	{
		Slot	   *slot = lfirst(lc);

		slot->stored |= slot->started;
	}
}

static void
move_positions(CdcLandingAppend *append)
{
	static CdcPlan plan = {
		"UPDATE cdcsync.position AS p"
		" SET epoch = n.epoch, next_offset = n.next_offset, refreshed_at = pg_catalog.clock_timestamp(),"
		" high_offset = CASE WHEN n.high_offset >= 0 OR n.epoch <> p.epoch"
		" THEN GREATEST(n.high_offset, n.next_offset)"
		" ELSE GREATEST(p.high_offset, n.next_offset) END,"
		/* LAST_KEPT, LAST_FORGOTTEN */
		" last_offset = CASE WHEN n.last_offset >= 0 THEN n.last_offset"
		" WHEN n.last_offset = -1 THEN p.last_offset END,"
		" last_hash = CASE WHEN n.last_offset >= 0 THEN n.last_hash"
		" WHEN n.last_offset = -1 THEN p.last_hash END,"
		/* they stay as they are, once they are known */
		" first_epoch = CASE WHEN p.first_offset IS NULL AND n.first_offset >= 0"
		" THEN n.first_epoch ELSE p.first_epoch END,"
		" first_offset = CASE WHEN p.first_offset IS NULL AND n.first_offset >= 0"
		" THEN n.first_offset ELSE p.first_offset END" POSITION_ROWS
		" WHERE p.landing_id = $1 AND p.kafka_partition = n.kafka_partition"
		" AND p.epoch = n.expected_epoch AND p.next_offset = n.expected",
		lengthof(position_types), position_types
	};
	CdcSpi		spi;

	if (append->landing.id == CDC_LANDING_COPY)
		return;
	store_positions(append);
	cdc_spi_begin_catalog(&spi);
	write_positions(append, true, &plan);
	cdc_spi_end(&spi);
}

/* ----------
 * A chunk
 * ----------
 */

/* Forget the chunk's contents; release: its buffers too. */
static void
slot_clear(CdcLandingAppend *append, Slot *slot, bool release)
{
	array_clear(append, &slot->offsets, release);
	array_clear(append, &slot->timestamps, release);
	array_clear(append, &slot->keys, release);
	array_clear(append, &slot->values, release);
	array_clear(append, &slot->header_nos, release);

	append->held -= slot->header_bytes;
	if (slot->header_cxt)
		MemoryContextReset(slot->header_cxt);
	slot->header_bytes = 0;
	slot->header_set = NULL;
	slot->headers = NULL;
	slot->headers_size = 0;
	slot->nheaders = 0;
	slot->last_header.data = NULL;
	slot->last_header.len = 0;
	slot->last_no = 0;

	slot->bytes = 0;
	slot->nrecords = 0;
	slot->has_holes = false;
	slot->mixed_headers = false;
}

/* Compress an array as the server would, without its copies. */
static Datum
compress(CdcLandingAppend *append, Datum array)
{
	Datum		result;

	if (VARSIZE(DatumGetPointer(array)) < COMPRESS_BYTES)
		return array;
	result = toast_compress_datum(array, append->compression);
	return DatumGetPointer(result) ? result : array;
}

static Datum
header_array(Slot *slot)
{
	return PointerGetDatum(construct_array(slot->headers, slot->nheaders,
										   JSONBOID, -1, false, TYPALIGN_INT));
}

/* The INSERT into a chunk table. */
typedef struct InsertPlan
{
	Oid			chunk;			/* key */
	char	   *name;			/* as it was then */
	SPIPlanPtr	plan;
} InsertPlan;

static void
forget_plan(HTAB *plans, InsertPlan *entry)
{
	Oid			chunk = entry->chunk;

	SPI_freeplan(entry->plan);
	pfree(entry->name);
	(void) hash_search(plans, &chunk, HASH_REMOVE, NULL);
}

/*
 * Plans are kept by table, for as long as the process lives.  A plan that has
 * to be made again looks for the name: so a table that was renamed needs
 * another one.
 */
static SPIPlanPtr
insert_plan(Oid chunk)
{
	static HTAB *plans = NULL;
	static const Oid types[] = {INT8OID, INT4OID, INT8OID, INT8OID,
		TIMESTAMPOID, CHAROID, INT8ARRAYOID, TIMESTAMPARRAYOID, BYTEAARRAYOID,
	BYTEAARRAYOID, JSONBARRAYOID, INT2ARRAYOID};
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(InsertPlan)};
	char	   *name = cdc_qualified_name(chunk);
	InsertPlan *entry;
	SPIPlanPtr	plan;
	char	   *copy;

	if (plans == NULL)
		plans = hash_create("cdcsync chunk plans", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	entry = hash_search(plans, &chunk, HASH_FIND, NULL);
	if (entry && strcmp(entry->name, name) == 0)
		return entry->plan;
	if (entry)
		forget_plan(plans, entry);
	if (hash_get_num_entries(plans) >= MAX_PLANS)
	{
		HASH_SEQ_STATUS status;

		hash_seq_init(&status, plans);
		while ((entry = hash_seq_search(&status)) != NULL)
			forget_plan(plans, entry);
	}

	plan = SPI_prepare(psprintf("INSERT INTO %s (kafka_partition, epoch, first_offset,"
								" last_offset, refresh_time, kafka_timestamp_type,"
								" kafka_offset, kafka_timestamp, kafka_key, kafka_value,"
								" headers, header_no)"
								" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
								name), lengthof(types), (Oid *) types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	copy = MemoryContextStrdup(TopMemoryContext, name);
	entry = hash_search(plans, &chunk, HASH_ENTER, NULL);
	entry->name = copy;
	SPI_keepplan(plan);
	entry->plan = plan;
	return plan;
}

/* Where chunks of that size are compressed. */
static MemoryContext
scratch_context(CdcLandingAppend *append, Size bytes)
{
	if (bytes < SMALL_BYTES)
		return append->scratch;
	if (append->big_scratch == NULL)
		append->big_scratch = GenerationContextCreate(append->cxt,
													  "cdcsync append big scratch",
													  0, SCRATCH_BYTES,
													  8 * SCRATCH_BYTES);
	return append->big_scratch;
}

static pg_crc32c
hash_bytea(pg_crc32c crc, const char *data, uint32 len)
{
	unsigned char size[4] = {len >> 24, len >> 16, len >> 8, len};

	COMP_CRC32C(crc, size, sizeof(size));
	if (data)
		COMP_CRC32C(crc, data, len);
	return crc;
}

/*
 * The hash goes into the catalog, and from there to other machines: no byte
 * order, no version of ours.  PG_UINT32_MAX is the length of a NULL.
 */
int64
cdc_record_hash(const CdcRecord *record)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	crc = hash_bytea(crc, record->key.data,
					 record->key.data ? record->key.len : PG_UINT32_MAX);
	crc = hash_bytea(crc, record->value.data,
					 record->value.data ? record->value.len : PG_UINT32_MAX);
	FIN_CRC32C(crc);
	return (int64) (((uint64) crc << 32) | (uint32) record->timestamp);
}

/* An element of a bytea array that has not been finished. */
static CdcBytes
element_bytes(const ArrayBuffer *array, Size at)
{
	CdcBytes	bytes = {NULL, 0};

	if (at > 0)
	{
		bytes.data = VARDATA(array->data + at);
		bytes.len = VARSIZE(array->data + at) - VARHDRSZ;
	}
	return bytes;
}

/* What will tell the newest record of the chunk, before it is written. */
static void
note_newest(Slot *slot)
{
	CdcRecord	record = {.timestamp = slot->newest_timestamp};

	if (!slot->from_kafka)
		return;
	record.key = element_bytes(&slot->keys, slot->last_key);
	record.value = element_bytes(&slot->values, slot->last_value);
	slot->newest = slot->last_offset;
	slot->newest_hash = cdc_record_hash(&record);
}

/* Insert the slot's chunk, if it has records. */
static void
flush(CdcLandingAppend *append, Slot *slot, bool release)
{
	MemoryContext scratch = scratch_context(append, slot->bytes);
	MemoryContext old;
	Datum		values[12];
	char		nulls[13];
	CdcSpi		spi;
	int			rc;

	if (slot->nrecords == 0)
	{
		slot_clear(append, slot, release);
		return;
	}

	CHECK_FOR_INTERRUPTS();
	if (!slot->stored)
		store_positions(append);
	note_newest(slot);
	if (slot->oldest < 0)
	{
		slot->oldest = slot->first_offset;
		slot->oldest_epoch = slot->epoch;
	}
	old = MemoryContextSwitchTo(scratch);
	memset(nulls, ' ', 12);
	nulls[12] = '\0';
	values[0] = Int64GetDatum(slot->partition);
	values[1] = Int32GetDatum(slot->epoch);
	values[2] = Int64GetDatum(slot->first_offset);
	values[3] = Int64GetDatum(slot->last_offset);
	values[4] = TimestampGetDatum(slot->refresh_time);
	values[5] = CharGetDatum(slot->timestamp_type);
	if (slot->has_holes)
		values[6] = compress(append, array_finish(append, &slot->offsets, INT8OID));
	else
		nulls[6] = 'n';
	values[7] = compress(append, array_finish(append, &slot->timestamps, TIMESTAMPOID));
	values[8] = compress(append, array_finish(append, &slot->keys, BYTEAOID));
	values[9] = compress(append, array_finish(append, &slot->values, BYTEAOID));
	if (slot->nheaders > 0)
		values[10] = compress(append, header_array(slot));
	else
		nulls[10] = 'n';
	if (slot->mixed_headers)
		values[11] = compress(append, array_finish(append, &slot->header_nos, INT2OID));
	else
		nulls[11] = 'n';

	cdc_spi_begin_as(&spi, append->landing.owner, NULL);
	rc = SPI_execute_plan(insert_plan(append->landing.chunk), values, nulls, false, 0);
	if (rc != SPI_OK_INSERT || SPI_processed != 1)
		elog(ERROR, "could not insert a chunk: %s", SPI_result_code_string(rc));
	cdc_spi_end(&spi);

	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	slot_clear(append, slot, release);
}

/*
 * Bring the buffers below the limit: give back those that are empty, then
 * write the fullest chunks early.
 */
static void
shed(CdcLandingAppend *append)
{
	ListCell   *lc;

	foreach(lc, append->slots)
	{
		Slot	   *slot = lfirst(lc);

		if (slot->nrecords == 0)
			slot_clear(append, slot, true);
	}
	while (append->held > TOTAL_BYTES)
	{
		Slot	   *fullest = NULL;

		foreach(lc, append->slots)
		{
			Slot	   *slot = lfirst(lc);

			if (slot->nrecords > 0 &&
				(fullest == NULL || slot->bytes > fullest->bytes))
				fullest = slot;
		}
		if (fullest == NULL)
			break;
		flush(append, fullest, true);
	}
}

/* ----------
 * Partitions
 * ----------
 */

static Slot *
slot_make(CdcLandingAppend *append, int64 partition)
{
	bool		found;
	SlotEntry  *entry = slotmap_insert(append->map, partition, &found);
	MemoryContext old;

	Assert(!found);
	old = MemoryContextSwitchTo(append->cxt);
	entry->slot = palloc0(sizeof(Slot));
	entry->slot->partition = partition;
	entry->slot->high_offset = -1;
	entry->slot->newest = LAST_KEPT;
	entry->slot->oldest = -1;
	append->slots = lappend(append->slots, entry->slot);
	MemoryContextSwitchTo(old);
	return entry->slot;
}

static Slot *
slot_find(CdcLandingAppend *append, int64 partition, bool make)
{
	SlotEntry  *entry;

	if (likely(append->last && append->last->partition == partition))
		return append->last;
	entry = slotmap_lookup(append->map, partition);
	if (entry == NULL && !make)
		return NULL;
	append->last = entry ? entry->slot : slot_make(append, partition);
	return append->last;
}

static void
slot_start(Slot *slot, int64 offset)
{
	if (slot->started)
		return;
	slot->started = true;
	slot->expected = offset;
	slot->next_offset = offset;
}

/* ----------
 * Headers
 * ----------
 */

/*
 * Number of a header list in the chunk, from 1; jsonb is made once for each
 * list that differs.  given: the list as jsonb, whose bytes key then is.
 */
static int16
header_no(CdcLandingAppend *append, Slot *slot, CdcBytes key,
		  const Jsonb *given)
{
	HeaderEntry *entry;
	bool		found;

	if (key.len == 0)
		return 0;
	if (slot->last_no > 0 && header_equal(slot->last_header, key))
		return slot->last_no;

	if (slot->header_cxt == NULL)
		slot->header_cxt = AllocSetContextCreate(append->cxt,
												 "cdcsync chunk headers",
												 ALLOCSET_SMALL_SIZES);
	if (slot->header_set == NULL)
		slot->header_set = headerset_create(slot->header_cxt, 16, NULL);
	entry = headerset_insert(slot->header_set, key, &found);
	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(slot->header_cxt);
		char	   *copy = palloc(key.len);
		Datum		jsonb;
		Size		bytes;

		memcpy(copy, key.data, key.len);
		entry->bytes.data = copy;
		jsonb = given ? PointerGetDatum(copy) :
			PointerGetDatum(cdc_headers_to_jsonb(key));
		if (slot->nheaders == slot->headers_size)
		{
			slot->headers_size = Max(16, 2 * slot->headers_size);
			slot->headers = slot->headers ?
				repalloc(slot->headers, slot->headers_size * sizeof(Datum)) :
				palloc(slot->headers_size * sizeof(Datum));
		}
		slot->headers[slot->nheaders++] = jsonb;
		entry->no = slot->nheaders;
		MemoryContextSwitchTo(old);

		bytes = (given ? 0 : key.len) + VARSIZE(DatumGetPointer(jsonb)) +
			sizeof(HeaderEntry) + sizeof(Datum);
		slot->bytes += bytes;
		slot->header_bytes += bytes;
		append->held += bytes;
	}
	slot->last_header = entry->bytes;
	slot->last_no = entry->no;
	return entry->no;
}

/* Note the header list of the record that comes next. */
static void
add_header(CdcLandingAppend *append, Slot *slot, int16 no, int16 previous)
{
	if (slot->nrecords > 0 && !slot->mixed_headers && no != previous)
	{
		slot->mixed_headers = true;
		for (int i = 0; i < slot->nrecords; i++)
			array_add_int16(append, &slot->header_nos, previous);
	}
	if (slot->mixed_headers)
		array_add_int16(append, &slot->header_nos, no);
}

/* ----------
 * Appending
 * ----------
 */

/* How the chunk table says that values are to be compressed. */
static char
chunk_compression(Oid chunk)
{
	HeapTuple	tup = SearchSysCacheAttName(chunk, "kafka_value");
	char		method;

	if (!HeapTupleIsValid(tup))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s is not a chunk table of a landing",
						cdc_qualified_name(chunk))));
	method = ((Form_pg_attribute) GETSTRUCT(tup))->attcompression;
	ReleaseSysCache(tup);
	return method;
}

CdcLandingAppend *
cdc_landing_append_begin(const CdcLanding *landing,
						 const CdcLandingPosition *positions, int npositions,
						 Timestamp refresh_time)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext,
											  "cdcsync append",
											  ALLOCSET_DEFAULT_SIZES);
	CdcLandingAppend *append = MemoryContextAllocZero(cxt, sizeof(*append));

	append->cxt = cxt;
	append->scratch = AllocSetContextCreate(cxt, "cdcsync append scratch",
											ALLOCSET_DEFAULT_SIZES);
	append->landing = *landing;
	append->refresh_time = refresh_time;
	append->compression = chunk_compression(landing->chunk);
	append->map = slotmap_create(cxt, Max(16, npositions), NULL);

	for (int i = 0; i < npositions; i++)
	{
		Slot	   *slot = slot_make(append, positions[i].partition);

		slot->epoch = slot->expected_epoch = positions[i].epoch;
		slot->stored = true;
		slot_start(slot, positions[i].next_offset);
	}
	return append;
}

int64
cdc_landing_next_offset(CdcLandingAppend *append, int64 partition)
{
	Slot	   *slot = slot_find(append, partition, false);

	return slot && slot->started ? slot->next_offset : 0;
}

/* Start a chunk with its first record, or write the one before first. */
static void
fit_chunk(CdcLandingAppend *append, Slot *slot, const CdcRecord *record,
		  Timestamp refresh_time)
{
	Size		bytes = (Size) record->key.len + record->value.len +
		record->headers.len;

	if (bytes > RECORD_BYTES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("record at partition " INT64_FORMAT ", offset " INT64_FORMAT " is too large",
						slot->partition, record->offset),
				 errdetail("It has %zu bytes; a field can hold %zu.",
						   bytes, RECORD_BYTES_MAX)));

	if (slot->nrecords > 0 &&
		(slot->refresh_time != refresh_time ||
		 slot->timestamp_type != record->timestamp_type ||
		 slot->nheaders == PG_INT16_MAX ||
		 slot->bytes + bytes > KEEP_BYTES))
		flush(append, slot, false);
	if (slot->nrecords == 0)
	{
		slot->first_offset = record->offset;
		slot->refresh_time = refresh_time;
		slot->timestamp_type = record->timestamp_type;
	}
	else if (!slot->has_holes && record->offset != slot->last_offset + 1)
	{
		slot->has_holes = true;
		for (int i = 0; i < slot->nrecords; i++)
			array_add_int64(append, &slot->offsets, slot->first_offset + i);
	}
}

static void
append_record(CdcLandingAppend *append, int64 partition,
			  const CdcRecord *record, Timestamp timestamp,
			  const Jsonb *headers, Timestamp refresh_time, bool from_kafka)
{
	Slot	   *slot = slot_find(append, partition, true);
	CdcBytes	header_key = record->headers;
	int16		previous;
	int16		no;

	slot_start(slot, record->offset);
	if (record->offset < slot->next_offset)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("offset " INT64_FORMAT " of partition " INT64_FORMAT " is already in the landing",
						record->offset, partition),
				 errdetail("The next offset is " INT64_FORMAT ".",
						   slot->next_offset)));

	if (headers)
	{
		header_key.data = (const char *) headers;
		header_key.len = VARSIZE(headers);
	}
	fit_chunk(append, slot, record, refresh_time);
	previous = slot->last_no;
	no = header_no(append, slot, header_key, headers);
	slot->last_no = no;
	add_header(append, slot, no, previous);
	if (slot->has_holes)
		array_add_int64(append, &slot->offsets, record->offset);
	if (TIMESTAMP_NOT_FINITE(timestamp))
		array_mark(append, &slot->timestamps, true);
	else
		array_add_int64(append, &slot->timestamps, timestamp);
	slot->last_key = array_add_bytes(append, &slot->keys, record->key);
	slot->last_value = array_add_bytes(append, &slot->values, record->value);

	slot->from_kafka = from_kafka;
	slot->newest_timestamp = record->timestamp;
	slot->nrecords++;
	append->records++;
	slot->bytes += (Size) record->key.len + record->value.len + sizeof(int64);
	slot->last_offset = record->offset;
	slot->next_offset = record->offset + 1;
	slot->touched = true;

	if (slot->bytes >= CHUNK_BYTES)
		flush(append, slot, false);
	if (append->held > TOTAL_BYTES)
		shed(append);
}

void
cdc_landing_append_row(CdcLandingAppend *append, int64 partition,
					   const CdcRecord *record, Timestamp timestamp,
					   const Jsonb *headers, Timestamp refresh_time)
{
	append_record(append, partition, record, timestamp, headers, refresh_time, false);
}

void
cdc_landing_append(CdcLandingAppend *append, const CdcRecord *record)
{
	Timestamp	timestamp = DT_NOBEGIN;

	/*
	 * Producers may write any number.  What no timestamp can hold becomes
	 * NULL, as in a record that has none.
	 */
	if (record->timestamp >= 0 && record->timestamp < END_TIMESTAMP / 1000)
		timestamp = (record->timestamp -
					 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
					 (SECS_PER_DAY * INT64CONST(1000))) * 1000;
	append_record(append, record->partition, record, timestamp, NULL,
				  append->refresh_time, true);
}

void
cdc_landing_move(CdcLandingAppend *append, int64 partition, int64 next_offset)
{
	Slot	   *slot = slot_find(append, partition, true);

	slot_start(slot, next_offset);
	slot->next_offset = Max(slot->next_offset, next_offset);
	slot->touched = true;
}

void
cdc_landing_jump(CdcLandingAppend *append, int64 partition, int32 epoch,
				 int64 next_offset)
{
	Slot	   *slot = slot_find(append, partition, true);

	Assert(epoch >= slot->epoch);
	slot_start(slot, next_offset);
	flush(append, slot, false);
	slot->epoch = epoch;
	slot->next_offset = next_offset;
	slot->newest = LAST_FORGOTTEN;
	slot->touched = true;
}

void
cdc_landing_seen(CdcLandingAppend *append, int64 partition, int64 high_offset)
{
	Slot	   *slot = slot_find(append, partition, true);

	slot->high_offset = high_offset;
	slot->touched = slot->started;
}

void
cdc_landing_append_end(CdcLandingAppend *append)
{
	ListCell   *lc;

	list_sort(append->slots, slot_compare);
	foreach(lc, append->slots)
		flush(append, (Slot *) lfirst(lc), true);
	move_positions(append);
	/* a position may have moved without a record: the watermark is to follow */
	if (append->landing.id != CDC_LANDING_COPY)
		cdc_wake_landed_at_commit(append->landing.id, append->records);
	MemoryContextDelete(append->cxt);
}
