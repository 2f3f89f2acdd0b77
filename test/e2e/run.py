#!/usr/bin/python3
"""The whole way, with nothing replaced: MariaDB and PostgreSQL -> Debezium ->
Kafka -> cdcsync, then source and target compared row by row.

usage: run.py        (test/run.sh starts it, as an unprivileged user)

Environment: E2E_OUT, where Maven put libs/ and plugins/; WORK, a directory to
work in; PG_CONFIG, and PGHOST, PGPORT, PGUSER: a running server that has the
extension, the warehouse.  Prints TAP.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback

import scenario
import services
from services import run, wait_for

OUT = os.environ['E2E_OUT']
BIN = os.path.dirname(os.environ['PG_CONFIG'])
DATABASE = 'e2e'
BEGAN = time.monotonic()


def progress(text):
    print(f'# {time.monotonic() - BEGAN:5.0f} s  {text}', flush=True)


class Tap:
    count = failed = 0

    def ok(self, good, what, detail=''):
        self.count += 1
        if not good:
            self.failed += 1
        print(f'{"" if good else "not "}ok {self.count} - {what}', flush=True)
        if not good:
            for line in str(detail).splitlines()[:30]:
                print('#   ' + line, flush=True)

    def equal(self, got, want, what):
        self.ok(got == want, what, f'got  {got!r}\nwant {want!r}')

    def section(self, function, *args):
        """Run a part; an error in it is one failed test, and the rest goes on."""
        try:
            function(*args)
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[1]
            self.ok(False, ' '.join([function.__name__, *(a for a in args if isinstance(a, str)),
                                     getattr(getattr(function, '__self__', None), 'name', '')]),
                    f'line {where.lineno}: {where.line}\n{type(e).__name__}: {e}')


tap = Tap()


# The warehouse.

def sql(text, database=DATABASE):
    """Run statements; the last one's output, without its last newline."""
    try:
        return run([BIN + '/psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database],
                   input=text).rstrip('\n')
    except RuntimeError as e:
        if 'server closed the connection' in str(e):
            # a crash is one failure: what follows waits until the server is back
            wait_for(lambda: subprocess.run([BIN + '/pg_isready', '-q'], check=False).returncode == 0,
                     60, 'the server after a crash')
        raise


def rows(query):
    return json.loads(sql(f"SELECT coalesce(json_agg(t), '[]') FROM ({query}) t"))


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def ident(name):
    return '"' + name.replace('"', '""') + '"'


# The connectors: each source twice, without and with the schema in each event.

def converters(schemas):
    settings = {}
    for side in ('key', 'value'):
        settings[side + '.converter'] = 'org.apache.kafka.connect.json.JsonConverter'
        settings[side + '.converter.schemas.enable'] = str(schemas).lower()
    return settings


def connector(source, mode, kafka, mariadb, postgres):
    settings = {
        'name': f'{source}_{mode}', 'tasks.max': 1, 'topic.prefix': f'{source}_{mode}',
        'poll.interval.ms': 50, 'skipped.operations': 'none', **converters(mode == 'schema')}
    if mode == 'schema':
        settings.update({
            'provide.transaction.metadata': 'true', 'heartbeat.interval.ms': 1000,
            'topic.creation.default.partitions': 3,
            'topic.creation.default.replication.factor': 1,
            'topic.creation.groups': 'one', 'topic.creation.one.partitions': 1,
            'topic.creation.one.replication.factor': 1,
            'topic.creation.one.include': r'.*\\.(TR|tr)'})
    if source == 'mariadb':
        settings.update({
            'connector.class': 'io.debezium.connector.mariadb.MariaDbConnector',
            'database.hostname': '127.0.0.1', 'database.port': mariadb.port,
            'database.user': 'dbz', 'database.password': 'dbz',
            'database.server.id': 5400 + (mode == 'schema'),
            'database.include.list': 'salesdb',
            'schema.history.internal.kafka.bootstrap.servers': kafka.bootstrap,
            'schema.history.internal.kafka.topic': f'schemahistory.{mode}'})
        if mode == 'schema':
            settings['decimal.handling.mode'] = 'string'
    else:
        settings.update({
            'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
            'database.hostname': '127.0.0.1', 'database.port': postgres.port,
            'database.user': 'postgres', 'database.password': 'none',
            'database.dbname': 'shop', 'schema.include.list': 'public',
            'plugin.name': 'pgoutput', 'slot.name': mode, 'publication.name': mode,
            'publication.autocreate.mode': 'filtered'})
    return settings


class Flow:
    """A table of a source on its way through one connector into its target."""

    def __init__(self, source, mode, table):
        self.source, self.mode, self.table = source, mode, table
        database = 'salesdb' if source == 'mariadb' else 'public'
        self.topic = f'{source}_{mode}.{database}.{table.name}'
        self.name = f'{source}_{table.name}_{mode}'.lower()
        self.target = self.name + '_target'

    def column(self, name):
        """The target's column for a source's."""
        return ident(name if self.mode == 'schema' else name.lower())

    def create(self):
        """With the schema embedded the target is made from it, else we name one."""
        topic = literal(f'kafka.{ident(self.topic)}')
        if self.mode == 'schema':
            sql(f'SELECT cdc_create({literal(self.name)}, topic => {topic})')
            return
        types = {'int': 'bigint', 'text': 'text', 'dec': 'numeric(10,2)', 'ts': 'timestamp(3)',
                 'bool': 'boolean'}
        columns = [f'{self.column(c)} {types[k]}' for c, k in self.table.kinds.items()]
        key = ', '.join(self.column(c) for c in self.table.key)
        sql(f'CREATE TABLE {self.target} ({", ".join(columns)}, refresh_time timestamp,'
            f' PRIMARY KEY ({key}))')
        # what a JSON value without a schema does not tell
        readings = {'dec': {'scale': 2}, 'ts': {'unit': 'ms'}}
        mapping = {c.lower(): {'field': c, **readings[k]}
                   for c, k in self.table.kinds.items() if k in readings}
        sql(f'SELECT cdc_create({literal(self.name)}, topic => {topic},'
            f' target => {literal(self.target)}, columns => {literal(json.dumps(mapping))})')

    def sync(self):
        sql(f'SELECT * FROM cdc_refresh({literal(self.name)})')
        return rows(f'SELECT * FROM cdc_sync({literal(self.name)})')[0]

    def source_rows(self, server):
        """Sorted lists of texts, one a row."""
        if self.source == 'mariadb':
            text = [scenario.MARIADB_TEXT.get(k, 'CAST({} AS CHAR)').format(c)
                    for c, k in self.table.kinds.items()]
            out = server.sql(f'SELECT JSON_ARRAY({", ".join(text)}) FROM {self.table.name}', 'salesdb')
        else:
            text = [scenario.POSTGRES_TEXT.get(k, '{}::text').format(c)
                    for c, k in self.table.kinds.items()]
            out = server.sql(f'SELECT json_build_array({", ".join(text)}) FROM {self.table.name}', 'shop')
        return sorted((json.loads(line) for line in out.splitlines()), key=repr)

    def target_rows(self):
        text = [scenario.POSTGRES_TEXT.get(k, '{}::text').format(self.column(c))
                for c, k in self.table.kinds.items()]
        out = sql(f'SELECT json_build_array({", ".join(text)}) FROM {self.target}')
        return sorted((json.loads(line) for line in out.splitlines()), key=repr)

    def compare(self, server, phase, seconds=60):
        """Sync until the target equals the source, and look once more after that.

        A row at the end would not do as a mark: with several partitions it may be
        there before what was written earlier.
        """
        want, end = self.source_rows(server), time.monotonic() + seconds
        while True:
            self.sync()
            got = self.target_rows()
            if got == want or time.monotonic() > end:
                break
            time.sleep(0.5)
        if got == want:
            time.sleep(0.2)
            self.sync()
            got = self.target_rows()
        different = [f'- {r}' for r in want if r not in got] + [f'+ {r}' for r in got if r not in want]
        tap.ok(got == want and len(want) > 0, f'{phase}: {self.name}: {len(want)} rows are equal',
               '\n'.join(different) or f'{len(got)} rows, some twice')


def all_flows():
    return [Flow(source, mode, table)
            for source, tables in (('mariadb', scenario.MARIADB), ('postgres', scenario.POSTGRES))
            for mode in ('plain', 'schema') for table in tables]


class Pipeline:
    """The sources, the broker, and Connect between them."""

    def __init__(self, root):
        self.root = root
        progress('start MariaDB, PostgreSQL and Kafka')
        self.mariadb = services.MariaDB(root)
        self.postgres = services.PostgreSQL(root, BIN)
        self.kafka = services.Kafka(root, OUT + '/libs')
        self.mariadb.sql('CREATE DATABASE salesdb')
        self.postgres.sql('CREATE DATABASE shop')
        for table in scenario.MARIADB:
            self.mariadb.sql(table.ddl, 'salesdb')
        for table in scenario.POSTGRES:
            self.postgres.sql(table.ddl, 'shop')
        self.connect = None

    def servers(self):
        return (('mariadb', self.mariadb), ('postgres', self.postgres))

    def run(self, source, text):
        if source == 'mariadb':
            # its table names are case-sensitive, and in capitals here
            text = re.sub(r'\b(INTO|UPDATE|FROM|TABLE) (customer|orders|ck|tr)\b',
                          lambda m: f'{m[1]} {m[2].upper()}', text)
            self.mariadb.sql(text, 'salesdb')
        else:
            self.postgres.sql(text, 'shop')

    def start_connect(self):
        self.connect = services.Connect(self.root, self.kafka, OUT + '/plugins', [
            connector(source, mode, self.kafka, self.mariadb, self.postgres)
            for source in ('mariadb', 'postgres') for mode in ('plain', 'schema')])


def create_pipelines(line, flows):
    """Create the pipelines, as soon as the topics are there."""
    progress('create the pipelines')
    sql('CREATE EXTENSION cdcsync;'
        'CREATE SERVER real FOREIGN DATA WRAPPER cdcsync_kafka'
        f" OPTIONS (bootstrap_servers '{line.kafka.bootstrap}');"
        'CREATE USER MAPPING FOR CURRENT_USER SERVER real; CREATE SCHEMA kafka')

    def imported():
        line.connect.check()
        sql('IMPORT FOREIGN SCHEMA kafka FROM SERVER real INTO kafka')
        have = {r['relname'] for r in rows("SELECT relname FROM pg_class WHERE relkind = 'f'")}
        return all(flow.topic in have for flow in flows)
    wait_for(imported, 180, 'the topics of all tables')
    # a made target wants a first event to learn from
    for flow in flows:
        wait_for(lambda flow=flow: sql(f'SELECT 1 FROM kafka.{ident(flow.topic)} LIMIT 1'),
                 120, 'the first event of ' + flow.topic)
        flow.create()
    tap.ok(True, f'{len(flows)} pipelines are created')


def compare_all(line, flows, phase, number):
    """Compare all targets with their tables."""
    progress(f'compare: {phase}')
    for source, _ in line.servers():
        line.run(source, scenario.sentinel(source, number))
    servers = dict(line.servers())
    for flow in flows:
        line.connect.check()
        tap.section(flow.compare, servers[flow.source], phase)


def check_quiet(flows):
    """Nothing is left, nothing was put aside"""
    for flow in flows:
        again = flow.sync()
        tap.equal(again['events'], 0, f'{flow.name}: a second sync has nothing to do')
    bad = rows('SELECT pipeline, column_name, message FROM cdcsync.quarantine LIMIT 20')
    tap.equal(bad, [], 'the quarantine is empty')
    bad = rows("SELECT pipeline, state, reason, last_error FROM cdc_status"
               " WHERE state IN ('stopped', 'backing off')")
    tap.equal(bad, [], 'no pipeline is stopped')


def changes_while_connect_dies(line, flows):
    """Kill Connect under load: it sends again what it had not noted as sent."""
    progress('random load, and kill Connect')
    before = {f.name: int(sql(f'SELECT count(*) FROM {f.name}_debezium')) for f in flows}
    for seed in (1, 2):
        for source, _ in line.servers():
            line.run(source, scenario.random_load(seed, 500))
        if seed == 1:
            wait_for(lambda: flow_landed(flows[0]) > before[flows[0].name], 60, 'the load to arrive')
            line.connect.kill()
    line.connect.restart()
    compare_all(line, flows, 'after Connect was killed', 3)
    repeated = [int(sql(f"SELECT count(*) - count(DISTINCT payload) FROM (SELECT"
                        " coalesce(payload->'payload', payload) - 'ts_ms' - 'ts_us' - 'ts_ns' AS payload"
                        f" FROM {f.name}_debezium WHERE kafka_value IS NOT NULL) p")) for f in flows]
    progress(f'{sum(repeated)} events were sent twice')


def flow_landed(flow):
    sql(f'SELECT * FROM cdc_refresh({literal(flow.name)})')
    return int(sql(f'SELECT count(*) FROM {flow.name}_debezium'))


# What the embedded broker cannot do.

def raw_pipeline(admin, topic, partitions=1, *settings):
    """A topic without Debezium's events, landed only."""
    admin.do('topic', topic, partitions, *settings)
    sql(f'CREATE TABLE {topic}_target (id int PRIMARY KEY)')

    def imported():
        sql(f'IMPORT FOREIGN SCHEMA kafka LIMIT TO ({ident(topic)}) FROM SERVER real INTO kafka')
        return sql(f"SELECT to_regclass('kafka.{topic}')")
    wait_for(imported, 20, 'the topic ' + topic)
    sql(f"SELECT cdc_create('{topic}', topic => 'kafka.{topic}', target => '{topic}_target')")


def refresh(topic):
    return rows(f"SET statement_timeout = '60s'; SELECT * FROM cdc_refresh('{topic}')".split('; ')[1])[0]


def landed(topic):
    """partition:offset=value of all that landed, in order"""
    return sql("SELECT string_agg(kafka_partition || ':' || kafka_offset || '=' ||"
               " convert_from(kafka_value, 'UTF8'), ' ' ORDER BY kafka_partition, kafka_offset)"
               f" FROM {topic}_debezium")


def partitions_added(admin):
    """Partitions that are added to a topic later"""
    raw_pipeline(admin, 'growing')
    admin.do('put', 'growing', 0, 'a')
    refresh('growing')
    admin.do('partitions', 'growing', 3)
    admin.do('put', 'growing', 0, 'b')
    admin.do('put', 'growing', 2, 'c')
    admin.do('put', 'growing', 2, 'd')

    def all_there():
        refresh('growing')
        return '2:1=d' in landed('growing')
    # the broker answers with its old metadata for a moment
    wait_for(all_there, 30, 'the new partition')
    tap.equal(landed('growing'), '0:0=a 0:1=b 2:0=c 2:1=d',
              'a new partition lands from its first record')
    admin.do('put', 'growing', 1, 'e')
    refresh('growing')
    tap.equal(landed('growing'), '0:0=a 0:1=b 1:0=e 2:0=c 2:1=d', 'one that was empty too')


def transactions(admin):
    """Transactions: committed, aborted and open ones"""
    raw_pipeline(admin, 'txn')
    for value in ('a', 'b'):
        admin.do('put', 'txn', 0, value)
    for end, values in (('commit', 'cd'), ('abort', 'ef'), ('commit', 'g')):
        admin.do('begin')
        for value in values:
            admin.do('put', 'txn', 0, value)
        admin.do(end)
    # offsets 4, 7 and 9 are the ends of the transactions
    want = '0:0=a 0:1=b 0:2=c 0:3=d 0:8=g'
    refresh('txn')
    tap.equal(landed('txn'), want, 'aborted records do not land, nor do control records')
    tap.equal(refresh('txn')['records'], 0, 'a control record at the end is no new record')
    tap.equal(sql('SELECT count(*), max(kafka_offset) FROM kafka.txn'), '5|8',
              'a scan of the topic sees the same')

    admin.do('begin')
    admin.do('put', 'txn', 0, 'h')
    refresh('txn')
    tap.equal(landed('txn'), want, 'an open transaction does not land, and is not waited for')
    admin.do('commit')
    refresh('txn')
    tap.equal(landed('txn'), want + ' 0:10=h', 'it lands when it is committed')

    admin.do('begin')
    admin.do('put', 'txn', 0, 'i')
    admin.do('abort')
    tap.equal(refresh('txn')['records'], 0, 'a topic that ends in an aborted transaction ends too')
    admin.do('put', 'txn', 0, 'j')
    refresh('txn')
    tap.equal(landed('txn'), want + ' 0:10=h 0:14=j', 'and goes on after it')


def times(admin):
    """Offsets by time"""
    # the broker would delete records of that age whenever it next looks
    admin.do('topic', 'timed', 1, 'retention.ms=-1')
    start, step = 1700000000000, 60000
    for i in range(100):
        admin.do('put', 'timed', 0, f'v{i}', start + i * step)
    wait_for(lambda: sql('IMPORT FOREIGN SCHEMA kafka LIMIT TO (timed) FROM SERVER real INTO kafka;'
                         "SELECT to_regclass('kafka.timed')"), 20, 'the topic')

    def since(i):
        return f"kafka_timestamp >= timestamp '1970-01-01' + interval '{start + i * step} ms'"
    tap.equal(sql('SELECT count(*), min(kafka_offset) FROM kafka.timed WHERE ' + since(90)), '10|90',
              'kafka_timestamp >= finds the records')
    tap.equal(sql('SELECT count(*) FROM kafka.timed WHERE ' + since(101)), '0',
              '.. and none after the last')
    plan = json.loads(sql('EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM kafka.timed WHERE ' + since(90)))
    node = plan[0]['Plan']
    tap.ok(node['Actual Rows'] == 10 and node.get('Rows Removed by Filter', 0) == 0,
           '.. without reading those before it', json.dumps(node, indent=1))


def big_record(admin):
    """A record of 8 MB"""
    size = 8 * 1024 * 1024
    raw_pipeline(admin, 'big', 1, 'max.message.bytes=10000000')
    admin.do('put', 'big', 0, 'small')
    admin.do('big', 'big', 0, size)
    admin.do('put', 'big', 0, 'after')
    refresh('big')
    tap.equal(sql('SELECT string_agg(length(kafka_value)::text, \' \' ORDER BY kafka_offset)'
                  ' FROM big_debezium'), f'5 {size} 5', '8 MB land')
    tap.equal(sql("SELECT kafka_value = convert_to(repeat('x', %d), 'UTF8') FROM big_debezium"
                  ' WHERE kafka_offset = 1' % size), 't', '.. unchanged')
    tap.equal(sql('SELECT max(length(kafka_value)) FROM kafka.big'), str(size), '.. and can be scanned')


def deleted_records(admin):
    """Records that are gone before they were read"""
    raw_pipeline(admin, 'gone')
    for i in range(5):
        admin.do('put', 'gone', 0, f'v{i}')
    refresh('gone')
    for i in range(5, 10):
        admin.do('put', 'gone', 0, f'v{i}')
    admin.do('delete-records', 'gone', 0, 3)
    refresh('gone')
    tap.equal(landed('gone').split()[-1], '0:9=v9', 'what was read may be deleted')

    for i in range(10, 20):
        admin.do('put', 'gone', 0, f'v{i}')
    admin.do('delete-records', 'gone', 0, 15)
    for again in ('', ', again and again'):
        try:
            told = str(refresh('gone'))
        except RuntimeError as e:
            told = str(e)
        tap.ok('ERROR' in told and '10 to 14' in told,
               'a gap is an error that tells its range' + again, told)
    tap.equal(landed('gone').split()[-1], '0:9=v9', 'it is not jumped over')


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = os.path.join(os.environ['WORK'], 'e2e-run')
    os.makedirs(root)
    try:
        line = Pipeline(root)
        for source, _ in line.servers():
            line.run(source, scenario.snapshot(source))
        progress('start Connect with four connectors')
        line.start_connect()
        sql('CREATE DATABASE e2e', 'postgres')
        flows = all_flows()
        create_pipelines(line, flows)
        compare_all(line, flows, 'snapshot', 1)

        progress('change rows')
        for source, _ in line.servers():
            line.run(source, scenario.changes(source))
        compare_all(line, flows, 'changes', 2)
        tap.section(check_quiet, flows)
        tap.section(changes_while_connect_dies, line, flows)
        tap.section(check_quiet, flows)
        line.connect.kill()

        admin = services.Admin(root, line.kafka)
        for part in (partitions_added, transactions, times, big_record, deleted_records):
            progress(part.__doc__)
            tap.section(part, admin)
    except Exception:
        tap.ok(False, 'the test runs to its end', traceback.format_exc())
    finally:
        services.stop_all()
    print(f'1..{tap.count}')
    progress('end')
    return 1 if tap.failed else 0


if __name__ == '__main__':
    sys.exit(main())
