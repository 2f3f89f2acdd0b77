
=pod

=head1 NAME

CdcFaults - places where a server built with CDC_FAULTS fails

=head1 SYNOPSIS

  use CdcFaults;
  plan skip_all => '..' unless has_faults($node);
  set_fault($node, 'ingest_commit:wait:2');
  set_fault($node, '');

=cut

package CdcFaults;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';

our @EXPORT = qw(has_faults set_fault);

# Was the running server built with CDC_FAULTS?
sub has_faults
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		q{LOAD 'cdcsync'; SELECT count(*) FROM pg_settings WHERE name = 'cdcsync.fault'}) > 0;
}

# What fails from now on, see src/fault.h; '': nothing.
sub set_fault
{
	my ($node, $fault) = @_;

	$node->append_conf('postgresql.conf', "cdcsync.fault = '$fault'");
	$node->reload;
	return;
}

1;
