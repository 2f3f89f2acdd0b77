/*-------------------------------------------------------------------------
 *
 * session.c
 *	  Leave nothing of one pipeline's code to the next one.
 *
 * Triggers, defaults and functions of a target run in a sync worker as its owner,
 * those of a chunk table in an ingest worker, and may leave behind what they may
 * in any session: settings, another role, temporary tables, prepared statements,
 * cursors, advisory locks (LISTEN is refused in a background process).  The
 * pipelines of one owner share a process, those of two never do; so this is about
 * accidents, not about rights.
 *
 * Plans stay: they are checked whenever they are used, and making them anew costs
 * more than a small window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/portal.h"

#include "session.h"

/* Ended by a timeout that is meant for people, a worker would never end its work. */
static const char *const timeouts[] = {
	"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
	"idle_session_timeout", "transaction_timeout"
};

void
cdc_session_begin(void)
{
	for (int i = 0; i < lengthof(timeouts); i++)
		if (GetConfigOption(timeouts[i], true, false) != NULL)
			SetConfigOption(timeouts[i], "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
}

void
cdc_session_clean(void)
{
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	SetPGVariable("role", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	CommandCounterIncrement();
}
