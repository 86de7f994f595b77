"""Core. Which iPXE binaries a rack needs, by the names that TFTP serves."""

from __future__ import annotations

from rackctl.core.macplan import has_macs
from rackctl.core.model import Rack

DEFAULT_TARGETS = ("undionly.kpxe", "ipxe.efi", "snponly.efi")  # BIOS and UEFI x86_64
ARM64_TARGETS = ("ipxe-arm64.efi", "snponly-arm64.efi")
BIOS_DRIVERS = "ipxe.pxe"  # undionly.kpxe's other: 400 kB, and few machines need it
IA32_TARGETS = ("ipxe-ia32.efi", "snponly-ia32.efi")


def needed_targets(rack: Rack) -> tuple[str, ...]:
    """BIOS and UEFI x86_64 always; 32-bit EFI for Macs, arm64 for systems that are, and what `ipxe.targets` names.

    iPXE's own BIOS drivers for nodes that ask for them by `loader:`.
    """
    usual = DEFAULT_TARGETS + (IA32_TARGETS if has_macs(rack) else ())
    if any(os.arch == "arm64" for os in rack.os_releases()):
        usual += ARM64_TARGETS
    if any(node.loader == "ipxe" and node.firmware != "uefi" for node in rack.nodes.values()):
        usual += (BIOS_DRIVERS,)
    return tuple(dict.fromkeys((*usual, *rack.ipxe.targets)))
