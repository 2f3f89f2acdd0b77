/*-------------------------------------------------------------------------
 *
 * widen.c
 *	  Does a column's type hold the values of another one, and if not, which
 *	  type would that loses nothing?
 *
 * Integers widen to greater ones and to numeric, reals to double precision,
 * numeric by digits on both sides of the point, strings by their length, times
 * by their precision.  Nothing else is a widening: from an integer to a string,
 * say, is for a person to decide.
 *
 * Pure functions of types; no locks but those of the syscache.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "widen.h"

typedef struct ColumnType
{
	Oid			id;
	int32		mod;
} ColumnType;

/* Digits of the greatest value; 0: no integer. */
static int
integer_digits(Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return 5;
		case INT4OID:
			return 10;
		case INT8OID:
			return 19;
		default:
			return 0;
	}
}

/* Digits before and after the point; false: as many as there are. */
static bool
numeric_digits(int32 typmod, int *whole, int *scale)
{
	int32		mod = typmod - (int32) VARHDRSZ;

	if (mod < 0)
		return false;
	/* 11 bits with their sign */
	*scale = ((mod & 0x7ff) ^ 1024) - 1024;
	*whole = ((mod >> 16) & 0xffff) - *scale;
	return true;
}

static CdcWidening
widen_to_numeric(int whole, int scale, char **to)
{
	*to = psprintf("numeric(%d,%d)", whole + scale, scale);
	return CDC_WIDEN_TO;
}

static CdcWidening
widen_numeric(ColumnType have, ColumnType want, char **to, bool *rewrites)
{
	int			have_whole;
	int			have_scale;
	int			want_whole;
	int			want_scale = 0;
	int			whole;
	int			scale;

	if (!numeric_digits(have.mod, &have_whole, &have_scale))
		return CDC_WIDEN_HOLDS;
	if (want.id != NUMERICOID)
		want_whole = integer_digits(want.id);
	else if (!numeric_digits(want.mod, &want_whole, &want_scale))
	{
		*to = "numeric";
		return CDC_WIDEN_TO;
	}
	whole = Max(have_whole, want_whole);
	scale = Max(have_scale, want_scale);
	if (whole == have_whole && scale == have_scale)
		return CDC_WIDEN_HOLDS;
	*rewrites = scale != have_scale;
	return widen_to_numeric(whole, scale, to);
}

static CdcWidening
widen_integer(ColumnType have, ColumnType want, char **to, bool *rewrites)
{
	int			digits = integer_digits(have.id);
	int			whole;
	int			scale;

	if (integer_digits(want.id) > 0)
	{
		if (integer_digits(want.id) <= digits)
			return CDC_WIDEN_HOLDS;
		*to = format_type_be(want.id);
	}
	else if (want.id != NUMERICOID)
		return CDC_WIDEN_NOT;
	else if (numeric_digits(want.mod, &whole, &scale))
	{
		if (scale == 0 && whole < digits)
			return CDC_WIDEN_HOLDS;
		(void) widen_to_numeric(Max(whole, digits), scale, to);
	}
	else
		*to = "numeric";
	*rewrites = true;
	return CDC_WIDEN_TO;
}

static bool
is_string(Oid typid)
{
	return typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID;
}

static CdcWidening
widen_string(ColumnType have, ColumnType want, char **to, bool *rewrites)
{
	if (have.id == TEXTOID || (have.id == VARCHAROID && have.mod < 0))
		return CDC_WIDEN_HOLDS; /* whatever it is, it has a text */
	if (!is_string(want.id))
		return CDC_WIDEN_NOT;
	if (want.mod >= 0 && want.mod <= have.mod)
		return CDC_WIDEN_HOLDS;
	/* blanks at the end belong to a char(n), longer or not */
	*rewrites = have.id == BPCHAROID;
	if (want.id == TEXTOID || want.mod < 0)
		*to = "text";
	else
		*to = psprintf("%s(%d)", have.id == BPCHAROID ? "character" : "character varying",
					   want.mod - (int) VARHDRSZ);
	return CDC_WIDEN_TO;
}

/* Types of which only the modifier can differ. */
static CdcWidening
widen_modifier(ColumnType have, ColumnType want, char **to)
{
	if (have.id != want.id)
		return CDC_WIDEN_NOT;
	if (have.mod == want.mod || have.mod < 0)
		return CDC_WIDEN_HOLDS;
	switch (have.id)
	{
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case VARBITOID:
			if (want.mod >= 0 && want.mod <= have.mod)
				return CDC_WIDEN_HOLDS;
			*to = format_type_with_typemod(want.id, want.mod);
			return CDC_WIDEN_TO;
		default:
			return CDC_WIDEN_NOT;
	}
}

CdcWidening
cdc_widen(Oid typid, int32 typmod, const char *want_text, char **to, bool *rewrites)
{
	ColumnType	have = {typid, typmod};
	ColumnType	want;
	bool		domain;
	CdcWidening result;

	*rewrites = false;
	have.id = getBaseTypeAndTypmod(typid, &have.mod);
	domain = have.id != typid;
	parseTypeString(want_text, &want.id, &want.mod, false);

	if (have.id == JSONBOID || have.id == JSONOID)
		result = CDC_WIDEN_HOLDS;
	else if (is_string(have.id))
		result = widen_string(have, want, to, rewrites);
	else if (integer_digits(have.id) > 0)
		result = widen_integer(have, want, to, rewrites);
	else if (have.id == NUMERICOID &&
			 (want.id == NUMERICOID || integer_digits(want.id) > 0))
		result = widen_numeric(have, want, to, rewrites);
	else if (have.id == FLOAT8OID && want.id == FLOAT4OID)
		result = CDC_WIDEN_HOLDS;
	else if (have.id == FLOAT4OID && want.id == FLOAT8OID)
	{
		*to = "double precision";
		*rewrites = true;
		result = CDC_WIDEN_TO;
	}
	else
		result = widen_modifier(have, want, to);

	/* a domain says what its owner wants */
	return domain && result == CDC_WIDEN_TO ? CDC_WIDEN_NOT : result;
}
