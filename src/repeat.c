/*-------------------------------------------------------------------------
 *
 * repeat.c
 *	  Is an event that has the position of the last one that very event?
 *
 * Kafka Connect sends events again from an earlier place on, all of them and in
 * their order.  What has an older position is known by it.  But the events of one
 * position (a key's change is two, a COPY or a statement that changes several rows
 * may be any number) may have come in part before, so that some are repeats and the
 * rest is new, and new ones may be equal to old ones: two equal rows of a COPY.
 *
 * So the first CDC_REPEATS events of the last position are kept, as hashes, or of
 * the last transaction where there are GTIDs, as these do not tell what is older
 * within.  When an older event was sent again, the first of them are expected, one
 * after the other, and what is expected and comes is left out.  Whatever else comes
 * is applied and ends that.  Nothing is lost so, even among equal events: each one
 * kept takes away one at most of those that are sent again, and those are all.
 *
 * Where nothing older was sent again, an event is recognised only if no other one
 * can have its position and be equal, see identifies(); or if it is the last one of
 * its key in Kafka that is kept, and of MySQL tells the number of its row in the
 * statement: a row that is as the event leaves it cannot be made so once more.  That
 * holds only of what was there before: what has happened in between need not be known
 * by the same key, if at all (a foreign key's cascade), so that an event further on in
 * the transaction's log is new.  Those that follow a repeat are then expected, too.  In
 * doubt it is applied: that repeats a change and loses none.
 *
 * Nothing but memory is touched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"

#include "repeat.h"

static uint64
hash_more(uint64 hash, const char *text, uint32 len)
{
	return hash_bytes_extended((const unsigned char *) text, (int) len,
							   hash_combine64(hash, len));
}

/* Bits of an event's hash that are its key's alone. */
#define KEY_BITS	UINT64CONST(0xffff)

/* The number of the row in MySQL's event, as text; NULL: it is not told. */
static const char *
row_number(const CdcChange *change, uint32 *len)
{
	static const char name[] = "\"row\":";
	const char *text = change->source_json.text;
	const char *end = text + change->source_json.len;

	/* no string in JSON can look like it, and it stands near the end */
	for (const char *p = end - sizeof(name); p > text; p--)
		if (*p == '"' && memcmp(p, name, sizeof(name) - 1) == 0)
		{
			const char *digits = p + sizeof(name) - 1;

			while (digits < end && *digits == ' ')
				digits++;
			for (p = digits; p < end && *p >= '0' && *p <= '9'; p++)
				;
			*len = p - digits;
			return *len > 0 ? digits : NULL;
		}
	return NULL;
}

/*
 * All that was not the connector's clock when it was sent.  *told: are that, the
 * key and the position of one event alone?
 */
static uint64
hash_event(const CdcChange *change, const char *key, uint32 key_len, bool *told)
{
	uint64		hash = (unsigned char) change->op;
	uint64		key_hash = key ? hash_more(0, key, key_len) : 0;

	*told = key && change->position.kind == CDC_POSITION_POSTGRESQL;
	if (key)
		hash = hash_more(hash, key, key_len);
	if (key && change->position.kind == CDC_POSITION_MYSQL)
	{
		uint32		len;
		const char *row = row_number(change, &len);

		*told = row != NULL;
		if (row)
			hash = hash_more(hash + 3, row, len);
	}
	if (change->has_before)
		hash = hash_more(hash + 1, change->before_json.text, change->before_json.len);
	if (change->has_after)
		hash = hash_more(hash + 2, change->after_json.text, change->after_json.len);
	return (hash & ~KEY_BITS) | (key_hash & KEY_BITS);
}

/*
 * Is there no second event like this at its position?  PostgreSQL has a position
 * for each row that is changed or deleted, but COPY has one for many inserts.
 * MySQL's binary log may hold a transaction in one compressed event, whose
 * position all of its rows have; a statement may change two equal rows.  MongoDB
 * has one position for a transaction.
 */
static bool
identifies(const CdcChange *change)
{
	switch (change->position.kind)
	{
		case CDC_POSITION_POSTGRESQL:
			return change->op == 'u' || change->op == 'd';
		case CDC_POSITION_SQLSERVER:
			return true;
		case CDC_POSITION_ORACLE:
			return change->position.at.oracle.tx_seq != 0;
		default:
			return false;
	}
}

