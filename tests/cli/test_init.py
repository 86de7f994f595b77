"""`rackctl init` finds what it writes, and touches no file that is there."""

import os
import socket
import stat
from pathlib import Path

import pytest
from real_cli import assert_refused, run_cli

from rackctl.adapters.host import default_address
from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here: # office"


def test_it_finds_address_keys_and_a_free_port(tmp_path: Path) -> None:
    try:
        address = default_address()
    except ConfigError:
        pytest.skip("this machine has no default route")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(f"{KEY}\n")
    (tmp_path / ".ssh" / "old.pub").write_text("---- BEGIN SSH2 PUBLIC KEY ----\n")
    with socket.socket() as taken:
        try:
            taken.bind((address, 83))
        except PermissionError:
            pytest.skip("only root may open port 83 here")
        except OSError:
            pass  # somebody else holds it, which is as good
        else:
            taken.listen()
        done = run_cli("init", tmp_path / "rack", env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "rack" / "rack.yml").read_text()
    rack = parse_rack(text)
    assert (rack.server.address, rack.ssh_authorized_keys) == (address, (KEY,))
    assert rack.server.http_port in (8083, 8183)
    assert text.count("#") > 5


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "rack.yml"
    for make in (lambda: file.write_text("mine\n"), lambda: os.symlink(tmp_path / "nowhere", file)):
        make()
        before = os.lstat(file)
        done = run_cli("init", tmp_path, "--server", "127.0.0.1")
        assert_refused(done, 2, str(file), "there")
        after = os.lstat(file)
        assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
        assert not (tmp_path / "nowhere").exists() and [one.name for one in tmp_path.iterdir()] == ["rack.yml"]
        assert stat.S_ISLNK(after.st_mode) or file.read_text() == "mine\n"
        file.unlink()
