#!/usr/bin/env bash
# Makes sure that a Docker engine >= 23 with compose v2 and buildx answers. Safe to run twice.
# An engine that runs is used as it is; on Debian/Ubuntu as root one is installed and started.
set -euo pipefail

say() { printf 'engine: %s\n' "$*"; }
die() { printf 'engine: %s\n' "$*" >&2; exit 3; }

version_ok() {
    local version
    version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || return 1
    [ "${version%%.*}" -ge 23 ] && docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1
}

start_engine() {
    command -v dockerd >/dev/null || return 1
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        # No systemd (containers, CI): a session of its own, so that it outlives this script.
        say "starting dockerd (log: /var/log/rackctl-dockerd.log)"
        setsid dockerd >>/var/log/rackctl-dockerd.log 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do docker info >/dev/null 2>&1 && return 0; sleep 0.5; done
    return 1
}

# Debian bookworm's own engine (20.10) has no compose v2: trixie's comes from the same mirror, pinned at 50 so that
# nothing else moves. bookworm's package goes first, or trixie's would pull a new runc and with it a new libc.
install_on_bookworm() {
    local from=/etc/apt/sources.list.d/debian.sources
    if [ -e "$from" ]; then
        awk 'BEGIN{RS="";ORS="\n\n"} !/security/' "$from" | sed -E 's/^Suites:.*/Suites: trixie/' \
            >/etc/apt/sources.list.d/rackctl-trixie.sources
    else
        sed -nE 's/^(deb .*) bookworm (.*)$/\1 trixie \2/p' /etc/apt/sources.list | head -n 1 \
            >/etc/apt/sources.list.d/rackctl-trixie.list
    fi
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 50\n' >/etc/apt/preferences.d/rackctl-trixie
    apt-get -q update >/dev/null
    say "installing docker.io from bookworm, then the newer engine from trixie"
    apt-get -qy install --no-install-recommends docker.io iptables >/dev/null
    apt-get -qy install -t trixie --no-install-recommends docker.io docker-cli docker-compose docker-buildx >/dev/null
}

install_engine() {
    [ "$(id -u)" = 0 ] || die "no Docker engine answers and this is not root. Install Docker >= 23 with compose v2 and buildx, or run again as root."
    [ -r /etc/os-release ] && . /etc/os-release
    export DEBIAN_FRONTEND=noninteractive
    case "${ID:-}:${VERSION_CODENAME:-}" in
        debian:bookworm) install_on_bookworm ;;
        debian:*) apt-get -q update >/dev/null; say "installing docker.io"; apt-get -qy install --no-install-recommends docker.io docker-cli docker-compose docker-buildx iptables >/dev/null ;;
        ubuntu:*) apt-get -q update >/dev/null; say "installing docker.io"; apt-get -qy install --no-install-recommends docker.io docker-compose-v2 docker-buildx iptables >/dev/null ;;
        *) die "no Docker engine answers on ${PRETTY_NAME:-this system}. Install Docker >= 23 with compose v2 and buildx (https://docs.docker.com/engine/install/), then run again." ;;
    esac
}

version_ok || { start_engine && version_ok; } || { install_engine; version_ok || start_engine; }
version_ok || die "the engine does not answer, or is older than 23, or lacks compose v2 or buildx: docker version; docker compose version; docker buildx version. Log: /var/log/rackctl-dockerd.log"
say "Docker $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short), buildx ready"
