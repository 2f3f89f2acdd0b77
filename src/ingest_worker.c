/*-------------------------------------------------------------------------
 *
 * ingest_worker.c
 *	  Kafka -> landing, for ever: one process for each Kafka server, owner of
 *	  landings and slice of the partitions.
 *
 * Connected as the owner, with one consumer for all that it reads, and another
 * one for questions while there are some.  It runs no code of users, but for what
 * an owner puts on his chunk tables, waits for no lock that others hold on a
 * landing, and writes nothing while nothing comes.  This file is the loop: the
 * catalog, the consumers, and when what is done.  What becomes of a landing is in
 * ingest_landing.c, what becomes of a record in ingest_batch.c.
 *
 * Places where tests make it fail, in the order of a record's way:
 *	  ingest_polled		before the transaction that writes the batch
 *	  ingest_locked		in it, a landing is locked, nothing is written
 *	  ingest_written	in it, a landing's chunks and positions are written
 *	  ingest_commit		before its commit
 *	  ingest_committed	after it, before the process remembers so
 * and beside it:
 *	  ingest_begin		before the first positions of a topic are written
 *	  ingest_gap		before a gap is recorded
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "create_all.h"
#include "ingest.h"
#include "kafka_options.h"
#include "session.h"

PGDLLEXPORT void cdc_ingest_main(Datum main_arg);

#define BATCH_BYTES		((Size) 8 * 1024 * 1024)
#define READ_PAUSE		200		/* ms, at least, between two readings of the catalog */
#define LOOK_INTERVAL	1000	/* ms; what nobody tells us of */
#define OPEN_SLICE		100		/* ms; of opening landings, between polls */
#define ASKER_IDLE		10000	/* ms; closed when it was not needed for so long */
#define ABSENT_INTERVAL 1000	/* ms; a topic that is not there */
#define FILE_INTERVAL	10000	/* ms; new certificates, while brokers refuse us */

static bool server_changed = true;
static bool server_doubtful = false;	/* it may have */

/* ----------
 * The catalog
 * ----------
 */

static void
note_server_change(Datum arg, int cacheid, uint32 hashvalue)
{
	/* 0: so much has changed that nobody says what */
	if (hashvalue == 0)
		server_doubtful = true;
	else
		server_changed = true;
}

/*
 * A topic or chunk table may have another owner, or other privileges.  Where that
 * may be any of them, as when many tables have been made, those that are read stay
 * open if nothing is found.
 */
static void
note_relation_change(Datum arg, Oid relid)
{
	CdcIngest  *ingest = (CdcIngest *) DatumGetPointer(arg);
	ListCell   *lc;

	if (relid == InvalidOid)
		ingest->reload = ingest->recheck = true;
	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		if (relid == InvalidOid ? !landing->open :
			relid == landing->def.topic || relid == landing->def.chunk)
			ingest->reload = landing->changed = true;
	}
}

static CdcIngestLanding *
make_landing(CdcIngest *ingest, const CdcLanding *def)
{
	MemoryContext context = AllocSetContextCreate(ingest->context, "cdcsync landing",
												  ALLOCSET_SMALL_SIZES);
	CdcIngestLanding *landing = MemoryContextAllocZero(context, sizeof(CdcIngestLanding));

	landing->context = context;
	landing->open_context = AllocSetContextCreate(context, "cdcsync open landing",
												  ALLOCSET_SMALL_SIZES);
	landing->def = *def;
	if (def->topic_name)
		landing->def.topic_name = MemoryContextStrdup(context, def->topic_name);
	ingest->next_due = 0;
	return landing;
}

static void
drop_landing(CdcIngest *ingest, CdcIngestLanding *landing)
{
	CdcLandingKey key = {MyDatabaseId, landing->def.id};
	CdcSharedLanding *entry;

	cdc_ingest_close(ingest, landing, DT_NOEND);
	entry = cdc_shared_find(CDC_SHARED_LANDING, &key, true);
	if (entry)
	{
		if (entry->reader == MyProcPid)
			entry->reader = 0;
		cdc_problem_clear(&entry->problem);
		entry->note[0] = '\0';
		cdc_shared_release(CDC_SHARED_LANDING, entry);
	}
	MemoryContextDelete(landing->context);
}

