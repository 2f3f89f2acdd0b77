/*-------------------------------------------------------------------------
 *
 * ingest_landing.c
 *	  The ingest worker's landings and sources: what is read, what waits.
 *
 * A landing that cannot be read now, for whatever reason, is closed, and opened
 * again later from the positions that the database has then.  So all that may
 * happen to a landing ends in one of two ways, and nothing that the worker
 * remembers of it outlives the trouble.
 *
 * The consumer is not touched for each landing: changes of sources are gathered
 * and applied together.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "ingest.h"

#define SHORTEST_PAUSE	20		/* ms, for a lock */
#define LONGEST_PAUSE	5000

/* ----------
 * Sources
 * ----------
 */
void
cdc_ingest_source_changed(CdcIngest *ingest, CdcIngestSource *source)
{
	MemoryContext old;

	if (source->listed)
		return;
	old = MemoryContextSwitchTo(ingest->context);
	source->listed = true;
	ingest->changed = lappend(ingest->changed, source);
	MemoryContextSwitchTo(old);
}

static CdcIngestSource *
get_source(CdcIngest *ingest, const char *topic, int32 partition)
{
	char		name[CDC_INGEST_SOURCE_NAME];
	CdcIngestSource *source;
	bool		found;

	snprintf(name, sizeof(name), "%d %s", partition, topic);
	source = hash_search(ingest->sources, name, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) source + sizeof(source->name), 0,
			   sizeof(CdcIngestSource) - sizeof(source->name));
		source->topic = MemoryContextStrdup(ingest->context, topic);
		source->partition = partition;
		source->id = -1;
	}
	return source;
}

static void
attach(CdcIngest *ingest, CdcIngestPart *part, const char *topic)
{
	MemoryContext old = MemoryContextSwitchTo(ingest->context);

	part->source = get_source(ingest, topic, (int32) part->stored.partition);
	part->source->parts = lappend(part->source->parts, part);
	part->source->active = true;
	cdc_ingest_source_changed(ingest, part->source);
	MemoryContextSwitchTo(old);
}

static void
detach(CdcIngest *ingest, CdcIngestPart *part)
{
	part->source->parts = list_delete_ptr(part->source->parts, part);
	cdc_ingest_source_changed(ingest, part->source);
}

static void
set_id(CdcIngest *ingest, CdcIngestSource *source, int id)
{
	if (source->id >= 0)
		ingest->by_id[source->id] = NULL;
	source->id = id;
	if (id < 0)
		return;
	if (id >= ingest->maxids)
	{
		int			n = Max(64, Max(id + 1, 2 * ingest->maxids));

		ingest->by_id = ingest->by_id ?
			repalloc(ingest->by_id, n * sizeof(CdcIngestSource *)) :
			MemoryContextAlloc(ingest->context, n * sizeof(CdcIngestSource *));
		memset(ingest->by_id + ingest->maxids, 0,
			   (n - ingest->maxids) * sizeof(CdcIngestSource *));
		ingest->maxids = n;
	}
	ingest->by_id[id] = source;
}

/* The lowest offset that a part wants; -1: none does. */
static int64
wanted_offset(const CdcIngestSource *source)
{
	int64		offset = -1;
	ListCell   *lc;

	foreach(lc, source->parts)
	{
		const CdcIngestPart *part = lfirst(lc);

		if (!part->deaf && (offset < 0 || cdc_reader_offset(&part->reader) < offset))
			offset = cdc_reader_offset(&part->reader);
	}
	return offset;
}

static void
forget_source(CdcIngest *ingest, CdcIngestSource *source)
{
	ingest->failing = list_delete_ptr(ingest->failing, source);
	pfree(source->topic);
	(void) hash_search(ingest->sources, source->name, HASH_REMOVE, NULL);
}

static void
remove_unwanted(CdcIngest *ingest)
{
	int		   *ids = palloc(list_length(ingest->changed) * sizeof(int));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, ingest->changed)
	{
		CdcIngestSource *source = lfirst(lc);

		if (source->parts != NIL)
			continue;
		if (source->id >= 0)
			ids[n++] = source->id;
		set_id(ingest, source, -1);
		forget_source(ingest, source);
		ingest->changed = foreach_delete_current(ingest->changed, lc);
	}
	if (n > 0)
		cdc_kafka_remove_many(ingest->kafka, ids, n);
	pfree(ids);
}

