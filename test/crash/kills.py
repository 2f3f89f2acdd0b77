"""What is done to a running server, and rounds of it under load.

The seed of a round decides what is done, in which order, to which of several
processes, and after which pauses; not what the processes are just doing then.
"""

import random
import signal
import threading
import time

from load import Topic
from oracle import Pipeline, Reader, judge_end, wait_until_done
from services import Broker, Failed, kill, wait_for
from wire import Lost, Refused

STUCK = 30                      # s without any progress
TURN = 0.02                     # s between two bursts of the producer
MOST_BYTES = 4000000            # of a partition: the broker drops more than 5 MB


class Producer(threading.Thread):
    """Keeps the topics growing."""

    def __init__(self, broker, topics, rate, seed):
        super().__init__(daemon=True)
        self._broker, self._topics, self._rate = broker, topics, rate
        self._random = random.Random(seed)
        self._sizes = {}
        self.ending = threading.Event()
        self.full = threading.Event()
        self.broken = None

    def _burst(self, changes):
        lines = []
        for _ in range(changes):
            topic = self._random.choice(self._topics)
            for record in topic.change():
                lines.append(topic.command(record))
                where = topic.name, record.partition
                self._sizes[where] = self._sizes.get(where, 0) + len(lines[-1]) // 2
        self._broker.send(lines)
        if max(self._sizes.values(), default=0) > MOST_BYTES:
            self.full.set()

    def run(self):
        try:
            while not self.ending.is_set() and not self.full.is_set():
                many = self._random.random()
                self._burst(int(self._rate * TURN * 2 * many)
                            if many < 0.99 else self._rate)
                self.ending.wait(TURN)
        except Exception as error:          # pylint: disable=broad-except
            self.broken = repr(error)

    def stop(self):
        self.ending.set()
        self.join()
        self._broker.send(['sync'])
        if self.broken:
            raise Failed('producer: ' + self.broken)


class Hand(threading.Thread):
    """A session that refreshes and syncs a pipeline, instead of the workers or
    next to them."""

    # no broker, not yet restarted, deadlock or changed below a snapshot: ask again
    EXPECTED = ('57P', '533', 'HV00N', '40001', '55000', '57014')

    def __init__(self, connect, names, pause):
        super().__init__(daemon=True)
        self._connect, self._names, self._pause = connect, names, pause
        self.ending = threading.Event()
        self.refused = []

    def run(self):
        connection = None
        while not self.ending.is_set():
            for name in self._names:
                try:
                    if connection is None:
                        connection = self._connect()
                    connection.query("SELECT * FROM cdc_refresh('%s')" % name)
                    connection.query("SELECT * FROM cdc_sync('%s')" % name)
                except (Lost, Refused) as error:
                    if isinstance(error, Refused) and \
                            not error.sqlstate.startswith(self.EXPECTED):
                        self.refused.append('%s: %s' % (name, error))
                    if connection:
                        connection.close()
                    connection = None
                self.ending.wait(self._pause)
        if connection:
            connection.close()

    def stop(self):
        self.ending.set()
        self.join()


# ----------
# What is done.  Each gets the round, and decides with round.random alone.
# ----------

def one_of(round_, pattern):
    pids = sorted(round_.cluster.processes(pattern))
    return pids[int(round_.random.random() * len(pids))] if pids else None


def kill9(pattern):
    def act(round_):
        pid = one_of(round_, pattern)
        if pid is None:
            return False
        round_.cluster.kill(pid, signal.SIGKILL)
        return True
    return act


def signal_one(pattern, number):
    def act(round_):
        pid = one_of(round_, pattern)
        return pid is not None and kill(pid, number)
    return act


def terminate(round_):
    """pg_terminate_backend() of any worker or of another session."""
    which = round_.random.choice(("cdcsync%%", "cdcsync ingest%%", "client%%"))
    return round_.statement(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type"
        " LIKE '%s' AND pid <> pg_backend_pid()" % which.replace('%%', '%'))


def storm(round_):
    """SIGTERM, over and over, to all that is ours."""
    for _ in range(int(5 + 20 * round_.random.random())):
        for pid in round_.cluster.processes('cdcsync'):
            kill(pid, signal.SIGTERM)
        time.sleep(0.02)
    return True


def reload_storm(round_):
    for _ in range(10):
        round_.cluster.reload()
        for pid in round_.cluster.processes('cdcsync'):
            kill(pid, round_.random.choice((signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)))
        time.sleep(0.01)
    return True


def stop_and_start(mode):
    def act(round_):
        round_.stops.append((mode, round_.cluster.stop(mode)))
        round_.cluster.start()
        return True
    return act


def kill_postmaster(round_):
    round_.cluster.kill_postmaster()
    begin = time.monotonic()
    wait_for('the workers notice that the postmaster is gone',
             lambda: not round_.cluster.orphans(), 30)
    round_.stops.append(('orphaned', time.monotonic() - begin))
    round_.cluster.start()
    return True


