"""Seeded random histories of a source's table, as Debezium would send them.

A Variant says what kind of table and connector it is; a Source runs random
transactions against a table in memory and writes down the change events.
"""

import base64
import json
import zlib
from decimal import Decimal

from fold import PLACEHOLDER, Column, Record, Table

WORDS = ['alpha', 'Beta', 'γάμμα', 'd"q"', 'back\\slash', 'tab\there', 'a/b',
         'é', '漢字', '😀', '', ' lead', "o'neil", '{x}', 'null']


class Variant:
    """What a history is made of; everything follows from the generator."""

    def __init__(self, rng, citext=True, force=None):
        def maybe(chance):
            return rng.random() < chance
        self.key = rng.choice(['int', 'int', 'text', 'composite', 'numeric',
                               'char'] + ['citext'] * citext)
        self.style = rng.choice(['file', 'gtid', 'mariadb', 'postgresql'])
        self.schema = self.key not in ('numeric',) and maybe(0.3)
        self.numbers = rng.choice(['base64', 'string', 'number'])
        self.before = rng.choice(['full', 'key', 'none'])
        self.toast = maybe(0.5)
        self.late_column = maybe(0.3)
        self.missing = maybe(0.3)
        self.meta = maybe(0.2)
        self.refresh = maybe(0.3)
        self.unique = rng.choice([None, None, 'nullable', 'notnull'])
        self.partitions = rng.choice([1, 1, 2, 3, 4])
        self.single = self.before != 'none' and maybe(0.2)
        self.tombstones = maybe(0.9)
        self.resend = maybe(0.3)
        self.reset = self.style == 'file' and not self.resend and maybe(0.2)
        self.truncate = maybe(0.3)
        self.bad = self.unique is None and maybe(0.25)
        self.holes = maybe(0.2)
        self.spelling = maybe(0.4)      # JSON is written in changing ways
        self.respell = maybe(0.1)       # before and after spell the key apart
        self.mapped = maybe(0.5)        # columns are mapped by name
        # where records go: by key, now and then or always anywhere, or
        # anywhere without a key
        self.spread = rng.choice([None, None, 'some', 'random', 'null'])
        self.grow = maybe(0.2)          # the topic gets more partitions
        self.torn = False               # windows end between rows that swap
        self.length = None              # so many transactions; else some
        # key changes whose unavailable values come from a row that came by a
        # key change itself, from another partition; and equal keys that are
        # spelled apart, in key changes
        self.far_chains = False
        self.spellings = not self.toast
        # snapshots that replace what the connector has not seen
        self.snapshots = self.gated = False
        for name, value in (force or {}).items():
            setattr(self, name, value)
        if self.gated:
            self.snapshots = self.partitions == 1 and not self.resend \
                and not self.late_column and maybe(0.5)
        if self.resend and 'reset' not in (force or {}):
            self.reset = False          # what is sent again from before it?
        if self.bad and 'unique' not in (force or {}):
            self.unique = None          # nothing is consistent then
        if self.toast and 'spellings' not in (force or {}):
            self.spellings = False
        if self.partitions == 1 and not self.grow:
            self.spread = None
        if self.spread or self.grow:
            # what an event leaves out may be in a partition that lags: then
            # the target knows it later than a row can wait for
            self.toast = self.missing = self.far_chains = self.unique = False
            self.spellings = True
        if self.spread and self.resend and self.style in ('gtid', 'mariadb'):
            self.style = 'file'         # see Source.resend()
        if self.spread == 'null':       # a delete has but its before image
            self.before = rng.choice(['full', 'key'])
            self.tombstones = self.bad = False  # quarantine knows no such key
        if self.spread and self.resend:
            self.meta = False           # of which copy of an event?
            self.bad = False            # it knows but Kafka's time, the copies'
        if self.toast:                  # MySQL's binlog leaves nothing out
            self.style, self.reset = 'postgresql', False
        if self.unique and not self.torn:
            self.partitions = 1
        if self.bad:                    # quarantine knows a key by its bytes
            self.spelling = self.spellings = self.respell = False
        if self.single and self.partitions > 1 and not self.spread:
            self.single = False
        if self.before == 'none':       # it has to tell the old key
            self.single = False
        if self.spread == 'null':
            self.single = True
        if (self.spread or self.gated) and self.single:
            # what the old key's row was then, if it has come again since, or is
            # gone while the new key's half waits in quarantine
            self.late_column = False
        if self.unique and self.missing:
            self.missing = False

    def __str__(self):
        return ' '.join('%s=%s' % item for item in sorted(vars(self).items())
                        if item[1] not in (False, None))

    def table(self):
        kinds = {'int': [Column('id', 'int', 'ID')],
                 'text': [Column('id', 'text', 'ID')],
                 'composite': [Column('id', 'bigint', 'ID'),
                               Column('id2', 'text', 'ID2')],
                 'numeric': [Column('id', 'numeric', 'ID')],
                 'char': [Column('id', 'char(6)', 'ID')],
                 'citext': [Column('id', 'citext', 'ID')]}
        key = kinds[self.key]
        # digits alone can be base64 or a number: the column says it
        reading = {} if self.schema or self.numbers == 'number' \
            else {'encoding': self.numbers}
        columns = key + [Column('a', 'int', 'A'),
                         Column('b', 'varchar(12)', 'B'),
                         Column('n', 'numeric(10,2)', 'N', reading)]
        if self.toast:
            columns.append(Column('big', 'text', 'BIG'))
        if self.late_column:
            columns.append(Column('extra', 'text', 'EXTRA', default='dflt'))
        if self.unique:
            columns.append(Column('u', 'int', 'U',
                                  notnull=self.unique == 'notnull'))
        if self.meta:
            columns += [Column('last_op', 'text', '$op'),
                        Column('last_offset', 'bigint', '$kafka_offset')]
        if self.refresh:
            columns.append(Column('refresh_time', 'timestamp',
                                  '$refresh_time', compare=False))
        return Table(columns, [c.name for c in key])

    def constraints(self):
        return ['UNIQUE (u)'] if self.unique else []


