"""A support bundle of a rack in which much is wrong: that is when it is asked for."""

import json
import tarfile
from pathlib import Path

from real_cli import assert_refused, run_cli

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def read(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        found = {one.name.partition("/")[2]: opened.extractfile(one) for one in opened}
        return {name: file.read().decode() for name, file in found.items() if file}


def test_a_rack_yml_that_is_no_utf8_and_no_engine(tmp_path: Path) -> None:
    (tmp_path / "rack.yml").write_bytes("server: {address: 10.0.0.1} # Büro\n".encode("latin-1"))
    done = run_cli("support-bundle", "--yes", "--output", "a.tar.gz", cwd=tmp_path, env=NO_ENGINE)
    assert done.returncode == 0, done.stderr
    held = read(tmp_path / "a.tar.gz")
    assert held["rack.yml"].startswith("server: {address: 10.0.0.1} # B")
    assert "UTF-8" in held["status.json"] and "UTF-8" in held["timelines.json"]


def test_every_boot_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "rack.yml").write_text("server: {address: 10.0.0.1}\n")
    logs = tmp_path / ".rackctl" / "logs"
    logs.mkdir(parents=True)
    for when in (1_700_000_000, 1_700_001_000):
        row = {"end": when, "ip": "10.0.0.9", "m": "GET", "uri": "/boot/52-54-00-00-00-09.ipxe", "st": 200, "sent": 5,
               "len": "5", "range": "", "dur": 0.0, "done": "OK"}  # fmt: skip
        with (logs / "http.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
    done = run_cli("support-bundle", "--yes", "--output", "a.tar.gz", cwd=tmp_path, env=NO_ENGINE)
    assert done.returncode == 0, done.stderr
    boots = json.loads(read(tmp_path / "a.tar.gz")["timelines.json"])
    assert [one["started"] for one in boots] == [1_700_000_000, 1_700_001_000]


def test_a_place_that_cannot_take_it_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "rack.yml").write_text("server: {address: 10.0.0.1}\n")
    (tmp_path / "link").symlink_to("nowhere")
    for output, says in (("none/a.tar.gz", "none: there is no such folder"), ("link", "the file is there already")):
        done = run_cli("support-bundle", "--yes", "--output", output, cwd=tmp_path, env=NO_ENGINE)
        assert_refused(done, 2, says)
        assert not done.stdout
