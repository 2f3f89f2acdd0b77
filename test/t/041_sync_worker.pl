# Sync workers: what lands is in the target by itself, and a pipeline that is in
# trouble is alone with it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('sync_worker');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
max_worker_processes = 16
max_prepared_transactions = 2
cdcsync.max_sync_workers = 4
log_line_prefix = '%m [%p] %b '
default_transaction_isolation = 'repeatable read'
default_transaction_read_only = on
statement_timeout = '20s'
autovacuum = off
max_prepared_transactions = 2
});
$node->start;

# Sessions of the test are as they would be without the settings above, which
# are there for the workers.
$ENV{PGOPTIONS} =
  '-c default_transaction_read_only=off -c default_transaction_isolation=read\ committed'
  . ' -c statement_timeout=120s -c client_min_messages=warning';

sub sql
{
	my ($sql, %params) = @_;
	return $node->safe_psql('postgres', $sql, %params);
}

sql(q{
	CREATE EXTENSION cdcsync;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE SCHEMA a AUTHORIZATION alice;
	CREATE SCHEMA b AUTHORIZATION bob;
	CREATE FUNCTION ev(id bigint, v text) RETURNS bytea LANGUAGE sql
		AS $$SELECT convert_to(json_build_object('op', 'c', 'ts_ms', 1, 'before', NULL,
			'after', json_build_object('id', id, 'v', v))::text, 'UTF8')$$;
	CREATE FUNCTION k(id bigint) RETURNS bytea LANGUAGE sql
		AS $$SELECT convert_to(json_build_object('id', id)::text, 'UTF8')$$;
	-- the error that keeps a pipeline from being synced, when there is one
	CREATE FUNCTION wait_for(condition text, seconds int DEFAULT 30) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE ok boolean; until timestamptz := clock_timestamp() + make_interval(secs => seconds);
	BEGIN
		LOOP
			EXECUTE 'SELECT ' || condition INTO ok;
			IF ok OR clock_timestamp() > until THEN RETURN coalesce(ok, false); END IF;
			PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
		END LOOP;
	END$$;
});

# A pipeline of its own landing, with a target (id, v, who).
sub make_pipeline
{
	my ($owner, $name, $options) = @_;
	my $schema = substr($owner, 0, 1);

	$options //= '{}';
	sql(qq{
		SET ROLE $owner; SET search_path = $schema, public;
		CREATE TABLE $name (id bigint PRIMARY KEY, v text, who text);
		SELECT cdc_create('$name', target => '$name', columns => '{"id": "id", "v": "v"}',
						  options => '$options');
	});
	return;
}

sub land
{
	my ($owner, $name, $from, $to, $v) = @_;
	my $schema = substr($owner, 0, 1);

	$v //= 'v';
	sql(qq{INSERT INTO $schema.${name}_debezium (kafka_key, kafka_value)
		   SELECT k(i), ev(i, '$v') FROM generate_series($from, $to) i});
	return;
}

sub waited { return sql("SELECT cdc_wait('$_[0]', '30 s')"); }

# A statement's error or warning text.
sub messages
{
	my ($sql, %params) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', $sql, %params);
	return $stderr;
}

sub log_has { return slurp_file($node->logfile) =~ $_[0]; }

sub log_count
{
	my @hits = slurp_file($node->logfile) =~ /$_[0]/g;
	return scalar @hits;
}

#
# What lands is synced, and waited for
#
make_pipeline('alice', "p$_") for 1 .. 3;
make_pipeline('bob', 'q1');
land('alice', 'p1', 1, 10);
is(waited('p1'), 't', 'waits for what has landed');
is(sql('SELECT count(*) FROM a.p1'), 10, '.. which is in the target then');
land('bob', 'q1', 1, 5);
is(waited('q1'), 't', 'another owner has a worker too');
is(sql(q{SELECT count(DISTINCT usename) FROM pg_stat_activity
		 WHERE backend_type = 'cdcsync sync worker' AND usename IN ('alice', 'bob')}),
	2, 'each is connected as the owner');
is(sql(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT cdc_wait('p1'); COMMIT}),
	"1\nt", 'waits in REPEATABLE READ');
