"""CLI. What people read: plain lines, and a timeline as bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rackctl.core.timeline import Timeline

_WIDTH = 40
_MANY = 12  # files of one folder that are still named one by one


def say(line: str) -> None:
    """One plain line, out at once: a pipe or a log shows progress too."""
    typer.echo(plain(line))


def warn(line: str) -> None:
    """One plain line on stderr, beside what was asked for."""
    typer.echo(plain(line), err=True)


def plain(text: str) -> str:
    """The text with `?` for what no terminal should be told by a server or a machine: escape sequences and the like."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def teller(as_json: bool) -> Callable[[str], None]:
    """What takes lines on progress: stdout, or stderr where stdout is one JSON object."""
    return warn if as_json else say


def show_bytes(size: int) -> str:
    """A size for people, in binary units: `512 B`, `1.4 MiB`."""
    amount, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def summarize_paths(paths: Sequence[str]) -> list[str]:
    """The paths, a line each; a folder with many files of its own, such as the nodes' scripts, is one line."""
    own = Counter(path.rpartition("/")[0] for path in paths)
    lines = []
    for folder, group in groupby(paths, key=lambda path: path.rpartition("/")[0]):
        if own[folder] <= _MANY:
            lines += list(group)
        elif (line := f"{folder}/ ({own[folder]} files)") not in lines:
            lines.append(line)
    return lines


def show_timeline(timeline: Timeline) -> str:
    """One boot as a bar per stage, with the seconds from the end of the stage before to its own end."""
    last = max((stage.end for stage in timeline.stages), default=timeline.started)
    span = max(last - timeline.started, 0.001)
    lines = [
        f"{timeline.hostname or timeline.mac or timeline.ip} {timeline.firmware}: {timeline.verdict}, {span:.1f} s"
    ]
    before = timeline.started
    for stage in timeline.stages:
        start = int((before - timeline.started) / span * _WIDTH)
        width = max(1, round((stage.end - before) / span * _WIDTH))
        size = f"  {stage.nbytes / 2**20:.1f} MiB" if stage.nbytes > 2**18 else ""
        bar = " " * start + "#" * width
        failed = "" if stage.ok else "  FAILED"
        lines.append(f"  {stage.name:<9} {stage.end - before:6.1f} s  {bar}{size}{failed}")
        before = max(before, stage.end)
    return "\n".join(lines)


def show_stages(tell: Callable[[str], None]) -> Callable[[Timeline], None]:
    """What takes a boot's Timeline whenever it is another, and tells each stage as it comes."""
    shown: set[str] = set()

    def watch(timeline: Timeline) -> None:
        for stage in timeline.stages:
            if stage.ok and stage.name not in shown:
                shown.add(stage.name)
                tell(f"  {stage.end - timeline.started:6.1f} s  {stage.name}")

    return watch
