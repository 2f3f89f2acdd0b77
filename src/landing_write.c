/*-------------------------------------------------------------------------
 *
 * landing_write.c
 *	  The triggers of the landing view: INSERT appends records where the
 *	  landing has no topic, UPDATE and DELETE are refused.
 *
 * The row trigger hands each row to an append that is open for the view, so
 * that a statement makes full chunks; the AFTER STATEMENT trigger ends it.  The
 * first row of a statement takes the landing's lock, which is held to the end
 * of the transaction: concurrent inserts queue.  INSERT on the view is the only
 * privilege that is needed: the landing's owner writes the chunks.
 *
 * There is at most one open append for a view.  A statement that is nested in
 * another one on the same view, by a function that the outer one calls, first
 * writes what the outer one has appended so far.  It cannot do so from within a
 * subtransaction of its own, whose abort would take the outer rows with it;
 * that is an error.  An abort of the (sub)transaction forgets its appends: the
 * memory goes with the context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "landing.h"

/* Columns of the view. */
enum
{
	COL_PARTITION,
	COL_OFFSET,
	COL_TIMESTAMP_TYPE,
	COL_TIMESTAMP,
	COL_KEY,
	COL_VALUE,
	COL_HEADERS,
	COL_REFRESH_TIME,
	COL_PAYLOAD,
	NCOLUMNS
};

/* A view that a running statement inserts into. */
typedef struct WriteBuffer
{
	struct WriteBuffer *next;
	MemoryContext cxt;			/* all of it lives here */
	Oid			view;
	SubTransactionId subid;		/* whose abort takes it */
	CdcLanding *landing;
	CdcLandingAppend *append;	/* NULL: no row yet */
	Timestamp	now;
	FmgrInfo	parse;			/* json_parse_or_null() */
} WriteBuffer;

static WriteBuffer *buffers = NULL;

/* ----------
 * Open buffers
 * ----------
 */

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			for (WriteBuffer *b = buffers; b; b = b->next)
				if (b->append)
					elog(ERROR, "rows inserted into landing %u were not written",
						 b->view);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			buffers = NULL;
			break;
		default:
			break;
	}
}

static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	WriteBuffer **link = &buffers;

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (*link)
	{
		if ((*link)->subid == subid)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
}

static WriteBuffer *
find_buffer(Oid view)
{
	for (WriteBuffer *b = buffers; b; b = b->next)
		if (b->view == view)
			return b;
	return NULL;
}

static CdcLanding *
insertable_landing(Relation view)
{
	CdcLanding *landing = cdc_landing_get_by_view(RelationGetRelid(view));

	if (landing == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" is not a landing",
						RelationGetRelationName(view)),
				 errhint("Landing views are made by cdc_create().")));
	if (OidIsValid(landing->topic))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot insert into landing \"%s\", which reads a topic",
						RelationGetRelationName(view)),
				 errhint("Produce the events to the topic, or make a pipeline without a topic with cdc_create().")));
	return landing;
}

/* The buffer of the view in this (sub)transaction, made if there is none. */
static WriteBuffer *
get_buffer(Relation view)
{
	static bool registered = false;
	WriteBuffer *buffer = find_buffer(RelationGetRelid(view));
	MemoryContext cxt;
	MemoryContext old;

	if (buffer && buffer->subid != GetCurrentSubTransactionId())
	{
		if (buffer->append)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot insert into landing \"%s\", which an outer statement is inserting into",
							RelationGetRelationName(view)),
					 errdetail("The inner statement runs in a subtransaction."),
					 errhint("Insert the rows in separate statements.")));
		buffer->subid = GetCurrentSubTransactionId();
	}
	if (buffer)
		return buffer;

	if (!registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		RegisterSubXactCallback(subxact_callback, NULL);
		registered = true;
	}
	cxt = AllocSetContextCreate(CurTransactionContext, "cdcsync insert",
								ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cxt);
	buffer = palloc0(sizeof(WriteBuffer));
	buffer->cxt = cxt;
	buffer->view = RelationGetRelid(view);
	buffer->subid = GetCurrentSubTransactionId();
	buffer->landing = insertable_landing(view);
	MemoryContextSwitchTo(old);

	buffer->next = buffers;
	buffers = buffer;
	return buffer;
}

