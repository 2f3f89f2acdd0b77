# The worker follows changes of the source's table: it alters the target between
# those who use it, and its neighbour goes on meanwhile; it learns from the
# connector's schema-change topic what the events do not tell.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $broker = start_broker();
my $node = PostgreSQL::Test::Cluster->new('schema_changes');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'cdcsync'
max_worker_processes = 20
cdcsync.max_sync_workers = 1
cdcsync.metadata_interval = 1
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	local $PostgreSQL::Test::Utils::timeout_default = 60;

	ok($node->poll_query_until('postgres', $query), $name)
	  or diag(sql('SELECT * FROM cdc_status') . "\n" . sql('SELECT * FROM cdcsync.schema_change'));
	return;
}

sql(q{
	CREATE EXTENSION cdcsync;
	CREATE FUNCTION ev(id int, fields text, rest text) RETURNS bytea LANGUAGE sql AS $$
		SELECT convert_to(format('{"schema": {"type": "struct", "fields": [{"field": "op", "type": "string"},'
			' {"field": "after", "type": "struct", "fields": [{"field": "id", "type": "int32", "optional": false}%s]}]},'
			' "payload": {"op": "c", "after": {"id": %s%s}}}', fields, id, rest), 'UTF8') $$;
	SELECT cdc_create('grows'), cdc_create('stays')});

sub land
{
	my ($pipeline, $id, $fields, $rest) = @_;

	sql("INSERT INTO ${pipeline}_debezium (kafka_key, kafka_value)
		VALUES ('{\"id\": $id}', ev($id, '$fields', '$rest'))");
	return;
}

my $city = ', {"field": "city", "type": "string", "optional": true, "default": "X"}';

land('grows', 1, '', '');
land('stays', 1, '', '');
becomes(q{SELECT to_regclass('grows_target') IS NOT NULL AND to_regclass('stays_target') IS NOT NULL}, 'targets are made');
becomes('SELECT (SELECT count(*) FROM grows_target) = 1 AND (SELECT count(*) FROM stays_target) = 1', 'and filled');

# somebody reads the target, and goes on reading
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT * FROM grows_target');
land('grows', 2, $city, ', "city": "Paris"');
becomes(q{SELECT state = 'backing off' AND sqlstate = '55P03' AND hint LIKE '%ADD COLUMN city text DEFAULT ''X''%'
	FROM cdc_status WHERE pipeline = 'grows'}, 'the target is in use: tried again later, with the statement');
is(sql('SELECT column_name, state FROM cdcsync.schema_change'), 'city|waiting', 'the change waits');
land('stays', 2, '', '');
becomes('SELECT count(*) = 2 FROM stays_target', 'the neighbour goes on');
# the first of these queues behind an ALTER at most
is(sql(q{SET statement_timeout = '30s'; SELECT count(*) FROM grows_target}), '1', 'other readers are not held up');
is(sql('SELECT state FROM cdc_status WHERE pipeline = \'stays\''), 'running', 'nothing is wrong with the neighbour');
$reader->query_safe('COMMIT');
$reader->quit;
becomes('SELECT count(*) = 2 FROM grows_target', 'it goes on when the target is free');
is(sql('SELECT id, city FROM grows_target ORDER BY id'), "1|X\n2|Paris", 'with the default for the row that was there');
is(sql('SELECT column_name, state FROM cdcsync.schema_change'), 'city|applied', 'the change was applied');

# a session whose ALTER has to wait keeps what came before it
my $long = ', {"field": "city", "type": "string", "optional": true, "default": "X"}, {"field": "n", "type": "int32", "optional": true}';
sql(q{SELECT cdc_alter('grows', options => '{"auto_sync": false}')});
$reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT * FROM grows_target');
land('grows', 3, $city, ', "city": "Rome"');
land('grows', 4, $long, ', "city": "Bonn", "n": 4');
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT events FROM cdc_sync('grows')});
is($out, '1', 'what came before the change is synced');
like($err, qr/WARNING:  pipeline "grows" has to alter its target before it goes on, which others use now/, 'and it says why no more');
($ret, $out, $err) = $node->psql('postgres', q{SELECT events FROM cdc_sync('grows')});
like($err, qr/ERROR:  canceling statement due to lock timeout\nHINT:  .*ADD COLUMN n integer/, 'then it is an error');
$reader->query_safe('COMMIT');
$reader->quit;
is(sql(q{SELECT events FROM cdc_sync('grows')}), '1', 'and not any more');
is(sql('SELECT id, n FROM grows_target WHERE id > 2 ORDER BY id'), "3|\n4|4", 'all rows are there');

