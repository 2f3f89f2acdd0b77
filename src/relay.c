/*-------------------------------------------------------------------------
 *
 * relay.c
 *	  Changes that one decoder has found, for who has the record's bytes no more.
 *
 * Pure C without PostgreSQL.  Of the records that fit a skeleton (replay.c), nearly
 * all of the change is the same.  That is written once, with the values that are
 * part of the skeleton's literals; for each record there follow the values that
 * were in gaps, the times and the position.  So a record of 570 bytes with three
 * columns takes some 150, and reading it is less work than restoring its tokens.
 *
 * Changes that come about otherwise are not relayed.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"
#include "replay.h"

#define ALIGN(size)	(((size) + CDC_RELAY_ALIGN - 1) / CDC_RELAY_ALIGN * CDC_RELAY_ALIGN)

/* Set in the number of a schema: the reader has a decoder too, which counts its own. */
#define SCHEMA_BASE	((uint64_t) 1 << 63)

/* A value; its bytes stand behind all of those that it was written with. */
typedef struct Value
{
	uint32_t	number;			/* of the token */
	uint32_t	len;
	uint8_t		kind;
	uint8_t		flags;
} Value;

/* What is the same in all records of a skeleton. */
typedef struct Common
{
	uint32_t	size;			/* with what follows: values, their bytes, schema */
	uint32_t	nvalues;
	CdcChange	change;			/* its pointers mean nothing */
	bool		has_schema;
	bool		has_verdict;
	uint8_t		position;		/* CdcPositionFrom */
} Common;

/* A record; there follow its Common, if it is new, its position, and its values. */
typedef struct Head
{
	uint8_t		skeleton;
	bool		is_new;
	bool		has_ts_ms;
	bool		has_source_ts_ms;
	uint32_t	nvalues;
	uint32_t	common;			/* number of its Common */
	int64_t		ts_ms;
	int64_t		source_ts_ms;
} Head;

/* ----------
 * Writing
 * ----------
 */

/* Number of the token to the reader, or -1: it gets none. */
static int
token_number(const CdcDecoder *decoder, const CdcReplay *replay, const CdcToken *token)
{
	int			n = 2 * decoder->nrow + decoder->nsource;

	if (token >= replay->tokens && token < replay->tokens + n)
		return (int) (token - replay->tokens);
	return token == &replay->change.connector ? n : -1;
}

/* Is it the same in all records? */
static bool
is_common(const CdcStore *store)
{
	return store->origin == CDC_STORE_LITERAL && store->from.step == store->to.step;
}

/* Write the values that are common, or those that are not; NULL: no room. */
static char *
write_values(const CdcDecoder *decoder, const CdcReplay *replay, bool common,
			 char *to, const char *end, uint32_t *nvalues)
{
	Value	   *values = (Value *) to;
	uint32_t	n = 0;
	char	   *bytes;

	for (int i = 0; i < replay->nstores; i++)
	{
		const CdcStore *store = &replay->stores[i];
		int			number = is_common(store) == common ?
			token_number(decoder, replay, store->token) : -1;

		if (number < 0)
			continue;
		if ((size_t) (end - to) < (n + 1) * sizeof(Value))
			return NULL;
		values[n].number = (uint32_t) number;
		values[n].len = store->token->len;
		values[n].kind = store->token->kind;
		values[n].flags = store->token->flags;
		n++;
	}
	bytes = (char *) (values + n);
	*nvalues = n;
	n = 0;
	for (int i = 0; i < replay->nstores; i++)
	{
		const CdcStore *store = &replay->stores[i];

		if (is_common(store) != common ||
			token_number(decoder, replay, store->token) < 0)
			continue;
		if ((size_t) (end - bytes) < values[n].len)
			return NULL;
		memcpy(bytes, store->token->text, values[n].len);
		bytes += values[n++].len;
	}
	return bytes;
}

