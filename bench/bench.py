#!/usr/bin/python3
"""Measure cdcsync beside what people have without it.

usage: bench.py SIZE RESULT STEADY [SECTION ..]

Called by run.sh, with a server of its own, the server's programs in PATH, and
in E2E_OUT, if there is Java, what a real Kafka and the JDBC sink need.  SIZE is
full or short; STEADY is how many seconds the steady load shall last, or "-".
Writes the file RESULT after each section; report.py makes tables and graphs of it.

What is compared is measured by turns, so that what else the machine does hits
both; each number is the median of several runs, each ratio the median of the
ratios of the turns.
"""
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import functions
import measure
import sink
import workers


@dataclass
class Size:
    runs: int
    events: int
    scale: tuple            # events of one backlog
    shape_bytes: float      # of events of each kind of row
    target_rows: int        # of a large target
    sink_events: int
    pipelines: tuple
    idle_seconds: int
    latency_seconds: int
    steady_seconds: int

    @property
    def keys(self):
        return self.events // 5


SIZES = {
    "full": Size(runs=3, events=1000000, scale=(100000, 1000000, 10000000), shape_bytes=200e6,
                 target_rows=10000000, sink_events=400000, pipelines=(1, 10, 100, 1000),
                 idle_seconds=10, latency_seconds=20, steady_seconds=120),
    "short": Size(runs=2, events=200000, scale=(20000, 100000, 400000), shape_bytes=30e6,
                  target_rows=300000, sink_events=20000, pipelines=(1, 10, 100),
                  idle_seconds=3, latency_seconds=3, steady_seconds=12),
}
BY_FUNCTIONS = {"basics": functions.basics, "schema": functions.schema, "shapes": functions.shapes,
                "scale": functions.scale, "distinct": functions.distinct, "targets": functions.targets}
BY_WORKERS = {"slices": workers.slices, "together": workers.together, "memory": workers.memory,
              "pipelines": workers.crowds, "latency": workers.latency, "sink": sink.sink,
              "steady": workers.steady}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo", encoding="utf-8") as f:
        memory = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / 1e6
    name = cpu.group(1) if cpu else platform.machine()
    return f"{os.cpu_count()} x {name}, {memory:.0f} GB, Linux {platform.release()}"


def versions():
    librdkafka = subprocess.run(["pkg-config", "--modversion", "rdkafka"], capture_output=True,
                                text=True, check=False).stdout.strip()
    return ", ".join([
        "cdcsync " + measure.value("SELECT default_version FROM pg_available_extensions WHERE name = 'cdcsync'"),
        "PostgreSQL " + measure.value("SHOW server_version").split()[0],
        f"librdkafka {librdkafka or 'unknown'}"])


def settings():
    return ", ".join(f"{name} = {setting}" for name, setting in measure.psql(
        """SELECT name, current_setting(name) FROM pg_settings WHERE name IN
           ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'work_mem',
            'max_wal_size', 'autovacuum', 'jit', 'cdcsync.commit_delay', 'cdcsync.max_sync_workers')
           ORDER BY name"""))


def run(results, size, path, sections):
    """All sections of one kind, on the server as it is now."""
    for name, section in sections.items():
        start = time.monotonic()
        section(results, size)
        results.add(f"section_{name}", "s", time.monotonic() - start)
        results.facts["load of the machine at the end"] = f"{os.getloadavg()[1]:.2f}"
        results.write(path)


def main():
    name, path, steady, *chosen = sys.argv[1:]
    size = SIZES[name] if steady == "-" else replace(SIZES[name], steady_seconds=int(steady))
    # what was started is stopped in any case
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results = measure.Results()
    results.facts.update(date=measure.value("SELECT current_date"), machine=machine(), versions=versions(),
                         size=f"{name}, " + ", ".join(f"{field} {of}" for field, of in vars(size).items()))
    try:
        for kind, with_settings, sections in (("functions", measure.FOR_FUNCTIONS, BY_FUNCTIONS),
                                              ("workers", measure.FOR_WORKERS, BY_WORKERS)):
            sections = {name: section for name, section in sections.items() if not chosen or name in chosen}
            if sections:
                measure.configure(with_settings)
                results.facts[f"server of the {kind}"] = settings()
                run(results, size, path, sections)
    finally:
        measure.services.stop_all()


if __name__ == "__main__":
    main()
