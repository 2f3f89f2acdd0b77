#!/usr/bin/python3
"""Speak to the broker of the demo, through $WORK/broker.in and $WORK/broker.out.

usage: broker.py do COMMAND WORD..             one of the broker's own commands
       broker.py feed FILE TOPIC FIRST LAST    recorded events
       broker.py change TOPIC CUST_ID NAME MKTSEGMENT

FILE holds one record a line, as kcat -J prints them; those with an offset from
FIRST to LAST go to TOPIC as they are: key, value, headers and time.  change
sends the update of a customer that Debezium would send.
"""
import json
import os
import sys
import time


def hexadecimal(text):
    """As the broker's commands want it: - is NULL, . is empty."""
    if text is None:
        return '-'
    return text.encode('utf-8').hex() or '.'


def speak(lines):
    """Send commands, wait for as many answers."""
    work = os.environ['WORK']
    with open(work + '/broker.out', encoding='utf-8') as answers:
        answers.seek(0, os.SEEK_END)
        try:
            # fails, and does not wait, where nobody reads any more
            pipe = os.open(work + '/broker.in', os.O_WRONLY | os.O_NONBLOCK)
        except OSError as e:
            sys.exit(f'the broker is gone: {e}')
        os.set_blocking(pipe, True)
        with open(pipe, 'w', encoding='utf-8') as broker:
            broker.write('\n'.join(lines) + '\n')
        got, line, end = [], '', time.monotonic() + 30
        while len(got) < len(lines):
            line += answers.readline()
            if line.endswith('\n'):
                got.append(line)
                line = ''
            elif time.monotonic() > end:
                sys.exit('the broker does not answer')
            else:
                time.sleep(0.02)
    bad = [answer for answer in got if not answer.startswith('ok')]
    if bad:
        sys.exit(f'the broker says: {bad[0]}')


def record(topic, partition, ts, key, value, headers):
    pairs = [f'{hexadecimal(k)}={hexadecimal(v)}' for k, v in zip(headers[::2], headers[1::2])]
    return ' '.join(['rec', topic, str(partition), str(ts), hexadecimal(key), hexadecimal(value), *pairs])


def recorded(file, topic, first, last):
    """The commands for the records of a file."""
    with open(file, encoding='utf-8') as records:
        for text in records:
            r = json.loads(text)
            if int(first) <= r['offset'] <= int(last):
                yield record(topic, r['partition'], r['ts'], r['key'], r['payload'], r.get('headers') or [])


def feed(file, topic, first, last):
    speak([*recorded(file, topic, first, last), 'sync'])


def change(topic, customer, name, segment):
    now = int(time.time() * 1000)
    value = {'before': None,
             'after': {'CUST_ID': customer, 'NAME': name, 'MKTSEGMENT': segment},
             'source': {'version': '3.4.0.Final', 'connector': 'mariadb', 'name': 'salesdb',
                        'ts_ms': now, 'snapshot': 'false', 'db': 'salesdb', 'sequence': None,
                        'table': 'CUSTOMER', 'server_id': 1, 'gtid': None,
                        'file': 'binlog.000002', 'pos': now % 10**9, 'row': 0},
             'transaction': None, 'op': 'u', 'ts_ms': now}
    speak([record(topic, 0, 0, json.dumps({'CUST_ID': customer}), json.dumps(value), []), 'sync'])


if __name__ == '__main__':
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == 'do':
        speak([' '.join(arguments)])
    else:
        {'feed': feed, 'change': change}[what](*arguments)
