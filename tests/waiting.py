"""How the tests wait for what another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: Callable[[], T], limit: float = 60.0) -> T:
    """Until `what()` is true, or for `limit` seconds; its last value."""
    end = time.monotonic() + limit
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.1)
    return found
