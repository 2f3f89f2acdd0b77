"""Column types of the sources: what values they take, what the target's column
is, how a connector's modes change the way there, and how to compare."""
import json
from fractions import Fraction


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


WORDS = ['', 'a', 'Zażółć', '漢字', '😀', 'O"Reilly', "it's", 'back/slash', 'tab\there', 'line\nbreak',
         '1234', 'AQID', 'null', '{"a": 1}', ' blank ', 'x' * 40]


def word(rng, longest=40):
    return rng.choice(WORDS)[:longest]


def whole(low, high):
    def value(rng):
        return str(rng.choice([low, high, 0, 1, rng.randint(low, high)]))
    return value


def decimal(digits, scale):
    def value(rng):
        n = rng.choice([0, 1, -1, 10 ** digits - 1, -10 ** digits + 1, rng.randint(-10 ** digits, 10 ** digits) // 7,
                        128, -129, 1234 * 10 ** scale])
        text = f'{abs(n):0{scale + 1}}' if abs(n) < 10 ** digits else '0' * (scale + 1)
        return ('-' if n < 0 else '') + (f'{text[:-scale]}.{text[-scale:]}' if scale else text)
    return value


def real(rng):
    # a snapshot of MariaDB has six digits of a FLOAT
    return str(rng.choice([0, 0.5, -1.25, 1234.75, rng.randint(-10 ** 5, 10 ** 5) / 4]))


def date(rng):
    # from 1583 on: before, the connector's two ways (JDBC in a snapshot, the log)
    # do not agree on the calendar
    return quoted(rng.choice(['1970-01-01', '1969-12-31', '2024-02-29', '9999-12-31', '1583-01-01', '2038-01-19',
                              f'20{rng.randint(10, 37)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}']))


def fraction(rng, precision):
    if precision == 0:
        return ''
    return '.' + rng.choice(['0' * precision, '9' * precision, f'{rng.randint(0, 10 ** precision - 1):0{precision}}'])


def clock(precision):
    def value(rng):
        return quoted(rng.choice(['00:00:00', '23:59:59', '12:34:56',
                                  f'{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}'])
                      + fraction(rng, precision))
    return value


def moment(precision, first=1583):
    """A date and time; first: 1970 for what begins there."""
    def value(rng):
        day = rng.choice(['2024-02-29', '2038-01-18', '1971-01-01',
                          f'20{rng.randint(10, 37)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}',
                          *(['1970-01-01', '9999-12-31', '1583-01-01', '1969-12-31'] if first == 1583 else [])])
        return f"'{day} {clock(precision)(rng)[1:]}"
    return value


def some_json(rng):
    return quoted(json.dumps(rng.choice([{}, [], {'a': [1, None, 'x"y']}, {'n': 1.5, 'b': True}, [{'k': 'ü'}],
                                         {'deep': {'er': [[]]}}]), ensure_ascii=False))


def binary(longest, fixed=False):
    def value(rng):
        n = longest if fixed else rng.choice([0, 1, 3, longest])
        return bytes(rng.randint(0, 255) for _ in range(n))
    return value


# ----------
# Normal forms of texts, for comparison
# ----------

def same(text):
    return text


def number(text):
    return Fraction(text)


def floating(text):
    return float(text)


def point_in_time(text):
    """Trailing zeros of the fraction, and the zone, which is UTC on both sides."""
    text = text.removesuffix('+00').removesuffix('+00:00')
    return text.rstrip('0').rstrip('.') if '.' in text else text


def milliseconds(text):
    """As far as mode "connect" goes."""
    text = text.removesuffix('+00')
    if '.' in text:
        seconds, part = text.split('.')
        text = point_in_time(f'{seconds}.{part[:3]}')
    return text


def document(text):
    return json.dumps(json.loads(text), sort_keys=True)


def upper(text):
    return text.upper()


def bits(text):
    """Of a string of bits, or of bytes, the lowest first."""
    return int.from_bytes(bytes.fromhex(text[2:]), 'little') if text.startswith('\\x') else int(text, 2)


def unpadded(text):
    return text.rstrip(' ')


def address(text):
    return text.removesuffix('/32').removesuffix('/128')


