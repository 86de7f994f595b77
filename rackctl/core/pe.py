"""Core. Which machine an EFI binary is for, and Apple's universal ("fat") EFI binaries of two of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rackctl.errors import RackError

# Microsoft's PE/COFF specification, "Machine Types".
MACHINE_IA32 = 0x14C
MACHINE_X86_64 = 0x8664
MACHINE_ARM64 = 0xAA64

# Apple's EFI fat header, as iPXE's util/efifatbin.c writes it: magic, count, then per image CPU type, CPU subtype,
# offset, length, alignment; all little-endian. CPU types are those of mach/machine.h.
_FAT_MAGIC = 0x0EF1FAB9
_CPU_TYPES = {MACHINE_IA32: 7, MACHINE_X86_64: 0x01000007}
_CPU_SUBTYPE = 3  # CPU_SUBTYPE_I386_ALL and CPU_SUBTYPE_X86_64_ALL
_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<IIIII")


def pe_machine(raw: bytes) -> int:
    """Machine type of a PE image. Raises RackError when it is none."""
    if raw[:2] == b"MZ" and len(raw) >= 0x40:
        at = int.from_bytes(raw[0x3C:0x40], "little")
        if raw[at : at + 4] == b"PE\0\0" and len(raw) >= at + 6:
            return int.from_bytes(raw[at + 4 : at + 6], "little")
    raise RackError(f"{len(raw)} bytes that begin with {raw[:4].hex()} are no EFI binary")


def make_fat(images: Sequence[bytes]) -> bytes:
    """One binary that 32-bit and 64-bit EFI of Macs both load; no other firmware does. Raises RackError."""
    offset = _HEADER.size + _ENTRY.size * len(images)
    head = _HEADER.pack(_FAT_MAGIC, len(images))
    for raw in images:
        head += _ENTRY.pack(_CPU_TYPES[pe_machine(raw)], _CPU_SUBTYPE, offset, len(raw), 0)
        offset += len(raw)
    return head + b"".join(images)


def split_fat(raw: bytes) -> list[bytes]:
    """The images of a fat binary. Raises RackError when it is none or is cut short."""
    if len(raw) < _HEADER.size or _HEADER.unpack_from(raw)[0] != _FAT_MAGIC:
        raise RackError(f"{len(raw)} bytes that begin with {raw[:4].hex()} are no universal EFI binary")
    count = _HEADER.unpack_from(raw)[1]
    if len(raw) < _HEADER.size + count * _ENTRY.size:
        raise RackError("the universal EFI binary is cut short")
    images = []
    for number in range(count):
        _, _, offset, length, _ = _ENTRY.unpack_from(raw, _HEADER.size + number * _ENTRY.size)
        if offset + length > len(raw):
            raise RackError("the universal EFI binary is cut short")
        images.append(raw[offset : offset + length])
    return images
