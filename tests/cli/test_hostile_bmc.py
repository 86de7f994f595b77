"""What BMCs, users' own programs and machines can hand to `power`, `watch` and `preflight`, without an engine."""

import io
import json
import re
import time
from pathlib import Path

import pytest
from real_cli import assert_refused, run_cli
from rich.console import Console

from rackctl.adapters.inventories import read_inventory
from rackctl.cli.out import teller
from rackctl.cli.power_out import _table
from rackctl.cli.provision import _known_facts
from rackctl.core.power import Fault, Outcome, Verb

MAC = "52:54:00:00:00:01"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    """Three machines with a program each: one that works, one that may not be run, one that names no interpreter."""
    for name, text, mode in (
        ("good", "#!/bin/sh\necho on\n", 0o755), ("forbidden", "#!/bin/sh\necho on\n", 0o644),
        ("bare", "echo on\n", 0o755), ("lost", "#!/no/such/shell\necho on\n", 0o755),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    nodes = "".join(
        f"  {name}: {{mac: '52:54:00:00:00:0{n}', bmc: {{driver: command, status: ['{tmp_path}/{name}']}}}}\n"
        for n, name in enumerate(("good", "forbidden", "bare", "lost"), 1)
    )
    (tmp_path / "rack.yml").write_text(f"server: {{address: 10.9.200.1}}\nnodes:\n{nodes}")
    return tmp_path


def test_a_program_that_cannot_be_started_fails_its_machine_alone(rack: Path) -> None:
    done = run_cli("power", "status", "--all", "--json", cwd=rack)
    assert done.returncode == 8, done.stderr
    found = {one["node"]: one for one in json.loads(done.stdout)["outcomes"]}
    assert found.pop("good")["state"] == "on"
    for name, why in (("forbidden", "Permission denied"), ("bare", "Exec format error"), ("lost", "No such file")):
        assert (found[name]["fault"], why in found[name]["text"]) == ("local", True)
        assert f"chmod +x {rack}/{name}; its first line names its interpreter" in found[name]["text"]


def test_a_hook_that_cannot_be_started_is_told_of_and_the_logs_are_followed(rack: Path) -> None:
    (rack / ".rackctl" / "logs").mkdir(parents=True)
    row = {"end": time.time() - 100, "ip": "10.9.0.1", "port": "1", "m": "GET", "uri": f"/checkin?mac={MAC}", "st": 200,
           "sent": 5, "len": "5", "range": "", "dur": 0.1, "done": "OK", "ua": ""}  # fmt: skip
    (rack / ".rackctl" / "logs" / "http.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("forbidden", "bare"):
        done = run_cli("watch", "--once", "--on-checkin", f"./{name}", cwd=rack)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"the hook failed for {MAC}, try 1 of 5: ./{name} cannot be started" in done.stdout
        assert f"chmod +x ./{name}" in done.stdout


@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_a_pause_without_end_is_refused(rack: Path, seconds: str) -> None:
    assert_refused(run_cli("power", "on", "--all", "--stagger", seconds, cwd=rack), 2, "--stagger")
    assert_refused(run_cli("provision", "--all", "--stagger", seconds, cwd=rack), 2, "--stagger")


def test_nothing_a_bmc_says_reaches_the_terminal_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    said = Outcome("a", Verb.STATUS, text=ESCAPES + "hot", fault=Fault.REFUSED)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=100)
    console.print(_table(["a", "b"], Verb.STATUS, {"a": said}))
    teller(True)(f"{ESCAPES}hot")
    shown = out.getvalue() + capsys.readouterr().err
    assert shown.count("hot") == 2
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # rich's own bold
    assert not set("\x1b\x07\u202e\x9b") & set(shown), repr(shown)


def test_a_stand_in_says_what_the_node_said_and_nothing_hostile(tmp_path: Path) -> None:
    file = tmp_path / f"{MAC.replace(':', '-')}.json"
    uuid = "4c4c4544-0042-3610-8056-b4c04f4d3532"
    file.write_text(json.dumps({"system": {"uuid": uuid, "serial": "LAB002"}}))
    assert _known_facts(read_inventory(tmp_path, MAC)) == {"UUID": uuid, "SERIAL": "LAB002"}
    for hostile in ("[" * 60000, "{}", '{"system": []}', '{"system": {"uuid": 7, "serial": "a,b=c"}}', ""):
        file.write_text(hostile)
        assert _known_facts(read_inventory(tmp_path, MAC)) == {}
    file.write_text(json.dumps({"system": {"uuid": uuid}, "x": "y" * 70000}))  # more than a machine may send
    assert _known_facts(read_inventory(tmp_path, MAC)) == {}
