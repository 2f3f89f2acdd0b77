# One bad pipeline among good ones: it is known what is wrong with it, it goes on
# when that is over, and the others hardly notice.
#
# alice has the bad pipelines and two good ones, one of them on a topic; bob has a
# good one.  Each has one sync worker, so that the good pipelines of alice share
# the process with the bad ones.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $directory = PostgreSQL::Test::Utils::tempdir;
my $small_disk = "$directory/small_disk";
my $full = "$directory/full";
mkdir $small_disk;
$ENV{FULL_DISK_DIR} = $small_disk;
$ENV{FULL_DISK_FLAG} = $full;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('neighbours');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
max_worker_processes = 20
cdcsync.max_sync_workers = 2
cdcsync.metadata_interval = 1
autovacuum = off
log_line_prefix = '%m [%p] %b %u '
});
{
	local $ENV{LD_PRELOAD} = "$FindBin::Bin/../../build/full_disk.so";
	$node->start;
}
my $from_17 = $node->safe_psql('postgres', 'SHOW server_version_num') >= 170000;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub sql_as { return sql("SET ROLE $_[0]; SET search_path = $_[0], public; $_[1]"); }

# Does it become true, soon?
sub becomes
{
	my ($query, $name) = @_;
	local $PostgreSQL::Test::Utils::timeout_default = 30;

	ok($node->poll_query_until('postgres', $query), $name)
	  or diag(sql('SELECT pipeline, state, reason, sqlstate, hint, lag_records, next_try - now() FROM cdc_status'));
	return;
}

my %next = ();

