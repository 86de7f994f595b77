#!/bin/bash
# prove.sh: boots one loader or medium of /files in a network of its own (run it with --network none): a bridge that has the
# rack's server address, "the router's DHCP", and an HTTP server that answers whatever boot script is asked for. The console
# goes to stdout; to stderr go `request: {json}` of each HTTP request, what the servers say, and at the end, with PROVE_SERIAL
# (2, 3 or 4), `serial: ` and each line of that serial port of a PC. Ends once a script was asked for, with 0, or after
# PROVE_SECONDS with 1.
set -uo pipefail

ADDRESS=${PROVE_ADDRESS:?of the rack\'s server}
HTTP=${PROVE_HTTP:-83} HTTPS=${PROVE_HTTPS:-}
FIRMWARE=${PROVE_FIRMWARE:?bios, uefi, uefi-ia32, uefi-arm64 or uefi-secure}
FILE=${PROVE_FILE:?name below /files}
KIND=${PROVE_KIND:-net}
MAC=${PROVE_MAC:-52:54:00:1a:b0:0f}
UNTAGGED=192.0.2   # RFC 5737, TEST-NET-1
WORK=$(mktemp -d) || exit 1
CHILDREN=()
finish() {
    kill "${CHILDREN[@]}" 2>/dev/null
    [[ ! -s $WORK/serial ]] || sed 's/^/serial: /' "$WORK/serial" >&2
    rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 143' TERM
# Lives as long as somebody holds our stdin open.
{ cat >/dev/null; kill -TERM $$; } <&0 2>/dev/null & CHILDREN+=($!)
say() { echo "prove: $*" >&2; }

# With PROVE_VLAN the DHCP and HTTP servers are on that VLAN; untagged there is what a ROM needs to load the file, no more.
make_network() {
    local n
    ip link set lo up
    if [[ -n ${PROVE_VLAN:-} ]]; then
        LINK=tagged
        perl /usr/local/bin/vlan.pl "$PROVE_VLAN" "$WORK/machine" "$WORK/switch" & CHILDREN+=($!)
        for ((n = 0; n < 300; n++)); do [[ -S $WORK/switch ]] && break; sleep 0.1; done
        ip address add "$UNTAGGED.1/24" dev untagged && ip link set untagged up || exit 1
    else
        LINK=prove
        ip link add name prove type bridge stp_state 0 forward_delay 0 || exit 1
    fi
    ip address add "$ADDRESS/24" dev "$LINK" && ip link set dev "$LINK" up || exit 1
    [[ -z ${PROVE_NEXT:-} ]] || ip address add "$PROVE_NEXT/24" dev "$LINK" || exit 1
}

# after SECONDS: so long after the script's first words on the console; at once for nothing or 0.
after() {
    ((${1:-0} > 0)) || return 0
    until grep -qas 'rackctl: round 1' "$WORK/console"; do sleep 0.1; done
    sleep "$1"
}

# PROVE_NEXT: what the router says in next-server when that is itself: it serves the loader by TFTP, and no HTTP.
# PROVE_DHCP_LATE: how long after the script began its DHCP starts to answer.
start_dhcp() {
    local net=${ADDRESS%.*} last=${ADDRESS##*.} first=50
    ((last < 50 || last > 90)) || first=150
    after "${PROVE_DHCP_LATE:-}"
    answer "$LINK" "$net.$first,$net.$((first + 40))" "${PROVE_NEXT:-$ADDRESS}"
}

# answer LINK RANGE NEXT-SERVER
answer() {
    exec dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --log-facility=- --interface="$1" \
        --except-interface=lo --bind-interfaces --no-ping --dhcp-leasefile="$WORK/leases.$1" --pid-file="$WORK/pid.$1" \
        --log-dhcp --dhcp-range="$2,1h" --dhcp-boot="$FILE,,$3" --enable-tftp --tftp-root=/files
}

# PROVE_HTTP_LATE: how long after the script began it starts to answer.
start_http() {
    local tls=''
    [[ -z $HTTPS ]] || tls="listen $ADDRESS:$HTTPS ssl; ssl_certificate /tls/server.pem; ssl_certificate_key /tls/server.key;"
    printf '#!ipxe\necho rackctl: this iPXE is proven\nsleep 60\n' >"$WORK/answer.ipxe"
    cat >"$WORK/nginx.conf" <<END
user root; daemon off; master_process off; pid $WORK/nginx.pid; error_log stderr warn;
events { worker_connections 64; }
http {
  log_format asked escape=json '{"uri":"\$request_uri","scheme":"\$scheme","server":"\$server_addr","status":\$status,"agent":"\$http_user_agent","ip":"\$remote_addr"}';
  access_log $WORK/requests asked;
  server { listen $ADDRESS:$HTTP; $tls root $WORK; location / { try_files /answer.ipxe =404; } }
}
END
    after "${PROVE_HTTP_LATE:-}"
    exec nginx -e stderr -c "$WORK/nginx.conf"
}

start_machine() {
    local card=virtio-net-pci boot=order=n rom='' n
    local -a args=(-m 512 -nographic -device virtio-rng-pci -S -monitor "unix:$WORK/monitor,server=on,wait=off"
        -chardev "stdio,id=console,signal=off,logfile=$WORK/console" -serial chardev:console)
    if [[ -n ${PROVE_SERIAL:-} ]]; then
        for ((n = 2; n < PROVE_SERIAL; n++)); do args+=(-serial null); done
        args+=(-serial "file:$WORK/serial")
    fi
    local emulator=qemu-system-x86_64 ovmf=/usr/share/OVMF/OVMF
    [[ $KIND == net ]] || boot=order=c
    case $FIRMWARE in
        bios) args+=(-boot "$boot") ;;
        uefi | uefi-ia32)
            [[ $FIRMWARE != uefi-ia32 ]] || ovmf+=32
            cp "${ovmf}_VARS_4M.fd" "$WORK/vars.fd"
            args+=(-machine q35 -drive "if=pflash,format=raw,readonly=on,file=${ovmf}_CODE_4M.fd"
                -drive "if=pflash,format=raw,file=$WORK/vars.fd")
            rom=,romfile= ;;
        uefi-secure)   # PROVE_VARS: its variables, keys enrolled, below /files
            cp "/files/${PROVE_VARS:?the firmware\'s variables}" "$WORK/vars.fd"
            args+=(-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on
                -drive "if=pflash,format=raw,readonly=on,file=${ovmf}_CODE_4M.secboot.fd"
                -drive "if=pflash,format=raw,file=$WORK/vars.fd")
            rom=,romfile= ;;
        uefi-arm64)
            emulator=qemu-system-aarch64
            cp /usr/share/AAVMF/AAVMF_VARS.fd "$WORK/vars.fd"
            args+=(-machine virt -drive "if=pflash,format=raw,readonly=on,file=/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd"
                -drive "if=pflash,format=raw,file=$WORK/vars.fd")
            rom=,romfile= ;;
        *) say "firmware $FIRMWARE is none of bios, uefi, uefi-ia32, uefi-arm64, uefi-secure"; exit 2 ;;
    esac
    # The first card is one that no cable leads to.
    if [[ -n ${PROVE_DEAD:-} ]]; then
        args+=(-netdev hubport,hubid=9,id=dead -device "e1000,id=deadcard,netdev=dead,mac=52:54:00:1a:b0:dd,romfile=")
    fi
    [[ $KIND == net ]] || rom=,romfile=
    [[ $KIND != net || $FIRMWARE == bios ]] || rom+=,bootindex=0
    local net=tap,id=n,ifname=tap0,script=no,downscript=no
    [[ $LINK == prove ]] || net=dgram,id=n,local.type=unix,local.path=$WORK/machine,remote.type=unix,remote.path=$WORK/switch
    args+=(-netdev "$net" -device "$card,netdev=n,mac=$MAC$rom")
    case $KIND in
        kernel) args+=(-kernel "/files/$FILE") ;;
        usb) args+=(-device qemu-xhci -drive "if=none,id=medium,format=raw,readonly=on,file=/files/$FILE"
            -device "usb-storage,drive=medium,bootindex=0") ;;
        iso) args+=(-drive "if=none,id=medium,media=cdrom,readonly=on,file=/files/$FILE"
            -device virtio-scsi-pci -device "scsi-cd,drive=medium,bootindex=0") ;;
    esac
    if [[ $FIRMWARE != uefi-arm64 && ${PROVE_ACCEL:-tcg} == kvm ]]; then args+=(-accel kvm -cpu host)
    else args+=(-accel tcg -cpu max); fi
    "$emulator" "${args[@]}" </dev/null &
    MACHINE=$!
    CHILDREN+=("$MACHINE")
}

