# Amazon MSK with IAM: where AWS credentials come from, what can go wrong there,
# tokens that a broker checks, and who may use whose identity.

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

my ($library) = glob("$FindBin::RealBin/../../build/kafka_reader.*");
$library =~ s/\.\w+$//;
my $dir = PostgreSQL::Test::Utils::tempdir();

plan skip_all => 'no openssl'
  if system(
	"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
	  . " -keyout '$dir/key' -out '$dir/cert' >/dev/null 2>&1") != 0;

# What the environment of whoever runs the tests says of AWS is not meant.
delete $ENV{$_} foreach grep { /^AWS_/ || /proxy$/i } keys %ENV;
$ENV{HOME} = $dir;

my $broker = start_cluster(brokers => 1, tls => [ "$dir/cert", "$dir/key" ]);
my $servers = $broker->bootstrap;
$broker->topic('orders', 1);
$broker->many('orders', 0, 10);

my $aws_pid = open2(my $aws_out, my $aws_in, '/usr/bin/python3',
	"$FindBin::RealBin/../aws/fake_aws.py");
$aws_in->autoflush(1);
chomp(my $aws_port = readline($aws_out));
my $endpoint = "http://127.0.0.1:$aws_port";

# A command to the fake of AWS.
sub aws
{
	print $aws_in "$_[0]\n";
	my $answer = readline($aws_out);
	die "fake_aws.py: $_[0]: $answer" unless defined $answer && $answer =~ /^ok ?(.*)/;
	return $1;
}

my $secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
aws("key AKIDEXAMPLE $secret");
foreach my $service (qw(sts imds container))
{
	aws('key ASIA' . uc($service) . " $service/secret+ $service/token+==");
	$broker->command('key ASIA' . uc($service) . " $service/secret+ $service/token+==");
}
$broker->command("key AKIDEXAMPLE $secret");

my $node = PostgreSQL::Test::Cluster->new('iam');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "log_min_messages = debug1\nlog_statement = none\n");
$node->start;
my $ca = slurp_file("$dir/cert");
$node->safe_psql(
	'postgres', qq{
CREATE EXTENSION cdcsync;
CREATE SERVER k FOREIGN DATA WRAPPER cdcsync_kafka OPTIONS (bootstrap_servers '$servers', auth 'iam',
	region 'us-east-1', ssl_ca '$ca', connect_timeout '3');
CREATE FOREIGN TABLE orders (kafka_offset bigint) SERVER k OPTIONS (topic 'orders');
CREATE USER MAPPING FOR CURRENT_USER SERVER k;
CREATE FUNCTION kr_setenv(text, text) RETURNS void LANGUAGE c STRICT AS '$library'});

my $session = $node->background_psql('postgres', on_error_stop => 0);

# A statement's output; its error is left in $session->{stderr}.
sub run
{
	my ($sql) = @_;
	$session->{stderr} = '';
	my $out = $session->query($sql);
	$session->{stderr} = '' unless defined $session->{stderr};
	return $out;
}

# Only these variables, and the way to the fakes.
my %set;

sub environment
{
	my (%new) = (AWS_ENDPOINT_URL_STS => $endpoint, AWS_ENDPOINT_URL_KAFKA => $endpoint,
		AWS_EC2_METADATA_SERVICE_ENDPOINT => $endpoint, @_);

	run("SELECT kr_setenv('$_', '')") foreach grep { !exists $new{$_} } keys %set;
	run("SELECT kr_setenv('$_', '$new{$_}')") foreach grep { ($set{$_} // '') ne $new{$_} } keys %new;
	%set = %new;
	return;
}

# The only options of the user mapping from now on.
sub mapping
{
	my ($options) = @_;
	run('DROP USER MAPPING FOR CURRENT_USER SERVER k');
	run('CREATE USER MAPPING FOR CURRENT_USER SERVER k' . ($options ? " OPTIONS ($options)" : ''));
	is($session->{stderr}, '', 'mapping');
	return;
}

# What cdc_check_server says of a step.
sub step
{
	my ($step) = @_;
	return run("SELECT concat_ws('|', ok, detail, hint) FROM cdc_check_server('k') WHERE step = '$step'");
}

sub reads
{
	my ($what) = @_;
	is(run('SELECT count(*) FROM orders'), '10', "$what: reads")
	  or diag($session->{stderr});
	return;
}

sub write_file
{
	my ($name, $text) = @_;
	open(my $file, '>', "$dir/$name") or die;
	print $file $text;
	close($file);
	return "$dir/$name";
}

#
# A key in the mapping
#
environment();
mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key '$secret'");
reads('key');
is(step('credentials'), 't|of the user mapping, that last', 'its source is told');
like(step('options'), qr/^t\|sasl_ssl, OAUTHBEARER, IAM in region us-east-1$/, 'options');
is(step('connection'), 't|1 topic is visible', 'connection');
like($broker->command('logins'), qr/welcome=\d+ refused=0/, 'every token was good');
aws('seen');
run('SELECT count(*) FROM orders');
is(aws('seen'), '', 'AWS is not asked for anything');

mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'wrong-secret'");
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/ERROR:  could not reach Kafka server "k".*DETAIL:  .*wrong signature.*HINT:  /s, 'a wrong secret');

mapping("aws_access_key_id 'ASIAIMDS', aws_secret_access_key 'imds/secret+', aws_session_token 'imds/token+=='");
reads('session token');

# Clocks
aws('skew 3600');
$broker->command('clock 3600');
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/not valid at this time.*HINT:  .*clock is 3(600|599|601) s behind that of 127\.0\.0\.1/s,
	'a clock that is behind is told of');
