"""The warehouse: a PostgreSQL with the extension and its workers, and what is
asked of it."""
import json

import services
from services import wait_for

DATABASE = 'e2e'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def ident(name):
    return '"' + name.replace('"', '""') + '"'


class Warehouse(services.PostgreSQL):
    def __init__(self, root, bindir):
        super().__init__('warehouse', root, bindir, {
            'shared_preload_libraries': 'cdcsync',
            'cdcsync.metadata_interval': 1,
            'max_worker_processes': 16,
            'fsync': 'off',
        })
        super().sql(f'CREATE DATABASE {DATABASE}')

    def use_broker(self, kafka):
        """Read through the proxy; two workers share the partitions."""
        self.sql('CREATE EXTENSION cdcsync; CREATE SCHEMA kafka;'
                 ' CREATE SERVER real FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS'
                 f" (bootstrap_servers '127.0.0.1:{kafka.proxy.port}', connect_timeout '3', workers '2');"
                 ' CREATE USER MAPPING FOR CURRENT_USER SERVER real')

    def sql(self, text, database=DATABASE):
        """Run statements; the last one's output, without its last newline."""
        try:
            return super().sql(text, database).rstrip('\n')
        except RuntimeError as e:
            if 'server closed the connection' in str(e):
                # a crash is one failure: what follows waits until the server is back
                wait_for(self.ready, 60, 'the server after a crash')
            raise

    def rows(self, query):
        return json.loads(self.sql(f"SELECT coalesce(json_agg(t), '[]') FROM ({query}) t"))

    def synced(self, name, seconds=30):
        """Wait until what is in the topic now is in the target; is it?"""
        return self.sql(f"SELECT cdc_wait({literal(name)}, '{seconds} s')") == 't'

    def all_synced(self, names, seconds=60):
        texts = ', '.join(literal(name) for name in names)
        return self.sql(f"SELECT bool_and(cdc_wait(name, '{seconds} s')) FROM unnest(ARRAY[{texts}]) name") == 't'

    def status(self, name):
        return self.rows(f'SELECT * FROM cdc_status WHERE pipeline = {literal(name)}')[0]

    def wait_state(self, name, state, seconds=30, reason=''):
        """Wait for a state, and a part of the reason; the whole row."""
        row = {}

        def there():
            row.update(self.status(name))
            return row['state'] == state and reason in (row['reason'] or '')
        try:
            wait_for(there, seconds, f'{name}: {state} {reason}')
        except TimeoutError as e:
            raise TimeoutError(f'{e}, but {row}') from None
        return row

    def gaps(self, name):
        """What is recorded of gaps: texts 'partition:epoch first-next passed'"""
        return [r['gap'] for r in self.rows(
            "SELECT kafka_partition || ':' || g.epoch || ' ' || first_offset || '-' || coalesce(next_offset::text, '?')"
            " || CASE WHEN passed THEN ' passed' ELSE '' END AS gap"
            ' FROM cdcsync.gap g JOIN cdcsync.pipeline p USING (landing_id)'
            f' WHERE p.name = {literal(name)} ORDER BY detected_at, kafka_partition')]
