/*-------------------------------------------------------------------------
 *
 * kafka_iam.c
 *	  A consumer of Kafka as plain records: tokens of AWS's IAM.
 *
 * librdkafka wants a token when it connects, and asks for the next one when
 * four fifths of its life are over, by a callback that runs in our poll.  The
 * callback only notes it: to make a token may take requests to AWS, and nothing
 * may be raised or waited for under librdkafka's frames.  Mostly it comes too
 * late: a poll or a request makes the next one after three fourths.  The first
 * one is made before the consumer connects, so that it need not ask.
 *
 * A token costs nothing as long as the credentials last; those that expire are
 * fetched anew before they do, since with the same credentials MSK goes on with
 * the same session, which gets shorter and shorter.  Where that fails the old
 * ones are used up; then librdkafka is told why there is no token, which is the
 * reason that everybody sees, and asks again every ten seconds.
 *
 * Brokers that are named by the ARN of their cluster are asked for here, too,
 * since AWS tells them to whom it knows.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aws_credentials.h"
#include "cdcsync.h"
#include "kafka_internal.h"
#include "kafka_options.h"
#include "msk_brokers.h"
#include "msk_iam.h"

#define PRINCIPAL		"kafka-cluster" /* any name: the broker takes AWS's */
#define RENEW_BEFORE	(15 * 60)	/* s before they expire: AWS has new ones */
#define CLOCK_INTERVAL	60	/* s between two questions what the time is */
#define RETRY_INTERVAL	10	/* s after a token could not be made */

struct CdcKafkaIam
{
	MemoryContext context;		/* of the consumer */
	MemoryContext scratch;		/* of the search for credentials */
	const CdcAwsSettings *settings;
	bool		tokens;			/* are wanted */
	const char *host;			/* that is signed for; NULL: the usual one */
	const char *agent;
	CdcAwsCredentials credentials;
	char		source[CDC_KAFKA_REASON];	/* of the credentials */
	CdcAwsResult clock;			/* what AWS has told of the time */
	char		clock_host[256];
	pg_time_t	asked_clock;	/* since tokens are refused; 0: not yet */
	char		problem[CDC_KAFKA_REASON];	/* why there is no token */
	char		hint[CDC_KAFKA_REASON]; /* what to do about that, or "" */
	bool		due;			/* set by the callback: a token is wanted */
	pg_time_t	made;			/* the last token was */
	pg_time_t	renew_at;		/* even if nobody asks for the next one */
};

/* Runs under librdkafka's frames: it stores and nothing else. */
static void
token_callback(rd_kafka_t *rk, const char *config, void *opaque)
{
	CdcKafka   *kafka = opaque;

	kafka->iam->due = true;
}

void
cdc_kafka_iam_begin(CdcKafka *kafka, const CdcKafkaOptions *options)
{
	CdcKafkaIam *iam = palloc0(sizeof(CdcKafkaIam));

	iam->context = kafka->context;
	iam->scratch = AllocSetContextCreate(kafka->context, "cdcsync AWS credentials",
										 ALLOCSET_SMALL_SIZES);
	iam->settings = options->aws;
	iam->tokens = options->security.iam;
	iam->host = options->token_host;
	iam->agent = "cdcsync/" CDC_VERSION;
	kafka->iam = iam;
}

void
cdc_kafka_iam_configure(CdcKafka *kafka, rd_kafka_conf_t *conf)
{
	if (kafka->iam && kafka->iam->tokens)
		rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, token_callback);
}

/* Must not fail: runs when the consumer is closed. */
void
cdc_kafka_iam_end(CdcKafka *kafka)
{
	if (kafka->iam == NULL)
		return;
	cdc_aws_credentials_wipe(&kafka->iam->credentials);
	kafka->iam = NULL;
}

static bool
has_expired(const CdcAwsCredentials *credentials, pg_time_t now)
{
	return credentials->expires != 0 && credentials->expires <= now;
}

static TimestampTz
deadline(CdcKafka *kafka)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kafka->connect_timeout);
}

