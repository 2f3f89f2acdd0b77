#!/usr/bin/python3
"""Secure connections to a real Kafka: each way to connect, each way that goes
wrong and what is said of it, and sessions that end while records come.

usage: run.py   (test/run.sh starts it, as an unprivileged user)

Environment: E2E_OUT, where Maven put libs/ of Kafka 4.1; SECURE_OUT, where it
put those of Kafka 3.9; NEW_LIBRDKAFKA, a newer one than the system's, or why there
is none, and NEW_VERSION; WORK, a directory to work in; PG_CONFIG, of the
PostgreSQL that has the extension.  Prints TAP.

All of it runs with the librdkafka that the extension was built with, against
Kafka 3.9, and once more with the newer one, against Kafka 4.1.
"""
import concurrent.futures
import ctypes
import datetime
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'e2e'))

import services  # noqa: E402
from certificates import after  # noqa: E402
from faults import CLOCK, FAULTS, GOOD_KEY, OK, SSL, WATCHED, Case  # noqa: E402
from msk_token import VECTOR, token  # noqa: E402
from tap import tap, progress  # noqa: E402
from broker import SecureKafka  # noqa: E402
from wires import TIMEOUT, Wires  # noqa: E402


class Producer(threading.Thread):
    """Puts changes into a topic until it is stopped."""

    def __init__(self, admin, topic):
        super().__init__(daemon=True)
        self.admin, self.topic = admin, topic
        self.count = 0
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.02):
            self.put()

    def put(self):
        self.admin.do('keyed', self.topic, 0, f'{{"id":{self.count % 100}}}',
                      f'{{"payload":{{"op":"u","after":{{"id":{self.count % 100},"n":{self.count}}}}}}}')
        self.count += 1


