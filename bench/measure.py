"""What all sections of the benchmark use: the server, brokers, programs,
processes, and the results as they come."""
import contextlib
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "build")
sys.path.append(os.path.join(HERE, "..", "test", "e2e"))
import services  # noqa: E402

PARTITIONS = 256
SEED = 42
MEGABYTE = 1e6
SCHEMA = os.path.join(HERE, "value_schema.json")
TARGET = """(customer_id varchar(256) PRIMARY KEY, customer_name varchar(256),
    market_segment varchar(256), refresh_time timestamp)"""
COLUMNS = '{"customer_id": "CUST_ID", "customer_name": "NAME", "market_segment": "MKTSEGMENT"}'
BY_HAND = '"auto_refresh": false, "auto_sync": false'
TICK = os.sysconf("SC_CLK_TCK")

# Checkpoints and vacuums at times of their own would only be noise.
FOR_FUNCTIONS = {"max_wal_size": "20GB", "checkpoint_timeout": "1h", "autovacuum": "off",
                 "jit": "off", "work_mem": "64MB", "fsync": "off"}
# As in production.  The port is for the JDBC sink.
FOR_WORKERS = {"shared_preload_libraries": "cdcsync", "fsync": "on", "max_wal_size": "4GB",
               "max_worker_processes": "16", "max_locks_per_transaction": "512",
               "listen_addresses": "127.0.0.1"}


def note(text):
    print(f"# {text}", flush=True)


def fail(text):
    sys.exit(f"benchmark: {text}")


# The server


def psql(sql):
    """Run statements in a session of their own; the rows of their results as lists."""
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=sql, capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"{sql}\n{done.stderr}")
    return [line.split("|") for line in done.stdout.splitlines()]


def value(sql):
    return psql(sql)[0][0]


def configure(settings):
    """Restart the server with these settings and no others."""
    port = str(services.free_port())
    data = value("SHOW data_directory")
    changes = "".join(f"ALTER SYSTEM SET {name} = '{setting}';\n"
                      for name, setting in {**settings, "port": port}.items())
    psql("ALTER SYSTEM RESET ALL;\n" + changes)
    log = os.path.join(os.environ["WORK"], "log", "server.log")
    subprocess.run(["pg_ctl", "-D", data, "-l", log, "-w", "restart"], check=True,
                   stdout=subprocess.DEVNULL)
    os.environ["PGPORT"] = port


