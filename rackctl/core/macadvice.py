"""Core. What `rackctl dhcp show` says about Macs, in the syntax of each server."""

from __future__ import annotations

import json
from collections.abc import Collection

from rackctl.core.macdhcp import LIMITS, dnsmasq_lines, isc_class, silence_lines
from rackctl.core.mackea import kea_classes
from rackctl.core.macplan import make_plan
from rackctl.core.model import Rack

_SERVERS = {"dhcpd": "isc", "dnsmasq": "dnsmasq", "pihole": "dnsmasq", "kea": "kea"}
_INDENT = 6  # of the objects in Kea's client-classes


def wants_classes(rack: Rack) -> bool:
    """Whether the network's DHCP server has to answer Macs: rackctl's responder does not."""
    return not rack.mac.bsdp and any(node.is_mac and node.mac_boot == "network" for node in rack.nodes.values())


def mac_notes(rack: Rack, kind: str) -> list[str]:
    """Remarks for the head of the settings; none for a rack without Macs."""
    if rack.mac.bsdp:
        lines = ["Macs are answered by rackctl's own BSDP responder (mac: bsdp in rack.yml): they need nothing here."]
        if kind == "dhcpd":
            lines.append("Leave out `authoritative;` if you can: dhcpd then stays silent for their questions.")
        return lines
    if not wants_classes(rack):
        return []
    if rack.dhcp.mode == "proxy":
        return ["Macs: dhcp: proxy is for PXE alone. Set mac: {bsdp: true} in rack.yml, and rackctl answers them too."]
    if kind not in _SERVERS:
        return ["This router cannot answer Macs (BSDP): set mac: {bsdp: true} in rack.yml, and rackctl does."]
    return [f"Macs: {limit}." for limit in LIMITS[_SERVERS[kind]]]


def mac_classes(rack: Rack, kind: str, files: Collection[str]) -> str:
    """The classes for dhcpd, dnsmasq, Pi-hole or Kea, else nothing. Kea's objects each follow a comma.

    files: names that TFTP serves. Raises ConfigError when the icons' labels are too long.
    """
    server = _SERVERS.get(kind)
    if rack.mac.bsdp and server == "dnsmasq":
        return silence_lines()
    if server is None or not wants_classes(rack):
        return ""
    dhcp = rack.server.address if rack.dhcp.mode == "server" else None  # else the DHCP server's address is not known
    plan = make_plan(rack, ia32=any(name.endswith("-ia32.efi") for name in files), dhcp=dhcp)
    if server == "kea":
        objects = [json.dumps(one, indent=2).replace("\n", "\n" + " " * _INDENT) for one in kea_classes(plan)]
        return "".join(f",\n{' ' * _INDENT}{text}" for text in objects)
    return isc_class(plan) if server == "isc" else dnsmasq_lines(plan)


def mac_hint(rack: Rack) -> str:
    """What is left to do for the Macs of a rack that is up; empty when nothing is."""
    if not wants_classes(rack) or rack.dhcp.mode == "server":
        return ""
    return "Macs ask by BSDP: set mac: {bsdp: true} in rack.yml, or see what your DHCP server needs: rackctl dhcp show"
