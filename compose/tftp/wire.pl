#!/usr/bin/perl
# wire.pl LINK SECONDS: sends the datagrams of stdin from LINK, and prints what passes LINK on the DHCP ports until SECONDS
# after the last. A dumb pipe: rackctl makes and reads the bytes. Needs CAP_NET_RAW and nothing else; perl-base is in the
# base image already.
#   stdin   PAUSE_MS DESTINATION SOURCE_PORT DESTINATION_PORT HEX
#   stdout  SECONDS SOURCE_MAC SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT HEX
# Sent by the kernel's output path, and not as a frame: a broadcast comes back to this machine's own servers only so.
use strict;
use warnings;
use Socket;
$| = 1;
my ($link, $wait) = @ARGV;
my $shown = 0;
sub slurp { open(my $f, '<', $_[0]) or die "wire: $_[0]: $!\n"; my $line = <$f>; chomp $line; $line }
sub now { (split ' ', slurp('/proc/uptime'))[0] }
# When the kernel had the frame that was read last: a busy machine runs this program a second late, and a server that is
# slow by a second is not told from one that is not. ioctl(2) SIOCGSTAMP; the first one switches the stamps on.
sub stamp { ioctl($_[0], 0x8906, my $time = "\0" x 16) or return; sprintf '%d.%06d', unpack('q q', $time) }
-d "/sys/class/net/$link" or die "wire: there is no link $link\n";
# What this machine sends to its own address, to a proxy of its own say, goes by lo.
my %index = map { slurp("/sys/class/net/$_/ifindex") => 1 } $link, 'lo';

# packet(7): AF_PACKET 17, SOCK_RAW 3, ETH_P_ALL 3. Only a tap for all protocols sees what this machine itself sends.
socket(my $tap, 17, 3, unpack('S', pack('n', 3))) or die "wire: cannot listen: $!\n";
stamp($tap);
# A busy master sends gigabytes here while it is asked: unfiltered they fill the tap's buffer, and answers are lost in it.
my $filter = filter();
setsockopt($tap, SOL_SOCKET, 26, pack('S x![P] P', length($filter) / 8, $filter)) or die "wire: cannot filter: $!\n";
# raw(7): IPPROTO_RAW 255; SO_BINDTODEVICE 25
socket(my $out, AF_INET, SOCK_RAW, 255) or die "wire: cannot send: $!\n";
setsockopt($out, SOL_SOCKET, SO_BROADCAST, pack('i', 1)) or die "wire: $!\n";
setsockopt($out, SOL_SOCKET, 25, pack('Z16', $link)) or die "wire: $link: $!\n";

# Classic BPF, as SO_ATTACH_FILTER takes it (linux/filter.h): UDP over IPv4, untagged or with one 802.1Q tag, from or to a
# port of DHCP.
sub filter {
    my @ports = (67, 68, 4011);
    my @rules = ([0x28, 0, 0, 12], [0x15, 3, 0, 0x0800], [0x15, 0, 13, 0x8100], [0x28, 0, 0, 16], [0x15, 13, 11, 0x0800]);
    for my $ip (14, 18) {
        push @rules, [0x30, 0, 0, $ip + 9], [0x15, 0, 9, 17], [0xb1, 0, 0, $ip], [0x48, 0, 0, $ip];
        push @rules, map { [0x15, 7 - $_, 0, $ports[$_]] } 0 .. 2;
        push @rules, [0x48, 0, 0, $ip + 2], map { [0x15, 3 - $_, 0, $ports[$_]] } 0 .. 2;
        push @rules, [0x06, 0, 0, 0], [0x06, 0, 0, 0xffffffff];
    }
    return join '', map { pack 'S C C L', @$_ } @rules;
}

sub listen_for {
    my $end = now() + shift;
    while ((my $left = $end - now()) > 0) {
        my $ready = '';
        vec($ready, fileno($tap), 1) = 1;
        take(0) if select($ready, undef, undef, $left) > 0;
    }
}

# Read one frame; when the kernel had it, nothing when there is none.
sub take {
    my $from = recv($tap, my $frame, 65536, shift) // return;
    my $time = stamp($tap) or return;
    show($time, $frame) if $index{(unpack 'S n i', $from)[2]};    # sockaddr_ll
    return $time;
}

sub show {
    my ($time, $frame) = @_;
    my $at = 12;
    $at += 4 while length($frame) > $at + 2 && unpack("x$at n", $frame) == 0x8100;    # 802.1Q
    return unless length($frame) > $at + 30 && unpack("x$at n", $frame) == 0x0800;
    my $ip = substr($frame, $at + 2);
    my ($head, $protocol) = unpack('C x8 C', $ip);
    my $size = ($head & 15) * 4;
    return unless $protocol == 17 && length($ip) >= $size + 8;
    my ($from, $to, $length) = unpack("x$size n n n", $ip);
    return unless grep { $from == $_ || $to == $_ } 67, 68, 4011;
    return if $shown++ > 20_000;    # a flood
    printf "%s %s %s %s %d %d %s\n", $time, join(':', unpack('x6 (H2)6', $frame)),
        inet_ntoa(substr($ip, 12, 4)), inet_ntoa(substr($ip, 16, 4)), $from, $to,
        unpack('H*', substr($ip, $size + 8, $length - 8));
}

while (my $line = <STDIN>) {
    my ($pause, $to, $from_port, $to_port, $hex) = split ' ', $line;
    my $data = pack('H*', $hex);
    # RFC 768: checksum 0 is none. The kernel fills in the source, the id and the header's checksum.
    my $packet = pack('C C n n n C C n a4 a4 n n n n a*', 0x45, 0, 28 + length $data, 0, 0, 64, 17, 0, "\0" x 4,
        inet_aton($to), $from_port, $to_port, 8 + length $data, 0, $data);
    # A server chose where the others go: an address that cannot be reached is an answer that does not come.
    my $sent = send($out, $packet, 0, pack_sockaddr_in(0, inet_aton($to)));
    die "wire: cannot send from $link: $!\n" unless $sent || $to ne '255.255.255.255';
    listen_for($pause / 1000);
}
listen_for($wait);
# On a busy machine the time is up before all was read that came in time. MSG_DONTWAIT 0x40
my $now = time + 1;
while (my $time = take(0x40)) { last if $time > $now }
