/*-------------------------------------------------------------------------
 *
 * stage.c
 *	  Winners -> rows of staging.
 *
 * Only here are values converted to the types of the target, a batch of winners
 * at a time; where a type's input function may raise, in one subtransaction a
 * batch.  A value that cannot be converted puts the record that it came from
 * into quarantine, and what belongs to it.
 *
 * Runs as the pipeline's owner in the caller's SPI connection, under the lock on
 * the staging table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "stage.h"
#include "value.h"

/* From this many columns on a row may be too long for a page. */
#define WIDE_ROW		100

/* Which columns do all, some, or none of the rows set? */
void
cdc_stage_survey(CdcStage *stage)
{
	CdcRank    *rank = stage->rank;
	int			n = rank->target->ncolumns;
	bool		revives = rank->target->mode == CDC_MODE_SOFT_DELETE;
	bool	   *unset = palloc0(n);

	stage->never_set = palloc(n);
	stage->partly_set = palloc0(n);
	for (int c = 0; c < n; c++)
	{
		CdcColumnSource source = rank->target->columns[c].source;

		/* a row that is revived gets the default of what it leaves out */
		stage->never_set[c] = cdc_column_is_field(source) && !revives;
	}
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];

		cdc_winners_fetch(rank, i);
		for (int c = 0; cdc_winner_has_row(w) && c < n; c++)
		{
			bool		unavailable = (w->tokens[c].flags & CDC_JSON_UNAVAILABLE) != 0;

			if (!cdc_column_is_field(rank->target->columns[c].source))
				unset[c] |= w->amends;
			else if (w->tokens[c].kind == CDC_JSON_MISSING || unavailable)
				unset[c] = true;
			else
				stage->never_set[c] = false;
			stage->needs_rows |= unavailable;
		}
	}
	for (int c = 0; c < n; c++)
		stage->partly_set[c] = unset[c] && !stage->never_set[c];
}

static Datum
op_datum(const CdcColumn *column, char op)
{
	char		text[2] = {op, '\0'};

	if (column && getBaseType(column->typid) == BPCHAROID)
		return DirectFunctionCall3(bpcharin, CStringGetDatum(text),
								   ObjectIdGetDatum(InvalidOid),
								   Int32GetDatum(column->typmod));
	return PointerGetDatum(cstring_to_text_with_len(text, 1));
}

/* A pseudo-field's value. */
static Datum
pseudo_value(const CdcWinner *w, const CdcColumn *column, CdcColumnSource source,
			 bool *isnull)
{
	*isnull = false;
	switch (source)
	{
		case CDC_COLUMN_OP:
			return op_datum(column, w->op);
		case CDC_COLUMN_TS_MS:
			*isnull = !w->has_ts_ms;
			return Int64GetDatum(w->ts_ms);
		case CDC_COLUMN_REFRESH_TIME:
			return TimestampGetDatum(w->refresh_time);
		case CDC_COLUMN_PARTITION:
			return Int64GetDatum(w->last.partition);
		case CDC_COLUMN_DELETED_AT:
			*isnull = !w->deleted;
			return TimestampGetDatum(w->ended);
		case CDC_COLUMN_VALID_FROM:
			return TimestampGetDatum(w->time);
		case CDC_COLUMN_VALID_TO:
			*isnull = TIMESTAMP_IS_NOEND(w->ended);
			return TimestampGetDatum(w->ended);
		case CDC_COLUMN_CURRENT:
			return BoolGetDatum(TIMESTAMP_IS_NOEND(w->ended));
		default:
			return Int64GetDatum(w->last.offset);
	}
}

/* What is to be done with a winner; 0: nothing. */
static char
winner_action(const CdcTarget *target, const CdcWinner *w)
{
	switch (target->mode)
	{
		case CDC_MODE_APPEND:
			return 'u';
		case CDC_MODE_HISTORY:
			return w->refused ? 0 : w->action;
		case CDC_MODE_SOFT_DELETE:
			if (!cdc_winner_has_row(w))
				return w->fresh ? 0 : 'd';	/* a truncate has marked it already */
			if (w->fresh || !w->marked || !w->last.synced)
				return w->fresh ? 'r' : 'u';
			return w->floor && w->floor->op == 'c' ? 'r' : 'm';
		default:
			return w->deleted ? 'd' : w->fresh ? 'r' : 'u';
	}
}