class Kind:
    """A type of a source.

    ddl: the column's type there; value: SQL literal of a random one; target: the
    natural type of the target's column; normal: of both texts; family: how modes
    concern it; source_text and target_text: expressions on {}."""

    def __init__(self, ddl, value, target, normal=same, family=None, source_text='{}', target_text='{}::text',
                 scale=None, precision=None, made=None):
        self.ddl, self.value, self.target, self.normal, self.family = ddl, value, target, normal, family
        self.source_text, self.target_text = source_text, target_text
        self.scale, self.precision = scale, precision
        self.made = made or normal      # the normal form where the target was made from the events

    def normal_under(self, modes, made=False):
        if made:
            return self.made
        if self.family in ('dec', 'money') and modes['decimal.handling.mode'] == 'double':
            return floating
        if self.family in ('ts', 'time') and modes['time.precision.mode'] == 'connect':
            return milliseconds
        return self.normal

    def target_under(self, modes):
        """A column that takes what a lossy mode has made of it."""
        if self.family in ('dec', 'money', 'vardec') and modes['decimal.handling.mode'] == 'double':
            return 'double precision'
        return self.target

    def takes(self, modes):
        """Can the mode carry all values?"""
        if modes['time.precision.mode'] == 'nanoseconds' and self.family == 'ts':
            return False            # 1677 to 2262
        return not (self.family in ('vardec', 'wide') and modes['decimal.handling.mode'] == 'double')

    def in_schema(self, modes):
        """Does an embedded schema say how to read it?  Of strings it says nothing,
        and not that a number has wrapped."""
        if self.family == 'bin':
            return modes['binary.handling.mode'] == 'bytes'
        return self.family != 'ubig' or modes['bigint.unsigned.handling.mode'] == 'precise'

    def reading(self, modes):
        """What the target has to be told where no schema says it."""
        decimals, times = modes['decimal.handling.mode'], modes['time.precision.mode']
        if self.family in ('dec', 'money', 'wide'):
            return {'precise': {'encoding': 'base64', 'scale': self.scale},
                    'string': {'encoding': 'string'}, 'double': {}}[decimals]
        if self.family == 'vardec':
            return {'precise': {}, 'string': {'encoding': 'string'}}[decimals]
        if self.family == 'ubig':
            return {'long': {'unsigned': True},
                    'precise': {'encoding': 'base64', 'scale': 0}}[modes['bigint.unsigned.handling.mode']]
        if self.family == 'bin':
            return {'encoding': {'bytes': 'base64', 'base64': 'base64', 'base64-url-safe': 'base64url',
                                 'hex': 'hex'}[modes['binary.handling.mode']]}
        if self.family == 'interval':
            return {'numeric': {'unit': 'us'}, 'string': {}}[modes['interval.handling.mode']]
        if self.family in ('ts', 'time'):
            unit = {'isostring': None, 'connect': 'ms', 'microseconds': 'us', 'nanoseconds': 'ns',
                    'adaptive': 'ms' if self.precision <= 3 else 'us',
                    'adaptive_time_microseconds':
                        'ms' if self.family == 'ts' and self.precision <= 3 else 'us'}[times]
            return {'unit': unit} if unit else {}
        return {}


def bin_literal(make):
    return lambda rng: "x'" + make(rng).hex() + "'"


def bytea_literal(make):
    return lambda rng: "'\\x" + make(rng).hex() + "'"


def text_literal(longest=40):
    return lambda rng: quoted(word(rng, longest))


def one_of(*choices):
    return lambda rng: rng.choice(choices)


HEX = {'source_text': 'HEX({})', 'target_text': "upper(encode({}, 'hex'))"}

