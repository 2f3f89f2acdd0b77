"""Failures where they are wanted, instead of by luck.

Each place in the sources that is marked with CDC_FAULT fails in each way, in a
build that has them compiled in; and single allocations of an ingest worker fail,
at random.  After each the oracle has to find everything as it should be.
"""

import glob
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from by_hand import step_for
from kills import Round
from load import Topic
from oracle import Pipeline, Reader, judge_end, wait_until_done
from services import Cluster, Failed, kill, wait_for
from wire import Lost, Refused

ACTIONS = ('error', 'kill', 'exit')
REACH = 20                      # s until a place must have been reached
BURST = 6                       # changes of a topic
TURN = 0.1                      # s between two bursts
HANG = 20                       # s in which a worker must have come back
HANGS = 'it does nothing any more'


def points(sources):
    """The names of all places."""
    names = set()
    for path in glob.glob(os.path.join(sources, 'src', '*.c')):
        with open(path, encoding='utf-8') as f:
            names.update(re.findall(r'\bCDC_FAULT\("(\w+)"\)', f.read()))
    return sorted(names)


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def special_build(sources, work, name, pg_config, *arguments):
    """A copy of the server with the extension built in another way; its bin
    directory."""
    copy = os.path.join(work, name + '-src')
    shutil.copytree(sources, copy, ignore=shutil.ignore_patterns(
        '.git', 'build', 'tmp_check*', 'results', 'output_iso', '*.o', '*.bc', '*.so'))
    run_program('make', '-s', '-j2', '-C', copy, 'with_llvm=no',
                'PG_CONFIG=' + os.environ.get('PG_CONFIG', 'pg_config'), *arguments, 'all')
    directories = [pg_config(w) for w in ('--bindir', '--pkglibdir', '--sharedir')]
    root = os.path.commonpath(directories)
    places = [os.path.join(work, name + '-pg', os.path.relpath(d, root))
              for d in directories]
    for directory, place in zip(directories, places):
        shutil.copytree(directory, place, symlinks=True, copy_function=link_or_copy)
    library = os.path.join(places[1], 'cdcsync.so')
    os.unlink(library)
    shutil.copy2(os.path.join(copy, 'cdcsync.so'), library)
    return places[0]


