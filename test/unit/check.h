/*-------------------------------------------------------------------------
 *
 * check.h
 *	  Counting checks for the unit tests; included by one file per program.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	checks_passed = 0;
static int	checks_failed = 0;

#define CHECK(condition, ...) \
	check((condition), __FILE__, __LINE__, __VA_ARGS__)

static void __attribute__((format(printf, 4, 5)))
check(bool ok, const char *file, int line, const char *format,...)
{
	va_list		args;

	if (ok)
	{
		checks_passed++;
		return;
	}
	checks_failed++;
	printf("%s:%d: failed: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* The bytes in memory of exactly their length, so that ASan sees over-reads. */
static char *
exact_copy(const char *bytes, size_t len)
{
	char	   *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, bytes, len);
	return copy;
}

static int
check_result(const char *program)
{
	printf("%s: %d passed, %d failed\n", program, checks_passed,
		   checks_failed);
	return checks_failed > 0 ? 1 : 0;
}

#endif							/* CHECK_H */
