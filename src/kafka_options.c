/*-------------------------------------------------------------------------
 *
 * kafka_options.c
 *	  The options of a Kafka server, of a user mapping for it and of a topic.
 *
 * The list below is all there is: an option that is not on it is refused,
 * and a value is checked when it is set, not when somebody first connects.
 * Options have names of our own, so that they stay when librdkafka renames a
 * property, and so that no property can be set that loads code or breaks the
 * order of records.
 *
 * Reads the system catalogs in the caller's transaction; takes no locks and
 * makes no connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "aws_options.h"
#include "cdcsync.h"
#include "compat.h"
#include "kafka_file.h"
#include "kafka_options.h"
#include "kafka_security.h"

#define WRAPPER_HANDLER		"cdcsync_kafka_handler"
#define TOPIC_NAME_MAX		249 /* bytes, Kafka's own limit */

#define DEFAULT_CONNECT_TIMEOUT	10	/* seconds */
#define DEFAULT_STALL_TIMEOUT	30	/* seconds */
#define TIMEOUT_MAX				3600

typedef void (*check_function) (const char *name, const char *value);

typedef struct KafkaOption
{
	const char *name;
	Oid			catalog;		/* where it may be set */
	check_function check;
	const char *property;		/* of librdkafka; NULL: ours alone */
	const char *instead_of;		/* that option: this one names a file */
} KafkaOption;

static void check_bootstrap_servers(const char *name, const char *value);
static void check_protocol(const char *name, const char *value);
static void check_mechanism(const char *name, const char *value);
static void check_auth(const char *name, const char *value);
static void check_bool(const char *name, const char *value);
static void check_timeout(const char *name, const char *value);
static void check_workers(const char *name, const char *value);
static void check_not_empty(const char *name, const char *value);
static void check_pem(const char *name, const char *value);
static void check_topic(const char *name, const char *value);

static const KafkaOption kafka_options[] = {
	{"bootstrap_servers", ForeignServerRelationId, check_bootstrap_servers, "bootstrap.servers"},
	{"security_protocol", ForeignServerRelationId, check_protocol, NULL},
	{"sasl_mechanism", ForeignServerRelationId, check_mechanism, NULL},
	{"auth", ForeignServerRelationId, check_auth, NULL},
	{"region", ForeignServerRelationId, cdc_aws_option_check, NULL},
	{"cluster_arn", ForeignServerRelationId, cdc_aws_option_check, NULL},
	{"cluster_network", ForeignServerRelationId, cdc_aws_option_check, NULL},
	{"token_host", ForeignServerRelationId, cdc_aws_option_check, NULL},
	{"ssl_ca", ForeignServerRelationId, check_pem, "ssl.ca.pem"},
	{"ssl_ca_file", ForeignServerRelationId, cdc_kafka_file_check, "ssl.ca.pem", "ssl_ca"},
	{"ssl_verify", ForeignServerRelationId, check_bool, NULL},
	{"connect_timeout", ForeignServerRelationId, check_timeout, NULL},
	{"stall_timeout", ForeignServerRelationId, check_timeout, NULL},
	{"workers", ForeignServerRelationId, check_workers, NULL},
	{"client_id", ForeignServerRelationId, check_not_empty, "client.id"},
	{"user", UserMappingRelationId, check_not_empty, "sasl.username"},
	{"password", UserMappingRelationId, check_not_empty, "sasl.password"},
	{"ssl_certificate", UserMappingRelationId, check_pem, "ssl.certificate.pem"},
	{"ssl_certificate_file", UserMappingRelationId, cdc_kafka_file_check, "ssl.certificate.pem", "ssl_certificate"},
	{"ssl_key", UserMappingRelationId, check_pem, "ssl.key.pem"},
	{"ssl_key_file", UserMappingRelationId, cdc_kafka_file_check, "ssl.key.pem", "ssl_key"},
	{"ssl_key_password", UserMappingRelationId, check_not_empty, "ssl.key.password"},
	{"aws_access_key_id", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"aws_secret_access_key", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"aws_session_token", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"aws_server_identity", UserMappingRelationId, check_bool, NULL},
	{"profile", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"role_arn", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"external_id", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"role_session_name", UserMappingRelationId, cdc_aws_option_check, NULL},
	{"topic", ForeignTableRelationId, check_topic, NULL},
	{NULL}
};

