
=pod

=head1 NAME

CdcKafka - a mock broker for tests

=head1 SYNOPSIS

  use CdcKafka;
  my $broker = start_broker();
  $broker->topic('orders', 3);
  $broker->rec('orders', 0, key => 'k', value => 'v',
      timestamp => 1755849600000, headers => [ [ 'name', 'value' ] ]);
  $broker->load("fixtures/customer_events.jsonl", shape => 'with_schema');
  $broker->sync;
  my $servers = $broker->bootstrap;
  $broker->stop;

  my $cluster = start_cluster(brokers => 2);
  $cluster->topic('orders', 3);
  $cluster->many('orders', 0, 1000);
  $cluster->trim('orders', 0, 500);
  $cluster->freeze;
  $cluster->thaw;
  $cluster->restart;    # empty, at the same address

=head1 DESCRIPTION

start_broker starts build/mock_broker (or what the environment variable
MOCK_BROKER names; "make -f test/Makefile.mock" builds it), which is fast;
start_cluster starts test/broker/broker.py, in which more can go wrong.  Every
method dies if the broker refuses the command.  The broker ends with this
process, whatever way that ends.

=cut

package CdcKafka;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IO::Handle;
use IPC::Open2;
use JSON::PP;

our @EXPORT = qw(start_broker start_cluster);

# Answers that are left in the pipe while commands are written: a pipe holds
# many more, so that neither side waits for the other.
use constant COMMANDS_AT_ONCE => 1000;

sub start_broker
{
	my $program = $ENV{MOCK_BROKER}
	  || dirname(abs_path(__FILE__)) . '/../../build/mock_broker';

	die "$program is missing: make -f test/Makefile.mock\n"
	  unless -x $program;
	return launch($program);
}

# Options: brokers => how many, ports => [ .. ], tls => [ certificate, key ]
sub start_cluster
{
	my (%options) = @_;
	my @command = (
		'/usr/bin/python3', dirname(abs_path(__FILE__)) . '/../broker/broker.py',
		'--brokers', $options{brokers} // 1);

	push @command, '--ports', join(',', @{ $options{ports} }) if $options{ports};
	push @command, '--tls', @{ $options{tls} } if $options{tls};
	return launch(@command);
}

sub launch
{
	my (@command) = @_;
	my $self = bless { command => \@command }, __PACKAGE__;

	$self->run_program(@command);
	return $self;
}

sub run_program
{
	my ($self, @command) = @_;

	local $SIG{PIPE} = 'IGNORE';
	$self->{pid} = open2($self->{out}, $self->{in}, @command);
	$self->{in}->autoflush(1);
	my $line = readline($self->{out});
	die "$command[0] did not start\n" unless defined $line;
	chomp($self->{bootstrap} = $line);
	return;
}

# End a cluster and start one at the same address, without topics.
sub restart
{
	my ($self) = @_;
	my @ports = $self->{bootstrap} =~ /:(\d+)/g;

	$self->stop;
	$self->run_program(@{ $self->{command} }, '--ports', join(',', @ports));
	return;
}

# Addresses for bootstrap_servers.
sub bootstrap { return $_[0]->{bootstrap}; }

# Send command lines and check that each is answered by "ok"; returns what the
# last answer adds to it.
sub command
{
	my ($self, @lines) = @_;
	my $result;

	while (my @some = splice(@lines, 0, COMMANDS_AT_ONCE))
	{
		print { $self->{in} } map { "$_\n" } @some;
		foreach my $line (@some)
		{
			my $answer = readline($self->{out});
			die "mock broker has gone\n" unless defined $answer;
			chomp $answer;
			die "mock broker: " . substr($line, 0, 60) . ": $answer\n"
			  unless $answer =~ /^ok\b ?(.*)/;
			$result = $1;
		}
	}
	return $result;
}

sub sync { return $_[0]->command('sync'); }

# The commands of broker.py that are methods; mock_broker has some of them.
foreach my $name (
	qw(topic delete grow many trim truncate stable fail leader down up freeze thaw cut)
  )
{
	no strict 'refs';
	*$name = sub { my ($self, @args) = @_; return $self->command("$name @args"); };
}

# Requests since the last count: { name => number }
sub count { return { $_[0]->command('count') =~ /(\w+)=(\d+)/g }; }

# One record of that many bytes.
sub fill
{
	my ($self, $topic, $partition, $bytes) = @_;
	return $self->command("fill $topic $partition $bytes");
}

# A batch that no producer would make: see mock_broker.c for the kinds.
sub raw
{
	my ($self, $topic, $partition, $kind) = @_;
	return $self->command('sync', "raw $topic $partition $kind");
}

# Updates in Debezium's shape.
sub bulk
{
	my ($self, $topic, $partitions, $count, $keys, $seed) = @_;
	return $self->command("bulk $topic $partitions $count $keys "
		  . ($seed // 1));
}

# A field of a command: bytes in hexadecimal.
sub field
{
	my ($bytes) = @_;
	return '-' unless defined $bytes;
	return '.' if $bytes eq '';
	utf8::encode($bytes) if utf8::is_utf8($bytes);
	return unpack('H*', $bytes);
}

# The command for a record; headers: [ [ name, value ], .. ].
sub record_command
{
	my ($topic, $partition, %record) = @_;

	return join(
		' ', 'rec', $topic, $partition,
		$record{timestamp} // 0,
		field($record{key}), field($record{value}),
		map { field($_->[0]) . '=' . field($_->[1]) }
		  @{ $record{headers} // [] });
}

sub rec
{
	my ($self, $topic, $partition, %record) = @_;
	return $self->command(record_command($topic, $partition, %record));
}

# The command for a line of a file of records, in either of two formats: as
# kcat -J prints it, or with "schemaless" and "with_schema" variants.
#   shape => 'schemaless' or 'with_schema', for the second format
#   topic => another topic
#   partition => another partition, or a sub that gets ($key, $offset)
sub line_command
{
	my ($line, %options) = @_;
	my $data = JSON::PP->new->utf8->decode($line);
	my ($topic, $partition) = ($data->{topic}, $data->{partition});
	my %record;

	if (exists $data->{schemaless})
	{
		my $body = $data->{ $options{shape} // 'schemaless' };

		%record = (
			timestamp => $data->{timestamp},
			key => $body->{key},
			value => $body->{value},
			headers =>
			  [ map { [ $_->{key}, $_->{value} ] } @{ $data->{headers} } ]);
	}
	else
	{
		my @flat = @{ $data->{headers} // [] };
		my @headers;

		push @headers, [ splice(@flat, 0, 2) ] while @flat;
		%record = (
			timestamp => $data->{ts},
			key => $data->{key},
			value => $data->{payload},
			headers => \@headers);
	}
	$topic = $options{topic} if defined $options{topic};
	if (defined(my $other = $options{partition}))
	{
		$partition =
		  ref $other ? $other->($record{key}, $data->{offset}) : $other;
	}
	return record_command($topic, $partition, %record);
}

# All records of a file; the topic must be there.  Options as above.
sub load
{
	my ($self, $file, %options) = @_;
	my @commands;

	open(my $handle, '<', $file) or die "$file: $!\n";
	while (my $line = readline($handle))
	{
		push @commands, line_command($line, %options) if $line =~ /\S/;
	}
	close($handle);
	return $self->command(@commands, 'sync');
}

sub stop
{
	my ($self) = @_;

	return unless defined $self->{pid};
	close($self->{in});
	close($self->{out});
	local $?;
	waitpid($self->{pid}, 0);
	delete $self->{pid};
	return;
}

sub DESTROY { $_[0]->stop; return; }

1;
