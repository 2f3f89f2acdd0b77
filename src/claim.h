/*-------------------------------------------------------------------------
 *
 * claim.h
 *	  Which process is at which pipeline.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CLAIM_H
#define CDC_CLAIM_H

#include "shmem.h"

#define CDC_MAX_CLAIMS	256		/* that are looked at */

/* A pipeline that a process is at, or was when it ended. */
typedef struct CdcClaim
{
	CdcPipelineKey key;
	int			pid;
	TimestampTz since;
} CdcClaim;

typedef struct CdcClaims
{
	int			n;
	CdcClaim	claims[CDC_MAX_CLAIMS];
} CdcClaims;

/* All of this database. */
extern CdcClaims *cdc_claims_get(void);

/*
 * End the claims of processes that are not there any more; how many there were.
 * A problem is left at such a pipeline.
 */
extern int	cdc_claims_void(void);

#endif							/* CDC_CLAIM_H */
