"""Core. One line of logs/tftp.jsonl in (dnsmasq's stderr with a time), one Event out: DHCP and TFTP."""

from __future__ import annotations

import re
from functools import lru_cache

from rackctl.core.events import (
    Event,
    Stage,
    Unknown,
    clean,
    decode,
    parse_ip,
    parse_mac,
    parse_number,
    read_object,
)  # fmt: skip

# iPXE and shim ask for these by themselves; that they are absent is normal.
OPTIONAL_TFTP = frozenset({"autoexec.ipxe", "revocations.efi", "revocations_sbat.efi", "shim_certificate.efi"})

_PXELINUX_PROBE = re.compile(r"/pxelinux\.cfg/[0-9A-Fa-f-]{1,36}$", re.ASCII)

# The form that entry.sh writes, with nothing escaped: nine lines in ten. Every other line goes the slow way.
_PLAIN = re.compile(r'\{"t":(\d{1,10}\.\d{1,9}),"line":"([^"]{0,4096})"\}', re.ASCII)
_PREFIX = re.compile(r"dnsmasq(-tftp|-dhcp)?(?:\[\d{1,10}\])?: ?(.*)", re.ASCII)
_SENT = re.compile(r"sent (.+) to (\S+)")
_FAILED = re.compile(r"failed sending (.+) to (\S+)")
_MISSING = re.compile(r"file (.+) not found for (\S+)")
_ERROR = re.compile(r"error (\d{1,5}) (.*?) ?received from (\S+)", re.ASCII)
_CANNOT = re.compile(r"cannot (?:access|read) ([^:]+): (.+)")
_DHCP = re.compile(r"(?:\d{1,10} )?(DHCP[A-Z]+|PXE|BOOTP)\([^)]{1,32}\)(?: (.*))?", re.ASCII)
_DULL = re.compile(
    r"started, |compile time options|TFTP root is|TFTP (?:single port|no blocksize)|DHCP, |DHCP packet|exiting on"
    r"|asynchronous|unsupported request from |no address range available for "
    r"|warning: |read /|using |reading /|cleared cache|IPv6 |PXE |(?:\d{1,10} )?(?:available DHCP|client provides name"
    r"|vendor class|user class|tags: |requested options|next server|broadcast response|sent size"
    r"|bootfile name|server name"
    r"|PXE |DHCP|Vendor class|User class|client MAC|reply delay)"
)


def parse_tftp_line(text: str | bytes) -> Event | Unknown | None:
    """A line of logs/tftp.jsonl: dnsmasq's stderr with a time."""
    if isinstance(text, bytes):
        text = decode(text)
    bare = text.rstrip("\r\n")
    # Asked of the whole line at once: a pattern that excludes escapes itself looks at each character in a set.
    plain = _PLAIN.fullmatch(bare) if "\\" not in bare and bare.isprintable() else None
    if plain:
        time, line = float(plain[1]), plain[2]
    else:
        found = read_object("tftp", text)
        if not isinstance(found, dict):
            return found
        number, body = parse_number(found.get("t")), found.get("line")
        if number is None or not isinstance(body, str):
            return Unknown("tftp", "no time or no line", clean(body if isinstance(body, str) else ""))
        time, line = number, body
    # What a machine causes at each boot is the same text but for the time.
    said = _read_line(line) if len(line) < 256 else _read_line.__wrapped__(line)
    return Event(time, *said) if isinstance(said, tuple) and not isinstance(said, Unknown) else said


_Said = tuple[Stage, str | None, str, bool, dict[str, str]]  # an Event without its time


@lru_cache(2048)
def _read_line(line: str) -> _Said | Unknown | None:
    line = line.strip()
    if not line:
        return None
    match = _PREFIX.fullmatch(line)
    if not match:
        return Unknown("tftp", "not a line of dnsmasq", clean(line))
    body = match[2]
    said = _read_dhcp(body) or _read_tftp(body)
    if said:
        return None if said[4].get("dull") else said
    if _is_dull(body):
        return None
    return Unknown("tftp", "a wording nobody knows", clean(line))


def _is_dull(body: str) -> bool:
    return bool(_DULL.match(body) or (_DHCP.fullmatch(body) and re.search(r"DHCP(RELEASE|INFORM)\(", body))
                or ((m := _ERROR.fullmatch(body)) and m[1] in ("0", "8") and parse_ip(m[3]))
                or ((m := _MISSING.fullmatch(body)) and _is_optional(m[1])))  # fmt: skip


def _name(path: str) -> str:
    return clean(path.rpartition("/")[2].rpartition("\\")[2])


def _is_optional(path: str) -> bool:
    # pxelinux asks for a file of this machine's UUID, MAC and each prefix of its address before `default`.
    return _name(path) in OPTIONAL_TFTP or bool(_PXELINUX_PROBE.search(path))


def _read_tftp(body: str) -> _Said | None:
    for pattern, problem in ((_SENT, ""), (_FAILED, "interrupted"), (_MISSING, "not-found")):
        match = pattern.fullmatch(body)
        ip = parse_ip(match[2]) if match else None
        if match and ip:
            if problem and _is_optional(match[1]):
                return None if problem == "not-found" else (Stage.LOADER, None, ip, False, {"dull": "yes"})
            detail = {"file": clean(match[1])} | ({"problem": problem} if problem else {})
            return Stage.LOADER, None, ip, not problem, detail
    if match := _CANNOT.fullmatch(body):
        detail = {"file": clean(match[1]), "problem": "unreadable", "message": clean(match[2])}
        return Stage.LOADER, None, "", False, detail
    match = _ERROR.fullmatch(body)
    ip = parse_ip(match[3]) if match else None
    if match and ip and match[1] not in ("0", "8"):
        message = clean(f"TFTP error {match[1]} {match[2]}")
        return Stage.LOADER, None, ip, False, {"problem": "interrupted", "message": message}
    return None


def _read_dhcp(body: str) -> _Said | None:
    match = _DHCP.fullmatch(body)
    if not match or match[1] in ("DHCPRELEASE", "DHCPINFORM"):
        return None
    words = (match[2] or "").split(maxsplit=8)[:8]
    mac = next((m for w in words if (m := parse_mac(w))), None)
    if mac is None:
        return None
    ip = next((i for w in words if w != mac and (i := parse_ip(w))), "")
    refused = match[1] in ("DHCPNAK", "DHCPDECLINE")
    detail = {"kind": match[1]}
    if refused:
        detail |= {"problem": "refused", "message": clean(body)}
    return Stage.DHCP, mac, "" if refused else ip, not refused, detail
