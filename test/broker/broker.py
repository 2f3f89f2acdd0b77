#!/usr/bin/python3
"""A Kafka cluster for tests, where a test decides what goes wrong.

usage: broker.py [--ports PORT,..] [--brokers N] [--tls CERTIFICATE KEY]

Speaks the old, plain versions of the protocol that every client knows: enough
to produce to it and to read from it by partition.  Unlike librdkafka's mock
cluster it has addresses that stay the same over a restart, topics that are
deleted, made again and grow, logs whose ends move, transactions that are open,
and finds offsets by time; it is slower.

With --tls it lets in over TLS alone, and who shows a token of AWS's IAM: door.py.

Prints its addresses, then reads commands, one a line, and answers each with
"ok [..]" or "error ..".  Ends when its input does.

    topic NAME PARTITIONS [OFFSET]      the logs begin at OFFSET
    delete NAME
    grow NAME PARTITIONS
    rec TOPIC PARTITION TIMESTAMP KEY VALUE [HEADER=VALUE ..]
    fill TOPIC PARTITION BYTES          one record of that size
    many TOPIC PARTITION COUNT [PREFIX] values PREFIX and the offset
    raw TOPIC PARTITION KIND            crc codec gzip truncated control good
    trim TOPIC PARTITION OFFSET         what is older has expired
    truncate TOPIC PARTITION OFFSET     what is younger is lost
    stable TOPIC PARTITION OFFSET|-     an open transaction begins there; - ends it
    fail TOPIC PARTITION|* CODE         answer with this error of Kafka; 0 ends it
    leader TOPIC PARTITION NODE|-1
    down [NODE], up [NODE]              its port is closed
    freeze [NODE], thaw [NODE]          it accepts, but never answers
    cut [NODE]                          reset its connections
    key ACCESS_KEY SECRET [TOKEN]       with --tls: this one is let in; SECRET -: no more
    session SECONDS                     .. and new connections are cut after that; 0: not
    refuse [WORD ..]                    .. nobody is let in, for this reason; none: as before
    clock SECONDS                       .. the broker's clock is ahead by that
    logins                              .. welcome=N refused=N tokens=N [REASON ..] since the last
    count                               requests since the last count, by name
    sync, quit

Keys, values, header names and header values are hexadecimal; "-" is NULL, "."
is empty.  TIMESTAMP is in ms, 0 for now.  NODE counts from 1; none: all.
"""
import argparse
import collections
import selectors
import socket
import struct
import sys
import time

from door import Door
from kafka_log import Log, bad_batch, make_batch

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER = 0, 1, 3, 5, 6
UNSUPPORTED_VERSION = 35
# key: (name, oldest and newest version)
APIS = {
    0: ('produce', 3, 7), 1: ('fetch', 4, 11), 2: ('list_offsets', 1, 5), 3: ('metadata', 1, 4),
    10: ('find_coordinator', 0, 2), 18: ('api_versions', 0, 3),
}
HOST = '127.0.0.1'
# Long, for librdkafka 2.3 and later: for what it makes of the metadata it sets
# aside a multiple of their size, which is too little for many topics without
# partitions in the plain form.
CLUSTER_ID = 'test' * 250


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code):
        values = struct.unpack_from('>' + code, self.data, self.at)
        self.at += struct.calcsize('>' + code)
        return values[0] if len(values) == 1 else values

    def blob(self, code):
        size = self.take(code)
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at]

    def text(self):
        data = self.blob('h')
        return None if data is None else data.decode()

    def array(self, read):
        return [read() for _ in range(max(self.take('i'), 0))]


def text(value):
    return struct.pack('>h', -1) if value is None else struct.pack('>h', len(value)) + value.encode()


def array(items):
    items = list(items)
    return struct.pack('>i', len(items)) + b''.join(items)


