"""Core. How a boot compares with the usual ones of its machine."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rackctl.core.events import Stage
from rackctl.core.timeline import Timeline

LEAST = 2  # earlier boots that came up; one alone is no custom
SLOW, NOTED = 1.5, 2.0  # so many times, and at least so many seconds, over the usual is said


@dataclass(frozen=True)
class Usual:
    """The median of a machine's boots that came up. seconds: of the whole boot and of each stage by its name."""

    boots: int
    total: float
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"boots": self.boots, "total": round(self.total, 3),
                "seconds": {name: round(value, 3) for name, value in self.seconds.items()}}  # fmt: skip


def spans(timeline: Timeline) -> dict[str, float]:
    """Seconds of each stage, from the end of the stage before to its own end."""
    found, before = {}, timeline.started
    for stage in timeline.stages:
        if stage.stage <= Stage.CHECKIN:
            found[stage.name] = max(0.0, stage.end - before)
            before = max(before, stage.end)
    return found


def find_usual(earlier: Sequence[Timeline]) -> Usual | None:
    """From the boots before the one that is looked at; None when too few of them came up."""
    good = [one for one in earlier if one.good and (one.verdict == "loaded" or _came_up(one))]
    if len(good) < LEAST:
        return None
    each: dict[str, list[float]] = {}
    for one in good:
        for name, value in spans(one).items():
            each.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in each.items()}
    return Usual(len(good), statistics.median(one.seconds for one in good), medians)


def _came_up(timeline: Timeline) -> bool:
    """Not so a boot that was handed over to the disk."""
    return any(stage.stage is Stage.CHECKIN for stage in timeline.stages)


def compare(timeline: Timeline, usual: Usual) -> list[str]:
    """A line for each stage that took much longer than usual, and one for the whole."""
    lines = []
    for name, value in spans(timeline).items():
        normal = usual.seconds.get(name)
        if normal is not None and value > normal * SLOW and value - normal > NOTED:
            lines.append(f"{name} took {value:.1f} s, usually {normal:.1f} s")
    if timeline.good:
        lines.append(f"the whole boot took {timeline.seconds:.1f} s, usually {usual.total:.1f} s ({usual.boots} boots)")
    return lines
