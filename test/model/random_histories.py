#!/usr/bin/env python3
"""Random histories of a source against the independent fold.

Each history is a random kind of table and connector, random transactions, and
a random way of arrival: partitions, interleavings, windows, syncs that are
rolled back or repeated.  After every sync the target must be the fold of what
has been applied, and at the end the source's own table.  The seed of a history
that fails is printed, and the history is made as short as it can be and
written as an SQL script.
"""

import argparse
import ast
import json
import os
import random
import sys
import tempfile
import time

import pg
from fold import Fold, Table, Unsettled, differences, fold
from history import Source, Variant
from values import normal, normal_key


class Step:
    """What happens between two looks at the target."""

    def __init__(self, records, inserts, rollback, repeat, max_windows):
        self.records, self.inserts = records, inserts
        self.rollback, self.repeat = rollback, repeat
        self.max_windows = max_windows


class Plan:
    """A history and its way of arrival, all from one seed."""

    def __init__(self, seed, citext=True, force=None):
        rng = random.Random(seed)
        self.seed = seed
        self.variant = Variant(rng, citext, force)
        self.source = Source(self.variant, rng)
        length = rng.choice([3, 8, 15, 30, 60])
        self.source.run(self.variant.length or length)
        self.table = self.variant.table()
        self.steps = self._steps(self._arrival(rng), rng)

    def _arrival(self, rng):
        """An order of arrival that keeps the order of each partition."""
        records = self.source.records
        mode = rng.choice(['as it was', 'apart', 'mixed', 'near'])
        if mode == 'as it was' or self.source.partitions == 1:
            return list(records)
        lanes = [[r for r in records if r.partition == p]
                 for p in range(self.source.partitions)]
        rng.shuffle(lanes)
        if mode == 'apart':
            return [r for lane in lanes for r in lane]
        out = []
        while any(lanes):
            lane = rng.choice([lane for lane in lanes if lane])
            count = 1 if mode == 'mixed' else rng.randint(1, 12)
            out += lane[:count]
            del lane[:count]
        return out

    def _steps(self, records, rng):
        steps, state = [], Fold(self.table)
        size = rng.choice([1, 2, 5, 12, 40, 1000])
        while records:
            count = min(len(records), rng.randint(1, size))
            if self.variant.unique and not self.variant.torn:
                count = self._until_consistent(state, records, count)
            steps.append(Step(records[:count], rng.choice([1, 1, 2, 3]),
                              rng.random() < 0.15, rng.random() < 0.15,
                              rng.choice([None, None, None, 1, 2])))
            records = records[count:]
        return steps

    def _until_consistent(self, state, records, count):
        """The end of a window at which no two rows share a unique value."""
        for number, record in enumerate(records):
            state.apply(record)
            if number + 1 >= count and unique_holds(self.variant, state):
                return number + 1
        return len(records)

    def truth(self):
        """The source's rows in the target's spelling, without extras."""
        out = {}
        for key, row in self.source.rows.items():
            text = {}
            for column, part in zip(self.table.key, key):
                text[column] = str(part)
            for column in self.table.columns:
                if column.field in row:
                    value = row[column.field]
                    text[column.name] = None if value is None else \
                        normal(str(value), column.sql)
            out[tuple(normal_key(text[k], self.table.by_name[k].sql)
                      for k in self.table.key)] = text
        return out

    def check_fold(self):
        """The fold itself is the source's table."""
        table = Table([c for c in self.table.columns
                       if not c.field.startswith('$')], self.table.key)
        state = fold(self.table, self.source.records,
                     self.variant.spread)
        want, have = self.truth(), state.rows
        return differences(table, settled(want, state), settled(have, state))


def settled(rows, state):
    """The rows without a quarantined record."""
    return {k: v for k, v in rows.items() if k not in state.blocked}


def unique_holds(variant, state):
    """Can the fold's rows stand in the target at all?"""
    if not variant.unique:
        return True
    values = [r['u'] for r in state.rows.values()]
    if variant.unique == 'notnull' and None in values:
        return False
    values = [v for v in values if v is not None]
    return len(values) == len(set(values))