/*
 * Convert one winner into its staged row.  Returns false and fills *error for a
 * value that cannot be; stage->column tells which.  May raise (see
 * cdc_value_read).
 */
static bool
convert_winner(CdcStage *stage, const CdcWinner *w, Datum *values, bool *nulls,
			   char *action, CdcConvertError *error)
{
	const CdcTarget *target = stage->rank->target;
	Datum	   *service = values + target->ncolumns;
	bool	   *service_nulls = nulls + target->ncolumns;
	Datum	   *unset = palloc(sizeof(Datum) * target->ncolumns);
	int			nunset = 0;

	*action = winner_action(target, w);
	if (*action == 0)
		return true;
	memset(nulls, true, stage->width);
	for (int c = 0; c < target->ncolumns; c++)
	{
		const CdcColumn *column = &target->columns[c];
		const CdcToken *t = &w->tokens[c];

		stage->column = c;
		if (!cdc_column_is_field(column->source))
		{
			/* the row's last change is another */
			if (w->amends && *action == 'u')
				unset[nunset++] = Int16GetDatum(-column->attnum);
			else
				values[c] = pseudo_value(w, column, column->source, &nulls[c]);
			continue;
		}
		if (!cdc_winner_has_row(w) && column->key_no < 0)
			continue;
		if (t->flags & CDC_JSON_UNAVAILABLE)
			unset[nunset++] = Int16GetDatum(-column->attnum);
		else if (t->kind == CDC_JSON_MISSING)
		{
			if (!stage->never_set[c])
				unset[nunset++] = Int16GetDatum(column->attnum);
		}
		else if (!cdc_value_read(column, t, w->schema, c, w->connector,
								 &values[c], &nulls[c], error))
			return false;
		if (column->key_no >= 0 && nulls[c])
		{
			error->sqlerrcode = ERRCODE_NOT_NULL_VIOLATION;
			error->message = "the event has no value for the key column";
			return false;
		}
	}
	service[CDC_STAGING_OP] = pseudo_value(w, NULL, CDC_COLUMN_OP, &service_nulls[CDC_STAGING_OP]);
	service[CDC_STAGING_TS_MS] = pseudo_value(w, NULL, CDC_COLUMN_TS_MS, &service_nulls[CDC_STAGING_TS_MS]);
	service[CDC_STAGING_RECORD_RANK] = Int64GetDatum(1);
	service[CDC_STAGING_REFRESH_TIME] = TimestampGetDatum(w->refresh_time);
	service[CDC_STAGING_PARTITION] = Int64GetDatum(w->last.partition);
	service[CDC_STAGING_OFFSET] = Int64GetDatum(w->last.offset);
	service[CDC_STAGING_ACTION] = CharGetDatum(*action);
	service_nulls[CDC_STAGING_RECORD_RANK] = service_nulls[CDC_STAGING_REFRESH_TIME] =
		service_nulls[CDC_STAGING_PARTITION] = service_nulls[CDC_STAGING_OFFSET] =
		service_nulls[CDC_STAGING_ACTION] = false;
	if (nunset > 0)
	{
		service[CDC_STAGING_UNSET] = PointerGetDatum(construct_array(unset, nunset, INT2OID,
																	 2, true, TYPALIGN_SHORT));
		service_nulls[CDC_STAGING_UNSET] = false;
	}
	return true;
}

/*
 * Note one of the records that a winner is made of as bad, with the key of its
 * row.
 */
