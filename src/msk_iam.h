/*-------------------------------------------------------------------------
 *
 * msk_iam.h
 *	  The token by which Amazon MSK lets in who has an identity of AWS.
 *
 * Pure C over credentials, region and time; see aws_sign.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_MSK_IAM_H
#define CDC_MSK_IAM_H

#include "aws_sign.h"

#define CDC_MSK_TOKEN_LIFETIME	900 /* seconds, the most that MSK takes */

/*
 * Append the token, and tell when it expires (ms since 1970): after
 * CDC_MSK_TOKEN_LIFETIME, or with the credentials if that is earlier.  host:
 * what is signed for; NULL: kafka.REGION.amazonaws.com, which all of MSK
 * expects.  False if the credentials have expired, time is no date of four
 * digits, or memory runs out.
 */
extern bool cdc_msk_token_make(const CdcAwsCredentials *credentials,
							   const char *region, const char *host,
							   const char *agent, int64_t time,
							   CdcAwsText *token, int64_t *expires_ms);

#endif							/* CDC_MSK_IAM_H */
