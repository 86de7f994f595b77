"""Adapter: the store, files by their sha256, shared by every rack of this user.

sha256/<hex>   whole, checked files; a rename puts them there, so a kill leaves none that is wrong
partial/       downloads that grow (.part), the ETag they began with (.etag), and who works on one (.lock)
bad/           what came with the wrong sum or size, for a person to look at
pins.json      URL -> sha256 of the files that have no published sum, written when they first came
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.core.lock import LockedArchive
from rackctl.errors import FetchError


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
        """Where a file with this sha256 lies, or would lie."""
        return self.root / "sha256" / digest

    def part(self, url: str, digest: str | None = None) -> Path:
        """Where the download grows, named by its sha256 where that is known: any mirror may go on with it."""
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / (hashlib.sha256((digest or url).encode()).hexdigest()[:32] + ".part")

    def find(self, digest: str) -> Path | None:
        """The file with this sha256, or None.

        One that was touched since it was checked is read again, and put aside when it is no longer what its name says.
        """
        file = self.path(digest)
        try:
            if file.stat().st_mtime_ns == _stamp(digest):
                return file
            if hash_file(file) == digest:
                os.utime(file, ns=(_stamp(digest), _stamp(digest)))
                return file
        except FileNotFoundError:
            return None
        self.reject(file, digest)
        return None

    def keep(self, part: Path, digest: str) -> Path:
        """Give a checked download its name, for good even when the power fails now."""
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(0o644)
        os.utime(part, ns=(_stamp(digest), _stamp(digest)))
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        part.rename(target)
        _sync_folder(target.parent)
        part.with_suffix(".etag").unlink(missing_ok=True)
        return target

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

    @contextmanager
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


def _stamp(digest: str) -> int:
    """The mtime of a checked file in ns. Whoever writes to the file changes it, so it tells "as it was when checked"
    without reading the content. It depends on the content, since web servers make an ETag of mtime and size."""
    return (1_000_000_000 + int(digest[:7], 16)) * 1_000_000_000


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