/* Start what is new, and what has to go to another offset. */
static void
start_wanted(CdcIngest *ingest)
{
	int			max = list_length(ingest->changed);
	CdcKafkaSource *added = palloc(max * sizeof(CdcKafkaSource));
	CdcIngestSource **added_sources = palloc(max * sizeof(CdcIngestSource *));
	int		   *ids = palloc(max * sizeof(int));
	int		   *moved = palloc(max * sizeof(int));
	int64	   *offsets = palloc(max * sizeof(int64));
	TimestampTz now = GetCurrentTimestamp();
	int			nadded = 0;
	int			nmoved = 0;
	ListCell   *lc;

	foreach(lc, ingest->changed)
	{
		CdcIngestSource *source = lfirst(lc);
		int64		offset = wanted_offset(source);

		source->listed = false;
		if (offset < 0 || !cdc_problem_over(&source->problem, now))
			continue;
		if (source->id < 0)
		{
			added[nadded].topic = source->topic;
			added[nadded].partition = source->partition;
			added[nadded].offset = offset;
			added_sources[nadded++] = source;
		}
		else if (source->stopped || offset < source->offset)
		{
			moved[nmoved] = source->id;
			offsets[nmoved++] = offset;
		}
		else
			continue;
		source->offset = offset;
		source->stopped = false;
	}
	if (nmoved > 0)
		cdc_kafka_move_many(ingest->kafka, moved, offsets, nmoved);
	if (nadded > 0)
		cdc_kafka_add_many(ingest->kafka, added, nadded, ids);
	for (int i = 0; i < nadded; i++)
		set_id(ingest, added_sources[i], ids[i]);
}

void
cdc_ingest_apply_sources(CdcIngest *ingest)
{
	if (ingest->changed == NIL || ingest->kafka == NULL)
		return;
	remove_unwanted(ingest);
	start_wanted(ingest);
	list_free(ingest->changed);
	ingest->changed = NIL;
}

static void
publish_source(CdcIngest *ingest, const CdcIngestSource *source)
{
	ListCell   *lc;

	foreach(lc, source->parts)
		cdc_ingest_publish(ingest, ((CdcIngestPart *) lfirst(lc))->landing);
}

void
cdc_ingest_source_failed(CdcIngest *ingest, CdcIngestSource *source,
						 const ErrorData *edata)
{
	MemoryContext old = MemoryContextSwitchTo(ingest->context);

	if (source->problem.failures == 0)
		cdc_worker_log(edata, "cannot read a partition");
	cdc_problem_add(&source->problem, edata);
	source->stopped = true;
	ingest->failing = list_append_unique_ptr(ingest->failing, source);
	ingest->next_due = Min(ingest->next_due, source->problem.next_try);
	MemoryContextSwitchTo(old);
	publish_source(ingest, source);
}

void
cdc_ingest_source_works(CdcIngest *ingest, CdcIngestSource *source)
{
	cdc_problem_clear(&source->problem);
	ingest->failing = list_delete_ptr(ingest->failing, source);
	publish_source(ingest, source);
}

/* ----------
 * Looking ahead
 * ----------
 */

typedef struct Survey
{
	CdcIngest  *ingest;
	TimestampTz now;
} Survey;

static void
forget_ends(CdcIngestLanding *landing)
{
	if (landing->nknown == 0)
		return;
	pfree(landing->low);
	pfree(landing->high);
	landing->nknown = 0;
}

/* How many partitions are to be asked for; 0: it can wait, or is known. */
static int
unknown_partitions(const Survey *survey, const CdcIngestLanding *landing)
{
	if (landing->open || landing->next_open > survey->now || landing->opened_at != 0 ||
		landing->nknown > 0 || landing->def.topic_name == NULL)
		return 0;
	return Max(cdc_kafka_partitions(survey->ingest->kafka, landing->def.topic_name), 0);
}

