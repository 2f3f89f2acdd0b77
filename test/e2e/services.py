"""The servers of the end-to-end test: each a process of ours, in a directory of
its own, on a free port of the loopback interface, stopped by its own pid."""
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

from tap import progress, tap

HERE = os.path.dirname(os.path.abspath(__file__))
STARTED = []
# a Java program that does not live long is faster so
SHORT_LIVED = ('-XX:TieredStopAtLevel=1',)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for(condition, seconds, what):
    """Poll condition() until it is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f'{what}: not within {seconds} s')
        time.sleep(0.2)


class Proxy:
    """A network between a client and a port that can be cut: everything passes,
    nothing passes (FROZEN: whoever waits goes on waiting), or every connection is
    reset, those that come too (CUT)."""

    PASS, FROZEN, CUT = 'pass', 'frozen', 'cut'

    def __init__(self, target):
        self.target = target
        self.state = self.PASS
        self.changed = threading.Condition()
        self.open = set()
        self.connections = 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, state):
        with self.changed:
            self.state = state
            if state == self.CUT:
                for s in self.open:
                    self.reset(s)
            self.changed.notify_all()

    @staticmethod
    def reset(s):
        # the other side shall get an error, and not the end of a stream
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            with self.changed:
                if self.state == self.CUT:
                    self.reset(client)
                    client.close()
                    continue
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            server = socket.create_connection(('127.0.0.1', self.target), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self.connections += 1
        with self.changed:
            self.open |= {client, server}
        there = threading.Thread(target=self.pump, args=(client, server), daemon=True)
        there.start()
        self.pump(server, client)
        there.join()
        with self.changed:
            self.open -= {client, server}
        client.close()
        server.close()

    def pump(self, source, to):
        try:
            while True:
                data = source.recv(65536)
                with self.changed:
                    self.changed.wait_for(lambda: self.state != self.FROZEN)
                if not data:
                    break
                to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def answers(port):
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    except OSError:
        return False


def run(argv, **kwargs):
    """A command that must succeed; its output."""
    done = subprocess.run(argv, text=True, encoding='utf-8', stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f'{os.path.basename(argv[0])}: {(done.stderr or done.stdout).strip()[-2000:]}')
    return done.stdout


class Service:
    """A server process with its directory and log."""

    def __init__(self, name, root):
        self.name = name
        self.dir = os.path.join(root, name)
        self.log = os.path.join(self.dir, 'log')
        self.process = None
        os.makedirs(self.dir)

    def start(self, argv, **kwargs):
        with open(self.log, 'ab') as log:
            kwargs.setdefault('stdin', subprocess.DEVNULL)
            kwargs.setdefault('stdout', log)
            self.process = subprocess.Popen(argv, stderr=log, cwd=self.dir, **kwargs)
        STARTED.append(self)

    def wait_port(self, port, seconds):
        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f'{self.name} ended:\n{self.tail()}')
            return answers(port)
        wait_for(ready, seconds, self.name)

    def tail(self, lines=15):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return ''.join(f.readlines()[-lines:])

    def kill(self):
        self.process.kill()
        self.process.wait()


def stop_all():
    """All at once; one that takes long is killed: nothing of it is needed again."""
    running = [s for s in STARTED if s.process.poll() is None]
    for service in running:
        service.process.terminate()
    end = time.monotonic() + 5
    for service in running:
        try:
            service.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.kill()
    STARTED.clear()


def run_test(test, name):
    """Run a whole test, in a directory of that name; the status to exit with.
    Whatever happens, nothing that it has started stays."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = os.path.join(os.environ['WORK'], name)
    os.makedirs(root)
    try:
        test(root, os.path.dirname(os.environ['PG_CONFIG']))
    except Exception:
        tap.ok(False, 'the test runs to its end', traceback.format_exc())
    finally:
        stop_all()
    print(f'1..{tap.count}')
    progress('end')
    return 1 if tap.failed else 0


