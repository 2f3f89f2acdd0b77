#!/usr/bin/env python3
"""Random histories of strings that can be read in two ways, against a model.

Without a schema, 5552 is digits or base64 and deadbeef is hex or base64, as the
other values of the column show.  Each history has values that tell, values that
do not, deletes, and sometimes a change of the connector's setting; the result
must be what the rules of docs/types.md give, however the records come in
windows.

Only a key's last record counts here: a bad one leaves its row as it was, which
depends on the windows, and is only looked for in quarantine.
"""

import argparse
import base64
import decimal
import json
import random
import re
import sys

import pg

NUMBERS = {'base64': ['AeJA', '/w==', 'BQ==', 'ANw='],
           'string': ['12.50', '7', '-3', '123456', '0E-1'],
           'either': ['5552', '1234', '20240101', '1E+3']}
BYTES = {'base64': ['3q2+7w==', 'AA==', '-_8A'],
         'hex': ['ab', 'deadbe', '0123456789abcdef0123456789abcdef'],
         'either': ['deadbeef', 'abcd', '1234', '0123456789ab']}


class Column:
    """A type, the values that it meets, and what they are in an encoding."""

    def __init__(self, sql, values, read):
        self.sql, self.values, self.read = sql, values, read
        self.modes = [m for m in values if m != 'either']


def number(text, encoding):
    if encoding == 'base64':
        value = decimal.Decimal(int.from_bytes(base64.b64decode(text), 'big',
                                               signed=True)).scaleb(-2)
    else:
        value = decimal.Decimal(text)
    return '%.2f' % value


def octets(text, encoding):
    if encoding == 'hex':
        return '\\x' + text
    return '\\x' + base64.b64decode(text, altchars=b'-_'
                                    if re.search('[-_]', text)
                                    else None).hex()


COLUMNS = [Column('numeric(20,2)', NUMBERS, number),
           Column('bytea', BYTES, octets)]


def history(rng, column):
    """[(key, value or None)]; "null" is a row with NULL."""
    length = rng.randint(3, 25)
    modes = rng.sample(column.modes, 2)
    switch = rng.choice([length, length, rng.randint(1, length)])
    share = rng.choice([0.3, 0.7, 0.95])
    events = []
    for number_ in range(length):
        mode = modes[0] if number_ < switch else modes[1]
        value = rng.choice(column.values['either' if rng.random() < share
                                         else mode])
        kind = rng.random()
        events.append((rng.randint(1, 5), None if kind < 0.12
                       else 'null' if kind < 0.2 else value))
    return events


def model(column, events):
    """{key: text}, {key: offset of its last record, which is bad}."""
    told = {v: m for m in column.modes for v in column.values[m]}
    shown = [told.get(value) for _, value in events]
    first = next((m for m in shown if m), None)
    against = next((n for n, m in enumerate(shown) if m not in (None, first)),
                   len(events))
    rows, bad = {}, {}
    for offset, (key, value) in enumerate(events):
        rows.pop(key, None)
        bad.pop(key, None)
        if value is None:
            continue
        encoding = shown[offset] or (first if offset < against else None)
        if value == 'null':
            rows[key] = None
        elif encoding is None:
            bad[key] = offset
        else:
            rows[key] = column.read(value, encoding)
    return rows, bad


def records(events):
    out = []
    for offset, (key, value) in enumerate(events):
        row = {'id': key, 'v': None if value == 'null' else value}
        out.append('(%d, %s, %s)' % (offset, pg.bytes_literal(
            json.dumps({'id': key}).encode()), pg.bytes_literal(json.dumps({
                'op': 'd' if value is None else 'c',
                'source': {'connector': 'postgresql'},
                'before': {'id': key} if value is None else None,
                'after': None if value is None else row}).encode())))
    return out


def apply(database, column, events, cuts):
    """The rows, and the last bad offset of each key, after these windows."""
    app, lines = database.app, records(events)
    app.run('CREATE TABLE x (id int PRIMARY KEY, v %s)' % column.sql)
    app.run("SELECT cdc_create('x', target => 'x', "
            "options => '{\"max_quarantine_share\": 1}')")
    start = 0
    for cut in sorted(cuts) + [len(lines)]:
        if cut > start:
            app.run('INSERT INTO x_debezium (kafka_offset, kafka_key, '
                    'kafka_value) VALUES ' + ', '.join(lines[start:cut]))
        pg.sync(app, 'x')
        start = cut
    rows = {r['id']: r['v'] for r in database.reader.json(
        "SELECT coalesce(json_agg(json_build_object('id', id, 'v', v::text)), "
        "'[]') FROM x")}
    bad = {}
    for partition, offset in pg.quarantine(database.reader, 'x'):
        key = events[offset][0]
        bad[key] = max(offset, bad.get(key, 0))
    app.run("SELECT cdc_drop('x', drop_target => true)")
    return rows, bad


def check(database, rng):
    column = rng.choice(COLUMNS)
    events = history(rng, column)
    want_rows, want_bad = model(column, events)
    problems = []
    for cuts in ([], range(1, len(events)),
                 [n for n in range(1, len(events)) if rng.random() < 0.4]):
        rows, bad = apply(database, column, events, list(cuts))
        rows = {k: v for k, v in rows.items() if k not in bad}
        if (rows, bad) != (want_rows, want_bad):
            problems.append('%s, %r, windows end at %r: %r, in quarantine %r; '
                            'expected %r and %r'
                            % (column.sql, events, list(cuts), rows, bad,
                               want_rows, want_bad))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--count', type=int, default=100)
    args = parser.parse_args()
    report = pg.Report()
    database = pg.Database('cdc_model_encodings')
    try:
        for seed in range(args.seed, args.seed + args.count):
            report.check('seed %d' % seed,
                         check(database, random.Random(seed)))
    finally:
        database.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
