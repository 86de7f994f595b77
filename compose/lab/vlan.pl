# vlan.pl VLAN MACHINE-SOCKET OWN-SOCKET: a switch between a virtual machine (QEMU's `-netdev dgram`) and two TAPs, which it
# makes: `untagged`, and `tagged` for the frames of that VLAN, whose tag it takes off and puts on (IEEE 802.1Q). In a program,
# since not every kernel can.
use strict;
use warnings;
use Fcntl;
use Socket;

my ($vlan, $theirs, $own) = @ARGV;

sub tap {
    my ($name) = @_;
    sysopen(my $handle, '/dev/net/tun', O_RDWR) or die "/dev/net/tun: $!\n";
    my $wanted = pack('Z16 s x22', $name, 0x1002);    # IFF_TAP | IFF_NO_PI
    ioctl($handle, 0x400454ca, $wanted) or die "TUNSETIFF $name: $!\n";
    return $handle;
}

my ($untagged, $tagged) = (tap('untagged'), tap('tagged'));
socket(my $machine, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!\n";
bind($machine, pack_sockaddr_un($own)) or die "$own: $!\n";
my $there = pack_sockaddr_un($theirs);
my $watched = '';
vec($watched, fileno($_), 1) = 1 for $machine, $untagged, $tagged;

while (select(my $ready = $watched, undef, undef, undef) > 0) {
    my $frame;
    if (vec($ready, fileno($machine), 1) && defined recv($machine, $frame, 65536, 0)) {
        my ($type, $tag) = unpack('x12 n n', $frame);
        if ($type != 0x8100) { syswrite $untagged, $frame }
        elsif (($tag & 0xfff) == $vlan) { syswrite $tagged, substr($frame, 0, 12) . substr($frame, 16) }
    }
    if (vec($ready, fileno($untagged), 1) && sysread $untagged, $frame, 65536) { send($machine, $frame, 0, $there) }
    if (vec($ready, fileno($tagged), 1) && sysread $tagged, $frame, 65536) {
        send($machine, substr($frame, 0, 12) . pack('nn', 0x8100, $vlan) . substr($frame, 12), 0, $there);
    }
}
