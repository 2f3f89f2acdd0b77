# A consumer that lives long: sources that come, move and go while others run,
# and what happens to partitions and brokers told as events.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my ($library) = glob("$FindBin::RealBin/../../build/kafka_reader.*");
$library =~ s/\.\w+$//;

my $cluster = start_cluster(brokers => 2);
my $node = PostgreSQL::Test::Cluster->new('reader');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;

my $servers = $cluster->bootstrap;
$node->safe_psql('postgres', "CREATE EXTENSION cdcsync;
	CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka
	OPTIONS (bootstrap_servers '$servers', connect_timeout '2', stall_timeout '4')");
my %functions = (
	'kr_open(text, bool)' => 'void',
	'kr_close()' => 'void',
	'kr_add(text[], int[], int[])' => 'int[]',
	'kr_move(int[], int[])' => 'void',
	'kr_remove(int[])' => 'void',
	'kr_poll(int, int)' => 'int',
	'kr_batch(OUT kind text, OUT source int, OUT kafka_partition int, OUT kafka_offset bigint,
		OUT value text, OUT sqlstate text, OUT message text, OUT detail text)' => 'SETOF record',
	'kr_release()' => 'void',
	'kr_bytes()' => 'bigint',
	'kr_high(int)' => 'bigint',
	'kr_refresh()' => 'int',
	'kr_partitions(text)' => 'int',
	'kr_for_time(text, int, bigint)' => 'bigint');
$node->safe_psql('postgres', join(';', map {
	"CREATE FUNCTION $_ RETURNS $functions{$_} LANGUAGE c STRICT AS '$library'" } keys %functions));

my $session = $node->background_psql('postgres');
sub ask { return $session->query_safe($_[0]); }

# Poll until the batch has events that a condition holds for, at most 20 s.
sub wait_for
{
	my ($condition, $what) = @_;
	my $end = time + 20;

	while (time < $end)
	{
		ask('SELECT kr_poll(1000000000, 50)');
		return pass($what) if ask("SELECT bool_or($condition) FROM kr_batch()") eq 't';
	}
	fail($what);
	diag(ask('SELECT * FROM kr_batch()'));
	return;
}

# What is in the batch, as values without EOFs, which may come or not.
sub values_of
{
	my ($source) = @_;
	return ask(qq{SELECT string_agg(coalesce(value, kind), ' ') FROM
		(SELECT * FROM kr_batch() WITH ORDINALITY WHERE source = $source AND kind <> 'eof' ORDER BY ordinality) AS b});
}
sub release { return ask('SELECT kr_release()'); }

#
# Sources
#
$cluster->topic('a', 2);
$cluster->topic('b', 1);
$cluster->many('a', 0, 5, 'x');
$cluster->many('a', 1, 5, 'y');
$cluster->many('b', 0, 3, 'z');
ask(q{SELECT kr_open('k', true)});
is(ask(q{SELECT kr_add('{a,a}', '{0,1}', '{3,0}')}), '{0,1}', 'ids');
wait_for("source = 1 AND value = 'y4'", 'records come');
wait_for("source = 0 AND kind = 'eof' AND kafka_offset = 5", 'and the end');
is(values_of(0) . '/' . values_of(1), 'x3 x4/y0 y1 y2 y3 y4', 'from where they were asked for');
is(ask('SELECT kr_high(0), kr_high(1)'), '5|5', 'high watermarks');
cmp_ok(ask('SELECT kr_bytes()'), '>', 14, 'the batch has a size');

is(ask(q{SELECT kr_add('{b}', '{0}', '{0}')}), '{2}', 'one more while they run');
wait_for("value = 'z2'", 'is read');
is(values_of(0), 'x3 x4', 'the batch keeps what was there');
$cluster->many('a', 0, 1, 'x');
wait_for("value = 'x5'", 'and they go on');
release();
is(ask('SELECT count(*), kr_bytes() FROM kr_batch()'), '0|0', 'a batch is released');

ask('SELECT kr_move($${0}$$, $${4}$$)');
wait_for("value = 'x5'", 'moved back');
is(values_of(0), 'x4 x5', 'reads again');
release();
ask('SELECT kr_remove($${0}$$)');
$cluster->many('a', 0, 1, 'x');
$cluster->many('b', 0, 1, 'z');
wait_for("value = 'z3'", 'a neighbour goes on');
is(values_of(0), '', 'a source that was removed gives nothing');
is(ask(q{SELECT kr_add('{a}', '{0}', '{6}')}), '{3}', 'an id is not used again before the batch is released');
wait_for("source = 3 AND value = 'x6'", 'the partition can be added again');
release();
$cluster->topic('c', 1);
is(ask(q{SELECT kr_add('{c}', '{0}', '{0}')}), '{0}', 'then it is');

