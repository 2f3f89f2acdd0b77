#!/usr/bin/env python3
"""The recorded change events against the independent fold.

Every recorded file goes into a pipeline record by record, in one window, with
the window cut at every place, and split by key over three partitions that
arrive in several interleavings; the target must be what the fold of the
applied records gives, after every step.  At the end it must be the source's
own table, apart from the differences that recorded_tables.py lists with their
reasons.
"""

import argparse
import json
import os
import random
import re
import sys
import zlib

import pg
from fold import Column, Record, Table, differences, fold
from recorded_tables import (FOLDER, NULL_KEYS, PRELUDE, TOPICS,
                             Topic, plain, with_defaults)
from values import split_type


class Feed:
    """A pipeline with a target of natural types, and what it got so far."""

    def __init__(self, database, name, topic, table=None, constraints=()):
        self.app, self.reader = database.app, database.reader
        self.name, self.table = name, table or topic.table
        self.target = name + '_target'
        self.app.run(pg.create_table(self.target, self.table, constraints))
        options = {'max_quarantine_share': 1}
        if topic.placeholder:
            options['unavailable_value_placeholder'] = topic.placeholder
        pg.create_pipeline(self.app, name, self.table, self.target, options)
        self.applied = []

    def step(self, records, reader=None):
        """Insert, sync, and compare; what is wrong."""
        pg.insert(self.app, self.name, records)
        result = pg.sync(self.app, self.name)
        self.applied += records
        problems = []
        if result['events'] != len(records):
            problems.append('cdc_sync: %r events, inserted %d'
                            % (result['events'], len(records)))
        return problems + self.compare(reader)

    def compare(self, reader=None):
        reader = reader or self.reader
        state = fold(self.table, self.applied)
        have = pg.rows(reader, self.target, self.table)
        problems = differences(self.table, state.rows, have)
        bad = pg.quarantine(reader, self.name)
        for where in sorted(set(bad) | set(state.bad)):
            if where not in state.bad:
                problems.append('in quarantine: %r %r' % (where, bad[where]))
            elif where not in bad:
                problems.append('not in quarantine: %r' % (where,))
        return problems


def at(records, problems):
    """Name the place in front of each problem."""
    place = ', '.join('%d/%d' % (r.partition, r.offset) for r in records[-1:])
    return ['after %s: %s' % (place, p) for p in problems]


def guarded(report, name, check):
    """Run a check; an error of the server is a failure of it."""
    try:
        problems = check()
    except (pg.SqlError, AssertionError) as error:
        problems = [str(error)]
        if getattr(error, 'sqlstate', None) == '08006':
            report.check(name, problems)
            raise
    report.check(name, problems)


# ---- the source's table at the end ----------------------------------------

def check_final(topic):
    """The fold against the source's dump: exactly the expected differences."""
    have = fold(topic.table, topic.records()).rows
    found, problems = set(), []
    for difference in differences(topic.table, topic.source_rows(), have):
        column = re.match(r"\(.*?\)\.(\w+): ", difference)
        column = column.group(1) if column else '*'
        if column in topic.expected:
            found.add(column)
        else:
            problems.append(difference)
    problems += ['expected difference did not occur: %s (%s)'
                 % (column, topic.expected[column])
                 for column in topic.expected if column not in found]
    return problems


def check_spelling(database, topic, name):
    """The server prints the fold's texts as they are."""
    have = fold(topic.table, topic.records()).rows
    database.app.run(pg.create_table(name, topic.table))
    for row in have.values():
        database.app.run('INSERT INTO %s (%s) VALUES (%s)' % (
            name, ', '.join(map(pg.ident, row)),
            ', '.join(map(pg.literal, row.values()))))
    return differences(topic.table, have,
                       pg.rows(database.reader, name, topic.table))


# ---- one partition ---------------------------------------------------------

def check_each(database, topic, name, table=None):
    feed = Feed(database, name, topic, table)
    problems = []
    for record in topic.records():
        problems += at([record], feed.step([record]))
    result = pg.sync(feed.app, name)
    if result['events'] != 0:
        problems.append('a second cdc_sync reports %r' % result)
    return problems


def check_at_once(database, topic, name):
    feed = Feed(database, name, topic)
    return feed.step(list(topic.records()))


