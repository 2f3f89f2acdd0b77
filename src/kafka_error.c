/*-------------------------------------------------------------------------
 *
 * kafka_error.c
 *	  A consumer of Kafka as plain records: what has gone wrong, in words.
 *
 * librdkafka says what it sees ("Disconnected while requesting ApiVersion"),
 * in words that change from version to version, and of a certificate only that
 * it could not be verified.  What a user needs is what is wrong and what to do.
 * So the texts are looked at for what gives the cause away; one that tells us
 * nothing is passed on as it is.
 *
 * The reason stands in the message, as cdc_status has no room for a detail
 * beside the hint; the detail is what librdkafka said.  No text holds a secret:
 * librdkafka prints none, and a broker is told none but by proof, or (with PLAIN)
 * repeats none.
 *
 * No transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "kafka_internal.h"

/* From this version on it logs in with SCRAM as Kafka 4.0 wants it. */
#define SCRAM_FIXED_VERSION 0x020601ff

#define VERIFY_FAILED	"x509 error "	/* our own */

/* The numbers of OpenSSL's X509_V_ERR_*, which are part of its interface. */
enum
{
	NO_ISSUER_CERTIFICATE = 2,
	NOT_YET_VALID = 9,
	HAS_EXPIRED = 10,
	SELF_SIGNED = 18,
	SELF_SIGNED_IN_CHAIN = 19,
	NO_LOCAL_ISSUER_CERTIFICATE = 20,
	NO_SIGNATURE_TO_VERIFY = 21,
	REVOKED = 23,
	OTHER_HOST = 62,
	OTHER_ADDRESS = 64
};

/* ----------
 * What librdkafka says
 * ----------
 */
void
cdc_kafka_reason_clear(CdcKafka *kafka)
{
	kafka->last_err = RD_KAFKA_RESP_ERR_NO_ERROR;
	kafka->reason[0] = '\0';
	kafka->certificate[0] = '\0';
	kafka->certificate_error = 0;
	kafka->log_due = false;
}

/*
 * What a broker or its certificate says may be any bytes, and a part of a text
 * may end within a character; it is to be stored as text, and printed on a line.
 * In a database of another encoding than UTF-8 only ASCII is sure to be text.
 */
static void
make_text(char *text)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	unsigned char *p = (unsigned char *) text;

	while (*p)
	{
		int			len = utf8 ? pg_utf_mblen(p) : 1;

		if (len == 1 ? *p >= ' ' && *p < 0x7f :
			strnlen((char *) p, len) == len && pg_utf8_islegal(p, len))
			p += len;
		else
			*p++ = '?';
	}
}

/* Called by callbacks: stores, and nothing else. */
void
cdc_kafka_reason_store(CdcKafka *kafka, rd_kafka_resp_err_t err,
					   const char *reason)
{
	kafka->nreasons++;
	kafka->last_err = err;
	kafka->log_due = true;
	strlcpy(kafka->reason, reason ? reason : rd_kafka_err2str(err),
			CDC_KAFKA_REASON);
	make_text(kafka->reason);
}

/*
 * Why a certificate could not be verified is told nowhere but to this callback.
 * It runs in a thread of librdkafka, and stores nothing: the number comes to us
 * in the log, with the names in the certificate.
 */
static int
verify_callback(rd_kafka_t *rk, const char *broker_name, int32_t broker_id,
				int *x509_error, int depth, const char *buf, size_t size,
				char *errstr, size_t errstr_size, void *opaque)
{
	if (*x509_error == 0)
		return 1;
	snprintf(errstr, errstr_size, VERIFY_FAILED "%d", *x509_error);
	return 0;
}

/* False: not in this build of librdkafka. */
bool
cdc_kafka_verify_configure(rd_kafka_conf_t *conf)
{
	return rd_kafka_conf_set_ssl_cert_verify_cb(conf, verify_callback) == RD_KAFKA_CONF_OK;
}

/* What the callback above made librdkafka log. */
void
cdc_kafka_certificate_store(CdcKafka *kafka, const char *text)
{
	const char *number = strstr(text, VERIFY_FAILED);
	char	   *end;

	if (number == NULL)
		return;
	kafka->certificate_error = atoi(number + strlen(VERIFY_FAILED));
	strlcpy(kafka->certificate, text, CDC_KAFKA_REASON);
	end = strstr(kafka->certificate, " verification callback failed");
	if (end)
		*end = '\0';
	make_text(kafka->certificate);
}

