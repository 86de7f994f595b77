"""Core. DHCP messages as bytes and as values (RFC 2131 section 2, RFC 2132, RFC 3396)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
SUBNET_MASK, ROUTER, DNS, HOST_NAME, VENDOR_OPTIONS, REQUESTED, LEASE, OVERLOAD = 1, 3, 6, 12, 43, 50, 51, 52
MESSAGE_TYPE, SERVER_ID, PARAMETERS, MAX_SIZE, VENDOR_CLASS, CLIENT_ID = 53, 54, 55, 57, 60, 61
TFTP_SERVER, BOOT_FILE, USER_CLASS, CLIENT_ARCH, CLIENT_NDI, CLIENT_UUID, IPXE = 66, 67, 77, 93, 94, 97, 175
BROADCAST = 0x8000
_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_NOWHERE = IPv4Address(0)
_SHOWN = 255  # characters: RFC 3396 lets an option grow to any length


@dataclass(frozen=True)
class Message:
    """One message. mac: chaddr with hardware type Ethernet; file and sname: the header's fields, as text."""

    op: int
    xid: int
    mac: str
    options: Mapping[int, bytes] = field(default_factory=dict)
    flags: int = 0
    ciaddr: IPv4Address = _NOWHERE
    yiaddr: IPv4Address = _NOWHERE
    siaddr: IPv4Address = _NOWHERE
    giaddr: IPv4Address = _NOWHERE
    sname: str = ""
    file: str = ""

    @property
    def type(self) -> int:
        """Option 53; 0 when it is absent (plain BOOTP) or empty."""
        return (self.options.get(MESSAGE_TYPE) or b"\0")[0]

    def text(self, code: int) -> str:
        """An option as text without its closing zero, only what can be printed."""
        return printable(self.options.get(code, b""))

    def address(self, code: int) -> IPv4Address | None:
        """The first address in an option."""
        raw = self.options.get(code, b"")
        return IPv4Address(raw[:4]) if len(raw) >= 4 else None


def printable(raw: bytes) -> str:
    """Bytes of the network as text that a terminal shows without harm."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    shown = "".join(c if c.isprintable() else "?" for c in text[: _SHOWN + 1])
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def encode(message: Message) -> bytes:
    """The UDP payload, padded to the 300 bytes that old relays and ROMs expect (RFC 1542 section 2.1)."""
    hardware = bytes.fromhex(message.mac.replace(":", ""))
    addresses = (message.ciaddr, message.yiaddr, message.siaddr, message.giaddr)
    head = _HEADER.pack(
        message.op, 1, 6, 0, message.xid, 0, message.flags, *(a.packed for a in addresses),
        hardware, message.sname.encode()[:63], message.file.encode()[:127],
    )  # fmt: skip
    body = b"".join(_put(code, value) for code, value in message.options.items())
    return (head + COOKIE + body + b"\xff").ljust(300, b"\0")


def _put(code: int, value: bytes) -> bytes:
    parts = [value[i : i + 255] for i in range(0, len(value), 255)] or [b""]
    return b"".join(bytes((code, len(part))) + part for part in parts)


def decode(raw: bytes) -> Message:
    """Raises ValueError for what is no DHCP message on Ethernet. Anything a network can bring is safe to pass."""
    if len(raw) < _HEADER.size + len(COOKIE):
        raise ValueError(f"{len(raw)} bytes are too short for DHCP")
    op, htype, hlen, _, xid, _, flags, ci, yi, si, gi, hardware, sname, file = _HEADER.unpack_from(raw)
    if op not in (1, 2) or htype != 1 or hlen != 6 or raw[_HEADER.size : _HEADER.size + 4] != COOKIE:
        raise ValueError("not a DHCP message on Ethernet")
    options: dict[int, bytes] = {}
    _take(raw[_HEADER.size + 4 :], options)
    overload = options.get(OVERLOAD, b"\0")[:1]
    if overload in (b"\1", b"\3"):
        _take(file, options)
        file = b""
    if overload in (b"\2", b"\3"):
        _take(sname, options)
        sname = b""
    return Message(
        op, xid, ":".join(f"{byte:02x}" for byte in hardware[:6]), options, flags,
        IPv4Address(ci), IPv4Address(yi), IPv4Address(si), IPv4Address(gi), printable(sname), printable(file),
    )  # fmt: skip


def _take(raw: bytes, options: dict[int, bytes]) -> None:
    """Options up to the end mark; an option that comes again goes on (RFC 3396)."""
    at = 0
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        if at + 2 > len(raw):
            return
        code, size = raw[at], raw[at + 1]
        options[code] = options.get(code, b"") + raw[at + 2 : at + 2 + size]
        at += 2 + size


def suboptions(raw: bytes) -> dict[int, bytes]:
    """The tags of option 43 as PXE packs them (PXE 2.1, table 2-1)."""
    found: dict[int, bytes] = {}
    _take(raw, found)
    return found