def cut(round_):
    """The broker closes all connections and takes none for a while."""
    round_.broker.send(['sync', 'down'])
    time.sleep(0.5 * round_.random.random())
    round_.broker.send(['up'])
    return True


def cdc_stop(round_):
    done = round_.statement('SELECT cdc_stop()')
    time.sleep(0.2 * round_.random.random())
    return round_.statement('SELECT cdc_start()') and done


def pause(round_):
    what = round_.random.choice(('sync', 'all'))
    done = round_.statement("SELECT cdc_pause('*', what => '%s')" % what)
    time.sleep(0.2 * round_.random.random())
    return round_.statement("SELECT cdc_resume('*')") and done


def lock_target(round_):
    """Somebody holds the target, and is killed."""
    try:
        session = round_.connect()
        session.query('BEGIN; LOCK TABLE %s_target'
                      % round_.random.choice(round_.pipelines).name)
        time.sleep(0.2 * round_.random.random())
        session.query("SELECT pg_terminate_backend(pg_backend_pid())")
    except (Lost, Refused):
        pass
    return True


# name: (how often, what, does it need workers)
ACTIONS = {
    'kill -9 ingest': (12, kill9('cdcsync ingest'), True),
    'kill -9 sync': (12, kill9('cdcsync sync'), True),
    'kill -9 manager': (6, kill9('cdcsync manager'), True),
    'kill -9 launcher': (5, kill9('cdcsync launcher'), True),
    # without its startup process a server ends, and nothing starts it again
    'kill -9 any process': (12, kill9('^postgres: (?!startup)'), False),
    'kill -9 any session': (6, kill9(r'^postgres: postgres '), False),
    'kill -9 postmaster': (2, kill_postmaster, False),
    'immediate stop': (8, stop_and_start('immediate'), False),
    'fast stop': (4, stop_and_start('fast'), False),
    'pg_terminate_backend': (10, terminate, False),
    'SIGTERM ingest': (6, signal_one('cdcsync ingest', signal.SIGTERM), True),
    'SIGTERM sync': (6, signal_one('cdcsync sync', signal.SIGTERM), True),
    'SIGTERM storm': (4, storm, True),
    'SIGHUP and SIGINT storm': (4, reload_storm, False),
    'cdc_stop, cdc_start': (5, cdc_stop, True),
    'cdc_pause, cdc_resume': (4, pause, False),
    'locked target': (3, lock_target, False),
    'broker away': (8, cut, False),
}


# What the oracle must notice, done to a pipeline's tables by hand.
SABOTAGE = {
    'a lost chunk': """DELETE FROM %(name)s_debezium_chunk c WHERE first_offset =
        (SELECT max(first_offset) FROM %(name)s_debezium_chunk WHERE kafka_partition = 0)
        AND kafka_partition = 0""",
    'a chunk that landed twice': """INSERT INTO %(name)s_debezium_chunk
        SELECT (jsonb_populate_record(c, jsonb_build_object('epoch', 1))).*
        FROM %(name)s_debezium_chunk c WHERE first_offset = 0 AND kafka_partition = 0""",
    'a changed byte': """UPDATE %(name)s_debezium_chunk
        SET kafka_value[1] = set_byte(kafka_value[1], 3, 65)
        WHERE first_offset = 0 AND kafka_partition = 0""",
    'a missing row': """DELETE FROM %(name)s_target WHERE id =
        (SELECT max(id) FROM %(name)s_target)""",
    'a change that was not applied': """UPDATE %(name)s_target SET seq = seq - 1
        WHERE id = (SELECT max(id) FROM %(name)s_target)""",
    'a watermark behind': """UPDATE cdcsync.watermark SET next_offset = next_offset - 1
        WHERE pipeline = '%(name)s' AND kafka_partition = 0""",
    'a record in quarantine': """INSERT INTO cdcsync.quarantine
        (pipeline, kafka_partition, kafka_offset, sqlstate, message)
        VALUES ('%(name)s', 0, 0, '22P02', 'sabotage')""",
}