/* The catalog has a landing that we know: take up what has changed. */
static void
update_landing(CdcIngest *ingest, CdcIngestLanding *landing, const CdcLanding *def)
{
	bool		again = landing->changed || landing->def.chunk != def->chunk ||
		landing->def.topic != def->topic || landing->def.owner != def->owner ||
		landing->def.refresh_interval != def->refresh_interval;
	char	   *topic_name = landing->def.topic_name;

	/* what was done to a pipeline may be what was needed */
	again |= landing->def.version != def->version && !landing->open && !landing->absent;
	landing->def = *def;
	landing->def.topic_name = topic_name;
	landing->changed = false;
	if (!again)
		return;
	cdc_problem_clear(&landing->problem);
	cdc_ingest_close(ingest, landing, 0);
}

/* Take up the landings that the catalog has.  Both lists are ordered by id. */
static void
merge_landings(CdcIngest *ingest, const List *defs)
{
	MemoryContext old = MemoryContextSwitchTo(ingest->context);
	List	   *before = ingest->landings;
	ListCell   *at = list_head(before);
	ListCell   *lc;

	ingest->landings = NIL;
	foreach(lc, defs)
	{
		const CdcLanding *def = lfirst(lc);
		CdcIngestLanding *landing;

		for (; at && ((CdcIngestLanding *) lfirst(at))->def.id < def->id; at = lnext(before, at))
			drop_landing(ingest, lfirst(at));
		if (at && ((CdcIngestLanding *) lfirst(at))->def.id == def->id)
		{
			landing = lfirst(at);
			update_landing(ingest, landing, def);
			at = lnext(before, at);
		}
		else
			landing = make_landing(ingest, def);
		ingest->landings = lappend(ingest->landings, landing);
	}
	for (; at; at = lnext(before, at))
		drop_landing(ingest, lfirst(at));
	list_free(before);
	MemoryContextSwitchTo(old);
}

typedef struct CatalogRead
{
	CdcIngest  *ingest;
	List	   *defs;			/* in batch_context */
	bool		follows;		/* topics that are still to come */
} CatalogRead;

/* In a transaction. */
static void
read_catalog(void *arg)
{
	CatalogRead *result = arg;
	const CdcProcess *process = result->ingest->process;
	MemoryContext old = MemoryContextSwitchTo(result->ingest->batch_context);

	if (OidIsValid(get_extension_oid("cdcsync", true)))
	{
		result->defs = cdc_landing_list(process->server, process->owner);
		result->follows = process->slice == 0 && cdc_follows_topics(process->server);
	}
	MemoryContextSwitchTo(old);
}

static void
reload(CdcIngest *ingest)
{
	CatalogRead result = {ingest, NIL, false};
	TimestampTz began = GetCurrentTimestamp();
	ErrorData  *error;

	ingest->reload = false;
	if (!cdc_worker_try(read_catalog, &result, &error))
	{
		/* the manager starts us again if there is still something to do */
		cdc_worker_log(error, "cannot read the catalog");
		proc_exit(1);
	}
	merge_landings(ingest, result.defs);
	if (ingest->recheck)
	{
		ingest->recheck = false;
		cdc_ingest_recheck(ingest);
	}
	ingest->next_reload = cdc_worker_read_again_at(began, READ_PAUSE);
	ingest->follows = result.follows;
	if (ingest->landings == NIL && !ingest->follows)
		proc_exit(0);
}

/* ----------
 * The consumer
 * ----------
 */

typedef struct Options
{
	CdcIngest  *ingest;
	uint64		hash;
	int			nslices;
} Options;

static uint64
hash_text(uint64 hash, const char *text)
{
	return hash_combine64(hash, hash_bytes_extended((const unsigned char *) text,
													(int) strlen(text), 0));
}

