"""kill -9 of `rackctl up` a hundred times at random moments: one whole tree is served each time, the next up ends well.

Each up is a fork of one process that has rackctl imported: no moment is wasted on an interpreter that starts, and a
hundred rounds take a minute or so. What runs from the fork on is the program itself, from its `main`.
"""

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boot.conftest import Rig

pytestmark = pytest.mark.engine
KILLS = 100

# For each line on stdin, a list of words: fork `rackctl WORDS` and print its pid; after the next line, reap it (until
# then the pid is nobody else's) and print its return code.
NURSERY = """
import os, sys
import docker, python_on_whales, rich.progress
from rackctl import apply
from rackctl.cli import app, failure, progress, services
app.load_commands()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 0)
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        sys.argv = ["rackctl", *line.split()]
        app.main()
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Starts one rackctl after the other."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"  # what the last one printed
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def start(self, words: str) -> int:
        """The process's id."""
        return self._tell(words)

    def end(self) -> int:
        """Wait for the end of the one that was started; its return code, -9 when it was killed."""
        return self._tell("")

    def _tell(self, line: str) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def run(self, words: str) -> float:
        """Let it come to its end; the seconds it took."""
        began = time.monotonic()
        self.start(words)
        assert self.end() == 0, f"rackctl {words} failed; it said why on stderr"
        return time.monotonic() - began


@pytest.fixture
def nursery(rig: Rig) -> Iterator[Nursery]:
    found = Nursery(rig.folder)
    yield found
    found.process.stdin.close()  # type: ignore[union-attr]
    found.process.wait(60)
    found.said.unlink(missing_ok=True)


def sums(tree: Path) -> dict[str, str]:
    files = [file for file in tree.rglob("*") if file.is_file()]
    return {str(file.relative_to(tree)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def write(rig: Rig, which: int) -> None:
    # Two racks that differ in many small files; the artifacts are the same, and small.
    nodes = "".join(f"  n{n}: {{mac: '52:54:00:00:0{which}:{n:02x}'}}\n" for n in range(20))
    rig.write(f"unknown: local\nos: {{name: local}}\nnodes:\n{nodes}")


def kill(child: int, trees: Path, wait: float, aimed: bool) -> None:
    """Kill it after `wait` seconds, or, aimed, that long after it began to publish; at once when it ends before."""
    end = os.pidfd_open(child)  # readable when it has ended
    try:
        if aimed:
            before = trees.stat().st_mtime_ns
            while trees.stat().st_mtime_ns == before and not select.select([end], [], [], 0.0005)[0]:
                pass
        select.select([end], [], [], wait)
        os.kill(child, signal.SIGKILL)
    finally:
        os.close(end)


def unfinished(trees: Path) -> list[str]:
    return [one.name for one in trees.glob(".*")]


def test_killed_a_hundred_times(rig: Rig, nursery: Nursery) -> None:
    racks = {}  # the tree that each of the two racks gives, and what is in it
    for which in (0, 1):
        write(rig, which)
        rig.run("up")  # the first one builds
        racks[os.readlink(rig.served)] = which
        if which == 0:
            whole = {os.readlink(rig.served): sums(rig.served)}
    whole[os.readlink(rig.served)] = sums(rig.served)
    assert len(whole) == 2
    trees = rig.served.parent / "trees"
    write(rig, 0)
    took = nursery.run("up")  # seconds of an up that publishes
    nursery.run("down")
    started = nursery.run("up")  # and of one that starts the services
    seed = int(os.environ.get("RACKCTL_TEST_SEED", time.time_ns() % 100000))
    dice = random.Random(seed)
    killed = torn = 0
    for turn in range(3 * KILLS):  # some ups end before the moment of their kill
        write(rig, 1 - racks[os.readlink(rig.served)])
        fresh = turn % 20 == 19
        if fresh:
            nursery.run("down")  # this one is killed while it starts the services
        child = nursery.start("up")
        began, aimed = time.monotonic(), turn % 3 == 2 and not fresh
        longest = 0.05 if aimed else started if fresh else took
        kill(child, trees, dice.uniform(0, longest), aimed)
        code = nursery.end()
        assert code in (0, -9), f"seed {seed}, turn {turn}: an up after a kill failed with {code}"
        killed += code == -9
        if code == 0 and not fresh:
            took = (took + time.monotonic() - began) / 2
        torn += bool(unfinished(trees))
        assert sums(rig.served) == whole[os.readlink(rig.served)], f"seed {seed}, turn {turn}: half a tree is served"
        if turn % 10 == 9:
            took = (took + nursery.run("up")) / 2
            nursery.run("up")
            assert "nothing to do" in nursery.said.read_text()
        if killed == KILLS:
            break
    assert killed == KILLS, f"only {killed} of {turn + 1} were killed before they ended"
    assert torn >= 3, "hardly one was killed while it wrote or cleared away a tree: what is proven then?"
    write(rig, 1 - racks[os.readlink(rig.served)])  # whoever publishes clears away what a kill left
    rig.run("up")
    assert not unfinished(trees), "an unfinished tree was left behind"
