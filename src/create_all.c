/*-------------------------------------------------------------------------
 *
 * create_all.c
 *	  cdc_create_all() and the topics that come after it.
 *
 * With the option follow_new_topics the call is remembered in cdcsync.follow,
 * together with the topics that it is done with: those have a pipeline, or had
 * one that the user dropped, or are not to have one.  A topic that is not
 * among them is new, whoever finds it.  One that failed, or of which nothing is
 * known but a suspicious name, stays new, and is tried again.
 *
 * A row of cdcsync.follow is locked before pipelines are made for it.  A worker
 * skips a row that somebody has locked, and never waits for long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "compat.h"
#include "create.h"
#include "create_all.h"
#include "create_topics.h"
#include "kafka_options.h"
#include "pipeline.h"
#include "topic_names.h"

PG_FUNCTION_INFO_V1(cdc_create_all);

/* New topics that are taken on in one transaction. */
#define FOLLOW_TOPICS	50

/* Seconds to wait before a topic is tried again. */
#define FIRST_RETRY		10
#define LAST_RETRY		300

/* What cdc_create_all() remembers. */
typedef struct Follow
{
	Oid			serverid;
	char	   *pattern;
	char	   *target_schema;
	char	   *helper_schema;
	Jsonb	   *options;
	List	   *seen;			/* char *, sorted */
} Follow;

/* A topic that this process could not make a pipeline for. */
typedef struct FailedKey
{
	Oid			userid;
	Oid			serverid;
	char		topic[CDC_TOPIC_MAX + 1];
} FailedKey;

typedef struct FailedTopic
{
	FailedKey	key;
	uint32		reason;			/* hash of what was logged */
	int			delay;			/* seconds */
	TimestampTz next_try;
} FailedTopic;

static HTAB *failed_topics = NULL;

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Is a name in a sorted list? */
static bool
is_listed(List *sorted, const char *name)
{
	return sorted != NIL &&
		bsearch(&name, sorted->elements, list_length(sorted), sizeof(ListCell),
				compare_strings) != NULL;
}

/*
 * The remembered calls
 */

/* Read the row of the current SPI result. */
static void
read_follow(Follow *follow, uint64 row)
{
	bool		isnull;

	follow->pattern = TextDatumGetCString(cdc_spi_value(row, 1, &isnull));
	follow->target_schema = get_namespace_name(DatumGetObjectId(cdc_spi_value(row, 2, &isnull)));
	follow->helper_schema = get_namespace_name(DatumGetObjectId(cdc_spi_value(row, 3, &isnull)));
	follow->options = DatumGetJsonbPCopy(cdc_spi_value(row, 4, &isnull));
	follow->seen = cdc_text_list(cdc_spi_value(row, 5, &isnull));
	list_sort(follow->seen, compare_names);
}

#define FOLLOW_COLUMNS "topics, target_schema::oid, helper_schema::oid, options, seen"

/*
 * What the current user follows a server for (List of Follow *).  pattern: only
 * that, its row locked; NIL if another session has it.
 */
static List *
get_follows(Oid serverid, const char *pattern)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {OIDOID, OIDOID, TEXTOID};
	Datum		values[3];
	List	   *follows = NIL;
	uint64		nrows;
	CdcSpi		spi;

	values[0] = ObjectIdGetDatum(serverid);
	values[1] = ObjectIdGetDatum(GetUserId());
	values[2] = pattern ? CStringGetTextDatum(pattern) : (Datum) 0;
	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run(pattern ?
						"SELECT " FOLLOW_COLUMNS " FROM cdcsync.follow"
						" WHERE server_id = $1 AND owner = $2 AND topics = $3"
						" AND cdcsync.is_here(stamp_system, stamp_database)"
						" FOR UPDATE SKIP LOCKED" :
						"SELECT " FOLLOW_COLUMNS " FROM cdcsync.follow"
						" WHERE server_id = $1 AND owner = $2"
						" AND cdcsync.is_here(stamp_system, stamp_database)"
						" ORDER BY topics",
						pattern ? 3 : 2, types, values, NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Follow	   *follow = palloc0(sizeof(Follow));

		follow->serverid = serverid;
		read_follow(follow, i);
		follows = lappend(follows, follow);
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	return follows;
}

