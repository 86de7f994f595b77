#!/usr/bin/env bash
# Two virtual machines, BIOS and UEFI, from power-off to check-in through the real services, with their timelines; then
# the same firmware behind BMCs, one that speaks IPMI and one that speaks Redfish: provisioned at once, and shut down.
# Everything lies in demo/ and on a lab bridge of its own; services, BMCs and bridge are gone in the end, also on Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
network=${RACKCTL_LAB:-10.98.0.1/24}
address=${network%/*}
child=''

# Bash answers no signal before its foreground program has ended: rackctl runs beside it, in a process group of its own.
set -m
rack() {
    rackctl "$@" &
    child=$!
    wait "$child"
    child=''
}

stop() {
    trap '' INT TERM # once is enough: the clean-up is to come to its end
    printf '\ndemo: stopped by SIG%s; its machines, services and bridge are taken away\n' "$1" >&2
    [ -z "$child" ] || { kill -INT -- "-$child" && wait "$child"; } || true
    exit "$2"
}

finish() {
    status=$?
    trap - EXIT
    trap '' INT TERM
    [ ! -e demo/rack.yml ] || rackctl down --rack demo || true
    rackctl lab down --rack demo || true
    exit "$status"
}

rackctl lab up
trap finish EXIT
trap 'stop INT 130' INT
trap 'stop TERM 143' TERM
# One of another lab, or of a demo before there were BMCs.
[ ! -e demo/rack.yml ] || grep -qF "server: {address: $address," demo/rack.yml || mv demo/rack.yml demo/rack.yml.old
rack lab up --nodes 2 --bmc both --rack demo
rack up --rack demo
rack status --rack demo
# A busy machine without hardware virtualisation takes a minute where others take ten seconds: hence the patience.
for firmware in bios uefi; do
    printf '\n--- %s ---\n' "$firmware"
    rack lab boot --rack demo --firmware "$firmware" --silence 150
done
printf '\n--- virtual rack: two machines behind BMCs, by IPMI and by Redfish ---\n'
rack power status --all --rack demo
rack provision --all --rack demo
rack power soft --all --wait 120 --rack demo
printf '\n--- nodes ---\n'
rack nodes --rack demo
printf '\nThe rack is in demo/: its rack.yml, and the consoles of the first two machines in demo/.rackctl/lab/.\n'
