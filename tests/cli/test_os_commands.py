"""`rackctl os` and `rackctl initrd` as a person runs them."""

import gzip
import json
from pathlib import Path

import pytest
from own_os import MINIMAL
from real_cli import assert_refused, run_cli

from rackctl.core.cpio import Entry, flatten, read_initrd, write_cpio

FOLDER, FILE, LINK = 0o040755, 0o100644, 0o120777


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "myos.yml").write_text(MINIMAL)
    (tmp_path / "catalog" / "k3os.yml").write_text(MINIMAL.replace("My OS", "My K3"))
    (tmp_path / "rack.yml").write_text("server: {address: 127.0.69.4}\nos: {name: myos, version: '1'}\n")
    return tmp_path


def test_the_racks_own_catalog_adds_and_overrides_with_no_python(rack: Path) -> None:
    listed = {line.split()[0]: line for line in run_cli("os", "list", cwd=rack).stdout.splitlines()}
    assert "(your own)" in listed["myos"] and "(your own)" in listed["k3os"] and "(your own)" not in listed["talos"]
    assert run_cli("os", "show", "k3os", cwd=rack).stdout.startswith("k3os: My K3.")
    assert run_cli("lint", cwd=rack).returncode == 0, "rack.yml may name it"
    good = run_cli("os", "validate", cwd=rack)
    assert good.returncode == 0 and good.stdout.count(" is good ") == 2
    (rack / "catalog" / "myos.yml").write_text(MINIMAL.replace("title", "titel"))
    assert_refused(run_cli("os", "validate", cwd=rack), 2, "catalog/myos.yml:1", "did you mean 'title'?")


def test_rancheros_says_in_one_line_that_it_ended_and_where_people_went(tmp_path: Path) -> None:
    (line,) = [one for one in run_cli("os", "list", cwd=tmp_path).stdout.splitlines() if one.startswith("rancheros")]
    assert "ENDED: unmaintained since 2021; people moved to flatcar" in line
    shown = run_cli("os", "show", "rancheros", cwd=tmp_path).stdout
    assert "2048 MiB at least" in shown and "ENDED" in shown
    assert "good" in run_cli("os", "validate", cwd=tmp_path).stdout
    assert "rancheros" in json.loads(run_cli("os", "list", "--json", cwd=tmp_path).stdout)


def test_an_initrd_is_listed_compared_and_added_to(tmp_path: Path) -> None:
    base, extra = tmp_path / "initrd", tmp_path / "extra.gz"
    upstream = write_cpio([Entry("usr/lib/a", FILE, b"a"), Entry("lib", LINK, b"usr/lib")])
    base.write_bytes(gzip.compress(upstream, mtime=0))
    (tmp_path / "fw").write_bytes(b"firmware")
    (tmp_path / "tree" / "etc").mkdir(parents=True)
    (tmp_path / "tree" / "etc" / "motd").write_text("hello\n")
    words = ["initrd", "overlay", extra, "--base", base, "--file", f"{tmp_path / 'fw'}:lib/firmware/x.bin"]
    done = run_cli(*words, "--folder", tmp_path / "tree", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(extra.read_bytes()) % 4 == 0
    found = flatten(read_initrd(extra.read_bytes()))
    assert found["usr/lib/firmware/x.bin"].data == b"firmware" and found["etc/motd"].data == b"hello\n"
    assert "lib" not in found, "a real lib/ would take the place of upstream's link"
    both = tmp_path / "both"
    raw = base.read_bytes()
    both.write_bytes(raw + b"\0" * (-len(raw) % 4) + extra.read_bytes())
    listed = run_cli("initrd", "ls", both).stdout
    assert "archive 1: byte 0" in listed and "archive 2: byte" in listed and "usr/lib/firmware/x.bin" in listed
    differs = run_cli("initrd", "diff", base, both)
    assert differs.returncode == 1 and "usr/lib/firmware/x.bin" in differs.stdout
    assert all(line.startswith("+") for line in differs.stdout.splitlines())
    assert run_cli("initrd", "diff", both, both).returncode == 0
    both.write_bytes(raw[:-9])
    assert_refused(run_cli("initrd", "ls", both), 2, str(both), "is it an initrd, and whole?")


@pytest.mark.parametrize(
    ("words", "says"), [(["--link", "lib"], "'lib' is no link"), (["--file", "motd"], "'motd' names no path")]
)
def test_a_word_of_overlay_that_says_nothing_is_refused(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "initrd").write_bytes(write_cpio([Entry("a", FILE, b"a")]))
    done = run_cli("initrd", "overlay", "out", "--base", "initrd", *words, cwd=tmp_path)
    assert_refused(done, 2, words[0], says)
    assert not (tmp_path / "out").exists()