class MariaDB(Service):
    """Its sql() serves MySQL too."""
    client = ['mariadb']

    def __init__(self, root):
        super().__init__('mariadb', root)
        run(['mariadb-install-db', '--no-defaults', f'--datadir={self.data()}',
             '--auth-root-authentication-method=normal', '--skip-test-db'], cwd=self.dir)
        self.start_server(['/usr/sbin/mariadbd'], '--binlog-format=ROW')
        # an anonymous user would catch 'dbz'@'localhost'
        self.sql("DELETE FROM mysql.global_priv WHERE user = ''; FLUSH PRIVILEGES;")
        self.make_user(', BINLOG MONITOR, SLAVE MONITOR')

    def data(self):
        return os.path.join(self.dir, 'data')

    def start_server(self, program, *settings):
        self.socket = os.path.join(self.dir, 's')
        self.port = free_port()
        self.start([*program, '--no-defaults', f'--datadir={self.data()}',
                    f'--socket={self.socket}', f'--port={self.port}',
                    '--bind-address=127.0.0.1', f'--pid-file={self.dir}/pid',
                    f'--tmpdir={self.dir}', '--server-id=1', '--log-bin=binlog', '--binlog-row-image=FULL',
                    '--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=64M',
                    '--character-set-server=utf8mb4', '--default-time-zone=+00:00', *settings])
        self.wait_port(self.port, 60)

    def make_user(self, more):
        """The user that Debezium connects as."""
        self.sql("CREATE USER dbz@'%' IDENTIFIED BY 'dbz';"
                 "GRANT SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT,"
                 f" LOCK TABLES{more} ON *.* TO dbz@'%';")

    def sql(self, text, database=None):
        return run([*self.client, '--no-defaults', '-S', self.socket, '-u', 'root', '-N',
                    '--batch', '--raw', '--default-character-set=utf8mb4',
                    *([database] if database else [])], input=text)


class MySQL(MariaDB):
    """The server and the client that the variables MYSQLD and MYSQL name: Debian
    has none."""
    client = os.environ.get('MYSQL', 'mysql').split()

    def __init__(self, root):
        Service.__init__(self, 'mysql', root)
        server = os.environ.get('MYSQLD', 'mysqld').split()
        run([*server, '--no-defaults', '--initialize-insecure', f'--datadir={self.data()}'], cwd=self.dir)
        self.start_server(server, '--gtid-mode=ON', '--enforce-gtid-consistency=ON', '--mysqlx=OFF',
                          '--secure-file-priv=')
        self.make_user('')


