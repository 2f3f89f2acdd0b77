/*-------------------------------------------------------------------------
 *
 * json_verdict.c
 *	  The scanner's verdict on each line of hex digits: 0 or 1 a line.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "json.h"

static int
hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

int
main(void)
{
	char	   *line = NULL;
	size_t		size = 0;
	ssize_t		len;

	while ((len = getline(&line, &size, stdin)) > 0)
	{
		size_t		n = (size_t) (len - (line[len - 1] == '\n')) / 2;
		char	   *bytes = malloc(n > 0 ? n : 1);
		CdcScanner	scanner;
		CdcToken	token;

		if (bytes == NULL)
			return 1;
		for (size_t i = 0; i < n; i++)
			bytes[i] = (char) (hex_value(line[2 * i]) * 16 +
							   hex_value(line[2 * i + 1]));
		cdc_scanner_init(&scanner, bytes, n);
		puts(cdc_scan_document(&scanner, &token) ? "1" : "0");
		free(bytes);
	}
	free(line);
	return 0;
}
