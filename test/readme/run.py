#!/usr/bin/python3
"""Run every SQL example of README.md and docs/*.md.

usage: run.py [--update] [FILE..]

The connection comes from the PG* variables; the user must be able to create
databases and roles.  Needs build/mock_broker.

Each ```sql block is given to psql, in the order of the document.  A ```text
block that follows it, with nothing but blank lines between, is the output that
psql prints; it is compared up to the amount of white space, and a time in it
stands for itself or for any time of this very day.  Blocks of one document
share a database and a broker.  HTML comments, which readers do not see, say
more about what follows them:

  <!-- fresh database -->               go on in another database, with another broker
  <!-- feed: FILE TOPIC FIRST LAST -->  recorded events, by offset, to a topic
  <!-- fails: SQLSTATE -->              the block's last statement, and no other,
                                        must fail with it
  <!-- not run: REASON -->              the block is counted as skipped

In the examples the broker is localhost:9092.  --update writes the output that
came into the documents, where there is a block for it: look at what changed.

At the end, the documents must explain every function, setting, option and relation
there is, and name every column and every file of src/; the messages of README.md's
section on troubleshooting must be in the sources, and links within the documents
must lead to something.
"""
import datetime
import glob
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
README = os.path.join(REPO, 'README.md')
DOCUMENTS = [README, *sorted(glob.glob(os.path.join(REPO, 'docs', '*.md')))]
FIXTURES = os.path.join(REPO, 'test', 'fixtures')
sys.path.insert(0, os.path.join(REPO, 'test', 'tools'))
from broker import record  # noqa: E402

BROKER_IN_EXAMPLES = 'localhost:9092'
FENCE = re.compile(r'```(\w*)$')
COMMENT = re.compile(r'<!-- (fresh database|feed|fails|not run)(?:: (.*?))? -->$')
TIME = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d)?)?')


@dataclass
class Example:
    """A ```sql block, what comments say of it, and the output after it."""
    line: int
    sql: str = ''
    comments: list = field(default_factory=list)
    output: str = None
    output_lines: tuple = None      # of the document, without the fences


def examples_of(lines):
    """The examples of a document, which is a list of lines."""
    examples, comments, last, i = [], [], None, 0
    while i < len(lines):
        if m := COMMENT.match(lines[i]):
            comments.append((m[1], m[2]))
            last = None
        elif m := FENCE.match(lines[i]):
            start = i + 1
            i = lines.index('```', start)
            text = '\n'.join(lines[start:i])
            if m[1] == 'sql':
                last = Example(start + 1, text, comments)
                examples.append(last)
                comments = []
            else:
                if m[1] == 'text' and last:
                    last.output, last.output_lines = text, (start, i)
                last = None
        elif lines[i].strip():
            last = None
        i += 1
    if comments:
        raise ValueError(f'comment without a block after it: {comments[0]}')
    return examples