def run_program(*words):
    """Its output; fails if it does."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Failed('%s: %s' % (words[0], done.stdout.decode()[-3000:]))
    return done.stdout.decode().strip()


def compile_preload(directory, name):
    """A library to be preloaded, of the source beside this file."""
    library = os.path.join(directory, name + '.so')
    run_program('cc', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared',
                '-fno-builtin', '-o', library,
                os.path.join(os.path.dirname(os.path.abspath(__file__)), name + '.c'))
    return library


class Calm(Round):
    """A round whose load comes in bursts, with an end to each."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.reader = None
        self.gaps = 0               # records produced to the topic "gappy"
        self.by_hand = 0            # pipelines made for steps by hand

    def begin(self):
        self.topics.append(Topic('brief', 2, 20, self.seed + 3))
        self.pipelines.append(Pipeline('brief', self.topics[-1],
                                       options={'retention': '0'}))
        self.prepare()
        self.reader = Reader(self.cluster, self.database, self.pipelines)
        self.reader.start()

    def burst(self):
        lines = [topic.command(record) for topic in self.topics
                 for _ in range(BURST) for record in topic.change()]
        self.broker.send(lines)

    def nudge(self):
        """Whatever workers do, a bit of it."""
        self.burst()
        name = self.random.choice(self.pipelines).name
        for sql in ("SELECT cdc_pause('%s')" % name, "SELECT cdc_resume('%s')" % name):
            try:
                session = self.connect()
            except (Lost, Refused):
                return
            try:
                session.query(sql)
            except (Lost, Refused):
                pass                # it may be the one that fails
            session.close()

    def make_topic(self, name, by_hand=()):
        """A pipeline of one more topic; workers of other fates read it too."""
        self.broker.send(['topic %s 1' % name])
        session = self.connect()
        session.query('IMPORT FOREIGN SCHEMA kafka LIMIT TO ("%s")'
                      ' FROM SERVER broker INTO topics' % name)
        for sql in by_hand:
            session.query(sql)
        session.close()

    def provoke_beginning(self):
        """A landing that has read nothing yet."""
        topic = Topic('new_%d' % len(self.topics), 1, 5, self.seed + len(self.topics))
        pipeline = Pipeline(topic.name, topic)
        self.make_topic(topic.name, pipeline.setup('topics', False))
        self.topics.append(topic)
        self.pipelines.append(pipeline)

    def provoke_rebuild(self):
        """A target that is rebuilt beside the workers."""
        session = self.connect()
        try:
            session.query("SELECT cdc_resync('%s')" % self.pipelines[0].name)
        except (Lost, Refused):
            pass                    # it is the one that fails
        session.close()

    def take_step(self, step):
        """Come to a step by hand; what to do when the fault is over."""
        self.by_hand += 1
        name = 'by_hand_%d' % self.by_hand
        call = step.call.format(name)

        def again():
            self.insist(lambda session: session.query(call))
            rows = self.insist(lambda session: session.query(
                'SELECT id, v FROM %s_target ORDER BY id' % name))
            return [] if rows == step.rows else ['%s has %r' % (name, rows)]

        self.insist(lambda session: session.query(step.setup(name)))
        session = self.connect()
        try:
            session.query(call)
        except (Lost, Refused):
            pass                    # it is the one that fails
        session.close()
        return again

    def provoke_gap(self):
        """Records that expire while the worker, which is at the end, is held."""
        if self.gaps == 0:
            self.make_topic('gappy', [
                "SELECT cdc_create('gappy', 'topics.gappy', options =>"
                """ '{"on_gap": "continue", "auto_sync": false}')"""])
            self._fill(10)
        self._wait_for_gappy()
        held = self.cluster.processes('cdcsync ingest')
        for pid in held:
            kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                self._fill(2500000)
        finally:
            for pid in held:
                kill(pid, signal.SIGCONT)

    def _fill(self, size):
        self.broker.send(['fill gappy 0 %d' % size, 'sync'])
        self.gaps += 1

    def _wait_for_gappy(self):
        """Its position is at the end; the answer is what is in gaps, and landed."""
        def counts(session):
            end, gaps, landed = map(int, session.query("""
                SELECT coalesce((SELECT next_offset FROM cdcsync.position p
                                 WHERE p.landing_id = l.landing_id), 0),
                       (SELECT coalesce(sum(next_offset - first_offset), 0)
                        FROM cdcsync.gap g WHERE g.landing_id = l.landing_id),
                       (SELECT coalesce(sum(last_offset - first_offset + 1), 0)
                        FROM gappy_debezium_chunk)
                FROM cdcsync.landing l WHERE l.view = 'gappy_debezium'::regclass""")[0])
            return end == self.gaps and (gaps, landed)
        return wait_for('the topic with gaps has been read',
                        lambda: self.insist(counts), 30)

    def gap_faults(self):
        """Each record is in the landing or in a gap that was noted."""
        if self.gaps == 0:
            return []
        gaps, landed = self._wait_for_gappy()
        if gaps == 0 or gaps + landed != self.gaps:
            return ['%d records, %d landed, %d in gaps' % (self.gaps, landed, gaps)]
        return []

    def settle_all(self):
        """Wait until all is done; what is wrong then."""
        self.broker.send(['sync'])
        # a session that failed between the two left it paused
        self.insist(lambda session: session.query("SELECT cdc_resume('*')"))
        wait_until_done(self.connect, self.pipelines)
        wrong = self.insist(lambda session: [
            text for pipeline in self.pipelines
            for text in judge_end(session, pipeline).all()])
        wrong += self.gap_faults() + self.reader.faults() + self.reader.backward()
        for judge in self.reader.judges:
            judge.faults.clear()
            judge.backward.clear()
        self.reader.refused.clear()
        return wrong

    def insist(self, what):
        """Do it in a session, again if a crash is not yet over."""
        def done():
            session = None
            try:
                session = self.connect()
                return (what(session),)
            except (Lost, Refused) as error:
                if isinstance(error, Refused) and error.sqlstate[:3] != '57P':
                    raise Failed(str(error)) from None
                return None
            finally:
                if session:
                    session.close()
        return wait_for('the server is up', done)[0]

    def end(self):
        self.reader.stop()
        self.broker.stop()


# What bursts do not lead to, by a part of the place's name.
PROVOKED = {'ingest_begin': Calm.provoke_beginning, 'ingest_gap': Calm.provoke_gap,
            'resync': Calm.provoke_rebuild}