/* Lock the landing and open its append, with the first row. */
static void
open_append(WriteBuffer *buffer)
{
	static const Oid argtypes[] = {BYTEAOID};
	MemoryContext old = MemoryContextSwitchTo(buffer->cxt);
	CdcLandingPosition *positions;
	CdcLandingAppend *append;
	int			npositions;
	Oid			parse;

	npositions = cdc_landing_lock(buffer->landing, false, &positions);
	buffer->now = GetCurrentTimestamp();
	append = cdc_landing_append_begin(buffer->landing, positions, npositions,
									  buffer->now);
	parse = LookupFuncName(list_make2(makeString("cdcsync"),
									  makeString("json_parse_or_null")),
						   1, argtypes, false);
	fmgr_info_cxt(parse, &buffer->parse, buffer->cxt);
	buffer->append = append;
	MemoryContextSwitchTo(old);
}

/* Write what was inserted; rows that follow open a new append. */
static void
close_append(WriteBuffer *buffer)
{
	CdcLandingAppend *append = buffer->append;

	if (append == NULL)
		return;
	cdc_landing_append_end(append);
	buffer->append = NULL;
}

/* ----------
 * A row
 * ----------
 */

static void
bad_value(const char *column, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s for a landing", column),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

static void
fill_position(WriteBuffer *buffer, Datum *values, bool *nulls)
{
	int64		partition;
	int64		offset;
	int64		next;

	if (nulls[COL_PARTITION])
		values[COL_PARTITION] = Int64GetDatum(0);
	partition = DatumGetInt64(values[COL_PARTITION]);
	if (partition < 0)
		bad_value("kafka_partition", psprintf("It is " INT64_FORMAT ".", partition),
				  "Partitions are numbered from 0.");

	next = cdc_landing_next_offset(buffer->append, partition);
	if (nulls[COL_OFFSET])
		values[COL_OFFSET] = Int64GetDatum(next);
	offset = DatumGetInt64(values[COL_OFFSET]);
	if (offset < next || offset == PG_INT64_MAX)
		bad_value("kafka_offset",
				  psprintf("Offset " INT64_FORMAT " was given; the next one of partition " INT64_FORMAT " is " INT64_FORMAT ".",
						   offset, partition, next),
				  "Leave kafka_offset out to take the next one; a higher one leaves a hole.");
	nulls[COL_PARTITION] = nulls[COL_OFFSET] = false;
}

static void
fill_times(WriteBuffer *buffer, Datum *values, bool *nulls)
{
	char		type;

	if (nulls[COL_TIMESTAMP_TYPE])
		values[COL_TIMESTAMP_TYPE] = CharGetDatum('C');
	type = DatumGetChar(values[COL_TIMESTAMP_TYPE]);
	if (type != 'C' && type != 'L' && type != 'U')
		bad_value("kafka_timestamp_type", psprintf("It is \"%c\".", type),
				  "Give C (create time), L (log append time) or U (unknown).");

	if (nulls[COL_TIMESTAMP])
		values[COL_TIMESTAMP] = TimestampGetDatum(buffer->now);
	if (nulls[COL_REFRESH_TIME])
		values[COL_REFRESH_TIME] = TimestampGetDatum(buffer->now);
	if (TIMESTAMP_NOT_FINITE(DatumGetTimestamp(values[COL_TIMESTAMP])) ||
		TIMESTAMP_NOT_FINITE(DatumGetTimestamp(values[COL_REFRESH_TIME])))
		bad_value("timestamp", "It is infinite.",
				  "Leave kafka_timestamp and refresh_time out to take the current time.");
	nulls[COL_TIMESTAMP_TYPE] = nulls[COL_TIMESTAMP] =
		nulls[COL_REFRESH_TIME] = false;
}

/*
 * payload is made from kafka_value.  Given alone, it becomes the value; given
 * with a value, as by INSERT .. SELECT from another landing, it must equal it.
 */
static void
fill_payload(WriteBuffer *buffer, Datum *values, bool *nulls)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		payload;

	if (nulls[COL_VALUE] && !nulls[COL_PAYLOAD])
	{
		Jsonb	   *jsonb = DatumGetJsonbP(values[COL_PAYLOAD]);
		char	   *text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));

		values[COL_VALUE] = PointerGetDatum(cstring_to_text(text));
		nulls[COL_VALUE] = false;
		return;
	}
	if (nulls[COL_VALUE])
		return;

	InitFunctionCallInfoData(*fcinfo, &buffer->parse, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = values[COL_VALUE];
	fcinfo->args[0].isnull = false;
	payload = FunctionCallInvoke(fcinfo);
	if (!nulls[COL_PAYLOAD] &&
		(fcinfo->isnull ||
		 compareJsonbContainers(&DatumGetJsonbP(payload)->root,
								&DatumGetJsonbP(values[COL_PAYLOAD])->root) != 0))
		bad_value("payload", "It differs from kafka_value.",
				  "Give one of the two; payload is computed from kafka_value.");
	values[COL_PAYLOAD] = payload;
	nulls[COL_PAYLOAD] = fcinfo->isnull;
}