/* ----------
 * What it means
 * ----------
 */
static void
set_cause(CdcKafkaError *error, int sqlstate, const char *cause, const char *hint)
{
	error->sqlstate = sqlstate;
	error->message = cause;
	error->hint = hint;
}

static void
explain_certificate(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;

	error->detail = pstrdup(kafka->certificate);
	switch (kafka->certificate_error)
	{
		case NOT_YET_VALID:
			set_cause(error, sqlstate, _("the broker's certificate is not valid yet"),
					  _("Check the clock of this machine, and when the broker's certificate begins."));
			break;
		case HAS_EXPIRED:
			set_cause(error, sqlstate, _("the broker's certificate has expired"),
					  _("The broker needs a new one. If it has one, check the clock of this machine."));
			break;
		case OTHER_HOST:
		case OTHER_ADDRESS:
			set_cause(error, sqlstate, _("the broker's certificate is for another host"),
					  _("Connect by a name that is in the certificate: it counts in \"bootstrap_servers\", and in what the broker advertises."));
			break;
		case REVOKED:
			set_cause(error, sqlstate, _("the broker's certificate has been revoked"), NULL);
			break;
		case NO_ISSUER_CERTIFICATE:
		case SELF_SIGNED:
		case SELF_SIGNED_IN_CHAIN:
		case NO_LOCAL_ISSUER_CERTIFICATE:
		case NO_SIGNATURE_TO_VERIFY:
			set_cause(error, sqlstate, _("the broker's certificate is signed by an authority that is not trusted"),
					  kafka->has_ca ?
					  _("The server's option \"ssl_ca\" or \"ssl_ca_file\" has other certificates than that of the authority that signed the broker's.") :
					  _("Set the server's option \"ssl_ca\" to the certificate of the authority that signed the broker's. Without it those that this system trusts count."));
			break;
		default:
			set_cause(error, sqlstate,
					  psprintf(_("the broker's certificate could not be verified (OpenSSL's error %d)"),
							   kafka->certificate_error), NULL);
			break;
	}
}

/* The mechanisms that a broker has named, for a hint. */
static const char *
offered_mechanisms(const char *reason)
{
	const char *list = strstr(reason, "supported mechanisms: ");

	int			len;

	list = list ? list + strlen("supported mechanisms: ") : "";
	len = strcspn(list, " ");
	return len == 0 ? NULL :
		psprintf(_("It offers %.*s: set the server's option \"sasl_mechanism\"."), len, list);
}

static bool
says(const CdcKafka *kafka, const char *text)
{
	return strstr(kafka->reason, text) != NULL;
}

/* What AWS says of a token that it refuses; false if it is not that. */
static bool
explain_token(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;

	if (says(kafka, "Signature expired") || says(kafka, "Signature not yet current"))
		set_cause(error, sqlstate, _("AWS finds the time of our token wrong"),
				  _("The clock of this machine is wrong: set it, best by a time service."));
	else if (says(kafka, "signature we calculated") || says(kafka, "security token included"))
		set_cause(error, sqlstate, _("AWS does not accept our credentials"),
				  _("Check the access key, its secret and, with temporary credentials, the session token; they may have been revoked."));
	else if (says(kafka, "Access denied"))
		set_cause(error, sqlstate, _("AWS's IAM denies access to the cluster"),
				  _("The policy of the user or role must allow kafka-cluster:Connect on the cluster, and the security token must be of its account."));
	else if (says(kafka, "Too many connects"))
		set_cause(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
				  _("the broker refuses more connections for now"),
				  _("A broker of Amazon MSK takes only so many new connections with IAM a second. It is tried again."));
	else
		return false;
	return true;
}

