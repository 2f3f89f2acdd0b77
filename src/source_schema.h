/*-------------------------------------------------------------------------
 *
 * source_schema.h
 *	  The columns of a source's table: lists of them, and how two lists differ.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SOURCE_SCHEMA_H
#define CDC_SOURCE_SCHEMA_H

#include "convert.h"

typedef struct CdcSourceField
{
	char	   *name;
	char	   *type;			/* SQL text of the type that a target made by us
								 * gets; NULL: nothing but the name is known */
	bool		optional;
	char	   *default_value;	/* constant, as text of that type; NULL: none */
	bool		expression;		/* it has a default that is no constant that we
								 * can read; not kept */
} CdcSourceField;

typedef enum CdcSourceChangeKind
{
	CDC_COLUMN_ADDED,
	CDC_COLUMN_DROPPED,
	CDC_COLUMN_TYPE,
	CDC_COLUMN_NULLABLE,
	CDC_COLUMN_NOT_NULL,
	CDC_COLUMN_DEFAULT
} CdcSourceChangeKind;

typedef struct CdcSourceChange
{
	CdcSourceChangeKind kind;
	const CdcSourceField *before;	/* NULL: was added */
	const CdcSourceField *after;	/* NULL: was dropped */
} CdcSourceChange;

/* A list of CdcSourceField, in the current memory context. */
extern List *cdc_source_fields_of(const CdcSchema *schema, CdcConnector connector);

/* The same of a JSON object's members: nothing but their names. */
extern List *cdc_source_fields_named(const CdcToken *row);

/* The fields of a list by their names alone. */
extern List *cdc_source_fields_names(List *fields);

/* To JSON text, and back from jsonb. */
extern char *cdc_source_fields_print(List *fields);
extern List *cdc_source_fields_read(Jsonb *fields);

/* The field of that name, or NULL. */
extern CdcSourceField *cdc_source_field(List *fields, const char *name);

/*
 * What has changed, as a list of CdcSourceChange that point to the fields.
 * What is not known of a field has not changed; where names are all that is
 * known of the new list, fields that it lacks are not taken for dropped.
 */
extern List *cdc_source_fields_compare(List *before, List *after);

/* The kind in words, as in cdcsync.schema_change. */
extern const char *cdc_source_change_kind(const CdcSourceChange *change);

#endif							/* CDC_SOURCE_SCHEMA_H */