/* It is known if all of its partitions are. */
static void
note_ends(CdcIngestLanding *landing, int n, const int64 *low, const int64 *high)
{
	for (int i = 0; i < n; i++)
		if (low[i] < 0 || high[i] < 0)
			return;
	landing->low = MemoryContextAlloc(landing->context, n * sizeof(int64));
	landing->high = MemoryContextAlloc(landing->context, n * sizeof(int64));
	memcpy(landing->low, low, n * sizeof(int64));
	memcpy(landing->high, high, n * sizeof(int64));
	landing->nknown = n;
}

/* In a transaction. */
static void
survey_landings(void *arg)
{
	Survey	   *survey = arg;
	List	   *landings = NIL;
	CdcKafkaSource *sources;
	int64	   *low;
	int64	   *high;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, survey->ingest->landings)
	{
		int			partitions = unknown_partitions(survey, lfirst(lc));

		if (partitions > 0)
			landings = lappend(landings, lfirst(lc));
		n += partitions;
	}
	if (list_length(landings) < 2)
		return;					/* it will ask itself */
	sources = palloc_extended(n * sizeof(CdcKafkaSource), MCXT_ALLOC_HUGE);
	low = palloc_extended(n * sizeof(int64), MCXT_ALLOC_HUGE);
	high = palloc_extended(n * sizeof(int64), MCXT_ALLOC_HUGE);
	n = 0;
	foreach(lc, landings)
	{
		const CdcIngestLanding *landing = lfirst(lc);
		int			partitions = unknown_partitions(survey, landing);

		for (int i = 0; i < partitions; i++)
			sources[n++] = (CdcKafkaSource) {.topic = landing->def.topic_name,.partition = i};
	}
	cdc_kafka_survey(cdc_ingest_asker(survey->ingest), sources, n, low, high);
	n = 0;
	foreach(lc, landings)
	{
		int			partitions = unknown_partitions(survey, lfirst(lc));

		note_ends(lfirst(lc), partitions, low + n, high + n);
		n += partitions;
	}
}

void
cdc_ingest_survey(CdcIngest *ingest, TimestampTz now)
{
	Survey		survey = {ingest, now};
	ErrorData  *error;

	/* what it does not find out is asked for each landing again, and told */
	(void) cdc_worker_try(survey_landings, &survey, &error);
}

/* ----------
 * Opening
 * ----------
 */

typedef struct Opening
{
	CdcIngest  *ingest;
	CdcIngestLanding *landing;
	CdcLandingPosition *positions;	/* in open_context */
	int			npositions;
} Opening;

/* Are there partitions that have no position yet? */
static bool
has_new(const Opening *opening)
{
	int			known = 0;

	while (known < opening->npositions &&
		   opening->positions[known].partition < opening->landing->npartitions)
		known++;
	return known < opening->landing->npartitions;
}

/*
 * One of the workers that share the topic begins all of its new partitions: it
 * alone can tell whether the topic itself is new.
 */
static void
begin_new(Opening *opening)
{
	CdcIngestLanding *landing = opening->landing;
	CdcKafka   *kafka = cdc_ingest_asker(opening->ingest);
	int			n = landing->npartitions;
	int64	   *low = landing->low;
	int64	   *high = landing->high;
	CdcLandingAppend *append;

	if (landing->nknown < n || strcmp(landing->topic, landing->def.topic_name) != 0)
	{
		low = palloc(n * sizeof(int64));
		high = palloc(n * sizeof(int64));
		cdc_kafka_topic_watermarks(kafka, landing->topic, n, low, high);
	}
	append = cdc_landing_append_begin(&landing->def, opening->positions,
									  opening->npositions, GetCurrentTimestamp());
	cdc_reader_begin_partitions(&landing->def, append, kafka, landing->topic,
								opening->positions, opening->npositions, n, low, high);
	CDC_FAULT("ingest_begin");
	cdc_landing_append_end(append);
	opening->npositions = cdc_landing_positions(&landing->def, &opening->positions);
}

