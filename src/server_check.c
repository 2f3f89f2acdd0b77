/*-------------------------------------------------------------------------
 *
 * server_check.c
 *	  cdc_check_server(): connect to a Kafka server step by step, and say what
 *	  was found.
 *
 * For whoever sets a server up: which options count, where the AWS credentials
 * come from and how long they last, which brokers there are, whether they let
 * in.  Nothing secret is shown.  It goes on after a step that has failed where
 * the later ones do not need it.
 *
 * In the caller's transaction, as the caller, who needs USAGE on the server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "kafka.h"
#include "kafka_options.h"
#include "msk_brokers.h"

typedef struct Check
{
	ReturnSetInfo *rsinfo;
	Oid			serverid;
	CdcKafkaOptions *options;
	CdcAwsResult aws;
	int			topics;
} Check;

static void
add_step(Check *check, const char *step, bool ok, const char *detail,
		 const char *hint)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false, false, detail == NULL, hint == NULL};

	values[0] = CStringGetTextDatum(step);
	values[1] = BoolGetDatum(ok);
	if (detail)
		values[2] = CStringGetTextDatum(detail);
	if (hint)
		values[3] = CStringGetTextDatum(hint);
	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc, values,
						 nulls);
}

static bool
may_fail(const ErrorData *edata)
{
	return edata->elevel == ERROR && edata->sqlerrcode != ERRCODE_QUERY_CANCELED;
}

/* Run a step that may raise an error, and tell it as a row. */
static bool
try_step(Check *check, const char *step, bool (*func) (void *arg))
{
	ErrorData  *edata;

	if (cdc_attempt(func, check, may_fail, &edata))
		return true;
	add_step(check, step, false, edata->detail ?
			 psprintf("%s: %s", edata->message, edata->detail) : edata->message,
			 edata->hint);
	return false;
}

static bool
get_options(void *arg)
{
	Check	   *check = arg;

	check->options = cdc_kafka_options_get(check->serverid, GetUserId());
	return true;
}

static void
tell_options(Check *check)
{
	const CdcKafkaOptions *options = check->options;
	const CdcKafkaSecurity *security = &options->security;

	add_step(check, "options", true,
			 psprintf("%s%s%s%s%s", security->protocol,
					  security->mechanism ? ", " : "",
					  security->mechanism ? security->mechanism : "",
					  security->iam ? ", IAM in region " : "",
					  security->iam ? options->aws->region : ""), NULL);
}

static TimestampTz
deadline(const Check *check)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   check->options->connect_timeout);
}

/* Where a key is from; not the key. */
static bool
find_credentials(Check *check)
{
	CdcAwsResult *aws = &check->aws;
	const char *lasting = "that last";

	cdc_aws_credentials_find(check->options->aws, deadline(check), aws);
	if (!aws->found)
	{
		add_step(check, "credentials", false, aws->problem, aws->hint);
		return false;
	}
	if (aws->credentials.expires != 0)
		lasting = psprintf("until %s",
						   timestamptz_to_str(time_t_to_timestamptz(aws->credentials.expires)));
	else if (aws->credentials.session_token)
		lasting = "with a session token, it is not known until when";
	add_step(check, "credentials", true, psprintf("of %s, %s", aws->source, lasting),
			 NULL);
	return true;
}

static void
compare_clocks(Check *check)
{
	CdcAwsResult clock;

	cdc_aws_clock_ask(check->options->aws, deadline(check), &clock);
	if (clock.skew_host)
		add_step(check, "clock", cdc_aws_clock_text(&clock) == NULL,
				 psprintf("%lld s off that of %s", (long long) clock.skew,
						  clock.skew_host), cdc_aws_clock_text(&clock));
	else
		add_step(check, "clock", true, "nobody at AWS has told the time", NULL);
}

static bool
find_brokers(Check *check)
{
	CdcKafkaOptions *options = check->options;
	CdcAwsResult result;
	char	   *brokers;

	if (options->cluster_arn == NULL)
	{
		add_step(check, "brokers", true, options->bootstrap_servers, NULL);
		return true;
	}
	brokers = cdc_msk_brokers_ask(options->aws, &check->aws.credentials,
								  options->cluster_arn, options->cluster_network,
								  &options->security, deadline(check), &result);
	add_step(check, "brokers", brokers != NULL, brokers ? brokers : result.problem,
			 brokers ? NULL : result.hint);
	return brokers != NULL;
}

static bool
connect(void *arg)
{
	Check	   *check = arg;
	CdcKafka   *kafka = cdc_kafka_open(check->serverid, GetUserId(), 0);

	check->topics = list_length(cdc_kafka_topics(kafka));
	cdc_kafka_close(kafka);
	return true;
}

static void
run_steps(Check *check)
{
	if (!try_step(check, "options", get_options))
		return;
	tell_options(check);
	if (check->options->aws)
	{
		bool		found = find_credentials(check);

		compare_clocks(check);
		if (!found)
			return;
	}
	if (find_brokers(check) && try_step(check, "connection", connect))
		add_step(check, "connection", true,
				 psprintf(check->topics == 1 ? "%d topic is visible" :
						  "%d topics are visible", check->topics), NULL);
	cdc_aws_credentials_wipe(&check->aws.credentials);
}

/*
 * cdc_check_server(server name) returns (step, ok, detail, hint)
 */
PG_FUNCTION_INFO_V1(cdc_check_server);
Datum
cdc_check_server(PG_FUNCTION_ARGS)
{
	Check		check = {0};

	check.serverid = cdc_kafka_server(NameStr(*PG_GETARG_NAME(0)));
	InitMaterializedSRF(fcinfo, 0);
	check.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	run_steps(&check);
	return (Datum) 0;
}
