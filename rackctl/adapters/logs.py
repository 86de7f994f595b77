"""Adapter: the log files of one rack, as events. Follows a log: each read costs the new lines only."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

from rackctl.core.events import Event, Unknown, parse_http_line, parse_tftp_line
from rackctl.core.timeline import Timeline, fold_events

Parser = Callable[[str], Event | Unknown | None]


class Log:
    """One growing file of lines, read from where the last read ended."""

    def __init__(self, file: Path, parse: Parser, *, from_end: bool = False) -> None:
        self.file = file
        self.parse = parse
        self.offset = file.stat().st_size if from_end and file.exists() else 0
        self.unknown: list[Unknown] = []

    def read(self) -> Iterator[Event]:
        """The new events; a last line without its newline is still being written and left for the next read."""
        if not self.file.exists():
            return
        with open(self.file, "rb") as handle:
            if handle.seek(0, 2) < self.offset:
                self.offset = 0  # rotated: what is there now is new
            handle.seek(self.offset)
            for raw in handle:
                if not raw.endswith(b"\n"):
                    return
                self.offset += len(raw)
                found = self.parse(raw.decode(errors="replace"))
                if isinstance(found, Event):
                    yield found
                elif isinstance(found, Unknown):
                    self.unknown.append(found)


def open_logs(folder: Path, *, from_end: bool = False) -> list[Log]:
    """The two logs that a rack always has."""
    return [
        Log(folder / "tftp.jsonl", parse_tftp_line, from_end=from_end),
        Log(folder / "http.jsonl", parse_http_line, from_end=from_end),
    ]


def read_events(logs: list[Log]) -> Iterator[Event]:
    """The new events of several logs in order of time."""
    return heapq.merge(*(log.read() for log in logs), key=lambda event: event.time)


def read_timelines(folder: Path, now: float) -> list[Timeline]:
    """Every boot that the logs of a rack tell of; now in seconds of the epoch."""
    return fold_events(read_events(open_logs(folder)), now)
