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