class Connection:
    def __init__(self, sock, node):
        self.sock, self.node = sock, node
        self.inbuf, self.outbuf = bytearray(), bytearray()
        self.waiting = None     # a fetch: (deadline, what answers it)


class Node:
    def __init__(self, number, port):
        self.number, self.port = number, port
        self.listener = None
        self.frozen = False
        self.connections = set()


class Cluster:
    def __init__(self, ports):
        self.selector = selectors.DefaultSelector()
        self.topics = {}
        self.door = None        # before every connection
        self.counts = collections.Counter()
        self.nodes = {}
        for number, port in enumerate(ports, 1):
            self.nodes[number] = Node(number, port)
            self.listen(self.nodes[number])

    # -- connections

    def watch(self, sock, events, call):
        """Call when the socket is ready; no events: leave it alone."""
        known = sock.fileno() in self.selector.get_map()
        if events and known:
            self.selector.modify(sock, events, call)
        elif events:
            self.selector.register(sock, events, call)
        elif known:
            self.selector.unregister(sock)

    def listen(self, node):
        if not node.listener:
            node.listener = socket.create_server((HOST, node.port), backlog=100)
            node.port = node.listener.getsockname()[1]
            node.listener.setblocking(False)
        self.watch(node.listener, 0 if node.frozen else selectors.EVENT_READ, lambda _: self.accept(node))

    def accept(self, node):
        sock, _ = node.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.door:
            sock = self.door.admit(sock)
        sock.setblocking(False)
        connection = Connection(sock, node)
        node.connections.add(connection)
        self.serve(connection, 0)

    def close(self, connection, reset=False):
        if reset:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.watch(connection.sock, 0, None)
        connection.sock.close()
        connection.node.connections.discard(connection)

    def stop_node(self, node):
        if node.listener:
            self.watch(node.listener, 0, None)
            node.listener.close()
            node.listener = None
        self.cut_node(node)

    def cut_node(self, node):
        for connection in list(node.connections):
            self.close(connection, reset=True)

    def freeze_node(self, node, frozen):
        """The kernel accepts, and holds what clients send."""
        node.frozen = frozen
        if node.listener:
            self.listen(node)
        for connection in list(node.connections):
            self.serve(connection, 0)

    def serve(self, connection, mask):
        """Read, answer, write: as far as it goes without waiting."""
        events = 0
        if not connection.node.frozen:
            try:
                self.exchange(connection, mask)
            except BlockingIOError:
                pass
            except OSError:
                self.close(connection)
            if connection.sock.fileno() < 0:
                return
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outbuf else 0)
        self.watch(connection.sock, events, lambda mask: self.serve(connection, mask))

    def exchange(self, connection, mask):
        if mask & selectors.EVENT_READ:
            data = connection.sock.recv(1 << 20)
            if not data:
                self.close(connection)
                return
            connection.inbuf += data
        self.answer_all(connection)
        if connection.outbuf:
            del connection.outbuf[:connection.sock.send(connection.outbuf)]

    def answer_all(self, connection):
        """In the order of the requests, as a broker does."""
        while not connection.waiting and len(connection.inbuf) >= 4:
            size = struct.unpack_from('>i', connection.inbuf)[0]
            if len(connection.inbuf) < 4 + size:
                return
            request = Reader(bytes(connection.inbuf[4:4 + size]))
            del connection.inbuf[:4 + size]
            self.answer(connection, request)

    def answer(self, connection, request):
        key, version, correlation = request.take('hhi')
        request.text()          # the client's name
        name, low, high = APIS.get(key, ('?', 0, -1))
        self.counts[name] += 1

        def send(body):
            out = struct.pack('>i', correlation) + body
            connection.outbuf += struct.pack('>i', len(out)) + out

        if key == 18:
            send(self.api_versions(version))
        elif not low <= version <= high:
            raise OSError(f'request {key} version {version}')
        elif key == 1:
            self.fetch(connection, request, version, send)
        else:
            send(getattr(self, name)(connection, request, version))

    # -- requests

    def log(self, topic, partition, node=None):
        """The log and the error to answer with."""
        logs = self.topics.get(topic, [])
        if not 0 <= partition < len(logs):
            return None, UNKNOWN_TOPIC
        log = logs[partition]
        if log.error:
            return log, log.error
        return log, NOT_LEADER if node and self.leader(log, partition) != node.number else NONE

    def leader(self, log, partition):
        return partition % len(self.nodes) + 1 if log.leader is None else log.leader

    @staticmethod
    def api_versions(version):
        apis = list(APIS.items())
        if version >= 3:
            return struct.pack('>hB', NONE, len(apis) + 1) + b''.join(
                struct.pack('>hhhB', key, low, high, 0) for key, (_, low, high) in apis) + struct.pack('>iB', 0, 0)
        return struct.pack('>h', NONE) + array(
            struct.pack('>hhh', key, low, high) for key, (_, low, high) in apis) + (b'\0' * 4 if version else b'')

    def metadata(self, _, request, version):
        count = struct.unpack_from('>i', request.data, request.at)[0]
        names = request.array(request.text) if count >= 0 else list(self.topics)
        out = struct.pack('>i', 0) if version >= 3 else b''
        out += array(struct.pack('>i', n.number) + text(HOST) + struct.pack('>i', n.port) + text(None)
                     for n in self.nodes.values())
        out += text(CLUSTER_ID) if version >= 2 else b''
        return out + struct.pack('>i', 1) + array(self.describe(name) for name in names)

    def describe(self, name):
        logs = self.topics.get(name, [])
        errors = {log.error for log in logs}
        error = UNKNOWN_TOPIC if not logs else errors.pop() if len(errors) == 1 else NONE
        partitions = []
        for number, log in enumerate(logs if not error else []):
            leader = self.leader(log, number)
            partitions.append(struct.pack('>hii', LEADER_NOT_AVAILABLE if leader < 0 else log.error, number, leader)
                              + array(struct.pack('>i', n) for n in self.nodes) * 2)
        return struct.pack('>h', error) + text(name) + b'\0' + array(partitions)

    def find_coordinator(self, _, request, version):
        node = self.nodes[1]
        return ((b'\0' * 4 if version else b'') + struct.pack('>h', NONE) + (text(None) if version else b'')
                + struct.pack('>i', node.number) + text(HOST) + struct.pack('>i', node.port))

    def list_offsets(self, connection, request, version):
        request.take('i')
        committed = request.take('b') if version >= 2 else 0

        def one(topic):
            partition = request.take('ii')[0] if version >= 4 else request.take('i')
            timestamp = request.take('q')
            log, error = self.log(topic, partition, connection.node)
            offset, found = -1, -1
            if not error and timestamp == -1:
                offset = log.last_stable() if committed else log.end
            elif not error and timestamp == -2:
                offset = log.start
            elif not error:
                offset, found = log.find_time(timestamp)
            return struct.pack('>ihqq', partition, error, found, offset) + (b'\0' * 4 if version >= 4 else b'')

        def topic():
            name = request.text()
            return text(name) + array(request.array(lambda: one(name)))

        return (b'\0' * 4 if version >= 2 else b'') + array(request.array(topic))

    def produce(self, connection, request, version):
        request.text()
        request.take('hi')

        def one(topic):
            partition, data = request.take('i'), request.blob('i')
            log, error = self.log(topic, partition, connection.node)
            first = -1 if error else log.append(data)
            return struct.pack('>ihqq', partition, error, first, -1) + (
                struct.pack('>q', log.start if log else -1) if version >= 5 else b'')

        def topic():
            name = request.text()
            return text(name) + array(request.array(lambda: one(name)))

        out = array(request.array(topic)) + b'\0' * 4
        self.wake_fetches()
        return out

    def fetch(self, connection, request, version, send):
        _, wait, least, most, committed = request.take('iiiib')
        if version >= 7:
            request.take('ii')

        def one():
            partition = request.take('i')
            if version >= 9:
                request.take('i')
            offset = request.take('q')
            if version >= 5:
                request.take('q')
            return partition, offset, request.take('i')

        asked = request.array(lambda: (request.text(), request.array(one)))

        def read():
            """(bytes of records or 1 if there is anything to tell, the answer)"""
            total = told = 0
            topics = []
            for name, partitions in asked:
                parts = []
                for partition, offset, limit in partitions:
                    log, error = self.log(name, partition, connection.node)
                    if not error and not log.start <= offset <= log.end:
                        error = OUT_OF_RANGE
                    data = b'' if error or total >= most else log.read(offset, min(limit, most - total), committed)
                    total += len(data)
                    told += error != NONE
                    high = (-1, -1, -1) if error else (log.end, log.last_stable(), log.start)
                    parts.append(struct.pack('>ihqq', partition, error, *high[:2])
                                 + (struct.pack('>q', high[2]) if version >= 5 else b'')
                                 + struct.pack('>i', 0) + (struct.pack('>i', -1) if version >= 11 else b'')
                                 + struct.pack('>i', len(data)) + data)
                topics.append(text(name) + array(parts))
            head = b'\0' * 4 + (b'\0' * 6 if version >= 7 else b'')
            return total or told, head + array(topics)

        def try_to_answer(last_chance):
            size, body = read()
            if size < least and not last_chance:
                return False
            connection.waiting = None
            send(body)
            return True

        if not try_to_answer(wait == 0):
            connection.waiting = (time.monotonic() + wait / 1000, try_to_answer)

    def wake_fetches(self):
        """Something has changed, or the time of some is over."""
        now = time.monotonic()
        for node in self.nodes.values():
            for connection in list(node.connections):
                if connection.waiting and not node.frozen:
                    deadline, try_to_answer = connection.waiting
                    if try_to_answer(now >= deadline):
                        self.serve(connection, 0)

    def next_deadline(self):
        deadlines = [c.waiting[0] for n in self.nodes.values() for c in n.connections if c.waiting and not n.frozen]
        return max(min(deadlines) - time.monotonic(), 0) if deadlines else None


