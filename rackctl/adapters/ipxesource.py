"""Adapter: iPXE's source at the pinned commit: where it is found, and how it is known to be that commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.errors import ConfigError, RackError

UPSTREAM = "https://github.com/ipxe/ipxe"
PINNED_TAG = "v2.0.0"
PINNED_COMMIT = "12798ec29aa8a64d8675c4378b99f5fe28447afb"  # of that tag, released 2026-03-06
PINNED_TREE = "bdfffc12ce204d4743a30f23aa1745c25b7169b4"  # of that commit: its files alone, for an archive
PINNED_TIME = 1772812135  # of that commit, seconds since 1970: the build's, so that it can be repeated
_ASK_AGAIN = 3600.0  # seconds until auto asks an upstream again that could not be reached

Report = Callable[[str], None]


def in_cache(cache: Path) -> list[Path]:
    """The sources that the cache directory holds: a clone `ipxe`, or archives `ipxe-*.tar.gz`, the best one last."""
    return [cache / "ipxe"] if (cache / "ipxe").is_dir() else sorted(cache.glob("ipxe-*.tar.gz"))


def find_source(cache: Path, source: str, report: Report) -> Path | str:
    """A clone or an archive; for `auto` that finds none, the reason as text.

    source: `auto` or `source` (the cache, else a clone of upstream into it), a git URL, a local clone, or an archive.
    Raises RackError when a named source is absent.
    """
    if source in ("auto", "source"):
        if found := in_cache(cache):
            return found[-1]
        return _clone_upstream(cache, report, must=source == "source")
    if "://" not in source and not source.startswith("git@"):
        if Path(source).exists():
            return Path(source)
        raise RackError("there is no iPXE source", source, "name a clone, an archive or a git URL in rack.yml: ipxe")
    return _clone(source, cache / f"ipxe-{hashlib.sha256(source.encode()).hexdigest()[:12]}.git", report)


def _clone_upstream(cache: Path, report: Report, must: bool) -> Path | str:
    refused = cache / "ipxe.unreachable"
    if not must and refused.exists() and 0 <= time.time() - refused.stat().st_mtime < _ASK_AGAIN:
        return refused.read_text()
    try:
        return _clone(UPSTREAM, cache / "ipxe", report)
    except RackError as wrong:
        if must:
            raise
        said = str(wrong.message).strip().splitlines()[-1].rpartition("fatal: ")[2]
        reason = f"iPXE's source cannot be had: {said}"
        refused.write_text(reason)
        return reason


def _clone(url: str, clone: Path, report: Report) -> Path:
    if clone.is_dir():
        return clone
    report(f"cloning iPXE {PINNED_TAG} from {url}")
    aside = clone.with_name(clone.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    clone.parent.mkdir(parents=True, exist_ok=True)
    # A stalled transfer ends after 20 s under 1 kB/s; a server that asks for a password is an error, not a prompt.
    git = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", "clone", "--quiet", "--bare"]
    run(
        [*git, "--branch", PINNED_TAG, "--depth", "1", url, str(aside)],
        timeout=600,
        env={"GIT_TERMINAL_PROMPT": "0"},
        error=RackError,
        remedy="look at the network, or put a clone there by hand",
    )
    aside.rename(clone)
    return clone


@dataclass(frozen=True)
class Commit:
    """One commit of iPXE. tree: git's id of its files; time: seconds since 1970."""

    id: str
    name: str
    tree: str
    time: int


def pinned() -> Commit:
    """The commit that rackctl is made for."""
    return Commit(PINNED_COMMIT, PINNED_TAG, PINNED_TREE, PINNED_TIME)


def resolve(source: Path, ref: str, cache: Path | None = None) -> Commit:
    """The commit that `ipxe.ref` names by its id, "" being the pinned one.

    cache: clones in it are rackctl's own, and asked to fetch what they lack. Raises RackError for an archive, whose
    files prove a tree and no commit, and for a clone without that commit.
    """
    if ref in ("", PINNED_COMMIT):
        return pinned()
    wanted = Commit(ref, ref[:12], "", 0)
    if not source.is_dir():
        raise RackError(f"an archive cannot show that it is commit {ref}", str(source), "name a clone or a git URL")
    git = _git(source)
    if cache and source.parent == cache:
        _fetch(source, ref)
    try:
        run([*git, "cat-file", "-e", ref + "^{commit}"], error=RackError)
    except RackError as wrong:
        raise ConfigError(f"{source} has no commit {ref}", "rack.yml: ipxe.ref", _remedy(source, wanted)) from wrong
    tree = run([*git, "rev-parse", ref + "^{tree}"], error=RackError).decode().strip()
    time_ = int(run([*git, "show", "-s", "--format=%ct", ref], error=RackError))
    return Commit(ref, ref[:12], tree, time_)


