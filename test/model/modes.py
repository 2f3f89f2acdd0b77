#!/usr/bin/env python3
"""Random histories in the modes that are no plain mirror, against a model.

One landing feeds a pipeline of each mode: soft_delete, append, history, and
mirror beside them; each syncs when it likes, so that their windows are cut
differently.  Another landing holds the changes of a table without a key.  The
model below says what each target must be after the events that it has seen;
it knows events and their order, nothing of windows.
"""

import argparse
import collections
import json
import random
import sys

import pg
from fold import Record

UNAVAILABLE = '__debezium_unavailable_value'
KEYS = range(1, 6)


class Event:
    def __init__(self, op, id=None, after=None, before=None, ms=0, old=None,
                 new=None):
        self.op, self.id, self.after, self.before = op, id, after, before
        self.ms, self.old, self.new = ms, old, new

    def records(self, offset):
        """The record, and the tombstone behind a delete."""
        key = None if self.id is None else json.dumps({'id': self.id}).encode()
        value = json.dumps({
            'before': self.before, 'after': self.after, 'op': self.op,
            'source': {'connector': 'postgresql', 'ts_ms': self.ms,
                       'snapshot': 'true' if self.op == 'r' else 'false'},
            'ts_ms': 1}).encode()
        headers = []
        if self.new is not None:
            headers = [('__debezium.newkey', json.dumps({'id': self.new}))]
        if self.old is not None:
            headers = [('__debezium.oldkey', json.dumps({'id': self.old}))]
        out = [Record(0, offset, key, value, headers)]
        if self.op == 'd':
            out.append(Record(0, offset + 1, key, None, headers))
        return out


# ---- histories ---------------------------------------------------------------

def image(rng, id, row):
    """An after image, and what the row is with it."""
    after = {'id': id, 'v': rng.choice(['a', 'b', 'c', None]),
             'w': rng.randrange(3)}
    if row and rng.random() < .25:
        after['v'] = UNAVAILABLE
    if rng.random() < .2:
        del after['w']
    return after, merge(row, after)


def merge(row, after):
    row = row or {'v': None, 'w': None}
    return {c: row[c] if after.get(c, UNAVAILABLE) == UNAVAILABLE
            else after[c] for c in ('v', 'w')}


def history(rng, length):
    """Events of a table with a key; times mostly rise."""
    rows, events, ms = {}, [], 1000
    while len(events) < length:
        last = {e.id: e.after for e in events}
        ms += rng.choice([0, 0, 1, 1000, -500])
        ms = max([ms] + [e.ms for e in events if e.op == 'r'])
        id = rng.choice(KEYS)
        what = rng.random()
        if what < .03:
            events.append(Event('t', ms=ms))
            rows.clear()
        elif what < .12 and id in rows and whole(last[id]):
            # a snapshot reads it; behind an event that leaves values out
            # it may count as a change
            events.append(Event('r', id, dict(rows[id], id=id), ms=ms))
        elif what < .22 and id in rows:     # its key changes
            new = rng.choice([k for k in KEYS if k != id])
            if new in rows:
                continue
            row = rows.pop(id)
            events.append(Event('d', id, None, dict(row, id=id), ms, new=new))
            after = dict(row, id=new)
            if rng.random() < .5:
                after['v'] = UNAVAILABLE
            events.append(Event('c', new, after, None, ms, old=id))
            rows[new] = row
        elif id not in rows:
            after, rows[id] = image(rng, id, None)
            events.append(Event('c', id, after, ms=ms))
        elif what < .45:
            before = rng.choice([None, {'id': id}, dict(rows[id], id=id)])
            events.append(Event('d', id, None, before, ms))
            del rows[id]
        else:
            after, rows[id] = image(rng, id, rows[id])
            events.append(Event('u', id, after, ms=ms))
    return events


def whole(after):
    return 'w' in after and after['v'] != UNAVAILABLE


# ---- the models --------------------------------------------------------------

