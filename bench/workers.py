"""What the background workers do by themselves: slices, a backlog with both
cores busy, memory, ever more pipelines, latency, and a steady load."""
import contextlib
import os
import subprocess
import time

import measure
from measure import (APPLIED, BY_HAND, LANDED, MEGABYTE, Broker, Kafka, Peak, Session,
                     Topic, Work, note, psql, value, wait_for)

TOPICS = 10         # of a load
KEYS = 1000         # of each of them
FED = 100000        # events of a crowd
FIRST = 10          # of each of its topics, before those: targets are made
RATES = (100, 5000, 20000)
PERCENTILES = ("p50", "p95", "p99", "max")
TARGET = """(customer_id bigint PRIMARY KEY, customer_name varchar(256),
    market_segment varchar(256), seq bigint, refresh_time timestamp)"""


def by_workers(name, topic, waited_for, expected, options=""):
    """Seconds from the making of a pipeline until its events are where they shall be."""
    with Session() as session:
        psql("CHECKPOINT")
        start = time.monotonic()
        measure.create(name, topic=topic, options=options)
        return session.wait(waited_for, expected, 1800) - start


def by_hand(name, topic, expected):
    """The same by the functions, one after the other, and the seconds of each."""
    psql("CHECKPOINT")
    start = time.monotonic()
    measure.create(name, topic=topic, options=BY_HAND)
    landing = measure.refresh(name, expected, checkpoint=False).seconds
    sync = measure.sync(name, expected, checkpoint=False).seconds
    return time.monotonic() - start, landing, sync


# Slices, and landing beside sync


def slices(results, size):
    """Landing by one ingest worker, and by two that share the partitions."""
    with Broker() as broker:
        broker.topic("customer")
        topic = Topic(broker.bootstrap, "customer", size.keys)
        topic.send(size.events)
        for run in range(1, size.runs + 1):
            note(f"landing by workers, run {run}")
            results.add("slices_consumer", "records/s", size.events / measure.consume(topic, size.events)[0])
            for count in (1, 2):
                with measure.database("bench"):
                    measure.create_server(broker.bootstrap, f", workers '{count}'")
                    measure.import_topics()
                    work = Work(broker)
                    seconds = by_workers("land", "customer", LANDED, size.events, '"auto_sync": false')
                    least = work.least()
                results.add(f"slices_{count}", "records/s", size.events / seconds)
                results.add(f"slices_{count}_bound", "records/s", size.events / least)


def together(results, size):
    """
    A standing backlog by the workers, beside landing and sync one after the other.

    Both begin with the making of the pipeline and end when its rows can be seen, as
    a user waits for them: so the start of the workers counts, and the making of the
    pipeline on both sides.
    """
    with Broker() as broker:
        broker.topic("customer")
        Topic(broker.bootstrap, "customer", size.keys).send(size.events)
        for run in range(1, size.runs + 1):
            note(f"a backlog by hand and by the workers, run {run}")
            with measure.database("bench"):
                measure.create_server(broker.bootstrap)
                measure.import_topics()
                work = Work(broker)
                seconds, landing, done = by_hand("hand", "customer", size.events)
                results.add("together_bound", "s", work.least())
                results.add("together_landing", "s", landing)
                results.add("together_sync", "s", done)
                results.add("together_sum", "s", seconds)
                results.add("together", "s", by_workers(
                    "auto", "customer", APPLIED + " WHERE pipeline = 'auto'", size.events))
                names = "SELECT customer_id, customer_name, market_segment FROM"
                measure.must_be_equal(f"{names} hand_target", f"{names} auto_target")


# Memory


