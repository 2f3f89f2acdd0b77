#!/usr/bin/env python3
"""Snapshots that replace the target, against a model of source and connector.

A source's table changes at random; a connector streams the changes, goes blind
for a while (what happens then is lost), and reads the table anew: with the marks
of new connectors or of old ones, aborted and begun again, in several partitions,
with incremental snapshots in between.  Its records are inserted and synced in
slices, some syncs are rolled back.  Whenever all has been synced, and no
snapshot is under way, the target must be what the source's table was when the
last record was sent, and must be called exact.  In the modes that keep what is
gone, the rows that count are those that are there still; of a key, history must
have each value that was sent once, one after the other.

The model is the source itself: it knows nothing of how the target is swept.
"""

import argparse
import json
import random
import sys
import time

import pg

HISTORIES = 150

# mode -> columns of the target, and which of its rows are there
TARGETS = {
    'mirror': ('id int PRIMARY KEY, val text', 'true'),
    'soft_delete': ('id int PRIMARY KEY, val text, deleted_at timestamp',
                    'deleted_at IS NULL'),
    'history': ('id int, val text, valid_from timestamp, valid_to timestamp, '
                'current boolean', 'current'),
}


class History:
    """The records of a source and its connector, and what they must give."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.partitions = self.random.choice([1, 1, 2, 3])
        self.old = self.random.random() < 0.3       # before Debezium 2.1
        self.rows = {}
        self.pos = 0
        self.clock = 1_760_000_000_000
        self.records = []       # (partition, key, value, time, state or None)
        self.blind = False

    def _send(self, key, op, mark, at, clock, val=None):
        value = json.dumps({
            'before': {'id': key} if op == 'd' else None,
            'after': None if op == 'd' else {'id': key, 'val': val},
            'source': {'connector': 'mysql', 'name': 's', 'db': 'd',
                       'table': 't', 'ts_ms': clock, 'snapshot': mark,
                       'server_id': 0 if op == 'r' else 1, 'gtid': None,
                       'file': 'bin.000001', 'pos': at, 'row': 0},
            'op': op, 'ts_ms': clock})
        self.clock += self.random.choice([1, 1, 500])
        self.records.append([hash((key, 7)) % self.partitions, key, value,
                             self.clock, None])

    def _tombstone(self, key):
        self.records.append([hash((key, 7)) % self.partitions, key, None,
                             self.clock, None])

    def settled(self):
        """From here on the target can be compared."""
        if self.records:
            self.records[-1][4] = dict(self.rows)

    def change(self):
        """Something happens at the source; the connector may see it."""
        self.pos += self.random.randint(1, 50)
        self.clock += self.random.choice([0, 100, 3000])
        key = self.random.randint(1, 12)
        if key in self.rows and self.random.random() < 0.45:
            if len(self.rows) == 1:
                return
            del self.rows[key]
            op = 'd'
        else:
            op = 'u' if key in self.rows else 'c'
            self.rows[key] = 'v%d' % self.pos
        if self.blind:
            return
        self._send(key, op, 'false', self.pos, self.clock, self.rows.get(key))
        if op == 'd' and self.random.random() < 0.7:
            self._tombstone(key)

    def _marks(self, n):
        if self.old:
            last = 'last' if self.random.random() < 0.5 else 'true'
            return ['true'] * (n - 1) + [last]
        if n == 1:
            return [self.random.choice(['first', 'last',
                                        'last_in_data_collection'])]
        return [self.random.choice(['first', 'first_in_data_collection'])] + \
            ['true'] * (n - 2) + \
            [self.random.choice(['last', 'last_in_data_collection'])]

    def snapshot(self):
        """The table is read anew, at the first go or at a later one."""
        self.clock += 5000
        while True:
            keys = sorted(self.rows)
            self.random.shuffle(keys)
            marks = self._marks(len(keys))
            stop = len(keys)
            if self.random.random() < 0.35:
                stop = self.random.randint(0, len(keys) - 1)
            at, clock = self.pos, self.clock
            for key, mark in list(zip(keys, marks))[:stop]:
                self._send(key, 'r', mark, at, clock, self.rows[key])
            if stop == len(keys):
                break
            # it is begun again, later or at the same place; where streaming is
            # the end of a snapshot, nothing is streamed before the rest of it
            blind, self.blind = self.blind, self.blind or self.old
            for _ in range(self.random.choice([0, 0, 1, 3])):
                self.change()
            self.blind = blind
            self.clock += 5000
        self.blind = False
        if marks[-1] in ('first', 'true'):
            # only streaming tells that it is over, where its rows were
            has_rows = {hash((key, 7)) % self.partitions for key in keys}
            while True:
                before = len(self.records)
                self.change()
                if len(self.records) > before and \
                        self.records[before][0] in has_rows:
                    break
        self.settled()

    def incremental(self):
        """A chunk of an incremental snapshot."""
        for key in sorted(self.rows)[:self.random.randint(0, 4)]:
            self._send(key, 'r', 'incremental', self.pos, self.clock,
                       self.rows[key])

    def make(self):
        self.change()
        self.snapshot()
        for _ in range(self.random.randint(2, 6)):
            for _ in range(self.random.randint(0, 8)):
                self.change()
                self.settled()
            if self.random.random() < 0.3:
                self.incremental()
                self.settled()
            if self.random.random() < 0.7:
                self.blind = True
                for _ in range(self.random.randint(1, 6)):
                    self.change()
            if self.blind or self.random.random() < 0.2:
                self.blind = True
                self.snapshot()
        return self


def told(sent):
    """The (key, value) pairs that records tell."""
    images = [json.loads(record[2])['after'] for record in sent if record[2]]
    return {(image['id'], image['val']) for image in images if image}


class Tester:
    def __init__(self, report):
        self.report = report
        self.database = pg.Database('cdc_model_resnapshots')

    def _insert(self, name, records):
        rows = ["(%d, to_timestamp(%d / 1000.0) AT TIME ZONE 'UTC', %s, %s)"
                % (p, clock, pg.bytes_literal(b'{"id":%d}' % key),
                   pg.bytes_literal(value and value.encode()))
                for p, key, value, clock, _ in records]
        self.database.app.run(
            'INSERT INTO %s_debezium (kafka_partition, kafka_timestamp, '
            'kafka_key, kafka_value) VALUES %s' % (name, ', '.join(rows)))

    def _compare(self, name, mode, state, sent):
        have = self.database.reader.json(
            "SELECT coalesce(json_agg(json_build_array(id, val) ORDER BY id), "
            "'[]') FROM %s_t WHERE %s" % (name, TARGETS[mode][1]))
        want = [[key, val] for key, val in sorted(state.items())]
        problems = []
        if have != want:
            problems.append('target %r, source %r' % (have, want))
        if mode == 'soft_delete':
            ids = self.database.reader.json(
                "SELECT coalesce(json_agg(id ORDER BY id), '[]') FROM %s_t"
                % name)
            if ids != sorted({key for key, _ in told(sent)}):
                problems.append('rows of the keys %r' % ids)
        if mode == 'history':
            problems += self._compare_versions(name, sent)
        if self.database.reader.run(
                "SELECT exact FROM cdc_status WHERE pipeline = '%s'" % name,
                log=False) != 't':
            problems.append('not exact: ' + self.database.reader.run(
                'SELECT string_agg(reason, \'; \') FROM cdcsync.inexact',
                log=False))
        return problems

    def _compare_versions(self, name, sent):
        versions = self.database.reader.json(
            "SELECT coalesce(json_agg(json_build_array(id, val, valid_from, "
            "valid_to, current) ORDER BY id, valid_from, valid_to, "
            "substr(val, 2)::int), '[]') FROM %s_t" % name)
        problems = []
        values = [(key, val) for key, val, *_ in versions]
        if sorted(values) != sorted(told(sent)):
            problems.append('versions %r, values sent %r' % (
                sorted(values), sorted(told(sent))))
        for last, version in zip([[None] * 5] + versions, versions):
            key, val, since, until, current = version
            if current != (until is None) or until is not None and until < since:
                problems.append('version %r' % version)
            if last[0] == key and (last[3] is None or last[3] > since or
                                   int(last[1][1:]) > int(val[1:])):
                problems.append('versions %r, %r' % (last, version))
        return problems

    def history(self, seed):
        history = History(seed).make()
        mode = random.Random(seed + 2).choice(sorted(TARGETS))
        choose = random.Random(seed + 1)
        app, name = self.database.app, 'r%d' % seed
        app.log.clear()
        app.run('CREATE TABLE %s_t (%s)' % (name, TARGETS[mode][0]))
        app.run("SELECT cdc_create('%s', target => '%s_t', key => '{id}', "
                "options => '{\"on_snapshot\": \"replace\", "
                "\"max_sweep_share\": 1, \"mode\": \"%s\"}')"
                % (name, name, mode))
        # the landing knows all partitions from the beginning
        pg.announce(app, name, history.partitions)
        problems, compared, at = [], 0, 0
        while at < len(history.records) and not problems:
            size = choose.choice([1, 2, 3, 5, 10, 40])
            some = history.records[at:at + size]
            self._insert(name, some)
            at += len(some)
            if choose.random() < 0.2 and at < len(history.records):
                continue
            if choose.random() < 0.2:
                app.run('BEGIN')
                pg.sync(app, name)
                app.run('ROLLBACK')
            pg.sync(app, name, choose.choice([None, None, 1]))
            if some[-1][4] is not None:
                compared += 1
                problems = self._compare(name, mode, some[-1][4],
                                         history.records[:at])
        what = 'seed %d (%s, %d partitions%s): %d records, compared %d times' % (
            seed, mode, history.partitions,
            ', old marks' if history.old else '', len(history.records), compared)
        if problems:
            problems.append('after record %d of:' % at)
            problems += ['%d: %s' % (n, r[2]) for n, r in
                         enumerate(history.records[:at])][-6:]
        app.run("SELECT cdc_drop('%s', true)" % name)
        return self.report.check(what, problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--count', type=int)
    parser.add_argument('--seconds', type=float)
    args = parser.parse_args()
    report = pg.Report()
    tester = Tester(report)
    until = time.time() + (args.seconds or 10 ** 6)
    count = args.count or (10 ** 9 if args.seconds else HISTORIES)
    seed = args.seed
    try:
        while count and time.time() < until and report.failed < 5:
            tester.history(seed)
            seed, count = seed + 1, count - 1
    finally:
        tester.database.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
