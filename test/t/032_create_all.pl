# Pipelines for all topics of a server in one call, and what happens to those
# that cannot have one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use constant TABLES => 200;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('create_all');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;

# As alice, in her schema; and the error text of what must fail.
sub alice { return $node->safe_psql('postgres', "SET ROLE alice; SET search_path = mine, public; SET client_min_messages = warning; $_[0]"); }

sub error_of
{
	my ($sql) = @_;
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE alice; SET search_path = mine, public;\n$sql");

	isnt($status, 0, "fails: $sql");
	return $stderr;
}

# A row of a table as Debezium tells it.
sub event
{
	my ($topic, $row, $op) = @_;
	my ($key) = sort keys %$row;

	$broker->rec($topic, 0,
		key => encode_json({ $key => $row->{$key} }),
		value => encode_json({
			before => undef, after => $row, op => $op // 'c', ts_ms => 1755849600000,
			source => { connector => 'mysql', ts_ms => 1755849600000 } }));
	return;
}

sub table_topic
{
	my ($topic, %row) = @_;

	$broker->topic($topic, 1);
	event($topic, { id => 1, name => 'one', %row });
	return;
}

# All that a user can see of what was made.
sub made
{
	return $node->safe_psql('postgres', q{
		SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'mine'::regnamespace),
			(SELECT count(*) FROM cdcsync.pipeline), (SELECT count(*) FROM cdcsync.landing),
			(SELECT count(*) FROM cdcsync.follow), (SELECT count(*) FROM pg_depend)});
}

my $servers = $broker->bootstrap;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION cdcsync;
	CREATE ROLE alice;
	CREATE ROLE bob;
	CREATE SCHEMA mine AUTHORIZATION alice;
	CREATE SCHEMA topics AUTHORIZATION alice;
	CREATE SCHEMA wh AUTHORIZATION alice;
	CREATE SERVER msk FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', connect_timeout '5');
	GRANT USAGE ON FOREIGN SERVER msk TO alice});

# ----------
# Names and contents of all kinds
# ----------
table_topic('shop.inv.Customer');
table_topic('shop.inv.orders');
table_topic('other.crm.orders');
table_topic('shop.inv.transaction');
table_topic('lone');
table_topic('eu.transaction');		# a table, whatever its name
table_topic('shop.inv.' . 'very_long_table_name_' x 4);
table_topic('shop.inv.taken');
table_topic('shop.inv.given');
table_topic('shop.inv.planted');
$broker->topic('shop.inv.null_key', 1);
$broker->rec('shop.inv.null_key', 0, key => undef,
	value => encode_json({ before => undef, after => { a => 1 }, op => 'c', ts_ms => 1 }));
$broker->topic('shop.inv.empty', 3);
$broker->topic('shop', 1);
$broker->rec('shop', 0, key => '{"databaseName":"inv"}',
	value => '{"source":{"connector":"mysql"},"ts_ms":1,"databaseName":"inv","schemaName":null,"ddl":"ALTER TABLE x","tableChanges":[]}');
$broker->topic('other', 1);			# the same, but empty
$broker->topic('shop.transaction', 1);
$broker->rec('shop.transaction', 0, key => '{"id":"1"}',
	value => '{"status":"BEGIN","id":"1","event_count":null,"data_collections":null,"ts_ms":1}');
$broker->topic('other.transaction', 1);
$broker->topic('beats', 1);			# a heartbeat topic of another name
$broker->rec('beats', 0, key => '{"serverName":"shop"}', value => '{"ts_ms":1755849600000}');
$broker->topic('__debezium-heartbeat.shop', 1);
$broker->topic('__consumer_offsets', 1);
$broker->topic('_schemas', 1);
$broker->topic('connect-configs', 1);
$broker->topic('shop-signal', 1);
$broker->rec('shop-signal', 0, key => 'shop', value => '{"type":"execute-snapshot","data":{}}');
$broker->topic('shop.inv.debezium_signal', 1);
event('shop.inv.debezium_signal', { id => 'x', type => 'log', data => '{}' });
$broker->topic('schema-history.shop', 1);
$broker->topic('logs', 1);
$broker->rec('logs', 0, key => 'a', value => 'not json at all');
$broker->topic('flat', 1);
$broker->rec('flat', 0, key => '{"id":1}', value => '{"id":1,"name":"no envelope"}');
$broker->topic('outbox', 1);
$broker->rec('outbox', 0, key => '"order-1"', value => '{"type":"OrderCreated"}');
$broker->sync;