#
# Errors are of one source
#
$cluster->many('c', 0, 4, 'c');
wait_for("source = 0 AND value = 'c3'", 'a topic that was made later');
$cluster->trim('c', 0, 4);
release();
ask('SELECT kr_move($${0}$$, $${1}$$)');
wait_for("source = 0 AND kind = 'out of range' AND kafka_offset = 1", 'expired');
$cluster->many('b', 0, 1, 'z');
wait_for("value = 'z4'", 'the neighbour does not mind');
release();
ask('SELECT kr_move($${0}$$, $${4}$$)');
$cluster->raw('c', 0, 'crc');
$cluster->many('c', 0, 1, 'c');
wait_for("source = 0 AND kind = 'error' AND kafka_offset = 4 AND sqlstate = 'XX001'", 'a corrupt batch');
ask('SELECT kr_move($${0}$$, $${5}$$)');
wait_for("source = 0 AND value = 'c5'", 'the batch after it');
release();

# deleted, made again: lower, then higher
$cluster->delete('c');
wait_for("source = 0 AND kind = 'error' AND sqlstate = 'HV00R' AND kafka_offset = 6", 'a topic was deleted');
release();
$cluster->topic('c', 1);
$cluster->many('c', 0, 2, 'again');
ask('SELECT kr_move($${0}$$, $${6}$$)');
wait_for("source = 0 AND kind = 'out of range' AND kafka_offset = 6", 'made again, with lower offsets');
release();
ask('SELECT kr_move($${0}$$, $${0}$$)');
wait_for("source = 0 AND value = 'again1'", 'and read again');
$cluster->command('delete c', 'topic c 1 50', 'many c 0 2 high');
wait_for("source = 0 AND kind IN ('error', 'out of range') AND kafka_offset = 2", 'with higher offsets');
release();
ask('SELECT kr_move($${0}$$, $${50}$$)');
wait_for("source = 0 AND value = 'high51'", 'and read again');
release();

# a topic that is not there, and comes
is(ask(q{SELECT kr_add('{later}', '{0}', '{0}')}), '{4}', 'no topic yet');
wait_for("source = 4 AND kind = 'error' AND sqlstate = 'HV00R'", 'is an error of the source');
$cluster->topic('later', 1);
$cluster->many('later', 0, 1, 'l');
release();
ask('SELECT kr_move($${4}$$, $${0}$$)');
wait_for("source = 4 AND value = 'l0'", 'until it is there');
release();

# a partition without leader, and one that moves to the other broker
$cluster->leader('a', 0, -1);
$cluster->many('a', 1, 1, 'y');
wait_for("value = 'y5'", 'the partition beside one without leader is read');
$cluster->leader('a', 0, 2);
$cluster->many('a', 0, 1, 'x');
wait_for("value = 'x7'", 'which goes on at its new leader');
release();

$cluster->leader('a', 0, -1);
$cluster->many('a', 0, 1, 'x');
wait_for("source = 3 AND kind = 'error' AND sqlstate = 'HV000' AND detail LIKE '%Leader not available%'",
	'one that has none for long is not taken for one that is gone');
release();
$cluster->leader('a', 0, 1);
ask('SELECT kr_move($${3}$$, $${8}$$)');
wait_for("value = 'x8'", 'and is read when it has one again');
release();

# an open transaction is waited for
$cluster->stable('b', 0, 5);
$cluster->many('b', 0, 3, 'z');
ask('SELECT kr_poll(1000000, 10000)');
is(values_of(2), '', 'an open transaction is neither read nor an error');
$cluster->stable('b', 0, '-');
wait_for("value = 'z7'", 'until it ends');
release();

#
# The watchdog, while a neighbour is busy
#
$cluster->raw('later', 0, 'truncated');
my $stalled = 0;
my $start = time;
for (my $n = 0; !$stalled && time < $start + 20; $n++)
{
	$cluster->many('a', 1, 20, 'busy');
	ask('SELECT kr_poll(1000000, 100)');
	$stalled = ask(q{SELECT count(*) FROM kr_batch() WHERE source = 4 AND kind = 'error' AND sqlstate = 'XX001'
		AND kafka_offset = 1 AND detail LIKE 'The partition goes on to offset 2,%'});
	is(ask("SELECT count(*) FROM kr_batch() WHERE kind = 'error' AND source <> 4"), 0, 'no other has an error')
	  if $stalled;
	release();
}
is($stalled, 1, 'a record that cannot be parsed is found beside a busy partition');
cmp_ok(time - $start, '<', 12, 'in time');

