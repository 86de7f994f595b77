# embedded.pl SCRIPT TARGET...: fails unless every target holds exactly the script. BIOS binaries are compressed: what
# one was linked from lies beside it as .tmp.
use strict;
use warnings;

sub slurp { local (@ARGV, $/) = @_; return scalar <> }

my $script = slurp(shift);
for my $target (@ARGV) {
    my $plain = $target =~ /(pxe|lkrn)$/ ? "$target.tmp" : $target;
    index(slurp($plain), $script) >= 0 or die "the script is not in $target\n";
}
