# What the workers read of the catalog grows with the number of pipelines, and no
# faster: its statistics are those of empty tables, as after many pipelines have
# been made at once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use CdcLife;
use Test::More;

use constant {
	PIPELINES => 200,
	EVENTS => 3,
	ROWS => 60,    # of a catalog table, for each pipeline: every process looks a few times
};

my $broker = start_broker();
my $life = CdcLife->new('crowd',
	conf => "autovacuum = off\nmax_locks_per_transaction = 512\nmax_worker_processes = 20\n");

sub sql { return $life->sql('home', $_[0]); }

# All events are in the targets, and nothing is left to do.
sub all_applied
{
	my ($events) = @_;

	ok( defined $life->until(
			sub { sql('SELECT coalesce(sum(events), 0) FROM cdcsync.watermark') eq PIPELINES * $events }),
		"$events events of each of " . PIPELINES . ' pipelines are applied');
	return;
}

sub feed
{
	my @topics = map { "crowd$_" } 1 .. PIPELINES;

	$broker->command((map { "bulk $_ 1 " . EVENTS . ' 10 1' } @topics), 'sync');
	return;
}

# Rows that were fetched from the tables of the catalog since the last reset, by table.
sub fetched
{
	return map { split /\|/ } split /\n/, sql(q{
		SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
		WHERE schemaname = 'cdcsync' AND seq_tup_read + coalesce(idx_tup_fetch, 0) > 0});
}

$broker->command(map { "topic crowd$_ 1" } 1 .. PIPELINES);
$life->sql('postgres', 'CREATE DATABASE home');
my $servers = $broker->bootstrap;
sql("CREATE EXTENSION cdcsync;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers')");
sql("SELECT count(*) FROM cdc_create_all('broker', topics => 'crowd*')");
feed();
all_applied(EVENTS);

# A worker says what it has read when it ends.
sql('SELECT cdc_stop()');
sql('SELECT pg_stat_reset()');
sql('SELECT cdc_start()');
feed();
all_applied(2 * EVENTS);
sql('SELECT cdc_stop()');
my %fetched = fetched();

foreach my $table (sort keys %fetched)
{
	cmp_ok($fetched{$table}, '<=', PIPELINES * ROWS,
		"$table: $fetched{$table} rows fetched");
}
ok(exists $fetched{pipeline}, 'the workers have read the catalog');

done_testing();
