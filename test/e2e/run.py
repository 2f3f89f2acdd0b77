#!/usr/bin/python3
"""The whole way, with nothing replaced: MariaDB and PostgreSQL -> Debezium ->
Kafka -> cdcsync, by its workers, then source and target compared row by row.

usage: run.py [PART..]   (test/run.sh starts it, as an unprivileged user)

PART: names of outages and conditions; else all.  Environment: E2E_OUT, where
Maven put libs/ and plugins/; WORK, a directory to work in; PG_CONFIG, of the
PostgreSQL that has the extension.  Prints TAP.
"""
import os
import sys

import conditions
import histories
import outages
import scenario
import services
from flows import Flow, Line, Load
from services import wait_for
from tap import tap, progress
from warehouse import Warehouse, ident, literal


def create_pipelines(line):
    """Create the pipelines, as soon as the topics are there."""
    progress('create the pipelines')
    warehouse, by_topic = line.warehouse, {flow.topic: flow for flow in line.flows}

    def imported():
        line.connect.check()
        warehouse.sql('IMPORT FOREIGN SCHEMA kafka FROM SERVER real INTO kafka')
        have = {r['relname'] for r in warehouse.rows("SELECT relname FROM pg_class WHERE relkind = 'f'")}
        return by_topic.keys() <= have
    wait_for(imported, 180, 'the topics of all tables')
    # a made target wants a first event to learn from
    for flow in line.flows:
        wait_for(lambda flow=flow: warehouse.sql(f'SELECT 1 FROM kafka.{ident(flow.topic)} LIMIT 1'),
                 120, 'the first event of ' + flow.topic)
        if flow.mode == 'plain':
            flow.create(warehouse)
    made = []
    for source in line.sources:
        rows = warehouse.rows(f"SELECT * FROM cdc_create_all('real', '{source}_schema.*',"
                              """ options => '{"follow_new_topics": true}')""")
        for row in rows:
            if row['pipeline']:
                made.append(row['topic'])
                by_topic[row['topic']].name = row['pipeline']
                by_topic[row['topic']].target = row['target']
            else:
                progress(f'{row["topic"]}: {row["done"]}: {row["reason"]}')
    tap.equal(sorted(made), sorted(f.topic for f in line.flows if f.mode == 'schema'),
              'cdc_create_all() makes a pipeline for each topic of a table, and no other')
    for flow in line.flows:
        flow.landing = warehouse.sql('SELECT l.view FROM cdcsync.pipeline p JOIN cdcsync.landing l'
                                     f' USING (landing_id) WHERE name = {literal(flow.name)}')


def check_quiet(line):
    """Nothing is left, nothing was put aside"""
    for flow in line.flows:
        again = flow.by_hand(line.warehouse)
        tap.equal(again['events'], 0, f'{flow.name}: by hand there is nothing left to do')
    bad = line.warehouse.rows('SELECT pipeline, column_name, message FROM cdcsync.quarantine LIMIT 20')
    tap.equal(bad, [], 'the quarantine is empty')
    bad = line.warehouse.rows("SELECT pipeline, state, reason, last_error FROM cdc_status"
                              " WHERE state <> 'running' OR NOT exact")
    tap.equal(bad, [], 'all pipelines are running')


def by_hand_beside(line):
    """Refresh and sync by hand beside the workers, under load"""
    events = 0
    with Load(line):
        for flow in line.flows * 3:
            events += flow.by_hand(line.warehouse)['events']
    progress(f'{events} events were synced by hand')
    line.compare_all('by hand beside the workers')


def new_table(line):
    """A table that is made later gets its pipeline"""
    flow = Flow('mariadb', 'schema', scenario.LATE)
    line.sources['mariadb'].sql(scenario.LATE.ddl, 'salesdb')

    def made():
        return line.warehouse.rows('SELECT p.name, p.target::text, l.view::text AS landing FROM cdcsync.pipeline p'
                                   ' JOIN cdcsync.landing l USING (landing_id) JOIN pg_class t ON t.oid = l.topic'
                                   f' WHERE t.relname = {literal(flow.topic)}')
    row = wait_for(made, 60, 'the pipeline')[0]
    flow.name, flow.target, flow.landing = row['name'], row['target'], row['landing']
    flow.compare(line, 'a new table')


def history(line):
    """A small random history; histories.py makes longer ones"""
    histories.History(line, 1, 150).run()


def run_parts(line, root, chosen):
    def wanted(part):
        return not chosen or part.__name__ in chosen

    for part in (by_hand_beside, new_table):
        if wanted(part):
            progress(part.__doc__)
            tap.section(part, line)
    for part in outages.ALL:
        if wanted(part):
            tap.section(part(line).run)
    tap.section(outages.check_landing, line)
    tap.section(check_quiet, line)
    progress(f'{line.landed()} records landed, {Load.statements} statements of load')

    line.connect.kill()
    admin = services.Admin(root, line.kafka)
    conditions.Neighbour.one = conditions.Neighbour(line, admin, 'neighbour')
    for part in conditions.ALL:
        if wanted(part):
            progress(part.__doc__)
            tap.section(part, line, admin)
    if wanted(history):
        tap.section(history, line)


def run(root, bindir):
    line = Line(root, os.environ['E2E_OUT'], bindir, Warehouse(root, bindir))
    line.run_all(scenario.snapshot)
    progress('start Connect with four connectors')
    line.start_connect()
    line.warehouse.use_broker(line.kafka)
    create_pipelines(line)
    line.compare_all('snapshot')
    progress('change rows')
    line.run_all(scenario.changes)
    line.compare_all('changes')
    tap.section(check_quiet, line)
    run_parts(line, root, sys.argv[1:])


if __name__ == '__main__':
    sys.exit(services.run_test(run, 'e2e-run'))
