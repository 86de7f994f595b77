#!/bin/bash
# chassis.sh DIR get power|boot, or DIR set power|reset|boot|shutdown|identify VALUE: what ipmi_sim asks of its machine.
# ipmi_sim waits for the answer, so that nothing here takes long.
set -uo pipefail
DIR=$1 VERB="$2 $3" VALUE=${4:-}
QMP=/tmp/$(basename "$DIR").qmp

# A machine must not hold what its BMC has open.
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    ((fd < 3 || fd == 255)) || eval "exec $fd>&-" 2>/dev/null
done

alive() {
    local pid
    pid=$(cat "$DIR/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && grep -q lab.sh "/proc/$pid/cmdline" 2>/dev/null
}

start() {
    alive && return 0
    set -a
    . "$DIR/machine.env"
    set +a
    LAB_BOOT=disk
    [[ $(cat "$DIR/next" 2>/dev/null) != pxe ]] || LAB_BOOT=network
    rm -f "$DIR/next"   # for one boot
    local name
    case $LAB_FIRMWARE in bios) set -- undionly.kpxe pxelinux.0 ;; *) set -- snponly.efi ipxe.efi ;; esac
    LAB_FILE=$1
    for name; do [[ ! -e /served/current/tftp/$name ]] || { LAB_FILE=$name; break; }; done
    export LAB_BOOT LAB_FILE LAB_QMP=$QMP
    rm -f "$QMP"
    setsid lab.sh boot </dev/null >>"$DIR/qemu.log" 2>>"$DIR/router.jsonl" &
    echo $! >"$DIR/pid"
    # On a busy master it is a while until that process is lab.sh: till then the power would be told as off.
    local n
    for ((n = 0; n < 100; n++)); do alive && break; kill -0 $! 2>/dev/null || break; sleep 0.05; done
}

stop() {
    alive || return 0
    local pid n
    pid=$(<"$DIR/pid")
    kill -TERM "$pid"
    for ((n = 0; n < 60; n++)); do alive || break; sleep 0.05; done
    # With all that it started: the machine would go on without it.
    alive && kill -KILL -- "-$pid"
    rm -f "$DIR/pid"
}

# The machine's power button.
press() {
    perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 1;
        connect($s, pack_sockaddr_un(shift)) or exit 1;
        select $s; $| = 1; readline $s;
        for (qw(qmp_capabilities system_powerdown)) { print qq({"execute":"$_"}\n); readline $s }' "$QMP"
}

case $VERB in
    'get power') alive && echo power:1 || echo power:0 ;;
    'get boot') echo "boot:$(cat "$DIR/next" 2>/dev/null || echo default)" ;;
    'set power') if [[ $VALUE == 1 ]]; then start; else stop; fi ;;
    'set reset') alive && { stop; start; } ;;   # a new start, so that the boot device counts
    'set boot') echo "$VALUE" >"$DIR/next" ;;
    'set shutdown') press ;;
    'set identify') ;;
    *) exit 1 ;;
esac
