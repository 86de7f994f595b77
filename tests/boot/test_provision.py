"""The whole loop: a virtual rack behind real BMCs, from power-off to the check-in and back by the power button."""

import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peers
import pytest

from boot.conftest import BMC_NETWORK
from boot.control_plane import serve_control_plane

RACKCTL = str(Path(sys.executable).with_name("rackctl"))
ADDRESS = BMC_NETWORK.partition("/")[0]
BRIDGE = f"rackctl{int(ipaddress.IPv4Address(ADDRESS)):08x}"
TOKEN = "K10" + "0123456789abcdef" * 4 + "::node:canary-token"
pytestmark = [pytest.mark.boot, pytest.mark.engine]


class Lab:
    """A virtual rack with a network of its own."""

    def __init__(self, rack: Path) -> None:
        self.rack = rack
        self.env = {**os.environ, "RACKCTL_LAB": BMC_NETWORK}

    def run(self, *words: str, code: int = 0) -> str:
        argv = [RACKCTL, *words, "--rack", str(self.rack)]
        done = subprocess.run(argv, capture_output=True, text=True, env=self.env, timeout=570)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def states(self) -> list[str]:
        found = json.loads(self.run("power", "status", "--all", "--json"))
        return [one["state"] for one in found["outcomes"]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("virtual"))
    try:
        found.run("lab", "up", "--nodes", "3")
        yield found
    finally:
        for words in (("down",), ("lab", "down")):
            subprocess.run([RACKCTL, *words, "--rack", str(found.rack)], capture_output=True, env=found.env)


def test_three_machines_from_off_to_joined_and_softly_off(lab: Lab, tmp_path: Path) -> None:
    assert lab.states() == ["off", "off", "off"]
    rack, secret = lab.rack / "rack.yml", lab.rack / "secrets" / "k3s-token"
    secret.touch(mode=0o600)
    secret.write_text(TOKEN + "\n")
    rack.write_text(rack.read_text() + f'join: {{kind: k3s, server: "http://{ADDRESS}:16443", token: k3s-token}}\n')
    log = tmp_path / "console.log"
    console = subprocess.Popen(
        [RACKCTL, "console", "node1", "--log", str(log), "--rack", str(lab.rack)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=lab.env,
    )  # fmt: skip
    names = ["node1", "node2", "node3"]
    try:
        with serve_control_plane(ADDRESS, 16443, TOKEN) as asked:
            found = json.loads(lab.run("provision", "--all", "--json"))["nodes"]
    finally:
        console.send_signal(2)
        console.wait(30)
    assert [(one["node"], one["state"]) for one in found] == [(name, "joined") for name in names]
    assert sorted(one["node"] for one in asked) == names
    stages = [[stage["stage"] for stage in one["timeline"]["stages"]] for one in found]
    assert [(one[:4], one[-2:]) for one in stages] == [
        (["dhcp", "loader", "script", "kernel"], ["checkin", "joined"])
    ] * 3
    assert {one["timeline"]["firmware"] for one in found} == {"pcbios", "efi"}
    assert b"iPXE" in log.read_bytes()
    assert lab.states() == ["on", "on", "on"]
    lab.run("power", "soft", "--all", "--wait", "120")
    assert lab.states() == ["off", "off", "off"]


def test_without_a_boot_device_nothing_is_asked_of_the_network(lab: Lab) -> None:
    router = lab.rack / ".rackctl" / "lab" / "bmcs" / "node1" / "router.jsonl"
    before = router.read_text().count("DHCPDISCOVER")
    lab.run("power", "on", "node1")  # the boot device of the test before was for one boot
    time.sleep(6)
    assert router.read_text().count("DHCPDISCOVER") == before
    lab.run("power", "off", "node1", "--force")


def test_a_machine_that_stops_is_named_and_ends_with_6(lab: Lab) -> None:
    rack = lab.rack / "rack.yml"
    whole = rack.read_text()
    # a BMC with another password: the machine is not touched, the others could go on
    rack.write_text(whole.replace("{port: 6231}", "{port: 6231, password: 'env:NOT_IT'}"))
    lab.env["NOT_IT"] = "wrong"
    try:
        found = json.loads(lab.run("provision", "node1", "--json", code=6))["nodes"]
    finally:
        rack.write_text(whole)
    assert (found[0]["state"], found[0]["stage"]) == ("failed", "bmc")
    assert "authentication" in found[0]["text"]


@contextmanager
def dropped(text: str) -> Iterator[None]:
    """What machines send by TCP with this text in it is lost."""

    def rule(verb: str) -> subprocess.CompletedProcess[bytes]:
        words = f"-w -t raw -{verb} PREROUTING -i {BRIDGE} -p tcp -m string --algo bm --string {text} -j DROP".split()
        engine = ["docker", "run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]
        return subprocess.run([*engine, "--entrypoint", "iptables", peers.image(), *words], capture_output=True)

    if (done := rule("A")).returncode:
        pytest.skip(f"this kernel cannot match text in packets: {done.stderr.decode()}")
    try:
        yield
    finally:
        assert rule("D").returncode == 0


def test_a_loader_that_cannot_reach_its_script_gives_way_to_the_other(lab: Lab) -> None:
    """undionly names itself in the request for its script; ipxe.pxe drives the card itself, and names that."""
    if json.loads(lab.run("up", "--json"))["lane"] != "source":
        pytest.skip("the prebuilt lane has one loader for each firmware; a clone of iPXE's source gives both")
    rack = lab.rack / "rack.yml"
    whole = rack.read_text()
    rack.write_text(whole.replace("firmware: bios,", "firmware: bios, boot: local,"))  # no system need load
    try:
        with dropped("chip=undionly"):
            (found,) = json.loads(lab.run("provision", "node1", "--json"))["nodes"]
    finally:
        rack.write_text(whole)
        lab.run("power", "off", "node1", "--force")
    assert (found["state"], found["tries"], found["loader"]) == ("disk", 2, "ipxe")
    files = [stage["detail"].get("file", "") for stage in found["timeline"]["stages"]]
    assert re.search(r"/tftp/52-54-00(-[0-9a-f]{2}){3}/undionly\.kpxe$", files[1])
    assert found["timeline"]["facts"]["chip"] != "undionly"


def test_preflight_boots_a_stand_in(lab: Lab) -> None:
    told = json.loads(lab.run("preflight", "node2", "--json"))
    assert (told["verdict"], told["firmware"]) == ("done", "efi")
    assert lab.states()[1] == "off"


def test_the_same_machines_behind_redfish(lab: Lab) -> None:
    """rack.yml with Redfish in place of IPMI, and sushy-tools' emulator that starts and stops the machines."""
    (lab.rack / "rack.yml").unlink()
    lab.run("lab", "up", "--nodes", "2", "--redfish")
    assert lab.states() == ["off", "off"]
    lab.run("bootdev", "node1", "pxe")
    lab.run("power", "on", "node1")
    assert lab.states() == ["on", "off"]
    lab.run("power", "cycle", "node1")
    lab.run("power", "off", "node1", "--force")
    assert lab.states() == ["off", "off"]
    # and the same machine without any BMC
    rack = lab.rack / "rack.yml"
    text = rack.read_text().replace("bmc: {driver: redfish", "#")
    rack.write_text("".join(line for line in text.splitlines(True) if not line.startswith("#")))
    rack.write_text(re.sub(r"bmc: \{system: [^}]*\}", "bmc: {driver: lab}", rack.read_text()))
    lab.run("power", "on", "node2")
    assert lab.states() == ["off", "on"]
    lab.run("power", "off", "node2", "--force")
