"""What the functions do, called one after the other on a server without the
workers: landing, sync, how both grow, and what they need."""
import os
from contextlib import contextmanager

import measure
from measure import MEGABYTE, Broker, Peak, Topic, disk, note, psql, value

HERE = os.path.dirname(os.path.abspath(__file__))
ROUND = 700 * MEGABYTE      # what the embedded broker holds of a topic
NAMES = "customer_id, customer_name, market_segment"
SOURCE_NAMES = '"CUST_ID", "NAME", "MKTSEGMENT"'


@contextmanager
def topics(*names):
    """An embedded broker with these topics, and a database that knows them."""
    with Broker() as broker, measure.database("bench"):
        for name in names:
            broker.topic(name)
        measure.create_server(broker.bootstrap)
        measure.import_topics()
        yield broker


def fill(topic, name, events):
    """Send events and land them, in rounds; the seconds of landing."""
    seconds = 0
    while topic.sent < events:
        count = min(events - topic.sent, int(ROUND / (topic.all_bytes or 5000)))
        topic.send(count)
        seconds += measure.refresh(name, count).seconds
    return seconds


def preload(table, names, keys):
    """The rows that a table holds before."""
    psql(f"""INSERT INTO {table} ({names}) SELECT n, 'old name', 'OLD' FROM generate_series(0, {keys - 1}) AS n;
             VACUUM ANALYZE {table}""")


# Landing, rows of jsonb, sync beside the procedure


def land(results, topic, runs):
    """Landing beside a consumer that counts; the view of the last run stays."""
    events = topic.sent
    for run in range(1, runs + 1):
        seconds, size = measure.consume(topic, events)
        results.add("consumer", "MB/s", size / seconds / MEGABYTE)
        results.add("consumer_records", "records/s", events / seconds)
        measure.create(f"land{run}", topic=topic.name)
        done = measure.refresh(f"land{run}", events)
        results.add("landing", "MB/s", int(done.row[1]) / done.seconds / MEGABYTE)
        results.add("landing_records", "records/s", events / done.seconds)
        results.add("landing_seconds", "s", done.seconds)
        results.add("landing_bytes", "bytes", done.row[1])
        results.add("landing_wal", "bytes", done.wal)
        results.add("landing_disk", "bytes", disk(f"land{run}_debezium_chunk"))
        if run < runs:
            measure.drop(f"land{run}")
    return f"land{runs}_debezium"


def copy_rows(results, view, runs):
    """COPY of the same records into a jsonb row each."""
    columns = ("kafka_partition, kafka_offset, kafka_timestamp_type, kafka_timestamp, kafka_key, "
               "kafka_headers, refresh_time, payload")
    path = os.path.join(os.environ["WORK"], "tmp", "events.copy")
    psql(f"COPY (SELECT {columns} FROM {view}) TO '{path}'")
    for _ in range(runs):
        psql("TRUNCATE bench_events")
        done = measure.timed(f"COPY bench_events ({columns}) FROM '{path}'")
        results.add("rows_seconds", "s", done.seconds)
        results.add("rows_wal", "bytes", done.wal)
        results.add("rows_disk", "bytes", disk("bench_events"))
    os.unlink(path)
    psql("VACUUM ANALYZE bench_events")


def procedure(results, kind, keys):
    psql(f"""DROP TABLE IF EXISTS bench_target; CREATE TABLE bench_target {measure.TARGET};
             DELETE FROM bench_last_extract WHERE latest_refresh_time > '1983-01-01'""")
    if keys:
        preload("bench_target", NAMES, keys)
    done = measure.timed("CALL bench_sync_customer()")
    results.add(f"procedure_{kind}", "s", done.seconds)
    results.add(f"procedure_{kind}_wal", "bytes", done.wal)


def sync_once(results, kind, topic, view, keys, made):
    """A sync into a table with these keys, which we made or were given, and what it wrote."""
    names = SOURCE_NAMES if made else NAMES
    measure.create("once", landing=view, target=None if made else measure.TARGET)
    if keys:
        preload("once_target", names, keys)
    before = disk("once_target")
    done = measure.sync("once", topic.sent)
    results.add(f"sync_{kind}", "s", done.seconds)
    results.add(f"sync_{kind}_events", "events/s", topic.sent / done.seconds)
    results.add(f"sync_{kind}_wal", "bytes", done.wal)
    results.add(f"sync_{kind}_growth", "bytes", disk("once_target") - before)
    name = names.split(", ")[1]
    results.add(f"sync_{kind}_rows", "bytes", value(
        f"SELECT sum(pg_column_size(t)) FROM once_target AS t WHERE {name} <> 'old name'"))
    measure.must_be_equal(f"SELECT {names.replace(',', '::varchar,', 1)} FROM once_target",
                          f"SELECT {NAMES} FROM bench_target")
    measure.drop("once")
    if made:
        psql("DROP TABLE IF EXISTS once_target")


