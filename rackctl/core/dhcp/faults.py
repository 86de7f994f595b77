"""Core. What is wrong with a rack's DHCP that no single key shows: each fault with the path of the line to mend."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackctl.core.model import Rack

Path = tuple[str | int, ...]
Fault = tuple[Path, str]


def rack_subnet(rack: Rack) -> IPv4Network:
    """The rack's network: `dhcp.subnet`, else the /24 of server.address."""
    return rack.dhcp.subnet or IPv4Network(f"{rack.server.address}/24", strict=False)


def find_faults(rack: Rack) -> list[Fault]:
    """Every fault, in the order of the file's sections."""
    return [*_mode(rack), *_ranges(rack), *_routers(rack), *_macs(rack), *_reservations(rack)]


def _mode(rack: Rack) -> Iterator[Fault]:
    dhcp = rack.dhcp
    if dhcp.mode != "router" and rack.server.network == "bridge":
        yield (
            ("server", "network"),
            f"dhcp: {dhcp.mode} cannot work with network: bridge, no broadcast reaches a container there; "
            "write network: host",
        )
    if dhcp.mode == "server" and not dhcp.ranges and not any(node.address for node in rack.nodes.values()):
        yield (
            ("dhcp",),
            "dhcp: server has no address to give; add ranges: [10.0.0.100-10.0.0.199] under dhcp, "
            "or address: to the nodes",
        )
    server, subnet = IPv4Address(rack.server.address), rack_subnet(rack)
    if server not in subnet:
        yield ("dhcp", "subnet"), f"server.address {server} is not in {subnet}"
    elif dhcp.mode == "server" and not _usable(server, subnet):
        yield ("server", "address"), f"server.address {server} is no machine's in {_told(rack)}"


def _ranges(rack: Rack) -> Iterator[Fault]:
    subnet, server = rack_subnet(rack), IPv4Address(rack.server.address)
    for number, one in enumerate(rack.dhcp.ranges):
        where: Path = ("dhcp", "ranges", number)
        if one.first > one.last:
            yield where, f"range {one} runs backwards; write {one.last}-{one.first}"
        elif not (_usable(one.first, subnet) and _usable(one.last, subnet)):
            yield where, f"range {one} is not inside {_told(rack)}"
        elif server in one:
            yield where, f"range {one} holds server.address {server}; end the range before it or begin after it"
        elif rack.dhcp.router and rack.dhcp.router in one:
            yield where, f"range {one} holds the router {rack.dhcp.router}; end the range before it or begin after it"
    for (_, one), (number, other) in combinations(enumerate(rack.dhcp.ranges), 2):
        if one.first <= other.last and other.first <= one.last:
            yield ("dhcp", "ranges", number), f"range {other} overlaps {one}; join them or part them"


def _routers(rack: Rack) -> Iterator[Fault]:
    subnet = rack_subnet(rack)
    if rack.dhcp.router and not _usable(rack.dhcp.router, subnet):
        yield ("dhcp", "router"), f"router {rack.dhcp.router} is not inside {_told(rack)}"
    for target, via in rack.dhcp.routes.items():
        if target.prefixlen == 0 and rack.dhcp.router:
            yield (
                ("dhcp", "routes", str(target)),
                f"the route to {target} is what router: {rack.dhcp.router} means; keep one",
            )
        if not _usable(via, subnet):
            yield ("dhcp", "routes", str(target)), f"the route to {target} goes by {via}, which is not in {subnet}"


def _macs(rack: Rack) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, node in rack.nodes.items():
        if node.mac in seen:
            yield (
                ("nodes", name, "mac"),
                f"nodes {seen[node.mac]} and {name} have the same MAC {node.mac}; every card has its own",
            )
        seen.setdefault(node.mac, name)


def _reservations(rack: Rack) -> Iterator[Fault]:
    subnet, seen = rack_subnet(rack), {IPv4Address(rack.server.address): "the server"}
    if rack.dhcp.router:
        seen.setdefault(rack.dhcp.router, "the router")
    for name, node in rack.nodes.items():
        if node.address is None:
            continue
        where: Path = ("nodes", name, "address")
        inside = next((one for one in rack.dhcp.ranges if node.address in one), None)
        if not _usable(node.address, subnet):
            yield where, f"address {node.address} of node {name} is not inside {_told(rack)}"
        elif node.address in seen:
            yield where, f"address {node.address} of node {name} is that of {seen[node.address]} too; choose another"
        elif inside:
            yield (
                where,
                f"address {node.address} of node {name} lies in the range {inside}, from which anybody may get it; "
                "choose one outside",
            )
        seen.setdefault(node.address, f"node {name}")


def _usable(address: IPv4Address, subnet: IPv4Network) -> bool:
    ends = (subnet.network_address, subnet.broadcast_address) if subnet.prefixlen < 31 else ()
    return address in subnet and address not in ends


def _told(rack: Rack) -> str:
    subnet = rack_subnet(rack)
    return str(subnet) if rack.dhcp.subnet else f"{subnet} (the /24 of server.address; dhcp.subnet sets another)"
