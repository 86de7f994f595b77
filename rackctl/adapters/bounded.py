"""Adapter: HTTP answers that have an end. requests' timeout is for each read: a server that drips is never late."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

MOST = 4 << 20  # bytes of one answer; a BMC's largest, a page of its event log, is some hundred KiB
TOO_LARGE = "its answer is larger than 4 MiB"
_PART = 16384


class Bounded(HTTPAdapter):
    """For the session of one thread. seconds: until an answer is there as a whole; fingerprint: pins the certificate.

    Raises requests' ReadTimeout for what comes too late, and RequestException with TOO_LARGE.
    """

    def __init__(self, seconds: float, fingerprint: str | None = None) -> None:
        self.seconds = seconds
        self.fingerprint = fingerprint
        self.late = threading.Event()
        self.link: socket.socket | None = None
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*args, assert_fingerprint=self.fingerprint, **kwargs)
        pools = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        self.poolmanager.pool_classes_by_scheme = {key: self._watched(pool) for key, pool in pools.items()}

    def _watched(self, pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        """The same, with connections that hand over their sockets: only a closed one ends a read that goes on."""
        adapter, usual = self, pool.ConnectionCls

        class Watched(usual):  # type: ignore[misc, valid-type]
            def connect(self) -> None:
                super().connect()
                adapter.link = self.sock
                if adapter.late.is_set():
                    adapter._cut()

        return type(pool.__name__, (pool,), {"ConnectionCls": Watched})

    def _cut(self) -> None:
        self.late.set()
        if self.link is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which changes what another thread reads from.
                socket.socket.shutdown(self.link, socket.SHUT_RDWR)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """See HTTPAdapter; the answer is read when this returns."""
        self.late.clear()
        watchdog = threading.Timer(self.seconds, self._cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = super().send(request, *args, **{**kwargs, "stream": True})
            with contextlib.closing(answer):
                answer._content = self._read(answer, request)
        except requests.RequestException as wrong:
            if self.late.is_set():
                raise requests.ReadTimeout("Read timed out.", request=request) from wrong
            raise
        finally:
            watchdog.cancel()
        if self.late.is_set():  # headers that were cut look like whole ones
            raise requests.ReadTimeout("Read timed out.", request=request)
        return answer

    def _read(self, answer: requests.Response, request: requests.PreparedRequest) -> bytes:
        found = bytearray()
        for part in answer.iter_content(_PART):
            found += part
            if len(found) > MOST:
                raise requests.RequestException(TOO_LARGE, request=request)
        return bytes(found)