PG_FUNCTION_INFO_V1(cdcsync_kafka_validator);

static void
invalid_value(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errhint("%s", hint)));
}

static void
check_one_of(const char *name, const char *value, const char *const *list)
{
	StringInfoData hint;

	for (int i = 0; list[i]; i++)
		if (pg_strcasecmp(value, list[i]) == 0)
			return;
	initStringInfo(&hint);
	for (int i = 0; list[i]; i++)
		appendStringInfo(&hint, "%s%s", i ? ", " : "Valid values are: ",
						 list[i]);
	appendStringInfoChar(&hint, '.');
	invalid_value(name, value, hint.data);
}

static void
check_protocol(const char *name, const char *value)
{
	static const char *const list[] =
	{"plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL};

	check_one_of(name, value, list);
}

static void
check_mechanism(const char *name, const char *value)
{
	static const char *const list[] =
	{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer", NULL};

	check_one_of(name, value, list);
}

static void
check_auth(const char *name, const char *value)
{
	static const char *const list[] = {"iam", NULL};

	check_one_of(name, value, list);
}

static void
check_bool(const char *name, const char *value)
{
	bool		result;

	if (!parse_bool(value, &result))
		invalid_value(name, value, "Valid values are: true, false.");
}

/* The value as a number, if that is what it is and it is in the range. */
static bool
parse_number(const char *value, int min, int max, int *result)
{
	char	   *end;
	long		number;

	if (value[0] < '0' || value[0] > '9')
		return false;
	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || *end != '\0' || number < min || number > max)
		return false;
	*result = (int) number;
	return true;
}

static void
check_timeout(const char *name, const char *value)
{
	int			result;

	if (!parse_number(value, 1, TIMEOUT_MAX, &result))
		invalid_value(name, value, "It is a whole number of seconds from 1 to 3600.");
}

static void
check_workers(const char *name, const char *value)
{
	int			result;

	if (!parse_number(value, 1, 64, &result))
		invalid_value(name, value, "It is a whole number from 1 to 64.");
}

static void
check_not_empty(const char *name, const char *value)
{
	if (value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be empty", name)));
}

/* The value is not shown: it may be a private key. */
static void
check_pem(const char *name, const char *value)
{
	if (!cdc_is_pem(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errhint("It is the text of a PEM file, from \"-----BEGIN\" on, not a file name.")));
}

/* host or host:port, [IPv6 address] or [IPv6 address]:port */
static bool
is_broker_address(const char *address, size_t len)
{
	const char *end = address + len;
	const char *p = address;
	int			port = 0;

	if (p < end && *p == '[')
	{
		for (p++; p < end && *p != ']'; p++)
			if (!isxdigit((unsigned char) *p) && *p != ':' && *p != '.')
				return false;
		if (p == end || p == address + 1)
			return false;
		p++;
	}
	else
	{
		for (; p < end && *p != ':'; p++)
			if (!isalnum((unsigned char) *p) && strchr(".-_", *p) == NULL)
				return false;
		if (p == address)
			return false;
	}
	if (p == end)
		return true;
	if (*p++ != ':' || p == end || end - p > 5)
		return false;
	for (; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (*p - '0');
	}
	return port >= 1 && port <= 65535;
}

static void
check_bootstrap_servers(const char *name, const char *value)
{
	const char *p = value;

	for (;;)
	{
		size_t		len = strcspn(p, ",");
		const char *start = p;
		size_t		n = len;

		while (n > 0 && *start == ' ')
			start++, n--;
		while (n > 0 && start[n - 1] == ' ')
			n--;
		if (!is_broker_address(start, n))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid broker address in option \"%s\": \"%s\"",
							name, pnstrdup(start, n)),
					 errhint("It is a list of host or host:port, separated by commas, with ports from 1 to 65535.")));
		if (p[len] == '\0')
			break;
		p += len + 1;
	}
}