like(step('clock'), qr/^f\|-3\d+ s off that of 127\.0\.0\.1\|This machine's clock/, '.. by cdc_check_server, too');
aws('skew -3600');
$broker->command('clock -3600');
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/clock is 3(600|599|601) s ahead of that of/s, 'and one that is ahead');
aws('skew 0');
$broker->command('clock 0');

#
# The environment
#
mapping('');
environment(AWS_ACCESS_KEY_ID => 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY => $secret, AWS_EC2_METADATA_DISABLED => 'true');
reads('environment');
like(step('credentials'), qr/^t\|of the environment of the server/, 'its source is told');
environment(AWS_ACCESS_KEY_ID => 'AKIDEXAMPLE', AWS_EC2_METADATA_DISABLED => 'true');
like(step('credentials'), qr/^f\|the environment of the server has given no credentials/, 'half of a key');
environment(AWS_EC2_METADATA_DISABLED => 'true');
like(step('credentials'), qr/^f\|No credentials are set up for this machine\.\|Set "aws_access_key_id"/, 'nothing at all');
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/ERROR:  no AWS credentials for Kafka server "k".*DETAIL:  No credentials.*HINT:  /s, '.. for a query');

#
# A web identity
#
my $token_file = write_file('web', "web.identity.token\n");
my %web = (AWS_WEB_IDENTITY_TOKEN_FILE => $token_file, AWS_ROLE_ARN => 'arn:aws:iam::1:role/reader');
environment(%web);
reads('web identity');
like(step('credentials'), qr/^t\|of the role "arn:aws:iam::1:role\/reader", assumed by a web identity, until 20/, 'its source is told');
like(aws('seen'), qr/POST \/\?AssumeRoleWithWebIdentity/, 'by one request');
write_file('web', 'other.token');
like(step('credentials'), qr/^f\|The role ".*" cannot be assumed: InvalidIdentityToken: The ID Token/, 'the file is read anew');
write_file('web', "web.identity\ntoken\n");
like(step('credentials'), qr/^f\|The token file "\Q$token_file\E" is empty, or has/, 'a line end in it');
unlink $token_file;
like(step('credentials'), qr/^f\|The token file "\Q$token_file\E" cannot be read: No such file/, 'no file');
write_file('web', 'web.identity.token');

#
# Profiles
#
my $credentials_file = write_file('credentials', <<"END");
# a comment
[default]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = $secret   # of the example
[ base ]
AWS_ACCESS_KEY_ID=AKIDEXAMPLE
aws_secret_access_key=$secret
s3 =
  aws_access_key_id = nested
