# The ingest worker: what is produced lands once, whatever goes on beside it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('ingest');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
shared_buffers = 16MB
max_wal_size = 4GB
max_worker_processes = 16
cdcsync.metadata_interval = 1
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Wait until the query says "t"; the test fails after the time-out.
sub wait_for
{
	my ($query, $name) = @_;
	local $PostgreSQL::Test::Utils::timeout_default = 30;
	my $ok = $node->poll_query_until('postgres', $query);

	ok($ok, $name);
	diag($node->safe_psql('postgres', 'SELECT pipeline, state, reason, hint FROM cdc_status'))
	  unless $ok;
	return;
}

# A pipeline of a topic; nothing is synced.
sub make_pipeline
{
	my ($name, %with) = @_;
	my $topic = $with{topic} // $name;

	$broker->topic($topic, $with{partitions} // 1) unless $with{exists};
	$with{field} //= 'ID';
	$with{options} //= '{"auto_sync": false}';
	$node->safe_psql('postgres', qq{
		IMPORT FOREIGN SCHEMA kafka LIMIT TO ("$topic") FROM SERVER broker INTO topics;
		CREATE TABLE ${name}_target (id bigint PRIMARY KEY);
		SELECT cdc_create('$name', 'topics."$topic"', '${name}_target', columns => '{"id": "$with{field}"}', options => '$with{options}');
	});
	return;
}

sub produce
{
	my ($topic, $partition, @values) = @_;

	$broker->rec($topic, $partition, key => $_, value => "{\"ID\": \"$_\"}") foreach @values;
	$broker->sync;
	return;
}

sub landed_is
{
	my ($name, $n, $what) = @_;

	wait_for("SELECT count(*) = $n FROM ${name}_debezium", $what);
	return;
}

# Partition by partition: records, and the first and last offset.
sub landed
{
	my ($name) = @_;
	return sql("SELECT kafka_partition, count(*), min(kafka_offset), max(kafka_offset)
		FROM ${name}_debezium GROUP BY 1 ORDER BY 1");
}

sub position_of
{
	my ($name) = @_;
	return sql("SELECT kafka_partition, epoch, next_offset FROM cdcsync.position JOIN cdcsync.landing l USING (landing_id)
		WHERE l.view = '${name}_debezium'::regclass ORDER BY 1");
}

# Wait until the worker has begun to read a topic; needed where "start" is "latest".
sub begun
{
	my ($name, $partitions) = @_;

	wait_for("SELECT count(*) = $partitions FROM cdcsync.position JOIN cdcsync.landing l USING (landing_id)
		WHERE l.view = '${name}_debezium'::regclass", "$name has begun");
	return;
}

sub workers { return sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'"); }

# Of the landing's rows in shared memory, as its status shows them.
sub worker_pid { return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker' ORDER BY pid LIMIT 1"); }

sql('CREATE EXTENSION cdcsync');
sql('CREATE SCHEMA topics');
my $servers = $broker->bootstrap;
sql("CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
	 OPTIONS (bootstrap_servers '$servers', connect_timeout '3')");

#
# Everything lands, as it comes
#
$broker->topic('flow', 4);
produce('flow', $_ % 4, $_) foreach 1 .. 20;
make_pipeline('flow', exists => 1);
landed_is('flow', 20, 'what was there lands');
is(landed('flow'), "0|5|0|4\n1|5|0|4\n2|5|0|4\n3|5|0|4", 'each record once');
my $pid = worker_pid();
produce('flow', $_ % 4, $_) foreach 21 .. 40;
landed_is('flow', 40, 'and what comes later');
is(workers(), 1, 'one worker');

# A server that is altered while records are held: they are read again
make_pipeline('altered');
produce('altered', 0, 1);
landed_is('altered', 1, 'before it is altered');
sql('ALTER SYSTEM SET cdcsync.commit_delay = 10000');
sql('SELECT pg_reload_conf()');
produce('altered', 0, 2 .. 50);
wait_for("SELECT end_offset = 50 FROM cdcsync.partition_status WHERE pipeline = 'altered'", 'the worker has seen records');
is(landed('altered'), '0|1|0|0', '.. and holds them');
sql(q{ALTER SERVER broker OPTIONS (SET bootstrap_servers '127.0.0.1:1')});
wait_for("SELECT last_error ~ 'could not reach' FROM cdc_status WHERE pipeline = 'altered'", '.. when it cannot read');
sql("ALTER SERVER broker OPTIONS (SET bootstrap_servers '$servers')");
sql('ALTER SYSTEM RESET cdcsync.commit_delay');
sql('SELECT pg_reload_conf()');
produce('altered', 0, 51 .. 100);
landed_is('altered', 100, 'all land when it can');
is(worker_pid(), $pid, '.. in the same process');

# Lots, with refreshes beside it
$broker->topic('lots', 4);
$broker->bulk('lots', 4, 100, 1000, 3);
$broker->sync;
make_pipeline('lots', exists => 1, field => 'CUST_ID');
$broker->bulk('lots', 4, 20_000, 1000, 4);
my $by_hand = 0;
for (1 .. 20)
{
	my ($code, $records) = $node->psql('postgres', "SELECT records FROM cdc_refresh('lots')");

	is($code, 0, "a refresh beside the worker, $_");
	$by_hand += $records;
}
$broker->sync;
landed_is('lots', 20_100, 'all lands, whoever reads it');
note("$by_hand records were refreshed by hand");
is( sql('SELECT sum(records), bool_and(records = last + 1) FROM (SELECT count(DISTINCT kafka_offset) AS records,
		max(kafka_offset) AS last FROM lots_debezium GROUP BY kafka_partition) x'),
	'20100|t', 'nothing twice, nothing missing');

#
# A landing that is locked is left out, and its neighbours go on
#
make_pipeline('locked');
produce('locked', 0, 1);
landed_is('locked', 1, 'before the lock');
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT FROM cdcsync.landing WHERE view = 'locked_debezium'::regclass FOR UPDATE");
produce('locked', 0, 2);
produce('flow', 0, 41);
landed_is('flow', 41, 'a neighbour goes on');
is(landed('locked'), '0|1|0|0', 'the locked one waits');
$session->query_safe('ROLLBACK');
landed_is('locked', 2, 'and goes on when the lock is gone');
$session->query_safe("BEGIN; LOCK TABLE locked_debezium_chunk IN ACCESS EXCLUSIVE MODE");
produce('locked', 0, 3);
produce('flow', 0, 42);
landed_is('flow', 42, 'the same with the chunk table');
$session->query_safe('ROLLBACK');
landed_is('locked', 3, 'and then');
$session->query_safe("BEGIN; SELECT FROM cdcsync.position JOIN cdcsync.landing l USING (landing_id)
	WHERE l.view = 'locked_debezium'::regclass FOR UPDATE OF position");
produce('locked', 0, 4);
produce('flow', 0, 43);
landed_is('flow', 43, 'the same with a position');
$session->query_safe('ROLLBACK');
landed_is('locked', 4, 'and so');

# A refresh in an open transaction, committed and rolled back
produce('locked', 0, 5);
landed_is('locked', 5, 'before');
$session->query_safe("BEGIN; SELECT * FROM cdc_refresh('locked')");
produce('locked', 0, 6);
is($session->query_safe("SELECT records FROM cdc_refresh('locked')"), 1, 'a session reads what is new');
$session->query_safe('ROLLBACK');
landed_is('locked', 6, 'the worker does after a rollback');
is(landed('locked'), '0|6|0|5', 'once');
$session->quit;

#
# Two landings on one topic
#
make_pipeline('twin', topic => 'flow', exists => 1, options => '{"auto_sync": false, "start": "latest"}');
begun('twin', 4);
produce('flow', 2, 44);
landed_is('flow', 44, 'one of two landings');
landed_is('twin', 1, 'the other begins at the end');
make_pipeline('third', topic => 'locked', exists => 1);
landed_is('third', 6, 'a landing that comes later reads from the beginning');
produce('locked', 0, 7);
landed_is($_, 7, "$_: both go on") foreach qw(locked third);
is(landed('locked'), '0|7|0|6', 'nothing twice in the first');
is(worker_pid(), $pid, 'all by the same process');

#
# Where to start; a topic that does not exist yet
#
make_pipeline('paused', options => '{"auto_sync": false, "auto_refresh": false}');
produce('paused', 0, 1);
produce('flow', 0, 45);
landed_is('flow', 45, 'neighbour');
is(sql('SELECT count(*) FROM paused_debezium'), 0, 'auto_refresh false: nothing lands');
sql(q{SELECT cdc_alter('paused', options => '{"auto_refresh": true}')});
landed_is('paused', 1, 'altered: it lands');
sql(q{SELECT cdc_pause('paused', what => 'all')});
# what is seen once it is paused
wait_for(q{SELECT count(*) = 0 FROM cdcsync.auto_landing JOIN cdcsync.landing USING (landing_id) WHERE view = 'paused_debezium'::regclass},
	'paused');
sql(q{SELECT cdc_resume('paused')});
produce('paused', 0, 2);
landed_is('paused', 2, 'resumed');
sql(q{SELECT cdc_pause('paused')});
produce('paused', 0, 3);
landed_is('paused', 3, 'paused for sync alone: it lands');

# Every so often: once it has been read to its end it rests
make_pipeline('seldom');
produce('seldom', 0, 1);
landed_is('seldom', 1, 'as data comes');
my $partitions = q{SELECT substring(query FROM 'reading (\d+)')::int FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'};
my $reading = sql($partitions);
sql(q{SELECT cdc_alter('seldom', options => '{"refresh_interval": "1 hour"}')});
wait_for("SELECT ($partitions) = $reading - 1", 'refresh_interval: it rests');
produce('seldom', 0, 2);
produce('locked', 0, 7);
landed_is('locked', 8, 'a neighbour does not');
is(landed('seldom'), '0|1|0|0', 'it waits for its time');
sql(q{SELECT cdc_alter('seldom', options => '{"refresh_interval": null}')});
landed_is('seldom', 2, 'as data comes, again');

# A topic that is not there yet
sql(q{CREATE FOREIGN TABLE topics.later (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char",
	kafka_timestamp timestamp, kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER broker OPTIONS (topic 'later');
	CREATE TABLE later_target (id bigint PRIMARY KEY);
	SELECT cdc_create('later', 'topics.later', 'later_target', columns => '{"id": "ID"}', options => '{"auto_sync": false}')});
wait_for(q{SELECT reason = 'topic "later" does not exist yet' FROM cdc_status WHERE pipeline = 'later'}, 'it says that it waits');
$broker->topic('later', 2);
produce('later', $_, $_) foreach 0, 1;
landed_is('later', 2, 'the topic has come');

#
# Gaps
#
make_pipeline('gap');
produce('gap', 0, 'one');
landed_is('gap', 1, 'before the gap');
sql(q{SELECT cdc_pause('gap', what => 'all')});
$broker->fill('gap', 0, 2_000_000) foreach 1 .. 5;
$broker->sync;
sql(q{SELECT cdc_resume('gap')});
wait_for(q{SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'gap'}, 'the pipeline is stopped at the gap');
like( sql(q{SELECT reason, sqlstate, hint, exact FROM cdc_status WHERE pipeline = 'gap'}),
	qr/^topic "gap" no longer holds offsets 1 to \d+ of partition 0\|55000\|The landing continues at offset 1; .*"on_gap".*\|t$/,
	'with the range');
like( sql(q{SELECT kafka_partition, epoch, first_offset, next_offset > 1, passed FROM cdcsync.gap}),
	qr/^0\|0\|1\|t\|f$/, 'which is recorded');
produce('flow', 0, 46);
landed_is('flow', 46, 'neighbours go on');
sql(q{SELECT cdc_resume('gap')});
wait_for(q{SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'gap'}, 'resumed: stopped again');
sql(q{SELECT cdc_alter('gap', options => '{"on_gap": "continue"}'), cdc_resume('gap')});
wait_for(q{SELECT count(*) > 1 FROM gap_debezium}, 'on_gap continue: goes on');
is( sql(q{SELECT g.epoch, g.first_offset, g.next_offset = (SELECT min(kafka_offset) FROM gap_debezium WHERE kafka_offset > 0), g.passed,
		s.exact, s.state FROM cdcsync.gap g, cdc_status s WHERE s.pipeline = 'gap'}),
	'0|1|t|t|f|waiting', 'behind the recorded gap, in the same epoch');

# a topic that was made again, told by its newest record alone
sub made_again
{
	my ($name, $next, $hash) = @_;
	# as if it had been another topic that landed
	sql(qq{UPDATE cdcsync.position p SET next_offset = $next, last_offset = $next - 1, last_hash = $hash
		FROM cdcsync.landing l WHERE l.landing_id = p.landing_id AND l.view = '${name}_debezium'::regclass});
	return;
}
make_pipeline('again', partitions => 1);
produce('again', 0, 1 .. 5);
landed_is('again', 5, 'five records');
is(sql(q{SELECT records FROM cdc_refresh('again')}), 0, 'the record is what it was');
sql(q{SELECT cdc_pause('again', what => 'all')});
sql(q{UPDATE cdcsync.position p SET last_hash = last_hash + 1 FROM cdcsync.landing l
	WHERE l.landing_id = p.landing_id AND l.view = 'again_debezium'::regclass});
sql(q{SELECT cdc_resume('again')});
wait_for(q{SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'again'}, 'another record: stopped');
like(sql(q{SELECT reason FROM cdc_status WHERE pipeline = 'again'}),
	qr/topic "again" was created again: offset 4 of partition 0 is not the record that has landed/, 'the reason');
my ($status, undef, $stderr) = $node->psql('postgres', q{SELECT * FROM cdc_refresh('again')});
like($stderr, qr/topic "again" was created again/, 'a refresh says the same');
sql(q{SELECT cdc_alter('again', options => '{"on_gap": "continue"}'), cdc_resume('again')});
landed_is('again', 10, 'on_gap continue: read from its beginning');
is(sql(q{SELECT epoch, count(*) FROM again_debezium_chunk, unnest(kafka_value) GROUP BY 1 ORDER BY 1}),
	"0|5\n1|5", 'in a new epoch');
is(position_of('again'), '0|1|5', 'and goes on there');
is(sql(q{SELECT first_offset, next_offset, epoch, passed FROM cdcsync.gap JOIN cdcsync.landing l USING (landing_id) WHERE view = 'again_debezium'::regclass}),
	'5||0|t', 'what was lost is not known');

# one that is shorter, and one of fewer partitions
sql(q{SELECT cdc_pause('again', what => 'all')});
made_again('again', 100, 1);
sql(q{SELECT cdc_resume('again')});
landed_is('again', 15, 'shorter: read from its beginning');
is(position_of('again'), '0|2|5', 'in the next epoch');
is(sql(q{SELECT reason, first_offset, next_offset FROM cdcsync.gap WHERE epoch = 1}),
	'topic "again" lacks offsets 5 to 99 of partition 0, which have been read|5|100', 'recorded');
sql(q{SELECT cdc_pause('again', what => 'all')});
sql(q{INSERT INTO cdcsync.position SELECT landing_id, 3, 0, 9 FROM cdcsync.landing WHERE view = 'again_debezium'::regclass});
sql(q{SELECT cdc_resume('again')});
produce('again', 0, 6);
landed_is('again', 16, 'a partition that is gone does not keep the others');
is(position_of('again'), "0|2|6\n3|1|0", 'it would begin in a new epoch');
sql(q{SELECT cdc_pause('again'), cdc_resume('again')});
pass('positions of several epochs can be resumed');

#
# One landing has a problem, the others have none
#
sql('CREATE ROLE owner2 LOGIN');
sql(q{ALTER TABLE locked_debezium_chunk ADD CONSTRAINT no CHECK (last_offset < 9)});
produce('locked', 0, 8);
produce('flow', 0, 47);
landed_is('flow', 47, 'before the bad record');
landed_is('locked', 9, 'it too');
produce('locked', 0, 9);
produce('flow', 0, 48);
landed_is('flow', 48, 'neighbours go on');
landed_is('third', 10, 'also on the same topic');
is(landed('locked'), '0|9|0|8', 'the one with the problem waits');
sql(q{ALTER TABLE locked_debezium_chunk DROP CONSTRAINT no});
landed_is('locked', 10, 'and goes on when it is solved');
is(worker_pid(), $pid, 'all of this in one process');

# dropped
sql(q{DROP TABLE third_debezium_chunk CASCADE});
produce('locked', 0, 10);
landed_is('locked', 11, 'another landing was dropped');

#
# Slices, and an altered server
#
sql(q{ALTER SERVER broker OPTIONS (ADD workers '3')});
wait_for(q{SELECT count(*) = 3 FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'}, 'three slices');
make_pipeline('slices', partitions => 6, options => '{"auto_sync": false, "start": "latest"}');
begun('slices', 6);
produce('slices', $_ % 6, $_) foreach 1 .. 60;
landed_is('slices', 60, 'three workers read it');
is(landed('slices'), join("\n", map { "$_|10|0|9" } 0 .. 5), 'each record once');
sql(q{ALTER SERVER broker OPTIONS (SET workers '1')});
wait_for(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'}, 'one again');
produce('slices', $_ % 6, $_) foreach 61 .. 66;
landed_is('slices', 66, 'which reads all');

#
# The broker is away
#
$broker->down;
$node->restart;
$broker->up;
produce('slices', 0, 67);
landed_is('slices', 67, 'the worker started while the broker was away');

#
# The process is killed
#
for my $i (1 .. 3)
{
	produce('flow', $i, 100 + $i);
	system('kill', '-TERM', worker_pid() || 0);
	landed_is('flow', 48 + $i, "after its end, $i");
}
is( sql('SELECT count(*) - count(DISTINCT (kafka_partition, kafka_offset)) FROM flow_debezium'), 0, 'nothing twice');

sql(q{SELECT cdc_drop('*')});
wait_for(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cdcsync ingest worker'},
	'with nothing to read the worker ends');
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'no crash');

$node->stop;
$broker->stop;
done_testing();
