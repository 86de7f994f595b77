"""Which machine `rackctl lab boot` plays, with how much memory, and what counts as done."""

import pytest

from rackctl.core.catalog import Catalog
from rackctl.core.events import Stage
from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError
from rackctl.trial import INSTALLER_SILENCE, SILENCE, UNKNOWN_MAC, choose_mac, choose_memory, choose_patience

A, B, C = (f"52:54:00:00:00:0{n}" for n in (1, 2, 3))
RACK = parse_rack(
    "server: {address: 10.98.0.1}\nnodes:\n"
    f"  a: {{mac: '{A}', os: {{name: talos, version: v1.11.3}}}}\n"
    f"  b: {{mac: '{B}', os: {{name: rancheros, version: v1.5.8}}}}\n"
    f"  c: {{mac: '{C}', os: {{name: debian, version: '13'}}}}\n"
)


@pytest.mark.parametrize(
    ("node", "os", "mac"),
    [
        ("b", "", B),
        ("b", "talos", B),
        ("", "rancheros", B),
        ("", "", UNKNOWN_MAC["uefi"]),
        ("", "discovery", UNKNOWN_MAC["uefi"]),
    ],
)
def test_the_machine_is_the_node_else_the_first_of_the_os_else_unknown(node: str, os: str, mac: str) -> None:
    assert choose_mac(RACK, node, os, "uefi") == mac


@pytest.mark.parametrize(("node", "os", "says"), [("x", "", "no node 'x'"), ("", "flatcar", "no machine of this rack")])
def test_a_machine_that_is_not_there_is_named_with_the_remedy(node: str, os: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        choose_mac(RACK, node, os, "bios")
    assert caught.value.remedy


def test_each_os_has_its_memory_and_its_end() -> None:
    assert choose_memory(RACK, B, Catalog()) == 2048
    assert choose_memory(RACK, UNKNOWN_MAC["bios"], Catalog()) == 768
    assert choose_patience(RACK, UNKNOWN_MAC["bios"], Catalog()) == (SILENCE, Stage.CHECKIN)
    assert choose_patience(RACK, C, Catalog()) == (INSTALLER_SILENCE, Stage.CONFIG)
