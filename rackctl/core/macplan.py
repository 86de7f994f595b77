"""Core. What a rack offers its Macs: the picker's icons, and which binary each Mac gets for each."""

from __future__ import annotations

from dataclasses import dataclass

from rackctl.core import bsdp
from rackctl.core.macs import Efi
from rackctl.core.model import OsRef, Rack

_SUFFIX = {"ia32": "-ia32", "x86_64": ""}


@dataclass(frozen=True)
class Offer:
    """One icon. os: what it boots; None is what rack.yml says for the machine.

    key: folder of its scripts under http/boot/ and of its binaries under tftp/mac/; empty for the rack's own.
    """

    image: bsdp.Image
    os: OsRef | None
    key: str = ""


@dataclass(frozen=True)
class MacPlan:
    """What the DHCP servers and the responder are told.

    server: address of TFTP, and of the responder. dhcp: of the DHCP server that is being configured; None if unknown,
    it then also answers a SELECT that is meant for another server. form: full, simple or both, as in rack.yml.
    ia32_macs, x86_64_macs: MACs of nodes that rack.yml says more of than their model does. ia32: are there 32-bit
    binaries? known: MACs of the only Macs that the responder answers; None is every Mac.
    """

    offers: tuple[Offer, ...]
    server: str
    loader: str
    form: str = "full"
    fat: bool = False
    ia32: bool = True
    dhcp: str | None = None
    ia32_macs: tuple[str, ...] = ()
    x86_64_macs: tuple[str, ...] = ()
    known: tuple[str, ...] | None = None

    @property
    def one_file(self) -> bool:
        """Whether every Mac gets the same binary."""
        return self.fat or not self.ia32

    def file(self, offer: Offer, efi: Efi) -> str:
        """The TFTP name for this icon and firmware."""
        folder = f"mac/{offer.key}/" if offer.key else ""
        if self.fat:
            return f"{folder}{self.loader}-mac.efi"
        return f"{folder}{self.loader}{_SUFFIX[efi] if self.ia32 else ''}.efi"

    def files(self) -> tuple[str, ...]:
        """Every TFTP name, each once."""
        widths: tuple[Efi, ...] = ("ia32", "x86_64")
        return tuple(dict.fromkeys(self.file(offer, efi) for offer in self.offers for efi in widths))

    @property
    def list_bytes(self) -> bytes:
        """Option 43 of ACK[LIST]. Raises ConfigError when the labels are too long together."""
        images = [offer.image for offer in self.offers]
        return bsdp.encode_list(images, images[0].id)


def make_plan(rack: Rack, *, ia32: bool = True, dhcp: str | None = None) -> MacPlan:
    """Raises ConfigError when the icons' labels do not fit one option 43."""
    settings = rack.mac
    releases = [os for os in rack.os_releases() if os.name != "local"] if settings.icon_per_os else []
    names = [os.name for os in releases]
    found: list[tuple[str, OsRef | None, str]] = [(settings.label, None, "")]
    for os in releases:
        # The version may be a wish still (v1.5.x) where nothing was fetched yet: only in the label then, if possible.
        key = os.name if names.count(os.name) == 1 else f"{os.name}-{os.version}"
        found.append((f"{os.name} {os.version}", os, key))
    offers = [
        Offer(bsdp.Image(bsdp.ImageId(settings.index + number), label), os, key)
        for number, (label, os, key) in enumerate(found)
    ]
    mine = tuple(node.mac for node in rack.nodes.values() if node.mac_boot == "network")
    odd = [node for node in rack.nodes.values() if node.mac_efi is not None]
    plan = MacPlan(
        offers=tuple(offers),
        server=rack.server.address,
        loader=settings.loader,
        form=settings.form,
        fat=settings.fat,
        ia32=ia32,
        dhcp=dhcp,
        ia32_macs=tuple(node.mac for node in odd if node.mac_efi == "ia32"),
        x86_64_macs=tuple(node.mac for node in odd if node.mac_efi == "x86_64"),
        known=mine if rack.unknown == "ignore" else None,
    )
    plan.list_bytes  # noqa: B018 its ConfigError belongs here, before anything is rendered
    return plan


def has_macs(rack: Rack) -> bool:
    """Whether DHCP servers must know of Macs at all."""
    return rack.mac.bsdp or any(node.is_mac and node.mac_boot == "network" for node in rack.nodes.values())
