"""Core. Event: one fact about a node, read from one log line. The parsers are tftplog and httplog.

A line gives an Event, None (known, and of no interest), or Unknown (no parser knows it: the caller counts and shows
those, so that a new wording fails loudly). A line may come from a hostile machine: no parser raises.
"""

from __future__ import annotations

import enum
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

MAX_LINE = 65536
MAX_TEXT = 200
MAX_CMDLINE = 4096
_NONE: Mapping[str, str] = MappingProxyType({})


class Stage(enum.IntEnum):
    """How far a boot is, in boot order. INVENTORY stands outside of it: a machine sends it when it likes."""

    POWER = 0
    DHCP = 1
    LOADER = 2
    SCRIPT = 3
    KERNEL = 4
    INITRD = 5
    CONFIG = 6
    CHECKIN = 7
    JOINED = 8
    INVENTORY = 9

    __hash__ = int.__hash__  # enum's own is a Python function, and stages are the keys of every boot

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
    Stage.JOINED: "the node joined its cluster",
    Stage.INVENTORY: "the machine sent its inventory",
}


class Event(NamedTuple):
    """One fact about a node. `time` is when it finished; it began at `start`. `mac` is None if only the IP is known.

    Times are seconds of the epoch on the master's clock. `detail` is shared between events: never change it.
    `detail["problem"]` of an event that is not ok: not-found, unreadable, interrupted (TFTP; a ROM's size probe looks
    the same), refused (DHCP), aborted (with "percent") or status (with "status").
    """

    time: float
    stage: Stage
    mac: str | None
    ip: str
    ok: bool
    detail: Mapping[str, str] = _NONE
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


class Unknown(NamedTuple):
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


@lru_cache(4096)
def _mac(text: str) -> str | None:
    return text.lower().replace("-", ":") if _MAC.fullmatch(text) else None


def parse_mac(text: str) -> str | None:
    """The MAC in colon form and lower case, or None."""
    return _mac(text) if len(text) == 17 else None


@lru_cache(4096)
def _address(text: str) -> str | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return clean(str(mapped or found))


def parse_ip(value: object) -> str | None:
    """The address in its shortest form, an IPv4 one also from its mapped form; None for anything else."""
    return _address(value) if isinstance(value, str) and len(value) <= 64 else None


def parse_number(value: object, most: float = 1e11) -> float | None:
    """A finite number from 0 to `most`, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= most and math.isfinite(value) else None


def parse_count(value: object) -> int | None:
    """A whole number from 0 to 1e18, from a number or from digits; None for anything else."""
    if isinstance(value, str) and len(value) <= 18 and value.isascii() and value.isdigit():
        return int(value)
    found = parse_number(value, 1e18)
    return None if found is None else int(found)


def read_object(source: str, text: str) -> dict[str, object] | Unknown | None:
    """The JSON object in the line; None for an empty line."""
    if len(text) > MAX_LINE:
        return Unknown(source, "the line is too long", clean(text))
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Unknown(source, "not JSON", clean(text))
    return found if isinstance(found, dict) else Unknown(source, "not a JSON object", clean(text))


def decode(line: bytes) -> str:
    """A line as text; of one that is too long only so much as shows that."""
    return line[: MAX_LINE + 1].decode("utf-8", "replace")