def decimal_base64(text):
    number = int(Decimal(text).scaleb(2))
    size = max(1, (number if number >= 0 else ~number).bit_length() // 8 + 1)
    return base64.b64encode(number.to_bytes(size, 'big', signed=True)).decode()


class Raw(str):
    """Text that stands in JSON as it is."""


class Source:
    """A table, random transactions on it, and the events that they make."""

    def __init__(self, variant, rng):
        self.v, self.rng = variant, rng
        self.rows = {}              # key -> {field: value}
        self.has_extra = not variant.late_column
        self.records = []           # in the order of the source's history
        self.offsets = {}
        self.after_delete = False   # a tombstone goes where its delete is
        self.sent = 0               # Kafka's clock
        self.partitions = variant.partitions
        self.arrived = set()        # keys that ever came by a key change
        self.reads = set()          # places of the snapshot's rows
        self.begins = []            # places where transactions begin
        self.time = 1700000000000
        self.file, self.pos, self.gtid, self.commit = 999998, 1000, 10, 5000
        self.lsn, self.row = 5000, 0
        self.number = self.unit = 0
        self.statement = False      # several rows of one statement: one position

    # -- values --

    def new_key(self):
        rng = self.rng
        if self.v.key == 'int':
            return (rng.randint(-3, 9),)
        if self.v.key == 'text':
            return (rng.choice(WORDS),)
        if self.v.key == 'composite':
            return rng.randint(1, 3), rng.choice(WORDS[:4])
        if self.v.key == 'numeric':
            return (rng.choice(['1', '2', '10', '0', '-1', '1.5', '100',
                                '12345678901234567890.5']),)
        return (rng.choice(['ab', 'abc', 'x', 'Straße', 'q"', 'ß', 'z z']),)

    def _image_value(self, name):
        rng = self.rng
        if name == 'A':
            return rng.choice([None, 0, 1, -1, 2147483647,
                               rng.randint(-9999, 9999)])
        if name == 'B':
            return rng.choice([None] + WORDS)
        if name == 'N':
            return rng.choice([None, '0.00', '1.10', '-1.28', '12345678.91',
                               '%d.%02d' % (rng.randint(-99, 999),
                                            rng.randint(0, 99))])
        if name == 'BIG':
            return rng.choice([None, 'small', 'x' * 300 + str(self.number),
                               'y' * 300 + str(self.number)])
        return rng.choice([None, 'e%d' % rng.randint(1, 5)])

    def _fields(self):
        names = ['A', 'B', 'N'] + ['BIG'] * self.v.toast
        return names + ['EXTRA'] * (self.v.late_column and self.has_extra)

    def _new_row(self):
        row = {name: self._image_value(name) for name in self._fields()}
        if self.v.late_column and not self.has_extra:
            row['EXTRA'] = 'dflt'
        if self.v.unique:
            row['U'] = self._free_unique()
        return row

    def _free_unique(self):
        if self.v.unique == 'nullable' and self.rng.random() < 0.2:
            return None
        used = {r['U'] for r in self.rows.values()}
        return self.rng.choice([n for n in range(30) if n not in used])

    # -- writing events --

    def _json(self, value):
        """JSON text; escapes and blanks change where the variant says so."""
        ascii_only = self.v.spelling and self.rng.random() < 0.5
        blank = ' ' if self.v.spelling and self.rng.random() < 0.3 else ''

        def write(v):
            if isinstance(v, Raw):
                return str(v)
            if isinstance(v, dict):
                return '{' + (',' + blank).join(
                    write(k) + ':' + blank + write(x)
                    for k, x in v.items()) + '}'
            if isinstance(v, list):
                return '[' + ','.join(map(write, v)) + ']'
            text = json.dumps(v, ensure_ascii=ascii_only)
            if ascii_only and isinstance(v, str):
                text = text.replace('/', '\\/')
            return text
        return write(value)

    def _key_image(self, key):
        """The key's fields, written in one of the ways that mean the same."""
        rng = self.rng
        if not self.v.spellings:
            return dict(zip(('ID', 'ID2'), map(Raw, key) if self.v.key
                            == 'numeric' else key))
        if self.v.key == 'numeric':
            text = key[0]
            forms = [text, text + ('0' if '.' in text else '.0'),
                     text + ('00' if '.' in text else '.00')]
            return {'ID': Raw(rng.choice(forms))}
        if self.v.key == 'citext':
            return {'ID': rng.choice([key[0], key[0].upper()
                                      if 'ß' not in key[0] else key[0]])}
        if self.v.key == 'char':
            return {'ID': rng.choice([key[0], key[0].ljust(6)])}
        return dict(zip(('ID', 'ID2'), key))

    def _image(self, key_image, row, unavailable=()):
        image = dict(key_image)
        for name, value in row.items():
            if name == 'EXTRA' and not self.has_extra:
                continue
            if name in unavailable:
                value = PLACEHOLDER
            elif name == 'N' and value is not None:
                value = {'base64': decimal_base64(value), 'string': value,
                         'number': Raw(value)}[self.v.numbers]
            image[name] = value
        return image

    def _schema(self, image):
        types = {'ID': 'int32' if self.v.key == 'int' else 'int64'
                 if self.v.key == 'composite' else 'string', 'ID2': 'string',
                 'A': 'int32', 'U': 'int32'}
        fields = []
        for name in image:
            field = {'type': types.get(name, 'string'),
                     'optional': not name.startswith('ID'), 'field': name}
            if name == 'N' and self.v.numbers == 'base64':
                field.update(type='bytes', version=1, parameters={'scale': '2'},
                             name='org.apache.kafka.connect.data.Decimal')
            elif name == 'N' and self.v.numbers == 'number':
                field['type'] = 'double'
            fields.append(field)
        return {'type': 'struct', 'fields': fields, 'optional': True,
                'name': 's.t.Value'}

    def _source(self, snapshot):
        v = self.v
        source = {'version': '3.6.1.Final', 'name': 's', 'ts_ms': self.time,
                  'snapshot': snapshot, 'db': 'd', 'sequence': None}
        if v.style == 'postgresql':
            source.update(connector='postgresql', schema='public', table='t',
                          txId=self.gtid, lsn=self.lsn,
                          sequence='["%d","%d"]' % (self.commit, self.lsn))
            return source
        source.update(connector='mariadb' if v.style == 'mariadb' else 'mysql',
                      table='t', server_id=223344, gtid=None,
                      file='mysql-bin.%06d' % self.file, pos=self.pos,
                      row=self.row, thread=7, query=None)
        if v.style == 'gtid':
            source['gtid'] = '3e11fa47-71ca-11e1-9e33-c80aa9429562:%d' \
                % self.gtid
        elif v.style == 'mariadb':
            source['gtid'] = '0-1-%d' % self.gtid
        return source

    def partition(self, key):
        if self.v.spread in ('random', 'null') or \
                self.v.spread == 'some' and self.rng.random() < 0.2:
            return self.rng.randrange(self.partitions)
        if key is None:
            return 0
        if self.v.key == 'citext':
            key = (key[0].lower(),)
        return zlib.crc32(repr(key).encode()) % self.partitions

    def _send(self, key, value, headers=(), key_image=None):
        """Append a record to the partition of its key."""
        part = self.partition(key)
        if value is None and self.after_delete:
            part = self.records[-1].partition
        key_bytes = None
        if isinstance(key_image, bytes):
            key_bytes = key_image
        elif key is not None and self.v.spread != 'null':
            key_bytes = self._json(key_image or self._key_image(key))
            if self.v.schema and self.rng.random() < 0.5:
                key_bytes = '{"schema":null,"payload":' + key_bytes + '}'
        if isinstance(key_bytes, str):
            key_bytes = key_bytes.encode()
        self._append(Record(part, None, key_bytes, value, headers,
                            self.number, self.unit))
        self.number += 1

    def _append(self, record):
        offset = self.offsets.get(record.partition, 1)
        if self.v.holes and self.rng.random() < 0.2:
            offset += self.rng.randint(1, 3)
        record.offset = offset
        self.offsets[record.partition] = offset + 1
        self.sent += 1
        record.timestamp = self.sent
        self.records.append(record)

    def _event(self, op, key, before, after, headers=(), snapshot='false',
               key_image=None, mangle=None):
        envelope = {'before': before, 'after': after,
                    'source': self._source(snapshot), 'transaction': None,
                    'op': op, 'ts_ms': self.time + 5}
        if self.v.spelling and self.rng.random() < 0.3:
            envelope = dict(sorted(envelope.items()))
        value = envelope
        if self.v.schema:
            struct = self._schema(after or before or {'ID': 1})
            value = {'schema': {'type': 'struct', 'fields': [
                dict(struct, field='before'), dict(struct, field='after')],
                'optional': False, 'name': 's.t.Envelope'},
                'payload': envelope}
        data = self._json(value).encode()
        if mangle:
            data = mangle(data)
        self._send(key, data, headers, key_image)
        self.row += 1
        if op == 'r':
            self.reads.add(self.number - 1)
        if not self.statement:
            self._advance()

    def _advance(self):
        self.pos += self.rng.randint(30, 400)
        self.lsn += self.rng.randint(8, 200)
        self.row = 0

    def _before(self, key, row, key_image=None):
        if self.v.before == 'none':
            return None
        if key_image is None or self.v.respell:
            key_image = self._key_image(key)
        if self.v.before == 'key':
            return self._image(key_image, {n: None for n in row})
        return self._image(key_image, row)

    def _drop_some(self, image):
        if self.v.missing and self.rng.random() < 0.4:
            for name in ('A', 'B', 'BIG'):
                if name in image and self.rng.random() < 0.4:
                    del image[name]
        return image

    # -- what happens at the source --

    def insert(self, key=None, op='c', snapshot='false'):
        key = key or self._free_key()
        if key is None:
            return
        self.rows[key] = self._new_row()
        self._event(op, key, None, self._image(self._key_image(key),
                                               self.rows[key]),
                    snapshot=snapshot)

    def _same(self, a, b):
        return a == b if self.v.key != 'citext' \
            else a[0].lower() == b[0].lower()

    def _free_key(self):
        for _ in range(20):
            key = self.new_key()
            if not any(self._same(key, k) for k in self.rows):
                return key
        return None

    def update(self, key=None, changes=None):
        key = key or self._some_key()
        if key is None:
            return
        old = self.rows[key]
        if changes is None:
            names = [n for n in self._fields() if self.rng.random() < 0.4]
            changes = {n: self._image_value(n) for n in names}
            if self.v.unique and self.rng.random() < 0.2:
                changes['U'] = self._free_unique()
        new = dict(old, **changes)
        key_image = self._key_image(key)
        unavailable = [n for n in ('BIG',) if self.v.toast and
                       new.get(n) == old.get(n) and len(new[n] or '') > 100]
        if self.v.missing:
            # the dropped fields keep their value, here too
            image = self._drop_some(self._image(key_image, new, unavailable))
            new = {n: new[n] if n in image or n == 'EXTRA' else old[n]
                   for n in new}
        else:
            image = self._image(key_image, new, unavailable)
        self.rows[key] = new
        self._event('u', key, self._before(key, old, key_image), image,
                    key_image=None if self.v.respell else key_image)

    def delete(self, key=None):
        key = key or self._some_key()
        if key is None:
            return
        row = self.rows.pop(key)
        key_image = self._key_image(key)
        self._event('d', key, self._before(key, row, key_image), None,
                    key_image=key_image)
        if self.v.tombstones:
            self.after_delete = True
            self._send(key, None, key_image=self.records[-1].key)
            self.after_delete = False

    def only_tombstone(self):
        """What compaction leaves of a delete."""
        key = self._some_key()
        if key is not None:
            del self.rows[key]
            self._send(key, None)

    def move(self):
        """A key change, with or without a change of the row."""
        old_key, key = self._some_key(), self._free_key()
        if old_key is None or key is None:
            return
        old = self.rows.pop(old_key)
        new = dict(old)
        if self.rng.random() < 0.5:
            new['A'] = self._image_value('A')
        self.rows[key] = new
        self.statement = True
        unavailable = [n for n in ('BIG',) if self.v.toast
                       and len(new[n] or '') > 100
                       and (self.v.far_chains or self.v.partitions == 1
                            or old_key not in self.arrived)
                       and self.rng.random() < 0.7]
        self.arrived.add(key)
        old_image, new_image = self._key_image(old_key), self._key_image(key)
        image = self._image(self._key_image(key) if self.v.respell
                            else new_image, new, unavailable)
        if self.v.single:
            self.statement = False
            self._event('u', key, self._before(old_key, old, old_image), image,
                        key_image=new_image)
            return
        to_new = [('__debezium.newkey', self._json(new_image))]
        row = self.row
        self._event('d', old_key, self._before(old_key, old, old_image), None,
                    to_new,
                    key_image=old_image)
        if self.v.tombstones:
            self.after_delete = True
            self._send(old_key, None, to_new, key_image=self.records[-1].key)
            self.after_delete = False
        self.row = row
        self.statement = False
        self._event('c', key, None, image,
                    [('__debezium.oldkey', self._json(old_image))],
                    key_image=new_image)

    def swap(self):
        """Two or three rows exchange their unique value."""
        if not self.v.unique or len(self.rows) < 2:
            return
        count = min(len(self.rows), self.rng.choice([2, 2, 3]))
        keys = self.rng.sample(sorted(self.rows, key=repr), count)
        values = [self.rows[k]['U'] for k in keys]
        self.statement = True
        for key, value in zip(keys, values[1:] + values[:1]):
            self.update(key, {'U': value})
        self.statement = False
        self._advance()

    def take_over(self):
        """A new or other row gets the unique value of a deleted one."""
        if not self.v.unique or not self.rows:
            return
        key = self._some_key()
        value = self.rows[key]['U']
        self.delete(key)
        other = self._some_key()
        if other is not None and self.rng.random() < 0.5:
            self.update(other, {'U': value})
            return
        new = self._free_key()
        if new is not None:
            self.rows[new] = dict(self._new_row(), U=value)
            self._event('c', new, None, self._image(self._key_image(new),
                                                    self.rows[new]))

    def delete_and_insert(self):
        key = self._some_key()
        if key is None:
            return
        self.delete(key)
        self.insert(key)

    def chain(self):
        for _ in range(self.rng.randint(2, 3)):
            self.move()

    def read(self):
        """A row of an incremental snapshot: the whole row as it is."""
        key = self._some_key()
        if key is None:
            return
        self._event('r', key, None, self._image(self._key_image(key),
                                                self.rows[key]),
                    snapshot='incremental')

    def snapshot(self):
        """The table changes while nobody looks, and is read anew."""
        if not self.v.snapshots:
            return
        kept, offsets = self.records, dict(self.offsets)
        self.records = []
        for _ in range(self.rng.randint(0, 4)):
            self.rng.choice([self.insert, self.update, self.delete])()
        self.records, self.offsets = kept, offsets
        while len(self.rows) < 2:
            self.insert()
        self.time += 5000
        self.unit += 1
        keys = sorted(self.rows, key=repr)
        self.rng.shuffle(keys)
        marks = ['first'] + ['true'] * (len(keys) - 2) + ['last']
        self.statement = True   # it is read at one place
        for key, mark in zip(keys, marks):
            self._event('r', key, None,
                        self._image(self._key_image(key), self.rows[key]),
                        snapshot=mark)
        self.statement = False
        self._next_transaction()

    def truncate(self):
        if not self.v.truncate:
            return
        self.rows.clear()
        self._event('t', None, None, None)

    def add_column(self):
        if not self.has_extra:
            self.has_extra = True
            for row in self.rows.values():
                row['EXTRA'] = 'dflt'

    def bad(self):
        """An event that the target cannot hold, or that is no event."""
        if not self.v.bad:
            return
        key = self._some_key() if self.rng.random() < 0.8 else self._free_key()
        if key is None:
            return
        row = dict(self.rows.get(key) or self._new_row())
        image = self._image(self._key_image(key), row)
        kind = self.rng.choice(['json', 'utf8', 'type', 'long', 'overflow',
                                'op', 'range'])
        op, mangle = 'u', None
        if kind == 'json':
            def mangle(data):
                return data[:-1]
        elif kind == 'utf8':
            def mangle(data):
                return data.replace(b'"op"', b'"\xff":1,"op"')
        elif kind == 'type':
            image['A'] = 'abc'
        elif kind == 'range':
            image['A'] = 2147483648
        elif kind == 'long':
            image['B'] = 'x' * 13
        elif kind == 'overflow':
            image['N'] = {'base64': decimal_base64('123456789.00'),
                          'string': '123456789.00',
                          'number': Raw('123456789.00')}[self.v.numbers]
        else:
            op = 'x'
        self._event(op, key, None, image, mangle=mangle)

    def resend(self):
        """Kafka Connect starts again from an earlier place."""
        if not self.v.resend or len(self.records) < 3:
            return
        if self.v.style in ('gtid', 'mariadb'):
            # within a GTID nothing is taken for sent twice: a transaction is
            # sent again as a whole here, so that the fold has no say in it
            first = self.rng.choice(self.begins[-10:])
        else:
            first = self.rng.randrange(max(0, len(self.records) - 25),
                                       len(self.records))
        if first >= len(self.records):
            return
        # a change is sent again as a whole: delete, tombstone and create
        while first and (self.records[first].value is None or
                         self.records[first].header('__debezium.oldkey')):
            first -= 1
        for r in self.records[first:]:
            if r.index in self.reads:
                continue    # a connector that restarts takes a new snapshot
            # all of a key stays together, unless keys do not
            part = r.partition
            if self.v.spread:
                part = self.partition(None) if r.value is not None \
                    else self.records[-1].partition
            self._append(Record(part, None, r.key, r.value, r.headers,
                                r.index, r.unit))

    def _some_key(self):
        if not self.rows:
            return None
        return self.rng.choice(sorted(self.rows, key=repr))

    # -- time and position --

    def _next_transaction(self):
        rng = self.rng
        self.begins.append(len(self.records))
        self.gtid += 1
        self.pos += rng.randint(50, 400)
        # transactions come in commit order, but their LSNs interleave
        self.commit = max(self.commit, self.lsn) + rng.randint(8, 100)
        self.lsn = self.commit + rng.randint(-300, 200)
        if rng.random() < 0.5:
            self.time += rng.choice([1000, 1000, 2000])
        if rng.random() < 0.05:
            self.file, self.pos = self.file + 1, 4
        if self.v.reset and rng.random() < 0.05:
            self.file, self.pos = 1, 4
            self.time += 60000

    def run(self, transactions):
        rng = self.rng
        self.statement = self.v.snapshots       # it is read at one place
        for _ in range(rng.randint(0, 5)):
            self.unit += 1
            self.insert(op='r', snapshot='true')
        self.statement = False
        common = [self.insert] * 4 + [self.update] * 8 + [self.delete] * 2 \
            + [self.move] * 2 + [self.delete_and_insert, self.chain, self.read,
                                 self.swap, self.swap, self.take_over]
        # which must not seem to belong to a delete that stands before it
        # .. or, by Kafka's clock, to be later than what follows it
        if not self.v.resend and not self.v.gated and \
                self.v.spread != 'null' and (
                self.v.tombstones or not (self.v.spread or self.v.grow)):
            common.append(self.only_tombstone)
        for _ in range(transactions):
            self._next_transaction()
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                self.unit += 1
                rng.choice(common)()
            self.unit += 1
            if rng.random() < 0.08:
                self.bad()
            if rng.random() < 0.05:
                self._next_transaction()
                self.unit += 1
                self.truncate()
            if rng.random() < 0.06:
                self.add_column()
            if self.v.snapshots and rng.random() < 0.1:
                self.snapshot()
            if rng.random() < 0.06:
                self.resend()
            if self.v.grow and rng.random() < 0.05:
                self.partitions += 1
        return self.records