class Run:
    """The tests with one librdkafka and one Kafka."""

    def __init__(self, wires, version, kafka, admin):
        self.wires, self.kafka, self.admin = wires, kafka, admin
        self.name = f'librdkafka {version}, {kafka.name}'
        self.producers = {}

    def ok(self, good, what, detail=''):
        tap.ok(good, f'{self.name}: {what}', detail)

    def pipeline(self, name, case):
        """A pipeline with a topic and a server of its own, and a producer for it."""
        topic = f'{name}-{self.kafka.name}'
        self.admin.do('topic', topic, 1)
        self.producers[name] = Producer(self.admin, topic)
        self.producers[name].put()
        self.wires.follow(name, topic, case)

    def stop(self, name):
        self.producers[name].stopped.set()
        self.producers[name].join()

    def connects(self, case):
        began = time.monotonic()
        answer = self.wires.ask(case, 'orders')
        took = time.monotonic() - began
        self.ok(answer == '1' and took < TIMEOUT, f'{case.name}: connects', f'{took:.1f} s: {answer}')

    def refuses(self, case):
        began = time.monotonic()
        answer = self.wires.ask(case, case.topic)
        took = time.monotonic() - began
        self.ok(case.is_answer(answer) and took < TIMEOUT + 2,
                f'{case.name}: {case.reason}', f'{took:.1f} s: {answer}')

    def sessions(self):
        """Each way to connect, and each fault, in a session."""
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda c: tap.section(self.connects, c), self.wires.cases(OK)))
            list(pool.map(lambda c: tap.section(self.refuses, c), self.wires.cases(FAULTS)))

    def neighbour_goes_on(self, what):
        self.producers['neighbour'].put()
        self.ok(self.wires.has_landed('neighbour', self.producers['neighbour'].count, 5),
                f'{what}: a neighbour goes on')

    def wrong_clock(self):
        """AWS's clock and ours differ by an hour"""
        case = self.wires.case(CLOCK)
        for seconds in (-3600, 3600):
            self.kafka.set_keys(clock=str(seconds))
            answer = self.wires.ask(case, case.topic)
            self.ok(case.is_answer(answer), f'our clock is wrong by {-seconds} s: {case.reason}', answer)
        self.kafka.set_keys()

    def workers(self):
        """What cdc_status says of each fault, of a worker whose server is altered"""
        good = self.wires.case(OK[0])
        self.pipeline('watched', good)
        for name in ('watched', 'neighbour'):
            self.wires.wait_running(name)
        for case in self.wires.cases(f for f in FAULTS if f.name in WATCHED):
            began = time.monotonic()
            self.wires.alter('watched', case)
            row = self.wires.wait_reason('watched', case.reason, TIMEOUT + 3)
            took = time.monotonic() - began
            progress(f'{case.name}: after {took:.1f} s: {row["state"]}: {row["reason"]} ({row["sqlstate"]})')
            self.ok(row['state'] == 'backing off' and case.is_row(row), f'{case.name}: cdc_status says so', row)
            self.producers['watched'].put()
        self.neighbour_goes_on('the other server is not to be used')
        began = time.monotonic()
        self.wires.alter('watched', good)
        self.wires.wait_running('watched')
        progress(f'set right: goes on after {time.monotonic() - began:.1f} s')
        self.landed_once('watched')

    def landed_once(self, name):
        """All that was put has landed, each record once, and is in the target"""
        count = self.producers[name].count
        self.wires.has_landed(name, count, 15)
        found = self.wires.compare(name)
        self.ok(found == {'records': count, 'missing': 0, 'surplus': 0},
                f'{name}: its {count} records have landed once', found)
        self.ok(self.wires.synced(name), f'{name}: they are in the target')
        rows = self.wires.target(name)
        want = [[i, n] for i, n in sorted({n % 100: n for n in range(count)}.items())]
        self.ok(rows == want, f'{name}: the target is right', rows)

    def revoked(self):
        """A secret that is revoked while records come"""
        case = self.wires.case(next(f for f in OK if f.name == 'scram-sha-512, short sessions'))
        self.pipeline('revoked', case)
        self.producers['revoked'].start()
        self.wires.wait_running('revoked')
        self.admin.do('scram', 'alice', 512, 'another-password')
        row = self.wires.wait_reason('revoked', 'does not accept user and password', TIMEOUT + 10)
        self.ok(row['sqlstate'] == '28000' and 'user mapping' in row['hint'], 'revoked: cdc_status says so', row)
        self.neighbour_goes_on('a secret is revoked')
        case.mapping['password'] = 'another-password'
        began = time.monotonic()
        self.wires.alter('revoked', case)
        self.wires.wait_running('revoked')
        progress(f'a new secret: goes on after {time.monotonic() - began:.1f} s')
        self.stop('revoked')
        self.landed_once('revoked')
        self.admin.do('scram', 'alice', 512, 'alices-password')

    def topic_denied(self):
        """A topic that the user may no longer read"""
        topic = self.producers['short'].topic
        self.admin.do('deny', 'alice', topic)
        row = self.wires.wait_reason('short', 'could not read partition', TIMEOUT + 15)
        self.ok(row['sqlstate'] == '42501' and 'READ' in row['hint'], 'topic denied: cdc_status says so', row)
        self.admin.do('allow', topic)
        self.wires.wait_running('short', 40)

    def short_sessions(self):
        """Sessions that end every two seconds while records come"""
        cases = {'short': 'scram-sha-512, short sessions', 'token': 'IAM, short sessions'}
        for name, of in cases.items():
            self.pipeline(name, self.wires.case(next(f for f in OK if f.name == of)))
            self.producers[name].start()
        began = time.monotonic()
        for name in cases:
            self.wires.wait_running(name)
        # what it costs: the longest time that a record took
        slowest = 0
        while time.monotonic() < began + 5 * SecureKafka.SESSION / 1000:
            count, since = self.producers['token'].count, time.monotonic()
            self.ok_quietly(self.wires.has_landed('token', count, 10), 'sessions end: records land')
            slowest = max(slowest, time.monotonic() - since)
        progress(f'{self.name}: sessions of {SecureKafka.SESSION} ms: the slowest record took {slowest:.1f} s')
        self.topic_denied()
        for name in cases:
            self.stop(name)
            self.landed_once(name)

    def ok_quietly(self, good, what):
        if not good:
            self.ok(False, what)

    def token_denied(self):
        """IAM denies while a worker is connected, then allows again"""
        self.kafka.set_keys(**{'AKIDEXAMPLE.denied': 'true'})
        row = self.wires.wait_reason('token', "IAM denies access", TIMEOUT + 10)
        self.ok(row['sqlstate'] == '28000' and 'kafka-cluster:Connect' in row['hint'],
                'IAM denies: cdc_status says so', row)
        self.kafka.set_keys()
        self.wires.wait_running('token', 30)

    def write_certificate(self, certificate, key):
        for path, text in zip(self.renewed_files, (certificate, key)):
            with open(path + '.new', 'w', encoding='ascii') as f:
                f.write(text)
            os.replace(path + '.new', path)

    def short_certificate(self):
        """A pipeline whose certificate is valid for a few seconds only"""
        authority = self.kafka.certificates.authority
        self.renewed_files = [os.path.join(authority.dir, name) for name in ('renewed', 'renewed-key')]
        self.write_certificate(*authority.issue('short-lived', end=after(20)))
        certificate, key = self.renewed_files
        self.pipeline('renewed', self.wires.case(
            Case('renewed', 'PROXIED', SSL, {'ssl_certificate_file': certificate, 'ssl_key_file': key})))
        self.wires.wait_running('renewed')
        # the broker looks at it when a connection is made
        self.short_until = time.monotonic() + 20

    def certificate_renewed(self):
        """It has expired, connections break, and then there is a new one in the file"""
        proxy = self.kafka.proxy
        time.sleep(max(0, self.short_until - time.monotonic()))
        proxy.set(proxy.CUT)
        proxy.set(proxy.PASS)
        row = self.wires.wait_reason('renewed', 'does not accept our certificate', TIMEOUT + 15)
        self.ok(row['sqlstate'] == '28000', 'our certificate expires: cdc_status says so', row)
        self.producers['renewed'].put()
        self.write_certificate(*self.kafka.certificates.client)
        began = time.monotonic()
        self.wires.wait_running('renewed', 40)
        progress(f'a new certificate in the file: goes on after {time.monotonic() - began:.1f} s')
        self.landed_once('renewed')

    def run(self, all_parts=True):
        self.wires.use(self.kafka)
        progress(self.name)
        self.pipeline('neighbour', self.wires.case(OK[0]))
        parts = [self.sessions, self.wrong_clock, self.revoked, self.short_sessions, self.token_denied]
        if all_parts:
            parts = [self.short_certificate, *parts[:2], self.workers, *parts[2:], self.certificate_renewed]
        for part in parts:
            began = time.monotonic()
            tap.section(part)
            progress(f'{part.__name__}: {time.monotonic() - began:.0f} s')
        for producer in self.producers.values():
            producer.stopped.set()
        self.wires.drop_all()