static CdcBadRecord *
bad_record(CdcRank *rank, CdcWinner *w, const CdcOrigin *at, const char *column,
		   int sqlerrcode, const char *message)
{
	CdcBadRecord *bad = cdc_rank_bad(rank, at, column, sqlerrcode, message);

	/* a delete that an update tells of is half of a key change */
	bad->at.old_key = at->old_key || (w->deleted && w->op == 'u');
	bad->has_key = cdc_rank_key_hash(rank, w->tokens, w->schema, w->connector,
									 &bad->key_hash);
	rank->kept_moves |= cdc_rank_keep_move(rank, w);
	return bad;
}

/* .. which waits for another. */
static void
blocked_record(CdcRank *rank, CdcWinner *w, const CdcOrigin *at, int64 blocked_by)
{
	bad_record(rank, w, at, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			   CDC_BLOCKED_MESSAGE)->blocked_by = blocked_by;
}

/* .. and so do the rows of snapshots that a version has made superfluous. */
static void
block_repeated(CdcRank *rank, CdcWinner *w, int64 blocked_by)
{
	if (rank->target->mode != CDC_MODE_HISTORY)
		return;
	for (const CdcRepeated *r = w->of_mode.repeated; r; r = r->next)
		blocked_record(rank, w, &r->at, blocked_by);
}

/* The newest of the changes that the winner's values are from. */
static const CdcOrigin *
newest_origin(const CdcWinner *w)
{
	const CdcOrigin *newest = &w->origins[0];

	for (int i = 1; i < w->norigins; i++)
		if (cdc_origin_older(newest, &w->origins[i]))
			newest = &w->origins[i];
	return newest;
}

/* Does the version only tell that a truncate has ended the one before? */
static bool
is_truncate(const CdcRank *rank, const CdcWinner *w)
{
	return w->op == 't' && rank->target->mode == CDC_MODE_HISTORY;
}

/*
 * A winner goes to quarantine, with all the records that it is made of: one is
 * blamed, and the others belong to it.
 */
static CdcBadRecord *
refuse(CdcRank *rank, CdcWinner *w, const CdcOrigin *blamed, const char *column,
	   const CdcConvertError *error)
{
	bool		last_is_listed = false;

	w->refused = true;
	/* that a truncate has ended the row is no fault of it */
	if (w->last.op == 't' && w->norigins > 0)
	{
		last_is_listed = true;
		if (blamed == &w->last)
			blamed = newest_origin(w);
	}
	for (int i = 0; i < w->norigins; i++)
	{
		const CdcOrigin *at = &w->origins[i];

		last_is_listed |= cdc_origin_equal(at, &w->last);
		if (!cdc_origin_equal(at, blamed))
			blocked_record(rank, w, at, blamed->offset);
	}
	if (!last_is_listed && !cdc_origin_equal(&w->last, blamed))
		blocked_record(rank, w, &w->last, blamed->offset);
	block_repeated(rank, w, blamed->offset);
	/* the versions of a key go together, as each ends the one before */
	for (CdcWinner *v = w->older; v && !v->refused; v = v->older)
	{
		v->refused = true;
		if (!is_truncate(rank, v))
			blocked_record(rank, v, &v->last, blamed->offset);
		block_repeated(rank, v, blamed->offset);
	}
	for (CdcWinner *v = w->newer; v && !v->refused; v = v->newer)
	{
		v->refused = true;
		if (!is_truncate(rank, v))
			blocked_record(rank, v, &v->last, blamed->offset);
		block_repeated(rank, v, blamed->offset);
	}
	return bad_record(rank, w, blamed, column, error->sqlerrcode, error->message);
}

/* Of a refused winner at stage->at, apply the delete that preceded it, if any. */
static void
bury_refused(CdcStage *stage, CdcWinner *w)
{
	CdcConvertError error;
	int			slot = stage->at;

	stage->batch_actions[slot] = 0;
	if (!w->fresh || stage->rank->target->mode == CDC_MODE_HISTORY)
		return;
	w->deleted = true;
	if (stage->rank->target->mode == CDC_MODE_SOFT_DELETE)
	{
		w->marked = w->fresh = false;
		w->op = 'd';
	}
	if (!convert_winner(stage, w, stage->values + slot * stage->width,
						stage->nulls + slot * stage->width,
						&stage->batch_actions[slot], &error))
		stage->batch_actions[slot] = 0;
}

