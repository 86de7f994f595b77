"""What the discovery OS does for a machine that nobody knows."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    subprocess.run([*words, code, tap, frame.hex()], check=True, timeout=60)


def log_in(key: Path, address: str, command: str) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20"]
    words = ["ssh", "-i", str(key), "-o", "BatchMode=yes", *options, f"root@{address}", command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=90).stdout


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed: scripts/test-tools.sh")
def test_the_discovery_os_tells_what_a_machine_is_lets_in_its_keys_and_writes_to_no_disk(
    rig: Rig, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    rig.write(f"ssh_authorized_keys: ['{key.with_suffix('.pub').read_text().strip()}']\n")
    rig.run("up")
    forget(rig)
    released = rig.served / "http/os/discovery/builtin"
    assert sum((released / name).stat().st_size for name in ("vmlinuz", "initrd")) < 60_000_000
    with power_on(rig, DISK="64", SERIAL="SN-7", UUID="7e1f3cc0-1111-4222-8333-444455556666") as machine:
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

        machine.until(has_neighbour, 90)  # it comes with a second inventory
        assert inventory(rig).nics[0].neighbour == "sw1 Gi1/0/7 02:00:00:00:00:01"
        router = machine.running.router
    assert '"lab: disk untouched"' in router.read_text()


def forget(rig: Rig) -> None:
    folder = RackFolder(rig.folder)
    (folder.inventory / f"{KEY}.json").unlink(missing_ok=True)
