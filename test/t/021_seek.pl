# Going on elsewhere in a topic, and snapshots that replace a target, with a broker.
# (Crashes between the steps: test/crash.)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('seek');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error_of
{
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");

	isnt($status, 0, "fails: $_[0]");
	return $stderr;
}

# An event of a table; mark: source.snapshot, at: the place in its log.
my $clock = 1_760_000_000_000;

sub event
{
	my ($topic, $partition, $op, $id, $val, $mark, $at) = @_;
	my $after = $op eq 'd' ? 'null' : qq({"id":$id,"val":"$val"});

	$clock += 1000;
	$broker->rec($topic, $partition, key => qq({"id":$id}), timestamp => $clock,
		value => qq({"before":null,"after":$after,"op":"$op","source":{"connector":"mysql","name":"s",)
		  . qq("db":"d","table":"t","ts_ms":$clock,"snapshot":"$mark","server_id":1,"file":"b.000001","pos":$at}}));
	return;
}

sub make_pipeline
{
	my ($name, $partitions, $options) = @_;

	$broker->topic($name, $partitions);
	sql(qq{
		IMPORT FOREIGN SCHEMA kafka LIMIT TO ("$name") FROM SERVER broker INTO topics;
		CREATE TABLE ${name}_t (id bigint PRIMARY KEY, val text);
		SELECT cdc_create('$name', 'topics."$name"', '${name}_t', options => '$options')});
	return;
}

sub rows { return sql("SELECT string_agg(id || '=' || val, ' ' ORDER BY id) FROM $_[0]_t"); }
sub refresh { return sql("SELECT records FROM cdc_refresh('$_[0]')"); }
sub sync { return sql("SELECT events, inserted, updated, deleted FROM cdc_sync('$_[0]')"); }

sql('CREATE EXTENSION cdcsync; CREATE SCHEMA topics');
my $servers = $broker->bootstrap;
sql("CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', connect_timeout '3')");

#
# Seek
#
make_pipeline('s', 2, '{}');
event('s', $_ % 2, 'c', $_, "v$_", 'false', $_) foreach (1 .. 6);
$broker->sync;
is(refresh('s'), 6, 'all landed');
is(sync('s'), '6|6|0|0', 'and is in the target');
sql(q{UPDATE s_t SET val = '?'; SELECT cdc_pause('s')});
is( sql(q{SELECT * FROM cdc_seek('s', 'earliest') ORDER BY 1}), "0|1|0\n1|1|0", 'back to the beginning, in a new epoch');
is( sql(q{SELECT w.epoch, w.next_offset FROM cdcsync.watermark w JOIN cdcsync.position o USING (kafka_partition, epoch, next_offset)}),
	"1|0\n1|0", 'position and watermark are together');
sql(q{SELECT cdc_resume('s')});
is(refresh('s'), 6, 'everything lands again');
is(sql('SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)) FROM s_debezium'), '12|6', 'beside what has landed before');
is(sync('s'), '6|0|6|0', 'and is applied again');
is(rows('s'), '1=v1 2=v2 3=v3 4=v4 5=v5 6=v6', 'rows are right');
is(sql(q{SELECT exact FROM cdc_status}), 't', 'nothing was lost');

# the mock broker knows no times
sql(q{SELECT cdc_pause('s')});
like(error_of(q{SELECT cdc_seek('s', '2025-10-09 08:53:24')}), qr/0A000: broker cannot look up an offset of topic "s" by time/, 'a broker that knows no times');
is(sql(q{SELECT * FROM cdc_seek('s', 0, 1)}), '0|2|1', 'to an offset');
is(sql(q{SELECT * FROM cdc_seek('s', 1, 2)}), '1|2|2', 'each partition by itself');
like(error_of(q{SELECT cdc_seek('s', 1, 4)}), qr/22003: offset 4 is not in partition 1 of topic "s".*offsets from 0, and goes on with 3/s, 'beyond the end');
is(sql(q{SELECT * FROM cdc_seek('s', 1, 3)}), '1|3|3', 'one partition to its end');
sql(q{SELECT cdc_resume('s')});
is(refresh('s'), 2, 'reads on there');
sync('s');
is(sql(q{SELECT exact FROM cdc_status}), 'f', 'what was passed over counts');
is(sql(q{SELECT kafka_partition, epoch, first_offset, next_offset FROM cdcsync.gap}), '1|2|2|3', 'and is on record');
event('s', 1, 'c', 7, 'v7', 'false', 7);
$broker->sync;
is(refresh('s'), 1, 'what comes lands');
is(sync('s'), '1|1|0|0', 'and is applied');