is(sql(q{SELECT cdc_wait('p2', NULL)}), 't', 'nothing in the landing: nothing to wait for');

like(messages(q{BEGIN; INSERT INTO a.p1_debezium (kafka_key, kafka_value) VALUES (k(11), ev(11, 'x'));
		SELECT cdc_wait('p1', '5 s')}),
	qr/cannot wait for records that landed in this transaction.*Commit first/s,
	'own uncommitted records are refused');
like(messages(q{SELECT cdc_wait('nobody')}), qr/pipeline "nobody" does not exist/, 'unknown pipeline');
like(messages(q{SET ROLE bob; SELECT cdc_wait('p1')}), qr/pipeline "p1" does not exist/,
	'pipeline of another role');
like(messages(q{SELECT cdc_wait(NULL)}), qr/must not be null/, 'no name');

#
# Landed in a transaction that is prepared here and committed there
#
sql(q{BEGIN; INSERT INTO b.q1_debezium (kafka_key, kafka_value) VALUES (k(6), ev(6, 'x')); PREPARE TRANSACTION 'late'});
land('alice', 'p1', 11, 11);
is(waited('p1'), 't', 'workers go on next to a prepared transaction');
is(sql('SELECT count(*) FROM b.q1'), 5, '.. whose records nobody sees');
sql(q{COMMIT PREPARED 'late'});
is(sql(q{SELECT wait_for('(SELECT count(*) = 6 FROM b.q1)')}), 't', 'when it is committed they are synced');

#
# A wait that ends before its time
#
sql(q{SELECT cdc_pause('p2', 'so be it')});
land('alice', 'p2', 1, 3);
my $start = time;
like(messages(q{SELECT cdc_wait('p2', '300 ms')}),
	qr/WARNING:  pipeline "p2" is not being synced: it is paused: so be it.*cdc_resume/s,
	'says that the pipeline is paused');
cmp_ok(time - $start, '<', 15, '.. and ends at the timeout');
is(sql('SELECT count(*) FROM a.p2'), 0, 'a paused pipeline is not synced');
{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT cdc_wait('p2', NULL)" ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));

	ok(sql(q{SELECT wait_for($$EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT cdc_wait(''p2''%' AND wait_event_type = 'Extension')$$)}) eq 't',
		'a session waits');
	is(sql(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity s USING (pid)
			 WHERE s.query LIKE 'SELECT cdc_wait(''p2''%' AND l.locktype = 'relation'}),
		0, '.. without a lock on any relation');
	sql(q{SELECT cdc_resume('p2')});
	$h->finish;
	is($out, "t\n", 'resume lets it go on, and the waiter returns');
}
is(sql('SELECT count(*) FROM a.p2'), 3, 'what had landed meanwhile is synced');

#
# auto_sync, sync_interval
#
make_pipeline('alice', 'manual', '{"auto_sync": false}');
land('alice', 'manual', 1, 3);
like(messages(q{SELECT cdc_wait('manual', '100 ms')}), qr/"auto_sync" is false/, 'auto_sync off: says so');
is(sql('SELECT count(*) FROM a.manual'), 0, '.. and is not synced');
sql(q{SELECT cdc_alter('manual', options => '{"auto_sync": true}')});
is(waited('manual'), 't', 'taken up when it is switched on');
make_pipeline('alice', 'slow', '{"sync_interval": "1 hour"}');
land('alice', 'slow', 1, 1);
is(waited('slow'), 't', 'the first sync is at once');
land('alice', 'slow', 2, 2);
land('alice', 'p1', 12, 12);
is(waited('p1'), 't', 'a neighbour goes on');
is(sql('SELECT count(*) FROM a.slow'), 1, '.. while sync_interval keeps it back');
is(sql(q{SELECT events FROM cdc_sync('slow')}), 1, 'a sync by hand does not care');

#
# One target is locked: its neighbours go on
#
{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));

	$in .= "BEGIN; LOCK TABLE a.p2; SELECT pg_backend_pid();\n";
	$h->pump until $out =~ /^(\d+)\n/;
	my ($pid) = $out =~ /^(\d+)\n/;

	land('alice', 'p2', 4, 6);
	my @lag;
	for my $i (1 .. 20)
	{
		land('alice', 'p1', 100 + $i, 100 + $i);
		my $t = time;
		is(waited('p1'), 't', "neighbour of a locked target, $i");
		push @lag, time - $t;
	}
	@lag = sort { $a <=> $b } @lag;
	note(sprintf('lag of the neighbour: median %.0f ms, longest %.0f ms', 1000 * $lag[10], 1000 * $lag[-1]));
	cmp_ok($lag[-1], '<', 10, 'never long');
	like(messages(q{SELECT cdc_wait('p2', '8 s')}),
		qr/canceling statement due to lock timeout.*Processes with locks on the target: $pid \(AccessExclusiveLock\)/s,
		'the reason names the process that has the lock');
	cmp_ok(log_count(qr/LOG:  pipeline "p2" is not synced: canceling statement due to lock timeout/),
		'==', 1, 'logged once, not at each try');
	$in .= "ROLLBACK;\n\\q\n";
	$h->finish;
	is(waited('p2'), 't', 'goes on when the lock is gone');
	ok(log_has(qr/pipeline "p2" is synced again/), '.. and says so');
}

# a manual sync is at it: the worker does not wait for it
{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));

	$in .= "BEGIN; SELECT events FROM cdc_sync('p2');\n";
	$h->pump until $out =~ /^\d+\n/;
	land('alice', 'p2', 7, 7);
	land('alice', 'p1', 200, 200);
	is(waited('p1'), 't', 'a sync by hand in a long transaction harms nobody');
	$in .= "COMMIT;\n\\q\n";
	$h->finish;
	is(waited('p2'), 't', '.. and the worker goes on after it');
}

