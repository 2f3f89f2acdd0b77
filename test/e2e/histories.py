#!/usr/bin/python3
"""Random histories on real sources, through connectors in random modes.

usage: histories.py [--seed N] [--rounds N] [--statements N] [--only SOURCE]

A round has tables of all column types at both sources, several connectors with
modes drawn at random, and a pipeline for each table and connector.  Statements
at random, key changes, swaps, rollbacks, truncates and DDL among them, while
Connect is killed and comes back; at the end every target must equal its table.
The first round has the seed N (1), the next N + 1.  The environment is that of
run.py, which has a small round of its own.  Prints TAP.

MySQL in place of MariaDB (--only mysql) needs its server, which Debian 12 has not:
MYSQLD and MYSQL are the commands of server and client, and the artifacts come by
"mvn -Pmysql".
"""
import argparse
import json
import os
import random
import sys
import traceback

import services
from column_types import KINDS, Kind, default_modes, quoted, random_modes, text_literal
from flows import Line, converters
from services import wait_for
from tap import tap, progress
from warehouse import Warehouse, ident, literal

KEYS = 24                   # so few that changes of a row meet
TABLES = 3                  # of a source
BATCH = 12                  # statements that are sent at once

BIG = Kind('text', lambda rng: quoted(rng.choice('xyz') * 3000), 'text')


class Table:
    """A table of a source, with columns of random types."""

    def __init__(self, rng, source, schema, name, kinds):
        self.source, self.name = source, name
        self.full = f'{schema}.{name}'
        self.columns = {f'c_{k}': KINDS[source][k] for k in kinds}
        self.composite = rng.random() < 0.4
        self.truncates = name == 't0'
        self.ddl_done = False
        if source == 'postgres':
            self.columns['c_big'] = BIG
        self.identity = 'FULL' if rng.random() < 0.3 else 'DEFAULT'

    def key(self):
        return ['id', 'k2'] if self.composite else ['id']

    def create(self):
        columns = ['id int NOT NULL'] + (['k2 varchar(10) NOT NULL'] if self.composite else [])
        columns += [f'{name} {kind.ddl}{"" if "NULL" in kind.ddl else " NULL"}' for name, kind in self.columns.items()]
        sql = f'CREATE TABLE {self.full} ({", ".join(columns)}, PRIMARY KEY ({", ".join(self.key())}));'
        if self.source == 'postgres':
            sql += (f'ALTER TABLE {self.full} REPLICA IDENTITY {self.identity};'
                    f'ALTER TABLE {self.full} ALTER c_big SET STORAGE EXTERNAL;')
        return sql

    # -- statements

    def value(self, rng, name):
        return 'NULL' if rng.random() < 0.15 else self.columns[name].value(rng)

    def where(self, rng, key):
        return f'id = {key}' + (f" AND k2 = '{rng.choice('ab')}'" if self.composite and rng.random() < 0.5 else '')

    def insert(self, rng, keys):
        rows = []
        for key in keys:
            k2 = [f"'{rng.choice('ab')}'"] if self.composite else []
            rows.append('(' + ', '.join([str(key)] + k2 + [self.value(rng, c) for c in self.columns]) + ')')
        names = ', '.join(self.key() + list(self.columns))
        return [f'DELETE FROM {self.full} WHERE id IN ({", ".join(map(str, keys))});',
                f'INSERT INTO {self.full} ({names}) VALUES {", ".join(rows)};']

    def update(self, rng):
        some = rng.sample(list(self.columns), rng.randint(1, min(3, len(self.columns))))
        key = rng.randrange(KEYS)
        where = self.where(rng, key) if rng.random() < 0.7 else f'id BETWEEN {key} AND {key + 3}'
        return [f'UPDATE {self.full} SET {", ".join(f"{c} = {self.value(rng, c)}" for c in some)} WHERE {where};']

    def statements(self, rng):
        what, key, other = rng.random(), rng.randrange(KEYS), rng.randrange(KEYS)
        if what < 0.35:
            return self.insert(rng, rng.sample(range(KEYS), rng.randint(1, 3)))
        if what < 0.7:
            return self.update(rng)
        if what < 0.8:
            return [f'DELETE FROM {self.full} WHERE {self.where(rng, key)};']
        if what < 0.9 and key != other:
            return [f'DELETE FROM {self.full} WHERE id = {other};',
                    f'UPDATE {self.full} SET id = {other} WHERE id = {key};']
        if what < 0.95 and key != other:
            return [f'UPDATE {self.full} SET id = {new} WHERE id = {old};'
                    for old, new in ((key, -1), (other, key), (-1, other))]
        if what > 0.98 and self.truncates:
            return [f'TRUNCATE TABLE {self.full};'] + self.insert(rng, rng.sample(range(KEYS), 3))
        return self.update(rng)

    # -- comparison

    def normal(self, rows, modes, made):
        names = list(self.columns)
        out = []
        for row in rows:
            n = len(self.key())
            out.append(row[:n] + [None if v is None else self.columns[c].normal_under(modes, made)(v)
                                  for c, v in zip(names, row[n:])])
        return sorted(out, key=repr)

    def source_rows(self, server, modes, made):
        if self.source != 'postgres':
            key = [f'CAST({k} AS CHAR)' for k in self.key()]
            texts = [k.source_text.format(c) if k.source_text != '{}' else f'CAST({c} AS CHAR)'
                     for c, k in self.columns.items()]
            out = server.sql(f'SELECT JSON_ARRAY({", ".join(key + texts)}) FROM {self.full}')
        else:
            texts = [f'{k}::text' for k in self.key()]
            texts += [k.source_text.format(c) if k.source_text != '{}' else f'{c}::text'
                      for c, k in self.columns.items()]
            out = server.sql("SET timezone = 'UTC';"
                             f'SELECT json_build_array({", ".join(texts)}) FROM {self.full}', 'shop')
        return self.normal([json.loads(line) for line in out.splitlines()], modes, made)


