"""What a person at a terminal sees of `rackctl power`: the live table, and the question before the power is cut."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bmc_sims import PASSWORD, Sim, running_sims, write_rack
from real_cli import RACKCTL, run_cli

pytestmark = pytest.mark.engine
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Rack:
    """Three machines behind real BMCs, and the program on a terminal of 100 columns."""

    def __init__(self, folder: Path, sims: list[Sim]) -> None:
        self.folder = folder
        self.sims = {sim.name: sim for sim in sims}
        write_rack(folder, sims, "password: 'env:PW', cipher: 3, timeout: 4, wait: 2,")

    @contextmanager
    def on_terminal(self, *words: str) -> Iterator["Terminal"]:
        outside, inside = pty.openpty()
        child = subprocess.Popen(
            [RACKCTL, *words], cwd=self.folder, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
            env={**os.environ, "PW": PASSWORD, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        )  # fmt: skip
        os.close(inside)
        try:
            yield Terminal(outside, child)
        finally:
            child.kill()
            child.wait()
            os.close(outside)

    def calls(self) -> dict[str, list[str]]:
        """What each machine was told to do."""
        return {name: sim.calls() for name, sim in self.sims.items() if sim.calls()}


class Terminal:
    """The person's side of it."""

    def __init__(self, outside: int, child: subprocess.Popen[bytes]) -> None:
        self.outside = outside
        self.child = child
        self.shown = ""

    def wait_for(self, wanted: str, seconds: float = 60) -> None:
        """Read until it was shown since the last time."""
        begin, limit = len(self.shown), time.monotonic() + seconds
        while wanted not in self.shown[begin:]:
            assert select.select([self.outside], [], [], max(0, limit - time.monotonic()))[0], self.shown
            assert self._read(), f"the end came before {wanted!r}: {self.shown}"

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.child.wait(60)

    def type(self, text: str) -> None:
        os.write(self.outside, text.encode())

    def _read(self) -> bool:
        try:
            got = os.read(self.outside, 65536)
        except OSError:  # Linux reports the end of a terminal as EIO
            got = b""
        self.shown += MOVES.sub("", got.decode(errors="replace"))
        return bool(got)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with running_sims(tmp_path_factory.mktemp("bmcs"), 3, 15400) as sims:
        yield Rack(tmp_path_factory.mktemp("rack"), sims)


@pytest.fixture
def rack(started: Rack) -> Rack:
    for sim in started.sims.values():
        sim.reset()
    return started


def test_the_live_table_fills_while_a_bmc_keeps_silent(rack: Rack) -> None:
    rack.sims["b2"].set("power", "1")
    rack.sims["b3"].signal("STOP")
    try:
        with rack.on_terminal("power", "status", "--all") as terminal:
            terminal.wait_for("2 of 3")
            terminal.wait_for("...")
            assert terminal.child.poll() is None
            rows = r"2 of 3.*?power status.*?b1 +│ off.*?b2 +│ on.*?b3 +│ \.\.\."
            assert re.search(rows, terminal.shown, re.DOTALL), terminal.shown
            code = terminal.end()
    finally:
        rack.sims["b3"].signal("CONT")
    # the table is gone in the end, and each machine has its line
    lines = terminal.shown.splitlines()
    assert code == 8
    assert [line.split("  ")[:2] for line in lines if re.match(r"b\d  ", line)] == [
        ["b1", "off"], ["b2", "on"], ["b3", "FAILED"]
    ]  # fmt: skip
    assert "unreachable: no answer within 4 s" in terminal.shown
    assert PASSWORD not in terminal.shown


@pytest.mark.parametrize(
    ("answer", "code", "told"), [("y\r", 0, ["set shutdown 1", "set power 0"]), ("n\r", 8, ["set shutdown 1"])]
)
def test_the_power_is_cut_only_of_those_that_are_still_on_and_after_a_yes(
    rack: Rack, answer: str, code: int, told: list[str]
) -> None:
    for name in ("b1", "b2"):
        rack.sims[name].set("power", "1")
    rack.sims["b1"].set("obeys")  # the system of the other one does not react to its power button
    with rack.on_terminal("power", "off", "--all") as terminal:
        terminal.wait_for("still on: b2. Cut the power? [y/N]:")
        assert rack.calls() == {"b1": ["set shutdown 1"], "b2": ["set shutdown 1"]}
        terminal.type(answer)
        assert terminal.end() == code, terminal.shown
    assert rack.calls() == {"b1": ["set shutdown 1"], "b2": told}
    assert ("1 of 3 failed: b2" in terminal.shown) is (code == 8)


def test_without_a_terminal_nobody_is_asked_and_nothing_is_cut(rack: Rack) -> None:
    rack.sims["b1"].set("power", "1")
    done = run_cli("power", "off", "b1", cwd=rack.folder, env={"PW": PASSWORD})
    assert (done.returncode, rack.calls()) == (8, {"b1": ["set shutdown 1"]})
    assert "--force" in done.stderr
    done = run_cli("power", "off", "b1", "--force", cwd=rack.folder, env={"PW": PASSWORD})
    assert (done.returncode, rack.calls()) == (0, {"b1": ["set shutdown 1", "set power 0"]})


def test_a_password_is_asked_for_and_not_shown(rack: Rack) -> None:
    text = (rack.folder / "rack.yml").read_text()
    (rack.folder / "rack.yml").write_text(text.replace("'env:PW'", "prompt"))
    try:
        with rack.on_terminal("power", "status", "b1") as terminal:
            terminal.wait_for("BMC password of admin:")
            terminal.type(PASSWORD + "\r")
            assert terminal.end() == 0
    finally:
        (rack.folder / "rack.yml").write_text(text)
    assert "b1  off" in terminal.shown
    assert PASSWORD not in terminal.shown
