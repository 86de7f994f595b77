"""Adapter: downloads into the store. Nothing enters the store under its name before its sha256 is known and checked."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl.errors import BusyError, FetchError

if TYPE_CHECKING:
    import requests

_TRIES = 5
_CHUNK = 1 << 18
_TIMEOUT = (10, 30)  # seconds to connect, and of silence
_SPARE = 64 << 20  # bytes that a download leaves free on the disk

Report = Callable[[str], None]


@dataclass(frozen=True)
class Artifact:
    """One file of an OS release. trust: `published` (upstream's sum) or `pinned` (on first use)."""

    name: str
    path: Path
    size: int
    sha256: str
    url: str
    trust: str


class Store:
    """Files by sha256, shared by every rack of this user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where a file with this sha256 lies, or would lie."""
        return self.root / "sha256" / digest

    def part(self, url: str) -> Path:
        """Where the download of a URL grows."""
        return self.root / "part" / hashlib.sha256(url.encode()).hexdigest()[:32]


def fetch_file(
    url: str,
    store: Store,
    *,
    name: str,
    expect_sha256: str | None = None,
    report: Report = print,
    session: requests.Session | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Artifact:
    """Download one file, resumed where it was cut, and keep it by its sha256.

    A file that is in the store with the wanted sha256 is not asked for again. Raises FetchError (URL, bytes, sums) and
    BusyError (disk full).
    """
    import requests

    if expect_sha256 and store.path(expect_sha256).is_file():
        path = store.path(expect_sha256)
        return Artifact(name, path, path.stat().st_size, expect_sha256, url, "published")
    part = store.part(url)
    part.parent.mkdir(parents=True, exist_ok=True)
    _download(session or requests.Session(), url, part, report, pause)
    with open(part, "rb+") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        os.fsync(handle.fileno())
    _forget_tag(part)
    if expect_sha256 and digest != expect_sha256:
        bad = part.with_suffix(".bad")
        part.rename(bad)
        raise FetchError(
            f"sha256 is {digest}, wanted is {expect_sha256}",
            url,
            f"the file lies in {bad}; fetch again, and if it stays so, do not trust this mirror",
        )
    target = store.path(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.rename(target)
    return Artifact(name, target, target.stat().st_size, digest, url, "published" if expect_sha256 else "pinned")


def _tag_file(part: Path) -> Path:
    return part.with_suffix(".etag")


def _forget_tag(part: Path) -> None:
    _tag_file(part).unlink(missing_ok=True)


def _download(session: requests.Session, url: str, part: Path, report: Report, pause: Callable[[float], None]) -> None:
    import requests

    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            # Back-off with jitter: a rack's worth of masters does not come back in step.
            wait = min(2 ** (attempt - 1), 8) * random.uniform(0.5, 1.5)  # noqa: S311 no secret
            report(f"{url}: {problem}; again in {wait:.1f} s")
            pause(wait)
        try:
            problem = _transfer(session, url, part, report)
        except requests.RequestException as wrong:
            problem = f"{type(wrong).__name__}: {wrong}"
        except OSError as full:
            if full.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BusyError("the disk is full", str(part.parent), "free some space, then run again") from full
            raise
        if not problem:
            return
    have = part.stat().st_size if part.exists() else 0
    raise FetchError(
        f"{problem}, after {_TRIES} tries; {have} bytes are kept",
        url,
        "look at the network, then run again: it resumes",
    )


def _transfer(session: requests.Session, url: str, part: Path, report: Report) -> str:
    """One request. "" when the file is whole, else what is wrong. Raises FetchError for what no retry mends."""
    have = part.stat().st_size if part.exists() else 0
    tag = _tag_file(part).read_text() if _tag_file(part).exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if have and tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code in (404, 410):
            raise FetchError("there is no such file", url, "look at the version's spelling; rackctl fetch OS VERSION")
        if answer.status_code == 416:
            part.unlink()
            return "the server has no more bytes than are kept"
        if answer.status_code not in (200, 206):
            return f"HTTP status {answer.status_code}"
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == 206 and not resumed:
            part.unlink(missing_ok=True)
            return "the server sent another range than was asked for"
        done = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        _require_space(part, (total or 0) - done)
        strong = answer.headers.get("ETag", "")
        if strong and not strong.startswith("W/"):  # RFC 9110 section 13.1.5: If-Range takes a strong validator only
            _tag_file(part).write_text(strong)
        else:
            _forget_tag(part)
        done = _write(answer, part, done, total, report, url)
    if total is not None and done != total:
        return f"the transfer was cut at {done} of {total} bytes"
    return ""


def _write(answer: requests.Response, part: Path, done: int, total: int | None, report: Report, url: str) -> int:
    import requests

    told = time.monotonic()
    with open(part, "ab" if done else "wb") as handle:
        try:
            for chunk in answer.iter_content(_CHUNK):
                handle.write(chunk)
                done += len(chunk)
                if time.monotonic() - told > 2:
                    told = time.monotonic()
                    share = f" of {total / 2**20:.1f}" if total else ""
                    report(f"{url.rsplit('/', 1)[-1]}: {done / 2**20:.1f}{share} MiB")
        except requests.exceptions.ChunkedEncodingError:
            handle.flush()
    return done


def _require_space(part: Path, need: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if need + _SPARE > free:
        raise BusyError(
            f"{need >> 20} MiB are needed, {free >> 20} MiB are free",
            str(part.parent),
            "free some space, then run again",
        )


_RANCHEROS = "https://github.com/rancher/os/releases/download"
_SUM_LINE = re.compile(r"sha256: ([0-9a-f]{64})  (\S+)")  # checksums.txt of rancher/os, scripts/checksums


def parse_checksums(text: str) -> dict[str, str]:
    """File name -> sha256 of RancherOS' checksums.txt (`sha256: <hex>  <name>`; its md5 lines are left out)."""
    return {found[2]: found[1] for line in text.splitlines() if (found := _SUM_LINE.fullmatch(line.strip()))}


def fetch_rancheros(
    version: str, store: Store, *, report: Report = print, pins: Mapping[str, str] | None = None, base_url: str = ""
) -> dict[str, Artifact]:
    """`vmlinuz` and `initrd` of one exact tag, like `v1.5.8`, from its GitHub release.

    pins: name -> sha256 from rack.lock, for the tags before v1.5.2, which publish no sums. base_url (or the
    environment's RACKCTL_RANCHEROS_URL) names a mirror. Raises FetchError.
    """
    base = f"{(base_url or os.environ.get('RACKCTL_RANCHEROS_URL') or _RANCHEROS).rstrip('/')}/{version}"
    pins = pins or {}
    try:
        sums = fetch_file(f"{base}/checksums.txt", store, name="checksums.txt", report=report)
        published = parse_checksums(sums.path.read_text(errors="replace"))
    except FetchError as absent:
        if absent.message != "there is no such file":
            raise
        published = {}
        report(f"rancheros {version} publishes no sums: pinned on first use")
    found = {}
    for name in ("vmlinuz", "initrd"):
        report(f"fetching rancheros {version} {name}")
        expect = published.get(name) or pins.get(name)
        found[name] = fetch_file(f"{base}/{name}", store, name=name, expect_sha256=expect, report=report)
    return found
