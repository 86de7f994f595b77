"""Core. Inventory: what a machine said that it is. Everything in it is the machine's word, cleaned and bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rackctl.core.events import clean, parse_count, parse_ip, parse_mac
from rackctl.core.nics import parse_pci

MAX_BYTES = 65536  # nginx takes no more
_MAX_ROWS = 64


@dataclass(frozen=True)
class Disk:
    """One disk."""

    name: str
    model: str
    serial: str
    nbytes: int


@dataclass(frozen=True)
class Nic:
    """One network card. pci: `8086:100e` or empty; neighbour: the switch and port by LLDP, or empty."""

    name: str
    mac: str
    driver: str
    pci: str
    link: bool
    neighbour: str


@dataclass(frozen=True)
class Inventory:
    """One machine. Sizes are bytes; secure_boot is None when it cannot be known; undriven: PCI ids of cards without a
    driver in the discovery OS.
    """

    mac: str | None
    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    firmware: str = ""
    secure_boot: bool | None = None
    cpu: str = ""
    threads: int = 0
    memory: int = 0
    dimms: int = 0
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    undriven: tuple[str, ...] = ()
    bmc_address: str = ""
    bmc_firmware: str = ""

    @property
    def summary(self) -> str:
        """One line for people."""
        disks = sum(disk.nbytes for disk in self.disks)
        parts = [
            " ".join(part for part in (self.vendor, self.product) if part),
            f"serial {self.serial}" if self.serial else "",
            f"{self.threads} threads" if self.threads else "",
            f"{self.memory / 2**30:.1f} GiB" if self.memory else "",
            f"{len(self.disks)} disks {disks / 1e9:.0f} GB" if self.disks else "no disk",
            f"BMC {self.bmc_address}" if self.bmc_address else "",
        ]
        return ", ".join(part for part in parts if part)

    def nic(self, mac: str | None) -> Nic | None:
        """The card with that MAC, or None."""
        return next((nic for nic in self.nics if nic.mac == mac), None)

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return asdict(self)


def parse_inventory(data: bytes) -> Inventory | None:
    """None for what is no inventory. Never raises: fields of a wrong type are left out."""
    if len(data) > MAX_BYTES:
        return None
    try:
        found = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    system, bios, cpu = _map(found, "system"), _map(found, "bios"), _map(found, "cpu")
    memory, bmc, secure = _map(found, "memory"), _map(found, "bmc"), _map(found, "bios").get("secure_boot")
    return Inventory(
        mac=parse_mac(_text(found, "mac")),
        vendor=_text(system, "vendor"),
        product=_text(system, "product"),
        serial=_text(system, "serial"),
        uuid=_text(system, "uuid"),
        firmware=_text(bios, "mode"),
        secure_boot=secure if isinstance(secure, bool) else None,
        cpu=_text(cpu, "model"),
        threads=parse_count(cpu.get("threads")) or 0,
        memory=parse_count(memory.get("bytes")) or 0,
        dimms=len(_rows(memory, "dimms")),
        disks=tuple(
            Disk(_text(row, "name"), _text(row, "model"), _text(row, "serial"), parse_count(row.get("bytes")) or 0)
            for row in _rows(found, "disks")
        ),
        nics=tuple(_nic(row) for row in _rows(found, "nics")),
        undriven=tuple(pci for row in _rows(found, "undriven") if (pci := parse_pci(_text(row, "pci")))),
        bmc_address=parse_ip(bmc.get("address")) or "",
        bmc_firmware=_text(bmc, "firmware"),
    )


def _nic(row: Mapping[str, object]) -> Nic:
    near = _map(row, "neighbour")
    neighbour = " ".join(text for key in ("system", "port", "chassis") if (text := _text(near, key)))
    return Nic(
        _text(row, "name"),
        parse_mac(_text(row, "mac")) or "",
        _text(row, "driver"),
        parse_pci(_text(row, "pci")) or "",
        row.get("link") is True,
        neighbour,
    )


def _map(found: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _rows(found: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = found.get(key)
    return [row for row in value[:_MAX_ROWS] if isinstance(row, dict)] if isinstance(value, list) else []


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    return clean(value, 100) if isinstance(value, str) else ""
