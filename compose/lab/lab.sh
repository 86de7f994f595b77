#!/bin/bash
# The lab's verbs: net-up | net-down | boot | probe | sweep. Runs in the host's network namespace.
#
# Nothing here outlives its owner by design: QEMU makes the TAP itself (the kernel removes it with QEMU, even on SIGKILL), and
# locks are abstract sockets of the network namespace (shared by all lab containers, released with their holder).
# Only a bridge can be left behind; its alias says who wanted it: "kept" (net-up) or "auto" (boot: the last one out removes it).
set -uo pipefail

BRIDGE=${LAB_BRIDGE:-rackctl-lab}
ADDRESS=${LAB_ADDRESS:-10.98.0.1/24}
KEPT=rackctl-lab:kept
AUTO=rackctl-lab:auto
TAP_PREFIX=rackctl-tap
FIRST=50
LAST=200

say() { echo "lab: $*" >&2; }
# tell LINE: one JSON line with a microsecond clock, in the form of the tftp container's log: rackctl reads both alike
tell() {
    local line=${1//[[:cntrl:]]/?}
    line=${line//\\/\\\\}; line=${line//\"/\\\"}
    printf '{"t":%s,"line":"%s"}\n' "$EPOCHREALTIME" "$line" >&2
}
die() { say "$*"; exit 1; }

# hold NAME: take a lock that lives as long as its holder; the holder's pid goes to HELD. Fails at once when it is taken.
hold() {
    local fd answer
    exec {fd}< <(exec perl -MSocket -e '$| = 1; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 1;
        bind($s, pack_sockaddr_un("\0rackctl-lab/" . shift)) or exit 1; print "held\n"; close STDOUT; sleep' "$1")
    HELD=$!
    read -r answer <&"$fd"
    exec {fd}<&-
    [[ $answer == held ]]
}

LOCK=
lock() {
    local n
    for ((n = 0; n < 300; n++)); do
        hold "lock/$BRIDGE" && { LOCK=$HELD; return 0; }
        sleep 0.1
    done
    say "the lab's lock is held for 30 s: another lab hangs"
    return 1
}
# KILL, since a lock taken in cleanup inherits that TERM is ignored
unlock() { [[ -z $LOCK ]] || { kill -KILL "$LOCK"; wait "$LOCK"; LOCK=; } 2>/dev/null; }

bridge_alias() { ip link show dev "$BRIDGE" 2>/dev/null | sed -n 's/^ *alias //p'; }
bridge_exists() { ip link show dev "$BRIDGE" &>/dev/null; }
bridge_ports() { ip -o link show master "$BRIDGE" 2>/dev/null | wc -l; }

# make_bridge ALIAS: with the lock held
make_bridge() {
    bridge_exists && return 0
    ip link add name "$BRIDGE" type bridge stp_state 0 forward_delay 0 \
        && ip link set dev "$BRIDGE" alias "$1" \
        && ip address replace "$ADDRESS" dev "$BRIDGE" \
        && ip link set dev "$BRIDGE" up
}

# drop_auto_bridge: with the lock held
drop_auto_bridge() {
    [[ $(bridge_alias) == "$AUTO" && $(bridge_ports) == 0 ]] || return 0
    ip link delete dev "$BRIDGE"
}

net_up() {
    lock || exit 1
    make_bridge "$KEPT" || die "cannot make the bridge $BRIDGE"
    case $(bridge_alias) in
        "$KEPT" | "$AUTO") ip link set dev "$BRIDGE" alias "$KEPT" ;;
        *) die "a link $BRIDGE exists and is not rackctl's" ;;
    esac
    ip address show dev "$BRIDGE" | grep -qF "inet $ADDRESS" \
        || { ip address flush dev "$BRIDGE" && ip address add "$ADDRESS" dev "$BRIDGE"; } \
        || die "cannot give $BRIDGE the address $ADDRESS"
    ip link set dev "$BRIDGE" up
    unlock
}

net_down() {
    lock || exit 1
    if bridge_exists; then
        case $(bridge_alias) in
            "$KEPT" | "$AUTO") ;;
            *) die "the link $BRIDGE is not rackctl's: left alone" ;;
        esac
        # with machines still on it, the last of them removes it
        ip link set dev "$BRIDGE" alias "$AUTO"
        drop_auto_bridge
    fi
    unlock
}

# probe: /dev/kvm may exist and still fail in firmware code, so boot up to the option ROM's first line about its NIC.
probe() {
    [[ -w /dev/kvm ]] || return 1
    timeout -s KILL 6 qemu-system-x86_64 -accel kvm -cpu host -m 64 -nographic -monitor none -serial stdio -boot n \
        -netdev user,id=n,restrict=on -device virtio-net-pci,netdev=n </dev/null 2>&1 \
        | grep -qam1 "net0:"
}

