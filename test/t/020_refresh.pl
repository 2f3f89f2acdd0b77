# Kafka -> landing: what lands is what was in the topic, once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('refresh');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "shared_buffers = 16MB\nmax_wal_size = 4GB\n");
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Error text of a statement that must fail.
sub error_of
{
	my ($sql) = @_;
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	isnt($status, 0, "fails: $sql");
	return $stderr;
}

# A pipeline of a topic that is made with it.
sub make_pipeline
{
	my ($name, $partitions, $options) = @_;

	$broker->topic($name, $partitions);
	$options //= '{}';
	sql(qq{
		IMPORT FOREIGN SCHEMA kafka LIMIT TO ("$name") FROM SERVER broker INTO topics;
		CREATE TABLE ${name}_target (id bigint PRIMARY KEY);
		SELECT cdc_create('$name', 'topics."$name"', '${name}_target', columns => '{"id": "ID"}', options => '$options');
	});
	return;
}

sub refresh { return sql("SELECT records FROM cdc_refresh('$_[0]')"); }

sub positions
{
	my ($name) = @_;
	return sql(qq{
		SELECT kafka_partition, next_offset FROM cdcsync.position AS p
		JOIN cdcsync.landing AS l USING (landing_id)
		WHERE l.view = '${name}_debezium'::regclass ORDER BY 1});
}

sub hex_of { return defined $_[0] ? unpack('H*', $_[0]) : 'null'; }

