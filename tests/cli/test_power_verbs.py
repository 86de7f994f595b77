"""Every verb by the real program, as people read it and as scripts do, against ipmi_sim."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from bmc_sims import PASSWORD, Sim, running_sims, write_rack
from real_cli import Done, assert_refused, run_cli

pytestmark = pytest.mark.engine


class Rack:
    """Two machines behind real BMCs; the first has a sensor and an event."""

    def __init__(self, folder: Path, sims: list[Sim]) -> None:
        self.folder, self.sims = folder, sims
        self.write("cipher: 3,")

    def write(self, keys: str) -> None:
        write_rack(self.folder, self.sims, f"password: 'env:PW', timeout: 4, wait: 6, {keys}")
        rack = self.folder / "rack.yml"
        rack.write_text(rack.read_text().replace("00:01',", "00:01', groups: [web],"))  # the second one

    def run(self, *words: str) -> Done:
        return run_cli(*words, cwd=self.folder, env={"PW": PASSWORD})


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with running_sims(tmp_path_factory.mktemp("bmcs"), 2, 15300, with_sensor=1) as sims:
        yield Rack(tmp_path_factory.mktemp("rack"), sims)


@pytest.fixture
def rack(started: Rack) -> Iterator[Rack]:
    for sim in started.sims:
        sim.reset()
    yield started
    started.write("cipher: 3,")


def test_power_by_name_group_and_all(rack: Rack) -> None:
    done = rack.run("power", "on", "b1")
    assert re.match(r"b1  on  \(ipmi, \d+\.\d s\)", done.stdout)
    assert [sim.calls() for sim in rack.sims] == [["set power 1"], []]
    for verb, state, last in (
        ("on", "on", "set power 1"),
        ("reset", "on", "set reset 1"),
        ("cycle", "on", "set power 1"),
    ):
        assert f"b2  {state}" in rack.run("power", verb, "--group", "web").stdout
        assert rack.sims[1].calls()[-1] == last
    assert rack.sims[0].calls() == ["set power 1"]
    for sim in rack.sims:
        sim.set("obeys")
    done = rack.run("power", "soft", "--all", "--json")
    assert [(one["node"], one["state"]) for one in json.loads(done.stdout)["outcomes"]] == [
        ("b1", "off"),
        ("b2", "off"),
    ]
    assert [sim.calls()[-1] for sim in rack.sims] == ["set shutdown 1"] * 2
    assert_refused(rack.run("power", "on", "b3"), 2, "b3")
    assert_refused(rack.run("power", "on"), 2, "--all")


def test_boot_devices_once_and_persistent(rack: Rack) -> None:
    done = rack.run("bootdev", "b1", "b2", "pxe", "--once")
    assert (done.returncode, "b1  pxe" in done.stdout, "kept for every boot" in done.stdout) == (0, True, False)
    assert [sim.calls() for sim in rack.sims] == [["set boot pxe"]] * 2
    done = rack.run("bootdev", "b1", "disk", "--persistent")
    assert (done.returncode, "warning: the BMC says that it is not kept for every boot" in done.stdout) == (0, True)
    assert_refused(rack.run("bootdev", "b1", "floppy"), 2, "floppy")


def test_sensors_events_and_check(rack: Rack) -> None:
    assert "CPU Temp  96.000  degrees C" in rack.run("sensors", "b1").stdout
    assert "Upper Critical going high" in rack.run("sel", "b1").stdout
    done = rack.run("sel", "b1", "--clear")
    assert done.returncode == 0
    assert "Upper Critical going high" in done.stdout  # what is cleared was shown
    assert "0 events" in rack.run("sel", "b1").stdout
    told = rack.run("bmc", "check", "b1").stdout
    for fact in (r"cipher suite +3", r"firmware +9\.08", r"LAN: Subnet Mask +0\.0\.0\.0", r"answers in +\d+\.\d\d s"):
        assert re.search(fact, told), told


def test_the_cipher_suite_that_worked_is_remembered_for_its_address(rack: Rack) -> None:
    memory = rack.folder / ".rackctl" / "bmc.json"
    memory.unlink(missing_ok=True)
    rack.write("")
    first, second = (json.loads(rack.run("power", "status", "b1", "--json").stdout)["outcomes"][0] for _ in range(2))
    assert "weaker 3" in first["warnings"][0]
    assert (second["state"], second["warnings"]) == ("off", [])
    memory.write_text(memory.read_text().replace("127.0.0.1", "127.0.0.2"))
    third = json.loads(rack.run("power", "status", "b1", "--json").stdout)["outcomes"][0]
    assert third["warnings"] == first["warnings"]


def test_the_efi_flag_is_that_of_the_nodes_firmware(rack: Rack) -> None:
    """ipmi_sim drops the flag, and rackctl says so: of the machine that rack.yml calls UEFI alone."""
    file = rack.folder / "rack.yml"
    file.write_text(
        file.read_text().replace("groups: [web],", "firmware: uefi,").replace("00:00',", "00:00', firmware: bios,")
    )
    told = json.loads(rack.run("bootdev", "b1", "b2", "pxe", "--json").stdout)["outcomes"]
    assert ["the BMC says that it is not for UEFI" in one["warnings"] for one in told] == [False, True]
