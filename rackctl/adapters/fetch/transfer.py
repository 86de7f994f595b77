"""Adapter: one file from a URL into the store: resumed where it was cut, tried again, checked."""

from __future__ import annotations

import datetime
import email.utils
import errno
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl import __version__
from rackctl.adapters.fetch.hashing import GrowingHash
from rackctl.adapters.fetch.progress import LineProgress, Progress, Report
from rackctl.adapters.fetch.rate import current_rate
from rackctl.adapters.fetch.store import Artifact, Store, hash_file
from rackctl.errors import BusyError, FetchError, RackError

if TYPE_CHECKING:
    import requests

TRIES = 5
PAUSE = 1.0  # seconds before the second try; doubles with each further one
LONGEST = 60.0  # seconds that a server's Retry-After is obeyed; what asks for more is given up
SPARE = 64 << 20  # bytes that a download leaves free on the disk
HEADERS = {"User-Agent": f"rackctl/{__version__}", "Accept-Encoding": "identity"}
TIMEOUT = (10, 30)  # seconds to connect, and of silence
_CHUNK = 1 << 20
_GAIN = 1 << 20  # a try that brought this many bytes more than any before does not count
_EXCESS = 64 << 20  # bytes beyond the wanted size after which reading is pointless
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

Check = Callable[[Path], object]


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes. said_by: who told the sha256."""

    sha256: str | None = None
    size: int | None = None
    said_by: str = "upstream"


def fetch_file(
    url: str,
    store: Store,
    *,
    name: str,
    expect_sha256: str | None = None,
    expect_size: int | None = None,
    said_by: str = "upstream",
    check: Check | None = None,
    report: Report = print,
    progress: Progress | None = None,
) -> Artifact:
    """Download one file, resumed where it was cut, and keep it by its sha256.

    A file that is in the store is not asked for again. Without expect_sha256 the sum is pinned on first use and held
    from then on. check may raise FetchError for a content that is not to be kept. Raises FetchError (URL, bytes, sums)
    and BusyError (disk full).
    """
    if not url.startswith(("http://", "https://")):
        raise FetchError("only http and https URLs are fetched", url, "mend the URL")
    trust = "published" if expect_sha256 else "pinned"

    def expect() -> Expected:
        pin = None if expect_sha256 else store.pinned(url)
        return Expected(expect_sha256 or pin, expect_size, "pinned on first use, pins.json" if pin else said_by)

    expected = expect()
    found = expected.sha256 and store.find(expected.sha256)
    if not found:
        part = store.part(url, expected.sha256)
        with store.lock(part.with_suffix(".lock")):
            # Another process may have brought it while this one waited.
            expected = expect()
            found = expected.sha256 and store.find(expected.sha256)
            if not found:
                download = _Download(url, part, expected, report, progress or LineProgress(report), name)
                found = _bring(download, store, check)
                if not expected.sha256:
                    store.pin(url, found.name)
    return Artifact(name, found, found.stat().st_size, found.name, url, trust)


def _bring(download: _Download, store: Store, check: Check | None) -> Path:
    """Download, check, keep."""
    expected, part = download.expected, download.part
    digest = download.run()
    if download.blind and digest != expected.sha256:
        # What lay there was resumed on trust, since the server names no version of the file: begin anew.
        part.unlink()
        digest = download.run()
    size = part.stat().st_size
    if expected.size is not None and size != expected.size:
        aside = store.reject(part, digest)
        wrong = f"wrong size: received {size} bytes, expected {expected.size}"
        raise FetchError(wrong, download.url, f"what came lies in {aside}; fetch again, or use another mirror")
    if expected.sha256 and digest != expected.sha256:
        raise _mismatch(download, digest, store.reject(part, digest), store)
    if check:
        try:
            check(part)
        except FetchError:
            store.reject(part, digest)
            raise
    return store.keep(part, digest)


def _mismatch(download: _Download, digest: str, aside: Path, store: Store) -> FetchError:
    expected = download.expected
    remedy = f"what came lies in {aside}; fetch again, and if it stays so, do not trust this mirror"
    if "pins.json" in expected.said_by:
        remedy = f"what came lies in {aside}; if upstream meant to change it, remove its line from {store.pins}"
    return FetchError(f"sha256 is {digest}, {expected.said_by} says {expected.sha256}", download.url, remedy)


@dataclass
class _Again(Exception):
    """A try failed and another may help. after: seconds the server asked for."""

    problem: str
    after: float = 0.0


@dataclass
class _Download:
    """One growing file. blind: it was resumed without a validator, so only the sha256 can tell whether it fits."""

    url: str
    part: Path
    expected: Expected
    report: Report
    progress: Progress
    name: str
    blind: bool = field(default=False, init=False)
    total: int | None = field(default=None, init=False)

    def run(self) -> str:
        """Try until it is whole; its sha256. Raises FetchError and BusyError."""
        import requests
        from requests import exceptions
        from urllib3.exceptions import HTTPError

        session = requests.Session()
        session.headers.update(HEADERS)
        best, failed = self.have(), 0
        while True:
            try:
                return self._try(session)
            except _Again as wrong:
                again = wrong
            except (exceptions.SSLError, exceptions.InvalidURL, exceptions.TooManyRedirects) as wrong:
                raise FetchError(f"{type(wrong).__name__}: {wrong}", self.url, "mend the URL or the server") from wrong
            except (exceptions.RequestException, HTTPError) as wrong:
                again = _Again(f"{type(wrong).__name__}: {wrong}")
            except OSError as wrong:
                raise _cannot_write(wrong, self.part) from wrong
            failed = 1 if self.have() >= best + _GAIN else failed + 1
            best = max(best, self.have())
            if failed >= TRIES or again.after > LONGEST:
                raise self._gave_up(again)
            # Jitter: a rack's worth of masters does not come back in step.
            wait = max(min(PAUSE * 2 ** (failed - 1), 16 * PAUSE) * random.uniform(0.5, 1.5), again.after)  # noqa: S311
            self.report(f"{self.name}: {again.problem}; again in {wait:.1f} s")
            time.sleep(wait)

    def have(self) -> int:
        """Bytes on the disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _gave_up(self, again: _Again) -> FetchError:
        of = f" of {self.total}" if self.total is not None else ""
        asked = f"; the server asks to wait {again.after:.0f} s" if again.after > LONGEST else ""
        return FetchError(
            f"gave up after {TRIES} tries: received {self.have()}{of} bytes; {again.problem}{asked}",
            self.url,
            "look at the network, then run again: it resumes where it ended",
        )

    def _try(self, session: requests.Session) -> str:
        """One request; the sha256 of the file when it is whole."""
        have, tag = self.have(), self._tag()
        if have and have == self.expected.size:
            self.blind = True
            return hash_file(self.part)
        headers = {}
        if have and (tag or self.expected.sha256):
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        with session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and "Range" in headers:
                self._settle_416(answer, have)
                return hash_file(self.part)
            _require_success(answer, self.url)
            resumed = answer.status_code == 206
            if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.part.unlink(missing_ok=True)
                raise _Again("the server sent another range than was asked for")
            self.blind = resumed and not tag
            done = have if resumed else 0
            length = answer.headers.get("Content-Length", "")
            self.total = done + int(length) if length.isascii() and length.isdigit() else None
            self._require_space(done)
            if not resumed:
                self._begin(answer.headers.get("ETag", ""))
            return self._write(answer, done)

    def _settle_416(self, answer: requests.Response, have: int) -> None:
        # RFC 9110 section 15.5.17: the size of the file. A server that finds If-Range false sends 200 instead.
        if answer.headers.get("Content-Range") == f"bytes */{have}":
            return
        self.part.unlink()
        raise _Again("the server has no more bytes than are kept")

    def _tag(self) -> str:
        file = self.part.with_suffix(".etag")
        return file.read_text() if file.exists() else ""

    def _begin(self, tag: str) -> None:
        """Start the file anew. The old bytes go before the new tag comes: a kill between leaves no false pair."""
        file = self.part.with_suffix(".etag")
        self.part.write_bytes(b"")
        file.unlink(missing_ok=True)
        if tag and not tag.startswith("W/"):  # RFC 9110 section 13.1.5: If-Range takes a strong validator only
            aside = file.with_suffix(".etag.new")
            aside.write_text(tag)
            aside.rename(file)

    def _write(self, answer: requests.Response, done: int) -> str:
        most = None if self.expected.size is None else self.expected.size + _EXCESS
        rate = current_rate()
        with open(self.part, "ab", buffering=0) as handle, GrowingHash(self.part, done, handle.fileno()) as digest:
            while chunk := answer.raw.read1(rate.chunk if rate else _CHUNK, decode_content=False):
                handle.write(chunk)
                digest.take(chunk)
                done += len(chunk)
                if rate:
                    rate.take(len(chunk))
                self.progress(self.name, done, self.total)
                if most is not None and done > most:
                    return hash_file(self.part)
        if self.total is not None and done != self.total:
            raise _Again(f"the transfer was cut at {done} of {self.total} bytes")
        return digest.hexdigest()

    def _require_space(self, done: int) -> None:
        need, free = (self.total or 0) - done, shutil.disk_usage(self.part.parent).free
        if need + SPARE > free:
            raise BusyError(
                f"{need} bytes are needed for {self.name}, {max(0, free - SPARE)} are free",
                str(self.part.parent),
                "free some space (rackctl fetch --prune), then run again",
            )


def _cannot_write(wrong: OSError, part: Path) -> RackError:
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
        return BusyError("the disk is full", str(part.parent), "free some space, then run again: it resumes")
    return FetchError(f"cannot be written: {wrong.strerror}", str(part), "make the store writable for you")


def _require_success(answer: requests.Response, url: str) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    said = f"the server answered {status} {answer.reason or ''}".strip()
    if status in PASSING:
        raise _Again(said, _retry_after(answer.headers.get("Retry-After", "")))
    raise FetchError(said, url, "look at the version's spelling, and whether upstream still has the file")


def _retry_after(value: str) -> float:
    """Seconds; the field is a number or an HTTP date (RFC 9110 section 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
