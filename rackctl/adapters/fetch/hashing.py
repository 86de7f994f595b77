"""Adapter: the sha256 of a growing file, computed and put on the disk while the network still delivers."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from pathlib import Path

_AHEAD = 32  # chunks that may wait; more would only be memory
_FLUSH = 64 << 20  # bytes after which the disk is asked to write, so that little is left for the end


class GrowingHash:
    """Takes the chunks that were written to a file; reads what was there before by itself. Use as a context."""

    def __init__(self, file: Path, have: int, descriptor: int) -> None:
        self._file, self._have, self._descriptor = file, have, descriptor
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._sum = hashlib.sha256()
        self._fault: OSError | None = None
        self._written = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._work, self._flush)]

    def __enter__(self) -> GrowingHash:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self._chunks.put(None)
        self._ended.set()
        for one in self._threads:
            one.join()

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
                self._written += len(chunk)
        except OSError as fault:
            self._fault = fault
            while self._chunks.get() is not None:  # whoever writes must not wait for us for ever
                pass

    def _flush(self) -> None:
        """The kernel lets written bytes lie for half a minute: without this, the disk would begin at the end."""
        flushed = 0
        while not self._ended.wait(0.05):
            if self._written - flushed >= _FLUSH:
                flushed = self._written
                try:
                    os.fdatasync(self._descriptor)
                except OSError:  # the store's own fsync meets it again, and tells
                    return

    def _read_old(self) -> None:
        left = self._have
        with open(self._file, "rb") as handle:
            while left and (chunk := handle.read(min(left, 1 << 20))):
                self._sum.update(chunk)
                left -= len(chunk)
