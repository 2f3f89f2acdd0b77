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

#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "attempt.h"
#include "value.h"

/* Is it a fault of the data, not of the system? */
static bool
is_in_data(const ErrorData *edata)
{
	int			class = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	/* a row that a policy of row-level security does not let in */
	if (edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE &&
		edata->funcname && strcmp(edata->funcname, "ExecWithCheckOptions") == 0)
		return true;
	/*
	 * 54000: a value too long for an index, a row too long for a page.  RAISE
	 * and ASSERT of a trigger refuse what it sees.
	 */
	return class == ERRCODE_DATA_EXCEPTION ||
		class == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		edata->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		edata->sqlerrcode == ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION ||
		edata->sqlerrcode == ERRCODE_WITH_CHECK_OPTION_VIOLATION ||
		edata->sqlerrcode == ERRCODE_RAISE_EXCEPTION ||
		edata->sqlerrcode == ERRCODE_ASSERT_FAILURE;
}

bool
cdc_try(bool (*func) (void *arg), void *arg, CdcConvertError *error)
{
	ErrorData  *edata;

	if (cdc_attempt(func, arg, is_in_data, &edata))
		return true;
	if (edata)
	{
		error->sqlerrcode = edata->sqlerrcode;
		error->message = pstrdup(edata->message ? edata->message : "error without a message");
		error->column = edata->column_name ? pstrdup(edata->column_name) : NULL;
		error->constraint = edata->constraint_name ? pstrdup(edata->constraint_name) : NULL;
		FreeErrorData(edata);
	}
	return false;
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
} ReadCall;

static bool
call_read(void *arg)
{
	ReadCall   *c = arg;

	return cdc_value_read(c->column, c->token, c->schema, c->at, c->connector,
						   c->value, c->isnull, c->error);
}

bool
cdc_value_convert(const CdcColumn *column, const CdcToken *token,
				  const CdcRowSchema *schema, int at, CdcConnector connector,
				  Datum *value, bool *isnull, CdcConvertError *error)
{
	ReadCall	call = {column, token, schema, at, connector, value, isnull, error};

	if (!column->may_raise)
		return call_read(&call);
	return cdc_try(call_read, &call, error);
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
