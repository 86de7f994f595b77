"""Core. The clients that an audit plays: what each firmware, and iPXE, sends in its DISCOVER."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from rackctl.core.dhcp import packet
from rackctl.core.dhcp.arch import USER_CLASS, Arch, arch_by_code

# What PXE ROMs and UEFI ask for; Kea and MikroTik send only what is asked for.
_WANTED = bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
                 128, 129, 130, 131, 132, 133, 134, 135, 175))  # fmt: skip
# iPXE's own option space (175): version 21.1.1 and the features HTTP, bzImage, ELF, as its ROMs send it.
_IPXE_FEATURES = bytes.fromhex("b105018680100bb0010115010119010113010121010110010112010118010101eb03010000")


@dataclass(frozen=True)
class Client:
    """One kind of client. user_class: option 77 as iPXE writes it, plain text and no length."""

    key: str
    title: str
    arch: Arch
    user_class: str = ""

    @property
    def ours(self) -> bool:
        """Whether it says that it runs our iPXE already."""
        return self.user_class == USER_CLASS


def _client(code: int, key: str = "", title: str = "", user_class: str = "") -> Client:
    arch = arch_by_code(code)
    if arch is None:
        raise KeyError(code)
    return Client(key or arch.key, title or arch.title, arch, user_class)


CLIENTS = (
    _client(0),
    _client(7),
    _client(9),
    _client(6),
    _client(11),
    _client(16),
    _client(0, "ipxe", "iPXE, not ours", "iPXE"),
    _client(0, "ipxe-rackctl", "iPXE of rackctl", USER_CLASS),
)


def discover(client: Client, mac: str, xid: int) -> bytes:
    """The client's DHCPDISCOVER. The broadcast flag is set, so that every answer can be seen on the wire."""
    return packet.encode(_message(client, mac, xid, packet.DISCOVER, IPv4Address(0), {}))


def boot_request(client: Client, mac: str, xid: int, own: IPv4Address, server: IPv4Address) -> bytes:
    """The DHCPREQUEST that a PXE client sends to port 4011 of the proxy it chose (PXE 2.1 section 2.2.3)."""
    return packet.encode(_message(client, mac, xid, packet.REQUEST, own, {packet.SERVER_ID: server.packed}))


def _message(client: Client, mac: str, xid: int, kind: int, own: IPv4Address, more: dict[int, bytes]) -> packet.Message:
    options = {
        packet.MESSAGE_TYPE: bytes((kind,)),
        packet.PARAMETERS: _WANTED,
        packet.MAX_SIZE: struct.pack("!H", 1500),
        packet.VENDOR_CLASS: client.arch.vendor_class.encode(),
        packet.CLIENT_ARCH: struct.pack("!H", client.arch.code),
        packet.CLIENT_NDI: bytes((1, 3, 16)),
        # RFC 4578 section 2.3: type 0 and 16 bytes. Made from the MAC, so that a server sees one machine.
        packet.CLIENT_UUID: b"\0" + hashlib.sha256(mac.encode()).digest()[:16],
        **more,
    }
    if client.user_class:
        options[packet.USER_CLASS] = client.user_class.encode()
        options[packet.IPXE] = _IPXE_FEATURES
    return packet.Message(1, xid, mac, options, packet.BROADCAST, ciaddr=own)
