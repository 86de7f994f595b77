"""Adapter: the log files of one rack, as events. Follows a log across its rotation: each read costs the new lines only.

A log NAME.jsonl is followed by its older parts NAME.jsonl.1, .2 and so on, the oldest last.
"""

from __future__ import annotations

import heapq
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rackctl.core.events import MAX_LINE, Event, Unknown
from rackctl.core.httplog import parse_http_line
from rackctl.core.tftplog import parse_tftp_line

Parser = Callable[[str | bytes], Event | Unknown | None]

PARTS = 9  # more than the services keep
KEPT_UNKNOWN = 100
_HEAD = 64  # bytes that tell one part from another: they hold the time of its first line


class Log:
    """One growing log, read from where the last read ended. `unknown` holds the last few lines that nobody knows."""

    def __init__(self, file: Path, parse: Parser, *, from_end: bool = False) -> None:
        self.file = file
        self.parse = parse
        self.offset = 0
        self.unknown: list[Unknown] = []
        self.unknown_count = 0
        self._part: tuple[int, bytes] | None = None
        self._warned = False
        if from_end and file.is_file():
            with open(file, "rb") as handle:
                self._part, self.offset = _identity(handle.fileno()), os.fstat(handle.fileno()).st_size

    def read(self) -> Iterator[Event]:
        """The new events; a last line without its newline is still being written and left for the next read."""
        # A rotation while this reads renames what is open here: the names are resolved once, the newest first, so that
        # a part is found under its old or its new name and none is missed.
        handles = [handle for handle in map(self._open, self._names()) if handle is not None]
        try:
            yield from self._read_parts(handles)
        finally:
            for handle in handles:
                os.close(handle)

    def _open(self, file: Path) -> int | None:
        try:  # O_NONBLOCK: a pipe would wait for its writer
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        if not self._warned:
            self._warned = True
            print(f"{file} is no file, and is not read: move it away, then rackctl up", file=sys.stderr)
        return None

    def _names(self) -> list[Path]:
        return [self.file, *(self.file.with_name(f"{self.file.name}.{n}") for n in range(1, PARTS + 1))]

    def _read_parts(self, handles: list[int]) -> Iterator[Event]:
        parts: list[tuple[tuple[int, bytes], int]] = []
        for handle in handles:
            identity = _identity(handle)
            # The service has not begun a new part as long as that is empty: it may still add to the one before.
            if identity[1] and all(not _same(identity, other) for other, _ in parts):
                parts.append((identity, handle))
        parts.reverse()
        mine = next((n for n, (part, _) in enumerate(parts) if self._part and _same(self._part, part)), None)
        for n, (part, handle) in enumerate(parts[mine or 0 :]):
            if n or self._part is None or mine is None:
                self.offset = 0
            size = os.fstat(handle).st_size
            self.offset = 0 if size < self.offset else self.offset
            self._part = part
            yield from self._read_lines(handle, size, whole=n + (mine or 0) + 1 < len(parts))

    def _read_lines(self, handle: int, size: int, *, whole: bool) -> Iterator[Event]:
        """Up to `size`; what is written meanwhile is for the next read. `whole`: nobody writes to it any more."""
        rest = b""
        at = self.offset
        while at < size:
            chunk = os.pread(handle, min(1 << 18, size - at), at)
            if not chunk:
                break
            at += len(chunk)
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield from self._parse_lines(lines)
            self.offset = at - len(rest)
            if len(rest) > MAX_LINE:  # never hold more of a line than any parser takes
                self.offset, rest = at, b""
                self._note(Unknown(self.file.name, "the line is too long", ""))
        if rest and whole:
            self.offset += len(rest)
            yield from self._parse_lines(rest)

    def _parse_lines(self, lines: bytes) -> Iterator[Event]:
        parse = self.parse
        for line in lines.decode("utf-8", "replace").split("\n"):
            found = parse(line)
            if isinstance(found, Event):
                yield found
            elif found is not None:
                self._note(found)

    def _note(self, line: Unknown) -> None:
        self.unknown_count += 1
        self.unknown.append(line)
        if len(self.unknown) > KEPT_UNKNOWN:
            del self.unknown[0]


def _identity(handle: int) -> tuple[int, bytes]:
    """Inode and first bytes: an inode alone is used again as soon as the oldest part is gone."""
    return os.fstat(handle).st_ino, os.pread(handle, _HEAD, 0)


def _same(old: tuple[int, bytes], new: tuple[int, bytes]) -> bool:
    return old[0] == new[0] and new[1].startswith(old[1])


def open_logs(folder: Path, *, from_end: bool = False) -> list[Log]:
    """The two logs that a rack always has."""
    return [
        Log(folder / "tftp.jsonl", parse_tftp_line, from_end=from_end),
        Log(folder / "http.jsonl", parse_http_line, from_end=from_end),
    ]


def read_events(logs: Sequence[Log], server: str = "") -> Iterator[Event]:
    """The new events of several logs in order of time. server: the master's address: what it asks itself is no boot."""
    for event in heapq.merge(*(log.read() for log in logs), key=lambda event: event.time):
        if not server or event.ip != server:
            yield event
