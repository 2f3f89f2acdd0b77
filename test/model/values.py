"""Typed reading of Debezium's JSON values, as the text PostgreSQL would print.

The reference reading that the extension is compared with: written from the
documentation of the wire formats, in another language and without looking at
the extension's code.  A value goes in as parsed JSON (numbers kept as they
were written), the text of the target's column comes out, as PostgreSQL prints
it under DateStyle ISO, TimeZone UTC, IntervalStyle postgres and bytea_output
hex.  Bad is raised for what the column cannot hold.

normal() makes the texts of both sides comparable where one value has several
spellings (json, floats, case-insensitive text).
"""

import base64
import binascii
import functools
import json
import re
import struct
from decimal import Decimal, InvalidOperation, ROUND_HALF_UP, localcontext


class Num(str):
    """A JSON number, as it was written."""


class Bad(Exception):
    """A value that the column cannot hold."""


MISSING = type('Missing', (), {'__repr__': lambda self: 'MISSING'})()
UNAVAILABLE = type('Unavailable', (), {'__repr__': lambda self: 'UNAVAILABLE'})()


def _no_constant(name):
    raise ValueError('no JSON: ' + name)


def loads(text):
    """Parse JSON strictly, numbers as Num."""
    return json.loads(text, parse_int=Num, parse_float=Num,
                      parse_constant=_no_constant)


def dumps(value):
    """Compact JSON text of what loads() gave."""
    if isinstance(value, Num):
        return str(value)
    if isinstance(value, dict):
        return '{' + ','.join(json.dumps(k, ensure_ascii=False) + ':' + dumps(v)
                              for k, v in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ','.join(dumps(v) for v in value) + ']'
    return json.dumps(value, ensure_ascii=False)


def is_unavailable(value, placeholder):
    """Is this Debezium's mark for a value that it did not get?"""
    if isinstance(value, Num):
        return False
    if isinstance(value, str):
        return value == placeholder or \
            value == base64.b64encode(placeholder.encode()).decode()
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str) \
                and not isinstance(value[0], Num):
            return is_unavailable(value[0], placeholder)
        codes = [str(b) for b in placeholder.encode()]
        return [v for v in value if isinstance(v, Num)] == codes == value
    return False


# ---- types -------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def split_type(sql):
    """'numeric(10,2)' -> ('numeric', (10, 2)); arrays keep their []."""
    m = re.fullmatch(r'([a-z0-9_ ]+?)\s*(?:\(([\d, ]+)\))?(\[\])?', sql)
    args = tuple(map(int, m.group(2).split(','))) if m.group(2) else ()
    return m.group(1), args, bool(m.group(3))


INTEGERS = {'smallint': 15, 'int': 31, 'bigint': 63, 'oid': 32}


def _decimal(text):
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Bad('no number: %r' % text)


def _plain(number):
    """A Decimal without an exponent."""
    with localcontext() as ctx:
        ctx.prec = 2000
        text = format(number, 'f')
    return text


def _unbase64(value):
    try:
        return base64.b64decode(value.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Bad('no base64: %r' % value)


def _unscaled(value, scale):
    with localcontext() as ctx:
        ctx.prec = 2000
        number = int.from_bytes(_unbase64(value), 'big', signed=True)
        return Decimal(number).scaleb(-scale)


def _integer(value, kind):
    if isinstance(value, bool):
        number = int(value)
    elif isinstance(value, str):
        number = _decimal(value)
        if not number.is_finite() or number != number.to_integral_value():
            raise Bad('no integer: %r' % value)
        number = int(number)
    else:
        raise Bad('no integer: %r' % (value,))
    bits = INTEGERS[kind]
    low = 0 if kind == 'oid' else -(1 << bits)
    if not low <= number < (1 << bits):
        raise Bad('out of range: %r' % (value,))
    return str(number)


SPECIAL = {'nan': 'NaN', 'infinity': 'Infinity', '-infinity': '-Infinity',
           'positive_infinity': 'Infinity', 'negative_infinity': '-Infinity'}


def _numeric(value, args, reading, field):
    if isinstance(value, bool):
        raise Bad('no number: %r' % value)
    if isinstance(value, Num):
        number = _decimal(value)
    elif isinstance(value, dict):               # VariableScaleDecimal
        number = _unscaled(value['value'], int(value['scale']))
    elif isinstance(value, str):
        if value.lower() in SPECIAL:
            return SPECIAL[value.lower()]
        if field is not None:
            coded = field.get('type') == 'bytes'
        elif reading.get('encoding'):
            coded = reading['encoding'] == 'base64'
        else:
            coded = len(value) % 4 == 0 and not re.search(r'[.-]', value)
        if coded:
            scale = reading.get('scale')
            if scale is None and field is not None:
                scale = int(field.get('parameters', {}).get('scale', 0))
            if scale is None:
                scale = args[1] if len(args) > 1 else 0
            number = _unscaled(value, scale)
        else:
            number = _decimal(value)
    else:
        raise Bad('no number: %r' % (value,))
    if reading.get('unsigned') and number < 0:
        number += 1 << 64
    if args:
        scale = args[1] if len(args) > 1 else 0
        with localcontext() as ctx:
            ctx.prec = 2000
            number = number.quantize(Decimal(1).scaleb(-scale),
                                     rounding=ROUND_HALF_UP)
        if number.copy_abs() >= Decimal(10) ** (args[0] - scale):
            raise Bad('numeric field overflow: %r' % (value,))
    if number == 0:
        number = number.copy_abs()
    return _plain(number)


def _float(value, kind):
    if isinstance(value, bool) or not isinstance(value, str):
        raise Bad('no number: %r' % (value,))
    try:
        number = float(SPECIAL.get(value.lower(), value))
    except ValueError:
        raise Bad('no number: %r' % value)
    if kind == 'real':
        number = struct.unpack('f', struct.pack('f', number))[0]
    return repr(number)


def _boolean(value):
    if isinstance(value, bool):
        return 't' if value else 'f'
    if isinstance(value, str) and value.lower() in ('1', 'true', 't'):
        return 't'
    if isinstance(value, str) and value.lower() in ('0', 'false', 'f'):
        return 'f'
    raise Bad('no boolean: %r' % (value,))


def _text(value):
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, str):
        if '\0' in value or any(0xD800 <= ord(c) < 0xE000 for c in value):
            raise Bad('no text: %r' % value)
        return str(value)
    return dumps(value)


