"""Adapter: how far a download is, as plain lines for whoever is not a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]  # name, bytes so far, bytes in all (None: unknown)

EVERY = 2.0  # seconds between two lines


class LineProgress:
    """One line each EVERY seconds: bytes so far, rate, time left."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._start: tuple[float, int] | None = None
        self._told = 0.0

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Takes the state of a download; most calls print nothing."""
        now = time.monotonic()
        if self._start is None or done < self._start[1]:
            self._start, self._told = (now, done), now
        if now - self._told < EVERY:
            return
        self._told = now
        rate = (done - self._start[1]) / (now - self._start[0])
        share = f" of {total / 2**20:.1f}" if total else ""
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        self._report(f"{name}: {done / 2**20:.1f}{share} MiB, {rate / 2**20:.1f} MiB/s{left}")
