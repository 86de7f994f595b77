"""Adapter: the inventories that machines sent, and who is installed: files that microhttp wrote for them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from rackctl.core.events import parse_mac
from rackctl.core.inventory import MAX_BYTES, Inventory, parse_inventory

_MOST = 4096  # more than microhttp keeps


def read_inventories(folder: Path) -> dict[str, Inventory]:
    """MAC -> Inventory, by the name of the file: what stands inside is the machine's own word."""
    found = {}
    for name in sorted(_names(folder))[:_MOST]:
        mac = parse_mac(name.removesuffix(".json"))
        if mac and name.endswith(".json") and (inventory := read_inventory(folder, mac)):
            found[mac] = inventory
    return found


def read_inventory(folder: Path, mac: str) -> Inventory | None:
    """The inventory of one machine, or None."""
    file = folder / f"{mac.replace(':', '-')}.json"
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as opened:
        return parse_inventory(opened.read(MAX_BYTES + 1))


def read_installed(folder: Path) -> frozenset[str]:
    """The MACs of the nodes that checked in as installed."""
    return frozenset(mac for name in _names(folder) if (mac := parse_mac(name)))


def forget_installed(folder: Path, mac: str) -> bool:
    """The node installs again at its next boot; False when it was not installed."""
    try:
        (folder / mac.replace(":", "-")).unlink()
    except FileNotFoundError:
        return False
    return True


def start_over(installed: Path, asked: Path, macs: Collection[str]) -> None:
    """Nodes with boot: reinstall are forgotten as installed once, when that word is new in rack.yml.

    asked: folder of a file for each MAC for which this was done.
    """
    done = {mac for name in _names(asked) if (mac := parse_mac(name))}
    for mac in done - set(macs):
        (asked / mac.replace(":", "-")).unlink(missing_ok=True)
    for mac in set(macs) - done:
        forget_installed(installed, mac)
        asked.mkdir(parents=True, exist_ok=True)
        (asked / mac.replace(":", "-")).touch()


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []
