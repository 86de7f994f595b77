"""`loader:` of a node: the same names by TFTP, another content for its MAC."""

import pytest

from rackctl.core.dhcp.arch import other_loader, swap_loaders
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack
from rackctl.core.targets import needed_targets
from rackctl.errors import ConfigError

LOADERS = {"undionly.kpxe": "u", "ipxe.pxe": "p", "snponly.efi": "s", "ipxe.efi": "e", "autoexec.ipxe": "a"}
RACK = (
    "server: {{address: 10.98.0.1{more}}}\nnodes:\n  a: {{mac: '52:54:00:00:00:01', loader: ipxe}}\n"
    "  b: {{mac: '52:54:00:00:00:02'}}\n"
)


@pytest.mark.parametrize(
    ("name", "current", "other"),
    [
        ("undionly.kpxe", None, "ipxe"),
        ("snponly.efi", None, "ipxe"),
        ("ipxe.efi", None, "snponly"),
        ("snponly.efi", "ipxe", "snponly"),  # it was given the other one under this name
        ("pxelinux.0", None, None),
        ("", None, None),
    ],
)
def test_the_other_loader(name: str, current: str | None, other: str | None) -> None:
    assert other_loader(name, current) == other  # type: ignore[arg-type]


def test_each_name_of_a_pair_is_the_chosen_one() -> None:
    swapped = {"undionly.kpxe": "p", "ipxe.pxe": "p", "snponly.efi": "e", "ipxe.efi": "e", "autoexec.ipxe": "a"}
    assert swap_loaders(LOADERS, "ipxe") == swapped
    assert swap_loaders({"undionly.kpxe": "u"}, "ipxe") == {"undionly.kpxe": "u"}  # nothing to put in its place


def test_a_folder_by_its_mac_holds_every_file() -> None:
    tree = render_rack(parse_rack(RACK.format(more="")), {}, LOADERS, "p", {"tftp": "t", "microhttp": "m"})
    mine = {path: digest for path, digest in tree.artifacts.items() if path.startswith("tftp/52-")}
    assert mine == {f"tftp/52-54-00-00-00-01/{k}": v for k, v in swap_loaders(LOADERS, "ipxe").items()}
    assert b"\ntftp-unique-root=mac\n" in tree.files["dnsmasq.conf"]


def test_the_bios_loader_with_drivers_is_made_for_who_asks() -> None:
    rack = parse_rack(RACK.format(more=""))
    assert "ipxe.pxe" in needed_targets(rack)
    assert "ipxe.pxe" not in needed_targets(rack.with_loaders({"a": "snponly"}))
    assert "ipxe.pxe" not in needed_targets(parse_rack(RACK.format(more="").replace("ipxe}", "ipxe, firmware: uefi}")))


def test_a_bridge_hides_the_mac() -> None:
    with pytest.raises(ConfigError, match=r"needs server\.network: host"):
        parse_rack(RACK.format(more=", network: bridge"))
