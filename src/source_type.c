/*-------------------------------------------------------------------------
 *
 * source_type.c
 *	  A column's declaration at the source -> type and default here.
 *
 * Schema-change events tell types by the source's own names.  Where a name is
 * not in the tables below, nothing is guessed.
 *
 * Pure but for the input functions of types, which run in a subtransaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "source_type.h"
#include "value.h"

typedef enum TypeKind
{
	TYPE_PLAIN,
	TYPE_LENGTH,				/* (n), if there is one */
	TYPE_DECIMAL,				/* (precision, scale), if there are */
	TYPE_LENGTH_TIME,			/* the length is the precision */
	TYPE_SCALE_TIME				/* the scale is */
} TypeKind;

typedef struct SourceType
{
	const char *name;
	const char *type;
	TypeKind	kind;
} SourceType;

static const SourceType mysql_types[] = {
	{"TINYINT", "smallint"}, {"TINYINT UNSIGNED", "smallint"},
	{"SMALLINT", "smallint"}, {"SMALLINT UNSIGNED", "integer"},
	{"MEDIUMINT", "integer"}, {"MEDIUMINT UNSIGNED", "integer"},
	{"INT", "integer"}, {"INTEGER", "integer"}, {"INT UNSIGNED", "bigint"},
	{"INTEGER UNSIGNED", "bigint"}, {"BIGINT", "bigint"},
	{"BIGINT UNSIGNED", "numeric(20,0)"},
	{"FLOAT", "real"}, {"DOUBLE", "double precision"},
	{"DECIMAL", "numeric", TYPE_DECIMAL}, {"NUMERIC", "numeric", TYPE_DECIMAL},
	{"CHAR", "character varying", TYPE_LENGTH},
	{"VARCHAR", "character varying", TYPE_LENGTH},
	{"TINYTEXT", "text"}, {"TEXT", "text"}, {"MEDIUMTEXT", "text"},
	{"LONGTEXT", "text"}, {"ENUM", "text"}, {"SET", "text"}, {"JSON", "jsonb"},
	{"BINARY", "bytea"}, {"VARBINARY", "bytea"}, {"TINYBLOB", "bytea"},
	{"BLOB", "bytea"}, {"MEDIUMBLOB", "bytea"}, {"LONGBLOB", "bytea"},
	{"DATE", "date"}, {"TIME", "interval"}, {"YEAR", "integer"},
	{"DATETIME", "timestamp", TYPE_LENGTH_TIME},
	{"TIMESTAMP", "timestamp with time zone"}, {"UUID", "uuid"},
	{NULL}
};

static const SourceType sqlserver_types[] = {
	{"BIT", "boolean"}, {"TINYINT", "smallint"}, {"SMALLINT", "smallint"},
	{"INT", "integer"}, {"BIGINT", "bigint"}, {"REAL", "real"},
	{"FLOAT", "double precision"}, {"DECIMAL", "numeric", TYPE_DECIMAL},
	{"NUMERIC", "numeric", TYPE_DECIMAL}, {"MONEY", "numeric(19,4)"},
	{"SMALLMONEY", "numeric(10,4)"}, {"CHAR", "character varying", TYPE_LENGTH},
	{"VARCHAR", "character varying", TYPE_LENGTH},
	{"NCHAR", "character varying", TYPE_LENGTH},
	{"NVARCHAR", "character varying", TYPE_LENGTH}, {"TEXT", "text"},
	{"NTEXT", "text"}, {"XML", "text"}, {"BINARY", "bytea"},
	{"VARBINARY", "bytea"}, {"IMAGE", "bytea"}, {"DATE", "date"},
	{"TIME", "time"}, {"DATETIME", "timestamp(3)"},
	{"SMALLDATETIME", "timestamp(0)"}, {"DATETIME2", "timestamp", TYPE_SCALE_TIME},
	{"DATETIMEOFFSET", "timestamp with time zone"}, {"UNIQUEIDENTIFIER", "uuid"},
	{NULL}
};

static const SourceType oracle_types[] = {
	{"NUMBER", "numeric", TYPE_DECIMAL}, {"NUMERIC", "numeric", TYPE_DECIMAL},
	{"DECIMAL", "numeric", TYPE_DECIMAL}, {"FLOAT", "numeric"},
	{"BINARY_FLOAT", "real"}, {"BINARY_DOUBLE", "double precision"},
	{"VARCHAR2", "character varying", TYPE_LENGTH},
	{"VARCHAR", "character varying", TYPE_LENGTH},
	{"NVARCHAR2", "character varying", TYPE_LENGTH},
	{"CHAR", "character varying", TYPE_LENGTH},
	{"NCHAR", "character varying", TYPE_LENGTH}, {"CLOB", "text"},
	{"NCLOB", "text"}, {"RAW", "bytea"}, {"BLOB", "bytea"},
	{"DATE", "timestamp(0)"}, {"TIMESTAMP", "timestamp"},
	{NULL}
};