@contextlib.contextmanager
def database(name):
    """A database of its own: what is measured in another does not work here."""
    psql(f"CREATE DATABASE {name}")
    os.environ["PGDATABASE"] = name
    psql("CREATE EXTENSION cdcsync; CREATE SCHEMA topics")
    yield
    os.environ["PGDATABASE"] = "postgres"
    psql(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass
class Timed:
    seconds: float
    row: list
    wal: int


def timed(statement, checkpoint=True):
    """The server's own time of one statement with its commit, its row, its WAL."""
    if checkpoint:
        psql("CHECKPOINT")
    rows = psql(f"""
        SELECT clock_timestamp() AS start, pg_current_wal_insert_lsn() AS lsn \\gset
        {statement};
        SELECT extract(epoch FROM clock_timestamp() - :'start'), pg_current_wal_insert_lsn() - :'lsn'""")
    return Timed(float(rows[-1][0]), rows[0], int(rows[-1][1]))


class Session:
    """One that stays, and so can ask often without disturbing what it looks at."""

    def __init__(self):
        self.psql = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.psql.stdin.close()
        self.psql.wait()

    def ask(self, sql):
        """The one value that the query gives."""
        self.psql.stdin.write(sql + ";\n")
        self.psql.stdin.flush()
        answer = self.psql.stdout.readline()
        if not answer:
            fail(sql)
        return answer.strip()

    def wait(self, sql, wanted, seconds):
        """Until the query gives this; the time on the monotonic clock then."""
        end = time.monotonic() + seconds
        while (got := self.ask(sql)) != str(wanted):
            if time.monotonic() > end:
                fail(f"{sql}: {got} and not {wanted} after {seconds} s")
            time.sleep(0.02)
        return time.monotonic()


def wait_for(sql, wanted, seconds):
    with Session() as session:
        return session.wait(sql, wanted, seconds)


LANDED = "SELECT coalesce(sum(next_offset), 0) FROM cdcsync.position"
APPLIED = "SELECT coalesce(sum(events), 0) FROM cdcsync.watermark"


def create_server(bootstrap, options=""):
    psql(f"""CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
             OPTIONS (bootstrap_servers '{bootstrap}'{options})""")


def import_topics():
    psql("IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics")


def create(name, topic=None, landing=None, options="", target=TARGET, columns=COLUMNS):
    """A pipeline with the target <name>_target; target None: one that we make."""
    landing = f'"landing": "{landing}"' if landing else ""
    options = "{%s}" % ", ".join(filter(None, (landing, options)))
    source = f"topic => 'topics.{topic}'," if topic else ""
    if target:
        psql(f"CREATE TABLE {name}_target {target}")
        source += f"target => '{name}_target', columns => '{columns}',"
    psql(f"SELECT cdc_create('{name}', {source} options => '{options}')")


def drop(name):
    psql(f"SELECT cdc_drop('{name}', true)")


def refresh(name, expected, checkpoint=True):
    done = timed(f"SELECT records, bytes FROM cdc_refresh('{name}')", checkpoint)
    if int(done.row[0]) != expected:
        fail(f"cdc_refresh read {done.row[0]} of {expected} records")
    return done


def sync(name, expected, checkpoint=True):
    done = timed(f"SELECT events, quarantined FROM cdc_sync('{name}')", checkpoint)
    if done.row != [str(expected), "0"]:
        fail(f"cdc_sync of {expected} events: events, quarantined: {done.row}")
    return done


def disk(relation):
    return int(value(f"SELECT pg_total_relation_size('{relation}')"))


def must_be_equal(one, other):
    """Two queries must give the same rows."""
    differences = value(f"SELECT count(*) FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})) AS x")
    if differences != "0":
        fail(f"{differences} rows differ between {one} and {other}")


# Brokers and programs


def program(name, *args):
    done = subprocess.run([os.path.join(BUILD, "bench_" + name), *map(str, args)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"{name}: {done.stderr}")
    return done.stdout.split()


class Broker:
    """The embedded one, see test/mock_broker.c; its memory goes with it."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "mock_broker")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.bootstrap = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()

    def do(self, *commands):
        self.process.stdin.write("\n".join(commands) + "\n")
        self.process.stdin.flush()
        for command in commands:
            answer = self.process.stdout.readline()
            if not answer.startswith("ok"):
                fail(f"broker: {command}: {answer}")

    def topic(self, name, partitions=PARTITIONS):
        self.do(f"topic {name} {partitions}")


class Kafka:
    """A real one; there is none where Java or Maven is missing."""

    instance = None

    def __init__(self):
        note("start Kafka")
        self.root = os.path.join(os.environ["WORK"], "kafka")
        os.mkdir(self.root)
        self.broker = services.Kafka(self.root, os.path.join(os.environ["E2E_OUT"], "libs"), jvm=())
        self.admin = services.Admin(self.root, self.broker)
        self.bootstrap = self.broker.bootstrap

    @classmethod
    def get(cls):
        """The only one, started when it is first wanted; None where there can be none."""
        if cls.instance is None and os.path.isdir(os.path.join(os.environ.get("E2E_OUT", ""), "libs")):
            cls.instance = cls()
        return cls.instance

    def topic(self, name, partitions):
        # the events tell an old time, which counts for the retention
        self.admin.do("topic", name, partitions, "retention.ms=-1")


@dataclass
class Topic:
    """Events of produce.c, which the broker may hold in rounds only."""
    bootstrap: str
    name: str
    keys: int
    shape: str = "plain"
    partitions: int = PARTITIONS
    sent: int = 0
    key_and_value: float = 0
    all_bytes: float = 0

    def send(self, events):
        """The next events; bytes of the mean event with and without headers are kept."""
        schema = [SCHEMA] if self.shape == "schema" else []
        records, size, all_bytes = map(int, program(
            "produce", self.bootstrap, self.name, self.sent, events, self.keys,
            SEED, self.shape, *schema))
        self.sent += records
        self.key_and_value = size / records
        self.all_bytes = all_bytes / records


def consume(topic, expected):
    """MB/s of a consumer that only counts."""
    records, size, seconds = program("consume", topic.bootstrap, topic.name, topic.partitions)
    if int(records) != expected:
        fail(f"the plain consumer read {records} of {expected} records")
    return float(seconds), int(size)


# Processes


def status_of(pid):
    """What /proc tells in kB, or None if the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            return {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+)(?: kB)?$", f.read(), re.M)}
    except (FileNotFoundError, ProcessLookupError):
        return None


def kind_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
            title = f.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = re.search(r"cdcsync (\w+ worker|manager|launcher)|parallel worker", title)
    return (found.group(1) or found.group(0)) if found else "backend"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        return f.read().split()


def postmaster():
    with open(os.path.join(value("SHOW data_directory"), "postmaster.pid"), encoding="utf-8") as f:
        return f.readline().strip()


def unshared(pid):
    """MB of a process without the shared memory that it has touched."""
    status = status_of(pid)
    return (status["VmRSS"] - status["RssShmem"]) / 1000 if status and "VmRSS" in status else 0


class Peak:
    """The most memory that a process of the server had, by kind, meanwhile."""

    INTERVAL = 0.05

    def __enter__(self):
        self.by_kind = {}
        self.postmaster = postmaster()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()

    def take(self):
        """The greatest of all kinds so far; begin anew."""
        taken, self.by_kind = self.by_kind, {}
        return max(taken.values())

    def watch(self):
        kinds = {}
        while not self.stop.wait(self.INTERVAL):
            for pid in children(self.postmaster):
                # a title is complete a moment after its process has come
                if kinds.get(pid, "backend") == "backend":
                    kinds[pid] = kind_of(pid)
                kind = kinds[pid]
                self.by_kind[kind] = max(self.by_kind.get(kind, 0), unshared(pid))


def workers():
    """Process ids of this database's workers and of the launcher, with their kind."""
    rows = psql("""SELECT pid, substring(backend_type FROM 9) FROM pg_stat_activity
                   WHERE backend_type LIKE 'cdcsync %'
                     AND coalesce(datname, current_database()) = current_database()""")
    return {int(pid): kind for pid, kind in rows}


def cpu_times(pid):
    """Seconds of CPU of a process, and of its children that have ended; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    user, system, children_user, children_system = map(int, fields[11:15])
    return (user + system) / TICK, (children_user + children_system) / TICK


def seconds_used(pid):
    """Seconds of CPU."""
    return cpu_times(pid)[0]


class Work:
    """The CPU of the whole server, and of a broker, from now on."""

    def __init__(self, broker):
        self.broker = broker.process.pid
        self.postmaster = postmaster()
        self.before = self.now()

    def now(self):
        ended = cpu_times(self.postmaster)[1]
        return ended + sum(map(seconds_used, [self.broker, *children(self.postmaster)]))

    def least(self):
        """Seconds that the same work takes if all cores are busy all the time."""
        return (self.now() - self.before) / os.cpu_count()


def machine_times():
    """Ticks of all processors, and those of them that were idle."""
    with open("/proc/stat", encoding="utf-8") as f:
        times = [int(x) for x in f.readline().split()[1:9]]
    return sum(times), times[3] + times[4]


# Results


class Results:
    """Numbers by name, in the order of the runs, and facts that they depend on.

    The file is what everything else is made of, see report.py.
    """

    def __init__(self):
        self.facts = {}
        self.values = {}
        self.units = {}

    def add(self, name, unit, number):
        self.values.setdefault(name, []).append(float(number))
        self.units[name] = unit

    def median(self, name):
        return statistics.median(self.values[name])

    def ratio(self, one, other):
        """Median of the ratios of what was measured in the same turn."""
        return statistics.median(x / y for x, y in zip(self.values[one], self.values[other]))

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(f"# {name}: {fact}\n" for name, fact in self.facts.items())
            f.write("name,unit,median,runs\n")
            for name, values in self.values.items():
                runs = " ".join(f"{v:.6g}" for v in values)
                f.write(f"{name},{self.units[name]},{self.median(name):.6g},{runs}\n")

    @classmethod
    def read(cls, path):
        results = cls()
        with open(path, encoding="utf-8") as f:
            for line in f.read().splitlines():
                if line.startswith("# "):
                    name, fact = line[2:].split(": ", 1)
                    results.facts[name] = fact
                elif line != "name,unit,median,runs":
                    name, results.units[name], _, runs = line.split(",")
                    results.values[name] = [float(v) for v in runs.split()]
        return results