def verifier(kafka):
    """The verifier itself: takes AWS's signature, and nothing that is wrong"""
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    good = {'key': 'AKIDEXAMPLE', 'secret': GOOD_KEY, 'region': 'us-east-1', 'at': at}
    cases = [
        ("a token of AWS's own signer", VECTOR, 60, 'ok AKIDEXAMPLE 1704165545000'),
        ('the same, made here', token(**good), 60, 'ok AKIDEXAMPLE 1704165545000'),
        ('at its last second', token(**good), 899, 'ok'),
        ('expired', token(**good), 900, 'Signature expired'),
        ('from the future', token(**good), -3600, 'Signature not yet current'),
        ('wrong secret', token(**{**good, 'secret': GOOD_KEY + 'x'}), 60, 'does not match'),
        ('unknown key', token(**{**good, 'key': 'AKIDOTHER'}), 60, 'security token'),
        ('a session that is none', token(**good, session='a/b+c='), 60, 'security token'),
        ('another host', token(**good, host='kafka.example.com'), 60, 'host kafka.example.com'),
        ('another region', token(**{**good, 'region': 'us-east-2'}), 60, 'host kafka.us-east-2'),
        ('another action', token(**good, action='kafka-cluster:Delete'), 60, 'another action'),
        ('for a day', token(**good, seconds=86400), 60, 'valid for 86400 s'),
        ('no token', 'abc', 60, 'not a signed URL'),
    ]
    lines = ''.join(f'us-east-1 {(at + datetime.timedelta(seconds=after)).isoformat()} {text}\n'
                    for _, text, after, _ in cases).replace('+00:00', 'Z')
    said = services.run(['java', '-XX:TieredStopAtLevel=1', '-cp', kafka.classpath, 'MskVerifier', kafka.keys],
                        input=lines).splitlines()
    for (what, _, _, want), answer in zip(cases, said, strict=True):
        tap.ok(want in answer, f'the verifier: {what}', answer)


def system_librdkafka():
    library = ctypes.CDLL('librdkafka.so.1')
    library.rd_kafka_version_str.restype = ctypes.c_char_p
    return library.rd_kafka_version_str().decode()


def prepare(kafka, root):
    admin = services.Admin(root, kafka)
    admin.do('topic', 'orders', 1)
    admin.do('keyed', 'orders', 0, '{"id":1}', '{"payload":{"op":"c","after":{"id":1}}}')
    for how, topic in (('deny', 'forbidden'), ('hide', 'hidden')):
        admin.do('topic', topic, 1)
        admin.do('keyed', topic, 0, '{"id":1}', '{"payload":{"op":"c","after":{"id":1}}}')
        admin.do(how, 'alice', topic)
    for digits in (256, 512):
        admin.do('scram', 'alice', digits, 'alices-password')
    return admin


def start(name, root, libs):
    kafka = SecureKafka(name, root, libs)
    return kafka, prepare(kafka, os.path.join(root, name))


def run(root, bindir):
    newer = os.environ['NEW_LIBRDKAFKA']
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        old = pool.submit(start, 'kafka-3.9', root, os.environ['SECURE_OUT'] + '/libs')
        new = pool.submit(start, 'kafka-4.1', root, os.environ['E2E_OUT'] + '/libs')
        wires = Wires(root, bindir)
    tap.section(verifier, old.result()[0])
    Run(wires, system_librdkafka(), *old.result()).run()
    if os.path.exists(newer):
        # it comes before the one that the extension is linked with
        wires.restart_with(LD_PRELOAD=newer)
        Run(wires, os.environ['NEW_VERSION'], *new.result()).run(all_parts=False)
    else:
        tap.skip('a newer librdkafka', newer)


if __name__ == '__main__':
    sys.exit(services.run_test(run, 'secure-run'))
