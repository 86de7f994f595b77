"""Core. The Secure Boot lane: upstream's signed shim and iPXE, by the names under which they find each other.

iPXE's shim loads the binary whose name it has itself, without `-shim`; that one loads autoexec.ipxe from where it came.
"""

from __future__ import annotations

SIGNED = "signed"  # as a value of `ipxe.source`
RELEASE = "ipxe-signed"  # its catalogue entry
VERSION = "v2.0.0"
SCRIPT = "autoexec.ipxe"
# Artifact -> the names that TFTP serves it under.
NAMES = {
    "shimx64.efi": ("snponly-shim.efi", "ipxe-shim.efi"),
    "snponly.efi": ("snponly.efi",),
    "ipxe.efi": ("ipxe.efi",),
}
LOADER = "snponly-shim.efi"