def set_fault(round_, setting):
    """As a superuser, in spite of crashes; a small sync has a helper if that fails."""
    helped = '0' if 'helper' in setting else '16MB'
    for sql in ("ALTER SYSTEM SET cdcsync.fault = '%s'" % setting,
                "ALTER SYSTEM SET cdcsync.min_parallel_sync_size = '%s'" % helped,
                'SELECT pg_reload_conf()'):
        round_.insist(lambda session, sql=sql: session.query(sql))


def one_fault(round_, name, action):
    """Let a place fail; what is wrong then."""
    since = round_.cluster.log_size()
    line = 'fault "%s": %s' % (name, action)
    step = step_for(name)
    again = None
    set_fault(round_, '%s:%s' % (name, action))
    try:
        end = time.monotonic() + REACH
        for part, provoke in PROVOKED.items():
            if part in name:
                provoke(round_)
        if step:
            again = round_.take_step(step)
        while line not in round_.cluster.log_since(since):
            if time.monotonic() > end:
                return ['never reached']
            round_.nudge()
            time.sleep(TURN)
    finally:
        set_fault(round_, '')
    round_.burst()
    wrong = round_.settle_all()
    if again:
        wrong += again()
    return wrong + round_.cluster.crashes(since)


def run_faults(tap, work, sources, seed, pg_config, pattern):
    """Every place, every action."""
    bin_dir = special_build(sources, work, 'faulty', pg_config, 'CDC_FAULTS=1')
    cluster = Cluster(bin_dir, os.path.join(work, 'faults'))
    round_ = None
    try:
        cluster.start()
        round_ = Calm(cluster, 1, seed, False,
                      os.path.join(sources, 'build', 'mock_broker'), tap.say)
        round_.begin()
        names = [name for name in points(sources) if re.search(pattern, name)]
        tap.test(names, 'there are places that can fail: %d' % len(names))
        for name in names:
            for action in ACTIONS:
                begin = time.monotonic()
                try:
                    wrong = one_fault(round_, name, action)
                except Failed as error:
                    wrong = [error]
                tap.test(not wrong, 'after "%s" at %s nothing is lost or twice'
                         ' (%.1f s)' % (action, name, time.monotonic() - begin), wrong)
    finally:
        if round_ and round_.reader:
            round_.end()
        cluster.abandon()


# ----------
# Memory
# ----------

class Shim:
    """failing_malloc.c, and the memory that is shared with it."""

    LAYOUT = 'iiqq'             # as struct control

    def __init__(self, directory):
        self.library = compile_preload(directory, 'failing_malloc')
        self.file = os.path.join(directory, 'failing_malloc')
        with open(self.file, 'wb') as f:
            f.write(b'\0' * 4096)
        with open(self.file, 'r+b') as f:
            self._map = mmap.mmap(f.fileno(), 4096)

    @property
    def environment(self):
        return {'LD_PRELOAD': self.library, 'FAILING_MALLOC': self.file}

    def arm(self, pid, nth):
        failed = self.state()[3]
        struct.pack_into(self.LAYOUT, self._map, 0, 0, 0, nth, failed)
        struct.pack_into('i', self._map, 0, pid)

    def disarm(self):
        struct.pack_into('i', self._map, 0, 0)

    def state(self):
        return struct.unpack_from(self.LAYOUT, self._map, 0)


def steady_worker(round_):
    """The process id of an ingest worker that has read all there was; a manager
    that has just come does not make it wait for what others died of."""
    for sql in ('SELECT cdc_stop()', 'SELECT cdc_start()'):
        round_.insist(lambda session, sql=sql: session.query(sql))
    round_.burst()
    wait_until_done(round_.connect, round_.pipelines)
    return wait_for('an ingest worker',
                    lambda: round_.cluster.processes('cdcsync ingest'))[0]