def in_transaction(feed, steps):
    """Run steps in a transaction that is rolled back: the pipeline is as new."""
    feed.app.run('BEGIN')
    try:
        problems = []
        for records in steps:
            if records:
                problems += at(records, feed.step(records, feed.app))
        return problems
    finally:
        feed.app.run('ROLLBACK')
        feed.applied = []


def check_cuts(database, topic, name):
    """Two windows, for every pair of places where they end."""
    feed = Feed(database, name, topic)
    records = list(topic.records())
    problems = []
    for end in range(2, len(records) + 1):
        for cut in range(1, end):
            problems += ['cut at %d, %s' % (cut, p) for p in
                         in_transaction(feed, [records[:cut],
                                               records[cut:end]])]
    return problems


# ---- three partitions -------------------------------------------------------

def split(records, count, seed):
    """By hash of the key; null keys go to partition 0."""
    offsets = [1] * count           # the heartbeats are before
    out = []
    for r in records:
        part = 0 if r.key is None else zlib.crc32(r.key, seed) % count
        out.append(Record(part, offsets[part], r.key, r.value, r.headers,
                          r.index))
        offsets[part] += 1
    return out


def interleavings(records, count, rng):
    """Orders of arrival that keep each partition's order."""
    lanes = [[r for r in records if r.partition == p] for p in range(count)]
    yield 'as it was', list(records)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        yield ('partition by partition %s' % (order,),
               [r for p in order for r in lanes[p]])
    for number in range(2):
        left = [list(lane) for lane in lanes]
        out = []
        while any(left):
            lane = rng.choice([lane for lane in left if lane])
            out.append(lane.pop(0))
        yield 'shuffled %d' % number, out


def apart(topic, records):
    """A seed of the hash that parts the keys of the key changes."""
    pairs = [(r.key, r.header('__debezium.oldkey')) for r in records
             if r.header('__debezium.oldkey')]
    for seed in range(1000):
        parts = split(records, 3, seed)
        used = {r.partition for r in parts if r.key is not None}
        homes = {r.key: r.partition for r in parts}
        deletes = [r for r in parts if r.header('__debezium.newkey')
                   and r.value is not None]
        if len(used) >= min(3, len(homes)) and all(
                homes[new] != d.partition
                for (new, _), d in zip(pairs, deletes)):
            return seed
    raise AssertionError('no seed parts the keys of ' + topic.file)


def check_partitions(database, topic, name, rng):
    feed = Feed(database, name, topic)
    pg.announce(feed.app, name, 3)
    records = list(topic.records())
    parts = split(records, 3, apart(topic, records))
    problems = []
    for what, order in interleavings(parts, 3, rng):
        found = in_transaction(feed, [[r] for r in order])
        for cut in range(1, len(order)):
            found += ['cut at %d, %s' % (cut, p) for p in
                      in_transaction(feed, [order[:cut], order[cut:]])]
        problems += ['%s: %s' % (what, p) for p in found]
    return problems


# ---- a target that the pipeline makes ---------------------------------------

PRINTED = {'integer': 'int', 'character varying': 'varchar',
           'character': 'char', 'bit varying': 'varbit'}