# claim_address: a free host number, the same one for the same MAC where possible; sets GUEST and TAP
claim_address() {
    local span=$((LAST - FIRST + 1)) start n number
    start=$(($(cksum <<<"$LAB_MAC" | cut -d' ' -f1) % span))
    for ((n = 0; n < span; n++)); do
        number=$((FIRST + (start + n) % span))
        hold "guest/$number" || continue
        CHILDREN+=("$HELD")
        TAP=$TAP_PREFIX$number
        GUEST=${ADDRESS%.*}.$number
        return 0
    done
    die "all of the lab's addresses are in use"
}

# The dumb router: one file for everybody. It answers this machine alone, so several labs share a bridge (and port 67) with
# different files.
start_dhcp() {
    dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --log-facility=- \
        --interface="$BRIDGE" --except-interface=lo --bind-interfaces --no-ping \
        --dhcp-leasefile="$WORK/leases" --pid-file="$WORK/dnsmasq.pid" \
        --dhcp-range="${ADDRESS%.*}.$FIRST,${ADDRESS%.*}.$LAST,12h" \
        --dhcp-host="$LAB_MAC,$GUEST" --dhcp-ignore='tag:!known' \
        --dhcp-boot="$LAB_FILE,,$LAB_SERVER" \
        2> >(while IFS= read -r line; do tell "$line"; done) &
    ROUTER=$!
    CHILDREN+=("$ROUTER")
}

# With LAB_LEASH the machine lives as long as somebody holds our stdin open: rackctl may be killed with SIGKILL and nothing stays.
hold_leash() {
    [[ -n ${LAB_LEASH:-} ]] || return 0
    { cat >/dev/null; kill -TERM $$; } <&0 2>/dev/null &
    CHILDREN+=($!)
}

start_qemu() {
    # LAB_CONSOLE=ADDRESS:PORT: a virtual BMC reads the console there. LAB_BOOT=disk: nothing is asked of the network.
    local console=stdio order=n rom='' first=,bootindex=0 efirom=,romfile=
    [[ -z ${LAB_CONSOLE:-} ]] || console=tcp:$LAB_CONSOLE,server=on,wait=off
    [[ ${LAB_BOOT:-network} == network ]] || { order=c rom=,romfile= first=; }
    # OVMF drives a virtio card by itself; any other needs the UEFI driver in the card's own ROM.
    [[ ${LAB_NIC:-virtio} == virtio ]] || efirom=
    local -a args=(-m "$LAB_MEMORY" -nographic -monitor none -serial "$console" -device virtio-rng-pci
        -netdev "tap,id=n,ifname=$TAP,script=/usr/local/bin/lab.sh,downscript=no")
    local system="type=1" card
    # QEMU's names; e100 is Intel's 82551.
    case ${LAB_NIC:-virtio} in virtio) card=virtio-net-pci ;; e100) card=i82551 ;; *) card=$LAB_NIC ;; esac
    args+=(-rtc "base=${LAB_CLOCK:-utc}")
    if [[ $LAB_ACCEL == kvm ]]; then args+=(-accel kvm -cpu host); else args+=(-accel tcg -cpu max); fi
    case $LAB_FIRMWARE in
        bios) args+=(-boot "$order" -device "$card,netdev=n,mac=$LAB_MAC$rom") ;;
        uefi | uefi-ia32 | http)
            local ovmf=/usr/share/OVMF/OVMF
            [[ $LAB_FIRMWARE != uefi-ia32 ]] || ovmf+=32   # as in the Macs of 2006: a 64-bit processor behind 32-bit EFI
            cp "${ovmf}_VARS_4M.fd" "$WORK/vars.fd" || die "no room for the firmware's variables"
            args+=(-machine q35
                -drive "if=pflash,format=raw,readonly=on,file=${ovmf}_CODE_4M.fd"
                -drive "if=pflash,format=raw,file=$WORK/vars.fd"
                -device "$card,netdev=n,mac=$LAB_MAC$efirom$first")
            [[ $order == n ]] || args+=(-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n
                -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n)
            # OVMF tries PXE first, then IPv6; without them only UEFI HTTP boot is left.
            [[ $LAB_FIRMWARE != http ]] || args+=(-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n
                -fw_cfg name=opt/org.tianocore/IPv6Support,string=n) ;;
    esac
    [[ -z ${LAB_QMP:-} ]] || args+=(-qmp "unix:$LAB_QMP,server=on,wait=off")
    [[ -z ${LAB_UUID:-} ]] || args+=(-uuid "$LAB_UUID")
    [[ -z ${LAB_SERIAL:-} ]] || system+=",serial=${LAB_SERIAL//,/,,}"
    args+=(-smbios "$system")
    # LAB_DISK=MIB: a disk full of words; in the end a line tells whether anybody wrote to it. LAB_BMC=sim: a BMC on the board.
    if [[ -n ${LAB_DISK:-} ]]; then
        yes rackctl | head -c "${LAB_DISK}M" >"$WORK/disk"
        DISK=$(sha256sum <"$WORK/disk")
        args+=(-drive "if=none,id=d,format=raw,file=$WORK/disk" -device virtio-blk-pci,drive=d,serial=RACK-0001)
    fi
    [[ ${LAB_BMC:-} != sim ]] || args+=(-device ipmi-bmc-sim,id=bmc -device isa-ipmi-kcs,bmc=bmc)
    qemu-system-x86_64 "${args[@]}" </dev/null &
    QEMU=$!
}

