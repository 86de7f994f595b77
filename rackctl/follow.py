"""Follows a rack's logs and keeps the status page's files: status.json, events.jsonl and metrics.prom.

Runs in `rackctl watch` and, without the rest of rackctl, in the `status` container: imports the standard library and
core alone. Nothing is remembered on disk: after a kill the logs are read again.
"""

from __future__ import annotations

import contextlib
import json
import os
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from rackctl.adapters.inventories import Inventories, read_installed
from rackctl.adapters.logs import open_logs, read_events
from rackctl.core.events import Event, Stage
from rackctl.core.fold import Fold
from rackctl.core.status import Known, make_status, render_metrics
from rackctl.core.timeline import Timeline, judge_boots

LATE = 0.5  # seconds: two logs are written side by side, so that younger events wait for what the other may still bring
HEARTBEAT = 10.0
MOST_WAITING = 1000
KEPT_BOOTS = 1500  # at most twice as many are held, 6 kB each
STREAMED = 500
STREAM_BYTES = 262144
_time = attrgetter("time")
_UNLIKE = (ValueError, KeyError, TypeError, AttributeError)  # JSON, but not what rackctl writes


class Follower:
    """One rack's logs, followed. `work` holds logs/, inventory/, state/installed/ and status/."""

    def __init__(self, work: Path, known: Known) -> None:
        self.work = work
        self.known = known
        self.fold = Fold(most=KEPT_BOOTS, known=known.names)
        self.counts: Counter[Stage] = Counter()
        self._logs = open_logs(work / "logs")
        self._inventories = Inventories(work / "inventory")
        self._waiting: deque[Event] = deque()  # in order of time
        self._written: dict[str, object] = {}
        self._stream = _Stream(work / "status" / "events.jsonl")

    def read(self, now: float, each: Callable[[Event], None] | None = None) -> list[Event]:
        """Fold what is new and at least LATE seconds old; `each` sees every event of it, the last STREAMED are given.

        Of a log that is far ahead of this clock (which was set back) nothing waits.
        """
        waiting, taken = self._waiting, deque[Event](maxlen=STREAMED)
        for event in read_events(self._logs, self.known.server):
            if not waiting or waiting[-1].time <= event.time:
                waiting.append(event)  # nearly all: a log is written in order of time
            else:
                insort(waiting, event, key=_time)
            if len(waiting) > MOST_WAITING:
                taken.append(self._take(each))
        while waiting and not now - LATE < waiting[0].time <= now + LATE:
            taken.append(self._take(each))
        return list(taken)

    def _take(self, each: Callable[[Event], None] | None) -> Event:
        event = self._waiting.popleft()
        if each:
            each(event)
        self.fold.feed(event)
        self.counts[event.stage] += 1
        return event

    def timelines(self, now: float) -> list[Timeline]:
        """Every boot that is remembered."""
        return [self.known.settle(one) for one in judge_boots(self.fold, now)]

    def know(self) -> Known:
        """What is known now beside the logs."""
        return replace(
            self.known,
            inventories=self._inventories.read(self.known.names),
            installed=read_installed(self.work / "state" / "installed"),
        )

    def status(self, now: float, *, live: bool) -> dict[str, object]:
        """What there is to show now."""
        return make_status(
            self.timelines(now), self.know(), now, live=live, forgotten=self.fold.forgotten,
            strange_lines=sum(log.unknown_count for log in self._logs),
        )  # fmt: skip

    def write(self, now: float, events: list[Event], *, live: bool = True) -> dict[str, object]:
        """Bring the page's files up to date, each written aside and renamed; the status."""
        status = self.status(now, live=live)
        self._stream.add(events)
        before = self._written.get("time")
        same = {**status, "time": before} == self._written
        if not same or not isinstance(before, float) or now - before > HEARTBEAT or before > now:
            folder = self.work / "status"
            write_aside(folder / "status.json", json.dumps(status, separators=(",", ":")).encode())
            write_aside(folder / "metrics.prom", render_metrics(status, self.counts).encode())
            self._written = status
        return status


def read_known(current: Path) -> Known:
    """What rack.yml knew when the tree was made that is served; nothing while there is no tree."""
    try:
        found = json.loads((current / "status" / "known.json").read_bytes())
        return Known(
            names=dict(found["names"]), unknown=found["unknown"], port=found["port"], server=found["server"],
            silent={os: Stage[stage] for os, stage in found.get("silent", {}).items()},
            configured=frozenset(found.get("configured", ())), findings=_read_findings(current),
        )  # fmt: skip
    except (OSError, *_UNLIKE):
        return Known()


def _read_findings(current: Path) -> dict[str, list[str]]:
    """The file has each line once, with the machines that it is about: thousands may share one."""
    found: dict[str, list[str]] = {}
    try:
        for line, machines in json.loads((current / "status" / "findings.json").read_bytes()).items():
            for machine in machines:
                found.setdefault(machine, []).append(line)
    except (OSError, *_UNLIKE):
        return {}
    return found


class _Stream:
    """A file of JSON lines that readers follow by its length; begun anew when it is too long."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._size: int | None = None

    def add(self, events: list[Event]) -> None:
        lines = [json.dumps(event.to_json(), separators=(",", ":")).encode() + b"\n" for event in events]
        data = b"".join(lines)
        size, self._size = self._size, None  # until it is written: what a full disk cuts off is begun anew
        if size is None or size + len(data) > STREAM_BYTES:
            write_aside(self.file, data)
            size = 0
        elif data:
            with open(self.file, "ab") as handle:
                handle.write(data)
        self._size = size + len(data)


def write_aside(file: Path, data: bytes, *, like: os.stat_result | None = None) -> None:
    """Write aside, then rename: a reader sees the old file or the new one.

    like: of the user's own file that this replaces: it keeps its mode and owner, and no power cut loses both.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as handle:
            handle.write(data)
            if like:
                handle.flush()
                os.fsync(handle.fileno())
        if like:
            with contextlib.suppress(PermissionError):  # root alone can give a file away
                os.chown(aside, like.st_uid, like.st_gid)
        aside.chmod(like.st_mode & 0o777 if like else 0o644)
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)