/* In a transaction.  Only a hash is kept of what may be secret. */
static void
read_options(void *arg)
{
	Options    *result = arg;
	const CdcProcess *process = result->ingest->process;
	ForeignServer *server = GetForeignServer(process->server);
	CdcKafkaOptions *options = cdc_kafka_options_get(process->server, process->owner);
	ListCell   *lc;

	result->hash = 0;
	foreach(lc, options->properties)
	{
		const CdcKafkaProperty *property = lfirst(lc);

		result->hash = hash_text(hash_text(result->hash, property->name), property->value);
	}
	/* among them such as are no property of librdkafka */
	foreach(lc, options->secrets)
	{
		DefElem    *def = lfirst(lc);

		result->hash = hash_text(hash_text(result->hash, def->defname), defGetString(def));
	}
	result->nslices = 1;
	foreach(lc, server->options)
	{
		DefElem    *def = lfirst(lc);

		result->hash = hash_text(hash_text(result->hash, def->defname), defGetString(def));
		if (strcmp(def->defname, "workers") == 0)
			result->nslices = atoi(defGetString(def));
	}
}

CdcKafka *
cdc_ingest_asker(CdcIngest *ingest)
{
	MemoryContext old = MemoryContextSwitchTo(ingest->asker_context);

	if (ingest->asker == NULL)
	{
		MemoryContextReset(ingest->asker_context);	/* of a failure */
		ingest->asker = cdc_kafka_open(ingest->process->server,
									   ingest->process->owner, 0);
	}
	ingest->asked_at = GetCurrentTimestamp();
	MemoryContextSwitchTo(old);
	return ingest->asker;
}

static void
close_asker(CdcIngest *ingest)
{
	ingest->asker = NULL;
	MemoryContextReset(ingest->asker_context);
}

static void
close_consumer(CdcIngest *ingest)
{
	cdc_ingest_close_all(ingest);
	cdc_ingest_apply_sources(ingest);
	MemoryContextReset(ingest->kafka_context);
	ingest->kafka = NULL;
	close_asker(ingest);
	ingest->events = NULL;
	ingest->nevents = ingest->ntaken = 0;
	ingest->batch_began = 0;
}

static void
publish_all(CdcIngest *ingest)
{
	ListCell   *lc;

	foreach(lc, ingest->landings)
		cdc_ingest_publish(ingest, lfirst(lc));
}

static void
server_failed(CdcIngest *ingest, const ErrorData *edata)
{
	if (!cdc_problem_is(&ingest->problem, edata))
		cdc_worker_log(edata, "cannot use the Kafka server");
	cdc_problem_add(&ingest->problem, edata);
	publish_all(ingest);
}

/*
 * The server, or the user mapping, or another of either, was altered; or a file
 * may have been that one of them names.
 */
static void
check_options(CdcIngest *ingest)
{
	Options		options = {.ingest = ingest};
	bool		altered = server_changed;
	bool		doubtful = server_doubtful;
	ErrorData  *error;

	server_changed = server_doubtful = false;
	ingest->next_options = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FILE_INTERVAL);
	if (!cdc_worker_try(read_options, &options, &error))
	{
		close_consumer(ingest);
		server_failed(ingest, error);
		ingest->options = 0;
	}
	else if (options.nslices != ingest->process->nslices)
		proc_exit(0);			/* others take over */
	else if (options.hash != ingest->options)
	{
		close_consumer(ingest);
		cdc_problem_clear(&ingest->problem);
		ingest->options = options.hash;
	}
	else if (altered)
		cdc_ingest_close_all(ingest);	/* the owner may have lost the right to read */
	else if (doubtful)
		ingest->reload = ingest->recheck = true;
}

/* In a transaction. */
static void
open_consumer(void *arg)
{
	CdcIngest  *ingest = arg;
	MemoryContext old = MemoryContextSwitchTo(ingest->kafka_context);

	ingest->kafka = cdc_kafka_open(ingest->process->server, ingest->process->owner,
								   Max(list_length(ingest->landings), 1));
	MemoryContextSwitchTo(old);
}

/* False: it cannot be opened (yet). */
static bool
have_consumer(CdcIngest *ingest)
{
	ErrorData  *error;

	if (ingest->kafka)
		return true;
	if (!cdc_problem_over(&ingest->problem, GetCurrentTimestamp()))
		return false;
	cdc_worker_activity("connecting to Kafka");
	if (cdc_worker_try(open_consumer, ingest, &error))
	{
		cdc_problem_clear(&ingest->problem);
		ingest->next_metadata = ingest->next_publish = 0;
		publish_all(ingest);
	}
	else
	{
		ingest->kafka = NULL;
		MemoryContextReset(ingest->kafka_context);
		server_failed(ingest, error);
	}
	return ingest->kafka != NULL;
}

