/*-------------------------------------------------------------------------
 *
 * home.h
 *	  The partition that a key has by Kafka's default partitioner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_HOME_H
#define CDC_HOME_H

#include "rank.h"

/* How the keys of a topic are written. */
typedef struct CdcHomes
{
	const CdcTarget *target;
	CdcDecoder *decoder;
	int			npartitions;
	CdcToken   *fields;			/* scratch */
	int64		known_form;		/* hash of the form that the pipeline's keys have had;
								 * 0: not known */
	char	   *form;			/* of the last key: what it has between its values */
	int			form_len;
	int		   *cuts;			/* [nkeys] where in form the values go, rising */
	int		   *columns;		/* [nkeys] whose, by number in target->keys */
} CdcHomes;

/* In the current memory context, which must live as long. */
extern void cdc_homes_begin(CdcHomes *homes, const CdcTarget *target,
							CdcDecoder *decoder, int npartitions, int64 known_form);

/*
 * Is this the one partition where all changes of the winner's key are?  Not if
 * the record was sent elsewhere, has no key, or equal keys may have other bytes.
 */
extern bool cdc_homes_include(CdcHomes *homes, const CdcWinner *w);

#endif							/* CDC_HOME_H */
