#!/usr/bin/env bash
# Makes sure that debian:trixie-slim is there: used as it is, else pulled, else built from Debian packages
# (for a machine that reaches a Debian mirror but no image registry). Safe to run twice.
set -euo pipefail

image=debian:trixie-slim
say() { printf 'base image: %s\n' "$*"; }
die() { printf 'base image: %s\n' "$*" >&2; exit 3; }

if docker image inspect "$image" >/dev/null 2>&1; then
    say "$image is here"
    exit 0
fi
say "pulling $image (at most a minute)"
if timeout 60 docker pull -q "$image" >/dev/null 2>&1; then
    say "pulled $image"
    exit 0
fi

say "no image registry answers: building $image from Debian packages (about 20 s)"
if ! command -v mmdebstrap >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "no image registry answers, and mmdebstrap is not installed. Install mmdebstrap, or run as root on Debian or Ubuntu, or load the image yourself: docker load."
    fi
    say "installing mmdebstrap"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update >/dev/null </dev/null
    apt-get -qy install --no-install-recommends mmdebstrap >/dev/null </dev/null
fi

# The mirror is whatever apt uses on this machine.
mirror=
if command -v apt-get >/dev/null; then
    # shellcheck disable=SC2016 # $(REPO_URI) is apt's own field
    mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' || true)
    mirror=${mirrors%%$'\n'*}
fi
# Into a file first: an import from a pipe would leave an image of whatever came before a fault.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase trixie "$folder/root.tar" "${mirror:-http://ftp.debian.org/debian}"
docker import --change 'CMD ["bash"]' "$folder/root.tar" "$image" >/dev/null
say "built $image"
