"""Core. What rackctl knows of Macs by their model identifier (`sysctl -n hw.model`): EFI width, and who can netboot."""

from __future__ import annotations

import difflib
import re
from typing import Literal

Efi = Literal["ia32", "x86_64"]

# 32-bit CPU, hence 32-bit EFI (rEFIt's page of Macs): the first Intel Macs, of 2006.
_CORE_DUO = ("MacBook1,1", "MacBookPro1,1", "MacBookPro1,2", "Macmini1,1", "iMac4,1", "iMac4,2")
# 64-bit CPU behind 32-bit EFI, 2006 and early 2007. Macmini2,1 is from general knowledge, the rest from lists of Mac
# admins. The truth on a machine: ioreg -l -p IODeviceTree | grep firmware-abi
_CORE_2 = (
    "MacBook2,1",
    "MacBookPro2,1",
    "MacBookPro2,2",
    "Macmini2,1",
    "iMac5,1",
    "iMac5,2",
    "iMac6,1",
    "MacPro1,1",
    "MacPro2,1",
    "Xserve1,1",
)
IA32_MODELS = (*_CORE_DUO, *_CORE_2)

# Every Mac with a T2 chip, 2017 to 2020 (Apple's list of them, HT208862): no N key, no BSDP in firmware.
_T2 = re.compile(
    r"iMacPro1,1|iMac20,[12]|Macmini8,1|MacPro7,1|MacBookAir8,[12]|MacBookAir9,1|MacBookPro15,[1-4]|MacBookPro16,[1-4]"
)
# From the Mac Studio on, Apple silicon is plain `Mac<n>,<m>`; the first ones still had the old names.
_APPLE_SILICON = re.compile(
    r"Mac\d{1,3},\d{1,3}|MacBookAir10,\d|MacBookPro1[78],\d|Macmini9,\d|iMac2[1-9],\d|VirtualMac\d{1,3},\d{1,3}",
    re.ASCII,
)
_INTEL = re.compile(r"(iMac|iMacPro|MacBook|MacBookAir|MacBookPro|Macmini|MacPro|Xserve)\d{1,2},\d", re.ASCII)
_POWERPC = re.compile(r"(PowerMac|PowerBook|RackMac|iBook|eMate)\d{1,2},\d{1,2}", re.ASCII)
_SHAPE = re.compile(r"([A-Za-z]+)(\d{1,2},\d)", re.ASCII)
_LONGEST = 30  # characters that are shown of what is no model
_FAMILIES = ("iMac", "iMacPro", "MacBook", "MacBookAir", "MacBookPro", "Macmini", "MacPro", "Xserve")

T2_REASON = (
    "it has a T2 chip: its firmware has neither the N key nor BSDP. It can boot from `rackctl mac stick` once Startup "
    "Security Utility allows external boot and has Secure Boot off; then write mac_boot: stick"
)
SILICON_REASON = "it has Apple silicon: its firmware is not EFI, so neither network nor stick can start iPXE"
POWERPC_REASON = "it has a PowerPC: its firmware is Open Firmware, not EFI"


def parse_model(text: str) -> str:
    """A model identifier as the Mac itself writes it. Raises ValueError with the nearest family for anything else."""
    if any(form.fullmatch(text) for form in (_INTEL, _APPLE_SILICON, _POWERPC)):
        return text
    shape = _SHAPE.fullmatch(text)
    near = difflib.get_close_matches(shape[1], _FAMILIES, n=1, cutoff=0.6) if shape else []
    hint = f"; did you mean {near[0]}{shape[2]}?" if near and shape else ";"
    shown = repr(text) if len(text) <= _LONGEST else f"{text[:_LONGEST]!r}..."
    raise ValueError(f"{shown} is not a Mac's model identifier, like Macmini6,2{hint} on it: sysctl -n hw.model")


def netboot_refusal(model: str) -> str:
    """Why this Mac cannot netboot; empty when it can."""
    if _T2.fullmatch(model):
        return T2_REASON
    return stick_refusal(model)


def stick_refusal(model: str) -> str:
    """Why this Mac cannot boot iPXE from a stick either; empty when it can."""
    if _APPLE_SILICON.fullmatch(model):
        return SILICON_REASON
    return POWERPC_REASON if _POWERPC.fullmatch(model) else ""


def efi_width(model: str) -> Efi:
    """The EFI that the model's firmware runs; x86_64 for a model that is not in the table."""
    return "ia32" if model in IA32_MODELS else "x86_64"
