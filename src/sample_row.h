/*-------------------------------------------------------------------------
 *
 * sample_row.h
 *	  Which sampled records are rows, and of what their values are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SAMPLE_ROW_H
#define CDC_SAMPLE_ROW_H

#include "landing.h"
#include "envelope.h"

/* What kinds of values a field had. */
#define CDC_SEEN_INTEGER	0x01
#define CDC_SEEN_BIG		0x02	/* an integer beyond bigint */
#define CDC_SEEN_FRACTION	0x04
#define CDC_SEEN_STRING		0x08
#define CDC_SEEN_BOOL		0x10
#define CDC_SEEN_NESTED		0x20
#define CDC_SEEN_TIME		0x40	/* of a MongoDB document, as the two below */
#define CDC_SEEN_UUID		0x80
#define CDC_SEEN_BYTES		0x100

/* The kind of a value in the JSON of a row image of the change; 0 for null. */
extern int	cdc_sample_kind(const CdcToken *value, const CdcChange *change);

/*
 * Is a record that is no envelope a row of a table?  It has the metadata of a
 * flattened event, or all fields of its own key.
 */
extern bool cdc_sample_is_row(const CdcChange *change, const CdcToken *key);

/*
 * Is the field one that Debezium's flattening transform has added to a row?
 * prefix: the option add_fields_prefix, or NULL.  Ask only of rows that are marked.
 */
extern bool cdc_sample_is_metadata(const char *name, const char *prefix);

#endif							/* CDC_SAMPLE_ROW_H */
