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
 * and returns false for errors in the data: SQLSTATE classes 22 and 23, 54000.
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
 * Run func(arg) in a subtransaction.  Returns true if it succeeded; for an
 * error in the data rolls back, fills *error (message in the current context)
 * and returns false; rolls back and passes on other errors.
 */
extern bool cdc_try(void (*func) (void *arg), void *arg, CdcConvertError *error);

/*
 * Run func(arg) in a subtransaction, which is rolled back if it returns false.
 * Errors of all kinds are passed on.  Returns what func returned.
 */
extern bool cdc_tentatively(bool (*func) (void *arg), void *arg);

#endif							/* CDC_VALUE_H */
