#!/usr/bin/perl
# Runs many ipmitool side by side: jobs come in on stdin as lines, and the end of each goes out at once as a line of JSON.
#
#   parallel N                                        at most N at a time (default 64)
#   run ID AFTER TIMEOUT NAMES HEXPASSWORD HEXARG...  start in AFTER seconds; kill after TIMEOUT; NAMES 1: load the registry
#   end                                               no more jobs; leave when the last has ended
#
# Words are hex, so that any byte may be in them; a password goes to its own child's environment and nowhere else.
# When stdin closes without `end`, whoever asked is gone: everything is killed.
use strict;
use warnings;
use IO::Handle;
use IO::Select;
use POSIX qw(:sys_wait_h);

use constant LONGEST => 1 << 20;    # bytes kept of one program's output

my ($parallel, $ending, $gone) = (64, 0, 0);
my (@waiting, %running, %by_handle);
my $select = IO::Select->new(\*STDIN);
my $input  = '';
STDOUT->autoflush(1);
STDIN->blocking(0);
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { $gone = 1 }
  for qw(TERM INT HUP);

# Seconds on a clock that nobody sets, in steps of 10 ms; Debian's base perl has no Time::HiRes.
my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
sub now { (POSIX::times())[0] / $ticks }

sub quote {
    my $text = shift;
    $text =~ s/([^\x20\x21\x23-\x5b\x5d-\x7e])/sprintf '\\u%04x', ord $1/ge;
    return qq("$text");
}

sub finish {
    my ($job, $rc, $late) = @_;
    printf qq({"id":%s,"rc":%d,"late":%s,"seconds":%.4f,"out":%s,"err":%s}\n), quote($job->{id}), $rc,
      $late ? 'true' : 'false', now() - $job->{started}, quote($job->{out}), quote($job->{err});
}

sub start {
    my $job = shift;
    @$job{qw(started out err)} = (now(), '', '');
    pipe(my $out, my $out_end) && pipe(my $err, my $err_end) or return finish($job, 126, 0);
    my $pid = fork() // return finish($job, 126, 0);
    if (!$pid) {
        setpgrp(0, 0);
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>&', $out_end;
        open STDERR, '>&', $err_end;
        %ENV = (PATH => '/usr/bin:/bin', HOME => $job->{names} ? '/registry' : '/', IPMI_PASSWORD => $job->{password});
        exec { $job->{argv}[0] } @{ $job->{argv} } or POSIX::_exit(127);
    }
    $job->{pid} = $pid;
    $job->{deadline} = $job->{started} + $job->{timeout};
    $job->{open} = 2;
    $running{$pid} = $job;
    for ([$out, 'out'], [$err, 'err']) {
        my ($handle, $name) = @$_;
        $handle->blocking(0);
        $select->add($handle);
        $by_handle{$handle} = [$job, $name];
    }
}

sub take_line {
    my ($word, @rest) = split ' ', shift;
    return unless defined $word;
    if ($word eq 'end') { $ending = 1 }
    elsif ($word eq 'parallel') { $parallel = $rest[0] }
    elsif ($word eq 'run') {
        my ($id, $after, $timeout, $names, @hex) = @rest;
        my ($password, @argv) = map { pack 'H*', substr $_, 1 } @hex;    # each begins with 'x': an empty word stays one
        push @waiting, { id => $id, due => now() + $after, timeout => $timeout, names => $names, password => $password,
            argv => \@argv };
    }
}

sub read_input {
    my $got = sysread STDIN, $input, 65536, length $input;
    return if !defined $got;    # not ready after all
    if (!$got) {
        $select->remove(\*STDIN);
        $gone = 1 unless $ending;
        return;
    }
    take_line($1) while $input =~ s/^([^\n]*)\n//;
}

sub read_child {
    my $handle = shift;
    my ($job, $name) = @{ $by_handle{$handle} };
    my $got = sysread $handle, my $bytes, 65536;
    return if !defined $got;
    if ($got) {
        $job->{$name} .= $bytes if length($job->{$name}) < LONGEST;
        return;
    }
    $select->remove($handle);
    delete $by_handle{$handle};
    close $handle;
    $job->{open}--;
}

sub reap {
    for my $job (values %running) {
        my $late = now() >= $job->{deadline};
        kill 'KILL', -$job->{pid}, $job->{pid} if $late;
        next if $job->{open} && !$late;
        next if !$late && waitpid($job->{pid}, WNOHANG) == 0;
        my $status = $late ? do { waitpid $job->{pid}, 0; 9 } : $?;
        for my $handle (grep { $by_handle{$_} && $by_handle{$_}[0] == $job } $select->handles) {
            read_child($handle);    # what it said before it was killed
            $select->remove($handle);
            delete $by_handle{$handle};
        }
        delete $running{ $job->{pid} };
        finish($job, $status & 127 ? 128 + ($status & 127) : $status >> 8, $late);
    }
}

until ($gone || ($ending && !@waiting && !%running)) {
    my $now = now();
    @waiting = sort { $a->{due} <=> $b->{due} } @waiting;
    start(shift @waiting) while @waiting && $waiting[0]{due} <= $now && keys %running < $parallel;
    my @moments = map { $_->{deadline} } values %running;
    push @moments, $waiting[0]{due} if @waiting && keys %running < $parallel;
    push @moments, $now + 0.02 if grep { !$_->{open} } values %running;
    my ($next) = sort { $a <=> $b } @moments;
    my $pause = defined $next ? $next - $now : undef;
    for my $handle ($select->can_read(defined $pause && $pause < 0 ? 0 : $pause)) {
        $handle == \*STDIN ? read_input() : read_child($handle);
    }
    reap();
}
kill 'KILL', map { (-$_, $_) } keys %running if %running;
exit($gone ? 1 : 0);
