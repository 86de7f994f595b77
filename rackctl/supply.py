"""Brings the files of OS releases: from rack.lock and the store where they are known, else from upstream."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import discovery, engine, lockfile
from rackctl.adapters.fetch import Artifact, Store, Upstream, fetch_release, find_locked, hash_file
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.fetch.prune import Pruned, prune, read_racks, remember_rack
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.workers import workers
from rackctl.core.catalog import Catalog
from rackctl.core.lock import LockedFile, LockedRelease, RackLock
from rackctl.core.model import OsRef
from rackctl.errors import ConfigError, EngineError


def _cache_folder() -> Path:
    """By the XDG Base Directory Specification. Raises ConfigError for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise ConfigError("there is no folder for the cache", base, "set HOME or XDG_CACHE_HOME to a full path")
    return Path(base) / "rackctl"


CACHE = _cache_folder()


@dataclass(frozen=True)
class Release:
    """One OS at one exact version for one processor, with its artifacts. wanted: the version as it was asked for."""

    os: str
    wanted: str
    version: str
    artifacts: dict[str, Artifact]
    arch: str = "amd64"

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the OsRef that asked for it."""
        return self.os, self.wanted, self.arch

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.os} {self.version}{_other(self.arch)}"

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        files = {
            name: {"path": str(a.path), "url": a.url, "size": a.size, "sha256": a.sha256, "trust": a.trust}
            for name, a in self.artifacts.items()
        }
        return {**self.__dict__, "artifacts": files}


def supply_release(
    os: OsRef,
    catalog: Catalog,
    lock: RackLock,
    report: Report,
    progress: Progress | None = None,
    own_keys: Path | None = None,
) -> Release:
    """Bring one OS release. What the lock names is what comes; what is in the store is not asked for again.

    own_keys: the rack's catalog/keys/. Raises FetchError, BusyError, and EngineError for what is built.
    """
    entry = catalog.get(os.name)
    if entry.built:
        return _build(os, report)
    if not entry.artifacts:
        return Release(os.name, os.version, os.version, {})
    store = Store(CACHE / "store")
    locked = lock.find(*os.key)
    whole = locked and {one.name for one in entry.artifacts} == set(locked.artifacts)
    if locked and whole and (found := _find_all(locked, store)):
        return Release(os.name, os.version, locked.version, found, os.arch)
    if entry.end_of_life:
        report(f"{entry.title} has ended: {entry.end_of_life}")
    upstream = Upstream(os.name, entry, os.version, store, report, progress, own_keys, os.arch)
    version = upstream.settle(locked.version) if locked else upstream.resolve()
    if version != os.version:
        report(f"{os.name} {os.version}{_other(os.arch)} is {version}{', says rack.lock' if locked else ''}")
    return Release(os.name, os.version, version, fetch_release(upstream, locked), os.arch)


def fetch_for_rack(
    folder: RackFolder, os: OsRef | None, update: bool, report: Report, progress: Progress | None = None
) -> list[Release]:
    """Bring one OS release, or (None) all that rack.yml names; those that it names go into rack.lock.

    A folder without rack.yml has no lock. update: ask upstream again, whatever the lock says.
    """
    if not (folder.path / "rack.yml").exists() and os is not None:
        return [supply_release(os, folder.catalog(), RackLock(), report, progress, folder.own_keys)]
    used, catalog = folder.read_rack().os_releases(), folder.catalog()
    with folder.lock():
        lock = lockfile.read_lock(folder.path)
        consulted = RackLock() if update else lock
        wanted = [os] if os else used
        with workers(4) as pool:
            running = [
                pool.submit(supply_release, one, catalog, consulted, report, progress, folder.own_keys)
                for one in wanted
            ]
            found = [one.result() for one in running]
        remember_rack(Store(CACHE / "store"), folder.path)
        names = {one.key for one in used}
        lockfile.write_lock(folder.path, lock_releases(lock, [one for one in found if one.key in names]))
    return found


def settle_releases(releases: Iterable[Release]) -> None:
    """Wait until the disk has these files, before they are served: a fetch does not wait for it."""
    store = Store(CACHE / "store")
    for digest in {file.sha256 for one in releases for file in one.artifacts.values() if file.url}:
        store.settle(digest)


def prune_store(report: Report) -> Pruned:
    """Remove from the store what no rack of this user has in its lock; racks that are gone count no more.

    Raises ConfigError for a lock that cannot be read: what it needs is then unknown.
    """
    store = Store(CACHE / "store")
    wanted: set[str] = set()
    for name in read_racks(store):
        lock = lockfile.read_lock(Path(name))
        files = [file for one in lock.releases for file in one.artifacts.values()] + list(lock.packages.values())
        wanted |= {file.sha256 for file in files}
        report(f"{name}: {len(files)} files stay")
    return prune(store, wanted)


def lock_releases(lock: RackLock, releases: Iterable[Release]) -> RackLock:
    """The lock with these releases in it; what is built here is not locked, since it comes from no URL."""
    return lock.replaced(
        LockedRelease(
            os=one.os,
            wanted=one.wanted,
            arch=one.arch,  # type: ignore[arg-type]
            version=one.version,
            artifacts={
                name: LockedFile(url=a.url, size=a.size, sha256=a.sha256, trust=a.trust, archive=a.archive)
                for name, a in one.artifacts.items()
            },
        )
        for one in releases
        if one.artifacts and all(a.url for a in one.artifacts.values())
    )


def _other(arch: str) -> str:
    return "" if arch == "amd64" else f" for {arch}"


def _find_all(locked: LockedRelease, store: Store) -> dict[str, Artifact] | None:
    found = {name: find_locked(name, locked.artifacts, store) for name in locked.artifacts}
    return None if None in found.values() else {name: one for name, one in found.items() if one}


def _build(os: OsRef, report: Report) -> Release:
    try:
        built = discovery.build_discovery(CACHE / "discovery", report)
    except EngineError:
        engine.check_engine()  # says it better than a build that reached no engine
        raise
    artifacts = {
        name: Artifact(name, path, path.stat().st_size, hash_file(path), "", "built") for name, path in built.items()
    }
    return Release(os.name, os.version, os.version, artifacts)
