import pytest

from rackctl.core.labrack import Protocol, plan_nodes, render_lab_rack, render_machine
from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError


def test_the_virtual_racks_file_is_a_good_rack() -> None:
    nodes = plan_nodes(3, "10.98.7.1")
    rack = parse_rack(render_lab_rack(nodes, 8083))
    assert [rack.nodes[node.name].firmware for node in nodes] == ["bios", "uefi", "bios"]
    bmc = rack.bmc_of("node3")
    assert bmc and (bmc.driver, bmc.address, bmc.port, bmc.password) == ("ipmi", "10.98.7.1", 6233, "secrets/lab-bmc")
    assert rack.server.http_port == 8083


def test_the_same_machines_behind_redfish() -> None:
    nodes = plan_nodes(2, "10.98.7.1")
    bmc = parse_rack(render_lab_rack(nodes, 83, Protocol.REDFISH)).bmc_of("node2")
    assert bmc and (bmc.driver, bmc.port, bmc.tls) == ("redfish", 8000, False)
    assert bmc.system == f"/redfish/v1/Systems/{nodes[1].uuid}"


def test_ipmi_and_redfish_by_turns() -> None:
    nodes = plan_nodes(4, "10.98.7.1")
    rack = parse_rack(render_lab_rack(nodes, 83, Protocol.BOTH))
    found = [rack.bmc_of(node.name) for node in nodes]
    assert [bmc and (bmc.driver, bmc.port) for bmc in found] == [
        ("ipmi", 6231), ("redfish", 8000), ("ipmi", 6233), ("redfish", 8000)
    ]  # fmt: skip
    assert found[1] and (found[1].system, found[1].cipher) == (f"/redfish/v1/Systems/{nodes[1].uuid}", None)


def test_two_labs_do_not_meet() -> None:
    one, two = plan_nodes(2, "10.98.7.1"), plan_nodes(2, "10.98.8.1")
    assert not {node.mac for node in one} & {node.mac for node in two}
    assert not {node.console for node in one} & {node.console for node in two}


def test_a_machine_as_its_bmc_reads_it() -> None:
    (node,) = plan_nodes(1, "10.98.7.1")
    text = render_machine(node, {"LAB_BRIDGE": "br", "LAB_ADDRESS": "10.98.7.1/24"}, 512)
    assert "LAB_MAC=52:54:00:62:07:01\n" in text
    assert "LAB_CONSOLE=127.98.7.1:7231\n" in text
    assert all(line.count("=") == 1 and " " not in line for line in text.splitlines())


@pytest.mark.parametrize("count", [0, 21, -1])
def test_how_many(count: int) -> None:
    with pytest.raises(ConfigError):
        plan_nodes(count, "10.98.7.1")
