"""A warehouse with servers and user mappings as the cases want them."""
import dataclasses
import json
import re
import subprocess

import services
from services import wait_for
from warehouse import ident, literal

DATABASE = 'secure'
TIMEOUT = 5     # connect_timeout, in s
# Several at a time: two servers of one name would wait for each other.
ASK = """BEGIN;
CREATE SERVER {name} FOREIGN DATA WRAPPER cdcsync_kafka {server};
CREATE USER MAPPING FOR CURRENT_USER SERVER {name} {mapping};
CREATE FOREIGN TABLE pg_temp.asked (kafka_key bytea) SERVER {name} OPTIONS (topic {topic});
SELECT count(*) FROM asked;
ROLLBACK;
"""


def options(values):
    """A clause OPTIONS, or nothing."""
    return f'OPTIONS ({", ".join(f"{k} {literal(v)}" for k, v in values.items())})' if values else ''


class Wires(services.PostgreSQL):
    def __init__(self, root, bindir):
        super().__init__('warehouse', root, bindir, {
            'shared_preload_libraries': 'cdcsync',
            'cdcsync.metadata_interval': 1,
            'max_worker_processes': 24,
            'fsync': 'off',
        })
        super().sql(f'CREATE DATABASE {DATABASE}')
        self.sql('CREATE EXTENSION cdcsync')
        self.kafka = self.values = None
        self.topics = {}

    def restart_with(self, **environment):
        self.stop_fast()
        self.environment = environment
        self.restart()

    def sql(self, text, database=DATABASE):
        return super().sql(text, database).rstrip('\n')

    def rows(self, query):
        return json.loads(self.sql(f"SELECT coalesce(json_agg(t), '[]') FROM ({query}) t"))

    # Cases

    def use(self, kafka):
        self.kafka = kafka
        self.values = kafka.certificates.values()

    def case(self, case):
        """With the values that it names."""
        def fill(options):
            return {k: self.values.get(v, v) for k, v in options.items()}
        address = f'{case.host}:{self.kafka.ports[case.listener]}'
        server = {'bootstrap_servers': address, 'connect_timeout': str(TIMEOUT), **fill(case.server)}
        return dataclasses.replace(case, server=server, mapping=fill(case.mapping))

    def cases(self, cases):
        return [self.case(case) for case in cases]

    def ask(self, case, topic):
        """Read a topic in a session: what psql prints, without warnings."""
        text = ASK.format(name=ident('ask ' + case.name), server=options(case.server), mapping=options(case.mapping), topic=literal(topic))
        done = subprocess.run(
            [f'{self.bindir}/psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
             '-h', '127.0.0.1', '-p', str(self.port), '-U', 'postgres', '-d', DATABASE],
            input=text, text=True, capture_output=True, check=False)
        return done.stdout.strip() or re.sub(r'^.*?(?=ERROR:)', '', done.stderr, flags=re.S)

    # Pipelines

    def follow(self, name, topic, case):
        self.sql(f'CREATE SERVER {name} FOREIGN DATA WRAPPER cdcsync_kafka {options(case.server)};'
                 f' CREATE USER MAPPING FOR CURRENT_USER SERVER {name} {options(case.mapping)};'
                 f' CREATE SCHEMA {name};'
                 f' IMPORT FOREIGN SCHEMA kafka LIMIT TO ({ident(topic)}) FROM SERVER {name} INTO {name};'
                 f' CREATE TABLE {name}_target (id int PRIMARY KEY, n int);'
                 f" SELECT cdc_create({literal(name)}, topic => '{name}.{ident(topic)}', target => '{name}_target')")
        self.topics[name] = f'{name}.{ident(topic)}'

    def alter(self, name, case):
        """Another case's options instead of those that there are, all at once."""
        drop = "SELECT format('ALTER {what} OPTIONS (%s)', string_agg('DROP ' || quote_ident(split_part(o, '=', 1)), ', '))"\
               " FROM {catalog}, unnest({column}) o WHERE srvname = {name} HAVING count(*) > 0"
        server, mapping = f'SERVER {name}', f'USER MAPPING FOR CURRENT_USER SERVER {name}'
        statements = [
            drop.format(what=server, catalog='pg_foreign_server', column='srvoptions', name=literal(name)),
            drop.format(what=mapping, catalog='pg_user_mappings', column='umoptions', name=literal(name))]
        alter = ''.join(s + ' \\gexec\n' for s in statements)
        for what, values in ((server, case.server), (mapping, case.mapping)):
            if values:
                alter += f'ALTER {what} {options(values)};\n'
        self.sql(f'BEGIN;\n{alter}COMMIT;')

    def status(self, name):
        return self.rows(f'SELECT * FROM cdc_status WHERE pipeline = {literal(name)}')[0]

    def wait_row(self, name, condition, seconds, what):
        row = {}

        def there():
            row.update(self.status(name))
            return condition(row)
        try:
            wait_for(there, seconds, f'{name}: {what}')
        except TimeoutError as e:
            raise TimeoutError(f'{e}, but {row}') from None
        return row

    def wait_running(self, name, seconds=20):
        return self.wait_row(name, lambda r: r['state'] == 'running', seconds, 'running')

    def wait_reason(self, name, reason, seconds):
        return self.wait_row(name, lambda r: reason in (r['last_error'] or ''), seconds, reason)

    def has_landed(self, name, count, seconds):
        def there():
            return int(self.sql(f'SELECT count(*) FROM {name}_debezium')) >= count
        try:
            return wait_for(there, seconds, 'landed')
        except TimeoutError:
            return False

    def compare(self, name):
        """The topic, read through the first server, and the landing."""
        columns = 'kafka_partition, kafka_offset, kafka_key, kafka_value, kafka_timestamp'
        return self.rows(
            f'WITH topic AS MATERIALIZED (SELECT {columns} FROM {self.topics[name]}),'
            f' landing AS MATERIALIZED (SELECT {columns} FROM {name}_debezium)'
            ' SELECT (SELECT count(*) FROM topic) AS records,'
            ' (SELECT count(*) FROM (TABLE topic EXCEPT ALL TABLE landing) x) AS missing,'
            ' (SELECT count(*) FROM (TABLE landing EXCEPT ALL TABLE topic) x) AS surplus')[0]

    def synced(self, name):
        return self.sql(f"SELECT cdc_wait({literal(name)}, '20 s')") == 't'

    def target(self, name):
        return [[r['id'], r['n']] for r in self.rows(f'SELECT id, n FROM {name}_target ORDER BY id')]

    def drop_all(self):
        for name in self.topics:
            self.sql(f"SELECT cdc_drop({literal(name)}); DROP SERVER {name} CASCADE; DROP SCHEMA {name};"
                     f' DROP TABLE {name}_target')
        self.topics.clear()