/* Partitions that the topic has no longer.  False: they stop the landing. */
static bool
pass_missing(Opening *opening)
{
	CdcIngestLanding *landing = opening->landing;
	CdcLandingAppend *append = NULL;
	CdcLandingPosition position;
	CdcGap		gap;

	for (int i = 0; i < opening->npositions; i++)
	{
		if (!cdc_gap_find_partition(&opening->positions[i], landing->npartitions, &gap))
			continue;
		if (!landing->def.continues)
		{
			cdc_gap_stop(&landing->def, landing->topic, &gap);
			return false;
		}
		if (append == NULL)
			append = cdc_landing_append_begin(&landing->def, opening->positions,
											  opening->npositions, GetCurrentTimestamp());
		cdc_gap_pass(&landing->def, append, landing->topic, &gap, &position);
	}
	if (append)
		cdc_landing_append_end(append);
	return true;
}

static bool
has_missing(const Opening *opening)
{
	CdcGap		gap;

	for (int i = 0; i < opening->npositions; i++)
		if (cdc_gap_find_partition(&opening->positions[i],
								   opening->landing->npartitions, &gap))
			return true;
	return false;
}

/*
 * Read the positions, and lock them if there is something to write; false: another
 * session has the landing.  Other slices may be at it all the time, and are not to
 * keep us out.
 */
static bool
get_positions(Opening *opening)
{
	CdcIngestLanding *landing = opening->landing;
	CdcLandingPosition *none;

	opening->npositions = cdc_landing_positions(&landing->def, &opening->positions);
	if (has_new(opening) || has_missing(opening))
		opening->npositions = cdc_landing_lock(&landing->def, true, &opening->positions);
	else if (landing->pause > 0 &&
			 cdc_landing_lock_some(&landing->def, NULL, 0, &none) < 0)
		return false;			/* look before reading anything in vain again */
	return opening->npositions >= 0;
}

/* In a transaction. */
static void
open_landing(void *arg)
{
	Opening    *opening = arg;
	CdcIngestLanding *landing = opening->landing;
	MemoryContext old;
	Oid			serverid;

	landing->outcome = CDC_INGEST_ABSENT;
	landing->topic = MemoryContextStrdup(landing->open_context,
										 cdc_reader_topic(&landing->def, &serverid));
	landing->npartitions = cdc_kafka_partitions(opening->ingest->kafka, landing->topic);
	if (landing->npartitions <= 0)
		return;

	landing->outcome = CDC_INGEST_LOCKED;
	old = MemoryContextSwitchTo(landing->open_context);
	if (get_positions(opening))
	{
		landing->outcome = CDC_INGEST_DONE;
		if (has_missing(opening) && !pass_missing(opening))
			landing->outcome = CDC_INGEST_STOPPED;
		else if (has_new(opening))
			begin_new(opening);
	}
	MemoryContextSwitchTo(old);
}

/* Take up the partitions that are ours. */
static void
make_parts(CdcIngest *ingest, CdcIngestLanding *landing, const Opening *opening)
{
	const CdcProcess *process = ingest->process;

	landing->nparts = 0;
	landing->parts = MemoryContextAllocZero(landing->open_context,
											landing->npartitions * sizeof(CdcIngestPart));
	for (int i = 0; i < opening->npositions; i++)
	{
		const CdcLandingPosition *position = &opening->positions[i];
		CdcIngestPart *part = &landing->parts[landing->nparts];

		if (position->partition >= landing->npartitions ||
			position->partition % process->nslices != process->slice)
			continue;
		part->landing = landing;
		part->stored = *position;
		part->published_end = -1;
		cdc_reader_begin(&part->reader, position);
		attach(ingest, part, landing->topic);
		landing->nparts++;
	}
}

void
cdc_ingest_open(CdcIngest *ingest, CdcIngestLanding *landing)
{
	Opening		opening = {.ingest = ingest,.landing = landing};
	ErrorData  *error;
	bool		done;

	MemoryContextReset(landing->open_context);
	done = cdc_worker_try(open_landing, &opening, &error);
	forget_ends(landing);		/* another try may be much later */
	if (!done)
		cdc_ingest_landing_failed(ingest, landing, error);
	else if (landing->outcome != CDC_INGEST_DONE)
		cdc_ingest_landing_outcome(ingest, landing);
	else
	{
		make_parts(ingest, landing, &opening);
		landing->open = true;
		landing->absent = false;
		landing->opened_at = GetCurrentTimestamp();
		cdc_ingest_publish(ingest, landing);
	}
}

/* ----------
 * Closing
 * ----------
 */
