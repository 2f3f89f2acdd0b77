/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  Something that may fail, in a subtransaction.
 *
 * The subtransaction is always ended here, whatever happens: one that an error
 * left open would be taken for a savepoint of the user's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "attempt.h"

bool
cdc_attempt(bool (*func) (void *arg), void *arg,
			bool (*expected) (const ErrorData *edata), ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool keep = false;

	if (error)
		*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		keep = func(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
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
		if (expected == NULL || !expected(edata))
			ReThrowError(edata);
		*error = edata;
		keep = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return keep;
}