# the schema-change topic of a connector: DDL and TRUNCATE, without schemas
$broker->topic('db', 1);
$broker->topic('db.s.t', 2);
sql(sprintf q{
	CREATE SERVER broker FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '%s');
	CREATE USER MAPPING FOR CURRENT_USER SERVER broker;
	CREATE SCHEMA k;
	IMPORT FOREIGN SCHEMA kafka FROM SERVER broker INTO k;
	CREATE TABLE t (id int PRIMARY KEY);
	SELECT cdc_create('ddl', topic => 'k.db');
	SELECT cdc_create('t', topic => 'k."db.s.t"', target => 't',
		options => '{"schema_topic": "k.db", "schema_changes": "follow"}')}, $broker->bootstrap);

sub source
{
	my ($pos) = @_;

	return qq({"connector":"mysql","db":"s","table":"t","server_id":1,"file":"b.1","pos":$pos,"ts_ms":$pos,"snapshot":"false"});
}

sub row
{
	my ($id, $pos, $rest) = @_;

	$broker->rec('db.s.t', $id % 2, key => qq({"id":$id}),
		value => sprintf(q({"op":"c","before":null,"after":{"id":%d%s},"source":%s}), $id, $rest // '', source($pos)));
	return;
}

sub ddl
{
	my ($pos, $statement, $changes) = @_;

	$broker->rec('db', 0, key => '{"databaseName":"s"}',
		value => sprintf(q({"source":%s,"databaseName":"s","schemaName":null,"ddl":"%s","tableChanges":[%s]}),
			source($pos), $statement, $changes // ''));
	return;
}

my $columns = q({"name":"id","typeName":"INT","optional":false});
ddl(1, 'CREATE TABLE t', qq({"type":"CREATE","id":"\\"s\\".\\"t\\"","table":{"columns":[$columns]}}));
row($_, 10 + $_) for 1 .. 4;
$broker->sync;
becomes('SELECT count(*) = 4 FROM t', 'rows come');
ddl(20, 'truncate table t');
row(5, 21);
ddl(22, 'ALTER TABLE t ADD c int DEFAULT 7',
	qq({"type":"ALTER","id":"\\"s\\".\\"t\\"","table":{"columns":[$columns,{"name":"c","typeName":"INT","optional":true,"defaultValueExpression":"7"}]}}));
row(6, 23, ',"c":6');
$broker->sync;
becomes(q{SELECT count(*) = 2 FROM t}, 'TRUNCATE and what came after it');
becomes(q{SELECT count(*) = 1 FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'c'}, 'a column from the DDL');
is(sql('SELECT id, c FROM t ORDER BY id'), "5|7\n6|6", 'with its default');
ddl(30, 'TRUNCATE t');
$broker->sync;
becomes(q{SELECT count(*) = 0 FROM t}, 'TRUNCATE alone');
is(sql(q{SELECT kind, state FROM cdcsync.schema_change WHERE pipeline = 't' ORDER BY kafka_offset}),
	"truncated|applied\ncolumn added|applied\ntruncated|applied", 'all on record');
is(sql(q{SELECT exact FROM cdc_status WHERE pipeline = 't'}), 't', 'and exact');

# by hand
sql(q{SELECT cdc_alter('t', options => '{"auto_sync": false, "auto_refresh": false}'), cdc_alter('ddl', options => '{"auto_refresh": false}')});
row(7, 40, ',"c":7');
ddl(41, 'TRUNCATE t');
row(8, 42, ',"c":8');
$broker->sync;
is(sql(q{SELECT records FROM cdc_refresh('t')}), '2', 'cdc_refresh counts its own records');
is(sql(q{SELECT events FROM cdc_sync('t')}), '2', 'and has read the DDL, too');
is(sql('SELECT id, c FROM t'), '8|8', 'as at the source');

$node->stop;
done_testing();
