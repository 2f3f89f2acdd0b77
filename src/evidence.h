/*-------------------------------------------------------------------------
 *
 * evidence.h
 *	  What the values of a column have shown of their encoding.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_EVIDENCE_H
#define CDC_EVIDENCE_H

#include "infer.h"
#include "rank.h"

typedef struct CdcEvidence CdcEvidence;

/*
 * The evidence of a pipeline's columns, loaded from the catalog, which the
 * converters of the target get; lives in the current context.  NULL if no
 * column can meet a string that has two readings.
 */
extern CdcEvidence *cdc_evidence_load(const char *pipeline,
									  const CdcTarget *target);

/*
 * Look at the images of a record, before any of its values is converted.  Their
 * tokens are marked where the column has shown two encodings before.
 */
extern void cdc_evidence_look(CdcEvidence *evidence, const CdcChange *change,
							  const CdcRowSchema *schema,
							  const CdcChunk *chunk, int64 offset);

/* Mark tokens of another image of the record, or of its key. */
extern void cdc_evidence_mark(const CdcEvidence *evidence, CdcToken *fields,
							  const CdcChunk *chunk, int64 offset);

/*
 * Write what a window has shown to the catalog; does a column have its first
 * evidence?  Then records may wait for that in quarantine.
 */
extern bool cdc_evidence_store(CdcEvidence *evidence);

/*
 * SQL condition for a row q of cdcsync.quarantine of the pipeline $1: it waited
 * for evidence, which has come.  It cannot be in doubt again.
 */
#define CDC_EVIDENCE_CAME(q) \
	q ".pipeline = $1 AND " q ".sqlstate = '22018' AND " q ".blocked_by IS NULL " \
	"AND (" q ".kafka_key IS NOT NULL OR " q ".kafka_value IS NOT NULL) " \
	"AND EXISTS (SELECT FROM cdcsync.evidence e WHERE e.pipeline = $1 " \
	"AND e.column_name = " q ".column_name AND (e.mixed_offset IS NULL " \
	"OR (e.mixed_partition = " q ".kafka_partition " \
	"AND (" q ".epoch, " q ".kafka_offset) < (e.mixed_epoch, e.mixed_offset))))"

/* Are there such records? */
extern bool cdc_evidence_waiting(const char *pipeline);

/* What a sample of the events shows to a new pipeline. */
extern void cdc_evidence_begin(const char *pipeline, const CdcTarget *target,
							   const CdcInferred *inferred);

/* The mapping has changed: it, and what comes, decides anew. */
extern void cdc_evidence_reset(const char *pipeline, List *readings);

#endif							/* CDC_EVIDENCE_H */
