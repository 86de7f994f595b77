"""Core. Judges the machines of one `provision`: how far each is, whether it gets a second try, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rackctl.core.events import Stage
from rackctl.core.fold import stage_name
from rackctl.core.timeline import SILENCE, Timeline

TRIES = 2
JOIN_WAIT = 900.0  # seconds from the check-in: a cluster's agent downloads its images first
DISK_WAIT = SILENCE[Stage.CONFIG]  # seconds from the script that hands over to the disk
# What a second start can cure: a transfer that was cut off, or a loader that never asked for its script.
_CURABLE = {Stage.SCRIPT, Stage.KERNEL, Stage.INITRD}


@dataclass(frozen=True)
class Run:
    """One machine on its way. powered: when its power was asked for; until: the stage that is the goal."""

    node: str
    mac: str
    until: Stage
    powered: float
    tries: int = 1
    reached: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ending:
    """How one machine ended.

    state: up, joined, loaded (its system tells no more), failed or left. seconds: from power-on to the goal, or till
    now.
    """

    node: str
    state: str
    seconds: float = 0.0
    stage: str = ""
    text: str = ""
    remedy: str = ""
    tries: int = 1
    timeline: Timeline | None = None

    @property
    def ok(self) -> bool:
        """Whether the goal was reached."""
        return self.state in ("up", "joined", "loaded")

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "node": self.node, "state": self.state, "ok": self.ok, "seconds": round(self.seconds, 3),
            "stage": self.stage, "text": self.text, "remedy": self.remedy, "tries": self.tries,
            "timeline": self.timeline.to_json() if self.timeline else None,
        }  # fmt: skip


def follow(run: Run, timeline: Timeline | None) -> Run:
    """The same run with the stages that its timeline shows now."""
    names = tuple(stage.name for stage in timeline.stages if stage.ok) if timeline else ()
    return run if names == run.reached else replace(run, reached=names)


def of_this_start(run: Run, timelines: Sequence[Timeline]) -> Timeline | None:
    """The boot that this power-on began. One second of grace: the two clocks are those of this machine."""
    mine = [t for t in timelines if t.mac == run.mac and t.started >= run.powered - 1.0]
    return mine[-1] if mine else None


def judge(run: Run, timeline: Timeline | None, now: float) -> Ending | None:
    """The end of a run, or None as long as it goes on."""
    waited = now - run.powered
    if timeline is None:
        limit = SILENCE[Stage.POWER]
        if waited <= limit:
            return None
        text = f"the machine was switched on and asked for nothing within {limit:.0f} s"
        remedy = "is its network card first in the boot order? rackctl console shows the firmware; rackctl dhcp show"
        return Ending(run.node, "failed", waited, "firmware", text, remedy, run.tries)
    ends = {stage.stage: stage.end for stage in timeline.stages if stage.ok}
    if run.until in ends:
        state = "loaded" if run.until < Stage.CHECKIN else "joined" if run.until is Stage.JOINED else "up"
        return Ending(run.node, state, ends[run.until] - run.powered, tries=run.tries, timeline=timeline)
    if Stage.CHECKIN in ends and now - ends[Stage.CHECKIN] > JOIN_WAIT:
        text = f"it checked in, and did not join within {JOIN_WAIT:.0f} s"
        return Ending(
            run.node, "failed", waited, "joined", text, "read the agent's log on the machine", run.tries, timeline
        )
    if timeline.verdict == "done" and Stage.CHECKIN not in ends and now - max(ends.values(), default=now) > DISK_WAIT:
        text = f"it was handed over to its disk, and nothing checked in from there within {DISK_WAIT:.0f} s"
        remedy = "see its console; a system that rackctl did not install does not check in"
        return Ending(run.node, "failed", waited, "checkin", text, remedy, run.tries, timeline)
    if timeline.verdict == "stuck" and timeline.missing is not None:
        stage = stage_name(timeline.missing)
        return Ending(run.node, "failed", waited, stage, timeline.reason, timeline.remedy, run.tries, timeline)
    return None


def deserves_retry(ending: Ending) -> bool:
    """Whether one more start is worth it: never for a missing file or a wrong answer, which stay as they are."""
    timeline = ending.timeline
    if ending.ok or ending.tries >= TRIES or timeline is None or timeline.missing not in _CURABLE:
        return False
    return timeline.problem in ("", "aborted", "interrupted")


def summary(endings: Sequence[Ending]) -> str:
    """A line for each machine, and one for all."""
    width = max((len(ending.node) for ending in endings), default=0)
    lines = []
    for ending in endings:
        tries = f", {ending.tries} tries" if ending.tries > 1 else ""
        if ending.ok:
            words = {"joined": "up, joined", "loaded": "loaded, and its system tells no more"}.get(ending.state, "up")
            lines.append(f"{ending.node:<{width}}  {words}, {ending.seconds:.0f} s{tries}")
            continue
        at = f" before {ending.stage}" if ending.stage else ""
        lines.append(f"{ending.node:<{width}}  {ending.state}{at}: {ending.text}{tries}")
        if ending.remedy:
            lines.append(f"{'':<{width}}  -> {ending.remedy}")
    good = sum(ending.ok for ending in endings)
    return "\n".join([*lines, f"{good} of {len(endings)} provisioned"])
