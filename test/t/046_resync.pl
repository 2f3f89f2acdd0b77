# A target is rebuilt while it is read, written to, and while things go wrong.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_cluster();
my $node = PostgreSQL::Test::Cluster->new('resync');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
restart_after_crash = on
client_min_messages = warning
statement_timeout = 60s
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Does the query give this, soon?
sub becomes
{
	my ($query, $expected, $name) = @_;

	local $PostgreSQL::Test::Utils::timeout_default = 30;
	ok($node->poll_query_until('postgres', $query, $expected), $name)
	  or diag(sql($query));
	return;
}

# Error text of a statement that must fail.
sub error_of
{
	my ($sql) = @_;
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	isnt($status, 0, "fails: $sql");
	return $stderr;
}

# A change of a row, to a partition that its id tells.
sub change
{
	my ($op, $id, $name) = @_;
	my $row = qq({"ID": $id, "NAME": "$name"});
	my $images = $op eq 'd' ? qq("before": $row, "after": null) : qq("before": null, "after": $row);

	$broker->rec('people', $id % 2, key => qq({"ID": $id}), timestamp => 1700000000000 + $id,
		value => qq({"op": "$op", "ts_ms": 1700000000000, $images, "source": {"ts_ms": 1700000000000}}));
	return;
}

sub contents { return sql('SELECT string_agg(id || name, $$ $$ ORDER BY id) FROM people_target'); }

# A session that calls cdc_resync, and waits behind a row that another has locked.
sub begin_blocked
{
	my %call = (out => '', err => '');
	my %other = (out => '');

	$other{in} = "BEGIN; UPDATE people_target SET name = 'locked' WHERE id = 2;\n\\echo locked\n";
	$other{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$other{in}, '>', \$other{out}, '2>', \$other{err}, IPC::Run::timeout(60));
	$other{run}->pump until $other{out} =~ /locked/;
	$call{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
			'-c', "SELECT source, inserted, updated, deleted FROM cdc_resync('people')" ],
		'<', \undef, '>', \$call{out}, '2>', \$call{err}, IPC::Run::timeout(60));
	becomes(q{SELECT count(*) = 1 FROM pg_stat_activity
			  WHERE query ~ '^SELECT source' AND wait_event_type = 'Lock'}, 't', 'it waits for a row');
	return (\%call, \%other);
}

# The other session goes.
sub release
{
	my ($other) = @_;

	$other->{in} .= "ROLLBACK;\n\\q\n";
	IPC::Run::finish($other->{run});
	return;
}

sub left_over
{
	return sql(q{SELECT count(*) FROM pg_class WHERE relname ~ '^people_shadow'});
}

