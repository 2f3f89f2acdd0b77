#!/usr/bin/python3
"""Run every SQL example of the README, in its order, in one database.

A block that is fenced as "```sql" is run; it must raise no error, unless a
comment in it says "-- ERROR: text", and then just that one.  "```sql no-test"
is for what cannot run here, and says so to the reader of the source; other
languages are left alone.  The broker of the examples, localhost:9092, is one of
ours with recorded events of salesdb.salesdb.CUSTOMER in it.

Environment: PGHOST, PGPORT, PGUSER: a server that has the extension.
Prints TAP.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + '/tools')
from broker import recorded     # noqa: E402

BLOCK = re.compile(r'^```sql([^\n]*)\n(.*?)^```', re.M | re.S)
EXPECTED = re.compile(r'-- ERROR: *(.*)')
DATABASE = 'readme'


def blocks(text):
    """(line, info, sql) of each fenced block."""
    for m in BLOCK.finditer(text):
        yield text.count('\n', 0, m.start()) + 1, m[1].strip(), m[2]


class Broker:
    """The mock broker as a child: it ends when its input does."""

    def __init__(self):
        self.process = subprocess.Popen([HERE + '/../build/mock_broker'], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.address = self.process.stdout.readline().strip()

    def do(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.startswith('ok'):
            raise RuntimeError(f'the broker says: {answer}')


def psql(sql, database=DATABASE):
    return subprocess.run(['psql', '-X', '-q', '-d', database, '-v', 'ON_ERROR_STOP=1', '-P', 'pager=off'],
                          input=sql, text=True, encoding='utf-8', check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def judge(done, sql):
    """None, or what is wrong."""
    want = EXPECTED.search(sql)
    if want is None:
        return None if done.returncode == 0 else done.stdout
    if done.returncode == 0:
        return 'no error, but this one was expected: ' + want[1]
    return None if want[1].strip() in done.stdout else done.stdout


def main():
    with open(HERE + '/../README.md', encoding='utf-8') as f:
        readme = f.read()
    broker = Broker()
    topic = 'salesdb.salesdb.CUSTOMER'
    broker.do(f'topic {topic} 1')
    for line in recorded(HERE + '/fixtures/recorded/mariadb_plain.CUSTOMER.jsonl', topic, 0, 16):
        broker.do(line)
    broker.do('sync')
    created = psql(f'CREATE DATABASE {DATABASE}', 'postgres')
    if created.returncode != 0:
        sys.exit(created.stdout)

    count = failed = 0
    for line, info, sql in blocks(readme):
        count += 1
        title = f'README.md, line {line}: {sql.strip().splitlines()[0]}'.replace('#', '')
        if info == 'no-test':
            print(f'ok {count} - {title} # SKIP it cannot run here')
            continue
        wrong = judge(psql(sql.replace('localhost:9092', broker.address)), sql)
        failed += wrong is not None
        print(f'{"" if wrong is None else "not "}ok {count} - {title}', flush=True)
        for text in (wrong or '').splitlines()[-15:]:
            print('#   ' + text)
    print(f'1..{count}')
    broker.process.stdin.close()
    broker.process.wait(20)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
