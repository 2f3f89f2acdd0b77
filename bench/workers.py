#!/usr/bin/python3
"""Measure the background workers: latency, backlog, idle cost, memory, growth.

usage: workers.py BROKER EVENTS RESULT [latencies | backlog | crowds | growth ..]

Called by run.sh, with a server that has the extension preloaded, the embedded
broker, and in E2E_OUT, if there is Java, what a real Kafka needs.  Writes
RESULT.md and RESULT.csv.  Below a million EVENTS all of it is shorter.
"""
import os
import subprocess
import sys
import time

import bench
from bench import MEGABYTE, Report, psql

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "test", name) for name in ("tools", "e2e")]
import broker as mock  # noqa: E402
import services  # noqa: E402

TOPICS = 10
KEYS = 1000
RATES = (100, 1000, 5000, 20000)
PERCENTILES = ("p50", "p95", "p99", "max")
PARTITIONS = 256
FED = 100000
KINDS = ("launcher", "manager", "ingest worker", "sync worker")
TICK = os.sysconf("SC_CLK_TCK")
TARGET = """(customer_id bigint PRIMARY KEY, customer_name varchar(256),
    market_segment varchar(256), seq bigint, refresh_time timestamp)"""
COLUMNS = '{"customer_id": "CUST_ID", "customer_name": "NAME", "market_segment": "MKTSEGMENT"}'


def note(text):
    print(f"# {text}", flush=True)


def value(sql):
    return psql(sql)[0][0]


def use_database(name):
    """A database of its own; what is measured before does not work in another."""
    psql(f"CREATE DATABASE {name}")
    os.environ["PGDATABASE"] = name
    psql("CREATE EXTENSION cdcsync; CREATE SCHEMA topics")


def drop_database(name):
    os.environ["PGDATABASE"] = "postgres"
    psql(f"DROP DATABASE {name} WITH (FORCE)")


def create_server(bootstrap):
    psql(f"""CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
             OPTIONS (bootstrap_servers '{bootstrap}')""")


