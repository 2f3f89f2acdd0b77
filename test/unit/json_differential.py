#!/usr/bin/env python3
"""Compare the JSON scanner with the server.

Feeds generated and mutated texts to json_verdict (the scanner) and to a server
(psql, connection by the PG* variables):
  - the scanner's verdict must be that of convert_from(v, 'UTF8')::json;
  - can_json_parse() must be that of convert_from(v, 'UTF8')::jsonb,
    json_parse() must then give the same value, and else raise 22P02, and
    json_parse_or_null() must agree.
The second part needs the functions of the extension in that database;
--scanner-only leaves it out.  Texts nested beyond the scanner's limit are not
made: the server has no such limit.
"""
import argparse
import random
import subprocess
import sys
import tempfile

PIECES = [
    b'{', b'}', b'[', b']', b',', b':', b'"', b'\\', b' ', b'\t', b'\n', b'\r',
    b'\x00', b'\x0b', b'\x1f', b'\x7f', b'\x80', b'\xbf', b'\xc0', b'\xc2',
    b'\xe0', b'\xed', b'\xf0', b'\xf4', b'\xf5', b'\xff', b'\xef\xbb\xbf',
    b'\xc3\xa9', b'\xe2\x82\xac', b'\xf0\x9f\x98\x80', b'\xed\xa0\x80',
    b'\xf4\x90\x80\x80', b'\xc0\x80', b'\xe0\x80\x80', b'null', b'true',
    b'false', b'nul', b'TRUE', b'-', b'+', b'0', b'1', b'-0', b'01', b'.',
    b'1.', b'.5', b'1.5', b'e', b'E', b'1e5', b'1E+5', b'1e-5', b'1e', b'1e+',
    b'1e400', b'1e99999', b'1e131071', b'1e131072', b'1e200000', b'1e-16383',
    b'1e-16384', b'1e-20000', b'0e99999999999', b'1e99999999999', b'NaN',
    b'Infinity', b'""', b'"a"', b'\\n', b'\\"', b'\\\\', b'\\/', b'\\a', b'\\0',
    b'\\u', b'\\u0000', b'\\u0041', b'\\u00e', b'\\u00zz', b'\\ud83d',
    b'\\ude00', b'\\ud83d\\ude00', b'\\uD83D\\uD83D', b'\\ude00\\ud83d',
    b'\\uffff', b'\\U0041', b'/*', b"'", b'_', b'a', b'12345678901234567890',
]

SEEDS = [
    b'{"before":null,"after":{"id":1,"name":"Za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 \\"x\\" \\\\ /"},'
    b'"source":{"connector":"mysql","ts_ms":1755849715481,"snapshot":"false"},"op":"c","ts_ms":1}',
    b'{"schema":{"type":"struct","fields":[{"type":"int32","optional":false}]},"payload":null}',
    b' [ 1 , -2.50 , 3e4 , "a\\u00e9\\n" , { } , [ ] , true , false , null ] ',
    b'"' + b'x' * 40 + b'"', b'"' + b'y' * 15 + b'\\n' + b'z' * 17 + b'"',
    b'[' * 60 + b']' * 60, b'{"a":' * 30 + b'1' + b'}' * 30,
]


class Generator:
    def __init__(self, seed):
        self.rnd = random.Random(seed)

    def space(self):
        return self.rnd.choice([b'', b'', b'', b' ', b'\n\t', b'\r'])

    def string(self):
        parts = []
        for _ in range(self.rnd.choice([0, 1, 1, 2, 5])):
            kind = self.rnd.randrange(12)
            if kind < 6:
                n = self.rnd.choice([1, 3, 15, 16, 17, 33])
                parts.append(bytes(self.rnd.randrange(0x20, 0x7f)
                                   for _ in range(n)).replace(b'"', b'q').replace(b'\\', b'b'))
            elif kind < 8:
                code = self.rnd.choice([0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff,
                                        self.rnd.randrange(0x80, 0xd800)])
                parts.append(chr(code).encode())
            elif kind < 10:
                parts.append(b'\\' + self.rnd.choice([b'"', b'\\', b'/', b'b', b'f', b'n', b'r', b't']))
            elif kind < 11:
                parts.append(b'\\u%04x' % self.rnd.choice([0x20, 0xe9, 0x20ac, 0xffff,
                                                          self.rnd.randrange(1, 0xd800)]))
            else:
                parts.append(self.rnd.choice([b'\\ud83d\\ude00', b'\\udbff\\udfff', b'\\u0000',
                                              b'\\ud800', b'\\udc00', b'\\ud83d\\ud83d']))
        return b'"' + b''.join(parts) + b'"'

    def number(self):
        text = self.rnd.choice([b'', b'-'])
        text += self.rnd.choice([b'0', b'7', b'%d' % self.rnd.randrange(1, 10 ** 18),
                                 b'1' + b'0' * self.rnd.choice([5, 40, 1100])])
        if self.rnd.random() < 0.3:
            text += b'.' + b'%0*d' % (self.rnd.choice([1, 5, 20]), self.rnd.randrange(10))
        if self.rnd.random() < 0.2:
            text += self.rnd.choice([b'e', b'E', b'e+', b'E-', b'e-'])
            text += b'%d' % self.rnd.choice([0, 1, 20, 999, 1000, 16383, 16384, 20000, 131071, 131072,
                                             140000, 10 ** 6, 10 ** 9, 10 ** 10])
        return text

    def value(self, depth):
        kind = self.rnd.randrange(9 if depth > 0 else 6)
        if kind < 2:
            return self.string()
        if kind < 4:
            return self.number()
        if kind < 6:
            return self.rnd.choice([b'null', b'true', b'false'])
        n = self.rnd.choice([0, 1, 2, 3])
        sp = self.space
        if kind == 6:
            return b'[' + b','.join(sp() + self.value(depth - 1) + sp() for _ in range(n)) + sp() + b']'
        return b'{' + b','.join(sp() + self.string() + sp() + b':' + sp() + self.value(depth - 1) + sp()
                                for _ in range(n)) + sp() + b'}'

    def mutate(self, text):
        for _ in range(self.rnd.choice([1, 1, 1, 2, 3])):
            at = self.rnd.randrange(len(text) + 1)
            to = min(len(text), at + self.rnd.choice([0, 1, 1, 2, 8]))
            kind = self.rnd.randrange(6)
            if kind == 0:
                text = text[:at] + self.rnd.choice(PIECES) + text[at:]
            elif kind == 1:
                text = text[:at] + self.rnd.choice(PIECES) + text[to:]
            elif kind == 2:
                text = text[:at] + text[to:]
            elif kind == 3:
                text = text[:at] + bytes([self.rnd.randrange(256)]) + text[at + 1:]
            elif kind == 4:
                text = text[:to] + text[at:]
            else:
                text = text[:at]
        return text

    def texts(self, count):
        for i in range(count):
            kind = i % 5
            if kind == 0:
                text = self.space() + self.value(4) + self.space()
            elif kind == 1:
                text = self.mutate(self.value(4))
            elif kind == 2:
                text = self.mutate(self.rnd.choice(SEEDS))
            elif kind == 3:
                text = b''.join(self.rnd.choice(PIECES) for _ in range(self.rnd.randrange(1, 7)))
            else:
                inner = b''.join(self.rnd.choice(PIECES) for _ in range(self.rnd.randrange(0, 4)))
                text = self.rnd.choice([b'"%s"', b'[%s]', b'{"a":%s}', b'{"%s":1}']).replace(b'%s', inner)
            if text.count(b'[') + text.count(b'{') <= 512:
                yield text


