#!/usr/bin/env python3
"""Runs the tests of this folder and adds up what they report."""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = ['recorded.py', 'encodings.py', 'random_histories.py', 'modes.py',
           'resnapshots.py',
           'gated_histories.py']


def main():
    passed = failed = 0
    for script in SCRIPTS:
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, script)]
            + (sys.argv[1:] if script.endswith('_histories.py') else []),
            stdout=subprocess.PIPE, encoding='utf-8')
        last = ''
        for line in process.stdout:
            sums = re.fullmatch(r'(\d+) passed, (\d+) failed\n', line)
            if sums:
                last = sums         # the closing line is for all
            else:
                print(line, end='', flush=True)
        code = process.wait()
        if last:
            passed += int(last.group(1))
            failed += int(last.group(2))
        if not last or (code != 0 and last.group(2) == '0'):
            print('not ok 1 - %s ended with status %d' % (script, code))
            failed += 1
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
