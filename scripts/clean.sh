#!/usr/bin/env bash
# Removes the project's own containers and images (by their label), the labs' bridges (by name) and demo/; nothing else.
# Docker, what was downloaded (~/.cache/rackctl) and every other rack folder stay. Safe to run twice.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'clean: %s\n' "$*"; }
label=label=org.rackctl.role

if docker info >/dev/null 2>&1; then
    mapfile -t containers < <(docker ps -aq --filter "$label")
    if [ "${#containers[@]}" -gt 0 ]; then
        say "removing ${#containers[@]} containers"
        docker rm -f "${containers[@]}" >/dev/null
    fi
    mapfile -t networks < <(docker network ls -q --filter "$label")
    if [ "${#networks[@]}" -gt 0 ]; then
        say "removing ${#networks[@]} networks"
        docker network rm "${networks[@]}" >/dev/null
    fi
    mapfile -t images < <(docker images -q --filter "$label" | sort -u)
    if [ "${#images[@]}" -gt 0 ]; then
        say "removing ${#images[@]} images"
        docker rmi -f "${images[@]}" >/dev/null || say "some images are in use by containers of yours and stay"
    fi
else
    say "no Docker engine answers: there are no containers to remove"
fi

# The lab's bridge is rackctl-lab, or rackctl and its address in hex when RACKCTL_LAB named another.
if command -v ip >/dev/null; then
    mapfile -t bridges < <(ip -o link show type bridge | sed -nE 's/^[0-9]+: (rackctl-lab|rackctl[0-9a-f]{8}):.*/\1/p')
    for bridge in "${bridges[@]}"; do
        say "removing the bridge $bridge"
        ip link del "$bridge" || say "$bridge stays: run again as root"
    done
fi

rm -rf demo
say "done"
