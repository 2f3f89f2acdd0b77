"""What can happen to a topic, and what the workers make of it."""
import json

from services import wait_for
from tap import tap, progress
from warehouse import ident, literal


class Topic:
    """A topic that the test writes itself, and its pipeline."""

    def __init__(self, line, admin, name, *settings, partitions=1, options=None, before=lambda: None):
        self.line, self.warehouse, self.admin, self.name = line, line.warehouse, admin, name
        admin.do('topic', name, partitions, *settings)
        self.warehouse.sql(f'CREATE TABLE {name}_target (id int PRIMARY KEY, v text)')
        self.import_topic()
        before()
        self.create(options)

    def import_topic(self):
        def imported():
            self.warehouse.sql(f'IMPORT FOREIGN SCHEMA kafka LIMIT TO ({ident(self.name)})'
                               ' FROM SERVER real INTO kafka')
            return self.warehouse.sql(f"SELECT to_regclass('kafka.{self.name}')")
        wait_for(imported, 20, 'the topic ' + self.name)

    def create(self, options):
        self.warehouse.sql(f"SELECT cdc_create('{self.name}', topic => 'kafka.{self.name}',"
                           f" target => '{self.name}_target', options => {literal(json.dumps(options or {}))})")

    def alter(self, **options):
        self.warehouse.sql(f"SELECT cdc_alter('{self.name}', options => {literal(json.dumps(options))})")

    def resume(self):
        self.warehouse.sql(f"SELECT cdc_resume('{self.name}')")

    def pause_all(self):
        self.warehouse.sql(f"SELECT cdc_pause('{self.name}', 'test', 'all')")

    def put(self, identity, text, partition=0, how='keyed'):
        """A row as it is at the source now."""
        event = {'before': None, 'after': {'id': identity, 'v': text}, 'op': 'c',
                 'ts_ms': 1, 'source': {'connector': 'mysql'}}
        self.admin.do(how, self.name, partition,
                      *(json.dumps(part, separators=(',', ':')) for part in ({'id': identity}, event)))

    def put_many(self, identities, prefix):
        for i in identities:
            self.put(i, f'{prefix}{i}')

    def wait_deleted(self):
        """It waits for the topic."""
        row = self.warehouse.wait_state(self.name, 'waiting', reason=f'"{self.name}"')
        progress(f'{row["state"]}: {row["reason"]}')

    def offsets(self):
        """What has landed: texts 'partition:offset'"""
        return self.warehouse.sql(
            "SELECT string_agg(kafka_partition || ':' || kafka_offset, ' ' ORDER BY kafka_partition, kafka_offset)"
            f' FROM {self.name}_debezium')

    def position(self):
        return self.warehouse.sql(
            "SELECT string_agg(kafka_partition || ':' || epoch || ':' || next_offset, ' ' ORDER BY kafka_partition)"
            f" FROM cdcsync.position JOIN cdcsync.landing l USING (landing_id) WHERE l.view = '{self.name}_debezium'::regclass")

    def target(self):
        return {r['id']: r['v'] for r in self.warehouse.rows(f'SELECT * FROM {self.name}_target')}

    def expect(self, want, what):
        """All that is in the topic is in the target, and that is what it should be."""
        there = self.warehouse.synced(self.name)
        got = self.target()
        tap.ok(there and got == want, what, f'cdc_wait: {there}\ngot  {got}\nwant {want}\n'
               f'{self.warehouse.status(self.name)}')

    def expect_stopped(self, reason, gaps, what):
        row = self.warehouse.wait_state(self.name, 'stopped', reason=reason)
        tap.ok(self.warehouse.gaps(self.name) == gaps and row['hint'], what,
               f'{row}\n{self.warehouse.gaps(self.name)}')
        progress(f'{row["state"]}: {row["reason"]}; {row["hint"]}')
        before = self.position()
        self.neighbour_goes_on()
        tap.equal(self.position(), before, '.. nothing is read beyond it')

    def expect_passed(self, gaps, what):
        row = self.warehouse.wait_state(self.name, 'running')
        tap.ok(self.warehouse.gaps(self.name) == gaps and row['exact'] is False, what,
               f'{row}\n{self.warehouse.gaps(self.name)}')

    def neighbour_goes_on(self):
        Neighbour.one.step(self.name)


class Neighbour(Topic):
    """A pipeline of the same server and owner, to which nothing happens."""

    one = None
    number = 0

    def step(self, whose):
        self.number += 1
        self.put(self.number, 'n', how='beside')
        there = self.warehouse.synced(self.name, 10)
        tap.ok(there and self.number in self.target(), f'.. meanwhile the neighbour of {whose} goes on',
               self.warehouse.status(self.name))


