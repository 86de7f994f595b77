"""The stick's file: whole or not there, whatever happens to the disk or beside it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rackctl.adapters.stick import put_file
from rackctl.cli.failure import as_rack_error


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(os.urandom(1 << 16))
    return file


@pytest.fixture
def small_files() -> Iterator[None]:
    """Writes beyond 4 KiB fail, as on a full disk but for the error's number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def test_what_could_not_be_written_whole_leaves_the_old_file(source: Path, tmp_path: Path, small_files: None) -> None:
    target = tmp_path / "to" / "stick.img"
    target.parent.mkdir()
    target.write_text("old")
    with pytest.raises(OSError) as caught:
        put_file(source, target)
    assert caught.value.filename == str(target), "not the source: that disk is not full"
    assert [file.name for file in target.parent.iterdir()] == ["stick.img"]
    assert target.read_text() == "old"


def test_another_that_writes_the_same_file_does_no_harm(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "stick.img"
    script = "import sys; from pathlib import Path; from rackctl.adapters.stick import put_file\n"
    script += "for _ in range(300): put_file(Path(sys.argv[1]), Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", script, str(source), str(target)]) as other:
        while other.poll() is None:
            put_file(source, target)
            assert target.read_bytes() == source.read_bytes()
    assert other.returncode == 0


def test_a_place_that_cannot_be_written_is_named(source: Path) -> None:
    with pytest.raises(OSError) as caught:
        put_file(source, source / "stick.img")
    assert as_rack_error(caught.value).where == str(source / "stick.img")
