/*-------------------------------------------------------------------------
 *
 * aws_options.c
 *	  The options of a Kafka server and of a user mapping that are about AWS.
 *
 * They are checked when they are set.  No value that may be a secret is ever
 * shown.
 *
 * Whose identity: a key in the mapping is its role's own.  Everything else is
 * the machine's: its environment, files, instance profile.  A role that could
 * use that would act on AWS as the server does, and could show a token of the
 * server's to any broker that it names.  So it is lent by a superuser: by the
 * options "aws_server_identity" or "profile" of a user mapping, which nobody else
 * may set, nor change a mapping that has them.  Superusers have it by themselves
 * at servers that a superuser owns: the owner of a server says where tokens go.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "aws_options.h"
#include "kafka_security.h"
#include "msk_brokers.h"

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

static void
check_cluster_arn(const char *name, const char *value)
{
	char		region[CDC_MSK_REGION_MAX + 1];

	if (!cdc_msk_arn_read(value, region))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It is the ARN of a cluster: arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/ID.")));
}

static void
check_network(const char *name, const char *value)
{
	if (!cdc_msk_network_valid(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("Valid values are: private, public, vpc.")));
}

static void
check_role_arn(const char *name, const char *value)
{
	check_secret(name, value);
	if (strncmp(value, "arn:aws", 7) != 0 || strstr(value, ":iam::") == NULL ||
		strstr(value, ":role/") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errhint("It is the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME.")));
}

static bool
is_session_name(const char *value)
{
	size_t		len = strlen(value);

	for (const char *p = value; *p; p++)
		if (!isalnum((unsigned char) *p) && strchr("_+=,.@-", *p) == NULL)
			return false;
	return len >= 2 && len <= SESSION_NAME_MAX;
}

static void
check_session_name(const char *name, const char *value)
{
	if (!is_session_name(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It has 2 to 64 letters, digits and characters of \"_+=,.@-\".")));
}

static void
check_profile(const char *name, const char *value)
{
	bool		valid = value[0] != '\0';

	for (const char *p = value; *p; p++)
		valid &= (unsigned char) *p >= ' ' && *p != ']';
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
				 errhint("It is the name of a profile in the files of AWS.")));
}

void
cdc_aws_option_check(const char *name, const char *value)
{
	static const struct
	{
		const char *name;
		void		(*check) (const char *name, const char *value);
	}			checks[] =
	{
		{"region", check_region},
		{"token_host", check_host},
		{"cluster_arn", check_cluster_arn},
		{"cluster_network", check_network},
		{"role_arn", check_role_arn},
		{"role_session_name", check_session_name},
		{"profile", check_profile},
	};

	for (int i = 0; i < lengthof(checks); i++)
		if (strcmp(name, checks[i].name) == 0)
		{
			checks[i].check(name, value);
			return;
		}
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

static void
check_excludes(List *options, const char *name, const char *other)
{
	if (cdc_kafka_option(options, name) && cdc_kafka_option(options, other))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"%s\" and \"%s\" exclude each other", name, other),
				 errhint("Set one of them.")));
}

void
cdc_aws_server_options_check(List *options, bool iam)
{
	static const char *const of_iam[] = {"region", "token_host"};
	char	   *arn = cdc_kafka_option(options, "cluster_arn");
	char	   *region = cdc_kafka_option(options, "region");
	char		of_arn[CDC_MSK_REGION_MAX + 1];

	for (int i = 0; i < lengthof(of_iam); i++)
		if (cdc_kafka_option(options, of_iam[i]) && !iam)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has no effect without IAM", of_iam[i]),
					 errhint("Set \"auth\" to iam.")));
	check_excludes(options, "cluster_arn", "bootstrap_servers");
	check_needs(options, "cluster_network", "cluster_arn");
	if (arn && region && cdc_msk_arn_read(arn, of_arn) && strcmp(region, of_arn) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not the region of \"%s\"", "region", "cluster_arn"),
				 errhint("Leave out \"region\".")));
}

/* The identity of the machine is lent by a superuser: see the head comment. */
static void
check_lent(List *options, const char *name)
{
	char	   *value = cdc_kafka_option(options, name);
	bool		off;

	if (value == NULL || superuser() || (parse_bool(value, &off) && !off &&
										 strcmp(name, "profile") != 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("only superusers may set option \"%s\" of a user mapping, or change one that has it",
					name),
			 errhint("It lends the AWS identity of the machine that the server runs on.")));
}

void
cdc_aws_mapping_options_check(List *options)
{
	check_needs(options, "aws_access_key_id", "aws_secret_access_key");
	check_needs(options, "aws_secret_access_key", "aws_access_key_id");
	check_needs(options, "aws_session_token", "aws_access_key_id");
	check_needs(options, "external_id", "role_arn");
	check_excludes(options, "profile", "aws_access_key_id");
	check_excludes(options, "aws_server_identity", "aws_access_key_id");
	check_lent(options, "profile");
	check_lent(options, "aws_server_identity");
}

/* The region that options or addresses name; NULL if none does. */
static char *
find_region(List *options)
{
	char	   *region = cdc_kafka_option(options, "region");
	char	   *arn = cdc_kafka_option(options, "cluster_arn");
	char	   *servers = cdc_kafka_option(options, "bootstrap_servers");
	char		found[CDC_MSK_REGION_MAX + 1];
	CdcMskAccess access;

	if (region)
		return region;
	if (arn && cdc_msk_arn_read(arn, found))
		return pstrdup(found);
	if (servers && cdc_msk_addresses_read(servers, &access, found) &&
		found[0] != '\0')
		return pstrdup(found);
	region = getenv("AWS_REGION");
	if (region == NULL)
		region = getenv("AWS_DEFAULT_REGION");
	return region && cdc_aws_region_valid(region, strlen(region)) ? region : NULL;
}

static bool
may_use_own_identity(ForeignServer *server, List *mapping, Oid userid)
{
	char	   *lent = cdc_kafka_option(mapping, "aws_server_identity");
	bool		result;

	if (cdc_kafka_option(mapping, "profile"))
		return true;
	if (lent && parse_bool(lent, &result))
		return result;
	return superuser_arg(userid) && superuser_arg(server->owner);
}

/* A name that stays the same, of characters that AWS takes. */
static char *
default_session_name(const char *server)
{
	char	   *name = psprintf("cdcsync-%s", server);

	if (strlen(name) > SESSION_NAME_MAX)
		name[SESSION_NAME_MAX] = '\0';
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char) *p) || IS_HIGHBIT_SET(*p))
			*p = '-';
	return name;
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
	settings->profile = cdc_kafka_option(mapping, "profile");
	settings->role_arn = cdc_kafka_option(mapping, "role_arn");
	settings->external_id = cdc_kafka_option(mapping, "external_id");
	settings->session_name = cdc_kafka_option(mapping, "role_session_name");
	if (settings->session_name == NULL)
		settings->session_name = default_session_name(server->servername);
	settings->own_identity = may_use_own_identity(server, mapping, userid);
	return settings;
}
