"""Judges what a database shows: at any moment, and at the end.

At any moment, in one snapshot: the landed offsets of a partition are all from
the first to the position, and the target is exactly the fold of the records
below the watermark.  From one look to the next, and whatever has crashed
between them, no partition goes backwards.  At the end: what has landed is what
was produced, byte by byte, and nothing is left to do.
"""

import datetime
import json
import threading
import time

from load import Expected, differences
from services import wait_for
from wire import Lost, Refused

PAUSE = 0.015                   # s between two looks at a pipeline


class Pipeline:
    def __init__(self, name, topic, landing=None, options=None):
        self.name, self.topic = name, topic
        self.landing = landing or name      # whose landing it reads
        self.options = options or {}
        self.keeps = 'retention' not in self.options    # all that has landed

    def setup(self, schema, by_hand):
        options = dict(self.options)
        if by_hand:
            options.update({'auto_refresh': False, 'auto_sync': False})
        source = 'topic => \'%s."%s"\', ' % (schema, self.topic.name)
        if self.landing != self.name:
            options['landing'] = self.landing + '_debezium'
            source = ''
        return ['CREATE TABLE %s_target (id bigint PRIMARY KEY, seq bigint,'
                ' payload text, note text, kafka_partition bigint,'
                ' kafka_offset bigint)' % self.name,
                "SELECT cdc_create('%s', %starget => '%s_target', columns => '%s',"
                " options => '%s')"
                % (self.name, source, self.name, json.dumps(
                    {'kafka_partition': '$kafka_partition',
                     'kafka_offset': '$kafka_offset'}), json.dumps(options))]

    @property
    def snapshot(self):
        """All that is looked at, in one statement: one snapshot."""
        return """
            SELECT 'landed', kafka_partition, min(first_offset), max(last_offset),
                   sum(last_offset - first_offset + 1), count(kafka_offset), NULL
            FROM %(landing)s_debezium_chunk GROUP BY 2
            UNION ALL
            SELECT 'position', p.kafka_partition, p.next_offset, p.epoch, NULL, NULL, NULL
            FROM cdcsync.position p JOIN cdcsync.landing l USING (landing_id)
            WHERE l.view = '%(landing)s_debezium'::regclass
            UNION ALL
            SELECT 'watermark', kafka_partition, next_offset, epoch, NULL, NULL, NULL
            FROM cdcsync.watermark WHERE pipeline = '%(name)s'
            UNION ALL
            SELECT 'row', id, seq, kafka_partition, kafka_offset, NULL,
                   payload || E'\\t' || note FROM %(name)s_target
            """ % {'name': self.name, 'landing': self.landing}


class Snapshot:
    def __init__(self, rows, keeps=True):
        self._keeps = keeps
        self.landed, self.position, self.watermark, self.rows = {}, {}, {}, {}
        self.faults = []
        for kind, number, a, b, c, d, text in rows:
            if kind == 'row':
                payload, note = text.split('\t') if text is not None else (None, None)
                self.rows[number] = (a, payload, note, b, c)
            elif kind == 'landed':
                self._landed(int(number), int(a), int(b), int(c), int(d))
            else:
                getattr(self, kind)[int(number)] = int(a)
                if b != '0':
                    self.faults.append('%s: epoch %s' % (kind, b))

    def _landed(self, partition, first, last, count, odd):
        self.landed[partition] = last + 1
        if (first != 0 and self._keeps) or count != last + 1 - first or odd:
            self.faults.append('landing of partition %d has holes: first %d, last %d,'
                               ' %d offsets' % (partition, first, last, count))


