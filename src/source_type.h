/*-------------------------------------------------------------------------
 *
 * source_type.h
 *	  A column's declaration at the source -> type and default here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SOURCE_TYPE_H
#define CDC_SOURCE_TYPE_H

#include "convert.h"

/*
 * SQL text of the type for a column that a schema-change event declares with
 * this type name, length and scale (-1: none); NULL: not known.
 */
extern char *cdc_source_type(CdcConnector connector, const char *name,
							 int length, int scale);

/*
 * The constant that a default expression of the source stands for, as text of
 * the type; NULL if it is none, or none that the type can hold.
 */
extern char *cdc_source_default(CdcConnector connector, const char *expression,
								const char *type);

#endif							/* CDC_SOURCE_TYPE_H */
