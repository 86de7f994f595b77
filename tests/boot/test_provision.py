"""The whole loop: a virtual rack behind real BMCs, from power-off to the check-in and back by the power button."""

import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import peers
import pytest
from waiting import wait_for

from boot.conftest import BMC_NETWORK
from boot.control_plane import serve_control_plane
from rackctl.core.wol import magic_packet

RACKCTL = str(Path(sys.executable).with_name("rackctl"))
ADDRESS = BMC_NETWORK.partition("/")[0]
BRIDGE = f"rackctl{int(ipaddress.IPv4Address(ADDRESS)):08x}"
TOKEN = "K10" + "0123456789abcdef" * 4 + "::node:canary-token"
NAMES = ("node1", "node2", "node3")  # BIOS by IPMI, UEFI by Redfish, BIOS by IPMI
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

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [RACKCTL, *words, "--rack", str(self.rack)]
        return subprocess.Popen(argv, env=self.env, text=True, stdout=subprocess.PIPE)

    def states(self, *nodes: str) -> list[str]:
        found = json.loads(self.run("power", "status", *(nodes or ("--all",)), "--json"))
        return [one["state"] for one in found["outcomes"]]

    @contextmanager
    def changed(self, pattern: str, by: str | Callable[[re.Match[str]], str], more: str = "") -> Iterator[None]:
        """rack.yml with each match of the pattern replaced, and more lines at its end."""
        file = self.rack / "rack.yml"
        whole = file.read_text()
        text, count = re.subn(pattern, by, whole)
        assert count
        file.write_text(text + more)
        try:
            yield
        finally:
            file.write_text(whole)

    def mac(self, node: str) -> str:
        found = re.search(rf'{node}: {{.*?mac: "([0-9a-f:]+)"', (self.rack / "rack.yml").read_text())
        assert found
        return found[1].replace(":", "-")

    def install(self, *nodes: str) -> list[Path]:
        """Tell the services what an installer on each tells at its end; the marks that they made of it."""
        rack = (self.rack / "rack.yml").read_text()
        port = re.search(r"http_port: (\d+)", rack)
        assert port
        for node in nodes:
            uri = f"/checkin?mac={self.mac(node).replace('-', ':')}&state=installed"
            with urlopen(f"http://{ADDRESS}:{port[1]}{uri}", timeout=60) as answer:
                assert answer.read() == b"ok\n"
        marks = [self.rack / ".rackctl" / "state" / "installed" / self.mac(node) for node in nodes]
        assert wait_for(lambda: all(mark.exists() for mark in marks))
        return marks

    def timeline(self, node: str) -> dict[str, Any]:
        """Its last boot."""
        found: dict[str, Any] = json.loads(self.run("timeline", node, "--json"))
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("virtual"))
    try:
        found.run("lab", "up", "--nodes", "3", "--bmc", "both")
        yield found
    finally:
        for words in (("down",), ("lab", "down")):
            subprocess.run([RACKCTL, *words, "--rack", str(found.rack)], capture_output=True, env=found.env)


@pytest.fixture
def cut_off(lab: Lab) -> Iterator[None]:
    """Machines that a failed test left on are no trouble of the next test."""
    yield
    if "on" in lab.states():
        lab.run("power", "off", "--all", "--force")


