"""Makes the initrd overlays of a rack: one archive per machine that wants one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import fsync
from pathlib import Path

from rackctl.adapters.fetch import Artifact, Store, fetch_file
from rackctl.adapters.fetch.apt import find_deb, open_suite
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.fetch.signatures import load_keys
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.overlay import read_file, read_folder, read_package
from rackctl.core.bootscript import DEFAULT
from rackctl.core.catalog import Catalog, Keys
from rackctl.core.cpio import Entry, flatten, pack_overlay, read_initrd
from rackctl.core.lock import LockedFile, RackLock
from rackctl.core.model import Rack, hyphenate
from rackctl.core.overlay import InitrdOverlay, choose_firmware, find_links, place_entries
from rackctl.errors import ConfigError, FetchError
from rackctl.supply import CACHE, Release

_KEYS = (Keys(keyring="debian-archive-keyring"),)


@dataclass(frozen=True)
class Overlay:
    """One machine's overlay: the name it is served by below its OS, and the file."""

    name: str
    sha256: str
    path: Path


def make_overlays(
    folder: RackFolder,
    rack: Rack,
    releases: Sequence[Release],
    lock: RackLock,
    report: Report,
    progress: Progress | None = None,
) -> tuple[dict[str, Overlay], RackLock]:
    """Machine (as in URLs) -> its overlay, and the lock with the packages that were used.

    rack: with its versions settled. Raises ConfigError, FetchError and BusyError.
    """
    found: dict[str, Overlay] = {}
    packages: dict[str, Artifact] = {}
    by_os = {(one.os, one.version, one.arch): one for one in releases}
    for node in (None, *rack.nodes.values()):
        os = rack.os_of(node)
        wanted = [one for one in rack.overlays_of(node) if not one.os or os.name in one.os]
        release = by_os.get(os.key)
        initrd = next((a for n, a in release.artifacts.items() if n == "initrd"), None) if release else None
        if not wanted or initrd is None:
            continue
        for one in wanted:
            if one.package and f"{one.suite}/{one.package}" not in packages:
                packages[f"{one.suite}/{one.package}"] = _bring_package(one, lock, report, progress)
        key = hyphenate(node.mac) if node else DEFAULT
        found[key] = _make(folder.path, wanted, packages, initrd, folder.catalog(), os.name, report)
    return found, lock.model_copy(update={"packages": {name: _locked(one) for name, one in sorted(packages.items())}})


def gather(base: Path, wanted: Iterable[InitrdOverlay], packages: dict[str, Artifact]) -> list[Entry]:
    """The entries as they are asked for, before the initrd's links are followed. base: the folder of rack.yml."""
    entries: list[Entry] = []
    for one in wanted:
        if one.file:
            entries.append(read_file(base / one.file, str(one.to), int(one.mode, 8)))
        elif one.folder:
            entries += read_folder(base / one.folder, one.to)
        else:
            chosen = choose_firmware(read_package(packages[f"{one.suite}/{one.package}"].path))
            if not chosen:
                raise ConfigError(f"the package {one.package} holds no firmware", remedy="name a firmware-* package")
            entries += chosen
    return entries


def pack_for(entries: Iterable[Entry], initrd: bytes, made_by_init: dict[str, str], where: str) -> bytes:
    """The overlay for this initrd. Raises ConfigError for paths that cannot be, FetchError for an unreadable initrd."""
    try:
        there = flatten(read_initrd(initrd))
        links = find_links(there, made_by_init)
    except ValueError as broken:
        raise FetchError(f"the initrd cannot be read: {broken}", where, "fetch it again") from broken
    try:
        folders = {name: one.mode for name, one in there.items() if one.is_folder}
        return pack_overlay(place_entries(entries, links), folders)
    except ValueError as wrong:
        raise ConfigError(str(wrong), "initrd_overlays", "mend its `to`") from wrong


def _make(
    base: Path,
    wanted: Sequence[InitrdOverlay],
    packages: dict[str, Artifact],
    initrd: Artifact,
    catalog: Catalog,
    os: str,
    report: Report,
) -> Overlay:
    entries = gather(base, wanted, packages)
    links = dict(catalog.get(os).initrd_links)
    # Reading a large initrd takes seconds: the answer is kept by all that went in.
    told = [[one.name, one.mode, hashlib.sha256(one.data).hexdigest()] for one in entries]
    key = hashlib.sha256(json.dumps([initrd.sha256, links, told]).encode()).hexdigest()
    file = CACHE / "overlays" / f"{key[:32]}.cpio.gz"
    if not file.exists():
        report(f"packing the initrd overlay for {os}: {len(entries)} entries")
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".new")
        with open(aside, "wb") as handle:
            handle.write(pack_for(entries, initrd.path.read_bytes(), links, str(initrd.path)))
            handle.flush()
            fsync(handle.fileno())  # it is taken by its name the next time, and not looked at again
        aside.rename(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Overlay(f"overlay-{digest[:12]}.cpio.gz", digest, file)


def bring_package(one: InitrdOverlay, report: Report, progress: Progress | None = None) -> Artifact:
    """A Debian package by its chain of trust. Raises FetchError and BusyError."""
    return _bring_package(one, RackLock(), report, progress)


def _bring_package(one: InitrdOverlay, lock: RackLock, report: Report, progress: Progress | None) -> Artifact:
    store = Store(CACHE / "store")
    locked = lock.packages.get(f"{one.suite}/{one.package}")
    if locked:
        url, sha256, size, said_by = locked.url, locked.sha256, locked.size, "rack.lock"
    else:
        suite = open_suite(one.suite, load_keys(_KEYS), store)
        deb = find_deb(suite, one.package, "amd64", store, report, progress)
        url, sha256, size, said_by = deb.url, deb.sha256, deb.size, "Packages"
    return fetch_file(
        url,
        store,
        name=one.package,
        expect_sha256=sha256,
        expect_size=size,
        said_by=said_by,
        report=report,
        progress=progress,
    )


def _locked(one: Artifact) -> LockedFile:
    return LockedFile(url=one.url, size=one.size, sha256=one.sha256, trust="signed")
