/*-------------------------------------------------------------------------
 *
 * create_topics.c
 *	  Pipelines for many topics of a server.
 *
 * What is there already is read at once: the pipelines and the foreign tables
 * of the server's topics, the names that are taken.  The topics without a
 * pipeline are looked at with one consumer, to tell those of tables from the
 * others and to find the columns of the targets.  Then each pipeline is made,
 * as cdc_create() does it, in a subtransaction of its own: an error is the
 * outcome of its topic.  A dry run does the same and rolls each of them back, so
 * that it finds the same errors.
 *
 * Runs in the caller's transaction, as the current user, who must have USAGE on
 * the server.  The locks of what is made last until its end, and the lock table
 * is everybody's: so a call leaves a part of it, and the rest to the next call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "catalog.h"
#include "create.h"
#include "create_topics.h"
#include "topic_fdw.h"
#include "topic_names.h"
#include "topic_sample.h"

/* Objects that making a pipeline locks, and what may be taken for them. */
#define PIPELINE_LOCKS	20
#define LOCK_TABLE_SHARE	0.75

/* What there is for a topic. */
typedef struct KnownTopic
{
	char		topic[CDC_TOPIC_MAX + 1];
	Oid			table;			/* a foreign table that the user may read */
	char	   *pipeline;		/* a pipeline of the user's, or NULL */
	Oid			target;
} KnownTopic;

typedef struct CreateTopics
{
	Oid			serverid;
	const CdcOptions *options;
	bool		dry_run;
	int			room;			/* pipelines that can still be made */
	HTAB	   *known;
	CdcTopicNames *names;
} CreateTopics;

/* One topic to make a pipeline for. */
typedef struct CreateTopic
{
	CreateTopics *all;
	const CdcTopicSample *sample;
	CdcTopicOutcome *outcome;
	Oid			table;
	char	   *target_name;
} CreateTopic;

/*
 * What is there
 */

static KnownTopic *
known_topic(HTAB *known, const char *topic, HASHACTION action)
{
	char		key[CDC_TOPIC_MAX + 1];
	KnownTopic *entry;
	bool		found;

	if (strlen(topic) > CDC_TOPIC_MAX)
		return NULL;
	strlcpy(key, topic, sizeof(key));
	entry = hash_search(known, key, action, &found);
	if (entry && !found)
	{
		entry->table = entry->target = InvalidOid;
		entry->pipeline = NULL;
	}
	return entry;
}

/* The foreign tables of the server that the user may read, own ones first. */
static void
find_tables(CreateTopics *all)
{
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(all->serverid), ObjectIdGetDatum(GetUserId())};
	Oid			userid = GetUserId();
	uint64		nrows;
	CdcSpi		spi;

	cdc_spi_begin(&spi, NULL);
	nrows = cdc_spi_run("SELECT t.ftrelid, o.option_value"
						" FROM pg_foreign_table t JOIN pg_class c ON c.oid = t.ftrelid,"
						" LATERAL pg_options_to_table(t.ftoptions) o"
						" WHERE t.ftserver = $1 AND o.option_name = 'topic'"
						" ORDER BY c.relowner = $2 DESC, c.oid",
						2, types, values, NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(cdc_spi_value(i, 1, &isnull));
		char	   *topic = TextDatumGetCString(cdc_spi_value(i, 2, &isnull));
		KnownTopic *entry;

		if (pg_class_aclcheck(relid, userid, ACL_SELECT) != ACLCHECK_OK)
			continue;
		entry = known_topic(all->known, topic, HASH_ENTER);
		if (entry && !OidIsValid(entry->table))
			entry->table = relid;
	}
	cdc_spi_end(&spi);
}

/* The user's pipelines on topics of the server. */
static void
find_pipelines(CreateTopics *all, MemoryContext context)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(all->serverid)};
	Oid			userid = GetUserId();
	uint64		nrows;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run("SELECT l.options->>'topic', p.name, s.owner::oid, p.target::oid"
						" FROM cdcsync.pipeline_state s JOIN cdcsync.pipeline p USING (name)"
						" JOIN cdcsync.landing l USING (landing_id)"
						" JOIN pg_foreign_table t ON t.ftrelid = l.topic"
						" WHERE t.ftserver = $1 AND l.options ? 'topic' ORDER BY p.name",
						1, types, values, NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		bool		isnull;
		char	   *topic = TextDatumGetCString(cdc_spi_value(i, 1, &isnull));
		char	   *name = TextDatumGetCString(cdc_spi_value(i, 2, &isnull));
		Oid			owner = DatumGetObjectId(cdc_spi_value(i, 3, &isnull));
		Datum		target = cdc_spi_value(i, 4, &isnull);
		KnownTopic *entry;

		if (!has_privs_of_role(userid, owner))
			continue;
		entry = known_topic(all->known, topic, HASH_ENTER);
		if (entry == NULL || entry->pipeline)
			continue;
		entry->pipeline = MemoryContextStrdup(context, name);
		entry->target = isnull ? InvalidOid : DatumGetObjectId(target);
	}
	cdc_spi_end(&spi);
}

