"""Real systems of the catalogue in virtual machines: fetched, verified, served, booted to their own requests."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from boot.conftest import ADDRESS, Rig
from rackctl import trial
from rackctl.adapters import imagebuild, lab
from rackctl.adapters.fetch.apt import find_mirror
from rackctl.adapters.folder import RackFolder
from rackctl.errors import FetchError

pytestmark = [pytest.mark.boot, pytest.mark.engine]


def has_mirror() -> bool:
    try:
        return bool(find_mirror("trixie"))
    except FetchError:
        return False


def boot_until(rig: Rig, wanted: str, firmware: str, memory: int, seconds: float) -> dict[str, Any]:
    """Power a machine on until microhttp's log has a whole answer to a request of its own that begins with `wanted`."""
    folder = RackFolder(rig.folder)
    mac, log = trial.UNKNOWN_MAC[firmware], folder.logs / "http.jsonl"
    machine = lab.Machine(mac, firmware, trial.loader_for(folder, firmware), ADDRESS, memory)
    image = imagebuild.build_image("lab", lambda _line: None)
    start, end = log.stat().st_size, time.monotonic() + seconds
    with lab.power_on(machine, image, lab.find_network(), folder.work / "lab") as running:
        while time.monotonic() < end and running.alive():
            with open(log, "rb") as lines:
                lines.seek(start)
                for line in lines.read().rpartition(b"\n")[0].splitlines():  # the last may be half written
                    found: dict[str, Any] = json.loads(line)
                    if found["uri"].startswith(wanted) and found["ip"] != ADDRESS and found["done"] == "OK":
                        return found
            time.sleep(0.5)
        raise AssertionError(f"no request for {wanted}:\n{running.complaints()}\n{lab.last_lines(running.console, 30)}")


@pytest.mark.skipif(not has_mirror(), reason="neither apt nor the base image names a Debian mirror")
def test_the_real_debian_installer_asks_for_its_preseed(rig: Rig) -> None:
    # No full-screen dialogues: an emulated machine draws them for half a minute.
    rig.write('unknown: boot\nos: {name: debian, version: "13"}\nkernel_args: [DEBIAN_FRONTEND=text]\n')
    rig.run("up")
    locked = (rig.folder / "rack.lock").read_text()
    assert "wanted: '13'" in locked and "trust: signed" in locked
    asked = boot_until(rig, "/config/default", "bios", 1024, 540)
    assert (asked["st"], asked["ua"]) == (200, "debian-installer"), asked


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_machine_finds_an_injected_file_under_lib_firmware(rig: Rig, firmware: str) -> None:
    here = Path(__file__).parent.parent.parent / "compose/discovery/udhcpc.script"
    shutil.copy(here, rig.folder / "hook")
    with open(rig.folder / "hook", "a") as hook:
        hook.write('\nhostname "$(cat /lib/firmware/rackctl-test/name)"\n')
    (rig.folder / "name").write_text(f"found-{firmware}")
    rig.write(
        """\
        initrd_overlays:
          - {file: name, to: lib/firmware/rackctl-test/name}
          - {file: hook, to: bin/udhcpc.script, mode: "0755", os: [discovery]}
        """
    )
    rig.run("up")
    asked = boot_until(rig, "/checkin?", firmware, 768, 240)
    assert f"hostname=found-{firmware}" in asked["uri"]
