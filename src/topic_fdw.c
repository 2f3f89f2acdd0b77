/*-------------------------------------------------------------------------
 *
 * topic_fdw.c
 *	  Topics as foreign tables: a bounded scan.
 *
 * A scan reads every partition from its first record to the end that it had
 * when the scan began; it ends by these offsets and never because nothing came
 * for a while.  Conditions on partition, offset and time narrow what is asked
 * for (topic_quals.c).  Planning and EXPLAIN make no connection; the first row
 * that is asked for does.
 *
 * The consumer lives in the query's memory context, which closes it however
 * the query ends (kafka.c).  Memory is that of one batch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "headers.h"
#include "kafka.h"
#include "kafka_options.h"
#include "topic_fdw.h"
#include "topic_quals.h"

#define DEFAULT_RECORDS		100000	/* of a topic we know nothing about */
#define STARTUP_COST		1000.0	/* a connection */

#define UNIX_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Elements of fdw_private of the plan. */
enum
{
	PRIVATE_CONDITIONS,			/* integers, see topic_quals.c */
	PRIVATE_COLUMNS				/* integers: attribute numbers to fill */
};

/* A partition of the topic, and where this scan began. */
typedef struct TopicPartition
{
	bool		known;			/* low and high are set */
	int64		low;
	int64		high;
} TopicPartition;

/* A partition that is being read. */
typedef struct ScanSource
{
	int64		end;			/* offset to stop at */
	bool		done;
} ScanSource;

typedef struct TopicScan
{
	char	   *topic;
	Oid			serverid;
	List	   *conditions;
	List	   *operands;		/* ExprState */
	int		   *column_of;		/* by attribute number - 1; -1: not needed */

	CdcKafka   *kafka;			/* NULL: not opened yet */
	bool		started;
	int			npartitions;
	TopicPartition *partitions;
	MemoryContext context;		/* sources; reset by a rescan */
	ScanSource *sources;
	int			nsources;
	int			unfinished;		/* sources that are not done */

	const CdcKafkaEvent *events;
	int			nevents;
	int			next;
} TopicScan;

PG_FUNCTION_INFO_V1(cdcsync_kafka_handler);

/* ----------
 * Columns
 * ----------
 */
static const struct
{
	const char *name;
	Oid			type;
}			topic_columns[] =
{
	[CDC_TOPIC_PARTITION] = {"kafka_partition", INT8OID},
	[CDC_TOPIC_OFFSET] = {"kafka_offset", INT8OID},
	[CDC_TOPIC_TIMESTAMP_TYPE] = {"kafka_timestamp_type", CHAROID},
	[CDC_TOPIC_TIMESTAMP] = {"kafka_timestamp", TIMESTAMPOID},
	[CDC_TOPIC_KEY] = {"kafka_key", BYTEAOID},
	[CDC_TOPIC_VALUE] = {"kafka_value", BYTEAOID},
	[CDC_TOPIC_HEADERS] = {"kafka_headers", JSONBOID},
};

static int
find_column(Form_pg_attribute attribute)
{
	for (int i = 0; i < lengthof(topic_columns); i++)
		if (strcmp(NameStr(attribute->attname), topic_columns[i].name) == 0 &&
			attribute->atttypid == topic_columns[i].type)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
			 errmsg("a Kafka topic has no column \"%s\" of type %s",
					NameStr(attribute->attname),
					format_type_be(attribute->atttypid)),
			 errhint("The columns are: kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type \"char\", kafka_timestamp timestamp, kafka_key bytea, kafka_value bytea, kafka_headers jsonb.")));
	return -1;					/* keep compiler quiet */
}

/* What each attribute of the table is; -1 for dropped ones. */
static int *
map_columns(TupleDesc desc)
{
	int		   *result = palloc(Max(desc->natts, 1) * sizeof(int));

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		result[i] = attribute->attisdropped ? -1 : find_column(attribute);
	}
	return result;
}

/* ----------
 * Planning
 * ----------
 */
static void
get_rel_size(PlannerInfo *root, RelOptInfo *baserel, Oid relid)
{
	baserel->tuples = DEFAULT_RECORDS;
	set_baserel_size_estimates(root, baserel);
}

