"""Core. The exact settings for the router at hand, from rack.yml. One template per kind, under compose/dhcp/."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rackctl.assets import find_asset
from rackctl.core.dhcp.arch import USER_CLASS, Choice, Firmware, choose_loaders, without_loader
from rackctl.core.dhcp.faults import rack_subnet
from rackctl.core.dhcp.settings import Range
from rackctl.core.macadvice import mac_classes, mac_notes, wants_classes
from rackctl.core.model import Rack
from rackctl.errors import ConfigError

_SPLITS = "a boot file per architecture"
_ONE = "one boot file for all"
TITLES = {
    "unifi": _ONE,
    "edgerouter": _SPLITS,
    "openwrt": _SPLITS,
    "mikrotik": _SPLITS,
    "pfsense": _SPLITS,
    "opnsense": _SPLITS,
    "dhcpd": _SPLITS,
    "kea": _SPLITS,
    "dnsmasq": _SPLITS,
    "pihole": _SPLITS,
    "windows": _SPLITS,
    "cisco": _ONE,
    "juniper": _ONE,
    "fritzbox": "cannot",
    "technitium": _ONE,
}
_ALIASES = {"usg": "edgerouter", "edgeos": "edgerouter", "udm": "unifi", "routeros": "mikrotik", "isc": "dhcpd",
            "isc-dhcpd": "dhcpd", "kea4": "kea", "pi-hole": "pihole", "windows-server": "windows", "ios": "cisco",
            "cisco-ios": "cisco", "junos": "juniper", "fritz": "fritzbox", "fritz!box": "fritzbox"}  # fmt: skip
_COMMENT = {"kea": "//", "cisco": "!"}
_KNOWS_USER_CLASS = frozenset({"openwrt", "dhcpd", "kea", "dnsmasq", "pihole"})
_BROKEN = f"A machine that sends user-class {USER_CLASS} runs our iPXE already and gets no boot file again: no loop."
_EMBEDDED = "No rule is needed against a loop: our iPXE carries its script and never uses a boot file again."


@dataclass(frozen=True)
class Loaders:
    """Names that TFTP serves. source: where they are known from, for people."""

    files: tuple[str, ...]
    source: str


def find_kind(text: str) -> str:
    """The kind that a name or an alias means. Raises ConfigError that lists the kinds."""
    word = text.lower()
    kind = _ALIASES.get(word, word)
    if kind in TITLES:
        return kind
    near = difflib.get_close_matches(word, [*TITLES, *_ALIASES], n=1)
    hint = f"; did you mean {_ALIASES.get(near[0], near[0])}?" if near else ""
    raise ConfigError(
        f"no settings are known for {text!r}{hint}", "--for", f"one of: {', '.join(TITLES)}; or dhcp: proxy in rack.yml"
    )


def render_advice(rack: Rack, kind: str, loaders: Loaders, firmware: Firmware = "uefi") -> str:
    """The settings for a kind of `find_kind`; firmware: whose file a router that knows one file gets."""
    choices = choose_loaders(rack.server.address, rack.server.http_port, loaders.files)
    by_family = {choice.family: choice.file for choice in choices}
    single, other = _single(choices, firmware)
    environment = Environment(
        loader=FileSystemLoader(find_asset("compose/dhcp")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 router settings, never HTML
    )
    return environment.get_template(f"{kind}.j2").render(
        title=TITLES[kind],
        comment=_COMMENT.get(kind, "#"),
        notes=_notes(rack, kind, loaders),
        server=rack.server.address,
        choices=choices,
        by_family=by_family,
        single=single.file if single else "(none)",
        single_title=single.title if single else "nothing",
        single_other=f"For {other.title} it is {other.file}." if other else "",
        single_bios=by_family.get("bios-x86", ""),
        user_class=USER_CLASS,
        nodes=[
            {"name": name, "mac": node.mac, "address": node.address, "client_id": _dotted_id(node.mac)}
            for name, node in rack.nodes.items()
        ],
        extra=mac_classes(rack, kind, loaders.files),
        authoritative=wants_classes(rack),
        **_network(rack),
    )


def _dotted_id(mac: str) -> str:
    """Option 61 as machines make it of their MAC (RFC 2132 section 9.14: type 1 is Ethernet), in Cisco's notation."""
    digits = "01" + mac.replace(":", "")
    return ".".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _single(choices: tuple[Choice, ...], firmware: Firmware) -> tuple[Choice | None, Choice | None]:
    """The choice for a router with one file, and the one it leaves out."""
    both = {choice.family: choice for choice in choices if choice.family in ("bios-x86", "uefi-x64")}
    bios, uefi = both.get("bios-x86"), both.get("uefi-x64")
    return (bios, uefi) if firmware == "bios" else (uefi, bios)