[half]
aws_access_key_id = AKIDEXAMPLE
END
my $config_file = write_file('config', <<"END");
[profile reader]
role_arn = arn:aws:iam::1:role/reader
source_profile = base
external_id = tenant-7
[profile self]
role_arn = arn:aws:iam::1:role/self
source_profile = self
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = $secret
[profile by_env]
role_arn = arn:aws:iam::1:role/env
credential_source = Environment
[profile by_instance]
role_arn = arn:aws:iam::1:role/instance
credential_source = Ec2InstanceMetadata
[profile by_container]
role_arn = arn:aws:iam::1:role/container
credential_source = EcsContainer
[profile by_web]
role_arn = arn:aws:iam::1:role/web
web_identity_token_file = $token_file
[profile by_nothing]
role_arn = arn:aws:iam::1:role/web
[profile circle1]
role_arn = arn:aws:iam::1:role/c
source_profile = circle2
[profile circle2]
role_arn = arn:aws:iam::1:role/c
source_profile = circle1
[profile process]
credential_process = touch $dir/ran
[profile empty]
region = eu-central-1
END
my %files = (AWS_SHARED_CREDENTIALS_FILE => $credentials_file, AWS_CONFIG_FILE => $config_file);
environment(%files);
reads('default profile');
like(step('credentials'), qr/^t\|of the profile "default", that last/, 'its source is told');
mapping("profile 'base'");
reads('a profile of the mapping');
mapping('');
environment(%files, AWS_PROFILE => 'base');
like(step('credentials'), qr/^t\|of the profile "base"/, 'AWS_PROFILE');
aws('external tenant-7');
mapping("profile 'reader'");
reads('a role of a profile');
like(step('credentials'), qr/^t\|of the role "arn:aws:iam::1:role\/reader", assumed by the profile "base", until/, 'its source is told');
aws('external -');
foreach my $name (qw(self by_web))
{
	mapping("profile '$name'");
	reads("profile $name");
}
environment(%files, AWS_ACCESS_KEY_ID => 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY => $secret);
mapping("profile 'by_env'");
like(step('credentials'), qr/^t\|of the role .* assumed by the environment/, 'credential_source Environment');
environment(%files, AWS_CONTAINER_CREDENTIALS_FULL_URI => "$endpoint/agent");
mapping("profile 'by_instance'");
like(step('credentials'), qr/^t\|of the role .* assumed by the role "warehouse-role" of the EC2/, 'credential_source Ec2InstanceMetadata');
mapping("profile 'by_container'");
like(step('credentials'), qr/^t\|of the role .* assumed by the agent of the container/, 'credential_source EcsContainer');
my %bad = (
	none => qr/There is no profile "none"/,
	half => qr/the profile "half" has given no credentials/,
	by_nothing => qr/names a role, but neither/,
	circle1 => qr/name one another in a circle/,
	process => qr/only a credential_process\.\|Programs .* are not run/,
	empty => qr/neither a key nor a role/);
foreach my $name (sort keys %bad)
{
	mapping("profile '$name'");
	like(step('credentials'), qr/^f\|.*$bad{$name}/, "profile $name");
}
ok(!-e "$dir/ran", 'no program was run');

#
# A container
#
mapping('');
my $agent_file = write_file('agent', "agent-token\n");
my %pod = (AWS_CONTAINER_CREDENTIALS_FULL_URI => "$endpoint/agent/v1/credentials",
	AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => $agent_file);
aws('agent agent-token');
environment(%pod);
reads('container');
like(step('credentials'), qr/^t\|of the agent of the container, until 20/, 'its source is told');
write_file('agent', 'old-token');
like(step('credentials'), qr/^f\|the agent of the container refuses with status 401/, 'another token');
write_file('agent', "agent-token\r\nX-Injected: 1");
like(step('credentials'), qr/^f\|The token file .* has blanks or line ends/, 'a line end in it');
environment(%pod, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => '', AWS_CONTAINER_AUTHORIZATION_TOKEN => 'agent-token');
like(step('credentials'), qr/^t\|/, 'a token in the environment');
aws('agent -');
aws('seen');
foreach my $uri ('http://example.com/agent', 'http://127.0.0.1.example.com/', 'http://127.0.0.1@example.com/',
	'http://169.254.170.24/', 'ftp://127.0.0.1/', 'http://localhost.example.com/', 'http://128.0.0.1/')
{
	environment(AWS_CONTAINER_CREDENTIALS_FULL_URI => $uri);
	like(step('credentials'), qr/^f\|No token may be sent/, "not to $uri");
}
environment(%pod);
write_file('agent', 'agent-token');

#
# The instance
#
environment();
reads('instance');
like(step('credentials'), qr/^t\|of the role "warehouse-role" of the EC2 instance, until 20/, 'its source is told');
like(aws('seen'), qr!PUT /latest/api/token, GET /latest/meta-data/iam/security-credentials/, GET /latest/meta-data/iam/security-credentials/warehouse-role!,
	'as version 2 has it');

