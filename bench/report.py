#!/usr/bin/python3
"""Make tables and graphs of the results of bench.py, and nothing else: no figure
in README.md is typed by hand.

usage: report.py FILE.csv           write FILE.md beside it
       report.py --readme FILE.csv  bring them to README.md, between its marks,
                                    and draw docs/performance.svg
"""
import os
import re
import statistics
import sys

import chart
from measure import MEGABYTE, Results
from workers import PERCENTILES

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PICTURE = os.path.join("docs", "performance.svg")
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


# How numbers look


def seconds(x):
    return f"{x:.2f} s" if x < 100 else f"{x:.0f} s"


def megabytes(x):
    return f"{x / MEGABYTE:,.0f} MB" if x >= 10 * MEGABYTE else f"{x / MEGABYTE:.1f} MB"


def count_of(unit):
    return lambda x: f"{x:,.0f} {unit}"


records, events, milliseconds, mb = map(count_of, ("records/s", "events/s", "ms", "MB"))


def table(head, rows):
    """Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# The table of ratios


class Goal:
    def __init__(self, least=None, most=None, unit=""):
        self.least, self.most, self.unit = least, most, unit

    def __str__(self):
        limit = self.most if self.least is None else self.least
        return f"{'<=' if self.least is None else '>='} {limit:,g}{self.unit}"

    def met_by(self, x):
        return x <= self.most if self.least is None else x >= self.least


def faster(r, ours, other, show, goal):
    """A rate of ours beside another one."""
    return show(r.median(ours)), show(r.median(other)), r.ratio(ours, other), goal


def cheaper(r, ours, other, show, goal):
    """What another way takes, in that of ours."""
    return show(r.median(ours)), show(r.median(other)), r.ratio(other, ours), goal


def absolute(r, name, show, goal):
    return show(r.median(name)), "", r.median(name), goal


def sync_beside_procedure(r, kind, other, least):
    took, procedure, ratio, goal = cheaper(r, f"sync_{kind}", f"procedure_{other}", seconds, Goal(least))
    return f"{took}, {events(r.median(f'sync_{kind}_events'))}", procedure, ratio, goal


def beside_better_sink(r):
    own = r.values["sink_own"]
    sinks = {kind: r.median(f"sink_{kind}") for kind in ("default", "tuned")}
    return (events(r.median("sink_own")), ", ".join(f"{kind} {events(rate)}" for kind, rate in sinks.items()),
            min(x / rate for x, rate in zip(own, sinks.values())), Goal(20))


def consumer_beside_sink(r):
    """The bound of all that reads the records from Kafka first."""
    better = max(r.median("sink_default"), r.median("sink_tuned"))
    return (events(r.median("sink_consumer")), events(better), r.median("sink_consumer") / better, None)


def copy_beside_consumer(r):
    """The same bound."""
    alone = [took * own / other for took, own, other in
             zip(r.values["landing_seconds"], r.values["landing_records"], r.values["consumer_records"])]
    return (seconds(statistics.median(alone)), seconds(r.median("rows_seconds")),
            statistics.median(x / y for x, y in zip(r.values["rows_seconds"], alone)), None)


def largest_memory(r):
    most, name = max((max(r.values[name]), name) for name in parts(r, "(.*_memory|memory_.*)"))
    return f"{mb(most)} ({name.replace('_', ' ')})", "", most, Goal(most=256, unit=" MB")


RATIOS = (
    ("landing (`cdc_refresh`) / consumer that only counts",
     lambda r: faster(r, "landing_records", "consumer_records", records, Goal(0.6))),
    ("the same by one worker, from the making of the pipeline",
     lambda r: faster(r, "slices_1", "slices_consumer", records, None)),
    ("the same by two (`workers` = 2)",
     lambda r: faster(r, "slices_2", "slices_consumer", records, Goal(0.8))),
    ("what they and the broker need of CPU, on all cores at once: the bound of the ratio above",
     lambda r: faster(r, "slices_2_bound", "slices_consumer", records, None)),
    ("`COPY` of a file into a jsonb row a record / landing from Kafka: time",
     lambda r: cheaper(r, "landing_seconds", "rows_seconds", seconds, Goal(12))),
    ("the same `COPY` / the consumer that only counts: the bound of the ratio above", copy_beside_consumer),
    ("the same: disk, with TOAST and indexes",
     lambda r: cheaper(r, "landing_disk", "rows_disk", megabytes, Goal(8))),
    ("hand-written procedure over the jsonb rows / `cdc_sync`: empty table with a primary key",
     lambda r: sync_beside_procedure(r, "empty", "empty", 6)),
    ("`cdc_sync` into an empty table",
     lambda r: absolute(r, "sync_empty_events", events, Goal(450000))),
    ("procedure / `cdc_sync`: table made by us that holds the keys",
     lambda r: sync_beside_procedure(r, "made", "full", 7)),
    ("procedure / `cdc_sync`: given table, fillfactor 100, that holds the keys",
     lambda r: sync_beside_procedure(r, "given", "full", 4.5)),
    ("landing and sync by the workers together / one after the other",
     lambda r: (seconds(r.median("together")), seconds(r.median("together_sum")),
                r.ratio("together", "together_sum"), Goal(most=0.7))),
    ("what the two alone and the broker need of CPU, on all cores at once: the bound of the ratio above",
     lambda r: (seconds(r.median("together_bound")), seconds(r.median("together_sum")),
                r.ratio("together_bound", "together_sum"), None)),
    ("`cdc_sync`: embedded schema / JSON without",
     lambda r: faster(r, "schema_sync_events", "plain_sync_events", events, Goal(0.65))),
    ("landing and `cdc_sync`: embedded schema / JSON without",
     lambda r: faster(r, "schema_both_events", "plain_both_events", events, Goal(0.65))),
    ("the consumer that only counts: embedded schema / JSON without",
     lambda r: faster(r, "schema_consumer_events", "plain_consumer_events", events, None)),
    ("Kafka to table by the worker / Debezium JDBC sink, embedded schema", beside_better_sink),
    ("the consumer that only counts / the better sink: the bound of the ratio above", consumer_beside_sink),
    ("1,000 changes: a target of {target_rows} rows / one of 1 % of that",
     lambda r: (milliseconds(r.median("target_large")), milliseconds(r.median("target_small")),
                r.ratio("target_large", "target_small"), Goal(most=1.5))),
    ("the same: 16 partitions / none",
     lambda r: (milliseconds(r.median("target_partitioned")), milliseconds(r.median("target_large")),
                r.ratio("target_partitioned", "target_large"), Goal(most=1.5))),
    ("the first after a checkpoint, which writes whole pages to the WAL: {target_rows} rows / 1 % of that",
     lambda r: (milliseconds(r.median("images_large")), milliseconds(r.median("images_small")),
                r.ratio("images_large", "images_small"), None)),
    ("source commit to visible in the target at 5,000 events/s: p50",
     lambda r: (milliseconds(r.median("latency_5000_visible_p50")), milliseconds(r.median("latency_5000_stored_p50")),
                r.median("latency_5000_visible_p50"), Goal(most=150, unit=" ms"))),
    ("the same: p99",
     lambda r: (milliseconds(r.median("latency_5000_visible_p99")), milliseconds(r.median("latency_5000_stored_p99")),
                r.median("latency_5000_visible_p99"), Goal(most=500, unit=" ms"))),
    ("the most memory of any process, without shared buffers", largest_memory),
)


def ratio_cells(r, make):
    try:
        ours, other, number, goal = make(r)
    except KeyError:
        return ["not measured", r.facts.get("no JDBC sink", "") if make is beside_better_sink else "", "", ""]
    if goal is None:
        return [ours, other, f"{number:.2f}", ""]
    verdict = str(goal) if goal.met_by(number) else f"{goal}: missed"
    return [ours, other, "" if goal.unit or goal.least and goal.least > 1000 else f"{number:.2f}", verdict]


def ratios(r):
    rows = f"{r.median('target_rows'):,.0f}" if "target_rows" in r.values else "10,000,000"
    return table(["what", "cdcsync", "beside it", "ratio", "goal"],
                 [[title.replace("{target_rows}", rows), *ratio_cells(r, make)] for title, make in RATIOS])


# The others


def parts(r, pattern):
    """What the group of the pattern is in the names that there are, in their order."""
    found = (re.fullmatch(pattern, name) for name in r.values)
    names = list(dict.fromkeys(match.group(1) for match in found if match))
    if not names:
        raise KeyError(pattern)
    return names


KINDS_OF_ROWS = {
    "narrow": "3 columns", "wide4": "100 columns, 4 mapped", "wide100": "100 columns, all mapped",
    "text": "3 columns and a text of 1 kB", "escaped": "the same, a tenth of it escapes",
    "unicode": "the same, not ASCII", "long": "3 columns and a text of 10 kB",
}


def shapes(r):
    rows = []
    for kind in parts(r, r"shape_(\w+)_bytes"):
        def cell(what, kind=kind):
            return f"{r.median(f'shape_{kind}_{what}'):,.0f} MB/s"
        rows.append([KINDS_OF_ROWS[kind], f"{r.median(f'shape_{kind}_bytes'):,.0f}", cell("landing"), cell("scan"),
                     cell("sync"), f"{r.ratio(f'shape_{kind}_sync', f'shape_{kind}_scan'):.2f}"])
    return table(["rows", "bytes of an event", "landing", "scan alone", "sync", "sync / scan"], rows)


def scale(r):
    rows = []
    for name in parts(r, r"scale_(\d+)_sync"):
        n = int(name)
        landing, sync = (r.median(f"scale_{name}_{what}") for what in ("landing", "sync"))
        rows.append([f"{n:,}", seconds(landing), f"{landing / n * 1e6:.2f} us", seconds(sync),
                     f"{sync / n * 1e6:.2f} us",
                     mb(r.median(f"scale_{name}_landing_memory")), mb(r.median(f"scale_{name}_sync_memory"))])
    return table(["events in one backlog", "landing", "each", "sync", "each", "memory: landing", "sync"], rows)


def memory(r):
    """Of the workers, by events of backlog; and with as many keys as events."""
    sizes = parts(r, r"memory_(\d+)_sync worker")
    rows = [[kind, *(mb(r.median(f"memory_{n}_{kind}")) for n in sizes)]
            for kind in ("manager", "ingest worker", "sync worker")]
    text = table(["process", *(f"{int(n):,} events of backlog" for n in sizes)], rows)
    if "distinct" in r.values:
        text += (f"\n\n`cdc_sync` of {r.median('distinct'):,.0f} distinct keys in one backlog: "
                 f"{mb(r.median('distinct_memory'))}, {events(r.median('distinct_events'))}.")
    return text


def pipelines(r):
    counts = parts(r, r"pipelines_(\d+)_open")

    def row(title, name, show):
        return [title, *(show(r.values[f"pipelines_{n}_{name}"]) for n in counts)]
    rows = [row("made and read from after", "open", lambda v: f"{v[0]:.1f} s"),
            row("WAL written while idle", "idle_wal", lambda v: f"{v[0]:.0f} bytes")]
    for kind in ("manager", "ingest worker", "sync worker"):
        rows.append(row(f"{kind}, idle: of a core", f"{kind}_idle", lambda v: f"{max(v):.2f} %"))
    for kind in ("ingest worker", "sync worker"):
        if f"pipelines_{counts[0]}_{kind}_first" in r.values:
            rows.append(row(f"{kind}: CPU for the first 10 events of each, which make the targets",
                            f"{kind}_first", lambda v: f"{v[0]:.2f} s"))
        rows.append(row(f"{kind}: CPU for 100,000 events", f"{kind}_cpu", lambda v: f"{v[0]:.2f} s"))
    for kind in ("manager", "ingest worker", "sync worker"):
        rows.append(row(f"{kind}: memory, at most", f"{kind}_memory", lambda v: mb(v[0])))
    return table(["", *(f"{int(n):,} pipeline{'s' * (n != '1')}" for n in counts)], rows)


def latency(r):
    rows = [[f"{int(rate):,}",
             *(milliseconds(r.median(f"latency_{rate}_visible_{p}")) for p in PERCENTILES),
             ", ".join(milliseconds(r.median(f"latency_{rate}_stored_{p}")) for p in ("p50", "p99")),
             f"{r.median(f'latency_{rate}_busy'):.0f} %"]
            for rate in parts(r, r"latency_(\d+)_busy")]
    return table(["events/s", *PERCENTILES, "the producer's own round trip: p50, p99", "machine busy"], rows)


def changes(r):
    """A few of them, by the kind of target."""
    rows = f"{r.median('target_rows'):,.0f} rows"
    kinds = {"small": "1 % of that", "large": rows, "partitioned": f"{rows}, 16 partitions"}

    def row(title, name):
        return [title, *(f"{r.median(name.format(kind)):.1f} ms, {r.median(name.format(kind) + '_wal') / 1000:,.0f} kB"
                         for kind in kinds)]
    return table(["changes", *kinds.values()],
                 [*(row(n, f"changes_{n}_{{}}") for n in parts(r, r"changes_(\d+)_large")),
                  row("1,000", "target_{}"), row("1,000 after a checkpoint", "images_{}")])


def writes(r):
    """WAL and growth of a sync, beside the rows that it changed."""
    titles = {"empty": "an empty table", "made": "a table made by us that holds the keys",
              "given": "a given table that holds the keys"}
    rows = []
    for kind, title in titles.items():
        changed = r.median(f"sync_{kind}_rows")
        rows.append([f"`cdc_sync` into {title}", megabytes(changed), megabytes(r.median(f"sync_{kind}_wal")),
                     f"{r.ratio(f'sync_{kind}_wal', f'sync_{kind}_rows'):.2f}",
                     megabytes(r.median(f"sync_{kind}_growth"))])
    rows.append(["the procedure, into one that holds the keys, without its jsonb rows", "",
                 megabytes(r.median("procedure_full_wal")), "", ""])
    for title, name in (("landing", "landing"), ("the jsonb rows", "rows")):
        rows.append([title, megabytes(r.median("landing_bytes")), megabytes(r.median(f"{name}_wal")),
                     f"{r.ratio(f'{name}_wal', 'landing_bytes'):.2f}", megabytes(r.median(f"{name}_disk"))])
    return table(["what", "size of the changed rows, or records", "WAL", "ratio", "growth, with indexes"], rows)


def steady(r):
    names = ("landings", "staging", "targets", "catalog")
    looks = len(r.values["steady_targets"])
    head = ["", *(f"{i * r.median('steady_seconds') / (looks - 1):.0f} s" for i in range(looks))]
    rows = [[name, *(f"{v:.1f} MB" for v in r.values[f"steady_{name}"])] for name in names]
    return (table(head, rows) + "\n\n"
            f"WAL per event: {r.median('steady_wal'):,.0f} bytes, of a changed row of "
            f"{r.median('steady_row'):.0f} bytes and of the landed record; visible after {milliseconds(r.median('steady_visible_p50'))} (p50), "
            f"{milliseconds(r.median('steady_visible_p99'))} (p99).")


TABLES = (
    ("Each ratio is of two things measured by turns in the same run.", ratios),
    ("Cost grows as the work grows. By events:", scale),
    ("By pipelines, each with a topic of its own, 100,000 events in all:", pipelines),
    ("Memory of each process, without shared buffers, at the most:", memory),
    ("Latency, from the time in the event, which the producer writes, to the row that a reader sees:", latency),
    ("Rows of other kinds. The scan alone is a sync whose filter takes no event:", shapes),
    ("A few changes into a table that holds the keys, in a session of their own: time and WAL", changes),
    ("What the same events write. The size of changed rows is that of their last versions:", writes),
    ("A steady load of 5,000 events/s, retention one minute, autovacuum on: sizes over time.", steady),
)


def report(r, tables=TABLES):
    """Markdown: how it was made, and the tables."""
    text = "".join(f"- {name}: {fact}\n" for name, fact in r.facts.items())
    for title, make in tables:
        try:
            made = make(r)
        except KeyError:
            made = "Not measured."
        text += f"\n{title}\n\n{made}\n"
    return text


# Graphs


def series(r, pattern, name):
    """Points of a line: what the pattern finds is x, and y is of that name."""
    return [(float(x), max(r.median(name.format(x)), 0.01)) for x in parts(r, pattern)]


def picture(r):
    scaled, crowd = r"scale_(\d+)_sync", r"pipelines_(\d+)_open"
    workers = ("ingest worker", "sync worker")
    return chart.draw([
        chart.Chart("seconds, by events in one backlog", "events; dashed: in proportion",
                    {what: series(r, scaled, f"scale_{{}}_{what}") for what in ("landing", "sync")}, True),
        chart.Chart("CPU seconds for 100,000 events", "pipelines that share them",
                    {kind: series(r, crowd, f"pipelines_{{}}_{kind}_cpu") for kind in workers}),
        chart.Chart("memory in MB, without shared buffers", "pipelines",
                    {kind: series(r, crowd, f"pipelines_{{}}_{kind}_memory") for kind in workers}),
    ])


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def update_readme(r, results):
    """The first table and the graph, in the place of those before; all tables are beside the results."""
    path = os.path.join(REPO, "README.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    image = f"![Cost by events and by pipelines]({PICTURE})"
    rest = os.path.relpath(os.path.splitext(os.path.abspath(results))[0] + ".md", REPO)
    more = ("Growth with events and pipelines, memory, latency, other kinds of rows, WAL and the steady load of this run: "
            f"[{rest}]({rest}).")
    write(path, f"{before}{BEGIN}\n{report(r, TABLES[:1])}\n{more}\n\n{image}\n\n{END}{after}")
    write(os.path.join(REPO, PICTURE), picture(r))


def main():
    *option, path = sys.argv[1:]
    results = Results.read(path)
    if option == ["--readme"]:
        update_readme(results, path)
    else:
        write(os.path.splitext(path)[0] + ".md", report(results))


if __name__ == "__main__":
    main()
