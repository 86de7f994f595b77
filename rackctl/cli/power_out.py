"""CLI. Outcomes as people read them: a live table on a terminal, one plain line each elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rackctl.cli.out import plain, say

if TYPE_CHECKING:
    from rich.table import Table

    from rackctl.core.power import Outcome, Verb

_CELLS = ("id", "date", "time", "name", "sensor", "value", "unit", "event", "direction", "status", "reading")


@contextmanager
def show_outcomes(nodes: Sequence[str], verb: Verb) -> Iterator[Callable[[Outcome], None]]:
    """Yields what takes each Outcome as it comes."""
    width = max((len(node) for node in nodes), default=0)
    if not sys.stdout.isatty() or len(nodes) == 1:
        yield lambda outcome: say(outcome_lines(outcome, width))
        return
    from rich.live import Live

    found: dict[str, Outcome] = {}
    with Live(_table(nodes, verb, found), transient=True, refresh_per_second=8) as live:

        def note(outcome: Outcome) -> None:
            found[outcome.node] = outcome
            live.update(_table(nodes, verb, found))

        yield note
    for node in nodes:
        if node in found:
            say(outcome_lines(found[node], width))


def _table(nodes: Sequence[str], verb: Verb, found: dict[str, Outcome]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("node", f"power {verb.value}", title=f"{len(found)} of {len(nodes)}", title_justify="left")
    for node in nodes:
        outcome = found.get(node)
        table.add_row(node, "..." if outcome is None else escape(plain(_line(outcome))))
    return table


def _line(outcome: Outcome) -> str:
    if outcome.fault:
        return f"FAILED  {outcome.fault.value}: {outcome.text}"
    return "  ".join(part for part in (outcome.state, outcome.text) if part) or "done"


def outcome_lines(outcome: Outcome, width: int = 0) -> str:
    """One machine: what became of it, its warnings, and its rows or facts below. Text of the BMC's has no controls."""
    lines = [f"{outcome.node:<{width}}  {_line(outcome)}  ({outcome.driver or '-'}, {outcome.seconds:.1f} s)"]
    lines += [f"{'':<{width}}  warning: {warning}" for warning in outcome.warnings]
    lines += [f"  {key:<28} {value}" for key, value in outcome.facts.items()]
    for row in outcome.rows:
        lines.append("  " + "  ".join(row[cell] for cell in _CELLS if row.get(cell) and row[cell] != "na"))
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in "\n".join(lines).split("\n"))