MARIADB = {
    'tinyint': Kind('tinyint', whole(-128, 127), 'smallint', number),
    'utinyint': Kind('tinyint unsigned', whole(0, 255), 'smallint', number),
    'smallint': Kind('smallint', whole(-2 ** 15, 2 ** 15 - 1), 'smallint', number),
    'usmallint': Kind('smallint unsigned', whole(0, 2 ** 16 - 1), 'int', number),
    'mediumint': Kind('mediumint', whole(-2 ** 23, 2 ** 23 - 1), 'int', number),
    'int': Kind('int', whole(-2 ** 31, 2 ** 31 - 1), 'int', number),
    'uint': Kind('int unsigned', whole(0, 2 ** 32 - 1), 'bigint', number),
    'bigint': Kind('bigint', whole(-2 ** 63, 2 ** 63 - 1), 'bigint', number),
    'ubigint': Kind('bigint unsigned', whole(0, 2 ** 64 - 1), 'numeric(20)', number, 'ubig'),
    'decimal': Kind('decimal(10,2)', decimal(10, 2), 'numeric(10,2)', number, 'dec', scale=2),
    'decimal38': Kind('decimal(38,10)', decimal(38, 10), 'numeric(38,10)', number, 'wide', scale=10),
    'decimal0': Kind('decimal(12,0)', decimal(12, 0), 'numeric(12)', number, 'dec', scale=0),
    'float': Kind('float', real, 'real', floating, source_text='CAST(CAST({} AS DOUBLE) AS CHAR)'),
    'double': Kind('double', real, 'double precision', floating),
    'bit1': Kind('bit(1)', one_of("b'0'", "b'1'"), 'boolean', source_text="CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
    'bit5': Kind('bit(5)', one_of("b'10000'", "b'00001'", "b'11111'", "b'00000'"), 'bit(5)',
                 source_text="LPAD(BIN({}+0), 5, '0')", made=bits),
    'bit60': Kind('bit(60)', one_of("b'10000'", "b'1'", "b'" + '10' * 30 + "'"), 'bit(60)',
                  source_text="LPAD(BIN({}+0), 60, '0')", made=bits),
    'bool': Kind('boolean', one_of('0', '1'), 'smallint'),
    'date': Kind('date', date, 'date', family='date'),
    'time0': Kind('time', clock(0), 'time', point_in_time, 'time', precision=0),
    'time3': Kind('time(3)', clock(3), 'time(3)', point_in_time, 'time', precision=3),
    'time6': Kind('time(6)', clock(6), 'time(6)', point_in_time, 'time', precision=6),
    'datetime': Kind('datetime', moment(0), 'timestamp', point_in_time, 'ts', precision=0),
    'datetime3': Kind('datetime(3)', moment(3), 'timestamp(3)', point_in_time, 'ts', precision=3),
    'datetime6': Kind('datetime(6)', moment(6), 'timestamp', point_in_time, 'ts', precision=6),
    'timestamp': Kind('timestamp NULL', moment(0, 1970), 'timestamptz', point_in_time),
    'timestamp6': Kind('timestamp(6) NULL', moment(6, 1970), 'timestamptz', point_in_time),
    'year': Kind('year', one_of('1901', '2024', '2155'), 'int', number),
    'char': Kind('char(5)', one_of("'a'", "'abcde'", "''"), 'varchar(5)'),
    'varchar': Kind('varchar(40)', text_literal(), 'varchar(40)'),
    'text': Kind('text', text_literal(), 'text'),
    'binary': Kind('binary(4)', bin_literal(binary(4, True)), 'bytea', family='bin', **HEX),
    'varbinary': Kind('varbinary(20)', bin_literal(binary(20)), 'bytea', family='bin', **HEX),
    'blob': Kind('blob', bin_literal(binary(30)), 'bytea', family='bin', **HEX),
    'enum': Kind("enum('x','y','z z')", one_of("'x'", "'y'", "'z z'"), 'text'),
    'set': Kind("set('a','b','c')", one_of("''", "'a'", "'a,c'", "'a,b,c'"), 'text'),
    'json': Kind('json', some_json, 'jsonb', document),
    'uuid': Kind('uuid', one_of("'00000000-0000-0000-0000-000000000001'", "'123e4567-e89b-12d3-a456-426655440001'"),
                 'uuid'),       # MariaDB's connector shifts one that ends in zero bytes
}

POSTGRES = {
    'smallint': Kind('smallint', whole(-2 ** 15, 2 ** 15 - 1), 'smallint', number),
    'int': Kind('int', whole(-2 ** 31, 2 ** 31 - 1), 'int', number),
    'bigint': Kind('bigint', whole(-2 ** 63, 2 ** 63 - 1), 'bigint', number),
    'numeric': Kind('numeric(10,2)', decimal(10, 2), 'numeric(10,2)', number, 'dec', scale=2),
    'numeric38': Kind('numeric(38,10)', decimal(38, 10), 'numeric(38,10)', number, 'wide', scale=10),
    'anynumeric': Kind('numeric', one_of('0', '1.50', '-0.000001', '12345678901234567890.5', '1e20', '1234'),
                       'numeric', number, 'vardec'),
    'real': Kind('real', real, 'real', floating),
    'double': Kind('double precision', one_of('0', '-1.25', '1e100', "'Infinity'", "'-Infinity'"),
                   'double precision', floating),
    'boolean': Kind('boolean', one_of('true', 'false'), 'boolean'),
    'char': Kind('char(5)', one_of("'a'", "'abcde'"), 'char(5)', source_text='{}::varchar', target_text='{}::varchar',
                 made=unpadded),
    'varchar': Kind('varchar(40)', text_literal(), 'varchar(40)'),
    'text': Kind('text', text_literal(), 'text'),
    'bytea': Kind('bytea', bytea_literal(binary(30)), 'bytea', family='bin'),
    'bit1': Kind('bit(1)', one_of("b'0'", "b'1'"), 'boolean', source_text="CASE {}::int WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
    'bit5': Kind('bit(5)', one_of("b'10000'", "b'00001'", "b'11111'"), 'bit(5)', made=bits),
    'varbit': Kind('varbit(9)', one_of("b'101'", "b'100000001'", "b'1'"), 'varbit(9)', made=bits),
    'date': Kind('date', lambda rng: rng.choice([date(rng), "'infinity'", "'-infinity'"]),
                 'date', family='date'),
    'time3': Kind('time(3)', clock(3), 'time(3)', point_in_time, 'time', precision=3),
    'time6': Kind('time', clock(6), 'time', point_in_time, 'time', precision=6),
    'timetz': Kind('timetz', lambda rng: clock(3)(rng)[:-1] + rng.choice(["+00'", "+02'", "-05:30'"]), 'timetz',
                   point_in_time, source_text="({} AT TIME ZONE 'UTC')::text",
                   target_text="({} AT TIME ZONE 'UTC')::text"),
    'timestamp3': Kind('timestamp(3)', moment(3), 'timestamp(3)', point_in_time, 'ts', precision=3),
    'timestamp6': Kind('timestamp', moment(6), 'timestamp', point_in_time, 'ts', precision=6),
    'timestamptz': Kind('timestamptz', lambda rng: rng.choice([moment(6)(rng)[:-1] + "+02'", "'infinity'", "'-infinity'"]),
                        'timestamptz', point_in_time),
    'interval': Kind('interval', one_of("'1 day 02:03:04.5'", "'-5 minutes'", "'0'", "'36 hours'"), 'interval',
                     number, 'interval', source_text='extract(epoch from {})::text',
                     target_text='extract(epoch from {})::text'),
    'uuid': Kind('uuid', one_of("'00000000-0000-0000-0000-000000000000'", "'123e4567-e89b-12d3-a456-426655440000'"),
                 'uuid'),
    'json': Kind('json', some_json, 'json', document),
    'jsonb': Kind('jsonb', some_json, 'jsonb', document),
    'xml': Kind('xml', one_of("'<a>1</a>'", "'<b x=\"y\"/>'"), 'xml'),
    'inet': Kind('inet', one_of("'10.0.0.1'", "'::1'", "'10.1.0.0/16'"), 'inet', made=address),
    'cidr': Kind('cidr', one_of("'10.0.0.0/8'"), 'cidr'),
    'macaddr': Kind('macaddr', one_of("'08:00:2b:01:02:03'"), 'macaddr'),
    'int4range': Kind('int4range', one_of("'[1,5)'", "'empty'", "'(,3)'"), 'int4range'),
    'tsrange': Kind('tsrange', one_of("'[2024-01-01 00:00,2024-02-01 12:30)'", "'empty'"), 'tsrange'),
    'ints': Kind('int[]', one_of("'{}'", "'{1,NULL,3}'", "'{-2147483648}'"), 'int[]'),
    'texts': Kind('text[]', one_of("'{}'", "'{a,NULL,\"b c\",\"q\\\"\"}'"), 'text[]'),
    'money': Kind('money', one_of("'0'", "'-12.34'", "'1234567.89'"), 'numeric(12,2)', number, 'money',
                  source_text='({}::numeric)::text', scale=2),
    'tsvector': Kind('tsvector', one_of("'a:1 b:2'", "''"), 'tsvector'),
    'mood': Kind('mood', one_of("'glad'", "'sad'"), 'text'),
}

MYSQL = {name: kind for name, kind in MARIADB.items() if name != 'uuid'}

KINDS = {'mariadb': MARIADB, 'mysql': MYSQL, 'postgres': POSTGRES}

MODES = {
    'decimal.handling.mode': ['precise', 'string', 'double'],
    'binary.handling.mode': ['bytes', 'base64', 'base64-url-safe', 'hex'],
    'interval.handling.mode': ['numeric', 'string'],
    'bigint.unsigned.handling.mode': ['long', 'precise'],
}

TIMES = {
    'mariadb': ['adaptive_time_microseconds', 'connect', 'isostring', 'microseconds', 'nanoseconds'],
    'mysql': ['adaptive_time_microseconds', 'connect', 'isostring', 'microseconds', 'nanoseconds'],
    'postgres': ['adaptive', 'adaptive_time_microseconds', 'connect', 'isostring', 'microseconds', 'nanoseconds'],
}


def random_modes(rng, source):
    modes = {name: rng.choice(values) for name, values in MODES.items()}
    modes['time.precision.mode'] = rng.choice(TIMES[source])
    return modes


def default_modes(source):
    modes = {name: values[0] for name, values in MODES.items()}
    modes['time.precision.mode'] = TIMES[source][0]
    return modes