void
cdc_ingest_close(CdcIngest *ingest, CdcIngestLanding *landing,
				 TimestampTz next_open)
{
	if (landing->open)
		for (int i = 0; i < landing->nparts; i++)
			detach(ingest, &landing->parts[i]);
	landing->open = false;
	landing->nparts = 0;
	landing->parts = NULL;
	landing->topic = NULL;
	landing->dirty = false;
	landing->ntakes = landing->maxtakes = 0;
	landing->takes = NULL;		/* the batch may be gone before it is flushed */
	MemoryContextReset(landing->open_context);
	landing->next_open = next_open;
	ingest->next_due = Min(ingest->next_due, next_open);
}

void
cdc_ingest_close_all(CdcIngest *ingest)
{
	ListCell   *lc;

	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);

		if (landing->open)
			cdc_ingest_close(ingest, landing, 0);
	}
}

/* In a transaction.  An error: one of them must not be read. */
static void
check_open(void *arg)
{
	CdcIngest  *ingest = arg;
	ListCell   *lc;

	foreach(lc, ingest->landings)
	{
		CdcIngestLanding *landing = lfirst(lc);
		Oid			serverid;

		if (landing->open &&
			strcmp(cdc_reader_topic(&landing->def, &serverid), landing->topic) != 0)
			cdc_ingest_close(ingest, landing, 0);
	}
}

void
cdc_ingest_recheck(CdcIngest *ingest)
{
	ErrorData  *error;

	/* which one it is comes out when they are opened */
	if (!cdc_worker_try(check_open, ingest, &error))
		cdc_ingest_close_all(ingest);
}

void
cdc_ingest_source_retry(CdcIngest *ingest, CdcIngestSource *source)
{
	while (source->parts != NIL)
		cdc_ingest_close(ingest, ((CdcIngestPart *) linitial(source->parts))->landing, 0);
	cdc_ingest_source_changed(ingest, source);
}

void
cdc_ingest_landing_failed(CdcIngest *ingest, CdcIngestLanding *landing,
						  const ErrorData *edata)
{
	char	   *name = psprintf("cannot read into landing %d", landing->def.id);

	if (!cdc_problem_is(&landing->problem, edata))
		cdc_worker_log(edata, name);
	landing->absent = false;
	cdc_problem_add(&landing->problem, edata);
	cdc_ingest_close(ingest, landing, landing->problem.next_try);
	cdc_ingest_publish(ingest, landing);
}

/* The landing was left out of a transaction, or will be. */
void
cdc_ingest_landing_outcome(CdcIngest *ingest, CdcIngestLanding *landing)
{
	TimestampTz now = GetCurrentTimestamp();

	switch (landing->outcome)
	{
		case CDC_INGEST_DONE:
		case CDC_INGEST_MOVED:
			cdc_ingest_close(ingest, landing, 0);
			return;
		case CDC_INGEST_LOCKED:
			landing->pause = landing->pause == 0 ? SHORTEST_PAUSE :
				Min(2 * landing->pause, LONGEST_PAUSE);
			cdc_ingest_close(ingest, landing,
							 TimestampTzPlusMilliseconds(now, landing->pause));
			break;
		case CDC_INGEST_ABSENT:
			/* it is opened when the topic is seen; to have failed while the
			 * topic went away tells nothing any more */
			landing->absent = true;
			cdc_problem_clear(&landing->problem);
			ingest->next_metadata = Min(ingest->next_metadata,
										TimestampTzPlusMilliseconds(now, 1000));
			cdc_ingest_close(ingest, landing, DT_NOEND);
			break;
		case CDC_INGEST_STOPPED:
			/* the catalog says so; it will not be listed any more */
			ingest->reload = true;
			cdc_ingest_close(ingest, landing, DT_NOEND);
			break;
	}
	cdc_ingest_publish(ingest, landing);
}

/* ----------
 * What others are told
 * ----------
 */

/* What keeps the landing from being read, or NULL. */
static const CdcProblem *
worst_problem(const CdcIngest *ingest, const CdcIngestLanding *landing)
{
	if (landing->problem.failures > 0)
		return &landing->problem;
	if (ingest->problem.failures > 0)
		return &ingest->problem;
	for (int i = 0; i < landing->nparts; i++)
		if (landing->parts[i].source && landing->parts[i].source->problem.failures > 0)
			return &landing->parts[i].source->problem;
	return NULL;
}

