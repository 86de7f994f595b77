"""Core. The tftp container's dnsmasq.conf: TFTP always, and ProxyDHCP or the rack's whole DHCP when rack.yml asks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from rackctl.core.dhcp.arch import USER_CLASS, Choice, choose_loaders
from rackctl.core.dhcp.faults import rack_subnet
from rackctl.core.macadvice import mac_classes

if TYPE_CHECKING:
    from rackctl.core.model import Rack

LEASES = "/logs/dhcp.leases"  # the container's root is read-only; .rackctl/logs outlives `down`


def render_dnsmasq(rack: Rack, files: Collection[str]) -> str:
    """The file; files: the loaders that TFTP serves."""
    lines = ["# Written by rackctl; rackctl up writes it again.", *_service(rack)]
    choices = choose_loaders(rack.server.address, rack.server.http_port, files)
    if rack.dhcp.mode == "proxy":
        lines += [*_proxy(rack), *_nodes(rack, rack.unknown), *_boot(rack, choices), *_strangers(choices)]
    elif rack.dhcp.mode == "server":
        lines += [*_server(rack), *_nodes(rack, rack.unknown), *_boot(rack, choices)]
        lines += mac_classes(rack, "dnsmasq", files).splitlines()
    return "\n".join(lines) + "\n"


def _service(rack: Rack) -> Iterator[str]:
    if rack.server.network == "bridge":
        yield "tftp-single-port"
        return
    yield f"listen-address={rack.server.address}"
    yield "bind-dynamic"
    # A machine with a `loader:` of its own has a folder by its MAC, where the same names hold other files: routers that
    # name one file for everybody need not change, and neither does this file, so that no transfer is cut off.
    yield "tftp-unique-root=mac"


def _proxy(rack: Rack) -> Iterator[str]:
    yield f"dhcp-range={rack.server.address},proxy"
    yield "leasefile-ro"
    yield "no-ping"
    # This makes dnsmasq listen on port 4011. No machine today is a PC-98, so nobody sees a menu: everyone else gets the
    # file in the first answer and again on 4011, for ROMs that only take it there.
    yield 'pxe-service=PC98,"rackctl",none.0'
    # iPXE with our script in it is left alone altogether, or it would load itself for ever.
    yield f"dhcp-userclass=set:rackctl,{USER_CLASS}"
    yield "dhcp-ignore=tag:rackctl"


def _server(rack: Rack) -> Iterator[str]:
    dhcp, subnet = rack.dhcp, rack_subnet(rack)
    for one in dhcp.ranges:
        yield f"dhcp-range={one.first},{one.last},{subnet.netmask},{dhcp.lease}"
    if not dhcp.ranges:
        yield f"dhcp-range={subnet.network_address},static,{subnet.netmask},{dhcp.lease}"
    yield "dhcp-authoritative"
    yield f"dhcp-leasefile={LEASES}"
    # Empty, it keeps dnsmasq from naming itself: the master routes nothing.
    yield f"dhcp-option=option:router{f',{dhcp.router}' if dhcp.router else ''}"
    if dhcp.dns:
        yield f"dhcp-option=option:dns-server,{','.join(map(str, dhcp.dns))}"
    if dhcp.ntp:
        yield f"dhcp-option=option:ntp-server,{','.join(map(str, dhcp.ntp))}"
    if dhcp.domain:
        yield f"dhcp-option=option:domain-name,{dhcp.domain}"
    if dhcp.routes:
        words = [f"{target},{via}" for target, via in dhcp.routes.items()]
        if dhcp.router:
            words.append(f"0.0.0.0/0,{dhcp.router}")  # RFC 3442: with option 121 the client ignores option 3
        yield f"dhcp-option=option:classless-static-route,{','.join(words)}"
    yield f"dhcp-userclass=set:rackctl,{USER_CLASS}"


def _nodes(rack: Rack, unknown: str) -> Iterator[str]:
    for name, node in rack.nodes.items():
        address = f"{node.address}," if node.address and rack.dhcp.mode == "server" else ""
        yield f"dhcp-host={node.mac},{address}{name}"
    if unknown == "ignore":
        yield "dhcp-ignore=tag:!known"


def _boot(rack: Rack, choices: tuple[Choice, ...]) -> Iterator[str]:
    # Broadcast answers reach a machine without an address with no entry in the ARP table, which NET_ADMIN would need.
    yield "dhcp-broadcast"
    # Some ROMs do not look for options in the header's file and sname fields.
    yield "dhcp-no-override"
    yield "dhcp-pxe-vendor=PXEClient,HTTPClient"
    for choice in choices:
        for code in choice.codes:
            yield f"dhcp-match=set:{choice.tag},option:client-arch,{code}"
    for choice in choices:
        yield f"dhcp-boot=tag:{choice.tag},tag:!rackctl,{choice.file},,{rack.server.address}"
        if choice.http and rack.dhcp.mode == "server":
            # Firmware takes an HTTP boot answer only with its own vendor class in it (UEFI 2.10 section 24.7.3.1).
            yield f"dhcp-option-force=tag:{choice.tag},option:vendor-class,HTTPClient"


def _strangers(choices: tuple[Choice, ...]) -> Iterator[str]:
    """A proxy's answer without a file would only make a machine wait that no loader suits."""
    yield "dhcp-ignore=" + ",".join(f"tag:!{choice.tag}" for choice in choices)
