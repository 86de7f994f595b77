"""kill -9 of `rackctl up` at a hundred random moments: one whole tree is served each time, the next up ends well."""

import hashlib
import math
import os
import random
import time
from pathlib import Path

import pytest

from boot.conftest import Rig

pytestmark = pytest.mark.engine
KILLS = 100


def sums(tree: Path) -> dict[str, str]:
    files = [file for file in tree.rglob("*") if file.is_file()]
    return {str(file.relative_to(tree)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def write(rig: Rig, which: int) -> None:
    # Two racks that differ in many small files; the artifacts are the same, and small.
    nodes = "".join(f"  n{n}: {{mac: '52:54:00:00:0{which}:{n:02x}'}}\n" for n in range(20))
    rig.write(f"unknown: local\nos: {{name: local}}\nnodes:\n{nodes}")


def test_killed_a_hundred_times(rig: Rig) -> None:
    whole = {}
    took = math.inf  # seconds of an up that has something to publish; the first one builds, too
    for which in (0, 1, 0, 1):
        write(rig, which)
        began = time.monotonic()
        rig.run("up")
        took = min(took, time.monotonic() - began)
        whole[os.readlink(rig.served)] = sums(rig.served)
    assert len(whole) == 2
    seed = int(os.environ.get("RACKCTL_TEST_SEED", time.time_ns() % 100000))
    dice = random.Random(seed)
    landed = 0
    for turn in range(KILLS):
        write(rig, turn % 2)
        if turn % 10 == 9:
            rig.run("down")  # this one is killed while it starts the services
        child = rig.start("up")
        time.sleep(dice.uniform(0.05, took))
        child.kill()
        child.communicate()
        landed += child.returncode == -9
        now = os.readlink(rig.served)
        assert sums(rig.served) == whole[now], f"seed {seed}, turn {turn}: half a tree is served"
        if turn % 5 == 4:
            rig.run("up")
            assert "nothing to do" in rig.run("up").stdout
    assert landed > KILLS // 3, f"only {landed} of {KILLS} were killed before they ended"
    write(rig, KILLS % 2)  # another tree than the last: whoever publishes clears away what a kill left
    rig.run("up")
    assert not list((rig.served.parent / "trees").glob(".*")), "an unfinished tree was left behind"
