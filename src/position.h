/*-------------------------------------------------------------------------
 *
 * position.h
 *	  From the fields of an event's "source" to a CdcPosition.
 *
 * Pure C, no PostgreSQL.  Used by the files of the decoder alone; what others do with
 * positions is declared in envelope.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_POSITION_H
#define CDC_POSITION_H

#include "envelope.h"

/*
 * The names of the last GTID's source, file and database, and their hashes: they
 * seldom change.  All zero to begin with.
 */
#define CDC_POSITION_NAME	64
typedef struct CdcPositionName
{
	char		name[CDC_POSITION_NAME];
	size_t		len;			/* 0: none */
	uint64_t	hash;
} CdcPositionName;

typedef struct CdcPositionMemo
{
	CdcPositionName gtid_source;
	CdcPositionName file;
	CdcPositionName scope;
} CdcPositionMemo;

/* A part of a position: a non-negative integer, as a number or as a string. */
extern bool cdc_position_number(const CdcToken *token, uint64_t *value);

/*
 * All leave position->kind at CDC_POSITION_NONE where the tokens do not tell
 * a position that can be compared.
 */
extern void cdc_position_mysql(CdcPositionMemo *memo,
							   const CdcToken *server_id, const CdcToken *gtid,
							   const CdcToken *file, const CdcToken *pos,
							   CdcPosition *position);
extern void cdc_position_postgresql(const CdcToken *sequence,
									CdcPosition *position);
extern void cdc_position_sqlserver(CdcPositionMemo *memo, const CdcToken *db,
								   const CdcToken *commit_lsn,
								   const CdcToken *change_lsn,
								   const CdcToken *event_serial_no,
								   CdcPosition *position);
extern void cdc_position_oracle(CdcPositionMemo *memo, const CdcToken *db,
								const CdcToken *commit_scn,
								const CdcToken *tx_id, const CdcToken *tx_seq,
								const CdcToken *scn, const CdcToken *rs_id,
								const CdcToken *ssn, CdcPosition *position);
extern void cdc_position_db2(CdcPositionMemo *memo, const CdcToken *db,
							 const CdcToken *commit_lsn,
							 const CdcToken *change_lsn,
							 CdcPosition *position);
extern void cdc_position_mongodb(CdcPositionMemo *memo, const CdcToken *rs,
								 int64_t source_ts_ms, const CdcToken *ord,
								 CdcPosition *position);

#endif							/* CDC_POSITION_H */
