/*-------------------------------------------------------------------------
 *
 * headers.h
 *	  The headers of a Kafka record, from the flat form of CdcRecord.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HEADERS_H
#define CDC_HEADERS_H

#include "utils/jsonb.h"

#include "cdcsync.h"

/*
 * A JSON array of {"key": .., "value": ..}: order and repeated keys stay.  A
 * NULL value is a JSON null; a value that a JSON string cannot hold (not
 * UTF-8, or with a NUL byte) is {"key": .., "bytes": base64} instead, and a
 * key that it cannot hold is "key_bytes".  NULL if there are no headers.
 */
extern Jsonb *cdc_headers_to_jsonb(CdcBytes headers);

#endif							/* CDC_HEADERS_H */