/*
 * Is the event equal to the last one of its key that is kept, all of the position,
 * or of the transaction, being kept?  Returns its place, or -1.
 */
static int
find_last_of_key(const CdcRepeats *repeats, uint64 hash)
{
	if (repeats->n >= CDC_REPEATS)
		return -1;
	for (int i = repeats->n - 1; i >= 0; i--)
		if ((repeats->events[i] & KEY_BITS) == (hash & KEY_BITS))
			return repeats->events[i] == hash ? i : -1;
	return -1;
}

/* Where an event stands, by the source's log, to the last of those that are kept. */
typedef enum Place
{
	PLACE_OTHER,				/* elsewhere: they are of no use any more */
	PLACE_SAME,
	PLACE_BEFORE,				/* in the transaction, as its GTID tells */
	PLACE_AFTER,				/* .. behind all of them */
	PLACE_UNKNOWN				/* .. as another server has logged it */
} Place;

static Place
place_of(const CdcRepeats *repeats, const CdcPosition *position)
{
	const CdcPosition *last = &repeats->position;
	int			cmp;

	if (!cdc_position_compare(position, last, &cmp))
		return PLACE_OTHER;
	if (cmp == 0)
		return PLACE_SAME;
	if (!position->has_gtid || !last->has_gtid ||
		position->at.mysql.major != last->at.mysql.major)
		return PLACE_OTHER;
	/* a transaction lies in one file */
	if (position->at.mysql.file_no != last->at.mysql.file_no)
		return PLACE_UNKNOWN;
	return cmp < 0 ? PLACE_BEFORE : PLACE_AFTER;
}

static bool
comes_next(const CdcRepeats *repeats, uint64 hash)
{
	return repeats->expected >= 0 && repeats->expected < repeats->n &&
		repeats->events[repeats->expected] == hash;
}

void
cdc_repeat_begin(CdcRepeats *repeats)
{
	repeats->expected = 0;
}

bool
cdc_repeat_recognise(CdcRepeats *repeats, const CdcChange *change,
					 const char *key, uint32_t key_len)
{
	bool		told;
	uint64		hash = hash_event(change, key, key_len, &told);
	Place		place = place_of(repeats, &change->position);

	if (place == PLACE_OTHER)
	{
		repeats->n = 0;
		repeats->expected = -1;
	}
	if (!comes_next(repeats, hash))
	{
		repeats->expected = -1;
		if (place == PLACE_SAME && identifies(change))
			for (int i = 0; i < repeats->n && repeats->expected < 0; i++)
				if (repeats->events[i] == hash)
					repeats->expected = i;
		if (repeats->expected < 0 && told && place != PLACE_AFTER)
			repeats->expected = find_last_of_key(repeats, hash);
	}
	if (comes_next(repeats, hash))
	{
		repeats->expected++;
		return true;
	}
	repeats->expected = -1;
	if (place != PLACE_BEFORE)
		repeats->position = change->position;
	if (repeats->n < CDC_REPEATS)
		repeats->events[repeats->n++] = hash;
	return false;
}

char *
cdc_repeat_print(const CdcRepeats *repeats)
{
	StringInfoData buf;
	char		position[CDC_POSITION_TEXT];

	if (repeats->n == 0)
		return NULL;
	cdc_position_print(&repeats->position, position);
	initStringInfo(&buf);
	appendStringInfo(&buf, "%s %d", position, repeats->expected);
	for (int i = 0; i < repeats->n; i++)
		appendStringInfo(&buf, " " UINT64_FORMAT, repeats->events[i]);
	return buf.data;
}

void
cdc_repeat_parse(const char *text, CdcRepeats *repeats)
{
	char	   *copy = pstrdup(text);
	char	   *p = strchr(copy, ' ');

	memset(repeats, 0, sizeof(CdcRepeats));
	if (p == NULL)
		return;
	*p++ = '\0';
	if (!cdc_position_parse(copy, &repeats->position))
		return;
	repeats->expected = (int) strtol(p, &p, 10);
	while (*p == ' ' && repeats->n < CDC_REPEATS)
		repeats->events[repeats->n++] = strtou64(p + 1, &p, 10);
	pfree(copy);
}