#
# Other troubles of one pipeline
#
make_pipeline('alice', 'bad');
land('alice', 'bad', 1, 1);
is(waited('bad'), 't', 'runs at first');
sql('ALTER TABLE a.bad RENAME v TO w');
land('alice', 'bad', 2, 2);
land('alice', 'p1', 300, 300);
is(waited('p1'), 't', 'a column is gone: the neighbour goes on');
like(messages(q{SELECT cdc_wait('bad', '3 s')}), qr/pipeline "bad" is not being synced: .*column/,
	'the reason is told');
sql('ALTER TABLE a.bad RENAME w TO v');
is(waited('bad'), 't', 'recovers by itself');

sql(q{ALTER TABLE a.bad OWNER TO postgres; GRANT SELECT, INSERT, UPDATE, DELETE ON a.bad TO alice});
land('alice', 'bad', 3, 3);
is(waited('bad'), 't', 'the privileges are enough');
sql(q{REVOKE ALL ON a.bad FROM alice});
land('alice', 'bad', 4, 4);
land('alice', 'p1', 301, 301);
is(waited('p1'), 't', 'a privilege is revoked: the neighbour goes on');
like(messages(q{SELECT cdc_wait('bad', '3 s')}), qr/permission denied for table bad/, 'the reason is told');
sql(q{GRANT SELECT, INSERT, UPDATE, DELETE ON a.bad TO alice});
is(waited('bad'), 't', 'recovers when it is granted');

# dropped: no word in the log
sql(q{SELECT cdc_drop('bad')});
land('alice', 'p1', 302, 302);
is(waited('p1'), 't', 'after a drop the others go on');
ok(!log_has(qr/pipeline "bad" does not exist/), 'a dropped pipeline leaves no message');

