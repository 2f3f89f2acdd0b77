# Secrets of every option are planted in user mappings, used with success and
# without, by sessions and by workers, while the server logs all that it can.
# Then they are looked for in whatever the server says and shows.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcKafka;
use CdcLife;
use PostgreSQL::Test::Utils;
use Test::More;

# Statements are not logged, as the documentation tells to do it; messages are.
my $life = CdcLife->new('secrets', conf => q{
max_worker_processes = 20
log_min_messages = debug5
log_min_error_statement = panic
log_statement = none
log_min_duration_statement = -1
log_error_verbosity = verbose
debug_pretty_print = off
});
my $node = $life->node;
my $dir = PostgreSQL::Test::Utils::tempdir();
my @said;    # by psql

sub run_sql
{
	my ($sql, $role) = @_;
	my (undef, $out, $err) = $node->psql('postgres', $role ? "SET ROLE $role; $sql" : $sql);

	push @said, $out, $err;
	return ($out, $err);
}

sub make_key
{
	my ($name, @options) = @_;

	system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-days', 2,
		'-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.crt", @options ? @options : '-nodes');
	return (slurp_file("$dir/$name.crt"), slurp_file("$dir/$name.key"));
}

# A line of the middle of a key, which is nowhere else.
sub inside { return (split /\n/, $_[0])[8]; }

my ($certificate, $key) = make_key('plain');
my (undef, $locked_key) = make_key('locked', '-passout', 'pass:PLANTED-key-password');
my %planted = (
	'user' => 'PLANTED-user',
	'password' => 'PLANTED-password',
	'ssl_key' => inside($key),
	'ssl_key (encrypted)' => inside($locked_key),
	'ssl_key_password' => 'PLANTED-key-password',
	'ssl_key_password (wrong)' => 'PLANTED-wrong-password',
	'broken ssl_key' => 'PLANTEDbrokenPEM',
	'aws_access_key_id' => 'PLANTEDAKID',
	'aws_secret_access_key' => 'PLANTED-aws-secret',
	'aws_session_token' => 'PLANTED-session-token',
	'misspelt option' => 'PLANTED-misspelt',
	'value with a line end' => 'PLANTED-line-end');

#
# Brokers: one that wants no secrets and gets them all the same, one that lets
# in by a token of IAM, and a port where nobody is
#
my $broker = start_broker();
my $iam = start_cluster(tls => [ "$dir/plain.crt", "$dir/plain.key" ]);
$iam->command('key PLANTEDAKID PLANTED-aws-secret PLANTED-session-token');
foreach my $b ($broker, $iam)
{
	$b->topic('orders', 1);
	$b->rec('orders', 0, timestamp => 1755849600000, key => '{"id": 1}', value => '{"op": "c", "after": {"id": 1}, "source": {"ts_ms": 1}}');
	$b->sync;
}

run_sql('CREATE EXTENSION cdcsync; CREATE ROLE etl LOGIN; CREATE ROLE spy LOGIN; CREATE SCHEMA etl AUTHORIZATION etl; GRANT USAGE ON SCHEMA etl TO spy');

sub server
{
	my ($name, $servers, $options, %mapping) = @_;
	my $mapping = join ', ', map { "$_ \$v\$$mapping{$_}\$v\$" } sort keys %mapping;
	my $open = $broker->bootstrap;

	# a pipeline can only be made where the topic can be read: it is, at first
	my (undef, $err) = run_sql(qq{
		CREATE SERVER $name FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$open', connect_timeout '1');
		GRANT USAGE ON FOREIGN SERVER $name TO etl, spy;
		CREATE USER MAPPING FOR etl SERVER $name OPTIONS ($mapping);
		CREATE FOREIGN TABLE etl.$name (kafka_partition bigint, kafka_offset bigint, kafka_timestamp_type "char", kafka_timestamp timestamp,
			kafka_key bytea, kafka_value bytea, kafka_headers jsonb) SERVER $name OPTIONS (topic 'orders');
		ALTER FOREIGN TABLE etl.$name OWNER TO etl; GRANT SELECT ON etl.$name TO spy;
		SET search_path = etl, public;
		SET client_min_messages = warning;
		SET ROLE etl;
		SELECT cdc_create('$name', topic => '$name');
		RESET ROLE;
		ALTER SERVER $name OPTIONS (SET bootstrap_servers '$servers'$options)});
	is($err, '', "server $name");
	return;
}

