/*-------------------------------------------------------------------------
 *
 * failing_malloc.c
 *	  To be preloaded: lets one allocation of one process fail.
 *
 * The file that the environment variable FAILING_MALLOC names holds the structure
 * below.  A test maps it as well, and writes first how many allocations are to
 * succeed, then the process id.  When one has failed the process id is zero again.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct control
{
	int32_t		pid;			/* 0: nothing fails */
	int32_t		thread;			/* of the allocation that has failed */
	int64_t		countdown;
	int64_t		failed;			/* how many have */
};

static struct control *control;

/* what the C library itself calls malloc(): usable before anything is set up */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

__attribute__((constructor)) static void
attach(void)
{
	const char *name = getenv("FAILING_MALLOC");
	int			fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		control = map;
}

static int
fails(void)
{
	if (control == NULL || control->pid == 0 || control->pid != getpid() ||
		__atomic_sub_fetch(&control->countdown, 1, __ATOMIC_SEQ_CST) != 0)
		return 0;
	control->thread = gettid();
	control->pid = 0;
	__atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}
