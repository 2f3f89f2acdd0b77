/*-------------------------------------------------------------------------
 *
 * parcel.c
 *	  A chunk of a landing whose records were decoded by another process.
 *
 * All of a chunk but the values of the records that could be relayed (relay.c), in
 * one piece of memory without pointers, which may be at another address to its
 * reader.  Nothing here touches tables.  Errors: memory, or a record that builds on
 * one that was not read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "parcel.h"
#include "relay.h"

#define NONE	PG_UINT32_MAX	/* the length of a key or value that is null */

/* Places are bytes from the beginning; 0: it is not there. */
typedef struct Cover
{
	int64		partition;
	int64		first_offset;
	int64		last_offset;
	Timestamp	refresh_time;
	int32		epoch;
	char		timestamp_type;
	int			nrecords;
	int			first;
	int			nheaders;
	uint32		offsets;
	uint32		timestamps;
	uint32		lengths;		/* of each key, then of each value */
	uint32		keys;			/* their bytes, one after the other */
	uint32		headers;
	uint32		header_no;
	uint32		places;			/* of each value; the lowest bit: it was decoded */
} Cover;

#define DECODED	1

/* ----------
 * Writing
 * ----------
 */
typedef struct Writer
{
	char	   *memory;
	Size		size;
	Size		used;
} Writer;

/* Room for so many bytes, or NULL. */
static char *
reserve(Writer *writer, Size bytes)
{
	char	   *room = writer->memory + writer->used;

	if (bytes > writer->size - writer->used)
		return NULL;
	writer->used = Min(MAXALIGN(writer->used + bytes), writer->size);
	return room;
}

/* Add bytes; *place: where they are. */
static bool
add(Writer *writer, const void *bytes, Size len, uint32 *place)
{
	char	   *room = reserve(writer, len);

	if (room == NULL)
		return false;
	if (len > 0)
		memcpy(room, bytes, len);
	*place = room - writer->memory;
	return true;
}

static bool
add_lengths(Writer *writer, const CdcChunk *chunk, uint32 *place)
{
	uint32	   *lengths = (uint32 *) reserve(writer, sizeof(uint32) * 2 * chunk->nrecords);

	if (lengths == NULL)
		return false;
	for (int i = 0; i < chunk->nrecords; i++)
	{
		lengths[i] = chunk->keys[i].data ? chunk->keys[i].len : NONE;
		lengths[chunk->nrecords + i] = chunk->values[i].data ? chunk->values[i].len : NONE;
	}
	*place = (char *) lengths - writer->memory;
	return true;
}

static bool
add_keys(Writer *writer, const CdcChunk *chunk, uint32 *place)
{
	Size		size = 0;
	char	   *to;

	for (int i = 0; i < chunk->nrecords; i++)
		size += chunk->keys[i].len;
	to = reserve(writer, size);
	if (to == NULL)
		return false;
	*place = to - writer->memory;
	for (int i = 0; i < chunk->nrecords; i++)
		if (chunk->keys[i].len > 0)
		{
			memcpy(to, chunk->keys[i].data, chunk->keys[i].len);
			to += chunk->keys[i].len;
		}
	return true;
}

static bool
add_headers(Writer *writer, const CdcChunk *chunk, Cover *cover)
{
	uint32		place;

	for (int i = 0; i < chunk->nheaders; i++)
	{
		if (!add(writer, chunk->headers[i], VARSIZE_ANY(chunk->headers[i]), &place))
			return false;
		if (i == 0)
			cover->headers = place;
	}
	return chunk->header_no == NULL ||
		add(writer, chunk->header_no, sizeof(int16) * chunk->nrecords, &cover->header_no);
}

/* The value, or what it was found to be. */
static bool
add_value(Writer *writer, CdcDecoder *decoder, const CdcBytes *value, uint32 *place)
{
	CdcDecodeError error;
	CdcChange	change;
	Size		len = 0;

	if (decoder && value->data &&
		cdc_decode_value(decoder, value->data, value->len, &change, &error))
		len = cdc_relay_write(decoder, &change, writer->memory + writer->used,
							  writer->size - writer->used);
	if (len == 0)
		return add(writer, value->data, value->len, place);
	*place = (reserve(writer, len) - writer->memory) | DECODED;
	return true;
}

bool
cdc_parcel_write(CdcDecoder *decoder, const CdcChunk *chunk, char *memory, Size size)
{
	Writer		writer = {.memory = memory,.size = size};
	Cover	   *cover = (Cover *) reserve(&writer, sizeof(Cover));
	uint32	   *places;
	int			n = chunk->nrecords;

	if (cover == NULL)
		return false;
	memset(cover, 0, sizeof(Cover));
	cover->partition = chunk->partition;
	cover->epoch = chunk->epoch;
	cover->first_offset = chunk->first_offset;
	cover->last_offset = chunk->last_offset;
	cover->refresh_time = chunk->refresh_time;
	cover->timestamp_type = chunk->timestamp_type;
	cover->nrecords = n;
	cover->first = chunk->first;
	cover->nheaders = chunk->nheaders;
	if ((chunk->offsets &&
		 !add(&writer, chunk->offsets, sizeof(int64) * n, &cover->offsets)) ||
		(chunk->timestamps &&
		 !add(&writer, chunk->timestamps, sizeof(Timestamp) * n, &cover->timestamps)) ||
		!add_lengths(&writer, chunk, &cover->lengths) ||
		!add_keys(&writer, chunk, &cover->keys) ||
		!add_headers(&writer, chunk, cover))
		return false;
	places = (uint32 *) reserve(&writer, sizeof(uint32) * n);
	if (places == NULL)
		return false;
	cover->places = (char *) places - memory;
	for (int i = chunk->first; i < n; i++)
		if (!add_value(&writer, decoder, &chunk->values[i], &places[i]))
		{
			/* what it holds for others is not going to be read */
			if (decoder)
				cdc_relay_forget(decoder);
			return false;
		}
	return true;
}

