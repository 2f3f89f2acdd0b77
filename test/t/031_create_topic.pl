# Pipelines on topics, by a role that is no superuser.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('create_topic');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;

# As alice, in her schema; and the error text of what must fail.
sub alice { return $node->safe_psql('postgres', "SET ROLE alice; SET search_path = mine, public; $_[0]"); }

sub error_of
{
	my ($sql) = @_;
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "SET ROLE alice; SET search_path = mine, public;\n$sql");

	isnt($status, 0, "fails: $sql");
	return $stderr;
}

sub relations
{
	return $node->safe_psql('postgres', q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		WHERE relnamespace = 'mine'::regnamespace AND relkind IN ('r', 'v')});
}

my $topic = 'salesdb.salesdb.CUSTOMER';
$broker->topic($topic, 1);
$broker->topic('empty', 1);
$broker->load("$FindBin::Bin/../fixtures/customer_events.jsonl", shape => 'with_schema', topic => $topic, partition => 0);
my $servers = $broker->bootstrap;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION cdcsync;
	CREATE ROLE alice;
	CREATE ROLE bob;
	CREATE SCHEMA topics AUTHORIZATION alice;
	CREATE SCHEMA mine AUTHORIZATION alice;
	CREATE SERVER msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', connect_timeout '3');
	GRANT USAGE ON FOREIGN SERVER msk TO alice});
alice('IMPORT FOREIGN SCHEMA kafka FROM SERVER msk INTO topics');
alice(q{CREATE TABLE given (customer_id bigint PRIMARY KEY, customer_name text, refresh_time timestamp);
	CREATE TABLE nokey (customer_id bigint UNIQUE, name text)});

my $before = relations();

# mistakes that only the events show
my $hint = error_of(qq{SELECT cdc_create('customer', 'topics."$topic"', 'given',
	columns => '{"customer_id": "CUST_ID", "customer_name": "Name"}')});
like($hint, qr/field "Name" for column "customer_name" does not exist in the events/, 'no such field');
like($hint, qr/HINT:.*fields: "NAME", "CUST_ID"/, 'the near miss first');
like(error_of(q{SELECT cdc_create('nothing', 'topics.empty', 'nokey', options => '{"mode": "history"}')}),
	qr/no usable key for target "nokey"/, 'an empty topic has no key');
is(relations(), $before, 'nothing is left behind');

# a given target; the position is where it should be
alice(qq{SELECT cdc_create('customer', 'topics."$topic"', 'given',
	columns => '{"customer_id": "CUST_ID", "customer_name": "NAME"}')});
is(alice(q{SELECT key, target_made FROM cdcsync.pipeline WHERE name = 'customer'}), '{customer_id}|f', 'primary key');

# the key of the events; two pipelines read one landing
alice(q{SELECT cdc_create('names', target => 'nokey', columns => '{"customer_id": "CUST_ID"}',
	options => '{"landing": "customer_debezium"}')});
is(alice(q{SELECT key FROM cdcsync.pipeline WHERE name = 'names'}), '{customer_id}', 'key of the events');
like(error_of(q{SELECT cdc_create('x', 'topics.empty', options => '{"landing": "customer_debezium"}')}),
	qr/landing "customer_debezium" does not hold the records of topic "empty"/, 'another topic');

# no target: made from the schema in the events
alice(qq{SELECT cdc_create('made', 'topics."$topic"')});
is(alice(q{SELECT target, key, target_made FROM cdcsync.pipeline WHERE name = 'made'}),
	'made_target|{CUST_ID}|t', 'a target is made');
# none yet
alice(q{SELECT cdc_create('later', 'topics.empty')});
is(alice(q{SELECT reason, lag_records FROM cdc_status WHERE pipeline = 'later'}), 'no worker is running: call cdc_refresh() and cdc_sync()|', 'nobody has looked at the topic yet');

# the lag knows the end of the log once it has been seen
my $n = alice(q{SELECT records FROM cdc_refresh('customer')});
cmp_ok($n, '>', 0, 'refreshed');
is(alice(q{SELECT pipeline, lag_records, lag_time < interval '10 min' FROM cdc_status WHERE pipeline IN ('customer', 'names') ORDER BY 1}),
	"customer|$n|f\nnames|$n|f", 'all of it is to be synced');
is(alice(q{SELECT events FROM cdc_sync('customer')}), $n, 'synced');
is(alice(q{SELECT pipeline, lag_records, lag_time < interval '10 min' FROM cdc_status WHERE pipeline IN ('customer', 'names') ORDER BY 1}),
	"customer|0|t\nnames|$n|f", 'each pipeline has its own watermark');
is(alice(q{SELECT latest_refresh_time = (SELECT max(refresh_time) FROM customer_debezium)
		FROM debezium_last_extract WHERE process_name = 'customer'}), 't', 'debezium_last_extract');

# another role cannot touch any of it
foreach my $call (q{cdc_refresh('customer')}, q{cdc_sync('customer')}, q{cdc_drop('customer')})
{
	my (undef, undef, $err) = $node->psql('postgres', "SET ROLE bob; SELECT $call");
	like($err, qr/pipeline "customer" does not exist/, "bob: $call");
}
is($node->safe_psql('postgres', 'SET ROLE bob; SELECT count(*) FROM cdc_status'), '0', 'bob sees nothing');

# the topic is protected by its landing
like(error_of(qq{DROP FOREIGN TABLE topics."$topic"}),
	qr/table customer_debezium_chunk depends on foreign table topics."$topic"/, 'the topic is needed');
like(error_of(q{DROP SCHEMA topics CASCADE; SELECT 1 / count(*) FROM cdc_status}), qr/division by zero/,
	'and takes its pipelines along');
is(relations(), 'given made_target nokey', 'targets stay');

# no broker: no pipeline
$node->safe_psql('postgres', q{
	CREATE SERVER away FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '1');
	GRANT USAGE ON FOREIGN SERVER away TO alice});
alice(q{CREATE FOREIGN TABLE away (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char",
	kafka_timestamp timestamp, kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER away OPTIONS (topic 'away')});
like(error_of(q{SELECT cdc_create('away', 'away')}), qr/could not reach Kafka server "away"/, 'the broker is away');
is(relations(), 'given made_target nokey', 'nothing is left behind');

$broker->stop if $broker->can('stop');
$node->stop;
done_testing();
