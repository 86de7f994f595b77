"""Core. What came back on the wire for each client that was played: one Answer for each server and client."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from rackctl.core.dhcp import packet
from rackctl.core.dhcp.clients import CLIENTS, Client

# PXE 2.1 table 2-1: tags of option 43, and the bit of PXE_DISCOVERY_CONTROL that says "take the file of the offer".
_DISCOVERY_CONTROL, _BOOT_MENU, _MENU_PROMPT = 6, 9, 10
_USE_FILE = 8
MOST = 500  # answers of one audit: more than a broken network has, less than a flood


@dataclass(frozen=True)
class Answer:
    """One server's answer to one client. kind: address (an offer), proxy (boot only), or 4011 (a proxy's second word).

    next_server and file are the header's; option_66 and option_67 are those options. delay in seconds.
    """

    client: str
    kind: Literal["address", "proxy", "4011"]
    server: str
    mac: str
    offered: str = ""
    next_server: str = ""
    file: str = ""
    option_66: str = ""
    option_67: str = ""
    vendor_class: str = ""
    pxe_menu: bool = False
    host_name: str = ""
    delay: float = 0.0
    codes: tuple[int, ...] = field(default=())

    @property
    def boot_file(self) -> str:
        """What the client would load: option 67 where it is told, else the header's file (as EDK2 and iPXE do)."""
        return self.option_67 or self.file

    @property
    def boot_server(self) -> str:
        """Where it would load it from: siaddr, else option 66, else (PXE's rule) the server that answered."""
        return self.next_server or self.option_66 or self.server

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            **self.__dict__,
            "codes": list(self.codes),
            "boot_file": self.boot_file,
            "boot_server": self.boot_server,
        }


def read_answers(base: int, heard: Iterable[tuple[float, str, str, bytes]]) -> list[Answer]:
    """The answers to the clients whose xid is base + their place in CLIENTS, each server, card and kind once.

    heard: time in seconds, source MAC, source address, payload, in order. What is no answer of theirs is left out, and
    what comes after the first MOST of them.
    """
    found: dict[tuple[str, str, str, str], Answer] = {}
    asked: dict[int, float] = {}
    for time, mac, source, payload in heard:
        try:
            message = packet.decode(payload)
        except ValueError:
            continue
        place = message.xid - base
        if not 0 <= place < len(CLIENTS):
            continue
        if message.op == 1:
            asked.setdefault(place, time)
        elif message.type in (packet.OFFER, packet.ACK):
            answer = _answer(CLIENTS[place], message, mac, source, time - asked.get(place, time))
            if len(found) < MOST:
                found.setdefault((answer.client, answer.server, answer.mac, answer.kind), answer)
    return list(found.values())


def _answer(client: Client, message: packet.Message, mac: str, source: str, delay: float) -> Answer:
    named = message.address(packet.SERVER_ID)
    kind: Literal["address", "proxy", "4011"] = "address"
    if message.yiaddr == IPv4Address(0):
        kind = "4011" if message.type == packet.ACK else "proxy"
    return Answer(
        client=client.key,
        kind=kind,
        server=str(named) if named else source,
        mac=mac,
        offered=_shown(message.yiaddr),
        next_server=_shown(message.siaddr),
        file=message.file,
        option_66=message.text(packet.TFTP_SERVER),
        option_67=message.text(packet.BOOT_FILE),
        vendor_class=message.text(packet.VENDOR_CLASS),
        pxe_menu=_has_menu(message.options.get(packet.VENDOR_OPTIONS, b"")),
        host_name=message.text(packet.HOST_NAME),
        delay=round(max(delay, 0.0), 2),
        codes=tuple(sorted(message.options)),
    )


def _shown(address: IPv4Address) -> str:
    return "" if address == IPv4Address(0) else str(address)


def _has_menu(raw: bytes) -> bool:
    """Whether option 43 sends the client to a boot menu in place of the file."""
    tags = packet.suboptions(raw)
    control = tags.get(_DISCOVERY_CONTROL, b"\0")[:1] or b"\0"
    return not control[0] & _USE_FILE and (_BOOT_MENU in tags or _MENU_PROMPT in tags)