sql('CREATE EXTENSION cdcsync; CREATE SCHEMA topics');
my $servers = $broker->bootstrap;
sql("CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
	 OPTIONS (bootstrap_servers '$servers', connect_timeout '3')");
$broker->topic('people', 2);
sql(q{
	IMPORT FOREIGN SCHEMA kafka LIMIT TO (people) FROM SERVER broker INTO topics;
	CREATE TABLE people_target (id bigint PRIMARY KEY, name text, refresh_time timestamp);
	SELECT cdc_create('people', 'topics.people', 'people_target',
					  columns => '{"id": "ID", "name": "NAME"}', options => '{"retention": "0"}')});
change('c', $_, "n$_") foreach 1 .. 6;
change('u', 2, 'two');
change('d', 5, 'n5');
my $right = '1n1 2two 3n3 4n4 6n6';
becomes(q{SELECT string_agg(id || name, ' ' ORDER BY id) FROM people_target}, $right, 'the target follows');

#
# While others are at it
#
my $damage = q{
	UPDATE people_target SET name = 'wrong' WHERE id < 3;
	DELETE FROM people_target WHERE id = 4;
	INSERT INTO people_target VALUES (100, 'nobody')};
my $damaged = '1wrong 2wrong 3n3 6n6 100nobody';
sql($damage);

# the landing has nothing left: the topic has
becomes('SELECT count(*) FROM people_debezium_chunk', '0', 'landed records are deleted soon');
my ($call, $other) = begin_blocked();
is(contents(), $damaged, 'readers see the rows as they were');
like(error_of("SELECT cdc_resync('people')"),
	qr/55006: the target of pipeline "people" is already being rebuilt/, 'one at a time');
is(sql("SELECT state FROM cdc_status WHERE pipeline = 'people'"), 'running', 'its state can be seen');
change('c', 7, 'n7');
becomes('SELECT count(*) FROM people_debezium_chunk', '1', 'records land meanwhile');
release($other);
IPC::Run::finish($call->{run});
is($call->{out}, "topic|1|2|1\n", 'it is rebuilt from the topic') or diag($call->{err});
becomes(q{SELECT string_agg(id || name, ' ' ORDER BY id) FROM people_target}, "$right 7n7",
	'then the sync goes on');
$right .= ' 7n7';
is(sql(q{SELECT string_agg(kafka_partition || ':' || next_offset, ' ' ORDER BY kafka_partition)
		 FROM cdcsync.watermark}), '0:4 1:5', 'the watermarks are at the end');

#
# What ends it
#
foreach my $how ('pg_cancel_backend(pid)', 'pg_terminate_backend(pid)', 'crash')
{
	sql($damage);
	($call, $other) = begin_blocked();
	if ($how eq 'crash')
	{
		kill 'KILL', sql(q{SELECT pid FROM pg_stat_activity WHERE query ~ '^SELECT source' AND wait_event_type = 'Lock'});
	}
	else
	{
		sql(qq{SELECT $how FROM pg_stat_activity WHERE query ~ '^SELECT source' AND wait_event_type = 'Lock'});
	}
	eval { IPC::Run::finish($call->{run}) };
	eval { release($other) };
	ok($node->poll_query_until('postgres', 'SELECT 1', '1'), 'the server is there');
	is(contents(), "$damaged 7n7" =~ s/(100nobody) 7n7/7n7 $1/r, "after $how the target is as it was");
	is(left_over(), '0', 'no table is left');
	is(sql(q{SELECT string_agg(kafka_partition || ':' || next_offset, ' ' ORDER BY kafka_partition)
			 FROM cdcsync.watermark}), '0:4 1:5', 'nor are the watermarks changed');
	like(sql("SELECT inserted, updated, deleted FROM cdc_resync('people')"), qr/^1\|2\|1$/, 'the next one succeeds');
	is(contents(), $right, 'and gives what there should be');
}

#
# Records that the sync and the rebuild are not to lose to the retention
#
sql(q{SELECT cdc_pause('people'); SELECT cdc_alter('people', options => '{"retention": "0"}')});
change('u', 1, 'one');
becomes('SELECT count(*) FROM people_debezium_chunk', '1', 'a record lands');
sql(q{SELECT cdc_resync('people')});
is(sql("SELECT state FROM cdc_status WHERE pipeline = 'people'"), 'paused', 'a paused pipeline is rebuilt and stays paused');
$right =~ s/1n1/1one/;
is(contents(), $right, 'with what had landed');
sql(q{SELECT cdc_resume('people')});

#
# The topic has not all any more
#
$broker->trim('people', 0, 2);
becomes('SELECT count(*) FROM people_debezium_chunk', '0', 'the landing has nothing');
my $error = error_of("SELECT cdc_resync('people')");
like($error, qr/55000: cannot rebuild the target of pipeline "people": not all records are left/, 'it is refused');
like($error, qr/The landing has deleted records of partition 0 .* Partition 0 of topic "people" begins at offset 2: what was before has expired\./,
	'the message names what is missing');
like($error, qr/Let the connector take a snapshot of the table .*cdc_resync\('people', since => \.\.\)/, 'and what to do');
is(left_over(), '0', 'no table is left');
is(contents(), $right, 'the target is as it was');

# the log of partition 0 begins with the row 6, at 1700000000006
like(error_of("SELECT cdc_resync('people', since => to_timestamp(1700000000.004))"),
	qr/Partition 0 of topic "people" begins at offset 2, after the time that "since" names\./,
	'what has expired may be newer than that');
change('r', $_, "r$_") foreach 11 .. 14;
becomes('SELECT count(*) FROM people_target WHERE id > 10', '4', 'a snapshot of other rows');
like(sql("SELECT source, inserted, updated, deleted FROM cdc_resync('people', since => to_timestamp(1700000000.011))"),
	qr/^(topic|landing)\|0\|0\|6$/, 'since a time that the topic reaches back to');
is(contents(), '11r11 12r12 13r13 14r14', 'with what came after it alone');

#
# No broker
#
$broker->freeze;
like(error_of("SELECT cdc_resync('people')"), qr/HV00N: |55000: /, 'a broker that does not answer is an error');
$broker->thaw;

$node->stop;
done_testing();
