"""A machine's life with the rack: it is discovered, taken in, installed once, and installed again."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema
import netlab
import pytest

from boot.conftest import ADDRESS, Rig
from rackctl import trial
from rackctl.adapters import imagebuild, lab
from rackctl.adapters.folder import RackFolder
from rackctl.core.inventory import parse_inventory

pytestmark = [pytest.mark.boot, pytest.mark.engine]
MAC = trial.UNKNOWN_MAC["bios"]
KEY = MAC.replace(":", "-")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/inventory.schema.json").read_text())


class Powered:
    """A machine that is on, and what it asked microhttp for since."""

    def __init__(self, rig: Rig, running: lab.Running) -> None:
        self.rig, self.running = rig, running
        self.log = RackFolder(rig.folder).logs / "http.jsonl"
        self.start = self.log.stat().st_size

    def asked(self, wanted: str) -> list[dict[str, Any]]:
        """The whole answers to its requests that begin so."""
        with open(self.log, "rb") as lines:
            lines.seek(self.start)
            rows = [json.loads(line) for line in lines.read().splitlines()]
        return [row for row in rows if row["uri"].startswith(wanted) and row["ip"] != ADDRESS and row["done"] == "OK"]

    def until(self, what: Callable[[], Any], seconds: float) -> Any:
        end = time.monotonic() + seconds
        while not (found := what()):
            said = f"{self.running.complaints()}\n{lab.last_lines(self.running.console, 30)}"
            assert time.monotonic() < end, said
            time.sleep(0.3)
        return found


@contextmanager
def power_on(rig: Rig, **facts: str) -> Iterator[Powered]:
    """facts: for compose/lab/lab.sh."""
    folder = RackFolder(rig.folder)
    machine = lab.Machine(MAC, "bios", trial.loader_for(folder, "bios"), ADDRESS, facts=facts)
    image = imagebuild.build_image("lab", lambda _line: None)
    with lab.power_on(machine, image, lab.find_network(), folder.work / "lab") as running:
        yield Powered(rig, running)


def inventory(rig: Rig) -> Any:
    """What the machine sent last, in the form that is published."""
    data = (rig.folder / f".rackctl/inventory/{KEY}.json").read_bytes()
    jsonschema.validate(json.loads(data), SCHEMA)
    return parse_inventory(data)


def send_lldp(running: lab.Running) -> None:
    """As a switch does, IEEE 802.1AB: chassis, port, TTL, system. Into the machine's link: a bridge hands none on."""
    tap = re.findall(r" by (rackctl-tap\d+),", running.complaints())[0]
    parts = [(1, b"\4\x02\0\0\0\0\1"), (2, b"\5Gi1/0/7"), (3, b"\0\x78"), (5, b"sw1"), (0, b"")]
    body = b"".join((kind << 9 | len(value)).to_bytes(2, "big") + value for kind, value in parts)
    frame = bytes.fromhex("0180c200000e020000000001") + b"\x88\xcc" + body.ljust(46, b"\0")
    code = ("import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind((sys.argv[1],0))\n"
            "s.send(bytes.fromhex(sys.argv[2]))")  # fmt: skip
    words = ["docker", "run", "--rm", "--network", "host", "--cap-add", "NET_RAW", netlab.build(), "python3", "-c"]
    subprocess.run([*words, code, tap, frame.hex()], check=False, timeout=60)  # the machine may be off by now


def log_in(key: Path, address: str, command: str) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20"]
    words = ["ssh", "-i", str(key), "-o", "BatchMode=yes", *options, f"root@{address}", command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=90).stdout


def row(rig: Rig) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(rig.run("nodes", "--json").stdout)["nodes"]
    return next(one for one in rows if one["mac"] == MAC)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed: scripts/test-tools.sh")
