# Amazon MSK with IAM while a worker runs: credentials and tokens that expire,
# connections that a broker ends, refusals; and nothing is lost.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use CdcKafka;
use IO::Handle;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $dir = PostgreSQL::Test::Utils::tempdir();

plan skip_all => 'no openssl'
  if system(
	"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
	  . " -keyout '$dir/key' -out '$dir/cert' >/dev/null 2>&1") != 0;
delete $ENV{$_} foreach grep { /^AWS_/ || /proxy$/i } keys %ENV;

my $broker = start_cluster(brokers => 1, tls => [ "$dir/cert", "$dir/key" ]);
my $servers = $broker->bootstrap;
$broker->topic('orders', 2);
$broker->command('key ASIACONTAINER container/secret+ container/token+==');

my $aws_pid = open2(my $aws_out, my $aws_in, '/usr/bin/python3',
	"$FindBin::RealBin/../aws/fake_aws.py");
$aws_in->autoflush(1);
chomp(my $aws_port = readline($aws_out));

sub aws
{
	print $aws_in "$_[0]\n";
	my $answer = readline($aws_out);
	die "fake_aws.py: $_[0]: $answer" unless defined $answer && $answer =~ /^ok ?(.*)/;
	return $1;
}

# Short lives, but longer than the worker keeps a consumer open that it does not poll.
aws('lifetime 14');
$broker->command('session 2');
$ENV{AWS_CONTAINER_CREDENTIALS_FULL_URI} = "http://127.0.0.1:$aws_port/agent";
$ENV{AWS_ENDPOINT_URL} = "http://127.0.0.1:$aws_port";

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'cdcsync'\nmax_worker_processes = 16\n");
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $ca = slurp_file("$dir/cert");
sql(qq{
CREATE EXTENSION cdcsync;
CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', auth 'iam',
	region 'us-east-1', ssl_ca '$ca', connect_timeout '3');
CREATE SCHEMA topics;
IMPORT FOREIGN SCHEMA kafka FROM SERVER k INTO topics;
CREATE TABLE orders_target (v text, p bigint, o bigint, PRIMARY KEY (p, o));
SELECT cdc_create('orders', 'topics.orders', 'orders_target', columns => '{"v": "v", "p": "\$kafka_partition", "o": "\$kafka_offset"}',
	options => '{"mode": "append", "shape": "plain"}')});

my @produced = (0, 0);

sub produce
{
	foreach my $partition (0, 1)
	{
		$broker->rec('orders', $partition, value => '{"v": "' . $produced[$partition]++ . '"}') for 1 .. 5;
	}
	$broker->sync;
	return;
}

# All that was produced has landed, once.
sub all_landed
{
	my ($what) = @_;
	my $expected = join("\n", map { "$_|$produced[$_]|" . ($produced[$_] - 1) } 0, 1);

	ok( $node->poll_query_until(
			'postgres',
			'SELECT kafka_partition, count(*), max(kafka_offset) FROM orders_debezium GROUP BY 1 ORDER BY 1',
			$expected),
		$what);
	return;
}

sub status_becomes
{
	my ($pattern, $what) = @_;
	ok( $node->poll_query_until(
			'postgres',
			"SELECT bool_or(concat_ws('|', state, last_error, hint) ~ \$\$$pattern\$\$) FROM cdc_status"),
		$what) or diag(sql('SELECT * FROM cdc_status'));
	return;
}

#
# Two generations of credentials, and connections that end all the time
#
produce();
all_landed('records land');
$broker->command('logins');
aws('seen');
my $end = time + 23;
while (time < $end)
{
	produce();
	usleep(250_000);
}
all_landed('while credentials expire, nothing is lost or read twice');
my $logins = $broker->command('logins');
my ($welcome, $refused, $tokens) = $logins =~ /welcome=(\d+) refused=(\d+) tokens=(\d+)/;
is($refused, 0, 'no token was stale') or diag($logins);
cmp_ok($tokens, '>=', 2, 'there were several tokens');
cmp_ok($welcome, '>=', 5, 'and many connections');
my $asked = () = aws('seen') =~ m!GET /agent!g;
cmp_ok($asked, '>=', 2, 'AWS was asked again before the credentials had expired');
cmp_ok($asked, '<', 20, '.. and no more often than that');
is(sql("SELECT state FROM cdc_status"), 'running', 'the pipeline runs');

#
# AWS gives none any more
#
aws('mode container 403');
status_becomes('there is no token of AWS.*the agent of the container refuses with status 403',
	'cdc_status says why there are no credentials');
produce();
aws('mode container ok');
all_landed('it goes on by itself when there are some again');
status_becomes('^running', 'and says so');

#
# The broker refuses
#
aws('lifetime 3600');
$broker->command('refuse Access denied');
status_becomes("AWS's IAM denies access to the cluster.*kafka-cluster:Connect", 'cdc_status says that access is denied');
produce();
$broker->command('refuse');
all_landed('it goes on when it is granted');
$broker->command('clock 3600');
aws('skew 3600');
status_becomes("clock is 3\\d\\d\\d s behind that of 127\\.0\\.0\\.1", 'and that the clock is wrong');
aws('skew 0');
$broker->command('clock 0');
produce();
all_landed('it goes on when that is right');
status_becomes('^running', 'and says so');

#
# The worker goes over to brokers that AWS tells
#
aws('key ASIACONTAINER container/secret+ container/token+==');
aws("brokers bootstrapBrokerStringSaslIam $servers");
aws('seen');
sql("ALTER SERVER k OPTIONS (DROP bootstrap_servers, DROP region, ADD cluster_arn 'arn:aws:kafka:us-east-1:1:cluster/wh/ab-1')");
for (1 .. 100)
{
	last if aws('seen') =~ /bootstrap-brokers/;
	usleep(100_000);
	fail('AWS is asked for the brokers') if $_ == 100;
}
produce();
all_landed('it reads from the brokers of a cluster that is named by its ARN');
status_becomes('^running', 'and says so');

my $log = slurp_file($node->logfile);
foreach my $secret ('container/secret+', 'container/token+==', 'aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEuYW1hem9uYXdz')
{
	is(index($log, $secret), -1, 'no secret in the log');
}
$node->stop;
close($aws_in);
waitpid($aws_pid, 0);
done_testing();
