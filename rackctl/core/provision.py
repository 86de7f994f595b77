"""Core. Judges the machines of one `provision`: how far each is, whether it gets a second try, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rackctl.core.dhcp.arch import Loader, other_loader
from rackctl.core.events import Stage
from rackctl.core.fold import stage_name
from rackctl.core.repeat import find_repeat
from rackctl.core.timeline import SILENCE, Timeline

TRIES = 2
JOIN_WAIT = 900.0  # seconds from the check-in: a cluster's agent downloads its images first
DISK_WAIT = SILENCE[Stage.CONFIG]  # seconds from the script that hands over to the disk
KEEP_LOADER = "write loader: {loader} to nodes.{node} in rack.yml, or the next rackctl up takes it away again"
# The end of a machine that came to its goal; before the check-in its system tells no more.
_GOALS = {Stage.SCRIPT: "disk", Stage.CHECKIN: "up", Stage.JOINED: "joined"}
_DISK = ("handed over to its own disk", "--reinstall installs again what is installed")
# What a second start can cure: a transfer that was cut off, or a loader that never asked for its script.
_CURABLE = {Stage.SCRIPT, Stage.KERNEL, Stage.INITRD}


@dataclass(frozen=True)
class Run:
    """One machine on its way. powered: when its power was asked for; until: the stage that is the goal.

    since: what was logged before it tells of earlier boots; loader: the one that this start was given in place of
    rack.yml's; came_up: the first check-in since the power-on.
    """

    node: str
    mac: str
    until: Stage
    powered: float
    tries: int = 1
    reached: tuple[str, ...] = ()
    since: float = 0.0
    loader: Loader | None = None
    came_up: float | None = None


@dataclass(frozen=True)
class Ending:
    """How one machine ended.

    state: up, joined, loaded (its system tells no more), disk (its script handed over to its own disk, as rack.yml
    says), failed or left. seconds: from power-on to the goal, or till now.
    """

    node: str
    state: str
    seconds: float = 0.0
    stage: str = ""
    text: str = ""
    remedy: str = ""
    tries: int = 1
    timeline: Timeline | None = None
    loader: Loader | None = None

    @property
    def ok(self) -> bool:
        """Whether the goal was reached."""
        return self.state in ("up", "joined", "loaded", "disk")

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {
            "node": self.node, "state": self.state, "ok": self.ok, "seconds": round(self.seconds, 3),
            "stage": self.stage, "text": self.text, "remedy": self.remedy, "tries": self.tries,
            "loader": self.loader,
            "timeline": self.timeline.to_json() if self.timeline else None,
        }  # fmt: skip


def follow(run: Run, timeline: Timeline | None) -> Run:
    """The same run with the stages that its timeline shows now."""
    names = tuple(stage.name for stage in timeline.stages if stage.ok) if timeline else ()
    if run.came_up is None and timeline and Stage.CHECKIN in (ends := _ends(timeline)):
        run = replace(run, came_up=ends[Stage.CHECKIN])
    return run if names == run.reached else replace(run, reached=names)


def _ends(timeline: Timeline) -> dict[Stage, float]:
    return {stage.stage: stage.end for stage in timeline.stages if stage.ok}


def of_this_start(run: Run, timelines: Sequence[Timeline]) -> list[Timeline]:
    """The boots since this power-on. One second of grace: the two clocks are those of this machine."""
    return [t for t in timelines if t.mac == run.mac and t.started >= run.powered - 1.0]


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
    ends = _ends(timeline)
    if arrived := [end for stage, end in ends.items() if stage >= run.until]:
        state = _GOALS.get(run.until, "loaded")
        text, remedy = _DISK if state == "disk" else ("", "")
        return Ending(run.node, state, min(arrived) - run.powered, "", text, remedy, run.tries, timeline)
    came_up = ends.get(Stage.CHECKIN) if run.came_up is None else run.came_up
    if came_up is not None:
        # An installer checks in, then the machine starts once more, from its disk, where the agent is.
        if now - came_up <= JOIN_WAIT:
            return None
        text = f"it checked in, and did not join within {JOIN_WAIT:.0f} s"
        return Ending(
            run.node, "failed", waited, "joined", text, "read the agent's log on the machine", run.tries, timeline
        )
    if timeline.verdict == "done" and now - max(ends.values(), default=now) > DISK_WAIT:
        text = f"it was handed over to its disk, and nothing checked in from there within {DISK_WAIT:.0f} s"
        remedy = "see its console; a system that rackctl did not install does not check in"
        return Ending(run.node, "failed", waited, "checkin", text, remedy, run.tries, timeline)
    if timeline.verdict == "stuck" and timeline.missing is not None:
        stage = stage_name(timeline.missing)
        return Ending(run.node, "failed", waited, stage, timeline.reason, timeline.remedy, run.tries, timeline)
    return None


def judge_round(run: Run, boots: Sequence[Timeline], now: float) -> Ending | None:
    """The end of a machine that starts again and again: it is never silent for long. boots: those of this start."""
    repeat = find_repeat(boots) if len(boots) > 1 else None
    if repeat is None:
        return None
    stage = repeat.code.removeprefix("repeats-before-")
    return Ending(
        run.node, "failed", now - run.powered, stage, repeat.seen, repeat.remedy, run.tries, boots[-1], run.loader
    )


def change_loader(ending: Ending, current: Loader | None) -> Loader | None:
    """The loader for the second try: the other one for a machine whose loader came and asked for no script.

    current: what the machine is given for any name; None: what the name says. None for any other failure, which the
    same loader may survive, and for a file that has no other.
    """
    timeline = ending.timeline
    if timeline is None or timeline.missing is not Stage.SCRIPT or timeline.problem:
        return None
    loaded = next((stage.detail.get("file", "") for stage in timeline.stages if stage.stage is Stage.LOADER), "")
    return other_loader(loaded.rpartition("/")[2], current)


def deserves_retry(ending: Ending) -> bool:
    """Whether one more start is worth it: never for a missing file or a wrong answer, which stay as they are."""
    timeline = ending.timeline
    if ending.ok or ending.tries >= TRIES or timeline is None or timeline.missing not in _CURABLE:
        return False
    return timeline.problem in ("", "aborted", "interrupted")


def _with_loader(ending: Ending) -> str:
    return f", the second with the loader {ending.loader}" if ending.loader else ""


def summary(endings: Sequence[Ending]) -> str:
    """A line for each machine, and one for all."""
    width = max((len(ending.node) for ending in endings), default=0)
    lines = []
    for ending in endings:
        tries = f", {ending.tries} tries" if ending.tries > 1 else ""
        if ending.ok:
            words = {"joined": "up, joined", "loaded": "loaded, and its system tells no more", "disk": ending.text}.get(
                ending.state, "up"
            )
            lines.append(f"{ending.node:<{width}}  {words}, {ending.seconds:.0f} s{tries}{_with_loader(ending)}")
            if ending.loader:
                lines.append(f"{'':<{width}}  -> {KEEP_LOADER.format(loader=ending.loader, node=ending.node)}")
            continue
        at = f" before {ending.stage}" if ending.stage else ""
        lines.append(f"{ending.node:<{width}}  {ending.state}{at}: {ending.text}{tries}{_with_loader(ending)}")
        if ending.remedy:
            lines.append(f"{'':<{width}}  -> {ending.remedy}")
    good = sum(ending.ok for ending in endings)
    return "\n".join([*lines, f"{good} of {len(endings)} provisioned"])
