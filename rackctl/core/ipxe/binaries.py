"""Core. The one table of iPXE binaries: names as TFTP serves them, how iPXE's make calls them, what each must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rackctl.core.pe import MACHINE_ARM64, MACHINE_IA32, MACHINE_X86_64, pe_machine, split_fat
from rackctl.errors import ConfigError, RackError


@dataclass(frozen=True)
class Binary:
    """make: iPXE's name of it; "" for what is put together of `parts`. least, most: sane sizes in bytes.

    form: of the file. machine: of its PE header. lab: the firmware that boots it in the lab.
    """

    make: str
    least: int
    most: int
    form: str
    lab: tuple[str, ...]
    machine: int = 0
    parts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """How the lab boots it: from the network, as a medium, or as the kernel that a boot loader loads."""
        return {"usb": "usb", "iso": "iso", "bzimage": "kernel"}.get(self.form, "net")


_MEDIUM = ("ipxe.lkrn", "ipxe.efi", "ipxe-ia32.efi", "ipxe-arm64.efi")
# v2.0.0's: undionly 71 kB, ipxe.pxe 382 kB, ipxe.efi 1.15 MB, snponly.efi 288 kB. A ROM gives undionly 512 kB of low
# memory at the most.
BINARIES = {
    "undionly.kpxe": Binary("bin/undionly.kpxe", 40_000, 500_000, "pxe", ("bios",)),
    "ipxe.pxe": Binary("bin/ipxe.pxe", 150_000, 600_000, "pxe", ("bios",)),
    "ipxe.lkrn": Binary("bin/ipxe.lkrn", 150_000, 1_000_000, "bzimage", ("bios",)),
    "ipxe.efi": Binary("bin-x86_64-efi/ipxe.efi", 200_000, 4_000_000, "pe", ("uefi",), MACHINE_X86_64),
    "snponly.efi": Binary("bin-x86_64-efi/snponly.efi", 100_000, 2_000_000, "pe", ("uefi",), MACHINE_X86_64),
    "ipxe-ia32.efi": Binary("bin-i386-efi/ipxe.efi", 200_000, 4_000_000, "pe", ("uefi-ia32",), MACHINE_IA32),
    "snponly-ia32.efi": Binary("bin-i386-efi/snponly.efi", 100_000, 2_000_000, "pe", ("uefi-ia32",), MACHINE_IA32),
    "ipxe-arm64.efi": Binary("bin-arm64-efi/ipxe.efi", 200_000, 4_000_000, "pe", ("uefi-arm64",), MACHINE_ARM64),
    "snponly-arm64.efi": Binary("bin-arm64-efi/snponly.efi", 100_000, 2_000_000, "pe", ("uefi-arm64",), MACHINE_ARM64),
    "ipxe-mac.efi": Binary("", 400_000, 8_000_000, "fat", (), parts=("ipxe-ia32.efi", "ipxe.efi")),
    "snponly-mac.efi": Binary("", 200_000, 4_000_000, "fat", (), parts=("snponly-ia32.efi", "snponly.efi")),
    "ipxe.usb": Binary("", 1_000_000, 32_000_000, "usb", ("bios", "uefi"), parts=_MEDIUM),
    "ipxe.iso": Binary("", 1_000_000, 32_000_000, "iso", ("bios", "uefi"), parts=_MEDIUM),
}
MEDIA = ("usb", "iso")
BUILDARCH = {"bios": "i386", "uefi": "x86_64", "uefi-ia32": "i386", "uefi-arm64": "arm64"}  # iPXE's ${buildarch}


def choose_targets(words: Sequence[str], needed: Sequence[str]) -> tuple[str, ...]:
    """What `--target` asks for: names, `all`, or nothing, which is `needed`. Raises ConfigError."""
    if not words:
        return tuple(needed)
    if "all" in words:
        return tuple(BINARIES)
    for word in words:
        if word not in BINARIES:
            raise ConfigError(f"there is no target {word!r}", "--target", f"it is all, or of: {', '.join(BINARIES)}")
    return tuple(dict.fromkeys(words))


def compiled(names: Sequence[str]) -> tuple[str, ...]:
    """The binaries that make builds for these: themselves, or their parts; each once, in the table's order."""
    wanted = {part for name in names for part in (BINARIES[name].parts or (name,))}
    return tuple(name for name in BINARIES if name in wanted)


def find_fault(name: str, raw: bytes) -> str:
    """What is wrong with a binary: its size, or a header that is not that of `name`; "" when nothing is."""
    wanted = BINARIES[name]
    if not wanted.least <= len(raw) <= wanted.most:
        return f"{len(raw)} bytes, sane is {wanted.least} to {wanted.most}"
    try:
        if wanted.form == "pe" and (found := pe_machine(raw)) != wanted.machine:
            return f"a PE header for machine {found:#x}, not {wanted.machine:#x}"
        if wanted.form == "fat" and [pe_machine(one) for one in split_fat(raw)] != [MACHINE_IA32, MACHINE_X86_64]:
            return "a universal header that is not of ia32 and x86_64"
    except RackError as wrong:
        return wrong.message
    return "" if _begins_right(wanted.form, raw) else f"no {wanted.form} header"


def _begins_right(form: str, raw: bytes) -> bool:
    if form == "bzimage":  # Linux' Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"
        return raw[0x1FE:0x200] == b"\x55\xaa" and raw[0x202:0x206] == b"HdrS"
    if form == "pxe":  # a ROM jumps to its first byte, in iPXE's pxeprefix.S a far jump or a jump
        return raw[:1] in (b"\xea", b"\xeb", b"\xe9")
    if form == "iso":  # ECMA-119 8.1: a volume descriptor in sector 16
        return raw[0x8001:0x8006] == b"CD001"
    if form == "usb":  # what a BIOS looks for on a disk
        return raw[0x1FE:0x200] == b"\x55\xaa"
    return True
