/*-------------------------------------------------------------------------
 *
 * relayed.h
 *	  Is a change that was relayed the one that the decoder has found?
 *
 *-------------------------------------------------------------------------
 */
#ifndef RELAYED_H
#define RELAYED_H

#include <stdlib.h>

#include "relay.h"
#include "same_change.h"

/* It has copies of the bytes, and none of what is only there for cdc_decode(). */
static inline bool
alike_change(const CdcChange *a, const CdcChange *b, int nrow, int nsource)
{
	return a->shape == b->shape && a->op == b->op &&
		a->has_before == b->has_before && a->has_after == b->has_after &&
		a->partial == b->partial && a->marked == b->marked &&
		a->document == b->document && b->format == NULL &&
		a->has_ts_ms == b->has_ts_ms && a->ts_ms == b->ts_ms &&
		a->has_source_ts_ms == b->has_source_ts_ms &&
		a->source_ts_ms == b->source_ts_ms &&
		a->snapshot == b->snapshot && a->incremental == b->incremental &&
		a->mark == b->mark && a->new_names == b->new_names &&
		(a->verdict == NULL) == (b->verdict == NULL) &&
		(a->schema == NULL) == (b->schema == NULL) &&
		(a->schema == NULL || (a->schema_len == b->schema_len &&
							   memcmp(a->schema, b->schema, a->schema_len) == 0)) &&
		alike_tokens(&a->connector, &b->connector, 1) &&
		alike_tokens(a->before, b->before, nrow) &&
		alike_tokens(a->after, b->after, nrow) &&
		alike_tokens(a->source, b->source, nsource) &&
		same_position(&a->position, &b->position);
}

/*
 * Relay the decoder's last change, with room that may not be enough (of exactly its
 * size, so that writing beyond it is seen), and now and then lose what was written.
 * *n: how many times it was relayed.
 */
static inline bool
relays_change(CdcDecoder *decoder, const CdcChange *change, int nrow, int nsource, int *n)
{
	static CdcRelay *relay = NULL;
	static const size_t rooms[] = {0, 16, 48, 120, 240, 600, 16 * 1024};
	static int	calls = 0;
	bool		same = true;

	*n = 0;
	if (relay == NULL)
		relay = cdc_relay_create(nrow, nsource);
	if (relay == NULL)
		return false;
	if (++calls % 13 == 0)
		cdc_relay_forget(decoder);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++)
	{
		char	   *memory = malloc(rooms[i] > 0 ? rooms[i] : 1);
		size_t		len = cdc_relay_write(decoder, change, memory, rooms[i]);
		CdcChange	copy;

		if (len % CDC_RELAY_ALIGN != 0 || len > rooms[i])
			same = false;
		if (len > 0)
		{
			(*n)++;
			same = cdc_relay_read(relay, memory, &copy) == CDC_RELAYED && same &&
				alike_change(change, &copy, nrow, nsource);
			/* as somebody may who works with it */
			for (int j = 0; j < nrow; j++)
				if (copy.after[j].kind != CDC_JSON_MISSING)
					copy.after[j].flags |= CDC_JSON_MIXED;
			if (copy.verdict)
				*copy.verdict = 1;
			/* who has not read what it builds on is told so */
			if (*n > 1 && calls % 13 == 1)
			{
				CdcRelay   *late = cdc_relay_create(nrow, nsource);

				same = same && late &&
					cdc_relay_read(late, memory, &copy) == CDC_RELAY_GAP;
				cdc_relay_free(late);
			}
		}
		free(memory);
	}
	return same;
}

#endif							/* RELAYED_H */