#
# Brokers
#
foreach my $how ([ 'down', 'up' ], [ 'freeze', 'thaw' ])
{
	my ($away, $back) = @$how;

	$cluster->$away;
	$start = time;
	my $n = 0;
	my $found = 0;
	while (!$found && time < $start + 40)
	{
		my $before = time;
		ask('SELECT kr_poll(1000000, 200)');
		$n++ if time - $before > 1.7;
		$found = ask("SELECT count(*) FROM kr_batch() WHERE kind = 'unavailable' AND sqlstate = 'HV00N'");
	}
	is($found, 1, "$away: unavailable, once");
	is($n, 0, 'no poll takes much longer than a second');
	note(sprintf '%s: found after %.1f s', $away, time - $start);
	$cluster->$back;
	$cluster->many('b', 0, 1, $back);
	wait_for("kind = 'available'", "$back: available");
	wait_for("value LIKE '$back%'", 'and sources go on');
	is(ask("SELECT count(*) FILTER (WHERE kind = 'unavailable'), count(*) FILTER (WHERE kind = 'error') FROM kr_batch()"),
		'1|0', 'no error of a partition');
	release();
}
$cluster->cut;
$cluster->many('b', 0, 1, 'cut');
wait_for("value LIKE 'cut%'", 'connections that are cut are made again');
is(ask("SELECT count(*) FROM kr_batch() WHERE kind NOT IN ('record', 'eof', 'available')"), 0, 'without an error');
release();

# the cluster comes back empty
$cluster->restart;
wait_for("kind = 'error' AND source = 2", 'a cluster that has lost its topics');
$cluster->topic('b', 1);
$cluster->many('b', 0, 2, 'new');
release();
ask('SELECT kr_move($${2}$$, $${0}$$)');
wait_for("source = 2 AND value = 'new1'", 'and has them again');
ask('SELECT kr_close()');

#
# Moves at random under load lose nothing
#
$cluster->topic('r', 4);
$cluster->many('r', $_, 3000, 'r') foreach 0 .. 3;
ask(q{SELECT kr_open('k', false)});
is(ask(q{SELECT kr_add('{r,r,r,r}', '{0,1,2,3}', '{0,0,0,0}')}), '{0,1,2,3}', 'four partitions');
my @next = (0) x 4;
my ($bad, $records) = (0, 0);
srand(7);
for my $round (1 .. 300)
{
	ask('SELECT kr_poll(' . int(rand(3)) . ', ' . int(rand(20)) . ')');

	# each source's records must be those from where it stands, without a hole
	my $rows = ask(q{SELECT source, min(kafka_offset), max(kafka_offset), count(*), bool_and(value = 'r' || kafka_offset),
		bool_and(kafka_offset = first + n - 1) FROM
		(SELECT *, row_number() OVER w AS n, first_value(kafka_offset) OVER w AS first
		 FROM kr_batch() WITH ORDINALITY WHERE kind = 'record' WINDOW w AS (PARTITION BY source ORDER BY ordinality)) AS b GROUP BY source});
	foreach my $row (split /\n/, $rows)
	{
		my ($source, $min, $max, $count, $values, $order) = split /\|/, $row;

		$bad++ unless $min == $next[$source] && $values eq 't' && $order eq 't';
		$next[$source] = $max + 1;
		$records += $count;
	}
	release();
	my $id = int(rand(4));
	my $to = int(rand(3000));
	$next[$id] = $to;
	ask("SELECT kr_move('{$id}', '{$to}')");
	$cluster->many('r', int(rand(4)), 5, 'r');
}
is($bad, 0, 'what follows a move begins there and has no hole');
cmp_ok($records, '>', 10000, "($records records)");
ask('SELECT kr_close()');

#
# Questions
#
$cluster->command(map { "topic q$_ 2" } 1 .. 200);
ask(q{SELECT kr_open('k', true)});
ask('SELECT kr_refresh()');
$cluster->count;
is(ask(q{SELECT count(*) FROM generate_series(1, 201) AS i WHERE kr_partitions('q' || i) = 2}), 200, 'partitions');
my $asked = $cluster->count;
delete $asked->{api_versions};    # a connection that is only made now
is_deeply($asked, {}, 'without a round trip');
$cluster->grow('q1', 5);
$cluster->fail('q2', '*', 5);
ask('SELECT kr_refresh()');
is(ask(q{SELECT kr_partitions('q1'), kr_partitions('q2'), kr_partitions('q3')}), '5|-1|2',
	'partitions are added; a topic that is not ready is not gone');
$cluster->rec('q3', 0, value => $_, timestamp => 1700000000000 + $_) foreach 1, 2, 3;
is(ask(q{SELECT kr_for_time('q3', 0, 1700000000002), kr_for_time('q3', 0, 1800000000000)}), '1|3', 'offsets by time');

#
# Shutdown with a broker that hangs
#
ask(q{SELECT kr_add(array_agg('q' || i), array_agg(1), array_agg(0)) FROM generate_series(3, 200) AS i});
ask('SELECT kr_poll(10, 500)');
$cluster->freeze;
$session->query_until(qr/polling/, "\\echo polling\nSELECT kr_poll(1000000, 60000);\n");
usleep(3_000_000);
$start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'the server stops in time');
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'and nothing has crashed');

done_testing();