/*
 * Is the key to be ranked again without the record that is blamed, as the window
 * has other changes of it: earlier ones under it, or, of a row that is marked, its
 * delete?  Of versions it is those that follow a truncate, which is the end of the
 * record.
 */
static bool
hides_others(const CdcRank *rank, const CdcWinner *w, const CdcOrigin *blamed)
{
	if (blamed->synced || blamed->old_key || (w->deleted && w->op == 'u'))
		return false;
	if (rank->target->mode == CDC_MODE_HISTORY)
		return cdc_truncate_buries(rank, blamed);
	return (w->marked && !cdc_origin_equal(blamed, &w->last)) ||
		blamed->ordinal > w->first;
}

/*
 * Leave out the record that is blamed when the window is ranked again.  Later
 * changes that lean on it wait behind it, which shows by then; but not where
 * another partition may bring them first.
 */
static void
leave_out(CdcStage *stage, const CdcWinner *w, const CdcOrigin *blamed,
		  const CdcConvertError *error, const char *column)
{
	cdc_refusals_add(stage->refusals, blamed, column, error->sqlerrcode, error->message, -1);
	for (int i = 0; w->mixed && i < w->norigins; i++)
	{
		const CdcOrigin *at = &w->origins[i];

		if (!at->synced && cdc_origin_older(blamed, at) &&
			!(w->deleted && cdc_origin_equal(at, &w->last)))
			cdc_refusals_add(stage->refusals, at, NULL,
							 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							 CDC_BLOCKED_MESSAGE, blamed->offset);
	}
}

/*
 * A winner that cannot be converted goes to quarantine; the record is blamed
 * that the value came from, and the later ones of the key wait behind it.  If a
 * delete preceded it in the window, that much is applied.
 */
static void
refuse_winner(CdcStage *stage, CdcWinner *w, const CdcConvertError *error)
{
	const CdcColumn *column = &stage->rank->target->columns[stage->column];
	const CdcOrigin *origin = &w->last;

	if (w->norigins > 0)
		origin = &w->origins[w->tokens[stage->column].origin];
	if (stage->refusals && column->key_no < 0 && hides_others(stage->rank, w, origin))
		leave_out(stage, w, origin, error, column->name);
	refuse(stage->rank, w, origin, column->name, error);
	if (column->key_no < 0)
		bury_refused(stage, w);
	else
		stage->batch_actions[stage->at] = 0;
}

/* Convert the batch from stage->at on; may raise for the winner at stage->at. */
static bool
convert_batch(void *arg)
{
	CdcStage	   *stage = arg;
	CdcConvertError error;

	for (; stage->at < stage->nbatch; stage->at++)
	{
		CdcWinner  *w = stage->batch[stage->at];

		if (!convert_winner(stage, w, stage->values + stage->at * stage->width,
							stage->nulls + stage->at * stage->width,
							&stage->batch_actions[stage->at], &error))
			refuse_winner(stage, w, &error);
	}
	return true;
}

/* Rows first to last of the batch on their way to staging. */
typedef struct Put
{
	CdcStage	   *stage;
	CdcStagingWriter *writer;
	int			first;
	int			last;
} Put;

static bool
put_rows(void *arg)
{
	Put		   *put = arg;
	CdcStage	   *stage = put->stage;

	for (int i = put->first; i < put->last; i++)
		if (stage->batch_actions[i] != 0)
			cdc_staging_put(put->writer, stage->values + i * stage->width,
							stage->nulls + i * stage->width);
	cdc_staging_flush(put->writer);
	return true;
}

/*
 * Write the batch.  A row of that many columns can be too long for a page; it
 * would be in the target too, and goes to quarantine.
 */
