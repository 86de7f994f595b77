"""Adapter: DHCP datagrams out of a link and into it, by the tftp image's wire.pl; needs CAP_NET_RAW in a container."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rackctl.adapters.proc import run
from rackctl.errors import ConfigError, EngineError, ServeError

CLIENT, SERVER, PROXY = 68, 67, 4011  # RFC 2131 section 4.1; PXE 2.1 section 2.2.3


@dataclass(frozen=True)
class Datagram:
    """To send: pause in milliseconds after it; source is the source port."""

    payload: bytes
    target: str = "255.255.255.255"
    source: int = CLIENT
    port: int = SERVER
    pause: int = 0


@dataclass(frozen=True)
class Heard:
    """Seen on the link: time in seconds since 1970, when the kernel had the frame."""

    time: float
    mac: str
    source: str
    target: str
    source_port: int
    target_port: int
    payload: bytes


@dataclass(frozen=True)
class Link:
    """A network interface. up: whether it is switched on; addresses with prefix."""

    name: str
    up: bool
    carrier: bool
    addresses: tuple[str, ...]


def list_links() -> list[Link]:
    """This machine's links. Raises EngineError when `ip` is absent."""
    # The kernel takes nearly any byte in a link's name, and ip hands it on as it is.
    text = run(["ip", "-j", "address"], timeout=10, remedy="install iproute2").decode(errors="replace")
    rows = json.loads(text, strict=False)
    return [
        Link(
            row["ifname"],
            "UP" in row["flags"],
            "LOWER_UP" in row["flags"],
            tuple(f"{a['local']}/{a['prefixlen']}" for a in row["addr_info"] if a["family"] == "inet"),
        )
        for row in rows
        if row
    ]


def link_of(address: str) -> Link:
    """The link that has the address. Raises ConfigError when none has."""
    found = next((one for one in list_links() if any(a.split("/")[0] == address for a in one.addresses)), None)
    if found is None:
        raise ConfigError(
            f"server.address {address} is on no link of this machine", "rack.yml", "ip -4 addr lists them"
        )
    return found


def require_link(name: str) -> Link:
    """The link of that name. Raises ConfigError when it is absent or down."""
    links = list_links()
    found = next((one for one in links if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in links if one.name != "lo")
        raise ConfigError(f"this machine has no interface {name}", "--interface", f"one of: {names}")
    if not found.up:
        raise ConfigError(f"the interface {name} is down", name, f"ip link set {name} up; then run this again")
    return found


def exchange(image: str, link: str, datagrams: Sequence[Datagram], wait: float) -> list[Heard]:
    """Send, then listen until `wait` seconds after the last. Raises ServeError when the link cannot be used."""
    lines = "".join(f"{d.pause} {d.target} {d.source} {d.port} {d.payload.hex()}\n" for d in datagrams)
    argv = ["docker", "run", "--rm", "-i", "--network", "host", "--label", "org.rackctl.role=audit", "--read-only",
            "--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges",
            "--entrypoint", "perl", image, "/wire.pl", link, f"{wait:g}"]  # fmt: skip
    total = wait + sum(d.pause for d in datagrams) / 1000 + 30
    try:
        out = run(argv, stdin=lines.encode(), timeout=total, remedy=f"ip link show {link}")
    except EngineError as wrong:
        if "wire:" not in wrong.message:
            raise
        raise ServeError(wrong.message.split("wire: ", 1)[1], link, f"ip link show {link}") from wrong
    return [_heard(line) for line in out.decode().splitlines()]


def _heard(line: str) -> Heard:
    time, mac, source, target, source_port, target_port, *payload = line.split(" ")
    data = bytes.fromhex(payload[0]) if payload else b""
    return Heard(float(time), mac, source, target, int(source_port), int(target_port), data)
