
=pod

=head1 NAME

CdcLife - a server with workers, and what becomes of them

=head1 SYNOPSIS

  use CdcLife;
  my $life = CdcLife->new('name', conf => "max_worker_processes = 20");
  $life->sql('postgres', 'CREATE EXTENSION cdcsync');
  $life->wait_for('postgres', 'manager');
  my $pid = $life->pid('postgres', 'manager');

=head1 DESCRIPTION

The library is preloaded unless preload => 0.  Whatever is started ends with
the test.

=cut

package CdcLife;

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# Seconds, for what should take a fraction of one.
use constant PATIENCE => $PostgreSQL::Test::Utils::timeout_default;

sub new
{
	my ($class, $name, %options) = @_;
	my $self = bless { node => PostgreSQL::Test::Cluster->new($name) }, $class;
	my $node = $self->{node};

	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ],
		allows_streaming => $options{streaming} // 0);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'cdcsync'\n")
	  if $options{preload} // 1;
	$node->append_conf('postgresql.conf', "restart_after_crash = on\n" . ($options{conf} // ''));
	$node->start;
	return $self;
}

sub node { return $_[0]->{node}; }

sub sql { my ($self, $db, $sql) = @_; return $self->{node}->safe_psql($db, $sql); }

# What the statement says on stderr; it must fail.
sub error_of
{
	my ($self, $db, $sql) = @_;
	my ($status, undef, $stderr) = $self->{node}->psql($db, $sql);

	isnt($status, 0, "fails: $sql");
	return $stderr;
}

# The statement's result, undef where there is none, as while a server comes back
# after a crash.  For that psql() will not do: it dies where psql has ended before
# it was given the statement.
sub answer
{
	my ($node, $db, $sql) = @_;

	IPC::Run::run([ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr($db), '-c', $sql ],
		'<', \undef, '>', \my $out, '2>', \my $err)
	  or return;
	chomp $out;
	return $out;
}

# Kill a process of the server, and wait until the server has started again without it.
sub kill_and_wait
{
	my ($self, $victim, $name) = @_;

	kill 'KILL', $victim;
	return ok( defined $self->until(
			sub {
				my $there = answer($self->{node}, 'postgres',
					"SELECT count(*) FROM pg_stat_activity WHERE pid = $victim");
				return defined $there && $there eq '0';
			}),
		$name);
}

# Process ids of the workers of a kind, of a database (undef: of all).
sub pids
{
	my ($self, $db, $kind) = @_;
	# from 18 on a process is seen before it has connected
	my $where = defined $db ? "AND datname = '$db'" : $kind eq 'launcher' ? '' : 'AND datname IS NOT NULL';

	return split /\n/, $self->sql('postgres', qq{
		SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'cdcsync $kind' $where ORDER BY backend_start, pid});
}

sub pid { return ($_[0]->pids(@_[ 1, 2 ]))[0]; }

# Call until it is true; the time that took, undef if it never was.
sub until
{
	my ($self, $sub) = @_;
	my $start = time;

	while (time - $start < PATIENCE)
	{
		return time - $start if $sub->();
		sleep 0.02;
	}
	return;
}

# Until there are that many (1) workers of a kind in a database.
sub wait_for
{
	my ($self, $db, $kind, $n) = @_;
	my $elapsed = $self->until(sub { $self->pids($db, $kind) == ($n // 1) });

	ok(defined $elapsed,
		($n // 1) . " $kind in " . ($db // 'all databases'))
	  or diag($self->sql('postgres', q{SELECT pid, backend_type, datname FROM pg_stat_activity}));
	return $elapsed;
}

# Until there is another one than this; its process id.
sub wait_for_other
{
	my ($self, $db, $kind, $pid, $name) = @_;
	my $other;

	ok( defined $self->until(
			sub { $other = $self->pid($db, $kind); defined $other && $other ne $pid }),
		$name // "another $kind");
	return $other;
}

# Run the statement in a session of its own: { run, pid }.
sub session
{
	my ($self, $db, $sql) = @_;
	my $mark = "session " . ++$self->{sessions};
	my ($out, $pid) = ('');
	my $run = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-d', $self->{node}->connstr($db),
			'-c', "SET application_name = '$mark'", map { ('-c', $_) } split(/;\s*/, $sql) ],
		'<', \undef, '>', \$out, '2>', \my $err,
		IPC::Run::timeout(PATIENCE));

	$self->until(sub {
		$pid = $self->sql('postgres', "SELECT pid FROM pg_stat_activity
			WHERE application_name = '$mark' AND state = 'active'");
		return $pid ne '' });
	return { run => $run, pid => $pid };
}

# The statement's duration.
sub duration
{
	my ($self, $db, $sql) = @_;
	my $start = time;

	$self->sql($db, $sql);
	return time - $start;
}

# Seconds of CPU that a process has used.
sub cpu
{
	my ($pid) = @_;
	my $stat = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat");

	$stat =~ s/^.*\) //s;
	my @field = split ' ', $stat;
	return ($field[11] + $field[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}

# What the server has logged since this offset.
sub log_since { return slurp_file($_[0]->{node}->logfile, $_[1]); }
sub log_end { return -s $_[0]->{node}->logfile; }

1;
