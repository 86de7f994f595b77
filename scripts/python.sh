#!/usr/bin/env bash
# Makes sure that python3 >= 3.11 with venv is there: Debian's python3 alone cannot make a virtual environment.
# On Debian/Ubuntu as root it is installed. Safe to run twice.
set -euo pipefail

ready() { python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
die() { printf 'python: %s\n' "$*" >&2; exit 3; }

if ready; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "python3 >= 3.11 with venv is not here. Install it (Debian and Ubuntu: sudo apt-get install python3-venv), then run again."
fi
printf 'python: installing python3-venv\n'
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null </dev/null
apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends python3 python3-venv >/dev/null </dev/null
ready || die "python3 here is older than 3.11, or cannot make a virtual environment: python3 --version"
