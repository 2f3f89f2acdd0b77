/*-------------------------------------------------------------------------
 *
 * kafka_abort.c
 *	  librdkafka has given up: end this process, and no other.
 *
 * librdkafka asserts what it cannot handle, first of all that memory can be
 * had, and abort() follows.  A process that dies of a signal makes the postmaster
 * end all others, since it may have damaged the shared memory.  librdkafka knows
 * of none, and whoever calls it is in no critical section, so here an orderly end
 * will do: a FATAL error, past everything that would call librdkafka again.
 *
 * What abort() has been called by is seen from the stack.  Whatever else does it,
 * the server itself on a PANIC above all, dies as ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef HAVE_BACKTRACE_SYMBOLS
#include <dlfcn.h>
#include <execinfo.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/latch.h"

#include "kafka_internal.h"

/* s that the main thread is given, once it was told, and once it was urged */
#define PATIENCE	3

static volatile sig_atomic_t aborted = false;

bool
cdc_kafka_has_aborted(void)
{
	return aborted;
}

#ifdef HAVE_BACKTRACE_SYMBOLS

#define DEPTH		64

static pthread_t main_thread;
static volatile sig_atomic_t urged = false;
static const void *our_base;
static const void *library_base;
static const void *server_base;

static const void *
base_of(const void *address)
{
	Dl_info		info;

	return dladdr(address, &info) != 0 ? info.dli_fbase : NULL;
}

/*
 * Does librdkafka stand between the signal and code of ours or the server's?  The
 * first frames are this file's.
 */
static bool
library_is_running(void)
{
	void	   *frames[DEPTH];
	int			n = backtrace(frames, DEPTH);
	int			i = 0;

	while (i < n && base_of(frames[i]) == our_base)
		i++;
	for (; i < n; i++)
	{
		const void *base = base_of(frames[i]);

		if (base == library_base)
			return true;
		if (base == our_base || base == server_base)
			return false;
	}
	return false;
}

static void
die_of_it(void)
{
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
}

/*
 * In a thread of librdkafka: never go back there.  The main thread ends the
 * process as soon as it looks for interrupts; if it does not because it waits in
 * librdkafka for this very thread, then where it waits.
 */
static void
leave_to_main_thread(void)
{
	static const char text[] = "cdcsync: librdkafka has aborted, this process ends\n";
	ssize_t		written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void) written;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
	sleep(PATIENCE);
	urged = true;
	pthread_kill(main_thread, SIGABRT);
	sleep(PATIENCE);
	die_of_it();
}

static void
handle_abort(SIGNAL_ARGS)
{
	if (!pthread_equal(pthread_self(), main_thread))
	{
		aborted = true;
		leave_to_main_thread();
	}
	else if (library_is_running())
	{
		aborted = true;
		ereport(FATAL,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("librdkafka has aborted"),
				 errdetail("It does so where it cannot get memory; its own words are in the server's error output.")));
	}
	else if (!urged)
		die_of_it();
}

void
cdc_kafka_abort_guard(void)
{
	struct sigaction action;
	void	   *frame;

	main_thread = pthread_self();
	our_base = base_of((const void *) cdc_kafka_abort_guard);
	library_base = base_of((const void *) rd_kafka_new);
	server_base = base_of((const void *) errstart);
	(void) backtrace(&frame, 1);	/* loads what it needs now */

	memset(&action, 0, sizeof(action));
	action.sa_handler = handle_abort;
	action.sa_flags = SA_RESTART | SA_NODEFER;
	sigemptyset(&action.sa_mask);
	sigaction(SIGABRT, &action, NULL);
}

#else

/* Nobody tells who has called: a crash it is. */
void
cdc_kafka_abort_guard(void)
{
}

#endif
