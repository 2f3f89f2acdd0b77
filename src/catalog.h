/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  How the extension runs SQL: as whom, and under which settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CATALOG_H
#define CDC_CATALOG_H

#include "executor/spi.h"

#include "cdcsync.h"

/* What cdc_spi_begin() must put back; opaque to callers. */
typedef struct CdcSpi
{
	Oid			save_userid;
	int			save_sec_context;
	int			guc_level;
} CdcSpi;

/*
 * Connect to SPI as the owner of the catalog tables (the extension's owner).
 * Callers must have checked the privileges of the real user before they
 * write.  After an error nothing is left to undo: (sub)transaction abort
 * puts user, settings and SPI back.
 */
extern void cdc_spi_begin_catalog(CdcSpi *spi);

/*
 * Connect to SPI as userid, to touch objects that belong to a user.  If it is
 * not the current user, it is done as a security-restricted operation, as
 * REFRESH MATERIALIZED VIEW does.
 *
 * search_path: NULL for pg_catalog alone, else the text of the setting.
 */
extern void cdc_spi_begin_as(CdcSpi *spi, Oid userid, const char *search_path);

/*
 * The same without a change of user.  Both of the above and this one pin
 * search_path, TimeZone (UTC), DateStyle (ISO), IntervalStyle (postgres),
 * bytea_output (hex), extra_float_digits, array_nulls, xmloption, standard_
 * conforming_strings and row_security, so that nothing depends on the session;
 * and turn jit off.
 */
extern void cdc_spi_begin(CdcSpi *spi, const char *search_path);

extern void cdc_spi_end(CdcSpi *spi);

/* The pinning alone, for code that calls input functions without SPI. */
extern int	cdc_pin_settings(const char *search_path);
extern void cdc_unpin_settings(int guc_level);

/*
 * Run one statement with parameters ($1..) in the current SPI connection;
 * nulls as in SPI_execute_with_args, or NULL.  Returns SPI_processed, raises
 * an error where SPI reports one.  limit 0: no limit.
 */
extern uint64 cdc_spi_run(const char *sql, int nargs, const Oid *types,
						  const Datum *values, const char *nulls, long limit);

/* The same for a SELECT that is to see what the active snapshot sees. */
extern uint64 cdc_spi_look(const char *sql, int nargs, const Oid *types,
						   const Datum *values, long limit);

/*
 * A statement that is run often: planned once in a process.  Zero the rest.
 */
typedef struct CdcPlan
{
	const char *sql;
	int			nargs;
	const Oid  *types;
	bool		generic;		/* the values do not matter to the plan */
	SPIPlanPtr	plan;
} CdcPlan;

extern uint64 cdc_spi_run_plan(CdcPlan *plan, const Datum *values,
							   const char *nulls);

/* Column (from 1) of row (from 0) of the last result. */
extern Datum cdc_spi_value(uint64 row, int column, bool *isnull);

/* The same of a text (in the current memory context) or an OID: NULL, 0. */
extern char *cdc_spi_text(uint64 row, int column);
extern Oid	cdc_spi_oid(uint64 row, int column);

/* The texts in a column of the first nrows rows, as char * in that context. */
extern List *cdc_spi_texts(uint64 nrows, int column, MemoryContext context);

/* A text[] as a list of char *, and the other way round. */
extern List *cdc_text_list(Datum array);
extern Datum cdc_text_array(const List *list);

/* Bytes that are not NULL as a bytea. */
extern Datum cdc_bytea(CdcBytes bytes);

/* "schema"."relation" of a relation, quoted; error 42P01 if it is gone. */
extern char *cdc_qualified_name(Oid relid);

#endif							/* CDC_CATALOG_H */