class Connector:
    """A connector, its modes and the way its events look."""

    def __init__(self, rng, source, name, shape):
        self.source, self.name, self.shape = source, name, shape
        self.schemas = shape == 'made' or rng.random() < 0.5
        self.modes = default_modes(source) if shape == 'made' else random_modes(rng, source)
        if shape == 'made':
            self.modes['bigint.unsigned.handling.mode'] = 'precise'   # no schema tells that it has wrapped
        self.partitions = 1 if shape == 'flat' else rng.choice([1, 3])
        self.deletes = rng.choice(['rewrite', 'rewrite-with-tombstone', 'tombstone'])

    def __str__(self):
        modes = ' '.join(f'{k.split(".")[0]}={v}' for k, v in self.modes.items())
        return (f'{self.name}: {self.shape}, schemas {self.schemas}, {self.partitions} partitions, {modes}'
                + (f', deletes {self.deletes}' if self.shape == 'flat' else ''))

    def takes(self, table):
        # a flattened topic has no truncates
        return not (self.shape == 'flat' and table.truncates)

    def settings(self, history):
        schema, line = history.schema, history.line
        settings = {
            'name': self.name, 'tasks.max': 1, 'topic.prefix': self.name, 'poll.interval.ms': 50,
            'skipped.operations': 'none', **converters(self.schemas), **self.modes,
            # else an explicit NULL arrives as the column's default
            'value.converter.replace.null.with.default': 'false',
            'topic.creation.default.partitions': self.partitions, 'topic.creation.default.replication.factor': 1,
            # a truncate stands in one partition and is ordered only against that one
            'topic.creation.groups': 'one', 'topic.creation.one.partitions': 1,
            'topic.creation.one.replication.factor': 1, 'topic.creation.one.include': r'.*\\.t0'}
        tables = [t for t in history.tables if t.source == self.source and self.takes(t)]
        settings['table.include.list'] = ','.join(t.full.replace('.', r'\\.') for t in tables)
        if self.shape == 'flat':
            settings.update({
                'transforms': 'unwrap', 'transforms.unwrap.type': 'io.debezium.transforms.ExtractNewRecordState',
                'transforms.unwrap.delete.tombstone.handling.mode': self.deletes,
                'transforms.unwrap.add.fields': 'op,source.ts_ms',
                'transforms.unwrap.replace.null.with.default': 'false'})
        if self.source != 'postgres':
            settings.update({
                'connector.class': {'mariadb': 'io.debezium.connector.mariadb.MariaDbConnector',
                                    'mysql': 'io.debezium.connector.mysql.MySqlConnector'}[self.source],
                'database.hostname': '127.0.0.1', 'database.port': line.sources[self.source].port,
                'database.user': 'dbz', 'database.password': 'dbz',
                'database.server.id': random.Random(self.name).randint(10 ** 5, 10 ** 9),
                'database.include.list': schema,
                'schema.history.internal.kafka.bootstrap.servers': line.kafka.bootstrap,
                'schema.history.internal.kafka.topic': f'schemahistory.{self.name}'})
        else:
            settings.update({
                'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
                'database.hostname': '127.0.0.1', 'database.port': line.sources['postgres'].port,
                'database.user': 'postgres', 'database.password': 'none', 'database.dbname': 'shop',
                'schema.include.list': schema, 'plugin.name': 'pgoutput', 'slot.name': self.name,
                'publication.name': self.name, 'publication.autocreate.mode': 'filtered'})
        return settings


