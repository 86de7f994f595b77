"""Core. A machine that goes round: it starts again and again, and each boot ends before the same stage."""

from __future__ import annotations

from collections.abc import Sequence

from rackctl.core.diagnosis import Context, Diagnosis, diagnose
from rackctl.core.fold import stage_name
from rackctl.core.timeline import Timeline

STARTS = 3  # an installer starts again once by itself; a third start after two equal endings is a circle
MOST_STARTS = 6  # however they ended


def find_repeat(boots: Sequence[Timeline], context: Context | None = None) -> Diagnosis | None:
    """What is said of a machine whose last boots all broke off before the same stage, and that started once more.

    boots: those of one machine, the earliest first; the last may still be on its way.
    """
    earlier = list(boots[:-1])
    failed: list[Timeline] = []
    while earlier and earlier[-1].verdict == "stuck":
        failed.insert(0, earlier.pop())
    if not failed or boots[-1].good:
        return None
    last = failed[-1]
    same = [one for one in failed[-(STARTS - 1) :] if one.missing is last.missing]
    if last.missing is None or (len(same) < STARTS - 1 and len(failed) < MOST_STARTS - 1):
        return None
    stage = stage_name(last.missing)
    cause = next(iter(diagnose(last, context)), None)
    seen = f"the machine started {len(failed) + 1} times and never came to {stage}: it goes round"
    why = f"{cause.seen}: {cause.causes}" if cause else ""
    return Diagnosis(f"repeats-before-{stage}", seen, why, cause.remedy if cause else "see the machine's screen")
