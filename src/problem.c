/*-------------------------------------------------------------------------
 *
 * problem.c
 *	  What is wrong with something that is tried again, and when that is.
 *
 * Pure functions over a struct that may live in shared memory: they allocate
 * nothing and raise nothing, so that they can be called under a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "problem.h"

#define SHORTEST_PAUSE	1000	/* ms */
#define LONGEST_PAUSE	(5 * 60 * 1000)
#define JITTER			0.2		/* of the pause */

/* Copy a text, cut between characters where it is too long. */
static void
copy_text(char *to, const char *from)
{
	int			len = from ? strlen(from) : 0;

	if (len >= CDC_PROBLEM_TEXT)
		len = pg_mbcliplen(from, len, CDC_PROBLEM_TEXT - 1);
	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

/* ms until the next try after so many failures. */
static int64
pause_after(int failures)
{
	int64		pause = SHORTEST_PAUSE;

	while (--failures > 0 && pause < LONGEST_PAUSE)
		pause *= 2;
	pause = Min(pause, LONGEST_PAUSE);
	return pause - (int64) (pause * JITTER * pg_prng_double(&pg_global_prng_state));
}

void
cdc_problem_add(CdcProblem *problem, const ErrorData *edata)
{
	TimestampTz now = GetCurrentTimestamp();

	if (problem->failures++ == 0)
		problem->since = now;
	problem->next_try = TimestampTzPlusMilliseconds(now, pause_after(problem->failures));
	strlcpy(problem->sqlstate, unpack_sql_state(edata->sqlerrcode),
			sizeof(problem->sqlstate));
	copy_text(problem->message, edata->message);
	copy_text(problem->hint, edata->hint ? edata->hint : edata->detail);
}

void
cdc_problem_clear(CdcProblem *problem)
{
	memset(problem, 0, sizeof(*problem));
}

bool
cdc_problem_is(const CdcProblem *problem, const ErrorData *edata)
{
	/* what is kept of the message may be its head */
	return problem->failures > 0 && edata->message &&
		strncmp(problem->message, edata->message, strlen(problem->message)) == 0;
}

bool
cdc_problem_over(const CdcProblem *problem, TimestampTz now)
{
	return problem->failures == 0 || problem->next_try <= now;
}
