# embedded.pl SCRIPT TARGET...: fails unless every target holds exactly the script. A .kpxe is compressed: what it was
# linked from lies beside it as .kpxe.tmp.
use strict;
use warnings;

sub slurp { local (@ARGV, $/) = @_; return scalar <> }

my $script = slurp(shift);
for my $target (@ARGV) {
    my $plain = $target =~ /kpxe$/ ? "$target.tmp" : $target;
    index(slurp($plain), $script) >= 0 or die "the script is not in $target\n";
}