/* Remember a call: its row is locked from now on. */
static void
remember(const Follow *follow, Oid target_nsp, Oid helper_nsp)
{
	Oid			types[] = {OIDOID, TEXTOID, OIDOID, TEXTOID, OIDOID, OIDOID,
	JSONBOID, INT8OID, INT8OID};
	Datum		values[9];
	int64		system;
	int64		database;
	CdcSpi		spi;

	cdc_pipeline_stamp(&system, &database);
	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = CStringGetTextDatum(GetForeignServer(follow->serverid)->servername);
	values[2] = ObjectIdGetDatum(follow->serverid);
	values[3] = CStringGetTextDatum(follow->pattern);
	values[4] = ObjectIdGetDatum(target_nsp);
	values[5] = ObjectIdGetDatum(helper_nsp);
	values[6] = JsonbPGetDatum(follow->options);
	values[7] = Int64GetDatum(system);
	values[8] = Int64GetDatum(database);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.follow (owner, server, server_id, topics,"
					   " target_schema, helper_schema, options, stamp_system, stamp_database)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
					   " ON CONFLICT (owner, server, topics) DO UPDATE SET"
					   " server_id = EXCLUDED.server_id, target_schema = EXCLUDED.target_schema,"
					   " helper_schema = EXCLUDED.helper_schema, options = EXCLUDED.options,"
					   " stamp_system = EXCLUDED.stamp_system, stamp_database = EXCLUDED.stamp_database",
					   9, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

static void
forget(const Follow *follow)
{
	Oid			types[] = {OIDOID, TEXTOID, TEXTOID};
	Datum		values[3];
	CdcSpi		spi;

	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = CStringGetTextDatum(GetForeignServer(follow->serverid)->servername);
	values[2] = CStringGetTextDatum(follow->pattern);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.follow"
					   " WHERE owner = $1 AND server = $2 AND topics = $3",
					   3, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/* Add the topics that are done with to those of the locked row. */
static int
remember_seen(const Follow *follow, const CdcTopicOutcome *outcomes, int n)
{
	Oid			types[] = {OIDOID, OIDOID, TEXTOID, TEXTARRAYOID};
	Datum		values[4];
	List	   *settled = NIL;
	CdcSpi		spi;

	for (int i = 0; i < n; i++)
		if (outcomes[i].settled)
			settled = lappend(settled, (char *) outcomes[i].topic);
	if (settled == NIL)
		return 0;
	values[0] = ObjectIdGetDatum(follow->serverid);
	values[1] = ObjectIdGetDatum(GetUserId());
	values[2] = CStringGetTextDatum(follow->pattern);
	values[3] = cdc_text_array(settled);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.follow SET seen = ARRAY("
					   "SELECT unnest(seen) UNION SELECT unnest($4) ORDER BY 1)"
					   " WHERE server_id = $1 AND owner = $2 AND topics = $3",
					   4, types, values, NULL, 0);
	cdc_spi_end(&spi);
	return list_length(settled);
}

/*
 * Topics that come later
 */

static FailedTopic *
failed_topic(Oid serverid, const char *topic, HASHACTION action)
{
	FailedKey	key;
	FailedTopic *failed;
	bool		found;

	if (failed_topics == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(FailedKey),
		.entrysize = sizeof(FailedTopic)};

		failed_topics = hash_create("cdcsync failed topics", 64, &control,
									HASH_ELEM | HASH_BLOBS);
	}
	memset(&key, 0, sizeof(key));
	key.userid = GetUserId();
	key.serverid = serverid;
	strlcpy(key.topic, topic, sizeof(key.topic));
	failed = hash_search(failed_topics, &key, action, &found);
	if (action == HASH_ENTER && !found)
	{
		failed->reason = 0;
		failed->delay = 0;
		failed->next_try = 0;
	}
	return failed;
}

/* The topics that are new to a remembered call, and due: at most some. */
static List *
new_topics(const Follow *follow, List *topics)
{
	TimestampTz now = GetCurrentTimestamp();
	List	   *wanted = NIL;
	ListCell   *lc;

	foreach(lc, topics)
	{
		char	   *topic = lfirst(lc);
		const FailedTopic *failed;

		if (!cdc_name_matches(follow->pattern, topic) ||
			is_listed(follow->seen, topic))
			continue;
		failed = failed_topic(follow->serverid, topic, HASH_FIND);
		if (failed && failed->next_try > now)
			continue;
		wanted = lappend(wanted, topic);
		if (list_length(wanted) == FOLLOW_TOPICS)
			break;
	}
	return wanted;
}

/* Say what became of a new topic, once. */
static void
log_outcome(const Follow *follow, const CdcTopicOutcome *outcome)
{
	char	   *server = GetForeignServer(follow->serverid)->servername;

	if (outcome->done == CDC_TOPIC_CREATED)
		ereport(LOG,
				(errmsg("made pipeline \"%s\" for new topic \"%s\" of Kafka server \"%s\"",
						outcome->pipeline, outcome->topic, server)));
	else if (outcome->done != CDC_TOPIC_EXISTS)
		ereport(LOG,
				(outcome->sqlstate ?
				 errcode(MAKE_SQLSTATE(outcome->sqlstate[0], outcome->sqlstate[1],
									   outcome->sqlstate[2], outcome->sqlstate[3],
									   outcome->sqlstate[4])) : 0,
				 errmsg("made no pipeline for new topic \"%s\" of Kafka server \"%s\": %s",
						outcome->topic, server, outcome->reason),
				 outcome->hint ? errhint("%s", outcome->hint) : 0));
}

/* Remember when to try again, and log what has not been logged before. */
static void
note_outcome(const Follow *follow, const CdcTopicOutcome *outcome)
{
	FailedTopic *failed;
	uint32		reason;

	if (outcome->settled)
	{
		(void) failed_topic(follow->serverid, outcome->topic, HASH_REMOVE);
		log_outcome(follow, outcome);
		return;
	}
	failed = failed_topic(follow->serverid, outcome->topic, HASH_ENTER);
	reason = hash_bytes((const unsigned char *) outcome->reason,
						strlen(outcome->reason));
	if (failed->delay == 0 || failed->reason != reason)
		log_outcome(follow, outcome);
	failed->reason = reason;
	failed->delay = Min(Max(failed->delay * 2, FIRST_RETRY), LAST_RETRY);
	failed->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   failed->delay * (int64) 1000);
}

/*
 * The options for a topic that has just come.  Its first records are as new as
 * it is: the "latest" of the call is in the past.
 */
static CdcOptions *
follow_options(const Follow *follow)
{
	CdcOptions *options = cdc_options_parse(follow->options);

	if (strcmp(options->start, "latest") == 0)
	{
		options->start = "earliest";
		options->stored = cdc_options_set(options->stored, "start", options->start);
	}
	options->helper_schema = follow->helper_schema;
	options->target_schema = follow->target_schema;
	if (options->helper_schema == NULL || options->target_schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("the schema for the pipelines of new topics does not exist any more"),
				 errhint("Call cdc_create_all() again with an existing schema.")));
	return options;
}