PREPARE = r"""
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMP TABLE input (no int, v bytea);
CREATE FUNCTION pg_temp.is_json(v bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM convert_from(v, 'UTF8')::json; RETURN true;
EXCEPTION WHEN data_exception THEN RETURN false; END $$;
\copy input FROM '%(path)s'
\pset tuples_only on
\pset format unaligned
\pset null null
"""

SCANNER = "SELECT pg_temp.is_json(v)::int FROM input ORDER BY no;\n"

FUNCTIONS = r"""
CREATE FUNCTION pg_temp.to_jsonb(v bytea) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN convert_from(v, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;
CREATE FUNCTION pg_temp.parsed(v bytea, OUT j jsonb, OUT state text) LANGUAGE plpgsql AS $$
BEGIN j := json_parse(v); state := '00000';
EXCEPTION WHEN OTHERS THEN state := SQLSTATE; END $$;
SELECT no || ' ' || encode(v, 'hex') FROM (
	SELECT no, v, pg_temp.to_jsonb(v) AS oracle, pg_temp.parsed(v) AS parsed,
		can_json_parse(v) AS can, cdcsync.json_parse_or_null(v) AS or_null FROM input) s
WHERE (oracle IS NOT NULL) <> can OR (parsed).j::text IS DISTINCT FROM oracle::text OR
	or_null::text IS DISTINCT FROM oracle::text OR
	(parsed).state <> CASE WHEN oracle IS NULL THEN '22P02' ELSE '00000' END ORDER BY no;
"""


def run_psql(script):
    done = subprocess.run(['psql', '-X', '-q', '-f', '-'], input=script.encode(),
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().split('\n')[:-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('json_verdict')
    parser.add_argument('--count', type=int, default=30000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--scanner-only', action='store_true')
    args = parser.parse_args()

    texts = list(Generator(args.seed).texts(args.count))
    scanner = subprocess.run([args.json_verdict], input='\n'.join(t.hex() for t in texts).encode() + b'\n',
                             stdout=subprocess.PIPE, check=True).stdout.decode().split()
    with tempfile.NamedTemporaryFile('w', suffix='.tsv') as data:
        for no, text in enumerate(texts):
            data.write('%d\t\\\\x%s\n' % (no, text.hex()))
        data.flush()
        prepare = PREPARE % {'path': data.name}
        server = run_psql(prepare + SCANNER)
        wrong = [] if args.scanner_only else run_psql(prepare + FUNCTIONS)

    if len(scanner) != len(texts) or len(server) != len(texts):
        sys.exit('%d texts, %d verdicts of the scanner, %d of the server'
                 % (len(texts), len(scanner), len(server)))
    failed = len(wrong)
    for line in wrong[:20]:
        print('can_json_parse or json_parse differs from jsonb: ' + line)
    for text, ours, theirs in zip(texts, scanner, server):
        if ours != theirs:
            failed += 1
            if failed <= 40:
                print('scanner %s, server %s: %r' % (ours, theirs, text))
    checks = len(texts) * (1 if args.scanner_only else 2)
    print('json_differential: %d passed, %d failed (seed %d; %d of %d texts are JSON)'
          % (checks - failed, failed, args.seed, server.count('1'), len(texts)))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
