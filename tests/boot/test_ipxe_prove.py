"""`build-ipxe --prove`, as a person types it: BIOS, UEFI x86_64 and arm64, by network, from a stick and from a CD."""

import json
from pathlib import Path

import pytest

from boot.conftest import Rig
from boot.proving import needs_source
from rackctl.adapters.ipxesource import PINNED_COMMIT
from rackctl.core.ipxe.binaries import BUILDARCH, find_fault

pytestmark = [pytest.mark.boot, pytest.mark.engine, needs_source]

# Target -> the firmwares that must boot it. undionly.kpxe, the x86_64 and the 32-bit ones are booted by other files.
WANTED = {
    "ipxe.pxe": ["bios"],
    "snponly-arm64.efi": ["uefi-arm64"],
    "ipxe-arm64.efi": ["uefi-arm64"],
    "ipxe.usb": ["bios", "uefi"],
    "ipxe.iso": ["bios", "uefi"],
}


def test_each_binary_boots_to_its_script_on_its_own_firmware(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "rack")
    rig.folder.mkdir()
    rig.write(ipxe="source")
    out = tmp_path / "binaries"
    words = [word for name in WANTED for word in ("--target", name)]
    found = json.loads(rig.run("build-ipxe", "--prove", "--json", "--output", str(out), *words).stdout)
    proven: dict[str, list[str]] = {}
    for one in found["proven"]:
        proven.setdefault(one["target"], []).append(one["firmware"])
        platform = "pcbios" if one["firmware"] == "bios" else "efi"
        assert f"platform={platform}&buildarch={BUILDARCH[one['firmware']]}&" in one["request"]
    assert proven == WANTED
    for name in WANTED:
        assert find_fault(name, (out / name).read_bytes()) == ""
    assert PINNED_COMMIT in (out / "SOURCE").read_text() and "GNU" in (out / "COPYING.GPLv2").read_text()
