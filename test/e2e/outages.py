"""What dies or is cut off while the sources are busy, and comes back."""
import time

from flows import Load
from services import Proxy, wait_for
from tap import tap, progress
from warehouse import ident, literal


class Outage:
    """Load at the sources all the while; afterwards source and target are equal."""

    def __init__(self, line):
        self.line = line
        self.warehouse = line.warehouse

    def happen(self):
        """The outage, from its beginning to its end."""
        raise NotImplementedError

    def run(self):
        what = self.__doc__
        progress(what)
        line, before = self.line, self.line.landed()
        with Load(line):
            wait_for(lambda: line.landed() > before + 200, 60, 'the load')
            self.happen()
            seconds = self.recover()
        progress(f'{what}: {seconds:.1f} s until all pipelines had what was in the topics then')
        line.compare_all(what)

    def recover(self):
        """Until everything flows again, with nobody doing anything."""
        began = time.monotonic()

        def flows():
            try:
                return self.warehouse.all_synced(self.line.names())
            except RuntimeError:
                return False
        wait_for(flows, 90, 'the pipelines to go on')
        return time.monotonic() - began

    def wait_backing_off(self):
        """A pipeline says what is wrong."""
        row = self.warehouse.wait_state(self.line.flows[0].name, 'backing off')
        progress(f'{row["state"]}: {row["reason"]} ({row["sqlstate"]}) {row["hint"] or ""}')
        tap.ok(row['sqlstate'] == '08001' or row['sqlstate'].startswith('HV'),
               f'{self.__doc__}: the state says that the broker does not answer', row)
        try:
            self.warehouse.sql(f'SELECT cdc_refresh({literal(self.line.flows[0].name)})')
            told = ''
        except RuntimeError as e:
            told = str(e)
        tap.ok('ERROR' in told, f'{self.__doc__}: a refresh by hand fails', told)


class ConnectKilled(Outage):
    """Connect is killed"""

    def happen(self):
        self.line.connect.kill()
        # the sources go on
        before = Load.statements
        wait_for(lambda: Load.statements > before + 200, 60, 'statements')
        self.line.connect.restart()

    def run(self):
        warehouse, line = self.warehouse, self.line
        before = resent(warehouse)
        super().run()
        # what differs in a re-sent event is when Connect has processed it; a
        # delete has a tombstone after it
        repeated = sum(int(warehouse.sql(
            "SELECT coalesce(sum((n - 1) * CASE op WHEN 'd' THEN 2 ELSE 1 END), 0) FROM ("
            " SELECT count(*) AS n, payload->>'op' AS op FROM (SELECT"
            " coalesce(payload->'payload', payload) - 'ts_ms' - 'ts_us' - 'ts_ns' AS payload"
            f' FROM {f.landing} WHERE kafka_value IS NOT NULL) p GROUP BY payload) g')) for f in line.flows)
        skipped = resent(warehouse) - before
        progress(f'{repeated} records were sent twice, {skipped} of them were known by their position and skipped')
        tap.ok(0 < skipped <= repeated, 'what was sent again is skipped and counted',
               f'{skipped} skipped of {repeated}')


def resent(warehouse):
    return int(warehouse.sql('SELECT sum(resent) FROM cdcsync.watermark'))


class BrokerKilled(Outage):
    """The broker is killed"""

    def happen(self):
        self.line.kafka.kill()
        self.wait_backing_off()
        self.line.kafka.restart()


class WarehouseStopped(Outage):
    """The warehouse is stopped at once"""

    def happen(self):
        self.warehouse.stop_immediate()
        before = Load.statements
        wait_for(lambda: Load.statements > before + 100, 60, 'statements')
        self.warehouse.restart()


class NetworkCut(Outage):
    """The network to the broker is cut"""

    state = Proxy.CUT

    def happen(self):
        self.line.kafka.proxy.set(self.state)
        self.wait_backing_off()
        self.line.kafka.proxy.set(Proxy.PASS)


class NetworkFrozen(NetworkCut):
    """The network to the broker lets nothing pass"""

    state = Proxy.FROZEN


def check_landing(line):
    """Landed is what the broker has, record by record"""
    for flow in line.flows:
        columns = 'kafka_partition, kafka_offset, md5(kafka_key), md5(kafka_value), kafka_timestamp'
        found = line.warehouse.rows(
            f'WITH topic AS MATERIALIZED (SELECT {columns} FROM kafka.{ident(flow.topic)}),'
            f' landing AS MATERIALIZED (SELECT {columns} FROM {flow.landing})'
            ' SELECT (SELECT count(*) FROM topic) AS records,'
            ' (SELECT count(*) FROM (TABLE topic EXCEPT ALL TABLE landing) x) AS missing,'
            ' (SELECT count(*) FROM (TABLE landing EXCEPT ALL TABLE topic) x) AS surplus')[0]
        tap.ok(found['records'] > 0 and found['missing'] == found['surplus'] == 0,
               f'{flow.name}: its {found["records"]} records have landed once', found)
    ends = line.warehouse.rows('SELECT pipeline, kafka_partition FROM cdcsync.partition_status'
                               ' WHERE next_offset <> end_offset OR lag_records <> 0')
    tap.equal(ends, [], 'all positions and watermarks are at the ends of the logs')


ALL = (ConnectKilled, BrokerKilled, WarehouseStopped, NetworkCut, NetworkFrozen)