def _git(source: Path) -> list[str]:
    return ["git", "-c", "safe.directory=*", "-C", str(source)]


def _fetch(clone: Path, ref: str) -> None:
    git = _git(clone)
    try:
        run([*git, "cat-file", "-e", ref + "^{commit}"], error=RackError)
    except RackError:
        slow = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20"]
        url = UPSTREAM if clone.name == "ipxe" else "origin"
        run(
            [*git, *slow, "fetch", "--quiet", "--depth", "1", url, ref],
            timeout=600,
            env={"GIT_TERMINAL_PROMPT": "0"},
            error=RackError,
            remedy=f"is {ref} a commit of that repository, and can it be reached?",
        )


@contextmanager
def unpacked(source: Path, commit: Commit | None = None) -> Iterator[Path]:
    """The commit's files (default: the pinned one's) in a temporary folder. Raises RackError for another source."""
    wanted = commit or pinned()
    with tempfile.TemporaryDirectory(prefix="rackctl-ipxe-") as name:
        folder = Path(name)
        archive = source
        if source.is_dir():
            archive = folder / "archive.tar"
            git = _git(source)
            run([*git, "cat-file", "-e", wanted.id + "^{commit}"], error=RackError, remedy=_remedy(source, wanted))
            run([*git, "archive", "--format=tar", "-o", str(archive), wanted.id], timeout=60)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder / "tree", filter="data")
        except (tarfile.TarError, OSError, EOFError) as wrong:
            raise RackError(f"the archive cannot be read: {wrong}", str(source), _remedy(source, wanted)) from wrong
        tops = list((folder / "tree").iterdir())
        top = tops[0] if len(tops) == 1 else folder / "tree"
        # An archive's own word about its commit proves nothing: the files do, by git's hash of them.
        if (found := git_tree_id(top)) != wanted.tree:
            raise RackError(
                f"the files are not those of {wanted.name}: tree {found}", str(source), _remedy(source, wanted)
            )
        yield top


def keep_unpacked(source: Path, kept: Path, commit: Commit | None = None) -> Path:
    """The commit's files in the folder `kept`, unpacked there the first time and hashed each time.

    Kept for time: unpacking takes a second, and BuildKit sends again what lies under another path. Raises RackError.
    """
    wanted = commit or pinned()
    if kept.is_dir() and git_tree_id(kept) == wanted.tree:
        return kept
    aside = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with unpacked(source, wanted) as tree:
        shutil.copytree(tree, aside, symlinks=True)
        _stamp(aside, wanted)
    shutil.rmtree(kept, ignore_errors=True)
    try:
        aside.rename(kept)
    except OSError:  # another rackctl was faster
        shutil.rmtree(aside)
    return kept


def _stamp(folder: Path, commit: Commit) -> None:
    """Give all files one time, the commit's to the second and the tree's own below it.

    BuildKit takes a file of the same name, size and time for the one that it was sent before, whatever is in it: two
    commits of the same second, or of a time that somebody set, would be compiled with files of each other.
    """
    when = commit.time * 10**9 + int(commit.tree[:7], 16)  # seven hexadecimal digits are below a second
    for file in folder.rglob("*"):
        os.utime(file, ns=(when, when), follow_symlinks=False)


def _remedy(source: Path, commit: Commit) -> str:
    return f"it needs {commit.name}, commit {commit.id}: git -C {source} fetch --tags"


def git_tree_id(folder: Path) -> str:
    """The id that git gives a tree of these files (gitformat-object: `tree`, sorted as if folders ended in a slash)."""
    entries = []
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_symlink():
            mode, digest = "120000", _git_hash("blob", os.fsencode(os.readlink(path)))
        elif entry.is_dir():
            mode, digest = "40000", git_tree_id(path)
        else:
            mode = "100755" if entry.stat().st_mode & 0o100 else "100644"
            digest = _git_hash("blob", path.read_bytes())
        key = os.fsencode(entry.name) + (b"/" if mode == "40000" else b"")
        entries.append((key, f"{mode} ".encode() + os.fsencode(entry.name) + b"\0" + bytes.fromhex(digest)))
    return _git_hash("tree", b"".join(line for _, line in sorted(entries)))


def _git_hash(kind: str, content: bytes) -> str:
    # SHA-1 because git's ids are; upstream names its releases by them.
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()  # noqa: S324
