/*-------------------------------------------------------------------------
 *
 * fields.c
 *	  Finding the wanted members of a JSON object by name.
 *
 * Names are hashed with their ASCII letters folded, so that one look-up finds
 * the fields that want a name exactly and those that accept another case of
 * it.  Several fields may want one name.  A memo by position in the object
 * saves most look-ups, and the scan of the name itself.
 *
 * Memory is taken when a set is made (malloc), none per record.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "fields.h"

/* No escape in JSON takes more than six bytes for one. */
#define ESCAPE_FACTOR	6

static inline unsigned char
fold_byte(char c)
{
	return (unsigned char) (c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static uint32_t
hash_folded(const char *name, uint32_t len)
{
	uint32_t	hash = 2166136261u;

	for (uint32_t i = 0; i < len; i++)
		hash = (hash ^ fold_byte(name[i])) * 16777619u;
	return hash ^ (hash >> 15);
}

static bool
equal_folded(const char *a, const char *b, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (fold_byte(a[i]) != fold_byte(b[i]))
			return false;
	return true;
}

/* The bucket that holds this name, or the free one where it belongs. */
static uint32_t
find_bucket(const CdcFieldSet *set, const char *name, uint32_t len)
{
	uint32_t	bucket = hash_folded(name, len) & set->mask;

	for (;; bucket = (bucket + 1) & set->mask)
	{
		int			head = set->buckets[bucket];

		if (head < 0 ||
			(set->fields[head].len == len &&
			 equal_folded(set->fields[head].name, name, len)))
			return bucket;
	}
}

static void
copy_fields(CdcFieldSet *set, const CdcField *fields)
{
	char	   *p = set->arena;

	for (int i = 0; i < set->nfields; i++)
	{
		uint32_t	bucket;

		set->fields[i] = fields[i];
		set->fields[i].name = p;
		if (fields[i].len > 0)
			memcpy(p, fields[i].name, fields[i].len);
		p += fields[i].len;
		set->next[i] = -1;
		if (!fields[i].fold && fields[i].len == strlen(CDC_WHOLE_ROW) &&
			memcmp(fields[i].name, CDC_WHOLE_ROW, fields[i].len) == 0)
		{
			set->whole = i;
			continue;
		}
		bucket = find_bucket(set, set->fields[i].name, fields[i].len);
		set->next[i] = set->buckets[bucket];
		set->buckets[bucket] = i;
	}
}

bool
cdc_fields_init(CdcFieldSet *set, const CdcField *fields, int n)
{
	size_t		bytes = 0;
	uint32_t	nbuckets = 8;

	memset(set, 0, sizeof(*set));
	set->nfields = n;
	set->whole = -1;
	for (int i = 0; i < n; i++)
	{
		bytes += fields[i].len;
		if (fields[i].len > set->longest)
			set->longest = fields[i].len;
	}
	while (nbuckets < 2 * (uint32_t) n)
		nbuckets *= 2;
	set->mask = nbuckets - 1;
	set->fields = malloc(((size_t) n + 1) * sizeof(CdcField));
	set->next = malloc(((size_t) n + 1) * sizeof(int));
	set->buckets = malloc(nbuckets * sizeof(int));
	set->arena = malloc(bytes + 1);
	set->scratch = malloc((size_t) set->longest * ESCAPE_FACTOR + 1);
	if (!set->fields || !set->next || !set->buckets || !set->arena ||
		!set->scratch)
		return false;
	for (uint32_t i = 0; i < nbuckets; i++)
		set->buckets[i] = -1;
	copy_fields(set, fields);
	return true;
}

void
cdc_fields_free(CdcFieldSet *set)
{
	free(set->fields);
	free(set->next);
	free(set->buckets);
	free(set->arena);
	free(set->scratch);
}

bool
cdc_memo_init(CdcMemo *memo, int nslots)
{
	memo->nslots = nslots;
	memo->nmisses = 0;
	memo->slots = calloc((size_t) nslots, sizeof(CdcMemoSlot));
	return memo->slots != NULL;
}

void
cdc_memo_free(CdcMemo *memo)
{
	free(memo->slots);
}

bool
cdc_image_init(CdcImage *image, const CdcFieldSet *set)
{
	size_t		n = (size_t) set->nfields + 1;

	memset(image, 0, sizeof(*image));
	image->tokens = calloc(n, sizeof(CdcToken));
	image->exact = calloc(n, sizeof(bool));
	return image->tokens != NULL && image->exact != NULL;
}

void
cdc_image_free(CdcImage *image)
{
	free(image->tokens);
	free(image->exact);
}

void
cdc_image_reset(CdcImage *image, const CdcFieldSet *set)
{
	memset(&image->whole, 0, sizeof(image->whole));
	memset(image->tokens, 0, (size_t) set->nfields * sizeof(CdcToken));
	memset(image->exact, 0, (size_t) set->nfields * sizeof(bool));
}

/*
 * The name without its escapes: in the input if it has none, else in the
 * set's scratch space.  False if no field can be called so.
 */
static bool
plain_name(const CdcFieldSet *set, const CdcToken *name, const char **text,
		   uint32_t *len)
{
	int			n;

	*text = name->text;
	*len = name->len;
	if (!(name->flags & CDC_JSON_ESCAPED))
		return *len <= set->longest;
	if (*len > set->longest * ESCAPE_FACTOR)
		return false;
	n = cdc_json_unescape(name, set->scratch);
	if (n < 0)
		return false;
	*text = set->scratch;
	*len = (uint32_t) n;
	return true;
}

/* First field, in the order of their chain, that means this name; or -1. */
int
cdc_fields_find(const CdcFieldSet *set, const CdcToken *name)
{
	const char *text;
	uint32_t	len;
	int			i;

	if (!plain_name(set, name, &text, &len))
		return -1;
	i = set->buckets[find_bucket(set, text, len)];
	while (i >= 0 && !set->fields[i].fold &&
		   memcmp(set->fields[i].name, text, len) != 0)
		i = set->next[i];
	return i;
}

static void
remember(CdcMemoSlot *slot, const CdcToken *name, int head)
{
	slot->len = 0;
	if ((name->flags & CDC_JSON_ESCAPED) || name->len + 3 > CDC_MEMO_LITERAL)
		return;
	slot->head = head;
	slot->len = name->len + 3;
	slot->literal[0] = '"';
	memcpy(slot->literal + 1, name->text, name->len);
	slot->literal[name->len + 1] = '"';
	slot->literal[name->len + 2] = ':';
}

int
cdc_fields_step(const CdcFieldSet *set, CdcMemo *memo, CdcScanner *scanner,
				int i, CdcToken *name, int *head)
{
	CdcMemoSlot *slot = i < memo->nslots ? &memo->slots[i] : NULL;
	int			rc;

	if (slot && slot->len > 0 &&
		cdc_scan_expect(scanner, i == 0, slot->literal, slot->len))
	{
		name->text = scanner->pos - slot->len + 1;
		name->len = slot->len - 3;
		name->kind = CDC_JSON_STRING;
		name->flags = 0;
		*head = slot->head;
		return 1;
	}
	rc = cdc_scan_member(scanner, i == 0, name);
	if (rc <= 0)
		return rc;
	memo->nmisses++;
	*head = cdc_fields_find(set, name);
	if (slot)
		remember(slot, name, *head);
	return 1;
}

void
cdc_image_store(CdcImage *image, const CdcFieldSet *set, int head,
				const CdcToken *name, const CdcToken *value)
{
	const char *text;
	uint32_t	len;

	if (head < 0 || !plain_name(set, name, &text, &len))
		return;
	for (int i = head; i >= 0; i = set->next[i])
	{
		bool		exact = memcmp(set->fields[i].name, text, len) == 0;

		if (!exact && (!set->fields[i].fold || image->exact[i]))
			continue;
		image->tokens[i] = *value;
		image->exact[i] = exact;
	}
}