# A role at last, whatever the source
mapping("role_arn 'arn:aws:iam::1:role/last', external_id 'tenant-8', role_session_name 'me'");
aws('external tenant-8');
reads('a role at last');
like(step('credentials'), qr/^t\|of the role "arn:aws:iam::1:role\/last", assumed by the role "warehouse-role"/, 'its source is told');
aws('external another');
like(step('credentials'), qr/^f\|The role "arn:aws:iam::1:role\/last" cannot be assumed: AccessDenied: User: .*\|The trust policy/, 'a role that is denied');
mapping("role_arn 'arn:aws:iam::1:role/last', external_id 'odd'");
like(step('credentials'), qr/^f\|The role "arn:aws:iam::1:role\/last" cannot be assumed: AccessDenied\.\|The trust policy/, 'a message that may be no text is not quoted');
aws('external -');
mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'wrong', role_arn 'arn:aws:iam::1:role/last'");
like(step('credentials'), qr/^f\|The role .* cannot be assumed: SignatureDoesNotMatch\.\|Check the secret key/, 'a wrong secret');
aws('skew 3600');
mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key '$secret', role_arn 'arn:aws:iam::1:role/last'");
like(step('credentials'), qr/^f\|.*SignatureDoesNotMatch\.\|This machine's clock is 3\d\d\d s behind/, 'a wrong clock');
aws('skew 0');

#
# What can go wrong on the way
#
my %services = (
	imds => sub { mapping(''); environment(); },
	container => sub { mapping(''); environment(%pod); },
	sts => sub { mapping(''); environment(%web); });
my %faults = (
	403 => qr/403|cannot be assumed/,
	json => qr/is not JSON|no credentials that can be read|does not tell the role|refuses a session/,
	expired => qr/have expired\.\|If they are new, this machine's clock/,
	bad => qr/no credentials that can be read/,
	big => qr/the answer is too long/,
	redirect => qr/302/,
	500 => qr/500/);
foreach my $service (sort keys %services)
{
	$services{$service}->();
	foreach my $fault (sort keys %faults)
	{
		aws("mode $service $fault");
		like(step('credentials'), qr/^f\|.*($faults{$fault})/, "$service: $fault");
	}
	aws("mode $service once500");
	like(step('credentials'), qr/^t\|/, "$service: a second try");
	aws("mode $service silent");
	my $start = time;
	run('SELECT count(*) FROM orders');
	like($session->{stderr}, qr/no AWS credentials.*DETAIL:.*does not answer|no metadata service of EC2 answers/s, "$service: silent");
	cmp_ok(time - $start, '<', 6, 'in time');
	aws("mode $service ok");
}
aws('mode imds silent');
$services{imds}->();
run("SET statement_timeout = '400ms'");
my $start = time;
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/canceling statement due to statement timeout/, 'a cancel');
cmp_ok(time - $start, '<', 1.2, '.. is noticed while AWS is waited for');
run('RESET statement_timeout');
aws('mode imds ok');

#
# The brokers of a cluster, by its ARN
#
my $arn = 'arn:aws:kafka:us-east-1:1234:cluster/wh/ab-12-3';
mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key '$secret'");
aws("brokers bootstrapBrokerStringSaslIam $servers");
run("ALTER SERVER k OPTIONS (DROP bootstrap_servers, DROP region, ADD cluster_arn '$arn')");
aws('seen');
reads('cluster_arn');
like(aws('seen'), qr!^GET /v1/clusters/arn%3Aaws%3Akafka%3Aus-east-1%3A1234%3Acluster%2Fwh%2Fab-12-3/bootstrap-brokers!, 'is asked for');
is(step('brokers'), "t|$servers", 'the brokers are told');
run("ALTER SERVER k OPTIONS (ADD cluster_network 'public')");
like(step('brokers'), qr/^f\|The cluster has no brokers of this kind: there is no bootstrapBrokerStringPublicSaslIam\.\|Check/, 'none of that kind');
aws("brokers bootstrapBrokerStringPublicSaslIam $servers");
reads('public brokers');
run("ALTER SERVER k OPTIONS (DROP auth, DROP cluster_network)");
reads('IAM is the default');
run("ALTER SERVER k OPTIONS (ADD security_protocol 'ssl')");
aws('brokers bootstrapBrokerStringTls 127.0.0.1:1');
is(step('brokers'), 't|127.0.0.1:1', 'those for TLS');
run("ALTER SERVER k OPTIONS (SET security_protocol 'plaintext', DROP ssl_ca)");
aws('brokers bootstrapBrokerString 127.0.0.1:2');
is(step('brokers'), 't|127.0.0.1:2', 'those for plaintext');
run("ALTER SERVER k OPTIONS (DROP security_protocol, ADD ssl_ca '$ca')");
mapping("aws_access_key_id 'AKIDEXAMPLE', aws_secret_access_key 'wrong'");
like(step('brokers'), qr/^f\|AWS refuses to tell the brokers, with status 403: The request signature we calculated does not match.*\|The policy/, 'a wrong secret');
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/could not get the brokers of Kafka server "k"/, '.. for a query');
mapping('');
environment();
reads('.. by another source');
foreach my $fault (qw(403 404 500 json silent))
{
	aws("mode msk $fault");
	like(step('brokers'), qr/^f\|/, "brokers: $fault");
}
aws('mode msk ok');
run("ALTER SERVER k OPTIONS (DROP cluster_arn, ADD bootstrap_servers '$servers', ADD auth 'iam', ADD region 'us-east-1')");

