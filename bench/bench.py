#!/usr/bin/python3
"""Measure landing and sync beside what people have without us.

usage: bench.py BROKER EVENTS RUNS RESULT

Called by run.sh, with a server and a broker of its own and the server's psql
in PATH.  Writes RESULT.md and RESULT.csv.  What is compared is measured by
turns, so that what else the machine does hits both; each number is the median
of RUNS runs.  All times are the server's own, of one statement with its commit.
"""
import os
import platform
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "build")
PARTITIONS = 256
SEED = 42
MEGABYTE = 1e6
TARGET = """(customer_id varchar(256) PRIMARY KEY, customer_name varchar(256),
    market_segment varchar(256), refresh_time timestamp)"""
COLUMNS = '{"customer_id": "CUST_ID", "customer_name": "NAME", "market_segment": "MKTSEGMENT"}'


def psql(sql):
    """Run statements in one session; the rows of their results as lists."""
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=sql, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{sql}\n{done.stderr}")
    return [line.split("|") for line in done.stdout.splitlines()]


def timed(statement):
    """Seconds of a statement; its row; peak memory of its backend in MB."""
    psql("CHECKPOINT")
    rows = psql(f"""
        SELECT clock_timestamp() AS start \\gset
        {statement};
        SELECT extract(epoch FROM clock_timestamp() - :'start'),
               substring(status FROM 'VmHWM:\\s+(\\d+)')::bigint / 1000.0,
               substring(status FROM 'RssShmem:\\s+(\\d+)')::bigint / 1000.0
        FROM pg_read_file('/proc/self/status') AS status;""")
    peak, shared = float(rows[-1][1]), float(rows[-1][2])
    return float(rows[-1][0]), rows[0], (peak, shared)


