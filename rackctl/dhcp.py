"""DHCP, where several adapters meet: which loaders there are, and who answers on the wire."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from rackctl.adapters import engine, ipxe, lockfile, probe
from rackctl.adapters.dhcpwire import PROXY, Datagram, Heard, Link, exchange, link_of, require_link
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.workers import workers
from rackctl.core.dhcp.advice import Loaders
from rackctl.core.dhcp.answers import Answer, read_answers
from rackctl.core.dhcp.arch import ARCHES, arch_by_key
from rackctl.core.dhcp.audit import FileState, Problem, Scene, find_problems
from rackctl.core.dhcp.clients import CLIENTS, Client, boot_request, discover
from rackctl.core.dhcp.faults import rack_subnet
from rackctl.core.explain import Subject
from rackctl.core.load import find_line
from rackctl.core.model import Rack, parse_mac
from rackctl.core.render import render_rack
from rackctl.core.targets import needed_targets
from rackctl.errors import BusyError, ConfigError, ServeError
from rackctl.supply import CACHE

STRANGER = "02:72:61:63:6b:00"  # locally administered, so nobody's card; spells "rack"
# Seconds. Servers ping an address before they offer it: dnsmasq for 3 s, ISC dhcpd for 1 s.
PATIENCE = 5.0
_BETWEEN = 30  # milliseconds from one DISCOVER to the next: switches that police broadcasts stay calm
_LARGEST = 1 << 26  # bytes: a stranger's server chooses what comes
_READING = 20.0  # seconds for one file, likewise
_TRIES = 6  # of a second each, for the first answer of a TFTP server
_READ = 24  # files at the most: a rack has five, a hostile network names any number
_PROXIES = 8
_PINGED = 1300  # milliseconds
Report = Callable[[str], None]


@dataclass(frozen=True)
class Audit:
    """What an audit saw. link: where; mac: which machine it played."""

    link: str
    mac: str
    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]
    states: dict[tuple[str, str], FileState]


def known_loaders(folder: RackFolder, rack: Rack) -> Loaders:
    """The loaders that are served now, else those that `rackctl up` will make."""
    if served := folder.loaders():
        return Loaders(served, f"tree {folder.served_id()}, which is served now")
    lane, names = ipxe.plan_files(CACHE, rack.ipxe.source, needed_targets(rack))
    return Loaders(names, f"the {lane} lane, which rackctl up will build: nothing is served yet")


def ask(image: str, link: str, mac: str, own: str = "", wait: float = PATIENCE) -> list[Answer]:
    """Play every client on the link and return every answer; with own (this machine's address there) port 4011 too."""
    answers = _play(image, link, mac, CLIENTS, _BETWEEN, wait)
    servers = {a.server for a in answers if a.kind == "address"}
    silent = [c for c in CLIENTS if servers - {a.server for a in answers if a.client == c.key}]
    if servers and silent:
        # ISC dhcpd drops what a machine sends while it pings the address that it is about to offer it.
        known = {(a.client, a.server, a.mac, a.kind) for a in answers}
        again = _play(image, link, mac, silent, _PINGED, 2.0)
        answers += [a for a in again if (a.client, a.server, a.mac, a.kind) not in known]
    proxies = sorted({a.server for a in answers if a.kind == "proxy"})[:_PROXIES]
    if own and proxies:
        answers += _ask_proxies(image, link, mac, own, proxies)
    return answers


def _play(image: str, link: str, mac: str, clients: Sequence[Client], pause: int, wait: float) -> list[Answer]:
    base = secrets.randbelow(0x7FFF0000) + 0x8000
    sent = [Datagram(discover(c, mac, base + CLIENTS.index(c)), pause=pause) for c in clients]
    return read_answers(base, _heard(exchange(image, link, sent, wait)))


def _ask_proxies(image: str, link: str, mac: str, own: str, proxies: Sequence[str]) -> list[Answer]:
    """Port 4011 answers to the asker's own address, so this machine asks as itself."""
    base = secrets.randbelow(0x7FFF0000) + 0x8000
    address = ipaddress.IPv4Address(own)
    sent = [
        Datagram(boot_request(c, mac, base + n, address, ipaddress.IPv4Address(p)), p, port=PROXY, pause=_BETWEEN)
        for p in proxies
        for n, c in enumerate(CLIENTS)
    ]
    return [a for a in read_answers(base, _heard(exchange(image, link, sent, 1.0))) if a.kind == "4011"]


def _heard(rows: list[Heard]) -> list[tuple[float, str, str, bytes]]:
    return [(row.time, row.mac, row.source, row.payload) for row in rows]


def run_audit(
    folder: RackFolder, rack: Rack, image: str, interface: str = "", mac: str = "", wait: float = PATIENCE
) -> Audit:
    """Ask, read every named file, and judge; wait: seconds for the last answer.

    Raises ConfigError (no such link, or down) or ServeError (no carrier).
    """
    link = require_link(interface or link_of(rack.server.address).name)
    if not link.carrier:
        raise ServeError(
            f"{link.name} has no carrier: nothing is plugged in",
            link.name,
            f"check the cable; ip link show {link.name}",
        )
    played = mac or _player(rack)
    answers = ask(image, link.name, played, _own(link), wait)
    named = list(dict.fromkeys((a.boot_server, a.boot_file) for a in answers if _is_readable(a.boot_file)))
    # Side by side: a busy server is waited for, and those that are not there are no longer waited for one by one.
    with workers(_READ) as pool:
        found = pool.map(lambda one: (one, _read_state(folder, *one)), named[:_READ])
        states: dict[tuple[str, str], FileState] = dict(found)
    scene = Scene(rack, known_loaders(folder, rack).files, answers, states)
    return Audit(link.name, played, tuple(answers), tuple(find_problems(scene)), states)


def _player(rack: Rack) -> str:
    """An unknown machine, or the first node where unknown ones are ignored. It takes no lease: it sends no REQUEST."""
    if rack.unknown == "ignore" and rack.nodes:
        return next(iter(rack.nodes.values())).mac
    return STRANGER


def _own(link: Link) -> str:
    return link.addresses[0].split("/")[0] if link.addresses else ""


def _is_readable(file: str) -> bool:
    return bool(file) and ("://" not in file or file.startswith("http://"))


def _read_state(folder: RackFolder, server: str, file: str) -> FileState:
    try:
        if "://" in file:
            digest = _hash_url(file)
        else:
            address = _outside(server)
            content = probe.read_tftp(address, file, timeout=1.0, tries=_TRIES, most=_LARGEST, limit=_READING)
            digest = hashlib.sha256(content).hexdigest()
    except (ServeError, OSError, ValueError):
        return "missing"
    return "ours" if digest in folder.loader_digests() else "other"


def _hash_url(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname:
        raise ServeError("the URL names no host", url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return probe.hash_http(_outside(parts.hostname), parts.port or 80, target, _LARGEST, _READING)


def _outside(host: str) -> str:
    """The address of a host that a stranger named. Raises ServeError when no machine but this one can mean it."""
    found = ipaddress.ip_address(socket.gethostbyname(host))
    if found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local or found.is_reserved:
        raise ServeError(f"{host} is no server's address", host, "name the boot server by its address")
    return str(found)


def check_network(rack: Rack, image: str, report: Report) -> None:
    """Before `up` starts DHCP: the link is up, its subnet is the rack's, and nobody else hands out addresses.

    Raises ConfigError or BusyError.
    """
    if rack.dhcp.mode == "router":
        return
    link = require_link(link_of(rack.server.address).name)
    if rack.dhcp.mode != "server":
        return
    held = next(ipaddress.IPv4Interface(a) for a in link.addresses if a.split("/")[0] == rack.server.address)
    if held.network != rack_subnet(rack):
        raise ConfigError(
            f"dhcp: server is for {rack_subnet(rack)}, but {link.name} has {held}",
            "rack.yml",
            f"write subnet: {held.network} under dhcp, or give {link.name} an address with that prefix",
        )
    if rack.dhcp.other_servers == "allow":
        return
    report(f"asking {link.name} for other DHCP servers ({PATIENCE:g} s)")
    answers = [a for a in ask(image, link.name, STRANGER) if a.kind == "address" and a.server != rack.server.address]
    if answers:
        named = ", ".join(sorted({f"{a.server} (MAC {a.mac})" for a in answers}))
        raise BusyError(
            f"another DHCP server answers on {link.name}: {named}; two of them hand out the same addresses",
            "rack.yml",
            "switch that server off; or write dhcp: proxy, which goes beside it; or other_servers: allow under dhcp",
        )


def describe_machine(folder: RackFolder, machine: str, arch: str) -> Subject:
    """What `explain_machine` needs, read from the folder alone. Raises ConfigError for an unknown name or arch."""
    rack = folder.read_rack()
    lock = lockfile.read_lock(folder.path)
    exact: dict[tuple[str, str, str], str] = {(one.os, one.wanted, one.arch): one.version for one in lock.releases}
    try:
        mac = rack.nodes[machine].mac if machine in rack.nodes else parse_mac(machine)
    except ValueError as wrong:
        raise ConfigError(f"{machine!r} is neither a node of rack.yml nor a MAC", "explain", str(wrong)) from wrong
    wanted = arch_by_key(arch) if arch else None
    if arch and wanted is None:
        known = ", ".join(f"{one.key} ({one.code})" for one in ARCHES)
        raise ConfigError(f"no client architecture {arch!r}", "--arch", f"one of: {known}")
    loaders = known_loaders(folder, rack)
    images = dict.fromkeys(engine.SERVICES, "")
    settled = rack.with_versions(exact)
    tree = render_rack(settled, {}, dict.fromkeys(loaders.files, ""), folder.project, images, folder.catalog())
    text = (folder.path / "rack.yml").read_text()
    return Subject(settled, mac, loaders.files, loaders.source, tree.files, lambda path: find_line(text, path), wanted)
