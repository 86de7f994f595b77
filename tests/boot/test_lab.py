"""Whatever ends a lab boot, nothing of it stays."""

import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from boot.conftest import NETWORK, Rig

pytestmark = [pytest.mark.boot, pytest.mark.engine]


@pytest.fixture
def rack(rig: Rig) -> Iterator[Rig]:
    rig.write()
    rig.run("up")
    yield rig


def left_over() -> list[str]:
    """This lab's containers and TAPs."""
    out = subprocess.run(
        ["docker", "ps", "-q", "--filter", "label=org.rackctl.role=lab"], capture_output=True, text=True, check=True
    ).stdout.split()
    mine = []
    for one in out:
        shown = subprocess.run(["docker", "inspect", "-f", "{{.Config.Env}}", one], capture_output=True, text=True)
        if f"LAB_ADDRESS={NETWORK}" in shown.stdout:
            mine.append(one)
    return mine


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_boot_that_is_stopped_leaves_nothing(rack: Rig, how: signal.Signals, code: int) -> None:
    child = rack.start("lab", "boot")
    assert child.stdout is not None
    while "dhcp" not in child.stdout.readline():
        assert child.poll() is None
    assert left_over()
    child.send_signal(how)
    _, err = child.communicate(timeout=120)
    assert child.returncode == code and "Traceback" not in err
    end = time.monotonic() + 60
    while left_over() and time.monotonic() < end:
        time.sleep(0.2)
    assert not left_over()
