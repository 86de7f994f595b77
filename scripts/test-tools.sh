#!/usr/bin/env bash
# The programs that tests take as a peer and that no image of ours brings: cpio, busybox, ssh. Where they cannot be had the test says so.
set -euo pipefail
command -v cpio >/dev/null && command -v busybox >/dev/null && command -v ssh >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test tools: cpio, busybox or ssh is not installed: its test is skipped"
    exit 0
fi
echo "test tools: installing cpio, busybox and ssh"
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
apt-get -q update >/dev/null
apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends cpio busybox openssh-client >/dev/null
