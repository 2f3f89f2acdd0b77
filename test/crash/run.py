#!/usr/bin/env python3
"""Kill whatever can be killed, and see that nothing is lost or doubled.

usage: run.py [--kills N] [--seed N] [--only kills|faults|memory] [--by-hand]

PG_CONFIG names a PostgreSQL that the extension is installed in; WORK is a
directory for servers and builds, a temporary one if it is not set.  Prints
TAP; a failure names the seed that repeats the same kills.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from faults import run_faults, run_memory
from kills import Round
from services import Cluster, Failed

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.dirname(os.path.dirname(HERE))
KILLS_A_ROUND = 50
MOST_LINES = 12


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def test(self, good, what, details=()):
        self.count += 1
        self.failed += not good
        print('%sok %d - %s' % ('' if good else 'not ', self.count, what))
        for text in details[:MOST_LINES]:
            self.say(text)
        if len(details) > MOST_LINES:
            self.say('.. %d more' % (len(details) - MOST_LINES))
        sys.stdout.flush()
        return good

    @staticmethod
    def say(text):
        for line in str(text).rstrip('\n').split('\n'):
            print('# ' + line)
        sys.stdout.flush()


def pg_config(what):
    return subprocess.run([os.environ.get('PG_CONFIG', 'pg_config'), what], check=True,
                          stdout=subprocess.PIPE).stdout.decode().strip()


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


class Summary:
    def __init__(self):
        self.kills = self.lost = self.doubled = self.backward = 0
        self.other = self.looks = self.records = 0
        self.restarts, self.done = [], {}

    def add(self, round_, kills):
        self.kills += kills
        self.lost += len(round_.lost)
        self.doubled += len(round_.doubled)
        self.backward += len(round_.backward)
        self.other += len(round_.faults)
        self.looks += round_.looks
        self.records += round_.records
        self.restarts += round_.restarts
        for name, n in round_.done.items():
            self.done[name] = self.done.get(name, 0) + n

    def say(self, tap, seconds):
        tap.say('; '.join('%s %d' % item for item in sorted(self.done.items())))
        times = [t for t, _ in self.restarts]
        tap.say('from a kill to the next progress: median %.2f s, 95%% %.2f s, longest'
                ' %.2f s (%s)' % (quantile(times, 0.5), quantile(times, 0.95),
                                  *max(self.restarts, default=(0, '-'))))
        tap.say('%d kills in %d s, %d records, %d looks: %d lost, %d twice, %d steps'
                ' back, %d other faults' % (
                    self.kills, seconds, self.records, self.looks, self.lost,
                    self.doubled, self.backward, self.other))


def run_kills(tap, work, args):
    cluster = Cluster(pg_config('--bindir'), os.path.join(work, 'kills'))
    summary, begin, number = Summary(), time.monotonic(), 0
    try:
        cluster.start()
        while summary.kills < args.kills:
            seed = args.seed + number
            # one round in four does without the workers
            by_hand = args.by_hand or number % 4 == 3
            number += 1
            since = cluster.log_size()
            round_ = Round(cluster, number, seed, by_hand,
                           os.path.join(SOURCES, 'build', 'mock_broker'), tap.say)
            try:
                round_.prepare()
                kills = round_.run(min(KILLS_A_ROUND, args.kills - summary.kills))
            finally:
                round_.broker.stop()
            summary.add(round_, kills)
            wrong = round_.lost + round_.doubled + round_.backward + round_.faults
            tap.test(not wrong and kills > 0, '%d kills of %s, seed %d: nothing lost,'
                     ' nothing twice, no step back' % (
                         kills, 'sessions' if by_hand else 'workers', seed), wrong)
            crashes = cluster.crashes(since)
            tap.test(not crashes, 'the server has not crashed but where it was killed',
                     crashes)
            if kills == 0:
                break
            if number == 1:
                unnoticed = round_.unnoticed()
                tap.test(not unnoticed, 'the oracle notices whatever is done by hand',
                         unnoticed)
            round_.close()
    finally:
        summary.say(tap, time.monotonic() - begin)
        cluster.abandon()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=int(time.time()) % 1000000)
    parser.add_argument('--only', choices=['kills', 'faults', 'memory'])
    parser.add_argument('--by-hand', action='store_true')
    parser.add_argument('--places', default='', help='pattern of names')
    parser.add_argument('--allocations', type=int, default=40)
    args = parser.parse_args()
    tap = Tap()
    tap.say('seed %d' % args.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    work = tempfile.mkdtemp(prefix='crash.', dir=os.environ.get('WORK'))
    try:
        if args.only in (None, 'kills'):
            run_kills(tap, work, args)
        if args.only in (None, 'faults'):
            run_faults(tap, work, SOURCES, args.seed, pg_config, args.places)
        if args.only in (None, 'memory'):
            run_memory(tap, work, SOURCES, args.seed, pg_config, args.allocations)
    except Failed as error:
        tap.test(False, 'the run comes to its end', [error])
    finally:
        if os.environ.get('KEEP'):
            tap.say('kept: ' + work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    print('1..%d' % tap.count)
    return 1 if tap.failed else 0


if __name__ == '__main__':
    sys.exit(main())