/* Remember what AWS has told of the time. */
static void
note_clock(CdcKafkaIam *iam, const CdcAwsResult *result)
{
	if (result->skew_host == NULL)
		return;
	strlcpy(iam->clock_host, result->skew_host, sizeof(iam->clock_host));
	iam->clock.skew = result->skew;
	iam->clock.skew_host = iam->clock_host;
}

static char *
keep(CdcKafkaIam *iam, const char *text)
{
	return text ? MemoryContextStrdup(iam->context, text) : NULL;
}

/* Keep those that were found instead of the old ones. */
static void
take_credentials(CdcKafkaIam *iam, CdcAwsResult *result)
{
	CdcAwsCredentials *found = &result->credentials;

	strlcpy(iam->source, result->source, sizeof(iam->source));
	cdc_aws_credentials_wipe(&iam->credentials);
	iam->credentials.access_key = keep(iam, found->access_key);
	iam->credentials.secret_key = keep(iam, found->secret_key);
	iam->credentials.session_token = keep(iam, found->session_token);
	iam->credentials.expires = found->expires;
	cdc_aws_credentials_wipe(found);
}

/*
 * Credentials that will do; false and the result's problem, which lasts until
 * the next call, if there are none.
 */
static bool
get_credentials(CdcKafka *kafka, pg_time_t now, CdcAwsResult *result)
{
	CdcKafkaIam *iam = kafka->iam;
	CdcAwsCredentials *credentials = &iam->credentials;
	MemoryContext old_context;

	MemoryContextReset(iam->scratch);
	memset(result, 0, sizeof(*result));
	if (credentials->access_key &&
		(credentials->expires == 0 || credentials->expires - now > RENEW_BEFORE))
		return true;
	old_context = MemoryContextSwitchTo(iam->scratch);
	cdc_aws_credentials_find(iam->settings, deadline(kafka), result);
	MemoryContextSwitchTo(old_context);
	note_clock(iam, result);
	if (result->found)
		take_credentials(iam, result);
	return credentials->access_key && !has_expired(credentials, now);
}

/* Give librdkafka a token; false and iam->problem if it is none. */
static bool
set_token(CdcKafka *kafka, pg_time_t now)
{
	CdcKafkaIam *iam = kafka->iam;
	CdcAwsText	token = {0};
	int64		expires_ms;
	bool		made;

	made = cdc_msk_token_make(&iam->credentials, iam->settings->region, iam->host,
							  iam->agent, now, &token, &expires_ms);
	if (made)
	{
		made = rd_kafka_oauthbearer_set_token(kafka->rk, token.data, expires_ms,
											  PRINCIPAL, NULL, 0, iam->problem,
											  sizeof(iam->problem)) == RD_KAFKA_RESP_ERR_NO_ERROR;
		iam->made = now;
		iam->renew_at = now + (expires_ms / 1000 - now) * 3 / 4;
	}
	else
		strlcpy(iam->problem, _("The token could not be signed."),
				sizeof(iam->problem));
	cdc_aws_text_free(&token);
	return made;
}

static void
need_credentials(CdcKafka *kafka, pg_time_t now)
{
	CdcAwsResult result;

	if (!get_credentials(kafka, now, &result))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
				 errmsg("no AWS credentials for Kafka server \"%s\"",
						kafka->server),
				 result.problem ? errdetail_internal("%s", result.problem) :
				 errdetail("The credentials have expired."),
				 result.hint ? errhint("%s", result.hint) : 0));
}

/* The first token. */
void
cdc_kafka_iam_start(CdcKafka *kafka)
{
	pg_time_t	now = (pg_time_t) time(NULL);

	if (kafka->iam == NULL || !kafka->iam->tokens)
		return;
	need_credentials(kafka, now);
	if (!set_token(kafka, now))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
				 errmsg("could not make a token for Kafka server \"%s\"",
						kafka->server),
				 errdetail_internal("%s", kafka->iam->problem)));
}

/* Credentials that can be used for a while yet should have been renewed. */
static void
log_old_credentials(CdcKafka *kafka, const CdcAwsResult *result)
{
	if (result->problem)
		ereport(LOG,
				(errmsg("could not renew the AWS credentials for Kafka server \"%s\"",
						kafka->server),
				 errdetail_internal("%s", result->problem),
				 result->hint ? errhint("%s", result->hint) : 0));
}

