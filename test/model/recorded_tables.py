"""The recorded topics: targets of natural types, and the source's tables."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree

from fold import Column, Record, Table
from values import normal, normal_key

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      '..', 'fixtures', 'recorded')


def ms(name, sql):
    return Column(name, sql, reading={'unit': 'ms'})


def us(name, sql):
    return Column(name, sql, reading={'unit': 'us'})


def plain(*pairs):
    return [Column(name, sql) for name, sql in pairs]


CUSTOMER = plain(('CUST_ID', 'varchar(20)'), ('NAME', 'varchar(40)'),
                 ('MKTSEGMENT', 'varchar(20)'), ('CITY', 'varchar(20)'))
CK = plain(('k1', 'int'), ('k2', 'varchar(10)'), ('v', 'numeric(10,2)'))
TR = plain(('id', 'int'), ('v', 'varchar(5)'))
NOPK = plain(('a', 'int'), ('b', 'varchar(10)'))

T1_HEAD = [('id', 'bigint'), ('ti', 'smallint'), ('tib', 'smallint'),
           ('tiu', 'smallint'), ('si', 'smallint'), ('siu', 'int'),
           ('mi', 'int'), ('i', 'int'), ('iu', 'bigint'), ('bi', 'bigint')]
T1_MIDDLE = [('f', 'real'), ('dbl', 'double precision'),
             ('dec1', 'numeric(10,2)'), ('dec2', 'numeric(38,10)'),
             ('dec0', 'numeric(5,0)'), ('num', 'numeric(20,4)'),
             ('bt1', 'boolean'), ('bt', 'bit(8)'), ('bt20', 'bit(20)'),
             ('bl', 'boolean'), ('c', 'char(5)'), ('vc', 'varchar(50)'),
             ('tx', 'text'), ('mt', 'text')]
T1_BYTES = [('bn', 'bytea'), ('vb', 'bytea'), ('bb', 'bytea')]
T1_TAIL = [('ts', 'timestamptz'), ('ts6', 'timestamptz'), ('y', 'smallint'),
           ('uu', 'uuid'), ('pt', 'point'), ('gen', 'int')]

# Schemaless numbers do not say their unit: the columns say it.
T1_PLAIN = plain(*T1_HEAD) \
    + [Column('biu', 'numeric(20,0)', reading={'unsigned': True})] \
    + plain(*T1_MIDDLE, *T1_BYTES, ('en', 'text'), ('st', 'text'),
            ('js', 'jsonb'), ('d', 'date')) \
    + [us('t', 'interval'), us('t3', 'time(3)'), us('t6', 'interval'),
       ms('dt', 'timestamp'), ms('dt3', 'timestamp(3)'),
       us('dt6', 'timestamp(6)')] + plain(*T1_TAIL)

# binary.handling.mode=base64: the schema says string, so the columns say it.
T1_SCHEMA = plain(*T1_HEAD, ('biu', 'numeric(20,0)'), *T1_MIDDLE) \
    + [Column(name, sql, reading={'encoding': 'base64'})
       for name, sql in T1_BYTES] \
    + plain(('en', 'text'), ('st', 'text'), ('js', 'jsonb'), ('d', 'date'),
            ('t', 'time'), ('t3', 'time(3)'), ('t6', 'time'),
            ('dt', 'timestamp'), ('dt3', 'timestamp(3)'),
            ('dt6', 'timestamp(6)'), *T1_TAIL)

MYSQL_CUSTOMER = CUSTOMER[:3]
M1_PLAIN = plain(('id', 'int'), ('vc', 'varchar(50)'), ('js', 'jsonb')) \
    + [Column('biu', 'numeric(20,0)', reading={'unsigned': True})] \
    + plain(('dec1', 'numeric(10,2)'), ('bt', 'bit(8)'), ('vb', 'bytea'),
            ('en', 'text'), ('y', 'smallint'), ('d', 'date')) \
    + [us('t6', 'interval'), ms('dt', 'timestamp'), us('dt6', 'timestamp')] \
    + plain(('ts6', 'timestamptz'), ('pt', 'point'), ('vec', 'real[]'))
M1_SCHEMA = plain(('id', 'int'), ('vc', 'varchar(50)'), ('js', 'jsonb'),
                  ('biu', 'numeric(20,0)'), ('dec1', 'numeric(10,2)'),
                  ('bt', 'bit(8)')) \
    + [Column('vb', 'bytea', reading={'encoding': 'base64'})] \
    + plain(('en', 'text'), ('y', 'smallint'), ('d', 'date'), ('t6', 'time'),
            ('dt', 'timestamp'), ('dt6', 'timestamp'), ('ts6', 'timestamptz'),
            ('pt', 'point'), ('vec', 'real[]'))

P1_HEAD = [('id', 'int'), ('b', 'boolean'), ('i2', 'smallint'), ('i4', 'int'),
           ('i8', 'bigint'), ('f4', 'real'), ('f8', 'double precision'),
           ('n', 'numeric(10,2)'), ('nn', 'numeric'), ('m', 'numeric(19,2)'),
           ('c', 'char(5)'), ('v', 'varchar(20)'), ('t', 'text'),
           ('by', 'bytea'), ('d', 'date')]
P1_TAIL = [('u', 'uuid'), ('j', 'json'), ('jb', 'jsonb'), ('x', 'xml'),
           ('inet', 'inet'), ('cidr', 'cidr'), ('mac', 'macaddr'),
           ('bt', 'bit(5)'), ('vb', 'varbit(10)'), ('pt', 'point'),
           ('en', 'mood'), ('dm', 'int'), ('ia', 'int[]'), ('ta', 'text[]'),
           ('na', 'numeric(6,2)[]'), ('tsa', 'timestamptz[]'),
           ('r', 'int4range'), ('tr', 'tstzrange'), ('oid', 'oid'),
           ('hs', 'text')]
P1_PLAIN = plain(*P1_HEAD) \
    + [ms('tm', 'time(3)'), us('tm6', 'time'), Column('ttz', 'timetz'),
       ms('ts', 'timestamp(3)'), us('ts6', 'timestamp'),
       Column('tsz', 'timestamptz'), us('iv', 'interval')] + plain(*P1_TAIL)
P1_SCHEMA = plain(*P1_HEAD, ('tm', 'time(3)'), ('tm6', 'time'),
                  ('ttz', 'timetz'), ('ts', 'timestamp(3)'),
                  ('ts6', 'timestamp'), ('tsz', 'timestamptz'),
                  ('iv', 'interval'), *P1_TAIL)
P2 = plain(('k1', 'int'), ('k2', 'text'), ('v', 'text'), ('big', 'text'),
           ('extra', 'int'))
P3 = plain(('k1', 'int'), ('k2', 'text'), ('v', 'text'), ('big', 'text'))

PRELUDE = ["CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
           "CREATE DOMAIN posint AS int CHECK (value > 0)"]


def with_defaults(columns, defaults):
    return [Column(c.name, c.sql, c.field, c.reading,
                   defaults.get(c.name, c.default)) for c in columns]


def csv_rows(text):
    """CSV as COPY writes it: nothing is NULL, "" an empty string."""
    row = []
    for m in re.finditer(r'(?:"((?:[^"]|"")*)"|([^,\n]*))(,|\n)', text):
        quoted, bare, end = m.groups()
        row.append(quoted.replace('""', '"') if quoted is not None
                   else bare or None)
        if end == '\n':
            yield row
            row = []


class Topic:
    """One recorded file and its target."""

    def __init__(self, file, final, columns, key, expected=None,
                 placeholder=None):
        self.file, self.final = file, final
        args = [placeholder] if placeholder else []
        self.table = Table(columns, key, *args)
        self.placeholder = placeholder
        self.expected = expected or {}

    def records(self):
        path = os.path.join(FOLDER, self.file + '.jsonl')
        with open(path, encoding='utf-8') as file:
            for line in file:
                r = json.loads(line)
                headers = r.get('headers') or []
                yield Record(r['partition'], r['offset'],
                             None if r['key'] is None else r['key'].encode(),
                             None if r['payload'] is None
                             else r['payload'].encode(),
                             list(zip(headers[::2], headers[1::2])),
                             r['offset'])

    def final_rows(self):
        """The source's table at the end, in the target's spelling: a list."""
        return [{c.name: self._spelling(c, row.get(c.name))
                 for c in self.table.columns}
                for row in getattr(self, '_' + self.final.rsplit('.', 1)[1])()]

    def source_rows(self):
        """The same by key."""
        rows = {}
        for row in self.final_rows():
            key = tuple(normal_key(row[k], self.table.by_name[k].sql)
                        for k in self.table.key)
            rows[key] = row
        return rows

    def _path(self):
        return os.path.join(FOLDER, self.final)

    def _tsv(self):
        def value(text):
            if text == 'NULL':
                return None
            return text.replace('\\\\', '\\')
        with open(self._path(), encoding='utf-8') as file:
            names, *lines = [line.rstrip('\n').split('\t') for line in file]
        return [dict(zip(names, map(value, line))) for line in lines]

    def _xml(self):
        for row in ElementTree.parse(self._path()).getroot():
            yield {field.get('name'): None if list(field.attrib.values())[-1]
                   == 'true' else (field.text or '') for field in row}

    def _csv(self):
        with open(self._path(), encoding='utf-8', newline='') as file:
            names, *lines = csv_rows(file.read())
        return [dict(zip(names, line)) for line in lines]

    def _spelling(self, column, text):
        """The source's client prints some types in other ways."""
        if text is None:
            return None
        kind = column.sql.split('(')[0]
        if kind == 'boolean':
            text = {'1': 't', '0': 'f'}.get(text, text)
        elif kind == 'bytea' and not text.startswith('\\x'):
            text = '\\x' + text.lower()
        elif kind == 'bit' and text != '':
            text = text.rjust(int(column.sql[4:-1]), '0')
        elif kind == 'char':
            text = text.ljust(int(column.sql[5:-1]))
        elif kind == 'point' and text.startswith('POINT'):
            text = '(' + text[6:-1].replace(' ', ',') + ')'
        elif kind == 'numeric' and text.startswith('$'):
            text = text[1:].replace(',', '')
        elif kind == 'timestamptz' and text[-3] not in '+-' \
                and self.final.startswith('m'):
            text += '+00'
        if kind in ('timestamp', 'timestamptz', 'time', 'interval') \
                and '.' in text:
            head, zone = (text[:-3], '+00') if text.endswith('+00') \
                else (text, '')
            text = head.rstrip('0').rstrip('.') + zone
        return normal(text, column.sql)


