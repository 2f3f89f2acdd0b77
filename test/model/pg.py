"""A database session through psql, and the shape of the tests' output."""

import json
import os
import subprocess
import sys
import tempfile

from values import normal, normal_key

PINNED = ('-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres '
          '-c bytea_output=hex -c extra_float_digits=1')
ODD = ('-c DateStyle=SQL,DMY -c TimeZone=America/New_York '
       '-c IntervalStyle=iso_8601 -c bytea_output=escape')


class SqlError(Exception):
    def __init__(self, sqlstate, message, sql):
        super().__init__('%s: %s' % (sqlstate, message))
        self.sqlstate, self.message, self.sql = sqlstate, message, sql


class Session:
    """One long-lived psql process, fed through a pipe."""

    def __init__(self, database, settings=PINNED):
        environ = dict(os.environ, PGOPTIONS=settings, PGCLIENTENCODING='UTF8')
        self._errors = tempfile.TemporaryFile('w+', encoding='utf-8',
                                              errors='replace')
        self._psql = subprocess.Popen(
            ['psql', '-XAtq', '-d', database], env=environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, encoding='utf-8')
        self._read_errors = 0
        self.log = []           # every statement, for a reproduction

    def _stderr(self):
        self._errors.seek(self._read_errors)
        text = self._errors.read()
        self._read_errors = self._errors.tell()
        return text

    def run(self, sql, log=True):
        """Run one statement; its output as text.  Raises SqlError."""
        return self.batch([sql], log)[0]

    def batch(self, statements, log=True):
        """Run statements in one go; their outputs.  All run, whatever fails;
        then SqlError is raised for the first that did."""
        if log:
            self.log += statements
        try:
            self._psql.stdin.write(''.join(
                sql + '\n;\n\\echo \x02 :SQLSTATE\n' for sql in statements))
            self._psql.stdin.flush()
        except BrokenPipeError:
            raise SqlError('08006', 'connection lost: ' + self._stderr(),
                           statements[0])
        answers = [self._answer(sql) for sql in statements]
        self.notices = self._stderr()
        for sql, (state, _) in zip(statements, answers):
            if state != '00000':
                raise SqlError(state, self.notices.strip(), sql)
        return [output for _, output in answers]

    def _answer(self, sql):
        """SQLSTATE and output of the statement that is next."""
        lines = []
        while True:
            line = self._psql.stdout.readline()
            if line == '':
                raise SqlError('08006', 'connection lost: ' + self._stderr(),
                               sql)
            if line.startswith('\x02 '):
                return line.split()[1], ''.join(lines).rstrip('\n')
            lines.append(line)

    def json(self, sql):
        """The value of a query that gives one json value."""
        return json.loads(self.run(sql, log=False))

    def row(self, call):
        """The one row of SELECT * FROM call, as a dict."""
        return json.loads(self.run(row_sql(call)))

    def close(self):
        self._psql.stdin.close()
        self._psql.wait()
        self._errors.close()


def row_sql(call):
    return 'SELECT row_to_json(r) FROM %s r' % call


class Database:
    """A database of its own with the extension, dropped at the end."""

    def __init__(self, name, settings=PINNED, keep=False):
        self.name, self._keep = name, keep
        self._admin = Session(os.environ.get('PGDATABASE', 'postgres'))
        self._drop()
        self._admin.run("CREATE DATABASE %s TEMPLATE template0 "
                        "ENCODING 'UTF8'" % name)
        self.app = Session(name, settings)      # creates, inserts, syncs
        self.reader = Session(name)             # looks
        self.app.run('CREATE EXTENSION cdcsync')

    def _drop(self):
        self._admin.run('DROP DATABASE IF EXISTS %s WITH (FORCE)' % self.name)

    def close(self):
        self.app.close()
        self.reader.close()
        if not self._keep:
            self._drop()
        self._admin.close()


