"""Adapter: the inventories that machines sent, and who is installed: files that microhttp wrote for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from rackctl.core.events import parse_mac
from rackctl.core.inventory import MAX_BYTES, Inventory, parse_inventory

MOST_BYTES = 2 << 20  # of files: what is remembered of them takes half as much again, whatever machines send


class Inventories:
    """The inventories of a folder as they are now; a file that did not change is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[tuple[int, int, int], Inventory | None]] = {}

    def read(self, first: Collection[str] = ()) -> dict[str, Inventory]:
        """MAC -> Inventory, by the name of the file: what stands inside is the machine's own word.

        Those of the MACs `first`, then the latest, until together they have MOST_BYTES.
        """
        found = []
        for entry in _entries(self.folder):
            mac = parse_mac(entry.name.removesuffix(".json")) if entry.name.endswith(".json") else None
            if mac and (info := _stat(entry)):
                found.append((mac not in first, -info.st_mtime_ns, mac, info))
        total, kept = 0, {}
        for _, _, mac, info in sorted(found, key=lambda one: one[:3]):
            total += info.st_size
            if total > MOST_BYTES:
                break
            version = (info.st_ino, info.st_mtime_ns, info.st_size)
            old = self._seen.get(mac)
            kept[mac] = old if old and old[0] == version else (version, read_inventory(self.folder, mac))
        self._seen = kept
        return {mac: inventory for mac, (_, inventory) in sorted(kept.items()) if inventory}


def read_inventory(folder: Path, mac: str) -> Inventory | None:
    """The inventory of one machine, or None."""
    file = folder / f"{mac.replace(':', '-')}.json"
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as opened:
            return parse_inventory(opened.read(MAX_BYTES + 1))
    finally:
        os.close(handle)


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
    return [entry.name for entry in _entries(folder)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # pruned meanwhile
        return None
    return found if stat.S_ISREG(found.st_mode) else None
