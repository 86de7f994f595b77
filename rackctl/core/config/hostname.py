"""Core. A name for every machine: the script that names one that is not in rack.yml by its MAC, at boot."""

from __future__ import annotations

import re

from rackctl.core.configmodel import Hostnames

PATH = "/var/lib/rackctl/set-hostname.sh"
_SLICE = re.compile(r"\{mac(?:\[(-?\d*):(-?\d*)\])?\}")

_SCRIPT = """\
#!/bin/sh
# Names this machine by its MAC. Written by rackctl from hostnames: in rack.yml; without that section it is gone.
mac=$(tr ' ' '\\n' </proc/cmdline | sed -n 's/^BOOTIF=01-//p' | head -n 1)
if [ -z "$mac" ]; then
    for card in /sys/class/net/*; do
        [ "$(cat "$card/carrier" 2>/dev/null)" = 1 ] && [ "${{card##*/}}" != lo ] && mac=$(cat "$card/address") && break
    done
fi
digits=$(echo "$mac" | tr -d ':-' | tr A-F a-f)
case $digits in
{cases}esac
[ -n "$name" ] || exit 0
hostname "$name"
echo "$name" >/etc/hostname
# /etc/hosts may be a mount of its own, which can be written but not replaced, so no sed -i.
hosts=$(grep -v '^127\\.0\\.1\\.1[[:space:]]' /etc/hosts 2>/dev/null)
printf '%s\\n127.0.1.1\\t%s\\n' "${{hosts:-127.0.0.1 localhost}}" "$name" >/etc/hosts
! command -v ros >/dev/null 2>&1 || ros config set hostname "$name"
"""


def render_hostname_script(names: Hostnames) -> str:
    """A script for busybox' sh and any other; empty when rack.yml has no `hostnames:`.

    It sets the kernel's name, /etc/hostname, the 127.0.1.1 line of /etc/hosts and, on RancherOS, the saved config.
    """
    if not names.table and not names.pattern:
        return ""
    cases = [f"{mac.replace(':', '')}) name={name} ;;\n" for mac, name in sorted(names.table.items())]
    if names.pattern:
        cases.append(f"*) name={_shell(names.pattern)} ;;\n")
    return _SCRIPT.format(cases="".join(cases))


def _shell(pattern: str) -> str:
    def cut(found: re.Match[str]) -> str:
        first, last = _bounds(found[1], found[2])
        return f'$(echo "$digits" | cut -c {first}-{last})'

    return '"' + _SLICE.sub(cut, pattern) + '"'


def _bounds(start: str | None, end: str | None) -> tuple[int, int]:
    """Python's slice of twelve digits as cut(1) counts: from 1, both ends included."""
    first, last, _ = slice(int(start) if start else None, int(end) if end else None).indices(12)
    return first + 1, last
