"""Brings the files of OS releases: from rack.lock and the store where they are known, else from upstream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import discovery, lockfile
from rackctl.adapters.fetch import Artifact, Store, fetch_rancheros, hash_file, resolve_rancheros
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.folder import RackFolder
from rackctl.core.lock import LockedFile, LockedRelease, RackLock
from rackctl.core.model import OsRef
from rackctl.errors import ConfigError

CACHE = Path.home() / ".cache" / "rackctl"


@dataclass(frozen=True)
class Release:
    """One OS at one exact version, with its artifacts by name. wanted: the version as it was asked for."""

    os: str
    wanted: str
    version: str
    artifacts: dict[str, Artifact]

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        files = {
            name: {"path": str(a.path), "url": a.url, "size": a.size, "sha256": a.sha256, "trust": a.trust}
            for name, a in self.artifacts.items()
        }
        return {"os": self.os, "wanted": self.wanted, "version": self.version, "artifacts": files}


def supply_release(
    os: OsRef, lock: RackLock, report: Report, progress: Progress | None = None, store: Store | None = None
) -> Release:
    """Bring one OS release. What the lock names is what comes; what is in the store is not asked for again.

    Raises FetchError, BusyError, and EngineError for what is built.
    """
    if os.name == "discovery":
        return _build(os, report)
    if os.name != "rancheros":
        raise ConfigError(f"{os.name} is in the catalogue, and this version of rackctl cannot fetch it yet")
    store = store or Store(CACHE / "store")
    locked = lock.find(os.name, os.version)
    if locked and (found := _find_all(locked, store)):
        return Release(os.name, os.version, locked.version, found)
    version = locked.version if locked else resolve_rancheros(os.version)
    if version != os.version:
        report(f"{os.name} {os.version} is {version}{', says rack.lock' if locked else ''}")
    pins = {name: file.sha256 for name, file in locked.artifacts.items()} if locked else {}
    files = fetch_rancheros(version, store, report=report, progress=progress, pins=pins)
    return Release(os.name, os.version, version, files)


def fetch_for_rack(
    folder: RackFolder, os: OsRef | None, update: bool, report: Report, progress: Progress | None = None
) -> list[Release]:
    """Bring one OS release, or (None) all that rack.yml names; those that it names go into rack.lock.

    A folder without rack.yml has no lock. update: ask upstream again, whatever the lock says.
    """
    if not (folder.path / "rack.yml").exists() and os is not None:
        return [supply_release(os, RackLock(), report, progress)]
    used = folder.read_rack().os_releases()
    with folder.lock():
        lock = lockfile.read_lock(folder.path)
        consulted = RackLock() if update else lock
        found = [supply_release(one, consulted, report, progress) for one in ([os] if os else used)]
        names = {(one.name, one.version) for one in used}
        lockfile.write_lock(folder.path, lock_releases(lock, [r for r in found if (r.os, r.wanted) in names]))
    return found


def lock_releases(lock: RackLock, releases: Iterable[Release]) -> RackLock:
    """The lock with these releases in it; what is built here is not locked, since it comes from no URL."""
    return lock.replaced(
        LockedRelease(
            os=one.os,
            wanted=one.wanted,
            version=one.version,
            artifacts={
                name: LockedFile(url=a.url, size=a.size, sha256=a.sha256, trust=a.trust)
                for name, a in one.artifacts.items()
            },
        )
        for one in releases
        if all(a.url for a in one.artifacts.values())
    )


def _find_all(locked: LockedRelease, store: Store) -> dict[str, Artifact] | None:
    found = {}
    for name, file in locked.artifacts.items():
        path = store.find(file.sha256)
        if path is None:
            return None
        found[name] = Artifact(name, path, file.size, file.sha256, file.url, file.trust)
    return found


def _build(os: OsRef, report: Report) -> Release:
    built = discovery.build_discovery(CACHE / "discovery", report)
    artifacts = {
        name: Artifact(name, path, path.stat().st_size, hash_file(path), "", "built") for name, path in built.items()
    }
    return Release(os.name, os.version, os.version, artifacts)
