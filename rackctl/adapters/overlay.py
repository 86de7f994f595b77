"""Adapter: gathers the files of initrd overlays from the rack's folder and from packages."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from rackctl.adapters.fetch.archive import open_archive
from rackctl.core.cpio import Entry
from rackctl.errors import ConfigError, FetchError, RackError

MOST = 512 << 20  # bytes; an overlay is loaded into the node's RAM


def read_file(file: Path, to: str, mode: int) -> Entry:
    """One file. Raises ConfigError."""
    try:
        return Entry(to, stat.S_IFREG | mode, file.read_bytes())
    except OSError as wrong:
        raise ConfigError(f"cannot be read: {wrong.strerror}", str(file), "mend initrd_overlays in rack.yml") from wrong


def read_folder(folder: Path, to: str | None) -> list[Entry]:
    """Everything below a folder; owner and times do not count, so that the same files give the same overlay."""
    if not folder.is_dir():
        raise ConfigError("there is no such folder", str(folder), "mend initrd_overlays in rack.yml")
    found = []
    for file in sorted(folder.rglob("*")):
        name = "/".join(part for part in (to or "", file.relative_to(folder).as_posix()) if part)
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            found.append(Entry(name, stat.S_IFLNK | 0o777, str(file.readlink()).encode()))
        elif stat.S_ISDIR(mode):
            found.append(Entry(name, stat.S_IFDIR | 0o755))
        elif stat.S_ISREG(mode):
            found.append(read_file(file, name, 0o755 if mode & 0o111 else 0o644))
        else:
            raise ConfigError("it is neither file, folder nor link", str(file), "take it out of the overlay's folder")
    return found


def read_package(deb: Path) -> Iterator[Entry]:
    """Every file and link of a Debian package. Raises FetchError when it is broken."""
    total = 0
    try:
        with open_archive(deb) as tar:
            for one in tar:
                name = one.name.removeprefix("./").strip("/")
                total += one.size
                if total > MOST:
                    raise FetchError(f"it unpacks to more than {MOST >> 20} MiB", str(deb), "name its files one by one")
                if one.issym():
                    yield Entry(name, stat.S_IFLNK | 0o777, one.linkname.encode())
                elif one.isreg():
                    content = tar.extractfile(one)
                    yield Entry(name, stat.S_IFREG | (one.mode & 0o777), content.read() if content else b"")
    except RackError:
        raise
    except Exception as wrong:  # tarfile and the decompressors raise a dozen kinds for broken input
        raise FetchError(f"broken package: {type(wrong).__name__}: {wrong}", str(deb), "fetch it again") from wrong
