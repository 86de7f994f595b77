"""Core. The one table of client architectures: DHCP option 93's codes, and which loader each can run.

Codes: IANA registry "Processor Architecture Types" (RFC 4578 section 2.1, RFC 5970 section 3.3). RFC 4578 has 7 and 9
the other way round than the registry; firmware sends either for UEFI x86_64, so both get the same loader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

USER_CLASS = "rackctl"  # option 77 of the iPXE that carries our script: never offer it a loader again

Firmware = Literal["bios", "uefi"]
Loader = Literal["snponly", "ipxe"]  # which drivers: the firmware's own for the card (on BIOS: undionly), or iPXE's


@dataclass(frozen=True)
class Arch:
    """One code of option 93. key: name on the command line; http: the firmware fetches a URL by itself."""

    code: int
    key: str
    title: str
    firmware: Firmware
    cpu: str
    http: bool = False

    @property
    def vendor_class(self) -> str:
        """What such a firmware sends in option 60 (RFC 4578 section 2.4 has no HTTPClient; the UEFI spec 24.7 has)."""
        return f"{'HTTPClient' if self.http else 'PXEClient'}:Arch:{self.code:05d}:UNDI:003016"

    @property
    def family(self) -> str:
        """Clients with the same family run the same loader."""
        return f"{self.firmware}-{self.cpu}" + ("-http" if self.http else "")


ARCHES = (
    Arch(0, "bios", "BIOS x86", "bios", "x86"),
    Arch(6, "uefi-ia32", "UEFI ia32", "uefi", "ia32"),
    Arch(7, "uefi", "UEFI x86_64", "uefi", "x64"),
    Arch(9, "uefi-ebc", "UEFI x86_64 (as 9)", "uefi", "x64"),
    Arch(11, "uefi-arm64", "UEFI arm64", "uefi", "arm64"),
    Arch(15, "http-ia32", "UEFI HTTP ia32", "uefi", "ia32", http=True),
    Arch(16, "http", "UEFI HTTP x86_64", "uefi", "x64", http=True),
    Arch(19, "http-arm64", "UEFI HTTP arm64", "uefi", "arm64", http=True),
)

# Best first. snponly drives the card through the firmware's own driver, which is there whenever PXE worked.
_LOADERS = {
    ("bios", "x86"): ("undionly.kpxe", "ipxe.pxe", "pxelinux.0"),
    # Where a shim is served, it comes first: with Secure Boot off it starts iPXE just the same.
    ("uefi", "x64"): ("snponly-shim.efi", "ipxe-shim.efi", "snponly.efi", "ipxe.efi"),
    ("uefi", "ia32"): ("snponly-ia32.efi", "ipxe-ia32.efi"),
    ("uefi", "arm64"): ("snponly-arm64.efi", "ipxe-arm64.efi"),
}
# The firmware's driver, then iPXE's own. A shim loads the binary that it has the name of, so that both are swapped.
_PAIRS = (
    ("undionly.kpxe", "ipxe.pxe"), ("snponly.efi", "ipxe.efi"), ("snponly-shim.efi", "ipxe-shim.efi"),
    ("snponly-ia32.efi", "ipxe-ia32.efi"), ("snponly-arm64.efi", "ipxe-arm64.efi"),
)  # fmt: skip


def arch_by_code(code: int) -> Arch | None:
    """The row of option 93's code."""
    return next((arch for arch in ARCHES if arch.code == code), None)


def arch_by_key(text: str) -> Arch | None:
    """The row of a key such as `uefi`, or of a code in decimal."""
    return next((arch for arch in ARCHES if text == arch.key or text == str(arch.code)), None)


def loader_for(arch: Arch, files: Collection[str]) -> str | None:
    """The TFTP name of the loader for `arch` among the files that are served; None when none of them suits."""
    return next((name for name in _LOADERS[arch.firmware, arch.cpu] if name in files), None)


def other_loader(name: str, current: Loader | None = None) -> Loader | None:
    """The loader that drives the card another way than the one of this name; None for a file that has no such pair.

    current: what the machine is given under that name.
    """
    pair = next((pair for pair in _PAIRS if name in pair), None)
    if pair is None:
        return None
    return "ipxe" if (current or ("snponly", "ipxe")[pair.index(name)]) == "snponly" else "snponly"


def swap_loaders(files: Mapping[str, str], loader: Loader) -> dict[str, str]:
    """The same names, each of a pair with the content of the one that the machine is to get, where that is there."""
    found = dict(files)
    for pair in _PAIRS:
        chosen = pair[("snponly", "ipxe").index(loader)]
        if chosen in files:
            found |= {name: files[chosen] for name in pair if name in files}
    return found


@dataclass(frozen=True)
class Choice:
    """What one family of clients is to load: a TFTP name, or a URL where the firmware speaks HTTP."""

    family: str
    title: str
    codes: tuple[int, ...]
    file: str
    http: bool

    @property
    def tag(self) -> str:
        """The family as a word that every server's syntax takes."""
        return self.family.replace("-", "_")


def loader_url(address: str, http_port: int, name: str) -> str:
    """Where microhttp serves a loader. Port 80 is left out: some firmware cannot parse it there."""
    port = "" if http_port == 80 else f":{http_port}"
    return f"http://{address}{port}/ipxe/{name}"


def choose_loaders(address: str, http_port: int, files: Collection[str]) -> tuple[Choice, ...]:
    """One Choice for each family that some served file suits, in the table's order."""
    found: dict[str, Choice] = {}
    for arch in ARCHES:
        name = loader_for(arch, files)
        if name is None:
            continue
        if arch.family in found:
            first = found[arch.family]
            found[arch.family] = Choice(first.family, first.title, (*first.codes, arch.code), first.file, first.http)
            continue
        file = loader_url(address, http_port, name) if arch.http else name
        found[arch.family] = Choice(arch.family, arch.title, (arch.code,), file, arch.http)
    return tuple(found.values())


def without_loader(files: Collection[str]) -> tuple[Arch, ...]:
    """The clients that nothing served suits."""
    return tuple(arch for arch in ARCHES if loader_for(arch, files) is None)


def http_loaders(files: Iterable[str]) -> tuple[str, ...]:
    """The served files that microhttp has under /ipxe/ too: UEFI loaders, and the script a prebuilt one asks for."""
    return tuple(name for name in files if name.endswith(".efi") or name == "autoexec.ipxe")