#
# Code of a target: deferred triggers are run as the owner, and what a trigger
# leaves behind in the session does not reach the next pipeline
#
sql(q{CREATE ROLE helper; GRANT helper TO alice; GRANT CREATE ON SCHEMA a TO helper;});
sql(q{
	SET ROLE alice; SET search_path = a, public;
	CREATE TABLE seen (pipeline text, usr name, session name, path text, setting text, stamp int GENERATED ALWAYS AS IDENTITY);
	CREATE FUNCTION mess() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO a.seen VALUES (TG_TABLE_NAME, current_user, session_user, current_setting('search_path'), current_setting('my.setting', true));
		PERFORM set_config('my.setting', 'left behind', false), set_config('search_path', 'nowhere', false),
			set_config('work_mem', '64kB', false), set_config('lock_timeout', '7', false);
		SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
		PERFORM pg_advisory_lock(4711);
		EXECUTE 'PREPARE left_behind AS SELECT 1';
		CREATE TEMP TABLE p3 (id bigint PRIMARY KEY, v text, who text);
		EXECUTE 'SET ROLE helper';
		RETURN NULL;
	END$$;
	CREATE TRIGGER mess AFTER INSERT ON p3 FOR EACH STATEMENT EXECUTE FUNCTION mess();
	CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO seen VALUES (TG_TABLE_NAME || ' deferred', current_user, session_user, current_setting('search_path'), NULL);
		RETURN NULL;
	END$$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON p1 DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION at_commit();
	CREATE TABLE wall (usr name, setting text, locks bigint, plans bigint, temps bigint, work_mem text);
	CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO a.wall SELECT current_user, current_setting('my.setting', true),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
			(SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
			(SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid)),
			current_setting('work_mem');
		RETURN NULL;
	END$$;
	CREATE TRIGGER look AFTER INSERT ON p2 FOR EACH STATEMENT EXECUTE FUNCTION look();
});
$node->append_conf('postgresql.conf', 'cdcsync.max_sync_workers = 2');	# one for each owner
$node->restart;
land('alice', 'p3', 1, 1);
is(waited('p3'), 't', 'a trigger makes a mess');
land('alice', 'p3', 2, 2);
is(waited('p3'), 't', '.. and finds none of it when it comes again');
land('alice', 'p2', 400, 400);
is(waited('p2'), 't', 'the next pipeline of the process');
land('alice', 'p1', 400, 400);
is(waited('p1'), 't', 'one with a deferred trigger');
is(sql(q{SELECT count(*) FROM a.seen WHERE pipeline = 'p3' AND usr = 'alice' AND session = 'alice' AND path = 'a, pg_temp' AND setting IS DISTINCT FROM 'left behind'}),
	2, 'each sync begins with a clean session, as the owner');
is(sql(q{SELECT usr, coalesce(setting, '') <> 'left behind', locks, plans, temps, work_mem FROM a.wall}),
	'alice|t|0|0|0|32MB', 'nothing is left for another pipeline');
is(sql(q{SELECT usr, session, path FROM a.seen WHERE pipeline = 'p1 deferred' ORDER BY stamp DESC LIMIT 1}),
	'alice|alice|a, pg_temp', 'a deferred trigger is run as the owner, with the search_path of the others');

