#!/usr/bin/env python3
"""Random histories into a target that refuses some rows for a while.

A trigger refuses the rows of some keys while its gate is closed.  Their changes
go to quarantine, others of the keys wait behind them or supersede them; retries
in vain, syncs that are rolled back, and discards that are rolled back come in
between.  When the gate opens, some records are retried alone, then all: then
nothing may be left in quarantine, and the target must be the fold of all that
has been applied, as if the gate had never been.  In the modes that keep what is
gone, that are the rows which are there still; no two versions of a row may be
valid at once.

Some histories have snapshots that replace the target, of a table that has
changed while the connector did not look.  Their gate lets everything go.  Of two
that one sync reads only the newest counts, and until that has ended the target
has rows that are gone.
"""

import random
import re
import sys

import pg
import random_histories
from fold import differences


# mode -> what the target has besides, which of its rows are there, and what a
# row is that goes
MODES = {
    'mirror': ('', '', "TG_OP = 'DELETE'"),
    'soft_delete': ('ALTER TABLE %(target)s ADD deleted_at timestamp',
                    'WHERE deleted_at IS NULL', 'r.deleted_at IS NOT NULL'),
    'history': ('ALTER TABLE %(target)s DROP CONSTRAINT %(target)s_pkey, '
                'ADD valid_from timestamp, ADD valid_to timestamp, '
                'ADD current boolean; CREATE INDEX ON %(target)s (%(columns)s)',
                'WHERE current', 'NOT r.current'),
}


MARK = re.compile(rb'"snapshot": ?"(first|last)"')


