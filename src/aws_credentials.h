/*-------------------------------------------------------------------------
 *
 * aws_credentials.h
 *	  Where credentials of AWS come from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_CREDENTIALS_H
#define CDC_AWS_CREDENTIALS_H

#include "aws_sign.h"
#include "datatype/timestamp.h"

/* What the options say.  Holds secrets. */
typedef struct CdcAwsSettings
{
	const char *access_key;		/* NULL: not in the options */
	const char *secret_key;
	const char *session_token;
	const char *profile;		/* of AWS's files; NULL: what AWS_PROFILE says */
	const char *role_arn;		/* to assume at last, or NULL */
	const char *external_id;
	const char *session_name;	/* of every role that we assume */
	const char *region;
	bool		own_identity;	/* those of this machine may be used */
} CdcAwsSettings;

/* The outcome.  Strings are in the memory context that was current. */
typedef struct CdcAwsResult
{
	bool		found;
	CdcAwsCredentials credentials;	/* if found */
	const char *source;			/* where they are from, without secrets */
	const char *problem;		/* why there are none: a sentence */
	const char *hint;			/* or NULL */
	int64		skew;			/* s that our clock is ahead of somebody's at AWS */
	const char *skew_host;		/* whose; NULL: nobody has told */
} CdcAwsResult;

/*
 * Look for credentials until the deadline.  Raises no error but for a cancel
 * and for lack of memory.
 */
extern void cdc_aws_credentials_find(const CdcAwsSettings *settings,
									 TimestampTz deadline, CdcAwsResult *result);

/*
 * What is wrong with our clock by what somebody at AWS has told, as a hint; NULL
 * if nothing is, or nobody has.
 */
#define CDC_AWS_SKEW_MAX	120 /* s that are no fault */
extern char *cdc_aws_clock_text(const CdcAwsResult *result);

/* Ask AWS what the time is: sets skew and skew_host, or leaves them unknown. */
extern void cdc_aws_clock_ask(const CdcAwsSettings *settings, TimestampTz deadline,
							  CdcAwsResult *result);

/* Overwrite and free them; they may be empty. */
extern void cdc_aws_credentials_wipe(CdcAwsCredentials *credentials);

#endif							/* CDC_AWS_CREDENTIALS_H */
