"""Core. One line of logs/http.jsonl in (one finished request, written by nginx), one Event out.

Check-ins are GET or POST /checkin?mac=MAC[&state=STATE]...; STATE is `installed` (the system is on the disk), `joined`
(the node is in its cluster) or `local` (iPXE hands over to the local disk); without it the system is up.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import unquote

from rackctl.core.events import (
    MAX_CMDLINE,
    MAX_TEXT,
    Event,
    Stage,
    Unknown,
    clean,
    decode,
    parse_count,
    parse_ip,
    parse_mac,
    parse_number,
    read_object,
)  # fmt: skip

OPTIONAL_CONFIG = frozenset({"vendor-data", "network-config"})
QUERY_KEYS = ("hostname", "os", "uptime", "cmdline", "uuid", "serial", "asset", "platform", "buildarch",
              "manufacturer", "product", "state", "clock", "nic", "chip", "keys", "files", "join")  # fmt: skip
_KEPT = frozenset(QUERY_KEYS)
_TOLD = frozenset({*QUERY_KEYS, "mac", "m"})
STATES = frozenset({"installed", "joined", "local"})

# The form of nginx.conf's log_format, for lines with nothing escaped. Every other line goes the slow way.
_PLAIN = re.compile(
    r'\{"end":(\d{1,10}\.\d{1,3}),"ip":"([^"]{1,64})","port":"\d{1,5}",("m":"[A-Z]{1,16}","uri":"[^"]*","st":\d{1,3}),'
    r'"sent":(\d{1,18}),"len":"(\d{0,18})","range":"[ !#-~]*","dur":(\d{1,9}\.\d{1,3}),"done":"(OK|)","ua":"([^"]*)"\}',
    re.ASCII,
)


class _Place(NamedTuple):
    """What a request says without its bytes. transfer: a file whose every byte counts; answered: by a good status."""

    stage: Stage
    mac: str | None
    detail: dict[str, str]
    transfer: bool
    answered: bool


def parse_http_line(text: str | bytes) -> Event | Unknown | None:
    """A line of logs/http.jsonl: one finished request, written by nginx."""
    if isinstance(text, bytes):
        text = decode(text)
    line = text.rstrip("\r\n")
    plain = _PLAIN.fullmatch(line) if len(line) <= 16384 and "\\" not in line else None
    if not plain:
        return _parse_any(text)
    end, ip, asked, sent, length, dur, done, agent = plain.groups()
    time, seconds, known = float(end), float(dur), parse_ip(ip)
    # A hostile machine may send URIs of 8 kB: those are not kept.
    place = _asked(asked) if len(asked) < 512 else _asked.__wrapped__(asked)
    if known is None or seconds > time or place is False or not agent.isprintable():
        return _parse_any(text)
    if place is None or isinstance(place, Unknown):
        return place
    stage, mac, detail, transfer, answered = place
    if answered and (not transfer or (done and sent == length)):
        return Event(time, stage, mac, known, True, detail, int(sent), seconds)
    return _failed(time, seconds, known, place, int(sent), int(length) if length else None)


def _parse_any(text: str) -> Event | Unknown | None:
    """The same for any JSON object with the fields in any order."""
    found = read_object("http", text)
    if not isinstance(found, dict):
        return found
    end, dur, ip = parse_number(found.get("end")), parse_number(found.get("dur", 0)), parse_ip(found.get("ip"))
    status, sent = parse_count(found.get("st")), parse_count(found.get("sent"))
    method, uri, done = found.get("m"), found.get("uri"), found.get("done")
    if not (isinstance(method, str) and isinstance(uri, str) and isinstance(done, str)) or ip is None:
        return Unknown("http", "a field is missing or of the wrong type", clean(text))
    if end is None or dur is None or dur > end or status is None or sent is None:
        return Unknown("http", "a number is missing or wrong", clean(uri))
    place = _place(method, uri, str(status)[:6])
    if place is None or isinstance(place, Unknown):
        return place
    length = parse_count(found.get("len"))
    if place.answered and (not place.transfer or (done == "OK" and sent == length)):
        return Event(end, place.stage, place.mac, ip, True, place.detail, sent, dur)
    return _failed(end, dur, ip, place, sent, length)


def _failed(time: float, seconds: float, ip: str, place: _Place, sent: int, length: int | None) -> Event | None:
    stage, mac, detail, transfer, answered = place
    if stage is Stage.CONFIG and detail["uri"].rpartition("/")[2] in OPTIONAL_CONFIG:
        return None
    cut = transfer and answered
    detail = {**detail, "problem": "aborted" if cut else "status"}
    if cut and length:
        detail["percent"] = str(min(100, sent * 100 // length))
    return Event(time, stage, mac, ip, False, detail, sent, seconds)


@lru_cache(2048)
def _asked(words: str) -> _Place | Unknown | Literal[False] | None:
    """The place of `"m":METHOD,"uri":URI,"st":STATUS`, which machines ask for again and again.

    False for what is perhaps no JSON: a control character must be escaped there.
    """
    if not words.isprintable():
        return False
    _, _, _, method, _, _, _, uri, _, _, status = words.split('"')
    return _place(method, uri, status[1:])


def _place(method: str, uri: str, status: str) -> _Place | Unknown | None:
    """Which stage a request belongs to, and whose it is; None for what is not part of a boot."""
    path, _, query = uri.partition("?")
    path = unquote(path, errors="replace")
    if method == "PUT":
        return _inventory(path, status)
    if method != "GET" and (method != "POST" or path != "/checkin"):
        return None
    fields = _query(query)
    asked = parse_mac(fields.get("mac", ""))
    found = _checkin(path, fields, asked) if path == "/checkin" else _file(path, fields, asked)
    if found is None or isinstance(found, Unknown):
        return found
    stage, mac = found
    detail = {
        key: shown
        for key, value in fields.items()
        if key in _KEPT and (shown := clean(value, MAX_CMDLINE if key == "cmdline" else MAX_TEXT))
    }
    if path != "/checkin" or detail.get("state") not in STATES:
        detail.pop("state", None)
    transfer = path != "/checkin"
    answered = status in ("200", "206") if transfer else len(status) == 3 and status[0] == "2"
    return _Place(stage, mac, {**detail, "uri": clean(path), "status": status}, transfer, answered)


def _inventory(path: str, status: str) -> _Place | None:
    if not (path.startswith("/inventory/") and path.endswith(".json")):
        return None
    mac = parse_mac(path.removeprefix("/inventory/").removesuffix(".json"))
    detail = {"uri": clean(path), "status": status}
    return _Place(Stage.INVENTORY, mac, detail, False, len(status) == 3 and status[0] == "2") if mac else None


def _query(query: str) -> dict[str, str]:
    """The fields that a machine tells about itself; of one that is told twice the first."""
    found: dict[str, str] = {}
    for part in query.split("&", 100)[:100]:
        key, _, value = part.partition("=")
        if key in _TOLD and key not in found:
            found[key] = unquote(value.replace("+", " "), errors="replace")
    return found


def _checkin(path: str, fields: dict[str, str], asked: str | None) -> tuple[Stage, str | None] | Unknown:
    if asked is None:
        return Unknown("http", "a check-in without a valid mac", clean(path))
    state = fields.get("state", "")
    return {"joined": Stage.JOINED, "local": Stage.SCRIPT}.get(state, Stage.CHECKIN), asked


def _file(path: str, fields: dict[str, str], asked: str | None) -> tuple[Stage, str | None] | Unknown | None:
    parts = path.split("/", 5)[1:]
    # boot/KEY.ipxe, or boot/OS/KEY.ipxe from an icon of a Mac's picker
    if len(parts) in (2, 3) and parts[0] == "boot" and parts[-1].endswith(".ipxe"):
        name = parts[-1].removesuffix(".ipxe")
        mac = parse_mac(name) or asked
        if parse_mac(name) or name == "default":
            return Stage.SCRIPT, mac
        return Unknown("http", "a script of no known name", clean(path))
    if len(parts) == 2 and parts[0] == "ipxe" and parts[1].endswith(".efi"):
        return Stage.LOADER, asked  # UEFI HTTP boot
    if len(parts) >= 4 and parts[0] == "os" and parts[3]:
        stage = Stage.KERNEL if parts[3].startswith("vmlinuz") else Stage.INITRD
        return stage, parse_mac(fields.get("m", "")) or asked
    if len(parts) >= 2 and parts[0] == "config" and parts[1]:
        return Stage.CONFIG, parse_mac(parts[1][:17]) or asked
    return None
