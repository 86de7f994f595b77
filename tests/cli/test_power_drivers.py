"""Every driver in one batch, by the real program: ipmi that was found out, a user's own program, Wake-on-LAN."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bmc_sims import PASSWORD, Sim, running_sims, write_rack
from real_cli import Done, run_cli

from rackctl.core.wol import magic_packet

pytestmark = pytest.mark.engine
WOL_MAC, SECUREON = "52:54:00:00:01:02", "00-11-22-33-44-55"
SECRETS = {"PW": PASSWORD, "PLUG": "open sesame", "CARD": SECUREON}


class Rack:
    """b1 behind ipmi_sim, `plug` behind a program, `card` that hears magic packets, `dead` that nobody answers for."""

    def __init__(self, folder: Path, sim: Sim, listener: socket.socket) -> None:
        self.folder, self.sim, self.listener = folder, sim, listener
        port = listener.getsockname()[1]
        program = folder / "plugctl"
        program.write_text(
            "#!/bin/sh\nread -r secret; [ \"$secret\" = 'open sesame' ] || exit 3\n"
            f"case $2 in status) cat {folder}/state ;;"
            f' *) echo "$1 $2" >>{folder}/calls; echo $2 >{folder}/state ;; esac\n'
        )
        program.chmod(0o755)
        plug = ", ".join(f"{verb}: [{program}, '{{mac}}', {verb}]" for verb in ("on", "off", "status"))
        more = (
            "  plug: {mac: '52:54:00:00:01:01', bmc: {driver: command, wait: 9, password: 'env:PLUG', " + plug + "}}\n"
            f"  card: {{mac: '{WOL_MAC}', bmc: {{driver: wol, broadcast: 127.255.255.255, port: {port}, "
            "secureon: 'env:CARD'}}\n"
            "  dead: {mac: '52:54:00:00:01:03', bmc: {port: 15250}}\n"
        )
        write_rack(folder, [sim], "password: 'env:PW', timeout: 9, wait: 9,", more)
        file = folder / "rack.yml"
        file.write_text(file.read_text().replace("driver: ipmi", "driver: auto"))

    def reset(self) -> None:
        self.sim.reset()
        (self.folder / "state").write_text("off\n")
        (self.folder / "calls").unlink(missing_ok=True)

    def run(self, *words: str) -> Done:
        return run_cli(*words, cwd=self.folder, env=SECRETS)

    def ask(self, *words: str, code: int) -> dict[str, dict[str, Any]]:
        """The outcomes by node."""
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return {one["node"]: one for one in json.loads(done.stdout)["outcomes"]}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with (
        running_sims(tmp_path_factory.mktemp("bmcs"), 1, 15200) as (sim,),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
    ):
        listener.bind(("0.0.0.0", 0))
        listener.settimeout(60)
        yield Rack(tmp_path_factory.mktemp("rack"), sim, listener)


@pytest.fixture
def rack(started: Rack) -> Rack:
    started.reset()
    return started


def test_one_batch_by_every_driver(rack: Rack) -> None:
    """What answers none is told apart, and delays nobody."""
    found = rack.ask("power", "on", "--all", code=8)
    assert {name: (one["driver"], one["state"], one["fault"]) for name, one in found.items()} == {
        "b1": ("ipmi", "on", None),
        "plug": ("command", "on", None),
        "card": ("wol", "sent", None),
        "dead": ("auto", "", "unreachable"),
    }
    assert rack.sim.calls() == ["set power 1"]
    assert (rack.folder / "calls").read_text() == "52:54:00:00:01:01 on\n"
    assert rack.listener.recv(256) == magic_packet(WOL_MAC, SECUREON)
    # what answered is remembered for its address, what did not is looked for again
    known = json.loads((rack.folder / ".rackctl" / "bmc.json").read_text())
    assert {name: one["driver"] for name, one in known.items()} == {"b1": "ipmi", "card": "wol"}
    found = rack.ask("power", "status", "b1", "plug", "card", code=0)
    assert [found[name]["state"] for name in ("b1", "plug", "card")] == ["on", "on", "unknown"]


def test_a_staggered_batch_starts_one_after_the_other(rack: Rack) -> None:
    """Across drivers too: each has its turn in rack.yml's order."""
    begin = time.time()
    done = rack.run("power", "on", "b1", "plug", "card", "--stagger", "1.5")
    ended = time.time()
    assert done.returncode == 0, done.stderr
    rack.listener.recv(256)
    assert (rack.folder / "calls").stat().st_mtime - begin > 1.5
    assert ended - begin > 3