def made_table(reader, target, topic):
    """The table that was made, with the readings of ours that fit its types."""
    data = reader.json(
        "SELECT json_agg(json_build_array(attname, "
        "format_type(atttypid, atttypmod)) ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        % pg.literal(pg.ident(target)))
    columns = []
    for name, sql in data:
        array = sql.endswith('[]')
        sql = sql[:-2] if array else sql
        zoned = sql.endswith(' with time zone')
        sql = sql.replace(' with time zone', '') \
            .replace(' without time zone', '')
        kind, _, rest = sql.partition('(')
        kind = PRINTED.get(kind, kind)
        if zoned:
            kind += 'tz'
        columns.append(Column(name, kind + ('(' + rest if rest else '')
                              + ('[]' if array else '')))
    key = reader.json(
        "SELECT coalesce(json_agg(attname ORDER BY n), '[]') FROM pg_index, "
        "unnest(indkey) WITH ORDINALITY k(no, n), pg_attribute "
        "WHERE indisprimary AND indrelid = %s::regclass AND attrelid = indrelid "
        "AND attnum = k.no" % pg.literal(pg.ident(target)))
    args = [topic.placeholder] if topic.placeholder else []
    return Table(columns, key, *args)


# What a schema must become, where the made type is not free.
MADE = {'int32': ('int',), 'int64': ('bigint',), 'int16': ('smallint',),
        'boolean': ('boolean',), 'float': ('real',),
        'double': ('double precision',), 'string': ('text', 'varchar')}


def check_made(database, topic, name):
    app, reader = database.app, database.reader
    options = {'max_quarantine_share': 1}
    if topic.placeholder:
        options['unavailable_value_placeholder'] = topic.placeholder
    pg.create_pipeline(app, name, topic.table, options=options)
    records = list(topic.records())
    pg.insert(app, name, records)
    pg.sync(app, name)
    table = made_table(reader, name + '_target', topic)
    problems = []
    if [k.lower() for k in table.key] != [k.lower() for k in topic.table.key]:
        problems.append('key %r' % table.key)
    names = {c.field for c in topic.table.columns} - {'CITY', 'extra'}
    made = {c.name for c in table.columns} - {'CITY', 'extra'}
    if names != made:
        problems.append('columns %r' % sorted(names ^ made))
    if '_schema.' in topic.file:
        problems += made_types(records, table)
        # and the default of a column that was added
        args = [topic.placeholder] if topic.placeholder else []
        table = Table(with_defaults(table.columns,
                                    DEFAULTS.get(topic.file.split('.')[1], {})),
                      table.key, *args)
    state = fold(table, records)
    problems += differences(table, state.rows,
                            pg.rows(reader, pg.ident(name + '_target'), table))
    bad = pg.quarantine(reader, name)
    if set(bad) != set(state.bad):
        problems.append('in quarantine: %r' % list(bad.values())[:2])
    return problems


def made_types(records, table):
    schema = json.loads(records[0].value)['schema']
    after, = [f for f in schema['fields'] if f['field'] == 'after']
    problems = []
    for field in after['fields']:
        column = table.by_name.get(field['field'])
        if column is None or 'name' in field or field['type'] not in MADE:
            continue
        if split_type(column.sql)[0] not in MADE[field['type']]:
            problems.append('%s: %s became %s' % (field['field'],
                                                  field['type'], column.sql))
    return problems


# ---- changes of the source's table -----------------------------------------

def land_ddl(database):
    """The connector's schema-change topic, and what it might have left out."""
    pg.create_pipeline(database.app, 'ddl', Table([], []))
    path = os.path.join(FOLDER, 'mariadb_plain.schema_changes.jsonl')
    with open(path, encoding='utf-8') as file:
        events = [json.loads(line)['payload'] for line in file]
    # the recording has no event of the TRUNCATE, which stands between the
    # transactions 81 and 83; this is the form that the documentation gives it
    event = json.loads(events[-1])
    event.update(ddl='truncate table TR', tableChanges=[])
    event['source'].update(gtid='0-1-82', table='TR')
    events.append(json.dumps(event))
    pg.insert(database.app, 'ddl', [
        Record(0, n, b'{"databaseName":"salesdb"}', e.encode(), [], n)
        for n, e in enumerate(events)])


def check_followed(database, topic, name, ddl):
    """A target that is made at the first event ends as the source's table.

    Whether it was made from all events or from the first, and wherever the
    windows end.
    """
    app = database.app
    options = {}
    if topic.placeholder:
        options['unavailable_value_placeholder'] = topic.placeholder
    if ddl:
        options['schema_topic'] = 'ddl_debezium'
    records = list(topic.records())
    problems = []
    for cut in range(1, len(records) + 1):
        app.run('BEGIN')
        try:
            pg.create_pipeline(app, name, topic.table, options=options)
            for part in (records[:cut], records[cut:]):
                pg.insert(app, name, part)
                pg.sync(app, name)
            found = differences(topic.table, topic.source_rows(),
                                pg.rows(app, pg.ident(name + '_target'),
                                        topic.table))
            if not app.json("SELECT to_json(exact) FROM cdc_status "
                            "WHERE pipeline = %s" % pg.literal(name)):
                found.append('not exact')
            problems += ['cut at %d, %s' % (cut, p) for p in found]
        finally:
            app.run('ROLLBACK')
    return problems


# Topic, and whether its table's statements are read from the schema changes.
FOLLOWED = [('mariadb_schema.CUSTOMER', False), ('mariadb_schema.CUSTOMER', True),
            ('mariadb_plain.CUSTOMER', True), ('mariadb_schema.TR', True),
            ('mariadb_plain.TR', True), ('postgres_schema.t2', False)]


# ---- null keys ---------------------------------------------------------------

def check_null_keys(database, topic, name):
    """A later matter: but no record may vanish, and nothing may be stuck.

    What is not in quarantine has to be in the target, by the key in the row
    images; the tombstones have no key and say nothing.
    """
    feed = Feed(database, name, topic)
    records = list(topic.records())
    pg.insert(feed.app, name, records)
    result = pg.sync(feed.app, name)
    bad = pg.quarantine(feed.reader, name)
    state = fold(feed.table, [r for r in records
                              if (r.partition, r.offset) not in bad])
    problems = differences(feed.table, state.rows,
                           pg.rows(feed.reader, feed.target, feed.table))
    if result['events'] != len(records):
        problems.append('cdc_sync: %r' % result)
    if pg.sync(feed.app, name)['events'] != 0:
        problems.append('stuck: the next cdc_sync finds the records again')
    return problems


def keyless_rows(reader, topic, name):
    exprs = ', '.join("format('%%s', %s)" % pg.ident(c.name)
                      for c in topic.table.columns)
    return sorted(map(str, reader.json(
        "SELECT coalesce(json_agg(json_build_array(%s)), '[]') FROM %s_target"
        % (exprs, name))))


def check_no_key(database, topic, name):
    """Null keys and a target without one: cut at every place, the source's table."""
    app, reader = database.app, database.reader
    records = list(topic.records())
    columns = ', '.join('%s %s' % (pg.ident(c.name), c.sql)
                        for c in topic.table.columns)
    final = topic.final_rows()
    want = sorted(str([row[c.name] or '' for c in topic.table.columns])
                  for row in final)
    problems = []
    for cut in range(len(records) + 1):
        part = '%s_%d' % (name, cut)
        app.run('CREATE TABLE %s_target (%s)' % (part, columns))
        pg.create_pipeline(app, part, topic.table, part + '_target',
                           {'max_quarantine_share': 1, **(
                               {'unavailable_value_placeholder': topic.placeholder}
                               if topic.placeholder else {})})
        for half in (records[:cut], records[cut:]):
            pg.insert(app, part, half)
            pg.sync(app, part)
        have = keyless_rows(reader, topic, part)
        bad = pg.quarantine(reader, part)
        if have != want or bad:
            problems.append('cut at %d: %r, not %r; in quarantine: %r'
                            % (cut, have, want, bad))
    return problems


# ---- the documented sample events ---------------------------------------------

class Sample(Topic):
    """customer_events.jsonl, one of its two shapes, with replaced parts."""

    def __init__(self, shape, null=None, wrap_key=None, snapshot=None):
        super().__init__('samples.' + shape, '', plain(
            ('CUST_ID', 'int'), ('NAME', 'varchar(25)'),
            ('MKTSEGMENT', 'varchar(10)')), ['CUST_ID'])
        self.shape, self.null, self.wrap_key = shape, null, wrap_key
        self.snapshot = snapshot

    def records(self):
        path = os.path.join(FOLDER, '..', 'customer_events.jsonl')
        with open(path, encoding='utf-8') as file:
            for line in file:
                r = json.loads(line)
                key, value = r[self.shape]['key'], r[self.shape]['value']
                headers = [(h['key'], h['value']) if isinstance(h, dict)
                           else tuple(h) for h in r['headers']]
                if value is None:
                    value = self.null
                elif self.snapshot:
                    value = value.replace('"snapshot":"false"', self.snapshot)
                if key is not None and self.wrap_key:
                    key = self.wrap_key(json.loads(key))
                yield Record(r['partition'], r['offset'],
                             key and key.encode(), value and value.encode(),
                             headers, r['offset'])


SAMPLES = [
    ('schemaless', Sample('schemaless')),
    ('with_schema', Sample('with_schema')),
    ('null as text', Sample('schemaless', null='null')),
    ('null as payload', Sample('with_schema',
                               null='{"schema":null,"payload":null}')),
    ('key with schema', Sample('schemaless', wrap_key=lambda k: json.dumps(
        {'schema': None, 'payload': k}))),
    ('scalar key', Sample('schemaless',
                          wrap_key=lambda k: str(k['CUST_ID']))),
    ('router\'s key', Sample('schemaless', wrap_key=lambda k: json.dumps(
        dict(k, __dbz__physicalTableIdentifier='salesdb.salesdb.CUSTOMER')))),
    ('snapshot as boolean', Sample('schemaless', snapshot='"snapshot":false')),
    ('snapshot as null', Sample('schemaless', snapshot='"snapshot":null')),
]


def check_sample_end(database, name):
    """The documented states after 16, 17 and 19."""
    topic = Sample('schemaless')
    feed = Feed(database, name, topic)
    records = list(topic.records())
    problems = []
    for upto, want in ((17, ['8001', '8003', '9002']), (18, []),
                       (20, ['8020'])):
        feed.step(records[len(feed.applied):upto])
        have = sorted(k for k, in pg.rows(feed.reader, feed.target, feed.table))
        if have != want:
            problems.append('after %d: %r' % (upto - 1, have))
    return problems


# ---- all of it -----------------------------------------------------------------

DEFAULTS = {'CUSTOMER': {'CITY': 'X'}, 't2': {'extra': '5'}}


def with_default(topic):
    """The target's own default fills rows whose events lack the column."""
    return Table(with_defaults(topic.table.columns,
                               DEFAULTS[topic.file.split('.')[1]]),
                 topic.table.key, topic.table.placeholder)


def check_default(database, topic, name):
    """With the default in the target's definition it is the source's table."""
    table = with_default(topic)
    problems = check_each(database, topic, name, table)
    return problems + differences(
        table, topic.source_rows(),
        pg.rows(database.reader, name + '_target', table))


def run(report, database, odd, seed):
    rng = random.Random(seed)
    numbers = iter(range(10000))

    def test(name, check, where, topic, *args):
        guarded(report, name, lambda: check(where, topic, 'p%d'
                                            % next(numbers), *args))

    for topic in TOPICS + NULL_KEYS:
        report.check('%s: the fold is the source\'s table' % topic.file,
                     check_final(topic))
    for topic in TOPICS:
        file = topic.file
        test(file + ': the server prints what the fold gives', check_spelling,
             database, topic)
        test(file + ': after every offset', check_each, database, topic)
        test(file + ': in one window', check_at_once, database, topic)
        test(file + ': the window cut at every place', check_cuts, database,
             topic)
        test(file + ': by key over 3 partitions, cut at every place',
             check_partitions, database, topic, rng)
        test(file + ': target made by the pipeline', check_made, database,
             topic)
        test(file + ': after every offset, odd settings', check_each, odd,
             topic)
        test(file + ': in one window, odd settings', check_at_once, odd, topic)
        test(file + ': target made, odd settings', check_made, odd, topic)
        if file.split('.')[1] in DEFAULTS:
            test(file + ': with the default in the target', check_default,
                 database, topic)
    by_name = {topic.file: topic for topic in TOPICS}
    land_ddl(database)
    for file, ddl in FOLLOWED:
        test('%s: followed, as at the source%s'
             % (file, ', with the schema changes' if ddl else ''),
             check_followed, database, by_name[file], ddl)
    for topic in NULL_KEYS:
        test(topic.file + ': null keys', check_null_keys, database, topic)
        test(topic.file + ': no key, cut at every place', check_no_key,
             database, topic)
    for name, topic in SAMPLES:
        test('samples, %s: after every offset' % name, check_each, database,
             topic)
        test('samples, %s: in one window' % name, check_at_once, database,
             topic)
        test('samples, %s: the window cut at every place' % name, check_cuts,
             database, topic)
    guarded(report, 'samples: the documented states',
            lambda: check_sample_end(database, 'p%d' % next(numbers)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--keep', action='store_true',
                        help='keep the databases')
    args = parser.parse_args()
    report = pg.Report()
    database = pg.Database('cdc_model_recorded', keep=args.keep)
    odd = pg.Database('cdc_model_recorded_odd', pg.ODD, keep=args.keep)
    try:
        for where in (database, odd):
            for sql in PRELUDE:
                where.app.run(sql)
        run(report, database, odd, args.seed)
    finally:
        database.close()
        odd.close()
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