class Flow:
    """A table on its way through a connector into its target."""

    def __init__(self, connector, table):
        self.connector, self.table = connector, table
        self.topic = f'{connector.name}.{table.full}'
        self.name = f'{connector.name}_{table.name}'
        self.target = f'{self.name}_target'

    def create(self, warehouse):
        modes, table = self.connector.modes, self.table
        columns = ['id int'] + (['k2 varchar(10)'] if table.composite else [])
        columns += [f'{c} {k.target_under(modes)}' for c, k in table.columns.items()]
        mapping = {c: {'field': c, **k.reading(modes)} for c, k in table.columns.items()
                   if k.reading(modes) and not (self.connector.schemas and k.in_schema(modes))}
        warehouse.sql(f'CREATE TABLE {self.target} ({", ".join(columns)}, refresh_time timestamp,'
                      f' PRIMARY KEY ({", ".join(table.key())}));'
                      f' SELECT cdc_create({literal(self.name)}, topic => {literal(f"kafka.{ident(self.topic)}")},'
                      f' target => {literal(self.target)}, columns => {literal(json.dumps(mapping))})')

    def target_rows(self, warehouse):
        texts = [f'{k}::text' for k in self.table.key()]
        texts += [k.target_text.format(ident(c)) for c, k in self.table.columns.items()]
        out = warehouse.sql(f"SET timezone = 'UTC'; SELECT json_build_array({', '.join(texts)}) FROM {self.target}")
        return self.table.normal([json.loads(line) for line in out.splitlines()], self.connector.modes,
                                 self.connector.shape == 'made')


