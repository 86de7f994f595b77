"""A rack on the lab's network, driven as a user drives it: by the rackctl program."""

import ipaddress
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Networks of the tests' own: a rack or a lab that the user has up is not touched. The next worker has the next one.
FIRST = ipaddress.IPv4Interface(os.environ.get("RACKCTL_LAB", "10.98.76.1/24")).ip
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
NETWORK = os.environ["RACKCTL_LAB"] = f"{FIRST + 256 * WORKER}/24"
BMC_NETWORK = f"{FIRST + 256 * 128}/24"  # of the one rack with BMCs
ADDRESS = NETWORK.partition("/")[0]
RACKCTL = Path(sys.executable).with_name("rackctl")


class Rig:
    """One rack folder, and the program that works on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = f"http://{ADDRESS}:8083"

    @property
    def served(self) -> Path:
        return self.folder / ".rackctl/served/current"

    def write(self, more: str = "", ipxe: str = "prebuilt") -> None:
        text = f"server: {{address: {ADDRESS}, http_port: 8083}}\nipxe: {ipxe}\n" + textwrap.dedent(more)
        (self.folder / "rack.yml").write_text(text)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [RACKCTL, *words], cwd=self.folder, env={**os.environ, **env}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, want: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        child = self.start(*words, **env)
        try:
            out, err = child.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        assert child.returncode == want, f"rackctl {' '.join(words)}: {child.returncode}\n{out}\n{err}"
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    def boot(self, *words: str) -> dict[str, Any]:
        """Boot a machine to its check-in; its timeline."""
        timeline: dict[str, Any] = json.loads(self.run("lab", "boot", "--json", *words).stdout)
        return timeline


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    found = Rig(tmp_path_factory.mktemp("rack"))
    found.run("lab", "up")
    try:
        yield found
    finally:
        found.run("down")
        found.run("lab", "down")