static void
get_paths(PlannerInfo *root, RelOptInfo *baserel, Oid relid)
{
	Cost		run_cost = baserel->tuples * (cpu_tuple_cost * 2) +
		baserel->tuples * baserel->baserestrictcost.per_tuple;

	add_path(baserel, (Path *)
			 create_foreignscan_path_compat(root, baserel, NULL, baserel->rows,
											0, STARTUP_COST,
											STARTUP_COST + run_cost, NIL,
											baserel->lateral_relids, NULL, NIL,
											NIL));
}

/* The attributes that the query looks at. */
static List *
needed_columns(RelOptInfo *baserel, List *clauses, int natts)
{
	Bitmapset  *attrs = NULL;
	List	   *result = NIL;
	bool		all;

	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &attrs);
	pull_varattnos((Node *) clauses, baserel->relid, &attrs);
	all = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attrs);
	for (int i = 1; i <= natts; i++)
		if (all || bms_is_member(i - FirstLowInvalidHeapAttributeNumber, attrs))
			result = lappend_int(result, i);
	return result;
}

static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *baserel, Oid relid,
		 ForeignPath *best_path, List *tlist, List *scan_clauses,
		 Plan *outer_plan)
{
	List	   *clauses = extract_actual_clauses(scan_clauses, false);
	Relation	rel = table_open(relid, NoLock);
	int			natts = RelationGetDescr(rel)->natts;
	int		   *column_of = map_columns(RelationGetDescr(rel));
	List	   *conditions = NIL;
	List	   *operands = NIL;
	ListCell   *lc;

	table_close(rel, NoLock);
	foreach(lc, clauses)
	{
		CdcTopicCondition condition;

		if (!cdc_topic_condition(lfirst(lc), baserel->relid, column_of, natts,
								 &condition))
			continue;
		conditions = lappend_int(conditions, condition.what);
		operands = lappend(operands, condition.operand);
	}
	return make_foreignscan(tlist, clauses, baserel->relid, operands,
							list_make2(conditions,
									   needed_columns(baserel, clauses, natts)),
							NIL, NIL, outer_plan);
}

/* ----------
 * Execution
 * ----------
 */
static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	TupleDesc	desc = RelationGetDescr(node->ss.ss_currentRelation);
	TopicScan  *scan = palloc0(sizeof(TopicScan));
	int		   *column_of = map_columns(desc);
	ListCell   *lc;

	node->fdw_state = scan;
	scan->topic = cdc_kafka_topic(RelationGetRelid(node->ss.ss_currentRelation),
								  &scan->serverid);
	scan->conditions = list_nth(plan->fdw_private, PRIVATE_CONDITIONS);
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	scan->operands = ExecInitExprList(plan->fdw_exprs, &node->ss.ps);
	scan->column_of = palloc(Max(desc->natts, 1) * sizeof(int));
	for (int i = 0; i < desc->natts; i++)
		scan->column_of[i] = -1;
	foreach(lc, (List *) list_nth(plan->fdw_private, PRIVATE_COLUMNS))
		scan->column_of[lfirst_int(lc) - 1] = column_of[lfirst_int(lc) - 1];
	scan->context = AllocSetContextCreate(CurrentMemoryContext,
										  "cdcsync topic scan",
										  ALLOCSET_SMALL_SIZES);
}

/* Open the consumer: in the query's context, which outlives the rows. */
static void
open_topic(ForeignScanState *node, TopicScan *scan)
{
	EState	   *estate = node->ss.ps.state;
	Oid			userid =
		foreign_scan_check_as_user_compat((ForeignScan *) node->ss.ps.plan,
										  estate);
	MemoryContext old_context = MemoryContextSwitchTo(estate->es_query_cxt);

	scan->kafka = cdc_kafka_open(scan->serverid,
								 OidIsValid(userid) ? userid : GetUserId(),
								 0);
	scan->npartitions = cdc_kafka_partitions(scan->kafka, scan->topic);
	if (scan->npartitions == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
				 errmsg("topic \"%s\" does not exist on Kafka server \"%s\"",
						scan->topic,
						GetForeignServer(scan->serverid)->servername),
				 errhint("It may have been deleted, or the user of the server may not be allowed to see it.")));
	scan->partitions = palloc0(scan->npartitions * sizeof(TopicPartition));
	MemoryContextSwitchTo(old_context);
}

/*
 * Get the ends of the partitions that are wanted.  A rescan uses those of the
 * first scan, so that one query sees one state of the topic.
 */
