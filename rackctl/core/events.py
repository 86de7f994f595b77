"""One log line in, one Event out: what the TFTP and HTTP logs say about a node.

A line gives an Event, None (known, and of no interest), or Unknown (no parser knows it: the caller counts and shows
those, so that a new wording fails loudly). A line may come from a hostile machine: nothing here raises.
"""

from __future__ import annotations

import enum
import ipaddress
import json
import math
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

MAX_LINE = 65536
MAX_TEXT = 200
MAX_CMDLINE = 4096
# iPXE and shim ask for these by themselves; that they are absent is normal.
OPTIONAL_TFTP = frozenset({"autoexec.ipxe", "revocations.efi", "revocations_sbat.efi", "shim_certificate.efi"})
OPTIONAL_CONFIG = frozenset({"vendor-data", "network-config"})
QUERY_KEYS = ("hostname", "os", "uptime", "cmdline", "uuid", "serial", "asset", "platform", "buildarch",
              "manufacturer", "product")  # fmt: skip


class Stage(enum.IntEnum):
    """How far a boot is, in boot order."""

    POWER = 0
    DHCP = 1
    LOADER = 2
    SCRIPT = 3
    KERNEL = 4
    INITRD = 5
    CONFIG = 6
    CHECKIN = 7

    @property
    def sentence(self) -> str:
        """What the machine did, for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Stage.POWER: "the machine was powered on and its firmware ran",
    Stage.DHCP: "the machine asked for an address",
    Stage.LOADER: "the machine fetched the boot loader (iPXE) by TFTP",
    Stage.SCRIPT: "iPXE fetched its boot script",
    Stage.KERNEL: "iPXE fetched the kernel",
    Stage.INITRD: "the machine fetched the initrd and the system's files",
    Stage.CONFIG: "the system fetched its configuration",
    Stage.CHECKIN: "the system is up and checked in",
}


@dataclass(frozen=True)
class Event:
    """One fact about a node. `time` is when it finished; it began at `start`. `mac` is None if only the IP is known.

    `detail["problem"]` of an event that is not ok: not-found, unreadable, interrupted (TFTP; a ROM's size probe looks
    the same), refused (DHCP), aborted (with "percent") or status (with "status").
    """

    time: float
    stage: Stage
    mac: str | None
    ip: str
    ok: bool
    detail: dict[str, str] = field(default_factory=dict)
    nbytes: int = 0
    seconds: float = 0.0

    @property
    def start(self) -> float:
        """When it began."""
        return self.time - self.seconds

    def to_json(self) -> dict[str, object]:
        """A JSON object; the stage by its lower-case name."""
        return {"time": self.time, "stage": self.stage.name.lower(), "mac": self.mac, "ip": self.ip, "ok": self.ok,
                "detail": dict(self.detail), "nbytes": self.nbytes, "seconds": self.seconds}  # fmt: skip


@dataclass(frozen=True)
class Unknown:
    """A line that no parser knows: which log, why, and its text (printable, shortened)."""

    source: str
    why: str
    text: str


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Only what can be printed without harm: no control, bidi or surrogate characters; shortened."""
    text = text[: limit * 4]
    kept = text if text.isprintable() else "".join(c for c in text if c.isprintable())
    return kept[:limit].strip()


_MAC = re.compile(r"(?:[0-9a-f]{2}([-:]))(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}", re.IGNORECASE | re.ASCII)


def parse_mac(text: str) -> str | None:
    """The MAC in colon form and lower case, or None."""
    return text.lower().replace("-", ":") if _MAC.fullmatch(text) else None


