"""Core. initramfs archives: cpio in the newc form, alone or several one after the other, each packed or not.

Written and read as the kernel does it (Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c): a
raw archive begins at a multiple of 4, any run of zero bytes between two is skipped, a later file takes the place of an
earlier one, and a file whose folder was not made before it is dropped without a word.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

MOST = 4 << 30  # bytes unpacked; more is no initrd but an attack on the memory
_MAGIC = (b"070701", b"070702")
_TRAILER = "TRAILER!!!"
_LZ4_BLOCK = 8 << 20  # bytes; the legacy form packs this much at a time (lz4_Frame_format.md)
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"BZh": "bzip2",
    b"\x89LZO": "lzo",
}


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of an archive. data: a file's content, or where a symbolic link leads."""

    name: str
    mode: int
    data: bytes = b""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)

    @property
    def is_folder(self) -> bool:
        """True for a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """True for a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True)
class Segment:
    """One archive of an initrd: where it begins in the file, its size there in bytes, how it is packed."""

    offset: int
    size: int
    packing: str
    entries: tuple[Entry, ...]


def write_cpio(entries: Iterable[Entry], folders: Mapping[str, int] | None = None) -> bytes:
    """The archive, sorted; a folder that is missing is made before what is in it. The same for the same input.

    folders: modes of those that are there already, which an entry for one would change at boot.
    """
    named = {clean_name(one.name): one for one in entries}
    for name in list(named):
        parts = name.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            named.setdefault(parent, Entry("", (folders or {}).get(parent, stat.S_IFDIR | 0o755)))
    out = bytearray()
    for number, name in enumerate(sorted(named), 1):
        _append(out, name, named[name], number)
    _append(out, _TRAILER, Entry(_TRAILER, 0), 0)
    return bytes(out)


def pack_overlay(entries: Iterable[Entry], folders: Mapping[str, int] | None = None) -> bytes:
    """write_cpio in gzip, which every kernel reads, with zeros up to a multiple of 4 for whatever follows."""
    packed = gzip.compress(write_cpio(entries, folders), 9, mtime=0)
    return packed + b"\0" * (-len(packed) % 4)


def clean_name(name: str) -> str:
    """`./a//b/` -> `a/b`. Raises ValueError for a name that leaves the archive's root or is empty."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in name:
        raise ValueError(f"{name!r} is no path inside the initrd")
    return "/".join(parts)


def _append(out: bytearray, name: str, one: Entry, number: int) -> None:
    raw = name.encode() + b"\0"
    links = 2 if one.is_folder else 1
    numbers = (number, one.mode, one.uid, one.gid, links, one.mtime, len(one.data), 0, 0, *one.device, len(raw), 0)
    out += _MAGIC[0] + b"".join(b"%08X" % value for value in numbers) + raw
    out += b"\0" * (-len(out) % 4)
    out += one.data
    out += b"\0" * (-len(out) % 4)


def read_initrd(data: bytes) -> list[Segment]:
    """Every archive of an initrd, in order. Raises ValueError that names the offset of what is no archive."""
    segments = []
    at = 0
    while (at := _skip_zeros(data, at)) < len(data):
        start = at
        packing = next((name for magic, name in _PACKED.items() if data.startswith(magic, at)), "")
        if packing:
            content, at = _unpack(data, at, packing)
            entries = tuple(_read_all(content, start))
        elif data.startswith(_MAGIC, at):
            found, at = _read_archive(data, at)
            entries, packing = tuple(found), "none"
        else:
            raise ValueError(f"at byte {at}: {data[at : at + 6]!r} begins no archive that a kernel reads")
        segments.append(Segment(start, at - start, packing, entries))
    return segments


def flatten(segments: Iterable[Segment]) -> dict[str, Entry]:
    """Path -> entry as the kernel leaves it: later ones win."""
    return {one.name: one for segment in segments for one in segment.entries}


def _skip_zeros(data: bytes, at: int) -> int:
    while at < len(data) and data[at] == 0:
        at += 1
    return at


def _read_all(content: bytes, where: int) -> Iterator[Entry]:
    at = 0
    while (at := _skip_zeros(content, at)) < len(content):
        if not content.startswith(_MAGIC, at):
            raise ValueError(f"at byte {where}: what is packed there is no cpio archive of the newc form")
        found, at = _read_archive(content, at)
        yield from found


def _read_archive(data: bytes, start: int) -> tuple[list[Entry], int]:
    """The entries of one raw archive, and where it ends. All in it is aligned to 4 from its start."""
    found: list[Entry] = []
    at = start
    linked: dict[tuple[int, int, int], bytes] = {}
    while True:
        header = data[at : at + 110]
        if len(header) < 110 or not header.startswith(_MAGIC):
            raise ValueError(f"at byte {at}: the archive is cut or broken")
        try:
            n = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        except ValueError as wrong:
            raise ValueError(f"at byte {at}: the archive's header is broken") from wrong
        ino, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, namesize, _ = n
        name = data[at + 110 : at + 110 + namesize - 1].decode(errors="surrogateescape")
        body = _align(at + 110 + namesize, start)
        at = _align(body + size, start)
        if body + size > len(data):
            raise ValueError(f"{name!r} is cut: {size} bytes should follow byte {body}")
        if name == _TRAILER:
            return found, min(at, len(data))
        content = data[body : body + size]
        if links > 1 and stat.S_ISREG(mode):
            # Of a file with several names, only one entry has the content.
            content = linked.setdefault((ino, major, minor), content) or content
        if name not in (".", ""):
            name = name.removeprefix("./").strip("/")
            found.append(Entry(name, mode, content, uid, gid, mtime, (rmajor, rminor)))


def _align(at: int, start: int) -> int:
    return at + (-(at - start) % 4)


class _Decompressor(Protocol):
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


def _unpack(data: bytes, at: int, packing: str) -> tuple[bytes, int]:
    """What is packed at `at`, and where it ends."""
    try:
        if packing == "lz4":
            return _unpack_lz4(data, at)
        found = _decompressor(packing)
        content = found.decompress(data[at:], *([] if packing == "zstd" else [MOST]))
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as wrong:
        raise ValueError(f"at byte {at}: broken {packing}: {wrong}") from wrong
    except Exception as wrong:
        if type(wrong).__module__.startswith(("zstandard", "zstd", "_lz4", "lz4", "backend")):
            raise ValueError(f"at byte {at}: broken {packing}: {wrong}") from wrong
        raise
    if not getattr(found, "eof", True):
        raise ValueError(f"at byte {at}: the {packing} data is cut")
    if len(content) >= MOST:
        raise ValueError(f"at byte {at}: it unpacks to more than {MOST} bytes")
    return content, len(data) - len(found.unused_data)


def _decompressor(packing: str) -> Any:
    if packing == "gzip":
        return zlib.decompressobj(wbits=31)
    if packing in ("xz", "lzma"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ if packing == "xz" else lzma.FORMAT_ALONE)
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    if packing == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj()
    raise ValueError(f"{packing} is not read")


def _unpack_lz4(data: bytes, at: int) -> tuple[bytes, int]:
    """The legacy form, the one that kernels read: a magic number, then blocks, each after its size in 4 bytes."""
    import lz4.block

    out = bytearray()
    at += 4
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if size == 0 or size > _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16 or at + 4 + size > len(data):
            break
        try:
            out += lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=_LZ4_BLOCK)
        except lz4.block.LZ4BlockError as wrong:
            raise ValueError(f"at byte {at}: broken lz4: {wrong}") from wrong
        at += 4 + size
    return bytes(out), at
