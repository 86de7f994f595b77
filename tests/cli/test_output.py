"""Output for scripts and for people: one JSON value on stdout, plain lines in a pipe, a live display on a terminal."""

import importlib.util
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_github import GitHub, release
from real_cli import RACKCTL, run_cli

from rackctl.cli.failure import tell_failure
from rackctl.cli.out import say
from rackctl.errors import FetchError

ROOT = Path(__file__).parent.parent.parent
RACK = """\
server: {address: 127.0.69.2}
os: {name: rancheros, version: v1.5.8}
unknown: boot
nodes:
  n1: {mac: "52:54:00:12:34:56", bmc: {driver: command, on: [echo, "on"], status: [echo, "on"]}}
  m1: {mac: "52:54:00:12:34:58", mac_model: "Macmini6,2"}
"""
LOADER = {"t": 1000.0, "line": "dnsmasq-tftp: sent /srv/current/tftp/undionly.kpxe to 10.98.0.50"}
SCRIPT = {"end": 1002.0, "ip": "10.98.0.50", "m": "GET", "uri": "/boot/52-54-00-12-34-56.ipxe?mac=52-54-00-12-34-56",
          "st": 200, "sent": 5, "len": "5", "dur": 0.0, "done": "OK"}  # fmt: skip


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    logs = tmp_path / "rack" / ".rackctl" / "logs"
    logs.mkdir(parents=True)
    (logs / "tftp.jsonl").write_text(json.dumps(LOADER) + "\n")
    (logs / "http.jsonl").write_text(json.dumps(SCRIPT) + "\n")
    (tmp_path / "rack" / "rack.yml").write_text(RACK)
    return tmp_path / "rack"


@pytest.fixture
def env(tmp_path: Path, hub: GitHub) -> dict[str, str]:
    """An engine in which nothing runs, and a slow server with the release that the rack wants."""
    hub.releases += [{"tag_name": "v1.5.8"}]
    release(hub, "v1.5.8")
    hub.pace = 0.8  # seconds a quarter of a MiB: progress is due after two
    return {
        "PATH": f"{ROOT / 'tests' / 'fakes' / 'engine'}:{os.environ['PATH']}",
        "FAKE_ENGINE": "good",
        "RACKCTL_GITHUB_URL": hub.url + "/dl/",
        "RACKCTL_GITHUB_API": hub.url,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
        "TERM": "xterm-256color",
    }


JSON = {
    "rackctl nodes": ["nodes"],
    "rackctl timeline": ["timeline", "n1"],
    "rackctl power": ["power", "status", "n1"],
    "rackctl bootdev": ["bootdev", "n1", "pxe"],
    "rackctl sensors": ["sensors", "n1"],
    "rackctl sel": ["sel", "n1"],
    "rackctl bmc check": ["bmc", "check", "n1"],
    "rackctl fetch": ["fetch"],
    "rackctl status": ["status"],
    "rackctl explain": ["explain", "n1"],
    "rackctl mac bless": ["mac", "bless", "m1"],
    "rackctl mac decode": ["mac", "decode", "01:01:02:08:04:81:00:05:2a"],
    "rackctl os list": ["os", "list"],
    "rackctl os show": ["os", "show", "rancheros"],
}
# These need a real engine, minutes of building, a virtual machine: the boot tests read the JSON of those that end.
# `watch` prints a line of JSON for each event, as long as it runs.
ELSEWHERE = {
    "rackctl up",
    "rackctl build-ipxe",
    "rackctl lab boot",
    "rackctl provision",
    "rackctl preflight",
    "rackctl dhcp audit",
    "rackctl watch",
}


def test_every_command_with_json_is_tried_here() -> None:
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "scripts" / "cli-docs.py")
    assert spec and spec.loader
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    have = {name for name, command in docs.find_commands().items() if any("--json" in p.opts for p in command.params)}
    assert have == set(JSON) | ELSEWHERE


@pytest.mark.parametrize("words", JSON.values(), ids=JSON)
def test_json_is_one_value_on_stdout(rack: Path, env: dict[str, str], words: list[str]) -> None:
    done = run_cli(*words, "--json", cwd=rack, env=env)
    assert done.returncode in (0, 8), done.stderr  # 8: this BMC cannot do everything, which the JSON tells too
    assert isinstance(json.loads(done.stdout), dict | list)
    assert "\x1b" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    if words == ["fetch"]:
        assert re.search(r"initrd.*MiB", done.stderr), "progress goes to stderr"


def test_a_failure_leaves_stdout_to_json_alone(tmp_path: Path) -> None:
    done = run_cli("status", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("rackctl: ")


@pytest.mark.parametrize("words", [["--help"], ["nodes"], ["fetch"], ["timeline", "n1"], ["os", "list"]])
def test_in_a_pipe_the_output_is_plain_lines(rack: Path, env: dict[str, str], words: list[str]) -> None:
    done = run_cli(*words, cwd=rack, env={**env, "FORCE_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout + done.stderr)
    if words == ["fetch"]:
        assert re.search(r"^rancheros v1\.5\.8 initrd: .*MiB/s", done.stdout, flags=re.M), "a line each two seconds"


def on_terminal(rack: Path, env: dict[str, str], *words: str) -> str:
    """What a terminal of 100 columns receives."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [RACKCTL, *words],
        cwd=rack,
        env={**os.environ, **env, "COLUMNS": "100"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # Linux reports the end of a terminal as EIO
    finally:
        os.close(ours)
    assert child.wait(60) == 0, shown.decode()
    return shown.decode()


COLOURS = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|38;|4[0-7]|48;|9[0-7])[0-9;]*m")


def test_on_a_terminal_downloads_are_shown_live(rack: Path, env: dict[str, str]) -> None:
    shown = on_terminal(rack, env, "fetch")
    assert "\x1b[" in shown and COLOURS.search(shown)
    assert "rancheros v1.5.8" in shown


def test_no_color_is_honoured_on_a_terminal(rack: Path, env: dict[str, str]) -> None:
    for words in (["fetch"], ["power", "status", "n1"], ["nodes"]):
        assert not COLOURS.search(on_terminal(rack, {**env, "NO_COLOR": "1"}, *words))


@pytest.mark.serial
def test_ctrl_c_ends_with_130_and_nothing_kept(rack: Path, env: dict[str, str], hub: GitHub) -> None:
    hub.pace = 90.0
    child = subprocess.Popen(
        [RACKCTL, "fetch"],
        cwd=rack,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(lambda: hub.sent > 0 or bool(hub.paths()))
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)  # less than one wait of the server: nobody waits for the download
    assert child.returncode == 130 and said == "rackctl: stopped\n"
    assert not (rack / "rack.lock").exists()


def _wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_server_does_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "the server answered 404 \x1b]0;x\x07\x1b[2J\u202e"
    assert tell_failure(FetchError(evil, "http://h/\x9b31m"), []) == 4
    say(evil)
    found = capsys.readouterr()
    for text in (found.err, found.out):
        assert "404 ?]0;x??[2J" in text and all(char.isprintable() or char == "\n" for char in text)
