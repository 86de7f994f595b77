"""Adapter: the sha256 of a growing file, computed while the network still delivers."""

from __future__ import annotations

import hashlib
import queue
import threading
from pathlib import Path

_AHEAD = 32  # chunks that may wait; more would only be memory


class GrowingHash:
    """Takes the chunks that were written to a file; reads what was there before by itself. Use as a context."""

    def __init__(self, file: Path, have: int) -> None:
        self._file, self._have = file, have
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._sum = hashlib.sha256()
        self._fault: OSError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> GrowingHash:
        self._thread.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self._chunks.put(None)
        self._thread.join()

    def take(self, chunk: bytes) -> None:
        """The next bytes of the file."""
        self._chunks.put(chunk)

    def hexdigest(self) -> str:
        """Of the whole file, after the context ended. Raises OSError when the disk refused."""
        if self._fault:
            raise self._fault
        return self._sum.hexdigest()

    def _work(self) -> None:
        try:
            self._read_old()
            while (chunk := self._chunks.get()) is not None:
                self._sum.update(chunk)
        except OSError as fault:
            self._fault = fault
            while self._chunks.get() is not None:  # whoever writes must not wait for us for ever
                pass

    def _read_old(self) -> None:
        left = self._have
        with open(self._file, "rb") as handle:
            while left and (chunk := handle.read(min(left, 1 << 20))):
                self._sum.update(chunk)
                left -= len(chunk)
