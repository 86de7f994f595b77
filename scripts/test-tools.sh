#!/usr/bin/env bash
# The programs that tests take as a peer and that no image of ours brings: cpio. Where they cannot be had the test says so.
set -euo pipefail
command -v cpio >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test tools: cpio is not installed: its test is skipped"
    exit 0
fi
echo "test tools: installing cpio"
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
apt-get -q update >/dev/null
apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends cpio >/dev/null