def program(name, *args):
    done = subprocess.run([os.path.join(BUILD, "bench_" + name), *map(str, args)],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    return done.stdout.split()


def broker_command(command):
    """A command to the broker itself; see mock_broker.c."""
    subprocess.run([os.path.join(HERE, "..", "test", "tools", "broker.py"), "do",
                    *command.split()], check=True)


def count(relation):
    return int(psql(f"SELECT count(*) FROM {relation}")[0][0])


def disk(relation):
    return int(psql(f"SELECT pg_total_relation_size('{relation}')")[0][0])


class Report:
    """Numbers by name, as they come, and the two files made of them."""

    def __init__(self):
        self.values = {}
        self.units = {}

    def add(self, name, unit, value):
        self.values.setdefault(name, []).append(value)
        self.units[name] = unit

    def median(self, name):
        return statistics.median(self.values[name])

    def ratio(self, a, b):
        """Median of the ratios of what was measured in the same turn."""
        return statistics.median(x / y for x, y in zip(self.values[a], self.values[b]))

    def write_csv(self, path, about):
        with open(path, "w", encoding="utf-8") as f:
            for key, value in about:
                f.write(f"# {key}: {value}\n")
            f.write("name,unit,median,runs\n")
            for name, values in self.values.items():
                runs = " ".join(f"{v:.6g}" for v in values)
                f.write(f"{name},{self.units[name]},{self.median(name):.6g},{runs}\n")


class Bench:
    def __init__(self, broker, events, runs):
        self.broker = broker
        self.events = events
        self.keys = max(events // 5, 1)
        self.runs = runs
        self.report = Report()
        self.sizes = {}

    def note(self, text):
        print(f"# {text}", flush=True)

    def produce(self, topic, skip, events, *schema):
        records, value_bytes, all_bytes = map(int, program(
            "produce", self.broker, topic, PARTITIONS, skip, events, self.keys, SEED, *schema))
        return value_bytes / records, (all_bytes - value_bytes) / records

    def create(self, name, topic=None, landing=None, target="", preload=False):
        """A pipeline, with the target of its own, <name>_target."""
        psql(f"CREATE TABLE {name}_target {target or TARGET}")
        if preload:
            self.preload(f"{name}_target")
        source = f"topic => 'topics.\"{topic}\"'," if topic else ""
        options = f'{{"landing": "{landing}"}}' if landing else "{}"
        psql(f"""SELECT cdc_create('{name}', {source} target => '{name}_target',
                 columns => '{COLUMNS}', options => '{options}')""")

    def preload(self, table):
        psql(f"""INSERT INTO {table} SELECT n, 'old name', 'OLD', now() AT TIME ZONE 'UTC'
                 FROM generate_series(0, {self.keys - 1}) AS n;
                 VACUUM ANALYZE {table}""")

    def refresh(self, name, expected):
        seconds, row, memory = timed(f"SELECT records, bytes FROM cdc_refresh('{name}')")
        if int(row[0]) != expected:
            sys.exit(f"cdc_refresh read {row[0]} of {expected} records")
        return seconds, int(row[1]), memory

    def landing(self):
        """Landing beside a consumer that counts; the last one stays."""
        self.note("landing, and a plain consumer")
        for run in range(1, self.runs + 1):
            records, size, seconds = program("consume", self.broker, "customer", PARTITIONS)
            if int(records) != self.events:
                sys.exit(f"the plain consumer read {records} of {self.events} records")
            self.report.add("consumer", "MB/s", int(size) / float(seconds) / MEGABYTE)
            self.report.add("consumer_records", "records/s", self.events / float(seconds))
            name = f"land{run}"
            self.create(name, topic="customer")
            seconds, size, (peak, shared) = self.refresh(name, self.events)
            self.report.add("landing", "MB/s", size / seconds / MEGABYTE)
            self.report.add("landing_records", "records/s", self.events / seconds)
            self.report.add("landing_seconds", "s", seconds)
            self.report.add("landing_disk", "bytes", disk(f"{name}_debezium_chunk"))
            self.report.add("landing_peak", "MB", peak)
            self.report.add("landing_peak_shared", "MB", shared)
            if run < self.runs:
                psql(f"SELECT cdc_drop('{name}', true)")
        self.view = f"land{self.runs}_debezium"

    def rows(self):
        """COPY of the same records into a jsonb row each."""
        self.note("COPY into jsonb rows")
        columns = "kafka_partition, kafka_offset, kafka_timestamp_type, kafka_timestamp, kafka_key, kafka_headers, refresh_time, payload"
        path = os.path.join(os.environ["WORK"], "tmp", "events.copy")
        psql(f"COPY (SELECT {columns} FROM {self.view}) TO '{path}'")
        for _ in range(self.runs):
            psql("TRUNCATE bench_events")
            seconds, _, _ = timed(f"COPY bench_events ({columns}) FROM '{path}'")
            self.report.add("rows_seconds", "s", seconds)
            self.report.add("rows_disk", "bytes", disk("bench_events"))
        os.unlink(path)
        psql("VACUUM ANALYZE bench_events")

    def procedure(self, preload):
        psql(f"""DROP TABLE IF EXISTS bench_target; CREATE TABLE bench_target {TARGET};
                 DELETE FROM bench_last_extract WHERE latest_refresh_time > '1983-01-01'""")
        if preload:
            self.preload("bench_target")
        return timed("CALL bench_sync_customer()")[0]

    def compare(self, name):
        """Both ways must have made the same table."""
        columns = "customer_id, customer_name, market_segment"
        differences = count(f"""((TABLE {name}_target EXCEPT TABLE bench_target)
            UNION ALL (TABLE bench_target EXCEPT TABLE {name}_target)) AS x""".replace(
                "TABLE", f"SELECT {columns} FROM"))
        if differences:
            sys.exit(f"{differences} rows differ between cdc_sync and the procedure")

    def sync(self):
        """cdc_sync beside the procedure."""
        for kind, preload in (("empty", False), ("full", True)):
            self.note(f"sync into {'a table that holds the keys' if preload else 'an empty table'}")
            for run in range(1, self.runs + 1):
                name = f"sync_{kind}{run}"
                self.create(name, landing=self.view, preload=preload)
                seconds, row, (peak, shared) = timed(
                    f"SELECT events, quarantined FROM cdc_sync('{name}')")
                if row != [str(self.events), "0"]:
                    sys.exit(f"cdc_sync: events, quarantined: {row}")
                self.report.add(f"sync_{kind}", "s", seconds)
                self.report.add(f"sync_{kind}_events", "events/s", self.events / seconds)
                self.report.add(f"sync_{kind}_peak", "MB", peak)
                self.report.add(f"sync_{kind}_peak_shared", "MB", shared)
                self.report.add(f"procedure_{kind}", "s", self.procedure(preload))
                self.compare(name)
                psql(f"SELECT cdc_drop('{name}', true)")

    def backlog(self):
        """Memory at four times the backlog, which the broker holds in parts."""
        self.note(f"a backlog of {4 * self.events}")
        name = f"land{self.runs}"
        for part in range(1, 4):
            self.produce("customer", part * self.events, self.events)
            _, _, (peak, _) = self.refresh(name, self.events)
            self.report.add("backlog_landing_peak", "MB", peak)
        seconds, row, (peak, shared) = timed(f"SELECT events FROM cdc_sync('{name}')")
        if int(row[0]) != 4 * self.events:
            sys.exit(f"cdc_sync: {row[0]} of {4 * self.events} events")
        self.report.add("backlog_sync_events", "events/s", 4 * self.events / seconds)
        self.report.add("backlog_sync_peak", "MB", peak)
        self.report.add("backlog_sync_peak_shared", "MB", shared)
        psql(f"SELECT cdc_drop('{name}', true)")

    def embedded_schema(self):
        """The same with the schema in every value, a fifth of the events."""
        self.note("events with embedded schema")
        events = max(self.events // 5, 1)
        broker_command(f"topic with_schema {PARTITIONS}")
        psql('IMPORT FOREIGN SCHEMA kafka LIMIT TO (with_schema) FROM SERVER broker INTO topics')
        self.sizes["schema"] = self.produce("with_schema", 0, events,
                                            os.path.join(HERE, "value_schema.json"))
        self.create("schema", topic="with_schema")
        seconds, size, _ = self.refresh("schema", events)
        self.report.add("schema_landing", "MB/s", size / seconds / MEGABYTE)
        self.report.add("schema_landing_records", "records/s", events / seconds)
        for run in range(1, self.runs + 1):
            name = f"schema{run}"
            self.create(name, landing="schema_debezium")
            seconds, row, _ = timed(f"SELECT events, quarantined FROM cdc_sync('{name}')")
            if row != [str(events), "0"]:
                sys.exit(f"cdc_sync: events, quarantined: {row}")
            self.report.add("schema_sync_events", "events/s", events / seconds)
            psql(f"SELECT cdc_drop('{name}', true)")

    def run(self):
        psql(f"""CREATE EXTENSION cdcsync;
                 CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
                 OPTIONS (bootstrap_servers '{self.broker}');
                 CREATE SCHEMA topics""")
        psql(open(os.path.join(HERE, "setup.sql"), encoding="utf-8").read())
        self.note(f"{self.events} events, {self.keys} keys, {PARTITIONS} partitions")
        broker_command(f"topic customer {PARTITIONS}")
        psql("IMPORT FOREIGN SCHEMA kafka LIMIT TO (customer) FROM SERVER broker INTO topics")
        self.sizes["plain"] = self.produce("customer", 0, self.events)
        self.landing()
        self.rows()
        self.sync()
        self.backlog()
        self.embedded_schema()


def about(bench):
    """What the numbers depend on."""
    cpu = ""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo", encoding="utf-8") as f:
        memory = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / 1e6
    settings = ", ".join(f"{name} = {value}" for name, value in psql(
        """SELECT name, current_setting(name) FROM pg_settings WHERE name IN
           ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers',
            'work_mem', 'max_wal_size', 'autovacuum', 'jit', 'lc_collate') ORDER BY name"""))
    version = psql("SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'cdcsync')")[0]
    librdkafka = subprocess.run(["pkg-config", "--modversion", "rdkafka"],
                                capture_output=True, text=True).stdout.strip()
    plain, schema = bench.sizes["plain"], bench.sizes["schema"]
    return [
        ("date", psql("SELECT current_date")[0][0]),
        ("machine", f"{os.cpu_count()} x {cpu.group(1) if cpu else platform.machine()}, "
                    f"{memory:.0f} GB, Linux {platform.release()}"),
        ("versions", f"cdcsync {version[1]}, PostgreSQL {version[0]}, librdkafka {librdkafka or 'unknown'}"),
        ("server", settings),
        ("events", f"{bench.events} records ({plain[0]:.0f} bytes of value, {plain[1]:.0f} of key and headers, "
                   f"on average), {bench.keys} keys, {PARTITIONS} partitions, seed {SEED}"),
        ("with schema", f"{max(bench.events // 5, 1)} records of {schema[0]:.0f} bytes of value"),
        ("runs", f"{bench.runs}, medians; ratios are medians of the ratio in each turn"),
    ]


def table(report):
    m, ratio = report.median, report.ratio

    def seconds(name):
        return f"{m(name):.2f} s"

    def rate(name, records):
        return f"{m(name):.0f} MB/s, {m(records):,.0f} records/s"

    def memory(peak, shared):
        return f"{m(peak):.0f} MB (of it shared buffers: {m(shared):.0f})"

    def megabytes(name):
        return f"{m(name) / MEGABYTE:.0f} MB"

    return [
        ("what", "cdcsync", "beside it", "ratio", "goal"),
        ("---", "---:", "---:", "---:", "---:"),
        ("landing / plain consumer that counts", rate("landing", "landing_records"),
         rate("consumer", "consumer_records"), f"{ratio('landing', 'consumer'):.2f}", ">= 0.4"),
        ("landing from Kafka / COPY of a file into jsonb rows: time", seconds("landing_seconds"),
         seconds("rows_seconds"), f"1/{ratio('rows_seconds', 'landing_seconds'):.1f}", ""),
        ("the same: disk, TOAST and indexes included", megabytes("landing_disk"), megabytes("rows_disk"),
         f"1/{ratio('rows_disk', 'landing_disk'):.1f}", "<= 1/6"),
        ("sync into an empty table / procedure", f"{seconds('sync_empty')}, {m('sync_empty_events'):,.0f} events/s",
         seconds("procedure_empty"), f"{ratio('procedure_empty', 'sync_empty'):.1f} x", ">= 4 x"),
        ("sync into a table that holds the keys / procedure",
         f"{seconds('sync_full')}, {m('sync_full_events'):,.0f} events/s",
         seconds("procedure_full"), f"{ratio('procedure_full', 'sync_full'):.1f} x", ">= 4 x"),
        ("peak memory of the backend: landing", memory("landing_peak", "landing_peak_shared"), "", "", "< 256 MB"),
        ("peak memory of the backend: sync", memory("sync_empty_peak", "sync_empty_peak_shared"), "", "", "< 256 MB"),
        ("the same: sync of a backlog four times as long",
         f"{memory('backlog_sync_peak', 'backlog_sync_peak_shared')}, {m('backlog_sync_events'):,.0f} events/s",
         "", "", "< 256 MB"),
        ("events with embedded schema: landing", rate("schema_landing", "schema_landing_records"), "", "", ""),
        ("events with embedded schema: sync into an empty table", f"{m('schema_sync_events'):,.0f} events/s", "", "", ""),
    ]


def main():
    broker, events, runs, result = sys.argv[1:]
    bench = Bench(broker, int(events), int(runs))
    bench.run()
    facts = about(bench)
    lines = [f"- {key}: {value}" for key, value in facts] + [""]
    lines += ["| " + " | ".join(row) + " |" for row in table(bench.report)]
    text = "\n".join(lines) + "\n"
    with open(result + ".md", "w", encoding="utf-8") as f:
        f.write(text)
    bench.report.write_csv(result + ".csv", facts)
    print(text)


if __name__ == "__main__":
    main()