static void
get_watermarks(TopicScan *scan, const CdcTopicBounds *bounds)
{
	int64	   *low = palloc(scan->npartitions * sizeof(int64));
	int64	   *high = palloc(scan->npartitions * sizeof(int64));
	int			missing = 0;

	for (int i = 0; i < scan->npartitions; i++)
		if (cdc_topic_bounds_have(bounds, i) && !scan->partitions[i].known)
			missing++;
	if (missing == scan->npartitions)
		cdc_kafka_topic_watermarks(scan->kafka, scan->topic, scan->npartitions,
								   low, high);
	for (int i = 0; i < scan->npartitions; i++)
	{
		TopicPartition *partition = &scan->partitions[i];

		if (partition->known || !cdc_topic_bounds_have(bounds, i))
			continue;
		if (missing < scan->npartitions)
			cdc_kafka_watermarks(scan->kafka, scan->topic, i, &low[i],
								 &high[i]);
		partition->known = true;
		partition->low = low[i];
		partition->high = high[i];
	}
	pfree(low);
	pfree(high);
}

/* Assign what the conditions leave of each partition. */
static void
assign_partitions(TopicScan *scan, const CdcTopicBounds *bounds)
{
	CdcKafkaSource *assign = palloc(scan->npartitions * sizeof(CdcKafkaSource));

	scan->sources = palloc(scan->npartitions * sizeof(ScanSource));
	scan->nsources = 0;
	for (int i = 0; i < scan->npartitions; i++)
	{
		TopicPartition *partition = &scan->partitions[i];
		int64		first;
		int64		end;

		if (!cdc_topic_bounds_have(bounds, i))
			continue;
		first = Max(partition->low, bounds->min_offset);
		end = Min(partition->high, bounds->max_offset == PG_INT64_MAX ?
				  bounds->max_offset : bounds->max_offset + 1);
		if (first < end && bounds->min_time >= 0)
			first = Max(first, cdc_kafka_offset_for_time(scan->kafka,
														 scan->topic, i,
														 bounds->min_time));
		if (first >= end)
			continue;
		scan->sources[scan->nsources].end = end;
		scan->sources[scan->nsources].done = false;
		assign[scan->nsources].topic = scan->topic;
		assign[scan->nsources].partition = i;
		assign[scan->nsources].offset = first;
		scan->nsources++;
	}
	scan->unfinished = scan->nsources;
	cdc_kafka_assign(scan->kafka, assign, scan->nsources);
	pfree(assign);
}

static void
start_scan(ForeignScanState *node, TopicScan *scan)
{
	MemoryContext old_context;
	CdcTopicBounds bounds;

	scan->started = true;
	scan->nevents = scan->next = 0;
	MemoryContextReset(scan->context);
	old_context = MemoryContextSwitchTo(scan->context);
	cdc_topic_bounds(scan->conditions, scan->operands,
					 node->ss.ps.ps_ExprContext, &bounds);
	scan->unfinished = 0;
	if (!bounds.empty && bounds.min_offset <= bounds.max_offset &&
		bounds.min_partition <= bounds.max_partition)
	{
		if (scan->kafka == NULL)
			open_topic(node, scan);
		get_watermarks(scan, &bounds);
		assign_partitions(scan, &bounds);
	}
	MemoryContextSwitchTo(old_context);
}

static void
finish_source(TopicScan *scan, int source)
{
	if (scan->sources[source].done)
		return;
	scan->sources[source].done = true;
	scan->unfinished--;
	cdc_kafka_remove(scan->kafka, source);
}

/* The next record of the scan, or NULL at its end. */
static const CdcRecord *
next_record(TopicScan *scan)
{
	while (scan->unfinished > 0)
	{
		const CdcKafkaEvent *event;
		const CdcRecord *record;
		ScanSource *source;

		if (scan->next >= scan->nevents)
		{
			cdc_kafka_release(scan->kafka);
			scan->nevents = cdc_kafka_poll(scan->kafka, -1, &scan->events);
			scan->next = 0;
			continue;
		}
		event = &scan->events[scan->next++];
		if (event->record.source < 0 && event->error)
			cdc_kafka_raise(event);
		if (event->record.source < 0)
			continue;
		record = &event->record;
		source = &scan->sources[record->source];
		if (source->done)
			continue;
		if (event->kind == CDC_KAFKA_ERROR)
			cdc_kafka_raise(event);
		if (event->kind == CDC_KAFKA_OUT_OF_RANGE)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_ERROR),
					 errmsg("records of partition %d of topic \"%s\" expired while they were read",
							record->partition, scan->topic),
					 errdetail("Offset %lld is no longer in the topic.",
							   (long long) record->offset),
					 errhint("Run the query again.")));
		if (event->kind == CDC_KAFKA_EOF || record->offset >= source->end - 1)
			finish_source(scan, record->source);
		if (event->kind == CDC_KAFKA_RECORD && record->offset < source->end)
			return record;
	}
	return NULL;
}