sql('CREATE EXTENSION cdcsync');
sql('CREATE SCHEMA topics');
my $servers = $broker->bootstrap;
sql("CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka
	 OPTIONS (bootstrap_servers '$servers', connect_timeout '3')");

#
# Everything as it is
#
make_pipeline('exact', 3);
my @records = (
	[ 0, '{"ID":1}', '{"a": 1}', 1700000000001, [] ],
	[ 0, undef, undef, 1700000000002, [] ],
	[ 0, '', '', 1700000000003, [ [ 'h', '' ] ] ],
	[ 1, pack('C*', 0 .. 255), pack('C*', reverse 0 .. 255), 1700000000004, [] ],
	[ 1, 'k', 'v', 1700000000005, [ [ 'b', '2' ], [ 'a', undef ], [ 'b', '1' ] ] ],
	[ 1, 'k', 'v', 1700000000006, [ [ 'bin', "\xff\x00" ] ] ],
	[ 1, 'k', 'w', 1700000000007, [] ]);
my $expected = '';
my %next;
foreach my $r (@records)
{
	my ($partition, $key, $value, $timestamp, $headers) = @$r;

	$broker->rec('exact', $partition, key => $key, value => $value,
		timestamp => $timestamp, headers => $headers);
	$expected .= join('|', $partition, $next{$partition}++, 'C',
		'2023-11-14 22:13:20.00' . ($timestamp % 10),
		hex_of($key), hex_of($value)) . "\n";
}
$broker->fill('exact', 2, 4_500_000);
$broker->sync;
chomp $expected;

is(sql("SELECT records, bytes, partitions FROM cdc_refresh('exact')"),
	'8|' . (4_500_000 + length('fill') + length('{"ID":1}{"a": 1}') + 512 + 6) . '|3',
	'counts of a refresh');
is( sql(q{SELECT kafka_partition, kafka_offset, kafka_timestamp_type, kafka_timestamp,
		coalesce(encode(kafka_key, 'hex'), 'null'), coalesce(encode(kafka_value, 'hex'), 'null')
		FROM exact_debezium WHERE kafka_partition < 2 ORDER BY 1, 2}),
	$expected, 'records land as they are');
is( sql('SELECT kafka_headers FROM exact_debezium WHERE kafka_headers IS NOT NULL ORDER BY kafka_partition, kafka_offset'),
	'[{"key": "h", "value": ""}]
[{"key": "b", "value": "2"}, {"key": "a", "value": null}, {"key": "b", "value": "1"}]
[{"key": "bin", "bytes": "/wA="}]', 'headers land in their order');
is( sql(q{SELECT length(kafka_value) FROM exact_debezium WHERE kafka_partition = 2}),
	4_500_000, 'a record of 4.5 MB lands');
is(sql('SELECT kafka_offset, payload FROM exact_debezium WHERE payload IS NOT NULL'),
	'0|{"a": 1}', 'payload where the value is JSON');
is( sql(q{SELECT count(DISTINCT refresh_time), bool_and(refresh_time BETWEEN
		(now() AT TIME ZONE 'UTC') - interval '5 min' AND (now() AT TIME ZONE 'UTC')) FROM exact_debezium}),
	'1|t', 'one refresh_time, in UTC');
is(refresh('exact'), 0, 'a second refresh finds nothing');
is(positions('exact'), "0|3\n1|4\n2|1", 'positions are after the last records');

# an 8 MB record is bigger than what the mock broker keeps beside others
make_pipeline('big', 1);
$broker->fill('big', 0, 8_000_000);
$broker->sync;
is(refresh('big'), 1, 'a record of 8 MB is read');
is(sql('SELECT length(kafka_value) FROM big_debezium'), 8_000_000, 'and lands');

#
# Offsets that the log leaves out
#
make_pipeline('holes', 1);
$broker->rec('holes', 0, value => 'before');
$broker->raw('holes', 0, 'control');
$broker->rec('holes', 0, value => 'after');
$broker->sync;
is(refresh('holes'), 2, 'a control record is left out');
is( sql("SELECT kafka_offset, convert_from(kafka_value, 'UTF8') FROM holes_debezium ORDER BY 1"),
	"0|before\n2|after", 'offsets keep the hole');
is( sql('SELECT first_offset, last_offset, kafka_offset FROM holes_debezium_chunk'),
	'0|2|{0,2}', 'a chunk with a hole lists its offsets');
$broker->raw('holes', 0, 'control');
is(refresh('holes'), 0, 'nothing but a control record');
is(positions('holes'), '0|4', 'the position goes past it');

#
# Transactions
#
make_pipeline('tx', 2);
$broker->rec('tx', $_ % 2, value => "v$_") foreach 0 .. 9;
$broker->sync;
sql("BEGIN; SELECT * FROM cdc_refresh('tx'); ROLLBACK");
is(positions('tx') . '/' . sql('SELECT count(*) FROM tx_debezium'),
	'/0', 'a rollback leaves nothing');
is(refresh('tx'), 10, 'and the records are read again');

# a second refresh waits for the first one, then finds nothing
$broker->rec('tx', 0, value => 'w');
$broker->sync;
my $first = $node->background_psql('postgres');
my $second = $node->background_psql('postgres');
is($first->query_safe("BEGIN; SELECT records FROM cdc_refresh('tx')"), '1',
	'the first of two refreshes reads the record');
$second->query_until(qr/started/, "\\echo started\nSELECT 'second: ' || records FROM cdc_refresh('tx');\n");
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%cdc_refresh%' AND pid <> pg_backend_pid()}),
	'the second one waits');
$first->query_safe('COMMIT');
like($second->query("SELECT 'end'"), qr/second: 0/, 'and finds nothing then');
$first->quit;
is(sql('SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)) FROM tx_debezium'),
	'11|11', 'each record landed once');

# a snapshot from before another session's refresh
my $old = $node->background_psql('postgres', on_error_stop => 0);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tx_debezium');
$broker->rec('tx', 1, value => 'x');
$broker->sync;
is(refresh('tx'), 1, 'another session refreshes');
$old->query("\\set VERBOSITY sqlstate\nSELECT * FROM cdc_refresh('tx')");
like($old->{stderr}, qr/40001/, 'an old snapshot cannot move the position');
$old->{stderr} = '';
$old->query('ROLLBACK');
$old->quit;
$second->quit;

#
# Where to start
#
$broker->topic('late', 2);
$broker->rec('late', $_, value => 'old') foreach 0, 1;
$broker->sync;
sql(q{
	IMPORT FOREIGN SCHEMA kafka LIMIT TO (late) FROM SERVER broker INTO topics;
	CREATE TABLE late_target (id bigint PRIMARY KEY);
	SELECT cdc_create('late', 'topics.late', 'late_target', columns => '{"id": "ID"}', options => '{"start": "latest"}');
});
is(refresh('late'), 0, 'start latest leaves out what is there');
$broker->rec('late', 1, value => 'new');
$broker->sync;
is(refresh('late'), 1, 'and reads what comes');
is(sql("SELECT kafka_partition, kafka_offset FROM late_debezium"), '1|1', 'from the offset then');

# a partition without a position, beside others that have one, is new: from its beginning
sql(q{DELETE FROM cdcsync.position WHERE kafka_partition = 0
	  AND landing_id = (SELECT landing_id FROM cdcsync.landing WHERE view = 'late_debezium'::regclass)});
is(refresh('late'), 1, 'a partition that was added later is read from its beginning');

#
# Gaps
#
make_pipeline('gap', 1);
$broker->rec('gap', 0, value => 'one');
$broker->sync;
is(refresh('gap'), 1, 'before the gap');
$broker->fill('gap', 0, 2_000_000) foreach 1 .. 5;
$broker->sync;
my $error = error_of("SELECT * FROM cdc_refresh('gap')");
like($error, qr/55000: topic "gap" no longer holds offsets 1 to \d+ of partition 0/, 'expired records are named');
is(positions('gap') . '/' . sql('SELECT count(*) FROM gap_debezium'), '0|1/1', 'and nothing moves');
sql(q{UPDATE cdcsync.position SET next_offset = 100
	  WHERE landing_id = (SELECT landing_id FROM cdcsync.landing WHERE view = 'gap_debezium'::regclass)});
like(error_of("SELECT * FROM cdc_refresh('gap')"),
	qr/55000: topic "gap" lacks offsets 6 to 99 of partition 0, which have been read/,
	'a log that ends below the position');
sql(q{INSERT INTO cdcsync.position (landing_id, kafka_partition, next_offset)
	  SELECT landing_id, 7, 1 FROM cdcsync.landing WHERE view = 'gap_debezium'::regclass});
like(error_of("SELECT * FROM cdc_refresh('gap')"),
	qr/55000: topic "gap" no longer has partition 7/, 'a topic with fewer partitions');

#
# Who may
#
sql('CREATE ROLE other LOGIN');
like(error_of("SET ROLE other; SELECT * FROM cdc_refresh('tx')"),
	qr/42704/, 'others do not see the pipeline');
sql("SELECT cdc_pause('tx', what => 'all')");
like(error_of("SELECT * FROM cdc_refresh('tx')"), qr/55000/, 'not while all is paused');
sql("SELECT cdc_resume('tx')");
is(refresh('tx'), 0, 'again when it is resumed');
like(error_of("INSERT INTO tx_debezium (kafka_value) VALUES ('x')"),
	qr/55000: cannot insert into landing "tx_debezium", which reads a topic/,
	'a landing that reads a topic takes no rows');

#
# Much: 200 MB, with headers, in bounded memory, and a cancel in the middle of it
#
my $partitions = 64;
make_pipeline('much', $partitions);
$broker->bulk('much', $partitions, 230_000, 50_000, 7);
$broker->sync;
like(error_of("SET statement_timeout = '100ms'; SELECT * FROM cdc_refresh('much')"),
	qr/57014/, 'a refresh can be cancelled');
is(positions('much') . '/' . sql('SELECT count(*) FROM much_debezium'), '/0', 'which leaves nothing');

my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');

# MB that the session had at most, without what it has touched of the shared
# buffers.
sub peak_memory
{
	my $status = slurp_file("/proc/$pid/status");
	my ($peak) = $status =~ /^VmHWM:\s*(\d+) kB/m;
	my ($shared) = $status =~ /^RssShmem:\s*(\d+) kB/m;

	return ($peak - $shared) / 1024;
}
SKIP:
{
	skip 'no /proc', 1 unless -r "/proc/$pid/status";
	my $before = peak_memory();
	my $result = $session->query_safe("SELECT records, bytes / 1000000 FROM cdc_refresh('much')");
	my $peak = peak_memory();

	like($result, qr/^230000\|/, 'all of it is read');
	note(sprintf 'records|MB: %s, peak %d MB, before %d MB', $result, $peak, $before);
	cmp_ok($peak, '<', 256, 'in bounded memory');
}
$session->quit;
is( sql('SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)), count(DISTINCT kafka_partition),
		count(payload), count(kafka_headers) > 0 FROM much_debezium'),
	"230000|230000|$partitions|230000|t", 'each record once, whole');

#
# The foreign table now names another topic, which fits the positions
#
make_pipeline('mine', 1);
$broker->topic('other', 1);
$broker->rec($_, 0, value => $_) foreach qw(mine other other);
$broker->sync;
is(refresh('mine'), 1, 'one record');
sql('ALTER FOREIGN TABLE topics.mine OPTIONS (SET topic $$other$$)');
like( error_of("SELECT * FROM cdc_refresh('mine')"),
	qr/55000: foreign table topics.mine is no longer topic "mine"\n.*"topic" is now "other"/,
	'records of another topic do not land');
sql('ALTER FOREIGN TABLE topics.mine OPTIONS (SET topic $$mine$$)');
is(refresh('mine'), 0, 'and it goes on with its own');
is(sql(q{SELECT convert_from(kafka_value, 'UTF8') FROM mine_debezium}), 'mine', 'nothing else has landed');

#
# A landing's owner who may no longer read the topic
#
sql(q{
	CREATE ROLE reader;
	GRANT CREATE ON SCHEMA public TO reader;
	GRANT USAGE ON SCHEMA topics TO reader;
	GRANT USAGE ON FOREIGN SERVER broker TO reader;
	GRANT SELECT ON topics.mine TO reader;
	SET ROLE reader;
	CREATE TABLE reader_target (id bigint PRIMARY KEY);
	SELECT cdc_create('reader', 'topics.mine', 'reader_target');
});
is(refresh('reader'), 1, 'a role that may read the topic');
sql('REVOKE SELECT ON topics.mine FROM reader');
like(error_of("SELECT * FROM cdc_refresh('reader')"),
	qr/42501: permission denied for foreign table mine/, 'SELECT on the topic was revoked, whoever calls');
sql('GRANT SELECT ON topics.mine TO reader; REVOKE USAGE ON FOREIGN SERVER broker FROM reader');
like(error_of("SELECT * FROM cdc_refresh('reader')"),
	qr/42501: permission denied for foreign server broker/, 'USAGE on the server was revoked');

#
# A broker that is away
#
$broker->down;
like(error_of("SELECT * FROM cdc_refresh('tx')"), qr/08001|HV00N|08006/, 'an error when the broker is away');
is(sql('SELECT count(*) FROM tx_debezium'), 12, 'nothing is lost');
$broker->up;
is(refresh('tx'), 0, 'and it goes on when the broker is back');

$node->stop;
$broker->stop;
done_testing();