class Round:
    """A database and a broker of its own, load, and a number of kills."""

    def __init__(self, cluster, number, seed, by_hand, mock_broker, say):
        self.cluster, self.seed, self.by_hand = cluster, seed, by_hand
        self.database = 'round_%d' % number
        self.random = random.Random(seed)
        self.say = say
        self.stops = []             # (how, seconds)
        self.restarts = []          # seconds from a kill to the next progress
        self.faults, self.lost, self.doubled, self.backward = [], [], [], []
        self.looks = self.records = 0
        self.done = {}              # action -> how often
        self.broker = Broker(mock_broker)
        self.topics = [Topic('orders', 3, 90, seed), Topic('items', 2, 60, seed + 1),
                       Topic('single', 1, 30, seed + 2)]
        self.pipelines = [Pipeline(topic.name, topic) for topic in self.topics]
        self.pipelines.append(Pipeline('orders2', self.topics[0], 'orders'))

    def connect(self, timeout=60):
        return self.cluster.connect(self.database, timeout)

    def statement(self, sql):
        """Run it in a session of its own; false if the server went away."""
        session = None
        try:
            session = self.connect()
            session.query(sql)
            return True
        except (Lost, Refused) as error:
            if isinstance(error, Refused) and error.sqlstate[:3] not in ('57P', '533'):
                self.faults.append('%s: %s' % (sql, error))
            return False
        finally:
            if session:
                session.close()

    def prepare(self):
        admin = self.cluster.connect('postgres')
        admin.query('DROP DATABASE IF EXISTS %s' % self.database)
        admin.query('CREATE DATABASE %s' % self.database)
        admin.close()
        self.broker.send(['topic %s %d' % (t.name, t.partitions) for t in self.topics])
        session = self.connect()
        for sql in ('CREATE EXTENSION cdcsync', 'CREATE SCHEMA topics',
                    'CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka'
                    " OPTIONS (bootstrap_servers '%s')" % self.broker.address,
                    'CREATE USER MAPPING FOR postgres SERVER broker',
                    'IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO topics'):
            session.query(sql)
        for pipeline in self.pipelines:
            for sql in pipeline.setup('topics', self.by_hand):
                session.query(sql)
        session.close()

    def unnoticed(self):
        """Kinds of sabotage that the oracle does not see: there must be none."""
        out, pipeline = [], self.pipelines[1]
        session = self.connect()
        for what, sql in SABOTAGE.items():
            session.query('BEGIN')
            session.query(sql % {'name': pipeline.name})
            if not judge_end(session, pipeline).all():
                out.append(what)
            session.query('ROLLBACK')
        session.close()
        return out

    def close(self):
        """Nothing stays but the server."""
        self.broker.stop()
        self.statement('SELECT cdc_stop()')
        admin = self.cluster.connect('postgres')
        admin.query('DROP DATABASE %s WITH (FORCE)' % self.database)
        admin.close()

    def _choose(self):
        names = [n for n, (_, _, workers) in ACTIONS.items()
                 if not (workers and self.by_hand)]
        return self.random.choices(names, [ACTIONS[n][0] for n in names])[0]

    def _kill(self, reader):
        """One kill; wait most times until things move again."""
        name = self._choose()
        time.sleep(0.3 * self.random.random())
        patient = self.random.random() < 0.75
        first = begin = time.monotonic()
        while not ACTIONS[name][1](self):
            # there is no such process yet, or the server was just away
            if begin - first > STUCK:
                raise Failed('no chance for: ' + name)
            time.sleep(0.05)
            begin = time.monotonic()
        self.done[name] = self.done.get(name, 0) + 1
        after = time.monotonic()
        if patient:
            wait_for('progress after: ' + name, lambda: reader.moved > after or
                     reader.broken, STUCK)
            self.restarts.append((reader.moved - begin, name))

    def run(self, kills):
        """Returns how many there were: fewer where the topics are full."""
        reader = Reader(self.cluster, self.database, self.pipelines)
        producer = Producer(self.broker, self.topics, 250, self.seed)
        hands = []
        if self.by_hand:
            hands = [Hand(self.connect, [p.name for p in self.pipelines], 0.03)
                     for _ in range(2)]
        threads = [reader, producer] + hands
        for thread in threads:
            thread.start()
        count = 0
        try:
            while count < kills and not producer.full.is_set():
                self._kill(reader)
                count += 1
        except Failed as error:
            self.faults.append(str(error))
        finally:
            self._settle(threads, reader)
        return count

    def _settle(self, threads, reader):
        """The end of the load, and what is left to do."""
        try:
            self.broker.send(['up'])
            threads[1].stop()
            wait_for('the server answers', self.cluster.answers)
            wait_until_done(self.connect, self.pipelines)
        except Failed as error:
            self.faults.append(str(error))
        for thread in threads[2:] + [reader]:
            thread.stop()
        for hand in threads[2:]:
            self.faults += hand.refused
        self.faults += reader.faults()
        self.backward += reader.backward()
        self.looks = sum(judge.looks for judge in reader.judges)
        self.records = sum(len(r) for t in self.topics for r in t.records)
        try:
            self._judge()
        except (Lost, Refused) as error:
            self.faults.append('no verdict: %s' % error)

    def _judge(self):
        session = self.connect()
        for pipeline in self.pipelines:
            verdict = judge_end(session, pipeline)
            self.lost += verdict.lost
            self.doubled += verdict.doubled
            self.faults += verdict.other
        session.close()