def memory(results, size):
    """Of each worker, after a backlog has been landed and then synced by them."""
    for events in size.scale[1:]:
        note(f"memory of the workers, {events:,} events")
        with Broker() as broker, measure.database("bench"), Peak() as peak:
            broker.topic("customer")
            measure.create_server(broker.bootstrap)
            measure.import_topics()
            topic = Topic(broker.bootstrap, "customer", events // 5)
            measure.create("backlog", topic="customer", options='"auto_sync": false')
            while topic.sent < events:
                # what the embedded broker holds
                topic.send(min(1000000, events - topic.sent))
                wait_for(LANDED, topic.sent, 300)
            psql("""SELECT cdc_alter('backlog', options => '{"auto_sync": true}')""")
            wait_for(APPLIED, events, 1800)
        for kind in ("manager", "ingest worker", "sync worker", "parallel worker"):
            if kind in peak.by_kind:
                results.add(f"memory_{events}_{kind}", "MB", peak.by_kind[kind])


# Ever more pipelines


def used():
    return {pid: measure.seconds_used(pid) for pid in measure.workers()}


def note_idle(results, name, seconds):
    psql("CHECKPOINT")
    wal = value("SELECT pg_current_wal_insert_lsn()")
    before = used()
    time.sleep(seconds)
    for pid, kind in measure.workers().items():
        if pid in before:
            results.add(f"{name}_{kind}_idle", "%", 100 * (measure.seconds_used(pid) - before[pid]) / seconds)
    results.add(f"{name}_idle_wal", "bytes", value(f"SELECT pg_current_wal_insert_lsn() - '{wal}'"))


def feed(broker, topics, sent, each):
    """Send so many more events to each topic, no more at a time than the broker keeps."""
    while each > 0:
        count = min(5000, each)
        for i in range(0, len(topics), 50):
            broker.do(*(f"bulk {topic} 1 {count} 1000 {i} {sent}" for topic in topics[i:i + 50]))
        broker.do("sync")
        sent, each = sent + count, each - count
        wait_for(APPLIED, sent * len(topics), 300)


def note_used(results, name, what, before):
    """CPU of the workers since then."""
    now = used()
    for kind in ("ingest worker", "sync worker"):
        results.add(f"{name}_{kind}_{what}", "s", sum(
            now[pid] - before.get(pid, 0) for pid, its in measure.workers().items() if its == kind and pid in now))


def crowd(results, size, pipelines):
    name = f"pipelines_{pipelines}"
    note(f"{pipelines:,} pipelines")
    topics = [f"crowd{i}" for i in range(pipelines)]
    with Broker() as broker, measure.database("bench"):
        for i in range(0, pipelines, 50):
            broker.do(*(f"topic {topic} 1" for topic in topics[i:i + 50]))
        measure.create_server(broker.bootstrap)
        # only what workers do counts: no autovacuum of the new tables meanwhile
        psql("ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()")
        start = time.monotonic()
        psql("SELECT count(*) FROM cdc_create_all('broker', topics => 'crowd*')")
        opened = wait_for("SELECT count(*) FROM cdcsync.position", pipelines, 300)
        results.add(f"{name}_open", "s", opened - start)
        time.sleep(3)
        note_idle(results, name, size.idle_seconds)
        with Peak() as peak:
            before = used()
            feed(broker, topics, 0, FIRST)
            note_used(results, name, "first", before)
            before = used()
            feed(broker, topics, FIRST, FED // pipelines)
            note_used(results, name, "cpu", before)
        for kind in ("manager", "ingest worker", "sync worker"):
            results.add(f"{name}_{kind}_memory", "MB", peak.by_kind.get(kind, 0))
        psql("ALTER SYSTEM RESET autovacuum; SELECT pg_reload_conf()")


def crowds(results, size):
    for pipelines in size.pipelines:
        crowd(results, size, pipelines)


# Latency, and a steady load


@contextlib.contextmanager
def load(name, options):
    """Topics with a pipeline each that run, on Kafka if there is one; the bootstrap server."""
    with contextlib.ExitStack() as stack:
        broker = Kafka.get() or stack.enter_context(Broker())
        stack.enter_context(measure.database("bench"))
        for i in range(TOPICS):
            broker.topic(f"{name}{i}", 1)
        measure.create_server(broker.bootstrap)
        psql(f"IMPORT FOREIGN SCHEMA kafka LIMIT TO ({', '.join(f'{name}{i}' for i in range(TOPICS))}) "
             "FROM SERVER broker INTO topics")
        for i in range(TOPICS):
            measure.create(f"{name}{i}", topic=f"{name}{i}", options=options, target=TARGET)
        wait_for("SELECT count(*) FROM cdcsync.position", TOPICS, 60)
        yield broker.bootstrap


def latency(results, size):
    """From the time in the event, which its producer writes, to the row that a reader sees."""
    if Kafka.get() is None:
        results.facts["latency"] = "without a real Kafka: the embedded broker adds up to half a second of its own"
    with load("latency", "") as bootstrap:
        for rate in RATES:
            note(f"latency at {rate:,} events/s")
            before, idle = measure.machine_times()
            result = measure.program("latency", bootstrap, "latency", TOPICS, KEYS, rate, size.latency_seconds)
            after, idle_after = measure.machine_times()
            for kind, at in (("visible", 1), ("stored", 5)):
                for i, percentile in enumerate(PERCENTILES):
                    results.add(f"latency_{rate}_{kind}_{percentile}", "ms", result[at + i])
            results.add(f"latency_{rate}_busy", "%", 100 * (1 - (idle_after - idle) / max(after - before, 1)))


SIZES = """
    SELECT kind, sum(size) FROM (
        SELECT 'landings', pg_total_relation_size(chunk) FROM cdcsync.landing
        UNION ALL SELECT 'staging', pg_total_relation_size(staging) FROM cdcsync.pipeline
        UNION ALL SELECT 'targets', pg_total_relation_size(target) FROM cdcsync.pipeline
        UNION ALL SELECT 'catalog', pg_total_relation_size('cdcsync.position')
                                  + pg_total_relation_size('cdcsync.watermark')) AS x (kind, size)
    GROUP BY kind"""
LOOKS = 7


def steady(results, size):
    """What a load of 5,000 events/s writes, and how large everything is in the course of it."""
    rate, seconds = 5000, size.steady_seconds
    note(f"{rate:,} events/s for {seconds} s")
    results.add("steady_seconds", "s", seconds)
    with load("steady", '"retention": "1 min"') as bootstrap:
        wal = value("SELECT pg_current_wal_insert_lsn()")
        with subprocess.Popen([os.path.join(measure.BUILD, "bench_latency"), bootstrap, "steady", str(TOPICS),
                               str(KEYS), str(rate), str(seconds)], stdout=subprocess.PIPE, text=True) as producer:
            for i in range(LOOKS):
                for kind, bytes_ in psql(SIZES):
                    results.add(f"steady_{kind}", "MB", float(bytes_) / MEGABYTE)
                if i < LOOKS - 1:
                    time.sleep(seconds / (LOOKS - 1))
            result = producer.stdout.read().split()
        if producer.returncode:
            measure.fail("latency failed")
        events = float(value(APPLIED))
        written = float(value(f"SELECT pg_current_wal_insert_lsn() - '{wal}'"))
        results.add("steady_wal", "bytes", written / events)
        results.add("steady_row", "bytes", value("SELECT avg(pg_column_size(t)) FROM steady0_target AS t"))
        for i, percentile in enumerate(PERCENTILES):
            results.add(f"steady_visible_{percentile}", "ms", result[1 + i])
