# Databases and extensions come, change and go, all at once: in the end there is
# a manager wherever the extension is, and nowhere else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::Bin/../lib";

use CdcLife;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use constant SESSIONS => 3;
use constant ROUNDS => 10;

my $life = CdcLife->new('races', conf => "max_worker_processes = 40\nfsync = off\n");
my $node = $life->node;

# What a session does, for psql.
sub script_of
{
	my ($n) = @_;
	my $script = "\\set ON_ERROR_STOP on\n";

	foreach my $round (1 .. ROUNDS)
	{
		my $db = "d${n}_$round";

		$script .= qq{
			CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8';
			\\c $db
			CREATE EXTENSION cdcsync;
			CREATE TABLE customer (id bigint PRIMARY KEY, name text);
			SELECT cdc_create('customer', target => 'customer');
			INSERT INTO customer_debezium (kafka_value) VALUES ('{"op": "c", "after": {"id": 1, "name": "Alice"}}');
			DROP EXTENSION cdcsync CASCADE;
			CREATE EXTENSION cdcsync;
			SELECT cdc_create('customer', target => 'customer');
			INSERT INTO customer_debezium (kafka_value) VALUES ('{"op": "c", "after": {"id": 2, "name": "Bob"}}');
			\\c postgres
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$db' AND backend_type ~ 'manager';
			ALTER DATABASE $db RENAME TO ${db}_renamed;};
		# a third of them stays, with the extension; a third without
		$script .= "\nDROP DATABASE ${db}_renamed;\n" if $round % 3 == 0;
		$script .= "\n\\c ${db}_renamed\nDROP EXTENSION cdcsync CASCADE;\n\\c postgres\n" if $round % 3 == 1;
	}
	return $script;
}

my @runs;
foreach my $n (1 .. SESSIONS)
{
	my $file = $node->basedir . "/script$n.sql";
	my $run = { err => '' };

	append_to_file($file, script_of($n));
	$run->{run} = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', '/dev/null', '2>', \$run->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	push @runs, $run;
}
foreach my $run (@runs)
{
	ok($run->{run}->finish, 'no command has failed');
	is($run->{err} =~ s/^NOTICE.*\n|^DETAIL.*\n|^drop cascades.*\n|^and \d+ other.*\n|.*NOTICE:.*\n//gmr, '', 'nor has it said so');
}

my $databases = $life->sql('postgres', q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname ~ '^d'});
my $with = join ' ', grep { /_(\d+)_/ && $1 % 3 == 2 } split / /, $databases;
my $managers = q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'cdcsync manager'};

ok(defined $life->until(sub { $life->sql('postgres', $managers) eq $with }), 'managers where they should be')
  or diag("has: ", $life->sql('postgres', $managers), "\nwant: $with");
foreach my $db (split / /, $with)
{
	ok(defined $life->until(sub { $life->sql($db, q{SELECT count(*) FROM customer WHERE id = 2}) eq '1' }), "$db works");
}
unlike($life->log_since(0), qr/PANIC|signal \d+\b|PID \d+ is not a|cannot manage/, 'no crash');
$node->stop;
done_testing();
