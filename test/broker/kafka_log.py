"""A partition's log as Kafka's brokers keep it: record batches, magic 2.

Batches are stored as they come; only what a broker sets (the base offset) is
written into them.
"""
import bisect
import struct
import time

# what precedes the part that the checksum covers: base offset, length, leader
# epoch, magic, checksum
HEAD = struct.Struct('>qiibI')
# attributes, last offset delta, first and greatest timestamp, producer (id,
# epoch, sequence), records
BODY = struct.Struct('>hiqqqhii')
CONTROL = 0x30


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = crc_table()


def crc32c(data):
    crc, table = 0xffffffff, CRC_TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def varint(number):
    """A signed number, as inside of records."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def nullable(data):
    return varint(-1) if data is None else varint(len(data)) + data


def read_varint(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at


def make_record(number, delta, key, value, headers, lie=0):
    body = b'\0' + varint(delta) + varint(number) + nullable(key) + nullable(value) + varint(len(headers))
    for name, data in headers:
        body += varint(len(name)) + name + nullable(data)
    return varint(len(body) + lie) + body


def make_batch(records, attributes=0, lie=0, bad_crc=False):
    """records: (timestamp, key, value, headers); lie: added to their lengths."""
    now = int(time.time() * 1000)
    times = [ts or now for ts, *_ in records]
    body = BODY.pack(attributes, len(records) - 1, times[0], max(times), -1, -1, -1, len(records))
    body += b''.join(make_record(i, times[i] - times[0], *record[1:], lie=lie) for i, record in enumerate(records))
    crc = crc32c(body) ^ (1 if bad_crc else 0)
    return HEAD.pack(0, len(body) + 9, 0, 2, crc) + body


def bad_batch(kind):
    """One record that no producer would write; see broker.py for the kinds."""
    now = int(time.time() * 1000)
    record = [(now, b'k', b'raw', [])]
    if kind == 'control':
        # the marker of a commit
        return make_batch([(now, b'\0\0\0\1', b'\0' * 6, [])], attributes=CONTROL)
    return make_batch(record, attributes={'codec': 7, 'gzip': 1}.get(kind, 0),
                      lie=100 if kind == 'truncated' else 0, bad_crc=kind == 'crc')


class Batch:
    def __init__(self, data, base):
        _, length, epoch, magic, crc = HEAD.unpack_from(data)
        self.attributes, delta, self.first_time, self.last_time, *_, self.count = BODY.unpack_from(data, HEAD.size)
        self.base, self.last = base, base + delta
        self.data = HEAD.pack(base, length, epoch, magic, crc) + data[HEAD.size:]

    def find_time(self, timestamp):
        """The first record that is as young: (offset, timestamp)."""
        if self.attributes & 7 or self.count < 2:
            return self.base, self.first_time
        at = HEAD.size + BODY.size
        for _ in range(self.count):
            length, at = read_varint(self.data, at)
            delta, inner = read_varint(self.data, at + 1)
            number, _ = read_varint(self.data, inner)
            if self.first_time + delta >= timestamp:
                return self.base + number, self.first_time + delta
            at += length
        return self.last, self.last_time


class Log:
    def __init__(self, start=0):
        self.start = self.end = start
        self.batches = []
        self.bases = []
        self.stable = None      # an open transaction begins here
        self.leader = None      # a node's number; -1: none
        self.error = 0

    def last_stable(self):
        return self.end if self.stable is None else self.stable

    def append(self, data):
        """One or more batches; returns the offset of the first record."""
        first = self.end
        while data:
            size = 12 + struct.unpack_from('>i', data, 8)[0]
            batch = Batch(data[:size], self.end)
            self.batches.append(batch)
            self.bases.append(batch.base)
            self.end = batch.last + 1
            data = data[size:]
        return first

    def trim(self, offset):
        """What is older has expired."""
        self.start = min(offset, self.end)
        keep = next((i for i, b in enumerate(self.batches) if b.last >= self.start), len(self.batches))
        del self.batches[:keep], self.bases[:keep]

    def truncate(self, offset):
        """What is younger was never acknowledged by the new leader."""
        keep = bisect.bisect_left(self.bases, offset)
        del self.batches[keep:], self.bases[keep:]
        self.end = self.batches[-1].last + 1 if self.batches else max(min(offset, self.end), self.start)

    def read(self, offset, limit, committed):
        """Whole batches from the one that holds offset; at least one."""
        end = self.last_stable() if committed else self.end
        out, size = [], 0
        for batch in self.batches[max(bisect.bisect_right(self.bases, offset) - 1, 0):]:
            if batch.base >= end or (out and size + len(batch.data) > limit):
                break
            if batch.last >= offset:
                out.append(batch.data)
                size += len(batch.data)
        return b''.join(out)

    def find_time(self, timestamp):
        for batch in self.batches:
            if batch.last_time >= timestamp:
                return batch.find_time(timestamp)
        return -1, -1