def one_allocation(round_, shim, nth):
    """Let the nth allocation from now of an ingest worker fail.

    What came of it: (where, outcome).
    """
    pid = steady_worker(round_)
    since, before = round_.cluster.log_size(), shim.state()[3]
    shim.arm(pid, nth)
    end = time.monotonic() + 2
    while shim.state()[3] == before and time.monotonic() < end and \
            pid in round_.cluster.processes('cdcsync ingest'):
        round_.burst()
        time.sleep(0.02)
    shim.disarm()
    _, thread, _, failed = shim.state()
    if failed == before:
        return None, 'not reached'
    where = 'main thread' if thread == pid else 'thread of librdkafka'
    round_.burst()
    try:
        wait_until_done(round_.connect, round_.pipelines, HANG)
    except Failed:
        return where, HANGS
    log = round_.cluster.log_since(since)
    died = re.search(r'\(PID %d\) was terminated by signal (\d+)' % pid, log)
    if died:
        return where, 'the server crashed (signal %s)' % died[1]
    if re.search(r'\(PID %d\) exited with exit code 1' % pid, log):
        return where, 'it ended, another one followed'
    return where, 'it went on'


def run_memory(tap, work, sources, seed, pg_config, tries):
    """Allocations that fail in an ingest worker."""
    directory = os.path.join(work, 'memory')
    os.makedirs(directory)
    shim = Shim(directory)
    cluster = Cluster(pg_config('--bindir'), os.path.join(directory, 'server'),
                      environment=shim.environment)
    round_, outcomes, hangs = None, {}, []
    try:
        cluster.start()
        round_ = Calm(cluster, 1, seed, False,
                      os.path.join(sources, 'build', 'mock_broker'), tap.say)
        round_.begin()
        since = cluster.log_size()
        for _ in range(tries):
            nth = int(10 ** (4 * round_.random.random()))
            outcome = one_allocation(round_, shim, nth)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if outcome[1] == HANGS:
                hangs.append('the %d. allocation in the %s' % (nth, outcome[0]))
        wrong = round_.settle_all()
        reached = sum(n for (where, _), n in outcomes.items() if where)
        for (where, what), n in sorted(outcomes.items(), key=str):
            tap.say('%s: %s: %d' % (where, what, n))
        tap.test(reached > tries // 2, '%d of %d allocations of ingest workers failed'
                 % (reached, tries))
        tap.test(not hangs, 'no worker hangs when memory is short', hangs)
        tap.test(not wrong, 'nothing is lost or twice when memory is short', wrong)
        crashes = cluster.crashes(since)
        tap.test(not crashes, 'the server does not crash when memory is short', crashes)
    finally:
        if round_ and round_.reader:
            round_.end()
        cluster.abandon()


# ----------
# AddressSanitizer
# ----------

def run_asan(tap, work, sources, seed, pg_config, kills):
    """A round of kills with the library built for AddressSanitizer, in a server
    that has its allocator."""
    runtime = os.path.realpath(run_program('cc', '-print-file-name=libasan.so'))
    if not os.path.isabs(runtime) or not os.path.exists(runtime):
        tap.skip('no error of memory is found', 'the compiler has no AddressSanitizer')
        return
    bin_dir = special_build(sources, work, 'asan', pg_config,
                            'COPT=-fsanitize=address -fno-omit-frame-pointer')
    directory = os.path.join(work, 'asan')
    os.makedirs(directory)
    reports = os.path.join(directory, 'report')
    # backends leave what ends with them to the end of the process
    cluster = Cluster(bin_dir, os.path.join(directory, 'server'), environment={
        'LD_PRELOAD': runtime + ' ' + compile_preload(directory, 'no_gettext'),
        'ASAN_OPTIONS': 'detect_leaks=0:handle_abort=0:log_path=' + reports})
    round_ = None
    try:
        cluster.start()
        round_ = Round(cluster, 1, seed, False,
                       os.path.join(sources, 'build', 'mock_broker'), tap.say)
        round_.prepare()
        count = round_.run(kills)
        with open('/proc/%d/maps' % cluster.postmaster.pid, encoding='utf-8') as f:
            instrumented = {os.path.basename(line.split()[-1]) for line in f}
        tap.test(os.path.basename(runtime) in instrumented and count > 0,
                 '%d kills under AddressSanitizer' % count)
        wrong = round_.lost + round_.doubled + round_.backward + round_.faults
        tap.test(not wrong, 'nothing is lost or twice there', wrong)
        cluster.stop('fast')
        found = []
        for path in glob.glob(reports + '.*'):
            with open(path, encoding='utf-8', errors='replace') as f:
                found += f.read().split('\n')[:40]
        tap.test(not found, 'no error of memory is found', found)
        crashes = cluster.crashes()
        tap.test(not crashes, 'the server has not crashed but where it was killed', crashes)
    finally:
        if round_:
            round_.broker.stop()
        cluster.abandon()
