# Topics as foreign tables: import, bounded scans, what is pushed down, and
# that neither errors nor cancels leave a consumer behind.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use CdcKafka;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('kafka');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "log_min_messages = warning\n");
$node->start;

# Seconds that an error may come later than connect_timeout.
my $slack = 3;

# Stored records, one topic a purpose.
my $long = 'salesdb.' . ('very_long_' x 20) . 'name';
$broker->topic('orders', 3);
$broker->topic('salesdb.salesdb.CUSTOMER', 1);
$broker->topic('__consumer_offsets', 1);
$broker->topic("$long.a", 1);
$broker->topic("$long.b", 1);
$broker->topic('empty', 2);
$broker->topic('bytes', 1);
$broker->topic('good_then_gzip', 1);
$broker->topic('good_then_crc', 1);
$broker->topic('stalled', 1);
$broker->topic('control', 1);
$broker->topic('big', 1);
$broker->topic('many', 8);

foreach my $p (0 .. 2)
{
	$broker->rec('orders', $p,
		key => "k$_",
		value => "v$p.$_",
		timestamp => 1755849600000 + $_ * 1000)
	  foreach (0 .. 9);
}
$broker->load("$FindBin::RealBin/../fixtures/customer_events.jsonl");
$broker->rec("$long.b", 0, value => 'b');

my $garbage = join('', map { chr } 0 .. 255);
$broker->rec('bytes', 0);
$broker->rec('bytes', 0, key => '', value => '');
$broker->rec('bytes', 0, key => $garbage, value => $garbage);
$broker->rec(
	'bytes', 0,
	value => 'headers',
	timestamp => 1,
	headers => [
		[ 'a', '1' ],
		[ 'b', undef ],
		[ 'a', "\xc3\xa9" ],
		[ '', '' ],
		[ 'not utf8', "\xff\x00" ],
		[ 'nul', "x\x00y" ],
		[ "\xff", 'name not utf8' ]
	]);
foreach my $kind (qw(gzip crc))
{
	$broker->raw("good_then_$kind", 0, 'good');
	$broker->raw("good_then_$kind", 0, $kind);
}
$broker->raw('stalled', 0, 'good');
$broker->raw('stalled', 0, 'truncated');
$broker->raw('control', 0, 'good');
$broker->raw('control', 0, 'control');
$broker->raw('control', 0, 'good');
$broker->raw('control', 0, 'control');
$broker->fill('big', 0, 8 * 1024 * 1024);
$broker->bulk('many', 8, 20000, 1000);
$broker->sync;

my $servers = $broker->bootstrap;
$node->safe_psql(
	'postgres', qq{
CREATE EXTENSION cdcsync;
CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka
	OPTIONS (bootstrap_servers '$servers', connect_timeout '3', stall_timeout '4');
CREATE SCHEMA s;
});

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

# Error of a query, which must fail; and how long it took.
sub failure
{
	my ($query) = @_;
	my $start = time;
	my ($rc, $out, $err) = $node->psql('postgres', $query);

	isnt($rc, 0, "fails: $query");
	return wantarray ? ($err, time - $start) : $err;
}

sub notices
{
	my ($query) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $query, on_error_die => 1);
	return $err;
}

