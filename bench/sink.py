"""From Kafka to the table, whole: the workers beside Debezium's JDBC sink, which
reads the same topic into the same server."""
import os
import time

import measure
from measure import APPLIED, Kafka, Session, Topic, note, psql, services
from workers import by_workers

TOPIC = "sink"
SETTINGS = {
    "default": {},
    "tuned": {
        "batch.size": 5000,
        "use.reduction.buffer": "true",
        # else the consumer hands over 500 records, or 1 MB, at a time
        "consumer.override.max.poll.records": 5000,
        "consumer.override.max.partition.fetch.bytes": 50000000,
    },
}
URL_PARAMETERS = {"default": "", "tuned": "?reWriteBatchedInserts=true"}


def plugins():
    return os.path.join(os.environ.get("E2E_OUT", ""), "plugins")


def connector(kind):
    return {
        "name": f"sink-{kind}",
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "topics": TOPIC,
        "connection.url": f"jdbc:postgresql://127.0.0.1:{os.environ['PGPORT']}/bench{URL_PARAMETERS[kind]}",
        "connection.username": "postgres",
        "connection.password": "none",
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "delete.enabled": "true",
        "schema.evolution": "basic",
        "collection.name.format": f"sink_{kind}",
        **SETTINGS[kind],
    }


def wait_for_row(session, connect, query, seconds):
    """Until the query finds something; the time then.  It asks about twice a second."""
    end = time.monotonic() + seconds
    while session.ask(query) != "1":
        connect.check()
        if time.monotonic() > end:
            measure.fail(f"the JDBC sink is not done after {seconds} s:\n{connect.tail()}")
        time.sleep(0.5)
    return time.monotonic()


def by_sink(kafka, kind, last):
    """Seconds from the moment that its table is there, so without Java's start, to its last row."""
    root = os.path.join(kafka.root, kind)
    os.mkdir(root)
    connect = services.Connect(root, kafka.broker, plugins(), [connector(kind)], jvm=())
    try:
        with Session() as session:
            start = wait_for_row(session, connect, f"SELECT count(*) FROM pg_class WHERE relname = 'sink_{kind}'", 120)
            return wait_for_row(session, connect,
                                f"SELECT count(*) FROM sink_{kind} WHERE cust_id = {last}", 1800) - start
    finally:
        connect.kill()


def sink(results, size):
    kafka = Kafka.get()
    if kafka is None or not os.path.isdir(os.path.join(plugins(), "debezium-connector-jdbc")):
        results.facts["no JDBC sink"] = "there is no Java, or Maven cannot get it"
        return
    events, last = size.sink_events, size.sink_events - 1
    kafka.topic(TOPIC, 1)
    topic = Topic(kafka.bootstrap, TOPIC, events // 2, "schema", partitions=1)
    topic.send(last)
    # one of a key of its own, so that its row tells that all has arrived
    Topic(kafka.bootstrap, TOPIC, 0, "schema", partitions=1, sent=last).send(1)
    results.facts["events for the JDBC sink"] = f"{events}, {events // 2} keys, {topic.key_and_value:.0f} bytes"
    with measure.database("bench"):
        # the disk is the same for both: leave it out, as many do with a sink
        psql("ALTER DATABASE bench SET synchronous_commit = off")
        measure.create_server(kafka.bootstrap)
        psql(f"IMPORT FOREIGN SCHEMA kafka LIMIT TO ({TOPIC}) FROM SERVER broker INTO topics")
        for run, kind in enumerate(SETTINGS, 1):
            note(f"Kafka to table: the workers, and the JDBC sink, {kind}")
            results.add("sink_consumer", "events/s", events / measure.consume(topic, events)[0])
            results.add("sink_own", "events/s", events / by_workers(
                f"own{run}", TOPIC, f"{APPLIED} WHERE pipeline = 'own{run}'", events))
            results.add(f"sink_{kind}", "events/s", events / by_sink(kafka, kind, last))
            measure.must_be_equal(f"SELECT cust_id::varchar, name, mktsegment FROM sink_{kind}",
                                  f"SELECT customer_id, customer_name, market_segment FROM own{run}_target")
