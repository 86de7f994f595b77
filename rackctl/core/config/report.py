"""Core. What a machine tells the master once it is up: the script that checks in, and which systems can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackctl.core.configmodel import Join
from rackctl.core.events import Stage

if TYPE_CHECKING:
    from rackctl.core.catalog import Entry
    from rackctl.core.model import Rack

PATH = "/var/lib/rackctl/checkin.sh"
UNIT_NAME = "rackctl-checkin.service"
# Not oneshot: a unit of that type would hold up the rest of the boot while the script waits for the cluster.
UNIT = f"""\
[Unit]
Description=check-in with rackctl's master
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=/bin/sh {PATH}

[Install]
WantedBy=multi-user.target
"""
INSTALLED = f"sh /target{PATH} installed >/dev/null 2>&1 || true"  # in an installer, which has the system at /target
BACKGROUND = f"sh {PATH} >/dev/null 2>&1 &"
# Talos runs no scripts; of openSUSE rackctl renders no AutoYaST profile.
_SILENT = frozenset({"none", "talos", "autoyast"})

_SCRIPT = """\
#!/bin/sh
# Tells the master that this machine is up. Written by rackctl; it holds no secret and never fails a boot.
# With the word `installed`, from an installer: that the system is on the disk.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin
export PATH
server={base}
mac={mac}
here=${{0%/*}}

get() {{
    if command -v curl >/dev/null 2>&1; then
        curl -fs -m 10 -o /dev/null "$1"
    elif wget --version 2>/dev/null | grep -q GNU; then
        wget -q -T 10 -t 1 -O /dev/null "$1"
    elif command -v wget >/dev/null 2>&1; then
        # BusyBox waits 15 minutes for an answer, and -T ends its version 1.35 with a segmentation fault.
        wget -q -O /dev/null "$1" &
        asking=$!
        {{ sleep 10; kill "$asking"; }} >/dev/null 2>&1 &
        guard=$!
        wait "$asking"
        answered=$?
        kill "$guard"
        return "$answered"
    else
        # A minimal Debian has neither of them.
        bash -c 'rest=${{1#http://}}; host=${{rest%%/*}}; exec 3<>"/dev/tcp/${{host%:*}}/${{host##*:}}" || exit 1
            printf "GET /%s HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n" "${{rest#*/}}" "$host" >&3
            read -r -t 10 _ status _ <&3 && [ "$status" = 200 ]' sh "$1"
    fi
}} 2>/dev/null

tell() {{
    pause=2
    for try in 1 2 3 4 5; do
        name=$(tr -cd 'A-Za-z0-9.-' </proc/sys/kernel/hostname)
        now="uptime=$(cut -d ' ' -f 1 /proc/uptime)&clock=$(date +%s)"
        get "$server/checkin?mac=$mac&hostname=$name&os={os}&$now$1" && return 0
        [ "$try" = 5 ] || sleep "$pause"
        pause=$((pause * 2))
    done
    return 1
}}

# The discovery OS, when it plays another system, checks in by itself and tells more.
[ ! -x /bin/send-inventory ] || exit 0
# The card that it booted from; a system on the disk has that from its installer, or tells the card with the route.
[ -n "$mac" ] || mac=$(tr ' ' '\\n' </proc/cmdline | sed -n 's/^BOOTIF=01-//p' | head -n 1)
[ -n "$mac" ] || mac=$(cat "$here/mac" 2>/dev/null)
if [ -z "$mac" ]; then
    while read -r card to _; do
        [ "$to" != 00000000 ] || mac=$(cat "/sys/class/net/$card/address" 2>/dev/null)
    done </proc/net/route
fi
mac=$(echo "$mac" | tr A-F- a-f:)
[ -n "$mac" ] || exit 0

if [ "$1" = installed ]; then
    echo "$mac" >"$here/mac"
    tell '&state=installed'
    exit 0
fi
# RancherOS runs this before its console is done, and starts sshd and Docker after that.
if command -v ros >/dev/null 2>&1; then
    waited=0
    while [ ! -e /run/console-done ] && [ "$waited" -lt 60 ]; do sleep 1; waited=$((waited + 1)); done
fi
tell ''
{joined}exit 0
"""
_JOINED = """\

# Ten minutes for the cluster's agent: it downloads its images first.
joined() {{ {test}; }}
waited=0
until joined >/dev/null 2>&1; do
    [ "$waited" -lt 600 ] || exit 0
    sleep 5
    waited=$((waited + 5))
done
tell '&state=joined'
"""
# A kubelet that the control plane knows: it has a certificate of its CA, and says that it is well on its usual port.
_WELL = "get http://127.0.0.1:10248/healthz"
_TESTS = {
    "k3s": f"[ -s /var/lib/rancher/k3s/agent/client-kubelet.crt ] && {_WELL}",
    "rke2": f"[ -s /var/lib/rancher/rke2/agent/client-kubelet.crt ] && {_WELL}",
    "kubeadm": f"[ -s /var/lib/kubelet/pki/kubelet-client-current.pem ] && {_WELL}",
    "rancher": f"[ -s /etc/kubernetes/ssl/kubecfg-kube-node.yaml ] && {_WELL}",
    "docker-swarm": "docker info 2>/dev/null | grep -q 'Swarm: active'",
}


def render_report(rack: Rack, mac: str, os: str, join: Join) -> str:
    """A script for any POSIX sh. mac: of a node of rack.yml, empty for other machines; join: kind none for no joining.

    It tries five times, 2, 4, 8 and 16 seconds apart, by curl, wget or bash, whichever is there.
    """
    base = f"http://{rack.server.address}:{rack.server.http_port}"
    test = _TESTS.get(join.kind)
    return _SCRIPT.format(base=base, os=os, mac=mac, joined=_JOINED.format(test=test) if test else "")


def can_report(os: str, kind: str) -> bool:
    """Whether the script is in the config of that kind. The discovery OS checks in by itself."""
    return kind not in _SILENT and os != "discovery"


def last_stage(entry: Entry, os: str, join: Join, *, configured: bool) -> Stage:
    """The last stage that a machine of this system tells of. os: its name; configured: a config is served to it."""
    if entry.boot == "local":
        return Stage.SCRIPT
    if entry.boot == "chain":
        return Stage.INITRD
    if os == "discovery":
        return Stage.CHECKIN
    if can_report(os, entry.config.kind):
        return Stage.JOINED if join.kind in _TESTS and join.token else Stage.CHECKIN
    if configured:
        return Stage.CONFIG
    return Stage.INITRD if any(one.role == "initrd" for one in entry.artifacts) else Stage.KERNEL