# Why a target is not equal to the source at the end: column -> reason.
T1_LOST = {'uu': 'the connector scrambles MariaDB\'s uuid when it streams'}
T1_CONNECT = {
    't': 'connect times outside 0-24 h become null in the connector',
    't6': 'connect times outside 0-24 h become null in the connector',
    'dt6': 'connect timestamps have milliseconds'}
M1_CONNECT = {name: T1_CONNECT[name] for name in ('t6', 'dt6')}
P1_UTC = {'ttz': 'the connector sends timetz in UTC'}
P1_PRECISE = {'nn': 'numeric NaN arrives as null in precise mode',
              'iv': 'intervals arrive as microseconds: months and days are lost'}
P1_ISO = {'tm6': 'isostring turns 24:00:00 into 00:00:00Z'}
CITY = {'CITY': 'rows before ADD COLUMN .. DEFAULT have no event with it'}
EXTRA = {'extra': 'rows before ADD COLUMN .. DEFAULT have no event with it'}
TRUNCATED = {'*': 'MariaDB\'s TRUNCATE makes no event in the topic'}

TOPICS = [
    Topic('mariadb_plain.CUSTOMER', 'mariadb.CUSTOMER.final.tsv', CUSTOMER,
          ['CUST_ID'], CITY),
    Topic('mariadb_schema.CUSTOMER', 'mariadb.CUSTOMER.final.tsv', CUSTOMER,
          ['CUST_ID'], CITY),
    Topic('mariadb_plain.CK', 'mariadb.CK.final.tsv', CK, ['k1', 'k2']),
    Topic('mariadb_schema.CK', 'mariadb.CK.final.tsv', CK, ['k1', 'k2']),
    Topic('mariadb_plain.TR', 'mariadb.TR.final.tsv', TR, ['id'], TRUNCATED),
    Topic('mariadb_schema.TR', 'mariadb.TR.final.tsv', TR, ['id'], TRUNCATED),
    Topic('mariadb_plain.T1', 'mariadb.T1.final.xml', T1_PLAIN, ['id'],
          T1_LOST),
    Topic('mariadb_schema.T1', 'mariadb.T1.final.xml', T1_SCHEMA, ['id'],
          {**T1_LOST, **T1_CONNECT}),
    Topic('mysql_plain.CUSTOMER', 'mysql.CUSTOMER.final.tsv', MYSQL_CUSTOMER,
          ['CUST_ID']),
    Topic('mysql_schema.CUSTOMER', 'mysql.CUSTOMER.final.tsv', MYSQL_CUSTOMER,
          ['CUST_ID']),
    Topic('mysql_plain.M1', 'mysql.M1.final.tsv', M1_PLAIN, ['id']),
    Topic('mysql_schema.M1', 'mysql.M1.final.tsv', M1_SCHEMA, ['id'],
          M1_CONNECT),
    Topic('postgres_plain.t1', 'postgres.t1.final.csv', P1_PLAIN, ['id'],
          {**P1_UTC, **P1_PRECISE}),
    Topic('postgres_schema.t1', 'postgres.t1.final.csv', P1_SCHEMA, ['id'],
          {**P1_UTC, **P1_ISO}),
    Topic('postgres_plain.t2', 'postgres.t2.final.csv', P2, ['k1', 'k2'],
          EXTRA),
    Topic('postgres_schema.t2', 'postgres.t2.final.csv', P2, ['k1', 'k2'],
          EXTRA, placeholder='__none__'),
]

# Null keys: the key is taken from the row images, as far as they have it.
NULL_KEYS = [
    Topic('mariadb_plain.NOPK', 'mariadb.NOPK.final.tsv', NOPK, ['a']),
    Topic('mariadb_schema.NOPK', 'mariadb.NOPK.final.tsv', NOPK, ['a']),
    Topic('postgres_plain.t3', 'postgres.t3.final.csv', P3, ['k1', 'k2']),
    Topic('postgres_schema.t3', 'postgres.t3.final.csv', P3, ['k1', 'k2']),
]