def _ip(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return clean(str(mapped or found))


def _number(value: object, most: float = 1e11) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= most and math.isfinite(value) else None


def _count(value: object) -> int | None:
    if isinstance(value, str) and len(value) <= 18 and value.isascii() and value.isdigit():
        return int(value)
    found = _number(value, 1e18)
    return None if found is None else int(found)


def _read_object(source: str, text: str | bytes) -> dict[str, object] | Unknown | None:
    """The JSON object in the line; None for an empty line."""
    if isinstance(text, bytes):
        text = text[: MAX_LINE + 1].decode("utf-8", "replace")
    if len(text) > MAX_LINE:
        return Unknown(source, "the line is too long", clean(text))
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Unknown(source, "not JSON", clean(text))
    return found if isinstance(found, dict) else Unknown(source, "not a JSON object", clean(text))


_PREFIX = re.compile(r"dnsmasq(-tftp|-dhcp)?(?:\[\d{1,10}\])?: ?(.*)", re.ASCII)
_SENT = re.compile(r"sent (.+) to (\S+)")
_FAILED = re.compile(r"failed sending (.+) to (\S+)")
_MISSING = re.compile(r"file (.+) not found for (\S+)")
_ERROR = re.compile(r"error (\d{1,5}) (.*?) ?received from (\S+)", re.ASCII)
_CANNOT = re.compile(r"cannot (?:access|read) ([^:]+): (.+)")
_DHCP = re.compile(r"(?:\d{1,10} )?(DHCP[A-Z]+|PXE|BOOTP)\([^)]{1,32}\)(?: (.*))?", re.ASCII)
_DULL = re.compile(
    r"started, |compile time options|TFTP root is|TFTP (?:single port|no blocksize)|DHCP, |DHCP packet|exiting on"
    r"|asynchronous"
    r"|warning: |read /|using |reading /|cleared cache|IPv6 |PXE |(?:\d{1,10} )?(?:available DHCP|client provides name"
    r"|vendor class|user class|tags: |requested options|next server|broadcast response|sent size"
    r"|bootfile name|server name"
    r"|PXE |DHCP|Vendor class|User class|client MAC|reply delay)"
)


def parse_tftp_line(text: str | bytes) -> Event | Unknown | None:
    """A line of logs/tftp.jsonl: dnsmasq's stderr with a time."""
    found = _read_object("tftp", text)
    if not isinstance(found, dict):
        return found
    time, line = _number(found.get("t")), found.get("line")
    if time is None or not isinstance(line, str):
        return Unknown("tftp", "no time or no line", clean(str(line) if isinstance(line, str) else ""))
    if not line.strip():
        return None
    match = _PREFIX.fullmatch(line.strip())
    if not match:
        return Unknown("tftp", "not a line of dnsmasq", clean(line))
    event = _dhcp_event(time, match[2]) or _tftp_event(time, match[2])
    if event:
        return None if event.detail.get("dull") else event
    if _is_dull(match[2]):
        return None
    return Unknown("tftp", "a wording nobody knows", clean(line))


def _is_dull(body: str) -> bool:
    return bool(_DULL.match(body) or (_DHCP.fullmatch(body) and re.search(r"DHCP(RELEASE|INFORM)\(", body))
                or ((m := _ERROR.fullmatch(body)) and m[1] in ("0", "8") and _ip(m[3]))
                or ((m := _MISSING.fullmatch(body)) and _name(m[1]) in OPTIONAL_TFTP))  # fmt: skip


def _name(path: str) -> str:
    return clean(path.rpartition("/")[2].rpartition("\\")[2])


def _tftp_event(time: float, body: str) -> Event | None:
    for pattern, problem in ((_FAILED, "interrupted"), (_SENT, ""), (_MISSING, "not-found")):
        match = pattern.fullmatch(body)
        ip = _ip(match[2]) if match else None
        if match and ip:
            if problem and _name(match[1]) in OPTIONAL_TFTP:
                return None if problem == "not-found" else Event(time, Stage.LOADER, None, ip, False, {"dull": "yes"})
            detail = {"file": clean(match[1])} | ({"problem": problem} if problem else {})
            return Event(time, Stage.LOADER, None, ip, not problem, detail)
    if match := _CANNOT.fullmatch(body):
        detail = {"file": clean(match[1]), "problem": "unreadable", "message": clean(match[2])}
        return Event(time, Stage.LOADER, None, "", False, detail)
    match = _ERROR.fullmatch(body)
    ip = _ip(match[3]) if match else None
    if match and ip and match[1] not in ("0", "8"):
        message = clean(f"TFTP error {match[1]} {match[2]}")
        return Event(time, Stage.LOADER, None, ip, False, {"problem": "interrupted", "message": message})
    return None


def _dhcp_event(time: float, body: str) -> Event | None:
    match = _DHCP.fullmatch(body)
    if not match or match[1] in ("DHCPRELEASE", "DHCPINFORM"):
        return None
    words = (match[2] or "").split(maxsplit=8)[:8]
    mac = next((m for w in words if (m := parse_mac(w))), None)
    if mac is None:
        return None
    ip = next((i for w in words if (i := _ip(w))), "")
    refused = match[1] in ("DHCPNAK", "DHCPDECLINE")
    detail = {"kind": match[1]}
    if refused:
        detail |= {"problem": "refused", "message": clean(body)}
    return Event(time, Stage.DHCP, mac, "" if refused else ip, not refused, detail)


def parse_http_line(text: str | bytes) -> Event | Unknown | None:
    """A line of logs/http.jsonl: one finished request, written by nginx."""
    found = _read_object("http", text)
    if not isinstance(found, dict):
        return found
    end, dur, ip = _number(found.get("end")), _number(found.get("dur", 0)), _ip(found.get("ip"))
    status, sent = _count(found.get("st")), _count(found.get("sent"))
    method, uri, done = found.get("m"), found.get("uri"), found.get("done")
    if not (isinstance(method, str) and isinstance(uri, str) and isinstance(done, str)) or ip is None:
        return Unknown("http", "a field is missing or of the wrong type", clean(text if isinstance(text, str) else ""))
    if end is None or dur is None or dur > end or status is None or sent is None:
        return Unknown("http", "a number is missing or wrong", clean(uri))
    path, _, query = uri.partition("?")
    path = unquote(path, errors="replace")
    fields = _query(query)
    placed = _place(path, fields) if method == "GET" or (method == "POST" and path == "/checkin") else None
    if placed is None or isinstance(placed, Unknown):
        return placed
    stage, mac = placed
    length = _count(found.get("len"))
    detail = {k: v for k in QUERY_KEYS if (v := clean(fields.get(k, ""), MAX_CMDLINE if k == "cmdline" else MAX_TEXT))}
    detail |= {"uri": clean(path), "status": str(status)[:6]}
    whole = status in (200, 206) and done == "OK" and sent == length
    ok = 200 <= status < 300 if stage is Stage.CHECKIN else whole
    if not ok:
        if stage is Stage.CONFIG and path.rpartition("/")[2] in OPTIONAL_CONFIG:
            return None
        cut = status in (200, 206) and stage is not Stage.CHECKIN
        detail["problem"] = "aborted" if cut else "status"
        if cut and length:
            detail["percent"] = str(min(100, sent * 100 // length))
    return Event(end, stage, mac, ip, ok, detail, sent, dur)


def _query(query: str) -> dict[str, str]:
    try:
        return dict(reversed(parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=100)))
    except ValueError:
        return {}


def _place(path: str, fields: dict[str, str]) -> tuple[Stage, str | None] | Unknown | None:
    """Which stage a path belongs to, and whose it is; None for what is not part of a boot."""
    asked = parse_mac(fields.get("mac", ""))
    if path == "/checkin":
        return (Stage.CHECKIN, asked) if asked else Unknown("http", "a check-in without a valid mac", clean(path))
    parts = path.split("/", 5)[1:]
    if len(parts) == 2 and parts[0] == "boot" and parts[1].endswith(".ipxe"):
        name = parts[1].removesuffix(".ipxe")
        mac = parse_mac(name) or asked
        if parse_mac(name) or name == "default":
            return Stage.SCRIPT, mac
        return Unknown("http", "a script of no known name", clean(path))
    if len(parts) >= 4 and parts[0] == "os" and parts[3]:
        stage = Stage.KERNEL if parts[3].startswith("vmlinuz") else Stage.INITRD
        return stage, parse_mac(fields.get("m", "")) or asked
    if len(parts) >= 2 and parts[0] == "config" and parts[1]:
        return Stage.CONFIG, parse_mac(parts[1][:17]) or asked
    return None
