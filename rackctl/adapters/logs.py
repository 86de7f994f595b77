"""Adapter: the log files of one rack, as lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def read_lines(file: Path) -> Iterator[str]:
    """Whole lines of a log; a last line without its newline is still being written and left out."""
    if not file.exists():
        return
    with open(file, "rb") as handle:
        for raw in handle:
            if raw.endswith(b"\n"):
                yield raw.decode(errors="replace")