class Run:
    """One run of a plan's steps in the database."""

    def __init__(self, database, plan, name, steps):
        self.app, self.reader = database.app, database.reader
        self.plan, self.name, self.steps = plan, name, steps
        self.table, self.variant = plan.table, plan.variant
        self.target = name + '_target'
        self.applied = []
        self.xmins = {}         # as last seen; None: not known
        self.app.log = []

    def run(self):
        """What is wrong at the first step where something is, else []."""
        self.app.run(pg.create_table(self.target, self.table,
                                     self.variant.constraints()))
        pg.create_pipeline(self.app, self.name, self.table, self.target,
                           {'max_quarantine_share': 1},
                           all_names=self.variant.mapped)
        pg.announce(self.app, self.name, self.variant.partitions)
        before = fold(self.table, [])
        for number, step in enumerate(self.steps):
            try:
                after, problems = self._step(step, before)
            except pg.SqlError as error:
                if error.sqlstate == '08006':
                    error.log = list(self.app.log)
                    raise
                problems, after = ['error %s' % error], None
            if problems:
                last = step.records[-1]
                return ['step %d of %d, after %d/%d: %s' % (
                    number + 1, len(self.steps), last.partition, last.offset,
                    p) for p in problems]
            before = after
        return []

    def drop(self):
        self.app.run('SELECT cdc_drop(%s, drop_target => true)'
                     % pg.literal(self.name))

    # -- what is looked at --

    def _everything(self):
        """All that a sync that is rolled back or has no work must not touch."""
        return (
            "SELECT md5(string_agg(t::text || t.xmin::text || t.ctid::text, "
            "',' ORDER BY t.ctid)) FROM %s t "
            "UNION ALL SELECT string_agg((s.*)::text, ',' ORDER BY s.ctid) "
            "FROM %s s "
            "UNION ALL SELECT string_agg(concat_ws(':', kafka_partition, epoch, "
            "next_offset, source_position, source_ts_ms, events, resent), ',' "
            "ORDER BY kafka_partition) FROM cdcsync.watermark WHERE pipeline = %s "
            "UNION ALL SELECT count(*)::text FROM cdcsync.quarantine "
            "WHERE pipeline = %s"
            % (self.target, pg.ident(self.name + '_stg'),
               pg.literal(self.name), pg.literal(self.name)))

    def _look(self):
        """The target's rows, the xmin of each, and the quarantine."""
        rows, bad = self.reader.batch(
            [pg.rows_sql(self.target, self.table, ['xmin::text']),
             pg.quarantine_sql(self.name)], log=False)
        data = json.loads(rows)
        rows = pg.read_rows(data, self.target, self.table)
        return (rows, dict(zip(rows, (values[-1] for values in data))),
                pg.read_quarantine(json.loads(bad)))

    def _deleted(self, records):
        """Keys that were deleted or moved in these records; None: all."""
        scratch = Fold(self.table)
        keys = set()
        for r in records:
            scratch.apply(r)
            key = scratch._record_key(r.key) if r.key else None
            if key is None:
                return None
            if r.value is None or b'"after"' in r.value and \
                    r.header('__debezium.newkey') or self.variant.single or \
                    scratch.rows.get(scratch._normal_key(key)) is None:
                keys.add(scratch._normal_key(key))
        return keys

    # -- one step --

    def _step(self, step, before):
        problems, size = [], -(-len(step.records) // step.inserts)
        self.app.batch([
            pg.insert_sql(self.name, step.records[first:first + size])
            for first in range(0, len(step.records), size)])
        if step.rollback:
            problems += self._unchanged(['BEGIN', pg.sync_sql(self.name),
                                         'ROLLBACK'], 'that was rolled back')
        # with a limit until there is nothing to do
        calls, events = 1 if step.max_windows is None else 4, 0
        while True:
            counts = [json.loads(row)['events'] for row in self.app.batch(
                [pg.sync_sql(self.name, step.max_windows)] * calls)]
            events += sum(counts)
            if calls == 1 or counts[-1] == 0:
                break
        if events != len(step.records):
            problems.append('%d events of %d' % (events, len(step.records)))
        self.applied += step.records
        after = fold(self.table, self.applied, self.variant.spread)
        if unique_holds(self.variant, after):
            problems += self._compare(before, after, step)
        else:
            self.xmins = None
        if step.repeat and not self.variant.torn:   # rows that wait are tried
            problems += self._unchanged([pg.sync_sql(self.name)],
                                        'without records', 0)
        return after, problems

    def _unchanged(self, statements, what, events=None):
        look = self._everything()
        was, row, *_, now = self.app.batch([look, *statements, look])
        problems = [] if now == was else \
            ['a sync %s changed something' % what]
        if events is not None and json.loads(row)['events'] != events:
            problems.append('a sync %s reports %s' % (what, row))
        return problems

    def _compare(self, before, after, step):
        was = self.xmins
        have, self.xmins, bad = self._look()
        problems = differences(self.table, settled(after.rows, after),
                               settled(have, after))
        problems += self._compare_quarantine(after, bad)
        if self.variant.refresh:
            if any(r['refresh_time'] is None for r in have.values()):
                problems.append('refresh_time is NULL')
        elif not problems and was is not None:
            problems += self._compare_xmins(before, after, step, was)
        return problems

    def _compare_quarantine(self, state, have):
        allowed = set(state.bad) | state.queued
        needed = {where for places in state.needed.values()
                  for where in places}
        problems = ['in quarantine: %r' % have[w]
                    for w in sorted(set(have) - allowed)]
        problems += ['not in quarantine: %r %r' % (w, state.bad[w])
                     for w in sorted(needed - set(have))]
        for where in set(have) & set(state.bad):
            column = state.bad[where][1]
            if column and have[where]['column_name'] != column:
                problems.append('quarantine names column %r, not %r: %r' % (
                    have[where]['column_name'], column, have[where]))
        return problems

    def _compare_xmins(self, before, after, step, xmins):
        deleted = self._deleted(step.records)
        if deleted is None:
            return []
        return ['%r was rewritten without a change' % (key,)
                for key, row in after.rows.items()
                if key not in deleted and key not in after.blocked
                and before.rows.get(key) == row
                # a value that is on its way from the old key's row may come
                and not any(isinstance(v, Unsettled)
                            for v in before.rows[key].values())
                and key in xmins and self.xmins.get(key) != xmins[key]]


# ---- making a failure short --------------------------------------------------

def without(steps, drop):
    """The steps without some units; empty steps go."""
    out = []
    for step in steps:
        kept = [r for r in step.records if r.unit not in drop]
        if kept:
            out.append(Step(kept, step.inserts, step.rollback, step.repeat,
                            step.max_windows))
    return out


def shorten(fails, steps, deadline):
    """Leave out records and join steps while it still fails."""
    def units():
        return list(dict.fromkeys(r.unit for s in steps for r in s.records))

    chunk = max(1, len(units()) // 2)
    while chunk and time.time() < deadline:
        shorter = False
        left = units()
        for first in range(0, len(left), chunk):
            if time.time() > deadline:
                break
            fewer = without(steps, set(left[first:first + chunk]))
            if fewer and fails(fewer):
                steps, shorter = fewer, True
        if not shorter:
            chunk //= 2
    for number in range(len(steps) - 1, 0, -1):
        if time.time() > deadline:
            break
        a, b = steps[number - 1:number + 1]
        joined = steps[:number - 1] + [
            Step(a.records + b.records, 1, False, False, None)] \
            + steps[number + 1:]
        if fails(joined):
            steps = joined
    return steps


class Tester:
    def __init__(self, report, work, force):
        self.report, self.work, self.force = report, work, force
        self.database = None
        self.count = 0
        self._open()

    def _open(self):
        self.database = pg.Database('cdc_model_random')
        try:
            self.database.app.run('CREATE EXTENSION citext')
            self.citext = True
        except pg.SqlError:
            self.citext = False

    def _run(self, plan, steps, drop=True):
        """(problems, the SQL that was run); a crash is a problem too."""
        self.count += 1
        run = Run(self.database, plan, 'h%d' % self.count, steps)
        try:
            problems = run.run()
            log = list(self.database.app.log)
            if drop:
                run.drop()
        except pg.SqlError as error:
            log = getattr(error, 'log', list(self.database.app.log))
            problems = ['error %s' % error]
            self._again()
        return problems, log

    def _again(self):
        """New sessions, after a crash too."""
        for _ in range(60):
            try:
                self._open()
                return
            except pg.SqlError:
                time.sleep(1)
        raise SystemExit('the server does not come back')

    def history(self, seed):
        plan = Plan(seed, self.citext, self.force)
        problems = plan.check_fold()
        if problems:
            return self.report.check('seed %d: the fold is not the source\'s '
                                     'table' % seed, problems)
        problems, log = self._run(plan, plan.steps)
        if not problems:
            return True
        steps = shorten(lambda s: self._still(plan, s), plan.steps,
                        time.time() + 30)
        again, log_again = self._run(plan, steps)
        if again:
            problems, log = again, log_again
        path = self._write(plan, problems, log)
        return self.report.check('seed %d (%s), shortened in %s'
                                 % (seed, plan.variant, path), problems)

    def _still(self, plan, steps):
        """Does it fail, and is it still a history that can be?"""
        records = [r for s in steps for r in s.records]
        if fold(plan.table, records, plan.variant.spread).homeless \
                and not plan.variant.spread:
            return []
        for number in range(len(steps)):
            some = [r for s in steps[:number + 1] for r in s.records]
            if not plan.variant.torn and not unique_holds(
                    plan.variant, fold(plan.table, some,
                                       plan.variant.spread)):
                return []
        return self._run(plan, steps)[0]

    def _write(self, plan, problems, log):
        os.makedirs(self.work, exist_ok=True)
        path = os.path.join(self.work, 'seed_%d.sql' % plan.seed)
        with open(path, 'w', encoding='utf-8') as file:
            file.write('-- seed %d: %s\n' % (plan.seed, plan.variant))
            for problem in problems:
                file.write('-- %s\n' % problem.replace('\n', '\n--   '))
            file.write('CREATE EXTENSION IF NOT EXISTS cdcsync;\n'
                       'CREATE EXTENSION IF NOT EXISTS citext;\n')
            file.writelines(sql + ';\n' for sql in log)
        return path


# Without arguments these many, always the same: a test that fails must fail
# again.  New ones are looked for with --seconds.
HISTORIES = 100
# .. and some that have found a fault once.
FOUND = [5005, 5150, 139157695, 602752365]
# Properties of the variants that a script built on this one forces.
FORCE = {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float,
                        help='new histories for so long')
    parser.add_argument('--seed', type=int,
                        help='only this seed, or the first of many')
    parser.add_argument('--count', type=int, help='how many histories')
    parser.add_argument('--work', default=os.path.join(
        tempfile.gettempdir(), 'cdcsync-model'), help='where failures go')
    parser.add_argument('--max-failures', type=int, default=5)
    parser.add_argument('--set', action='append', default=[], metavar='N=V',
                        help='force a property of the variants (a literal)')
    args = parser.parse_args()
    report = pg.Report()
    force = dict(FORCE, **{name: ast.literal_eval(value) for name, value in
                           (item.split('=', 1) for item in args.set)})
    tester = Tester(report, args.work, force)
    seed = args.seed
    if seed is None:
        seed = 1 if args.seconds is None else \
            random.SystemRandom().randrange(10 ** 6, 10 ** 9)
    count = args.count
    if count is None and args.seconds is None:
        count = 1 if args.seed is not None else HISTORIES
    until = time.time() + (args.seconds or 10 ** 6)
    done = 0
    try:
        while time.time() < until and (count is None or done < count):
            tester.history(seed + done)
            done += 1
            if report.failed >= args.max_failures:
                break
        if args.seed is None and args.count is None and args.seconds is None:
            for seed_found in FOUND:
                tester.history(seed_found)
                done += 1
        report.check('seeds from %d: %d histories' % (seed, done),
                     report.failed == 0)
    finally:
        tester.database.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