class GatedRun(random_histories.Run):
    """A run whose target has a gate."""

    def run(self):
        self.rng = random.Random(self.plan.seed)
        mode = random.Random(self.plan.seed + 1).choice(sorted(MODES))
        if mode == 'history' and (self.variant.meta or self.variant.resend):
            mode = 'mirror'     # what comes again is no version
        more, self.alive, goes = MODES[mode]
        self.mode = mode
        self.closed = False
        self.void = False       # the last snapshot that has ended counts no more
        self.last = self.steps[-1] if self.steps else None
        create, create_pipeline = pg.create_table, pg.create_pipeline

        def in_mode(session, name, table, target, options, **more):
            options = dict(options, mode=mode)
            if self.variant.snapshots:
                options.update(on_snapshot='replace', max_sweep_share=1)
            create_pipeline(session, name, table, target, options,
                            key=table.key, **more)

        def with_gate(target, table, constraints):
            key = ', '.join('r.%s' % pg.ident(k) for k in table.key)
            columns = ', '.join(map(pg.ident, table.key))
            return create(target, table, constraints) + ';' + more % {
                'target': target, 'columns': columns} + """;
CREATE TABLE %(gate)s (modulus int, rest int);
INSERT INTO %(gate)s VALUES (1, 1);
CREATE FUNCTION %(gate)s() RETURNS trigger LANGUAGE plpgsql AS $gate$
DECLARE
    r %(target)s := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF NOT (%(goes)s) AND EXISTS (SELECT FROM %(gate)s WHERE abs(hashtext(lower(concat_ws('/', %(key)s))::text)) %% modulus = rest) THEN
        RAISE EXCEPTION 'the gate is closed';
    END IF;
    RETURN r;
END $gate$;
CREATE TRIGGER gate BEFORE INSERT OR UPDATE OR DELETE ON %(target)s
    FOR EACH ROW EXECUTE FUNCTION %(gate)s()""" % {
                'gate': target + '_gate', 'target': target, 'key': key,
                'goes': goes if self.variant.snapshots else 'false'}
        pg.create_table, pg.create_pipeline = with_gate, in_mode
        try:
            return super().run()
        finally:
            pg.create_table, pg.create_pipeline = create, create_pipeline

    def drop(self):
        super().drop()
        self.app.run('DROP FUNCTION %s_gate(); DROP TABLE %s_gate'
                     % (self.target, self.target))

    def _set_gate(self, modulus, rest):
        self.closed = rest < modulus
        self.app.run('UPDATE %s_gate SET modulus = %d, rest = %d'
                     % (self.target, modulus, rest))

    def _close(self):
        modulus = self.rng.choice([1, 2, 3, 5])
        self._set_gate(modulus, self.rng.randrange(modulus))

    def _retry(self, where=None):
        return self.app.row('cdc_retry(%s%s)' % (
            pg.literal(self.name), '' if where is None else ', %d, %d' % where))

    def _in_vain(self):
        """Retries and discards that change nothing, as they are rolled back."""
        self.app.run('BEGIN')
        self._set_gate(1, 1)
        self._retry()
        self.app.run('ROLLBACK')
        self.closed = True
        places = sorted(pg.quarantine(self.reader, self.name))
        if places and self.rng.random() < 0.5:
            self.app.run('BEGIN')
            self.app.run('SELECT cdc_discard(%s, %d, %d)' % (
                (pg.literal(self.name),) + self.rng.choice(places)))
            self.app.run('ROLLBACK')
        if self.rng.random() < 0.5:
            self._retry()

    def _open(self):
        """Open the gate; first some records alone, then all that are left."""
        self._set_gate(1, 1)
        places = sorted(pg.quarantine(self.reader, self.name))
        for where in self.rng.sample(places, min(len(places), 3)):
            if where in pg.quarantine(self.reader, self.name):
                self._retry(where)
        result = self._retry()
        return ['left in quarantine: %r' % row for row in
                pg.quarantine(self.reader, self.name).values()] + (
            [] if result['quarantined'] == 0 else ['cdc_retry: %r' % result])

    def _step(self, step, before):
        if self.rng.random() < 0.6:
            self._close()
        return super()._step(step, before)

    def _note_snapshots(self, step):
        """Did one end, and the next begin, before there was a sync?"""
        marks = [m[1] for m in (MARK.search(r.value or b'') for r in step.records)
                 if m]
        if marks:
            self.void = marks[-1] == b'first' and (self.void or b'last' in marks)

    def _compare(self, before, after, step):
        self._note_snapshots(step)
        if self.closed and step is not self.last and self.rng.random() < 0.7:
            if self.rng.random() < 0.5:
                self._in_vain()
            return []
        problems = self._open()
        if self.void:
            return problems
        have = pg.rows(self.reader, self.target, self.table, self.alive)
        if self.mode == 'history':
            problems += self._overlaps()
        return problems + differences(self.table, after.rows, have)

    def _overlaps(self):
        """Versions of a row that are valid at once."""
        same = ' AND '.join('v.%s = w.%s' % (pg.ident(k), pg.ident(k))
                            for k in self.table.key)
        return ['two versions at once: %s' % pair for pair in self.reader.json(
            "SELECT coalesce(json_agg((v.*)::text || ' ' || (w.*)::text), '[]') "
            'FROM %s v JOIN %s w ON %s AND v.ctid < w.ctid '
            'AND v.valid_from < %s AND w.valid_from < %s '
            'AND v.valid_from < %s AND w.valid_from < %s'
            % (
                self.target, self.target, same, *(
                    "coalesce(%s.valid_to, 'infinity')" % v for v in 'wvvw')))]


def main():
    random_histories.Run = GatedRun
    # no records that are bad for good, which no gate lets in; no truncate, which
    # the gate refuses as a whole; no rows that wait, which any sync would try;
    # and no values that only a row has which changed its key in quarantine
    random_histories.FORCE = {'bad': False, 'truncate': False, 'unique': None,
                              'toast': False, 'spread': None, 'grow': False,
                              'gated': True}
    random_histories.HISTORIES = 60
    random_histories.FOUND = []
    return random_histories.main()


if __name__ == '__main__':
    sys.exit(main())