#
# Privileges: the machine's identity is the superuser's to lend.
#
run('CREATE ROLE reader');
run("GRANT USAGE ON FOREIGN SERVER k TO reader");
run('GRANT SELECT ON orders TO reader');
run('SET ROLE reader');
run("CREATE USER MAPPING FOR CURRENT_USER SERVER k");
environment(AWS_ACCESS_KEY_ID => 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY => $secret);
aws('seen');
run('SELECT count(*) FROM orders');
like($session->{stderr}, qr/DETAIL:  The user mapping has no key of AWS, and may not use the identity of this machine.*HINT:.*superuser/s,
	'not that of the environment');
is(aws('seen'), '', 'nobody was asked');
foreach my $option ("aws_server_identity 'true'", "profile 'default'")
{
	run("ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ADD $option)");
	like($session->{stderr}, qr/only superusers may set option/, "not: $option");
}
run("ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ADD aws_server_identity 'false')");
is($session->{stderr}, '', 'but that it is not used');
run('RESET ROLE');
run("ALTER USER MAPPING FOR reader SERVER k OPTIONS (SET aws_server_identity 'true')");
run('SET ROLE reader');
reads('when it is lent');
run("ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (ADD role_arn 'arn:aws:iam::1:role/other')");
like($session->{stderr}, qr/only superusers may set option/, 'a mapping that lends it is not the role\'s to change');
run('RESET ROLE');
run('REVOKE USAGE ON FOREIGN SERVER k FROM reader');
run('SET ROLE reader');
run("SELECT * FROM cdc_check_server('k')");
like($session->{stderr}, qr/permission denied for foreign server k/, 'cdc_check_server needs USAGE');
run('RESET ROLE');
run('CREATE ROLE owner');
run('DROP USER MAPPING FOR CURRENT_USER SERVER k');
run('ALTER SERVER k OWNER TO owner');
run('GRANT USAGE ON FOREIGN DATA WRAPPER cdcsync_kafka TO owner');
run('ALTER SERVER k OWNER TO owner');
like(step('credentials'), qr/^f\|The user mapping has no key of AWS, and may not/, 'nor a superuser\'s by itself, where another role says whereto');
run('CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (aws_server_identity \'true\')');
like(step('credentials'), qr/^t\|of the environment/, '.. unless it is said');
$session->quit;

#
# Nothing secret shows
#
my $log = slurp_file($node->logfile);
my %planted = (
	'the secret key' => $secret,
	'a secret of a service' => 'imds/secret+',
	'another' => 'sts/secret+',
	'a session token' => 'sts/token+==',
	'a web identity' => 'web.identity.token',
	'a token of an agent' => 'agent-token',
	'a token' => substr('aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEuYW1hem9uYXdzLmNvbS8', 0, 40));
foreach my $what (sort keys %planted)
{
	# the statements that set options fail on purpose here and there, and are logged then
	my @lines = grep { index($_, $planted{$what}) >= 0 && !/STATEMENT:/ } split(/\n/, $log);
	is(scalar(@lines), 0, "$what is not in the log") or diag(@lines[ 0 .. ($#lines > 3 ? 3 : $#lines) ]);
}

close($aws_in);
waitpid($aws_pid, 0);
$node->stop;
done_testing();
