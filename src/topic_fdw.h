/*-------------------------------------------------------------------------
 *
 * topic_fdw.h
 *	  Topics as foreign tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TOPIC_FDW_H
#define CDC_TOPIC_FDW_H

#include "nodes/parsenodes.h"

/* CREATE FOREIGN TABLE commands for the topics of a server. */
extern List *cdc_topic_import(ImportForeignSchemaStmt *stmt, Oid serverid);

#endif							/* CDC_TOPIC_FDW_H */