my %user = (user => $planted{user}, password => $planted{password});
server('sasl_plain', $broker->bootstrap, q{, security_protocol 'sasl_plaintext', sasl_mechanism 'plain'}, %user);
server('scram_tls', $iam->bootstrap, qq{, security_protocol 'sasl_ssl', ssl_ca '$certificate'}, %user);
server('nobody', '127.0.0.1:1', q{, security_protocol 'sasl_ssl'}, %user, ssl_certificate => $certificate, ssl_key => $key);
server('tls', $iam->bootstrap, qq{, security_protocol 'ssl', ssl_ca '$certificate'}, ssl_certificate => $certificate, ssl_key => $key);
server('file', $iam->bootstrap, qq{, security_protocol 'ssl', ssl_ca_file '$dir/plain.crt'}, ssl_certificate_file => "$dir/plain.crt", ssl_key_file => "$dir/plain.key");
server('locked', $iam->bootstrap, qq{, security_protocol 'ssl', ssl_ca '$certificate'},
	ssl_certificate => slurp_file("$dir/locked.crt"), ssl_key => $locked_key, ssl_key_password => $planted{ssl_key_password});
server('wrong', $iam->bootstrap, qq{, security_protocol 'ssl', ssl_ca '$certificate'},
	ssl_certificate => slurp_file("$dir/locked.crt"), ssl_key => $locked_key, ssl_key_password => 'PLANTED-wrong-password');
server('broken', $iam->bootstrap, qq{, security_protocol 'ssl', ssl_ca '$certificate'}, ssl_certificate => $certificate,
	ssl_key => "-----BEGIN PRIVATE KEY-----\nPLANTEDbrokenPEM\n-----END PRIVATE KEY-----\n");
my $with_iam = qq{, auth 'iam', region 'eu-central-1', ssl_ca '$certificate'};
my %aws = map { $_ => $planted{$_} } qw(aws_access_key_id aws_secret_access_key aws_session_token);
server('iam', $iam->bootstrap, $with_iam, %aws);
server('iam_refused', $iam->bootstrap, $with_iam, %aws, aws_secret_access_key => 'PLANTED-aws-secret-of-another');
my @servers = qw(sasl_plain scram_tls nobody tls file locked wrong broken iam iam_refused);

#
# What sessions are told, with success and without; options that are refused
#
my ($out, $err) = run_sql(q{CREATE USER MAPPING FOR spy SERVER scram_tls OPTIONS (passwort 'PLANTED-misspelt')});
like($err, qr/invalid option "passwort"/, 'a misspelt option is refused');
(undef, $err) = run_sql(q{CREATE SERVER x FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers 'h', password 'PLANTED-misspelt')});
like($err, qr/invalid option "password"/, 'a secret has no place in a server');
(undef, $err) = run_sql(qq{CREATE USER MAPPING FOR spy SERVER iam OPTIONS (aws_access_key_id 'a', aws_secret_access_key E'PLANTED-line-end\\n')});
like($err, qr/invalid value for option "aws_secret_access_key"/, 'a secret with a line end is refused');
(undef, $err) = run_sql(q{CREATE USER MAPPING FOR spy SERVER tls OPTIONS (ssl_key '/PLANTED-misspelt')});
like($err, qr/invalid value for option "ssl_key"/, 'a key that is no PEM is refused');