class Commands:
    """One method a command; what it returns is added to "ok"."""

    def __init__(self, cluster):
        self.cluster = cluster

    def run(self, line):
        name, *words = line.split()
        method = getattr(self, 'do_' + name, None)
        if method is None:
            return 'error unknown command'
        try:
            result = method(*words)
        except (KeyError, IndexError, ValueError, TypeError, OSError) as e:
            return f'error {type(e).__name__}: {e}'
        self.cluster.wake_fetches()
        return 'ok' if result is None else f'ok {result}'

    def log(self, topic, partition):
        return self.cluster.topics[topic][int(partition)]

    def nodes(self, number):
        return [self.cluster.nodes[int(number)]] if number else list(self.cluster.nodes.values())

    def do_topic(self, name, partitions, offset='0'):
        if name in self.cluster.topics:
            raise ValueError('there is such a topic')
        self.cluster.topics[name] = [Log(int(offset)) for _ in range(int(partitions))]

    def do_delete(self, name):
        del self.cluster.topics[name]

    def do_grow(self, name, partitions):
        logs = self.cluster.topics[name]
        logs += [Log() for _ in range(int(partitions) - len(logs))]

    def do_rec(self, topic, partition, timestamp, key, value, *headers):
        pairs = [tuple(map(unhex, header.split('='))) for header in headers]
        self.log(topic, partition).append(make_batch([(int(timestamp), unhex(key), unhex(value), pairs)]))

    def do_fill(self, topic, partition, size):
        letters = bytes(range(ord('a'), ord('z') + 1))
        value = (letters * (int(size) // 26 + 1))[:int(size)]
        self.log(topic, partition).append(make_batch([(0, b'fill', value, [])]))

    def do_many(self, topic, partition, count, prefix='v'):
        log = self.log(topic, partition)
        for first in range(0, int(count), 100):
            log.append(make_batch([(0, None, f'{prefix}{log.end + i}'.encode(), [])
                                   for i in range(min(100, int(count) - first))]))

    def do_raw(self, topic, partition, kind):
        self.log(topic, partition).append(bad_batch(kind))

    def do_trim(self, topic, partition, offset):
        self.log(topic, partition).trim(int(offset))

    def do_truncate(self, topic, partition, offset):
        self.log(topic, partition).truncate(int(offset))

    def do_stable(self, topic, partition, offset):
        self.log(topic, partition).stable = None if offset == '-' else int(offset)

    def do_fail(self, topic, partition, code):
        logs = self.cluster.topics[topic] if partition == '*' else [self.log(topic, partition)]
        for log in logs:
            log.error = int(code)

    def do_leader(self, topic, partition, node):
        self.log(topic, partition).leader = int(node)

    def do_down(self, node=None):
        for each in self.nodes(node):
            self.cluster.stop_node(each)

    def do_up(self, node=None):
        for each in self.nodes(node):
            self.cluster.listen(each)

    def do_freeze(self, node=None):
        for each in self.nodes(node):
            self.cluster.freeze_node(each, True)

    def do_thaw(self, node=None):
        for each in self.nodes(node):
            self.cluster.freeze_node(each, False)

    def do_cut(self, node=None):
        for each in self.nodes(node):
            self.cluster.cut_node(each)

    def do_key(self, access_key, secret, token=None):
        if secret == '-':
            del self.cluster.door.secrets[access_key]
        else:
            self.cluster.door.secrets[access_key] = (secret, token)

    def do_session(self, seconds):
        self.cluster.door.session = float(seconds)

    def do_refuse(self, *words):
        self.cluster.door.refuse = ' '.join(words).encode().decode('unicode_escape')

    def do_clock(self, seconds):
        self.cluster.door.skew = float(seconds)

    def do_logins(self):
        door = self.cluster.door
        counts = f"welcome={door.counts['welcome']} refused={door.counts['refused']} tokens={len(door.tokens)}"
        counts += ''.join(' ' + reason for reason in sorted(door.reasons))
        door.reasons.clear()
        door.counts.clear()
        door.tokens.clear()
        return counts

    def do_count(self):
        counts = ' '.join(f'{name}={number}' for name, number in sorted(self.cluster.counts.items()))
        self.cluster.counts.clear()
        return counts

    def do_sync(self):
        pass


def unhex(word):
    return None if word == '-' else b'' if word == '.' else bytes.fromhex(word)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ports')
    parser.add_argument('--brokers', type=int, default=1)
    parser.add_argument('--tls', nargs=2)
    args = parser.parse_args()
    cluster = Cluster([int(p) for p in args.ports.split(',')] if args.ports else [0] * args.brokers)
    if args.tls:
        cluster.door = Door(*args.tls)
        # what the door answers itself
        APIS.update({17: ('sasl_handshake', 0, 1), 36: ('sasl_authenticate', 0, 0)})
    commands = Commands(cluster)
    print(','.join(f'{HOST}:{node.port}' for node in cluster.nodes.values()), flush=True)

    stdin = sys.stdin.buffer.raw
    pending = b''
    cluster.selector.register(stdin, selectors.EVENT_READ, None)
    while True:
        for key, mask in cluster.selector.select(cluster.next_deadline()):
            if key.data:
                # not if one before it in this round has closed it
                if key.fileobj.fileno() >= 0:
                    key.data(mask)
                continue
            data = stdin.read(1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b'\n')
            for line in lines:
                if line.strip() == b'quit':
                    return
                if line.strip():
                    print(commands.run(line.decode()), flush=True)
        cluster.wake_fetches()


main()
