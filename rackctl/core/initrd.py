"""Core. What is in an initrd, and how two differ, as lines for people."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping

from rackctl.core.cpio import Entry, Segment


def list_segments(segments: Iterable[Segment]) -> Iterator[str]:
    """One line per archive, then one per entry: mode, size in bytes, path."""
    for number, one in enumerate(segments, 1):
        yield f"archive {number}: byte {one.offset}, {one.size} bytes, {one.packing}, {len(one.entries)} entries"
        for entry in one.entries:
            yield f"  {describe(entry)}"


def describe(one: Entry) -> str:
    """Mode, size, path, and where a link leads; what cannot be printed is shown as `?`."""
    target = f" -> {one.data.decode(errors='replace')}" if one.is_link else ""
    line = f"{stat.filemode(one.mode)} {0 if one.is_link else len(one.data):>10} {one.name}{target}"
    return "".join(char if char.isprintable() else "?" for char in line)


def diff(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Iterator[str]:
    """`+` added, `-` removed, `~` changed, sorted by path."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            yield f"+ {describe(after)}"
        elif after is None and before is not None:
            yield f"- {describe(before)}"
        elif before and after and (before.mode, before.data, before.device) != (after.mode, after.data, after.device):
            yield f"~ {describe(after)}   (was {stat.filemode(before.mode)} {len(before.data)})"
