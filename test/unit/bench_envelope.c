/*-------------------------------------------------------------------------
 *
 * bench_envelope.c
 *	  What the decoder costs per record: events of one MySQL table without
 *	  embedded schema, three fields wanted and one of the source.
 *
 *	bench_envelope [records] [plain]	plain: without skeletons
 *
 * One core's time is noisy on a busy machine; the instructions that callgrind
 * counts are not.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "envelope.h"

#define DISTINCT	1000
#define ROUNDS		5

static const CdcField row_fields[] = {
	{"id", 2, true}, {"email", 5, true}, {"balance", 7, true}
};
static const CdcField source_fields[] = {{"table", 5, true}};

static char *events[DISTINCT];
static size_t lengths[DISTINCT];

static int
put_row(char *out, int i, int version)
{
	return sprintf(out,
				   "{\"id\":%d,\"first_name\":\"Anne%d\",\"email\":\"anne%d@example.org\","
				   "\"balance\":\"%d.%02d\",\"updated\":%lld}",
				   1000 + i, i * 7 % 500, i, i * version % 100000, i % 100,
				   1755849600000000LL + i * 1000LL + version);
}

/* A fifth of the events are inserts, a fifth deletes, the others updates. */
static void
make_event(int i)
{
	int			kind = i * 7 % 5;
	char		buf[4096];
	char	   *p = buf;

	p += sprintf(p, "{\"before\":");
	p += kind == 0 ? sprintf(p, "null") : put_row(p, i, 1);
	p += sprintf(p, ",\"after\":");
	p += kind == 1 ? sprintf(p, "null") : put_row(p, i, 2);
	p += sprintf(p,
				 ",\"source\":{\"version\":\"2.7.4.Final\",\"connector\":\"mysql\","
				 "\"name\":\"dbserver1\",\"ts_ms\":%lld,\"snapshot\":\"false\","
				 "\"db\":\"inventory\",\"sequence\":null,\"table\":\"customers\","
				 "\"server_id\":223344,"
				 "\"gtid\":\"24da167-0c0c-11e8-b442-0242ac110005:%d\","
				 "\"file\":\"mysql-bin.000042\",\"pos\":%d,\"row\":0,"
				 "\"thread\":7,\"query\":null},\"transaction\":null,"
				 "\"op\":\"%c\",\"ts_ms\":%lld}",
				 1755849600000LL + i / 3, 4000 + i, 3377 + i * 411,
				 "cduuu"[kind], 1755849600123LL + i / 3);
	lengths[i] = (size_t) (p - buf);
	events[i] = malloc(lengths[i]);
	if (events[i] == NULL)
		abort();
	memcpy(events[i], buf, lengths[i]);
}

static double
run(CdcDecoder *decoder, int records)
{
	struct timespec from;
	struct timespec to;

	(void) clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < records; i++)
	{
		CdcChange	change;
		CdcDecodeError error;
		int			n = i % DISTINCT;

		if (!cdc_decode_value(decoder, events[n], lengths[n], &change,
							  &error) ||
			change.position.kind != CDC_POSITION_MYSQL)
			abort();
	}
	(void) clock_gettime(CLOCK_MONOTONIC, &to);
	return (double) (to.tv_sec - from.tv_sec) * 1e9 +
		(double) (to.tv_nsec - from.tv_nsec);
}

int
main(int argc, char **argv)
{
	int			records = argc > 1 ? atoi(argv[1]) : 200000;
	CdcDecoder *decoder = cdc_decoder_create(row_fields, 3, source_fields, 1,
											 NULL);
	double		best = 0;
	size_t		bytes = 0;

	if (decoder == NULL || records <= 0)
		return 1;
	cdc_decoder_use_skeletons(decoder,
							  argc <= 2 || strcmp(argv[2], "plain") != 0);
	for (int i = 0; i < DISTINCT; i++)
	{
		make_event(i);
		bytes += lengths[i];
	}
	for (int i = 0; i < ROUNDS; i++)
	{
		double		ns = run(decoder, records);

		if (i == 0 || ns < best)
			best = ns;
	}
	printf("%.0f ns per record of %zu bytes\n", best / records,
		   bytes / DISTINCT);
	for (int i = 0; i < DISTINCT; i++)
		free(events[i]);
	cdc_decoder_free(decoder);
	return 0;
}