CHILDREN=()
DISK=
ROUTER=
QEMU=
WORK=
cleanup() {
    trap '' INT TERM
    trap - EXIT
    [[ -z $QEMU ]] || { kill -KILL "$QEMU"; wait "$QEMU"; } 2>/dev/null
    if [[ -n $DISK ]]; then
        [[ $(sha256sum <"$WORK/disk") == "$DISK" ]] && tell "lab: disk untouched" || tell "lab: disk written"
    fi
    local child
    for child in "${CHILDREN[@]}"; do { kill "$child"; wait "$child"; } 2>/dev/null; done
    [[ -n $LOCK ]] || lock
    drop_auto_bridge
    unlock
    [[ -z $WORK ]] || rm -rf "$WORK"
}

boot() {
    : "${LAB_MAC:?}"
    # LAB_DHCP=none: somebody else on the bridge answers DHCP
    LAB_DHCP=${LAB_DHCP:-router}
    [[ $LAB_DHCP == none ]] || : "${LAB_FILE:?the file the router names}"
    LAB_MAC=${LAB_MAC,,}
    LAB_FIRMWARE=${LAB_FIRMWARE:-bios}
    LAB_SERVER=${LAB_SERVER:-${ADDRESS%/*}}
    LAB_MEMORY=${LAB_MEMORY:-768}
    [[ $LAB_MAC =~ ^([0-9a-f]{2}:){5}[0-9a-f]{2}$ ]] || die "LAB_MAC=$LAB_MAC is no MAC address"
    [[ $LAB_FIRMWARE =~ ^(bios|uefi|uefi-ia32|http)$ ]] || die "LAB_FIRMWARE=$LAB_FIRMWARE is none of bios, uefi, uefi-ia32, http"
    [[ $ADDRESS == */24 ]] || die "LAB_ADDRESS=$ADDRESS: the lab's network is a /24"
    if [[ -z ${LAB_ACCEL:-} ]]; then LAB_ACCEL=tcg; probe && LAB_ACCEL=kvm; fi
    export LAB_BRIDGE=$BRIDGE

    trap cleanup EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
    WORK=$(mktemp -d /tmp/lab.XXXXXX) || die "no room in /tmp"
    claim_address
    lock || exit 1
    make_bridge "$AUTO" || die "cannot make the bridge $BRIDGE"
    [[ $LAB_DHCP == none ]] || start_dhcp
    hold_leash
    tell "lab: power on"
    start_qemu
    # the lock is kept until the TAP is a port, so that nobody takes the bridge for unused meanwhile
    local n
    for ((n = 0; n < 100; n++)); do
        ip -o link show master "$BRIDGE" | grep -qF "$TAP:" && break
        kill -0 "$QEMU" 2>/dev/null || break
        sleep 0.05
    done
    unlock
    say "$LAB_MAC $LAB_FIRMWARE $LAB_ACCEL, $GUEST on $BRIDGE by $TAP, file ${LAB_FILE:-of another DHCP server} from $LAB_SERVER"
    wait -n "$QEMU" ${ROUTER:+"$ROUTER"}   # the machine, or its router, ended
    local status=$?
    kill -0 "$QEMU" 2>/dev/null && die "the lab's DHCP server ended ($status)"
    exit "$status"
}

case ${1:-} in
    net-up) net_up ;;
    net-down) net_down ;;
    boot) boot ;;
    probe) probe ;;
    sweep) lock && drop_auto_bridge; unlock ;;
    "$TAP_PREFIX"*) ip link set dev "$1" master "$BRIDGE" && ip link set dev "$1" up ;;   # QEMU's ifup script
    *) die "verbs: net-up net-down boot probe sweep" ;;
esac
