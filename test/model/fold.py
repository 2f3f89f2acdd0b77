"""An independent fold of Debezium's change events into a table.

Written from the documents alone: the target of a pipeline has to be equal to
what comes out here.  Rules:

- c, r, u are an upsert, d and a tombstone a delete, t empties the table.
- A field that is not in the event, and Debezium's unavailable value, leave the
  column as it was.  In a new row the former gives the column's default, the
  latter makes the event bad: nobody knows the value.
- Delete, then create: a fresh row.  Only the create after a key change takes
  unavailable values from the row that the old key had.
- A single u whose before-image has another key moves the row.
- A streaming event whose source position is older than the greatest of its
  partition, and whose source time is not newer, was sent twice: skipped.  A
  tombstone shares the fate of the delete right before it.
- The rows of a snapshot whose first and last are marked replace all others.
- A value that the column cannot hold: the event is bad and changes nothing;
  later partial changes of its key wait, until a full image or a delete.

Between partitions the order is the source's.  fold() therefore takes what was
applied of every partition and merges it by the place that each record has in
the source's history (Record.index, which only a test knows).
"""

import functools
import heapq
import json
import re

from values import (Bad, MISSING, UNAVAILABLE, dumps, is_unavailable, loads,
                    normal, normal_key, read)

PLACEHOLDER = '__debezium_unavailable_value'
OPERATIONS = ('c', 'r', 'u', 'd', 't', 'm')


class Record:
    """A Kafka record.  index: its place in the source's history."""

    def __init__(self, partition, offset, key, value, headers=(), index=None,
                 unit=None):
        self.unit = unit        # records that only make sense together
        self.partition, self.offset = partition, offset
        self.key, self.value = key, value
        self.headers = list(headers)
        self.index = index
        self.timestamp = None   # of Kafka, in ms
        self.read = {}          # table -> what Fold has read in it

    def header(self, name):
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Column:
    """A target column: its type, and where its value comes from."""

    def __init__(self, name, sql, field=None, reading=None, default=None,
                 compare=True, notnull=False):
        self.notnull = notnull
        self.name, self.sql = name, sql
        self.field = field or name
        self.reading = reading or {}
        self.default = default
        self.compare = compare


class Table:
    def __init__(self, columns, key, placeholder=PLACEHOLDER):
        self.columns = columns
        self.by_name = {c.name: c for c in columns}
        self.key = key
        self.placeholder = placeholder


class Unsettled(str):
    """A value that depends on a record of another partition that is not in yet."""


def unwrap(value):
    """The payload, and the embedded schema if there is one."""
    if isinstance(value, dict) and 'payload' in value \
            and set(value) <= {'schema', 'payload'}:
        return value['payload'], value.get('schema')
    return value, None


@functools.lru_cache(maxsize=4096)
def parse(data):
    """A record's payload and schema, to be read only.  Raises ValueError.

    A history is folded anew after every step.
    """
    return unwrap(loads(data.decode()))


def readable(record):
    """Is the record's value JSON, or null?"""
    try:
        return record.value is None or bool(parse(record.value))
    except (ValueError, UnicodeDecodeError):
        return False


def fields_of(schema, part):
    """name -> description of the fields of one part of an envelope's schema."""
    for field in (schema or {}).get('fields', []):
        if field.get('field') == part:
            return {f['field']: f for f in field.get('fields', [])}
    return {}


def position(source):
    """A comparable source position: (who, where), or None."""
    if str(source.get('snapshot')).lower() not in ('false', 'none',
                                                   'incremental'):
        return None
    connector = source.get('connector')
    if connector in ('mysql', 'mariadb'):
        gtid = source.get('gtid')
        if gtid:
            who, _, number = re.fullmatch(r'(.*)([:-])(\d+)', gtid).groups()
            return ('gtid', who), (int(number),)
        base, number = source['file'].rsplit('.', 1)
        return (('file', str(source.get('server_id')), base),
                (int(number), int(source['pos'])))
    if connector == 'postgresql':
        commit, lsn = json.loads(source.get('sequence') or '[null,null]')
        if commit is None or lsn is None:
            return None
        return ('lsn',), (int(commit), int(lsn))
    return None


def _place(envelope):
    """The two halves of a key change have the same one."""
    source = envelope.get('source') or {}
    return position(source) or dumps(source)


