"""Adapter: rack.lock on disk, beside rack.yml."""

from __future__ import annotations

import os
from pathlib import Path

from rackctl.core.lock import RackLock, parse_lock, render_lock
from rackctl.errors import ConfigError


def read_lock(folder: Path) -> RackLock:
    """An empty lock when there is none. Raises ConfigError when it is unreadable or wrong."""
    file = folder / "rack.lock"
    try:
        return parse_lock(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        return RackLock()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"cannot be read: {wrong}", str(file), "make it readable for you") from wrong


def write_lock(folder: Path, lock: RackLock) -> None:
    """Written aside, then renamed; nothing is written when nothing changed."""
    file, text = folder / "rack.lock", render_lock(lock)
    if (not file.exists() and lock == RackLock()) or (file.exists() and file.read_text(encoding="utf-8") == text):
        return
    aside = folder / ".rack.lock.new"
    with open(aside, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    aside.rename(file)
