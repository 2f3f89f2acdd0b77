/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  How the extension runs SQL: as whom, and under which settings.
 *
 * All SQL of the extension goes through here.  The catalog tables belong to
 * the extension's owner, who alone may write them: the functions check what
 * the caller may do and then switch to that owner for the statement, as the
 * foreign key triggers of the server do.  User objects (landing, staging,
 * target) are touched as their owner, never with more rights than theirs.
 *
 * Runs in the caller's transaction; takes no locks of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "cdcsync.h"

static void
pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * cdc_pin_settings
 *		Make conversions independent of the session; returns the level for
 *		cdc_unpin_settings().
 */
int
cdc_pin_settings(const char *search_path)
{
	int			level = NewGUCNestLevel();

	pin("search_path", search_path ? search_path : "pg_catalog, pg_temp");
	pin("timezone", "UTC");
	pin("datestyle", "ISO, YMD");
	pin("intervalstyle", "postgres");
	pin("bytea_output", "hex");
	pin("extra_float_digits", "1");
	pin("array_nulls", "on");
	pin("xmloption", "content");
	pin("standard_conforming_strings", "on");
	pin("row_security", "on");

	/*
	 * Code that is made for the merge of a window gained nothing in any case
	 * that was measured, and with 100 columns it took 1.2 s (all optimizations)
	 * for 0.2 s of work.  To say so takes 0.02 us.
	 */
	pin("jit", "off");
	return level;
}

void
cdc_unpin_settings(int guc_level)
{
	AtEOXact_GUC(true, guc_level);
}

static void
connect_as(CdcSpi *spi, Oid userid, int sec_context, const char *search_path)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&spi->save_userid, &spi->save_sec_context);
	if (OidIsValid(userid))
		SetUserIdAndSecContext(userid, spi->save_sec_context | sec_context);
	spi->guc_level = cdc_pin_settings(search_path);
}

/* The extension's owner: who owns the schema of the catalog tables. */
static Oid
catalog_owner(void)
{
	Oid			nspid = get_namespace_oid(CDC_SCHEMA, false);
	HeapTuple	tup = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nspid));
	Oid			owner;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for schema %u", nspid);
	owner = ((Form_pg_namespace) GETSTRUCT(tup))->nspowner;
	ReleaseSysCache(tup);
	return owner;
}

void
cdc_spi_begin_catalog(CdcSpi *spi)
{
	connect_as(spi, catalog_owner(),
			   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS, NULL);

	/*
	 * The tables may be far larger than anything knows: a plan is kept that was made
	 * when they were empty, and a thousand pipelines made at once are there before
	 * they are analyzed.  So rows are looked up by index, as in the server's own
	 * catalogs.
	 */
	pin("enable_seqscan", "off");
}

void
cdc_spi_begin_as(CdcSpi *spi, Oid userid, const char *search_path)
{
	if (userid == GetUserId())
		userid = InvalidOid;
	connect_as(spi, userid,
			   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION,
			   search_path);
}

void
cdc_spi_begin(CdcSpi *spi, const char *search_path)
{
	connect_as(spi, InvalidOid, 0, search_path);
}

void
cdc_spi_end(CdcSpi *spi)
{
	cdc_unpin_settings(spi->guc_level);
	SetUserIdAndSecContext(spi->save_userid, spi->save_sec_context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

uint64
cdc_spi_run(const char *sql, int nargs, const Oid *types, const Datum *values,
			const char *nulls, long limit)
{
	int			rc = SPI_execute_with_args(sql, nargs, (Oid *) types,
										   (Datum *) values, nulls, false,
										   limit);

	if (rc < 0)
		elog(ERROR, "SPI failed: %s: %s", SPI_result_code_string(rc), sql);
	return SPI_processed;
}

uint64
cdc_spi_run_plan(CdcPlan *plan, const Datum *values, const char *nulls)
{
	int			rc;

	if (plan->plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare_cursor(plan->sql, plan->nargs, (Oid *) plan->types,
											  plan->generic ? CURSOR_OPT_GENERIC_PLAN : 0);

		if (made == NULL)
			elog(ERROR, "SPI failed: %s: %s",
				 SPI_result_code_string(SPI_result), plan->sql);
		SPI_keepplan(made);
		plan->plan = made;
	}
	rc = SPI_execute_plan(plan->plan, (Datum *) values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI failed: %s: %s", SPI_result_code_string(rc), plan->sql);
	return SPI_processed;
}

uint64
cdc_spi_look(const char *sql, int nargs, const Oid *types, const Datum *values,
			 long limit)
{
	int			rc = SPI_execute_with_args(sql, nargs, (Oid *) types,
										   (Datum *) values, NULL, true, limit);

	if (rc < 0)
		elog(ERROR, "SPI failed: %s: %s", SPI_result_code_string(rc), sql);
	return SPI_processed;
}

Datum
cdc_spi_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

char *
cdc_spi_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = cdc_spi_value(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

Oid
cdc_spi_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = cdc_spi_value(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

List *
cdc_spi_texts(uint64 nrows, int column, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *texts = NIL;

	for (uint64 i = 0; i < nrows; i++)
		texts = lappend(texts, cdc_spi_text(i, column));
	MemoryContextSwitchTo(old);
	return texts;
}

char *
cdc_qualified_name(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *nspname = name ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	if (nspname == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(nspname, name);
}

List *
cdc_text_list(Datum array)
{
	List	   *list = NIL;
	Datum	   *elems;
	int			nelems;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, NULL, &nelems);
	for (int i = 0; i < nelems; i++)
		list = lappend(list, TextDatumGetCString(elems[i]));
	return list;
}

Datum
cdc_text_array(const List *list)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell   *lc;

	foreach(lc, list)
		elems[foreach_current_index(lc)] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elems, list_length(list), TEXTOID,
										   -1, false, TYPALIGN_INT));
}

Datum
cdc_bytea(CdcBytes bytes)
{
	bytea	   *result = palloc(VARHDRSZ + (Size) bytes.len);

	SET_VARSIZE(result, VARHDRSZ + bytes.len);
	memcpy(VARDATA(result), bytes.data, bytes.len);
	return PointerGetDatum(result);
}