def rows(identities, prefix):
    return {i: f'{prefix}{i}' for i in identities}


def partitions_added(line, admin):
    """Partitions are added"""
    topic = Topic(line, admin, 'growing')
    topic.put(1, 'a')
    topic.expect({1: 'a'}, 'one partition')
    admin.do('partitions', 'growing', 3)
    topic.put(2, 'b', 2)
    topic.put(3, 'c', 2)
    topic.put(1, 'd')
    wait_for(lambda: topic.offsets() == '0:0 0:1 2:0 2:1', 12, 'the new partition')
    topic.expect({1: 'd', 2: 'b', 3: 'c'}, 'a new partition is read from its first record')
    topic.put(4, 'e', 1)
    topic.expect({1: 'd', 2: 'b', 3: 'c', 4: 'e'}, 'one that was empty too')
    tap.equal(topic.position(), '0:0:2 1:0:1 2:0:2', 'all positions are at the end')


def transactions(line, admin):
    """Transactions: committed, aborted and open ones"""
    topic = Topic(line, admin, 'txn')
    topic.put(1, 'a')
    for end, identities in (('commit', (2, 3)), ('abort', (4, 5)), ('commit', (6,))):
        admin.do('begin')
        topic.put_many(identities, end)
        admin.do(end)
    # offsets 3, 6 and 8 are the ends of the transactions
    want = {1: 'a', 2: 'commit2', 3: 'commit3', 6: 'commit6'}
    topic.expect(want, 'what was aborted does not come')
    tap.equal(topic.offsets(), '0:0 0:1 0:2 0:7', '.. nor lands')
    tap.equal(line.warehouse.sql('SELECT count(*), max(kafka_offset) FROM kafka.txn'), '4|7',
              '.. nor does a scan of the topic show it')

    admin.do('begin')
    topic.put(7, 'open')
    topic.put(8, 'beside', how='beside')
    topic.expect(want, 'an open transaction holds up what comes after it, and cdc_wait() does not wait for it')
    tap.equal(line.warehouse.sql("SELECT state FROM cdc_status WHERE pipeline = 'txn'"), 'running',
              '.. which is no problem')
    topic.neighbour_goes_on()
    admin.do('commit')
    want |= {7: 'open', 8: 'beside'}
    topic.expect(want, 'all comes when it is committed')

    admin.do('begin')
    topic.put(9, 'aborted')
    admin.do('abort')
    topic.expect(want, 'a topic may end in an aborted transaction')
    tap.equal(topic.position(), '0:0:14', '.. and is read to its end')
    topic.put(10, 'z')
    topic.expect(want | {10: 'z'}, '.. and goes on')


def times(line, admin):
    """Offsets by time"""
    sql = line.warehouse.sql
    # the broker would delete records of that age whenever it next looks
    admin.do('topic', 'timed', 1, 'retention.ms=-1')
    start, step = 1700000000000, 60000
    for i in range(100):
        admin.do('put', 'timed', 0, json.dumps({'before': None, 'after': {'id': i, 'v': 't'}, 'op': 'c'},
                                               separators=(',', ':')), start + i * step)
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
    begin = sql(f"SELECT (timestamp '1970-01-01' + interval '{start + 95 * step - 1} ms')")
    for name, value, want in (('from_time', begin, range(95, 100)), ('from_end', 'latest', ())):
        sql(f'CREATE TABLE {name}_target (id int PRIMARY KEY, v text);'
            f" SELECT cdc_create('{name}', topic => 'kafka.timed', target => '{name}_target',"
            f" options => {literal(json.dumps({'start': value}))})")
        wait_for(lambda name=name: sql('SELECT 1 FROM cdcsync.position JOIN cdcsync.landing l USING (landing_id)'
                                       f" WHERE l.view = '{name}_debezium'::regclass"), 20, 'positions')
        there = line.warehouse.synced(name)
        got = sql(f"SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM {name}_target")
        tap.ok(there and got == ' '.join(map(str, want)), f'start = {value!r}', f'{there}, {got}')


def big_record(line, admin):
    """A record of 8 MB"""
    sql = line.warehouse.sql
    size = 8 * 1024 * 1024
    topic = Topic(line, admin, 'big', 'max.message.bytes=10000000')
    line.warehouse.sql("SELECT cdc_pause('big', 'not JSON')")
    admin.do('put', 'big', 0, 'small')
    admin.do('big', 'big', 0, size)
    admin.do('put', 'big', 0, 'after')
    wait_for(lambda: topic.offsets() == '0:0 0:1 0:2', 30, 'the records to land')
    tap.equal(sql("SELECT string_agg(length(kafka_value)::text, ' ' ORDER BY kafka_offset)"
                  ' FROM big_debezium'), f'5 {size} 5', '8 MB land')
    tap.equal(sql("SELECT kafka_value = convert_to(repeat('x', %d), 'UTF8') FROM big_debezium"
                  ' WHERE kafka_offset = 1' % size), 't', '.. unchanged')
    tap.equal(sql('SELECT max(length(kafka_value)) FROM kafka.big'), str(size), '.. and can be scanned')