def moved_value(events, i):
    """The row that an arriving key has left under its old one."""
    rows = {}
    for e in events[:i]:
        if e.op == 't':
            rows.clear()
        elif e.op == 'd':
            departed = rows.pop(e.id, None)
            if e.new is not None:
                rows[('to', e.new)] = departed
        else:
            old = rows.pop(('to', e.id), None) if e.old is not None else None
            rows[e.id] = merge(rows.get(e.id) or old, e.after)
    return rows.get(('to', events[i].id))


def values(events, i, row):
    """What the row has after the i-th event."""
    if row is None and events[i].old is not None:
        row = moved_value(events, i)
    return merge(row, events[i].after)


def mirror(events):
    rows = {}
    for i, e in enumerate(events):
        if e.op == 't':
            rows.clear()
        elif e.op == 'd':
            rows.pop(e.id, None)
        else:
            rows[e.id] = values(events, i, rows.get(e.id))
    return sorted((id, r['v'], r['w']) for id, r in rows.items())


def soft_delete(events):
    rows = {}
    for i, e in enumerate(events):
        if e.op in 'td':
            for id, row in rows.items():
                if row['deleted'] is None and (e.op == 't' or id == e.id):
                    row['deleted'], row['op'] = e.ms, e.op
        else:
            old = rows.get(e.id)
            alive = old if old and old['deleted'] is None else None
            rows[e.id] = dict(values(events, i, alive), deleted=None, op=e.op,
                              note=alive['note'] if alive else 'mine')
    return [(id, r['v'], r['w'], r['op'], r['deleted'], r['note'])
            for id, r in sorted(rows.items())]


def append(events):
    out = []
    for e in events:
        told = dict(e.after or e.before or {})
        if e.op == 'd':
            told.setdefault('id', e.id)
        v = told.get('v')
        out.append((e.op, told.get('id'), None if v == UNAVAILABLE else v,
                    told.get('w'), 'mine'))
    return out


def versions(events):
    out, current = [], {}
    for i, e in enumerate(events):
        if e.op in 'td':
            for id in list(current):
                if e.op == 't' or id == e.id:
                    row = current.pop(id)
                    row['to'] = max(e.ms, row['from'])
            continue
        row = current.get(e.id)
        new = values(events, i, row)
        if e.op == 'r' and row and all(new[c] == row[c] for c in ('v', 'w')):
            continue
        if row:
            row['to'] = max(e.ms, row['from'])
        current[e.id] = dict(new, id=e.id, to=None, no=i,
                             **{'from': max(e.ms, row['from']) if row else e.ms})
        out.append(current[e.id])
    return sorted((r['id'], r['no'], r['v'], r['w'], r['from'], r['to'],
                   r['to'] is None) for r in out)


# ---- the targets -------------------------------------------------------------

EPOCH = "(extract(epoch FROM %s) * 1000)::bigint"

TARGETS = {
    'mirror': (mirror, 'id int PRIMARY KEY, v text, w int', 'id, v, w', 'id'),
    'soft_delete': (
        soft_delete, "id int PRIMARY KEY, v text, w int, op text, "
        "deleted_at timestamp, note text DEFAULT 'mine'",
        'id, v, w, op, %s, note' % (EPOCH % 'deleted_at'), 'id'),
    'append': (
        append, "seq bigint GENERATED ALWAYS AS IDENTITY, id int, v text, "
        "w int, op text, note text DEFAULT 'mine'",
        'op, id, v, w, note', 'seq'),
    'history': (
        versions, 'id int, v text, w int, valid_from timestamp, valid_to '
        'timestamp, current boolean, kafka_offset bigint',
        'id, kafka_offset, v, w, %s, %s, current'
        % (EPOCH % 'valid_from', EPOCH % 'valid_to'), 'id, kafka_offset'),
}


# How a target is partitioned, by the number of its history; {0} is its name.
PARTITIONINGS = (
    ('', ()),
    ('PARTITION BY HASH (id)', (
        'CREATE TABLE {0}_0 PARTITION OF {0} FOR VALUES WITH (MODULUS 2, REMAINDER 0)',
        'CREATE TABLE {0}_1 PARTITION OF {0} FOR VALUES WITH (MODULUS 2, REMAINDER 1)')),
    ('PARTITION BY RANGE (id)', (
        'CREATE TABLE {0}_low PARTITION OF {0} FOR VALUES FROM (MINVALUE) TO (3)',
        'CREATE TABLE {0}_rest PARTITION OF {0} DEFAULT')),
)


