/*-------------------------------------------------------------------------
 *
 * kafka_internal.h
 *	  What the files of the consumer share: kafka.c (opening, closing),
 *	  kafka_error.c (what goes wrong, in words), kafka_query.c (requests),
 *	  kafka_source.c (the partitions that are read), kafka_read.c (events),
 *	  kafka_watch.c (what brokers do not tell) and kafka_iam.c (tokens of AWS).
 *
 * The only file that includes librdkafka; for kafka*.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_KAFKA_INTERNAL_H
#define CDC_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"

#include "kafka.h"

#define CDC_KAFKA_FRESH		2048	/* messages taken at once */
#define CDC_KAFKA_OVERHEAD	512 /* bytes that a message takes beside its own */
#define CDC_KAFKA_REASON	512
#define CDC_KAFKA_SCAN		1024	/* sources that the watchdog looks at at once */
#define CDC_KAFKA_QUEUE		(32 * 1024 * 1024)	/* queued.max.messages.kbytes */

/* No call of librdkafka may block longer: it cannot be interrupted. */
#define CDC_KAFKA_FIRST_SLICE	250 /* ms, of the first try */
#define CDC_KAFKA_LONGEST_SLICE 1000

/* A partition that is being read; its id is its index. */
typedef struct CdcKafkaReading
{
	char	   *topic;			/* NULL: the id is free */
	int32		partition;
	int			next;			/* next free id; -1: none */
	int64		position;		/* next offset that we expect */
	bool		running;		/* librdkafka fetches it */
	bool		moved;			/* nothing has come since it was */
	rd_kafka_resp_err_t lost;	/* the partition is gone, says a callback */

	/* Of the watchdog. */
	int64		stuck_position; /* where it was when we looked */
	TimestampTz stuck_since;
	int64		stuck_end;		/* its end, asked for since; -1: not yet */
	uint32		stuck_calm;		/* kafka->calm then */
} CdcKafkaReading;

typedef struct CdcKafkaIam CdcKafkaIam;
struct CdcKafkaOptions;

struct CdcKafka
{
	dlist_node	node;			/* in live_consumers */
	MemoryContext context;		/* holds this struct */
	MemoryContext batch_context;	/* headers and errors of the batch */
	MemoryContext source_context;	/* topics of sources, index */
	MemoryContext metadata_context; /* topic_index */
	MemoryContextCallback callback;

	char	   *server;
	char	   *bootstrap_servers;
	bool		uses_tls;
	bool		verifies;		/* the broker's certificate */
	bool		has_ca;			/* those that we trust are given */
	bool		has_certificate;	/* of our own */
	const char *mechanism;		/* of SASL, as librdkafka names it; or "" */
	bool		lasting;		/* will mostly wait */
	int			fetch_wait;		/* ms that a broker waits for records */
	bool		answered;		/* the cluster has, when we connected */
	int			connect_timeout;	/* ms */
	int			stall_timeout;	/* ms */

	CdcKafkaIam *iam;			/* NULL: no tokens are wanted */

	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	rd_kafka_topic_partition_list_t *list;	/* in use by a call */
	int			pipe[2];		/* [0] becomes readable when there is something
								 * to poll; -1: not open */

	const struct rd_kafka_metadata *metadata;	/* of all topics, or NULL */
	HTAB	   *topic_index;	/* of metadata, by name */

	int			nsources;		/* length of sources, with free ids */
	int			sources_size;
	CdcKafkaReading *sources;
	HTAB	   *index;			/* ids by topic and partition */
	int			free_ids;		/* list over next */
	int			freed_ids;		/* the same, not until the batch is released */

	/* Messages that were taken and are not events yet. */
	rd_kafka_message_t *fresh[CDC_KAFKA_FRESH];
	int			nfresh;
	int			next_fresh;

	/* The batch. */
	rd_kafka_message_t **messages;
	int			nmessages;
	CdcKafkaEvent *events;
	int			nevents;
	int			batch_size;		/* of both arrays */
	int			returned;		/* events that the caller knows */
	Size		batch_bytes;
	CdcBytes	last_headers;	/* of the last record that has any; in
								 * batch_context */
	char	   *flat;			/* scratch for them, in context */
	Size		flat_len;
	Size		flat_size;

	bool		needs_kick;		/* see kick() */
	Size		unkicked;		/* bytes taken since it was done */
	int			kick_cursor;