@pytest.mark.usefixtures("cut_off")
def test_three_machines_from_off_to_joined_and_softly_off(lab: Lab, tmp_path: Path) -> None:
    assert lab.states(*NAMES) == ["off", "off", "off"]
    secret = lab.rack / "secrets" / "k3s-token"
    secret.touch(mode=0o600)
    secret.write_text(TOKEN + "\n")
    log = tmp_path / "console.log"
    console = subprocess.Popen(
        [RACKCTL, "console", "node1", "--log", str(log), "--rack", str(lab.rack)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=lab.env,
    )  # fmt: skip
    join = f'join: {{kind: k3s, server: "http://{ADDRESS}:16443", token: k3s-token}}\n'
    try:
        with (
            serve_control_plane(ADDRESS, 16443, TOKEN) as asked,
            lab.changed(r"node\d: {", lambda found: f"{found[0]}boot: once, ", join),
        ):
            lab.run("up")
            marks = lab.install(*NAMES)  # so that without --reinstall each would go to its disk
            found = json.loads(lab.run("provision", *NAMES, "--reinstall", "--json"))["nodes"]
            assert not any(mark.exists() for mark in marks)
    finally:
        console.send_signal(2)
        console.wait(120)
    assert [(one["node"], one["state"]) for one in found] == [(name, "joined") for name in NAMES]
    assert sorted(one["node"] for one in asked) == list(NAMES)
    stages = [[stage["stage"] for stage in one["timeline"]["stages"]] for one in found]
    assert [(one[:4], one[-2:]) for one in stages] == [
        (["dhcp", "loader", "script", "kernel"], ["checkin", "joined"])
    ] * 3
    assert {one["timeline"]["firmware"] for one in found} == {"pcbios", "efi"}
    # The simulator looks for the serial port of a machine that it started once a while, and what comes before is lost.
    assert b"built-in shell" in log.read_bytes()
    assert lab.states() == ["on", "on", "on"]
    lab.run("power", "soft", *NAMES, "--wait", "120")
    assert lab.states(*NAMES) == ["off", "off", "off"]


def test_the_bmcs_password_is_in_nothing_that_rackctl_wrote_or_started(lab: Lab) -> None:
    """After it took three machines through their boots. The simulators themselves must know it: lab/ is theirs."""
    password = (lab.rack / "secrets" / "lab-bmc").read_text().strip()
    work = lab.rack / ".rackctl"
    files = [f for f in work.rglob("*") if f.is_file() and "lab" not in f.relative_to(work).parts]
    assert {"compose.yml", "bmc.json", "tftp.jsonl", "http.jsonl"} <= {file.name for file in files}
    assert [file for file in files if password.encode() in file.read_bytes()] == []
    names = subprocess.run(
        ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project.working_dir={work}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert len(names) == 2
    for words in (["inspect", *names], *(["logs", name] for name in names)):
        shown = subprocess.run(["docker", *words], capture_output=True, check=True)
        assert password.encode() not in shown.stdout + shown.stderr


def test_preflight_boots_a_stand_in_that_says_what_the_node_said(lab: Lab) -> None:
    lab.run("up")  # without the join of the test before
    told = json.loads(lab.run("preflight", "node2", "--json", "--silence", "200"))
    assert (told["verdict"], told["firmware"]) == ("done", "efi")
    assert [stage["stage"] for stage in told["stages"]][-2:] == ["config", "checkin"]
    lines = (lab.rack / ".rackctl" / "logs" / "http.jsonl").read_text().splitlines()
    asked = [one for line in lines if (one := json.loads(line)["uri"]).startswith(f"/boot/{lab.mac('node2')}.ipxe?")]
    facts = [{key: parse_qs(urlsplit(uri).query)[key] for key in ("mac", "uuid", "serial")} for uri in asked]
    assert facts[-1] == facts[0] and facts[0]["serial"] == ["LAB002"]  # the hardware's own first boot
    assert lab.states("node2") == ["off"]


BOOTS = {"node1": "once", "node2": "reinstall"}


def test_ctrl_c_leaves_what_was_installed_on_its_way_to_its_disk(lab: Lab) -> None:
    try:
        with lab.changed(r"(node1|node2): {", lambda found: f"{found[0]}boot: {BOOTS[found[1]]}, "):
            lab.run("up")
            marks = lab.install(*BOOTS)
            before = [mark.read_text() for mark in marks]
            child = lab.start("provision", *BOOTS)
            told = ""
            assert child.stdout
            while not all(f"{node}  script" in told for node in BOOTS):
                told += (line := child.stdout.readline())
                assert line, told
            child.send_signal(signal.SIGINT)
            told += child.communicate(timeout=60)[0]
            assert child.returncode == 130
            for node in BOOTS:
                assert f"{node}  left: was left as it is, after script; nothing was switched off" in told
                assert [lab.timeline(node)[key] for key in ("verdict", "os")] == ["done", "local disk"]
            assert lab.states(*BOOTS) == ["on", "on"]
            assert [mark.read_text() for mark in marks] == before
    finally:
        lab.run("power", "off", *BOOTS, "--force")


def test_without_a_boot_device_nothing_is_asked_of_the_network(lab: Lab) -> None:
    router = lab.rack / ".rackctl" / "lab" / "bmcs" / "node1" / "router.jsonl"
    before = router.read_text().count("DHCPDISCOVER")
    lab.run("power", "on", "node1")  # the boot device of the test before was for one boot
    time.sleep(6)
    assert router.read_text().count("DHCPDISCOVER") == before
    lab.run("power", "off", "node1", "--force")


def test_a_machine_that_stops_is_named_and_ends_with_6(lab: Lab) -> None:
    # a BMC with another password: the machine is not touched, the others could go on
    lab.env["NOT_IT"] = "wrong"
    with lab.changed("{port: 6231}", "{port: 6231, password: 'env:NOT_IT', timeout: 60}"):
        found = json.loads(lab.run("provision", "node1", "--json", code=6))["nodes"]
    assert (found[0]["state"], found[0]["stage"]) == ("failed", "bmc")
    assert "authentication" in found[0]["text"]


def test_a_fault_in_the_rack_stops_before_any_machine_is_touched(lab: Lab) -> None:
    with lab.changed("", "", "config:\n- write_files: [{path: etc/motd, content: relative}]\n"):
        assert "asking" not in lab.run("provision", "node1", code=2)
    assert lab.states("node1") == ["off"]


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
    """node1, BIOS: undionly names itself in its request, which is lost. node2, UEFI: every request is lost until its
    second start. node3: every one, with either loader.
    """
    if json.loads(lab.run("up", "--json"))["lane"] != "source":
        pytest.skip("the prebuilt lane has one loader for each firmware; a clone of iPXE's source gives both")
    files = ("undionly.kpxe", "snponly.efi", "undionly.kpxe")
    try:
        with (
            lab.changed(r"groups: \[lab\]", "groups: [lab], boot: local"),  # no system need load
            dropped("chip=undionly"),
            dropped(f"mac={lab.mac('node3')}"),
            ExitStack() as first_start,
            lab.start("provision", *NAMES) as child,
        ):
            first_start.enter_context(dropped(f"mac={lab.mac('node2')}"))
            told = ""
            for line in child.stdout or ():
                told += line
                if re.search("node2: .*; starting it once more", line):
                    first_start.close()
        assert child.returncode == 6, told
    finally:
        lab.run("power", "off", *NAMES, "--force")
    # By the load: a round of its questions can take longer than the minute.
    asked = r"(silent|it asked for an address and for nothing else) for \d+ s after loader \(60 s are allowed\)"
    for node in NAMES[:2]:
        assert re.search(
            rf"^{node}  handed over to its own disk, \d+ s, 2 tries, the second with the loader ipxe$", told, re.M
        ), told
        assert f"-> write loader: ipxe to nodes.{node} in rack.yml" in told
    assert re.search(
        rf"^node3  failed before script: {asked}, 2 tries, the second with the loader ipxe$", told, re.M
    ), told
    assert "nodes.node3" not in told  # a loader that did not help is not recommended
    assert "2 of 3 provisioned" in told
    assert lab.timeline("node1")["facts"]["chip"] != "undionly"
    sent = (lab.rack / ".rackctl" / "logs" / "tftp.jsonl").read_text()
    for node, file in zip(NAMES, files, strict=True):
        assert re.search(f"{node}: {asked}; starting it once more", told), told
        assert told.count(f"{node}  power-on") == 2, told
        assert f"/tftp/{lab.mac(node)}/{file} to {ADDRESS.rpartition('.')[0]}." in sent


def test_wake_on_lan_is_heard_in_the_subnet_of_the_server(lab: Lab) -> None:
    """The lab's: no other's, and not the one that all broadcasts go to."""
    broadcast = f"{ADDRESS.rpartition('.')[0]}.255"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((broadcast, 0))
        listener.settimeout(60)
        wol = f"bmc: {{driver: wol, port: {listener.getsockname()[1]}}}, mac"
        with lab.changed(r"(?<=node1: {)mac", wol), lab.changed(r", bmc: {port: 6231}", ""):
            assert f"sent to {broadcast}" in lab.run("power", "on", "node1")
        assert listener.recv(256) == magic_packet(lab.mac("node1").replace("-", ":"))


def test_the_same_machines_behind_redfish(lab: Lab) -> None:
    """rack.yml with Redfish in place of IPMI, and sushy-tools' emulator that starts and stops the machines."""
    (lab.rack / "rack.yml").unlink()
    lab.run("lab", "up", "--nodes", "2", "--bmc", "redfish")
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