class History:
    """A round."""

    def __init__(self, line, seed, statements, shapes=('own', 'flat', 'made'), sources=('mariadb', 'postgres')):
        self.line, self.seed, self.left = line, seed, statements
        self.rng = random.Random(seed)
        self.schema = f'h{seed}'
        self.sources = sources
        self.connect = None
        self.tables = [t for source in sources for t in self.make_tables(source)]
        self.connectors = [Connector(self.rng, source, f'h{seed}_{source}_{shape}', shape)
                           for source in sources for shape in shapes]
        self.flows = [Flow(c, t) for c in self.connectors for t in self.tables
                      if t.source == c.source and c.takes(t)]

    def make_tables(self, source):
        """All kinds, spread over the tables."""
        kinds = list(KINDS[source])
        self.rng.shuffle(kinds)
        return [Table(self.rng, source, self.schema, f't{i}', kinds[i::TABLES]) for i in range(TABLES)]

    def sql(self, source, statements):
        text = '\n'.join(statements)
        if source != 'postgres':
            self.line.sources[source].sql("SET sql_mode = 'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES';\n" + text)
        else:
            self.line.sources[source].sql(text, 'shop')

    def drop_untakeable(self):
        """Columns whose values a mode cannot carry are not read by that flow: leave
        them out of all, so that tables stay what they are for every connector."""
        for table in self.tables:
            for connector in self.connectors:
                if connector.source == table.source:
                    for name in [n for n, k in table.columns.items() if not k.takes(connector.modes)]:
                        del table.columns[name]

    def begin(self):
        self.drop_untakeable()
        for source in self.sources:
            make = f'CREATE DATABASE {self.schema};' if source != 'postgres' else \
                (f'CREATE SCHEMA {self.schema}; SET client_min_messages = error;'
                 " DO $$ BEGIN CREATE TYPE mood AS ENUM ('glad', 'sad'); EXCEPTION WHEN duplicate_object THEN END $$;")
            mine = [t for t in self.tables if t.source == source]
            self.sql(source, [make] + [t.create() for t in mine]
                     + [s for t in mine for s in t.insert(self.rng, range(5))])
        root = os.path.join(self.line.root, self.schema)
        os.makedirs(root)
        for connector in self.connectors:
            progress(str(connector))
        self.connect = services.Connect(root, self.line.kafka, self.line.artifacts + '/plugins',
                                        [c.settings(self) for c in self.connectors])
        self.make_pipelines()

    def make_pipelines(self):
        warehouse = self.line.warehouse

        def imported():
            self.connect.check()
            warehouse.sql('IMPORT FOREIGN SCHEMA kafka FROM SERVER real INTO kafka')
            have = {r['relname'] for r in warehouse.rows("SELECT relname FROM pg_class WHERE relkind = 'f'")}
            return all(flow.topic in have for flow in self.flows)
        wait_for(imported, 120, 'the topics of all tables')
        for flow in self.flows:
            wait_for(lambda flow=flow: warehouse.sql(f'SELECT 1 FROM kafka.{ident(flow.topic)} LIMIT 1'),
                     60, 'the first event of ' + flow.topic)
            if flow.connector.shape != 'made':
                flow.create(warehouse)
        by_topic = {flow.topic: flow for flow in self.flows}
        for connector in self.connectors:
            if connector.shape == 'made':
                for row in warehouse.rows(f"SELECT * FROM cdc_create_all('real', '{connector.name}.*')"):
                    if row['pipeline']:
                        by_topic[row['topic']].name = row['pipeline']
                        by_topic[row['topic']].target = row['target']

    def batch(self, source):
        """Statements of one transaction or several."""
        out, mine = [], [t for t in self.tables if t.source == source]
        while len(out) < BATCH:
            statements = [s for _ in range(self.rng.randint(1, 4))
                          for s in self.rng.choice(mine).statements(self.rng)]
            # MariaDB and MySQL commit at a truncate
            if any(s.startswith('TRUNCATE') for s in statements) or self.rng.random() < 0.3:
                out += statements
                continue
            undone = self.rng.choice(mine).update(self.rng)
            if self.rng.random() < 0.3:
                statements += ['SAVEPOINT s;'] + undone + ['ROLLBACK TO SAVEPOINT s;']
            out += ['START TRANSACTION;'] + statements + ['COMMIT;' if self.rng.random() < 0.9 else 'ROLLBACK;']
        self.left -= len(out)
        return out

    def change_table(self, table):
        """A column comes, with a default that rows get which are there; the user
        has given it to the targets before."""
        table.ddl_done = True
        for flow in self.flows:
            if flow.table is table and not (flow.connector.shape == 'made' and self.follows()):
                self.line.warehouse.sql(f'ALTER TABLE {flow.target} ADD COLUMN c_added int DEFAULT 7')
        self.sql(table.source, [f'ALTER TABLE {table.full} ADD COLUMN c_added int DEFAULT 7;'])
        table.columns['c_added'] = KINDS[table.source]['int']
        # a target that follows learns of the column from the first event that has it
        self.sql(table.source, table.insert(self.rng, [self.rng.randrange(KEYS)]))

    def follows(self):
        """Do made targets follow by themselves?"""
        return self.line.warehouse.sql("SELECT to_regclass('cdcsync.schema_change') IS NOT NULL") == 't'

    def wait_for_offsets(self):
        """Connect has noted how far it is with each connector, behind the snapshot:
        else a new snapshot comes, which says nothing of rows deleted meanwhile."""
        def noted():
            self.connect.check()
            try:
                with open(os.path.join(self.connect.dir, 'offsets'), 'rb') as f:
                    offsets = f.read()
            except FileNotFoundError:
                return False
            return b'"snapshot' not in offsets and \
                all(c.name.encode() in offsets for c in self.connectors)
        wait_for(noted, 60, 'the offsets of all connectors')

    def live(self):
        """The changes, and what happens to Connect meanwhile."""
        total, killed = self.left, 0
        while self.left > 0:
            for source in self.sources:
                self.sql(source, self.batch(source))
            done = 1 - self.left / total
            if done > 0.5:
                for table in self.tables:
                    if not table.ddl_done and table.name != 't2':
                        self.change_table(table)
            if killed < 2 and done > (killed + 1) / 3:
                killed += 1
                if killed == 1:
                    self.wait_for_offsets()
                self.connect.kill()
                for source in self.sources:
                    self.sql(source, self.batch(source))
                self.connect.restart()

    def compare(self, flow, seconds):
        table, modes = flow.table, flow.connector.modes
        want = table.source_rows(self.line.sources[table.source], modes, flow.connector.shape == 'made')
        got = []

        def equal():
            nonlocal got
            self.connect.check()
            try:
                got = flow.target_rows(self.line.warehouse)
            except RuntimeError as e:
                if '"c_added" does not exist' not in str(e):
                    raise
                return False        # the column is to follow
            return got == want
        try:
            wait_for(equal, seconds, 'equal')
        except TimeoutError:
            pass
        tap.ok(got == want, f'seed {self.seed}: {flow.name}: {len(want)} rows are equal',
               self.explain(flow, want, got))
        return got == want

    def explain(self, flow, want, got):
        """Which columns differ, and what was put aside."""
        n = len(flow.table.key())
        names = flow.table.key() + list(flow.table.columns)
        have = {tuple(r[:n]): r for r in got}
        lines = [str(flow.connector)]
        for row in want:
            other = have.pop(tuple(row[:n]), None)
            if other is None:
                lines.append(f'missing {row[:n]}')
            else:
                lines += [f'{row[:n]} {c} ({getattr(flow.table.columns.get(c), "ddl", "")}): {a!r}, not {b!r}'
                          for c, a, b in zip(names, row, other) if a != b]
        lines += [f'surplus {list(key)}' for key in have]
        if len(lines) > 1:
            lines += self.events(flow, lines[1])
        name = literal(flow.name)
        lines += [str(r) for r in self.line.warehouse.rows(
            f'SELECT pipeline, state, reason, last_error FROM cdc_status WHERE pipeline = {name}')]
        lines += [str(r) for r in self.line.warehouse.rows(
            'SELECT kafka_partition, kafka_offset, column_name, message FROM cdcsync.quarantine'
            f' WHERE pipeline = {name} LIMIT 5')]
        if want != got:
            lines.insert(1, 'all records: ' + self.save(flow))
        return '\n'.join(lines)

    def save(self, flow):
        """The flow's records in a file, one a line: synced again by hand they show
        the difference, if it is not the windows' doing."""
        path = os.path.join(self.line.root, self.schema, flow.name + '.jsonl')
        with open(path, 'w', encoding='utf-8') as f:
            for row in self.line.warehouse.rows(
                    "SELECT kafka_partition, kafka_offset, refresh_time, convert_from(kafka_key, 'UTF8') AS key,"
                    " convert_from(kafka_value, 'UTF8') AS value, kafka_headers"
                    f' FROM {flow.name}_debezium ORDER BY 1, 2'):
                f.write(json.dumps(row) + '\n')
        return path

    def events(self, flow, difference):
        """The events of the first difference: all of the key, of that column."""
        key = difference[difference.index('[') + 1:].split(']')[0].split(',')[0].strip("'")
        column = difference.split('] ')[1].split(' ')[0] if '] ' in difference else 'id'
        payload = "coalesce(payload->'payload', payload)"
        return [str(r) for r in self.line.warehouse.rows(
            f"SELECT kafka_partition AS p, kafka_offset AS o, coalesce(p->'op', p->'__op') AS op,"
            f" p->'before'->'{column}' AS was, coalesce(p->'after', p)->'{column}' AS is, kafka_headers AS headers"
            f" FROM (SELECT *, {payload} AS p FROM {flow.name}_debezium) d"
            f" WHERE convert_from(kafka_key, 'UTF8') ~ '\"id\": *{key}\\M' ORDER BY 1, 2 LIMIT 12")]

    def end(self):
        if self.connect:
            self.connect.kill()
        warehouse = self.line.warehouse
        warehouse.sql(f"SELECT cdc_drop('{self.schema}_*', drop_target => true)")
        for flow in self.flows:
            warehouse.sql(f'DROP FOREIGN TABLE IF EXISTS kafka.{ident(flow.topic)}')
        if 'postgres' in self.sources:
            def dropped():
                try:
                    self.sql('postgres', ['SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots'
                                          f" WHERE slot_name LIKE '{self.schema}\\_%';"])
                    return True
                except RuntimeError:
                    return False    # the server has not yet noticed the death
            wait_for(dropped, 30, 'the slots to be free')

    def run(self):
        progress(f'history of seed {self.seed}')
        try:
            self.begin()
            self.live()
            progress('compare')
            patience = 60
            for flow in self.flows:
                # what is not equal by then will hardly be
                patience = 30 if self.compare(flow, patience) else 5
            bad = self.line.warehouse.rows("SELECT pipeline, kafka_partition, kafka_offset, column_name, message"
                                           f" FROM cdcsync.quarantine WHERE pipeline LIKE '{self.schema}\\_%' LIMIT 10")
            tap.equal(bad, [], f'seed {self.seed}: nothing is in quarantine')
        except Exception:
            tap.ok(False, f'seed {self.seed}: the history runs to its end',
                   traceback.format_exc() + (self.connect.tail(20) if self.connect else ''))
        finally:
            self.end()


def run(root, bindir, arguments):
    line = Line(root, os.environ['E2E_OUT'], bindir, Warehouse(root, bindir))
    line.warehouse.use_broker(line.kafka)
    if arguments.only == 'mysql':
        line.sources['mysql'] = services.MySQL(root)
    sources = (arguments.only,) if arguments.only else ('mariadb', 'postgres')
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        tap.section(History(line, seed, arguments.statements, sources=sources).run)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--statements', type=int, default=1000)
    parser.add_argument('--only', choices=('mariadb', 'mysql', 'postgres'))
    arguments = parser.parse_args()
    return services.run_test(lambda *where: run(*where, arguments), 'e2e-histories')


if __name__ == '__main__':
    sys.exit(main())