/* ----------
 * Reading
 * ----------
 */
struct CdcParcel
{
	CdcRelay   *relay;
	MemoryContext cxt;
	const char *memory;
	const uint32 *places;
	int			last;			/* record that was looked at */
	CdcChunk	chunk;
	int			size;			/* of the arrays below */
	CdcBytes   *keys;
	CdcBytes   *values;
	int			headers_size;
};

static void
free_relay(void *arg)
{
	cdc_relay_free(((CdcParcel *) arg)->relay);
}

CdcParcel *
cdc_parcel_create(int nrow, int nsource)
{
	CdcParcel  *parcel = palloc0(sizeof(CdcParcel));
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	parcel->cxt = CurrentMemoryContext;
	parcel->relay = cdc_relay_create(nrow, nsource);
	if (parcel->relay == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	callback->func = free_relay;
	callback->arg = parcel;
	MemoryContextRegisterResetCallback(parcel->cxt, callback);
	return parcel;
}

/* Room for the arrays. */
static void
grow(CdcParcel *parcel, int n, int nheaders)
{
	if (n > parcel->size)
	{
		if (parcel->keys)
		{
			pfree(parcel->keys);
			pfree(parcel->values);
		}
		parcel->size = Max(n, 1024);
		parcel->keys = MemoryContextAllocHuge(parcel->cxt, sizeof(CdcBytes) * parcel->size);
		parcel->values = MemoryContextAllocHuge(parcel->cxt, sizeof(CdcBytes) * parcel->size);
	}
	if (nheaders > parcel->headers_size)
	{
		if (parcel->chunk.headers)
			pfree(parcel->chunk.headers);
		parcel->headers_size = nheaders;
		parcel->chunk.headers = MemoryContextAllocHuge(parcel->cxt,
													   sizeof(Jsonb *) * nheaders);
	}
}

/* Find what the arrays point to. */
static void
fill(CdcParcel *parcel, const Cover *cover)
{
	const uint32 *lengths = (const uint32 *) (parcel->memory + cover->lengths);
	const char *key = parcel->memory + cover->keys;
	const char *header = parcel->memory + cover->headers;
	int			n = cover->nrecords;

	for (int i = 0; i < n; i++)
	{
		uint32		len = lengths[n + i];
		bool		here = len != NONE && i >= cover->first && !(parcel->places[i] & DECODED);

		parcel->keys[i].data = lengths[i] == NONE ? NULL : key;
		parcel->keys[i].len = lengths[i] == NONE ? 0 : lengths[i];
		key += parcel->keys[i].len;
		parcel->values[i].data = here ? parcel->memory + parcel->places[i] : NULL;
		parcel->values[i].len = len == NONE ? 0 : len;
	}
	for (int i = 0; i < cover->nheaders; i++)
	{
		parcel->chunk.headers[i] = (Jsonb *) header;
		header += MAXALIGN(VARSIZE_ANY(header));
	}
}

const CdcChunk *
cdc_parcel_open(CdcParcel *parcel, const char *memory)
{
	const Cover *cover = (const Cover *) memory;
	CdcChunk   *chunk = &parcel->chunk;

	grow(parcel, cover->nrecords, cover->nheaders);
	parcel->memory = memory;
	parcel->last = cover->first;
	parcel->places = (const uint32 *) (memory + cover->places);
	chunk->partition = cover->partition;
	chunk->epoch = cover->epoch;
	chunk->first_offset = cover->first_offset;
	chunk->last_offset = cover->last_offset;
	chunk->refresh_time = cover->refresh_time;
	chunk->timestamp_type = cover->timestamp_type;
	chunk->nrecords = cover->nrecords;
	chunk->first = cover->first;
	chunk->offsets = cover->offsets ? (const int64 *) (memory + cover->offsets) : NULL;
	chunk->timestamps = cover->timestamps ?
		(const Timestamp *) (memory + cover->timestamps) : NULL;
	chunk->nheaders = cover->nheaders;
	chunk->header_no = cover->header_no ? (const int16 *) (memory + cover->header_no) : NULL;
	chunk->keys = parcel->keys;
	chunk->values = parcel->values;
	chunk->parcel = parcel;
	fill(parcel, cover);
	return chunk;
}

const CdcChunk *
cdc_parcel_chunk(CdcParcel *parcel, int64 from)
{
	cdc_chunk_begin_at(&parcel->chunk, from);
	return parcel->chunk.first >= parcel->last ? &parcel->chunk : NULL;
}

bool
cdc_parcel_is_decoded(const CdcParcel *parcel, int i)
{
	return (parcel->places[i] & DECODED) != 0;
}

bool
cdc_parcel_change(CdcParcel *parcel, int i, CdcChange *change)
{
	uint32		place = parcel->places[i];

	parcel->last = i;
	if (!(place & DECODED))
		return false;
	switch (cdc_relay_read(parcel->relay, parcel->memory + (place & ~(uint32) DECODED), change))
	{
		case CDC_RELAYED:
			break;
		case CDC_RELAY_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
			break;
		case CDC_RELAY_GAP:
			/* only where offsets do not rise, or are behind the position */
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("chunk of a landing is not well-formed")));
			break;
	}
	return true;
}
