#!/usr/bin/env bash
# Makes sure that a Docker engine >= 23 with compose v2 and buildx answers. Safe to run twice.
# An engine that runs is used as it is; on Debian/Ubuntu as root one is installed and started.
set -euo pipefail

say() { printf 'engine: %s\n' "$*"; }
die() { printf 'engine: %s\n' "$*" >&2; exit 3; }
os_release=${RACKCTL_OS_RELEASE:-/etc/os-release} # of another system, for the tests

answers() { docker info >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

version_ok() {
    local version
    version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || return 1
    [ "${version%%.*}" -ge 23 ] && docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1
}

# Quiet, with no prompt from debconf, dpkg or needrestart, and patient while another apt holds the lock.
apt_quietly() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qy -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold "$@" >/dev/null </dev/null
}

start_engine() {
    command -v dockerd >/dev/null || return 1
    is_root || return 1
    if [ -d /run/systemd/system ]; then
        say "starting the docker service"
        systemctl --no-ask-password start docker || return 1
    else
        # No systemd (containers, CI): a session of its own, so that it outlives this script.
        say "starting dockerd (log: /var/log/rackctl-dockerd.log)"
        setsid dockerd >>/var/log/rackctl-dockerd.log 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do
        if answers; then return 0; fi
        sleep 0.5
    done
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
    say "installing docker.io from bookworm, then the newer engine from trixie (about a minute)"
    apt_quietly update
    apt_quietly install --no-install-recommends docker.io iptables
    apt_quietly install -t trixie --no-install-recommends docker.io docker-cli docker-compose docker-buildx
}

install_engine() {
    # shellcheck source=/dev/null
    if [ -r "$os_release" ]; then . "$os_release"; fi
    case "${ID:-}:${VERSION_CODENAME:-}" in
        debian:bookworm) install_on_bookworm ;;
        debian:*) install_packages docker.io docker-cli docker-compose docker-buildx iptables ;;
        ubuntu:*) install_packages docker.io docker-compose-v2 docker-buildx iptables ;;
        *) die "no Docker engine answers on ${PRETTY_NAME:-this system}. Install Docker >= 23 with compose v2 and buildx (https://docs.docker.com/engine/install/), then run again." ;;
    esac
}

install_packages() {
    say "installing $* (about a minute)"
    apt_quietly update
    apt_quietly install --no-install-recommends "$@"
}

if ! version_ok && ! answers; then
    start_engine || true
fi
if ! version_ok; then
    if answers && ! dpkg -s docker.io >/dev/null 2>&1; then
        # An engine that did not come from Debian's packages is its owner's to change.
        die "the Docker engine here is older than 23, or lacks compose v2 or buildx: docker version; docker compose version; docker buildx version. Update it, then run again."
    fi
    if ! is_root; then
        die "no Docker engine >= 23 with compose v2 and buildx answers this user, who is not root. If there is one, start it (sudo systemctl start docker) and join its group (sudo usermod -aG docker \$USER); else install it, or run again as root."
    fi
    install_engine
    if ! version_ok; then start_engine || true; fi
fi
if ! version_ok; then
    die "the engine does not answer, or is older than 23, or lacks compose v2 or buildx: docker version; docker compose version; docker buildx version. Log: /var/log/rackctl-dockerd.log"
fi
say "Docker $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short), buildx ready"