class Broker:
    """The mock broker, for the examples of one database."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(REPO, 'build', 'mock_broker')], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = self.process.stdout.readline().strip()
        self.topics = set()

    def command(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.startswith('ok'):
            raise RuntimeError(f'the broker says {answer!r} to {line[:60]!r}')

    def feed(self, file, topic, first, last):
        if topic not in self.topics:
            self.command(f'topic {topic} 1')
            self.topics.add(topic)
        with open(os.path.join(FIXTURES, file), encoding='utf-8') as events:
            for event in map(json.loads, events):
                if not int(first) <= event['offset'] <= int(last):
                    continue
                self.command(record(topic, event['partition'], event['ts'], event['key'],
                                    event['payload'], event['headers']))
        self.command('sync')

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def psql(database, sql, *options):
    """Exit status and output of psql, messages included."""
    env = dict(os.environ, PGDATABASE=database, PGTZ='UTC', PGOPTIONS='-c lc_messages=C')
    done = subprocess.run(['psql', '-X', '-q', '-P', 'pager=off', *options], input=sql, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding='utf-8',
                          timeout=120, check=False)
    return done.returncode, done.stdout


def must(database, sql):
    status, output = psql(database, sql, '-v', 'ON_ERROR_STOP=1', '-At')
    if status != 0:
        sys.exit(output)
    return output.split('\n')[:-1]


class Place:
    """A database and a broker, and what is left of them in the cluster."""

    def __init__(self, maintenance):
        self.maintenance, self.database = maintenance, None
        self.roles = set(self.all_roles())
        self.number = 0

    def all_roles(self):
        return must(self.maintenance, 'SELECT rolname FROM pg_roles')

    def fresh(self):
        self.leave()
        self.number += 1
        self.database = f'cdc_readme_{os.getpid()}_{self.number}'
        must(self.maintenance, f"CREATE DATABASE {self.database} TEMPLATE template0 ENCODING 'UTF8'")
        self.broker = Broker()

    def leave(self):
        if self.database:
            self.broker.close()
            psql(self.database, 'SELECT cdc_stop()')    # if there is such a thing
            must(self.maintenance, f'DROP DATABASE {self.database}')
            self.database = None
            for role in set(self.all_roles()) - self.roles:
                must(self.maintenance, f'DROP ROLE "{role}"')


def is_today(text):
    time = datetime.datetime.fromisoformat(text[:19])
    return abs(datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - time) < datetime.timedelta(days=1)


def words(text):
    """Text without its amounts of white space: lines of words."""
    text = re.sub(r'-{3,}', '---', text)
    return [' '.join(line.split()) for line in text.strip('\n').split('\n')]


def same(expected, actual):
    one, two = words(expected), words(actual)
    if len(one) != len(two):
        return False
    for a, b in zip(one, two):
        if TIME.sub('T', a) != TIME.sub('T', b):
            return False
        for then, now in zip(TIME.findall(a), TIME.findall(b)):
            if then != now and not is_today(now):
                return False
    return True


def run(example, place):
    """The output of the example, and what is wrong with it or None."""
    fails = skipped = None
    for what, argument in example.comments:
        if what == 'fresh database':
            place.fresh()
        elif what == 'feed':
            place.broker.feed(*argument.split())
        elif what == 'fails':
            fails = argument
        else:
            skipped = argument
    if skipped:
        return None, 'skipped: ' + skipped
    sql = example.sql.replace(BROKER_IN_EXAMPLES, place.broker.address)
    if fails:
        status, output = psql(place.database, sql + '\n\\echo\n\\echo :ERROR :LAST_ERROR_SQLSTATE\n')
        output, _, got = output.rstrip('\n').rpartition('\n')
        errors = len(re.findall('^ERROR: ', output, re.M))
        if status != 0 or got != f't {fails}' and got != f'true {fails}' or errors != 1:
            return output, f'should fail with {fails}, and only at the end; says "{got}" after {errors} errors'
    else:
        status, output = psql(place.database, sql, '-v', 'ON_ERROR_STOP=1')
        if status != 0:
            return output, f'fails:\n{output}'
    output = output.replace(place.broker.address, BROKER_IN_EXAMPLES)
    if example.output is not None and not same(example.output, output):
        return output, f'gives\n{output}\ninstead of\n{example.output}'
    return output, None


def written(output):
    """Output as it is written into a document: no blanks at the ends of lines."""
    return [line.rstrip() for line in output.strip('\n').split('\n')]


class Count:
    passed = failed = skipped = 0

    def note(self, name, problem):
        number = self.passed + self.failed + self.skipped + 1
        if problem is None:
            self.passed += 1
            print(f'ok {number} - {name}')
        elif problem.startswith('skipped: '):
            self.skipped += 1
            print(f'ok {number} - {name} # SKIP {problem[9:]}')
        else:
            self.failed += 1
            print(f'not ok {number} - {name}')
            print('\n'.join('# ' + line for line in problem.split('\n')))


def run_document(path, place, count, update):
    name = os.path.relpath(path, REPO)
    with open(path, encoding='utf-8') as document:
        lines = document.read().split('\n')
    examples = examples_of(lines)
    if not examples:
        return
    place.fresh()
    new = {}
    for example in examples:
        output, problem = run(example, place)
        if update and example.output is not None and output is not None:
            if problem and problem.startswith('gives'):
                new[example.output_lines] = written(output)
        count.note(f'{name}:{example.line}', problem)
    place.leave()
    for (start, end), output in sorted(new.items(), reverse=True):
        lines[start:end] = output
    if new:
        with open(path, 'w', encoding='utf-8') as document:
            document.write('\n'.join(lines))


# What brings an error whose hint lists all names there are.
HINTS = {
    'option of a pipeline': """SELECT cdc_create('y', options => '{"?": 1}')""",
    'pseudo-field': """SELECT cdc_create('y', columns => '{"a": "$?"}')""",
    'member of a reading': """SELECT cdc_create('y', columns => '{"a": {"?": 1}}')""",
    'option of a server': 'CREATE SERVER y FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (x_x \'\')',
    'option of a user mapping': 'CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (x_x \'\')',
    'option of a foreign table': 'CREATE FOREIGN TABLE y () SERVER s OPTIONS (x_x \'\')',
}
QUERIES = {
    'function': """SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
        WHERE p.pronamespace <> 'cdcsync'::regnamespace AND d.classid = 'pg_proc'::regclass AND d.refobjid =
        (SELECT oid FROM pg_extension WHERE extname = 'cdcsync')""",
    'relation': """SELECT replace(c.oid::regclass::text, '"', '') FROM pg_class c
        JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind IN ('r', 'v') AND d.classid = 'pg_class'::regclass AND d.refobjid =
        (SELECT oid FROM pg_extension WHERE extname = 'cdcsync')""",
    'column': """SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid IN ('cdc_status'::regclass,
        'debezium_last_extract'::regclass, 'cdcsync.quarantine'::regclass, 'x_debezium'::regclass)""",
    # without that of a build for tests
    'setting': """LOAD 'cdcsync'; SELECT name FROM pg_settings WHERE name LIKE 'cdcsync.%'
        AND name <> 'cdcsync.fault'""",
    'column of staging': """SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid = 'x_stg'::regclass
        AND attname <> 'id'""",
}


# Where there has to be more of a name than a mention: a heading, or a row of a table.
CHAPTERS = {
    'function': 'docs/functions.md',
    'setting': 'README.md',
    'relation': 'README.md',
    'pseudo-field': 'README.md',
    'member of a reading': 'README.md',
    'option of a pipeline': 'docs/options.md',
    'option of a server': 'docs/options.md',
    'option of a user mapping': 'docs/options.md',
    'option of a foreign table': 'docs/options.md',
}


def titles_of(path):
    """Headings, and what the rows of tables begin with."""
    text = re.sub(r'(?ms)^```.*?^```$', '', read(os.path.join(REPO, path)))
    return ' '.join(re.findall(r'(?m)^#+ (.*)$', text) + re.findall(r'(?m)^\| ([^|]*) \|', text))


def names_of(database):
    """(kind, name) of everything that a user can write or see."""
    must(database, """CREATE EXTENSION cdcsync; CREATE TABLE x (id int PRIMARY KEY);
        CREATE SERVER s FOREIGN DATA WRAPPER cdcsync_kafka; SELECT cdc_create('x', target => 'x')""")
    for kind, sql in HINTS.items():
        _, output = psql(database, sql)
        for name in re.search(r'HINT: .* are: (.*)\.$', output, re.M)[1].split(', '):
            yield kind, name
    for kind, sql in QUERIES.items():
        for name in must(database, sql):
            yield kind, name


def read(path):
    with open(path, encoding='utf-8') as document:
        return document.read()


def check_complete(place, count):
    """Do the documents name all there is, as code and outside of examples?"""
    text = re.sub(r'(?ms)^```(sql|text|sh)$.*?^```$', '', '\n'.join(map(read, DOCUMENTS)))
    code = ' '.join(re.findall('```.*?```|`[^`\n]+`', text, re.S)) + ' '.join(re.findall('^#.*', text, re.M))
    titles = {path: titles_of(path) for path in set(CHAPTERS.values())}
    place.fresh()
    missing = [f'{kind} {name}' for kind, name in names_of(place.database)
               if not re.search(rf'(?<![\w$]){re.escape(name)}(?!\w)',
                                titles[CHAPTERS[kind]] if kind in CHAPTERS else code)]
    place.leave()
    count.note('the documents explain all there is', 'they do not explain:\n' + '\n'.join(missing) if missing else None)


def check_files(count):
    """Does the reader's path through the sources lead to all of them?"""
    named = re.findall(r'`(\w+)(\*?)\.c`', read(README))
    sources = sorted(os.path.basename(path)[:-2] for path in glob.glob(os.path.join(REPO, 'src', '*.c')))
    missing = [name for name in sources if not any(name.startswith(part) if star else name == part for part, star in named)]
    count.note('README.md names all files of src/', '\n'.join(missing) or None)


LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:\s*(?:INT64_FORMAT|"(?:[^"\\\n]|\\.)*"))*')
SQL_MESSAGE = re.compile(r"RAISE EXCEPTION '([^'\n]*)'")
CONVERSION = re.compile(r'%(?:\.\*)?(?:ll|z)?[a-zA-Z]')


def messages_of_sources():
    """Everything that may be a message, as patterns."""
    for path in glob.glob(os.path.join(REPO, 'src', '*.[ch]')):
        with open(path, encoding='utf-8') as source:
            for literal in LITERAL.findall(source.read()):
                parts = re.findall(r'"((?:[^"\\]|\\.)*)"', literal.replace('INT64_FORMAT', '"%d"'))
                yield '.+'.join(map(re.escape, CONVERSION.split(''.join(parts).replace('\\"', '"'))))
    with open(os.path.join(REPO, 'cdcsync--1.0.sql'), encoding='utf-8') as script:
        for message in SQL_MESSAGE.findall(script.read()):
            yield '.+'.join(map(re.escape, message.split('%')))


def check_messages(count):
    """Are the messages that troubleshooting begins its rows with real ones?"""
    section = re.search(r'(?ms)^## Troubleshooting$(.*?)^## ', read(README))[1]
    messages = re.findall(r'^\| `([^`]+)`', section, re.M)
    # a pattern that any text matches says nothing
    patterns = [re.compile(p) for p in messages_of_sources() if len(p.replace('.+', '')) > 10]
    unknown = [m for m in messages if not any(p.fullmatch(m) for p in patterns)]
    if not messages:
        unknown = ['(there are no messages)']
    count.note(f'{len(messages)} messages of README.md are in the sources',
               'not in the sources:\n' + '\n'.join(unknown) if unknown else None)