/* ----------
 * What is done from time to time
 * ----------
 */

/* In a transaction: ask which topics and partitions there are. */
static void
look_at_topics(void *arg)
{
	CdcIngest  *ingest = arg;
	ListCell   *lc;

	cdc_kafka_metadata_refresh(ingest->kafka);
	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);
		const char *topic = landing->open ? landing->topic : landing->def.topic_name;
		int			n;

		if (topic == NULL || !(landing->open || landing->absent))
			continue;
		n = cdc_kafka_partitions(ingest->kafka, topic);
		if (landing->open ? n >= 0 && n != landing->npartitions : n > 0)
			cdc_ingest_close(ingest, landing, 0);
	}
}

typedef struct FollowTopics
{
	CdcIngest  *ingest;
	int			done;
} FollowTopics;

/* In a transaction: make pipelines for topics that are new. */
static void
follow_topics(void *arg)
{
	FollowTopics *follow = arg;

	follow->done = cdc_follow_topics(follow->ingest->process->server,
									 cdc_kafka_topics(follow->ingest->kafka));
}

static void
refresh_metadata(CdcIngest *ingest)
{
	int			interval = cdc_metadata_interval * 1000;
	FollowTopics follow = {ingest, 0};
	ErrorData  *error;
	ListCell   *lc;

	/* an error says no more than what an event is about to say */
	if (cdc_worker_try(look_at_topics, ingest, &error) && ingest->follows)
	{
		if (!cdc_worker_try(follow_topics, &follow, &error))
			cdc_worker_log(error, "cannot make pipelines for new topics");
		else if (follow.done > 0)
			interval = 0;		/* there may be more */
	}
	foreach(lc, ingest->landings)
		if (((CdcIngestLanding *) lfirst(lc))->absent)
			interval = Min(interval, ABSENT_INTERVAL);
	ingest->next_metadata = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), interval);
}

/*
 * Open what is to be opened, and try again what has failed.  Records of others
 * do not wait for hundreds of landings: what takes longer goes on when they have
 * been written.
 */
static void
open_due(CdcIngest *ingest, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, ingest->failing)
	{
		CdcIngestSource *source = lfirst(lc);

		if (source->stopped && cdc_problem_over(&source->problem, now))
			cdc_ingest_source_retry(ingest, source);
	}
	cdc_ingest_survey(ingest, now);
	ingest->next_due = DT_NOEND;
	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		/* those that are open must not wait for long */
		if (!landing->open && landing->next_open <= now &&
			!TimestampDifferenceExceeds(now, GetCurrentTimestamp(), OPEN_SLICE))
			cdc_ingest_open(ingest, landing);
		if (!landing->open)
			ingest->next_due = Min(ingest->next_due, landing->next_open);
	}
	foreach(lc, ingest->failing)
	{
		CdcIngestSource *source = lfirst(lc);

		if (!cdc_problem_over(&source->problem, now))
			ingest->next_due = Min(ingest->next_due, source->problem.next_try);
	}
}

/* ----------
 * The loop
 * ----------
 */

/* ms until something has to be done that no event tells of. */
static int
time_to_wait(const CdcIngest *ingest)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = TimestampTzPlusMilliseconds(now, LOOK_INTERVAL);

	if (ingest->problem.failures == 0)
		next = Min(next, Min(ingest->next_due, ingest->next_metadata));
	if (ingest->reload)
		next = Min(next, ingest->next_reload);
	if (ingest->batch_began)
		next = Min(next, TimestampTzPlusMilliseconds(ingest->batch_began, cdc_commit_delay));
	return next <= now ? 0 : (int) TimestampDifferenceMilliseconds(now, next);
}