# The machine starts stopped: its cable is in the bridge, and the dead card's is out, before it looks.
let_go() {
    local n
    for ((n = 0; n < 600; n++)); do [[ -S $WORK/monitor && ( $LINK != prove || -e /sys/class/net/tap0 ) ]] && break; sleep 0.1; done
    [[ $LINK != prove ]] || { ip link set tap0 master prove && ip link set tap0 up; } || exit 1
    perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un(shift)) or die "monitor: $!\n";
        syswrite $s, shift; sysread $s, my $answer, 4096; sleep 1' \
        "$WORK/monitor" "${PROVE_DEAD:+set_link dead off$'\n'set_link deadcard off$'\n'}cont"$'\n'
}

make_network
start_dhcp >&2 & CHILDREN+=($!)
[[ $LINK == prove || $KIND != net ]] || { answer untagged "$UNTAGGED.50,$UNTAGGED.90" "$UNTAGGED.1" >&2 & CHILDREN+=($!); }
start_http >&2 & CHILDREN+=($!)
start_machine
let_go
shown=0
for ((n = 0; n < ${PROVE_SECONDS:-120} * 4; n++)); do
    if [[ -s $WORK/requests ]]; then
        tail -n "+$((shown + 1))" "$WORK/requests" | sed 's/^/request: /' >&2
        shown=$(wc -l <"$WORK/requests")
        { [[ -n ${PROVE_ANY:-} ]] || grep -q '/boot/' "$WORK/requests"; } && { sleep 1; exit 0; }
    fi
    kill -0 "$MACHINE" 2>/dev/null || { say "the machine ended"; exit 1; }
    sleep 0.25
done
say "no boot script was asked for in ${PROVE_SECONDS:-120} s"
exit 1