# The next records of a pipeline land; wide ones, if they are to take space.
sub land
{
	my ($owner, $name, $n, $width) = @_;
	my $from = $next{$name} // 1;

	$n //= 1;
	$width //= 1;
	$next{$name} = $from + $n;
	sql("INSERT INTO $owner.${name}_debezium (kafka_key, kafka_value)
		SELECT k(i), ev(i, $width) FROM generate_series($from, $from + $n - 1) i");
	return;
}

sub produce
{
	my ($name, $n, $width) = @_;
	my $from = $next{$name} // 1;

	$n //= 1;
	$next{$name} = $from + $n;
	foreach my $i ($from .. $from + $n - 1)
	{
		# nothing that compresses
		my $v = join '', map { sprintf '%08x', rand(2**32) } 1 .. ($width // 8) / 8;
		$broker->rec($name, $i % 2, key => qq({"id":$i}),
			value => qq({"op":"c","ts_ms":1,"before":null,"after":{"id":$i,"v":"$v"}}));
	}
	$broker->sync;
	return;
}

sub make_pipeline
{
	my ($owner, $name, $columns) = @_;

	$columns //= '';
	sql_as($owner, qq{
		CREATE TABLE $name (id bigint PRIMARY KEY, v text$columns);
		SELECT cdc_create('$name', target => '$name', columns => '{"id": "id", "v": "v"}')});
	return;
}

sub make_stream
{
	my ($owner, $name) = @_;

	$broker->topic($name, 2);
	sql_as($owner, qq{
		IMPORT FOREIGN SCHEMA kafka LIMIT TO ($name) FROM SERVER broker INTO $owner;
		CREATE TABLE ${name}_target (id bigint PRIMARY KEY, v text);
		SELECT cdc_create('$name', '$owner.$name', '${name}_target', columns => '{"id": "id", "v": "v"}')});
	return;
}

# Everything is in the target.
sub complete
{
	my ($owner, $name, $target) = @_;
	my $n = ($next{$name} // 1) - 1;

	is(sql("SELECT cdc_wait('$name', '60 s')"), 't', "$name has caught up")
	  or diag(sql("SELECT * FROM cdc_status WHERE pipeline = '$name'"));
	is(sql('SELECT count(*), max(id) FROM ' . ($target // "$owner.$name")), "$n|$n", "$name: nothing is lost");
	return;
}

my @good = ([ 'alice', 'good' ], [ 'alice', 'stream' ], [ 'bob', 'calm' ]);
my @lags;

# The neighbours' lag while something is wrong.
sub neighbours_go_on
{
	my ($situation, $times, $longest) = @_;
	my (%lag, $failed);

	for (1 .. $times // 4)
	{
		foreach my $good (@good)
		{
			my ($owner, $name) = @$good;
			my $start = time;

			$name eq 'stream' ? produce($name) : land($owner, $name);
			$failed = $name if sql("SELECT cdc_wait('$name', '30 s')") ne 't';
			push @{ $lag{$name} }, time - $start;
		}
	}
	is($failed, undef, "$situation: the neighbours go on");
	my $worst = 0;
	my @texts;
	foreach my $name (sort keys %lag)
	{
		my @sorted = sort { $a <=> $b } @{ $lag{$name} };

		$worst = $sorted[-1] if $sorted[-1] > $worst;
		push @texts, sprintf('%s %.0f/%.0f', $name, 1000 * $sorted[ @sorted / 2 ], 1000 * $sorted[-1]);
	}
	cmp_ok($worst, '<', $longest // 10, '.. with little lag');
	push @lags, sprintf('%-34s %s', $situation, join(', ', @texts));
	note("lag in ms, median/longest: $lags[-1]");
	return;
}

# What cdc_status says of the pipeline.
sub backs_off
{
	my ($name, $sqlstate, $reason, $hint) = @_;

	becomes("SELECT state = 'backing off' AND sqlstate = '$sqlstate' AND next_try > since FROM cdc_status WHERE pipeline = '$name'",
		"$name backs off with $sqlstate");
	my ($is, $has) = split /\|/, sql("SELECT translate(reason, E'|\n', '  '), translate(hint, E'|\n', '  ') FROM cdc_status WHERE pipeline = '$name'"), 2;
	like($is, $reason, '.. and the reason');
	like($has, $hint, '.. and a hint') if $hint;
	return;
}

# The pauses between tries become longer, until this one.
sub pauses_grow
{
	my ($name, $least) = @_;

	becomes("SELECT next_try - clock_timestamp() > interval '$least s' FROM cdc_status WHERE pipeline = '$name'",
		"the pause of $name grows to more than $least s");
	return;
}

sub recovers
{
	my ($owner, $name, $seconds, $target) = @_;
	my $start = time;

	complete($owner, $name, $target);
	cmp_ok(time - $start, '<', $seconds, sprintf '.. after %.1f s', time - $start) if $seconds;
	is(sql("SELECT state, sqlstate, reason FROM cdc_status WHERE pipeline = '$name'"), 'running||', '.. and runs');
	return;
}

sub workers_of
{
	return sql("SELECT string_agg(pid::text, ',' ORDER BY pid) FROM cdcsync.worker_status WHERE worker = 'sync' AND owner = '$_[0]'::regrole");
}

sql(sprintf q{
	CREATE EXTENSION cdcsync;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE SCHEMA alice AUTHORIZATION alice;
	CREATE SCHEMA bob AUTHORIZATION bob;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '%s');
	GRANT USAGE ON FOREIGN SERVER broker TO alice, bob;
	CREATE FUNCTION ev(id bigint, width int) RETURNS bytea LANGUAGE sql
		AS $$SELECT convert_to(json_build_object('op', 'c', 'ts_ms', 1, 'before', NULL,
			'after', json_build_object('id', id, 'v',
			(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, width))))::text, 'UTF8')$$;
	CREATE FUNCTION k(id bigint) RETURNS bytea LANGUAGE sql
		AS $$SELECT convert_to(json_build_object('id', id)::text, 'UTF8')$$;
}, $broker->bootstrap);
sql("CREATE TABLESPACE small LOCATION '$small_disk'");
sql('GRANT CREATE ON TABLESPACE small TO PUBLIC');
make_pipeline('alice', 'good');
make_stream('alice', 'stream');
make_pipeline('bob', 'calm');
neighbours_go_on('all is well');

#
# A full disk: under the target
#
make_pipeline('alice', 'disk');
sql_as('alice', 'ALTER TABLE disk SET TABLESPACE small');
land('alice', 'disk', 10);
complete('alice', 'disk');
append_to_file($full, '');
land('alice', 'disk', 100, 100);
backs_off('disk', '53100', qr/^could not extend file .*No space left on device/, qr/disk space/);
neighbours_go_on('disk of a target is full');
pauses_grow('disk', 2);
unlink $full;
recovers('alice', 'disk');

# .. under its index alone, at a time when another try would be long off
sql_as('alice', 'ALTER TABLE disk SET TABLESPACE pg_default; ALTER INDEX disk_pkey SET TABLESPACE small');
append_to_file($full, '');
land('alice', 'disk', 5000);
backs_off('disk', '53100', qr/^could not extend file/);
unlink $full;
recovers('alice', 'disk');

# .. under temporary files
make_pipeline('alice', 'sorted');
sql_as('alice', q{
	CREATE FUNCTION sort() RETURNS trigger LANGUAGE plpgsql SET temp_tablespaces = small SET work_mem = '64kB' AS $$
	BEGIN
		PERFORM count(*) FROM (SELECT FROM generate_series(1, 100000) i ORDER BY md5(i::text)) x;
		RETURN NULL;
	END$$;
	CREATE TRIGGER sort AFTER INSERT ON sorted FOR EACH STATEMENT EXECUTE FUNCTION sort()});
append_to_file($full, '');
land('alice', 'sorted', 5);
backs_off('sorted', '53100', qr/temporary file|No space left/);
neighbours_go_on('disk of temporary files is full');
unlink $full;
recovers('alice', 'sorted');
sql_as('alice', q{SELECT cdc_drop('sorted')});

# .. under a landing
make_stream('alice', 'narrow');
sql_as('alice', q{ALTER TABLE narrow_debezium_chunk SET TABLESPACE small});
produce('narrow', 10);
complete('alice', 'narrow', 'alice.narrow_target');
append_to_file($full, '');
produce('narrow', 100, 4000);
backs_off('narrow', '53100', qr/^could not extend file .*No space left on device/, qr/disk space/);
neighbours_go_on('disk of a landing is full');
is(sql(q{SELECT sum(next_offset) FROM cdcsync.position JOIN cdcsync.landing USING (landing_id) WHERE view = 'alice.narrow_debezium'::regclass}), 10,
	'its position stays');
pauses_grow('narrow', 2);
unlink $full;
recovers('alice', 'narrow', undef, 'alice.narrow_target');
is(sql(q{SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)), (SELECT sum(next_offset) FROM cdcsync.position
		JOIN cdcsync.landing USING (landing_id) WHERE view = 'alice.narrow_debezium'::regclass) FROM alice.narrow_debezium}),
	'110|110|110', 'each record has landed once');

#
# Locks: a row of the target
#
my $session = $node->background_psql('postgres');
make_pipeline('alice', 'locked');
land('alice', 'locked', 10);
complete('alice', 'locked');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe('BEGIN; UPDATE alice.locked SET v = NULL WHERE id = 5');
sql(q{INSERT INTO alice.locked_debezium (kafka_key, kafka_value) VALUES (k(5), ev(5, 1))});
backs_off('locked', '55P03', qr/lock timeout/, qr/Processes with locks on the target: $pid \(RowExclusiveLock\)/);
neighbours_go_on('a row of a target is locked', 10, 5);
pauses_grow('locked', 3);
neighbours_go_on('.. and still is');
$session->query_safe('COMMIT');
recovers('alice', 'locked');
is(sql('SELECT v IS NOT NULL FROM alice.locked WHERE id = 5'), 't', 'the record is the last word');

# the table; the longest that a neighbour waits is one try
$session->query_safe('BEGIN; LOCK TABLE alice.locked IN ACCESS EXCLUSIVE MODE');
land('alice', 'locked');
backs_off('locked', '55P03', qr/lock timeout/, qr/$pid \(AccessExclusiveLock\)/);
neighbours_go_on('a target is locked', 10, 5);
$session->query_safe('ROLLBACK');
recovers('alice', 'locked');

#
# Open transactions
#
foreach my $end ('ROLLBACK', 'COMMIT')
{
	$session->query_safe("BEGIN; SELECT * FROM cdc_refresh('narrow')");
	# so that it has touched the position
	produce('narrow', 5);
	is($session->query_safe(q{SELECT records FROM cdc_refresh('narrow')}), 5, 'a transaction has refreshed');
	produce('narrow', 5);
	neighbours_go_on("open after cdc_refresh, $end");
	is(sql('SELECT count(*) FROM alice.narrow_target'), $next{narrow} - 11, 'that landing waits');
	becomes(q{SELECT state = 'waiting' FROM cdc_status WHERE pipeline = 'narrow'}, '.. and says so') if $end eq 'COMMIT';
	$session->query_safe($end);
	recovers('alice', 'narrow', 15, 'alice.narrow_target');

	$session->query_safe('BEGIN; INSERT INTO alice.locked_debezium (kafka_key, kafka_value) VALUES (k(1), ev(1, 1))');
	neighbours_go_on("open after an INSERT, $end");
	$session->query_safe($end);
	land('alice', 'locked');
	recovers('alice', 'locked', 15);

	# a sync by hand has touched the watermark and the target
	land('alice', 'locked');
	$session->query_safe("BEGIN; SELECT * FROM cdc_sync('locked')");
	land('alice', 'locked');
	neighbours_go_on("open after cdc_sync, $end");
	$session->query_safe($end);
	recovers('alice', 'locked', 15);
}
$session->quit;		# before its timer can run out
is(sql(q{SELECT count(*) = count(DISTINCT (kafka_partition, kafka_offset)) FROM alice.narrow_debezium}), 't', 'nothing has landed twice');

#
# The target's definition: a change of it, or of what it depends on, ends the pause
#
make_pipeline('alice', 'shape');
land('alice', 'shape', 3);
complete('alice', 'shape');
foreach my $case (
	[ 'a column was dropped', 'DROP v', 'ADD v text', 8 ],
	[ 'a column was renamed', 'RENAME v TO w', 'RENAME w TO v', 3 ])
{
	my ($what, $break, $mend, $pause) = @$case;

	sql("ALTER TABLE alice.shape $break");
	land('alice', 'shape');
	backs_off('shape', '42703', qr/^column "v" of target "shape" does not exist/, qr/The target's columns are/);
	neighbours_go_on($what, 2);
	pauses_grow('shape', $pause);
	sql("ALTER TABLE alice.shape $mend");
	recovers('alice', 'shape', 4);
}

# values that do not fit are the records' trouble: too many stop the pipeline
sql('ALTER TABLE alice.shape ALTER v TYPE int USING NULL');
land('alice', 'shape', 200);
becomes(q{SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'shape'}, 'a column has another type: stopped');
is(sql(q{SELECT sqlstate LIKE '22%', reason IS NOT NULL, hint LIKE '%cdcsync.quarantine%' FROM cdc_status WHERE pipeline = 'shape'}),
	't|t|t', '.. and says why');
neighbours_go_on('a column has another type', 2);
sql('ALTER TABLE alice.shape ALTER v TYPE text');
sql(q{SELECT cdc_resume('shape')});
recovers('alice', 'shape');

#
# Rights
#
make_pipeline('alice', 'rights');
land('alice', 'rights');
complete('alice', 'rights');
sql('CREATE SCHEMA shelf; GRANT USAGE, CREATE ON SCHEMA shelf TO alice; ALTER TABLE alice.rights SET SCHEMA shelf;
	ALTER TABLE shelf.rights OWNER TO postgres; GRANT SELECT, INSERT, UPDATE, DELETE ON shelf.rights TO alice');
foreach my $case (
	[ 'ALL ON shelf.rights', 'SELECT, INSERT, UPDATE, DELETE ON shelf.rights', qr/permission denied for table rights/ ],
	[ 'INSERT ON shelf.rights', 'INSERT ON shelf.rights', qr/permission denied for table rights/ ],
	[ 'USAGE ON SCHEMA shelf', 'USAGE ON SCHEMA shelf', qr/permission denied for schema shelf/ ])
{
	my ($revoke, $grant, $reason) = @$case;

	sql("REVOKE $revoke FROM alice");
	land('alice', 'rights');
	backs_off('rights', '42501', $reason);
	neighbours_go_on("revoked $revoke", 2);
	pauses_grow('rights', 3);
	sql("GRANT $grant TO alice");
	recovers('alice', 'rights', 4, 'shelf.rights');
}

#
# The role may not log in: its worker is not started, and the others are
#
sql('CREATE ROLE carol LOGIN; CREATE SCHEMA carol AUTHORIZATION carol');
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 3\n");
$node->reload;
make_pipeline('carol', 'hers');
land('carol', 'hers');
complete('carol', 'hers');
SKIP: {
	skip 'NOLOGIN does not matter', 6 if $from_17;
	sql('ALTER ROLE carol NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE usename = \'carol\'');
	land('carol', 'hers');
	backs_off('hers', '28000', qr/role "carol", is not permitted to log in/, qr/ALTER ROLE carol LOGIN/);
	neighbours_go_on('an owner may not log in', 2);
	sql('ALTER ROLE carol LOGIN');
	recovers('carol', 'hers', 5);
}

#
# Errors of all kinds come from triggers: each is that pipeline's alone
#
make_pipeline('alice', 'odd');
sql_as('alice', q{
	CREATE TABLE code (code text);
	CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE c text;
	BEGIN
		SELECT code INTO c FROM alice.code;
		IF c IS NOT NULL THEN RAISE 'so odd: %', c USING ERRCODE = c; END IF;
		RETURN NULL;
	END$$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON odd DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION odd();
	CREATE TRIGGER odd AFTER INSERT ON odd FOR EACH STATEMENT EXECUTE FUNCTION odd()});
land('alice', 'odd');
complete('alice', 'odd');
my $workers = workers_of('alice');
foreach my $code (qw(57P01 57P02 57014 40001 40P01 53200 53100 08006 25P02 XX000 XX001 42501 55P03))
{
	sql("TRUNCATE alice.code; INSERT INTO alice.code VALUES ('$code')");
	# a function that is new ends the pause
	sql_as('alice', 'ALTER FUNCTION odd() COST 100');
	land('alice', 'odd');
	becomes("SELECT state = 'backing off' AND sqlstate = '$code' FROM cdc_status WHERE pipeline = 'odd'", "a trigger raises $code");
}
neighbours_go_on('errors of all kinds');
sql('TRUNCATE alice.code');
sql_as('alice', 'ALTER FUNCTION odd() COST 100');
recovers('alice', 'odd', 4);
# some are the records' trouble: it takes a person
sql(q{INSERT INTO alice.code VALUES ('22000')});
land('alice', 'odd', 200);
becomes(q{SELECT state = 'stopped' AND sqlstate = '22000' AND hint ~ 'quarantine' FROM cdc_status WHERE pipeline = 'odd'}, 'a trigger raises 22000');
neighbours_go_on('a trigger refuses all records', 2);
sql('TRUNCATE alice.code');
sql(q{SELECT cdc_resume('odd')});
recovers('alice', 'odd', 4);
is(workers_of('alice'), $workers, 'the worker has survived all of them');

#
# A trigger that ends the process
#
sql_as('alice', q{
	CREATE OR REPLACE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_terminate_backend(pg_backend_pid());
		RETURN NULL;
	END$$});
land('alice', 'odd');
backs_off('odd', '57P01', qr/the sync worker has ended while it synced this pipeline/, qr/server log/);
neighbours_go_on('a trigger ends the worker', 8);
pauses_grow('odd', 3);
neighbours_go_on('.. and still does');
is(sql(q{SELECT string_agg(DISTINCT state, ',') FROM cdc_status WHERE pipeline <> 'odd'}), 'running', 'it is the problem of that pipeline alone');
cmp_ok(scalar(() = slurp_file($node->logfile) =~ /terminating background worker "cdcsync sync worker"/g), '<', 15, 'no storm of new workers');
sql_as('alice', q{CREATE OR REPLACE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$});
recovers('alice', 'odd', 4);

#
# A deferred trigger that does not end
#
sql_as('alice', q{
	CREATE FUNCTION loop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN LOOP PERFORM 1; PERFORM pg_sleep(0.001); END LOOP; END$$;
	CREATE CONSTRAINT TRIGGER loop AFTER INSERT ON odd DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loop()});
land('alice', 'odd');
$workers = workers_of('alice');
becomes(q{SELECT count(*) = 1 FROM cdcsync.worker_status WHERE worker = 'sync' AND activity LIKE '%"odd"%'}, 'a worker hangs');
neighbours_go_on('a trigger does not end', 6, 25);
isnt(workers_of('alice'), $workers, 'another worker serves them');
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 1\n");
$node->reload;
neighbours_go_on('.. and owners take turns', 3, 25);
sql(q{SELECT pg_cancel_backend(pid) FROM cdcsync.worker_status WHERE worker = 'sync' AND activity LIKE '%"odd"%'});
backs_off('odd', '57014', qr/canceling statement due to user request/, qr/cdcsync.sync_timeout/);
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 3\ncdcsync.sync_timeout = '500ms'\n");
$node->reload;
becomes(q{SELECT reason = 'canceling statement due to statement timeout' FROM cdc_status WHERE pipeline = 'odd'}, 'cancelled by cdcsync.sync_timeout');
neighbours_go_on('a trigger is cancelled by the timeout', 4);
sql_as('alice', 'DROP TRIGGER loop ON odd');
recovers('alice', 'odd', 4);
$node->append_conf('postgresql.conf', "cdcsync.sync_timeout = '10min'\n");
$node->reload;

#
# Code that wants more than its owner may, or to leave something behind
#
my $proof = "$directory/proof";
sql('CREATE ROLE mallory LOGIN; CREATE ROLE crony; GRANT crony TO mallory; CREATE SCHEMA mallory AUTHORIZATION mallory;
	GRANT USAGE ON FOREIGN SERVER broker TO mallory; GRANT USAGE ON SCHEMA alice TO mallory;');
sql_as('mallory', qq{
	CREATE TABLE tried (at text, what text, code text, who name);
	CREATE TABLE target_roles (r text);
	CREATE FUNCTION attempt(place text, what text) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		BEGIN
			EXECUTE what;
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO mallory.tried VALUES (place, what, SQLSTATE, current_user);
			RETURN;
		END;
		INSERT INTO mallory.tried VALUES (place, what, '00000', current_user);
	END\$\$;
	CREATE FUNCTION attack(place text) RETURNS void LANGUAGE plpgsql AS \$\$
	DECLARE what text;
	BEGIN
		FOREACH what IN ARRAY ARRAY[
			'RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
			'ALTER ROLE mallory SUPERUSER', 'ALTER ROLE mallory CREATEROLE', 'GRANT pg_execute_server_program TO mallory',
			'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres',
			'SELECT set_config(''role'', ''postgres'', false)', 'SELECT set_config(''session_authorization'', ''postgres'', false)',
			'COPY (SELECT 1) TO PROGRAM ''touch $proof''', 'COPY (SELECT 1) TO ''$proof''', 'SELECT lo_export(lo_creat(-1), ''$proof'')',
			'ALTER SYSTEM SET work_mem = ''64kB''', 'SET session_replication_role = replica', 'SET cdcsync.max_sync_workers = 9',
			'SET cdcsync.sync_timeout = 1', 'UPDATE cdcsync.pipeline SET state = ''x''', 'DELETE FROM cdcsync.position',
			'DELETE FROM cdcsync.watermark', 'INSERT INTO alice.good VALUES (-1)', 'TRUNCATE alice.good',
			'INSERT INTO alice.good_debezium (kafka_value) VALUES (''x'')', 'SELECT cdc_drop(''good'')', 'SELECT cdc_pause(''good'')',
			'CREATE FUNCTION cdcsync.f() RETURNS int LANGUAGE sql AS ''SELECT 1''',
			'CREATE FUNCTION pg_catalog.f() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'DROP EXTENSION cdcsync CASCADE',
			'SELECT pg_terminate_backend(pid) FROM cdcsync.worker_status WHERE worker = ''manager''',
			'SELECT 1/(count(*) FILTER (WHERE usename = ''alice'' AND query <> ''<insufficient privilege>''))::int FROM pg_stat_activity',
			'LISTEN evil', 'COMMIT', 'DISCARD ALL']
		LOOP
			PERFORM mallory.attempt(place, what);
		END LOOP;
		-- what comes after it in the transaction is not to need more than crony may
		IF place LIKE '%deferred' THEN
			PERFORM mallory.attempt(place, 'SET ROLE crony');
		END IF;
		FOREACH what IN ARRAY ARRAY[
			'SET search_path = mallory, pg_catalog', 'SET work_mem = ''64kB''', 'SET lock_timeout = 1', 'SET statement_timeout = 1',
			'SET my.setting = ''left behind''', 'SET default_transaction_read_only = on', 'SET TimeZone = ''Asia/Tokyo''', 'SET DateStyle = ''SQL, DMY''',
			'SET row_security = off', 'SET client_min_messages = ''panic''', 'SET default_tablespace = ''nowhere''', 'SET enable_seqscan = off',
			'SELECT pg_advisory_lock(4712)', 'PREPARE left_behind AS SELECT 1', 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1',
			'CREATE TEMP TABLE pipeline (name text)', 'CREATE TEMP TABLE landing (landing_id int)', 'CREATE TEMP TABLE position (landing_id int)',
			'CREATE TEMP TABLE watermark (x int)', 'CREATE TEMP TABLE pg_class (oid oid)', 'CREATE TEMP TABLE quarantine (x int)',
			'CREATE TEMP TABLE witness (id bigint PRIMARY KEY, v text)', 'CREATE TEMP VIEW pg_foreign_table AS SELECT 1 AS ftrelid',
			'CREATE FUNCTION pg_temp.now() RETURNS text LANGUAGE sql AS ''SELECT ''''x''''''']
		LOOP
			PERFORM mallory.attempt(place, what);
		END LOOP;
	END\$\$;
	CREATE FUNCTION immutable_one(place text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \$\$BEGIN PERFORM mallory.attack(place); RETURN 1; END\$\$;
	CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN PERFORM mallory.attack(TG_ARGV[0]); RETURN NEW; END\$\$;
	CREATE TABLE evil (id bigint PRIMARY KEY, v text,
		d int DEFAULT mallory.immutable_one('default'),
		g int GENERATED ALWAYS AS (mallory.immutable_one('generated' || substr(v, 1, 0))) STORED,
		CHECK (mallory.immutable_one('check' || substr(v, 1, 0)) = 1));
	CREATE INDEX ON evil (mallory.immutable_one('index' || substr(v, 1, 0)));
	CREATE POLICY p ON evil USING (mallory.immutable_one('policy' || substr(v, 1, 0)) = 1) WITH CHECK (mallory.immutable_one('policy' || substr(v, 1, 0)) = 1);
	ALTER TABLE evil ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE TRIGGER before BEFORE INSERT OR UPDATE ON evil FOR EACH ROW EXECUTE FUNCTION fire('before');
	CREATE TRIGGER after AFTER INSERT ON evil FOR EACH STATEMENT EXECUTE FUNCTION fire('after');
	CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON evil DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire('deferred');
	GRANT USAGE, CREATE ON SCHEMA mallory TO crony;
	GRANT ALL ON ALL TABLES IN SCHEMA mallory TO crony;
	SELECT cdc_create('evil', target => 'evil', columns => '{"id": "id", "v": "v"}', options => '{"retention": "0"}')});
make_pipeline('mallory', 'witness');
make_stream('mallory', 'source');
sql_as('mallory', q{
	CREATE TRIGGER chunk AFTER INSERT ON source_debezium_chunk FOR EACH ROW EXECUTE FUNCTION fire('chunk');
	CREATE CONSTRAINT TRIGGER chunk_deferred AFTER INSERT ON source_debezium_chunk DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION fire('chunk deferred');
	CREATE FUNCTION fire_delete() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM mallory.attack('retention'); RETURN OLD; END$$;
	CREATE TRIGGER retention BEFORE DELETE ON evil_debezium_chunk FOR EACH ROW EXECUTE FUNCTION fire_delete();
	CREATE TABLE wall (place text, who name, session name, path text, setting text, work_mem text, zone text, locks bigint, plans bigint,
		cursors bigint, temps bigint);
	CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO mallory.wall SELECT TG_ARGV[0], current_user, session_user, current_setting('search_path'),
			coalesce(current_setting('my.setting', true), ''), current_setting('work_mem'), current_setting('TimeZone'),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
			(SELECT count(*) FROM pg_prepared_statements WHERE from_sql), (SELECT count(*) FROM pg_cursors WHERE name = 'left_behind'),
			(SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid));
		RETURN NEW;
	END$$;
	CREATE TRIGGER look AFTER INSERT ON witness FOR EACH STATEMENT EXECUTE FUNCTION look('sync')});
make_stream('mallory', 'beside');
sql_as('mallory', q{CREATE TRIGGER look AFTER INSERT ON beside_debezium_chunk FOR EACH ROW EXECUTE FUNCTION look('ingest')});
# one worker for two pipelines of mallory, so that they share it
$node->append_conf('postgresql.conf', "cdcsync.max_sync_workers = 4\n");
$node->reload;
my $roles = sql(q{SELECT string_agg(r::text, ' ' ORDER BY rolname) FROM pg_authid r});
my $members = sql(q{SELECT string_agg(m::text, ' ' ORDER BY roleid, member) FROM pg_auth_members m});
my $settings = sql(q{SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings WHERE source = 'configuration file'});
my $good = sql('SELECT count(*) FROM alice.good');
foreach my $i (1 .. 3)
{
	land('mallory', 'evil', 2);
	complete('mallory', 'evil');
	land('mallory', 'witness');
	complete('mallory', 'witness');
	produce('source', 2);
	complete('mallory', 'source', 'mallory.source_target');
	produce('beside', 2);
	complete('mallory', 'beside', 'mallory.beside_target');
	neighbours_go_on("code that attacks, $i", 1);
}
becomes(q{SELECT NOT EXISTS (SELECT FROM mallory.evil_debezium_chunk)}, 'retention has deleted chunks');
is(sql(q{SELECT string_agg(DISTINCT at, ', ' ORDER BY at) FROM mallory.tried}),
	'after, before, check, chunk, chunk deferred, default, deferred, generated, index, policy, retention', 'all of this code has run');
is(sql(q{SELECT DISTINCT at, what FROM mallory.tried WHERE code = '00000' AND who <> 'mallory' AND what !~ 'crony|^SET|^CREATE (TEMP|FUNCTION pg_temp)|^PREPARE|^DECLARE|advisory'}), '',
	'none of it as another role');
is(sql(q{SELECT string_agg(DISTINCT what, E'\n' ORDER BY what) FROM mallory.tried WHERE code = '00000'
		AND what ~ 'postgres|SUPERUSER|CREATEROLE|GRANT|PROGRAM|COPY|lo_export|SYSTEM|replication|cdcsync|alice|good|pg_catalog.f|manager|LISTEN|COMMIT|DISCARD'}),
	'', 'no attempt has succeeded');
is(sql(q{SELECT count(*) > 20 FROM mallory.tried WHERE what = 'ALTER ROLE mallory SUPERUSER' AND code = '42501'}), 't', 'they were refused');
is(sql(q{SELECT string_agg(r::text, ' ' ORDER BY rolname) FROM pg_authid r}), $roles, 'no role has changed');
is(sql(q{SELECT string_agg(m::text, ' ' ORDER BY roleid, member) FROM pg_auth_members m}), $members, '.. nor a membership');
is(sql(q{SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings WHERE source = 'configuration file'}), $settings, '.. nor a setting');
ok(!-e $proof, 'no file was written');
is(sql(q{SELECT DISTINCT who, session, path, setting, work_mem, zone, locks, plans, cursors, temps FROM mallory.wall WHERE place = 'sync'}),
	'mallory|mallory|mallory, pg_temp||32MB|UTC|0|0|0|0', 'nothing is left for another pipeline of the owner');
is(sql(q{SELECT DISTINCT who, session, setting, locks, plans, cursors, temps FROM mallory.wall WHERE place = 'ingest'}),
	'mallory|mallory||0|0|0|0', 'nor for another landing');
complete($_->[0], $_->[1], $_->[1] eq 'stream' ? 'alice.stream_target' : undef) foreach @good;
is(sql('SELECT count(*) FROM alice.good WHERE id < 1'), '0', 'and nothing in the tables of others');

note("lag in ms, median/longest:\n" . join("\n", @lags));
$node->stop;
$broker->stop;
done_testing();
