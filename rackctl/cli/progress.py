"""CLI. How far downloads are: a bar per file on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rackctl.cli.out import plain, say

Report = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]


@contextmanager
def live_progress(report: Report = say) -> Iterator[tuple[Report, Progress | None]]:
    """Yields what takes lines, and what takes the state of a download (None: it goes out as lines)."""
    if report is not say or not sys.stdout.isatty():
        yield report, None
        return
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.DownloadColumn(binary_units=True),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, transient=True) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield lambda line: bars.console.print(plain(line), markup=False, highlight=False), show
