/*-------------------------------------------------------------------------
 *
 * evolve.h
 *	  Let the target follow a change of the source's table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_EVOLVE_H
#define CDC_EVOLVE_H

#include "pipeline.h"
#include "source_watch.h"

typedef enum CdcEvolved
{
	CDC_EVOLVED,				/* dealt with: the target may have changed */
	CDC_EVOLVE_STOPPED,			/* the pipeline is stopped, for a person */
	CDC_EVOLVE_LATER			/* a lock was not to be had: *error says it */
} CdcEvolved;

/*
 * Deal with watch->news as the pipeline's option "schema_changes" says: alter the
 * target, record what was done, and accept the news.  As the pipeline's owner,
 * in the open SPI connection, between two windows.  *error is set for LATER if
 * the change was waiting before already.
 */
extern CdcEvolved cdc_evolve(const CdcPipeline *pipeline, const CdcTarget *target,
							 CdcSourceWatch *watch, ErrorData **error);

/*
 * Deal with the first of watch->ddls, and take it off the list.  late: events
 * that came after it at the source were applied before it was known.  *truncate:
 * the caller has to empty the target.
 */
extern CdcEvolved cdc_evolve_ddl(const CdcPipeline *pipeline, const CdcTarget *target,
								 CdcSourceWatch *watch, bool late, bool *truncate,
								 ErrorData **error);

/* Record the news that the last window went on behind. */
extern void cdc_evolve_passed(const CdcPipeline *pipeline, const CdcTarget *target,
							  CdcSourceWatch *watch);

#endif							/* CDC_EVOLVE_H */
