"""One archive of everything that a rack needs, for a master that has no internet.

manifest.json     format, rackctl's version, the tags of the images, and the sha256 of every other file
rack.lock         what the rack uses
images.tar        the containers' images
cache/...         artifacts, iPXE binaries, the discovery OS and overlays, as they lie in rackctl's cache
"""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rackctl import __version__
from rackctl.adapters import engine, imagebuild, lockfile
from rackctl.adapters.fetch import Store, hash_file
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.imagearchive import load_images, read_tags, save_images
from rackctl.core.lock import RackLock, parse_lock, render_lock
from rackctl.errors import ConfigError, FetchError
from rackctl.ipxebuild import build_loaders
from rackctl.overlays import make_overlays
from rackctl.supply import CACHE, fetch_for_rack, lock_releases

FORMAT = 1
_PLACES = ("store/sha256/", "ipxe-out/", "discovery/", "overlays/")  # below the cache; what `create` puts in
_MOST = 16 << 20  # bytes of the manifest, and of the lock
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds; size of the archive in bytes."""

    file: Path
    size: int
    files: int
    images: tuple[str, ...]
    version: str


def create_bundle(folder: RackFolder, out: Path, report: Report, progress: Progress | None = None) -> Bundle:
    """Build and fetch what is missing, and pack it. Written aside, then renamed.

    Raises what `up` raises before it serves anything.
    """
    engine.check_engine()
    rack = folder.read_rack()
    releases = fetch_for_rack(folder, None, False, report, progress)
    settled = rack.with_versions({one.key: one.version for one in releases})
    lock = lockfile.read_lock(folder.path)
    overlays, lock = make_overlays(folder, settled, releases, lock, report, progress)
    lock = lock_releases(lock, releases)
    lockfile.write_lock(folder.path, lock)
    images = [imagebuild.build_image(name, report) for name in engine.SERVICES]
    store = Store(CACHE / "store")
    files = [artifact.path for one in releases for artifact in one.artifacts.values()]
    files += [one.path for one in overlays.values()]
    files += [path for package in lock.packages.values() if (path := store.find(package.sha256))]
    files += build_loaders(folder, rack, report).files.values()
    report(f"packing {len(files)} files and {len(images)} images")
    with tempfile.TemporaryDirectory(dir=out.resolve().parent, prefix=".bundle-") as scratch:
        saved = Path(scratch) / "images.tar"
        save_images(images, saved)
        contents = {f"cache/{file.relative_to(CACHE).as_posix()}": file for file in files} | {"images.tar": saved}
        sums = {name: hash_file(file) for name, file in sorted(contents.items())}
        manifest = {"format": FORMAT, "rackctl": __version__, "images": images, "files": sums}
        aside = Path(scratch) / "bundle"
        with tarfile.open(aside, "w") as tar:
            _add_text(tar, _MANIFEST, json.dumps(manifest, indent=1))
            _add_text(tar, "rack.lock", render_lock(lock))
            for name in sums:
                tar.add(contents[name], name, recursive=False)
        aside.replace(out)
    return Bundle(out, out.stat().st_size, len(sums), tuple(images), __version__)


def load_bundle(file: Path, folder: RackFolder, report: Report) -> Bundle:
    """Put everything where `up` looks for it, each file checked before it gets its name; the lock goes beside rack.yml.

    Raises FetchError for a broken bundle, ConfigError for one of another format, EngineError.
    """
    try:
        with tarfile.open(file, "r:") as tar:
            manifest, lock = _read_head(tar, file)
            engine.check_engine()
            for name, member, digest in _members(tar, manifest["files"], file):
                if name == "images.tar":
                    _load_images(member, digest, set(manifest["images"]), file, report)
                elif not (target := CACHE / PurePosixPath(name).relative_to("cache")).exists():
                    _place(member, digest, target, file)
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise  # this machine's disk or rights, not the bundle
        raise FetchError(f"broken bundle: {wrong.strerror or wrong}", str(file), "copy it again") from wrong
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as wrong:
        raise FetchError(f"broken bundle: {type(wrong).__name__}: {wrong}", str(file), "copy it again") from wrong
    if manifest["rackctl"] != __version__:
        report(
            f"the bundle was made by rackctl {manifest['rackctl']}, this is {__version__}: `up` may want to build anew"
        )
    lockfile.write_lock(folder.path, lock)
    size = file.stat().st_size
    return Bundle(file, size, len(manifest["files"]), tuple(manifest["images"]), manifest["rackctl"])


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    tar.addfile(info, io.BytesIO(text.encode()))


def _read_head(tar: tarfile.TarFile, file: Path) -> tuple[dict[str, Any], RackLock]:
    """Both are looked at before anything else of the bundle is."""
    texts = []
    for name in (_MANIFEST, "rack.lock"):
        member = tar.next()
        content = tar.extractfile(member) if member and member.name == name else None
        if content is None or (member and member.size > _MOST):
            raise FetchError(f"it has no {name} where a bundle has it", str(file), "rackctl bundle create makes one")
        texts.append(content.read().decode())
    manifest = json.loads(texts[0])
    if manifest["format"] != FORMAT:
        raise ConfigError(f"a bundle of format {manifest['format']}", str(file), "use the rackctl that made it")
    words = [manifest["rackctl"], *manifest["images"], *manifest["files"], *manifest["files"].values()]
    if not all(isinstance(word, str) and word.isprintable() for word in words):
        raise FetchError("broken bundle: its manifest is not of this form", str(file), "copy it again")
    return manifest, parse_lock(texts[1], f"{file}: rack.lock")


def _members(tar: tarfile.TarFile, sums: dict[str, str], file: Path) -> Iterator[tuple[str, IO[bytes], str]]:
    """Every file that the manifest names. Raises FetchError for one that it does not name, and for an absent one."""
    left = dict(sums)
    while member := tar.next():
        content = tar.extractfile(member) if member.isreg() else None
        parts = PurePosixPath(member.name).parts
        if content is None or member.name not in left or ".." in parts or member.name.startswith("/"):
            raise FetchError(
                f"it holds {member.name!r}, which its manifest does not name", str(file), "do not trust it"
            )
        if not member.name.startswith(tuple(f"cache/{one}" for one in _PLACES)) and member.name != "images.tar":
            raise FetchError(f"{member.name!r} belongs nowhere", str(file), "do not trust it")
        yield member.name, content, left.pop(member.name)
    if left:
        raise FetchError(f"it lacks {', '.join(sorted(left)[:3])}", str(file), "copy it again: it is cut")


def _place(content: IO[bytes], digest: str, target: Path, file: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    _copy(content, aside)
    found = hash_file(aside)
    if found != digest:
        aside.unlink()
        raise FetchError(f"sha256 of {target.name} is {found}, the manifest says {digest}", str(file), "copy it again")
    aside.rename(target)


def _load_images(content: IO[bytes], digest: str, named: set[str], file: Path, report: Report) -> None:
    """A tag is a name that this engine trusts: one of another program's image would replace that image."""
    with tempfile.TemporaryDirectory(prefix="rackctl-images-") as scratch:
        saved = Path(scratch) / "images.tar"
        _place(content, digest, saved, file)
        strangers = sorted(tag for tag in read_tags(saved) if tag not in named or not tag.startswith("rackctl/"))
        if strangers:
            raise FetchError(f"its images have the names {', '.join(strangers)}", str(file), "do not trust it")
        report("loading the containers' images")
        load_images(saved)


def _copy(content: IO[bytes], target: Path) -> None:
    with open(target, "wb") as out:
        while chunk := content.read(1 << 20):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
