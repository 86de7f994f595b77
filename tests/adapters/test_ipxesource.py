"""Where iPXE's source comes from, and that only the pinned commit's files pass."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rackctl.adapters import ipxesource
from rackctl.adapters.ipxesource import find_source, git_tree_id, keep_unpacked, resolve, unpacked
from rackctl.errors import ConfigError, RackError


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *names, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "deep" / "a.c").write_text("int a;\n")
    (folder / "src" / "deep.c").write_text("int d;\n")  # sorts before the folder `deep/`, not after
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    git(folder.parent, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v2.0.0")
    return folder


@pytest.fixture
def pinned(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ipxesource, "PINNED_COMMIT", git(repository, "rev-parse", "HEAD"))
    monkeypatch.setattr(ipxesource, "PINNED_TREE", git(repository, "rev-parse", "HEAD^{tree}"))
    return repository


def archive(repository: Path, file: Path) -> Path:
    git(repository, "archive", "--prefix=ipxe-2.0.0/", "-o", str(file), "HEAD")
    return file


def test_the_tree_id_is_gits(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "out"), "HEAD~0")
    (tmp_path / "out" / ".git").unlink()
    assert git_tree_id(tmp_path / "out") == git(repository, "rev-parse", "HEAD^{tree}")


def test_a_clone_and_an_archive_of_the_pinned_commit_are_taken(pinned: Path, tmp_path: Path) -> None:
    for source in (pinned, archive(pinned, tmp_path / "ipxe-2.0.0.tar.gz")):
        with unpacked(source) as folder:
            assert (folder / "src" / "deep.c").read_text() == "int d;\n"


def test_an_archive_of_other_files_is_refused_whatever_it_says_of_itself(pinned: Path, tmp_path: Path) -> None:
    (pinned / "run.sh").write_text("#!/bin/sh\nevil\n")
    git(pinned, "commit", "-qam", "two")
    with (
        pytest.raises(RackError, match=r"not those of v2\.0\.0"),
        unpacked(archive(pinned, tmp_path / "ipxe-2.0.0.tar.gz")),
    ):
        pass


def test_a_clone_without_the_commit_is_refused_with_the_remedy(repository: Path) -> None:
    with pytest.raises(RackError) as wrong, unpacked(repository):
        pass
    assert "12798ec29aa8" in wrong.value.remedy and "fetch --tags" in wrong.value.remedy


def test_what_is_unpacked_is_kept_and_mended_when_it_was_touched(pinned: Path, tmp_path: Path) -> None:
    kept = tmp_path / "out" / "kept"
    assert keep_unpacked(pinned, kept) == kept
    inode = (kept / "run.sh").stat().st_ino
    assert keep_unpacked(tmp_path / "the source is not asked for", kept) == kept
    assert (kept / "run.sh").stat().st_ino == inode
    (kept / "run.sh").write_text("#!/bin/sh\nevil\n")
    keep_unpacked(pinned, kept)
    assert "evil" not in (kept / "run.sh").read_text()
    assert [one.name for one in kept.parent.iterdir()] == ["kept"]


def test_files_of_two_commits_differ_in_time_where_they_do_in_size_not(pinned: Path, tmp_path: Path) -> None:
    """BuildKit looks at no more than size and time of what it was sent before."""
    first = keep_unpacked(pinned, tmp_path / "one")
    (pinned / "src" / "deep.c").write_text("int e;\n")
    git(pinned, "commit", "-qam", "two")
    other = resolve(pinned, git(pinned, "rev-parse", "HEAD"))
    second = keep_unpacked(pinned, tmp_path / "two", replace(other, time=ipxesource.PINNED_TIME))
    one, two = ((folder / "src" / "deep.c").stat() for folder in (first, second))
    assert one.st_size == two.st_size and one.st_mtime_ns != two.st_mtime_ns
    assert int(one.st_mtime) == int(two.st_mtime) == ipxesource.PINNED_TIME
    assert {file.stat().st_mtime_ns for file in first.rglob("*") if not file.is_symlink()} == {one.st_mtime_ns}


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_an_archive_that_is_none_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ipxe-x.tar.gz").write_bytes(content)
    with pytest.raises(RackError, match="cannot be read"), unpacked(tmp_path / "ipxe-x.tar.gz"):
        pass


def test_auto_clones_upstream_into_the_cache(pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipxesource, "UPSTREAM", pinned.as_uri())
    said: list[str] = []
    cache = tmp_path / "cache"
    assert find_source(cache, "auto", said.append) == cache / "ipxe"
    assert find_source(cache, "auto", said.append) == cache / "ipxe" and len(said) == 1
    with unpacked(cache / "ipxe") as folder:
        assert (folder / "run.sh").exists()


def test_auto_gives_the_reason_once_an_hour_and_source_insists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipxesource, "UPSTREAM", (tmp_path / "nowhere").as_uri())
    said: list[str] = []
    first = find_source(tmp_path, "auto", said.append)
    assert isinstance(first, str) and "cannot be had" in first
    assert find_source(tmp_path, "auto", said.append) == first and len(said) == 1
    with pytest.raises(RackError, match="git"):
        find_source(tmp_path, "source", said.append)


def test_a_named_source_that_is_absent_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(RackError, match="no iPXE source"):
        find_source(tmp_path, str(tmp_path / "none"), print)


def test_a_git_url_is_cloned_once_and_needs_no_network_then(pinned: Path, tmp_path: Path) -> None:
    url, cache, said = pinned.as_uri(), tmp_path / "cache", list[str]()
    clone = find_source(cache, url, said.append)
    shutil.rmtree(pinned)
    assert find_source(cache, url, said.append) == clone and len(said) == 1
    assert isinstance(clone, Path) and clone.parent == cache
    assert resolve(clone, "", cache).id == ipxesource.PINNED_COMMIT
    with unpacked(clone) as folder:
        assert (folder / "src" / "deep.c").read_text() == "int d;\n"


def test_another_commit_comes_by_its_id_from_where_the_clone_came(pinned: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    clone = find_source(cache, pinned.as_uri(), print)
    assert isinstance(clone, Path)
    (pinned / "src" / "deep.c").write_text("int other;\n")
    git(pinned, "commit", "-qam", "two")
    found = resolve(clone, git(pinned, "rev-parse", "HEAD"), cache)
    assert found.tree == git(pinned, "rev-parse", "HEAD^{tree}")
    with unpacked(clone, found) as folder:
        assert (folder / "src" / "deep.c").read_text() == "int other;\n"
    with pytest.raises(RackError, match="git") as wrong:
        resolve(clone, "0" * 40, cache)
    assert "can it be reached" in wrong.value.remedy
    with pytest.raises(ConfigError, match=f"{pinned} has no commit 0000") as wrong:
        resolve(pinned, "0" * 40, cache)
    assert wrong.value.where == "rack.yml: ipxe.ref"
    with pytest.raises(RackError, match="an archive cannot show that it is commit 0000"):
        resolve(archive(pinned, tmp_path / "ipxe.tar.gz"), "0" * 40, cache)
