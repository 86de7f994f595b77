"""Adapter: the store, files by their sha256, shared by every rack of this user.

sha256/<hex>   whole, checked files; a rename puts them there, so a kill leaves none that is wrong. The disk may lag
               behind: a file whose time is not the one that `settle` gives is read again before it is used
partial/       downloads that grow (.part), the ETag they began with (.etag), and who works on one (.lock)
bad/           what came with the wrong sum or size, for a person to look at
pins.json      URL -> sha256 of the files that have no published sum, written when they first came
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rackctl.core.lock import LockedArchive
from rackctl.errors import FetchError

SPARE = 64 << 20  # bytes that a download, or what is unpacked of one, leaves free on the disk
_fresh: dict[Path, int] = {}  # file -> its mtime in ns, of those that this process checked and nobody settled yet


@dataclass(frozen=True)
class Artifact:
    """One file of an OS release; size in bytes.

    trust: `signed`, `published` (a sum of upstream's, unsigned), `pinned` (unsigned, on first use) or `built` here.
    archive: what it was taken out of, if the URL names an archive.
    """

    name: str
    path: Path
    size: int
    sha256: str
    url: str
    trust: str
    archive: LockedArchive | None = None


class Store:
    """Files by sha256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pins = root / "pins.json"

    def path(self, digest: str) -> Path:
        """Where a file with this sha256 lies, or would lie. Raises FetchError for what is no sha256."""
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise FetchError(f"{digest[:80]!r} is no sha256", str(self.root), "do not trust the list that it came from")
        return self.root / "sha256" / digest

    def part(self, url: str, digest: str | None = None) -> Path:
        """Where the download grows, named by its sha256 where that is known: any mirror may go on with it."""
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / (hashlib.sha256((digest or url).encode()).hexdigest()[:32] + ".part")

    def find(self, digest: str) -> Path | None:
        """The file with this sha256, or None.

        One that was touched since it was checked, or that the disk may not have yet, is read again, and put aside when
        it is not what its name says.
        """
        file = self.path(digest)
        try:
            found = file.stat()
            if found.st_mtime_ns not in (_stamp(digest), _fresh.get(file)):
                if hash_file(file) != digest:
                    self.reject(file, digest)
                    return None
                _settle(file, digest)
            else:
                with contextlib.suppress(OSError):  # a store that one may only read
                    # Its time stays, and the inode's change time is now: it is in use, and `prune` lets it be.
                    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
        except FileNotFoundError:
            return None
        return file

    def keep(self, part: Path, digest: str) -> Path:
        """Give a checked download its name. The disk may still lag behind: `settle` waits for it."""
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(0o644)
        _fresh[target] = part.stat().st_mtime_ns
        part.rename(target)
        part.with_suffix(".etag").unlink(missing_ok=True)
        return target

    def settle(self, digest: str) -> None:
        """Wait until the disk has a file for good, and mark it as such; what is not here is passed over."""
        file = self.find(digest)
        if file and file.stat().st_mtime_ns != _stamp(digest):
            _settle(file, digest)

    def reject(self, file: Path, name: str) -> Path:
        """Move a bad file to bad/ and say where it lies."""
        aside = self.root / "bad" / name
        aside.parent.mkdir(parents=True, exist_ok=True)
        file.replace(aside)
        file.with_suffix(".etag").unlink(missing_ok=True)
        return aside

    def pinned(self, url: str) -> str | None:
        """The sha256 that this URL had on first use."""
        return self._read_pins().get(url)

    def pin(self, url: str, digest: str) -> None:
        """Remember the sha256 of a URL for good."""
        with self.lock(self.pins.with_suffix(".lock")):
            pins = {**self._read_pins(), url: digest}
            aside = self.pins.with_suffix(".new")
            with open(aside, "w") as handle:
                json.dump(pins, handle, indent=1, sort_keys=True)
                handle.flush()
                os.fsync(handle.fileno())
            aside.rename(self.pins)

    def _read_pins(self) -> dict[str, str]:
        try:
            found = json.loads(self.pins.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as wrong:
            raise FetchError(f"not JSON: {wrong}", str(self.pins), "mend it, or remove it to pin anew") from wrong
        return {str(url): str(digest) for url, digest in found.items()}

    @contextlib.contextmanager
    def lock(self, file: Path) -> Iterator[None]:
        """One process or thread at a time; the kernel frees the lock of one that was killed."""
        file.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = open(file, "a")  # noqa: SIM115 the lock lasts as long as it is open
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # The one who held it before has removed the file: what we hold is no lock any more.
                if os.path.exists(file) and os.path.samestat(os.fstat(handle.fileno()), os.stat(file)):
                    break
            except BaseException:
                handle.close()
                raise
            handle.close()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            handle.close()


def hash_file(file: Path) -> str:
    """The sha256 of a file in hex."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _settle(file: Path, digest: str) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
    _sync_folder(file.parent)
    with contextlib.suppress(OSError):  # not ours to mark: it is read again the next time
        os.utime(file, ns=(_stamp(digest), _stamp(digest)))


def _stamp(digest: str) -> int:
    """The mtime in ns of a file that was checked and that the disk has. Whoever writes to it changes it, so it tells
    "as it was when checked" without reading it. It hangs on the content: web servers make an ETag of mtime and size."""
    return (1_000_000_000 + int(digest[:7], 16)) * 1_000_000_000


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
