"""Real firmware, the real services, a real Linux that checks in."""

import json

import pytest

from boot.conftest import ADDRESS, Rig
from boot.played import RANCHEROS, TALOS, played
from rackctl.adapters.ipxesource import in_cache
from rackctl.supply import CACHE

pytestmark = [pytest.mark.boot, pytest.mark.engine]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here"
STAGES = ["firmware", "dhcp", "loader", "script", "kernel", "initrd", "config", "checkin"]
needs_source = pytest.mark.skipif(
    not in_cache(CACHE), reason=f"no iPXE source in {CACHE}: the source lane needs a clone at {CACHE / 'ipxe'}"
)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("lane", ["prebuilt", pytest.param("source", marks=needs_source)])
def test_a_machine_boots_from_power_off_to_check_in(rig: Rig, lane: str, firmware: str) -> None:
    rig.write(ipxe=lane)
    rig.run("up")
    timeline = rig.boot("--firmware", firmware)
    assert timeline["verdict"] == "done"
    assert [stage["stage"] for stage in timeline["stages"] if stage["ok"]][:8] == STAGES
    times = [stage["end"] for stage in timeline["stages"][:8]]
    assert times == sorted(times) and times[0] > timeline["started"]
    assert timeline["firmware"] == {"bios": "pcbios", "uefi": "efi"}[firmware]
    assert timeline["mac"] in rig.run("nodes").stdout
    assert "checkin" in rig.run("timeline", timeline["mac"]).stdout


def test_rancheros_gets_its_kernel_line_and_cloud_config(rig: Rig) -> None:
    rig.write(
        f"""\
        os: {RANCHEROS}
        ssh_authorized_keys: [{KEY}]
        nodes:
          n1: {{mac: "52:54:00:12:34:56"}}
        """
    )
    with played(rig) as env:
        rig.run("up", **env)
    config = (rig.served / "http/config/52-54-00-12-34-56").read_text()
    assert config.startswith("#cloud-config\n") and "hostname: n1" in config and KEY in config
    timeline = rig.boot("n1")
    words = timeline["cmdline"].split()
    assert f"rancher.cloud_init.datasources=[url:http://{ADDRESS}:8083/config/52-54-00-12-34-56]" in words
    assert (timeline["verdict"], timeline["hostname"], timeline["os"]) == ("done", "n1", "rancheros")


def test_talos_ends_as_loaded_once_it_has_all_that_it_asks_for(rig: Rig) -> None:
    # Without a config of its own it waits for talosctl: the master sees no more of it than its initrd.
    rig.write(f"nodes: {{t1: {{mac: '52:54:00:12:34:58', os: {TALOS}}}}}")
    with played(rig) as env:
        rig.run("up", **env)
    timeline = rig.boot("t1")
    assert (timeline["verdict"], timeline["os"], timeline["missing"]) == ("loaded", "talos", None)
    assert [stage["stage"] for stage in timeline["stages"] if stage["ok"]][-1] == "initrd"
    (row,) = [row for row in json.loads(rig.run("nodes", "--json").stdout)["nodes"] if row["name"] == "t1"]
    assert (row["verdict"], row["problems"]) == ("loaded", [])
    assert "its system tells no more" in rig.run("timeline", "t1").stdout