static void
put_batch(CdcStage *stage, CdcStagingWriter *writer)
{
	Put			put = {stage, writer, 0, stage->nbatch};
	CdcConvertError error;

	if (stage->width < WIDE_ROW)
	{
		put_rows(&put);
		return;
	}
	if (cdc_try(put_rows, &put, &error))
		return;
	cdc_staging_forget(writer);
	for (int i = 0; i < stage->nbatch; i++)
	{
		put.first = i;
		put.last = i + 1;
		if (cdc_try(put_rows, &put, &error))
			continue;
		cdc_staging_forget(writer);
		stage->at = i;
		refuse(stage->rank, stage->batch[i], &stage->batch[i]->last, NULL, &error);
		bury_refused(stage, stage->batch[i]);
		put_rows(&put);
	}
}

/* Convert and stage a batch of winners. */
static void
stage_batch(CdcStage *stage, CdcStagingWriter *writer, bool may_raise)
{
	CdcConvertError error;

	stage->at = 0;
	if (!may_raise)
		convert_batch(stage);
	else
		while (!cdc_try(convert_batch, stage, &error))
		{
			refuse_winner(stage, stage->batch[stage->at], &error);
			stage->at++;
		}
	put_batch(stage, writer);
	for (int i = 0; i < stage->nbatch; i++)
	{
		if (stage->batch_actions[i] == 0)
			continue;
		stage->rows[stage->nrows] = stage->batch[i];
		stage->actions[stage->nrows++] = stage->batch_actions[i];
	}
	stage->nbatch = 0;
}

/* CdcStage the window's winners; returns the TIDs of the rows. */
ItemPointerData *
cdc_stage_winners(CdcStage *stage)
{
	CdcRank    *rank = stage->rank;
	const CdcTarget *target = rank->target;
	MemoryContext batch_context = AllocSetContextCreate(CurrentMemoryContext,
														"cdcsync batch",
														ALLOCSET_DEFAULT_SIZES);
	CdcStagingWriter *writer = cdc_staging_begin(stage->pipeline->staging, target);
	bool		may_raise = false;

	for (int c = 0; c < target->ncolumns; c++)
		may_raise |= target->columns[c].may_raise;
	stage->width = target->ncolumns + CDC_STAGING_NCOLUMNS;
	stage->values = palloc(sizeof(Datum) * stage->width * CDC_STAGING_BATCH);
	stage->nulls = palloc(sizeof(bool) * stage->width * CDC_STAGING_BATCH);
	stage->batch = palloc(sizeof(CdcWinner *) * CDC_STAGING_BATCH);
	stage->batch_actions = palloc(CDC_STAGING_BATCH);
	stage->rows = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(CdcWinner *) * (rank->nwinners + 1));
	stage->actions = MemoryContextAllocHuge(CurrentMemoryContext, rank->nwinners + 1);
	for (int64 i = 0; i <= rank->nwinners; i++)
	{
		if (stage->nbatch == CDC_STAGING_BATCH || i == rank->nwinners)
		{
			MemoryContext old = MemoryContextSwitchTo(batch_context);

			CHECK_FOR_INTERRUPTS();
			stage_batch(stage, writer, may_raise);
			MemoryContextSwitchTo(old);
			MemoryContextReset(batch_context);
		}
		cdc_winners_fetch(rank, i);
		if (i < rank->nwinners && rank->winners[i]->tokens != NULL)
			stage->batch[stage->nbatch++] = rank->winners[i];
	}
	MemoryContextDelete(batch_context);
	for (int64 i = 0; target->mode == CDC_MODE_HISTORY && i < stage->nrows; i++)
		if (stage->rows[i]->refused)
			stage->actions[i] = 0;
	return cdc_staging_end(writer);
}

void
cdc_stage_pseudos(const CdcTarget *target, const CdcWinner *w, Datum *values, bool *nulls)
{
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (!cdc_column_is_field(c->source))
			values[i] = pseudo_value(w, c, c->source, &nulls[i]);
	}
}

/*
 * Is it the row that the target refuses?  It may only wait for other rows, or lack
 * one, which it would not without its last change either.
 */