/*
 * Make the next token when it is time: where it is safe to wait.  A consumer
 * that is not polled runs no callbacks, so the clock counts as well.
 */
void
cdc_kafka_iam_renew(CdcKafka *kafka)
{
	CdcKafkaIam *iam = kafka->iam;
	pg_time_t	now;
	CdcAwsResult result;

	cdc_kafka_iam_doubt(kafka);
	if (iam == NULL || !iam->tokens)
		return;
	now = (pg_time_t) time(NULL);
	if (!iam->due && now >= iam->made && now < iam->renew_at)
		return;
	/* the request that librdkafka begins with comes after the first token */
	if (iam->due && now == iam->made)
	{
		iam->due = false;
		return;
	}
	iam->due = false;
	iam->hint[0] = iam->problem[0] = '\0';
	if (!get_credentials(kafka, now, &result))
	{
		strlcpy(iam->problem, result.problem ? result.problem :
				_("The AWS credentials have expired."), sizeof(iam->problem));
		strlcpy(iam->hint, result.hint ? result.hint : "", sizeof(iam->hint));
	}
	else
	{
		log_old_credentials(kafka, &result);
		if (set_token(kafka, now))
			return;
	}
	iam->renew_at = now + RETRY_INTERVAL;
	rd_kafka_oauthbearer_set_token_failure(kafka->rk, iam->problem);
}

/* The addresses of the brokers of a cluster, in the consumer's context. */
char *
cdc_kafka_iam_brokers(CdcKafka *kafka, const CdcKafkaOptions *options)
{
	CdcKafkaIam *iam = kafka->iam;
	CdcAwsResult result;
	char	   *brokers;

	need_credentials(kafka, (pg_time_t) time(NULL));
	brokers = cdc_msk_brokers_ask(iam->settings, &iam->credentials,
								  options->cluster_arn, options->cluster_network,
								  &options->security, deadline(kafka), &result);
	note_clock(iam, &result);
	if (brokers == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
				 errmsg("could not get the brokers of Kafka server \"%s\"",
						kafka->server),
				 errdetail_internal("%s", result.problem),
				 result.hint ? errhint("%s", result.hint) : 0));
	return brokers;
}

/*
 * Have the brokers refused our token?  Then only AWS knows whether our clock is
 * right, and is asked at once, and again now and then.  Waits for the answer.
 */
void
cdc_kafka_iam_doubt(CdcKafka *kafka)
{
	CdcKafkaIam *iam = kafka->iam;
	pg_time_t	now;
	CdcAwsResult result;
	MemoryContext old_context;

	if (iam == NULL || !iam->tokens)
		return;
	if (kafka->last_err != RD_KAFKA_RESP_ERR__AUTHENTICATION)
	{
		iam->asked_clock = 0;
		return;
	}
	now = (pg_time_t) time(NULL);
	if (iam->asked_clock != 0 && now >= iam->asked_clock &&
		now - iam->asked_clock < CLOCK_INTERVAL)
		return;
	iam->asked_clock = now;
	MemoryContextReset(iam->scratch);
	old_context = MemoryContextSwitchTo(iam->scratch);
	cdc_aws_clock_ask(iam->settings, deadline(kafka), &result);
	MemoryContextSwitchTo(old_context);
	note_clock(iam, &result);
}

/* Why there is no new token; NULL if nothing is wrong with that. */
const char *
cdc_kafka_iam_problem(const CdcKafka *kafka)
{
	return kafka->iam && kafka->iam->problem[0] != '\0' ? kafka->iam->problem : NULL;
}

/*
 * What to do when there is no token, or the brokers do not accept it; NULL if
 * nothing is known but their answer.
 */
const char *
cdc_kafka_iam_hint(const CdcKafka *kafka)
{
	const CdcKafkaIam *iam = kafka->iam;
	char	   *clock = iam ? cdc_aws_clock_text(&iam->clock) : NULL;

	if (clock)
		return clock;
	return iam && iam->hint[0] != '\0' ? iam->hint : NULL;
}