/* One remembered call; its row is locked, and read again, before anything. */
static int
follow_pattern(Oid serverid, const char *pattern, List *topics)
{
	List	   *follows = get_follows(serverid, pattern);
	Follow	   *follow = follows ? linitial(follows) : NULL;
	List	   *wanted = follow ? new_topics(follow, topics) : NIL;
	CdcTopicOutcome *outcomes;
	CdcOptions *options;
	CdcKafka   *kafka;

	if (wanted == NIL)
		return 0;
	options = follow_options(follow);
	kafka = cdc_kafka_open(serverid, GetUserId(), 0);
	outcomes = cdc_topics_create(serverid, kafka, topics, wanted, options, false);
	cdc_kafka_close(kafka);
	for (int i = 0; i < list_length(wanted); i++)
		note_outcome(follow, &outcomes[i]);
	return remember_seen(follow, outcomes, list_length(wanted));
}

int
cdc_follow_topics(Oid serverid, List *topics)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "cdcsync new topics",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			level = NewGUCNestLevel();
	int			done = 0;
	ListCell   *lc;

	(void) set_config_option("lock_timeout", "1s", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	foreach(lc, get_follows(serverid, NULL))
	{
		const Follow *follow = lfirst(lc);

		if (new_topics(follow, topics) != NIL)
			done += follow_pattern(serverid, follow->pattern, topics);
	}
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return done;
}

bool
cdc_follows_topics(Oid serverid)
{
	return get_follows(serverid, NULL) != NIL;
}