static void
check_topic(const char *name, const char *value)
{
	size_t		len = strlen(value);
	bool		valid = len >= 1 && len <= TOPIC_NAME_MAX &&
		strcmp(value, ".") != 0 && strcmp(value, "..") != 0;

	for (size_t i = 0; valid && i < len; i++)
		valid = (isalnum((unsigned char) value[i]) && !IS_HIGHBIT_SET(value[i])) ||
			strchr("._-", value[i]) != NULL;
	if (!valid)
		invalid_value(name, value,
					  "A topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, \".\", \"_\" and \"-\".");
}

static const KafkaOption *
find_option(const char *name, Oid catalog)
{
	for (const KafkaOption *option = kafka_options; option->name; option++)
		if (option->catalog == catalog && strcmp(option->name, name) == 0)
			return option;
	return NULL;
}

static void
unknown_option(const char *name, Oid catalog)
{
	StringInfoData list;

	initStringInfo(&list);
	for (const KafkaOption *option = kafka_options; option->name; option++)
		if (option->catalog == catalog)
			appendStringInfo(&list, "%s%s", list.len ? ", " : "",
							 option->name);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 list.len ? errhint("Valid options in this context are: %s.",
								list.data)
			 : errhint("There are no valid options in this context.")));
}

/* False: whatever the broker's certificate is. */
static bool
verifies(List *options)
{
	char	   *value = cdc_kafka_option(options, "ssl_verify");
	bool		result = true;

	return value == NULL || !parse_bool(value, &result) || result;
}

/* An option that would be silently without effect is a mistake. */
static void
check_server_options(List *options)
{
	static const char *const of_tls[] = {"ssl_ca", "ssl_ca_file", "ssl_verify"};
	CdcKafkaSecurity security;

	cdc_kafka_security_decide(options, &security);
	for (int i = 0; i < lengthof(of_tls) && !security.tls; i++)
		if (cdc_kafka_option(options, of_tls[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has no effect without TLS", of_tls[i]),
					 errhint("Set \"security_protocol\" to ssl or sasl_ssl.")));
	if (!verifies(options))
		ereport(WARNING,
				(errmsg("the brokers of this server are not verified"),
				 errdetail("Whoever gets between them and this server can pass for a broker: forge records, and learn passwords of user mappings."),
				 errhint("Leave out \"ssl_verify\" and set \"ssl_ca\" to the certificate of the authority that signed those of the brokers.")));
	cdc_aws_server_options_check(options, security.iam);
}

/* A text and the file that has it may differ. */
static void
check_files(List *options, Oid catalog)
{
	for (const KafkaOption *option = kafka_options; option->name; option++)
		if (option->catalog == catalog && option->instead_of &&
			cdc_kafka_option(options, option->name) &&
			cdc_kafka_option(options, option->instead_of))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options \"%s\" and \"%s\" cannot both be set",
							option->instead_of, option->name)));
}

Datum
cdcsync_kafka_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const KafkaOption *option = find_option(def->defname, catalog);

		if (option == NULL)
			unknown_option(def->defname, catalog);
		option->check(option->name, defGetString(def));
	}
	check_files(options, catalog);
	if (catalog == ForeignServerRelationId)
		check_server_options(options);
	if (catalog == UserMappingRelationId)
		cdc_aws_mapping_options_check(options);
	if (catalog == ForeignTableRelationId &&
		cdc_kafka_option(options, "topic") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is required for a foreign table", "topic"),
				 errhint("Use IMPORT FOREIGN SCHEMA to make the foreign tables.")));
	PG_RETURN_VOID();
}

/*
 * "name=value" of each element, as DefElems.  Unlike untransformRelOptions() it
 * leaves no other copy of the values behind.
 */
static List *
read_mapping(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypePCopy(datum);
	List	   *options = NIL;
	Datum	   *elems;
	int			nelems;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &nelems);
	for (int i = 0; i < nelems; i++)
	{
		char	   *option = VARDATA_ANY(DatumGetPointer(elems[i]));
		int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(elems[i]));
		char	   *equals = memchr(option, '=', len);

		if (equals == NULL)
			continue;
		options = lappend(options,
						  makeDefElem(pnstrdup(option, equals - option),
									  (Node *) makeString(pnstrdup(equals + 1, option + len - equals - 1)),
									  -1));
	}
	explicit_bzero(array, VARSIZE(array));
	pfree(array);
	return options;
}

