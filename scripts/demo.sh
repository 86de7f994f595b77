#!/usr/bin/env bash
# Two virtual machines, BIOS and UEFI, from power-off to check-in through the real services, with their timelines; then
# the same firmware behind BMCs, one that speaks IPMI and one that speaks Redfish: provisioned at once, and shut down.
# Everything lies in demo/ and on a lab bridge of its own; services, BMCs and bridge are gone in the end, also on Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
network=${RACKCTL_LAB:-10.98.0.1/24}
address=${network%/*}

finish() {
    status=$?
    trap - EXIT
    [ ! -e demo/rack.yml ] || rackctl down --rack demo || true
    rackctl lab down --rack demo || true
    exit "$status"
}

rackctl lab up
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# One of another lab, or of a demo before there were BMCs.
[ ! -e demo/rack.yml ] || grep -qF "server: {address: $address," demo/rack.yml || mv demo/rack.yml demo/rack.yml.old
rackctl lab up --nodes 2 --bmc both --rack demo
rackctl up --rack demo
rackctl status --rack demo
# A busy machine without hardware virtualisation takes a minute where others take ten seconds: hence the patience.
for firmware in bios uefi; do
    printf '\n--- %s ---\n' "$firmware"
    rackctl lab boot --rack demo --firmware "$firmware" --silence 150
done
printf '\n--- virtual rack: two machines behind BMCs, by IPMI and by Redfish ---\n'
rackctl power status --all --rack demo
rackctl provision --all --rack demo
rackctl power soft --all --wait 120 --rack demo
printf '\n--- nodes ---\n'
rackctl nodes --rack demo
printf '\nThe rack is in demo/: its rack.yml, and the consoles of the first two machines in demo/.rackctl/lab/.\n'