# a deferred trigger that has an error of the system takes its own pipeline's
# window, and that alone
sql(q{CREATE OR REPLACE FUNCTION a.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not at commit' USING ERRCODE = 'insufficient_resources'; END$$});
land('alice', 'p1', 401, 401);
land('alice', 'p2', 401, 401);
is(waited('p2'), 't', 'an error at commit: the neighbour goes on');
like(messages(q{SELECT cdc_wait('p1', '3 s')}), qr/not at commit/, 'the reason is told');
sql(q{CREATE OR REPLACE FUNCTION a.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$});
is(waited('p1'), 't', 'recovers by itself');

# and nobody gains the rights of another
sql(q{
	CREATE OR REPLACE FUNCTION a.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			EXECUTE 'RESET SESSION AUTHORIZATION; RESET ROLE; ALTER ROLE alice SUPERUSER';
		EXCEPTION WHEN insufficient_privilege THEN
			INSERT INTO a.seen VALUES ('refused', current_user, session_user);
		END;
		RETURN NULL;
	END$$});
land('alice', 'p1', 402, 402);
is(waited('p1'), 't', 'a trigger that wants to be superuser');
is(sql(q{SELECT usr, session FROM a.seen WHERE pipeline = 'refused'}), 'alice|alice', '.. is refused at commit, too');

#
# Records that wait for another pipeline's
#
sql(q{
	SET ROLE alice; SET search_path = a, public;
	CREATE TABLE parent (id bigint PRIMARY KEY, v text, who text);
	CREATE TABLE child (id bigint PRIMARY KEY, v bigint REFERENCES parent);
	SELECT cdc_create('child', target => 'child', columns => '{"id": "id", "v": "v"}');
});
land('alice', 'child', 1, 1, 77);
is(waited('child'), 't', 'a foreign key is not satisfied');
is(sql('SELECT count(*) FROM a.child'), 0, '.. so the record waits');
sql('INSERT INTO a.parent VALUES (77)');
is(sql(q{SELECT wait_for('EXISTS (SELECT FROM a.child)')}), 't', 'tried again though nothing lands');

# .. and at once when a pipeline has synced the row that it waits for: grandparent,
# parent and child, made and deleted in the wrong order
sql(q{
	SET ROLE alice; SET search_path = a, public;
	CREATE TABLE g (id bigint PRIMARY KEY, v bigint);
	CREATE TABLE p (id bigint PRIMARY KEY, v bigint REFERENCES g);
	CREATE TABLE c (id bigint PRIMARY KEY, v bigint REFERENCES p);
	SELECT cdc_create(t, target => t::regclass, columns => '{"id": "id", "v": "v"}',
					  options => '{"constraint_wait": "1 hour"}') FROM unnest('{g,p,c}'::text[]) t;
});
my $waiting = q{SELECT coalesce(string_agg(format('%s %s', pipeline, state), ', ' ORDER BY pipeline), 'none')
	FROM cdcsync.quarantine WHERE pipeline IN ('g', 'p', 'c')};
my $took = 0;
foreach my $round (1 .. 5)
{
	land('alice', 'c', $round, $round, $round);
	land('alice', 'p', $round, $round, $round);
	is(waited($_), 't', "round $round: $_ is read") foreach qw(c p);
	is(sql($waiting), 'c waiting, p waiting', '.. and waits');
	my $since = time;
	land('alice', 'g', $round, $round, $round);
	is(sql("SELECT wait_for('EXISTS (SELECT FROM a.c WHERE id = $round)')"), 't', 'the grandparent comes: all are there');
	$took += time - $since;
}
# by looking now and then it would take 5 s for each of the two
cmp_ok($took, '<', 20, '.. soon');
sql(q{
	INSERT INTO a.g_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', '{"op":"d","before":{"id":1},"after":null}');
	INSERT INTO a.p_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', '{"op":"d","before":{"id":1},"after":null}');
});
is(waited($_), 't', "a delete: $_ is read") foreach qw(g p);
is(sql($waiting), 'g waiting, p waiting', '.. and waits');
like(sql(q{SELECT reason FROM cdc_status WHERE pipeline = 'g'}), qr/^1 record waits for other rows/, 'cdc_status says so');
sql(q{INSERT INTO a.c_debezium (kafka_key, kafka_value) VALUES ('{"id":1}', '{"op":"d","before":{"id":1},"after":null}')});
is(sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.g WHERE id = 1)')}), 't', 'the child goes: all are gone');
is(sql($waiting), 'none', 'and nothing waits');

# The source has truncated three tables at once.  The one that is referenced is
# refused as a whole until the others have been synced, and goes at once then.
sub truncate_source
{
	sql(qq{INSERT INTO a.${_}_debezium (kafka_value) VALUES ('{"op":"t","source":{}}')}) foreach @_;
}
my $left = q{(SELECT count(*) FROM a.g) + (SELECT count(*) FROM a.p) + (SELECT count(*) FROM a.c)};
cmp_ok(sql("SELECT $left"), '>', 0, 'there are rows to truncate');
truncate_source('p');
is(sql(q{SELECT wait_for($$EXISTS (SELECT FROM cdc_status WHERE pipeline = 'p' AND next_try > clock_timestamp() + '3 s')$$)}),
	't', 'a truncate is refused, and its pauses get longer');
is(sql(q{SELECT state, sqlstate, hint ~ '^The source has truncated the table' FROM cdc_status WHERE pipeline = 'p'}),
	'waiting|23503|t', '.. it waits, and cdc_status says for what');
truncate_source('g');
is(sql(q{SELECT wait_for($$EXISTS (SELECT FROM cdc_status WHERE pipeline = 'g' AND state = 'waiting')$$)}),
	't', 'so does what that one refers to');
my $begin = time;
truncate_source('c');
is(sql("SELECT wait_for('$left = 0')"), 't', 'the last one lets all of them go');
cmp_ok(time - $begin, '<', 3, '.. before the pause is over');
is(sql(q{SELECT wait_for($$NOT EXISTS (SELECT FROM cdc_status WHERE pipeline IN ('g', 'p', 'c') AND sqlstate IS NOT NULL)$$)}),
	't', 'and nothing is wrong any more');
foreach my $order ([qw(g p c)], [qw(c p g)], [qw(p c g)])
{
	land('alice', $_, 1, 1, 1) foreach qw(g p c);
	is(sql('SELECT wait_for($$EXISTS (SELECT FROM a.c)$$)'), 't', 'rows again');
	truncate_source(@$order);
	is(sql("SELECT wait_for('$left = 0')"), 't', "truncated in the order @$order");
}

#
# A topic: its end when the call begins is what counts
#
{
	my $broker = start_broker();

	$broker->topic('orders', 2);
	sql(sprintf(q{
		CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '%s');
		GRANT USAGE ON FOREIGN SERVER broker TO alice;
		SET ROLE alice; SET search_path = a, public;
		IMPORT FOREIGN SCHEMA kafka LIMIT TO (orders) FROM SERVER broker INTO a;
		CREATE TABLE orders_target (id bigint PRIMARY KEY, v text);
		SELECT cdc_create('orders', 'a.orders', 'orders_target', columns => '{"id": "id", "v": "v"}',
						  options => '{"auto_refresh": false}')}, $broker->bootstrap));
	is(waited('orders'), 't', 'an empty topic: nothing to wait for');
	$broker->rec('orders', $_ % 2, key => qq({"id":$_}),
		value => qq({"op":"c","ts_ms":1,"before":null,"after":{"id":$_,"v":"v"}})) for 1 .. 9;
	$broker->sync;
	is(sql(q{SELECT cdc_wait('orders', '500 ms')}), 'f', 'not landed yet');
	is(sql(q{SELECT records FROM cdc_refresh('orders')}), 9, 'lands');
	is(waited('orders'), 't', '.. and is waited for');
	is(sql('SELECT count(*) FROM a.orders_target'), 9, '.. to the end');
	is(sql(q{SET ROLE alice; SELECT cdc_wait('orders')}), 't', 'the owner may wait');
	$broker->stop;
	like(messages(q{SELECT cdc_wait('orders')}), qr/ERROR:.*(?:broker|connect)/s, 'no broker, no answer');
}

#
# A long backlog takes turns with others, with one worker
#
make_pipeline('alice', 'big');
sql(q{SET ROLE alice; CREATE FUNCTION a.idle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END$$;
	CREATE TRIGGER idle AFTER INSERT ON a.big FOR EACH STATEMENT EXECUTE FUNCTION a.idle()});
for my $i (1 .. 5)
{
	land('alice', 'big', 10 * $i, 10 * $i + 9);
	land('alice', 'p2', 500 + $i, 500 + $i);
	is(waited('p2'), 't', "neighbour of a busy pipeline, $i");
}
is(waited('big'), 't', 'which gets there as well');

#
# Retention
#
sub chunks { return sql("SELECT count(*) FROM $_[0]_debezium_chunk"); }

make_pipeline('alice', 'gone', '{"retention": "0"}');
make_pipeline('alice', 'kept', '{"retention": "infinite"}');
make_pipeline('alice', 'two', '{"retention": "0"}');
sql(q{SET ROLE alice; SET search_path = a, public;
	CREATE TABLE two_too (id bigint PRIMARY KEY, v text, who text);
	SELECT cdc_create('two_too', target => 'two_too', columns => '{"id": "id", "v": "v"}',
					  options => '{"landing": "a.two_debezium", "retention": 0}');
	SELECT cdc_pause('two_too')});
for my $name ('gone', 'kept', 'two')
{
	for my $i (1 .. 3)
	{
		land('alice', $name, 10 * $i, 10 * $i + 9);
	}
	is(waited($name), 't', "$name is synced");
}
is(sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.gone_debezium_chunk)')}), 't', 'retention 0: gone soon');
land('alice', 'gone', 40, 49);
is(waited('gone'), 't', 'and more');
is(sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.gone_debezium_chunk)')}), 't', '.. is gone, too');
is(sql('SELECT count(*) FROM a.gone'), 40, 'the target has it all');
is(chunks('a.kept'), 3, 'infinite: kept');
is(chunks('a.two'), 3, 'what a paused pipeline has not synced is kept');
sql(q{SELECT cdc_resume('two_too')});
is(waited('two_too'), 't', 'it goes on');
is(sql('SELECT count(*) FROM a.two_too'), 30, '.. from the beginning');
is(sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.two_debezium_chunk)')}), 't', '.. and then nobody needs it');
is(chunks('a.p1') > 0, 1, 'one day is the default');

# a session that reads or locks the chunk table harms nobody
{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));

	land('alice', 'gone', 50, 50);
	is(waited('gone'), 't', 'more has landed');
	sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.gone_debezium_chunk)')});
	sql(q{SELECT cdc_alter('gone', options => '{"retention": "1 day"}')});
	land('alice', 'gone', 51, 51);
	is(waited('gone'), 't', 'more has landed');
	$in .= "BEGIN; SELECT 1 FROM a.gone_debezium_chunk FOR UPDATE;\n";
	$h->pump until $out =~ /1\n/;
	sql(q{SELECT cdc_alter('gone', options => '{"retention": "0"}')});
	land('alice', 'p2', 600, 600);
	is(waited('p2'), 't', 'a locked chunk harms no sync');
	$in .= "ROLLBACK;\n\\q\n";
	$h->finish;
	land('alice', 'gone', 52, 52);
	is(waited('gone'), 't', 'when the lock is gone');
	is(sql(q{SELECT wait_for('NOT EXISTS (SELECT FROM a.gone_debezium_chunk)', 90)}), 't', '.. it is deleted');
}