def deleted_records(line, admin):
    """Records are deleted before they were read"""
    topic = Topic(line, admin, 'gone')
    topic.put_many(range(5), 'a')
    topic.expect(rows(range(5), 'a'), 'records')
    admin.do('delete-records', 'gone', 0, 5)
    topic.put_many(range(5, 10), 'b')
    want = rows(range(5), 'a') | rows(range(5, 10), 'b')
    topic.expect(want, 'what was read may be deleted')

    topic.pause_all()
    topic.put_many(range(10, 20), 'c')
    admin.do('delete-records', 'gone', 0, 15)
    topic.resume()
    topic.expect_stopped('no longer holds offsets 10 to 14', ['0:0 10-15'],
                         'a gap stops the pipeline, its exact range is recorded')
    tap.equal(topic.target(), want, '.. and the target stays')
    try:
        line.warehouse.sql("SELECT cdc_refresh('gone')")
        told = ''
    except RuntimeError as e:
        told = str(e)
    tap.ok('10 to 14' in told or 'stopped' in told, '.. a refresh by hand says so too', told)
    topic.resume()
    topic.expect_stopped('no longer holds offsets 10 to 14', ['0:0 10-15'],
                         'resumed, it stops there again')
    topic.alter(on_gap='continue')
    topic.resume()
    topic.expect(want | rows(range(15, 20), 'c'), 'on_gap = continue goes on behind it')
    topic.expect_passed(['0:0 10-15 passed'], '.. which is recorded, and the pipeline no longer exact')


def retention(line, admin):
    """Records expire before they were read"""
    topic = Topic(line, admin, 'expired', 'segment.ms=100', 'file.delete.delay.ms=0', options={'on_gap': 'continue'})
    topic.put(0, 'first')
    topic.expect({0: 'first'}, 'a record')
    topic.pause_all()
    topic.put_many(range(1, 4), 'lost')
    admin.do('config', 'expired', 'retention.ms=100')

    def expired():
        # a new record begins a new segment; only older ones expire
        topic.put(100, 'lost too')
        try:
            left = line.warehouse.sql('SELECT count(*) FROM kafka.expired WHERE kafka_offset < 4')
        except RuntimeError as e:
            if 'expired while they were read' not in str(e):
                raise
            return False
        return left == '0'
    wait_for(expired, 30, 'the broker to delete them')
    admin.do('config', 'expired', 'retention.ms=-1')
    topic.put(100, 'kept')
    topic.resume()
    topic.expect({0: 'first', 100: 'kept'}, 'what has expired is passed over')
    first = line.warehouse.sql('SELECT min(kafka_offset) FROM expired_debezium WHERE kafka_offset > 0')
    topic.expect_passed([f'0:0 1-{first} passed'], '.. up to the first record that is left, and that is recorded')


def compaction(line, admin):
    """A compacted topic"""
    topic = Topic(line, admin, 'compacted', 'cleanup.policy=compact', 'segment.ms=100',
                  'min.cleanable.dirty.ratio=0.001', 'min.compaction.lag.ms=0', 'delete.retention.ms=0',
                  'file.delete.delay.ms=0')
    topic.put_many(range(3), 'old')
    topic.expect(rows(range(3), 'old'), 'records')
    topic.pause_all()
    for turn in range(5):
        topic.put_many(range(3), f'turn{turn}_')

    def compacted():
        topic.put(50, 'last')       # begins a new segment: the one before can be compacted
        return int(line.warehouse.sql('SELECT count(*) FROM kafka.compacted WHERE kafka_offset < 18')) <= 3
    wait_for(compacted, 40, 'the broker to compact')
    topic.resume()
    topic.expect(rows(range(3), 'turn4_') | {50: 'last'}, 'what is left is enough')
    row = line.warehouse.wait_state('compacted', 'running')
    tap.ok(line.warehouse.gaps('compacted') == [] and row['exact'], 'offsets that are left out are no gap', row)


