/*-------------------------------------------------------------------------
 *
 * contents.c
 *	  Give a table the contents of another one, row by equal row.
 *
 * For targets whose rows no key tells apart: those without a key, and those that
 * keep every change.  Both tables are multisets of rows; a row of which the
 * other has as many stays as it is, with the columns that no event feeds.  When a
 * row was read is no difference.
 *
 * Rows are equal if they print alike: that is the same value for every type, also
 * for those without equality, and it can be hashed.
 *
 * Runs in the caller's transaction and SPI connection, as the current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "contents.h"

/* The columns that are compared, or set, of an alias: "a.x, a.y, ..". */
static char *
column_list(const CdcContents *c, const char *alias, bool compared)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < c->target->ncolumns; i++)
	{
		const CdcColumn *column = &c->target->columns[i];

		if (c->never_set[i] || (compared && column->source == CDC_COLUMN_REFRESH_TIME))
			continue;
		appendStringInfo(&buf, "%s%s%s", buf.len ? ", " : "", alias,
						 quote_identifier(column->name));
	}
	return buf.data;
}

/* A row as one value. */
static char *
row_text(const CdcContents *c, const char *alias)
{
	return psprintf("ROW(%s)::pg_catalog.text", column_list(c, alias, true));
}

/*
 * Where several sources feed the target, the rows of those that the other table
 * knows: others are not to be touched.
 */
static char *
own_rows(const CdcContents *c)
{
	StringInfoData condition;

	initStringInfo(&condition);
	for (int i = 0; i < c->target->nscope; i++)
	{
		const char *name = quote_identifier(c->target->columns[c->target->scope[i]].name);

		appendStringInfo(&condition, "%st.%s IN (SELECT x.%s FROM %s x)",
						 i ? " AND " : " WHERE ", name, name, cdc_qualified_name(c->source));
	}
	return condition.data;
}

/*
 * The rows of the target that the source has not: the second of two equal rows,
 * if it has one.
 */
static char *
surplus(const CdcContents *c)
{
	return psprintf("(SELECT t.tableoid AS cdc_tab, t.ctid AS cdc_tid, %s AS cdc_row,"
					" pg_catalog.row_number() OVER (PARTITION BY %s) AS cdc_no FROM %s t%s) a"
					" LEFT JOIN (SELECT %s AS cdc_row, pg_catalog.count(*) AS cdc_n FROM %s s GROUP BY 1) b"
					" USING (cdc_row) WHERE b.cdc_n IS NULL OR a.cdc_no OPERATOR(pg_catalog.>) b.cdc_n",
					row_text(c, "t."), row_text(c, "t."), cdc_qualified_name(c->target->relid),
					own_rows(c), row_text(c, "s."), cdc_qualified_name(c->source));
}

void
cdc_contents_compare(CdcContents *c)
{
	bool		isnull;

	cdc_spi_run(psprintf("SELECT (SELECT pg_catalog.count(*) FROM %s t%s), (SELECT pg_catalog.count(*) FROM %s)",
						 cdc_qualified_name(c->target->relid), own_rows(c), surplus(c)),
				0, NULL, NULL, NULL, 0);
	c->target_rows = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	c->missing = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
}

void
cdc_contents_replace(CdcContents *c)
{
	const char *target = cdc_qualified_name(c->target->relid);
	const char *source = cdc_qualified_name(c->source);

	c->deleted = cdc_spi_run(psprintf("DELETE FROM %s d USING (SELECT a.cdc_tab, a.cdc_tid FROM %s) g"
									  " WHERE d.ctid OPERATOR(pg_catalog.=) g.cdc_tid"
									  " AND d.tableoid OPERATOR(pg_catalog.=) g.cdc_tab",
									  target, surplus(c)),
							 0, NULL, NULL, NULL, 0);
	/* in the order in which they were made */
	c->inserted = cdc_spi_run(psprintf("INSERT INTO %s (%s)%s SELECT %s FROM (SELECT s.*, s.ctid AS cdc_tid,"
									   " %s AS cdc_row, pg_catalog.row_number() OVER (PARTITION BY %s ORDER BY s.ctid) AS cdc_no"
									   " FROM %s s) a LEFT JOIN (SELECT %s AS cdc_row, pg_catalog.count(*) AS cdc_n"
									   " FROM %s t GROUP BY 1) b USING (cdc_row)"
									   " WHERE b.cdc_n IS NULL OR a.cdc_no OPERATOR(pg_catalog.>) b.cdc_n ORDER BY a.cdc_tid",
									   target, column_list(c, "", false),
									   c->target->identity_always ? " OVERRIDING SYSTEM VALUE" : "",
									   column_list(c, "a.", false), row_text(c, "s."), row_text(c, "s."),
									   source, row_text(c, "t."), target),
							  0, NULL, NULL, NULL, 0);
}