/*
 * cdc_create_all()
 */

/* The schema of the argument and that of the option must not differ. */
static char *
target_schema_argument(Oid nspid, char *option)
{
	char	   *name = get_namespace_name(nspid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema with OID %u does not exist", nspid)));
	if (option && strcmp(option, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("conflicting values for \"target_schema\""),
				 errhint("Give the argument or the option.")));
	return name;
}

static const char *
done_text(CdcTopicDone done, bool dry_run)
{
	switch (done)
	{
		case CDC_TOPIC_CREATED:
			return dry_run ? "would be created" : "created";
		case CDC_TOPIC_EXISTS:
			return "exists already";
		case CDC_TOPIC_LEFT_OUT:
			return "left out";
		case CDC_TOPIC_FAILED:
			break;
	}
	return "failed";
}

static void
put_text(Datum *values, bool *nulls, int column, const char *text)
{
	values[column] = text ? CStringGetTextDatum(text) : (Datum) 0;
	nulls[column] = text == NULL;
}

static void
put_outcome(ReturnSetInfo *rsinfo, const CdcTopicOutcome *outcome, bool dry_run)
{
	Datum		values[7];
	bool		nulls[7];

	put_text(values, nulls, 0, outcome->pipeline);
	put_text(values, nulls, 1, outcome->topic);
	put_text(values, nulls, 2, outcome->target);
	put_text(values, nulls, 3, done_text(outcome->done, dry_run));
	put_text(values, nulls, 4, outcome->reason);
	put_text(values, nulls, 5, outcome->sqlstate);
	put_text(values, nulls, 6, outcome->hint);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static List *
matching_topics(List *topics, const char *pattern)
{
	List	   *wanted = NIL;
	ListCell   *lc;

	foreach(lc, topics)
		if (cdc_name_matches(pattern, lfirst(lc)))
			wanted = lappend(wanted, lfirst(lc));
	list_sort(wanted, compare_names);
	return wanted;
}

static void
not_null(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("Only target_schema may be.")));
}

/*
 * cdc_create_all(server name, topics text, target_schema regnamespace,
 *				  options jsonb, dry_run boolean)
 */
Datum
cdc_create_all(PG_FUNCTION_ARGS)
{
	static const char *const args[] = {"server", "topics", "target_schema",
	"options", "dry_run"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Follow		follow = {0};
	CdcFollow	wish;
	CdcOptions *options;
	CdcTopicOutcome *outcomes;
	CdcKafka   *kafka;
	List	   *topics;
	List	   *wanted;
	Oid			target_nsp;
	Oid			helper_nsp;
	bool		dry_run;

	for (int i = 0; i < lengthof(args); i++)
		if (i != 2)
			not_null(fcinfo, i, args[i]);
	InitMaterializedSRF(fcinfo, 0);
	follow.serverid = cdc_kafka_server(NameStr(*PG_GETARG_NAME(0)));
	follow.pattern = text_to_cstring(PG_GETARG_TEXT_PP(1));
	follow.options = cdc_options_for_all(PG_GETARG_JSONB_P(3), &wish);
	dry_run = PG_GETARG_BOOL(4);
	options = cdc_options_parse(follow.options);
	if (!PG_ARGISNULL(2))
		options->target_schema = target_schema_argument(PG_GETARG_OID(2),
														options->target_schema);
	target_nsp = cdc_creation_schema(&options->target_schema);
	helper_nsp = cdc_creation_schema(&options->helper_schema);

	if (wish == CDC_FOLLOW && !dry_run)
		remember(&follow, target_nsp, helper_nsp);
	if (wish == CDC_FOLLOW_NOT && !dry_run)
		forget(&follow);

	kafka = cdc_kafka_open(follow.serverid, GetUserId(), 0);
	topics = cdc_kafka_topics(kafka);
	wanted = matching_topics(topics, follow.pattern);
	outcomes = cdc_topics_create(follow.serverid, kafka, topics, wanted, options,
								 dry_run);
	cdc_kafka_close(kafka);
	if (wish == CDC_FOLLOW && !dry_run)
		(void) remember_seen(&follow, outcomes, list_length(wanted));
	for (int i = 0; i < list_length(wanted); i++)
		put_outcome(rsinfo, &outcomes[i], dry_run);
	return (Datum) 0;
}