/* Names are unique in the database, whoever has them. */
static void
find_names(CreateTopics *all)
{
	uint64		nrows;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	nrows = cdc_spi_run("SELECT name FROM cdcsync.pipeline_state", 0, NULL, NULL,
						NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		bool		isnull;

		cdc_topic_names_take(all->names,
							 TextDatumGetCString(cdc_spi_value(i, 1, &isnull)));
	}
	cdc_spi_end(&spi);
}

static void
find_known(CreateTopics *all)
{
	HASHCTL		control = {.hcxt = CurrentMemoryContext};

	control.keysize = CDC_TOPIC_MAX + 1;
	control.entrysize = sizeof(KnownTopic);
	all->known = hash_create("cdcsync known topics", 256, &control,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	find_tables(all);
	find_pipelines(all, CurrentMemoryContext);
	find_names(all);
}

/*
 * Is it the topic of a table?
 */

static void
leave_out(CdcTopicOutcome *outcome, const char *what, bool settled)
{
	outcome->done = CDC_TOPIC_LEFT_OUT;
	outcome->settled = settled;
	outcome->reason = settled ? psprintf("it holds %s", what) :
		psprintf("it is named like one that holds %s, and has no records yet", what);
}

/* Debezium's table for signals, captured as a table like any other. */
static bool
is_signal_table(const char *special, const CdcInferred *inferred)
{
	static const char *const names[] = {"id", "type", "data"};
	int			found = 0;
	ListCell   *lc;

	if (special == NULL || strcmp(special, "signals") != 0)
		return false;
	foreach(lc, inferred->fields)
		for (int i = 0; i < lengthof(names); i++)
			if (pg_strcasecmp(((CdcInferredField *) lfirst(lc))->name, names[i]) == 0)
				found++;
	return found == lengthof(names) && list_length(inferred->fields) == found;
}

/* What the records are that come from no table. */
static const char *
other_content(CdcShape shape, const char *special)
{
	switch (shape)
	{
		case CDC_SHAPE_HEARTBEAT:
			return "heartbeats";
		case CDC_SHAPE_TRANSACTION:
			return "transaction boundaries";
		case CDC_SHAPE_SCHEMA_CHANGE:
			return special && strcmp(special, "the schema history") == 0 ?
				special : "schema changes";
		case CDC_SHAPE_CHANGE:
			return "logical messages";
		case CDC_SHAPE_NOTIFICATION:
			return "notifications";
		case CDC_SHAPE_SIGNAL:
			return "signals";
		case CDC_SHAPE_FOREIGN:
			return "events in the format of another tool";
		default:
			return special ? special : "records that are no change events of Debezium";
	}
}

/*
 * The records decide where there are any: a table may be called "transaction".
 * Else the name does.
 */
static bool
is_table_topic(const CreateTopics *all, const CdcTopicSample *sample,
			   CdcTopicOutcome *outcome)
{
	const CdcInferred *inferred = sample->inferred;
	const char *special = cdc_topic_special(all->names, sample->topic);

	if (inferred->nrecords > 0 && !is_signal_table(special, inferred))
		return true;
	if (inferred->nrecords > 0)
		leave_out(outcome, special, true);
	else if (inferred->nothers > 0)
		leave_out(outcome, other_content(inferred->other, special), true);
	else if (special)
		leave_out(outcome, special, false);
	else
		return true;
	return false;
}

/*
 * Making one
 */

/* The topic's foreign table; where there is none, it is made. */
static Oid
topic_table(const CreateTopic *one)
{
	const char *topic = one->outcome->topic;
	const KnownTopic *known = known_topic(one->all->known, topic, HASH_FIND);
	const char *schema = one->all->options->helper_schema;
	char	   *name;
	CdcSpi		spi;

	if (known && OidIsValid(known->table))
		return known->table;
	name = cdc_topic_table_name(topic);
	cdc_spi_begin(&spi, NULL);
	(void) cdc_spi_run(cdc_topic_table_command(quote_qualified_identifier(schema, name),
											   topic,
											   GetForeignServer(one->all->serverid)->servername),
					   0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
	return get_relname_relid(name, get_namespace_oid(schema, false));
}

/* The pipeline that has the table as its target, or NULL. */
static char *
pipeline_of_target(Oid target)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(target)};
	char	   *name = NULL;
	bool		isnull;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT name FROM cdcsync.pipeline WHERE target = $1",
					1, types, values, NULL, 1) > 0)
		name = MemoryContextStrdup(context,
								   TextDatumGetCString(cdc_spi_value(0, 1, &isnull)));
	cdc_spi_end(&spi);
	return name;
}

