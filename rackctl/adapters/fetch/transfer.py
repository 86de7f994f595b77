"""Adapter: one file from a URL into the store: resumed where it was cut, tried again, checked."""

from __future__ import annotations

import datetime
import email.utils
import errno
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl.adapters.fetch.hashing import GrowingHash
from rackctl.adapters.fetch.progress import LineProgress, Progress, Report
from rackctl.adapters.fetch.rate import current_rate
from rackctl.adapters.fetch.session import TIMEOUT, explain_fault, is_downgraded, open_session
from rackctl.adapters.fetch.store import SPARE, Artifact, Store, hash_file
from rackctl.errors import BusyError, FetchError, RackError

if TYPE_CHECKING:
    import requests

TRIES = 5
PAUSE = 1.0  # seconds before the second try; doubles with each further one
LONGEST = 60.0  # seconds that a server's Retry-After is obeyed; what asks for more is given up
SLOWEST = 1024  # bytes per second; a server that stays below for PATIENCE seconds is left
PATIENCE = 60.0
_CHUNK = 1 << 20
_GAIN = 1 << 20  # a try that brought this many bytes more than any before does not count
_EXCESS = 64 << 20  # bytes beyond the wanted size after which reading is pointless
_LOOK = 64 << 20  # bytes after which the disk is looked at again, for a body of unknown length
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