static char *
write_common(const CdcDecoder *decoder, const CdcReplay *replay,
			 const CdcChange *change, char *to, const char *end)
{
	Common	   *common = (Common *) to;
	char	   *p = to + ALIGN(sizeof(Common));

	if (p > end)
		return NULL;
	common->change = *change;
	common->has_schema = replay->has_schema;
	common->has_verdict = change->verdict != NULL;
	common->position = (uint8_t) replay->position;
	p = write_values(decoder, replay, true, p, end, &common->nvalues);
	if (p == NULL)
		return NULL;
	if (replay->has_schema)
	{
		if ((size_t) (end - p) < change->schema_len)
			return NULL;
		memcpy(p, change->schema, change->schema_len);
		p += change->schema_len;
	}
	common->size = (uint32_t) ALIGN((size_t) (p - to));
	return common->size <= (size_t) (end - to) ? to + common->size : NULL;
}

static size_t
position_size(CdcPositionFrom from)
{
	switch (from)
	{
		case CDC_POSITION_SAME:
			return 0;
		case CDC_POSITION_MYSQL_POS:
			return sizeof(uint64_t);
		case CDC_POSITION_ALL:
			return ALIGN(sizeof(CdcPosition));
	}
	return 0;
}

static void
write_position(CdcPositionFrom from, const CdcPosition *position, char *to)
{
	if (from == CDC_POSITION_MYSQL_POS)
		memcpy(to, &position->at.mysql.minor, sizeof(uint64_t));
	else if (from == CDC_POSITION_ALL)
		memcpy(to, position, sizeof(CdcPosition));
}

size_t
cdc_relay_write(CdcDecoder *decoder, const CdcChange *change, char *to, size_t room)
{
	CdcReplay  *replay = decoder->replayed;
	char	   *end = to + room;
	char	   *p = to + ALIGN(sizeof(Head));
	Head	   *head = (Head *) to;
	size_t		size;

	if (replay == NULL || change->wrapped || p > end)
		return 0;
	head->skeleton = replay->number;
	head->is_new = replay->relayed != decoder->relays;
	head->common = head->is_new ? ++decoder->ncommons : replay->common;
	head->has_ts_ms = change->has_ts_ms;
	head->has_source_ts_ms = change->has_source_ts_ms;
	head->ts_ms = change->ts_ms;
	head->source_ts_ms = change->source_ts_ms;
	if (head->is_new && (p = write_common(decoder, replay, change, p, end)) == NULL)
		return 0;
	size = position_size(replay->position);
	if ((size_t) (end - p) < size)
		return 0;
	write_position(replay->position, &change->position, p);
	p = write_values(decoder, replay, false, p + size, end, &head->nvalues);
	if (p == NULL || ALIGN((size_t) (p - to)) > room)
		return 0;
	replay->relayed = decoder->relays;
	replay->common = head->common;
	return ALIGN((size_t) (p - to));
}

void
cdc_relay_forget(CdcDecoder *decoder)
{
	decoder->relays++;
}

/* ----------
 * Reading
 * ----------
 */

/* What is the same in all records of a skeleton, to the reader. */
typedef struct Kind
{
	CdcChange	change;
	CdcToken   *tokens;			/* before, after, source */
	char	   *memory;			/* of Common and what follows it */
	const Value *common;		/* in it */
	uint32_t	ncommon;
	uint32_t	number;			/* of Common; 0: there is none */
	CdcPositionFrom position;
	uint8_t		verdict;
} Kind;

struct CdcRelay
{
	int			nrow;
	int			nsource;
	Kind		kinds[CDC_SKELETONS];
};

CdcRelay *
cdc_relay_create(int nrow, int nsource)
{
	CdcRelay   *relay = calloc(1, sizeof(CdcRelay));

	if (relay == NULL)
		return NULL;
	relay->nrow = nrow;
	relay->nsource = nsource;
	return relay;
}

void
cdc_relay_free(CdcRelay *relay)
{
	if (relay == NULL)
		return;
	for (int i = 0; i < CDC_SKELETONS; i++)
	{
		free(relay->kinds[i].tokens);
		free(relay->kinds[i].memory);
	}
	free(relay);
}

