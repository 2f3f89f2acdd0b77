/*-------------------------------------------------------------------------
 *
 * admit.c
 *	  Whether a decoded record is one for the window: its shape, and the table
 *	  it comes from.
 *
 * Records that say nothing of a row of the pipeline's table are passed over, and
 * counted: those of other tables by the filter, and what a connector writes
 * besides changes.  Records that nobody can tell the meaning of are bad.
 *
 * A record that is no envelope may be a row.  Unless the option "shape" says so,
 * it has to look like one of the target's: by the metadata that Debezium's
 * flattening transform adds, or by fields that the target has columns for, with
 * its key, and that the same as in the record's own key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "window.h"

/* A bad record for which there is no place in the target. */
static CdcAdmission
refuse(CdcRank *rank, CdcEvent *rec, const char *column, int sqlerrcode,
	   const char *message)
{
	rank->ordinal++;
	cdc_event_bad(rank, rec, column, sqlerrcode, message);
	return CDC_ADMIT_NOT;
}

/* Does the row have a field that the target has a column for? */
static bool
shares_field(const CdcRank *rank, const CdcToken *row)
{
	for (int i = 0; i < rank->target->ncolumns; i++)
	{
		const CdcColumn *c = &rank->target->columns[i];

		if (c->source == CDC_COLUMN_FIELD &&
			row[c->index].kind != CDC_JSON_MISSING)
			return true;
	}
	return false;
}

/*
 * May the row's key be that of the record?  Only a key with fields of its own
 * says anything for certain.
 */
static bool
agrees_with_key(CdcRank *rank, const CdcEvent *rec, const CdcToken *row)
{
	CdcRankState *st = rank->state;
	const CdcBytes *bytes = cdc_event_key(rec);
	CdcDecodeError error;

	if (bytes->data == NULL || bytes->len == 0 || bytes->data[0] != '{' ||
		!cdc_decode_key(st->decoder, bytes->data, bytes->len, st->scalar_field,
						st->key_fields, &error))
		return true;
	cdc_event_spread(rank, st->key_fields, rec->change.source, st->old_tokens);
	cdc_event_spread(rank, row, rec->change.source, st->tokens);
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];

		/* what either of them lacks cannot differ */
		if (!cdc_token_is_set(&st->old_tokens[at]) ||
			!cdc_token_is_set(&st->tokens[at]))
			return true;
	}
	return cdc_winner_same_key(rank, st->old_tokens, st->tokens);
}

/* A record that is a row only if it looks like one of the target's. */
static CdcAdmission
admit_row(CdcRank *rank, CdcEvent *rec)
{
	const CdcToken *row = rec->change.op == 'd' ? rec->change.before :
		rec->change.after;

	switch (cdc_intake_read_as(rank->intake))
	{
		case CDC_READ_FLAT:
		case CDC_READ_PLAIN:
			return CDC_ADMIT;
		case CDC_READ_AUTO:
			break;
		case CDC_READ_ENVELOPE:
			return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
						  "the record is no Debezium change event");
	}
	if (rec->change.marked)
		return CDC_ADMIT;
	if (!shares_field(rank, row))
		return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the record is no Debezium change event, and it has no field that the target has a column for");
	if (!agrees_with_key(rank, rec, row))
		return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the record is no Debezium change event, and its key is not that of the row in it: the option \"shape\" can say that it is one all the same");
	return CDC_ADMIT;
}

/* A change of a row: of which table? */
static CdcAdmission
admit_change(CdcRank *rank, CdcEvent *rec)
{
	CdcVerdict	verdict = cdc_intake_judge(rank->intake, &rec->change);

	if (verdict == CDC_VERDICT_OURS)
		return rec->change.shape == CDC_SHAPE_ROW ? admit_row(rank, rec) :
			CDC_ADMIT;
	/* the tombstone that comes next is as little ours */
	if (rec->change.op == 'd')
		cdc_event_note_delete(rec, false);
	if (verdict == CDC_VERDICT_OTHER)
		return CDC_ADMIT_PASS;
	return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
				  cdc_intake_reason(rank->intake, verdict, &rec->change));
}

CdcAdmission
cdc_event_admit(CdcRank *rank, CdcEvent *rec)
{
	switch (rec->change.shape)
	{
		case CDC_SHAPE_CHANGE:
			if (rec->change.op == 'm')
				return CDC_ADMIT_PASS;
			return admit_change(rank, rec);
		case CDC_SHAPE_ROW:
			return admit_change(rank, rec);
		case CDC_SHAPE_TOMBSTONE:
			return CDC_ADMIT;
		case CDC_SHAPE_FOREIGN:
			return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
						  psprintf("the record is in the format of %s, which is not decoded",
								   rec->change.format));
		case CDC_SHAPE_OTHER:
			return refuse(rank, rec, NULL, ERRCODE_INVALID_PARAMETER_VALUE,
						  "the record is no Debezium change event and no JSON object: the option \"shape\" \"plain\" takes it as a value of $row");
		default:
			return CDC_ADMIT_PASS;	/* heartbeat and the like */
	}
}

void
cdc_event_key_from_record(CdcRank *rank, const CdcEvent *rec)
{
	CdcRankState *st = rank->state;
	const CdcBytes *bytes = cdc_event_key(rec);
	CdcDecodeError error;

	if (bytes->data == NULL ||
		!cdc_decode_key(st->decoder, bytes->data, bytes->len, st->scalar_field,
						st->key_fields, &error))
		return;
	for (int k = 0; k < rank->target->nkeys; k++)
	{
		int			at = rank->target->keys[k];
		const CdcColumn *c = &rank->target->columns[at];

		if (c->source == CDC_COLUMN_FIELD &&
			st->tokens[at].kind == CDC_JSON_MISSING)
			st->tokens[at] = st->key_fields[c->index];
	}
}
