"""A bundle made on one master serves on another: another engine, another HOME, and nothing that can be reached."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from fake_github import INITRD, GitHub, release

from boot.conftest import Rig
from rackctl.adapters.lab import find_network

pytestmark = pytest.mark.engine


@pytest.fixture
def other_engine(rig: Rig) -> Iterator[str]:
    """The DOCKER_HOST of a second engine that holds nothing; it runs containers on the host's network alone.

    Its bridge is the lab's: with none at all dockerd deletes docker0, which is that of the first engine.
    """
    if os.getuid() or not shutil.which("dockerd"):
        pytest.skip("a second Docker engine needs root and dockerd on this machine")
    place = Path(tempfile.mkdtemp())  # a short path: its sockets' names may have 107 characters
    words = ["--data-root", place / "data", "--exec-root", place / "exec", "--pidfile", place / "pid"]
    host = f"unix://{place}/socket"
    alone = ["--host", host, "--bridge", find_network().bridge, "--iptables=false", "--ip6tables=false"]
    bridge = Path("/sys/class/net/docker0/ifindex")
    before = bridge.exists() and bridge.read_text()
    with (place / "log").open("w") as log:
        daemon = subprocess.Popen(["dockerd", *words, *alone], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    asking = ["docker", "--host", host, "version"]
    try:
        until = time.monotonic() + 60
        while subprocess.run(asking, capture_output=True).returncode:
            assert daemon.poll() is None and time.monotonic() < until, (place / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield host
        assert (bridge.exists() and bridge.read_text()) == before
    finally:
        daemon.terminate()
        daemon.wait(60)
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        left = [point for point in reversed(mounted) if point.startswith(f"{place}/")]  # by a dockerd at its end
        if left:
            subprocess.run(["umount", *left], check=True)
        shutil.rmtree(place)


def test_a_bundle_serves_where_there_is_no_network(rig: Rig, hub: GitHub, tmp_path: Path, other_engine: str) -> None:
    # Another test may have locked a v1.5.8 of its own in this rack.
    (rig.folder / "rack.lock").unlink(missing_ok=True)
    release(hub, "v1.5.8")
    rig.write("unknown: boot\nos: {name: rancheros, version: v1.5.8}\n")
    rig.run("bundle", "create", str(tmp_path / "rack.bundle"))
    rig.run("down")  # both masters are this machine
    asked = len(hub.asked)
    hub.files.clear()
    there = Rig(tmp_path / "rack")
    there.folder.mkdir()
    shutil.copy(rig.folder / "rack.yml", there.folder)
    dead = "http://127.0.0.1:1"
    other = {"HOME": str(tmp_path), "HTTP_PROXY": dead, "HTTPS_PROXY": dead, "RACKCTL_DEBIAN_MIRROR": dead,
             "DOCKER_HOST": other_engine}  # fmt: skip
    there.run("bundle", "load", str(tmp_path / "rack.bundle"), **other)
    assert (there.folder / "rack.lock").read_text() == (rig.folder / "rack.lock").read_text()
    try:
        done = there.run("up", "--json", **other)
        assert json.loads(done.stdout)["tree"] and "building" not in done.stderr and len(hub.asked) == asked
        with urlopen(f"{there.http}/os/rancheros/v1.5.8/initrd") as answer:
            assert answer.read() == INITRD
        shown = ["docker", "--host", other_engine, "ps", "--format", "{{.Image}}"]
        images = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
        assert {line.partition(":")[0] for line in images.split()} == {"rackctl/tftp", "rackctl/microhttp"}
    finally:
        there.run("down", **other)
    assert (tmp_path / ".cache/rackctl/store/sha256").is_dir()
