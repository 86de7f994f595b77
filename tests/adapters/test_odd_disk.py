"""What lies where a file should, a disk that fills up, and whose a file is that rackctl writes anew."""

import json
import os

import pytest

from rackctl import statusd
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.inventories import Inventories, read_inventory
from rackctl.adapters.logs import Log, open_logs, read_events
from rackctl.core.events import Event, Stage
from rackctl.core.status import Known
from rackctl.core.tftplog import parse_tftp_line
from rackctl.follow import Follower, read_known, write_aside
from rackctl.report import write_nodes

MAC = "52:54:00:00:00:01"
KINDS = pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])


@KINDS
def test_a_log_that_is_no_file_is_told_of_once(tmp_path, capsys, make):
    make(tmp_path / "http.jsonl")
    (tmp_path / "tftp.jsonl").write_text('{"t":1000.5,"line":"dnsmasq-tftp: sent /srv/a to 10.0.0.1"}\n')
    logs = open_logs(tmp_path)
    assert [event.time for event in read_events(logs)] == [1000.5]
    assert list(read_events(logs)) == []
    assert capsys.readouterr().err.count("http.jsonl is no file") == 1
    assert list(Log(tmp_path / "http.jsonl", parse_tftp_line, from_end=True).read()) == []


@KINDS
def test_an_inventory_that_is_no_file_is_none(tmp_path, make):
    make(tmp_path / f"{MAC.replace(':', '-')}.json")
    assert read_inventory(tmp_path, MAC) is None
    assert Inventories(tmp_path).read() == {}


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"names": 3, "unknown": "", "port": 1, "server": ""}'])
def test_a_known_json_that_rackctl_did_not_write(tmp_path, text):
    (tmp_path / "status").mkdir()
    (tmp_path / "status/known.json").write_text(text)
    assert read_known(tmp_path) == Known()
    good = {"names": {MAC: "n1"}, "unknown": "boot", "port": 83, "server": "10.0.0.1"}
    (tmp_path / "status/known.json").write_text(json.dumps(good))
    (tmp_path / "status/findings.json").write_text(text)
    assert read_known(tmp_path).names == {MAC: "n1"}


def fill(monkeypatch):
    """The disk is full: a write fails where it comes to the disk."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)


def test_a_full_disk_keeps_no_file_that_lies_aside_and_the_page_catches_up(tmp_path, monkeypatch):
    (tmp_path / "status").mkdir()
    follower = Follower(tmp_path, Known())
    event = Event(1000.0, Stage.SCRIPT, MAC, "10.0.0.1", True)
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(OSError, match="No space"):
            follower.write(1001.0, [event])
        follower._stream._size = 0  # the stream was written while there was room
        with pytest.raises(OSError, match="No space"):
            follower.write(1002.0, [])
        assert list((tmp_path / "status").iterdir()) == []
    follower.write(1002.0, [])  # at once: what could not be written does not count as written
    assert (tmp_path / "status/status.json").exists()


def test_the_container_outlives_a_full_disk(tmp_path, monkeypatch, capsys):
    (tmp_path / "status").mkdir()
    ticks = []

    def tick(_):
        ticks.append(1)
        if len(ticks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", tick)
    fill(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        statusd.main(tmp_path, tmp_path / "current")
    assert capsys.readouterr().err.count("not brought up to date") == 1


def test_a_lock_holds_on_a_full_disk(tmp_path, monkeypatch):
    folder = RackFolder(tmp_path)
    folder.work.mkdir()
    (folder.work / "page.lock").symlink_to("/dev/full")
    with folder.take("page") or pytest.fail("not taken"):
        assert folder.take("page") is None


def test_an_adopted_node_leaves_rack_yml_its_users_and_is_on_the_disk_first(tmp_path, monkeypatch):
    file = tmp_path / "rack.yml"
    file.write_text("server: {address: 10.0.0.1}\n")
    file.chmod(0o640)
    done = []
    fsync, rename, owner = os.fsync, type(file).rename, file.stat()
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: done.append(("chown", uid, gid)))
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync") or fsync(handle))
    monkeypatch.setattr(type(file), "rename", lambda old, new: done.append("rename") or rename(old, new))
    write_nodes(RackFolder(tmp_path), {"n1": MAC})
    assert done == ["fsync", ("chown", owner.st_uid, owner.st_gid), "rename"]
    assert file.stat().st_mode & 0o777 == 0o640 and MAC in file.read_text()


def test_a_file_that_may_not_be_given_away_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    (tmp_path / "a").write_text("old")
    write_aside(tmp_path / "a", b"new", like=(tmp_path / "a").stat())
    assert (tmp_path / "a").read_text() == "new"
