"""The servers of the end-to-end test: each a process of ours, in a directory of
its own, on a free port of the loopback interface, stopped by its own pid."""
import os
import queue
import shutil
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STARTED = []


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


class MariaDB(Service):
    def __init__(self, root):
        super().__init__('mariadb', root)
        data = os.path.join(self.dir, 'data')
        self.socket = os.path.join(self.dir, 's')
        self.port = free_port()
        run(['mariadb-install-db', '--no-defaults', f'--datadir={data}',
             '--auth-root-authentication-method=normal', '--skip-test-db'], cwd=self.dir)
        self.start(['/usr/sbin/mariadbd', '--no-defaults', f'--datadir={data}',
                    f'--socket={self.socket}', f'--port={self.port}',
                    '--bind-address=127.0.0.1', f'--pid-file={self.dir}/pid',
                    f'--tmpdir={self.dir}', '--server-id=1', '--log-bin=binlog',
                    '--binlog-format=ROW', '--binlog-row-image=FULL',
                    '--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=64M',
                    '--character-set-server=utf8mb4', '--default-time-zone=+00:00'])
        self.wait_port(self.port, 60)
        # an anonymous user would catch 'dbz'@'localhost'
        self.sql("DELETE FROM mysql.global_priv WHERE user = ''; FLUSH PRIVILEGES;"
                 "CREATE USER dbz@'%' IDENTIFIED BY 'dbz';"
                 "GRANT SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT,"
                 " BINLOG MONITOR, SLAVE MONITOR, LOCK TABLES ON *.* TO dbz@'%';")

    def sql(self, text, database=None):
        return run(['mariadb', '--no-defaults', '-S', self.socket, '-u', 'root', '-N',
                    '--batch', '--raw', '--default-character-set=utf8mb4',
                    *([database] if database else [])], input=text)


class PostgreSQL(Service):
    """A source: the warehouse is the server that we are given."""

    def __init__(self, root, bindir):
        super().__init__('postgres', root)
        self.bindir = bindir
        self.port = free_port()
        data = os.path.join(self.dir, 'data')
        run([f'{bindir}/initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
             '--no-locale', '--no-sync'])
        self.start([f'{bindir}/postgres', '-D', data, '-p', str(self.port),
                    '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=',
                    '-c', 'wal_level=logical', '-c', 'fsync=off', '-c', 'wal_sender_timeout=0'])
        self.wait_port(self.port, 30)
        wait_for(self.ready, 30, 'PostgreSQL')

    def ready(self):
        return subprocess.run([f'{self.bindir}/pg_isready', '-q', '-h', '127.0.0.1', '-p',
                               str(self.port)], check=False).returncode == 0

    def sql(self, text, database='postgres'):
        return run([f'{self.bindir}/psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1',
                    '-h', '127.0.0.1', '-p', str(self.port), '-U', 'postgres', '-d', database],
                   input=text)


def write(path, settings):
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'{name}={value}\n' for name, value in settings.items())


def logging_settings(directory):
    path = os.path.join(directory, 'log4j2.properties')
    write(path, {'status': 'error', 'appender.c.type': 'Console', 'appender.c.name': 'c',
                 'appender.c.layout.type': 'PatternLayout',
                 'appender.c.layout.pattern': '%d %p %c{1} %m%n',
                 'rootLogger.level': 'warn', 'rootLogger.appenderRef.c.ref': 'c'})
    return '-Dlog4j2.configurationFile=' + path


class Kafka(Service):
    """One broker that is its own controller (KRaft)."""

    def __init__(self, root, libs):
        super().__init__('kafka', root)
        self.classpath = libs + '/*'
        self.port, controller = free_port(), free_port()
        self.bootstrap = f'127.0.0.1:{self.port}'
        settings = os.path.join(self.dir, 'server.properties')
        write(settings, {
            'process.roles': 'broker,controller',
            'node.id': 1,
            'controller.quorum.voters': f'1@127.0.0.1:{controller}',
            'listeners': f'PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}',
            'advertised.listeners': f'PLAINTEXT://{self.bootstrap}',
            'inter.broker.listener.name': 'PLAINTEXT',
            'controller.listener.names': 'CONTROLLER',
            'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
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
        })
        java = ['java', logging_settings(self.dir), '-cp', self.classpath]
        run([*java, 'kafka.tools.StorageTool', 'format', '-t', 'Y2Rjc3luYy1lMmUtdGVzdA',
             '-c', settings], cwd=self.dir)
        self.start(['java', '-Xmx512m', '-XX:TieredStopAtLevel=1', *java[1:], 'kafka.Kafka', settings])
        self.wait_port(self.port, 60)


class Connect(Service):
    """Kafka Connect, standalone, with all connectors in one process: what
    differs between them, the converters too, is in the connector's settings."""

    def __init__(self, root, kafka, plugins, connectors):
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
        self.argv = ['java', '-Xmx1g', '-XX:TieredStopAtLevel=1', logging_settings(self.dir),
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
        self.start(['java', '-Xmx256m', '-XX:TieredStopAtLevel=1', logging_settings(self.dir),
                    '-cp', kafka.classpath, source, kafka.bootstrap],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding='utf-8')
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.answers.put(line.rstrip('\n'))
        self.answers.put('error: the program ended')

    def do(self, *words):
        self.process.stdin.write(' '.join(str(w) for w in words) + '\n')
        self.process.stdin.flush()
        answer = self.answers.get(timeout=60)
        if not answer.startswith('ok'):
            raise RuntimeError(f'{" ".join(map(str, words))}: {answer}\n{self.tail()}')
        return answer[3:]