static bool
batch_is_full(const CdcIngest *ingest)
{
	return cdc_kafka_batch_bytes(ingest->kafka) >= BATCH_BYTES ||
		(ingest->batch_began != 0 &&
		 TimestampDifferenceExceeds(ingest->batch_began, GetCurrentTimestamp(),
									cdc_commit_delay));
}

static void
poll_and_write(CdcIngest *ingest)
{
	ingest->nevents = cdc_kafka_poll(ingest->kafka, time_to_wait(ingest), &ingest->events);
	cdc_ingest_take(ingest);
	if (ingest->nevents > 0 &&
		(ingest->batch_began == 0 || ingest->doubt || batch_is_full(ingest)))
		cdc_ingest_flush(ingest);
	if (ingest->nevents == 0 && ingest->doubt)
		cdc_ingest_look_into(ingest);
}

static void
look_after_consumer(CdcIngest *ingest)
{
	TimestampTz now = GetCurrentTimestamp();

	/* to ask a server that is away would only take time */
	if (ingest->problem.failures == 0)
	{
		if (now >= ingest->next_metadata)
			refresh_metadata(ingest);
		if (now >= ingest->next_due)
			open_due(ingest, now);
	}
	cdc_ingest_apply_sources(ingest);
	if (ingest->asker &&
		TimestampDifferenceExceeds(ingest->asked_at, now, ASKER_IDLE))
		close_asker(ingest);
	if (now >= ingest->next_publish)
	{
		cdc_ingest_publish_ends(ingest);
		ingest->next_publish = TimestampTzPlusMilliseconds(now, LOOK_INTERVAL);
	}
}

static void
tell_activity(const CdcIngest *ingest)
{
	static int	told = -1;
	int			reading = hash_get_num_entries(ingest->sources);
	char		what[100];

	if (reading == told)
		return;
	told = reading;
	snprintf(what, sizeof(what), "reading %d partitions of %d landings",
			 reading, list_length(ingest->landings));
	cdc_worker_activity(what);
}

static CdcIngest *
make_ingest(const CdcProcess *process)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "cdcsync ingest",
												  ALLOCSET_DEFAULT_SIZES);
	CdcIngest  *ingest = MemoryContextAllocZero(context, sizeof(CdcIngest));
	HASHCTL		ctl = {.keysize = CDC_INGEST_SOURCE_NAME,
		.entrysize = sizeof(CdcIngestSource),.hcxt = context};

	ingest->process = process;
	ingest->context = context;
	ingest->kafka_context = AllocSetContextCreate(context, "cdcsync consumer",
												  ALLOCSET_DEFAULT_SIZES);
	ingest->asker_context = AllocSetContextCreate(context, "cdcsync asker",
												  ALLOCSET_DEFAULT_SIZES);
	ingest->batch_context = AllocSetContextCreate(context, "cdcsync batch",
												  ALLOCSET_DEFAULT_SIZES);
	ingest->sources = hash_create("cdcsync sources", 256, &ctl,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	ingest->reload = true;
	return ingest;
}

void
cdc_ingest_main(Datum main_arg)
{
	CdcIngest  *ingest = make_ingest(cdc_worker_begin(main_arg));
	uint32		woken = 0;

	cdc_session_begin();
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_server_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_server_change, (Datum) 0);
	CacheRegisterRelcacheCallback(note_relation_change, PointerGetDatum(ingest));
	MemoryContextSwitchTo(ingest->batch_context);
	for (;;)
	{
		woken |= cdc_worker_check();
		if (woken & CDC_WAKE_LEAVE)
			proc_exit(0);
		if (ingest->nevents == 0)
			MemoryContextReset(ingest->batch_context);
		if (woken & CDC_WAKE_CATALOG)
			ingest->reload = true;
		if (ingest->reload && GetCurrentTimestamp() >= ingest->next_reload)
			reload(ingest);
		if (server_changed || server_doubtful ||
			(ingest->kafka && ingest->problem.failures > 0 &&
			 GetCurrentTimestamp() >= ingest->next_options))
			check_options(ingest);
		woken = 0;
		if (!have_consumer(ingest))
		{
			woken = cdc_worker_sleep(LOOK_INTERVAL);
			continue;
		}
		look_after_consumer(ingest);
		tell_activity(ingest);
		poll_and_write(ingest);
	}
}
