"""Real BMCs for tests: one container with an ipmi_sim for each, on ports of the loopback."""

import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.core.model_bmc import Bmc
from rackctl.core.power import Order, Verb

HERE = Path(__file__).parent / "bmc"
USER, PASSWORD = "admin", "s3cret"

_LAN = """\
name "{name}"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
{chassis}
sol "tcp:127.0.0.1:{console}" 115200
user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
user 3 true "viewer" "look" user 10 none md2 md5 straight
"""
_WITH_SCRIPT = 'chassis_control "/usr/local/bin/chassis.sh /bmcs/{name}"'
# Without a script the simulator starts its machine itself, and refuses boot devices.
_WITHOUT_BOOT = (
    'serial 15 127.0.0.1 {vm_port} codec VM\nstartcmd "sleep 600"\nstartnow false\npoweroff_wait 1\nkill_wait 1'
)

_EMU = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
{sensor}
mc_enable 0x20
"""
# A full sensor record (IPMI 2.0 section 43.1): processor temperature, M=1, thresholds 160, 144 and 112 degrees.
_RECORD = bytes.fromhex(
    "0100510133 200001030100 68 0101 8072 8072 3f3f 000100 0001 0000 0000 00 07 50 64 14 ff 00"
    "a0 90 70 00 00 00 02 02 0000 00 c8" + b"CPU Temp".hex()
)
_SENSOR = """\
sensor_add 0x20 0 1 0x01 0x01 poll 500 file "/bmcs/{name}/temperature"
sensor_set_threshold 0x20 0 1 settable 111000 0xa0 0x90 0x70 00 00 00
sensor_set_event_support 0x20 0 1 enable scanning per-state {mask} {mask} {mask} {mask}
main_sdr_add 0x20 {record}
sel_add 0x20 2 0 0 0 0 0x20 0 4 1 1 1 0x59 0x91 0x90"""


@dataclass(frozen=True)
class Sim:
    """One BMC."""

    name: str
    port: int
    folder: Path
    container: str

    def order(self, verb: Verb, **changes: object) -> Order:
        """An order for this BMC; changes go to the Bmc where it has such a key, else to the Order."""
        keys = {"driver": "ipmi", "address": "127.0.0.1", "port": self.port, "user": USER, "cipher": 3, "timeout": 30,
                "wait": 60}  # fmt: skip
        for key in list(changes):
            if key in Bmc.model_fields:
                keys[key] = changes.pop(key)
        keys = {key: value for key, value in keys.items() if value is not None}
        password = changes.pop("secret", PASSWORD)
        return Order(self.name, "52:54:00:00:00:01", Bmc(**keys), verb, password, **changes)  # type: ignore[arg-type]

    def set(self, name: str, content: str = "") -> None:
        """Write one of the files that chassis.sh looks at."""
        (self.folder / name).write_text(content)

    def calls(self) -> list[str]:
        """What the BMC asked of its machine that changes something."""
        file = self.folder / "calls"
        return [line for line in file.read_text().splitlines() if line.startswith("set")] if file.exists() else []

    def signal(self, name: str) -> None:
        """STOP hangs the BMC, CONT lets it go on."""
        pid = (self.folder / "pid").read_text().strip()
        subprocess.run(["docker", "exec", self.container, "sh", "-c", f"kill -{name} {pid}"], check=True)

    def reset(self) -> None:
        """As new: off, obedient."""
        for file in self.folder.iterdir():
            if file.name not in ("lan.conf", "sim.emu", "state", "pid", "log", "temperature"):
                file.unlink()


def write_rack(folder: Path, sims: Sequence[Sim], bmc: str = "", more: str = "") -> None:
    """A rack.yml of these BMCs; bmc: more keys of its section, with a comma at the end; more: lines of its nodes."""
    nodes = "".join(
        f"  {sim.name}: {{mac: '52:54:00:00:00:{number:02x}', bmc: {{port: {sim.port}}}}}\n"
        for number, sim in enumerate(sims)
    )
    (folder / "rack.yml").write_text(
        "server: {address: 127.0.0.1}\n"
        f"bmc: {{{bmc} driver: ipmi, address: 127.0.0.1, user: {USER}}}\n"
        f"nodes:\n{nodes}{more}"
    )


def image() -> str:
    """Build the image once per content."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(HERE.iterdir()))).hexdigest()[:16]
    tag = f"rackctl/test-bmc:{digest}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode:
        subprocess.run(["docker", "build", "-q", "-t", tag, str(HERE)], check=True, capture_output=True)
    return tag


@contextmanager
def running_sims(
    folder: Path, count: int, first_port: int, plain: Sequence[int] = (), with_sensor: int = 0, password: str = PASSWORD
) -> Iterator[list[Sim]]:
    """`count` BMCs; those whose numbers are in `plain` have no boot device, number `with_sensor` has one sensor."""
    name = f"rackctl-test-bmc-{first_port}"
    sims = []
    for number in range(1, count + 1):
        sim = Sim(f"b{number}", first_port + number, folder / f"b{number}", name)
        sim.folder.mkdir(parents=True)
        chassis = _WITHOUT_BOOT if number in plain else _WITH_SCRIPT
        chassis = chassis.format(name=sim.name, vm_port=first_port + 500 + number)
        text = _LAN.format(
            name=sim.name, port=sim.port, chassis=chassis, console=sim.port + 1000, user=USER, password=password
        )
        (sim.folder / "lan.conf").write_text(text)
        record = " ".join(f"0x{byte:02x}" for byte in _RECORD)
        sensor = _SENSOR.format(record=record, name=sim.name, mask="000111111000000") if number == with_sensor else ""
        (sim.folder / "sim.emu").write_text(_EMU.format(sensor=sensor))
        (sim.folder / "temperature").write_text("96\n")
        sims.append(sim)
    subprocess.run(["docker", "rm", "-f", name], capture_output=True)
    subprocess.run(
        ["docker", "run", "-d", "--rm", "--init", "--name", name, "--network", "host",
         "--label", "org.rackctl.role=test-bmc", "-v", f"{folder}:/bmcs", image()],
        check=True, capture_output=True,
    )  # fmt: skip
    try:
        _await(folder, sims)
        yield sims
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _await(folder: Path, sims: Sequence[Sim]) -> None:
    for _ in range(600):
        if (folder / ".ready").exists() and all("Opened UDP port" in _log(sim) for sim in sims):
            return
        time.sleep(0.1)
    raise AssertionError("the simulators did not start: " + "; ".join(_log(sim) for sim in sims)[-500:])


def _log(sim: Sim) -> str:
    file = sim.folder / "log"
    return file.read_text(errors="replace") if file.exists() else ""
