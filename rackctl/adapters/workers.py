"""Adapter: threads that wait for the network or for builds, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def workers(most: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads. Ctrl-C does not wait for what they do: a download of an hour would hold it up.

    What they leave behind is what a kill leaves: partial files that the next run goes on with.
    """
    pool = ThreadPoolExecutor(max_workers=most)
    try:
        yield pool
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
