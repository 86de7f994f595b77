"""Brings the iPXE binaries of a rack's Macs: one pair for each icon, universal ones where rack.yml asks for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rackctl.adapters import ipxe
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.stick import make_stick
from rackctl.core.macplan import MacPlan, Offer, has_macs, make_plan
from rackctl.core.model import Rack
from rackctl.core.pe import make_fat, pe_machine
from rackctl.core.stick import stick_files, stick_id
from rackctl.core.targets import DEFAULT_TARGETS, IA32_TARGETS
from rackctl.errors import RackError
from rackctl.ipxebuild import build_loaders, read_script
from rackctl.supply import CACHE

Report = Callable[[str], None]


def add_mac_loaders(folder: RackFolder, rack: Rack, build: ipxe.IpxeBuild, report: Report) -> ipxe.IpxeBuild:
    """The same build with what the Macs need besides; unchanged for a rack without Macs.

    Raises RackError when rack.yml asks for what the prebuilt lane does not have: Debian's iPXE has no 32-bit EFI.
    """
    if not has_macs(rack):
        return build
    if build.lane != "source":
        _check_prebuilt(rack)
        report(
            "iPXE: the prebuilt lane has no 32-bit EFI binary, so Macs of 2006 with 32-bit EFI cannot boot from here"
        )
        return build
    plan = make_plan(rack)
    files = dict(build.files)
    for offer in plan.offers:
        if offer.os:
            made = _build_icon(folder, rack, plan, offer, report)
            files |= {f"mac/{offer.key}/{name}": file for name, file in made.items()}
        if plan.fat:
            files[plan.file(offer, "x86_64")] = _make_fat_file(rack, plan, offer, files)
    return replace(build, files=files)


def _check_prebuilt(rack: Rack) -> None:
    wishes = [f"node {name} has 32-bit EFI" for name, node in rack.nodes.items() if node.is_mac and node.efi == "ia32"]
    wishes += ["mac.fat"] if rack.mac.fat else []
    wishes += ["mac.icon_per_os"] if rack.mac.icon_per_os else []
    if wishes:
        raise RackError(
            f"only an iPXE built from source can do this: {', '.join(wishes)}",
            "rack.yml",
            f"put a clone of iPXE's repository at {CACHE / 'ipxe'}, or name its URL in rack.yml: ipxe",
        )


def _build_icon(folder: RackFolder, rack: Rack, plan: MacPlan, offer: Offer, report: Report) -> dict[str, Path]:
    """The pair of binaries whose script asks for this icon's OS."""
    pair = (f"{plan.loader}.efi", f"{plan.loader}-ia32.efi")
    return build_loaders(folder, rack, report, pair, f"boot/{offer.key}").files


def _make_fat_file(rack: Rack, plan: MacPlan, offer: Offer, files: dict[str, Path]) -> Path:
    thin = replace(plan, fat=False)
    raw = make_fat([files[thin.file(offer, efi)].read_bytes() for efi in ("ia32", "x86_64")])
    target = CACHE / "ipxe-out" / f"fat-{hashlib.sha256(raw).hexdigest()[:16]}.efi"
    if not target.exists():
        aside = target.with_suffix(f".{os.getpid()}.part")  # racks may come up at the same time
        aside.write_bytes(raw)
        aside.rename(target)
    return target


def build_stick(folder: RackFolder, image: Path, report: Report) -> dict[str, bytes]:
    """Write the stick's image; returns what is on it. Raises EngineError, and RackError as build_ipxe does."""
    rack = folder.read_rack()
    build = build_loaders(folder, rack, report, (*DEFAULT_TARGETS, *IA32_TARGETS))
    # A stick brings drivers of its own: snponly would use the network device that it was loaded from, which is none.
    names = [name for name in ("ipxe.efi", "ipxe-ia32.efi") if name in build.files]
    raws = [build.files[name].read_bytes() for name in names]
    beside = None if build.lane == "source" else read_script(folder, rack)
    files = stick_files({pe_machine(raw): raw for raw in raws}, rack.server.address, beside)
    make_stick(files, stick_id(files), image, report)
    return files
