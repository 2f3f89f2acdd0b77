/*-------------------------------------------------------------------------
 *
 * infer.h
 *	  Fields and key of the rows, taken from a sample of the events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_INFER_H
#define CDC_INFER_H

#include "convert.h"

/* A source field as the events show it. */
typedef struct CdcInferredField
{
	char	   *name;			/* as in the source */
	char	   *type;			/* SQL text of the type that it would get */
	bool		notnull;
	bool		guessed;		/* from JSON values, not from a schema */
	bool		integers;		/* had no other values than integers */
	CdcSchemaField *schema;		/* what the schema says; NULL: there was none */
	int			proofs;			/* encodings that its strings prove: 1 <<
								 * CdcEncoding */
} CdcInferredField;

typedef struct CdcInferred
{
	int			nrecords;		/* changes of rows that were looked at; 0: none */
	int			nread;			/* records that were looked at */
	int			nothers;		/* records that do not come from a table */
	CdcShape	other;			/* what the first of these is; CHANGE: a logical
								 * message */
	List	   *fields;			/* CdcInferredField *, in the order of the source */
	List	   *key;			/* char *, field names of the record's key in its
								 * order; NIL: null keys or a scalar key */
} CdcInferred;

/*
 * Look at up to 1,000 records: begin; add until it returns false, as enough
 * were seen, or there are no more; end.  The sample lives in the memory context
 * that is current at begin, and so does the result; add leaves more in the
 * current one, which the caller resets.
 */
typedef struct CdcSample CdcSample;

/* What of the records is to be looked at: the options of the pipeline. */
typedef struct CdcSampling
{
	CdcReadAs	read_as;
	const char *prefix;			/* add_fields_prefix, or NULL */
	List	   *filter;			/* CdcFilterTerm *; NIL: none */
} CdcSampling;

extern CdcSample *cdc_sample_begin(const CdcSampling *how);
extern bool cdc_sample_add(CdcSample *sample, CdcBytes key, CdcBytes value);
extern CdcInferred *cdc_sample_end(CdcSample *sample);

/* The field that a wanted field stands for, or NULL. */
extern const CdcInferredField *cdc_infer_field(const CdcInferred *inferred,
											   const CdcField *field);

/* All of this for the records of a landing view, as the current user. */
extern CdcInferred *cdc_infer(Oid relation, const CdcSampling *how);

/*
 * The SQL text of the type that a column for this field gets; *guessed is set
 * where the schema leaves that open.
 */
extern const char *cdc_infer_type(const CdcSchemaField *field,
								  CdcConnector connector, bool *guessed);

/* The field of that name, whatever its case if no name is equal; or NULL. */
extern CdcInferredField *cdc_infer_find(const CdcInferred *inferred,
										const char *name);

#endif							/* CDC_INFER_H */