/*
 * The options of the user's mapping, or else of PUBLIC's.  Unlike
 * GetUserMapping() it does not mind if there is none: a cluster without
 * authentication needs no secrets.
 */
static List *
user_mapping_options(Oid serverid, Oid userid)
{
	HeapTuple	tup = SearchSysCache2(USERMAPPINGUSERSERVER,
									  ObjectIdGetDatum(userid),
									  ObjectIdGetDatum(serverid));
	Datum		datum;
	bool		isnull;
	List	   *options;

	if (!HeapTupleIsValid(tup))
		tup = SearchSysCache2(USERMAPPINGUSERSERVER,
							  ObjectIdGetDatum(InvalidOid),
							  ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tup))
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tup,
							Anum_pg_user_mapping_umoptions, &isnull);
	options = isnull ? NIL : read_mapping(datum);
	ReleaseSysCache(tup);
	return options;
}

static void
wipe_options(void *arg)
{
	CdcKafkaOptions *options = arg;
	ListCell   *lc;

	foreach(lc, options->secrets)
	{
		char	   *value = strVal(lfirst_node(DefElem, lc)->arg);

		explicit_bzero(value, strlen(value));
	}
}

void
cdc_kafka_options_wipe(CdcKafkaOptions *options)
{
	wipe_options(options);
}

/* Whatever way it ends, nothing of it stays in memory that is given back. */
static void
wipe_with_context(CdcKafkaOptions *options)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = wipe_options;
	callback->arg = options;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
}

static void
add_property(CdcKafkaOptions *result, const char *name, const char *value)
{
	CdcKafkaProperty *property = palloc(sizeof(CdcKafkaProperty));

	property->name = name;
	property->value = value;
	result->properties = lappend(result->properties, property);
}

static void
add_option_properties(CdcKafkaOptions *result, List *options, Oid catalog,
					  bool sasl)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const KafkaOption *option = find_option(def->defname, catalog);

		if (option == NULL || option->property == NULL)
			continue;
		if (strncmp(option->property, "sasl.", 5) == 0 && !sasl)
			continue;
		if (strncmp(option->property, "ssl.", 4) == 0 && !result->uses_tls)
			continue;
		if (option->instead_of)
		{
			char	   *text = cdc_kafka_file_read(option->name, defGetString(def));

			result->secrets = lappend(result->secrets,
									  makeDefElem(pstrdup(option->instead_of),
												  (Node *) makeString(text), -1));
			add_property(result, option->property, text);
		}
		else
			add_property(result, option->property, defGetString(def));
	}
}

/* Seconds in the option, ms in the result. */
static int
timeout_ms(List *options, const char *name, int default_seconds)
{
	char	   *value = cdc_kafka_option(options, name);
	int			seconds = default_seconds;

	if (value && !parse_number(value, 1, TIMEOUT_MAX, &seconds))
		check_timeout(name, value);
	return seconds * 1000;
}

/* Who has no user and password is told so before a broker is asked. */
static void
check_password(ForeignServer *server, List *mapping, Oid userid)
{
	if (cdc_kafka_option(mapping, "user") && cdc_kafka_option(mapping, "password"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
			 errmsg("no user and password for Kafka server \"%s\"",
					server->servername),
			 errdetail("The server's \"security_protocol\" asks for both."),
			 errhint("Set the options \"user\" and \"password\" of the user mapping of role \"%s\".",
					 GetUserNameFromId(userid, false))));
}

static void
add_security(CdcKafkaOptions *result, ForeignServer *server, List *mapping,
			 Oid userid)
{
	CdcKafkaSecurity *security = &result->security;
	bool		password;

	cdc_kafka_security_decide(server->options, security);
	password = security->mechanism && !security->iam;
	if (password)
		check_password(server, mapping, userid);
	result->uses_tls = security->tls;
	add_property(result, "security.protocol", security->protocol);
	if (security->mechanism)
		add_property(result, "sasl.mechanism", security->mechanism);
	add_option_properties(result, server->options, ForeignServerRelationId,
						  password);
	add_option_properties(result, mapping, UserMappingRelationId, password);
	if (security->iam || result->cluster_arn)
		result->aws = cdc_aws_settings_get(server, mapping, userid);
	result->token_host = cdc_kafka_option(server->options, "token_host");
}

