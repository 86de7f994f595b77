"""Core. What can be asked of a machine's power, and what comes back: an Order and an Outcome, whatever the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from rackctl.core.model import Rack
from rackctl.core.model_bmc import Bmc
from rackctl.errors import ConfigError


class Verb(StrEnum):
    """One thing to ask of a BMC."""

    STATUS = "status"
    ON = "on"
    OFF = "off"
    SOFT = "soft"
    CYCLE = "cycle"
    RESET = "reset"
    BOOTDEV = "bootdev"
    SENSORS = "sensors"
    SEL = "sel"
    SEL_CLEAR = "sel clear"
    CHECK = "check"


# The state that a machine is to reach; status and the reads have none.
GOAL: Mapping[Verb, str] = MappingProxyType(
    {Verb.ON: "on", Verb.OFF: "off", Verb.SOFT: "off", Verb.CYCLE: "on", Verb.RESET: "on"}
)


class Fault(StrEnum):
    """Why it did not work. Each has one remedy, the same for every driver."""

    LOCAL = "local"
    AUTH = "authentication"
    PRIVILEGE = "privilege"
    CIPHER = "cipher"
    TLS = "tls"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    IGNORED = "ignored"


REMEDY: Mapping[Fault, str] = MappingProxyType({
    Fault.LOCAL: "mend what is said above on this machine; no BMC was asked",
    Fault.AUTH: "compare bmc.user and bmc.password with the BMC's own; IPMI's and Redfish's users can differ",
    Fault.PRIVILEGE: "give that user ADMINISTRATOR on the BMC's LAN channel, or set bmc.privilege to what it has",
    Fault.CIPHER: "set bmc.cipher to the other of 17 and 3, or enable that suite on the BMC",
    Fault.TLS: "name the certificate: bmc.ca: FILE or bmc.fingerprint: SHA256; rackctl bmc check prints it",
    Fault.UNREACHABLE: "is the BMC plugged in, its address right, IPMI over LAN (UDP 623) or HTTPS enabled? "
                       "A BMC that restarts needs up to two minutes",
    Fault.TIMEOUT: "ask again with rackctl power status; a higher bmc.timeout helps slow BMCs; nothing was sent twice",
    Fault.BUSY: "the BMC is starting or has no session left: wait a minute, then run again",
    Fault.UNSUPPORTED: "this BMC cannot do that; its web page or another driver may",
    Fault.REFUSED: "look at the BMC's own event log: rackctl sel",
    Fault.IGNORED: "the BMC said yes and did not do it; try a newer BMC firmware, or --force for off",
})  # fmt: skip


@dataclass(frozen=True)
class Order:
    """One verb for one machine.

    password never shows in a repr. cipher_hint: the suite that worked last time. device: pxe, disk or bios, for
    bootdev. efi None leaves the firmware's choice. delay: seconds before the first packet, for a staggered start.
    """

    node: str
    mac: str
    bmc: Bmc
    verb: Verb
    password: str | None = field(default=None, repr=False)
    secureon: str | None = field(default=None, repr=False)
    cipher_hint: int | None = None
    device: str = ""
    persistent: bool = False
    efi: bool | None = None
    delay: float = 0.0

    def __post_init__(self) -> None:
        if self.verb is Verb.BOOTDEV and self.device not in ("pxe", "disk", "bios"):
            raise ConfigError(f"{self.device!r} is no boot device", remedy="pxe, disk or bios")


@dataclass(frozen=True)
class Outcome:
    """What became of one Order. state: on, off, sent or empty; rows: sensors or events; facts: what check found.

    cipher: the suite that worked, to be tried first the next time. partial: the BMC has more rows than these. seconds:
    until this was known, pauses included.
    """

    node: str
    verb: Verb
    driver: str = ""
    state: str = ""
    text: str = ""
    fault: Fault | None = None
    warnings: tuple[str, ...] = ()
    rows: tuple[Mapping[str, str], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    cipher: int | None = None
    partial: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the order was carried out."""
        return self.fault is None

    @property
    def remedy(self) -> str:
        """What to do about the fault."""
        return REMEDY[self.fault] if self.fault else ""

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "node": self.node, "verb": self.verb.value, "driver": self.driver, "ok": self.ok, "state": self.state,
            "text": self.text, "fault": self.fault.value if self.fault else None, "remedy": self.remedy,
            "warnings": list(self.warnings), "rows": [dict(row) for row in self.rows], "facts": dict(self.facts),
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


Watch = Callable[[Outcome], None]


class BmcFault(Exception):
    """What a driver raises within one order; it becomes that order's Outcome."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault
        self.text = text


class Driver(Protocol):
    """One way to reach BMCs; one module in adapters/ each."""

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """Carry out all orders side by side, calling watch once with the Outcome of each as soon as it is known.

        A BMC that fails is an Outcome with a fault. Raises RackError only when no order at all could be tried.
        """


def failed(order: Order, driver: str, fault: Fault, text: str) -> Outcome:
    """The Outcome of an order that never got as far as a driver, or failed in it."""
    return Outcome(order.node, order.verb, driver, text=text, fault=fault)


def select_nodes(rack: Rack, names: Sequence[str], group: str, everything: bool) -> tuple[str, ...]:
    """The nodes that a command is about, in rack.yml's order. Raises ConfigError when none is, or one is unknown."""
    if bool(names) + bool(group) + everything != 1:
        raise ConfigError("it is not said which machines", remedy="give names, --group NAME or --all, one of the three")
    if everything:
        chosen = set(rack.nodes)
    elif group:
        chosen = {name for name, node in rack.nodes.items() if group in node.groups}
    else:
        chosen = set(names)
        for name in names:
            if name not in rack.nodes:
                raise ConfigError(f"rack.yml has no node {name!r}", remedy="rackctl nodes lists them")
    if not chosen:
        what = f"no node of rack.yml is in the group {group!r}" if group else "rack.yml has no nodes"
        raise ConfigError(what, "rack.yml", "add groups: [NAME] to a node" if group else "add one under nodes:")
    return tuple(name for name in rack.nodes if name in chosen)


def stagger(orders: Sequence[Order], seconds: float) -> tuple[Order, ...]:
    """The same orders, each begun that much later than the one before: breakers and DHCP servers survive."""
    return tuple(replace(order, delay=number * seconds) for number, order in enumerate(orders))
