"""Adapter: one file out of an archive: tar (plain, gzip, bzip2, xz, zstd) or .deb."""

from __future__ import annotations

import errno
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, cast

from rackctl.adapters.fetch.store import SPARE
from rackctl.errors import BusyError, FetchError, RackError

_AR = b"!<arch>\n"
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Window:
    """Part of an open file, as a file to read from its start to its end."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        return data


def extract_member(archive: Path, member: str, target: Path) -> None:
    """Write the archive's file `member` (a path without leading `./`) to target; links are followed inside the archive.

    Raises FetchError when it is not there or the archive is broken, BusyError when the disk has no room.
    """
    try:
        for _ in range(4):
            link = _extract(archive, member.removeprefix("./"), target)
            if link is None:
                return
            member = link
    except RackError:
        raise
    except Exception as wrong:  # tarfile and the decompressors raise a dozen kinds for broken input, TypeError too
        if isinstance(wrong, OSError) and wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(member, target) from wrong
        raise FetchError(f"broken archive: {type(wrong).__name__}: {wrong}", str(archive), "fetch it again") from wrong
    raise FetchError(f"too many links lead to {member}", str(archive))


def _extract(archive: Path, member: str, target: Path) -> str | None:
    """None when it was written, else the member that a link leads to."""
    with open_archive(archive) as tar:
        for one in tar:
            name = one.name.removeprefix("./")
            if name != member:
                continue
            if one.issym() or one.islnk():
                base = member.rpartition("/")[0] if one.issym() else ""
                return _join(base, one.linkname)
            source = tar.extractfile(one)
            if source is None:
                break
            if one.size + SPARE > shutil.disk_usage(target.parent).free:
                raise _no_room(f"{member}, {one.size} bytes,", target)
            with open(target, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            return None
    raise FetchError(
        f"it holds no file {member}", str(archive), "the package's layout changed: mend its catalogue entry"
    )


@contextmanager
def open_archive(archive: Path) -> Iterator[tarfile.TarFile]:
    """The files of a tar or a .deb, to read once from first to last."""
    with open(archive, "rb") as file, closing(_open_tar(file, archive)) as tar:
        yield tar


def _no_room(member: str, target: Path) -> BusyError:
    remedy = "free some space (rackctl fetch --prune), then run again"
    return BusyError(f"the disk has no room to unpack {member}", str(target.parent), remedy)


def _join(base: str, link: str) -> str:
    parts = [] if link.startswith("/") else base.split("/")
    for part in link.removeprefix("./").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(part for part in parts if part)


def _open_tar(file: IO[bytes], archive: Path) -> tarfile.TarFile:
    magic = file.read(8)
    if magic != _AR:
        file.seek(0)
        return _stream(file, magic)
    # ar(5): a header of 60 bytes per member, its size as decimal text in bytes 48 to 57, members on even offsets.
    while len(header := file.read(60)) == 60:
        size = int(header[48:58])
        if header[:16].startswith(b"data.tar"):
            start = file.tell()
            magic = file.read(8)
            file.seek(start)
            return _stream(cast("IO[bytes]", _Window(file, size)), magic)
        file.seek(size + size % 2, 1)
    raise FetchError("the package has no data", str(archive), "fetch it again")


def _stream(file: IO[bytes], magic: bytes) -> tarfile.TarFile:
    if magic.startswith(_ZSTD):
        import zstandard

        return tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(file), mode="r|")
    return tarfile.open(fileobj=file, mode="r|*")