static void
explain_login(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	const char *problem = cdc_kafka_iam_problem(kafka);

	if (says(kafka, "Unsupported SASL mechanism"))
		set_cause(error, sqlstate, psprintf(_("the broker does not offer %s on this port"),
											kafka->mechanism),
				  offered_mechanisms(kafka->reason));
	else if (says(kafka, "not valid in current SASL state"))
		set_cause(error, sqlstate, _("the broker expects no SASL on this port"),
				  kafka->uses_tls ?
				  _("Set the server's option \"security_protocol\" to ssl, or use the port for SASL.") :
				  _("Set the server's option \"security_protocol\" to plaintext, or use the port for SASL."));
	else if (problem)
		set_cause(error, sqlstate, psprintf(_("there is no token of AWS's IAM: %s"),
											problem), NULL);
	else if (explain_token(kafka, error))
		return;
	else if (kafka->iam)
		set_cause(error, sqlstate, _("the broker does not accept our token"),
				  _("Check the AWS credentials, that the policy of their user or role allows kafka-cluster:Connect to this cluster, the server's option \"region\", and this machine's clock."));
	else if (strncmp(kafka->mechanism, "SCRAM", 5) == 0 &&
			 rd_kafka_version() < SCRAM_FIXED_VERSION)
		set_cause(error, sqlstate, _("the broker does not accept user and password"),
				  psprintf(_("Check \"user\" and \"password\" of the user mapping and the server's \"sasl_mechanism\". If they are right: librdkafka %s cannot log in with SCRAM to Kafka 4.0 and later, 2.6.1 can."),
						   rd_kafka_version_str()));
	else
		set_cause(error, sqlstate, _("the broker does not accept user and password"),
				  _("Check \"user\" and \"password\" of the user mapping, and that the broker knows them for the server's \"sasl_mechanism\"."));
}

/* An alert that the broker sent: it is our certificate that it minds. */
static bool
is_alert(const CdcKafka *kafka)
{
	static const char *const alerts[] =
	{"alert bad certificate", "alert certificate", "alert unknown ca",
	"alert unsupported certificate", "alert access denied", "alert handshake failure"};

	for (int i = 0; i < lengthof(alerts); i++)
		if (says(kafka, alerts[i]))
			return true;
	return false;
}

static void
explain_alert(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;

	if (kafka->has_certificate)
		set_cause(error, sqlstate, _("the broker does not accept our certificate"),
				  _("Check that \"ssl_certificate\" of the user mapping is valid now, and signed by an authority that the broker trusts."));
	else
		set_cause(error, sqlstate, _("the broker asks for a certificate of ours"),
				  _("Set \"ssl_certificate\" and \"ssl_key\" of the user mapping, or use another port."));
}

/*
 * The broker speaks another protocol than we do, or so it seems: it has hung up.
 * One that has answered before expects what we send.
 */
static bool
explain_protocol(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
	bool		hung_up = says(kafka, "Disconnected") || says(kafka, "Broken pipe") ||
		says(kafka, "Connection reset");

	if (kafka->answered)
		return false;
	if (kafka->uses_tls &&
		(says(kafka, "unexpected eof") || says(kafka, "wrong version number") ||
		 says(kafka, "packet length too long") || says(kafka, "record layer failure") ||
		 (hung_up && says(kafka, "in state SSL_HANDSHAKE"))))
		set_cause(error, sqlstate, _("the broker does not answer as one with TLS"),
				  _("The port may expect plaintext: then set the server's option \"security_protocol\" to plaintext or sasl_plaintext."));
	else if (!kafka->uses_tls &&
			 (says(kafka, "SSL") || says(kafka, "Invalid response size") ||
			  (hung_up && says(kafka, "in state APIVERSION"))))
		set_cause(error, sqlstate, _("the broker does not answer as one without TLS"),
				  _("The port may expect TLS: then set the server's option \"security_protocol\" to ssl or sasl_ssl."));
	else if (hung_up && kafka->mechanism[0] == '\0')
		set_cause(error, sqlstate, _("the broker hangs up before we have logged in"),
				  kafka->uses_tls ?
				  _("The port may expect SASL: then set the server's option \"security_protocol\" to sasl_ssl.") :
				  _("The port may expect SASL or TLS: then set the server's option \"security_protocol\" to sasl_plaintext, ssl or sasl_ssl."));
	else
		return false;
	return true;
}