Check = Callable[[Path], object]


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes. said_by: who told the sha256; published: it was not us."""

    sha256: str | None = None
    size: int | None = None
    said_by: str = "upstream"
    published: bool = False


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
    pin_as: str = "",
) -> Artifact:
    """Download one file, resumed where it was cut, and keep it by its sha256.

    A file that is in the store is not asked for again. Without expect_sha256 the sum is pinned on first use and held
    from then on; pin_as: under which name (default: the URL). check may raise FetchError for a content that is not to
    be kept. Raises FetchError (URL, bytes, sums) and BusyError (disk full).
    """
    if not url.startswith(("http://", "https://")):
        raise FetchError("only http and https URLs are fetched", url, "mend the URL")
    trust = "published" if expect_sha256 else "pinned"
    pin_as = pin_as or url

    def expect() -> Expected:
        pin = None if expect_sha256 else store.pinned(pin_as)
        told = "pinned on first use, pins.json" if pin else said_by
        return Expected(expect_sha256 or pin, expect_size, told, bool(expect_sha256))

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
                    store.pin(pin_as, found.name)
    return Artifact(name, found, found.stat().st_size, found.name, url, trust)


def _bring(download: _Download, store: Store, check: Check | None) -> Path:
    """Download, check, keep."""
    expected, part = download.expected, download.part
    digest = download.run()
    if download.resumed and expected.sha256 and digest != expected.sha256:
        # What lay there may be another version's, or what a power cut left of it: begin anew before anybody is blamed.
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
    """One growing file. resumed: its begin was there before, so that only a sha256 can tell whether it fits."""

    url: str
    part: Path
    expected: Expected
    report: Report
    progress: Progress
    name: str
    resumed: bool = field(default=False, init=False)
    total: int | None = field(default=None, init=False)

    def run(self) -> str:
        """Try until it is whole; its sha256. Raises FetchError and BusyError."""
        from requests import exceptions
        from urllib3.exceptions import HTTPError

        # Who wrote the sum down does not depend on the way that the file takes.
        session = open_session(downgrade=self.expected.published)
        best, failed = self.have(), 0
        while True:
            try:
                return self._try(session)
            except _Again as wrong:
                again = wrong
            except (exceptions.RequestException, HTTPError, ValueError) as wrong:
                problem, remedy = explain_fault(wrong)
                if remedy:
                    raise FetchError(problem, self.url, remedy) from wrong
                again = _Again(problem)
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
            self.resumed = True
            return hash_file(self.part)
        headers = {}
        if have and (tag or self.expected.sha256):
            headers["Range"] = f"bytes={have}-"
            if tag:
                headers["If-Range"] = tag
        with session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and "Range" in headers:
                self._settle_416(answer, have)
                self.resumed = True
                return hash_file(self.part)
            _require_success(answer, self.url)
            if is_downgraded(answer):
                self.report(f"{self.name}: https led to plain http, {answer.url}; its sum is known and will be checked")
            self.resumed = answer.status_code == 206
            done = have if self.resumed else 0
            if self.resumed:
                self.total = self._require_fit(answer, have if "Range" in headers else -1, tag)
            else:
                self.total = _length(answer)
                self._require_countable(answer)
            self._require_space(done)
            if not self.resumed:
                self._begin(answer.headers.get("ETag", ""))
            return self._write(answer, done)

    def _require_fit(self, answer: requests.Response, have: int, tag: str) -> int:
        """The size of the whole file, from an answer that carries on at `have`. Else what is kept goes, and _Again."""
        # RFC 9110 section 14.4. A server that knows no If-Range tells by its ETag that it has another file by now.
        found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", answer.headers.get("Content-Range", ""))
        wrong = ""
        if not found or int(found[1]) != have:
            wrong = "the server sent another range than was asked for"
        elif tag and answer.headers.get("ETag", tag if self.expected.sha256 else "") != tag:
            wrong = "the file changed on the server"
        if wrong or not found:
            self.part.unlink(missing_ok=True)
            raise _Again(wrong)
        return int(found[3])

    def _require_countable(self, answer: requests.Response) -> None:
        """Without a sum, a size or a length, a body that was cut would pass for whole, and be pinned."""
        chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        if self.total is None and not chunked and not self.expected.sha256 and self.expected.size is None:
            raise FetchError(
                "the server tells no length and upstream no sum: whether it comes whole cannot be known",
                self.url,
                "name another mirror, or give its catalogue entry sums",
            )
        coding = answer.headers.get("Content-Encoding", "identity").lower()
        # Some servers call a .gz file gzip-coded: those bytes are the file's own.
        if coding != "identity" and not self.expected.sha256 and not re.search(r"\.(t?gz|xz|bz2|zst)$", answer.url):
            raise FetchError(
                f"it comes {coding[:20]}-coded although that was not asked for, and upstream tells no sum",
                self.url,
                "look at the proxy, or name another mirror",
            )

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
        slow, look = _Slow(done, rate.bytes_per_second if rate else SLOWEST), done + _LOOK
        with open(self.part, "ab", buffering=0) as handle, GrowingHash(self.part, done) as digest:
            while chunk := answer.raw.read1(rate.chunk if rate else _CHUNK, decode_content=False):
                handle.write(chunk)
                digest.take(chunk)
                done += len(chunk)
                if rate:
                    rate.take(len(chunk))
                self.progress(self.name, done, self.total)
                if most is not None and done > most:
                    return hash_file(self.part)
                slow.look(done)
                if self.total is None and done > look:
                    look = done + _LOOK
                    self._require_space(done)
        if self.total is not None and done != self.total:
            raise _Again(f"the transfer was cut at {done} of {self.total} bytes")
        return digest.hexdigest()

    def _require_space(self, done: int) -> None:
        need, free = max(0, (self.total or 0) - done), shutil.disk_usage(self.part.parent).free
        if need + SPARE > free:
            if self.total is None:
                self.part.unlink(missing_ok=True)  # it may have no end, and would keep the disk full
            raise BusyError(
                f"{f'{need} bytes are' if need else 'more room is'} needed for {self.name}, "
                f"{max(0, free - SPARE)} bytes are free",
                str(self.part.parent),
                "free some space (rackctl fetch --prune), then run again",
            )


class _Slow:
    """Whether a server sends so little that it is better left: one that trickles would hold a fetch for ever."""

    def __init__(self, done: int, least: float) -> None:
        self._least = min(SLOWEST, least / 8)  # downloads share the cap
        self._since, self._done = time.monotonic(), done

    def look(self, done: int) -> None:
        """done: bytes so far. Raises _Again."""
        now = time.monotonic()
        if now - self._since < PATIENCE:
            return
        if done - self._done < self._least * (now - self._since):
            raise _Again(f"the server sent {done - self._done} bytes in {now - self._since:.0f} s")
        self._since, self._done = now, done


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


def _length(answer: requests.Response) -> int | None:
    found = re.fullmatch("[0-9]{1,18}", answer.headers.get("Content-Length", ""))
    return int(found[0]) if found else None


def _retry_after(value: str) -> float:
    """Seconds; the field is a number or an HTTP date (RFC 9110 section 10.2.3)."""
    if re.fullmatch("[0-9]{1,12}", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date of no known zone
        return 0.0
