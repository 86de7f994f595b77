"""Core. The `dhcp:` section of rack.yml."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

Mode = Literal["router", "proxy", "server"]
_LEASE = re.compile(r"[1-9]\d{0,5}[mhd]|infinite")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_SHORTEST = 120  # seconds: dnsmasq gives no shorter lease
_PREFIXES = range(8, 31)  # of a network that has room for the master, a router and a machine
INFINITE = 0xFFFFFFFF  # RFC 2131 section 3.3


class Range(BaseModel):
    """Addresses to hand out, both ends included."""

    model_config = ConfigDict(frozen=True)
    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def _range(text: object) -> object:
    if not isinstance(text, str):
        return text
    first, dash, last = text.partition("-")
    try:
        found = {"first": IPv4Address(first.strip()), "last": IPv4Address(last.strip() if dash else first.strip())}
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not a range; write it like 10.0.0.100-10.0.0.199") from wrong
    return found


def _network(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return IPv4Network(text)
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not a subnet; write it like 10.0.0.0/24 ({wrong})") from wrong


def _address(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return IPv4Address(text)
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not an IPv4 address") from wrong


def _seconds(lease: str) -> int:
    return INFINITE if lease == "infinite" else int(lease[:-1]) * _SECONDS[lease[-1]]


def _lease(text: str) -> str:
    if not _LEASE.fullmatch(text):
        raise ValueError(f"{text!r} is not a lease time; write a number and m, h or d, like 12h")
    if not _SHORTEST <= _seconds(text) <= INFINITE:
        raise ValueError(f"a lease of {text} is not possible; write 2m to 49710d, or infinite")
    return text


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text) or ".." in text:
        raise ValueError(f"{text!r} is not a domain name; write it in small letters, like rack.example")
    return text


def _has_room(network: IPv4Network) -> IPv4Network:
    if network.prefixlen not in _PREFIXES:
        raise ValueError(f"{network} is no network of machines; write its prefix too (/8 to /30), like 10.0.0.0/24")
    return network


def read_short(value: object) -> object:
    """`dhcp: proxy` is short for `dhcp: {mode: proxy}`."""
    return {"mode": value} if isinstance(value, str) else value


Address = Annotated[IPv4Address, BeforeValidator(_address)]
Subnet = Annotated[IPv4Network, BeforeValidator(_network)]
AddressRange = Annotated[Range, BeforeValidator(_range)]


class DhcpSettings(BaseModel):
    """Who answers DHCP in this rack, and what is told to the machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mode: Mode = "router"
    other_servers: Literal["refuse", "allow"] = "refuse"
    subnet: Annotated[Subnet, AfterValidator(_has_room)] | None = None
    ranges: tuple[AddressRange, ...] = ()
    router: Address | None = None
    dns: tuple[Address, ...] = ()
    ntp: tuple[Address, ...] = ()
    domain: Annotated[str, AfterValidator(_domain)] | None = None
    routes: dict[Subnet, Address] = {}
    lease: Annotated[str, AfterValidator(_lease)] = "12h"

    @property
    def lease_seconds(self) -> int:
        """The lease time in seconds."""
        return _seconds(self.lease)


DhcpSection = Annotated[DhcpSettings, BeforeValidator(read_short)]
