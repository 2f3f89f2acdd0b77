#!/usr/bin/python3
"""Count the tests in a suite's log.

usage: tally.py NAME STATUS LOG

Prints "passed failed skipped" on the first line, then one line for each test
that failed or was skipped.  STATUS is the suite's exit status: a suite that
fails without a failed test counts as one failure, and so does one that ran
nothing.

Understands TAP (prove -v, pg_regress since PostgreSQL 16), pg_regress before,
Python's unittest, and closing lines.  "N passed, N failed[, N skipped]" is
believed before anything else; "NAME: N passed, N failed", of a program that
checks thousands of generated inputs, counts as one test.
"""
import re
import sys

COLOUR = re.compile(r'\x1b\[[0-9;]*m')
TAP = re.compile(r'(not )?ok +(\d+)\b *-? *([^#\n]*)(?:# *(SKIP|TODO)\S* *(.*))?', re.I)
TAP_SKIP_ALL = re.compile(r'1\.\.0 *# *SKIP\S* *(.*)', re.I)
REGRESS = re.compile(r'(?:test|   ) +(\S+) +\.\.\. (ok|FAILED)\b')
UNITTEST = re.compile(r'Ran (\d+) tests? in ')
UNITTEST_END = re.compile(r'(?:OK|FAILED)(?: \((.*)\))?$')
CLOSING = re.compile(r'(.+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?(?: \(.*\))?$')


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.notes = 0, 0, 0, []

    def line(self, line):
        if m := TAP.match(line):
            what = m[3].strip() or 'test ' + m[2]
            if m[4] and m[4].upper() == 'SKIP':
                self.skipped += 1
                self.notes.append(f'skipped: {what}: {m[5]}')
            elif m[1] and not m[4]:
                self.fail(what)
            else:
                self.passed += 1
        elif m := TAP_SKIP_ALL.match(line):
            self.skipped += 1
            self.notes.append('skipped: ' + m[1])
        elif m := REGRESS.match(line):
            if m[2] == 'ok':
                self.passed += 1
            else:
                self.fail(m[1])
        elif m := UNITTEST.match(line):
            self.passed += int(m[1])
        elif m := UNITTEST_END.match(line):
            for kind, n in re.findall(r'(\w+)=(\d+)', m[1] or ''):
                if kind in ('failures', 'errors', 'skipped'):
                    self.passed -= int(n)
                    if kind == 'skipped':
                        self.skipped += int(n)
                    else:
                        self.failed += int(n)

    def fail(self, what):
        self.failed += 1
        self.notes.append('failed: ' + what)


def main():
    name, status, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    tally, total = Tally(), None
    with open(log, encoding='utf-8', errors='replace') as f:
        for line in f:
            line = COLOUR.sub('', line)
            tally.line(line.rstrip('\n'))
            if m := CLOSING.match(line.strip()):
                counts = [int(n or 0) for n in m.groups()[1:]]
                if not m[1]:
                    total = counts
                elif counts[1]:
                    tally.fail(line.strip())
                else:
                    tally.passed += 1
    if total:
        tally.passed, tally.failed, tally.skipped = total
    if status != 0 and tally.failed == 0:
        tally.fail(f'ended with status {status}')
    elif tally.passed + tally.failed + tally.skipped == 0:
        tally.fail('ran no test')
    print(tally.passed, tally.failed, tally.skipped)
    for text in tally.notes:
        print(f'{name}: {text}')


if __name__ == '__main__':
    main()