static CdcBytes
bytes_of(Datum value, bool isnull)
{
	CdcBytes	bytes = {NULL, 0};

	if (!isnull)
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value);

		bytes.data = VARDATA_ANY(varlena);
		bytes.len = VARSIZE_ANY_EXHDR(varlena);
	}
	return bytes;
}

static Jsonb *
headers_of(Datum value, bool isnull)
{
	Jsonb	   *headers;

	if (isnull)
		return NULL;
	headers = DatumGetJsonbP(value);
	if (!JB_ROOT_IS_ARRAY(headers) || JB_ROOT_IS_SCALAR(headers))
		bad_value("kafka_headers", "It is not a JSON array.",
				  "Give an array such as [{\"key\": \"k\", \"value\": \"v\"}].");
	return headers;
}

/* Append a row; returns it as it can be read from the view. */
static HeapTuple
insert_row(Relation view, HeapTuple tuple)
{
	WriteBuffer *buffer = get_buffer(view);
	TupleDesc	tupdesc = RelationGetDescr(view);
	Datum	   *values = palloc(tupdesc->natts * sizeof(Datum));
	bool	   *nulls = palloc(tupdesc->natts * sizeof(bool));
	CdcRecord	record = {0};

	if (tupdesc->natts < NCOLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" is not a landing",
						RelationGetRelationName(view))));
	if (buffer->append == NULL)
		open_append(buffer);

	heap_deform_tuple(tuple, tupdesc, values, nulls);
	fill_position(buffer, values, nulls);
	fill_times(buffer, values, nulls);
	fill_payload(buffer, values, nulls);

	record.offset = DatumGetInt64(values[COL_OFFSET]);
	record.timestamp_type = DatumGetChar(values[COL_TIMESTAMP_TYPE]);
	record.key = bytes_of(values[COL_KEY], nulls[COL_KEY]);
	record.value = bytes_of(values[COL_VALUE], nulls[COL_VALUE]);
	cdc_landing_append_row(buffer->append,
						   DatumGetInt64(values[COL_PARTITION]), &record,
						   DatumGetTimestamp(values[COL_TIMESTAMP]),
						   headers_of(values[COL_HEADERS], nulls[COL_HEADERS]),
						   DatumGetTimestamp(values[COL_REFRESH_TIME]));
	return heap_form_tuple(tupdesc, values, nulls);
}

/* ----------
 * The trigger function
 * ----------
 */

static void
begin_insert(Relation view)
{
	WriteBuffer *buffer = get_buffer(view);

	close_append(buffer);		/* of an outer statement */
}

static void
end_insert(Relation view)
{
	WriteBuffer *buffer = find_buffer(RelationGetRelid(view));
	WriteBuffer **link = &buffers;

	if (buffer == NULL)
		return;					/* a nested statement has ended it */
	close_append(buffer);
	while (*link != buffer)
		link = &(*link)->next;
	*link = buffer->next;
	MemoryContextDelete(buffer->cxt);
}

PG_FUNCTION_INFO_V1(cdc_landing_write);
Datum
cdc_landing_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	view;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"landing_write\" was not called as a trigger")));
	view = trigger->tg_relation;

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot update or delete rows of landing \"%s\"",
						RelationGetRelationName(view)),
				 errhint("A landing holds records as they came. Insert a further event for the key, "
						 "or remove the pipeline and its landing with cdc_drop().")));

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return PointerGetDatum(insert_row(view, trigger->tg_trigtuple));
	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
		begin_insert(view);
	else
		end_insert(view);
	return PointerGetDatum(NULL);
}
