# The ingest worker when the cluster changes under it, and when it is killed at
# each step between the broker and the commit.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use CdcLife;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_cluster();
my $node = PostgreSQL::Test::Cluster->new('faults');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
shared_buffers = 16MB
max_worker_processes = 16
cdcsync.metadata_interval = 1
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub wait_for
{
	my ($query, $name) = @_;
	my $ok = 0;

	# the server may be coming back after a crash
	for (my $tries = 0; $tries < 600 && !$ok; $tries++)
	{
		select(undef, undef, undef, 0.1) if $tries > 0;
		$ok = (CdcLife::answer($node, 'postgres', $query) // '') eq 't';
	}
	ok($ok, $name);
	diag(sql('SELECT pipeline, state, reason, next_try, hint FROM cdc_status')) unless $ok;
	return;
}

sub landed_is
{
	my ($name, $n, $what) = @_;

	wait_for("SELECT count(*) = $n FROM ${name}_debezium", $what);
	return;
}

sub make_pipeline
{
	my ($topic, $on_gap, $auto_refresh) = (@_, 'true');
	my $name = $topic;

	sql(qq{
		IMPORT FOREIGN SCHEMA kafka LIMIT TO ("$topic") FROM SERVER broker INTO topics;
		CREATE TABLE ${name}_target (id bigint PRIMARY KEY);
		SELECT cdc_create('$name', 'topics."$topic"', '${name}_target', columns => '{"id": "ID"}',
			options => '{"auto_sync": false, "on_gap": "$on_gap", "auto_refresh": $auto_refresh}');
	});
	return;
}

sub produce
{
	my ($topic, $partition, @values) = @_;

	$broker->rec($topic, $partition, key => $_, value => "{\"ID\": \"$_\"}") foreach @values;
	return;
}

sub chunks
{
	my ($name) = @_;
	return sql("SELECT kafka_partition, epoch, min(first_offset), max(last_offset), sum(cardinality(kafka_value))
		FROM ${name}_debezium_chunk GROUP BY 1, 2 ORDER BY 1, 2");
}

# A topic that comes back before anybody has missed it is not known from the old
# one, if it is longer.  At this point there are that many landings; each of the
# others has one partition, but for that which has grown to three.
sub absent
{
	my ($landings) = @_;

	wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'reading "
		  . ($landings + 1) . " partitions of $landings landings'", 'the worker misses the topic');
	return;
}

sql('CREATE EXTENSION cdcsync');
sql('CREATE SCHEMA topics');
my $servers = $broker->bootstrap;
sql("CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
	 OPTIONS (bootstrap_servers '$servers', connect_timeout '3')");
$broker->topic('calm', 1);
produce('calm', 0, 1);
make_pipeline('calm', 'stop');
landed_is('calm', 1, 'a neighbour');
my $calm = 1;

# A neighbour goes on, whatever happens to others.
sub neighbour_goes_on
{
	my ($what) = @_;

	produce('calm', 0, ++$calm);
	landed_is('calm', $calm, "the neighbour goes on: $what");
	return;
}

#
# A topic grows
#
$broker->topic('grows', 1);
produce('grows', 0, 1);
make_pipeline('grows', 'stop');
landed_is('grows', 1, 'one partition');
$broker->command('grow grows 3');
produce('grows', $_, 10 + $_) foreach 0 .. 2;
landed_is('grows', 4, 'partitions that were added are read from their beginning');
is(chunks('grows') =~ tr/\n//, 2, 'three of them');
neighbour_goes_on('a topic grows');

#
# A topic is deleted and made again
#
my $landings = 3;
foreach my $again ([ 'fewer', 10, 3 ], [ 'more', 3, 10 ], [ 'same', 4, 4 ])
{
	my ($name, $before, $after) = @$again;

	$broker->topic($name, 1);
	produce($name, 0, map { "old$_" } 1 .. $before);
	make_pipeline($name, 'continue');
	landed_is($name, $before, "$name: the first topic");
	$broker->command("delete $name");
	neighbour_goes_on('a topic was deleted');
	absent($landings++);
	$broker->topic($name, 1);
	produce($name, 0, map { "new$_" } 1 .. $after);
	landed_is($name, $before + $after, "$name: the second topic");
	is(chunks($name), "0|0|0|" . ($before - 1) . "|$before\n0|1|0|" . ($after - 1) . "|$after",
		'in an epoch of its own');
	is(sql("SELECT exact FROM cdc_status WHERE pipeline = '$name'"), 'f', 'the target is not exact');
}
$broker->topic('stops', 1);
produce('stops', 0, map { "old$_" } 1 .. 3);
make_pipeline('stops', 'stop');
landed_is('stops', 3, 'on_gap stop');
$broker->command('delete stops');
absent($landings);
$broker->topic('stops', 1);
produce('stops', 0, map { "new$_" } 1 .. 10);
wait_for(q{SELECT state = 'stopped' FROM cdc_status WHERE pipeline = 'stops'}, 'stops');
is(chunks('stops'), '0|0|0|2|3', 'nothing of the new topic has landed');

#
# The log loses records
#
$broker->topic('cut', 1);
produce('cut', 0, 1 .. 10);
make_pipeline('cut', 'continue');
landed_is('cut', 10, 'ten records');
$broker->command('truncate cut 0 6');
produce('cut', 0, 'x');
wait_for(q{SELECT count(*) = 1 FROM cdcsync.gap WHERE reason LIKE 'topic "cut" lacks%' AND passed}, 'a log that was cut');
landed_is('cut', 17, 'is read from its beginning');
neighbour_goes_on('a log was cut');

#
# Partitions that cannot be read
#
$broker->topic('bad', 2);
produce('bad', $_, $_) foreach 0, 1;
make_pipeline('bad', 'stop');
landed_is('bad', 2, 'two partitions');
$broker->command('fail bad 1 29');	# topic authorization failed
produce('bad', $_, 10 + $_) foreach 0, 1;
landed_is('bad', 3, 'one of them goes on');
neighbour_goes_on('a partition cannot be read');
$broker->command('fail bad 1 0');
landed_is('bad', 4, 'the other when it can be read again');

#
# A topic goes away that could not be read
#
$broker->topic('gone', 2);
make_pipeline('gone', 'stop', 'false');
$broker->command('fail gone 1 29');
sql(q{SELECT cdc_alter('gone', options => '{"auto_refresh": true}')});
wait_for(q{SELECT state = 'backing off' FROM cdc_status WHERE pipeline = 'gone'}, 'a topic cannot be read');
$broker->command('delete gone');
wait_for(q{SELECT state = 'waiting' AND reason ~ 'does not exist yet' AND sqlstate IS NULL
	FROM cdc_status WHERE pipeline = 'gone'}, 'when it has gone, its pipeline waits for it');
$broker->topic('gone', 1);
produce('gone', 0, 1);
landed_is('gone', 1, 'it is read when it is there again');

#
# The cluster does not answer
#
$broker->command('freeze');
$node->restart;		# in time, although it hangs
$broker->command('thaw');
neighbour_goes_on('the cluster was frozen');
$broker->command('cut');
neighbour_goes_on('connections were reset');

$node->stop;
$broker->stop;
done_testing();