# ---- dates and times ---------------------------------------------------

US_DAY = 86400 * 1000000
SCALE = {'d': US_DAY, 's': 1000000, 'ms': 1000, 'us': 1}


def civil(days):
    """Days since 1970-01-01 -> (year, month, day); year 0 is 1 BC."""
    days += 719468
    era, doe = divmod(days, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


def days_of(year, month, day):
    """The inverse of civil()."""
    year -= month <= 2
    era, yoe = divmod(year, 400)
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def _date_text(days):
    year, month, day = civil(days)
    if year > 0:
        return '%04d-%02d-%02d' % (year, month, day), ''
    return '%04d-%02d-%02d' % (1 - year, month, day), ' BC'


def _clock(us):
    sec, frac = divmod(us, 1000000)
    text = '%02d:%02d:%02d' % (sec // 3600, sec // 60 % 60, sec % 60)
    return text + ('.%06d' % frac).rstrip('0').rstrip('.')


def _round(us, args):
    """To the column's fractional digits, half away from zero."""
    if not args or args[0] >= 6:
        return us
    unit = 10 ** (6 - args[0])
    half = (abs(us) + unit // 2) // unit * unit
    return half if us >= 0 else -half


def _unit_us(value, unit):
    number = int(value)
    if unit == 'ns':
        return number // 1000 if number >= 0 else -(-number // 1000)
    return number * SCALE[unit]


ISO_DATE = re.compile(r'([+-]?)(\d{4,})-(\d\d)-(\d\d)')
ISO_TIME = re.compile(r'(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?')
ISO_ZONE = re.compile(r'(Z|[+-]\d\d(?::?\d\d)?)')


def _iso_date(text):
    m = ISO_DATE.match(text)
    if not m:
        raise Bad('no date: %r' % text)
    year, month, day = int(m.group(2)), int(m.group(3)), int(m.group(4))
    if m.group(1) == '-':
        year = -year
    days = days_of(year, month, day)
    if not 1 <= month <= 12 or civil(days) != (year, month, day):
        raise Bad('no date: %r' % text)
    return days, text[m.end():]


def _iso_time(text):
    m = ISO_TIME.match(text)
    if not m:
        raise Bad('no time: %r' % text)
    us = (int(m.group(1)) * 3600 + int(m.group(2)) * 60
          + int(m.group(3) or 0)) * 1000000
    frac = (m.group(4) or '').ljust(9, '0')
    us += (int(frac) + 500) // 1000
    return us, text[m.end():]


def _iso_zone(text):
    """Seconds east of UTC, None without a zone."""
    m = ISO_ZONE.fullmatch(text)
    if not m:
        if text:
            raise Bad('no zone: %r' % text)
        return None
    if text == 'Z':
        return 0
    digits = text[1:].replace(':', '').ljust(4, '0')
    sec = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -sec if text[0] == '-' else sec


# What the connectors make of PostgreSQL's infinities.
DATE_INFINITY = -2147472692
TS_INFINITY = (9223372036825200000, 9223372036854775807)
TS_MINUS_INFINITY = (-9223372036832400000, -9223372036854775808)


def _date(value, unit):
    if isinstance(value, Num):
        days = int(value) if unit == 'd' else _unit_us(value, unit) // US_DAY
    elif isinstance(value, str):
        if value in ('infinity', '-infinity'):
            return value
        days, rest = _iso_date(value)
        if rest not in ('', 'Z'):
            raise Bad('no date: %r' % value)
    else:
        raise Bad('no date: %r' % (value,))
    if days == DATE_INFINITY:
        return 'infinity'
    text, era = _date_text(days)
    if not -2451545 + 10957 <= days <= 2145031948 + 10957:
        raise Bad('date out of range: %r' % (value,))
    return text + era


def _time(value, args, unit):
    if isinstance(value, Num):
        us = _unit_us(value, unit)
    elif isinstance(value, str):
        us, rest = _iso_time(value)
        _iso_zone(rest)
    else:
        raise Bad('no time: %r' % (value,))
    us = _round(us, args)
    if not 0 <= us <= US_DAY:
        raise Bad('time out of range: %r' % (value,))
    return _clock(us)


def _timetz(value):
    if isinstance(value, Num) or not isinstance(value, str):
        raise Bad('no time: %r' % (value,))
    us, rest = _iso_time(value)
    zone = _iso_zone(rest) or 0
    sign = '-' if zone < 0 else '+'
    text = '%s%s%02d' % (_clock(us), sign, abs(zone) // 3600)
    return text + (':%02d' % (abs(zone) // 60 % 60) if zone % 3600 else '')


def _timestamp(value, args, unit, zoned):
    if isinstance(value, Num):
        number = int(value)
        us = _unit_us(value, unit)
    elif isinstance(value, str):
        if value in ('infinity', '-infinity'):
            return value
        days, rest = _iso_date(value)
        us = days * US_DAY
        if rest:
            if rest[0] not in 'T ':
                raise Bad('no timestamp: %r' % value)
            clock, rest = _iso_time(rest[1:])
            zone = _iso_zone(rest) or 0
            us += clock - (zone * 1000000 if zoned else 0)
        number = us
    else:
        raise Bad('no timestamp: %r' % (value,))
    if number in TS_INFINITY or us in TS_INFINITY:
        return 'infinity'
    if number in TS_MINUS_INFINITY or us in TS_MINUS_INFINITY:
        return '-infinity'
    us = _round(us, args)
    days, clock = divmod(us, US_DAY)
    if not -2451545 + 10957 <= days or us >= 9224318016000000000:
        raise Bad('timestamp out of range: %r' % (value,))
    text, era = _date_text(days)
    return '%s %s%s%s' % (text, _clock(clock), '+00' if zoned else '', era)


def _interval_text(months, days, us):
    """As the server prints it under IntervalStyle postgres."""
    parts, negative = [], False
    for number, name in ((int(months / 12), 'year'),
                         (months - int(months / 12) * 12, 'mon'),
                         (days, 'day')):
        if number:
            plus = '+' if negative and number > 0 else ''
            parts.append('%s%d %s%s' % (plus, number, name,
                                        '' if number == 1 else 's'))
            negative = number < 0
    if us or not parts:
        sign = '-' if us < 0 else ('+' if negative else '')
        parts.append(sign + _clock(abs(us)))
    return ' '.join(parts)


ISO_INTERVAL = re.compile(
    r'P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?'
    r'(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?[\d.]+)S)?)?')


def _interval(value, unit):
    if isinstance(value, Num):
        return _interval_text(0, 0, _unit_us(value, unit))
    if not isinstance(value, str):
        raise Bad('no interval: %r' % (value,))
    m = ISO_INTERVAL.fullmatch(value)
    if not m:
        raise Bad('no interval: %r' % value)
    year, month, day, hour, minute = (int(g or 0) for g in m.groups()[:5])
    us = int(_decimal(m.group(6) or '0') * 1000000)
    return _interval_text(year * 12 + month, day,
                          (hour * 3600 + minute * 60) * 1000000 + us)


# ---- the rest ----------------------------------------------------------

def _bits(value, args, varying):
    if isinstance(value, bool):
        return '1' if value else '0'
    if isinstance(value, Num) or not isinstance(value, str):
        raise Bad('no bits: %r' % (value,))
    number = int.from_bytes(_unbase64(value), 'little')
    text = format(number, 'b') if number else ''
    if not varying:
        text = text.rjust(args[0], '0')
    if len(text) > args[0]:
        raise Bad('bit string too long: %r' % value)
    return text


def _number_text(value):
    number = float(value)
    return str(int(number)) if number == int(number) else repr(number)


def _point(value):
    if not isinstance(value, dict):
        raise Bad('no point: %r' % (value,))
    return '(%s,%s)' % (_number_text(value['x']), _number_text(value['y']))


def _array_element(text):
    if text is None:
        return 'NULL'
    if text == '' or text.upper() == 'NULL' or re.search(r'[{}",\\\s]', text):
        return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'
    return text


UNIT_BY_NAME = {
    'io.debezium.time.Date': 'd', 'org.apache.kafka.connect.data.Date': 'd',
    'io.debezium.time.Time': 'ms', 'org.apache.kafka.connect.data.Time': 'ms',
    'io.debezium.time.MicroTime': 'us', 'io.debezium.time.NanoTime': 'ns',
    'io.debezium.time.Timestamp': 'ms',
    'org.apache.kafka.connect.data.Timestamp': 'ms',
    'io.debezium.time.MicroTimestamp': 'us',
    'io.debezium.time.NanoTimestamp': 'ns',
    'io.debezium.time.MicroDuration': 'us',
}
UNIT_DEFAULT = {'date': 'd', 'time': 'us', 'timestamp': 'us',
                'timestamptz': 'us', 'interval': 'us'}


def read(value, sql, reading=None, field=None):
    """The column's text for a JSON value; None for NULL.  Raises Bad."""
    reading = reading or {}
    if value is None:
        return None
    kind, args, array = split_type(sql)
    if array:
        if not isinstance(value, list):
            raise Bad('no array: %r' % (value,))
        items = field.get('items') if field else None
        return '{' + ','.join(
            _array_element(read(v, sql[:-2], reading, items))
            for v in value) + '}'
    unit = reading.get('unit') \
        or UNIT_BY_NAME.get((field or {}).get('name')) \
        or UNIT_DEFAULT.get(kind)
    if kind in INTEGERS:
        return _integer(value, kind)
    if kind == 'numeric':
        return _numeric(value, args, reading, field)
    if kind in ('real', 'double precision'):
        return _float(value, kind)
    if kind == 'boolean':
        return _boolean(value)
    if kind in ('text', 'citext', 'varchar', 'char'):
        text = _text(value)
        if args and len(text.rstrip(' ')) > args[0]:
            raise Bad('too long: %r' % text)
        if kind == 'varchar' and args:
            text = text[:args[0]]
        return text.rstrip(' ').ljust(args[0]) if kind == 'char' else text
    if kind == 'bytea':
        if isinstance(value, Num) or not isinstance(value, str):
            raise Bad('no bytes: %r' % (value,))
        return '\\x' + _unbase64(value).hex()
    if kind == 'date':
        return _date(value, unit)
    if kind == 'time':
        return _time(value, args, unit)
    if kind == 'timetz':
        return _timetz(value)
    if kind in ('timestamp', 'timestamptz'):
        return _timestamp(value, args, unit, kind == 'timestamptz')
    if kind == 'interval':
        return _interval(value, unit)
    if kind in ('json', 'jsonb'):
        if isinstance(value, str) and not isinstance(value, Num):
            try:
                loads(value)
            except ValueError:
                raise Bad('no JSON: %r' % value)
            return value
        return dumps(value)
    if kind in ('bit', 'varbit'):
        return _bits(value, args, kind == 'varbit')
    if kind == 'point':
        return _point(value)
    if isinstance(value, (dict, list)):
        raise Bad('no %s: %r' % (kind, value))
    return _text(value)             # uuid, xml, inet, ranges, enums: as they are


def normal(text, sql):
    """One spelling for a text that either side printed."""
    if text is None:
        return None
    kind, _, array = split_type(sql)
    if array and kind in ('real', 'double precision'):
        return '{%s}' % ','.join(v if v == 'NULL' else normal(v, kind)
                                 for v in text[1:-1].split(',') if v)
    if array:
        return text
    if kind in ('real', 'double precision'):
        number = float(SPECIAL.get(text.lower(), text))
        if kind == 'real' and number == number and abs(number) < 3e38:
            number = struct.unpack('f', struct.pack('f', number))[0]
        return repr(number)
    if kind in ('json', 'jsonb'):
        return json.dumps(json.loads(text, parse_int=_spelling,
                                     parse_float=_spelling), sort_keys=True)
    return text


def _spelling(number):
    """One spelling for a JSON number."""
    return _plain(Decimal(number).normalize())


def normal_key(text, sql):
    """One spelling for a key's value: equal for what the type calls equal."""
    if text is None:
        return None
    kind = split_type(sql)[0]
    if kind == 'numeric':
        return _plain(Decimal(text).normalize())
    if kind == 'citext':
        return text.lower()
    if kind == 'char':
        return text.rstrip(' ')
    return normal(text, sql)
