/*-------------------------------------------------------------------------
 *
 * position.h
 *	  From the fields of an event's "source" to a CdcPosition.
 *
 * Pure C, no PostgreSQL.  Used by envelope.c alone; what others do with
 * positions is declared in envelope.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_POSITION_H
#define CDC_POSITION_H

#include "envelope.h"

/*
 * Both leave position->kind at CDC_POSITION_NONE where the tokens do not tell
 * a position that can be compared.
 */
extern void cdc_position_mysql(const CdcToken *server_id, const CdcToken *gtid,
							   const CdcToken *file, const CdcToken *pos,
							   CdcPosition *position);
extern void cdc_position_postgresql(const CdcToken *sequence,
									CdcPosition *position);

#endif							/* CDC_POSITION_H */
