# As many managers as there are slots, and none for an extension of another
# version.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant DATABASES => 50;

# three are the server's own: launchers of logical replication and of ours, postgres
my $life = CdcLife->new('slots', conf => "max_worker_processes = 60\nmax_connections = 30\n");
my $node = $life->node;

$life->sql('postgres', 'CREATE DATABASE home');
$life->sql('home', 'CREATE EXTENSION cdcsync');
$life->sql('postgres', 'ALTER DATABASE home IS_TEMPLATE true');
my $start = time;
$life->sql('postgres', "CREATE DATABASE home$_ TEMPLATE home STRATEGY file_copy") foreach 1 .. DATABASES;
diag(sprintf '%d databases made after %.1f s', DATABASES, time - $start);
$life->wait_for(undef, 'manager', DATABASES);

#
# Started again, all of them at once
#
$node->stop('fast');
$start = time;
$node->start;
$life->wait_for(undef, 'manager', DATABASES);
diag(sprintf '%d managers %.1f s after the start of the server', DATABASES, time - $start);
# one that finds no extension in its database is there for a moment, too
my $managers;
ok( defined $life->until(sub {
		$managers = $life->sql('postgres', q{SELECT count(*), count(DISTINCT datname) FROM pg_stat_activity
			WHERE backend_type = 'cdcsync manager'});
		return $managers eq DATABASES . '|' . DATABASES; }),
	'one in each database')
  or diag($managers);
my $rss = 0;
foreach my $pid ($life->pids(undef, 'manager'))
{
	$rss += $1 if slurp_file("/proc/$pid/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m;
}
diag(sprintf '%.1f MB of its own for each manager', $rss / 1024 / DATABASES);
my $before = time;
$node->stop('fast');
diag(sprintf 'stopped in %.1f s', time - $before);

#
# Too few slots
#
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '12');
my $end = $life->log_end;
$node->start;
$life->wait_for(undef, 'manager', 10);
# it tries again each second
sleep 3;
is(scalar $life->pids(undef, 'manager'), 10, 'no more than there are slots');
my @lines = $life->log_since($end) =~ /cannot start a worker in database \d+: no slot is free for the workers of this database/g;
is(scalar @lines, 1, 'the log says so once');
my ($without) = split /\n/, $life->sql('postgres', q{SELECT datname FROM pg_database WHERE datname ~ 'home\d'
	AND datname NOT IN (SELECT datname FROM pg_stat_activity WHERE backend_type = 'cdcsync manager') ORDER BY 1});
my ($with) = split /\n/, $life->sql('postgres', q{SELECT datname FROM pg_stat_activity WHERE backend_type = 'cdcsync manager'});
like($life->error_of($without, 'SELECT cdc_start()'),
	qr/have not started\nDETAIL:  no slot is free for the workers of this database\nHINT:  Increase max_worker_processes/,
	'who asks is told');
$life->sql($with, 'SELECT cdc_stop()');
$life->wait_for(undef, 'manager', 10);
is(scalar $life->pids($with, 'manager'), 0, 'another database uses a slot that has become free');
$node->stop('fast');
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '60');
$node->start;
$life->wait_for(undef, 'manager', DATABASES);

#
# Another version
#
$life->sql('home1', q{
	CREATE TABLE customer (id bigint PRIMARY KEY, name text);
	SELECT cdc_create('customer', target => 'customer', columns => '{"id": "id", "name": "name"}')});
$life->wait_for('home1', 'sync worker');
my $manager = $life->pid('home1', 'manager');
my $script = $node->config_data('--sharedir') . '/extension/cdcsync--1.0--99.sql';
END { unlink $script if defined $script }

SKIP:
{
	open(my $handle, '>', $script) or skip 'the directory of extensions cannot be written', 1;
	print $handle "SELECT 1;\n";
	close $handle;
	$end = $life->log_end;
	$life->sql('home1', q{ALTER EXTENSION cdcsync UPDATE TO '99'});
	$life->wait_for('home1', 'sync worker', 0);
	ok(defined $life->until(sub { $life->log_since($end) =~
			/the library of cdcsync is version 1.0, the extension in database "home1" is version 99/ }),
		'the log says what is wrong');
	is($life->pid('home1', 'manager'), $manager, 'the manager stays');
	# the same once more
	$life->sql('home1', 'SELECT cdcsync.wake_workers()');
	$life->sql('home1', q{UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'cdcsync';
		SELECT cdcsync.wake_workers()});
	$life->wait_for('home1', 'sync worker');
	is($life->pid('home1', 'manager'), $manager, 'and goes on');
	@lines = $life->log_since($end) =~ /the library of cdcsync is version/g;
	is(scalar @lines, 1, 'said once');
}

$node->stop;
done_testing();