def ident(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    if text is None:
        return 'NULL'
    if '\\' in text:
        return " E'" + text.replace('\\', '\\\\').replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"


def bytes_literal(data):
    """Readable where it can be: these statements end up in reproductions."""
    if data is None:
        return 'NULL'
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:
        return "'\\x" + data.hex() + "'::bytea"
    return "convert_to(%s, 'UTF8')" % literal(text)


def create_table(name, table, constraints=()):
    columns = ['%s %s%s%s' % (ident(c.name), c.sql,
                              ' NOT NULL' if c.notnull else '',
                              '' if c.default is None
                              else ' DEFAULT ' + literal(c.default))
               for c in table.columns]
    columns.append('PRIMARY KEY (%s)' % ', '.join(map(ident, table.key)))
    return 'CREATE TABLE %s (%s)' % (name, ', '.join(columns
                                                     + list(constraints)))


def columns_argument(table, all_names=True):
    """The "columns" argument: what is mapped or read in another way.

    Names that differ in case alone match without it, and a column
    refresh_time is the pseudo-field.
    """
    mapping = {}
    for c in table.columns:
        if c.reading:
            mapping[c.name] = dict(c.reading, field=c.field)
        elif c.field != c.name and (all_names or c.name.lower() not in
                                    (c.field.lower(), c.field.lower()[1:])):
            mapping[c.name] = c.field
    return mapping


def create_pipeline(session, name, table, target=None, options=None, key=None,
                    all_names=True):
    args = [literal(name)]
    if target:
        args.append('target => %s' % literal(target))
    if key:
        args.append('key => ARRAY[%s]' % ', '.join(map(literal, key)))
    columns = columns_argument(table, all_names)
    if target and columns:
        args.append('columns => %s' % literal(json.dumps(columns)))
    if options:
        args.append('options => %s' % literal(json.dumps(options)))
    session.run('SELECT cdc_create(%s)' % ', '.join(args))


def insert(session, name, records):
    """INSERT records into the landing view, with partition and offset."""
    if records:
        session.run(insert_sql(name, records))


def insert_sql(name, records):
    rows = []
    timed = all(r.timestamp is not None for r in records)
    for r in records:
        headers = 'NULL' if not r.headers else literal(json.dumps(
            [{'key': k, 'value': v} for k, v in r.headers],
            ensure_ascii=False)) + '::jsonb'
        rows.append('(%d, %d, %s, %s, %s%s)' % (
            r.partition, r.offset, bytes_literal(r.key),
            bytes_literal(r.value), headers, '' if not timed else
            ", timestamp '2026-01-01' + %d * interval '1 ms'" % r.timestamp))
    return ('INSERT INTO %s (kafka_partition, kafka_offset, kafka_key, '
            'kafka_value, kafka_headers%s) VALUES %s'
            % (ident(name + '_debezium'),
               ', kafka_timestamp' if timed else '', ',\n'.join(rows)))


def announce(session, name, partitions):
    """A heartbeat in each partition, so that the landing knows them all."""
    session.run('INSERT INTO %s (kafka_partition, kafka_offset, kafka_value) '
                "SELECT p, 0, '{\"ts_ms\":1}' FROM generate_series(0, %d) p"
                % (ident(name + '_debezium'), partitions - 1))
    sync(session, name)


def sync_sql(name, max_windows=None):
    more = '' if max_windows is None else ', %d' % max_windows
    return row_sql('cdc_sync(%s%s)' % (literal(name), more))


def sync(session, name, max_windows=None):
    return json.loads(session.run(sync_sql(name, max_windows)))


def rows(session, relation, table, extra=''):
    """The target as {key: {column: text}}, in the fold's spelling."""
    return read_rows(session.json(rows_sql(relation, table, extra=extra)),
                     relation, table)


def rows_sql(relation, table, more=(), extra=''):
    """The query whose result read_rows() reads; more: further columns."""
    exprs = ["CASE WHEN %s IS NOT NULL THEN format('%%s', %s) END"
             % (ident(c.name), ident(c.name)) for c in table.columns]
    return ("SELECT coalesce(json_agg(json_build_array(%s)), '[]') "
            "FROM %s %s" % (', '.join([*exprs, *more]), relation, extra))


def read_rows(data, relation, table):
    out = {}
    for values in data:
        row = {c.name: normal(v, c.sql) for c, v in zip(table.columns, values)}
        key = tuple(normal_key(row[k], table.by_name[k].sql)
                    for k in table.key)
        if key in out:
            raise AssertionError('key %r is twice in %s' % (key, relation))
        out[key] = row
    return out


def quarantine(session, name):
    """{(partition, offset): row} of what is in quarantine."""
    return read_quarantine(session.json(quarantine_sql(name)))


def quarantine_sql(name):
    return ("SELECT coalesce(json_agg(q), '[]') FROM (SELECT kafka_partition, "
            "kafka_offset, column_name, sqlstate, message, blocked_by "
            "FROM cdcsync.quarantine WHERE pipeline = %s) q" % literal(name))


def read_quarantine(data):
    return {(q['kafka_partition'], q['kafka_offset']): q for q in data}


class Report:
    """Lines that say ok or not ok, and the sum."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, problems):
        """problems: what is wrong, empty if nothing is."""
        if isinstance(problems, bool):
            problems = [] if problems else ['false']
        if not problems:
            self.passed += 1
            print('ok %d - %s' % (self.passed + self.failed, name), flush=True)
            return True
        self.failed += 1
        print('not ok %d - %s' % (self.passed + self.failed, name))
        for problem in list(problems)[:8]:
            print('#   ' + str(problem)[:600].replace('\n', '\n#   '))
        if len(problems) > 8:
            print('#   .. and %d more' % (len(problems) - 8))
        sys.stdout.flush()
        return False

    def end(self):
        print('%d passed, %d failed' % (self.passed, self.failed))
        return 1 if self.failed else 0