def _notes(rack: Rack, kind: str, loaders: Loaders) -> list[str]:
    lines = [f"The files are those of {loaders.source}."]
    lines.append(_BROKEN if kind in _KNOWS_USER_CLASS else _EMBEDDED)
    if TITLES[kind] == _SPLITS and (missing := without_loader(loaders.files)):
        names = ", ".join(f"{arch.title} ({arch.code})" for arch in missing)
        lines.append(f"No loader is built for: {names}.")
    lines += mac_notes(rack, kind)
    if rack.dhcp.mode != "router":
        lines.append(f"rack.yml says dhcp: {rack.dhcp.mode}: rackctl answers by itself, so leave the router as it is.")
    return lines


def _network(rack: Rack) -> dict[str, Any]:
    dhcp, subnet = rack.dhcp, rack_subnet(rack)
    words = [word for target, via in dhcp.routes.items() for word in (str(target), str(via))]
    if dhcp.routes and dhcp.router:
        words += ["0.0.0.0/0", str(dhcp.router)]  # RFC 3442: with option 121 the client ignores option 3
    options = [
        ("routers", str(dhcp.router) if dhcp.router else ""),
        ("domain-name-servers", ", ".join(map(str, dhcp.dns))),
        ("ntp-servers", ", ".join(map(str, dhcp.ntp))),
        ("domain-name", dhcp.domain or ""),
        ("classless-static-route", ", ".join(f"{a} - {b}" for a, b in zip(words[::2], words[1::2], strict=True))),
    ]
    return {
        "subnet": subnet,
        "ranges": dhcp.ranges,
        "excluded": _excluded(subnet, dhcp.ranges),
        "router": dhcp.router,
        "dns": dhcp.dns,
        "ntp": dhcp.ntp,
        "domain": dhcp.domain,
        "routes": dhcp.routes,
        "routes_words": words,
        "routes_bytes": encode_routes(words),
        "options": [{"name": name, "data": data} for name, data in options if data],
        "lease": dhcp.lease_seconds,
    }


def encode_routes(words: Collection[str]) -> list[int]:
    """Option 121's bytes (RFC 3442): prefix length, the significant bytes of the target, the router."""
    pairs = list(words)
    found: list[int] = []
    for target, via in zip(pairs[::2], pairs[1::2], strict=True):
        network = IPv4Network(target)
        found += [network.prefixlen, *network.network_address.packed[: (network.prefixlen + 7) // 8]]
        found += IPv4Address(via).packed
    return found


def _excluded(subnet: IPv4Network, ranges: tuple[Range, ...]) -> list[tuple[IPv4Address, IPv4Address]]:
    """What lies between the ranges: Cisco is told what not to hand out."""
    gaps, low = [], subnet.network_address + 1
    for one in sorted(ranges, key=lambda r: r.first):
        if one.first > low:
            gaps.append((low, one.first - 1))
        low = one.last + 1
    if low < subnet.broadcast_address:
        gaps.append((low, subnet.broadcast_address - 1))
    return gaps