static Datum
bytes_datum(CdcBytes bytes, bool *isnull)
{
	*isnull = bytes.data == NULL;
	return bytes.data ? cdc_bytea(bytes) : (Datum) 0;
}

/* ms since the Unix epoch; one that a timestamp cannot hold is NULL. */
static Datum
timestamp_datum(int64 timestamp, bool *isnull)
{
	Timestamp	result;

	if (timestamp < 0 ||
		pg_mul_s64_overflow(timestamp, 1000, &result) ||
		!IS_VALID_TIMESTAMP(result - UNIX_EPOCH_USECS))
	{
		*isnull = true;
		return (Datum) 0;
	}
	return TimestampGetDatum(result - UNIX_EPOCH_USECS);
}

static Datum
column_datum(const CdcRecord *record, CdcTopicColumn column, bool *isnull)
{
	Jsonb	   *headers;

	*isnull = false;
	switch (column)
	{
		case CDC_TOPIC_PARTITION:
			return Int64GetDatum(record->partition);
		case CDC_TOPIC_OFFSET:
			return Int64GetDatum(record->offset);
		case CDC_TOPIC_TIMESTAMP_TYPE:
			return CharGetDatum(record->timestamp_type);
		case CDC_TOPIC_TIMESTAMP:
			return timestamp_datum(record->timestamp, isnull);
		case CDC_TOPIC_KEY:
			return bytes_datum(record->key, isnull);
		case CDC_TOPIC_VALUE:
			return bytes_datum(record->value, isnull);
		case CDC_TOPIC_HEADERS:
			headers = cdc_headers_to_jsonb(record->headers);
			*isnull = headers == NULL;
			return headers ? JsonbPGetDatum(headers) : (Datum) 0;
	}
	elog(ERROR, "unexpected column %d of a topic", column);
	return (Datum) 0;			/* keep compiler quiet */
}

static TupleTableSlot *
iterate_scan(ForeignScanState *node)
{
	TopicScan  *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	const CdcRecord *record;

	ExecClearTuple(slot);
	if (!scan->started)
		start_scan(node, scan);
	record = next_record(scan);
	if (record == NULL)
		return slot;
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (scan->column_of[i] >= 0)
			slot->tts_values[i] = column_datum(record, scan->column_of[i],
											   &slot->tts_isnull[i]);
	}
	return ExecStoreVirtualTuple(slot);
}

static void
rescan(ForeignScanState *node)
{
	((TopicScan *) node->fdw_state)->started = false;
}

static void
end_scan(ForeignScanState *node)
{
	TopicScan  *scan = node->fdw_state;

	if (scan && scan->kafka)
		cdc_kafka_close(scan->kafka);
}

static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	static const struct
	{
		const char *label;
		CdcTopicColumn column;
	}			lines[] =
	{
		{"Partitions", CDC_TOPIC_PARTITION},
		{"Offsets", CDC_TOPIC_OFFSET},
		{"Timestamp", CDC_TOPIC_TIMESTAMP},
	};
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	TopicScan  *scan = node->fdw_state;
	List	   *context = set_deparse_context_plan(es->deparse_cxt,
												   (Plan *) plan, NIL);

	ExplainPropertyText("Kafka topic", scan->topic, es);
	for (int i = 0; i < lengthof(lines); i++)
	{
		char	   *text = cdc_topic_conditions_text(scan->conditions,
													 plan->fdw_exprs,
													 lines[i].column, context);

		if (text)
			ExplainPropertyText(lines[i].label, text, es);
	}
}

Datum
cdcsync_kafka_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = get_rel_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = iterate_scan;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	routine->ExplainForeignScan = explain_scan;
	routine->ImportForeignSchema = cdc_topic_import;
	PG_RETURN_POINTER(routine);
}
