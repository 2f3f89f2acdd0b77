"""The PostgreSQL cluster and the broker that a run has to itself.

Whatever is started here is stopped by its process id, whatever way the run
ends; the broker ends with the pipe to its input as well.
"""

import os
import re
import signal
import subprocess
import threading
import time

from wire import Connection, Lost, Refused

CONFIG = """
listen_addresses = ''
unix_socket_directories = '%(socket)s'
port = %(port)d
fsync = on
full_page_writes = on
shared_buffers = 32MB
max_connections = 40
max_worker_processes = 16
autovacuum_naptime = 5s
checkpoint_timeout = 30s
restart_after_crash = on
log_line_prefix = '%%m [%%p] %%b: '
shared_preload_libraries = '%(preload)s'
"""


class Failed(Exception):
    """The run cannot go on."""


def wait_for(what, condition, timeout=60, pause=0.02):
    """Ask until it is so: the answer."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed('timed out: ' + what)
        time.sleep(pause)


def command_line(pid):
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as f:
            return f.read().replace(b'\0', b' ').decode(errors='replace').strip()
    except OSError:
        return ''


def children(pid):
    try:
        with open('/proc/%d/task/%d/children' % (pid, pid), encoding='ascii') as f:
            return [int(child) for child in f.read().split()]
    except OSError:
        return []


def kill(pid, number):
    try:
        os.kill(pid, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False


class Cluster:
    """A server that may be killed; its log tells crashes that nobody caused."""

    PORT = 5432

    def __init__(self, bin_dir, directory, preload='cdcsync', environment=None):
        self.bin, self.directory = bin_dir, directory
        self.data = os.path.join(directory, 'data')
        self.log = os.path.join(directory, 'server.log')
        self._environment = environment or {}
        self.postmaster = None
        self._killed = []           # (process id, signal) of our doing
        self._orphans = []          # children of postmasters that we killed
        os.makedirs(directory)
        self._run('initdb', '-D', self.data, '-U', 'postgres', '-A', 'trust',
                  '-E', 'UTF8', '--no-locale')
        with open(os.path.join(self.data, 'postgresql.conf'), 'a',
                  encoding='ascii') as f:
            f.write(CONFIG % {'socket': directory, 'port': self.PORT,
                              'preload': preload})

    def _run(self, program, *arguments):
        done = subprocess.run([os.path.join(self.bin, program), *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise Failed('%s: %s' % (program, done.stdout.decode()[-2000:]))

    def start(self):
        """Start the server.  One whose postmaster was killed has children that
        must end first: how long that took is what comes back."""
        begin = time.monotonic()
        while True:
            with open(self.log, 'ab') as log:
                server = subprocess.Popen(
                    [os.path.join(self.bin, 'postgres'), '-D', self.data],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=dict(os.environ, **self._environment),
                    start_new_session=True)
            self.postmaster = server
            while server.poll() is None:
                if self.answers():
                    return time.monotonic() - begin
                if time.monotonic() - begin > 60:
                    raise Failed('the server does not start')
                time.sleep(0.01)
            if time.monotonic() - begin > 30:
                raise Failed('the server does not start: ' + self.tail())
            time.sleep(0.05)

    def answers(self):
        try:
            self.connect('postgres', timeout=10).close()
            return True
        except (Lost, Refused):
            return False

    def connect(self, database, timeout=60, settings=''):
        return Connection(self.directory, self.PORT, database, timeout, settings)

    def stop(self, mode='fast'):
        """Stop it; how long that took.

        A fast shutdown that comes while the server recovers from a crash can wait
        for ever for its own checkpointer: not for us, as long as none of our
        processes is left.
        """
        begin = time.monotonic()
        self.postmaster.send_signal({'fast': signal.SIGINT,
                                     'immediate': signal.SIGQUIT}[mode])
        try:
            self.postmaster.wait(5)
        except subprocess.TimeoutExpired:
            left = [command_line(pid) for pid in self.processes()]
            if any('cdcsync' in title for title in left) or mode == 'immediate':
                raise Failed('the server does not stop (%s): %s'
                             % (mode, ', '.join(left))) from None
            self.stop('immediate')
        return time.monotonic() - begin

    def abandon(self):
        """The end of a run: nothing stays."""
        if self.postmaster and self.postmaster.poll() is None:
            self._orphans += self.processes()
            self.postmaster.send_signal(signal.SIGQUIT)
            try:
                self.postmaster.wait(10)
            except subprocess.TimeoutExpired:
                self.postmaster.kill()
                self.postmaster.wait()
        for pid in self.orphans():
            kill(pid, signal.SIGKILL)

    def orphans(self):
        """Children that have outlived a postmaster that we killed."""
        self._orphans = [pid for pid in self._orphans
                         if command_line(pid).startswith('postgres: ')
                         and pid not in children(self.postmaster.pid)]
        return self._orphans

    def processes(self, pattern=''):
        """Process ids of children of the postmaster whose titles match."""
        return [pid for pid in children(self.postmaster.pid)
                if re.search(pattern, command_line(pid))]

    def kill(self, pid, number):
        """Send a signal that ends a process, and remember that it was us."""
        if kill(pid, number):
            self._killed.append((pid, int(number)))

    def kill_postmaster(self):
        self._orphans += self.processes()
        self.postmaster.kill()
        self.postmaster.wait()

    def reload(self):
        kill(self.postmaster.pid, signal.SIGHUP)

    def tail(self, size=3000):
        with open(self.log, 'rb') as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - size))
            return f.read().decode(errors='replace')

    def log_size(self):
        return os.path.getsize(self.log)

    def log_since(self, offset):
        with open(self.log, 'rb') as f:
            f.seek(offset)
            return f.read().decode(errors='replace')

    def crashes(self, since=0):
        """Lines of the log that tell of a crash that is not our doing."""
        ours, out, cause = set(self._killed), [], ''
        for line in self.log_since(since).split('\n'):
            fault = re.search(r'\[(\d+)\].*LOG:  fault ".*": kill$', line)
            died = re.search(r'\(PID (\d+)\) was terminated by signal (\d+)', line)
            if fault:
                ours.add((int(fault[1]), int(signal.SIGKILL)))
            elif died and (int(died[1]), int(died[2])) not in ours:
                out.append(line)
            elif re.search('PANIC:|TRAP: ', line):
                out.append(line)
            elif 'terminating any other active server processes' in line:
                # whose end was not a signal's, yet not orderly
                if 'was terminated by' not in cause:
                    out.append(cause)
            if re.search(r'\(PID \d+\) (exited|was terminated)', line):
                cause = line
        return out


class Broker:
    """build/mock_broker; its commands in any thread."""

    def __init__(self, program):
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True)
        self.address = self._read()

    def _read(self):
        line = self._process.stdout.readline().decode().strip()
        if not line:
            raise Failed('the broker is gone')
        return line

    def send(self, lines):
        """Commands that nothing comes between."""
        with self._lock:
            # answers are left in the pipe meanwhile, which holds many more
            for at in range(0, len(lines), 500):
                some = lines[at:at + 500]
                self._process.stdin.write('\n'.join(some + ['']).encode())
                self._process.stdin.flush()
                for line in some:
                    answer = self._read()
                    if not answer.startswith('ok'):
                        raise Failed('broker: %s: %s' % (line[:60], answer))

    def stop(self):
        with self._lock:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
