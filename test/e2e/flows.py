"""Tables of the sources on their way through Debezium into their targets."""
import json
import re
import threading

import scenario
import services
from services import wait_for
from tap import tap, progress
from warehouse import ident, literal


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
        # with the schema embedded, cdc_create_all() finds the names
        self.name = f'{source}_{table.name}_{mode}'.lower()
        self.target = self.name + '_target'
        self.landing = self.name + '_debezium'

    def column(self, name):
        """The target's column for a source's."""
        return ident(name if self.mode == 'schema' else name.lower())

    def create(self, warehouse):
        """Without the schema embedded, the target is named, and how to read what a
        JSON value does not tell."""
        types = {'int': 'bigint', 'text': 'text', 'dec': 'numeric(10,2)', 'ts': 'timestamp(3)',
                 'bool': 'boolean'}
        columns = [f'{self.column(c)} {types[k]}' for c, k in self.table.kinds.items()]
        key = ', '.join(self.column(c) for c in self.table.key)
        readings = {'ts': {'unit': 'ms'}}
        mapping = {c.lower(): {'field': c, **readings[k]}
                   for c, k in self.table.kinds.items() if k in readings}
        topic = literal(f'kafka.{ident(self.topic)}')
        warehouse.sql(f'CREATE TABLE {self.target} ({", ".join(columns)}, refresh_time timestamp,'
                      f' PRIMARY KEY ({key}));'
                      f' SELECT cdc_create({literal(self.name)}, topic => {topic},'
                      f' target => {literal(self.target)}, columns => {literal(json.dumps(mapping))})')

    def by_hand(self, warehouse):
        """What the workers do, beside them."""
        warehouse.sql(f'SELECT * FROM cdc_refresh({literal(self.name)})')
        return warehouse.rows(f'SELECT * FROM cdc_sync({literal(self.name)})')[0]

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

    def target_rows(self, warehouse):
        text = [scenario.POSTGRES_TEXT.get(k, '{}::text').format(self.column(c))
                for c, k in self.table.kinds.items()]
        out = warehouse.sql(f'SELECT json_build_array({", ".join(text)}) FROM {self.target}')
        return sorted((json.loads(line) for line in out.splitlines()), key=repr)

    def compare(self, line, phase, seconds=60):
        """Wait until the target equals the source, and look once more after that.

        A row at the end would not do as a mark: with several partitions it may be
        in the topic before what was written earlier.
        """
        want = self.source_rows(line.sources[self.source])
        got = []

        def equal():
            nonlocal got
            line.connect.check()
            if not line.warehouse.synced(self.name):
                return False
            got = self.target_rows(line.warehouse)
            return got == want
        try:
            wait_for(equal, seconds, 'equal')
            equal()
        except TimeoutError:
            pass
        different = [f'- {r}' for r in want if r not in got] + [f'+ {r}' for r in got if r not in want]
        tap.ok(got == want and len(want) > 0, f'{phase}: {self.name}: {len(want)} rows are equal',
               '\n'.join(different) or f'{len(got)} rows, some twice')


def all_flows():
    return [Flow(source, mode, table)
            for source, tables in (('mariadb', scenario.MARIADB), ('postgres', scenario.POSTGRES))
            for mode in ('plain', 'schema') for table in tables]


class Line:
    """The sources, Connect, the broker, and the warehouse."""

    def __init__(self, root, artifacts, bindir, warehouse):
        self.root, self.artifacts, self.warehouse = root, artifacts, warehouse
        progress('start MariaDB, PostgreSQL and Kafka')
        self.sources = {
            'mariadb': services.MariaDB(root),
            'postgres': services.PostgreSQL('postgres', root, bindir, {
                'wal_level': 'logical', 'fsync': 'off', 'wal_sender_timeout': 0})}
        self.kafka = services.Kafka(root, artifacts + '/libs')
        self.sources['mariadb'].sql('CREATE DATABASE salesdb')
        self.sources['postgres'].sql('CREATE DATABASE shop')
        for table in scenario.MARIADB:
            self.sources['mariadb'].sql(table.ddl, 'salesdb')
        for table in scenario.POSTGRES:
            self.sources['postgres'].sql(table.ddl, 'shop')
        self.connect = None
        self.flows = all_flows()
        self.sentinels = 0

    def run(self, source, text):
        if source == 'mariadb':
            # its table names are case-sensitive, and in capitals here
            text = re.sub(r'\b(INTO|UPDATE|FROM|TABLE) (customer|orders|ck|tr)\b',
                          lambda m: f'{m[1]} {m[2].upper()}', text)
            self.sources['mariadb'].sql(text, 'salesdb')
        else:
            self.sources['postgres'].sql(text, 'shop')

    def run_all(self, text_for):
        for source in self.sources:
            self.run(source, text_for(source))

    def start_connect(self):
        self.connect = services.Connect(self.root, self.kafka, self.artifacts + '/plugins', [
            connector(source, mode, self.kafka, self.sources['mariadb'], self.sources['postgres'])
            for source in ('mariadb', 'postgres') for mode in ('plain', 'schema')])

    def second_broker(self):
        """A broker that joins the first one."""
        return services.Kafka(self.root, self.artifacts + '/libs', self.kafka)

    def names(self):
        return [flow.name for flow in self.flows]

    def landed(self):
        """Records, of all flows."""
        return int(self.warehouse.sql("SELECT sum(next_offset) FROM cdcsync.position"))

    def compare_all(self, phase):
        """Compare all targets with their tables."""
        progress(f'compare: {phase}')
        self.sentinels += 1
        self.run_all(lambda source: scenario.sentinel(source, self.sentinels))
        for flow in self.flows:
            tap.section(flow.compare, self, phase)


class Load:
    """Statements at both sources, until it is stopped."""

    seed = 0
    statements = 0

    def __init__(self, line):
        self.line = line
        self.over = threading.Event()
        self.error = None
        self.threads = [threading.Thread(target=self.work, args=(source,), daemon=True)
                        for source in line.sources]

    def work(self, source):
        try:
            while not self.over.is_set():
                Load.seed += 1
                self.line.run(source, scenario.random_load(Load.seed, 20))
                Load.statements += 20
                self.over.wait(0.1)
        except Exception as e:
            self.error = e

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.error:
            raise self.error
