/*-------------------------------------------------------------------------
 *
 * huge.c
 *	  Memory that is reached at random: on huge pages, where there are any.
 *
 * What a window holds is found by hash, and is a hundred megabytes: with pages
 * of 4 kB each step waits for the page table first, and each page costs a fault.
 * Linux gives pages of 2 MB to who asks, unless the administrator has turned
 * that off ("transparent_hugepage").  It is a hint: elsewhere, and for what is
 * smaller, this is an allocation like any other.
 *
 * May use nothing but PostgreSQL's memory contexts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/mman.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "huge.h"

/* Of less than two such pages none may be whole. */
#define HUGE_PAGE	((Size) 2 * 1024 * 1024)

/* All pages of it: neighbours can share one, if both have asked. */
static void
ask_for_huge_pages(void *memory, Size size)
{
#ifdef MADV_HUGEPAGE
	static uintptr_t page = 0;
	uintptr_t	from;
	uintptr_t	to;

	if (page == 0)
		page = (uintptr_t) sysconf(_SC_PAGESIZE);
	from = TYPEALIGN(page, (uintptr_t) memory);
	to = TYPEALIGN_DOWN(page, (uintptr_t) memory + size);
	/* that there are none is no error */
	(void) madvise((void *) from, to - from, MADV_HUGEPAGE);
#endif
}

void *
cdc_huge_alloc(MemoryContext context, Size size, int flags)
{
	void	   *memory = MemoryContextAllocExtended(context, size,
													MCXT_ALLOC_HUGE | (flags & ~MCXT_ALLOC_ZERO));

	if (memory && size >= 2 * HUGE_PAGE)
		ask_for_huge_pages(memory, size);
	if (memory && (flags & MCXT_ALLOC_ZERO))
		memset(memory, 0, size);
	return memory;
}
