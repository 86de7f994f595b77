"""Each further link of a boot is broken for real, each at a machine of its own, and the diagnosis names it.

The machines boot side by side, three at a time: most of each boot is waiting for what does not come.
"""

import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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
    "nic": ["--silence", "60", "--nic", "rtl8139"],
    "inventory": ["--silence", "60", "--nic", "rtl8139"],
    "config": ["--silence", "80"],  # a starved machine takes so long from its kernel to its config
    "cut": ["--memory", "1024"],
    "arch": ["--clock", "2001-01-01T00:00:00"],
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
    change(script_of(rig, "arch"), "prompt --timeout 30000", "prompt --timeout 300000")  # or it starts over
    for name in ("cut", "memory"):
        with open(images / f"{name}.img", "wb") as file:
            file.truncate((400 if name == "memory" else 500) << 20)
        change(script_of(rig, name), "${os}/initrd?", f"${{os}}/{name}.img?")


def tell_inventory(rig: Rig, name: str, pci: str) -> None:
    """What the machine sent on another day, when its initrd had the driver."""
    card = {"name": "eth0", "mac": MACS[name], "driver": "8139too", "pci": pci, "link": True}
    body = json.dumps({"schema": 1, "mac": MACS[name], "nics": [card]}).encode()
    url = f"{rig.http}/inventory/{MACS[name].replace(':', '-')}.json"
    with urlopen(Request(url, body, method="PUT")) as answer:
        assert answer.status in (201, 204)


@contextmanager
def no_tcp(mac: str) -> Iterator[None]:
    """What this machine sends by TCP is lost; it is known by its MAC, so that the rule is there before it starts."""
    # microhttp's port is published: the engine forwards to it, TFTP is the master's own
    rule = f"DOCKER-USER -p tcp -m mac --mac-source {mac} -j DROP"
    peers.host(f"iptables -w -I {rule}")
    try:
        yield
    finally:
        peers.host(f"iptables -w -D {rule}")


def wait_for_part(rig: Rig, name: str) -> None:
    """Until 16 MiB more have gone to the machine: as many bytes of its initrd, once it has its kernel."""
    router = rig.folder / ".rackctl/lab" / f"{MACS[name].replace(':', '')}.router.jsonl"
    found = re.search(r" by (\S+), file ", router.read_text())
    assert found, router.read_text()
    sent = Path("/sys/class/net") / found[1] / "statistics/tx_bytes"
    goal, end = int(sent.read_text()) + (16 << 20), time.monotonic() + 120
    while int(sent.read_text()) < goal:
        assert time.monotonic() < end, f"{found[1]}: {sent.read_text()} of {goal} bytes"
        time.sleep(0.05)


def boot(rig: Rig, name: str, on_line: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """The JSON of a failed boot, and under "said" what people read."""
    child = rig.start("lab", "boot", name, "--json", *WORDS.get(name, []))
    assert child.stderr is not None and child.stdout is not None
    bound = threading.Timer(600, child.kill)
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
def broken(rig: Rig) -> dict[str, Future[dict[str, Any]]]:
    """The end of each boot; what went wrong with one is the fault of its own test alone."""
    rig.write(
        "nodes: {" + ", ".join(f"{name}: {{mac: '{mac}'{OWN.get(name, '')}}}" for name, mac in MACS.items()) + "}"
    )
    with played(rig) as env:
        assert "CC404 warning" in rig.run("up", **env).stdout
    break_links(rig)
    tell_inventory(rig, "inventory", "10ec:8139")

    def cut(line: str) -> None:
        if line.endswith(" kernel\n"):  # the initrd is on its way
            wait_for_part(rig, "cut")
            (rig.served / "http/os/discovery/builtin/cut.img").write_bytes(b"")

    def one(name: str) -> dict[str, Any]:
        if name == "port":
            with no_tcp(MACS[name]):
                return boot(rig, name)
        return boot(rig, name, cut if name == "cut" else lambda _line: None)

    with ThreadPoolExecutor(3) as pool:
        return {name: pool.submit(one, name) for name in LINKS}


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
def test_a_broken_link_is_named(
    broken: dict[str, Future[dict[str, Any]]], name: str, code: str, says: list[str]
) -> None:
    found = broken[name].result()
    assert found["code"] == 6, found["said"]
    assert found["diagnosis"][0]["code"] == code, found["said"]
    assert f"stuck before {found['missing'] or 'kernel'}" in found["said"]
    for word in says:
        assert word in found["said"]


def test_an_initrd_that_is_cut_says_at_how_many_per_cent(broken: dict[str, Future[dict[str, Any]]]) -> None:
    percent = int(broken["cut"].result()["reason"].partition("cut off at ")[2].partition(" %")[0])
    assert 0 < percent < 100


def test_a_clock_that_is_wrong_is_said_of_a_boot_that_failed_otherwise(
    broken: dict[str, Future[dict[str, Any]]], rig: Rig
) -> None:
    found = broken["arch"].result()
    (clock,) = [one for one in found["diagnosis"] if one["code"] == "clock-wrong"]
    assert "days behind" in clock["seen"] and "TLS" in clock["causes"]
    assert "days behind" in found["said"]
