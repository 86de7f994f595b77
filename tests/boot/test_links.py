"""Each further link of a boot is broken for real, each at a machine of its own, and the diagnosis names it.

The machines boot side by side, three at a time: most of each boot is waiting for what does not come.
"""

import json
import re
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import peers
import pytest

from boot.conftest import Rig
from boot.played import RANCHEROS, played

pytestmark = [pytest.mark.boot, pytest.mark.engine]
# The longest first.
LINKS = ["config", "nic", "inventory", "round", "port", "loop", "cut", "arch", "memory"]
MACS = {name: f"52:54:00:12:36:{n:02x}" for n, name in enumerate(LINKS)}
WORDS = {
    "nic": ["--silence", "30", "--nic", "rtl8139"],
    "inventory": ["--silence", "30", "--nic", "rtl8139"],
    "config": ["--silence", "100"],  # a starved machine takes so long from its kernel to its config
    "port": ["--silence", "10"],
    "cut": ["--memory", "1024"],
    "arch": ["--silence", "25", "--clock", "2001-01-01T00:00:00"],
    "memory": ["--memory", "128"],
}


def script_of(rig: Rig, name: str) -> Path:
    return rig.served / "http/boot" / f"{MACS[name].replace(':', '-')}.ipxe"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# A command of the config that never ends, before the check-in: `rackctl up` warns of it, and serves it.
FAULT = "while true; do sleep 60; done"
OWN = {"config": f", os: {RANCHEROS}, config: [{{runcmd: ['{FAULT}']}}]"}


def break_links(rig: Rig) -> None:
    """All but the port and the config, in the tree that is served."""
    images = rig.served / "http/os/discovery/builtin"
    # A loader that carries no script of rackctl's: Debian's iPXE as it is.
    carried = rig.served / "tftp/pxelinux.cfg" / f"01-{MACS['loop'].replace(':', '-')}"
    carried.write_text("DEFAULT x\nLABEL x\n  KERNEL ipxe.lkrn\n")
    # A loader that does not tell its card, so that the machine's inventory has to.
    loader = carried.with_name(f"01-{MACS['inventory'].replace(':', '-')}")
    loader.write_text("DEFAULT x\nLABEL x\n  KERNEL ipxe.lkrn\n  INITRD silent.ipxe\n")
    told = (rig.served / "tftp/script.ipxe").read_text()
    (rig.served / "tftp/silent.ipxe").write_text(re.sub(r"&nic=\S*", "", told))
    script_of(rig, "round").write_text("#!ipxe\necho this script fails\nsleep 1\nreboot\n")
    # Linux' Documentation/arch/arm64/booting.rst: the header of an arm64 Image.
    header = struct.pack("<8sQQQ24s4sI", b"MZ\0\x91\0\0\0\x14", 0, 1 << 20, 0xA, bytes(24), b"ARM\x64", 0x40)
    (images / "vmlinuz-arm64").write_bytes(header.ljust(1 << 20, b"\0"))
    change(script_of(rig, "arch"), "/vmlinuz?", "/vmlinuz-arm64?")
    for name in ("cut", "memory"):
        with open(images / f"{name}.img", "wb") as file:
            file.truncate((400 if name == "memory" else 120) << 20)
        change(script_of(rig, name), "${os}/initrd?", f"${{os}}/{name}.img?")


def tell_inventory(rig: Rig, name: str, pci: str) -> None:
    """What the machine sent on another day, when its initrd had the driver."""
    card = {"name": "eth0", "mac": MACS[name], "driver": "8139too", "pci": pci, "link": True}
    body = json.dumps({"schema": 1, "mac": MACS[name], "nics": [card]}).encode()
    url = f"{rig.http}/inventory/{MACS[name].replace(':', '-')}.json"
    with urlopen(Request(url, body, method="PUT")) as answer:
        assert answer.status in (201, 204)