class Judge:
    """Looks at one pipeline, over and over."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.expected = Expected(pipeline.topic)
        self.best = {}          # (what, partition) -> the furthest that was seen
        self.looks = 0
        self.backward = []
        self.faults = []

    def look(self, connection):
        snapshot = Snapshot(connection.query(self.pipeline.snapshot), self.pipeline.keeps)
        self.looks += 1
        self.faults += snapshot.faults
        for what in ('landed', 'position', 'watermark')[not self.pipeline.keeps:]:
            self._forwards(what, getattr(snapshot, what))
        positions = {p: n for p, n in snapshot.position.items() if n}
        if self.pipeline.keeps and snapshot.landed != positions:
            self.faults.append('landed %r, positions %r'
                               % (snapshot.landed, positions))
        for partition, offset in snapshot.watermark.items():
            if offset > snapshot.position.get(partition, 0):
                self.faults.append('watermark %d of partition %d is beyond the position'
                                   % (offset, partition))
            self.expected.advance(partition, offset)
        if not self.backward:   # else they cannot be compared
            self.faults += differences(self.expected.rows(), snapshot.rows)
        return snapshot

    def _forwards(self, what, seen):
        for (kind, partition), best in self.best.items():
            if kind == what and seen.get(partition, 0) < best:
                self.backward.append('%s of partition %d: %d after %d'
                                     % (what, partition, seen.get(partition, 0), best))
        for partition, offset in seen.items():
            self.best[what, partition] = max(offset, self.best.get((what, partition), 0))

    def progress(self):
        return sum(self.best.values())


class Reader(threading.Thread):
    """Samples while the server is being killed."""

    def __init__(self, cluster, database, pipelines):
        super().__init__(daemon=True)
        self._cluster, self._database = cluster, database
        self.judges = [Judge(pipeline) for pipeline in pipelines]
        self.ending = threading.Event()
        self.moved = time.monotonic()       # when something was last seen to move
        self.refused = []
        self.broken = None

    def run(self):
        connection = None
        try:
            while not self.ending.is_set():
                for judge in self.judges:
                    try:
                        if connection is None:
                            connection = self._cluster.connect(self._database)
                        before = judge.progress()
                        judge.look(connection)
                        if judge.progress() > before:
                            self.moved = time.monotonic()
                    except (Lost, Refused) as error:
                        self._note(error)
                        if connection:
                            connection.close()
                        connection = None
                    self.ending.wait(PAUSE)
        except Exception as error:          # pylint: disable=broad-except
            self.broken = repr(error)
        if connection:
            connection.close()

    def _note(self, error):
        """Any error but that the server goes, comes, or ends us."""
        if isinstance(error, Refused) and error.sqlstate[:3] not in ('57P', '533'):
            self.refused.append(str(error))

    def stop(self):
        self.ending.set()
        self.join()

    def faults(self):
        out = ['%s: %s' % (j.pipeline.name, f) for j in self.judges for f in j.faults]
        return out + self.refused + ([self.broken] if self.broken else [])

    def backward(self):
        return ['%s: %s' % (j.pipeline.name, f) for j in self.judges for f in j.backward]


def landed_records(connection, pipeline):
    """{(partition, offset): [(key, value, time, headers)]}, as they have landed."""
    out = {}
    for p, o, key, value, stamp, headers in connection.query(
            "SELECT kafka_partition, kafka_offset, encode(kafka_key, 'hex'),"
            " encode(kafka_value, 'hex'), kafka_timestamp, kafka_headers"
            ' FROM %s_debezium' % pipeline.landing):
        headers = tuple((h['key'], h['value']) for h in json.loads(headers or '[]'))
        out.setdefault((int(p), int(o)), []).append((key, value, stamp, headers))
    return out


def produced_record(record):
    stamp = datetime.datetime(1970, 1, 1) + datetime.timedelta(
        milliseconds=record.time)
    text = stamp.strftime('%Y-%m-%d %H:%M:%S.%f').rstrip('0').rstrip('.')
    return (record.key and record.key.hex(), record.value and record.value.hex(),
            text, tuple(record.headers))


class Verdict:
    """What is wrong with a pipeline at the end."""

    def __init__(self):
        self.lost, self.doubled, self.other = [], [], []

    def all(self):
        return ['lost: ' + t for t in self.lost] + \
            ['twice: ' + t for t in self.doubled] + self.other


def is_done(connection, pipeline):
    snapshot = Snapshot(connection.query(pipeline.snapshot))
    ends = {p: len(r) for p, r in enumerate(pipeline.topic.records) if r}
    return {p: n for p, n in snapshot.position.items() if n} == ends and \
        {p: n for p, n in snapshot.watermark.items() if n} == ends


def judge_end(connection, pipeline):
    """Compare all that was produced with all that is there."""
    verdict, landed = Verdict(), landed_records(connection, pipeline)
    for records in pipeline.topic.records:
        for record in records:
            where = (record.partition, record.offset)
            there = landed.pop(where, [])
            if not there and not pipeline.keeps:
                pass
            elif not there:
                verdict.lost.append('%s %r has not landed' % (pipeline.name, where))
            elif len(there) > 1:
                verdict.doubled.append('%s %r' % (pipeline.name, where))
            elif there[0] != produced_record(record):
                verdict.other.append('%s %r differs: %r, produced %r' % (
                    pipeline.name, where, there[0], produced_record(record)))
    verdict.doubled += ['%s %r was never produced' % (pipeline.name, where)
                        for where in landed]
    judge = Judge(pipeline)
    snapshot = judge.look(connection)
    if not is_done(connection, pipeline):
        verdict.lost.append('%s: positions %r, watermarks %r, produced %r' % (
            pipeline.name, snapshot.position, snapshot.watermark,
            [len(r) for r in pipeline.topic.records]))
    verdict.other += [pipeline.name + ': ' + fault for fault in judge.faults]
    bad = connection.value("SELECT count(*) FROM cdcsync.quarantine"
                           " WHERE pipeline = '%s'" % pipeline.name)
    if bad != '0':
        verdict.other.append('%s: %s records in quarantine' % (pipeline.name, bad))
    return verdict


def wait_until_done(connect, pipelines, timeout=90):
    """Until the workers have nothing left to do; asks on."""
    state = {'connection': None, 'left': list(pipelines)}

    def done():
        try:
            if state['connection'] is None:
                state['connection'] = connect()
            while state['left'] and is_done(state['connection'], state['left'][0]):
                state['left'].pop(0)
        except (Lost, Refused):
            if state['connection']:
                state['connection'].close()
            state['connection'] = None
        return not state['left']

    try:
        wait_for('everything that was produced is in the targets', done, timeout, 0.05)
    finally:
        if state['connection']:
            state['connection'].close()
