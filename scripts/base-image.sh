#!/usr/bin/env bash
# Makes sure that debian:trixie-slim is there: used as it is, else pulled, else built from Debian packages
# (for a machine that reaches a Debian mirror but no image registry). Safe to run twice.
set -euo pipefail
image=debian:trixie-slim
say() { printf 'base image: %s\n' "$*"; }

docker image inspect "$image" >/dev/null 2>&1 && { say "$image is here"; exit 0; }
say "pulling $image"
timeout 60 docker pull -q "$image" >/dev/null 2>&1 && { say "pulled $image"; exit 0; }

say "no image registry answers: building $image from Debian packages (about 20 s)"
if ! command -v mmdebstrap >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { say "install mmdebstrap, then run again" >&2; exit 3; }
    DEBIAN_FRONTEND=noninteractive apt-get -q update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends mmdebstrap >/dev/null
fi
# The mirror is whatever apt uses on this machine.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -n 1)
mmdebstrap --quiet --variant=minbase trixie - "${mirror:-http://deb.debian.org/debian}" \
    | docker import --change 'CMD ["bash"]' - "$image" >/dev/null
say "built $image"