sub tables
{
	my ($schema) = @_;
	return sql(
		"SELECT string_agg(relname, ' ' ORDER BY relname COLLATE \"C\") FROM pg_class
		 WHERE relkind = 'f' AND relnamespace = '$schema'::regnamespace");
}

#
# Import
#
my $err = notices('IMPORT FOREIGN SCHEMA kafka FROM SERVER k INTO s');
my $head = substr($long, 0, 54);
my @names = split(/ /, tables('s'));
is(scalar(@names), 12, 'a table for every topic');
is(scalar(grep { $_ =~ /^\Q$head\E_[0-9a-f]{8}$/ } @names),
	2, 'long names are cut and get a hash');
is(scalar(grep { length($_) > 63 } @names), 0, 'no name is too long');
ok(!(grep { $_ =~ /^__/ } @names), 'internal topics are left out');
is(() = $err =~ /NOTICE:  topic "\Q$long\E\.[ab]" is imported as/g,
	2, 'long names are reported');
is( sql("SELECT count(*) FROM s.\"$names[0]\""),
	sql('SELECT 0'),
	'sorted first: an empty topic or none at all') if $names[0] eq 'empty';
my @long_names = grep { $_ =~ /^\Q$head\E_/ } @names;
is( sql(
		join(' UNION ALL ',
			map { "SELECT count(*) FROM s.\"$_\"" } @long_names)
		  . ' ORDER BY 1'),
	"0\n1",
	'each long name is its own topic');

$broker->topic('later', 1);
is(notices('IMPORT FOREIGN SCHEMA kafka FROM SERVER k INTO s'),
	'', 'importing again says nothing');
is(tables('s'), join(' ', sort(@names, 'later')), 'and brings what is new');

sql('CREATE SCHEMA s2');
$err = notices(
	'IMPORT FOREIGN SCHEMA kafka LIMIT TO (orders, "salesdb.salesdb.CUSTOMER", __consumer_offsets, absent)
	 FROM SERVER k INTO s2');
is( tables('s2'),
	'__consumer_offsets orders salesdb.salesdb.CUSTOMER',
	'LIMIT TO, internal topic named');
like($err, qr/NOTICE:  topic "absent" does not exist/, 'missing topic');
unlike($err, qr/very_long/, 'nothing is said about others');
$err = notices(
	"IMPORT FOREIGN SCHEMA kafka LIMIT TO (\"$long.a\") FROM SERVER k INTO s2");
like(
	$err,
	qr/HINT:  A topic with a long name is imported as "\Q$head\E_/,
	'the name to use for a long one');
sql("IMPORT FOREIGN SCHEMA kafka LIMIT TO (\"$long_names[0]\") FROM SERVER k INTO s2"
);
like(tables('s2'), qr/\Q$long_names[0]\E/, 'LIMIT TO by the name of the table');
sql('CREATE SCHEMA s3');
sql('CREATE TABLE s3.orders ()');
sql('CREATE FOREIGN TABLE s3.big () SERVER k OPTIONS (topic \'many\')');
$err = notices(
	"IMPORT FOREIGN SCHEMA kafka EXCEPT (bytes, later, many, \"$long_names[1]\")
	 FROM SERVER k INTO s3");
is( tables('s3'),
	join(' ',
		sort grep { $_ !~ /^(bytes|later|many|orders|\Q$long_names[1]\E)$/ }
		  @names),
	'EXCEPT');
like(
	$err,
	qr/topic "orders" is not imported.*another relation or type "orders" in schema "s3"/s,
	'a relation in the way');
like(
	$err,
	qr/topic "big" is not imported/,
	'a foreign table of another topic in the way');
$err = failure('IMPORT FOREIGN SCHEMA public FROM SERVER k INTO s3');
like($err, qr/schema "public" does not exist on Kafka server "k"/,
	'remote schema');
like($err, qr/HINT:  The topics are in the schema "kafka"/, 'its name');
$err = failure(
	"IMPORT FOREIGN SCHEMA kafka FROM SERVER k INTO s3 OPTIONS (x 'y')");
like($err, qr/invalid option "x"/, 'no options of the import');

#
# What a scan returns
#
sql('ALTER DATABASE postgres SET search_path = s, public');
is( sql(
		'SELECT kafka_partition, count(*), min(kafka_offset), max(kafka_offset) FROM orders GROUP BY 1 ORDER BY 1'
	),
	"0|10|0|9\n1|10|0|9\n2|10|0|9",
	'all partitions from beginning to end');
is( sql(
		'SELECT kafka_offset, kafka_timestamp_type, kafka_timestamp, kafka_key, convert_from(kafka_value, \'UTF8\') FROM orders
		 WHERE kafka_partition = 1 AND kafka_offset = 3'),
	'3|C|2025-08-22 08:00:03|\x6b33|v1.3',
	'columns');
is( sql("SET TimeZone = 'America/New_York';
		 SELECT kafka_timestamp FROM orders WHERE kafka_partition = 1 AND kafka_offset = 3"
	),
	'2025-08-22 08:00:03',
	'times are UTC whatever the session says');
is(sql('SELECT count(*) FROM empty'), '0', 'a topic without records');
is( sql('SELECT kafka_offset, kafka_value FROM control'),
	"0|\\x726177\n2|\\x726177",
	'control records are left out, at the end too');
is(sql('SELECT count(*), sum(length(kafka_value)) > 10000000 FROM many'),
	'20000|t', 'many records');
is( sql(
		'SELECT length(kafka_value), md5(kafka_value) = md5(left(repeat(\'abcdefghijklmnopqrstuvwxyz\', 330000), 8388608)) FROM big'
	),
	'8388608|t',
	'a record of 8 MB');
is( sql(
		'SELECT kafka_offset, kafka_key IS NULL, length(kafka_key), kafka_value IS NULL, length(kafka_value) FROM bytes WHERE kafka_offset < 3 ORDER BY 1'
	),
	"0|t||t|\n1|f|0|f|0\n2|f|256|f|256",
	'NULL and empty are not the same');
is( sql('SELECT kafka_key = kafka_value, encode(kafka_value, \'hex\') FROM bytes WHERE kafka_offset = 2'
	),
	't|' . unpack('H*', $garbage),
	'any bytes');
is( sql('SELECT kafka_headers FROM bytes WHERE kafka_offset = 3'),
	'[{"key": "a", "value": "1"}, {"key": "b", "value": null}, '
	  . '{"key": "a", "value": "' . "\xc3\xa9" . '"}, {"key": "", "value": ""}, '
	  . '{"key": "not utf8", "bytes": "/wA="}, {"key": "nul", "bytes": "eAB5"}, '
	  . '{"value": "name not utf8", "key_bytes": "/w=="}]',
	'headers');
is( sql('SELECT count(*) FROM bytes WHERE kafka_headers IS NULL'),
	'3', 'no headers');
is( sql(
		'SELECT count(*), count(kafka_value), count(kafka_headers), jsonb_path_query_first(jsonb_agg(kafka_headers), \'$[*][*] ? (@.key == "__debezium.newkey").value\')
		 FROM "salesdb.salesdb.CUSTOMER"'),
	'20|17|16|"{\"CUST_ID\":9002}"',
	'events of Debezium');

#
# Conditions
#
my $explain = sub {
	my ($where) = @_;
	my $plan = sql("EXPLAIN (COSTS OFF) SELECT 1 FROM orders WHERE $where");

	$plan =~ s/\(InitPlan 1\)\.col1/\$0/g;	# as it is called from 17 on
	return join(';', map { s/^\s+//r } grep { /Kafka|Partitions|Offsets|Timestamp:/ } split(/\n/, $plan));
};

# [ condition, what EXPLAIN shows, what another way of asking gives ]
my @conditions = (
	[ 'kafka_partition = 1', 'Partitions: = 1' ],
	[ '1 = kafka_partition', 'Partitions: = 1' ],
	[ 'kafka_partition IN (0, 2)', 'Partitions: = ANY {0,2}' ],
	[ 'kafka_partition = ANY (\'{1,NULL,7}\'::int[])', 'Partitions: = ANY {1,NULL,7}' ],
	[ 'kafka_partition < 2', 'Partitions: < 2' ],
	[ 'kafka_partition >= 1 AND kafka_partition <= 1', 'Partitions: >= 1 AND <= 1' ],
	[ '1 < kafka_partition', 'Partitions: > 1' ],
	[ 'kafka_partition = 77', 'Partitions: = 77' ],
	[ 'kafka_partition = -1', 'Partitions: = -1' ],
	[ 'kafka_partition = 9223372036854775807', 'Partitions: = 9223372036854775807' ],
	[ 'kafka_partition = 0 OR kafka_offset = 1', '' ],
	[ 'kafka_partition = (SELECT NULL::bigint)', 'Partitions: = $0' ],
	[ 'kafka_offset = 4', 'Offsets: = 4' ],
	[ 'kafka_offset > 4', 'Offsets: > 4' ],
	[ 'kafka_offset >= 4', 'Offsets: >= 4' ],
	[ 'kafka_offset < 4', 'Offsets: < 4' ],
	[ 'kafka_offset <= 4', 'Offsets: <= 4' ],
	[ '4 >= kafka_offset', 'Offsets: <= 4' ],
	[ 'kafka_offset BETWEEN 3 AND 5', 'Offsets: >= 3 AND <= 5' ],
	[ 'kafka_offset BETWEEN 5 AND 3', 'Offsets: >= 5 AND <= 3' ],
	[ 'kafka_offset IN (2, 5)', 'Offsets: = ANY {2,5}' ],
	[ 'kafka_offset > 9223372036854775806', 'Offsets: > 9223372036854775806' ],
	[ 'kafka_offset <= 9223372036854775807', 'Offsets: <= 9223372036854775807' ],
	[ 'kafka_offset < (-9223372036854775808)', 'Offsets: < -9223372036854775808' ],
	[ 'kafka_offset <> 4', '' ],
	[ 'kafka_offset = kafka_partition', '' ],
	[ 'kafka_offset + 0 = 4', '' ],
	[ 'NOT kafka_partition = ANY (\'{1}\'::bigint[])', '' ],
	[ 'kafka_partition = 1 AND kafka_offset >= 8', 'Partitions: = 1;Offsets: >= 8' ],
	[ 'kafka_offset = (SELECT 6)', 'Offsets: = $0' ],
	[ 'kafka_timestamp >= \'2025-08-22 08:00:05\'', 'Timestamp: >= 2025-08-22 08:00:05' ],
	[ 'kafka_timestamp > \'2025-08-22 08:00:05\'', 'Timestamp: > 2025-08-22 08:00:05' ],
	[ '\'2025-08-22 08:00:05\' <= kafka_timestamp', 'Timestamp: >= 2025-08-22 08:00:05' ],
	[ 'kafka_timestamp >= \'infinity\'', 'Timestamp: >= infinity' ],
	[ 'kafka_timestamp >= \'-infinity\'', 'Timestamp: >= -infinity' ],
	[ 'kafka_timestamp >= date \'2025-08-22\'', 'Timestamp: >= 2025-08-22' ],
	[ 'kafka_timestamp < \'2025-08-22 08:00:05\'', '' ],
);
sql('CREATE TABLE copy AS SELECT * FROM orders');
foreach my $case (@conditions)
{
	my ($where, $shown) = @$case;
	my $query =
	  "SELECT string_agg(kafka_partition || ':' || kafka_offset, ' ' ORDER BY kafka_partition, kafka_offset) FROM";

	is( $explain->($where),
		join(';', 'Kafka topic: orders', $shown || ()),
		"explain $where");
	is( sql("$query orders WHERE $where"),
		sql("$query copy WHERE $where"),
		"rows where $where");
}
is( sql('PREPARE q (bigint, bigint) AS SELECT count(*) FROM orders WHERE kafka_partition = $1 AND kafka_offset >= $2;
		 SET plan_cache_mode = force_generic_plan;
		 EXECUTE q (1, 7); EXECUTE q (2, 0); EXECUTE q (NULL, 0)'),
	"3\n10\n0",
	'parameters');
is( sql(
		'SELECT count(*), count(DISTINCT o.kafka_offset) FROM generate_series(0, 2) AS p, LATERAL
		 (SELECT * FROM orders WHERE kafka_partition = p AND kafka_offset <= p OFFSET 0) AS o'
	),
	'6|3',
	'rescans with other parameters');
is( sql(
		'SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
		 SELECT count(*) FROM orders AS a JOIN orders AS b USING (kafka_partition, kafka_offset)'
	),
	'30',
	'rescans');

# The records after a good one cannot be read: who asks for more fails.
my $query = 'SELECT convert_from(kafka_value, \'UTF8\') FROM good_then_gzip';
is(sql("$query LIMIT 1"), 'raw', 'LIMIT stops early');
is(sql("$query WHERE kafka_offset < 1"),
	'raw', 'a bound on the offset stops early');

#
# Errors of the data
#
$err = failure($query);
like(
	$err,
	qr/could not read partition 0 of topic "good_then_gzip" at offset 1.*DETAIL:  .*ecompress/s,
	'broken compression');
$err = failure('SELECT * FROM good_then_crc');
like(
	$err,
	qr/could not read partition 0 of topic "good_then_crc" at offset 1.*DETAIL:  .*CRC/s,
	'wrong checksum');
my $took;
($err, $took) = failure('SELECT * FROM stalled');
like(
	$err,
	qr/could not read partition 0 of topic "stalled" at offset 1.*goes on to offset 2, but nothing has come for 4 s/s,
	'a malformed record does not hang');
cmp_ok($took, '<', 4 + $slack, 'and ends in time');

#
# Nothing is left behind
#
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');

sub threads { my @t = glob("/proc/$pid/task/*"); return scalar(@t); }
sub files { my @f = glob("/proc/$pid/fd/*"); return scalar(@f); }

$session->query('SELECT count(*) FROM orders');
my $files = files();
is(threads(), 1, 'no thread after a query');
for (1 .. 10)
{
	$session->query('SELECT count(*) FROM orders');
	$session->query('SELECT * FROM good_then_crc');
	$session->query('SELECT 1 / (kafka_offset - 5) FROM orders');
}
is(threads(), 1, 'no thread after errors');
is(files(), $files, 'no file either');

my $start = time;
$session->query("SET statement_timeout = '1s'");
$session->query('SELECT * FROM stalled');
cmp_ok(time - $start, '<', 3, 'a waiting scan is cancelled at once');
is(threads(), 1, 'no thread after a cancel');

$session->query("SET statement_timeout = 0");
$session->query('BEGIN');
$session->query('DECLARE c CURSOR FOR SELECT * FROM many');
$session->query('FETCH 1 FROM c');
cmp_ok(threads(), '>', 1, 'an open cursor has a consumer');
$session->query('SAVEPOINT a');
$session->query('DECLARE d CURSOR FOR SELECT * FROM many');
$session->query('FETCH 1 FROM d');
my $two = threads();
$session->query('ROLLBACK TO a');
cmp_ok(threads(), '<', $two, 'a subtransaction takes its cursors with it');
$session->query('ROLLBACK');
is(threads(), 1, 'no thread after a rollback');
is(files(), $files, 'no file either');

# Processes that end with a consumer alive: no crash.
$session->query('BEGIN');
$session->query('DECLARE c CURSOR FOR SELECT * FROM many');
$session->query('FETCH 1 FROM c');
$session->quit;
$session = $node->background_psql('postgres', on_error_stop => 0);
$pid = $session->query('SELECT pg_backend_pid()');
$session->query('BEGIN');
$session->query('DECLARE c CURSOR FOR SELECT * FROM many');
$session->query('FETCH 1 FROM c');
sql("SELECT pg_terminate_backend($pid, 10000)");
ok(!-e "/proc/$pid", 'a terminated session ends');
eval { $session->quit; };
unlike(slurp_file($node->logfile),
	qr/was terminated by signal/, 'no process has crashed');

#
# Memory does not grow with the topic: this one has about 300 MB
#
$broker->topic('lots', 64);
$broker->bulk('lots', 64, 400000, 100000);
$broker->sync;
sql('IMPORT FOREIGN SCHEMA kafka LIMIT TO (lots) FROM SERVER k INTO s');
$session = $node->background_psql('postgres');
$pid = $session->query('SELECT pg_backend_pid()');
is( $session->query(
		'SELECT count(*), sum(length(kafka_value) + length(kafka_headers::text)) > 300000000 FROM lots'
	),
	'400000|t',
	'a bigger topic');
my ($peak) = slurp_file("/proc/$pid/status") =~ /VmHWM:\s+(\d+)/;
note("peak memory $peak kB");
cmp_ok($peak, '<', 256 * 1024, 'constant memory');
$session->quit;

#
# Brokers that do not answer
#
($err, $took) = failure("CREATE FOREIGN TABLE absent (kafka_value bytea) SERVER k OPTIONS (topic 'absent'); SELECT * FROM absent");
like($err, qr/topic "absent" does not exist on Kafka server "k"/,
	'unknown topic');
cmp_ok($took, '<', 3 + $slack, 'in time');

sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
	return $socket->sockport;
}

sub other_server
{
	my ($port, $options) = @_;
	$options //= '';
	return "BEGIN;
		CREATE SERVER other FOREIGN DATA WRAPPER cdcsync_kafka
			OPTIONS (bootstrap_servers '127.0.0.1:$port', connect_timeout '3' $options);
		CREATE FOREIGN TABLE o (kafka_value bytea) SERVER other OPTIONS (topic 'orders');
		SELECT * FROM o";
}

my $port = free_port();
($err, $took) = failure(other_server($port));
like(
	$err,
	qr/could not reach Kafka server "other" at 127\.0\.0\.1:$port.*DETAIL:  .*Connection refused/s,
	'wrong port');
cmp_ok($took, '<', 3 + $slack, 'in time');

# A port that accepts and never says anything.
my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1');
($err, $took) = failure(other_server($silent->sockport));
like($err, qr/could not reach Kafka server "other" at 127\.0\.0\.1/,
	'a port that does not answer');
cmp_ok($took, '<', 3 + $slack, 'in time');
close($silent);

my ($kafka_port) = $servers =~ /:(\d+)/;
($err, $took) = failure(other_server($kafka_port, ", security_protocol 'ssl'"));
like(
	$err,
	qr/could not reach Kafka server "other": the broker does not answer as one with TLS.*HINT:  The port may expect plaintext/s,
	'TLS spoken to a port in plaintext');
cmp_ok($took, '<', 3 + $slack, 'in time');

SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir();

	skip 'no openssl', 9
	  if system(
		"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout '$dir/key' -out '$dir/cert' >/dev/null 2>&1"
	  ) != 0;
	my $tls_port = free_port();
	my $tls_pid = fork();
	if ($tls_pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec('openssl', 's_server', '-accept', "127.0.0.1:$tls_port",
			'-key', "$dir/key", '-cert', "$dir/cert", '-www')
		  or exit(1);
	}
	for (1 .. 100)
	{
		last
		  if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $tls_port);
		select(undef, undef, undef, 0.1);
	}
	($err, $took) = failure(other_server($tls_port));
	like(
		$err,
		qr/could not reach Kafka server "other": the broker does not answer as one without TLS.*HINT:  The port may expect TLS/s,
		'plaintext spoken to a port with TLS');
	cmp_ok($took, '<', 3 + $slack, 'in time');

	# The handshake is checked: with the CA it gets past it.
	$err = failure(other_server($tls_port, ", security_protocol 'ssl'"));
	like($err, qr/"other": the broker's certificate is signed by an authority that is not trusted\nDETAIL:  .*subject=\/CN=localhost/, 'unknown CA');
	my $ca = slurp_file("$dir/cert");
	$err = failure(
		other_server($tls_port,
			", security_protocol 'ssl', ssl_ca '$ca'"));
	like($err, qr/"other": the broker's certificate is for another host/, 'another host than the certificate names');
	$err = failure(
		other_server($tls_port, ", security_protocol 'ssl', ssl_verify 'off'"));
	unlike($err, qr/ERROR: .*certificate/, 'not verified when told so');
	kill('TERM', $tls_pid);
	waitpid($tls_pid, 0);
}

# Secrets of the owner of a view, not of who selects from it.
sql(qq{
CREATE SERVER sasl FOREIGN DATA WRAPPER cdcsync_kafka
	OPTIONS (bootstrap_servers '127.0.0.1:$port', security_protocol 'sasl_plaintext', connect_timeout '1');
CREATE FOREIGN TABLE secret (kafka_value bytea) SERVER sasl OPTIONS (topic 'orders');
CREATE USER MAPPING FOR CURRENT_USER SERVER sasl OPTIONS (user 'u', password 'p');
CREATE VIEW open AS SELECT * FROM secret;
CREATE ROLE reader;
GRANT USAGE ON SCHEMA s TO reader;
GRANT SELECT ON secret, open TO reader;
});
like(
	scalar(failure('SET ROLE reader; SELECT * FROM secret')),
	qr/no user and password for Kafka server "sasl"/,
	'no user mapping');
like(
	scalar(failure('SET ROLE reader; SELECT * FROM open')),
	qr/could not reach Kafka server "sasl"/,
	'a view uses the mapping of its owner');

# The broker goes away and comes back.
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query("ALTER SERVER k OPTIONS (SET stall_timeout '600')");
$session->query('BEGIN');
$session->query('DECLARE c CURSOR FOR SELECT * FROM stalled');
$session->query('FETCH 1 FROM c');
$broker->down;
$start = time;
$session->query('FETCH 1 FROM c');
cmp_ok(time - $start, '<', 3 + 2 * $slack, 'a scan that loses its broker ends');
$session->quit;
like(
	slurp_file($node->logfile),
	qr/could not reach Kafka server "k" at \Q$servers\E.*\n.*DETAIL.*\n.*STATEMENT:  FETCH 1 FROM c/,
	'with the reason');
($err, $took) = failure('SELECT * FROM orders');
like($err, qr/could not reach Kafka server "k" at \Q$servers\E/,
	'broker down');
cmp_ok($took, '<', 3 + $slack, 'in time');
$broker->up;
is(sql('SELECT count(*) FROM orders'), '30', 'broker up again');

$node->stop('fast');
$broker->stop;
done_testing();
