/*-------------------------------------------------------------------------
 *
 * chunk_headers.c
 *	  The distinct header lists of a chunk, as jsonb.
 *
 * Headers hardly change from record to record: jsonb made for each would take
 * three times the time of everything else that landing does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "chunk_headers.h"
#include "headers.h"

/* A header list, found by its bytes. */
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

int16
cdc_chunk_headers_no(CdcChunkHeaders *headers, MemoryContext parent, CdcBytes key,
					 const Jsonb *given)
{
	HeaderEntry *entry;
	bool		found;

	if (key.len == 0)
		return headers->last_no = 0;
	if (headers->last_no > 0 && header_equal(headers->last, key))
		return headers->last_no;

	if (headers->cxt == NULL)
		headers->cxt = AllocSetContextCreate(parent, "cdcsync chunk headers",
											 ALLOCSET_SMALL_SIZES);
	if (headers->set == NULL)
		headers->set = headerset_create(headers->cxt, 16, NULL);
	entry = headerset_insert(headers->set, key, &found);
	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(headers->cxt);
		char	   *copy = palloc(key.len);
		Datum		jsonb;

		memcpy(copy, key.data, key.len);
		entry->bytes.data = copy;
		jsonb = given ? PointerGetDatum(copy) :
			PointerGetDatum(cdc_headers_to_jsonb(key));
		if (headers->n == headers->size)
		{
			headers->size = Max(16, 2 * headers->size);
			headers->lists = headers->lists ?
				repalloc(headers->lists, headers->size * sizeof(Datum)) :
				palloc(headers->size * sizeof(Datum));
		}
		headers->lists[headers->n++] = jsonb;
		entry->no = headers->n;
		MemoryContextSwitchTo(old);

		headers->bytes += (given ? 0 : key.len) + VARSIZE(DatumGetPointer(jsonb)) +
			sizeof(HeaderEntry) + sizeof(Datum);
	}
	headers->last = entry->bytes;
	headers->last_no = entry->no;
	return entry->no;
}

Datum
cdc_chunk_headers_array(const CdcChunkHeaders *headers)
{
	return PointerGetDatum(construct_array(headers->lists, headers->n,
										   JSONBOID, -1, false, TYPALIGN_INT));
}

void
cdc_chunk_headers_clear(CdcChunkHeaders *headers)
{
	MemoryContext cxt = headers->cxt;

	if (cxt)
		MemoryContextReset(cxt);
	memset(headers, 0, sizeof(*headers));
	headers->cxt = cxt;
}
