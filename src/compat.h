/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only file that tests the version of PostgreSQL or librdkafka.
 *
 * A wrapper has the signature of the newest version and the suffix _compat.
 * Include it after postgres.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "cdcsync needs PostgreSQL 15 or later"
#endif

#include "fmgr.h"

/*
 * Call an input function that reports a bad value instead of raising it, where
 * server and type can (the server's own types from 16 on).  Before 16 it always
 * raises, and the only return is true.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "utils/elog.h"

#define CDC_INPUT_IS_SOFT	true

static inline bool
cdc_input_function_compat(FmgrInfo *flinfo, char *str, Oid typioparam,
						  int32 typmod, Datum *result, int *sqlerrcode,
						  char **message)
{
	ErrorSaveContext escontext = {.type = T_ErrorSaveContext,.details_wanted = true};

	if (InputFunctionCallSafe(flinfo, str, typioparam, typmod,
							  (Node *) &escontext, result))
		return true;
	*sqlerrcode = escontext.error_data->sqlerrcode;
	*message = escontext.error_data->message;
	return false;
}
#else
#define CDC_INPUT_IS_SOFT	false

static inline bool
cdc_input_function_compat(FmgrInfo *flinfo, char *str, Oid typioparam,
						  int32 typmod, Datum *result, int *sqlerrcode,
						  char **message)
{
	*result = InputFunctionCall(flinfo, str, typioparam, typmod);
	return true;
}
#endif

#endif							/* CDC_COMPAT_H */
