/*-------------------------------------------------------------------------
 *
 * home.c
 *	  The partition that a key has by Kafka's default partitioner.
 *
 * A producer that partitions by default sends all records of a key to one
 * partition, its home, as long as the number of partitions and the bytes of the
 * key stay the same.  Whether the bytes of a key are the only ones that it can
 * have is told by comparing them with the values of the row: they must be the
 * same texts, in a form of which equal values have no second, between pieces
 * that are the same in all keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/lsyscache.h"

#include "home.h"

/* org.apache.kafka.common.utils.Utils.murmur2() */
static uint32
murmur2(const unsigned char *data, size_t len)
{
	const uint32 m = 0x5bd1e995;
	uint32		h = 0x9747b28c ^ (uint32) len;
	size_t		rest = len & 3;

	for (size_t i = 0; i + 4 <= len; i += 4)
	{
		uint32		k = (uint32) data[i] | (uint32) data[i + 1] << 8 |
			(uint32) data[i + 2] << 16 | (uint32) data[i + 3] << 24;

		k *= m;
		k ^= k >> 24;
		k *= m;
		h = (h * m) ^ k;
	}
	data += len - rest;
	if (rest == 3)
		h ^= (uint32) data[2] << 16;
	if (rest >= 2)
		h ^= (uint32) data[1] << 8;
	if (rest >= 1)
		h = (h ^ data[0]) * m;
	h ^= h >> 13;
	h *= m;
	return h ^ (h >> 15);
}

/* Kafka's default partitioner: murmur2 of the key's bytes. */
static int
home_partition(const char *key, size_t len, int npartitions)
{
	return (murmur2((const unsigned char *) key, len) & 0x7fffffff) % npartitions;
}

void
cdc_homes_begin(CdcHomes *homes, const CdcTarget *target, CdcDecoder *decoder,
				int npartitions, int64 known_form)
{
	memset(homes, 0, sizeof(CdcHomes));
	homes->target = target;
	homes->decoder = decoder;
	homes->npartitions = npartitions;
	homes->fields = palloc0(sizeof(CdcToken) * Max(target->nfields, 1));
	homes->cuts = palloc0(sizeof(int) * target->nkeys);
	homes->columns = palloc0(sizeof(int) * target->nkeys);
	homes->known_form = known_form;
	homes->form_len = -1;
}

/* A UUID as every source writes it. */
static bool
is_plain_uuid(const CdcToken *t)
{
	if (t->kind != CDC_JSON_STRING || t->len != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		char		c = t->text[i];
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
	}
	return true;
}

/* Has no other text of this form an equal value? */
static bool
text_is_unique(const CdcColumn *c, const CdcToken *t)
{
	if (t->kind == CDC_JSON_NUMBER)
		return (t->flags & CDC_JSON_INTEGER) &&
			!(t->len == 2 && memcmp(t->text, "-0", 2) == 0);
	if (c->typid == UUIDOID)
		return is_plain_uuid(t);
	return t->kind == CDC_JSON_STRING &&
		(c->typid == TEXTOID || c->typid == VARCHAROID) &&
		(c->collation == DEFAULT_COLLATION_OID || c->collation == C_COLLATION_OID ||
		 (OidIsValid(c->collation) && get_collation_isdeterministic(c->collation)));
}

/* Take the form of this key; false if it is none that we understand. */
static bool
take_form(CdcHomes *homes, const CdcBytes *key)
{
	const CdcTarget *target = homes->target;
	int			scalar = target->nkeys == 1 &&
		target->columns[target->keys[0]].source == CDC_COLUMN_FIELD ?
		target->columns[target->keys[0]].index : -1;
	CdcDecodeError error;
	const char *at = key->data;
	int			len = 0;

	homes->form_len = -1;
	if (!cdc_decode_key(homes->decoder, key->data, key->len, scalar, homes->fields, &error))
		return false;
	homes->form = repalloc(homes->form ? homes->form : palloc(1), key->len + 1);
	for (int n = 0; n < target->nkeys; n++)
	{
		const CdcToken *next = NULL;

		/* the next value in the key's own order */
		for (int k = 0; k < target->nkeys; k++)
		{
			const CdcColumn *c = &target->columns[target->keys[k]];
			const CdcToken *t = c->source == CDC_COLUMN_FIELD ? &homes->fields[c->index] : NULL;

			if (t == NULL || t->text < key->data || t->text + t->len > key->data + key->len)
				return false;
			if (t->text >= at && (next == NULL || t->text < next->text))
			{
				next = t;
				homes->columns[n] = k;
			}
		}
		if (next == NULL)
			return false;
		memcpy(homes->form + len, at, next->text - at);
		len += next->text - at;
		homes->cuts[n] = len;
		at = next->text + next->len;
	}
	memcpy(homes->form + len, at, key->data + key->len - at);
	homes->form_len = len + (key->data + key->len - at);
	return true;
}

/* Is the key of the form, with the values of the winner's row? */
static bool
has_form(const CdcHomes *homes, const CdcWinner *w)
{
	const CdcTarget *target = homes->target;
	const char *at = w->kafka_key.data;
	const char *end = at + w->kafka_key.len;
	int			done = 0;

	if (homes->form_len < 0)
		return false;
	for (int n = 0; n < target->nkeys; n++)
	{
		const CdcToken *t = &w->tokens[target->keys[homes->columns[n]]];
		int			len = homes->cuts[n] - done;

		if (end - at < len + (ptrdiff_t) t->len ||
			memcmp(at, homes->form + done, len) != 0 ||
			memcmp(at + len, t->text, t->len) != 0)
			return false;
		at += len + t->len;
		done = homes->cuts[n];
	}
	return end - at == homes->form_len - done &&
		memcmp(at, homes->form + done, end - at) == 0;
}

/* Has the pipeline had keys of another form?  From here on it has this one. */
static bool
form_is_new(CdcHomes *homes)
{
	int64		form = (int64) (hash_bytes_extended((unsigned char *) homes->form,
													homes->form_len, 0) | 1);
	bool		is_new = homes->known_form != 0 && homes->known_form != form;

	homes->known_form = form;
	return is_new;
}

bool
cdc_homes_include(CdcHomes *homes, const CdcWinner *w)
{
	const CdcTarget *target = homes->target;

	if (w->kafka_key.data == NULL || w->kafka_key.len == 0)
		return false;
	for (int i = 0; i < w->norigins; i++)
		if (w->origins[i].partition != w->last.partition)
			return false;
	for (int k = 0; k < target->nkeys; k++)
		if (!text_is_unique(&target->columns[target->keys[k]], &w->tokens[target->keys[k]]))
			return false;
	if (home_partition(w->kafka_key.data, w->kafka_key.len,
					   homes->npartitions) != w->last.partition)
		return false;
	if (has_form(homes, w))
		return true;
	/* in another form its older changes may be elsewhere */
	return take_form(homes, &w->kafka_key) && has_form(homes, w) && !form_is_new(homes);
}