#
# Who commits a prepared transaction does not know what it has landed, nor does
# anybody in shared memory after a restart.
#
foreach my $restart (0, 1)
{
	my $id = 100 + $restart;

	make_pipeline('alice', 'prepared') if !$restart;
	is(waited('prepared'), 't', 'nothing is left to do');
	sql(qq{BEGIN;
		   INSERT INTO a.prepared_debezium (kafka_key, kafka_value) VALUES (k($id), ev($id, 'p'));
		   PREPARE TRANSACTION 'landed'});
	$node->restart if $restart;
	# a later sync of another pipeline: the workers have looked at the catalog before the commit
	make_pipeline('alice', "before_commit$restart");
	land('alice', "before_commit$restart", 1, 1);
	is(waited("before_commit$restart"), 't', 'the workers are there');
	sql(q{COMMIT PREPARED 'landed'});
	is(waited('prepared'), 't', 'what a prepared transaction has landed is synced' . ($restart ? ', after a restart' : ''));
	is(sql(qq{SELECT v FROM a.prepared WHERE id = $id}), 'p', '.. to the target');
}

#
# Idle: no transaction, no WAL.  The server writes some by itself now and then,
# so one quiet while of several is enough.
#
{
	my $workers = q{(SELECT string_agg(pid || ' ' || state_change, ',' ORDER BY pid)
					 FROM pg_stat_activity WHERE backend_type = 'cdcsync sync worker')};
	my $quiet = 'f';

	for (1 .. 10)
	{
		my $before = sql("SELECT pg_current_wal_insert_lsn() || '/' || $workers");
		my ($lsn, $states) = $before =~ m{^(\w+/\w+)/(.*)$};

		sql('SELECT pg_sleep(1.5)');
		$quiet = sql(qq{SELECT pg_current_wal_insert_lsn() - '$lsn'::pg_lsn < 200 AND $workers = '$states'});
		last if $quiet eq 't';
	}
	is($quiet, 't', 'idle workers write no WAL and begin nothing');
}

$node->stop('fast');
is(log_count(qr/(?:PANIC|terminated by signal|TRAP)/), 0, 'nothing has crashed');

done_testing();
