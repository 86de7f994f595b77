"""Adapter: Wake-on-LAN, sent by this process: from a container on a bridge a broadcast never leaves that bridge."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from rackctl.adapters.proc import run
from rackctl.core.power import BmcFault, Fault, Order, Outcome, Verb, Watch, failed
from rackctl.core.wol import PORT, magic_packet
from rackctl.errors import ConfigError, RackError

_EVERYWHERE = "255.255.255.255"


class Wol:
    """The driver `wol`. server: the master's address; its subnet's broadcast is used where bmc.broadcast is not set."""

    def __init__(self, server: str) -> None:
        self.server = server

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """See Driver. `on` alone can be sent, and nothing tells whether the machine heard it."""
        started, found = time.monotonic(), ""
        for order in orders:
            time.sleep(max(0.0, order.delay - (time.monotonic() - started)))
            begin = time.monotonic()
            try:
                if not order.bmc.broadcast and not found:
                    found = _broadcast_of(self.server)
                outcome = _carry_out(order, (order.bmc.broadcast or found, order.bmc.port or PORT))
            except BmcFault as fault:
                outcome = failed(order, "wol", fault.fault, fault.text)
            except ConfigError as wrong:
                outcome = failed(order, "wol", Fault.LOCAL, wrong.message)
            watch(replace(outcome, seconds=time.monotonic() - begin))


def _carry_out(order: Order, target: tuple[str, int]) -> Outcome:
    if order.verb is Verb.STATUS:
        return Outcome(order.node, order.verb, "wol", "unknown", "Wake-on-LAN cannot ask")
    if order.verb is not Verb.ON:
        raise BmcFault(Fault.UNSUPPORTED, "Wake-on-LAN can only switch on")
    _send(magic_packet(order.mac, order.secureon), target)
    text = f"magic packet for {order.mac} sent to {target[0]}, port {target[1]}; nothing answers it"
    return Outcome(order.node, order.verb, "wol", "sent", text)


def _send(packet: bytes, target: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            sock.sendto(packet, target)
        except OSError as wrong:
            raise BmcFault(Fault.LOCAL, f"{target[0]}: {wrong.strerror or wrong}") from wrong


def _broadcast_of(address: str) -> str:
    """The broadcast address of the subnet that has this address; a limited broadcast when it cannot be told."""
    try:
        links = json.loads(run(["ip", "-j", "-4", "addr"], timeout=5))
    except (RackError, ValueError):
        return _EVERYWHERE
    for link in links:
        for one in link.get("addr_info", ()):
            if one.get("local") == address:
                # Not what is noted there as `broadcast`, which addresses that were set by hand often lack.
                net = ipaddress.IPv4Network(f"{address}/{one['prefixlen']}", strict=False)
                return str(net.broadcast_address) if net.prefixlen < 31 else _EVERYWHERE
    return _EVERYWHERE