foreach my $server (@servers)
{
	($out, my $error) = run_sql("SELECT count(*) FROM etl.$server", 'etl');

	if ($server eq 'iam')
	{
		is($out, '1', "$server: the topic is read");
	}
	else
	{
		like($error, qr/ERROR/, "$server: an error");
	}
	run_sql("EXPLAIN (VERBOSE, SETTINGS) SELECT * FROM etl.$server", $_) foreach ('etl', 'spy');
	run_sql("SELECT * FROM cdc_check_server('$server')", 'etl') if $server =~ /iam|broken/;
}
run_sql('IMPORT FOREIGN SCHEMA kafka LIMIT TO (x) FROM SERVER iam_refused INTO etl', 'etl');
# spy has no mapping of its own
($out, $err) = run_sql('SELECT count(*) FROM etl.iam', 'spy');
like($err, qr/no AWS credentials for Kafka server "iam"/, 'nobody uses the secrets of another');

#
# Workers, while somebody looks on
#
my @seen;
my $done = $life->until(
	sub {
		push @seen, $life->sql('postgres', q{SELECT * FROM pg_stat_activity}),
		  $life->sql('postgres', 'SELECT * FROM cdcsync.worker_status');
		return $life->sql('postgres', q{SELECT string_agg(pipeline, ' ' ORDER BY pipeline) FROM cdc_status
			WHERE state = 'backing off' AND last_error IS NOT NULL}) eq join ' ', sort grep { $_ ne 'iam' } @servers;
	});
ok(defined $done, 'workers have failed to connect')
  or diag($life->sql('postgres', 'SELECT pipeline, state, reason, last_error FROM cdc_status'));
ok( defined $life->until(sub { $life->sql('postgres', q{SELECT state FROM cdc_status WHERE pipeline = 'iam'}) eq 'running' }),
	'and one has connected');

#
# Where they are
#
# The names of what is planted in a text.
sub found
{
	my ($text) = @_;
	return join ', ', sort grep { index($text, $planted{$_}) >= 0 } keys %planted;
}

# Relations that have something of it, as a role sees them.
sub relations_with_secrets
{
	my ($role) = @_;
	my @hits;

	foreach my $relation (
		split /\n/, $life->sql('postgres', qq{
			SET ROLE $role;
			SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname !~ '^pg_t'
			  AND c.relname NOT IN ('pg_hba_file_rules', 'pg_ident_file_mappings', 'pg_file_settings', 'pg_backend_memory_contexts',
									'pg_shmem_allocations', 'pg_get_replication_slots')
			  AND has_table_privilege(c.oid, 'SELECT')}))
	{
		my (undef, $out) = $node->psql('postgres', "SET ROLE $role; SELECT * FROM $relation");
		push @hits, $relation if found($out // '');
	}
	return join ', ', sort @hits;
}

is(found(join "\n", @said), '', 'not in results, errors and plans');
is(found(join "\n", @seen), '', 'not in pg_stat_activity and worker_status');
is(found($life->log_since(0)), '', 'not in the server log at debug5');
like($life->log_since(0), qr/DEBUG:  /, 'which has debug messages');
is(relations_with_secrets('spy'), '', 'another role finds them in no relation');
is( relations_with_secrets($life->sql('postgres', 'SELECT current_user')),
	'information_schema._pg_user_mappings, information_schema.user_mapping_options, pg_user_mapping, pg_user_mappings',
	'a superuser finds them where user mappings are');

# pg_dump: in the mappings alone
my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]);
my $mappings = join "\n", $dump =~ /^CREATE USER MAPPING .*?;\n/gms;
is( found($mappings), join(', ', sort grep { !/misspelt|line end/ } keys %planted),
	'pg_dump writes user mappings');
$dump =~ s/^CREATE USER MAPPING .*?;\n//gms;
is(found($dump), '', 'and them nowhere else');

# who has no right to the mapping is not even told which options it has
is($life->sql('postgres', 'SET ROLE spy; SELECT count(*), count(umoptions) FROM pg_user_mappings'),
	scalar(@servers) . '|0', 'pg_user_mappings shows no options to others');

#
# What a broker says is text, whatever bytes it sends
#
$iam->command('refuse no\\udcff\\n\\xe4\\udce2\\udc82way');
(undef, $err) = run_sql('SELECT count(*) FROM etl.iam', 'etl');
like($err, qr/no\?\?\xc3\xa4\?\?way/, 'bytes that are no text');

unlike($life->log_since(0), qr/PANIC:|was terminated by signal/, 'no crash');
$node->stop;
done_testing();
