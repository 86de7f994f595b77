"""Adapter: the rack folder on disk. rack.yml and its lock are the user's; .rackctl/ is rackctl's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rackctl.core.catalog import Catalog
from rackctl.core.load import find_line, parse_rack
from rackctl.core.model import Rack
from rackctl.core.tree import Tree
from rackctl.errors import BusyError, ConfigError

_MOST = 8 << 20  # bytes of rack.yml; a thousand nodes need a fortieth of it


class RackFolder:
    """One rack.yml and what rackctl keeps beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.work = self.path / ".rackctl"
        self.served = self.work / "served"
        self.logs = self.work / "logs"
        self.inventory = self.work / "inventory"  # MAC.json, as the machine sent it
        self.installed = self.work / "state" / "installed"  # MAC, written when it checked in as installed
        self.status = self.work / "status"  # what the status page shows

    @property
    def project(self) -> str:
        """Compose project name: two racks on one master do not meet."""
        return "rackctl-" + hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    def read_rack(self) -> Rack:
        """Raises ConfigError when rack.yml is absent, unreadable or wrong."""
        file = self.path / "rack.yml"
        try:
            return parse_rack(_read_limited(file).decode(), str(file), self.catalog())
        except FileNotFoundError as absent:
            raise ConfigError(
                "there is no rack.yml here",
                where=str(self.path),
                remedy="rackctl init writes one; or name the folder: --rack DIR",
            ) from absent
        except NotADirectoryError as file_named:
            raise ConfigError(
                "is a file; a rack is the folder that rack.yml lies in",
                where=str(self.path),
                remedy=f"--rack {shlex.quote(str(self.path.parent))}",
            ) from file_named
        except (UnicodeDecodeError, OSError) as wrong:
            raise ConfigError(
                f"cannot be read: {wrong}", where=str(file), remedy="save it as plain UTF-8 text, readable by you"
            ) from wrong

    def locate(self, *key: str) -> str:
        """`file:line` of a key of rack.yml, for a message; the file alone where the default holds."""
        file = self.path / "rack.yml"
        line = find_line(_read_limited(file).decode(), key)
        return f"{file}:{line}" if line else str(file)

    def catalog(self) -> Catalog:
        """The OSes that can be named: the package's and those of the folder catalog/ here. Raises ConfigError."""
        own = {}
        for file in sorted((self.path / "catalog").glob("*.yml")):
            try:
                own[file.stem] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as wrong:
                raise ConfigError(f"cannot be read: {wrong}", str(file), "save it as plain UTF-8 text") from wrong
        return Catalog(own)

    @property
    def own_keys(self) -> Path:
        """Keyrings of the user's own catalogue entries."""
        return self.path / "catalog" / "keys"

    def served_id(self) -> str | None:
        """Id of the tree that is served now."""
        try:
            return Path(os.readlink(self.served / "current")).name
        except OSError:
            return None

    def loaders(self) -> tuple[str, ...]:
        """The files that TFTP serves now, by their names; none when nothing is served."""
        root = self.served / "current" / "tftp"
        return tuple(sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()))

    def find_damage(self, tree: Tree, sources: Mapping[str, Path]) -> tuple[str, ...]:
        """Paths of this tree that are absent on the disk or differ; sources: sha256 -> file.

        A rendered file is compared byte for byte, an artifact by its size: its hash was checked when it was published.
        """
        root = self.served / "trees" / tree.id
        return tuple(
            path
            for path, same in (
                *((path, _has_content(root / path, content)) for path, content in tree.files.items()),
                *((path, _has_size(root / path, sources[digest])) for path, digest in tree.artifacts.items()),
            )
            if not same
        )

    @property
    def started(self) -> str | None:
        """sha256 of the compose file with which the services were started, if what they serve was proven then.

        None too when they must be made afresh.
        """
        digest, mounted = self._read_started()
        return digest if digest and mounted == self._mounted() else None

    @started.setter
    def started(self, digest: str | None) -> None:
        # Without a proof the services still hold what they were started with.
        mounted = self._mounted() if digest else self._read_started()[1]
        self.work.mkdir(parents=True, exist_ok=True)
        aside = self.work / "started.new"
        aside.write_text(f"{digest or ''} {mounted}")
        aside.rename(self.work / "started")

    @property
    def unmounted(self) -> bool:
        """Whether services that run have folders mounted that were removed meanwhile: they still hold those."""
        return self._read_started()[1] != self._mounted()

    def _read_started(self) -> tuple[str, str]:
        try:
            digest, _, mounted = (self.work / "started").read_text().partition(" ")
        except OSError:
            return "", ""
        return digest.strip(), mounted.strip()

    def _mounted(self) -> str:
        """The inodes of the folders that the services have mounted; a removed one keeps its number while it is held."""
        folders = (self.served, self.logs, self.inventory, self.installed.parent, self.status)
        return ",".join(str(one.stat().st_ino) if one.is_dir() else "-" for one in folders)

    def loader_digests(self) -> frozenset[str]:
        """The sha256 of each file that TFTP serves now."""
        root = self.served / "current" / "tftp"
        return frozenset(hashlib.sha256((root / name).read_bytes()).hexdigest() for name in self.loaders())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One rackctl at a time; the kernel frees the lock of one that was killed. Raises BusyError."""
        handle = self._hold("lock")
        if handle is None:
            raise BusyError(
                "another rackctl works on this rack",
                where=str(self.path),
                remedy="wait for it to end, then run again",
            )
        with handle:
            yield

    def take(self, role: str) -> IO[str] | None:
        """That role among the processes of this rack, as long as the file stays open; None while another has it."""
        return self._hold(f"{role}.lock")

    def _hold(self, name: str) -> IO[str] | None:
        self.work.mkdir(parents=True, exist_ok=True)
        handle = open(self.work / name, "a+")  # noqa: SIM115 open is what holds it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number, which is for people
            handle.truncate(0)
            os.write(handle.fileno(), f"{os.getpid()}\n".encode())
        return handle

    def holder(self, role: str) -> str:
        """Which process has that role, for a message."""
        try:
            return f"process {int((self.work / f'{role}.lock').read_text())}"
        except (OSError, ValueError):
            return "another process"

    def make_folders(self) -> None:
        """The folders that the services have mounted: the engine would make absent ones, for root alone."""
        # Served files hold join tokens, which are no business of the master's other users. The containers see the
        # folders below by mounts of their own; the daemons run as nobody whatever the user's umask is.
        self.work.mkdir(parents=True, exist_ok=True)
        self.work.chmod(0o700)
        for written in (self.logs, self.inventory, self.installed, self.status):
            written.mkdir(parents=True, exist_ok=True)
            written.chmod(0o777)
        (self.served / "trees").mkdir(parents=True, exist_ok=True)
        for read in (self.served, self.served / "trees", self.installed.parent):
            read.chmod(0o755)

    def publish(self, tree: Tree, sources: Mapping[str, Path]) -> None:
        """Write the tree aside, then turn one symlink: a kill at any moment leaves the old tree whole.

        sources: sha256 -> file. Raises BusyError when the disk is full.
        """
        self.make_folders()
        trees = self.served / "trees"
        target = trees / tree.id
        try:
            damaged = target.is_dir() and self.find_damage(tree, sources)
            if damaged or not target.is_dir():
                part = trees / f".{tree.id}.part"
                self._write_aside(tree, sources, part)
                if damaged:
                    aside = trees / f".{tree.id}.damaged"
                    shutil.rmtree(aside, ignore_errors=True)
                    target.rename(aside)
                part.rename(target)
            fresh = self.served / ".current.new"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(f"trees/{tree.id}")
            fresh.rename(self.served / "current")
        except OSError as full:
            if full.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            for unfinished in trees.glob(".*"):
                shutil.rmtree(unfinished, ignore_errors=True)  # it would keep the disk full
            raise BusyError(
                "the disk is full; what was served before is still served",
                where=str(trees),
                remedy="free some space, then rackctl up",
            ) from full
        for old in [one for one in trees.iterdir() if one.name != tree.id]:
            # Renamed first: a kill in the middle must not leave half a tree under an id that is published again later.
            aside = old if old.name.startswith(".") else old.with_name(f".{old.name}.old")
            if aside != old:
                shutil.rmtree(aside, ignore_errors=True)
                old.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _write_aside(self, tree: Tree, sources: Mapping[str, Path], aside: Path) -> None:
        shutil.rmtree(aside, ignore_errors=True)
        for path, content in tree.files.items():
            file = aside / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            file.chmod(0o644)
        for path, digest in tree.artifacts.items():
            file = aside / path
            file.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(sources[digest], file)
        for folder, _, _ in os.walk(aside):
            os.chmod(folder, 0o755)  # noqa: S103 nobody must be able to read it


def refuse_existing(file: Path) -> None:
    """Raises ConfigError when there is anything by this name, a dead link too."""
    if os.path.lexists(file):
        raise ConfigError(f"{file.name} is there already", str(file), "edit it, or name another folder")


def write_new(file: Path, text: str) -> None:
    """Write a file whole or not at all, never over another. Raises ConfigError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.new")
    try:
        with open(aside, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(aside, file)  # a rename would replace what came there meanwhile
        except OSError as unlinkable:
            refuse_existing(file)
            if unlinkable.errno not in (errno.EPERM, errno.EOPNOTSUPP):  # FAT and some network shares
                raise
            aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _read_limited(file: Path) -> bytes:
    """A pipe or a device would never end, and YAML of this size is not one rack."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no file"
        raise ConfigError(f"is {kind}, not a YAML file", str(file), "move it away; rackctl init writes a rack.yml")
    if found.st_size > _MOST:
        size = f"{found.st_size / 2**20:.1f} MiB"
        raise ConfigError(f"is {size} long; at most {_MOST >> 20} MiB are read", str(file), "is that the right file?")
    return file.read_bytes()


def _has_content(file: Path, content: bytes) -> bool:
    try:
        return file.stat().st_size == len(content) and file.read_bytes() == content
    except OSError:
        return False


def _has_size(file: Path, source: Path) -> bool:
    try:
        return file.stat().st_size == source.stat().st_size
    except OSError:
        return False


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as far:
        if far.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copyfile(source, target)
    target.chmod(0o644)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder, each inode once; what vanishes meanwhile counts nothing."""
    found: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                info = os.lstat(os.path.join(parent, name))
            except OSError:
                continue
            found[info.st_dev, info.st_ino] = info.st_size
    return sum(found.values())