def basics(results, size):
    """The table's first rows, all of the same events."""
    keys = size.keys
    with topics("customer") as broker:
        psql(open(os.path.join(HERE, "procedure.sql"), encoding="utf-8").read())
        topic = Topic(broker.bootstrap, "customer", keys)
        topic.send(size.events)
        results.facts["plain event"] = f"{topic.key_and_value:.0f} bytes, with its headers {topic.all_bytes:.0f}"
        note("landing, and a plain consumer")
        view = land(results, topic, size.runs)
        note("COPY into jsonb rows")
        copy_rows(results, view, size.runs)
        note("sync, and the procedure over jsonb rows")
        for _ in range(size.runs):
            procedure(results, "empty", 0)
            sync_once(results, "empty", topic, view, 0, made=False)
            procedure(results, "full", keys)
            sync_once(results, "given", topic, view, keys, made=False)
            sync_once(results, "made", topic, view, keys, made=True)


# Embedded schema, shapes of rows


def schema(results, size):
    """The same changes with and without embedded schema."""
    events = size.events // 5
    with topics("plain", "schema") as broker:
        made = {shape: Topic(broker.bootstrap, shape, events // 5, shape) for shape in ("plain", "schema")}
        for topic in made.values():
            topic.send(events)
        results.facts["event with embedded schema"] = f"{made['schema'].key_and_value:.0f} bytes"
        for run in range(1, size.runs + 1):
            for shape, topic in made.items():
                note(f"events of the kind {shape}, run {run}")
                results.add(f"{shape}_consumer_events", "events/s", events / measure.consume(topic, events)[0])
                measure.create("once", topic=shape)
                landed = measure.refresh("once", events)
                synced = measure.sync("once", events)
                results.add(f"{shape}_landing", "MB/s", int(landed.row[1]) / landed.seconds / MEGABYTE)
                results.add(f"{shape}_landing_events", "events/s", events / landed.seconds)
                results.add(f"{shape}_sync_events", "events/s", events / synced.seconds)
                results.add(f"{shape}_both_events", "events/s", events / (landed.seconds + synced.seconds))
                measure.drop("once")


def wide_columns(count):
    """Definition and mapping of the first columns of 100, see produce.c."""
    types = ("bigint", "text", "numeric(12,2)", "timestamptz")
    names = [f"c{i:03}" for i in range(4, count + 1)]
    definition = "".join(f", {name} {types[i % 4]}" for i, name in enumerate(names))
    mapping = "".join(f', "{name}": "{name.upper()}"' for name in names)
    return (measure.TARGET.replace(", refresh_time", f"{definition}, refresh_time"),
            measure.COLUMNS.replace("}", mapping + "}"))


def note_column():
    return (measure.TARGET.replace(", refresh_time", ", note text, refresh_time"),
            measure.COLUMNS.replace("}", ', "note": "NOTE"}'))


SHAPES = {      # kind: shape of the events, target with mapping, bytes of an event
    "narrow": ("plain", (measure.TARGET, measure.COLUMNS), 600),
    "wide4": ("wide", wide_columns(4), 4500),
    "wide100": ("wide", wide_columns(100), 4500),
    "text": ("text", note_column(), 2600),
    "escaped": ("escaped", note_column(), 2600),
    "unicode": ("unicode", note_column(), 2600),
    "long": ("long", note_column(), 21000),
}


def shapes(results, size):
    """Bytes per second of rows of many kinds, beside a sync that takes no event."""
    for kind, (shape, (target, columns), each) in SHAPES.items():
        note(f"rows: {kind}")
        events = int(size.shape_bytes / each)
        with topics("rows") as broker:
            topic = Topic(broker.bootstrap, "rows", max(events // 5, 1), shape)
            topic.send(events)
            megabytes = topic.key_and_value * events / MEGABYTE
            results.add(f"shape_{kind}_bytes", "bytes", topic.key_and_value)
            measure.create("land", topic="rows", target=target, columns=columns)
            results.add(f"shape_{kind}_landing", "MB/s", megabytes / measure.refresh("land", events).seconds)
            for _ in range(size.runs):
                measure.create("scan", landing="land_debezium", target=target, columns=columns,
                               options='"filter": {"source.table": "another"}')
                done = measure.timed("SELECT events FROM cdc_sync('scan')")
                results.add(f"shape_{kind}_scan", "MB/s", megabytes / done.seconds)
                measure.create("once", landing="land_debezium", target=target, columns=columns)
                results.add(f"shape_{kind}_sync", "MB/s", megabytes / measure.sync("once", events).seconds)
                measure.drop("scan")
                measure.drop("once")


# Growth with the work


def scale(results, size):
    """The same by ever more events, a fifth as many keys, in one backlog."""
    for events in size.scale:
        note(f"{events:,} events")
        for run in range(size.runs if events <= size.events else 1):
            with topics("customer") as broker, Peak() as peak:
                measure.create("scale", topic="customer")
                seconds = fill(Topic(broker.bootstrap, "customer", max(events // 5, 1)), "scale", events)
                landing = peak.take()
                results.add(f"scale_{events}_landing", "s", seconds)
                results.add(f"scale_{events}_sync", "s", measure.sync("scale", events).seconds)
            results.add(f"scale_{events}_landing_memory", "MB", landing)
            results.add(f"scale_{events}_sync_memory", "MB", peak.take())


def distinct(results, size):
    """As many keys as events in one backlog."""
    events = max(size.scale)
    note(f"{events:,} distinct keys")
    with topics("customer") as broker, Peak() as peak:
        measure.create("keys", topic="customer")
        fill(Topic(broker.bootstrap, "customer", 0), "keys", events)
        peak.take()
        done = measure.sync("keys", events)
    results.add("distinct", "events", events)
    results.add("distinct_events", "events/s", events / done.seconds)
    results.add("distinct_memory", "MB", peak.take())


# Size of the target


PARTITIONED = "PARTITION BY HASH (customer_id)"


def make_target(name, rows, partitions):
    psql(f"CREATE TABLE {name}_target {measure.TARGET} {PARTITIONED if partitions else ''}")
    for i in range(partitions):
        psql(f"""CREATE TABLE {name}_target{i} PARTITION OF {name}_target
                 FOR VALUES WITH (MODULUS {partitions}, REMAINDER {i})""")
    preload(f"{name}_target", NAMES, rows)


def change(results, name, kind, topic, changes, checkpoint=False):
    """Some changes into a target; a checkpoint before makes that write whole pages to the WAL."""
    topic.send(changes)
    measure.refresh(kind, changes, checkpoint)
    done = measure.timed(f"SELECT events FROM cdc_sync('{kind}')", checkpoint=False)
    if name:
        results.add(name, "ms", 1000 * done.seconds)
        results.add(f"{name}_wal", "bytes", done.wal)


def targets(results, size):
    """Changes into a small table, a large one, and a partitioned large one, by turns."""
    kinds = {"small": (size.target_rows // 100, 0), "large": (size.target_rows, 0),
             "partitioned": (size.target_rows, 16)}
    with topics(*kinds) as broker:
        made = {}
        for kind, (rows, partitions) in kinds.items():
            note(f"a target of {rows:,} rows, {partitions or 'no'} partitions")
            make_target(kind, rows, partitions)
            psql(f"""SELECT cdc_create('{kind}', topic => 'topics.{kind}', target => '{kind}_target',
                                       columns => '{measure.COLUMNS}')""")
            made[kind] = Topic(broker.bootstrap, kind, rows)
        for run in range(3 * size.runs + 1):
            for kind, topic in made.items():
                # the first one finds nothing in any cache
                change(results, f"target_{kind}" if run else "", kind, topic, 1000)
        for changes in 1, 10, 100:
            for _ in range(size.runs):
                for kind, topic in made.items():
                    change(results, f"changes_{changes}_{kind}", kind, topic, changes)
        for _ in range(3 * size.runs):
            for kind, topic in made.items():
                change(results, f"images_{kind}", kind, topic, 1000, checkpoint=True)
        results.add("target_rows", "rows", size.target_rows)
