"""A bundle made on one master serves on another that reaches nothing."""

import json
from pathlib import Path
from urllib.request import urlopen

import pytest
from fake_github import INITRD, GitHub, release

from boot.conftest import Rig

pytestmark = pytest.mark.engine


def test_a_bundle_serves_where_there_is_no_network(rig: Rig, hub: GitHub, tmp_path: Path) -> None:
    # Another test may have locked a v1.5.8 of its own in this rack.
    (rig.folder / "rack.lock").unlink(missing_ok=True)
    release(hub, "v1.5.8")
    rig.write("unknown: boot\nos: {name: rancheros, version: v1.5.8}\n")
    rig.run("bundle", "create", str(tmp_path / "rack.bundle"))
    lock = (rig.folder / "rack.lock").read_text()
    (rig.folder / "rack.lock").unlink()
    hub.files.clear()
    hub.asked.clear()
    dead = "http://127.0.0.1:1"
    other = {"HOME": str(tmp_path), "HTTP_PROXY": dead, "HTTPS_PROXY": dead, "RACKCTL_DEBIAN_MIRROR": dead}
    rig.run("bundle", "load", str(tmp_path / "rack.bundle"), **other)
    assert (rig.folder / "rack.lock").read_text() == lock
    done = rig.run("up", "--json", **other)
    assert json.loads(done.stdout)["tree"] and "building" not in done.stderr and not hub.asked
    with urlopen(f"{rig.http}/os/rancheros/v1.5.8/initrd") as answer:
        assert answer.read() == INITRD
    assert (tmp_path / ".cache/rackctl/store/sha256").is_dir()
