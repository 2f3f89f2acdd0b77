#!/usr/bin/perl
#
# Turn files of records into commands for the mock broker:
#
#   test/broker_feed.pl [--shape schemaless|with_schema] [--topic NAME]
#       [--partitions N] FILE.. | build/mock_broker
#
# The files are lines of JSON, as kcat -J prints them or with "schemaless" and
# "with_schema" variants (test/lib/CdcKafka.pm).  With --partitions, records
# are spread by their key, as a producer does.

use strict;
use warnings FATAL => 'all';

use FindBin;
use Getopt::Long;
use lib "$FindBin::Bin/lib";

use CdcKafka;

my ($shape, $topic, $partitions) = ('schemaless');
GetOptions(
	'shape=s' => \$shape,
	'topic=s' => \$topic,
	'partitions=i' => \$partitions) && @ARGV
  or die "usage: $0 [--shape SHAPE] [--topic NAME] [--partitions N] FILE..\n";

my %options = (shape => $shape, topic => $topic);
if ($partitions)
{
	$options{partition} = sub {
		my ($key) = @_;
		return 0 unless defined $key;
		return unpack('%32C*', $key) % $partitions;
	};
}
while (my $line = <>)
{
	print CdcKafka::line_command($line, %options), "\n" if $line =~ /\S/;
}
print "sync\n";