class Fold:
    def __init__(self, table):
        self.table = table
        self.rows = {}          # key tuple -> {column: text or None}
        self.bad = {}           # (partition, offset) -> (key tuple, column)
        self.queued = set()     # (partition, offset) that wait behind a bad one
        self.blocked = {}       # key -> the bad record that nothing replaced yet
        self.needed = {}        # key -> {bad record: its column}, not replaced
        self.lost = {}          # old key of a key change -> what it waited for
        self.homeless = False   # an update had no row: no history of a source
        self.skipped = 0
        self._greatest = {}     # partition -> (who, where, source time)
        self._last = {}         # partition -> (key bytes, was skipped) of a d
        self._read_keys = set() # of a snapshot
        self._moved = {}        # (old key, new key) -> row at its delete

    # -- keys --

    def _image_key(self, image, schema):
        key = []
        for name in self.table.key:
            value = self._value(self.table.by_name[name], image)
            if value is MISSING or value is UNAVAILABLE or value is None:
                return None
            key.append(self._read(self.table.by_name[name], value, schema))
        return tuple(key)

    def _record_key(self, data):
        if data is None:
            return None
        try:
            value, _ = parse(data if isinstance(data, bytes)
                             else data.encode())
        except (ValueError, UnicodeDecodeError):
            return None
        if isinstance(value, dict):
            return self._image_key(value, {})
        if value is not None and len(self.table.key) == 1:
            return (self._read(self.table.by_name[self.table.key[0]],
                               value, {}),)
        return None

    def _normal_key(self, key):
        return tuple(normal_key(k, self.table.by_name[n].sql)
                     for n, k in zip(self.table.key, key))

    # -- values --

    def _value(self, column, image):
        value = image.get(column.field, MISSING)
        if value is MISSING:
            for name in image:
                if name.lower() == column.field.lower():
                    value = image[name]
        if value is not MISSING and is_unavailable(value,
                                                   self.table.placeholder):
            return UNAVAILABLE
        return value

    def _read(self, column, value, fields):
        try:
            text = read(value, column.sql, column.reading,
                        fields.get(column.field))
        except Bad as error:
            error.column = column.name
            raise
        return normal(text, column.sql)

    # -- events --

    def apply(self, record):
        """Apply one record; 'skipped', 'bad' or None."""
        where = (record.partition, record.offset)
        try:
            return self._apply(record)
        except Bad as error:
            try:
                key = self._record_key(record.key)
                key = key and self._normal_key(key)
            except Bad:
                key = None
            self.bad[where] = (key, getattr(error, 'column', None))
            if key is not None:
                self.blocked[key] = where
                self.needed.setdefault(key, {})[where] = self.bad[where][1]
            return 'bad'

    def forgive(self, records):
        """Need no copy of an unreadable record that something else may end.

        It has no position that shows that it was sent again, and so but Kafka's
        time to order it by: what another partition has of its key, or a
        truncate, comes after it if Kafka got it later.
        """
        seen = set()
        for copy in records:
            if copy.index in seen:
                where = (copy.partition, copy.offset)
                key, _ = self.bad.get(where, (None, None))
                if where in self.needed.get(key, ()) and not readable(copy) \
                        and any(r.partition != copy.partition
                                and r.timestamp > copy.timestamp
                                and self._ends(r, key) for r in records):
                    del self.needed[key][where]
            elif copy.index is not None:
                seen.add(copy.index)

    def _ends(self, record, key):
        """Could the record end what waits for this key?"""
        if b'"op":"t"' in (record.value or b''):
            return True
        try:
            mine = self._record_key(record.key)
            return mine is not None and self._normal_key(mine) == key
        except Bad:
            return False

    def _apply(self, record):
        last = self._last.pop(record.partition, None)
        if record.value is None:
            return self._tombstone(record, last)
        try:
            envelope, schema = parse(record.value)
        except (ValueError, UnicodeDecodeError):
            raise Bad('no JSON')
        if envelope is None:
            return self._tombstone(record, last)
        if not isinstance(envelope, dict) or 'op' not in envelope:
            return None
        if envelope['op'] not in OPERATIONS:
            raise Bad('unknown op')
        if self._resent(record, envelope):
            if envelope['op'] == 'd':
                self._last[record.partition] = (record.key, True)
            self.skipped += 1
            return 'skipped'
        op = envelope['op']
        if op == 't':
            for state in (self.rows, self._moved, self.blocked, self.needed):
                state.clear()
        elif op == 'd':
            self._delete(record, envelope, schema)
            self._last[record.partition] = (record.key, False)
        elif op in ('c', 'r', 'u'):
            self._upsert(record, envelope, schema)
            if op == 'r':
                self._replace(record, envelope['source'].get('snapshot'))
        return None

    def _replace(self, record, mark):
        """The rows that a snapshot has, and which are gone when it ends."""
        if mark == 'first':
            self._read_keys = set()
        self._read_keys.add(record.read[self.table][1])
        if mark == 'last':
            for key in set(self.rows) - self._read_keys:
                self._remove(key)

    def _resent(self, record, envelope):
        source = envelope.get('source') or {}
        place = position(source)
        if place is None:
            return False
        who, where = place
        time = int(source.get('ts_ms') or 0)
        old = self._greatest.get(record.partition)
        if source.get('snapshot') == 'incremental':
            # read when the events up to there had been sent
            if not old or old[0] != who or where > old[1]:
                self._greatest[record.partition] = (who, where, time)
            return False
        if old and old[0] == who:
            if where < old[1]:
                return time <= old[2]
            if where == old[1]:
                return False
        self._greatest[record.partition] = (who, where, time)
        return False

    def _tombstone(self, record, last):
        if last and last[0] == record.key:
            return 'skipped' if last[1] else None
        key = self._record_key(record.key)
        if key is None:
            if record.key is None:
                return None
            raise Bad('no key')
        self._remove(self._normal_key(key))
        return None

    def _remove(self, key):
        self.blocked.pop(key, None)
        self.needed.pop(key, None)
        return self.rows.pop(key, None)

    def _delete(self, record, envelope, schema):
        key = self._record_key(record.key)
        if key is None:
            key = self._image_key(envelope.get('before') or {},
                                  fields_of(schema, 'before'))
        if key is None:
            raise Bad('no key')
        key = self._normal_key(key)
        behind = self.blocked.get(key)
        row = self._remove(key)
        new = self._record_key(record.header('__debezium.newkey'))
        self.lost.pop(key, None)
        if new is not None:
            if behind is not None:
                self.lost[key] = behind
            pair, place = (key, self._normal_key(new)), _place(envelope)
            # a re-sent delete finds nothing: what the first one took stays
            if row is not None or self._moved.get(pair, (None,))[0] != place:
                self._moved[pair] = place, row

    def _upsert(self, record, envelope, schema):
        after = envelope.get('after')
        if not isinstance(after, dict):
            raise Bad('no row')
        # read everything before anything is changed
        if self.table not in record.read:
            record.read[self.table] = self._values(record, envelope, after,
                                                   schema)
        texts, key, values = record.read[self.table]
        self.needed[key] = {
            where: column for where, column in self.needed.get(key, {}).items()
            if column and values[column] in (MISSING, UNAVAILABLE)}
        if self._waits(record, key, values,
                       self._old_key(envelope, schema, key)):
            self._leave(envelope, schema, key)
            return
        base = self.rows.get(key)
        lent, settled = self._lent(record, envelope, schema, key)
        self.homeless |= envelope['op'] == 'u' and base is None and lent is None
        row = {}
        for column in self.table.columns:
            value = values[column.name]
            if value is MISSING or value is UNAVAILABLE:
                if lent is not None and (value is UNAVAILABLE
                                         or envelope['op'] == 'u'):
                    value = lent.get(column.name, column.default)
                    if not settled:
                        value = Unsettled(value)
                elif base is not None:
                    value = base[column.name]
                elif value is UNAVAILABLE:
                    error = Bad('no row has the unchanged value')
                    self.homeless = True
                    raise error
                else:
                    value = column.default
            row[column.name] = value
        for name, text in zip(self.table.key, texts):
            row[name] = text
        self.rows[key] = row

    def _values(self, record, envelope, after, schema):
        """The key's texts, the key, and the value of each column."""
        fields = fields_of(schema, 'after')
        texts = self._image_key(after, fields) \
            or self._record_key(record.key)
        if texts is None:
            raise Bad('no key')
        return texts, self._normal_key(texts), {
            column.name: self._column(column, record, envelope, after, fields)
            for column in self.table.columns}

    def _waits(self, record, key, values, left):
        """A partial change queues behind a bad one, a full image replaces it.

        left: the key that a single event for a key change leaves.
        """
        partial = any(v is MISSING or v is UNAVAILABLE
                      for v in values.values())
        old = self._record_key(record.header('__debezium.oldkey'))
        behind = self.blocked.get(key)
        if behind is None and old is not None \
                and UNAVAILABLE in values.values():
            behind = self.lost.get(self._normal_key(old))
        if behind is None and left is not None:
            behind = self.blocked.get(left)
        if not partial:
            self.blocked.pop(key, None)
            return False
        if behind is None:
            return False
        self.blocked[key] = behind
        self.queued.add((record.partition, record.offset))
        return True

    def _lent(self, record, envelope, schema, key):
        """The row that unavailable values come from after a key change."""
        old = self._record_key(record.header('__debezium.oldkey'))
        if old is not None:
            old = self._normal_key(old)
            place, row = self._moved.get((old, key), (None, None))
            if place == _place(envelope):
                return row, True
            return self.rows.get(old, {}), False
        left, row = self._leave(envelope, schema, key)
        self.homeless |= left and row is None
        return row, True

    def _leave(self, envelope, schema, key):
        """A single event for a key change: did the old key's row go, and which?"""
        old = self._old_key(envelope, schema, key)
        return old is not None, None if old is None else self._remove(old)

    def _old_key(self, envelope, schema, key):
        """The key that a single event for a key change leaves, or None."""
        before = envelope.get('before')
        if envelope['op'] != 'u' or not isinstance(before, dict):
            return None
        old = self._image_key(before, fields_of(schema, 'before'))
        old = old and self._normal_key(old)
        return None if old == key else old

    def _column(self, column, record, envelope, after, fields):
        if column.field == '$op':
            return envelope['op']
        if column.field == '$ts_ms':
            return str(envelope['ts_ms'])
        if column.field == '$kafka_partition':
            return str(record.partition)
        if column.field == '$kafka_offset':
            return str(record.offset)
        if column.field.startswith('$source.'):
            value = (envelope.get('source') or {}).get(column.field[8:],
                                                       MISSING)
            return value if value is MISSING else \
                self._read(column, value, {})
        if column.field.startswith('$'):
            return None
        value = self._value(column, after)
        if value is MISSING or value is UNAVAILABLE:
            return value
        return self._read(column, value, fields)


