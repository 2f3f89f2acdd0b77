/*-------------------------------------------------------------------------
 *
 * same_change.h
 *	  Do two decoders say the same of one record, in the same bytes?  A MongoDB
 *	  document, and a record that was the text of another one, are in memory of
 *	  the decoder: there, in bytes that are alike.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SAME_CHANGE_H
#define SAME_CHANGE_H

#include <string.h>

#include "envelope.h"

static inline bool
same_token(const CdcToken *a, const CdcToken *b)
{
	return a->text == b->text && a->len == b->len && a->kind == b->kind &&
		a->flags == b->flags;
}

static inline bool
alike_token(const CdcToken *a, const CdcToken *b)
{
	return a->len == b->len && a->kind == b->kind && a->flags == b->flags &&
		(a->text == b->text || memcmp(a->text, b->text, a->len) == 0);
}

static inline bool
alike_tokens(const CdcToken *a, const CdcToken *b, int n)
{
	for (int i = 0; i < n; i++)
		if (!alike_token(&a[i], &b[i]))
			return false;
	return true;
}

static inline bool
same_tokens(const CdcToken *a, const CdcToken *b, int n)
{
	for (int i = 0; i < n; i++)
		if (!same_token(&a[i], &b[i]))
			return false;
	return true;
}

static inline bool
same_schema(const CdcChange *a, const CdcChange *b)
{
	if (a->wrapped && a->schema && b->schema)
		return a->schema_len == b->schema_len &&
			memcmp(a->schema, b->schema, a->schema_len) == 0;
	return a->schema == b->schema && a->schema_len == b->schema_len;
}

static inline bool
same_position(const CdcPosition *a, const CdcPosition *b)
{
	return a->kind == b->kind && a->scope == b->scope &&
		a->has_gtid == b->has_gtid &&
		memcmp(a->at.parts, b->at.parts, sizeof(a->at.parts)) == 0;
}

/* All but the wanted fields, which a decoder forgets. */
static inline bool
same_frame(const CdcChange *a, const CdcChange *b)
{
	return a->shape == b->shape && a->op == b->op &&
		a->has_before == b->has_before && a->has_after == b->has_after &&
		a->has_ts_ms == b->has_ts_ms && a->ts_ms == b->ts_ms &&
		a->has_source_ts_ms == b->has_source_ts_ms &&
		a->source_ts_ms == b->source_ts_ms &&
		a->snapshot == b->snapshot && a->incremental == b->incremental &&
		a->mark == b->mark &&
		a->wrapped == b->wrapped && same_schema(a, b) &&
		(a->wrapped ? alike_token : same_token) (&a->connector, &b->connector) &&
		a->document == b->document && a->partial == b->partial &&
		a->marked == b->marked && a->format == b->format &&
		a->cells == b->cells &&
		(a->document || a->wrapped ? alike_token : same_token) (&a->before_json, &b->before_json) &&
		(a->document || a->wrapped ? alike_token : same_token) (&a->after_json, &b->after_json) &&
		(a->wrapped ? alike_token : same_token) (&a->source_json, &b->source_json) &&
		(a->wrapped ? alike_token : same_token) (&a->transaction_json, &b->transaction_json) &&
		same_position(&a->position, &b->position);
}

static inline bool
same_error(const CdcDecodeError *a, const CdcDecodeError *b)
{
	return strcmp(a->message, b->message) == 0 && a->offset == b->offset;
}

#endif							/* SAME_CHANGE_H */
