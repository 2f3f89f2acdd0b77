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

/* The name of the foreign table for a topic. */
extern char *cdc_topic_table_name(const char *topic);

/*
 * A name that was made from the topic's, in at most max bytes: its head and a
 * hash of the topic's name; or as it is if it is short enough.
 */
extern char *cdc_topic_name_hashed(const char *name, const char *topic, int max);
extern char *cdc_topic_name_cut(const char *name, const char *topic, int max);

/* CREATE FOREIGN TABLE for a topic; table is quoted as need be. */
extern char *cdc_topic_table_command(const char *table, const char *topic,
									 const char *server);

#endif							/* CDC_TOPIC_FDW_H */
