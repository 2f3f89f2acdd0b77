/*-------------------------------------------------------------------------
 *
 * value.c
 *	  One value of a row: token -> Datum of its column; and how an error in the
 *	  data is kept apart from an error of the system.
 *
 * Runs in the caller's transaction; subtransactions are used where a type's
 * input function, or SQL on user objects, may raise.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "value.h"

/* Is this the SQLSTATE of a fault of the data, not of the system? */
static bool
error_in_data(int sqlerrcode)
{
	int			class = ERRCODE_TO_CATEGORY(sqlerrcode);

	/* 54000: a value too long for an index, a row too long for a page */
	return class == ERRCODE_DATA_EXCEPTION ||
		class == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

bool
cdc_try(void (*func) (void *arg), void *arg, CdcConvertError *error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		func(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!error_in_data(edata->sqlerrcode))
			ReThrowError(edata);
		error->sqlerrcode = edata->sqlerrcode;
		error->message = pstrdup(edata->message ? edata->message : "error without a message");
		error->column = edata->column_name ? pstrdup(edata->column_name) : NULL;
		FreeErrorData(edata);
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return ok;
}

bool
cdc_tentatively(bool (*func) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool keep = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		keep = func(arg);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		/* one of ours must never be taken for a savepoint of the user's */
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(edata);
	}
	PG_END_TRY();
	if (keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return keep;
}

static Datum
read_pgtext(const CdcColumn *column, const CdcToken *token)
{
	Oid			input;
	Oid			ioparam;
	char	   *text = pnstrdup(token->text, token->len);

	getTypeInputInfo(column->typid, &input, &ioparam);
	return OidInputFunctionCall(input, text, ioparam, column->typmod);
}

bool
cdc_value_read(const CdcColumn *column, const CdcToken *token,
			   const CdcRowSchema *schema, int at, CdcConnector connector,
			   Datum *value, bool *isnull, CdcConvertError *error)
{
	if (token->kind == CDC_TOKEN_PGTEXT)
	{
		*value = read_pgtext(column, token);
		*isnull = false;
		return true;
	}
	return cdc_convert(column->converter, token,
					   schema ? schema->by_column[at] : NULL, connector,
					   value, isnull, error);
}

typedef struct ReadCall
{
	const CdcColumn *column;
	const CdcToken *token;
	const CdcRowSchema *schema;
	int			at;
	CdcConnector connector;
	Datum	   *value;
	bool	   *isnull;
	CdcConvertError *error;
	bool		ok;
} ReadCall;

static void
call_read(void *arg)
{
	ReadCall   *c = arg;

	c->ok = cdc_value_read(c->column, c->token, c->schema, c->at, c->connector,
						   c->value, c->isnull, c->error);
}

bool
cdc_value_convert(const CdcColumn *column, const CdcToken *token,
				  const CdcRowSchema *schema, int at, CdcConnector connector,
				  Datum *value, bool *isnull, CdcConvertError *error)
{
	ReadCall	call = {column, token, schema, at, connector, value, isnull, error, false};

	if (!column->may_raise)
		call_read(&call);
	else if (!cdc_try(call_read, &call, error))
		return false;
	return call.ok;
}

const CdcSchemaField *
cdc_value_schema_field(const CdcSchema *schema, const CdcField *field)
{
	const CdcSchemaField *folded = NULL;

	for (int i = 0; i < schema->nfields; i++)
	{
		const CdcToken *name = &schema->fields[i].name;

		if (name->len != field->len)
			continue;
		if (memcmp(name->text, field->name, name->len) == 0)
			return &schema->fields[i];
		if (field->fold && folded == NULL &&
			pg_strncasecmp(name->text, field->name, name->len) == 0)
			folded = &schema->fields[i];
	}
	return folded;
}