CdcKafkaOptions *
cdc_kafka_options_get(Oid serverid, Oid userid)
{
	ForeignServer *server = GetForeignServer(serverid);
	List	   *mapping = user_mapping_options(serverid, userid);
	CdcKafkaOptions *result = palloc0(sizeof(CdcKafkaOptions));

	result->secrets = list_copy(mapping);
	wipe_with_context(result);
	result->server = server->servername;
	result->bootstrap_servers = cdc_kafka_option(server->options,
												 "bootstrap_servers");
	result->cluster_arn = cdc_kafka_option(server->options, "cluster_arn");
	result->cluster_network = cdc_kafka_option(server->options, "cluster_network");
	if (result->cluster_network == NULL)
		result->cluster_network = "private";
	if (result->bootstrap_servers == NULL && result->cluster_arn == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" of server \"%s\" is not set",
						"bootstrap_servers", server->servername),
				 errhint("Use ALTER SERVER %s OPTIONS (ADD bootstrap_servers 'host:port').",
						 quote_identifier(server->servername))));
	result->connect_timeout = timeout_ms(server->options, "connect_timeout",
										 DEFAULT_CONNECT_TIMEOUT);
	result->stall_timeout = timeout_ms(server->options, "stall_timeout",
									   DEFAULT_STALL_TIMEOUT);
	add_security(result, server, mapping, userid);
	if (cdc_kafka_option(server->options, "client_id") == NULL)
		add_property(result, "client.id", "cdcsync");
	if (!verifies(server->options))
	{
		add_property(result, "enable.ssl.certificate.verification", "false");
		add_property(result, "ssl.endpoint.identification.algorithm", "none");
	}
	return result;
}

/* Is this one of our servers?  Told by the handler, not by a name. */
static bool
is_kafka_server(Oid serverid)
{
	ForeignDataWrapper *wrapper;
	char	   *handler;

	wrapper = GetForeignDataWrapper(GetForeignServer(serverid)->fdwid);
	if (!OidIsValid(wrapper->fdwhandler))
		return false;
	handler = get_func_name(wrapper->fdwhandler);
	return handler && strcmp(handler, WRAPPER_HANDLER) == 0;
}

Oid
cdc_kafka_server(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, false);
	AclResult	aclresult;

	if (!is_kafka_server(server->serverid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Kafka server", name),
				 errhint("Give a server of the foreign-data wrapper \"%s\".",
						 CDC_FDW_NAME)));
	aclresult = object_aclcheck_compat(ForeignServerRelationId, server->serverid,
									   GetUserId(), ACL_USAGE);
	if (aclresult != ACLCHECK_OK)
		aclcheck_error(aclresult, OBJECT_FOREIGN_SERVER, name);
	return server->serverid;
}

char *
cdc_kafka_topic(Oid relid, Oid *serverid)
{
	char	   *topic = NULL;

	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
	{
		ForeignTable *table = GetForeignTable(relid);

		if (is_kafka_server(table->serverid))
		{
			topic = cdc_kafka_option(table->options, "topic");
			*serverid = table->serverid;
		}
	}
	if (topic == NULL)
	{
		char	   *name = get_rel_name(relid);

		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Kafka topic",
						name ? name : psprintf("%u", relid)),
				 errhint("Use a foreign table that IMPORT FOREIGN SCHEMA made from a server of the foreign-data wrapper cdcsync_kafka.")));
	}
	return topic;
}

/*
 * SELECT on the table is not enough: who reads a topic connects to the server,
 * with the secrets of a user mapping.
 */
void
cdc_kafka_topic_check(Oid relid, Oid serverid, Oid userid)
{
	AclResult	aclresult;

	aclresult = pg_class_aclcheck(relid, userid, ACL_SELECT);
	if (aclresult != ACLCHECK_OK)
		aclcheck_error(aclresult, OBJECT_FOREIGN_TABLE, get_rel_name(relid));
	aclresult = object_aclcheck_compat(ForeignServerRelationId, serverid,
									   userid, ACL_USAGE);
	if (aclresult != ACLCHECK_OK)
		aclcheck_error(aclresult, OBJECT_FOREIGN_SERVER,
					   GetForeignServer(serverid)->servername);
}
