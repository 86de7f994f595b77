"""Core. The virtual rack: its machines, what their BMCs are told, and the rack.yml that works with them."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rackctl.errors import ConfigError

MOST = 20
USER = "lab"
SECRET = "secrets/lab-bmc"  # noqa: S105 the file's name
_BMC_PORT = 6230
_CONSOLE_PORT = 7230
REDFISH_PORT = 8000
_SPACE = uuid.UUID("6f0f2f0e-0f3c-5d4b-9d0a-7261636b6374")  # a name space of our own (RFC 9562 section 5.5)

_RACK = """\
# A virtual rack: `rackctl lab up --nodes {count}` made it, and its BMCs answer as long as it is up.
server: {{address: {address}, http_port: {port}}}

os: {{name: discovery}}

bmc: {{{bmc}, address: {address}, user: {user}, password: {secret}}}

nodes:
"""
# The BMCs share the master's processors with the machines: it is a while until they answer.
_IPMI = "driver: ipmi, cipher: 3, timeout: 30"
_REDFISH = f"driver: redfish, port: {REDFISH_PORT}, tls: false, timeout: 30"
_SYSTEM = "/redfish/v1/Systems/"
_NODE = '  {name}: {{mac: "{mac}", firmware: {firmware}, groups: [lab], bmc: {{{bmc}}}}}\n'


class Protocol(StrEnum):
    """How rack.yml reaches the BMCs; BOTH: one machine by IPMI, the next by Redfish."""

    IPMI = "ipmi"
    REDFISH = "redfish"
    BOTH = "both"


@dataclass(frozen=True)
class LabNode:
    """One virtual machine. address: where its BMC answers; console: host:port of its serial line."""

    name: str
    mac: str
    firmware: str
    uuid: str
    serial: str
    address: str
    port: int
    console: str


def plan_nodes(count: int, address: str) -> tuple[LabNode, ...]:
    """`count` machines, BIOS and UEFI by turns, behind BMCs at the lab's address. Raises ConfigError."""
    if not 1 <= count <= MOST:
        raise ConfigError(f"{count} machines are not possible", "--nodes", f"1 to {MOST}")
    octets = ipaddress.IPv4Address(address).packed
    # Consoles are for the BMCs alone: an address of the loopback, another one for each lab.
    loopback = f"127.{octets[1]}.{octets[2]}.{octets[3]}"
    return tuple(
        LabNode(
            name=f"node{number}",
            mac=f"52:54:00:{octets[1]:02x}:{octets[2]:02x}:{number:02x}",
            firmware=("bios", "uefi")[(number - 1) % 2],
            uuid=str(uuid.uuid5(_SPACE, f"{address} {number}")),
            serial=f"LAB{number:03d}",
            address=address,
            port=_BMC_PORT + number,
            console=f"{loopback}:{_CONSOLE_PORT + number}",
        )
        for number in range(1, count + 1)
    )


def render_lab_rack(nodes: Sequence[LabNode], http_port: int, protocol: Protocol = Protocol.IPMI) -> str:
    """A rack.yml for these machines, reached by IPMI, Redfish, or one and the other. Their passwords are not in it."""
    head = _RACK.format(
        count=len(nodes), address=nodes[0].address, port=http_port, user=USER, secret=SECRET,
        bmc=_REDFISH if protocol is Protocol.REDFISH else _IPMI,
    )  # fmt: skip
    lines = []
    for number, node in enumerate(nodes):
        bmc = f"port: {node.port}"
        if protocol is Protocol.REDFISH:
            bmc = f"system: {_SYSTEM}{node.uuid}"
        elif protocol is Protocol.BOTH and number % 2:
            bmc = f"{_REDFISH}, system: {_SYSTEM}{node.uuid}"
        lines.append(_NODE.format(name=node.name, mac=node.mac, firmware=node.firmware, bmc=bmc))
    return head + "".join(lines)


def render_machine(node: LabNode, network: Mapping[str, str], memory: int) -> str:
    """machine.env, as compose/lab/chassis.sh reads it. network: LAB_BRIDGE and LAB_ADDRESS; memory: MiB."""
    named = {
        "BMC_ADDRESS": node.address, "BMC_PORT": node.port, "BMC_USER": USER, "LAB_MAC": node.mac,
        "LAB_FIRMWARE": node.firmware, "LAB_UUID": node.uuid, "LAB_SERIAL": node.serial, "LAB_MEMORY": memory,
        "LAB_CONSOLE": node.console, "LAB_SERVER": node.address, **network,
    }  # fmt: skip
    return "".join(f"{key}={value}\n" for key, value in named.items())
