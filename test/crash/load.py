"""What is produced, and what has to come of it.

A Topic is a history of a table of its own: creates, updates (of which some
leave a column unavailable), deletes, tombstones, and records that Kafka Connect
sends twice.  A key is always in the same partition.  What the target must hold
after any number of records of a partition is the fold of test/model, which knows
nothing of the extension.
"""

import hashlib
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'model'))

from fold import PLACEHOLDER, Column, Fold, Record, Table  # noqa: E402

TIME = 1755849600000            # of the first record, ms
COLUMNS = ('id', 'seq', 'payload', 'note', 'kafka_partition', 'kafka_offset')
HEADERS = (('__debezium.context.connectorName', 'mysql'),
           ('__debezium.context.taskId', '0'))


def target_table():
    return Table([Column('id', 'bigint'), Column('seq', 'bigint'),
                  Column('payload', 'text'), Column('note', 'text'),
                  Column('kafka_partition', 'bigint', '$kafka_partition'),
                  Column('kafka_offset', 'bigint', '$kafka_offset')], ['id'])


class Topic:
    """A topic, and what was produced to it."""

    def __init__(self, name, partitions, keys, seed):
        self.name, self.partitions, self.keys = name, partitions, keys
        self.random = random.Random(seed)
        self.records = [[] for _ in range(partitions)]
        self.seq = 0
        self._alive = {}        # id -> seq, of the rows that exist at the source

    def _payload(self, key):
        """Text that cannot be right by accident."""
        digest = hashlib.md5(b'%d %d' % (key, self.seq)).hexdigest()
        return '%d.%d.%s' % (key, self.seq, digest)

    def _image(self, key):
        payload = self._payload(key) + 'x' * self.random.choice((0, 0, 40, 300))
        note = self._payload(-key)
        if key in self._alive and self.random.random() < 0.2:
            note = PLACEHOLDER
        return {'ID': key, 'SEQ': self.seq, 'PAYLOAD': payload, 'NOTE': note}

    def _envelope(self, op, key, image):
        time = TIME + self.seq
        return {'before': {'ID': key} if op in 'ud' else None,
                'after': image,
                'source': {'version': '3.4.0.Final', 'connector': 'mysql',
                           'name': 'crash', 'ts_ms': time, 'snapshot': 'false',
                           'db': 'crash', 'table': self.name, 'server_id': 1,
                           'gtid': None, 'file': 'binlog.000007',
                           'pos': 100 + 300 * self.seq, 'row': 0},
                'transaction': None, 'op': op, 'ts_ms': time + 3}

    def _add(self, partition, key, value):
        records = self.records[partition]
        record = Record(partition, len(records), key, value,
                        HEADERS if self.seq % 3 else ())
        record.time = TIME + self.seq
        records.append(record)
        return record

    def change(self):
        """The records of one change."""
        self.seq += 1
        key = self.random.randrange(self.keys)
        partition = key % self.partitions
        if self.random.random() < 0.01 and len(self.records[partition]) > 5:
            # Connect had not committed its offsets: the last ones come again
            first = len(self.records[partition]) - self.random.randint(1, 5)
            if self.records[partition][first].value is None:
                first -= 1      # a delete and its tombstone are one event
            again = self.records[partition][first:]
            return [self._add(partition, r.key, r.value) for r in again]
        if key not in self._alive:
            op = 'c'
        else:
            op = 'd' if self.random.random() < 0.15 else 'u'
        image = None if op == 'd' else self._image(key)
        raw_key = json.dumps({'ID': key}).encode()
        out = [self._add(partition, raw_key,
                         json.dumps(self._envelope(op, key, image)).encode())]
        if op == 'd':
            del self._alive[key]
            if self.random.random() < 0.8:
                out.append(self._add(partition, raw_key, None))
        else:
            self._alive[key] = self.seq
        return out

    def command(self, record):
        """As the broker wants it."""
        words = ['rec', self.name, str(record.partition), str(record.time),
                 hexadecimal(record.key), hexadecimal(record.value)]
        words += ['%s=%s' % (hexadecimal(k.encode()), hexadecimal(v.encode()))
                  for k, v in record.headers]
        return ' '.join(words)


def hexadecimal(data):
    return '-' if data is None else data.hex() or '.'


class Expected:
    """What a target holds when the first n records of each partition are in."""

    def __init__(self, topic):
        self._topic = topic
        self._folds = [Fold(target_table()) for _ in range(topic.partitions)]
        self.applied = [0] * topic.partitions

    def advance(self, partition, offset):
        fold, records = self._folds[partition], self._topic.records[partition]
        for record in records[self.applied[partition]:offset]:
            fold.apply(record)
        self.applied[partition] = max(self.applied[partition], offset)

    def rows(self):
        """{id: the other columns}, as texts."""
        return {key[0]: tuple(row[name] for name in COLUMNS[1:])
                for fold in self._folds for key, row in fold.rows.items()}


def differences(expected, actual, most=3):
    out = []
    for key in sorted(set(expected) | set(actual), key=int):
        if expected.get(key) != actual.get(key):
            out.append('id %s: expected %.120r, is %.120r'
                       % (key, expected.get(key), actual.get(key)))
    return out[:most] + (['.. %d in all' % len(out)] if len(out) > most else [])