static const SourceType *
find_type(CdcConnector connector, const char *name)
{
	const SourceType *type;

	switch (connector)
	{
		case CDC_CONNECTOR_MYSQL:
			type = mysql_types;
			break;
		case CDC_CONNECTOR_SQLSERVER:
			type = sqlserver_types;
			break;
		case CDC_CONNECTOR_ORACLE:
			type = oracle_types;
			break;
		default:
			return NULL;
	}
	for (; type->name; type++)
		if (pg_strcasecmp(type->name, name) == 0)
			return type;
	return NULL;
}

char *
cdc_source_type(CdcConnector connector, const char *name, int length, int scale)
{
	/* "TIMESTAMP(6)" and the like: what is in parentheses comes by itself */
	char	   *plain = pnstrdup(name, strcspn(name, "("));
	const SourceType *type = find_type(connector, plain);

	if (connector == CDC_CONNECTOR_MYSQL && strcmp(plain, "BIT") == 0)
		return length > 1 ? psprintf("bit(%d)", length) : pstrdup("boolean");
	if (type == NULL)
		return NULL;
	switch (type->kind)
	{
		case TYPE_LENGTH:
			/* 2147483647 and the like are SQL Server's (max) */
			if (length < 1 || length > 10485760)
				return pstrdup("text");
			return psprintf("%s(%d)", type->type, length);
		case TYPE_DECIMAL:
			if (length < 1 || length > 1000)
				break;
			scale = Max(scale, 0);
			return scale <= length ? psprintf("numeric(%d,%d)", length, scale) :
				pstrdup("numeric");
		case TYPE_LENGTH_TIME:
			return psprintf("%s(%d)", type->type, Max(Min(length, 6), 0));
		case TYPE_SCALE_TIME:
			return scale >= 0 && scale < 6 ? psprintf("%s(%d)", type->type, scale) :
				pstrdup(type->type);
		case TYPE_PLAIN:
			break;
	}
	return pstrdup(type->type);
}

typedef struct InputCall
{
	char	   *text;
	const char *type;
} InputCall;

/* Text that the type reads, as it prints it. */
static bool
read_and_print(void *arg)
{
	InputCall  *call = arg;
	Oid			typid;
	int32		typmod;
	Oid			input;
	Oid			output;
	Oid			ioparam;
	bool		varlena;

	parseTypeString(call->type, &typid, &typmod, false);
	getTypeInputInfo(typid, &input, &ioparam);
	getTypeOutputInfo(typid, &output, &varlena);
	call->text = OidOutputFunctionCall(output, OidInputFunctionCall(input, call->text,
																	ioparam, typmod));
	return true;
}

/* Without the parentheses that SQL Server puts around everything. */
static char *
strip_parentheses(char *text)
{
	size_t		len = strlen(text);

	while (len >= 2 && text[0] == '(' && text[len - 1] == ')')
	{
		text[--len] = '\0';
		text++;
		len--;
	}
	return text;
}

/* A literal of SQL: 'text', N'text' or a number; NULL for anything else. */
static char *
read_literal(char *text)
{
	char	   *to;
	char	   *result;
	size_t		len;

	text = strip_parentheses(text);
	if ((text[0] == 'N' || text[0] == 'n') && text[1] == '\'')
		text++;
	len = strlen(text);
	if (text[0] != '\'')
		return strspn(text, "+-.0123456789eE") == len && len > 0 ? text : NULL;
	if (len < 2 || text[len - 1] != '\'')
		return NULL;
	result = to = palloc(len);
	for (const char *from = text + 1; from < text + len - 1; from++)
	{
		if (*from == '\'' && *++from != '\'')
			return NULL;		/* not one literal */
		*to++ = *from;
	}
	*to = '\0';
	return result;
}

char *
cdc_source_default(CdcConnector connector, const char *expression, const char *type)
{
	InputCall	call = {pstrdup(expression), type};
	CdcConvertError error;

	/* MySQL's come without quotes; an expression stands in parentheses */
	if (connector != CDC_CONNECTOR_MYSQL)
		call.text = read_literal(call.text);
	else if (call.text[0] == '(')
		return NULL;
	if (call.text == NULL || !cdc_try(read_and_print, &call, &error))
		return NULL;
	return call.text;
}