class PostgreSQL(Service):
    def __init__(self, name, root, bindir, settings):
        super().__init__(name, root)
        self.bindir = bindir
        self.environment = {}
        self.port = free_port()
        data = os.path.join(self.dir, 'data')
        run([f'{bindir}/initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
             '--no-locale', '--no-sync'])
        settings = {'listen_addresses': '127.0.0.1', 'unix_socket_directories': '', **settings}
        self.argv = [f'{bindir}/postgres', '-D', data, '-p', str(self.port),
                     *(f'--{name}={value}' for name, value in settings.items())]
        self.restart()

    def restart(self):
        self.start(self.argv, env={**os.environ, **self.environment})
        self.wait_port(self.port, 30)
        wait_for(self.ready, 60, self.name)

    def stop_fast(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def stop_immediate(self):
        """As pg_ctl stop -m immediate: no process is given the time to do anything."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def ready(self):
        return subprocess.run([f'{self.bindir}/pg_isready', '-q', '-h', '127.0.0.1', '-p',
                               str(self.port)], check=False).returncode == 0

    def sql(self, text, database='postgres'):
        """Run statements; what they return."""
        return run([f'{self.bindir}/psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1',
                    '-h', '127.0.0.1', '-p', str(self.port), '-U', 'postgres', '-d', database],
                   input=text)


def write(path, settings):
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'{name}={value}\n' for name, value in settings.items())


def logging_settings(directory):
    path = os.path.join(directory, 'log4j2.properties')
    write(path, {'status': 'error', 'appender.c.type': 'Console', 'appender.c.name': 'c',
                 'appender.c.target': 'SYSTEM_ERR',
                 'appender.c.layout.type': 'PatternLayout',
                 'appender.c.layout.pattern': '%d %p %c{1} %m%n',
                 'rootLogger.level': 'warn', 'rootLogger.appenderRef.c.ref': 'c'})
    return '-Dlog4j2.configurationFile=' + path


class Broker(Service):
    """A broker of Kafka that is small and quick; settings are added to what it
    needs in any case."""

    def __init__(self, name, root, classpath, node, controller, settings, jvm=SHORT_LIVED):
        super().__init__(name, root)
        self.classpath = classpath
        self.controller = controller
        path = os.path.join(self.dir, 'server.properties')
        write(path, {
            'node.id': node,
            'controller.quorum.voters': f'1@127.0.0.1:{controller}',
            'inter.broker.listener.name': 'PLAINTEXT',
            'controller.listener.names': 'CONTROLLER',
            'log.dirs': self.dir + '/data',
            'num.partitions': 1,
            'offsets.topic.replication.factor': 1,
            'offsets.topic.num.partitions': 1,
            'transaction.state.log.replication.factor': 1,
            'transaction.state.log.min.isr': 1,
            'transaction.state.log.num.partitions': 1,
            'share.coordinator.state.topic.replication.factor': 1,
            'share.coordinator.state.topic.min.isr': 1,
            'group.initial.rebalance.delay.ms': 0,
            # so that topics which ask for it lose records within a second
            'log.retention.check.interval.ms': 300,
            'log.initial.task.delay.ms': 1000,
            'log.cleaner.backoff.ms': 300,
            # a broker that was killed may come back at once
            'broker.session.timeout.ms': 1500,
            'broker.heartbeat.interval.ms': 300,
            **settings,
        })
        java = ['java', logging_settings(self.dir), '-cp', self.classpath]
        run([*java, 'kafka.tools.StorageTool', 'format', '-t', 'Y2Rjc3luYy1lMmUtdGVzdA', '-c', path],
            cwd=self.dir)
        self.argv = ['java', '-Xmx512m', *jvm, *java[1:], 'kafka.Kafka', path]

    def restart(self):
        self.start(self.argv)
        self.wait_port(self.port, 60)


def addresses(ports):
    """The listeners of a broker, by name, as it wants them."""
    return ','.join(f'{name}://127.0.0.1:{port}' for name, port in ports.items())


class Kafka(Broker):
    """A broker.  The first one is the controller too (KRaft); another one joins it.

    The warehouse has a listener of its own, whose address, as clients are told
    it, is that of a proxy.
    """

    def __init__(self, root, libs, first=None, jvm=SHORT_LIVED):
        self.node = 2 if first else 1
        self.port, warehouse = free_port(), free_port()
        controller = first.controller if first else free_port()
        self.bootstrap = f'127.0.0.1:{self.port}'
        self.proxy = Proxy(warehouse)
        listeners = {'PLAINTEXT': self.port, 'WAREHOUSE': warehouse}
        advertised = {**listeners, 'WAREHOUSE': self.proxy.port}
        if not first:
            listeners['CONTROLLER'] = controller
        super().__init__('kafka2' if first else 'kafka', root, libs + '/*', self.node, controller, {
            'process.roles': 'broker' if first else 'broker,controller',
            'listeners': addresses(listeners),
            'advertised.listeners': addresses(advertised),
            'listener.security.protocol.map':
                'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,WAREHOUSE:PLAINTEXT',
        }, jvm)
        self.restart()


class Connect(Service):
    """Kafka Connect, standalone, with all connectors in one process: what
    differs between them, the converters too, is in the connector's settings."""

    def __init__(self, root, kafka, plugins, connectors, jvm=SHORT_LIVED):
        super().__init__('connect', root)
        self.port = free_port()
        worker = os.path.join(self.dir, 'worker.properties')
        write(worker, {
            'bootstrap.servers': kafka.bootstrap,
            'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
            'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
            'offset.storage.file.filename': self.dir + '/offsets',
            # so that a kill leaves something to send again
            'offset.flush.interval.ms': 10000,
            'plugin.path': plugins,
            'plugin.discovery': 'service_load',
            'listeners': f'http://127.0.0.1:{self.port}',
        })
        files = []
        for settings in connectors:
            files.append(os.path.join(self.dir, settings['name'] + '.properties'))
            write(files[-1], settings)
        self.argv = ['java', '-Xmx1g', *jvm, logging_settings(self.dir),
                     '-cp', kafka.classpath, 'org.apache.kafka.connect.cli.ConnectStandalone',
                     worker, *files]
        self.start(self.argv)

    def restart(self):
        self.start(self.argv)

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError('Connect ended:\n' + self.tail(30))


class Admin(Service):
    """Admin.java, which does to a broker what no other tool here can: one
    command a line, one answer a line."""

    def __init__(self, root, kafka):
        super().__init__('admin', root)
        source = shutil.copy(os.path.join(HERE, 'Admin.java'), self.dir)
        self.start(['java', '-Xmx256m', *SHORT_LIVED, logging_settings(self.dir),
                    '-cp', kafka.classpath, source, kafka.bootstrap],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding='utf-8')
        self.answers = queue.Queue()
        self.one = threading.Lock()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.answers.put(line.rstrip('\n'))
        self.answers.put('error: the program ended')

    def do(self, *words):
        with self.one:
            self.process.stdin.write(' '.join(str(w) for w in words) + '\n')
            self.process.stdin.flush()
            answer = self.answers.get(timeout=60)
        if not answer.startswith('ok'):
            raise RuntimeError(f'{" ".join(map(str, words))}: {answer}\n{self.tail()}')
        return answer[3:]