/* Sets the cause as the message; NULL if there is no more to say. */
static void
explain(const CdcKafka *kafka, CdcKafkaError *error)
{
	int			sqlstate = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;

	if (kafka->certificate_error != 0 && says(kafka, "verif"))
		explain_certificate(kafka, error);
	else if (kafka->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION)
	{
		const char *hint = cdc_kafka_iam_hint(kafka);

		explain_login(kafka, error);
		if (hint)
			error->hint = hint;
	}
	else if (kafka->uses_tls && is_alert(kafka))
		explain_alert(kafka, error);
	else if (explain_protocol(kafka, error))
		return;
	else if (says(kafka, "Failed to resolve"))
		set_cause(error, sqlstate, _("the broker's name is not known"),
				  _("Check \"bootstrap_servers\", and that this machine finds the names that the brokers advertise."));
	else
		set_cause(error, sqlstate, NULL, kafka->uses_tls && says(kafka, "SSL") ?
				  _("Check the server's options \"security_protocol\" and \"ssl_ca\", and that the port is one for TLS.") : NULL);
}

/* In the current memory context. */
void
cdc_kafka_unavailable_fill(CdcKafka *kafka, CdcKafkaError *error)
{
	/* how long it took is not what is wrong, and differs each time */
	const char *times = strstr(kafka->reason, " (after ");
	int			len = times ? times - kafka->reason : strlen(kafka->reason);

	if (kafka->reason[0] != '\0')
		error->detail = pnstrdup(kafka->reason, len);
	else if (kafka->all_down)
		error->detail = _("All brokers are down.");
	else
		error->detail = psprintf(_("No broker has answered within %d s."),
								 kafka->connect_timeout / 1000);
	explain(kafka, error);
	if (error->message)
		error->message = psprintf(_("could not reach Kafka server \"%s\": %s"),
								  kafka->server, error->message);
	else
		error->message = psprintf(_("could not reach Kafka server \"%s\" at %s"),
								  kafka->server, kafka->bootstrap_servers);
}

/*
 * A consumer could not be made of the properties, mostly since what is said to
 * be a certificate or key is none.  errstr names librdkafka's property, and
 * holds no value of it.
 */
void
cdc_kafka_create_failed(CdcKafka *kafka, const char *errstr)
{
	static const struct
	{
		const char *property;
		const char *option;
	}			options[] =
	{
		{"ssl.ca", "ssl_ca"},
		{"ssl.certificate", "ssl_certificate"},
		{"ssl.key", "ssl_key"},
		{"ssl.keystore", "ssl_key"},
	};
	const char *option = NULL;
	const char *hint = NULL;

	for (int i = 0; i < lengthof(options) && option == NULL; i++)
		if (strstr(errstr, options[i].property))
			option = options[i].option;
	if (option == NULL)
		cdc_kafka_call_failed(kafka, "create a consumer", errstr);
	if (strstr(errstr, "mismatch"))
		hint = _("The key is not that of the certificate.");
	else if (strstr(errstr, "bad password read") || strstr(errstr, "wrong password") ||
			 strstr(errstr, "bad decrypt"))
		hint = _("The key is encrypted: set \"ssl_key_password\" of the user mapping to its password.");
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" cannot be used for Kafka server \"%s\"", option,
					kafka->server),
			 errdetail_internal("%s", errstr),
			 hint ? errhint("%s", hint) : 0));
}

/* ----------
 * Errors of brokers and partitions
 * ----------
 */
int
cdc_kafka_sqlstate(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return ERRCODE_FDW_TABLE_NOT_FOUND;
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
			return ERRCODE_DATA_CORRUPTED;
		case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		default:
			return ERRCODE_FDW_ERROR;
	}
}

/* What to do about it, or NULL. */
const char *
cdc_kafka_hint(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
			return _("The broker does not let us read the topic: its rules must allow READ and DESCRIBE to the user of the user mapping (with IAM: kafka-cluster:ReadData and DescribeTopic).");
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			return _("The broker does not let the user of the user mapping do this.");
		default:
			return NULL;
	}
}

/* Errors that no waiting heals. */
bool
cdc_kafka_is_permanent(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return true;
		default:
			return false;
	}
}

/* ----------
 * Raising
 * ----------
 */
void
cdc_kafka_error_raise(const CdcKafkaError *error)
{
	ereport(ERROR,
			(errcode(error->sqlstate),
			 errmsg_internal("%s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
}

void
cdc_kafka_raise(const CdcKafkaEvent *event)
{
	cdc_kafka_error_raise(event->error);
}

/* A call of librdkafka has failed that cannot, or only for lack of memory. */
void
cdc_kafka_call_failed(CdcKafka *kafka, const char *what, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("could not %s of Kafka server \"%s\"", what,
					kafka->server),
			 errdetail_internal("%s", reason)));
}
