"""Core. What lies on a stick that starts iPXE on Macs and other UEFI machines: path -> bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from rackctl.core.pe import MACHINE_IA32, MACHINE_X86_64, make_fat

# UEFI 2.10 section 3.5.1.1: what firmware starts from removable media. Macs show it as "EFI Boot" in the picker.
_REMOVABLE = {MACHINE_X86_64: "EFI/BOOT/BOOTX64.EFI", MACHINE_IA32: "EFI/BOOT/BOOTIA32.EFI"}
_CORE_SERVICES = "System/Library/CoreServices/boot.efi"  # where Apple's firmware looks on a volume of Mac OS X
_README = """\
rackctl's stick: it starts iPXE, which boots what the rack at {server} says.\r
Mac: hold Option while it starts and choose "EFI Boot". With a T2 chip, first allow external boot\r
and turn Secure Boot off in Startup Security Utility (Command-R). Apple silicon cannot.\r
"""


def stick_files(binaries: Mapping[int, bytes], server: str, script: str | None) -> dict[str, bytes]:
    """binaries: PE machine type -> iPXE. script: for binaries that do not carry it, beside them.

    The boot.efi is universal when both widths are there. Raises RackError for a file that is no EFI binary.
    """
    files = {_REMOVABLE[machine]: raw for machine, raw in binaries.items()}
    both = [binaries[machine] for machine in (MACHINE_IA32, MACHINE_X86_64) if machine in binaries]
    files[_CORE_SERVICES] = make_fat(both) if len(both) > 1 else both[0]
    if script is not None:
        files |= {f"{folder}autoexec.ipxe": script.encode() for folder in ("", "EFI/BOOT/")}
    files["README.TXT"] = _README.format(server=server).encode()
    return files


def stick_id(files: Mapping[str, bytes]) -> str:
    """32 hex digits for the disk's and the volume's ids: the same files give the same stick."""
    total = hashlib.sha256()
    for path, raw in sorted(files.items()):
        total.update(path.encode() + b"\0" + hashlib.sha256(raw).digest())
    return total.hexdigest()[:32]