my $rows = q{SELECT topic, pipeline, target, done, reason, sqlstate FROM cdc_create_all('msk', target_schema => 'wh'};
my $before = made();
my $dry = alice("$rows, dry_run => true)");
is(made(), $before, 'a dry run leaves nothing');
my $long = 'shop.inv.' . 'very_long_table_name_' x 4;
my $names = qr/[a-z0-9_]{1,48}/;
my %row = map { (split /\|/)[0] => $_ } split /\n/, $dry;

is(scalar(keys %row), 27, 'a row for each topic');
is($row{'shop.inv.Customer'}, 'shop.inv.Customer|customer|wh."Customer"|would be created|types of columns were guessed from 1 event|', 'the last part is the name');
is($row{'shop.inv.orders'}, 'shop.inv.orders|inv_orders|wh.inv_orders|would be created|types of columns were guessed from 1 event|', 'two tables of one name ..');
is($row{'other.crm.orders'}, 'other.crm.orders|crm_orders|wh.crm_orders|would be created|types of columns were guessed from 1 event|', '.. are told apart');
is($row{'shop.inv.transaction'}, 'shop.inv.transaction|inv_transaction|wh.inv_transaction|would be created|types of columns were guessed from 1 event|',
	'a table called transaction');
is($row{'eu.transaction'}, 'eu.transaction|eu_transaction|wh.eu_transaction|would be created|types of columns were guessed from 1 event|',
	'and one in a topic that is named like the other kind');
like($row{$long}, qr/^\Q$long\E\|very_long_table_name_very_long_table_na_[0-9a-f]{8}\|wh\.very_long\w+_[0-9a-f]{8}\|would be created\|types of columns were guessed from 1 event\|$/,
	'a long name is cut');
is($row{'shop.inv.empty'}, 'shop.inv.empty|empty|wh.empty|would be created|the target is made at the first event|',
	'an empty topic');
is($row{'shop.inv.null_key'}, 'shop.inv.null_key|null_key|wh.null_key|would be created|types of columns were guessed from 1 event|',
	'a table without a key');
is($row{'flat'}, 'flat|flat|wh.flat|would be created|types of columns were guessed from 1 event|',
	'rows without an envelope');
my %left_out = (
	'shop' => 'it holds schema changes',
	'other' => 'it is named like one that holds schema changes, and has no records yet',
	'shop.transaction' => 'it holds transaction boundaries',
	'other.transaction' => 'it is named like one that holds transaction boundaries, and has no records yet',
	'beats' => 'it holds heartbeats',
	'__debezium-heartbeat.shop' => 'it holds heartbeats',
	'__consumer_offsets' => 'it holds internal records',
	'_schemas' => 'it is named like one that holds the schemas of a registry, and has no records yet',
	'connect-configs' => 'it is named like one that holds the state of Kafka Connect, and has no records yet',
	'shop-signal' => 'it holds signals',
	'shop.inv.debezium_signal' => 'it holds signals',
	'schema-history.shop' => 'it is named like one that holds the schema history, and has no records yet',
	'logs' => 'it holds records that are no change events of Debezium',
	'outbox' => 'it holds records that are no change events of Debezium');
is($row{$_}, "$_|||left out|$left_out{$_}|", "$_ is left out") foreach sort keys %left_out;


# ----------
# For real
# ----------
# bob may make tables there, and has made one that fits
$node->safe_psql('postgres', q{
	GRANT USAGE, CREATE ON SCHEMA wh TO bob;
	SET ROLE bob;
	CREATE TABLE wh.planted (id bigint PRIMARY KEY, name text);
	GRANT ALL ON wh.planted TO alice});
alice(q{
	CREATE TABLE wh.taken (other int PRIMARY KEY, name text, more text);
	CREATE TABLE wh.given (id bigint PRIMARY KEY, name varchar, refresh_time timestamp);
	INSERT INTO wh.given VALUES (7, 'kept');
	IMPORT FOREIGN SCHEMA kafka LIMIT TO ("shop.inv.orders") FROM SERVER msk INTO topics});
my $real = alice("$rows)");
%row = map { (split /\|/)[0] => $_ } split /\n/, $real;
like($row{'shop.inv.taken'}, qr/\|taken\|wh\.taken\|failed\|the events have no field for key column "other"\|42703/,
	'a table that does not fit is left alone');
like($row{'shop.inv.planted'}, qr/\|planted\|wh\.planted\|failed\|relation wh\.planted already exists: It belongs to another role/,
	q{.. and another role's, whose triggers would run as the user});
is($row{'shop.inv.given'}, 'shop.inv.given|given|wh.given|created|the target was there|', 'one that fits is the target');
my $expected = $dry;
$expected =~ s/^shop\.inv\.(taken|given|planted)\|.*\n//mg;
$expected =~ s/would be created/created/g;
$real =~ s/^shop\.inv\.(taken|given|planted)\|.*\n//mg;
is($real, $expected, 'the dry run has said what would be done');
is(alice(q{SELECT string_agg(relname, ' ' ORDER BY relname COLLATE "C") FROM pg_class
		WHERE relkind = 'f' AND relnamespace = 'mine'::regnamespace AND relname ~ '^shop.inv.[a-z]{1,7}$'}),
	'shop.inv.empty shop.inv.given', 'foreign tables are made where there are none, and only for what was made');
is(alice(q{SELECT l.topic FROM cdcsync.pipeline p JOIN cdcsync.landing l USING (landing_id) WHERE name = 'inv_orders'}),
	'topics."shop.inv.orders"', 'else the one that is there is used');

# the same again
my $again = alice("$rows)");
is(alice(q{SELECT done, count(*) FROM cdc_create_all('msk', target_schema => 'wh') GROUP BY 1 ORDER BY 1}),
	"exists already|11\nfailed|2\nleft out|14", 'a second call finds them');
like($again, qr/^shop\.inv\.Customer\|customer\|wh\."Customer"\|exists already\|\|$/m, 'with their targets');

# they work
alice(q{SELECT cdc_refresh('customer'); SELECT cdc_sync('customer'); SELECT cdc_refresh('given'); SELECT cdc_sync('given')});
is(alice(q{SELECT id, name FROM wh."Customer"}), '1|one', 'a made target');
is(alice(q{SELECT id, name FROM wh.given ORDER BY 1}), "1|one\n7|kept", 'a target that was there');
event('shop.inv.empty', { id => 5, name => 'first' });
$broker->sync;
alice(q{SELECT cdc_refresh('empty'); SELECT cdc_sync('empty')});
is(alice(q{SELECT id, name FROM wh.empty}), '5|first', 'a target made at the first event has its name');

# another role's pipelines are not those of alice
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER msk TO bob; CREATE SCHEMA bobs AUTHORIZATION bob');
is($node->safe_psql('postgres', q{SET ROLE bob; SET search_path = bobs, public; SET client_min_messages = warning;
		SELECT pipeline, target, done FROM cdc_create_all('msk', 'shop.inv.C*')}),
	'inv_customer|bobs."inv_Customer"|created', 'names are unique in the database');

# ----------
# Mistakes
# ----------
like(error_of(q{SELECT cdc_create_all('nowhere')}), qr/ERROR:  42704: server "nowhere" does not exist/, 'no server');
$node->safe_psql('postgres', q{REVOKE USAGE ON FOREIGN SERVER msk FROM alice});
like(error_of(q{SELECT cdc_create_all('msk')}), qr/ERROR:  42501: permission denied for foreign server msk/, 'USAGE');
$node->safe_psql('postgres', q{GRANT USAGE ON FOREIGN SERVER msk TO alice});
like(error_of(q{SELECT cdc_create_all('msk', target_schema => 'pg_catalog')}), qr/ERROR:  0A000/, 'no system schema');
like(error_of(q{SELECT cdc_create_all('msk', target_schema => 'bobs')}), qr/ERROR:  42501: permission denied for schema bobs/, 'no right to create');
like(error_of(q{SELECT cdc_create_all('msk', options => '{"landing": "x"}')}), qr/ERROR:  22023.*\n.*HINT:  Make this pipeline with cdc_create/, 'not for all');
like(error_of(q{SELECT cdc_create_all('msk', options => '{"nonsense": 1}')}), qr/ERROR:  22023: unknown option "nonsense"/, 'unknown option');
like(error_of(q{SELECT cdc_create_all('msk', target_schema => 'wh', options => '{"target_schema": "mine"}')}), qr/ERROR:  22023: conflicting/, 'said twice');
like(error_of(q{SELECT cdc_create_all(NULL)}), qr/ERROR:  22004: argument "server" must not be null/, 'null');
like(error_of(q{SELECT cdc_create('x', options => '{"follow_new_topics": true}')}),
	qr/ERROR:  22023: option "follow_new_topics".*\n.*HINT:  Give it to cdc_create_all/, 'not for one');
is(alice(q{SELECT count(*) FROM cdc_create_all('msk', 'no such *')}), '0', 'nothing matches');

# a topic that is not there yet
alice(q{CREATE FOREIGN TABLE mine.tomorrow (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char",
	kafka_timestamp timestamp, kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER msk OPTIONS (topic 'tomorrow');
	SELECT cdc_create('tomorrow', 'tomorrow')});
is(alice(q{SELECT state, lag_records FROM cdc_status WHERE pipeline = 'tomorrow'}), 'waiting|',
	'a pipeline waits for its topic');

# ----------
# Following
# ----------
my $follow = q{SELECT owner, server, topics, target_schema, helper_schema, options FROM cdcsync.follow};
alice(q{SELECT cdc_create_all('msk', 'shop.*', options => '{"follow_new_topics": true}', dry_run => true)});
is(alice($follow), '', 'not by a dry run');
alice(q{SELECT cdc_create_all('msk', 'shop.*', 'wh', '{"follow_new_topics": true, "strict": true}')});
is(alice($follow), 'alice|msk|shop.*|wh|mine|{"strict": true}', 'remembered');
is(alice(q{SELECT 'shop.inv.Customer' = ANY (seen), 'shop.transaction' = ANY (seen), 'shop.inv.taken' = ANY (seen),
		'lone' = ANY (seen) FROM cdcsync.follow}), 't|t|f|f', 'topics that are done with');
is($node->safe_psql('postgres', 'SET ROLE bob; SELECT count(*) FROM cdcsync.follow'), '0', 'nobody else sees it');
alice(q{SELECT cdc_create_all('msk', 'shop.*')});
is(alice($follow), 'alice|msk|shop.*|wh|mine|{"strict": true}', 'a call that says nothing of it changes nothing');
$node->safe_psql('postgres', 'ALTER SERVER msk RENAME TO kafka');
is(alice('SELECT server FROM cdcsync.follow'), 'kafka', 'the name follows the server');

# a copy of the database does not follow, until it is resumed
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
my $here = 'SELECT cdcsync.is_here(stamp_system, stamp_database), server_id = (SELECT oid FROM pg_foreign_server) FROM cdcsync.follow';
is($node->safe_psql('copy', $here), 'f|t', 'a copy');
$node->safe_psql('copy', q{DELETE FROM cdcsync.pipeline; SET ROLE bob; SELECT cdc_resume('*')});
is($node->safe_psql('copy', $here), 'f|t', 'resumed by its owner alone');
$node->safe_psql('copy', q{SET ROLE alice; SELECT cdc_resume('*')});
is($node->safe_psql('copy', $here), 't|t', 'resumed');

# and a dump knows its server by name
$node->run_log([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $node->basedir . '/dump.sql' ]);
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $node->basedir . '/dump.sql' ], 'restore');
is($node->safe_psql('restored', $here), 'f|f', 'restored');
$node->safe_psql('restored', q{SET ROLE alice; SELECT cdc_resume('*')});
is($node->safe_psql('restored', $here), 't|t', 'and resumed');

alice(q{SELECT cdc_create_all('kafka', 'shop.*', options => '{"follow_new_topics": false}')});
is(alice($follow), '', 'ended');
alice(q{SELECT cdc_create_all('kafka', 'lone', options => '{"follow_new_topics": true}')});
$node->safe_psql('restored', 'DROP SCHEMA wh CASCADE');
is($node->safe_psql('restored', 'SELECT count(*) FROM cdcsync.follow'), '0', 'gone with a schema');
$node->safe_psql('postgres', 'DROP SERVER kafka CASCADE');
is(alice($follow), '', 'gone with the server');
$broker->stop;

# ----------
# Many
# ----------
$broker = start_broker();
$servers = $broker->bootstrap;
$node->safe_psql('postgres', qq{
	CREATE SCHEMA many AUTHORIZATION alice;
	CREATE SERVER many FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', connect_timeout '5');
	GRANT USAGE ON FOREIGN SERVER many TO alice});
foreach my $i (1 .. TABLES)
{
	my $topic = "db.app.table_$i";

	$broker->topic($topic, 2);
	event($topic, { id => $_, name => "row $_", map { ("column_$_" => $_) } 1 .. 20 }) foreach 1 .. 5;
}
$broker->topic('db.app.broken', 1);
$broker->raw('db.app.broken', 0, 'crc');
$broker->sync;
my $start = time;
is(alice(q{SELECT done, count(*) FROM cdc_create_all('many', 'db.app.*', 'many', '{"helper_schema": "many"}', dry_run => true) GROUP BY 1 ORDER BY 1}),
	"failed|1\nwould be created|" . TABLES, 'a dry run of many');
note sprintf('dry run: %.1f s', time - $start);
like(error_of(q{SET statement_timeout = '100ms'; SELECT cdc_create_all('many')}),
	qr/ERROR:  57014: canceling statement due to statement timeout/, 'who cancels it ends all of it');
$start = time;
is(alice(q{SELECT done, count(*) FROM cdc_create_all('many', 'db.app.*', 'many', '{"helper_schema": "many"}') GROUP BY 1 ORDER BY 1}),
	"created|" . TABLES . "\nfailed|1", 'many, but one');
note sprintf('create: %.1f s', time - $start);
cmp_ok(time - $start, '<', 60, 'in no time');
is(alice(q{SELECT count(*) FROM many.table_1}), '0', 'an empty target');
foreach my $call (q{cdc_pause('table_*', what => 'all')}, q{cdc_resume('table_*')}, q{cdc_drop('table_*', drop_target => true)})
{
	$start = time;
	is(alice("SELECT $call"), TABLES, $call);
	note sprintf('%s: %.1f s', $call, time - $start);
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'many'::regnamespace AND relkind <> 'f'}),
	'0', 'all is gone');

$broker->stop;
$node->stop;
done_testing();