def anchors_of(path):
    """What links can lead to in a document, as GitHub names its headings."""
    headings = re.findall(r'(?m)^#+ (.*)$', re.sub(r'(?ms)^```.*?^```$', '', read(path)))
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def check_links(count):
    """Does each link within the documents lead to something?"""
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'(?ms)^```.*?^```$', '', read(path))):
            name, _, anchor = target.partition('#')
            file = os.path.join(os.path.dirname(path), name) if name else path
            if '://' not in target and (not os.path.exists(file) or anchor and anchor not in anchors_of(file)):
                broken.append(f'{os.path.relpath(path, REPO)}: {target}')
    count.note('links lead to something', '\n'.join(broken) or None)


def main():
    arguments = sys.argv[1:]
    update = '--update' in arguments
    files = [a for a in arguments if a != '--update'] or \
        DOCUMENTS
    place, count = Place(os.environ.get('PGDATABASE', 'postgres')), Count()
    try:
        for path in files:
            run_document(os.path.abspath(path), place, count, update)
        check_complete(place, count)
        check_files(count)
        check_messages(count)
        check_links(count)
    finally:
        place.leave()
    print(f'{count.passed} passed, {count.failed} failed, {count.skipped} skipped')
    return count.failed > 0


if __name__ == '__main__':
    sys.exit(main())
