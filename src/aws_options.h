/*-------------------------------------------------------------------------
 *
 * aws_options.h
 *	  The options of a Kafka server and of a user mapping that are about AWS.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_AWS_OPTIONS_H
#define CDC_AWS_OPTIONS_H

#include "foreign/foreign.h"

#include "aws_credentials.h"

/* An error if the value of one of them cannot be right. */
extern void cdc_aws_option_check(const char *name, const char *value);

/* An error if those that are set do not go together. */
extern void cdc_aws_server_options_check(List *options, bool iam);
extern void cdc_aws_mapping_options_check(List *options);

/* In the current memory context; an error if the region is not known. */
extern CdcAwsSettings *cdc_aws_settings_get(ForeignServer *server,
											List *mapping, Oid userid);

#endif							/* CDC_AWS_OPTIONS_H */
