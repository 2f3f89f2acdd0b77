/*-------------------------------------------------------------------------
 *
 * aws_internal.h
 *	  What the files share that look for credentials of AWS: aws_credentials.c
 *	  (the order), aws_search.c (tools) and one file for each source.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_INTERNAL_H
#define CDC_AWS_INTERNAL_H

#include "aws_credentials.h"
#include "aws_http.h"
#include "json.h"

/*
 * A source that is not set up is passed over.  One that is and does not work
 * ends the search: to go on with another identity would only hide it.
 */
typedef enum CdcAwsOutcome
{
	CDC_AWS_ABSENT,
	CDC_AWS_FOUND,
	CDC_AWS_FAILED				/* the result's problem says why */
} CdcAwsOutcome;

typedef struct CdcAwsSearch
{
	const CdcAwsSettings *settings;
	TimestampTz deadline;
	CdcAwsResult *result;
} CdcAwsSearch;

/* aws_search.c */
extern CdcAwsOutcome cdc_aws_fail(CdcAwsSearch *search, const char *hint,
								  const char *format,...) pg_attribute_printf(3, 4);
extern const char *cdc_aws_env(const char *name);
extern bool cdc_aws_secret_valid(const char *value);
extern bool cdc_aws_ask(CdcAwsSearch *search, CdcHttpRequest *request,
						int timeout, int tries, CdcHttpAnswer *answer);
extern bool cdc_aws_json_read(const char *text, size_t len, int n,
							  const char *const *names, char **values);
extern bool cdc_aws_credentials_set(CdcAwsSearch *search, char *access_key,
									char *secret_key, char *session_token,
									const char *expiration, const char *who);
extern CdcAwsOutcome cdc_aws_credentials_read(CdcAwsSearch *search,
											  const CdcHttpAnswer *answer,
											  const char *who);
extern char *cdc_aws_token_file_read(CdcAwsSearch *search, const char *path);
extern char *cdc_aws_file_read(const char *path, size_t max, int *save_errno);
extern char *cdc_aws_encoded(const char *value);
extern bool cdc_aws_headers_sign(CdcAwsRequest *request,
								 const CdcAwsCredentials *credentials,
								 char **headers);
extern void cdc_aws_headers_wipe(char **headers);
extern char *cdc_aws_message(char *message);
extern const char *cdc_aws_endpoint(const char *variable, const char *service,
									const char *region);

/* aws_credentials.c: overwrite and free a string, which may be NULL. */
extern void cdc_aws_string_wipe(char **secret);

/* One function a source. */
extern CdcAwsOutcome cdc_aws_environment_find(CdcAwsSearch *search);
extern CdcAwsOutcome cdc_aws_web_identity_find(CdcAwsSearch *search);
extern CdcAwsOutcome cdc_aws_profile_find(CdcAwsSearch *search);
extern CdcAwsOutcome cdc_aws_container_find(CdcAwsSearch *search);
extern CdcAwsOutcome cdc_aws_imds_find(CdcAwsSearch *search);

/* aws_sts.c: with the credentials of the result, which it replaces. */
extern CdcAwsOutcome cdc_aws_role_assume(CdcAwsSearch *search, const char *role_arn,
										 const char *external_id,
										 const char *session_name);
extern CdcAwsOutcome cdc_aws_role_assume_with_token(CdcAwsSearch *search,
													const char *role_arn,
													const char *session_name,
													const char *token_file);

#endif							/* CDC_AWS_INTERNAL_H */