void
cdc_ingest_publish(CdcIngest *ingest, CdcIngestLanding *landing)
{
	CdcLandingKey key = {MyDatabaseId, landing->def.id};
	const CdcProblem *problem = worst_problem(ingest, landing);
	char		note[CDC_PROBLEM_TEXT] = "";
	CdcSharedLanding *entry;

	if (landing->absent)
		snprintf(note, sizeof(note), "topic \"%s\" does not exist yet",
				 landing->def.topic_name ? landing->def.topic_name : "");
	else if (!landing->open && landing->pause > 1000)
		strlcpy(note, "another session is refreshing the landing", sizeof(note));

	entry = cdc_shared_insert(CDC_SHARED_LANDING, &key);
	entry->reader = MyProcPid;
	/* other slices may have something to tell */
	if (problem)
		entry->problem = *problem;
	else if (landing->told)
		cdc_problem_clear(&entry->problem);
	if (note[0] || landing->told)
		strlcpy(entry->note, note, sizeof(entry->note));
	cdc_shared_release(CDC_SHARED_LANDING, entry);
	landing->told = problem != NULL || note[0] != '\0';
}

static void
publish_end(CdcIngestPart *part, int64 end, TimestampTz now)
{
	CdcPartitionKey key;
	CdcSharedPartition *entry;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.landing = part->landing->def.id;
	key.partition = part->stored.partition;
	entry = cdc_shared_insert(CDC_SHARED_PARTITION, &key);
	entry->end_offset = end;
	entry->seen_at = now;
	cdc_shared_release(CDC_SHARED_PARTITION, entry);
	part->published_end = end;
}

/* The ends of the logs of partitions in which something has happened. */
void
cdc_ingest_publish_ends(CdcIngest *ingest)
{
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS seq;
	CdcIngestSource *source;

	hash_seq_init(&seq, ingest->sources);
	while ((source = hash_seq_search(&seq)) != NULL)
	{
		int64		end;
		ListCell   *lc;

		if (!source->active || source->id < 0)
			continue;
		end = cdc_kafka_high(ingest->kafka, source->id);
		if (end < 0)
			continue;
		source->active = false;
		foreach(lc, source->parts)
			publish_end(lfirst(lc), Max(end, ((CdcIngestPart *) lfirst(lc))->stored.next_offset), now);
	}
}

static void
tell_unread(const CdcIngest *ingest, CdcIngestLanding *landing, int64 records)
{
	CdcLandingKey key = {MyDatabaseId, landing->def.id};
	CdcSharedLanding *entry = cdc_shared_insert(CDC_SHARED_LANDING, &key);
	CdcUnread  *unread = &entry->unread[ingest->process->slice % CDC_UNREAD_SLICES];

	unread->records = records;
	unread->at = GetCurrentTimestamp();
	cdc_shared_release(CDC_SHARED_LANDING, entry);
	landing->behind = records > 0;
}

void
cdc_ingest_publish_unread(CdcIngest *ingest, CdcIngestLanding *landing)
{
	int64		unread = 0;
	int			known = 0;

	for (int i = 0; i < landing->nparts; i++)
	{
		const CdcIngestPart *part = &landing->parts[i];
		int64		end = -1;

		/* an end may lie behind what can be read, see take_end() */
		if (part->at_end)
			end = part->reader.position.next_offset;
		else if (part->source->id >= 0)
			end = cdc_kafka_high(ingest->kafka, part->source->id);
		if (end < 0)
			continue;
		known++;
		unread += Max(end - part->reader.position.next_offset, 0);
	}
	/* those that nothing has come from yet are like the others */
	if (known > 0)
		unread = (int64) ((double) unread * landing->nparts / known);
	landing->unread = unread;
	tell_unread(ingest, landing, unread + landing->ntakes);
}

void
cdc_ingest_publish_written(CdcIngest *ingest, CdcIngestLanding *landing)
{
	if (landing->behind)
		tell_unread(ingest, landing, landing->unread);
}
