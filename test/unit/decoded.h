/*-------------------------------------------------------------------------
 *
 * decoded.h
 *	  The decoder under test and what it said last; included by one file per
 *	  program, which says how it decodes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DECODED_H
#define DECODED_H

#include "check.h"

#include "envelope.h"

static CdcDecoder *decoder;
static CdcChange change;
static CdcDecodeError error;
static char *record;			/* the bytes that the change points into */

static bool decode(const char *value);

static bool
says(const CdcToken *token, const char *text)
{
	if (text == NULL)
		return token->kind == CDC_JSON_MISSING;
	return token->kind != CDC_JSON_MISSING && token->len == strlen(text) &&
		memcmp(token->text, text, token->len) == 0;
}

static void
check_error(const char *value, const char *message)
{
	bool		ok = decode(value);

	CHECK(!ok && strstr(error.message, message) != NULL, "%s: %s", value,
		  ok ? "accepted" : error.message);
}

#endif							/* DECODED_H */