static bool
is_final(const CdcConvertError *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_FOREIGN_KEY_VIOLATION:
		case ERRCODE_UNIQUE_VIOLATION:
		case ERRCODE_EXCLUSION_VIOLATION:
			return false;
		case ERRCODE_NOT_NULL_VIOLATION:
			return error->column != NULL;
		default:
			return true;
	}
}

/* The columns that a CHECK constraint of the target tells of, or NULL. */
static Bitmapset *
check_columns(Oid relid, const char *constraint)
{
	Oid			oid = constraint ? get_relation_constraint_oid(relid, constraint, true) : InvalidOid;
	HeapTuple	tup = OidIsValid(oid) ? SearchSysCache1(CONSTROID, ObjectIdGetDatum(oid)) : NULL;
	Bitmapset  *columns = NULL;
	bool		isnull;
	Datum		d;

	if (!HeapTupleIsValid(tup))
		return NULL;
	d = SysCacheGetAttr(CONSTROID, tup, Anum_pg_constraint_conkey, &isnull);
	if (((Form_pg_constraint) GETSTRUCT(tup))->contype == CONSTRAINT_CHECK && !isnull)
	{
		ArrayType  *keys = DatumGetArrayTypeP(d);

		for (int i = 0; i < ARR_DIMS(keys)[0]; i++)
			columns = bms_add_member(columns, ((int16 *) ARR_DATA_PTR(keys))[i]);
	}
	ReleaseSysCache(tup);
	return columns;
}

/* Of the changes that these columns come from (NULL: of all), the newest. */
static const CdcOrigin *
newest_of_columns(const CdcTarget *target, const CdcWinner *w, const char *column,
				  const Bitmapset *columns)
{
	const CdcOrigin *newest = NULL;

	for (int c = 0; c < target->ncolumns; c++)
	{
		const CdcToken *t = &w->tokens[c];
		const CdcOrigin *at = &w->origins[t->origin];

		if (target->columns[c].key_no >= 0 || t->kind == CDC_JSON_MISSING ||
			(t->flags & CDC_JSON_UNAVAILABLE) ||
			(column && strcmp(column, target->columns[c].name) != 0) ||
			(columns && !bms_is_member(target->columns[c].attnum, columns)))
			continue;
		if (newest == NULL || at->ordinal > newest->ordinal)
			newest = at;
	}
	return newest;
}

/* The first change of the window that is on top of others. */
static const CdcOrigin *
oldest_origin(const CdcWinner *w)
{
	const CdcOrigin *oldest = &w->last;

	for (int i = 0; i < w->norigins; i++)
		if (w->origins[i].ordinal > w->first && w->origins[i].ordinal < oldest->ordinal)
			oldest = &w->origins[i];
	return oldest;
}

/*
 * Which of the changes that a row is made of is it that the target refuses?  Where
 * the error names no column the last one is blamed first, and if that was not all,
 * then all but the row that they change: those that are not to blame wait with it.
 */
static const CdcOrigin *
blame(const CdcStage *stage, const CdcWinner *w, const CdcConvertError *error)
{
	const CdcTarget *target = stage->rank->target;
	const CdcOrigin *at = NULL;
	Bitmapset  *columns;

	if (w->norigins == 0 || !cdc_winner_has_row(w))
		return &w->last;
	columns = check_columns(target->relid, error->constraint);
	if (error->column || columns)
		at = newest_of_columns(target, w, error->column, columns);
	if (at == NULL && stage->round > 0)
		at = oldest_origin(w);
	if (at == NULL && w->marked)
		at = newest_of_columns(target, w, NULL, NULL);
	return at ? at : &w->last;
}

