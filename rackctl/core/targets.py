"""Core. Which iPXE binaries a rack needs, by the names that TFTP serves."""

from __future__ import annotations

from rackctl.core.macplan import has_macs
from rackctl.core.model import Rack

DEFAULT_TARGETS = ("undionly.kpxe", "ipxe.efi", "snponly.efi")  # BIOS and UEFI x86_64
IA32_TARGETS = ("ipxe-ia32.efi", "snponly-ia32.efi")


def needed_targets(rack: Rack) -> tuple[str, ...]:
    """BIOS and UEFI x86_64 always; 32-bit EFI when there may be Macs."""
    return DEFAULT_TARGETS + (IA32_TARGETS if has_macs(rack) else ())