def wait_for(sql, wanted, seconds):
    """Wait until the query gives this; seconds that it took."""
    start = time.monotonic()
    while value(sql) != str(wanted):
        if time.monotonic() > start + seconds:
            sys.exit(f"{sql}: {value(sql)} and not {wanted} after {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - start


def workers():
    """Process ids of this database's workers and of the launcher, by kind."""
    rows = psql("""SELECT pid, substring(backend_type FROM 9) FROM pg_stat_activity
                   WHERE backend_type LIKE 'cdcsync %' AND coalesce(datname, current_database()) = current_database()""")
    return {int(pid): kind for pid, kind in rows}


def seconds_used(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid):
    """MB of its own, and all but shared memory."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
    kilobytes = {name: int(fields[name].split()[0]) for name in ("RssAnon", "VmRSS", "RssShmem")}
    return kilobytes["RssAnon"] / 1000, (kilobytes["VmRSS"] - kilobytes["RssShmem"]) / 1000


def machine_times():
    with open("/proc/stat", encoding="utf-8") as f:
        times = [int(x) for x in f.readline().split()[1:9]]
    return sum(times), times[3] + times[4]


class Kafka:
    """A real one, if there is what it needs; else None in .bootstrap."""

    def __init__(self):
        self.bootstrap = None
        libs = os.path.join(os.environ.get("E2E_OUT", ""), "libs")
        if os.path.isdir(libs):
            note("start Kafka")
            root = os.path.join(os.environ["WORK"], "kafka")
            os.mkdir(root)
            kafka = services.Kafka(root, libs)
            self.admin = services.Admin(root, kafka)
            self.bootstrap = kafka.bootstrap

    def topic(self, name):
        self.admin.do("topic", name, 1)


class Workers:
    def __init__(self, broker, events):
        self.broker = broker
        self.events = events
        self.short = events < 1000000
        self.report = Report()
        self.kafka = Kafka()
        self.counts = (1, 100) if self.short else (1, 100, 1000)

    def add(self, name, unit, number):
        self.report.add(name, unit, float(number))

    # Latency

    def make_topics(self, name, bootstrap):
        for i in range(TOPICS):
            if bootstrap == self.kafka.bootstrap:
                self.kafka.topic(f"{name}{i}")
            else:
                mock.speak([f"topic {name}{i} 1"])

    def make_pipelines(self, name, options):
        psql("IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics")
        for i in range(TOPICS):
            psql(f"""CREATE TABLE {name}{i}_target {TARGET};
                     SELECT cdc_create('{name}{i}', topic => 'topics.{name}{i}', target => '{name}{i}_target',
                                       columns => '{COLUMNS}', options => '{options}')""")

    def flow(self, name, bootstrap, options="{}"):
        """Topics with a pipeline each, in a database of their own, that run."""
        use_database(name)
        create_server(bootstrap)
        self.make_topics(name, bootstrap)
        self.make_pipelines(name, options)
        wait_for("SELECT count(*) FROM cdcsync.position", TOPICS, 30)

    def latency(self, name, bootstrap):
        self.flow(name, bootstrap)
        for rate in RATES:
            seconds = 10 if self.short else 20
            note(f"latency, {name}: {rate} events/s")
            before, idle = machine_times()
            result = bench.program("latency", bootstrap, name, TOPICS, KEYS, rate, seconds)
            after, idle_after = machine_times()
            for kind, at in (("visible", 1), ("stored", 5)):
                for i, percentile in enumerate(PERCENTILES):
                    self.add(f"{name}_{rate}_{kind}_{percentile}", "ms", result[at + i])
            self.add(f"{name}_{rate}_busy", "%",
                     100 * (1 - (idle_after - idle) / max(after - before, 1)))
        drop_database(name)

    # Backlog

    def backlog(self):
        """The same topic by hand and by the workers, one after the other."""
        note(f"a backlog of {self.events}, by hand and by the workers")
        keys = max(self.events // 5, 1)
        use_database("backlog")
        create_server(self.broker)
        mock.speak([f"topic backlog {PARTITIONS}"])
        bench.program("produce", self.broker, "backlog", PARTITIONS, 0, self.events, keys, bench.SEED)
        psql("IMPORT FOREIGN SCHEMA kafka LIMIT TO (backlog) FROM SERVER broker INTO topics")
        for name, options in (("hand", '{"auto_refresh": false, "auto_sync": false}'), ("auto", "{}")):
            psql(f"CREATE TABLE {name}_target {bench.TARGET}; CHECKPOINT")
            start = time.monotonic()
            psql(f"""SELECT cdc_create('{name}', topic => 'topics.backlog', target => '{name}_target',
                                       columns => '{bench.COLUMNS}', options => '{options}')""")
            if name == "hand":
                psql(f"SELECT cdc_refresh('{name}'); SELECT cdc_sync('{name}')")
            wait_for(f"SELECT coalesce(sum(events), 0) FROM cdcsync.watermark WHERE pipeline = '{name}'",
                     self.events, 600)
            self.add(f"backlog_{name}", "events/s", self.events / (time.monotonic() - start))
        different = value("""SELECT count(*) FROM ((TABLE hand_target EXCEPT TABLE auto_target)
            UNION ALL (TABLE auto_target EXCEPT TABLE hand_target)) AS x""".replace(
                "TABLE", "SELECT customer_id, customer_name, market_segment FROM"))
        if different != "0":
            sys.exit(f"{different} rows differ between by hand and by the workers")
        drop_database("backlog")

    # Idle cost and memory

    def note_memory(self, name):
        for pid, kind in workers().items():
            own, private = memory(pid)
            self.add(f"{name}_{kind}_anon", "MB", own)
            self.add(f"{name}_{kind}_unshared", "MB", private)

    def note_idle(self, name):
        seconds = 10 if self.short else 30
        psql("CHECKPOINT")
        wal = value("SELECT pg_current_wal_insert_lsn()")
        before = {pid: seconds_used(pid) for pid in workers()}
        time.sleep(seconds)
        for pid, kind in workers().items():
            self.add(f"{name}_{kind}_idle", "%", 100 * (seconds_used(pid) - before[pid]) / seconds)
        self.add(f"{name}_idle_wal", "bytes",
                 value(f"SELECT pg_current_wal_insert_lsn() - '{wal}'"))

    def crowd(self, pipelines):
        name = f"pipelines{pipelines}"
        note(f"idle cost and memory, {pipelines} pipelines")
        use_database(name)
        create_server(self.broker)
        # only what workers do counts: no autovacuum of the new tables meanwhile
        psql("ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()")
        topics = [f"{name}_{i}" for i in range(pipelines)]
        for i in range(0, pipelines, 50):
            mock.speak([f"topic {topic} 1" for topic in topics[i:i + 50]])
        start = time.monotonic()
        psql(f"SELECT count(*) FROM cdc_create_all('broker', topics => '{name}_*')")
        self.add(f"{name}_create", "s", time.monotonic() - start)
        wait_for("SELECT count(*) FROM cdcsync.position", pipelines, 300)
        self.add(f"{name}_open", "s", time.monotonic() - start)
        time.sleep(5)
        self.note_memory(f"{name}_new")
        self.note_idle(name)
        each = FED // pipelines
        for i in range(0, pipelines, 50):
            # what a partition of the embedded broker keeps is limited
            for done in range(0, each, 5000):
                mock.speak([f"bulk {topic} 1 {min(5000, each - done)} 1000 {i}" for topic in topics[i:i + 50]] + ["sync"])
                if each > 5000:
                    wait_for("SELECT coalesce(sum(events), 0) FROM cdcsync.watermark", done + 5000, 60)
        wait_for("SELECT coalesce(sum(events), 0) FROM cdcsync.watermark", each * pipelines, 300)
        self.note_memory(f"{name}_fed")
        psql("ALTER SYSTEM RESET autovacuum; SELECT pg_reload_conf()")
        drop_database(name)

    # Growth

    def sizes(self, name):
        """MB of what changes all the time."""
        return {kind: float(size) / MEGABYTE for kind, size in psql(f"""
            SELECT kind, sum(size) FROM (
                SELECT 'chunks', pg_table_size(chunk) - coalesce(pg_relation_size(c.reltoastrelid), 0)
                FROM cdcsync.landing JOIN pg_class c ON c.oid = chunk
                UNION ALL SELECT 'chunks: TOAST', coalesce(pg_total_relation_size(c.reltoastrelid), 0)
                FROM cdcsync.landing JOIN pg_class c ON c.oid = chunk
                UNION ALL SELECT 'chunks: index', pg_indexes_size(chunk) FROM cdcsync.landing
                UNION ALL SELECT 'staging', pg_total_relation_size(staging) FROM cdcsync.pipeline
                UNION ALL SELECT 'targets', pg_total_relation_size(target) FROM cdcsync.pipeline
                UNION ALL SELECT 'positions', pg_total_relation_size('cdcsync.position')
                UNION ALL SELECT 'watermarks', pg_total_relation_size('cdcsync.watermark')) AS x (kind, size)
            GROUP BY kind""")}

    def growth(self):
        name, bootstrap = "growth", self.kafka.bootstrap or self.broker
        seconds = 120 if self.short else 420
        note(f"growth over {seconds} s at 5,000 events/s, retention one minute")
        self.flow(name, bootstrap, '{"retention": "1 min"}')
        with subprocess.Popen([os.path.join(bench.BUILD, "bench_latency"), bootstrap, name, str(TOPICS),
                               str(KEYS), "5000", str(seconds)], stdout=subprocess.PIPE, text=True) as load:
            for i in range(7):
                for kind, size in self.sizes(name).items():
                    self.add(f"growth_{kind}", "MB", size)
                self.note_memory("growth")
                if i < 6:
                    time.sleep(seconds / 6)
            result = load.stdout.read().split()
        if load.returncode:
            sys.exit("latency failed")
        for i, percentile in enumerate(PERCENTILES):
            self.add(f"growth_visible_{percentile}", "ms", result[1 + i])
        drop_database(name)

    def latencies(self):
        if self.kafka.bootstrap:
            self.latency("kafka", self.kafka.bootstrap)
        self.latency("mock", self.broker)

    def crowds(self):
        for pipelines in self.counts:
            self.crowd(pipelines)

    def run(self, sections):
        for section in sections:
            getattr(self, section)()


def latency_table(report, name):
    lines = [("events/s", *(f"visible: {p}" for p in PERCENTILES), *(f"stored: {p}" for p in PERCENTILES),
              "machine busy"),
             ("---:",) * (2 + 2 * len(PERCENTILES))]
    for rate in RATES:
        row = [f"{rate:,}"]
        for kind in ("visible", "stored"):
            row += [f"{report.median(f'{name}_{rate}_{kind}_{p}'):.0f} ms" for p in PERCENTILES]
        lines.append((*row, f"{report.median(f'{name}_{rate}_busy'):.0f} %"))
    return lines


def crowd_table(report, counts):
    def cells(kind, what, unit, digits):
        return [unit.format(", ".join(f"{v:.{digits}f}" for v in report.values.get(f"pipelines{n}_{what(kind)}", [])))
                for n in counts]

    lines = [("", *(f"{n:,} pipelines" for n in counts)), ("---", *("---:",) * len(counts)),
             ("made and read from after", *(f"{report.median(f'pipelines{n}_open'):.1f} s" for n in counts))]
    for kind in KINDS:
        lines.append((f"{kind}, idle: CPU", *cells(kind, lambda k: f"{k}_idle", "{} %", 2)))
    lines.append(("WAL in that time", *(f"{report.median(f'pipelines{n}_idle_wal'):.0f} bytes" for n in counts)))
    for state, text in (("new", "new"), ("fed", f"after {FED:,} events")):
        for kind in KINDS[1:]:
            lines.append((f"{kind}, {text}: memory", *cells(kind, lambda k: f"{state}_{k}_anon", "{} MB", 0)))
    return lines


def growth_table(report):
    names = [name for name in report.values if name.startswith("growth_") and report.units[name] == "MB"
             and not name.endswith("_unshared")]
    lines = [("", *(f"{i}/6" for i in range(7))), ("---", *("---:",) * 7)]
    for name in names:
        values = report.values[name]
        each = max(len(values) // 7, 1)
        if "launcher" in name:
            continue
        lines.append((name[len("growth_"):].replace("_anon", ", memory"),
                      *(f"{max(values[i:i + each]):.1f} MB" for i in range(0, len(values), each))))
    return lines


def backlog_table(report):
    return [("what", "by hand", "by the workers", "ratio"), ("---", "---:", "---:", "---:"),
            ("landing and sync of a backlog", f"{report.median('backlog_hand'):,.0f} events/s",
             f"{report.median('backlog_auto'):,.0f} events/s", f"{report.ratio('backlog_auto', 'backlog_hand'):.2f}")]


def tables(report, counts, sections):
    for name in ("kafka", "mock"):
        if f"{name}_{RATES[0]}_busy" in report.values:
            yield f"Latency, {'Kafka' if name == 'kafka' else 'the embedded broker'}:"
            yield latency_table(report, name)
    if "backlog" in sections:
        yield "Backlog:"
        yield backlog_table(report)
    if "crowds" in sections:
        yield "Idle cost and memory (not shared) of each process:"
        yield crowd_table(report, counts)
    if "growth" in sections:
        yield "Sizes under 5,000 events/s with a retention of one minute, over time:"
        yield growth_table(report)


def about(events):
    settings = ", ".join(f"{name} = {setting}" for name, setting in psql(
        """SELECT name, current_setting(name) FROM pg_settings WHERE name IN
           ('fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'autovacuum',
            'cdcsync.commit_delay', 'cdcsync.max_sync_workers') ORDER BY name"""))
    return [("date", value("SELECT current_date")), ("cores", os.cpu_count()), ("server", settings),
            ("events", events), ("topics", f"{TOPICS} with a partition, {KEYS} keys each"),
            ("load of the machine at the end", open("/proc/loadavg", encoding="utf-8").read().split()[0])]


def main():
    broker, events, result = sys.argv[1:4]
    sections = sys.argv[4:] or ["latencies", "backlog", "crowds", "growth"]
    workers_bench = Workers(broker, int(events))
    try:
        workers_bench.run(sections)
    finally:
        services.stop_all()
    facts = about(events)
    lines = [f"- {key}: {fact}" for key, fact in facts]
    for part in tables(workers_bench.report, workers_bench.counts, sections):
        lines += ["", part] if isinstance(part, str) else \
            ["", *("| " + " | ".join(row) + " |" for row in part)]
    text = "\n".join(lines) + "\n"
    with open(result + ".md", "w", encoding="utf-8") as f:
        f.write(text)
    workers_bench.report.write_csv(result + ".csv", facts)
    print(text)


if __name__ == "__main__":
    main()