class Firewall:
    """Drops what one machine sends to the HTTP port, from its lease on; its address is in the lab's router's lines."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.router = rig.folder / ".rackctl/lab" / f"{MACS[name].replace(':', '')}.router.jsonl"
        self.rule = ""

    def close_port(self, line: str) -> None:
        if line.endswith(" dhcp\n") and not self.rule:
            address = self.wait_for_address()
            # microhttp's port is published: the engine forwards to it, TFTP is the master's own
            self.rule = f"DOCKER-USER -p tcp -s {address} -j DROP"
            peers.host(f"iptables -I {self.rule}")

    def wait_for_address(self) -> str:
        """The stage is said at the machine's question; the router's answer is a line of its own."""
        end = time.monotonic() + 20
        while not (found := re.findall(r"DHCP(?:OFFER|ACK)\(\S+\) (\S+)", self.router.read_text())):
            assert time.monotonic() < end, self.router.read_text()
            time.sleep(0.05)
        return str(found[0])

    def open_port(self) -> None:
        if self.rule:
            peers.host(f"iptables -D {self.rule}")


def boot(rig: Rig, name: str, on_line: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """The JSON of a failed boot, and under "said" what people read."""
    child = rig.start("lab", "boot", name, "--json", *WORDS.get(name, []))
    assert child.stderr is not None and child.stdout is not None
    bound = threading.Timer(400, child.kill)
    bound.start()
    said = []
    for line in child.stderr:
        said.append(line)
        on_line(line)
    out = child.stdout.read()
    code = child.wait()
    bound.cancel()
    found = json.loads(out) if code == 6 else {"diagnosis": [], "missing": None}
    return {**found, "code": code, "said": "".join(said)}


@pytest.fixture(scope="module")
def broken(rig: Rig) -> dict[str, dict[str, Any]]:
    rig.write(
        "nodes: {" + ", ".join(f"{name}: {{mac: '{mac}'{OWN.get(name, '')}}}" for name, mac in MACS.items()) + "}"
    )
    with played(rig) as env:
        assert "CC404 warning" in rig.run("up", **env).stdout
    break_links(rig)
    tell_inventory(rig, "inventory", "10ec:8139")

    def cut(line: str) -> None:
        if line.endswith(" kernel\n"):  # the initrd is on its way
            threading.Timer(3, (rig.served / "http/os/discovery/builtin/cut.img").write_bytes, [b""]).start()

    def one(name: str) -> dict[str, Any]:
        if name == "port":
            firewall = Firewall(rig, name)
            try:
                return boot(rig, name, firewall.close_port)
            finally:
                firewall.open_port()
        return boot(rig, name, cut if name == "cut" else lambda _line: None)

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(LINKS, pool.map(one, LINKS), strict=True))


@pytest.mark.parametrize(("name", "code", "says"), [
    ("loop", "loader-loop", ["fetched 3 times", "carries no script of rackctl's"]),
    ("port", "loader-but-no-script", ["TCP port 8083 of the master is blocked", "/healthz"]),
    ("round", "repeats-before-kernel", ["started 3 times", "goes round"]),
    ("arch", "kernel-refused", ["another architecture", "Exec format error"]),
    ("memory", "initrd-cut", ["at 0 %", "more than this machine's memory takes"]),
    ("cut", "initrd-cut", ["memory", "cable"]),
    ("nic", "no-network-in-the-system", ["may lack the driver of the network card 10ec:8139 (8139too)"]),
    ("inventory", "no-network-in-the-system", ["may lack the driver of the network card 10ec:8139 (8139too)"]),
    ("config", "config-faulty", ["rack.yml:3:", "CC404: runcmd: while true does not end"]),
])  # fmt: skip
def test_a_broken_link_is_named(broken: dict[str, dict[str, Any]], name: str, code: str, says: list[str]) -> None:
    found = broken[name]
    assert found["code"] == 6, found["said"]
    assert found["diagnosis"][0]["code"] == code, found["said"]
    assert f"stuck before {found['missing'] or 'kernel'}" in found["said"]
    for word in says:
        assert word in found["said"]


def test_an_initrd_that_is_cut_says_at_how_many_per_cent(broken: dict[str, dict[str, Any]]) -> None:
    percent = int(broken["cut"]["reason"].partition("cut off at ")[2].partition(" %")[0])
    assert 0 < percent < 100


def test_a_clock_that_is_wrong_is_said_of_a_boot_that_failed_otherwise(
    broken: dict[str, dict[str, Any]], rig: Rig
) -> None:
    (clock,) = [one for one in broken["arch"]["diagnosis"] if one["code"] == "clock-wrong"]
    assert "days behind" in clock["seen"] and "TLS" in clock["causes"]
    assert "days behind" in broken["arch"]["said"]