def test_a_machine_tells_what_it_is_lets_in_the_racks_keys_is_taken_in_and_boots_as_a_node(
    rig: Rig, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    rig.write(f"""\
        ssh_authorized_keys: ['{key.with_suffix(".pub").read_text().strip()}']
        discovered: reboot  # once it is in here
        kernel_args: [rackctl.then=poweroff]  # of a node, which gets no word of `discovered`
    """)
    rig.run("up")
    forget(rig)
    released = rig.served / "http/os/discovery/builtin"
    assert sum((released / name).stat().st_size for name in ("vmlinuz", "initrd")) < 60_000_000
    begun = time.time()
    with power_on(rig, DISK="64", BMC="sim", SERIAL="SN-7", UUID="7e1f3cc0-1111-4222-8333-444455556666") as machine:
        (told,) = machine.until(lambda: machine.asked("/checkin?"), 240)
        found = inventory(rig)
        assert (found.serial, found.uuid) == ("SN-7", "7e1f3cc0-1111-4222-8333-444455556666")
        assert found.vendor == "QEMU" and found.memory > 600 << 20 and found.dimms == 1 and found.threads == 1
        (disk,), (card,) = found.disks, found.nics
        assert (disk.name, disk.serial, disk.nbytes) == ("vda", "RACK-0001", 64 << 20)
        assert (card.mac, card.driver, card.pci, card.link) == (MAC, "virtio_net", "1af4:1000", True)
        assert (found.firmware, found.secure_boot) == ("bios", False)
        assert log_in(key, told["ip"], "head -c 8 /dev/vda; ps | grep -c '[d]ropbear'").startswith("rackctl\n")

        def has_neighbour() -> bool:
            send_lldp(machine.running)
            return bool(inventory(rig).nics[0].neighbour)

        machine.until(has_neighbour, 90)  # it comes with a second inventory, and so does the BMC
        found = inventory(rig)
        assert found.nics[0].neighbour == "sw1 Gi1/0/7 02:00:00:00:00:01"
        assert found.bmc_firmware == "0.00" and found.bmc_address == ""  # QEMU's BMC has no network
        # It asks every 15 s whether rack.yml has it, which is no boot.
        assert {k: row(rig)[k] for k in ("known", "verdict", "os")} == {
            "known": False, "verdict": "done", "os": "discovery",
        }  # fmt: skip
        assert "served: the next boot is theirs" in rig.run("nodes", "adopt", MAC, "--name", "n7").stdout
        assert (rig.folder / "rack.yml").read_text().endswith(f'nodes:\n  n7: {{mac: "{MAC}"}}\n')
        second = machine.until(lambda: machine.asked("/checkin?")[1:], 240)[0]
        assert "hostname=n7&" in second["uri"]
        assert machine.asked(f"/boot/{KEY}.ipxe?")[-1]["st"] == 200

        def is_off() -> bool:
            send_lldp(machine.running)  # it waits for its neighbour first
            return not machine.running.alive()

        machine.until(is_off, 100)
        router = machine.running.router
    assert '"lab: disk untouched"' in router.read_text()
    last = json.loads(rig.run("timeline", "n7", "--json").stdout)
    # Other tests of this rack boot a machine of this MAC too.
    earlier = [one["verdict"] for one in last["earlier"] if one["started"] >= begun]
    assert last["verdict"] == "done" and earlier == ["done"]


def forget(rig: Rig) -> None:
    folder = RackFolder(rig.folder)
    (folder.inventory / f"{KEY}.json").unlink(missing_ok=True)
    (folder.installed / KEY).unlink(missing_ok=True)


def test_a_node_is_installed_once_goes_to_its_disk_and_is_installed_again(rig: Rig) -> None:
    def serve(word: str) -> None:
        rig.write(f"nodes: {{n1: {{mac: '{MAC}', boot: {word}, os: {{name: discovery}}}}}}\n")
        rig.run("up")

    def system() -> str:
        """Of the script that it is served."""
        with urlopen(f"{rig.http}/boot/{KEY}.ipxe") as answer:
            assert answer.status == 200
            return "discovery" if "/os/discovery/" in (text := answer.read().decode()) else text.splitlines()[1]

    def install() -> None:
        with urlopen(f"{rig.http}/checkin?mac={MAC}&state=installed") as answer:  # an installer's last act
            assert answer.read() == b"ok\n"

    forget(rig)
    serve("once")
    assert system() == "discovery"
    install()
    assert rig.boot("n1")["os"] == "local disk"
    assert row(rig)["installed"]
    serve("reinstall")
    assert system() == "discovery"
    install()
    serve("reinstall")  # the word is not new
    assert system() == "# n1: the machine's own disk"
    assert "installs again at its next boot" in rig.run("reinstall", "n1", "--confirm", "n1").stdout
    assert rig.boot("n1", "--until", "kernel")["os"] == "discovery"
