# A dump restored into another database, or another cluster, brings every
# pipeline back, paused, with its landing, positions and dependencies.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;

$node->safe_psql('postgres', q{
	CREATE ROLE alice;
	CREATE ROLE bob LOGIN;
	CREATE DATABASE source TEMPLATE template0 ENCODING 'UTF8'});
$other->safe_psql('postgres', q{
	CREATE ROLE alice;
	CREATE ROLE bob LOGIN});

$node->safe_psql('source', q{
	CREATE EXTENSION cdcsync;
	CREATE SCHEMA "My schema" AUTHORIZATION alice;
	SET search_path = "My schema", public;
	SET ROLE alice;
	CREATE TABLE customer_target (id bigint, name text, refresh_time timestamp, db text DEFAULT '', PRIMARY KEY (id, db));
	INSERT INTO customer_target VALUES (1, 'one', '2025-01-31');
	SELECT cdc_create('customer', target => 'customer_target', columns => '{"id": "ID", "db": "$source.db"}',
					  options => '{"retention": "2 days"}');
	SELECT cdc_create('names', target => 'customer_target', columns => '{"db": "$source.db"}', options => '{"landing": "customer_debezium", "schema_topic": "customer_debezium"}');
	SELECT cdc_create('later');
	INSERT INTO customer_debezium_chunk (kafka_partition, epoch, first_offset, last_offset, refresh_time,
		kafka_timestamp_type, kafka_timestamp, kafka_key, kafka_value)
	VALUES (0, 0, 0, 1, '2025-01-31', 'C', '{2025-01-31,2025-02-01}', '{"k1",NULL}', '{"v1","v2"}');
	RESET ROLE;
	INSERT INTO cdcsync.position (landing_id, kafka_partition, next_offset)
	SELECT landing_id, 0, 2 FROM cdcsync.pipeline WHERE name = 'customer';
	INSERT INTO cdcsync.watermark (pipeline, kafka_partition, epoch, next_offset, refresh_time)
	VALUES ('customer', 0, 0, 1, '2025-01-31');
	INSERT INTO cdcsync.quarantine (pipeline, kafka_partition, kafka_offset, sqlstate, message)
	VALUES ('customer', 0, 0, '22P02', 'bad');
	INSERT INTO cdcsync.evidence (pipeline, column_name, encoding) VALUES ('customer', 'v', 'hex');
	INSERT INTO cdcsync.inexact (pipeline, reason) VALUES ('customer', 'lost');
	INSERT INTO cdcsync.sweep (pipeline, deleted_rows, identity) VALUES ('customer', 0, 1);
	INSERT INTO cdcsync.snapshot (pipeline, identity, scope, origin, kafka_partition, epoch, nrows, certain, initial, done,
		marked, await_epoch, source_ts_ms, noted_at) VALUES ('customer', 2, 3, 4, 0, 0, 1, true, false, false, true, 0, 0, now());
	INSERT INTO cdcsync.source_schema (pipeline, fields, source_table, declared) VALUES ('customer', '[]', '"s"."t"', '[]');
	INSERT INTO cdcsync.schema_change (pipeline, kafka_partition, epoch, kafka_offset, kind, in_schema_topic, state)
	VALUES ('customer', 0, 0, 1, 'truncated', true, 'applied');
	INSERT INTO cdcsync.schema_watermark VALUES ('customer', 0, 0, 1);
	SELECT cdc_pause('later', 'for a reason', 'all');
});

my $dump = $node->backup_dir . '/source.sql';
mkdir $node->backup_dir;
$node->command_ok([ 'pg_dump', '-d', $node->connstr('source'), '-f', $dump ], 'dump');

# What must be the same before and after, as text without OIDs.
my $contents = q{
	SET search_path = public;
	SELECT l.landing_id, view, chunk, topic, l.options FROM cdcsync.landing l ORDER BY 1;
	SELECT * FROM cdcsync.position ORDER BY 1, 2;
	SELECT name, landing_id, owner, staging, target, target_made, key, columns, options, source_table, state,
		paused_what, reason, since FROM cdcsync.pipeline ORDER BY 1;
	SELECT * FROM cdcsync.watermark ORDER BY 1, 2;
	SELECT * FROM cdcsync.quarantine;
	SELECT * FROM cdcsync.evidence;
	SELECT * FROM cdcsync.inexact;
	SELECT * FROM cdcsync.sweep;
	SELECT * FROM cdcsync.snapshot;
	SELECT last_value FROM cdcsync.snapshot_id_seq;
	SELECT * FROM cdcsync.source_schema;
	SELECT * FROM cdcsync.schema_change;
	SELECT * FROM cdcsync.schema_watermark;
	SELECT name, schema_view FROM cdcsync.pipeline ORDER BY 1;
	SELECT * FROM "My schema".customer_target;
	SELECT kafka_partition, kafka_offset, kafka_timestamp, kafka_key, kafka_value, refresh_time
	FROM "My schema".customer_debezium ORDER BY 1, 2;
	SELECT tgname, tgtype FROM pg_trigger WHERE tgrelid = '"My schema".customer_debezium'::regclass ORDER BY 1;
	SELECT evtname, evtenabled FROM pg_event_trigger;
	SELECT last_value FROM cdcsync.landing_id_seq;
};
my $before = $node->safe_psql('source', $contents);