def in_source_order(records):
    """Merge what was applied of each partition by the source's history.

    A re-sent record keeps its place in its partition: it sorts with the
    latest that the partition had before it.
    """
    lanes = {}
    for record in records:
        lane = lanes.setdefault(record.partition, [])
        index = record.index if record.index is not None else record.offset
        if lane:
            index = max(index, lane[-1][0])
        lane.append((index, len(lane), record.partition, record))
    merged = heapq.merge(*lanes.values(), key=lambda item: item[:3])
    return [item[3] for item in merged]


def not_resent(table, records):
    """The records without those that their partition has had already."""
    scratch = Fold(table)
    out = []
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        last = scratch._last.pop(record.partition, None)
        if record.value is None:
            if not (last and last[0] == record.key and last[1]):
                out.append(record)
            continue
        try:
            envelope, _ = parse(record.value)
        except (ValueError, UnicodeDecodeError):
            envelope = None
        resent = isinstance(envelope, dict) and \
            envelope.get('op') in OPERATIONS and \
            scratch._resent(record, envelope)
        if resent and envelope.get('op') == 'd':
            scratch._last[record.partition] = (record.key, True)
        if not resent:
            out.append(record)
    return out


def fold(table, records, spread=False):
    """Fold what has been applied of each partition.

    spread: a key can be anywhere, so what is sent again can be elsewhere too;
    it is the same event then, in the same place of the source's history.
    """
    state = Fold(table)
    if spread:
        records = sorted(not_resent(table, records), key=lambda r: r.index)
    else:
        records = in_source_order(records)
    for record in records:
        state.apply(record)
    state.forgive(records)
    return state


def differences(table, expected, actual, settled_only=True):
    """Texts that say how two {key: {column: text}} differ."""
    out = []
    for key in sorted(set(expected) | set(actual), key=repr):
        if key not in actual:
            out.append('missing row %r' % (key,))
        elif key not in expected:
            out.append('row too many %r: %r' % (key, actual[key]))
        else:
            for column in table.columns:
                if not column.compare:
                    continue
                want, have = expected[key][column.name], actual[key][column.name]
                if settled_only and isinstance(want, Unsettled):
                    continue
                if column.name in table.key:
                    want = normal_key(want, column.sql)
                    have = normal_key(have, column.sql)
                if want != have:
                    out.append('%r.%s: expected %.80r, is %.80r'
                               % (key, column.name, want, have))
    return out
