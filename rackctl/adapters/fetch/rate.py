"""Adapter: the bandwidth cap, one for all downloads of this process."""

from __future__ import annotations

import functools
import os
import re
import threading
import time

from rackctl.errors import ConfigError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
VARIABLE = "RACKCTL_LIMIT_RATE"


def parse_rate(text: str) -> float:
    """Bytes per second of `500K`, `2.5M` or a plain number, as curl's --limit-rate takes them. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMG]?)", text.strip().upper())
    rate = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if rate < 1:
        raise ConfigError(f"{text!r} is no rate", VARIABLE, "bytes per second, as 500K or 2.5M")
    return rate


class Rate:
    """Hands out bytes at a pace, to any number of threads together."""

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def chunk(self) -> int:
        """How much to read at a time, so that the pace is even."""
        return max(4096, min(1 << 20, int(self.bytes_per_second / 8)))

    def take(self, size: int) -> None:
        """Wait until `size` bytes may have passed."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.bytes_per_second
            wait = self._free_at - now
        time.sleep(wait)


@functools.cache
def shared_rate(text: str) -> Rate:
    """The cap of this process for this wording."""
    return Rate(parse_rate(text))


def current_rate() -> Rate | None:
    """What the environment's RACKCTL_LIMIT_RATE asks for. Raises ConfigError."""
    text = os.environ.get(VARIABLE, "")
    return shared_rate(text) if text else None
