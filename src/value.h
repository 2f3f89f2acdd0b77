/*-------------------------------------------------------------------------
 *
 * value.h
 *	  One value of a row: token -> Datum of its column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_VALUE_H
#define CDC_VALUE_H

#include "rank.h"

/*
 * Convert a token (set, or JSON null) to the column's type, in the current
 * memory context.  Returns false and fills *error if it cannot be.  read may
 * also ereport() if column->may_raise; convert runs in a subtransaction then,
 * and returns false for errors in the data: SQLSTATE classes 22 and 23, 54000,
 * 27000, 44000, P0001 and P0004.
 */
extern bool cdc_value_read(const CdcColumn *column, const CdcToken *token,
						   const CdcRowSchema *schema, int at,
						   CdcConnector connector, Datum *value, bool *isnull,
						   CdcConvertError *error);
extern bool cdc_value_convert(const CdcColumn *column, const CdcToken *token,
							  const CdcRowSchema *schema, int at,
							  CdcConnector connector, Datum *value, bool *isnull,
							  CdcConvertError *error);

/* The field of an embedded schema that a wanted field stands for, or NULL. */
extern const CdcSchemaField *cdc_value_schema_field(const CdcSchema *schema,
													const CdcField *field);

/*
 * cdc_attempt() with the errors of the data: fills *error for those (message in
 * the current context).
 */
extern bool cdc_try(bool (*func) (void *arg), void *arg, CdcConvertError *error);

#endif							/* CDC_VALUE_H */