/*
 * Nobody has named the table: if it were another role's, with triggers that run
 * as the user, who may create tables in the schema would have the user's rights.
 */
static void
check_own_table(Oid relid, const char *name)
{
	HeapTuple	tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		own = HeapTupleIsValid(tup) &&
		((Form_pg_class) GETSTRUCT(tup))->relowner == GetUserId();

	if (HeapTupleIsValid(tup))
		ReleaseSysCache(tup);
	if (!own)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", name),
				 errdetail("It belongs to another role."),
				 errhint("Make the pipeline with cdc_create() if it is to be the target.")));
}

/*
 * A table of the user's that has the target's name is the target if the events
 * feed every column of it, and nothing else does.
 */
static Oid
existing_target(CreateTopic *one, Oid table)
{
	Oid			nspid = get_namespace_oid(one->all->options->target_schema, false);
	Oid			relid = get_relname_relid(one->target_name, nspid);
	char	   *pipeline;

	/* a topic without dots, and its foreign table in the same schema */
	if (relid == table)
	{
		one->target_name = cdc_topic_name_cut(psprintf("%s_target", one->target_name),
											  one->outcome->topic, NAMEDATALEN - 1);
		one->outcome->target = quote_qualified_identifier(one->all->options->target_schema,
														  one->target_name);
		relid = get_relname_relid(one->target_name, nspid);
	}
	if (!OidIsValid(relid))
		return InvalidOid;
	pipeline = pipeline_of_target(relid);
	if (pipeline || one->sample->inferred->nrecords == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", one->outcome->target),
				 pipeline ? errdetail("It is the target of pipeline \"%s\".", pipeline) :
				 errdetail("The topic has no events yet that show whether it fits."),
				 pipeline ? errhint("Choose another schema with the argument target_schema.") :
				 errhint("Make the pipeline with cdc_create() if it is to be the target.")));
	check_own_table(relid, one->outcome->target);
	return relid;
}

/* Was any type of the target a guess of ours? */
static bool
has_guesses(const CdcInferred *inferred)
{
	ListCell   *lc;

	foreach(lc, inferred->fields)
		if (((CdcInferredField *) lfirst(lc))->guessed)
			return true;
	return false;
}

static void
check_room(const CreateTopics *all)
{
	if (!all->dry_run && all->room <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("this call has made as many pipelines as one should"),
				 errdetail("More would take the locks that other sessions need."),
				 errhint("Call cdc_create_all() again for the others, in another transaction, or raise max_locks_per_transaction.")));
}

static bool
create_one(void *arg)
{
	CreateTopic *one = arg;
	const CdcInferred *inferred = one->sample->inferred;
	CdcOptions	options = *one->all->options;
	CdcCreate	create = {0};
	CdcPipeline *pipeline;

	check_room(one->all);
	create.name = one->outcome->pipeline;
	create.topic = topic_table(one);
	create.target = existing_target(one, create.topic);
	create.whole_target = true;
	create.sampled = true;
	create.quiet = true;
	create.inferred = inferred->nrecords > 0 ? one->sample->inferred : NULL;
	options.target_name = one->target_name;
	if (!OidIsValid(create.target))
		options.stored = cdc_options_set(options.stored, "target_name",
										 one->target_name);
	create.options = &options;

	pipeline = cdc_pipeline_create(&create);
	if (!OidIsValid(pipeline->target))
		one->outcome->reason = pstrdup("the target is made at the first event");
	else if (OidIsValid(create.target))
		one->outcome->reason = pstrdup("the target was there");
	else if (has_guesses(inferred))
		one->outcome->reason = psprintf(ngettext("types of columns were guessed from %d event",
												 "types of columns were guessed from %d events",
												 inferred->nrecords),
										inferred->nrecords);
	one->all->room--;
	return !one->all->dry_run;
}

