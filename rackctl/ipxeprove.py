"""Boots iPXE binaries in the lab before any machine does: `build-ipxe --prove`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import imagebuild
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.ipxe import IpxeBuild
from rackctl.adapters.labprove import Order, prove
from rackctl.core.ipxe.binaries import BINARIES, BUILDARCH
from rackctl.core.model import Rack
from rackctl.errors import BootError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Proven:
    """firmware: "" for a binary that the lab has no firmware for; seconds: from power-on to its script's request."""

    target: str
    firmware: str
    seconds: float
    request: str

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return dict(self.__dict__)


def prove_build(folder: RackFolder, rack: Rack, build: IpxeBuild, report: Report) -> Iterator[Proven]:
    """Boot every binary, one after the other, in a network of its own that has the rack's server address.

    Nothing of it meets the rack's services or network. Raises BootError for the first that does not ask for its script,
    or says that it is of another platform; EngineError.
    """
    lab = imagebuild.build_image("lab", report)
    for name, kind, firmware, file in _boots(build):
        if not firmware:
            yield Proven(name, "", 0.0, "")
            continue
        image = imagebuild.build_image("lab-arm64", report, lab) if firmware == "uefi-arm64" else lab
        base = file.parent if build.lane == "source" else build.files["ipxe.efi"].parent
        proof = prove(_order(folder, rack, file, base, kind, firmware), image, folder.work / "lab", report)
        wanted = ("pcbios" if firmware == "bios" else "efi", BUILDARCH[firmware])
        found = (proof.facts.get("platform", ""), proof.facts.get("buildarch", ""))
        if rack.ipxe.script is None and build.lane == "source" and found != wanted:
            raise BootError(f"{name} says that it is {found}, not {wanted}", str(proof.console), "build it again")
        yield Proven(name, firmware, round(proof.seconds, 1), proof.request)


def _order(folder: RackFolder, rack: Rack, file: Path, base: Path, kind: str, firmware: str) -> Order:
    https = rack.ipxe.https
    return Order(
        file=file,
        folder=base,
        kind=kind,
        firmware=firmware,
        address=rack.server.address,
        http_port=rack.server.http_port,
        https_port=https.port if https else None,
        tls=_tls(folder, rack) if https else None,
        vlan=rack.ipxe.vlan,
        any_request=rack.ipxe.script is not None,
        serial=_serial(rack.ipxe.console.serial, firmware),
    )


def _serial(port: str | None, firmware: str) -> int | None:
    """The number of the port that is looked at: the first is the firmware's console, and arm64 has none of them."""
    return None if port in (None, "COM1") or firmware == "uefi-arm64" else int(port.removeprefix("COM"))


def _tls(folder: RackFolder, rack: Rack) -> Path:
    from rackctl.adapters.rackca import server_tls

    return server_tls(folder.path, folder.work, rack.server.address).folder


def _boots(build: IpxeBuild) -> Iterator[tuple[str, str, str, Path]]:
    if build.lane != "source":
        yield build.bios_file, "net", "bios", build.files[build.bios_file]
        yield build.efi_file, "net", "uefi", build.files[build.efi_file]
        return
    for name, file in build.files.items():
        for firmware in BINARIES[name].lab or ("",):
            yield name, BINARIES[name].kind, firmware, file
