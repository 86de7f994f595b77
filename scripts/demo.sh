#!/usr/bin/env bash
# Two virtual machines, BIOS and UEFI, from power-off to check-in through the real services, with their timelines.
# Everything lies in demo/ and on a lab bridge of its own; the services and the bridge are gone in the end, also on Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
network=${RACKCTL_LAB:-10.98.0.1/24}
address=${network%/*}

finish() {
    status=$?
    trap - EXIT
    rackctl down --rack demo || true
    rackctl lab down || true
    exit "$status"
}

rackctl lab up
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -e demo/rack.yml ] || rackctl init demo --server "$address"
rackctl up --rack demo
rackctl status --rack demo
for firmware in bios uefi; do
    printf '\n--- %s ---\n' "$firmware"
    rackctl lab boot --rack demo --firmware "$firmware"
done
printf '\n--- nodes ---\n'
rackctl nodes --rack demo
printf '\nThe rack is in demo/: its rack.yml, and the consoles of both machines in demo/.rackctl/lab/.\n'