def make_target(app, name, columns, mode, number):
    """Each kind of table, with and without an index that finds versions."""
    by, partitions = PARTITIONINGS[number % len(PARTITIONINGS)]
    # without a key, or with an identity column, which has to wait for 17: none
    if mode == 'keyless' or 'GENERATED' in columns:
        by, partitions = PARTITIONINGS[0]
    app.run('CREATE TABLE %s (%s) %s' % (name, columns, by))
    for partition in partitions:
        app.run(partition.format(name))
    if mode == 'history':
        app.run('CREATE %s' % (
            'INDEX ON %s (id)', 'UNIQUE INDEX ON %s (id) WHERE current')[number // 3 % 2] % name)


def have(session, name, columns, order):
    return [tuple(r) for r in session.json(
        "SELECT coalesce(json_agg(json_build_array(%s) ORDER BY %s), '[]') "
        'FROM %s' % (columns, order, name + '_target'))]


def check_history(database, rng, number):
    """One history through all modes."""
    app, name = database.app, 'h%d' % number
    feeder = name + '_mirror'
    for mode, (_, columns, _, _) in TARGETS.items():
        pipeline = name + '_' + mode
        make_target(app, pipeline + '_target', columns, mode, number)
        options = {'mode': mode, 'max_quarantine_share': 1}
        if mode != 'mirror':
            options['landing'] = feeder + '_debezium'
        pg.create_pipeline(app, pipeline, pg_table(), pipeline + '_target',
                           options, ['id'] if mode == 'history' else None)
    events = history(rng, rng.choice([5, 20, 60]))
    offsets, offset, seen = {}, 0, []
    pending = list(events)
    problems = []
    while pending:
        batch = pending[:rng.choice([1, 2, 5, 20])]
        pending = pending[len(batch):]
        records = []
        for e in batch:
            offsets[offset] = len(seen)
            seen.append(e)
            more = e.records(offset)
            offset += len(more)
            records += more
        pg.insert(app, feeder, records)
        for mode in TARGETS:
            if rng.random() < .5 or not pending:
                problems += compare(database, name, mode, seen, offsets)
    for mode in TARGETS:
        problems += rebuild(database, rng, name, mode, seen, offsets)
    app.run("SELECT cdc_drop('%s*')" % name)
    app.run('DROP TABLE %s' % ', '.join(name + '_' + m + '_target'
                                        for m in TARGETS))
    return problems


def rebuild(database, rng, name, mode, seen, offsets):
    """Somebody writes into the target; it is rebuilt from the landing."""
    pipeline = name + '_' + mode
    result = database.app.row("cdc_resync('%s')" % pipeline)
    if result['inserted'] + result['updated'] + result['deleted'] > 0:
        return ['%s: rebuilt for nothing: %r, %r' % (
            mode, result, [(e.op, e.id, e.after, e.ms, e.old, e.new)
                           for e in seen])]
    for statement in rng.sample([
            'DELETE FROM %s_target WHERE id = 1',
            "UPDATE %s_target SET v = 'spoilt' WHERE id = 2",
            'UPDATE %s_target SET w = w + 1 WHERE id = 3',
            'INSERT INTO %s_target (id, v) VALUES (77, NULL)'], 2):
        database.app.run(statement % pipeline)
    database.app.row("cdc_resync('%s')" % pipeline)
    return compare(database, name, mode, seen, offsets, in_order=False)


def compare(database, name, mode, seen, offsets, in_order=True):
    fold, _, columns, order = TARGETS[mode]
    pipeline = name + '_' + mode
    pg.sync(database.app, pipeline)
    got = have(database.reader, pipeline, columns, order)
    if mode == 'history':
        got = [(r[0], offsets[r[1]]) + r[2:] for r in got]
    want = fold(seen)
    if got == want or (not in_order and
                       collections.Counter(got) == collections.Counter(want)):
        bad = pg.quarantine(database.reader, pipeline)
        return ['%s: in quarantine: %r' % (mode, bad)] if bad else []
    return ['%s after %d events: %r' % (mode, len(seen), x) for x in
            [[r for r in want if r not in got], [r for r in got if r not in want],
             [(e.op, e.id, e.after, e.ms, e.old, e.new) for e in seen]]]


class pg_table:
    columns = ()


# ---- several partitions -------------------------------------------------------

def scattered_history(rng, length, partial):
    """Events whose positions and times rise, of rows that are there."""
    rows, events = {}, []
    for i in range(1, length + 1):
        id, what = rng.choice(KEYS), rng.random()
        after = {'id': id, 'v': rng.choice('xyz') + str(i), 'w': i}
        if what < .08:
            e = Event('t', ms=1000 * i)
            rows.clear()
        elif id not in rows:
            e = Event('c', id, after, ms=1000 * i)
            rows[id] = after
        elif what < .4:
            e = Event('d', id, None, {'id': id}, 1000 * i)
            del rows[id]
        else:
            if partial and rng.random() < .5:
                del after['w']
            e = Event('u', id, after, ms=1000 * i)
        events.append(e)
    return events


def dated_versions(events):
    return sorted((r[0],) + r[2:] for r in versions(events))


def current_rows(events):
    """Of a table without a key: an update tells the row that it changes."""
    return sorted(r[1:] for r in mirror(events))


SCATTERED = {
    'mirror': (mirror, *TARGETS['mirror'][1:]),
    'soft_delete': (soft_delete, *TARGETS['soft_delete'][1:]),
    'history': (
        dated_versions, 'id int, v text, w int, valid_from timestamp, '
        'valid_to timestamp, current boolean', 'id, v, w, %s, %s, current'
        % (EPOCH % 'valid_from', EPOCH % 'valid_to'), 'id, valid_from, valid_to'),
    'keyless': (current_rows, 'v text, w int', 'v, w', 'v, w'),
}


def scattered_value(events, i):
    e = events[i]
    before = e.before
    if e.op in 'ud':
        # the whole row, for who has no key
        before = next(dict(x.after) for x in reversed(events[:i])
                      if x.id == e.id)
    return json.dumps({
        'before': before, 'after': e.after, 'op': e.op, 'ts_ms': 1,
        'source': {'connector': 'postgresql', 'ts_ms': e.ms,
                   'sequence': '["%d","%d"]' % (e.ms, e.ms),
                   'snapshot': 'false'}}).encode()


def check_scattered(database, rng, number):
    """The events of a key come through any partition; so do the truncates."""
    app, name = database.app, 's%d' % number
    mode = rng.choice(list(SCATTERED))
    fold, columns, have_columns, order = SCATTERED[mode]
    make_target(app, name + '_target', columns, mode, number)
    options = {'max_quarantine_share': 1}
    if mode != 'keyless':
        options['mode'] = mode
    pg.create_pipeline(app, name, pg_table(), name + '_target', options,
                       ['id'] if mode == 'history' else None)
    npartitions = rng.choice([2, 3])
    pg.announce(app, name, npartitions)
    partial = mode in ('mirror', 'soft_delete') and rng.random() < .5
    events = scattered_history(rng, rng.choice([5, 12, 40]), partial)
    queues = [[] for _ in range(npartitions)]
    home = rng.random() < .3
    for i, e in enumerate(events):
        p = rng.randrange(npartitions)
        if home and e.id is not None:
            p = e.id % npartitions
        queues[p].append(i)
    offsets, steps = [1] * npartitions, []
    while any(queues):
        records = []
        for _ in range(rng.choice([1, 2, 5, 20])):
            p = rng.choice([p for p in range(npartitions) if queues[p]] or [-1])
            if p < 0:
                break
            i = queues[p].pop(0)
            steps.append((p, i))
            key = None
            if events[i].id is not None and mode != 'keyless':
                key = json.dumps({'id': events[i].id}).encode()
            records.append(Record(p, offsets[p], key,
                                  scattered_value(events, i), []))
            offsets[p] += 1
            if events[i].op == 'd' and key:
                records.append(Record(p, offsets[p], key, None, []))
                offsets[p] += 1
        pg.insert(app, name, sorted(records,
                                    key=lambda r: (r.partition, r.offset)))
        if rng.random() < .2:
            app.run('BEGIN')
            pg.sync(app, name)
            app.run('ROLLBACK')
        pg.sync(app, name)
        steps.append('sync')
    pg.sync(app, name)          # what has waited
    got = sorted(have(database.reader, name, have_columns, order), key=str)
    want = sorted(fold(events), key=str)
    bad = pg.quarantine(database.reader, name)
    problems = []
    if got != want or bad:
        problems = ['%s: %r is missing, %r is too much, of %r in the order %r; '
                    'in quarantine: %r' % (
                        mode, [r for r in want if r not in got],
                        [r for r in got if r not in want],
                        [(i, e.op, e.id, e.after) for i, e in enumerate(events)],
                        steps, bad)]
    app.run("SELECT cdc_drop('%s')" % name)
    app.run('DROP TABLE %s_target' % name)
    return problems


# ---- without a key -----------------------------------------------------------

def check_keyless(database, rng, number):
    app, name = database.app, 'k%d' % number
    app.run("CREATE TABLE %s_target (a int, b text, note text DEFAULT 'mine')"
            % name)
    pg.create_pipeline(app, name, pg_table(), name + '_target',
                       {'max_quarantine_share': 1})
    rows, bad, offset, problems = collections.Counter(), set(), 0, []
    partitions = [[], []] if rng.random() < .5 else [[]]
    for _ in range(rng.choice([1, 3, 10])):
        records, position = [], 0
        for _ in range(rng.choice([1, 5, 30])):
            present = list(rows.elements())
            op = rng.choice('cccuud' if present else 'c')
            if rng.random() < .02 and len(partitions) == 1:
                op = 't'
            row = (rng.randrange(2), rng.choice(['x', 'y', None]))
            old = rng.choice(present) if op in 'ud' else None
            absent = rng.random() < .05 and op in 'ud'
            if absent:
                old = (rng.randrange(100, 102), 'x')
            offset += 1
            partition = rng.randrange(len(partitions))
            value = {'op': op, 'before': old and dict(zip('ab', old)),
                     'after': dict(zip('ab', row)) if op in 'cu' else None,
                     'source': {'connector': 'postgresql', 'ts_ms': offset,
                                'snapshot': 'false'}}
            partitions[partition].append(value)
            records.append(Record(partition, len(partitions[partition]) - 1,
                                  None, json.dumps(value).encode(), []))
            if absent:
                bad.add((partition, len(partitions[partition]) - 1))
                continue
            if op == 't':
                rows.clear()
                bad.clear()
            if op in 'ud':
                rows[old] -= 1
            if op in 'cu':
                rows[row] += 1
        pg.insert(app, name, sorted(records, key=lambda r: (r.partition, r.offset)))
        pg.sync(app, name)
        got = collections.Counter(
            tuple(r) for r in database.reader.json(
                "SELECT coalesce(json_agg(json_build_array(a, b)), '[]') "
                'FROM %s_target' % name))
        if got != +rows:
            problems.append('%r is not %r' % (dict(got), dict(+rows)))
        quarantined = set(pg.quarantine(database.reader, name))
        if quarantined != bad:
            problems.append('in quarantine %r, not %r' % (quarantined, bad))
    app.run("DELETE FROM %s_target WHERE b = 'x'" % name)
    app.run("INSERT INTO %s_target VALUES (77, 'y'), (0, 'y')" % name)
    app.row("cdc_resync('%s')" % name)
    got = collections.Counter(
        tuple(r) for r in database.reader.json(
            "SELECT coalesce(json_agg(json_build_array(a, b)), '[]') "
            'FROM %s_target' % name))
    if got != +rows:
        problems.append('rebuilt %r is not %r' % (dict(got), dict(+rows)))
    app.run("SELECT cdc_drop('%s')" % name)
    app.run('DROP TABLE %s_target' % name)
    return problems


# ---- sent again ----------------------------------------------------------------

def statements(rng):
    """Inserts, several at one position; some are equal."""
    out = []
    for position in range(1, rng.choice([3, 8, 20])):
        for row in range(rng.choice([1, 1, 2, 4])):
            out.append((position, rng.randrange(3), rng.choice('xy'), row))
    return out


def resent_value(event, clock, postgresql):
    position, a, b, row = event
    source = {'ts_ms': 1000 * position, 'snapshot': 'false'}
    if postgresql:
        source.update(connector='postgresql',
                      sequence='["%d","%d"]' % (position, position))
    else:
        source.update(connector='mysql', server_id=1, file='bin.000001',
                      pos=position, row=row)
    return json.dumps({'op': 'c', 'before': None, 'after': {'a': a, 'b': b},
                       'ts_ms': clock, 'source': source}).encode()


def check_resent(database, rng, number):
    """
    The connector dies and begins again at an earlier place.  If that is at an
    older position than the last one, or if each record has a key, each event is
    there once; else those of the last position may be there twice, and none is
    lost.
    """
    app, name = database.app, 'r%d' % number
    columns = 'a int, b text'
    if rng.random() < .5:
        options = {'mode': 'append'}
    else:
        options = {}
    app.run('CREATE TABLE %s_target (%s)' % (name, columns))
    pg.create_pipeline(app, name, pg_table(), name + '_target',
                       dict(options, max_quarantine_share=1))
    events, older_first = statements(rng), rng.random() < .5
    keyed, postgresql = rng.random() < .5, rng.random() < .5
    certain = older_first or keyed
    sent, at, offset, again, problems = 0, 0, 0, 0, []
    while sent < len(events) or rng.random() < .5:
        if sent and rng.random() < .4:
            last = events[sent - 1][0]
            old = [i for i in range(sent) if events[i][0] < last]
            if not older_first:
                at = rng.randrange(sent)
                again += sent
            elif old:
                at = rng.choice(old)
        n = rng.choice([1, 2, 5])
        batch = range(at, min(at + n, len(events)))
        at += len(batch)
        sent = max(sent, at)
        records = []
        for i in batch:
            key = json.dumps({'no': i}).encode() if keyed else None
            value = resent_value(events[i], offset, postgresql)
            records.append(Record(0, offset, key, value, []))
            offset += 1
        if records:
            pg.insert(app, name, records)
        if rng.random() < .6 or sent == len(events):
            pg.sync(app, name)
            got = collections.Counter(
                tuple(r) for r in database.reader.json(
                    "SELECT coalesce(json_agg(json_build_array(a, b)), '[]') "
                    'FROM %s_target' % name))
            want = collections.Counter(e[1:3] for e in events[:sent])
            more = got - want
            if want - got or (certain and more) or \
                    sum(more.values()) > again:
                problems.append('%r is not %r of %r' % (
                    dict(got), dict(want), events))
                break
    app.run("SELECT cdc_drop('%s')" % name)
    app.run('DROP TABLE %s_target' % name)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--histories', type=int, default=60)
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--keep', action='store_true')
    args, _ = parser.parse_known_args()
    seed = args.seed if args.seed is not None else random.randrange(10 ** 6)
    print('# modes.py --seed %d --histories %d' % (seed, args.histories),
          flush=True)
    report = pg.Report()
    database = pg.Database('cdc_model_modes', keep=args.keep)
    database.app.run('SET client_min_messages = error')
    try:
        for what, check in (('all modes', check_history),
                            ('several partitions', check_scattered),
                            ('no key', check_keyless),
                            ('sent again', check_resent)):
            problems = []
            for i in range(args.histories):
                rng = random.Random('%d %s %d' % (seed, what, i))
                problems += ['history %d: %s' % (i, p)
                             for p in check(database, rng, i)]
                if problems:
                    break
            report.check('%s: %d random histories' % (what, args.histories),
                         problems)
    finally:
        database.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
