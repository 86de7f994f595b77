"""Core. Why a boot stopped: what was seen, the usual causes, what to do."""

from __future__ import annotations

from rackctl.core.events import Stage
from rackctl.core.fold import stage_name
from rackctl.core.timeline import HELP, Timeline


def explain(timeline: Timeline) -> str:
    """A few lines: how far the boot came, why it stopped, the usual causes, and what to do."""
    who = timeline.hostname or timeline.mac or timeline.ip or "some machine"
    last = max((s.stage for s in timeline.stages if s.ok), default=None)
    if timeline.verdict == "done":
        if not any(s.stage >= Stage.CHECKIN for s in timeline.stages):
            return f"{who}: handed to its own disk {timeline.seconds:.1f} s after it started."
        return f"{who}: up {timeline.seconds:.1f} s after it started."
    if timeline.verdict == "running" or timeline.missing is None:
        return f"{who}: booting; so far {last.sentence if last is not None else 'nothing has worked'}."
    after = timeline.stuck_after
    lines = [
        f"{who}: stuck before {stage_name(timeline.missing)}: {timeline.reason}.",
        f"  so far: {after.sentence if after is not None else 'nothing has worked'}",
        f"  usual causes: {HELP[timeline.missing][0]}",
        f"  -> {timeline.remedy}",
    ]
    return "\n".join(lines)