/* Set the tokens of values, the bytes of which follow them. */
static inline const char *
read_values(Kind *kind, int ntokens, const char *from, uint32_t n)
{
	const Value *values = (const Value *) from;
	const char *bytes = from + n * sizeof(Value);

	for (uint32_t i = 0; i < n; i++)
	{
		CdcToken   *token = (int) values[i].number == ntokens ?
			&kind->change.connector : &kind->tokens[values[i].number];

		token->text = bytes;
		token->len = values[i].len;
		token->kind = values[i].kind;
		token->flags = values[i].flags;
		token->origin = 0;
		bytes += values[i].len;
	}
	return bytes;
}

static bool
read_common(CdcRelay *relay, Kind *kind, const char *from)
{
	uint32_t	size = ((const Common *) from)->size;
	int			ntokens = 2 * relay->nrow + relay->nsource;
	char	   *memory = realloc(kind->memory, size);
	const Common *common = (const Common *) memory;
	const char *behind;

	if (memory == NULL)
		return false;
	kind->number = 0;
	kind->memory = memcpy(memory, from, size);
	if (kind->tokens == NULL)
		kind->tokens = malloc(((size_t) ntokens + 1) * sizeof(CdcToken));
	if (kind->tokens == NULL)
		return false;
	memset(kind->tokens, 0, (size_t) ntokens * sizeof(CdcToken));
	kind->change = common->change;
	kind->position = (CdcPositionFrom) common->position;
	memset(&kind->change.connector, 0, sizeof(CdcToken));
	memset(&kind->change.before_json, 0, sizeof(CdcToken));
	memset(&kind->change.after_json, 0, sizeof(CdcToken));
	memset(&kind->change.source_json, 0, sizeof(CdcToken));
	memset(&kind->change.transaction_json, 0, sizeof(CdcToken));
	kind->change.before = kind->tokens;
	kind->change.after = kind->tokens + relay->nrow;
	kind->change.source = kind->tokens + 2 * relay->nrow;
	kind->change.format = NULL;
	kind->verdict = 0;
	kind->change.verdict = common->has_verdict ? &kind->verdict : NULL;
	kind->common = (const Value *) (memory + ALIGN(sizeof(Common)));
	kind->ncommon = common->nvalues;
	behind = read_values(kind, ntokens, memory + ALIGN(sizeof(Common)), common->nvalues);
	kind->change.schema = common->has_schema ? behind : NULL;
	kind->change.schema_no = common->has_schema && common->change.schema_no ?
		SCHEMA_BASE | common->change.schema_no : 0;
	return true;
}

static const char *
read_position(const Kind *kind, CdcPosition *position, const char *from)
{
	if (kind->position == CDC_POSITION_MYSQL_POS)
		memcpy(&position->at.mysql.minor, from, sizeof(uint64_t));
	else if (kind->position == CDC_POSITION_ALL)
		memcpy(position, from, sizeof(CdcPosition));
	return from + position_size(kind->position);
}

/* Who was given the record before may have marked its tokens. */
static inline void
unmark_common(const CdcRelay *relay, Kind *kind)
{
	int			ntokens = 2 * relay->nrow + relay->nsource;

	for (uint32_t i = 0; i < kind->ncommon; i++)
		if ((int) kind->common[i].number < ntokens)
			kind->tokens[kind->common[i].number].flags = kind->common[i].flags;
}

CdcRelayed
cdc_relay_read(CdcRelay *relay, const char *from, CdcChange *change)
{
	const Head *head = (const Head *) from;
	Kind	   *kind = &relay->kinds[head->skeleton];
	const char *p = from + ALIGN(sizeof(Head));

	if (head->is_new)
	{
		if (!read_common(relay, kind, p))
			return CDC_RELAY_NO_MEMORY;
		kind->number = head->common;
		p += ((const Common *) p)->size;
	}
	else if (kind->number == head->common)
		unmark_common(relay, kind);
	else
		return CDC_RELAY_GAP;
	p = read_position(kind, &kind->change.position, p);
	(void) read_values(kind, 2 * relay->nrow + relay->nsource, p, head->nvalues);
	kind->change.has_ts_ms = head->has_ts_ms;
	kind->change.ts_ms = head->ts_ms;
	kind->change.has_source_ts_ms = head->has_source_ts_ms;
	kind->change.source_ts_ms = head->source_ts_ms;
	*change = kind->change;
	return CDC_RELAYED;
}
