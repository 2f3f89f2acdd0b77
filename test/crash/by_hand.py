"""Steps that no load of the crash suite leads to: each gets a pipeline of its own
without a topic, one call that comes to the step, and rows that the target must
have when the call has been made again."""

import json

SOURCE = {'version': '3.4.0.Final', 'connector': 'mysql', 'name': 'crash', 'db': 'crash',
          'server_id': 1, 'gtid': None, 'file': 'binlog.000007', 'row': 0}
TIME = 1755849600000            # ms
SYNC = "SELECT cdc_sync('{0}')"


def event(partition, op, identity, text, position, snapshot='false'):
    """What to insert into a landing."""
    image = {'id': identity, 'v': text}
    value = {'before': None, 'after': image, 'op': op, 'ts_ms': TIME + position,
             'source': dict(SOURCE, table='t', ts_ms=TIME + position, snapshot=snapshot,
                            pos=100 * position)}
    return "(%d, '%s', '%s')" % (partition, json.dumps({'id': identity}), json.dumps(value))


class Step:
    def __init__(self, options, before, after, call, rows):
        self.options, self.before, self.after = options, before, after
        self.call, self.rows = call, rows

    def setup(self, name):
        """In one transaction: a crash leaves all of it or nothing."""
        def insert(events):
            return ('INSERT INTO %s_debezium (kafka_partition, kafka_key, kafka_value)'
                    ' VALUES %s;' % (name, ', '.join(events))) if events else ''
        options = dict(self.options, auto_sync=False)
        return ('BEGIN; CREATE TABLE %(n)s_target (id int PRIMARY KEY, v text);'
                " SELECT cdc_create('%(n)s', target => '%(n)s_target', options => '%(o)s');"
                ' %(b)s %(s)s; %(a)s COMMIT' % {
                    'n': name, 'o': json.dumps(options), 's': SYNC.format(name),
                    'b': insert(self.before), 'a': insert(self.after)})


# By the beginning of the places' names.
STEPS = {
    # an older change comes behind a newer one through another partition
    'sync_looked_back': Step(
        {}, [event(1, 'c', 1, 'new', 2)], [event(0, 'c', 1, 'old', 1)],
        SYNC, [['1', 'new']]),
    # a snapshot that lacks a row
    'sweep': Step(
        {'on_snapshot': 'replace'}, [event(0, 'c', i, 'v%d' % i, i) for i in (1, 2, 3)],
        [event(0, 'r', 2, 'w2', 9, 'first'), event(0, 'r', 3, 'w3', 9, 'last')],
        SYNC, [['2', 'w2'], ['3', 'w3']]),
    'seek': Step(
        {}, [event(0, 'c', 1, 'a', 1)], [],
        "SELECT cdc_pause('{0}', 'test', 'all'); SELECT cdc_seek('{0}', 'earliest')", [['1', 'a']]),
}


def step_for(place):
    for prefix, step in STEPS.items():
        if place.startswith(prefix):
            return step
    return None
