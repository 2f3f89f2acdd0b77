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

#include "array_buffer.h"
#include "catalog.h"
#include "chunk_headers.h"
#include "compat.h"
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
	CdcArrayBuffer offsets;
	CdcArrayBuffer timestamps;
	CdcArrayBuffer keys;
	CdcArrayBuffer values;
	CdcArrayBuffer header_nos;

	CdcChunkHeaders headers;
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
	CdcBufferMemory memory;		/* of all chunks */
	MemoryContext scratch;		/* reset after each chunk */
	MemoryContext big_scratch;	/* the same for big ones; NULL: not made */
	CdcLanding	landing;
	Timestamp	refresh_time;
	char		compression;	/* of the column kafka_value */
	int64		records;
	slotmap_hash *map;
	List	   *slots;
	Slot	   *last;			/* slot of the last record */
};

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
	Size		keep = release ? 0 : KEEP_BYTES;

	cdc_array_clear(&append->memory, &slot->offsets, keep);
	cdc_array_clear(&append->memory, &slot->timestamps, keep);
	cdc_array_clear(&append->memory, &slot->keys, keep);
	cdc_array_clear(&append->memory, &slot->values, keep);
	cdc_array_clear(&append->memory, &slot->header_nos, keep);

	append->memory.held -= slot->headers.bytes;
	cdc_chunk_headers_clear(&slot->headers);
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
		append->big_scratch = GenerationContextCreate(append->memory.cxt,
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
element_bytes(const CdcArrayBuffer *array, Size at)
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
		values[6] = compress(append, cdc_array_finish(&append->memory, &slot->offsets, INT8OID));
	else
		nulls[6] = 'n';
	values[7] = compress(append, cdc_array_finish(&append->memory, &slot->timestamps, TIMESTAMPOID));
	values[8] = compress(append, cdc_array_finish(&append->memory, &slot->keys, BYTEAOID));
	values[9] = compress(append, cdc_array_finish(&append->memory, &slot->values, BYTEAOID));
	if (slot->headers.n > 0)
		values[10] = compress(append, cdc_chunk_headers_array(&slot->headers));
	else
		nulls[10] = 'n';
	if (slot->mixed_headers)
		values[11] = compress(append, cdc_array_finish(&append->memory, &slot->header_nos, INT2OID));
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
	while (append->memory.held > TOTAL_BYTES)
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
	old = MemoryContextSwitchTo(append->memory.cxt);
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

/* Note the header list of the record that comes next; as cdc_chunk_headers_no(). */
static void
add_header(CdcLandingAppend *append, Slot *slot, CdcBytes key, const Jsonb *given)
{
	int16		previous = slot->headers.last_no;
	Size		before = slot->headers.bytes;
	int16		no = cdc_chunk_headers_no(&slot->headers, append->memory.cxt, key, given);

	slot->bytes += slot->headers.bytes - before;
	append->memory.held += slot->headers.bytes - before;
	if (slot->nrecords > 0 && !slot->mixed_headers && no != previous)
	{
		slot->mixed_headers = true;
		for (int i = 0; i < slot->nrecords; i++)
			cdc_array_add_int16(&append->memory, &slot->header_nos, previous);
	}
	if (slot->mixed_headers)
		cdc_array_add_int16(&append->memory, &slot->header_nos, no);
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

	append->memory.cxt = cxt;
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
		 slot->headers.n == PG_INT16_MAX ||
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
			cdc_array_add_int64(&append->memory, &slot->offsets, slot->first_offset + i);
	}
}

static void
append_record(CdcLandingAppend *append, int64 partition,
			  const CdcRecord *record, Timestamp timestamp,
			  const Jsonb *headers, Timestamp refresh_time, bool from_kafka)
{
	Slot	   *slot = slot_find(append, partition, true);
	CdcBytes	header_key = record->headers;

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
	add_header(append, slot, header_key, headers);
	if (slot->has_holes)
		cdc_array_add_int64(&append->memory, &slot->offsets, record->offset);
	if (TIMESTAMP_NOT_FINITE(timestamp))
		cdc_array_mark(&append->memory, &slot->timestamps, true);
	else
		cdc_array_add_int64(&append->memory, &slot->timestamps, timestamp);
	slot->last_key = cdc_array_add_bytes(&append->memory, &slot->keys, record->key);
	slot->last_value = cdc_array_add_bytes(&append->memory, &slot->values, record->value);

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
	if (append->memory.held > TOTAL_BYTES)
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
	MemoryContextDelete(append->memory.cxt);
}
