import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rackctl.adapters.folder import RackFolder
from rackctl.core.tree import Tree
from rackctl.errors import BusyError, ConfigError

PUBLISH = """
import sys
from pathlib import Path
from rackctl.adapters.folder import RackFolder
from rackctl.core.tree import Tree
folder = RackFolder(Path(sys.argv[1]))
for n in range(10_000):
    folder.publish(Tree({f"http/{k}": str(n).encode() * 50 for k in range(20)}), {})
"""


def test_no_rack_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rack"):
        RackFolder(tmp_path).read_rack()


def test_the_daemons_can_read_the_tree_whatever_the_umask(tmp_path: Path) -> None:
    folder = RackFolder(tmp_path)
    before = os.umask(0o077)
    try:
        folder.publish(Tree({"http/boot/a": b"a"}), {})
    finally:
        os.umask(before)
    file = folder.served / "current/http/boot/a"
    assert file.stat().st_mode & 0o004
    inside = [one for one in file.resolve().parents if one.is_relative_to(folder.served)]
    for one in (*inside, folder.installed.parent):  # the folders that are mounted, and what lies in them
        assert one.stat().st_mode & 0o005 == 0o005, one


def test_services_count_as_started_only_with_the_folders_they_have_mounted(tmp_path: Path) -> None:
    folder = RackFolder(tmp_path)
    folder.publish(Tree({"http/a": b"a"}), {})
    folder.started = "one"
    assert (folder.started, folder.unmounted) == ("one", False)
    folder.started = None
    assert (folder.started, folder.unmounted) == (None, False)
    folder.started = "one"
    folder.logs.rename(tmp_path / "held")  # a running service keeps the inode of what was removed
    folder.publish(Tree({"http/a": b"a"}), {})
    assert (folder.started, folder.unmounted) == (None, True)


def test_a_second_rackctl_is_refused(tmp_path: Path) -> None:
    folder = RackFolder(tmp_path)
    with folder.lock(), pytest.raises(BusyError), folder.lock():
        pass


def test_a_kill_at_any_moment_leaves_a_whole_tree(tmp_path: Path) -> None:
    folder = RackFolder(tmp_path)
    folder.publish(Tree({f"http/{k}": b"first" for k in range(20)}), {})
    for turn in range(20):
        child = subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path)])
        time.sleep(0.15 + 0.013 * turn)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        current = folder.served / "current" / "http"
        contents = {file.read_bytes() for file in current.iterdir()}
        assert len(contents) == 1, "a tree of two publishes"
        assert len(list(current.iterdir())) == 20
    folder.publish(Tree({"http/a": b"after"}), {})
    assert (folder.served / "current/http/a").read_bytes() == b"after"


def test_artifacts_are_hard_links_to_the_store_and_racks_share_them(tmp_path: Path) -> None:
    kernel = tmp_path / "store"
    kernel.write_bytes(b"kernel" * 1000)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folder = RackFolder(tmp_path / name)
        folder.publish(Tree({"http/a": b"a"}, {"http/os/x/vmlinuz": "digest"}), {"digest": kernel})
        assert (folder.served / "current/http/os/x/vmlinuz").stat().st_ino == kernel.stat().st_ino
    assert kernel.stat().st_nlink == 3


def test_a_disk_that_fills_up_keeps_the_old_tree_served(tmp_path: Path) -> None:
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], check=True)
    except (OSError, subprocess.CalledProcessError) as wrong:
        pytest.skip(f"a small disk needs root and the right to mount: {wrong}")
    try:
        folder, old = RackFolder(tmp_path), Tree({f"http/{n}": b"old" for n in range(9)})
        folder.publish(old, {})
        new = Tree({f"http/{n}": os.urandom(100_000) for n in range(9)})
        with pytest.raises(BusyError) as caught:
            folder.publish(new, {})
        assert "still served" in caught.value.message and "rackctl up" in caught.value.remedy
        assert folder.served_id() == old.id and not folder.find_damage(old, {})
        small = Tree({"http/0": b"new"})
        folder.publish(small, {})  # nothing half-written takes the room
        assert folder.served_id() == small.id
        assert [one.name for one in (folder.served / "trees").iterdir()] == [small.id]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
