"""Adapter: removes from the store what no rack of this user has in its lock."""

from __future__ import annotations

import errno
import fcntl
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters.fetch.store import Store
from rackctl.errors import ConfigError

YOUNG = 3600.0  # seconds; what came this recently may be on its way into a lock


@dataclass(frozen=True)
class Pruned:
    """How many files went, and their bytes."""

    files: int
    nbytes: int


def remember_rack(store: Store, folder: Path) -> None:
    """Note that this rack's lock counts."""
    file = store.root / "racks.json"
    if str(folder) in read_racks(store):
        return
    try:
        with store.lock(file.with_suffix(".lock")):
            known = {*read_racks(store), str(folder)}
            aside = file.with_suffix(".new")
            aside.write_text(json.dumps(sorted(known), indent=1))
            aside.rename(file)
    except OSError as wrong:
        # Who may only read a store does not prune it, and what is served is linked or copied.
        if wrong.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise


def read_racks(store: Store) -> list[str]:
    """The folders of the racks that were noted. Raises ConfigError for a broken note: what is used is unknown."""
    file = store.root / "racks.json"
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ConfigError("it does not list the racks", str(file), 'write ["/the/rack", ...] or [], then run again')
    return found


def prune(store: Store, wanted: Iterable[str], now: float | None = None) -> Pruned:
    """Remove all but the files with these sha256, the young ones, and downloads that somebody works on."""
    keep, now = set(wanted), time.time() if now is None else now
    gone = 0
    nbytes = 0
    for folder in ("sha256", "partial", "bad", "pages"):
        for file in sorted((store.root / folder).glob("*")):
            try:
                state = file.stat()
            except FileNotFoundError:  # a download that has just ended
                continue
            if file.name in keep or now - state.st_ctime < YOUNG or _in_use(file):
                continue
            file.unlink(missing_ok=True)
            gone, nbytes = gone + 1, nbytes + state.st_size
    return Pruned(gone, nbytes)


def _in_use(file: Path) -> bool:
    """True for a download, or its lock, that another process holds."""
    lock = file.with_suffix(".lock")
    if file.parent.name != "partial" or not lock.exists():
        return False
    with open(lock) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
