"""Core. Timeline: one boot of one node, with the verdict running, done, loaded or stuck."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rackctl.core.events import Event, Stage
from rackctl.core.fold import AGAIN, LOOP_COUNT, Boot, Fold, StageTime, stage_name

SCRIPT_GRACE = 2.0  # an unknown node's own script is a 404 and default.ipxe follows at once
_SHOWN_FACTS = ("clock", "nic", "chip", "buildarch")

# Seconds a boot may be silent after a stage before it counts as stuck. A transfer is logged when it ends, so that
# KERNEL's allowance covers the initrd's download, and INITRD's the system's start and its large files.
SILENCE: Mapping[Stage, float] = MappingProxyType({
    Stage.POWER: 300.0,  # a server's firmware can take minutes
    Stage.DHCP: 60.0,
    Stage.LOADER: 60.0,
    Stage.SCRIPT: 120.0,
    Stage.KERNEL: 300.0,
    Stage.INITRD: 300.0,
    Stage.CONFIG: 900.0,  # installs packages, or a whole system
    Stage.CHECKIN: float("inf"),
    Stage.JOINED: float("inf"),
})  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """One boot of one node. `missing` is the stage that did not come, `stuck_after` the last that did."""

    mac: str | None
    ip: str
    started: float
    stages: tuple[StageTime, ...]
    verdict: str  # "running" | "done" | "loaded" (its system cannot check in, and came as far as it tells) | "stuck"
    stuck_after: Stage | None = None
    missing: Stage | None = None
    reason: str = ""
    remedy: str = ""
    hostname: str = ""
    os: str = ""
    cmdline: str = ""
    firmware: str = ""
    problem: str = ""  # of the event that failed: see Event
    state: str = ""  # what the machine said at its check-in: installed, joined
    looped: bool = False
    inventory: float | None = None  # when the machine sent it
    facts: Mapping[str, str] = field(default_factory=dict)  # clock, nic, chip, buildarch as iPXE or the system said

    @property
    def good(self) -> bool:
        """Whether it came as far as it can."""
        return self.verdict in ("done", "loaded")

    @property
    def seconds(self) -> float:
        """From the start to the check-in, or else to the last thing that happened."""
        came_up = next((s.end for s in self.stages if s.stage is Stage.CHECKIN), None)
        return (max((s.end for s in self.stages), default=self.started) if came_up is None else came_up) - self.started

    def to_json(self) -> dict[str, object]:
        """A JSON object; stages by their lower-case names."""
        return {
            "mac": self.mac, "ip": self.ip, "started": self.started, "verdict": self.verdict,
            "stages": [s.to_json() for s in self.stages],
            "stuck_after": None if self.stuck_after is None else stage_name(self.stuck_after),
            "missing": None if self.missing is None else stage_name(self.missing),
            "reason": self.reason, "remedy": self.remedy, "hostname": self.hostname, "os": self.os,
            "cmdline": self.cmdline, "firmware": self.firmware, "seconds": round(self.seconds, 3),
            "state": self.state, "inventory": self.inventory, "facts": dict(self.facts),
        }  # fmt: skip


def fold_events(
    events: Iterable[Event], now: float, *, silence: Mapping[Stage, float] | None = None, power_on: float | None = None
) -> list[Timeline]:
    """Every boot in the events, the earliest first. `silence` overrides single stages of SILENCE.

    `power_on` is when the machine was started: each first boot after it gets a POWER stage ("firmware") until its
    first sign of life. A node that asked for nothing has no Timeline.
    """
    fold = Fold(power_on)
    for event in events:
        fold.feed(event)
    return judge_boots(fold, now, silence=silence)


def judge_boots(fold: Fold, now: float, *, silence: Mapping[Stage, float] | None = None) -> list[Timeline]:
    """Every boot of a fold, the earliest first. What cannot change any more is not judged again."""
    allowed = {**SILENCE, **(silence or {})}
    powered: set[str] = set()
    found = []
    for boot in sorted(fold, key=lambda b: b.started):
        who = boot.mac or boot.ip
        start = None
        if fold.power_on is not None and boot.started >= fold.power_on and who not in powered:
            powered.add(who)
            start = fold.power_on
        found.append(judge_boot(boot, now, allowed, start))
    return found


def judge_boot(
    boot: Boot, now: float, allowed: Mapping[Stage, float] = SILENCE, power_on: float | None = None
) -> Timeline:
    """The Timeline of one boot; with `power_on`, its firmware stage lasts from then to the first sign of life."""
    if power_on is None and isinstance(boot.cached, Timeline):
        return boot.cached
    verdict, missing, reason = _verdict(boot, now if boot.ended is None else min(now, boot.ended), allowed)
    before = [s.stage for s in boot.stages.values() if s.ok and (missing is None or s.stage < missing)]
    stages = tuple(boot.stages[s] for s in sorted(boot.stages))
    if power_on is not None:
        stages = (StageTime(Stage.POWER, power_on, boot.started, 0, True), *stages)
    facts = boot.facts
    found = Timeline(
        mac=boot.mac, ip=boot.ip, started=boot.started if power_on is None else power_on, stages=stages,
        verdict=verdict, stuck_after=max(before, default=None) if verdict == "stuck" else None, missing=missing,
        reason=reason, remedy=HELP[missing][1] if missing is not None else "", hostname=facts.get("hostname", ""),
        os="local disk" if boot.local and not boot.done else facts.get("os") or _loaded_os(boot),
        cmdline=facts.get("cmdline", ""), firmware=facts.get("platform", ""),
        problem=boot.failure.detail.get("problem", "") if boot.failure else "",
        state=facts.get("state", ""), looped=_is_looped(boot), inventory=boot.inventory,
        facts={key: facts[key] for key in _SHOWN_FACTS if key in facts},
    )  # fmt: skip
    if power_on is None and (boot.ended is not None or boot.done):
        boot.cached = found
    return found


def end_at(timeline: Timeline, goal: Stage) -> Timeline:
    """The same, or `loaded` once it came to that stage, the last that its system tells of."""
    reached = max((one.stage for one in timeline.stages if one.ok), default=Stage.POWER)
    if timeline.verdict == "done" or reached < goal or (timeline.missing is not None and timeline.missing <= goal):
        return timeline
    return replace(
        timeline, verdict="loaded", stuck_after=None, missing=None, reason="", remedy="", problem="", looped=False
    )


def latest_by_mac(timelines: Iterable[Timeline]) -> dict[str, Timeline]:
    """The last boot of each node."""
    return {t.mac: t for t in timelines if t.mac}


def _loaded_os(boot: Boot) -> str:
    """The OS whose files it fetched: /os/NAME/VERSION/FILE."""
    found = (boot.stages.get(stage) for stage in (Stage.KERNEL, Stage.INITRD))
    uri = next((one.detail.get("uri", "") for one in found if one), "")
    return uri.split("/", 3)[2] if uri.startswith("/os/") else ""


def _is_looped(boot: Boot) -> bool:
    return (boot.looped > 0 and boot.before_script) or _goes_round(boot)


def _goes_round(boot: Boot) -> bool:
    return boot.again >= AGAIN - 1 and boot.reached is boot.furthest and boot.furthest in (Stage.DHCP, Stage.SCRIPT)


def _verdict(boot: Boot, now: float, allowed: Mapping[Stage, float]) -> tuple[str, Stage | None, str]:
    if boot.done or (boot.local and not boot.failure):
        return "done", None, ""
    failure = boot.failure
    if failure and (failure.stage is not Stage.SCRIPT or now - failure.time > SCRIPT_GRACE or boot.ended is not None):
        return "stuck", failure.stage, _failure_reason(failure)
    if boot.looped and boot.before_script:
        text = f"the loader was fetched {boot.looped + LOOP_COUNT - 1} times and no script was asked for: a loop"
        return "stuck", Stage.SCRIPT, text
    reached = boot.reached
    if reached is not None and _goes_round(boot):
        what = "asked for an address" if reached is Stage.DHCP else "fetched its script"
        return "stuck", Stage(reached + 1), f"the machine {what} {boot.again + 1} times and went no further: a loop"
    missing = Stage.LOADER if reached is None else Stage(min(reached + 1, Stage.CHECKIN))
    limit = allowed[Stage.LOADER if reached is None else reached]
    after = "a transfer that did not finish" if reached is None else stage_name(reached)
    if boot.ended is not None:
        return "stuck", missing, f"after {after} the machine started again, {stage_name(missing)} never came"
    if (quiet := now - boot.came) > limit:
        what = "silent" if boot.last <= boot.came else "it asked for an address and for nothing else"
        return "stuck", missing, f"{what} for {quiet:.0f} s after {after} ({limit:.0f} s are allowed)"
    return "running", None, ""


def _failure_reason(event: Event) -> str:
    detail = event.detail
    problem, what = detail.get("problem", ""), detail.get("uri") or detail.get("file", "")
    if problem == "aborted":
        return f"the transfer of {what} was cut off" + (f" at {detail['percent']} %" if "percent" in detail else "")
    if problem == "status":
        return f"{what} was answered with HTTP {detail.get('status', '?')}"
    if problem == "not-found":
        return f"the TFTP server has no file {what}"
    if problem == "unreadable":
        return f"the TFTP server cannot read {what}: {detail.get('message', '')}"
    return detail.get("message") or f"{stage_name(event.stage)} failed"


# For each stage that did not come: the usual causes, and what to do.
HELP: Mapping[Stage, tuple[str, str]] = MappingProxyType({
    Stage.POWER: ("no power, or the wrong boot order", "look at the BMC; set the boot order to network first"),
    Stage.DHCP: ("two DHCP servers, or an address already in use", "see that one server alone answers on this network"),
    Stage.LOADER: ("the DHCP answer names a wrong server or file, UDP port 69 is blocked, or the file is not there",
                   "compare the DHCP server's settings with those rackctl prints; run `rackctl up`"),
    Stage.SCRIPT: ("a network card that iPXE cannot drive, a DHCP server that gives iPXE the loader again (a loop), "
                   "the HTTP port blocked, or Secure Boot", "see the machine's screen; open the HTTP port"),
    Stage.KERNEL: ("the OS release is not in the store, or the script says to boot from the local disk",
                   "run `rackctl up`; a node that is to boot from its disk needs nothing"),
    Stage.INITRD: ("too little memory, a cable or switch that loses packets, or a file that is not there",
                   "give the machine more memory (a virtual one 2 GiB); check the link; run `rackctl up`"),
    Stage.CONFIG: ("the kernel panicked, has no driver for the network card, or its command line names another server",
                   "see the machine's console; check the kernel arguments in rack.yml"),
    Stage.CHECKIN: ("the configuration failed in the system, or it is still installing",
                    "read /var/log/cloud-init-output.log or the console of the machine"),
    Stage.JOINED: ("the master refused the request, or the cluster's first node is not up",
                   "rackctl status; read the log of the agent on the machine"),
})  # fmt: skip