def topic_deleted(line, admin):
    """A topic is deleted, and made again"""
    topic = Topic(line, admin, 'deleted')
    topic.put_many(range(5), 'a')
    topic.expect(rows(range(5), 'a'), 'records')
    admin.do('delete-topic', 'deleted')
    topic.wait_deleted()
    topic.neighbour_goes_on()
    admin.do('topic', 'deleted', 1)
    topic.put_many(range(2), 'b')
    topic.expect_stopped('lacks offsets', ['0:0 2-5'], 'with fewer records it is found by the offsets')
    tap.equal(topic.target(), rows(range(5), 'a'), '.. and the target stays')
    topic.alter(on_gap='continue')
    topic.resume()
    topic.expect(rows(range(2), 'b') | rows(range(2, 5), 'a'), 'on_gap = continue reads the new one')
    topic.expect_passed(['0:0 2-5 passed'], '.. which is recorded')
    tap.equal(topic.position(), '0:1:2', '.. its offsets are those of another epoch')


def made_again(line, admin):
    """A topic is made again, with more records"""
    topics = [Topic(line, admin, name, options=options)
              for name, options in (('again_stop', {}), ('again_go', {'on_gap': 'continue'}))]
    for topic in topics:
        topic.put_many(range(5), 'a')
        topic.expect(rows(range(5), 'a'), 'records')
        admin.do('delete-topic', topic.name)
    for topic in topics:
        topic.wait_deleted()
    # no worker looks while it is being filled
    line.kafka.proxy.set(line.kafka.proxy.FROZEN)
    try:
        for topic in topics:
            admin.do('topic', topic.name, 1)
            topic.put_many(range(10, 20), 'b')
    finally:
        line.kafka.proxy.set(line.kafka.proxy.PASS)
    stops, goes = topics
    stops.expect_stopped('was created again', ['0:0 5-?'], 'it is found by the newest record')
    tap.equal(stops.target(), rows(range(5), 'a'), '.. and the target stays')
    goes.expect(rows(range(5), 'a') | rows(range(10, 20), 'b'), 'on_gap = continue reads the new one from its beginning')
    goes.expect_passed(['0:0 5-? passed'], '.. which is recorded')
    tap.equal(goes.position(), '0:1:10', '.. its offsets are those of another epoch')


def made_again_at_once(line, admin):
    """A topic is made again at once, with more records"""
    topic = Topic(line, admin, 'at_once')
    topic.put_many(range(5), 'a')
    topic.expect(rows(range(5), 'a'), 'records')
    admin.do('delete-topic', 'at_once')
    admin.do('topic', 'at_once', 1)
    topic.put_many(range(10, 20), 'b')
    topic.expect_stopped('was created again', ['0:0 5-?'], 'it is found although there is always a topic')
    tap.equal(topic.target(), rows(range(5), 'a'), '.. and the target stays')


def made_again_unseen(line, admin):
    """A topic is made again while the network is cut"""
    topic = Topic(line, admin, 'unseen')
    topic.put_many(range(5), 'a')
    topic.expect(rows(range(5), 'a'), 'records')
    line.kafka.proxy.set(line.kafka.proxy.CUT)
    try:
        line.warehouse.wait_state('unseen', 'backing off')
        admin.do('delete-topic', 'unseen')
        admin.do('topic', 'unseen', 1)
        topic.put_many(range(10, 20), 'b')
    finally:
        line.kafka.proxy.set(line.kafka.proxy.PASS)
    topic.expect_stopped('was created again', ['0:0 5-?'], 'it is found when the network is back')


def topic_to_come(line, admin):
    """A pipeline whose topic is not there yet"""
    topic = Topic(line, admin, 'later', before=lambda: admin.do('delete-topic', 'later'))
    topic.wait_deleted()
    topic.neighbour_goes_on()
    admin.do('topic', 'later', 2)
    topic.put(1, 'a')
    topic.put(2, 'b', 1)
    wait_for(lambda: topic.offsets() == '0:0 1:0', 20, 'the topic to be read')
    topic.expect({1: 'a', 2: 'b'}, 'it is read when it comes')


def leader_moves(line, admin):
    """The leader of a partition changes"""
    topic = Topic(line, admin, 'moving')
    topic.put(1, 'a')
    topic.expect({1: 'a'}, 'a record')
    second = line.second_broker()
    want = {1: 'a'}
    for turn, broker in enumerate((2, 1)):
        before = second.proxy.connections
        admin.do('move', 'moving', 0, broker)
        topic.put(turn + 2, 'b')
        want[turn + 2] = 'b'
        topic.expect(want, f'broker {broker} leads, and is read')
        if broker == 2:
            tap.ok(second.proxy.connections > before, '.. from there')
    tap.equal(topic.position(), '0:0:3', 'each record landed once')
    tap.equal(line.warehouse.gaps('moving'), [], '.. and nothing was lost')


ALL = (partitions_added, transactions, times, big_record, deleted_records, retention, compaction,
       topic_deleted, made_again, made_again_at_once, made_again_unseen, topic_to_come, leader_moves)
