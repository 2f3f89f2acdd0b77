/*-------------------------------------------------------------------------
 *
 * kafka_security.c
 *	  How a connection to Kafka is protected, and how we are known there.
 *
 * Three options of a server say it: security_protocol, sasl_mechanism, auth.
 * What they leave open the address says where it is one of Amazon MSK, whose
 * ports have a meaning; elsewhere the defaults are Kafka's.  A cluster that is
 * named by its ARN is asked for its brokers with an identity of AWS, so it is
 * connected to with one, too.
 *
 * Looks at nothing but the options.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"

#include "kafka_security.h"

char *
cdc_kafka_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

/* What the addresses say. */
static CdcMskAccess
access_by_address(List *options)
{
	char	   *servers = cdc_kafka_option(options, "bootstrap_servers");
	char		region[CDC_MSK_REGION_MAX + 1];
	CdcMskAccess access;

	if (servers == NULL)
		return cdc_kafka_option(options, "cluster_arn") ? CDC_MSK_IAM :
			CDC_MSK_UNKNOWN;
	if (!cdc_msk_addresses_read(servers, &access, region))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the brokers in option \"%s\" are of different regions",
						"bootstrap_servers"),
				 errhint("Name brokers of one cluster.")));
	return access;
}

static void
set_plain(CdcKafkaSecurity *security, const char *protocol, bool tls)
{
	security->protocol = protocol;
	security->mechanism = NULL;
	security->tls = tls;
	security->iam = false;
}

static void
set_iam(CdcKafkaSecurity *security)
{
	security->protocol = "sasl_ssl";
	security->mechanism = "OAUTHBEARER";
	security->tls = security->iam = true;
}

static void
set_sasl(CdcKafkaSecurity *security, bool tls, const char *mechanism)
{
	static const char *const list[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};

	security->protocol = tls ? "sasl_ssl" : "sasl_plaintext";
	security->mechanism = "SCRAM-SHA-512";
	for (int i = 0; mechanism && i < lengthof(list); i++)
		if (pg_strcasecmp(mechanism, list[i]) == 0)
			security->mechanism = list[i];
	security->tls = tls;
	security->iam = false;
}

/* The option "auth" says that it is IAM: nothing may say otherwise. */
static void
decide_iam(const char *protocol, const char *mechanism, CdcKafkaSecurity *security)
{
	if (protocol && pg_strcasecmp(protocol, "sasl_ssl") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" \"%s\" does not go with \"%s\" \"%s\"",
						"auth", "iam", "security_protocol", protocol),
				 errhint("Leave out \"security_protocol\": with IAM it is sasl_ssl.")));
	if (mechanism && pg_strcasecmp(mechanism, "oauthbearer") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" \"%s\" does not go with \"%s\" \"%s\"",
						"auth", "iam", "sasl_mechanism", mechanism),
				 errhint("Leave out \"sasl_mechanism\": with IAM it is oauthbearer.")));
	set_iam(security);
}

static void
decide_by_address(CdcMskAccess access, const char *mechanism,
				  CdcKafkaSecurity *security)
{
	switch (access)
	{
		case CDC_MSK_TLS:
			set_plain(security, "ssl", true);
			break;
		case CDC_MSK_SCRAM:
			set_sasl(security, true, mechanism);
			break;
		case CDC_MSK_IAM:
			if (mechanism)
				set_sasl(security, true, mechanism);
			else
				set_iam(security);
			break;
		case CDC_MSK_MIXED:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the addresses in option \"%s\" do not agree on the protocol",
							"bootstrap_servers"),
					 errhint("Name brokers of one cluster with one port, or set \"security_protocol\".")));
			break;
		case CDC_MSK_UNKNOWN:
		case CDC_MSK_PLAINTEXT:
			set_plain(security, "plaintext", false);
			break;
	}
}

/* The option "security_protocol" is set. */
static void
decide_by_protocol(const char *protocol, const char *mechanism,
				   CdcMskAccess access, CdcKafkaSecurity *security)
{
	if (pg_strcasecmp(protocol, "plaintext") == 0)
		set_plain(security, "plaintext", false);
	else if (pg_strcasecmp(protocol, "ssl") == 0)
		set_plain(security, "ssl", true);
	else if (pg_strcasecmp(protocol, "sasl_plaintext") == 0)
		set_sasl(security, false, mechanism);
	else if (access == CDC_MSK_IAM && mechanism == NULL)
		set_iam(security);
	else
		set_sasl(security, true, mechanism);
}

void
cdc_kafka_security_decide(List *options, CdcKafkaSecurity *security)
{
	char	   *protocol = cdc_kafka_option(options, "security_protocol");
	char	   *mechanism = cdc_kafka_option(options, "sasl_mechanism");
	bool		bearer = mechanism && pg_strcasecmp(mechanism, "oauthbearer") == 0;
	CdcMskAccess access = access_by_address(options);

	if (cdc_kafka_option(options, "auth") ||
		(bearer && access == CDC_MSK_IAM && protocol == NULL))
	{
		decide_iam(protocol, mechanism, security);
		return;
	}
	if (bearer)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" \"%s\" does not say who makes the token",
						"sasl_mechanism", mechanism),
				 errhint("Set \"auth\" to iam: other tokens than those of AWS's IAM cannot be had.")));
	if (protocol)
		decide_by_protocol(protocol, mechanism, access, security);
	else
		decide_by_address(access, mechanism, security);
	if (mechanism && security->mechanism == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has no effect without SASL",
						"sasl_mechanism"),
				 errhint("Set \"security_protocol\" to sasl_ssl or sasl_plaintext.")));
}