void
cdc_stage_refused(void *arg, int64 row, const CdcConvertError *error)
{
	CdcStage	   *stage = arg;
	CdcWinner  *w = stage->rows[row];
	const CdcOrigin *blamed;

	if (is_truncate(stage->rank, w))
		w = w->newer ? w->newer : w->older;
	blamed = blame(stage, w, error);
	/* a delete that came before it is an earlier change, too */
	if (stage->heeds_target && is_final(error) &&
		(hides_others(stage->rank, w, blamed) ||
		 (stage->rank->target->mode != CDC_MODE_HISTORY && w->fresh && !w->deleted &&
		  !blamed->synced)))
		leave_out(stage, w, blamed, error, error->column);
	refuse(stage->rank, w, &w->last,
		   error->column ? MemoryContextStrdup(stage->rank->context, error->column) : NULL,
		   error)->refused = true;
}

/* Does the change leave out values that others of the window do not? */
static bool
is_partial(const CdcStage *stage, const CdcWinner *w)
{
	for (int c = 0; c < stage->rank->target->ncolumns; c++)
		if ((w->tokens[c].flags & CDC_JSON_UNAVAILABLE) != 0 ||
			(stage->partly_set[c] && w->tokens[c].kind == CDC_JSON_MISSING))
			return true;
	return false;
}

/*
 * Must the winner wait behind these records of its key?  A column that nothing
 * in the window sets may be one that the source does not have: then the records
 * themselves tell whether it does.
 */
static bool
must_wait(const CdcStage *stage, const CdcWinner *w, const CdcQuarantined *records, int64 n)
{
	bool		missing = false;

	if (stage->rank->target->mode == CDC_MODE_HISTORY)
		return true;			/* each version counts */
	if (!cdc_winner_has_row(w) || w->fresh)
		return false;
	if (is_partial(stage, w))
		return true;
	for (int c = 0; c < stage->rank->target->ncolumns; c++)
		missing |= stage->never_set[c] && w->tokens[c].kind == CDC_JSON_MISSING;
	return missing && cdc_quarantine_sets_more(stage->pipeline->name, stage->rank,
											   records, n, w);
}

/* A winner waits behind a quarantined record, with all that it is made of. */
static void
wait_behind(CdcRank *rank, CdcWinner *w, int64 blocked_by)
{
	w->refused = true;
	for (int i = 0; i < w->norigins; i++)
		if (!cdc_origin_equal(&w->origins[i], &w->last))
			blocked_record(rank, w, &w->origins[i], blocked_by);
	blocked_record(rank, w, &w->last, blocked_by);
	block_repeated(rank, w, blocked_by);
}

/*
 * Changes that leave values out wait behind a quarantined record of their key,
 * whose values they would need; all others supersede it, if they are applied
 * (cdc_stage_supersede).
 */
void
cdc_stage_heed_quarantine(CdcStage *stage)
{
	CdcRank    *rank = stage->rank;
	int64		nfound;
	CdcQuarantined *found = cdc_quarantine_find(stage->pipeline, rank, &nfound);
	int64		at = 0;
	int64		left = 0;

	stage->superseded = found;
	stage->superseding = MemoryContextAllocHuge(CurrentMemoryContext,
												sizeof(CdcWinner *) * (nfound + 1));
	for (int64 i = 0; i < rank->nwinners; i++)
	{
		CdcWinner  *w = rank->winners[i];
		int64		first = at;

		while (at < nfound && found[at].winner == i)
			at++;
		if (w->tokens && at > first && must_wait(stage, w, found + first, at - first))
		{
			/* the delete of a row waits for nothing: it is marked as it is */
			if (!w->marked)
			{
				wait_behind(rank, w, found[at - 1].head);
				continue;
			}
			w->marked = false;
		}
		for (int64 j = first; j < at; j++)
		{
			found[stage->nsuperseded] = found[j];
			stage->superseding[stage->nsuperseded++] = w;
		}
		rank->winners[left++] = w;
	}
	rank->nwinners = left;
}

void
cdc_stage_supersede(CdcStage *stage)
{
	int64		n = 0;

	for (int64 i = 0; i < stage->nsuperseded; i++)
		if (!stage->superseding[i]->refused)
			stage->superseded[n++] = stage->superseded[i];
	cdc_quarantine_supersede(stage->pipeline->name, n, stage->superseded);
}
