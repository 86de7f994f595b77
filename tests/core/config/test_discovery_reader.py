"""The discovery OS' own reader of cloud-config gets back what rackctl rendered."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackctl.core.yamldoc import dump_yaml

FOLDER = Path(__file__).parents[3] / "compose" / "discovery"


def apply(root: Path, data: Any) -> str:
    """Applies below a folder; returns what goes into the check-in's query."""
    subprocess.run(["rm", "-rf", str(root)], check=True)
    for name in ("tmp", "bin"):
        (root / name).mkdir(parents=True)
    (root / "tmp" / "config").write_text("#cloud-config\n" + dump_yaml(data), newline="")
    (root / "bin" / "hostname").write_text(f'#!/bin/sh\necho "$1" >{root}/tmp/kernel-hostname\n')
    (root / "bin" / "hostname").chmod(0o755)
    script = f'say() {{ echo "$@" >&2; }}; . {FOLDER}/config.sh; apply_config {root}/tmp/config; echo "$applied"'
    env = {"ROOT": str(root), "CONFIG_AWK": str(FOLDER / "config.awk"), "PATH": f"{root}/bin:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_name_keys_files_and_commands(tmp_path: Path) -> None:
    root = tmp_path / "root"
    keys = ["ssh-ed25519 AAAA me@here", "ssh-rsa BBBB 'odd'"]
    files = [
        {"path": "/etc/a b", "permissions": "0600", "owner": "root", "content": "one\n  two\n\nthree\n"},
        {"path": "/deep/er/x", "content": base64.b64encode(b"\x00\xff").decode(), "encoding": "b64"},
    ]
    commands = [f'echo "it\'s" >{root}/ran', ["sh", "-c", f"echo 'a  b' >>{root}/ran"]]
    data = {"hostname": "n1", "ssh_authorized_keys": keys, "rancher": {"sysctl": {"a": 1}}, "write_files": files}
    told = apply(root, {**data, "runcmd": commands})
    assert (root / "root/.ssh/authorized_keys").read_text() == "".join(f"{key}\n" for key in keys)
    assert (root / "etc/a b").read_text() == "one\n  two\n\nthree\n"
    assert (root / "etc/a b").stat().st_mode & 0o777 == 0o600
    assert (root / "deep/er/x").read_bytes() == b"\x00\xff"
    assert (root / "tmp/kernel-hostname").read_text() == "n1\n"
    assert (root / "etc/hostname").read_text() == "n1\n"
    assert (root / "etc/hosts").read_text().splitlines()[-1] == "127.0.1.1\tn1"
    assert (root / "ran").read_text() == "it's\na  b\n"
    assert told.startswith("&keys=2-")
    assert "&files=2-" in told


def test_another_file_is_not_applied(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("hostname: n1\n")
    script = f'say() {{ :; }}; . {FOLDER}/config.sh; apply_config {tmp_path}/c; echo "[$applied]"'
    done = subprocess.run(
        ["sh", "-c", script], env={"ROOT": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


LINES = st.lists(st.text(alphabet=" ab:#-'\"\\|>[]{}&*!%@`\t~0", max_size=12), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=LINES, ending=st.sampled_from(["", "\n", "\n\n"]))
def test_any_content_comes_back(tmp_path: Path, lines: list[str], ending: str) -> None:
    content = "\n".join(lines) + ending
    files = [{"path": "/f", "content": content}, {"path": "/g", "content": "last\n"}]
    apply(tmp_path / "root", {"write_files": files, "runcmd": ["true"]})
    assert (tmp_path / "root" / "f").read_text() == content
    assert (tmp_path / "root" / "g").read_text() == "last\n"


@pytest.mark.parametrize(
    "content", ["a\r\nb\r\n", "\x1b[1mbold\x1b[0m\n", "trailing \n", "\n\nlead\n", "  indented\nless\n"]
)
def test_content_that_yaml_writes_in_other_ways(tmp_path: Path, content: str) -> None:
    apply(tmp_path / "root", {"write_files": [{"path": "/f", "content": content}]})
    assert (tmp_path / "root" / "f").read_bytes() == content.encode()
