"""Core. Network cards by PCI id: the Linux driver, and the firmware file that the driver cannot do without."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Firmware(NamedTuple):
    """What a driver loads into its card. package: Debian's (non-free-firmware); required: no link without it."""

    package: str
    required: bool
    note: str


# From each module's `modinfo -F firmware` and a start without the files.
FIRMWARE = {
    "bnx2": Firmware("firmware-bnx2", True, "the card gives no link without it"),
    "bnx2x": Firmware("firmware-bnx2x", True, "the card gives no link without it"),
    "qede": Firmware("firmware-qlogic", True, "qed loads qed_init_values before the card starts"),
    "e100": Firmware("firmware-misc-nonfree", True, "an 82551 card does not start without e100/d102e_ucode.bin"),
    "nfp": Firmware("firmware-netronome", True, "147 MB unpacked"),
    "ice": Firmware("firmware-intel-misc", False, "without ice.pkg the card runs in safe mode: one queue, no offloads"),
    "tg3": Firmware("firmware-misc-nonfree", False, "only some chips ask for tigon/*"),
    "r8169": Firmware("firmware-realtek", False, "rtl_nic/*: patches, some chips give no link without"),
    "cxgb4": Firmware("firmware-misc-nonfree", False, "the firmware in the card's flash serves as well"),
}

_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})", re.ASCII)


def parse_pci(text: str) -> str | None:
    """`8086:100e` from that, or from iPXE's ${netX/busid:hexraw} (`01` for PCI, then vendor and device); else None."""
    text = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"01[0-9a-f]{8}", text, re.ASCII):
        text = f"{text[2:6]}:{text[6:]}"
    return text if _ID.fullmatch(text) else None


def find_driver(pci: str) -> str | None:
    """The Linux driver of a card like `8086:100e`; None when Debian's kernel has none in drivers/net/ethernet."""
    return _drivers().get(pci)


@cache
def _drivers() -> dict[str, str]:
    found = {}
    for line in (Path(__file__).parent / "nics.txt").read_text().splitlines():
        if not line.startswith("#"):
            driver, vendor, *devices = line.split()
            found.update({f"{vendor}:{device}": driver for device in devices})
    return found
