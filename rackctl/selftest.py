"""Asks the services as a node would, for the support bundle."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rackctl.adapters.probe import read_tftp
from rackctl.errors import RackError

_MOST = 4 * 2**20


def ask_services(address: str, port: int, loaders: Path) -> Iterator[str]:
    """A line for each question: whether it was answered, with the size and the seconds."""
    for path in ("/healthz", "/boot/default.ipxe", "/"):
        yield _line(f"http://{address}:{port}{path}", partial(_ask_http, address, port, path))
    for one in sorted(loaders.glob("*"))[:1]:
        yield _line(f"tftp://{address}/{one.name}", partial(_ask_tftp, address, one.name))


def _ask_tftp(address: str, name: str) -> int:
    return len(read_tftp(address, name))


def _line(where: str, ask: Callable[[], int]) -> str:
    began = time.monotonic()
    try:
        size = ask()
    except (RackError, OSError, http.client.HTTPException) as wrong:
        return f"FAILED  {where}: {wrong}"
    return f"good    {where}: {size} bytes in {time.monotonic() - began:.2f} s"


def _ask_http(address: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"User-Agent": "rackctl-selftest"})
        answer = connection.getresponse()
        size = len(answer.read(_MOST))
    finally:
        connection.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    return size