is($node->safe_psql('source', 'SELECT pipeline, state FROM cdc_status ORDER BY 1'),
	"customer|waiting\nlater|paused\nnames|waiting", 'states in the source');

sub check_restored
{
	my ($cluster, $db, $where) = @_;

	is($cluster->safe_psql($db, $contents), $before, "everything is back $where");
	is($cluster->safe_psql($db, 'SELECT pipeline, state, reason FROM cdc_status ORDER BY 1'),
		"customer|paused|restored or copied from another database\n"
		  . "later|paused|restored or copied from another database\n"
		  . "names|paused|restored or copied from another database",
		"all is paused $where");
	is($cluster->safe_psql($db, q{SET ROLE bob; SELECT count(*) FROM cdc_status}), '0',
		"others still see nothing $where");

	my ($ret, $out, $err) = $cluster->psql($db, q{SELECT * FROM cdc_sync('customer')});
	like($err, qr/pipeline "customer" is paused: restored or copied from another database/,
		"sync is refused $where");
	($ret, $out, $err) = $cluster->psql($db, q{SELECT * FROM cdc_refresh('customer')});
	like($err, qr/pipeline "customer" is paused: restored or copied from another database/,
		"refresh is refused $where");

	# by its owner, for one, and for the rest
	is($cluster->safe_psql($db, q{SET ROLE alice; SELECT cdc_resume('customer')}), '1',
		"resumed by the owner $where");
	is($cluster->safe_psql($db, q{SELECT cdc_resume('*')}), '3', "resumed by pattern $where");
	is($cluster->safe_psql($db, 'SELECT pipeline, state FROM cdc_status ORDER BY 1'),
		"customer|waiting\nlater|waiting\nnames|waiting", "all may run $where");

	# the dependencies are back
	my $search_path = 'SET search_path = "My schema", public;';
	($ret, $out, $err) = $cluster->psql($db, "$search_path DROP TABLE customer_target");
	like($err, qr/table customer_stg depends on table customer_target\n.*table names_stg depends on table customer_target/s,
		"the target is protected $where");
	($ret, $out, $err) = $cluster->psql($db, "$search_path DROP VIEW customer_debezium");
	like($err, qr/table customer_stg depends on view customer_debezium/, "the landing is protected $where");
	($ret, $out, $err) = $cluster->psql($db, "$search_path DROP EXTENSION cdcsync");
	like($err, qr/table customer_debezium_chunk depends on extension cdcsync/, "chunks need the extension $where");
	like($err, qr/table customer_stg depends on extension cdcsync/, "staging needs the extension $where");

	# new landings do not collide with restored ones
	$cluster->safe_psql($db, "$search_path SELECT cdc_create('new')");
	is($cluster->safe_psql($db, q{SELECT count(DISTINCT landing_id), count(*) FROM cdcsync.landing}),
		'3|3', "the sequence went on $where");

	$cluster->safe_psql($db, "$search_path DROP EXTENSION cdcsync CASCADE");
	is($cluster->safe_psql($db, q{SELECT relname FROM pg_class WHERE relnamespace = '"My schema"'::regnamespace
			AND relkind IN ('r', 'v')}), 'customer_target', "nothing but the target is left $where");
}

# plain text, another database of the same cluster
$node->safe_psql('postgres', q{CREATE DATABASE restored TEMPLATE template0 ENCODING 'UTF8'});
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ],
	'restore into another database');
check_restored($node, 'restored', 'in another database');

# custom format, in parallel, another cluster
my $archive = $node->backup_dir . '/source.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('source'), '-f', $archive ], 'dump as archive');
$other->safe_psql('postgres', q{CREATE DATABASE restored TEMPLATE template0 ENCODING 'UTF8'});
$other->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $other->connstr('restored'), $archive ],
	'restore into another cluster');
check_restored($other, 'restored', 'in another cluster');

# a file-level copy of the database
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE source');
is($node->safe_psql('copy', 'SELECT DISTINCT state FROM cdc_status'), 'paused', 'a copied database is paused');
is($node->safe_psql('copy', q{SELECT cdc_resume('*')}), '3', 'and can be resumed');
my ($ret, $out, $err) = $node->psql('copy', 'DROP TABLE "My schema".customer_target');
like($err, qr/table "My schema".customer_stg depends on table "My schema".customer_target/,
	'where the dependencies are kept once');
is($node->safe_psql('copy', q{SELECT count(*) FROM pg_depend WHERE objid = '"My schema".customer_stg'::regclass
		AND refobjid = '"My schema".customer_target'::regclass}), '1', 'really once');

# the source did not notice
is($node->safe_psql('source', 'SELECT pipeline, state FROM cdc_status ORDER BY 1'),
	"customer|waiting\nlater|paused\nnames|waiting", 'the source goes on');

done_testing();