/* What the user, or an administrator, asks for is no failure of a topic. */
static bool
is_topics_fault(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) !=
		ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION);
}

static void
set_failed(CdcTopicOutcome *outcome, const ErrorData *error)
{
	outcome->done = CDC_TOPIC_FAILED;
	outcome->settled = false;
	outcome->reason = error->detail ?
		psprintf("%s: %s", error->message, error->detail) : pstrdup(error->message);
	outcome->sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	outcome->hint = error->hint ? pstrdup(error->hint) : NULL;
}

/* The outcome in a context that lives on. */
static void
keep_outcome(CdcTopicOutcome *outcome)
{
	char	  **texts[] = {&outcome->pipeline, &outcome->target, &outcome->reason,
	&outcome->sqlstate, &outcome->hint};

	for (int i = 0; i < lengthof(texts); i++)
		if (*texts[i])
			*texts[i] = pstrdup(*texts[i]);
}

static void
create_topic(CreateTopics *all, const CdcTopicSample *sample,
			 CdcTopicOutcome *outcome)
{
	CreateTopic one = {.all = all,.sample = sample,.outcome = outcome};
	ErrorData  *error = sample->error;

	if (error == NULL)
	{
		if (!sample->exists)
		{
			outcome->done = CDC_TOPIC_LEFT_OUT;
			outcome->reason = pstrdup("it is gone");
			return;
		}
		if (!is_table_topic(all, sample, outcome))
			return;
		cdc_topic_names_choose(all->names, sample->topic, &outcome->pipeline,
							   &one.target_name);
		outcome->target = quote_qualified_identifier(all->options->target_schema,
													 one.target_name);
		outcome->done = CDC_TOPIC_CREATED;
		outcome->settled = true;
		(void) cdc_attempt(create_one, &one, is_topics_fault, &error);
	}
	if (error)
		set_failed(outcome, error);
}

/* What can be said without a look at the topic's records? */
static bool
is_settled(const CreateTopics *all, CdcTopicOutcome *outcome)
{
	const KnownTopic *known = known_topic(all->known, outcome->topic, HASH_FIND);
	const char *internal = cdc_topic_internal(outcome->topic);

	if (known && known->pipeline)
	{
		outcome->done = CDC_TOPIC_EXISTS;
		outcome->settled = true;
		outcome->pipeline = known->pipeline;
		if (OidIsValid(known->target) && get_rel_name(known->target))
			outcome->target = cdc_qualified_name(known->target);
		return true;
	}
	if (internal)
		leave_out(outcome, internal, true);
	return internal != NULL;
}

CdcTopicOutcome *
cdc_topics_create(Oid serverid, CdcKafka *kafka, List *topics, List *wanted,
				  const CdcOptions *options, bool dry_run)
{
	CreateTopics all = {.serverid = serverid,.options = options,.dry_run = dry_run};
	int			n = list_length(wanted);
	CdcTopicOutcome *outcomes = palloc0(Max(n, 1) * sizeof(CdcTopicOutcome));
	CdcTopicSample *samples = palloc0(Max(n, 1) * sizeof(CdcTopicSample));
	int		   *outcome_of = palloc(Max(n, 1) * sizeof(int));
	int			nsamples = 0;
	CdcSampling how = {options->read_as, options->add_fields_prefix, options->filter};
	MemoryContext context;

	all.room = (int) (max_locks_per_xact * (double) MaxBackends *
					  LOCK_TABLE_SHARE / PIPELINE_LOCKS);
	all.names = cdc_topic_names_make(topics);
	find_known(&all);
	for (int i = 0; i < n; i++)
	{
		outcomes[i].topic = list_nth(wanted, i);
		if (is_settled(&all, &outcomes[i]))
			continue;
		outcome_of[nsamples] = i;
		samples[nsamples++].topic = outcomes[i].topic;
	}
	cdc_topics_sample(kafka, samples, nsamples, &how);

	context = AllocSetContextCreate(CurrentMemoryContext, "cdcsync new pipeline",
									ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nsamples; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		create_topic(&all, &samples[i], &outcomes[outcome_of[i]]);
		MemoryContextSwitchTo(old);
		keep_outcome(&outcomes[outcome_of[i]]);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	return outcomes;
}