#
# Skip
#
event('s', 0, 'c', $_, "v$_", 'false', $_) foreach (8 .. 10);
$broker->sync;
sql(q{SELECT cdc_pause('s')});
like(error_of(q{SELECT cdc_skip('s', 0, 2)}), qr/55000: offset 2 of partition 0 was read before/, 'a record that has landed');
like(error_of(q{SELECT cdc_skip('s', 0, 4)}), qr/22023: offset 4 of partition 0 is not the next one.*offset 3/s, 'one further on');
like(error_of(q{SELECT cdc_skip('s', 0, 3, 99)}), qr/22003: offset 99 is not in partition 0/, 'beyond the end');
like(error_of(q{SELECT cdc_skip('s', 5, 0)}), qr/22023: nothing was read of partition 5/, 'no such partition');
is(sql(q{SELECT cdc_skip('s', 0, 3, 4)}), '5', 'two records are left out');
sql(q{SELECT cdc_resume('s')});
is(refresh('s'), 1, 'the next one is read');
is(sync('s'), '1|1|0|0', 'and applied');
is( sql(q{SELECT first_offset, next_offset FROM cdcsync.gap WHERE kafka_partition = 0}), '3|5', 'the gap is exact');
sql(q{SELECT cdc_drop('s')});

#
# A snapshot in several partitions of a topic: the end of the others is known
# when the topic was looked at a while after the last row.
#
make_pipeline('p', 2, '{"on_snapshot": "replace"}');
event('p', $_ % 2, 'c', $_, "v$_", 'false', $_) foreach (1 .. 6);
$broker->sync;
refresh('p');
sync('p');
event('p', 0, 'r', 2, 'v2', 'first', 20);
event('p', 0, 'r', 4, 'v4', 'true', 20);
event('p', 1, 'r', 1, 'v1', 'true', 20);
event('p', 0, 'r', 6, 'v6', 'last', 20);
$broker->sync;
refresh('p');
is(sync('p'), '4|0|0|0', 'rows of it may still be on their way to the other partition');
is(sql('SELECT count(*) FROM cdcsync.snapshot WHERE await_offset IS NOT NULL'), '0', 'whose end is not known');
event('p', 1, 'r', 5, 'v5', 'true', 20);
$broker->sync;
refresh('p');
is(sync('p'), '1|0|0|0', 'as one was');
# the same as if the log had been looked at later
sql(q{UPDATE cdcsync.position SET refreshed_at = refreshed_at + interval '1 min'});
is(sync('p'), '0|0|0|1', 'the row that is missing goes');
is(rows('p'), '1=v1 2=v2 4=v4 5=v5 6=v6', 'the others stay');

# a change that was streamed after its rows tells it, too
event('p', 1, 'r', 5, 'v5', 'first', 40);
event('p', 0, 'r', 2, 'v2', 'true', 40);
event('p', 1, 'r', 1, 'v1', 'last', 40);
event('p', 0, 'c', 8, 'v8', 'false', 41);
$broker->sync;
refresh('p');
is(sync('p'), '4|1|0|2', 'at once');
is(rows('p'), '1=v1 2=v2 5=v5 8=v8', 'what is newer stays');

# .. also if it is all that comes
event('p', 1, 'r', 5, 'v5', 'first', 60);
event('p', 0, 'r', 2, 'v2', 'last', 60);
event('p', 1, 'u', 5, 'w5', 'false', 61);
$broker->sync;
refresh('p');
is(sync('p'), '3|0|1|2', 'a change behind the rows of its partition');
is(rows('p'), '2=v2 5=w5', 'is kept');
is(sql(q{SELECT target_rows, missing_rows, deleted_rows, problem IS NULL FROM cdcsync.sweep WHERE pipeline = 'p' ORDER BY swept_at DESC LIMIT 1}),
	'4|2|2|t', 'once');

done_testing();