	/* Stored by the callbacks. */
	bool		all_down;
	bool		interrupted;	/* was, or nobody answered, since the last event that
								 * told of it */
	bool		any_lost;		/* some source's lost is set */
	uint32		nreasons;		/* so far */
	rd_kafka_resp_err_t last_err;
	char		reason[CDC_KAFKA_REASON];
	int			certificate_error;	/* of OpenSSL; 0: none */
	char		certificate[CDC_KAFKA_REASON];	/* which one has it */

	/* Does the cluster answer? */
	TimestampTz last_answer;
	TimestampTz next_probe;
	TimestampTz failing_since;	/* 0: it does */
	int			probe_slice;	/* ms */
	bool		away;			/* has been reported */
	bool		away_for_reason;	/* and why */
	bool		log_due;		/* reason is news */
	TimestampTz next_log;

	/* The watchdog; see check_stalls(). */
	TimestampTz next_scan;
	int			scan_cursor;
	int			ask_limit;		/* suspects to ask for at once */
	uint32		calm;			/* periods */
	TimestampTz calm_start;		/* of this one; 0: none */
	Size		calm_bytes;		/* taken in it */
};

/* kafka.c */
extern void cdc_kafka_list_free(CdcKafka *kafka);

/* kafka_error.c */
extern void cdc_kafka_reason_clear(CdcKafka *kafka);
extern void cdc_kafka_reason_store(CdcKafka *kafka, rd_kafka_resp_err_t err,
								   const char *reason);
extern bool cdc_kafka_verify_configure(rd_kafka_conf_t *conf);
extern void cdc_kafka_certificate_store(CdcKafka *kafka, const char *text);
extern void cdc_kafka_unavailable_fill(CdcKafka *kafka, CdcKafkaError *error);
pg_noreturn extern void cdc_kafka_error_raise(const CdcKafkaError *error);
pg_noreturn extern void cdc_kafka_call_failed(CdcKafka *kafka, const char *what,
											  const char *reason);
pg_noreturn extern void cdc_kafka_create_failed(CdcKafka *kafka,
												const char *errstr);
extern int	cdc_kafka_sqlstate(rd_kafka_resp_err_t err);
extern const char *cdc_kafka_hint(rd_kafka_resp_err_t err);
extern bool cdc_kafka_is_permanent(rd_kafka_resp_err_t err);

/* kafka_query.c */
extern bool cdc_kafka_latched;	/* a request, of any consumer, has reset the latch */
extern void cdc_kafka_connection_check(CdcKafka *kafka);
extern void cdc_kafka_metadata_free(CdcKafka *kafka);

/* kafka_source.c */
extern int	cdc_kafka_id_find(CdcKafka *kafka, const char *topic,
							  int32 partition);
extern void cdc_kafka_sources_list(CdcKafka *kafka, const int *ids,
								   int nsources, bool running);
extern void cdc_kafka_sources_stop(CdcKafka *kafka, const int *ids,
								   int nsources);

/* kafka_read.c */
extern void cdc_kafka_fetch(CdcKafka *kafka);
extern void cdc_kafka_messages_free(CdcKafka *kafka);
extern CdcKafkaEvent *cdc_kafka_event_begin(CdcKafka *kafka,
											CdcKafkaEventKind kind, int id);
extern void cdc_kafka_event_finish(CdcKafka *kafka);
extern void cdc_kafka_event_error(CdcKafka *kafka, int id, int sqlstate,
								  const char *detail, const char *hint);

/* kafka_watch.c */
extern void cdc_kafka_watch_begin(CdcKafka *kafka);
extern void cdc_kafka_watch_end(CdcKafka *kafka, bool came);

/* kafka_iam.c */
extern void cdc_kafka_iam_begin(CdcKafka *kafka,
								const struct CdcKafkaOptions *options);
extern void cdc_kafka_iam_configure(CdcKafka *kafka, rd_kafka_conf_t *conf);
extern void cdc_kafka_iam_start(CdcKafka *kafka);
extern void cdc_kafka_iam_renew(CdcKafka *kafka);
extern void cdc_kafka_iam_end(CdcKafka *kafka);
extern char *cdc_kafka_iam_brokers(CdcKafka *kafka,
								   const struct CdcKafkaOptions *options);
extern void cdc_kafka_iam_doubt(CdcKafka *kafka);
extern const char *cdc_kafka_iam_problem(const CdcKafka *kafka);
extern const char *cdc_kafka_iam_hint(const CdcKafka *kafka);

/* kafka_abort.c */
extern void cdc_kafka_abort_guard(void);

/* Then librdkafka must not be called any more. */
extern bool cdc_kafka_has_aborted(void);

#endif							/* CDC_KAFKA_INTERNAL_H */
