"""Adapter: the log files of one rack, as lines."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

from rackctl.core.events import Event, Unknown, parse_http_line, parse_tftp_line
from rackctl.core.timeline import Timeline, fold_events


def read_lines(file: Path) -> Iterator[str]:
    """Whole lines of a log; a last line without its newline is still being written and left out."""
    if not file.exists():
        return
    with open(file, "rb") as handle:
        for raw in handle:
            if raw.endswith(b"\n"):
                yield raw.decode(errors="replace")


def read_timelines(logs: Path, now: float, *, since: float = 0.0, power_on: float | None = None) -> list[Timeline]:
    """Every boot that the logs of a rack tell of, from `since` on; now, since and power_on in seconds of the epoch."""
    both = heapq.merge(
        _events(logs / "tftp.jsonl", parse_tftp_line),
        _events(logs / "http.jsonl", parse_http_line),
        key=lambda e: e.time,
    )
    return fold_events((event for event in both if event.time >= since), now, power_on=power_on)


def _events(file: Path, parse: Callable[[str], Event | Unknown | None]) -> Iterator[Event]:
    for line in read_lines(file):
        event = parse(line)
        if isinstance(event, Event):
            yield event
