/*-------------------------------------------------------------------------
 *
 * aws_options.c
 *	  The options of a Kafka server and of a user mapping that are about AWS.
 *
 * They are checked when they are set.  No value of a user mapping is ever
 * shown.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "aws_options.h"
#include "kafka_security.h"

#define SESSION_NAME_MAX	64	/* bytes, AWS's own limit */
#define SECRET_MAX			65536	/* bytes of a session token: AWS names no
									 * limit, but a message has one */

/* ----------
 * One option
 * ----------
 */
static void
check_region(const char *name, const char *value)
{
	if (!cdc_aws_region_valid(value, strlen(value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It is the name of a region of AWS, like eu-central-1.")));
}

static void
check_host(const char *name, const char *value)
{
	bool		valid = value[0] != '\0';

	for (const char *p = value; *p; p++)
		valid &= isalnum((unsigned char) *p) || *p == '.' || *p == '-';
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It is a host name.")));
}

/* Characters that no key or token of AWS has, a line end above all. */
static void
check_secret(const char *name, const char *value)
{
	size_t		len = strlen(value);
	bool		valid = len > 0 && len <= SECRET_MAX;

	for (const char *p = value; *p; p++)
		valid &= *p > ' ' && *p < 0x7f;
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errhint("It has neither blanks nor line ends.")));
}

void
cdc_aws_option_check(const char *name, const char *value)
{
	if (strcmp(name, "region") == 0)
		check_region(name, value);
	else if (strcmp(name, "token_host") == 0)
		check_host(name, value);
	else
		check_secret(name, value);
}

/* ----------
 * Several
 * ----------
 */
static void
check_needs(List *options, const char *name, const char *needed)
{
	if (cdc_kafka_option(options, name) && !cdc_kafka_option(options, needed))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has no effect without \"%s\"", name, needed),
				 errhint("Set both or none of them.")));
}

void
cdc_aws_server_options_check(List *options, bool iam)
{
	static const char *const of_iam[] = {"region", "token_host"};

	for (int i = 0; i < lengthof(of_iam); i++)
		if (cdc_kafka_option(options, of_iam[i]) && !iam)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has no effect without IAM", of_iam[i]),
					 errhint("Set \"auth\" to iam.")));
}

void
cdc_aws_mapping_options_check(List *options)
{
	check_needs(options, "aws_access_key_id", "aws_secret_access_key");
	check_needs(options, "aws_secret_access_key", "aws_access_key_id");
	check_needs(options, "aws_session_token", "aws_access_key_id");
}

/* The region that options or addresses name; NULL if none does. */
static char *
find_region(List *options)
{
	char	   *region = cdc_kafka_option(options, "region");
	char	   *servers = cdc_kafka_option(options, "bootstrap_servers");
	char		found[CDC_MSK_REGION_MAX + 1];
	CdcMskAccess access;

	if (region)
		return region;
	if (servers && cdc_msk_addresses_read(servers, &access, found) &&
		found[0] != '\0')
		return pstrdup(found);
	return NULL;
}

CdcAwsSettings *
cdc_aws_settings_get(ForeignServer *server, List *mapping, Oid userid)
{
	CdcAwsSettings *settings = palloc0(sizeof(CdcAwsSettings));

	settings->region = find_region(server->options);
	if (settings->region == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("the AWS region of Kafka server \"%s\" is not known",
						server->servername),
				 errdetail("The addresses of the brokers do not name it."),
				 errhint("Use ALTER SERVER %s OPTIONS (ADD region 'eu-central-1').",
						 quote_identifier(server->servername))));
	settings->access_key = cdc_kafka_option(mapping, "aws_access_key_id");
	settings->secret_key = cdc_kafka_option(mapping, "aws_secret_access_key");
	settings->session_token = cdc_kafka_option(mapping, "aws_session_token");
	return settings;
}
